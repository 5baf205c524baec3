/* SPDX-License-Identifier: MIT */
/* The simulated IOMMU among processes: descriptors that go with SIGKILL, copies that stay, locks
   whose holder dies. Looks inside (sim_memory.h), to tell that nothing is lost. */
#include "hw/sim_memory.h"
#include "sim_rig.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct rig rig;

static void setup(void)
{
	struct sim_config config = rig_config();

	rig_open(&rig, &config);
}

static void teardown(void)
{
	rig_close(&rig);
}

/* A process of its own that runs `body`, tells when it is ready, and waits for its end. */
struct child {
	pid_t pid;
	int socket;
};

static struct child child_start(void (*body)(int socket))
{
	struct child child;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	child.pid = fork();
	ck_assert_int_ge(child.pid, 0);
	if (child.pid == 0) {
		(void)close(pair[0]);
		body(pair[1]);
		_exit(0);
	}
	(void)close(pair[1]);
	child.socket = pair[0];
	return child;
}

static void child_ready(int socket, const int *fds, size_t count)
{
	char byte = 1, control[CMSG_SPACE(4 * sizeof(int))] = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count > 0) {
		struct cmsghdr *header;

		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, count * sizeof(int));
	}
	if (sendmsg(socket, &message, 0) != 1)
		_exit(1);
}

static void child_wait(const struct child *child, int *ret_fds, size_t count)
{
	char byte = 0, control[CMSG_SPACE(4 * sizeof(int))] = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *header;

	ck_assert_int_eq(recvmsg(child->socket, &message, MSG_CMSG_CLOEXEC), 1);
	header = CMSG_FIRSTHDR(&message);
	if (count > 0) {
		ck_assert_ptr_nonnull(header);
		ck_assert_uint_eq(header->cmsg_len, CMSG_LEN(count * sizeof(int)));
		memcpy(ret_fds, CMSG_DATA(header), count * sizeof(int));
	}
}

static void child_kill(struct child *child)
{
	ck_assert_int_eq(kill(child->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child->pid, NULL, 0), child->pid);
	(void)close(child->socket);
}

static unsigned pages_used(void)
{
	unsigned used = 0;

	for (uint32_t i = 0; i < rig.sim->header->page_count / 64; i++)
		used += (unsigned)__builtin_popcountll(rig.sim->bitmap[i]);
	return used;
}

static uint32_t directory_entries(const struct sim_node *node)
{
	return node->width > 15 ? 1u << (node->width - 6) : 512;
}

/* Nothing of anybody is left: no entries, objects, mappings, files, numbers, nor pages but the
   directories and the PASID tables, which stay as with Linux. */
static void assert_empty(unsigned pages_before)
{
	struct sim_header *header = rig.sim->header;
	unsigned tables = 0, left = 0;
	struct sim_entries entries;
	struct sim_entry entry;

	ck_assert_int_eq(sim_entries_init(&entries, rig.sim), 0);
	ck_assert_int_eq(sim_entries_next(&entries, &entry), 0);
	/* Counted, as each assertion costs a system call. */
	for (uint32_t i = 0; i < header->config.device_count; i++) {
		left += header->nodes[i].bound != 0;
		for (uint64_t d = 0; d < directory_entries(&header->nodes[i]); d++)
			tables += *sim_word(rig.sim, header->nodes[i].directory + d * 8) != 0;
	}
	for (uint32_t i = 0; i < SIM_CONTEXTS_MAX; i++)
		left += header->contexts[i] != 0;
	for (size_t i = 0; i < 2ul * SIM_OBJECTS_MAX; i++)
		left += rig.sim->objects[i].type != OBJECT_NONE || rig.sim->areas[i].ioas != 0;
	for (uint32_t i = 0; i < SIM_FILES_MAX; i++)
		left += header->files[i].used || header->files[i].users;
	for (uint32_t i = 0; i < ARRAY_SIZE(header->dids); i++)
		left += header->dids[i] != 0;
	for (uint32_t i = 0; i < header->group_count; i++)
		for (uint32_t c = 0; c < PASID_COUNT / SIM_CHUNK; c++)
			left += header->groups[i].chunk[c] != 0;
	ck_assert_uint_eq(left, 0);
	ck_assert_uint_eq(pages_used(), pages_before + tables);
}

/* A VM with its RID and two PASIDs attached, that waits for its end; may pass its descriptors on.
 */
static void owner_run(int socket, size_t pass)
{
	struct rig_vm vm = rig_vm(&rig, rig_wide);
	uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);

	if (rig_attach(&rig, &vm, hwpt, 9) != 0 || rig_attach(&rig, &vm, hwpt, 70000) != 0 ||
		rig.calls->attach(rig.sim, vm.device, hwpt, NULL) != 0)
		_exit(1);
	child_ready(socket, (int[]){vm.device, vm.iommufd}, pass);
	for (;;)
		(void)pause();
}

static void owner_alone(int socket)
{
	owner_run(socket, 0);
}

static void owner(int socket)
{
	owner_run(socket, 2);
}

START_TEST(sigkill_of_the_owner_takes_the_entries_away)
	{
		unsigned pages = pages_used();
		struct child child = child_start(owner_alone);

		child_wait(&child, NULL, 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 3);
		child_kill(&child);
		ck_assert_int_eq(rig_stop(&rig, rig_wide, 9, RIG_IOVA), VTD_NO_ENTRY);
		assert_empty(pages);
	}
END_TEST

START_TEST(a_passed_copy_keeps_everything)
	{
		unsigned pages = pages_used();
		struct child child = child_start(owner);
		int fds[2];
		uint32_t id;

		child_wait(&child, fds, 2);
		child_kill(&child);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 3);
		ck_assert_uint_ne(rig_reach(&rig, rig_wide, 70000), 0);
		/* And works: the copies are the same open files. */
		ck_assert_int_eq(rig.calls->detach(rig.sim, fds[0], &(struct hpasid){9}), 0);
		ck_assert_int_eq(rig.calls->ioas_alloc(rig.sim, fds[1], &id), 0);
		ck_assert_uint_gt(id, 1);
		rig.calls->close(rig.sim, fds[1]);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 2);
		rig.calls->close(rig.sim, fds[0]);
		assert_empty(pages);
	}
END_TEST

/* --- locks whose holder dies --- */

static struct rig_vm shared_vm;
static uint32_t shared_hwpt[2];

static void lock_and_wreck(void)
{
	struct sim_header *header = rig.sim->header;

	if (sim_lock(rig.sim) < 0)
		_exit(1);
	/* Whatever could be half done: tables, counters and the allocator are wrecked. */
	memset((char *)header + header->pool, 0xa5, 40ul * SIM_PAGE);
	memset(rig.sim->bitmap, 0x5a, 64);
	memset(header->dids, 0xff, sizeof(header->dids));
	sim_object_at(rig.sim, 0, shared_hwpt[0])->users = 77;
	header->groups[0].chunk[0] = 99;
}

static void die_with_the_lock(int socket)
{
	lock_and_wreck();
	child_ready(socket, NULL, 0);
	for (;;)
		(void)pause();
}

static void die_during_a_replacement(int socket)
{
	child_ready(socket, NULL, 0);
	(void)usleep(100000);
	lock_and_wreck();
	(void)raise(SIGKILL);
}

START_TEST(death_with_the_lock_is_repaired)
	{
		unsigned before = pages_used(), pages;
		struct child child;

		shared_vm = rig_vm(&rig, rig_wide);
		shared_hwpt[0] = rig_hwpt(&rig, &shared_vm, CALLS_HWPT_PASID);
		ck_assert_int_eq(rig_attach(&rig, &shared_vm, shared_hwpt[0], 9), 0);
		ck_assert_int_eq(rig_attach(&rig, &shared_vm, shared_hwpt[0], 70000), 0);
		pages = pages_used();
		child = child_start(die_with_the_lock);
		child_wait(&child, NULL, 0);
		child_kill(&child);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 2);
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 9), shared_vm.ino);
		ck_assert_uint_eq(pages_used(), pages);
		ck_assert_int_eq(rig_detach(&rig, &shared_vm, 9), 0);
		ck_assert_int_eq(
			rig.calls->destroy(rig.sim, shared_vm.iommufd, shared_hwpt[0]), -EBUSY);
		ck_assert_int_eq(rig_detach(&rig, &shared_vm, 70000), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, shared_vm.iommufd, shared_hwpt[0]), 0);
		rig_vm_close(&rig, &shared_vm);
		assert_empty(before);
	}
END_TEST

START_TEST(repair_does_not_bring_back_what_was_missing)
	{
		const struct sim_fault reset = {
			.kind = SIM_FAULT_RESET, .has_rid = true, .rid = rig_narrow, .ms = 60000};
		struct rig_vm narrow = rig_vm(&rig, rig_narrow);
		struct child child;
		uint32_t parent;

		shared_vm = rig_vm(&rig, rig_wide);
		shared_hwpt[0] = rig_hwpt(&rig, &shared_vm, CALLS_HWPT_PASID);
		parent = rig_hwpt(&rig, &shared_vm, CALLS_HWPT_PASID | CALLS_HWPT_NEST_PARENT);
		ck_assert_int_eq(
			rig_nested(&rig, &shared_vm, parent, 57, 0, 0x1000, &shared_hwpt[1]), 0);
		ck_assert_int_eq(rig_attach(&rig, &shared_vm, shared_hwpt[0], 9), 0);
		ck_assert_int_eq(rig_attach(&rig, &shared_vm, shared_hwpt[0], 10), 0);
		ck_assert_int_eq(rig_attach(&rig, &shared_vm, shared_hwpt[1], 9), -EINVAL);
		ck_assert_int_eq(
			rig_attach(&rig, &narrow, rig_hwpt(&rig, &narrow, CALLS_HWPT_PASID), 9), 0);
		ck_assert_int_eq(sim_fault_add(rig.sim, &reset), 0);
		child = child_start(die_with_the_lock);
		child_wait(&child, NULL, 0);
		child_kill(&child);
		ck_assert_int_eq(rig_stop(&rig, rig_wide, 9, RIG_IOVA), VTD_NO_ENTRY);
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 10), shared_vm.ino);
		ck_assert_uint_eq(rig_entries(&rig, rig_narrow), 0);
		ck_assert_int_eq(sim_fault_clear(rig.sim), 0);
		ck_assert_uint_eq(rig_reach(&rig, rig_narrow, 9), narrow.ino);
		rig_vm_close(&rig, &narrow);
		rig_vm_close(&rig, &shared_vm);
	}
END_TEST

static void replace_slowly(int socket)
{
	child_ready(socket, NULL, 0);
	(void)rig_attach(&rig, &shared_vm, shared_hwpt[1], 9);
}

START_TEST(death_halfway_through_a_replacement)
	{
		struct sim_config config = rig_config();
		struct child child;
		unsigned before;

		rig_close(&rig);
		config.replace_us = 60000000;
		rig_open(&rig, &config);
		before = pages_used();
		shared_vm = rig_vm(&rig, rig_wide);
		for (int i = 0; i < 2; i++)
			shared_hwpt[i] = rig_hwpt(&rig, &shared_vm, CALLS_HWPT_PASID);
		ck_assert_int_eq(rig_attach(&rig, &shared_vm, shared_hwpt[0], 9), 0);
		child = child_start(replace_slowly);
		child_wait(&child, NULL, 0);
		while (rig_entries(&rig, rig_wide) != 0)
			(void)usleep(1000);
		child_kill(&child);
		/* Our copy keeps the device: what was attached still is. */
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 9), shared_vm.ino);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, shared_vm.iommufd, shared_hwpt[1]), 0);
		rig_vm_close(&rig, &shared_vm);
		assert_empty(before);
	}
END_TEST

START_TEST(death_of_another_during_a_replacement)
	{
		struct sim_config config = rig_config();
		struct child child;
		unsigned before;

		rig_close(&rig);
		config.replace_us = 300000;
		rig_open(&rig, &config);
		before = pages_used();
		shared_vm = rig_vm(&rig, rig_wide);
		for (int i = 0; i < 2; i++)
			shared_hwpt[i] = rig_hwpt(&rig, &shared_vm, CALLS_HWPT_PASID);
		ck_assert_int_eq(rig_attach(&rig, &shared_vm, shared_hwpt[0], 9), 0);
		child = child_start(die_during_a_replacement);
		child_wait(&child, NULL, 0);
		ck_assert_int_eq(rig_attach(&rig, &shared_vm, shared_hwpt[1], 9), 0);
		child_kill(&child);
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 9), shared_vm.ino);
		ck_assert_int_eq(
			rig.calls->destroy(rig.sim, shared_vm.iommufd, shared_hwpt[1]), -EBUSY);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, shared_vm.iommufd, shared_hwpt[0]), 0);
		rig_vm_close(&rig, &shared_vm);
		assert_empty(before);
	}
END_TEST

static void attach_and_hang(int socket)
{
	struct rig_vm vm = rig_vm(&rig, rig_wide);
	const struct sim_fault fault = {.kind = SIM_FAULT_HANG,
		.call = SIM_CALL_ATTACH,
		.has_rid = true,
		.rid = rig_wide,
		.ms = 60000,
		.times = 1};
	uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);

	if (rig_attach(&rig, &vm, hwpt, 9) != 0 || sim_fault_add(rig.sim, &fault) != 0)
		_exit(1);
	child_ready(socket, NULL, 0);
	(void)rig_attach(&rig, &vm, hwpt, 10);
}

START_TEST(death_in_a_hang_frees_the_unit)
	{
		unsigned before = pages_used();
		struct child child = child_start(attach_and_hang);
		struct rig_vm vm;

		child_wait(&child, NULL, 0);
		while (rig.sim->header->faults[0].used)
			(void)usleep(1000);
		(void)usleep(10000);
		child_kill(&child);
		vm = rig_vm(&rig, rig_narrow); /* the same unit */
		ck_assert_int_eq(
			rig_attach(&rig, &vm, rig_hwpt(&rig, &vm, CALLS_HWPT_PASID), 9), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		rig_vm_close(&rig, &vm);
		assert_empty(before);
	}
END_TEST

/* A release is held up by a hang, others are not; and it is made up for. */
START_TEST(release_on_a_hung_unit_waits_without_harm)
	{
		struct child child = child_start(owner_alone);

		child_wait(&child, NULL, 0);
		ck_assert_int_eq(sim_unit_lock(rig.sim, 0, true), 0);
		child_kill(&child);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 3);
		sim_unit_unlock(rig.sim, 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
	}
END_TEST

static bool hwpt_make(const struct rig_vm *vm, uint32_t flags, uint32_t *ret_hwpt)
{
	const struct calls_hwpt args = {.flags = flags, .dev_id = vm->dev_id, .pt_id = vm->ioas};

	return rig.calls->hwpt_alloc(rig.sim, vm->iommufd, &args, ret_hwpt) == 0;
}

/* Everything, again and again, until somebody kills it. Asserts nothing once it is ready: Check
   writes a message for each assertion into a file that it shares with the program that runs the
   tests, and half a message, which SIGKILL may leave there, ends that program. */
static void busy(int socket)
{
	struct rig_vm vm = rig_vm(&rig, rig_first);

	child_ready(socket, NULL, 0);
	for (uint32_t i = 0;; i++) {
		uint32_t one = 0, two = 0, nested = 0;
		bool ok = hwpt_make(&vm, CALLS_HWPT_PASID, &one);

		ok = ok && hwpt_make(&vm, CALLS_HWPT_PASID | CALLS_HWPT_NEST_PARENT, &two);
		ok = ok && rig_nested(&rig, &vm, two, 48, 0, 0x1000, &nested) == 0;
		ok = ok && rig_attach(&rig, &vm, one, 5 + i % 300) == 0;
		ok = ok && rig_attach(&rig, &vm, nested, 5 + i % 300) == 0;
		ok = ok && rig.calls->attach(rig.sim, vm.device, one, NULL) == 0;
		ok = ok && rig.calls->attach(rig.sim, vm.device, vm.ioas, NULL) == -EINVAL;
		ok = ok && sim_map_anonymous(rig.sim, vm.iommufd, vm.ioas, 0x5000, 0x1000, 0) == 0;
		ok = ok && rig.calls->unmap(rig.sim, vm.iommufd, vm.ioas, 0x1000, 0x5000) == 0;
		ok = ok && rig_detach(&rig, &vm, 5 + i % 300) == 0;
		ok = ok && rig.calls->detach(rig.sim, vm.device, NULL) == 0;
		ok = ok && rig.calls->attach(rig.sim, vm.device, vm.ioas, NULL) == -EINVAL;
		ok = ok && rig.calls->detach(rig.sim, vm.device, NULL) == 0;
		ok = ok && rig.calls->destroy(rig.sim, vm.iommufd, nested) == 0;
		ok = ok && rig.calls->destroy(rig.sim, vm.iommufd, two) == 0;
		ok = ok && rig.calls->destroy(rig.sim, vm.iommufd, one) == 0;
		if (!ok)
			_exit(1);
	}
}

START_TEST(sigkill_anywhere_leaves_nothing)
	{
		unsigned before = pages_used();

		for (unsigned round = 0; round < 40; round++) {
			struct child child = child_start(busy);
			int status;

			child_wait(&child, NULL, 0);
			(void)usleep(round * 137 % 4000);
			ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
			ck_assert_int_eq(waitpid(child.pid, &status, 0), child.pid);
			ck_assert_msg(WIFSIGNALED(status), "round %u: a call failed", round);
			(void)close(child.socket);
			assert_empty(before);
		}
	}
END_TEST

/* --- who reads a guest's tables --- */

static void nested_owner(int socket)
{
	struct rig_vm vm = rig_vm(&rig, rig_wide);
	uint32_t parent = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID | CALLS_HWPT_NEST_PARENT),
		 nested = 0;
	const uint64_t large = (RIG_IOVA + 0x200000) | 1 << 7 | 7;

	/* Root, then two levels, then a page of 2 MiB. */
	for (uint64_t page = 0; page < 3; page++) {
		uint64_t word = page == 2 ? large : (RIG_IOVA + (page + 1) * 0x1000) | 7;

		if (pwrite(vm.memfd, &word, sizeof(word), (off_t)page * 0x1000) != 8)
			_exit(1);
	}
	if (rig_nested(&rig, &vm, parent, 48, 0, RIG_IOVA, &nested) != 0 ||
		rig_attach(&rig, &vm, nested, 9) != 0)
		_exit(1);
	child_ready(socket, &vm.device, 1);
	for (;;)
		(void)pause();
}

START_TEST(nested_walk_of_another_process)
	{
		struct child child = child_start(nested_owner);
		struct sim_walk_result result;
		int device;

		child_wait(&child, &device, 1);
		ck_assert_int_eq(
			sim_walk(rig.sim, rig_wide, &(struct hpasid){9}, 0x1234, false, &result),
			0);
		ck_assert_int_eq(result.vtd.stop, VTD_REACHED);
		ck_assert_uint_eq(result.offset, 0x201234);
		child_kill(&child);
		/* Its tables are out of sight now, and it says so instead of guessing. */
		ck_assert_int_eq(rig_stop(&rig, rig_wide, 9, 0x1234), VTD_UNREADABLE);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 1);
		rig.calls->close(rig.sim, device);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sim process");
	TCase *tcase = tcase_create("process");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, sigkill_of_the_owner_takes_the_entries_away);
	tcase_add_test(tcase, a_passed_copy_keeps_everything);
	tcase_add_test(tcase, death_with_the_lock_is_repaired);
	tcase_add_test(tcase, repair_does_not_bring_back_what_was_missing);
	tcase_add_test(tcase, death_halfway_through_a_replacement);
	tcase_add_test(tcase, death_of_another_during_a_replacement);
	tcase_add_test(tcase, death_in_a_hang_frees_the_unit);
	tcase_add_test(tcase, release_on_a_hung_unit_waits_without_harm);
	tcase_add_test(tcase, sigkill_anywhere_leaves_nothing);
	tcase_add_test(tcase, nested_walk_of_another_process);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
