/* SPDX-License-Identifier: MIT */
/*
 * What the kernel's log says of refused DMA: lines in, faults out.
 *
 * The formats are those of the two homes, vtd_fault.h and smmuv3_fault.h; here is what they have in
 * common, and the reader that hands each line to the right one. Pure, bounded, and safe on any
 * bytes: a log has lines of everybody who may write to it.
 */
#ifndef PASIDD_HW_FAULT_H
#define PASIDD_HW_FAULT_H

#include "../base.h"

enum fault_iommu {
	FAULT_ANY = 0, /* the line does not say */
	FAULT_VTD,
	FAULT_SMMUV3,
	FAULT_IOMMU_COUNT,
};

enum fault_kind {
	FAULT_DMA = 1,      /* a DMA, or a translation that was asked for, was refused */
	FAULT_INTERRUPT,    /* an interrupt of a device was refused: no address, no PASID */
	FAULT_PAGE_REQUEST, /* a device asked for a page and was not served */
	FAULT_INVALIDATION, /* the IOMMU, or a device, did not answer an invalidation */
	FAULT_UNIT,         /* something is wrong with an IOMMU: it names no device */
	FAULT_FOREIGN,      /* of an IOMMU of another kind, which pasidd does not drive */
	FAULT_DAMAGED,      /* it begins like a fault and is not whole */
	FAULT_KIND_COUNT,
};
/* Stable words ("dma", ...; "vtd", ...); never NULL. */
const char *fault_kind_text(enum fault_kind kind);
const char *fault_iommu_text(enum fault_iommu iommu);

/* One fault, as far as the lines of it say. Texts are terminated, printable, and cut if need be. */
struct fault {
	enum fault_kind kind;
	enum fault_iommu iommu;
	bool has_rid, has_segment; /* no segment: the kernel did not print it */
	bool rid_is_stream;        /* SMMUv3: the RID is the stream id, as most firmware has it */
	struct rid rid;
	bool has_stream; /* SMMUv3 */
	uint32_t stream;
	bool unknown_stream; /* SMMUv3: the kernel knows no device with this stream id */
	bool has_pasid;
	uint32_t pasid; /* up to 20 bits */
	bool has_address, has_ipa;
	uint64_t address, ipa; /* ipa: what the first stage led to, where the second refused */
	bool has_code;
	uint32_t code;  /* VT-d: fault reason; SMMUv3: number of the event */
	uint32_t stage; /* 1 or 2; 0: the line does not say */
	bool has_access, write, execute, privileged;
	bool has_privilege; /* execute and privileged mean something */
	bool stalled;       /* SMMUv3: the transaction waits for an answer */
	char unit[32];      /* the kernel's name of the IOMMU; empty: not said */
	char client[32];    /* the kernel's name of the device; empty: not said */
	char text[96];      /* the kernel's words for it */
	char when[64];      /* what the log has in front of the line, a time as a rule */
};

/* Faults on their way out. */
#define FAULT_QUEUE_MAX 16
struct fault_queue {
	struct fault fault[FAULT_QUEUE_MAX];
	uint32_t first, count;
};
/* There is room: a line makes at most four, the end of a log one for each SMMU and one more. */
void fault_queue_put(struct fault_queue *queue, const struct fault *fault);

/* What a line was. */
enum fault_line {
	FAULT_LINE_OTHER = 0, /* nothing of an IOMMU's */
	FAULT_LINE_FAULT,     /* a fault, or the first line of one */
	FAULT_LINE_PART,      /* more about a fault */
	FAULT_LINE_BAD,       /* one that begins like a fault and cannot be understood */
};

/* ------------------------------------------------------------ text */

/* What is left of a line; not terminated. */
struct fault_text {
	const char *at, *end;
};

/* Each takes what it describes from the front and returns true, or takes nothing. */
bool fault_take(struct fault_text *text, const char *literal);
/* 1 to 16 digits, with or without 0x. */
bool fault_take_hex(struct fault_text *text, uint64_t *ret_number);
/* 1 to 19 digits; a number that begins with 0x is hexadecimal. */
bool fault_take_number(struct fault_text *text, uint64_t *ret_number);
/* [SEGMENT:]BUS:DEVICE.FUNCTION, bus and device also with 0x. */
bool fault_take_rid(struct fault_text *text, struct rid *ret_rid, bool *ret_has_segment);
/* Up to the literal, which goes too; cut to `size`, with printable bytes only. */
bool fault_take_until(struct fault_text *text, const char *literal, char *ret_text, size_t size);
/* A copy of all that is left. */
void fault_take_rest(struct fault_text *text, char *ret_text, size_t size);
bool fault_text_is_empty(const struct fault_text *text);
/* The function that the kernel names in fault->client: where all of it is an address, else none. */
void fault_set_function(struct fault *fault);
/* Where the literal is; NULL: nowhere. */
const char *fault_text_find(const struct fault_text *text, const char *literal);

#endif
