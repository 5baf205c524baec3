/* SPDX-License-Identifier: MIT */
/*
 * From a free to the next grant: broker_quarantine.c, of one or two numbers of a set, each with any
 * holds and perhaps a binding in any state, in any order of frees, releases, detaches,
 * acknowledgements and ticks.
 *
 *   D  a number is given back only when it is detached (no binding record is left of it), was
 *      freed, its quarantine has lasted as long as was configured, and who takes part has
 *      acknowledged that
 *   H  ... and nobody holds it
 *   S  ... and, of scope rids, when its claims are gone
 *   Q  what is charged for it is given back then, once; all counts follow
 *
 * The records, scopes, participants and the ledger are stood for by what their headers promise.
 */
#include "broker_quarantine.c"
#include "proof.h"

#define COOLING 100u
#ifndef PARTIES
#define PARTIES 0u /* 1: a participant, and perhaps claims */
#endif

static struct broker the_broker, *broker = &the_broker;
static struct grant_slot grants[GRANTS];
static struct binding_slot bindings[GRANTS]; /* of the grant with the same number */
static struct set_slot set_slot;
static struct set set;

static uint64_t now, freed_at[GRANTS];
static bool is_freed[GRANTS], is_awaited[GRANTS], has_claims[GRANTS];
static uint32_t given, released; /* numbers given back, charges given back */

/* ---------------------------------------------------------------- neighbours */

uint64_t broker_now(const struct broker *b)
{
	(void)b;
	return now;
}

void broker_commit(struct broker *b, uint64_t *word, uint64_t value)
{
	(void)b;
	*word = value;
}

void broker_change(
	struct broker *b, enum change_kind kind, uint32_t of, uint32_t grant, uint32_t device)
{
	(void)b;
	(void)kind;
	(void)of;
	(void)grant;
	(void)device;
}

void grant_commit_state(struct broker *b, uint32_t grant, enum grant_state state)
{
	broker_commit(b, &grants[grant].word, (grants[grant].word & ~UINT64_C(0xf)) | state);
}

void grant_drop_guest(struct broker *b, uint32_t grant)
{
	(void)b;
	(void)grant;
}

void hold_drop_own(struct broker *b, uint32_t grant)
{
	(void)b;
	(void)grant;
}

void participant_tick(struct broker *b)
{
	(void)b;
}

void scope_drop(struct broker *b, uint32_t grant)
{
	(void)b;
	PROVE(has_claims[grant], "S: claims go once");
	has_claims[grant] = false;
}

/* The number is another's from here on. */
void scope_leave(struct broker *b, uint32_t grant)
{
	(void)b;
	PROVE(grant < GRANTS && grants[grant].word != 0, "U: a number that was granted");
	PROVE(is_freed[grant], "D: it was freed");
	PROVE(grants[grant].bindings == STATE_NONE, "D: it is detached");
	PROVE(now >= freed_at[grant] + COOLING, "D: its quarantine has ended");
	PROVE(grant_holds(&grants[grant]) == 0, "H: nobody holds it");
	PROVE(!is_awaited[grant], "D: whoever takes part has acknowledged that it was freed");
	PROVE(!has_claims[grant], "S: it is claimed nowhere");
	given++;
}

void ledger_release(struct ledger *ledger, struct set *of, uint32_t n, bool open)
{
	(void)ledger;
	(void)of;
	(void)open;
	released += n;
}

void set_reap(struct broker *b, uint32_t of)
{
	(void)b;
	(void)of;
}

void destroy_tick(struct broker *b)
{
	(void)b;
}

void op_retry(struct broker *b)
{
	(void)b;
}

/* ---------------------------------------------------------------- steps */

static void quarantine_any(void)
{
	broker->grant_slots = grants;
	broker->binding_slots = bindings;
	broker->set_slots = &set_slot;
	broker->sets = &set;
	broker->config.cooling_ms = COOLING;
	broker->awaited = any_of(0, PARTIES);
	broker->cooling_first = broker->cooling_last = STATE_NONE;
	broker->retry_first = broker->grant_free = STATE_NONE;
	broker->grant_of = zero_memory((GRANTS + 1) * sizeof(uint32_t));
	broker->announced = zero_memory(GRANTS * sizeof(uint64_t));
	set.grants = set.returnable = STATE_NONE;
	set_slot.word = SET_ACTIVE;
	set.active = GRANTS;
	for (uint32_t i = 0; i < GRANTS; i++) {
		grants[i].word = GRANT_ACTIVE | (uint64_t)(i + 1) << GRANT_HOST_SHIFT |
				 (uint64_t)any_of(0, 1) << GRANT_HOLD_SHIFT;
		has_claims[i] = PARTIES && nondet_bool();
		grants[i].word |= has_claims[i] ? GRANT_RIDS : 0;
		grants[i].bindings = nondet_bool() ? i : STATE_NONE;
		bindings[i].word = any_of(BINDING_BINDING, BINDING_DRAINING);
		bindings[i].grant_next = STATE_NONE;
		grant_link(broker, i, LIST_SET);
	}
}

/* A binding goes on to any state, or its record goes. */
static void step_binding(uint32_t i)
{
	if (grants[i].bindings == STATE_NONE)
		return;
	if (nondet_bool())
		grants[i].bindings = STATE_NONE;
	else
		bindings[i].word = any_of(BINDING_BINDING, BINDING_DRAINING);
	grant_settle(broker, i);
	grant_requeue(broker, i);
}

static void step_release(uint32_t i)
{
	if (grants[i].word == 0 || grant_holds(&grants[i]) == 0)
		return;
	grants[i].word -= UINT64_C(1) << GRANT_HOLD_SHIFT;
	grant_settle(broker, i);
	grant_requeue(broker, i);
}

static void step_free(uint32_t i)
{
	if (is_freed[i] || grant_state(&grants[i]) != GRANT_ACTIVE)
		return;
	is_freed[i] = true;
	freed_at[i] = now;
	is_awaited[i] = broker->awaited;
	PROVE(grant_free(broker, i), "what is active can be freed");
}

/* The participant has seen that it was freed. */
static void step_acknowledge(uint32_t i)
{
	if (!is_awaited[i])
		return;
	PROVE(grant_awaits(&grants[i]) == 1, "D: it is awaited until then");
	is_awaited[i] = false;
	grants[i].word &= ~(UINT64_C(1) << GRANT_AWAIT_SHIFT);
	grant_requeue(broker, i);
}

/* Its set ends, when nothing is bound any more. */
static void step_end(uint32_t i)
{
	if (grants[i].word == 0 || grant_is_bound(broker, i))
		return;
	if (!is_freed[i]) {
		freed_at[i] = now;
		is_awaited[i] = broker->awaited;
	}
	is_freed[i] = true;
	grant_end(broker, i);
}

static void step(uint32_t i)
{
	switch (any_of(0, 5)) {
	case 0:
		step_free(i);
		break;
	case 1:
		step_release(i);
		break;
	case 2:
		step_binding(i);
		break;
	case 3:
		step_end(i);
		break;
	case 4:
		step_acknowledge(i);
		break;
	default:
		now += any_of(0, 2 * COOLING);
		broker_tick(broker);
	}
}

void prove_quarantine(void)
{
	quarantine_any();
	for (uint32_t n = 0; n < STEPS; n++) {
		if (GRANTS == 1 || nondet_bool())
			step(0);
		else
			step(GRANTS - 1);
		PROVE(given == released && given <= GRANTS, "Q: charged as long as it is out");
		PROVE(set.active + set.quarantined == GRANTS - given, "Q: the set's counts follow");
		PROVE(broker->quarantined == set.quarantined, "Q: the host's count follows");
	}
}
