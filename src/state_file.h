/* SPDX-License-Identifier: MIT */
/*
 * The state port in a mapped file, which survives the daemon but not the host's uptime; or in
 * memory of the process alone.
 *
 * The file is mapped as a whole once, and every table has its place in it. Its apparent size is
 * fixed, but what it takes grows with what is reserved: space is there before it is promised, so
 * that no store can fail. Nothing is ever flushed: the records must survive the death of the
 * process, which the page cache does, and a reboot empties the tables of the hardware as well.
 *
 * A change that was not settled is taken back when the file is opened: for each store the file has
 * what was there before (docs/ARCHITECTURE.md).
 */
#ifndef PASIDD_STATE_FILE_H
#define PASIDD_STATE_FILE_H

#include "state.h"
#include "translate.h"

/* Slots of each table. */
#define STATE_FILE_SETS     16384u
#define STATE_FILE_GRANTS   (1u << 20)
#define STATE_FILE_DEVICES  8192u
#define STATE_FILE_BINDINGS (1u << 20)
#define STATE_FILE_SESSIONS 65536u
#define STATE_FILE_REPLIES  (1u << 21)
#define STATE_FILE_TIES     (1u << 20)
/* Pages for the guest->host maps of all sets: 512 MiB when all are used. */
#define STATE_FILE_PAGES 131072u

#define STATE_FILE_VERSION 2u /* of the layout; tests/data/state/ has a file of each */
#define STATE_BOOT_ID_SIZE 16u

struct state_file;

/* What there was. The numbers are stable. */
enum state_found {
	STATE_FOUND_NOTHING = 0,  /* not looked yet */
	STATE_FOUND_NEW = 1,      /* none was there: made, empty */
	STATE_FOUND_EARLIER = 2,  /* of an earlier boot: replaced by an empty one */
	STATE_FOUND_KEPT = 3,     /* of this boot, with its records */
	STATE_FOUND_DAMAGED = 4,  /* refused, as the following ones are */
	STATE_FOUND_FOREIGN = 5,  /* another user's, no regular file, or others may write to it */
	STATE_FOUND_NEWER = 6,    /* of this boot, in a layout that this version does not know */
	STATE_FOUND_LOCKED = 7,   /* another process has it */
	STATE_FOUND_NO_SPACE = 8, /* there is no room for it */
	STATE_FOUND_FAILED = 9,   /* the system said no */
	STATE_FOUND_OTHER = 10,   /* looking only: something that no pasidd wrote */
};

/* Its stable name: "new", "earlier-boot", "this-boot", "damaged", ...; never NULL. */
const char *state_found_name(enum state_found found);

/* Filled whether it succeeded or not. */
struct state_note {
	enum state_found found;
	uint32_t undone;  /* stores of an unfinished change that were taken back */
	uint32_t version; /* of its layout; 0: unknown */
	bool locked;      /* looking only: another process has it */
	uint8_t boot_id[STATE_BOOT_ID_SIZE];
	char text[640]; /* for people: the file, what is wrong, what to do */
};

/* The id of this boot, which the kernel makes (random(4)). Returns 0 or -errno. */
int state_boot_id(uint8_t ret_boot_id[static STATE_BOOT_ID_SIZE]);

/* Empty tables in memory of the process. Returns 0 or -ENOMEM. */
int state_file_memory(struct state_file **ret_file);

/*
 * Opens the file, or makes it where there is none or one of an earlier boot, and takes back an
 * unfinished change. One process at a time has it. Whatever is refused stays as it was, but for
 * -ENOSPC and -ENOMEM after an unfinished change was taken back.
 *
 * Returns 0 (NEW, EARLIER, KEPT), -EBADMSG (DAMAGED), -EPERM (FOREIGN), -EPROTONOSUPPORT (NEWER),
 * -EBUSY (LOCKED), -ENOSPC (NO_SPACE) or another -errno (FAILED).
 */
int state_file_open(const char *path, const uint8_t boot_id[static STATE_BOOT_ID_SIZE],
	struct state_file **ret_file, struct state_note *ret_note);

/*
 * Looks at a file without changing it or being in anybody's way: what is returned is a private copy
 * in which an unfinished change is taken back. Records may be in motion when another process has
 * the file (ret_note->locked). found is KEPT or EARLIER; of an earlier boot *ret_file is NULL when
 * its layout is not known. Results as those of state_file_open(), -ENOENT (FAILED) without a file,
 * and -EBADMSG (OTHER) for what does not begin as a state file: a path may be wrong, where the
 * daemon's own is not.
 */
int state_file_look(const char *path, const uint8_t boot_id[static STATE_BOOT_ID_SIZE],
	struct state_file **ret_file, struct state_note *ret_note);

/* Unmaps and closes; what was settled stays in the file. NULL is fine. */
void state_file_free(struct state_file *file);

/* The state port; valid as long as the file is. */
const struct state *state_file_state(const struct state_file *file);

/* One more than the highest slot of the table that was ever reserved: there are no others. */
uint32_t state_file_used(const struct state_file *file, enum state_table table);

/*
 * The port of pages for guest->host maps, valid as long as the file; the base never moves. They are
 * not in the file: a recovery makes them anew. A page that is given back may be taken again at
 * once: nobody outside the process reads these. -ENOSPC when all are taken.
 */
struct translate_pages state_file_pages(struct state_file *file);

/* How many pages are taken. */
uint32_t state_file_pages_taken(const struct state_file *file);

#endif
