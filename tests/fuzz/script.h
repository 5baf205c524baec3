/* SPDX-License-Identifier: MIT */
/*
 * An input of fuzz_dispatch: one byte of flags, then records of an action, whom it is about, the
 * length of what follows (two bytes, the lower one first), and that many bytes. What is too short
 * is read as zero, and what is cut off at the end is left out, so that any bytes are a script.
 */
#ifndef PASIDD_FUZZ_SCRIPT_H
#define PASIDD_FUZZ_SCRIPT_H

#include "fuzz.h"

#include <stdbool.h>

#define SCRIPT_ALONE 1u /* no honest peer; root may do anything */

enum script_action {
	SCRIPT_SEND, /* descriptors, flags, kind and number of each, then the datagram */
	SCRIPT_STEP, /* how many operations of the hardware, which first */
	SCRIPT_TIME, /* tens of milliseconds */
	SCRIPT_READ, /* how many datagrams, 0: all */
	SCRIPT_CONNECT,
	SCRIPT_DISCONNECT, /* is the process dead? */
	SCRIPT_DIE,
	SCRIPT_FAIL,   /* kind, status, after how many, how often */
	SCRIPT_HANG,   /* which worker */
	SCRIPT_LOSE,   /* which worker */
	SCRIPT_REFUSE, /* do workers take no more? */
	SCRIPT_HONEST,
	SCRIPT_SHUT_DOWN,
	SCRIPT_ACTIONS,
};

#define SCRIPT_HEAD          4u /* bytes of a record in front of its content */
#define SCRIPT_FDS_MAX       3u
#define SCRIPT_FDS_TRUNCATED 0x80u
#define SCRIPT_RECORDS_MAX   512u

struct script_record {
	uint8_t action, slot;
	uint16_t size;
	const uint8_t *bytes;
};

/* The next record at *at, which moves on behind it; false: no more. */
bool script_next(const uint8_t *data, size_t size, size_t *at, struct script_record *ret_record);
/* A byte of a record, 0 behind its end. */
uint8_t script_byte(const struct script_record *record, unsigned index);
/* How many bytes of a SCRIPT_SEND are in front of the datagram. */
size_t script_datagram_at(const struct script_record *record);
/* Appends it; the new size, or the old one when there is no room. */
size_t script_append(
	uint8_t *data, size_t size, size_t max_size, const struct script_record *record);

#endif
