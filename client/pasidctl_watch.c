/* SPDX-License-Identifier: MIT */
/*
 * watch: what changes, as it happens. It goes on with the event after the last one that was shown,
 * when the daemon was restarted and, with --state, when it was itself; what cannot be had any more
 * is said. With --state nothing is passed over unsaid: the file moves on after its reader has the
 * lines, so that a few may be shown twice.
 */
#include "pasidctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pasidctl_cursor.h"

#define WATCH_RETRY_MS     100
#define WATCH_RETRY_MAX_MS 2000
#define WATCH_OPEN_MS      5000u

struct watch {
	struct ctl *ctl;
	uint64_t left;     /* events to wait for; UINT64_MAX: no end */
	uint32_t limit_ms; /* for how long a daemon is waited for, without --state */
	uint64_t next;     /* the event to go on with; 0: from now on */
	struct cursor now, written;
	bool broken;    /* the reader of the lines is gone */
	sigset_t waits; /* signals while it waits, and only then */
};

static volatile sig_atomic_t watch_ended;

static void watch_signal(int number)
{
	(void)number;
	watch_ended = 1;
}

/* ------------------------------------------------------------ lines */

static void watch_event_line(const struct pasid_event *event)
{
	printf("%llu %s", (unsigned long long)event->sequence, pasid_event_text(event->kind));
	if (event->set != 0)
		printf(" set=id:%llu", (unsigned long long)event->set);
	if (event->host_pasid != 0)
		printf(" pasid=%u", event->host_pasid);
	if (event->has_guest)
		printf(" guest=%u", event->guest_pasid);
	if (event->device != 0)
		printf(" device=%llu", (unsigned long long)event->device);
	if (event->lost != 0)
		printf(" lost=%llu", (unsigned long long)event->lost);
	putchar('\n');
}

void ctl_show_event(const struct ctl *ctl, const struct pasid_event *event)
{
	if (ctl->json) {
		json_t *json = ctl_json_event(event);
		json_dumpf(json, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(json);
	} else {
		watch_event_line(event);
	}
	fflush(stdout);
}

/* Events are missing, and nobody knows how many. */
static void watch_gap(struct watch *watch, const char *why)
{
	if (watch->ctl->json) {
		json_t *json = json_object();
		json_object_set_new(json, "event", json_string("gap"));
		json_object_set_new(json, "reason", json_string(why));
		json_object_set_new(json, "lost", json_null());
		json_dumpf(json, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(json);
	} else {
		printf("gap reason=%s\n", why);
	}
	if (fflush(stdout) != 0)
		watch->broken = true;
}

static void watch_event(
	struct pasid_client *client, const struct pasid_event *event, void *userdata)
{
	struct watch *watch = userdata;
	(void)client;
	if (watch->left == 0 || watch->broken)
		return;
	ctl_show_event(watch->ctl, event);
	if (ferror(stdout)) {
		watch->broken = true;
		return;
	}
	if (watch->left != UINT64_MAX)
		watch->left--;
	watch->next = event->sequence + 1;
}

/* ------------------------------------------------------------ the state file */

static int watch_keep(struct watch *watch)
{
	const char *path = watch->ctl->state;
	watch->now.next = watch->next;
	watch->now.session = pasid_session_info(watch->ctl->client)->session;
	if (path == NULL || watch->broken || watch->next == 0 ||
		(watch->written.next == watch->now.next &&
			watch->written.session == watch->now.session))
		return EXIT_DONE;
	int r = cursor_write(path, &watch->now);
	if (r == 0) {
		watch->written = watch->now;
		return EXIT_DONE;
	}
	return ctl_cannot(watch->ctl, EXIT_FAILED, "cannot write %.150s: %s", path, strerror(-r));
}

static int watch_load(struct watch *watch)
{
	struct cursor cursor;
	enum cursor_fit fit;
	const char *path = watch->ctl->state;
	if (path == NULL)
		return EXIT_DONE;
	int r = cursor_read(path, &cursor, &fit);
	if (r != 0)
		return ctl_cannot(watch->ctl, EXIT_FAILED, "cannot go on from %.150s: %s", path,
			r == -EBADMSG
				? "it is no state of pasidctl watch; take it away to begin anew"
				: strerror(-r));
	watch->now.session = pasid_session_info(watch->ctl->client)->session;
	if (fit == CURSOR_GOOD)
		fit = cursor_fits(&cursor, &watch->now);
	if (fit == CURSOR_GOOD)
		watch->next = cursor.next;
	else if (fit != CURSOR_NONE)
		watch_gap(watch, cursor_text(fit));
	return EXIT_DONE;
}

/* ------------------------------------------------------------ the connection */

/* Begins, or goes on. `again`: what is still to come is a host that was booted, or lost records. */
static int watch_begin(struct watch *watch, bool again)
{
	struct ctl *ctl = watch->ctl;
	struct pasid_watch_args args = {.from = watch->next, .set = ctl->set};
	int r = pasid_watch_events(ctl->client, &args, watch_event, watch);
	if (r == PASID_INVALID && again && args.from != 0 &&
		strcmp(pasid_last_error(ctl->client)->reason, "bad-range") == 0) {
		watch_gap(watch, cursor_text(CURSOR_RECORDS));
		args.from = watch->next = 0;
		r = pasid_watch_events(ctl->client, &args, watch_event, watch);
	}
	if (r == 0 && watch->next == 0)
		watch->next = pasid_watch_next(ctl->client);
	return r;
}

/* Waits, and lets signals in. Also ends when the reader of the lines is gone. */
static void watch_wait(struct watch *watch, int fd, int timeout_ms)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};
	struct timespec limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
	(void)ppoll(fds, ARRAY_SIZE(fds), timeout_ms < 0 ? NULL : &limit, &watch->waits);
	if (fds[1].revents & (POLLERR | POLLHUP | POLLNVAL))
		watch->broken = true;
}

static int64_t watch_now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool watch_is_lost(int r)
{
	return r == -ENOTCONN || r == -ECONNRESET || r == -ENOENT || r == -ECONNREFUSED ||
	       r == -EPIPE || r == -EAGAIN || r == -ETIMEDOUT || r == PASID_RETRY;
}

/* Sessions are numbered by the records: when they begin anew, so do events. */
static void watch_know_records(struct watch *watch)
{
	uint64_t session = pasid_session_info(watch->ctl->client)->session;
	if (session <= watch->now.session) {
		watch_gap(watch, cursor_text(CURSOR_RECORDS));
		watch->next = 0;
	}
	watch->now.session = session;
}

/*
 * Opens another client and goes on there. For as long as it takes with --state; else as long as a
 * call may. An exit code.
 */
static int watch_again(struct watch *watch, int lost)
{
	struct ctl *ctl = watch->ctl;
	int64_t until = ctl->state != NULL ? INT64_MAX : watch_now_ms() + watch->limit_ms;
	int pause = WATCH_RETRY_MS, r = lost;
	ctl->timeout_ms = watch->limit_ms < WATCH_OPEN_MS ? watch->limit_ms : WATCH_OPEN_MS;
	struct pasid_error error = *pasid_last_error(ctl->client);
	fprintf(stderr, "pasidctl: the connection to pasidd was lost; goes on when it is back\n");
	while (watch_is_lost(r) && !watch_ended && !watch->broken) {
		if (watch_now_ms() >= until) {
			ctl_print_error(ctl, &error);
			return ctl_exit_code(r);
		}
		watch_wait(watch, -1, pause);
		pause = pause * 2 < WATCH_RETRY_MAX_MS ? pause * 2 : WATCH_RETRY_MAX_MS;
		pasid_close(ctl->client);
		ctl->client = NULL;
		r = ctl_open_any(ctl, &error);
		if (r == 0) {
			watch_know_records(watch);
			r = watch_begin(watch, true);
			error = *pasid_last_error(ctl->client);
		}
	}
	if (r == 0 || watch_ended || watch->broken)
		return EXIT_DONE;
	ctl_print_error(ctl, &error);
	return ctl_exit_code(r);
}

static int watch_run(struct watch *watch)
{
	struct ctl *ctl = watch->ctl;
	int code = EXIT_DONE, r = watch_begin(watch, ctl->state != NULL);
	if (r != 0)
		return ctl_failed(ctl, r);
	while (code == EXIT_DONE) {
		/* What was shown last is kept, also when it was the last. */
		code = ctl->client != NULL ? watch_keep(watch) : EXIT_DONE;
		if (code != EXIT_DONE || watch->left == 0 || watch->broken || watch_ended)
			break;
		watch_wait(watch, pasid_fd(ctl->client), -1);
		r = pasid_dispatch(ctl->client, 0);
		if (r < 0 && watch_is_lost(r)) {
			code = watch_keep(watch);
			if (code == EXIT_DONE)
				code = watch_again(watch, r);
		} else if (r < 0) {
			code = ctl_failed(ctl, r);
		}
	}
	return code;
}

/* Signals end it in order, so that it can say where to go on. */
static void watch_catch_signals(struct watch *watch)
{
	const struct sigaction action = {.sa_handler = watch_signal};
	sigset_t ends;
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, &watch->waits);
	sigdelset(&watch->waits, SIGINT);
	sigdelset(&watch->waits, SIGTERM);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

int ctl_watch(struct ctl *ctl)
{
	struct watch watch = {.ctl = ctl,
		.left = ctl->given & CTL_EVENTS ? ctl->events : UINT64_MAX,
		.limit_ms = ctl->timeout_ms != 0 ? ctl->timeout_ms : PASID_TIMEOUT_DEFAULT,
		.next = ctl->from};
	if ((ctl->given & CTL_STATE) && (ctl->given & CTL_FROM))
		return ctl_usage("watch takes --from or --state, not both");
	cursor_boot(watch.now.boot);
	watch_catch_signals(&watch);
	int code = watch_load(&watch);
	if (code == EXIT_DONE)
		code = watch_run(&watch);
	if (ctl->state == NULL && watch.next != 0 && code != EXIT_REFUSED)
		fprintf(stderr, "pasidctl: watch --from %llu goes on after this\n",
			(unsigned long long)watch.next);
	return code;
}
