/* SPDX-License-Identifier: MIT */
/*
 * What the assertions of Check call. The models of tests/unit are used here without Check's runner:
 * one that fails ends the program, so that the fuzzer keeps the input.
 */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void _mark_point(const char *file, int line)
{
	(void)file;
	(void)line;
}

void _ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...)
{
	va_list arguments;

	(void)fprintf(stderr, "%s:%d: %s\n", file, line, expr);
	if (msg) {
		va_start(arguments, msg);
		(void)vfprintf(stderr, msg, arguments);
		va_end(arguments);
		(void)fputc('\n', stderr);
	}
	abort();
}
