/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a configuration.
 *
 * Promised: it is refused with a sentence that names the file, or it is one that the daemon can
 * start with; and the same text says the same a second time, and so does what is written of it.
 */
#include "config.h"
#include "fuzz.h"
#include "json_mutate.h"
#include "state_file.h"

#include <stdlib.h>
#include <string.h>

#define NAME "fuzz.json"

static int no_submit(void *ctx, const struct hw_op *op)
{
	(void)ctx;
	(void)op;
	return -1;
}

static uint64_t no_time(void *ctx)
{
	(void)ctx;
	return 1;
}

/* The first steps of the daemon's start, as pasidd.c takes them. */
static void check_start(struct config *config)
{
	static const struct hw_ops ops = {.submit = no_submit};
	struct broker_ports ports = {
		.hw = {&ops, NULL}, .now_ms = no_time, .policy = &config->policy};
	struct state_file *memory;
	struct state state;
	struct limits *limits;
	struct broker *broker;
	struct error error = {0};

	FUZZ_CHECK(limits_new(&config->limits, &limits) == 0);
	FUZZ_CHECK(state_file_memory(&memory) == 0);
	state = *state_file_state(memory);
	state.capacity[STATE_SETS] = 64; /* the same for all, and smaller is faster */
	state.capacity[STATE_DEVICES] = 64;
	state.capacity[STATE_BINDINGS] = 64;
	ports.state = &state;
	ports.pages = state_file_pages(memory);
	ports.limits = limits;
	FUZZ_CHECK(broker_new(&config->broker, &ports, &broker) == 0);
	if (broker_recount(broker, &error))
		FUZZ_FAIL("%s", error.text);
	broker_free(broker);
	limits_free(limits);
	state_file_free(memory);
}

/* ---------------------------------------------------------------- the same twice */

static void check_same_who(const struct policy_who *a, const struct policy_who *b)
{
	FUZZ_CHECK(a->everyone == b->everyone && a->uid_count == b->uid_count &&
		   a->gid_count == b->gid_count);
	FUZZ_CHECK(a->uid_count <= CONFIG_WHO_MAX + 1 && a->gid_count <= CONFIG_WHO_MAX);
	for (size_t i = 0; i < a->uid_count; i++)
		FUZZ_CHECK(a->uids[i] == b->uids[i]);
	for (size_t i = 0; i < a->gid_count; i++)
		FUZZ_CHECK(a->gids[i] == b->gids[i]);
}

static void check_same_policy(const struct policy *a, const struct policy *b)
{
	check_same_who(&a->admins, &b->admins);
	check_same_who(&a->observers, &b->observers);
	check_same_who(&a->vmms, &b->vmms);
	FUZZ_CHECK(a->device_count == b->device_count && a->device_count <= CONFIG_DEVICES_MAX);
	for (size_t i = 0; i < a->device_count; i++) {
		const struct policy_device *one = &a->devices[i], *other = &b->devices[i];

		FUZZ_CHECK(one->rid.v == other->rid.v && one->use == other->use);
		check_same_who(&one->who, &other->who);
	}
}

static void check_same_socket(const struct config_socket *a, const struct config_socket *b)
{
	FUZZ_CHECK(!a->path == !b->path && (!a->path || !strcmp(a->path, b->path)));
	FUZZ_CHECK(a->mode == b->mode && a->has_group == b->has_group && a->group == b->group);
	FUZZ_CHECK(a->mode <= 0777 && (!a->path || (a->path[0] && strlen(a->path) <= 107)));
}

static bool is_same_broker(const struct broker_config *a, const struct broker_config *b)
{
	return a->reserved_last == b->reserved_last && a->capacity == b->capacity &&
	       a->set_quota_default == b->set_quota_default &&
	       a->set_quota_max == b->set_quota_max && a->policy == b->policy &&
	       a->cooling_ms == b->cooling_ms;
}

static void check_same_simulate(const struct config_simulate *a, const struct config_simulate *b)
{
	FUZZ_CHECK(a->device_count == b->device_count && a->device_count <= CONFIG_SIM_DEVICES_MAX);
	FUZZ_CHECK(a->latency_us == b->latency_us && a->nesting == b->nesting &&
		   a->five_level == b->five_level && a->smmuv3 == b->smmuv3 &&
		   a->pasid_width == b->pasid_width);
	FUZZ_CHECK(memcmp(a->devices, b->devices, sizeof(a->devices)) == 0);
}

static void check_same(const struct config *a, const struct config *b)
{
	check_same_socket(&a->socket, &b->socket);
	check_same_policy(&a->policy, &b->policy);
	check_same_simulate(&a->simulate, &b->simulate);
	FUZZ_CHECK(is_same_broker(&a->broker, &b->broker));
	FUZZ_CHECK(!memcmp(&a->session, &b->session, sizeof(a->session)));
	FUZZ_CHECK(!memcmp(&a->limits, &b->limits, sizeof(a->limits)));
	FUZZ_CHECK(!memcmp(&a->connection, &b->connection, sizeof(a->connection)));
	FUZZ_CHECK(a->log_level == b->log_level);
}

/* What is in effect, written, says the same: that is how a reload hands it on. */
static void check_written(const struct config *config)
{
	struct config_error error;
	struct config *again = NULL;
	char *text = config_write(config);

	FUZZ_CHECK(text != NULL);
	if (config_parse(NAME, text, strlen(text), 1000, &again, &error) != 0)
		FUZZ_FAIL("%s", error.text);
	check_same(config, again);
	config_free(again);
	free(text);
}

static void check_error(int r, const struct config_error *error)
{
	FUZZ_CHECK(r == STATUS_INVALID);
	FUZZ_CHECK(memchr(error->text, 0, sizeof(error->text)));
	FUZZ_CHECK(!strncmp(error->text, NAME ":", sizeof(NAME)));
	FUZZ_CHECK(strlen(error->text) > sizeof(NAME) + 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config *defaults; /* of which it is known that the daemon starts */
	struct config_error error, error_again;
	struct config *config = NULL, *again = NULL;
	int r, r_again;

	json_mutate_learn(data, size);
	memset(&error, 0xff, sizeof(error));
	memset(&error_again, 0xff, sizeof(error_again));
	r = config_parse(NAME, (const char *)data, size, 1000, &config, &error);
	r_again = config_parse(NAME, (const char *)data, size, 1000, &again, &error_again);
	FUZZ_CHECK(r == r_again);
	if (r) {
		FUZZ_CHECK(!config && !again);
		check_error(r, &error);
		FUZZ_CHECK(!strcmp(error.text, error_again.text));
		return 0;
	}
	check_same(config, again);
	check_written(config);
	if (!defaults)
		FUZZ_CHECK(config_new(1000, &defaults) == 0);
	if (!is_same_broker(&config->broker, &defaults->broker) ||
		memcmp(&config->limits, &defaults->limits, sizeof(config->limits)) != 0)
		check_start(config);
	config_free(config);
	config_free(again);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	size_t mutated = 0;

	if (fuzz_below(&random, 4))
		mutated = json_mutate(data, size, max_size, &random);
	return mutated ? mutated : LLVMFuzzerMutate(data, size, max_size);
}
