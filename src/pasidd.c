/* SPDX-License-Identifier: MIT */
/*
 * The daemon: options, wiring, readiness. Everything here happens once, before or after the loop.
 */
#include "config.h"
#include "conn.h"
#include "hw/executor.h"
#include "hw/probe.h"
#include "hw/worker.h"
#include "log.h"
#include "options.h"
#include "pasidd_apply.h"
#include "pasidd_confine.h"
#include "pasidd_reload.h"
#include "pasidd_settings.h"
#include "pasidd_share.h"
#include "pasidd_sockets.h"
#include "runtime.h"
#include "runtime_audit.h"
#include "runtime_export.h"
#include "runtime_marker.h"
#include "runtime_simulate.h"
#include "runtime_state.h"
#include "runtime_store.h"
#include "server.h"
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define DAEMON_NOTES_MAX 32
#define HELD_MS          1000u /* for what the dead had locked, once their directory is ours */

struct daemon {
	struct options options;
	struct config *config;
	struct config_files *files;
	char directory[RUNTIME_PATH_MAX];
	char simulate_dir[RUNTIME_SIMULATION_MAX];
	const char *backend;
	int lock_fd;
	struct sockets sockets;
	struct runtime_passed passed;
	struct runtime_store *store;
	struct clock clock;
	struct state_file *state;
	struct runtime_marker marker;
	bool fresh; /* nothing was recorded before */
	struct audit *audit;
	struct executor *executor;
	struct export_memory *exports;
	struct limits *limits;
	struct broker *broker;
	struct dispatch_config dispatch;
	struct server *server;
	struct apply apply;
	struct reload *reload;
	const char *notes[DAEMON_NOTES_MAX];
	size_t note_count;
};

/* Logs what an operator should know, and keeps it for the status. What does not fit is logged only.
 */
__attribute__((format(printf, 2, 0))) static void daemon_vnote(
	void *ctx, const char *format, va_list args)
{
	struct daemon *daemon = ctx;
	char *text = NULL;

	if (vasprintf(&text, format, args) < 0)
		return;
	log_write(LOG_LEVEL_WARNING, &(struct log_about){.message = LOG_MESSAGE_NOTE}, "%s", text);
	if (daemon->note_count < DAEMON_NOTES_MAX)
		daemon->notes[daemon->note_count++] = text;
	else
		free(text);
}

__attribute__((format(printf, 2, 3))) static void daemon_note(
	struct daemon *daemon, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	daemon_vnote(daemon, format, args);
	va_end(args);
}

/* ---------------------------------------------------------------- settings */

static int daemon_configure(struct daemon *daemon)
{
	struct config_error error = {""};

	if (settings_read(&daemon->options, &daemon->config, &daemon->files, &error) != 0) {
		(void)fprintf(stderr, "%s\n", error.text);
		return EXIT_STATUS_USAGE;
	}
	return EXIT_STATUS_OK;
}

static int daemon_fail(const struct runtime_error *error, int r)
{
	log_write(LOG_LEVEL_ERROR, NULL, "%s", error->text);
	return r == -EBUSY ? EXIT_STATUS_SECOND : EXIT_STATUS_FAILURE;
}

/* The directory, the lock and the sockets, in this order: whoever has the lock may replace the
 * sockets. */
static int daemon_claim(struct daemon *daemon)
{
	struct runtime_error error = {{0}};
	int r = runtime_directory(daemon->options.runtime_dir, daemon->directory, &error);

	if (r < 0)
		return daemon_fail(&error, r);
	r = sockets_name(&daemon->sockets, daemon->options.socket, &daemon->config->socket,
		daemon->directory, &error);
	if (r < 0) {
		(void)daemon_fail(&error, r);
		return EXIT_STATUS_USAGE;
	}
	r = runtime_lock(daemon->directory, daemon->sockets.path, &daemon->lock_fd, &error);
	if (r == 0)
		r = runtime_passed(&daemon->passed, &error);
	if (r == 0)
		sockets_take(&daemon->sockets, &daemon->passed);
	return r < 0 ? daemon_fail(&error, r) : EXIT_STATUS_OK;
}

static int daemon_listen(struct daemon *daemon)
{
	struct runtime_error error = {{0}};
	const int r = sockets_listen(&daemon->sockets, &daemon->config->socket, &error);

	if (r < 0)
		return r == -EADDRINUSE ? daemon_fail(&error, -EBUSY) : daemon_fail(&error, r);
	return EXIT_STATUS_OK;
}

/* ---------------------------------------------------------------- hardware */

static int daemon_simulate(struct daemon *daemon)
{
	struct runtime_error error = {{0}};
	const int r = runtime_simulate(daemon->options.simulate_dir, daemon->directory,
		&daemon->config->simulate, daemon->simulate_dir, &error);

	if (r != 0) {
		log_write(LOG_LEVEL_ERROR, NULL, "%s", error.text);
		return r > 0 ? EXIT_STATUS_USAGE : EXIT_STATUS_FAILURE;
	}
	daemon->backend = "simulated";
	daemon_note(daemon, "The IOMMU is simulated, in %s: no device of this host is touched.",
		daemon->simulate_dir);
	return EXIT_STATUS_OK;
}

/* A line of the log for each of the text's. */
static void daemon_say(enum log_level level, const char *text)
{
	while (*text != '\0') {
		const size_t length = strcspn(text, "\n");

		if (length > 0)
			log_write(level, NULL, "%.*s", (int)length, text);
		text += length + (text[length] != '\0');
	}
}

static int daemon_probe(struct daemon *daemon)
{
	struct probe probe;

	probe_host("/sys", "/dev", &probe);
	if (!probe_usable(&probe)) {
		log_write(LOG_LEVEL_ERROR, NULL, "this host cannot bind PASIDs:");
		daemon_say(LOG_LEVEL_ERROR, probe.text);
		log_write(LOG_LEVEL_ERROR, NULL, "To try pasidd without: pasidd --simulate");
		return EXIT_STATUS_NO_HARDWARE;
	}
	daemon->backend = probe.iommu == HW_IOMMU_VTD      ? "vtd"
			  : probe.iommu == HW_IOMMU_SMMUV3 ? "smmuv3"
							   : "none";
	daemon_say(LOG_LEVEL_INFO, probe.text);
	return EXIT_STATUS_OK;
}

/* ---------------------------------------------------------------- wiring */

static int daemon_out_of_memory(int r)
{
	log_write(LOG_LEVEL_ERROR, NULL, "cannot start: %s%s", strerror(r < 0 ? -r : ENOMEM),
		r == -EMFILE ? "; raise LimitNOFILE of pasidd.service" : "");
	return EXIT_STATUS_FAILURE;
}

/*
 * Without its marker no daemon would notice that records are missing. In a simulation there is no
 * VM's memory at stake, and its folder may be somebody else's: that is said, and goes on.
 */
static int daemon_marker_failed(struct daemon *daemon, const struct runtime_error *error)
{
	if (!daemon->options.simulate)
		return daemon_fail(error, -EIO);
	daemon_note(daemon, "%s", error->text);
	return EXIT_STATUS_OK;
}

static int daemon_read_marker(struct daemon *daemon, const uint8_t *boot_id)
{
	const struct runtime_marker_place place = {
		daemon->options.state_dir, daemon->options.simulate ? daemon->simulate_dir : NULL};
	struct runtime_error error = {{0}};
	const int r = runtime_marker_read(&place, boot_id, &daemon->marker, &error);

	return r < 0 ? daemon_marker_failed(daemon, &error) : EXIT_STATUS_OK;
}

static int daemon_write_marker(struct daemon *daemon)
{
	struct runtime_error error = {{0}};
	const int r = runtime_marker_write(&daemon->marker, &error);

	return r < 0 ? daemon_marker_failed(daemon, &error) : EXIT_STATUS_OK;
}

static int daemon_open_state(struct daemon *daemon)
{
	struct state_note note;
	unsigned spent = 0;
	int r;

	do { /* whoever held the lock for the dead closes this next */
		note = (struct state_note){.found = STATE_FOUND_NOTHING};
		r = runtime_state_open(
			daemon->directory, daemon->options.simulate, &daemon->state, &note);
	} while (r < 0 && note.found == STATE_FOUND_LOCKED && runtime_wait(&spent, HELD_MS));
	if (r < 0) {
		log_write(LOG_LEVEL_ERROR, NULL, "%s", note.text);
		return note.found == STATE_FOUND_LOCKED ? EXIT_STATUS_SECOND : EXIT_STATUS_FAILURE;
	}
	if (note.undone > 0)
		log_write(LOG_LEVEL_INFO, NULL,
			"a change that the last run had not finished was taken back");
	daemon->fresh = runtime_state_is_new(daemon->state);
	return daemon_read_marker(daemon, note.boot_id);
}

/*
 * The workers of an earlier run go on; who cannot be had again ends with our copy of its socket. So
 * does one that no record knows: somebody else would get its lane, with all that it has.
 */
static int daemon_adopt(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->passed.lane_count; i++) {
		struct runtime_lane *lane = &daemon->passed.lanes[i];
		const int r =
			runtime_state_has_lane(daemon->state, lane->lane)
				? executor_adopt(daemon->executor, lane->lane, lane->pid, lane->fd)
				: -ENOENT;

		if (r == -ENOMEM)
			return r;
		if (r == 0)
			lane->fd = -1;
		else
			runtime_store_lane(daemon->store, lane->lane, lane->pid, -1, false);
	}
	return 0;
}

static bool daemon_lane_stands(void *ctx, uint64_t lane)
{
	const struct daemon *daemon = ctx;

	return executor_lane_stands(daemon->executor, lane);
}

/* What an earlier run recorded is served on. */
static int daemon_recover(struct daemon *daemon)
{
	struct broker_status status;
	struct error error = {0};
	const int r =
		runtime_state_recover(daemon->state, daemon->fresh && daemon->marker.this_boot,
			daemon->broker, daemon_lane_stands, daemon, &error);

	if (r != 0) {
		log_write(LOG_LEVEL_ERROR, NULL, "%s",
			error.text[0] ? error.text : strerror(r < 0 ? -r : EIO));
		return EXIT_STATUS_FAILURE;
	}
	runtime_export_adopt(&daemon->passed, daemon->exports, daemon->broker, daemon->store);
	runtime_passed_done(&daemon->passed);
	broker_status(daemon->broker, &status);
	if (status.unconfirmed)
		log_write(LOG_LEVEL_WARNING,
			&(struct log_about){.message = LOG_MESSAGE_UNCONFIRMED}, "%s",
			BROKER_UNCONFIRMED_TEXT);
	if (status.sets > 0 || status.devices > 0)
		log_write(LOG_LEVEL_INFO, NULL,
			"took up %u sets, %u PASIDs (%u in quarantine), %u devices, %u bindings",
			status.sets, status.pasids.current, status.quarantined, status.devices,
			status.bindings);
	return EXIT_STATUS_OK;
}

static int daemon_wire(struct daemon *daemon)
{
	const struct executor_options executor = {
		.simulate_dir = daemon->options.simulate ? daemon->simulate_dir : NULL,
	};
	struct broker_ports ports = {
		.now_ms = clock_now_ms,
		.now_ctx = &daemon->clock,
		.policy = &daemon->config->policy,
	};
	struct broker_config config = daemon->config->broker;
	int r = limits_new(&daemon->config->limits, &daemon->limits);

	if (r == 0)
		r = runtime_store_new(&daemon->store);
	if (r == 0)
		r = export_memory_new(runtime_store_map, daemon->store, &daemon->exports);
	if (r == 0)
		r = executor_new(&executor, &daemon->executor);
	if (r == 0) {
		executor_on_lane(daemon->executor, runtime_store_lane, daemon->store);
		r = daemon_adopt(daemon);
	}
	if (r != 0)
		return daemon_out_of_memory(r);
	clock_read(&daemon->clock);
	ports.hw = executor_hw(daemon->executor);
	ports.state = state_file_state(daemon->state);
	ports.pages = state_file_pages(daemon->state);
	ports.export = export_memory_port(daemon->exports);
	ports.limits = daemon->limits;
	if (getrandom(&config.name_key, sizeof(config.name_key), 0) != sizeof(config.name_key) ||
		getrandom(config.random_key, sizeof(config.random_key), 0) !=
			sizeof(config.random_key))
		return daemon_out_of_memory(-EIO);
	r = broker_new(&config, &ports, &daemon->broker);
	return r != 0 ? daemon_out_of_memory(r) : daemon_recover(daemon);
}

/* Without a trail of what it does the daemon serves all the same, and says so. */
static void daemon_open_audit(struct daemon *daemon)
{
	struct audit_error error;
	unsigned spent = 0;
	int r;

	do {
		error.text[0] = '\0';
		r = runtime_audit_open(&daemon->config->audit, daemon->directory,
			daemon->options.simulate, &daemon->audit, &error);
	} while (r == -EBUSY && runtime_wait(&spent, HELD_MS));
	if (r < 0)
		daemon_note(daemon, "There is no audit trail: %s", error.text);
	else if (error.text[0])
		log_write(LOG_LEVEL_WARNING, NULL, "audit trail: %s", error.text);
}

static void daemon_share(struct daemon *daemon)
{
	const struct share share = {
		.broker = daemon->broker,
		.executor = daemon->executor,
		.clock = &daemon->clock,
		.policy = &daemon->config->policy,
		.note = daemon_vnote,
		.ctx = daemon,
	};

	share_configured(&share);
}

static void daemon_confine(struct daemon *daemon)
{
	const struct confine confine = {
		.options = &daemon->options,
		.sockets = &daemon->sockets,
		.runtime_dir = daemon->directory,
		.simulate_dir = daemon->options.simulate ? daemon->simulate_dir : NULL,
		.note = daemon_vnote,
		.ctx = daemon,
	};

	confine_process(&confine);
	executor_confine(daemon->executor);
}

/* ---------------------------------------------------------------- serving */

static int daemon_start_server(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	struct server_settings settings;
	struct server_options options = {
		.listen_fd = daemon->sockets.fd,
		.admin_fd = daemon->sockets.admin_fd,
		.broker = daemon->broker,
		.executor = daemon->executor,
		.clock = &daemon->clock,
		.dispatch = &daemon->dispatch,
		.exports = daemon->exports,
		.audit = daemon->audit,
		.kept = runtime_store_keeps(daemon->store),
		.limits = daemon->limits,
		.ended = apply_ended,
		.ended_ctx = &daemon->apply,
	};
	const uint32_t connections = apply_descriptors(config, daemon->limits);
	int r;

	apply_server(config, &settings);
	options.hello_ms = settings.hello_ms;
	options.stalled_ms = settings.stalled_ms;
	options.received_max = settings.received_max;
	if (connections > 0)
		daemon_note(daemon,
			"Only %u connections fit into the limit of open descriptors; raise "
			"LimitNOFILE= of the service or lower limits.connections.host.",
			connections);
	daemon->dispatch = (struct dispatch_config){
		.version = PASIDD_VERSION,
		.backend = daemon->backend,
		.notes = daemon->notes,
		.note_count = daemon->note_count,
		.limits = daemon->limits,
		.state = state_file_state(daemon->state),
		.policy = &config->policy,
	};
	apply_dispatch(config, &daemon->dispatch);
	if (getrandom(daemon->dispatch.instance, sizeof(daemon->dispatch.instance), 0) !=
		sizeof(daemon->dispatch.instance))
		return daemon_out_of_memory(-EIO);
	r = server_new(&options, &daemon->server);
	return r != 0 ? daemon_out_of_memory(r) : EXIT_STATUS_OK;
}

/* From here on SIGHUP has the settings read anew; one that came before is not lost. */
static int daemon_await_reload(struct daemon *daemon)
{
	const struct reload_handler handler = {apply_take, apply_fail, &daemon->apply};
	int r;

	daemon->apply = (struct apply){
		.options = &daemon->options,
		.config = daemon->config,
		.broker = daemon->broker,
		.limits = daemon->limits,
		.server = daemon->server,
		.dispatch = &daemon->dispatch,
		.notes = daemon->notes,
		.note_count = daemon->note_count,
	};
	r = apply_begin(&daemon->apply);
	if (r == 0)
		r = reload_new(daemon->options.config, daemon->server, daemon->executor, &handler,
			&daemon->reload);
	return r != 0 ? daemon_out_of_memory(r) : EXIT_STATUS_OK;
}

static int daemon_serve(struct daemon *daemon)
{
	const char *what = "the service manager, which would wait in vain, cannot be told of us";
	int r;

	log_write(LOG_LEVEL_INFO, &(struct log_about){.message = LOG_MESSAGE_STARTED},
		"ready: %s backend, socket %s", daemon->backend, daemon->sockets.path);
	r = sd_notifyf(0, "READY=1\nSTATUS=Serving %s (%s)", daemon->sockets.path, daemon->backend);
	if (r >= 0) {
		what = "the loop failed";
		r = server_run(daemon->server);
	}
	if (r < 0)
		log_write(LOG_LEVEL_ERROR, NULL, "%s: %s", what, strerror(-r));
	return r < 0 ? EXIT_STATUS_FAILURE : EXIT_STATUS_OK;
}

static int daemon_run(struct daemon *daemon)
{
	int r = daemon_claim(daemon);

	if (r == EXIT_STATUS_OK)
		r = daemon->options.simulate ? daemon_simulate(daemon) : daemon_probe(daemon);
	if (r == EXIT_STATUS_OK)
		r = daemon_open_state(daemon);
	if (r == EXIT_STATUS_OK) {
		/* Before the executor, which takes all that is open when it comes for ours. */
		daemon_open_audit(daemon);
		r = daemon_wire(daemon);
	}
	if (r == EXIT_STATUS_OK) /* not before there are records: without them it would block */
		r = daemon_write_marker(daemon);
	if (r == EXIT_STATUS_OK)
		daemon_share(daemon);
	if (r == EXIT_STATUS_OK)
		r = daemon_listen(daemon);
	if (r == EXIT_STATUS_OK) {
		daemon_confine(daemon);
		r = daemon_start_server(daemon);
	}
	if (r == EXIT_STATUS_OK)
		r = daemon_await_reload(daemon);
	return r == EXIT_STATUS_OK ? daemon_serve(daemon) : r;
}

/*
 * Without connections first, then without the workers, which detach and close everything as soon as
 * their sockets end; nobody waits for them.
 */
static void daemon_done(struct daemon *daemon)
{
	sockets_remove(&daemon->sockets);
	reload_free(daemon->reload);
	server_free(daemon->server);
	apply_done(&daemon->apply);
	broker_free(daemon->broker);
	audit_close(daemon->audit);
	executor_free(daemon->executor);
	export_memory_free(daemon->exports, runtime_store_keeps(daemon->store));
	runtime_store_free(daemon->store);
	runtime_passed_done(&daemon->passed);
	limits_free(daemon->limits);
	state_file_free(daemon->state);
	sockets_close(&daemon->sockets);
	config_free(daemon->config);
	config_files_free(daemon->files);
	for (size_t i = 0; i < daemon->note_count; i++)
		free((void *)(uintptr_t)daemon->notes[i]);
	if (daemon->lock_fd >= 0)
		close(daemon->lock_fd); /* the next instance may start from here on */
}

int main(int argc, char *argv[])
{
	struct daemon daemon = {.lock_fd = -1, .sockets = SOCKETS_NONE};
	int status;

	/* Before anything else: a worker has nothing of the daemon's. */
	if (worker_asked(argc, argv, &status) ||
		!options_parse(argc, argv, &daemon.options, &status))
		return status;
	(void)signal(SIGPIPE, SIG_IGN);
	reload_expect();
	(void)signal(SIGXFSZ, SIG_IGN); /* the call that fails with EFBIG says which file */
	if (daemon.options.check_config)
		return settings_check(&daemon.options);
	status = daemon_configure(&daemon);
	if (status == EXIT_STATUS_OK) {
		log_open((enum log_level)daemon.config->log_level);
		settings_log(daemon.files);
		status = daemon_run(&daemon);
	}
	daemon_done(&daemon);
	return status;
}
