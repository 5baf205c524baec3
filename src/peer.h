/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of a connected Unix socket, and a descriptor that tells of its death.
 */
#ifndef PASIDD_PEER_H
#define PASIDD_PEER_H

#include "dispatch.h"

/*
 * The credentials that the process had when it connected, its groups (the first POLICY_GROUPS_MAX),
 * and its pidfd, which is readable once it is dead. -ESRCH: it is dead already. Another -errno: it
 * cannot be identified, and so must not be served.
 */
int peer_identify(int socket, struct dispatch_peer *ret_peer, int *ret_pidfd);

/*
 * The pidfd on kernels that do not give it with the socket (before 6.5): opened by number, then the
 * peer is checked again, as the number may have been given to another process meanwhile: the socket
 * must still be connected and the process must be of the user who connected. Part of the above.
 */
int peer_pidfd_by_number(int socket, int32_t pid, uint32_t uid, int *ret_pidfd);

#endif
