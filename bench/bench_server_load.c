/* SPDX-License-Identifier: MIT */
/* pasidd as its users see it: through libpasid. */
#include "bench_server.h"

#include "libpasid.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>

/* How often to look whether what was freed can be had again. */
#define REFILL_MS 20

static void load_check(struct bench_load *load, int r)
{
	if (r != 0)
		errx(1, "%s: %s", load->name, pasid_last_error(load->client)->message);
}

static void load_replied(
	struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	struct bench_load *load = userdata;

	(void)client;
	if (result->code != 0)
		errx(1, "%s: %s", load->name, result->error->message);
	load->waiting--;
}

static void load_batch(struct bench_load *load, unsigned depth)
{
	const struct pasid_allocate_args args = {.count = load->count};
	uint32_t numbers[PASID_ALLOCATE_MAX];

	load->taken += load->count * depth;
	if (depth == 1) {
		load_check(load, pasid_allocate(load->client, &args, numbers));
		return;
	}
	load->waiting = depth;
	for (unsigned i = 0; i < depth; i++)
		load_check(load, pasid_allocate_async(load->client, &args, load_replied, load));
	while (load->waiting > 0) {
		if (pasid_dispatch(load->client, -1) < 0)
			load_check(load, -1);
	}
}

/* Gives everything back when half of it is out, and waits until the numbers have cooled. */
static void load_refill(struct bench_load *load)
{
	const struct pasid_set_ref own = {0};
	struct pasid_set_info info;

	if (load->taken < BENCH_NUMBERS / 2)
		return;
	load->taken = 0;
	load_check(
		load, pasid_free(load->client, &(struct pasid_free_args){.all = true}, NULL, NULL));
	do {
		bench_sleep_ms(REFILL_MS);
		load_check(load, pasid_set_get(load->client, &own, &info));
	} while (info.pasids.current > 0);
}

void bench_load_pasid(
	struct bench_load *load, const struct bench_server *server, const char *set, uint32_t count)
{
	const struct pasid_options options = {.path = server->path, .name = "bench"};
	const struct pasid_set_create_args args = {.name = set, .has_quota = true};
	struct pasid_error error;

	*load = (struct bench_load){.name = "pasidd",
		.pid = server->pid,
		.batch = load_batch,
		.refill = load_refill,
		.count = count};
	if (pasid_open(&options, &load->client, &error) != 0)
		errx(1, "pasidd: %s", error.message);
	load_check(load, pasid_set_create(load->client, &args, NULL));
}
