/* SPDX-License-Identifier: MIT */
/* pasid-sim's words: what was given is read, and what is wrong with it is told. */
#ifndef PASID_SIM_WORDS_H
#define PASID_SIM_WORDS_H

#include "hw/sim.h"

#include <jansson.h>

#define EXIT_USAGE   2 /* the command line is wrong */
#define EXIT_BLOCKED 3 /* walk: the DMA does not get through */

/* Says what is wrong with the command line; EXIT_USAGE. */
__attribute__((format(printf, 1, 2))) int usage(const char *format, ...);
/* Says what failed, with a -errno; EXIT_FAILURE. */
int failed(const char *what, int error);

/* All: 0, or EXIT_USAGE after a message. Numbers go up to `max`, hexadecimal with 0x. */
int number_parse(const char *what, const char *text, uint64_t max, uint64_t *ret_number);
int number32_parse(const char *what, const char *text, uint32_t max, uint32_t *ret_number);
int rid_parse(const char *text, struct rid *ret_rid);
int call_parse(const char *text, uint32_t *ret_call);
/* By name, or as a number other than 0. */
int error_parse(const char *text, int *ret_error);
/* A number as programs read it, "0x..."; NULL when memory is short. */
json_t *json_hex(uint64_t number);

#endif
