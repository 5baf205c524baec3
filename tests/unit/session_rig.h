/* SPDX-License-Identifier: MIT */
/* Sessions of one user over records that survive a restart, and undo what was not settled. */
#ifndef PASIDD_TEST_SESSION_RIG_H
#define PASIDD_TEST_SESSION_RIG_H

#include "journal.h"
#include "session.h"
#include "state_file.h"

#define REPLY_MAX 20000

extern struct journal journal;
extern struct limits_config limits_config;
extern struct limits *limits;
extern struct sessions *sessions;
extern struct session *session; /* the first one; requests are of this */
extern struct session *others[8];
extern unsigned recovered;
extern struct peer *peer;
extern struct error error;

/* With one session. */
void session_rig_open(void);
void session_rig_close(void);
struct session *open_session(void);

/* What the check of records says, which a start asks first. */
int check_records(void);
void start(void);
void restart(void);
/* A restart that nothing prepared. */
void crash(void);

/* A change with this id, which is its digest, too. */
enum session_verdict begin(uint64_t id, struct remembered **ret_remembered);
void expect_refusal(uint64_t id, uint64_t digest, enum reason reason);
/* It ends, with a reply of so many bytes that depend on the id. */
void finish(struct remembered *remembered, size_t size, bool had_fds);
void done(uint64_t id, size_t size);
/* It is had again. */
void expect_reply(uint64_t id, size_t size);
/* sessions_recover() gives up with this. */
void expect_no_start(int r);

#endif
