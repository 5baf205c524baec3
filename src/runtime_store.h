/* SPDX-License-Identifier: MIT */
/*
 * Sockets of workers in systemd's descriptor store (FDSTORE=1 of sd_notify(3)), so that workers,
 * and with them everything that is attached, outlive a restart or the death of the daemon; and the
 * memory of exported maps, so that VMMs read on in the same.
 *
 * What is kept of a worker is our end of its socket and nothing else: no device, no iommufd. So
 * systemd never closes anything that could take long, and a stop of the service, which drops the
 * store, is what ends the workers.
 */
#ifndef PASIDD_RUNTIME_STORE_H
#define PASIDD_RUNTIME_STORE_H

#include "runtime.h"

struct runtime_lane {
	uint64_t lane;
	int32_t pid; /* of its worker */
	int fd;
};

struct runtime_map {
	struct set_id set;
	int fd;
};

/*
 * What systemd passed: the listening socket and that for admins (FileDescriptorName=admin), or -1
 * each, and what an earlier run had stored.
 */
struct runtime_passed {
	int listen_fd, admin_fd;
	struct runtime_lane *lanes;
	size_t lane_count;
	struct runtime_map *maps;
	size_t map_count;
};

/*
 * Takes over what was passed. -EINVAL: something else came, or several listening sockets of one
 * kind; -ENOMEM.
 * The error is filled then; what was passed stays open.
 */
int runtime_passed(struct runtime_passed *ret_passed, struct runtime_error *ret_error);
/* Closes what was not taken out of it (fd -1). */
void runtime_passed_done(struct runtime_passed *passed);

struct runtime_store;

/* Empty and of no effect when nobody keeps descriptors for us ($NOTIFY_SOCKET). 0 or -ENOMEM. */
int runtime_store_new(struct runtime_store **ret_store);
void runtime_store_free(struct runtime_store *store);
/*
 * An executor_lane_fn: keeps a lane's socket, or has it dropped. Does not wait: what systemd has no
 * time for now is said when it has, at the latest with the next lane.
 */
void runtime_store_lane(void *ctx, uint64_t lane, int32_t pid, int socket, bool stands);
/* An export_memory_fn: the same for the memory of an exported map. */
void runtime_store_map(void *ctx, struct set_id set, int fd, bool stands);
/* Does somebody keep what we give? */
bool runtime_store_keeps(const struct runtime_store *store);
/* Tells systemd what it had no time for. */
void runtime_store_flush(struct runtime_store *store);

#endif
