/* SPDX-License-Identifier: MIT */
/* pasidd in datagrams, without a library: what thousands of connections cost is the server's. */
#include "bench_server.h"

#include "wire.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
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

void bench_wire_receive(struct bench_wire *wire)
{
	static uint64_t block[WIRE_ARENA_SIZE / 8];
	struct wire_arena arena;
	const Pasid__V1__ToClient *message;
	struct error error;
	uint8_t data[DATAGRAM_MAX];
	ssize_t size = recv(wire->fd, data, sizeof(data), 0);

	if (size <= 0)
		err(1, "pasidd ended a connection");
	wire_arena_init(&arena, block, sizeof(block));
	if (wire_unpack_replies(&arena, data, (size_t)size, &message, &error) != 0)
		errx(1, "pasidd: %s", error.text);
	if (message->refused != NULL)
		errx(1, "pasidd: %s", message->refused->message);
	if (message->n_replies != 1 || message->replies[0]->id != wire->id)
		errx(1, "pasidd answers something else");
	if (message->replies[0]->status != NULL)
		errx(1, "pasidd: %s", message->replies[0]->status->message);
}

void bench_wire_open(struct bench_wire *wire, const char *path)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	hello.role = PASID__V1__ROLE__ROLE_VMM;
	hello.client = (char *)"bench";
	*wire = (struct bench_wire){.fd = bench_connect(path, SOCK_SEQPACKET)};
	wire_send(wire, PASID__V1__REQUEST__OPERATION_HELLO, &hello.base);
	bench_wire_receive(wire);
}

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
