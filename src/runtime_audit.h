/* SPDX-License-Identifier: MIT */
/* Where the audit trail is. */
#ifndef PASIDD_RUNTIME_AUDIT_H
#define PASIDD_RUNTIME_AUDIT_H

#include "audit.h"
#include "config.h"

/*
 * Opens it: at the configured path; else in $LOGS_DIRECTORY, which systemd makes; else in the
 * runtime directory, where it ends with the host's uptime. There is a name for it in the runtime
 * directory in any case, so that pasidctl finds it. *ret_audit is NULL when there is to be none.
 * 0 or -errno, with the error filled; it may be with 0, too, with what is to be said of a file that
 * made room, and is left as it is otherwise.
 */
int runtime_audit_open(const struct config_audit *config, const char *directory, bool simulated,
	struct audit **ret_audit, struct audit_error *ret_error);

#endif
