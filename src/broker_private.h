/* SPDX-License-Identifier: MIT */
/*
 * What the broker's files share. Nobody else includes this.
 *
 * Objects are named by slot number inside (uint32_t, STATE_NONE for none); names for the outside
 * carry a generation (broker_id).
 */
#ifndef PASIDD_BROKER_PRIVATE_H
#define PASIDD_BROKER_PRIVATE_H

#include "broker_participant.h"
#include "broker_run.h"

/* ------------------------------------------------------------------ broker.c */

int pool_take(struct broker *b, struct pool *pool, uint32_t *ret_slot);
/* Why it took none: the table is full, for which the remedy is said, or its file cannot
 * grow. */
static inline int pool_refuse(
	const struct pool *pool, const char *what, const char *full, struct error *ret_error)
{
	if (pool->used >= pool->capacity)
		return error_set(ret_error, REASON_LIMIT,
			"the host has no place for another %s; %s", what, full);
	return error_set(ret_error, REASON_NO_MEMORY,
		"there is no room to record another %s; free space in the runtime directory", what);
}
void pool_give(struct pool *pool, uint32_t slot);
/* A slot that was taken has zeros, and what it had before if the change is taken back. */
void broker_clear_slot(struct broker *b, void *slot, size_t size);
/* A generation for a record's word. */
uint64_t broker_generation(struct broker *b);
/* A name of a device for workers. */
uint32_t broker_handle(struct broker *b);
static inline uint64_t broker_id(uint64_t word, uint32_t slot)
{
	return (word & ~(uint64_t)SLOT_MASK) | (slot + 1u);
}
uint64_t set_name_of(const struct broker *b, uint32_t set); /* 0 for STATE_NONE */
uint64_t device_name_of(const struct broker *b, uint32_t device);
/* Whether the place is still that of the device that had this name, which no other ever
 * has. */
bool device_is_meant(const struct broker *b, uint32_t device, uint64_t name);
/* STATE_NONE unless the name is that of a live record. */
uint32_t set_slot_of(const struct broker *b, struct set_id id);
uint32_t device_slot_of(const struct broker *b, struct device_id id);
void broker_commit(struct broker *b, uint64_t *word, uint64_t value);
void broker_change(
	struct broker *b, enum change_kind kind, uint32_t set, uint32_t grant, uint32_t device);
/* The same, with the session that it is about. */
void broker_change_of(
	struct broker *b, enum change_kind kind, uint32_t set, uint32_t grant, uint64_t session);
uint64_t broker_now(const struct broker *b);

/* The set that the actor may change (or see), by name or its own; dying ones only to be
 * seen. */
int set_for_change(struct broker *b, const struct actor *actor, struct set_id id, uint32_t *ret_set,
	struct error *ret_error);
/* The same for what lets go of something: not refused while the set is leaving. */
int set_for_letting_go(struct broker *b, const struct actor *actor, struct set_id id,
	uint32_t *ret_set, struct error *ret_error);
int set_for_reading(struct broker *b, const struct actor *actor, struct set_id id,
	uint32_t *ret_set, struct error *ret_error);
int actor_must_be_admin(const struct actor *actor, const char *what, struct error *ret_error);
bool actor_sees_all(const struct actor *actor);
/* For printf's %.*s */
#define SET_NAME(b, set)                                                                           \
	(int)strnlen((b)->set_slots[set].name, STATE_NAME_MAX), (b)->set_slots[set].name

static inline enum set_state set_state(const struct broker *b, uint32_t set)
{
	return (enum set_state)STATE_WORD_STATE(b->set_slots[set].word);
}
static inline enum set_mode set_mode(const struct broker *b, uint32_t set)
{
	return (enum set_mode)((b->set_slots[set].word >> 4) & 0xf);
}
static inline enum set_move set_move(const struct broker *b, uint32_t set)
{
	return (enum set_move)((b->set_slots[set].word & SET_MOVE_MASK) >> SET_MOVE_SHIFT);
}
/* It is torn down, and is there again afterwards. */
static inline bool set_is_emptying(const struct broker *b, uint32_t set)
{
	return set_state(b, set) == SET_DYING && (b->set_slots[set].word & SET_WORD_EMPTY);
}
void set_commit_state(struct broker *b, uint32_t set, enum set_state state);
/* Charges a set, its user and the host; gives back. */
static inline int set_charge(
	struct broker *b, uint32_t set, enum resource resource, uint32_t n, struct error *ret_error)
{
	return limits_charge(
		b->ports.limits, &b->sets[set].accounts, b->sets[set].user, resource, n, ret_error);
}
static inline void set_charge_anyway(
	struct broker *b, uint32_t set, enum resource resource, uint32_t n)
{
	limits_charge_anyway(
		b->ports.limits, &b->sets[set].accounts, b->sets[set].user, resource, n);
}
static inline void set_release(struct broker *b, uint32_t set, enum resource resource, uint32_t n)
{
	limits_release(b->ports.limits, &b->sets[set].accounts, b->sets[set].user, resource, n);
}
/* The refusal of whatever is asked of a set that is torn down. */
int set_refuse_ending(const struct broker *b, uint32_t set, struct error *ret_error);
/* It can be found by name and session. */
void set_enter_buckets(struct broker *b, uint32_t set);
/* It is empty, and in use again. */
void set_return(struct broker *b, uint32_t set);
/* Whether it is found by its name, and by the session that it ends with. */
bool set_is_listed(const struct broker *b, uint32_t set);
/* Frees the slot of a gone set when nothing keeps it any more. */
void set_reap(struct broker *b, uint32_t set);
/* Whether nothing but its record is left of it: no numbers, devices, operations. */
void set_close(struct broker *b, uint32_t set);

/* It comes back without anything in it. */
void set_begin_emptying(struct broker *b, uint32_t set);
/* What was to come back empty does not come back: its end goes on, and somebody waits for it. */
void set_take_over_end(struct broker *b, uint32_t set, uint64_t cookie);

/* ------------------------------------------------------------------ broker_move.c */

/* What is asked of a set that is under way, but for the requests of its move. */
int move_refuse(const struct broker *b, uint32_t set, bool letting_go, struct error *ret_error);
/* A set that ends here is not leaving or coming any more; one that was given still is. */
void move_end(struct broker *b, uint32_t set);
/* A part of broker_recount(). */
int move_check_set(const struct broker *b, uint32_t set, struct error *ret_error);

/* ------------------------------------------------------------------ broker_grant.c,
 * broker_quarantine.c */

/* Allocates for the set, whatever it is on its way to. `tell`: how the host stands. */
int grant_allocate(struct broker *b, uint32_t set, bool tell, const struct allocate *a,
	struct hpasid *ret_numbers, struct error *ret_error);

void grant_commit_state(struct broker *b, uint32_t grant, enum grant_state state);
void grant_link(struct broker *b, uint32_t grant, enum grant_list list);
void grant_unlink(struct broker *b, uint32_t grant);
/* Those that cool, which were linked in any order. */
void grants_order_cooling(struct broker *b);
/* Numbers of such a set are its guest's: none is the host's to act on. */
int grant_refuse_guest_owned(const struct broker *b, uint32_t set, struct error *ret_error);
int grant_resolve(struct broker *b, uint32_t set, struct pasid_ref ref, uint32_t *ret_grant,
	struct error *ret_error);
uint32_t grant_of_host(const struct broker *b, uint32_t host);
int grant_resolve_active(struct broker *b, uint32_t set, struct pasid_ref ref, uint32_t *ret_grant,
	struct error *ret_error);
/* Whether a binding of it may be attached. */
bool grant_is_bound(const struct broker *b, uint32_t grant);
uint32_t grant_quarantine(const struct broker *b, uint32_t grant);
/* Frees an active grant; true if it was active. */
bool grant_free(struct broker *b, uint32_t grant);
/* A free-pending grant that nothing uses any more goes into quarantine. */
void grant_settle(struct broker *b, uint32_t grant);
/* The end of its set: it is freed, and goes into quarantine, in which it is held by whoever
 * does.
 */
void grant_end(struct broker *b, uint32_t grant);
/* A quarantined grant whose bindings or whose set changed: sees where it belongs now. */
void grant_requeue(struct broker *b, uint32_t grant);
/*
 * Finds up to count numbers in [min, max] that the set may take back into use; says how
 * many. Of a set that has very many of them some may be missed, in a range that is wide and
 * yet holds few.
 */
uint32_t grants_returnable(const struct broker *b, uint32_t set, uint32_t min, uint32_t max,
	struct hpasid *numbers, uint32_t count);
void grant_drop_guest(struct broker *b, uint32_t grant);

/* ------------------------------------------------------------------ broker_scope.c */

/* A grant has its number, whose slot was written; it has it no more. */
void scope_enter(struct broker *b, uint32_t grant);
void scope_leave(struct broker *b, uint32_t grant);
/* The set's grant of the number; STATE_NONE. */
uint32_t grant_of_set(const struct broker *b, uint32_t set, uint32_t host);
/* The next grant of the same number, another set's; STATE_NONE. */
uint32_t grant_same_number(const struct broker *b, uint32_t grant);
/* The grant of a number that an admin or observer names, of one set if that is named, too.
 */
int grant_named(struct broker *b, const struct actor *actor, struct set_id id, struct hpasid host,
	uint32_t *ret_grant, struct error *ret_error);
/* The groups of a number of scope rids; says how many. */
uint32_t grant_groups(const struct broker *b, uint32_t grant, uint32_t *groups);
uint32_t scope_owner(const struct broker *b, uint32_t group);
/* The same, made when it has no place yet; STATE_NONE: all are taken. */
uint32_t scope_owner_take(struct broker *b, uint32_t group);
/* From now on `unshared` is kept. */
void scope_begin(struct broker *b);
bool grant_claims(const struct broker *b, uint32_t grant, uint32_t group);
/* The groups of devices of the set. */
int scope_read(struct broker *b, uint32_t set, const struct device_id *devices, size_t count,
	struct groups *ret_scope, struct error *ret_error);
/* Numbers in the range that are free in all of the scope, in the order of the search:
 * single ones, or one block of the range's order; says how many. */
uint32_t scope_find(struct broker *b, uint32_t set, const struct groups *scope,
	const struct space_query *range, uint32_t want, struct hpasid *numbers);
/* Room for the claims of n numbers, charged to the set; gives it back unused. */
int scope_prepare(struct broker *b, uint32_t set, const struct groups *scope, uint32_t n,
	struct error *ret_error);
void scope_unprepare(struct broker *b, uint32_t set, const struct groups *scope, uint32_t n);
/* The number is its set's there, for which there is room; nowhere any more. */
void scope_claim(struct broker *b, uint32_t grant, const struct groups *scope);
void scope_drop(struct broker *b, uint32_t grant);
/* Whether it may be attached to the device. */
int scope_check_bind(
	const struct broker *b, uint32_t grant, uint32_t device, struct error *ret_error);
/* Claims that an earlier run recorded, when its grants are there. */
int scope_recover(struct broker *b, struct error *ret_error);
/* Parts of broker_recount(). */
void scope_recount_claims(struct broker *b);
int scope_recount(struct broker *b, struct error *ret_error);
/* ------------------------------------------------------------------ broker_hold.c */
/* All that the session holds is let go of. */
void hold_end_session(struct broker *b, uint64_t session);
/* What the VMM of its set holds of a number. */
void hold_drop_own(struct broker *b, uint32_t grant);
/* Sessions that hold something; `cursor` starts at 0. */
bool hold_next_session(const struct broker *b, uint64_t *cursor, uint64_t *ret_session);
/* Lists and charges, when grants are there. */
int hold_recover(struct broker *b, struct error *ret_error);
/* Parts of broker_recount(): of one grant; of sessions, added up for their users. */
int hold_check_grant(const struct broker *b, uint32_t grant, struct error *ret_error);
int hold_check(const struct broker *b, struct error *ret_error);

/* ------------------------------------------------------------------ broker_participant.c */

/* It is waited for no more, by numbers of which a bounded number is looked at in each tick. */
void participant_end_session(struct broker *b, uint64_t session);
void participant_tick(struct broker *b);
/* When that has something to do; 0: at once. */
uint64_t participant_next_tick(const struct broker *b);
/* The number waits for nobody: an admin says so. */
void participant_waive(struct broker *b, uint32_t grant);
bool participant_next_session(const struct broker *b, uint64_t *cursor, uint64_t *ret_session);
void participant_recover(struct broker *b);
int participant_check(const struct broker *b, struct error *ret_error);

/* ------------------------------------------------------------------ broker_await.c */

/* Announces an unbind and waits for participants; false: for nobody. */
bool await_begin(struct broker *b, struct op *op);
/* One of these has let go of the number, and knows what was announced up to that event. */
bool await_acknowledge(struct broker *b, uint32_t grant, uint32_t mask, uint64_t seen);
/* None of these is waited for any more. */
void await_forget(struct broker *b, uint32_t mask);
/* The end of a set waits for nobody. */
void await_end_set(struct broker *b, uint32_t set);
void await_tick(struct broker *b);
uint64_t await_next_tick(const struct broker *b);
/* Whether the detach of a binding that is bound was announced. */
bool await_has(const struct broker *b, uint32_t binding);
int await_check(const struct broker *b, struct error *ret_error);

/* ------------------------------------------------------------------ broker_device.c */

static inline enum device_state device_state(const struct broker *b, uint32_t device)
{
	return (enum device_state)STATE_WORD_STATE(b->device_slots[device].word);
}
static inline enum device_kind device_kind(const struct broker *b, uint32_t device)
{
	return (enum device_kind)((b->device_slots[device].word >> 4) & 0xf);
}
void device_commit_state(struct broker *b, uint32_t device, enum device_state state);
/* A device that the set has. */
int device_of_set(struct broker *b, uint32_t set, struct device_id id, uint32_t *ret_device,
	struct error *ret_error);
/* Whether it takes the PASID. */
int device_check_width(
	const struct broker *b, uint32_t device, uint32_t host, struct error *ret_error);
/* The device that holds the descriptors: the shared one behind a slice, otherwise itself.
 */
uint32_t device_holder(const struct broker *b, uint32_t device);
int device_for_change(struct broker *b, const struct actor *actor, uint32_t set,
	struct device_id id, uint32_t *ret_device, struct error *ret_error);
void device_drop(struct broker *b, uint32_t device);
/* Our descriptors of it are gone, or go with their worker. */
void device_set_closed(struct broker *b, uint32_t device);
void device_add_start(struct broker *b, struct op *op);
void device_add_completed(struct broker *b, struct op *op, const struct hw_result *result);
void device_remove_start(struct broker *b, struct op *op);
void device_remove_completed(struct broker *b, struct op *op, const struct hw_result *result);
void device_taint(struct broker *b, uint32_t device);
/* Its worker is gone, with our descriptors. */
void device_lost(struct broker *b, uint32_t device);
/* What was bound when all was to be closed: the worker may have come half way. */
void device_doubt_bindings(struct broker *b, uint32_t device);
void device_hw(const struct broker *b, uint32_t device, enum hw_kind kind, struct hw_op *ret_hw);
/* Submits the last operation of a lane; the operation is in PHASE_END from here on. */
void lane_end(struct broker *b, struct op *op, uint64_t lane);
static inline bool device_is_closed(const struct broker *b, uint32_t device)
{
	return b->device_slots[device].word & DEVICE_WORD_CLOSED;
}
#define RID_FORMAT    "%04x:%02x:%02x.%x"
#define RID_ARGS(rid) (rid).v >> 16, ((rid).v >> 8) & 0xffu, ((rid).v >> 3) & 0x1fu, (rid).v & 7u

/* ------------------------------------------------------------------ broker_binding.c,
 * _bind.c, _unbind.c, _memory.c */

static inline enum binding_state binding_state(const struct broker *b, uint32_t binding)
{
	return (enum binding_state)STATE_WORD_STATE(b->binding_slots[binding].word);
}
/* It is, or may be, attached. */
static inline bool binding_is_live(const struct broker *b, uint32_t binding)
{
	return binding_state(b, binding) != BINDING_DRAINING;
}
void binding_commit_state(struct broker *b, uint32_t binding, enum binding_state state);
/* One that an earlier run recorded: lists, counts and charges. */
void binding_recover(struct broker *b, uint32_t binding);
/* Proven absent: on a shared device it goes on as draining, otherwise its slot is freed. */
void binding_gone(struct broker *b, uint32_t binding);
void binding_drop(struct broker *b, uint32_t binding);
/*
 * It may be attached, and nobody can say: with its worker (CHANGE_BINDING_LOST), or because the
 * detach failed (CHANGE_BINDING_TAINTED). Nothing for one that was so already.
 */
void binding_taint(struct broker *b, uint32_t binding, enum change_kind kind);
/* Its detach begins: an intent, of which others are told. */
void binding_begin_end(struct broker *b, uint32_t binding);
/* The same, told alone. */
void binding_tell_end(struct broker *b, uint32_t binding);
/* An intent to attach the grant (STATE_NONE: the RID). STATUS_QUOTA when there is no room for it.
 */
int binding_make(struct broker *b, uint32_t set, uint32_t grant, const struct op_pair *pair,
	uint32_t *ret_binding, struct error *ret_error);
/* Page tables for a binding that is there already, and is to be attached through `device`.
 */
int binding_charge_tables(struct broker *b, uint32_t binding, uint32_t device,
	const struct hw_table *table, struct error *ret_error);
void binding_release_tables(struct broker *b, uint32_t binding, uint32_t device);
/* The binding of a grant, or of the RID, in the table that the device's group has;
 * STATE_NONE: none. */
uint32_t binding_find(const struct broker *b, uint32_t grant, uint32_t device);
/* A binding that waited for draining becomes an intent again, through the slice. */
void binding_take_draining(struct broker *b, uint32_t binding, uint32_t device);
/* A detach succeeded: the set's devices in the group are good again when nothing else of it
 * is tainted there. */
void binding_heal(struct broker *b, uint32_t set, uint32_t group);
/* Hardware operation on the device of a binding. */
void binding_hw(const struct broker *b, uint32_t binding, enum hw_kind kind, struct hw_op *ret_op);
/* Its detach is the operation's next step, in that phase, as its only pair. */
void binding_submit_detach(struct broker *b, struct op *op, uint32_t binding, enum op_phase phase);
void bind_start(struct broker *b, struct op *op);
void bind_completed(struct broker *b, struct op *op, const struct hw_result *result);
/* A new operation on a set, and on a grant of it when ref is given. */
int bind_op_new(struct broker *b, const struct actor *actor, enum op_kind kind, struct set_id id,
	const struct pasid_ref *ref, uint64_t cookie, struct op **ret_op, struct error *ret_error);
int bind_op_add_pairs(struct broker *b, const struct actor *actor, struct op *op,
	const struct bind_pair *pairs, size_t count, struct error *ret_error);
/* Whether the pair's device can take a table at all, and one of that kind. */
int bind_check_device(
	struct broker *b, const struct op *op, const struct op_pair *pair, struct error *ret_error);
int bind_check_table(
	struct broker *b, uint32_t device, const struct hw_table *table, struct error *ret_error);
/* What stands there for the pair, in the outcome. */
void bind_tell_table(struct broker *b, struct op *op, uint32_t index);
/* Whether a binding is an operation's to detach, or to replace its table. */
int unbind_check_binding(struct broker *b, uint32_t binding, struct error *ret_error);
void unbind_start(struct broker *b, struct op *op);
/* Nobody is waited for any more. */
void unbind_go_on(struct broker *b, struct op *op);
void unbind_completed(struct broker *b, struct op *op, const struct hw_result *result);
void memory_start(struct broker *b, struct op *op);
void memory_completed(struct broker *b, struct op *op, const struct hw_result *result);

/* ------------------------------------------------------------------ broker_guest.c */

/* A binding's kind of table. */
static inline enum hw_table_kind binding_kind(const struct broker *b, uint32_t binding)
{
	return (enum hw_table_kind)BINDING_KIND(b->binding_slots[binding].word);
}
/* A guest's own tables are for its sets, and the only ones there. */
int guest_check_mode(const struct broker *b, uint32_t device, const struct hw_table *table,
	struct error *ret_error);
/* Whether the guest's entry can stand under the RID of the device. */
int guest_check_table(const struct broker *b, uint32_t device, const struct hw_table *table,
	struct error *ret_error);
/* Whether it can stand in the place of the binding's. */
int guest_check_replace(const struct broker *b, uint32_t binding, const struct hw_table *table,
	struct error *ret_error);
/* A number that is to be the set's, or bound, in the table of this device, which may be the guest's
 * of another. */
int guest_check_number(const struct broker *b, uint32_t device, struct error *ret_error);
/* The stream of an intent; what the entry was made with. */
void guest_record_stream(struct broker *b, uint32_t device, uint32_t stream);
void guest_record_ids(struct broker *b, uint32_t device, const struct hw_result *result);
/* The same as told, of a binding of that kind. */
void guest_tell(const struct broker *b, uint32_t binding, struct attached_table *told);
/* A part of broker_recount(). */
int guest_recount(const struct broker *b, struct error *ret_error);

/* ------------------------------------------------------------------ broker_replace.c */

void replace_start(struct broker *b, struct op *op);
void replace_completed(struct broker *b, struct op *op, const struct hw_result *result);
/* Whether the table of a binding is being replaced, or was when an earlier run died. */
static inline bool binding_is_replaced(const struct broker *b, uint32_t binding)
{
	return b->binding_slots[binding].next_table != 0;
}
/* The table that it was to have, charged anew. */
void replace_recover(struct broker *b, uint32_t binding);
/* Nothing comes of it: what was charged for the new table is given back. */
void replace_forget(struct broker *b, uint32_t binding);
/* A recovery's question to the worker which table stands there, in PHASE_LOOK; and its answer,
 * which is what is recorded. */
void replace_submit_look(struct broker *b, struct op *op, uint32_t binding);
void replace_looked(struct broker *b, struct op *op, const struct hw_result *result);

/* ------------------------------------------------------------------ broker_table.c */

/* Charges the set for the page tables that an attach through `device` takes. */
int table_charge(struct broker *b, uint32_t device, const struct hw_table *table,
	struct table_charge *ret_charge, struct error *ret_error);
void table_release(struct broker *b, uint32_t device, const struct table_charge *charge);
/* Charges for an address space of the device, unless it was before; kept until that is
 * dropped. *ret_fresh says whether it was charged now. */
int table_use_space(struct broker *b, uint32_t device, uint32_t space, bool *ret_fresh,
	struct error *ret_error);
/* The space was charged, and was not made. */
void table_drop_space(struct broker *b, uint32_t device, uint32_t space);
/* How many tables and spaces of the device itself are charged. */
uint32_t table_count(const struct broker *b, uint32_t device);
/* Gives all of it back. */
void table_drop_spaces(struct broker *b, uint32_t device);

/* ------------------------------------------------------------------ broker_policy.c */

enum broker_policy policy_in_force(const struct broker *b);
/* Where a search in the range begins; what is configured takes effect if it may. */
uint32_t policy_start(struct broker *b, uint32_t cursor, uint32_t min, uint32_t max);

/* ------------------------------------------------------------------ broker_map.c */

/* The guest->host map of a set, with its pages charged. */
int map_attach(struct broker *b, uint32_t set, struct gpasid guest, struct hpasid host,
	struct error *ret_error);
void map_detach(struct broker *b, uint32_t set, struct gpasid guest);
void map_clear(struct broker *b, uint32_t set);

/* ------------------------------------------------------------------ broker_recount.c */

/* What a recount found, with the letter of the invariant. STATUS_INTERNAL. */
int recount_wrong(struct error *ret_error, const char *what, uint64_t object);

/* ------------------------------------------------------------------ broker_limit.c */

/*
 * Parts of broker_recount(): the accounts of each set, added up for its user; then those of
 * users and the host, when all sets were checked.
 */
void limit_clear_users(struct broker *b);
int limit_check_set(struct broker *b, uint32_t set, struct error *ret_error);
int limit_check_users(struct broker *b, struct error *ret_error);

/* ------------------------------------------------------------------ broker.c, for
 * broker_configure.c */

/* -EINVAL: out of range. */
int broker_check_config(const struct broker_config *config, const struct state *state);
/* So many may be out at once, by the configuration. */
uint32_t broker_numbers(const struct broker *b);
/* No unbind that waits for participants waits longer than is configured now. */
void await_shorten(struct broker *b);

/* ------------------------------------------------------------------ broker_reserve.c */

/* Nonzero: no configuration. */
int reservations_check(const struct broker_config *config);
void reservations_open(struct broker *b);
/* What is reserved by b->config, in place of what was until now. */
void reservations_replace(struct broker *b);
/* Parts of broker_recount(): cleared before the first set, each set, the sum of what is set aside.
 */
void reservations_clear(struct broker *b);
int reservations_check_set(struct broker *b, uint32_t set, struct error *ret_error);
int reservations_check_sum(const struct broker *b, uint64_t *sum, struct error *ret_error);

/* ------------------------------------------------------------------ broker_op.c */

/* A place for an operation that starts when nothing before it in its set is in its way. */
int op_new(struct broker *b, enum op_kind kind, uint32_t set, uint64_t cookie, struct op **ret_op,
	struct error *ret_error);
/* The same for what must be done, such as the end of a set: there is a place for each. */
struct op *op_new_duty(struct broker *b, enum op_kind kind, uint32_t set, uint64_t cookie);
/* Gives back a place that was never queued, or whose outcome was fetched. */
void op_discard(struct broker *b, struct op *op);
/* Charges its set for a registration, and for descriptors, until it ends or a record takes
 * over. */
int op_charge(struct broker *b, struct op *op, uint32_t devices, uint32_t descriptors,
	struct error *ret_error);
/* Submits again what the port refused and what must be done. */
void op_retry(struct broker *b);
/* Queues it, and starts it unless it has to wait. */
void op_queue(struct broker *b, struct op *op);
/* Whether the operation's grant is still the number that was meant when it was asked for.
 */
bool op_grant_is_meant(const struct broker *b, const struct op *op);
/* Submits hw for op with the next broker_flush(); a refusal of the port is a result like
 * others. */
void op_submit(struct broker *b, struct op *op, const struct hw_op *hw);
/* Ends it: its outcome's status and error are set by the caller before. */
void op_end(struct broker *b, struct op *op);
void op_end_with(struct broker *b, struct op *op, int status, const struct error *error);
/* Whether an operation of its set that has started is about the binding. */
bool op_has_binding(const struct broker *b, uint32_t binding);
/* A binding was lost with its worker: an operation that is about it goes on without it, and
 * fails.
 */
void op_lose_binding(struct broker *b, uint32_t binding);
/* What a failed result is told as; names the device unless the text does. */
void op_take_error(struct op *op, const struct hw_result *result);
void op_take_loss(struct op *op);

/* ------------------------------------------------------------------ broker_recover.c */

/* Whether anything may be granted, attached or registered for a set; see broker_block(). */
int recover_check_confirmed(const struct broker *b, struct error *ret_error);

void recover_start(struct broker *b, struct op *op);
/* The removal of a device starts, which an earlier run may have started before. */
void recover_remove_start(struct broker *b, const struct op *op);
void recover_completed(struct broker *b, struct op *op, const struct hw_result *result);

/* ------------------------------------------------------------------ broker_destroy.c */

void destroy_start(struct broker *b, struct op *op);
void destroy_completed(struct broker *b, struct op *op, const struct hw_result *result);
/* Ends of sets go on, as far as the work of one tick goes. */
void destroy_tick(struct broker *b);
/* Begins the end of a set; cookie 0: nobody waits. */
void set_begin_end(struct broker *b, uint32_t set, struct op *op);

#endif
