/* SPDX-License-Identifier: MIT */
/* What /proc says of a process. Whoever reads it knows by a pidfd whose number it is. */
#include "peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *peer_open(int32_t pid, const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return fopen(path, "re");
}

/*
 * Calls `take` with what follows `key` in the first line that begins with it. -ESRCH: the file
 * cannot be read, or there is no such line.
 */
static int peer_read_line(int32_t pid, const char *name, const char *key,
	void (*take)(const char *rest, void *context), void *context)
{
	FILE *file = peer_open(pid, name);
	char *line = NULL;
	size_t room = 0;
	ssize_t length;
	int r = -ESRCH;

	if (file == NULL)
		return -ESRCH;
	while (r < 0 && (length = getline(&line, &room, file)) > 0) {
		if (line[length - 1] == '\n')
			line[length - 1] = '\0';
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		take(line + strlen(key), context);
		r = 0;
	}
	free(line);
	(void)fclose(file);
	return r;
}

/* ---------------------------------------------------------------- its beginning */

#define STAT_START 20 /* fields from the one behind the name, which is the third, to the 22nd */

uint64_t peer_start_time(int32_t pid)
{
	FILE *file = peer_open(pid, "stat");
	char line[1024];
	const char *field = NULL;
	size_t size;

	if (file == NULL)
		return 0;
	size = fread(line, 1, sizeof(line) - 1, file);
	(void)fclose(file);
	line[size] = '\0';
	/* proc(5): the name is in brackets, and may have any in it. */
	field = strrchr(line, ')');
	for (int i = 0; i < STAT_START && field != NULL; i++)
		field = strchr(field + 1, ' ');
	return field != NULL ? strtoull(field, NULL, 10) : 0;
}

/* ---------------------------------------------------------------- cgroups */

struct peer_match {
	const struct policy *policy;
	uint64_t cgroups;
};

static void peer_take_cgroup(const char *rest, void *context)
{
	struct peer_match *match = context;

	match->cgroups = policy_match_cgroups(match->policy, rest);
}

uint64_t peer_cgroups(int32_t pid, const struct policy *policy)
{
	struct peer_match match = {.policy = policy};

	/* cgroups(7): hierarchy 0 without controllers is version 2, also beside version 1. */
	(void)peer_read_line(pid, "cgroup", "0::", peer_take_cgroup, &match);
	return match.cgroups;
}

/* ---------------------------------------------------------------- users and groups */

/* The next number of a line; false: there is none. */
static bool peer_next_id(const char **text, uint32_t *ret_id)
{
	char *end;
	unsigned long id = strtoul(*text, &end, 10);

	if (end == *text)
		return false;
	*text = end;
	*ret_id = (uint32_t)id;
	return true;
}

struct peer_user {
	uint32_t uid;
	bool found;
};

/* Real, effective, saved; the fourth is for file systems. */
static void peer_take_users(const char *rest, void *context)
{
	struct peer_user *user = context;
	uint32_t uid;

	for (int i = 0; i < 3 && peer_next_id(&rest, &uid); i++)
		user->found = user->found || uid == user->uid;
}

static void peer_take_groups(const char *rest, void *context)
{
	struct policy_peer *who = context;
	uint32_t gid;

	while (who->group_count < POLICY_GROUPS_MAX && peer_next_id(&rest, &gid))
		who->groups[who->group_count++] = gid;
}

int peer_status(int32_t pid, struct policy_peer *who)
{
	struct peer_user user = {.uid = who->uid};
	int r = peer_read_line(pid, "status", "Uid:", peer_take_users, &user);

	if (r < 0)
		return r;
	if (!user.found)
		return -EPERM;
	return peer_read_line(pid, "status", "Groups:", peer_take_groups, who);
}
