/* SPDX-License-Identifier: MIT */
#include "fault.h"

#include <assert.h>
#include <string.h>

const char *fault_kind_text(enum fault_kind kind)
{
	static const char *const texts[FAULT_KIND_COUNT] = {
		[FAULT_DMA] = "dma",
		[FAULT_INTERRUPT] = "interrupt",
		[FAULT_PAGE_REQUEST] = "page-request",
		[FAULT_INVALIDATION] = "invalidation",
		[FAULT_UNIT] = "unit",
		[FAULT_FOREIGN] = "foreign",
		[FAULT_DAMAGED] = "damaged",
	};

	return kind > 0 && kind < FAULT_KIND_COUNT ? texts[kind] : "unknown";
}

const char *fault_iommu_text(enum fault_iommu iommu)
{
	static const char *const texts[FAULT_IOMMU_COUNT] = {"any", "vtd", "smmuv3"};

	return iommu < FAULT_IOMMU_COUNT ? texts[iommu] : "unknown";
}

void fault_queue_put(struct fault_queue *queue, const struct fault *fault)
{
	assert(queue->count < FAULT_QUEUE_MAX);
	queue->fault[(queue->first + queue->count++) % FAULT_QUEUE_MAX] = *fault;
}

/* ------------------------------------------------------------ text */

static size_t text_left(const struct fault_text *text)
{
	return (size_t)(text->end - text->at);
}

bool fault_text_is_empty(const struct fault_text *text)
{
	return text->at == text->end;
}

bool fault_take(struct fault_text *text, const char *literal)
{
	size_t length = strlen(literal);

	if (text_left(text) < length || memcmp(text->at, literal, length) != 0)
		return false;
	text->at += length;
	return true;
}

const char *fault_text_find(const struct fault_text *text, const char *literal)
{
	struct fault_text rest = *text;

	for (; rest.at < rest.end; rest.at++) {
		struct fault_text here = rest;

		if (fault_take(&here, literal))
			return rest.at;
	}
	return NULL;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* 1 to `most` digits below `base`, and no further one. */
static bool take_digits(struct fault_text *text, uint32_t base, uint32_t most, uint64_t *ret_number)
{
	const char *at = text->at;
	uint64_t number = 0;

	for (uint32_t count = 0;; count++, at++) {
		int value = at < text->end ? digit_value(*at) : -1;

		if (value < 0 || value >= (int)base) {
			if (count == 0)
				return false;
			text->at = at;
			*ret_number = number;
			return true;
		}
		if (count == most)
			return false;
		number = number * base + (uint32_t)value;
	}
}

bool fault_take_hex(struct fault_text *text, uint64_t *ret_number)
{
	struct fault_text rest = *text;

	(void)fault_take(&rest, "0x");
	if (!take_digits(&rest, 16, 16, ret_number))
		return false;
	*text = rest;
	return true;
}

bool fault_take_number(struct fault_text *text, uint64_t *ret_number)
{
	struct fault_text rest = *text;

	if (fault_take(&rest, "0x"))
		return fault_take_hex(text, ret_number);
	return take_digits(text, 10, 19, ret_number);
}

bool fault_take_rid(struct fault_text *text, struct rid *ret_rid, bool *ret_has_segment)
{
	struct fault_text rest = *text;
	uint64_t part[3] = {0}, function;
	uint32_t count = 0;

	while (count < ARRAY_SIZE(part) && fault_take_hex(&rest, &part[count])) {
		count++;
		if (!fault_take(&rest, ":"))
			break;
	}
	if (count < 2 || !fault_take(&rest, ".") || !take_digits(&rest, 10, 1, &function))
		return false;
	if ((count == 3 && part[0] > 0xffff) || part[count - 2] > 0xff || part[count - 1] > 0x1f ||
		function > 7)
		return false;
	ret_rid->v = (uint32_t)((count == 3 ? part[0] << 16 : 0) | part[count - 2] << 8 |
				part[count - 1] << 3 | function);
	*ret_has_segment = count == 3;
	*text = rest;
	return true;
}

/* Terminated; what cannot be shown becomes '?', because these words go to terminals. */
static void text_copy(const char *at, const char *end, char *ret_text, size_t size)
{
	size_t length = (size_t)(end - at);

	if (length > size - 1)
		length = size - 1;
	for (size_t i = 0; i < length; i++)
		ret_text[i] = at[i] >= ' ' && at[i] <= '~' ? at[i] : '?';
	ret_text[length] = '\0';
}

bool fault_take_until(struct fault_text *text, const char *literal, char *ret_text, size_t size)
{
	const char *found = fault_text_find(text, literal);

	if (!found)
		return false;
	text_copy(text->at, found, ret_text, size);
	text->at = found + strlen(literal);
	return true;
}

void fault_take_rest(struct fault_text *text, char *ret_text, size_t size)
{
	text_copy(text->at, text->end, ret_text, size);
	text->at = text->end;
}

void fault_set_function(struct fault *fault)
{
	struct fault_text text = {fault->client, fault->client + strlen(fault->client)};
	struct rid rid = {0};
	bool has_segment;

	fault->has_rid = fault_take_rid(&text, &rid, &has_segment) && fault_text_is_empty(&text);
	fault->has_segment = fault->has_rid && has_segment;
	fault->rid.v = fault->has_rid ? rid.v : 0;
}
