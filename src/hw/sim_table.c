/* SPDX-License-Identifier: MIT */
/* Writes what the hardware reads: context entries, PASID table entries, paging tables. */
#include "sim_memory.h"

#include <errno.h>

#define DIRECTORY_MIN 512u /* entries: Linux gives a directory at least one page */
#define LARGE         (1ull << 21)
#define INDEXES       512u

void sim_words_write(uint64_t *to, const uint64_t *from, unsigned count)
{
	for (unsigned i = count - 1; i > 0; i--)
		__atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
	__atomic_store_n(&to[0], from[0], __ATOMIC_RELEASE);
}

static uint32_t directory_pages(const struct sim_node *node)
{
	uint32_t entries = 1u << (node->width > 6 ? node->width - 6 : 0);

	if (entries < DIRECTORY_MIN)
		entries = DIRECTORY_MIN;
	return entries * (uint32_t)sizeof(uint64_t) / SIM_PAGE;
}

/* The context table of a function, made when its bus or half has none. */
static int context_table(struct sim *sim, struct sim_unit *unit, struct rid rid, uint64_t *ret_phys)
{
	bool upper = (rid.v & 0xff) >= 128;
	uint64_t *root = sim_word(sim, unit->root + (rid.v >> 8 & 0xff) * 16ull);
	struct vtd_root entry = vtd_root_decode(root);
	uint64_t phys, word[VTD_ROOT_WORDS];
	int r;

	if (upper ? entry.upper_present : entry.lower_present) {
		*ret_phys = upper ? entry.upper : entry.lower;
		return 0;
	}
	r = sim_pages_alloc(sim, 1, &phys);
	if (r < 0)
		return r;
	if (upper) {
		entry.upper = phys;
		entry.upper_present = true;
	} else {
		entry.lower = phys;
		entry.lower_present = true;
	}
	vtd_root_encode(&entry, word);
	sim_words_write(root, word, VTD_ROOT_WORDS);
	*ret_phys = phys;
	return 0;
}

/* As Linux does when it finds a function: an empty PASID directory, whatever is attached later. */
static int node_init(struct sim *sim, struct sim_node *node)
{
	struct sim_unit *unit = &sim->header->units[node->config.unit];
	struct vtd_context context = {.present = true, .pasid_enable = node->width > 0};
	uint64_t table, word[VTD_CONTEXT_WORDS];
	uint32_t pages = directory_pages(node);
	int r = context_table(sim, unit, node->config.rid, &table);

	if (r == 0)
		r = sim_pages_alloc(sim, pages, &node->directory);
	if (r < 0)
		return r;
	context.directory = node->directory;
	while (128u << context.pdts < pages * (SIM_PAGE / sizeof(uint64_t)))
		context.pdts++;
	vtd_context_encode(&context, word);
	sim_words_write(sim_word(sim, table + (node->config.rid.v & 127) * (uint64_t)sizeof(word)),
		word, VTD_CONTEXT_WORDS);
	return 0;
}

int sim_tables_init(struct sim *sim)
{
	struct sim_header *header = sim->header;
	int r = 0;

	for (uint32_t i = 0; i < SIM_UNITS_MAX; i++)
		header->units[i].root = 0;
	for (uint32_t i = 0; r == 0 && !header->config.smmuv3 && i < SIM_UNITS_MAX; i++)
		r = sim_pages_alloc(sim, 1, &header->units[i].root);
	for (uint32_t i = 0; r == 0 && i < header->config.device_count; i++)
		r = header->config.smmuv3 ? sim_smmuv3_init(sim, &header->nodes[i])
					  : node_init(sim, &header->nodes[i]);
	return r;
}

/* The words of a PASID's entry, or NULL when its table does not exist. */
static uint64_t *entry_find(struct sim *sim, const struct sim_node *node, uint32_t pasid)
{
	uint64_t *word = sim_word(sim, node->directory + (pasid >> 6) * 8ull);
	struct vtd_directory directory = vtd_directory_decode(*word);

	if (!directory.present)
		return NULL;
	return sim_word(sim, directory.table + (pasid & 63) * 64ull);
}

/* The same, making the table. NULL: no memory. */
static uint64_t *entry_make(struct sim *sim, const struct sim_node *node, uint32_t pasid)
{
	uint64_t *word = entry_find(sim, node, pasid);
	struct vtd_directory directory = {.present = true};
	uint64_t encoded;

	if (word)
		return word;
	if (sim_pages_alloc(sim, 1, &directory.table) < 0)
		return NULL;
	encoded = vtd_directory_encode(&directory);
	sim_words_write(sim_word(sim, node->directory + (pasid >> 6) * 8ull), &encoded, 1);
	return entry_find(sim, node, pasid);
}

int sim_entry_set(
	struct sim *sim, struct sim_node *node, uint32_t pasid, const struct vtd_entry *entry)
{
	uint64_t word[VTD_ENTRY_WORDS];
	uint64_t *place = entry_make(sim, node, pasid);

	if (!place)
		return -ENOMEM;
	if (node->reset_until)
		return 0;
	vtd_entry_encode(entry, word);
	sim_words_write(place, word, VTD_ENTRY_WORDS);
	return 0;
}

void sim_entry_clear(struct sim *sim, struct sim_node *node, uint32_t pasid)
{
	uint64_t *word = entry_find(sim, node, pasid);

	for (unsigned i = 0; word && i < VTD_ENTRY_WORDS; i++)
		__atomic_store_n(&word[i], 0, __ATOMIC_RELEASE);
}

/* Paging entries of either IOMMU. */
static struct vtd_pte pte_decode(const struct sim_paging *paging, uint64_t word)
{
	struct smmuv3_pte pte;

	if (!paging->arm)
		return vtd_pte_decode(paging->first, word);
	pte = smmuv3_pte_decode(paging->first, word);
	return (struct vtd_pte){
		.present = pte.valid, .large = pte.valid && !pte.table, .address = pte.address};
}

static uint64_t pte_encode(const struct sim_paging *paging, const struct vtd_pte *pte, bool leaf)
{
	const struct smmuv3_pte arm = {
		.valid = pte->present,
		.table = !pte->large,
		.accessed = leaf,
		.read = pte->read,
		.write = pte->write,
		.user = pte->user,
		.address = pte->address,
	};

	return paging->arm ? smmuv3_pte_encode(paging->first, &arm)
			   : vtd_pte_encode(paging->first, pte);
}

static uint64_t level_size(unsigned level)
{
	return 1ull << (12 + 9 * (level - 1));
}

/* The entry for `iova` at `level`, making the tables above it. NULL: no memory. */
static uint64_t *paging_entry(
	struct sim *sim, const struct sim_paging *paging, uint64_t iova, unsigned level)
{
	uint64_t table = paging->root;

	for (unsigned at = paging->levels;; at--) {
		uint64_t *word = sim_word(sim, table + vtd_pte_index(iova, at) * 8ull);
		struct vtd_pte pte = pte_decode(paging, *word);

		if (at == level)
			return word;
		if (!pte.present) {
			pte = (struct vtd_pte){
				.present = true, .read = true, .write = true, .user = true};
			if (sim_pages_alloc(sim, 1, &pte.address) < 0)
				return NULL;
			__atomic_store_n(word, pte_encode(paging, &pte, false), __ATOMIC_RELEASE);
		}
		table = pte.address;
	}
}

int sim_paging_map(struct sim *sim, const struct sim_paging *paging, uint64_t iova, uint64_t phys,
	uint64_t length, bool write)
{
	uint64_t done = 0;

	while (done < length) {
		bool large = (iova + done) % LARGE == 0 && (phys + done) % LARGE == 0 &&
			     length - done >= LARGE;
		/* Linux sets accessed and dirty beforehand where nobody looks at them. */
		struct vtd_pte pte = {.present = true,
			.read = true,
			.write = write,
			.user = true,
			.large = large,
			.accessed = paging->first,
			.dirty = paging->first && write,
			.address = phys + done};
		uint64_t *word = paging_entry(sim, paging, iova + done, large ? 2 : 1);

		if (!word) {
			/* With the tables that were made for this page. */
			sim_paging_unmap(sim, paging, iova, done + (large ? LARGE : SIM_PAGE));
			return -ENOMEM;
		}
		__atomic_store_n(word, pte_encode(paging, &pte, true), __ATOMIC_RELEASE);
		done += large ? LARGE : SIM_PAGE;
	}
	return 0;
}

static bool table_empty(struct sim *sim, uint64_t table)
{
	const uint64_t *word = sim_word(sim, table);

	for (unsigned i = 0; i < INDEXES; i++)
		if (word[i])
			return false;
	return true;
}

/* Takes away [first, last] below a table; recursion ends with the levels. */
static void table_unmap(struct sim *sim, const struct sim_paging *paging, uint64_t table,
	unsigned level, uint64_t first, uint64_t last)
{
	uint64_t size = level_size(level);

	for (uint64_t at = first;;) {
		uint64_t *word = sim_word(sim, table + vtd_pte_index(at, level) * 8ull);
		struct vtd_pte pte = pte_decode(paging, *word);
		uint64_t end = at | (size - 1);
		bool below = pte.present && level > 1 && !pte.large;

		if (below)
			table_unmap(
				sim, paging, pte.address, level - 1, at, end < last ? end : last);
		if (pte.present && (!below || table_empty(sim, pte.address))) {
			__atomic_store_n(word, 0, __ATOMIC_RELEASE);
			if (below)
				sim_pages_free(sim, pte.address, 1);
		}
		if (end >= last)
			return;
		at = end + 1;
	}
}

void sim_paging_unmap(
	struct sim *sim, const struct sim_paging *paging, uint64_t iova, uint64_t length)
{
	if (length > 0)
		table_unmap(sim, paging, paging->root, paging->levels, iova, iova + length - 1);
}

static void table_free(
	struct sim *sim, const struct sim_paging *paging, uint64_t table, unsigned level)
{
	for (unsigned i = 0; level > 1 && i < INDEXES; i++) {
		struct vtd_pte pte = pte_decode(paging, *sim_word(sim, table + i * 8ull));

		if (pte.present && !pte.large)
			table_free(sim, paging, pte.address, level - 1);
	}
	sim_pages_free(sim, table, 1);
}

void sim_paging_free(struct sim *sim, const struct sim_paging *paging)
{
	table_free(sim, paging, paging->root, paging->levels);
}
