/* SPDX-License-Identifier: MIT */
/*
 * Moving a set to another host. Included by libpasid.h.
 *
 * For administrators' programs, which have a client at both daemons. From the source's export come
 * name, mode, quota and proof; from its pasid_grant_list() the active numbers, in any order that
 * stays the same; they are reserved at the target. Then the set is committed at the source with
 * what the last reserve said, taken at the target with the word that the commit said, and released
 * at the source with the word that the take said. Each may be asked for again, also after a restart
 * of whoever asks or is asked: pasid_move_find() tells how far a move is. `pasidctl move` does all
 * of it.
 */
#ifndef LIBPASID_MOVE_H
#define LIBPASID_MOVE_H

#include "libpasid.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* At the source: from here on the set stays as it is until it is given or kept. */
int pasid_move_export(struct pasid_client *client, const struct pasid_set_ref *set,
	struct pasid_move_info *ret_info);
int pasid_move_export_async(struct pasid_client *client, const struct pasid_set_ref *set,
	pasid_callback callback, void *userdata);

struct pasid_move_grant {
	bool has_guest;
	uint32_t guest_pasid; /* of an identity set the host's number, too */
	uint64_t data;
};
struct pasid_move_reserve_args {
	uint8_t token[PASID_MOVE_TOKEN];
	uint8_t proof[PASID_MOVE_PROOF]; /* from the export */
	const char *name;
	enum pasid_set_mode mode;
	uint32_t quota, scopes;
	bool has_owner; /* false: the caller's user is charged */
	uint32_t owner_uid;
	uint32_t max;    /* no host PASID above it, 0: any; not of identity sets */
	bool only_check; /* look for conflicts, reserve nothing */
	bool seal;       /* these are the last ones */
	uint32_t total;  /* how many there are in all */
	uint32_t first;  /* how many came before these */
	const struct pasid_move_grant *grants;
	size_t count; /* at most PASID_MOVE_MAX */
};
/*
 * At the target. Numbers of an identity set that cannot be had go to ret_conflicts, which has room
 * for count and may be NULL together with ret_conflict_count; then nothing is reserved, here or by
 * earlier ones. What is refused for good leaves nothing, either.
 */
int pasid_move_reserve(struct pasid_client *client, const struct pasid_move_reserve_args *args,
	struct pasid_move_info *ret_info, uint32_t *ret_conflicts, size_t *ret_conflict_count);
int pasid_move_reserve_async(struct pasid_client *client,
	const struct pasid_move_reserve_args *args, pasid_callback callback, void *userdata);

struct pasid_move_commit_args {
	uint8_t token[PASID_MOVE_TOKEN];
	uint8_t proof[PASID_MOVE_PROOF]; /* these three from the last reserve */
	uint32_t pasids;
	uint64_t sum;
};
/* At the source: the set is the target's. ret_info has the word for that. */
int pasid_move_commit(struct pasid_client *client, const struct pasid_move_commit_args *args,
	struct pasid_move_info *ret_info);
int pasid_move_commit_async(struct pasid_client *client, const struct pasid_move_commit_args *args,
	pasid_callback callback, void *userdata);

struct pasid_move_args {
	uint8_t token[PASID_MOVE_TOKEN];
	uint8_t word[PASID_MOVE_WORD]; /* the other host's */
	bool has_word;
	bool force; /* without a word: the caller vouches for what it would say. Dangerous */
};
/* At the target: the set is here, by the word of the commit. ret_info has the word for that. */
int pasid_move_take(struct pasid_client *client, const struct pasid_move_args *args,
	struct pasid_move_info *ret_info);
int pasid_move_take_async(struct pasid_client *client, const struct pasid_move_args *args,
	pasid_callback callback, void *userdata);
/*
 * First at the source, without a word: it keeps the set, and ret_info has the word for that. Then
 * at the target with it: what was reserved goes.
 */
int pasid_move_cancel(struct pasid_client *client, const struct pasid_move_args *args,
	struct pasid_move_info *ret_info);
int pasid_move_cancel_async(struct pasid_client *client, const struct pasid_move_args *args,
	pasid_callback callback, void *userdata);
/* At the source: what is left of the set goes, by the word of the take. */
int pasid_move_release(struct pasid_client *client, const struct pasid_move_args *args,
	struct pasid_move_info *ret_info);
int pasid_move_release_async(struct pasid_client *client, const struct pasid_move_args *args,
	pasid_callback callback, void *userdata);

/* How far a move is: by token, or with token NULL that of a set. PASID_NOT_FOUND: it is over, or
 * never began. Of a set that was taken there is the word, too. */
int pasid_move_find(struct pasid_client *client, const uint8_t *token,
	const struct pasid_set_ref *set, struct pasid_move_info *ret_info);
/* Moves that are not over. */
int pasid_move_list(struct pasid_client *client, const struct pasid_list_args *args,
	int (*each)(const struct pasid_move_info *info, void *userdata), void *userdata);
int pasid_move_list_async(struct pasid_client *client, const struct pasid_list_args *args,
	pasid_callback callback, void *userdata);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
