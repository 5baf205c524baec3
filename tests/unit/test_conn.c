/* SPDX-License-Identifier: MIT */
/* Turns: how much of one client is done before it is another's. Cost is counted, not time. */
#include "conn.h"
#include "dispatch_rig.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOSTILE 8u
/* A datagram: what it asks for, its size, its requests; and one request that cannot be divided. */
#define DEAREST (DISPATCH_COST_MAX + WIRE_DATAGRAM_MAX / 32 + WIRE_REQUESTS_MAX)

static struct rig rig, *const r = &rig;
static struct conn_io io;

struct client {
	struct conn conn;
	int fd; /* the other end */
};

static void client_start(struct client *client, struct link *link)
{
	const int size = 1 << 20;
	int ends[2];

	io.dispatch = r->d;
	io.limits = r->limits;
	io.received_max = UINT32_MAX;
	if (!io.buffers)
		io.buffers = conn_buffers_new();
	ck_assert_ptr_nonnull(io.buffers);
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	(void)setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	*client = (struct client){
		.conn = {.link = link, .fd = ends[0], .user = LIMITS_NO_USER, .burst = 1},
		.fd = ends[1]};
}

static void client_end(struct client *client)
{
	close(client->conn.fd);
	close(client->fd);
}

/* The datagram in the rig, so many times. */
static void client_send(const struct client *client, unsigned count)
{
	while (count-- > 0)
		ck_assert_int_eq(
			send(client->fd, r->datagram, r->out.size, 0), (ssize_t)r->out.size);
}

static uint64_t turn_cost(struct client *client)
{
	const uint64_t before = dispatch_cost(r->d);

	ck_assert_int_eq(conn_receive(&io, &client->conn), CONN_OK);
	while (rig_read(r, client->conn.link))
		;
	return dispatch_cost(r->d) - before;
}

static void make_pings(unsigned count)
{
	static const Pasid__V1__Ping ping = PASID__V1__PING__INIT;

	rig_begin(r);
	for (unsigned i = 0; i < count; i++)
		rig_add(r, OPERATION(PING), &ping);
}

/* Sends cheap datagrams, as many as are asked for, until no larger burst is. */
static void fill_bursts(struct client *client)
{
	for (unsigned turn = 0; turn < 100 && client->conn.burst < CONN_BURST_MAX; turn++) {
		make_pings(1);
		client_send(client, client->conn.burst);
		(void)turn_cost(client);
	}
	ck_assert_uint_eq(client->conn.burst, CONN_BURST_MAX);
}

/* A datagram of requests that each ask for as many numbers as one may. */
static void make_dear(void)
{
	Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;

	allocate.count = BROKER_ALLOCATE_MAX;
	rig_begin(r);
	for (unsigned i = 0; i < WIRE_REQUESTS_MAX; i++)
		rig_add(r, OPERATION(ALLOCATE), &allocate);
}

START_TEST(a_client_with_cheap_datagrams_has_them_read_in_bursts)
	{
		struct client client;

		client_start(&client, rig_hello(r, ROLE_VMM));
		fill_bursts(&client);
		client_end(&client);
	}
END_TEST

START_TEST(after_a_dear_turn_comes_one_of_a_single_datagram)
	{
		struct client client;

		client_start(&client, rig_vmm(r, "vm1", SET_TRANSLATED));
		fill_bursts(&client);
		make_dear();
		client_send(&client, 20);
		(void)turn_cost(&client);
		for (unsigned i = 0; i < 12; i++) {
			ck_assert_uint_eq(client.conn.burst, 1);
			ck_assert_uint_le(turn_cost(&client), DEAREST);
		}
		make_pings(1);
		client_end(&client);
	}
END_TEST

START_TEST(a_ping_waits_for_one_dear_datagram_of_each_other_client)
	{
		static struct client hostile[HOSTILE];
		struct client honest;
		uint64_t waited;
		char name[16];

		client_start(&honest, rig_hello(r, ROLE_VMM));
		for (unsigned i = 0; i < HOSTILE; i++) {
			(void)snprintf(name, sizeof(name), "vm%u", i);
			client_start(&hostile[i], rig_vmm(r, name, SET_TRANSLATED));
			make_dear();
			client_send(&hostile[i], 12);
		}
		/* What each turn of the loop does, with everybody ready. */
		for (unsigned turn = 0; turn < 12; turn++) {
			waited = 0;
			for (unsigned i = 0; i < HOSTILE; i++)
				waited += turn_cost(&hostile[i]);
			make_pings(1);
			client_send(&honest, 1);
			ck_assert_uint_le(turn_cost(&honest), 4);
			ck_assert_uint_le(waited, (uint64_t)HOSTILE * DEAREST);
		}
		for (unsigned i = 0; i < HOSTILE; i++)
			client_end(&hostile[i]);
		client_end(&honest);
		conn_buffers_free(TAKE_PTR(io.buffers));
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_client_with_cheap_datagrams_has_them_read_in_bursts,
		after_a_dear_turn_comes_one_of_a_single_datagram,
		a_ping_waits_for_one_dear_datagram_of_each_other_client,
	};

	return rig_main(r, "conn", tests, ARRAY_SIZE(tests));
}
