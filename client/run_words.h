/* SPDX-License-Identifier: MIT */
/* The words of a command line that `pasidctl run` starts, in which descriptors are named. Pure. */
#ifndef PASIDCTL_RUN_WORDS_H
#define PASIDCTL_RUN_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a word may name; a descriptor below 0 is not there. */
struct run_device {
	const char *address; /* segment:bus:device.function */
	int fd;
	uint32_t dev_id; /* iommufd's name for it */
};

struct run_names {
	const char *set;
	int connection, iommufd;
	const struct run_device *devices;
	size_t device_count;
};

/* The same function? The segment may be left out of either when it is 0. */
bool run_same_address(const char *one, const char *other);

/*
 * The word with its names replaced: {set}, {connection}, {iommufd}, {device:ADDRESS} and
 * {dev-id:ADDRESS}; all other braces stay as they are. Writes at most size bytes with the NUL, and
 * returns how many are needed without it. -1: it names what is not there, which *ret_what then
 * points to, in the word.
 */
long run_replace(const char *word, const struct run_names *names, char *ret_text, size_t size,
	const char **ret_what);

/* A name for a set out of a command's, with a number: at most size bytes, of [A-Za-z0-9._-]. size
 * is 32 at least. */
void run_set_name(const char *command, unsigned long number, char *ret_name, size_t size);

/* "ADDRESS=N,ADDRESS=N": descriptors, or with ids iommufd's names. false: no room. */
bool run_list(const struct run_names *names, bool ids, char *ret_text, size_t size);

/*
 * The iommufd of a simulated IOMMU, out of what a daemon's status notes about that: at most size
 * bytes. false: the note is about something else, or was cut; or no room.
 */
bool run_simulated_iommu(const char *note, char *ret_path, size_t size);

#endif
