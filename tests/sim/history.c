/* SPDX-License-Identifier: MIT */
#include "history.h"

#include "base.h"
#include "random.h"

static const struct {
	const char *text;
	uint8_t weight;
} kinds[] = {
#define S(name, text, weight) [STEP_##name] = {text, weight},
	HISTORY_STEPS(S)
#undef S
};
_Static_assert(ARRAY_SIZE(kinds) == STEP_COUNT, "every kind has its weight");

enum {
	WEIGHTS = 0
#define S(name, text, weight) +weight
	HISTORY_STEPS(S)
#undef S
};

const char *step_text(enum step_kind kind)
{
	return (unsigned)kind < STEP_COUNT ? kinds[kind].text : "unknown";
}

static uint8_t pick_kind(struct random *random)
{
	uint32_t n = random_below(random, WEIGHTS);
	uint8_t kind = 0;

	while (n >= kinds[kind].weight)
		n -= kinds[kind++].weight;
	return kind;
}

static void step_generate(struct step *step, struct random *random)
{
	uint32_t luck = random_below(random, 1000);

	step->kind = pick_kind(random);
	step->vm = (uint8_t)random_below(random, 4);
	step->more = luck >= 850;
	step->crash = 0;
	step->crash_again = 0;
	/* most steps store less than ten words, a few of them very many */
	if (luck < 15)
		step->crash = (uint8_t)(1 + random_below(random, luck < 12 ? 10 : 60));
	if (luck < 5)
		step->crash_again = (uint8_t)(1 + random_below(random, 12));
	step->standing = (uint8_t)random_below(random, 256);
	for (unsigned i = 0; i < STEP_ARGS; i++)
		step->arg[i] = (uint16_t)random_below(random, 1u << 16);
}

/* What takes many steps that fit together is a beginning: most of it may still go wrong. */
#define SCENE_MAX 16
static const uint8_t scenes[][SCENE_MAX] = {
	/* a number that waits for a shared device to be drained */
	{STEP_CREATE, STEP_SHARE, STEP_HARDWARE, STEP_HARDWARE, STEP_SLICE, STEP_ALLOCATE,
		STEP_BIND, STEP_HARDWARE, STEP_UNBIND, STEP_HARDWARE, STEP_FREE, STEP_TIME,
		STEP_ALLOCATE, STEP_ALLOCATE, STEP_BIND, STEP_HARDWARE},
	/* a bind on several devices that cannot be undone */
	{STEP_CREATE, STEP_ADD, STEP_ADD, STEP_ADD, STEP_HARDWARE, STEP_HARDWARE, STEP_HARDWARE,
		STEP_ALLOCATE, STEP_BIND, STEP_HARDWARE, STEP_REFUSE, STEP_REFUSE, STEP_HARDWARE,
		STEP_UNBIND, STEP_REFUSE, STEP_FREE},
	/* guests' own tables on two devices */
	{STEP_CREATE, STEP_ADD, STEP_ADD, STEP_ADD, STEP_HARDWARE, STEP_HARDWARE, STEP_HARDWARE,
		STEP_RID_ATTACH, STEP_HARDWARE, STEP_RID_ATTACH, STEP_HARDWARE, STEP_REPLACE,
		STEP_HARDWARE, STEP_RID_ATTACH, STEP_REPLACE, STEP_HARDWARE},
	/* two VMs in turn, each with a function of its own and a slice: the same numbers */
	{STEP_CREATE, STEP_CREATE, STEP_SHARE, STEP_HARDWARE, STEP_ADD, STEP_ADD, STEP_HARDWARE,
		STEP_HARDWARE, STEP_SLICE, STEP_SLICE, STEP_CLAIM, STEP_CLAIM, STEP_CLAIM_EXTEND,
		STEP_CLAIM_EXTEND, STEP_CLAIM_BIND, STEP_CLAIM_BIND},
};
#define SCENE_GUEST 2u
#define SCENE_CLAIM 3u

/* Each on its function first, then on its slice as well. */
static void claim_open(struct step *step, unsigned index)
{
	const bool extend = step->kind == STEP_CLAIM_EXTEND;

	step->vm = index % 2;
	if (step->kind == STEP_HARDWARE)
		step->arg[0] = 3;
	if (step->kind == STEP_ADD)
		step->arg[1] = index % 2 ? 0 : 4;
	if (step->kind != STEP_CLAIM && !extend && step->kind != STEP_CLAIM_BIND)
		return;
	step->arg[1] = 9;
	step->arg[2] = step->arg[5] = step->arg[6] = 0;
	step->arg[3] = extend ? 9 : 1;
}

static void history_open(struct history *history, unsigned scene)
{
	for (unsigned i = 0; i < SCENE_MAX && i < history->count; i++) {
		struct step *step = &history->steps[i];

		step->kind = scenes[scene][i];
		step->vm = 0;
		step->more = 0;
		step->arg[0] = step->kind == STEP_TIME ? 100 : 103; /* its own; long, much */
		if (scene == SCENE_GUEST && step->kind == STEP_CREATE)
			step->arg[1] = HISTORY_GUEST_OWNED;
		if (scene == SCENE_GUEST && step->kind == STEP_REPLACE)
			step->arg[2] = 0; /* the RID's */
		if (scene == SCENE_CLAIM)
			claim_open(step, i);
	}
}

/* Without sets hardly anything is done: they are the beginning, and mostly something to share. */
static void history_begin(struct history *history, unsigned luck)
{
	if (luck < ARRAY_SIZE(scenes)) {
		history_open(history, luck);
		return;
	}
	for (uint8_t i = 0; i <= history->vms && i < history->count; i++) {
		history->steps[i].kind = i == history->vms ? STEP_SHARE : STEP_CREATE;
		history->steps[i].vm = i;
	}
}

void history_generate(struct history *history, uint64_t seed, unsigned count)
{
	/* neighbouring seeds begin far apart, and 0 is no state */
	struct random random = {(seed ^ 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9 | 1};

	for (unsigned i = 0; i < 8; i++)
		(void)random_next(&random);
	history->seed = seed;
	history->vms = (uint8_t)random_between(&random, 2, 4);
	history->tight = random_below(&random, 3) == 0;
	history->policy = (uint8_t)random_below(&random, 3);
	history->reserved = random_below(&random, 3) ? 0 : (uint8_t)random_between(&random, 1, 12);
	history->count = count < HISTORY_MAX ? count : HISTORY_MAX;
	for (unsigned i = 0; i < history->count; i++)
		step_generate(&history->steps[i], &random);
	history_begin(history, random_below(&random, 12));
}
