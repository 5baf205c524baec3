/* SPDX-License-Identifier: MIT */
/*
 * The log: one line an event, with what it is about as fields.
 *
 * Goes to the journal, with the fields as PASIDD_VM, PASIDD_SET, PASIDD_PASID, PASIDD_GUEST_PASID,
 * PASIDD_DEVICE, PASIDD_DEVICE_ID, PASIDD_SESSION, PASIDD_UID, PASIDD_OPERATION and PASIDD_REASON
 * and with a MESSAGE_ID, when standard error is the journal's (JOURNAL_STREAM, systemd.exec(5));
 * else as readable lines to standard error. A line that cannot be written without waiting is
 * dropped, and the journal is told how many were; control characters become '?'. Only the edge
 * logs: functions below it return what is wrong.
 */
#ifndef PASIDD_LOG_H
#define PASIDD_LOG_H

#include "base.h"
#include "log_message.h"

enum log_level { /* the numbers of syslog(3) */
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* What a line is about; fields that are 0 or NULL are left out. */
struct log_about {
	enum log_message message;
	const char *operation; /* "accept", "teardown", ... */
	const char *reason;    /* a reason's stable text */
	const char *vm;        /* the name of the set */
	const char *device;    /* its address */
	uint64_t session;
	uint64_t set;
	uint64_t device_id;
	uint32_t pasid, guest, uid;
	bool has_guest, has_uid;
	/* A client can cause it at will: at most LOG_CLIENT_BURST in LOG_CLIENT_MS for each user,
	   and together for those who are not known. */
	bool by_client;
};

#define LOG_CLIENT_BURST 50
#define LOG_CLIENT_MS    5000

/* Where to: found out from the environment. Until this is called, everything goes to standard
 * error. */
void log_open(enum log_level level);
/* Would a line of this level be written? */
bool log_wanted(enum log_level level);
/* `about` may be NULL. Keeps errno. */
__attribute__((format(printf, 3, 4))) void log_write(
	enum log_level level, const struct log_about *about, const char *format, ...);
/* Says how many lines were left out for whom, where the time of a limit is over; cheap. */
void log_flush(void);

#endif
