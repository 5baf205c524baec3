/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a log of the kernel's.
 *
 * Promised: each line makes few faults, and they are well-formed: texts are terminated and can be
 * shown on a terminal, a PASID has 20 bits, a function's address is one; the same log says the same
 * a second time; and a DMA of VT-d that was read is read so again when it is written.
 */
#include "fuzz.h"
#include "hw/fault_read.h"

#include <string.h>

#define FAULTS_A_LINE 4
#define FAULTS_AT_END (SMMUV3_PENDING_MAX + 1)

static void check_text(const char *text, size_t size)
{
	FUZZ_CHECK(memchr(text, 0, size));
	for (; *text; text++)
		FUZZ_CHECK(*text >= ' ' && *text <= '~');
}

static void check_again(const struct fault *fault)
{
	struct fault_reader reader = {0};
	char line[VTD_FAULT_LINE_MAX];
	struct fault again;
	size_t length = vtd_fault_format(fault, line, sizeof(line));

	FUZZ_CHECK(length > 0 && length == strlen(line));
	FUZZ_CHECK(fault_reader_line(&reader, line, length) == FAULT_LINE_FAULT);
	FUZZ_CHECK(fault_reader_next(&reader, &again) && again.kind == FAULT_DMA);
	FUZZ_CHECK((again.rid.v & 0xffff) == (fault->rid.v & 0xffff));
	FUZZ_CHECK(again.has_pasid == fault->has_pasid && again.pasid == fault->pasid);
	FUZZ_CHECK(again.code == fault->code && again.write == fault->write);
	FUZZ_CHECK(again.address == (fault->address & ~UINT64_C(0xfff)));
}

static void check_fault(const struct fault *fault)
{
	FUZZ_CHECK(fault->kind > 0 && fault->kind < FAULT_KIND_COUNT);
	FUZZ_CHECK(fault->iommu < FAULT_IOMMU_COUNT);
	FUZZ_CHECK(fault->pasid <= PASID_LAST && (fault->has_pasid || !fault->pasid));
	FUZZ_CHECK(fault->has_rid || (!fault->rid.v && !fault->has_segment));
	FUZZ_CHECK(fault->has_segment || fault->rid.v <= 0xffff);
	FUZZ_CHECK(fault->stage <= 2);
	check_text(fault->unit, sizeof(fault->unit));
	check_text(fault->client, sizeof(fault->client));
	check_text(fault->text, sizeof(fault->text));
	check_text(fault->when, sizeof(fault->when));
	if (fault->kind == FAULT_DMA && fault->iommu == FAULT_VTD)
		check_again(fault);
}

/* All that are ready; a digest of them. */
static uint64_t take(struct fault_reader *reader, uint32_t most)
{
	uint64_t digest = 0;
	struct fault fault;
	uint32_t count = 0;

	while (fault_reader_next(reader, &fault)) {
		check_fault(&fault);
		digest = digest * 31 + fault.kind + fault.rid.v + fault.pasid + fault.address +
			 fault.code + (uint8_t)fault.text[0] + strlen(fault.text);
		count++;
	}
	FUZZ_CHECK(count <= most);
	return digest;
}

static uint64_t read_log(const uint8_t *data, size_t size)
{
	struct fault_reader reader = {0};
	uint64_t digest = 0;

	while (size > 0) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t length = end ? (size_t)(end - data) : size;

		digest += (uint64_t)fault_reader_line(&reader, (const char *)data, length);
		digest = digest * 131 + take(&reader, FAULTS_A_LINE);
		data += length + (end != NULL);
		size -= length + (end != NULL);
	}
	fault_reader_end(&reader);
	return digest * 131 + take(&reader, FAULTS_AT_END);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FUZZ_CHECK(read_log(data, size) == read_log(data, size));
	return 0;
}
