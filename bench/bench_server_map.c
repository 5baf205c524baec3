/* SPDX-License-Identifier: MIT */
/*
 * P11: what a guest PASID stands for, looked up in the exported map and asked of the daemon. Client
 * and server share a core; the guest's numbers lie far apart, in many tables, and come in no order.
 */
#include "bench_server.h"

#include "libpasid.h"

#include <err.h>

#define ROUNDS   40u
#define GUESTS   512u
#define STRIDE   1999u /* between guest PASIDs: each second one is in another table */
#define REQUESTS 500u  /* of a round */
#define LOOKUPS  200000u

static struct pasid_client *map_open_set(const struct bench_options *options)
{
	const struct pasid_options connect = {.path = options->pasidd.path, .name = "bench"};
	const struct pasid_set_create_args create = {
		.name = "map", .has_quota = true, .quota = GUESTS};
	struct pasid_client *client;
	struct pasid_error error;

	if (pasid_open(&connect, &client, &error) != 0)
		errx(1, "pasidd: %s", error.message);
	if (pasid_set_create(client, &create, NULL) != 0)
		errx(1, "pasidd: %s", pasid_last_error(client)->message);
	for (uint32_t i = 0; i < GUESTS; i++) {
		const struct pasid_allocate_args args = {
			.count = 1, .has_guest = true, .guest_pasid = 1 + i * STRIDE};
		uint32_t host;

		if (pasid_allocate(client, &args, &host) != 0)
			errx(1, "pasidd: %s", pasid_last_error(client)->message);
	}
	return client;
}

static uint32_t map_guest(unsigned i)
{
	return 1 + i * 197u % GUESTS * STRIDE;
}

static double map_ask(struct pasid_client *client, uint64_t *sum)
{
	const uint64_t begin = bench_now_ns();

	for (unsigned i = 0; i < REQUESTS; i++) {
		const struct pasid_guest_args args = {.guest_pasid = map_guest(i)};
		uint32_t host;

		if (pasid_guest_find(client, &args, &host) != 0)
			errx(1, "pasidd: %s", pasid_last_error(client)->message);
		*sum += host;
	}
	return (double)(bench_now_ns() - begin) / REQUESTS;
}

static double map_look_up(const struct pasid_map *map, uint64_t *sum)
{
	const uint64_t begin = bench_now_ns();

	for (unsigned i = 0; i < LOOKUPS; i++) {
		uint32_t host;

		if (pasid_map_find(map, map_guest(i), &host) != 1)
			errx(1, "guest PASID %u is not in the map", map_guest(i));
		*sum += host;
	}
	return (double)(bench_now_ns() - begin) / LOOKUPS;
}

/* Both must find the same: the first lookups are those of the requests. */
static void map_compare(struct pasid_client *client, const struct pasid_map *map)
{
	for (unsigned i = 0; i < GUESTS; i++) {
		const struct pasid_guest_args args = {.guest_pasid = map_guest(i)};
		uint32_t asked = 0, found = 1;

		if (pasid_guest_find(client, &args, &asked) != 0 ||
			pasid_map_find(map, map_guest(i), &found) != 1 || asked != found)
			errx(1, "guest PASID %u: the map has %u, the daemon says %u", map_guest(i),
				found, asked);
	}
}

void bench_map(const struct bench_options *options)
{
	static struct bench_series series;
	const struct bench_figure figure = {.id = "P11",
		.name = "guest->host lookup in the exported map, against a request",
		.target = 0.001,
		.unit = "ns"};
	struct pasid_client *client = map_open_set(options);
	struct pasid_map *map;
	uint64_t sum = 0;

	if (pasid_map_open(client, NULL, &map) != 0)
		errx(1, "pasidd: %s", pasid_last_error(client)->message);
	map_compare(client, map);
	series.rounds = options->rounds > 0 ? options->rounds : ROUNDS;
	for (unsigned i = 0; i < series.rounds; i++) {
		series.values[0][i] = map_look_up(map, &sum);
		series.values[1][i] = map_ask(client, &sum);
	}
	if (sum == 0)
		errx(1, "nothing was found");
	bench_report(&figure, &series, 0, 1);
	pasid_close(client);
}
