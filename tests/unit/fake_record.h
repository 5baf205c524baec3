/* SPDX-License-Identifier: MIT */
/* What the fake daemon was sent; a part of fake_server.h. */
#ifndef TESTS_FAKE_RECORD_H
#define TESTS_FAKE_RECORD_H

#include <pasid.pb-c.h>
#include <stdbool.h>
#include <stdint.h>

struct fake;

/* A request as it came. */
struct fake_record {
	uint64_t id, seen_below;
	uint32_t operation, datagram, requests, descriptors, connection, size;
	bool has_deadline;
	uint32_t deadline_ms;
};

/* How many requests with this operation came; 0: all but hello. */
uint32_t fake_count(struct fake *fake, uint32_t operation);
struct fake_record fake_record(struct fake *fake, uint32_t operation, uint32_t index);
/* The operation of the last datagram's first request; valid until the next datagram. */
const Pasid__V1__Request *fake_last(struct fake *fake);

#endif
