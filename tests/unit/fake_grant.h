/* SPDX-License-Identifier: MIT */
/* What the fake server says of numbers, all of which are in quarantine. */
#ifndef PASIDD_TEST_FAKE_GRANT_H
#define PASIDD_TEST_FAKE_GRANT_H

#include "pasid.pb-c.h"

/* It waits for as many participants as its number's last digit says, and there are two. */
void fake_grant_fill(Pasid__V1__GrantInfo *ret_grant, uint32_t number);

#endif
