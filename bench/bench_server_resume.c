/* SPDX-License-Identifier: MIT */
/*
 * P14: VMs whose daemon is restarted. A thousand sessions with a hundred numbers each are taken up
 * again, and a thousand new ones say hello to the same daemon, which is then ended again: by turns
 * with SIGTERM and SIGKILL, and by turns those or these come first.
 */
#include "bench_server.h"

#include "libpasid.h"

#include <err.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define VMS     1000u
#define NUMBERS 100u /* of each */
#define ROUNDS  10u
#define END_MS  10000u /* within which the daemon notices the end of a process */

struct vm {
	struct bench_wire wire;
	struct bench_session session;
	uint32_t numbers[NUMBERS];
};

/* A process with new sessions; they end with it. */
struct newcomers {
	pid_t pid;
	int control; /* ends it when it is closed */
};

/* ------------------------------------------------------------ hello, a thousand times */

/* Connections that were accepted: what they cost is the same for both sides, and not measured. */
static void resume_connect(struct vm *vms, const char *path)
{
	for (unsigned i = 0; i < VMS; i++)
		vms[i].wire.fd = bench_connect(path, SOCK_SEQPACKET);
	for (unsigned i = 0; i < VMS; i++)
		bench_wire_ping(&vms[i].wire);
}

static void resume_disconnect(struct vm *vms)
{
	for (unsigned i = 0; i < VMS; i++)
		(void)close(vms[i].wire.fd);
}

/* From the first hello that is sent to the last welcome that was received: ns. */
static double resume_hello(struct vm *vms, bool resume, struct bench_session *ret_sessions)
{
	const uint64_t begin = bench_now_ns();

	for (unsigned i = 0; i < VMS; i++)
		bench_wire_send_hello(&vms[i].wire, resume ? &vms[i].session : NULL);
	for (unsigned i = 0; i < VMS; i++)
		bench_wire_receive_hello(&vms[i].wire, &ret_sessions[i]);
	return (double)(bench_now_ns() - begin);
}

/* ------------------------------------------------------------ sessions that were there before */

static void resume_make(struct vm *vms, const char *path)
{
	struct bench_session *sessions = calloc(VMS, sizeof(*sessions));

	if (sessions == NULL)
		errx(1, "no memory");
	resume_connect(vms, path);
	(void)resume_hello(vms, false, sessions);
	for (unsigned i = 0; i < VMS; i++) {
		struct vm *vm = &vms[i];

		vm->session = sessions[i];
		bench_wire_set(&vm->wire, i, NUMBERS);
		bench_wire_allocate(&vm->wire, i, NUMBERS, vm->numbers);
	}
	free(sessions);
}

/* It is the same session, with the same set, and that has its numbers and no others. */
static void resume_check(struct vm *vm, unsigned number, const struct bench_session *session)
{
	uint64_t count;

	if (!session->resumed || session->id != vm->session.id)
		errx(1, "session %u was lost", number);
	if (session->set == 0 || (vm->session.set != 0 && session->set != vm->session.set))
		errx(1, "session %u lost its set", number);
	vm->session = *session;
	count = bench_wire_count(&vm->wire);
	if (count != NUMBERS)
		errx(1, "session %u has %llu numbers, not %u", number, (unsigned long long)count,
			NUMBERS);
	bench_wire_find(&vm->wire, number, NUMBERS, vm->numbers);
}

static double resume_resume(struct vm *vms, const char *path)
{
	static struct bench_session sessions[VMS];
	double ns;

	resume_connect(vms, path);
	ns = resume_hello(vms, true, sessions);
	for (unsigned i = 0; i < VMS; i++)
		resume_check(&vms[i], i, &sessions[i]);
	return ns;
}

/* ------------------------------------------------------------ new ones */

static _Noreturn void newcomers_run(const char *path, int control, int result)
{
	static struct vm vms[VMS];
	static struct bench_session sessions[VMS];
	double ns;
	char end;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	resume_connect(vms, path);
	ns = resume_hello(vms, false, sessions);
	for (unsigned i = 0; i < VMS; i++) {
		if (sessions[i].resumed || sessions[i].set != 0)
			errx(1, "a new session is not new");
	}
	if (write(result, &ns, sizeof(ns)) != sizeof(ns))
		err(1, "write");
	while (read(control, &end, sizeof(end)) > 0)
		continue;
	_exit(0);
}

static double newcomers_start(struct newcomers *newcomers, const char *path)
{
	int control[2], result[2];
	double ns;

	if (pipe(control) < 0 || pipe(result) < 0)
		err(1, "pipe");
	newcomers->pid = fork();
	if (newcomers->pid < 0)
		err(1, "fork");
	if (newcomers->pid == 0) {
		(void)close(control[1]);
		newcomers_run(path, control[0], result[1]);
	}
	newcomers->control = control[1];
	(void)close(control[0]);
	(void)close(result[1]);
	if (read(result[0], &ns, sizeof(ns)) != sizeof(ns))
		errx(1, "new sessions could not be made");
	(void)close(result[0]);
	return ns;
}

static void newcomers_end(struct newcomers *newcomers)
{
	int status;

	(void)close(newcomers->control);
	if (waitpid(newcomers->pid, &status, 0) < 0 || status != 0)
		errx(1, "the process of the new sessions failed");
}

/* ------------------------------------------------------------ rounds */

/* Who asks how things are; resumed like the others, by libpasid. */
static struct pasid_client *resume_admin(const char *path)
{
	const struct pasid_options options = {
		.path = path, .name = "bench", .role = PASID_ROLE_ADMIN};
	struct pasid_client *admin;
	struct pasid_error error;

	if (pasid_open(&options, &admin, &error) != 0)
		errx(1, "pasidd: %s", error.message);
	return admin;
}

/* All sessions but the old ones have ended, and the daemon finds its own records in order. */
static void resume_settle(struct pasid_client *admin)
{
	const uint64_t end = bench_now_ns() + END_MS * UINT64_C(1000000);
	static struct pasid_host_status status;

	do {
		if (pasid_status(admin, &status) != 0)
			errx(1, "pasidd: %s", pasid_last_error(admin)->message);
		if (bench_now_ns() > end)
			errx(1, "%llu sessions do not end with their process",
				(unsigned long long)status.sessions - VMS - 1);
	} while (status.sessions != VMS + 1);
	if (!status.consistent || status.sets != VMS ||
		status.pasids.current != (uint64_t)VMS * NUMBERS)
		errx(1, "pasidd has %llu sets with %llu numbers%s", (unsigned long long)status.sets,
			(unsigned long long)status.pasids.current,
			status.consistent ? "" : ", and counts something else");
}

/* One restart. Adds to the times of either side: whoever comes first finds a colder daemon. */
static void resume_restart(struct bench_daemon *daemon, struct vm *vms, bool resume_first,
	double *start, double sides[2])
{
	struct newcomers newcomers;

	resume_disconnect(vms);
	*start += (double)bench_daemon_start(daemon);
	if (resume_first)
		sides[0] += resume_resume(vms, daemon->socket);
	sides[1] += newcomers_start(&newcomers, daemon->socket);
	if (!resume_first)
		sides[0] += resume_resume(vms, daemon->socket);
	newcomers_end(&newcomers);
}

static void resume_report(const struct bench_series *hellos, const struct bench_series *starts)
{
	const struct bench_figure hello = {.id = "P14",
		.name = "1000 sessions with 100000 numbers resumed after a restart, none lost, "
			"against 1000 new ones",
		.target = 3,
		.unit = "ms",
		.scale = 0.5e-6}; /* two restarts in a round */
	const struct bench_figure start = {.id = "P14",
		.name = "the daemon started, with their records against none",
		.unit = "ms",
		.scale = 0.5e-6};

	bench_report(&hello, hellos, 0, 1);
	bench_report(&start, starts, 0, 1);
}

void bench_resume(const struct bench_options *options)
{
	static struct bench_series hellos, starts;
	static struct vm vms[VMS];
	struct bench_daemon daemon = {.program = options->program, .home = options->home};
	struct bench_daemon empty = {.program = options->program, .home = options->empty_home};
	struct pasid_client *admin;

	bench_raise_files();
	(void)bench_daemon_start(&empty);
	(void)bench_daemon_start(&daemon);
	resume_make(vms, daemon.socket);
	admin = resume_admin(daemon.socket);
	hellos.rounds = starts.rounds = options->rounds > 0 ? options->rounds : ROUNDS;
	for (unsigned i = 0; i < 2 * hellos.rounds; i++) {
		const int signal = i / 2 % 2 == 0 ? SIGTERM : SIGKILL;
		double sides[2] = {0}, start = 0;

		bench_daemon_end(&daemon, signal);
		bench_daemon_end(&empty, signal);
		resume_restart(&daemon, vms, i % 2 == 0, &start, sides);
		resume_settle(admin);
		starts.values[0][i / 2] += start;
		starts.values[1][i / 2] += (double)bench_daemon_start(&empty);
		hellos.values[0][i / 2] += sides[0];
		hellos.values[1][i / 2] += sides[1];
	}
	resume_report(&hellos, &starts);
	pasid_close(admin);
	bench_daemon_end(&daemon, SIGTERM);
	bench_daemon_end(&empty, SIGTERM);
}
