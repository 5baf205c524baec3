/* SPDX-License-Identifier: MIT */
#include "broker_private.h"

#include <string.h>

uint32_t grant_of_host(const struct broker *b, uint32_t host)
{
	return host <= PASID_LAST ? b->grant_of[host] - 1 : STATE_NONE;
}

void grant_commit_state(struct broker *b, uint32_t grant, enum grant_state state)
{
	uint64_t word = b->grant_slots[grant].word;

	broker_commit(b, &b->grant_slots[grant].word, (word & ~UINT64_C(0xf)) | state);
}

int grant_refuse_guest_owned(const struct broker *b, uint32_t set, struct error *ret_error)
{
	return error_set(ret_error, REASON_SET_MODE,
		"the guest of set '%.*s' owns its PASID tables and their numbers; the host grants "
		"and binds none",
		SET_NAME(b, set));
}

int grant_resolve(struct broker *b, uint32_t set, struct pasid_ref ref, uint32_t *ret_grant,
	struct error *ret_error)
{
	struct hpasid host = {ref.number};
	uint32_t grant;

	if (set_mode(b, set) == SET_GUEST_OWNED)
		return grant_refuse_guest_owned(b, set, ret_error);
	if (ref.number == 0)
		return error_set(ret_error, REASON_PASID_ZERO,
			"PASID 0 stands for the device's own requests and is never granted");
	if (ref.number > PASID_LAST)
		return error_set_limit(ret_error, REASON_BAD_RANGE, ref.number, PASID_LAST, 0,
			"%u is no PASID; they are 20 bits wide", ref.number);
	if (ref.guest && translate_find(&b->sets[set].map, (struct gpasid){ref.number}, &host) != 0)
		return error_set_limit(ret_error, REASON_GUEST_UNKNOWN, ref.number, 0, 0,
			"set '%.*s' has no guest PASID %u", SET_NAME(b, set), ref.number);
	grant = grant_of_set(b, set, host.v);
	if (grant == STATE_NONE)
		return error_set_limit(ret_error, REASON_NO_PASID, ref.number, 0, 0,
			"set '%.*s' has no PASID %u", SET_NAME(b, set), ref.number);
	*ret_grant = grant;
	return 0;
}

int grant_resolve_active(struct broker *b, uint32_t set, struct pasid_ref ref, uint32_t *ret_grant,
	struct error *ret_error)
{
	uint32_t grant;
	int r;

	r = grant_resolve(b, set, ref, &grant, ret_error);
	if (r)
		return r;
	if (grant_state(&b->grant_slots[grant]) != GRANT_ACTIVE)
		return error_set_limit(ret_error, REASON_NOT_ACTIVE, ref.number, 0, 0,
			"PASID %u of set '%.*s' was freed already", ref.number, SET_NAME(b, set));
	*ret_grant = grant;
	return 0;
}

/* ------------------------------------------------------------------ free */

int broker_free_pasids(struct broker *b, const struct actor *actor, struct set_id id,
	const struct pasid_ref *refs, size_t count, uint32_t *ret_freed, uint32_t *ret_unchanged,
	struct error *ret_error)
{
	uint32_t set, grant, freed = 0, unchanged = 0;
	struct error ignored;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = grant_resolve(b, set, refs[i], &grant, ret_error);
	if (r)
		return r;
	for (size_t i = 0; i < count; i++) {
		/* a number named twice, the second time by a guest number that went with the first
		 */
		if (grant_resolve(b, set, refs[i], &grant, &ignored) == 0 && grant_free(b, grant))
			freed++;
		else
			unchanged++;
	}
	*ret_freed = freed;
	*ret_unchanged = unchanged;
	return 0;
}

int broker_free_all(struct broker *b, const struct actor *actor, struct set_id id,
	uint32_t *ret_freed, struct error *ret_error)
{
	uint32_t set, next, freed = 0;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	for (uint32_t grant = b->sets[set].grants; grant != STATE_NONE; grant = next) {
		next = b->grant_slots[grant].next;
		freed += grant_free(b, grant);
	}
	*ret_freed = freed;
	return 0;
}

/* ------------------------------------------------------------------ guest numbers, data, holds */

void grant_drop_guest(struct broker *b, uint32_t grant)
{
	struct grant_slot *slot = &b->grant_slots[grant];

	if (!grant_has_guest(slot))
		return;
	map_detach(b, slot->set, (struct gpasid){grant_guest(slot)});
	broker_change(b, CHANGE_GUEST_DETACHED, slot->set, grant, STATE_NONE);
	broker_commit(b, &slot->word,
		slot->word & ~(GRANT_HAS_GUEST | (uint64_t)PASID_LAST << GRANT_GUEST_SHIFT));
}

static int guest_attach_check(struct broker *b, uint32_t set, uint32_t grant, struct gpasid guest,
	struct error *ret_error)
{
	struct hpasid other;

	if (set_mode(b, set) != SET_TRANSLATED)
		return error_set(ret_error, REASON_SET_MODE,
			"set '%.*s' does not translate; its guest uses the host's numbers",
			SET_NAME(b, set));
	if (guest.v == 0 || guest.v > PASID_LAST)
		return error_set(ret_error, REASON_BAD_ARGUMENT,
			"a guest PASID is from 1 to %u, not %u", PASID_LAST, guest.v);
	if (grant_has_guest(&b->grant_slots[grant]) && !MUTANT(G))
		return error_set_limit(ret_error, REASON_GUEST_TAKEN, guest.v, 0, 0,
			"host PASID %u stands for guest PASID %u already; detach that first",
			grant_host(&b->grant_slots[grant]), grant_guest(&b->grant_slots[grant]));
	if (translate_find(&b->sets[set].map, guest, &other) == 0)
		return error_set_limit(ret_error, REASON_GUEST_TAKEN, guest.v, 0, 0,
			"guest PASID %u of set '%.*s' stands for host PASID %u already; detach it "
			"first or choose another",
			guest.v, SET_NAME(b, set), other.v);
	return 0;
}

int broker_guest_attach(struct broker *b, const struct actor *actor, struct set_id id,
	struct hpasid host, struct gpasid guest, struct error *ret_error)
{
	uint32_t set, grant;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	r = grant_resolve_active(b, set, (struct pasid_ref){.number = host.v}, &grant, ret_error);
	if (r)
		return r;
	r = guest_attach_check(b, set, grant, guest, ret_error);
	if (r)
		return r;
	r = map_attach(b, set, guest, host, ret_error);
	if (r)
		return r;
	broker_commit(b, &b->grant_slots[grant].word,
		b->grant_slots[grant].word | GRANT_HAS_GUEST |
			(uint64_t)guest.v << GRANT_GUEST_SHIFT);
	broker_change(b, CHANGE_GUEST_ATTACHED, set, grant, STATE_NONE);
	return 0;
}

int broker_guest_detach(struct broker *b, const struct actor *actor, struct set_id id,
	struct gpasid guest, struct error *ret_error)
{
	uint32_t set, grant;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	if (set_mode(b, set) == SET_IDENTITY)
		return error_set(ret_error, REASON_SET_MODE,
			"set '%.*s' does not translate; free the PASID instead", SET_NAME(b, set));
	r = grant_resolve(b, set, (struct pasid_ref){true, guest.v}, &grant, ret_error);
	if (r)
		return r;
	grant_drop_guest(b, grant);
	return 0;
}

int broker_guest_find(struct broker *b, const struct actor *actor, struct set_id id,
	struct gpasid guest, struct hpasid *ret_host, struct error *ret_error)
{
	uint32_t set, grant;
	int r;

	r = set_for_reading(b, actor, id, &set, ret_error);
	if (r)
		return r;
	r = grant_resolve(b, set, (struct pasid_ref){true, guest.v}, &grant, ret_error);
	if (r)
		return r;
	ret_host->v = grant_host(&b->grant_slots[grant]);
	return 0;
}

int broker_data_set(struct broker *b, const struct actor *actor, struct set_id id,
	struct pasid_ref ref, uint64_t data, struct error *ret_error)
{
	uint32_t set, grant;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	r = grant_resolve_active(b, set, ref, &grant, ret_error);
	if (r)
		return r;
	broker_commit(b, &b->grant_slots[grant].data, data);
	broker_change(b, CHANGE_GRANT_DATA, set, grant, STATE_NONE);
	return 0;
}
