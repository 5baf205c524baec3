/* SPDX-License-Identifier: MIT */
#include "fault_read.h"

#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 2048 /* the kernel's own are shorter; of others this much is looked at */

/* ------------------------------------------------------------ in front of a message */

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* Does the text end with this word? */
static bool ends_with(struct fault_text text, const char *word)
{
	size_t length = strlen(word);

	return (size_t)(text.end - text.at) >= length &&
	       memcmp(text.end - length, word, length) == 0;
}

/*
 * What stands before a message of the kernel's: nothing, <3>, [ 12.345678], [T1] or a date, or a
 * date, a host and "kernel:". Any other program has its name there.
 */
static bool is_kernels(struct fault_text before)
{
	while (before.at < before.end && is_space(before.end[-1]))
		before.end--;
	if (!ends_with(before, ":"))
		return true;
	before.end--;
	while (before.at < before.end && is_space(before.end[-1]))
		before.end--; /* dmesg -x pads its levels */
	static const char *const names[] = {
		"kernel", "emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (ends_with(before, names[i]))
			return true;
	return false;
}

/* What is shown as the line's time: all of that, without the decoration at its end. */
static void take_when(struct fault_text before, char *ret_when, size_t size)
{
	static const char *const marks[] = {"kernel:", " ", "\t", ";"};

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		if (!ends_with(before, marks[i]))
			continue;
		before.end -= strlen(marks[i]);
		i = (size_t)-1; /* from the first again */
	}
	while (before.at < before.end && is_space(*before.at))
		before.at++;
	fault_take_rest(&before, ret_when, size);
}

/* ------------------------------------------------------------ other IOMMUs, and none */

static bool is_foreign(const struct fault_text *text)
{
	static const char *const marks[] = {
		"AMD-Vi: Event logged [",
		"AMD-Vi: Completion-Wait loop timed out",
		": Unhandled context fault: fsr=", /* SMMU, before version 3 */
		": Unexpected global fault, this could be serious",
	};

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		if (fault_text_find(text, marks[i]))
			return true;
	return false;
}

static enum fault_line put_foreign(struct fault_reader *reader, struct fault_text line)
{
	static const char *const begins[] = {"AMD-Vi: ", "arm-smmu "};
	struct fault fault = {.kind = FAULT_FOREIGN};
	struct fault_text text = line;

	for (size_t i = 0; i < ARRAY_SIZE(begins); i++) {
		const char *found = fault_text_find(&line, begins[i]);

		if (!found)
			continue;
		take_when((struct fault_text){line.at, found}, fault.when, sizeof(fault.when));
		text.at = found;
		break;
	}
	fault_take_rest(&text, fault.text, sizeof(fault.text));
	fault_queue_put(&reader->queue, &fault);
	return FAULT_LINE_FAULT;
}

/* DRIVER DEVICE: iopf with pasid N aborted (6.11): the core's own line, of every IOMMU. */
static bool aborted_line(struct fault_reader *reader, struct fault_text line, const char *found)
{
	struct fault fault = {.kind = FAULT_PAGE_REQUEST};
	struct fault_text before = {line.at, found}, text = {found, line.end};
	uint64_t pasid;

	if (!fault_take(&text, ": iopf with pasid ") || !fault_take_number(&text, &pasid) ||
		pasid > PASID_LAST || !fault_take(&text, " aborted"))
		return false;
	while (before.end > line.at && !is_space(before.end[-1]))
		before.end--;
	text = (struct fault_text){before.end, found};
	fault_take_rest(&text, fault.client, sizeof(fault.client));
	fault_set_function(&fault);
	fault.has_pasid = pasid != 0;
	fault.pasid = (uint32_t)pasid;
	while (before.at < before.end && is_space(before.end[-1]))
		before.end--;
	while (before.at < before.end && !is_space(before.end[-1]))
		before.end--; /* the driver */
	if (!is_kernels(before))
		return false;
	take_when(before, fault.when, sizeof(fault.when));
	(void)snprintf(fault.text, sizeof(fault.text), "page request aborted");
	fault_queue_put(&reader->queue, &fault);
	return true;
}

/* ------------------------------------------------------------ lines */

/* The time of the line goes to what came of it. */
static void set_when(struct fault_queue *queue, uint32_t from, const char *when)
{
	for (uint32_t i = from; i < queue->count; i++) {
		struct fault *fault = &queue->fault[(queue->first + i) % FAULT_QUEUE_MAX];

		if (!fault->when[0])
			(void)snprintf(fault->when, sizeof(fault->when), "%s", when);
	}
}

static enum fault_line line_vtd(
	struct fault_reader *reader, struct fault_text line, const char *found)
{
	const struct fault_text before = {line.at, found};
	struct fault_text message = {found, line.end};
	const uint32_t count = reader->queue.count;
	char when[sizeof(((struct fault *)NULL)->when)];
	enum fault_line result;

	if (!is_kernels(before))
		return FAULT_LINE_OTHER;
	(void)fault_take(&message, "DMAR: ");
	result = vtd_fault_line(&reader->vtd, message, &reader->queue);
	take_when(before, when, sizeof(when));
	set_when(&reader->queue, count, when);
	return result;
}

static enum fault_line line_smmuv3(
	struct fault_reader *reader, struct fault_text line, const char *found)
{
	const struct fault_text before = {line.at, found};
	struct fault_text message = {found, line.end};
	char unit[sizeof(((struct fault *)NULL)->unit)], when[sizeof(((struct fault *)NULL)->when)];

	if (!is_kernels(before) || !fault_take(&message, "arm-smmu-v3 ") ||
		!fault_take_until(&message, ": ", unit, sizeof(unit)) || !unit[0])
		return FAULT_LINE_OTHER;
	take_when(before, when, sizeof(when));
	return smmuv3_fault_line(&reader->smmuv3, unit, when, message, &reader->queue);
}

/* dmarN, which some kernels print without "DMAR: " in front of a page request. */
static const char *find_request(struct fault_text line)
{
	static const char *const marks[] = {
		": Page request without PASID: ", ": Page request for invalid PASID "};

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		const char *found = fault_text_find(&line, marks[i]);

		while (found && found > line.at && !is_space(found[-1]))
			found--;
		if (found)
			return found;
	}
	return NULL;
}

enum fault_line fault_reader_line(struct fault_reader *reader, const char *line, size_t length)
{
	struct fault_text text = {line, line + (length < LINE_MAX_BYTES ? length : LINE_MAX_BYTES)};
	const char *found;

	while (text.at < text.end && (text.end[-1] == '\r' || text.end[-1] == ' '))
		text.end--;
	found = fault_text_find(&text, "DMAR: ");
	if (found)
		return line_vtd(reader, text, found);
	found = fault_text_find(&text, "arm-smmu-v3 ");
	if (found)
		return line_smmuv3(reader, text, found);
	if (is_foreign(&text))
		return put_foreign(reader, text);
	found = fault_text_find(&text, ": iopf with pasid ");
	if (found && aborted_line(reader, text, found))
		return FAULT_LINE_FAULT;
	found = find_request(text);
	return found ? line_vtd(reader, text, found) : FAULT_LINE_OTHER;
}

void fault_reader_end(struct fault_reader *reader)
{
	vtd_fault_end(&reader->vtd, &reader->queue);
	smmuv3_fault_end(&reader->smmuv3, &reader->queue);
}

bool fault_reader_next(struct fault_reader *reader, struct fault *ret_fault)
{
	struct fault_queue *queue = &reader->queue;

	if (queue->count == 0)
		return false;
	*ret_fault = queue->fault[queue->first];
	queue->first = (queue->first + 1) % FAULT_QUEUE_MAX;
	queue->count--;
	return true;
}
