/* SPDX-License-Identifier: MIT */
#include "config_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char directory[64];
struct config *config;
struct config_files *files;
struct config_error error;

void config_setup(void)
{
	(void)snprintf(directory, sizeof(directory), "/tmp/test-config-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	config = NULL;
	files = NULL;
	memset(&error, 0, sizeof(error));
}

void config_teardown(void)
{
	char command[128];

	config_free(config);
	config_files_free(files);
	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c) */
}

const char *path_of(const char *name)
{
	static char path[2][128];
	static unsigned next;

	next++;
	(void)snprintf(path[next % 2], sizeof(path[0]), "%s/%s", directory, name);
	return path[next % 2];
}

void put(const char *name, const char *text)
{
	FILE *file;

	(void)mkdir(path_of("p.json.d"), 0755);
	file = fopen(path_of(name), "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(chmod(path_of(name), 0644), 0);
}

int load(void)
{
	int r;

	config_free(config);
	config_files_free(files);
	config = NULL;
	files = NULL;
	r = config_files_read(path_of("p.json"), false, &files, &error);
	return r ? r : config_merge(files, OWN_UID, &config, &error);
}

void loaded(void)
{
	int r = load();

	ck_assert_msg(r == 0, "refused: %s", error.text);
}
