/* SPDX-License-Identifier: MIT */
#include "pasidd_reload.h"

#include "log.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#define RELOAD_CHUNK 65536u

struct reload {
	struct reload_handler handler;
	struct server *server;
	struct executor *executor;
	const char *path; /* of the settings; NULL: the default */
	struct event hangup, output, exit, deadline;
	pid_t pid; /* who reads; 0: nobody does */
	int pidfd, pipe;
	char *text;
	size_t length, room;
	bool again;      /* SIGHUP came meanwhile */
	const char *why; /* it was ended by us; NULL: it was not */
};

static volatile sig_atomic_t reload_wanted;

static void reload_remember(int signal)
{
	(void)signal;
	reload_wanted = 1;
}

void reload_expect(void)
{
	struct sigaction action = {.sa_handler = reload_remember, .sa_flags = SA_RESTART};

	(void)sigaction(SIGHUP, &action, NULL);
}

/* ---------------------------------------------------------------- the other process */

/* It is dead, or will be at once. */
static void reload_reap(struct reload *reload, siginfo_t *ret_info)
{
	memset(ret_info, 0, sizeof(*ret_info));
	while (waitid(P_PID, (id_t)reload->pid, ret_info, WEXITED) < 0 && errno == EINTR)
		continue;
	reload->pid = 0;
}

static void reload_kill(struct reload *reload)
{
	siginfo_t info;

	if (reload->pid == 0)
		return;
	(void)kill(reload->pid, SIGKILL);
	reload_reap(reload, &info);
}

static void reload_close(struct reload *reload)
{
	struct event *const events[] = {&reload->output, &reload->exit, &reload->deadline};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (event_initialized(events[i]))
			(void)event_del(events[i]);
	if (reload->pipe >= 0)
		close(reload->pipe);
	if (reload->pidfd >= 0)
		close(reload->pidfd);
	reload->pipe = reload->pidfd = -1;
	free(reload->text);
	reload->text = NULL;
	reload->length = reload->room = 0;
	reload->why = NULL;
}

/* ---------------------------------------------------------------- what it prints */

static bool reload_grow(struct reload *reload)
{
	char *text;

	if (reload->room - reload->length >= RELOAD_CHUNK)
		return true;
	if (reload->room >= RELOAD_TEXT_MAX)
		return false;
	text = realloc(reload->text, reload->room * 2 + RELOAD_CHUNK);
	if (text == NULL)
		return false;
	reload->text = text;
	reload->room = reload->room * 2 + RELOAD_CHUNK;
	return true;
}

/* Reads what is there, a bounded part at a time. false: there is no more for now. */
static bool reload_read(struct reload *reload)
{
	ssize_t n;

	if (!reload_grow(reload)) {
		reload->why = "what was read is too large";
		if (reload->pid != 0) /* it may be reaped already, and 0 would be ourselves */
			(void)kill(reload->pid, SIGKILL);
		return false;
	}
	n = read(reload->pipe, reload->text + reload->length, RELOAD_CHUNK);
	if (n > 0)
		reload->length += (size_t)n;
	if (n == 0) /* nothing more will come */
		(void)event_del(&reload->output);
	return n > 0;
}

static void reload_on_output(evutil_socket_t fd, short what, void *arg)
{
	struct reload *reload = arg;

	(void)fd;
	(void)what;
	server_wake(reload->server);
	(void)reload_read(reload);
}

static void reload_on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct reload *reload = arg;

	(void)fd;
	(void)what;
	server_wake(reload->server);
	reload->why = "reading them took too long; does looking up a user or group hang?";
	(void)kill(reload->pid, SIGKILL);
}

static void reload_take(struct reload *reload, const siginfo_t *info)
{
	const bool killed = info->si_code != CLD_EXITED;
	struct config_error error = {""};
	struct config_files *files;
	struct config *config;

	if (reload->why == NULL && killed) {
		(void)snprintf(error.text, sizeof(error.text), "who read them was ended by %s",
			strsignal(info->si_status));
		reload->why = error.text;
	}
	if (reload->why == NULL && config_read_shown(reload->text != NULL ? reload->text : "",
					   reload->length, geteuid(), &config, &files, &error) != 0)
		reload->why = error.text;
	if (reload->why != NULL) {
		reload->handler.fail(reload->handler.ctx, reload->why);
		return;
	}
	reload->handler.take(reload->handler.ctx, config, files);
	config_files_free(files);
}

static void reload_start(struct reload *reload);

static void reload_on_exit(evutil_socket_t fd, short what, void *arg)
{
	struct reload *reload = arg;
	siginfo_t info;

	(void)fd;
	(void)what;
	server_wake(reload->server);
	reload_reap(reload, &info);
	while (reload->why == NULL && reload_read(reload))
		continue;
	if (!server_is_stopping(reload->server))
		reload_take(reload, &info);
	reload_close(reload);
	if (server_is_stopping(reload->server))
		return;
	if (reload->again) {
		reload->again = false;
		reload_start(reload);
	} else {
		(void)sd_notify(0, "READY=1");
	}
}

/* ---------------------------------------------------------------- SIGHUP */

static void reload_tell_begin(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		(unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
}

static int reload_watch(struct reload *reload)
{
	const struct timeval patience = {.tv_sec = RELOAD_MS / 1000};
	struct event_base *base = server_base(reload->server);

	if (event_assign(&reload->output, base, reload->pipe, EV_READ | EV_PERSIST,
		    reload_on_output, reload) < 0 ||
		event_assign(&reload->exit, base, reload->pidfd, EV_READ, reload_on_exit, reload) <
			0 ||
		event_assign(&reload->deadline, base, -1, 0, reload_on_deadline, reload) < 0 ||
		event_add(&reload->output, NULL) < 0 || event_add(&reload->exit, NULL) < 0 ||
		event_add(&reload->deadline, &patience) < 0)
		return -ENOMEM;
	return 0;
}

static int reload_begin(struct reload *reload)
{
	int pipes[2], r;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	reload->pipe = pipes[0];
	r = fcntl(pipes[0], F_SETFL, O_NONBLOCK) < 0
		    ? -errno
		    : executor_read_settings(reload->executor, reload->path, pipes[1], &reload->pid,
			      &reload->pidfd);
	close(pipes[1]);
	return r < 0 ? r : reload_watch(reload);
}

static void reload_start(struct reload *reload)
{
	char text[128];
	int r;

	reload_tell_begin();
	r = reload_begin(reload);
	if (r == 0)
		return;
	reload_kill(reload);
	reload_close(reload);
	(void)snprintf(text, sizeof(text), "they cannot be read: %s", strerror(-r));
	reload->handler.fail(reload->handler.ctx, text);
	(void)sd_notify(0, "READY=1");
}

static void reload_ask(struct reload *reload)
{
	if (server_is_stopping(reload->server))
		return;
	if (reload->pid != 0)
		reload->again = true;
	else
		reload_start(reload);
}

static void reload_on_hangup(evutil_socket_t signal, short what, void *arg)
{
	struct reload *reload = arg;

	(void)signal;
	(void)what;
	server_wake(reload->server);
	reload_ask(reload);
}

/* ---------------------------------------------------------------- life */

int reload_new(const char *path, struct server *server, struct executor *executor,
	const struct reload_handler *handler, struct reload **ret_reload)
{
	struct reload *reload = calloc(1, sizeof(*reload));

	if (reload == NULL)
		return -ENOMEM;
	reload->handler = *handler;
	reload->server = server;
	reload->executor = executor;
	reload->path = path;
	reload->pipe = reload->pidfd = -1;
	if (event_assign(&reload->hangup, server_base(server), SIGHUP, EV_SIGNAL | EV_PERSIST,
		    reload_on_hangup, reload) < 0 ||
		event_add(&reload->hangup, NULL) < 0) {
		free(reload);
		return -ENOMEM;
	}
	if (reload_wanted) /* while we started */
		event_active(&reload->hangup, EV_SIGNAL, 1);
	*ret_reload = reload;
	return 0;
}

void reload_free(struct reload *reload)
{
	if (reload == NULL)
		return;
	reload_kill(reload);
	reload_close(reload);
	(void)event_del(&reload->hangup);
	free(reload);
}
