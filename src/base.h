/* SPDX-License-Identifier: MIT */
/*
 * What every file needs: the words of the field as C types, the one status enum, cleanup helpers.
 *
 * Functions return 0 for success, a positive `enum status` when the caller is at fault (the number
 * that travels on the wire), or a negative errno when we or the machine are.
 */
#ifndef PASIDD_BASE_H
#define PASIDD_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A PASID is 20 bits wide: PCI Express 6.0, section 6.20. */
#define PASID_BITS  20
#define PASID_COUNT (1u << PASID_BITS)
#define PASID_LAST  (PASID_COUNT - 1)

/* Distinct types, so that a guest's number can never be used where a host's is meant. */
struct hpasid {
	uint32_t v;
};
struct gpasid {
	uint32_t v;
};

/* A requester ID with its PCI segment: segment << 16 | bus << 8 | device << 3 | function. */
struct rid {
	uint32_t v;
};

/*
 * Names of objects: `generation << 24 | slot + 1`, never 0, never used again while the host is up.
 * A guessed or outdated name is simply not found.
 */
struct set_id {
	uint64_t v;
};
struct device_id {
	uint64_t v;
};

/* The one set of results that a caller can be told; equal to pasid.v1.Code on the wire. */
enum status {
	STATUS_OK = 0,
	STATUS_INVALID = 1,     /* malformed or out of range; the same request can never succeed */
	STATUS_NOT_FOUND = 2,   /* no such object, or none that the caller may see */
	STATUS_DENIED = 3,      /* policy says no */
	STATUS_EXISTS = 4,      /* taken already */
	STATUS_BUSY = 5,        /* in use; try again when it is not */
	STATUS_QUOTA = 6,       /* a limit of the set, user or host is reached */
	STATUS_EXHAUSTED = 7,   /* no number is free where one was asked for */
	STATUS_UNSUPPORTED = 8, /* hardware, kernel or daemon cannot do it */
	STATUS_STATE = 9,       /* not in this state of the object */
	STATUS_PENDING = 10,    /* the deadline passed, the work goes on */
	STATUS_HARDWARE = 11,   /* the kernel or the device refused */
	STATUS_RETRY = 12,      /* nothing was done; the same request may succeed later */
	STATUS_INTERNAL = 13,   /* our fault; nothing was done */
};

/* Fails the build when a fixed layout drifts. */
#define ASSERT_SIZE(type, bytes)                                                                   \
	_Static_assert(sizeof(type) == (bytes), #type " has a fixed layout")

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Takes the value out of a variable with a cleanup attribute: the caller owns it from here on. */
#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) *take_ptr_ = &(p);                                                   \
		__typeof__(p) take_val_ = *take_ptr_;                                              \
		*take_ptr_ = NULL;                                                                 \
		take_val_;                                                                         \
	})
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int *take_ptr_ = &(fd);                                                            \
		int take_val_ = *take_ptr_;                                                        \
		*take_ptr_ = -1;                                                                   \
		take_val_;                                                                         \
	})

/*
 * A rule that a test must prove: a build with -DPASIDD_MUTANT=<letter code> breaks exactly this
 * rule, and `scripts/test --mutants` fails unless some test notices. In every other build it is the
 * constant false.
 */
#define MUTANT_NONE 0
#define MUTANT_U    1  /* one owner a number */
#define MUTANT_O    2  /* only the owner changes it */
#define MUTANT_Q    3  /* counters and quota */
#define MUTANT_D    4  /* reuse only after detach and quarantine */
#define MUTANT_H    5  /* holds */
#define MUTANT_A    6  /* all or nothing */
#define MUTANT_G    7  /* guest map injective */
#define MUTANT_W    8  /* a datagram has no field that is not known */
#define MUTANT_C    9  /* a number in the configuration is within its range */
#define MUTANT_R    10 /* an unfinished change is taken back */
#define MUTANT_K    11 /* what was granted before a restart is granted */
#define MUTANT_X    12 /* a request is done once, also across a restart */
#define MUTANT_N    13 /* nothing is granted while records of this boot are missing */
#define MUTANT_E    14 /* the exported map equals the map */
#define MUTANT_S    15 /* a number of scope rids is taken in each of its tables */
#define MUTANT_M    16 /* a set that moves is one host's at any time */
#define MUTANT_P    17 /* a number is granted again only when every participant let go of it */
#define MUTANT_B    18 /* a detach begins when every participant let go of the number, or is late */
#define MUTANT_V    19 /* what is reserved is promised to nobody else */
#define MUTANT_T    20 /* a guest's own PASID table stands alone under its RID */
#if defined PASIDD_MUTANT_ANY
extern int mutant_broken; /* tests/mutant.c: one build for all, the environment says which */
#define PASIDD_MUTANT mutant_broken
#elif !defined PASIDD_MUTANT
#define PASIDD_MUTANT MUTANT_NONE
#endif
#define MUTANT(letter) (PASIDD_MUTANT == MUTANT_##letter)

#endif
