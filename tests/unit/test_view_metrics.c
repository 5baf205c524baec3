/* SPDX-License-Identifier: MIT */
/* pasidctl metrics: what was asked in, text for Prometheus out. */
#include "suite.h"

#include <stdlib.h>
#include <string.h>

#include "view_metrics.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static struct pasid_host_status status;
static struct view_metrics metrics;
static char *text;

static void setup(void)
{
	status = (struct pasid_host_status){.version = "0.1.0",
		.backend = "vtd",
		.uptime_ms = 1500,
		.pasids = {.limit = 1047552, .current = 3, .peak = 4},
		.reserved_first = 1,
		.reserved_last = 1023,
		.counter_count = 4,
		.counters = {{"binds", 7}, {"refused-no-set", 2}, {"later-and.stranger", 1},
			{"refused-limit", UINT64_C(1) << 52}}};
	metrics = (struct view_metrics){.status = &status};
	text = NULL;
}

static void teardown(void)
{
	free(text);
}

static const char *print(enum view_metrics_format format)
{
	size_t size;
	free(text);
	FILE *out = open_memstream(&text, &size);
	view_metrics_print(out, &metrics, format);
	fclose(out);
	return text;
}

static unsigned count(const char *what)
{
	unsigned found = 0;
	for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
		found++;
	return found;
}

START_TEST(without_a_daemon_that_is_all_that_is_said)
	{
		metrics.status = NULL;
		for (unsigned i = 0; i < 2; i++)
			ck_assert_str_eq(print((enum view_metrics_format)i),
				"# HELP pasidd_up Whether the daemon answers.\n"
				"# TYPE pasidd_up gauge\n"
				"pasidd_up 0\n"
				"# EOF\n");
	}
END_TEST

START_TEST(counters_are_named_as_each_format_wants_it)
	{
		print(VIEW_METRICS_TEXT);
		ck_assert_ptr_nonnull(strstr(
			text, "\n# TYPE pasidd_binds_total counter\npasidd_binds_total 7\n"));
		print(VIEW_METRICS_OPEN);
		ck_assert_ptr_nonnull(strstr(text,
			"\n# HELP pasidd_binds Binds done.\n"
			"# TYPE pasidd_binds counter\npasidd_binds_total 7\n"));
		ck_assert_ptr_nonnull(strstr(text, "\npasidd_later_and_stranger_total 1\n"));
		/* a family is in one piece */
		ck_assert_ptr_nonnull(strstr(text,
			"\npasidd_refusals_total{reason=\"no-set\"} 2\n"
			"pasidd_refusals_total{reason=\"limit\"} 4503599627370496\n"));
		ck_assert_uint_eq(count("# TYPE pasidd_refusals counter"), 1);
	}
END_TEST

START_TEST(values_have_base_units)
	{
		print(VIEW_METRICS_OPEN);
		ck_assert_ptr_nonnull(strstr(text,
			"\n# UNIT pasidd_uptime_seconds seconds\npasidd_uptime_seconds 1.5\n"));
		ck_assert_ptr_nonnull(strstr(text, "\npasidd_pasids_reserved 1023\n"));
		ck_assert_ptr_nonnull(
			strstr(text, "\npasidd_build_info{backend=\"vtd\",version=\"0.1.0\"} 1\n"));
		ck_assert_str_eq(text + strlen(text) - 6, "# EOF\n");
	}
END_TEST

START_TEST(limits_are_of_the_host_and_bytes_are_bytes)
	{
		struct pasid_limit_info limits[] = {
			{.resource = "bindings", .level = PASID_LIMIT_HOST, .use = {0, 5, 6, 1}},
			{.resource = "unread-bytes",
				.level = PASID_LIMIT_HOST,
				.use = {4096, 10, 20, 3}},
			{.resource = "watches",
				.level = PASID_LIMIT_USER,
				.uid = 107,
				.use = {8, 1, 2, 4}},
		};
		metrics.limits = limits;
		metrics.limit_count = ARRAY_SIZE(limits);
		print(VIEW_METRICS_TEXT);
		ck_assert_ptr_nonnull(
			strstr(text, "\npasidd_resource_used{resource=\"bindings\"} 5\n"));
		ck_assert_ptr_nonnull(strstr(
			text, "\npasidd_resource_used_bytes{resource=\"unread-bytes\"} 10\n"));
		ck_assert_ptr_nonnull(strstr(
			text, "\npasidd_resource_limit_bytes{resource=\"unread-bytes\"} 4096\n"));
		/* none is no limit of zero */
		ck_assert_ptr_null(strstr(text, "pasidd_resource_limit{resource=\"bindings\"}"));
		ck_assert_ptr_nonnull(strstr(
			text, "\npasidd_resource_refusals_total{resource=\"bindings\"} 1\n"));
		ck_assert_ptr_null(strstr(text, "watches"));
		metrics.sets = true;
		print(VIEW_METRICS_TEXT);
		ck_assert_ptr_nonnull(strstr(text,
			"\npasidd_user_resource_used{resource=\"watches\",user=\"107\"} 1\n"));
		ck_assert_ptr_nonnull(strstr(text,
			"\npasidd_user_resource_refusals_total{resource=\"watches\",user=\"107\"} 4\n"));
	}
END_TEST

START_TEST(labels_are_escaped)
	{
		struct pasid_set_info set = {.id = 9,
			.name = "a\"b\\c\nd\xff\x01",
			.uid = 7,
			.pasids = {.limit = 64, .current = 2, .hits = 1}};
		metrics.set = &set;
		metrics.set_count = 1;
		print(VIEW_METRICS_TEXT);
		ck_assert_ptr_null(strstr(text, "set_id"));
		metrics.sets = true;
		print(VIEW_METRICS_TEXT);
		ck_assert_ptr_nonnull(strstr(text,
			"\npasidd_set_pasids{set=\"a\\\"b\\\\c\\nd??\",set_id=\"9\",user=\"7\"} 2\n"));
		ck_assert_ptr_nonnull(strstr(text, "user=\"7\"} 1\n"));
		ck_assert_ptr_nonnull(strstr(text, "\npasidd_sets_left_out 0\n"));
	}
END_TEST

START_TEST(there_are_never_more_series_than_so_many)
	{
		enum { SETS = VIEW_METRICS_SETS_MAX + 5, USERS = VIEW_METRICS_USERS_MAX + 3 };
		struct pasid_set_info *sets = calloc(SETS, sizeof(*sets));
		struct pasid_limit_info *limits = calloc(USERS, sizeof(*limits));
		ck_assert(sets != NULL && limits != NULL);
		for (unsigned i = 0; i < USERS; i++)
			limits[i] = (struct pasid_limit_info){
				.resource = "watches", .level = PASID_LIMIT_USER, .uid = i};
		metrics.sets = true;
		metrics.set = sets;
		metrics.set_count = SETS;
		metrics.limits = limits;
		metrics.limit_count = USERS;
		print(VIEW_METRICS_TEXT);
		ck_assert_uint_eq(count("\npasidd_set_bindings{"), VIEW_METRICS_SETS_MAX);
		ck_assert_uint_eq(count("\npasidd_user_resource_used{"), VIEW_METRICS_USERS_MAX);
		ck_assert_ptr_nonnull(strstr(text, "\npasidd_sets_left_out 5\n"));
		ck_assert_ptr_nonnull(strstr(text, "\npasidd_user_resources_left_out 3\n"));
		free(sets);
		free(limits);
	}
END_TEST

START_TEST(a_function_is_one_series_whatever_is_registered_of_it)
	{
		struct pasid_device_info devices[] = {
			{.id = 1, .kind = PASID_DEVICE_SHARED, .address = "0000:00:03.0"},
			{.id = 2,
				.kind = PASID_DEVICE_EXCLUSIVE,
				.address = "0000:00:01.0",
				.bindings = 1,
				.tainted = true},
			{.id = 3,
				.kind = PASID_DEVICE_SLICE,
				.address = "0000:00:03.0",
				.bindings = 4},
			{.id = 4,
				.kind = PASID_DEVICE_SLICE,
				.address = "0000:00:03.0",
				.bindings = 5},
		};
		metrics.devices = devices;
		metrics.device_count = ARRAY_SIZE(devices);
		print(VIEW_METRICS_TEXT);
		ck_assert_ptr_nonnull(strstr(text,
			"\npasidd_device_bindings{address=\"0000:00:03.0\"} 9\n"
			"pasidd_device_bindings{address=\"0000:00:01.0\"} 1\n"));
		ck_assert_ptr_nonnull(
			strstr(text, "\npasidd_device_tainted{address=\"0000:00:01.0\"} 1\n"));
	}
END_TEST

START_TEST(programs_get_the_same_samples)
	{
		json_t *json = view_metrics_json(&metrics);
		char *dump = json_dumps(json_array_get(json, 2), JSON_COMPACT);
		ck_assert_str_eq(dump,
			"{\"name\":\"pasidd_build_info\",\"labels\":{\"backend\":\"vtd\","
			"\"version\":\"0.1.0\"},\"value\":1}");
		free(dump);
		json_decref(json);
	}
END_TEST

START_TEST(the_format_is_what_the_request_wants)
	{
		static const struct {
			const char *accept;
			enum view_metrics_format format;
		} wants[] = {
			{NULL, VIEW_METRICS_TEXT},
			{"", VIEW_METRICS_TEXT},
			{"*/*", VIEW_METRICS_TEXT},
			{"text/plain", VIEW_METRICS_TEXT},
			{"application/openmetrics-text", VIEW_METRICS_OPEN},
			{"Application/OpenMetrics-Text ; version=1.0.0", VIEW_METRICS_OPEN},
			/* what Prometheus 2.42 and 2.53 send */
			{"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version="
			 "0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
				VIEW_METRICS_OPEN},
			{"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.6",
				VIEW_METRICS_TEXT},
			{"application/openmetrics-text;version=2.0.0", VIEW_METRICS_TEXT},
			{"application/openmetrics-text;q=0", VIEW_METRICS_TEXT},
			{"application/openmetrics-text;q=x", VIEW_METRICS_TEXT},
			{"application/openmetrics-text;q=17", VIEW_METRICS_TEXT},
			{"text/plain;q=0.2 , application/openmetrics-text;q=0.2",
				VIEW_METRICS_OPEN},
			{",,;;,q=1,application/openmetrics-text;", VIEW_METRICS_OPEN},
			{"xapplication/openmetrics-text", VIEW_METRICS_TEXT},
			{"application/openmetrics-textx", VIEW_METRICS_TEXT},
			{";version=", VIEW_METRICS_TEXT},
		};
		for (unsigned i = 0; i < ARRAY_SIZE(wants); i++)
			ck_assert_msg(view_metrics_negotiate(wants[i].accept) == wants[i].format,
				"%s", wants[i].accept);
		enum view_metrics_format format;
		ck_assert(view_metrics_parse("text", &format) && format == VIEW_METRICS_TEXT);
		ck_assert(
			view_metrics_parse("openmetrics", &format) && format == VIEW_METRICS_OPEN);
		ck_assert(!view_metrics_parse("", &format));
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {without_a_daemon_that_is_all_that_is_said,
		counters_are_named_as_each_format_wants_it, values_have_base_units,
		limits_are_of_the_host_and_bytes_are_bytes, labels_are_escaped,
		there_are_never_more_series_than_so_many,
		a_function_is_one_series_whatever_is_registered_of_it,
		programs_get_the_same_samples, the_format_is_what_the_request_wants};
	return suite_run("view_metrics", "metrics", tests, ARRAY_SIZE(tests), setup, teardown);
}
