/* SPDX-License-Identifier: MIT */
/*
 * Clients of a daemon that dies between any two of its stores, is started anew, and is asked again.
 * An input is records of three bytes: what happens, to whom, and a number.
 *
 * Promised: a session goes on for whoever has its token and is of its user, and for nobody else;
 * what was answered is so after the restart, and answered the same; what was not answered was done
 * once or not at all; what a daemon leaves is accepted by the check of records. A session that is
 * handed over is the new process's or still the old one's, whenever the daemon dies.
 */
#include "fuzz.h"
#include "grave.h"
#include "mortal.h"
#include "wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPERATION(name) PASID__V1__REQUEST__OPERATION_##name

#define CLIENTS     3u
#define CHANGES     64u
#define RECORD_SIZE 3u
#define RECORDS_MAX 256u
#define GRACE_MS    5000u
#define UNDO_MAX    STATE_CHANGE_MAX
#define GARBAGE     CLIENTS /* whose token is nobody's */
#define NO_NUMBER   UINT32_MAX

enum action {
	ACT_CONNECT,
	ACT_ALLOCATE,
	ACT_FREE,
	ACT_AGAIN,   /* a change that was asked for before */
	ACT_REUSE,   /* its id, with other content */
	ACT_LIE,     /* hello with the token of somebody else */
	ACT_RESTART, /* now, or before so many stores more */
	ACT_LEAVE,   /* the connection is lost */
	ACT_TIME,
	ACT_HAND_OVER, /* to another process of its user */
	ACTIONS,
};

/* A change that was asked for. */
struct wish {
	uint64_t id;
	uint32_t frees; /* the number that it frees; 0: it allocates */
	uint32_t number;
	bool answered; /* and done */
	bool unknown;  /* whether it was done */
};

struct client {
	struct link *link;
	uint8_t token[WIRE_TOKEN_SIZE];
	uint64_t session, set, last_id, until; /* it may come back before that */
	int process;                           /* how many it had before this one */
	bool parked;
	struct wish changes[CHANGES];
	unsigned count;
};

static struct client clients[CLIENTS];
static struct wire_arena arena;
static uint8_t datagram[WIRE_DATAGRAM_MAX];
static unsigned names;

/* ---------------------------------------------------------------- its end and the next one */

/* Until one lives; it may die on its way, too. */
static void restart(void)
{
	if (!grave.dead)
		grave_die();
	do {
		mortal_end();
		grave_rise();
		mortal_open();
	} while (grave.dead);
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i].link = NULL;
		clients[i].parked = clients[i].session != 0;
		clients[i].until = mortal.f.now_ms + GRACE_MS;
	}
}

/* ---------------------------------------------------------------- requests */

static uint32_t uid_of(unsigned who)
{
	return 1000 + who;
}

static struct link *connect_from(unsigned who, int process)
{
	const struct dispatch_peer peer = {
		.who = {.uid = uid_of(who), .group_count = 1, .groups = {uid_of(who)}},
		.pid = 100 + (int)who + process * (int)CLIENTS};
	struct link *link = NULL;

	FUZZ_CHECK(dispatch_connect(mortal.dispatch, &peer, &link, &mortal.error) == 0);
	return link;
}

static struct link *connect_as(unsigned who)
{
	return connect_from(who, clients[who].process);
}

/* NULL: the daemon died over it, and another one lives. */
static const Pasid__V1__Reply *ask(
	struct link *link, uint64_t id, uint32_t operation, const void *message)
{
	struct wire_out out = wire_out_init(datagram, sizeof(datagram));
	const struct wire_request head = {.id = id, .operation = operation};
	const Pasid__V1__ToClient *read = NULL;
	const struct dispatch_datagram *answer;

	wire_out_request(&out, &head, message);
	FUZZ_CHECK(
		dispatch_receive(mortal.dispatch, link, datagram, out.size, NULL, 0, false) == 0);
	model_run(&mortal.f);
	dispatch_pump(mortal.dispatch);
	if (grave.dead) {
		restart();
		return NULL;
	}
	answer = dispatch_peek(mortal.dispatch, link);
	FUZZ_CHECK(answer);
	wire_arena_reset(&arena);
	FUZZ_CHECK(
		wire_unpack_replies(&arena, answer->data, answer->size, &read, &mortal.error) == 0);
	FUZZ_CHECK(read->n_replies == 1 && read->replies[0]->id == id);
	dispatch_sent(mortal.dispatch, link);
	return read->replies[0];
}

static bool is_refused(const Pasid__V1__Reply *reply, enum reason reason)
{
	return reply->status && wire_read_status(reply->status, &mortal.error) > 0 &&
	       mortal.error.reason == reason && mortal.error.text[0];
}

/* Takes over a session with a secret. */
static const Pasid__V1__Reply *say_taking(struct link *link, uint8_t *secret)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	hello.resume_case = PASID__V1__HELLO__RESUME_TAKE_OVER;
	hello.take_over = (ProtobufCBinaryData){WIRE_TOKEN_SIZE, secret};
	return ask(link, UINT64_C(1) << 40, OPERATION(HELLO), &hello);
}

static const Pasid__V1__Reply *say_hello(struct link *link, const uint8_t *token)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	hello.role = PASID__V1__ROLE__ROLE_VMM;
	if (token) {
		hello.resume_case = PASID__V1__HELLO__RESUME_RESUME_TOKEN;
		hello.resume_token = (ProtobufCBinaryData){WIRE_TOKEN_SIZE, (uint8_t *)token};
	}
	return ask(link, UINT64_C(1) << 40, OPERATION(HELLO), &hello);
}

static void create_set(struct client *c)
{
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
	const Pasid__V1__Reply *reply;
	char name[16];

	(void)snprintf(name, sizeof(name), "vm%u", names++);
	create.name = name;
	reply = ask(c->link, ++c->last_id, OPERATION(SET_CREATE), &create);
	if (reply && reply->status)
		FUZZ_FAIL("no set: %s", reply->status->message);
	if (reply)
		c->set = reply->set_create->id;
}

static void begin_session(struct client *c, unsigned who)
{
	const Pasid__V1__Reply *reply;

	*c = (struct client){.link = connect_as(who)};
	reply = say_hello(c->link, NULL);
	if (!reply)
		return;
	FUZZ_CHECK(!reply->status && !reply->hello->resumed);
	memcpy(c->token, reply->hello->resume_token.data, WIRE_TOKEN_SIZE);
	c->session = reply->hello->session;
	create_set(c);
}

/* Its session is there, with the set that it was told of. */
static void resume_session(struct client *c, unsigned who)
{
	struct link *link = connect_as(who);
	const Pasid__V1__Reply *reply = say_hello(link, c->token);
	uint64_t set;

	if (!reply)
		return;
	if (reply->status)
		FUZZ_FAIL("a session is lost: %s", reply->status->message);
	FUZZ_CHECK(reply->hello->resumed && reply->hello->session == c->session);
	FUZZ_CHECK(!c->set || reply->hello->set == c->set);
	set = reply->hello->set;
	c->link = link;
	c->parked = false;
	if (set)
		c->set = set;
	else
		create_set(c);
}

static void come(unsigned who)
{
	struct client *c = &clients[who];

	if (c->link)
		return;
	if (c->session)
		resume_session(c, who);
	else
		begin_session(c, who);
}

/* ---------------------------------------------------------------- changes */

static const Pasid__V1__Reply *ask_change(struct client *c, const struct wish *wish)
{
	Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
	Pasid__V1__Free free_one = PASID__V1__FREE__INIT;
	Pasid__V1__PasidRef ref = PASID__V1__PASID_REF__INIT, *refs = &ref;

	if (!wish->frees)
		return ask(c->link, wish->id, OPERATION(ALLOCATE), &allocate);
	ref.key_case = PASID__V1__PASID_REF__KEY_HOST;
	ref.host = wish->frees;
	free_one.n_pasids = 1;
	free_one.pasids = &refs;
	return ask(c->link, wish->id, OPERATION(FREE), &free_one);
}

/* An answer is the same whenever it comes. */
static void play_change(struct client *c, struct wish *wish)
{
	const Pasid__V1__Reply *reply = ask_change(c, wish);
	uint32_t number;

	if (!reply) {
		wish->unknown = !wish->answered;
		return;
	}
	if (reply->status) {
		FUZZ_CHECK(!wish->answered);
		FUZZ_CHECK(reply->status->message[0]);
		wish->unknown = false;
		return;
	}
	number = wish->frees ? reply->free->freed : reply->allocate->runs[0]->first;
	if (wish->answered && number != wish->number)
		FUZZ_FAIL("request %llu was answered %u, then %u", (unsigned long long)wish->id,
			wish->number, number);
	wish->number = number;
	wish->answered = true;
	wish->unknown = false;
}

/* The number of an allocation that nobody asked to free. */
static uint32_t owned(const struct client *c, unsigned from)
{
	for (unsigned i = 0; i < c->count; i++) {
		const struct wish *wish = &c->changes[(from + i) % c->count];
		bool freed = false;

		for (unsigned k = 0; k < c->count; k++)
			freed = freed || c->changes[k].frees == wish->number;
		if (!wish->frees && wish->answered && !freed)
			return wish->number;
	}
	return NO_NUMBER;
}

static void play_new(struct client *c, bool frees, uint8_t number)
{
	struct wish *wish = &c->changes[c->count];

	if (!c->link || !c->set || c->count == CHANGES)
		return;
	*wish = (struct wish){.id = ++c->last_id};
	if (frees) {
		wish->frees = owned(c, number);
		if (wish->frees == NO_NUMBER)
			return;
	}
	c->count++;
	play_change(c, wish);
}

static void play_again(struct client *c, uint8_t number, bool other)
{
	struct wish *wish = &c->changes[c->count ? number % c->count : 0];
	struct wish liar = *wish;
	const Pasid__V1__Reply *reply;

	if (!c->link || !c->count)
		return;
	if (!other) {
		play_change(c, wish);
		return;
	}
	if (!wish->answered)
		return;
	liar.frees = wish->frees ? 0 : 4242;
	reply = ask_change(c, &liar);
	FUZZ_CHECK(!reply || is_refused(reply, REASON_ID_REUSED));
}

/* A token that is another user's, or nobody's, leads nowhere. */
static void lie(unsigned who, uint8_t number)
{
	const unsigned whose = number % (CLIENTS + 1);
	uint8_t token[WIRE_TOKEN_SIZE];
	struct link *link;
	const Pasid__V1__Reply *reply;

	memset(token, 0xfe, sizeof(token));
	if (whose == who || (whose != GARBAGE && !clients[whose].session))
		return;
	if (whose != GARBAGE)
		memcpy(token, clients[whose].token, sizeof(token));
	link = connect_as(who);
	reply = say_hello(link, token);
	if (!reply)
		return;
	FUZZ_CHECK(is_refused(reply, REASON_RESUME_UNKNOWN));
	FUZZ_CHECK(dispatch_disconnect(mortal.dispatch, link, false, NULL) == NULL);
}

/* ---------------------------------------------------------------- another process */

static void drop(struct link *link)
{
	FUZZ_CHECK(dispatch_disconnect(mortal.dispatch, link, false, NULL) == NULL);
}

/* The new process has it: the old one is told, and has nothing that leads there. */
static void taken_over(struct client *c, unsigned who, struct link *link,
	const Pasid__V1__HelloResult *hello, const uint8_t *secret)
{
	uint8_t old[WIRE_TOKEN_SIZE], copy[WIRE_TOKEN_SIZE];
	const Pasid__V1__Reply *reply;
	struct link *liar;

	FUZZ_CHECK(hello->resumed && hello->session == c->session);
	FUZZ_CHECK(!c->set || hello->set == c->set);
	memcpy(old, c->token, sizeof(old));
	memcpy(copy, secret, sizeof(copy));
	memcpy(c->token, hello->resume_token.data, sizeof(c->token));
	FUZZ_CHECK(memcmp(old, c->token, sizeof(old)) != 0);
	if (c->link) {
		FUZZ_CHECK(!dispatch_readable(mortal.dispatch, c->link));
		drop(c->link);
	}
	c->link = link;
	c->parked = false;
	liar = connect_as(who);
	c->process++;
	reply = say_taking(liar, copy);
	if (!reply)
		return;
	FUZZ_CHECK(is_refused(reply, REASON_HANDOVER_UNKNOWN));
	reply = say_hello(liar, old);
	if (!reply)
		return;
	FUZZ_CHECK(is_refused(reply, REASON_RESUME_UNKNOWN));
	drop(liar);
}

/* If the daemon dies over it, it is the new process's, which asks again, or still the old one's. */
static void hand_over(unsigned who)
{
	const Pasid__V1__HandOver message = PASID__V1__HAND_OVER__INIT;
	struct client *c = &clients[who];
	const Pasid__V1__Reply *reply;
	uint8_t secret[WIRE_TOKEN_SIZE];
	struct link *link;

	if (!c->link || !c->session)
		return;
	reply = ask(c->link, UINT64_C(1) << 40, OPERATION(HAND_OVER), &message);
	if (!reply)
		return;
	FUZZ_CHECK(!reply->status && reply->hand_over->secret.len == sizeof(secret));
	memcpy(secret, reply->hand_over->secret.data, sizeof(secret));
	link = connect_from(who, c->process + 1);
	reply = say_taking(link, secret);
	if (!reply) {
		link = connect_from(who, c->process + 1);
		reply = say_taking(link, secret);
		FUZZ_CHECK(reply); /* it dies once at most */
		if (is_refused(reply, REASON_HANDOVER_UNKNOWN)) {
			drop(link);
			come(who);
			return;
		}
	}
	if (reply->status)
		FUZZ_FAIL("it is not taken over: %s", reply->status->message);
	taken_over(c, who, link, reply->hello, secret);
}

/* ---------------------------------------------------------------- is it so? */

static unsigned count_of(const struct client *c, uint32_t number, bool *ret_may_be_gone)
{
	unsigned got = 0;

	*ret_may_be_gone = false;
	for (unsigned i = 0; i < c->count; i++) {
		const struct wish *wish = &c->changes[i];

		if (!wish->frees && wish->answered && wish->number == number)
			got++;
		if (wish->frees == number && wish->answered)
			got = 0;
		if (wish->frees == number && wish->unknown)
			*ret_may_be_gone = true;
	}
	return got;
}

/* Its set has what it was told, and besides at most what it has not heard of yet. */
static void check_client(const struct client *c)
{
	const struct actor admin = {ROLE_ADMIN, UINT64_MAX, {0}, &mortal.f.peer};
	struct grant_info info;
	uint64_t cursor = 0;
	unsigned extra = 0, seen = 0, wanted = 0, gone = 0;
	bool may_be_gone;

	for (unsigned i = 0; i < c->count; i++) {
		const struct wish *wish = &c->changes[i];

		extra += wish->unknown && !wish->frees;
		if (wish->frees || !wish->answered || !count_of(c, wish->number, &may_be_gone))
			continue;
		wanted++;
		gone += may_be_gone;
	}
	while (broker_grant_next(
		mortal.f.broker, &admin, (struct set_id){c->set}, false, &cursor, &info)) {
		if (info.state != GRANT_IDLE && info.state != GRANT_ACTIVE)
			continue;
		if (count_of(c, info.host.v, &may_be_gone))
			seen++;
		else if (extra-- == 0)
			FUZZ_FAIL("nobody asked for PASID %u, and set %llu has it", info.host.v,
				(unsigned long long)c->set);
	}
	if (seen > wanted || seen + gone < wanted)
		FUZZ_FAIL("set %llu has %u of the %u numbers that were granted",
			(unsigned long long)c->set, seen, wanted);
}

static void check(void)
{
	if (broker_recount(mortal.f.broker, &mortal.error))
		FUZZ_FAIL("%s", mortal.error.text);
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (clients[i].session && clients[i].set)
			check_client(&clients[i]);
	}
}

/* ---------------------------------------------------------------- a history */

static void leave(unsigned who)
{
	struct client *c = &clients[who];

	if (!c->link)
		return;
	(void)dispatch_disconnect(mortal.dispatch, c->link, false, c);
	c->link = NULL;
	c->parked = c->session != 0;
	c->until = mortal.f.now_ms + GRACE_MS;
	dispatch_pump(mortal.dispatch);
}

static void pass(uint32_t ms)
{
	mortal.f.now_ms += ms;
	dispatch_tick(mortal.dispatch);
	model_run(&mortal.f);
	dispatch_pump(mortal.dispatch);
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (clients[i].parked && mortal.f.now_ms >= clients[i].until)
			clients[i] = (struct client){0};
	}
}

static void play(const uint8_t *record)
{
	const unsigned who = record[1] % CLIENTS;

	switch ((enum action)(record[0] % ACTIONS)) {
	case ACT_CONNECT:
		come(who);
		break;
	case ACT_ALLOCATE:
	case ACT_FREE:
		play_new(&clients[who], record[0] % ACTIONS == ACT_FREE, record[2]);
		break;
	case ACT_AGAIN:
	case ACT_REUSE:
		play_again(&clients[who], record[2], record[0] % ACTIONS == ACT_REUSE);
		break;
	case ACT_LIE:
		lie(who, record[2]);
		break;
	case ACT_RESTART:
		grave.countdown = record[2];
		if (!record[2])
			restart();
		break;
	case ACT_LEAVE:
		leave(who);
		break;
	case ACT_HAND_OVER:
		hand_over(who);
		break;
	case ACT_TIME:
	case ACTIONS:
		pass(20u * record[2]);
		break;
	}
	if (grave.dead)
		restart();
}

static void begin(void)
{
	if (!arena.size)
		wire_arena_init(&arena, NULL, WIRE_ARENA_SIZE);
	memset(clients, 0, sizeof(clients));
	mortal.randomness = 0;
	names = 0;
	fixture_config(&mortal.f);
	mortal.f.policy.vmms.everyone = true;
	mortal.f.policy.global.everyone = mortal.f.policy.rids.everyone = true;
	mortal.f.config.capacity = 160;
	mortal.f.config.set_quota_default = 24;
	mortal.f.config.set_quota_max = 32;
	FUZZ_CHECK(state_file_memory(&mortal.f.memory) == 0);
	grave_open(mortal.f.memory);
	grave.state.capacity[STATE_SETS] = grave.state.capacity[STATE_DEVICES] = 64;
	grave.state.capacity[STATE_BINDINGS] = 64;
	mortal.config = (struct dispatch_config){.version = "0",
		.backend = "simulated",
		.grace_ms = GRACE_MS,
		.operations_per_session = 12,
		.operations_max = 64,
		.output_max = 1 << 17,
		.events_max = 16,
		.policy = &mortal.f.policy,
		.state = &grave.state};
	mortal_open();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	for (size_t i = 0; i < RECORDS_MAX && (i + 1) * RECORD_SIZE <= size; i++) {
		play(data + i * RECORD_SIZE);
		check();
	}
	grave.countdown = 0;
	for (unsigned i = 0; i < CLIENTS; i++) {
		come(i);
		for (unsigned k = 0; k < clients[i].count; k++)
			play_again(&clients[i], (uint8_t)k, false);
	}
	check();
	mortal_end();
	state_file_free(mortal.f.memory);
	return 0;
}
