/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of a connected Unix socket, and a descriptor that tells of its death.
 */
#ifndef PASIDD_PEER_H
#define PASIDD_PEER_H

#include "dispatch.h"

#include <sys/socket.h>

/*
 * The credentials that the process had when it connected, its groups (the first POLICY_GROUPS_MAX),
 * the rules of the policy that its cgroup matches, and its pidfd, which is readable once it is
 * dead. -ESRCH: it is dead already. Another -errno: it cannot be identified, and so must not be
 * served.
 */
int peer_identify(
	int socket, const struct policy *policy, struct dispatch_peer *ret_peer, int *ret_pidfd);

/*
 * The pidfd on kernels that do not give it with the socket (before 6.5): opened by number, then the
 * peer is checked again, as the number may have been given to another process meanwhile: the socket
 * must still be connected and the process must be of the user who connected. Part of the above.
 */
int peer_pidfd_by_number(int socket, int32_t pid, uint32_t uid, int *ret_pidfd);

/* ---------------------------------------------------------------- the same process later */

/*
 * A number that no other process has while the host is up: from pidfs (Linux 6.9) its inode, else
 * the time at which it began. 0: neither can be known.
 */
uint64_t peer_born(int pidfd, int32_t pid);
/*
 * The pidfd of a process that was known by its number and peer_born(). Where the latter is unknown,
 * whoever has the number counts. -ESRCH: it is dead. Another -errno: nobody knows.
 */
int peer_reopen(int32_t pid, uint64_t born, int *ret_pidfd);

/* ---------------------------------------------------------------- who sent a datagram */

/* Room in a datagram's control data for what peer_ask() asks for. */
#define PEER_CONTROL_SIZE (CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int)))

/*
 * Has what is sent to this Unix socket come with the credentials of its sender: with
 * SCM_CREDENTIALS and, from Linux 6.5 on, SCM_PIDFD. They are there from the first datagram on when
 * it is asked for before the other end is given away. -errno.
 */
int peer_ask(int socket, bool on);
/*
 * Who sent the datagram, as peer_identify() says who connected: the kernel vouches for user,
 * primary group and process; other groups are those that the process has now. Takes the pidfd out
 * of the control data. -ENODATA: no credentials came. -ESRCH: the process is gone, or is not seen
 * from here.
 */
int peer_identify_sender(struct msghdr *header, const struct policy *policy,
	struct dispatch_peer *ret_peer, int *ret_pidfd);
/* Closes what came for that purpose. */
void peer_discard_sender(struct msghdr *header);

/* ---------------------------------------------------------------- what a process is now
 * (peer_process.c); the caller makes sure that the number is still its own */

/* When it began, in ticks since the host did; 0: that cannot be read. */
uint64_t peer_start_time(int32_t pid);
/* The rules that its cgroup matches; none when that cannot be read. */
uint64_t peer_cgroups(int32_t pid, const struct policy *policy);
/*
 * Appends its supplementary groups. -ESRCH when its status cannot be read, -EPERM when the user is
 * none of its real, effective and saved ones.
 */
int peer_status(int32_t pid, struct policy_peer *who);

#endif
