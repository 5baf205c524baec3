/* SPDX-License-Identifier: MIT */
/* A scene of guests' own tables, and of numbers that are in their way. */
#include "record.h"

static struct pasid_client *c;

#define DONE(call) RECORD_DONE(c, call)
#define NOT(call)  RECORD_NOT(c, call)

#define SMMU 7u /* a function behind an SMMUv3 */

static uint64_t add_device(unsigned iommufd, unsigned rid)
{
	struct pasid_device_add_args args = {.iommufd = record_fd(WORLD_FD_IOMMUFD, iommufd),
		.device = record_fd(WORLD_FD_DEVICE, rid)};
	struct pasid_device_info info;

	DONE(pasid_device_add(c, &args, &info, NULL));
	return info.id;
}

static struct pasid_stream_args entry_of(uint64_t device)
{
	return (struct pasid_stream_args){.device = device,
		.ste = {0x1000 | 5 << 1 | 1, 0x2a},
		.stream = 8,
		.parent_source = PASID_TABLE_SPACE,
		.parent = 1};
}

/* It had the function before, and has a number there still. */
static void keep_number(struct pasid_number *ret_number)
{
	const struct pasid_device_ref none = {.device = add_device(3, SMMU)};
	struct pasid_allocate_args args = {
		.devices = &none.device, .device_count = 1, .scope = PASID_SCOPE_RIDS};
	struct pasid_stream_args entry = entry_of(none.device);

	DONE(pasid_allocate(c, &args, &ret_number->value));
	NOT(pasid_stream_install(c, &entry, NULL)); /* its set has numbers */
	DONE(pasid_device_remove(c, &none));
}

static void have_entry(uint64_t device)
{
	const struct pasid_device_ref there = {.device = device};
	struct pasid_stream_args entry = entry_of(device);

	DONE(pasid_stream_install(c, &entry, NULL));
	NOT(pasid_stream_install(c, &entry, NULL));
	entry.ste[0] = 4 << 1 | 1;
	DONE(pasid_stream_replace(c, &entry, NULL));
	entry.stream = 9;
	NOT(pasid_stream_replace(c, &entry, NULL));
	NOT(pasid_device_remove(c, &there));
	DONE(pasid_stream_remove(c, &there));
	NOT(pasid_stream_remove(c, &there));
	entry.ste[0] |= UINT64_C(31) << 59;
	entry.ste[0] |= 5 << 1;
	NOT(pasid_stream_install(c, &entry, NULL));
	entry = entry_of(device);
	DONE(pasid_stream_install(c, &entry, NULL)); /* its VMM ends with it */
}

void record_streams(void)
{
	struct pasid_number number = {0};
	struct pasid_stream_args entry;
	uint64_t device, other;

	record_begin("streams", true);
	c = record_client(WORLD_A, PASID_ROLE_VMM);
	DONE(pasid_set_create(c, &(struct pasid_set_create_args){.name = "numbers"}, NULL));
	keep_number(&number);
	struct pasid_client *numbers = c;

	c = record_client(WORLD_B, PASID_ROLE_VMM);
	DONE(pasid_set_create(c,
		&(struct pasid_set_create_args){.name = "owned", .mode = PASID_SET_GUEST_OWNED},
		NULL));
	device = add_device(4, SMMU);
	other = add_device(4, 4); /* behind another kind of IOMMU */
	entry = entry_of(other);
	NOT(pasid_stream_install(c, &entry, NULL));
	entry = entry_of(device);
	NOT(pasid_stream_install(c, &entry, NULL)); /* until the number is free */
	RECORD_DONE(numbers,
		pasid_free(numbers, &(struct pasid_free_args){.pasids = &number, .count = 1}, NULL,
			NULL));
	record_action(SCRIPT_TIME, 0, 150, 0, 0, 0);
	have_entry(device);
	pasid_close(numbers);
	record_gone(WORLD_A);
	pasid_close(c);
	record_gone(WORLD_B);
	record_end();
}
