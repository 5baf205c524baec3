/* SPDX-License-Identifier: MIT */
/* Sessions that are waited for when a number is freed or unbound (F22). */
#ifndef PASIDD_BROKER_PARTICIPANT_H
#define PASIDD_BROKER_PARTICIPANT_H

#include "broker.h"

/*
 * The acknowledgement of this session, a participant's, is awaited from now on: a number that is
 * freed stays in quarantine until each of those that participated at that time has acknowledged it,
 * or has ended (F22), and an unbind detaches nothing before, or before unbind_wait_ms are over. One
 * that lets that time pass is late: unbinds wait for it again when it has acknowledged something.
 * The end of a set waits for nobody. Said twice, it changes nothing. REASON_LIMIT.
 */
int broker_participate(struct broker *broker, const struct actor *actor, struct error *ret_error);
/*
 * The actor has let go of these numbers: of each, what waits for it and was announced by an event
 * up to `seen` (0: whatever waits now), its unbind and its free. *ret_acknowledged: how many of
 * them waited for it. That one did not, or is nobody's any more, is no error.
 */
int broker_acknowledge(struct broker *broker, const struct actor *actor, const struct hpasid *hosts,
	size_t count, uint64_t seen, uint32_t *ret_acknowledged, struct error *ret_error);

struct participant_info {
	uint64_t session;
	uint32_t index;     /* below BROKER_PARTICIPANTS: its bit of grant_info.awaited */
	bool late;          /* unbinds do not wait for it */
	uint64_t late_ms;   /* since when, on the broker's clock */
	uint32_t missed;    /* unbinds that went on without its acknowledgement */
	struct hpasid last; /* the number of the last of these */
};

/* `cursor` starts at 0. */
bool broker_participant_next(
	const struct broker *broker, uint32_t *cursor, struct participant_info *ret_info);

#endif
