/* SPDX-License-Identifier: MIT */
/* Texts for people are not proven: any of them, of any length, terminated. */
#include "proof.h"

#include <stdarg.h>
#include <stdio.h>

int vsnprintf(char *text, size_t size, const char *format, va_list args)
{
	(void)format;
	(void)args;
	if (size > 0)
		text[0] = '\0';
	return (int)any_of(0, 4096);
}

int snprintf(char *text, size_t size, const char *format, ...)
{
	(void)format;
	if (size > 0)
		text[0] = '\0';
	return (int)any_of(0, 4096);
}
