/* SPDX-License-Identifier: MIT */
/* F45: whose a fault is, decided against a host that says what a test wants. */
#include "explain.h"

#include "suite.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { VM1 = 11, VM2 = 12, OWNED = 13, GONE = 19 };
#define ONE    "0000:3b:00.0"
#define SHARED "0000:5e:00.0"

static const struct pasid_set_info sets[] = {
	{.id = VM1, .name = "vm1", .mode = PASID_SET_TRANSLATED},
	{.id = VM2, .name = "vm2", .mode = PASID_SET_TRANSLATED},
	{.id = OWNED, .name = "owned", .mode = PASID_SET_GUEST_OWNED},
};
static const struct pasid_device_info devices[] = {
	{.id = 1, .kind = PASID_DEVICE_EXCLUSIVE, .address = ONE, .set = VM1},
	{.id = 2, .kind = PASID_DEVICE_SLICE, .address = SHARED, .set = VM1, .shared = 3},
	{.id = 3, .kind = PASID_DEVICE_SHARED, .address = SHARED},
	{.id = 4, .kind = PASID_DEVICE_SLICE, .address = SHARED, .set = VM2, .shared = 3},
	{.id = 5, .kind = PASID_DEVICE_EXCLUSIVE, .address = "0000:5f:00.0", .set = OWNED},
	{.id = 6, .kind = PASID_DEVICE_EXCLUSIVE, .address = "0000:81:00.0", .set = VM1},
	{.id = 7, .kind = PASID_DEVICE_EXCLUSIVE, .address = "0001:81:00.0", .set = VM2},
};
static struct pasid_grant_info grants[8];
static struct {
	const char *address;
	uint64_t set;
	uint32_t pasid; /* 0: the RID */
	enum pasid_binding_state state;
} bindings[8];
static size_t grant_count, binding_count;
static int find_error, bound_error;

/* As the daemon: an idle number is found, and one that several sets have needs its set. */
static int find(void *ctx, uint32_t pasid, uint64_t set, struct pasid_grant_info *ret_info)
{
	unsigned found = 0;

	(void)ctx;
	if (find_error)
		return find_error;
	*ret_info = (struct pasid_grant_info){.host_pasid = pasid, .state = PASID_GRANT_IDLE};
	for (size_t i = 0; i < grant_count; i++) {
		if (grants[i].host_pasid != pasid || (set != 0 && grants[i].set != set))
			continue;
		*ret_info = grants[i];
		found++;
	}
	return found > 1 ? PASID_INVALID : 0;
}

static int bound(void *ctx, const char *address, const uint32_t *pasid, uint64_t set,
	struct pasid_binding_info *ret_info)
{
	(void)ctx;
	if (bound_error)
		return bound_error;
	for (size_t i = 0; i < binding_count; i++) {
		if (strcmp(bindings[i].address, address) != 0 || bindings[i].set != set ||
			bindings[i].pasid != (pasid ? *pasid : 0))
			continue;
		*ret_info = (struct pasid_binding_info){.state = bindings[i].state};
		return 0;
	}
	return PASID_NOT_FOUND;
}

static const struct explain_host host = {
	.devices = devices,
	.device_count = ARRAY_SIZE(devices),
	.sets = sets,
	.set_count = ARRAY_SIZE(sets),
	.reserved_last = 1023,
	.find = find,
	.bound = bound,
};

static void grant(uint32_t pasid, uint64_t set, uint32_t guest, enum pasid_grant_state state)
{
	struct pasid_grant_info *info = &grants[grant_count++];

	*info = (struct pasid_grant_info){.host_pasid = pasid,
		.set = set,
		.has_guest = guest != 0,
		.guest_pasid = guest,
		.state = state};
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		if (sets[i].id == set)
			memcpy(info->set_name, sets[i].name, sizeof(info->set_name));
}

static void bind(const char *address, uint64_t set, uint32_t pasid, enum pasid_binding_state state)
{
	bindings[binding_count].address = address;
	bindings[binding_count].set = set;
	bindings[binding_count].pasid = pasid;
	bindings[binding_count++].state = state;
}

static void setup(void)
{
	grant_count = binding_count = 0;
	find_error = bound_error = 0;
	grant(0x400, VM1, 5, PASID_GRANT_ACTIVE);
	grant(0x500, VM2, 5, PASID_GRANT_ACTIVE);
	bind(ONE, VM1, 0x400, PASID_BINDING_BOUND);
	bind(SHARED, VM2, 0x500, PASID_BINDING_BOUND);
}

static struct explain_finding dma(uint32_t rid, uint32_t pasid)
{
	return (struct explain_finding){.fault = {.kind = FAULT_DMA,
						.iommu = FAULT_VTD,
						.has_rid = true,
						.rid.v = rid,
						.has_pasid = pasid != UINT32_MAX,
						.pasid = pasid != UINT32_MAX ? pasid : 0},
		.count = 1};
}

static struct explain_finding found(uint32_t rid, uint32_t pasid)
{
	struct explain_finding finding = dma(rid, pasid);

	ck_assert_int_eq(explain_find(&host, &finding), 0);
	return finding;
}

#define NO_PASID UINT32_MAX

START_TEST(a_number_is_its_sets_on_its_own_function_and_on_a_shared_one)
	{
		struct explain_finding finding = found(0x3b00, 0x400);

		ck_assert_int_eq(finding.verdict, EXPLAIN_NUMBER);
		ck_assert_str_eq(finding.set_name, "vm1");
		ck_assert_str_eq(finding.address, ONE);
		ck_assert_uint_eq(finding.guest, 5);
		ck_assert(finding.is_bound);
		finding = found(0x5e00, 0x500);
		ck_assert_int_eq(finding.verdict, EXPLAIN_NUMBER);
		ck_assert_str_eq(finding.set_name, "vm2");
		finding = found(0x5e00, 0x400); /* granted, and bound elsewhere */
		ck_assert_int_eq(finding.verdict, EXPLAIN_NUMBER);
		ck_assert(!finding.is_bound);
	}
END_TEST

/* F45 */
START_TEST(another_sets_number_on_a_function_is_never_that_sets_fault)
	{
		struct explain_finding finding = found(0x3b00, 0x500);

		ck_assert_int_eq(finding.verdict, EXPLAIN_STRANGER);
		ck_assert_str_eq(finding.set_name, "vm1");
		ck_assert_str_eq(finding.other_name, "vm2");
		ck_assert(!finding.has_guest && !finding.is_bound);
		finding = found(0x3b00, 0);
		ck_assert_int_eq(finding.verdict, EXPLAIN_STRANGER);
		ck_assert_uint_eq(finding.other, 0);
		grant(0x600, VM1, 0, PASID_GRANT_QUARANTINED);
		finding = found(0x3b00, 0x600);
		ck_assert_int_eq(finding.verdict, EXPLAIN_STRANGER);
		ck_assert_int_eq(finding.state, PASID_GRANT_QUARANTINED);
	}
END_TEST

START_TEST(a_number_that_several_sets_have_is_that_of_whose_slice_it_is)
	{
		struct explain_finding finding;

		grant(0x700, OWNED, 1, PASID_GRANT_ACTIVE);
		grant(0x700, VM2, 9, PASID_GRANT_ACTIVE);
		finding = found(0x5e00, 0x700);
		ck_assert_int_eq(finding.verdict, EXPLAIN_NUMBER);
		ck_assert_str_eq(finding.set_name, "vm2");
		ck_assert_uint_eq(finding.guest, 9);
		grant(0x701, OWNED, 1, PASID_GRANT_ACTIVE);
		grant(0x701, GONE, 1, PASID_GRANT_ACTIVE);
		ck_assert_int_eq(found(0x5e00, 0x701).verdict, EXPLAIN_UNKNOWN_PASID);
		/* on a function of one set nothing has to be told apart */
		ck_assert_int_eq(found(0x3b00, 0x701).verdict, EXPLAIN_STRANGER);
	}
END_TEST

START_TEST(without_a_pasid_the_function_says_whose)
	{
		bind(ONE, VM1, 0, PASID_BINDING_BOUND);
		ck_assert_int_eq(found(0x3b00, NO_PASID).verdict, EXPLAIN_FUNCTION);
		ck_assert(found(0x3b00, NO_PASID).is_bound);
		ck_assert_int_eq(found(0x5e00, NO_PASID).verdict, EXPLAIN_DAEMON);
		ck_assert_uint_eq(found(0x5e00, NO_PASID).set, 0);
		ck_assert_int_eq(found(0x5f00, NO_PASID).verdict, EXPLAIN_FUNCTION);
	}
END_TEST

START_TEST(the_pasids_of_a_guests_own_table_are_the_guests)
	{
		struct explain_finding finding = found(0x5f00, 0x400);

		ck_assert_int_eq(finding.verdict, EXPLAIN_GUEST_TABLE);
		ck_assert_str_eq(finding.set_name, "owned");
		ck_assert_uint_eq(finding.guest, 0x400);
	}
END_TEST

START_TEST(nobodys_is_said_to_be_nobodys)
	{
		ck_assert_int_eq(found(0x5e00, 5).verdict, EXPLAIN_KERNEL_PASID);
		ck_assert_int_eq(found(0x5e00, 0).verdict, EXPLAIN_KERNEL_PASID);
		ck_assert_int_eq(found(0x5e00, 0x999).verdict, EXPLAIN_UNKNOWN_PASID);
		ck_assert_int_eq(found(0x0010, 0x400).verdict, EXPLAIN_UNKNOWN_DEVICE);
		grant(0x800, OWNED, 0, PASID_GRANT_ACTIVE);
		ck_assert_int_eq(found(0x5e00, 0x800).verdict, EXPLAIN_NOT_HERE);
		grant(0x801, VM1, 0, PASID_GRANT_QUARANTINED);
		ck_assert_int_eq(found(0x5e00, 0x801).verdict, EXPLAIN_FREED);
		grant(0x802, VM1, 0, PASID_GRANT_FREE_PENDING);
		ck_assert_int_eq(found(0x5e00, 0x802).verdict, EXPLAIN_NUMBER);
	}
END_TEST

START_TEST(a_function_without_its_segment_may_be_several)
	{
		struct explain_finding finding = found(0x8100, NO_PASID);

		ck_assert_int_eq(finding.verdict, EXPLAIN_AMBIGUOUS);
		ck_assert_uint_eq(finding.set, 0);
		finding = dma(0x18100, NO_PASID);
		finding.fault.has_segment = true;
		ck_assert_int_eq(explain_find(&host, &finding), 0);
		ck_assert_int_eq(finding.verdict, EXPLAIN_FUNCTION);
		ck_assert_str_eq(finding.set_name, "vm2");
	}
END_TEST

START_TEST(what_names_no_function_is_refused_by_its_kind)
	{
		struct explain_finding finding = {.fault.kind = FAULT_DAMAGED};

		ck_assert_int_eq(explain_find(&host, &finding), 0);
		ck_assert_int_eq(finding.verdict, EXPLAIN_DAMAGED);
		finding.fault.kind = FAULT_FOREIGN;
		ck_assert_int_eq(explain_find(&host, &finding), 0);
		ck_assert_int_eq(finding.verdict, EXPLAIN_FOREIGN);
		finding.fault.kind = FAULT_UNIT;
		ck_assert_int_eq(explain_find(&host, &finding), 0);
		ck_assert_int_eq(finding.verdict, EXPLAIN_NO_DEVICE);
		finding = dma(0x3b00, 0x400);
		finding.fault.unknown_stream = true;
		finding.fault.has_stream = true;
		ck_assert_int_eq(explain_find(&host, &finding), 0);
		ck_assert_int_eq(finding.verdict, EXPLAIN_UNKNOWN_DEVICE);
	}
END_TEST

START_TEST(a_host_that_fails_is_no_verdict)
	{
		static const uint32_t rids[] = {0x3b00, 0x5e00};

		for (size_t i = 0; i < ARRAY_SIZE(rids); i++) {
			struct explain_finding finding = dma(rids[i], 0x400);

			find_error = -EPIPE;
			ck_assert_int_eq(explain_find(&host, &finding), -EPIPE);
			find_error = 0;
			bound_error = -EPIPE;
			ck_assert_int_eq(explain_find(&host, &finding), -EPIPE);
			bound_error = 0;
		}
		/* a VMM is not told of others' numbers */
		find_error = PASID_NOT_FOUND;
		ck_assert_int_eq(found(0x3b00, 0x400).verdict, EXPLAIN_STRANGER);
		ck_assert_int_eq(found(0x5e00, 0x400).verdict, EXPLAIN_UNKNOWN_PASID);
	}
END_TEST

static void event(struct explain_finding *finding, uint64_t sequence, enum pasid_event_kind kind,
	uint64_t set, uint32_t pasid, uint64_t device)
{
	const struct pasid_event what = {.sequence = sequence,
		.kind = kind,
		.set = set,
		.host_pasid = pasid,
		.device = device};

	explain_event(&host, finding, &what);
}

START_TEST(the_last_event_is_that_of_the_number_and_its_set)
	{
		struct explain_finding finding = found(0x5e00, 0x500);

		event(&finding, 1, PASID_EVENT_GRANT_ALLOCATED, VM2, 0x500, 0);
		event(&finding, 2, PASID_EVENT_BINDING_BOUND, VM2, 0x500, 4);
		event(&finding, 3, PASID_EVENT_GRANT_ALLOCATED, VM1, 0x500, 0); /* scope rids */
		event(&finding, 4, PASID_EVENT_GRANT_ALLOCATED, VM2, 0x501, 0);
		event(&finding, 5, PASID_EVENT_DEVICE_ADDED, VM2, 0, 4);
		event(&finding, 6, 0, 0, 0, 0);
		ck_assert(finding.last.known);
		ck_assert_uint_eq(finding.last.sequence, 2);
		finding = found(0x5e00, NO_PASID);
		event(&finding, 1, PASID_EVENT_DEVICE_ADDED, 0, 0, 3);
		event(&finding, 2, PASID_EVENT_DEVICE_ADDED, VM1, 0, 1);
		event(&finding, 3, PASID_EVENT_BINDING_BOUND, VM2, 0x500, 4);
		ck_assert_uint_eq(finding.last.sequence, 1);
	}
END_TEST

START_TEST(a_number_that_was_somebodys_is_freed_and_not_unknown)
	{
		struct explain_finding finding = found(0x5e00, 0x999);

		explain_settle(&host, &finding);
		ck_assert_int_eq(finding.verdict, EXPLAIN_UNKNOWN_PASID);
		event(&finding, 9, PASID_EVENT_GRANT_RELEASED, VM2, 0x999, 0);
		explain_settle(&host, &finding);
		ck_assert_int_eq(finding.verdict, EXPLAIN_FREED);
		ck_assert_str_eq(finding.set_name, "vm2");
		finding = found(0x5e00, 0x998);
		event(&finding, 9, PASID_EVENT_GRANT_RELEASED, GONE, 0x998, 0);
		explain_settle(&host, &finding);
		ck_assert_int_eq(finding.verdict, EXPLAIN_FREED);
		ck_assert_uint_eq(finding.set, GONE);
		ck_assert_str_eq(finding.set_name, "");
	}
END_TEST

START_TEST(faults_are_alike_but_for_their_address)
	{
		struct fault a = dma(0x3b00, 0x400).fault, b = a;

		b.address = 0x1000;
		(void)snprintf(b.when, sizeof(b.when), "later");
		ck_assert(explain_is_same(&a, &b));
		b.pasid = 0x401;
		ck_assert(!explain_is_same(&a, &b));
		b = a;
		b.write = true;
		ck_assert(!explain_is_same(&a, &b));
		b = a;
		b.has_rid = false;
		ck_assert(!explain_is_same(&a, &b));
		a = b = (struct fault){.kind = FAULT_UNIT};
		(void)snprintf(b.text, sizeof(b.text), "CMDQ timeout");
		ck_assert(!explain_is_same(&a, &b));
	}
END_TEST

START_TEST(every_sentence_is_whole_whatever_the_names)
	{
		struct explain_finding finding = found(0x3b00, 0x400);
		char text[EXPLAIN_TEXT_MAX];

		memset(finding.set_name, 'x', PASID_NAME_MAX);
		memset(finding.other_name, 'y', PASID_NAME_MAX);
		memset(finding.fault.text, 'z', sizeof(finding.fault.text) - 1);
		memset(finding.fault.client, 'c', sizeof(finding.fault.client) - 1);
		memset(finding.fault.unit, 'u', sizeof(finding.fault.unit) - 1);
		finding.fault.has_code = finding.fault.has_ipa = finding.fault.stalled = true;
		finding.fault.has_address = finding.fault.has_stream = true;
		finding.fault.rid_is_stream = true;
		finding.fault.stream = finding.guest = UINT32_MAX;
		finding.fault.stage = 2;
		finding.fault.ipa = finding.low = UINT64_MAX;
		finding.high = UINT64_MAX - 1;
		finding.other = 1;
		for (unsigned verdict = 0; verdict < EXPLAIN_VERDICT_COUNT; verdict++) {
			finding.verdict = (enum explain_verdict)verdict;
			explain_whose(&finding, text, sizeof(text));
			ck_assert_uint_gt(strlen(text), 0);
			ck_assert_uint_lt(strlen(text), sizeof(text) - 1);
			ck_assert_str_ne(explain_verdict_text(finding.verdict), "unknown");
		}
		for (unsigned kind = 1; kind < FAULT_KIND_COUNT; kind++) {
			finding.fault.kind = (enum fault_kind)kind;
			explain_what(&finding, text, sizeof(text));
			ck_assert_uint_gt(strlen(text), 0);
			ck_assert_uint_lt(strlen(text), sizeof(text) - 1);
		}
		for (uint32_t code = 0; code < 256; code++) {
			finding.fault.code = code;
			finding.fault.iommu = code & 1 ? FAULT_VTD : FAULT_SMMUV3;
			explain_why(&finding, text, sizeof(text));
			ck_assert_uint_lt(strlen(text), sizeof(text) - 1);
		}
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_number_is_its_sets_on_its_own_function_and_on_a_shared_one,
		another_sets_number_on_a_function_is_never_that_sets_fault,
		a_number_that_several_sets_have_is_that_of_whose_slice_it_is,
		without_a_pasid_the_function_says_whose,
		the_pasids_of_a_guests_own_table_are_the_guests,
		nobodys_is_said_to_be_nobodys,
		a_function_without_its_segment_may_be_several,
		what_names_no_function_is_refused_by_its_kind,
		a_host_that_fails_is_no_verdict,
		the_last_event_is_that_of_the_number_and_its_set,
		a_number_that_was_somebodys_is_freed_and_not_unknown,
		faults_are_alike_but_for_their_address,
		every_sentence_is_whole_whatever_the_names,
	};

	return suite_run("explain", "unit", tests, ARRAY_SIZE(tests), setup, NULL);
}
