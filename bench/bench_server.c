/* SPDX-License-Identifier: MIT */
/*
 * Measures pasidd against its peers, which run already unless the figure is about starting:
 * scripts/bench starts them, says where they are, and what each figure means is in
 * docs/PERFORMANCE.md. Prints one JSON line for each figure.
 */
#include "bench_server.h"

#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	void (*run)(const struct bench_options *options);
} figures[] = {
	{"latency", bench_latency},
	{"batches", bench_batches},
	{"many-ids", bench_many_ids},
	{"connections", bench_connections},
	{"memory", bench_memory_use},
	{"map", bench_map},
	{"events", bench_events},
	{"hang", bench_hang},
	{"resume", bench_resume},
};

#define FIGURES (sizeof(figures) / sizeof(figures[0]))

static _Noreturn void usage(void)
{
	(void)fputs(
		"usage: bench_server FIGURE [--rounds N] [--cpu N] [--pasidd PID:SOCKET] "
		"[--second PID:SOCKET]\n"
		"         [--redis PID:SOCKET] [--memcached PID:SOCKET] [--simulation DIR] "
		"[--sim-tool FILE]\n"
		"         [--program FILE] [--home DIR] [--empty-home DIR]\n"
		"Figures:",
		stderr);
	for (size_t i = 0; i < FIGURES; i++)
		(void)fprintf(stderr, " %s", figures[i].name);
	(void)fputc('\n', stderr);
	exit(2);
}

static struct bench_server parse_server(const char *text)
{
	char *end;
	const long pid = strtol(text, &end, 10);

	if (pid <= 0 || *end != ':')
		usage();
	return (struct bench_server){.pid = (pid_t)pid, .path = end + 1};
}

/* Where a file or directory is named. */
static const char **parse_text(struct bench_options *options, int option)
{
	switch (option) {
	case 's':
		return &options->simulation;
	case 't':
		return &options->sim_tool;
	case 'P':
		return &options->program;
	case 'h':
		return &options->home;
	case 'e':
		return &options->empty_home;
	default:
		usage();
	}
}

static struct bench_options parse(int argc, char *argv[])
{
	static const struct option known[] = {
		{"rounds", required_argument, NULL, 'r'},
		{"cpu", required_argument, NULL, 'c'},
		{"pasidd", required_argument, NULL, 'p'},
		{"second", required_argument, NULL, '2'},
		{"redis", required_argument, NULL, 'R'},
		{"memcached", required_argument, NULL, 'M'},
		{"simulation", required_argument, NULL, 's'},
		{"sim-tool", required_argument, NULL, 't'},
		{"program", required_argument, NULL, 'P'},
		{"home", required_argument, NULL, 'h'},
		{"empty-home", required_argument, NULL, 'e'},
		{0},
	};
	struct bench_options options = {.cpu = -1};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'r':
			options.rounds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			options.cpu = (int)strtol(optarg, NULL, 10);
			break;
		case 'p':
			options.pasidd = parse_server(optarg);
			break;
		case '2':
			options.second = parse_server(optarg);
			break;
		case 'R':
			options.redis = parse_server(optarg);
			break;
		case 'M':
			options.memcached = parse_server(optarg);
			break;
		default:
			*parse_text(&options, option) = optarg;
		}
	}
	if (options.rounds > BENCH_ROUNDS_MAX)
		errx(2, "at most %d rounds", BENCH_ROUNDS_MAX);
	return options;
}

int main(int argc, char *argv[])
{
	const struct bench_options options = parse(argc, argv);

	if (optind + 1 != argc)
		usage();
	for (size_t i = 0; i < FIGURES; i++) {
		if (strcmp(figures[i].name, argv[optind]) == 0) {
			bench_pin(options.cpu);
			figures[i].run(&options);
			return 0;
		}
	}
	usage();
}
