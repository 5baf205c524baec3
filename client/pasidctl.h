/* SPDX-License-Identifier: MIT */
/*
 * Inside pasidctl: one const table of commands, each with what it takes, the roles it needs and a
 * function that makes its answer as JSON. How that is shown, to people or programs, is decided in
 * one place.
 */
#ifndef PASIDCTL_H
#define PASIDCTL_H

#include <jansson.h>
#include <stdio.h>

#include "libpasid.h"

/* Exit codes; in the manual page. */
enum {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_DAEMON = 3,
	EXIT_FAILED = 4,
};

#define CTL_WORDS_MAX 64

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Options that a command takes, bits of a word; their names are in pasidctl_parse.c. */
#define CTL_SET         (UINT64_C(1) << 0)
#define CTL_QUARANTINED (UINT64_C(1) << 1)
#define CTL_PASID       (UINT64_C(1) << 2)
#define CTL_COUNT       (UINT64_C(1) << 3)
#define CTL_MIN         (UINT64_C(1) << 4)
#define CTL_MAX         (UINT64_C(1) << 5)
#define CTL_CONSECUTIVE (UINT64_C(1) << 6)
#define CTL_GUEST       (UINT64_C(1) << 7)
#define CTL_DATA        (UINT64_C(1) << 8)
#define CTL_ALL         (UINT64_C(1) << 9)
#define CTL_MODE        (UINT64_C(1) << 10)
#define CTL_QUOTA       (UINT64_C(1) << 11)
#define CTL_FORCE       (UINT64_C(1) << 12)
#define CTL_IOVA        (UINT64_C(1) << 13)
#define CTL_OFFSET      (UINT64_C(1) << 14)
#define CTL_READ_ONLY   (UINT64_C(1) << 15)
#define CTL_EVENTS      (UINT64_C(1) << 16)
#define CTL_LIMITS      (UINT64_C(1) << 17)
#define CTL_OWNER       (UINT64_C(1) << 18)
#define CTL_FD          (UINT64_C(1) << 19)
#define CTL_CONFIRM     (UINT64_C(1) << 20)
#define CTL_SCOPE       (UINT64_C(1) << 21)
#define CTL_DEVICE      (UINT64_C(1) << 22)
#define CTL_TO          (UINT64_C(1) << 24)
#define CTL_CANCEL      (UINT64_C(1) << 25)
#define CTL_FROM        (UINT64_C(1) << 26)
#define CTL_RANGE       (UINT64_C(1) << 43)
#define CTL_ROOT        (UINT64_C(1) << 35)
#define CTL_STATE       (UINT64_C(1) << 44)
#define CTL_OUTPUT      (UINT64_C(1) << 45)
#define CTL_LISTEN      (UINT64_C(1) << 46)
#define CTL_PER_SET     (UINT64_C(1) << 47)
#define CTL_FORMAT      (UINT64_C(1) << 48)
#define CTL_SHARE       (UINT64_C(1) << 36)
#define CTL_HANDED      (UINT64_C(1) << 37)
#define CTL_IOMMU       (UINT64_C(1) << 38)
#define CTL_SINCE       (UINT64_C(1) << 31)
#define CTL_LIMIT       (UINT64_C(1) << 32)
#define CTL_FILE        (UINT64_C(1) << 33)
#define CTL_JOURNAL     (UINT64_C(1) << 27)
#define CTL_OFFLINE     (UINT64_C(1) << 29)
#define CTL_LINES       (UINT64_C(1) << 30)

struct ctl_command;

/* The command line, taken apart; and what the command works with. */
struct ctl {
	const char *socket, *to; /* of another daemon */
	bool json, help, version;
	uint32_t timeout_ms;
	const char *words[CTL_WORDS_MAX]; /* what is no option, the command's name included */
	size_t word_count;
	uint64_t given; /* CTL_SET, ... */
	struct pasid_set_ref set;
	uint64_t pasid, count, min, max, guest, data, quota, iova, offset, events, fd, from;
	enum pasid_set_mode mode;
	enum pasid_scope scope;
	uint32_t owner;     /* a user */
	const char *device; /* an id or an address */
	const char *range;  /* FIRST-LAST */
	const char *root;   /* a folder with a copy of another host's files */
	const char *state, *output, *listen, *format;
	const char *iommu; /* the node of iommufd */
	const char *devices[PASID_PAIRS_MAX],
		*shares[PASID_PAIRS_MAX]; /* options that may be repeated */
	size_t device_count, share_count;
	const char *since; /* a time, or so long ago */
	const char *file;
	uint64_t limit, lines; /* how many to show; of a log */
	char *const *others;   /* of a command that runs another: that one's line; ends with NULL */

	const struct ctl_command *command;
	const char *const *args; /* the words behind the command's name */
	size_t arg_count;
	struct pasid_client *client;
	enum pasid_role role;
	json_t *answer;                   /* made by the command; shown at the end */
	const struct ctl_column *columns; /* as such a table, whatever the command's way is */
};

/* A column of a table: a member of each object in the answer. */
struct ctl_column {
	const char *header;
	const char *key;
};

struct ctl_command {
	const char *name; /* one or two words */
	const char *arguments;
	const char *summary;
	const char *help;   /* more about it, and examples */
	uint64_t options;   /* CTL_SET, ... */
	uint64_t required;  /* options that must be there */
	uint64_t followers; /* options that go with `leader` only */
	uint64_t leader;
	uint8_t min_args, max_args;
	bool offline;                /* asks no daemon */
	bool runs_other;             /* a command line follows behind -- */
	enum pasid_role roles[3];    /* tried in this order, 0: no more */
	int (*run)(struct ctl *ctl); /* an exit code */
	/* How people see the answer: a table of objects; NULL: `show`. */
	const struct ctl_column *columns;
	void (*show)(const struct ctl *ctl, const json_t *answer);
};

/* ------------------------------------------------------------ pasidctl.c */

/* Says what the library said, and returns the exit code for it. */
int ctl_failed(struct ctl *ctl, int code);
/* Says what failed here, and not in the daemon; returns the exit code that it was given. */
__attribute__((format(printf, 3, 4))) int ctl_cannot(
	const struct ctl *ctl, int exit_code, const char *format, ...);
/* The exit code for what a function of the library returned. */
int ctl_exit_code(int code);
/* Opens ctl->client with the first role of the command's that is allowed; what the library said. */
int ctl_open_any(struct ctl *ctl, struct pasid_error *ret_error);
/* With the first of the command's roles that is allowed; an exit code, after saying why. */
int ctl_connect(struct ctl *ctl);
__attribute__((format(printf, 1, 2))) int ctl_usage(const char *format, ...);
/* The command with this name (one word or two); *ret_words: how many. NULL: none. */
const struct ctl_command *ctl_find(const char *const *words, size_t word_count, size_t *ret_words);
/* Each group in the file that its commands are in; shown in this order. */
struct ctl_group {
	const struct ctl_command *commands;
	size_t count;
};
extern const struct ctl_group ctl_basic_commands;
extern const struct ctl_group ctl_explain_commands;
extern const struct ctl_group ctl_view_commands;
extern const struct ctl_group ctl_metrics_commands;
extern const struct ctl_group ctl_doctor_commands;
extern const struct ctl_group ctl_run_commands;
extern const struct ctl_group ctl_history_commands;
extern const struct ctl_group ctl_demo_commands;

/* ------------------------------------------------------------ pasidctl_socket.c */

/* The path of the socket for admins, when no other was asked for and we may open it. */
bool ctl_admin_socket(const struct ctl *ctl, char *ret_path, size_t size);

/* ------------------------------------------------------------ pasidctl_parse.c */

/* 0, or EXIT_USAGE after saying why. */
int ctl_parse(struct ctl *ctl, int argc, char **argv);
/* Decimal or 0x; false after saying what is wrong. */
bool ctl_number(const char *text, const char *what, uint64_t max, uint64_t *ret_number);
/* NAME, or id:NUMBER. */
bool ctl_set(const char *text, struct pasid_set_ref *ret_set);
/* NUMBER, or guest:NUMBER. */
bool ctl_pasid(const char *text, struct pasid_number *ret_pasid);
/* Whether it is the address of that device; the segment may be left out when it is 0. */
bool ctl_same_address(const char *full, const char *given);
/* Says that no such device is registered; the exit code. kind: "" or a word with a space. */
int ctl_no_device(struct ctl *ctl, const char *kind, const char *text);
/* A device of the set by id or address; *ret_code is the exit code when it is false. */
bool ctl_device(struct ctl *ctl, const char *text, uint64_t *ret_device, int *ret_code);
/* DEVICE=hwpt:N, ioas:N or space:N. */
bool ctl_pair(struct ctl *ctl, const char *text, struct pasid_pair *ret_pair, int *ret_code);

/* ------------------------------------------------------------ pasidctl_print.c */

/* Shows the answer as the command line wants it. */
void ctl_print(const struct ctl *ctl);
void ctl_print_error(const struct ctl *ctl, const struct pasid_error *error);
/* Objects as JSON; the caller owns them. */
json_t *ctl_json_set(const struct pasid_set_info *info);
json_t *ctl_json_grant(const struct pasid_grant_info *info);
/* "session 3 (user 0, process 4711)", of one of its `awaited`. */
void ctl_print_participant(FILE *out, const json_t *participant);
json_t *ctl_json_device(const struct pasid_device_info *info);
json_t *ctl_json_binding(const struct pasid_binding_info *info);
json_t *ctl_json_event(const struct pasid_event *event);
json_t *ctl_json_counter(const struct pasid_counter *counter);
/* {"ok": true} with more members to come. */
json_t *ctl_json_ok(void);
/* `key: value` lines; nested objects with a dot. */
void ctl_show_object(const struct ctl *ctl, const json_t *answer);

/* ------------------------------------------------------------ the commands */

int ctl_status(struct ctl *ctl);
/* The other half of it, in pasidctl_limit.c. */
int ctl_limits(struct ctl *ctl);
int ctl_sets(struct ctl *ctl);
int ctl_pasids(struct ctl *ctl);
int ctl_devices(struct ctl *ctl);
int ctl_bindings(struct ctl *ctl);
int ctl_who(struct ctl *ctl);
void ctl_show_status(const struct ctl *ctl, const json_t *answer);
void ctl_show_who(const struct ctl *ctl, const json_t *answer);
extern const struct ctl_column ctl_set_columns[], ctl_grant_columns[], ctl_device_columns[],
	ctl_binding_columns[];

/* Of a file that a daemon left, in pasidctl_fsck.c. */
int ctl_fsck(struct ctl *ctl);
void ctl_show_fsck(const struct ctl *ctl, const json_t *answer);

/* In pasidctl_history.c and pasidctl_history_text.c. */
int ctl_history(struct ctl *ctl);
void ctl_show_history(const struct ctl *ctl, const json_t *answer);

/* In pasidctl_hold.c. */
int ctl_hold(struct ctl *ctl);
int ctl_holds(struct ctl *ctl);
extern const struct ctl_column ctl_hold_columns[];

/* In pasidctl_watch.c. */
int ctl_watch(struct ctl *ctl);
/* A line, which whoever reads it has at once. */
void ctl_show_event(const struct ctl *ctl, const struct pasid_event *event);
/* In pasidctl_participate.c. */
int ctl_participate(struct ctl *ctl);

/* In pasidctl_translate.c. */
int ctl_translate(struct ctl *ctl);
extern const struct ctl_column ctl_translate_columns[];

/* In pasidctl_move.c. */
int ctl_move(struct ctl *ctl);
void ctl_show_move(const struct ctl *ctl, const json_t *answer);
int ctl_moves(struct ctl *ctl);
extern const struct ctl_column ctl_move_columns[];

int ctl_set_create(struct ctl *ctl);
int ctl_set_adjust(struct ctl *ctl);
int ctl_set_connect(struct ctl *ctl);
int ctl_set_destroy(struct ctl *ctl);
int ctl_alloc(struct ctl *ctl);
int ctl_extend(struct ctl *ctl);
int ctl_free(struct ctl *ctl);
int ctl_guest_attach(struct ctl *ctl);
int ctl_guest_detach(struct ctl *ctl);
int ctl_guest_find(struct ctl *ctl);
int ctl_release(struct ctl *ctl);
int ctl_recover(struct ctl *ctl);
void ctl_show_recover(const struct ctl *ctl, const json_t *answer);
int ctl_share(struct ctl *ctl);
int ctl_slice(struct ctl *ctl);
int ctl_remove(struct ctl *ctl);
int ctl_drained(struct ctl *ctl);
int ctl_map(struct ctl *ctl);
int ctl_unmap(struct ctl *ctl);
int ctl_bind(struct ctl *ctl);
int ctl_unbind(struct ctl *ctl);
int ctl_replace(struct ctl *ctl);
int ctl_stream_install(struct ctl *ctl);
int ctl_stream_replace(struct ctl *ctl);
int ctl_stream_remove(struct ctl *ctl);
/* The numbers granted, one a line. */
void ctl_show_alloc(const struct ctl *ctl, const json_t *answer);

#endif
