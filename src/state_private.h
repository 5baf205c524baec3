/* SPDX-License-Identifier: MIT */
/*
 * The layout of the state file, and what the files of its implementation share. Nobody else
 * includes this; tests do, to damage files on purpose.
 *
 * header, one page | log of the current change | tables, in the order of enum state_table
 *
 * A change of anything here, or of a slot in state.h, needs another STATE_FILE_VERSION, and a way
 * to read this one: a host is not rebooted for an update.
 */
#ifndef PASIDD_STATE_PRIVATE_H
#define PASIDD_STATE_PRIVATE_H

#include "state_file.h"

#define STATE_PAGE   4096u
#define STATE_CHUNK  65536u /* bytes by which what the file takes grows */
#define STATE_MAGIC  "pasidd\x1a\n"
#define STATE_PLACES 8u /* for tables; all are taken */
/* What one takes with something of everything: a chunk of each table, more of replies and log. */
#define STATE_BEGIN_BYTES ((STATE_PLACES + 3) * STATE_CHUNK)
_Static_assert(STATE_TABLES <= STATE_PLACES, "each table has a place in the header");

struct state_region {
	uint64_t offset;
	uint32_t slot_size, capacity;
};

struct state_header {
	/* The same in all versions: whose file it is, and of which boot, is always known. */
	uint8_t magic[8];
	uint32_t version;
	uint32_t fixed_bytes; /* from the start; they never change, and have a checksum */
	uint8_t boot_id[STATE_BOOT_ID_SIZE];
	uint64_t checksum; /* FNV-1a of the fixed bytes, with 0 here */

	uint64_t size; /* of the file */
	uint64_t log_offset;
	uint32_t log_capacity, table_count;
	struct state_region tables[STATE_PLACES];

	/* From here on it changes. Space is taken first, then it counts. */
	uint32_t room[STATE_PLACES]; /* slots that have their space */
	uint32_t used[STATE_PLACES]; /* slots that were ever reserved */
	uint32_t log_room;           /* entries that have their space */
	uint32_t reserved[27];

	uint32_t changes; /* entries of the log that count: stores that are not settled */
};
#define STATE_FIXED_BYTES offsetof(struct state_header, room)
/* What all versions have, checksum included. */
#define STATE_PREFIX_BYTES offsetof(struct state_header, size)
_Static_assert(STATE_PREFIX_BYTES == 40 && STATE_FIXED_BYTES == 192, "a fixed layout");
_Static_assert(offsetof(struct state_header, changes) == 368, "a fixed layout");
_Static_assert(sizeof(struct state_header) <= STATE_PAGE, "it fits");

/* What was there before a store. */
struct state_undo {
	uint64_t offset; /* in the file, of eight bytes of a slot */
	uint64_t value;
};
ASSERT_SIZE(struct state_undo, 16);

/* Pages of guest->host maps. */
struct state_pages {
	uint8_t *base;   /* STATE_FILE_PAGES of TRANSLATE_PAGE bytes */
	uint32_t *given; /* stack of page numbers that were given back */
	uint32_t given_count;
	uint32_t fresh; /* pages from here on were never taken and are zero */
};

struct state_file {
	struct state state;
	uint8_t *base; /* the whole file */
	uint64_t size;
	struct state_header *header;
	struct state_undo *log;
	uint32_t changes, log_room; /* as in the header */
	uint32_t used;              /* of all tables */
	int fd;                     /* -1: memory */
	struct state_pages pages;
};

/* ------------------------------------------------------------------ state_layout.c */

/* The header of an empty file. */
void state_header_make(
	const uint8_t boot_id[static STATE_BOOT_ID_SIZE], struct state_header *ret_header);
uint64_t state_header_checksum(const struct state_header *header);
uint64_t state_size(void); /* of the file */
/*
 * Gives the file of an older version, which was judged, the layout of this one: it only grows. One
 * store of the whole header decides, so that it is of one version or the other whenever we die.
 * 0 or -errno.
 */
int state_upgrade(int fd, const struct state_header *header);

/*
 * What the file of `size` bytes that starts with this header is: 0 and KEPT or EARLIER in the note;
 * or refused, as by state_file_open(). Says nothing yet of what is mapped.
 */
int state_header_judge(const char *path, const struct state_header *header, uint64_t size,
	const uint8_t boot_id[static STATE_BOOT_ID_SIZE], struct state_note *note);
/* Whether the fixed part is that of its version's layout, which we know. 0 or a refusal. */
int state_header_layout(const char *path, const struct state_header *header, uint64_t size,
	struct state_note *note);
/* Whether the counters are possible, then the log. 0 or a refusal. */
int state_counters_judge(
	const char *path, const struct state_header *header, struct state_note *note);
int state_log_judge(const char *path, const struct state_file *file, struct state_note *note);
/* Takes an unfinished change back; may be killed and begun again. Says how many stores it had. */
uint32_t state_undo_all(struct state_file *file);

__attribute__((format(printf, 4, 5))) int state_refuse(
	struct state_note *note, enum state_found found, int r, const char *format, ...);

/* ------------------------------------------------------------------ state.c, state_pages.c */

/*
 * Maps the tables: of a file, whose descriptor is taken, or zeros of the process alone (-1).
 * -ENOMEM.
 */
int state_map(int fd, struct state_file **ret_file);
/* Makes room for the log and for what is used; again where a copy of the file lost it. */
int state_make_room(struct state_file *file);
/* Takes over the counters of the header, when they were judged. */
void state_take_counters(struct state_file *file);

int state_pages_init(struct state_pages *pages);
void state_pages_done(struct state_pages *pages);

#endif
