/* SPDX-License-Identifier: MIT */
/*
 * The tables of Arm's SMMUv3, both ways: what a word in memory means, and how to write it.
 *
 * Pure: no I/O, no allocation, safe on any bit pattern. Words are numbers of the host; in memory
 * they are little-endian. Sections refer to the "Arm System Memory Management Unit Architecture
 * Specification, version 3" (Arm IHI 0070; chapter 5: formats of data structures; 6.3: registers).
 */
#ifndef PASIDD_HW_SMMUV3_TABLE_H
#define PASIDD_HW_SMMUV3_TABLE_H

#include "../base.h"

/* Bits of an address: IDR5.OAS, CD.IPS and STE.S2PS say it alike. 52 at most: of 56, tables with
 * 4 KiB granules use that. */
uint32_t smmuv3_size_bits(uint64_t size);

/* What the identification registers say (6.3.1 to 6.3.6), as far as tables go. */
struct smmuv3_caps {
	bool stage1, stage2;      /* IDR0.S1P, IDR0.S2P */
	bool ats;                 /* IDR0.ATS */
	bool two_level_cd;        /* IDR0.CD2L: tables of context descriptors of two levels */
	bool two_level_stream;    /* IDR0.ST_LEVEL: stream tables of two levels */
	uint32_t substream_width; /* IDR1.SSIDSIZE, bits: 0 no substreams */
	uint32_t stream_width;    /* IDR1.SIDSIZE, bits */
	bool force_write_back;    /* IDR3.FWB: S2FWB */
	bool granule_4k;          /* IDR5.GRAN4K */
	uint32_t output_width;    /* IDR5.OAS, bits of physical addresses; 52 at most */
};
#define SMMUV3_IDRS 6
/* idr[] as the kernel gives them, a register each. */
struct smmuv3_caps smmuv3_caps_decode(const uint64_t idr[SMMUV3_IDRS]);
/* The registers that decode to *caps; what smmuv3_caps does not hold is zero. */
void smmuv3_caps_encode(const struct smmuv3_caps *caps, uint64_t ret_idr[SMMUV3_IDRS]);

/*
 * 5.2 Stream table entry: 512 bits, of which these are used.
 * F(name, word, lowest bit, bits): an address is in its place, everything else is shifted down.
 */
#define SMMUV3_STE_FIELDS(F)                                                                       \
	F(V, 0, 0, 1)                                                                              \
	F(Config, 0, 1, 3)                                                                         \
	F(S1Fmt, 0, 4, 2)                                                                          \
	F(S1ContextPtr, 0, 6, 50)                                                                  \
	F(S1CDMax, 0, 59, 5)                                                                       \
	F(S1DSS, 1, 0, 2)                                                                          \
	F(S1CIR, 1, 2, 2)                                                                          \
	F(S1COR, 1, 4, 2)                                                                          \
	F(S1CSH, 1, 6, 2)                                                                          \
	F(S2HWU, 1, 8, 4)                                                                          \
	F(DRE, 1, 12, 1)                                                                           \
	F(CONT, 1, 13, 4)                                                                          \
	F(DCP, 1, 17, 1)                                                                           \
	F(PPAR, 1, 18, 1)                                                                          \
	F(MEV, 1, 19, 1)                                                                           \
	F(SW_RESERVED, 1, 20, 4)                                                                   \
	F(S2FWB, 1, 25, 1)                                                                         \
	F(S1MPAM, 1, 26, 1)                                                                        \
	F(S1STALLD, 1, 27, 1)                                                                      \
	F(EATS, 1, 28, 2)                                                                          \
	F(STRW, 1, 30, 2)                                                                          \
	F(MemAttr, 1, 32, 4)                                                                       \
	F(MTCFG, 1, 36, 1)                                                                         \
	F(ALLOCCFG, 1, 37, 4)                                                                      \
	F(SHCFG, 1, 44, 2)                                                                         \
	F(NSCFG, 1, 46, 2)                                                                         \
	F(PRIVCFG, 1, 48, 2)                                                                       \
	F(INSTCFG, 1, 50, 2)                                                                       \
	F(S2VMID, 2, 0, 16)                                                                        \
	F(S2T0SZ, 2, 32, 6)                                                                        \
	F(S2SL0, 2, 38, 2)                                                                         \
	F(S2IR0, 2, 40, 2)                                                                         \
	F(S2OR0, 2, 42, 2)                                                                         \
	F(S2SH0, 2, 44, 2)                                                                         \
	F(S2TG, 2, 46, 2)                                                                          \
	F(S2PS, 2, 48, 3)                                                                          \
	F(S2AA64, 2, 51, 1)                                                                        \
	F(S2ENDI, 2, 52, 1)                                                                        \
	F(S2AFFD, 2, 53, 1)                                                                        \
	F(S2PTW, 2, 54, 1)                                                                         \
	F(S2S, 2, 57, 1)                                                                           \
	F(S2R, 2, 58, 1)                                                                           \
	F(S2TTB, 3, 4, 48)

enum smmuv3_ste_field {
#define F(name, word, bit, bits) SMMUV3_STE_##name,
	SMMUV3_STE_FIELDS(F)
#undef F
		SMMUV3_STE_FIELD_COUNT
};
#define SMMUV3_STE_WORDS 8

uint64_t smmuv3_ste_get(const uint64_t ste[], enum smmuv3_ste_field field);
/* Bits of `value` that the field has not are left out. */
void smmuv3_ste_set(uint64_t ste[], enum smmuv3_ste_field field, uint64_t value);
/* The bits that a field takes in its word. */
uint64_t smmuv3_ste_mask(enum smmuv3_ste_field field);
/* The specification's name; never NULL. */
const char *smmuv3_ste_name(enum smmuv3_ste_field field);
/* The field that has a bit of a word, or SMMUV3_STE_FIELD_COUNT: the bit is reserved. */
enum smmuv3_ste_field smmuv3_ste_find(uint32_t word, uint32_t bit);

/* STE.Config (5.2): what is done to a transaction. */
enum smmuv3_config {
	SMMUV3_ABORT = 0, /* and 1 to 3 */
	SMMUV3_BYPASS = 4,
	SMMUV3_STAGE1 = 5,
	SMMUV3_STAGE2 = 6,
	SMMUV3_NESTED = 7,
};
/* "abort", "bypass", "stage-1", "stage-2" or "nested"; never NULL. */
const char *smmuv3_config_text(uint64_t config);

/* STE.S1Fmt: how the table of context descriptors is made. */
enum smmuv3_format {
	SMMUV3_LINEAR = 0,
	SMMUV3_LEAF_4K = 1,  /* two levels, leaves of 64 descriptors */
	SMMUV3_LEAF_64K = 2, /* two levels, leaves of 1024 descriptors */
};

/* STE.S1DSS: what a transaction without a substream does where there are some. */
enum smmuv3_dss {
	SMMUV3_DSS_TERMINATE = 0,
	SMMUV3_DSS_BYPASS = 1,
	SMMUV3_DSS_ZERO = 2, /* uses descriptor 0 */
};

#define SMMUV3_EATS_OFF 0u
#define SMMUV3_EATS_ON  1u

/* 5.4 Context descriptor: 512 bits; the same kinds of fields. */
#define SMMUV3_CD_FIELDS(F)                                                                        \
	F(T0SZ, 0, 0, 6)                                                                           \
	F(TG0, 0, 6, 2)                                                                            \
	F(IR0, 0, 8, 2)                                                                            \
	F(OR0, 0, 10, 2)                                                                           \
	F(SH0, 0, 12, 2)                                                                           \
	F(EPD0, 0, 14, 1)                                                                          \
	F(ENDI, 0, 15, 1)                                                                          \
	F(EPD1, 0, 30, 1)                                                                          \
	F(V, 0, 31, 1)                                                                             \
	F(IPS, 0, 32, 3)                                                                           \
	F(AFFD, 0, 35, 1)                                                                          \
	F(TBI0, 0, 38, 1)                                                                          \
	F(AA64, 0, 41, 1)                                                                          \
	F(HD, 0, 42, 1)                                                                            \
	F(HA, 0, 43, 1)                                                                            \
	F(S, 0, 44, 1)                                                                             \
	F(R, 0, 45, 1)                                                                             \
	F(A, 0, 46, 1)                                                                             \
	F(ASET, 0, 47, 1)                                                                          \
	F(ASID, 0, 48, 16)                                                                         \
	F(TTB0, 1, 4, 48)

enum smmuv3_cd_field {
#define F(name, word, bit, bits) SMMUV3_CD_##name,
	SMMUV3_CD_FIELDS(F)
#undef F
		SMMUV3_CD_FIELD_COUNT
};
#define SMMUV3_CD_WORDS 8
#define SMMUV3_CD_BYTES 64u

uint64_t smmuv3_cd_get(const uint64_t cd[], enum smmuv3_cd_field field);
void smmuv3_cd_set(uint64_t cd[], enum smmuv3_cd_field field, uint64_t value);

/* Descriptors in a leaf of a table of two levels; `format` is SMMUV3_LEAF_*. Log2. */
uint32_t smmuv3_leaf_bits(uint64_t format);
/* 5.4.1 Level 1 context descriptor: 64 bits. */
#define SMMUV3_L1CD_V       UINT64_C(1)
#define SMMUV3_L1CD_POINTER UINT64_C(0x000ffffffffff000)
/* 5.1 Level 1 stream table descriptor: 64 bits; the second level has 2^(Span - 1) entries. */
#define SMMUV3_L1STD_SPAN    UINT64_C(0x1f)
#define SMMUV3_L1STD_POINTER UINT64_C(0x00ffffffffffffc0)
#define SMMUV3_STE_BYTES     64u
#define SMMUV3_SPLIT         8u /* stream ids that the second level tells apart, log2, as Linux does */

/*
 * A descriptor of a translation table with 4 KiB granules (Arm DDI 0487, section D8.3; VMSAv8-64),
 * of the first or the second stage.
 */
struct smmuv3_pte {
	bool valid;
	bool table; /* it points to the next level; a page, at the last level, looks the same */
	bool accessed;
	bool read, write;
	bool user; /* first stage: unprivileged accesses, which are what devices make */
	/* A table of the first stage: no write, and no unprivileged access below it. */
	bool below_read_only, below_privileged;
	uint64_t address;
};
struct smmuv3_pte smmuv3_pte_decode(bool first_stage, uint64_t word);
/* `table` for pages, too. */
uint64_t smmuv3_pte_encode(bool first_stage, const struct smmuv3_pte *pte);

/* Log2 of the bytes to which a table of 2^s1cdmax descriptors is aligned: its own size, 64 at
 * least (5.2, S1ContextPtr). */
uint32_t smmuv3_context_align(uint64_t format, uint32_t s1cdmax);

#endif
