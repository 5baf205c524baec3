/* SPDX-License-Identifier: MIT */
/*
 * Random histories of VMs, hardware and a daemon that dies, each compared with a plain model.
 */
#include "coverage.h"
#include "shrink.h"

#include <errno.h>
#include <getopt.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX      64u
#define FAILURES_MAX  10u
#define SECONDS_MAX   100u  /* for 64 histories, under any sanitizer */
#define COVERAGE_FROM 5000u /* histories in which everything has to happen */

static const char usage[] =
	"usage: pasid-histories [--histories N] [--seed N] [--steps N] [--jobs N] [--coverage]\n"
	"\n"
	"Plays random histories of virtual machines, an admin, hardware that is late, refuses,\n"
	"hangs and dies, and a daemon that is killed between any two stores; and compares the\n"
	"broker after each step with a plain model. The same seed is the same history, everywhere.\n"
	"A history that fails is printed with as few steps as still make it fail.\n"
	"\n"
	"  --histories N  how many; 1000, or 1 with --seed. From 5000 on everything that they are\n"
	"                 for must have happened in them\n"
	"  --seed N       the first one's; one alone is printed step by step. Without it: 1\n"
	"  --steps N      of each history, up to 400; 100\n"
	"  --jobs N       processes; as many as there are processors\n"
	"  --coverage     says how often everything happened\n"
	"\n"
	"Examples:\n"
	"  pasid-histories --histories 100000\n"
	"  pasid-histories --seed 4711\n"
	"  pasid-histories --histories 100000 --seed 1000000 --steps 200\n"
	"\n"
	"The last line says how many failed. The status is 0 when none did, otherwise 1; 2 when\n"
	"the options make no sense.\n";

struct options {
	uint64_t seed, histories;
	unsigned steps, jobs;
	bool one, coverage;
};

struct worker {
	_Atomic uint64_t seed; /* of the history that it is at */
	_Atomic uint64_t count;
	_Atomic uint64_t digest;
	struct coverage coverage;
};

/* What all processes see. */
struct board {
	_Atomic uint64_t next;
	struct worker workers[JOBS_MAX];
};

struct failure {
	uint64_t seed;
	char text[SHRINK_TEXT];
};

struct run {
	struct options options;
	struct board *board;
	struct {
		pid_t pid; /* 0: it has ended */
		int capture;
	} processes[JOBS_MAX];
	struct play *play;
	struct failure first; /* that of the lowest seed */
	unsigned failures;
	struct timespec started;
};

/* ------------------------------------------------------------------ options */

static uint64_t number(const char *text, const char *option)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || *end || end == text || *text == '-') {
		(void)fprintf(
			stderr, "pasid-histories: %s needs a number, not '%s'\n", option, text);
		exit(2);
	}
	return value;
}

static void options_check(struct options *options)
{
	if (options->histories == 0)
		options->histories = options->one ? 1 : 1000;
	if (options->steps == 0 || options->steps > HISTORY_MAX || options->jobs == 0 ||
		options->jobs > JOBS_MAX) {
		(void)fprintf(stderr, "pasid-histories: 1 to %u steps, 1 to %u jobs\n", HISTORY_MAX,
			JOBS_MAX);
		exit(2);
	}
}

static struct options options_parse(int argc, char **argv)
{
	static const struct option known[] = {{"histories", 1, NULL, 'n'}, {"seed", 1, NULL, 's'},
		{"steps", 1, NULL, 't'}, {"jobs", 1, NULL, 'j'}, {"coverage", 0, NULL, 'c'},
		{"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
	struct options options = {
		.seed = 1, .steps = 100, .jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
	int option;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'n')
			options.histories = number(optarg, "--histories");
		else if (option == 's')
			options.seed = number(optarg, "--seed");
		else if (option == 't')
			options.steps = (unsigned)number(optarg, "--steps");
		else if (option == 'j')
			options.jobs = (unsigned)number(optarg, "--jobs");
		else if (option == 'c')
			options.coverage = true;
		else if (option == 'h')
			exit(fputs(usage, stdout) < 0);
		else
			exit(2);
		options.one |= option == 's';
	}
	if (optind < argc) {
		(void)fprintf(
			stderr, "pasid-histories: what is '%s'? --help explains\n", argv[optind]);
		exit(2);
	}
	options.one &= options.histories <= 1;
	options_check(&options);
	return options;
}

/* ------------------------------------------------------------------ workers */

static void worker_run(struct run *run, struct worker *worker)
{
	static struct history history;
	const struct options *options = &run->options;
	uint64_t index;

	run->play->coverage = &worker->coverage;
	while ((index = atomic_fetch_add(&run->board->next, 1)) < options->histories) {
		worker->seed = options->seed + index;
		history_generate(&history, worker->seed, options->steps);
		if (worker->count % 64 == 0)
			(void)alarm(SECONDS_MAX);
		play_history(run->play, &history);
		worker->digest += run->play->digest;
		worker->count++;
	}
	_exit(0);
}

static void worker_start(struct run *run, unsigned index)
{
	int capture = shrink_capture_open();
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid < 0)
		world_fail("no process for histories");
	if (pid == 0) {
		if (dup2(capture, STDERR_FILENO) < 0)
			_exit(2);
		worker_run(run, &run->board->workers[index]);
	}
	run->processes[index].capture = capture;
	run->processes[index].pid = pid;
}

/* What it was at has failed; another one goes on with the next. */
static void worker_failed(struct run *run, unsigned index)
{
	const struct worker *worker = &run->board->workers[index];
	char text[SHRINK_TEXT];

	shrink_capture_read(run->processes[index].capture, text);
	run->failures++;
	if (run->failures == 1 || worker->seed < run->first.seed) {
		run->first.seed = worker->seed;
		memcpy(run->first.text, text, sizeof(text));
	}
	run->processes[index].pid = 0;
	if (run->failures < FAILURES_MAX)
		worker_start(run, index);
	else
		run->board->next = UINT64_MAX / 2;
}

static double run_seconds(const struct run *run)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - run->started.tv_sec) +
	       (double)(now.tv_nsec - run->started.tv_nsec) / 1e9;
}

static uint64_t run_count(const struct run *run)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < run->options.jobs; i++)
		count += run->board->workers[i].count;
	return count;
}

static void run_progress(const struct run *run)
{
	uint64_t count = run_count(run);

	if (isatty(STDOUT_FILENO)) {
		(void)printf("\r%llu of %llu histories, %u failed, %.0f a second ",
			(unsigned long long)count, (unsigned long long)run->options.histories,
			run->failures, (double)count / run_seconds(run));
		(void)fflush(stdout);
	}
}

/* false: all have ended. */
static bool run_look(struct run *run)
{
	bool any = false;

	for (unsigned i = 0; i < run->options.jobs; i++) {
		pid_t pid = run->processes[i].pid;
		int status;

		if (pid == 0)
			continue;
		any = true;
		if (waitpid(pid, &status, WNOHANG) != pid)
			continue;
		run->processes[i].pid = 0;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			close(run->processes[i].capture);
		else
			worker_failed(run, i);
	}
	return any;
}

static void run_all(struct run *run)
{
	const struct timespec pause = {0, 20000000};

	for (unsigned i = 0; i < run->options.jobs; i++)
		worker_start(run, i);
	for (unsigned n = 0; run_look(run); n++) {
		if (n % 10 == 0)
			run_progress(run);
		(void)nanosleep(&pause, NULL);
	}
	if (isatty(STDOUT_FILENO))
		(void)printf("\r\033[K");
}

/* ------------------------------------------------------------------ what is said in the end */

static void history_print(struct run *run, const struct history *history)
{
	char text[SHRINK_TEXT];

	(void)printf("seed %llu: %u VMs, %s limits, numbers are granted %s, %u are reserved\n",
		(unsigned long long)history->seed, history->vms, history->tight ? "tight" : "wide",
		broker_policy_text((enum broker_policy)history->policy), history->reserved);
	if (shrink_try(run->play, history, true, text))
		(void)printf("\nFAILED: %s\n", text);
}

static void failure_print(struct run *run)
{
	static struct history history;
	unsigned attempts, before;

	history_generate(&history, run->first.seed, run->options.steps);
	before = history.count;
	(void)printf(
		"seed %llu failed: %s\n", (unsigned long long)run->first.seed, run->first.text);
	attempts = shrink(run->play, &history, run->first.text);
	(void)printf("%u of its %u steps are enough (%u attempts):\n\n", history.count, before,
		attempts);
	history_print(run, &history);
	(void)printf("all of it: pasid-histories --seed %llu --steps %u\n\n",
		(unsigned long long)run->first.seed, run->options.steps);
}

static int run_end(struct run *run)
{
	static struct coverage coverage;
	uint64_t count = run_count(run), digest = 0;
	unsigned missing = 0;

	for (unsigned i = 0; i < run->options.jobs; i++) {
		coverage_add(&coverage, &run->board->workers[i].coverage);
		digest += run->board->workers[i].digest;
	}
	if (run->options.coverage)
		coverage_print(&coverage, stdout);
	if (run->failures)
		failure_print(run);
	else if (count >= COVERAGE_FROM)
		missing = coverage_check(&coverage);
	(void)printf(
		"%llu histories, %u failed (seeds from %llu, %u steps each, %.1f s, digest "
		"%016llx)\n",
		(unsigned long long)count + run->failures, run->failures,
		(unsigned long long)run->options.seed, run->options.steps, run_seconds(run),
		(unsigned long long)digest);
	return run->failures || missing;
}

static int run_one(struct run *run)
{
	static struct history history;
	char text[SHRINK_TEXT];

	history_generate(&history, run->options.seed, run->options.steps);
	if (shrink_try(run->play, &history, false, text)) {
		run->failures = 1;
		run->first.seed = run->options.seed;
		memcpy(run->first.text, text, sizeof(text));
		return run_end(run);
	}
	history_print(run, &history);
	run->board->workers[0].count = 1;
	return run_end(run);
}

int main(int argc, char **argv)
{
	static struct run run;
	static struct play play;

	run.options = options_parse(argc, argv);
	(void)clock_gettime(CLOCK_MONOTONIC, &run.started);
	run.board = mmap(NULL, sizeof(*run.board), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run.board == MAP_FAILED)
		world_fail("no memory for results");
	play_init(&play);
	run.play = &play;
	if (run.options.one)
		return run_one(&run);
	run_all(&run);
	return run_end(&run);
}
