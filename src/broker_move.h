/* SPDX-License-Identifier: MIT */
/*
 * Requests that move a set (F42).
 *
 * A set moves from this host's daemon (source) to another's (target), or comes from there. Each
 * step is one change, is for admins only, and may be asked for again: what it does is done once.
 *
 *   source: export -> LEAVING, then commit -> GIVEN and release -> gone, or keep -> as before
 *   target: reserve -> COMING, sealed -> RESERVED, then take -> TAKEN, or drop -> gone
 *
 * While it is LEAVING, GIVEN, COMING or RESERVED other requests that would change it are refused
 * (REASON_SET_MOVING, REASON_SET_MOVED); at the source those that let go of something are not.
 *
 * A `proof` stands for a word of the other daemon, which nobody else knows before it has said it;
 * what a word is and how it becomes a proof is the caller's business (dispatch_move.c).
 */
#ifndef PASIDD_BROKER_MOVE_H
#define PASIDD_BROKER_MOVE_H

#include "broker.h"

#define BROKER_MOVE_PAGE 1024u /* numbers in one reserve */

struct move_token {
	uint64_t v[2]; /* not both 0 */
};

struct move_info {
	struct move_token token;
	struct set_id set;
	char name[STATE_NAME_MAX + 1];
	enum set_move state;
	bool ending; /* what is left of it here goes */
	enum set_mode mode;
	uint32_t uid, quota, scopes;
	uint32_t grants; /* active numbers */
	uint64_t sum;    /* over their guest PASIDs and data, in any order; equal at both hosts */
	uint64_t proof;  /* as it is recorded */
};

/*
 * From here on the set stays as it is until it is given or kept: active grants are what the target
 * is to reserve. `fresh` becomes the name of the move, unless the set is under way already.
 */
int broker_move_export(struct broker *broker, const struct actor *actor, struct set_id set,
	const struct move_token *fresh, struct move_info *ret_info, struct error *ret_error);

struct move_grant {
	bool has_guest;
	struct gpasid guest; /* of an identity set the host's number, too */
	uint64_t data;
};

struct move_reserve {
	struct move_token token;
	uint64_t proof; /* of the source's words */
	struct set_create create;
	uint32_t scopes;
	uint32_t max;    /* no host PASID above it; of translated sets */
	bool only_check; /* conflicts are looked for, nothing is reserved */
	bool seal;       /* these are the last ones, and then there are `total` */
	uint32_t total;
	uint32_t first; /* place of grants[0] among all; those before it were reserved */
	const struct move_grant *grants;
	uint32_t count; /* up to BROKER_MOVE_PAGE */
};

/*
 * Reserves numbers for grants[]: their first part, if it is refused in the middle, as *ret_info
 * then says when it is asked for again. In an identity set none of them when one cannot be had:
 * ret_conflicts, which has room for count, says which, and that is no refusal. A set that is not
 * sealed may be dropped without a word.
 */
int broker_move_reserve(struct broker *broker, const struct actor *actor,
	const struct move_reserve *reserve, struct move_info *ret_info,
	struct hpasid *ret_conflicts, uint32_t *ret_conflict_count, struct error *ret_error);

/*
 * At the source: the set is the target's now. Refused while something of it is bound or under way,
 * and when the target has other numbers reserved (`grants`, `sum`) than the set has. `proof`: of
 * the target's word that it has taken the set. Asked again with another proof: refused.
 */
int broker_move_commit(struct broker *broker, const struct actor *actor,
	const struct move_token *token, uint64_t proof, uint32_t grants, uint64_t sum,
	struct error *ret_error);
/* At the target: the set is this host's, by the source's word that it has given it. */
int broker_move_take(struct broker *broker, const struct actor *actor,
	const struct move_token *token, uint64_t proof, struct error *ret_error);
/*
 * At the source: the move is off and its token is used up. Also when no set is under way with it,
 * for then it never was given, or was released.
 */
int broker_move_keep(struct broker *broker, const struct actor *actor,
	const struct move_token *token, struct error *ret_error);
/*
 * At the target: what was reserved goes, by the source's word that it keeps the set, or without
 * one (`force`) on the word of the admin, who vouches for it. None of it there: done already.
 */
int broker_move_drop(struct broker *broker, const struct actor *actor,
	const struct move_token *token, uint64_t proof, bool force, struct error *ret_error);
/*
 * At the source: what is left of the set goes, numbers through quarantine, by the target's word
 * that it has taken it, or by `force` as above.
 */
int broker_move_release(struct broker *broker, const struct actor *actor,
	const struct move_token *token, uint64_t proof, bool force, struct error *ret_error);

/* REASON_NO_MOVE: no set is, or came, that way. *ret_info without the sum. */
int broker_move_get(struct broker *broker, const struct actor *actor,
	const struct move_token *token, struct move_info *ret_info, struct error *ret_error);
/* The same for the last move of a set. */
int broker_move_of_set(struct broker *broker, const struct actor *actor, struct set_id set,
	struct move_info *ret_info, struct error *ret_error);
/* Those that are not over, for admins; none for others. */
bool broker_move_next(struct broker *broker, const struct actor *actor, uint64_t *cursor,
	struct move_info *ret_info);

#endif
