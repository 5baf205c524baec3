/* SPDX-License-Identifier: MIT */
#include "audit.h"
#include "broker_change.h"
#include "pasid.pb-c.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECORDS  AUDIT_RECORDS_MIN
#define NUMBERS  (RECORDS / 2)
#define REFUSALS (RECORDS / 8)
#define HEADER   4096
#define SEQUENCE 0
#define NEXT     68 /* of the header, for the first ring */
#define LAST     80 /* sequence, of the header */

static const uint8_t boot[16] = {1, 2, 3, 4}, other_boot[16] = {5, 6, 7, 8};
static char directory[] = "/tmp/pasidd-audit-XXXXXX", path[64], old[72];
static struct audit *audit;
static struct audit_error error;
static struct audit_found found;

static void begin(const uint8_t *boot_id)
{
	ck_assert_msg(audit_open(path, RECORDS, boot_id, &audit, &error) == 0, "%s", error.text);
	audit_tick(audit, 1000);
}

static void end(void)
{
	audit_close(audit);
	audit = NULL;
}

static void setup(void)
{
	strcpy(strrchr(directory, '-'), "-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/audit", directory);
	(void)snprintf(old, sizeof(old), "%s.old", path);
	begin(boot);
}

static void teardown(void)
{
	end();
	free(found.records);
	memset(&found, 0, sizeof(found));
	(void)unlink(path);
	(void)unlink(old);
	(void)rmdir(directory);
}

static void put(enum audit_ring ring, uint8_t kind, uint32_t host, const char *name)
{
	struct audit_record record = {.kind = kind, .host = host, .rid = AUDIT_NO_RID};

	memcpy(record.name, name, strlen(name));
	audit_write(audit, ring, &record);
}

static size_t look(struct audit_query query)
{
	free(found.records);
	memset(&found, 0, sizeof(found));
	ck_assert_msg(audit_read(path, &query, &found, &error) == 0, "%s", error.text);
	return found.count;
}

static size_t look_for(uint32_t host)
{
	return look((struct audit_query){.has_host = true, .host = host});
}

static void patch(off_t offset, const void *bytes, size_t size)
{
	const int fd = open(path, O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(pwrite(fd, bytes, size, offset), (ssize_t)size);
	close(fd);
}

START_TEST(what_is_written_is_found_in_order_over_all_rings)
	{
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 1024, "vm1");
		put(AUDIT_BINDINGS, CHANGE_BINDING_BOUND, 1024, "vm1");
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 1025, "vm2");
		put(AUDIT_REFUSALS, AUDIT_REFUSED, 1024, "vm2");
		put(AUDIT_NUMBERS, CHANGE_GRANT_QUARANTINED, 1024, "vm1");

		ck_assert_uint_eq(look_for(1024), 4);
		ck_assert_int_eq(found.records[0].kind, CHANGE_GRANT_ALLOCATED);
		ck_assert_int_eq(found.records[1].kind, CHANGE_BINDING_BOUND);
		ck_assert_int_eq(found.records[2].kind, AUDIT_REFUSED);
		ck_assert_int_eq(found.records[3].kind, CHANGE_GRANT_QUARANTINED);
		ck_assert_uint_eq(found.damaged, 0);
		ck_assert_uint_eq(found.lost_ms, 0);
		ck_assert_uint_eq(look((struct audit_query){.name = "vm2"}), 2);
		ck_assert_uint_eq(look((struct audit_query){.name = "vm"}), 0);
		ck_assert_uint_eq(
			look((struct audit_query){.name = "vm2", .no_refusals = true}), 1);
		ck_assert_uint_eq(look((struct audit_query){.limit = 2}), 2);
		ck_assert_uint_eq(found.passed_over, 3);
		ck_assert_int_eq(found.records[1].kind, CHANGE_GRANT_QUARANTINED);
	}
END_TEST

START_TEST(time_is_the_walls_by_the_clock_of_the_loop)
	{
		const uint64_t now = (uint64_t)time(NULL) * 1000;

		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 1, "");
		audit_tick(audit, 1999); /* not yet read anew */
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 2, "");
		ck_assert_uint_eq(look((struct audit_query){.since_ms = now - 10000}), 2);
		ck_assert_uint_eq(found.records[1].time_ms - found.records[0].time_ms, 999);
		ck_assert_uint_ge(found.records[0].time_ms, now - 1000);
		ck_assert_uint_le(found.records[0].time_ms, now + 10000);
		ck_assert_uint_eq(look((struct audit_query){.since_ms = now + 100000}), 0);
		ck_assert_uint_eq(look((struct audit_query){.until_ms = now - 100000}), 0);
		audit_tick(audit, 3000);
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 3, "");
		ck_assert_uint_eq(look_for(3), 1);
		ck_assert_uint_le(found.records[0].time_ms, now + 10000);
	}
END_TEST

START_TEST(a_ring_goes_round_and_says_what_it_lost)
	{
		for (uint32_t i = 1; i <= NUMBERS + 10; i++) {
			audit_tick(audit, 1000 + i % 1000);
			put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, i, "");
		}
		ck_assert_uint_eq(look((struct audit_query){0}), NUMBERS);
		for (uint32_t i = 0; i < NUMBERS; i++)
			ck_assert_uint_eq(found.records[i].host, 11 + i);
		ck_assert_uint_eq(found.lost_ms, found.records[0].time_ms - 1);
		ck_assert(!audit_is_short(audit));
	}
END_TEST

/* A client that is refused all the time, one that allocates all the time, and another's bind. */
START_TEST(no_ring_washes_away_another)
	{
		put(AUDIT_BINDINGS, CHANGE_BINDING_BOUND, 77, "victim");
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 77, "victim");
		for (uint32_t i = 0; i < 3 * RECORDS; i++)
			put(AUDIT_REFUSALS, AUDIT_REFUSED, 5, "hostile");
		ck_assert_uint_eq(look_for(77), 2);
		ck_assert_uint_eq(look_for(5), REFUSALS);
		ck_assert_uint_eq(found.lost_ms, 0); /* refusals do not count */
		for (uint32_t i = 0; i < 3 * RECORDS; i++)
			put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 6, "busy");
		ck_assert_uint_eq(look_for(77), 1);
		ck_assert_int_eq(found.records[0].kind, CHANGE_BINDING_BOUND);
	}
END_TEST

START_TEST(the_next_daemon_goes_on_behind_the_last_record)
	{
		for (uint32_t i = 0; i < NUMBERS + 10; i++)
			put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 1, "");
		put(AUDIT_BINDINGS, AUDIT_STARTED, 0, "0.1.0");
		audit_settled(audit);
		end();
		begin(other_boot);
		put(AUDIT_BINDINGS, AUDIT_STARTED, 0, "0.1.0");
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 2, "");
		ck_assert_uint_eq(look_for(1), NUMBERS - 1);
		ck_assert_uint_eq(look((struct audit_query){.runs = true, .limit = 3}), 3);
		ck_assert_int_eq(found.records[0].kind, AUDIT_STARTED);
		ck_assert_int_eq(found.records[1].kind, AUDIT_STARTED);
		ck_assert_uint_eq(found.records[2].host, 2);
		ck_assert_uint_ne(found.records[0].boot, found.records[1].boot);
		ck_assert_uint_eq(found.records[2].flags, 0);
	}
END_TEST

START_TEST(runs_are_told_from_the_first_record_on)
	{
		put(AUDIT_BINDINGS, AUDIT_STARTED, 0, "");
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 9, "");
		put(AUDIT_BINDINGS, AUDIT_STOPPED, 0, "");
		ck_assert_uint_eq(
			look((struct audit_query){.has_host = true, .host = 9, .runs = true}), 2);
		ck_assert_int_eq(found.records[1].kind, AUDIT_STOPPED);
		ck_assert_uint_eq(
			look((struct audit_query){.has_host = true, .host = 8, .runs = true}), 0);
	}
END_TEST

/* The daemon died before it said that they are final; another boot has nothing to take back. */
START_TEST(what_was_not_settled_is_doubtful)
	{
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 1, "");
		audit_settled(audit);
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 2, "");
		ck_assert_uint_eq(look_for(2), 1);
		ck_assert_uint_eq(found.records[0].flags, 0);
		end();
		begin(boot);
		ck_assert_uint_eq(look_for(1), 1);
		ck_assert_uint_eq(found.records[0].flags, 0);
		ck_assert_uint_eq(look_for(2), 1);
		ck_assert_uint_eq(found.records[0].flags, AUDIT_DOUBTFUL);
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 3, "");
		end();
		begin(other_boot);
		ck_assert_uint_eq(look_for(3), 1);
		ck_assert_uint_eq(found.records[0].flags, 0);
	}
END_TEST

START_TEST(a_killed_writer_loses_nothing)
	{
		pid_t child;
		int status;

		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 1, "");
		end(); /* no child has it */
		child = fork();
		if (child == 0) {
			begin(boot);
			put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 2, "");
			(void)raise(SIGKILL);
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFSIGNALED(status));
		begin(boot);
		ck_assert_uint_eq(look_for(2), 1);
	}
END_TEST

/* The header is written after the record: it is one behind, or says nothing of use. */
START_TEST(the_header_may_be_behind_or_wrong)
	{
		const uint32_t far = UINT32_MAX;
		const uint64_t two = 2;
		uint8_t before[128];
		int fd;

		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 1, "");
		audit_settled(audit);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		ck_assert_int_eq(pread(fd, before, sizeof(before), 0), sizeof(before));
		close(fd);
		put(AUDIT_BINDINGS, CHANGE_BINDING_BOUND, 2, "");
		patch(0, before, sizeof(before)); /* killed between the two */
		end();
		begin(boot);
		ck_assert_uint_eq(look_for(2), 1);
		ck_assert_uint_eq(found.records[0].flags, AUDIT_DOUBTFUL);
		put(AUDIT_BINDINGS, CHANGE_BINDING_BOUND, 3, "");
		ck_assert_uint_eq(look((struct audit_query){0}), 3);
		ck_assert_uint_eq(found.records[2].host, 3);
		patch(LAST, &two, sizeof(two)); /* killed between the stores to it */
		end();
		begin(boot);
		put(AUDIT_REFUSALS, AUDIT_REFUSED, 5, "");
		ck_assert_uint_eq(look((struct audit_query){0}), 4);
		ck_assert_uint_eq(found.records[3].sequence, 4);
		patch(NEXT, &far, sizeof(far));
		end();
		begin(boot);
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 4, "");
		ck_assert_uint_eq(look((struct audit_query){0}), 5);
		ck_assert_uint_eq(found.records[4].host, 4);
	}
END_TEST

START_TEST(a_torn_record_is_passed_over)
	{
		const uint64_t none = 0, wrong = 4711;

		for (uint32_t i = 1; i <= 4; i++)
			put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, i, "vm");
		audit_settled(audit);
		patch(HEADER + 1 * 128 + SEQUENCE, &none,
			sizeof(none));                               /* killed while it stored */
		patch(HEADER + 2 * 128 + 16, &wrong, sizeof(wrong)); /* another one's set */
		ck_assert_uint_eq(look((struct audit_query){0}), 2);
		ck_assert_uint_eq(found.damaged, 2);
		ck_assert_uint_eq(found.records[0].host, 1);
		ck_assert_uint_eq(found.records[1].host, 4);
		end();
		begin(boot);
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 5, "vm");
		ck_assert_uint_eq(look((struct audit_query){0}), 3);
		ck_assert_uint_eq(found.records[2].host, 5);
	}
END_TEST

/* Whoever reads while it is written to sees whole records, each once and in order. */
START_TEST(it_is_read_while_it_is_written)
	{
		pid_t writer;
		int status;

		end();
		writer = fork();
		if (writer == 0) {
			begin(boot);
			for (uint32_t i = 1;; i++) {
				struct audit_record record = {.kind = CHANGE_GRANT_ALLOCATED,
					.host = i % 1000,
					.guest = i % 1000,
					.set = i % 1000};

				audit_write(audit, AUDIT_REFUSALS, &record);
			}
		}
		for (int round = 0; round < 50; round++) {
			uint64_t before = 0;

			(void)look((struct audit_query){0});
			for (size_t i = 0; i < found.count; before = found.records[i++].sequence) {
				ck_assert_uint_gt(found.records[i].sequence, before);
				ck_assert_uint_eq(found.records[i].host, found.records[i].guest);
				ck_assert_uint_eq(found.records[i].host, found.records[i].set);
			}
		}
		ck_assert_int_eq(kill(writer, SIGKILL), 0);
		ck_assert_int_eq(waitpid(writer, &status, 0), writer);
		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		begin(boot);
	}
END_TEST

/* As a disk that fails: the pages of the file are gone. */
START_TEST(a_file_that_was_cut_short_ends_nobody)
	{
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 1, "vm1");
		audit_settled(audit);
		ck_assert(!audit_is_lost(audit));
		ck_assert_int_eq(truncate(path, 0), 0);
		for (uint32_t i = 0; i < 5000; i++) {
			put(AUDIT_BINDINGS, CHANGE_BINDING_BOUND, 2, "vm1");
			audit_settled(audit);
		}
		ck_assert(audit_is_lost(audit));
		end();
		begin(boot);
		ck_assert(!audit_is_lost(audit));
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 3, "vm1");
		ck_assert_uint_eq(look_for(3), 1);
	}
END_TEST

START_TEST(other_memory_that_fails_is_no_concern_of_it)
	{
		const int fd = open(old, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		volatile uint8_t *page =
			mmap(NULL, HEADER, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		const pid_t child = fork();
		int status = 0;

		if (child == 0) {
			page[0] = 1;
			_exit(0);
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
		(void)munmap((void *)(uintptr_t)page, HEADER);
		close(fd);
	}
END_TEST

START_TEST(two_do_not_write_to_one)
	{
		struct audit *second = NULL;

		ck_assert_int_eq(audit_open(path, RECORDS, boot, &second, &error), -EBUSY);
		ck_assert_ptr_nonnull(strstr(error.text, "audit.path"));
		ck_assert_ptr_null(second);
	}
END_TEST

START_TEST(one_of_another_size_is_kept_beside_it)
	{
		struct audit_query all = {0};

		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 1, "");
		end();
		ck_assert_int_eq(audit_open(path, 2 * RECORDS, boot, &audit, &error), 0);
		ck_assert_uint_eq(look(all), 0);
		ck_assert_int_eq(audit_read(old, &all, &found, &error), 0);
		ck_assert_uint_eq(found.count, 1);
	}
END_TEST

START_TEST(what_is_no_trail_is_kept_beside_it_and_refused_by_the_reader)
	{
		const struct audit_query all = {0};
		struct stat st;

		end();
		ck_assert_int_eq(truncate(path, 0), 0);
		ck_assert_int_eq(audit_read(path, &all, &found, &error), -EBADMSG);
		patch(0,
			"my notes, long enough to be a header of something that is none of ours.....",
			72);
		ck_assert_int_eq(audit_read(path, &all, &found, &error), -EBADMSG);
		begin(boot);
		ck_assert_int_eq(stat(old, &st), 0);
		ck_assert_int_eq(st.st_size, 72);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_eq(st.st_mode & 0777u & ~0640u, 0);
		ck_assert_int_eq(audit_read("/dev/null", &all, &found, &error), -EBADMSG);
		ck_assert_int_eq(audit_read(directory, &all, &found, &error), -EBADMSG);
		ck_assert_int_eq(audit_read("/nowhere", &all, &found, &error), -ENOENT);
	}
END_TEST

START_TEST(a_damaged_header_is_refused)
	{
		const uint32_t many = UINT32_MAX, version = 99;
		const struct audit_query all = {0};

		patch(16, &many, sizeof(many));
		ck_assert_int_eq(audit_read(path, &all, &found, &error), -EBADMSG);
		ck_assert_ptr_nonnull(strstr(error.text, "damaged"));
		patch(8, &version, sizeof(version));
		ck_assert_int_eq(audit_read(path, &all, &found, &error), -EBADMSG);
		ck_assert_ptr_nonnull(strstr(error.text, "another version"));
	}
END_TEST

START_TEST(a_cut_copy_is_read_as_far_as_it_goes)
	{
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 1, "");
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 2, "");
		end();
		ck_assert_int_eq(truncate(path, HEADER + 128 + 64), 0);
		ck_assert_uint_eq(look((struct audit_query){0}), 1);
	}
END_TEST

START_TEST(others_may_not_write_to_it)
	{
		end();
		ck_assert_int_eq(chmod(path, 0660), 0);
		ck_assert_int_eq(audit_open(path, RECORDS, boot, &audit, &error), -EPERM);
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(symlink("/dev/null", path), 0);
		ck_assert_int_eq(audit_open(path, RECORDS, boot, &audit, &error), -ELOOP);
	}
END_TEST

START_TEST(the_last_record_of_a_number)
	{
		struct audit_query query = {.has_host = true, .host = 7};
		struct audit_record record;

		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 7, "vm");
		put(AUDIT_BINDINGS, CHANGE_BINDING_BOUND, 7, "vm");
		put(AUDIT_REFUSALS, AUDIT_REFUSED, 7, "vm");
		put(AUDIT_BINDINGS, AUDIT_STARTED, 0, "");
		ck_assert_int_eq(audit_read_last(path, &query, &record, &error), 0);
		ck_assert_int_eq(record.kind, CHANGE_BINDING_BOUND);
		query.host = 8;
		ck_assert_int_eq(audit_read_last(path, &query, &record, &error), -ENOENT);
		ck_assert_int_eq(audit_read_last("/nowhere", &query, &record, &error), -ENOENT);
	}
END_TEST

START_TEST(a_span_is_found_by_each_of_its_numbers)
	{
		struct audit_record record = {
			.kind = CHANGE_GRANT_ALLOCATED, .host = 100, .rid = AUDIT_NO_RID};
		struct audit_query query = {.has_host = true, .host = 163};
		struct audit_record last;

		record.flags = AUDIT_IS_SPAN;
		record.count = 64;
		audit_write(audit, AUDIT_NUMBERS, &record);
		put(AUDIT_NUMBERS, CHANGE_GRANT_QUARANTINED, 120, "");
		ck_assert_uint_eq(look_for(99), 0);
		ck_assert_uint_eq(look_for(100), 1);
		ck_assert_uint_eq(look_for(120), 2);
		ck_assert_uint_eq(look_for(163), 1);
		ck_assert_uint_eq(look_for(164), 0);
		ck_assert_int_eq(audit_read_last(path, &query, &last, &error), 0);
		ck_assert_uint_eq(last.host, 100);
		ck_assert_uint_eq(audit_span(&last), 64);
	}
END_TEST

START_TEST(without_a_trail_nothing_happens)
	{
		put(AUDIT_NUMBERS, CHANGE_GRANT_ALLOCATED, 1, "");
		audit_tick(NULL, 1);
		audit_write(NULL, AUDIT_NUMBERS, &(struct audit_record){0});
		audit_settled(NULL);
		ck_assert(!audit_is_short(NULL));
	}
END_TEST

START_TEST(names_of_anybody_are_printable)
	{
		struct audit_record record = {.name = "a\nb\033"};
		char name[AUDIT_NAME_MAX + 1];

		audit_name(&record, name);
		ck_assert_str_eq(name, "a?b?");
		memset(record.name, 'x', sizeof(record.name));
		audit_name(&record, name);
		ck_assert_uint_eq(strlen(name), AUDIT_NAME_MAX);
	}
END_TEST

/* "device_add" and "DEVICE_ADD" are "device-add". */
static void dashed(char *name)
{
	for (; *name != '\0'; name++)
		*name = *name == '_' ? '-' : *name;
}

START_TEST(each_operation_and_change_has_a_text)
	{
		const ProtobufCMessageDescriptor *request = &pasid__v1__request__descriptor;
		const ProtobufCEnumDescriptor *events = &pasid__v1__event_kind__descriptor;

		for (unsigned i = 0; i < request->n_fields; i++) {
			char name[64];

			if (request->fields[i].id < 16)
				continue;
			(void)snprintf(name, sizeof(name), "%s", request->fields[i].name);
			dashed(name);
			ck_assert_str_eq(audit_operation_text(request->fields[i].id), name);
			ck_assert_uint_le(request->fields[i].id, UINT8_MAX);
		}
		for (unsigned i = 0; i < events->n_values; i++) {
			if (events->values[i].value == 0)
				continue;
			ck_assert_int_lt(events->values[i].value, AUDIT_STARTED);
			ck_assert_str_ne(
				audit_kind_text((uint32_t)events->values[i].value), "unknown");
		}
		ck_assert_str_eq(audit_kind_text(UINT32_MAX), "unknown");
		ck_assert_str_eq(audit_operation_text(UINT32_MAX), "");
		ck_assert_str_eq(audit_operation_text(0), "");
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_is_written_is_found_in_order_over_all_rings,
		time_is_the_walls_by_the_clock_of_the_loop,
		a_ring_goes_round_and_says_what_it_lost,
		no_ring_washes_away_another,
		the_next_daemon_goes_on_behind_the_last_record,
		runs_are_told_from_the_first_record_on,
		what_was_not_settled_is_doubtful,
		a_killed_writer_loses_nothing,
		the_header_may_be_behind_or_wrong,
		a_torn_record_is_passed_over,
		it_is_read_while_it_is_written,
		a_file_that_was_cut_short_ends_nobody,
		other_memory_that_fails_is_no_concern_of_it,
		two_do_not_write_to_one,
		one_of_another_size_is_kept_beside_it,
		what_is_no_trail_is_kept_beside_it_and_refused_by_the_reader,
		a_damaged_header_is_refused,
		a_cut_copy_is_read_as_far_as_it_goes,
		others_may_not_write_to_it,
		the_last_record_of_a_number,
		a_span_is_found_by_each_of_its_numbers,
		without_a_trail_nothing_happens,
		names_of_anybody_are_printable,
		each_operation_and_change_has_a_text,
	};

	return suite_run("audit", "audit", tests, ARRAY_SIZE(tests), setup, teardown);
}
