/* SPDX-License-Identifier: MIT */
#include "pasidd_settings.h"

#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int settings_files(const struct options *options, struct config_files **ret_files,
	struct config_error *ret_error)
{
	if (options->config == NULL && options->simulate)
		return config_files_none(ret_files, ret_error);
	return config_files_read(options->config != NULL ? options->config : PASIDD_CONFIG_FILE,
		options->config != NULL, ret_files, ret_error);
}

int settings_read(const struct options *options, struct config **ret_config,
	struct config_files **ret_files, struct config_error *ret_error)
{
	struct config_files *files = NULL;
	struct config *config = NULL;
	int r = settings_files(options, &files, ret_error);

	if (r == 0)
		r = config_merge(files, geteuid(), &config, ret_error);
	if (r != 0) {
		config_files_free(files);
		return r;
	}
	if (options->has_log_level)
		config->log_level = options->log_level;
	if (options->simulate)
		config->policy.any_device = true;
	*ret_config = config;
	*ret_files = files;
	return 0;
}

static int settings_print(char *text, FILE *out, const char *end)
{
	const bool printed =
		text != NULL && fprintf(out, "%s%s", text, end) >= 0 && fflush(out) == 0;

	free(text);
	return printed ? EXIT_STATUS_OK : EXIT_STATUS_FAILURE;
}

/* "a.json: ok" for each, and what was passed over. */
static int settings_print_names(const struct config_files *files)
{
	const char *name, *why;

	for (size_t i = 0; (name = config_files_name(files, i)) != NULL; i++)
		(void)printf("%s: ok\n", name);
	if (config_files_name(files, 0) == NULL)
		(void)printf("defaults: ok\n");
	for (size_t i = 0; (name = config_files_ignored(files, i, &why)) != NULL; i++)
		(void)printf("%s: ignored: %s\n", name, why);
	return fflush(stdout) == 0 ? EXIT_STATUS_OK : EXIT_STATUS_FAILURE;
}

int settings_check(const struct options *options)
{
	struct config_error error = {""};
	struct config_files *files = NULL;
	struct config *config = NULL;
	int status;

	if (settings_read(options, &config, &files, &error) != 0) {
		(void)fprintf(stderr, "%s\n", error.text);
		if (options->json)
			(void)settings_print(config_show_error(&error), stdout, "\n");
		return EXIT_STATUS_USAGE;
	}
	if (options->json)
		status = settings_print(config_show(config, files, true), stdout, "\n");
	else if (options->show_config)
		status = settings_print(config_show(config, files, false), stdout, "");
	else
		status = settings_print_names(files);
	config_free(config);
	config_files_free(files);
	return status;
}

void settings_log(const struct config_files *files)
{
	const char *name, *why;

	for (size_t i = 0; (name = config_files_name(files, i)) != NULL; i++)
		log_write(LOG_LEVEL_INFO, NULL, "settings: read %s", name);
	for (size_t i = 0; (name = config_files_ignored(files, i, &why)) != NULL; i++)
		log_write(LOG_LEVEL_INFO, NULL, "settings: ignored %s: %s", name, why);
}
