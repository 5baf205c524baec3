/* SPDX-License-Identifier: MIT */
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void agent_ok(void)
{
	puts("ok");
}

void agent_ok_numbers(size_t count, const uint64_t *numbers)
{
	printf("ok");
	for (size_t i = 0; i < count; i++)
		printf(" %llu", (unsigned long long)numbers[i]);
	putchar('\n');
}

void agent_fail(int error)
{
	const char *name = strerrorname_np(error);

	printf("error %s %s\n", name ? name : "?", strerror(error));
}

void agent_report(int r)
{
	if (r < 0)
		agent_fail(errno);
	else
		agent_ok();
}

uint32_t agent_number(const char *word)
{
	return word ? (uint32_t)strtoul(word, NULL, 0) : UINT32_MAX;
}

static const struct agent_command *agent_find(
	const struct agent_command *commands, const char *name)
{
	for (; commands && commands->name; commands++)
		if (strcmp(commands->name, name) == 0)
			return commands;
	return NULL;
}

static const struct agent_command *added[4];
static size_t added_count;

void agent_add(const struct agent_command *commands)
{
	if (added_count == sizeof(added) / sizeof(added[0]))
		abort();
	added[added_count++] = commands;
}

void agent_run(const struct agent_command *commands, const struct agent_command *more)
{
	char line[4096];

	setvbuf(stdout, NULL, _IOLBF, 0);
	agent_ok();
	while (fgets(line, sizeof(line), stdin)) {
		char *words[AGENT_WORDS + 1] = {0};
		char *rest = NULL;
		const struct agent_command *command = NULL;
		size_t count = 0;

		for (char *word = strtok_r(line, " \n", &rest); word && count < AGENT_WORDS;
			word = strtok_r(NULL, " \n", &rest))
			words[count++] = word;
		if (count > 0)
			command = agent_find(commands, words[0]);
		if (count > 0 && !command)
			command = agent_find(more, words[0]);
		for (size_t i = 0; count > 0 && !command && i < added_count; i++)
			command = agent_find(added[i], words[0]);
		if (command)
			command->run(words);
		else
			agent_fail(ENOSYS);
	}
}
