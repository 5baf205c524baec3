/* SPDX-License-Identifier: MIT */
/*
 * The tables of Intel VT-d in scalable mode, both ways: what a word in memory means, and how to
 * write it.
 *
 * Pure: no I/O, no allocation. Memory is read through an injected function, so that the same walk
 * serves the simulator, the readers of real tables and `explain`. Every function is safe on any bit
 * pattern: what is read may have been written by somebody hostile, and the work is bounded whatever
 * it says.
 *
 * Sections refer to the "Intel Virtualization Technology for Directed I/O Architecture
 * Specification", revision 4.1 (chapter 9: translation structure formats; chapter 11: registers).
 */
#ifndef PASIDD_HW_VTD_TABLE_H
#define PASIDD_HW_VTD_TABLE_H

#include "../base.h"

/* What the capability (11.4.2) and extended capability (11.4.3) registers say, as far as PASIDs go.
 */
struct vtd_caps {
	uint32_t sagaw; /* CAP.SAGAW: bit 1 three levels (39 bits), 2 four (48), 3 five (57) */
	uint32_t mgaw;  /* CAP.MGAW: maximum guest address width in bits */
	bool fl1gp;     /* CAP.FS1GP: 1 GiB pages in first-stage tables */
	bool fl5lp;     /* CAP.FS5LP: five-level first-stage tables */
	bool second_2m; /* CAP.SSLPS: 2 MiB pages in second-stage tables */
	bool second_1g; /* CAP.SSLPS: 1 GiB pages in second-stage tables */
	bool caching;   /* CAP.CM: not-present entries are cached too */
	bool scalable;  /* ECAP.SMTS */
	bool pasid;     /* ECAP.PASID */
	uint32_t pasid_width; /* ECAP.PSS + 1, bits; 0 when PASID is not supported */
	bool nest;            /* ECAP.NEST */
	bool first_stage;     /* ECAP.FSTS */
	bool second_stage;    /* ECAP.SSTS */
	bool dirty;           /* ECAP.SSADS: accessed and dirty bits in second-stage tables */
	bool pass_through;    /* ECAP.PT */
	bool supervisor;      /* ECAP.SRS: supervisor requests (SRE), and WPE with it */
	bool extended_access; /* ECAP.EAFS: extended accessed flag (EAFE) */
	bool page_requests;   /* ECAP.PRS */
	bool device_tlb;      /* ECAP.DT */
	bool page_walk_snoop; /* ECAP.SMPWCS */
};

struct vtd_caps vtd_caps_decode(uint64_t cap, uint64_t ecap);
/* The registers that decode to *caps; what vtd_caps does not hold is zero. */
void vtd_caps_encode(const struct vtd_caps *caps, uint64_t *ret_cap, uint64_t *ret_ecap);

/* 9.2 Scalable-Mode Root Entry: 128 bits, one a bus, in a table of 4 KiB. */
struct vtd_root {
	bool lower_present, upper_present;
	uint64_t lower, upper; /* context tables of devfn 0-127 and 128-255 */
};
#define VTD_ROOT_WORDS 2

/* 9.4 Scalable-Mode Context Entry: 256 bits, one a devfn, 128 in a table of 4 KiB. */
struct vtd_context {
	bool present, fault_disable;
	bool device_tlb;     /* DTE */
	bool pasid_enable;   /* PASIDE: requests with PASID are served */
	bool page_requests;  /* PRE */
	bool rid_privileged; /* RID_PRIV */
	uint32_t pdts;       /* the PASID directory has 2^(pdts + 7) entries */
	uint32_t rid_pasid;  /* the PASID that requests without one use */
	uint64_t directory;  /* PASIDDIRPTR */
};
#define VTD_CONTEXT_WORDS 4

/* 9.5 Scalable-Mode PASID Directory Entry: 64 bits, chosen by PASID bits 19:6. */
struct vtd_directory {
	bool present, fault_disable;
	uint64_t table; /* SMPTBLPTR */
};

enum vtd_pgtt {
	VTD_PGTT_FIRST = 1,
	VTD_PGTT_SECOND = 2,
	VTD_PGTT_NESTED = 3,
	VTD_PGTT_PASS_THROUGH = 4,
};

/* 9.6 Scalable-Mode PASID Table Entry: 512 bits, chosen by PASID bits 5:0. */
struct vtd_entry {
	bool present, fault_disable;
	uint32_t aw;     /* second stage: 1 three levels (39 bits), 2 four (48), 3 five (57) */
	uint32_t pgtt;   /* enum vtd_pgtt; other values are reserved */
	bool second_ad;  /* SSADE: accessed and dirty bits of the second stage */
	uint64_t second; /* SSPTPTR, host-physical */
	uint32_t did;    /* domain id */
	bool page_walk_snoop, page_snoop; /* PWSNP, PGSNP */
	bool supervisor;                  /* SRE */
	bool execute;                     /* ERE */
	uint32_t fspm;                    /* first stage: 0 four levels, 1 five */
	bool write_protect;               /* WPE */
	bool no_execute;                  /* NXE */
	bool smep;                        /* SMEP */
	bool extended_access;             /* EAFE */
	uint64_t first;                   /* FSPTPTR: host-physical, guest-physical when nested */
};
#define VTD_ENTRY_WORDS 8

struct vtd_root vtd_root_decode(const uint64_t word[VTD_ROOT_WORDS]);
void vtd_root_encode(const struct vtd_root *root, uint64_t ret_word[VTD_ROOT_WORDS]);
struct vtd_context vtd_context_decode(const uint64_t word[VTD_CONTEXT_WORDS]);
void vtd_context_encode(const struct vtd_context *context, uint64_t ret_word[VTD_CONTEXT_WORDS]);
struct vtd_directory vtd_directory_decode(uint64_t word);
uint64_t vtd_directory_encode(const struct vtd_directory *directory);
struct vtd_entry vtd_entry_decode(const uint64_t word[VTD_ENTRY_WORDS]);
void vtd_entry_encode(const struct vtd_entry *entry, uint64_t ret_word[VTD_ENTRY_WORDS]);

/* Is every reserved bit of a PASID table entry zero? (9.6) */
bool vtd_entry_reserved_ok(const uint64_t word[VTD_ENTRY_WORDS]);
/* "first-stage", "second-stage", "nested", "pass-through" or "reserved"; never NULL. */
const char *vtd_pgtt_text(uint32_t pgtt);

/* A paging entry of either stage: 9.7 First-Stage Paging Entries, 9.8 Second-Stage Paging Entries.
 */
struct vtd_pte {
	bool present; /* second stage: readable or writeable */
	bool read, write;
	bool user;  /* first stage: U/S */
	bool large; /* PS; meaningful at levels 2 (2 MiB) and 3 (1 GiB) */
	bool accessed, dirty;
	uint64_t address;
};
struct vtd_pte vtd_pte_decode(bool first_stage, uint64_t word);
uint64_t vtd_pte_encode(bool first_stage, const struct vtd_pte *pte);
/* The index of `address` in a paging table of `level` (1 is the lowest). */
unsigned vtd_pte_index(uint64_t address, unsigned level);

/* Where memory comes from: one aligned word of 64 bits; *ok becomes false when it cannot be had. */
struct vtd_memory {
	uint64_t (*read)(void *ctx, uint64_t phys, bool *ok);
	void *ctx;
};

/* Where a walk ended. Only VTD_REACHED means that the DMA gets through. */
enum vtd_stop {
	VTD_REACHED = 0,
	VTD_NO_ROOT,        /* the bus has no context table */
	VTD_NO_CONTEXT,     /* the function has no context entry */
	VTD_PASID_DISABLED, /* a request with PASID, and the context entry does not take any */
	VTD_PASID_RANGE,    /* the PASID is beyond the directory */
	VTD_NO_DIRECTORY,   /* the directory entry is not present */
	VTD_NO_ENTRY,       /* the PASID table entry is not present */
	VTD_BAD_ENTRY,      /* reserved type, width or bits in the PASID table entry */
	VTD_ADDRESS,        /* not canonical, or beyond the width of the tables */
	VTD_FIRST_ABSENT,   /* a first-stage entry is not present */
	VTD_FIRST_DENIED,   /* the first stage forbids it: not writeable, or not for users */
	VTD_SECOND_ABSENT,  /* a second-stage entry is not present */
	VTD_SECOND_DENIED,  /* the second stage forbids it */
	VTD_RESERVED,       /* a reserved bit in a paging entry */
	VTD_UNREADABLE,     /* the reader does not have that memory */
	VTD_STOP_COUNT,
};
/* A stable word ("reached", "no-entry", ...) and a sentence for people; never NULL. */
const char *vtd_stop_text(enum vtd_stop stop);
const char *vtd_stop_sentence(enum vtd_stop stop);

enum vtd_step_kind {
	VTD_STEP_ROOT = 1,
	VTD_STEP_CONTEXT,
	VTD_STEP_DIRECTORY,
	VTD_STEP_ENTRY,
	VTD_STEP_FIRST,
	VTD_STEP_SECOND,
};

/* One entry that the walk read: its first word, or for the root entry the half that matters. */
struct vtd_step {
	uint32_t kind;  /* enum vtd_step_kind */
	uint32_t level; /* paging entries: 5..1, otherwise 0 */
	uint64_t phys, word;
};
/* 4 structures; nested: up to 5 first-stage entries, each and the result behind 5 of the second
 * stage. */
#define VTD_STEPS_MAX (4 + 5 * 6 + 5)

struct vtd_request {
	struct rid rid;
	bool has_pasid;
	struct hpasid pasid;
	uint64_t address;
	bool write;
};

struct vtd_walk_result {
	enum vtd_stop stop;
	uint32_t pasid; /* the number looked up: the request's, or the context entry's RID_PASID */
	bool has_entry; /* entry is filled: the walk came to a PASID table entry that is present */
	struct vtd_entry entry;
	uint64_t phys;      /* the physical address, when reached */
	uint64_t page_size; /* bytes of the smallest page on the way, when reached */
	bool writeable;     /* when reached: a write would get through as well */
	uint32_t step_count;
	struct vtd_step steps[VTD_STEPS_MAX];
};

/*
 * What the hardware does with a request (3.4.3, 3.6 first stage, 3.7 second stage, 3.8 nested):
 * `root` is the address of the scalable-mode root table (RTADDR_REG, 11.4.5). Never fails: the
 * result says what was found.
 */
void vtd_walk(const struct vtd_memory *memory, uint64_t root, const struct vtd_request *request,
	struct vtd_walk_result *ret_result);

/* All present PASID table entries of one RID, in rising order. Bounded by 2^20 steps. */
struct vtd_entries {
	struct vtd_memory memory;
	enum vtd_stop
		stop; /* VTD_REACHED unless the RID has no directory, or memory could not be read */
	uint64_t directory;
	uint32_t next, end; /* PASIDs */
};
struct vtd_entry_at {
	uint32_t pasid;
	uint64_t phys;
	uint64_t word[VTD_ENTRY_WORDS];
	struct vtd_entry entry;
};
void vtd_entries_init(struct vtd_entries *entries, const struct vtd_memory *memory, uint64_t root,
	struct rid rid);
/* The next one: true and *ret_entry, or false at the end. Tables that cannot be read are passed
 * over. */
bool vtd_entries_next(struct vtd_entries *entries, struct vtd_entry_at *ret_entry);

#endif
