/* SPDX-License-Identifier: MIT */
/*
 * What requests cost, so that a datagram takes no longer than others can wait. The unit is about
 * what it takes to grant one number.
 */
#include "dispatch_private.h"

#define COST_SEARCH (DISPATCH_COST_MAX / 8) /* a page of a list */
#define COST_WORK   32u                     /* a message to a worker and its result */

uint32_t cost_search(const struct call *call)
{
	(void)call;
	return COST_SEARCH;
}

/* For an admin everything is counted again. */
uint32_t cost_status(const struct call *call)
{
	return call->actor.role == ROLE_ADMIN ? DISPATCH_COST_MAX : COST_SEARCH;
}

uint32_t cost_allocate(const struct call *call)
{
	const Pasid__V1__Allocate *request = (const void *)call->message;

	uint32_t each = request->scope == PASID__V1__SCOPE__SCOPE_RIDS && request->n_devices
				? (uint32_t)request->n_devices
				: 1;

	if (!request->count)
		return each;
	return request->count < BROKER_ALLOCATE_MAX / each ? request->count * each
							   : BROKER_ALLOCATE_MAX;
}

/* How many numbers the set has that the request names. */
static uint32_t cost_numbers(const struct call *call, const Pasid__V1__SetRef *ref)
{
	struct call copy = *call; /* of which an error is of no interest */
	struct set_info info;
	struct set_id set;

	if (ref_set(&copy, ref, &set) ||
		broker_set_get(call->d->broker, &call->actor, set, &info, &copy.error))
		return 0;
	return info.active;
}

uint32_t cost_free(const struct call *call)
{
	const Pasid__V1__Free *request = (const void *)call->message;

	/* A datagram has no room for more than 32 bits can count. */
	return request->all ? cost_numbers(call, request->set) : (uint32_t)request->n_pasids;
}

uint32_t cost_set_destroy(const struct call *call)
{
	const Pasid__V1__SetDestroy *request = (const void *)call->message;

	return COST_WORK + cost_numbers(call, request->set);
}

/* Its numbers are summed up. */
uint32_t cost_set_move(const struct call *call)
{
	return cost_status(call);
}

uint32_t cost_set_move_reserve(const struct call *call)
{
	const Pasid__V1__SetMoveReserve *request = (const void *)call->message;

	return request->seal ? cost_set_move(call) : COST_WORK + (uint32_t)request->n_grants;
}

uint32_t cost_bind(const struct call *call)
{
	const Pasid__V1__Bind *request = (const void *)call->message;

	return COST_WORK * (uint32_t)request->n_pairs;
}

uint32_t cost_unbind(const struct call *call)
{
	const Pasid__V1__Unbind *request = (const void *)call->message;

	return COST_WORK * (request->n_devices ? (uint32_t)request->n_devices : 1);
}

uint32_t cost_acknowledge(const struct call *call)
{
	return (uint32_t)((const Pasid__V1__Acknowledge *)(const void *)call->message)
		->n_host_pasids;
}

/* Events of before are searched for. */
uint32_t cost_watch(const struct call *call)
{
	const Pasid__V1__Watch *request = (const void *)call->message;

	return request->start_case == PASID__V1__WATCH__START_FROM ? COST_SEARCH : 0;
}

uint32_t cost_one(const struct call *call)
{
	(void)call;
	return 1;
}

uint32_t cost_work(const struct call *call)
{
	(void)call;
	return COST_WORK;
}
