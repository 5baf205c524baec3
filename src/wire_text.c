/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <stdio.h>

void wire_rid_format(struct rid rid, char ret_text[static WIRE_RID_LEN])
{
	(void)snprintf(ret_text, WIRE_RID_LEN, "%04x:%02x:%02x.%x", rid.v >> 16, rid.v >> 8 & 0xff,
		rid.v >> 3 & 0x1f, rid.v & 7);
}

static int wire_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Exactly `digits` of them, then `after`; moves on behind it. */
static bool wire_hex(const char **at, unsigned digits, char after, uint32_t *ret_value)
{
	uint32_t value = 0;

	for (; digits; digits--, (*at)++) {
		int digit = wire_hex_digit(**at);

		if (digit < 0)
			return false;
		value = value << 4 | (uint32_t)digit;
	}
	if (**at != after)
		return false;
	*at += after ? 1 : 0;
	*ret_value = value;
	return true;
}

int wire_rid_parse(const char *text, struct rid *ret_rid)
{
	uint32_t segment = 0, bus, device, function;
	const char *at = text;

	if (!wire_hex(&at, 4, ':', &segment)) {
		at = text;
		segment = 0;
	}
	if (!wire_hex(&at, 2, ':', &bus) || !wire_hex(&at, 2, '.', &device) ||
		!wire_hex(&at, 1, '\0', &function))
		return STATUS_INVALID;
	if (device > 0x1f || function > 7)
		return STATUS_INVALID;
	ret_rid->v = segment << 16 | bus << 8 | device << 3 | function;
	return 0;
}
