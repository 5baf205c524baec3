/* SPDX-License-Identifier: MIT */
/*
 * Moving a set to another host's daemon.
 *
 * Nothing is remembered here that counts: each run asks both daemons how far the move is and goes
 * on with what is missing, so that one that died, or found a daemon dead, is simply run again. What
 * is refused for good before the set is given is called off, at both.
 */
#include "pasidctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOVE_WAIT_MS 20 /* between attempts at what is only refused for now */

struct mover {
	struct ctl *ctl;
	struct pasid_client *source, *target;
	const char *name;
	struct pasid_move_info at_source, at_target; /* PASID_MOVE_NONE: nothing of it */
	struct pasid_move_grant *grants;
	size_t count, room;
	struct pasid_move_info reserved, given, taken;
	struct timespec until;
};

static const char *move_state_text(enum pasid_move_state state)
{
	static const char *const texts[] = {
		[PASID_MOVE_NONE] = "none",
		[PASID_MOVE_LEAVING] = "leaving",
		[PASID_MOVE_GIVEN] = "given",
		[PASID_MOVE_COMING] = "coming",
		[PASID_MOVE_RESERVED] = "reserved",
		[PASID_MOVE_TAKEN] = "taken",
	};
	return (size_t)state < ARRAY_SIZE(texts) ? texts[state] : "?";
}

/* ------------------------------------------------------------ failures */

/* Says what that daemon said. */
static int move_failed(struct mover *mover, struct pasid_client *client, int r)
{
	struct pasid_client *own = mover->ctl->client;
	mover->ctl->client = client;
	int code = ctl_failed(mover->ctl, r);
	mover->ctl->client = own;
	return code;
}

__attribute__((format(printf, 3, 4))) static int move_refuse(
	struct mover *mover, const char *reason, const char *format, ...)
{
	struct pasid_error error = {.code = PASID_STATE};
	va_list args;
	va_start(args, format);
	(void)vsnprintf(error.message, sizeof(error.message), format, args);
	va_end(args);
	(void)snprintf(error.reason, sizeof(error.reason), "%s", reason);
	ctl_print_error(mover->ctl, &error);
	return EXIT_REFUSED;
}

/* May it be tried again? Sleeps a little if so. */
static bool move_waits(const struct mover *mover, int r)
{
	struct timespec now, pause = {.tv_nsec = MOVE_WAIT_MS * 1000000L};
	if (r != PASID_RETRY && r != PASID_BUSY)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec > mover->until.tv_sec ||
		(now.tv_sec == mover->until.tv_sec && now.tv_nsec >= mover->until.tv_nsec))
		return false;
	nanosleep(&pause, NULL);
	return true;
}

/* ------------------------------------------------------------ how far it is */

/* 0 also when there is nothing. */
static int move_find(struct pasid_client *client, const uint8_t *token, const char *name,
	struct pasid_move_info *ret_info)
{
	struct pasid_set_ref set = {.name = name};
	*ret_info = (struct pasid_move_info){0};
	int r = pasid_move_find(client, token, &set, ret_info);
	return r == PASID_NOT_FOUND ? 0 : r;
}

static bool move_is_same(const struct mover *mover)
{
	return memcmp(mover->at_source.token, mover->at_target.token, PASID_MOVE_TOKEN) == 0;
}

/* Of what is under way at the source the target is asked by its token, else by the set's name. */
static int move_look(struct mover *mover)
{
	int r = move_find(mover->source, NULL, mover->name, &mover->at_source);
	if (r != 0)
		return move_failed(mover, mover->source, r);
	if (mover->at_source.state > PASID_MOVE_GIVEN)
		mover->at_source = (struct pasid_move_info){0}; /* how it came here */
	if (mover->target == NULL)
		return EXIT_DONE;
	r = move_find(mover->target, NULL, mover->name, &mover->at_target);
	return r == 0 ? EXIT_DONE : move_failed(mover, mover->target, r);
}

/* ------------------------------------------------------------ calling it off */

static struct pasid_move_args move_args(const uint8_t *token, const struct pasid_move_info *said)
{
	struct pasid_move_args args = {0};
	memcpy(args.token, token, sizeof(args.token));
	if (said != NULL && said->has_word) {
		args.has_word = true;
		memcpy(args.word, said->word, sizeof(args.word));
	}
	return args;
}

/* At the source, then at the target by its word. */
static int move_cancel(struct mover *mover, const uint8_t *token)
{
	struct pasid_move_info kept = {0};
	struct pasid_move_args args = move_args(token, NULL);
	int r = pasid_move_cancel(mover->source, &args, &kept);
	if (r != 0)
		return move_failed(mover, mover->source, r);
	if (mover->target == NULL)
		return EXIT_DONE;
	args = move_args(token, &kept);
	do
		r = pasid_move_cancel(mover->target, &args, NULL);
	while (move_waits(mover, r));
	return r == 0 ? EXIT_DONE : move_failed(mover, mover->target, r);
}

/* Whatever of it is at either; a reservation that an earlier attempt left goes, too. */
static int move_cancel_all(struct mover *mover)
{
	const bool leaves = mover->at_source.state == PASID_MOVE_LEAVING;
	const bool comes = mover->at_target.state == PASID_MOVE_COMING ||
			   mover->at_target.state == PASID_MOVE_RESERVED;
	int code = EXIT_DONE;
	if (mover->at_source.state == PASID_MOVE_GIVEN)
		return move_refuse(mover, "move-step",
			"set '%.64s' was given already; finish the move, and move it back",
			mover->name);
	if (!leaves && !comes)
		return move_refuse(mover, "no-move",
			"set '%.64s' is not moving%s; see pasidctl moves at both hosts",
			mover->name,
			mover->target != NULL
				? ", neither from here nor to there"
				: " from here; what is left of it elsewhere needs --to");
	if (comes)
		code = move_cancel(mover, mover->at_target.token);
	if (code == EXIT_DONE && leaves)
		code = move_cancel(mover, mover->at_source.token);
	return code;
}

/* The refusal was told; what else fails now is for the next run. */
static int move_give_up(struct mover *mover, int code)
{
	struct pasid_move_info kept = {0};
	struct pasid_move_args args = move_args(mover->at_source.token, NULL);
	if (code == EXIT_REFUSED && pasid_move_cancel(mover->source, &args, &kept) == 0) {
		args = move_args(mover->at_source.token, &kept);
		(void)pasid_move_cancel(mover->target, &args, NULL);
	}
	return code;
}

/* ------------------------------------------------------------ reserve */

static int move_add_grant(const struct pasid_grant_info *grant, void *userdata)
{
	struct mover *mover = userdata;
	if (grant->state != PASID_GRANT_ACTIVE)
		return 0;
	if (mover->count == mover->room) {
		size_t room = mover->room ? mover->room * 2 : 1024;
		void *grants = realloc(mover->grants, room * sizeof(*mover->grants));
		if (grants == NULL)
			return -1;
		mover->grants = grants;
		mover->room = room;
	}
	mover->grants[mover->count++] =
		(struct pasid_move_grant){grant->has_guest, grant->guest_pasid, grant->data};
	return 0;
}

static struct pasid_move_reserve_args move_page(const struct mover *mover, size_t first)
{
	const struct pasid_move_info *set = &mover->at_source;
	struct pasid_move_reserve_args args = {
		.name = set->name,
		.mode = set->mode,
		.quota = set->quota,
		.scopes = set->scopes,
		.has_owner = true,
		.owner_uid = mover->ctl->given & CTL_OWNER ? mover->ctl->owner : set->uid,
		.max = (uint32_t)mover->ctl->max,
		.total = (uint32_t)mover->count,
		.first = (uint32_t)first,
		.grants = mover->grants + first,
		.count = mover->count - first,
	};
	if (args.count > PASID_MOVE_MAX)
		args.count = PASID_MOVE_MAX;
	args.seal = first + args.count == mover->count;
	memcpy(args.token, set->token, sizeof(args.token));
	memcpy(args.proof, set->proof, sizeof(args.proof));
	return args;
}

/* Page after page; conflicts are told as they come, *ret_conflicts says how many there are. */
static int move_reserve_pages(struct mover *mover, bool only_check, size_t *ret_conflicts)
{
	uint32_t numbers[PASID_MOVE_MAX];
	size_t first = 0, conflicts;
	do {
		struct pasid_move_reserve_args args = move_page(mover, first);
		int r;
		args.only_check = only_check;
		args.seal = args.seal && !only_check;
		do
			r = pasid_move_reserve(
				mover->target, &args, &mover->reserved, numbers, &conflicts);
		while (move_waits(mover, r));
		if (r != 0)
			return move_failed(mover, mover->target, r);
		for (size_t i = 0; i < conflicts; i++)
			fprintf(stderr, "pasidctl: PASID %u cannot be had there\n", numbers[i]);
		*ret_conflicts += conflicts;
		first += args.count;
	} while (first < mover->count && (only_check || *ret_conflicts == 0));
	return EXIT_DONE;
}

/* An identity set gets exactly its numbers; whatever is in the way is told before any is taken. */
static int move_reserve(struct mover *mover)
{
	size_t conflicts = 0;
	int code = EXIT_DONE;
	if (mover->at_source.mode == PASID_SET_IDENTITY)
		code = move_reserve_pages(mover, true, &conflicts);
	if (code == EXIT_DONE && conflicts == 0)
		code = move_reserve_pages(mover, false, &conflicts);
	if (code != EXIT_DONE || conflicts == 0)
		return code;
	return move_refuse(mover, "none-free",
		"%zu of the %zu numbers of set '%.64s' are not free on the other host; it keeps its "
		"numbers or does not move",
		conflicts, mover->count, mover->name);
}

/* ------------------------------------------------------------ the steps */

static int move_export(struct mover *mover)
{
	struct pasid_list_args list = {.set.name = mover->name};
	int r = pasid_move_export(mover->source, &list.set, &mover->at_source);
	if (r != 0)
		return move_failed(mover, mover->source, r);
	if (mover->at_source.state != PASID_MOVE_LEAVING)
		return EXIT_DONE;
	r = pasid_grant_list(mover->source, &list, move_add_grant, mover);
	return r == 0 ? EXIT_DONE : move_failed(mover, mover->source, r);
}

/* The VMM may still have to unbind. */
static int move_commit(struct mover *mover, const struct pasid_move_info *reserved)
{
	struct pasid_move_commit_args args = {.pasids = reserved->pasids, .sum = reserved->sum};
	int r;
	memcpy(args.token, mover->at_source.token, sizeof(args.token));
	memcpy(args.proof, reserved->proof, sizeof(args.proof));
	do
		r = pasid_move_commit(mover->source, &args, &mover->given);
	while (move_waits(mover, r));
	return r == 0 ? EXIT_DONE : move_failed(mover, mover->source, r);
}

static int move_take(struct mover *mover)
{
	struct pasid_move_args args = move_args(mover->at_source.token, &mover->given);
	int r = pasid_move_take(mover->target, &args, &mover->taken);
	return r == 0 ? EXIT_DONE : move_failed(mover, mover->target, r);
}

static int move_release(struct mover *mover)
{
	struct pasid_move_args args = move_args(mover->taken.token, &mover->taken);
	int r = pasid_move_release(mover->source, &args, NULL);
	return r == 0 ? EXIT_DONE : move_failed(mover, mover->source, r);
}

/* It was given: the target that it was given to has it, reserved or taken. */
static int move_finish(struct mover *mover)
{
	int code = EXIT_DONE;
	if (!move_is_same(mover) || mover->at_target.state < PASID_MOVE_RESERVED)
		return move_refuse(mover, "move-word",
			"set '%.64s' was given to another daemon than this one, or that one has lost "
			"it; finish the move with the right one, or see --force",
			mover->name);
	mover->taken = mover->at_target;
	if (mover->at_target.state == PASID_MOVE_RESERVED) {
		code = move_commit(mover, &mover->at_target);
		if (code == EXIT_DONE)
			code = move_take(mover);
	}
	return code == EXIT_DONE ? move_release(mover) : code;
}

static int move_whole(struct mover *mover)
{
	int code = move_export(mover);
	if (code != EXIT_DONE)
		return code;
	code = move_reserve(mover);
	if (code == EXIT_DONE)
		code = move_commit(mover, &mover->reserved);
	if (code != EXIT_DONE)
		return move_give_up(mover, code);
	code = move_take(mover);
	return code == EXIT_DONE ? move_release(mover) : code;
}

/* Nothing is under way at the source: it is over, or begins. */
static int move_begin(struct mover *mover)
{
	struct pasid_set_ref set = {.name = mover->name};
	struct pasid_set_info info;
	int r = pasid_set_get(mover->source, &set, &info);
	if (r != 0 && r != PASID_NOT_FOUND)
		return move_failed(mover, mover->source, r);
	if (r == PASID_NOT_FOUND && mover->at_target.state == PASID_MOVE_TAKEN) {
		mover->taken = mover->at_target;
		return move_release(mover);
	}
	return move_whole(mover);
}

/* What another move left at the target is not in the way of this one. */
static int move_go_on(struct mover *mover)
{
	int code = EXIT_DONE;
	if (mover->at_source.state == PASID_MOVE_GIVEN)
		return move_finish(mover);
	if ((mover->at_target.state == PASID_MOVE_COMING ||
		    mover->at_target.state == PASID_MOVE_RESERVED) &&
		!move_is_same(mover))
		code = move_cancel(mover, mover->at_target.token);
	return code == EXIT_DONE ? move_begin(mover) : code;
}

/* On the word of who runs this, what is left of the move here ends. */
static int move_force(struct mover *mover)
{
	struct pasid_move_info info;
	struct pasid_move_args args;
	int r = move_find(mover->source, NULL, mover->name, &info);
	args = move_args(info.token, NULL);
	args.force = true;
	if (r == 0 && info.state == PASID_MOVE_NONE)
		return move_refuse(
			mover, "no-move", "set '%.64s' is not under way here", mover->name);
	if (r == 0 && info.state == PASID_MOVE_GIVEN)
		r = pasid_move_release(mover->source, &args, NULL);
	else if (r == 0)
		r = pasid_move_cancel(mover->source, &args, NULL);
	return r == 0 ? EXIT_DONE : move_failed(mover, mover->source, r);
}

/* ------------------------------------------------------------ the commands */

static int move_open_target(struct mover *mover)
{
	struct pasid_options options = {.path = mover->ctl->to,
		.name = "pasidctl",
		.role = PASID_ROLE_ADMIN,
		.timeout_ms = mover->ctl->timeout_ms};
	struct pasid_error error = {0};
	int r;
	if (mover->ctl->to == NULL)
		return EXIT_DONE;
	r = pasid_open(&options, &mover->target, &error);
	if (r == 0)
		return EXIT_DONE;
	ctl_print_error(mover->ctl, &error);
	return r > 0 ? EXIT_REFUSED : EXIT_NO_DAEMON;
}

static json_t *move_json(const struct pasid_move_info *info)
{
	char token[2 * PASID_MOVE_TOKEN + 1];
	for (size_t i = 0; i < PASID_MOVE_TOKEN; i++)
		(void)snprintf(token + 2 * i, 3, "%02x", info->token[i]);
	return json_pack("{s:s, s:s, s:b, s:I, s:s, s:I}", "name", info->name, "state",
		move_state_text(info->state), "ending", info->ending, "pasids",
		(json_int_t)info->pasids, "token", token, "id", (json_int_t)info->set);
}

static int move_run(struct mover *mover)
{
	const uint64_t given = mover->ctl->given;
	int code = move_open_target(mover);
	if (code != EXIT_DONE)
		return code;
	if (!(given & (CTL_TO | CTL_CANCEL)))
		return move_force(mover);
	code = move_look(mover);
	if (code != EXIT_DONE)
		return code;
	return given & CTL_CANCEL ? move_cancel_all(mover) : move_go_on(mover);
}

int ctl_move(struct ctl *ctl)
{
	const bool force = (ctl->given & CTL_FORCE) != 0;
	uint32_t wait_ms = ctl->timeout_ms ? ctl->timeout_ms : PASID_TIMEOUT_DEFAULT;
	struct mover mover = {.ctl = ctl, .source = ctl->client, .name = ctl->args[0]};
	if (force == ((ctl->given & (CTL_TO | CTL_CANCEL)) != 0))
		return ctl_usage("move takes --to, --cancel, or --force alone");
	clock_gettime(CLOCK_MONOTONIC, &mover.until);
	mover.until.tv_sec += wait_ms / 1000;
	int code = move_run(&mover);
	pasid_close(mover.target);
	free(mover.grants);
	if (code != EXIT_DONE)
		return code;
	ctl->answer = ctl_json_ok();
	json_object_set_new(ctl->answer, "name", json_string(mover.name));
	json_object_set_new(ctl->answer, "result",
		json_string(force                     ? "forced"
			    : ctl->given & CTL_CANCEL ? "cancelled"
						      : "moved"));
	if (mover.taken.state == PASID_MOVE_TAKEN)
		json_object_set_new(ctl->answer, "move", move_json(&mover.taken));
	return EXIT_DONE;
}

void ctl_show_move(const struct ctl *ctl, const json_t *answer)
{
	(void)ctl;
	printf("%s: %s\n", json_string_value(json_object_get(answer, "result")),
		json_string_value(json_object_get(answer, "name")));
}

const struct ctl_column ctl_move_columns[] = {
	{"SET", "name"},
	{"STATE", "state"},
	{"PASIDS", "pasids"},
	{"TOKEN", "token"},
	{0},
};

static int moves_add(const struct pasid_move_info *info, void *userdata)
{
	json_array_append_new(userdata, move_json(info));
	return 0;
}

int ctl_moves(struct ctl *ctl)
{
	ctl->answer = json_array();
	int r = pasid_move_list(ctl->client, NULL, moves_add, ctl->answer);
	return r == 0 ? EXIT_DONE : ctl_failed(ctl, r);
}
