/* SPDX-License-Identifier: MIT */
/* Colour of pasidctl: when there is any, and that without it nothing is printed for it. */
#include "suite.h"

#include "pasidctl_colour.h"

START_TEST(only_terminals_are_coloured_unless_the_line_says_otherwise)
	{
		ck_assert(colour_wanted(COLOUR_AUTO, true, NULL, "xterm"));
		ck_assert(colour_wanted(COLOUR_AUTO, true, "", NULL));
		ck_assert(!colour_wanted(COLOUR_AUTO, false, NULL, "xterm"));
		ck_assert(!colour_wanted(COLOUR_AUTO, true, "1", "xterm"));
		ck_assert(!colour_wanted(COLOUR_AUTO, true, "0", "xterm"));
		ck_assert(!colour_wanted(COLOUR_AUTO, true, NULL, "dumb"));
		ck_assert(colour_wanted(COLOUR_ALWAYS, false, "1", "dumb"));
		ck_assert(!colour_wanted(COLOUR_NEVER, true, NULL, "xterm"));
	}
END_TEST

START_TEST(a_wish_is_one_of_three_words)
	{
		enum colour_wish wish = COLOUR_NEVER;
		ck_assert(colour_parse("auto", &wish) && wish == COLOUR_AUTO);
		ck_assert(colour_parse("always", &wish) && wish == COLOUR_ALWAYS);
		ck_assert(colour_parse("never", &wish) && wish == COLOUR_NEVER);
		ck_assert(!colour_parse("", &wish) && !colour_parse("yes", &wish));
		ck_assert_int_eq(wish, COLOUR_NEVER);
	}
END_TEST

START_TEST(without_colour_nothing_is_printed_for_it)
	{
		colour_decide(COLOUR_NEVER);
		ck_assert(!colour_is_on());
		for (enum colour colour = COLOUR_NONE; colour <= COLOUR_DIM; colour++) {
			ck_assert_str_eq(colour_start(colour), "");
			ck_assert_str_eq(colour_end(colour), "");
		}
		colour_decide(COLOUR_ALWAYS);
		ck_assert_str_eq(colour_start(COLOUR_NONE), "");
		ck_assert_str_eq(colour_end(COLOUR_NONE), "");
		for (enum colour colour = COLOUR_GOOD; colour <= COLOUR_DIM; colour++) {
			ck_assert_int_eq(colour_start(colour)[0], '\033');
			ck_assert_str_eq(colour_end(colour), "\033[0m");
		}
	}
END_TEST

START_TEST(states_that_need_somebody_stand_out)
	{
		ck_assert_int_eq(colour_of("state", "tainted"), COLOUR_BAD);
		ck_assert_int_eq(colour_of("quarantine", "cooling,tainted"), COLOUR_BAD);
		ck_assert_int_eq(colour_of("tainted", "yes"), COLOUR_BAD);
		ck_assert_int_eq(colour_of("state", "quarantined"), COLOUR_WARN);
		ck_assert_int_eq(colour_of("dying", "yes"), COLOUR_WARN);
		ck_assert_int_eq(colour_of("state", "active"), COLOUR_NONE);
		ck_assert_int_eq(colour_of("tainted", "-"), COLOUR_NONE);
		/* a set may have any name */
		ck_assert_int_eq(colour_of("name", "tainted"), COLOUR_NONE);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		only_terminals_are_coloured_unless_the_line_says_otherwise,
		a_wish_is_one_of_three_words,
		without_colour_nothing_is_printed_for_it,
		states_that_need_somebody_stand_out,
	};
	return suite_run("colour", "colour", tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}
