/* SPDX-License-Identifier: MIT */
/* What records of the audit trail are called. */
#include "audit_private.h"

#include "broker_change.h"

static const char *const kind_texts[] = {
	[CHANGE_SET_CREATED] = "set-created",
	[CHANGE_SET_ADJUSTED] = "set-adjusted",
	[CHANGE_SET_DESTROYED] = "set-destroyed",
	[CHANGE_SET_ENDING] = "set-ending",
	[CHANGE_SET_EMPTIED] = "set-emptied",
	[CHANGE_SET_LEAVING] = "set-leaving",
	[CHANGE_SET_KEPT] = "set-kept",
	[CHANGE_SET_GIVEN] = "set-given",
	[CHANGE_SET_RESERVED] = "set-reserved",
	[CHANGE_SET_TAKEN] = "set-taken",
	[CHANGE_GRANT_ALLOCATED] = "granted",
	[CHANGE_GRANT_FREE_PENDING] = "freed",
	[CHANGE_GRANT_QUARANTINED] = "quarantined",
	[CHANGE_GRANT_RELEASED] = "free-again",
	[CHANGE_GUEST_ATTACHED] = "guest-attached",
	[CHANGE_GUEST_DETACHED] = "guest-detached",
	[CHANGE_GRANT_HELD] = "held",
	[CHANGE_GRANT_LET_GO] = "let-go",
	[CHANGE_GRANT_DATA] = "data-set",
	[CHANGE_GRANT_WAITING] = "waiting",
	[CHANGE_GRANT_ACKNOWLEDGED] = "acknowledged",
	[CHANGE_GRANT_EXTENDED] = "extended",
	[CHANGE_BINDING_BOUND] = "bound",
	[CHANGE_BINDING_UNBOUND] = "unbound",
	[CHANGE_BINDING_LOST] = "binding-lost",
	[CHANGE_BINDING_UNBINDING] = "unbinding",
	[CHANGE_BINDING_DRAINED] = "drained",
	[CHANGE_BINDING_TAINTED] = "binding-tainted",
	[CHANGE_UNBIND_UNACKNOWLEDGED] = "unbind-unacknowledged",
	[CHANGE_BINDING_REPLACED] = "replaced",
	[CHANGE_DEVICE_ADDED] = "device-added",
	[CHANGE_DEVICE_REMOVED] = "device-removed",
	[CHANGE_DEVICE_TAINTED] = "device-tainted",
	[CHANGE_DEVICE_HEALED] = "device-healed",
	[AUDIT_STARTED] = "daemon-started",
	[AUDIT_STOPPED] = "daemon-stopped",
	[AUDIT_MISSED] = "not-recorded",
	[AUDIT_REFUSED] = "refused",
};

/* The fields of pasid.v1.Request; a unit test compares. */
static const char *const operation_texts[] = {
	[16] = "hello",
	[17] = "ping",
	[18] = "get-status",
	[19] = "watch",
	[20] = "limit-list",
	[21] = "recover",
	[22] = "acknowledge",
	[24] = "hand-over",
	[32] = "set-create",
	[33] = "set-adjust",
	[34] = "set-destroy",
	[35] = "set-get",
	[36] = "set-list",
	[37] = "set-connect",
	[38] = "set-export",
	[40] = "set-move-export",
	[41] = "set-move-reserve",
	[42] = "set-move-commit",
	[43] = "set-move-take",
	[44] = "set-move-cancel",
	[45] = "set-move-release",
	[46] = "set-move-status",
	[48] = "allocate",
	[49] = "free",
	[50] = "guest-attach",
	[51] = "guest-detach",
	[52] = "guest-find",
	[53] = "host-find",
	[54] = "data-set",
	[55] = "grant-list",
	[56] = "quarantine-end",
	[57] = "extend",
	[58] = "hold",
	[59] = "release",
	[60] = "hold-list",
	[64] = "device-add",
	[65] = "device-share",
	[66] = "device-slice",
	[67] = "device-remove",
	[68] = "device-list",
	[69] = "device-drained",
	[80] = "memory-map",
	[81] = "memory-unmap",
	[96] = "bind",
	[97] = "unbind",
	[98] = "rid-attach",
	[99] = "rid-detach",
	[100] = "binding-list",
	[101] = "replace",
};

const char *audit_kind_text(uint32_t kind)
{
	return kind < ARRAY_SIZE(kind_texts) && kind_texts[kind] != NULL ? kind_texts[kind]
									 : "unknown";
}

const char *audit_operation_text(uint32_t operation)
{
	return operation < ARRAY_SIZE(operation_texts) && operation_texts[operation] != NULL
		       ? operation_texts[operation]
		       : "";
}

void audit_name(const struct audit_record *record, char ret_name[static AUDIT_NAME_MAX + 1])
{
	size_t length = 0;

	/* A file of anybody: only what names of sets and versions are made of. */
	for (; length < AUDIT_NAME_MAX && record->name[length] != '\0'; length++)
		ret_name[length] = record->name[length] > ' ' && record->name[length] < 0x7f
					   ? record->name[length]
					   : '?';
	ret_name[length] = '\0';
}
