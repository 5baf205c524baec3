/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as an audit trail: of anybody, for who reads; of an earlier run or a disk that lies,
 * for who goes on with it.
 *
 * Promised: it is refused with a sentence, or what is found is whole, in order, and what was asked
 * for; a daemon writes on behind it, and that is found; a user who is refused all the time gets all
 * free places of the refusals, and none of a user who has no more than a fair share.
 *
 * An input is a byte of flags, 64 bytes for the header, and records. Flags say what of it is put
 * right, which the fuzzer would hardly find: FIX_*.
 */
#include "audit_private.h"
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIX_HEAD   1u /* magic, version, size of records */
#define FIX_SIZES  2u /* of the rings */
#define FIX_CHECKS 4u
#define FIX_PLACES 8u  /* records go to each ring in turn */
#define RAW        16u /* the rest of the input is the file */
#define HEAD_SIZE  64u
#define NEW_HOST   77777u
#define NEW_USER   88888u
#define REFUSALS   (AUDIT_UNIT / 8)

static char path[64];

static void put(int fd, const void *bytes, size_t size, uint64_t offset)
{
	FUZZ_CHECK(pwrite(fd, bytes, size, (off_t)offset) == (ssize_t)size);
}

static struct audit_header make_header(const uint8_t *bytes, unsigned flags)
{
	struct audit_header header;

	_Static_assert(sizeof(header) >= HEAD_SIZE, "an input's header fits");
	memset(&header, 0, sizeof(header));
	memcpy(&header, bytes, HEAD_SIZE);
	if (flags & FIX_HEAD) {
		memcpy(header.magic, AUDIT_MAGIC, sizeof(header.magic));
		header.version = AUDIT_VERSION;
		header.record_size = sizeof(struct audit_record);
	}
	if (flags & FIX_SIZES) {
		header.capacity[AUDIT_NUMBERS] = AUDIT_UNIT / 2;
		header.capacity[AUDIT_BINDINGS] = AUDIT_UNIT / 8 * 3;
		header.capacity[AUDIT_REFUSALS] = AUDIT_UNIT / 8;
		header.capacity[AUDIT_RINGS] = 0;
	}
	return header;
}

static void make_file(const uint8_t *data, size_t size)
{
	const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const unsigned flags = size > 0 ? data[0] : RAW;
	struct audit_header header;

	FUZZ_CHECK(fd >= 0);
	if (flags & RAW || size < 1 + HEAD_SIZE) {
		if (size > 1)
			put(fd, data + 1, size - 1, 0);
		close(fd);
		return;
	}
	header = make_header(data + 1, flags);
	put(fd, &header, sizeof(header), 0);
	for (size_t i = 0; 1 + HEAD_SIZE + (i + 1) * sizeof(struct audit_record) <= size; i++) {
		uint64_t offset = AUDIT_HEADER_SIZE + i * sizeof(struct audit_record);
		struct audit_record record;

		memcpy(&record, data + 1 + HEAD_SIZE + i * sizeof(record), sizeof(record));
		if (flags & FIX_CHECKS)
			record.check = audit_check(&record);
		if ((flags & (FIX_PLACES | FIX_SIZES)) == (FIX_PLACES | FIX_SIZES))
			offset = audit_ring_offset(&header, (enum audit_ring)(i % AUDIT_RINGS)) +
				 i / AUDIT_RINGS * sizeof(record);
		put(fd, &record, sizeof(record), offset);
	}
	close(fd);
}

/* false: it is none, and that was said. */
static bool look(const struct audit_query *query, struct audit_found *found)
{
	struct audit_error error = {""};
	const int r = audit_read(path, query, found, &error);

	FUZZ_CHECK(r == 0 || (r == -EBADMSG && error.text[0] != '\0'));
	return r == 0;
}

static void check_order(const struct audit_found *found)
{
	char name[AUDIT_NAME_MAX + 1];

	for (size_t i = 0; i < found->count; i++) {
		const struct audit_record *record = &found->records[i];

		FUZZ_CHECK(audit_is_whole(record));
		FUZZ_CHECK(i == 0 || found->records[i - 1].sequence <= record->sequence);
		FUZZ_CHECK(i == 0 || memcmp(record - 1, record, sizeof(*record)) != 0);
		audit_name(record, name);
		for (const char *at = name; *at; at++)
			FUZZ_CHECK(*at > ' ' && *at < 0x7f);
		FUZZ_CHECK(audit_kind_text(record->kind)[0] != '\0');
		(void)audit_operation_text(record->operation);
	}
}

/* What is asked for of a record that is there is found, and nothing else. */
static void check_queries(const struct audit_record *record, size_t all)
{
	struct audit_query query = {.has_host = true,
		.host = record->host,
		.has_rid = true,
		.rid = record->rid,
		.set = record->set,
		.since_ms = record->time_ms,
		.until_ms = record->time_ms,
		.runs = true};
	struct audit_record last;
	struct audit_error error;
	struct audit_found found;

	FUZZ_CHECK(look(&query, &found));
	for (size_t i = 0; i < found.count; i++)
		FUZZ_CHECK((audit_is_about(&found.records[i], query.host) &&
				   found.records[i].rid == query.rid) ||
			   found.records[i].kind >= AUDIT_STARTED);
	free(found.records);
	query = (struct audit_query){.runs = true, .limit = 2};
	FUZZ_CHECK(look(&query, &found));
	FUZZ_CHECK(found.count == (all < 2 ? all : 2));
	FUZZ_CHECK(found.count + found.passed_over == all);
	free(found.records);
	query = (struct audit_query){.has_host = true, .host = record->host};
	if (audit_read_last(path, &query, &last, &error) == 0)
		FUZZ_CHECK(audit_is_about(&last, record->host) && last.kind != AUDIT_REFUSED);
}

struct kept {
	uint32_t whole, of_one; /* records; of the user of the first that has one */
	uint32_t uid;
	bool has_uid;
};

static struct kept count_refusals(const struct kept *before)
{
	static struct audit_record slots[REFUSALS];
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct kept kept = {.uid = before->uid, .has_uid = before->has_uid};

	FUZZ_CHECK(fd >= 0);
	FUZZ_CHECK(pread(fd, slots, sizeof(slots),
			   AUDIT_HEADER_SIZE + (AUDIT_UNIT - REFUSALS) * sizeof(slots[0])) ==
		   sizeof(slots));
	close(fd);
	for (uint32_t i = 0; i < REFUSALS; i++) {
		if (!audit_is_whole(&slots[i]))
			continue;
		kept.whole++;
		if (!(slots[i].flags & AUDIT_HAS_PEER) || slots[i].uid == NEW_USER)
			continue;
		if (!kept.has_uid)
			kept.uid = slots[i].uid;
		kept.has_uid = true;
		kept.of_one += slots[i].uid == kept.uid;
	}
	return kept;
}

/* Of the last free place, or one of these, nobody may have lost track. */
static void check_refusals(struct audit *audit)
{
	struct audit_record record = {
		.kind = AUDIT_REFUSED, .operation = 20, .uid = NEW_USER, .flags = AUDIT_HAS_PEER};
	const struct kept before = count_refusals(&(struct kept){0});
	struct kept after;

	for (uint32_t i = 0; i < REFUSALS + 64; i++) {
		record.reason = (uint8_t)(i % 3);
		audit_write(audit, AUDIT_REFUSALS, &record);
		if (i + before.whole + 1 == REFUSALS)
			FUZZ_CHECK(count_refusals(&before).whole == REFUSALS);
	}
	after = count_refusals(&before);
	FUZZ_CHECK(after.whole == REFUSALS);
	/* so few that there are places for all users, and nobody has more than the new one */
	if (before.whole < REFUSALS / 16)
		FUZZ_CHECK(after.of_one == before.of_one);
}

static void check_writer(void)
{
	static const uint8_t boot[16] = {7};
	struct audit_record record = {.kind = 16, .host = NEW_HOST};
	const struct audit_query all = {0};
	struct audit_found found;
	struct audit_error error = {""};
	struct audit *audit;

	if (audit_open(path, AUDIT_UNIT, boot, &audit, &error))
		FUZZ_FAIL("%s", error.text);
	audit_tick(audit, 1000);
	check_refusals(audit);
	audit_write(audit, AUDIT_NUMBERS, &record);
	audit_settled(audit);
	audit_close(audit);
	FUZZ_CHECK(look(&all, &found));
	check_order(&found);
	FUZZ_CHECK(found.count > 0 && found.records[found.count - 1].host == NEW_HOST);
	free(found.records);
}

static void leave(void)
{
	char old[sizeof(path) + 8];

	(void)snprintf(old, sizeof(old), "%s.old", path);
	(void)unlink(old);
	(void)unlink(path);
	*strrchr(path, '/') = '\0';
	(void)rmdir(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct audit_query all = {.runs = true};
	struct audit_found found;

	if (path[0] == '\0') {
		char memory[] = "/dev/shm/pasidd-fuzz-XXXXXX", disk[] = "/tmp/pasidd-fuzz-XXXXXX";
		const char *folder = mkdtemp(memory);

		if (folder == NULL)
			folder = mkdtemp(disk);
		FUZZ_CHECK(folder != NULL);
		(void)snprintf(path, sizeof(path), "%s/audit", folder);
		(void)atexit(leave);
	}
	make_file(data, size);
	if (look(&all, &found)) {
		check_order(&found);
		if (found.count > 0)
			check_queries(&found.records[found.count - 1], found.count);
		free(found.records);
	}
	check_writer();
	return 0;
}
