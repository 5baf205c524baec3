/* SPDX-License-Identifier: MIT */
/*
 * A small VMM on an event loop, with nothing but libpasid's installed header. It reads commands
 * from its standard input, a line each, and prints one line of JSON for every result:
 *
 *   {"command": "alloc guest 5", "ok": true, "pasids": [1024]}
 *   {"command": "free host 7", "ok": false, "code": 2, "status": "not-found", "reason": "no-pasid",
 * "message": "..."}
 *
 * Commands are done one after the other. `vmm --help` lists them. Numbers are decimal or
 * hexadecimal with 0x.
 *
 * What it shows: pasid_fd() in somebody's loop (libevent here), the asynchronous calls, who owns
 * the descriptors, and the part of the work that stays the VMM's on a real kernel: address spaces,
 * mappings and page tables on its own iommufd (vmm_kernel.h).
 */
#include "vmm.h"

#include <err.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void vmm_quit(struct vmm *vmm, char **words, size_t count)
{
	(void)words;
	(void)count;
	vmm->ended = true;
	vmm_done(vmm, "%s", "");
}

/* ------------------------------------------------------------ command lines */

static const struct vmm_command {
	const char *name, *arguments, *summary;
	size_t min, max;
	void (*run)(struct vmm *vmm, char **words, size_t count);
} vmm_commands[] = {
	{"set", "NAME [translated|identity] [QUOTA]", "make this VM's set", 1, 3, vmm_set},
	{"info", "", "this VM's set", 0, 0, vmm_info},
	{"add", "IOMMUFD DEVICE", "open both and register the device", 2, 2, vmm_add},
	{"open", "ADDRESS [IOMMUFD]", "the daemon opens the device", 1, 2, vmm_open},
	{"slice", "ADDRESS", "a part of a shared device", 1, 1, vmm_slice},
	{"remove", "DEV", "give a device back", 1, 1, vmm_remove},
	{"map", "DEV SPACE SIZE [IOVA]", "memory (a memfd) into an address space", 3, 4,
		vmm_map_memory},
	{"unmap", "DEV SPACE IOVA SIZE", "the opposite", 4, 4, vmm_unmap},
	{"alloc", "host [COUNT] | guest N | range MIN MAX", "take numbers", 1, 3, vmm_alloc},
	{"free", "host N | guest N | all", "give them back", 1, 2, vmm_free},
	{"attach", "HOST GUEST", "let a guest's number mean a host's", 2, 2, vmm_attach},
	{"detach", "GUEST", "the opposite", 1, 1, vmm_detach},
	{"find", "guest N | host N", "look a number up", 2, 2, vmm_find},
	{"bind", "host|guest N DEV[=TABLE]...", "bind on all devices or none", 3,
		VMM_DEVICES_MAX + 2, vmm_bind},
	{"unbind", "host|guest N [DEV...]", "from these devices, or all", 2, VMM_DEVICES_MAX + 2,
		vmm_unbind},
	{"rid", "DEV[=TABLE]", "attach the device itself", 1, 1, vmm_rid},
	{"unrid", "DEV", "the opposite", 1, 1, vmm_unrid},
	{"watch", "", "print events", 0, 0, vmm_watch},
	{"ioas", "DEV SIZE [IOVA]", "own address space with memory (real kernel)", 2, 3,
		vmm_make_ioas},
	{"hwpt", "DEV IOAS", "own page table for PASIDs (real kernel)", 2, 2, vmm_make_hwpt},
	{"destroy", "DEV ID", "own object (real kernel)", 2, 2, vmm_destroy_object},
	{"lend", "IOMMUFD SOCKET", "hand our iommufd to who connects there", 2, 2, vmm_lend},
	{"borrow", "SOCKET NAME", "take one, and call it NAME", 2, 2, vmm_borrow_iommufd},
	{"quit", "", "end; as end of file does", 0, 0, vmm_quit},
};

static const struct vmm_command *vmm_find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(vmm_commands) / sizeof(vmm_commands[0]); i++)
		if (strcmp(vmm_commands[i].name, name) == 0)
			return &vmm_commands[i];
	return NULL;
}

static void vmm_run(struct vmm *vmm, char *line)
{
	char *words[VMM_WORDS_MAX], *rest = NULL;
	size_t count = 0;
	snprintf(vmm->command, sizeof(vmm->command), "%s", line);
	for (char *word = strtok_r(line, " \t\r", &rest); word != NULL && count < VMM_WORDS_MAX;
		word = strtok_r(NULL, " \t\r", &rest))
		words[count++] = word;
	if (count == 0 || words[0][0] == '#')
		return;
	vmm->busy = true;
	const struct vmm_command *command = vmm_find_command(words[0]);
	if (command == NULL)
		vmm_failed(vmm, -EINVAL, "usage", "there is no command %s", words[0]);
	else if (count - 1 < command->min || count - 1 > command->max)
		vmm_failed(vmm, -EINVAL, "usage", "%s %s", command->name, command->arguments);
	else
		command->run(vmm, words + 1, count - 1);
}

/* Lines that are there, one after the other: the next begins when the one before has its result. */
static void vmm_next_lines(struct vmm *vmm)
{
	char *end;
	while (!vmm->busy && !vmm->ended &&
		(end = memchr(vmm->line, '\n', vmm->line_size)) != NULL) {
		char line[VMM_LINE_MAX];
		size_t size = (size_t)(end - vmm->line);
		memcpy(line, vmm->line, size);
		line[size] = '\0';
		vmm->line_size -= size + 1;
		memmove(vmm->line, end + 1, vmm->line_size);
		vmm_run(vmm, line);
	}
	bool more = memchr(vmm->line, '\n', vmm->line_size) != NULL;
	if (!vmm->busy && (vmm->ended || (vmm->eof && !more)))
		event_base_loopbreak(vmm->base);
}

static void vmm_on_input(evutil_socket_t fd, short what, void *userdata)
{
	struct vmm *vmm = userdata;
	(void)what;
	if (vmm->line_size == sizeof(vmm->line)) {
		if (vmm->busy || memchr(vmm->line, '\n', vmm->line_size) != NULL)
			event_del(vmm->input_event); /* until a command is done */
		else
			errx(2, "a line is longer than %d bytes", VMM_LINE_MAX);
		return;
	}
	ssize_t size = read(fd, vmm->line + vmm->line_size, sizeof(vmm->line) - vmm->line_size);
	if (size > 0) {
		vmm->line_size += (size_t)size;
	} else {
		event_del(vmm->input_event);
		vmm->eof = true;
		if (vmm->line_size > 0 && vmm->line[vmm->line_size - 1] != '\n')
			vmm->line[vmm->line_size++] = '\n';
	}
	vmm_next_lines(vmm);
}

static void vmm_on_client(evutil_socket_t fd, short what, void *userdata)
{
	struct vmm *vmm = userdata;
	(void)fd;
	(void)what;
	int r = pasid_dispatch(vmm->client, 0);
	if (r < 0)
		errx(3, "%s", pasid_last_error(vmm->client)->message);
	if (!vmm->ended && !vmm->eof)
		event_add(vmm->input_event, NULL);
	vmm_next_lines(vmm);
}

/* ------------------------------------------------------------ main */

static void vmm_help(void)
{
	puts("Usage: vmm [--socket PATH | --fd N]\n\nA small VMM: commands on standard input, a line "
	     "each; one line of JSON for every result.\n--fd takes a connection that an admin made "
	     "for its set (pasidctl connect). Without either, a session that pasidctl run left is taken over.\n");
	for (size_t i = 0; i < sizeof(vmm_commands) / sizeof(vmm_commands[0]); i++)
		printf("  %-8s %-40s %s\n", vmm_commands[i].name, vmm_commands[i].arguments,
			vmm_commands[i].summary);
	puts("\nDEV is dev1, dev2, ... in the order of registration, or an address. TABLE is hwpt:N, "
	     "ioas:N or\nspace:N; left out, it is the last one made for the device, else space:0.\n\n"
	     "Example:\n  printf 'set vm1\\nslice 0000:00:03.0\\nmap dev1 0 0x200000\\n"
	     "alloc guest 5\\nbind guest 5 dev1\\n' | vmm");
}

static int vmm_fd(const char *text)
{
	char *end;
	long fd = strtol(text, &end, 10);
	if (end == text || *end != '\0' || fd < 0 || fd > INT_MAX)
		errx(2, "%s is not the number of an open descriptor", text);
	return (int)fd;
}

/*
 * Started by `pasidctl run`: the session is there, with its set and devices, and is taken over. On
 * a connection for one set PASIDD_FD is where.
 */
static void vmm_inherit(struct pasid_options *options, struct pasid_hand_over *over)
{
	const char *secret = getenv("PASIDD_TAKE_OVER_FD"), *fd = getenv("PASIDD_FD");
	if (secret == NULL)
		return;
	int pipe = vmm_fd(secret);
	if (read(pipe, over->secret, sizeof(over->secret)) != (ssize_t)sizeof(over->secret))
		errx(2, "PASIDD_TAKE_OVER_FD: the secret is not there");
	close(pipe);
	options->take_over = over;
	options->has_fd = fd != NULL;
	options->fd = fd != NULL ? vmm_fd(fd) : -1;
}

static void vmm_set_up(struct vmm *vmm)
{
	struct event_config *config = event_config_new();
	/* Standard input may be a plain file, which epoll refuses. */
	event_config_require_features(config, EV_FEATURE_FDS);
	vmm->base = event_base_new_with_config(config);
	event_config_free(config);
	if (vmm->base == NULL)
		errx(4, "no event loop");
	vmm->input_event = event_new(vmm->base, 0, EV_READ | EV_PERSIST, vmm_on_input, vmm);
	vmm->client_event = event_new(
		vmm->base, pasid_fd(vmm->client), EV_READ | EV_PERSIST, vmm_on_client, vmm);
	event_add(vmm->input_event, NULL);
	event_add(vmm->client_event, NULL);
}

static void vmm_tear_down(struct vmm *vmm)
{
	pasid_close(vmm->client);
	for (size_t i = 0; i < vmm->device_count; i++)
		if (vmm->devices[i].fd >= 0)
			close(vmm->devices[i].fd);
	for (size_t i = 0; i < vmm->iommufd_count; i++)
		close(vmm->iommufds[i].fd);
	event_free(vmm->input_event);
	event_free(vmm->client_event);
	if (vmm->lend_event != NULL)
		event_free(vmm->lend_event);
	event_base_free(vmm->base);
}

int main(int argc, char **argv)
{
	static struct vmm vmm;
	struct pasid_options options = {.name = "vmm"};
	struct pasid_hand_over over = {0};
	struct pasid_error error;
	if (argc == 3 && strcmp(argv[1], "--socket") == 0) {
		options.path = argv[2];
	} else if (argc == 3 && strcmp(argv[1], "--fd") == 0) {
		options.has_fd = true;
		options.fd = vmm_fd(argv[2]);
	} else if (argc > 1) {
		vmm_help();
		return strcmp(argv[1], "--help") == 0 ? 0 : 2;
	} else {
		vmm_inherit(&options, &over);
	}
	snprintf(vmm.command, sizeof(vmm.command), "hello");
	if (pasid_open(&options, &vmm.client, &error) != 0) {
		vmm_refused(&vmm, &error);
		return 3;
	}
	vmm_set_up(&vmm);
	vmm_done(&vmm, ", \"session\": %" PRIu64, pasid_session_info(vmm.client)->session);
	event_base_dispatch(vmm.base);
	vmm_tear_down(&vmm);
	return 0;
}
