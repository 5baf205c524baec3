/* SPDX-License-Identifier: MIT */
/* Commands that change nothing. */
#include "pasidctl.h"
#include "pasidctl_colour.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------ lists */

const struct ctl_column ctl_set_columns[] = {
	{"SET", "name"},
	{"ID", "id"},
	{"MODE", "mode"},
	{"UID", "uid"},
	{"USED", "pasids.current"},
	{"QUOTA", "pasids.limit"},
	{"PEAK", "pasids.peak"},
	{"REFUSED", "pasids.hits"},
	{"ACTIVE", "active"},
	{"QUARANTINED", "quarantined"},
	{"DEVICES", "devices"},
	{"BINDINGS", "bindings"},
	{"DYING", "dying"},
	{0},
};

const struct ctl_column ctl_grant_columns[] = {
	{"PASID", "pasid"},
	{"SET", "set"},
	{"GUEST", "guest"},
	{"STATE", "state"},
	{"BINDINGS", "bindings"},
	{"HOLDS", "holds"},
	{"DATA", "data"},
	{"QUARANTINE", "quarantine"},
	{"AWAITED", "awaited"},
	{0},
};

const struct ctl_column ctl_device_columns[] = {
	{"ADDRESS", "address"},
	{"KIND", "kind"},
	{"SET", "set"},
	{"ID", "id"},
	{"GROUP", "group"},
	{"WIDTH", "pasid_width"},
	{"BINDINGS", "bindings"},
	{"TAINTED", "tainted"},
	{"IOMMU", "iommu"},
	{"CAPABILITIES", "capabilities"},
	{0},
};

const struct ctl_column ctl_binding_columns[] = {
	{"PASID", "pasid"},
	{"SET", "set"},
	{"GUEST", "guest"},
	{"ADDRESS", "address"},
	{"DEVICE", "device"},
	{"STATE", "state"},
	{"HWPT", "hwpt"},
	{"MADE", "made"},
	{0},
};

/* Every list function of the library hands entries to one of these, with the array. */
static int read_set(const struct pasid_set_info *info, void *array)
{
	return json_array_append_new(array, ctl_json_set(info));
}

static int read_grant(const struct pasid_grant_info *info, void *array)
{
	return json_array_append_new(array, ctl_json_grant(info));
}

static int read_device(const struct pasid_device_info *info, void *array)
{
	return json_array_append_new(array, ctl_json_device(info));
}

static int read_binding(const struct pasid_binding_info *info, void *array)
{
	return json_array_append_new(array, ctl_json_binding(info));
}

int ctl_sets(struct ctl *ctl)
{
	ctl->answer = json_array();
	int r = pasid_set_list(ctl->client, NULL, read_set, ctl->answer);
	return r == 0 ? EXIT_DONE : ctl_failed(ctl, r);
}

/* false: it is neither. */
static bool read_given_device(const struct ctl *ctl, struct pasid_list_args *args)
{
	if (!(ctl->given & CTL_DEVICE))
		return true;
	if (strchr(ctl->device, ':') == NULL)
		return ctl_number(ctl->device, "--device", UINT64_MAX, &args->device);
	args->address = ctl->device;
	return true;
}

int ctl_pasids(struct ctl *ctl)
{
	struct pasid_list_args args = {.set = ctl->set,
		.quarantined = (ctl->given & CTL_QUARANTINED) != 0,
		.has_data = (ctl->given & CTL_DATA) != 0,
		.data = ctl->data};
	if (!read_given_device(ctl, &args))
		return EXIT_USAGE;
	ctl->answer = json_array();
	int r = pasid_grant_list(ctl->client, &args, read_grant, ctl->answer);
	return r == 0 ? EXIT_DONE : ctl_failed(ctl, r);
}

/* Devices name their set by id; people want its name. */
static int read_name_sets(struct ctl *ctl)
{
	json_t *sets = json_array(), *set, *device;
	size_t i, j;
	int r = pasid_set_list(ctl->client, NULL, read_set, sets);
	json_array_foreach (ctl->answer, i, device) {
		json_t *id = json_object_get(device, "set_id");
		json_object_set_new(device, "set", json_null());
		json_array_foreach (sets, j, set)
			if (json_equal(json_object_get(set, "id"), id))
				json_object_set(device, "set", json_object_get(set, "name"));
	}
	json_decref(sets);
	return r;
}

int ctl_devices(struct ctl *ctl)
{
	struct pasid_list_args args = {.set = ctl->set};
	ctl->answer = json_array();
	int r = pasid_device_list(ctl->client, &args, read_device, ctl->answer);
	if (r == 0)
		r = read_name_sets(ctl);
	return r == 0 ? EXIT_DONE : ctl_failed(ctl, r);
}

int ctl_bindings(struct ctl *ctl)
{
	struct pasid_list_args args = {.set = ctl->set,
		.has_host = (ctl->given & CTL_PASID) != 0,
		.host_pasid = (uint32_t)ctl->pasid};
	if (!read_given_device(ctl, &args))
		return EXIT_USAGE;
	ctl->answer = json_array();
	int r = pasid_binding_list(ctl->client, &args, read_binding, ctl->answer);
	return r == 0 ? EXIT_DONE : ctl_failed(ctl, r);
}

/* ------------------------------------------------------------ one thing */

static json_t *read_status_json(const struct ctl *ctl, const struct pasid_host_status *status)
{
	json_t *json = json_object(), *notes = json_array(), *counters = json_object();
	for (uint32_t i = 0; i < status->note_count; i++)
		json_array_append_new(notes, json_string(status->notes[i]));
	for (uint32_t i = 0; i < status->counter_count; i++)
		json_object_set_new(counters, status->counters[i].name,
			json_integer((json_int_t)status->counters[i].value));
	json_object_set_new(json, "version", json_string(status->version));
	json_object_set_new(json, "backend", json_string(status->backend));
	json_object_set_new(json, "uptime_ms", json_integer((json_int_t)status->uptime_ms));
	json_object_set_new(json, "pasids", ctl_json_counter(&status->pasids));
	json_object_set_new(json, "quarantined", json_integer((json_int_t)status->quarantined));
	json_object_set_new(json, "sets", json_integer((json_int_t)status->sets));
	json_object_set_new(json, "devices", json_integer((json_int_t)status->devices));
	json_object_set_new(json, "bindings", json_integer((json_int_t)status->bindings));
	json_object_set_new(json, "sessions", json_integer((json_int_t)status->sessions));
	json_object_set_new(json, "operations", json_integer((json_int_t)status->operations));
	json_object_set_new(json, "reserved_first", json_integer(status->reserved_first));
	json_object_set_new(json, "reserved_last", json_integer(status->reserved_last));
	json_object_set_new(json, "pasid_width", json_integer(status->pasid_width));
	/* Only admins get the recount. */
	json_object_set_new(json, "consistent",
		ctl->role == PASID_ROLE_ADMIN ? json_boolean(status->consistent) : json_null());
	json_object_set_new(json, "notes", notes);
	json_object_set_new(json, "counters", counters);
	return json;
}

int ctl_status(struct ctl *ctl)
{
	struct pasid_host_status status;
	if (ctl->given & CTL_LIMITS)
		return ctl_limits(ctl);
	int r = pasid_status(ctl->client, &status);
	if (r != 0)
		return ctl_failed(ctl, r);
	ctl->answer = read_status_json(ctl, &status);
	return EXIT_DONE;
}

static long long read_number(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static void read_show_recount(bool agrees)
{
	if (agrees)
		printf("recount:   agrees with the counters\n");
	else
		printf("recount:   %sDISAGREES%s with the counters: see the log\n",
			colour_start(COLOUR_BAD), colour_end(COLOUR_BAD));
}

void ctl_show_status(const struct ctl *ctl, const json_t *answer)
{
	const json_t *pasids = json_object_get(answer, "pasids"), *value;
	const char *name;
	size_t i;
	(void)ctl;
	printf("pasidd %s, backend %s, up %lld s\n",
		json_string_value(json_object_get(answer, "version")),
		json_string_value(json_object_get(answer, "backend")),
		read_number(answer, "uptime_ms") / 1000);
	printf("PASIDs:    %lld of %lld out (peak %lld), of which %lld in quarantine; %lld to %lld "
	       "left to the kernel\n",
		read_number(pasids, "current"), read_number(pasids, "limit"),
		read_number(pasids, "peak"), read_number(answer, "quarantined"),
		read_number(answer, "reserved_first"), read_number(answer, "reserved_last"));
	printf("sets:      %lld\ndevices:   %lld\nbindings:  %lld\n", read_number(answer, "sets"),
		read_number(answer, "devices"), read_number(answer, "bindings"));
	printf("sessions:  %lld, operations under way: %lld\n", read_number(answer, "sessions"),
		read_number(answer, "operations"));
	if (!json_is_null(json_object_get(answer, "consistent")))
		read_show_recount(json_is_true(json_object_get(answer, "consistent")));
	json_array_foreach ((json_t *)json_object_get(answer, "notes"), i, value)
		printf("note:      %s\n", json_string_value(value));
	json_object_foreach (json_object_get(answer, "counters"), name, value)
		if (json_integer_value(value) != 0)
			printf("  %-32s %lld\n", name, (long long)json_integer_value(value));
}

/* Why nobody has the number: what the host's configuration says of it, or the set that was named.
 */
static void read_idle(const struct ctl *ctl, const struct pasid_host_status *status, uint64_t host)
{
	json_t *reason = NULL, *message = NULL;
	if (host <= status->reserved_last) {
		reason = json_string("kernel-range");
		message = json_sprintf(
			"1 to %u are left to the kernel's own allocator "
			"(namespace.reserved_last); only scope rids grants them",
			status->reserved_last);
	} else if (status->pasid_width != 0 && host >> status->pasid_width != 0) {
		reason = json_string("beyond-width");
		message = json_sprintf(
			"no device is told more than %u bits, which are numbers up "
			"to %u (namespace.pasid_width)",
			status->pasid_width, (1u << status->pasid_width) - 1);
	} else if (ctl->given & CTL_SET) {
		reason = json_string("not-of-set");
		message = json_string(
			"the set that --set names does not have it; without --set, "
			"another may");
	}
	json_object_set_new(ctl->answer, "reason", reason != NULL ? reason : json_null());
	json_object_set_new(ctl->answer, "message", message != NULL ? message : json_null());
}

static int read_why_idle(struct ctl *ctl, uint64_t host)
{
	struct pasid_host_status status;
	int r = pasid_status(ctl->client, &status);
	if (r != 0)
		return ctl_failed(ctl, r);
	read_idle(ctl, &status, host);
	return EXIT_DONE;
}

int ctl_who(struct ctl *ctl)
{
	struct pasid_grant_info info;
	uint64_t host;
	if (!ctl_number(ctl->args[0], "PASID", UINT32_MAX, &host))
		return EXIT_USAGE;
	struct pasid_host_args find = {.host_pasid = (uint32_t)host, .set = ctl->set};
	int r = pasid_host_find(ctl->client, &find, &info);
	if (r != 0)
		return ctl_failed(ctl, r);
	struct pasid_list_args args = {
		.has_host = true, .host_pasid = (uint32_t)host, .set.id = info.set};
	json_t *bindings = json_array();
	ctl->answer = ctl_json_grant(&info);
	json_object_set_new(ctl->answer, "bound", bindings);
	if (info.set == 0) /* nobody's, or not of the set that was named: it has no bindings */
		return read_why_idle(ctl, host);
	r = pasid_binding_list(ctl->client, &args, read_binding, bindings);
	return r == 0 ? EXIT_DONE : ctl_failed(ctl, r);
}

void ctl_show_who(const struct ctl *ctl, const json_t *answer)
{
	const json_t *set = json_object_get(answer, "set"), *value;
	const json_t *guest = json_object_get(answer, "guest");
	size_t i;
	(void)ctl;
	const char *state = json_string_value(json_object_get(answer, "state"));
	enum colour colour = colour_of("state", state);
	printf("PASID %lld: %s%s%s", read_number(answer, "pasid"), colour_start(colour), state,
		colour_end(colour));
	if (json_is_string(set))
		printf(", set %s, scope %s", json_string_value(set),
			json_string_value(json_object_get(answer, "scope")));
	if (json_is_integer(guest))
		printf(", guest PASID %lld", (long long)json_integer_value(guest));
	json_array_foreach ((json_t *)json_object_get(answer, "quarantine"), i, value)
		printf("%s%s", i == 0 ? ", quarantine: " : " ", json_string_value(value));
	if (json_is_string(json_object_get(answer, "message")))
		printf(", %s\n  %s", json_string_value(json_object_get(answer, "reason")),
			json_string_value(json_object_get(answer, "message")));
	putchar('\n');
	json_array_foreach ((json_t *)json_object_get(answer, "awaited"), i, value) {
		printf("  waits for the acknowledgement of ");
		ctl_print_participant(stdout, value);
		putchar('\n');
	}
	json_array_foreach ((json_t *)json_object_get(answer, "bound"), i, value)
		printf("  %s on %s\n", json_string_value(json_object_get(value, "state")),
			json_string_value(json_object_get(value, "address")));
}
