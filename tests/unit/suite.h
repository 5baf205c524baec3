/* SPDX-License-Identifier: MIT */
/* The main() of a test program that has one case. */
#ifndef PASIDD_TEST_SUITE_H
#define PASIDD_TEST_SUITE_H

#include <check.h>
#include <stddef.h>

/* Runs all tests with a fixture around each; setup and teardown may be NULL. Returns an exit
 * status. */
int suite_run(const char *name, const char *tcase, const TTest *const *tests, size_t count,
	void (*setup)(void), void (*teardown)(void));

#endif
