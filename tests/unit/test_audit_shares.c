/* SPDX-License-Identifier: MIT */
/* Whose refusals are kept: in the trail itself, and by the shares alone where it takes long. */
#include "audit_private.h"
#include "audit_shares.h"
#include "suite.h"

#include <check.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECORDS  AUDIT_RECORDS_MIN
#define REFUSALS (RECORDS / 8)
#define PART     (AUDIT_HEADER_SIZE + RECORDS / 8 * 7 * 128) /* where they are in the file */
#define NOBODY   UINT32_MAX                                  /* no peer is known */
#define HOSTILE  4000u
#define FLOOD    (3 * REFUSALS)

enum { BIND = 48, ALLOCATE = 32, FREE = 33 }; /* some operations */

static const uint8_t boot[16] = {1, 2, 3, 4}, other_boot[16] = {5, 6, 7, 8};
static char directory[] = "/tmp/pasidd-shares-XXXXXX", path[64];
static struct audit *audit;
static struct audit_found found;

static void begin(uint32_t records, const uint8_t *boot_id)
{
	struct audit_error error;

	ck_assert_msg(audit_open(path, records, boot_id, &audit, &error) == 0, "%s", error.text);
	audit_tick(audit, 1000);
}

static void end(void)
{
	audit_close(audit);
	audit = NULL;
}

static void setup(void)
{
	strcpy(strrchr(directory, '-'), "-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/audit", directory);
	begin(RECORDS, boot);
}

static void teardown(void)
{
	end();
	free(found.records);
	memset(&found, 0, sizeof(found));
	(void)unlink(path);
	(void)rmdir(directory);
}

static struct audit_record make(uint32_t uid, uint8_t operation, uint32_t host)
{
	return (struct audit_record){.kind = AUDIT_REFUSED,
		.operation = operation,
		.reason = 20,
		.host = host,
		.rid = AUDIT_NO_RID,
		.uid = uid != NOBODY ? uid : 0,
		.flags = uid != NOBODY ? AUDIT_HAS_PEER : 0};
}

/* Refuses it `count` times, about the numbers from `host` on. */
static void refuse(uint32_t uid, uint8_t operation, uint32_t host, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct audit_record record = make(uid, operation, host + i);

		audit_write(audit, AUDIT_REFUSALS, &record);
	}
}

static void flood(void)
{
	refuse(HOSTILE, FREE, 0, FLOOD);
}

static size_t look(void)
{
	const struct audit_query all = {0};
	struct audit_error error;

	free(found.records);
	memset(&found, 0, sizeof(found));
	ck_assert_msg(audit_read(path, &all, &found, &error) == 0, "%s", error.text);
	for (size_t i = 1; i < found.count; i++)
		ck_assert_uint_le(found.records[i - 1].sequence, found.records[i].sequence);
	return found.count;
}

static bool is_of(const struct audit_record *record, uint32_t uid)
{
	return (record->flags & AUDIT_HAS_PEER ? record->uid : NOBODY) == uid;
}

/* How many records of this user are there, of operation 0: any? */
static uint32_t kept(uint32_t uid, uint8_t operation)
{
	uint32_t count = 0;

	(void)look();
	for (size_t i = 0; i < found.count; i++)
		count += is_of(&found.records[i], uid) &&
			 (operation == 0 || found.records[i].operation == operation);
	return count;
}

START_TEST(a_flood_of_one_user_leaves_what_others_were_refused)
	{
		refuse(1, BIND, 100, 5);
		refuse(HOSTILE, FREE, 0, REFUSALS);
		refuse(2, BIND, 200, 7);
		flood();
		ck_assert_uint_eq(look(), REFUSALS);
		ck_assert_uint_eq(kept(1, 0), 5);
		ck_assert_uint_eq(kept(2, 0), 7);
		ck_assert_uint_eq(kept(HOSTILE, 0), REFUSALS - 12);
		/* of its own the last ones */
		ck_assert_uint_eq(found.records[found.count - 1].host, FLOOD - 1);
		ck_assert_uint_eq(found.records[12].host, FLOOD - (REFUSALS - 12));
	}
END_TEST

START_TEST(a_flood_leaves_most_else_of_its_own_user)
	{
		struct audit_record other = make(HOSTILE, FREE, 300);

		refuse(HOSTILE, BIND, 100, 3);
		refuse(HOSTILE, ALLOCATE, 200, 3);
		other.reason = 21;
		audit_write(audit, AUDIT_REFUSALS, &other);
		other.reason = 20;
		other.set = 7;
		audit_write(audit, AUDIT_REFUSALS, &other);
		flood();
		ck_assert_uint_eq(kept(HOSTILE, BIND), 3);
		ck_assert_uint_eq(kept(HOSTILE, ALLOCATE), 3);
		ck_assert_uint_eq(kept(HOSTILE, 0), REFUSALS);
		ck_assert_uint_eq(found.records[6].reason, 21);
		ck_assert_uint_eq(found.records[7].set, 7);
	}
END_TEST

START_TEST(two_floods_have_a_half_each)
	{
		refuse(1, BIND, 0, REFUSALS);
		for (uint32_t i = 0; i < FLOOD; i++) {
			refuse(1, BIND, i, 3);
			refuse(2, BIND, i, 1);
		}
		ck_assert_uint_eq(kept(1, 0), REFUSALS / 2);
		ck_assert_uint_eq(kept(2, 0), REFUSALS / 2);
	}
END_TEST

START_TEST(who_varies_its_requests_gets_no_more)
	{
		refuse(1, BIND, 100, 5);
		for (uint32_t i = 0; i < FLOOD; i++)
			refuse(HOSTILE, (uint8_t)(16 + i % 40), i, 1);
		for (uint32_t i = 0; i < 400; i++)
			refuse(2, BIND, i, 1);
		ck_assert_uint_eq(kept(1, 0), 5);
		ck_assert_uint_eq(kept(2, 0), 400);
		for (uint32_t i = 0; i < FLOOD; i++)
			refuse(HOSTILE, (uint8_t)(16 + i % 40), i, 1);
		ck_assert_uint_eq(kept(1, 0), 5);
		ck_assert_uint_eq(kept(2, 0), 400);
	}
END_TEST

/* uid 0 of nobody in particular is not root. */
START_TEST(what_nobody_is_known_to_have_caused_is_a_user_of_its_own)
	{
		refuse(0, BIND, 100, 5);
		refuse(NOBODY, 0, 0, FLOOD);
		ck_assert_uint_eq(kept(0, 0), 5);
		ck_assert_uint_eq(kept(NOBODY, 0), REFUSALS - 5);
		refuse(0, BIND, 100, FLOOD);
		ck_assert_uint_eq(kept(NOBODY, 0), REFUSALS / 2);
	}
END_TEST

START_TEST(many_users_keep_a_fair_share_each)
	{
		for (uint32_t i = 0; i < FLOOD; i++) {
			for (uint32_t uid = 1; uid <= 100; uid++)
				refuse(uid, BIND, i, i < 20);
			refuse(HOSTILE, BIND, i, 1);
		}
		for (uint32_t uid = 1; uid <= 100; uid++) {
			ck_assert_uint_ge(kept(uid, 0), REFUSALS / 101);
			ck_assert_uint_le(kept(uid, 0), REFUSALS / 101 + 1);
		}
		ck_assert_uint_le(kept(HOSTILE, 0), REFUSALS / 101 + 1);
	}
END_TEST

/* Of this boot, or another: whose they are is known from the file. */
START_TEST(shares_outlive_the_daemon)
	{
		const uint8_t *boots[] = {boot, other_boot, boot, boot};

		refuse(1, BIND, 100, 5);
		for (size_t i = 0; i < ARRAY_SIZE(boots); i++) {
			end();
			begin(RECORDS, boots[i]);
			refuse(2 + (uint32_t)i, BIND, 200, 7);
			flood();
		}
		ck_assert_uint_eq(look(), REFUSALS);
		ck_assert_uint_eq(kept(1, 0), 5);
		for (uint32_t i = 0; i < ARRAY_SIZE(boots); i++)
			ck_assert_uint_eq(kept(2 + i, 0), 7);
		ck_assert_uint_eq(found.damaged, 0);
		/* and it goes on in their order */
		refuse(HOSTILE, FREE, 1 << 19, 10);
		ck_assert_uint_eq(kept(HOSTILE, 0), REFUSALS - 33);
		ck_assert_uint_eq(found.records[33].host, FLOOD - (REFUSALS - 33) + 10);
	}
END_TEST

/* Not in the order of their places, as those of a ring would be. */
START_TEST(each_that_was_not_settled_is_doubtful)
	{
		for (uint32_t i = 0; i < 3; i++) {
			refuse(1, BIND, 0, REFUSALS);
			refuse(2, BIND, 0, REFUSALS / 3 + i);
		}
		audit_settled(audit);
		for (uint32_t i = 0; i < 10; i++) {
			refuse(1, BIND, 5000, 1);
			refuse(2, BIND, 5000, 1);
			refuse(3, BIND, 5000, 1);
			refuse(4, BIND, 5000, 1);
		}
		end();
		begin(RECORDS, boot);
		ck_assert_uint_eq(look(), REFUSALS);
		for (size_t i = 0; i < found.count; i++)
			ck_assert_uint_eq(found.records[i].flags & AUDIT_DOUBTFUL,
				found.records[i].host == 5000 ? AUDIT_DOUBTFUL : 0);
		ck_assert_uint_eq(found.records[REFUSALS - 40].host, 5000);
	}
END_TEST

/* The header is one behind, as when the daemon is killed between the two. */
START_TEST(no_sequence_is_used_twice)
	{
		struct audit_header before;
		int fd = open(path, O_RDWR | O_CLOEXEC);

		refuse(1, BIND, 0, REFUSALS);
		ck_assert_int_eq(pread(fd, &before, sizeof(before), 0), sizeof(before));
		refuse(2, BIND, 1, 1);
		ck_assert_int_eq(pwrite(fd, &before, sizeof(before), 0), sizeof(before));
		close(fd);
		end();
		begin(RECORDS, boot);
		refuse(2, BIND, 2, 1);
		ck_assert_uint_eq(kept(2, 0), 2);
		ck_assert_uint_eq(found.records[found.count - 1].sequence, REFUSALS + 2);
	}
END_TEST

static void patch(int fd, uint32_t slot, const void *bytes, size_t size)
{
	const off_t at = (off_t)PART + (off_t)slot * 128;

	ck_assert_int_eq(pwrite(fd, bytes, size, at), (ssize_t)size);
}

static uint32_t count_whole(int fd)
{
	static struct audit_record slots[REFUSALS];
	uint32_t whole = 0;

	ck_assert_int_eq(pread(fd, slots, sizeof(slots), PART), sizeof(slots));
	for (uint32_t i = 0; i < REFUSALS; i++)
		whole += audit_is_whole(&slots[i]);
	return whole;
}

/* Torn ones, other bytes, one sequence twice, kinds and operations that there are not. */
START_TEST(a_damaged_part_is_used_as_far_as_it_is_whole)
	{
		struct audit_record record = make(7, 255, UINT32_MAX);
		uint8_t bytes[128];
		uint32_t whole;
		int fd;

		refuse(1, BIND, 0, 8);
		refuse(HOSTILE, FREE, 0, REFUSALS);
		refuse(2, BIND, 0, 8);
		end();
		fd = open(path, O_RDWR | O_CLOEXEC);
		memset(bytes, 0xff, sizeof(bytes));
		record.kind = 255;
		record.reason = 255;
		record.set = record.time_ms = UINT64_MAX;
		record.sequence = 5;
		record.check = audit_check(&record);
		for (uint32_t i = 24; i < REFUSALS; i += 3) /* behind those of 1 and 2 */
			patch(fd, i, bytes, i % 2 == 0 ? 8 : sizeof(bytes));
		for (uint32_t i = 25; i < 25 + 60; i += 3)
			patch(fd, i, &record, sizeof(record));
		whole = count_whole(fd);
		ck_assert_uint_lt(whole, REFUSALS - REFUSALS / 4);
		begin(RECORDS, boot);
		refuse(HOSTILE, FREE, 0, REFUSALS - whole - 1);
		ck_assert_uint_eq(count_whole(fd), REFUSALS - 1);
		refuse(HOSTILE, FREE, 0, 1);
		ck_assert_uint_eq(count_whole(fd), REFUSALS);
		ck_assert_uint_eq(kept(7, 0), 1); /* the same twice is shown once */
		flood();
		ck_assert_uint_eq(count_whole(fd), REFUSALS);
		ck_assert_uint_eq(kept(1, 0), 8);
		ck_assert_uint_eq(kept(2, 0), 8);
		close(fd);
	}
END_TEST

/* It has only the space that it needs. */
START_TEST(a_large_trail_grows_before_it_overwrites)
	{
		const uint32_t records = 1 << 18;

		end();
		ck_assert_int_eq(unlink(path), 0);
		begin(records, boot);
		refuse(1, BIND, 0, AUDIT_CHUNK + 10);
		ck_assert_uint_eq(look(), AUDIT_CHUNK + 10);
		end();
		begin(records, boot);
		refuse(HOSTILE, FREE, 0, 3 * AUDIT_CHUNK);
		ck_assert_uint_eq(look(), 4 * AUDIT_CHUNK + 10);
		ck_assert_uint_eq(found.records[0].host, 0);
		ck_assert(!audit_is_short(audit));
	}
END_TEST

#define SKIPPED 77

static void fill(const char *name)
{
	static const uint8_t page[4096];
	const int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	while (write(fd, page, sizeof(page)) == (ssize_t)sizeof(page))
		continue;
	close(fd);
}

/* In a file system of its own: of a whole trail's space only the beginning is there. */
static int be_short(void)
{
	char filler[80];

	end();
	(void)unlink(path);
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", directory, "tmpfs", 0, "size=20m") < 0)
		return SKIPPED;
	begin(1 << 18, boot);
	(void)snprintf(filler, sizeof(filler), "%s/filler", directory);
	fill(filler);
	refuse(1, BIND, 0, 10);
	refuse(HOSTILE, FREE, 0, 2 * AUDIT_CHUNK);
	ck_assert(audit_is_short(audit));
	ck_assert_uint_eq(look(), AUDIT_CHUNK);
	ck_assert_uint_eq(kept(1, 0), 10);
	ck_assert_int_eq(unlink(filler), 0);
	refuse(HOSTILE, FREE, 0, 2 * AUDIT_CHUNK); /* not at once: it asks once in a while */
	ck_assert(!audit_is_short(audit));
	ck_assert_uint_gt(look(), AUDIT_CHUNK);
	ck_assert_uint_eq(kept(1, 0), 10);
	end();
	return 0;
}

START_TEST(on_a_full_disk_each_has_a_share_of_what_there_is)
	{
		const pid_t child = fork();
		int status;

		if (child == 0)
			_exit(be_short());
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFEXITED(status));
		if (WEXITSTATUS(status) == SKIPPED)
			printf("SKIP: on_a_full_disk_each_has_a_share_of_what_there_is: "
			       "only root can mount one\n");
		else
			ck_assert_int_eq(WEXITSTATUS(status), 0);
	}
END_TEST

/* ---------------------------------------------------------------- the shares alone */

#define SLOTS 1024u
#define LATER (10 * AUDIT_STALE_MS)

static struct audit_record slots[SLOTS];
static uint64_t sequence;

static struct audit_shares *shares_begin(void)
{
	struct audit_shares *shares = audit_shares_new(SLOTS);

	ck_assert_ptr_nonnull(shares);
	memset(slots, 0, sizeof(slots));
	audit_shares_give(shares, 0, SLOTS);
	return shares;
}

static void store(struct audit_shares *shares, uint32_t uid, uint64_t time_ms, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct audit_record record = make(uid, BIND, 0);
		uint32_t slot;

		record.time_ms = time_ms;
		record.sequence = ++sequence;
		record.check = audit_check(&record);
		slot = audit_shares_take(shares, &record);
		ck_assert_uint_lt(slot, SLOTS);
		slots[slot] = record;
	}
}

static uint32_t held(uint32_t uid)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < SLOTS; i++)
		count += slots[i].sequence != 0 && is_of(&slots[i], uid);
	return count;
}

/* As the next daemon finds them. */
static struct audit_shares *shares_again(struct audit_shares *shares)
{
	uint64_t last;
	uint32_t next;

	audit_shares_free(shares);
	shares = audit_shares_new(SLOTS);
	ck_assert_ptr_nonnull(shares);
	ck_assert_int_eq(audit_shares_rebuild(shares, slots, SLOTS, &last, &next), 0);
	ck_assert_uint_eq(last, sequence);
	ck_assert_uint_eq(slots[next - 1].sequence, sequence);
	return shares;
}

START_TEST(more_users_than_places_have_one_share_together)
	{
		struct audit_shares *shares = shares_begin();

		for (uint32_t uid = 1; uid <= AUDIT_USERS; uid++)
			store(shares, uid, LATER, 3);
		for (int round = 0; round < 2; round++) {
			store(shares, 1001, LATER + AUDIT_STALE_MS - 1, 100);
			store(shares, 1002, LATER + AUDIT_STALE_MS - 1, 3 * SLOTS);
			for (uint32_t uid = 1; uid <= AUDIT_USERS; uid++)
				ck_assert_uint_eq(held(uid), 3);
			ck_assert_uint_eq(held(1001), 0);
			ck_assert_uint_eq(held(1002), SLOTS - 3 * AUDIT_USERS);
			ck_assert(audit_shares_is_full(shares));
			shares = shares_again(shares);
		}
		audit_shares_free(shares);
	}
END_TEST

START_TEST(a_place_is_given_up_when_its_user_was_long_not_refused)
	{
		struct audit_shares *shares = shares_begin();

		store(shares, 1, LATER - 1, 3);
		for (uint32_t uid = 2; uid <= AUDIT_USERS; uid++)
			store(shares, uid, LATER, 3);
		store(shares, 2, LATER, 3);
		store(shares, 1001, LATER + AUDIT_STALE_MS - 1, 5); /* has that of 1 */
		store(shares, 1002, LATER + AUDIT_STALE_MS - 1, 2 * SLOTS);
		ck_assert_uint_eq(held(1), 0);
		ck_assert_uint_eq(held(1001), 5);
		ck_assert_uint_eq(held(AUDIT_USERS), 3);
		for (uint32_t uid = 2001; uid < 2001 + AUDIT_USERS; uid++)
			store(shares, uid, LATER + 2 * AUDIT_STALE_MS, 7);
		store(shares, 3001, LATER + 2 * AUDIT_STALE_MS, 2 * SLOTS);
		ck_assert_uint_eq(held(2), 0);
		ck_assert_uint_eq(held(1001), 0);
		for (uint32_t uid = 2001; uid < 2001 + AUDIT_USERS; uid++)
			ck_assert_uint_ge(held(uid), 7);
		audit_shares_free(shares);
	}
END_TEST

/* A clock that stood in the future, or in 1970. */
START_TEST(a_wrong_clock_gives_up_nothing)
	{
		struct audit_shares *shares = shares_begin();

		for (uint32_t uid = 1; uid <= AUDIT_USERS; uid++)
			store(shares, uid, uid % 2 ? UINT64_MAX : LATER, 3);
		store(shares, 1001, 0, SLOTS);
		store(shares, 1002, AUDIT_STALE_MS, SLOTS);
		for (uint32_t uid = 1; uid <= AUDIT_USERS; uid++)
			ck_assert_uint_eq(held(uid), 3);
		audit_shares_free(shares);
	}
END_TEST

START_TEST(an_empty_part_has_free_slots_only)
	{
		struct audit_shares *shares = audit_shares_new(SLOTS);
		uint64_t last = 1;
		uint32_t next = 1;

		memset(slots, 0, sizeof(slots));
		ck_assert(audit_shares_is_full(shares));
		ck_assert_int_eq(audit_shares_rebuild(shares, slots, SLOTS, &last, &next), 0);
		ck_assert_uint_eq(last, 0);
		ck_assert_uint_eq(next, 0);
		ck_assert(!audit_shares_is_full(shares));
		for (uint32_t i = 0; i < SLOTS; i++) {
			const struct audit_record record = make(i, BIND, 0);

			ck_assert_uint_eq(audit_shares_take(shares, &record), i);
		}
		ck_assert(audit_shares_is_full(shares));
		audit_shares_free(shares);
		audit_shares_free(NULL);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_flood_of_one_user_leaves_what_others_were_refused,
		a_flood_leaves_most_else_of_its_own_user,
		two_floods_have_a_half_each,
		who_varies_its_requests_gets_no_more,
		what_nobody_is_known_to_have_caused_is_a_user_of_its_own,
		many_users_keep_a_fair_share_each,
		shares_outlive_the_daemon,
		each_that_was_not_settled_is_doubtful,
		no_sequence_is_used_twice,
		a_damaged_part_is_used_as_far_as_it_is_whole,
		a_large_trail_grows_before_it_overwrites,
		on_a_full_disk_each_has_a_share_of_what_there_is,
		more_users_than_places_have_one_share_together,
		a_place_is_given_up_when_its_user_was_long_not_refused,
		a_wrong_clock_gives_up_nothing,
		an_empty_part_has_free_slots_only,
	};

	return suite_run("audit_shares", "audit_shares", tests, ARRAY_SIZE(tests), setup, teardown);
}
