/* SPDX-License-Identifier: MIT */
#include "truth.h"

#include <string.h>

void truth_init(struct truth *truth)
{
	memset(truth, 0, offsetof(struct truth, sets));
	for (unsigned i = 0; i < WORLD_NUMBERS; i++)
		truth->numbers[i].state = GRANT_IDLE;
}

void truth_copy(struct truth *to, const struct truth *from)
{
	memcpy(to, from, offsetof(struct truth, sets));
	memcpy(to->sets, from->sets, from->set_count * sizeof(from->sets[0]));
	memcpy(to->devices, from->devices, from->device_count * sizeof(from->devices[0]));
	memcpy(to->bound, from->bound, from->bound_count * sizeof(from->bound[0]));
	memcpy(to->ops, from->ops, from->op_count * sizeof(from->ops[0]));
	memcpy(to->claims, from->claims, from->claim_count * sizeof(from->claims[0]));
}

/* ------------------------------------------------------------------ lists */

struct truth_set *truth_set(struct truth *truth, uint64_t name)
{
	for (uint32_t i = 0; i < truth->set_count; i++) {
		if (truth->sets[i].name == name && truth->sets[i].life != TRUTH_GONE)
			return &truth->sets[i];
	}
	return NULL;
}

struct truth_set *truth_set_of_vm(struct truth *truth, unsigned vm)
{
	for (uint32_t i = 0; i < truth->set_count; i++) {
		const struct truth_set *set = &truth->sets[i];

		if (set->vm == vm && (set->life == TRUTH_LIVES || set->life == TRUTH_EMPTYING))
			return &truth->sets[i];
	}
	return NULL;
}

/* One that is gone, and whose last number is, makes room. */
struct truth_set *truth_set_new(struct truth *truth)
{
	for (uint32_t i = 0; i < truth->set_count; i++) {
		struct truth_set *set = &truth->sets[i];

		if (set->life == TRUTH_GONE && !truth_count(truth, set->name, GRANT_FREE))
			return set;
	}
	if (truth->set_count == TRUTH_SETS)
		world_fail("there are more sets than there can be");
	return &truth->sets[truth->set_count++];
}

struct truth_device *truth_device(struct truth *truth, uint64_t name)
{
	for (uint32_t i = 0; i < truth->device_count; i++) {
		if (truth->devices[i].name == name)
			return &truth->devices[i];
	}
	return NULL;
}

struct truth_device *truth_device_new(struct truth *truth)
{
	if (truth->device_count == TRUTH_DEVICES)
		world_fail("there are more devices than there can be");
	return &truth->devices[truth->device_count++];
}

void truth_device_drop(struct truth *truth, struct truth_device *device)
{
	*device = truth->devices[--truth->device_count];
}

struct truth_bound *truth_bound(struct truth *truth, uint32_t host, uint32_t rid)
{
	for (uint32_t i = 0; i < truth->bound_count; i++) {
		if (truth->bound[i].host == host && truth->bound[i].rid == rid)
			return &truth->bound[i];
	}
	return NULL;
}

void truth_bound_add(struct truth *truth, const struct truth_bound *bound)
{
	if (truth->bound_count == TRUTH_BOUND)
		world_fail("there are more bindings than there can be");
	truth->bound[truth->bound_count++] = *bound;
}

void truth_bound_drop(struct truth *truth, struct truth_bound *bound)
{
	*bound = truth->bound[--truth->bound_count];
}

struct truth_op *truth_op_new(struct truth *truth, uint64_t cookie, enum step_kind kind)
{
	struct truth_op *op = &truth->ops[truth->op_count];

	if (truth->op_count++ == TRUTH_OPS)
		world_fail("there are more operations under way than there can be");
	memset(op, 0, sizeof(*op));
	op->cookie = cookie;
	op->kind = (uint8_t)kind;
	return op;
}

bool truth_op_take(struct truth *truth, uint64_t cookie, struct truth_op *ret_op)
{
	for (uint32_t i = 0; i < truth->op_count; i++) {
		if (truth->ops[i].cookie != cookie)
			continue;
		*ret_op = truth->ops[i];
		truth->ops[i] = truth->ops[--truth->op_count];
		return true;
	}
	return false;
}

struct truth_claim *truth_claim(struct truth *truth, uint64_t set, uint32_t host)
{
	for (uint32_t i = 0; i < truth->claim_count; i++) {
		if (truth->claims[i].set == set && truth->claims[i].host == host)
			return &truth->claims[i];
	}
	return NULL;
}

struct truth_claim *truth_claim_new(struct truth *truth)
{
	if (truth->claim_count == TRUTH_CLAIMS)
		world_fail("Q: there are more numbers than can be out");
	return &truth->claims[truth->claim_count++];
}

void truth_claim_drop(struct truth *truth, struct truth_claim *claim)
{
	*claim = truth->claims[--truth->claim_count];
}

bool truth_claimed(const struct truth *truth, uint64_t set, uint32_t host, uint32_t groups)
{
	for (uint32_t i = 0; i < truth->claim_count; i++) {
		const struct truth_claim *claim = &truth->claims[i];

		if (claim->host == host && (claim->set == set || claim->groups & groups))
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------ counts */

unsigned truth_ops_of(const struct truth *truth, uint32_t host)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < truth->op_count; i++)
		count += truth->ops[i].host == host;
	return count;
}

unsigned truth_bound_of(const struct truth *truth, uint32_t host)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < truth->bound_count; i++)
		count += truth->bound[i].host == host;
	return count;
}

unsigned truth_stays_bound(const struct truth *truth, uint32_t host)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < truth->bound_count; i++)
		count += truth->bound[i].host == host && !truth->bound[i].leaving;
	return count;
}

unsigned truth_count(const struct truth *truth, uint64_t set, enum grant_state state)
{
	unsigned count = 0;

	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		const struct truth_number *number = &truth->numbers[i];

		count += number->state != GRANT_IDLE && number->set == set &&
			 (state == GRANT_FREE || number->state == state);
	}
	for (uint32_t i = 0; i < truth->claim_count; i++)
		count += truth->claims[i].set == set &&
			 (state == GRANT_FREE || truth->claims[i].state == state);
	return count;
}

unsigned truth_devices_of(const struct truth *truth, uint64_t set)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < truth->device_count; i++)
		count += truth->devices[i].set == set;
	return count;
}

uint32_t truth_uid(const struct truth *truth, uint64_t set)
{
	for (uint32_t i = 0; i < truth->set_count; i++) {
		if (truth->sets[i].name == set)
			return truth->sets[i].uid;
	}
	return 0;
}

unsigned truth_used(const struct truth *truth, uint32_t uid)
{
	unsigned count = 0;

	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		const struct truth_number *number = &truth->numbers[i];

		count += number->state != GRANT_IDLE &&
			 (uid == 0 || truth_uid(truth, number->set) == uid);
	}
	for (uint32_t i = 0; i < truth->claim_count; i++)
		count += uid == 0 || truth_uid(truth, truth->claims[i].set) == uid;
	return count;
}

/* Of one that is gone, what it still has. */
unsigned truth_promised(const struct truth *truth, uint32_t uid)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < truth->set_count; i++) {
		const struct truth_set *set = &truth->sets[i];

		if (uid && set->uid != uid)
			continue;
		count += set->life == TRUTH_GONE ? truth_count(truth, set->name, GRANT_FREE)
						 : set->quota;
	}
	return count;
}

unsigned truth_promised_first(const struct truth *truth, bool all)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < truth->set_count; i++) {
		const struct truth_set *set = &truth->sets[i];

		if (set->vm == 0 && set->life != TRUTH_GONE)
			count += set->quota;
		else if (set->vm == 0 && all)
			count += truth_count(truth, set->name, GRANT_FREE);
	}
	return count;
}

/* ------------------------------------------------------------------ what follows */

void truth_doubt(struct truth *truth, uint32_t host)
{
	if (host && world_knows(host))
		truth_number(truth, host)->doubt = true;
}

void truth_settle(struct truth *truth, uint32_t host, uint64_t now_ms)
{
	struct truth_number *number = truth_number(truth, host);

	if (number->state != GRANT_FREE_PENDING || number->holds || truth_others(number) ||
		number->doubt || truth_bound_of(truth, host) || truth_ops_of(truth, host))
		return;
	number->state = GRANT_QUARANTINED;
	number->quarantine = QUARANTINE_COOLING;
	number->cooled = now_ms + WORLD_COOLING;
}

void truth_free(struct truth *truth, uint32_t host, uint64_t now_ms)
{
	struct truth_number *number = truth_number(truth, host);

	if (number->state != GRANT_ACTIVE)
		return;
	number->has_guest = false;
	number->guest = 0;
	number->state = GRANT_FREE_PENDING;
	number->awaits = truth_live_parties(truth);
	truth_settle(truth, host, now_ms);
}

void truth_end(struct truth *truth, struct truth_set *set, enum truth_life life)
{
	set->life = (uint8_t)life;
	for (uint32_t i = 0; i < truth->bound_count; i++) {
		if (truth->bound[i].set == set->name) {
			truth_doubt(truth, truth->bound[i].host);
			truth_bound_drop(truth, &truth->bound[i--]);
		}
	}
	for (uint32_t i = 0; i < truth->device_count; i++)
		truth->devices[i].going |= truth->devices[i].set == set->name;
}

void truth_lose(struct truth *truth, uint64_t lane)
{
	for (uint32_t i = 0; i < truth->bound_count; i++) {
		if (truth->bound[i].lane == lane) {
			truth_doubt(truth, truth->bound[i].host);
			truth_bound_drop(truth, &truth->bound[i--]);
		}
	}
	for (uint32_t i = 0; i < truth->device_count; i++) {
		if (truth->devices[i].lane == lane)
			truth->devices[i].lost = true;
	}
	for (uint32_t i = 0; i < truth->op_count; i++)
		truth_doubt(truth, truth->ops[i].host);
}

void truth_interrupt(struct truth *truth)
{
	truth_interrupt_parties(truth);
	for (uint32_t i = 0; i < truth->op_count; i++) {
		const struct truth_op *op = &truth->ops[i];
		struct truth_device *device = truth_device(truth, op->devices[0]);

		truth_doubt(truth, op->host);
		truth->removals += op->kind == STEP_REMOVE || op->kind == STEP_GOING;
		if (device && (op->kind == STEP_REMOVE || op->kind == STEP_GOING))
			device->interrupted = true;
	}
	/* a replacement may have failed so badly that nothing stands there any more */
	for (uint32_t i = 0; i < truth->op_count; i++) {
		for (uint32_t k = 0; k < truth->bound_count; k++)
			truth->bound[k].leaving |= truth->ops[i].kind == STEP_REPLACE &&
						   truth->bound[k].host == truth->ops[i].host &&
						   truth->bound[k].set == truth->ops[i].set;
	}
	truth->op_count = 0;
	for (uint32_t i = 0; i < truth->bound_count; i++) {
		if (truth->bound[i].leaving) {
			truth_doubt(truth, truth->bound[i].host);
			truth_bound_drop(truth, &truth->bound[i--]);
		}
	}
	for (uint32_t i = 0; i < truth->set_count; i++)
		truth->sets[i].doubt = true;
}
