/* SPDX-License-Identifier: MIT */
/*
 * What is in a state file: its header, and whether what a file says of itself can be.
 */
#include "state_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STATE_ALIGN 65536u /* of tables, so that none shares a page with another */

static const struct {
	uint32_t capacity, size;
} state_layout[STATE_TABLES] = {
	[STATE_SETS] = {STATE_FILE_SETS, sizeof(struct set_slot)},
	[STATE_GRANTS] = {STATE_FILE_GRANTS, sizeof(struct grant_slot)},
	[STATE_DEVICES] = {STATE_FILE_DEVICES, sizeof(struct device_slot)},
	[STATE_BINDINGS] = {STATE_FILE_BINDINGS, sizeof(struct binding_slot)},
	[STATE_HOST] = {1, sizeof(struct host_slot)},
	[STATE_SESSIONS] = {STATE_FILE_SESSIONS, sizeof(struct session_slot)},
	[STATE_REPLIES] = {STATE_FILE_REPLIES, sizeof(struct reply_slot)},
	[STATE_TIES] = {STATE_FILE_TIES, sizeof(struct tie_slot)},
};

/*
 * Tables of each version. What was reserved in a slot of an older one is zero there, and means in
 * this version what it was before there was anything to say.
 */
static const uint32_t state_tables[STATE_FILE_VERSION + 1] = {[1] = STATE_TIES, [2] = STATE_TABLES};

/* ------------------------------------------------------------------ making */

static uint64_t state_align(uint64_t n)
{
	return (n + STATE_ALIGN - 1) / STATE_ALIGN * STATE_ALIGN;
}

/* Over the first bytes, with zeros in place of the sum itself. */
static uint64_t state_checksum(const void *header, size_t size)
{
	const size_t sum = offsetof(struct state_header, checksum);
	const uint8_t *bytes = header;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++) {
		hash ^= i >= sum && i < sum + sizeof(uint64_t) ? 0 : bytes[i];
		hash *= UINT64_C(0x100000001b3);
	}
	return hash;
}

uint64_t state_header_checksum(const struct state_header *header)
{
	return state_checksum(header, header->fixed_bytes);
}

static void state_header_of(uint32_t version, const uint8_t boot_id[static STATE_BOOT_ID_SIZE],
	struct state_header *ret_header)
{
	struct state_header header = {
		.magic = STATE_MAGIC,
		.version = version,
		.fixed_bytes = STATE_FIXED_BYTES,
		.log_offset = STATE_PAGE,
		.log_capacity = STATE_CHANGE_MAX,
		.table_count = state_tables[version],
	};
	uint64_t at = state_align(STATE_PAGE + STATE_CHANGE_MAX * sizeof(struct state_undo));

	memcpy(header.boot_id, boot_id, STATE_BOOT_ID_SIZE);
	for (unsigned table = 0; table < header.table_count; table++) {
		header.tables[table] = (struct state_region){
			.offset = at,
			.slot_size = state_layout[table].size,
			.capacity = state_layout[table].capacity,
		};
		at = state_align(
			at + (uint64_t)state_layout[table].capacity * state_layout[table].size);
	}
	header.size = at;
	header.checksum = state_header_checksum(&header);
	*ret_header = header;
}

void state_header_make(
	const uint8_t boot_id[static STATE_BOOT_ID_SIZE], struct state_header *ret_header)
{
	state_header_of(STATE_FILE_VERSION, boot_id, ret_header);
}

uint64_t state_size(void)
{
	struct state_header header;

	state_header_make((const uint8_t[STATE_BOOT_ID_SIZE]){0}, &header);
	return header.size;
}

int state_upgrade(int fd, const struct state_header *header)
{
	struct state_header layout;
	ssize_t n;

	state_header_make(header->boot_id, &layout);
	if (ftruncate(fd, (off_t)layout.size) < 0)
		return -errno;
	do
		n = pwrite(fd, &layout, STATE_FIXED_BYTES, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == (ssize_t)STATE_FIXED_BYTES ? 0 : -EIO;
}

/* ------------------------------------------------------------------ judging */

#define STATE_DAMAGED_TEXT                                                                          \
	"%.256s: the state file is damaged: %s. Reboot the host; or make sure that no VMM holds a " \
	"device, move the file away, start again and run `pasidctl recover "                        \
	"--confirm-no-devices`."

const char *state_found_name(enum state_found found)
{
	static const char *const names[] = {
		[STATE_FOUND_NOTHING] = "nothing",
		[STATE_FOUND_NEW] = "new",
		[STATE_FOUND_EARLIER] = "earlier-boot",
		[STATE_FOUND_KEPT] = "this-boot",
		[STATE_FOUND_DAMAGED] = "damaged",
		[STATE_FOUND_FOREIGN] = "foreign",
		[STATE_FOUND_NEWER] = "newer-layout",
		[STATE_FOUND_LOCKED] = "locked",
		[STATE_FOUND_NO_SPACE] = "no-space",
		[STATE_FOUND_FAILED] = "failed",
		[STATE_FOUND_OTHER] = "no-state",
	};

	return (size_t)found < ARRAY_SIZE(names) ? names[found] : names[0];
}

int state_refuse(struct state_note *note, enum state_found found, int r, const char *format, ...)
{
	va_list args;

	note->found = found;
	va_start(args, format);
	(void)vsnprintf(note->text, sizeof(note->text), format, args);
	va_end(args);
	return r;
}

/* DAMAGED: the sentence says what is wrong with the file, `path` comes first. */
__attribute__((format(printf, 3, 4))) static int state_damaged(
	struct state_note *note, const char *path, const char *format, ...)
{
	char what[256];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return state_refuse(note, STATE_FOUND_DAMAGED, -EBADMSG, STATE_DAMAGED_TEXT, path, what);
}

int state_header_judge(const char *path, const struct state_header *header, uint64_t size,
	const uint8_t boot_id[static STATE_BOOT_ID_SIZE], struct state_note *note)
{
	if (size < STATE_PREFIX_BYTES ||
		memcmp(header->magic, STATE_MAGIC, sizeof(header->magic)) != 0)
		return state_damaged(
			note, path, "it does not begin as a state file of pasidd does");
	if (header->fixed_bytes < STATE_PREFIX_BYTES || header->fixed_bytes > STATE_PAGE ||
		header->fixed_bytes > size)
		return state_damaged(
			note, path, "its header has an impossible size (%u)", header->fixed_bytes);
	if (state_header_checksum(header) != header->checksum)
		return state_damaged(note, path, "the checksum of its header does not match");
	note->version = header->version;
	memcpy(note->boot_id, header->boot_id, STATE_BOOT_ID_SIZE);
	if (memcmp(header->boot_id, boot_id, STATE_BOOT_ID_SIZE) != 0)
		return state_refuse(note, STATE_FOUND_EARLIER, 0,
			"%.256s: the state file is of an earlier boot, since which the tables of "
			"the hardware are empty.",
			path);
	return state_refuse(
		note, STATE_FOUND_KEPT, 0, "%.256s: the state file is of this boot.", path);
}

int state_header_layout(
	const char *path, const struct state_header *header, uint64_t size, struct state_note *note)
{
	struct state_header expected;

	if (header->version > STATE_FILE_VERSION)
		return state_refuse(note, STATE_FOUND_NEWER, -EPROTONOSUPPORT,
			"%.256s: the state file has layout version %u, and this pasidd knows "
			"version %u only. Start the newer pasidd that wrote it, or reboot the "
			"host.",
			path, header->version, STATE_FILE_VERSION);
	if (header->version == 0)
		return state_damaged(note, path, "its layout has version 0");
	state_header_of(header->version, header->boot_id, &expected);
	if (size < expected.size)
		return state_damaged(note, path, "it has %llu bytes, of %llu",
			(unsigned long long)size, (unsigned long long)expected.size);
	if (memcmp(header, &expected, STATE_FIXED_BYTES) != 0)
		return state_damaged(note, path,
			"its header says a layout that version %u does not have", header->version);
	return 0;
}

/* Whether it is of a record, in a slot that was reserved. */
static bool state_is_of_record(const struct state_header *header, uint64_t offset)
{
	for (unsigned t = 0; t < STATE_TABLES; t++) {
		const struct state_region *region = &header->tables[t];

		if (offset >= region->offset &&
			offset - region->offset < (uint64_t)header->used[t] * region->slot_size)
			return offset % sizeof(uint64_t) == 0;
	}
	return false;
}

int state_log_judge(const char *path, const struct state_file *file, struct state_note *note)
{
	for (uint32_t i = 0; i < file->header->changes; i++)
		if (!state_is_of_record(file->header, file->log[i].offset))
			return state_damaged(note, path,
				"entry %u of its log is about byte %llu, where no record is", i,
				(unsigned long long)file->log[i].offset);
	return 0;
}

int state_counters_judge(
	const char *path, const struct state_header *header, struct state_note *note)
{
	for (unsigned t = 0; t < STATE_TABLES; t++)
		if (header->used[t] > header->room[t] ||
			header->room[t] > header->tables[t].capacity)
			return state_damaged(note, path,
				"of table %u it says %u slots used, room for %u, at most %u", t,
				header->used[t], header->room[t], header->tables[t].capacity);
	if (header->changes > header->log_room || header->log_room > STATE_CHANGE_MAX)
		return state_damaged(note, path,
			"of its log it says %u entries, room for %u, at most %u", header->changes,
			header->log_room, STATE_CHANGE_MAX);
	return 0;
}

uint32_t state_undo_all(struct state_file *file)
{
	const uint32_t changes = file->changes;

	for (uint32_t i = MUTANT(R) ? 0 : changes; i > 0; i--) {
		const struct state_undo *undo = &file->log[i - 1];

		memcpy(file->base + undo->offset, &undo->value, sizeof(undo->value));
	}
	state_settle(&file->state);
	return changes;
}
