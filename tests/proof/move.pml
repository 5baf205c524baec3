/* SPDX-License-Identifier: MIT */
/*
 * A set moves from one host's daemon to another's, while either of them, and whoever moves it, may
 * die at any moment and messages may be lost, or come twice.
 *
 *   0  export    the source records that the set is LEAVING: nothing of it changes any more
 *   1  reserve   the target records the set as RESERVED, with numbers, and serves nobody yet
 *   2  commit    the source records GIVEN, in one store: from there on the set is the target's.
 *                Or cancel: the source records that it keeps the set, the target drops what it
 *                reserved
 *   3  take      the target records OWNED and serves; it does so only when the source has said GIVEN
 *   4  release   when the target has said OWNED the source lets go of what is left: its numbers go
 *                through quarantine, and it forgets the set
 *
 * Whoever moves the set (an admin's program) carries the messages and has no memory that counts: it
 * asks both daemons and goes on with whatever is missing. A target that reserved asks for the word of
 * the source for as long as that takes: it never gives up by itself.
 *
 * The source's VM may die meanwhile. Before the set is given it dies as it always does, and takes the
 * set along; the move is off. Afterwards its numbers rest, and the record that it was given stays.
 *
 * Safety: never do both serve, never is the set nobody's unless its VM has died, the source's number
 * is free only when it is detached, what is bound at the source is detached before the target serves
 * (the guest's memory has moved), and the target has what the source had. Liveness: the move ends,
 * and then exactly one has the set, the other nothing of it.
 *
 * The daemon's part of it is src/broker_move.c and src/broker_move_target.c, which dies at each store
 * of each step in tests/unit/test_broker_move.c; scripts/migrate-demo kills the whole of it.
 */
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef LOST
#define LOST 2
#endif

mtype = { NOTHING, OWNED, GIVEN, RESERVED };      /* of the set, at each daemon */
mtype = { FREE, ACTIVE, PENDING, QUARANTINED };   /* of its number, at each daemon */
mtype = { EXPORT, RESERVE, COMMIT, CANCEL, TAKE, DROP, RELEASE };

#define SOURCE 0
#define TARGET 1

/* Recorded. */
mtype set[2];
mtype number[2];
bool bound[2];    /* recorded as bound, or as an intent of it */
bool leaving;     /* the source's set, of which the target may have been told */
bool kept;        /* this move is off: no set of the source is under way with it any more */
bool released;    /* the target has said that it has the set */
bit content[2];   /* guest PASIDs and data */
bool attached[2]; /* in the hardware */

bool up[2] = true;
bool cancelling; /* the admin has changed their mind */
bool dead;       /* the VM at the source, before the set was given */
bool gone;       /* at any time */
bit told;        /* what whoever moves the set was told of its content */
byte crashes = CRASHES, lost = LOST;

#define SERVES(h)  (set[h] == OWNED && up[h])
#define IS_OVER                                                                                    \
	((kept && set[SOURCE] == OWNED && set[TARGET] == NOTHING && number[TARGET] == FREE) ||     \
		(set[SOURCE] == NOTHING && set[TARGET] == OWNED && number[SOURCE] == FREE) ||      \
		(dead && set[TARGET] == NOTHING && number[SOURCE] == FREE && number[TARGET] == FREE))

/* What was sent and did not arrive yet; the same again makes no difference. */
chan to[2] = [2] of { mtype };

inline check()
{
	assert(!(set[SOURCE] == OWNED && set[TARGET] == OWNED));
	assert(set[SOURCE] == OWNED || set[TARGET] == OWNED || dead ||
		(set[SOURCE] == GIVEN && set[TARGET] == RESERVED));
	assert(!(set[TARGET] == OWNED && (attached[SOURCE] || dead)));
	assert(!(set[TARGET] == OWNED && content[TARGET] != content[SOURCE]));
	assert(number[SOURCE] != FREE || !attached[SOURCE]);
	assert(number[TARGET] != FREE || !attached[TARGET]);
	assert(set[SOURCE] != OWNED || number[SOURCE] == ACTIVE);
	assert(set[TARGET] != OWNED || number[TARGET] == ACTIVE)
}

/* A message arrives at the source. */
inline source_hears(what)
{
	if
	:: what == EXPORT && set[SOURCE] == OWNED && !kept ->
		leaving = true;
		told = content[SOURCE]
	:: what == COMMIT && leaving && !bound[SOURCE] -> set[SOURCE] = GIVEN; leaving = false
#ifdef MUTANT_A
	:: what == COMMIT && leaving && bound[SOURCE] -> set[SOURCE] = GIVEN; leaving = false
#endif
#ifdef MUTANT_CANCEL
	:: what == CANCEL && set[SOURCE] == GIVEN -> set[SOURCE] = OWNED /* too late */
#endif
	:: what == CANCEL && set[SOURCE] == OWNED -> kept = true; leaving = false
	:: what == RELEASE && set[SOURCE] == GIVEN && number[SOURCE] == ACTIVE ->
		released = true;
		number[SOURCE] = PENDING
	:: what == RELEASE && set[SOURCE] == GIVEN && number[SOURCE] == FREE ->
		set[SOURCE] = NOTHING
	:: what == RELEASE && set[SOURCE] == GIVEN && number[SOURCE] != ACTIVE &&
			number[SOURCE] != FREE -> released = true
	:: else
	fi
}

inline target_hears(what)
{
	if
	:: what == RESERVE && set[TARGET] == NOTHING && number[TARGET] == FREE ->
		set[TARGET] = RESERVED;
		content[TARGET] = told;
		number[TARGET] = ACTIVE
	:: what == TAKE && set[TARGET] == RESERVED -> set[TARGET] = OWNED
	:: what == DROP && set[TARGET] == RESERVED ->
		set[TARGET] = NOTHING;
		number[TARGET] = QUARANTINED /* never attached; it rests as any other does */
	:: else
	fi
}

/* What a daemon does by itself, and what its VM asks. */
inline work(h)
{
	if
	:: SERVES(h) && !bound[h] && !(h == SOURCE && leaving) -> bound[h] = true
	:: bound[h] && !attached[h] && set[h] == OWNED -> attached[h] = true
	:: bound[h] ->
		attached[h] = false;
		bound[h] = false
	:: number[h] == PENDING && !bound[h] -> number[h] = QUARANTINED
	:: number[h] == QUARANTINED ->
		number[h] = FREE;
		if
		:: set[h] == GIVEN && released -> set[h] = NOTHING
		:: else
		fi
#ifdef MUTANT_FREEZE
	:: SERVES(h) && h == SOURCE -> content[h] = 1 - content[h]
#else
	:: SERVES(h) && h == SOURCE && !leaving -> content[h] = 1 - content[h]
#endif
	:: else
	fi
}

/* Dies and comes back with what is recorded; messages on their way are lost with the connection. */
inline crash(h)
{
	crashes--;
	up[h] = false;
	do
	:: nempty(to[h]) -> to[h] ? what
	:: empty(to[h]) -> break
	od;
	what = 0
}

proctype daemon(byte h)
{
	mtype what = 0;

end:	do
	:: atomic { up[h] && nempty(to[h]) ->
		to[h] ? what;
		if
		:: h == SOURCE -> source_hears(what)
		:: h == TARGET -> target_hears(what)
		fi;
		what = 0;
		check()
	}
	:: atomic { up[h] && nempty(to[h]) && lost > 0 -> lost--; to[h] ? what; what = 0 }
	:: atomic { up[h] && !IS_OVER && (SERVES(h) || bound[h] || number[h] == PENDING ||
			number[h] == QUARANTINED) -> work(h); check() }
	:: atomic { up[h] && crashes > 0 -> crash(h) }
	:: atomic { !up[h] -> up[h] = true; check() }
	od
}

/* The VM at the source dies, and its session ends. */
active proctype vm()
{
end:	atomic { up[SOURCE] && (set[SOURCE] == OWNED || set[SOURCE] == GIVEN) && !gone && !released ->
		gone = true;
		if
		:: set[SOURCE] == OWNED ->
			dead = true;
			kept = true;
			leaving = false;
			set[SOURCE] = NOTHING;
			number[SOURCE] = PENDING
		:: set[SOURCE] == GIVEN ->
#ifdef MUTANT_FORGET
			released = true; /* as of any set whose VM is gone */
#endif
			number[SOURCE] = PENDING
		fi;
		check()
	}
}

/* Sends what is missing, as both daemons say themselves, again and again. */
#define SEND(h, what)                                                                              \
	if                                                                                         \
	:: nfull(to[h]) -> to[h] ! what                                                            \
	:: full(to[h])                                                                             \
	fi

#ifdef MUTANT_ONCE
#define MAY_SEND !sent
#else
#define MAY_SEND true
#endif

active proctype mover()
{
	bool sent;

	atomic {
		set[SOURCE] = OWNED;
		set[TARGET] = NOTHING;
		number[SOURCE] = ACTIVE;
		number[TARGET] = FREE;
		run daemon(SOURCE);
		run daemon(TARGET)
	}
end:	do
	:: atomic { !cancelling && set[SOURCE] == OWNED -> cancelling = true }
	:: atomic { up[SOURCE] && !cancelling && !kept && !leaving && set[SOURCE] == OWNED ->
			SEND(SOURCE, EXPORT) }
	:: atomic { up[TARGET] && !cancelling && set[TARGET] == NOTHING && leaving &&
			number[TARGET] == FREE -> SEND(TARGET, RESERVE) }
#ifdef MUTANT_NEITHER
	/* without waiting for the target's word */
	:: atomic { up[SOURCE] && set[SOURCE] == OWNED -> SEND(SOURCE, COMMIT) }
#else
	:: atomic { up[SOURCE] && up[TARGET] && !cancelling && set[TARGET] == RESERVED &&
			leaving -> SEND(SOURCE, COMMIT) }
#endif
	:: atomic { up[SOURCE] && cancelling && set[SOURCE] == OWNED && !kept ->
			SEND(SOURCE, CANCEL) }
#ifdef MUTANT_DROP
	/* before the source has said that it keeps the set */
	:: atomic { up[TARGET] && cancelling && set[TARGET] == RESERVED -> SEND(TARGET, DROP) }
#else
	:: atomic { up[TARGET] && kept && set[TARGET] == RESERVED -> SEND(TARGET, DROP) }
#endif
#ifdef MUTANT_BOTH
	:: atomic { up[TARGET] && set[TARGET] == RESERVED -> SEND(TARGET, TAKE) }
#else
	:: atomic { up[SOURCE] && up[TARGET] && set[SOURCE] == GIVEN && set[TARGET] == RESERVED &&
			MAY_SEND ->
#ifdef MUTANT_ONCE
			sent = true;
#endif
			SEND(TARGET, TAKE) }
#endif
	:: atomic { up[SOURCE] && up[TARGET] && set[SOURCE] == GIVEN && set[TARGET] == OWNED &&
			!released -> SEND(SOURCE, RELEASE) }
	od
}

#ifdef LIVENESS
/* What was given is taken, and the source gets rid of it, when deaths and losses come to an end. */
ltl ends { [] ((set[SOURCE] == GIVEN) -> <> (set[SOURCE] == NOTHING && set[TARGET] == OWNED)) }
#endif
