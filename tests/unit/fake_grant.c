/* SPDX-License-Identifier: MIT */
#include "fake_grant.h"

void fake_grant_fill(Pasid__V1__GrantInfo *ret_grant, uint32_t number)
{
	static char *reasons[] = {(char *)"cooling", (char *)"undrained"};
	static Pasid__V1__Participant parties[2], *pointers[] = {&parties[0], &parties[1]};
	pasid__v1__grant_info__init(ret_grant);
	ret_grant->host_pasid = number;
	ret_grant->state = PASID__V1__GRANT_STATE__GRANT_QUARANTINED;
	ret_grant->n_quarantine = 2;
	ret_grant->quarantine = reasons;
	ret_grant->set_name = (char *)"vm1";
	ret_grant->n_awaited = number % 10 < 3 ? number % 10 : 0;
	ret_grant->awaited = pointers;
	for (uint32_t i = 0; i < 2; i++) {
		pasid__v1__participant__init(&parties[i]);
		parties[i].session = 70 + i;
		parties[i].uid = 1000 + i;
		parties[i].pid = 4711 * i;
	}
}
