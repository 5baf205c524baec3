/* SPDX-License-Identifier: MIT */
/*
 * The broker of the daemon with its records, in a world where time passes when a step says so,
 * hardware is late, refuses, hangs and dies, and the daemon dies between any two stores.
 */
#ifndef PASIDD_SIM_WORLD_H
#define PASIDD_SIM_WORLD_H

#include "../unit/fake_export.h"
#include "../unit/hardware_model.h"
#include "broker.h"
#include "history.h"
#include "state_private.h"

#include <setjmp.h>
#include <stdio.h>

#define WORLD_VMS      4u
#define WORLD_RESERVED 1023u /* left to the kernel */
#define WORLD_FIRST    1024u /* numbers that are asked for are from here on */
#define WORLD_NUMBERS  40u
#define WORLD_CAPACITY 24u /* of them may be out at once */
#define WORLD_CLAIMED  6u  /* numbers of scope rids are from 1 to here: the kernel's, too */
#define WORLD_COOLING  1000u
#define WORLD_WAIT     600u /* of an unbind for participants */
/* Functions 0 and 1 are one IOMMU group, 2 is narrow, 3 has no PASIDs; 5 is shared. The first four
 * are behind an SMMUv3. */
#define WORLD_SMMU        4u
#define WORLD_EXCLUSIVE   5u
#define WORLD_SHARED      5u
#define WORLD_RIDS        6u
#define WORLD_SHARED_LANE (UINT64_C(1) << 63)

#define WORLD_OPS MODEL_OPS

/* Done by hardware, and nobody heard of it yet. */
struct world_done {
	uint64_t lane;
	struct hw_result result;
};

/* The daemon's death at a store. */
struct world_death {
	unsigned stores;    /* of this life, settling included */
	unsigned countdown; /* stores until it dies; 0: it lives */
	jmp_buf jump;       /* where it goes on then */
};

struct world {
	uint64_t now_ms;
	struct model hw;
	struct fake_export exports;
	struct world_done done[WORLD_OPS];
	unsigned done_count;
	bool missing; /* at the next start records of this boot are missing */
	uint8_t standing;
	uint64_t lost_lane; /* its worker died just now, and nobody takes that up; 0: none */
	/* Each number was attached to the shared device, and nobody vouched for it since. */
	bool queued[WORLD_NUMBERS], queued_claims[WORLD_CLAIMED + 1];
	struct state_file *memory; /* kept for all histories of a process */
	struct state state;        /* that memory, with a death at any store */
	struct world_death death;
	struct policy policy;
	struct broker_config config;
	struct broker_reservation reservation; /* of the first VM; 0 numbers: none */
	bool owing; /* what is reserved was promised to others before, and not all of it is back */
	struct limits_config limits_config;
	struct limits *limits;
	struct broker *broker;
	struct policy_peer peers[2]; /* two users */
	struct actor admin;
	struct actor vms[WORLD_VMS];
	void *scratch; /* of the check of the records */
	size_t scratch_size;
	uint32_t undone; /* stores that restarts took back */
	struct error error;
};

/* Once for each process. */
void world_init(struct world *world);
void world_done(struct world *world);

/* Everything as at the boot of a host. */
void world_open(struct world *world, const struct history *history);
void world_close(struct world *world);

/*
 * What was not settled is taken back, workers that do not outlive the daemon end, and a new daemon
 * takes up the records; it dies in that, too, if death.countdown says so.
 */
void world_die(struct world *world);
void world_recover(struct world *world, unsigned countdown);
/* Of the lanes whose worker outlives the daemon, as the step decided. */
bool world_lane_stands(void *ctx, uint64_t lane);

/* So many numbers are reserved from now on, and in the lives that follow. */
void world_configure(struct world *world, uint32_t numbers);

/* The change is complete. */
void world_settle(struct world *world);

/* ------------------------------------------------------------------ hardware */

/* Carries out the oldest operation of a lane, chosen by n; false: there is none. */
bool world_perform(struct world *world, unsigned n, bool fail);
/* The broker hears of the oldest one of a lane that was carried out; false: there is none. */
bool world_deliver(struct world *world, unsigned n);
/* The worker dies: what waits fails, whether it was carried out or not. */
void world_lose(struct world *world, uint64_t lane);
/* Does anything of the lane wait? */
bool world_waits(const struct world *world, uint64_t lane);

/* The entry of the table of a group; NULL: nothing stands there. */
const struct model_entry *world_entry(
	const struct world *world, uint32_t group, bool has_pasid, uint32_t pasid);
static inline uint32_t world_group(const struct world *world, uint32_t rid)
{
	return world->hw.group_of[rid];
}
static inline bool world_knows(uint32_t host)
{
	return host >= WORLD_FIRST && host < WORLD_FIRST + WORLD_NUMBERS;
}

/* The shared device may have work of this number from now on. */
static inline void world_queue(struct world *world, uint32_t host)
{
	if (world_knows(host))
		world->queued[host - WORLD_FIRST] = true;
	else if (host <= WORLD_CLAIMED)
		world->queued_claims[host] = true;
}

/* What is wrong goes to stderr; the process ends. */
__attribute__((noreturn, format(printf, 1, 2))) void world_fail(const char *format, ...);

#endif
