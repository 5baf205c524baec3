/* SPDX-License-Identifier: MIT */
/*
 * An input of fuzz_state, and the state file that it stands for. Two bytes, what is to happen and
 * how the hardware behaves, then patches of eight bytes each on a file that the daemon's own code
 * has filled; or, with STATE_RAW, the bytes of a file. So a few bytes are a file of megabytes, and
 * what is changed is about records that mean something.
 */
#ifndef PASIDD_FUZZ_STATE_IMAGE_H
#define PASIDD_FUZZ_STATE_IMAGE_H

#include "../../src/state_private.h"
#include "fuzz.h"

#define STATE_RAW     1u  /* not patches but the file's own bytes */
#define STATE_SETTLED 2u  /* patches: of a file without an unfinished change */
#define STATE_SUMLESS 4u  /* patches: the checksum stays as it is */
#define STATE_SPARSE  8u  /* raw: as long as a whole one, zeros at the end */
#define STATE_KILLED  16u /* the daemon does not settle before it ends */

#define STATE_INPUT_HEAD 2u

/* A patch: place, slot, which four bytes, what to do, and a number of four bytes for it. */
#define STATE_PATCH_SIZE 8u

enum state_place { /* tables before these */
	STATE_PLACE_HEADER = STATE_TABLES,
	STATE_PLACE_LOG,
	STATE_PLACE_COUNT,
};

enum state_patch {
	STATE_PATCH_SET,
	STATE_PATCH_ADD,
	STATE_PATCH_BYTE,
	STATE_PATCH_COPY, /* another slot, whose number it is */
	STATE_PATCH_CUT,  /* how long the file is */
	STATE_PATCH_KINDS,
};

#define STATE_IMAGE_SLOTS 512u /* as many of a table are made anew; more would only be slow */

/* What is in a file, in so far as it is not zero. */
struct state_image {
	uint64_t size;
	uint64_t offset[STATE_PLACE_COUNT];
	uint32_t unit[STATE_PLACE_COUNT];
	_Alignas(uint64_t) uint8_t bytes[STATE_PLACE_COUNT][STATE_CHUNK];
};

extern const uint8_t state_image_boot[STATE_BOOT_ID_SIZE];

/* Of a daemon with an honest peer, a hostile one and an unfinished change. */
void state_image_base(struct state_image *ret_image);
/* What the input makes of it. */
void state_image_make(struct state_image *image, const struct state_image *base,
	const uint8_t *data, size_t size);
/* A new file at the path. */
void state_image_write(const struct state_image *image, const char *path);
/* The file is still that one, byte for byte. */
void state_image_same(const struct state_image *image, const char *path);
/* The stores that its log says were not settled have been taken back, in an opened file. */
void state_image_undone(const struct state_image *image, const struct state_file *file);
/* Of all records, without what a start makes anew (state.h: volatile). */
uint64_t state_image_digest(const struct state_file *file);

#endif
