/* SPDX-License-Identifier: MIT */
/* What the demo runs in: a temporary folder, and a daemon on an IOMMU that is simulated there. */
#include "pasidctl_demo.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HOST_NAP_MS    20
#define HOST_WORDS_MAX 16
#define HOST_TEXT_MAX  ((size_t)1 << 20)

static const char host_config[] =
	"{\"simulate\": {\"devices\": ["
	"{\"address\": \"0000:00:01.0\", \"width\": 20}, {\"address\": \"0000:00:02.0\", \"width\": 20}, "
	"{\"address\": \"0000:00:03.0\", \"width\": 20}, {\"address\": \"0000:00:04.0\", \"width\": 0}, "
	"{\"address\": \"0000:00:05.0\", \"width\": 8}]}, "
	"\"devices\": [{\"address\": \"0000:00:03.0\", \"use\": \"shared\", \"everyone\": true}], "
	"\"quarantine\": {\"cooling_ms\": 1000}}\n";

/* The last signal that asked us to end; 0: none. */
static volatile sig_atomic_t host_signal;

static void host_on_signal(int number)
{
	host_signal = number;
}

uint64_t demo_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool demo_goes_on(struct demo *demo)
{
	if (host_signal != 0)
		demo_fail(demo, "the demo goes on, but it was interrupted");
	return !demo->failed;
}

bool demo_nap(struct demo *demo, uint64_t until_ms)
{
	const struct timespec nap = {.tv_nsec = HOST_NAP_MS * 1000000L};

	(void)nanosleep(&nap, NULL);
	if (demo_goes_on(demo) && waitpid(demo->daemon, NULL, WNOHANG) == demo->daemon) {
		demo->daemon = 0;
		demo_fail(demo, "the daemon runs, but it ended");
	}
	return !demo->failed && demo_now_ms() < until_ms;
}

/* ------------------------------------------------------------ programs */

static bool host_try(
	char ret_path[static DEMO_PATH_MAX], const char *folder, size_t length, const char *name)
{
	int r = snprintf(ret_path, DEMO_PATH_MAX, "%.*s/%s", (int)length, folder, name);

	return r > 0 && r < DEMO_PATH_MAX && access(ret_path, X_OK) == 0;
}

/* Beside pasidctl, in the sbin beside its folder, in $PATH, where packages put it. */
static void host_find(struct demo *demo, const char *name, char ret_path[static DEMO_PATH_MAX])
{
	const char *slash = strrchr(demo->self, '/'), *path = getenv("PATH");
	size_t length = slash != NULL ? (size_t)(slash - demo->self) : 0;
	char sibling[DEMO_PATH_MAX + 16];

	(void)snprintf(sibling, sizeof(sibling), "%.*s/../sbin", (int)length, demo->self);
	if (demo->failed || host_try(ret_path, demo->self, length, name) ||
		host_try(ret_path, sibling, strlen(sibling), name))
		return;
	for (; path != NULL && *path != '\0'; path += strspn(path, ":")) {
		size_t end = strcspn(path, ":");

		if (end > 0 && host_try(ret_path, path, end, name))
			return;
		path += end;
	}
	if (!host_try(ret_path, "/usr/sbin", 9, name) &&
		!host_try(ret_path, "/usr/local/sbin", 15, name))
		demo_fail(demo,
			"%s is installed, but it is neither beside pasidctl nor in $PATH nor in /usr/sbin; "
			"install it (package pasidd)",
			name);
}

static void host_exec(const char *program, const char *const *words)
{
	const char *argv[HOST_WORDS_MAX + 2] = {program};

	for (size_t i = 0; i < HOST_WORDS_MAX && words[i] != NULL; i++)
		argv[i + 1] = words[i];
	(void)execv(program, (char *const *)argv);
	_exit(127);
}

/* Its own group: what is typed at the terminal is for us, and we end them. */
static void host_child(int out, int error, int signal_at_our_end)
{
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, signal_at_our_end);
	(void)signal(SIGPIPE, SIG_DFL);
	if (dup2(open("/dev/null", O_RDONLY), STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
		dup2(error, STDERR_FILENO) < 0)
		_exit(127);
}

static size_t host_read(int fd, char *text, size_t size)
{
	size_t used = 0;

	while (used + 1 < size) {
		ssize_t n = read(fd, text + used, size - 1 - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	text[used] = '\0';
	return used;
}

/* What a program says, and how it ends; NULL after a failure. The caller frees it. */
static char *host_run(
	struct demo *demo, const char *program, const char *const *words, int *ret_status)
{
	char *text = demo->failed ? NULL : malloc(HOST_TEXT_MAX);
	int ends[2];
	pid_t pid;

	if (text == NULL || pipe2(ends, O_CLOEXEC) < 0) {
		free(text);
		demo_fail(demo, "%s can be run, but there is no memory or no pipe", program);
		return NULL;
	}
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		host_child(ends[1], STDERR_FILENO, SIGKILL);
		host_exec(program, words);
	}
	(void)close(ends[1]);
	(void)host_read(ends[0], text, HOST_TEXT_MAX);
	(void)close(ends[0]);
	*ret_status = -1;
	while (pid > 0 && waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
		;
	return text;
}

/* pasid-sim's words begin with its folder. */
static char *host_sim(struct demo *demo, const char *const *words)
{
	const char *all[HOST_WORDS_MAX] = {demo->simulation};
	int status;
	char *text;

	for (size_t i = 0; words[i] != NULL && i + 2 < HOST_WORDS_MAX; i++)
		all[i + 1] = words[i];
	text = host_run(demo, demo->sim, all, &status);
	/* 3: a DMA that it walked for is blocked */
	if (text != NULL &&
		(!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 3)))
		demo_fail(demo, "pasid-sim %s succeeds, but it ended with %d", words[0], status);
	return text;
}

json_t *demo_sim_json(struct demo *demo, const char *const *words)
{
	char *text = host_sim(demo, words);
	json_t *json = text != NULL ? json_loads(text, 0, NULL) : NULL;

	if (json == NULL)
		demo_fail(demo, "pasid-sim %s answers in JSON, but it said: %.100s", words[0],
			text != NULL ? text : "");
	free(text);
	return json;
}

void demo_sim(struct demo *demo, const char *const *words)
{
	free(host_sim(demo, words));
}

void demo_show(struct demo *demo, const char *program, const char *const *words)
{
	const char *all[HOST_WORDS_MAX] = {"--socket", demo->socket};
	bool sim = strcmp(program, "pasid-sim") == 0;
	char *text, *rest, *line;
	int status;

	if (demo->failed || demo->ctl->json)
		return;
	for (size_t i = 0; words[i] != NULL && i + 3 < HOST_WORDS_MAX; i++)
		all[i + 2] = words[i];
	text = rest = sim ? host_sim(demo, words) : host_run(demo, demo->self, all, &status);
	printf("   %s", program);
	for (size_t i = 0; words[i] != NULL; i++)
		printf(" %s", words[i]);
	puts(":");
	while (rest != NULL && (line = strsep(&rest, "\n")) != NULL)
		if (line[0] != '\0')
			printf("       %s\n", line);
	free(text);
}

/* ------------------------------------------------------------ the folder */

static int host_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void host_make_folder(struct demo *demo)
{
	const char *parent = getenv("TMPDIR");
	char config[DEMO_PATH_MAX];
	FILE *file;

	/* The path of a socket has room for 107 bytes. */
	if (parent == NULL || parent[0] != '/' || strlen(parent) > sizeof(demo->folder) - 24)
		parent = "/tmp";
	(void)snprintf(demo->folder, sizeof(demo->folder), "%s/pasidd-demo-XXXXXX", parent);
	if (mkdtemp(demo->folder) == NULL) {
		demo_fail(demo, "a folder can be made in %s, but: %s", parent, strerror(errno));
		demo->folder[0] = '\0';
		return;
	}
	(void)snprintf(demo->simulation, sizeof(demo->simulation), "%s/iommu", demo->folder);
	(void)snprintf(demo->socket, sizeof(demo->socket), "%s/socket", demo->folder);
	(void)snprintf(demo->log, sizeof(demo->log), "%s/pasidd.log", demo->folder);
	(void)snprintf(config, sizeof(config), "%s/pasidd.json", demo->folder);
	file = fopen(config, "we");
	if (file == NULL || fputs(host_config, file) < 0 || fclose(file) != 0)
		demo_fail(demo, "%s can be written, but: %s", config, strerror(errno));
}

/* ------------------------------------------------------------ the daemon */

static void host_exec_daemon(const struct demo *demo)
{
	char config[DEMO_PATH_MAX], simulate[DEMO_PATH_MAX + 16];
	const char *words[] = {"--config", config, simulate, "--runtime-dir", demo->folder,
		"--socket", demo->socket, NULL};
	int log = open(demo->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	(void)snprintf(config, sizeof(config), "%s/pasidd.json", demo->folder);
	(void)snprintf(simulate, sizeof(simulate), "--simulate=%s", demo->simulation);
	/* Of no service manager, whose variables we may have. */
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("LOGS_DIRECTORY");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("WATCHDOG_USEC");
	host_child(log, log, SIGTERM);
	host_exec(demo->pasidd, words);
}

static void host_start_daemon(struct demo *demo)
{
	const struct pasid_options options = {.path = demo->socket,
		.role = PASID_ROLE_ADMIN,
		.name = "pasidctl demo",
		.timeout_ms = DEMO_WAIT_MS};
	uint64_t until = demo_now_ms() + DEMO_WAIT_MS;
	pid_t pid;

	if (demo->failed)
		return;
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0)
		host_exec_daemon(demo);
	if (pid < 0) {
		demo_fail(demo, "pasidd can be started, but: %s", strerror(errno));
		return;
	}
	demo->daemon = pid;
	while (pasid_open(&options, &demo->ctl->client, NULL) != 0)
		if (!demo_nap(demo, until)) {
			demo_fail(demo, "pasidd answers, but it does not");
			return;
		}
}

static void host_open_iommufds(struct demo *demo)
{
	char path[DEMO_PATH_MAX + 8];

	(void)snprintf(path, sizeof(path), "%s/iommu", demo->simulation);
	for (size_t i = 0; i < DEMO_VMS && !demo->failed; i++) {
		demo->iommufds[i] = open(path, O_RDWR | O_CLOEXEC);
		if (demo->iommufds[i] < 0)
			demo_fail(demo, "%s can be opened, but: %s", path, strerror(errno));
	}
}

static void host_catch(void (*handler)(int))
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction action = {.sa_handler = handler}; /* no SA_RESTART: waiting ends */

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void)sigaction(signals[i], &action, NULL);
}

void demo_start(struct demo *demo)
{
	ssize_t length = readlink("/proc/self/exe", demo->self, sizeof(demo->self) - 1);

	for (size_t i = 0; i < DEMO_VMS; i++) {
		demo->iommufds[i] = -1;
		demo->vms[i].channel = -1;
	}
	host_catch(host_on_signal);
	demo->self[length > 0 ? length : 0] = '\0';
	host_find(demo, "pasidd", demo->pasidd);
	host_find(demo, "pasid-sim", demo->sim);
	if (!demo->failed)
		host_make_folder(demo);
	host_start_daemon(demo);
	host_open_iommufds(demo);
	demo_vm_start(demo, 0, "vm1");
	demo_vm_start(demo, 1, "vm2");
}

/* ------------------------------------------------------------ the end */

static void host_stop_daemon(struct demo *demo)
{
	uint64_t until = demo_now_ms() + DEMO_WAIT_MS / 2;
	const struct timespec nap = {.tv_nsec = HOST_NAP_MS * 1000000L};

	if (demo->daemon == 0)
		return;
	(void)kill(demo->daemon, SIGTERM);
	while (waitpid(demo->daemon, NULL, WNOHANG) == 0) {
		if (demo_now_ms() >= until)
			(void)kill(demo->daemon, SIGKILL);
		(void)nanosleep(&nap, NULL);
	}
	demo->daemon = 0;
}

/* What the daemon said, where something went wrong: the folder does not stay. */
static void host_show_log(const struct demo *demo)
{
	char text[4096];
	int fd = open(demo->log, O_RDONLY | O_CLOEXEC);
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;

	if (fd < 0)
		return;
	(void)lseek(
		fd, size > (off_t)sizeof(text) - 1 ? size - (off_t)sizeof(text) + 1 : 0, SEEK_SET);
	if (host_read(fd, text, sizeof(text)) > 0)
		fprintf(stderr, "pasidctl: the end of the daemon's log:\n%s", text);
	(void)close(fd);
}

void demo_stop(struct demo *demo)
{
	int number;

	for (size_t i = 0; i < DEMO_VMS; i++) {
		demo_vm_kill(demo, i);
		if (demo->iommufds[i] >= 0)
			(void)close(demo->iommufds[i]);
	}
	pasid_close(demo->ctl->client);
	demo->ctl->client = NULL;
	host_stop_daemon(demo);
	number = host_signal;
	if (demo->failed && number == 0)
		host_show_log(demo);
	if (demo->folder[0] != '\0')
		(void)nftw(demo->folder, host_remove, 16, FTW_DEPTH | FTW_PHYS);
	host_catch(SIG_DFL);
	(void)fflush(stdout);
	if (number != 0)
		(void)raise(number);
}
