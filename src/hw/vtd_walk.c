/* SPDX-License-Identifier: MIT */
/*
 * The walk through VT-d tables. Nothing here trusts a word that it read: depths come from constants
 * or from fields whose few legal values are checked, and each step reads one word.
 */
#include "vtd_table.h"

#include <string.h>

struct walk {
	const struct vtd_memory *memory;
	struct vtd_walk_result *result;
	bool write;
};

/* One translation: where it leads, and what is allowed there. */
struct leaf {
	uint64_t phys, page_size;
	bool write;
};

static bool walk_stop(struct walk *walk, enum vtd_stop stop)
{
	walk->result->stop = stop;
	return false;
}

static bool walk_word(struct walk *walk, uint64_t phys, uint64_t *ret_word)
{
	bool ok = true;
	uint64_t word = walk->memory->read(walk->memory->ctx, phys, &ok);

	if (!ok)
		return walk_stop(walk, VTD_UNREADABLE);
	*ret_word = word;
	return true;
}

static void walk_note(
	struct walk *walk, enum vtd_step_kind kind, unsigned level, uint64_t phys, uint64_t word)
{
	struct vtd_walk_result *result = walk->result;

	if (result->step_count < VTD_STEPS_MAX)
		result->steps[result->step_count++] =
			(struct vtd_step){.kind = kind, .level = level, .phys = phys, .word = word};
}

static uint64_t page_size(unsigned level)
{
	return 1ull << (12 + 9 * (level - 1));
}

/* Reserved bits of paging entries, 9.7 and 9.8: PS above 1 GiB, address bits below a large page's
   size (bit 12 of a large first-stage page is PAT). */
static bool pte_reserved(bool first_stage, unsigned level, const struct vtd_pte *pte)
{
	uint64_t low;

	if (!pte->large || level == 1)
		return false;
	if (level > 3)
		return true;
	low = page_size(level) - 1;
	if (first_stage)
		low &= ~0x1fffull;
	return (pte->address & low) != 0;
}

/* The paging tables of one stage; `below` is the second stage that a nested first stage stands on.
 */
struct stage {
	bool first;
	uint64_t root;
	unsigned levels;
	const struct stage *below;
};

/* Second-stage addresses fit the width (3.7); first-stage addresses are canonical (3.6), of a
 * guest's too. */
static bool stage_covers(const struct stage *stage, uint64_t address)
{
	unsigned width = 12 + 9 * stage->levels;

	if (!stage->first)
		return address >> width == 0;
	return (uint64_t)((int64_t)(address << (64 - width)) >> (64 - width)) == address;
}

static bool stage_walk(struct walk *walk, const struct stage *stage, uint64_t address, bool write,
	struct leaf *ret_leaf);

/* 3.8 Nested Translation: an address that a nested first stage uses goes through the second stage.
 */
static bool stage_below(struct walk *walk, const struct stage *stage, uint64_t address, bool write,
	struct leaf *ret_leaf)
{
	if (stage->below)
		return stage_walk(walk, stage->below, address, write, ret_leaf);
	*ret_leaf = (struct leaf){.phys = address, .page_size = UINT64_MAX, .write = true};
	return true;
}

/* Reads one paging entry and checks it; *writeable gathers the permission on the way down. */
static bool stage_entry(struct walk *walk, const struct stage *stage, unsigned level, uint64_t at,
	bool write, bool *writeable, struct vtd_pte *ret_pte)
{
	struct leaf place;
	uint64_t word;

	if (!stage_below(walk, stage, at, false, &place) || !walk_word(walk, place.phys, &word))
		return false;
	walk_note(walk, stage->first ? VTD_STEP_FIRST : VTD_STEP_SECOND, level, place.phys, word);
	*ret_pte = vtd_pte_decode(stage->first, word);
	if (!ret_pte->present)
		return walk_stop(walk, stage->first ? VTD_FIRST_ABSENT : VTD_SECOND_ABSENT);
	if (pte_reserved(stage->first, level, ret_pte))
		return walk_stop(walk, VTD_RESERVED);
	*writeable = *writeable && ret_pte->write;
	if (!ret_pte->read || (stage->first && !ret_pte->user) || (write && !*writeable))
		return walk_stop(walk, stage->first ? VTD_FIRST_DENIED : VTD_SECOND_DENIED);
	return true;
}

/* 3.6 First-Stage Translation, 3.7 Second-Stage Translation. Recursion: a nested first stage enters
   its second stage, which has none below. */
static bool stage_walk(struct walk *walk, const struct stage *stage, uint64_t address, bool write,
	struct leaf *ret_leaf)
{
	uint64_t table = stage->root;
	struct vtd_pte pte = {0};
	struct leaf below;
	bool writeable = true;
	unsigned level;

	if (!stage_covers(stage, address))
		return walk_stop(walk, VTD_ADDRESS);
	for (level = stage->levels;; level--) {
		uint64_t at = table + vtd_pte_index(address, level) * sizeof(uint64_t);

		if (!stage_entry(walk, stage, level, at, write, &writeable, &pte))
			return false;
		if (level == 1 || pte.large)
			break;
		table = pte.address;
	}
	/* Bit 12 of a large page is PAT, not address: cut it off. */
	address = (pte.address & ~(page_size(level) - 1)) | (address & (page_size(level) - 1));
	if (!stage_below(walk, stage, address, write, &below))
		return false;
	*ret_leaf = (struct leaf){
		.phys = below.phys,
		.page_size =
			below.page_size < page_size(level) ? below.page_size : page_size(level),
		.write = writeable && below.write,
	};
	return true;
}

/* The page tables that a PASID table entry names. */
static bool entry_walk(struct walk *walk, const struct vtd_entry *entry, uint64_t address)
{
	struct stage second = {.root = entry->second, .levels = entry->aw + 2};
	struct stage first = {.first = true, .root = entry->first, .levels = 4 + entry->fspm};
	struct leaf leaf = {.phys = address, .page_size = page_size(1), .write = true};
	bool uses_second = entry->pgtt == VTD_PGTT_SECOND || entry->pgtt == VTD_PGTT_NESTED;
	bool uses_first = entry->pgtt == VTD_PGTT_FIRST || entry->pgtt == VTD_PGTT_NESTED;

	if ((!uses_second && !uses_first && entry->pgtt != VTD_PGTT_PASS_THROUGH) ||
		(uses_second && (entry->aw < 1 || entry->aw > 3)) ||
		(uses_first && entry->fspm > 1))
		return walk_stop(walk, VTD_BAD_ENTRY);
	if (uses_first && uses_second)
		first.below = &second;
	if ((uses_first || uses_second) &&
		!stage_walk(walk, uses_first ? &first : &second, address, walk->write, &leaf))
		return false;
	walk->result->phys = leaf.phys;
	walk->result->page_size = leaf.page_size;
	walk->result->writeable = leaf.write;
	return true;
}

/* 9.2, 9.4: from the root table to the context entry of a function. */
static bool context_find(
	struct walk *walk, uint64_t root, struct rid rid, struct vtd_context *ret_context)
{
	uint64_t bus = rid.v >> 8 & 0xff, devfn = rid.v & 0xff;
	uint64_t phys = (root & ~0xfffull) + bus * 16 + (devfn >= 128 ? 8 : 0);
	uint64_t word[VTD_CONTEXT_WORDS] = {0}, half[VTD_ROOT_WORDS] = {0};
	struct vtd_root entry;

	if (!walk_word(walk, phys, &half[devfn >= 128]))
		return false;
	walk_note(walk, VTD_STEP_ROOT, 0, phys, half[devfn >= 128]);
	entry = vtd_root_decode(half);
	if (!entry.lower_present && !entry.upper_present)
		return walk_stop(walk, VTD_NO_ROOT);
	phys = (entry.lower_present ? entry.lower : entry.upper) + devfn % 128 * sizeof(word);
	for (unsigned i = 0; i < VTD_CONTEXT_WORDS; i++)
		if (!walk_word(walk, phys + i * 8ull, &word[i]))
			return false;
	walk_note(walk, VTD_STEP_CONTEXT, 0, phys, word[0]);
	*ret_context = vtd_context_decode(word);
	return ret_context->present || walk_stop(walk, VTD_NO_CONTEXT);
}

static uint32_t context_pasids(const struct vtd_context *context)
{
	uint32_t count = 1u << (context->pdts + 7 + 6);

	return count < PASID_COUNT ? count : PASID_COUNT;
}

/* 9.5: the directory entry of a PASID. */
static bool directory_find(
	struct walk *walk, uint64_t directory, uint32_t pasid, struct vtd_directory *ret_entry)
{
	uint64_t word, phys = directory + (pasid >> 6) * sizeof(word);

	if (!walk_word(walk, phys, &word))
		return false;
	walk_note(walk, VTD_STEP_DIRECTORY, 0, phys, word);
	*ret_entry = vtd_directory_decode(word);
	return ret_entry->present || walk_stop(walk, VTD_NO_DIRECTORY);
}

/* 9.6: the entry of a PASID in its table, present or not. */
static bool entry_read(
	struct walk *walk, uint64_t table, uint32_t pasid, struct vtd_entry_at *ret_at)
{
	ret_at->pasid = pasid;
	ret_at->phys = table + (pasid & 63) * sizeof(ret_at->word);
	for (unsigned i = 0; i < VTD_ENTRY_WORDS; i++)
		if (!walk_word(walk, ret_at->phys + i * 8ull, &ret_at->word[i]))
			return false;
	ret_at->entry = vtd_entry_decode(ret_at->word);
	walk_note(walk, VTD_STEP_ENTRY, 0, ret_at->phys, ret_at->word[0]);
	return true;
}

static bool walk_request(struct walk *walk, uint64_t root, const struct vtd_request *request)
{
	struct vtd_walk_result *result = walk->result;
	struct vtd_directory directory;
	struct vtd_context context;
	struct vtd_entry_at at;

	if (!context_find(walk, root, request->rid, &context))
		return false;
	if (request->has_pasid && !context.pasid_enable)
		return walk_stop(walk, VTD_PASID_DISABLED);
	result->pasid = request->has_pasid ? request->pasid.v : context.rid_pasid;
	if (result->pasid >= context_pasids(&context))
		return walk_stop(walk, VTD_PASID_RANGE);
	if (!directory_find(walk, context.directory, result->pasid, &directory) ||
		!entry_read(walk, directory.table, result->pasid, &at))
		return false;
	if (!at.entry.present)
		return walk_stop(walk, VTD_NO_ENTRY);
	result->has_entry = true;
	result->entry = at.entry;
	if (!vtd_entry_reserved_ok(at.word))
		return walk_stop(walk, VTD_BAD_ENTRY);
	return entry_walk(walk, &at.entry, request->address);
}

void vtd_walk(const struct vtd_memory *memory, uint64_t root, const struct vtd_request *request,
	struct vtd_walk_result *ret_result)
{
	struct walk walk = {.memory = memory, .result = ret_result, .write = request->write};

	memset(ret_result, 0, sizeof(*ret_result));
	if (walk_request(&walk, root, request))
		ret_result->stop = VTD_REACHED;
}

void vtd_entries_init(
	struct vtd_entries *entries, const struct vtd_memory *memory, uint64_t root, struct rid rid)
{
	struct vtd_walk_result result = {0};
	struct walk walk = {.memory = memory, .result = &result};
	struct vtd_context context;

	*entries = (struct vtd_entries){.memory = *memory};
	if (context_find(&walk, root, rid, &context)) {
		entries->directory = context.directory;
		entries->end = context_pasids(&context);
	}
	entries->stop = result.stop;
}

bool vtd_entries_next(struct vtd_entries *entries, struct vtd_entry_at *ret_entry)
{
	struct vtd_walk_result result = {0};
	struct walk walk = {.memory = &entries->memory, .result = &result};
	struct vtd_directory directory;
	struct vtd_entry_at at;

	while (entries->next < entries->end) {
		result.stop = VTD_REACHED;
		if (!directory_find(&walk, entries->directory, entries->next, &directory)) {
			entries->next = (entries->next | 63) + 1;
		} else if (entry_read(&walk, directory.table, entries->next++, &at) &&
			   at.entry.present) {
			*ret_entry = at;
			return true;
		}
		if (result.stop == VTD_UNREADABLE)
			entries->stop = VTD_UNREADABLE;
	}
	return false;
}
