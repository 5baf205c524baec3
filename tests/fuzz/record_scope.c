/* SPDX-License-Identifier: MIT */
/* Scenes of numbers that are a set's on some devices only, and may be another set's on others. */
#include "record.h"

static struct pasid_client *c;

#define DONE(call) RECORD_DONE(c, call)
#define NOT(call)  RECORD_NOT(c, call)

#define NUMBER 40u /* everybody's, on devices of their own */

static struct pasid_client *open_set(enum world_slot slot, const char *name)
{
	c = record_client(slot, PASID_ROLE_VMM);
	DONE(pasid_set_create(c, &(struct pasid_set_create_args){.name = name}, NULL));
	return c;
}

static uint64_t add_device(unsigned iommufd, unsigned rid)
{
	struct pasid_device_add_args args = {.iommufd = record_fd(WORLD_FD_IOMMUFD, iommufd),
		.device = record_fd(WORLD_FD_DEVICE, rid)};
	struct pasid_device_info info;

	DONE(pasid_device_add(c, &args, &info, NULL));
	return info.id;
}

static uint64_t add_slice(void)
{
	struct pasid_device_slice_args args = {.address = "00:00.2"};
	struct pasid_device_info info;

	DONE(pasid_device_slice(c, &args, &info));
	return info.id;
}

static struct pasid_allocate_args number_on(const uint64_t *device)
{
	return (struct pasid_allocate_args){.min = NUMBER,
		.max = NUMBER,
		.devices = device,
		.device_count = 1,
		.scope = PASID_SCOPE_RIDS};
}

static int extend_to(const uint64_t *devices, size_t count)
{
	const struct pasid_extend_args args = {
		.pasid = {false, NUMBER}, .devices = devices, .device_count = count};
	uint32_t added;

	return pasid_extend(c, &args, &added);
}

/* The first has the number on a device of its own, then on the shared one, too. */
static void have_first(uint64_t *devices)
{
	struct pasid_allocate_args args = number_on(&devices[0]);
	uint32_t numbers[4];
	struct pasid_pair pair = {.table.source = PASID_TABLE_SPACE};
	struct pasid_bind_args bind = {.pasid = {false, NUMBER}, .pairs = &pair, .count = 1};

	devices[0] = add_device(3, 4);
	devices[1] = add_slice();
	DONE(pasid_allocate(c, &args, numbers));
	NOT(pasid_allocate(c, &args, numbers)); /* it has it */
	pair.device = devices[1];
	NOT(pasid_bind(c, &bind, NULL, NULL));
	DONE(extend_to(devices, 2));
	DONE(extend_to(devices, 2));
	DONE(pasid_bind(c, &bind, NULL, NULL));
	args = (struct pasid_allocate_args){.count = 4,
		.consecutive = true,
		.devices = devices,
		.device_count = 2,
		.scope = PASID_SCOPE_RIDS};
	DONE(pasid_allocate(c, &args, numbers));
	args.device_count = 0;
	NOT(pasid_allocate(c, &args, numbers)); /* on which devices? */
}

/* The second has it elsewhere, and not where the first has it. */
static void have_second(uint64_t *devices)
{
	struct pasid_allocate_args args = number_on(&devices[1]);
	uint32_t number;

	devices[0] = add_device(4, 3);
	devices[1] = add_slice();
	NOT(pasid_allocate(c, &args, &number));
	args.devices = &devices[0];
	DONE(pasid_allocate(c, &args, &number));
	NOT(extend_to(&devices[1], 1));
	args = (struct pasid_allocate_args){.min = NUMBER, .max = NUMBER};
	NOT(pasid_allocate(c, &args, &number)); /* nobody's anywhere */
	args = (struct pasid_allocate_args){.min = NUMBER + 9, .max = NUMBER + 9};
	DONE(pasid_allocate(c, &args, &number));
	args = number_on(&devices[0]);
	args.min = args.max = NUMBER + 9;
	NOT(pasid_allocate(c, &args, &number)); /* is one of scope global */
}

static void ask(struct pasid_client *admin)
{
	struct pasid_host_args host = {.host_pasid = NUMBER};
	struct pasid_grant_info info;

	c = admin;
	NOT(pasid_host_find(c, &host, &info));
	NOT(pasid_quarantine_end(c, &host));
	host.set.name = "first";
	DONE(pasid_host_find(c, &host, &info));
	NOT(pasid_quarantine_end(c, &host));
	host.set.name = "second";
	DONE(pasid_host_find(c, &host, &info));
	host.set.name = "third";
	NOT(pasid_host_find(c, &host, &info));
}

/* What the second freed may be had again there before the first frees anything. */
static void give_back(struct pasid_client *admin, struct pasid_client *second, uint64_t device)
{
	const struct pasid_number ref = {false, NUMBER};
	const struct pasid_host_args host = {.host_pasid = NUMBER, .set.name = "second"};
	const struct pasid_allocate_args args = number_on(&device);
	uint32_t number;

	c = second;
	DONE(pasid_free(c, &(struct pasid_free_args){.pasids = &ref, .count = 1}, NULL, NULL));
	NOT(pasid_allocate(c, &args, &number));
	c = admin;
	DONE(pasid_quarantine_end(c, &host));
	c = second;
	DONE(pasid_allocate(c, &args, &number));
}

void record_scopes(void)
{
	struct pasid_client *admin, *first, *second;
	uint64_t of_first[2], of_second[2];

	record_begin("scopes", true);
	c = admin = record_client(WORLD_ADMIN, PASID_ROLE_ADMIN);
	first = open_set(WORLD_A, "first");
	have_first(of_first);
	second = open_set(WORLD_B, "second");
	have_second(of_second);
	ask(admin);
	give_back(admin, second, of_second[0]);
	c = first;
	DONE(pasid_set_destroy(c, &(struct pasid_set_destroy_args){.force = true}));
	pasid_close(first);
	pasid_close(second);
	pasid_close(admin);
	record_end();
}
