/* SPDX-License-Identifier: MIT */
/* What is limited, and how far it is used: the host, then users, sets, reservations. */
#include <assert.h>
#include <stdio.h>

#include "dispatch_private.h"

/* A position in the list: level, then the place of a user, then the resource. */
#define CURSOR_USERS     (UINT64_C(1) << 62)
#define CURSOR_SETS      (UINT64_C(1) << 63)
#define CURSOR_RESERVED  (UINT64_C(3) << 62)
#define CURSOR_RESOURCES 64u /* in one place; a power of two */
_Static_assert(RESOURCE_COUNT < CURSOR_RESOURCES, "a position for every resource");

#define KEY_MAX 64u

struct limit_message {
	Pasid__V1__LimitInfo info;
	Pasid__V1__Counter use;
	char key[KEY_MAX];
};

static void limit_fill_key(struct limit_message *message, enum resource resource, const char *level)
{
	(void)snprintf(
		message->key, sizeof(message->key), "limits.%s.%s", resource_text(resource), level);
	for (char *c = message->key; *c; c++)
		if (*c == '-')
			*c = '_';
	message->info.key = message->key;
}

static void limit_fill(struct limit_message *message, enum resource resource,
	Pasid__V1__LimitLevel level, const struct account *account)
{
	static const char *const levels[] = {"", "host", "user", "set", "reservation"};

	pasid__v1__limit_info__init(&message->info);
	pasid__v1__counter__init(&message->use);
	call_fill_counter(&message->use, account);
	if (account->limit == UINT32_MAX)
		message->use.limit = 0;
	message->info.resource = (char *)resource_text(resource);
	message->info.level = level;
	message->info.use = &message->use;
	limit_fill_key(message, resource, levels[level]);
}

/* ---------------------------------------------------------------- levels, each until the page is
 * full */

static bool list_host(struct page *page)
{
	const struct limits *limits = page->call->d->config.limits;
	struct limit_message message;

	while (page->cursor < RESOURCE_COUNT) {
		const enum resource resource = (enum resource)page->cursor++;

		limit_fill(&message, resource, PASID__V1__LIMIT_LEVEL__LIMIT_HOST,
			limits_account(limits, LIMITS_NO_USER, resource));
		if (!page_add(page, &message.info.base))
			return false;
	}
	page->cursor = CURSOR_USERS;
	return true;
}

/* What a user never had is left out. */
static bool account_is_idle(const struct account *account)
{
	return account->peak == 0 && account->hits == 0;
}

static bool list_user(struct page *page, uint32_t user)
{
	const struct limits *limits = page->call->d->config.limits;
	struct limit_message message;

	while (page->cursor % CURSOR_RESOURCES < RESOURCE_COUNT) {
		const enum resource resource = (enum resource)(page->cursor++ % CURSOR_RESOURCES);
		const struct account *account = limits_account(limits, user, resource);

		if (account_is_idle(account))
			continue;
		limit_fill(&message, resource, PASID__V1__LIMIT_LEVEL__LIMIT_USER, account);
		message.info.uid = limits_user_uid(limits, user);
		if (!page_add(page, &message.info.base))
			return false;
	}
	return true;
}

static bool list_users(struct page *page)
{
	const struct limits *limits = page->call->d->config.limits;

	for (;;) {
		const uint64_t position = page->cursor - CURSOR_USERS;
		uint32_t place = UINT32_MAX, user;

		if (position / CURSOR_RESOURCES < UINT32_MAX)
			place = (uint32_t)(position / CURSOR_RESOURCES);
		if (!limits_next_user(limits, &place, &user))
			break;
		assert(user == position / CURSOR_RESOURCES);
		if (!list_user(page, user))
			return false;
		page->cursor = CURSOR_USERS + (uint64_t)(user + 1) * CURSOR_RESOURCES;
	}
	page->cursor = CURSOR_SETS;
	return true;
}

static bool list_sets(struct page *page, struct set_id set)
{
	const struct call *call = page->call;
	struct limit_message message;
	struct limit_info info;

	for (;;) {
		uint64_t position = page->cursor - CURSOR_SETS;

		if (!broker_limit_next(call->d->broker, &call->actor, set, &position, &info))
			break;
		page->cursor = CURSOR_SETS + position;
		limit_fill(
			&message, info.resource, PASID__V1__LIMIT_LEVEL__LIMIT_SET, &info.account);
		/* the records do not have whether its quota was asked for or was the default; once
		 * the set is there, the configuration changes it no more */
		if (info.resource == RESOURCE_PASIDS)
			message.info.key = (char *)"pasidctl set adjust";
		message.info.uid = info.uid;
		message.info.set = info.set.v;
		message.info.set_name = info.set_name;
		if (!page_add(page, &message.info.base))
			return false;
	}
	page->cursor = CURSOR_RESERVED;
	return true;
}

static void list_reservations(struct page *page)
{
	const struct call *call = page->call;
	struct reservation_info info;
	struct limit_message message;

	for (;;) {
		uint64_t position = page->cursor - CURSOR_RESERVED;

		if (!broker_reservation_next(call->d->broker, &call->actor, &position, &info))
			return;
		page->cursor = CURSOR_RESERVED + position;
		limit_fill(&message, RESOURCE_PASIDS, PASID__V1__LIMIT_LEVEL__LIMIT_RESERVATION,
			&info.account);
		message.info.key = (char *)"reservations";
		message.info.uid = info.uid;
		message.info.set_name = info.name;
		message.info.aside = info.aside;
		if (!page_add(page, &message.info.base))
			return;
	}
}

int handle_limit_list(struct call *call)
{
	const Pasid__V1__LimitList *request = (const void *)call->message;
	const bool only_sets = call->actor.role == ROLE_VMM || request->set != NULL;
	struct page page = page_begin(call, request->after, request->limit);
	struct set_id set;
	int r = ref_list(call, request->set, &set);

	if (r)
		return r;
	if (only_sets && page.cursor < CURSOR_SETS)
		page.cursor = CURSOR_SETS;
	if ((page.cursor >= CURSOR_USERS || list_host(&page)) &&
		(page.cursor >= CURSOR_SETS || list_users(&page)) &&
		(page.cursor >= CURSOR_RESERVED || list_sets(&page, set)) && !only_sets)
		list_reservations(&page);
	page_end(&page);
	return 0;
}
