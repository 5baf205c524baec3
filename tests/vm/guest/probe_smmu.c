/* SPDX-License-Identifier: MIT */
/* As probe.c, with what there is to do on an SMMUv3. */
#include "agent.h"

int main(void)
{
	int r = kernel_init();

	if (r < 0) {
		agent_fail(-r);
		return 1;
	}
	agent_run(kernel_commands, smmu_commands);
	return 0;
}
