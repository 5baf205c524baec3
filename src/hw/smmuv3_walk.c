/* SPDX-License-Identifier: MIT */
#include "smmuv3_walk.h"

#include <string.h>

#define LEVEL_LAST 3u /* pages */

struct walk {
	const struct smmuv3_memory *memory;
	struct smmuv3_walk_result *result;
};

/* Where a translation leads, and what is allowed there. */
struct leaf {
	uint64_t phys, page_size;
	bool write;
};

const char *smmuv3_stop_text(enum smmuv3_stop stop)
{
	static const char *const texts[] = {
#define S(name, text, sentence) text,
		SMMUV3_STOPS(S)
#undef S
	};

	return (unsigned)stop < SMMUV3_STOP_COUNT ? texts[stop] : "unknown";
}

const char *smmuv3_stop_sentence(enum smmuv3_stop stop)
{
	static const char *const sentences[] = {
#define S(name, text, sentence) sentence,
		SMMUV3_STOPS(S)
#undef S
	};

	return (unsigned)stop < SMMUV3_STOP_COUNT ? sentences[stop] : "unknown";
}

const char *smmuv3_step_text(enum smmuv3_step_kind kind)
{
	static const char *const texts[] = {"unknown", "stream-l1", "stream-entry", "context-l1",
		"context", "stage-1", "stage-2"};

	return (unsigned)kind < ARRAY_SIZE(texts) ? texts[kind] : texts[0];
}

static bool walk_stop(struct walk *walk, enum smmuv3_stop stop, uint32_t stage)
{
	walk->result->stop = stop;
	walk->result->stage = stage;
	return false;
}

static bool walk_word(struct walk *walk, uint64_t phys, uint64_t *ret_word)
{
	bool ok = true;
	uint64_t word = walk->memory->read(walk->memory->ctx, phys, &ok);

	if (!ok)
		return walk_stop(walk, SMMUV3_UNREADABLE, 0);
	*ret_word = word;
	return true;
}

static void walk_note(
	struct walk *walk, enum smmuv3_step_kind kind, uint32_t level, uint64_t phys, uint64_t word)
{
	struct smmuv3_walk_result *result = walk->result;

	if (result->step_count < SMMUV3_STEPS_MAX)
		result->steps[result->step_count++] = (struct smmuv3_step){
			.kind = (uint32_t)kind, .level = level, .phys = phys, .word = word};
}

static bool walk_words(
	struct walk *walk, enum smmuv3_step_kind kind, uint64_t phys, uint64_t word[8])
{
	for (uint32_t i = 0; i < 8; i++)
		if (!walk_word(walk, phys + i * UINT64_C(8), &word[i]))
			return false;
	walk_note(walk, kind, 0, phys, word[0]);
	return true;
}

static uint64_t level_shift(uint32_t level)
{
	return 12 + 9 * (uint64_t)(LEVEL_LAST - level);
}

/* --- translation tables --- */

/* One stage: where its tables begin and how wide its input is. */
struct stage {
	uint32_t number;
	uint64_t table;
	uint32_t start;  /* level */
	uint32_t width;  /* bits of input */
	uint32_t output; /* bits of addresses in its descriptors */
	bool flag_ignored;
};

static bool stage2_translate(struct walk *walk, uint64_t ipa, bool write, struct leaf *ret_leaf);

/* Reads a descriptor: of the first stage at an address that the second translates, if there is one.
 */
static bool stage_word(struct walk *walk, const struct stage *stage, uint32_t level,
	uint64_t address, uint64_t *ret_word)
{
	struct leaf at = {.phys = address};

	if (stage->number == 1 && !stage2_translate(walk, address, false, &at))
		return false;
	if (!walk_word(walk, at.phys, ret_word))
		return false;
	walk_note(walk, stage->number == 1 ? SMMUV3_STEP_STAGE1 : SMMUV3_STEP_STAGE2, level,
		at.phys, *ret_word);
	return true;
}

static bool stage_leaf(struct walk *walk, const struct stage *stage, uint64_t input, uint32_t level,
	const struct smmuv3_pte *pte, struct leaf *ret_leaf)
{
	uint64_t size = UINT64_C(1) << level_shift(level);

	if (level == 0 || (level == LEVEL_LAST) != pte->table)
		return walk_stop(walk, SMMUV3_TRANSLATION, stage->number);
	if (!pte->accessed && !stage->flag_ignored)
		return walk_stop(walk, SMMUV3_ACCESS, stage->number);
	*ret_leaf = (struct leaf){
		.phys = (pte->address & ~(size - 1)) | (input & (size - 1)),
		.page_size = size,
		.write = pte->write,
	};
	return true;
}

static bool stage_walk(struct walk *walk, const struct stage *stage, uint64_t input, bool write,
	struct leaf *ret_leaf)
{
	uint64_t table = stage->table, index = input >> level_shift(stage->start), word;
	bool read_only = false, privileged = false;
	uint32_t level = stage->start;
	struct smmuv3_pte pte;

	for (;; level++) {
		if (!stage_word(walk, stage, level, table + index * 8, &word))
			return false;
		pte = smmuv3_pte_decode(stage->number == 1, word);
		if (!pte.valid)
			return walk_stop(walk, SMMUV3_TRANSLATION, stage->number);
		if (pte.address >> stage->output)
			return walk_stop(walk, SMMUV3_ADDR_SIZE, stage->number);
		if (level == LEVEL_LAST || !pte.table)
			break;
		read_only = read_only || pte.below_read_only;
		privileged = privileged || pte.below_privileged;
		table = pte.address;
		index = input >> level_shift(level + 1) & 511;
	}
	if (!stage_leaf(walk, stage, input, level, &pte, ret_leaf))
		return false;
	ret_leaf->write = ret_leaf->write && !read_only;
	if (!pte.read || !pte.user || privileged || (write && !ret_leaf->write))
		return walk_stop(walk, SMMUV3_PERMISSION, stage->number);
	return true;
}

/* Through the second stage; without one an address is its own translation. */
static bool stage2_translate(struct walk *walk, uint64_t ipa, bool write, struct leaf *ret_leaf)
{
	const uint64_t *ste = walk->result->ste;
	uint64_t sl0 = smmuv3_ste_get(ste, SMMUV3_STE_S2SL0);
	uint64_t t0sz = smmuv3_ste_get(ste, SMMUV3_STE_S2T0SZ);
	struct stage stage = {
		.number = 2,
		.table = smmuv3_ste_get(ste, SMMUV3_STE_S2TTB),
		.start = 2 - (uint32_t)sl0,
		.width = 64 - (uint32_t)t0sz,
		.output = smmuv3_size_bits(smmuv3_ste_get(ste, SMMUV3_STE_S2PS)),
		.flag_ignored = smmuv3_ste_get(ste, SMMUV3_STE_S2AFFD),
	};

	if (smmuv3_ste_get(ste, SMMUV3_STE_Config) < SMMUV3_STAGE2) {
		*ret_leaf =
			(struct leaf){.phys = ipa, .page_size = UINT64_C(1) << 48, .write = true};
		return true;
	}
	/* 5.2: what the entry may say; tables side by side at the start are 16 at most */
	if (sl0 > 2 || t0sz < 12 || t0sz > 39 || smmuv3_ste_get(ste, SMMUV3_STE_S2TG) != 0 ||
		stage.width <= level_shift(stage.start) ||
		stage.width > level_shift(stage.start) + 9 + 4)
		return walk_stop(walk, SMMUV3_BAD_STE, 0);
	if (ipa >> stage.width)
		return walk_stop(walk, SMMUV3_TRANSLATION, 2);
	return stage_walk(walk, &stage, ipa, write, ret_leaf);
}

static bool stage1_translate(struct walk *walk, uint64_t address, bool write, struct leaf *ret_leaf)
{
	const uint64_t *cd = walk->result->cd;
	uint64_t t0sz = smmuv3_cd_get(cd, SMMUV3_CD_T0SZ);
	struct stage stage = {
		.number = 1,
		.table = smmuv3_cd_get(cd, SMMUV3_CD_TTB0),
		.width = 64 - (uint32_t)t0sz,
		.output = smmuv3_size_bits(smmuv3_cd_get(cd, SMMUV3_CD_IPS)),
		.flag_ignored = smmuv3_cd_get(cd, SMMUV3_CD_AFFD),
	};

	if (t0sz < 16 || t0sz > 39 || smmuv3_cd_get(cd, SMMUV3_CD_TG0) != 0 ||
		!smmuv3_cd_get(cd, SMMUV3_CD_AA64))
		return walk_stop(walk, SMMUV3_BAD_CD, 0);
	/* The upper half (TTB1) is not walked: Linux switches it off in every descriptor. */
	if (smmuv3_cd_get(cd, SMMUV3_CD_EPD0) || address >> stage.width)
		return walk_stop(walk, SMMUV3_TRANSLATION, 1);
	while (stage.start < LEVEL_LAST && stage.width <= level_shift(stage.start))
		stage.start++;
	return stage_walk(walk, &stage, address, write, ret_leaf);
}

/* --- structures --- */

static bool walk_ste(struct walk *walk, const struct smmuv3_streams *streams, uint32_t stream)
{
	uint64_t at = streams->base, index = stream, word;
	uint64_t *ste = walk->result->ste;

	if (streams->width < 32 && stream >> streams->width)
		return walk_stop(walk, SMMUV3_BAD_STREAMID, 0);
	if (streams->two_level) {
		at += (uint64_t)(stream >> SMMUV3_SPLIT) * 8;
		if (!walk_word(walk, at, &word))
			return false;
		walk_note(walk, SMMUV3_STEP_L1STD, 0, at, word);
		index = stream & ((1u << SMMUV3_SPLIT) - 1);
		if ((word & SMMUV3_L1STD_SPAN) == 0 || index >> ((word & SMMUV3_L1STD_SPAN) - 1))
			return walk_stop(walk, SMMUV3_BAD_STREAMID, 0);
		at = word & SMMUV3_L1STD_POINTER;
	}
	if (!walk_words(walk, SMMUV3_STEP_STE, at + index * SMMUV3_STE_BYTES, ste))
		return false;
	walk->result->has_ste = true;
	if (!smmuv3_ste_get(ste, SMMUV3_STE_V))
		return walk_stop(walk, SMMUV3_BAD_STE, 0);
	if (smmuv3_ste_get(ste, SMMUV3_STE_Config) < SMMUV3_BYPASS)
		return walk_stop(walk, SMMUV3_ABORTED, 0);
	return true;
}

/* The context descriptor with that number; its table is translated by the second stage, if any. */
static bool walk_cd(struct walk *walk, uint32_t number)
{
	const uint64_t *ste = walk->result->ste;
	uint64_t at = smmuv3_ste_get(ste, SMMUV3_STE_S1ContextPtr), word;
	uint64_t format = smmuv3_ste_get(ste, SMMUV3_STE_S1Fmt);
	uint32_t cdmax = (uint32_t)smmuv3_ste_get(ste, SMMUV3_STE_S1CDMax);
	uint32_t bits = smmuv3_leaf_bits(format);
	struct leaf leaf;

	if (cdmax > 0 && format > SMMUV3_LEAF_64K)
		return walk_stop(walk, SMMUV3_BAD_STE, 0);
	if (cdmax > 0 && format != SMMUV3_LINEAR) {
		if (!stage2_translate(walk, at + (uint64_t)(number >> bits) * 8, false, &leaf) ||
			!walk_word(walk, leaf.phys, &word))
			return false;
		walk_note(walk, SMMUV3_STEP_L1CD, 0, leaf.phys, word);
		if (!(word & SMMUV3_L1CD_V))
			return walk_stop(walk, SMMUV3_BAD_SUBSTREAMID, 0);
		at = word & SMMUV3_L1CD_POINTER;
		number &= (1u << bits) - 1;
	}
	if (!stage2_translate(walk, at + (uint64_t)number * SMMUV3_CD_BYTES, false, &leaf) ||
		!walk_words(walk, SMMUV3_STEP_CD, leaf.phys, walk->result->cd))
		return false;
	walk->result->has_cd = true;
	if (!smmuv3_cd_get(walk->result->cd, SMMUV3_CD_V))
		return walk_stop(walk, SMMUV3_BAD_CD, 0);
	return true;
}

/* 3.9: which descriptor a transaction uses. False: it ends here, or bypasses (*ret_bypass). */
static bool walk_substream(struct walk *walk, const struct smmuv3_request *request,
	uint32_t *ret_number, bool *ret_bypass)
{
	const uint64_t *ste = walk->result->ste;
	bool stage1 = smmuv3_ste_get(ste, SMMUV3_STE_Config) & 1;
	uint32_t cdmax = (uint32_t)smmuv3_ste_get(ste, SMMUV3_STE_S1CDMax);
	uint64_t dss = smmuv3_ste_get(ste, SMMUV3_STE_S1DSS);

	*ret_number = request->has_substream ? request->substream : 0;
	*ret_bypass = !stage1;
	if (request->has_substream) {
		if (!stage1 || cdmax == 0 || request->substream >> cdmax ||
			(request->substream == 0 && dss == SMMUV3_DSS_ZERO))
			return walk_stop(walk, SMMUV3_BAD_SUBSTREAMID, 0);
		return true;
	}
	if (!stage1 || cdmax == 0 || dss == SMMUV3_DSS_ZERO)
		return true;
	*ret_bypass = dss == SMMUV3_DSS_BYPASS;
	return *ret_bypass || walk_stop(walk, SMMUV3_DISABLED, 0);
}

void smmuv3_walk(const struct smmuv3_memory *memory, const struct smmuv3_streams *streams,
	const struct smmuv3_request *request, struct smmuv3_walk_result *ret_result)
{
	struct walk walk = {.memory = memory, .result = ret_result};
	struct leaf first = {
		.phys = request->address, .page_size = UINT64_C(1) << 48, .write = true};
	struct leaf second;
	uint32_t number;
	bool bypass;

	memset(ret_result, 0, sizeof(*ret_result));
	if (!walk_ste(&walk, streams, request->stream) ||
		!walk_substream(&walk, request, &number, &bypass))
		return;
	if (!bypass && (!walk_cd(&walk, number) ||
			       !stage1_translate(&walk, request->address, request->write, &first)))
		return;
	if (!stage2_translate(&walk, first.phys, request->write, &second))
		return;
	ret_result->stop = SMMUV3_REACHED;
	ret_result->phys = second.phys;
	ret_result->page_size =
		first.page_size < second.page_size ? first.page_size : second.page_size;
	ret_result->writeable = first.write && second.write;
}
