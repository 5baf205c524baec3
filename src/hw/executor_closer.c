/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that must not be closed by us, last copy or not. A file system of a user's own (FUSE)
 * is told of every close of a file of it, and who closes sleeps uninterruptibly until it has
 * answered. No operation takes such a file, so nobody is given it either.
 *
 * A child that shares our table of descriptors closes them: what is closed there is closed here.
 * One that is kept is left behind: we go on with a copy of the table, from which the kernel had
 * taken the descriptor before it asked. Another child, the guard, closes all else in the table that
 * a kept one has, when we have left it or have ended in whatever way, so that nothing of ours is
 * held by it.
 */
#include "executor_state.h"

#include "../fd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What we and the children see. */
struct executor_progress {
	_Atomic uint32_t begun; /* so many closes */
	_Atomic uint32_t apart; /* we have a table of our own */
};

/* --- what may hang --- */

static void closer_identify(const struct statx *file, struct executor_file *ret_file)
{
	*ret_file = (struct executor_file){file->stx_dev_major, file->stx_dev_minor, file->stx_ino};
}

static bool closer_is_own(const struct executor_closer *closer, const struct executor_file *file)
{
	for (uint32_t i = 0; i < closer->own_count; i++) {
		const struct executor_file *own = &closer->own[i];

		if (own->dev_major == file->dev_major && own->dev_minor == file->dev_minor &&
			own->inode == file->inode)
			return true;
	}
	return false;
}

/* Our own comes back when it was refused; nodes of the simulation hang no more than itself does. */
static bool closer_is_harmless(const struct executor *e, int fd)
{
	struct executor_file file;
	struct statx st, other;

	if (fd_stat(fd, &st) < 0)
		return false;
	closer_identify(&st, &file);
	if (closer_is_own(&e->closer, &file))
		return true;
	return e->simulate_dir &&
	       statx(AT_FDCWD, e->simulate_dir, 0, STATX_BASIC_STATS, &other) == 0 &&
	       st.stx_dev_major == other.stx_dev_major && st.stx_dev_minor == other.stx_dev_minor;
}

static bool closer_must_take(const struct executor *e, int fd)
{
	return fd >= 0 && e->closer.list && fd_may_hang(fd) && !closer_is_harmless(e, fd);
}

/* --- the children --- */

/* With our table, and our memory as it is now: calls nothing that takes locks. */
static pid_t closer_fork(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
}

__attribute__((noreturn)) static void closer_run(const struct executor_closer *closer)
{
	for (uint32_t i = 0; i < closer->batch; i++) {
		closer->progress->begun = i + 1;
		(void)close(closer->list[i].fd);
	}
	_exit(0);
}

static void closer_pause(void)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	(void)nanosleep(&moment, NULL);
}

/*
 * Closes all in the table but what nobody should close: that may be more than is on the list,
 * because an operation that has not begun may have such a file too.
 */
static void closer_clear(const struct executor *e)
{
	struct rlimit limit = {.rlim_cur = EXECUTOR_CLOSES_MAX};
	unsigned from = 0;

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	for (unsigned fd = 0; fd < limit.rlim_cur && fd < EXECUTOR_CLOSES_MAX; fd++) {
		if (!closer_must_take(e, (int)fd))
			continue;
		if (fd > from)
			(void)close_range(from, fd - 1, 0);
		from = fd + 1;
	}
	(void)close_range(from, ~0u, 0);
}

/* Its end, too, would be a close of everything, were nobody else left with the table. */
__attribute__((noreturn)) static void closer_guard(const struct executor *e, pid_t parent)
{
	while (getppid() == parent && (!e->closer.progress || e->closer.progress->apart == 0))
		closer_pause();
	closer_clear(e);
	_exit(0);
}

static bool closer_guard_start(struct executor *e)
{
	const pid_t self = getpid();
	pid_t pid;

	if (e->closer.guard && waitpid(e->closer.guard, NULL, WNOHANG) == 0)
		return true;
	pid = closer_fork();
	if (pid == 0)
		closer_guard(e, self);
	e->closer.guard = pid < 0 ? 0 : pid;
	return pid > 0;
}

/* We share its table, so that its end closes nothing. */
static void closer_guard_stop(struct executor_closer *closer)
{
	if (closer->guard && kill(closer->guard, SIGKILL) == 0)
		(void)waitpid(closer->guard, NULL, 0);
	closer->guard = 0;
}

/* --- batches --- */

/* The running process has closed so many of them, or will. */
static void closer_forget(struct executor *e, uint32_t closed)
{
	struct executor_closer *closer = &e->closer;

	(void)munmap(closer->progress, sizeof(*closer->progress));
	closer->progress = NULL;
	closer->pid = 0;
	for (uint32_t i = 0; i < closed; i++)
		executor_closed(e, closer->list[i].owner);
	closer->count -= closed;
	memmove(closer->list, closer->list + closed, closer->count * sizeof(closer->list[0]));
}

static void closer_start(struct executor *e)
{
	struct executor_closer *closer = &e->closer;
	pid_t pid;

	if (closer->pid || closer->count == 0 || closer->stuck_count == EXECUTOR_CLOSERS_MAX)
		return;
	closer->progress = mmap(NULL, sizeof(*closer->progress), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (closer->progress == MAP_FAILED) {
		closer->progress = NULL;
		return;
	}
	closer->batch = closer->count;
	closer->since_ns = executor_now();
	pid = closer_guard_start(e) ? closer_fork() : -1;
	if (pid == 0)
		closer_run(closer);
	if (pid > 0) {
		closer->pid = pid;
		return;
	}
	closer_guard_stop(closer);
	closer_forget(e, 0);
}

/* Leaves the child that is kept behind, with the old table. */
static void closer_divorce(struct executor *e)
{
	struct executor_closer *closer = &e->closer;
	const uint32_t begun = closer->progress->begun;

	if (!closer_guard_start(e) || unshare(CLONE_FILES) < 0)
		return; /* later, then */
	closer->progress->apart = 1;
	(void)waitpid(closer->guard, NULL, 0);
	closer->guard = 0;
	closer->stuck[closer->stuck_count++] = closer->pid;
	closer_forget(e, begun);
}

static void closer_reap(struct executor *e)
{
	struct executor_closer *closer = &e->closer;
	uint32_t closed = closer->batch;
	int status = 0;

	for (uint32_t i = closer->stuck_count; i-- > 0;)
		if (waitpid(closer->stuck[i], NULL, WNOHANG) != 0)
			closer->stuck[i] = closer->stuck[--closer->stuck_count];
	if (!closer->pid || waitpid(closer->pid, &status, WNOHANG) == 0)
		return;
	if (!WIFEXITED(status)) /* killed: the rest is still to be closed */
		closed = closer->progress->begun;
	closer_guard_stop(closer);
	closer_forget(e, closed);
}

bool executor_closer_tick(struct executor *e)
{
	struct executor_closer *closer = &e->closer;

	closer_reap(e);
	if (closer->pid && executor_now() - closer->since_ns >= EXECUTOR_JANITOR_MS * 1000000ull)
		closer_divorce(e);
	closer_start(e);
	return closer->pid || closer->count || closer->stuck_count;
}

/* --- what comes --- */

static void closer_take(struct executor *e, int fd, uint64_t owner)
{
	struct executor_closer *closer = &e->closer;

	assert(closer->count < EXECUTOR_CLOSES_MAX); /* there are no more numbers */
	closer->list[closer->count++] = (struct executor_close){owner, fd};
	closer_start(e);
	executor_janitor_arm(e);
}

bool executor_closer_dispose(struct executor *e, int fd, uint64_t owner)
{
	if (!closer_must_take(e, fd))
		return false;
	closer_take(e, fd, owner);
	return true;
}

int executor_closer_screen(struct executor *e, int fd)
{
	if (!closer_must_take(e, fd))
		return fd;
	closer_take(e, fd, 0);
	return fcntl(e->closer.standin, F_DUPFD_CLOEXEC, 0);
}

/* --- life --- */

int executor_closer_init(struct executor *e)
{
	struct executor_closer *closer = &e->closer;
	struct statx st;
	void *list = mmap(NULL, EXECUTOR_CLOSES_MAX * sizeof(closer->list[0]),
		PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (list == MAP_FAILED)
		return -ENOMEM;
	closer->list = list;
	closer->standin = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	if (closer->standin < 0)
		return -errno;
	/* Nothing foreign has come yet. */
	for (int fd = 0; fd <= closer->standin && closer->own_count < ARRAY_SIZE(closer->own); fd++)
		if (fd_may_hang(fd) && fd_stat(fd, &st) == 0)
			closer_identify(&st, &closer->own[closer->own_count++]);
	return 0;
}

void executor_closer_done(struct executor *e)
{
	struct executor_closer *closer = &e->closer;

	if (!closer->list)
		return;
	closer_reap(e);
	/* Our end would be a close of everything on the list; then it is for the guard to wait. */
	if (closer->count)
		(void)closer_guard_start(e);
	for (uint32_t i = 0; i < closer->count; i++)
		executor_closed(e, closer->list[i].owner);
	if (closer->standin >= 0)
		(void)close(closer->standin);
	closer->standin = -1;
	(void)munmap(closer->list, EXECUTOR_CLOSES_MAX * sizeof(closer->list[0]));
	closer->list = NULL;
}
