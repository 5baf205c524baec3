/* SPDX-License-Identifier: MIT */
#include "state_rig.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const uint8_t rig_boot[STATE_BOOT_ID_SIZE] = "this boot's id.";
const uint8_t rig_other_boot[STATE_BOOT_ID_SIZE] = "an earlier one.";
char rig_dir[64], rig_path[96];

void state_rig_setup(void)
{
	(void)snprintf(rig_dir, sizeof(rig_dir), "/tmp/pasidd-state-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(rig_dir));
	(void)snprintf(rig_path, sizeof(rig_path), "%s/state", rig_dir);
}

void state_rig_teardown(void)
{
	DIR *dir = opendir(rig_dir);
	const struct dirent *entry;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) < 0)
			(void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	closedir(dir);
	ck_assert_int_eq(rmdir(rig_dir), 0);
}

struct state_file *state_rig_open(enum state_found found)
{
	struct state_file *file = NULL;
	struct state_note note;
	int r = state_file_open(rig_path, rig_boot, &file, &note);

	ck_assert_msg(r == 0 && note.found == found, "%d, found %u: %s", r, note.found, note.text);
	return file;
}

struct state_rig_bytes state_rig_read(const char *path)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct state_rig_bytes bytes = {0};
	struct state_header layout;
	struct stat stat;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &stat), 0);
	state_header_make(rig_boot, &layout);
	bytes.size = (uint64_t)stat.st_size;
	bytes.length = (STATE_TABLES + 2) * (size_t)STATE_CHUNK;
	bytes.pages = calloc(1, bytes.length);
	ck_assert_ptr_nonnull(bytes.pages);
	for (unsigned i = 0; i < STATE_TABLES + 2; i++) {
		const uint64_t offset =
			i < 2 ? (uint64_t)i * STATE_CHUNK : layout.tables[i - 2].offset;

		ck_assert_int_ge(pread(fd, bytes.pages + (size_t)i * STATE_CHUNK, STATE_CHUNK,
					 (off_t)offset),
			0);
	}
	close(fd);
	return bytes;
}

void state_rig_same(const char *path, const struct state_rig_bytes *bytes)
{
	struct state_rig_bytes now = state_rig_read(path);

	ck_assert_uint_eq(now.size, bytes->size);
	ck_assert_mem_eq(now.pages, bytes->pages, bytes->length);
	free(now.pages);
}

void state_rig_poke(const char *path, uint64_t offset, const void *bytes, size_t size)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, size, (off_t)offset), (ssize_t)size);
	close(fd);
}

void state_rig_edit(const char *path, void (*edit)(struct state_header *header), bool sum)
{
	const int fd = open(path, O_RDWR | O_CLOEXEC);
	struct state_header header;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &header, sizeof(header), 0), sizeof(header));
	edit(&header);
	if (sum)
		header.checksum = state_header_checksum(&header);
	ck_assert_int_eq(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	close(fd);
}
