/* SPDX-License-Identifier: MIT */
/*
 * Why something was refused: a stable reason for programs and a sentence for people.
 *
 * A `struct error` is filled by the function that refuses and passed up untouched to the edge,
 * which sends or logs it once. Plain memory: it may be copied, sent to another process and
 * compared.
 */
#ifndef PASIDD_ERROR_H
#define PASIDD_ERROR_H

#include "base.h"

/* R(name, stable text, status): the texts are part of the protocol; never change or reuse one. */
#define ERROR_REASONS(R)                                                                           \
	R(NONE, "", STATUS_OK)                                                                     \
	/* requests */                                                                             \
	R(MALFORMED, "malformed", STATUS_INVALID)                                                  \
	R(UNKNOWN_FIELD, "unknown-field", STATUS_INVALID)                                          \
	R(UNKNOWN_OPERATION, "unknown-operation", STATUS_UNSUPPORTED)                              \
	R(TOO_LARGE, "too-large", STATUS_INVALID)                                                  \
	R(BAD_ARGUMENT, "bad-argument", STATUS_INVALID)                                            \
	R(BAD_RANGE, "bad-range", STATUS_INVALID)                                                  \
	R(VERSION, "version-not-supported", STATUS_UNSUPPORTED)                                    \
	R(FEATURE, "feature-not-supported", STATUS_UNSUPPORTED)                                    \
	R(HELLO_FIRST, "hello-first", STATUS_STATE)                                                \
	R(HELLO_TWICE, "hello-twice", STATUS_STATE)                                                \
	R(RESUME_UNKNOWN, "resume-token-unknown", STATUS_NOT_FOUND)                                \
	R(ID_REUSED, "request-id-reused", STATUS_INVALID)                                          \
	R(ID_TOO_OLD, "request-id-below-window", STATUS_INVALID)                                   \
	R(WINDOW_FULL, "request-window-full", STATUS_RETRY)                                        \
	R(DEADLINE, "deadline-passed", STATUS_PENDING)                                             \
	R(OVERLOAD, "too-many-requests", STATUS_RETRY)                                             \
	/* descriptors */                                                                          \
	R(FD_COUNT, "descriptor-count", STATUS_INVALID)                                            \
	R(FD_TRUNCATED, "descriptors-truncated", STATUS_RETRY)                                     \
	R(FD_KIND, "descriptor-kind", STATUS_INVALID)                                              \
	R(FD_FOREIGN, "descriptor-foreign", STATUS_DENIED)                                         \
	R(FD_NOT_KEPT, "descriptor-not-kept", STATUS_STATE)                                        \
	/* authority */                                                                            \
	R(ROLE, "role-not-allowed", STATUS_DENIED)                                                 \
	R(POLICY, "policy-denies", STATUS_DENIED)                                                  \
	R(NO_SET, "no-set", STATUS_NOT_FOUND)                                                      \
	R(SET_EXISTS, "set-exists", STATUS_EXISTS)                                                 \
	R(SET_NOT_EMPTY, "set-not-empty", STATUS_BUSY)                                             \
	R(SET_DYING, "set-dying", STATUS_STATE)                                                    \
	R(SET_EMPTYING, "set-emptying", STATUS_RETRY)                                              \
	R(SET_CONNECTED, "set-connected", STATUS_BUSY)                                             \
	R(PEER, "peer-unknown", STATUS_DENIED)                                                     \
	R(HANDOVER_UNKNOWN, "hand-over-unknown", STATUS_NOT_FOUND)                                 \
	R(HANDED_OVER, "handed-over", STATUS_STATE)                                                \
	R(SET_MODE, "set-mode", STATUS_STATE)                                                      \
	R(SCOPE, "scope-not-allowed", STATUS_DENIED)                                               \
	R(SET_MOVING, "set-moving", STATUS_RETRY)                                                  \
	R(SET_MOVED, "set-moved", STATUS_STATE)                                                    \
	R(SET_BOUND, "set-bound", STATUS_BUSY)                                                     \
	R(NO_MOVE, "no-move", STATUS_NOT_FOUND)                                                    \
	R(MOVE_STEP, "move-step", STATUS_STATE)                                                    \
	R(MOVE_WORD, "move-word", STATUS_DENIED)                                                   \
	R(MOVE_CONTENT, "move-content", STATUS_STATE)                                              \
	/* limits */                                                                               \
	R(SET_QUOTA, "set-quota", STATUS_QUOTA)                                                    \
	R(USER_QUOTA, "user-quota", STATUS_QUOTA)                                                  \
	R(HOST_QUOTA, "host-quota", STATUS_QUOTA)                                                  \
	R(BELOW_USE, "quota-below-use", STATUS_QUOTA)                                              \
	R(LIMIT, "limit", STATUS_QUOTA)                                                            \
	/* numbers */                                                                              \
	R(NO_PASID, "no-pasid", STATUS_NOT_FOUND)                                                  \
	R(NONE_FREE, "none-free", STATUS_EXHAUSTED)                                                \
	R(PASID_ZERO, "pasid-zero", STATUS_INVALID)                                                \
	R(PASID_WIDTH, "pasid-width", STATUS_INVALID)                                              \
	R(NOT_ACTIVE, "not-active", STATUS_STATE)                                                  \
	R(HELD, "held", STATUS_BUSY)                                                               \
	R(NOT_HELD, "not-held", STATUS_STATE)                                                      \
	R(GUEST_TAKEN, "guest-pasid-taken", STATUS_EXISTS)                                         \
	R(GUEST_UNKNOWN, "guest-pasid-unknown", STATUS_NOT_FOUND)                                  \
	R(PASID_TAKEN, "pasid-taken", STATUS_EXISTS)                                               \
	R(OUTSIDE_SCOPE, "outside-scope", STATUS_STATE)                                            \
	R(AMBIGUOUS, "pasid-ambiguous", STATUS_INVALID)                                            \
	/* devices */                                                                              \
	R(NO_DEVICE, "no-device", STATUS_NOT_FOUND)                                                \
	R(DEVICE_TAKEN, "device-taken", STATUS_EXISTS)                                             \
	R(DEVICE_BUSY, "device-busy", STATUS_BUSY)                                                 \
	R(DEVICE_GOING, "device-going", STATUS_STATE)                                              \
	R(DEVICE_TAINTED, "device-tainted", STATUS_STATE)                                          \
	R(DEVICE_SHARED, "device-shared", STATUS_STATE)                                            \
	R(DEVICE_NO_WIDTH, "device-without-pasid", STATUS_UNSUPPORTED)                             \
	R(GROUP_TAKEN, "group-taken", STATUS_EXISTS)                                               \
	R(GROUP_TABLE, "group-other-table", STATUS_EXISTS)                                         \
	R(ALREADY_BOUND, "already-bound", STATUS_EXISTS)                                           \
	R(NOT_BOUND, "not-bound", STATUS_NOT_FOUND)                                                \
	R(RID_ATTACHED, "rid-attached", STATUS_EXISTS)                                             \
	R(BUSY, "operation-in-progress", STATUS_BUSY)                                              \
	R(RID_PASIDS, "rid-pasids", STATUS_BUSY)                                                   \
	/* page tables and memory */                                                               \
	R(TABLE_KIND, "table-kind", STATUS_INVALID)                                                \
	R(TABLE_ID, "table-unknown", STATUS_NOT_FOUND)                                             \
	R(TABLE_PASID, "table-without-pasid", STATUS_INVALID)                                      \
	R(TABLE_WIDTH, "table-address-width", STATUS_INVALID)                                      \
	R(TABLE_FLAGS, "table-flags", STATUS_INVALID)                                              \
	R(TABLE_ADDRESS, "table-address", STATUS_INVALID)                                          \
	R(TABLE_FIELD, "table-field", STATUS_INVALID)                                              \
	R(STREAM_TAKEN, "stream-taken", STATUS_EXISTS)                                             \
	R(STREAM_FIXED, "stream-fixed", STATUS_STATE)                                              \
	R(RID_CLAIMED, "rid-claimed", STATUS_STATE)                                                \
	R(PASIDS_BOUND, "pasids-bound", STATUS_STATE)                                              \
	R(NO_NESTING, "no-nesting", STATUS_UNSUPPORTED)                                            \
	R(MAP_OVERLAP, "map-overlap", STATUS_EXISTS)                                               \
	R(NOT_MAPPED, "not-mapped", STATUS_NOT_FOUND)                                              \
	/* kernel and hardware */                                                                  \
	R(NO_PASID_ATTACH, "kernel-without-pasid-attach", STATUS_UNSUPPORTED)                      \
	R(BIND_REFUSED, "device-bind-refused", STATUS_HARDWARE)                                    \
	R(KERNEL_REFUSED, "kernel-refused", STATUS_HARDWARE)                                       \
	R(RESET_RUNNING, "reset-running", STATUS_RETRY)                                            \
	R(MEMLOCK, "memlock-limit", STATUS_HARDWARE)                                               \
	R(WORKER_LOST, "worker-lost", STATUS_HARDWARE)                                             \
	R(UNDO_FAILED, "undo-failed", STATUS_HARDWARE)                                             \
	R(BINDING_LOST, "binding-lost", STATUS_HARDWARE)                                           \
	/* ours */                                                                                 \
	R(UNCONFIRMED, "unconfirmed", STATUS_STATE)                                                \
	R(NO_MEMORY, "no-memory", STATUS_RETRY)                                                    \
	R(SHUTTING_DOWN, "shutting-down", STATUS_RETRY)                                            \
	R(INTERNAL, "internal", STATUS_INTERNAL)

enum reason {
#define R(name, text, status) REASON_##name,
	ERROR_REASONS(R)
#undef R
		REASON_COUNT
};

struct error {
	uint32_t reason;      /* enum reason */
	int32_t sys_errno;    /* what the kernel said, 0 when it was not asked */
	uint64_t object;      /* the set, PASID, RID or id that it is about */
	uint64_t limit, used; /* both 0 when no limit is involved */
	char text[232]; /* names the object, the limit, the use and the remedy; always terminated */
};
ASSERT_SIZE(struct error, 264);

/* The stable text of a reason, never NULL; "internal" for a number that is none. */
const char *reason_text(enum reason reason);
/* The status that goes with a reason. */
enum status reason_status(enum reason reason);
/* The stable text of a status ("quota", "not-found", ...), never NULL. */
const char *status_text(enum status status);

/*
 * Fills *ret_error and returns the status that goes with the reason, so that a check reads
 * `return error_set(ret_error, REASON_..., "...")`. A text that does not fit is cut, never lost.
 */
__attribute__((format(printf, 3, 4))) int error_set(
	struct error *ret_error, enum reason reason, const char *format, ...);

/* The same with the object and the limit that programs can read; returns the status. */
__attribute__((format(printf, 6, 7))) int error_set_limit(struct error *ret_error,
	enum reason reason, uint64_t object, uint64_t limit, uint64_t used, const char *format,
	...);

#endif
