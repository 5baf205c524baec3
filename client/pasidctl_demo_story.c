/* SPDX-License-Identifier: MIT */
/* The six steps of the demo, in order; later ones use what earlier ones made. */
#include "pasidctl_demo.h"

#include <stdio.h>
#include <string.h>

#define FIRST  "0000:00:01.0"
#define SECOND "0000:00:02.0"
#define SHARED "0000:00:03.0"
#define NONE   "0000:00:04.0" /* takes no PASIDs */
#define NARROW "0000:00:05.0" /* 8 bits of them */
#define QUOTA  16
#define NOBODY 900000 /* a number that nobody has */
#define VM1    0
#define VM2    1

struct story {
	struct demo *demo;
	uint64_t first, second, slices[DEMO_VMS];   /* devices, as the daemon names them */
	uint64_t memory[2], slice_memory[DEMO_VMS]; /* inodes */
	uint32_t a, shared[DEMO_VMS];               /* host PASIDs */
};

/* ------------------------------------------------------------ what stands in the IOMMU */

static json_t *story_tables(const struct story *story)
{
	return demo_sim_json(story->demo, (const char *const[]){"tables", "--json", NULL});
}

/* The entry of a function and a PASID; borrowed. */
static const json_t *story_entry(const json_t *tables, const char *address, uint32_t pasid)
{
	const json_t *entry;
	size_t i;

	json_array_foreach ((json_t *)tables, i, entry) {
		const char *rid = json_string_value(json_object_get(entry, "rid"));

		if (rid != NULL && strcmp(rid, address) == 0 &&
			json_integer_value(json_object_get(entry, "pasid")) == pasid)
			return entry;
	}
	return NULL;
}

static bool story_has(const struct story *story, const char *address, uint32_t pasid)
{
	json_t *tables = story_tables(story);
	bool has = story_entry(tables, address, pasid) != NULL;

	json_decref(tables);
	return has;
}

static size_t story_count(const struct story *story)
{
	json_t *tables = story_tables(story);
	size_t count = json_array_size(tables);

	json_decref(tables);
	return count;
}

/* The inode of the memory that a DMA reaches; 0: it is blocked. */
static uint64_t story_reached(const struct story *story, const char *address, uint32_t pasid)
{
	char number[16];
	const char *const words[] = {"walk", address, number, "0x1000", "--json", NULL};
	uint64_t inode = 0;
	const char *result;
	json_t *walk;

	(void)snprintf(number, sizeof(number), "%u", pasid);
	walk = demo_sim_json(story->demo, words);
	result = json_string_value(json_object_get(walk, "result"));
	if (result != NULL && strcmp(result, "reached") == 0)
		inode = (uint64_t)json_integer_value(json_object_get(walk, "inode"));
	json_decref(walk);
	return inode;
}

static void story_show_tables(const struct story *story)
{
	demo_show(story->demo, "pasid-sim", (const char *const[]){"tables", NULL});
}

/* ------------------------------------------------------------ what the daemon says */

static bool story_who(const struct story *story, uint32_t pasid, struct pasid_grant_info *ret_info)
{
	const struct pasid_host_args args = {.host_pasid = pasid};

	if (story->demo->failed)
		return false;
	if (pasid_host_find(story->demo->ctl->client, &args, ret_info) == 0)
		return true;
	demo_fail(story->demo, "the daemon knows %u, but: %s", pasid,
		pasid_last_error(story->demo->ctl->client)->message);
	return false;
}

static bool story_is(const struct story *story, uint32_t pasid, enum pasid_grant_state state)
{
	struct pasid_grant_info info;

	return story_who(story, pasid, &info) && info.state == state;
}

/* Is it in quarantine for this reason and no other? */
static bool story_rests(const struct story *story, uint32_t pasid, const char *reason)
{
	struct pasid_grant_info info;

	return story_who(story, pasid, &info) && info.state == PASID_GRANT_QUARANTINED &&
	       strcmp(info.quarantine, reason) == 0;
}

/* ------------------------------------------------------------ orders */

static struct demo_order order_device(enum demo_verb verb, const char *address)
{
	struct demo_order order = {.verb = verb};

	(void)snprintf(order.address, sizeof(order.address), "%s", address);
	return order;
}

static struct demo_order order_map(uint64_t device)
{
	return (struct demo_order){.verb = DEMO_MAP, .devices = {device}};
}

static struct demo_order order_guest(enum demo_verb verb, uint32_t guest)
{
	return (struct demo_order){.verb = verb, .pasid = {.guest = true, .value = guest}};
}

static struct demo_order order_host(enum demo_verb verb, uint32_t host)
{
	return (struct demo_order){.verb = verb, .pasid = {.value = host}};
}

static struct demo_order order_on(struct demo_order order, uint64_t first, uint64_t second)
{
	order.devices[0] = first;
	order.devices[1] = second;
	order.count = second != 0 ? 2 : 1;
	return order;
}

/* By value, so that an order can be made where it is given. */
static uint64_t story_do(const struct story *story, size_t vm, struct demo_order order)
{
	return demo_do(story->demo, vm, &order);
}

static struct demo_answer story_refused(
	const struct story *story, size_t vm, struct demo_order order, const char *reasons)
{
	return demo_refused(story->demo, vm, &order, reasons);
}

static void story_set(const struct story *story, size_t vm)
{
	struct demo_order order = order_device(DEMO_SET, story->demo->vms[vm].name);

	order.count = QUOTA;
	(void)demo_do(story->demo, vm, &order);
}

/* ------------------------------------------------------------ the steps */

static void story_two_devices(struct story *story)
{
	struct demo *demo = story->demo;

	demo_title(
		demo, 1, "One PASID of VM 1 on two devices: the same number stands in both tables");
	story_set(story, VM1);
	story->first = story_do(story, VM1, order_device(DEMO_ADD, FIRST));
	story->memory[0] = story_do(story, VM1, order_map(story->first));
	story->second = story_do(story, VM1, order_device(DEMO_ADD, SECOND));
	story->memory[1] = story_do(story, VM1, order_map(story->second));
	story->a = (uint32_t)story_do(story, VM1, order_guest(DEMO_ALLOC, 5));
	(void)story_do(
		story, VM1, order_on(order_guest(DEMO_BIND, 5), story->first, story->second));
	story_show_tables(story);
	demo_show(demo, "pasidctl", (const char *const[]){"bindings", NULL});
	demo_check(demo, story_has(story, FIRST, story->a),
		"host PASID %u stands in the table of %s", story->a, FIRST);
	demo_check(demo, story_has(story, SECOND, story->a), "and in that of %s", SECOND);
	demo_check(demo, story_count(story) == 2, "and in no other");
	demo_check(demo,
		story_reached(story, FIRST, story->a) == story->memory[0] &&
			story_reached(story, SECOND, story->a) == story->memory[1],
		"a DMA of either with it reaches VM 1's memory");
	demo_check(demo, story_reached(story, FIRST, story->a + 1) == 0, "and none without it");
}

static void story_share(struct story *story, size_t vm)
{
	story->slices[vm] = story_do(story, vm, order_device(DEMO_SLICE, SHARED));
	story->slice_memory[vm] = story_do(story, vm, order_map(story->slices[vm]));
	story->shared[vm] = (uint32_t)story_do(story, vm, order_guest(DEMO_ALLOC, 7));
	(void)story_do(story, vm, order_on(order_guest(DEMO_BIND, 7), story->slices[vm], 0));
}

static bool story_differ(const json_t *one, const json_t *other)
{
	return one != NULL && other != NULL &&
	       (!json_equal(json_object_get(one, "first"), json_object_get(other, "first")) ||
		       !json_equal(
			       json_object_get(one, "second"), json_object_get(other, "second")));
}

static void story_shared_device(struct story *story)
{
	struct demo *demo = story->demo;
	const json_t *entries[DEMO_VMS];
	json_t *tables;

	demo_title(demo, 2,
		"One shared device, a slice for each VM: one guest PASID, two host PASIDs, two page tables");
	story_set(story, VM2);
	story_share(story, VM1);
	story_share(story, VM2);
	story_show_tables(story);
	demo_show(demo, "pasidctl", (const char *const[]){"pasids", NULL});
	tables = story_tables(story);
	for (size_t i = 0; i < DEMO_VMS; i++)
		entries[i] = story_entry(tables, SHARED, story->shared[i]);
	demo_check(demo, story->shared[VM1] != story->shared[VM2],
		"both VMs hold guest PASID 7, as different host PASIDs");
	demo_check(demo, entries[VM1] != NULL && entries[VM2] != NULL,
		"both stand in the one table of the shared device");
	demo_check(demo, story_differ(entries[VM1], entries[VM2]), "with different page tables");
	json_decref(tables);
	for (size_t i = 0; i < DEMO_VMS; i++)
		demo_check(demo,
			story_reached(story, SHARED, story->shared[i]) == story->slice_memory[i],
			"a DMA with %u reaches the memory of %s", story->shared[i],
			demo->vms[i].name);
}

/* Refused, and in the same words as for a number that nobody has, but for the number. */
static void story_foreign(const struct story *story, enum demo_verb verb)
{
	struct demo *demo = story->demo;
	struct demo_answer theirs, none = {0};
	struct demo_order order = order_host(verb, story->a);
	char number[16], *at;

	if (verb == DEMO_BIND)
		order = order_on(order, story->slices[VM2], 0);
	theirs = demo_refused(demo, VM2, &order, "no-pasid");
	order.pasid.value = NOBODY;
	(void)demo_vm_ask(demo, VM2, &order, &none);
	(void)snprintf(number, sizeof(number), "%u", story->a);
	at = strstr(theirs.error.message, number);
	demo_check(demo,
		at != NULL && theirs.code == none.code &&
			strcmp(theirs.error.reason, none.error.reason) == 0 &&
			strncmp(theirs.error.message, none.error.message,
				(size_t)(at - theirs.error.message)) == 0 &&
			strcmp(at + strlen(number),
				none.error.message + (at - theirs.error.message) + 6) == 0,
		"which is what it hears of a number that nobody has");
}

static void story_isolation(struct story *story)
{
	static const enum demo_verb verbs[] = {DEMO_FREE, DEMO_UNBIND, DEMO_FIND, DEMO_BIND};
	struct demo *demo = story->demo;
	struct demo_order order;
	json_t *before, *after;

	demo_title(demo, 3, "VM 2 tries what is VM 1's: refused, and nothing changed");
	before = story_tables(story);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		story_foreign(story, verbs[i]);
	(void)story_refused(story, VM2, order_device(DEMO_ADD, FIRST),
		"device-taken,group-taken,descriptor-foreign,device-bind-refused");
	order = order_device(DEMO_ADD, NARROW);
	order.lent = true;
	(void)demo_refused(demo, VM2, &order, "descriptor-foreign");
	after = story_tables(story);
	demo_check(demo, json_equal(before, after), "the tables are untouched");
	demo_check(
		demo, story_is(story, story->a, PASID_GRANT_ACTIVE), "VM 1 still has its number");
	json_decref(before);
	json_decref(after);
}

static void story_half_a_bind(struct story *story)
{
	struct demo *demo = story->demo;
	size_t before = story_count(story);
	uint32_t number;

	demo_title(demo, 4,
		"A bind over two devices whose second step fails leaves no entry on either");
	number = (uint32_t)story_do(story, VM1, order_guest(DEMO_ALLOC, 9));
	demo_note(demo, "the IOMMU is told to refuse the next attach on %s", SECOND);
	demo_sim(demo, (const char *const[]){"fail", "attach", "EIO", "--rid", SECOND, NULL});
	(void)story_refused(story, VM1,
		order_on(order_guest(DEMO_BIND, 9), story->first, story->second), "kernel-refused");
	story_show_tables(story);
	demo_check(demo, story_count(story) == before && !story_has(story, FIRST, number),
		"%u stands in no table", number);
	demo_sim(demo, (const char *const[]){"clear", NULL});
	(void)story_do(
		story, VM1, order_on(order_guest(DEMO_BIND, 9), story->first, story->second));
	demo_check(demo, story_count(story) == before + 2,
		"the same bind succeeds when the device works");
	(void)story_do(story, VM1, order_guest(DEMO_UNBIND, 9));
	(void)story_do(story, VM1, order_guest(DEMO_FREE, 9));
}

static void story_only_vm2_is_left(const struct story *story)
{
	uint64_t until = demo_now_ms() + DEMO_WAIT_MS;

	while (story_count(story) != 1 && demo_nap(story->demo, until))
		;
	demo_check(story->demo,
		story_count(story) == 1 && story_has(story, SHARED, story->shared[VM2]),
		"of all tables only VM 2's entry is left");
}

static int story_find_shared(const struct pasid_device_info *info, void *userdata)
{
	if (info->kind == PASID_DEVICE_SHARED && strcmp(info->address, SHARED) == 0)
		*(uint64_t *)userdata = info->id;
	return 0;
}

static void story_drain(const struct story *story)
{
	struct demo *demo = story->demo;
	uint64_t shared = 0;
	uint32_t released = 0;
	int r = demo->failed
			? -1
			: pasid_device_list(demo->ctl->client, NULL, story_find_shared, &shared);

	if (r == 0)
		r = pasid_device_drained(demo->ctl->client, shared, &released);
	demo_note(demo, "admin> the shared device is drained (pasidctl drained %s)", SHARED);
	demo_check(demo,
		r == 0 && released == 1 && story_is(story, story->shared[VM1], PASID_GRANT_IDLE),
		"only then %u is free", story->shared[VM1]);
}

/* VM 2's entry is what it was before VM 1 died. */
static void story_is_unchanged(const struct story *story, const json_t *before)
{
	json_t *after = story_tables(story);
	const json_t *entry = story_entry(before, SHARED, story->shared[VM2]);

	demo_check(story->demo,
		entry != NULL && json_equal(entry, story_entry(after, SHARED, story->shared[VM2])),
		"VM 2's entry is what it was");
	json_decref(after);
}

static void story_death(struct story *story)
{
	struct demo *demo = story->demo;
	json_t *before = story_tables(story);
	uint64_t until;

	demo_title(demo, 5,
		"VM 1 is killed: its entries vanish, its numbers rest, VM 2 never notices");
	if (!demo->failed)
		demo_vm_kill(demo, VM1);
	demo_note(demo, "vm1 got SIGKILL");
	story_only_vm2_is_left(story);
	story_show_tables(story);
	demo_show(demo, "pasidctl", (const char *const[]){"pasids", "--quarantined", NULL});
	until = demo_now_ms() + DEMO_WAIT_MS;
	while (!story_is(story, story->a, PASID_GRANT_IDLE) && demo_nap(demo, until))
		;
	demo_check(demo, story_is(story, story->a, PASID_GRANT_IDLE),
		"%u, of exclusive devices, is free again when its time is over", story->a);
	until = demo_now_ms() + DEMO_WAIT_MS;
	while (!story_rests(story, story->shared[VM1], "undrained") && demo_nap(demo, until))
		;
	demo_check(demo, story_rests(story, story->shared[VM1], "undrained"),
		"%u is not: time alone never moves a number on a shared device",
		story->shared[VM1]);
	story_drain(story);
	story_is_unchanged(story, before);
	json_decref(before);
	demo_check(demo,
		story_reached(story, SHARED, story->shared[VM2]) == story->slice_memory[VM2],
		"and its DMA still reaches its memory");
}

static void story_quota(const struct story *story)
{
	struct demo *demo = story->demo;
	struct demo_order order = {.verb = DEMO_ALLOC, .count = QUOTA};
	uint64_t used = story_do(story, VM2, (struct demo_order){.verb = DEMO_INFO});
	struct demo_answer answer = demo_refused(demo, VM2, &order, "set-quota");

	demo_check(demo,
		answer.error.has_limit && answer.error.limit == QUOTA && answer.error.used == used,
		"the error names limit, use and remedy");
}

static void story_limits(struct story *story)
{
	struct demo *demo = story->demo;
	uint64_t narrow, none;
	uint32_t number;
	struct demo_answer answers[3];
	size_t before;

	demo_title(demo, 6, "Limits: the quota, and what the kernel must never be asked");
	story_quota(story);
	narrow = story_do(story, VM2, order_device(DEMO_ADD, NARROW));
	none = story_do(story, VM2, order_device(DEMO_ADD, NONE));
	number = (uint32_t)story_do(story, VM2, order_guest(DEMO_ALLOC, 8));
	demo_note(demo,
		"from here on the IOMMU would answer every attach with EIO: a refusal that is none did not ask it");
	demo_sim(demo, (const char *const[]){"fail", "attach", "EIO", "--times", "0", NULL});
	demo_sim(demo, (const char *const[]){"fail", "hwpt-alloc", "EIO", "--times", "0", NULL});
	before = story_count(story);
	answers[0] = story_refused(
		story, VM2, order_on(order_host(DEMO_BIND, number), narrow, 0), "pasid-width");
	answers[1] = story_refused(story, VM2, order_on(order_host(DEMO_BIND, number), none, 0),
		"device-without-pasid");
	answers[2] = story_refused(story, VM2,
		order_on(order_host(DEMO_BIND, 0), story->slices[VM2], 0), "pasid-zero");
	demo_check(demo,
		answers[0].error.sys_errno == 0 && answers[1].error.sys_errno == 0 &&
			answers[2].error.sys_errno == 0,
		"the kernel was not asked");
	demo_check(demo, story_count(story) == before, "the tables are untouched");
	demo_check(demo, !answers[2].events, "in all of this VM 2 was told of no harm to its set");
	demo_sim(demo, (const char *const[]){"clear", NULL});
	demo_show(demo, "pasidctl", (const char *const[]){"sets", NULL});
}

void demo_story(struct demo *demo)
{
	struct pasid_host_status status = {0};
	struct story story = {.demo = demo};

	story_two_devices(&story);
	story_shared_device(&story);
	story_isolation(&story);
	story_half_a_bind(&story);
	story_death(&story);
	story_limits(&story);
	if (!demo->failed && pasid_status(demo->ctl->client, &status) != 0)
		status.consistent = false;
	demo_check(demo, status.consistent, "a recount of everything agrees with the counters");
}
