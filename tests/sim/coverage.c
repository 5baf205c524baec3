/* SPDX-License-Identifier: MIT */
#include "coverage.h"

_Static_assert(sizeof(struct coverage) % sizeof(uint64_t) == 0, "nothing but counters");

void coverage_add(struct coverage *sum, const struct coverage *more)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)more;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

static unsigned missing(uint64_t count, const char *what, const char *of)
{
	if (count)
		return 0;
	(void)fprintf(stderr, "no history had any %s%s%s\n", of, *of ? " " : "", what);
	return 1;
}

/* What the world does by itself cannot be refused; neither can the end of a session. */
static bool may_be_refused(enum step_kind kind)
{
	return kind < STEP_TIME && kind != STEP_SESSION_END && kind != STEP_EMPTY;
}

static bool asks_hardware(enum step_kind kind)
{
	return kind == STEP_ADD || kind == STEP_SHARE || kind == STEP_REMOVE ||
	       kind == STEP_GOING || (kind >= STEP_BIND && kind <= STEP_UNMAP);
}

static unsigned check_steps(const struct coverage *coverage)
{
	unsigned count = 0;

	for (unsigned i = 0; i < STEP_COUNT; i++) {
		enum step_kind kind = (enum step_kind)i;

		count += missing(coverage->done[i], "that succeeded", step_text(kind));
		if (may_be_refused(kind))
			count += missing(coverage->refused[i], "that was refused", step_text(kind));
		if (!asks_hardware(kind))
			continue;
		count += missing(coverage->ended[i], "that hardware did", step_text(kind));
		count += missing(coverage->failed[i], "that failed later", step_text(kind));
	}
	return count;
}

/* Refusals that a rule of the broker stands behind. */
static const enum reason reasons[] = {REASON_ROLE, REASON_NO_SET, REASON_SET_EXISTS,
	REASON_SET_NOT_EMPTY, REASON_SET_DYING, REASON_SET_EMPTYING, REASON_SET_MODE,
	REASON_SET_QUOTA, REASON_USER_QUOTA, REASON_HOST_QUOTA, REASON_BELOW_USE, REASON_LIMIT,
	REASON_NO_PASID, REASON_NONE_FREE, REASON_PASID_ZERO, REASON_NOT_ACTIVE, REASON_NOT_HELD,
	REASON_HELD, REASON_GUEST_TAKEN, REASON_GUEST_UNKNOWN, REASON_NO_DEVICE,
	REASON_DEVICE_TAKEN, REASON_DEVICE_BUSY, REASON_DEVICE_TAINTED, REASON_DEVICE_NO_WIDTH,
	REASON_GROUP_TAKEN, REASON_FD_FOREIGN, REASON_ALREADY_BOUND, REASON_NOT_BOUND,
	REASON_RID_ATTACHED, REASON_KERNEL_REFUSED, REASON_WORKER_LOST, REASON_UNDO_FAILED,
	REASON_OVERLOAD, REASON_BINDING_LOST, REASON_UNCONFIRMED, REASON_NO_NESTING,
	REASON_TABLE_FIELD, REASON_STREAM_TAKEN, REASON_STREAM_FIXED, REASON_PASID_TAKEN,
	REASON_OUTSIDE_SCOPE};

static const enum resource limited[] = {RESOURCE_SETS, RESOURCE_PROMISED, RESOURCE_PASIDS,
	RESOURCE_OPERATIONS, RESOURCE_DESCRIPTORS, RESOURCE_DEVICES, RESOURCE_PAGE_TABLES,
	RESOURCE_BINDINGS, RESOURCE_MAP_PAGES};

unsigned coverage_check(const struct coverage *coverage)
{
	unsigned count = check_steps(coverage);

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		count += missing(
			coverage->reasons[reasons[i]], reason_text(reasons[i]), "refusal with");
	for (enum metric m = 0; m < METRIC_COUNT; m++) {
		if (m != METRIC_REFUSED)
			count += missing(coverage->metrics[m], metric_text(m), "");
	}
	for (size_t i = 0; i < ARRAY_SIZE(limited); i++)
		count += missing(coverage->hits[limited[i]], resource_text(limited[i]),
			"refusal at the limit of");
	count += missing(coverage->awaited, "unbind that waits for participants", "");
	count += missing(coverage->acknowledged, "acknowledgement that was waited for", "");
	count += missing(coverage->late, "participant that is late", "");
	count += missing(coverage->overlaps, "number that is two sets' in tables of their own", "");
	count += missing(coverage->reserved, "promise that only a reservation had room for", "");
	count += missing(coverage->deaths, "death of the daemon", "");
	count += missing(coverage->deaths_between, "death of the daemon between two stores", "");
	count += missing(coverage->deaths_in_recovery, "death of the daemon in its recovery", "");
	count += missing(coverage->undone, "store that was taken back", "");
	count += missing(coverage->blocked, "loss of the records", "");
	return count;
}

void coverage_print(const struct coverage *coverage, FILE *file)
{
	for (unsigned i = 0; i < STEP_COUNT; i++)
		(void)fprintf(file, "%-18s %10llu done %10llu refused %10llu ended %10llu failed\n",
			step_text((enum step_kind)i), (unsigned long long)coverage->done[i],
			(unsigned long long)coverage->refused[i],
			(unsigned long long)coverage->ended[i],
			(unsigned long long)coverage->failed[i]);
	for (unsigned i = 0; i < METRIC_COUNT; i++)
		(void)fprintf(file, "%-30s %10llu\n", metric_text((enum metric)i),
			(unsigned long long)coverage->metrics[i]);
	(void)fprintf(file,
		"%llu deaths, %llu of them between two stores, %llu in a recovery; %llu stores "
		"taken back\n",
		(unsigned long long)coverage->deaths, (unsigned long long)coverage->deaths_between,
		(unsigned long long)coverage->deaths_in_recovery,
		(unsigned long long)coverage->undone);
	for (size_t i = 0; i < ARRAY_SIZE(limited); i++)
		(void)fprintf(file, "%-30s %10llu refused at its limit\n",
			resource_text(limited[i]), (unsigned long long)coverage->hits[limited[i]]);
	(void)fprintf(file, "%llu numbers were two sets' in tables of their own\n",
		(unsigned long long)coverage->overlaps);
	(void)fprintf(file, "%llu unbinds waited, %llu acknowledgements, %llu were late\n",
		(unsigned long long)coverage->awaited, (unsigned long long)coverage->acknowledged,
		(unsigned long long)coverage->late);
}
