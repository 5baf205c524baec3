/* SPDX-License-Identifier: MIT */
/*
 * Is this host ready? What each check makes of a text that somebody else has read: from this host,
 * from a copy of another one's /proc and /sys, or from a test. Nothing here reads, allocates or
 * calls the system, and every text may be NULL (it is not there) or anything at all.
 */
#ifndef PASIDCTL_DOCTOR_H
#define PASIDCTL_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In order of how bad it is. */
enum doctor_level {
	DOCTOR_OK = 0,
	DOCTOR_UNKNOWN, /* cannot be seen from here */
	DOCTOR_WARNING, /* PASIDs can be bound, but not everywhere, or not by everybody */
	DOCTOR_PROBLEM, /* no PASID can be bound */
};

#define DOCTOR_NAME_MAX     40
#define DOCTOR_TEXT_MAX     232
#define DOCTOR_FINDINGS_MAX 256

struct doctor_finding {
	char name[DOCTOR_NAME_MAX];
	enum doctor_level level;
	char found[DOCTOR_TEXT_MAX];  /* a sentence without its end */
	char remedy[DOCTOR_TEXT_MAX]; /* the same; empty: nothing to do */
};

struct doctor_report {
	size_t count;
	size_t dropped; /* what there was no room for */
	struct doctor_finding findings[DOCTOR_FINDINGS_MAX];
};

/* Adds a finding; texts are cut to their room. remedy may be NULL. */
__attribute__((format(printf, 5, 6))) void doctor_add(struct doctor_report *report,
	enum doctor_level level, const char *name, const char *remedy, const char *format, ...);
/* How many findings are of this level. */
size_t doctor_count(const struct doctor_report *report, enum doctor_level level);
/* "ok", "unknown", "warning" or "problem". */
const char *doctor_level_text(enum doctor_level level);

/* ------------------------------------------------------------ the kernel */

/* What IOMMU it is; decided by the names in /sys/class/iommu. */
enum doctor_iommu {
	DOCTOR_IOMMU_NONE = 0,
	DOCTOR_IOMMU_VTD,
	DOCTOR_IOMMU_SMMUV3,
	DOCTOR_IOMMU_OTHER,
};

/* "6.15.2-amd64" as 6 and 15; false: no version. */
bool doctor_version(const char *release, unsigned *ret_major, unsigned *ret_minor);
/* Text of a kernel's configuration: 'y', 'm' or 'n' (also "is not set", or not mentioned); 0:
 * config is NULL. */
char doctor_config(const char *config, const char *key);
/* A word of the command line, or what follows its '='. false: not there. The last one counts. */
bool doctor_word(const char *command_line, const char *word, char *ret_value, size_t size);

void doctor_check_kernel(struct doctor_report *report, const char *release);
void doctor_check_config(struct doctor_report *report, const char *config);
void doctor_check_command_line(struct doctor_report *report, const char *command_line,
	const char *config, enum doctor_iommu iommu);
/* Of a module, by its name with '_': loaded or built in; else whether modules.dep or
 * modules.builtin has it. */
struct doctor_module {
	const char *name;
	bool there;
	const char *loadable, *builtin; /* the texts of modules.dep, modules.builtin */
};
void doctor_check_module(struct doctor_report *report, const struct doctor_module *module);

/* ------------------------------------------------------------ IOMMUs */

/* Hexadecimal text of a register, as sysfs has it. */
bool doctor_register(const char *text, uint64_t *ret_value);
/* What a name in /sys/class/iommu says. */
enum doctor_iommu doctor_iommu_kind(const char *name);
/* One VT-d unit; cap and ecap are texts. true: it can have PASIDs. */
bool doctor_check_vtd(
	struct doctor_report *report, const char *unit, const char *cap, const char *ecap);
void doctor_check_smmuv3(struct doctor_report *report, const char *unit);
/* The host as a whole, behind its units: how many there are, and how many of them can have PASIDs.
 */
void doctor_check_iommu(
	struct doctor_report *report, enum doctor_iommu iommu, size_t units, size_t capable);

/* ------------------------------------------------------------ functions */

/* What the configuration space of a function says; section numbers are those of PCIe 6.0. */
struct doctor_pci {
	bool readable; /* beyond the first 64 bytes, which only root may read */
	bool bridge;
	bool express;       /* 7.5.3: it has the PCI Express capability */
	bool prefixes;      /* 7.5.3.15: end-end TLP prefixes */
	bool ats, pri, acs; /* 10.5.1, 10.5.2, 7.7.11 */
	bool pasid;         /* 7.8.9 */
	bool pasid_enabled;
	uint32_t pasid_width; /* bits */
};
/* Any bytes; reads no further than size. */
void doctor_pci_parse(const uint8_t *bytes, size_t size, struct doctor_pci *ret_pci);

struct doctor_function {
	const char *address;
	const char *driver;    /* NULL: none */
	struct doctor_pci pci; /* of a virtual function: its physical one's PASID capability */
	bool is_virtual;
	const char *group;      /* NULL: none */
	size_t group_others;    /* further functions in it that are no bridges */
	size_t group_strangers; /* of those, the ones whose driver is not vfio-pci */
	const char *blocking;   /* a bridge above it without end-end prefixes; NULL: none known */
	const char *node;       /* vfioN; NULL: none */
};
/* One that is bound to vfio-pci, so that a VM may get it. false: it cannot have PASIDs there. */
bool doctor_check_function(struct doctor_report *report, const struct doctor_function *function);

struct doctor_functions {
	size_t bound;      /* to vfio-pci */
	size_t usable;     /* of those, as far as can be seen */
	size_t candidates; /* have PASIDs, and another driver or none */
	size_t unread;     /* what they have only root can see */
	char first_candidate[16];
};
/* All of them. */
void doctor_check_functions(struct doctor_report *report, const struct doctor_functions *functions);

/* ------------------------------------------------------------ who may open what */

#define DOCTOR_GROUPS_MAX 64
struct doctor_user {
	const char *name;
	uint32_t uid;
	size_t gid_count;
	uint32_t gids[DOCTOR_GROUPS_MAX];
};
/* The user of this name, with its groups, out of the texts of passwd and group. false: none. */
bool doctor_user(
	const char *name, const char *passwd, const char *group, struct doctor_user *ret_user);

struct doctor_node {
	const char *path;
	bool there;
	uint32_t mode, uid, gid;
	bool asked, allowed; /* whether we ourselves may open it, if that was asked */
};
bool doctor_may_open(const struct doctor_node *node, const struct doctor_user *user);
/* daemon: the daemon's user. */
void doctor_check_node(struct doctor_report *report, const struct doctor_node *node,
	const struct doctor_user *daemon);
void doctor_check_container(struct doctor_report *report, bool there, const char *config);

/* ------------------------------------------------------------ the rest of the host */

/* Text of /proc/PID/limits. */
void doctor_check_memlock(struct doctor_report *report, const char *limits);
/* The version out of the name of its library; 0: not found. running: it is what this host has
 * booted. */
void doctor_check_systemd(struct doctor_report *report, unsigned version, bool running);
/* Text of /proc/sys/kernel/seccomp/actions_avail. */
void doctor_check_seccomp(struct doctor_report *report, const char *seccomp);
/* Text of /sys/kernel/security/lsm; landlock: -1 unknown. */
void doctor_check_security(struct doctor_report *report, const char *lsm, int landlock);
/* What a system call answered when it was tried harmlessly. */
enum doctor_probe {
	DOCTOR_PROBE_NONE = 0, /* not tried */
	DOCTOR_PROBE_THERE,
	DOCTOR_PROBE_MISSING,
	DOCTOR_PROBE_FORBIDDEN,
};
void doctor_check_probes(struct doctor_report *report, enum doctor_probe pidfd,
	enum doctor_probe pidfs, enum doctor_probe kcmp);

struct doctor_daemon {
	bool reachable;
	const char *error; /* why it is not */
	const char *version, *backend;
	bool counted, consistent; /* a recount was made, and agrees */
	const char *const *notes;
	size_t note_count;
};
void doctor_check_daemon(struct doctor_report *report, const struct doctor_daemon *daemon);

#endif
