/* SPDX-License-Identifier: MIT */
/*
 * For LD_PRELOAD: a pasidd, and the workers that it starts, whose VFIO devices are what they say
 * they are, but are bound and attached as the kernel's self-test device.
 */
#include "selftest_kernel.h"

#include "hw/uapi.h"

#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((constructor)) static void preload_begin(void)
{
	selftest_be_vtd();
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == UAPI_DEVICE_BIND && !selftest_is_device(fd))
		(void)selftest_device_add(fd);
	return selftest_ioctl(fd, request, arg);
}

int close(int fd)
{
	selftest_device_drop(fd);
	return (int)syscall(SYS_close, fd);
}
