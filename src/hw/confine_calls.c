/* SPDX-License-Identifier: MIT */
/* The filters of system calls: lists of what is left; all else is refused, and logged. */
#include "confine.h"

#include "iommufd.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Memory, time, signals, the end; what any program does. */
static const int calls_of_all[] = {
	SCMP_SYS(brk),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(close),
	SCMP_SYS(dup),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(fcntl),
	SCMP_SYS(fstat),
	SCMP_SYS(fstatfs),
	SCMP_SYS(futex),
	SCMP_SYS(getdents64),
	SCMP_SYS(getegid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(getrandom),
	SCMP_SYS(gettid),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getuid),
	SCMP_SYS(lseek),
	SCMP_SYS(lstat),
	SCMP_SYS(madvise),
	SCMP_SYS(membarrier),
	SCMP_SYS(mmap),
	SCMP_SYS(mprotect),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	SCMP_SYS(nanosleep),
	SCMP_SYS(newfstatat),
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(pread64),
	SCMP_SYS(read),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(recvmsg),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rseq),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sendmsg),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(stat),
	SCMP_SYS(statx),
	SCMP_SYS(tgkill),
	SCMP_SYS(time),
	SCMP_SYS(write),
	SCMP_SYS(writev),
};

/* And comparing the files that were passed to it, and being told that a function goes. */
static const int calls_of_workers[] = {
	SCMP_SYS(eventfd2),
	SCMP_SYS(kcmp),
};

/* What the simulated kernel does in a worker: tables in files, locks, waiting for a change. */
static const int calls_of_simulation[] = {
	SCMP_SYS(flock),
	SCMP_SYS(fsync),
	SCMP_SYS(ftruncate),
	SCMP_SYS(inotify_add_watch),
	SCMP_SYS(inotify_init1),
	SCMP_SYS(inotify_rm_watch),
	SCMP_SYS(kill),
	SCMP_SYS(msync),
	SCMP_SYS(pwrite64),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
};

static const int calls_of_daemon[] = {
	SCMP_SYS(accept4),
	SCMP_SYS(access),
	SCMP_SYS(close_range),
	SCMP_SYS(connect),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(eventfd2),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(fadvise64),
	SCMP_SYS(fallocate),
	SCMP_SYS(fchmod),
	SCMP_SYS(fdatasync),
	SCMP_SYS(flock),
	SCMP_SYS(fsync),
	SCMP_SYS(ftruncate),
	SCMP_SYS(getcwd),
	SCMP_SYS(getpeername),
	SCMP_SYS(getrlimit),
	SCMP_SYS(getrusage),
	SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt),
	SCMP_SYS(inotify_add_watch),
	SCMP_SYS(inotify_init1),
	SCMP_SYS(inotify_rm_watch),
	SCMP_SYS(kill),
	SCMP_SYS(memfd_create),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(msync),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(pipe2),
	SCMP_SYS(preadv),
	SCMP_SYS(prlimit64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(pwritev),
	SCMP_SYS(readv),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(signalfd4),
	SCMP_SYS(statfs),
	SCMP_SYS(sysinfo),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_gettime),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(umask),
	SCMP_SYS(uname),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
};

/* What a build with sanitizers or counters does beside, at the latest when it ends. */
static const int calls_of_instruments[] = {
#ifdef CONFINE_INSTRUMENTED
	SCMP_SYS(arch_prctl),
	SCMP_SYS(clone),
	SCMP_SYS(getcwd),
	SCMP_SYS(getrlimit),
	SCMP_SYS(mkdir),
	SCMP_SYS(pipe2),
	SCMP_SYS(prctl),
	SCMP_SYS(prlimit64),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(ptrace),
	SCMP_SYS(getdents),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(uname),
	SCMP_SYS(wait4),
#endif
	SCMP_SYS(exit),
};

struct filter {
	scmp_filter_ctx ctx;
	int r; /* of the first that failed */
};

static void filter_note(struct filter *filter, int r)
{
	if (filter->r == 0 && r < 0)
		filter->r = r;
}

static void filter_allow(struct filter *filter, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++)
		filter_note(filter, seccomp_rule_add(filter->ctx, SCMP_ACT_ALLOW, calls[i], 0));
}

/* A call whose argument `index` is that number. */
static void filter_allow_if(struct filter *filter, int call, unsigned index, uint64_t value)
{
	const struct scmp_arg_cmp is = {
		.arg = index, .op = SCMP_CMP_MASKED_EQ, .datum_a = UINT32_MAX, .datum_b = value};

	filter_note(filter, seccomp_rule_add_array(filter->ctx, SCMP_ACT_ALLOW, call, 1, &is));
}

static uint32_t filter_refusal(void)
{
	const char *asked = getenv("PASIDD_REFUSED_CALL");

	return asked != NULL && strcmp(asked, "kill") == 0 ? SCMP_ACT_KILL_PROCESS
							   : SCMP_ACT_ERRNO(EPERM);
}

/* With what is allowed to everybody. NULL: no memory. */
static struct filter filter_begin(void)
{
	struct filter filter = {.ctx = seccomp_init(filter_refusal())};

	if (filter.ctx == NULL) {
		filter.r = -ENOMEM;
		return filter;
	}
	/* Both are better, and neither is known to every kernel or library. */
	(void)seccomp_attr_set(filter.ctx, SCMP_FLTATR_CTL_LOG, 1);
	(void)seccomp_attr_set(filter.ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	filter_allow(&filter, calls_of_all, ARRAY_SIZE(calls_of_all));
	filter_allow(&filter, calls_of_instruments, ARRAY_SIZE(calls_of_instruments));
	return filter;
}

static int filter_end(struct filter *filter)
{
	if (filter->ctx == NULL)
		return filter->r;
	if (filter->r == 0)
		filter_note(filter, seccomp_load(filter->ctx));
	seccomp_release(filter->ctx);
	return filter->r;
}

int confine_worker_calls(bool simulated)
{
	struct filter filter = filter_begin();

	if (filter.ctx == NULL)
		return filter.r;
	filter_allow(&filter, calls_of_workers, ARRAY_SIZE(calls_of_workers));
	if (simulated)
		filter_allow(&filter, calls_of_simulation, ARRAY_SIZE(calls_of_simulation));
	for (size_t i = 0; i < IOMMUFD_REQUESTS; i++)
		filter_allow_if(&filter, SCMP_SYS(ioctl), 1, iommufd_requests[i]);
	return filter_end(&filter);
}

int confine_daemon_calls(void)
{
	struct filter filter = filter_begin();

	if (filter.ctx == NULL)
		return filter.r;
	filter_allow(&filter, calls_of_daemon, ARRAY_SIZE(calls_of_daemon));
	filter_allow_if(&filter, SCMP_SYS(socket), 0, AF_UNIX);
	filter_allow_if(&filter, SCMP_SYS(socketpair), 0, AF_UNIX);
	/* Who closes what nobody should close (executor_closer.c). */
	filter_allow_if(&filter, SCMP_SYS(clone), 0, CLONE_FILES | SIGCHLD);
	filter_allow_if(&filter, SCMP_SYS(unshare), 0, CLONE_FILES);
	return filter_end(&filter);
}
