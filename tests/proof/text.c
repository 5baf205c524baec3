/* SPDX-License-Identifier: MIT */
/* Texts for people are not proven: any of them, terminated, and of any length that fits. */
#include "proof.h"

#include <stdarg.h>
#include <stdio.h>

int vsnprintf(char *text, size_t size, const char *format, va_list args)
{
	(void)format;
	(void)args;
	if (size > 0)
		text[0] = '\0';
	return (int)any_of(0, size > 0 ? (uint32_t)size - 1 : 0);
}

int snprintf(char *text, size_t size, const char *format, ...)
{
	(void)format;
	if (size > 0)
		text[0] = '\0';
	return (int)any_of(0, size > 0 ? (uint32_t)size - 1 : 0);
}
