/* SPDX-License-Identifier: MIT */
/* Operations that move a set to another host: public functions, each with its message. */
#include "libpasid_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static ProtobufCBinaryData move_bytes(const uint8_t *bytes, size_t size)
{
	return (ProtobufCBinaryData){size, (uint8_t *)bytes};
}

/* What every one of them answers. */
static int move_result(struct sync *sync, int r, struct pasid_move_info *ret_info)
{
	if (r == 0 && ret_info != NULL)
		*ret_info = *sync->call->result.move.info;
	return r;
}

/* The function pasid_move_NAME(client, args, ret_info). */
#define MOVE_FUNCTION(name, type)                                                                  \
	ASYNC_FUNCTION(move_##name, type)                                                          \
	int pasid_move_##name(                                                                     \
		struct pasid_client *client, type args, struct pasid_move_info *ret_info)          \
	{                                                                                          \
		SYNC(client);                                                                      \
		int r = sync_wait(&sync, start_move_##name(client, args, target_sync(&sync)));     \
		return move_result(&sync, r, ret_info);                                            \
	}

static int start_move_export(
	struct pasid_client *client, const struct pasid_set_ref *set, struct target target)
{
	struct set_key key;
	Pasid__V1__SetMoveExport export = PASID__V1__SET_MOVE_EXPORT__INIT;
	export.set = set_key(&key, set);
	return call_start(client, PASID__V1__REQUEST__OPERATION_SET_MOVE_EXPORT, &export.base, NULL,
		0, target);
}

MOVE_FUNCTION(export, const struct pasid_set_ref *)

/* ------------------------------------------------------------ reserve */

static void reserve_fill(
	Pasid__V1__SetMoveReserve *message, const struct pasid_move_reserve_args *args)
{
	message->token = move_bytes(args->token, sizeof(args->token));
	message->proof = move_bytes(args->proof, sizeof(args->proof));
	message->name = (char *)args->name;
	message->mode = (Pasid__V1__SetMode)args->mode;
	message->quota = args->quota;
	message->scopes = args->scopes;
	if (args->has_owner) {
		message->owner_case = PASID__V1__SET_MOVE_RESERVE__OWNER_UID;
		message->uid = args->owner_uid;
	}
	if (args->max != 0) {
		message->highest_case = PASID__V1__SET_MOVE_RESERVE__HIGHEST_MAX;
		message->max = args->max;
	}
	message->only_check = args->only_check;
	message->seal = args->seal;
	message->total = args->total;
	message->first = args->first;
}

static int reserve_send(struct pasid_client *client, const struct pasid_move_reserve_args *args,
	Pasid__V1__SetMoveGrant *grants, Pasid__V1__SetMoveGrant **pointers, struct target target)
{
	Pasid__V1__SetMoveReserve message = PASID__V1__SET_MOVE_RESERVE__INIT;
	reserve_fill(&message, args);
	for (size_t i = 0; i < args->count; i++) {
		pasid__v1__set_move_grant__init(&grants[i]);
		if (args->grants[i].has_guest) {
			grants[i].guest_case = PASID__V1__SET_MOVE_GRANT__GUEST_GUEST_PASID;
			grants[i].guest_pasid = args->grants[i].guest_pasid;
		}
		grants[i].data = args->grants[i].data;
		pointers[i] = &grants[i];
	}
	message.n_grants = args->count;
	message.grants = pointers;
	return call_start(client, PASID__V1__REQUEST__OPERATION_SET_MOVE_RESERVE, &message.base,
		NULL, 0, target);
}

static int start_move_reserve(struct pasid_client *client,
	const struct pasid_move_reserve_args *args, struct target target)
{
	if (args->name == NULL)
		return client_fail(client, -EINVAL, "bad-argument", "a set needs a name");
	if (args->count > PASID_MOVE_MAX)
		return client_fail(client, -EINVAL, "bad-argument",
			"%zu numbers in one reserve; the most is %u", args->count, PASID_MOVE_MAX);
	Pasid__V1__SetMoveGrant *grants = calloc(args->count + 1, sizeof(*grants));
	Pasid__V1__SetMoveGrant **pointers = calloc(args->count + 1, sizeof(void *));
	int r = -ENOMEM;
	if (grants != NULL && pointers != NULL)
		r = reserve_send(client, args, grants, pointers, target);
	else
		client_fail(client, r, "no-memory", "no memory for a request");
	free(grants);
	free(pointers);
	return r;
}

ASYNC_FUNCTION(move_reserve, const struct pasid_move_reserve_args *)

int pasid_move_reserve(struct pasid_client *client, const struct pasid_move_reserve_args *args,
	struct pasid_move_info *ret_info, uint32_t *ret_conflicts, size_t *ret_conflict_count)
{
	SYNC(client);
	int r = sync_wait(&sync, start_move_reserve(client, args, target_sync(&sync)));
	if (r != 0)
		return r;
	const struct pasid_result_move *move = &sync.call->result.move;
	if (move->count > args->count)
		return client_fail(client, -EPROTO, "malformed",
			"the daemon named %zu conflicts of %zu numbers", move->count, args->count);
	if (ret_conflict_count != NULL)
		*ret_conflict_count = move->count;
	if (ret_conflicts != NULL && move->count > 0)
		memcpy(ret_conflicts, move->conflicts, move->count * sizeof(*ret_conflicts));
	return move_result(&sync, 0, ret_info);
}

/* ------------------------------------------------------------ commit, take, cancel, release */

static int start_move_commit(struct pasid_client *client, const struct pasid_move_commit_args *args,
	struct target target)
{
	Pasid__V1__SetMoveCommit commit = PASID__V1__SET_MOVE_COMMIT__INIT;
	commit.token = move_bytes(args->token, sizeof(args->token));
	commit.proof = move_bytes(args->proof, sizeof(args->proof));
	commit.pasids = args->pasids;
	commit.sum = args->sum;
	return call_start(client, PASID__V1__REQUEST__OPERATION_SET_MOVE_COMMIT, &commit.base, NULL,
		0, target);
}

MOVE_FUNCTION(commit, const struct pasid_move_commit_args *)

static ProtobufCBinaryData move_word(const struct pasid_move_args *args)
{
	return move_bytes(args->word, args->has_word ? sizeof(args->word) : 0);
}

static int start_move_take(
	struct pasid_client *client, const struct pasid_move_args *args, struct target target)
{
	Pasid__V1__SetMoveTake take = PASID__V1__SET_MOVE_TAKE__INIT;
	take.token = move_bytes(args->token, sizeof(args->token));
	take.word = move_word(args);
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_SET_MOVE_TAKE, &take.base, NULL, 0, target);
}

MOVE_FUNCTION(take, const struct pasid_move_args *)

static int start_move_cancel(
	struct pasid_client *client, const struct pasid_move_args *args, struct target target)
{
	Pasid__V1__SetMoveCancel cancel = PASID__V1__SET_MOVE_CANCEL__INIT;
	cancel.token = move_bytes(args->token, sizeof(args->token));
	cancel.word = move_word(args);
	cancel.force = args->force;
	return call_start(client, PASID__V1__REQUEST__OPERATION_SET_MOVE_CANCEL, &cancel.base, NULL,
		0, target);
}

MOVE_FUNCTION(cancel, const struct pasid_move_args *)

static int start_move_release(
	struct pasid_client *client, const struct pasid_move_args *args, struct target target)
{
	Pasid__V1__SetMoveRelease release = PASID__V1__SET_MOVE_RELEASE__INIT;
	release.token = move_bytes(args->token, sizeof(args->token));
	release.word = move_word(args);
	release.force = args->force;
	return call_start(client, PASID__V1__REQUEST__OPERATION_SET_MOVE_RELEASE, &release.base,
		NULL, 0, target);
}

MOVE_FUNCTION(release, const struct pasid_move_args *)

/* ------------------------------------------------------------ how far */

static int start_move_find(struct pasid_client *client, const uint8_t *token,
	const struct pasid_set_ref *set, struct target target)
{
	struct set_key key;
	Pasid__V1__SetMoveStatus status = PASID__V1__SET_MOVE_STATUS__INIT;
	if (token != NULL)
		status.token = move_bytes(token, PASID_MOVE_TOKEN);
	else
		status.set = set_key(&key, set);
	return call_start(client, PASID__V1__REQUEST__OPERATION_SET_MOVE_STATUS, &status.base, NULL,
		0, target);
}

int pasid_move_find(struct pasid_client *client, const uint8_t *token,
	const struct pasid_set_ref *set, struct pasid_move_info *ret_info)
{
	SYNC(client);
	if (token == NULL && (set == NULL || (set->id == 0 && set->name == NULL)))
		return client_fail(client, -EINVAL, "bad-argument", "name a move or a set");
	int r = sync_wait(&sync, start_move_find(client, token, set, target_sync(&sync)));
	if (r != 0)
		return r;
	if (sync.call->result.page.count != 1)
		return client_fail(client, -EPROTO, "malformed",
			"the daemon told of %zu moves where one was asked for",
			sync.call->result.page.count);
	*ret_info = sync.call->result.page.moves[0];
	return 0;
}

static int start_move_list(
	struct pasid_client *client, const struct pasid_list_args *args, struct target target)
{
	Pasid__V1__SetMoveStatus status = PASID__V1__SET_MOVE_STATUS__INIT;
	status.after = args->after;
	status.limit = args->limit;
	return call_start(client, PASID__V1__REQUEST__OPERATION_SET_MOVE_STATUS, &status.base, NULL,
		0, target);
}

int pasid_move_list_async(struct pasid_client *client, const struct pasid_list_args *args,
	pasid_callback callback, void *userdata)
{
	struct pasid_list_args all = {0};
	return start_move_list(
		client, args != NULL ? args : &all, target_async(callback, userdata));
}

int pasid_move_list(struct pasid_client *client, const struct pasid_list_args *args,
	int (*each)(const struct pasid_move_info *info, void *userdata), void *userdata)
{
	struct pasid_list_args page = args != NULL ? *args : (struct pasid_list_args){0};
	for (;;) {
		SYNC(client);
		int r = sync_wait(&sync, start_move_list(client, &page, target_sync(&sync)));
		if (r != 0)
			return r;
		const struct pasid_result_page *result = &sync.call->result.page;
		for (size_t i = 0; i < result->count; i++) {
			r = each(&result->moves[i], userdata);
			if (r != 0)
				return r;
		}
		if (result->next == 0)
			return 0;
		page.after = result->next;
	}
}
