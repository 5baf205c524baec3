/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#define LOG_TEXT_MAX  768
#define LOG_FIELD_MAX 96
#define LOG_FIELDS    9

static struct {
	enum log_level level;
	bool journal;
	/* What clients may still cause in this period, and what was left out of it. */
	int64_t period_end_ms;
	uint32_t client_left, client_dropped;
} log_state = {.level = LOG_LEVEL_INFO};

/* Is standard error what the journal gave us? */
static bool log_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat st;
	char expected[64];

	if (stream == NULL || fstat(STDERR_FILENO, &st) < 0)
		return false;
	(void)snprintf(
		expected, sizeof(expected), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, expected) == 0;
}

void log_open(enum log_level level)
{
	log_state.level = level;
	log_state.journal = log_is_journal();
}

bool log_wanted(enum log_level level)
{
	return level <= log_state.level;
}

/* The fields of one line, as the journal takes them. */
struct log_line {
	struct iovec fields[LOG_FIELDS];
	int count;
	char text[LOG_FIELDS][LOG_FIELD_MAX];
	char message[LOG_TEXT_MAX + sizeof("MESSAGE=")];
};

__attribute__((format(printf, 2, 3))) static void log_add(
	struct log_line *line, const char *format, ...)
{
	char *text = line->text[line->count];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, LOG_FIELD_MAX, format, args);
	va_end(args);
	line->fields[line->count++] = (struct iovec){.iov_base = text, .iov_len = strlen(text)};
}

static void log_add_about(struct log_line *line, const struct log_about *about)
{
	if (about->operation != NULL)
		log_add(line, "PASIDD_OPERATION=%s", about->operation);
	if (about->reason != NULL && about->reason[0] != '\0')
		log_add(line, "PASIDD_REASON=%s", about->reason);
	if (about->session != 0)
		log_add(line, "PASIDD_SESSION=%" PRIu64, about->session);
	if (about->set != 0)
		log_add(line, "PASIDD_SET=%" PRIu64, about->set);
	if (about->device != 0)
		log_add(line, "PASIDD_DEVICE=%" PRIu64, about->device);
	if (about->pasid != 0)
		log_add(line, "PASIDD_PASID=%" PRIu32, about->pasid);
}

static void log_to_journal(enum log_level level, struct log_line *line, const char *text)
{
	int length = snprintf(line->message, sizeof(line->message), "MESSAGE=%s", text);

	log_add(line, "PRIORITY=%d", (int)level);
	line->fields[line->count++] = (struct iovec){line->message, (size_t)length};
	(void)sd_journal_sendv(line->fields, line->count);
}

static const char *log_level_text(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error: ";
	case LOG_LEVEL_WARNING:
		return "warning: ";
	case LOG_LEVEL_DEBUG:
		return "debug: ";
	case LOG_LEVEL_NOTICE:
	case LOG_LEVEL_INFO:
		break;
	}
	return "";
}

/* "pasidd: warning: text [operation=accept set=5]" */
static void log_to_stderr(enum log_level level, const struct log_line *line, const char *text)
{
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
	char buffer[LOG_TEXT_MAX + LOG_FIELDS * LOG_FIELD_MAX + 64];
	size_t length = (size_t)snprintf(
		buffer, sizeof(buffer), "pasidd: %s%s", log_level_text(level), text);

	for (int i = 0; i < line->count; i++) {
		char *name = buffer + length;

		length += (size_t)snprintf(name, sizeof(buffer) - length, "%s%s",
			i == 0 ? " [" : " ", line->text[i] + strlen("PASIDD_"));
		for (; *name != '=' && *name != '\0'; name++)
			if (*name >= 'A' && *name <= 'Z')
				*name = (char)(*name - 'A' + 'a');
	}
	length += (size_t)snprintf(
		buffer + length, sizeof(buffer) - length, "%s\n", line->count > 0 ? "]" : "");
	if (poll(&ready, 1, 0) == 1 && write(STDERR_FILENO, buffer, length) < 0)
		return; /* there is nowhere to say so */
}

/* May another line be written that a client caused? */
static bool log_client_may(uint32_t *ret_dropped)
{
	struct timespec now;
	int64_t now_ms;

	*ret_dropped = 0;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	if (now_ms >= log_state.period_end_ms) {
		*ret_dropped = log_state.client_dropped;
		log_state.client_dropped = 0;
		log_state.client_left = LOG_CLIENT_BURST;
		log_state.period_end_ms = now_ms + LOG_CLIENT_MS;
	}
	if (log_state.client_left == 0) {
		log_state.client_dropped++;
		return false;
	}
	log_state.client_left--;
	return true;
}

static void log_emit(enum log_level level, const struct log_about *about, const char *text)
{
	struct log_line line;

	line.count = 0;
	if (about != NULL)
		log_add_about(&line, about);
	if (log_state.journal)
		log_to_journal(level, &line, text);
	else
		log_to_stderr(level, &line, text);
}

void log_write(enum log_level level, const struct log_about *about, const char *format, ...)
{
	const int saved = errno;
	char text[LOG_TEXT_MAX];
	uint32_t dropped = 0;
	va_list args;

	if (!log_wanted(level))
		return;
	if (about != NULL && about->by_client && !log_client_may(&dropped))
		return;
	if (dropped > 0) {
		(void)snprintf(text, sizeof(text),
			"%" PRIu32 " lines that clients caused were left out", dropped);
		log_emit(LOG_LEVEL_WARNING, NULL, text);
	}
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_emit(level, about, text);
	errno = saved;
}
