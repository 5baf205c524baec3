/* SPDX-License-Identifier: MIT */
/* libpasid against a small fake daemon: lost connections, handed descriptors, forks and signals. */
#include "libpasid.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client_fixture.h"

/* ------------------------------------------------------------ lost connections */

static void on_connection(struct pasid_client *c, enum pasid_connection connection, void *userdata)
{
	struct seen *seen = userdata;
	ck_assert_ptr_eq(c, client);
	seen->connections++;
	seen->kinds |= 1u << connection;
}

START_TEST(a_lost_connection_is_taken_up_and_the_call_goes_on)
	{
		struct seen seen = {0};
		pasid_on_connection(client, on_connection, &seen);
		int fd = pasid_fd(client);
		fake.drop = 1;
		ck_assert_uint_eq(allocate_one(), 1024);
		/* Sent twice under one id, on two connections, with the token in between. */
		ck_assert_uint_eq(fake_count(&fake, 0), 2);
		ck_assert_uint_eq(fake_record(&fake, 0, 0).id, fake_record(&fake, 0, 1).id);
		ck_assert_uint_ne(
			fake_record(&fake, 0, 0).connection, fake_record(&fake, 0, 1).connection);
		ck_assert_int_eq(pasid_fd(client), fd);
		ck_assert_int_eq(pasid_dispatch(client, 0), 2);
		ck_assert_uint_eq(
			seen.kinds, 1u << PASID_CONNECTION_LOST | 1u << PASID_CONNECTION_RESUMED);
		ck_assert(!readable());
	}
END_TEST

START_TEST(async_calls_survive_a_lost_connection_too)
	{
		struct seen seen = {0};
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		fake.drop = 1;
		pasid_device_add_async(client,
			&(struct pasid_device_add_args){.iommufd = fd, .device = fd}, on_result,
			&seen);
		for (int i = 0; i < 5; i++)
			pasid_ping_async(client, on_result, &seen);
		dispatch_until(&seen, 6);
		for (int i = 0; i < 6; i++)
			ck_assert_int_eq(seen.codes[i], 0);
		/* The descriptors were sent again with their request. */
		uint32_t operation = PASID__V1__REQUEST__OPERATION_DEVICE_ADD;
		ck_assert_uint_eq(fake_record(&fake, operation, 1).descriptors, 2);
		close(fd);
	}
END_TEST

START_TEST(watch_survives_a_lost_connection)
	{
		struct seen seen = {0};
		ck_assert_int_eq(pasid_watch(client, on_event, &seen), 0);
		fake.drop = 1;
		allocate_one();
		allocate_one();
		ck_assert_uint_eq(fake_count(&fake, PASID__V1__REQUEST__OPERATION_WATCH), 2);
	}
END_TEST

START_TEST(a_forgotten_session_ends_the_client)
	{
		struct seen seen = {0};
		uint32_t number = 4711;
		pasid_on_connection(client, on_connection, &seen);
		fake.drop = 1;
		fake.forget = true;
		ck_assert_int_eq(pasid_allocate(client, &(struct pasid_allocate_args){0}, &number),
			-ECONNRESET);
		ck_assert_uint_eq(number, 4711);
		ck_assert_str_eq(pasid_last_error(client)->reason, "resume-token-unknown");
		ck_assert_int_eq(pasid_ping(client), -ENOTCONN);
		ck_assert_int_eq(pasid_ping_async(client, on_result, &seen), -ENOTCONN);
		ck_assert_int_eq(pasid_dispatch(client, 0), 2);
		ck_assert(seen.kinds & 1u << PASID_CONNECTION_GONE);
		ck_assert_int_eq(pasid_dispatch(client, -1), -ENOTCONN);
		ck_assert(!readable());
	}
END_TEST

START_TEST(a_daemon_that_drops_every_connection_is_given_up)
	{
		uint32_t number;
		fake.grace_ms = 200;
		pasid_close(client);
		open_client(20000);
		fake.drop = 1000000;
		ck_assert_int_eq(pasid_allocate(client, &(struct pasid_allocate_args){0}, &number),
			-ECONNRESET);
		ck_assert_str_eq(pasid_last_error(client)->reason, "connection-lost");
	}
END_TEST

START_TEST(a_daemon_whose_limit_shrinks_overruns_nothing)
	{
		struct pasid_number numbers[4000];
		struct pasid_free_args args = {
			.pasids = numbers, .count = sizeof(numbers) / sizeof(*numbers)};
		struct seen seen = {0};
		for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
			numbers[i] = (struct pasid_number){.value = (uint32_t)(1000000 + i)};
		for (int i = 0; i < 8; i++)
			ck_assert_int_eq(pasid_free_async(client, &args, on_result, &seen), 0);
		fake.drop = 1;
		fake.datagram_limit = 8; /* less than a datagram takes without any request */
		dispatch_until(&seen, 8);
		for (int i = 0; i < 8; i++)
			ck_assert_int_lt(seen.codes[i], 0);
	}
END_TEST

START_TEST(a_datagram_refused_as_a_whole_ends_its_calls)
	{
		uint32_t number;
		fake.refuse = true;
		ck_assert_int_eq(pasid_allocate(client, &(struct pasid_allocate_args){0}, &number),
			PASID_INVALID);
		ck_assert_str_eq(pasid_last_error(client)->reason, "malformed");
		allocate_one();
	}
END_TEST

START_TEST(a_handed_connection_works_and_is_not_made_again)
	{
		struct fake other;
		struct pasid_client *handed;
		struct pasid_error error;
		fake_start(&other, true);
		struct pasid_options options = {.has_fd = true, .fd = other.peer};
		ck_assert_int_eq(pasid_open(&options, &handed, &error), 0);
		ck_assert_int_eq(fcntl(other.peer, F_GETFD), -1); /* the client's own now */
		ck_assert_int_eq(pasid_ping(handed), 0);
		other.drop = 1;
		ck_assert_int_eq(pasid_ping(handed), -ECONNRESET);
		ck_assert_int_eq(pasid_ping(handed), -ENOTCONN);
		pasid_close(handed);
		fake_stop(&other);
	}
END_TEST

START_TEST(a_handed_descriptor_stays_the_callers_on_failure)
	{
		struct pasid_client *handed = NULL;
		int ends[2], before = count_fds();
		ck_assert_int_eq(pipe(ends), 0);
		struct pasid_options options = {.has_fd = true, .fd = ends[1]};
		ck_assert_int_lt(pasid_open(&options, &handed, NULL), 0);
		ck_assert_ptr_null(handed);
		ck_assert_int_eq(close(ends[1]), 0);
		ck_assert_int_eq(close(ends[0]), 0);
		ck_assert_int_eq(count_fds(), before);
	}
END_TEST

/* ------------------------------------------------------------ last words */

/* What a daemon sends, on its end of a pair. */
static void say(int fd, const Pasid__V1__ToClient *message)
{
	uint8_t data[512];
	size_t size = pasid__v1__to_client__get_packed_size(message);

	ck_assert_uint_le(size, sizeof(data));
	pasid__v1__to_client__pack(message, data);
	ck_assert_int_eq(send(fd, data, size, MSG_NOSIGNAL), (int)size);
}

static void answer(int fd, Pasid__V1__Reply *reply)
{
	Pasid__V1__ToClient message = PASID__V1__TO_CLIENT__INIT;

	message.n_replies = 1;
	message.replies = &reply;
	say(fd, &message);
}

START_TEST(who_is_turned_away_and_closed_before_hello_knows_why)
	{
		Pasid__V1__Status why = PASID__V1__STATUS__INIT;
		Pasid__V1__ToClient message = PASID__V1__TO_CLIENT__INIT;
		struct pasid_client *other = NULL;
		struct pasid_error error = {0};
		int ends[2];

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
		why.code = PASID__V1__CODE__QUOTA;
		why.reason = (char *)"limit";
		message.refused = &why;
		say(ends[1], &message);
		close(ends[1]);
		struct pasid_options options = {.has_fd = true, .fd = ends[0]};
		ck_assert_int_eq(pasid_open(&options, &other, &error), PASID_QUOTA);
		ck_assert_str_eq(error.reason, "limit");
		close(ends[0]);
	}
END_TEST

START_TEST(a_daemon_cannot_say_what_is_the_librarys_to_say)
	{
		const int codes[] = {INT_MIN, -ENOTCONN, -ECONNRESET, -1};
		for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
			Pasid__V1__Status why = PASID__V1__STATUS__INIT;
			Pasid__V1__ToClient message = PASID__V1__TO_CLIENT__INIT;
			struct pasid_client *other = NULL;
			struct pasid_error error = {0};
			int ends[2];
			ck_assert_int_eq(
				socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
			why.code = (Pasid__V1__Code)codes[i];
			message.refused = &why;
			say(ends[1], &message);
			struct pasid_options options = {.has_fd = true, .fd = ends[0]};
			ck_assert_int_eq(pasid_open(&options, &other, &error), -EPROTO);
			ck_assert_int_eq(error.code, -EPROTO);
			close(ends[0]);
			close(ends[1]);
		}
	}
END_TEST

START_TEST(what_was_said_before_a_reset_is_heard)
	{
		Pasid__V1__HelloResult hello = PASID__V1__HELLO_RESULT__INIT;
		Pasid__V1__PingResult ping = PASID__V1__PING_RESULT__INIT;
		Pasid__V1__Reply reply = PASID__V1__REPLY__INIT;
		struct seen seen = {0};
		int ends[2];

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
		pasid_close(client);
		hello.version = 1;
		reply.id = 1;
		reply.result_case = PASID__V1__REPLY__RESULT_HELLO;
		reply.hello = &hello;
		answer(ends[1], &reply);
		struct pasid_options options = {.has_fd = true, .fd = ends[0]};
		ck_assert_int_eq(pasid_open(&options, &client, NULL), 0);
		ck_assert_int_eq(pasid_ping_async(client, on_result, &seen), 0);
		ck_assert_int_eq(pasid_flush(client), 0);
		reply.id = 2;
		reply.result_case = PASID__V1__REPLY__RESULT_PING;
		reply.ping = &ping;
		answer(ends[1], &reply);
		close(ends[1]); /* with hello and the request unread */
		dispatch_until(&seen, 1);
		ck_assert_int_eq(seen.codes[0], 0);
		ck_assert_int_eq(pasid_ping(client), -ENOTCONN);
	}
END_TEST

/* ------------------------------------------------------------ a daemon that is started anew */

static void *return_later(void *arg)
{
	(void)arg;
	usleep(400000);
	fake_return(&fake);
	return NULL;
}

START_TEST(a_daemon_that_is_away_for_a_while_is_waited_for)
	{
		pthread_t thread;
		allocate_one();
		fake_leave(&fake);
		ck_assert_int_eq(pthread_create(&thread, NULL, return_later, NULL), 0);
		ck_assert_uint_eq(allocate_one(), 1024);
		pthread_join(thread, NULL);
		ck_assert_uint_eq(fake_count(&fake, PASID__V1__REQUEST__OPERATION_ALLOCATE), 2);
	}
END_TEST

static void wait_for_requests(uint32_t count)
{
	for (int i = 0; i < 2000 && fake_count(&fake, 0) < count; i++)
		usleep(1000);
	ck_assert_uint_eq(fake_count(&fake, 0), count);
}

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

START_TEST(an_event_loop_goes_on_while_the_daemon_is_away)
	{
		struct seen seen = {0};
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		uint64_t began, turns = 0;
		fake.silent = true;
		pasid_device_add_async(client,
			&(struct pasid_device_add_args){.iommufd = fd, .device = fd}, on_result,
			&seen);
		for (int i = 0; i < 5; i++)
			pasid_ping_async(client, on_result, &seen);
		ck_assert_int_eq(pasid_flush(client), 0);
		wait_for_requests(6);
		close(fd);
		fake_leave(&fake);
		fake.silent = false;
		for (began = now_ms(); now_ms() - began < 300; turns++) {
			ck_assert_int_eq(pasid_dispatch(client, 0), 0);
			usleep(1000);
		}
		ck_assert_uint_gt(turns, 10);
		ck_assert_int_eq(seen.calls, 0);
		fake_return(&fake);
		dispatch_until(&seen, 6);
		ck_assert_uint_eq(fake_count(&fake, 0), 12); /* each once more */
		for (uint32_t i = 0; i < 6; i++) {
			ck_assert_int_eq(seen.codes[i], 0);
			ck_assert_uint_eq(fake_record(&fake, 0, i).id,
				fake_record(&fake, 0, i + 6).id); /* in their order */
		}
		ck_assert_uint_eq(fake_record(&fake, 0, 6).descriptors, 2);
	}
END_TEST

START_TEST(what_a_daemon_refuses_because_it_stops_is_asked_for_again)
	{
		struct seen seen = {0};
		fake.stopping = true;
		pasid_ping_async(client, on_result, &seen);
		ck_assert_int_eq(pasid_flush(client), 0);
		wait_for_requests(1);
		for (int i = 0; i < 20; i++)
			ck_assert_int_eq(pasid_dispatch(client, 5), 0);
		ck_assert_uint_eq(fake_count(&fake, 0), 1); /* not before it is back */
		fake_leave(&fake);
		fake.stopping = false;
		fake_return(&fake);
		dispatch_until(&seen, 1);
		ck_assert_int_eq(seen.codes[0], 0);
		ck_assert_uint_eq(fake_record(&fake, 0, 1).id, fake_record(&fake, 0, 0).id);
	}
END_TEST

START_TEST(a_daemon_that_stays_away_is_given_up_in_time)
	{
		struct seen seen = {0};
		struct pasid_options options = {
			.path = fake.path, .timeout_ms = 5000, .resume_ms = 300};
		uint64_t began;
		pasid_close(client);
		ck_assert_int_eq(pasid_open(&options, &client, NULL), 0);
		fake_leave(&fake);
		began = now_ms();
		pasid_ping_async(client, on_result, &seen);
		dispatch_until(&seen, 1);
		ck_assert_int_lt(seen.codes[0], 0);
		ck_assert_uint_ge(now_ms() - began, 290);
		ck_assert_int_eq(pasid_ping(client), -ENOTCONN);
		fake_return(&fake);
	}
END_TEST

/* ------------------------------------------------------------ processes and signals */

START_TEST(a_child_cannot_use_the_client_and_does_not_disturb_it)
	{
		pid_t child = fork();
		if (child == 0) {
			bool refused =
				pasid_ping(client) == -ECHILD &&
				pasid_ping_async(client, NULL, NULL) == -ECHILD &&
				pasid_dispatch(client, 0) == -ECHILD &&
				pasid_flush(client) == -ECHILD &&
				pasid_watch(client, on_event, NULL) == -ECHILD &&
				strcmp(pasid_last_error(client)->reason, "other-process") == 0;
			pasid_close(client);
			_exit(refused ? 0 : 1);
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
		allocate_one();
	}
END_TEST

/* A copy of the client's socket, as a child has one. */
static int copy_socket(void)
{
	for (int fd = 3; fd < 1024; fd++) {
		struct sockaddr_un peer = {0};
		socklen_t size = sizeof(peer) - 1;
		if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
			strcmp(peer.sun_path, fake.path) == 0)
			return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	}
	return -1;
}

START_TEST(a_copy_in_a_child_keeps_no_lost_connection_readable)
	{
		struct seen seen = {0};
		int copies[2] = {copy_socket(), -1};
		pasid_on_connection(client, on_connection, &seen);
		ck_assert_int_ge(copies[0], 0);
		fake.drop = 1;
		allocate_one();
		ck_assert_int_eq(pasid_dispatch(client, 0), 2);
		ck_assert(!readable());
		copies[1] = copy_socket();
		ck_assert_int_ge(copies[1], 0);
		fake.drop = 1;
		fake.forget = true;
		ck_assert_int_eq(
			pasid_allocate(client, &(struct pasid_allocate_args){0}, &(uint32_t){0}),
			-ECONNRESET);
		ck_assert_int_eq(pasid_dispatch(client, 0), 2);
		ck_assert(seen.kinds & 1u << PASID_CONNECTION_GONE);
		ck_assert(!readable());
		close(copies[0]);
		close(copies[1]);
	}
END_TEST

START_TEST(a_lost_connection_raises_no_signal)
	{
		uint32_t number;
		signal(SIGPIPE, SIG_DFL);
		fake.forget = true;
		fake.drop = 1;
		(void)pasid_allocate(client, &(struct pasid_allocate_args){0}, &number);
		ck_assert_int_eq(pasid_ping(client), -ENOTCONN);
	}
END_TEST

START_TEST(all_descriptors_are_close_on_exec_and_closed_at_the_end)
	{
		pasid_close(client);
		client = NULL;
		usleep(20000); /* the fake closes its end */
		int before = count_fds();
		bool known[64];
		for (int fd = 0; fd < 64; fd++)
			known[fd] = fcntl(fd, F_GETFD) >= 0;
		open_client(5000);
		allocate_one();
		for (int fd = 3; fd < 64; fd++) {
			int flags = fcntl(fd, F_GETFD);
			if (flags >= 0 && !known[fd])
				ck_assert_msg(flags & FD_CLOEXEC, "descriptor %d", fd);
		}
		pasid_close(client);
		client = NULL;
		usleep(20000);
		ck_assert_int_eq(count_fds(), before);
	}
END_TEST

START_TEST(a_refused_hello_says_why)
	{
		struct pasid_client *other = NULL;
		struct pasid_error error;
		struct pasid_options options = {.path = fake.path, .role = PASID_ROLE_ADMIN};
		pasid_close(client);
		client = NULL;
		fake.deny = true;
		int before = count_fds();
		ck_assert_int_eq(pasid_open(&options, &other, &error), PASID_DENIED);
		ck_assert_str_eq(error.reason, "role-not-allowed");
		ck_assert_ptr_null(other);
		/* The server's end is closed by its own thread. */
		for (int i = 0; i < 200 && count_fds() > before; i++)
			usleep(10000);
		ck_assert_int_le(count_fds(), before);
	}
END_TEST

START_TEST(a_hello_without_an_answer_ends_in_time)
	{
		struct pasid_client *other = NULL;
		struct pasid_error error;
		struct pasid_options options = {.path = fake.path, .timeout_ms = 50};
		pasid_close(client);
		client = NULL;
		fake.mute = true;
		ck_assert_int_eq(pasid_open(&options, &other, &error), -ETIMEDOUT);
		ck_assert_str_eq(error.reason, "no-answer");
	}
END_TEST

START_TEST(a_resumption_without_an_answer_ends_in_time)
	{
		struct seen seen = {0};
		pasid_close(client);
		fake.grace_ms = 200;
		open_client(5000);
		fake.mute = true;
		fake.drop = 1;
		pasid_ping_async(client, on_result, &seen);
		dispatch_until(&seen, 1);
		ck_assert_int_eq(seen.codes[0], -ECONNRESET);
		ck_assert_int_eq(pasid_dispatch(client, 0), -ENOTCONN);
	}
END_TEST

START_TEST(a_name_too_long_is_not_sent)
	{
		struct pasid_client *other = NULL;
		char name[PASID_NAME_MAX + 2];
		memset(name, 'n', sizeof(name));
		name[sizeof(name) - 1] = '\0';
		struct pasid_options options = {.path = fake.path, .name = name};
		ck_assert_int_eq(pasid_open(&options, &other, NULL), -EINVAL);
	}
END_TEST

static void fill(TCase *tcase)
{
	tcase_add_test(tcase, a_refused_hello_says_why);
	tcase_add_test(tcase, a_hello_without_an_answer_ends_in_time);
	tcase_add_test(tcase, a_resumption_without_an_answer_ends_in_time);
	tcase_add_test(tcase, a_name_too_long_is_not_sent);
	tcase_add_test(tcase, a_lost_connection_is_taken_up_and_the_call_goes_on);
	tcase_add_test(tcase, async_calls_survive_a_lost_connection_too);
	tcase_add_test(tcase, watch_survives_a_lost_connection);
	tcase_add_test(tcase, a_daemon_that_is_away_for_a_while_is_waited_for);
	tcase_add_test(tcase, an_event_loop_goes_on_while_the_daemon_is_away);
	tcase_add_test(tcase, what_a_daemon_refuses_because_it_stops_is_asked_for_again);
	tcase_add_test(tcase, a_daemon_that_stays_away_is_given_up_in_time);
	tcase_add_test(tcase, a_forgotten_session_ends_the_client);
	tcase_add_test(tcase, a_daemon_that_drops_every_connection_is_given_up);
	tcase_add_test(tcase, a_daemon_whose_limit_shrinks_overruns_nothing);
	tcase_add_test(tcase, a_datagram_refused_as_a_whole_ends_its_calls);
	tcase_add_test(tcase, a_handed_connection_works_and_is_not_made_again);
	tcase_add_test(tcase, a_handed_descriptor_stays_the_callers_on_failure);
	tcase_add_test(tcase, who_is_turned_away_and_closed_before_hello_knows_why);
	tcase_add_test(tcase, a_daemon_cannot_say_what_is_the_librarys_to_say);
	tcase_add_test(tcase, what_was_said_before_a_reset_is_heard);
	tcase_add_test(tcase, a_child_cannot_use_the_client_and_does_not_disturb_it);
	tcase_add_test(tcase, a_copy_in_a_child_keeps_no_lost_connection_readable);
	tcase_add_test(tcase, a_lost_connection_raises_no_signal);
	tcase_add_test(tcase, all_descriptors_are_close_on_exec_and_closed_at_the_end);
}

int main(void)
{
	return run_suite("libpasid-connection", fill);
}
