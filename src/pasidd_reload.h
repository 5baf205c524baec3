/* SPDX-License-Identifier: MIT */
/*
 * SIGHUP: the settings are read anew, by another process, because looking up a user may take as
 * long as some server on the network does, and the loop must not wait for that.
 */
#ifndef PASIDD_PASIDD_RELOAD_H
#define PASIDD_PASIDD_RELOAD_H

#include "config.h"
#include "hw/executor.h"
#include "server.h"

#define RELOAD_MS       30000       /* that reading may take */
#define RELOAD_TEXT_MAX (32u << 20) /* bytes of what was read */

struct reload;

struct reload_handler {
	/* Both from within the loop. The configuration is the callee's, the files are not. */
	void (*take)(void *ctx, struct config *config, const struct config_files *files);
	void (*fail)(void *ctx, const char *why);
	void *ctx;
};

/* Remembers SIGHUP until reload_new(), so that none is lost while the daemon starts. */
void reload_expect(void);

/*
 * From now on SIGHUP reads the settings at `path`, or where they are by default with NULL. One that
 * comes while that goes on has them read once more. The service manager is told. `path`, `server`
 * and `executor` outlive it. 0 or -errno.
 */
int reload_new(const char *path, struct server *server, struct executor *executor,
	const struct reload_handler *handler, struct reload **ret_reload);
/* Ends a process that reads. NULL is fine. */
void reload_free(struct reload *reload);

#endif
