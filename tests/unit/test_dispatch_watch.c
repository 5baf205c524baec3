/* SPDX-License-Identifier: MIT */
/* Events: which, from where on, and to whom first. */
#include "broker_private.h"
#include "dispatch_rig.h"

static struct rig rig, *r = &rig;

#define KIND(name) PASID__V1__EVENT_KIND__EVENT_##name

/* What a link read: kinds, sequences, losses. */
static struct {
	unsigned count, kinds[64];
	uint64_t first, last, lost;
} heard;

static void listen_to(struct link *link)
{
	memset(&heard, 0, sizeof(heard));
	while (rig_read(r, link)) {
		for (size_t i = 0; i < r->got->n_events; i++) {
			const Pasid__V1__Event *event = r->got->events[i];

			ck_assert_uint_gt(event->sequence, heard.last);
			heard.last = event->sequence;
			heard.lost += event->lost;
			heard.kinds[event->kind]++;
			if (event->kind == KIND(UNSPECIFIED))
				continue;
			heard.first = heard.count++ ? heard.first : event->sequence;
		}
	}
}

static uint64_t watch_from(struct link *link, uint64_t from)
{
	Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;

	watch.start_case = PASID__V1__WATCH__START_FROM;
	watch.from = from;
	return rig_ok(r, link, OPERATION(WATCH), &watch)->watch->next_sequence;
}

static void watch_name(struct link *link, const char *name)
{
	Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;

	watch.only_case = PASID__V1__WATCH__ONLY_SET_NAME;
	watch.set_name = (char *)name;
	(void)rig_ok(r, link, OPERATION(WATCH), &watch);
}

static void allocate_many(struct link *link, uint32_t count)
{
	Pasid__V1__Allocate many = PASID__V1__ALLOCATE__INIT;

	many.count = count;
	(void)rig_ok(r, link, OPERATION(ALLOCATE), &many);
}

/* F21 */
START_TEST(events_of_before_are_had_again)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t first = broker_change_sequence(r->f.broker), next;
		struct link *vm = rig_vmm(r, "vm", SET_TRANSLATED);

		(void)rig_allocate(r, vm);
		(void)rig_allocate(r, vm);
		next = watch_from(admin, first);
		ck_assert_uint_eq(next, first + 3);
		ck_assert_uint_eq(r->got->n_events, 3); /* with the reply */
		ck_assert_int_eq(r->got->events[0]->kind, KIND(SET_CREATED));
		ck_assert_uint_eq(r->got->events[0]->sequence, first);
		(void)rig_allocate(r, vm);
		listen_to(admin);
		ck_assert_uint_eq(heard.count, 1);
		ck_assert_uint_eq(heard.first, next);
		/* from the next one on is as without it */
		(void)watch_from(admin, next + 1);
		ck_assert_uint_eq(r->got->n_events, 0);
		(void)rig_allocate(r, vm);
		listen_to(admin);
		ck_assert_uint_eq(heard.first, next + 1);
	}
END_TEST

START_TEST(what_is_to_come_is_no_beginning)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;

		watch.start_case = PASID__V1__WATCH__START_FROM;
		watch.from = broker_change_sequence(r->f.broker) + 1;
		rig_refused(r, admin, OPERATION(WATCH), &watch, REASON_BAD_RANGE);
		watch.start_case = PASID__V1__WATCH__START__NOT_SET;
		watch.only_case = PASID__V1__WATCH__ONLY_SET;
		rig_refused(r, admin, OPERATION(WATCH), &watch, REASON_BAD_ARGUMENT);
		watch_from(admin, 0); /* all that there is */
	}
END_TEST

/* F21: more than a connection keeps is had again from what the daemon keeps */
START_TEST(all_that_is_kept_is_replayed_and_what_is_not_is_a_gap)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN), *vm = rig_hello(r, ROLE_VMM);
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		uint64_t first, last;

		create.name = "vm";
		create.quota_case = PASID__V1__SET_CREATE__QUOTA_PASIDS;
		create.pasids = 20000;
		(void)rig_ok(r, vm, OPERATION(SET_CREATE), &create);
		first = broker_change_sequence(r->f.broker);
		allocate_many(vm, 4000);
		(void)watch_from(admin, first);
		heard.count = (unsigned)r->got->n_events;
		last = heard.count;
		listen_to(admin);
		ck_assert_uint_eq(heard.count + last, 4000);
		ck_assert_uint_eq(heard.lost, 0);
		for (unsigned i = 0; i < 3; i++)
			allocate_many(vm, 4000);
		(void)watch_from(admin, first);
		ck_assert_int_eq(r->got->events[0]->kind, KIND(UNSPECIFIED));
		ck_assert_uint_eq(r->got->events[0]->lost, 16000 - BROKER_CHANGES);
		ck_assert_uint_eq(r->got->events[0]->sequence, first + 16000 - BROKER_CHANGES - 1);
		last = r->got->n_events - 1;
		listen_to(admin);
		ck_assert_uint_eq(heard.count + last, BROKER_CHANGES);
	}
END_TEST

/* It is behind, and reads nothing, while more happens than is kept. */
START_TEST(who_is_overtaken_while_it_is_behind_sees_a_gap)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN), *vm = rig_hello(r, ROLE_VMM);
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		uint64_t first, seen;

		create.name = "vm";
		create.quota_case = PASID__V1__SET_CREATE__QUOTA_PASIDS;
		create.pasids = 30000;
		(void)rig_ok(r, vm, OPERATION(SET_CREATE), &create);
		allocate_many(vm, 4096);
		first = broker_change_sequence(r->f.broker) - 4096;
		(void)watch_from(admin, first);
		seen = r->got->n_events;
		for (unsigned i = 0; i < 4; i++)
			allocate_many(vm, 4096);
		listen_to(admin);
		ck_assert_uint_gt(heard.lost, 0);
		ck_assert_uint_eq(seen + heard.count + heard.lost, UINT64_C(5) * 4096);
		allocate_many(vm, 1);
		listen_to(admin);
		ck_assert_uint_eq(heard.count, 1);
		ck_assert_uint_eq(heard.lost, 0);
	}
END_TEST

START_TEST(all_that_it_was_behind_may_be_gone)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN), *vm = rig_hello(r, ROLE_VMM);
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;
		Pasid__V1__Free all = PASID__V1__FREE__INIT;
		uint64_t from;

		create.name = "vm";
		create.quota_case = PASID__V1__SET_CREATE__QUOTA_PASIDS;
		create.pasids = 20000;
		(void)rig_ok(r, vm, OPERATION(SET_CREATE), &create);
		for (unsigned i = 0; i < 3; i++)
			allocate_many(vm, 4096);
		from = broker_change_sequence(r->f.broker) - 10;
		all.all = true;
		watch.start_case = PASID__V1__WATCH__START_FROM;
		watch.from = from;
		/* in one turn: it begins behind, and then more happens than is kept */
		rig_begin(r);
		(void)rig_add(r, OPERATION(WATCH), &watch);
		ck_assert_int_eq(rig_send(r, admin, NULL, 0), 0);
		rig_begin(r);
		(void)rig_add(r, OPERATION(FREE), &all);
		ck_assert_int_eq(rig_send(r, vm, NULL, 0), 0);
		listen_to(admin);
		ck_assert_uint_eq(
			heard.count + heard.lost, broker_change_sequence(r->f.broker) - from);
		ck_assert_uint_gt(heard.lost, 10);
	}
END_TEST

/* F21 */
START_TEST(a_name_is_watched_before_its_set_is_there)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN), *vm;
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;

		watch_name(admin, "later");
		(void)rig_allocate(r, rig_vmm(r, "other", SET_TRANSLATED));
		vm = rig_vmm(r, "later", SET_TRANSLATED);
		(void)rig_allocate(r, vm);
		listen_to(admin);
		ck_assert_uint_eq(heard.count, 2);
		ck_assert_uint_eq(heard.kinds[KIND(SET_CREATED)], 1);
		destroy.force = true;
		(void)rig_ok(r, vm, OPERATION(SET_DESTROY), &destroy);
		listen_to(admin);
		ck_assert_uint_eq(heard.kinds[KIND(SET_DESTROYED)], 1);
		/* and another one of that name */
		(void)rig_vmm(r, "later", SET_TRANSLATED);
		listen_to(admin);
		ck_assert_uint_eq(heard.kinds[KIND(SET_CREATED)], 1);
		r->f.now_ms += 2000;
		dispatch_tick(r->d);
		listen_to(admin); /* the number of the one that is gone was its, too */
		ck_assert_uint_eq(heard.kinds[KIND(GRANT_RELEASED)], 1);
	}
END_TEST

START_TEST(a_set_and_kinds_are_watched_alone)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct link *vm = rig_vmm(r, "vm", SET_TRANSLATED), *other;
		Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;
		Pasid__V1__EventKind kinds[] = {KIND(GRANT_QUARANTINED), KIND(GRANT_FREE_PENDING)};
		Pasid__V1__Free all = PASID__V1__FREE__INIT;

		other = rig_vmm(r, "other", SET_TRANSLATED);
		watch.only_case = PASID__V1__WATCH__ONLY_SET;
		watch.set = link_set(vm).v;
		watch.n_kinds = 2;
		watch.kinds = kinds;
		(void)rig_ok(r, admin, OPERATION(WATCH), &watch);
		all.all = true;
		(void)rig_allocate(r, vm);
		(void)rig_allocate(r, other);
		(void)rig_ok(r, vm, OPERATION(FREE), &all);
		(void)rig_ok(r, other, OPERATION(FREE), &all);
		listen_to(admin);
		ck_assert_uint_eq(heard.count, 2);
		ck_assert_uint_eq(heard.kinds[KIND(GRANT_QUARANTINED)], 1);
		/* somebody else's set is as one that is not there */
		(void)rig_ok(r, other, OPERATION(WATCH), &watch);
		(void)rig_allocate(r, vm);
		(void)rig_ok(r, vm, OPERATION(FREE), &all);
		listen_to(other);
		ck_assert_uint_eq(heard.count, 0);
	}
END_TEST

static struct link *watch_with(enum role role, Pasid__V1__EventPriority priority)
{
	Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;
	struct link *link = rig_hello(r, role);

	watch.priority = priority;
	(void)rig_ok(r, link, OPERATION(WATCH), &watch);
	return link;
}

/* F21: whoever came first, and whatever else is to be sent to it */
START_TEST(a_higher_class_is_told_before_a_lower_one)
	{
		struct link *vm = rig_vmm(r, "vm", SET_TRANSLATED);
		struct link *device =
			watch_with(ROLE_ADMIN, PASID__V1__EVENT_PRIORITY__EVENT_PRIORITY_DEVICE);
		struct link *unsaid = watch_with(
			ROLE_OBSERVER, PASID__V1__EVENT_PRIORITY__EVENT_PRIORITY_UNSPECIFIED);
		struct link *iommu =
			watch_with(ROLE_ADMIN, PASID__V1__EVENT_PRIORITY__EVENT_PRIORITY_IOMMU);
		struct link *cpu =
			watch_with(ROLE_PARTICIPANT, PASID__V1__EVENT_PRIORITY__EVENT_PRIORITY_CPU);
		struct link *order[5] = {NULL};
		Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;
		Pasid__V1__Allocate one = PASID__V1__ALLOCATE__INIT;
		Pasid__V1__Ping ping = PASID__V1__PING__INIT;
		unsigned count = 0;

		watch.priority = PASID__V1__EVENT_PRIORITY__EVENT_PRIORITY_IOMMU;
		(void)rig_ok(r, vm, OPERATION(WATCH), &watch);
		/* a reply waits for the last class before anything happens */
		rig_begin(r);
		(void)rig_add(r, OPERATION(PING), &ping);
		ck_assert_int_eq(rig_send(r, device, NULL, 0), 0);
		rig_begin(r);
		(void)rig_add(r, OPERATION(PING), &ping);
		ck_assert_int_eq(rig_send(r, cpu, NULL, 0), 0);
		rig_begin(r);
		(void)rig_add(r, OPERATION(ALLOCATE), &one);
		ck_assert_int_eq(rig_send(r, vm, NULL, 0), 0);
		dispatch_pump(r->d);
		for (struct link *link; (link = dispatch_next_output(r->d)) != NULL;) {
			ck_assert_uint_lt(count, 5);
			order[count++] = link;
			ck_assert(dispatch_peek(r->d, link) != NULL);
			dispatch_sent(r->d, link);
			ck_assert(dispatch_peek(r->d, link) == NULL);
		}
		ck_assert_uint_eq(count, 5);
		ck_assert_ptr_eq(order[0], cpu);
		ck_assert(order[1] == iommu || order[2] == iommu);
		ck_assert(order[1] == vm || order[2] == vm);
		ck_assert(order[3] == device || order[4] == device);
		ck_assert(order[3] == unsaid || order[4] == unsaid);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		events_of_before_are_had_again,
		what_is_to_come_is_no_beginning,
		all_that_is_kept_is_replayed_and_what_is_not_is_a_gap,
		who_is_overtaken_while_it_is_behind_sees_a_gap,
		all_that_it_was_behind_may_be_gone,
		a_name_is_watched_before_its_set_is_there,
		a_set_and_kinds_are_watched_alone,
		a_higher_class_is_told_before_a_lower_one,
	};

	return rig_main(r, "dispatch_watch", tests, ARRAY_SIZE(tests));
}
