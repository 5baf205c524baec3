/* SPDX-License-Identifier: MIT */
/* The layout of the audit trail; for audit*.c alone. */
#ifndef PASIDD_AUDIT_PRIVATE_H
#define PASIDD_AUDIT_PRIVATE_H

#include "audit.h"

#include <stdarg.h>
#include <string.h>

#define AUDIT_MAGIC       "PASIDAUD"
#define AUDIT_HEADER_SIZE 4096u
#define AUDIT_CHUNK       1024u               /* records that space is made for at once */
#define AUDIT_UNIT        8192u               /* so that each ring is of whole chunks */
#define AUDIT_SEQUENCES   (UINT64_C(1) << 62) /* more than there ever will be */
#define AUDIT_WORDS       (sizeof(struct audit_record) / sizeof(uint64_t))

/* In the order of the host: of another byte order the version is another. */
struct audit_header {
	char magic[8];
	uint32_t version, record_size;
	uint32_t capacity[4];          /* of each ring, in records; the last one is 0 */
	uint64_t settled;              /* what is up to this sequence is final */
	uint64_t lost_ms[AUDIT_RINGS]; /* the time of the record that was overwritten last */
	/* Where a daemon of this boot goes on; of another one what is here may be older than the
	   records are. Of refusals it is behind the last record, for daemons to which they are a
	   ring, too. */
	uint32_t boot, next[AUDIT_RINGS];
	uint64_t sequence; /* of the last record, or of the one before it */
};

_Static_assert(AUDIT_UNIT / 8 % AUDIT_CHUNK == 0, "the smallest ring is of whole chunks");

static inline uint64_t audit_ring_offset(const struct audit_header *header, enum audit_ring ring)
{
	uint64_t offset = AUDIT_HEADER_SIZE;

	for (unsigned i = 0; i < ring; i++)
		offset += (uint64_t)header->capacity[i] * sizeof(struct audit_record);
	return offset;
}

static inline uint64_t audit_mix(uint64_t lane, uint64_t word)
{
	lane = (lane ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return lane ^ lane >> 32;
}

/*
 * The check of a record, whatever its own is: tells one that was written as a whole from one that
 * is half another. Not against who wants to deceive.
 */
static inline uint32_t audit_check(const struct audit_record *record)
{
	uint64_t words[AUDIT_WORDS], a = 1, b = 2, c = 3, d = 4, sum;

	memcpy(words, record, sizeof(words));
	words[offsetof(struct audit_record, check) / sizeof(uint64_t)] &= ~(uint64_t)UINT32_MAX;
	/* Four at a time, which do not wait for each other. */
	for (size_t i = 0; i < AUDIT_WORDS; i += 4) {
		a = audit_mix(a, words[i]);
		b = audit_mix(b, words[i + 1]);
		c = audit_mix(c, words[i + 2]);
		d = audit_mix(d, words[i + 3]);
	}
	sum = a * 3 + b * 5 + c * 7 + d * 11;
	return (uint32_t)(sum ^ sum >> 32);
}
_Static_assert(AUDIT_WORDS % 4 == 0, "four words at a time");
_Static_assert(offsetof(struct audit_record, check) % sizeof(uint64_t) == 0 &&
		       __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	"the check is the lower half of its word");

static inline bool audit_is_whole(const struct audit_record *record)
{
	return record->sequence != 0 && record->sequence < AUDIT_SEQUENCES &&
	       record->check == audit_check(record);
}

/* Fills the error and returns r. */
__attribute__((format(printf, 3, 4))) int audit_fail(
	struct audit_error *ret_error, int r, const char *format, ...);

#endif
