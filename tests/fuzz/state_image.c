/* SPDX-License-Identifier: MIT */
#include "state_image.h"

#include "world.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const uint8_t state_image_boot[STATE_BOOT_ID_SIZE] = "this boot's id.";

/* ---------------------------------------------------------------- by the daemon's code */

static void image_places(struct state_image *image)
{
	struct state_header layout;

	memset(image, 0, sizeof(*image));
	state_header_make(state_image_boot, &layout);
	image->size = layout.size;
	for (unsigned t = 0; t < STATE_TABLES; t++) {
		image->offset[t] = layout.tables[t].offset;
		image->unit[t] = layout.tables[t].slot_size;
	}
	image->offset[STATE_PLACE_LOG] = layout.log_offset;
	image->unit[STATE_PLACE_LOG] = sizeof(struct state_undo);
	image->unit[STATE_PLACE_HEADER] = STATE_PAGE;
}

static void image_take(struct state_image *image, const struct state_file *file)
{
	struct state_header header = *file->header;

	image_places(image);
	memcpy(header.boot_id, state_image_boot, STATE_BOOT_ID_SIZE);
	header.checksum = state_header_checksum(&header);
	memcpy(image->bytes[STATE_PLACE_HEADER], &header, sizeof(header));
	FUZZ_CHECK(header.changes > 0 && header.changes * sizeof(*file->log) <= STATE_CHUNK);
	memcpy(image->bytes[STATE_PLACE_LOG], file->log, header.changes * sizeof(*file->log));
	for (unsigned t = 0; t < STATE_TABLES; t++) {
		const size_t size = (size_t)header.used[t] * image->unit[t];

		FUZZ_CHECK(size <= STATE_CHUNK);
		memcpy(image->bytes[t], file->state.table[t], size);
	}
}

/* A change that is not settled, with numbers and a set of somebody else. */
static void image_change(struct world *w)
{
	struct actor vmm = {ROLE_VMM, UINT64_MAX - 1, {0}, &w->f.peer};
	struct set_create create = {"unfinished", SET_TRANSLATED, true, 8, false, 0, 0};
	struct allocate allocate = {.max = PASID_LAST, .count = 2};
	struct hpasid hosts[2];

	w->f.peer.uid = 3000;
	FUZZ_CHECK(broker_set_create(w->f.broker, &vmm, &create, &vmm.set, &w->error) == 0);
	FUZZ_CHECK(broker_allocate(w->f.broker, &vmm, &allocate, hosts, &w->error) == 0);
}

/* Of the honest peer: a number that is freed while it is bound, and a device that is going. */
static void image_intents(struct world *w)
{
	struct actor admin = {ROLE_ADMIN, UINT64_MAX, {0}, &w->f.peer};
	struct set_id set = {w->honest_set};
	struct pasid_ref ref = {.number = w->numbers[0]};
	uint32_t freed, unchanged;

	(void)broker_free_pasids(w->f.broker, &admin, set, &ref, 1, &freed, &unchanged, &w->error);
	ref.number = w->numbers[1];
	(void)broker_unbind(w->f.broker, &admin, set, ref, NULL, 0, 1, &w->error);
	broker_flush(w->f.broker);
}

void state_image_base(struct state_image *ret_image)
{
	static struct world world;

	world_open(&world, true);
	image_intents(&world);
	world_disconnect(&world, WORLD_HONEST, false);
	image_change(&world);
	image_take(ret_image, world.f.memory);
	dispatch_free(world.d);
	fixture_close(&world.f);
	limits_free(world.limits);
}

/* ---------------------------------------------------------------- by an input */

static uint32_t image_number(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

static void image_patch(struct state_image *image, const uint8_t *patch)
{
	const unsigned place = patch[0] % STATE_PLACE_COUNT;
	const uint32_t unit = image->unit[place], slots = STATE_CHUNK / unit;
	uint8_t *slot = image->bytes[place] + (size_t)(patch[1] % slots) * unit;
	uint8_t *at = slot + patch[2] * 4u % unit;
	uint32_t number = image_number(patch + 4), was;

	memcpy(&was, at, sizeof(was));
	switch ((enum state_patch)(patch[3] % STATE_PATCH_KINDS)) {
	case STATE_PATCH_ADD:
		was += number;
		memcpy(at, &was, sizeof(was));
		break;
	case STATE_PATCH_BYTE:
		at[number >> 8 & 3] = (uint8_t)number;
		break;
	case STATE_PATCH_COPY:
		memmove(slot, image->bytes[place] + (size_t)(number % slots) * unit, unit);
		break;
	case STATE_PATCH_CUT:
		image->size = number % (3 * STATE_CHUNK);
		break;
	case STATE_PATCH_SET:
	case STATE_PATCH_KINDS:
		memcpy(at, &number, sizeof(number));
		break;
	}
}

/* A table may be as long as the layout allows, but that is for the tests of capacity. */
static void image_limit(struct state_image *image)
{
	struct state_header layout;
	struct state_header *header = (void *)image->bytes[STATE_PLACE_HEADER];

	state_header_make(state_image_boot, &layout);
	for (unsigned t = 0; t < STATE_TABLES; t++) {
		if (header->used[t] <= layout.tables[t].capacity)
			header->used[t] %= STATE_IMAGE_SLOTS + 1;
		if (header->room[t] <= layout.tables[t].capacity)
			header->room[t] %= 4 * STATE_IMAGE_SLOTS + 1;
	}
}

static void image_raw(struct state_image *image, const uint8_t *data, size_t size, bool sparse)
{
	size_t rest = size > STATE_PAGE ? size - STATE_PAGE : 0;

	image_places(image);
	memcpy(image->bytes[STATE_PLACE_HEADER], data, size - rest);
	if (rest > STATE_CHUNK)
		rest = STATE_CHUNK;
	if (rest > 0)
		memcpy(image->bytes[STATE_PLACE_LOG], data + STATE_PAGE, rest);
	image_limit(image);
	if (!sparse)
		image->size = size;
}

void state_image_make(
	struct state_image *image, const struct state_image *base, const uint8_t *data, size_t size)
{
	const uint8_t flags = size > 0 ? data[0] : 0;
	struct state_header *header = (void *)image->bytes[STATE_PLACE_HEADER];

	if (flags & STATE_RAW) {
		const size_t head = size < STATE_INPUT_HEAD ? size : STATE_INPUT_HEAD;

		image_raw(image, data + head, size - head, flags & STATE_SPARSE);
		return;
	}
	*image = *base;
	if (flags & STATE_SETTLED)
		header->changes = 0;
	for (size_t at = STATE_INPUT_HEAD; at + STATE_PATCH_SIZE <= size; at += STATE_PATCH_SIZE)
		image_patch(image, data + at);
	image_limit(image);
	if (!(flags & STATE_SUMLESS) && header->fixed_bytes <= STATE_PAGE)
		header->checksum = state_header_checksum(header);
}

/* ---------------------------------------------------------------- as a file */

/* How much of a place there is in the file, which may be cut. */
static size_t image_length(const struct state_image *image, unsigned place)
{
	const size_t full = place == STATE_PLACE_HEADER ? STATE_PAGE : STATE_CHUNK;

	if (image->size <= image->offset[place])
		return 0;
	return image->size - image->offset[place] < full
		       ? (size_t)(image->size - image->offset[place])
		       : full;
}

void state_image_write(const struct state_image *image, const char *path)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	FUZZ_CHECK(fd >= 0 && ftruncate(fd, (off_t)image->size) == 0);
	for (unsigned place = 0; place < STATE_PLACE_COUNT; place++) {
		size_t length = image_length(image, place);

		while (length > 0 && image->bytes[place][length - 1] == 0)
			length--;
		FUZZ_CHECK(pwrite(fd, image->bytes[place], length, (off_t)image->offset[place]) ==
			   (ssize_t)length);
	}
	close(fd);
}

void state_image_same(const struct state_image *image, const char *path)
{
	static uint8_t bytes[STATE_CHUNK];
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;

	FUZZ_CHECK(fd >= 0 && fstat(fd, &stat) == 0);
	FUZZ_CHECK((uint64_t)stat.st_size == image->size);
	for (unsigned place = 0; place < STATE_PLACE_COUNT; place++) {
		const size_t length = image_length(image, place);

		FUZZ_CHECK(
			pread(fd, bytes, length, (off_t)image->offset[place]) == (ssize_t)length);
		if (memcmp(bytes, image->bytes[place], length) != 0)
			FUZZ_FAIL("what was refused was written to, place %u", place);
	}
	close(fd);
}

/* ---------------------------------------------------------------- what it says */

void state_image_undone(const struct state_image *image, const struct state_file *file)
{
	const struct state_header *header = (const void *)image->bytes[STATE_PLACE_HEADER];
	const struct state_undo *log = (const void *)image->bytes[STATE_PLACE_LOG];
	uint64_t value;

	for (uint32_t i = 0; i < header->changes && i < STATE_CHUNK / sizeof(*log); i++) {
		bool first = true;

		/* the one that was there before all of them */
		for (uint32_t k = 0; k < i && first; k++)
			first = log[k].offset != log[i].offset;
		memcpy(&value, file->base + log[i].offset, sizeof(value));
		if (first && value != log[i].value)
			FUZZ_FAIL("entry %u of the log was not taken back", i);
	}
}

static const struct {
	uint8_t table, at, size;
} image_volatile[] = {
	{STATE_GRANTS, offsetof(struct grant_slot, bindings), 12},
	{STATE_DEVICES, offsetof(struct device_slot, iommufd_key), 8},
	{STATE_BINDINGS, offsetof(struct binding_slot, grant_next), 12},
	{STATE_BINDINGS, offsetof(struct binding_slot, table_shared), 8},
	{STATE_HOST, offsetof(struct host_slot, cursor), 8},
};

static uint64_t image_mix(uint64_t digest, unsigned table, const uint8_t *slot, uint32_t size)
{
	uint8_t bytes[128];

	FUZZ_CHECK(size <= sizeof(bytes) && size % 8 == 0);
	memcpy(bytes, slot, size);
	for (unsigned i = 0; i < ARRAY_SIZE(image_volatile); i++)
		if (image_volatile[i].table == table)
			memset(bytes + image_volatile[i].at, 0, image_volatile[i].size);
	for (uint32_t i = 0; i < size; i += 8) {
		uint64_t word;

		memcpy(&word, bytes + i, sizeof(word));
		digest = (digest ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		digest ^= digest >> 29;
	}
	return digest;
}

uint64_t state_image_digest(const struct state_file *file)
{
	uint64_t digest = 1;

	for (unsigned t = 0; t < STATE_TABLES; t++) {
		const uint32_t size = file->header->tables[t].slot_size;
		const uint8_t *table = file->state.table[t];

		for (uint32_t i = 0; i < file->header->used[t]; i++) {
			uint64_t word;

			memcpy(&word, table + (size_t)i * size, sizeof(word));
			if (word != 0)
				digest = image_mix(digest + t + ((uint64_t)i << 8), t,
					table + (size_t)i * size, size);
		}
	}
	return digest;
}
