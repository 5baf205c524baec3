/* SPDX-License-Identifier: MIT */
/*
 * The server around a real broker and dispatcher: its loop runs in a thread, the test is the
 * client. What takes hardware or another process is in tests/integration.
 */
#include "hw/worker.h"
#include "log.h"
#include "server.h"
#include "state_memory.h"
#include "wire.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un address;
static int listen_fd;
static struct clock server_clock;
static struct state_memory *memory;
static struct executor *executor;
static struct limits *limits;
static struct broker *broker;
static struct server *server;
static pthread_t thread;
static const struct policy policy = {
	.admins = {.everyone = true}, .observers = {.everyone = true}, .vmms = {.everyone = true}};
static struct dispatch_config dispatch_config = {
	.version = "test", .backend = "none", .policy = &policy};

static void make_broker(void)
{
	const struct broker_config config = {
		.reserved_last = 1023, .set_quota_default = 64, .set_quota_max = 1024};
	struct broker_ports ports = {
		.now_ms = clock_now_ms, .now_ctx = &server_clock, .policy = &policy};
	const struct executor_options options = {0};

	ck_assert_int_eq(state_memory_new(&memory), 0);
	ck_assert_int_eq(executor_new(&options, &executor), 0);
	clock_read(&server_clock);
	ports.hw = executor_hw(executor);
	ports.state = state_memory_state(memory);
	ports.pages = state_memory_pages(memory);
	ports.limits = limits;
	ck_assert_int_eq(broker_new(&config, &ports, &broker), 0);
}

static void *serve(void *arg)
{
	(void)arg;
	ck_assert_int_eq(server_run(server), 0);
	return NULL;
}

static void start(uint32_t connections, uint32_t per_user)
{
	struct limits_config config;
	struct server_options options = {.listen_fd = listen_fd,
		.clock = &server_clock,
		.dispatch = &dispatch_config,
		.hello_ms = 60000,
		.stalled_ms = 60000};

	limits_defaults(&config);
	config.of[RESOURCE_CONNECTIONS] = (struct limit_levels){0, per_user, connections};
	ck_assert_int_eq(limits_new(&config, &limits), 0);
	make_broker();
	options.broker = broker;
	options.executor = executor;
	options.limits = dispatch_config.limits = limits;
	ck_assert_int_eq(server_new(&options, &server), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
}

/* As the daemon is stopped. */
static void stop(void)
{
	ck_assert_int_eq(kill(getpid(), SIGTERM), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static void setup(void)
{
	/* One arena, so that mallinfo2() sees what the loop allocates. */
	(void)mallopt(M_ARENA_MAX, 1);
	log_open(LOG_LEVEL_ERROR);
	/* A name that no file has: it goes with the socket. */
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	(void)snprintf(
		address.sun_path + 1, sizeof(address.sun_path) - 1, "pasidd-test-%d", getpid());
	listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_ge(listen_fd, 0);
	ck_assert_int_eq(bind(listen_fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listen_fd, SOMAXCONN), 0);
}

static void teardown(void)
{
	server_free(server);
	server = NULL;
	broker_free(broker);
	executor_free(executor);
	limits_free(limits);
	limits = NULL;
	state_memory_free(memory);
	close(listen_fd);
}

/* ---------------------------------------------------------------- client */

static int client_connect(void)
{
	const struct timeval patience = {.tv_sec = 5};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	return fd;
}

static size_t encode_hello(uint8_t *data, size_t room, uint64_t id)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;
	const struct wire_request request = {.id = id, .operation = 16};
	struct wire_out out = wire_out_init(data, room);

	hello.version_min = hello.version_max = 1;
	hello.role = PASID__V1__ROLE__ROLE_VMM;
	wire_out_request(&out, &request, &hello.base);
	ck_assert(!out.full);
	return out.size;
}

static size_t encode_ping(uint8_t *data, size_t room, uint64_t id)
{
	Pasid__V1__Ping ping = PASID__V1__PING__INIT;
	const struct wire_request request = {.id = id, .operation = 17};
	struct wire_out out = wire_out_init(data, room);

	wire_out_request(&out, &request, &ping.base);
	ck_assert(!out.full);
	return out.size;
}

/* One datagram; returns how many replies it has, counting only those that say OK. 0: end of file.
 */
static size_t client_replies(int fd)
{
	static uint8_t data[WIRE_DATAGRAM_MAX];
	Pasid__V1__ToClient *message;
	size_t good = 0;
	ssize_t n = recv(fd, data, sizeof(data), 0);

	ck_assert_int_ge(n, 0);
	if (n == 0)
		return 0;
	message = pasid__v1__to_client__unpack(NULL, (size_t)n, data);
	ck_assert_ptr_nonnull(message);
	for (size_t i = 0; i < message->n_replies; i++)
		good += message->replies[i]->status == NULL;
	pasid__v1__to_client__free_unpacked(message, NULL);
	return good;
}

static int client_open(void)
{
	uint8_t data[256];
	int fd = client_connect();
	size_t size = encode_hello(data, sizeof(data), 1);

	ck_assert_int_eq(send(fd, data, size, 0), (ssize_t)size);
	ck_assert_uint_eq(client_replies(fd), 1);
	return fd;
}

static void client_ping(int fd, uint64_t id)
{
	uint8_t data[256];
	size_t size = encode_ping(data, sizeof(data), id);

	ck_assert_int_eq(send(fd, data, size, 0), (ssize_t)size);
	ck_assert_uint_eq(client_replies(fd), 1);
}

/* ---------------------------------------------------------------- tests */

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
	TCase *tc;
	SRunner *runner;
	Suite *suite;
	int failed;

	if (worker_asked(argc, argv, &failed))
		return failed;
	suite = suite_create("server");
	tc = tcase_create("server");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, serves_hello_and_ping);
	tcase_add_test(tc, bursts_of_datagrams_are_all_answered);
	tcase_add_test(tc, ends_of_connections_are_noticed);
	tcase_add_test(tc, a_connection_that_said_nothing_leaves_nothing);
	tcase_add_test(tc, beyond_a_users_limit_is_told_and_closed);
	tcase_add_test(tc, at_the_limit_others_wait_without_costing_time);
	tcase_add_test(tc, stopping_closes_connections);
	tcase_add_test(tc, an_idle_connection_takes_at_most_640_bytes);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
