/* SPDX-License-Identifier: MIT */
/*
 * What a user, and the host as a whole, may use at once; and the table of everything that is
 * limited. Pure.
 *
 * One account for each resource at each level: the set's (kept by whoever keeps the set), the
 * user's and the host's. A charge goes to all three or to none, and a refusal is counted where it
 * was decided. Users are places in a table of fixed size; a place that nobody refers to any more is
 * kept, with its peaks and hits, until another user needs it.
 *
 * An account of the host and of other users is no business of a client that may not see them: the
 * error for a limit of the host names neither its size nor its use.
 */
#ifndef PASIDD_LIMIT_H
#define PASIDD_LIMIT_H

#include "error.h"
#include "metrics.h"

#define LIMITS_USERS_MAX 16384u
#define LIMITS_NO_USER   UINT32_MAX

/*
 * R(name, text, what, set, user, host): the text is also the key under `limits` of the
 * configuration, with '_' for '-'; `what` is for sentences; then the default limits, 0 for none.
 * A set has one session at a time, so limits of a session are those of its set.
 */
#define LIMITS_RESOURCES(R)                                                                        \
	R(CONNECTIONS, "connections", "connections", 0, 5632, 6144)                                \
	R(SESSIONS, "sessions", "sessions", 0, 8192, 12288)                                        \
	R(SETS, "sets", "sets", 0, 3072, 0)                                                        \
	R(PASIDS, "pasids", "PASIDs in use or in quarantine", 0, 0, 0)                             \
	R(PROMISED, "promised-pasids", "PASIDs promised to sets", 0, 524288, 0)                    \
	R(OPERATIONS, "operations", "operations under way", 64, 2048, 4096)                        \
	R(UNREAD, "unread-bytes", "bytes of unread replies", 262144, 67108864, 134217728)          \
	R(REMEMBERED, "remembered-bytes", "bytes of remembered replies", 131072, 33554432,         \
		67108864)                                                                          \
	R(DESCRIPTORS, "descriptors", "descriptors", 128, 2048, 4096)                              \
	R(RECEIVED, "received-descriptors", "descriptors that came and are not closed", 512, 2048, \
		16384)                                                                             \
	R(DEVICES, "devices", "device registrations", 64, 1024, 0)                                 \
	R(PAGE_TABLES, "page-tables", "page tables and address spaces", 4096, 65536, 0)            \
	R(BINDINGS, "bindings", "bindings", 65536, 524288, 0)                                      \
	R(MAP_PAGES, "map-pages", "pages of guest PASID maps", 2056, 32768, 0)                     \
	R(CLAIMS, "claims", "claims of PASIDs of scope rids", 65536, 524288, 0)                    \
	R(WATCHES, "watches", "watches", 0, 1024, 4096)                                            \
	R(HOLDS, "holds", "holds on PASIDs", 0, 65536, 524288)

enum resource {
#define R(name, text, what, set, user, host) RESOURCE_##name,
	LIMITS_RESOURCES(R)
#undef R
		RESOURCE_COUNT
};

/* The name for programs, and for sentences; never NULL. */
const char *resource_text(enum resource resource);
const char *resource_what(enum resource resource);

/* 0: no limit at that level. */
struct limit_levels {
	uint32_t set, user, host;
};

struct limits_config {
	struct limit_levels of[RESOURCE_COUNT];
};

/* The defaults of the table above. */
void limits_defaults(struct limits_config *ret_config);

/* Accounts of one holder, for every resource; UINT32_MAX as a limit is none. */
struct accounts {
	struct account of[RESOURCE_COUNT];
};

struct limits;

/* -ENOMEM. The configuration is copied. Memory is used as users come. */
int limits_new(const struct limits_config *config, struct limits **ret_limits);
/* NULL is fine. */
void limits_free(struct limits *limits);

/* The accounts of a new set. */
void limits_open_set(const struct limits *limits, struct accounts *ret_set);
/* Another limit of the host's, such as a capacity that was found out; 0: none. */
void limits_set_host(struct limits *limits, enum resource resource, uint32_t limit);

/*
 * Other limits, at run time. What is charged stays charged, be it more than them: only what is new
 * is refused then. The limit of the host for `kept` stays as it is.
 */
void limits_configure(
	struct limits *limits, const struct limits_config *config, enum resource kept);
/* The same for the accounts of a set, of which PASIDs are left alone: their limit is its quota. */
void limits_configure_set(const struct limits *limits, struct accounts *set);

/* ---------------------------------------------------------------- users */

/*
 * The place of a user, to be given back with limits_user_close(). STATUS_QUOTA with REASON_LIMIT
 * when LIMITS_USERS_MAX users have something.
 */
int limits_user_open(
	struct limits *limits, uint32_t uid, uint32_t *ret_user, struct error *ret_error);
/* One more reference to it; returns `user`. */
uint32_t limits_user_ref(struct limits *limits, uint32_t user);
/* LIMITS_NO_USER is fine. Nothing may be charged that only this reference stood for. */
void limits_user_close(struct limits *limits, uint32_t user);
uint32_t limits_user_uid(const struct limits *limits, uint32_t user);

/* ---------------------------------------------------------------- charges */

/*
 * Charges n to the set (NULL: none), the user (LIMITS_NO_USER: none) and the host. 0; or, with
 * nothing charged, STATUS_QUOTA with REASON_LIMIT and a text that names resource, limit, use and
 * remedy.
 */
int limits_charge(struct limits *limits, struct accounts *set, uint32_t user,
	enum resource resource, uint32_t n, struct error *ret_error);
/* The same for what is there already, such as what an earlier run recorded: whatever the limits. */
void limits_charge_anyway(struct limits *limits, struct accounts *set, uint32_t user,
	enum resource resource, uint32_t n);
/*
 * While it is waived nothing is refused: what was recorded under other limits is charged all the
 * same.
 */
void limits_waive(struct limits *limits, bool waived);
/* Gives n back, which was charged to the same three. */
void limits_release(struct limits *limits, struct accounts *set, uint32_t user,
	enum resource resource, uint32_t n);
/* How much more limits_charge() would take; counts no hit. */
uint32_t limits_room(const struct limits *limits, const struct accounts *set, uint32_t user,
	enum resource resource);

/* ---------------------------------------------------------------- looking */

/* The account; of the host with LIMITS_NO_USER. Valid until `limits` is freed. */
const struct account *limits_account(
	const struct limits *limits, uint32_t user, enum resource resource);
/* The next place at or above *cursor that is or was a user's; moves *cursor behind it. */
bool limits_next_user(const struct limits *limits, uint32_t *cursor, uint32_t *ret_user);
/* For tests and the recount: the sum over all users; and references to a user. */
uint64_t limits_sum(const struct limits *limits, enum resource resource);
uint32_t limits_user_refs(const struct limits *limits, uint32_t user);

#endif
