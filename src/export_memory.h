/* SPDX-License-Identifier: MIT */
/*
 * The memory of exported maps (export.h): a memfd for each set, sparse, sealed against shrinking,
 * growing and further seals, with mode 0400.
 *
 * What is handed out is opened for reading anew. A copy of our own descriptor, or one that was only
 * mapped read-only, could be made writeable again by way of /proc; with this mode and another
 * owner that is refused. A VMM of the daemon's own user could change the mode; the manual advises
 * against that anyway.
 */
#ifndef PASIDD_EXPORT_MEMORY_H
#define PASIDD_EXPORT_MEMORY_H

#include "export.h"

struct export_memory;

/* The descriptor of a set's memory came to be (stands), or is about to be closed. */
typedef void (*export_memory_fn)(void *ctx, struct set_id set, int fd, bool stands);

/* fn may be NULL. -ENOMEM. */
int export_memory_new(export_memory_fn fn, void *ctx, struct export_memory **ret_memory);
/*
 * Unmaps and closes all, without a word to fn. `kept`: somebody keeps the descriptors for the next
 * run; otherwise readers are told that nothing in them is true from now on. NULL is fine.
 */
void export_memory_free(struct export_memory *memory, bool kept);

struct export_port export_memory_port(struct export_memory *memory);

/* A descriptor for reading, the caller's. -ENOENT when the set has no memory, or -errno. */
int export_memory_open(const struct export_memory *memory, struct set_id set, int *ret_fd);

/*
 * Takes the descriptor that an earlier run has made for this set, and maps it. -EINVAL: it is
 * something else; -EEXIST, -ENOMEM. On failure it stays the caller's.
 */
int export_memory_adopt(
	struct export_memory *memory, struct set_id set, int fd, uint8_t **ret_base);
/* Lets go of what was made or adopted. */
void export_memory_drop(struct export_memory *memory, struct set_id set);

#endif
