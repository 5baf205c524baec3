/* SPDX-License-Identifier: MIT */
#include "executor_state.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 1: one open file, 0: two, or -errno. */
static int executor_keys_compare(
	const struct executor_worker *a, int fd_a, const struct executor_worker *b, int fd_b)
{
	long r = syscall(SYS_kcmp, a->pid, b->pid, KCMP_FILE, fd_a, fd_b);

	return r < 0 ? -errno : r == 0;
}

int executor_keys_add(struct executor *e, const struct executor_worker *worker, uint32_t device,
	int fd, uint64_t *ret_key)
{
	struct executor_key *added, *other;
	uint64_t key = 0;
	int r = executor_keys_compare(worker, fd, worker, fd);

	if (r < 0)
		return r;
	added = malloc(sizeof(*added));
	if (!added)
		return -ENOMEM;
	/*
	 * Another worker may be closing what we compare with, or be gone: an error there means that
	 * it does not hold our file.
	 */
	for (other = e->keys; other && !key; other = other->next)
		if (executor_keys_compare(worker, fd, other->worker, other->fd) > 0)
			key = other->key;
	if (!key)
		key = ++e->last_key;
	*added = (struct executor_key){
		.next = e->keys, .worker = worker, .device = device, .fd = fd, .key = key};
	e->keys = added;
	*ret_key = key;
	return 0;
}

static void executor_keys_filter(
	struct executor *e, const struct executor_worker *worker, const uint32_t *device)
{
	struct executor_key **link = &e->keys;

	while (*link) {
		struct executor_key *key = *link;

		if (key->worker == worker && (!device || key->device == *device)) {
			*link = key->next;
			free(key);
		} else {
			link = &key->next;
		}
	}
}

void executor_keys_remove(struct executor *e, const struct executor_worker *worker, uint32_t device)
{
	executor_keys_filter(e, worker, &device);
}

void executor_keys_remove_worker(struct executor *e, const struct executor_worker *worker)
{
	executor_keys_filter(e, worker, NULL);
}
