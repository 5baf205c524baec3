/* SPDX-License-Identifier: MIT */
/*
 * A history: a list of steps, each with the choices that it makes. A choice is a number that is
 * taken modulo what there is to choose from at that moment, so that a step means something whatever
 * comes before it, and steps can be left out.
 */
#ifndef PASIDD_SIM_HISTORY_H
#define PASIDD_SIM_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

/* S(NAME, text, how often, of the sum of all) */
#define HISTORY_STEPS(S)                                                                           \
	S(CREATE, "create", 14)                                                                    \
	S(ADJUST, "adjust", 5)                                                                     \
	S(EXPORT, "export", 5)                                                                     \
	S(ALLOCATE, "allocate", 38)                                                                \
	S(FREE, "free", 20)                                                                        \
	S(FREE_ALL, "free-all", 2)                                                                 \
	S(GUEST_ATTACH, "guest-attach", 8)                                                         \
	S(GUEST_DETACH, "guest-detach", 5)                                                         \
	S(DATA, "data", 4)                                                                         \
	S(CLAIM, "claim", 14)                                                                      \
	S(CLAIM_EXTEND, "claim-extend", 7)                                                         \
	S(CLAIM_FREE, "claim-free", 6)                                                             \
	S(HOLD, "hold", 6)                                                                         \
	S(RELEASE, "release", 6)                                                                   \
	S(PARTICIPATE, "participate", 3)                                                           \
	S(ACKNOWLEDGE, "acknowledge", 12)                                                          \
	S(ADD, "device-add", 26)                                                                   \
	S(SHARE, "device-share", 4)                                                                \
	S(SLICE, "slice", 14)                                                                      \
	S(REMOVE, "device-remove", 9)                                                              \
	S(GOING, "device-going", 5)                                                                \
	S(DRAINED, "drained", 4)                                                                   \
	S(BIND, "bind", 44)                                                                        \
	S(UNBIND, "unbind", 26)                                                                    \
	S(REPLACE, "replace", 12)                                                                  \
	S(CLAIM_BIND, "claim-bind", 12)                                                            \
	S(CLAIM_UNBIND, "claim-unbind", 6)                                                         \
	S(RID_ATTACH, "rid-attach", 6)                                                             \
	S(RID_DETACH, "rid-detach", 5)                                                             \
	S(MAP, "map", 6)                                                                           \
	S(UNMAP, "unmap", 3)                                                                       \
	S(DESTROY, "destroy", 3)                                                                   \
	S(SESSION_END, "session-end", 2)                                                           \
	S(EMPTY, "empty", 2)                                                                       \
	S(QUARANTINE_END, "quarantine-end", 4)                                                     \
	S(CONFIRM, "confirm", 3)                                                                   \
	S(TIME, "time", 18)                                                                        \
	S(HARDWARE, "hardware", 110)                                                               \
	S(REFUSE, "hardware-refuses", 18)                                                          \
	S(HANG, "hang", 4)                                                                         \
	S(GO_ON, "go-on", 8)                                                                       \
	S(LOSE, "worker-dies", 3)                                                                  \
	S(PORT, "port-refuses", 2)                                                                 \
	S(CONFIGURE, "configure", 3)                                                               \
	S(RESTART, "restart", 3)

enum step_kind {
#define S(name, text, weight) STEP_##name,
	HISTORY_STEPS(S)
#undef S
		STEP_COUNT
};

#define STEP_ARGS 8

struct step {
	uint8_t kind;        /* enum step_kind */
	uint8_t vm;          /* who, modulo the number of VMs */
	uint8_t crash;       /* the daemon dies at this store of the step; 0: it does not */
	uint8_t crash_again; /* and at this one of the recovery from that */
	uint8_t standing;    /* decides whose workers outlive the daemon */
	uint8_t more;        /* 1: the turn of the loop goes on with the next step */
	uint16_t arg[STEP_ARGS];
};

#define HISTORY_MAX 400

/* A choice of the mode of a set: that its guest owns its tables. */
#define HISTORY_GUEST_OWNED 2u

struct history {
	uint64_t seed;
	uint8_t vms;      /* 2 to 4; the upper half of them is another user's */
	uint8_t tight;    /* 1: every limit is so low that it is met */
	uint8_t policy;   /* enum broker_policy */
	uint8_t reserved; /* numbers that are kept for the first VM's sets at first; 0: none are */
	unsigned count;
	struct step steps[HISTORY_MAX];
};

/* The history of that seed, with `count` steps: the same everywhere. */
void history_generate(struct history *history, uint64_t seed, unsigned count);

const char *step_text(enum step_kind kind);

#endif
