/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_OPENED "00:00.3" /* an exclusive function that the daemon may open */
#define ADDRESS_SHARED "00:00.2"
#define WAITED_MS      20

static struct pasid_client *c;

#define DONE(call) RECORD_DONE(c, call)
#define NOT(call)  RECORD_NOT(c, call)
#define HOST(n)    (&(struct pasid_host_args){.host_pasid = (n)})

static int each_set(const struct pasid_set_info *info, void *userdata)
{
	(void)info;
	(void)userdata;
	return 0;
}

static int each_grant(const struct pasid_grant_info *info, void *userdata)
{
	(void)info;
	(void)userdata;
	return 0;
}

static int each_device(const struct pasid_device_info *info, void *userdata)
{
	(void)info;
	(void)userdata;
	return 0;
}

static int each_binding(const struct pasid_binding_info *info, void *userdata)
{
	(void)info;
	(void)userdata;
	return 0;
}

static int each_hold(const struct pasid_hold_info *info, void *userdata)
{
	(void)info;
	(void)userdata;
	return 0;
}

static int each_limit(const struct pasid_limit_info *info, void *userdata)
{
	(void)info;
	(void)userdata;
	return 0;
}

static void on_result(
	struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	(void)client;
	(void)userdata;
	if (result->fd >= 0)
		errx(1, "a descriptor that nobody asked for");
}

static void on_event(struct pasid_client *client, const struct pasid_event *event, void *userdata)
{
	(void)client;
	(void)event;
	(void)userdata;
}

static void settle(void)
{
	while (pasid_outstanding(c) && pasid_dispatch(c, 1000) >= 0)
		continue;
}

static void make_set(const char *name)
{
	DONE(pasid_set_create(c, &(struct pasid_set_create_args){.name = name}, NULL));
}

static uint32_t allocate(void)
{
	uint32_t number;

	DONE(pasid_allocate(c, &(struct pasid_allocate_args){.count = 1}, &number));
	return number;
}

static uint64_t add_device(unsigned rid)
{
	struct pasid_device_add_args args = {.iommufd = record_fd(WORLD_FD_IOMMUFD, 3),
		.device = record_fd(WORLD_FD_DEVICE, rid)};
	struct pasid_device_info info;

	DONE(pasid_device_add(c, &args, &info, NULL));
	return info.id;
}

static uint64_t add_slice(void)
{
	struct pasid_device_slice_args args = {.address = ADDRESS_SHARED};
	struct pasid_device_info info;

	DONE(pasid_device_slice(c, &args, &info));
	return info.id;
}

static struct pasid_pair space_of(uint64_t device)
{
	return (struct pasid_pair){.device = device, .table = {.source = PASID_TABLE_SPACE}};
}

/* ---------------------------------------------------------------- scenes */

static void scene_session(void)
{
	struct pasid_host_status status;
	struct pasid_list_args all = {.quarantined = true};

	record_begin("session", true);
	c = record_client(WORLD_A, PASID_ROLE_VMM);
	DONE(pasid_ping(c));
	DONE(pasid_status(c, &status));
	DONE(pasid_watch(c, on_event, NULL));
	make_set("a");
	DONE(pasid_set_adjust(c, &(struct pasid_set_adjust_args){.quota = 20}, NULL));
	NOT(pasid_set_adjust(c, &(struct pasid_set_adjust_args){.quota = 5000}, NULL));
	DONE(pasid_set_get(c, &(struct pasid_set_ref){.name = "a"}, NULL));
	NOT(pasid_set_get(c, &(struct pasid_set_ref){.name = "honest"}, NULL));
	NOT(pasid_set_create(c, &(struct pasid_set_create_args){.name = "honest"}, NULL));
	DONE(pasid_set_list(c, &all, each_set, NULL));
	DONE(pasid_limit_list(c, &all, each_limit, NULL));
	(void)allocate();
	NOT(pasid_set_destroy(c, &(struct pasid_set_destroy_args){0}));
	DONE(pasid_set_destroy(c, &(struct pasid_set_destroy_args){.force = true}));
	(void)pasid_dispatch(c, WAITED_MS);
	DONE(pasid_watch(c, NULL, NULL));
	pasid_close(c);
	record_end();
}

static void scene_numbers(void)
{
	struct pasid_list_args all = {.quarantined = true};
	struct pasid_grant_info info;
	uint32_t numbers[8], number, freed;
	struct pasid_number refs[2] = {{true, 7}, {false, 0}};
	struct pasid_map *map;

	record_begin("numbers", true);
	c = record_client(WORLD_A, PASID_ROLE_VMM);
	make_set("a");
	DONE(pasid_allocate(c,
		&(struct pasid_allocate_args){.has_guest = true, .guest_pasid = 7, .data = 99},
		&number));
	DONE(pasid_allocate(c,
		&(struct pasid_allocate_args){
			.count = 8, .consecutive = true, .min = 32, .max = 63},
		numbers));
	NOT(pasid_allocate(c, &(struct pasid_allocate_args){.count = 64}, numbers));
	DONE(pasid_guest_attach(
		c, &(struct pasid_guest_args){.guest_pasid = 9, .host_pasid = numbers[0]}));
	NOT(pasid_guest_attach(
		c, &(struct pasid_guest_args){.guest_pasid = 9, .host_pasid = numbers[1]}));
	DONE(pasid_guest_find(c, &(struct pasid_guest_args){.guest_pasid = 9}, &number));
	NOT(pasid_map_open(c, NULL, &map)); /* what comes here is no memory */
	DONE(pasid_guest_detach(c, &(struct pasid_guest_args){.guest_pasid = 9}));
	DONE(pasid_data_set(c, &(struct pasid_data_args){.pasid = refs[0], .data = 5}));
	DONE(pasid_host_find(c, HOST(numbers[2]), &info));
	NOT(pasid_host_find(c, HOST(17), &info));
	DONE(pasid_grant_list(c, &all, each_grant, NULL));
	refs[1].value = numbers[3];
	DONE(pasid_free(c, &(struct pasid_free_args){.pasids = refs, .count = 2}, &freed, NULL));
	DONE(pasid_free(
		c, &(struct pasid_free_args){.pasids = &refs[1], .count = 1}, &freed, NULL));
	DONE(pasid_free(c, &(struct pasid_free_args){.all = true}, &freed, NULL));
	DONE(pasid_grant_list(c, &all, each_grant, NULL));
	record_action(SCRIPT_TIME, 0, 150, 0, 0, 0);
	(void)allocate();
	pasid_close(c);
	record_end();
}

static void memory_of(uint64_t device)
{
	struct pasid_memory_args memory = {.device = device,
		.iova = 0x10000,
		.length = 0x4000,
		.writeable = true,
		.memfd = record_fd(WORLD_FD_MEMFD, 0)};

	DONE(pasid_memory_map(c, &memory));
	DONE(pasid_memory_unmap(c, &memory));
	memory.length = 5;
	NOT(pasid_memory_map(c, &memory));
}

static void scene_bindings(void)
{
	struct pasid_list_args all = {.quarantined = true};
	uint64_t device, slice;
	uint32_t number;
	struct pasid_pair pairs[2];
	struct pasid_bind_args bind = {.pairs = pairs, .count = 2};

	record_begin("bindings", true);
	c = record_client(WORLD_B, PASID_ROLE_VMM);
	make_set("b");
	DONE(pasid_watch(c, on_event, NULL));
	device = add_device(4);
	slice = add_slice();
	memory_of(slice);
	number = allocate();
	pairs[0] = space_of(device);
	pairs[1] = space_of(slice);
	bind.pasid.value = number;
	DONE(pasid_bind(c, &bind, NULL, NULL));
	NOT(pasid_bind(c, &bind, NULL, NULL));
	DONE(pasid_replace(
		c, &(struct pasid_replace_args){.pasid = bind.pasid, .pair = pairs[0]}, NULL));
	NOT(pasid_replace(c, &(struct pasid_replace_args){.rid = true, .pair = pairs[0]}, NULL));
	DONE(pasid_binding_list(c, &all, each_binding, NULL));
	DONE(pasid_device_list(c, &all, each_device, NULL));
	DONE(pasid_unbind(c,
		&(struct pasid_unbind_args){.pasid = bind.pasid, .devices = &slice, .count = 1}));
	NOT(pasid_device_remove(c, &(struct pasid_device_ref){.device = device}));
	DONE(pasid_free(
		c, &(struct pasid_free_args){.pasids = &bind.pasid, .count = 1}, NULL, NULL));
	DONE(pasid_unbind(c, &(struct pasid_unbind_args){.pasid = bind.pasid}));
	DONE(pasid_rid_attach(c, &(struct pasid_rid_args){.pair = pairs[0]}, NULL));
	DONE(pasid_rid_detach(c, &(struct pasid_device_ref){.device = device}));
	DONE(pasid_device_remove(c, &(struct pasid_device_ref){.device = device}));
	DONE(pasid_device_remove(c, &(struct pasid_device_ref){.device = slice}));
	(void)pasid_dispatch(c, WAITED_MS);
	pasid_close(c);
	record_end();
}

static void scene_tables(void)
{
	struct pasid_device_add_args open = {
		.iommufd = record_fd(WORLD_FD_IOMMUFD, 4), .address = ADDRESS_OPENED};
	struct pasid_device_info info;
	struct pasid_pair pair = {0};
	struct pasid_bind_args bind = {.pairs = &pair, .count = 1};
	static const struct pasid_table tables[] = {
		{.source = PASID_TABLE_HWPT, .id = 7},
		{.source = PASID_TABLE_IOAS, .id = 8},
		{.source = PASID_TABLE_SPACE, .id = 1},
		{.source = PASID_TABLE_GUEST, .address = 0x5000, .width = 48, .parent = 9},
		{.source = PASID_TABLE_GUEST,
			.address = 0x5000,
			.width = 57,
			.parent_is_space = true},
	};
	int fd;

	record_begin("tables", true);
	c = record_client(WORLD_A, PASID_ROLE_VMM);
	DONE(pasid_set_create(
		c, &(struct pasid_set_create_args){.name = "i", .mode = PASID_SET_IDENTITY}, NULL));
	open.iommufd = record_fd(WORLD_FD_IOMMUFD, 4);
	DONE(pasid_device_add(c, &open, &info, &fd));
	pair.device = info.id;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		pair.table = tables[i];
		bind.pasid.value = allocate();
		(void)pasid_bind(c, &bind, NULL, NULL);
	}
	NOT(pasid_device_add(c, &open, &info, &fd));
	open.iommufd = record_fd(WORLD_FD_JUNK, 0);
	open.address = "00:00.7";
	NOT(pasid_device_add(c, &open, &info, &fd));
	open.address = ADDRESS_SHARED;
	NOT(pasid_device_add(c, &open, &info, &fd));
	DONE(pasid_set_destroy(c, &(struct pasid_set_destroy_args){.force = true}));
	pasid_close(c);
	record_end();
}

static void scene_admin(void)
{
	struct pasid_list_args all = {.quarantined = true}, one = {.limit = 1};
	struct pasid_set_ref set = {.name = "admins"};
	struct pasid_host_status status;
	struct pasid_device_info info;
	uint32_t number, released;
	struct pasid_acknowledge_args numbers = {.host_pasids = &number, .count = 1};
	struct pasid_hold_args held;
	struct pasid_watch_args watch = {
		.from = 1, .set = set, .kinds = 6, .priority = PASID_EVENT_PRIORITY_CPU};
	struct pasid_pair pair;

	record_begin("admin", false);
	c = record_client(WORLD_ADMIN, PASID_ROLE_ADMIN);
	DONE(pasid_watch(c, on_event, NULL));
	DONE(pasid_device_share(c, "00:00.6", &info));
	NOT(pasid_device_share(c, "00:00.6", &info));
	make_set("admins");
	DONE(pasid_set_adjust(c, &(struct pasid_set_adjust_args){.set = set, .quota = 9}, NULL));
	DONE(pasid_device_slice(
		c, &(struct pasid_device_slice_args){.set = set, .device = info.id}, &info));
	pair = space_of(info.id);
	DONE(pasid_allocate(c,
		&(struct pasid_allocate_args){.set = set, .devices = &info.id, .device_count = 1},
		&number));
	DONE(pasid_bind(c,
		&(struct pasid_bind_args){
			.set = set, .pasid.value = number, .pairs = &pair, .count = 1},
		NULL, NULL));
	held = (struct pasid_hold_args){.set = set, .host_pasid = number};
	DONE(pasid_hold(c, &held));
	DONE(pasid_hold_list(c, &all, each_hold, NULL));
	DONE(pasid_release(c, &held));
	NOT(pasid_release(c, &held));
	DONE(pasid_watch_events(c, &watch, on_event, NULL));
	NOT(pasid_acknowledge(c, &numbers, NULL));
	DONE(pasid_set_list(c, &one, each_set, NULL));
	DONE(pasid_limit_list(c, &all, each_limit, NULL));
	DONE(pasid_set_destroy(c, &(struct pasid_set_destroy_args){.set = set, .force = true}));
	DONE(pasid_grant_list(c, &all, each_grant, NULL));
	NOT(pasid_quarantine_end(c, HOST(40)));
	NOT(pasid_device_remove(c, &(struct pasid_device_ref){.device = info.shared}));
	DONE(pasid_device_drained(c, info.shared, &released));
	DONE(pasid_quarantine_end(c, HOST(number)));
	DONE(pasid_device_remove(c, &(struct pasid_device_ref){.device = info.shared}));
	DONE(pasid_status(c, &status));
	pasid_close(c);
	record_end();
}

/* An admin confirms, twice, what nobody doubts; nobody else may. */
static void scene_recover(void)
{
	struct pasid_client *admin;
	uint32_t number;
	bool was_blocked;

	record_begin("recover", true);
	admin = record_client(WORLD_ADMIN, PASID_ROLE_ADMIN);
	c = record_client(WORLD_A, PASID_ROLE_VMM);
	make_set("a");
	NOT(pasid_recover_confirm(c, NULL));
	DONE(pasid_recover_confirm(admin, &was_blocked));
	DONE(pasid_recover_confirm(admin, &was_blocked));
	DONE(pasid_allocate(c, &(struct pasid_allocate_args){.count = 1}, &number));
	pasid_close(c);
	pasid_close(admin);
	record_end();
}

static void scene_observer(void)
{
	struct pasid_list_args all = {.quarantined = true};
	struct pasid_host_status status;
	struct pasid_grant_info info;

	record_begin("observer", true);
	c = record_client(WORLD_ADMIN, PASID_ROLE_OBSERVER);
	DONE(pasid_watch(c, on_event, NULL));
	DONE(pasid_status(c, &status));
	DONE(pasid_set_list(c, &all, each_set, NULL));
	DONE(pasid_grant_list(c, &all, each_grant, NULL));
	DONE(pasid_device_list(c, &all, each_device, NULL));
	DONE(pasid_binding_list(c, &all, each_binding, NULL));
	DONE(pasid_limit_list(c, &all, each_limit, NULL));
	DONE(pasid_host_find(c, HOST(18), &info));
	NOT(pasid_set_create(c, &(struct pasid_set_create_args){.name = "o"}, NULL));
	record_action(SCRIPT_HONEST, 0, 0, 0, 0, 0);
	(void)pasid_dispatch(c, WAITED_MS);
	pasid_close(c);
	record_end();
}

/* An admin makes a set and its connection, over which the VMM does its business. */
static void scene_handed(void)
{
	struct pasid_set_ref set = {.name = "handed"};
	struct pasid_client *admin;
	struct pasid_options options = {.has_fd = true, .timeout_ms = 10000};
	struct pasid_error error;
	uint64_t slice;

	record_begin("handed", true);
	c = admin = record_client(WORLD_ADMIN, PASID_ROLE_ADMIN);
	make_set("handed");
	DONE(pasid_set_connect(c, &set, NULL, &options.fd));
	NOT(pasid_set_connect(c, &set, NULL, &options.fd));
	if (pasid_open(&options, &c, &error))
		errx(1, "%s", error.message);
	slice = add_slice();
	(void)allocate();
	DONE(pasid_set_get(c, &(struct pasid_set_ref){0}, NULL));
	NOT(pasid_set_create(c, &(struct pasid_set_create_args){.name = "own"}, NULL));
	memory_of(slice);
	pasid_close(c);
	(void)pasid_dispatch(admin, WAITED_MS);
	c = admin;
	DONE(pasid_set_get(c, &set, NULL));
	pasid_close(c);
	record_end();
}

/* Everything in as few datagrams as it takes. */
static void scene_batch(void)
{
	struct pasid_list_args all = {.quarantined = true};
	struct pasid_pair pair = {.table.source = PASID_TABLE_SPACE};
	struct pasid_bind_args bind = {.pasid = {true, 3}, .pairs = &pair, .count = 1};

	record_begin("batch", true);
	c = record_client(WORLD_A, PASID_ROLE_VMM);
	DONE(pasid_set_create_async(
		c, &(struct pasid_set_create_args){.name = "batch"}, on_result, NULL));
	settle();
	pair.device = add_slice();
	for (uint32_t guest = 1; guest < 6; guest++)
		DONE(pasid_allocate_async(c,
			&(struct pasid_allocate_args){.has_guest = true, .guest_pasid = guest},
			on_result, NULL));
	DONE(pasid_bind_async(c, &bind, on_result, NULL));
	DONE(pasid_unbind_async(
		c, &(struct pasid_unbind_args){.pasid = bind.pasid}, on_result, NULL));
	DONE(pasid_bind_async(c, &bind, on_result, NULL));
	DONE(pasid_data_set_async(
		c, &(struct pasid_data_args){.pasid = bind.pasid, .data = 1}, on_result, NULL));
	DONE(pasid_grant_list_async(c, &all, on_result, NULL));
	DONE(pasid_binding_list_async(c, &all, on_result, NULL));
	DONE(pasid_free_async(
		c, &(struct pasid_free_args){.pasids = &bind.pasid, .count = 1}, on_result, NULL));
	DONE(pasid_unbind_async(
		c, &(struct pasid_unbind_args){.pasid = bind.pasid}, on_result, NULL));
	DONE(pasid_ping_async(c, on_result, NULL));
	DONE(pasid_status_async(c, on_result, NULL));
	settle();
	pasid_close(c);
	record_end();
}

/* The hardware is late and fails; the client waits for less, asks again, and goes away. */
static void scene_late(void)
{
	const struct pasid_result *result;
	struct pasid_pair pair = {.table.source = PASID_TABLE_SPACE};
	struct pasid_bind_args bind = {.pairs = &pair, .count = 1};
	uint64_t id;

	record_begin("late", true);
	c = record_client(WORLD_B, PASID_ROLE_VMM);
	make_set("late");
	pair.device = add_device(4);
	bind.pasid.value = allocate();
	record_hardware(false);
	DONE(pasid_set_timeout(c, 0));
	NOT(pasid_bind(c, &bind, NULL, NULL));
	id = pasid_last_error(c)->object;
	NOT(pasid_again(c, id, &result));
	record_action(SCRIPT_STEP, 0, 4, 0, 0, 0);
	DONE(pasid_set_timeout(c, 10000));
	DONE(pasid_again(c, id, &result));
	record_hardware(true);
	record_action(SCRIPT_FAIL, 0, HW_DETACH - HW_IDENTIFY, 1, 0, 0);
	NOT(pasid_unbind(c, &(struct pasid_unbind_args){.pasid = bind.pasid}));
	DONE(pasid_free(
		c, &(struct pasid_free_args){.pasids = &bind.pasid, .count = 1}, NULL, NULL));
	record_action(SCRIPT_LOSE, 0, 0, 0, 0, 0);
	(void)pasid_device_remove(c, &(struct pasid_device_ref){.device = pair.device});
	record_action(SCRIPT_REFUSE, 0, 1, 0, 0, 0);
	bind.pasid.value = allocate();
	pair.device = add_slice();
	NOT(pasid_bind(c, &bind, NULL, NULL));
	record_action(SCRIPT_REFUSE, 0, 0, 0, 0, 0);
	pasid_close(c);
	record_end();
}

/* The connection is lost and taken up again by another one of the same user. */
static void scene_resume(void)
{
	record_begin("resume", true);
	c = record_client(WORLD_A, PASID_ROLE_VMM);
	make_set("resumed");
	(void)allocate();
	record_expect(WORLD_A2);
	record_action(SCRIPT_DISCONNECT, WORLD_A, 0, 0, 0, 0);
	(void)allocate();
	DONE(pasid_set_get(c, &(struct pasid_set_ref){0}, NULL));
	pasid_close(c);
	record_gone(WORLD_A2);
	record_action(SCRIPT_TIME, 0, 255, 3, 0, 0);
	c = record_client(WORLD_A2, PASID_ROLE_VMM);
	make_set("resumed");
	record_action(SCRIPT_SHUT_DOWN, 0, 0, 0, 0, 0);
	NOT(pasid_ping(c));
	pasid_close(c);
	record_end();
}

/* One process hands its session over, and another one of the same user goes on. */
static void scene_hand_over(void)
{
	struct pasid_hand_over over;
	struct pasid_client *old;
	int fd = -1;

	record_begin("hand-over", true);
	c = old = record_client(WORLD_A, PASID_ROLE_VMM);
	make_set("handing");
	(void)allocate();
	DONE(pasid_hand_over(c, &over, &fd));
	DONE(pasid_hand_over_cancel(c));
	DONE(pasid_hand_over(c, &over, &fd));
	c = record_taking(WORLD_A2, &over);
	(void)allocate();
	NOT(pasid_ping(old));
	if (strcmp(pasid_last_error(old)->reason, "handed-over") != 0)
		errx(1, "%s", pasid_last_error(old)->message);
	pasid_close(old);
	DONE(pasid_set_get(c, &(struct pasid_set_ref){0}, NULL));
	pasid_close(c);
	record_end();
}

void record_scenes(void)
{
	scene_session();
	scene_numbers();
	scene_bindings();
	scene_tables();
	scene_admin();
	scene_recover();
	scene_observer();
	scene_handed();
	scene_batch();
	scene_late();
	scene_resume();
	scene_hand_over();
}
