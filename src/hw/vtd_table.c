/* SPDX-License-Identifier: MIT */
#include "vtd_table.h"

#include <string.h>

#define BIT(n)     (1ull << (n))
#define PAGE_MASK  0xfffffffffffff000ull /* pointers to tables: bits 63:12 */
#define FRAME_MASK 0x000ffffffffff000ull /* pages behind paging entries: bits 51:12 */

static bool bit_get(uint64_t word, unsigned bit)
{
	return (word >> bit & 1) != 0;
}

static uint32_t field_get(uint64_t word, unsigned low, unsigned width)
{
	return (uint32_t)(word >> low & (BIT(width) - 1));
}

static uint64_t field_put(uint64_t value, unsigned low, unsigned width)
{
	return (value & (BIT(width) - 1)) << low;
}

static uint64_t bit_put(bool value, unsigned bit)
{
	return value ? BIT(bit) : 0;
}

struct vtd_caps vtd_caps_decode(uint64_t cap, uint64_t ecap)
{
	struct vtd_caps caps = {
		.sagaw = field_get(cap, 8, 5),
		.mgaw = field_get(cap, 16, 6) + 1,
		.fl1gp = bit_get(cap, 56),
		.fl5lp = bit_get(cap, 60),
		.second_2m = bit_get(cap, 34),
		.second_1g = bit_get(cap, 35),
		.caching = bit_get(cap, 7),
		.scalable = bit_get(ecap, 43),
		.pasid = bit_get(ecap, 40),
		.nest = bit_get(ecap, 26),
		.first_stage = bit_get(ecap, 47),
		.second_stage = bit_get(ecap, 46),
		.dirty = bit_get(ecap, 45),
		.pass_through = bit_get(ecap, 6),
		.supervisor = bit_get(ecap, 31),
		.extended_access = bit_get(ecap, 34),
		.page_requests = bit_get(ecap, 29),
		.device_tlb = bit_get(ecap, 2),
		.page_walk_snoop = bit_get(ecap, 48),
	};

	if (caps.pasid)
		caps.pasid_width = field_get(ecap, 35, 5) + 1;
	return caps;
}

void vtd_caps_encode(const struct vtd_caps *caps, uint64_t *ret_cap, uint64_t *ret_ecap)
{
	*ret_cap = field_put(caps->sagaw, 8, 5) | field_put(caps->mgaw - 1ull, 16, 6) |
		   bit_put(caps->fl1gp, 56) | bit_put(caps->fl5lp, 60) |
		   bit_put(caps->second_2m, 34) | bit_put(caps->second_1g, 35) |
		   bit_put(caps->caching, 7);
	*ret_ecap = bit_put(caps->scalable, 43) | bit_put(caps->nest, 26) |
		    bit_put(caps->first_stage, 47) | bit_put(caps->second_stage, 46) |
		    bit_put(caps->dirty, 45) | bit_put(caps->pass_through, 6) |
		    bit_put(caps->supervisor, 31) | bit_put(caps->extended_access, 34) |
		    bit_put(caps->page_requests, 29) | bit_put(caps->device_tlb, 2) |
		    bit_put(caps->page_walk_snoop, 48);
	if (caps->pasid)
		*ret_ecap |= BIT(40) | field_put(caps->pasid_width - 1ull, 35, 5);
}

struct vtd_root vtd_root_decode(const uint64_t word[VTD_ROOT_WORDS])
{
	return (struct vtd_root){
		.lower_present = bit_get(word[0], 0),
		.upper_present = bit_get(word[1], 0),
		.lower = word[0] & PAGE_MASK,
		.upper = word[1] & PAGE_MASK,
	};
}

void vtd_root_encode(const struct vtd_root *root, uint64_t ret_word[VTD_ROOT_WORDS])
{
	ret_word[0] = (root->lower & PAGE_MASK) | bit_put(root->lower_present, 0);
	ret_word[1] = (root->upper & PAGE_MASK) | bit_put(root->upper_present, 0);
}

struct vtd_context vtd_context_decode(const uint64_t word[VTD_CONTEXT_WORDS])
{
	return (struct vtd_context){
		.present = bit_get(word[0], 0),
		.fault_disable = bit_get(word[0], 1),
		.device_tlb = bit_get(word[0], 2),
		.pasid_enable = bit_get(word[0], 3),
		.page_requests = bit_get(word[0], 4),
		.pdts = field_get(word[0], 9, 3),
		.directory = word[0] & PAGE_MASK,
		.rid_pasid = field_get(word[1], 0, PASID_BITS),
		.rid_privileged = bit_get(word[1], 20),
	};
}

void vtd_context_encode(const struct vtd_context *context, uint64_t ret_word[VTD_CONTEXT_WORDS])
{
	memset(ret_word, 0, VTD_CONTEXT_WORDS * sizeof(*ret_word));
	ret_word[0] = (context->directory & PAGE_MASK) | bit_put(context->present, 0) |
		      bit_put(context->fault_disable, 1) | bit_put(context->device_tlb, 2) |
		      bit_put(context->pasid_enable, 3) | bit_put(context->page_requests, 4) |
		      field_put(context->pdts, 9, 3);
	ret_word[1] =
		field_put(context->rid_pasid, 0, PASID_BITS) | bit_put(context->rid_privileged, 20);
}

struct vtd_directory vtd_directory_decode(uint64_t word)
{
	return (struct vtd_directory){
		.present = bit_get(word, 0),
		.fault_disable = bit_get(word, 1),
		.table = word & PAGE_MASK,
	};
}

uint64_t vtd_directory_encode(const struct vtd_directory *directory)
{
	return (directory->table & PAGE_MASK) | bit_put(directory->present, 0) |
	       bit_put(directory->fault_disable, 1);
}

struct vtd_entry vtd_entry_decode(const uint64_t word[VTD_ENTRY_WORDS])
{
	return (struct vtd_entry){
		.present = bit_get(word[0], 0),
		.fault_disable = bit_get(word[0], 1),
		.aw = field_get(word[0], 2, 3),
		.pgtt = field_get(word[0], 6, 3),
		.second_ad = bit_get(word[0], 9),
		.second = word[0] & PAGE_MASK,
		.did = field_get(word[1], 0, 16),
		.page_walk_snoop = bit_get(word[1], 23),
		.page_snoop = bit_get(word[1], 24),
		.supervisor = bit_get(word[2], 0),
		.execute = bit_get(word[2], 1),
		.fspm = field_get(word[2], 2, 2),
		.write_protect = bit_get(word[2], 4),
		.no_execute = bit_get(word[2], 5),
		.smep = bit_get(word[2], 6),
		.extended_access = bit_get(word[2], 7),
		.first = word[2] & PAGE_MASK,
	};
}

void vtd_entry_encode(const struct vtd_entry *entry, uint64_t ret_word[VTD_ENTRY_WORDS])
{
	memset(ret_word, 0, VTD_ENTRY_WORDS * sizeof(*ret_word));
	ret_word[0] = (entry->second & PAGE_MASK) | bit_put(entry->present, 0) |
		      bit_put(entry->fault_disable, 1) | field_put(entry->aw, 2, 3) |
		      field_put(entry->pgtt, 6, 3) | bit_put(entry->second_ad, 9);
	ret_word[1] = field_put(entry->did, 0, 16) | bit_put(entry->page_walk_snoop, 23) |
		      bit_put(entry->page_snoop, 24);
	ret_word[2] = (entry->first & PAGE_MASK) | bit_put(entry->supervisor, 0) |
		      bit_put(entry->execute, 1) | field_put(entry->fspm, 2, 2) |
		      bit_put(entry->write_protect, 4) | bit_put(entry->no_execute, 5) |
		      bit_put(entry->smep, 6) | bit_put(entry->extended_access, 7);
}

bool vtd_entry_reserved_ok(const uint64_t word[VTD_ENTRY_WORDS])
{
	uint64_t bad = (word[0] & field_put(3, 10, 2)) | (word[1] & field_put(0x7f, 16, 7)) |
		       (word[2] & (BIT(3) | field_put(0xf, 8, 4)));

	for (unsigned i = 3; i < VTD_ENTRY_WORDS; i++)
		bad |= word[i];
	return bad == 0;
}

const char *vtd_pgtt_text(uint32_t pgtt)
{
	switch (pgtt) {
	case VTD_PGTT_FIRST:
		return "first-stage";
	case VTD_PGTT_SECOND:
		return "second-stage";
	case VTD_PGTT_NESTED:
		return "nested";
	case VTD_PGTT_PASS_THROUGH:
		return "pass-through";
	default:
		return "reserved";
	}
}

struct vtd_pte vtd_pte_decode(bool first_stage, uint64_t word)
{
	struct vtd_pte pte = {
		.large = bit_get(word, 7),
		.address = word & FRAME_MASK,
	};

	if (first_stage) {
		pte.present = bit_get(word, 0);
		pte.read = pte.present;
		pte.write = bit_get(word, 1);
		pte.user = bit_get(word, 2);
		pte.accessed = bit_get(word, 5);
		pte.dirty = bit_get(word, 6);
	} else {
		pte.read = bit_get(word, 0);
		pte.write = bit_get(word, 1);
		pte.present = pte.read || pte.write;
		pte.accessed = bit_get(word, 8);
		pte.dirty = bit_get(word, 9);
	}
	return pte;
}

uint64_t vtd_pte_encode(bool first_stage, const struct vtd_pte *pte)
{
	uint64_t word =
		(pte->address & FRAME_MASK) | bit_put(pte->large, 7) | bit_put(pte->write, 1);

	if (first_stage)
		return word | bit_put(pte->present, 0) | bit_put(pte->user, 2) |
		       bit_put(pte->accessed, 5) | bit_put(pte->dirty, 6);
	return word | bit_put(pte->read, 0) | bit_put(pte->accessed, 8) | bit_put(pte->dirty, 9);
}

unsigned vtd_pte_index(uint64_t address, unsigned level)
{
	return field_get(address, 12 + 9 * (level - 1), 9);
}

static const struct {
	const char *text, *sentence;
} stops[] = {
	[VTD_REACHED] = {"reached", "the DMA reaches this address"},
	[VTD_NO_ROOT] = {"no-root", "the root table has no context table for this bus"},
	[VTD_NO_CONTEXT] = {"no-context", "the context table has no entry for this function"},
	[VTD_PASID_DISABLED] = {"pasid-disabled",
		"the context entry does not take requests with PASID"},
	[VTD_PASID_RANGE] = {"pasid-range", "the PASID is beyond the function's PASID directory"},
	[VTD_NO_DIRECTORY] = {"no-directory", "the PASID directory entry is not present"},
	[VTD_NO_ENTRY] = {"no-entry", "the PASID table entry is not present"},
	[VTD_BAD_ENTRY] = {"bad-entry", "the PASID table entry has a reserved type, width or bit"},
	[VTD_ADDRESS] = {"address", "the address is beyond what the tables can translate"},
	[VTD_FIRST_ABSENT] = {"first-stage-absent", "the first stage does not map this address"},
	[VTD_FIRST_DENIED] = {"first-stage-denied", "the first stage does not allow this access"},
	[VTD_SECOND_ABSENT] = {"second-stage-absent", "the second stage does not map this address"},
	[VTD_SECOND_DENIED] = {"second-stage-denied",
		"the second stage does not allow this access"},
	[VTD_RESERVED] = {"reserved-bits", "a paging entry has a reserved bit"},
	[VTD_UNREADABLE] = {"unreadable", "the memory that holds a table cannot be read"},
};
_Static_assert(ARRAY_SIZE(stops) == VTD_STOP_COUNT, "every stop has its text");

const char *vtd_stop_text(enum vtd_stop stop)
{
	return (size_t)stop < ARRAY_SIZE(stops) ? stops[stop].text : "unknown";
}

const char *vtd_stop_sentence(enum vtd_stop stop)
{
	return (size_t)stop < ARRAY_SIZE(stops) ? stops[stop].sentence : "unknown";
}
