/* SPDX-License-Identifier: MIT */
/* Reasons and statuses have texts that programs can tell apart; what is none is internal. */
#include "error.h"
#include "suite.h"

#include <string.h>

START_TEST(each_reason_has_a_text_of_its_own_and_a_status)
	{
		for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++) {
			ck_assert_str_ne(reason_text((enum reason)i), "");
			ck_assert_str_ne(status_text(reason_status((enum reason)i)), "");
			for (unsigned k = 0; k < i; k++)
				ck_assert_str_ne(
					reason_text((enum reason)i), reason_text((enum reason)k));
		}
	}
END_TEST

START_TEST(what_is_no_reason_and_no_status_is_internal)
	{
		ck_assert_str_eq(reason_text(REASON_COUNT), "internal");
		ck_assert_int_eq(reason_status(REASON_COUNT), STATUS_INTERNAL);
		ck_assert_str_eq(reason_text((enum reason) - 1), "internal");
		ck_assert_str_eq(status_text((enum status)1000), "internal");
		ck_assert_str_eq(status_text((enum status) - 1), "internal");
	}
END_TEST

START_TEST(a_sentence_that_is_too_long_is_cut)
	{
		struct error error;
		char text[sizeof(error.text) + 10];

		memset(text, 'x', sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		ck_assert_int_eq(
			error_set(&error, REASON_NO_SET, "%s", text), (int)STATUS_NOT_FOUND);
		ck_assert_uint_eq(strlen(error.text), sizeof(error.text) - 1);
		ck_assert_uint_eq(error.object, 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {each_reason_has_a_text_of_its_own_and_a_status,
		what_is_no_reason_and_no_status_is_internal, a_sentence_that_is_too_long_is_cut};

	return suite_run("error", "texts", tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}
