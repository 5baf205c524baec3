/* SPDX-License-Identifier: MIT */
#include "mortal.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "grave.h"
#include "state_check.h"

struct mortal mortal;

/* ---------------------------------------------------------------- ports */

static uint64_t now_ms(void *ctx)
{
	(void)ctx;
	return mortal.f.now_ms;
}

static void fill(void *ctx, void *ret_bytes, size_t size)
{
	(void)ctx;
	memset(ret_bytes, ++mortal.randomness, size);
}

static void dispose(void *ctx, int fd)
{
	(void)ctx;
	(void)fd;
	FUZZ_CHECK(false); /* nobody sends any */
}

static void unpark(void *ctx, void *user)
{
	(void)ctx;
	(void)user;
}

static int revive(void *ctx, struct session *session, int32_t pid, uint64_t born, void **ret_user)
{
	(void)ctx;
	(void)pid;
	(void)born;
	*ret_user = session;
	return 0;
}

/* ---------------------------------------------------------------- its start and its end */

static void check_records(uint32_t used[static STATE_TABLES])
{
	struct state_problem problem = {.text = ""};
	void *scratch;

	for (unsigned t = 0; t < STATE_TABLES; t++)
		used[t] = state_file_used(mortal.f.memory, (enum state_table)t);
	scratch = malloc(state_check_scratch(used));
	FUZZ_CHECK(scratch);
	if (state_check(state_file_state(mortal.f.memory), used, scratch, &problem))
		FUZZ_FAIL("what it left is refused: %s", problem.text);
	free(scratch);
}

static void open_broker(void)
{
	struct broker_ports ports = {.hw = {&model_ops, &mortal.f.model},
		.state = &grave.state,
		.pages = state_file_pages(mortal.f.memory),
		.now_ms = now_ms,
		.policy = &mortal.f.policy};

	FUZZ_CHECK(limits_new(&mortal.f.limits_config, &mortal.f.limits) == 0);
	ports.limits = mortal.f.limits;
	FUZZ_CHECK(broker_new(&mortal.f.config, &ports, &mortal.f.broker) == 0);
}

void mortal_open(void)
{
	const struct dispatch_ports ports = {.now_ms = now_ms,
		.random = fill,
		.dispose_fd = dispose,
		.unpark = unpark,
		.revive = revive};
	uint32_t used[STATE_TABLES];
	const struct recovery recovery = {.used = used, .lane_stands = fixture_none_stands};

	check_records(used);
	open_broker();
	if (broker_recover(mortal.f.broker, &recovery, &mortal.error))
		FUZZ_FAIL("what it left is not taken up: %s", mortal.error.text);
	mortal.config.limits = mortal.f.limits;
	mortal.config.instance[0]++;
	FUZZ_CHECK(dispatch_new(&mortal.config, &ports, mortal.f.broker, &mortal.dispatch) == 0);
	FUZZ_CHECK(dispatch_recover(mortal.dispatch) == 0);
}

void mortal_end(void)
{
	dispatch_free(mortal.dispatch);
	broker_free(mortal.f.broker);
	limits_free(mortal.f.limits);
	mortal.f.model.count = 0;
}
