/* SPDX-License-Identifier: MIT */
/* The daemon's records: where they are, and what is made of those of an earlier run. */
#ifndef PASIDD_RUNTIME_STATE_H
#define PASIDD_RUNTIME_STATE_H

#include "broker.h"
#include "state_file.h"

/*
 * Opens the records in the runtime directory; those of a simulated IOMMU are others. 0 or -errno;
 * the note says what was found, or why it is refused.
 */
int runtime_state_open(const char *directory, bool simulated, struct state_file **ret_state,
	struct state_note *ret_note);

/* Whether a set, or a device, of the records has this lane. */
bool runtime_state_has_lane(struct state_file *file, uint64_t lane);

/*
 * Was nothing recorded yet? Also of a file that a run made which then died before it served
 * anybody.
 */
bool runtime_state_is_new(const struct state_file *state);

/*
 * Checks what is in them and has a new broker take it up. `missing`: there are others, which an
 * earlier run in this boot made (broker_block()). 0; or -errno or a status, with the error filled.
 */
int runtime_state_recover(struct state_file *state, bool missing, struct broker *broker,
	bool (*lane_stands)(void *ctx, uint64_t lane), void *ctx, struct error *ret_error);

#endif
