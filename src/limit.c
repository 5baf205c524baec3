/* SPDX-License-Identifier: MIT */
#include "limit.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMITS_BUCKETS 4096u /* a power of two */
#define LIMITS_NONE    UINT32_MAX

struct limits_user {
	struct accounts accounts;
	uint32_t uid;
	uint32_t refs; /* 0: kept for its counters only */
	uint32_t next; /* in its bucket */
	uint32_t idle_next, idle_prev;
};

/* Places [0, used) are in a bucket each; those without references are also in the idle list,
 * longest idle first. */
struct limits {
	struct limits_config config;
	struct accounts host;
	uint32_t used;
	uint32_t idle_first, idle_last;
	bool waived;
	uint32_t buckets[LIMITS_BUCKETS];
	struct limits_user users[LIMITS_USERS_MAX];
};

static const struct {
	const char *text, *what;
	struct limit_levels levels;
} resources[] = {
#define R(name, text, what, set, user, host) [RESOURCE_##name] = {text, what, {set, user, host}},
	LIMITS_RESOURCES(R)
#undef R
};
_Static_assert(ARRAY_SIZE(resources) == RESOURCE_COUNT, "every resource has its names");

const char *resource_text(enum resource resource)
{
	return (unsigned)resource < RESOURCE_COUNT ? resources[resource].text : "unknown";
}

const char *resource_what(enum resource resource)
{
	return (unsigned)resource < RESOURCE_COUNT ? resources[resource].what : "unknown";
}

void limits_defaults(struct limits_config *ret_config)
{
	for (unsigned i = 0; i < RESOURCE_COUNT; i++)
		ret_config->of[i] = resources[i].levels;
}

static uint32_t limit_or_none(uint32_t limit)
{
	return limit ? limit : UINT32_MAX;
}

int limits_new(const struct limits_config *config, struct limits **ret_limits)
{
	/* Untouched pages of it cost nothing. */
	struct limits *limits = calloc(1, sizeof(*limits));

	if (!limits)
		return -ENOMEM;
	limits->config = *config;
	limits->idle_first = limits->idle_last = LIMITS_NONE;
	memset(limits->buckets, 0xff, sizeof(limits->buckets));
	for (unsigned i = 0; i < RESOURCE_COUNT; i++)
		limits->host.of[i].limit = limit_or_none(config->of[i].host);
	*ret_limits = limits;
	return 0;
}

void limits_free(struct limits *limits)
{
	free(limits);
}

void limits_open_set(const struct limits *limits, struct accounts *ret_set)
{
	memset(ret_set, 0, sizeof(*ret_set));
	for (unsigned i = 0; i < RESOURCE_COUNT; i++)
		ret_set->of[i].limit = limit_or_none(limits->config.of[i].set);
}

void limits_set_host(struct limits *limits, enum resource resource, uint32_t limit)
{
	limits->host.of[resource].limit = limit_or_none(limit);
}

void limits_configure(struct limits *limits, const struct limits_config *config, enum resource kept)
{
	const uint32_t host = limits->host.of[kept].limit;

	limits->config = *config;
	for (unsigned i = 0; i < RESOURCE_COUNT; i++) {
		limits->host.of[i].limit = limit_or_none(config->of[i].host);
		for (uint32_t user = 0; user < limits->used; user++)
			limits->users[user].accounts.of[i].limit =
				limit_or_none(config->of[i].user);
	}
	limits->host.of[kept].limit = host;
}

void limits_configure_set(const struct limits *limits, struct accounts *set)
{
	for (unsigned i = 0; i < RESOURCE_COUNT; i++) {
		if (i != RESOURCE_PASIDS)
			set->of[i].limit = limit_or_none(limits->config.of[i].set);
	}
}

/* ---------------------------------------------------------------- users */

static uint32_t *user_bucket(struct limits *limits, uint32_t uid)
{
	/* Knuth's multiplicative hash: user ids come in runs. */
	return &limits->buckets[(uid * 2654435761u) >> 20];
}
_Static_assert(LIMITS_BUCKETS == 1u << (32 - 20), "a bucket for each hash");

static void user_leave_idle(struct limits *limits, struct limits_user *user)
{
	if (user->idle_prev == LIMITS_NONE)
		limits->idle_first = user->idle_next;
	else
		limits->users[user->idle_prev].idle_next = user->idle_next;
	if (user->idle_next == LIMITS_NONE)
		limits->idle_last = user->idle_prev;
	else
		limits->users[user->idle_next].idle_prev = user->idle_prev;
}

static void user_enter_idle(struct limits *limits, uint32_t place)
{
	struct limits_user *user = &limits->users[place];

	user->idle_prev = limits->idle_last;
	user->idle_next = LIMITS_NONE;
	if (limits->idle_last == LIMITS_NONE)
		limits->idle_first = place;
	else
		limits->users[limits->idle_last].idle_next = place;
	limits->idle_last = place;
}

/* Another user's place, of one who has had nothing for longest; LIMITS_NONE: none. */
static uint32_t user_recycle(struct limits *limits)
{
	uint32_t place = limits->idle_first;
	uint32_t *link;

	if (place == LIMITS_NONE)
		return LIMITS_NONE;
	user_leave_idle(limits, &limits->users[place]);
	link = user_bucket(limits, limits->users[place].uid);
	while (*link != place)
		link = &limits->users[*link].next;
	*link = limits->users[place].next;
	return place;
}

static uint32_t user_place(struct limits *limits)
{
	return limits->used < LIMITS_USERS_MAX ? limits->used++ : user_recycle(limits);
}

static void user_init(struct limits *limits, uint32_t place, uint32_t uid)
{
	struct limits_user *user = &limits->users[place];
	uint32_t *bucket = user_bucket(limits, uid);

	memset(user, 0, sizeof(*user));
	user->uid = uid;
	for (unsigned i = 0; i < RESOURCE_COUNT; i++)
		user->accounts.of[i].limit = limit_or_none(limits->config.of[i].user);
	user->next = *bucket;
	*bucket = place;
}

int limits_user_open(
	struct limits *limits, uint32_t uid, uint32_t *ret_user, struct error *ret_error)
{
	uint32_t place = *user_bucket(limits, uid);

	while (place != LIMITS_NONE && limits->users[place].uid != uid)
		place = limits->users[place].next;
	if (place == LIMITS_NONE) {
		place = user_place(limits);
		if (place == LIMITS_NONE)
			return error_set(ret_error, REASON_LIMIT,
				"as many users as can be served use the daemon; try again when one "
				"of them is gone");
		user_init(limits, place, uid);
	} else if (limits->users[place].refs == 0) {
		user_leave_idle(limits, &limits->users[place]);
	}
	limits->users[place].refs++;
	*ret_user = place;
	return 0;
}

uint32_t limits_user_ref(struct limits *limits, uint32_t user)
{
	assert(limits->users[user].refs > 0);
	limits->users[user].refs++;
	return user;
}

void limits_user_close(struct limits *limits, uint32_t user)
{
	if (user == LIMITS_NO_USER)
		return;
	assert(limits->users[user].refs > 0);
	if (--limits->users[user].refs == 0)
		user_enter_idle(limits, user);
}

uint32_t limits_user_uid(const struct limits *limits, uint32_t user)
{
	return limits->users[user].uid;
}

/* ---------------------------------------------------------------- charges */

/* As the configuration writes it. */
struct key {
	char text[24];
};

static struct key resource_key(enum resource resource)
{
	struct key key = {""};

	(void)snprintf(key.text, sizeof(key.text), "%s", resource_text(resource));
	for (char *c = key.text; *c; c++)
		*c = *c == '-' ? '_' : *c;
	return key;
}

static int refuse_set(
	enum resource resource, const struct account *account, uint32_t n, struct error *ret_error)
{
	return error_set_limit(ret_error, REASON_LIMIT, n, account->limit, account->current,
		"the set has %u of its %u %s, %u more do not fit; give some back, or have "
		"limits.%s.set raised",
		account->current, account->limit, resource_what(resource), n,
		resource_key(resource).text);
}

static int refuse_user(enum resource resource, uint32_t uid, const struct account *account,
	uint32_t n, struct error *ret_error)
{
	return error_set_limit(ret_error, REASON_LIMIT, n, account->limit, account->current,
		"user %u has %u of %u %s, %u more do not fit; give some back, or have "
		"limits.%s.user raised",
		uid, account->current, account->limit, resource_what(resource), n,
		resource_key(resource).text);
}

static int refuse_host(enum resource resource, uint32_t n, struct error *ret_error)
{
	return error_set_limit(ret_error, REASON_LIMIT, n, 0, 0,
		"the host's limit of %s leaves no room for %u more; try again later, or have "
		"limits.%s.host raised",
		resource_what(resource), n, resource_key(resource).text);
}

void limits_waive(struct limits *limits, bool waived)
{
	limits->waived = waived;
}

void limits_charge_anyway(struct limits *limits, struct accounts *set, uint32_t user,
	enum resource resource, uint32_t n)
{
	if (set)
		account_add(&set->of[resource], n);
	if (user != LIMITS_NO_USER)
		account_add(&limits->users[user].accounts.of[resource], n);
	account_add(&limits->host.of[resource], n);
}

int limits_charge(struct limits *limits, struct accounts *set, uint32_t user,
	enum resource resource, uint32_t n, struct error *ret_error)
{
	const bool has_user = user != LIMITS_NO_USER;
	struct account *who = has_user ? &limits->users[user].accounts.of[resource] : NULL;
	struct account *host = &limits->host.of[resource];

	if (limits->waived) {
		limits_charge_anyway(limits, set, user, resource, n);
		return 0;
	}
	if (set && !account_room(&set->of[resource], n))
		return refuse_set(resource, &set->of[resource], n, ret_error);
	if (has_user && !account_room(who, n))
		return refuse_user(resource, limits->users[user].uid, who, n, ret_error);
	if (!account_room(host, n))
		return refuse_host(resource, n, ret_error);
	if (set)
		account_charge(&set->of[resource], n);
	if (has_user)
		account_charge(who, n);
	account_charge(host, n);
	return 0;
}

void limits_release(struct limits *limits, struct accounts *set, uint32_t user,
	enum resource resource, uint32_t n)
{
	if (set)
		account_release(&set->of[resource], n);
	if (user != LIMITS_NO_USER)
		account_release(&limits->users[user].accounts.of[resource], n);
	account_release(&limits->host.of[resource], n);
}

static uint32_t account_left(const struct account *account)
{
	return account->current < account->limit ? account->limit - account->current : 0;
}

uint32_t limits_room(const struct limits *limits, const struct accounts *set, uint32_t user,
	enum resource resource)
{
	uint32_t room = account_left(&limits->host.of[resource]);
	uint32_t left;

	if (set) {
		left = account_left(&set->of[resource]);
		room = left < room ? left : room;
	}
	if (user != LIMITS_NO_USER) {
		left = account_left(&limits->users[user].accounts.of[resource]);
		room = left < room ? left : room;
	}
	return room;
}

/* ---------------------------------------------------------------- looking */

const struct account *limits_account(
	const struct limits *limits, uint32_t user, enum resource resource)
{
	const struct accounts *accounts =
		user == LIMITS_NO_USER ? &limits->host : &limits->users[user].accounts;

	return &accounts->of[resource];
}

bool limits_next_user(const struct limits *limits, uint32_t *cursor, uint32_t *ret_user)
{
	if (*cursor >= limits->used)
		return false;
	*ret_user = (*cursor)++;
	return true;
}

uint64_t limits_sum(const struct limits *limits, enum resource resource)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < limits->used; i++)
		sum += limits->users[i].accounts.of[resource].current;
	return sum;
}

uint32_t limits_user_refs(const struct limits *limits, uint32_t user)
{
	return limits->users[user].refs;
}
