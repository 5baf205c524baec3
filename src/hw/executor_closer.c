/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that must not be closed by us, last copy or not. A file system of a user's own (FUSE)
 * is told of every close of a file of it, and who closes sleeps uninterruptibly until it has
 * answered. No operation takes such a file, so nobody is given it either.
 *
 * A child that shares our table of descriptors closes them: what is closed there is closed here.
 * One that is kept is left behind: we go on with a copy of the table, from which the kernel had
 * taken the descriptor before it asked, and another child closes all else in the old one, so that
 * nothing of ours is held by it.
 */
#include "executor_state.h"

#include "../fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What we and a child both see. */
struct executor_progress {
	_Atomic uint32_t begun; /* so many closes */
	_Atomic uint32_t apart; /* 1: we have a table of our own; 2: we have not */
};

/* A child with our table. It has our memory as it is now, and calls nothing that takes locks. */
static pid_t closer_fork(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
}

__attribute__((noreturn)) static void closer_run(const struct executor_closer *closer)
{
	for (uint32_t i = 0; i < closer->batch; i++) {
		closer->progress->begun = i + 1;
		(void)close(closer->fds[i]);
	}
	_exit(0);
}

static void closer_forget(struct executor_closer *closer, uint32_t closed)
{
	closer->count -= closed;
	memmove(closer->fds, closer->fds + closed, closer->count * sizeof(closer->fds[0]));
	(void)munmap(closer->progress, sizeof(*closer->progress));
	closer->progress = NULL;
	closer->pid = 0;
}

static void closer_start(struct executor_closer *closer)
{
	pid_t pid;

	if (closer->pid || closer->count == 0 || closer->stuck_count == EXECUTOR_CLOSERS_MAX)
		return;
	closer->progress = mmap(NULL, sizeof(*closer->progress), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (closer->progress == MAP_FAILED)
		return;
	closer->batch = closer->count;
	closer->since_ns = executor_now();
	pid = closer_fork();
	if (pid == 0)
		closer_run(closer);
	if (pid < 0)
		closer_forget(closer, 0);
	else
		closer->pid = pid;
}

static void closer_pause(void)
{
	const struct timespec moment = {.tv_nsec = 100000};

	(void)nanosleep(&moment, NULL);
}

/* Closes all in the table but what nobody should close. */
static void closer_clear(const struct executor_closer *closer, uint32_t begun)
{
	int from = 0;

	while (from >= 0) {
		int next = -1; /* the lowest one that stays */

		for (uint32_t i = begun; i < closer->count; i++)
			if (closer->fds[i] >= from && (next < 0 || closer->fds[i] < next))
				next = closer->fds[i];
		if (next != from)
			(void)close_range((unsigned)from, next < 0 ? ~0u : (unsigned)next - 1, 0);
		from = next < 0 ? -1 : next + 1;
	}
}

/* In the table that we have left. */
__attribute__((noreturn)) static void closer_clear_old(const struct executor_closer *closer)
{
	uint32_t begun = closer->progress->begun;

	while (closer->progress->apart == 0)
		closer_pause();
	if (closer->progress->apart == 1)
		closer_clear(closer, begun);
	_exit(0);
}

/*
 * Keeps our table when we end, because our end would be a close of everything in it; then it is for
 * this process to wait.
 */
__attribute__((noreturn)) static void closer_inherit(
	const struct executor_closer *closer, pid_t parent)
{
	uint32_t begun = closer->pid ? closer->progress->begun : 0;

	while (getppid() == parent)
		closer_pause();
	closer_clear(closer, begun);
	for (uint32_t i = begun; i < closer->count; i++)
		(void)close(closer->fds[i]);
	_exit(0);
}

/* Leaves the child that is kept behind, with the old table. */
static void closer_divorce(struct executor_closer *closer)
{
	uint32_t begun = closer->progress->begun;
	pid_t clearer = closer_fork();
	bool apart;

	if (clearer == 0)
		closer_clear_old(closer);
	if (clearer < 0)
		return; /* later, then */
	apart = unshare(CLONE_FILES) == 0;
	closer->progress->apart = apart ? 1 : 2;
	(void)waitpid(clearer, NULL, 0);
	if (!apart)
		return;
	closer->stuck[closer->stuck_count++] = closer->pid;
	closer_forget(closer, begun);
}

static void closer_reap(struct executor_closer *closer)
{
	for (uint32_t i = closer->stuck_count; i-- > 0;)
		if (waitpid(closer->stuck[i], NULL, WNOHANG) != 0)
			closer->stuck[i] = closer->stuck[--closer->stuck_count];
	if (closer->pid && waitpid(closer->pid, NULL, WNOHANG) != 0)
		closer_forget(closer, closer->batch);
}

bool executor_closer_tick(struct executor *e)
{
	struct executor_closer *closer = &e->closer;

	closer_reap(closer);
	if (closer->pid && executor_now() - closer->since_ns >= EXECUTOR_JANITOR_MS * 1000000ull)
		closer_divorce(closer);
	closer_start(closer);
	return closer->pid || closer->count || closer->stuck_count;
}

static bool closer_same(const struct statx *a, const struct statx *b, bool inode)
{
	return a->stx_dev_major == b->stx_dev_major && a->stx_dev_minor == b->stx_dev_minor &&
	       (!inode || a->stx_ino == b->stx_ino);
}

/* Our own comes back when it was refused; nodes of the simulation hang no more than itself does. */
static bool closer_is_harmless(const struct executor *e, int fd)
{
	struct statx file, other;

	if (fd_stat(fd, &file) < 0)
		return false;
	if (fd_stat(e->closer.standin, &other) == 0 && closer_same(&file, &other, true))
		return true;
	return e->simulate_dir &&
	       statx(AT_FDCWD, e->simulate_dir, 0, STATX_BASIC_STATS, &other) == 0 &&
	       closer_same(&file, &other, false);
}

int executor_closer_screen(struct executor *e, int fd)
{
	struct executor_closer *closer = &e->closer;

	if (fd < 0 || closer->standin < 0 || !fd_may_hang(fd) || closer_is_harmless(e, fd))
		return fd;
	if (closer->count < EXECUTOR_CLOSES_MAX)
		closer->fds[closer->count++] = fd; /* otherwise it stays open */
	closer_start(closer);
	executor_janitor_arm(e);
	return fcntl(closer->standin, F_DUPFD_CLOEXEC, 0);
}

void executor_closer_done(struct executor *e)
{
	pid_t self = getpid();

	closer_reap(&e->closer);
	if (e->closer.count && closer_fork() == 0)
		closer_inherit(&e->closer, self);
	if (e->closer.standin >= 0)
		(void)close(e->closer.standin);
	e->closer.standin = -1;
}
