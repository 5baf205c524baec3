/* SPDX-License-Identifier: MIT */
/* Two hosts' brokers, and who carries the messages of a move between them (F42). */
#ifndef PASIDD_TEST_MOVE_RIG_H
#define PASIDD_TEST_MOVE_RIG_H

#include "broker_move.h"
#include "fixture.h"

#define MOVE_GRANTS     7
#define MOVE_RIG_SOURCE UINT64_C(111) /* proof of the source's words */
#define MOVE_RIG_TARGET UINT64_C(222) /* of the target's */

enum move_host {
	SOURCE,
	TARGET,
};

enum move_step {
	STEP_EXPORT,
	STEP_FIRST,  /* a page */
	STEP_SECOND, /* the last one, which seals */
	STEP_COMMIT,
	STEP_TAKE,
	STEP_RELEASE,
	STEPS,
	STEP_KEEP = STEPS, /* of a move that is called off */
	STEP_DROP,
};

struct move_rig {
	struct fixture host[2];
	enum set_mode mode;
	struct actor vmm; /* at the source */
	struct set_id set;
	struct move_token token;
	struct move_info exported, reserved;
	struct move_grant grants[MOVE_GRANTS];
	struct hpasid numbers[MOVE_GRANTS]; /* the source's */
	struct hpasid conflicts[BROKER_MOVE_PAGE];
	uint32_t conflict_count;
};

extern struct move_rig m;

/* A VMM's set, or an admin's, with MOVE_GRANTS numbers at the source; nothing at the target. */
void move_open(enum set_mode mode, bool by_admin);
/* Recounts, and closes both. */
void move_close(void);

enum move_host move_host_of(enum move_step step);
/* Sends that message; what was answered, with the host's error. Settled when it is 0. */
int move_send(enum move_step step);
/* The same, which must succeed. */
void move_do(enum move_step step);
/* Everything up to this step, this one not. */
void move_until(enum move_step step);
/* Sends the message, and the host dies at its `at`-th store; false: it lived. It is up again. */
bool move_send_dying(enum move_step step, unsigned at);
/* Asks both how far it is, and sends what is missing, as a mover does that knows nothing else. */
void move_finish(void);
/* The same where the move is called off. */
void move_call_off(void);

/* Reserves these grants from a place on; the status. */
int move_reserve(uint32_t first, uint32_t count, bool seal);
struct move_reserve move_request(uint32_t first, uint32_t count, bool seal);
enum set_move move_state(enum move_host host);
/* Is a set of the name there, and not gone? */
bool move_has_set(enum move_host host, struct set_info *ret_info);
/* The records go together, and the recount agrees, at both. */
void move_check(void);
/* The target has what was at the source, the source nothing of it. */
void move_check_moved(void);
/* The source has all of it, the target nothing. */
void move_check_stayed(void);
void move_restart(enum move_host host);

/* Refused for this reason, and nothing was done. */
/* r is what was answered; `stores` there were before it was asked. */
void move_check_refused(int r, enum move_host host, enum reason reason, unsigned stores);
#define ck_refused(call, host_, reason_)                                                           \
	do {                                                                                       \
		const unsigned stores_ = m.host[host_].crash.stores;                               \
                                                                                                   \
		move_check_refused(call, host_, reason_, stores_);                                 \
	} while (0)

#endif
