/* SPDX-License-Identifier: MIT */
/*
 * The honest peer: it sets up what it needs and leaves it alone. Whatever the others do, it has the
 * same numbers, devices and bindings, and what it asks for next it gets.
 */
#include "world.h"

#include <string.h>

#define OPERATION(name) PASID__V1__REQUEST__OPERATION_##name

/* One request, carried out; it must succeed. The reply is valid until the next. */
static const Pasid__V1__Reply *world_call(struct world *w, enum world_slot slot, uint32_t operation,
	const void *message, const int *fds, size_t fd_count)
{
	struct world_link *link = &w->links[slot];
	struct wire_out out = wire_out_init(w->datagram, sizeof(w->datagram));
	struct wire_request head = {
		.id = ++w->last_id, .operation = operation, .descriptors = (uint32_t)fd_count};
	const Pasid__V1__ToClient *read;
	const struct dispatch_datagram *datagram;

	wire_out_request(&out, &head, message);
	world_send(w, slot, w->datagram, out.size, fds, fd_count, false);
	world_step(w, 100, 0);
	for (; (datagram = world_peek(w, slot)); dispatch_sent(w->d, link->link)) {
		wire_arena_reset(&w->arena);
		FUZZ_CHECK(wire_unpack_replies(&w->arena, datagram->data, datagram->size, &read,
				   &w->error) == 0);
		for (size_t i = 0; i < read->n_replies; i++) {
			if (read->replies[i]->id != head.id)
				continue;
			if (read->replies[i]->status)
				FUZZ_FAIL("the honest peer is refused operation %u: %s", operation,
					read->replies[i]->status->message);
			dispatch_sent(w->d, link->link);
			link->requests_count = 0;
			return read->replies[i];
		}
	}
	FUZZ_FAIL("the honest peer has no answer to operation %u", operation);
}

static void world_hello(struct world *w, enum world_slot slot, Pasid__V1__Role role)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	world_connect(w, slot);
	hello.version_min = hello.version_max = 1;
	hello.role = role;
	(void)world_call(w, slot, OPERATION(HELLO), &hello, NULL, 0);
}

static void world_honest_bind(
	struct world *w, uint32_t number, const uint64_t *devices, size_t count)
{
	Pasid__V1__Bind bind = PASID__V1__BIND__INIT;
	Pasid__V1__PasidRef pasid = PASID__V1__PASID_REF__INIT;
	Pasid__V1__Table table = PASID__V1__TABLE__INIT;
	Pasid__V1__BindPair pair[2] = {PASID__V1__BIND_PAIR__INIT, PASID__V1__BIND_PAIR__INIT};
	Pasid__V1__BindPair *pairs[2] = {&pair[0], &pair[1]};

	pasid.key_case = PASID__V1__PASID_REF__KEY_HOST;
	pasid.host = number;
	table.source_case = PASID__V1__TABLE__SOURCE_SPACE;
	for (size_t i = 0; i < count; i++) {
		pair[i].device = devices[i];
		pair[i].table = &table;
	}
	bind.pasid = &pasid;
	bind.n_pairs = count;
	bind.pairs = pairs;
	(void)world_call(w, WORLD_HONEST, OPERATION(BIND), &bind, NULL, 0);
	w->honest_bindings += (unsigned)count;
}

static uint32_t world_honest_allocate(struct world *w, uint32_t guest)
{
	Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;

	allocate.guest_case = guest ? PASID__V1__ALLOCATE__GUEST_GUEST_PASID
				    : PASID__V1__ALLOCATE__GUEST__NOT_SET;
	allocate.guest_pasid = guest;
	allocate.data = 1000 + guest;
	return world_call(w, WORLD_HONEST, OPERATION(ALLOCATE), &allocate, NULL, 0)
		->allocate->runs[0]
		->first;
}

static void world_honest_devices(struct world *w)
{
	Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
	Pasid__V1__DeviceSlice slice = PASID__V1__DEVICE_SLICE__INIT;
	int fds[] = {
		world_fd(w, WORLD_FD_IOMMUFD, 0), world_fd(w, WORLD_FD_DEVICE, WORLD_HONEST_RID)};

	w->honest_device =
		world_call(w, WORLD_HONEST, OPERATION(DEVICE_ADD), &add, fds, 2)->device_add->id;
	slice.key_case = PASID__V1__DEVICE_SLICE__KEY_ADDRESS;
	slice.address = "00:00.2";
	w->honest_slice = world_call(w, WORLD_HONEST, OPERATION(DEVICE_SLICE), &slice, NULL, 0)
				  ->device_slice->id;
}

void world_honest_open(struct world *w)
{
	Pasid__V1__DeviceShare share = PASID__V1__DEVICE_SHARE__INIT;
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
	uint64_t devices[2];

	world_hello(w, WORLD_KEEPER, PASID__V1__ROLE__ROLE_ADMIN);
	share.address = "00:00.2";
	(void)world_call(w, WORLD_KEEPER, OPERATION(DEVICE_SHARE), &share, NULL, 0);
	if (!w->has_honest)
		return;
	world_hello(w, WORLD_HONEST, PASID__V1__ROLE__ROLE_VMM);
	create.name = "honest";
	w->honest_set = world_call(w, WORLD_HONEST, OPERATION(SET_CREATE), &create, NULL, 0)
				->set_create->id;
	world_honest_devices(w);
	for (uint32_t i = 0; i < WORLD_NUMBERS; i++)
		w->numbers[i] = world_honest_allocate(w, i);
	devices[0] = w->honest_device;
	devices[1] = w->honest_slice;
	world_honest_bind(w, w->numbers[1], devices, 1);
	world_honest_bind(w, w->numbers[2], devices + 1, 1);
	world_honest_bind(w, w->numbers[3], devices, 2);
}

/* ---------------------------------------------------------------- is it untouched? */

static void world_check_number(struct world *w, const struct actor *admin, uint32_t i)
{
	static const unsigned bindings[WORLD_NUMBERS] = {0, 1, 1, 2, 0, 0};
	struct grant_info info;

	FUZZ_CHECK(broker_host_find(w->f.broker, admin, (struct set_id){0},
			   (struct hpasid){w->numbers[i]}, &info, &w->error) == 0);
	FUZZ_CHECK(info.set.v == w->honest_set && info.state == GRANT_ACTIVE);
	FUZZ_CHECK(info.data == 1000 + i && info.has_guest == (i != 0));
	FUZZ_CHECK(!i || info.guest.v == i);
	FUZZ_CHECK(info.bindings == bindings[i] && info.quarantine == 0);
}

static void world_check_entry(struct world *w, uint32_t rid, uint32_t number)
{
	const struct model *model = &w->f.model;
	unsigned found = 0;

	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		const struct model_entry *entry = &model->entries[i];

		if (!entry->used || !entry->has_pasid || entry->pasid != number)
			continue;
		FUZZ_CHECK(entry->owner == w->honest_set);
		found += entry->rid == rid;
	}
	FUZZ_CHECK(found == 1);
}

void world_honest_check(struct world *w)
{
	struct actor admin = {ROLE_ADMIN, UINT64_MAX, {0}, &w->f.peer};
	struct set_info info;

	if (!w->has_honest)
		return;
	FUZZ_CHECK(broker_set_get(w->f.broker, &admin, (struct set_id){w->honest_set}, &info,
			   &w->error) == 0);
	FUZZ_CHECK(!info.dying && info.owned_by_session && info.uid == world_uid(WORLD_HONEST));
	FUZZ_CHECK(info.active == WORLD_NUMBERS && info.devices == 2);
	FUZZ_CHECK(info.bindings == w->honest_bindings);
	for (uint32_t i = 0; i < WORLD_NUMBERS; i++)
		world_check_number(w, &admin, i);
	world_check_entry(w, WORLD_HONEST_RID, w->numbers[1]);
	world_check_entry(w, WORLD_SHARED_RID, w->numbers[2]);
	world_check_entry(w, WORLD_HONEST_RID, w->numbers[3]);
	world_check_entry(w, WORLD_SHARED_RID, w->numbers[3]);
}

void world_honest_act(struct world *w)
{
	Pasid__V1__Ping ping = PASID__V1__PING__INIT;
	Pasid__V1__Free free = PASID__V1__FREE__INIT;
	Pasid__V1__PasidRef pasid = PASID__V1__PASID_REF__INIT, *pasids = &pasid;

	if (!w->has_honest || w->shutting_down)
		return;
	(void)world_call(w, WORLD_HONEST, OPERATION(PING), &ping, NULL, 0);
	/* its own numbers in quarantine count against it, nobody else's do */
	if (w->f.now_ms < w->honest_acted + 2 * w->f.config.cooling_ms)
		return;
	w->honest_acted = w->f.now_ms;
	pasid.key_case = PASID__V1__PASID_REF__KEY_HOST;
	pasid.host = world_honest_allocate(w, 0);
	free.n_pasids = 1;
	free.pasids = &pasids;
	FUZZ_CHECK(world_call(w, WORLD_HONEST, OPERATION(FREE), &free, NULL, 0)->free->freed == 1);
}
