/* SPDX-License-Identifier: MIT */
/* Findings, and the checks of what is neither kernel nor IOMMU. */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMLOCK_LITTLE (UINT64_C(1) << 30) /* bytes: less than the memory of most VMs */
#define STORE_PRESERVE 254                 /* the first systemd with FileDescriptorStorePreserve= */
#define STORE_ANY      250                 /* the oldest that pasidd.service is written for */

void doctor_add(struct doctor_report *report, enum doctor_level level, const char *name,
	const char *remedy, const char *format, ...)
{
	struct doctor_finding *finding = &report->findings[report->count];
	va_list args;

	if (report->count == DOCTOR_FINDINGS_MAX) {
		report->dropped++;
		return;
	}
	report->count++;
	finding->level = level;
	(void)snprintf(finding->name, sizeof(finding->name), "%s", name);
	(void)snprintf(finding->remedy, sizeof(finding->remedy), "%s", remedy ? remedy : "");
	va_start(args, format);
	(void)vsnprintf(finding->found, sizeof(finding->found), format, args);
	va_end(args);
}

size_t doctor_count(const struct doctor_report *report, enum doctor_level level)
{
	size_t count = 0;

	for (size_t i = 0; i < report->count; i++)
		count += report->findings[i].level == level;
	return count;
}

const char *doctor_level_text(enum doctor_level level)
{
	static const char *const texts[] = {"ok", "unknown", "warning", "problem"};

	return texts[level];
}

/* ------------------------------------------------------------ memory that may be pinned */

void doctor_check_memlock(struct doctor_report *report, const char *limits)
{
	static const char key[] = "Max locked memory";
	const char *line = limits ? strstr(limits, key) : NULL;
	char value[32];
	uint64_t bytes;

	if (!line || sscanf(line + sizeof(key) - 1, "%31s", value) != 1) {
		doctor_add(report, DOCTOR_UNKNOWN, "memlock", NULL,
			"how much memory may be locked cannot be read");
		return;
	}
	if (strcmp(value, "unlimited") == 0) {
		doctor_add(
			report, DOCTOR_OK, "memlock", NULL, "memory may be locked without limit");
		return;
	}
	bytes = strtoull(value, NULL, 10);
	doctor_add(report, bytes < MEMLOCK_LITTLE ? DOCTOR_WARNING : DOCTOR_OK, "memlock",
		bytes < MEMLOCK_LITTLE
			? "raise it for VMMs to more than their VMs' memory: LimitMEMLOCK= of their "
			  "service, memlock in limits.conf; pasidd.service has its own"
			: NULL,
		"this session may lock %llu MiB; a VM's memory is locked while a device reaches it",
		(unsigned long long)(bytes >> 20));
}

/* ------------------------------------------------------------ systemd, and what confines */

void doctor_check_systemd(struct doctor_report *report, unsigned version, bool running)
{
	if (!running)
		doctor_add(report, DOCTOR_WARNING, "systemd",
			"run pasidd as a service of systemd to keep entries over its restarts",
			"systemd does not run here: what is attached ends with the daemon");
	else if (version == 0)
		doctor_add(report, DOCTOR_UNKNOWN, "systemd", NULL,
			"it runs, its version was not found");
	else if (version < STORE_ANY)
		doctor_add(report, DOCTOR_WARNING, "systemd", "upgrade to 252 or later",
			"version %u is older than what pasidd.service is made for", version);
	else if (version < STORE_PRESERVE)
		doctor_add(report, DOCTOR_OK, "systemd",
			"use systemctl restart, not stop and start, when entries are to stay",
			"version %u: entries stay over a restart and a crash of the daemon, not over a stop "
			"(FileDescriptorStorePreserve= came with 254)",
			version);
	else
		doctor_add(report, DOCTOR_OK, "systemd", NULL, "version %u", version);
}

/* Is it one of the names, which are separated by any of the characters? */
static bool report_has_name(const char *names, const char *name)
{
	static const char separators[] = ", \n";
	size_t length = strlen(name);

	for (const char *at = names; (at = strstr(at, name)) != NULL; at += length) {
		bool begins = at == names || strchr(separators, at[-1]) != NULL;

		if (begins && (at[length] == '\0' || strchr(separators, at[length]) != NULL))
			return true;
	}
	return false;
}

void doctor_check_seccomp(struct doctor_report *report, const char *seccomp)
{
	if (!seccomp)
		doctor_add(report, DOCTOR_WARNING, "seccomp",
			"use a kernel with CONFIG_SECCOMP_FILTER; pasidd runs without it, less confined",
			"the kernel does not say that it filters system calls");
	else
		doctor_add(report, DOCTOR_OK, "seccomp", NULL, "system calls can be filtered");
}

void doctor_check_security(struct doctor_report *report, const char *lsm, int landlock)
{
	if (landlock < 0 && lsm)
		landlock = report_has_name(lsm, "landlock") ? 1 : 0;
	if (landlock < 0)
		doctor_add(report, DOCTOR_UNKNOWN, "landlock", NULL,
			"whether the kernel has Landlock cannot be seen from here");
	else if (landlock == 0)
		doctor_add(report, DOCTOR_WARNING, "landlock",
			"add landlock to lsm= of the kernel command line; pasidd runs without it, less confined",
			"the kernel does not offer Landlock");
	else
		doctor_add(report, DOCTOR_OK, "landlock", NULL, "there");
	if (lsm)
		doctor_add(report, DOCTOR_OK, "lsm", NULL, "security modules: %.*s",
			(int)strcspn(lsm, "\n"), lsm);
}

/* ------------------------------------------------------------ the daemon */

static void report_daemon_notes(struct doctor_report *report, const struct doctor_daemon *daemon)
{
	for (size_t i = 0; i < daemon->note_count; i++) {
		bool simulated = strstr(daemon->notes[i], "is simulated") != NULL;

		doctor_add(report, DOCTOR_WARNING, "daemon-note",
			simulated ? "start pasidd without --simulate to program this host's IOMMU"
				  : NULL,
			"%s", daemon->notes[i]);
	}
}

void doctor_check_daemon(struct doctor_report *report, const struct doctor_daemon *daemon)
{
	bool simulated;

	if (!daemon->reachable) {
		doctor_add(report, DOCTOR_WARNING, "daemon",
			"systemctl start pasidd.service; to try it without hardware: pasidctl demo",
			"%s", daemon->error ? daemon->error : "pasidd cannot be reached");
		return;
	}
	simulated = strcmp(daemon->backend, "simulated") == 0;
	doctor_add(report, DOCTOR_OK, "daemon", NULL, "pasidd %s answers, backend %s%s",
		daemon->version, daemon->backend,
		simulated ? ": it serves a simulated IOMMU, whatever is found of this host's own"
			  : "");
	if (daemon->counted && !daemon->consistent)
		doctor_add(report, DOCTOR_PROBLEM, "daemon-recount",
			"keep the daemon's log and its state file (pasidctl fsck), then restart it",
			"a recount of its records disagrees with its counters");
	report_daemon_notes(report, daemon);
}
