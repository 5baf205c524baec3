/* SPDX-License-Identifier: MIT */
/* A folder with a state file in it. */
#ifndef PASIDD_TEST_STATE_RIG_H
#define PASIDD_TEST_STATE_RIG_H

#include "state_private.h"

extern const uint8_t rig_boot[STATE_BOOT_ID_SIZE], rig_other_boot[STATE_BOOT_ID_SIZE];
extern char rig_dir[64], rig_path[96];

void state_rig_setup(void);
void state_rig_teardown(void);

/* Opens the file of the rig, which must succeed and find this. */
struct state_file *state_rig_open(enum state_found found);

/*
 * The parts of a file that are not all zero, and its size: what a refusal must leave alone. The
 * caller frees it.
 */
struct state_rig_bytes {
	uint64_t size;
	uint8_t *pages; /* of the header, the log and the first chunk of each table */
	size_t length;
};
struct state_rig_bytes state_rig_read(const char *path);
void state_rig_same(const char *path, const struct state_rig_bytes *bytes);

/* Writes into a file. */
void state_rig_poke(const char *path, uint64_t offset, const void *bytes, size_t size);
/* A file's header with one change made by `edit`; `sum` makes the checksum right again. */
void state_rig_edit(const char *path, void (*edit)(struct state_header *header), bool sum);

/*
 * Records of every table and state that go together: set 0 ACTIVE "vm0", 1 DYING "vm1", 2 ZOMBIE
 * "vm0", grants 0-4 (PASIDs 1024-1028), device 0 exclusive, 1 shared, 2 a slice of it, bindings
 * 0-3, sessions 0-1, replies 0-4. What this writes is in tests/data/state/: it must not change for
 * a layout that has a file there.
 */
#define RIG_SETS     3u
#define RIG_GRANTS   5u
#define RIG_DEVICES  3u
#define RIG_BINDINGS 4u
#define RIG_SESSIONS 2u
#define RIG_REPLIES  5u
void state_rig_fill(const struct state *state);
/* What version 2 added: set 0 may use both scopes, grant 0 is for group 1 alone, session 0 holds
 * grant 1 twice. */
#define RIG_TIES 2u
void state_rig_fill_ties(const struct state *state);

#endif
