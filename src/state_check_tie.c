/* SPDX-License-Identifier: MIT */
#include "state_check_private.h"

static bool state_has_grant(const struct state_checking *c, uint32_t grant)
{
	return grant < c->used[STATE_GRANTS] && c->grants[grant].word != 0;
}

static int state_check_tie(const struct state_checking *c, uint32_t i)
{
	const struct tie_slot *tie = &c->ties[i];
	const unsigned kind = STATE_WORD_KIND(tie->word);
	int r = state_check_state(c, STATE_TIES, i, tie->word, TIE_MADE);

	if (r != 0)
		return r;
	if (kind != TIE_OWNER && kind != TIE_HOLD)
		return state_check_fail(c, STATE_TIES, i, tie->word, "there is no kind %u", kind);
	if (!state_has_grant(c, tie->grant))
		return state_check_fail(
			c, STATE_TIES, i, tie->grant, "there is no grant in slot %u", tie->grant);
	return 0;
}

int state_check_ties(const struct state_checking *c)
{
	int r = 0;

	for (uint32_t i = 0; i < c->used[STATE_TIES] && r == 0; i++)
		r = c->ties[i].word == 0 ? 0 : state_check_tie(c, i);
	return r;
}
