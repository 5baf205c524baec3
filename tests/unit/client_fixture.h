/* SPDX-License-Identifier: MIT */
/* A client connected to a fake daemon, before every test; and what tests of libpasid have in
 * common. */
#ifndef TESTS_CLIENT_FIXTURE_H
#define TESTS_CLIENT_FIXTURE_H

#include <check.h>

#include "fake_server.h"
#include "libpasid.h"

extern struct fake fake;
extern struct pasid_client *client;

/* Connects `client` to the fake; setup did that already, with 5000 ms. */
void open_client(uint32_t timeout_ms);
int count_fds(void);
/* Is the client's descriptor readable? */
bool readable(void);
uint32_t allocate_one(void);

/* What the callbacks of a test saw. */
struct seen {
	int calls, events, connections;
	uint32_t kinds;
	int codes[600];
	uint64_t ids[600];
	uint64_t lost;
	int fd;
};

void on_result(struct pasid_client *c, const struct pasid_result *result, void *userdata);
void on_event(struct pasid_client *c, const struct pasid_event *event, void *userdata);
/* Dispatches until so many results were seen. */
void dispatch_until(struct seen *seen, int calls);

/* Runs the tests that `fill` adds to a case with this fixture; what main() returns. */
int run_suite(const char *name, void (*fill)(TCase *tcase));

#endif
