/* SPDX-License-Identifier: MIT */
/*
 * Numbers over the death of the daemon, of its workers and of the VMs, in every order.
 *
 * One host, two VMs with a device each, two numbers. What is recorded changes in one step, for a
 * change is there as a whole or not at all (prove_state.c). Between what is recorded and what the
 * hardware does, and between that and the answer, anybody may die. A worker holds the descriptors
 * of a VM's device and outlives the daemon, or is lost with it; the VM has its own copies, so what is
 * attached stays so until the last of both has closed them.
 *
 *   U  a number is never two VMs': neither as they were told nor in the tables of the hardware
 *   D  a number is granted again only when it is detached and its quarantine has ended
 *   C  what was acknowledged is there after any number of deaths, with the same owner; what is there
 *      was asked for; recovery may itself be interrupted
 *
 * -DCRASHES=n deaths of the daemon, -DLOSSES=n of workers. -DMUTANT_x plants a defect.
 */
#define VMS     2
#define NUMBERS 2
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef LOSSES
#define LOSSES 1
#endif

mtype = { FREE, ACTIVE, PENDING, QUARANTINED };         /* of numbers */
mtype = { NONE, BINDING, BOUND, UNBINDING, TAINTED };   /* of bindings */
mtype = { IDLE, ATTACH, DETACH, DONE, REFUSED };        /* of what a worker was asked for */

/* Recorded: outlives the daemon. */
mtype grant[NUMBERS] = FREE;
mtype binding[NUMBERS] = NONE;
byte owner[NUMBERS];
bool cooling[NUMBERS];

/* The daemon itself, and what it has not submitted yet. */
bool up = true, ready = true;
byte cursor; /* of the recovery */
bool todo[NUMBERS];

/* Workers, hardware, VMs. */
bool worker[VMS] = true;
bool lives[VMS] = true;
mtype job[NUMBERS] = IDLE;
byte attached[NUMBERS]; /* 0, or the VM + 1 whose table stands there */

/* What VMs asked for and were told. */
bool asked[4]; /* VM * NUMBERS + number */
bool told[4];

byte crashes = CRASHES, losses = LOSSES;

#define AT(v, n) ((v) * NUMBERS + (n))

inline check(n)
{
	/* U */
	assert(!(told[AT(0, n)] && told[AT(1, n)]));
	assert(attached[n] == 0 || attached[n] == owner[n] + 1);
	/* D: nothing is attached under a number that anybody may be given */
	assert(!(grant[n] == FREE && (attached[n] != 0 || job[n] != IDLE || cooling[n])));
	/* D: what may be attached is recorded as such */
	assert(!(binding[n] == NONE && attached[n] != 0));
	/* C */
	assert(!told[AT(0, n)] || (grant[n] == ACTIVE && owner[n] == 0));
	assert(!told[AT(1, n)] || (grant[n] == ACTIVE && owner[n] == 1));
	assert(grant[n] != ACTIVE || asked[AT(owner[n], n)])
}

/* The last descriptor of the VM's device is closed: the kernel detaches all of it. */
inline closed(v)
{
	if
	:: !worker[v] && !lives[v] ->
		k = 0;
		do
		:: k < NUMBERS ->
			if
			:: attached[k] == v + 1 -> attached[k] = 0
			:: else
			fi;
			k++
		:: else -> break
		od
	:: else
	fi;
	k = 0
}

/* What was asked of a worker that is gone is done or not, but nobody hears of it. */
inline lose_worker(v)
{
	worker[v] = false;
	k = 0;
	do
	:: k < NUMBERS ->
		if
		:: owner[k] == v && grant[k] != FREE -> job[k] = IDLE; todo[k] = false
		:: else
		fi;
		k++
	:: else -> break
	od;
	closed(v)
}

/* Serves the VMs. */
inline request(v, n)
{
	if
#ifdef MUTANT_U
	:: lives[v] && (grant[n] == FREE || grant[n] == PENDING) ->
#else
	:: lives[v] && grant[n] == FREE ->
#endif
		asked[AT(v, n)] = true;
#ifdef MUTANT_K
		/* acknowledged before it is recorded */
		told[AT(v, n)] = true;
		if
		:: crashes > 0 -> crashes--; up = false; ready = false
		:: grant[n] = ACTIVE; owner[n] = v
		fi
#else
		grant[n] = ACTIVE;
		owner[n] = v
#endif
	:: grant[n] == ACTIVE && owner[n] == v && lives[v] && !told[AT(v, n)] ->
		told[AT(v, n)] = true /* the reply, perhaps after it was asked for again */
	:: told[AT(v, n)] && binding[n] == NONE && worker[v] ->
#ifndef MUTANT_B
		binding[n] = BINDING; /* the intent first */
#endif
		todo[n] = true
	:: grant[n] != FREE && owner[n] == v && worker[v] && !todo[n] && job[n] == IDLE &&
		(binding[n] == BOUND || binding[n] == TAINTED) ->
		binding[n] = UNBINDING;
		todo[n] = true
	:: told[AT(v, n)] ->
		told[AT(v, n)] = false;
		asked[AT(v, n)] = false;
		grant[n] = PENDING
	:: else
	fi
}

/* What the daemon does by itself. */
inline settle(n)
{
	if
	:: todo[n] && worker[owner[n]] ->
		todo[n] = false;
		job[n] = (binding[n] == UNBINDING -> DETACH : ATTACH)
	:: (job[n] == DONE || job[n] == REFUSED) && binding[n] == BINDING ->
		binding[n] = (job[n] == DONE -> BOUND : NONE);
		job[n] = IDLE
	:: (job[n] == DONE || job[n] == REFUSED) && binding[n] == UNBINDING ->
		binding[n] = (job[n] == DONE -> NONE : TAINTED);
		job[n] = IDLE
	:: binding[n] != NONE && binding[n] != TAINTED && !worker[owner[n]] ->
		job[n] = IDLE; /* it was lost: who knows what is attached */
		todo[n] = false;
#ifdef MUTANT_L
		binding[n] = NONE
#else
		binding[n] = TAINTED
#endif
	:: binding[n] == TAINTED && !worker[owner[n]] && !lives[owner[n]] ->
		binding[n] = NONE /* the kernel has detached it */
	:: grant[n] == ACTIVE && !lives[owner[n]] ->
		asked[AT(owner[n], n)] = false;
		grant[n] = PENDING
	:: grant[n] == PENDING && (binding[n] == NONE || binding[n] == TAINTED) ->
		grant[n] = QUARANTINED;
		cooling[n] = true
	:: grant[n] == QUARANTINED && cooling[n] -> cooling[n] = false
#ifdef MUTANT_D
	:: grant[n] == QUARANTINED && !cooling[n] -> /* time alone frees it */
		binding[n] = NONE;
#else
	:: grant[n] == QUARANTINED && !cooling[n] && binding[n] == NONE ->
#endif
		grant[n] = FREE
	:: else
	fi
}

/* A VM is gone: what is left of it is detached, then its worker ends. */
inline teardown(v)
{
	k = 0;
	do
	:: k < NUMBERS && (owner[k] != v || (job[k] == IDLE && !todo[k])) -> k++
	:: else -> break
	od;
	if
	:: k == NUMBERS && !lives[v] && worker[v] -> lose_worker(v)
	:: else -> k = 0
	fi
}

/* One number of the recovery; it waits for what a worker is still about to do. */
inline recover(n)
{
	if
	:: (job[n] == ATTACH || job[n] == DETACH) && worker[owner[n]] -> goto next
	:: else -> job[n] = IDLE
	fi;
	if
	:: (binding[n] == BINDING || binding[n] == UNBINDING) && worker[owner[n]] ->
#ifdef MUTANT_R
		binding[n] = NONE /* as if it had never been begun */
#else
		binding[n] = UNBINDING;
		todo[n] = true
#endif
	:: binding[n] != NONE && !worker[owner[n]] -> binding[n] = TAINTED
	:: else
	fi;
	cursor++;
	ready = (cursor == NUMBERS)
}

/* The worker does what it was asked, or the kernel refuses. */
inline work(n)
{
	if
	:: job[n] == ATTACH -> attached[n] = owner[n] + 1; job[n] = DONE
	:: job[n] == DETACH -> attached[n] = 0; job[n] = DONE
	:: job[n] == ATTACH || job[n] == DETACH -> job[n] = REFUSED
	fi
}

inline die(v)
{
	lives[v] = false;
	told[AT(v, 0)] = false;
	told[AT(v, 1)] = false;
	closed(v)
}

active proctype host()
{
	byte n, v, k;

end:
next:	do
	:: atomic {
		select(n : 0 .. NUMBERS - 1);
		select(v : 0 .. VMS - 1);
		if
		:: up && ready -> request(v, n)
		:: up && ready -> settle(n)
		:: up && ready -> teardown(v)
		:: up && !ready -> recover(cursor)
		:: !up -> up = true; cursor = 0
		:: worker[owner[n]] && (job[n] == ATTACH || job[n] == DETACH) -> work(n)
		:: up && crashes > 0 ->
			crashes--;
			up = false;
			ready = false;
			todo[0] = false;
			todo[1] = false
		:: worker[v] && losses > 0 -> losses--; lose_worker(v)
		:: lives[v] -> die(v)
		:: else -> skip
		fi;
		check(0);
		check(1);
		n = 0;
		v = 0
	}
	od
}
