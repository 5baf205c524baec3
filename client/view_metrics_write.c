/* SPDX-License-Identifier: MIT */
#include "view_metrics_write.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "view_metrics.h"

static void write_family(struct metrics_out *out, const char *name, const char *suffix,
	const char *type, const char *help)
{
	if (out->samples != NULL)
		return;
	fprintf(out->to, "# HELP %s%s %s\n", name, suffix, help);
	fprintf(out->to, "# TYPE %s%s %s\n", name, suffix, type);
}

void metrics_gauge(struct metrics_out *out, const char *name, const char *unit, const char *help)
{
	write_family(out, name, "", "gauge", help);
	if (unit != NULL && out->samples == NULL)
		fprintf(out->to, "# UNIT %s %s\n", name, unit);
}

void metrics_counter(struct metrics_out *out, const char *name, const char *help)
{
	write_family(out, name, out->open ? "" : "_total", "counter", help);
}

/* What is no printable ASCII is no business of a label's; quotes and backslashes are escaped. */
static void write_label(FILE *to, const char *name, const char *value, char before)
{
	fprintf(to, "%c%s=\"", before, name);
	for (; *value != '\0'; value++) {
		if (*value == '"' || *value == '\\')
			fputc('\\', to);
		if (*value == '\n')
			fputs("\\n", to);
		else
			fputc(*value >= ' ' && *value <= '~' ? *value : '?', to);
	}
	fputc('"', to);
}

static bool write_is_whole(double value)
{
	return value > -9e15 && value < 9e15 && value == (double)(long long)value;
}

/* For programs that read JSON: a sample is an object. */
static void write_object(json_t *samples, const char *name, const char *suffix, double value,
	const char *const *labels)
{
	json_t *json = json_object(), *words = json_object();
	for (size_t i = 0; labels != NULL && labels[i] != NULL; i += 2)
		json_object_set_new(words, labels[i], json_string(labels[i + 1]));
	json_object_set_new(json, "name", json_sprintf("%s%s", name, suffix));
	json_object_set_new(json, "labels", words);
	json_object_set_new(json, "value",
		write_is_whole(value) ? json_integer((json_int_t)value) : json_real(value));
	json_array_append_new(samples, json);
}

static void write_sample(struct metrics_out *out, const char *name, const char *suffix,
	double value, const char *const *labels)
{
	if (out->samples != NULL) {
		write_object(out->samples, name, suffix, value, labels);
		return;
	}
	fprintf(out->to, "%s%s", name, suffix);
	for (size_t i = 0; labels != NULL && labels[i] != NULL; i += 2)
		write_label(out->to, labels[i], labels[i + 1], i == 0 ? '{' : ',');
	fputs(labels != NULL && labels[0] != NULL ? "} " : " ", out->to);
	if (write_is_whole(value))
		fprintf(out->to, "%lld\n", (long long)value);
	else
		fprintf(out->to, "%.15g\n", value);
}

void metrics_sample(
	struct metrics_out *out, const char *name, double value, const char *const *labels)
{
	write_sample(out, name, "", value, labels);
}

void metrics_total(
	struct metrics_out *out, const char *name, double value, const char *const *labels)
{
	write_sample(out, name, "_total", value, labels);
}

void metrics_name(char *name, size_t size, const char *counter)
{
	snprintf(name, size, "pasidd_%s", counter);
	for (char *at = name; *at != '\0'; at++)
		if (!isalnum((unsigned char)*at))
			*at = '_';
}

/* ------------------------------------------------------------ which format */

bool view_metrics_parse(const char *name, enum view_metrics_format *ret_format)
{
	if (strcmp(name, "text") == 0)
		*ret_format = VIEW_METRICS_TEXT;
	else if (strcmp(name, "openmetrics") == 0)
		*ret_format = VIEW_METRICS_OPEN;
	else
		return false;
	return true;
}

const char *view_metrics_content_type(enum view_metrics_format format)
{
	return format == VIEW_METRICS_OPEN
		       ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
		       : "text/plain; version=0.0.4; charset=utf-8";
}

/* A word of a header, without the blanks around it. */
static bool write_is(const char *text, size_t length, const char *word)
{
	while (length > 0 && isspace((unsigned char)text[0])) {
		text++;
		length--;
	}
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		length--;
	return strlen(word) == length && strncasecmp(text, word, length) == 0;
}

/* One range of the header: how much it is wanted, 0 to 1000; -1 when a version is that we have not.
 */
static int write_wanted(const char *range, size_t length)
{
	const char *end = range + length;
	int wanted = 1000;
	for (const char *at = memchr(range, ';', length); at != NULL && at < end;
		at = memchr(at, ';', (size_t)(end - at))) {
		at++;
		at += strspn(at, " \t");
		if (end - at >= 2 && (at[0] == 'q' || at[0] == 'Q') && at[1] == '=') {
			double quality = strtod(at + 2, NULL);
			wanted = quality >= 0 && quality <= 1 ? (int)(quality * 1000) : 0;
		} else if (end - at >= 8 && strncasecmp(at, "version=", 8) == 0) {
			size_t version = strcspn(at + 8, ";,");
			if (write_is(at + 8, version, "0.0.4") ||
				write_is(at + 8, version, "0.0.1") ||
				write_is(at + 8, version, "1.0.0"))
				continue;
			return -1;
		}
	}
	return wanted;
}

enum view_metrics_format view_metrics_negotiate(const char *accept)
{
	int open = 0, text = 0;
	while (accept != NULL && *accept != '\0') {
		size_t length = strcspn(accept, ",");
		size_t type = strcspn(accept, ";,");
		int wanted = write_wanted(accept, length);
		if (write_is(accept, type, "application/openmetrics-text") && wanted > open)
			open = wanted;
		else if (write_is(accept, type, "text/plain") && wanted > text)
			text = wanted;
		accept += length;
		accept += *accept == ',';
	}
	return open > 0 && open >= text ? VIEW_METRICS_OPEN : VIEW_METRICS_TEXT;
}
