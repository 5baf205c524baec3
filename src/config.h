/* SPDX-License-Identifier: MIT */
/*
 * The settings: JSON, strict. docs/CONFIGURATION.md describes every key.
 */
#ifndef PASIDD_CONFIG_H
#define PASIDD_CONFIG_H

#include "broker.h"
#include "limit.h"

#define CONFIG_SIM_DEVICES_MAX   64
#define CONFIG_DEVICES_MAX       4096
#define CONFIG_WHO_MAX           256        /* users, or groups, in one list */
#define CONFIG_SIZE_MAX          (1u << 20) /* bytes of all files together */
#define CONFIG_ERROR_MAX         1024
#define CONFIG_CGROUP_MAX        1024 /* bytes of a cgroup's path */
#define CONFIG_REQUESTS_MAX      256  /* that a datagram can hold */
#define CONFIG_RESERVATIONS_MAX  256
#define CONFIG_AUDIT_RECORDS_MAX (1u << 23) /* 1 GiB */
#define CONFIG_AUDIT_PATH_MAX    1023

struct config_socket {
	char *path;       /* NULL: the default, see pasidd(8) */
	char *admin_path; /* the same of the one for admins */
	uint32_t mode;
	bool has_group;
	uint32_t group;
};

struct config_session {
	uint32_t grace_ms;   /* how long a session outlives its connection */
	uint32_t hello_ms;   /* within which a new connection must say hello */
	uint32_t stalled_ms; /* after which a client that does not read is disconnected */
};

/* Of one connection; other limits of a connection or session are those of a set. */
struct config_connection {
	uint32_t unread_events;
	uint32_t requests_per_datagram; /* at most CONFIG_REQUESTS_MAX */
};

struct config_sim_device {
	struct rid rid;
	uint32_t width, group, unit;
};

struct config_simulate {
	struct config_sim_device devices[CONFIG_SIM_DEVICES_MAX];
	uint32_t device_count;
	uint32_t latency_us;
	uint32_t pasid_width; /* of the IOMMU; 0: no PASIDs */
	uint32_t smmuv3;      /* 1: instead of VT-d */
	bool nesting, five_level;
};

enum config_level { /* the numbers of syslog(3) */
	CONFIG_LEVEL_ERROR = 3,
	CONFIG_LEVEL_WARNING = 4,
	CONFIG_LEVEL_INFO = 6,
	CONFIG_LEVEL_DEBUG = 7,
};

struct config_audit {
	uint32_t records; /* of the trail; 0: there is none */
	char *path;       /* NULL: the default, see pasidd(8) */
};

struct config {
	struct config_socket socket;
	struct broker_config broker;
	struct config_session session;
	struct limits_config limits;
	struct config_connection connection;
	struct config_simulate simulate;
	struct policy policy; /* points to memory of this configuration */
	/* broker.reservations points to these */
	struct broker_reservation reservations[CONFIG_RESERVATIONS_MAX];
	struct config_audit audit;
	uint32_t log_level; /* enum config_level */
};

/* What is wrong with it, for people: where, what was found, what is allowed. */
struct config_error {
	char text[CONFIG_ERROR_MAX];
};

/* What the settings were read from. */
struct config_files;

#ifndef PASIDD_CONFIG_FILE
#define PASIDD_CONFIG_FILE "/etc/pasidd/pasidd.json"
#endif

/*
 * The defaults. `own_uid` is the daemon's own user, who is an admin beside root. Returns 0 or
 * -ENOMEM.
 */
int config_new(uint32_t own_uid, struct config **ret_config);

/*
 * Reads `path`, and then the files of the directory `path`.d whose names end with .json, in the
 * order of their names. Neither needs to be there, but the first one when it is `required`. One
 * that cannot be read is an error, and so is a symbolic link, what is no regular file, what
 * everybody may write to, and more than CONFIG_SIZE_MAX bytes; hidden files, those of other names
 * and directories are ignored. Returns 0; or STATUS_INVALID, -ENOMEM or a -errno, all with
 * *ret_error filled.
 */
int config_files_read(const char *path, bool required, struct config_files **ret_files,
	struct config_error *ret_error);
/* No files at all. -ENOMEM, with the error. */
int config_files_none(struct config_files **ret_files, struct config_error *ret_error);
/* NULL is fine. */
void config_files_free(struct config_files *files);
/* What was read, in order, and what was not, with the reason. NULL: there are not so many. */
const char *config_files_name(const struct config_files *files, size_t i);
const char *config_files_ignored(const struct config_files *files, size_t i, const char **ret_why);

/*
 * The defaults, changed by each of the files in turn: objects are merged, a value replaces that of
 * an earlier file, `devices` and `reservations` are appended to. Returns 0, or STATUS_INVALID or
 * -ENOMEM with *ret_error filled. Looks up users and groups that are given by name, which may take
 * long.
 */
int config_merge(const struct config_files *files, uint32_t own_uid, struct config **ret_config,
	struct config_error *ret_error);
/* The same of one file with those beside it, and of a text that is called `name` in errors. */
int config_load(const char *path, uint32_t own_uid, struct config **ret_config,
	struct config_error *ret_error);
int config_parse(const char *name, const char *text, size_t length, uint32_t own_uid,
	struct config **ret_config, struct config_error *ret_error);

/* NULL is fine. */
void config_free(struct config *config);

/*
 * Makes `config`, which is in use, what `next` is, and `next` what it was; pointers to `config` and
 * into its policy stay good. Rules about cgroups that both have keep their bits; *ret_same are
 * those. 0 or -ENOMEM, and then nothing was done.
 */
int config_exchange(struct config *config, struct config *next, uint64_t *ret_same);

/* The key of a resource in the section "limits": its text with '_' for '-'. */
void config_limit_name(enum resource resource, char *ret_name, size_t size);

/*
 * The configuration as a text of JSON that config_parse() reads as the same one: every key, users
 * and groups as numbers. NULL: no memory. For the caller to free.
 */
char *config_write(const struct config *config);

/*
 * All of it for people, a value a line with the file that set it; or, with `json`, an object with
 * the members `ok`, `files`, `ignored`, `effective` (the above) and `set_by`. NULL: no memory.
 */
char *config_show(const struct config *config, const struct config_files *files, bool json);
/*
 * What config_show() printed as JSON, or config_show_error(), is read: a configuration, and the
 * names of the files that were read and ignored. Looks nothing up. Errors as those of
 * config_parse(), the one that was printed included.
 */
int config_read_shown(const char *text, size_t length, uint32_t own_uid, struct config **ret_config,
	struct config_files **ret_files, struct config_error *ret_error);
/*
 * Calls differs() with the path of each setting that is another one in the second of two texts of
 * config_write(); a list is one setting. false: no memory, or a text is none.
 */
bool config_compare(const char *text, const char *other,
	void (*differs)(void *ctx, const char *path), void *ctx);
/* What is wrong, as an object with the members `ok`, false, and `error`. NULL: no memory. */
char *config_show_error(const struct config_error *error);

/* "error", "warning", "info" or "debug". Returns 0, or STATUS_INVALID. */
int config_level_parse(const char *text, uint32_t *ret_level);

#endif
