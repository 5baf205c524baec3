/* SPDX-License-Identifier: MIT */
#include "journal.h"

#include <check.h>

static int journal_reserve(void *ctx, enum state_table table, uint32_t count)
{
	const struct journal *journal = ctx;

	ck_assert_uint_le(count, journal->state.capacity[table]);
	return state_reserve(journal->under, table, count);
}

static void journal_commit(void *ctx, uint64_t *word, uint64_t value)
{
	struct journal *journal = ctx;

	ck_assert_uint_lt(journal->count, STATE_CHANGE_MAX);
	journal->stores[journal->count].word = word;
	journal->stores[journal->count++].before = *word;
	state_commit(journal->under, word, value);
}

static void journal_settle(void *ctx)
{
	struct journal *journal = ctx;

	journal->count = 0;
	state_settle(journal->under);
}

void journal_open(struct journal *journal, const struct state *under)
{
	static const struct state_ops ops = {
		.reserve = journal_reserve,
		.commit = journal_commit,
		.settle = journal_settle,
	};

	journal->state = *under;
	journal->state.ops = &ops;
	journal->state.ctx = journal;
	journal->under = under;
	journal->count = 0;
}

void journal_crash(struct journal *journal)
{
	while (journal->count) {
		journal->count--;
		*journal->stores[journal->count].word = journal->stores[journal->count].before;
	}
}
