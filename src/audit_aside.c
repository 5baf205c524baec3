/* SPDX-License-Identifier: MIT */
/* Trails that make room for another one: the newest is PATH.old, those before it have numbers. */
#include "audit_private.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static void aside_name(const char *path, unsigned age, char ret_name[static AUDIT_ASIDE_PATH])
{
	if (age == 0)
		(void)snprintf(ret_name, AUDIT_ASIDE_PATH, "%s.old", path);
	else
		(void)snprintf(ret_name, AUDIT_ASIDE_PATH, "%s.old.%u", path, age);
}

/* The first name that is free; AUDIT_ASIDE_MAX - 1, whose file is replaced, when none is. */
static unsigned aside_free(const char *path, bool *ret_replaces)
{
	char name[AUDIT_ASIDE_PATH];
	struct stat st;

	*ret_replaces = false;
	for (unsigned age = 0; age < AUDIT_ASIDE_MAX; age++) {
		aside_name(path, age, name);
		if (lstat(name, &st) < 0)
			return age;
	}
	*ret_replaces = true;
	return AUDIT_ASIDE_MAX - 1;
}

int audit_aside(const char *path, struct audit_error *ret_said)
{
	char from[AUDIT_ASIDE_PATH], to[AUDIT_ASIDE_PATH];
	bool replaces;

	if (strlen(path) + sizeof(".old.0") > AUDIT_ASIDE_PATH)
		return audit_fail(
			ret_said, -ENAMETOOLONG, "the path of the audit trail is too long");
	for (unsigned age = aside_free(path, &replaces) + 1; age-- > 0;) {
		aside_name(path, age, to);
		if (age == 0)
			(void)snprintf(from, sizeof(from), "%s", path);
		else
			aside_name(path, age - 1, from);
		if (rename(from, to) < 0)
			return audit_fail(ret_said, -errno, "%.256s cannot be renamed: %s", from,
				strerror(errno));
	}
	return audit_fail(ret_said, 0,
		"what was at %.256s, of another size or layout, is kept as *.old; trails that were "
		"kept so before have numbers, the oldest the highest%s",
		path, replaces ? ", and *.old.3, the oldest of four, was replaced" : "");
}
