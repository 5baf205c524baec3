/* SPDX-License-Identifier: MIT */
/* The command that says whether a host is ready, and what to do when it is not. */
#include "pasidctl_doctor.h"

#include "pasidctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCTOR_ASK_MS 3000 /* a daemon that hangs is a finding, too */

/* ------------------------------------------------------------ the daemon */

static int doctor_connect(struct ctl *ctl, const char *path, struct pasid_error *error)
{
	static const enum pasid_role roles[] = {
		PASID_ROLE_ADMIN, PASID_ROLE_OBSERVER, PASID_ROLE_VMM};
	struct pasid_options options = {
		.path = path,
		.name = "pasidctl doctor",
		.timeout_ms = ctl->timeout_ms != 0 ? ctl->timeout_ms : DOCTOR_ASK_MS,
	};
	int r = PASID_DENIED;

	for (size_t i = 0; i < ARRAY_SIZE(roles) && r == PASID_DENIED; i++) {
		ctl->role = options.role = roles[i];
		r = pasid_open(&options, &ctl->client, error);
	}
	return r;
}

static void doctor_ask(struct ctl *ctl, struct doctor_report *report)
{
	struct pasid_host_status *status = calloc(1, sizeof(*status));
	const char *notes[ARRAY_SIZE(status->notes)];
	struct doctor_daemon daemon = {.notes = notes};
	struct pasid_error error = {0};
	char admin[128];
	int r = -1;

	if (status != NULL && ctl_admin_socket(ctl, admin, sizeof(admin)))
		r = doctor_connect(ctl, admin, &error);
	if (status != NULL && r != 0)
		r = doctor_connect(ctl, ctl->socket, &error);
	if (r == 0) {
		r = pasid_status(ctl->client, status);
		error = *pasid_last_error(ctl->client);
	}
	daemon.reachable = r == 0;
	daemon.error = error.message[0] != '\0' ? error.message : NULL;
	if (r == 0) {
		daemon.version = status->version;
		daemon.backend = status->backend;
		daemon.counted = ctl->role == PASID_ROLE_ADMIN;
		daemon.consistent = status->consistent;
		for (; daemon.note_count < status->note_count &&
			daemon.note_count < ARRAY_SIZE(notes);
			daemon.note_count++)
			notes[daemon.note_count] = status->notes[daemon.note_count];
	}
	doctor_check_daemon(report, &daemon);
	free(status);
}

/* ------------------------------------------------------------ the answer */

/* Of a copy without /sys nothing is known that matters. */
static bool doctor_is_ready(const struct doctor_report *report)
{
	for (size_t i = 0; i < report->count; i++)
		if (report->findings[i].level == DOCTOR_UNKNOWN &&
			strcmp(report->findings[i].name, "iommu") == 0)
			return false;
	return doctor_count(report, DOCTOR_PROBLEM) == 0;
}

static json_t *doctor_json(const struct doctor_report *report)
{
	json_t *json = json_object(), *findings = json_array();

	for (size_t i = 0; i < report->count; i++) {
		const struct doctor_finding *finding = &report->findings[i];
		json_t *one = json_object();

		json_object_set_new(one, "name", json_string(finding->name));
		json_object_set_new(one, "level", json_string(doctor_level_text(finding->level)));
		json_object_set_new(one, "found", json_string(finding->found));
		json_object_set_new(one, "remedy",
			finding->remedy[0] != '\0' ? json_string(finding->remedy) : json_null());
		json_array_append_new(findings, one);
	}
	json_object_set_new(json, "ready", json_boolean(doctor_is_ready(report)));
	for (enum doctor_level level = DOCTOR_UNKNOWN; level <= DOCTOR_PROBLEM; level++) {
		static const char *const keys[] = {NULL, "unknown", "warnings", "problems"};

		json_object_set_new(
			json, keys[level], json_integer((json_int_t)doctor_count(report, level)));
	}
	json_object_set_new(json, "left_out", json_integer((json_int_t)report->dropped));
	json_object_set_new(json, "findings", findings);
	return json;
}

static const char *doctor_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void ctl_show_doctor(const struct ctl *ctl, const json_t *answer)
{
	const json_t *findings = json_object_get(answer, "findings"), *finding;
	bool ready = json_is_true(json_object_get(answer, "ready"));
	long long problems;
	int width = 0;
	size_t i;

	(void)ctl;
	json_array_foreach ((json_t *)findings, i, finding)
		if ((int)strlen(doctor_text(finding, "name")) > width)
			width = (int)strlen(doctor_text(finding, "name"));
	json_array_foreach ((json_t *)findings, i, finding) {
		printf("%-7s  %-*s  %s\n", doctor_text(finding, "level"), width,
			doctor_text(finding, "name"), doctor_text(finding, "found"));
		if (doctor_text(finding, "remedy") != NULL)
			printf("%9s%-*s  -> %s\n", "", width, "", doctor_text(finding, "remedy"));
	}
	problems = (long long)json_integer_value(json_object_get(answer, "problems"));
	printf("\n%s: %lld problems, %lld warnings, %lld unknown\n",
		ready          ? "ready"
		: problems > 0 ? "not ready"
			       : "not known",
		problems, (long long)json_integer_value(json_object_get(answer, "warnings")),
		(long long)json_integer_value(json_object_get(answer, "unknown")));
}

static int ctl_doctor(struct ctl *ctl)
{
	struct doctor_report *report = calloc(1, sizeof(*report));
	struct doctor_host host = {.root = "", .live = !(ctl->given & CTL_ROOT)};
	int code;

	if (report == NULL)
		return EXIT_FAILED;
	if (!host.live)
		host.root = ctl->root;
	if (!doctor_there(&host, "/")) {
		free(report);
		return ctl_cannot(ctl, EXIT_FAILED, "%.200s: no such folder", host.root);
	}
	doctor_look(&host, report);
	if (host.live)
		doctor_ask(ctl, report);
	ctl->answer = doctor_json(report);
	code = doctor_is_ready(report) ? EXIT_DONE : EXIT_REFUSED;
	free(report);
	/* Only what went well is shown by itself; this is worth showing either way. */
	if (code != EXIT_DONE)
		ctl_print(ctl);
	return code;
}

static const struct ctl_command commands[] = {
	{.name = "doctor",
		.arguments = "[--root FOLDER]",
		.summary = "say whether this host is ready, and what to do when it is not",
		.help = "Looks at the kernel and its command line, the IOMMUs, modules, the functions that are "
			"bound to\nvfio-pci and the way to them, device nodes and who may open them, limits, systemd, "
			"and the daemon.\nA problem is what keeps every PASID from being bound; a warning, what keeps "
			"some, or somebody;\nunknown is what cannot be seen by this user. With --root it looks at a copy "
			"of another host's\nfiles (its /proc, /sys, /dev, /etc and /boot, such as a sosreport has) and "
			"asks no daemon;\nwhat is not in the copy is unknown.\nExit status 0: ready; 1: there is a problem, or "
			"the copy does not show whether there is an IOMMU.\n\n"
			"Examples:\n  pasidctl doctor\n  pasidctl --json doctor\n  pasidctl doctor --root "
			"/tmp/sosreport-host7\n",
		.options = CTL_ROOT,
		.offline = true,
		.run = ctl_doctor,
		.show = ctl_show_doctor},
};
const struct ctl_group ctl_doctor_commands = {commands, ARRAY_SIZE(commands)};
