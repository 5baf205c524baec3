/* SPDX-License-Identifier: MIT */
/* What a host is said to be able to do, on trees of sysfs and dev of our own. */
#include "hw/probe.h"

#include "hw/smmuv3.h"
#include "hw/vtd.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];
static struct probe probe;

/* Makes a folder or, without a slash at the end, an empty file, with all folders above. */
static void make(const char *relative)
{
	char path[256];
	size_t length;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", root, relative);
	length = strlen(root) + 1;
	for (char *p = path + length; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		(void)mkdir(path, 0700);
		*p = '/';
	}
	if (path[strlen(path) - 1] == '/')
		return;
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(close(fd), 0);
}

static void look(void)
{
	char sysfs[128], dev[128];

	(void)snprintf(sysfs, sizeof(sysfs), "%s/sys", root);
	(void)snprintf(dev, sizeof(dev), "%s/dev", root);
	probe_host(sysfs, dev, &probe);
}

static void setup(void)
{
	strcpy(root, "/tmp/test_probe.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void teardown(void)
{
	ck_assert_int_eq(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

START_TEST(bare_host_is_told_what_to_do)
	{
		look();
		ck_assert(!probe_usable(&probe));
		ck_assert(!probe.iommufd);
		ck_assert(!probe.cdev);
		ck_assert_uint_eq(probe.iommu, HW_IOMMU_NONE);
		ck_assert_ptr_nonnull(strstr(probe.text, "intel_iommu=on,sm_on"));
		ck_assert_ptr_nonnull(strstr(probe.text, "Linux 6.15"));
		ck_assert_ptr_nonnull(strstr(probe.text, "CONFIG_VFIO_DEVICE_CDEV\n"));
	}
END_TEST

START_TEST(complete_host)
	{
		make("sys/class/iommu/dmar0/");
		make("sys/class/iommu/dmar1/");
		make("sys/class/misc/iommu/dev");
		make("sys/class/vfio-dev/vfio0/");
		make("sys/class/vfio-dev/vfio3/");
		make("dev/iommu");
		look();
		ck_assert(probe_usable(&probe));
		ck_assert_uint_eq(probe.iommu, HW_IOMMU_VTD);
		ck_assert_uint_eq(probe.devices, 2);
		ck_assert_ptr_nonnull(strstr(probe.text, "VT-d, 2 units"));
	}
END_TEST

START_TEST(node_that_cannot_be_opened_is_no_iommufd)
	{
		make("sys/class/misc/iommu/dev");
		make("sys/class/vfio-dev/");
		look();
		ck_assert(!probe.iommufd);
		ck_assert(probe.cdev);
		ck_assert_ptr_nonnull(strstr(probe.text, "cannot be opened"));
		ck_assert_ptr_nonnull(strstr(probe.text, "none yet"));
	}
END_TEST

START_TEST(iommus_are_told_apart)
	{
		make("sys/class/iommu/smmu3.0x0000000009050000/");
		look();
		ck_assert_uint_eq(probe.iommu, HW_IOMMU_SMMUV3);
		make("sys/class/iommu/ivhd0/");
		look();
		ck_assert_uint_eq(probe.iommu, HW_IOMMU_SMMUV3);
	}
END_TEST

START_TEST(foreign_iommu_is_none_of_ours)
	{
		make("sys/class/iommu/ivhd0/");
		look();
		ck_assert_uint_eq(probe.iommu, HW_IOMMU_NONE);
		ck_assert_ptr_nonnull(strstr(probe.text, "1 units of a kind without"));
	}
END_TEST

START_TEST(backend_goes_by_what_the_kernel_says)
	{
		ck_assert_ptr_eq(probe_kind(HW_IOMMU_VTD), &vtd_kind);
		ck_assert_ptr_eq(probe_kind(HW_IOMMU_SMMUV3), &smmuv3_kind);
		ck_assert_ptr_null(probe_kind(0)->check_nested);
		ck_assert_ptr_null(probe_kind(77)->nest);
	}
END_TEST

START_TEST(long_paths_are_survived)
	{
		char path[8192];

		memset(path, 'x', sizeof(path) - 1);
		path[sizeof(path) - 1] = '\0';
		probe_host(path, path, &probe);
		ck_assert(!probe_usable(&probe));
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("probe");
	TCase *tc = tcase_create("probe");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, bare_host_is_told_what_to_do);
	tcase_add_test(tc, complete_host);
	tcase_add_test(tc, node_that_cannot_be_opened_is_no_iommufd);
	tcase_add_test(tc, iommus_are_told_apart);
	tcase_add_test(tc, foreign_iommu_is_none_of_ours);
	tcase_add_test(tc, backend_goes_by_what_the_kernel_says);
	tcase_add_test(tc, long_paths_are_survived);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
