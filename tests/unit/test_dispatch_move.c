/* SPDX-License-Identifier: MIT */
/* A set that moves between two dispatchers, in the messages of who carries it (F42). */
#include "move_messages.h"

/* Each message twice: the second one finds it done, and says the same. */
START_TEST(a_set_moves_and_each_word_is_said_again)
	{
		struct said exported, reserved, given, taken, again;
		Pasid__V1__SetMoveReserve request;

		make_set(SET_TRANSLATED);
		exported = begin();
		ck_assert_int_eq(exported.state, PASID__V1__SET_MOVE_STATE__SET_MOVE_LEAVING);
		ck_assert_uint_eq(exported.set, link_set(vmm).v);
		ck_assert_uint_eq(exported.pasids, COUNT);
		ck_assert_uint_eq(exported.proof_size, PROOF);
		ck_assert_uint_eq(exported.word_size, 0);
		again = begin();
		ck_assert_mem_eq(&again, &exported, sizeof(again));

		request = reserving(&exported, SET_TRANSLATED, GUEST);
		reserved = reserve(&request);
		ck_assert_int_eq(reserved.state, PASID__V1__SET_MOVE_STATE__SET_MOVE_RESERVED);
		ck_assert_mem_eq(reserved.token, exported.token, WORD);
		ck_assert_uint_eq(reserved.sum, exported.sum);
		ck_assert_uint_eq(reserved.pasids, COUNT);
		ck_assert_uint_eq(reserved.uid, RIG_ADMIN_UID);
		ck_assert_uint_eq(reserved.proof_size, PROOF);
		again = reserve(&request);
		ck_assert_mem_eq(&again, &reserved, sizeof(again));

		given = commit(&exported, &reserved);
		ck_assert_int_eq(given.state, PASID__V1__SET_MOVE_STATE__SET_MOVE_GIVEN);
		ck_assert_uint_eq(given.word_size, WORD);
		again = commit(&exported, &reserved);
		ck_assert_mem_eq(&again, &given, sizeof(again));

		taken = take(&exported, &given);
		ck_assert_int_eq(taken.state, PASID__V1__SET_MOVE_STATE__SET_MOVE_TAKEN);
		ck_assert_uint_eq(taken.word_size, WORD);
		again = take(&exported, &given);
		ck_assert_mem_eq(&again, &taken, sizeof(again));

		again = release(&exported, &taken);
		ck_assert_int_eq(again.state, PASID__V1__SET_MOVE_STATE__SET_MOVE_GIVEN);
		ck_assert(again.ending);
		ck_assert(!has_set(source));
		source->f.now_ms += 5000; /* its numbers have cooled */
		dispatch_tick(source->d);
		rig_run(source);
		again = release(&exported, &taken);
		ck_assert_int_eq(again.state, PASID__V1__SET_MOVE_STATE__SET_MOVE_NONE);
		ck_assert_mem_eq(again.token, exported.token, WORD);
		ck_assert(has_set(target));
		close_target();
	}
END_TEST

START_TEST(it_is_reserved_in_pages_for_a_user_and_for_narrow_devices)
	{
		struct said exported, reserved;
		Pasid__V1__SetMoveReserve request;
		Pasid__V1__GrantList list = PASID__V1__GRANT_LIST__INIT;
		const Pasid__V1__GrantListResult *got;

		make_set(SET_TRANSLATED);
		exported = begin();
		request = reserving(&exported, SET_TRANSLATED, GUEST);
		request.owner_case = PASID__V1__SET_MOVE_RESERVE__OWNER_UID;
		request.uid = 1234;
		request.highest_case = PASID__V1__SET_MOVE_RESERVE__HIGHEST_MAX;
		request.max = 5000;
		request.seal = false;
		request.n_grants = 2;
		reserved = reserve(&request);
		ck_assert_int_eq(reserved.state, PASID__V1__SET_MOVE_STATE__SET_MOVE_COMING);
		ck_assert_uint_eq(reserved.proof_size, 0);
		request.first = 2;
		request.grants = grants + 2;
		request.n_grants = 1;
		request.seal = true;
		reserved = reserve(&request);
		ck_assert_uint_eq(reserved.proof_size, PROOF);
		ck_assert_uint_eq(reserved.sum, exported.sum);
		ck_assert_uint_eq(reserved.uid, 1234);
		list.set = the_set("vm");
		got = rig_ok(target, to, OPERATION(GRANT_LIST), &list)->grant_list;
		ck_assert_uint_eq(got->n_grants, COUNT);
		for (size_t i = 0; i < COUNT; i++) {
			ck_assert_uint_le(got->grants[i]->host_pasid, 5000);
			ck_assert_uint_eq(got->grants[i]->data, 100 + i);
		}
		close_target();
	}
END_TEST

/* The source keeps it, and the target lets go of what it reserved by that word. */
START_TEST(a_move_is_called_off)
	{
		struct said exported, reserved, kept, dropped;
		Pasid__V1__SetMoveReserve request;

		make_set(SET_TRANSLATED);
		exported = begin();
		request = reserving(&exported, SET_TRANSLATED, GUEST);
		reserved = reserve(&request);
		kept = cancel(source, &exported, NULL);
		ck_assert_int_eq(kept.state, PASID__V1__SET_MOVE_STATE__SET_MOVE_NONE);
		ck_assert_uint_eq(kept.word_size, WORD);
		ck_assert_uint_eq(cancel(source, &exported, NULL).word_size, WORD);
		dropped = cancel(target, &exported, &kept);
		ck_assert_uint_eq(dropped.word_size, 0);
		ck_assert_mem_eq(dropped.token, exported.token, WORD);
		dropped = cancel(target, &exported, &kept);
		ck_assert_int_eq(dropped.state, PASID__V1__SET_MOVE_STATE__SET_MOVE_NONE);
		ck_assert(!has_set(target));
		ck_assert(has_set(source));
		(void)rig_allocate(source, vmm);

		/* what was kept is not given, and the next move is another one */
		{
			Pasid__V1__SetMoveCommit late = committing(&exported, &reserved);

			rig_refused(
				source, from, OPERATION(SET_MOVE_COMMIT), &late, REASON_NO_MOVE);
		}
		ck_assert_mem_ne(begin().token, exported.token, WORD);
		close_target();
	}
END_TEST

START_TEST(what_is_not_sealed_needs_no_word_and_an_admin_may_vouch)
	{
		struct said exported, reserved;
		Pasid__V1__SetMoveReserve request;
		Pasid__V1__SetMoveCancel off;
		Pasid__V1__SetMoveRelease end;

		make_set(SET_TRANSLATED);
		exported = begin();
		request = reserving(&exported, SET_TRANSLATED, GUEST);
		request.seal = false;
		(void)reserve(&request);
		(void)cancel(target, &exported, NULL);
		request.seal = true;
		reserved = reserve(&request);
		off = cancelling(&exported, NULL);
		rig_refused(target, to, OPERATION(SET_MOVE_CANCEL), &off, REASON_MOVE_WORD);
		off.force = true;
		(void)rig_ok(target, to, OPERATION(SET_MOVE_CANCEL), &off);
		ck_assert(!has_set(target));

		(void)commit(&exported, &reserved);
		end = releasing(&exported, &(struct said){.word_size = 0});
		rig_refused(source, from, OPERATION(SET_MOVE_RELEASE), &end, REASON_BAD_ARGUMENT);
		end.force = true;
		(void)rig_ok(source, from, OPERATION(SET_MOVE_RELEASE), &end);
		ck_assert(!has_set(source));
		close_target();
	}
END_TEST

static const Pasid__V1__Reply *try_connect(struct rig *r)
{
	Pasid__V1__SetConnect request = PASID__V1__SET_CONNECT__INIT;

	request.set = the_set("vm");
	return rig_call(r, r == source ? from : to, OPERATION(SET_CONNECT), &request);
}

START_TEST(a_set_under_way_gets_no_connection)
	{
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		Pasid__V1__SetMoveReserve request;
		struct said exported, reserved, given;

		open_target();
		create.name = (char *)"vm";
		(void)rig_ok(source, from, OPERATION(SET_CREATE), &create);
		exported = begin();
		rig_expect(source, try_connect(source), REASON_SET_MOVING);
		request = reserving(&exported, SET_TRANSLATED, GUEST);
		request.total = 0;
		request.n_grants = 0;
		reserved = reserve(&request);
		rig_expect(target, try_connect(target), REASON_SET_MOVING);
		given = commit(&exported, &reserved);
		rig_expect(source, try_connect(source), REASON_SET_MOVED);
		(void)take(&exported, &given);
		ck_assert_ptr_null(try_connect(target)->status);
		close_target();
	}
END_TEST

/* ---------------------------------------------------------------- words */

/* Of the three words none is taken for another, nor for one that a bit was lost of. */
START_TEST(a_word_is_good_for_one_thing_only)
	{
		struct said exported, reserved, given, taken, kept, second;
		Pasid__V1__SetMoveReserve request;
		Pasid__V1__SetMoveTake taking_it;
		Pasid__V1__SetMoveCancel off;
		Pasid__V1__SetMoveRelease end;

		make_set(SET_TRANSLATED);
		second = begin();
		kept = cancel(source, &second, NULL); /* of another move of the set */
		exported = begin();
		request = reserving(&exported, SET_TRANSLATED, GUEST);
		reserved = reserve(&request);
		given = commit(&exported, &reserved);
		off = cancelling(&exported, &kept);
		rig_refused(target, to, OPERATION(SET_MOVE_CANCEL), &off, REASON_MOVE_WORD);
		off = cancelling(&exported, &given);
		rig_refused(target, to, OPERATION(SET_MOVE_CANCEL), &off, REASON_MOVE_WORD);
		taking_it = taking(&exported, &kept);
		rig_refused(target, to, OPERATION(SET_MOVE_TAKE), &taking_it, REASON_MOVE_WORD);
		for (unsigned bit = 0; bit < 8 * WORD; bit += 13) {
			given.word[bit / 8] ^= (uint8_t)(1u << bit % 8);
			taking_it = taking(&exported, &given);
			rig_refused(
				target, to, OPERATION(SET_MOVE_TAKE), &taking_it, REASON_MOVE_WORD);
			given.word[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		end = releasing(&exported, &given);
		rig_refused(source, from, OPERATION(SET_MOVE_RELEASE), &end, REASON_MOVE_WORD);
		taken = take(&exported, &given);
		for (unsigned bit = 0; bit < 8 * WORD; bit += 13) {
			taken.word[bit / 8] ^= (uint8_t)(1u << bit % 8);
			end = releasing(&exported, &taken);
			rig_refused(
				source, from, OPERATION(SET_MOVE_RELEASE), &end, REASON_MOVE_WORD);
			taken.word[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		off = cancelling(&exported, NULL);
		rig_refused(source, from, OPERATION(SET_MOVE_CANCEL), &off, REASON_MOVE_STEP);
		(void)release(&exported, &taken);
		close_target();
	}
END_TEST

/* Nothing of them is in memory: they are made from the token and a key that is recorded. */
START_TEST(words_are_the_same_after_a_restart)
	{
		struct said exported, reserved, given, taken, again;
		Pasid__V1__SetMoveReserve request;

		make_set(SET_TRANSLATED);
		exported = begin();
		request = reserving(&exported, SET_TRANSLATED, GUEST);
		reserved = reserve(&request);
		given = commit(&exported, &reserved);
		rig_restart(source);
		rig_restart(target);
		from = rig_hello(source, ROLE_ADMIN);
		to = rig_hello(target, ROLE_ADMIN);
		again = reserve(&request);
		ck_assert_mem_eq(&again, &reserved, sizeof(again));
		again = commit(&exported, &reserved);
		ck_assert_mem_eq(&again, &given, sizeof(again));
		taken = take(&exported, &given);
		rig_restart(target);
		to = rig_hello(target, ROLE_ADMIN);
		again = status_of(target, &exported, NULL);
		ck_assert_mem_eq(again.word, taken.word, WORD);
		(void)release(&exported, &taken);
		close_target();
	}
END_TEST

/* ---------------------------------------------------------------- what is refused */

START_TEST(what_has_another_size_is_refused)
	{
		static const size_t sizes[] = {0, 7, WORD - 1};
		struct said exported;

		make_set(SET_TRANSLATED);
		exported = begin();
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			ProtobufCBinaryData wrong = bytes_of(exported.token, sizes[i]);
			Pasid__V1__SetMoveReserve reserved =
				reserving(&exported, SET_TRANSLATED, GUEST);
			Pasid__V1__SetMoveCommit committed = committing(&exported, &exported);
			Pasid__V1__SetMoveTake taken = taking(&exported, &exported);
			Pasid__V1__SetMoveRelease released = releasing(&exported, &exported);
			Pasid__V1__SetMoveCancel cancelled = cancelling(&exported, NULL);

			reserved.proof = committed.proof = taken.word = released.word = wrong;
			rig_refused(target, to, OPERATION(SET_MOVE_RESERVE), &reserved,
				REASON_BAD_ARGUMENT);
			rig_refused(source, from, OPERATION(SET_MOVE_COMMIT), &committed,
				REASON_BAD_ARGUMENT);
			rig_refused(
				target, to, OPERATION(SET_MOVE_TAKE), &taken, REASON_BAD_ARGUMENT);
			rig_refused(source, from, OPERATION(SET_MOVE_RELEASE), &released,
				REASON_BAD_ARGUMENT);
			if (sizes[i]) { /* with none it is for the set to say */
				cancelled.word = wrong;
				rig_refused(target, to, OPERATION(SET_MOVE_CANCEL), &cancelled,
					REASON_BAD_ARGUMENT);
			}
			reserved.token = committed.token = taken.token = released.token =
				cancelled.token = wrong;
			rig_refused(target, to, OPERATION(SET_MOVE_RESERVE), &reserved,
				REASON_BAD_ARGUMENT);
			rig_refused(source, from, OPERATION(SET_MOVE_COMMIT), &committed,
				REASON_BAD_ARGUMENT);
			rig_refused(
				target, to, OPERATION(SET_MOVE_TAKE), &taken, REASON_BAD_ARGUMENT);
			rig_refused(source, from, OPERATION(SET_MOVE_RELEASE), &released,
				REASON_BAD_ARGUMENT);
			rig_refused(source, from, OPERATION(SET_MOVE_CANCEL), &cancelled,
				REASON_BAD_ARGUMENT);
		}
		(void)cancel(source, &exported, NULL);
		close_target();
	}
END_TEST

START_TEST(what_cannot_be_is_refused)
	{
		struct said exported;
		Pasid__V1__SetMoveExport leaving = PASID__V1__SET_MOVE_EXPORT__INIT;
		Pasid__V1__SetMoveReserve request;
		Pasid__V1__SetMoveTake late;

		make_set(SET_TRANSLATED);
		leaving.set = the_set("nobody's");
		rig_refused(source, from, OPERATION(SET_MOVE_EXPORT), &leaving, REASON_NO_SET);
		leaving.set = the_set("vm");
		rig_refused(source, vmm, OPERATION(SET_MOVE_EXPORT), &leaving, REASON_ROLE);
		exported = begin();
		/* to itself */
		request = reserving(&exported, SET_TRANSLATED, GUEST);
		rig_refused(
			source, from, OPERATION(SET_MOVE_RESERVE), &request, REASON_BAD_ARGUMENT);
		request.quota = 2;
		rig_refused(target, to, OPERATION(SET_MOVE_RESERVE), &request, REASON_BAD_ARGUMENT);
		late = taking(&exported, &(struct said){.word_size = WORD});
		rig_refused(target, to, OPERATION(SET_MOVE_TAKE), &late, REASON_NO_MOVE);
		(void)cancel(source, &exported, NULL);
		close_target();
	}
END_TEST

/* Numbers of an identity set that another one has: which they are is no error, and is undone. */
START_TEST(conflicts_are_told_and_nothing_is_reserved)
	{
		struct said exported, reserved;
		struct link *there;
		Pasid__V1__SetMoveReserve request;
		const Pasid__V1__SetMoveInfo *info;
		uint32_t taken;

		make_set(SET_IDENTITY);
		there = rig_vmm(target, "there", SET_TRANSLATED);
		taken = rig_allocate(target, there);
		exported = begin();
		request = reserving(&exported, SET_IDENTITY, taken);
		for (unsigned check = 0; check < 2; check++) {
			request.only_check = check != 0;
			info = rig_ok(target, to, OPERATION(SET_MOVE_RESERVE), &request)
				       ->set_move_reserve;
			ck_assert_uint_eq(info->n_conflicts, 1);
			ck_assert_uint_eq(info->conflicts[0]->first, taken);
			ck_assert_uint_eq(info->conflicts[0]->count, 1);
			ck_assert_uint_eq(info->proof.len, 0);
			ck_assert(!has_set(target));
		}
		request = reserving(&exported, SET_IDENTITY, taken + 1);
		request.only_check = true;
		reserved = reserve(&request);
		ck_assert_uint_eq(reserved.conflicts, 0);
		ck_assert(!has_set(target));
		close_target();
	}
END_TEST

/* ---------------------------------------------------------------- how far it is */

START_TEST(status_says_again_what_was_lost)
	{
		struct said exported, reserved, given, taken, now;
		Pasid__V1__SetMoveReserve request;

		make_set(SET_TRANSLATED);
		exported = begin();
		now = status_of(source, NULL, "vm");
		ck_assert_mem_eq(now.token, exported.token, WORD);
		ck_assert_uint_eq(now.proof_size + now.word_size, 0);
		ck_assert_uint_eq(status_of(source, NULL, NULL).set, exported.set);
		request = reserving(&exported, SET_TRANSLATED, GUEST);
		reserved = reserve(&request);
		now = status_of(target, &exported, NULL);
		ck_assert_mem_eq(now.proof, reserved.proof, PROOF);
		ck_assert_uint_eq(now.word_size, 0);
		given = commit(&exported, &reserved);
		ck_assert_uint_eq(status_of(source, &exported, NULL).word_size, 0);
		taken = take(&exported, &given);
		now = status_of(target, NULL, "vm");
		ck_assert_mem_eq(now.word, taken.word, WORD);
		(void)release(&exported, &taken);
		close_target();
	}
END_TEST

START_TEST(status_has_pages_and_names_what_it_does_not_know)
	{
		static const char *const names[] = {"a", "b", "c"};
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		Pasid__V1__SetMoveExport leaving = PASID__V1__SET_MOVE_EXPORT__INIT;
		Pasid__V1__SetMoveStatus request = PASID__V1__SET_MOVE_STATUS__INIT;
		const Pasid__V1__SetMoveStatusResult *result;
		uint8_t token[WORD] = {1};
		size_t found = 0;

		open_target();
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			create.name = (char *)names[i];
			(void)rig_ok(source, from, OPERATION(SET_CREATE), &create);
			leaving.set = the_set(names[i]);
			(void)rig_ok(source, from, OPERATION(SET_MOVE_EXPORT), &leaving);
		}
		request.limit = 2;
		do {
			result = rig_ok(source, from, OPERATION(SET_MOVE_STATUS), &request)
					 ->set_move_status;
			ck_assert_uint_le(result->n_moves, 2);
			found += result->n_moves;
			request.after = result->next;
		} while (result->next);
		ck_assert_uint_eq(found, ARRAY_SIZE(names));
		ck_assert_uint_eq(rig_ok(target, to, OPERATION(SET_MOVE_STATUS), &request)
					  ->set_move_status->n_moves,
			0);
		request.token = bytes_of(token, WORD);
		rig_refused(source, from, OPERATION(SET_MOVE_STATUS), &request, REASON_NO_MOVE);
		request.token = bytes_of(token, 3);
		rig_refused(
			source, from, OPERATION(SET_MOVE_STATUS), &request, REASON_BAD_ARGUMENT);
		request.set = the_set("d");
		rig_refused(source, from, OPERATION(SET_MOVE_STATUS), &request, REASON_NO_SET);
		close_target();
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_set_moves_and_each_word_is_said_again,
		it_is_reserved_in_pages_for_a_user_and_for_narrow_devices,
		a_move_is_called_off,
		what_is_not_sealed_needs_no_word_and_an_admin_may_vouch,
		a_set_under_way_gets_no_connection,
		a_word_is_good_for_one_thing_only,
		words_are_the_same_after_a_restart,
		what_has_another_size_is_refused,
		what_cannot_be_is_refused,
		conflicts_are_told_and_nothing_is_reserved,
		status_says_again_what_was_lost,
		status_has_pages_and_names_what_it_does_not_know,
	};

	return rig_main(source, "dispatch_move", tests, ARRAY_SIZE(tests));
}
