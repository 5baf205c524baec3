/* SPDX-License-Identifier: MIT */
/* A broker with a clock, a state and a model of the hardware that a test holds in its hands. */
#ifndef PASIDD_TEST_FIXTURE_H
#define PASIDD_TEST_FIXTURE_H

#include "broker.h"
#include "fake_export.h"
#include "hardware_model.h"
#include "state_file.h"

#include <check.h>
#include <setjmp.h>

#define FIXTURE_SETS    1024
#define FIXTURE_DEVICES 1024

/* What the daemon's death at some store leaves: stores since the last settle are taken back. */
#define CRASH_LOG STATE_CHANGE_MAX
struct crash {
	uint64_t *word[CRASH_LOG];
	uint64_t before[CRASH_LOG];
	unsigned stores;    /* since the last settle */
	unsigned settles;   /* in all */
	unsigned countdown; /* stores until it dies; 0: it lives */
	bool dead;          /* it died so, until the next recovery */
	unsigned recovery;  /* the countdown for the next recovery */
	jmp_buf die;        /* where it goes on then */
	uint32_t used[STATE_TABLES];
};

struct fixture {
	uint64_t now_ms;
	struct model model;
	struct state_file *memory;
	struct fake_export exports;
	struct state state; /* that memory, seen by `crash` */
	struct crash crash;
	struct policy policy;
	struct policy_peer peer;
	struct broker_config config;
	struct limits_config limits_config;
	struct limits *limits;
	struct broker *broker;
	struct actor admin, observer;
	struct error error;
};

/* A broker with cooling of 1000 ms and room for everything; fields of config and limits_config may
 * be changed before. */
void fixture_config(struct fixture *f);
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);
/* The same once hardware neither hangs nor refuses any more, has done everything, and a recount
 * agrees. */
void fixture_leave(struct fixture *f);

/* What was changed stays, as after a request. */
void fixture_settle(struct fixture *f);
/*
 * The daemon dies, and another one takes up its records. Of the lanes for which stands() is true
 * the workers live on: they do what was sent to them, and nobody hears of it. Whatever else the
 * configuration and the limits are by then.
 */
void fixture_restart(struct fixture *f, bool (*stands)(void *ctx, uint64_t lane), void *ctx);
/* The same where it may be refused; what it returned then, and its error. */
int fixture_recover(struct fixture *f, bool (*stands)(void *ctx, uint64_t lane), void *ctx);
bool fixture_all_stand(void *ctx, uint64_t lane);
bool fixture_none_stands(void *ctx, uint64_t lane);

/* A VMM's session with a set of its own. */
struct actor fixture_vmm(
	struct fixture *f, uint64_t session, const char *name, enum set_mode mode, uint32_t quota);

/* Carries out one waiting operation, that of the lane with the n-th oldest; false: none could be.
 */
bool model_step(struct fixture *f, unsigned n);
/* Carries out everything that is not hung. */
void model_run(struct fixture *f);
/* The next operations of a kind fail: `times` of them, after `skip` that do not. */
void model_arrange(struct fixture *f, enum hw_kind kind, int status, unsigned skip, unsigned times);
/* Is there an entry? */
bool model_has(const struct fixture *f, uint32_t rid, uint32_t pasid);
unsigned model_entries(const struct fixture *f);
/* The worker of a lane dies: what waits fails, a shared device is closed by it. */
void model_lose_lane(struct fixture *f, uint64_t lane);

/* Carries everything out and returns the outcome with this cookie, which must be there. */
struct outcome fixture_outcome(struct fixture *f, uint64_t cookie);
void fixture_pass_second(struct fixture *f);
/* The invariants hold. */
void fixture_recount(struct fixture *f);

/* Steps that must succeed. */
struct device_id fixture_add(
	struct fixture *f, const struct actor *actor, uint32_t rid, int iommufd);
struct device_id fixture_share(struct fixture *f, uint32_t rid);
struct device_id fixture_slice(struct fixture *f, const struct actor *actor, uint32_t rid);
struct hpasid fixture_allocate(struct fixture *f, const struct actor *actor);
struct hpasid fixture_allocate_guest(struct fixture *f, const struct actor *actor, uint32_t guest);
/* Binds to address space 0 of each device; the status of the outcome. */
int fixture_bind(struct fixture *f, const struct actor *actor, struct hpasid host,
	const struct device_id *devices, size_t count);
int fixture_unbind(struct fixture *f, const struct actor *actor, struct hpasid host);
int fixture_free(struct fixture *f, const struct actor *actor, struct hpasid host);
enum grant_state fixture_state(struct fixture *f, struct hpasid host);

#endif
