/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t buffer[WIRE_DATAGRAM_MAX + 64];
static uint8_t body_bytes[4096];
static struct error error;

static struct wire_out body_begin(void)
{
	return wire_out_init(body_bytes, sizeof(body_bytes));
}

/* ---------------------------------------------------------------- writing */

START_TEST(a_reply_is_read_as_it_was_written)
	{
		struct wire_out out = wire_out_init(buffer, WIRE_DATAGRAM_MAX);
		struct wire_out body = body_begin();
		struct error why, got;
		const Pasid__V1__ToClient *client;
		struct wire_arena arena;

		(void)error_set_limit(&why, REASON_SET_QUOTA, 5, 100, 99, "no room for %d", 2);
		why.sys_errno = 12;
		wire_out_status(&body, WIRE_REPLY_STATUS, STATUS_QUOTA, &why);
		wire_out_reply(&out, 1000, 1, body.data, body.size);
		wire_out_reply(&out, 1001, 0, NULL, 0);
		wire_arena_init(&arena, NULL, WIRE_ARENA_SIZE);
		ck_assert_int_eq(wire_unpack_replies(&arena, buffer, out.size, &client, &error), 0);
		ck_assert_uint_eq(client->n_replies, 2);
		ck_assert_uint_eq(client->replies[0]->id, 1000);
		ck_assert_uint_eq(client->replies[0]->descriptors, 1);
		ck_assert_int_eq(wire_read_status(client->replies[0]->status, &got), STATUS_QUOTA);
		ck_assert_mem_eq(&got, &why, sizeof(got));
		ck_assert_uint_eq(client->replies[1]->id, 1001);
		ck_assert_int_eq(wire_read_status(client->replies[1]->status, &got), 0);
		ck_assert_uint_eq(got.reason, REASON_NONE);
		wire_arena_done(&arena);
	}
END_TEST

START_TEST(a_client_passes_over_fields_it_does_not_know)
	{
		struct wire_out out = wire_out_init(buffer, WIRE_DATAGRAM_MAX);
		const Pasid__V1__ToClient *client;
		struct wire_arena arena;

		wire_out_uint(&out, 77, 5);
		wire_out_bytes(&out, WIRE_TO_CLIENT_REPLIES, "\x08\x09\xf8\x07\x01", 5);
		wire_arena_init(&arena, NULL, WIRE_ARENA_SIZE);
		ck_assert_int_eq(wire_unpack_replies(&arena, buffer, out.size, &client, &error), 0);
		ck_assert_uint_eq(client->replies[0]->id, 9);
		ck_assert_int_eq(wire_unpack_replies(&arena, buffer, out.size - 1, &client, &error),
			STATUS_INVALID);
		ck_assert_uint_eq(error.reason, REASON_MALFORMED);
		ck_assert_int_eq(
			wire_unpack_replies(&arena, buffer, WIRE_DATAGRAM_MAX + 1, &client, &error),
			STATUS_INVALID);
		ck_assert_uint_eq(error.reason, REASON_TOO_LARGE);
		wire_arena_done(&arena);
	}
END_TEST

START_TEST(what_does_not_fit_is_not_written_in_part)
	{
		Pasid__V1__Ping ping = PASID__V1__PING__INIT;
		struct wire_request head = {
			.id = 1, .operation = PASID__V1__REQUEST__OPERATION_PING};
		struct wire_out out = wire_out_init(buffer, 6);

		wire_out_request(&out, &head, &ping.base);
		ck_assert(out.full);
		ck_assert_uint_eq(out.size, 0);
		out = wire_out_init(buffer, 7);
		wire_out_request(&out, &head, &ping.base);
		ck_assert(!out.full);
		ck_assert_uint_eq(out.size, 7);
		wire_out_uint(&out, 1, 0);
		wire_out_run(&out, 1, 1, 1);
		wire_out_string(&out, 1, "");
		wire_out_reply(&out, 1, 0, NULL, 0);
		wire_out_front(&out, 1, 1);
		ck_assert(out.full);
		ck_assert_uint_eq(out.size, 7);
	}
END_TEST

START_TEST(a_run_is_a_run)
	{
		struct wire_out out = wire_out_init(buffer, 64);
		Pasid__V1__AllocateResult *result;

		wire_out_run(&out, 1, PASID_LAST, 4096);
		wire_out_run(&out, 1, 0, 1);
		result = pasid__v1__allocate_result__unpack(NULL, out.size, buffer);
		ck_assert_ptr_nonnull(result);
		ck_assert_uint_eq(result->n_runs, 2);
		ck_assert_uint_eq(result->runs[0]->first, PASID_LAST);
		ck_assert_uint_eq(result->runs[0]->count, 4096);
		ck_assert_uint_eq(result->runs[1]->count, 1);
		pasid__v1__allocate_result__free_unpacked(result, NULL);
	}
END_TEST

START_TEST(the_codes_on_the_wire_are_those_of_enum_status)
	{
		ck_assert_uint_eq(pasid__v1__code__descriptor.n_values, STATUS_INTERNAL + 1);
		for (unsigned i = 0; i <= STATUS_INTERNAL; i++) {
			const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
				&pasid__v1__code__descriptor, (int)i);
			const char *name = status_text((enum status)i);

			ck_assert_ptr_nonnull(value);
			for (size_t k = 0; name[k] || value->name[k]; k++)
				ck_assert_int_eq(
					name[k] == '-' ? '_' : name[k] & ~0x20, value->name[k]);
		}
	}
END_TEST

START_TEST(every_reason_is_found_by_its_text)
	{
		for (unsigned i = 1; i < REASON_COUNT; i++)
			ck_assert_uint_eq(wire_reason(reason_text((enum reason)i)), i);
		ck_assert_uint_eq(wire_reason("of-a-later-version"), REASON_NONE);
		ck_assert_uint_eq(wire_reason(""), REASON_NONE);
	}
END_TEST

/* ---------------------------------------------------------------- the document */

static char document[65536];

/* docs/PROTOCOL.md of the tree that this file is in. */
static void read_document(void)
{
	static const char name[] = "/../../docs/PROTOCOL.md";
	char path[4096] = __FILE__;
	char *slash = strrchr(path, '/');
	FILE *file;
	size_t size;

	ck_assert_ptr_nonnull(slash);
	ck_assert_uint_lt((size_t)(slash - path) + sizeof(name), sizeof(path));
	memcpy(slash, name, sizeof(name));
	file = fopen(path, "re");
	ck_assert_msg(file != NULL, "cannot read %s", path);
	size = fread(document, 1, sizeof(document) - 1, file);
	ck_assert_uint_lt(size, sizeof(document) - 1);
	document[size] = 0;
	(void)fclose(file);
}

/* How often a line begins like this. */
static unsigned count_lines(const char *start)
{
	unsigned count = 0;

	for (const char *at = document; (at = strstr(at, start)); at++)
		count += at == document || at[-1] == '\n';
	return count;
}

START_TEST(the_document_has_every_reason_with_its_code)
	{
		char row[128];

		read_document();
		for (unsigned i = 1; i < REASON_COUNT; i++) {
			const ProtobufCEnumValue *code = protobuf_c_enum_descriptor_get_value(
				&pasid__v1__code__descriptor, (int)reason_status((enum reason)i));

			(void)snprintf(row, sizeof(row), "| `%s` | %s | ",
				reason_text((enum reason)i), code->name);
			ck_assert_msg(count_lines(row) == 1, "no row: %s", row);
		}
	}
END_TEST

START_TEST(the_document_has_every_operation)
	{
		const ProtobufCMessageDescriptor *request = &pasid__v1__request__descriptor;
		char row[128];

		read_document();
		for (unsigned i = 0; i < request->n_fields; i++) {
			if (request->fields[i].id < WIRE_OPERATION_FIRST)
				continue;
			(void)snprintf(row, sizeof(row), "| `%s` | ", request->fields[i].name);
			ck_assert_msg(count_lines(row) == 1, "no row: %s", row);
		}
	}
END_TEST

/* ---------------------------------------------------------------- addresses */

START_TEST(addresses_as_people_write_them)
	{
		static const char *const bad[] = {"", "3a:00", "3a:00.8", "3a:20.0", "3:00.0",
			"0000:3a:00.1 ", "0000:3a:00", "00000:3a:00.1", "0000:3a:00.11", "zz:00.0",
			"0000:3a-00.1", "3a:00.", "3a:00.-1"};
		char text[WIRE_RID_LEN];
		struct rid rid = {1};

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			ck_assert_msg(wire_rid_parse(bad[i], &rid) == STATUS_INVALID, "%s", bad[i]);
		ck_assert_uint_eq(rid.v, 1);
		ck_assert_int_eq(wire_rid_parse("3A:1f.7", &rid), 0);
		ck_assert_uint_eq(rid.v, 0x3aff);
		ck_assert_int_eq(wire_rid_parse("fedc:3a:00.1", &rid), 0);
		ck_assert_uint_eq(rid.v, 0xfedc3a01);
		wire_rid_format(rid, text);
		ck_assert_str_eq(text, "fedc:3a:00.1");
		for (uint32_t i = 0; i < 0x20000; i += 7) {
			wire_rid_format((struct rid){i}, text);
			ck_assert_int_eq(wire_rid_parse(text, &rid), 0);
			ck_assert_uint_eq(rid.v, i);
		}
	}
END_TEST

static Suite *suite(void)
{
	const TTest *const tests[] = {
		a_reply_is_read_as_it_was_written,
		a_client_passes_over_fields_it_does_not_know,
		what_does_not_fit_is_not_written_in_part,
		a_run_is_a_run,
		the_codes_on_the_wire_are_those_of_enum_status,
		every_reason_is_found_by_its_text,
		the_document_has_every_reason_with_its_code,
		the_document_has_every_operation,
		addresses_as_people_write_them,
	};
	TCase *all = tcase_create("wire_out");
	Suite *s = suite_create("wire_out");

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(all, tests[i]);
	suite_add_tcase(s, all);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
