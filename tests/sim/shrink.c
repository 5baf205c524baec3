/* SPDX-License-Identifier: MIT */
#include "shrink.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_MAX 20u /* for one history, under any sanitizer */

int shrink_capture_open(void)
{
	int fd = memfd_create("said", MFD_CLOEXEC);

	if (fd < 0)
		world_fail("no memory for what is said");
	return fd;
}

void shrink_capture_read(int fd, char ret_text[static SHRINK_TEXT])
{
	ssize_t n = pread(fd, ret_text, SHRINK_TEXT - 1, 0);

	while (n > 0 && ret_text[n - 1] == '\n')
		n--;
	ret_text[n > 0 ? n : 0] = '\0';
	close(fd);
}

static void child(struct play *play, const struct history *history, bool trace, int capture)
{
	static struct coverage unread;

	if (dup2(capture, STDERR_FILENO) < 0)
		_exit(2);
	(void)alarm(SECONDS_MAX);
	play->coverage = &unread;
	play->trace = trace ? stdout : NULL;
	(void)setvbuf(stdout, NULL, _IONBF, 0);
	play_history(play, history);
	_exit(0);
}

int shrink_try(struct play *play, const struct history *history, bool trace,
	char ret_text[static SHRINK_TEXT])
{
	int capture = shrink_capture_open(), status = 0;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid == 0)
		child(play, history, trace, capture);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		world_fail("no process for a history");
	shrink_capture_read(capture, ret_text);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (ret_text[0] == '\0')
		(void)snprintf(ret_text, SHRINK_TEXT, "it was ended by signal %d",
			WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	return 1;
}

/* The words of the first line that have no digit, so that it does not matter which PASID it was. */
static void failure_key(const char *text, char ret_key[static SHRINK_TEXT])
{
	size_t length = 0;

	while (*text && *text != '\n') {
		size_t word = strcspn(text, " \n");
		bool digits = strcspn(text, "0123456789") < word;

		if (!digits) {
			memcpy(ret_key + length, text, word);
			length += word;
			ret_key[length++] = ' ';
		}
		text += word;
		text += *text == ' ';
	}
	ret_key[length] = '\0';
}

struct shrinking {
	struct play *play;
	struct history *best, attempt;
	char key[SHRINK_TEXT + 1];
	unsigned attempts;
};

static bool shrink_accepts(struct shrinking *s)
{
	char text[SHRINK_TEXT], key[SHRINK_TEXT + 1];

	if (s->attempts == SHRINK_ATTEMPTS)
		return false;
	s->attempts++;
	if (!shrink_try(s->play, &s->attempt, false, text))
		return false;
	failure_key(text, key);
	if (strcmp(key, s->key) != 0)
		return false;
	*s->best = s->attempt;
	return true;
}

static bool shrink_without(struct shrinking *s, unsigned first, unsigned count)
{
	s->attempt = *s->best;
	memmove(&s->attempt.steps[first], &s->attempt.steps[first + count],
		(s->attempt.count - first - count) * sizeof(s->attempt.steps[0]));
	s->attempt.count -= count;
	return shrink_accepts(s);
}

/* Pieces of half of it, of a quarter, ..., from its end; single ones until none can go. */
static void shrink_steps(struct shrinking *s)
{
	unsigned piece = s->best->count / 2;

	while (piece >= 1 && s->attempts < SHRINK_ATTEMPTS) {
		bool any = false;

		for (unsigned end = s->best->count; end >= piece; end--) {
			if (!shrink_without(s, end - piece, piece))
				continue;
			any = true;
			end = end - piece + 1;
		}
		if (piece == 1 && !any)
			break;
		piece = piece > 1 ? piece / 2 : 1;
	}
}

/* A daemon that lives, a turn of its own, a number that is small. */
static void shrink_step(struct shrinking *s, unsigned index)
{
	uint8_t *const parts[] = {&s->attempt.steps[index].crash_again,
		&s->attempt.steps[index].crash, &s->attempt.steps[index].more};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		s->attempt = *s->best;
		if (*parts[i] == 0)
			continue;
		*parts[i] = 0;
		(void)shrink_accepts(s);
	}
}

unsigned shrink(struct play *play, struct history *history, const char *text)
{
	static struct shrinking s;

	s.play = play;
	s.best = history;
	s.attempts = 0;
	failure_key(text, s.key);
	s.attempt = *history;
	s.attempt.tight = 0;
	(void)shrink_accepts(&s);
	shrink_steps(&s);
	for (unsigned i = 0; i < history->count; i++)
		shrink_step(&s, i);
	shrink_steps(&s);
	return s.attempts;
}
