/* SPDX-License-Identifier: MIT */
/* Inside `pasidctl doctor`: where the texts come from that doctor.h makes findings of. */
#ifndef PASIDCTL_DOCTOR_IN_H
#define PASIDCTL_DOCTOR_IN_H

#include "doctor.h"

#define DOCTOR_PATH_MAX 512
#define DOCTOR_LINK_MAX 256

/* Where to look: "" for this host, or a folder that holds a copy of another one's files. */
struct doctor_host {
	const char *root;
	bool live; /* this host: system calls may be tried, and what we may open asked */
	char release[64];
	char *config; /* the kernel's; NULL: not found */
};

/* ------------------------------------------------------------ pasidctl_doctor_read.c */

/* A file below the root, with a NUL behind it; NULL: not there, or beyond 8 MiB. The caller frees
 * it. */
char *doctor_read(const struct doctor_host *host, const char *path, size_t *ret_size);
/* The last name in a link's target; false: no such link. */
bool doctor_link(
	const struct doctor_host *host, const char *path, char ret_name[static DOCTOR_LINK_MAX]);
/* The whole target. */
bool doctor_target(
	const struct doctor_host *host, const char *path, char ret_target[static DOCTOR_LINK_MAX]);
bool doctor_there(const struct doctor_host *host, const char *path);
/* Calls each for the names in a folder that begin with prefix, in alphabetical order. How many
 * there were. */
size_t doctor_each(const struct doctor_host *host, const char *path, const char *prefix,
	void (*each)(void *ctx, const char *name), void *ctx);
void doctor_stat(const struct doctor_host *host, const char *path, struct doctor_node *ret_node);
/* false: the path is too long. */
__attribute__((format(printf, 2, 3))) bool doctor_path(
	char path[static DOCTOR_PATH_MAX], const char *format, ...);

/* ------------------------------------------------------------ pasidctl_doctor_look.c */

/* Everything but the daemon. */
void doctor_look(struct doctor_host *host, struct doctor_report *report);

#endif
