/* SPDX-License-Identifier: MIT */
#include "metrics.h"

#include <assert.h>

static const char *const metric_texts[] = {
#define M(name, text) [METRIC_##name] = text,
	METRICS(M)
#undef M
};
_Static_assert(ARRAY_SIZE(metric_texts) == METRIC_COUNT, "every metric has a name");

const char *metric_text(enum metric metric)
{
	return (unsigned)metric < METRIC_COUNT ? metric_texts[metric] : "unknown";
}

void metrics_add(struct metrics *metrics, enum metric metric, uint64_t n)
{
	assert((unsigned)metric < METRIC_COUNT);
	metrics->value[metric] += n;
}

bool account_refuse(struct account *account)
{
	if (account->hits < UINT32_MAX)
		account->hits++;
	return false;
}
