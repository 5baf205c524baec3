/* SPDX-License-Identifier: MIT */
/* What the tests of hand-over have in common; each file has its own. */
#ifndef PASIDD_TEST_HANDOVER_RIG_H
#define PASIDD_TEST_HANDOVER_RIG_H

#include "dispatch_rig.h"

#include <string.h>

#define OLD    4711 /* the process of every rig_connect() */
#define HEIR   4811
#define RIVAL  4911
#define WAIT   UINT64_C(30000)
#define GRACE  UINT64_C(30000)
#define SECRET WIRE_TOKEN_SIZE

static struct rig rig, *const r = &rig;
static uint8_t secret[SECRET], token[SECRET];
static Pasid__V1__HandOver hand_over = PASID__V1__HAND_OVER__INIT;

static inline struct link *connect_as(uint32_t uid, int32_t pid)
{
	struct dispatch_peer peer = {
		.who = {.uid = uid, .group_count = 1, .groups = {uid}},
		.pid = pid,
		.born = (uint64_t)pid + 1,
	};
	struct link *link;

	ck_assert_int_eq(dispatch_connect(r->d, &peer, &link, &r->error), 0);
	return link;
}

/* Each user in a process of its own. */
static inline struct link *heir(void)
{
	return connect_as(RIG_VMM_UID, HEIR);
}

static inline Pasid__V1__Hello hello_with(unsigned kind, uint8_t *bytes)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	hello.resume_case = (Pasid__V1__Hello__ResumeCase)kind;
	if (kind == PASID__V1__HELLO__RESUME_TAKE_OVER)
		hello.take_over = (ProtobufCBinaryData){SECRET, bytes};
	if (kind == PASID__V1__HELLO__RESUME_RESUME_TOKEN)
		hello.resume_token = (ProtobufCBinaryData){SECRET, bytes};
	return hello;
}

static inline Pasid__V1__Hello taking(void)
{
	return hello_with(PASID__V1__HELLO__RESUME_TAKE_OVER, secret);
}

static inline void keep_token(const Pasid__V1__HelloResult *hello)
{
	ck_assert_uint_eq(hello->resume_token.len, SECRET);
	memcpy(token, hello->resume_token.data, SECRET);
}

/* A VMM that has its set, and whose token is known. */
static inline struct link *vmm(void)
{
	Pasid__V1__Hello hello = hello_with(PASID__V1__HELLO__RESUME__NOT_SET, NULL);
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
	struct link *link = connect_as(RIG_VMM_UID, OLD);

	keep_token(rig_ok(r, link, OPERATION(HELLO), &hello)->hello);
	create.name = (char *)"vm";
	(void)rig_ok(r, link, OPERATION(SET_CREATE), &create);
	return link;
}

static inline void offer(struct link *link)
{
	const Pasid__V1__HandOverResult *result;

	hand_over.cancel = false;
	result = rig_ok(r, link, OPERATION(HAND_OVER), &hand_over)->hand_over;
	ck_assert_uint_eq(result->secret.len, SECRET);
	ck_assert_uint_eq(result->valid_ms, WAIT);
	memcpy(secret, result->secret.data, SECRET);
}

static inline const Pasid__V1__HelloResult *take(struct link *link)
{
	Pasid__V1__Hello hello = taking();

	return rig_ok(r, link, OPERATION(HELLO), &hello)->hello;
}

static inline void refuse(struct link *link, enum reason reason)
{
	Pasid__V1__Hello hello = taking();
	uint64_t before = link_session(link);

	rig_refused(r, link, OPERATION(HELLO), &hello, reason);
	ck_assert_uint_eq(link_session(link), before);
}

static inline void refuse_resume(struct link *link)
{
	Pasid__V1__Hello hello = hello_with(PASID__V1__HELLO__RESUME_RESUME_TOKEN, token);

	rig_refused(r, link, OPERATION(HELLO), &hello, REASON_RESUME_UNKNOWN);
}

/* It is told why, and nothing else is done for it. */
static inline void expect_bereft(struct link *link)
{
	ck_assert(!dispatch_readable(r->d, link));
	ck_assert_msg(!dispatch_doomed(link), "it would be closed before it is told");
	ck_assert(rig_read(r, link));
	ck_assert_ptr_nonnull(r->got->refused);
	ck_assert_str_eq(r->got->refused->reason, reason_text(REASON_HANDED_OVER));
	ck_assert(dispatch_doomed(link));
}

static inline struct broker_status status(void)
{
	struct broker_status now;

	broker_status(r->f.broker, &now);
	return now;
}

#endif
