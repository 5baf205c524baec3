/* SPDX-License-Identifier: MIT */
/* Landlock, by its system calls: Debian 12's headers know its first version only. */
#include "confine.h"

#include "../fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

/* Linux 6.15, include/uapi/linux/landlock.h */
#define LANDLOCK_VERSION      1u /* a flag: which version is there? */
#define LANDLOCK_PATH_BENEATH 1

#define ALLOW_EXECUTE     (UINT64_C(1) << 0)
#define ALLOW_WRITE_FILE  (UINT64_C(1) << 1)
#define ALLOW_READ_FILE   (UINT64_C(1) << 2)
#define ALLOW_READ_DIR    (UINT64_C(1) << 3)
#define ALLOW_REMOVE_DIR  (UINT64_C(1) << 4)
#define ALLOW_REMOVE_FILE (UINT64_C(1) << 5)
#define ALLOW_MAKE_DIR    (UINT64_C(1) << 7)
#define ALLOW_MAKE_REG    (UINT64_C(1) << 8)
#define ALLOW_REFER       (UINT64_C(1) << 13)
#define ALLOW_TRUNCATE    (UINT64_C(1) << 14)
#define ALLOW_IOCTL_DEV   (UINT64_C(1) << 15)

#define ALLOW_READ  (ALLOW_READ_FILE | ALLOW_READ_DIR)
#define ALLOW_NODES (ALLOW_READ_FILE | ALLOW_WRITE_FILE | ALLOW_IOCTL_DEV)
#define ALLOW_OWN                                                                                  \
	(ALLOW_READ | ALLOW_WRITE_FILE | ALLOW_REMOVE_DIR | ALLOW_REMOVE_FILE | ALLOW_MAKE_DIR |   \
		ALLOW_MAKE_REG | ALLOW_REFER | ALLOW_TRUNCATE)
/* Of what is no folder. */
#define ALLOW_OF_FILES                                                                             \
	(ALLOW_EXECUTE | ALLOW_WRITE_FILE | ALLOW_READ_FILE | ALLOW_TRUNCATE | ALLOW_IOCTL_DEV)

#define NET_TCP      3u /* bind and connect */
#define SCOPE_OTHERS 3u /* abstract Unix sockets of, and signals to, who is not confined so */

struct landlock_ruleset {
	uint64_t files, net, scoped;
};

struct landlock_path {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

/* What a version can refuse, all of it. */
static uint64_t landlock_all(int version)
{
	static const uint8_t bits[] = {13, 14, 15, 15, 16};
	const size_t known = ARRAY_SIZE(bits);
	const size_t row = (size_t)version > known ? known - 1 : (size_t)version - 1;

	return (UINT64_C(1) << bits[row]) - 1;
}

static int landlock_version(void)
{
#ifdef PASIDD_COVERAGE_END_H /* whoever ends writes a file of counters */
	return -EOPNOTSUPP;
#else
	const long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);

	return version < 0 ? -errno : (int)version;
#endif
}

/* *ret_handled: what is refused where no rule allows it. The descriptor or -errno. */
static int landlock_new(bool scoped, int *ret_version, uint64_t *ret_handled)
{
	struct landlock_ruleset ruleset = {0};
	size_t size = sizeof(ruleset);
	const int version = landlock_version();
	int fd;

	if (version < 0)
		return version;
	ruleset.files = landlock_all(version);
	if (version >= 4)
		ruleset.net = NET_TCP;
	if (version >= 6 && scoped)
		ruleset.scoped = SCOPE_OTHERS;
	if (version < 6)
		size = offsetof(struct landlock_ruleset, scoped);
	if (version < 4)
		size = offsetof(struct landlock_ruleset, net);
	fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, size, 0);
	if (fd < 0)
		return -errno;
	*ret_version = version;
	*ret_handled = ruleset.files;
	return fd;
}

/* What is not there is no error: nothing below it can be opened either. */
static int landlock_allow(int ruleset, uint64_t handled, const char *path, uint64_t allowed)
{
	FD_AUTO int fd = open(path, O_PATH | O_CLOEXEC);
	struct landlock_path rule = {.allowed = allowed & handled, .parent = fd};
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == EACCES ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		rule.allowed &= ALLOW_OF_FILES;
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_PATH_BENEATH, &rule, 0) < 0 ? -errno
											    : 0;
}

static int landlock_restrict(int ruleset)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return -errno;
	return 0;
}

/*
 * The kernel removes the folder with the last node in it, and makes another one for the next: a
 * rule about it would be about nothing then. The container's node stays where there is one; else
 * the rule is about /dev, where permissions and the unit's DevicePolicy= say the rest.
 */
static const char *landlock_nodes(void)
{
	return access("/dev/vfio/vfio", F_OK) == 0 ? "/dev/vfio" : "/dev";
}

int confine_worker_files(void)
{
	int version = 0, r;
	uint64_t handled = 0;
	FD_AUTO int ruleset = landlock_new(true, &version, &handled);

	if (ruleset < 0)
		return ruleset;
	r = landlock_allow(ruleset, handled, "/dev/iommu", ALLOW_NODES);
	if (r == 0)
		r = landlock_allow(ruleset, handled, landlock_nodes(), ALLOW_NODES);
	if (r == 0)
		r = landlock_allow(ruleset, handled, "/sys", ALLOW_READ);
#ifdef CONFINE_INSTRUMENTED
	if (r == 0) /* where leaks are looked for */
		r = landlock_allow(ruleset, handled, "/proc", ALLOW_READ);
#endif
	if (r == 0)
		r = landlock_restrict(ruleset);
	return r < 0 ? r : version;
}

/* Peers and devices; names of users and groups, with the libraries that know them. */
static const char *const daemon_reads[] = {
	"/proc", "/sys", "/etc", "/run", "/usr", "/lib", "/lib64", "/var/lib/sss"};

int confine_daemon_files(
	const char *const folders[static CONFINE_FOLDERS_MAX], const char *settings)
{
	int version = 0, r;
	uint64_t handled = 0;
	FD_AUTO int ruleset = landlock_new(false, &version, &handled);

	if (ruleset < 0)
		return ruleset;
	r = landlock_allow(ruleset, handled, "/dev/null", ALLOW_READ_FILE | ALLOW_WRITE_FILE);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(daemon_reads); i++)
		r = landlock_allow(ruleset, handled, daemon_reads[i], ALLOW_READ);
	if (r == 0 && settings != NULL)
		r = landlock_allow(ruleset, handled, settings, ALLOW_READ);
	for (size_t i = 0; r == 0 && i < CONFINE_FOLDERS_MAX; i++)
		if (folders[i] != NULL)
			r = landlock_allow(ruleset, handled, folders[i], ALLOW_OWN);
	if (r == 0)
		r = landlock_restrict(ruleset);
	return r < 0 ? r : version;
}
