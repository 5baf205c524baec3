/* SPDX-License-Identifier: MIT */
#include "fake_server.h"

#include "fake_bind.h"
#include "fake_grant.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base.h"

static uint8_t fake_token[16] = "0123456789abcde";

/* ------------------------------------------------------------ sending */

static void fake_send(int fd, const Pasid__V1__ToClient *message, const int *fds, uint32_t count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 2)];
	} control = {0};
	static _Thread_local uint8_t data[65536];
	size_t size = protobuf_c_message_get_packed_size(&message->base);
	ck_assert_uint_le(size, sizeof(data));
	protobuf_c_message_pack(&message->base, data);
	struct iovec iov = {data, size};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	if (count > 0) {
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
	}
	(void)sendmsg(fd, &header, MSG_NOSIGNAL);
}

static void fake_events(struct fake *fake, Pasid__V1__ToClient *message)
{
	static _Thread_local Pasid__V1__Event events[512], *pointers[512];
	int count = atomic_exchange(&fake->events, 0);
	for (int i = 0; i < count; i++) {
		pasid__v1__event__init(&events[i]);
		events[i].sequence = (uint64_t)i + 1;
		events[i].kind = PASID__V1__EVENT_KIND__EVENT_GRANT_ALLOCATED;
		events[i].host_pasid = 100 + (uint32_t)i;
		events[i].guest_case = PASID__V1__EVENT__GUEST_GUEST_PASID;
		events[i].guest_pasid = 7;
		pointers[i] = &events[i];
	}
	message->n_events = (size_t)count;
	message->events = pointers;
}

static void fake_reply(struct fake *fake, int fd, Pasid__V1__Reply *reply, int opened)
{
	Pasid__V1__ToClient message = PASID__V1__TO_CLIENT__INIT;
	Pasid__V1__Reply *replies[] = {reply};
	int fds[2] = {opened, -1};
	uint32_t count = opened >= 0 ? 1 : 0;
	reply->descriptors = count;
	if (fake->extra_fd)
		fds[count++] = fake->control[0];
	message.n_replies = 1;
	message.replies = replies;
	fake_events(fake, &message);
	fake_send(fd, &message, fds, count);
}

static void fake_status(
	struct fake *fake, int fd, uint64_t id, Pasid__V1__Code code, const char *reason)
{
	Pasid__V1__Reply reply = PASID__V1__REPLY__INIT;
	Pasid__V1__Status status = PASID__V1__STATUS__INIT;
	Pasid__V1__Limit limit = PASID__V1__LIMIT__INIT;
	limit.limit = 16;
	limit.used = 15;
	status.code = code;
	status.reason = (char *)reason;
	status.message = (char *)"limit 16, used 15: free some, or have the quota raised";
	status.object = 9;
	if (code == PASID__V1__CODE__QUOTA) {
		status.limits_case = PASID__V1__STATUS__LIMITS_LIMIT;
		status.limit = &limit;
	}
	reply.id = id;
	reply.status = &status;
	fake_reply(fake, fd, &reply, -1);
}

/* A result has the number of its operation. */
static Pasid__V1__Reply fake_begin(const Pasid__V1__Request *request)
{
	Pasid__V1__Reply reply = PASID__V1__REPLY__INIT;
	reply.id = request->id;
	reply.result_case = (Pasid__V1__Reply__ResultCase)request->operation_case;
	return reply;
}

/* ------------------------------------------------------------ hello */

static void fake_hello(struct fake *fake, int fd, const Pasid__V1__Request *request)
{
	Pasid__V1__Reply reply = fake_begin(request);
	Pasid__V1__HelloResult hello = PASID__V1__HELLO_RESULT__INIT;
	char *features[] = {(char *)"one", (char *)"two"};
	uint8_t instance[16] = "instance-of-fake";
	if (fake->mute)
		return;
	if (fake->deny) {
		fake_status(fake, fd, request->id, PASID__V1__CODE__DENIED, "role-not-allowed");
		return;
	}
	bool resume = request->hello->resume_case == PASID__V1__HELLO__RESUME_RESUME_TOKEN;
	if (resume && (fake->forget || request->hello->resume_token.len != sizeof(fake_token) ||
			      memcmp(request->hello->resume_token.data, fake_token, 16) != 0)) {
		fake_status(
			fake, fd, request->id, PASID__V1__CODE__NOT_FOUND, "resume-token-unknown");
		return;
	}
	reply.hello = &hello;
	hello.version = 1;
	hello.n_features = 2;
	hello.features = features;
	hello.instance = (ProtobufCBinaryData){16, instance};
	hello.session = 77;
	hello.resume_token = (ProtobufCBinaryData){sizeof(fake_token), fake_token};
	hello.resumed = resume;
	hello.role = request->hello->role;
	hello.window = fake->window;
	hello.datagram_limit = fake->datagram_limit;
	hello.request_limit = fake->request_limit;
	hello.grace_ms = fake->grace_ms;
	fake_reply(fake, fd, &reply, -1);
}

/* ------------------------------------------------------------ results */

static Pasid__V1__SetInfo fake_set(void)
{
	static Pasid__V1__Counter pasids;
	Pasid__V1__SetInfo set = PASID__V1__SET_INFO__INIT;
	pasid__v1__counter__init(&pasids);
	pasids.limit = 16;
	pasids.current = 3;
	set.id = 9;
	set.name = (char *)"vm1";
	set.mode = PASID__V1__SET_MODE__SET_MODE_TRANSLATED;
	set.pasids = &pasids;
	return set;
}

static Pasid__V1__DeviceInfo fake_device(void)
{
	static char *capabilities[] = {(char *)"nesting", (char *)"first-stage"};
	static uint64_t registers[] = {0x11, 0x22};
	Pasid__V1__DeviceInfo device = PASID__V1__DEVICE_INFO__INIT;
	device.id = 5;
	device.kind = PASID__V1__DEVICE_KIND__DEVICE_EXCLUSIVE;
	device.address = (char *)"0000:00:01.0";
	device.pasid_width = 20;
	device.n_capabilities = 2;
	device.capabilities = capabilities;
	device.n_registers = 2;
	device.registers = registers;
	return device;
}

static void fake_answer_allocate(struct fake *fake, int fd, const Pasid__V1__Request *request)
{
	Pasid__V1__Reply reply = fake_begin(request);
	Pasid__V1__AllocateResult result = PASID__V1__ALLOCATE_RESULT__INIT;
	Pasid__V1__PasidRun runs[2] = {PASID__V1__PASID_RUN__INIT, PASID__V1__PASID_RUN__INIT};
	Pasid__V1__PasidRun *pointers[] = {&runs[0], &runs[1]};
	uint32_t count = request->allocate->count ? request->allocate->count : 1;
	runs[0].first = 1024;
	runs[0].count = count > 1 ? count - 1 : 1;
	runs[1].first = 5000;
	runs[1].count = 1;
	result.n_runs = count > 1 ? 2 : 1;
	result.runs = pointers;
	reply.allocate = &result;
	fake_reply(fake, fd, &reply, -1);
}

/* Two entries a page, five in all. */
static void fake_answer_grants(struct fake *fake, int fd, const Pasid__V1__Request *request)
{
	Pasid__V1__Reply reply = fake_begin(request);
	Pasid__V1__GrantListResult result = PASID__V1__GRANT_LIST_RESULT__INIT;
	Pasid__V1__GrantInfo grants[2], *pointers[] = {&grants[0], &grants[1]};
	uint64_t after = request->grant_list->after;
	while (result.n_grants < 2 && after < 5)
		fake_grant_fill(&grants[result.n_grants++], 1000 + (uint32_t)++after);
	result.grants = pointers;
	result.next = after < 5 ? after : 0;
	reply.grant_list = &result;
	fake_reply(fake, fd, &reply, -1);
}

/* One entry a page: a host's without a limit, a user's, a set's with texts beyond their room. */
static void fake_answer_limits(struct fake *fake, int fd, const Pasid__V1__Request *request)
{
	Pasid__V1__Reply reply = fake_begin(request);
	Pasid__V1__LimitListResult result = PASID__V1__LIMIT_LIST_RESULT__INIT;
	Pasid__V1__LimitInfo info = PASID__V1__LIMIT_INFO__INIT, *infos[] = {&info};
	Pasid__V1__Counter use = PASID__V1__COUNTER__INIT;
	uint64_t after = request->limit_list->after;
	info.resource = (char *)(after < 2 ? "connections"
					   : "a-resource-with-a-name-that-is-longer-than-its-room");
	info.level = (Pasid__V1__LimitLevel)(after + 1);
	info.uid = after > 0 ? 1000 : 0;
	info.set = after > 1 ? 9 : 0;
	info.set_name = (char *)(after > 1 ? "vm1" : "");
	info.key = (char *)"limits.connections.user";
	use.limit = after * 10;
	use.current = 3;
	use.peak = 4;
	use.hits = 5;
	info.use = after < 2 ? &use : NULL;
	result.limits = infos;
	result.n_limits = 1;
	result.next = after < 2 ? after + 1 : 0;
	reply.limit_list = &result;
	fake_reply(fake, fd, &reply, -1);
}

static void fake_answer_bind(struct fake *fake, int fd, const Pasid__V1__Request *request)
{
	Pasid__V1__Reply reply = fake_begin(request);
	struct fake_bind room;
	fake_bind_fill(&room, request, &reply);
	fake_reply(fake, fd, &reply, -1);
}

static void fake_answer_device(struct fake *fake, int fd, const Pasid__V1__Request *request)
{
	Pasid__V1__Reply reply = fake_begin(request);
	Pasid__V1__DeviceInfo device = fake_device();
	int opened = -1;
	reply.device_add = &device;
	if (request->operation_case == PASID__V1__REQUEST__OPERATION_DEVICE_ADD &&
		request->device_add->open_case == PASID__V1__DEVICE_ADD__OPEN_ADDRESS)
		opened = fake->control[0];
	fake_reply(fake, fd, &reply, opened);
}

static void fake_answer_plain(struct fake *fake, int fd, const Pasid__V1__Request *request)
{
	Pasid__V1__Reply reply = fake_begin(request);
	Pasid__V1__SetInfo set = fake_set();
	Pasid__V1__GrantInfo grant;
	Pasid__V1__PingResult ping = PASID__V1__PING_RESULT__INIT;
	Pasid__V1__WatchResult watch = PASID__V1__WATCH_RESULT__INIT;
	Pasid__V1__FreeResult freed = PASID__V1__FREE_RESULT__INIT;
	Pasid__V1__GuestFindResult found = PASID__V1__GUEST_FIND_RESULT__INIT;
	Pasid__V1__DeviceDrainedResult drained = PASID__V1__DEVICE_DRAINED_RESULT__INIT;
	Pasid__V1__RecoverResult recovered = PASID__V1__RECOVER_RESULT__INIT;
	freed.freed = 2;
	freed.unchanged = 1;
	found.host_pasid = 1234;
	drained.released = 3;
	recovered.was_blocked = true;
	switch ((int)request->operation_case) {
	case PASID__V1__REQUEST__OPERATION_PING:
		reply.ping = &ping;
		break;
	case PASID__V1__REQUEST__OPERATION_WATCH:
		reply.watch = &watch;
		break;
	case PASID__V1__REQUEST__OPERATION_SET_CREATE:
	case PASID__V1__REQUEST__OPERATION_SET_ADJUST:
	case PASID__V1__REQUEST__OPERATION_SET_GET:
	case PASID__V1__REQUEST__OPERATION_SET_CONNECT:
		reply.set_get = &set;
		break;
	case PASID__V1__REQUEST__OPERATION_FREE:
		reply.free = &freed;
		break;
	case PASID__V1__REQUEST__OPERATION_GUEST_FIND:
		reply.guest_find = &found;
		break;
	case PASID__V1__REQUEST__OPERATION_DEVICE_DRAINED:
		reply.device_drained = &drained;
		break;
	case PASID__V1__REQUEST__OPERATION_HOST_FIND:
		fake_grant_fill(&grant, request->host_find->host_pasid);
		reply.host_find = &grant;
		break;
	case PASID__V1__REQUEST__OPERATION_RECOVER:
		reply.recover = &recovered;
		break;
	default:
		reply.result_case = PASID__V1__REPLY__RESULT__NOT_SET;
	}
	bool connect = request->operation_case == PASID__V1__REQUEST__OPERATION_SET_CONNECT;
	fake_reply(fake, fd, &reply, connect ? fake->control[0] : -1);
}

static void fake_answer_map(struct fake *fake, int fd, const Pasid__V1__Request *request)
{
	Pasid__V1__Reply reply = fake_begin(request);
	Pasid__V1__SetExportResult map = PASID__V1__SET_EXPORT_RESULT__INIT;
	map.set = 9;
	map.size = fake->map_size;
	map.version = 1;
	reply.set_export = &map;
	if (fake->map == 0)
		fake_status(fake, fd, request->id, PASID__V1__CODE__NOT_FOUND, "no-set");
	else
		fake_reply(fake, fd, &reply, fake->map);
}

static void fake_answer_wrong(struct fake *fake, int fd, const Pasid__V1__Request *request)
{
	Pasid__V1__Request other = *request;
	other.operation_case = PASID__V1__REQUEST__OPERATION_SET_GET;
	fake_answer_plain(fake, fd, &other);
}

static void fake_answer(struct fake *fake, int fd, const Pasid__V1__Request *request)
{
	switch ((int)request->operation_case) {
	case PASID__V1__REQUEST__OPERATION_HELLO:
		fake_hello(fake, fd, request);
		break;
	case PASID__V1__REQUEST__OPERATION_ALLOCATE:
		if (fake->quota)
			fake_status(fake, fd, request->id, PASID__V1__CODE__QUOTA, "set-quota");
		else if (fake->wrong)
			fake_answer_wrong(fake, fd, request);
		else
			fake_answer_allocate(fake, fd, request);
		break;
	case PASID__V1__REQUEST__OPERATION_GRANT_LIST:
		fake_answer_grants(fake, fd, request);
		break;
	case PASID__V1__REQUEST__OPERATION_LIMIT_LIST:
		fake_answer_limits(fake, fd, request);
		break;
	case PASID__V1__REQUEST__OPERATION_SET_EXPORT:
		fake_answer_map(fake, fd, request);
		break;
	case PASID__V1__REQUEST__OPERATION_BIND:
	case PASID__V1__REQUEST__OPERATION_REPLACE:
	case PASID__V1__REQUEST__OPERATION_RID_ATTACH:
		fake_answer_bind(fake, fd, request);
		break;
	case PASID__V1__REQUEST__OPERATION_DEVICE_ADD:
	case PASID__V1__REQUEST__OPERATION_DEVICE_SHARE:
	case PASID__V1__REQUEST__OPERATION_DEVICE_SLICE:
		fake_answer_device(fake, fd, request);
		break;
	default:
		fake_answer_plain(fake, fd, request);
	}
}

/* ------------------------------------------------------------ receiving */

static void fake_remember(struct fake *fake, const Pasid__V1__ToServer *message,
	const Pasid__V1__Request *request, size_t size)
{
	pthread_mutex_lock(&fake->lock);
	ck_assert_uint_lt(fake->count, FAKE_RECORDS);
	fake->records[fake->count++] = (struct fake_record){
		.id = request->id,
		.seen_below = message->seen_below,
		.operation = request->operation_case,
		.datagram = fake->datagrams,
		.requests = (uint32_t)message->n_requests,
		.descriptors = request->descriptors,
		.connection = fake->connections,
		.size = (uint32_t)size,
		.has_deadline = request->deadline_case == PASID__V1__REQUEST__DEADLINE_DEADLINE_MS,
		.deadline_ms = request->deadline_ms,
	};
	pthread_mutex_unlock(&fake->lock);
}

static bool fake_take(atomic_int *counter)
{
	int value = *counter;
	while (value > 0 && !atomic_compare_exchange_weak(counter, &value, value - 1))
		;
	return value > 0;
}

/* false: the connection is to be closed. */
static bool fake_request(struct fake *fake, int fd, const Pasid__V1__Request *request)
{
	bool hello = request->operation_case == PASID__V1__REQUEST__OPERATION_HELLO;
	while (fake->hold && !hello)
		usleep(1000);
	if (fake->silent && !hello)
		return true;
	if (fake->stopping) {
		fake_status(fake, fd, request->id, PASID__V1__CODE__RETRY, "shutting-down");
		return true;
	}
	if (!hello && fake_take(&fake->drop))
		return false;
	if (!hello && fake_take(&fake->pending)) {
		fake_status(fake, fd, request->id, PASID__V1__CODE__PENDING, "deadline-passed");
		return true;
	}
	fake_answer(fake, fd, request);
	return true;
}

static void fake_refuse(int fd)
{
	Pasid__V1__ToClient message = PASID__V1__TO_CLIENT__INIT;
	Pasid__V1__Status status = PASID__V1__STATUS__INIT;
	status.code = PASID__V1__CODE__INVALID;
	status.reason = (char *)"malformed";
	message.refused = &status;
	fake_send(fd, &message, NULL, 0);
}

static uint32_t fake_close_fds(struct msghdr *header)
{
	uint32_t count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
		count = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (uint32_t i = 0; i < count; i++)
			close(((int *)(void *)CMSG_DATA(c))[i]);
	}
	return count;
}

static bool fake_datagram(struct fake *fake, int fd)
{
	static _Thread_local uint8_t data[65537];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 4)];
	} control;
	struct iovec iov = {data, sizeof(data)};
	struct msghdr header = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t size = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
	if (size <= 0)
		return false;
	fake->last_fds = fake_close_fds(&header);
	fake->datagrams++;
	Pasid__V1__ToServer *message = pasid__v1__to_server__unpack(NULL, (size_t)size, data);
	ck_assert_ptr_nonnull(message);
	for (size_t i = 0; i < message->n_requests; i++)
		fake_remember(fake, message, message->requests[i], (size_t)size);
	bool open = true;
	if (atomic_exchange(&fake->refuse, false)) {
		fake_refuse(fd);
		pasid__v1__to_server__free_unpacked(message, NULL);
		return true;
	}
	for (size_t i = 0; i < message->n_requests && open; i++)
		open = fake_request(fake, fd, message->requests[i]);
	pthread_mutex_lock(&fake->lock);
	if (fake->last != NULL)
		pasid__v1__to_server__free_unpacked(fake->last, NULL);
	fake->last = message;
	pthread_mutex_unlock(&fake->lock);
	return open;
}

static void *fake_run(void *context)
{
	struct fake *fake = context;
	char command;
	int connection = fake->served;
	for (;;) {
		struct pollfd fds[] = {
			{.fd = fake->control[1], .events = POLLIN},
			{.fd = fake->listener, .events = POLLIN},
			{.fd = connection, .events = POLLIN},
		};
		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[0].revents)
			break;
		if (fds[2].revents && !fake_datagram(fake, connection)) {
			close(connection);
			connection = -1;
		} else if (fds[1].revents && connection < 0) {
			connection = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
			fake->connections++;
		}
		if (fds[1].revents && connection >= 0)
			usleep(500); /* the next connection waits until this one is gone */
	}
	ck_assert_int_ge(read(fake->control[1], &command, 1), 0);
	if (connection >= 0)
		close(connection);
	return NULL;
}

/* ------------------------------------------------------------ for the tests */

static void fake_place(struct fake *fake)
{
	snprintf(fake->dir, sizeof(fake->dir), "/tmp/test_libpasid.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(fake->dir));
	snprintf(fake->path, sizeof(fake->path), "%s/socket", fake->dir);
}

static void fake_listen(struct fake *fake)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", fake->path);
	fake->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fake->listener, 0);
	ck_assert_int_eq(bind(fake->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fake->listener, 8), 0);
}

void fake_start(struct fake *fake, bool pair)
{
	int ends[2];
	memset(fake, 0, sizeof(*fake));
	pthread_mutex_init(&fake->lock, NULL);
	fake->listener = fake->peer = fake->served = -1;
	fake->window = 256;
	fake->datagram_limit = 65536;
	fake->request_limit = 256;
	fake->grace_ms = 1000;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fake->control), 0);
	if (pair) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
		fake->peer = ends[0];
		fake->served = ends[1];
	} else {
		fake_place(fake);
		fake_listen(fake);
	}
	ck_assert_int_eq(pthread_create(&fake->thread, NULL, fake_run, fake), 0);
}

static void fake_end(struct fake *fake)
{
	fake->hold = false;
	ck_assert_int_eq(write(fake->control[0], "x", 1), 1);
	pthread_join(fake->thread, NULL);
}

void fake_leave(struct fake *fake)
{
	fake_end(fake);
	close(fake->listener);
	ck_assert_int_eq(unlink(fake->path), 0);
	fake->listener = -1;
}

void fake_return(struct fake *fake)
{
	fake_listen(fake);
	ck_assert_int_eq(pthread_create(&fake->thread, NULL, fake_run, fake), 0);
}

void fake_stop(struct fake *fake)
{
	fake_end(fake);
	close(fake->control[0]);
	close(fake->control[1]);
	if (fake->listener >= 0) {
		close(fake->listener);
		unlink(fake->path);
		rmdir(fake->dir);
	}
	if (fake->last != NULL)
		pasid__v1__to_server__free_unpacked(fake->last, NULL);
	pthread_mutex_destroy(&fake->lock);
}
