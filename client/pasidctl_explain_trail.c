/* SPDX-License-Identifier: MIT */
/* What happened last to a PASID, from the audit trail: with the time, and when events are
 * forgotten. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "audit.h"
#include "pasidctl_explain_log.h"
#include "state_file.h"

#define TRAIL_PATH_MAX     4096
#define TRAIL_FINDINGS_MAX 64 /* each is a search through all of it; others have their events */

/* Beside the socket, which is in the runtime directory, or where systemd's is; false: nowhere that
 * we may read. */
static bool trail_find(const struct ctl *ctl, char *ret_path, size_t size)
{
	static const char *const names[] = {AUDIT_FILE, AUDIT_FILE_SIMULATED};
	const char *socket = ctl->socket != NULL ? ctl->socket : getenv(PASID_SOCKET_ENV);
	const char *slash;
	size_t length;

	if (socket == NULL)
		socket = PASID_SOCKET_DEFAULT;
	slash = strrchr(socket, '/');
	length = slash != NULL ? (size_t)(slash - socket) + 1 : 0;
	if (length < size / 2) {
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			(void)snprintf(ret_path, size, "%.*s%s", (int)length, socket, names[i]);
			if (access(ret_path, R_OK) == 0)
				return true;
		}
	}
	(void)snprintf(ret_path, size, "%s/%s", AUDIT_DIRECTORY, AUDIT_FILE);
	return access(ret_path, R_OK) == 0;
}

static void trail_time(uint64_t time_ms, char *ret_text, size_t size)
{
	const time_t seconds = (time_t)(time_ms / 1000);
	struct tm parts;

	if (localtime_r(&seconds, &parts) == NULL ||
		strftime(ret_text, size, "%Y-%m-%d %H:%M:%S", &parts) == 0)
		ret_text[0] = '\0';
}

/*
 * The number as its set had it; of one that is nobody's, as whoever had it last. What the daemon
 * told itself is never older, so a trail that says something else is not to be believed.
 */
static void trail_look(const char *path, uint32_t boot, struct explain_finding *finding)
{
	char name[AUDIT_NAME_MAX + 1];
	struct audit_query query = {.has_host = true, .host = finding->fault.pasid};
	struct audit_record record;
	struct audit_error error;

	if (finding->verdict == EXPLAIN_NUMBER || finding->verdict == EXPLAIN_FREED)
		query.set = finding->set;
	if (audit_read_last(path, &query, &record, &error) != 0 || record.boot != boot ||
		record.kind >= AUDIT_STARTED)
		return;
	if (finding->last.known &&
		(finding->last.kind != record.kind || finding->last.set != record.set))
		return;
	audit_name(&record, name);
	if (!finding->last.known)
		finding->last = (struct explain_last){.known = true,
			.kind = (enum pasid_event_kind)record.kind,
			.set = record.set,
			.has_guest = (record.flags & AUDIT_HAS_GUEST) != 0,
			.guest = record.guest};
	(void)snprintf(finding->last.name, sizeof(finding->last.name), "%s", name);
	trail_time(record.time_ms, finding->last.when, sizeof(finding->last.when));
}

void explain_trail(const struct ctl *ctl, struct explain_log *log)
{
	uint8_t boot_id[STATE_BOOT_ID_SIZE];
	char path[TRAIL_PATH_MAX];
	uint32_t boot;

	/* What was before this boot says nothing about tables that it emptied. */
	if (state_boot_id(boot_id) != 0 || !trail_find(ctl, path, sizeof(path)))
		return;
	memcpy(&boot, boot_id, sizeof(boot));
	for (size_t i = 0; i < log->finding_count && i < TRAIL_FINDINGS_MAX; i++)
		if (log->findings[i].fault.has_pasid && log->findings[i].fault.pasid != 0 &&
			log->findings[i].verdict != EXPLAIN_GUEST_TABLE)
			trail_look(path, boot, &log->findings[i]);
}
