/* SPDX-License-Identifier: MIT */
/* Where explain's lines come from, and faults that are alike becoming one finding. */
#include "pasidctl_explain_log.h"
#include "pasidctl_history.h"

#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINES_DEFAULT 10000
#define LINE_BYTES    4096 /* more than is looked at of one (hw/fault_read.c) */

/* ------------------------------------------------------------ findings */

static bool log_add_to(struct explain_finding *finding, const struct fault *fault)
{
	if (!explain_is_same(&finding->fault, fault))
		return false;
	finding->count++;
	if (fault->address < finding->low)
		finding->low = fault->address;
	if (fault->address > finding->high)
		finding->high = fault->address;
	memcpy(finding->last_when, fault->when, sizeof(finding->last_when));
	return true;
}

static int log_add(struct explain_log *log, const struct fault *fault)
{
	struct explain_finding *finding;

	log->faults++;
	for (size_t i = log->finding_count; i > 0; i--)
		if (log_add_to(&log->findings[i - 1], fault))
			return 0;
	if (log->finding_count == EXPLAIN_FINDINGS_MAX) {
		log->left_out++;
		return 0;
	}
	/* In steps, because most logs have few. */
	if ((log->finding_count & (log->finding_count - 1)) == 0) {
		size_t room = log->finding_count > 0 ? log->finding_count * 2 : 1;
		finding = realloc(log->findings, room * sizeof(*finding));
		if (finding == NULL)
			return -ENOMEM;
		log->findings = finding;
	}
	finding = &log->findings[log->finding_count++];
	*finding = (struct explain_finding){
		.fault = *fault,
		.count = 1,
		.line = log->lines,
		.low = fault->address,
		.high = fault->address,
		.verdict = EXPLAIN_NOT_ASKED,
	};
	memcpy(finding->last_when, fault->when, sizeof(finding->last_when));
	return 0;
}

static int log_take(struct explain_log *log)
{
	struct fault fault;
	int r = 0;

	while (r == 0 && fault_reader_next(&log->reader, &fault))
		r = log_add(log, &fault);
	return r;
}

static int log_line(struct explain_log *log, const char *line, size_t length)
{
	enum fault_line kind;

	log->lines++;
	kind = fault_reader_line(&log->reader, line, length);
	log->others += kind == FAULT_LINE_OTHER;
	log->parts += kind == FAULT_LINE_PART;
	return log_take(log);
}

/* ------------------------------------------------------------ words */

static int log_words(const struct ctl *ctl, struct explain_log *log)
{
	const char *joined[CTL_WORDS_MAX];
	char *text = NULL;
	size_t size = 0;
	bool lines = false;
	int r = 0;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		return -ENOMEM;
	/* Words of one line as the shell took it apart, unless one is a line itself. */
	for (size_t i = 0; i < ctl->arg_count; i++) {
		joined[i] = ctl->args[i];
		lines |= strpbrk(joined[i], " \n") != NULL;
	}
	for (size_t i = 0; i < ctl->arg_count; i++)
		(void)fprintf(out, "%s%s", joined[i], lines ? "\n" : " ");
	if (fclose(out) != 0)
		r = -ENOMEM;
	for (const char *at = text; r == 0 && *at != '\0';) {
		size_t length = strcspn(at, "\n");

		if (length > 0)
			r = log_line(log, at, length);
		at += length + (at[length] == '\n');
	}
	free(text);
	return r;
}

/* ------------------------------------------------------------ files */

/* A line without its end; of one that is longer, what there is room for. false: there is none. */
static bool log_read_line(FILE *in, char *ret_line, size_t room, size_t *ret_length)
{
	size_t length = 0;
	bool is_some = false;
	int c;

	while ((c = getc(in)) != EOF) {
		is_some = true;
		if (c == '\n')
			break;
		if (length < room)
			ret_line[length++] = (char)c;
	}
	*ret_length = length;
	return is_some;
}

static int log_stream(struct explain_log *log, FILE *in)
{
	char line[LINE_BYTES];
	size_t length;
	int r = 0;

	while (r == 0 && log_read_line(in, line, sizeof(line), &length))
		r = log_line(log, line, length);
	if (r == 0 && ferror(in))
		r = -errno;
	return r;
}

static int log_failed(const char *what, int error)
{
	fprintf(stderr, "pasidctl: %s: %s\n", what, strerror(-error));
	return EXIT_FAILED;
}

static int journal_start(char *const *words, int *ret_fd, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	int ends[2], r;

	if (pipe(ends) < 0)
		return -errno;
	r = posix_spawn_file_actions_init(&actions);
	if (r == 0) {
		r = posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
		if (r == 0)
			r = posix_spawn_file_actions_addclose(&actions, ends[0]);
		if (r == 0)
			r = posix_spawnp(ret_pid, words[0], &actions, NULL, words, environ);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	close(ends[1]);
	if (r != 0)
		close(ends[0]);
	*ret_fd = ends[0];
	return -r;
}

/* Times as history has them, and what else journalctl understands. false: too long for one. */
static bool log_since(const char *text, char *ret_word, size_t size)
{
	uint64_t ms;

	if (history_parse_time(text, time(NULL), &ms)) {
		(void)snprintf(ret_word, size, "--since=@%" PRIu64, ms / 1000);
		return true;
	}
	return (size_t)snprintf(ret_word, size, "--since=%s", text) < size;
}

/* This boot's messages of the kernel's, by the program that may read them. */
static int log_journal(const struct ctl *ctl, struct explain_log *log)
{
	char lines[24], since[128];
	char *words[] = {"journalctl", "--dmesg", "--boot=0", "--no-pager", "--quiet",
		"--output=short-iso", lines, NULL, NULL};
	int fd = -1, status = 0, r;
	pid_t pid = -1;
	FILE *in;

	(void)snprintf(lines, sizeof(lines), "--lines=%llu",
		(unsigned long long)(ctl->given & CTL_LINES ? ctl->lines : LINES_DEFAULT));
	if (ctl->given & CTL_SINCE) {
		if (!log_since(ctl->since, since, sizeof(since)))
			return ctl_usage("--since: that is no time");
		words[ARRAY_SIZE(words) - 2] = since;
	}
	r = journal_start(words, &fd, &pid);
	if (r != 0)
		return log_failed("journalctl, which reads the journal", r);
	in = fdopen(fd, "r");
	r = in != NULL ? log_stream(log, in) : -errno;
	if (in != NULL)
		(void)fclose(in);
	else
		close(fd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r != 0)
		return log_failed("cannot read the journal", r);
	if (status == 0)
		return EXIT_DONE;
	fputs("pasidctl: journalctl failed, so the journal was not read to its end\n", stderr);
	return EXIT_FAILED;
}

int explain_log_read(struct ctl *ctl, struct explain_log *log)
{
	int r = 0;

	if ((ctl->given & CTL_JOURNAL) && ctl->arg_count > 0)
		return ctl_usage("explain takes lines, or --journal");
	if ((ctl->given & CTL_JOURNAL) == 0 && ctl->arg_count == 0 && isatty(0))
		return ctl_usage(
			"explain reads lines that are given as words, standard input "
			"that is no terminal, or the journal with --journal");
	if (ctl->given & CTL_JOURNAL) {
		int code = log_journal(ctl, log);

		if (code != EXIT_DONE)
			return code;
	} else {
		r = ctl->arg_count > 0 ? log_words(ctl, log) : log_stream(log, stdin);
	}
	fault_reader_end(&log->reader);
	if (r == 0)
		r = log_take(log);
	return r == 0 ? EXIT_DONE : log_failed("cannot read the lines", r);
}
