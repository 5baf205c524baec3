/* SPDX-License-Identifier: MIT */
/* What a finding is, whose, and why, in sentences. No I/O. */
#include "explain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hw/smmuv3_fault.h"
#include "hw/vtd_fault.h"

/* Text that grows; what does not fit is cut. */
struct text {
	char *at;
	size_t left;
};

__attribute__((format(printf, 2, 3))) static void text_add(
	struct text *text, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(text->at, text->left, format, args);
	va_end(args);
	if (length < 0)
		return;
	if ((size_t)length >= text->left)
		length = (int)text->left - 1;
	text->at += length;
	text->left -= (size_t)length;
}

static const char *text_access(const struct fault *fault)
{
	if (!fault->has_access)
		return "DMA";
	if (fault->execute)
		return "an instruction fetch";
	return fault->write ? "DMA write" : "DMA read";
}

static void text_device(struct text *text, const struct explain_finding *finding)
{
	const struct fault *fault = &finding->fault;

	if (finding->address[0] != '\0')
		text_add(text, "%s", finding->address);
	else
		text_add(text, "a device that is not named");
	if (fault->has_stream && (fault->rid_is_stream || finding->address[0] == '\0'))
		text_add(text, " (stream 0x%" PRIx32 ")", fault->stream);
	if (fault->has_pasid)
		text_add(text, ", PASID %" PRIu32, fault->pasid);
}

void explain_what(const struct explain_finding *finding, char *ret_text, size_t size)
{
	static const char *const begins[FAULT_KIND_COUNT] = {
		[FAULT_PAGE_REQUEST] = "page request not served, of ",
		[FAULT_INTERRUPT] = "interrupt refused, of ",
		[FAULT_INVALIDATION] = "invalidation not answered, by ",
		[FAULT_FOREIGN] = "a fault of another IOMMU",
		[FAULT_DAMAGED] = "a line that is not whole",
	};
	const struct fault *fault = &finding->fault;
	struct text text = {ret_text, size};

	ret_text[0] = '\0';
	if (fault->kind == FAULT_UNIT)
		text_add(&text, "trouble of an IOMMU%s%s", fault->unit[0] ? ", " : "", fault->unit);
	else if (fault->kind == FAULT_DMA)
		text_add(&text, "%s refused, of ", text_access(fault));
	else if (fault->kind > 0 && fault->kind < FAULT_KIND_COUNT)
		text_add(&text, "%s", begins[fault->kind]);
	if (fault->kind < FAULT_UNIT)
		text_device(&text, finding);
	if (!fault->has_address || fault->kind == FAULT_INTERRUPT)
		return;
	text_add(&text, ", at 0x%" PRIx64, finding->low);
	if (finding->high != finding->low)
		text_add(&text, " to 0x%" PRIx64, finding->high);
}

/* ------------------------------------------------------------ whose */

static void text_set(struct text *text, const char *name, uint64_t id)
{
	if (name[0] != '\0')
		text_add(text, "set %s", name);
	else
		text_add(text, "set id:%" PRIu64 ", which is gone", id);
}

static void text_number(struct text *text, const struct explain_finding *finding)
{
	text_set(text, finding->set_name, finding->set);
	if (finding->has_guest)
		text_add(text, ", guest PASID %" PRIu32, finding->guest);
	if (finding->state == PASID_GRANT_FREE_PENDING)
		text_add(text, ", freed and not yet let go of");
	if (!finding->is_bound)
		text_add(text, "; nothing is bound for it on this function");
	else if (finding->binding == PASID_BINDING_TAINTED)
		text_add(text, "; its binding there is tainted");
	else if (finding->binding != PASID_BINDING_BOUND)
		text_add(text, "; its binding there is just being made or undone");
}

static void text_stranger(struct text *text, const struct explain_finding *finding)
{
	text_set(text, finding->set_name, finding->set);
	text_add(text, ", whose function used a PASID that it does not have: ");
	if (finding->other != 0) {
		text_add(text, "it is of ");
		text_set(text, finding->other_name, finding->other);
	} else if (finding->state == PASID_GRANT_QUARANTINED) {
		text_add(text, "it had it, and has freed it");
	} else {
		text_add(text, "it is nobody's");
	}
}

static void text_with_set(struct text *text, const struct explain_finding *finding,
	const char *before, const char *behind)
{
	text_add(text, "%s", before);
	text_set(text, finding->set_name, finding->set);
	text_add(text, "%s", behind);
}

/* Those that name no set. */
static const char *text_verdict(enum explain_verdict verdict)
{
	static const char *const texts[EXPLAIN_VERDICT_COUNT] = {
		[EXPLAIN_DAEMON] =
			"pasidd's own: a shared function, which no set uses without a "
			"PASID",
		[EXPLAIN_FOREIGN] = "not to be said: pasidd drives VT-d and SMMUv3 only",
		[EXPLAIN_NO_DEVICE] = "nobody's: the line names no device",
		[EXPLAIN_UNKNOWN_DEVICE] =
			"nobody's that you may see: it is no set's function and "
			"not shared; see its driver on the host",
		[EXPLAIN_AMBIGUOUS] =
			"not to be said: functions of several PCI segments have that "
			"address, and the kernel printed none",
		[EXPLAIN_KERNEL_PASID] =
			"nobody's: the PASID is of the kernel's own range, and not "
			"granted",
		[EXPLAIN_UNKNOWN_PASID] =
			"nobody's: the PASID is not granted, and the daemon "
			"remembers nothing of it",
		[EXPLAIN_NOT_ASKED] = "not asked whose it is",
	};

	return verdict < EXPLAIN_VERDICT_COUNT ? texts[verdict] : NULL;
}

void explain_whose(const struct explain_finding *finding, char *ret_text, size_t size)
{
	const enum explain_verdict verdict = finding->verdict;
	const char *sentence = text_verdict(verdict);
	struct text text = {ret_text, size};

	ret_text[0] = '\0';
	if (sentence != NULL)
		text_add(&text, "%s", sentence);
	else if (verdict == EXPLAIN_NUMBER)
		text_number(&text, finding);
	else if (verdict == EXPLAIN_STRANGER)
		text_stranger(&text, finding);
	else if (verdict == EXPLAIN_DAMAGED)
		text_add(&text, "not to be said: %s", finding->fault.text);
	else if (verdict == EXPLAIN_NOT_HERE)
		text_with_set(&text, finding, "not to be said: the PASID is of ",
			", which has no part of this function");
	else if (verdict == EXPLAIN_FREED)
		text_with_set(
			&text, finding, "nobody's any more: the PASID was freed; it was of ", "");
	else if (verdict == EXPLAIN_FUNCTION)
		text_with_set(&text, finding, "",
			finding->is_bound ? ", whose function it is; without a PASID"
					  : ", whose function it is; without a PASID, for which "
					    "nothing is attached");
	else if (verdict == EXPLAIN_GUEST_TABLE)
		text_with_set(&text, finding, "",
			finding->is_bound ? ", in the guest's own PASID table"
					  : ", whose guest has no PASID table installed for it");
}

/* ------------------------------------------------------------ why */

void explain_why(const struct explain_finding *finding, char *ret_text, size_t size)
{
	const struct fault *fault = &finding->fault;
	const char *meaning = NULL;
	struct text text = {ret_text, size};

	ret_text[0] = '\0';
	if (fault->has_code)
		meaning = fault->iommu == FAULT_SMMUV3 ? smmuv3_event_meaning(fault->code)
						       : vtd_reason_meaning(fault->code);
	if (meaning != NULL)
		text_add(&text, "%s", meaning);
	if (fault->has_code && fault->iommu == FAULT_VTD)
		text_add(&text, "%s[0x%02" PRIx32 "] %s", meaning ? ": " : "", fault->code,
			fault->text);
	else
		text_add(&text, "%s%s", meaning ? ": " : "", fault->text);
	if (fault->stage != 0)
		text_add(&text, ", stage %" PRIu32, fault->stage);
	if (fault->has_ipa)
		text_add(&text, ", guest-physical 0x%" PRIx64, fault->ipa);
	if (fault->stalled)
		text_add(&text, ", stalled");
}
