/* SPDX-License-Identifier: MIT */
#include "fault_trial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLS_MAX 400 /* of one request */

bool trial_is_quick(void)
{
	return getenv("PASIDD_TEST_QUICK") != NULL;
}

/* Whether the operation may go on without the call. */
static bool is_dispensable(const struct faulty_fault *fault)
{
	if (fault->hit == FAULTY_WATCH)
		return fault->error == EINVAL || fault->error == ENOTTY;
	return fault->hit == FAULTY_DESTROY || fault->hit == FAULTY_NONE;
}

static const char *error_name(const struct faulty_fault *fault)
{
	const char *name = fault->error ? strerrorname_np(fault->error) : "words";

	return name ? name : "an errno";
}

static void tell_where(const struct trial *trial, char *where, size_t size)
{
	const struct faulty *faulty = &trial->h->faulty;

	(void)snprintf(where, size, "%s of %u: call %u (%s) fails with %s, then %u (%s) with %s",
		trial->name, trial->count, faulty->first.at, faulty_text(faulty->first.hit),
		error_name(&faulty->first), faulty->second.at, faulty_text(faulty->second.hit),
		error_name(&faulty->second));
}

/* The caller is told why, and of the call that failed first, unless that can be done without and
 * something failed later. */
static bool is_told(const struct trial *trial)
{
	const struct faulty_fault *first = &trial->h->faulty.first;
	int told = trial->h->f.error.sys_errno;

	return first->hit == FAULTY_SAME_FILE || told == first->error ||
	       (is_dispensable(first) && told);
}

static void check_told(const struct trial *trial, int status, const char *where)
{
	const struct error *error = &trial->h->f.error;

	ck_assert_msg(status > 0, "%s: %d", where, status);
	ck_assert_msg(error->reason != REASON_NONE && error->text[0], "%s: no reason", where);
	ck_assert_msg(
		is_told(trial), "%s: told of errno %d, %s", where, error->sys_errno, error->text);
	ck_assert_msg(
		trial->h->faulty.first.hit == FAULTY_SAME_FILE || error->reason != REASON_INTERNAL,
		"%s: %s", where, error->text);
}

/* As before the request; of the kernel's objects nothing is said once it refused to destroy one. */
static void check_as_before(struct trial *trial, const char *where)
{
	struct hardware *h = trial->h;

	hardware_drained(h);
	if (trial->kept)
		hardware_text_records(h, h->text[1]);
	else
		hardware_text(h, h->text[1]);
	if (strncmp(h->text[0], h->text[1], strlen(h->text[1])) != 0)
		ck_abort_msg("%s: before:\n%s\nafterwards:\n%s", where, h->text[0], h->text[1]);
}

static void check_hits(struct trial *trial, int status, const char *where)
{
	const struct faulty *faulty = &trial->h->faulty;

	hardware_agrees(trial->h, where);
	trial->kept = trial->kept || faulty->first.hit == FAULTY_DESTROY ||
		      faulty->second.hit == FAULTY_DESTROY;
	if (status)
		check_told(trial, status, where);
	else
		ck_assert_msg(is_dispensable(&faulty->first) && is_dispensable(&faulty->second),
			"%s: it succeeded", where);
}

static void check_failed(struct trial *trial, const char *where)
{
	int status;

	trial->failed++;
	check_as_before(trial, where);
	status = trial->act(trial);
	ck_assert_msg(status == 0, "%s: without: %s", where, trial->h->f.error.text);
}

static void check_outcome(struct trial *trial, int status, const char *where)
{
	const struct faulty *faulty = &trial->h->faulty;
	bool tainted = hardware_is_tainted(trial->h);

	check_hits(trial, status, where);
	trial->tainted += tainted;
	trial->succeeded += status == 0;
	if (tainted)
		ck_assert_msg(status && (faulty->first.hit == FAULTY_DETACH ||
						faulty->second.hit == FAULTY_DETACH),
			"%s: something is tainted", where);
	if (tainted || !trial->take_back) {
		trial->mend(trial, where);
	} else {
		if (status)
			check_failed(trial, where);
		trial->take_back(trial);
	}
	check_as_before(trial, where);
}

/* Whether the calls that were to fail were made. */
static bool try_once(struct trial *trial, unsigned first, unsigned second)
{
	struct faulty *faulty = &trial->h->faulty;
	char where[256];
	int status;

	faulty_arm(faulty, first, second);
	status = trial->act(trial);
	tell_where(trial, where, sizeof(where));
	faulty_disarm(faulty);
	check_outcome(trial, status, where);
	return second ? faulty->second.hit != FAULTY_NONE : faulty->first.hit != FAULTY_NONE;
}

/* The first fails with each of its errors, then each of those after it as well. */
static void try_call(struct trial *trial, unsigned first)
{
	unsigned stride = trial_is_quick() ? 2 + trial->count : 1,
		 second = 1 + trial->failed % stride;
	unsigned errors = trial_is_quick() ? 1 : faulty_errors(trial->h->faulty.first.hit);

	for (unsigned i = 1; i < errors; i++)
		(void)try_once(trial, first, 0);
	for (; try_once(trial, first, second); second += stride)
		ck_assert_uint_lt(second, CALLS_MAX);
}

void trial_run(struct trial *trial)
{
	bool few = trial_is_quick() && trial->count > HARDWARE_MAX / 2;
	unsigned first = few ? 1 + trial->count % 2 : 1;

	(void)hardware_text(trial->h, trial->h->text[0]);
	for (; try_once(trial, first, 0); first += few ? 2 : 1) {
		try_call(trial, first);
		ck_assert_uint_lt(first, CALLS_MAX);
	}
	ck_assert_uint_gt(first, 1);
}

void trial_tried(const struct hardware *h, enum faulty_call call)
{
	unsigned least = trial_is_quick() ? 1 : faulty_errors(call);

	ck_assert_msg(h->faulty.tried[call] >= least, "%s failed %u times only", faulty_text(call),
		h->faulty.tried[call]);
}
