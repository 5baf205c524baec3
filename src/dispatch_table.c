/* SPDX-License-Identifier: MIT */
/* Every operation of the protocol, and what must be so before it is tried. */
#include "dispatch_private.h"

#define ALLOW_READERS (ALLOW_VMM | ALLOW_HANDED | ALLOW_ADMIN | ALLOW_OBSERVER)
#define ALLOW_OWNERS  (ALLOW_VMM | ALLOW_HANDED | ALLOW_ADMIN)
#define ALLOW_MAKERS  (ALLOW_VMM | ALLOW_ADMIN)
#define ALLOW_ALL     (ALLOW_READERS | ALLOW_PARTICIPANT)

#define FDS_NONE    (1u << 0)
#define FDS_ONE     (1u << 1)
#define FDS_ONE_TWO (1u << 1 | 1u << 2)

#define OP(name) [PASID__V1__REQUEST__OPERATION_##name]

/* What only looks. */
#define READ(handler)   .handle = (handler), .fd_counts = FDS_NONE, .has_result = true
#define SEARCH(handler) READ(handler), .cost = cost_search
/* What changes something, and is done when the handler returns. */
#define CHANGE(handler) .handle = (handler), .fd_counts = FDS_NONE, .is_change = true
/* What changes something, and may have to wait for the hardware. */
#define ASYNC(handler, finisher)                                                                   \
	.handle = (handler), .finish = (finisher), .is_change = true, .is_async = true

#define BIND_REPLY (8 + 24 * BROKER_PAIRS_MAX) /* a number, and a table for each pair */

/* Conflicts, and the move. */
#define MOVE_REPLY (DISPATCH_STATUS_MAX + WIRE_RUN_MAX * 1024)

/* clang-format off */
static const struct operation_type operation_types[] = {
	OP(HELLO) = {READ(handle_hello), .roles = ALLOW_ALL, .no_hello = true},
	OP(PING) = {READ(handle_ping), .roles = ALLOW_ALL, .no_hello = true},
	OP(GET_STATUS) = {READ(handle_get_status), .cost = cost_status, .roles = ALLOW_ALL},
	OP(WATCH) = {READ(handle_watch), .cost = cost_watch, .roles = ALLOW_ALL},
	OP(LIMIT_LIST) = {SEARCH(handle_limit_list), .roles = ALLOW_READERS},
	OP(RECOVER) = {CHANGE(handle_recover), .roles = ALLOW_ADMIN, .has_result = true},
	OP(HAND_OVER) = {READ(handle_hand_over), .roles = ALLOW_OWNERS, .cost = cost_work},
	OP(ACKNOWLEDGE) = {CHANGE(handle_acknowledge), .roles = ALLOW_PARTICIPANT, .has_result = true,
		.cost = cost_acknowledge},

	OP(SET_CREATE) = {CHANGE(handle_set_create), .roles = ALLOW_MAKERS, .has_result = true, .cost = cost_work},
	OP(SET_ADJUST) = {CHANGE(handle_set_adjust), .roles = ALLOW_MAKERS, .has_result = true},
	OP(SET_DESTROY) = {ASYNC(handle_set_destroy, finish_set_destroy), .roles = ALLOW_MAKERS,
		.fd_counts = FDS_NONE, .cost = cost_set_destroy, .is_end = true,
		.done = {REASON_NO_SET, REASON_SET_DYING}},
	OP(SET_CONNECT) = {CHANGE(handle_set_connect), .roles = ALLOW_ADMIN, .has_result = true, .cost = cost_work},
	OP(SET_EXPORT) = {READ(handle_set_export), .roles = ALLOW_OWNERS, .cost = cost_work},
	OP(SET_MOVE_EXPORT) = {CHANGE(handle_set_move_export), .roles = ALLOW_ADMIN, .has_result = true,
		.cost = cost_set_move},
	OP(SET_MOVE_RESERVE) = {CHANGE(handle_set_move_reserve), .roles = ALLOW_ADMIN, .has_result = true,
		.cost = cost_set_move_reserve, .reply = MOVE_REPLY},
	OP(SET_MOVE_COMMIT) = {CHANGE(handle_set_move_commit), .roles = ALLOW_ADMIN, .has_result = true,
		.cost = cost_set_move},
	OP(SET_MOVE_TAKE) = {CHANGE(handle_set_move_take), .roles = ALLOW_ADMIN, .has_result = true, .cost = cost_work},
	OP(SET_MOVE_CANCEL) = {CHANGE(handle_set_move_cancel), .roles = ALLOW_ADMIN, .has_result = true, .cost = cost_work},
	OP(SET_MOVE_RELEASE) = {CHANGE(handle_set_move_release), .roles = ALLOW_ADMIN, .has_result = true, .cost = cost_work},
	OP(SET_MOVE_STATUS) = {SEARCH(handle_set_move_status), .roles = ALLOW_ADMIN},
	OP(SET_GET) = {READ(handle_set_get), .roles = ALLOW_READERS},
	OP(SET_LIST) = {SEARCH(handle_set_list), .roles = ALLOW_READERS},

	OP(ALLOCATE) = {CHANGE(handle_allocate), .roles = ALLOW_OWNERS, .has_result = true,
		.cost = cost_allocate, .reply_each = WIRE_RUN_MAX},
	OP(EXTEND) = {CHANGE(handle_extend), .roles = ALLOW_OWNERS, .has_result = true, .cost = cost_work},
	OP(FREE) = {CHANGE(handle_free), .roles = ALLOW_OWNERS, .has_result = true,
		.cost = cost_free},
	OP(GUEST_ATTACH) = {CHANGE(handle_guest_attach), .roles = ALLOW_OWNERS},
	OP(GUEST_DETACH) = {CHANGE(handle_guest_detach), .roles = ALLOW_OWNERS},
	OP(GUEST_FIND) = {READ(handle_guest_find), .roles = ALLOW_READERS},
	OP(HOST_FIND) = {READ(handle_host_find), .roles = ALLOW_ALL},
	OP(DATA_SET) = {CHANGE(handle_data_set), .roles = ALLOW_OWNERS},
	OP(GRANT_LIST) = {SEARCH(handle_grant_list), .roles = ALLOW_READERS},
	OP(QUARANTINE_END) = {CHANGE(handle_quarantine_end), .roles = ALLOW_ADMIN},
	OP(HOLD) = {CHANGE(handle_hold), .roles = ALLOW_OWNERS | ALLOW_PARTICIPANT, .cost = cost_one},
	OP(RELEASE) = {CHANGE(handle_release), .roles = ALLOW_OWNERS | ALLOW_PARTICIPANT, .cost = cost_one},
	OP(HOLD_LIST) = {SEARCH(handle_hold_list), .roles = ALLOW_ALL},

	OP(DEVICE_ADD) = {ASYNC(handle_device_add, finish_device), .roles = ALLOW_OWNERS,
		.fd_counts = FDS_ONE_TWO, .has_result = true, .cost = cost_work},
	OP(DEVICE_SHARE) = {ASYNC(handle_device_share, finish_device), .roles = ALLOW_ADMIN,
		.fd_counts = FDS_NONE, .has_result = true, .cost = cost_work},
	OP(DEVICE_SLICE) = {CHANGE(handle_device_slice), .roles = ALLOW_OWNERS, .has_result = true, .cost = cost_work},
	OP(DEVICE_REMOVE) = {ASYNC(handle_device_remove, NULL), .roles = ALLOW_OWNERS,
		.fd_counts = FDS_NONE, .cost = cost_work, .done = {REASON_NO_DEVICE}},
	OP(DEVICE_LIST) = {SEARCH(handle_device_list), .roles = ALLOW_READERS},
	OP(DEVICE_DRAINED) = {CHANGE(handle_device_drained), .roles = ALLOW_ADMIN,
		.has_result = true, .cost = cost_search},

	OP(MEMORY_MAP) = {ASYNC(handle_memory_map, NULL), .roles = ALLOW_OWNERS,
		.fd_counts = FDS_ONE, .cost = cost_work},
	OP(MEMORY_UNMAP) = {ASYNC(handle_memory_unmap, NULL), .roles = ALLOW_OWNERS,
		.fd_counts = FDS_NONE, .cost = cost_work,
		.done = {REASON_NOT_MAPPED, REASON_NO_DEVICE}},

	OP(BIND) = {ASYNC(handle_bind, finish_bind), .roles = ALLOW_OWNERS, .fd_counts = FDS_NONE,
		.has_result = true, .cost = cost_bind, .reply = BIND_REPLY},
	OP(UNBIND) = {ASYNC(handle_unbind, NULL), .roles = ALLOW_OWNERS, .fd_counts = FDS_NONE,
		.cost = cost_unbind,
		.done = {REASON_NOT_BOUND, REASON_NO_DEVICE, REASON_NO_PASID, REASON_GUEST_UNKNOWN}},
	OP(RID_ATTACH) = {ASYNC(handle_rid_attach, finish_rid_attach), .roles = ALLOW_OWNERS,
		.fd_counts = FDS_NONE, .has_result = true, .cost = cost_work},
	OP(RID_DETACH) = {ASYNC(handle_rid_detach, NULL), .roles = ALLOW_OWNERS,
		.fd_counts = FDS_NONE, .cost = cost_work, .done = {REASON_NOT_BOUND, REASON_NO_DEVICE}},
	OP(BINDING_LIST) = {SEARCH(handle_binding_list), .roles = ALLOW_READERS},
	OP(REPLACE) = {ASYNC(handle_replace, finish_bind), .roles = ALLOW_OWNERS,
		.fd_counts = FDS_NONE, .has_result = true, .cost = cost_work},
};
/* clang-format on */

/* An operation that is appended to the protocol does not build until it has its line here. */
#define OPERATION_LAST PASID__V1__REQUEST__OPERATION_REPLACE
_Static_assert(ARRAY_SIZE(operation_types) == OPERATION_LAST + 1, "a line for the last operation");

const struct operation_type *operation_type(uint32_t operation)
{
	if (operation >= ARRAY_SIZE(operation_types) || !operation_types[operation].handle)
		return NULL;
	return &operation_types[operation];
}
