/* SPDX-License-Identifier: MIT */
#include "pasid-sim_smmuv3.h"

#include "pasid-sim_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What an entry is: of the stream table, or a context descriptor. */
static const char *entry_type(const struct sim_smmuv3_entry *entry)
{
	return entry->pasid > 0 ? "context"
				: smmuv3_config_text(smmuv3_ste_get(entry->ste, SMMUV3_STE_Config));
}

static uint64_t entry_first(const struct sim_smmuv3_entry *entry)
{
	return entry->has_cd ? smmuv3_cd_get(entry->cd, SMMUV3_CD_TTB0) : 0;
}

static uint64_t entry_second(const struct sim_smmuv3_entry *entry)
{
	return entry->pasid > 0 ? 0 : smmuv3_ste_get(entry->ste, SMMUV3_STE_S2TTB);
}

static int entry_domain(const struct sim_smmuv3_entry *entry)
{
	return (int)(entry->has_cd ? smmuv3_cd_get(entry->cd, SMMUV3_CD_ASID)
				   : smmuv3_ste_get(entry->ste, SMMUV3_STE_S2VMID));
}

void smmuv3_title_print(void)
{
	(void)printf("%-13s %5s %4s %7s  %-9s %6s  %-18s %-18s %s\n", "DEVICE", "GROUP", "UNIT",
		"PASID", "TYPE", "DOMAIN", "CONTEXT TABLE", "FIRST STAGE", "SECOND STAGE");
}

void smmuv3_entry_print(const struct sim_entry *at)
{
	const struct sim_smmuv3_entry *entry = &at->smmuv3;
	uint64_t table = entry->pasid > 0 ? 0 : smmuv3_ste_get(entry->ste, SMMUV3_STE_S1ContextPtr);
	char rid[SIM_RID_TEXT];

	sim_rid_format(at->rid, rid);
	(void)printf("%-13s %5u %4u %7u  %-9s %6d  0x%-16" PRIx64 " 0x%-16" PRIx64 " 0x%" PRIx64
		     "\n",
		rid, at->group, at->unit, entry->pasid, entry_type(entry), entry_domain(entry),
		table, entry_first(entry), entry_second(entry));
}

static json_t *words_json(const uint64_t word[8])
{
	json_t *list = json_array();

	for (uint32_t i = 0; list && i < 8; i++)
		(void)json_array_append_new(list, json_hex(word[i]));
	return list;
}

json_t *smmuv3_entry_json(const struct sim_entry *at)
{
	const struct sim_smmuv3_entry *entry = &at->smmuv3;
	char rid[SIM_RID_TEXT];
	json_t *json;

	sim_rid_format(at->rid, rid);
	json = json_pack("{s:s, s:i, s:i, s:i, s:s, s:i, s:o, s:o, s:o}", "rid", rid, "group",
		(int)at->group, "unit", (int)at->unit, "pasid", (int)entry->pasid, "type",
		entry_type(entry), "domain", entry_domain(entry), "first",
		json_hex(entry_first(entry)), "second", json_hex(entry_second(entry)), "address",
		json_hex(entry->phys));
	if (json && entry->pasid == 0)
		(void)json_object_set_new(json, "ste", words_json(entry->ste));
	if (json && entry->has_cd)
		(void)json_object_set_new(json, "cd", words_json(entry->cd));
	return json;
}

void smmuv3_walk_print(const struct smmuv3_walk_result *walk)
{
	for (uint32_t i = 0; i < walk->step_count; i++) {
		const struct smmuv3_step *step = &walk->steps[i];
		const char *text = smmuv3_step_text((enum smmuv3_step_kind)step->kind);
		char level[16] = "";

		if (step->kind >= SMMUV3_STEP_STAGE1)
			(void)snprintf(level, sizeof(level), " %u", step->level);
		(void)printf("  %s%-*s at 0x%-16" PRIx64 " is 0x%" PRIx64 "\n", text,
			(int)(16 - strlen(text)), level, step->phys, step->word);
	}
	if (walk->stop == SMMUV3_REACHED)
		(void)printf("reached: 0x%" PRIx64 ", %s\n", walk->phys,
			walk->writeable ? "writeable" : "read-only");
	else if (walk->stage)
		(void)printf("blocked: %s (%s, stage %u)\n", smmuv3_stop_sentence(walk->stop),
			smmuv3_stop_text(walk->stop), walk->stage);
	else
		(void)printf("blocked: %s (%s)\n", smmuv3_stop_sentence(walk->stop),
			smmuv3_stop_text(walk->stop));
}

json_t *smmuv3_walk_json(const struct smmuv3_walk_result *walk)
{
	json_t *steps = json_array(), *json;

	for (uint32_t i = 0; i < walk->step_count; i++) {
		const struct smmuv3_step *step = &walk->steps[i];

		(void)json_array_append_new(
			steps, json_pack("{s:s, s:i, s:o, s:o}", "kind",
				       smmuv3_step_text((enum smmuv3_step_kind)step->kind), "level",
				       (int)step->level, "address", json_hex(step->phys), "word",
				       json_hex(step->word)));
	}
	json = json_pack("{s:s, s:i, s:o}", "result", smmuv3_stop_text(walk->stop), "stage",
		(int)walk->stage, "steps", steps);
	if (json && walk->stop == SMMUV3_REACHED) {
		(void)json_object_set_new(json, "physical", json_hex(walk->phys));
		(void)json_object_set_new(
			json, "page_size", json_integer((json_int_t)walk->page_size));
		(void)json_object_set_new(json, "writeable", json_boolean(walk->writeable));
	}
	if (json && walk->has_ste)
		(void)json_object_set_new(json, "ste", words_json(walk->ste));
	if (json && walk->has_cd)
		(void)json_object_set_new(json, "cd", words_json(walk->cd));
	return json;
}
