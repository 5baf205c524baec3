/* SPDX-License-Identifier: MIT */
#include "client_fixture.h"

#include <check.h>
#include <dirent.h>
#include <poll.h>
#include <unistd.h>

struct fake fake;
struct pasid_client *client;

void open_client(uint32_t timeout_ms)
{
	struct pasid_error error = {0};
	struct pasid_options options = {
		.path = fake.path, .name = "test", .timeout_ms = timeout_ms};
	int r = pasid_open(&options, &client, &error);
	ck_assert_msg(r == 0, "%d: %s", r, error.message);
}

static void setup(void)
{
	fake_start(&fake, false);
	open_client(5000);
}

static void teardown(void)
{
	pasid_close(client);
	fake_stop(&fake);
}

int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

bool readable(void)
{
	struct pollfd fd = {.fd = pasid_fd(client), .events = pasid_events(client)};
	return poll(&fd, 1, 0) == 1;
}

uint32_t allocate_one(void)
{
	uint32_t number = 0;
	int r = pasid_allocate(client, &(struct pasid_allocate_args){.count = 1}, &number);
	ck_assert_msg(r == 0, "%d: %s", r, pasid_last_error(client)->message);
	return number;
}

void on_result(struct pasid_client *c, const struct pasid_result *result, void *userdata)
{
	struct seen *seen = userdata;
	ck_assert_ptr_eq(c, client);
	seen->codes[seen->calls] = result->code;
	seen->ids[seen->calls] = result->id;
	seen->fd = result->fd;
	seen->calls++;
}

void dispatch_until(struct seen *seen, int calls)
{
	for (int i = 0; i < 500 && seen->calls < calls; i++)
		ck_assert_int_ge(pasid_dispatch(client, 20), 0);
	ck_assert_int_eq(seen->calls, calls);
}

void on_event(struct pasid_client *c, const struct pasid_event *event, void *userdata)
{
	struct seen *seen = userdata;
	ck_assert_ptr_eq(c, client);
	ck_assert_int_eq(event->kind, PASID_EVENT_GRANT_ALLOCATED);
	ck_assert(event->has_guest);
	ck_assert_uint_eq(event->guest_pasid, 7);
	seen->events++;
	seen->lost += event->lost;
}

static TCase *test_case(const char *name)
{
	TCase *tcase = tcase_create(name);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	return tcase;
}

int run_suite(const char *name, void (*fill)(TCase *tcase))
{
	Suite *suite = suite_create(name);
	TCase *tcase = test_case(name);
	fill(tcase);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
