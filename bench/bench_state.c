/* SPDX-License-Identifier: MIT */
/*
 * Targets P7 and P8: records in a mapped file against the same bytes by system calls.
 *
 * P7: a grant's record is reserved, filled, committed and settled; the peer write()s its 32 bytes
 * to a file. P8: a file with all 2^20 grants is opened and each record checked; the peer read()s as
 * many bytes. Both have their files in one folder, and take turns, the order reversed in every
 * other round. A figure is the median of the rounds' ratios, one JSON line each.
 *
 * usage: bench_state FOLDER [ROUNDS]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "state_check.h"
#include "state_file.h"

#define ROUNDS     201u
#define ROUNDS_MAX 10001u
#define BATCH      4096u /* records of a round of P7 */
#define SETS       64u

static const uint8_t boot[STATE_BOOT_ID_SIZE] = "a boot of bench";
static char our_path[4096], peer_path[4096];

struct grant_bytes {
	uint8_t bytes[sizeof(struct grant_slot)];
};

static void fail(const char *what)
{
	fprintf(stderr, "bench_state: %s: %s\n", what, strerror(errno));
	exit(2);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct state_file *open_state(void)
{
	struct state_file *file;
	struct state_note note;

	if (state_file_open(our_path, boot, &file, &note) != 0) {
		fprintf(stderr, "bench_state: %s\n", note.text);
		exit(2);
	}
	return file;
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, uint32_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

struct figure {
	const char *id, *name, *unit;
	double target; /* 0: none was set */
	double per;    /* nanoseconds in a unit, over all that a round does */
	uint64_t (*ours)(void);
	uint64_t (*peer)(void);
};

static void measure(const struct figure *figure, uint32_t rounds)
{
	static double ours[ROUNDS_MAX], peer[ROUNDS_MAX], ratios[ROUNDS_MAX];

	for (uint32_t i = 0; i < rounds; i++) {
		if (i % 2 == 0)
			peer[i] = (double)figure->peer() / figure->per;
		ours[i] = (double)figure->ours() / figure->per;
		if (i % 2 != 0)
			peer[i] = (double)figure->peer() / figure->per;
		ratios[i] = ours[i] / peer[i];
	}
	const double ratio = median(ratios, rounds);

	char target[32] = "null,\"met\":null";

	if (figure->target > 0)
		(void)snprintf(target, sizeof(target), "%g,\"met\":%s", figure->target,
			ratio <= figure->target ? "true" : "false");
	printf("{\"id\":\"%s\",\"name\":\"%s\",\"ratio\":%.4g,\"target\":%s,"
	       "\"ours\":%.5g,\"peer\":%.5g,\"unit\":\"%s\",\"rounds\":%u}\n",
		figure->id, figure->name, ratio, target, median(ours, rounds), median(peer, rounds),
		figure->unit, rounds);
	(void)fflush(stdout);
}

/* ------------------------------------------------------------------ P7 */

static struct state_file *persisted;
static int written_fd = -1;
static uint32_t persisted_count, written_count;

static void fill_grant(struct grant_slot *grant, uint32_t i)
{
	grant->data = i;
	grant->set = i % SETS;
	grant->bindings = grant->next = grant->prev = STATE_NONE;
}

/* PASID i + 1, and a guest PASID that no other of its set has. */
static uint64_t grant_word(uint32_t i)
{
	return (uint64_t)(i + 1) << GRANT_HOST_SHIFT | (uint64_t)(i / SETS) << GRANT_GUEST_SHIFT |
	       GRANT_HAS_GUEST | GRANT_ACTIVE;
}

static uint64_t persist(void)
{
	uint64_t begin;

	if (persisted == NULL || persisted_count + BATCH > STATE_FILE_GRANTS) {
		state_file_free(persisted);
		(void)unlink(our_path);
		persisted = open_state();
		persisted_count = 0;
	}
	const struct state *state = state_file_state(persisted);
	struct grant_slot *grants = state->table[STATE_GRANTS];

	begin = now();
	for (uint32_t i = persisted_count; i < persisted_count + BATCH; i++) {
		if (state_reserve(state, STATE_GRANTS, i + 1) != 0)
			fail("no space");
		fill_grant(&grants[i], i);
		state_commit(state, &grants[i].word, grant_word(i));
		state_settle(state);
	}
	persisted_count += BATCH;
	return now() - begin;
}

static uint64_t write_down(void)
{
	struct grant_slot grant = {0};
	uint64_t begin;

	if (written_fd < 0 || written_count + BATCH > STATE_FILE_GRANTS) {
		if (written_fd >= 0)
			close(written_fd);
		written_fd = open(peer_path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
		if (written_fd < 0)
			fail(peer_path);
		written_count = 0;
	}
	begin = now();
	for (uint32_t i = written_count; i < written_count + BATCH; i++) {
		fill_grant(&grant, i);
		grant.word = grant_word(i);
		if (write(written_fd, &grant, sizeof(grant)) != sizeof(grant))
			fail("write");
	}
	written_count += BATCH;
	return now() - begin;
}

/* The least of it: a word of a record that is there, and its settling. */
static void measure_commit(void)
{
	const uint32_t count = 1u << 24;
	const struct state *state;
	struct grant_slot *grants;
	uint64_t begin;

	(void)persist();
	state = state_file_state(persisted);
	grants = state->table[STATE_GRANTS];
	begin = now();
	for (uint32_t i = 0; i < count; i++)
		state_commit(state, &grants[i % BATCH].word, grant_word(i % BATCH));
	fprintf(stderr, "bench_state: a commit takes %.2f ns", (double)(now() - begin) / count);
	begin = now();
	for (uint32_t i = 0; i < count; i++) {
		state_commit(state, &grants[i % BATCH].word, grant_word(i % BATCH));
		state_settle(state);
	}
	fprintf(stderr, ", with settling %.2f ns\n", (double)(now() - begin) / count);
}

/* ------------------------------------------------------------------ P8 */

static struct grant_bytes *read_buffer;

/* A file in which every number is granted. */
static void fill_file(void)
{
	struct state_file *file;
	const struct state *state;
	struct set_slot *sets;

	state_file_free(persisted);
	(void)unlink(our_path);
	file = open_state();
	state = state_file_state(file);
	sets = state->table[STATE_SETS];
	if (state_reserve(state, STATE_SETS, SETS) != 0 ||
		state_reserve(state, STATE_GRANTS, PASID_LAST) != 0)
		fail("no space");
	for (uint32_t i = 0; i < SETS; i++) {
		(void)snprintf(sets[i].name, sizeof(sets[i].name), "vm%u", i);
		sets[i].quota = PASID_LAST;
		state_commit(state, &sets[i].word, SET_TRANSLATED << 4 | SET_ACTIVE);
	}
	struct grant_slot *grants = state->table[STATE_GRANTS];

	for (uint32_t i = 0; i < PASID_LAST; i++) {
		fill_grant(&grants[i], i);
		state_commit(state, &grants[i].word, grant_word(i));
	}
	state_settle(state);
	state_file_free(file);
}

static uint64_t read_back(void)
{
	const uint64_t begin = now();
	struct state_file *file = open_state();
	struct state_problem problem;
	uint32_t used[STATE_TABLES];
	void *scratch;

	for (unsigned t = 0; t < STATE_TABLES; t++)
		used[t] = state_file_used(file, (enum state_table)t);
	scratch = malloc(state_check_scratch(used));
	if (scratch == NULL)
		fail("no memory");
	if (state_check(state_file_state(file), used, scratch, &problem) != 0) {
		fprintf(stderr, "bench_state: %s\n", problem.text);
		exit(2);
	}
	free(scratch);
	const uint64_t took = now() - begin;

	state_file_free(file);
	return took;
}

static uint64_t read_into(struct grant_bytes *buffer)
{
	const size_t size = PASID_LAST * sizeof(*buffer);
	const uint64_t begin = now();
	const int fd = open(peer_path, O_RDONLY | O_CLOEXEC);
	struct grant_bytes *memory = buffer != NULL ? buffer : malloc(size);

	if (fd < 0 || memory == NULL || read(fd, memory, size) != (ssize_t)size)
		fail("read");
	const uint64_t took = now() - begin;

	close(fd);
	if (buffer == NULL)
		free(memory);
	return took;
}

/* Into memory that it takes for this, as a process that starts must. */
static uint64_t read_bytes(void)
{
	return read_into(NULL);
}

/* Into memory that was there before. */
static uint64_t read_bytes_again(void)
{
	return read_into(read_buffer);
}

/* The peer's file has the same records. */
static void copy_records(void)
{
	struct state_file *file = open_state();
	const uint8_t *from = state_file_state(file)->table[STATE_GRANTS];
	const size_t size = PASID_LAST * sizeof(struct grant_slot);
	const int fd = open(peer_path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	read_buffer = malloc(size);
	if (fd < 0 || read_buffer == NULL || write(fd, from, size) != (ssize_t)size)
		fail(peer_path);
	memcpy(read_buffer, from, size);
	close(fd);
	state_file_free(file);
}

int main(int argc, char *argv[])
{
	static const struct figure persisting = {.id = "P7",
		.name = "a grant's record reserved, committed and settled, against write() of 32 "
			"bytes",
		.unit = "ns",
		.target = 0.03,
		.per = BATCH,
		.ours = persist,
		.peer = write_down};
	static const struct figure reading = {.id = "P8",
		.name = "2^20 grants opened and checked, against read() of their bytes",
		.unit = "ms",
		.target = 1.25,
		.per = 1e6,
		.ours = read_back,
		.peer = read_bytes};
	static const struct figure reading_again = {.id = "P8",
		.name = "2^20 grants opened and checked, against read() into memory that was there",
		.unit = "ms",
		.per = 1e6,
		.ours = read_back,
		.peer = read_bytes_again};
	const uint32_t rounds = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : ROUNDS;

	if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: bench_state FOLDER [ROUNDS], at most %u\n", ROUNDS_MAX);
		return 2;
	}
	(void)snprintf(our_path, sizeof(our_path), "%s/state", argv[1]);
	(void)snprintf(peer_path, sizeof(peer_path), "%s/peer", argv[1]);
	measure(&persisting, rounds);
	measure_commit();
	fill_file();
	copy_records();
	measure(&reading, rounds);
	measure(&reading_again, rounds);
	free(read_buffer);
	(void)unlink(our_path);
	(void)unlink(peer_path);
	return 0;
}
