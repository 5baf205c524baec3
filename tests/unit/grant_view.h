/* SPDX-License-Identifier: MIT */
/* What clients were told that they have, to be compared after the daemon's death. */
#ifndef PASIDD_TEST_GRANT_VIEW_H
#define PASIDD_TEST_GRANT_VIEW_H

#include "fixture.h"

#define GRANT_VIEW 64

struct grant_view {
	uint32_t count;
	struct {
		struct grant_info grant;
		bool going; /* its set is being torn down */
	} of[GRANT_VIEW];
};

void grant_view_take(struct grant_view *view, struct fixture *f);
/* It is there, and what rests comes back no earlier than it would have; false: the error says what
 * is not as it was. */
bool grant_view_kept(const struct grant_view *view, struct fixture *f, struct error *ret_error);

#endif
