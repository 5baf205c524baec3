/* SPDX-License-Identifier: MIT */
/*
 * What a process of ours needs no more, it gives up for itself and for whoever it starts: system
 * calls (seccomp), files (Landlock, where the kernel has it). Both are on top of what the service's
 * unit says, which knows neither numbers of ioctls nor what a worker can do without.
 *
 * A call that is refused answers EPERM, and the kernel logs it (audit, type=1326). It kills nobody:
 * what a library may do some day must not cost a VM its devices, and who has taken a process over
 * gains nothing by being told no. With PASIDD_REFUSED_CALL=kill in the environment it does kill:
 * tests learn so of calls that nobody thought of.
 */
#ifndef PASIDD_HW_CONFINE_H
#define PASIDD_HW_CONFINE_H

#include "../base.h"

/* What came of it, for the log. */
struct confinement {
	int calls;      /* 0, or -errno: calls are as free as before */
	int files;      /* the version of Landlock (from 1 on), or -errno: files are */
	char text[160]; /* both, as a sentence */
};

/*
 * For a worker or janitor, once it has begun: the requests of iommufd and VFIO by their numbers,
 * its socket, memory, looking at files. Of files it can open those of /dev/iommu and /dev/vfio, and
 * read sysfs; with `simulated`, which makes it the kernel too, all that its user can. Never fails:
 * what the kernel does not have is said.
 */
void confine_worker(bool simulated, struct confinement *ret_confinement);

#define CONFINE_FOLDERS_MAX 8

/*
 * For the daemon, when it has started: no ioctl at all, no new program, no sockets but Unix ones.
 * It reads what says who a peer is and what devices there are, and the folder of `settings` (NULL:
 * /etc is enough); it writes in `folders` (NULL: skipped) only. It cannot compare open files of its
 * workers any more where files are confined: the spawner does that.
 */
void confine_daemon(const char *const folders[static CONFINE_FOLDERS_MAX], const char *settings,
	struct confinement *ret_confinement);

/* A build with sanitizers or counters, which need more than a program of ours. */
#if defined(__SANITIZE_ADDRESS__) || defined(PASIDD_COVERAGE_END_H)
#define CONFINE_INSTRUMENTED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONFINE_INSTRUMENTED
#endif
#endif

/* --- the parts, for tests --- */

/* 0 or -errno. */
int confine_worker_calls(bool simulated);
int confine_daemon_calls(void);
/* The version of Landlock or -errno. */
int confine_worker_files(void);
int confine_daemon_files(
	const char *const folders[static CONFINE_FOLDERS_MAX], const char *settings);

#endif
