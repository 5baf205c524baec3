/* SPDX-License-Identifier: MIT */
#include "sim_memory.h"

#include <errno.h>
#include <string.h>
#include <time.h>

int sim_mutex_init(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attr;
	int r = pthread_mutexattr_init(&attr);

	if (r != 0)
		return -r;
	r = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	if (r == 0)
		r = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	if (r == 0)
		r = pthread_mutex_init(mutex, &attr);
	(void)pthread_mutexattr_destroy(&attr);
	return -r;
}

int sim_lock(struct sim *sim)
{
	struct sim_header *header = sim->header;
	int r = pthread_mutex_lock(&header->lock);

	if (r == EOWNERDEAD) {
		header->stale = 1;
		r = pthread_mutex_consistent(&header->lock);
	}
	if (r != 0)
		return -r;
	if (!header->stale)
		return 0;
	r = sim_rebuild(sim);
	if (r < 0)
		(void)pthread_mutex_unlock(&header->lock);
	return r;
}

void sim_unlock(struct sim *sim)
{
	(void)pthread_mutex_unlock(&sim->header->lock);
}

int sim_unit_lock(struct sim *sim, uint32_t unit, bool wait)
{
	struct sim_unit *u = &sim->header->units[unit];
	int r = wait ? pthread_mutex_lock(&u->lock) : pthread_mutex_trylock(&u->lock);

	if (r == EOWNERDEAD) {
		/* Died in a hang: nothing was under way. In a replacement: half of it was. */
		if (u->changing)
			sim->header->stale = 1;
		u->changing = 0;
		r = pthread_mutex_consistent(&u->lock);
	}
	return -r;
}

void sim_unit_unlock(struct sim *sim, uint32_t unit)
{
	(void)pthread_mutex_unlock(&sim->header->units[unit].lock);
}

static bool page_used(const struct sim *sim, uint32_t page)
{
	return (sim->bitmap[page / 64] >> page % 64 & 1) != 0;
}

/* Is a row free from `page` on? Otherwise *ret_next is where the next may start. */
static bool row_free(const struct sim *sim, uint32_t page, uint32_t count, uint32_t *ret_next)
{
	for (uint32_t i = 0; i < count; i++) {
		if (page + i >= sim->header->page_count || page_used(sim, page + i)) {
			*ret_next = page + i + 1;
			return false;
		}
	}
	return true;
}

static bool row_find(
	const struct sim *sim, uint32_t from, uint32_t to, uint32_t count, uint32_t *ret_page)
{
	uint32_t page = from;

	while (page < to) {
		if (sim->bitmap[page / 64] == UINT64_MAX) {
			page = (page / 64 + 1) * 64;
		} else if (row_free(sim, page, count, &page)) {
			*ret_page = page;
			return true;
		}
	}
	return false;
}

int sim_pages_alloc(struct sim *sim, uint32_t count, uint64_t *ret_phys)
{
	struct sim_header *header = sim->header;
	uint32_t page;

	if (!row_find(sim, header->page_next, header->page_count, count, &page) &&
		!row_find(sim, 0, header->page_next, count, &page))
		return -ENOMEM;
	for (uint32_t i = page; i < page + count; i++)
		sim->bitmap[i / 64] |= 1ull << i % 64;
	header->page_next = page + count;
	*ret_phys = header->pool + (uint64_t)page * SIM_PAGE;
	memset(sim_word(sim, *ret_phys), 0, (size_t)count * SIM_PAGE);
	return 0;
}

void sim_pages_free(struct sim *sim, uint64_t phys, uint32_t count)
{
	uint32_t page = (uint32_t)((phys - sim->header->pool) / SIM_PAGE);

	for (uint32_t i = page; i < page + count; i++)
		sim->bitmap[i / 64] &= ~(1ull << i % 64);
	if (page < sim->header->page_next)
		sim->header->page_next = page;
}

void sim_pages_reset(struct sim *sim)
{
	memset(sim->bitmap, 0, (sim->header->page_count + 63) / 64 * sizeof(*sim->bitmap));
	sim->header->page_next = 0;
}

uint64_t *sim_word(struct sim *sim, uint64_t phys)
{
	struct sim_header *header = sim->header;

	if (phys % sizeof(uint64_t) != 0 || phys < header->pool || phys >= header->size)
		return NULL;
	return (uint64_t *)(void *)((char *)header + phys);
}

uint64_t sim_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void sim_sleep_us(uint64_t us)
{
	struct timespec left = {
		.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};

	while (us > 0 && clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
		;
}
