/* SPDX-License-Identifier: MIT */
/* Settings put into effect: at the start, and while the daemon serves. */
#ifndef PASIDD_PASIDD_APPLY_H
#define PASIDD_PASIDD_APPLY_H

#include "config.h"
#include "hw/executor.h"
#include "options.h"
#include "server.h"

/* The numbers of the configuration that the dispatcher wants; the rest of *dispatch is left alone.
 */
void apply_dispatch(const struct config *config, struct dispatch_config *dispatch);
/* The same for the server. */
void apply_server(const struct config *config, struct server_settings *ret_settings);
/*
 * Cuts the host's limits of connections and of descriptors that came to what there may be open.
 * Returns the connections that fit where those that were asked for do not, else 0.
 */
uint32_t apply_descriptors(const struct config *config, struct limits *limits);

#define APPLY_NOTE_MAX  1280
#define APPLY_NOTES_MAX 36

/* What is in effect, and what it is put into effect in. */
struct apply {
	const struct options *options;
	struct config *config; /* in effect; its content is replaced, the pointer stays good */
	struct broker *broker;
	struct limits *limits;
	struct server *server;
	struct dispatch_config *dispatch;
	const char *const *notes; /* of the start */
	size_t note_count;
	/* The rest is ours. */
	char *started; /* config_write() of the start */
	char failed[APPLY_NOTE_MAX], restart[APPLY_NOTE_MAX];
	const char *all[APPLY_NOTES_MAX];
};

/* Once `config` is in effect. 0 or -ENOMEM. */
int apply_begin(struct apply *apply);
void apply_done(struct apply *apply);

/* The settings were read anew: what can be is applied, and the rest is said. Takes `next`. */
void apply_take(void *ctx, struct config *next, const struct config_files *files);
/* They could not be read: nothing changes, and that is said. */
void apply_fail(void *ctx, const char *why);
/* A device that was asked to be shared is, or is not. */
void apply_ended(void *ctx, const struct outcome *outcome);

#endif
