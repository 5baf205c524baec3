/* SPDX-License-Identifier: MIT */
/* F43: libpasid on both sides of a hand-over, with the real server between them. */
#include "libpasid.h"
#include "server_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct pasid_client *client_at_rig(
	const struct pasid_hand_over *take_over, int fd, int *ret_result)
{
	struct pasid_options options = {.name = "test",
		.timeout_ms = 5000,
		.take_over = take_over,
		.fd = fd,
		.has_fd = true};
	struct pasid_client *client = NULL;
	struct pasid_error error = {0};
	int r;

	r = pasid_open(&options, &client, &error);
	if (ret_result != NULL) {
		*ret_result = r;
		if (r != 0)
			close(fd); /* it is the client's on success only */
	} else {
		ck_assert_msg(r == 0, "%s", error.message);
	}
	if (r > 0)
		ck_assert_str_eq(error.reason, "hand-over-unknown");
	return client;
}

static struct pasid_client *open_set(const char *name)
{
	struct pasid_client *client = client_at_rig(NULL, client_connect(), NULL);
	struct pasid_set_create_args args = {.name = name};

	ck_assert_uint_eq(pasid_session_info(client)->set, 0);
	ck_assert_int_eq(pasid_set_create(client, &args, NULL), 0);
	return client;
}

static int count_grant(const struct pasid_grant_info *info, void *count)
{
	(void)info;
	++*(unsigned *)count;
	return 0;
}

static unsigned grants(struct pasid_client *client)
{
	unsigned count = 0;

	ck_assert_int_eq(pasid_grant_list(client, NULL, count_grant, &count), 0);
	return count;
}

static void on_connection(struct pasid_client *client, enum pasid_connection news, void *seen)
{
	(void)client;
	*(unsigned *)seen |= 1u << news;
}

START_TEST(the_other_client_goes_on_and_this_one_says_why_not)
	{
		struct pasid_client *old, *new;
		struct pasid_hand_over over;
		struct pasid_set_info set;
		unsigned seen = 0;
		int fd = 0;

		start(64, 0);
		old = open_set("vm");
		ck_assert_int_eq(pasid_set_get(old, NULL, &set), 0);
		for (uint32_t i = 0, number; i < 5; i++)
			ck_assert_int_eq(
				pasid_allocate(
					old, &(struct pasid_allocate_args){.count = 1}, &number),
				0);
		ck_assert_int_eq(pasid_hand_over(old, &over, &fd), 0);
		ck_assert_int_eq(fd, -1);
		ck_assert_uint_eq(over.valid_ms, 30000);
		ck_assert_int_eq(pasid_on_connection(old, on_connection, &seen), 0);
		new = client_at_rig(&over, client_connect(), NULL);
		ck_assert_uint_eq(pasid_session_info(new)->set, set.id);
		ck_assert_uint_eq(grants(new), 5);
		/* changes of it are new ones, though ids of the other client went before */
		for (uint32_t i = 0, number; i < 8; i++)
			ck_assert_int_eq(
				pasid_allocate(
					new, &(struct pasid_allocate_args){.count = 1}, &number),
				0);
		ck_assert_uint_eq(grants(new), 13);
		ck_assert_int_lt(pasid_ping(old), 0);
		ck_assert_str_eq(pasid_last_error(old)->reason, "handed-over");
		ck_assert_int_eq(pasid_ping(old), -ENOTCONN);
		ck_assert_str_eq(pasid_last_error(old)->reason, "handed-over");
		while (pasid_dispatch(old, 0) > 0)
			continue;
		ck_assert_uint_eq(seen, 1u << PASID_CONNECTION_GONE);
		pasid_close(old);
		ck_assert_uint_eq(grants(new), 13);
		pasid_close(new);
		stop();
	}
END_TEST

START_TEST(who_only_dispatches_hears_of_it)
	{
		struct pasid_client *old, *new;
		struct pasid_hand_over over;
		unsigned seen = 0;
		int fd = -1;

		start(64, 0);
		old = open_set("vm");
		ck_assert_int_eq(pasid_on_connection(old, on_connection, &seen), 0);
		ck_assert_int_eq(pasid_hand_over(old, &over, &fd), 0);
		new = client_at_rig(&over, client_connect(), NULL);
		for (int i = 0; i < 50 && seen == 0; i++)
			(void)pasid_dispatch(old, 100);
		ck_assert_uint_eq(seen, 1u << PASID_CONNECTION_GONE);
		pasid_close(old);
		pasid_close(new);
		stop();
	}
END_TEST

START_TEST(a_secret_that_is_void_opens_nothing)
	{
		struct pasid_client *old, *new;
		struct pasid_hand_over first, over;
		int fd = -1, r = 0;

		start(64, 0);
		old = open_set("vm");
		ck_assert_int_eq(pasid_hand_over(old, &first, &fd), 0);
		ck_assert_int_eq(pasid_hand_over(old, &over, &fd), 0);
		ck_assert_ptr_null(client_at_rig(&first, client_connect(), &r));
		ck_assert_int_eq(r, PASID_NOT_FOUND);
		ck_assert_int_eq(pasid_hand_over_cancel(old), 0);
		ck_assert_int_eq(pasid_hand_over_cancel(old), 0);
		ck_assert_ptr_null(client_at_rig(&over, client_connect(), &r));
		ck_assert_int_eq(r, PASID_NOT_FOUND);
		ck_assert_int_eq(pasid_ping(old), 0);
		ck_assert_int_eq(pasid_hand_over(old, &over, &fd), 0);
		new = client_at_rig(&over, client_connect(), NULL);
		pasid_close(old);
		pasid_close(new);
		stop();
	}
END_TEST

struct offered {
	struct pasid_hand_over over;
	int fd;
	bool called;
};

static void on_offered(
	struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	struct offered *offered = userdata;

	(void)client;
	ck_assert_int_eq(result->code, 0);
	*offered = (struct offered){result->hand_over, result->fd, true};
}

/* F46: there it is another connection. */
START_TEST(on_a_handed_connection_there_is_another_one)
	{
		struct pasid_options options = {
			.role = PASID_ROLE_ADMIN, .timeout_ms = 5000, .has_fd = true, .fd = -1};
		struct pasid_set_ref set = {.name = "vm"};
		struct pasid_client *admin, *old, *new;
		struct offered offered = {.fd = -1};
		int fd = -1, r = 0;

		start(64, 0);
		options.fd = client_connect();
		ck_assert_int_eq(pasid_open(&options, &admin, NULL), 0);
		ck_assert_int_eq(pasid_set_create(admin,
					 &(struct pasid_set_create_args){.name = "vm"}, NULL),
			0);
		ck_assert_int_eq(pasid_set_connect(admin, &set, NULL, &fd), 0);
		old = client_at_rig(NULL, fd, NULL);
		ck_assert_uint_ne(pasid_session_info(old)->set, 0);
		ck_assert_int_eq(pasid_hand_over_async(old, on_offered, &offered), 0);
		while (!offered.called)
			ck_assert_int_ge(pasid_dispatch(old, -1), 0);
		ck_assert_int_ge(offered.fd, 0);
		ck_assert_int_eq(fcntl(offered.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		ck_assert_ptr_null(client_at_rig(&offered.over, client_connect(), &r));
		ck_assert_int_eq(r, PASID_NOT_FOUND);
		new = client_at_rig(&offered.over, offered.fd, NULL);
		ck_assert_uint_eq(pasid_session_info(new)->set, pasid_session_info(old)->set);
		ck_assert_int_lt(pasid_ping(old), 0);
		ck_assert_str_eq(pasid_last_error(old)->reason, "handed-over");
		pasid_close(old);
		ck_assert_int_eq(pasid_ping(new), 0);
		pasid_close(new);
		pasid_close(admin);
		stop();
	}
END_TEST

START_TEST(what_the_kernel_does_not_have_is_said)
	{
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		ck_assert_int_eq(pasid_change_process(null), -EOPNOTSUPP);
		ck_assert_int_eq(pasid_change_process(-1), -EBADF);
		close(null);
	}
END_TEST

int main(int argc, char *argv[])
{
	const TTest *const tests[] = {
		the_other_client_goes_on_and_this_one_says_why_not,
		who_only_dispatches_hears_of_it,
		a_secret_that_is_void_opens_nothing,
		on_a_handed_connection_there_is_another_one,
		what_the_kernel_does_not_have_is_said,
	};

	return server_rig_main(argc, argv, "libpasid_handover", tests, ARRAY_SIZE(tests));
}
