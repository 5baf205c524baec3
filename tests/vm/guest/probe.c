/* SPDX-License-Identifier: MIT */
/* A process that drives iommufd by hand, for tests that need the kernel without pasidd. What it
 * holds goes with it when it ends. */
#include "agent.h"

int main(void)
{
	int r = kernel_init();

	if (r < 0) {
		agent_fail(-r);
		return 1;
	}
	agent_run(kernel_commands, NULL);
	return 0;
}
