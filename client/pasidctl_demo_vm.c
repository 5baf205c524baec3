/* SPDX-License-Identifier: MIT */
/* A VM of the demo: a process that does with libpasid what it is told, and can be killed. */
#include "pasidctl_demo.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define VM_MEMORY (UINT64_C(2) << 20)

struct vm {
	const struct demo *demo;
	size_t index;
	struct pasid_client *client;
	bool events;
};

static void vm_on_event(
	struct pasid_client *client, const struct pasid_event *event, void *userdata)
{
	struct vm *vm = userdata;

	(void)client;
	/* Of those that a VM causes itself none is like these. */
	if (event->kind == PASID_EVENT_BINDING_LOST || event->kind == PASID_EVENT_BINDING_TAINTED ||
		event->kind == PASID_EVENT_DEVICE_TAINTED ||
		event->kind == PASID_EVENT_SET_ENDING || event->kind == PASID_EVENT_SET_EMPTIED)
		vm->events = true;
}

static int vm_set(struct vm *vm, const struct demo_order *order, struct pasid_error *error)
{
	const struct pasid_options options = {
		.path = vm->demo->socket, .name = order->address, .timeout_ms = DEMO_WAIT_MS};
	const struct pasid_set_create_args args = {
		.name = order->address, .has_quota = true, .quota = order->count};
	int r = pasid_open(&options, &vm->client, error);

	if (r == 0)
		r = pasid_set_create(vm->client, &args, NULL);
	return r == 0 ? pasid_watch(vm->client, vm_on_event, vm) : r;
}

static int vm_add(struct vm *vm, const struct demo_order *order, uint64_t *ret_device)
{
	char path[DEMO_PATH_MAX + 64];
	struct pasid_device_info info = {0};
	struct pasid_device_add_args args = {
		.iommufd = vm->demo->iommufds[order->lent ? 1 - vm->index : vm->index]};
	int r;

	(void)snprintf(path, sizeof(path), "%s/devices/%s", vm->demo->simulation, order->address);
	args.device = open(path, O_RDWR | O_CLOEXEC);
	if (args.device < 0)
		return -errno;
	r = pasid_device_add(vm->client, &args, &info, NULL);
	/* A VMM keeps it open as long as it uses the device; so do we, unless we may not. */
	if (r != 0)
		(void)close(args.device);
	*ret_device = info.id;
	return r;
}

static int vm_map(struct vm *vm, const struct demo_order *order, uint64_t *ret_inode)
{
	struct pasid_memory_args args = {
		.device = order->devices[0], .length = VM_MEMORY, .writeable = true};
	struct stat st = {0};
	int r;

	args.memfd = memfd_create("guest memory", MFD_CLOEXEC);
	if (args.memfd < 0)
		return -errno;
	r = ftruncate(args.memfd, (off_t)VM_MEMORY) == 0 && fstat(args.memfd, &st) == 0
		    ? pasid_memory_map(vm->client, &args)
		    : -errno;
	(void)close(args.memfd);
	if (r == 0)
		*ret_inode = st.st_ino;
	return r;
}

static int vm_alloc(struct vm *vm, const struct demo_order *order, uint64_t *ret_number)
{
	const struct pasid_allocate_args args = {
		.count = order->pasid.guest ? 1 : order->count,
		.has_guest = order->pasid.guest,
		.guest_pasid = order->pasid.value,
	};
	uint32_t numbers[64];
	int r = args.count <= ARRAY_SIZE(numbers) ? pasid_allocate(vm->client, &args, numbers)
						  : -EINVAL;

	if (r == 0)
		*ret_number = numbers[0];
	return r;
}

static int vm_bind(struct vm *vm, const struct demo_order *order, uint64_t *ret_number)
{
	struct pasid_pair pairs[DEMO_DEVICES] = {0};
	const struct pasid_bind_args args = {
		.pasid = order->pasid, .pairs = pairs, .count = order->count};
	uint32_t host = 0;
	int r;

	for (size_t i = 0; i < order->count && i < DEMO_DEVICES; i++) {
		pairs[i].device = order->devices[i];
		pairs[i].table.source = PASID_TABLE_SPACE;
	}
	r = pasid_bind(vm->client, &args, &host, NULL);
	*ret_number = host;
	return r;
}

static int vm_free(struct vm *vm, const struct demo_order *order)
{
	const struct pasid_free_args args = {.pasids = &order->pasid, .count = 1};

	return pasid_free(vm->client, &args, NULL, NULL);
}

static int vm_do(struct vm *vm, const struct demo_order *order, uint64_t *ret_value)
{
	const struct pasid_unbind_args unbind = {.pasid = order->pasid};
	const struct pasid_host_args find = {.host_pasid = order->pasid.value};
	const struct pasid_device_slice_args slice = {.address = order->address};
	struct pasid_device_info device = {0};
	struct pasid_grant_info grant;
	struct pasid_set_info set = {0};
	int r;

	switch (order->verb) {
	case DEMO_ADD:
		return vm_add(vm, order, ret_value);
	case DEMO_SLICE:
		r = pasid_device_slice(vm->client, &slice, &device);
		*ret_value = device.id;
		return r;
	case DEMO_MAP:
		return vm_map(vm, order, ret_value);
	case DEMO_ALLOC:
		return vm_alloc(vm, order, ret_value);
	case DEMO_BIND:
		return vm_bind(vm, order, ret_value);
	case DEMO_UNBIND:
		return pasid_unbind(vm->client, &unbind);
	case DEMO_FREE:
		return vm_free(vm, order);
	case DEMO_FIND:
		return pasid_host_find(vm->client, &find, &grant);
	case DEMO_INFO:
		r = pasid_set_get(vm->client, NULL, &set);
		*ret_value = set.pasids.current;
		return r;
	case DEMO_SET:
	default:
		return -EINVAL;
	}
}

__attribute__((noreturn)) static void vm_live(struct vm *vm, int channel)
{
	struct demo_order order;

	while (recv(channel, &order, sizeof(order), 0) == (ssize_t)sizeof(order)) {
		struct demo_answer answer = {0};

		if (order.verb == DEMO_SET) {
			answer.code = vm_set(vm, &order, &answer.error);
		} else {
			answer.code = vm_do(vm, &order, &answer.value);
			while (pasid_dispatch(vm->client, 0) > 0)
				;
			answer.events = vm->events;
		}
		if (answer.code != 0 && vm->client != NULL)
			answer.error = *pasid_last_error(vm->client);
		if (send(channel, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

/* ------------------------------------------------------------ from outside */

/* In the child: no signal of the terminal's, and no life without us. */
static void vm_settle(struct demo *demo, pid_t parent, int theirs)
{
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	pasid_close(demo->ctl->client);
	/* The other end of each channel is the parent's alone: its end must be noticed. */
	for (size_t i = 0; i < DEMO_VMS; i++)
		if (demo->vms[i].channel >= 0 && demo->vms[i].channel != theirs)
			(void)close(demo->vms[i].channel);
}

void demo_vm_start(struct demo *demo, size_t index, const char *name)
{
	struct demo_vm *vm = &demo->vms[index];
	struct timeval wait = {.tv_sec = DEMO_WAIT_MS / 1000};
	struct vm child = {.demo = demo, .index = index};
	pid_t parent = getpid(), pid;
	int ends[2];

	if (demo->failed)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		demo_fail(demo, "a VM can be started, but there is no socket: %s", strerror(errno));
		return;
	}
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		(void)close(ends[0]);
		vm_settle(demo, parent, ends[1]);
		vm_live(&child, ends[1]);
	}
	(void)close(ends[1]);
	(void)setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	*vm = (struct demo_vm){name, pid > 0 ? pid : 0, ends[0]};
	if (pid < 0)
		demo_fail(
			demo, "a VM can be started, but there is no process: %s", strerror(errno));
}

bool demo_vm_ask(struct demo *demo, size_t index, const struct demo_order *order,
	struct demo_answer *ret_answer)
{
	const struct demo_vm *vm = &demo->vms[index];

	if (!demo_goes_on(demo))
		return false;
	if (send(vm->channel, order, sizeof(*order), MSG_NOSIGNAL) == (ssize_t)sizeof(*order) &&
		recv(vm->channel, ret_answer, sizeof(*ret_answer), 0) ==
			(ssize_t)sizeof(*ret_answer))
		return true;
	demo_fail(demo, "%s answers, but there was no answer: %s", vm->name, strerror(errno));
	return false;
}

void demo_vm_kill(struct demo *demo, size_t index)
{
	struct demo_vm *vm = &demo->vms[index];

	if (vm->pid == 0)
		return;
	(void)kill(vm->pid, SIGKILL);
	while (waitpid(vm->pid, NULL, 0) < 0 && errno == EINTR)
		;
	(void)close(vm->channel);
	*vm = (struct demo_vm){.name = vm->name, .channel = -1};
}
