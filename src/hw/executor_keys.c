/* SPDX-License-Identifier: MIT */
#include "executor_state.h"

#include <errno.h>
#include <stdlib.h>

/*
 * Asks of the keys from *next on, so many at a time, whose file is that of the request; moves on.
 * *ret_key stays 0 when it is none of them. 0 or -errno.
 */
static int executor_keys_search(struct executor *e, struct spawner_request *request,
	const struct executor_key **next, uint64_t *ret_key)
{
	const struct executor_key *asked[SPAWNER_FILES];
	uint32_t index;
	int r;

	for (request->count = 0; *next && request->count < SPAWNER_FILES; *next = (*next)->next) {
		request->others[request->count] =
			(struct spawner_file){(*next)->worker->pid, (*next)->fd};
		asked[request->count++] = *next;
	}
	r = executor_spawner_compare(e, request, &index);
	if (r == 0 && index < request->count)
		*ret_key = asked[index]->key;
	return r;
}

int executor_keys_add(struct executor *e, const struct executor_worker *worker, uint32_t device,
	int fd, uint64_t *ret_key)
{
	struct spawner_request request = {
		.kind = SPAWNER_COMPARE, .file = {.pid = worker->pid, .fd = fd}};
	const struct executor_key *next = e->keys;
	struct executor_key *added;
	uint64_t key = 0;
	int r;

	do
		r = executor_keys_search(e, &request, &next, &key);
	while (r == 0 && key == 0 && next);
	if (r < 0)
		return r;
	added = malloc(sizeof(*added));
	if (!added)
		return -ENOMEM;
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
