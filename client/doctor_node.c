/* SPDX-License-Identifier: MIT */
/* Device nodes, and who may open them. */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Field n (from 0) of a line of passwd or group. */
static bool node_field(const char *line, unsigned n, char *ret_field, size_t size)
{
	size_t end;

	for (; n > 0; n--) {
		line += strcspn(line, ":\n");
		if (*line++ != ':')
			return false;
	}
	end = strcspn(line, ":\n");
	if (end >= size)
		return false;
	memcpy(ret_field, line, end);
	ret_field[end] = '\0';
	return true;
}

static const char *node_next_line(const char *line)
{
	line += strcspn(line, "\n");
	return *line == '\n' ? line + 1 : line;
}

static bool node_number(const char *line, unsigned field, uint32_t *ret_number)
{
	char text[16], *end;
	unsigned long number;

	if (!node_field(line, field, text, sizeof(text)) || text[0] < '0' || text[0] > '9')
		return false;
	number = strtoul(text, &end, 10);
	*ret_number = (uint32_t)number;
	return *end == '\0';
}

/* Is the name one of the members, the last field of the line? */
static bool node_is_member(const char *line, const char *name)
{
	size_t length = strlen(name);
	const char *at = line;

	for (unsigned i = 0; i < 3; i++) {
		at += strcspn(at, ":\n");
		if (*at++ != ':')
			return false;
	}
	while (*at != '\0' && *at != '\n') {
		size_t end = strcspn(at, ",\n");

		if (end == length && strncmp(at, name, length) == 0)
			return true;
		at += end;
		at += *at == ',';
	}
	return false;
}

static void node_add_groups(const char *group, struct doctor_user *user)
{
	uint32_t gid;

	for (const char *line = group; line && *line != '\0'; line = node_next_line(line))
		if (user->gid_count < DOCTOR_GROUPS_MAX && node_is_member(line, user->name) &&
			node_number(line, 2, &gid))
			user->gids[user->gid_count++] = gid;
}

bool doctor_user(
	const char *name, const char *passwd, const char *group, struct doctor_user *ret_user)
{
	struct doctor_user user = {.name = name};
	char field[64];

	for (const char *line = passwd; line && *line != '\0'; line = node_next_line(line)) {
		if (!node_field(line, 0, field, sizeof(field)) || strcmp(field, name) != 0)
			continue;
		if (!node_number(line, 2, &user.uid) || !node_number(line, 3, &user.gids[0]))
			return false;
		user.gid_count = 1;
		node_add_groups(group, &user);
		*ret_user = user;
		return true;
	}
	return false;
}

bool doctor_may_open(const struct doctor_node *node, const struct doctor_user *user)
{
	unsigned shift = 0;

	if (user->uid == 0)
		return true;
	if (node->uid == user->uid)
		shift = 6;
	for (size_t i = 0; shift == 0 && i < user->gid_count; i++)
		if (node->gid == user->gids[i])
			shift = 3;
	return (node->mode >> shift & 6) == 6;
}

void doctor_check_node(struct doctor_report *report, const struct doctor_node *node,
	const struct doctor_user *daemon)
{
	static const char groups[] =
		"let a group have it by a rule of udev, with the daemon's and the VMMs' users in it";
	char name[DOCTOR_NAME_MAX];

	(void)snprintf(name, sizeof(name), "%s", node->path);
	if (!node->there)
		doctor_add(report, DOCTOR_PROBLEM, name,
			"load the module that makes it (see above)", "missing");
	else if (!doctor_may_open(node, daemon))
		doctor_add(report, DOCTOR_PROBLEM, name, groups,
			"mode %04o, owner %u:%u: the daemon's user %s cannot open it",
			node->mode & 07777, node->uid, node->gid, daemon->name);
	else if (node->asked && !node->allowed)
		doctor_add(report, DOCTOR_WARNING, name, groups,
			"user %s can open it, you cannot: a VMM that you start could not use it",
			daemon->name);
	else
		doctor_add(report, DOCTOR_OK, name, NULL, "user %s can open it%s", daemon->name,
			node->asked ? ", and so can you" : "");
}

void doctor_check_container(struct doctor_report *report, bool there, const char *config)
{
	if (!there)
		return;
	if (doctor_config(config, "CONFIG_IOMMUFD_VFIO_CONTAINER") == 'y')
		doctor_add(report, DOCTOR_WARNING, "/dev/vfio/vfio",
			"give VMMs an iommufd and nodes of /dev/vfio/devices, never this container",
			"it is iommufd's stand-in for the old container, which attaches no PASIDs");
	else
		doctor_add(report, DOCTOR_OK, "/dev/vfio/vfio", NULL,
			"the old container; a function that a VMM uses through it has no PASIDs, and cannot be registered");
}
