/* SPDX-License-Identifier: MIT */
#include "options.h"

#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char options_help[] =
	"Usage: pasidd [OPTIONS]\n"
	"\n"
	"Owns this host's PASIDs: grants them to virtual machines and binds them to devices.\n"
	"\n"
	"  --config FILE         settings in JSON, and then those of FILE.d/*.json, in the order of\n"
	"                        their names; default: /etc/pasidd/pasidd.json, and with --simulate\n"
	"                        none\n"
	"  --check-config        read the settings, say what is wrong with them, and end\n"
	"  --show-config         the same, and print each setting with the file that it is from\n"
	"  --json                of both: print a JSON object\n"
	"  --socket PATH         where clients connect; default: pasidd.socket in the runtime\n"
	"                        directory\n"
	"  --runtime-dir DIR     default: $RUNTIME_DIRECTORY; else /run/pasidd for root, and\n"
	"                        $XDG_RUNTIME_DIR/pasidd or /tmp/pasidd-UID for others\n"
	"  --state-dir DIR       what must outlive the runtime directory; default: with --simulate\n"
	"                        the simulation, else $STATE_DIRECTORY; else /var/lib/pasidd for\n"
	"                        root, $XDG_STATE_HOME/pasidd or ~/.local/state/pasidd for others\n"
	"  --simulate[=DIR]      serve a simulated IOMMU, as any user; it is made in DIR when there\n"
	"                        is none; default: simulation in the runtime directory\n"
	"  --log-level LEVEL     error, warning, info or debug\n"
	"  --version             print the version and end\n"
	"  --help                print this and end\n"
	"\n"
	"Examples:\n"
	"  pasidd --simulate                      try it, without an IOMMU and without root\n"
	"  pasidd --simulate=/tmp/iommu --socket /tmp/pasidd --log-level debug\n"
	"  pasidd --config ./pasidd.json          serve this host with other settings\n"
	"  pasidd --show-config                   what is in effect, and why\n"
	"\n"
	"SIGHUP: read the settings again and apply those that do not need a restart.\n"
	"\n"
	"Exit status: 0 stopped by a signal, or done; 1 failed; 2 command line or configuration;\n"
	"3 another pasidd is running; 4 this host cannot bind PASIDs.\n";

enum option_code {
	OPTION_CONFIG = 256,
	OPTION_CHECK_CONFIG,
	OPTION_SHOW_CONFIG,
	OPTION_JSON,
	OPTION_SOCKET,
	OPTION_RUNTIME_DIR,
	OPTION_STATE_DIR,
	OPTION_SIMULATE,
	OPTION_LOG_LEVEL,
	OPTION_VERSION,
	OPTION_HELP,
};

static const struct option options_table[] = {
	{"config", required_argument, NULL, OPTION_CONFIG},
	{"check-config", no_argument, NULL, OPTION_CHECK_CONFIG},
	{"show-config", no_argument, NULL, OPTION_SHOW_CONFIG},
	{"json", no_argument, NULL, OPTION_JSON},
	{"socket", required_argument, NULL, OPTION_SOCKET},
	{"runtime-dir", required_argument, NULL, OPTION_RUNTIME_DIR},
	{"state-dir", required_argument, NULL, OPTION_STATE_DIR},
	{"simulate", optional_argument, NULL, OPTION_SIMULATE},
	{"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

/* A value that is empty, such as an unset variable of a script, would not be the default. */
static bool options_has_value(const struct option *option)
{
	if (!optarg || *optarg != '\0')
		return true;
	(void)fprintf(stderr, "pasidd: --%s is given an empty value; try --help\n", option->name);
	return false;
}

/* One option. -1: go on; else the status to end with. */
static int options_take(struct options *options, int code)
{
	switch (code) {
	case OPTION_CONFIG:
		options->config = optarg;
		return -1;
	case OPTION_CHECK_CONFIG:
		options->check_config = true;
		return -1;
	case OPTION_SHOW_CONFIG:
		options->check_config = options->show_config = true;
		return -1;
	case OPTION_JSON:
		options->json = true;
		return -1;
	case OPTION_SOCKET:
		options->socket = optarg;
		return -1;
	case OPTION_RUNTIME_DIR:
		options->runtime_dir = optarg;
		return -1;
	case OPTION_STATE_DIR:
		options->state_dir = optarg;
		return -1;
	case OPTION_SIMULATE:
		options->simulate = true;
		options->simulate_dir = optarg;
		return -1;
	case OPTION_LOG_LEVEL:
		options->has_log_level = true;
		if (config_level_parse(optarg, &options->log_level) == 0)
			return -1;
		(void)fprintf(stderr,
			"pasidd: --log-level: found \"%s\", expected error, warning, info or "
			"debug\n",
			optarg);
		return EXIT_STATUS_USAGE;
	case OPTION_VERSION:
		(void)printf("pasidd " PASIDD_VERSION "\n");
		return EXIT_STATUS_OK;
	case OPTION_HELP:
		(void)fputs(options_help, stdout);
		return EXIT_STATUS_OK;
	default: /* getopt has said what is wrong */
		(void)fputs("pasidd: try --help\n", stderr);
		return EXIT_STATUS_USAGE;
	}
}

bool options_parse(int argc, char *argv[], struct options *ret_options, int *ret_exit)
{
	struct options options = {0};
	int code, at = 0;

	while ((code = getopt_long(argc, argv, "", options_table, &at)) != -1) {
		*ret_exit = options_has_value(&options_table[at]) ? options_take(&options, code)
								  : EXIT_STATUS_USAGE;
		if (*ret_exit >= 0)
			return false;
	}
	if (options.json && !options.check_config) {
		(void)fprintf(stderr,
			"pasidd: --json goes with --check-config or --show-config; try --help\n");
		*ret_exit = EXIT_STATUS_USAGE;
		return false;
	}
	if (optind < argc) {
		(void)fprintf(stderr, "pasidd: \"%s\" is no option; try --help\n", argv[optind]);
		*ret_exit = EXIT_STATUS_USAGE;
		return false;
	}
	*ret_options = options;
	return true;
}
