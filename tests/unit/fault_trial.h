/* SPDX-License-Identifier: MIT */
/*
 * One request, with each of its calls into the kernel failing once, and with each call that comes
 * after that one failing, too.
 *
 * Afterwards the caller has an error with a reason, or what it asked for; records, tables and
 * descriptors are as before, and the same request succeeds. Where a detach failed, what may be
 * attached still is recorded so.
 */
#ifndef PASIDD_TEST_FAULT_TRIAL_H
#define PASIDD_TEST_FAULT_TRIAL_H

#include "hardware_rig.h"

struct trial {
	char name[64];
	struct hardware *h;
	int (*act)(const struct trial *trial); /* the request: its status */
	/* After it succeeded, or when it failed and left something tainted: as before it again.
	 * Without take_back() nothing is as before, and mend() comes in any case. */
	void (*take_back)(const struct trial *trial);
	void (*mend)(const struct trial *trial, const char *where);
	enum hardware_kind kind;
	unsigned count; /* of devices */
	unsigned table; /* as the test means it */
	/* what happened */
	unsigned failed, tainted, succeeded;
	bool kept; /* the kernel refused to destroy something */
};

/* Not every second fault is tried (scripts/test without --all). */
bool trial_is_quick(void);
/* All of it. With PASIDD_TEST_QUICK each call fails with one error only, and fewer second ones. */
void trial_run(struct trial *trial);
/* Every error of this call was tried; with PASIDD_TEST_QUICK one of them. */
void trial_tried(const struct hardware *h, enum faulty_call call);

#endif
