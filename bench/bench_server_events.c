/* SPDX-License-Identifier: MIT */
/*
 * P15: a change told to 100 subscribers, the daemon's processor time against that of sending a
 * datagram of the same size to 100 sockets and nothing else.
 */
#include "bench_server.h"

#include "libpasid.h"

#include <err.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS      40u
#define SUBSCRIBERS 100u
#define CHANGES     50u /* of a round, each in a turn of its own */
#define EVENT_SIZE  24  /* bytes of a datagram with one event, about */

static uint64_t heard;

static void events_heard(
	struct pasid_client *client, const struct pasid_event *event, void *userdata)
{
	(void)client;
	(void)userdata;
	if (event->lost)
		errx(1, "events were lost");
	heard++;
}

static struct pasid_client *events_open(const struct bench_options *options, enum pasid_role role)
{
	const struct pasid_options connect = {
		.path = options->pasidd.path, .name = "bench", .role = role};
	struct pasid_client *client;
	struct pasid_error error;

	if (pasid_open(&connect, &client, &error) != 0)
		errx(1, "pasidd: %s", error.message);
	return client;
}

/* Each of them has heard of everything before the next change: no two share a datagram. */
static void events_change(struct pasid_client *vmm, struct pasid_client *const *subscribers)
{
	const struct pasid_data_args args = {.pasid = {.value = 0}};
	static uint32_t number;
	struct pasid_data_args with = args;
	const uint64_t before = heard;

	if (number == 0 &&
		pasid_allocate(vmm, &(struct pasid_allocate_args){.count = 1}, &number) != 0)
		errx(1, "pasidd: %s", pasid_last_error(vmm)->message);
	with.pasid.value = number;
	if (pasid_data_set(vmm, &with) != 0)
		errx(1, "pasidd: %s", pasid_last_error(vmm)->message);
	while (heard < before + SUBSCRIBERS) {
		for (unsigned i = 0; i < SUBSCRIBERS; i++)
			if (pasid_dispatch(subscribers[i], 0) < 0)
				errx(1, "pasidd: %s", pasid_last_error(subscribers[i])->message);
	}
}

static double events_round(const struct bench_options *options, struct pasid_client *vmm,
	struct pasid_client *const *subscribers)
{
	const uint64_t begin = bench_cpu_ns(options->pasidd.pid);

	for (unsigned i = 0; i < CHANGES; i++)
		events_change(vmm, subscribers);
	return (double)(bench_cpu_ns(options->pasidd.pid) - begin) / (CHANGES * SUBSCRIBERS);
}

/* In a process of its own, so that its time is counted in the same way; what it sent is read here.
 */
static double events_raw(int (*sockets)[2])
{
	static const char event[EVENT_SIZE];
	char byte, data[EVENT_SIZE];
	int go[2];
	uint64_t begin, end;
	pid_t pid;

	if (pipe(go) != 0 || (pid = fork()) < 0)
		err(1, "fork");
	if (pid == 0) {
		while (read(go[0], &byte, 1) == 1 && byte)
			for (unsigned i = 0; i < SUBSCRIBERS; i++)
				if (send(sockets[i][0], event, sizeof(event), MSG_NOSIGNAL) < 0)
					err(1, "send");
		_exit(0);
	}
	begin = bench_cpu_ns(pid);
	for (unsigned n = 0; n < CHANGES; n++) {
		if (write(go[1], "x", 1) != 1)
			err(1, "write");
		for (unsigned i = 0; i < SUBSCRIBERS; i++)
			if (recv(sockets[i][1], data, sizeof(data), 0) != sizeof(data))
				err(1, "recv");
	}
	end = bench_cpu_ns(pid);
	if (write(go[1], "", 1) != 1)
		err(1, "write");
	close(go[0]);
	close(go[1]);
	return (double)(end - begin) / (CHANGES * SUBSCRIBERS);
}

void bench_events(const struct bench_options *options)
{
	static struct bench_series series;
	static struct pasid_client *subscribers[SUBSCRIBERS];
	static int sockets[SUBSCRIBERS][2];
	const struct bench_figure figure = {.id = "P15",
		.name = "a change told to 100 subscribers, against raw sends of the same bytes",
		.target = 2.5,
		.unit = "ns an event"};
	struct pasid_client *vmm = events_open(options, PASID_ROLE_VMM);
	const struct pasid_set_create_args create = {.name = "events"};

	if (pasid_set_create(vmm, &create, NULL) != 0)
		errx(1, "pasidd: %s", pasid_last_error(vmm)->message);
	for (unsigned i = 0; i < SUBSCRIBERS; i++) {
		const struct pasid_watch_args kinds = {
			.kinds = UINT64_C(1) << PASID_EVENT_GRANT_DATA};

		subscribers[i] = events_open(options, PASID_ROLE_OBSERVER);
		if (pasid_watch_events(subscribers[i], &kinds, events_heard, NULL) != 0)
			errx(1, "pasidd: %s", pasid_last_error(subscribers[i])->message);
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets[i]) != 0)
			err(1, "socketpair");
	}
	events_change(vmm, subscribers);
	series.rounds = options->rounds > 0 ? options->rounds : ROUNDS;
	for (unsigned i = 0; i < series.rounds; i++) {
		series.values[0][i] = events_round(options, vmm, subscribers);
		series.values[1][i] = events_raw(sockets);
	}
	bench_report(&figure, &series, 0, 1);
}
