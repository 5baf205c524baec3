/* SPDX-License-Identifier: MIT */
/* libpasid against a small fake daemon: what goes out and what comes back. */
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

/* ------------------------------------------------------------ hello and simple calls */

START_TEST(hello_agrees_on_role_limits_and_features)
	{
		const struct pasid_session *session = pasid_session_info(client);
		ck_assert_uint_eq(session->session, 77);
		ck_assert_uint_eq(session->version, 1);
		ck_assert_int_eq(session->role, PASID_ROLE_VMM);
		ck_assert_str_eq(session->features, "one two");
		ck_assert_mem_eq(session->instance, "instance-of-fake", 16);
		ck_assert_uint_eq(session->request_limit, 256);
		ck_assert_int_eq(pasid_last_error(client)->code, 0);
	}
END_TEST

START_TEST(no_daemon_is_said_with_path_and_remedy)
	{
		struct pasid_client *other = NULL;
		struct pasid_error error = {0};
		struct pasid_options options = {.path = "/nonexistent/pasidd.socket"};
		ck_assert_int_eq(pasid_open(&options, &other, &error), -ENOENT);
		ck_assert_ptr_null(other);
		ck_assert_str_eq(error.reason, "no-daemon");
		ck_assert_ptr_nonnull(strstr(error.message, "/nonexistent/pasidd.socket"));
		ck_assert_ptr_nonnull(strstr(error.message, "is pasidd running?"));
	}
END_TEST

START_TEST(environment_names_the_socket)
	{
		struct pasid_client *other = NULL;
		setenv(PASID_SOCKET_ENV, "/nonexistent/from-env", 1);
		struct pasid_error error;
		ck_assert_int_eq(pasid_open(NULL, &other, &error), -ENOENT);
		ck_assert_ptr_nonnull(strstr(error.message, "/nonexistent/from-env"));
	}
END_TEST

START_TEST(arguments_arrive_as_given)
	{
		uint64_t devices[] = {5, 6};
		struct pasid_allocate_args args = {
			.set.name = "vm7",
			.min = 2000,
			.max = 3000,
			.count = 1,
			.has_guest = true,
			.guest_pasid = 0,
			.data = 0x123456789abcdefull,
			.devices = devices,
			.device_count = 2,
		};
		uint32_t number;
		ck_assert_int_eq(pasid_allocate(client, &args, &number), 0);
		const Pasid__V1__Request *request = fake_last(&fake);
		const Pasid__V1__Allocate *allocate = request->allocate;
		ck_assert_int_eq(request->operation_case, PASID__V1__REQUEST__OPERATION_ALLOCATE);
		ck_assert_int_eq(request->deadline_case, PASID__V1__REQUEST__DEADLINE_DEADLINE_MS);
		ck_assert_uint_eq(request->deadline_ms, 5000);
		ck_assert_str_eq(allocate->set->name, "vm7");
		ck_assert_uint_eq(allocate->min, 2000);
		ck_assert_uint_eq(allocate->max, 3000);
		/* Guest PASID 0 is a number, not an absence. */
		ck_assert_int_eq(allocate->guest_case, PASID__V1__ALLOCATE__GUEST_GUEST_PASID);
		ck_assert_uint_eq(allocate->data, 0x123456789abcdefull);
		ck_assert_uint_eq(allocate->n_devices, 2);
		ck_assert_uint_eq(allocate->devices[1], 6);
		ck_assert_uint_eq(number, 1024);
	}
END_TEST

START_TEST(own_set_and_absent_bounds_are_left_out)
	{
		allocate_one();
		const Pasid__V1__Allocate *allocate = fake_last(&fake)->allocate;
		ck_assert_ptr_null(allocate->set);
		ck_assert_int_eq(allocate->lowest_case, PASID__V1__ALLOCATE__LOWEST__NOT_SET);
		ck_assert_int_eq(allocate->highest_case, PASID__V1__ALLOCATE__HIGHEST__NOT_SET);
		ck_assert_int_eq(allocate->guest_case, PASID__V1__ALLOCATE__GUEST__NOT_SET);
	}
END_TEST

START_TEST(runs_become_numbers)
	{
		uint32_t numbers[6] = {0};
		ck_assert_int_eq(
			pasid_allocate(client, &(struct pasid_allocate_args){.count = 5}, numbers),
			0);
		ck_assert_uint_eq(numbers[0], 1024);
		ck_assert_uint_eq(numbers[3], 1027);
		ck_assert_uint_eq(numbers[4], 5000);
		ck_assert_uint_eq(numbers[5], 0);
	}
END_TEST

START_TEST(refusal_has_code_reason_limit_and_leaves_outputs_alone)
	{
		uint32_t number = 4711;
		fake.quota = true;
		ck_assert_int_eq(pasid_allocate(client, &(struct pasid_allocate_args){0}, &number),
			PASID_QUOTA);
		ck_assert_uint_eq(number, 4711);
		const struct pasid_error *error = pasid_last_error(client);
		ck_assert_int_eq(error->code, PASID_QUOTA);
		ck_assert_str_eq(error->reason, "set-quota");
		ck_assert(error->has_limit);
		ck_assert_uint_eq(error->limit, 16);
		ck_assert_uint_eq(error->used, 15);
		ck_assert_uint_eq(error->object, 9);
		ck_assert_ptr_nonnull(strstr(error->message, "free some"));
		ck_assert_str_eq(pasid_status_text(error->code), "quota");
	}
END_TEST

START_TEST(reply_of_another_operation_is_not_believed)
	{
		uint32_t number = 4711;
		fake.wrong = true;
		ck_assert_int_eq(
			pasid_allocate(client, &(struct pasid_allocate_args){0}, &number), -EPROTO);
		ck_assert_uint_eq(number, 4711);
	}
END_TEST

START_TEST(bind_sends_every_kind_of_table)
	{
		struct pasid_pair pairs[] = {
			{1, {.source = PASID_TABLE_HWPT, .id = 11}},
			{2, {.source = PASID_TABLE_IOAS, .id = 12}},
			{3, {.source = PASID_TABLE_SPACE, .id = 0}},
			{4, {.source = PASID_TABLE_GUEST,
				    .address = 0x1000,
				    .width = 48,
				    .flags = 4,
				    .parent_is_space = true,
				    .parent = 2}},
		};
		struct pasid_bind_args args = {
			.pasid = {.guest = true, .value = 5}, .pairs = pairs, .count = 4};
		struct pasid_attached tables[4];
		uint32_t host;
		ck_assert_int_eq(pasid_bind(client, &args, &host, tables), 0);
		ck_assert_uint_eq(host, 1024);
		ck_assert_uint_eq(tables[3].device, 4);
		ck_assert_uint_eq(tables[3].hwpt, 43);
		const Pasid__V1__Bind *bind = fake_last(&fake)->bind;
		ck_assert_int_eq(bind->pasid->key_case, PASID__V1__PASID_REF__KEY_GUEST);
		ck_assert_uint_eq(bind->pasid->guest, 5);
		ck_assert_uint_eq(bind->pairs[0]->table->hwpt, 11);
		ck_assert_uint_eq(bind->pairs[1]->table->ioas, 12);
		ck_assert_int_eq(
			bind->pairs[2]->table->source_case, PASID__V1__TABLE__SOURCE_SPACE);
		ck_assert_uint_eq(bind->pairs[3]->table->guest->address, 0x1000);
		ck_assert_uint_eq(bind->pairs[3]->table->guest->parent_space, 2);
	}
END_TEST

START_TEST(bind_without_table_source_is_not_sent)
	{
		struct pasid_pair pair = {.device = 1};
		struct pasid_bind_args args = {.pairs = &pair, .count = 1};
		ck_assert_int_eq(pasid_bind(client, &args, NULL, NULL), -EINVAL);
		args.count = PASID_PAIRS_MAX + 1;
		ck_assert_int_eq(pasid_bind(client, &args, NULL, NULL), -EINVAL);
		ck_assert_uint_eq(fake_count(&fake, 0), 0);
	}
END_TEST

START_TEST(a_replacement_names_a_number_or_the_rid)
	{
		struct pasid_replace_args args = {.pasid = {.value = 1024},
			.pair = {3, {.source = PASID_TABLE_HWPT, .id = 9}}};
		struct pasid_attached table;
		ck_assert_int_eq(pasid_replace(client, &args, &table), 0);
		ck_assert_uint_eq(table.device, 3);
		ck_assert_uint_eq(table.hwpt, 40);
		ck_assert_uint_eq(fake_last(&fake)->replace->pasid->host, 1024);
		ck_assert_uint_eq(fake_last(&fake)->replace->pair->table->hwpt, 9);
		args.rid = true;
		ck_assert_int_eq(pasid_replace(client, &args, NULL), 0);
		ck_assert_ptr_null(fake_last(&fake)->replace->pasid);
		args.pair.device = 0;
		ck_assert_int_eq(pasid_replace(client, &args, &table), -EPROTO);
		args.pair.table.source = 0;
		ck_assert_int_eq(pasid_replace(client, &args, &table), -EINVAL);
	}
END_TEST

START_TEST(every_other_operation_goes_there_and_back)
	{
		struct pasid_set_info set;
		struct pasid_device_info device;
		uint32_t value, other;
		struct pasid_number numbers[] = {{.value = 1024}, {.guest = true, .value = 3}};
		ck_assert_int_eq(pasid_ping(client), 0);
		ck_assert_int_eq(
			pasid_set_create(client,
				&(struct pasid_set_create_args){.name = "vm1", .has_quota = true},
				&set),
			0);
		ck_assert_str_eq(set.name, "vm1");
		ck_assert_uint_eq(set.pasids.limit, 16);
		ck_assert_int_eq(fake_last(&fake)->set_create->quota_case,
			PASID__V1__SET_CREATE__QUOTA_PASIDS);
		ck_assert_int_eq(pasid_set_adjust(client,
					 &(struct pasid_set_adjust_args){.set.id = 9}, NULL),
			0);
		ck_assert_int_eq(pasid_set_get(client, NULL, &set), 0);
		ck_assert_int_eq(
			pasid_set_destroy(client, &(struct pasid_set_destroy_args){.force = true}),
			0);
		ck_assert(fake_last(&fake)->set_destroy->force);
		ck_assert_int_eq(
			pasid_free(client, &(struct pasid_free_args){.pasids = numbers, .count = 2},
				&value, &other),
			0);
		ck_assert_uint_eq(value, 2);
		ck_assert_uint_eq(other, 1);
		ck_assert_uint_eq(fake_last(&fake)->free->pasids[1]->guest, 3);
		struct pasid_guest_args guest = {.guest_pasid = 3, .host_pasid = 1024};
		ck_assert_int_eq(pasid_guest_attach(client, &guest), 0);
		ck_assert_int_eq(pasid_guest_detach(client, &guest), 0);
		ck_assert_int_eq(pasid_guest_find(client, &guest, &value), 0);
		ck_assert_uint_eq(value, 1234);
		ck_assert_int_eq(
			pasid_data_set(client, &(struct pasid_data_args){.pasid = numbers[0]}), 0);
		ck_assert_int_eq(
			pasid_quarantine_end(client, &(struct pasid_host_args){.host_pasid = 1024}),
			0);
		ck_assert_int_eq(pasid_device_share(client, "0000:00:03.0", &device), 0);
		ck_assert_str_eq(device.capabilities, "nesting first-stage");
		ck_assert_uint_eq(device.registers[1], 0x22);
		ck_assert_int_eq(pasid_device_slice(client,
					 &(struct pasid_device_slice_args){.device = 5}, &device),
			0);
		ck_assert_int_eq(
			pasid_device_remove(client, &(struct pasid_device_ref){.device = 5}), 0);
		ck_assert_int_eq(pasid_device_drained(client, 5, &value), 0);
		ck_assert_uint_eq(value, 3);
		bool was_blocked = false;
		ck_assert_int_eq(pasid_recover_confirm(client, &was_blocked), 0);
		ck_assert(was_blocked);
		ck_assert(fake_last(&fake)->recover->confirm_no_devices);
		ck_assert_int_eq(pasid_recover_confirm(client, NULL), 0);
		ck_assert_int_eq(
			pasid_memory_unmap(client, &(struct pasid_memory_args){.space = 1}), 0);
		ck_assert_int_eq(
			pasid_unbind(client, &(struct pasid_unbind_args){.pasid = numbers[0]}), 0);
		ck_assert_int_eq(
			pasid_rid_detach(client, &(struct pasid_device_ref){.device = 5}), 0);
	}
END_TEST

static void check_awaited(const struct pasid_grant_info *info, uint32_t count)
{
	ck_assert_uint_eq(info->awaited_count, count);
	for (uint32_t i = 0; i < count; i++) {
		ck_assert_uint_eq(info->awaited[i].session, 70 + i);
		ck_assert_uint_eq(info->awaited[i].uid, 1000 + i);
		ck_assert_uint_eq(info->awaited[i].pid, (uintmax_t)4711 * i);
	}
}

/* What it points to stays until the client is used again. */
START_TEST(whom_a_number_waits_for_is_found)
	{
		struct pasid_grant_info info;
		for (uint32_t count = 0; count < 3; count++) {
			struct pasid_host_args args = {.host_pasid = 1020 + count};
			ck_assert_int_eq(pasid_host_find(client, &args, &info), 0);
			ck_assert_uint_eq(info.host_pasid, 1020 + count);
			check_awaited(&info, count);
		}
	}
END_TEST

static int count_grants(const struct pasid_grant_info *info, void *userdata)
{
	uint32_t *count = userdata;
	ck_assert_uint_eq(info->host_pasid, 1001 + *count);
	ck_assert_str_eq(info->quarantine, "cooling undrained");
	check_awaited(info, *count < 2 ? *count + 1 : 0);
	if (++*count == 3)
		ck_assert_int_eq(pasid_ping(client), 0); /* a call inside a list */
	return 0;
}

static int stop_at_once(const struct pasid_grant_info *info, void *userdata)
{
	(void)info;
	++*(uint32_t *)userdata;
	return 42;
}

START_TEST(lists_walk_all_pages_and_stop_when_told)
	{
		uint32_t count = 0;
		ck_assert_int_eq(pasid_grant_list(client, NULL, count_grants, &count), 0);
		ck_assert_uint_eq(count, 5);
		ck_assert_uint_eq(fake_count(&fake, PASID__V1__REQUEST__OPERATION_GRANT_LIST), 3);
		count = 0;
		ck_assert_int_eq(pasid_grant_list(client, NULL, stop_at_once, &count), 42);
		ck_assert_uint_eq(count, 1);
	}
END_TEST

static int keep_limit(const struct pasid_limit_info *info, void *userdata)
{
	struct pasid_limit_info **to = userdata;
	*(*to)++ = *info;
	return 0;
}

START_TEST(limits_are_listed_by_level_and_texts_are_cut_to_their_room)
	{
		struct pasid_limit_info limits[3], *end = limits;
		struct pasid_list_args args = {.set = {.name = "vm1"}, .limit = 7};
		ck_assert_int_eq(pasid_limit_list(client, &args, keep_limit, &end), 0);
		ck_assert_ptr_eq(end, limits + 3);
		ck_assert_str_eq(fake_last(&fake)->limit_list->set->name, "vm1");
		ck_assert_uint_eq(fake_last(&fake)->limit_list->limit, 7);
		ck_assert_int_eq(limits[0].level, PASID_LIMIT_HOST);
		ck_assert_uint_eq(limits[0].use.limit, 0);
		ck_assert_int_eq(limits[1].level, PASID_LIMIT_USER);
		ck_assert_str_eq(limits[1].resource, "connections");
		ck_assert_str_eq(limits[1].key, "limits.connections.user");
		ck_assert_uint_eq(limits[1].uid, 1000);
		ck_assert_uint_eq(limits[1].use.limit, 10);
		ck_assert_uint_eq(limits[1].use.current, 3);
		ck_assert_uint_eq(limits[1].use.peak, 4);
		ck_assert_uint_eq(limits[1].use.hits, 5);
		ck_assert_int_eq(limits[2].level, PASID_LIMIT_SET);
		ck_assert_uint_eq(limits[2].set, 9);
		ck_assert_str_eq(limits[2].set_name, "vm1");
		ck_assert_uint_eq(strlen(limits[2].resource), sizeof(limits[2].resource) - 1);
		ck_assert_uint_eq(limits[2].use.hits, 0); /* the daemon said nothing of its use */
	}
END_TEST

static void keep_page(struct pasid_client *from, const struct pasid_result *result, void *userdata)
{
	struct pasid_limit_info *to = userdata;
	ck_assert_ptr_eq(from, client);
	ck_assert_int_eq(result->code, 0);
	ck_assert_uint_eq(result->page.count, 1);
	ck_assert_uint_eq(result->page.next, 2);
	*to = result->page.limits[0];
}

START_TEST(a_page_of_limits_comes_to_a_callback)
	{
		struct pasid_limit_info info = {0};
		struct pasid_list_args args = {.after = 1};
		ck_assert_int_eq(pasid_limit_list_async(client, &args, keep_page, &info), 0);
		ck_assert_int_eq(pasid_dispatch(client, 5000), 1);
		ck_assert_int_eq(info.level, PASID_LIMIT_USER);
		ck_assert_ptr_null(fake_last(&fake)->limit_list->set);
	}
END_TEST

/* ------------------------------------------------------------ descriptors */

START_TEST(descriptors_are_copied_and_copies_closed)
	{
		int iommufd = open("/dev/null", O_RDWR | O_CLOEXEC);
		int device = open("/dev/zero", O_RDWR | O_CLOEXEC);
		int before = count_fds();
		struct pasid_device_info info;
		struct pasid_device_add_args args = {.iommufd = iommufd, .device = device};
		ck_assert_int_eq(pasid_device_add(client, &args, &info, NULL), 0);
		fake_last(&fake);
		ck_assert_uint_eq(fake.last_fds, 2);
		ck_assert_uint_eq(fake_last(&fake)->descriptors, 2);
		ck_assert_int_eq(count_fds(), before);
		ck_assert_int_ge(fcntl(iommufd, F_GETFD), 0);
		args.device = 999;
		ck_assert_int_eq(pasid_device_add(client, &args, &info, NULL), -EBADF);
		ck_assert_int_eq(count_fds(), before);
		close(iommufd);
		close(device);
	}
END_TEST

START_TEST(opened_device_comes_back_close_on_exec)
	{
		int iommufd = open("/dev/null", O_RDWR | O_CLOEXEC), fd = -1;
		int before = count_fds();
		struct pasid_device_add_args args = {.iommufd = iommufd, .address = "0000:00:01.0"};
		ck_assert_int_eq(pasid_device_add(client, &args, NULL, &fd), 0);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		close(fd);
		/* Nobody takes it: the library closes it. */
		ck_assert_int_eq(pasid_device_add(client, &args, NULL, NULL), 0);
		ck_assert_int_eq(count_fds(), before);
		close(iommufd);
	}
END_TEST

static void on_connected(struct pasid_client *same, const struct pasid_result *result, void *fd)
{
	(void)same;
	ck_assert_int_eq(result->code, 0);
	ck_assert_uint_eq(result->set.id, 9);
	*(int *)fd = result->fd;
}

START_TEST(connection_for_a_set_comes_back_close_on_exec)
	{
		struct pasid_set_ref set = {.id = 77};
		struct pasid_set_info info;
		int before = count_fds(), fd = -1;

		ck_assert_int_eq(pasid_set_connect(client, &set, &info, &fd), 0);
		ck_assert_uint_eq(info.id, 9);
		ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		close(fd);
		ck_assert_int_eq(pasid_set_connect_async(client, &set, on_connected, &fd), 0);
		while (pasid_outstanding(client) > 0)
			ck_assert_int_ge(pasid_dispatch(client, -1), 0);
		ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		close(fd);
		ck_assert_int_eq(count_fds(), before);
	}
END_TEST

START_TEST(descriptors_nobody_asked_for_are_closed)
	{
		int before = count_fds();
		fake.extra_fd = true;
		for (int i = 0; i < 10; i++)
			allocate_one();
		ck_assert_int_eq(count_fds(), before);
	}
END_TEST

static void fill(TCase *tcase)
{
	tcase_add_test(tcase, hello_agrees_on_role_limits_and_features);
	tcase_add_test(tcase, no_daemon_is_said_with_path_and_remedy);
	tcase_add_test(tcase, environment_names_the_socket);
	tcase_add_test(tcase, arguments_arrive_as_given);
	tcase_add_test(tcase, own_set_and_absent_bounds_are_left_out);
	tcase_add_test(tcase, runs_become_numbers);
	tcase_add_test(tcase, refusal_has_code_reason_limit_and_leaves_outputs_alone);
	tcase_add_test(tcase, reply_of_another_operation_is_not_believed);
	tcase_add_test(tcase, bind_sends_every_kind_of_table);
	tcase_add_test(tcase, bind_without_table_source_is_not_sent);
	tcase_add_test(tcase, a_replacement_names_a_number_or_the_rid);
	tcase_add_test(tcase, every_other_operation_goes_there_and_back);
	tcase_add_test(tcase, whom_a_number_waits_for_is_found);
	tcase_add_test(tcase, lists_walk_all_pages_and_stop_when_told);
	tcase_add_test(tcase, limits_are_listed_by_level_and_texts_are_cut_to_their_room);
	tcase_add_test(tcase, a_page_of_limits_comes_to_a_callback);
	tcase_add_test(tcase, descriptors_are_copied_and_copies_closed);
	tcase_add_test(tcase, opened_device_comes_back_close_on_exec);
	tcase_add_test(tcase, connection_for_a_set_comes_back_close_on_exec);
	tcase_add_test(tcase, descriptors_nobody_asked_for_are_closed);
}

int main(void)
{
	return run_suite("libpasid-calls", fill);
}
