/* SPDX-License-Identifier: MIT */
/* What the fake daemon was sent. */
#include "fake_record.h"

#include <check.h>
#include <unistd.h>

#include "fake_server.h"

static bool fake_matches(const struct fake_record *record, uint32_t operation)
{
	return operation != 0 ? record->operation == operation
			      : record->operation != PASID__V1__REQUEST__OPERATION_HELLO;
}

uint32_t fake_count(struct fake *fake, uint32_t operation)
{
	uint32_t count = 0;
	pthread_mutex_lock(&fake->lock);
	for (uint32_t i = 0; i < fake->count; i++)
		count += fake_matches(&fake->records[i], operation);
	pthread_mutex_unlock(&fake->lock);
	return count;
}

struct fake_record fake_record(struct fake *fake, uint32_t operation, uint32_t index)
{
	struct fake_record found = {0};
	pthread_mutex_lock(&fake->lock);
	for (uint32_t i = 0; i < fake->count; i++) {
		if (fake_matches(&fake->records[i], operation) && index-- == 0) {
			found = fake->records[i];
			break;
		}
	}
	pthread_mutex_unlock(&fake->lock);
	ck_assert_uint_ne(found.id, 0);
	return found;
}

const Pasid__V1__Request *fake_last(struct fake *fake)
{
	/* The reply goes out before the thread has filed the request. */
	for (int i = 0; i < 1000; i++) {
		pthread_mutex_lock(&fake->lock);
		bool filed = fake->last != NULL &&
			     fake->last->requests[fake->last->n_requests - 1]->id ==
				     fake->records[fake->count - 1].id;
		pthread_mutex_unlock(&fake->lock);
		if (filed)
			break;
		usleep(1000);
	}
	return fake->last->requests[0];
}
