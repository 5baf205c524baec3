/* SPDX-License-Identifier: MIT */
/* F32: libpasid's functions for guests' own tables: what they send, and what comes back. */
#include "client_fixture.h"

#include <errno.h>

static const struct pasid_stream_args entry = {.set.id = 9,
	.device = 3,
	.ste = {UINT64_MAX - 1, 7},
	.stream = 8,
	.parent_source = PASID_TABLE_HWPT,
	.parent = 4};

static void sent_is(const Pasid__V1__BindPair *pair)
{
	const Pasid__V1__StreamTable *stream = pair->table->stream;

	ck_assert_uint_eq(pair->device, 3);
	ck_assert_int_eq(pair->table->source_case, PASID__V1__TABLE__SOURCE_STREAM);
	ck_assert(stream->ste0 == UINT64_MAX - 1 && stream->ste1 == 7 && stream->stream == 8);
}

static void told_is(const struct pasid_stream_info *info)
{
	ck_assert_uint_eq(info->device, 3);
	ck_assert_uint_eq(info->hwpt, 40);
	ck_assert_uint_eq(info->viommu, 50);
	ck_assert_uint_eq(info->vdevice, 51);
	ck_assert_uint_eq(info->stream, 8);
}

START_TEST(an_entry_is_installed_and_removed)
	{
		struct pasid_device_ref device = {.set.id = 9, .device = 3};
		const Pasid__V1__RidAttach *attach;
		struct pasid_stream_info info;

		ck_assert_int_eq(pasid_stream_install(client, &entry, &info), 0);
		told_is(&info);
		attach = fake_last(&fake)->rid_attach;
		sent_is(attach->pair);
		ck_assert_uint_eq(attach->set->id, 9);
		ck_assert_uint_eq(attach->pair->table->stream->parent_hwpt, 4);
		ck_assert_int_eq(pasid_stream_install(client, &entry, NULL), 0);
		ck_assert_int_eq(pasid_stream_remove(client, &device), 0);
		ck_assert_uint_eq(fake_last(&fake)->rid_detach->device, 3);
	}
END_TEST

START_TEST(another_entry_takes_its_place)
	{
		struct pasid_stream_args args = entry;
		struct pasid_stream_info info;
		const Pasid__V1__Replace *replace;

		args.parent_source = PASID_TABLE_SPACE;
		ck_assert_int_eq(pasid_stream_replace(client, &args, &info), 0);
		told_is(&info);
		replace = fake_last(&fake)->replace;
		sent_is(replace->pair);
		ck_assert_ptr_null(replace->pasid);
		ck_assert_int_eq(replace->pair->table->stream->parent_case,
			PASID__V1__STREAM_TABLE__PARENT_PARENT_SPACE);
		ck_assert_uint_eq(replace->pair->table->stream->parent_space, 4);
		args.parent_source = PASID_TABLE_IOAS;
		ck_assert_int_eq(pasid_stream_replace(client, &args, NULL), 0);
		ck_assert_uint_eq(fake_last(&fake)->replace->pair->table->stream->parent_ioas, 4);
		args.parent_source = PASID_TABLE_GUEST;
		ck_assert_int_eq(pasid_stream_replace(client, &args, NULL), -EINVAL);
		args.parent_source = (enum pasid_table_source)0;
		ck_assert_int_eq(pasid_stream_install(client, &args, NULL), -EINVAL);
		args.parent_source = PASID_TABLE_HWPT;
		args.device = 0; /* nothing is told of it */
		ck_assert_int_eq(pasid_stream_replace(client, &args, &info), -EPROTO);
	}
END_TEST

static void on_stream(struct pasid_client *c, const struct pasid_result *result, void *userdata)
{
	(void)c;
	ck_assert_int_eq(result->code, 0);
	ck_assert_uint_eq(result->bound.count, 1);
	told_is(&result->bound.stream);
	++*(int *)userdata;
}

START_TEST(callbacks_are_told_the_same)
	{
		struct pasid_device_ref device = {.device = 3};
		struct seen seen = {0};
		int count = 0;

		ck_assert_int_eq(pasid_stream_install_async(client, &entry, on_stream, &count), 0);
		ck_assert_int_eq(pasid_stream_replace_async(client, &entry, on_stream, &count), 0);
		ck_assert_int_eq(pasid_stream_remove_async(client, &device, on_result, &seen), 0);
		dispatch_until(&seen, 1);
		ck_assert_int_eq(count, 2);
	}
END_TEST

static void fill(TCase *tcase)
{
	tcase_add_test(tcase, an_entry_is_installed_and_removed);
	tcase_add_test(tcase, another_entry_takes_its_place);
	tcase_add_test(tcase, callbacks_are_told_the_same);
}

int main(void)
{
	return run_suite("libpasid-stream", fill);
}
