/* SPDX-License-Identifier: MIT */
#include "vtd_fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------ reasons */

const char *vtd_reason_text(uint32_t reason)
{
	switch (reason) {
	case VTD_REASON_ROOT_ABSENT:
		return "SM: Present bit in Root Entry is clear";
	case VTD_REASON_CONTEXT_ABSENT:
		return "SM: Present bit in Context Entry is clear";
	case VTD_REASON_PASID_DISABLED:
		return "SM: PASID Enable field in Context Entry is clear";
	case VTD_REASON_PASID_RANGE:
		return "SM: PASID is larger than the max in Context Entry";
	case VTD_REASON_DIRECTORY_ABSENT:
		return "SM: Present bit in Directory Entry is clear";
	case VTD_REASON_ENTRY_ABSENT:
		return "SM: Present bit in PASID Table Entry is clear";
	case VTD_REASON_ENTRY_BAD:
		return "SM: Invalid Scalable-Mode PASID Table Entry";
	case VTD_REASON_FIRST_ACCESS:
		return "SM: Error attempting to access first-level paging entry";
	case VTD_REASON_FIRST_ABSENT:
		return "SM: Present bit in first-level paging entry is clear";
	case VTD_REASON_FIRST_RESERVED:
		return "SM: Non-zero reserved field set in first-level paging entry";
	case VTD_REASON_SECOND_DENIED:
		return "SM: Read/Write permission error in second-level paging entry";
	case VTD_REASON_NOT_CANONICAL:
		return "SM: Address in first-level translation is not canonical";
	case VTD_REASON_NO_WRITE:
		return "SM: No write permission for Write/AtomicOp request";
	case VTD_REASON_NO_READ:
		return "SM: No read permission for Read/AtomicOp request";
	default:
		return "Unknown";
	}
}

static const struct {
	uint32_t first, last;
	const char *meaning;
} reason_meanings[] = {
	{0x01, 0x02, "the function is attached to nothing"},
	{0x03, 0x03, "the function's own entry is not valid"},
	{0x04, 0x04, "the address is beyond what the IOMMU can translate"},
	{0x05, 0x05, "nothing is mapped there, or not for writing"},
	{0x06, 0x06, "nothing is mapped there, or not for reading"},
	{0x07, 0x0c, "a table of the IOMMU is damaged"},
	{0x20, 0x26, "an interrupt was sent that the device may not send"},
	{0x39, 0x39, "the function is attached to nothing"},
	{0x41, 0x41, "the function is attached to nothing"},
	{0x44, 0x44, "the device translates by itself and was not allowed to"},
	{0x45, 0x45, "PASIDs are not enabled for this function"},
	{0x46, 0x46, "the PASID is above all that the function may use"},
	{0x47, 0x47, "the device asked for a page and was not allowed to"},
	{0x38, 0x48, "the function's own entry is damaged"},
	{0x51, 0x51, "nothing is attached under this PASID, or any near it"},
	{0x59, 0x59, "nothing is attached under this PASID"},
	{0x5c, 0x5d, "the page table under this PASID does not allow that kind of request"},
	{0x50, 0x5d, "the PASID's entry is damaged"},
	{0x71, 0x71, "the first stage has nothing mapped there"},
	{0x75, 0x77, "the first stage's own tables are not mapped in the second stage"},
	{0x70, 0x77, "the first stage's tables are damaged"},
	{0x79, 0x79, "the second stage has nothing mapped there, or forbids it"},
	{0x78, 0x7c, "the second stage's tables are damaged"},
	{0x80, 0x80, "the address is none that a table could hold"},
	{0x81, 0x81, "the page is not for users"},
	{0x82, 0x82, "the page is not to be executed"},
	{0x83, 0x84, "the address is beyond the width of the tables"},
	{0x85, 0x85, "nothing is mapped there, or not for writing"},
	{0x86, 0x86, "nothing is mapped there, or not for reading"},
	{0x87, 0x87, "the address is one of interrupts"},
};

const char *vtd_reason_meaning(uint32_t reason)
{
	/* Ranges follow what they have exceptions for. */
	for (size_t i = 0; i < ARRAY_SIZE(reason_meanings); i++)
		if (reason >= reason_meanings[i].first && reason <= reason_meanings[i].last)
			return reason_meanings[i].meaning;
	return NULL;
}

/* ------------------------------------------------------------ a refused DMA or interrupt */

#define NO_PASID_OLD UINT32_MAX /* as kernels before 5.14 print it */

static bool fault_pasid(struct fault_text *text, struct fault *fault)
{
	uint64_t pasid;

	if (!fault_take_hex(text, &pasid) || (pasid > PASID_LAST && pasid != NO_PASID_OLD))
		return false;
	fault->has_pasid = pasid != NO_PASID_OLD;
	fault->pasid = fault->has_pasid ? (uint32_t)pasid : 0;
	return true;
}

/* What is in the first brackets. */
static bool fault_type(struct fault_text *text, struct fault *fault)
{
	if (fault_take(text, "INTR-REMAP] ")) {
		fault->kind = FAULT_INTERRUPT;
		return true;
	}
	fault->kind = FAULT_DMA;
	fault->has_access = true;
	fault->write = fault_take(text, "DMA Write");
	if (!fault->write && !fault_take(text, "DMA Read"))
		return false;
	if (fault_take(text, " PASID ") && !fault_pasid(text, fault))
		return false;
	if (!fault->has_pasid)
		(void)fault_take(text, " NO_PASID");
	return fault_take(text, "] ");
}

static bool fault_rest(struct fault_text *text, struct fault *fault)
{
	uint64_t code;

	if (!fault_take(text, "Request device [") ||
		!fault_take_rid(text, &fault->rid, &fault->has_segment) || !fault_take(text, "] "))
		return false;
	fault->has_rid = true;
	if (fault->kind == FAULT_DMA && fault_take(text, "PASID ") &&
		(fault->has_pasid || !fault_pasid(text, fault) || !fault_take(text, " ")))
		return false;
	fault->has_address = fault->kind == FAULT_DMA;
	if (!fault_take(text, fault->has_address ? "fault addr " : "fault index ") ||
		!fault_take_hex(text, &fault->address) || !fault_take(text, " [fault reason ") ||
		!fault_take_number(text, &code) || code > 0xff || !fault_take(text, "] "))
		return false;
	fault->has_code = true;
	fault->code = (uint32_t)code;
	fault_take_rest(text, fault->text, sizeof(fault->text));
	return true;
}

static enum fault_line fault_bad(struct fault_queue *queue, const char *text)
{
	struct fault fault = {.kind = FAULT_DAMAGED, .iommu = FAULT_VTD};

	(void)snprintf(fault.text, sizeof(fault.text), "%s", text);
	fault_queue_put(queue, &fault);
	return FAULT_LINE_BAD;
}

static enum fault_line fault_request(
	struct vtd_fault_state *state, struct fault_text text, struct fault_queue *queue)
{
	struct fault fault = {.iommu = FAULT_VTD};

	state->in_fault = true;
	if (!fault_type(&text, &fault) || !fault_rest(&text, &fault))
		return fault_bad(queue, "a line of a refused request that is not whole");
	fault_queue_put(queue, &fault);
	return FAULT_LINE_FAULT;
}

/* ------------------------------------------------------------ page requests */

/* The two words of a request as the device sent it (7.4.1.1 Page Request Descriptor). */
static void request_decode(const uint64_t word[2], struct fault *fault)
{
	fault->kind = FAULT_PAGE_REQUEST;
	fault->has_pasid = word[0] >> 8 & 1;
	fault->has_rid = true;
	fault->rid.v = (uint32_t)(word[0] >> 16 & 0xffff);
	fault->pasid = fault->has_pasid ? (uint32_t)(word[0] >> 32 & PASID_LAST) : 0;
	fault->has_access = fault->has_privilege = true;
	fault->execute = word[0] >> 52 & 1;
	fault->privileged = word[0] >> 53 & 1;
	fault->write = word[1] >> 1 & 1;
	fault->has_address = true;
	fault->address = word[1] & ~UINT64_C(0xfff);
}

static bool request_words(struct fault_text *text, struct fault *fault)
{
	uint64_t word[2];

	if (!fault_take_hex(text, &word[0]) || !fault_take(text, " ") ||
		!fault_take_hex(text, &word[1]) || !fault_text_is_empty(text))
		return false;
	request_decode(word, fault);
	return true;
}

/* "dmar0: Invalid page request: ..." and what was printed in its place before 5.12. */
static bool request_line(struct vtd_fault_state *state, struct fault_text text,
	struct fault_queue *queue, enum fault_line *ret_line)
{
	struct fault fault = {.iommu = FAULT_VTD};
	uint64_t pasid = 0;
	bool whole = true, invalid;

	if (!fault_take_until(&text, ": ", fault.unit, sizeof(fault.unit)))
		return false;
	invalid = fault_take(&text, "Invalid page request: ");
	if (fault_take(&text, "Page request for invalid PASID "))
		whole = fault_take_number(&text, &pasid) && fault_take(&text, ": ");
	else if (!invalid && !fault_take(&text, "Page request without PASID: "))
		return false;
	if (!whole || !request_words(&text, &fault)) {
		*ret_line = fault_bad(queue, "a line of a page request that is not whole");
		return true;
	}
	(void)snprintf(fault.text, sizeof(fault.text), "%s",
		state->has_request && strcmp(state->unit, fault.unit) == 0 ? state->complaint
		: fault.has_pasid ? "Page request for a PASID that nobody serves"
				  : "Page request without PASID");
	state->has_request = false;
	fault_queue_put(queue, &fault);
	*ret_line = FAULT_LINE_FAULT;
	return true;
}

/* ------------------------------------------------------------ about a unit */

/* "IOMMU: dmar0: WHY": the request itself is in the next line; the overflow of the queue is not. */
static enum fault_line unit_line(
	struct vtd_fault_state *state, struct fault_text text, struct fault_queue *queue)
{
	struct fault fault = {.kind = FAULT_UNIT, .iommu = FAULT_VTD};

	if (!fault_take_until(&text, ": ", fault.unit, sizeof(fault.unit)))
		return FAULT_LINE_OTHER;
	fault_take_rest(&text, fault.text, sizeof(fault.text));
	if (strcmp(fault.text, "PRQ overflow detected") == 0) {
		fault_queue_put(queue, &fault);
		return FAULT_LINE_FAULT;
	}
	if (strcmp(fault.text, "PRQ overflow cleared") == 0)
		return FAULT_LINE_PART;
	if (strncmp(fault.text, "Page request", strlen("Page request")) != 0 &&
		strcmp(fault.text, "Address is not canonical") != 0 &&
		strcmp(fault.text, "Execution request not supported") != 0)
		return FAULT_LINE_OTHER;
	vtd_fault_end(state, queue);
	state->has_request = true;
	memcpy(state->unit, fault.unit, sizeof(state->unit));
	memcpy(state->complaint, fault.text, sizeof(state->complaint));
	return FAULT_LINE_FAULT;
}

static enum fault_line queue_line(struct fault_text text, struct fault_queue *queue)
{
	struct fault fault = {.kind = FAULT_INVALIDATION, .iommu = FAULT_VTD};
	struct fault_text words = text;
	bool is_sid;
	uint64_t number;

	if (fault_take(&text, "VT-d detected invalid descriptor: ")) {
		fault.kind = FAULT_UNIT;
		fault_take_rest(&words, fault.text, sizeof(fault.text));
		fault_queue_put(queue, &fault);
		return FAULT_LINE_FAULT;
	}
	if (!fault_take_until(&text, ": ", fault.text, sizeof(fault.text)))
		return fault_bad(queue, "a line of the invalidation queue that is not whole");
	is_sid = fault_take(&text, "SID ");
	if ((!is_sid && !fault_take(&text, "Reason ")) || !fault_take_hex(&text, &number) ||
		number > 0xffff || !fault_text_is_empty(&text))
		return fault_bad(queue, "a line of the invalidation queue that is not whole");
	/* 0: hardware that does not say which device. */
	fault.has_rid = is_sid && number != 0;
	fault.rid.v = fault.has_rid ? (uint32_t)number : 0;
	if (!fault.has_rid)
		fault.kind = FAULT_UNIT;
	fault_take_rest(&words, fault.text, sizeof(fault.text));
	fault_queue_put(queue, &fault);
	return FAULT_LINE_FAULT;
}

/* ------------------------------------------------------------ lines */

/* Said besides a fault, or of what came of one. */
static const char *const vtd_besides[] = {
	"DRHD: handling fault status reg ",
	"QI HEAD: ",
	"QI PRIOR: ",
	"Invalidation Queue Error (IQE) cleared",
	"Invalidation Time-out Error (ITE) cleared",
	"Invalidation Completion Error (ICE) cleared",
};

/* The tables that led to a fault, which some kernels print behind it (CONFIG_DMAR_DEBUG). */
static const char *const vtd_dumps[] = {
	"Dump ",
	"root table is not present",
	"scalable mode root entry: ",
	"root entry: ",
	"context table is not present",
	"context entry: ",
	"legacy mode page table is not present",
	"pasid directory table is not present",
	"pasid dir entry: ",
	"pasid table is not present",
	"pasid table entry[",
	"scalable mode page table is not present",
	"page table not present at level ",
	"pte level: ",
	"pte not present at level ",
	"PTE not present at level ",
};

static bool begins_like(
	const struct fault_text *text, const char *const *beginnings, size_t beginning_count)
{
	for (size_t i = 0; i < beginning_count; i++) {
		struct fault_text here = *text;

		if (fault_take(&here, beginnings[i]))
			return true;
	}
	return false;
}

enum fault_line vtd_fault_line(
	struct vtd_fault_state *state, struct fault_text message, struct fault_queue *queue)
{
	struct fault_text text = message;
	enum fault_line line;

	if (fault_take(&text, "[DMA ") || fault_take(&text, "[INTR-REMAP")) {
		text = message;
		text.at++;
		return fault_request(state, text, queue);
	}
	if (begins_like(&message, vtd_besides, ARRAY_SIZE(vtd_besides)))
		return FAULT_LINE_PART;
	if (begins_like(&message, vtd_dumps, ARRAY_SIZE(vtd_dumps)))
		return state->in_fault
			       ? FAULT_LINE_PART
			       : fault_bad(queue, "tables of a fault whose own line is missing");
	if (fault_take(&text, "VT-d detected "))
		return queue_line(message, queue);
	if (fault_take(&text, "IOMMU: "))
		return unit_line(state, text, queue);
	if (request_line(state, message, queue, &line))
		return line;
	return FAULT_LINE_OTHER;
}

void vtd_fault_end(struct vtd_fault_state *state, struct fault_queue *queue)
{
	if (state->has_request)
		(void)fault_bad(queue, "a complaint about a page request that is missing");
	state->has_request = false;
}

/* ------------------------------------------------------------ the other way */

size_t vtd_fault_format(const struct fault *fault, char *ret_line, size_t size)
{
	char pasid[24] = "NO_PASID";
	int length;

	if (fault->has_pasid)
		(void)snprintf(pasid, sizeof(pasid), "PASID 0x%" PRIx32, fault->pasid);
	length = snprintf(ret_line, size,
		"DMAR: [DMA %s %s] Request device [%02x:%02x.%u] fault addr 0x%" PRIx64
		" [fault reason 0x%02x] %s",
		fault->write ? "Write" : "Read", pasid, fault->rid.v >> 8 & 0xff,
		fault->rid.v >> 3 & 0x1f, fault->rid.v & 7, fault->address & ~UINT64_C(0xfff),
		fault->code, vtd_reason_text(fault->code));
	return length > 0 && (size_t)length < size ? (size_t)length : 0;
}
