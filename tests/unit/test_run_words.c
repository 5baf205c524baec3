/* SPDX-License-Identifier: MIT */
/* What `pasidctl run` puts into the words of a VMM's command line. */
#include "run_words.h"

#include "suite.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct run_device devices[] = {
	{"0000:3a:00.0", 11, 1}, {"0001:3a:00.0", 12, 4294967295u}};
static const struct run_names all = {"vm1", 9, 10, devices, COUNT(devices)};
static const struct run_names none = {NULL, -1, -1, NULL, 0};

static void becomes(const char *word, const char *text)
{
	char out[256];
	const char *what = NULL;

	ck_assert_int_eq(run_replace(word, &all, out, sizeof(out), &what), (long)strlen(text));
	ck_assert_str_eq(out, text);
	/* As long as was said, and no byte more. */
	char *exact = malloc(strlen(text) + 1);
	ck_assert_ptr_nonnull(exact);
	ck_assert_int_eq(
		run_replace(word, &all, exact, strlen(text) + 1, &what), (long)strlen(text));
	ck_assert_str_eq(exact, text);
	free(exact);
	ck_assert_int_eq(run_replace(word, &all, NULL, 0, &what), (long)strlen(text));
}

static void means_nothing(const struct run_names *names, const char *word, const char *what)
{
	const char *found = NULL;

	ck_assert_int_eq(run_replace(word, names, NULL, 0, &found), -1);
	ck_assert_str_eq(found, what);
}

START_TEST(names_are_replaced)
	{
		becomes("", "");
		becomes("vmm", "vmm");
		becomes("iommufd,id=i0,fd={iommufd}", "iommufd,id=i0,fd=10");
		becomes("{device:0000:3a:00.0}", "11");
		becomes("{device:3a:00.0},{device:0001:3a:00.0}", "11,12");
		becomes("{dev-id:3a:00.0} {dev-id:0001:3a:00.0}", "1 4294967295");
		becomes("{connection}{set}", "9vm1");
	}
END_TEST

START_TEST(other_braces_stay)
	{
		becomes("{", "{");
		becomes("{}", "{}");
		becomes("{\"fd\":\"{iommufd}\"}", "{\"fd\":\"10\"}");
		becomes("{{iommufd}}", "{10}");
		becomes("{iommufd", "{iommufd");
		becomes("{Set} {devices:x} ${HOME}", "{Set} {devices:x} ${HOME}");
	}
END_TEST

START_TEST(what_is_not_there_is_said)
	{
		means_nothing(&none, "a{iommufd}b", "{iommufd}b");
		means_nothing(&none, "{connection}", "{connection}");
		means_nothing(&none, "{set}", "{set}");
		means_nothing(&none, "{device:0000:3a:00.0}", "{device:0000:3a:00.0}");
		means_nothing(&all, "x {device:0000:3a:00.1}", "{device:0000:3a:00.1}");
		means_nothing(&all, "{device:0000:3a:00.0", "{device:0000:3a:00.0");
		means_nothing(&all, "{dev-id:}", "{dev-id:}");
		means_nothing(&all, "{device:0000:3a:00.0000000000000000000000000000}",
			"{device:0000:3a:00.0000000000000000000000000000}");
	}
END_TEST

START_TEST(text_is_cut_where_there_is_no_room)
	{
		char out[5] = "xxxx";
		const char *what;

		ck_assert_int_eq(run_replace("a{iommufd}bc", &all, out, 4, &what), 5);
		ck_assert_str_eq(out, "a10");
		ck_assert_int_eq(out[4], '\0');
	}
END_TEST

START_TEST(addresses)
	{
		ck_assert(run_same_address("0000:3a:00.0", "3a:00.0"));
		ck_assert(run_same_address("3a:00.0", "0000:3a:00.0"));
		ck_assert(!run_same_address("0001:3a:00.0", "3a:00.0"));
		ck_assert(!run_same_address("3a:00.0", "3a:00.1"));
	}
END_TEST

START_TEST(names_for_sets)
	{
		char name[65];

		run_set_name("/usr/bin/qemu-system-x86_64", 77, name, sizeof(name));
		ck_assert_str_eq(name, "qemu-system-x86_64-77");
		run_set_name("my vmm!", 4194304, name, sizeof(name));
		ck_assert_str_eq(name, "my_vmm_-4194304");
		run_set_name("", 1, name, sizeof(name));
		ck_assert_str_eq(name, "-1");
		run_set_name(
			"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg",
			123456789, name, sizeof(name));
		ck_assert_uint_eq(strlen(name), 64);
		ck_assert_str_eq(name + 54, "-123456789");
	}
END_TEST

START_TEST(lists)
	{
		char text[64];

		ck_assert(run_list(&all, false, text, sizeof(text)));
		ck_assert_str_eq(text, "0000:3a:00.0=11,0001:3a:00.0=12");
		ck_assert(run_list(&all, true, text, sizeof(text)));
		ck_assert_str_eq(text, "0000:3a:00.0=1,0001:3a:00.0=4294967295");
		ck_assert(run_list(&none, true, text, sizeof(text)));
		ck_assert_str_eq(text, "");
		ck_assert(!run_list(&all, false, text, 20));
		ck_assert(!run_list(&all, false, text, 31));
		ck_assert(run_list(&all, false, text, 32));
	}
END_TEST

START_TEST(where_an_iommu_is_simulated)
	{
		static const char note[] =
			"The IOMMU is simulated, in /tmp/a b: no device of this host is touched.";
		char path[16] = "";

		ck_assert(run_simulated_iommu(note, path, sizeof(path)));
		ck_assert_str_eq(path, "/tmp/a b/iommu");
		ck_assert(run_simulated_iommu(note, path, sizeof("/tmp/a b/iommu")));
		ck_assert(!run_simulated_iommu(note, path, sizeof("/tmp/a b/iommu") - 1));
		ck_assert(!run_simulated_iommu("The IOMMU is simulated, in /tmp/a", path, 16));
		ck_assert(!run_simulated_iommu(
			"The IOMMU is simulated, in sim: no device of this host is touched.", path,
			16));
		ck_assert(!run_simulated_iommu("", path, sizeof(path)));
		ck_assert(!run_simulated_iommu("nothing is granted", path, sizeof(path)));
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {names_are_replaced, other_braces_stay,
		what_is_not_there_is_said, text_is_cut_where_there_is_no_room, addresses,
		names_for_sets, lists, where_an_iommu_is_simulated};

	return suite_run("run_words", "run", tests, COUNT(tests), NULL, NULL);
}
