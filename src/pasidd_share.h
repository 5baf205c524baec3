/* SPDX-License-Identifier: MIT */
/* The shared devices of the configuration, which the daemon opens before it serves anybody. */
#ifndef PASIDD_SHARE_H
#define PASIDD_SHARE_H

#include "broker.h"
#include "clock.h"
#include "hw/executor.h"
#include "policy.h"

#include <stdarg.h>

struct share {
	struct broker *broker;
	struct executor *executor;
	struct clock *clock;
	const struct policy *policy;
	void (*note)(void *ctx, const char *format, va_list args); /* for operators, as vprintf() */
	void *ctx;
};

/* Opens them. One that fails, or hangs, is told and left out; those that stand are left alone. */
void share_configured(const struct share *share);

/* Is it shared already, by an earlier run or an admin, with a worker that lives? */
bool share_stands(struct broker *broker, const struct actor *actor, struct rid rid);

#endif
