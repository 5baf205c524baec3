/* SPDX-License-Identifier: MIT */
/* What metrics asks the daemon for, and the server that hands it out. */
#ifndef PASIDCTL_METRICS_H
#define PASIDCTL_METRICS_H

#include "pasidctl.h"
#include "view_metrics.h"

/* One answer of the daemon's. */
struct metrics_read {
	struct view_metrics view;
	struct pasid_host_status status;
	struct pasid_limit_info *limits;
	struct pasid_device_info *devices;
	struct pasid_set_info *sets;
};

/*
 * Asks once. *client is opened when it is NULL, and when it turns out to be lost; it is closed and
 * NULL after a failure. 0, or what the library returned: then *ret_read says that there is no
 * daemon, and *ret_error why. To be given to metrics_free() in either case.
 */
int metrics_ask(struct ctl *ctl, struct pasid_client **client, struct metrics_read *ret_read,
	struct pasid_error *ret_error);
void metrics_free(struct metrics_read *read);
/* As text; the caller frees it. */
char *metrics_text(
	const struct metrics_read *read, enum view_metrics_format format, size_t *ret_size);

/* Serves until a signal ends it; an exit code. In pasidctl_listen.c. */
int metrics_listen(struct ctl *ctl);

#endif
