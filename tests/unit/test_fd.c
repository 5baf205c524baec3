/* SPDX-License-Identifier: MIT */
/*
 * Descriptor checks against a sysfs tree of our own, in which /dev/null plays the iommufd,
 * /dev/zero plays /dev/vfio/vfio and /dev/full plays a VFIO device.
 */
#include "fd.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/test_fd.XXXXXX";

__attribute__((format(printf, 1, 2))) static const char *in_root(const char *format, ...)
{
	static char path[32][512];
	static unsigned int next;
	char *p = path[next++ % 32];
	va_list args;
	int n = snprintf(p, sizeof(path[0]), "%s/", root);

	va_start(args, format);
	(void)vsnprintf(p + n, sizeof(path[0]) - (size_t)n, format, args);
	va_end(args);
	return p;
}

static void make_dirs(const char *relative)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s", relative);
	for (char *p = path; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		(void)mkdir(in_root("%s", path), 0700);
		*p = '/';
	}
	(void)mkdir(in_root("%s", path), 0700);
}

static void make_file(const char *dir, const char *name, const char *text)
{
	FILE *f;

	make_dirs(dir);
	f = fopen(in_root("%s/%s", dir, name), "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static void make_link(const char *dir, const char *name, const char *target)
{
	make_dirs(dir);
	ck_assert_int_eq(symlink(target, in_root("%s/%s", dir, name)), 0);
}

#define NODE     "devices/pci0000:3a/0000:3a:01.2/vfio-dev/vfio7"
#define FUNCTION "devices/pci0000:3a/0000:3a:01.2"

static void setup(void)
{
	strcpy(root, "/tmp/test_fd.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	make_file("class/misc/iommu", "dev", "1:3\n");
	make_file("class/misc/vfio", "dev", "1:5\n");
	make_dirs(NODE);
	make_link(NODE, "subsystem", in_root("class/vfio-dev"));
	make_link(NODE, "device", "../../../0000:3a:01.2");
	make_link(FUNCTION, "subsystem", in_root("bus/pci"));
	make_link(FUNCTION, "iommu_group", in_root("kernel/iommu_groups/42"));
	make_link("dev/char", "1:7", in_root(NODE));
	make_link("bus/pci/devices", "0000:3a:01.2", in_root(FUNCTION));
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

static void assert_refused_as(int fd, const char *what)
{
	struct error error = {0};
	struct rid rid = {0x12345};
	uint32_t group = 99;

	ck_assert_int_eq(fd_check_iommufd(root, fd, &error), STATUS_INVALID);
	ck_assert_uint_eq(error.reason, REASON_FD_KIND);
	ck_assert_msg(strstr(error.text, what) == error.text, "%s", error.text);
	ck_assert_ptr_nonnull(strstr(error.text, "where an iommufd (/dev/iommu) was expected"));

	ck_assert_int_eq(fd_check_device(root, fd, &rid, &group, &error), STATUS_INVALID);
	ck_assert_uint_eq(error.reason, REASON_FD_KIND);
	ck_assert_msg(strstr(error.text, what) == error.text, "%s", error.text);
	ck_assert_ptr_nonnull(strstr(error.text, "where a VFIO device"));
	ck_assert_uint_eq(rid.v, 0x12345);
	ck_assert_uint_eq(group, 99);
}

START_TEST(trap_20_iommufd_is_known_by_its_dynamic_minor)
	{
		FD_AUTO int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		struct error error;

		ck_assert_int_eq(fd_check_iommufd(root, fd, &error), 0);
		make_file("class/misc/iommu", "dev", "10:3\n");
		ck_assert_int_eq(fd_check_iommufd(root, fd, &error), STATUS_INVALID);
	}
END_TEST

START_TEST(trap_20_legacy_container_is_refused_by_name)
	{
		FD_AUTO int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
		struct error error;

		assert_refused_as(fd, "character device 1:5");
		ck_assert_int_eq(fd_check_iommufd(root, fd, &error), STATUS_INVALID);
		ck_assert_ptr_nonnull(strstr(error.text, "/dev/vfio/vfio"));
	}
END_TEST

START_TEST(trap_20_rid_and_group_come_from_the_parent)
	{
		FD_AUTO int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
		struct error error;
		struct rid rid = {0};
		uint32_t group = 0;

		ck_assert_int_eq(fd_check_device(root, fd, &rid, &group, &error), 0);
		ck_assert_uint_eq(rid.v, 0x3a << 8 | 1 << 3 | 2);
		ck_assert_uint_eq(group, 42);
	}
END_TEST

START_TEST(device_of_another_class_is_refused)
	{
		FD_AUTO int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

		ck_assert_int_eq(unlink(in_root(NODE "/subsystem")), 0);
		make_link(NODE, "subsystem", in_root("class/mem"));
		assert_refused_as(fd, "character device 1:7");
	}
END_TEST

START_TEST(device_without_pci_parent_is_refused)
	{
		FD_AUTO int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

		ck_assert_int_eq(unlink(in_root(FUNCTION "/subsystem")), 0);
		make_link(FUNCTION, "subsystem", in_root("bus/mdev"));
		assert_refused_as(fd, "character device 1:7");
	}
END_TEST

START_TEST(device_without_group_is_refused)
	{
		FD_AUTO int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

		ck_assert_int_eq(unlink(in_root(FUNCTION "/iommu_group")), 0);
		assert_refused_as(fd, "character device 1:7");
	}
END_TEST

START_TEST(device_is_no_iommufd_and_the_reverse)
	{
		FD_AUTO int device = open("/dev/full", O_RDWR | O_CLOEXEC);
		FD_AUTO int iommufd = open("/dev/null", O_RDWR | O_CLOEXEC);
		struct error error;
		struct rid rid;
		uint32_t group;

		ck_assert_int_eq(fd_check_iommufd(root, device, &error), STATUS_INVALID);
		ck_assert_ptr_nonnull(strstr(error.text, "it is a VFIO device"));
		ck_assert_int_eq(
			fd_check_device(root, iommufd, &rid, &group, &error), STATUS_INVALID);
		ck_assert_ptr_nonnull(strstr(error.text, "it is an iommufd"));
	}
END_TEST

START_TEST(what_cannot_be_written_to_is_refused)
	{
		FD_AUTO int device = open("/dev/full", O_RDONLY | O_CLOEXEC);
		FD_AUTO int iommufd = open("/dev/null", O_WRONLY | O_CLOEXEC);
		struct error error;
		struct rid rid = {7};
		uint32_t group = 9;

		ck_assert_int_eq(fd_check_iommufd(root, iommufd, &error), STATUS_INVALID);
		ck_assert_ptr_nonnull(strstr(error.text, "O_RDWR"));
		ck_assert_int_eq(
			fd_check_device(root, device, &rid, &group, &error), STATUS_INVALID);
		ck_assert_ptr_nonnull(strstr(error.text, "O_RDWR"));
		ck_assert_uint_eq(error.reason, REASON_FD_KIND);
		ck_assert_uint_eq(rid.v, 7);
		ck_assert_uint_eq(group, 9);
	}
END_TEST

static int memory(unsigned flags, off_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	return fd;
}

static int reopened(int fd, int mode)
{
	char path[64];
	int again;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, mode | O_CLOEXEC);
	ck_assert_int_ge(again, 0);
	return again;
}

static void assert_no_memory(int fd, bool writeable, const char *text)
{
	struct error error = {0};

	ck_assert_int_eq(fd_check_memory(fd, 0, 4096, writeable, &error), STATUS_INVALID);
	ck_assert_uint_eq(error.reason, REASON_FD_KIND);
	ck_assert_msg(strstr(error.text, text) != NULL, "%s", error.text);
}

START_TEST(memory_is_a_memfd_and_nothing_else)
	{
		FD_AUTO int fd = memory(0, 8192);
		FD_AUTO int path = reopened(fd, O_PATH);
		FD_AUTO int disk = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
		FD_AUTO int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		struct error error;

		ck_assert_int_eq(fd_check_memory(fd, 0, 8192, true, &error), 0);
		ck_assert_int_eq(fd_check_memory(fd, 4096, 4096, false, &error), 0);
		assert_no_memory(path, false, "an O_PATH descriptor was passed where memory");
		assert_no_memory(disk, false, "a regular file was passed where memory");
		assert_no_memory(null, false, "character device 1:3 was passed where memory");
		assert_no_memory(-1, false, "not an open descriptor");
		assert_refused_as(fd, "a memfd or another file in memory");
	}
END_TEST

START_TEST(memory_is_written_only_by_whom_may)
	{
		FD_AUTO int fd = memory(0, 4096);
		FD_AUTO int reader = reopened(fd, O_RDONLY);
		FD_AUTO int writer = reopened(fd, O_WRONLY);
		FD_AUTO int future = memory(0, 4096);
		struct error error;

		ck_assert_int_eq(fd_check_memory(reader, 0, 4096, false, &error), 0);
		assert_no_memory(reader, true, "open for reading only");
		assert_no_memory(writer, false, "open for writing only");
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
		ck_assert_int_eq(fd_check_memory(fd, 0, 4096, true, &error), 0);
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
		ck_assert_int_eq(fd_check_memory(fd, 0, 4096, false, &error), 0);
		assert_no_memory(fd, true, "sealed against writing");
		ck_assert_int_eq(fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
		assert_no_memory(future, true, "sealed against writing");
	}
END_TEST

START_TEST(memory_ends_where_it_ends)
	{
		FD_AUTO int fd = memory(0, 8192);
		static const uint64_t ranges[][2] = {
			{0, 12288}, {4096, 8192}, {8192, 1}, {12288, 4096}, {4096, UINT64_MAX}};
		struct error error;

		for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
			ck_assert_int_eq(
				fd_check_memory(fd, ranges[i][0], ranges[i][1], true, &error),
				STATUS_INVALID);
			ck_assert_uint_eq(error.reason, REASON_BAD_RANGE);
			ck_assert_uint_eq(error.limit, 8192);
		}
		ck_assert_int_eq(ftruncate(fd, 0), 0);
		ck_assert_int_eq(fd_check_memory(fd, 0, 4096, true, &error), STATUS_INVALID);
	}
END_TEST

START_TEST(other_files_are_refused_by_kind)
	{
		FD_AUTO int epoll = epoll_create1(EPOLL_CLOEXEC);
		FD_AUTO int file = open(root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		FD_AUTO int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		FD_AUTO int event = eventfd(0, EFD_CLOEXEC);
		int pipes[2], sockets[2];

		ck_assert_int_ge(file, 0);
		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
		assert_refused_as(file, "a regular file");
		assert_refused_as(dir, "a directory");
		assert_refused_as(event, "an anonymous file (eventfd)");
		assert_refused_as(epoll, "an anonymous file (eventpoll)");
		assert_refused_as(pipes[0], "a pipe");
		assert_refused_as(sockets[0], "a socket");
		assert_refused_as(-1, "not an open descriptor");
		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(close(pipes[i]), 0);
			ck_assert_int_eq(close(sockets[i]), 0);
		}
	}
END_TEST

START_TEST(o_path_is_refused_even_with_the_right_number)
	{
		FD_AUTO int iommufd = open("/dev/null", O_PATH | O_CLOEXEC);
		FD_AUTO int device = open("/dev/full", O_PATH | O_CLOEXEC);

		assert_refused_as(iommufd, "an O_PATH descriptor");
		assert_refused_as(device, "an O_PATH descriptor");
	}
END_TEST

START_TEST(kernel_without_iommufd_is_told_apart)
	{
		FD_AUTO int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		struct error error;

		ck_assert_int_eq(unlink(in_root("class/misc/iommu/dev")), 0);
		ck_assert_int_eq(fd_check_iommufd(root, fd, &error), -ENOENT);
		ck_assert_int_eq(error.sys_errno, ENOENT);
		ck_assert_ptr_nonnull(strstr(error.text, "no iommufd"));
	}
END_TEST

START_TEST(device_node_is_found_by_rid)
	{
		const struct rid rid = {0x3a << 8 | 1 << 3 | 2}, other = {0x3a << 8 | 1 << 3 | 3};
		char name[32], tiny[4];

		ck_assert_int_eq(fd_find_device(root, rid, name, sizeof(name)), 0);
		ck_assert_str_eq(name, "vfio7");
		ck_assert_int_eq(fd_find_device(root, other, name, sizeof(name)), -ENODEV);
		ck_assert_int_eq(fd_find_device(root, rid, tiny, sizeof(tiny)), -ENAMETOOLONG);
	}
END_TEST

START_TEST(same_file_is_the_open_file_not_the_node)
	{
		FD_AUTO int a = open("/dev/null", O_RDWR | O_CLOEXEC);
		FD_AUTO int copy = fcntl(a, F_DUPFD_CLOEXEC, 0);
		FD_AUTO int b = open("/dev/null", O_RDWR | O_CLOEXEC);

		ck_assert_int_eq(fd_same_file(a, copy), 1);
		ck_assert_int_eq(fd_same_file(a, b), 0);
		ck_assert_int_eq(fd_same_file(a, 999), -EBADF);
	}
END_TEST

START_TEST(rid_is_written_as_people_do)
	{
		char text[FD_RID_LEN];

		fd_format_rid((struct rid){0xffffffff}, text);
		ck_assert_str_eq(text, "ffff:ff:1f.7");
		fd_format_rid((struct rid){0x0001 << 16 | 0x3a << 8 | 2 << 3 | 1}, text);
		ck_assert_str_eq(text, "0001:3a:02.1");
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fd");
	TCase *tc = tcase_create("fd");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, trap_20_iommufd_is_known_by_its_dynamic_minor);
	tcase_add_test(tc, trap_20_legacy_container_is_refused_by_name);
	tcase_add_test(tc, trap_20_rid_and_group_come_from_the_parent);
	tcase_add_test(tc, device_of_another_class_is_refused);
	tcase_add_test(tc, device_without_pci_parent_is_refused);
	tcase_add_test(tc, device_without_group_is_refused);
	tcase_add_test(tc, device_is_no_iommufd_and_the_reverse);
	tcase_add_test(tc, what_cannot_be_written_to_is_refused);
	tcase_add_test(tc, memory_is_a_memfd_and_nothing_else);
	tcase_add_test(tc, memory_is_written_only_by_whom_may);
	tcase_add_test(tc, memory_ends_where_it_ends);
	tcase_add_test(tc, other_files_are_refused_by_kind);
	tcase_add_test(tc, o_path_is_refused_even_with_the_right_number);
	tcase_add_test(tc, kernel_without_iommufd_is_told_apart);
	tcase_add_test(tc, device_node_is_found_by_rid);
	tcase_add_test(tc, same_file_is_the_open_file_not_the_node);
	tcase_add_test(tc, rid_is_written_as_people_do);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
