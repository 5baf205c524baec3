/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as the state file that a daemon finds when it starts (state_image.h).
 *
 * Promised: it is refused with a sentence and stays as it was; or the daemon takes it up, with an
 * unfinished change taken back, the recount agrees, it serves, and what it leaves is something that
 * the next ones take up, of which the second changes nothing any more. Looking at it changes
 * nothing, and says the same.
 */
#include "broker.h"
#include "dispatch.h"
#include "state_check.h"
#include "state_image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE       4096u
#define STEPS_MAX   100000u
#define COOLED_MS   60000u
#define ADMIN       (UINT64_MAX - 2)
#define LATER_VM    (UINT64_MAX - 3)
#define LATER_COUNT 3u

/* A daemon at its start, with hardware that does as the input says. */
struct daemon {
	struct state_file *file;
	struct state state;
	struct policy policy;
	struct policy_peer root, user;
	struct limits *limits;
	struct broker *broker;
	struct dispatch *dispatch;
	uint64_t now;
	uint8_t hardware; /* which workers stand, then which operations fail */
	uint32_t carried_out;
	struct hw_op queue[QUEUE];
	unsigned queued;
};

static struct state_image base, image;
static struct daemon daemon_, *const d = &daemon_;
static char folder[32], path[64];

/* ---------------------------------------------------------------- ports */

static int submit(void *ctx, const struct hw_op *op)
{
	(void)ctx;
	if (d->queued == QUEUE)
		return -EAGAIN;
	d->queue[d->queued++] = *op;
	return 0;
}

/* What a worker would say that still has what the records say. */
static void report(const struct hw_op *op, struct hw_result *result)
{
	const struct device_slot *devices = d->state.table[STATE_DEVICES];

	result->rid = op->rid;
	result->group = op->rid.v + 1;
	result->iommufd_key = 7;
	for (uint32_t i = 0; i < state_file_used(d->file, STATE_DEVICES); i++)
		if (devices[i].word != 0 && devices[i].handle == op->device) {
			result->rid.v = devices[i].rid;
			result->group = devices[i].group;
		}
}

static void carry_out(void)
{
	const struct hw_op op = d->queue[0];
	struct hw_result result = {.id = op.id, .device = op.device};

	memmove(&d->queue[0], &d->queue[1], --d->queued * sizeof(op));
	if (op.kind == HW_IDENTIFY || op.kind == HW_REPORT)
		report(&op, &result);
	if (op.kind == HW_OPEN)
		result.info = (struct hw_info){.iommu = HW_IOMMU_VTD, .pasid_width = 20};
	if (op.kind != HW_END && d->hardware >> (2 + d->carried_out++ % 8) & 1)
		result.status = error_set(&result.error, REASON_NO_DEVICE, "it refuses");
	broker_complete(d->broker, &result);
}

static void run(void)
{
	unsigned steps = 0;

	for (dispatch_pump(d->dispatch); d->queued > 0; dispatch_pump(d->dispatch)) {
		FUZZ_CHECK(steps++ < STEPS_MAX);
		carry_out();
	}
}

static uint64_t now_ms(void *ctx)
{
	(void)ctx;
	return d->now;
}

static bool lane_stands(void *ctx, uint64_t lane)
{
	(void)ctx;
	return lane != 0 && ((d->hardware & 3) == 0 || ((d->hardware & 3) == 1 && lane % 2 == 0));
}

static void fill(void *ctx, void *ret_bytes, size_t size)
{
	(void)ctx;
	memset(ret_bytes, 0x5a, size);
}

static void dispose(void *ctx, int fd)
{
	(void)ctx;
	(void)fd;
	FUZZ_CHECK(false); /* nobody gave it any */
}

static void unpark(void *ctx, void *user)
{
	(void)ctx;
	(void)user;
}

/* Every other process has died meanwhile. */
static int revive(void *ctx, struct session *session, int32_t pid, uint64_t born, void **ret_user)
{
	(void)ctx;
	(void)born;
	*ret_user = session;
	return pid % 2 ? -ESRCH : 0;
}

/* ---------------------------------------------------------------- its start and its end */

static uint32_t most(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* A broker over the file, with as little room as there can be: it is faster. */
static void open_broker(void)
{
	static const struct hw_ops ops = {.submit = submit};
	const struct broker_config config = {.reserved_last = 15,
		.set_quota_default = 24,
		.set_quota_max = 32,
		.cooling_ms = 1000,
		.owners_max = 4};
	static const enum state_table tables[] = {STATE_SETS, STATE_DEVICES, STATE_BINDINGS};
	struct broker_ports ports = {
		.hw = {&ops, d}, .state = &d->state, .now_ms = now_ms, .policy = &d->policy};
	struct limits_config limits;

	d->state = *state_file_state(d->file);
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++)
		d->state.capacity[tables[i]] = most(64, state_file_used(d->file, tables[i]) + 1);
	d->policy = (struct policy){.any_device = true,
		.vmms.everyone = true,
		.global.everyone = true,
		.rids.everyone = true};
	d->user.uid = 3001;
	d->now += 1000;
	limits_defaults(&limits);
	limits.of[RESOURCE_OPERATIONS].host = 64;
	FUZZ_CHECK(limits_new(&limits, &d->limits) == 0);
	ports.limits = d->limits;
	ports.pages = state_file_pages(d->file);
	FUZZ_CHECK(broker_new(&config, &ports, &d->broker) == 0);
}

/* As runtime_state_recover() does it: 0, or refused with a sentence. */
static int recover(void)
{
	uint32_t used[STATE_TABLES];
	const struct recovery recovery = {.used = used, .lane_stands = lane_stands};
	struct state_problem problem = {0};
	struct error error = {0};
	void *scratch;
	int r;

	for (unsigned i = 0; i < STATE_TABLES; i++)
		used[i] = state_file_used(d->file, (enum state_table)i);
	scratch = malloc(state_check_scratch(used) + 1);
	FUZZ_CHECK(scratch);
	r = state_check(state_file_state(d->file), used, scratch, &problem);
	free(scratch);
	if (r != 0) {
		FUZZ_CHECK(r == -EBADMSG && strlen(problem.text) > 20);
		return r;
	}
	r = broker_recover(d->broker, &recovery, &error);
	FUZZ_CHECK(r >= 0 && (r == 0 || strlen(error.text) > 20));
	return r;
}

/* The sessions: the checks have refused what they could not be made of. */
static void open_dispatch(void)
{
	const struct dispatch_ports ports = {.now_ms = now_ms,
		.random = fill,
		.dispose_fd = dispose,
		.unpark = unpark,
		.revive = revive};
	const struct dispatch_config config = {.version = "0",
		.backend = "simulated",
		.grace_ms = 5000,
		.operations_max = 64,
		.policy = &d->policy,
		.limits = d->limits,
		.state = &d->state};

	FUZZ_CHECK(dispatch_new(&config, &ports, d->broker, &d->dispatch) == 0);
	FUZZ_CHECK(dispatch_recover(d->dispatch) == 0);
}

static void end(void)
{
	if (d->dispatch)
		dispatch_free(d->dispatch);
	broker_free(d->broker);
	limits_free(d->limits);
	d->dispatch = NULL;
	d->queued = 0;
}

/* ---------------------------------------------------------------- what it does */

static void recount(void)
{
	struct error error = {0};

	if (broker_recount(d->broker, &error))
		FUZZ_FAIL("%s", error.text);
}

/* Everything that can be asked about. */
static void list(void)
{
	const struct actor admin = {ROLE_ADMIN, ADMIN, {0}, &d->root};
	struct broker_status status;
	struct set_info set;
	struct device_info device;
	struct binding_info binding;
	struct grant_info grant;
	uint64_t cursors[3] = {0};

	broker_status(d->broker, &status);
	while (broker_set_next(d->broker, &admin, &cursors[0], &set)) {
		uint64_t cursor = 0;

		while (broker_grant_next(d->broker, &admin, set.id, false, &cursor, &grant))
			FUZZ_CHECK(grant.host.v != 0 && grant.host.v <= PASID_LAST);
	}
	while (broker_device_next(d->broker, &admin, (struct set_id){0}, &cursors[1], &device))
		FUZZ_CHECK(device.state != DEVICE_FREE);
	while (broker_binding_next(d->broker, &admin, (struct set_id){0}, &cursors[2], &binding))
		FUZZ_CHECK(binding.set.v != 0);
}

/* Another VM comes, has numbers, and gives one back; a refusal has a sentence. */
static void serve(void)
{
	struct actor vmm = {ROLE_VMM, LATER_VM, {0}, &d->user};
	const struct set_create create = {"later", SET_TRANSLATED, true, 8, false, 0, 0};
	const struct allocate allocate = {.max = PASID_LAST, .count = LATER_COUNT};
	struct hpasid hosts[LATER_COUNT];
	struct pasid_ref ref = {0};
	struct error error = {0};
	uint32_t freed, unchanged;

	if (broker_set_create(d->broker, &vmm, &create, &vmm.set, &error)) {
		FUZZ_CHECK(error.text[0]);
		return;
	}
	if (broker_allocate(d->broker, &vmm, &allocate, hosts, &error)) {
		FUZZ_CHECK(error.text[0]);
	} else {
		ref.number = hosts[1].v;
		FUZZ_CHECK(broker_free_pasids(d->broker, &vmm, vmm.set, &ref, 1, &freed, &unchanged,
				   &error) == 0);
	}
	run();
}

static void destroy_all(void)
{
	const struct actor admin = {ROLE_ADMIN, ADMIN, {0}, &d->root};
	struct set_info set;
	struct error error;
	uint64_t cursor = 0;

	broker_session_end(d->broker, LATER_VM);
	while (broker_set_next(d->broker, &admin, &cursor, &set))
		(void)broker_set_destroy(d->broker, &admin, set.id, true, 0, &error);
	run();
	d->now += COOLED_MS;
	dispatch_tick(d->dispatch);
	run();
}

/* The start of the daemon over the opened file; false: it refuses the records. */
static bool take_up(void)
{
	open_broker();
	if (recover())
		return false;
	recount();
	open_dispatch();
	run();
	return true;
}

/* One run of it. */
static bool live(bool last)
{
	if (!take_up())
		return false;
	list();
	serve();
	if (last)
		destroy_all();
	recount();
	return true;
}

/* ---------------------------------------------------------------- the file */

static void check_note(int r, const struct state_note *note)
{
	FUZZ_CHECK(memchr(note->text, 0, sizeof(note->text)) && strlen(note->text) > 20);
	FUZZ_CHECK(strncmp(note->text, path, strlen(path)) == 0);
	FUZZ_CHECK((r == 0) ==
		   (note->found == STATE_FOUND_KEPT || note->found == STATE_FOUND_EARLIER));
}

/* What somebody sees who only looks; NULL: nothing. */
static int look(uint64_t *ret_digest, struct state_note *ret_note)
{
	struct state_file *seen = NULL;
	int r = state_file_look(path, state_image_boot, &seen, ret_note);

	check_note(r, ret_note);
	if (seen != NULL)
		*ret_digest = state_image_digest(seen);
	state_file_free(seen);
	return r;
}

/* It is there again for whoever opens it next, whatever was taken back meanwhile. */
static void check_left(uint64_t digest)
{
	struct state_note note;
	uint64_t left = 0;

	FUZZ_CHECK(look(&left, &note) == 0 && note.found == STATE_FOUND_KEPT);
	FUZZ_CHECK(left == digest);
}

static void open_again(void)
{
	struct state_note note;

	FUZZ_CHECK(state_file_open(path, state_image_boot, &d->file, &note) == 0);
	FUZZ_CHECK(note.found == STATE_FOUND_KEPT);
}

/* A run that is only started; what the records are then. */
static uint64_t start_again(void)
{
	uint64_t digest;

	open_again();
	if (!take_up())
		FUZZ_FAIL("what a daemon left is refused by the next one");
	recount();
	state_settle(&d->state);
	digest = state_image_digest(d->file);
	end();
	state_file_free(d->file);
	return digest;
}

/* The next runs, with hardware that works, take up what this one left, and agree about it. */
static void live_again(void)
{
	uint64_t taken;

	d->hardware &= 3;
	taken = start_again();
	if (start_again() != taken)
		FUZZ_FAIL("what a start has settled is changed by the next one");
	open_again();
	FUZZ_CHECK(live(true));
	end();
	state_file_free(d->file);
}

static void start(bool killed, bool kept)
{
	const uint64_t found = state_image_digest(d->file);
	const bool lived = live(false);
	uint64_t left;

	FUZZ_CHECK(kept || lived);
	if (lived && !killed)
		state_settle(&d->state);
	left = state_image_digest(d->file);
	end();
	state_file_free(d->file);
	if (!lived || !killed)
		check_left(lived ? left : found);
	if (lived)
		live_again();
}

/* A crash leaves it. */
static void clean_up(void)
{
	(void)unlink(path);
	(void)rmdir(folder);
}

static void prepare(void)
{
	if (folder[0])
		return;
	(void)snprintf(folder, sizeof(folder), "%s/pasidd-fuzz-XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	FUZZ_CHECK(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/state", folder);
	(void)atexit(clean_up);
	state_image_base(&base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state_note seen, note;
	uint64_t digest = 0;
	int looked, r;

	prepare();
	state_image_make(&image, &base, data, size);
	state_image_write(&image, path);
	*d = (struct daemon){.hardware = size > 1 ? data[1] : 0, .now = 1000000};
	looked = look(&digest, &seen);
	state_image_same(&image, path);
	r = state_file_open(path, state_image_boot, &d->file, &note);
	check_note(r, &note);
	/* where who looks may have the wrong file, the daemon's own is damaged */
	if (seen.found == STATE_FOUND_OTHER)
		seen.found = STATE_FOUND_DAMAGED;
	if (r != looked || note.found != seen.found)
		FUZZ_FAIL("looking says '%s', opening '%s'", seen.text, note.text);
	if (r != 0) {
		state_image_same(&image, path);
		return 0;
	}
	if (note.found == STATE_FOUND_KEPT) {
		state_image_undone(&image, d->file);
		FUZZ_CHECK(state_image_digest(d->file) == digest && note.undone == seen.undone);
	}
	start(size > 0 && data[0] & STATE_KILLED, note.found == STATE_FOUND_KEPT);
	return 0;
}

/* ---------------------------------------------------------------- mutation */

/* Numbers that mean something in a record: slots, words, nothing, almost nothing. */
static uint32_t new_number(uint64_t *random)
{
	static const uint32_t numbers[] = {0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 20, 31, 63, 64, 65, 100,
		255, 4096, 65535, PASID_LAST, PASID_COUNT, INT32_MAX, UINT32_MAX - 1, STATE_NONE};

	if (fuzz_below(random, 4) == 0)
		return fuzz_random(random) >> fuzz_below(random, 32);
	return numbers[fuzz_below(random, ARRAY_SIZE(numbers))];
}

static void new_patch(uint8_t patch[static STATE_PATCH_SIZE], uint64_t *random)
{
	static const uint8_t kinds[] = {STATE_PATCH_SET, STATE_PATCH_SET, STATE_PATCH_SET,
		STATE_PATCH_ADD, STATE_PATCH_BYTE, STATE_PATCH_BYTE, STATE_PATCH_COPY};
	const uint32_t number = new_number(random);

	patch[0] = (uint8_t)fuzz_below(random, STATE_PLACE_COUNT);
	patch[1] = (uint8_t)fuzz_below(random, fuzz_below(random, 4) ? 6 : 64);
	patch[2] = (uint8_t)fuzz_below(random, patch[0] == STATE_PLACE_HEADER ? 94 : 32);
	patch[3] = kinds[fuzz_below(random, sizeof(kinds))];
	if (fuzz_below(random, 64) == 0)
		patch[3] = STATE_PATCH_CUT;
	/* words come first, and their lowest bytes are the state, kind and list */
	if (fuzz_below(random, 3) == 0)
		patch[2] = 0;
	for (unsigned i = 0; i < 4; i++)
		patch[4 + i] = (uint8_t)(number >> 8 * i);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	size_t count, at;

	if (size < STATE_INPUT_HEAD || data[0] & STATE_RAW || fuzz_below(&random, 8) == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	count = (size - STATE_INPUT_HEAD) / STATE_PATCH_SIZE;
	at = STATE_INPUT_HEAD + STATE_PATCH_SIZE * fuzz_below(&random, (uint32_t)count + 1);
	size = STATE_INPUT_HEAD + STATE_PATCH_SIZE * count;
	switch (fuzz_below(&random, 8)) {
	case 0:
		data[fuzz_below(&random, 2)] ^= (uint8_t)(1u << fuzz_below(&random, 8));
		break;
	case 1:
		if (at == size)
			break;
		memmove(data + at, data + at + STATE_PATCH_SIZE, size - at - STATE_PATCH_SIZE);
		size -= STATE_PATCH_SIZE;
		break;
	case 2:
	case 3:
		if (at < size)
			new_patch(data + at, &random);
		break;
	default:
		if (max_size < size + STATE_PATCH_SIZE)
			break;
		memmove(data + at + STATE_PATCH_SIZE, data + at, size - at);
		new_patch(data + at, &random);
		size += STATE_PATCH_SIZE;
		break;
	}
	return size;
}
