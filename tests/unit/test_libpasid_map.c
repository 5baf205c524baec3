/* SPDX-License-Identifier: MIT */
/* Maps in memory that a client has open: what it takes for one, and what becomes of it. */
#include "libpasid.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client_fixture.h"

#define PAGE ((size_t)4096)
#define SIZE (4 * PAGE) /* a header, two directories, one table */

/* Memory that says what this number's guest 5 stands for. */
static int memory(uint32_t host, size_t size, int seals)
{
	const uint64_t root = PAGE | 1, directory = 3 * PAGE | 1;
	const uint32_t entry = host | UINT32_C(1) << 31;
	int fd = memfd_create("map", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	ck_assert_int_eq(pwrite(fd, &root, sizeof(root), 24), sizeof(root));
	ck_assert_int_eq(pwrite(fd, &directory, sizeof(directory), (off_t)PAGE), sizeof(directory));
	ck_assert_int_eq(pwrite(fd, &entry, sizeof(entry), (off_t)(3 * PAGE + 20)), sizeof(entry));
	if (seals)
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static int give(uint32_t host)
{
	fake.map_size = (unsigned)SIZE;
	fake.map = memory(host, SIZE, F_SEAL_SHRINK | F_SEAL_GROW);
	return fake.map;
}

static uint32_t found(const struct pasid_map *map)
{
	uint32_t host = 0;
	ck_assert_int_eq(pasid_map_find(map, 5, &host), 1);
	return host;
}

START_TEST(a_map_is_opened_read_and_closed)
	{
		struct pasid_map *map = NULL;
		uint32_t host = 0;
		int fd = give(4000), before = count_fds();
		ck_assert_int_eq(pasid_map_open(client, NULL, &map), 0);
		ck_assert_uint_eq(found(map), 4000);
		ck_assert_int_eq(pasid_map_find(map, 6, &host), 0);
		ck_assert_int_eq(count_fds(), before); /* the mapping needs none */
		ck_assert_int_eq(pasid_map_close(client, map), 0);
		ck_assert_int_eq(pasid_map_close(client, NULL), 0);
		ck_assert_int_eq(pasid_map_close(client, map), -EINVAL);
		close(fd);
	}
END_TEST

START_TEST(a_refusal_leaves_nothing)
	{
		struct pasid_map *map = NULL;
		ck_assert_int_eq(pasid_map_open(client, NULL, &map), PASID_NOT_FOUND);
		ck_assert_str_eq(pasid_last_error(client)->reason, "no-set");
		ck_assert_ptr_null(map);
	}
END_TEST

START_TEST(memory_that_could_shrink_or_is_of_another_size_is_not_mapped)
	{
		struct pasid_map *map = NULL;
		const struct {
			size_t size;
			size_t said;
			int seals;
		} bad[] = {{SIZE, SIZE, 0}, {SIZE, SIZE + PAGE, F_SEAL_SHRINK},
			{SIZE + 1, SIZE + 1, F_SEAL_SHRINK}, {SIZE, 0, F_SEAL_SHRINK}};
		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			fake.map_size = (unsigned)bad[i].said;
			fake.map = memory(4000, bad[i].size, bad[i].seals);
			ck_assert_int_eq(pasid_map_open(client, NULL, &map), -EPROTO);
			ck_assert_str_eq(pasid_last_error(client)->reason, "malformed");
			close(fake.map);
		}
		fake.map_size = (unsigned)SIZE;
		fake.map = open("/dev/null", O_RDWR | O_CLOEXEC);
		ck_assert_int_eq(pasid_map_open(client, NULL, &map), -EPROTO);
		close(fake.map);
		ck_assert_ptr_null(map);
	}
END_TEST

/* Loses the connection; the session is taken up, and everything answered. */
static void lose(void)
{
	fake.drop = 1;
	(void)allocate_one();
	ck_assert_int_eq(pasid_ping(client), 0);
}

START_TEST(another_daemons_memory_takes_its_place)
	{
		struct pasid_map *map = NULL;
		const void *base;
		int fd = give(4000), other;
		ck_assert_int_eq(pasid_map_open(client, NULL, &map), 0);
		base = map->base;
		lose(); /* the same again */
		ck_assert_uint_eq(found(map), 4000);
		other = give(4001);
		ck_assert_uint_eq(found(map), 4000);
		lose();
		ck_assert_ptr_eq(map->base, base);
		ck_assert_uint_eq(found(map), 4001);
		close(fd);
		close(other);
	}
END_TEST

START_TEST(a_map_that_is_no_more_says_so)
	{
		struct pasid_map *maps[2] = {0};
		uint32_t host = 0;
		int fd = give(4000), other;
		ck_assert_int_eq(pasid_map_open(client, NULL, &maps[0]), 0);
		ck_assert_int_eq(pasid_map_open(client, NULL, &maps[1]), 0);
		fake.map = 0;
		lose();
		ck_assert_int_eq(pasid_map_find(maps[0], 5, &host), -ESTALE);
		ck_assert_int_eq(pasid_map_find(maps[1], 5, &host), -ESTALE);
		ck_assert_uint_eq(host, 0);
		ck_assert_int_eq(pasid_map_close(client, maps[1]), 0);
		other = give(4002);
		lose(); /* and is again */
		ck_assert_uint_eq(found(maps[0]), 4002);
		close(fd);
		close(other);
	}
END_TEST

START_TEST(one_that_is_closed_while_it_is_asked_for_is_gone)
	{
		struct pasid_map *map = NULL;
		int fd = give(4000);
		ck_assert_int_eq(pasid_map_open(client, NULL, &map), 0);
		fake.silent = true;
		fake.drop = 1;
		pasid_set_timeout(client, 100);
		ck_assert_int_ne(pasid_ping(client), 0);
		ck_assert_int_eq(pasid_map_close(client, map), 0);
		fake.silent = false;
		pasid_set_timeout(client, 5000);
		lose();
		close(fd);
	}
END_TEST

static void fill(TCase *tcase)
{
	tcase_add_test(tcase, a_map_is_opened_read_and_closed);
	tcase_add_test(tcase, a_refusal_leaves_nothing);
	tcase_add_test(tcase, memory_that_could_shrink_or_is_of_another_size_is_not_mapped);
	tcase_add_test(tcase, another_daemons_memory_takes_its_place);
	tcase_add_test(tcase, a_map_that_is_no_more_says_so);
	tcase_add_test(tcase, one_that_is_closed_while_it_is_asked_for_is_gone);
}

int main(void)
{
	return run_suite("libpasid-maps", fill);
}
