/* SPDX-License-Identifier: MIT */
#include "view_metrics.h"

#include <string.h>

#include "view_metrics_write.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Counters of the daemon that have a text; others are shown without one of their own. */
static const struct {
	const char *name, *help;
} metrics_counters[] = {
	{"pasids-allocated", "PASIDs granted."},
	{"pasids-freed", "PASIDs freed."},
	{"pasids-released", "PASIDs that left quarantine."},
	{"pasids-returned-to-own-set", "PASIDs granted again to the set that had freed them."},
	{"bindings-tainted", "Bindings that could not be proven to be detached."},
	{"binds", "Binds done."},
	{"binds-failed", "Binds that the hardware or kernel refused."},
	{"unbinds", "Unbinds done."},
	{"replacements", "Page tables replaced."},
	{"replacements-failed", "Replacements that the hardware or kernel refused."},
	{"devices-added", "Devices registered."},
	{"devices-removed", "Devices removed."},
	{"sets-created", "Sets made."},
	{"sets-destroyed", "Sets taken away."},
	{"teardowns-after-death", "Sets torn down because their VMM was gone."},
	{"hardware-operations", "Operations that workers did."},
	{"hardware-failures", "Operations of workers that failed."},
	{"workers-lost", "Workers that died or were lost."},
	{"requests-refused", "Requests refused."},
	{"hello-timeouts", "Connections closed because they did not say hello in time."},
	{"stalled-disconnects", "Connections closed because they did not read."},
	{"abuse-disconnects", "Connections closed because of what they sent."},
	{"connections-turned-away", "Connections turned away at a limit."},
	{"accept-pauses-descriptors", "Pauses in accepting because descriptors ran out."},
	{"accept-pauses-limit", "Pauses in accepting at a limit of connections."},
	{"datagrams-refused", "Datagrams refused as a whole."},
	{"connections-held", "Connections that were not read for a while."},
	{"sessions-handed-over", "Sessions handed over to another process."},
};

#define REFUSED_PREFIX "refused-"

/* ------------------------------------------------------------ the host */

static void metrics_one(struct metrics_out *out, const char *name, const char *help, double value)
{
	metrics_gauge(out, name, NULL, help);
	metrics_sample(out, name, value, NULL);
}

static void metrics_host(struct metrics_out *out, const struct pasid_host_status *status)
{
	metrics_gauge(out, "pasidd_build_info", NULL, "Version and backend of the daemon.");
	metrics_sample(out, "pasidd_build_info", 1,
		(const char *const[]){
			"backend", status->backend, "version", status->version, NULL});
	metrics_gauge(out, "pasidd_uptime_seconds", "seconds", "How long the daemon runs.");
	metrics_sample(out, "pasidd_uptime_seconds", (double)status->uptime_ms / 1000, NULL);
	metrics_one(out, "pasidd_pasids", "PASIDs in use or in quarantine.",
		(double)status->pasids.current);
	metrics_one(out, "pasidd_pasids_capacity", "PASIDs that this host can grant.",
		(double)status->pasids.limit);
	metrics_one(out, "pasidd_pasids_peak", "Most PASIDs that were in use or in quarantine.",
		(double)status->pasids.peak);
	metrics_one(out, "pasidd_pasids_quarantined", "PASIDs in quarantine.",
		(double)status->quarantined);
	metrics_one(out, "pasidd_pasids_reserved", "PASIDs left to the kernel.",
		(double)status->reserved_last - (double)status->reserved_first + 1);
	metrics_one(out, "pasidd_sets", "Sets.", (double)status->sets);
	metrics_one(out, "pasidd_devices", "Device registrations.", (double)status->devices);
	metrics_one(out, "pasidd_bindings", "Bindings.", (double)status->bindings);
	metrics_one(out, "pasidd_sessions", "Sessions.", (double)status->sessions);
	metrics_one(out, "pasidd_operations", "Operations under way.", (double)status->operations);
	metrics_one(out, "pasidd_notes",
		"Things that an operator should know, see pasidctl status.", status->note_count);
}

static const char *metrics_help(const char *counter)
{
	for (size_t i = 0; i < COUNT(metrics_counters); i++)
		if (strcmp(counter, metrics_counters[i].name) == 0)
			return metrics_counters[i].help;
	return "A counter of the daemon.";
}

static void metrics_counts(struct metrics_out *out, const struct pasid_host_status *status)
{
	char name[80];
	bool begun = false;
	for (uint32_t i = 0; i < status->counter_count; i++) {
		const char *counter = status->counters[i].name;
		if (strncmp(counter, REFUSED_PREFIX, strlen(REFUSED_PREFIX)) == 0)
			continue;
		metrics_name(name, sizeof(name), counter);
		metrics_counter(out, name, metrics_help(counter));
		metrics_total(out, name, (double)status->counters[i].value, NULL);
	}
	for (uint32_t i = 0; i < status->counter_count; i++) {
		const char *counter = status->counters[i].name;
		if (strncmp(counter, REFUSED_PREFIX, strlen(REFUSED_PREFIX)) != 0)
			continue;
		if (!begun)
			metrics_counter(out, "pasidd_refusals", "Requests refused, by reason.");
		begun = true;
		metrics_total(out, "pasidd_refusals", (double)status->counters[i].value,
			(const char *const[]){"reason", counter + strlen(REFUSED_PREFIX), NULL});
	}
}

/* ------------------------------------------------------------ devices */

/* Functions are named by their address; what is registered of them is summed up. */
static bool metrics_is_first(const struct view_metrics *metrics, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (strcmp(metrics->devices[i].address, metrics->devices[at].address) == 0)
			return false;
	return true;
}

static void metrics_device_family(
	struct metrics_out *out, const struct view_metrics *metrics, bool tainted)
{
	const char *name = tainted ? "pasidd_device_tainted" : "pasidd_device_bindings";
	unsigned shown = 0;
	metrics_gauge(out, name, NULL,
		tainted ? "Registrations of a function of which something may still be attached."
			: "Bindings on a function.");
	for (size_t i = 0; i < metrics->device_count && shown < VIEW_METRICS_DEVICES_MAX; i++) {
		const char *address = metrics->devices[i].address;
		double value = 0;
		if (!metrics_is_first(metrics, i))
			continue;
		for (size_t j = i; j < metrics->device_count; j++)
			if (strcmp(metrics->devices[j].address, address) == 0)
				value += tainted ? metrics->devices[j].tainted
						 : metrics->devices[j].bindings;
		metrics_sample(out, name, value, (const char *const[]){"address", address, NULL});
		shown++;
	}
}

/* ------------------------------------------------------------ limits */

enum metrics_of { OF_USED, OF_LIMIT, OF_PEAK, OF_REFUSED };

static bool metrics_is_bytes(const struct pasid_limit_info *info)
{
	const char *dash = strrchr(info->resource, '-');
	return dash != NULL && strcmp(dash, "-bytes") == 0;
}

static void metrics_limit_sample(struct metrics_out *out, const char *name, enum metrics_of of,
	const struct pasid_limit_info *info)
{
	char user[16];
	const char *labels[] = {"resource", info->resource, NULL, NULL, NULL};
	if (info->level == PASID_LIMIT_USER) {
		snprintf(user, sizeof(user), "%u", info->uid);
		labels[2] = "user";
		labels[3] = user;
	}
	if (of == OF_REFUSED)
		metrics_total(out, name, (double)info->use.hits, labels);
	else
		metrics_sample(out, name,
			(double)(of == OF_USED    ? info->use.current
				 : of == OF_LIMIT ? info->use.limit
						  : info->use.peak),
			labels);
}

static void metrics_limit_family(struct metrics_out *out, const struct view_metrics *metrics,
	enum pasid_limit_level level, enum metrics_of of, bool bytes)
{
	static const char *const names[] = {"used", "limit", "peak", "refusals"};
	static const char *const helps[] = {"How much of a resource is in use.",
		"The limit of a resource.", "The most of a resource that was in use.",
		"How often the limit of a resource refused something."};
	char name[64];
	size_t left = level == PASID_LIMIT_USER ? VIEW_METRICS_USERS_MAX : SIZE_MAX;
	snprintf(name, sizeof(name), "pasidd_%sresource_%s%s",
		level == PASID_LIMIT_USER ? "user_" : "", names[of], bytes ? "_bytes" : "");
	if (of == OF_REFUSED)
		metrics_counter(out, name, helps[of]);
	else
		metrics_gauge(out, name, bytes ? "bytes" : NULL, helps[of]);
	for (size_t i = 0; i < metrics->limit_count && left > 0; i++) {
		const struct pasid_limit_info *info = &metrics->limits[i];
		if (info->level != level || (of == OF_LIMIT && info->use.limit == 0) ||
			(of != OF_REFUSED && metrics_is_bytes(info) != bytes))
			continue;
		metrics_limit_sample(out, name, of, info);
		left--;
	}
}

static void metrics_limits(
	struct metrics_out *out, const struct view_metrics *metrics, enum pasid_limit_level level)
{
	for (enum metrics_of of = OF_USED; of <= OF_PEAK; of++) {
		metrics_limit_family(out, metrics, level, of, false);
		metrics_limit_family(out, metrics, level, of, true);
	}
	metrics_limit_family(out, metrics, level, OF_REFUSED, false);
}

/* ------------------------------------------------------------ sets */

enum metrics_set_of {
	SET_USED,
	SET_QUOTA,
	SET_PEAK,
	SET_RESTS,
	SET_BINDINGS,
	SET_DEVICES,
	SET_REFUSED
};

static double metrics_set_value(const struct pasid_set_info *set, enum metrics_set_of of)
{
	switch (of) {
	case SET_USED:
		return (double)set->pasids.current;
	case SET_QUOTA:
		return (double)set->pasids.limit;
	case SET_PEAK:
		return (double)set->pasids.peak;
	case SET_RESTS:
		return set->quarantined;
	case SET_BINDINGS:
		return set->bindings;
	case SET_DEVICES:
		return set->devices;
	case SET_REFUSED:
	default:
		return (double)set->pasids.hits;
	}
}

static void metrics_set_family(
	struct metrics_out *out, const struct view_metrics *metrics, enum metrics_set_of of)
{
	static const struct {
		const char *name, *help;
	} families[] = {
		{"pasidd_set_pasids", "PASIDs of a set, in use or in quarantine."},
		{"pasidd_set_pasids_quota", "How many PASIDs a set may have."},
		{"pasidd_set_pasids_peak", "The most PASIDs that a set had."},
		{"pasidd_set_pasids_quarantined", "PASIDs of a set in quarantine."},
		{"pasidd_set_bindings", "Bindings of a set."},
		{"pasidd_set_devices", "Devices of a set."},
		{"pasidd_set_pasids_refusals", "How often the quota of a set refused PASIDs."},
	};
	if (of == SET_REFUSED)
		metrics_counter(out, families[of].name, families[of].help);
	else
		metrics_gauge(out, families[of].name, NULL, families[of].help);
	for (size_t i = 0; i < metrics->set_count && i < VIEW_METRICS_SETS_MAX; i++) {
		const struct pasid_set_info *set = &metrics->set[i];
		char id[24], user[16];
		const char *labels[] = {"set", set->name, "set_id", id, "user", user, NULL};
		snprintf(id, sizeof(id), "%llu", (unsigned long long)set->id);
		snprintf(user, sizeof(user), "%u", set->uid);
		if (of == SET_REFUSED)
			metrics_total(out, families[of].name, metrics_set_value(set, of), labels);
		else
			metrics_sample(out, families[of].name, metrics_set_value(set, of), labels);
	}
}

static void metrics_sets(struct metrics_out *out, const struct view_metrics *metrics)
{
	size_t users = 0;
	for (enum metrics_set_of of = SET_USED; of <= SET_REFUSED; of++)
		metrics_set_family(out, metrics, of);
	metrics_limits(out, metrics, PASID_LIMIT_USER);
	for (size_t i = 0; i < metrics->limit_count; i++)
		users += metrics->limits[i].level == PASID_LIMIT_USER;
	metrics_one(out, "pasidd_sets_left_out",
		"Sets that have no series here: there are too many.",
		metrics->set_count > VIEW_METRICS_SETS_MAX
			? (double)(metrics->set_count - VIEW_METRICS_SETS_MAX)
			: 0);
	metrics_one(out, "pasidd_user_resources_left_out",
		"Resources of users that have no series here: there are too many.",
		users > VIEW_METRICS_USERS_MAX ? (double)(users - VIEW_METRICS_USERS_MAX) : 0);
}

/* ------------------------------------------------------------ all of it */

static void metrics_all(struct metrics_out *out, const struct view_metrics *metrics)
{
	metrics_one(out, "pasidd_up", "Whether the daemon answers.", metrics->status != NULL);
	if (metrics->status != NULL) {
		metrics_gauge(out, "pasidd_query_duration_seconds", "seconds",
			"How long the daemon took to answer.");
		metrics_sample(out, "pasidd_query_duration_seconds", metrics->seconds, NULL);
		metrics_host(out, metrics->status);
		metrics_counts(out, metrics->status);
		metrics_device_family(out, metrics, false);
		metrics_device_family(out, metrics, true);
		metrics_limits(out, metrics, PASID_LIMIT_HOST);
		if (metrics->sets)
			metrics_sets(out, metrics);
	}
}

void view_metrics_print(
	FILE *to, const struct view_metrics *metrics, enum view_metrics_format format)
{
	struct metrics_out out = {.to = to, .open = format == VIEW_METRICS_OPEN};
	metrics_all(&out, metrics);
	fputs("# EOF\n", to);
}

json_t *view_metrics_json(const struct view_metrics *metrics)
{
	struct metrics_out out = {.samples = json_array()};
	metrics_all(&out, metrics);
	return out.samples;
}
