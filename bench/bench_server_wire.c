/* SPDX-License-Identifier: MIT */
/* pasidd in datagrams, without a library: what thousands of connections cost is the server's. */
#include "bench_server.h"

#include "wire.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DATAGRAM_MAX 4096u

static void wire_send(struct bench_wire *wire, uint32_t operation, const ProtobufCMessage *message)
{
	const struct wire_request request = {.id = ++wire->id, .operation = operation};
	uint8_t data[DATAGRAM_MAX];
	struct wire_out out = wire_out_init(data, sizeof(data));

	wire_out_request(&out, &request, message);
	wire_out_uint(&out, WIRE_TO_SERVER_SEEN_BELOW, wire->id);
	if (out.full || send(wire->fd, data, out.size, MSG_NOSIGNAL) < 0)
		err(1, "send");
}

/* Valid until the next one is read. */
static const Pasid__V1__ToClient *wire_receive(struct bench_wire *wire)
{
	static uint64_t block[WIRE_ARENA_SIZE / 8];
	static uint8_t data[WIRE_DATAGRAM_MAX];
	struct wire_arena arena;
	const Pasid__V1__ToClient *message;
	struct error error;
	ssize_t size = recv(wire->fd, data, sizeof(data), 0);

	if (size <= 0)
		err(1, "pasidd ended a connection");
	wire_arena_init(&arena, block, sizeof(block));
	if (wire_unpack_replies(&arena, data, (size_t)size, &message, &error) != 0)
		errx(1, "pasidd: %s", error.text);
	if (message->refused != NULL)
		errx(1, "pasidd: %s", message->refused->message);
	return message;
}

/* Valid until the next datagram is read. */
static const Pasid__V1__Reply *wire_reply(struct bench_wire *wire)
{
	const Pasid__V1__ToClient *message = wire_receive(wire);

	if (message->n_replies != 1 || message->replies[0]->id != wire->id)
		errx(1, "pasidd answers something else");
	if (message->replies[0]->status != NULL)
		errx(1, "pasidd: %s", message->replies[0]->status->message);
	return message->replies[0];
}

void bench_wire_receive(struct bench_wire *wire)
{
	(void)wire_reply(wire);
}

void bench_wire_ping(struct bench_wire *wire)
{
	const Pasid__V1__Ping ping = PASID__V1__PING__INIT;

	wire_send(wire, PASID__V1__REQUEST__OPERATION_PING, &ping.base);
	(void)wire_reply(wire);
}

/* ------------------------------------------------------------ sessions */

void bench_wire_send_hello(struct bench_wire *wire, const struct bench_session *resume)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	hello.role = PASID__V1__ROLE__ROLE_VMM;
	hello.client = (char *)"bench";
	if (resume != NULL) {
		hello.resume_case = PASID__V1__HELLO__RESUME_RESUME_TOKEN;
		hello.resume_token.data = (uint8_t *)(uintptr_t)resume->token;
		hello.resume_token.len = sizeof(resume->token);
	}
	wire_send(wire, PASID__V1__REQUEST__OPERATION_HELLO, &hello.base);
}

void bench_wire_receive_hello(struct bench_wire *wire, struct bench_session *ret_session)
{
	const Pasid__V1__Reply *reply = wire_reply(wire);
	const Pasid__V1__HelloResult *hello = reply->hello;

	if (reply->result_case != PASID__V1__REPLY__RESULT_HELLO ||
		hello->resume_token.len != sizeof(ret_session->token))
		errx(1, "pasidd answers something else than a welcome");
	ret_session->id = hello->session;
	ret_session->set = hello->set;
	ret_session->resumed = hello->resumed;
	memcpy(ret_session->token, hello->resume_token.data, sizeof(ret_session->token));
}

void bench_wire_open(struct bench_wire *wire, const char *path)
{
	struct bench_session session;

	*wire = (struct bench_wire){.fd = bench_connect(path, SOCK_SEQPACKET)};
	bench_wire_send_hello(wire, NULL);
	bench_wire_receive_hello(wire, &session);
}

/* ------------------------------------------------------------ sets and numbers */

void bench_wire_set(struct bench_wire *wire, unsigned number, uint32_t quota)
{
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
	char name[32];

	(void)snprintf(name, sizeof(name), "vm%u", number);
	create.name = name;
	create.quota_case = PASID__V1__SET_CREATE__QUOTA_PASIDS;
	create.pasids = quota;
	wire_send(wire, PASID__V1__REQUEST__OPERATION_SET_CREATE, &create.base);
	bench_wire_receive(wire);
}

void bench_wire_send_allocate(struct bench_wire *wire)
{
	const Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;

	wire_send(wire, PASID__V1__REQUEST__OPERATION_ALLOCATE, &allocate.base);
}

void bench_wire_allocate(
	struct bench_wire *wire, uint64_t data, uint32_t count, uint32_t *ret_numbers)
{
	Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
	const Pasid__V1__AllocateResult *result;
	uint32_t found = 0;

	allocate.count = count;
	allocate.data = data;
	wire_send(wire, PASID__V1__REQUEST__OPERATION_ALLOCATE, &allocate.base);
	result = wire_reply(wire)->allocate;
	for (size_t i = 0; i < result->n_runs; i++)
		for (uint32_t j = 0; j < result->runs[i]->count && found < count; j++)
			ret_numbers[found++] = result->runs[i]->first + j;
	if (found != count)
		errx(1, "pasidd grants %u numbers instead of %u", found, count);
}

uint64_t bench_wire_count(struct bench_wire *wire)
{
	const Pasid__V1__SetGet get = PASID__V1__SET_GET__INIT;

	wire_send(wire, PASID__V1__REQUEST__OPERATION_SET_GET, &get.base);
	return wire_reply(wire)->set_get->pasids->current;
}

/* One of bench_wire_find(): the number that was asked for under this id. */
static void wire_found(const Pasid__V1__Reply *reply, uint32_t number, uint64_t data)
{
	const Pasid__V1__GrantInfo *grant = reply->host_find;

	if (reply->status != NULL)
		errx(1, "pasidd: number %u: %s", number, reply->status->message);
	if (reply->result_case != PASID__V1__REPLY__RESULT_HOST_FIND ||
		grant->host_pasid != number ||
		grant->state != PASID__V1__GRANT_STATE__GRANT_ACTIVE || grant->data != data)
		errx(1, "pasidd has number %u otherwise than it was granted", number);
}

void bench_wire_find(
	struct bench_wire *wire, uint64_t data, uint32_t count, const uint32_t *numbers)
{
	static uint8_t datagram[WIRE_DATAGRAM_MAX];
	struct wire_out out = wire_out_init(datagram, sizeof(datagram));
	const uint64_t first = wire->id + 1;
	const Pasid__V1__ToClient *message;

	for (uint32_t i = 0; i < count; i++) {
		const struct wire_request request = {
			.id = ++wire->id, .operation = PASID__V1__REQUEST__OPERATION_HOST_FIND};
		Pasid__V1__HostFind find = PASID__V1__HOST_FIND__INIT;

		find.host_pasid = numbers[i];
		wire_out_request(&out, &request, &find.base);
	}
	if (out.full || send(wire->fd, datagram, out.size, MSG_NOSIGNAL) < 0)
		err(1, "send");
	for (uint32_t found = 0; found < count; found += (uint32_t)message->n_replies) {
		message = wire_receive(wire);
		for (size_t i = 0; i < message->n_replies; i++) {
			const Pasid__V1__Reply *reply = message->replies[i];

			if (reply->id - first >= count)
				errx(1, "pasidd answers something else");
			wire_found(reply, numbers[reply->id - first], data);
		}
	}
}
