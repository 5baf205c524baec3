/* SPDX-License-Identifier: MIT */
/*
 * Plays a history: each step is done to the broker and told to the truth, which says before what
 * may be answered; then both are compared. The process ends at the first contradiction.
 */
#ifndef PASIDD_SIM_PLAY_H
#define PASIDD_SIM_PLAY_H

#include "truth.h"

/* What happened, in all histories: plain counters, to be added up. */
struct coverage {
	uint64_t done[STEP_COUNT], refused[STEP_COUNT]; /* what was asked for */
	uint64_t ended[STEP_COUNT],
		failed[STEP_COUNT]; /* outcomes of what hardware was asked for */
	uint64_t reasons[REASON_COUNT];
	uint64_t metrics[METRIC_COUNT];
	uint64_t deaths, deaths_in_recovery, deaths_between, undone, blocked;
	uint64_t hits[RESOURCE_COUNT];
	uint64_t awaited, acknowledged, late; /* unbinds; numbers; participants */
	uint64_t overlaps;                    /* numbers that became a second set's */
	uint64_t reserved;                    /* promises that only what is reserved had room for */
};

struct play {
	struct world world;
	struct truth now;  /* as told */
	struct truth kept; /* as of the last change that was settled */
	const struct history *history;
	const struct step *step;
	struct coverage *coverage;
	FILE *trace; /* for people; NULL: nobody reads it */
	uint64_t digest;
	uint64_t sessions, cookies;
	uint64_t heard; /* the next change that participants hear of */
	unsigned index;
	bool ticked; /* time passed in this step */
};

void play_init(struct play *play);
void play_history(struct play *play, const struct history *history);

/* What one step does, until the turn of the loop ends. */
void play_set_step(struct play *play);
void play_number_step(struct play *play);
void play_device_step(struct play *play);
void play_bind_step(struct play *play);
void play_claim(struct play *play);
void play_claim_extend(struct play *play);
void play_claim_free(struct play *play);
void play_claim_bind(struct play *play);
void play_claim_unbind(struct play *play);
void play_hold(struct play *play);
void play_release(struct play *play);
void play_participate(struct play *play);
void play_acknowledge(struct play *play);
/* The session of a participant is over; of all. */
void play_end_party(struct play *play);
void play_end_parties(struct play *play);
/* What changed since they heard of it last. */
void play_hear(struct play *play);
/* The session of one who holds numbers of any set is over. */
void play_end_holder(struct play *play, unsigned other);

/* Outcomes that are there, each of which somebody waits for. */
void play_outcomes(struct play *play);

/* Both agree, or what was left open is taken over. */
void play_compare(struct play *play);
void play_compare_numbers(struct play *play);
void play_compare_sets(struct play *play);
void play_compare_claims(struct play *play);
/* U, D: what stands in a table under such a number is its set's there. */
void play_compare_claim_entry(struct play *play, const struct model_entry *entry);
void play_claim_bound(struct play *play, const struct truth_op *op);

/* Everybody leaves: nothing is left. */
void play_end(struct play *play);

/* ------------------------------------------------------------------ helpers of steps */

/* Who asks, and of which set: an admin, a VM of its own, or of another's. */
struct asker {
	struct actor actor;
	struct set_id id;      /* as in the request */
	struct truth_set *set; /* what is meant, NULL: nothing that it may change */
	char name[32];         /* for people */
};
void play_asker(struct play *play, struct asker *ret_asker);
/* The same, where it is of use only to whoever has devices, or numbers and devices. */
void play_asker_with(struct play *play, bool numbers, bool devices, struct asker *ret_asker);
/* What everything that changes a set is refused with before anything else. */
enum reason play_gate(const struct asker *asker);

/* Adds to what the trace says of the step. */
__attribute__((format(printf, 2, 3))) void play_say(struct play *play, const char *format, ...);
/* r and the error of the world are what `wanted` says. */
void play_expect(struct play *play, int r, enum reason wanted);
/* The same, where a limit that is tight may have been in the way. */
void play_expect_or_limit(struct play *play, int r, enum reason wanted);
/* The same of what asks for hardware, which may be too much. */
void play_expect_or_load(struct play *play, int r, enum reason wanted);

/* How many more numbers the set may have, and whose limit that is. */
uint32_t play_room(struct play *play, const struct truth_set *set);
/* The level whose limit is in the way of `count`, the set's first. */
enum reason play_quota_refusal(struct play *play, const struct truth_set *set, uint32_t count);

/* A number that the set has, that anybody has, or nobody. */
uint32_t play_pick_number(struct play *play, const struct asker *asker, uint16_t choice);
/* A device of the set, or any. */
uint64_t play_pick_device(struct play *play, const struct asker *asker, uint16_t choice);
/* Mostly one of those for which it is true, when there is any. */
uint32_t play_pick_such(struct play *play, const struct asker *asker, uint16_t choice,
	bool (*is_such)(const struct truth *truth, uint32_t host));
static inline uint32_t play_arg(const struct play *play, unsigned index, uint32_t count)
{
	return play->step->arg[index] % count;
}
/* It is there, and is not on its way out. */
bool play_set_lives(struct play *play, uint64_t name);
/* What a request about a number that must be active is refused with. */
enum reason play_active_wanted(struct play *play, const struct asker *asker, uint32_t host);
/* REASON_NONE when it is the set's. */
enum reason play_resolve(struct play *play, const struct asker *asker, uint32_t host);

#endif
