/* SPDX-License-Identifier: MIT */
/*
 * The faults of SMMUv3: events (Arm IHI 0070, section 7.3), and the lines of Linux's
 * drivers/iommu/arm/arm-smmu-v3 since 5.0 ("arm-smmu-v3 UNIT: ").
 *
 *   all          event 0x10 received:
 *                <tab>0x0000010000000010   (four lines with a word each: the event's record)
 *   since 6.14   behind these, what the driver makes of them:
 *                event: F_TRANSLATION client: 0000:01:00.0 sid: 0x100 ssid: 0x1 iova: 0x1000 ipa:
 * 0x0 unpriv data write s1 "Input address caused fault" stag: 0x0
 *
 * and those of page requests, global errors, and queues. Lines of several SMMUs, and others, may be
 * in between. A failed command is printed with words of the same shape, which are no event's.
 *
 * The kernel prints stream ids. Most firmware numbers the streams of PCI functions by their RIDs;
 * where the line names the function (6.14), that is believed instead.
 */
#ifndef PASIDD_HW_SMMUV3_FAULT_H
#define PASIDD_HW_SMMUV3_FAULT_H

#include "fault.h"

enum smmuv3_event {
	SMMUV3_F_UUT = 0x01,
	SMMUV3_C_BAD_STREAMID = 0x02,
	SMMUV3_F_STE_FETCH = 0x03,
	SMMUV3_C_BAD_STE = 0x04,
	SMMUV3_F_BAD_ATS_TREQ = 0x05,
	SMMUV3_F_STREAM_DISABLED = 0x06,
	SMMUV3_F_TRANSL_FORBIDDEN = 0x07,
	SMMUV3_C_BAD_SUBSTREAMID = 0x08,
	SMMUV3_F_CD_FETCH = 0x09,
	SMMUV3_C_BAD_CD = 0x0a,
	SMMUV3_F_WALK_EABT = 0x0b,
	SMMUV3_F_TRANSLATION = 0x10,
	SMMUV3_F_ADDR_SIZE = 0x11,
	SMMUV3_F_ACCESS = 0x12,
	SMMUV3_F_PERMISSION = 0x13,
	SMMUV3_F_TLB_CONFLICT = 0x20,
	SMMUV3_F_CFG_CONFLICT = 0x21,
	SMMUV3_E_PAGE_REQUEST = 0x24,
	SMMUV3_F_VMS_FETCH = 0x25,
};

/* "F_TRANSLATION", ...; NULL: the specification has no such event. */
const char *smmuv3_event_text(uint32_t event);
/* What it means to whoever looks after the host; NULL: nothing can be said. */
const char *smmuv3_event_meaning(uint32_t event);
/* By its name; 0: there is none. */
uint32_t smmuv3_event_find(const char *name);

#define SMMUV3_EVENT_WORDS 4

/* An event, from its record. */
void smmuv3_event_decode(const uint64_t word[SMMUV3_EVENT_WORDS], struct fault *ret_fault);
/* The record of a fault with stream, code and, as far as it has them, PASID, address, access. */
void smmuv3_event_encode(const struct fault *fault, uint64_t ret_word[SMMUV3_EVENT_WORDS]);

/* An event of one SMMU, while its lines come. */
enum smmuv3_wait {
	SMMUV3_WAIT_NOTHING = 0,
	SMMUV3_WAIT_WORDS,   /* for words of the record */
	SMMUV3_WAIT_NAME,    /* the record is whole; "event: ..." may come */
	SMMUV3_WAIT_DETAIL,  /* "unpriv ..." may come */
	SMMUV3_WAIT_REQUEST, /* for the line of a page request */
};

struct smmuv3_pending {
	char unit[32];
	enum smmuv3_wait wait;
	uint32_t event, words; /* as the first line says; had */
	uint32_t skip;         /* words to come that are a command's */
	uint64_t word[SMMUV3_EVENT_WORDS];
	struct fault fault;
};

/* What is kept between lines. All zero at the beginning. */
#define SMMUV3_PENDING_MAX 8 /* SMMUs that report at the same time */
struct smmuv3_fault_state {
	struct smmuv3_pending pending[SMMUV3_PENDING_MAX];
	uint32_t next; /* given up when there are more */
};

/* A message of this SMMU's, behind "arm-smmu-v3 UNIT: ". */
enum fault_line smmuv3_fault_line(struct smmuv3_fault_state *state, const char *unit,
	const char *when, struct fault_text message, struct fault_queue *queue);
/* The log ends here. */
void smmuv3_fault_end(struct smmuv3_fault_state *state, struct fault_queue *queue);

/*
 * The lines, as 6.14 and later print them, of a DMA: with rid, which the kernel's name of the
 * device is made from, and what smmuv3_event_encode() wants. Each ends with a newline. Returns the
 * length, which is less than `size`.
 */
#define SMMUV3_FAULT_LINES_MAX 1024
size_t smmuv3_fault_format(const struct fault *fault, char *ret_lines, size_t size);

#endif
