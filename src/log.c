/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LOG_JOURNAL        "/run/systemd/journal/socket"
#define LOG_JOURNAL_BUFFER (8 << 20) /* as the library has it; the kernel may give less */
#define LOG_IDENTIFIER     "SYSLOG_IDENTIFIER=pasidd"

#define LOG_TEXT_MAX  768
#define LOG_FIELD_MAX 96
#define LOG_FIELDS    14
#define LOG_BUCKETS   64 /* users that are told apart; the last one more is for those not known */

static struct {
	enum log_level level;
	bool journal;
	int socket;    /* to the journal; -1: none */
	uint32_t lost; /* lines that it did not take */
	struct log_bucket {
		/* What clients may still cause in this period, and what was left out of it. */
		int64_t period_end_ms;
		uint32_t left, dropped;
		uint32_t uid;
		bool several; /* not only of that user */
	} buckets[LOG_BUCKETS + 1];
	int64_t flush_at_ms; /* when the first of those with something left out is to say so */
} log_state = {.level = LOG_LEVEL_INFO, .socket = -1, .flush_at_ms = INT64_MAX};

static const char *const log_message_ids[LOG_MESSAGE_COUNT] = {
#define M(name, id) [LOG_MESSAGE_##name] = (id),
	LOG_MESSAGES(M)
#undef M
};

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

static int log_journal_socket(void)
{
	const int size = LOG_JOURNAL_BUFFER;
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

void log_open(enum log_level level)
{
	log_state.level = level;
	log_state.journal = log_is_journal();
	if (log_state.journal && log_state.socket < 0)
		log_state.socket = log_journal_socket();
	if (log_state.socket < 0)
		log_state.journal = false; /* its stream is good enough */
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

/*
 * One line it is, and nothing for a terminal to obey: names that were asked for may be anything
 * that is UTF-8. Control characters are those of ASCII, and U+0080 to U+009F.
 */
static void log_tame(char *text)
{
	for (uint8_t *at = (uint8_t *)text; *at != '\0'; at++) {
		if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f)
			at[0] = at[1] = '?';
		else if (*at < ' ' || *at == 0x7f)
			*at = '?';
	}
}

__attribute__((format(printf, 2, 3))) static void log_add(
	struct log_line *line, const char *format, ...)
{
	char *text = line->text[line->count];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, LOG_FIELD_MAX, format, args);
	va_end(args);
	log_tame(text);
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
	if (about->vm != NULL && about->vm[0] != '\0')
		log_add(line, "PASIDD_VM=%.64s", about->vm);
	if (about->set != 0)
		log_add(line, "PASIDD_SET=%" PRIu64, about->set);
	if (about->device != NULL && about->device[0] != '\0')
		log_add(line, "PASIDD_DEVICE=%s", about->device);
	if (about->device_id != 0)
		log_add(line, "PASIDD_DEVICE_ID=%" PRIu64, about->device_id);
	if (about->pasid != 0)
		log_add(line, "PASIDD_PASID=%" PRIu32, about->pasid);
	if (about->has_guest)
		log_add(line, "PASIDD_GUEST_PASID=%" PRIu32, about->guest);
	if (about->has_uid)
		log_add(line, "PASIDD_UID=%" PRIu32, about->uid);
}

/*
 * In the journal's own words (systemd.io/JOURNAL_NATIVE_PROTOCOL), because sd_journal_sendv() waits
 * for a journal that does not read, and the loop must wait for nobody.
 */
static bool log_send(const struct log_line *line)
{
	struct sockaddr_un journal = {.sun_family = AF_UNIX, .sun_path = LOG_JOURNAL};
	struct iovec parts[2 * LOG_FIELDS];
	struct msghdr msg = {
		.msg_name = &journal, .msg_namelen = sizeof(journal), .msg_iov = parts};

	for (int i = 0; i < line->count; i++) {
		parts[msg.msg_iovlen++] = line->fields[i];
		parts[msg.msg_iovlen++] = (struct iovec){(void *)(uintptr_t) "\n", 1};
	}
	return sendmsg(log_state.socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* What the journal wants beside the fields that it has. */
static void log_complete(
	enum log_level level, enum log_message message, struct log_line *line, const char *text)
{
	int length = snprintf(line->message, sizeof(line->message), "MESSAGE=%s", text);

	log_add(line, "PRIORITY=%d", (int)level);
	if (message != LOG_MESSAGE_NONE)
		log_add(line, "MESSAGE_ID=%s", log_message_ids[message]);
	log_add(line, LOG_IDENTIFIER);
	line->fields[line->count++] = (struct iovec){line->message, (size_t)length};
}

/* It takes lines again. */
static void log_say_lost(void)
{
	struct log_line line = {.count = 0};
	char text[64];

	(void)snprintf(text, sizeof(text), "%" PRIu32 " lines were lost: the journal did not read",
		log_state.lost);
	log_complete(LOG_LEVEL_WARNING, LOG_MESSAGE_NONE, &line, text);
	if (log_send(&line))
		log_state.lost = 0;
}

static void log_to_journal(
	enum log_level level, enum log_message message, struct log_line *line, const char *text)
{
	log_complete(level, message, line, text);
	if (!log_send(line))
		log_state.lost++;
	else if (log_state.lost > 0)
		log_say_lost();
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

static void log_emit(enum log_level level, const struct log_about *about, const char *text)
{
	struct log_line line;

	line.count = 0;
	if (about != NULL)
		log_add_about(&line, about);
	if (log_state.journal)
		log_to_journal(
			level, about != NULL ? about->message : LOG_MESSAGE_NONE, &line, text);
	else
		log_to_stderr(level, &line, text);
}

/* ---------------------------------------------------------------- what clients cause */

static int64_t log_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The period is over: says what was left out of it. */
static void log_bucket_end(struct log_bucket *bucket, bool is_user)
{
	const struct log_about about = {.message = LOG_MESSAGE_LEFT_OUT,
		.operation = "log",
		.uid = bucket->uid,
		.has_uid = is_user && !bucket->several};
	const uint32_t dropped = bucket->dropped;
	char text[128], whose[48] = "clients";

	bucket->dropped = 0;
	bucket->several = false;
	bucket->left = LOG_CLIENT_BURST;
	if (dropped == 0)
		return;
	if (about.has_uid)
		(void)snprintf(whose, sizeof(whose), "clients of user %" PRIu32, about.uid);
	(void)snprintf(text, sizeof(text), "%" PRIu32 " lines that %s caused were left out",
		dropped, whose);
	log_emit(LOG_LEVEL_WARNING, &about, text);
}

/* May another line be written that a client caused? */
static bool log_client_may(const struct log_about *about)
{
	struct log_bucket *bucket =
		&log_state.buckets[about->has_uid ? about->uid % LOG_BUCKETS : LOG_BUCKETS];
	const int64_t now_ms = log_now_ms();

	if (now_ms >= bucket->period_end_ms) {
		log_bucket_end(bucket, about->has_uid);
		bucket->period_end_ms = now_ms + LOG_CLIENT_MS;
	}
	bucket->several = bucket->several || (bucket->dropped > 0 && bucket->uid != about->uid);
	if (bucket->left > 0) {
		bucket->left--;
		return true;
	}
	bucket->uid = about->uid;
	bucket->dropped++;
	if (bucket->period_end_ms < log_state.flush_at_ms)
		log_state.flush_at_ms = bucket->period_end_ms;
	return false;
}

void log_flush(void)
{
	int64_t now_ms;

	if (log_state.flush_at_ms == INT64_MAX)
		return;
	now_ms = log_now_ms();
	if (now_ms < log_state.flush_at_ms)
		return;
	log_state.flush_at_ms = INT64_MAX;
	for (size_t i = 0; i <= LOG_BUCKETS; i++) {
		struct log_bucket *bucket = &log_state.buckets[i];

		if (bucket->dropped == 0)
			continue;
		if (now_ms >= bucket->period_end_ms)
			log_bucket_end(bucket, i < LOG_BUCKETS);
		else if (bucket->period_end_ms < log_state.flush_at_ms)
			log_state.flush_at_ms = bucket->period_end_ms;
	}
}

void log_write(enum log_level level, const struct log_about *about, const char *format, ...)
{
	const int saved = errno;
	char text[LOG_TEXT_MAX];
	va_list args;

	if (!log_wanted(level))
		return;
	if (about != NULL && about->by_client && !log_client_may(about))
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_tame(text);
	log_emit(level, about, text);
	errno = saved;
}
