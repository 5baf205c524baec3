/* SPDX-License-Identifier: MIT */
#include "script.h"

#include <string.h>

bool script_next(const uint8_t *data, size_t size, size_t *at, struct script_record *ret_record)
{
	const uint8_t *head = data + *at;
	size_t length;

	if (size < *at || size - *at < SCRIPT_HEAD)
		return false;
	length = (size_t)head[2] | (size_t)head[3] << 8;
	if (length > size - *at - SCRIPT_HEAD)
		length = size - *at - SCRIPT_HEAD;
	*ret_record = (struct script_record){
		.action = head[0] % SCRIPT_ACTIONS,
		.slot = head[1],
		.size = (uint16_t)length,
		.bytes = head + SCRIPT_HEAD,
	};
	*at += SCRIPT_HEAD + length;
	return true;
}

uint8_t script_byte(const struct script_record *record, unsigned index)
{
	return index < record->size ? record->bytes[index] : 0;
}

size_t script_datagram_at(const struct script_record *record)
{
	size_t front = 1 + 2 * (size_t)((script_byte(record, 0) & 0x7f) % (SCRIPT_FDS_MAX + 1));

	return front < record->size ? front : record->size;
}

size_t script_append(
	uint8_t *data, size_t size, size_t max_size, const struct script_record *record)
{
	if (max_size < size || max_size - size < SCRIPT_HEAD + (size_t)record->size)
		return size;
	data[size++] = record->action;
	data[size++] = record->slot;
	data[size++] = (uint8_t)record->size;
	data[size++] = (uint8_t)(record->size >> 8);
	if (record->size)
		memcpy(data + size, record->bytes, record->size);
	return size + record->size;
}
