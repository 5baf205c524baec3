/* SPDX-License-Identifier: MIT */
/*
 * Two hostile users, an honest one and root at the daemon's dispatcher and broker, over hardware
 * that is late, fails, hangs and dies. The input is a script (script.h); what is promised is
 * checked by world.c after every few records and at the end, when nothing may be left.
 */
#include "message.h"
#include "script.h"
#include "world.h"

#include <string.h>

#define CHECK_EVERY 8u

static struct world world, *const w = &world;

static void play_send(const struct script_record *record, enum world_slot slot)
{
	uint8_t head = script_byte(record, 0);
	size_t front = script_datagram_at(record), count = 0;
	int fds[SCRIPT_FDS_MAX];

	for (unsigned i = 1; i + 1 < front && count < SCRIPT_FDS_MAX; i += 2) {
		int fd = world_fd(w, script_byte(record, i), script_byte(record, i + 1));

		if (fd >= 0)
			fds[count++] = fd;
	}
	world_send(w, slot, record->bytes + front, record->size - front, fds, count,
		head & SCRIPT_FDS_TRUNCATED);
}

static void play_hardware(const struct script_record *record)
{
	uint8_t first = script_byte(record, 0), second = script_byte(record, 1);

	switch (record->action) {
	case SCRIPT_STEP:
		world_step(w, 1 + first % 16, second);
		break;
	case SCRIPT_FAIL:
		world_fail(w, first, second, script_byte(record, 2), script_byte(record, 3));
		break;
	case SCRIPT_HANG:
		world_hang(w, first);
		break;
	case SCRIPT_LOSE:
		world_lose(w, first);
		break;
	case SCRIPT_REFUSE:
		world_refuse_submits(w, first & 1);
		break;
	default:
		world_time(w, 10u * (1 + first + 256u * (second & 3)));
		break;
	}
}

static void play(const struct script_record *record)
{
	enum world_slot slot = (enum world_slot)(record->slot % (WORLD_HANDED + 1));
	uint8_t first = script_byte(record, 0);

	switch ((enum script_action)record->action) {
	case SCRIPT_SEND:
		play_send(record, slot);
		break;
	case SCRIPT_READ:
		world_read(w, slot, first ? first : UINT32_MAX);
		break;
	case SCRIPT_CONNECT:
		world_connect(w, slot);
		break;
	case SCRIPT_DISCONNECT:
		world_disconnect(w, slot, first & 1);
		break;
	case SCRIPT_DIE:
		if (slot == WORLD_HANDED && (first & 1))
			world_hide(w);
		else if (slot == WORLD_HANDED)
			world_leave(w);
		else
			world_die(w, slot);
		break;
	case SCRIPT_HONEST:
		world_honest_act(w);
		break;
	case SCRIPT_SHUT_DOWN:
		world_shut_down(w);
		break;
	case SCRIPT_STEP:
	case SCRIPT_TIME:
	case SCRIPT_FAIL:
	case SCRIPT_HANG:
	case SCRIPT_LOSE:
	case SCRIPT_REFUSE:
	case SCRIPT_ACTIONS:
		play_hardware(record);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script_record record;
	unsigned played = 0;
	size_t at = 1;

	if (size < 1)
		return 0;
	world_open(w, !(data[0] & SCRIPT_ALONE));
	while (played < SCRIPT_RECORDS_MAX && script_next(data, size, &at, &record)) {
		play(&record);
		if (++played % CHECK_EVERY == 0)
			world_check(w);
	}
	world_close(w);
	return 0;
}

/* ---------------------------------------------------------------- mutation */

static struct script_record records[SCRIPT_RECORDS_MAX];
static uint8_t changed[1u << 16], made[1u << 17];

static unsigned read_records(const uint8_t *data, size_t size)
{
	unsigned count = 0;
	size_t at = 1;

	while (count < SCRIPT_RECORDS_MAX && script_next(data, size, &at, &records[count]))
		count++;
	return count;
}

static void insert_record(unsigned *count, const struct script_record *record, uint64_t *random)
{
	unsigned at = fuzz_below(random, *count + 1);

	if (*count == SCRIPT_RECORDS_MAX)
		return;
	memmove(&records[at + 1], &records[at], (*count - at) * sizeof(*records));
	records[at] = *record;
	(*count)++;
}

/* Something that is not a datagram. */
static struct script_record new_record(uint64_t *random)
{
	static const uint8_t actions[] = {SCRIPT_STEP, SCRIPT_STEP, SCRIPT_STEP, SCRIPT_TIME,
		SCRIPT_TIME, SCRIPT_READ, SCRIPT_READ, SCRIPT_CONNECT, SCRIPT_DISCONNECT,
		SCRIPT_DIE, SCRIPT_FAIL, SCRIPT_FAIL, SCRIPT_HANG, SCRIPT_LOSE, SCRIPT_REFUSE,
		SCRIPT_HONEST};
	static uint8_t bytes[4];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(fuzz_below(random, 4) ? fuzz_below(random, 8)
							   : fuzz_random(random));
	return (struct script_record){
		.action = actions[fuzz_below(random, sizeof(actions))],
		.slot = (uint8_t)fuzz_below(random, WORLD_HANDED + 1),
		.size = sizeof(bytes),
		.bytes = bytes,
	};
}

static void mutate_descriptors(uint8_t *front, size_t *size, uint64_t *random)
{
	uint32_t count = fuzz_below(random, SCRIPT_FDS_MAX + 1);

	front[0] = (uint8_t)count;
	if (fuzz_below(random, 16) == 0)
		front[0] |= SCRIPT_FDS_TRUNCATED;
	for (uint32_t i = 0; i < count; i++) {
		/* mostly what a client would send */
		front[1 + 2 * i] = (uint8_t)(fuzz_below(random, 8) ? 1 + i : fuzz_below(random, 4));
		front[2 + 2 * i] = (uint8_t)fuzz_below(random, WORLD_RIDS);
	}
	*size = 1 + 2 * (size_t)count;
}

/* Changes the datagram of a record, or its descriptors; without one, makes one. */
static void mutate_datagram(
	struct script_record *record, const struct script_record *other, uint64_t *random)
{
	size_t front = script_datagram_at(record), size = record->size - front, kept;
	const uint8_t *from = NULL;
	size_t from_size = 0;

	if (record->size)
		memcpy(changed, record->bytes, front);
	if (front == 0)
		changed[front++] = 0;
	if (fuzz_below(random, 4) == 0)
		mutate_descriptors(changed, &front, random);
	if (other && other->action == SCRIPT_SEND) {
		size_t skipped = script_datagram_at(other);

		from = other->bytes + skipped;
		from_size = other->size - skipped;
	}
	kept = script_datagram_at(record);
	if (size)
		memcpy(changed + front, record->bytes + kept, size);
	if (fuzz_below(random, 16) == 0)
		size = LLVMFuzzerMutate(changed + front, size, 4096);
	else
		size = message_mutate_bytes(changed + front, size, 4096, from, from_size, random);
	record->bytes = changed;
	record->size = (uint16_t)(front + size);
}

static void mutate_records(unsigned *count, uint64_t *random)
{
	struct script_record fresh = new_record(random);
	unsigned at = *count ? fuzz_below(random, *count) : 0;
	unsigned with = *count ? fuzz_below(random, *count) : 0;

	switch (*count ? fuzz_below(random, 12) : 0) {
	case 0:
		fresh.action = SCRIPT_SEND;
		fresh.size = 0;
		mutate_datagram(&fresh, NULL, random);
		insert_record(count, &fresh, random);
		break;
	case 1:
	case 2:
		insert_record(count, &fresh, random);
		break;
	case 3:
		insert_record(count, &records[at], random);
		break;
	case 4:
		(*count)--;
		memmove(&records[at], &records[at + 1], (*count - at) * sizeof(*records));
		break;
	case 5:
		fresh = records[at];
		records[at] = records[with];
		records[with] = fresh;
		break;
	case 6:
		records[at].slot = (uint8_t)fuzz_below(random, WORLD_HANDED + 1);
		break;
	default:
		if (records[at].action == SCRIPT_SEND)
			mutate_datagram(&records[at], &records[with], random);
		else
			insert_record(count, &fresh, random);
		break;
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	unsigned count;
	size_t written = 1;

	if (size < 1 || max_size > sizeof(made) || fuzz_below(&random, 16) == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	for (uint32_t i = 1 + fuzz_below(&random, 3); i > 0; i--) {
		count = read_records(data, size);
		mutate_records(&count, &random);
		made[0] = fuzz_below(&random, 64) ? data[0] : data[0] ^ SCRIPT_ALONE;
		written = 1;
		for (unsigned k = 0; k < count; k++)
			written = script_append(made, written, max_size, &records[k]);
		memcpy(data, made, written);
		size = written;
	}
	return size;
}

/* The beginning of one and the end of another, cut between records. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
	size_t size2, uint8_t *out, size_t max_out_size, unsigned int seed)
{
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	size_t written = 1;
	unsigned count;

	if (!size1 || !size2 || !max_out_size)
		return 0;
	out[0] = data1[0];
	count = read_records(data1, size1);
	count = fuzz_below(&random, count + 1);
	for (unsigned i = 0; i < count; i++)
		written = script_append(out, written, max_out_size, &records[i]);
	count = read_records(data2, size2);
	for (unsigned i = fuzz_below(&random, count + 1); i < count; i++)
		written = script_append(out, written, max_out_size, &records[i]);
	return written;
}
