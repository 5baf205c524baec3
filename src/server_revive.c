/* SPDX-License-Identifier: MIT */
/* Clients of an earlier run: nothing is left of their connections, but their processes may live. */
#include "peer.h"
#include "server_private.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Waits, as one that has lost its socket does; with no pidfd, nobody hears of its death. */
int server_revive(void *ctx, struct session *session, int32_t pid, uint64_t born, void **ret_user)
{
	struct server *server = ctx;
	struct epoll_event death = {.events = EPOLLIN};
	struct conn *conn;
	int pidfd = -1;

	if (peer_reopen(pid, born, &pidfd) == -ESRCH)
		return -ESRCH;
	conn = server_conn_new(server, -1, pidfd);
	if (conn == NULL) {
		if (pidfd >= 0)
			close(pidfd);
		return -ENOMEM;
	}
	conn->session = session;
	death.data.ptr = conn;
	/* Where that fails, the grace period is the end of it. */
	if (pidfd >= 0)
		(void)epoll_ctl(server->deaths_fd, EPOLL_CTL_ADD, pidfd, &death);
	server_insert(server, conn, CONN_PARKED);
	*ret_user = conn;
	return 0;
}
