/* SPDX-License-Identifier: MIT */
/*
 * Opening a state file, making one, and looking at one.
 *
 * Whoever has the lock of the file at a path may write to it and replace it. One that is made gets
 * its lock before it gets its name, so that there is no moment in which it is nobody's.
 */
#include "state_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_ATTEMPTS 16 /* to find a file that others replace meanwhile */

struct state_opening {
	const char *path;
	const uint8_t *boot_id;
	struct state_note *note;
	struct stat stat;
	union {
		struct state_header header;
		uint8_t bytes[STATE_PAGE];
	};
};

static int state_failed(struct state_opening *o, int r, const char *what)
{
	return state_refuse(o->note, STATE_FOUND_FAILED, r,
		"%.256s: the state file cannot be %s: %s", o->path, what, strerror(-r));
}

static int state_foreign(struct state_opening *o, const char *what)
{
	return state_refuse(o->note, STATE_FOUND_FOREIGN, -EPERM,
		"%.256s: where the state file belongs there is %s. Find out who put it there, and "
		"remove it or choose another runtime directory.",
		o->path, what);
}

static int state_locked(struct state_opening *o)
{
	return state_refuse(o->note, STATE_FOUND_LOCKED, -EBUSY,
		"%.256s: another process has the state file open, and one host has one owner of "
		"its PASIDs. Stop that pasidd first.",
		o->path);
}

/* ------------------------------------------------------------------ descriptors */

static int state_open_path(struct state_opening *o, int flags, int *ret_fd)
{
	const int fd = open(o->path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	const int r = fd < 0 ? -errno : 0;

	if (r == -ELOOP)
		return state_foreign(o, "a symbolic link");
	if (r == -EISDIR || r == -ENXIO)
		return state_foreign(o, "something that is no regular file");
	if (r < 0)
		return state_failed(o, r, "opened");
	*ret_fd = fd;
	return 0;
}

/* That it is a file of ours, which nobody else writes to. */
static int state_check_owner(struct state_opening *o, int fd)
{
	if (fstat(fd, &o->stat) < 0)
		return state_failed(o, -errno, "read");
	if (!S_ISREG(o->stat.st_mode))
		return state_foreign(o, "something that is no regular file");
	if (o->stat.st_uid != geteuid())
		return state_foreign(o, "a file of another user");
	if (o->stat.st_mode & (S_IWGRP | S_IWOTH))
		return state_foreign(o, "a file that other users may write to");
	return 0;
}

/*
 * The lock belongs to the open file, and ends with it. Unlike flock(2)'s it can be asked about
 * without being taken.
 */
static int state_lock(struct state_opening *o, int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? state_locked(o)
						  : state_failed(o, -errno, "locked");
}

static bool state_is_locked(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Whether the path still names the open file: it may have been replaced before it was locked. */
static bool state_is_at(const char *path, int fd)
{
	struct stat at, open;

	return lstat(path, &at) == 0 && fstat(fd, &open) == 0 && at.st_dev == open.st_dev &&
	       at.st_ino == open.st_ino;
}

static int state_read_header(struct state_opening *o, int fd)
{
	ssize_t n;

	memset(o->bytes, 0, sizeof(o->bytes));
	do
		n = pread(fd, o->bytes, sizeof(o->bytes), 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? state_failed(o, -errno, "read") : 0;
}

int state_boot_id(uint8_t ret_boot_id[static STATE_BOOT_ID_SIZE])
{
	const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	uint8_t id[STATE_BOOT_ID_SIZE] = {0};
	char text[37] = "";
	size_t digits = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	for (ssize_t i = 0; i < n; i++) {
		const char *const hex = "0123456789abcdef", *digit = strchr(hex, text[i]);

		if (text[i] == '-')
			continue;
		if (digit == NULL || digits == sizeof(id) * 2)
			return -EBADMSG;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | (digit - hex));
		digits++;
	}
	if (digits != sizeof(id) * 2)
		return -EBADMSG;
	memcpy(ret_boot_id, id, sizeof(id));
	return 0;
}

/* ------------------------------------------------------------------ making one */

static int state_no_space(struct state_opening *o, int r)
{
	return state_refuse(o->note, STATE_FOUND_NO_SPACE, r,
		"%.256s: there is no room for the state file: %s. It takes %u KiB to begin with, "
		"and more as it is used: make room in the file system, or raise its limit.",
		o->path, strerror(-r), STATE_BEGIN_BYTES / 1024);
}

/* An empty one in an open file that has nothing in it. */
static int state_fill(struct state_opening *o, int fd, struct state_file **ret_file)
{
	struct state_header header;
	struct state_file *file;
	int r;

	state_header_make(o->boot_id, &header);
	if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)header.size) < 0)
		return state_failed(o, -errno, "made");
	r = posix_fallocate(fd, 0, STATE_PAGE);
	if (r != 0)
		return state_no_space(o, -r);
	r = state_map(fd, &file);
	if (r != 0)
		return state_failed(o, r, "mapped");
	*file->header = header;
	r = state_make_room(file);
	if (r != 0) {
		file->fd = -1; /* the caller's */
		state_file_free(file);
		return state_no_space(o, r);
	}
	*ret_file = file;
	return 0;
}

/*
 * Makes the file under another name, which a process that died may have left, and gives it its own.
 * `old` is the one that it replaces, locked, or -1. -EAGAIN: somebody else was faster.
 */
static int state_create(struct state_opening *o, int old, struct state_file **ret_file)
{
	struct state_opening made = *o;
	struct state_file *file = NULL;
	char path[4096];
	int fd = -1, r;

	if ((size_t)snprintf(path, sizeof(path), "%s.new", o->path) >= sizeof(path))
		return state_failed(o, -ENAMETOOLONG, "made");
	made.path = path;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd < 0)
		return errno == ELOOP ? state_foreign(&made, "a symbolic link")
				      : state_failed(&made, -errno, "made");
	r = state_check_owner(&made, fd);
	if (r == 0)
		r = state_lock(&made, fd);
	if (r == 0 && (!state_is_at(path, fd) || (old < 0 && access(o->path, F_OK) == 0)))
		r = -EAGAIN;
	if (r == 0) {
		r = state_fill(&made, fd, &file);
		if (r != 0)
			(void)unlink(path);
	}
	if (r != 0) {
		close(fd);
		return r;
	}
	if (rename(path, o->path) < 0) {
		r = state_failed(o, -errno, "made");
		state_file_free(file);
		return r;
	}
	o->note->version = STATE_FILE_VERSION;
	memcpy(o->note->boot_id, o->boot_id, STATE_BOOT_ID_SIZE);
	*ret_file = file;
	return 0;
}

static int state_create_new(struct state_opening *o, struct state_file **ret_file)
{
	int r = state_create(o, -1, ret_file);

	if (r == 0)
		(void)state_refuse(o->note, STATE_FOUND_NEW, 0,
			"%.256s: there was no state file; an empty one was made.", o->path);
	return r;
}

static int state_replace(struct state_opening *o, int old, struct state_file **ret_file)
{
	int r = state_create(o, old, ret_file);

	if (r == 0)
		(void)state_refuse(o->note, STATE_FOUND_EARLIER, 0,
			"%.256s: the state file was of an earlier boot, since which the tables of "
			"the hardware are empty; an empty one was made.",
			o->path);
	return r;
}

/* ------------------------------------------------------------------ taking one over */

/* A copy of a file may have holes where this one had space: a store there might find none. */
static bool state_has_holes(const struct state_opening *o, const struct state_file *file)
{
	uint64_t bytes = STATE_PAGE + (uint64_t)file->log_room * sizeof(struct state_undo);

	for (unsigned t = 0; t < STATE_TABLES; t++)
		bytes += (uint64_t)file->header->room[t] * file->header->tables[t].slot_size;
	return (uint64_t)o->stat.st_blocks * 512 < bytes;
}

/* Judges what is mapped, before anything of it is changed. */
static int state_adopt_mapped(struct state_opening *o, struct state_file *file)
{
	int r = state_counters_judge(o->path, file->header, o->note);

	if (r == 0)
		r = state_log_judge(o->path, file, o->note);
	if (r != 0)
		return r;
	state_take_counters(file);
	if (file->header->version != STATE_FILE_VERSION)
		r = state_upgrade(file->fd, file->header);
	if (r == 0 && state_has_holes(o, file))
		r = state_make_room(file);
	return r != 0 ? state_no_space(o, r) : 0;
}

static int state_adopt(struct state_opening *o, int fd, struct state_file **ret_file)
{
	struct state_file *file;
	int r = state_header_layout(o->path, &o->header, (uint64_t)o->stat.st_size, o->note);

	if (r != 0)
		return r;
	r = state_map(fd, &file);
	if (r != 0)
		return state_failed(o, r, "mapped");
	r = state_adopt_mapped(o, file);
	if (r != 0) {
		file->fd = -1; /* the caller's */
		state_file_free(file);
		return r;
	}
	o->note->undone = state_undo_all(file);
	(void)state_refuse(o->note, STATE_FOUND_KEPT, 0,
		"%.256s: the state file is of this boot; %u stores of an unfinished change were "
		"taken back.",
		o->path, o->note->undone);
	*ret_file = file;
	return 0;
}

/* With the descriptor of an existing file; it is taken on success. */
static int state_open_fd(struct state_opening *o, int fd, struct state_file **ret_file)
{
	int r = state_check_owner(o, fd);

	if (r == 0)
		r = state_lock(o, fd);
	if (r == 0 && !state_is_at(o->path, fd))
		return -EAGAIN;
	if (r == 0)
		r = state_read_header(o, fd);
	if (r == 0)
		r = state_header_judge(
			o->path, &o->header, (uint64_t)o->stat.st_size, o->boot_id, o->note);
	if (r != 0)
		return r;
	if (o->note->found == STATE_FOUND_KEPT)
		return state_adopt(o, fd, ret_file);
	r = state_replace(o, fd, ret_file);
	if (r == 0)
		close(fd);
	return r;
}

static int state_open_once(struct state_opening *o, struct state_file **ret_file)
{
	int fd = -1;
	int r = state_open_path(o, O_RDWR, &fd);

	if (r == -ENOENT)
		return state_create_new(o, ret_file);
	if (r == 0)
		r = state_open_fd(o, fd, ret_file);
	if (r != 0 && fd >= 0)
		close(fd);
	return r;
}

int state_file_open(const char *path, const uint8_t boot_id[static STATE_BOOT_ID_SIZE],
	struct state_file **ret_file, struct state_note *ret_note)
{
	struct state_opening o = {.path = path, .boot_id = boot_id, .note = ret_note};
	int r = -EAGAIN;

	for (unsigned i = 0; i < STATE_ATTEMPTS && r == -EAGAIN; i++) {
		*ret_note = (struct state_note){.found = STATE_FOUND_NOTHING};
		r = state_open_once(&o, ret_file);
	}
	return r == -EAGAIN ? state_locked(&o) : r;
}

/* ------------------------------------------------------------------ looking */

static int state_read(struct state_opening *o, int fd, uint64_t offset, void *to, size_t size)
{
	while (size > 0) {
		const ssize_t n = pread(fd, to, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return state_failed(o, n < 0 ? -errno : -EIO, "read");
		to = (uint8_t *)to + n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

/* Reads what there is into memory, where it stands still. */
static int state_copy(struct state_opening *o, int fd, struct state_file *copy)
{
	struct state_header *header = copy->header;
	int r;

	*header = o->header;
	r = state_counters_judge(o->path, header, o->note);
	if (r == 0)
		r = state_read(
			o, fd, header->log_offset, copy->log, header->changes * sizeof(*copy->log));
	for (unsigned t = 0; t < STATE_TABLES && r == 0; t++)
		r = state_read(o, fd, header->tables[t].offset, copy->state.table[t],
			(size_t)header->used[t] * header->tables[t].slot_size);
	if (r == 0)
		r = state_log_judge(o->path, copy, o->note);
	return r;
}

/* Whoever named the wrong file is not to reboot the host, or to take that file away. */
static int state_other(struct state_opening *o, const char *what)
{
	return state_refuse(o->note, STATE_FOUND_OTHER, -EBADMSG,
		"%.256s is no state file of pasidd: %s. A daemon's is `state` in its runtime "
		"folder, such as /run/pasidd/state.",
		o->path, what);
}

static bool state_begins(const struct state_opening *o)
{
	return o->stat.st_size >= (off_t)sizeof(o->header.magic) &&
	       memcmp(o->header.magic, STATE_MAGIC, sizeof(o->header.magic)) == 0;
}

static int state_look_into(struct state_opening *o, int fd, struct state_file **ret_file)
{
	struct state_file *copy;
	int r = state_header_layout(o->path, &o->header, (uint64_t)o->stat.st_size, o->note);

	if (r != 0)
		return r;
	r = state_map(-1, &copy);
	if (r != 0)
		return state_failed(o, r, "read");
	r = state_copy(o, fd, copy);
	if (r != 0) {
		state_file_free(copy);
		return r;
	}
	state_take_counters(copy);
	copy->log_room = STATE_CHANGE_MAX;
	o->note->undone = state_undo_all(copy);
	*ret_file = copy;
	return 0;
}

static int state_look_fd(struct state_opening *o, int fd, struct state_file **ret_file)
{
	struct state_note earlier;
	int r;

	if (fstat(fd, &o->stat) < 0)
		return state_failed(o, -errno, "read");
	if (!S_ISREG(o->stat.st_mode))
		return state_other(o, "it is no regular file");
	o->note->locked = state_is_locked(fd);
	r = state_read_header(o, fd);
	if (r == 0 && !state_begins(o))
		return state_other(o, "it does not begin as one");
	if (r == 0)
		r = state_header_judge(
			o->path, &o->header, (uint64_t)o->stat.st_size, o->boot_id, o->note);
	if (r != 0)
		return r;
	earlier = *o->note;
	r = state_look_into(o, fd, ret_file);
	if (r != 0 && earlier.found == STATE_FOUND_EARLIER) {
		*o->note = earlier;
		*ret_file = NULL;
		return 0;
	}
	return r;
}

int state_file_look(const char *path, const uint8_t boot_id[static STATE_BOOT_ID_SIZE],
	struct state_file **ret_file, struct state_note *ret_note)
{
	struct state_opening o = {.path = path, .boot_id = boot_id, .note = ret_note};
	int fd = -1, r;

	*ret_note = (struct state_note){.found = STATE_FOUND_NOTHING};
	r = state_open_path(&o, O_RDONLY, &fd);
	if (ret_note->found == STATE_FOUND_FOREIGN)
		return state_other(&o, "it is no regular file");
	if (r != 0)
		return r;
	r = state_look_fd(&o, fd, ret_file);
	close(fd);
	return r;
}
