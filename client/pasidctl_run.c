/* SPDX-License-Identifier: MIT */
/*
 * The command that starts a VMM with what it needs: its set, the devices that the daemon opened for
 * it, an iommufd. The VMM takes our place: it is the process that has said hello, so the session is
 * its own, and dies with it. Nothing of ours stays.
 */
#include "pasidctl.h"
#include "run_words.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define RUN_IOMMU        "/dev/iommu"
#define RUN_NOT_FOUND    127 /* as shells have it */
#define RUN_NOT_RUNNABLE 126
#define RUN_FIRST_FD     3
#define RUN_CONNECT_S    10
#define RUN_PATH_MAX     300

struct run {
	struct ctl *ctl;
	bool handed;
	char name[PASID_NAME_MAX + 1]; /* of the set, when we make it */
	struct run_names names;
	struct run_device devices[PASID_PAIRS_MAX];
	char addresses[PASID_PAIRS_MAX][32];
	int session; /* a copy of our connection's socket; -1: none */
	int secret;  /* a pipe with the secret of the hand-over; -1: none */
};

/* What the VMM is to have must not be in the place of standard input, output and error. */
static int run_place(int fd)
{
	int moved;

	if (fd < 0 || fd >= RUN_FIRST_FD)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, RUN_FIRST_FD);
	(void)close(fd);
	return moved;
}

/* ------------------------------------------------------------ what can be wrong before anything is
 * asked */

/* 0, or the errno with which the program could not be run; what is in its way later is found out
 * then. */
static int run_look_for(const char *program)
{
	const char *path = getenv("PATH");
	char full[4096];

	if (strchr(program, '/') != NULL)
		return access(program, X_OK) == 0 ? 0 : errno;
	if (path == NULL)
		return 0;
	while (true) {
		size_t length = strcspn(path, ":");

		if (snprintf(full, sizeof(full), "%.*s/%s", (int)length, length > 0 ? path : ".",
			    program) < (int)sizeof(full) &&
			access(full, X_OK) == 0)
			return 0;
		if (path[length] == '\0')
			return ENOENT;
		path += length + 1;
	}
}

static int run_cannot(struct ctl *ctl, int error)
{
	return ctl_cannot(ctl, error == ENOENT ? RUN_NOT_FOUND : RUN_NOT_RUNNABLE,
		"cannot run %.100s: %s", ctl->others[0], strerror(error));
}

/* Every name in the command line must be of something that is going to be there. */
static int run_check_words(const struct run *run)
{
	struct run_device devices[PASID_PAIRS_MAX] = {0};
	struct run_names names = {
		.set = "",
		.connection = run->handed ? 0 : -1,
		.iommufd = run->names.device_count > 0 || (run->ctl->given & CTL_IOMMU) ? 0 : -1,
		.devices = devices,
		.device_count = run->names.device_count,
	};
	const char *what;

	for (size_t i = 0; i < names.device_count; i++)
		devices[i].address = run->ctl->devices[i];
	for (char *const *word = run->ctl->others; *word != NULL; word++)
		if (run_replace(*word, &names, NULL, 0, &what) < 0)
			return ctl_usage("%.60s: nothing is opened that it could stand for", what);
	return EXIT_DONE;
}

static int run_check(struct run *run)
{
	struct ctl *ctl = run->ctl;
	int error;

	for (size_t i = 0; i < ctl->device_count; i++)
		for (size_t j = 0; j < i; j++)
			if (run_same_address(ctl->devices[i], ctl->devices[j]))
				return ctl_usage("--device %.32s is given twice", ctl->devices[i]);
	if (run->handed && !(ctl->given & CTL_SET))
		return ctl_usage("--handed needs --set NAME, a set that an admin has made");
	if (run->handed && (ctl->given & CTL_QUOTA))
		return ctl_usage("--quota is for a set that is made here; see set adjust");
	if (!run->handed && (ctl->given & CTL_SET) && ctl->set.name == NULL)
		return ctl_usage("--set takes a name here: the set is made");
	if (run_check_words(run) != EXIT_DONE)
		return EXIT_USAGE;
	error = run_look_for(ctl->others[0]);
	return error == 0 ? EXIT_DONE : run_cannot(ctl, error);
}

/* ------------------------------------------------------------ the session */

static const char *run_socket_path(const struct ctl *ctl)
{
	const char *path = ctl->socket != NULL ? ctl->socket : getenv(PASID_SOCKET_ENV);

	return path != NULL ? path : PASID_SOCKET_DEFAULT;
}

/* A connected socket; -errno. Made by us and not by the library, because the VMM is to keep it
 * open. */
static int run_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval wait = {.tv_sec = RUN_CONNECT_S};
	int fd, r;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	fd = run_place(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	r = -errno;
	(void)close(fd);
	return r;
}

static int run_refused(struct ctl *ctl, int r, const struct pasid_error *error)
{
	ctl_print_error(ctl, error);
	return r > 0 ? EXIT_REFUSED : EXIT_NO_DAEMON;
}

/* As an admin: a connection for the set, which is not ours but the VMM's from then on. */
static int run_ask_for_connection(struct run *run, int *ret_fd)
{
	struct ctl *ctl = run->ctl;
	struct pasid_options options = {
		.role = PASID_ROLE_ADMIN,
		.name = "pasidctl run",
		.timeout_ms = ctl->timeout_ms,
	};
	struct pasid_set_info info;
	struct pasid_error error;
	char admin[128];
	int r = -1;

	options.path = admin;
	if (ctl_admin_socket(ctl, admin, sizeof(admin)))
		r = pasid_open(&options, &ctl->client, &error);
	options.path = run_socket_path(ctl);
	if (r != 0)
		r = pasid_open(&options, &ctl->client, &error);
	if (r == PASID_DENIED)
		fputs("pasidctl: run --handed needs the role admin\n", stderr);
	if (r != 0)
		return run_refused(ctl, r, &error);
	r = pasid_set_connect(ctl->client, &ctl->set, &info, ret_fd);
	if (r != 0)
		return ctl_failed(ctl, r);
	(void)snprintf(run->name, sizeof(run->name), "%s", info.name);
	pasid_close(ctl->client);
	ctl->client = NULL;
	return EXIT_DONE;
}

static int run_ask_for_session(struct run *run, int *ret_fd)
{
	const char *path = run_socket_path(run->ctl);
	int fd = run_connect(path);
	struct pasid_error error = {.code = fd, .reason = "no-daemon"};

	if (fd < 0) { /* as the library says it */
		(void)snprintf(error.message, sizeof(error.message),
			"cannot connect to %.120s: %s%s", path, strerror(-fd),
			fd == -ENOENT || fd == -ECONNREFUSED ? "; is pasidd running?" : "");
		return run_refused(run->ctl, fd, &error);
	}
	*ret_fd = fd;
	return EXIT_DONE;
}

/*
 * Hello is said by us in either case: what dies with a process, dies with the one that said it,
 * which the VMM is going to be. A connection on which nobody did would empty no set when it ends.
 */
static int run_open(struct run *run)
{
	struct ctl *ctl = run->ctl;
	struct pasid_options options = {
		.has_fd = true,
		.role = PASID_ROLE_VMM,
		.name = "pasidctl run",
		.timeout_ms = ctl->timeout_ms,
	};
	struct pasid_error error;
	int r, code = (run->handed ? run_ask_for_connection : run_ask_for_session)(
		       run, &options.fd);

	if (code != EXIT_DONE)
		return code;
	run->session = fcntl(options.fd, F_DUPFD_CLOEXEC, RUN_FIRST_FD);
	if (run->session < 0)
		return ctl_cannot(ctl, EXIT_FAILED, "no descriptor: %s", strerror(errno));
	r = pasid_open(&options, &ctl->client, &error);
	return r == 0 ? EXIT_DONE : run_refused(ctl, r, &error);
}

static int run_set(struct run *run)
{
	const struct ctl *ctl = run->ctl;
	const struct pasid_set_create_args args = {
		.name = run->name,
		.has_quota = (ctl->given & CTL_QUOTA) != 0,
		.quota = (uint32_t)ctl->quota,
	};
	int r = run->handed ? 0 : pasid_set_create(ctl->client, &args, NULL);

	run->names.set = run->name;
	return r == 0 ? EXIT_DONE : ctl_failed(run->ctl, r);
}

/* ------------------------------------------------------------ devices */

/* Of a daemon that simulates, which says where. false: it does not. */
static bool run_find_simulation(struct run *run, char *ret_path, size_t size)
{
	struct pasid_host_status *status = calloc(1, sizeof(*status));
	bool found = false;

	if (status != NULL && pasid_status(run->ctl->client, status) == 0 &&
		strcmp(status->backend, "simulated") == 0)
		for (size_t i = 0;
			!found && i < status->note_count && i < ARRAY_SIZE(status->notes); i++)
			found = run_simulated_iommu(status->notes[i], ret_path, size);
	free(status);
	return found;
}

/* Root, or who we are: nobody else has us open what we may and he may not. */
static bool run_trusts_daemon(const struct run *run)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(run->session, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static int run_open_iommufd(struct run *run)
{
	struct ctl *ctl = run->ctl;
	const char *path = ctl->iommu != NULL ? ctl->iommu : RUN_IOMMU;
	char simulated[RUN_PATH_MAX];

	if (run->names.device_count == 0 && ctl->iommu == NULL)
		return EXIT_DONE;
	if (ctl->iommu == NULL && run_find_simulation(run, simulated, sizeof(simulated))) {
		if (!run_trusts_daemon(run))
			return ctl_cannot(ctl, EXIT_FAILED,
				"this daemon simulates the IOMMU, and is another user's: say --iommu "
				"%.150s",
				simulated);
		path = simulated;
	}
	run->names.iommufd = run_place(open(path, O_RDWR | O_CLOEXEC));
	if (run->names.iommufd < 0)
		return ctl_cannot(ctl, EXIT_FAILED, "cannot open %.120s: %s; see pasidctl doctor",
			path, strerror(errno));
	return EXIT_DONE;
}

static int run_add_devices(struct run *run)
{
	for (size_t i = 0; i < run->names.device_count; i++) {
		struct pasid_device_add_args args = {
			.iommufd = run->names.iommufd,
			.address = run->ctl->devices[i],
		};
		struct pasid_device_info info;
		int fd, r = pasid_device_add(run->ctl->client, &args, &info, &fd);

		if (r != 0)
			return ctl_failed(run->ctl, r);
		(void)snprintf(run->addresses[i], sizeof(run->addresses[i]), "%s", info.address);
		run->devices[i] =
			(struct run_device){run->addresses[i], run_place(fd), info.dev_id};
	}
	return EXIT_DONE;
}

static int run_add_slices(struct run *run)
{
	for (size_t i = 0; i < run->ctl->share_count; i++) {
		struct pasid_device_slice_args args = {.address = run->ctl->shares[i]};
		int r = pasid_device_slice(run->ctl->client, &args, NULL);

		if (r != 0)
			return ctl_failed(run->ctl, r);
	}
	return EXIT_DONE;
}

/* So that a VMM with libpasid can go on with the session over a connection of its own. In a pipe,
 * and not in the environment, which a VMM's children have, too, and tools show. */
static int run_hand_over(struct run *run)
{
	struct pasid_hand_over over;
	int heir, r, ends[2];

	r = pasid_hand_over(run->ctl->client, &over, &heir);
	if (r != 0)
		return ctl_failed(run->ctl, r);
	run->names.connection = run_place(heir);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return ctl_cannot(run->ctl, EXIT_FAILED, "no pipe: %s", strerror(errno));
	r = write(ends[1], over.secret, sizeof(over.secret)) == (ssize_t)sizeof(over.secret);
	(void)close(ends[1]);
	run->secret = run_place(ends[0]);
	explicit_bzero(&over, sizeof(over));
	return r ? EXIT_DONE : ctl_cannot(run->ctl, EXIT_FAILED, "no pipe: %s", strerror(errno));
}

/* ------------------------------------------------------------ the command takes our place */

static bool run_set_number(const char *name, int number)
{
	char text[16];

	if (number < 0)
		return true;
	(void)snprintf(text, sizeof(text), "%d", number);
	return fcntl(number, F_SETFD, 0) == 0 && setenv(name, text, 1) == 0;
}

static bool run_environment(const struct run *run)
{
	static const char *const ours[] = {"PASIDD_FD", "PASIDD_IOMMUFD", "PASIDD_DEVICE_FDS",
		"PASIDD_DEVICE_IDS", "PASIDD_SET", "PASIDD_TAKE_OVER_FD"};
	char fds[PASID_PAIRS_MAX * 48], ids[PASID_PAIRS_MAX * 48];

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		(void)unsetenv(ours[i]);
	for (size_t i = 0; i < run->names.device_count; i++)
		if (fcntl(run->devices[i].fd, F_SETFD, 0) < 0)
			return false;
	if (run->session >= 0 && fcntl(run->session, F_SETFD, 0) < 0)
		return false;
	if (run->names.device_count > 0 && (!run_list(&run->names, false, fds, sizeof(fds)) ||
						   !run_list(&run->names, true, ids, sizeof(ids)) ||
						   setenv("PASIDD_DEVICE_FDS", fds, 1) < 0 ||
						   setenv("PASIDD_DEVICE_IDS", ids, 1) < 0))
		return false;
	return setenv("PASIDD_SET", run->name, 1) == 0 &&
	       (run->handed || setenv(PASID_SOCKET_ENV, run_socket_path(run->ctl), 1) == 0) &&
	       run_set_number("PASIDD_FD", run->names.connection) &&
	       run_set_number("PASIDD_IOMMUFD", run->names.iommufd) &&
	       run_set_number("PASIDD_TAKE_OVER_FD", run->secret);
}

static void run_free_words(char **words)
{
	for (size_t i = 0; words != NULL && words[i] != NULL; i++)
		free(words[i]);
	free(words);
}

/* The words with their names replaced; NULL: no memory. */
static char **run_words(const struct run *run)
{
	size_t count = 0;
	char **words;
	const char *what;

	while (run->ctl->others[count] != NULL)
		count++;
	words = calloc(count + 1, sizeof(*words));
	for (size_t i = 0; words != NULL && i < count; i++) {
		long length = run_replace(run->ctl->others[i], &run->names, NULL, 0, &what);

		words[i] = length < 0 ? NULL : malloc((size_t)length + 1);
		if (words[i] == NULL) {
			run_free_words(words);
			return NULL;
		}
		(void)run_replace(
			run->ctl->others[i], &run->names, words[i], (size_t)length + 1, &what);
	}
	return words;
}

static int run_exec(struct run *run)
{
	char **words = run_words(run);
	int code;

	if (words != NULL && words[0] != NULL && run_environment(run)) {
		(void)fflush(stdout);
		(void)signal(SIGPIPE, SIG_DFL);
		(void)execvp(words[0], words);
		code = run_cannot(run->ctl, errno);
	} else {
		code = ctl_cannot(run->ctl, EXIT_FAILED, "the command cannot be prepared: %s",
			strerror(errno));
	}
	run_free_words(words);
	return code;
}

static int ctl_run_vmm(struct ctl *ctl)
{
	static int (*const steps[])(struct run * run) = {run_check, run_open, run_set,
		run_open_iommufd, run_add_devices, run_add_slices, run_hand_over, run_exec};
	struct run run = {
		.ctl = ctl,
		.handed = (ctl->given & CTL_HANDED) != 0,
		.names = {.connection = -1, .iommufd = -1, .device_count = ctl->device_count},
		.session = -1,
		.secret = -1,
	};
	int code = EXIT_DONE;

	run.names.devices = run.devices;
	if (ctl->given & CTL_SET && ctl->set.name != NULL && strlen(ctl->set.name) > PASID_NAME_MAX)
		return ctl_usage("--set: a name has at most %u bytes", PASID_NAME_MAX);
	if (ctl->given & CTL_SET)
		(void)snprintf(run.name, sizeof(run.name), "%s",
			ctl->set.name != NULL ? ctl->set.name : "");
	else
		run_set_name(ctl->others[0], (unsigned long)getpid(), run.name, sizeof(run.name));
	for (size_t i = 0; code == EXIT_DONE && i < ARRAY_SIZE(steps); i++)
		code = steps[i](&run);
	return code;
}

static const struct ctl_command commands[] = {
	{.name = "run",
		.arguments =
			"[--set NAME] [--quota N] [--device ADDRESS]... [--share ADDRESS]... [--handed] "
			"[--iommu PATH] -- COMMAND [ARGUMENT...]",
		.summary = "start a VMM with its set and devices in place",
		.help = "The daemon opens the devices, if its policy lets this user have them, and registers slices of\n"
			"the shared ones, in a set that is made here and dies with the VMM. COMMAND then takes the place\n"
			"of pasidctl. In its words are replaced: {iommufd}, {device:ADDRESS} (descriptors), {dev-id:ADDRESS}\n"
			"(iommufd's number for the device, which the daemon has bound to it already), {set}. Environment:\n"
			"PASIDD_SET, PASIDD_SOCKET, PASIDD_IOMMUFD, PASIDD_DEVICE_FDS and PASIDD_DEVICE_IDS (ADDRESS=N,...),\n"
			"PASIDD_TAKE_OVER_FD: a pipe with the 16 bytes with which libpasid takes the session over. A VMM\n"
			"that does not has the set as long as it lives and the daemon is not restarted.\n"
			"The iommufd is /dev/iommu, of a daemon that simulates that of the simulation, or PATH.\n"
			"With --handed the set is one that an admin has made; it is emptied when the VMM ends, and stays.\n"
			"The session is then taken over on {connection}, which is PASIDD_FD, too.\n"
			"Exit status 127: there is no such command; 126: it cannot be run. Nothing is left then.\n\n"
			"Examples:\n  pasidctl run --set vm1 --device 0000:3a:00.0 -- vmm --iommufd {iommufd}\n  pasidctl "
			"run --share 0000:3b:00.0 -- vmm\n  pasidctl run --handed --set vm2 --share 0000:3b:00.0 -- vmm\n",
		.options = CTL_SET | CTL_QUOTA | CTL_DEVICE | CTL_SHARE | CTL_HANDED | CTL_IOMMU,
		.offline = true,
		.runs_other = true,
		.run = ctl_run_vmm},
};
const struct ctl_group ctl_run_commands = {commands, ARRAY_SIZE(commands)};
