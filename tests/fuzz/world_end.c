/* SPDX-License-Identifier: MIT */
/* The end of a history: everybody leaves, the hardware works again, and nothing may be left. */
#include "broker_move.h"
#include "world.h"

#define SETTLED_MS 60000u /* longer than any grace, cooling or deadline here */

/* The hardware works again and everything is carried out. */
static void world_settle(struct world *w)
{
	w->f.model.hung_lane = 0;
	w->f.model.fail_status = 0;
	w->f.model.submit_status = 0;
	for (unsigned round = 0; round < 4; round++) {
		world_step(w, 100000, 0);
		world_time(w, round ? SETTLED_MS : 1000);
	}
}

/* Whoever is still connected and reads has an answer to everything that it asked. */
static void world_check_answered(struct world *w)
{
	for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
		struct world_link *link = &w->links[slot];

		world_read(w, slot, UINT32_MAX);
		if (!link->link || dispatch_doomed(link->link))
			continue;
		for (uint32_t i = 0; i < link->requests_count; i++) {
			const struct world_request *request = &link->requests[i];

			if (request->is_due && !request->answered)
				FUZZ_FAIL("slot %u: request %llu has no answer", slot,
					(unsigned long long)request->id);
		}
	}
}

/* Other hosts will not answer any more. */
static void world_end_moves(struct world *w)
{
	struct actor admin = {ROLE_ADMIN, UINT64_MAX, {0}, &w->f.peer};
	struct move_info info;
	uint64_t cursor = 0;
	int r = 0;

	while (broker_move_next(w->f.broker, &admin, &cursor, &info)) {
		if (info.state == MOVE_LEAVING)
			r = broker_move_keep(w->f.broker, &admin, &info.token, &w->error);
		else if (info.state == MOVE_GIVEN)
			r = broker_move_release(
				w->f.broker, &admin, &info.token, 0, true, &w->error);
		else
			r = broker_move_drop(w->f.broker, &admin, &info.token, 0, true, &w->error);
		FUZZ_CHECK(r == 0);
	}
	world_settle(w);
}

/* Sets that an admin made stay until an admin destroys them. */
static void world_destroy_sets(struct world *w)
{
	struct actor admin = {ROLE_ADMIN, UINT64_MAX, {0}, &w->f.peer};
	struct set_info info;
	uint64_t cursor = 0;

	while (broker_set_next(w->f.broker, &admin, &cursor, &info)) {
		FUZZ_CHECK(!info.owned_by_session || info.dying);
		if (!info.dying)
			FUZZ_CHECK(broker_set_destroy(
					   w->f.broker, &admin, info.id, true, 0, &w->error) == 0);
	}
	world_settle(w);
}

/* What was tainted heals when the same functions are bound anew and given back. */
static void world_heal(struct world *w)
{
	struct actor vmm = {ROLE_VMM, UINT64_MAX - 1, {0}, &w->f.peer};
	struct set_create create = {"healer", SET_TRANSLATED, true, 1, false, 0, 0};

	w->f.peer = (struct policy_peer){.uid = 3000};
	FUZZ_CHECK(broker_set_create(w->f.broker, &vmm, &create, &vmm.set, &w->error) == 0);
	for (unsigned rid = 0; rid < WORLD_RIDS; rid++) {
		int fds[] = {world_fd(w, WORLD_FD_IOMMUFD, 7), world_fd(w, WORLD_FD_DEVICE, rid)};

		if (fds[0] < 0 || fds[1] < 0)
			continue;
		if (broker_device_add(w->f.broker, &vmm, vmm.set, fds, 2, NULL, 0, &w->error)) {
			world_dispose(w, fds[0]);
			world_dispose(w, fds[1]);
		}
		world_settle(w);
	}
	broker_session_end(w->f.broker, vmm.session);
	world_settle(w);
}

/* An admin resets the shared devices, and takes them back. */
static void world_take_back(struct world *w)
{
	struct actor admin = {ROLE_ADMIN, UINT64_MAX, {0}, &w->f.peer};
	struct device_info info;
	uint64_t cursor = 0;
	uint32_t released;

	while (broker_device_next(w->f.broker, &admin, (struct set_id){0}, &cursor, &info)) {
		if (info.kind != DEVICE_SHARED)
			continue;
		(void)broker_device_drained(w->f.broker, &admin, info.id, &released, &w->error);
		(void)broker_device_remove(
			w->f.broker, &admin, (struct set_id){0}, info.id, 0, &w->error);
		world_settle(w);
	}
}

static void world_check_empty(struct world *w)
{
	struct broker_status status;

	broker_status(w->f.broker, &status);
	FUZZ_CHECK(dispatch_sessions(w->d) == 0 && dispatch_operations(w->d) == 0);
	FUZZ_CHECK(status.operations == 0 && w->f.model.count == 0);
	FUZZ_CHECK(status.sets == 0);
	FUZZ_CHECK(status.quarantined == 0 && status.pasids.current == 0);
	FUZZ_CHECK(status.bindings == 0 && status.devices == 0);
	FUZZ_CHECK(model_entries(&w->f) == 0);
	FUZZ_CHECK(state_file_pages_taken(w->f.memory) == 0);
	for (unsigned i = 0; i < w->fd_count; i++) {
		if (w->fds[i].state == WORLD_FD_DAEMON)
			FUZZ_FAIL("descriptor %u was never closed", WORLD_FD_FIRST + i);
	}
	for (int i = 0; i < w->f.model.next_fd - WORLD_MADE_FD; i++) {
		if (!w->made_disposed[i])
			FUZZ_FAIL("descriptor %d of the hardware was never closed",
				WORLD_MADE_FD + i);
	}
}

static void world_check_own(struct world *w)
{
	for (unsigned i = 0; i < w->own_count; i++) {
		if (!w->own_closed[i])
			FUZZ_FAIL("the daemon's copy of connection %u was never closed", i);
	}
}

void world_close(struct world *w)
{
	world_settle(w);
	world_check(w);
	world_check_answered(w);
	w->has_honest = false; /* from here on nobody is promised anything */
	for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
		world_disconnect(w, slot, slot % 2 == 0);
		if (slot == WORLD_A2)
			world_die(w, slot);
	}
	world_settle(w);
	FUZZ_CHECK(dispatch_next_output(w->d) == NULL);
	world_end_moves(w);
	world_destroy_sets(w);
	world_take_back(w);
	world_heal(w);
	world_take_back(w); /* what could not go before it was healed */
	world_check(w);
	world_check_empty(w);
	world_check_own(w);
	dispatch_free(w->d);
	fixture_close(&w->f);
	limits_free(w->limits);
}
