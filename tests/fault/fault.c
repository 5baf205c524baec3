/* SPDX-License-Identifier: MIT */
/*
 * For LD_PRELOAD: counts the calls of one process into libc, and lets one of them fail.
 *
 * The file that PASIDD_FAULT names is shared with the test. The first process that finds no process
 * named in it is the one; its children, which inherit the environment, are left alone. Under
 * AddressSanitizer, whose own malloc has to be called, no allocation fails.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(FAULT_NO_ALLOCATIONS)
#define ALLOCATIONS(F)
#else
#define ALLOCATIONS(F) F(malloc) F(calloc) F(realloc)
#endif
/* In this order in the file. */
#define FUNCTIONS(F)                                                                               \
	F(mmap)                                                                                    \
	F(ftruncate)                                                                               \
	F(posix_fallocate)                                                                         \
	F(open)                                                                                    \
	F(openat)                                                                                  \
	F(accept4)                                                                                 \
	F(recvmsg)                                                                                 \
	F(recvmmsg)                                                                                \
	F(sendmsg)                                                                                 \
	F(send)                                                                                    \
	F(recv)                                                                                    \
	F(socketpair)                                                                              \
	F(socket)                                                                                  \
	F(epoll_ctl)                                                                               \
	F(epoll_wait)                                                                              \
	F(fcntl)                                                                                   \
	F(posix_spawn)                                                                             \
	F(statx)                                                                                   \
	F(getsockopt)                                                                              \
	F(setsockopt)                                                                              \
	F(read)                                                                                    \
	F(write)                                                                                   \
	F(fsync)                                                                                   \
	F(fstat)                                                                                   \
	F(linkat)                                                                                  \
	F(unlinkat)                                                                                \
	F(renameat)                                                                                \
	ALLOCATIONS(F)

enum function {
#define F(name) FAULT_##name,
	FUNCTIONS(F)
#undef F
		FAULT_COUNT
};

/* All words of 64 bits, so that a test can read and write them without knowing C. */
struct control {
	uint64_t pid;      /* 0: the next process that comes takes it */
	uint64_t function; /* which one fails; FAULT_COUNT or more: none */
	uint64_t at;       /* so many calls of it succeed first */
	uint64_t error;
	uint64_t hits;
	uint64_t count; /* of functions, followed by the calls of each */
	uint64_t calls[FAULT_COUNT];
};

static struct control *control;
static pid_t self;

/*
 * libseccomp (2.5) goes on with a filter that refuses everything, or with an address that is none,
 * where realloc() fails. That ends who calls it while it starts, which is not ours to mend.
 */
static uintptr_t spared_from, spared_to;

static int spare(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	if (!strstr(info->dlpi_name, "/libseccomp.so"))
		return 0;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const uintptr_t from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
			spared_from = from;
			spared_to = from + info->dlpi_phdr[i].p_memsz;
		}
	}
	return 1;
}

__attribute__((constructor)) static void fault_begin(void)
{
	const char *path = getenv("PASIDD_FAULT");
	uint64_t nobody = 0;
	void *shared;
	int fd;

	/* not what the daemon is started through */
	if (strcmp(program_invocation_short_name, "pasidd") != 0)
		return;
	fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	shared = (void *)syscall(
		SYS_mmap, NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)syscall(SYS_close, fd);
	if (shared == MAP_FAILED)
		return;
	(void)dl_iterate_phdr(spare, NULL);
	self = getpid();
	if (!__atomic_compare_exchange_n(&((struct control *)shared)->pid, &nobody, (uint64_t)self,
		    0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return;
	((struct control *)shared)->count = FAULT_COUNT;
	control = shared;
}

/* Whether this call is to fail; sets errno then. */
static int fails(enum function function)
{
	if (!control || getpid() != self)
		return 0;
	control->calls[function]++;
	if (control->function != (uint64_t)function || control->at-- != 0)
		return 0;
	control->function = FAULT_COUNT;
	control->hits++;
	errno = (int)control->error;
	return 1;
}

/* The function as the next library has it. */
#define NEXT(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

#define WRAP(type, name, failed, parameters, arguments)                                            \
	type name parameters                                                                       \
	{                                                                                          \
		static __typeof__(&(name)) next;                                                   \
                                                                                                   \
		if (fails(FAULT_##name))                                                           \
			return failed;                                                             \
		if (!next)                                                                         \
			next = NEXT(name);                                                         \
		return next arguments;                                                             \
	}

WRAP(void *, mmap, MAP_FAILED, (void *at, size_t length, int prot, int flags, int fd, off_t offset),
	(at, length, prot, flags, fd, offset))
WRAP(int, ftruncate, -1, (int fd, off_t length), (fd, length))
WRAP(int, posix_fallocate, errno, (int fd, off_t offset, off_t length), (fd, offset, length))
WRAP(int, accept4, -1, (int fd, struct sockaddr *address, socklen_t *length, int flags),
	(fd, address, length, flags))
WRAP(ssize_t, recvmsg, -1, (int fd, struct msghdr *message, int flags), (fd, message, flags))
WRAP(int, recvmmsg, -1,
	(int fd, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *timeout),
	(fd, messages, count, flags, timeout))
WRAP(ssize_t, sendmsg, -1, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP(ssize_t, send, -1, (int fd, const void *data, size_t length, int flags),
	(fd, data, length, flags))
WRAP(ssize_t, recv, -1, (int fd, void *data, size_t length, int flags), (fd, data, length, flags))
WRAP(int, socketpair, -1, (int domain, int type, int protocol, int fds[2]),
	(domain, type, protocol, fds))
WRAP(int, socket, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, epoll_ctl, -1, (int fd, int operation, int target, struct epoll_event *event),
	(fd, operation, target, event))
WRAP(int, epoll_wait, -1, (int fd, struct epoll_event *events, int most, int timeout),
	(fd, events, most, timeout))
WRAP(int, posix_spawn, errno,
	(pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attributes, char *const arguments[],
		char *const environment[]),
	(pid, path, actions, attributes, arguments, environment))
WRAP(int, statx, -1,
	(int fd, const char *path, int flags, unsigned int mask, struct statx *ret_status),
	(fd, path, flags, mask, ret_status))
WRAP(int, getsockopt, -1, (int fd, int level, int name, void *value, socklen_t *length),
	(fd, level, name, value, length))
WRAP(int, setsockopt, -1, (int fd, int level, int name, const void *value, socklen_t length),
	(fd, level, name, value, length))
WRAP(ssize_t, read, -1, (int fd, void *data, size_t length), (fd, data, length))
WRAP(ssize_t, write, -1, (int fd, const void *data, size_t length), (fd, data, length))
WRAP(int, fsync, -1, (int fd), (fd))
WRAP(int, fstat, -1, (int fd, struct stat *status), (fd, status))
WRAP(int, linkat, -1, (int from, const char *old, int to, const char *path, int flags),
	(from, old, to, path, flags))
WRAP(int, unlinkat, -1, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(int, renameat, -1, (int from, const char *old, int to, const char *path),
	(from, old, to, path))

/* Those with an argument more, sometimes. */
#define OPTIONAL(type, last)                                                                       \
	va_list list;                                                                              \
	type value;                                                                                \
                                                                                                   \
	va_start(list, last);                                                                      \
	value = va_arg(list, type);                                                                \
	va_end(list)

int open(const char *path, int flags, ...)
{
	OPTIONAL(unsigned int, flags);
	return fails(FAULT_open) ? -1 : NEXT(open)(path, flags, value);
}

int openat(int fd, const char *path, int flags, ...)
{
	OPTIONAL(unsigned int, flags);
	return fails(FAULT_openat) ? -1 : NEXT(openat)(fd, path, flags, value);
}

int fcntl(int fd, int command, ...)
{
	OPTIONAL(void *, command);
	return fails(FAULT_fcntl) ? -1 : NEXT(fcntl)(fd, command, value);
}

#if !defined(FAULT_NO_ALLOCATIONS)
/* Not by way of dlsym(), which allocates. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size)
{
	return fails(FAULT_malloc) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails(FAULT_calloc) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
	const uintptr_t caller = (uintptr_t)__builtin_return_address(0);
	const int is_spared = caller >= spared_from && caller < spared_to;

	return !is_spared && fails(FAULT_realloc) ? NULL : __libc_realloc(memory, size);
}
#endif
