/* SPDX-License-Identifier: MIT */
/*
 * The command line of pasidd.
 */
#ifndef PASIDD_OPTIONS_H
#define PASIDD_OPTIONS_H

#include "base.h"

#ifndef PASIDD_VERSION
#define PASIDD_VERSION "0.1.0" /* as in CMakeLists.txt */
#endif

/* Exit statuses; in --help and the manual. */
enum exit_status {
	EXIT_STATUS_OK = 0,
	EXIT_STATUS_FAILURE = 1,     /* something failed while starting or serving */
	EXIT_STATUS_USAGE = 2,       /* command line or configuration */
	EXIT_STATUS_SECOND = 3,      /* another instance is running */
	EXIT_STATUS_NO_HARDWARE = 4, /* this host cannot bind PASIDs */
};

struct options {
	const char *config;
	const char *socket;
	const char *runtime_dir;
	const char *state_dir;    /* NULL: the default */
	const char *simulate_dir; /* NULL: the default */
	bool simulate;
	bool check_config;
	bool show_config; /* check_config, too */
	bool json;
	bool has_log_level;
	uint32_t log_level;
};

/*
 * Reads the command line; the texts stay argv's. true: go on. false: what was asked for is done or
 * there is an error, which has been printed; *ret_exit says which.
 */
bool options_parse(int argc, char *argv[], struct options *ret_options, int *ret_exit);

#endif
