/* SPDX-License-Identifier: MIT */
/* What the fake server says of page tables that were bound. Of a replacement on device 0 it tells
 * nothing. */
#ifndef PASIDD_TEST_FAKE_BIND_H
#define PASIDD_TEST_FAKE_BIND_H

#include "pasid.pb-c.h"

struct fake_bind {
	Pasid__V1__BindResult result;
	Pasid__V1__AttachedTable tables[32], *pointers[32];
};

/* The reply to bind, replace or rid_attach; it points into `room`. */
void fake_bind_fill(
	struct fake_bind *room, const Pasid__V1__Request *request, Pasid__V1__Reply *ret_reply);

#endif
