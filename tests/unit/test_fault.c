/* SPDX-License-Identifier: MIT */
/* F45: fault lines of the kernel's log. Formats with real lines are in tests/data/faults. */
#include "hw/fault_read.h"

#include "random.h"
#include "suite.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S "arm-smmu-v3 arm-smmu-v3.0.auto: "
#define NAMED                                                                                      \
	S "event: F_TRANSLATION client: 0000:5e:00.0 sid: 0x5e00 ssid: 0x500 iova: 0x0 ipa: 0x0"
#define WHOLE   "DMAR: [DMA Read PASID 0x400] " VTD_END
#define VTD_END "Request device [3b:00.0] fault addr 0x1000 [fault reason 0x59] SM: absent"

static enum fault_line feed(struct fault_reader *reader, const char *line)
{
	return fault_reader_line(reader, line, strlen(line));
}

/* The one fault of these lines. */
static struct fault only(const char *const *lines, size_t count)
{
	struct fault_reader reader = {0};
	struct fault fault = {0}, other;
	uint32_t faults = 0;

	for (size_t i = 0; i <= count; i++) {
		if (i < count)
			(void)feed(&reader, lines[i]);
		else
			fault_reader_end(&reader);
		while (fault_reader_next(&reader, &other)) {
			fault = other;
			faults++;
		}
	}
	ck_assert_uint_eq(faults, 1);
	return fault;
}

static struct fault one(const char *line)
{
	return only(&line, 1);
}

/* ------------------------------------------------------------ VT-d */

START_TEST(a_reason_is_decimal_before_it_had_0x)
	{
		struct fault fault =
			one("DMAR: [DMA Read] Request device [02:00.0] PASID ffffffff "
			    "fault addr 1000 [fault reason 81] SM: absent");

		ck_assert_uint_eq(fault.code, 0x51);
		ck_assert(!fault.has_pasid && !fault.write);
		fault =
			one("DMAR: [DMA Read NO_PASID] Request device [02:00.0] fault addr 0x1000 "
			    "[fault reason 0x51] SM: absent");
		ck_assert_uint_eq(fault.code, 0x51);
		ck_assert(!fault.has_segment);
	}
END_TEST

START_TEST(an_address_is_whole_or_none)
	{
		static const struct {
			const char *text;
			uint32_t rid;
			bool good, segment;
		} is[] = {
			{"3b:00.0", 0x3b00, true, false},
			{"0x3b:0x1f.7", 0x3bff, true, false},
			{"0000:3b:00.0", 0x3b00, true, true},
			{"ffff:ff:1f.7", UINT32_MAX, true, true},
			{"10000:3b:00.0", 0, false, false},
			{"3b:20.0", 0, false, false},
			{"3b:00.8", 0, false, false},
			{"100:00.0", 0, false, false},
			{"3b.0", 0, false, false},
			{"3b:00", 0, false, false},
			{":00.0", 0, false, false},
			{"", 0, false, false},
		};

		for (size_t i = 0; i < ARRAY_SIZE(is); i++) {
			struct fault_text text = {is[i].text, is[i].text + strlen(is[i].text)};
			struct rid rid = {7};
			bool segment = false;

			ck_assert(fault_take_rid(&text, &rid, &segment) == is[i].good);
			ck_assert(fault_text_is_empty(&text) == (is[i].good || !is[i].text[0]));
			if (!is[i].good)
				continue;
			ck_assert_uint_eq(rid.v, is[i].rid);
			ck_assert(segment == is[i].segment);
		}
	}
END_TEST

START_TEST(numbers_have_as_many_digits_as_fit)
	{
		static const char most[] = "0xffffffffffffffff", more[] = "0x10000000000000000",
				  ten[] = "18446744073709551616", small[] = "0x2a rest";
		struct fault_text text = {most, most + strlen(most)};
		uint64_t number = 0;

		ck_assert(fault_take_hex(&text, &number));
		ck_assert_uint_eq(number, UINT64_MAX);
		text = (struct fault_text){more, more + strlen(more)};
		ck_assert(!fault_take_hex(&text, &number));
		text = (struct fault_text){ten, ten + strlen(ten)};
		ck_assert(!fault_take_number(&text, &number));
		text = (struct fault_text){small, small + strlen(small)};
		ck_assert(fault_take_number(&text, &number));
		ck_assert_uint_eq(number, 42);
		ck_assert(fault_take(&text, " rest") && fault_text_is_empty(&text));
	}
END_TEST

START_TEST(a_pasid_has_20_bits)
	{
		ck_assert_uint_eq(one("DMAR: [DMA Read PASID 0xfffff] " VTD_END).pasid, PASID_LAST);
		ck_assert(one("DMAR: [DMA Read PASID 0x0] " VTD_END).has_pasid);
		ck_assert_int_eq(
			one("DMAR: [DMA Read PASID 0x100000] " VTD_END).kind, FAULT_DAMAGED);
		ck_assert_int_eq(one("DMAR: [DMA Read PASID ] " VTD_END).kind, FAULT_DAMAGED);
		ck_assert_int_eq(
			one("DMAR: [DMA Read PASID 0x1] Request device [02:00.0] PASID 2 fault addr "
			    "1000 [fault reason 81] SM: absent")
				.kind,
			FAULT_DAMAGED);
	}
END_TEST

START_TEST(a_line_that_ends_early_is_no_other_fault)
	{
		static const char line[] = "DMAR: [DMA Write PASID 0x400] " VTD_END;
		const size_t whole = strlen(line) - strlen("SM: absent");

		for (size_t length = 0; length < strlen(line); length++) {
			struct fault_reader reader = {0};
			struct fault fault = {0};

			(void)fault_reader_line(&reader, line, length);
			if (!fault_reader_next(&reader, &fault))
				ck_assert_uint_le(length, strlen("DMAR: [DMA "));
			else if (length < whole - 1)
				ck_assert_int_eq(fault.kind, FAULT_DAMAGED);
			ck_assert(!fault_reader_next(&reader, &fault));
		}
	}
END_TEST

/* F45 */
START_TEST(the_formatted_line_is_read_as_it_was_meant)
	{
		struct random rng = random_begin("the_formatted_line_is_read_as_it_was_meant");

		for (uint32_t i = 0; i < 2000; i++) {
			char line[VTD_FAULT_LINE_MAX];
			struct fault read, meant = {
						   .rid.v = random_next(&rng) & 0xffff,
						   .has_pasid = random_next(&rng) & 1,
						   .pasid = random_next(&rng) & PASID_LAST,
						   .address = ((uint64_t)random_next(&rng) << 32 |
								      random_next(&rng)) &
							      ~UINT64_C(0xfff),
						   .write = random_next(&rng) & 1,
						   .code = random_next(&rng) & 0xff,
					   };

			ck_assert_uint_eq(
				vtd_fault_format(&meant, line, sizeof(line)), strlen(line));
			read = one(line);
			ck_assert_int_eq(read.kind, FAULT_DMA);
			ck_assert_int_eq(read.iommu, FAULT_VTD);
			ck_assert_uint_eq(read.rid.v, meant.rid.v);
			ck_assert(read.has_pasid == meant.has_pasid);
			ck_assert_uint_eq(read.pasid, meant.has_pasid ? meant.pasid : 0);
			ck_assert_uint_eq(read.address, meant.address);
			ck_assert(read.write == meant.write);
			ck_assert_uint_eq(read.code, meant.code);
			ck_assert_str_eq(read.text, vtd_reason_text(meant.code));
		}
	}
END_TEST

START_TEST(a_line_without_room_is_none)
	{
		const struct fault fault = {.code = VTD_REASON_ENTRY_ABSENT};
		char line[64];

		ck_assert_uint_eq(vtd_fault_format(&fault, line, sizeof(line)), 0);
		ck_assert_uint_eq(smmuv3_fault_format(&fault, line, sizeof(line)), 0);
	}
END_TEST

START_TEST(every_reason_of_the_tables_has_words_and_a_meaning)
	{
		static const uint32_t reasons[] = {VTD_REASON_ROOT_ABSENT,
			VTD_REASON_CONTEXT_ABSENT, VTD_REASON_PASID_DISABLED,
			VTD_REASON_PASID_RANGE, VTD_REASON_DIRECTORY_ABSENT,
			VTD_REASON_ENTRY_ABSENT, VTD_REASON_ENTRY_BAD, VTD_REASON_FIRST_ACCESS,
			VTD_REASON_FIRST_ABSENT, VTD_REASON_FIRST_RESERVED,
			VTD_REASON_SECOND_DENIED, VTD_REASON_NOT_CANONICAL, VTD_REASON_NO_WRITE,
			VTD_REASON_NO_READ};

		for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
			ck_assert_str_ne(vtd_reason_text(reasons[i]), "Unknown");
			ck_assert_ptr_nonnull(vtd_reason_meaning(reasons[i]));
		}
		ck_assert_str_eq(vtd_reason_text(0xff), "Unknown");
		ck_assert_ptr_null(vtd_reason_meaning(0xff));
		ck_assert_ptr_null(vtd_reason_meaning(0));
	}
END_TEST

START_TEST(a_complaint_goes_to_the_request_of_its_unit)
	{
		static const char *const lines[] = {
			"DMAR: IOMMU: dmar1: Page request in Privilege Mode",
			"DMAR: dmar1: Invalid page request: 4003b000101 1001"};
		struct fault_reader reader = {0};
		struct fault fault = only(lines, ARRAY_SIZE(lines));

		ck_assert_str_eq(fault.text, "Page request in Privilege Mode");
		ck_assert_str_eq(fault.unit, "dmar1");
		ck_assert_uint_eq(fault.rid.v, 0x3b00);
		ck_assert_uint_eq(fault.pasid, 0x400);
		(void)feed(&reader, lines[0]);
		(void)feed(&reader, "DMAR: dmar0: Invalid page request: 4003b000101 1001");
		ck_assert(fault_reader_next(&reader, &fault));
		ck_assert_str_ne(fault.text, "Page request in Privilege Mode");
	}
END_TEST

/* ------------------------------------------------------------ SMMUv3 */

START_TEST(an_event_is_read_field_by_field)
	{
		/* F_PERMISSION, SSV, substream 0x500, stream 0x5e00; STALL, PnU, InD, RnW, S2,
		 * class 2
		 */
		const uint64_t word[SMMUV3_EVENT_WORDS] = {UINT64_C(0x00005e0000500813),
			UINT64_C(0x0000028e80000007), UINT64_C(0x7f0000001234),
			UINT64_C(0xfff0000080000fff)};
		struct fault fault;

		smmuv3_event_decode(word, &fault);
		ck_assert_uint_eq(fault.code, SMMUV3_F_PERMISSION);
		ck_assert_uint_eq(fault.stream, 0x5e00);
		ck_assert(fault.has_pasid && fault.has_rid && fault.rid_is_stream);
		ck_assert_uint_eq(fault.pasid, 0x500);
		ck_assert(!fault.write && fault.execute && fault.privileged && fault.stalled);
		ck_assert_uint_eq(fault.stage, 2);
		ck_assert_uint_eq(fault.address, UINT64_C(0x7f0000001234));
		ck_assert_uint_eq(fault.ipa, UINT64_C(0x80000000));
		ck_assert_str_eq(fault.text, "F_PERMISSION");
	}
END_TEST

START_TEST(a_stream_beyond_16_bits_is_no_functions_address)
	{
		const uint64_t word[SMMUV3_EVENT_WORDS] = {UINT64_C(0x0001000000000004)};
		struct fault fault;

		smmuv3_event_decode(word, &fault);
		ck_assert(fault.has_stream && !fault.has_rid && !fault.has_pasid);
		ck_assert_uint_eq(fault.stream, 0x10000);
	}
END_TEST

/* All lines of a text that fault_format made; the number of faults. */
static uint32_t feed_all(struct fault_reader *reader, const char *lines, struct fault *ret_fault)
{
	uint32_t faults = 0;
	struct fault fault;

	while (*lines) {
		size_t length = strcspn(lines, "\n");

		(void)fault_reader_line(reader, lines, length);
		while (fault_reader_next(reader, &fault)) {
			*ret_fault = fault;
			faults++;
		}
		lines += length + (lines[length] == '\n');
	}
	return faults;
}

START_TEST(the_formatted_lines_are_one_event_as_it_was_meant)
	{
		static const uint32_t codes[] = {SMMUV3_F_TRANSLATION, SMMUV3_F_ADDR_SIZE,
			SMMUV3_F_ACCESS, SMMUV3_F_PERMISSION, SMMUV3_C_BAD_CD, SMMUV3_C_BAD_STE,
			SMMUV3_F_STREAM_DISABLED, SMMUV3_C_BAD_SUBSTREAMID};
		struct random rng =
			random_begin("the_formatted_lines_are_one_event_as_it_was_meant");

		for (uint32_t i = 0; i < 2000; i++) {
			char lines[SMMUV3_FAULT_LINES_MAX];
			struct fault_reader reader = {0};
			uint32_t code = codes[random_next(&rng) % ARRAY_SIZE(codes)];
			bool walked = code >= SMMUV3_F_TRANSLATION;
			struct fault read = {0},
				     meant = {
					     .rid.v = random_next(&rng),
					     .stream = random_next(&rng),
					     .has_pasid = random_next(&rng) & 1,
					     .pasid = 1 + random_next(&rng) % PASID_LAST,
					     .code = code,
					     .has_access = walked,
					     .has_address = walked,
					     .write = walked && (random_next(&rng) & 1),
					     .address = walked ? random_next(&rng) : 0,
					     .stage = walked ? 1 + (random_next(&rng) & 1) : 0,
				     };

			ck_assert_uint_gt(smmuv3_fault_format(&meant, lines, sizeof(lines)), 0);
			ck_assert_uint_eq(feed_all(&reader, lines, &read), 1);
			ck_assert_uint_eq(read.rid.v, meant.rid.v);
			ck_assert(read.has_segment && !read.rid_is_stream);
			ck_assert_uint_eq(read.stream, meant.stream);
			ck_assert_uint_eq(read.pasid, meant.has_pasid ? meant.pasid : 0);
			ck_assert_uint_eq(read.code, meant.code);
			ck_assert_uint_eq(read.stage, meant.stage);
			ck_assert(read.write == meant.write);
			ck_assert_uint_eq(read.address, meant.address);
		}
	}
END_TEST

START_TEST(words_of_a_command_are_no_events)
	{
		static const char *const lines[] = {
			S "event 0x0a received:", S "\t0x00005e000050080a",
			S "skipping command in error state:", S "\t0x0000000000000055",
			S "\t0x0000000000000000", S "\t0x0000000000000000",
			S "\t0x0000000000000000", S "\t0x0000000000000000"};
		struct fault fault = only(lines, ARRAY_SIZE(lines));

		ck_assert_uint_eq(fault.code, SMMUV3_C_BAD_CD);
		ck_assert_uint_eq(fault.pasid, 0x500);
	}
END_TEST

START_TEST(a_record_of_another_event_is_damaged)
	{
		static const char *const lines[] = {S "event 0x0a received:",
			S "\t0x00005e0000500810", S "\t0x0000000000000000",
			S "\t0x0000000000000000", S "\t0x0000000000000000"};

		ck_assert_int_eq(only(lines, ARRAY_SIZE(lines)).kind, FAULT_DAMAGED);
	}
END_TEST

START_TEST(a_name_that_belongs_to_another_event_is_another_fault)
	{
		static const char *const lines[] = {S "event 0x0a received:",
			S "\t0x00005e000050080a", S "\t0x0000000000000000",
			S "\t0x0000000000000000", S "\t0x0000000000000000",
			S "event: C_BAD_CD client: 0000:3b:00.0 sid: 0x3b00 ssid: 0x400"};
		struct fault_reader reader = {0};
		struct fault fault;

		for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
			(void)feed(&reader, lines[i]);
		fault_reader_end(&reader);
		ck_assert(fault_reader_next(&reader, &fault));
		ck_assert_uint_eq(fault.stream, 0x5e00);
		ck_assert(fault_reader_next(&reader, &fault));
		ck_assert_uint_eq(fault.stream, 0x3b00);
		ck_assert(!fault_reader_next(&reader, &fault));
	}
END_TEST

START_TEST(more_smmus_than_are_remembered_lose_no_fault_silently)
	{
		struct fault_reader reader = {0};
		struct fault fault;
		const uint32_t smmus = 3 * SMMUV3_PENDING_MAX;
		uint32_t faults = 0;
		char line[128];

		for (uint32_t i = 0; i < smmus; i++) {
			(void)snprintf(
				line, sizeof(line), "arm-smmu-v3 smmu.%u: event 0x10 received:", i);
			(void)feed(&reader, line);
			while (fault_reader_next(&reader, &fault)) {
				ck_assert_int_eq(fault.kind, FAULT_DAMAGED);
				faults++;
			}
		}
		fault_reader_end(&reader);
		while (fault_reader_next(&reader, &fault))
			faults++;
		ck_assert_uint_eq(faults, smmus);
	}
END_TEST

START_TEST(every_event_has_a_name_and_is_found_by_it)
	{
		uint32_t named = 0;

		for (uint32_t event = 0; event < 256; event++) {
			const char *name = smmuv3_event_text(event);

			ck_assert(!name == !smmuv3_event_meaning(event));
			if (!name)
				continue;
			named++;
			ck_assert_uint_eq(smmuv3_event_find(name), event);
		}
		ck_assert_uint_eq(named, 19);
		ck_assert_uint_eq(smmuv3_event_find("UNKNOWN"), 0);
	}
END_TEST

/* ------------------------------------------------------------ lines of everybody */

START_TEST(who_wrote_a_line_is_in_front_of_it)
	{
		static const struct {
			const char *before, *when;
			bool kernels;
		} is[] = {
			{"", "", true},
			{"<3>", "<3>", true},
			{"[    1.234567] ", "[    1.234567]", true},
			{"[    1.234567][ T12] ", "[    1.234567][ T12]", true},
			{"<3>[    1.2] ", "<3>[    1.2]", true},
			{"kern  :err   : [    1.2] ", "kern  :err   : [    1.2]", true},
			{"kern  :err   : ", "kern  :err   :", true},
			{"Nov 30 15:04:05 host kernel: ", "Nov 30 15:04:05 host", true},
			{"2026-11-30T15:04:05+0000 host kernel: [  1.2] ",
				"2026-11-30T15:04:05+0000 host kernel: [  1.2]", true},
			{"3,12,34567,-;", "3,12,34567,-", true},
			{"Nov 30 15:04:05 host sshd[7]: ", "", false},
			{"Nov 30 15:04:05 host notkernels: ", "", false},
			{"Nov 30 15:04:05 host user: said: ", "", false},
		};

		for (size_t i = 0; i < ARRAY_SIZE(is); i++) {
			struct fault_reader reader = {0};
			struct fault fault;
			char line[256];

			(void)snprintf(line, sizeof(line), "%sDMAR: [DMA Read NO_PASID] " VTD_END,
				is[i].before);
			ck_assert_int_eq(feed(&reader, line),
				is[i].kernels ? FAULT_LINE_FAULT : FAULT_LINE_OTHER);
			ck_assert(fault_reader_next(&reader, &fault) == is[i].kernels);
			if (is[i].kernels)
				ck_assert_str_eq(fault.when, is[i].when);
		}
	}
END_TEST

START_TEST(an_aborted_request_names_a_function_or_none)
	{
		static const struct {
			const char *device;
			bool has_rid, has_segment;
			uint32_t rid;
		} is[] = {
			{"0000:3b:00.1", true, true, 0x3b01},
			{"3b:00.1", true, false, 0x3b01},
			{"0000:3b:00.1:more", false, false, 0},
			{"3b:00.1x", false, false, 0},
			{"arm-smmu-test", false, false, 0},
		};

		for (size_t i = 0; i < ARRAY_SIZE(is); i++) {
			struct fault_reader reader = {0};
			struct fault fault;
			char line[128];

			(void)snprintf(line, sizeof(line), "pci %s: iopf with pasid 5 aborted",
				is[i].device);
			ck_assert_int_eq(feed(&reader, line), FAULT_LINE_FAULT);
			ck_assert(fault_reader_next(&reader, &fault));
			ck_assert_str_eq(fault.client, is[i].device);
			ck_assert_uint_eq(fault.pasid, 5);
			ck_assert(fault.has_rid == is[i].has_rid);
			ck_assert(fault.has_segment == is[i].has_segment);
			ck_assert_uint_eq(fault.rid.v, is[i].rid);
		}
	}
END_TEST

START_TEST(texts_are_printable_and_cut)
	{
		char line[512];
		struct fault fault;

		(void)snprintf(line, sizeof(line), "DMAR: [DMA Read NO_PASID] " VTD_END "%s%0200d",
			"\x1b[2J\x07\xff", 0);
		fault = one(line);
		ck_assert_uint_eq(strlen(fault.text), sizeof(fault.text) - 1);
		for (size_t i = 0; fault.text[i]; i++)
			ck_assert(fault.text[i] >= ' ' && fault.text[i] <= '~');
	}
END_TEST

START_TEST(any_order_of_lines_is_safe_and_bounded)
	{
		static const char *const lines[] = {S "event 0x10 received:", S "event 0x10 rec",
			S "\t0x00005e0000500810", S "\t0x0000000000000000", NAMED,
			S "event: F_TRANSLATION client:",
			S "unpriv data write s1 \"Input address caused fault\" stag: 0x0",
			S "unpriv data", S "unexpected PRI request received:",
			S "\tsid 0x00005e00.0x00500: [3L] unprivileged RW access at iova 0x1000",
			S "\tsid 0x00005e00.",
			S "skipping command in error state:", S "CMDQ timeout", S,
			"arm-smmu-v3 x: event 0x10 received:", "arm-smmu-v3 y: \t0x10", WHOLE,
			"DMAR: [DMA ", "DMAR: Dump ",
			"DMAR: IOMMU: dmar0: Page request without PASID",
			"DMAR: dmar0: Invalid page request: 1 2",
			"DMAR: dmar0: Invalid page request: 1", "DMAR: VT-d detected ",
			"DMAR: ", "", "AMD-Vi: Event logged [", "x y: iopf with pasid 5 aborted"};
		struct random rng = random_begin("any_order_of_lines_is_safe_and_bounded");
		struct fault_reader reader = {0};
		struct fault fault;

		for (uint32_t i = 0; i < 100000; i++) {
			uint32_t most = 0;
			const char *line = lines[random_next(&rng) % ARRAY_SIZE(lines)];

			if (random_next(&rng) % 50)
				(void)feed(&reader, line);
			else
				fault_reader_end(&reader);
			while (fault_reader_next(&reader, &fault)) {
				most++;
				ck_assert(fault.kind > 0 && fault.kind < FAULT_KIND_COUNT);
			}
			ck_assert_uint_le(most, SMMUV3_PENDING_MAX + 2);
		}
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_reason_is_decimal_before_it_had_0x,
		an_address_is_whole_or_none,
		numbers_have_as_many_digits_as_fit,
		a_pasid_has_20_bits,
		a_line_that_ends_early_is_no_other_fault,
		the_formatted_line_is_read_as_it_was_meant,
		a_line_without_room_is_none,
		every_reason_of_the_tables_has_words_and_a_meaning,
		a_complaint_goes_to_the_request_of_its_unit,
		an_event_is_read_field_by_field,
		a_stream_beyond_16_bits_is_no_functions_address,
		the_formatted_lines_are_one_event_as_it_was_meant,
		words_of_a_command_are_no_events,
		a_record_of_another_event_is_damaged,
		a_name_that_belongs_to_another_event_is_another_fault,
		more_smmus_than_are_remembered_lose_no_fault_silently,
		every_event_has_a_name_and_is_found_by_it,
		who_wrote_a_line_is_in_front_of_it,
		an_aborted_request_names_a_function_or_none,
		texts_are_printable_and_cut,
		any_order_of_lines_is_safe_and_bounded,
	};

	return suite_run("fault", "unit", tests, ARRAY_SIZE(tests), NULL, NULL);
}
