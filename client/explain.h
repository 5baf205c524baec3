/* SPDX-License-Identifier: MIT */
/*
 * Inside `pasidctl explain`: whose a fault is. Reading logs and asking the daemon is
 * pasidctl_explain.c; this, and explain_*.c, knows nothing of either.
 */
#ifndef EXPLAIN_H
#define EXPLAIN_H

#include "hw/fault.h"
#include "libpasid.h"

/*
 * What became of a fault. V(name, a stable word, attributed?): attributed ones name who caused it,
 * the others say why nobody can be named.
 */
#define EXPLAIN_VERDICTS(V)                                                                        \
	V(NUMBER, "number", true)              /* the set that has the PASID, and the function */  \
	V(GUEST_TABLE, "guest-table", true)    /* the PASID is of the guest's own table */         \
	V(FUNCTION, "function", true)          /* a function of one set, and no PASID */           \
	V(STRANGER, "stranger", true)          /* a function of one set, and no PASID of that */   \
	V(DAEMON, "daemon", true)              /* a shared function, and no PASID: pasidd's own */ \
	V(DAMAGED, "damaged", false)           /* not whole */                                     \
	V(FOREIGN, "other-iommu", false)       /* an IOMMU that pasidd does not drive */           \
	V(NO_DEVICE, "no-device-named", false) /* about an IOMMU as a whole */                     \
	V(UNKNOWN_DEVICE, "unknown-device", false) /* of no set, and not shared */                 \
	V(AMBIGUOUS, "ambiguous-device", false)  /* it could be several: no segment was printed */ \
	V(KERNEL_PASID, "kernel-pasid", false)   /* of the range that is the kernel's own */       \
	V(NOT_HERE, "not-here", false)           /* the PASID's set has no part of the function */ \
	V(FREED, "freed-pasid", false)           /* it was somebody's */                           \
	V(UNKNOWN_PASID, "unknown-pasid", false) /* it is nobody's */                              \
	V(NOT_ASKED, "not-asked", false)         /* there is no daemon to ask */

enum explain_verdict {
#define V(name, text, attributed) EXPLAIN_##name,
	EXPLAIN_VERDICTS(V)
#undef V
		EXPLAIN_VERDICT_COUNT
};
const char *explain_verdict_text(enum explain_verdict verdict);
bool explain_is_attributed(enum explain_verdict verdict);

/*
 * What happened last to a PASID, or to a function: from the events that the daemon keeps, with the
 * time from the audit trail, or from that alone.
 */
struct explain_last {
	bool known;
	uint64_t sequence; /* of the event; 0: from the trail */
	enum pasid_event_kind kind;
	uint64_t set;
	bool has_guest;
	uint32_t guest;
	char name[PASID_NAME_MAX + 1]; /* of the set, if the trail has it */
	char when[32];                 /* empty: not known */
};

/* A fault, those like it, and whose they are. */
struct explain_finding {
	struct fault fault; /* the first */
	uint64_t count;     /* of all that are like it */
	uint64_t line;      /* where the first is, from 1 */
	uint64_t low, high; /* addresses of them */
	char last_when[64]; /* of the last */

	enum explain_verdict verdict;
	char address[32]; /* the function, as pasidd writes it; or as far as the line says */
	uint64_t set;     /* 0: none */
	char set_name[PASID_NAME_MAX + 1];
	enum pasid_set_mode mode;
	bool has_guest;
	uint32_t guest;
	enum pasid_grant_state state; /* of the PASID; 0: nothing is known of it */
	bool is_bound;                /* on this function */
	enum pasid_binding_state binding;
	uint64_t other; /* STRANGER: the set that has the PASID; 0: nobody */
	char other_name[PASID_NAME_MAX + 1];
	struct explain_last last;
};

/* The daemon, as far as it must be asked. Functions return 0, PASID_NOT_FOUND, or another error. */
struct explain_host {
	const struct pasid_device_info *devices;
	size_t device_count;
	const struct pasid_set_info *sets;
	size_t set_count;
	uint32_t reserved_last;
	/* Whose a PASID is; with `set`: of that set only. PASID_INVALID: several sets have it. */
	int (*find)(void *ctx, uint32_t pasid, uint64_t set, struct pasid_grant_info *ret_info);
	/* What is bound under a PASID, or for NULL under the RID, on a function. */
	int (*bound)(void *ctx, const char *address, const uint32_t *pasid, uint64_t set,
		struct pasid_binding_info *ret_info);
	void *ctx;
};

/* Are they one finding? Same device, PASID, reason and access, whatever the address. */
bool explain_is_same(const struct fault *a, const struct fault *b);
/* The function as far as the fault says it, without asking anybody. */
void explain_name(struct explain_finding *finding);
/* Fills what is behind `verdict` but `last`; 0, or an error of the host's. */
int explain_find(const struct explain_host *host, struct explain_finding *finding);
/* Is this event about the finding? Later ones replace it as its last. */
void explain_event(const struct explain_host *host, struct explain_finding *finding,
	const struct pasid_event *event);
/* All events were seen: a PASID that is nobody's may have been somebody's. */
void explain_settle(const struct explain_host *host, struct explain_finding *finding);

/* Sentences for people; `size` of 232 is enough for all of them. */
#define EXPLAIN_TEXT_MAX 232
void explain_what(const struct explain_finding *finding, char *ret_text, size_t size);
void explain_whose(const struct explain_finding *finding, char *ret_text, size_t size);
void explain_why(const struct explain_finding *finding, char *ret_text, size_t size);

#endif
