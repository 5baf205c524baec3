/* SPDX-License-Identifier: MIT */
/* Who is at the other end of a connection, and who sent a datagram. */
#include "peer.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_un address;
static int listen_fd;
static const struct policy policy;

static void setup(void)
{
	/* A name that no file has: it goes with the socket. */
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	(void)snprintf(
		address.sun_path + 1, sizeof(address.sun_path) - 1, "pasidd-peer-%d", getpid());
	listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(listen_fd, 0);
	ck_assert_int_eq(bind(listen_fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listen_fd, SOMAXCONN), 0);
}

static void teardown(void)
{
	close(listen_fd);
}

START_TEST(a_peer_is_who_connected)
	{
		struct dispatch_peer peer;
		gid_t groups[POLICY_GROUPS_MAX];
		int ends[2], pidfd = -1;
		int count = getgroups(POLICY_GROUPS_MAX - 1, groups);

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
		ck_assert_int_eq(peer_identify(ends[0], &policy, &peer, &pidfd), 0);
		ck_assert_int_eq(peer.pid, getpid());
		ck_assert_uint_eq(peer.who.uid, getuid());
		ck_assert_uint_eq(peer.who.group_count, (uint32_t)count + 1);
		ck_assert_uint_eq(peer.who.groups[0], getgid());
		for (int i = 0; i < count; i++)
			ck_assert_uint_eq(peer.who.groups[i + 1], groups[i]);
		struct pollfd death = {.fd = pidfd, .events = POLLIN};
		ck_assert_int_eq(poll(&death, 1, 0), 0);
		ck_assert_int_ne(fcntl(pidfd, F_GETFD) & FD_CLOEXEC, 0);
		close(pidfd);
		close(ends[0]);
		close(ends[1]);
	}
END_TEST

/* A child that connects and waits; its connection is accepted into *ret_fd. The child asserts
   nothing: killed in the middle of that it would leave Check half a message. */
static pid_t connected_child(int *ret_fd)
{
	struct pollfd ready = {.fd = listen_fd, .events = POLLIN};
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)connect(socket(AF_UNIX, SOCK_SEQPACKET, 0), (const struct sockaddr *)&address,
			sizeof(address));
		(void)pause();
		_exit(0);
	}
	ck_assert_int_eq(poll(&ready, 1, 5000), 1);
	*ret_fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(*ret_fd, 0);
	return pid;
}

static void end_child(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* Control data as a kernel without SCM_PIDFD gives it. */
struct credentials {
	struct msghdr header;
	_Alignas(struct cmsghdr) uint8_t control[PEER_CONTROL_SIZE];
};

static struct msghdr *credentials_of(struct credentials *c, pid_t pid, uid_t uid)
{
	const struct ucred cred = {.pid = pid, .uid = uid, .gid = getgid()};
	struct cmsghdr *message = (struct cmsghdr *)(void *)c->control;

	*c = (struct credentials){
		.header = {.msg_control = c->control, .msg_controllen = CMSG_SPACE(sizeof(cred))}};
	message->cmsg_level = SOL_SOCKET;
	message->cmsg_type = SCM_CREDENTIALS;
	message->cmsg_len = CMSG_LEN(sizeof(cred));
	memcpy(CMSG_DATA(message), &cred, sizeof(cred));
	return &c->header;
}

/* The first of them are known, the others lend nothing; there may be 65536. */
START_TEST(who_is_in_very_many_groups_is_in_the_first_of_them)
	{
		const uint32_t many[] = {
			5000 + POLICY_GROUPS_MAX - 2, 5000 + POLICY_GROUPS_MAX - 1};
		const struct policy last_kept = {.vmms = {.gids = &many[0], .gid_count = 1}};
		const struct policy first_lost = {.vmms = {.gids = &many[1], .gid_count = 1}};
		gid_t groups[1000];
		struct dispatch_peer peer;
		int ends[2], pidfd = -1;

		for (unsigned i = 0; i < ARRAY_SIZE(groups); i++)
			groups[i] = 5000 + i;
		if (setgroups(ARRAY_SIZE(groups), groups) < 0) {
			(void)printf("SKIP: only root is in whatever groups it likes\n");
			return;
		}
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
		ck_assert_int_eq(peer_identify(ends[0], &policy, &peer, &pidfd), 0);
		ck_assert_uint_eq(peer.who.group_count, POLICY_GROUPS_MAX);
		ck_assert_uint_eq(peer.who.groups[0], getgid());
		for (uint32_t i = 1; i < POLICY_GROUPS_MAX; i++)
			ck_assert_uint_eq(peer.who.groups[i], 4999 + i);
		ck_assert(policy_allows_role(&last_kept, &peer.who, ROLE_VMM));
		ck_assert(!policy_allows_role(&first_lost, &peer.who, ROLE_VMM));
		close(pidfd);
		close(ends[0]);
		close(ends[1]);
	}
END_TEST

START_TEST(older_kernels_know_the_sender_by_its_number)
	{
		struct credentials c;
		struct dispatch_peer peer;
		int fd, pidfd = -1;
		pid_t pid = connected_child(&fd);

		ck_assert_int_eq(peer_identify_sender(
					 credentials_of(&c, pid, getuid()), &policy, &peer, &pidfd),
			0);
		ck_assert_int_eq(peer.pid, pid);
		ck_assert_uint_eq(peer.who.groups[0], getgid());
		end_child(pid);
		struct pollfd death = {.fd = pidfd, .events = POLLIN};
		ck_assert_int_eq(poll(&death, 1, 5000), 1);
		close(pidfd);
		close(fd);
		ck_assert_int_eq(peer_identify_sender(
					 credentials_of(&c, pid, getuid()), &policy, &peer, &pidfd),
			-ESRCH);
		ck_assert_int_eq(peer_identify_sender(credentials_of(&c, getpid(), getuid() + 1),
					 &policy, &peer, &pidfd),
			-EPERM);
		/* a process that is not seen from here */
		ck_assert_int_eq(peer_identify_sender(
					 credentials_of(&c, 0, getuid()), &policy, &peer, &pidfd),
			-ESRCH);
		c.header.msg_controllen = 0;
		ck_assert_int_eq(peer_identify_sender(&c.header, &policy, &peer, &pidfd), -ENODATA);
	}
END_TEST

/* What a child of ours sends says that it is the child's, though the pair is ours. */
START_TEST(the_sender_is_known_and_not_who_made_the_pair)
	{
		struct credentials c = {0};
		struct iovec data = {.iov_base = (char[8]){0}, .iov_len = 8};
		struct dispatch_peer peer;
		int ends[2], pidfd = -1;
		pid_t pid;

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
		ck_assert_int_eq(peer_ask(ends[0], true), 0);
		pid = fork();
		if (pid == 0) {
			(void)send(ends[1], "x", 1, 0);
			(void)pause();
			_exit(0);
		}
		c.header = (struct msghdr){.msg_iov = &data,
			.msg_iovlen = 1,
			.msg_control = c.control,
			.msg_controllen = sizeof(c.control)};
		ck_assert_int_eq(recvmsg(ends[0], &c.header, MSG_CMSG_CLOEXEC), 1);
		ck_assert_int_eq(c.header.msg_flags & MSG_CTRUNC, 0);
		ck_assert_int_eq(peer_identify_sender(&c.header, &policy, &peer, &pidfd), 0);
		ck_assert_int_eq(peer.pid, pid);
		ck_assert_int_ne(fcntl(pidfd, F_GETFD) & FD_CLOEXEC, 0);
		ck_assert_uint_eq(peer.who.group_count, (uint32_t)getgroups(0, NULL) + 1);
		end_child(pid);
		struct pollfd death = {.fd = pidfd, .events = POLLIN};
		ck_assert_int_eq(poll(&death, 1, 5000), 1);
		close(pidfd);
		close(ends[0]);
		close(ends[1]);
	}
END_TEST

/* Says that it comes from this process with that user, as who is root in a container may. */
static int claim(int socket, pid_t pid, uid_t uid)
{
	struct credentials c;
	struct msghdr *header = credentials_of(&c, pid, uid);
	struct iovec data = {.iov_base = (char[1]){0}, .iov_len = 1};

	header->msg_iov = &data;
	header->msg_iovlen = 1;
	return sendmsg(socket, header, 0) == 1 ? 0 : -errno;
}

/* How many rules of that policy, and groups, the next sender has. */
static void check_claim(int socket, const struct policy *all, uint64_t cgroups, uint32_t groups)
{
	struct credentials c = {0};
	struct iovec data = {.iov_base = (char[8]){0}, .iov_len = 8};
	struct dispatch_peer peer;
	int pidfd = -1;

	c.header = (struct msghdr){.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = c.control,
		.msg_controllen = sizeof(c.control)};
	ck_assert_int_eq(recvmsg(socket, &c.header, MSG_CMSG_CLOEXEC), 1);
	ck_assert_int_eq(peer_identify_sender(&c.header, all, &peer, &pidfd), 0);
	close(pidfd);
	ck_assert_uint_eq(peer.who.cgroups, cgroups);
	ck_assert_uint_eq(peer.who.group_count, groups);
}

START_TEST(a_process_that_is_another_users_lends_nothing)
	{
		const char *rules[] = {"/"};
		const struct policy all = {.cgroups = rules, .cgroup_count = 1};
		int ends[2];

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
		ck_assert_int_eq(peer_ask(ends[0], true), 0);
		ck_assert_int_eq(claim(ends[1], getpid(), getuid()), 0);
		check_claim(ends[0], &all, peer_cgroups(getpid(), &all),
			(uint32_t)getgroups(0, NULL) + 1);
		/* without privileges the kernel does not take it */
		if (claim(ends[1], getpid(), getuid() + 1) == 0)
			check_claim(ends[0], &all, 0, 1);
		close(ends[0]);
		close(ends[1]);
	}
END_TEST

START_TEST(a_message_of_the_dead_is_nobodys)
	{
		struct credentials c = {0};
		struct iovec data = {.iov_base = (char[8]){0}, .iov_len = 8};
		struct dispatch_peer peer;
		int ends[2], pidfd = -1, before = dup(0);
		pid_t pid;

		close(before);
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
		ck_assert_int_eq(peer_ask(ends[0], true), 0);
		pid = fork();
		if (pid == 0) {
			(void)send(ends[1], "x", 1, 0);
			_exit(0);
		}
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		c.header = (struct msghdr){.msg_iov = &data,
			.msg_iovlen = 1,
			.msg_control = c.control,
			.msg_controllen = sizeof(c.control)};
		ck_assert_int_eq(recvmsg(ends[0], &c.header, MSG_CMSG_CLOEXEC), 1);
		ck_assert_int_eq(peer_identify_sender(&c.header, &policy, &peer, &pidfd), -ESRCH);
		close(ends[0]);
		close(ends[1]);
		/* nothing was left open on the way */
		ck_assert_int_eq(dup(0), before);
		close(before);
	}
END_TEST

START_TEST(a_process_matches_the_rules_about_its_cgroup)
	{
		char line[4096] = "";
		const char *rules[2] = {"/no-such.slice", NULL};
		const struct policy by_cgroup = {.cgroups = rules, .cgroup_count = 2};
		FILE *file = fopen("/proc/self/cgroup", "re");

		while (strncmp(line, "0::", 3) != 0 && fgets(line, sizeof(line), file) != NULL)
			line[strcspn(line, "\n")] = '\0';
		(void)fclose(file);
		if (strncmp(line, "0::", 3) != 0)
			return; /* version 1 only: nothing matches */
		rules[1] = line + 3;
		ck_assert_uint_eq(peer_cgroups(getpid(), &by_cgroup),
			strncmp(line + 3, "/..", 3) == 0 ? 0 : 2);
		/* what cannot be read matches nothing */
		ck_assert_uint_eq(peer_cgroups(0x7ffffff0, &by_cgroup), 0);
	}
END_TEST

START_TEST(the_pidfd_tells_of_the_peers_death)
	{
		struct dispatch_peer peer;
		int fd, pidfd = -1;
		pid_t pid = connected_child(&fd);

		ck_assert_int_eq(peer_identify(fd, &policy, &peer, &pidfd), 0);
		ck_assert_int_eq(peer.pid, pid);
		end_child(pid);
		struct pollfd death = {.fd = pidfd, .events = POLLIN};
		ck_assert_int_eq(poll(&death, 1, 5000), 1);
		close(pidfd);
		close(fd);
	}
END_TEST

START_TEST(a_dead_peer_is_never_taken_for_a_living_one)
	{
		struct dispatch_peer peer;
		int fd, pidfd = -1;
		pid_t pid = connected_child(&fd);

		end_child(pid);
		int r = peer_identify(fd, &policy, &peer, &pidfd);

		/* Newer kernels give a pidfd of the dead, too. */
		if (r == 0) {
			struct pollfd death = {.fd = pidfd, .events = POLLIN};

			ck_assert_int_eq(poll(&death, 1, 0), 1);
			close(pidfd);
		} else {
			ck_assert_int_eq(r, -ESRCH);
		}
		close(fd);
	}
END_TEST

START_TEST(older_kernels_check_the_peer_again)
	{
		int fd, pidfd = -1;
		pid_t pid = connected_child(&fd);

		ck_assert_int_eq(peer_pidfd_by_number(fd, pid, getuid(), &pidfd), 0);
		struct pollfd death = {.fd = pidfd, .events = POLLIN};
		ck_assert_int_eq(poll(&death, 1, 0), 0);
		close(pidfd);
		/* The number is somebody else's now, as far as we can tell. */
		ck_assert_int_eq(peer_pidfd_by_number(fd, pid, getuid() + 1, &pidfd), -EPERM);
		ck_assert_int_eq(peer_pidfd_by_number(fd, 0, getuid(), &pidfd), -ESRCH);
		end_child(pid);
		ck_assert_int_eq(peer_pidfd_by_number(fd, pid, getuid(), &pidfd), -ESRCH);
		/* The number lives, but its process is not the one that was connected. */
		ck_assert_int_eq(peer_pidfd_by_number(fd, getpid(), getuid(), &pidfd), -ESRCH);
		close(fd);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_peer_is_who_connected,
		who_is_in_very_many_groups_is_in_the_first_of_them,
		older_kernels_know_the_sender_by_its_number,
		the_sender_is_known_and_not_who_made_the_pair,
		a_process_that_is_another_users_lends_nothing,
		a_message_of_the_dead_is_nobodys,
		a_process_matches_the_rules_about_its_cgroup,
		the_pidfd_tells_of_the_peers_death,
		a_dead_peer_is_never_taken_for_a_living_one,
		older_kernels_check_the_peer_again,
	};

	return suite_run("peer", "peers", tests, ARRAY_SIZE(tests), setup, teardown);
}
