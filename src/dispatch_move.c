/* SPDX-License-Identifier: MIT */
/*
 * Sets that move between hosts: the token that names a move, and the words that one daemon gives
 * the other through whoever carries them.
 *
 * A word is a secret until its daemon says it, and it does so only when what it means is recorded:
 * GIVEN and KEPT by the source, TAKEN by the target. The other side has recorded a proof of it
 * before, a hash that anybody can make of the word and nobody makes into it by accident. So a word
 * cannot be had by mixing up messages, of one move or of two. That is all it is for: admins of both
 * hosts are trusted, and whoever carries the messages is one. Nothing of this is recorded but the
 * proof: secrets are made from the token with the host's key, which is there as long as its records
 * are, and so is the answer to whether a token is of this host.
 */
#include <string.h>

#include "broker_move.h"
#include "dispatch_private.h"
#include "siphash.h"

#define MOVE_TOKEN_SIZE 16u
#define MOVE_PROOF_SIZE 8u
#define MOVE_WORD_SIZE  16u

/* What is made from a token with the host's key. */
enum move_secret {
	MOVE_SECRET_TOKEN = 1, /* its second half */
	MOVE_SECRET_GIVEN,
	MOVE_SECRET_KEPT,
	MOVE_SECRET_TAKEN,
	MOVE_SECRET_TAKEN_TOO, /* and its second half */
};

/* What is hashed without a key. */
enum move_hash {
	MOVE_HASH_SECRET = 1,
	MOVE_HASH_SOURCE,
	MOVE_HASH_TARGET,
};

struct move_word {
	uint64_t v[2];
};

/* ---------------------------------------------------------------- tokens, words and proofs */

static void move_put(uint8_t *bytes, const uint64_t *words, size_t count)
{
	for (size_t i = 0; i < 8 * count; i++)
		bytes[i] = (uint8_t)(words[i / 8] >> 8 * (i % 8));
}

static void move_get(const uint8_t *bytes, uint64_t *words, size_t count)
{
	memset(words, 0, 8 * count);
	for (size_t i = 0; i < 8 * count; i++)
		words[i / 8] |= (uint64_t)bytes[i] << 8 * (i % 8);
}

static uint64_t move_secret(
	const struct call *call, enum move_secret secret, const struct move_token *token)
{
	return session_seal(call->d->sessions, secret, token->v);
}

static uint64_t move_hash(enum move_hash purpose, uint64_t first, uint64_t second)
{
	static const struct siphash_key public = {{0}};
	const uint64_t words[2] = {first, second};
	uint8_t bytes[16];

	move_put(bytes, words, 2);
	return siphash(&public, purpose, bytes, sizeof(bytes));
}

static uint64_t move_hash_secret(uint64_t secret)
{
	return move_hash(MOVE_HASH_SECRET, secret, 0);
}

static struct move_token move_fresh(const struct call *call)
{
	struct move_token token = {{0}};

	call->d->ports.random(call->d->ports.ctx, &token.v[0], sizeof(token.v[0]));
	token.v[0] |= 1; /* never 0 */
	token.v[1] = move_secret(call, MOVE_SECRET_TOKEN, &(struct move_token){{token.v[0], 0}});
	return token;
}

/* Was it made by this host, in this boot? */
static bool move_is_ours(const struct call *call, const struct move_token *token)
{
	return token->v[1] ==
	       move_secret(call, MOVE_SECRET_TOKEN, &(struct move_token){{token->v[0], 0}});
}

/* Of the source's two words: each is a secret beside the hash of the other one. */
static uint64_t move_proof_of_source(const struct call *call, const struct move_token *token)
{
	return move_hash(MOVE_HASH_SOURCE,
		move_hash_secret(move_secret(call, MOVE_SECRET_GIVEN, token)),
		move_hash_secret(move_secret(call, MOVE_SECRET_KEPT, token)));
}

static struct move_word move_word_given(const struct call *call, const struct move_token *token)
{
	return (struct move_word){{move_secret(call, MOVE_SECRET_GIVEN, token),
		move_hash_secret(move_secret(call, MOVE_SECRET_KEPT, token))}};
}

static struct move_word move_word_kept(const struct call *call, const struct move_token *token)
{
	return (struct move_word){{move_secret(call, MOVE_SECRET_KEPT, token),
		move_hash_secret(move_secret(call, MOVE_SECRET_GIVEN, token))}};
}

static struct move_word move_word_taken(const struct call *call, const struct move_token *token)
{
	return (struct move_word){{move_secret(call, MOVE_SECRET_TAKEN, token),
		move_secret(call, MOVE_SECRET_TAKEN_TOO, token)}};
}

static uint64_t move_proof_of_given(const struct move_word *word)
{
	return move_hash(MOVE_HASH_SOURCE, move_hash_secret(word->v[0]), word->v[1]);
}

static uint64_t move_proof_of_kept(const struct move_word *word)
{
	return move_hash(MOVE_HASH_SOURCE, word->v[1], move_hash_secret(word->v[0]));
}

static uint64_t move_proof_of_taken(const struct move_word *word)
{
	return move_hash(MOVE_HASH_TARGET, word->v[0], word->v[1]);
}

/* ---------------------------------------------------------------- in requests */

static int move_read(struct call *call, const char *what, const ProtobufCBinaryData *from,
	size_t size, uint64_t *ret_words)
{
	if (from->len != size)
		return error_set_limit(&call->error, REASON_BAD_ARGUMENT, 0, size, from->len,
			"a %s has %zu bytes, not %zu", what, size, from->len);
	move_get(from->data, ret_words, size / 8);
	return 0;
}

static int move_read_token(
	struct call *call, const ProtobufCBinaryData *from, struct move_token *ret_token)
{
	return move_read(call, "move's token", from, MOVE_TOKEN_SIZE, ret_token->v);
}

/* None at all where an admin vouches for what it would say. */
static int move_read_word(struct call *call, const ProtobufCBinaryData *from, bool may_miss,
	struct move_word *ret_word)
{
	*ret_word = (struct move_word){{0}};
	if (may_miss && from->len == 0)
		return 0;
	return move_read(call, "word", from, MOVE_WORD_SIZE, ret_word->v);
}

/* ---------------------------------------------------------------- in replies */

/* `info` outlives the message, which points into it. */
struct move_message {
	Pasid__V1__SetMoveInfo info;
	uint8_t token[MOVE_TOKEN_SIZE], proof[MOVE_PROOF_SIZE], word[MOVE_WORD_SIZE];
};

static void move_fill(struct move_message *message, struct move_info *info)
{
	pasid__v1__set_move_info__init(&message->info);
	move_put(message->token, info->token.v, 2);
	message->info.token = (ProtobufCBinaryData){MOVE_TOKEN_SIZE, message->token};
	message->info.set = info->set.v;
	message->info.name = info->name;
	message->info.state = (Pasid__V1__SetMoveState)info->state;
	message->info.ending = info->ending;
	message->info.mode = (Pasid__V1__SetMode)info->mode;
	message->info.uid = info->uid;
	message->info.quota = info->quota;
	message->info.scopes = info->scopes;
	message->info.pasids = info->grants;
	message->info.sum = info->sum;
}

static void move_fill_proof(struct move_message *message, uint64_t proof)
{
	move_put(message->proof, &proof, 1);
	message->info.proof = (ProtobufCBinaryData){MOVE_PROOF_SIZE, message->proof};
}

static void move_fill_word(struct move_message *message, const struct move_word *word)
{
	move_put(message->word, word->v, 2);
	message->info.word = (ProtobufCBinaryData){MOVE_WORD_SIZE, message->word};
}

/* How far the move is by now, and what is said of it; a move of no set is one that is over. */
static int move_write(
	struct call *call, const struct move_token *token, const struct move_word *word)
{
	struct move_message message;
	struct move_info info;
	struct error over;

	if (broker_move_get(call->d->broker, &call->actor, token, &info, &over))
		info = (struct move_info){.token = *token};
	move_fill(&message, &info);
	if (word)
		move_fill_word(&message, word);
	call_write(call, &message.info.base);
	return 0;
}

/* ---------------------------------------------------------------- the source */

int handle_set_move_export(struct call *call)
{
	const Pasid__V1__SetMoveExport *request = (const void *)call->message;
	const struct move_token fresh = move_fresh(call);
	struct move_message message;
	struct move_info info;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r)
		r = broker_move_export(
			call->d->broker, &call->actor, set, &fresh, &info, &call->error);
	if (r)
		return r;
	move_fill(&message, &info);
	move_fill_proof(&message, move_proof_of_source(call, &info.token));
	call_write(call, &message.info.base);
	return 0;
}

int handle_set_move_commit(struct call *call)
{
	const Pasid__V1__SetMoveCommit *request = (const void *)call->message;
	struct move_token token = {{0}};
	struct move_word word;
	uint64_t proof = 0;
	int r = move_read_token(call, &request->token, &token);

	if (!r)
		r = move_read(call, "proof", &request->proof, MOVE_PROOF_SIZE, &proof);
	if (!r)
		r = broker_move_commit(call->d->broker, &call->actor, &token, proof,
			request->pasids, request->sum, &call->error);
	if (r)
		return r;
	word = move_word_given(call, &token);
	return move_write(call, &token, &word);
}

int handle_set_move_release(struct call *call)
{
	const Pasid__V1__SetMoveRelease *request = (const void *)call->message;
	struct move_token token = {{0}};
	struct move_word word;
	int r = move_read_token(call, &request->token, &token);

	if (!r)
		r = move_read_word(call, &request->word, request->force, &word);
	if (!r)
		r = broker_move_release(call->d->broker, &call->actor, &token,
			move_proof_of_taken(&word), request->force, &call->error);
	return r ? r : move_write(call, &token, NULL);
}

/* ---------------------------------------------------------------- the target */

static int reserve_read(struct call *call, const Pasid__V1__SetMoveReserve *request,
	struct move_grant grants[static BROKER_MOVE_PAGE], struct move_reserve *ret_reserve)
{
	struct move_reserve reserve = {
		.create = {.name = request->name,
			.mode = (enum set_mode)request->mode,
			.has_quota = true,
			.quota = request->quota,
			.has_owner = request->owner_case == PASID__V1__SET_MOVE_RESERVE__OWNER_UID,
			.owner_uid = request->uid},
		.scopes = request->scopes,
		.max = PASID_LAST,
		.only_check = request->only_check,
		.seal = request->seal,
		.total = request->total,
		.first = request->first,
		.grants = grants,
		.count = (uint32_t)request->n_grants,
	};
	int r = move_read_token(call, &request->token, &reserve.token);

	if (!r)
		r = move_read(call, "proof", &request->proof, MOVE_PROOF_SIZE, &reserve.proof);
	if (r)
		return r;
	if (move_is_ours(call, &reserve.token))
		return error_set(&call->error, REASON_BAD_ARGUMENT,
			"set '%s' cannot move from this host to itself", request->name);
	if (request->highest_case == PASID__V1__SET_MOVE_RESERVE__HIGHEST_MAX)
		reserve.max = request->max;
	for (size_t i = 0; i < request->n_grants; i++)
		grants[i] = (struct move_grant){
			.has_guest = request->grants[i]->guest_case ==
				     PASID__V1__SET_MOVE_GRANT__GUEST_GUEST_PASID,
			.guest = {request->grants[i]->guest_pasid},
			.data = request->grants[i]->data,
		};
	*ret_reserve = reserve;
	return 0;
}

int handle_set_move_reserve(struct call *call)
{
	const Pasid__V1__SetMoveReserve *request = (const void *)call->message;
	struct move_grant grants[BROKER_MOVE_PAGE];
	struct move_reserve reserve;
	struct move_message message;
	struct move_info info;
	struct move_word taken;
	uint32_t conflicts = 0;
	int r = reserve_read(call, request, grants, &reserve);

	if (!r)
		r = broker_move_reserve(call->d->broker, &call->actor, &reserve, &info,
			call->d->numbers, &conflicts, &call->error);
	if (r)
		return r;
	move_fill(&message, &info);
	taken = move_word_taken(call, &reserve.token);
	if (info.state == MOVE_RESERVED)
		move_fill_proof(&message, move_proof_of_taken(&taken));
	call_write(call, &message.info.base);
	for (uint32_t i = 0; i < conflicts; i++)
		wire_out_run(&call->out, 14, call->d->numbers[i].v, 1);
	return 0;
}

int handle_set_move_take(struct call *call)
{
	const Pasid__V1__SetMoveTake *request = (const void *)call->message;
	struct move_token token = {{0}};
	struct move_word word;
	int r = move_read_token(call, &request->token, &token);

	if (!r)
		r = move_read_word(call, &request->word, false, &word);
	if (!r)
		r = broker_move_take(call->d->broker, &call->actor, &token,
			move_proof_of_given(&word), &call->error);
	if (r)
		return r;
	word = move_word_taken(call, &token);
	return move_write(call, &token, &word);
}

/* ---------------------------------------------------------------- both */

static int cancel_at_source(struct call *call, const struct move_token *token)
{
	const struct move_word word = move_word_kept(call, token);
	int r = broker_move_keep(call->d->broker, &call->actor, token, &call->error);

	return r ? r : move_write(call, token, &word);
}

/* What this host has named is its own to keep, and otherwise it is the target. */
int handle_set_move_cancel(struct call *call)
{
	const Pasid__V1__SetMoveCancel *request = (const void *)call->message;
	struct move_token token = {{0}};
	struct move_word word;
	int r = move_read_token(call, &request->token, &token);

	if (!r && move_is_ours(call, &token))
		return cancel_at_source(call, &token);
	if (!r) /* what is not sealed needs no word, either */
		r = move_read_word(call, &request->word, true, &word);
	if (!r)
		r = broker_move_drop(call->d->broker, &call->actor, &token,
			move_proof_of_kept(&word), request->force, &call->error);
	return r ? r : move_write(call, &token, NULL);
}

static bool status_add(struct page *page, struct move_info *info)
{
	const struct move_word word = move_word_taken(page->call, &info->token);
	struct move_message message;

	move_fill(&message, info);
	if (info->state == MOVE_RESERVED) /* for who has lost what the last reserve said */
		move_fill_proof(&message, move_proof_of_taken(&word));
	if (info->state == MOVE_TAKEN)
		move_fill_word(&message, &word);
	return page_add(page, &message.info.base);
}

static int status_of_one(
	struct call *call, const Pasid__V1__SetMoveStatus *request, struct move_info *ret_info)
{
	struct move_token token = {{0}};
	struct set_id set;
	int r;

	if (request->set) {
		r = ref_set(call, request->set, &set);
		return r ? r
			 : broker_move_of_set(
				   call->d->broker, &call->actor, set, ret_info, &call->error);
	}
	r = move_read_token(call, &request->token, &token);
	return r ? r
		 : broker_move_get(call->d->broker, &call->actor, &token, ret_info, &call->error);
}

int handle_set_move_status(struct call *call)
{
	const Pasid__V1__SetMoveStatus *request = (const void *)call->message;
	struct page page = page_begin(call, request->after, request->limit);
	struct move_info info;
	int r = 0;

	if (request->set || request->token.len) {
		r = status_of_one(call, request, &info);
		if (!r)
			(void)status_add(&page, &info);
	} else {
		while (broker_move_next(call->d->broker, &call->actor, &page.cursor, &info)) {
			if (!status_add(&page, &info))
				break;
		}
	}
	page_end(&page);
	return r;
}
