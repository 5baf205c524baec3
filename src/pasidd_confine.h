/* SPDX-License-Identifier: MIT */
/* What the daemon gives up once it has started (hw/confine.h). */
#ifndef PASIDD_CONFINE_H
#define PASIDD_CONFINE_H

#include "options.h"
#include "pasidd_sockets.h"

#include <stdarg.h>

struct confine {
	const struct options *options;
	const struct sockets *sockets;
	const char *runtime_dir, *simulate_dir; /* the latter NULL without a simulation */
	void (*note)(void *ctx, const char *format, va_list args); /* for operators, as vprintf() */
	void *ctx;
};

/*
 * From here on the process makes the calls, and writes the files, that it needs to serve. What the
 * kernel cannot do is noted; it is no reason not to serve.
 */
void confine_process(const struct confine *confine);

#endif
