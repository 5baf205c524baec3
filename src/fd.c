/* SPDX-License-Identifier: MIT */
#include "fd.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void fd_cleanup(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	errno = saved;
}

int fd_stat(int fd, struct statx *ret_stat)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (flags & O_PATH)
		return -ENOTTY;
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, ret_stat) < 0
		       ? -errno
		       : 0;
}

/* Is it shared memory (memfd, tmpfs, hugetlbfs)? Others have no seals, not even none of them. */
static bool fd_is_memory(int fd)
{
	return fcntl(fd, F_GET_SEALS) >= 0;
}

bool fd_may_hang(int fd)
{
	struct statx st;
	int r = fd_stat(fd, &st);

	if (r == -ENOTTY || r == -EBADF)
		return false;
	return r < 0 || (S_ISREG(st.stx_mode) && !fd_is_memory(fd));
}

/* Files without a name are named after what made them: "anon_inode:[eventpoll]". */
static void fd_describe_anonymous(int fd, char *ret_text, size_t size)
{
	static const char prefix[] = "anon_inode:";
	char path[64], target[64];
	const char *name;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	if (strncmp(target, prefix, strlen(prefix)) != 0) {
		(void)snprintf(ret_text, size, "an anonymous file");
		return;
	}
	name = target + strlen(prefix);
	name += *name == '[';
	(void)snprintf(ret_text, size, "an anonymous file (%.*s)", (int)strcspn(name, "]"), name);
}

static void fd_describe_type(int fd, mode_t mode, char *ret_text, size_t size)
{
	const char *text;

	switch (mode & S_IFMT) {
	case S_IFREG:
		text = fd_is_memory(fd) ? "a memfd or another file in memory" : "a regular file";
		break;
	case S_IFDIR:
		text = "a directory";
		break;
	case S_IFIFO:
		text = "a pipe";
		break;
	case S_IFSOCK:
		text = "a socket";
		break;
	case S_IFBLK:
		text = "a block device";
		break;
	default:
		fd_describe_anonymous(fd, ret_text, size);
		return;
	}
	(void)snprintf(ret_text, size, "%s", text);
}

void fd_describe(int fd, char *ret_text, size_t size)
{
	struct statx st;
	int r = fd_stat(fd, &st);

	if (r == -ENOTTY)
		(void)snprintf(ret_text, size, "an O_PATH descriptor");
	else if (r < 0)
		(void)snprintf(ret_text, size, "not an open descriptor");
	else if (S_ISCHR(st.stx_mode))
		(void)snprintf(ret_text, size, "character device %u:%u", st.stx_rdev_major,
			st.stx_rdev_minor);
	else
		fd_describe_type(fd, st.stx_mode, ret_text, size);
}

int fd_refuse(int fd, const char *expected, const char *hint, struct error *ret_error)
{
	char what[64];

	fd_describe(fd, what, sizeof(what));
	return error_set(ret_error, REASON_FD_KIND, "%s was passed where %s was expected%s", what,
		expected, hint);
}

/* A path under sysfs. 0 or -ENAMETOOLONG. */
__attribute__((format(printf, 3, 4))) static int fd_path(
	char ret_path[static PATH_MAX], const char *sysfs, const char *format, ...)
{
	int used = snprintf(ret_path, PATH_MAX, "%s/", sysfs);
	va_list args;
	int more;

	if (used < 0 || used >= PATH_MAX)
		return -ENAMETOOLONG;
	va_start(args, format);
	more = vsnprintf(ret_path + used, (size_t)(PATH_MAX - used), format, args);
	va_end(args);
	return more < 0 || more >= PATH_MAX - used ? -ENAMETOOLONG : 0;
}

/* Reads a number that `end` follows, and moves *text behind that. */
static bool fd_parse(const char **text, int base, char end, uint32_t max, uint32_t *ret_number)
{
	unsigned long number;
	char *rest;

	/* strtoul() would accept space and signs. */
	if (!isxdigit((unsigned char)**text))
		return false;
	errno = 0;
	number = strtoul(*text, &rest, base);
	if (errno != 0 || *rest != end || number > max)
		return false;
	*text = rest + 1;
	*ret_number = (uint32_t)number;
	return true;
}

/* Reads "major:minor" from an attribute called dev. */
static int fd_read_number(const char *path, dev_t *ret_number)
{
	FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint32_t maj = 0, min = 0;
	const char *rest;
	char text[32];
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	rest = text;
	if (!fd_parse(&rest, 10, ':', UINT32_MAX, &maj) ||
		!fd_parse(&rest, 10, '\0', UINT32_MAX, &min))
		return -EBADMSG;
	*ret_number = makedev(maj, min);
	return 0;
}

/* The number of a misc device, as class/misc says. */
static int fd_misc_number(const char *sysfs, const char *name, dev_t *ret_number)
{
	char path[PATH_MAX];
	int r = fd_path(path, sysfs, "class/misc/%s/dev", name);

	return r < 0 ? r : fd_read_number(path, ret_number);
}

/* The last part of where a link in sysfs leads. */
static int fd_link_name(const char *path, char *ret_name, size_t size)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	const char *name;

	if (n < 0)
		return -errno;
	target[n] = '\0';
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	if (strlen(name) >= size)
		return -ENAMETOOLONG;
	memcpy(ret_name, name, strlen(name) + 1);
	return 0;
}

static int fd_parse_rid(const char *name, struct rid *ret_rid)
{
	uint32_t segment = 0, bus = 0, device = 0, function = 0;

	if (!fd_parse(&name, 16, ':', 0xffff, &segment) || !fd_parse(&name, 16, ':', 0xff, &bus) ||
		!fd_parse(&name, 16, '.', 31, &device) || !fd_parse(&name, 16, '\0', 7, &function))
		return -EBADMSG;
	ret_rid->v = segment << 16 | bus << 8 | device << 3 | function;
	return 0;
}

/*
 * Follows a character device in sysfs: it must be of class vfio-dev, and its parent a PCI function
 * with an IOMMU group. -ENODEV when it is something else.
 */
static int fd_follow_device(
	const char *sysfs, dev_t number, struct rid *ret_rid, uint32_t *ret_group)
{
	char path[PATH_MAX], name[64];
	const char *number_text;
	struct rid rid = {0};
	uint32_t group = 0;

	if (fd_path(path, sysfs, "dev/char/%u:%u/subsystem", major(number), minor(number)) < 0 ||
		fd_link_name(path, name, sizeof(name)) < 0 || strcmp(name, "vfio-dev") != 0)
		return -ENODEV;
	if (fd_path(path, sysfs, "dev/char/%u:%u/device/subsystem", major(number), minor(number)) <
			0 ||
		fd_link_name(path, name, sizeof(name)) < 0 || strcmp(name, "pci") != 0)
		return -ENODEV;
	if (fd_path(path, sysfs, "dev/char/%u:%u/device", major(number), minor(number)) < 0 ||
		fd_link_name(path, name, sizeof(name)) < 0 || fd_parse_rid(name, &rid) < 0)
		return -ENODEV;
	if (fd_path(path, sysfs, "dev/char/%u:%u/device/iommu_group", major(number),
		    minor(number)) < 0 ||
		fd_link_name(path, name, sizeof(name)) < 0)
		return -ENODEV;
	number_text = name;
	if (!fd_parse(&number_text, 10, '\0', UINT32_MAX, &group))
		return -ENODEV;
	*ret_rid = rid;
	*ret_group = group;
	return 0;
}

int fd_check_access(int fd, const char *expected, struct error *ret_error)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || flags & O_PATH)
		return fd_refuse(fd, expected, "", ret_error);
	if ((flags & O_ACCMODE) != O_RDWR)
		return error_set(ret_error, REASON_FD_KIND,
			"%s was passed that is not open for reading and writing; open it with "
			"O_RDWR",
			expected);
	return 0;
}

int fd_check_iommufd(const char *sysfs, int fd, struct error *ret_error)
{
	static const char expected[] = "an iommufd (/dev/iommu)";
	struct statx st;
	dev_t passed, number, legacy;
	struct rid rid;
	uint32_t group;

	if (fd_stat(fd, &st) < 0 || !S_ISCHR(st.stx_mode))
		return fd_refuse(fd, expected, "", ret_error);
	if (fd_misc_number(sysfs, "iommu", &number) < 0) {
		(void)error_set(ret_error, REASON_KERNEL_REFUSED,
			"this kernel has no iommufd: load the module iommufd, or use a kernel that has it");
		ret_error->sys_errno = ENOENT;
		return -ENOENT;
	}
	passed = makedev(st.stx_rdev_major, st.stx_rdev_minor);
	if (passed == number)
		return fd_check_access(fd, expected, ret_error);
	if (fd_misc_number(sysfs, "vfio", &legacy) == 0 && passed == legacy)
		return fd_refuse(fd, expected,
			": it is /dev/vfio/vfio, whose objects others can reach; open /dev/iommu",
			ret_error);
	return fd_refuse(fd, expected,
		fd_follow_device(sysfs, passed, &rid, &group) == 0
			? ": it is a VFIO device; the iommufd comes first"
			: "",
		ret_error);
}

int fd_check_device(const char *sysfs, int fd, struct rid *ret_rid, uint32_t *ret_group,
	struct error *ret_error)
{
	static const char expected[] = "a VFIO device (/dev/vfio/devices/vfioN)";
	dev_t passed, iommu;
	struct rid rid;
	uint32_t group;
	struct statx st;
	int r;

	if (fd_stat(fd, &st) < 0 || !S_ISCHR(st.stx_mode))
		return fd_refuse(fd, expected, "", ret_error);
	passed = makedev(st.stx_rdev_major, st.stx_rdev_minor);
	if (fd_follow_device(sysfs, passed, &rid, &group) < 0)
		return fd_refuse(fd, expected,
			fd_misc_number(sysfs, "iommu", &iommu) == 0 && iommu == passed
				? ": it is an iommufd; the device comes second"
				: ": sysfs knows no PCI function with an IOMMU group behind it",
			ret_error);
	r = fd_check_access(fd, expected, ret_error);
	if (r)
		return r;
	*ret_rid = rid;
	*ret_group = group;
	return 0;
}

/* May whoever passed it have a device write there? The kernel does not ask when it maps. */
static int fd_check_writeable(int flags, int seals, struct error *ret_error)
{
	if ((flags & O_ACCMODE) != O_RDWR)
		return error_set(ret_error, REASON_FD_KIND,
			"memory that is open for reading only cannot be mapped writeable; open it "
			"for writing too, or map it without writeable");
	if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return error_set(ret_error, REASON_FD_KIND,
			"memory that is sealed against writing cannot be mapped writeable; map it "
			"without writeable");
	return 0;
}

int fd_check_memory(
	int fd, uint64_t offset, uint64_t length, bool writeable, struct error *ret_error)
{
	static const char expected[] = "memory (a memfd, or a file on tmpfs or hugetlbfs)";
	int flags = fcntl(fd, F_GETFL), seals = fcntl(fd, F_GET_SEALS), r;
	struct statx st;

	if (flags < 0 || flags & O_PATH || seals < 0 || fd_stat(fd, &st) < 0)
		return fd_refuse(fd, expected, "", ret_error);
	if ((flags & O_ACCMODE) == O_WRONLY)
		return error_set(ret_error, REASON_FD_KIND,
			"memory that is open for writing only cannot be mapped; open it for "
			"reading too");
	r = writeable ? fd_check_writeable(flags, seals, ret_error) : 0;
	if (r)
		return r;
	if (offset > st.stx_size || length > st.stx_size - offset)
		return error_set_limit(ret_error, REASON_BAD_RANGE, offset, st.stx_size, length,
			"%llu bytes from offset %llu do not lie in the memory, which has %llu",
			(unsigned long long)length, (unsigned long long)offset,
			(unsigned long long)st.stx_size);
	return 0;
}

int fd_find_device(const char *sysfs, struct rid rid, char *ret_name, size_t size)
{
	char path[PATH_MAX], text[FD_RID_LEN];
	struct dirent *entry;
	DIR *dir;
	int r;

	fd_format_rid(rid, text);
	r = fd_path(path, sysfs, "bus/pci/devices/%s/vfio-dev", text);
	if (r < 0)
		return r;
	dir = opendir(path);
	if (!dir)
		return -ENODEV;
	r = -ENODEV;
	while (r == -ENODEV && (entry = readdir(dir)) != NULL) {
		if (strncmp(entry->d_name, "vfio", 4) != 0)
			continue;
		r = strlen(entry->d_name) < size ? 0 : -ENAMETOOLONG;
		if (r == 0)
			memcpy(ret_name, entry->d_name, strlen(entry->d_name) + 1);
	}
	(void)closedir(dir);
	return r;
}

int fd_same_file(int a, int b)
{
	pid_t self = getpid();
	long r = syscall(SYS_kcmp, self, self, KCMP_FILE, a, b);

	return r < 0 ? -errno : r == 0;
}

void fd_format_rid(struct rid rid, char ret_text[static FD_RID_LEN])
{
	(void)snprintf(ret_text, FD_RID_LEN, "%04x:%02x:%02x.%x", rid.v >> 16 & 0xffffu,
		rid.v >> 8 & 0xffu, rid.v >> 3 & 0x1fu, rid.v & 7u);
}
