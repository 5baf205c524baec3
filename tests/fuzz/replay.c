/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target over files, for builds without libFuzzer.
 *
 * usage: fuzz_<target> PATH...    files, or folders of files
 *
 * The name of each file is printed before it is tried; the last line is "N inputs".
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define REPLAY_SIZE_MAX (1u << 20)

static unsigned replayed;

/* Mutators are not called here, but linked. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
	(void)data;
	return size < max_size ? size : max_size;
}

/* The target gets memory of exactly the input's size, so that a byte too far is noticed. */
static void replay_file(const char *path)
{
	static uint8_t buffer[REPLAY_SIZE_MAX];
	FILE *file = fopen(path, "rbe");
	uint8_t *data;
	size_t size;

	if (!file) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	(void)printf("%s\n", path);
	(void)fflush(stdout);
	size = fread(buffer, 1, sizeof(buffer), file);
	(void)fclose(file);
	data = malloc(size ? size : 1);
	if (!data)
		abort();
	memcpy(data, buffer, size);
	(void)LLVMFuzzerTestOneInput(data, size);
	free(data);
	replayed++;
}

static int replay_is_shown(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void replay_folder(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, replay_is_shown, alphasort);
	char name[4096];

	if (count < 0) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	for (int i = 0; i < count; i++) {
		(void)snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		replay_file(name);
		free(entries[i]);
	}
	free((void *)entries);
}

int main(int argc, char **argv)
{
	struct stat found;

	for (int i = 1; i < argc; i++) {
		if (stat(argv[i], &found) == 0 && S_ISDIR(found.st_mode))
			replay_folder(argv[i]);
		else
			replay_file(argv[i]);
	}
	(void)printf("%u inputs\n", replayed);
	return replayed ? EXIT_SUCCESS : EXIT_FAILURE;
}
