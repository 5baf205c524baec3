/* SPDX-License-Identifier: MIT */
/*
 * Records what the real client sends: libpasid speaks over a socket with the world of
 * fuzz_dispatch, in which the same script then means the same.
 */
#ifndef PASIDD_FUZZ_RECORD_H
#define PASIDD_FUZZ_RECORD_H

#include "libpasid.h"
#include "script.h"
#include "world.h"

/* A new world, and with it a new script of this name. */
void record_begin(const char *name, bool has_honest);
/* The script is written. */
void record_end(void);

/* A client of the user who has this slot. */
struct pasid_client *record_client(enum world_slot slot, enum pasid_role role);
/* The same, and it takes over a session. */
struct pasid_client *record_taking(enum world_slot slot, const struct pasid_hand_over *take_over);
/* The next connection is taken for this slot. */
void record_expect(enum world_slot slot);
/* Waits until it was noticed that the client of this slot has gone. */
void record_gone(enum world_slot slot);
/* Something that is not a datagram, with up to four bytes. */
void record_action(
	enum script_action action, unsigned slot, uint8_t a, uint8_t b, uint8_t c, uint8_t d);
/* Do workers do what they are given at once? true at the beginning. */
void record_hardware(bool is_quick);
/* A descriptor that the world takes for this kind; it is kept until record_end(). */
int record_fd(enum world_fd_kind kind, unsigned number);

/* The call must succeed, or must be refused. */
#define RECORD_DONE(client, call) record_expect_result((client), (call), true, #call)
#define RECORD_NOT(client, call)  record_expect_result((client), (call), false, #call)
void record_expect_result(struct pasid_client *client, int result, bool wanted, const char *what);

/* Everything that is recorded: what clients do, and what goes wrong. */
void record_scenes(void);
void record_moves(void);
void record_scopes(void);
void record_streams(void);
void record_hard_scenes(void);

#endif
