/* SPDX-License-Identifier: MIT */
/*
 * What the daemon counts, for Prometheus. Data in, text out; pure.
 *
 * In two formats, which differ in the family names of counters only. Both end with "# EOF" and say
 * units, which is a comment in the older one.
 */
#ifndef VIEW_METRICS_H
#define VIEW_METRICS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "libpasid_types.h"

enum view_metrics_format {
	VIEW_METRICS_TEXT = 0, /* Prometheus text 0.0.4: promtool, node_exporter's textfiles */
	VIEW_METRICS_OPEN,     /* OpenMetrics 1.0.0 */
};

/* Series that depend on how many sets, users and devices there are: at most so many of each. */
#define VIEW_METRICS_SETS_MAX    1000u
#define VIEW_METRICS_USERS_MAX   4096u /* pairs of user and resource */
#define VIEW_METRICS_DEVICES_MAX 1000u

struct view_metrics {
	const struct pasid_host_status *status; /* NULL: no daemon, and nothing else is looked at */
	double seconds;                         /* that it took to ask */
	const struct pasid_limit_info *limits;  /* of the host; with `sets` of users, too */
	size_t limit_count;
	const struct pasid_device_info *devices;
	size_t device_count;
	bool sets; /* a series for each set and user */
	const struct pasid_set_info *set;
	size_t set_count;
};

void view_metrics_print(
	FILE *out, const struct view_metrics *metrics, enum view_metrics_format format);
/* [{"name", "labels", "value"}]; the caller owns it. */
json_t *view_metrics_json(const struct view_metrics *metrics);
/* "text", "openmetrics"; false: neither. */
bool view_metrics_parse(const char *name, enum view_metrics_format *ret_format);
/* What the Accept header of a request wants, which may be NULL; the older one when in doubt. */
enum view_metrics_format view_metrics_negotiate(const char *accept);
const char *view_metrics_content_type(enum view_metrics_format format);

#endif
