/* SPDX-License-Identifier: MIT */
/* The server's loop. What takes hardware or another process is in tests/integration. */
#include "server_rig.h"

#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

START_TEST(serves_hello_and_ping)
	{
		start(16, 0);
		int fd = client_open();

		for (uint64_t id = 2; id < 100; id++)
			client_ping(fd, id);
		stop();
		ck_assert_uint_eq(server_connections(server), 1);
		close(fd);
	}
END_TEST

START_TEST(bursts_of_datagrams_are_all_answered)
	{
		uint8_t data[256];
		size_t answered = 0;

		start(16, 0);
		int fd = client_open();

		for (uint64_t id = 2; id < 102; id++) {
			size_t size = encode_ping(data, sizeof(data), id);

			ck_assert_int_eq(send(fd, data, size, 0), (ssize_t)size);
		}
		while (answered < 100)
			answered += client_replies(fd);
		ck_assert_uint_eq(answered, 100);
		stop();
		close(fd);
	}
END_TEST

START_TEST(ends_of_connections_are_noticed)
	{
		int fds[50];

		start(64, 0);
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			fds[i] = client_open();
		for (size_t i = 1; i < ARRAY_SIZE(fds); i++)
			close(fds[i]);
		for (uint64_t id = 2; id < 20; id++)
			client_ping(fds[0], id);
		stop();
		ck_assert_uint_eq(server_connections(server), 1);
		/* Their sessions wait: this process lives. */
		ck_assert_uint_eq(server_parked(server), ARRAY_SIZE(fds) - 1);
		close(fds[0]);
	}
END_TEST

START_TEST(a_connection_that_said_nothing_leaves_nothing)
	{
		start(64, 0);
		int kept = client_open();

		for (uint64_t i = 0; i < 20; i++) {
			close(client_connect());
			client_ping(kept, 2 + i);
		}
		stop();
		ck_assert_uint_eq(server_connections(server), 1);
		ck_assert_uint_eq(server_parked(server), 0);
		close(kept);
	}
END_TEST

START_TEST(beyond_a_users_limit_is_told_and_closed)
	{
		uint8_t data[1024];

		start(64, 2);
		int first = client_open(), second = client_open(), third = client_connect();
		ssize_t n = recv(third, data, sizeof(data), 0);

		ck_assert_int_gt(n, 0);
		Pasid__V1__ToClient *message = pasid__v1__to_client__unpack(NULL, (size_t)n, data);

		ck_assert_ptr_nonnull(message);
		ck_assert_ptr_nonnull(message->refused);
		ck_assert_str_eq(message->refused->reason, "limit");
		pasid__v1__to_client__free_unpacked(message, NULL);
		ck_assert_int_eq(recv(third, data, sizeof(data), 0), 0);
		client_ping(first, 2);
		client_ping(second, 2);
		stop();
		ck_assert_uint_eq(server_connections(server), 2);
		close(first);
		close(second);
		close(third);
	}
END_TEST

START_TEST(at_the_limit_others_wait_without_costing_time)
	{
		struct rusage before, after;

		start(2, 0);
		int first = client_open(), second = client_open(), third = client_connect();

		(void)getrusage(RUSAGE_SELF, &before);
		(void)usleep(400000);
		(void)getrusage(RUSAGE_SELF, &after);
		ck_assert_int_lt((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
					 after.ru_utime.tv_usec - before.ru_utime.tv_usec,
			100000);
		client_ping(first, 2);
		client_ping(second, 2);
		stop();
		ck_assert_uint_eq(server_connections(server), 2);
		close(first);
		close(second);
		close(third);
	}
END_TEST

START_TEST(stopping_closes_connections)
	{
		uint8_t data[16];

		start(16, 0);
		int fd = client_open();

		stop();
		server_free(server);
		server = NULL;
		ck_assert_int_eq(recv(fd, data, sizeof(data), 0), 0);
		close(fd);
	}
END_TEST

START_TEST(an_idle_connection_takes_at_most_640_bytes)
	{
#ifdef __SANITIZE_ADDRESS__
		/* Red zones are counted too: the figure means nothing here. */
		return;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
		return;
#endif
#endif
		static int fds[1000];
		const struct rlimit limit = {4096, 4096};
		size_t used;

		(void)setrlimit(RLIMIT_NOFILE, &limit);
		start(2000, 0);
		for (size_t i = 0; i < 100; i++)
			fds[i] = client_open();
		used = mallinfo2().uordblks;
		for (size_t i = 100; i < ARRAY_SIZE(fds); i++)
			fds[i] = client_open();
		/* A reply has left once it was read; give the loop time to settle. */
		client_ping(fds[0], 2);
		used = mallinfo2().uordblks - used;
		(void)fprintf(stderr, "an idle connection takes %zu bytes\n", used / 900);
		ck_assert_uint_le(used / 900, 640);
		stop();
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			close(fds[i]);
	}
END_TEST

int main(int argc, char *argv[])
{
	const TTest *const tests[] = {
		serves_hello_and_ping,
		bursts_of_datagrams_are_all_answered,
		ends_of_connections_are_noticed,
		a_connection_that_said_nothing_leaves_nothing,
		beyond_a_users_limit_is_told_and_closed,
		at_the_limit_others_wait_without_costing_time,
		stopping_closes_connections,
		an_idle_connection_takes_at_most_640_bytes,
	};

	return server_rig_main(argc, argv, "server", tests, ARRAY_SIZE(tests));
}
