/* SPDX-License-Identifier: MIT */
/*
 * For LD_PRELOAD: a pasidd, and the workers that it starts, whose VFIO devices are what they say
 * they are, but are bound and attached as the kernel's self-test device.
 */
#include "selftest_kernel.h"

#include "hw/uapi.h"

#include <dlfcn.h>
#include <seccomp.h>
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

/* A worker's filter, with the one request more that the self-test device takes. */
int seccomp_load(const scmp_filter_ctx ctx)
{
	int (*load)(const scmp_filter_ctx) = NULL;

	*(void **)&load = dlsym(RTLD_NEXT, "seccomp_load");
	(void)seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
		SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, SELFTEST_REQUEST));
	return load(ctx);
}

int close(int fd)
{
	selftest_device_drop(fd);
	return (int)syscall(SYS_close, fd);
}
