/* SPDX-License-Identifier: MIT */
/* libpasid against a small fake daemon: batches, event loops, events and time. */
#include "libpasid.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client_fixture.h"

/* ------------------------------------------------------------ batches */

START_TEST(queued_calls_share_a_datagram)
	{
		struct seen seen = {0};
		for (int i = 0; i < 64; i++)
			ck_assert_int_eq(
				pasid_allocate_async(
					client, &(struct pasid_allocate_args){0}, on_result, &seen),
				0);
		ck_assert_uint_eq(pasid_outstanding(client), 64);
		dispatch_until(&seen, 64);
		ck_assert_uint_eq(pasid_outstanding(client), 0);
		ck_assert_uint_eq(fake_record(&fake, 0, 0).requests, 64);
		ck_assert(!fake_record(&fake, 0, 0).has_deadline);
		for (int i = 1; i < 64; i++)
			ck_assert_uint_eq(seen.ids[i], seen.ids[i - 1] + 1);
	}
END_TEST

START_TEST(request_limit_of_the_daemon_is_kept)
	{
		struct seen seen = {0};
		pasid_close(client);
		fake.request_limit = 10;
		open_client(5000);
		for (int i = 0; i < 25; i++)
			pasid_ping_async(client, on_result, &seen);
		dispatch_until(&seen, 25);
		ck_assert_uint_eq(fake_record(&fake, 0, 0).requests, 10);
		ck_assert_uint_eq(fake_record(&fake, 0, 24).requests, 5);
	}
END_TEST

START_TEST(datagram_limit_of_the_daemon_is_kept)
	{
		struct seen seen = {0};
		struct pasid_number numbers[200];
		pasid_close(client);
		fake.datagram_limit = 2048;
		open_client(5000);
		for (uint32_t i = 0; i < 200; i++)
			numbers[i] = (struct pasid_number){.value = 5000 + i};
		struct pasid_free_args args = {.pasids = numbers, .count = 200};
		for (int i = 0; i < 8; i++)
			ck_assert_int_eq(pasid_free_async(client, &args, on_result, &seen), 0);
		dispatch_until(&seen, 8);
		for (uint32_t i = 0; i < 8; i++)
			ck_assert_uint_le(fake_record(&fake, 0, i).size, 2048);
		struct pasid_number many[800] = {{0}};
		for (uint32_t i = 0; i < 800; i++)
			many[i].value = 5000;
		args = (struct pasid_free_args){.pasids = many, .count = 800};
		ck_assert_int_eq(pasid_free(client, &args, NULL, NULL), -E2BIG);
	}
END_TEST

START_TEST(only_one_request_of_a_datagram_has_descriptors)
	{
		struct seen seen = {0};
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		struct pasid_device_add_args args = {.iommufd = fd, .device = fd};
		for (int i = 0; i < 3; i++) {
			pasid_ping_async(client, on_result, &seen);
			pasid_device_add_async(client, &args, on_result, &seen);
		}
		dispatch_until(&seen, 6);
		uint32_t operation = PASID__V1__REQUEST__OPERATION_DEVICE_ADD;
		for (uint32_t i = 0; i < 3; i++)
			ck_assert_uint_eq(fake_record(&fake, operation, i).descriptors, 2);
		ck_assert_uint_ne(fake_record(&fake, operation, 0).datagram,
			fake_record(&fake, operation, 1).datagram);
		ck_assert_uint_ne(fake_record(&fake, operation, 1).datagram,
			fake_record(&fake, operation, 2).datagram);
		close(fd);
	}
END_TEST

START_TEST(the_window_is_never_exceeded)
	{
		struct seen seen = {0};
		pasid_close(client);
		fake.window = 8;
		fake.hold = true;
		open_client(5000);
		for (int i = 0; i < 20; i++)
			pasid_ping_async(client, on_result, &seen);
		pasid_dispatch(client, 0);
		pasid_dispatch(client, 50);
		ck_assert_uint_eq(fake_count(&fake, 0), 8);
		ck_assert(!readable()); /* no busy loop while the window is full */
		fake.hold = false;
		dispatch_until(&seen, 20);
		for (uint32_t i = 0; i < 20; i++) {
			struct fake_record record = fake_record(&fake, 0, i);
			ck_assert_uint_lt(record.id - record.seen_below, 8);
		}
	}
END_TEST

START_TEST(seen_below_follows_the_replies)
	{
		allocate_one();
		allocate_one();
		allocate_one();
		struct fake_record last = fake_record(&fake, 0, 2);
		ck_assert_uint_eq(last.seen_below, last.id);
	}
END_TEST

/* ------------------------------------------------------------ event loops */

START_TEST(descriptor_is_readable_exactly_when_there_is_work)
	{
		struct seen seen = {0};
		ck_assert(!readable());
		pasid_ping_async(client, on_result, &seen);
		ck_assert(readable());
		pasid_flush(client);
		for (int i = 0; i < 1000 && !readable(); i++)
			usleep(1000);
		ck_assert(readable());
		dispatch_until(&seen, 1);
		ck_assert(!readable());
	}
END_TEST

START_TEST(callbacks_run_in_dispatch_only)
	{
		struct seen seen = {0};
		pasid_ping_async(client, on_result, &seen);
		allocate_one(); /* its reply comes behind the ping's */
		ck_assert_int_eq(seen.calls, 0);
		ck_assert(readable());
		ck_assert_int_eq(pasid_dispatch(client, 0), 1);
		ck_assert_int_eq(seen.calls, 1);
	}
END_TEST

static void on_result_call(
	struct pasid_client *c, const struct pasid_result *result, void *userdata)
{
	struct seen *seen = userdata;
	ck_assert_int_eq(pasid_dispatch(c, 0), -EBUSY);
	ck_assert_int_eq(pasid_ping(c), 0);
	if (seen->calls == 0)
		ck_assert_int_eq(pasid_ping_async(c, on_result_call, seen), 0);
	on_result(c, result, userdata);
}

START_TEST(callbacks_may_call)
	{
		struct seen seen = {0};
		pasid_ping_async(client, on_result_call, &seen);
		dispatch_until(&seen, 2);
	}
END_TEST

static void on_result_close(
	struct pasid_client *c, const struct pasid_result *result, void *userdata)
{
	on_result(c, result, userdata);
	pasid_close(c);
	pasid_close(c);
	ck_assert_int_eq(pasid_ping(c), -ENOTCONN);
}

START_TEST(close_in_a_callback_is_deferred)
	{
		struct seen seen = {0};
		for (int i = 0; i < 3; i++)
			pasid_ping_async(client, on_result_close, &seen);
		for (int i = 0; i < 500 && seen.calls == 0; i++)
			pasid_dispatch(client, 20);
		ck_assert_int_eq(seen.calls, 1); /* and no other after it */
		client = NULL;
	}
END_TEST

START_TEST(async_refusal_reaches_the_callback)
	{
		struct seen seen = {0};
		fake.quota = true;
		pasid_allocate_async(client, &(struct pasid_allocate_args){0}, on_result, &seen);
		dispatch_until(&seen, 1);
		ck_assert_int_eq(seen.codes[0], PASID_QUOTA);
	}
END_TEST

START_TEST(a_callback_is_not_needed)
	{
		ck_assert_int_eq(pasid_ping_async(client, NULL, NULL), 0);
		allocate_one();
		ck_assert_uint_eq(pasid_outstanding(client), 0);
	}
END_TEST

/* ------------------------------------------------------------ events */

START_TEST(events_are_kept_for_dispatch)
	{
		struct seen seen = {0};
		ck_assert_int_eq(pasid_watch(client, on_event, &seen), 0);
		fake.events = 3;
		uint64_t next = pasid_watch_next(client);
		allocate_one();
		ck_assert_int_eq(seen.events, 0);
		/* what was not handed on is still to come for a watch that goes on */
		ck_assert_uint_eq(pasid_watch_next(client), next);
		ck_assert_int_eq(pasid_dispatch(client, 0), 3);
		ck_assert_int_eq(seen.events, 3);
		ck_assert_uint_gt(pasid_watch_next(client), next);
		ck_assert_int_eq(pasid_watch(client, NULL, NULL), 0);
		ck_assert_uint_eq(pasid_watch_next(client), 0);
		ck_assert(fake_last(&fake)->watch->stop);
		ck_assert_str_eq(pasid_event_text(PASID_EVENT_GRANT_ALLOCATED), "grant-allocated");
	}
END_TEST

START_TEST(dropped_events_are_counted)
	{
		struct seen seen = {0};
		ck_assert_int_eq(pasid_watch(client, on_event, &seen), 0);
		for (int i = 0; i < 9; i++) {
			fake.events = 500;
			allocate_one();
		}
		ck_assert_int_eq(pasid_dispatch(client, 0), 4096);
		fake.events = 1;
		allocate_one();
		ck_assert_int_eq(pasid_dispatch(client, 0), 1);
		ck_assert_uint_eq(seen.lost, 9 * 500 - 4096);
	}
END_TEST

/* ------------------------------------------------------------ time */

START_TEST(silence_ends_in_a_timeout_and_the_late_reply_is_dropped)
	{
		struct pasid_number none = {0};
		fake.hold = true;
		pasid_set_timeout(client, 1);
		ck_assert_int_eq(pasid_data_set(client, &(struct pasid_data_args){.pasid = none}),
			-ETIMEDOUT);
		ck_assert_str_eq(pasid_last_error(client)->reason, "no-answer");
		fake.hold = false;
		pasid_set_timeout(client, 5000);
		allocate_one();
		ck_assert_uint_eq(pasid_outstanding(client), 0);
	}
END_TEST

START_TEST(a_pending_call_can_be_asked_for_again)
	{
		uint32_t number;
		const struct pasid_result *result = NULL;
		fake.pending = 2;
		ck_assert_int_eq(pasid_allocate(client, &(struct pasid_allocate_args){0}, &number),
			PASID_PENDING);
		uint64_t id = pasid_last_error(client)->object;
		ck_assert_int_eq(pasid_again(client, id + 1, &result), -ENOENT);
		ck_assert_int_eq(pasid_again(client, id, &result), PASID_PENDING);
		ck_assert_ptr_null(result);
		allocate_one(); /* others go on meanwhile */
		ck_assert_int_eq(pasid_again(client, id, &result), 0);
		ck_assert_uint_eq(result->allocated.numbers[0], 1024);
		ck_assert_uint_eq(result->id, id);
		for (uint32_t i = 0; i < 2; i++)
			ck_assert_uint_eq(fake_record(&fake, 0, i).id, id);
		/* Its reply had not been seen, and the daemon was told so. */
		ck_assert_uint_eq(fake_record(&fake, 0, 2).seen_below, id);
		ck_assert_int_eq(pasid_again(client, id, &result), -ENOENT);
	}
END_TEST

START_TEST(forgotten_pending_calls_do_not_block_the_window)
	{
		uint32_t number;
		pasid_close(client);
		fake.window = 4;
		open_client(5000);
		fake.pending = 3;
		for (int i = 0; i < 3; i++)
			ck_assert_int_eq(
				pasid_allocate(client, &(struct pasid_allocate_args){0}, &number),
				PASID_PENDING);
		for (int i = 0; i < 10; i++)
			allocate_one();
	}
END_TEST

START_TEST(a_full_socket_is_waited_for)
	{
		struct seen seen = {0};
		static struct pasid_number numbers[4000];
		for (uint32_t i = 0; i < 4000; i++)
			numbers[i] = (struct pasid_number){.value = 100000 + i};
		struct pasid_free_args args = {.pasids = numbers, .count = 4000};
		fake.hold = true;
		for (int i = 0; i < 60; i++)
			ck_assert_int_eq(pasid_free_async(client, &args, on_result, &seen), 0);
		ck_assert_int_eq(pasid_flush(client), 0);
		ck_assert_uint_lt(fake_count(&fake, 0), 60);
		ck_assert(!readable()); /* no busy loop while the socket is full */
		fake.hold = false;
		dispatch_until(&seen, 60);
		for (uint32_t i = 0; i < 60; i++)
			ck_assert_int_eq(seen.codes[i], 0);
	}
END_TEST

START_TEST(every_operation_has_an_asynchronous_form)
	{
		struct seen seen = {0};
		struct pasid_pair pair = {1, {.source = PASID_TABLE_SPACE}};
		struct pasid_device_ref device = {.device = 5};
		struct pasid_guest_args guest = {.guest_pasid = 3, .host_pasid = 1024};
		struct pasid_memory_args memory = {.memfd = 0};
		int calls = 0;
#define CALL(name, ...)                                                                            \
	do {                                                                                       \
		ck_assert_int_eq(pasid_##name##_async(client, __VA_ARGS__), 0);                    \
		calls++;                                                                           \
	} while (0)
		CALL(set_create, &(struct pasid_set_create_args){.name = "vm1"}, on_result, &seen);
		CALL(set_adjust, &(struct pasid_set_adjust_args){.quota = 1}, on_result, &seen);
		CALL(set_destroy, &(struct pasid_set_destroy_args){0}, on_result, &seen);
		CALL(set_get, NULL, on_result, &seen);
		CALL(grant_list, NULL, on_result, &seen);
		CALL(guest_attach, &guest, on_result, &seen);
		CALL(guest_detach, &guest, on_result, &seen);
		CALL(guest_find, &guest, on_result, &seen);
		CALL(data_set, &(struct pasid_data_args){0}, on_result, &seen);
		CALL(quarantine_end, (&(struct pasid_host_args){.host_pasid = 1024}), on_result,
			&seen);
		CALL(device_share, "0000:00:03.0", on_result, &seen);
		CALL(device_slice, &(struct pasid_device_slice_args){.device = 1}, on_result,
			&seen);
		CALL(device_remove, &device, on_result, &seen);
		CALL(device_drained, 5, on_result, &seen);
		CALL(recover_confirm, on_result, &seen);
		CALL(memory_map, &memory, on_result, &seen);
		CALL(memory_unmap, &memory, on_result, &seen);
		CALL(bind, &(struct pasid_bind_args){.pairs = &pair, .count = 1}, on_result, &seen);
		CALL(unbind, &(struct pasid_unbind_args){0}, on_result, &seen);
		CALL(rid_detach, &device, on_result, &seen);
		CALL(replace, &(struct pasid_replace_args){.pair = pair}, on_result, &seen);
#undef CALL
		dispatch_until(&seen, calls);
		for (int i = 0; i < calls; i++)
			ck_assert_int_eq(seen.codes[i], 0);
	}
END_TEST

static void fill(TCase *tcase)
{
	tcase_add_test(tcase, a_full_socket_is_waited_for);
	tcase_add_test(tcase, every_operation_has_an_asynchronous_form);
	tcase_add_test(tcase, queued_calls_share_a_datagram);
	tcase_add_test(tcase, request_limit_of_the_daemon_is_kept);
	tcase_add_test(tcase, datagram_limit_of_the_daemon_is_kept);
	tcase_add_test(tcase, only_one_request_of_a_datagram_has_descriptors);
	tcase_add_test(tcase, the_window_is_never_exceeded);
	tcase_add_test(tcase, seen_below_follows_the_replies);
	tcase_add_test(tcase, descriptor_is_readable_exactly_when_there_is_work);
	tcase_add_test(tcase, callbacks_run_in_dispatch_only);
	tcase_add_test(tcase, callbacks_may_call);
	tcase_add_test(tcase, close_in_a_callback_is_deferred);
	tcase_add_test(tcase, async_refusal_reaches_the_callback);
	tcase_add_test(tcase, a_callback_is_not_needed);
	tcase_add_test(tcase, events_are_kept_for_dispatch);
	tcase_add_test(tcase, dropped_events_are_counted);
	tcase_add_test(tcase, silence_ends_in_a_timeout_and_the_late_reply_is_dropped);
	tcase_add_test(tcase, a_pending_call_can_be_asked_for_again);
	tcase_add_test(tcase, forgotten_pending_calls_do_not_block_the_window);
}

int main(void)
{
	return run_suite("libpasid-loop", fill);
}
