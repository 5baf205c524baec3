/* SPDX-License-Identifier: MIT */
/*
 * The audit trail: a file of records of fixed size that says what became of each PASID, binding,
 * set and device, and what was refused to whom.
 *
 * Three parts, so that neither a client that is refused all the time nor one that allocates and
 * frees all the time washes away what happened to the bindings, sets and devices of others. Two are
 * rings; of the refusals' part each user has a share (audit_shares.h), so that a client that is
 * refused all the time does not wash away what others were refused either. The file is mapped, and
 * its space is there before it is written to: a record costs stores and no system call. It survives
 * the daemon, and with the file system it is in also the host.
 *
 * A record is whole if its check is right; whoever reads takes no lock, at any time, also from a
 * copy, and passes over those that are not. Records are ordered by their sequence, over all parts,
 * daemons and boots; where in its part one stands says nothing.
 */
#ifndef PASIDD_AUDIT_H
#define PASIDD_AUDIT_H

#include "base.h"
#include "error.h"

#define AUDIT_FILE           "audit" /* in the logs directory, or the runtime directory */
#define AUDIT_FILE_SIMULATED "audit-simulated"
#define AUDIT_DIRECTORY      "/var/log/pasidd"
#define AUDIT_VERSION        1u
#define AUDIT_NAME_MAX       64
#define AUDIT_NO_RID         UINT32_MAX
#define AUDIT_RECORDS_MIN    8192u      /* of all parts */
#define AUDIT_RECORDS_MAX    (1u << 23) /* 1 GiB */

enum audit_ring {
	AUDIT_NUMBERS = 0,  /* grants, guest PASIDs, holds, quarantine: half of the file */
	AUDIT_BINDINGS = 1, /* bindings, sets, devices, and the daemon itself: three eighths */
	AUDIT_REFUSALS = 2, /* one eighth; no ring, but shares of users */
	AUDIT_RINGS = 3,
};

/* Below AUDIT_STARTED they are those of enum change_kind, which are those of pasid.v1.EventKind. */
enum audit_kind {
	AUDIT_STARTED = 64, /* a daemon; name: its version */
	AUDIT_STOPPED = 65, /* in order */
	AUDIT_MISSED = 66,  /* changes that could not be recorded; `device`: how many */
	AUDIT_REFUSED = 67,
};

enum audit_flag {
	AUDIT_HAS_GUEST = 1,
	AUDIT_HAS_PEER = 2, /* uid and pid are those of who caused it */
	/* The daemon died as it was about to make it final: it may have been taken back. */
	AUDIT_DOUBTFUL = 4,
	AUDIT_IS_SPAN = 8, /* the same became of `count` numbers, from `host` on */
};

struct audit_record {
	uint64_t sequence; /* 1, 2, 3, ...; 0: none. Stored last */
	uint64_t time_ms;  /* since 1970 */
	uint64_t set;      /* 0: none */
	union {
		uint64_t device; /* 0: none */
		uint64_t count;  /* with AUDIT_IS_SPAN, which has no device */
	};
	uint32_t check;            /* of all other fields */
	uint32_t host;             /* PASID; 0: none */
	uint32_t guest;            /* with AUDIT_HAS_GUEST */
	uint32_t uid, pid;         /* with AUDIT_HAS_PEER */
	uint32_t rid;              /* of the device: struct rid; AUDIT_NO_RID: none */
	uint32_t boot;             /* tells boots apart: the first four bytes of the boot id */
	uint8_t kind;              /* enum audit_kind or change_kind */
	uint8_t operation;         /* of the request that caused it, as on the wire; 0: none */
	uint8_t reason;            /* enum reason; what was refused */
	uint8_t flags;             /* enum audit_flag */
	char name[AUDIT_NAME_MAX]; /* of the set; terminated unless it fills the field */
};
ASSERT_SIZE(struct audit_record, 128);

/* How many numbers it is about, from `host` on: 1, or what it says; 1 where that cannot be. */
static inline uint32_t audit_span(const struct audit_record *record)
{
	if (!(record->flags & AUDIT_IS_SPAN) || record->host > PASID_LAST ||
		record->count - 1 > PASID_LAST - record->host)
		return 1;
	return (uint32_t)record->count;
}

static inline bool audit_is_about(const struct audit_record *record, uint32_t host)
{
	return host >= record->host && host - record->host < audit_span(record);
}

/* What is wrong, for people. */
struct audit_error {
	char text[512];
};

/* ---------------------------------------------------------------- writing (audit.c) */

struct audit;

/*
 * Opens the trail at `path`, or makes it, for `records` records (rounded up; AUDIT_RECORDS_MIN to
 * AUDIT_RECORDS_MAX). One of another size or layout, or that is none, is renamed to "PATH.old"
 * first, see audit_aside(). Records that an earlier daemon had not made final are marked as
 * doubtful. 0; -EBUSY: another process writes to it; or -errno. ret_error is filled unless it
 * returns 0, and then with what is to be said of a file that was renamed, or left as it is.
 */
int audit_open(const char *path, uint32_t records, const uint8_t boot_id[static 16],
	struct audit **ret_audit, struct audit_error *ret_error);
#define AUDIT_ASIDE_MAX  4u    /* files that are kept beside a trail */
#define AUDIT_ASIDE_PATH 4096u /* bytes of their paths, with the final 0 */
/*
 * Renames what is at `path` to "PATH.old", and before that "PATH.old" to "PATH.old.1" and so on, up
 * to "PATH.old.3", which is replaced when all four are there. 0, and *ret_said says so, also what
 * was replaced; or -errno, and it says what failed.
 */
int audit_aside(const char *path, struct audit_error *ret_said);
/* Without a last record. NULL is fine. */
void audit_close(struct audit *audit);

/*
 * Appends a record: sequence, time_ms, check and boot are filled here, also in *record. Never
 * fails. It is stores into memory; a system call is made for one record of some thousands, to have
 * space for those to come. A store can wait where the file's disk does, when its page was written
 * back or given away meanwhile: where that matters the trail belongs on a tmpfs. NULL is fine for
 * audit.
 */
void audit_write(struct audit *audit, enum audit_ring ring, struct audit_record *record);
/* What was written until now is final. */
void audit_settled(struct audit *audit);
/* Reads the wall clock, against `now_ms`, which is that of the loop and written as time. To be
 * called once a wake-up of the loop; cheap. */
void audit_tick(struct audit *audit, uint64_t now_ms);
/* The space of the disk is used up: earlier records are overwritten before it need be. */
bool audit_is_short(const struct audit *audit);
/* It cannot be reached any more, because its disk failed or somebody cut it short: nothing of what
 * comes is recorded. A store into it was a signal (SIGBUS), which audit_open() has caught. */
bool audit_is_lost(const struct audit *audit);

/* ---------------------------------------------------------------- reading (audit_read.c) */

/* What is asked for; all of it must be so. */
struct audit_query {
	bool has_host;
	uint32_t host; /* alone, or one of a span */
	bool has_rid;
	uint32_t rid;
	const char *name;            /* of the set; NULL: any */
	uint64_t set;                /* 0: any */
	uint64_t since_ms, until_ms; /* since 1970; 0: no bound. Both included */
	bool no_refusals;
	bool runs;      /* with the daemon's starts and stops after the first record found */
	uint32_t limit; /* so many, the last ones; 0: all */
};

struct audit_found {
	struct audit_record *records; /* in order; free() them */
	size_t count;
	size_t passed_over; /* earlier ones, beyond the limit */
	size_t damaged;     /* slots with something else than a record, or that was written to */
	uint64_t lost_ms;   /* of numbers and bindings up to then some were overwritten; 0: none */
};

/*
 * Looks for records in a trail, or a copy of one, whoever made it. 0; -EBADMSG: it is none;
 * -ENOMEM; or -errno. ret_error is filled unless it returns 0.
 */
int audit_read(const char *path, const struct audit_query *query, struct audit_found *ret_found,
	struct audit_error *ret_error);
/*
 * The last record that is so and no refusal, start or stop; query->limit and the like do not count.
 * -ENOENT: there is none.
 */
int audit_read_last(const char *path, const struct audit_query *query,
	struct audit_record *ret_record, struct audit_error *ret_error);

/* ---------------------------------------------------------------- texts (audit_text.c) */

/* "granted", "bound", "refused", ...; never NULL. Stable. */
const char *audit_kind_text(uint32_t kind);
/* "allocate", "set-create", ...; never NULL, "" for none. Stable. */
const char *audit_operation_text(uint32_t operation);
/* The name of the set, terminated; "" when there is none. */
void audit_name(const struct audit_record *record, char ret_name[static AUDIT_NAME_MAX + 1]);

#endif
