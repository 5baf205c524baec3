/* SPDX-License-Identifier: MIT */
/*
 * Inside `pasidctl demo`: a daemon of its own on a simulated IOMMU, two processes that are VMs, and
 * what is said of each step. After the first thing that is not as expected nothing more is done:
 * every function here then returns at once, so that a story needs no error handling.
 */
#ifndef PASIDCTL_DEMO_H
#define PASIDCTL_DEMO_H

#include "pasidctl.h"

#include <sys/types.h>

#define DEMO_PATH_MAX 256
#define DEMO_WAIT_MS  20000
#define DEMO_DEVICES  2 /* in one bind */
#define DEMO_VMS      2
#define DEMO_WHY_MAX  512

/* What a VM can be told. */
enum demo_verb {
	DEMO_SET = 1, /* address: its name; count: quota */
	DEMO_ADD,     /* address; lent: with the other VM's iommufd */
	DEMO_SLICE,   /* address */
	DEMO_MAP,     /* devices[0]: 2 MiB of memory at 0 */
	DEMO_ALLOC,   /* pasid.guest: for that guest PASID; else count numbers */
	DEMO_BIND,    /* pasid, devices */
	DEMO_UNBIND,  /* pasid */
	DEMO_FREE,    /* pasid */
	DEMO_FIND,    /* pasid.value: a host PASID */
	DEMO_INFO,
};

struct demo_order {
	enum demo_verb verb;
	bool lent;
	struct pasid_number pasid;
	uint32_t count; /* of numbers, or of devices */
	uint64_t devices[DEMO_DEVICES];
	char address[32];
};

struct demo_answer {
	int code;
	uint64_t value; /* a number, a device's id, an inode, what is used */
	bool events;    /* it has heard of something happening in its set that it did not do */
	struct pasid_error error;
};

struct demo_vm {
	const char *name;
	pid_t pid; /* 0: none */
	int channel;
};

struct demo {
	struct ctl *ctl;
	char folder[64], simulation[DEMO_PATH_MAX], socket[DEMO_PATH_MAX], log[DEMO_PATH_MAX];
	char pasidd[DEMO_PATH_MAX], sim[DEMO_PATH_MAX], self[DEMO_PATH_MAX];
	int iommufds[DEMO_VMS]; /* open files that both VMs inherit: one is lent to the other */
	pid_t daemon;           /* 0: none */
	struct demo_vm vms[DEMO_VMS];
	json_t *steps, *step; /* for --json; step: the one that is going on */
	bool failed;
	char why[DEMO_WHY_MAX];
};

/* ------------------------------------------------------------ pasidctl_demo_host.c */

/* A folder, a daemon and two VMs. demo_stop() is needed whether it succeeds or not. */
void demo_start(struct demo *demo);
/* Ends all processes and removes the folder. */
void demo_stop(struct demo *demo);
/* What pasid-sim says in JSON; NULL after a failure. The caller owns it. */
json_t *demo_sim_json(struct demo *demo, const char *const *words);
/* Output of pasid-sim, or of pasidctl itself, for people. */
void demo_show(struct demo *demo, const char *program, const char *const *words);
/* Arms or disarms the simulation's failures. */
void demo_sim(struct demo *demo, const char *const *words);
/* false: the demo has failed, or somebody wants it to end. */
bool demo_goes_on(struct demo *demo);
/* Waits a little; false: the time is over, or the demo has failed. */
bool demo_nap(struct demo *demo, uint64_t until_ms);
uint64_t demo_now_ms(void);

/* ------------------------------------------------------------ pasidctl_demo_vm.c */

/* Starts the process; it opens its session when it is told its set. */
void demo_vm_start(struct demo *demo, size_t index, const char *name);
/* false: it cannot be asked. */
bool demo_vm_ask(struct demo *demo, size_t index, const struct demo_order *order,
	struct demo_answer *ret_answer);
/* SIGKILL, as for a VMM that crashes. */
void demo_vm_kill(struct demo *demo, size_t index);

/* ------------------------------------------------------------ pasidctl_demo_say.c */

/* Not as expected: the demo ends with what was expected and what was seen. */
__attribute__((format(printf, 2, 3))) void demo_fail(struct demo *demo, const char *format, ...);
__attribute__((format(printf, 3, 4))) void demo_title(
	struct demo *demo, int number, const char *format, ...);
__attribute__((format(printf, 2, 3))) void demo_note(struct demo *demo, const char *format, ...);
/* An expectation. */
__attribute__((format(printf, 3, 4))) void demo_check(
	struct demo *demo, bool holds, const char *format, ...);
/* A VM does it; returns the value of its answer. */
uint64_t demo_do(struct demo *demo, size_t vm, const struct demo_order *order);
/* A VM tries it and must be refused with one of these reasons, which a comma separates. */
struct demo_answer demo_refused(
	struct demo *demo, size_t vm, const struct demo_order *order, const char *reasons);

/* ------------------------------------------------------------ pasidctl_demo_story.c */

void demo_story(struct demo *demo);

#endif
