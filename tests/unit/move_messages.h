/* SPDX-License-Identifier: MIT */
/*
 * Two dispatchers, and who carries the messages of a move between them (F42); each file that
 * includes this has its own.
 */
#ifndef PASIDD_TEST_MOVE_MESSAGES_H
#define PASIDD_TEST_MOVE_MESSAGES_H

#include "dispatch_rig.h"

#include <string.h>

#define PROOF 8
#define WORD  16
#define COUNT 3 /* numbers of the set */
#define GUEST 70000u

static struct rig rig, *const source = &rig;
static struct rig other_rig, *const target = &other_rig;
static struct link *from, *to; /* admins of both */
static struct link *vmm;       /* of the set "vm", which most tests move */

/* What a daemon said of a move; without gaps, so that two can be compared as bytes. */
struct said {
	uint8_t token[WORD], proof[PROOF], word[WORD];
	size_t proof_size, word_size, conflicts;
	uint64_t set, sum;
	uint32_t state, pasids, quota, uid;
	uint64_t ending;
};
ASSERT_SIZE(struct said, 2 * WORD + PROOF + 5 * 8 + 4 * 4 + 8);

static inline struct said heard(const Pasid__V1__SetMoveInfo *info)
{
	struct said said = {
		.proof_size = info->proof.len,
		.word_size = info->word.len,
		.conflicts = info->n_conflicts,
		.state = info->state,
		.set = info->set,
		.sum = info->sum,
		.pasids = info->pasids,
		.quota = info->quota,
		.uid = info->uid,
		.ending = info->ending ? 1 : 0,
	};

	ck_assert_uint_eq(info->token.len, WORD);
	memcpy(said.token, info->token.data, WORD);
	ck_assert(!said.proof_size || said.proof_size == PROOF);
	ck_assert(!said.word_size || said.word_size == WORD);
	if (said.proof_size)
		memcpy(said.proof, info->proof.data, PROOF);
	if (said.word_size)
		memcpy(said.word, info->word.data, WORD);
	return said;
}

static inline ProtobufCBinaryData bytes_of(uint8_t *bytes, size_t size)
{
	return (ProtobufCBinaryData){size, size ? bytes : NULL};
}

/* ---------------------------------------------------------------- two hosts */

static inline void open_target(void)
{
	rig_config(target);
	target->random = 77; /* another key than the source's */
	rig_open(target);
	from = rig_hello(source, ROLE_ADMIN);
	to = rig_hello(target, ROLE_ADMIN);
}

static inline void close_target(void)
{
	rig_run(target);
	rig_check(target);
	rig_close(target);
	rig_run(source);
}

/* The set "vm" at the source: numbers with and without guest PASID. */
static inline void make_set(enum set_mode mode)
{
	Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;

	open_target();
	vmm = rig_vmm(source, "vm", mode);
	for (uint32_t i = 0; i < COUNT; i++) {
		allocate.data = 100 + i;
		allocate.guest_case = mode == SET_TRANSLATED && i < 2
					      ? PASID__V1__ALLOCATE__GUEST_GUEST_PASID
					      : PASID__V1__ALLOCATE__GUEST__NOT_SET;
		allocate.guest_pasid = GUEST + i;
		(void)rig_ok(source, vmm, OPERATION(ALLOCATE), &allocate);
	}
}

static inline Pasid__V1__SetRef *the_set(const char *name)
{
	static Pasid__V1__SetRef ref;

	pasid__v1__set_ref__init(&ref);
	ref.key_case = PASID__V1__SET_REF__KEY_NAME;
	ref.name = (char *)name;
	return &ref;
}

/* ---------------------------------------------------------------- messages */

static inline struct said begin(void)
{
	Pasid__V1__SetMoveExport request = PASID__V1__SET_MOVE_EXPORT__INIT;

	request.set = the_set("vm");
	return heard(rig_ok(source, from, OPERATION(SET_MOVE_EXPORT), &request)->set_move_export);
}

static Pasid__V1__SetMoveGrant grant[COUNT], *grants[COUNT];

/* What is to be reserved for a set that was exported so; numbers of an identity set from `first`
 * on.
 */
static inline Pasid__V1__SetMoveReserve reserving(
	struct said *exported, enum set_mode mode, uint32_t first)
{
	Pasid__V1__SetMoveReserve request = PASID__V1__SET_MOVE_RESERVE__INIT;

	request.token = bytes_of(exported->token, WORD);
	request.proof = bytes_of(exported->proof, exported->proof_size);
	request.name = (char *)"vm";
	request.mode = (Pasid__V1__SetMode)mode;
	request.quota = 10;
	request.total = COUNT;
	request.grants = grants;
	request.n_grants = COUNT;
	request.seal = true;
	for (uint32_t i = 0; i < COUNT; i++) {
		pasid__v1__set_move_grant__init(&grant[i]);
		grant[i].data = 100 + i;
		grant[i].guest_pasid = first + i;
		if (mode == SET_IDENTITY || i < 2)
			grant[i].guest_case = PASID__V1__SET_MOVE_GRANT__GUEST_GUEST_PASID;
		grants[i] = &grant[i];
	}
	return request;
}

static inline struct said reserve(const Pasid__V1__SetMoveReserve *request)
{
	return heard(rig_ok(target, to, OPERATION(SET_MOVE_RESERVE), request)->set_move_reserve);
}

static inline Pasid__V1__SetMoveCommit committing(struct said *exported, struct said *reserved)
{
	Pasid__V1__SetMoveCommit request = PASID__V1__SET_MOVE_COMMIT__INIT;

	request.token = bytes_of(exported->token, WORD);
	request.proof = bytes_of(reserved->proof, reserved->proof_size);
	request.pasids = reserved->pasids;
	request.sum = reserved->sum;
	return request;
}

static inline struct said commit(struct said *exported, struct said *reserved)
{
	Pasid__V1__SetMoveCommit request = committing(exported, reserved);

	return heard(rig_ok(source, from, OPERATION(SET_MOVE_COMMIT), &request)->set_move_commit);
}

static inline Pasid__V1__SetMoveTake taking(struct said *exported, struct said *given)
{
	Pasid__V1__SetMoveTake request = PASID__V1__SET_MOVE_TAKE__INIT;

	request.token = bytes_of(exported->token, WORD);
	request.word = bytes_of(given->word, given->word_size);
	return request;
}

static inline struct said take(struct said *exported, struct said *given)
{
	Pasid__V1__SetMoveTake request = taking(exported, given);

	return heard(rig_ok(target, to, OPERATION(SET_MOVE_TAKE), &request)->set_move_take);
}

static inline Pasid__V1__SetMoveRelease releasing(struct said *exported, struct said *taken)
{
	Pasid__V1__SetMoveRelease request = PASID__V1__SET_MOVE_RELEASE__INIT;

	request.token = bytes_of(exported->token, WORD);
	request.word = bytes_of(taken->word, taken->word_size);
	return request;
}

static inline struct said release(struct said *exported, struct said *taken)
{
	Pasid__V1__SetMoveRelease request = releasing(exported, taken);

	return heard(rig_ok(source, from, OPERATION(SET_MOVE_RELEASE), &request)->set_move_release);
}

static inline Pasid__V1__SetMoveCancel cancelling(struct said *exported, struct said *kept)
{
	Pasid__V1__SetMoveCancel request = PASID__V1__SET_MOVE_CANCEL__INIT;

	request.token = bytes_of(exported->token, WORD);
	if (kept)
		request.word = bytes_of(kept->word, kept->word_size);
	return request;
}

static inline struct said cancel(struct rig *r, struct said *exported, struct said *kept)
{
	Pasid__V1__SetMoveCancel request = cancelling(exported, kept);

	return heard(rig_ok(r, r == source ? from : to, OPERATION(SET_MOVE_CANCEL), &request)
			     ->set_move_cancel);
}

/* Of one move; it must be the only one that is told. */
static inline struct said status_of(struct rig *r, struct said *exported, const char *set)
{
	Pasid__V1__SetMoveStatus request = PASID__V1__SET_MOVE_STATUS__INIT;
	const Pasid__V1__SetMoveStatusResult *result;

	if (exported)
		request.token = bytes_of(exported->token, WORD);
	if (set)
		request.set = the_set(set);
	result = rig_ok(r, r == source ? from : to, OPERATION(SET_MOVE_STATUS), &request)
			 ->set_move_status;
	ck_assert_uint_eq(result->n_moves, 1);
	ck_assert_uint_eq(result->next, 0);
	return heard(result->moves[0]);
}

static inline bool has_set(struct rig *r)
{
	Pasid__V1__SetGet get = PASID__V1__SET_GET__INIT;

	get.set = the_set("vm");
	return !rig_call(r, r == source ? from : to, OPERATION(SET_GET), &get)->status;
}

#endif
