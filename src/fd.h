/* SPDX-License-Identifier: MIT */
/*
 * What a received descriptor really is.
 *
 * A client can pass anything; only what the system says about the open file counts. Nothing here
 * asks the file system of a foreign file, which could make us wait for ever (FUSE); but as that is
 * for the kernel to keep, all of this runs in worker processes. `sysfs` is the mount point of
 * sysfs, "/sys" on a host; tests pass a tree of their own.
 */
#ifndef PASIDD_FD_H
#define PASIDD_FD_H

#include "error.h"

#include <stddef.h>

/* For `FD_AUTO int fd = -1;`: closes the descriptor, if there is one, at the end of the scope. */
void fd_cleanup(int *fd);
#define FD_AUTO __attribute__((cleanup(fd_cleanup)))

/*
 * Writes what `fd` is as a person would say it: "a regular file", "a socket", "an O_PATH
 * descriptor", "character device 1:3", "an anonymous file (eventpoll)", "not an open descriptor".
 * Always terminated; a text that does not fit is cut.
 */
void fd_describe(int fd, char *ret_text, size_t size);

/*
 * What is known of an open file without asking anybody: like fstat(), but what a file system's
 * server would have to say is left as it was last. 0, -ENOTTY for an O_PATH descriptor, or -errno.
 */
struct statx;
int fd_stat(int fd, struct statx *ret_stat);

/*
 * May the close of `fd` keep whoever does it even when there are other copies? That of a file may,
 * for its file system is told of each (FUSE); memory, devices, sockets and pipes have nobody to
 * tell.
 */
bool fd_may_hang(int fd);

/* Says that something else was `expected` than `fd` is: REASON_FD_KIND; returns the status. */
int fd_refuse(int fd, const char *expected, const char *hint, struct error *ret_error);

/* Is `fd` open for reading and writing? 0, or STATUS_INVALID with REASON_FD_KIND. */
int fd_check_access(int fd, const char *expected, struct error *ret_error);

/*
 * Is `fd` an opened /dev/iommu? Its device number must be the one under class/misc/iommu (a dynamic
 * minor). /dev/vfio/vfio, which may behave like an iommufd, is refused. Returns 0, or
 * STATUS_INVALID with REASON_FD_KIND and a text that names what was passed, or -ENOENT (error
 * filled, too) when this kernel has no iommufd.
 */
int fd_check_iommufd(const char *sysfs, int fd, struct error *ret_error);

/*
 * Is `fd` an opened /dev/vfio/devices/vfioN? Answers the requester ID of the PCI function that is
 * its parent in sysfs, and that function's IOMMU group. Returns 0 or STATUS_INVALID with
 * REASON_FD_KIND.
 */
int fd_check_device(const char *sysfs, int fd, struct rid *ret_rid, uint32_t *ret_group,
	struct error *ret_error);

/*
 * Is `fd` shared memory with `length` bytes from `offset`, that whoever passed it may have read by
 * a device, and written when `writeable`? The kernel would map it writeable through a descriptor
 * that is not. Returns 0, or STATUS_INVALID with REASON_FD_KIND or, when only the range does not
 * fit, REASON_BAD_RANGE.
 */
int fd_check_memory(
	int fd, uint64_t offset, uint64_t length, bool writeable, struct error *ret_error);

/*
 * Finds the VFIO device node of a PCI function: writes its name ("vfio3") and returns 0, or -ENODEV
 * when there is none (no such function, or no driver with a device node is bound to it), or
 * -ENAMETOOLONG.
 */
int fd_find_device(const char *sysfs, struct rid rid, char *ret_name, size_t size);

/* Do two descriptors of this process share one open file (kcmp)? Returns 1 or 0, or -errno. */
int fd_same_file(int a, int b);

/* A requester ID as people write it: "0000:3a:00.1". */
#define FD_RID_LEN sizeof("ffff:ff:1f.7")
void fd_format_rid(struct rid rid, char ret_text[static FD_RID_LEN]);

#endif
