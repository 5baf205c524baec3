/* SPDX-License-Identifier: MIT */
/* usage: as_user USER GROUP PROGRAM [ARGUMENT]...: runs a program as that user, in that group only,
 * with as much locked memory as it likes: page tables count as such. */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
	const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	gid_t group;

	if (argc < 4)
		return 2;
	group = (gid_t)atoi(argv[2]);
	if (setrlimit(RLIMIT_MEMLOCK, &all) == 0 && setgroups(0, NULL) == 0 && setgid(group) == 0 &&
		setuid((uid_t)atoi(argv[1])) == 0)
		(void)execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 1;
}
