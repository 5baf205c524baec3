/* SPDX-License-Identifier: MIT */
#include "runtime_state.h"

#include "fd.h"
#include "runtime.h"
#include "state_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

int runtime_state_open(const char *directory, bool simulated, struct state_file **ret_state,
	struct state_note *ret_note)
{
	char path[RUNTIME_PATH_MAX + sizeof("/state-simulated")];
	sd_id128_t boot;
	int r = sd_id128_get_boot(&boot);

	_Static_assert(sizeof(boot.bytes) == STATE_BOOT_ID_SIZE, "an id is an id");
	if (r < 0) {
		(void)snprintf(ret_note->text, sizeof(ret_note->text),
			"the kernel does not tell which boot this is "
			"(/proc/sys/kernel/random/boot_id): %s",
			strerror(-r));
		return r;
	}
	(void)snprintf(
		path, sizeof(path), "%s/%s", directory, simulated ? "state-simulated" : "state");
	return state_file_open(path, boot.bytes, ret_state, ret_note);
}

bool runtime_state_has_lane(struct state_file *file, uint64_t lane)
{
	const struct state *state = state_file_state(file);
	const struct set_slot *sets = state->table[STATE_SETS];
	const struct device_slot *devices = state->table[STATE_DEVICES];
	const uint64_t set = (lane & SLOT_MASK) - 1;

	if (set < state_file_used(file, STATE_SETS) && STATE_WORD_STATE(sets[set].word) &&
		sets[set].word >> WORD_GENERATION_SHIFT == lane >> WORD_GENERATION_SHIFT)
		return true;
	for (uint32_t i = 0; i < state_file_used(file, STATE_DEVICES); i++) {
		if (STATE_WORD_STATE(devices[i].word) && devices[i].lane == lane)
			return true;
	}
	return false;
}

static int state_is_sound(const struct state_file *file, const uint32_t used[static STATE_TABLES],
	struct error *ret_error)
{
	void *scratch = malloc(state_check_scratch(used) + 1);
	struct state_problem problem;
	int r;

	if (scratch == NULL)
		return -ENOMEM;
	r = state_check(state_file_state(file), used, scratch, &problem);
	free(scratch);
	if (r == 0)
		return 0;
	return error_set_limit(ret_error, REASON_INTERNAL, problem.value, 0, 0,
		"%s; pasidctl fsck explains. When no VMM holds a device any more, move the file "
		"away, start again and run pasidctl recover --confirm-no-devices",
		problem.text);
}

bool runtime_state_is_new(const struct state_file *state)
{
	const struct host_slot *host = state_file_state(state)->table[STATE_HOST];

	return STATE_WORD_STATE(host->word) == HOST_FREE;
}

int runtime_state_recover(struct state_file *state, bool missing, struct broker *broker,
	bool (*lane_stands)(void *ctx, uint64_t lane), void *ctx, struct error *ret_error)
{
	uint32_t used[STATE_TABLES];
	const struct recovery recovery = {.used = used, .lane_stands = lane_stands, .ctx = ctx};
	int r;

	for (unsigned i = 0; i < STATE_TABLES; i++)
		used[i] = state_file_used(state, (enum state_table)i);
	r = state_is_sound(state, used, ret_error);
	if (r == 0 && missing)
		broker_block(broker);
	return r != 0 ? r : broker_recover(broker, &recovery, ret_error);
}
