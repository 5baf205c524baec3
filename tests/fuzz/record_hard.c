/* SPDX-License-Identifier: MIT */
/* Scenes of what goes wrong: refusals of every kind, hardware that fails half-way, ends that meet.
 */
#include "record.h"

#include <err.h>

#define ADDRESS_SHARED "00:00.2"
#define ADDRESS_NARROW "00:00.6" /* five bits of PASID, see world.c */

static struct pasid_client *c;

#define DONE(call) RECORD_DONE(c, call)
#define NOT(call)  RECORD_NOT(c, call)

static void on_result(
	struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	(void)client;
	(void)result;
	(void)userdata;
}

static void settle(void)
{
	while (pasid_outstanding(c) && pasid_dispatch(c, 1000) >= 0)
		continue;
}

static uint64_t add_device(unsigned rid)
{
	struct pasid_device_add_args args = {.iommufd = record_fd(WORLD_FD_IOMMUFD, 3),
		.device = record_fd(WORLD_FD_DEVICE, rid)};
	struct pasid_device_info info;

	DONE(pasid_device_add(c, &args, &info, NULL));
	return info.id;
}

static uint64_t add_slice(const char *address)
{
	struct pasid_device_info info;

	DONE(pasid_device_slice(c, &(struct pasid_device_slice_args){.address = address}, &info));
	return info.id;
}

static uint32_t allocate(void)
{
	uint32_t number;

	DONE(pasid_allocate(c, &(struct pasid_allocate_args){0}, &number));
	return number;
}

static struct pasid_pair pair_of(uint64_t device, enum pasid_table_source source, uint32_t id)
{
	return (struct pasid_pair){.device = device, .table = {.source = source, .id = id}};
}

static void free_number(uint32_t number)
{
	struct pasid_number ref = {false, number};

	DONE(pasid_free(c, &(struct pasid_free_args){.pasids = &ref, .count = 1}, NULL, NULL));
}

static void open_with(const char *scene, enum world_slot slot, struct pasid_set_create_args args)
{
	record_begin(scene, true);
	c = record_client(slot, PASID_ROLE_VMM);
	DONE(pasid_set_create(c, &args, NULL));
}

static void close_all(void)
{
	pasid_close(c);
	record_end();
}

/* ---------------------------------------------------------------- binds that fail half-way */

/* Lets the hardware do one thing, which may fail. */
static void step_hardware(unsigned fail_kind)
{
	if (fail_kind)
		record_action(SCRIPT_FAIL, 0, (uint8_t)(fail_kind - HW_IDENTIFY), 1, 0, 0);
	record_action(SCRIPT_STEP, 0, 0, 0, 0, 0);
}

static void scene_undo(void)
{
	struct pasid_pair pairs[3];
	struct pasid_bind_args bind = {.pairs = pairs, .count = 3};

	open_with("undo", WORLD_A, (struct pasid_set_create_args){.name = "undo"});
	pairs[0] = pair_of(add_device(4), PASID_TABLE_SPACE, 0);
	pairs[1] = pair_of(add_device(5), PASID_TABLE_SPACE, 0); /* the same group */
	pairs[2] = pair_of(add_slice(ADDRESS_SHARED), PASID_TABLE_SPACE, 0);
	bind.pasid.value = allocate();
	record_action(SCRIPT_FAIL, 0, HW_ATTACH - HW_IDENTIFY, 1, 1, 0);
	NOT(pasid_bind(c, &bind, NULL, NULL));
	record_hardware(false);
	DONE(pasid_bind_async(c, &bind, on_result, NULL));
	DONE(pasid_ping(c)); /* it was read, and so was what came before */
	step_hardware(0);
	step_hardware(HW_ATTACH);
	step_hardware(HW_DETACH);
	record_hardware(true);
	settle();
	NOT(pasid_bind(c, &bind, NULL, NULL));
	pairs[1].table.id = 3;
	NOT(pasid_bind(c, &bind, NULL, NULL));
	DONE(pasid_unbind(c, &(struct pasid_unbind_args){.pasid = bind.pasid}));
	free_number(bind.pasid.value);
	close_all();
}

static void scene_refused(void)
{
	struct pasid_pair pair;
	struct pasid_bind_args bind = {.pairs = &pair, .count = 1};
	uint64_t device, slice;

	open_with("refused", WORLD_B, (struct pasid_set_create_args){.name = "refused"});
	device = add_device(4);
	slice = add_slice(ADDRESS_SHARED);
	bind.pasid.value = allocate();
	pair = pair_of(slice, PASID_TABLE_HWPT, 3);
	NOT(pasid_bind(c, &bind, NULL, NULL));
	NOT(pasid_rid_attach(c, &(struct pasid_rid_args){.pair = pair}, NULL));
	pair = pair_of(device, PASID_TABLE_SPACE, 99);
	NOT(pasid_bind(c, &bind, NULL, NULL));
	pair = pair_of(77, PASID_TABLE_SPACE, 0);
	NOT(pasid_bind(c, &bind, NULL, NULL));
	pair = pair_of(device, PASID_TABLE_SPACE, 0);
	DONE(pasid_rid_attach(c, &(struct pasid_rid_args){.pair = pair}, NULL));
	NOT(pasid_rid_attach(c, &(struct pasid_rid_args){.pair = pair}, NULL));
	NOT(pasid_unbind(c, &(struct pasid_unbind_args){.pasid = bind.pasid}));
	/* each waits for the one before, and finds what that left */
	DONE(pasid_bind_async(c, &bind, on_result, NULL));
	DONE(pasid_unbind_async(
		c, &(struct pasid_unbind_args){.pasid = bind.pasid}, on_result, NULL));
	DONE(pasid_rid_detach_async(
		c, &(struct pasid_device_ref){.device = device}, on_result, NULL));
	DONE(pasid_device_remove_async(
		c, &(struct pasid_device_ref){.device = device}, on_result, NULL));
	DONE(pasid_bind_async(c, &bind, on_result, NULL));
	DONE(pasid_memory_unmap_async(
		c, &(struct pasid_memory_args){.device = device, .length = 4096}, on_result, NULL));
	settle();
	close_all();
}

static void scene_arguments(void)
{
	struct pasid_memory_args memory = {.space = 99, .length = 4096};
	uint32_t numbers[64];
	uint64_t device;

	open_with("arguments", WORLD_A,
		(struct pasid_set_create_args){.name = "arguments", .has_quota = true, .quota = 0});
	device = memory.device = add_device(3);
	NOT(pasid_set_create(c, &(struct pasid_set_create_args){.name = "second"}, NULL));
	NOT(pasid_allocate(c, &(struct pasid_allocate_args){.min = 9, .max = 3}, numbers));
	NOT(pasid_allocate(c, &(struct pasid_allocate_args){.max = 3}, numbers));
	NOT(pasid_allocate(
		c, &(struct pasid_allocate_args){.count = 3, .consecutive = true}, numbers));
	NOT(pasid_allocate(
		c, &(struct pasid_allocate_args){.count = 64, .min = 16, .max = 40}, numbers));
	DONE(pasid_allocate(c,
		&(struct pasid_allocate_args){
			.has_guest = true, .guest_pasid = 4, .devices = &device, .device_count = 1},
		numbers));
	NOT(pasid_allocate(
		c, &(struct pasid_allocate_args){.has_guest = true, .guest_pasid = 4}, numbers));
	NOT(pasid_allocate(c,
		&(struct pasid_allocate_args){.has_guest = true, .guest_pasid = 1u << 20},
		numbers));
	NOT(pasid_guest_attach(
		c, &(struct pasid_guest_args){.guest_pasid = 5, .host_pasid = numbers[0]}));
	NOT(pasid_guest_attach(
		c, &(struct pasid_guest_args){.guest_pasid = 5, .host_pasid = 1u << 24}));
	free_number(numbers[0]);
	NOT(pasid_data_set(c, &(struct pasid_data_args){.pasid.value = numbers[0]}));
	NOT(pasid_memory_unmap(c, &memory));
	memory.space = 0;
	memory.iova = UINT64_MAX - 4095;
	memory.length = 8192;
	NOT(pasid_memory_unmap(c, &memory));
	memory.iova = 0;
	memory.memfd = record_fd(WORLD_FD_MEMFD, 0);
	record_action(SCRIPT_FAIL, 0, HW_MAP - HW_IDENTIFY, 1, 0, 0);
	NOT(pasid_memory_map(c, &memory));
	close_all();
}

static void scene_modes(void)
{
	uint32_t numbers[8];

	record_begin("modes", true);
	c = record_client(WORLD_A, PASID_ROLE_VMM);
	NOT(pasid_set_create(c, &(struct pasid_set_create_args){.name = "b a d"}, NULL));
	NOT(pasid_set_create(c,
		&(struct pasid_set_create_args){.name = "q", .has_quota = true, .quota = 33},
		NULL));
	DONE(pasid_set_create(c,
		&(struct pasid_set_create_args){.name = "owned", .mode = PASID_SET_GUEST_OWNED},
		NULL));
	NOT(pasid_allocate(c, &(struct pasid_allocate_args){0}, numbers));
	DONE(pasid_set_destroy(c, &(struct pasid_set_destroy_args){0}));
	DONE(pasid_set_create(c,
		&(struct pasid_set_create_args){.name = "same", .mode = PASID_SET_IDENTITY}, NULL));
	DONE(pasid_allocate(
		c, &(struct pasid_allocate_args){.count = 8, .consecutive = true}, numbers));
	NOT(pasid_guest_detach(c, &(struct pasid_guest_args){.guest_pasid = numbers[0]}));
	free_number(numbers[0]);
	close_all();
}

/* Numbers that rest for a shared device come back to their own set. */
static void scene_reuse(void)
{
	struct pasid_pair pair;
	struct pasid_bind_args bind = {.pairs = &pair, .count = 1};

	open_with("reuse", WORLD_B,
		(struct pasid_set_create_args){.name = "reuse", .has_quota = true, .quota = 2});
	pair = pair_of(add_slice(ADDRESS_SHARED), PASID_TABLE_SPACE, 0);
	for (unsigned i = 0; i < 5; i++) {
		bind.pasid.value = allocate();
		DONE(pasid_bind(c, &bind, NULL, NULL));
		DONE(pasid_unbind(c, &(struct pasid_unbind_args){.pasid = bind.pasid}));
		free_number(bind.pasid.value);
		record_action(SCRIPT_TIME, 0, 150, 0, 0, 0);
	}
	bind.pasid.value = allocate();
	DONE(pasid_bind(c, &bind, NULL, NULL));
	DONE(pasid_unbind(c, &(struct pasid_unbind_args){.pasid = bind.pasid}));
	DONE(pasid_bind(c, &bind, NULL, NULL));
	NOT(pasid_device_slice(
		c, &(struct pasid_device_slice_args){.address = ADDRESS_NARROW}, NULL));
	close_all();
}

/* A set that is handed: its VMM goes while the hardware is late, and an admin will not wait. */
static void scene_emptied(void)
{
	struct pasid_set_ref set = {.name = "emptied"};
	struct pasid_options options = {.has_fd = true, .timeout_ms = 10000};
	struct pasid_client *admin;
	struct pasid_error error;
	struct pasid_pair pair;
	struct pasid_bind_args bind = {.pairs = &pair, .count = 1};

	record_begin("emptied", false);
	c = admin = record_client(WORLD_ADMIN, PASID_ROLE_ADMIN);
	NOT(pasid_set_connect(c, &set, NULL, &options.fd));
	DONE(pasid_set_create(c, &(struct pasid_set_create_args){.name = "emptied"}, NULL));
	DONE(pasid_set_connect(c, &set, NULL, &options.fd));
	if (pasid_open(&options, &c, &error))
		errx(1, "%s", error.message);
	pair = pair_of(add_slice(ADDRESS_SHARED), PASID_TABLE_SPACE, 0);
	bind.pasid.value = allocate();
	DONE(pasid_bind(c, &bind, NULL, NULL));
	record_hardware(false);
	record_action(SCRIPT_DISCONNECT, WORLD_HANDED, 0, 0, 0, 0);
	pasid_close(c);
	c = admin;
	NOT(pasid_set_connect(c, &set, NULL, &options.fd));
	NOT(pasid_allocate(c, &(struct pasid_allocate_args){.set = set}, &bind.pasid.value));
	DONE(pasid_set_destroy_async(
		c, &(struct pasid_set_destroy_args){.set = set, .force = true}, on_result, NULL));
	record_hardware(true);
	settle();
	close_all();
}

/* An admin destroys the set of a connection that is in use. */
static void scene_taken(void)
{
	struct pasid_set_ref set = {.name = "taken"};
	struct pasid_options options = {.has_fd = true, .timeout_ms = 10000};
	struct pasid_client *admin;
	struct pasid_error error;

	record_begin("taken", false);
	c = admin = record_client(WORLD_ADMIN, PASID_ROLE_ADMIN);
	DONE(pasid_set_create(c, &(struct pasid_set_create_args){.name = "taken"}, NULL));
	DONE(pasid_set_connect(c, &set, NULL, &options.fd));
	if (pasid_open(&options, &c, &error))
		errx(1, "%s", error.message);
	(void)allocate();
	(void)add_slice(ADDRESS_SHARED);
	RECORD_DONE(admin, pasid_set_destroy(admin,
				   &(struct pasid_set_destroy_args){.set = set, .force = true}));
	(void)pasid_ping(c);
	pasid_close(c);
	c = admin;
	close_all();
}

void record_hard_scenes(void)
{
	scene_undo();
	scene_refused();
	scene_arguments();
	scene_modes();
	scene_reuse();
	scene_emptied();
	scene_taken();
}
