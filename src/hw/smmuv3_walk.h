/* SPDX-License-Identifier: MIT */
/*
 * What an SMMUv3 does with a transaction, word by word: stream table, context descriptors, first
 * and second stage (Arm IHI 0070, sections 3.3, 3.4 and 7.3; 4 KiB granules, TTB0).
 *
 * Pure, and safe on any bit pattern: what is read may have been written by somebody hostile, and
 * the work is bounded whatever it says.
 */
#ifndef PASIDD_HW_SMMUV3_WALK_H
#define PASIDD_HW_SMMUV3_WALK_H

#include "smmuv3_table.h"

/* Reads a word of physical memory; *ok becomes false when there is none. */
struct smmuv3_memory {
	uint64_t (*read)(void *ctx, uint64_t phys, bool *ok);
	void *ctx;
};

/* STRTAB_BASE and STRTAB_BASE_CFG. */
struct smmuv3_streams {
	uint64_t base;
	uint32_t width; /* LOG2SIZE: bits of stream ids */
	bool two_level; /* of which the second has SMMUV3_SPLIT bits */
};

/*
 * How a transaction ends. S(name, the event of section 7.3 or a word of ours, a sentence): the
 * texts are what the tools show, and stable.
 */
#define SMMUV3_STOPS(S)                                                                            \
	S(REACHED, "reached", "it gets through")                                                   \
	S(ABORTED, "aborted", "the stream table entry aborts all transactions, without an event")  \
	S(BAD_STREAMID, "C_BAD_STREAMID", "the stream table has no entry for this stream")         \
	S(BAD_STE, "C_BAD_STE", "the stream table entry is not valid, or says what it may not")    \
	S(DISABLED, "F_STREAM_DISABLED", "only transactions with a substream are served")          \
	S(BAD_SUBSTREAMID, "C_BAD_SUBSTREAMID", "there is no descriptor for this substream")       \
	S(BAD_CD, "C_BAD_CD", "the context descriptor is not valid, or says what it may not")      \
	S(TRANSLATION, "F_TRANSLATION", "nothing is mapped there")                                 \
	S(ADDR_SIZE, "F_ADDR_SIZE", "an address is beyond the width of the tables")                \
	S(ACCESS, "F_ACCESS", "the access flag is not set")                                        \
	S(PERMISSION, "F_PERMISSION", "the tables forbid it")                                      \
	S(UNREADABLE, "unreadable", "memory on the way cannot be read from here")

enum smmuv3_stop {
#define S(name, text, sentence) SMMUV3_##name,
	SMMUV3_STOPS(S)
#undef S
		SMMUV3_STOP_COUNT
};
/* Never NULL. */
const char *smmuv3_stop_text(enum smmuv3_stop stop);
const char *smmuv3_stop_sentence(enum smmuv3_stop stop);

enum smmuv3_step_kind {
	SMMUV3_STEP_L1STD = 1,
	SMMUV3_STEP_STE,
	SMMUV3_STEP_L1CD,
	SMMUV3_STEP_CD,
	SMMUV3_STEP_STAGE1,
	SMMUV3_STEP_STAGE2,
};
const char *smmuv3_step_text(enum smmuv3_step_kind kind);

/* One structure that was read: its first word. */
struct smmuv3_step {
	uint32_t kind;  /* enum smmuv3_step_kind */
	uint32_t level; /* translation tables: 0 to 3 */
	uint64_t phys, word;
};
/* 4 structures, two of which lie behind 4 levels of the second stage; 4 levels of the first, each
 * and what they lead to behind 4 of the second. */
#define SMMUV3_STEPS_MAX (4 + 2 * 4 + 4 * 5 + 4)

struct smmuv3_request {
	uint32_t stream;
	bool has_substream;
	uint32_t substream;
	uint64_t address;
	bool write;
};

struct smmuv3_walk_result {
	enum smmuv3_stop stop;
	uint32_t stage; /* of a fault in translation tables: 1 or 2; otherwise 0 */
	bool has_ste, has_cd;
	uint64_t ste[SMMUV3_STE_WORDS];
	uint64_t cd[SMMUV3_CD_WORDS];
	uint64_t phys;      /* when reached */
	uint64_t page_size; /* bytes of the smallest page on the way, when reached */
	bool writeable;     /* when reached: a write would get through as well */
	uint32_t step_count;
	struct smmuv3_step steps[SMMUV3_STEPS_MAX];
};

/* Never fails: the result says what was found. */
void smmuv3_walk(const struct smmuv3_memory *memory, const struct smmuv3_streams *streams,
	const struct smmuv3_request *request, struct smmuv3_walk_result *ret_result);

#endif
