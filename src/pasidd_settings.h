/* SPDX-License-Identifier: MIT */
/* The settings as the command line asks for them: read, checked, shown. */
#ifndef PASIDD_PASIDD_SETTINGS_H
#define PASIDD_PASIDD_SETTINGS_H

#include "config.h"
#include "options.h"

/*
 * Reads what the options name: with --config that file, else the host's, if there is one; a
 * simulation has nothing to do with the host's. What the command line says goes before it. Both
 * results are for the caller to free. As config_files_read().
 */
int settings_read(const struct options *options, struct config **ret_config,
	struct config_files **ret_files, struct config_error *ret_error);

/* --check-config and --show-config. Returns the exit status. */
int settings_check(const struct options *options);

/* Logs which files were read, and which were not. */
void settings_log(const struct config_files *files);

#endif
