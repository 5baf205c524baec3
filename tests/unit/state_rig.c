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

/* ------------------------------------------------------------------ records */

static void fill_set(const struct state *state, uint32_t i, enum set_state set, const char *name)
{
	struct set_slot *slot = &((struct set_slot *)state->table[STATE_SETS])[i];

	slot->session = i == 0 ? 11 : 0;
	slot->uid = 1000 + i;
	slot->quota = 64;
	memset(slot->name, 0, sizeof(slot->name));
	memcpy(slot->name, name, strnlen(name, sizeof(slot->name)));
	slot->emptied = 500 + i;
	state_commit(state, &slot->word,
		(uint64_t)(i + 1) << WORD_GENERATION_SHIFT | SET_TRANSLATED << 4 | set);
}

static void fill_grant(const struct state *state, uint32_t i, enum grant_state grant, uint32_t set)
{
	struct grant_slot *slot = &((struct grant_slot *)state->table[STATE_GRANTS])[i];
	uint64_t word = (uint64_t)(1024 + i) << GRANT_HOST_SHIFT | grant;

	if (grant == GRANT_ACTIVE)
		word |= (uint64_t)(7 + i % 2) << GRANT_GUEST_SHIFT | GRANT_HAS_GUEST;
	slot->data = UINT64_C(0x1122334455667700) + i;
	slot->set = set;
	slot->bindings = slot->next = slot->prev = STATE_NONE;
	state_commit(state, &slot->word, word);
}

static void fill_device(const struct state *state, uint32_t i, enum device_kind kind, uint32_t set)
{
	struct device_slot *slot = &((struct device_slot *)state->table[STATE_DEVICES])[i];

	slot->lane = 100 + i;
	slot->raw[0] = 200 + i;
	slot->rid = 8 * (i + 1);
	slot->group = slot->handle = slot->dev_id = i + 1;
	slot->iommu = 1;
	slot->pasid_width = 20;
	slot->caps = 3;
	slot->unit = 0;
	slot->set = set;
	slot->shared = kind == DEVICE_SLICE ? 1 : STATE_NONE;
	state_commit(state, &slot->word,
		(uint64_t)(i + 21) << WORD_GENERATION_SHIFT | (uint64_t)kind << 4 | DEVICE_READY);
}

static void fill_binding(const struct state *state, uint32_t i, enum binding_state binding,
	uint32_t grant, uint32_t device)
{
	struct binding_slot *slot = &((struct binding_slot *)state->table[STATE_BINDINGS])[i];

	slot->set = 0;
	slot->grant = grant;
	slot->device = device;
	slot->pt_id = 40 + i;
	slot->grant_next = slot->device_next = slot->device_prev = slot->table_shared = STATE_NONE;
	slot->table_id = 50 + i;
	state_commit(state, &slot->word,
		(uint64_t)(i + 31) << WORD_GENERATION_SHIFT |
			(grant != STATE_NONE ? BINDING_WORD_PASID : 0) | binding);
}

static void fill_session(const struct state *state, uint32_t i)
{
	struct session_slot *slot = &((struct session_slot *)state->table[STATE_SESSIONS])[i];

	slot->id = 11 - i;
	slot->token[0] = 0xabcd + i;
	slot->token[1] = 0xdcba;
	slot->set = i == 0 ? UINT64_C(1) << WORD_GENERATION_SHIFT | 1 : 0;
	slot->floor = 5;
	slot->born = 99;
	slot->uid = slot->charged = 1000;
	slot->pid = 4321;
	state_commit(state, &slot->word, 1 << 4 | SESSION_LIVE);
}

static void fill_reply(const struct state *state, uint32_t i, enum reply_state reply,
	uint32_t bytes, uint32_t more)
{
	struct reply_slot *slot = &((struct reply_slot *)state->table[STATE_REPLIES])[i];

	slot->session = 0;
	slot->more = more;
	memset(slot->bytes, 'a' + (int)i, sizeof(slot->bytes));
	slot->id = i + 1;
	state_commit(state, &slot->word, (uint64_t)bytes << REPLY_BYTES_SHIFT | 16 << 8 | reply);
}

static void fill_host(const struct state *state)
{
	struct host_slot *slot = state->table[STATE_HOST];

	slot->generation = 1000;
	slot->sequence = 2000;
	slot->session = 3000;
	slot->digest[0] = 1;
	slot->digest[1] = 2;
	slot->handle = 4000;
	slot->session_slots = RIG_SESSIONS;
	slot->reply_slots = RIG_REPLIES;
	state_commit(state, &slot->word, HOST_USED);
}

void state_rig_fill(const struct state *state)
{
	static const uint32_t used[STATE_TABLES] = {
		RIG_SETS, RIG_GRANTS, RIG_DEVICES, RIG_BINDINGS, 1, RIG_SESSIONS, RIG_REPLIES, 0};

	for (unsigned t = 0; t < STATE_TABLES; t++)
		ck_assert_int_eq(state_reserve(state, (enum state_table)t, used[t]), 0);
	fill_host(state);
	fill_set(state, 0, SET_ACTIVE, "vm0");
	fill_set(state, 1, SET_DYING,
		"vm1.with_a-name-that-fills-the-field.ABCDEFGHIJKLMNOPQRSTUVWXYZ0");
	fill_set(state, 2, SET_ZOMBIE, "vm0");
	fill_grant(state, 0, GRANT_ACTIVE, 0);
	fill_grant(state, 1, GRANT_ACTIVE, 0);
	fill_grant(state, 2, GRANT_ACTIVE, 1);
	fill_grant(state, 3, GRANT_FREE_PENDING, 0);
	fill_grant(state, 4, GRANT_QUARANTINED, 2);
	fill_device(state, 0, DEVICE_EXCLUSIVE, 0);
	fill_device(state, 1, DEVICE_SHARED, STATE_NONE);
	fill_device(state, 2, DEVICE_SLICE, 0);
	fill_binding(state, 0, BINDING_BOUND, 0, 0);
	fill_binding(state, 1, BINDING_BINDING, 0, 2);
	fill_binding(state, 2, BINDING_DRAINING, 3, 1);
	fill_binding(state, 3, BINDING_BOUND, STATE_NONE, 0);
	fill_session(state, 0);
	fill_session(state, 1);
	fill_reply(state, 0, REPLY_FINAL, STATE_REPLY_FIRST, STATE_NONE);
	fill_reply(state, 1, REPLY_FINAL, STATE_REPLY_FIRST + STATE_REPLY_MORE + 1, 4);
	fill_reply(state, 2, REPLY_UNDER_WAY, 0, STATE_NONE);
	fill_reply(state, 3, REPLY_MORE, 1, STATE_NONE);
	fill_reply(state, 4, REPLY_MORE, STATE_REPLY_MORE, 3);
	state_settle(state);
}

static void fill_tie(const struct state *state, uint32_t i, enum tie_kind kind, uint64_t to,
	uint32_t grant, uint64_t times)
{
	struct tie_slot *slot = &((struct tie_slot *)state->table[STATE_TIES])[i];

	slot->to = to;
	slot->grant = grant;
	slot->next = slot->peer = slot->prev = STATE_NONE;
	state_commit(state, &slot->word, times << 32 | (uint64_t)kind << 4 | TIE_MADE);
}

void state_rig_fill_ties(const struct state *state)
{
	struct set_slot *sets = state->table[STATE_SETS];
	struct grant_slot *grants = state->table[STATE_GRANTS];

	ck_assert_int_eq(state_reserve(state, STATE_TIES, RIG_TIES), 0);
	state_commit32(state, &sets[0].scopes, 3);
	state_commit(state, &grants[0].word, grants[0].word | GRANT_RIDS);
	fill_tie(state, 0, TIE_OWNER, 1, 0, 0);
	state_commit(state, &grants[1].word, grants[1].word | UINT64_C(2) << GRANT_HOLD_SHIFT);
	fill_tie(state, 1, TIE_HOLD, 11, 1, 2);
	state_settle(state);
}
