/* SPDX-License-Identifier: MIT */
/*
 * Operations that need hardware: their order within a set, and how results find them.
 *
 * The operations of a set form a list in the order of their calls. One starts when none before it
 * is about the same number or device; so a bind and the unbind sent right behind it take effect in
 * that order, while a bind of another number goes on beside a device that hangs.
 */
#include "broker_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static uint32_t op_index(const struct broker *b, const struct op *op)
{
	return (uint32_t)(op - b->ops);
}

/* ------------------------------------------------------------------ places */

/*
 * Counts an operation for its set, user and the host. The end of a set is not counted: it has a
 * place of its own. A user and the host are charged until the outcome was fetched, because until
 * then the place is taken; a set may be gone by then, so it is charged until the end only.
 */
static int op_count(struct broker *b, uint32_t set, struct error *ret_error)
{
	int r;

	r = limits_charge(b->ports.limits, set == STATE_NONE ? NULL : &b->sets[set].accounts,
		set == STATE_NONE ? LIMITS_NO_USER : b->sets[set].user, RESOURCE_OPERATIONS, 1,
		ret_error);
	if (r == 0)
		return 0;
	ret_error->reason = REASON_OVERLOAD; /* it is over as soon as some have ended */
	return (int)reason_status(REASON_OVERLOAD);
}

static void op_uncount_in_set(struct broker *b, struct op *op)
{
	if (op->counted)
		account_release(&b->sets[op->set].accounts.of[RESOURCE_OPERATIONS], 1);
	op->counted = false;
}

int op_charge(struct broker *b, struct op *op, uint32_t devices, uint32_t descriptors,
	struct error *ret_error)
{
	int r = 0;

	if (devices)
		r = set_charge(b, op->set, RESOURCE_DEVICES, devices, ret_error);
	if (r)
		return r;
	op->devices = devices;
	r = set_charge(b, op->set, RESOURCE_DESCRIPTORS, descriptors, ret_error);
	if (r)
		return r;
	op->descriptors = descriptors;
	return 0;
}

/* What was charged for it and is in no record. */
static void op_give_back(struct broker *b, struct op *op)
{
	if (op->devices)
		set_release(b, op->set, RESOURCE_DEVICES, op->devices);
	if (op->descriptors)
		set_release(b, op->set, RESOURCE_DESCRIPTORS, op->descriptors);
	op->devices = op->descriptors = 0;
}

static struct op *op_take(struct broker *b, enum op_kind kind, uint32_t set, uint64_t cookie)
{
	struct op *op;

	if (b->op_free != STATE_NONE) {
		op = &b->ops[b->op_free];
		b->op_free = op->next;
	} else {
		assert(b->op_used < b->op_capacity);
		op = &b->ops[b->op_used++];
	}
	memset(op, 0, sizeof(*op));
	op->kind = kind;
	op->state = OP_WAITING;
	op->tag = ++b->op_tag;
	op->set = set;
	op->user = LIMITS_NO_USER;
	if (set != STATE_NONE)
		op->user = limits_user_ref(b->ports.limits, b->sets[set].user);
	op->counted = set != STATE_NONE && op_kind_counts(kind);
	op->until_ms = b->until_ms;
	op->grant = op->device = op->next = op->prev = op->then = STATE_NONE;
	op->outcome.cookie = cookie;
	op->outcome.fd = -1;
	b->op_live++;
	b->destroy_live += !op_kind_counts(kind);
	if (kind == OP_DESTROY)
		b->sets[set].untold++;
	return op;
}

int op_new(struct broker *b, enum op_kind kind, uint32_t set, uint64_t cookie, struct op **ret_op,
	struct error *ret_error)
{
	int r = op_count(b, set, ret_error);

	if (r)
		return r;
	*ret_op = op_take(b, kind, set, cookie);
	return 0;
}

struct op *op_new_duty(struct broker *b, enum op_kind kind, uint32_t set, uint64_t cookie)
{
	assert(!op_kind_counts(kind));
	return op_take(b, kind, set, cookie);
}

void op_discard(struct broker *b, struct op *op)
{
	op_give_back(b, op);
	op_uncount_in_set(b, op);
	if (op_kind_counts(op->kind))
		limits_release(b->ports.limits, NULL, op->user, RESOURCE_OPERATIONS, 1);
	limits_user_close(b->ports.limits, op->user);
	b->op_live--;
	b->destroy_live -= !op_kind_counts(op->kind);
	op->state = OP_FREE;
	op->next = b->op_free;
	b->op_free = op_index(b, op);
	if (op->kind == OP_DESTROY) {
		b->sets[op->set].untold--;
		set_reap(b, op->set);
	}
}

/* ------------------------------------------------------------------ order */

/* An unbind that names no device is from those that the number is bound on when it starts. */
static bool op_may_unbind(const struct broker *b, const struct op *op, uint32_t device)
{
	return op->kind == OP_UNBIND && op->pair_count == 0 && op_grant_is_meant(b, op) &&
	       binding_find(b, op->grant, device) != STATE_NONE;
}

/*
 * An unbind, and a replacement, may find what it names bound through another function of the group;
 * so may a detach of a RID, which waits only for what takes all along, and is refused otherwise.
 */
static bool op_has_table(
	const struct broker *b, const struct op *op, uint32_t named, const struct op *other)
{
	const bool any = op->kind == OP_UNBIND || op->kind == OP_REPLACE ||
			 (op->kind == OP_RID_DETACH && other->kind == OP_DEVICE_REMOVE);

	return named == other->device ||
	       (any && b->device_slots[named].group == b->device_slots[other->device].group);
}

/* Is it about the device that the other one is about? */
static bool op_has_device(const struct broker *b, const struct op *op, const struct op *other)
{
	if (other->device == STATE_NONE)
		return false;
	if (op->device == other->device)
		return true;
	for (uint32_t i = 0; i < op->pair_count; i++) {
		if (op_has_table(b, op, op->pairs[i].device, other))
			return true;
	}
	return op_may_unbind(b, op, other->device);
}

static bool op_conflicts(const struct broker *b, const struct op *a, const struct op *c)
{
	/* a recovery is the first of its set */
	if (a->kind == OP_DESTROY || c->kind == OP_DESTROY || a->kind == OP_RECOVER)
		return true;
	if (a->grant != STATE_NONE && a->grant == c->grant)
		return true;
	return op_has_device(b, c, a) || op_has_device(b, a, c);
}

static bool op_must_wait(const struct broker *b, const struct op *op)
{
	for (uint32_t i = op->prev; i != STATE_NONE; i = b->ops[i].prev) {
		if (op_conflicts(b, &b->ops[i], op))
			return true;
	}
	return false;
}

/* Steps of each kind: the first one, and what follows a result. */
static const struct {
	void (*start)(struct broker *b, struct op *op);
	void (*completed)(struct broker *b, struct op *op, const struct hw_result *result);
} op_steps[] = {
	[OP_DEVICE_ADD] = {device_add_start, device_add_completed},
	[OP_DEVICE_SHARE] = {device_add_start, device_add_completed},
	[OP_DEVICE_REMOVE] = {device_remove_start, device_remove_completed},
	[OP_MAP] = {memory_start, memory_completed},
	[OP_UNMAP] = {memory_start, memory_completed},
	[OP_BIND] = {bind_start, bind_completed},
	[OP_UNBIND] = {unbind_start, unbind_completed},
	[OP_RID_ATTACH] = {bind_start, bind_completed},
	[OP_RID_DETACH] = {unbind_start, unbind_completed},
	[OP_REPLACE] = {replace_start, replace_completed},
	[OP_DESTROY] = {destroy_start, destroy_completed},
	[OP_RECOVER] = {recover_start, recover_completed},
};
_Static_assert(ARRAY_SIZE(op_steps) == OP_RECOVER + 1, "one for each kind");

static void op_start(struct broker *b, struct op *op)
{
	op->state = OP_RUNNING;
	op_steps[op->kind].start(b, op);
}

void op_queue(struct broker *b, struct op *op)
{
	struct set *set = op->set == STATE_NONE ? NULL : &b->sets[op->set];

	if (set) {
		op->prev = set->last_op;
		if (set->last_op != STATE_NONE)
			b->ops[set->last_op].next = op_index(b, op);
		else
			set->first_op = op_index(b, op);
		set->last_op = op_index(b, op);
		set->ops++;
	}
	if (!op_must_wait(b, op))
		op_start(b, op);
}

static void op_leave_order(struct broker *b, struct op *op)
{
	struct set *set = &b->sets[op->set];

	if (op->prev != STATE_NONE)
		b->ops[op->prev].next = op->next;
	else
		set->first_op = op->next;
	if (op->next != STATE_NONE)
		b->ops[op->next].prev = op->prev;
	else
		set->last_op = op->prev;
	set->ops--;
}

/*
 * Each start may end at once and change the list, so begin again after each. In a set that is being
 * destroyed nothing starts but its end: what waits is being refused.
 */
static void op_start_next(struct broker *b, uint32_t set)
{
	uint32_t i = b->sets[set].first_op;

	while (i != STATE_NONE) {
		struct op *op = &b->ops[i];
		bool refused = set_state(b, set) == SET_DYING && op->kind != OP_DESTROY;

		if (op->state == OP_WAITING && !refused && !op_must_wait(b, op)) {
			op_start(b, op);
			i = b->sets[set].first_op;
		} else {
			i = op->next;
		}
	}
}

/* ------------------------------------------------------------------ ends */

static void op_tell(struct broker *b, struct op *op)
{
	uint32_t index = op_index(b, op);

	op->ended_next = STATE_NONE;
	if (b->ended_last != STATE_NONE)
		b->ops[b->ended_last].ended_next = index;
	else
		b->ended_first = index;
	b->ended_last = index;
}

void op_end(struct broker *b, struct op *op)
{
	uint32_t set = op->set;

	op_give_back(b, op);
	op_uncount_in_set(b, op);
	if (set != STATE_NONE)
		op_leave_order(b, op);
	op->outcome.unused_count = op->hw.fd_count;
	for (uint32_t i = 0; i < op->hw.fd_count; i++)
		op->outcome.unused[i] = op->hw.fds[i];
	op->state = OP_ENDED;
	if (!op_kind_counts(op->kind) && op->outcome.cookie == 0)
		op_discard(b, op); /* nobody asks for its outcome */
	else
		op_tell(b, op);
	if (set == STATE_NONE)
		return;
	op_start_next(b, set);
	set_reap(b, set);
}

void op_end_with(struct broker *b, struct op *op, int status, const struct error *error)
{
	op->outcome.status = status;
	op->outcome.error = *error;
	op_end(b, op);
}

bool broker_next_outcome(struct broker *b, struct outcome *ret_outcome)
{
	struct op *op;

	if (b->ended_first == STATE_NONE)
		return false;
	op = &b->ops[b->ended_first];
	b->ended_first = op->ended_next;
	if (b->ended_first == STATE_NONE)
		b->ended_last = STATE_NONE;
	*ret_outcome = op->outcome;
	op_discard(b, op);
	return true;
}

/* ------------------------------------------------------------------ hardware */

bool op_grant_is_meant(const struct broker *b, const struct op *op)
{
	const struct grant_slot *slot = &b->grant_slots[op->grant];

	return grant_state(slot) != GRANT_FREE && slot->set == op->set &&
	       grant_host(slot) == op->outcome.host.v;
}

/*
 * What takes something back is never given up: a refusal would leave it there for good. Nor is the
 * question what a worker has, after a recovery.
 */
static bool hw_must_be_done(enum hw_kind kind)
{
	return kind == HW_CLOSE || kind == HW_DETACH || kind == HW_LEAVE || kind == HW_END ||
	       kind == HW_REPORT || kind == HW_LOOK;
}

static void op_refused(struct broker *b, struct op *op)
{
	uint32_t *list = &b->refused_first;

	if (hw_must_be_done((enum hw_kind)op->again.kind)) {
		if (b->retry_first == STATE_NONE)
			b->retry_at = broker_now(b) + BROKER_RETRY_MS;
		list = &b->retry_first;
	}
	op->refused_next = *list;
	*list = op_index(b, op);
}

void broker_set_until(struct broker *b, uint64_t until_ms)
{
	b->until_ms = until_ms;
}

/* What takes something back is not given up as soon as its caller is: a number that stays attached
 * is lost until somebody frees it. */
static uint64_t op_until(const struct broker *b, const struct op *op, uint32_t kind)
{
	if (op->until_ms && (kind == HW_ATTACH || kind == HW_REPLACE))
		return op->until_ms;
	return broker_now(b) + BROKER_PATIENCE_MS;
}

void op_submit(struct broker *b, struct op *op, const struct hw_op *hw)
{
	op->again = *hw;
	op->again.id = (uint64_t)op->tag << 32 | op_index(b, op);
	op->again.until_ms = op_until(b, op, hw->kind);
	op->refused_next = STATE_NONE;
	if (b->submit_first == STATE_NONE)
		b->submit_first = op_index(b, op);
	else
		b->ops[b->submit_last].refused_next = op_index(b, op);
	b->submit_last = op_index(b, op);
}

void op_retry(struct broker *b)
{
	uint32_t next, i = b->retry_first;

	b->retry_first = STATE_NONE;
	for (; i != STATE_NONE; i = next) {
		const struct hw_op again = b->ops[i].again;

		next = b->ops[i].refused_next;
		op_submit(b, &b->ops[i], &again);
	}
}

static void op_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	if (result->status)
		metrics_add(&b->metrics, METRIC_HARDWARE_FAILURES, 1);
	op_steps[op->kind].completed(b, op, result);
}

/* Why the hardware port took nothing; see hw_submit(). */
static int op_tell_refused(int refused, struct error *ret_error)
{
	const char *text =
		"the worker for this device takes no more operations now; try again later";

	if (refused == -EMFILE || refused == -ENFILE)
		text = "no descriptor is left for a worker: raise LimitNOFILE of pasidd.service, "
		       "or try again later";
	else if (refused == -EUSERS)
		text = "no process is left for a worker: raise LimitNPROC or TasksMax of "
		       "pasidd.service, or try again later";
	else if (refused != -EAGAIN)
		text = "there is no worker for this device now; try again later";
	(void)error_set(ret_error, REASON_OVERLOAD, "%s", text);
	ret_error->sys_errno = -refused;
	return STATUS_RETRY;
}

static void op_deliver_refused(struct broker *b)
{
	while (b->refused_first != STATE_NONE) {
		struct op *op = &b->ops[b->refused_first];
		struct hw_result result = {0};

		b->refused_first = op->refused_next;
		result.status = op_tell_refused(op->refused, &result.error);
		op_completed(b, op, &result);
	}
}

static void op_hand_over(struct broker *b, struct op *op)
{
	metrics_add(&b->metrics, METRIC_HARDWARE_OPS, 1);
	op->refused = hw_submit(&b->ports.hw, &op->again);
	if (op->refused)
		op_refused(b, op);
	else if (op->again.fd_count)
		op->hw.fd_count = 0; /* they went with it */
}

/* What is refused may end at once, and what waited for it begin. */
void broker_flush(struct broker *b)
{
	while (b->submit_first != STATE_NONE) {
		uint32_t next, i = b->submit_first;

		b->submit_first = STATE_NONE;
		state_settle(b->ports.state); /* the intents, before anything is done */
		for (; i != STATE_NONE; i = next) {
			next = b->ops[i].refused_next;
			op_hand_over(b, &b->ops[i]);
		}
		op_deliver_refused(b);
	}
}

void broker_complete(struct broker *b, const struct hw_result *result)
{
	uint32_t index = (uint32_t)result->id;
	struct op *op = &b->ops[index];

	assert(index < b->op_used && op->state == OP_RUNNING);
	assert(op->tag == (uint32_t)(result->id >> 32));
	op_completed(b, op, result);
}

void op_take_loss(struct op *op)
{
	op->outcome.status = error_set(&op->outcome.error, REASON_WORKER_LOST,
		"the worker for this device ended unexpectedly; what it had attached is gone, or "
		"counts as tainted");
}

void op_take_error(struct op *op, const struct hw_result *result)
{
	if (op->outcome.status)
		return; /* the first error is the one that is told */
	op->outcome.status = result->status;
	op->outcome.error = result->error;
	if (result->status <= 0)
		op->outcome.status = (int)reason_status((enum reason)result->error.reason);
	if (result->error.reason == REASON_NONE)
		op_take_loss(op);
}

bool op_has_binding(const struct broker *b, uint32_t binding)
{
	uint32_t i = b->sets[b->binding_slots[binding].set].first_op;

	for (; i != STATE_NONE; i = b->ops[i].next) {
		const struct op *op = &b->ops[i];

		for (uint32_t k = 0; op->state == OP_RUNNING && k < op->pair_count; k++) {
			if (op->pairs[k].binding == binding)
				return true;
		}
	}
	return false;
}

void op_lose_binding(struct broker *b, uint32_t binding)
{
	uint32_t i = b->sets[b->binding_slots[binding].set].first_op;

	for (; i != STATE_NONE; i = b->ops[i].next) {
		struct op *op = &b->ops[i];

		for (uint32_t k = 0; op->state == OP_RUNNING && k < op->pair_count; k++) {
			if (op->pairs[k].binding != binding)
				continue;
			op->pairs[k].binding = STATE_NONE;
			op->lost = true;
		}
	}
}
