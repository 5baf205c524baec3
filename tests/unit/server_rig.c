/* SPDX-License-Identifier: MIT */
#include "server_rig.h"

#include "hw/worker.h"
#include "log.h"
#include "state_file.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sockaddr_un address;
static int listen_fd;
static struct clock server_clock;
static struct state_file *memory;
static struct executor *executor;
static struct export_memory *exports;
struct limits *limits;
static struct broker *broker;
struct server *server;
static pthread_t thread;
static const struct policy policy = {.admins = {.everyone = true},
	.observers = {.everyone = true},
	.vmms = {.everyone = true},
	.global = {.everyone = true},
	.rids = {.everyone = true}};
static struct dispatch_config dispatch_config = {
	.version = "test", .backend = "none", .policy = &policy};

static void make_broker(void)
{
	const struct broker_config config = {.reserved_last = 1023,
		.set_quota_default = 64,
		.set_quota_max = 1024,
		.owners_max = 8};
	struct broker_ports ports = {
		.now_ms = clock_now_ms, .now_ctx = &server_clock, .policy = &policy};
	const struct executor_options options = {0};

	ck_assert_int_eq(state_file_memory(&memory), 0);
	ck_assert_int_eq(executor_new(&options, &executor), 0);
	ck_assert_int_eq(export_memory_new(NULL, NULL, &exports), 0);
	clock_read(&server_clock);
	ports.hw = executor_hw(executor);
	ports.state = state_file_state(memory);
	ports.pages = state_file_pages(memory);
	ports.export = export_memory_port(exports);
	ports.limits = limits;
	ck_assert_int_eq(broker_new(&config, &ports, &broker), 0);
}

static void *serve(void *arg)
{
	(void)arg;
	ck_assert_int_eq(server_run(server), 0);
	return NULL;
}

struct server_options server_rig_options(struct limits_config *ret_limits)
{
	limits_defaults(ret_limits);
	return (struct server_options){.listen_fd = listen_fd,
		.admin_fd = -1,
		.clock = &server_clock,
		.dispatch = &dispatch_config,
		.hello_ms = 60000,
		.stalled_ms = 60000};
}

void start_with(struct server_options options, const struct limits_config *config)
{
	ck_assert_int_eq(limits_new(config, &limits), 0);
	make_broker();
	options.broker = broker;
	options.executor = executor;
	options.exports = exports;
	options.limits = dispatch_config.limits = limits;
	dispatch_config.state = state_file_state(memory);
	ck_assert_int_eq(server_new(&options, &server), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
}

void start(uint32_t connections, uint32_t per_user)
{
	struct limits_config config;
	const struct server_options options = server_rig_options(&config);

	config.of[RESOURCE_CONNECTIONS] = (struct limit_levels){0, per_user, connections};
	start_with(options, &config);
}

/* As the daemon is stopped. */
void stop(void)
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
	export_memory_free(exports, true);
	limits_free(limits);
	limits = NULL;
	state_file_free(memory);
	close(listen_fd);
}

/* ---------------------------------------------------------------- client */

int client_socket(void)
{
	const struct timeval patience = {.tv_sec = 5};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	return fd;
}

int client_connect(void)
{
	int fd = client_socket();

	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

size_t encode_hello(uint8_t *data, size_t room, uint64_t id)
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

size_t encode_ping(uint8_t *data, size_t room, uint64_t id)
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
size_t client_replies(int fd)
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

void client_hello(int fd)
{
	uint8_t data[256];
	size_t size = encode_hello(data, sizeof(data), 1);

	ck_assert_int_eq(send(fd, data, size, 0), (ssize_t)size);
	ck_assert_uint_eq(client_replies(fd), 1);
}

int client_open(void)
{
	int fd = client_connect();

	client_hello(fd);
	return fd;
}

void client_ping(int fd, uint64_t id)
{
	uint8_t data[256];
	size_t size = encode_ping(data, sizeof(data), id);

	ck_assert_int_eq(send(fd, data, size, 0), (ssize_t)size);
	ck_assert_uint_eq(client_replies(fd), 1);
}

/* ---------------------------------------------------------------- main */

int server_rig_main(
	int argc, char *argv[], const char *name, const TTest *const *tests, size_t count)
{
	TCase *all;
	SRunner *runner;
	Suite *suite;
	int failed;

	if (worker_asked(argc, argv, &failed))
		return failed;
	suite = suite_create(name);
	all = tcase_create(name);
	tcase_add_checked_fixture(all, setup, teardown);
	tcase_set_timeout(all, 30);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(all, tests[i]);
	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
