/* SPDX-License-Identifier: MIT */
/* Scenes of sets that move between hosts. */
#include "record.h"

#include <string.h>

static struct pasid_client *c;

#define DONE(call) RECORD_DONE(c, call)
#define NOT(call)  RECORD_NOT(c, call)

static int each_move(const struct pasid_move_info *info, void *userdata)
{
	(void)info;
	(void)userdata;
	return 0;
}

/* A set that leaves; what it is given to never answers, and the admin vouches for it. */
static void leave(struct pasid_set_ref set)
{
	struct pasid_move_commit_args commit = {.pasids = 0};
	struct pasid_move_args args = {.force = false};
	struct pasid_move_info info;

	for (unsigned i = 0; i < 2; i++) {
		DONE(pasid_move_export(c, &set, &info));
		memcpy(args.token, info.token, sizeof(args.token));
		DONE(pasid_move_list(c, NULL, each_move, NULL));
		DONE(pasid_move_find(c, args.token, NULL, &info));
		if (i == 0)
			DONE(pasid_move_cancel(c, &args, NULL));
	}
	memcpy(commit.token, args.token, sizeof(commit.token));
	NOT(pasid_move_commit(c, &commit, NULL));
	DONE(pasid_move_export(c, &set, &info));
	commit.pasids = info.pasids;
	commit.sum = info.sum;
	DONE(pasid_move_commit(c, &commit, NULL));
	args.has_word = true;
	NOT(pasid_move_release(c, &args, NULL));
	args.has_word = false;
	args.force = true;
	DONE(pasid_move_release(c, &args, NULL));
}

/* One that comes, and is not taken without the word of where it comes from. */
static void come(void)
{
	const struct pasid_move_grant grants[] = {{true, 7, 1}, {false, 0, 2}, {true, 9, 3}};
	struct pasid_move_reserve_args reserve = {.token = {1},
		.name = "comes",
		.mode = PASID_SET_TRANSLATED,
		.quota = 4,
		.max = PASID_MAX,
		.total = 3,
		.grants = grants,
		.count = 2};
	struct pasid_move_args args = {.token = {1}, .has_word = true};
	struct pasid_move_info info;

	DONE(pasid_move_reserve(c, &reserve, &info, NULL, NULL));
	NOT(pasid_move_take(c, &args, NULL));
	reserve.first = 2;
	reserve.grants = &grants[2];
	reserve.count = 1;
	reserve.seal = true;
	DONE(pasid_move_reserve(c, &reserve, &info, NULL, NULL));
	NOT(pasid_move_take(c, &args, NULL));
	NOT(pasid_move_cancel(c, &args, NULL));
	DONE(pasid_move_find(c, NULL, &(struct pasid_set_ref){.name = "comes"}, &info));
	args.force = true;
	DONE(pasid_move_cancel(c, &args, NULL));
}

void record_moves(void)
{
	struct pasid_set_ref set = {.name = "leaves"};
	uint32_t number;

	record_begin("move", false);
	c = record_client(WORLD_ADMIN, PASID_ROLE_ADMIN);
	DONE(pasid_set_create(c, &(struct pasid_set_create_args){.name = "leaves"}, NULL));
	DONE(pasid_allocate(c,
		&(struct pasid_allocate_args){.set = set, .has_guest = true, .guest_pasid = 5},
		&number));
	leave(set);
	come();
	pasid_close(c);
	record_end();
}
