/* SPDX-License-Identifier: MIT */
/* Files of settings in a folder of their own, for one test. */
#ifndef PASIDD_TEST_CONFIG_RIG_H
#define PASIDD_TEST_CONFIG_RIG_H

#include "config.h"

#include <check.h>

#define OWN_UID 4242

#define DEVICE(address) "{\"address\": \"" address "\", \"use\": \"shared\", \"everyone\": true}"

extern char directory[64];
extern struct config *config;
extern struct config_files *files;
extern struct config_error error;

void config_setup(void);
void config_teardown(void);
/* In the folder; the last two stay valid. */
const char *path_of(const char *name);
/* Writes a file, such as p.json or p.json.d/1.json. */
void put(const char *name, const char *text);
/* Reads p.json and what is beside it, into `config` and `files`; the status. */
int load(void);
void loaded(void);

#endif
