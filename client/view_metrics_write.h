/* SPDX-License-Identifier: MIT */
/* Inside the view of metrics: families and samples as text. */
#ifndef VIEW_METRICS_WRITE_H
#define VIEW_METRICS_WRITE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct metrics_out {
	FILE *to;
	json_t *samples; /* not NULL: objects go there, and no text anywhere */
	bool open;       /* OpenMetrics: a counter's family is named without _total */
};

/* The beginning of a family. unit NULL: none; else the name ends with it. */
void metrics_gauge(struct metrics_out *out, const char *name, const char *unit, const char *help);
/* The name is without _total. */
void metrics_counter(struct metrics_out *out, const char *name, const char *help);
/* labels: name, value, ..., NULL; or NULL. */
void metrics_sample(
	struct metrics_out *out, const char *name, double value, const char *const *labels);
/* One of a counter. */
void metrics_total(
	struct metrics_out *out, const char *name, double value, const char *const *labels);
/* "pasidd_" and the daemon's name of a counter, of letters that a name may have. */
void metrics_name(char *name, size_t size, const char *counter);

#endif
