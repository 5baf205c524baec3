/* SPDX-License-Identifier: MIT */
/*
 * Whatever the moment at which a process dies, its file has what it settled last, and nothing of
 * what came after.
 */
#include "random.h"
#include "state_rig.h"
#include "suite.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS      24u
#define COPY_BYTES 12288 /* the header, and more of the log than is used */

/* ------------------------------------------------------------------ between any two stores */

static char copy_path[128];

/* A file with the bytes that the mapping has now: what is left when the process dies here. */
static void copy_write(const struct state_file *file)
{
	const int fd = open(copy_path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	const struct state_region *grants = &file->header->tables[STATE_GRANTS];

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)file->size), 0);
	ck_assert_int_eq(pwrite(fd, file->base, COPY_BYTES, 0), COPY_BYTES);
	ck_assert_int_eq(pwrite(fd, file->base + grants->offset, STATE_PAGE, (off_t)grants->offset),
		STATE_PAGE);
	close(fd);
}

/* Opened, it has the records as they were settled last. */
static void copy_is(const struct grant_slot *settled, uint32_t unfinished)
{
	struct state_file *file = NULL;
	struct state_note note;

	ck_assert_msg(state_file_open(copy_path, rig_boot, &file, &note) == 0, "%s", note.text);
	ck_assert_uint_eq(note.undone, unfinished);
	ck_assert_mem_eq(
		state_file_state(file)->table[STATE_GRANTS], settled, SLOTS * sizeof(*settled));
	state_file_free(file);
}

/* The moments within a commit, in the order of its stores; the file is as before it. */
static void copies_within(const struct state_file *file, const uint64_t *word, uint64_t value,
	const struct grant_slot *settled)
{
	const uint64_t offset = (uint64_t)((const uint8_t *)word - file->base);
	const uint32_t n = file->header->changes;
	const struct state_undo undo = {.offset = offset, .value = *word};
	const uint64_t entry = file->header->log_offset + n * sizeof(undo);

	copy_write(file);
	state_rig_poke(copy_path, entry, &undo.offset, sizeof(undo.offset));
	copy_is(settled, n);
	copy_write(file);
	state_rig_poke(copy_path, entry, &undo, sizeof(undo));
	copy_is(settled, n);
	copy_write(file);
	state_rig_poke(copy_path, entry, &undo, sizeof(undo));
	state_rig_poke(copy_path, offsetof(struct state_header, changes), &(uint32_t){n + 1}, 4);
	copy_is(settled, n + 1);
	state_rig_poke(copy_path, offset, &value, sizeof(value));
}

/* Taking back may be killed as well: some of it done, and begun again. */
static void copies_within_undo(const struct state_file *file, const struct grant_slot *settled)
{
	const uint32_t n = file->header->changes;

	for (uint32_t left = n; left-- > 0;) {
		copy_write(file);
		for (uint32_t i = n; i-- > left;)
			state_rig_poke(copy_path, file->log[i].offset, &file->log[i].value, 8);
		copy_is(settled, n);
	}
}

/* A word of a record, or another eight bytes; several times the same in one change, too. */
static uint64_t *some_word(struct grant_slot *grants, struct random *random)
{
	struct grant_slot *grant = &grants[random_below(random, SLOTS)];

	return random_chance(random, 60) ? &grant->word : &grant->data;
}

START_TEST(between_any_two_stores)
	{
		struct random random = random_begin("between_any_two_stores");
		struct state_file *file = state_rig_open(STATE_FOUND_NEW);
		const struct state *state = state_file_state(file);
		struct grant_slot *grants = state->table[STATE_GRANTS], settled[SLOTS];

		(void)snprintf(copy_path, sizeof(copy_path), "%s.copy", rig_path);
		ck_assert_int_eq(state_reserve(state, STATE_GRANTS, SLOTS), 0);
		memcpy(settled, grants, sizeof(settled));
		for (unsigned change = 0; change < 40; change++) {
			const uint32_t stores = random_between(&random, 1, 8);

			for (uint32_t i = 0; i < stores; i++) {
				uint64_t *word = some_word(grants, &random);
				const uint64_t value = random_next(&random);

				copies_within(file, word, value, settled);
				state_commit(state, word, value);
				copy_write(file);
				copy_is(settled, i + 1);
			}
			if (change % 8 == 0)
				copies_within_undo(file, settled);
			state_settle(state);
			memcpy(settled, grants, sizeof(settled));
			copy_write(file);
			copy_is(settled, 0);
		}
		state_file_free(file);
	}
END_TEST

/* ------------------------------------------------------------------ killed */

#define KILL_SLOTS 40000u

/* Change n makes these stores; the host's record counts them. */
static uint32_t change_stores(uint64_t n)
{
	return 1 + (uint32_t)(n * 7919 % 12);
}

static uint32_t change_slot(uint64_t n, uint32_t i)
{
	return (uint32_t)((n * 31 + (uint64_t)i * 17) % (n < KILL_SLOTS ? n + 1 : KILL_SLOTS));
}

static uint64_t change_value(uint64_t n, uint32_t i)
{
	return (n << 8 | i) * 0x9e3779b97f4a7c15;
}

/* Makes changes until it is killed; says in shared memory what it settled. */
static void work_until_killed(volatile uint64_t *acknowledged)
{
	struct state_file *file = NULL;
	struct state_note note;
	const struct state *state;
	struct grant_slot *grants;
	struct host_slot *host;

	if (state_file_open(rig_path, rig_boot, &file, &note) != 0)
		_exit(1);
	state = state_file_state(file);
	grants = state->table[STATE_GRANTS];
	host = state->table[STATE_HOST];
	if (state_reserve(state, STATE_HOST, 1) != 0)
		_exit(1);
	for (uint64_t n = host->sequence + 1;; n++) {
		state_commit(state, &host->sequence, n);
		for (uint32_t i = 0; i < change_stores(n); i++) {
			const uint32_t slot = change_slot(n, i);

			if (state_reserve(state, STATE_GRANTS, slot + 1) != 0)
				_exit(1);
			state_commit(state, i % 2 ? &grants[slot].data : &grants[slot].word,
				change_value(n, i));
		}
		state_settle(state);
		*acknowledged = n;
	}
}

/* The records after n changes, from those after an earlier one. */
static void model_advance(struct grant_slot *model, uint64_t from, uint64_t n)
{
	for (uint64_t change = from + 1; change <= n; change++)
		for (uint32_t i = 0; i < change_stores(change); i++) {
			struct grant_slot *slot = &model[change_slot(change, i)];

			*(i % 2 ? &slot->data : &slot->word) = change_value(change, i);
		}
}

/* Opens what the dead left: returns the number of changes in it. */
static uint64_t model_compare(struct grant_slot *model, uint64_t before, uint64_t acknowledged)
{
	struct state_file *file = state_rig_open(STATE_FOUND_KEPT);
	const struct state *state = state_file_state(file);
	const struct host_slot *host = state->table[STATE_HOST];
	const uint32_t used = state_file_used(file, STATE_GRANTS);
	const uint64_t n = host->sequence;

	ck_assert_uint_ge(n, acknowledged);
	ck_assert_uint_le(n, acknowledged + 1);
	model_advance(model, before, n);
	ck_assert_uint_le(used, KILL_SLOTS);
	ck_assert_mem_eq(state->table[STATE_GRANTS], model, used * sizeof(*model));
	for (uint32_t i = used; i < KILL_SLOTS; i++)
		ck_assert(model[i].word == 0 && model[i].data == 0);
	state_file_free(file);
	return n;
}

START_TEST(killed_at_any_moment)
	{
		struct random random = random_begin("killed_at_any_moment");
		const char *rounds = getenv("PASIDD_TEST_ROUNDS");
		const unsigned long kills = 40 * (rounds != NULL ? strtoul(rounds, NULL, 10) : 1);
		volatile uint64_t *acknowledged = mmap(NULL, sizeof(*acknowledged),
			PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		struct grant_slot *model = calloc(KILL_SLOTS, sizeof(*model));
		uint64_t n = 0;

		ck_assert(acknowledged != MAP_FAILED && model != NULL);
		state_file_free(state_rig_open(STATE_FOUND_NEW));
		for (unsigned long i = 0; i < kills; i++) {
			const pid_t child = fork();

			if (child == 0)
				work_until_killed(acknowledged);
			while (*acknowledged == n && waitpid(child, NULL, WNOHANG) == 0)
				usleep(100);
			usleep(random_below(&random, 4000));
			ck_assert_int_eq(kill(child, SIGKILL), 0);
			ck_assert_int_eq(waitpid(child, NULL, 0), child);
			n = model_compare(model, n, *acknowledged);
			*acknowledged = n;
		}
		printf("%lu kills, %llu changes\n", kills, (unsigned long long)n);
		free(model);
		(void)munmap((void *)(uintptr_t)acknowledged, sizeof(*acknowledged));
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {between_any_two_stores, killed_at_any_moment};

	return suite_run("state_crash", "crash", tests, ARRAY_SIZE(tests), state_rig_setup,
		state_rig_teardown);
}
