/* SPDX-License-Identifier: MIT */
#include "hardware_rig.h"

#include "hw/sim_memory.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COOKIE 1
#define WIDTH  7u /* of PASIDs: tables that are soon looked through */

static const struct set_id own = {0};

/* ------------------------------------------------------------------ functions */

struct rid hardware_rid(enum hardware_kind kind, unsigned index)
{
	return (struct rid){(uint32_t)kind << 8 | (index + 1) << 3};
}

static uint32_t rid_group(struct rid rid)
{
	uint32_t kind = rid.v >> 8, index = (rid.v >> 3 & 0x1f) - 1;

	return 1 + kind * HARDWARE_MAX + (kind == HARDWARE_GROUPS ? index / 2 : index);
}

static struct sim_config functions(void)
{
	struct sim_config config = SIM_CONFIG_DEFAULT;

	config.iommu_width = WIDTH;
	for (unsigned kind = 0; kind < HARDWARE_KINDS; kind++) {
		for (unsigned i = 0; i < HARDWARE_MAX; i++) {
			struct rid rid = hardware_rid((enum hardware_kind)kind, i);

			config.devices[config.device_count++] = (struct sim_device_config){
				.rid = rid, .pasid_width = WIDTH, .group = rid_group(rid)};
		}
	}
	return config;
}

/* ------------------------------------------------------------------ the world */

static void vmm_open(struct hardware *h)
{
	const struct calls *calls = h->rig.calls;

	h->memfd = memfd_create("guest", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(h->memfd, RIG_MEMORY), 0);
	ck_assert_int_eq(calls->open_iommufd(h->rig.sim, &h->iommufd), 0);
	ck_assert_int_eq(calls->ioas_alloc(h->rig.sim, h->iommufd, &h->ioas), 0);
	ck_assert_int_eq(calls->map_file(h->rig.sim, h->iommufd, h->ioas, h->memfd, 0, RIG_MEMORY,
				 0, HW_MAP_WRITE),
		0);
}

static void vmm_close(struct hardware *h)
{
	h->rig.calls->close(h->rig.sim, h->iommufd);
	(void)close(h->memfd);
}

void hardware_vmm_again(struct hardware *h)
{
	vmm_close(h);
	ck_assert_int_eq(sim_reap(h->rig.sim), 0);
	vmm_open(h);
}

void hardware_set(struct hardware *h)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "vm%llu", (unsigned long long)h->vmm.session);
	h->vmm = fixture_vmm(
		&h->f, h->vmm.session + 10, name, h->smmuv3 ? SET_GUEST_OWNED : SET_TRANSLATED, 20);
}

static void hardware_open_on(struct hardware *h, bool smmuv3)
{
	struct sim_config config = functions();

	memset(h, 0, sizeof(*h));
	h->smmuv3 = config.smmuv3 = smmuv3;
	rig_open(&h->rig, &config);
	h->faulty.real = h->rig.calls;
	h->faulty.ctx = h->rig.sim;
	fixture_config(&h->f);
	h->f.config.reserved_last = 3;
	h->f.config.policy = BROKER_LOWEST; /* the number that was freed comes back */
	fixture_open(&h->f);
	vmm_open(h);
	hardware_set(h);
}

void hardware_open(struct hardware *h)
{
	hardware_open_on(h, false);
}

void hardware_open_smmuv3(struct hardware *h)
{
	hardware_open_on(h, true);
}

void hardware_close(struct hardware *h)
{
	for (unsigned i = 0; i < HARDWARE_LANES; i++)
		backend_free(h->lanes[i].backend);
	fixture_close(&h->f);
	vmm_close(h);
	rig_close(&h->rig);
}

int hardware_node(struct hardware *h, struct rid rid)
{
	int fd = -1;

	ck_assert_int_eq(h->rig.calls->open_device(h->rig.sim, rid, &fd), 0);
	return fd;
}

/* ------------------------------------------------------------------ the workers */

static struct hardware_lane *lane_of(struct hardware *h, uint64_t lane)
{
	struct hardware_lane *unused = NULL;

	for (unsigned i = 0; i < HARDWARE_LANES; i++) {
		if (h->lanes[i].backend && h->lanes[i].lane == lane)
			return &h->lanes[i];
		if (!h->lanes[i].backend)
			unused = &h->lanes[i];
	}
	ck_assert_ptr_nonnull(unused);
	unused->lane = lane;
	ck_assert_int_eq(backend_new(&faulty_calls, &h->faulty, &unused->backend), 0);
	return unused;
}

/* As the worker and the executor do: what came to nothing is closed, what is handed back copied.
 * The number of an iommufd is a key, because all are in one process. */
static void carry_out(struct hardware *h, struct hw_op op)
{
	struct hardware_lane *lane = lane_of(h, op.lane);
	struct hw_result result;

	op.until_ms = 0; /* what is busy is not tried again */
	backend_execute(lane->backend, &op, &result);
	for (uint32_t i = 0; i < result.fd_count; i++) {
		if (result.status)
			h->rig.calls->close(h->rig.sim, result.fds[i]);
		else
			result.fds[i] = fcntl(result.fds[i], F_DUPFD_CLOEXEC, 0);
	}
	if (result.status)
		result.fd_count = 0;
	if (op.kind == HW_END) {
		backend_free(lane->backend);
		lane->backend = NULL;
	}
	broker_complete(h->f.broker, &result);
}

void hardware_run(struct hardware *h)
{
	broker_flush(h->f.broker);
	while (h->f.model.count) {
		carry_out(h, model_take(&h->f.model, 0));
		broker_flush(h->f.broker);
	}
}

struct outcome hardware_outcome(struct hardware *h, uint64_t cookie)
{
	struct outcome outcome;

	hardware_run(h);
	while (broker_next_outcome(h->f.broker, &outcome)) {
		if (outcome.fd_count)
			h->rig.calls->close(h->rig.sim, outcome.fd);
		for (uint32_t i = 0; i < outcome.unused_count; i++)
			h->rig.calls->close(h->rig.sim, outcome.unused[i]);
		if (outcome.cookie == cookie)
			return outcome;
	}
	ck_abort_msg("there is no outcome %llu", (unsigned long long)cookie);
}

int hardware_result(struct hardware *h, int r)
{
	struct outcome outcome;

	if (r)
		return r;
	outcome = hardware_outcome(h, COOKIE);
	h->f.error = outcome.error;
	return outcome.status;
}

/* ------------------------------------------------------------------ requests */

static int added(struct hardware *h, int r, struct device_id *ret_device)
{
	struct outcome outcome;

	ck_assert_msg(r == 0, "%s", h->f.error.text);
	outcome = hardware_outcome(h, COOKIE);
	h->f.error = outcome.error;
	if (outcome.status == 0)
		*ret_device = outcome.device;
	return outcome.status;
}

int hardware_add(struct hardware *h, struct rid rid, int *ret_kept, struct device_id *ret_device)
{
	int fds[] = {fcntl(h->iommufd, F_DUPFD_CLOEXEC, 0), hardware_node(h, rid)};

	if (ret_kept)
		*ret_kept = fcntl(fds[1], F_DUPFD_CLOEXEC, 0);
	return added(h,
		broker_device_add(h->f.broker, &h->vmm, own, fds, 2, NULL, COOKIE, &h->f.error),
		ret_device);
}

int hardware_add_opened(struct hardware *h, struct rid rid, struct device_id *ret_device)
{
	int fd = fcntl(h->iommufd, F_DUPFD_CLOEXEC, 0);

	return added(h,
		broker_device_add(h->f.broker, &h->vmm, own, &fd, 1, &rid, COOKIE, &h->f.error),
		ret_device);
}

int hardware_share(struct hardware *h, struct rid rid, struct device_id *ret_device)
{
	return added(h, broker_device_share(h->f.broker, &h->f.admin, rid, COOKIE, &h->f.error),
		ret_device);
}

int hardware_remove(struct hardware *h, struct device_id device)
{
	return hardware_result(h,
		broker_device_remove(h->f.broker, &h->f.admin, own, device, COOKIE, &h->f.error));
}

static struct memory memory_of(struct device_id device, uint32_t space)
{
	return (struct memory){.device = device,
		.space = space,
		.iova = (uint64_t)space * RIG_MEMORY,
		.length = RIG_MEMORY,
		.writeable = true};
}

int hardware_map(struct hardware *h, struct device_id device, uint32_t space)
{
	const struct memory memory = memory_of(device, space);
	int fd = fcntl(h->memfd, F_DUPFD_CLOEXEC, 0);

	return hardware_result(
		h, broker_memory_map(h->f.broker, &h->vmm, &memory, fd, COOKIE, &h->f.error));
}

int hardware_unmap(struct hardware *h, struct device_id device, uint32_t space)
{
	const struct memory memory = memory_of(device, space);

	return hardware_result(
		h, broker_memory_unmap(h->f.broker, &h->vmm, &memory, COOKIE, &h->f.error));
}

int hardware_unbind(struct hardware *h, struct hpasid host)
{
	return hardware_result(
		h, broker_unbind(h->f.broker, &h->vmm, own, (struct pasid_ref){.number = host.v},
			   NULL, 0, COOKIE, &h->f.error));
}

struct device_id hardware_device(struct hardware *h, enum hardware_kind kind, unsigned index)
{
	struct rid rid = hardware_rid(kind, index);
	struct device_id device = {0};

	if (kind == HARDWARE_SHARED) {
		ck_assert_int_eq(hardware_share(h, rid, &device), 0);
		device = fixture_slice(&h->f, &h->vmm, rid.v);
	} else {
		ck_assert_int_eq(hardware_add(h, rid, NULL, &device), 0);
	}
	ck_assert_int_eq(hardware_map(h, device, 0), 0);
	return device;
}

/* ------------------------------------------------------------------ all of it as text */

struct text {
	char *at;
	size_t left;
};

__attribute__((format(printf, 2, 3))) static void tell(struct text *text, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->at, text->left, format, args);
	va_end(args);
	ck_assert_int_ge(n, 0);
	ck_assert_uint_lt((size_t)n, text->left);
	text->at += n;
	text->left -= (size_t)n;
}

static void tell_sets(struct hardware *h, struct text *text)
{
	struct set_info set;
	struct limit_info limit;
	uint64_t cursor = 0;

	while (broker_set_next(h->f.broker, &h->f.admin, &cursor, &set))
		tell(text,
			"a set: %u numbers, %u active, %u quarantined, %u devices, %u bindings%s\n",
			set.pasids.current, set.active, set.quarantined, set.devices, set.bindings,
			set.dying ? ", dying" : "");
	for (cursor = 0;
		broker_limit_next(h->f.broker, &h->f.admin, (struct set_id){0}, &cursor, &limit);)
		tell(text, "%s: %u of %u\n", resource_text(limit.resource), limit.account.current,
			limit.account.limit);
}

static void tell_grants(struct hardware *h, struct text *text)
{
	struct grant_info grant;
	uint64_t cursor = 0;

	while (broker_grant_next(
		h->f.broker, &h->f.admin, (struct set_id){0}, false, &cursor, &grant))
		tell(text, "PASID %u: state %d, %u holds, %u bindings, quarantine %u\n",
			grant.host.v, grant.state, grant.holds, grant.bindings, grant.quarantine);
}

static void tell_devices(struct hardware *h, struct text *text)
{
	struct device_info device;
	uint64_t cursor = 0;

	while (broker_device_next(h->f.broker, &h->f.admin, (struct set_id){0}, &cursor, &device))
		tell(text, "device %x: kind %d, state %d, group %u, %u bindings\n", device.rid.v,
			device.kind, device.state, device.group, device.bindings);
}

/* ------------------------------------------------------------------ what is attached */

#define ATTACHED_MAX 64

/* What records or tables say of it. */
struct attached {
	uint32_t rid, group, pasid; /* 0: the RID */
	int state, made;
};

struct attached_list {
	struct attached of[ATTACHED_MAX];
	unsigned count;
};

static void attached_put(struct attached_list *list, const struct attached *attached)
{
	ck_assert_uint_lt(list->count, ATTACHED_MAX);
	list->of[list->count++] = *attached;
}

static void attached_records(struct hardware *h, struct attached_list *list)
{
	struct binding_info binding;
	uint64_t cursor = 0;

	list->count = 0;
	while (broker_binding_next(h->f.broker, &h->f.admin, (struct set_id){0}, &cursor, &binding))
		attached_put(list, &(struct attached){
					   .rid = binding.rid.v,
					   .group = rid_group(binding.rid),
					   .pasid = binding.has_pasid ? binding.host.v : 0,
					   .state = (int)binding.state,
					   .made = binding.table.made,
				   });
}

static void attached_entries(struct hardware *h, struct attached_list *list)
{
	struct sim_entries entries;
	struct sim_entry entry;

	list->count = 0;
	ck_assert_int_eq(sim_entries_init(&entries, h->rig.sim), 0);
	while (sim_entries_next(&entries, &entry) > 0)
		attached_put(list,
			&(struct attached){.rid = entry.rid.v,
				.group = entry.group,
				.pasid = entry.is_smmuv3 ? entry.smmuv3.pasid : entry.at.pasid});
}

static const struct attached *attached_find(
	const struct attached_list *list, const struct attached *wanted)
{
	for (unsigned i = 0; i < list->count; i++)
		if (list->of[i].group == wanted->group && list->of[i].pasid == wanted->pasid)
			return &list->of[i];
	return NULL;
}

static void tell_attached(struct hardware *h, struct text *text)
{
	struct attached_list list;

	attached_records(h, &list);
	for (unsigned i = 0; i < list.count; i++)
		tell(text, "binding on %x: PASID %u, state %d, made %d\n", list.of[i].rid,
			list.of[i].pasid, list.of[i].state, list.of[i].made);
	attached_entries(h, &list);
	for (unsigned i = 0; i < list.count; i++)
		tell(text, "entry of %x: PASID %u\n", list.of[i].rid, list.of[i].pasid);
}

/* ------------------------------------------------------------------ the kernel's objects */

#define HARDWARE_OBJECTS 512u /* the simulator gives the lowest that is free */

static void tell_objects(struct hardware *h, struct text *text)
{
	struct sim *sim = h->rig.sim;

	for (uint32_t context = 0; context < SIM_CONTEXTS_MAX; context++) {
		unsigned count[OBJECT_VDEVICE + 1] = {0}, areas = 0;

		if (!sim->header->contexts[context])
			continue;
		for (uint32_t id = 1; id <= HARDWARE_OBJECTS; id++) {
			count[sim_object_at(sim, context, id)->type]++;
			areas += sim_areas(sim, context)[id - 1].ioas != 0;
		}
		if (count[OBJECT_NONE] == HARDWARE_OBJECTS)
			continue; /* one that is looked at later */
		tell(text, "iommufd: %u devices, %u address spaces, %u page tables, %u mappings\n",
			count[OBJECT_DEVICE], count[OBJECT_IOAS], count[OBJECT_HWPT], areas);
		tell(text, "of guests: %u IOMMUs with %u devices\n", count[OBJECT_VIOMMU],
			count[OBJECT_VDEVICE]);
	}
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* Which record has which place is nobody's business. */
static int text_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void text_sort(char text[HARDWARE_TEXT])
{
	char *lines[HARDWARE_LINES], copy[HARDWARE_TEXT], *rest = strcpy(copy, text);
	unsigned count = 0;

	for (char *line = strsep(&rest, "\n"); rest; line = strsep(&rest, "\n")) {
		ck_assert_uint_lt(count, HARDWARE_LINES);
		lines[count++] = line;
	}
	qsort(lines, count, sizeof(lines[0]), text_order);
	for (unsigned i = 0; i < count; i++)
		text += sprintf(text, "%s\n", lines[i]);
}

const char *hardware_text_records(struct hardware *h, char text[HARDWARE_TEXT])
{
	struct text to = {text, HARDWARE_TEXT};

	ck_assert_int_eq(sim_reap(h->rig.sim), 0);
	text[0] = '\0';
	tell_sets(h, &to);
	tell_grants(h, &to);
	tell_devices(h, &to);
	tell_attached(h, &to);
	tell(&to, "%u open descriptors\n", open_descriptors());
	text_sort(text);
	return text;
}

const char *hardware_text(struct hardware *h, char text[HARDWARE_TEXT])
{
	struct text to = {text, HARDWARE_TEXT};
	size_t length = strlen(hardware_text_records(h, text));

	to.at += length;
	to.left -= length;
	tell_objects(h, &to);
	return text;
}

/* ------------------------------------------------------------------ what must hold */

void hardware_agrees(struct hardware *h, const char *where)
{
	struct attached_list records, entries;

	fixture_recount(&h->f);
	attached_records(h, &records);
	attached_entries(h, &entries);
	for (unsigned i = 0; i < entries.count; i++) {
		const struct attached *record = attached_find(&records, &entries.of[i]);

		ck_assert_msg(record && (record->state == BINDING_BOUND ||
						record->state == BINDING_TAINTED),
			"%s: PASID %u stands in the table of %x, and no record says so", where,
			entries.of[i].pasid, entries.of[i].rid);
	}
	for (unsigned i = 0; i < records.count; i++)
		ck_assert_msg(records.of[i].state == BINDING_TAINTED ||
				      attached_find(&entries, &records.of[i]),
			"%s: PASID %u is recorded as bound on %x, and is not", where,
			records.of[i].pasid, records.of[i].rid);
}

bool hardware_is_tainted(struct hardware *h)
{
	struct binding_info binding;
	uint64_t cursor = 0;

	while (broker_binding_next(h->f.broker, &h->f.admin, (struct set_id){0}, &cursor, &binding))
		if (binding.state == BINDING_TAINTED)
			return true;
	return false;
}

void hardware_withheld(struct hardware *h, struct hpasid host, const char *where)
{
	struct allocate allocate = {.min = host.v, .max = host.v, .count = 1};
	struct grant_info info;
	struct hpasid got;

	fixture_pass_second(&h->f);
	ck_assert_int_eq(broker_host_find(h->f.broker, &h->f.admin, (struct set_id){0}, host, &info,
				 &h->f.error),
		0);
	ck_assert_msg(info.state == GRANT_QUARANTINED && (info.quarantine & QUARANTINE_TAINTED),
		"%s: PASID %u is in state %d, quarantine %u", where, host.v, info.state,
		info.quarantine);
	ck_assert_msg(broker_allocate(h->f.broker, &h->vmm, &allocate, &got, &h->f.error) != 0,
		"%s: PASID %u may be attached, and was granted", where, host.v);
}

void hardware_drained(struct hardware *h)
{
	struct device_info device;
	uint64_t cursor = 0;
	uint32_t released;

	while (broker_device_next(h->f.broker, &h->f.admin, (struct set_id){0}, &cursor, &device))
		if (device.kind == DEVICE_SHARED)
			ck_assert_int_eq(broker_device_drained(h->f.broker, &h->f.admin, device.id,
						 &released, &h->f.error),
				0);
}
