/* SPDX-License-Identifier: MIT */
/* Only in a build with -DPASIDD_MUTANT=ANY: $PASIDD_MUTANT is the number of the rule that this
   process breaks (base.h). */
#include "base.h"

#include <stdlib.h>

int mutant_broken = MUTANT_NONE;

static void __attribute__((constructor)) mutant_choose(void)
{
	const char *number = getenv("PASIDD_MUTANT");

	if (number)
		mutant_broken = (int)strtol(number, NULL, 10);
}
