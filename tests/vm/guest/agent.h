/* SPDX-License-Identifier: MIT */
/*
 * What the programs of the guest have in common: they read one command a line on standard input and
 * answer each with one line on standard output, "ok WORD..." or "error NAME text".
 */
#ifndef AGENT_H
#define AGENT_H

#include <stddef.h>
#include <stdint.h>

enum { AGENT_WORDS = 40 };

/* words[0] is the command; words[AGENT_WORDS] and all behind the last word are NULL. */
struct agent_command {
	const char *name;
	void (*run)(char **words);
};

/* Answers "ok". */
void agent_ok(void);
/* Answers "ok" and numbers, in decimal. */
void agent_ok_numbers(size_t count, const uint64_t *numbers);
/* Answers with an errno. */
void agent_fail(int error);
/* Answers "ok" or with errno, for a result of a system call. */
void agent_report(int r);

/* A word as a number, in any C notation; UINT32_MAX when there is no word. */
uint32_t agent_number(const char *word);

/* Adds a table to those of agent_run(); a name that is in several is that of the latter's first. */
void agent_add(const struct agent_command *commands);

/* Reads commands until the end of input. Both tables end with a command without a name. */
void agent_run(const struct agent_command *commands, const struct agent_command *more);

/* Commands that drive iommufd by hand. */
extern const struct agent_command kernel_commands[];
/* The same for what is particular to an SMMUv3. */
extern const struct agent_command smmu_commands[];
/* Opens /dev/iommu; 0 or -errno. */
int kernel_init(void);
/* This process's iommufd, and the descriptor of a device that it opened (-1: none). */
int kernel_iommufd(void);
int kernel_device(const char *word);
/* The id that the device has in that iommufd. */
uint32_t kernel_device_id(const char *word);
/* Somebody else bound the device to this process's iommufd, in which it has this id. */
void kernel_bound(const char *word, uint32_t id);

#endif
