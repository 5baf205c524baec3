/* SPDX-License-Identifier: MIT */
/* Clients that do not read, say nothing, or come when there is no room: who is held, who goes. */
#include "server_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 300u

static uint64_t now_ms(void)
{
	struct timespec ts;

	ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void start_impatient(void)
{
	struct limits_config config;
	struct server_options options = server_rig_options(&config);

	options.hello_ms = options.stalled_ms = PATIENCE_MS;
	start_with(options, &config);
}

/* Requests of one kind, as many as fit a datagram of 256. */
static size_t encode_many(uint8_t *data, size_t room, uint32_t operation, const void *message)
{
	struct wire_out out = wire_out_init(data, room);

	for (uint64_t i = 0; i < WIRE_REQUESTS_MAX; i++) {
		const struct wire_request request = {.id = 1000 + i, .operation = operation};

		wire_out_request(&out, &request, message);
	}
	ck_assert(!out.full);
	return out.size;
}

/* Sends pings until nothing more is taken, and returns how many datagrams that were. */
static unsigned fill(int fd)
{
	static uint8_t data[WIRE_DATAGRAM_MAX];
	uint8_t payload[WIRE_STRING_MAX] = {0};
	Pasid__V1__Ping ping = PASID__V1__PING__INIT;
	unsigned count = 0, misses = 0;
	size_t size;

	ping.payload = (ProtobufCBinaryData){sizeof(payload), payload};
	size = encode_many(data, sizeof(data), 17, &ping);
	while (misses < 10) {
		if (send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size) {
			count++;
			misses = 0;
		} else {
			misses++;
			(void)usleep(2000);
		}
		ck_assert_uint_lt(count, 10000);
	}
	return count;
}

/* Is it closed within so many ms? Reads nothing. */
static bool is_closed(int fd, uint64_t limit_ms)
{
	const uint64_t end = now_ms() + limit_ms;
	uint8_t data[256];
	size_t size = encode_ping(data, sizeof(data), 1);

	while (now_ms() < end) {
		if (send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
			return true;
		(void)usleep(5000);
	}
	return false;
}

/* ---------------------------------------------------------------- who does not read */

START_TEST(who_reads_one_now_and_then_is_disconnected_all_the_same)
	{
		static uint8_t data[WIRE_DATAGRAM_MAX];
		uint64_t begin;
		int fd, other;

		start_impatient();
		fd = client_open();
		other = client_open();
		(void)fill(fd);
		begin = now_ms();
		/* Each time before its time is over. */
		while (now_ms() - begin < 20ull * PATIENCE_MS) {
			if (recv(fd, data, sizeof(data), 0) <= 0)
				break;
			(void)usleep(PATIENCE_MS * 1000 / 2);
			client_ping(other, begin);
			if (server_counted(server, EDGE_STALLED) > 0)
				break;
		}
		ck_assert_uint_lt(now_ms() - begin, 8ull * PATIENCE_MS);
		stop();
		ck_assert_uint_eq(server_counted(server, EDGE_STALLED), 1);
		close(fd);
		close(other);
	}
END_TEST

START_TEST(who_watches_and_does_not_read_is_disconnected)
	{
		static uint8_t data[WIRE_DATAGRAM_MAX];
		Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		Pasid__V1__SetAdjust adjust = PASID__V1__SET_ADJUST__INIT;
		const struct wire_request ask = {.id = 2, .operation = 19};
		const struct wire_request make = {.id = 2, .operation = 32};
		struct wire_out out = wire_out_init(data, sizeof(data));
		uint64_t id = 3, begin;
		int fd, busy;

		start_impatient();
		fd = client_open();
		busy = client_open();
		create.name = "busy";
		wire_out_request(&out, &make, &create.base);
		ck_assert_int_eq(send(busy, data, out.size, 0), (ssize_t)out.size);
		ck_assert_uint_eq(client_replies(busy), 1);
		/* An observer hears everything. */
		close(fd);
		fd = client_connect();
		{
			Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;
			const struct wire_request greet = {.id = 1, .operation = 16};

			hello.version_min = hello.version_max = 1;
			hello.role = PASID__V1__ROLE__ROLE_OBSERVER;
			out = wire_out_init(data, sizeof(data));
			wire_out_request(&out, &greet, &hello.base);
			wire_out_request(&out, &ask, &watch.base);
			ck_assert_int_eq(send(fd, data, out.size, 0), (ssize_t)out.size);
			ck_assert_uint_eq(client_replies(fd), 2);
		}
		begin = now_ms();
		while (server_counted(server, EDGE_STALLED) == 0 && now_ms() - begin < 20000) {
			out = wire_out_init(data, sizeof(data));
			for (unsigned i = 0; i < WIRE_REQUESTS_MAX; i++, id++) {
				const struct wire_request change = {.id = id, .operation = 33};

				adjust.pasids = 10 + i % 2;
				wire_out_request(&out, &change, &adjust.base);
			}
			ck_assert_int_eq(send(busy, data, out.size, 0), (ssize_t)out.size);
			ck_assert_uint_ge(client_replies(busy), 1); /* each of them an event */
		}
		stop();
		ck_assert_uint_eq(server_counted(server, EDGE_STALLED), 1);
		close(fd);
		close(busy);
	}
END_TEST

START_TEST(at_a_users_limit_its_connections_wait_and_are_read_again)
	{
		static uint8_t data[WIRE_DATAGRAM_MAX];
		struct limits_config config;
		struct server_options options = server_rig_options(&config);
		struct rusage before, after;
		const struct account *unread;
		size_t size = encode_ping(data, sizeof(data), 2);
		int full, idle;

		config.of[RESOURCE_UNREAD].user = 131072;
		start_with(options, &config);
		full = client_open();
		idle = client_open();
		unread = limits_account(limits, LIMITS_NO_USER, RESOURCE_UNREAD);
		for (unsigned i = 0; i < 50 && unread->current <= 65536; i++)
			(void)fill(full);
		ck_assert_uint_gt(unread->current, 65536);
		ck_assert_uint_le(unread->peak, 131072);
		/* The other one of the user is not read, which costs no time. */
		ck_assert_int_eq(send(idle, data, size, 0), (ssize_t)size);
		(void)getrusage(RUSAGE_SELF, &before);
		(void)usleep(300000);
		(void)getrusage(RUSAGE_SELF, &after);
		ck_assert_int_lt(recv(idle, data, sizeof(data), MSG_DONTWAIT), 0);
		ck_assert_int_lt((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
					 after.ru_utime.tv_usec - before.ru_utime.tv_usec,
			100000);
		while (recv(full, data, sizeof(data), MSG_DONTWAIT) > 0 ||
			unread->current > 131072 - 65536)
			(void)usleep(1000);
		ck_assert_uint_eq(client_replies(idle), 1);
		stop();
		ck_assert_uint_ge(server_counted(server, EDGE_HELD), 1);
		close(full);
		close(idle);
	}
END_TEST

/* ---------------------------------------------------------------- who says nothing */

START_TEST(neither_pings_nor_rubbish_make_the_time_for_hello_longer)
	{
		const uint64_t begin = now_ms();
		uint8_t rubbish[64];
		int pings, bad;

		memset(rubbish, 0xff, sizeof(rubbish));
		start_impatient();
		pings = client_connect();
		bad = client_connect();
		ck_assert_int_eq(send(bad, rubbish, 1, MSG_NOSIGNAL), 1);
		while (server_counted(server, EDGE_HELLO_TIMEOUTS) < 2 &&
			now_ms() - begin < 10ull * PATIENCE_MS) {
			uint8_t data[256];
			size_t size = encode_ping(data, sizeof(data), 1);

			(void)send(pings, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (now_ms() - begin < PATIENCE_MS / 2) /* not often enough for abuse */
				(void)send(bad, rubbish, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
			(void)usleep(PATIENCE_MS * 1000 / 12);
		}
		ck_assert_uint_lt(now_ms() - begin, 4ull * PATIENCE_MS);
		stop();
		ck_assert_uint_eq(server_counted(server, EDGE_HELLO_TIMEOUTS), 2);
		ck_assert_uint_eq(server_connections(server), 0);
		ck_assert_uint_ge(server_counted(server, EDGE_DATAGRAMS_REFUSED), 1);
		close(pings);
		close(bad);
	}
END_TEST

START_TEST(abuse_is_counted_and_closes)
	{
		uint8_t rubbish[] = {0xff};
		int fd, other;

		start(16, 0);
		other = client_open();
		fd = client_open();
		for (unsigned i = 0; i <= DISPATCH_ABUSE_MAX; i++)
			(void)send(fd, rubbish, sizeof(rubbish), MSG_NOSIGNAL);
		ck_assert(is_closed(fd, 5000));
		client_ping(other, 2);
		stop();
		ck_assert_uint_eq(server_counted(server, EDGE_ABUSE), 1);
		ck_assert_uint_eq(
			server_counted(server, EDGE_DATAGRAMS_REFUSED), DISPATCH_ABUSE_MAX + 1);
		close(fd);
		close(other);
	}
END_TEST

/* ---------------------------------------------------------------- no room */

START_TEST(a_place_that_is_free_is_given_at_once)
	{
		uint64_t begin;
		int first, second, third;

		start(2, 0);
		first = client_open();
		second = client_open();
		third = client_connect();
		(void)usleep(50000); /* the loop rests by now */
		begin = now_ms();
		close(first);
		client_hello(third);
		ck_assert_uint_lt(now_ms() - begin, SERVER_ACCEPT_MS / 2);
		client_ping(second, 2);
		stop();
		ck_assert_uint_ge(server_counted(server, EDGE_ACCEPT_LIMIT), 1);
		close(second);
		close(third);
	}
END_TEST

/* So many more descriptors may be open. */
static void limit_descriptors(unsigned more)
{
	static int top = -1;
	struct rlimit limit;

	if (top < 0) {
		top = dup(STDERR_FILENO);
		close(top);
	}
	ck_assert_int_ge(top, 0);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)top + more;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

START_TEST(without_descriptors_who_is_there_is_served_and_nothing_spins)
	{
		struct rusage before, after;
		int there[2], waiting[40];
		uint64_t pauses, begin;
		unsigned told = 0;

		start(1000, 0);
		for (size_t i = 0; i < ARRAY_SIZE(there); i++)
			there[i] = client_open();
		for (size_t i = 0; i < ARRAY_SIZE(waiting); i++)
			waiting[i] = client_socket();
		limit_descriptors(4); /* two connections fit */
		for (size_t i = 0; i < ARRAY_SIZE(waiting); i++)
			ck_assert_int_eq(connect(waiting[i], (const struct sockaddr *)&address,
						 sizeof(address)),
				0);
		(void)usleep(300000);
		pauses = server_counted(server, EDGE_ACCEPT_DESCRIPTORS);
		ck_assert_uint_ge(pauses, 1);
		(void)getrusage(RUSAGE_SELF, &before);
		(void)usleep(500000);
		(void)getrusage(RUSAGE_SELF, &after);
		ck_assert_int_lt((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
					 after.ru_utime.tv_usec - before.ru_utime.tv_usec,
			100000);
		ck_assert_uint_le(server_counted(server, EDGE_ACCEPT_DESCRIPTORS) - pauses, 3);
		for (size_t i = 0; i < ARRAY_SIZE(there); i++)
			client_ping(there[i], 2);
		/* Who waits is served as descriptors come back; who was turned away was told. */
		limit_descriptors(400);
		close(there[0]);
		begin = now_ms();
		for (size_t i = 0; i < ARRAY_SIZE(waiting); i++) {
			uint8_t data[256];
			size_t size = encode_hello(data, sizeof(data), 1);

			(void)send(waiting[i], data, size, MSG_NOSIGNAL);
			told += client_replies(waiting[i]) == 0;
		}
		ck_assert_uint_lt(told, 10);
		ck_assert_uint_lt(now_ms() - begin, 5000);
		stop();
		ck_assert_uint_eq(server_counted(server, EDGE_TURNED_AWAY), told);
		for (size_t i = 0; i < ARRAY_SIZE(waiting); i++)
			close(waiting[i]);
		close(there[1]);
	}
END_TEST

/* ---------------------------------------------------------------- descriptors */

static void send_fds(int fd, const uint8_t *data, size_t size, int what, unsigned count)
{
	struct iovec vector = {(void *)(uintptr_t)data, size};
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(253 * sizeof(int))] = {0};
	struct msghdr header = {.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&header);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	for (unsigned i = 0; i < count; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &what, sizeof(int));
	ck_assert_int_eq(sendmsg(fd, &header, MSG_NOSIGNAL), (ssize_t)size);
}

START_TEST(descriptors_are_charged_until_they_are_closed)
	{
		struct limits_config config;
		struct server_options options = server_rig_options(&config);
		const struct account *received;
		uint8_t data[256];
		uint64_t begin;
		int fd, null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		config.of[RESOURCE_RECEIVED].user = 300;
		start_with(options, &config);
		received = limits_account(limits, LIMITS_NO_USER, RESOURCE_RECEIVED);
		fd = client_open();
		for (uint64_t id = 2; id < 12; id++) {
			size_t size = encode_ping(data, sizeof(data), id);

			send_fds(fd, data, size, null, 200);
			/* Refused, as no request says that they are its own; then a good one. */
			ck_assert_uint_eq(client_replies(fd), 0);
			client_ping(fd, id);
		}
		begin = now_ms();
		while (received->current > 0 && now_ms() - begin < 5000)
			(void)usleep(1000);
		ck_assert_uint_eq(received->current, 0);
		ck_assert_uint_ge(received->peak, 200);
		ck_assert_uint_le(received->peak, 300);
		ck_assert_uint_eq(received->hits, 0);
		stop();
		close(fd);
		close(null);
	}
END_TEST

/* VMs of one user have a connection each: what comes over one of them is not all that may come. */
START_TEST(descriptors_of_one_connection_leave_room_for_others_of_its_user)
	{
		struct limits_config config;
		struct server_options options = server_rig_options(&config);
		const struct account *received;
		uint8_t data[256];
		uint64_t begin;
		int fd, other, null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		config.of[RESOURCE_RECEIVED].user = 600;
		options.received_max = 300;
		start_with(options, &config);
		received = limits_account(limits, LIMITS_NO_USER, RESOURCE_RECEIVED);
		fd = client_open();
		other = client_open();
		for (uint64_t id = 2; id < 10; id++)
			send_fds(fd, data, encode_ping(data, sizeof(data), id), null, 200);
		client_ping(other, 2);
		for (uint64_t id = 2; id < 10; id++)
			ck_assert_uint_eq(client_replies(fd), 0);
		client_ping(fd, 10);
		ck_assert_uint_ge(received->peak, 200);
		ck_assert_uint_le(received->peak, 300);
		/* what is still open when the connection goes is closed, and known to be */
		send_fds(fd, data, encode_ping(data, sizeof(data), 11), null, 200);
		close(fd);
		client_ping(other, 3);
		begin = now_ms();
		while (received->current > 0 && now_ms() - begin < 5000)
			(void)usleep(1000);
		ck_assert_uint_eq(received->current, 0);
		stop();
		close(other);
		close(null);
	}
END_TEST

int main(int argc, char *argv[])
{
	const TTest *const tests[] = {
		who_reads_one_now_and_then_is_disconnected_all_the_same,
		who_watches_and_does_not_read_is_disconnected,
		at_a_users_limit_its_connections_wait_and_are_read_again,
		neither_pings_nor_rubbish_make_the_time_for_hello_longer,
		abuse_is_counted_and_closes,
		a_place_that_is_free_is_given_at_once,
		without_descriptors_who_is_there_is_served_and_nothing_spins,
		descriptors_of_one_connection_leave_room_for_others_of_its_user,
		descriptors_are_charged_until_they_are_closed,
	};

	return server_rig_main(argc, argv, "server_flow", tests, ARRAY_SIZE(tests));
}
