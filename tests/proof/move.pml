/* SPDX-License-Identifier: MIT */
/*
 * A set moves from one host's daemon to another's, while either of them, and whoever moves it, may
 * die at any moment and messages may be lost, or come twice.
 *
 *   1  reserve   the target records the set as RESERVED, with numbers, and serves nobody yet
 *   2  commit    the source records GIVEN, in one store: from there on the set is the target's.
 *                Or cancel: the source records that it keeps the set, the target drops what it
 *                reserved
 *   3  take      the target records OWNED and serves; it does so only when the source has said GIVEN
 *   4  release   the source detaches, its numbers go through quarantine, and it forgets the set
 *                when the target has said OWNED
 *
 * Whoever moves the set (an admin's program) carries the messages and has no memory that counts: it
 * asks both daemons and goes on with whatever is missing. A target that reserved asks for the word of
 * the source for as long as that takes: it never gives up by itself.
 *
 * Safety: never do both serve, never is the set nobody's, the source's number is free only when it is
 * detached, what is bound at the source is detached before the target serves (the guest's memory
 * has moved). Liveness: the move ends, and then exactly one has the set, the other nothing of it.
 *
 * This protocol is designed and not implemented yet (docs/PROTOCOL.md, "migration").
 */
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef LOST
#define LOST 2
#endif

mtype = { NOTHING, OWNED, GIVEN, RESERVED };      /* of the set, at each daemon */
mtype = { FREE, ACTIVE, PENDING, QUARANTINED };   /* of its number, at each daemon */
mtype = { RESERVE, COMMIT, CANCEL, TAKE, DROP, RELEASE };

#define SOURCE 0
#define TARGET 1

/* Recorded. */
mtype set[2];
mtype number[2];
bool bound[2];    /* recorded as bound, or as an intent of it */
bool kept;        /* the source has recorded that this move is off */
bool attached[2]; /* in the hardware */

bool up[2] = true;
bool cancelling; /* the admin has changed their mind */
byte crashes = CRASHES, lost = LOST;

#define SERVES(h)  (set[h] == OWNED && up[h])
#define IS_OVER                                                                                    \
	((set[SOURCE] == OWNED && set[TARGET] == NOTHING && number[TARGET] == FREE) ||             \
		(set[SOURCE] == NOTHING && set[TARGET] == OWNED && number[SOURCE] == FREE))

/* What was sent and did not arrive yet; the same again makes no difference. */
chan to[2] = [2] of { mtype };

inline check()
{
	assert(!(set[SOURCE] == OWNED && set[TARGET] == OWNED));
	assert(set[SOURCE] == OWNED || set[TARGET] == OWNED ||
		(set[SOURCE] == GIVEN && set[TARGET] == RESERVED));
	assert(!(set[TARGET] == OWNED && attached[SOURCE]));
	assert(number[SOURCE] != FREE || !attached[SOURCE]);
	assert(number[TARGET] != FREE || !attached[TARGET]);
	assert(set[SOURCE] != OWNED || number[SOURCE] == ACTIVE);
	assert(set[TARGET] != OWNED || number[TARGET] == ACTIVE)
}

/* A message arrives at the source. */
inline source_hears(what)
{
	if
	:: what == COMMIT && set[SOURCE] == OWNED && !bound[SOURCE] && !kept -> set[SOURCE] = GIVEN
#ifdef MUTANT_A
	:: what == COMMIT && set[SOURCE] == OWNED && bound[SOURCE] && !kept -> set[SOURCE] = GIVEN
#endif
#ifdef MUTANT_CANCEL
	:: what == CANCEL && set[SOURCE] == GIVEN -> set[SOURCE] = OWNED /* too late */
#endif
	:: what == CANCEL && set[SOURCE] == OWNED -> kept = true
	:: what == RELEASE && set[SOURCE] == GIVEN && number[SOURCE] == ACTIVE ->
		number[SOURCE] = PENDING
	:: else
	fi
}

inline target_hears(what)
{
	if
	:: what == RESERVE && set[TARGET] == NOTHING && number[TARGET] == FREE ->
		set[TARGET] = RESERVED;
		number[TARGET] = ACTIVE
	:: what == TAKE && set[TARGET] == RESERVED -> set[TARGET] = OWNED
	:: what == DROP && set[TARGET] == RESERVED ->
		set[TARGET] = NOTHING;
		number[TARGET] = FREE /* never attached: no quarantine */
	:: else
	fi
}

/* What a daemon does by itself, and what its VM asks. */
inline work(h)
{
	if
	:: SERVES(h) && !bound[h] -> bound[h] = true
	:: bound[h] && !attached[h] && set[h] == OWNED -> attached[h] = true
	:: bound[h] && (set[h] == OWNED || set[h] == GIVEN) ->
		attached[h] = false;
		bound[h] = false
	:: number[h] == PENDING && !bound[h] -> number[h] = QUARANTINED
	:: number[h] == QUARANTINED ->
		number[h] = FREE;
		set[h] = NOTHING
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
	:: atomic { up[TARGET] && !cancelling && set[TARGET] == NOTHING && set[SOURCE] == OWNED &&
			number[TARGET] == FREE -> SEND(TARGET, RESERVE) }
#ifdef MUTANT_NEITHER
	/* without waiting for the target's word */
	:: atomic { up[SOURCE] && set[SOURCE] == OWNED -> SEND(SOURCE, COMMIT) }
#else
	:: atomic { up[SOURCE] && up[TARGET] && !cancelling && set[TARGET] == RESERVED &&
			set[SOURCE] == OWNED -> SEND(SOURCE, COMMIT) }
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
			number[SOURCE] == ACTIVE -> SEND(SOURCE, RELEASE) }
	od
}

#ifdef LIVENESS
/* What was given is taken, and the source gets rid of it, when deaths and losses come to an end. */
ltl ends { [] ((set[SOURCE] == GIVEN) -> <> (set[SOURCE] == NOTHING && set[TARGET] == OWNED)) }
#endif
