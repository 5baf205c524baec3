/* SPDX-License-Identifier: MIT */
/* What `pasidctl doctor` reads in the configuration space of functions, and what it says of them.
 */
#include "doctor.h"

#include "suite.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct doctor_report report;

static void setup(void)
{
	memset(&report, 0, sizeof(report));
}

/* What is said of all functions. */
static void all_are(enum doctor_level level, const char *found, const char *remedy)
{
	ck_assert_uint_eq(report.count, 1);
	ck_assert_str_eq(report.findings[0].name, "functions");
	ck_assert_int_eq(report.findings[0].level, level);
	ck_assert_ptr_nonnull(strstr(report.findings[0].found, found));
	ck_assert_ptr_nonnull(strstr(report.findings[0].remedy, remedy));
	setup();
}

/* ------------------------------------------------------------ configuration space */

static uint8_t space[4096];

static uint32_t next_random(void)
{
	static uint64_t seed = 1;

	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(seed >> 32);
}

static void put(size_t offset, uint32_t value, size_t width)
{
	for (size_t i = 0; i < width; i++)
		space[offset + i] = (uint8_t)(value >> (8 * i));
}

/* An endpoint with PCI Express at 0x40, ATS at 0x100, PRI at 0x110 and a PASID capability at 0x120.
 */
static void endpoint(unsigned width, bool prefixes)
{
	memset(space, 0, sizeof(space));
	put(0x06, 0x10, 2);
	put(0x0b, 0x02, 1);
	put(0x34, 0x40, 1);
	put(0x40, 0x0010, 2);
	put(0x64, prefixes ? UINT32_C(1) << 21 : 0, 4);
	put(0x100, 0x1101000f, 4);
	put(0x110, 0x12010013, 4);
	put(0x120, 0x0001001b, 4);
	put(0x124, width << 8, 2);
	put(0x126, 1, 2);
}

START_TEST(configuration_space)
	{
		struct doctor_pci pci;

		endpoint(20, true);
		doctor_pci_parse(space, sizeof(space), &pci);
		ck_assert(pci.readable && pci.express && pci.prefixes && pci.ats && pci.pri &&
			  pci.pasid);
		ck_assert(pci.pasid_enabled && !pci.acs && !pci.bridge);
		ck_assert_uint_eq(pci.pasid_width, 20);
		put(0x0a, 0x0604, 2);
		put(0x110, 0x1201000d, 4);
		doctor_pci_parse(space, 64, &pci);
		ck_assert(pci.bridge && !pci.readable && !pci.express && !pci.pasid);
		doctor_pci_parse(space, 256, &pci);
		ck_assert(pci.readable && pci.express && !pci.pasid);
		doctor_pci_parse(space, sizeof(space), &pci);
		ck_assert(pci.acs && !pci.pri);
		doctor_pci_parse(NULL, 0, &pci);
		ck_assert(!pci.readable && !pci.bridge);
	}
END_TEST

START_TEST(lists_that_lead_nowhere)
	{
		struct doctor_pci pci;

		endpoint(20, true);
		put(0x41, 0x40, 1); /* rings */
		put(0x100, 0x1001000f, 4);
		doctor_pci_parse(space, sizeof(space), &pci);
		ck_assert(pci.express && pci.ats && !pci.pasid);
		put(0x34, 0xfc, 1); /* beyond its end */
		put(0xfc, 0x10, 1);
		put(0x100, 0xffc1000f, 4);
		put(0xffc, 0x0000001b, 4);
		doctor_pci_parse(space, sizeof(space), &pci);
		ck_assert(pci.express && pci.pasid);
		ck_assert_uint_eq(pci.pasid_width, 0);
		memset(space, 0xff, sizeof(space)); /* a function that is gone */
		doctor_pci_parse(space, sizeof(space), &pci);
		ck_assert(!pci.pasid && !pci.express);
		for (unsigned round = 0; round < 2000; round++) {
			size_t size = next_random() % (sizeof(space) + 1);
			uint8_t *exact = malloc(size);

			ck_assert(size == 0 || exact != NULL);
			for (size_t i = 0; i < size; i++)
				exact[i] = (uint8_t)next_random();
			doctor_pci_parse(exact, size, &pci);
			free(exact);
		}
	}
END_TEST

/* ------------------------------------------------------------ functions */

static struct doctor_function function(void)
{
	struct doctor_function function = {
		.address = "0000:3a:00.0", .group = "17", .node = "vfio0"};

	endpoint(20, true);
	doctor_pci_parse(space, sizeof(space), &function.pci);
	return function;
}

static void function_is(const struct doctor_function *function, bool usable,
	enum doctor_level level, const char *found)
{
	ck_assert_int_eq(doctor_check_function(&report, function), usable);
	ck_assert_uint_ge(report.count, 1);
	/* What is worst is said. */
	for (size_t i = 0; i < report.count; i++) {
		if (report.findings[i].level != level || !strstr(report.findings[i].found, found))
			continue;
		ck_assert(level == DOCTOR_OK || report.findings[i].remedy[0] != '\0');
		memset(&report, 0, sizeof(report));
		return;
	}
	ck_abort_msg("\"%s\" is not said", found);
}

START_TEST(functions_of_vfio)
	{
		struct doctor_function one = function();

		function_is(
			&one, true, DOCTOR_OK, "PASIDs of 20 bits, ATS, PRI, group 17, node vfio0");
		one.pci.readable = false;
		function_is(&one, true, DOCTOR_UNKNOWN, "by root only");
		one = function();
		one.pci.pasid = false;
		function_is(&one, false, DOCTOR_WARNING, "it has no PASID capability");
		one.is_virtual = true;
		function_is(&one, false, DOCTOR_WARNING, "its physical function has no");
		one = function();
		one.pci.prefixes = false;
		function_is(&one, false, DOCTOR_WARNING, "end-end TLP prefixes");
		one = function();
		one.blocking = "0000:00:1c.0";
		function_is(&one, false, DOCTOR_WARNING, "the bridge 0000:00:1c.0");
		one = function();
		one.group = NULL;
		function_is(&one, false, DOCTOR_WARNING, "no IOMMU group");
		one = function();
		one.group_others = 2;
		function_is(&one, true, DOCTOR_WARNING, "one PASID table");
		one.group_strangers = 1;
		function_is(&one, false, DOCTOR_WARNING, "1 are not bound");
		one = function();
		one.node = NULL;
		function_is(&one, false, DOCTOR_WARNING, "without a node");
	}
END_TEST

START_TEST(all_functions)
	{
		struct doctor_functions all = {.candidates = 2, .first_candidate = "0000:3a:00.0"};

		doctor_check_functions(&report, &all);
		all_are(DOCTOR_WARNING, "2 have PASIDs and could be, such as 0000:3a:00.0",
			"vfio-pci");
		all.candidates = 0;
		doctor_check_functions(&report, &all);
		all_are(DOCTOR_WARNING, "none has PASIDs", "");
		all.unread = 4;
		doctor_check_functions(&report, &all);
		all_are(DOCTOR_WARNING, "only root", "");
		all.bound = 2;
		doctor_check_functions(&report, &all);
		all_are(DOCTOR_PROBLEM, "none of the 2", "each");
		all.usable = 1;
		doctor_check_functions(&report, &all);
		all_are(DOCTOR_OK, "on 1 of them", "");
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		configuration_space, lists_that_lead_nowhere, functions_of_vfio, all_functions};

	return suite_run("doctor_pci", "doctor", tests, COUNT(tests), setup, NULL);
}
