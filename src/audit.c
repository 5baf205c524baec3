/* SPDX-License-Identifier: MIT */
/* The writer of the audit trail. */
#include "audit_private.h"
#include "audit_shares.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define AUDIT_AT_ONCE  (16u << 20) /* bytes of a trail whose space is made when it is opened */
#define AUDIT_SPARE    (16u << 20) /* bytes of the file system that are left to others */
#define AUDIT_CLOCK_MS 1000u       /* after which the wall clock is read again */

struct ring {
	struct audit_record *slots;
	uint64_t offset;   /* in the file */
	uint32_t capacity; /* in records, as all here */
	uint32_t reserved; /* have space */
	uint32_t next;
};

/* The refusals' part is no ring: its slots are taken as audit_shares.h says. */
struct refusals {
	struct audit_shares *shares;
	uint32_t written;  /* modulo 2^32 */
	uint32_t patience; /* records until space is asked for again */
};

struct audit {
	int fd;
	struct audit_header *header; /* the whole file is mapped */
	size_t size;
	struct ring rings[AUDIT_RINGS];
	struct refusals refusals;
	uint64_t sequence; /* of the last record */
	uint64_t now_ms, clock_at_ms, wall_ms;
	uint32_t boot;
	bool is_short;
};

int audit_fail(struct audit_error *ret_error, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
	va_end(args);
	return r;
}

/* ---------------------------------------------------------------- a file that fails */

/* The mapping of the one trail that is open: a signal handler has no argument of its own. */
static struct {
	uint8_t *base; /* NULL: none */
	size_t size;
	volatile sig_atomic_t lost;
} guarded;

/* The daemon does without its trail rather than end: memory takes the place of the file. */
static void guard_on_bus(int number, siginfo_t *info, void *context)
{
	const uintptr_t at = (uintptr_t)info->si_addr, base = (uintptr_t)guarded.base;

	(void)context;
	if (info->si_code > 0 && guarded.base != NULL && at - base < guarded.size &&
		mmap(guarded.base, guarded.size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
			0) == (void *)guarded.base) {
		guarded.lost = 1;
		return;
	}
	(void)signal(number, SIG_DFL); /* it happens again, and ends us */
}

static void guard_begin(uint8_t *base, size_t size)
{
	struct sigaction action = {.sa_sigaction = guard_on_bus, .sa_flags = SA_SIGINFO};

	guarded.base = base;
	guarded.size = size;
	guarded.lost = 0;
	(void)sigaction(SIGBUS, &action, NULL);
}

static void guard_end(const struct audit *audit)
{
	if ((uint8_t *)audit->header != guarded.base)
		return;
	(void)signal(SIGBUS, SIG_DFL);
	guarded.base = NULL;
}

bool audit_is_lost(const struct audit *audit)
{
	return audit != NULL && (uint8_t *)audit->header == guarded.base && guarded.lost != 0;
}

/* ---------------------------------------------------------------- space */

/* May we take a chunk, so that others have room for what they cannot do without? */
static bool audit_has_room(int fd)
{
	struct statvfs fs;

	return fstatvfs(fd, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize >= AUDIT_SPARE;
}

/*
 * Space for the next chunk; a ring without is done from its beginning. `is_there`: the file has it,
 * perhaps with holes.
 */
static bool ring_reserve(struct audit *audit, struct ring *ring, bool is_there)
{
	const size_t chunk = AUDIT_CHUNK * sizeof(struct audit_record);
	const off_t at = (off_t)(ring->offset + (uint64_t)ring->reserved * sizeof(ring->slots[0]));
	int r = is_there || audit_has_room(audit->fd) ? 0 : -1;

	if (r == 0)
		do
			r = fallocate(audit->fd, 0, at, (off_t)chunk);
		while (r < 0 && errno == EINTR);
	audit->is_short = r < 0;
	if (r < 0)
		return false;
	/* Now, and together: one by one, at the first store into each, pages cost more than the
	 * records in them. Kernels before 5.14 do not know it. */
	(void)madvise(ring->slots + ring->reserved, chunk, MADV_POPULATE_WRITE);
	ring->reserved += AUDIT_CHUNK;
	return true;
}

/* What is overwritten next may have to be read from a disk first. */
static void ring_prefetch(const struct ring *ring, uint32_t at)
{
	if (at + AUDIT_CHUNK <= ring->reserved)
		(void)madvise(
			ring->slots + at, AUDIT_CHUNK * sizeof(ring->slots[0]), MADV_WILLNEED);
}

/* The slot for the next record; NULL: there is no space at all. */
static struct audit_record *ring_take(struct audit *audit, struct ring *ring)
{
	struct audit_record *slot;

	if (ring->next >= ring->capacity ||
		(ring->next >= ring->reserved && !ring_reserve(audit, ring, false)))
		ring->next = 0;
	if (ring->next >= ring->reserved && !ring_reserve(audit, ring, false))
		return NULL;
	slot = &ring->slots[ring->next++];
	if (ring->next % AUDIT_CHUNK == 0)
		ring_prefetch(ring, ring->next);
	return slot;
}

/* Space for more, as long as there may be some; not asked for with each record when the disk is
 * full. */
static void refusals_grow(struct audit *audit, struct ring *ring)
{
	struct refusals *refusals = &audit->refusals;
	const uint32_t first = ring->reserved;

	if (first >= ring->capacity)
		return;
	if (refusals->patience > 0) {
		refusals->patience--;
	} else if (ring_reserve(audit, ring, false)) {
		audit_shares_give(refusals->shares, first, AUDIT_CHUNK);
	} else {
		refusals->patience = AUDIT_CHUNK;
	}
}

/* The slot for this record, whose time is known. */
static struct audit_record *refusals_take(
	struct audit *audit, struct ring *ring, const struct audit_record *record)
{
	struct refusals *refusals = &audit->refusals;
	uint32_t slot;

	if (audit_shares_is_full(refusals->shares))
		refusals_grow(audit, ring);
	slot = audit_shares_take(refusals->shares, record);
	ring->next = slot + 1;
	/* A flood takes slots mostly in their order. */
	if (++refusals->written % AUDIT_CHUNK == 0)
		ring_prefetch(ring,
			(slot / AUDIT_CHUNK + 1) % (ring->reserved / AUDIT_CHUNK) * AUDIT_CHUNK);
	return &ring->slots[slot];
}

/* ---------------------------------------------------------------- writing */

void audit_tick(struct audit *audit, uint64_t now_ms)
{
	struct timespec wall;

	if (audit == NULL)
		return;
	audit->now_ms = now_ms;
	if (audit->wall_ms != 0 && now_ms - audit->clock_at_ms < AUDIT_CLOCK_MS)
		return;
	(void)clock_gettime(CLOCK_REALTIME, &wall);
	audit->clock_at_ms = now_ms;
	audit->wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
}

/* In an order that whoever reads meanwhile can tell: never a sequence with another one's fields. */
static void slot_store(struct audit_record *slot, struct audit_record *record)
{
	const uint64_t sequence = record->sequence;

	record->check = audit_check(record);
	__atomic_store_n(&slot->sequence, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	record->sequence = 0;
	*slot = *record;
	__atomic_store_n(&slot->sequence, sequence, __ATOMIC_RELEASE);
}

void audit_write(struct audit *audit, enum audit_ring ring, struct audit_record *record)
{
	struct audit_record *slot;

	if (audit == NULL || audit_is_lost(audit))
		return;
	record->time_ms = audit->wall_ms + (audit->now_ms - audit->clock_at_ms);
	record->boot = audit->boot;
	if (ring == AUDIT_REFUSALS)
		slot = refusals_take(audit, &audit->rings[ring], record);
	else
		slot = ring_take(audit, &audit->rings[ring]);
	if (slot == NULL)
		return;
	if (slot->sequence != 0)
		audit->header->lost_ms[ring] = slot->time_ms;
	record->sequence = ++audit->sequence;
	slot_store(slot, record);
	audit->header->next[ring] = audit->rings[ring].next;
	audit->header->sequence = audit->sequence;
}

void audit_settled(struct audit *audit)
{
	if (audit != NULL)
		__atomic_store_n(&audit->header->settled, audit->sequence, __ATOMIC_RELEASE);
}

bool audit_is_short(const struct audit *audit)
{
	return audit != NULL && audit->is_short;
}

/* ---------------------------------------------------------------- opening */

static void audit_layout(uint32_t records, struct audit_header *ret_header)
{
	const uint32_t units = records / AUDIT_UNIT + (records % AUDIT_UNIT != 0);

	*ret_header = (struct audit_header){
		.version = AUDIT_VERSION,
		.record_size = sizeof(struct audit_record),
		.capacity = {units * (AUDIT_UNIT / 2), units * (AUDIT_UNIT / 8 * 3),
			units * (AUDIT_UNIT / 8)},
	};
	memcpy(ret_header->magic, AUDIT_MAGIC, sizeof(ret_header->magic));
}

/* Is it of this layout? It has so many bytes before what changes. */
static bool audit_is_like(const struct audit_header *a, const struct audit_header *b)
{
	return memcmp(a, b, offsetof(struct audit_header, settled)) == 0;
}

static int audit_open_file(const char *path, int flags, int *ret_fd, struct audit_error *ret_error)
{
	const struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	const int fd =
		open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | flags, 0640);
	struct stat st;
	int r = 0;

	if (fd < 0)
		return audit_fail(ret_error, -errno, "%.256s: the audit trail cannot be opened: %s",
			path, strerror(errno));
	if (fstat(fd, &st) < 0)
		r = audit_fail(ret_error, -errno, "%.256s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
		 (st.st_mode & (S_IWGRP | S_IWOTH)))
		r = audit_fail(ret_error, -EPERM,
			"%.256s: where the audit trail belongs there is something else than a file "
			"of ours that nobody else may write to; remove it, or name another place "
			"with audit.path",
			path);
	else if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
		r = audit_fail(ret_error, -EBUSY,
			"%.256s: another process writes to this audit trail; name another place "
			"with audit.path",
			path);
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* What is there and is none of ours, or of another size, is kept beside it. */
static int audit_set_aside(const char *path, int *fd, struct audit_error *ret_error)
{
	const int r = audit_aside(path, ret_error);

	if (r < 0)
		return r;
	close(*fd);
	*fd = -1;
	return audit_open_file(path, O_CREAT | O_EXCL, fd, ret_error);
}

static int audit_no_room(const char *path, int error, struct audit_error *ret_error)
{
	return audit_fail(ret_error, -error,
		"%.256s: there is no room for the audit trail: %s; make some (16 MiB are left to "
		"others), name another place with audit.path, or set audit.records to 0",
		path, strerror(error));
}

/* Makes *fd a file of this layout. */
static int audit_prepare(
	const char *path, const struct audit_header *layout, int *fd, struct audit_error *ret_error)
{
	static const struct audit_header nothing;
	struct audit_header header = nothing;
	const off_t size = (off_t)audit_ring_offset(layout, AUDIT_RINGS);
	ssize_t n = pread(*fd, &header, sizeof(header), 0);
	int r = 0;

	if (n < 0)
		return audit_fail(
			ret_error, -errno, "%.256s cannot be read: %s", path, strerror(errno));
	if (!audit_is_like(&header, layout)) {
		if (!audit_has_room(*fd))
			return audit_no_room(path, ENOSPC, ret_error);
		if (memcmp(&header, &nothing, sizeof(header)) != 0)
			r = audit_set_aside(path, fd, ret_error);
		if (r < 0)
			return r;
		n = pwrite(*fd, layout, sizeof(*layout), 0);
		if (n != (ssize_t)sizeof(*layout))
			return audit_fail(ret_error, n < 0 ? -errno : -ENOSPC,
				"%.256s cannot be written: %s; make room, or set audit.records to 0",
				path, strerror(n < 0 ? errno : ENOSPC));
	}
	if (ftruncate(*fd, size) < 0 || fallocate(*fd, 0, 0, AUDIT_HEADER_SIZE) < 0)
		return audit_no_room(path, errno, ret_error);
	return 0;
}

/* ---------------------------------------------------------------- going on with it */

/* Marks a record of this boot that no settle followed; false: it is none. */
static bool slot_doubt(const struct audit *audit, struct audit_record *slot)
{
	struct audit_record record = *slot;

	if (!audit_is_whole(&record) || record.boot != audit->boot ||
		record.sequence <= audit->header->settled)
		return false;
	record.flags |= AUDIT_DOUBTFUL;
	slot_store(slot, &record);
	return true;
}

/* Space for what is there is made sure of before it is touched; files have holes behind it. */
static bool ring_open(struct audit *audit, struct ring *ring)
{
	const off_t end = (off_t)(ring->offset + (uint64_t)ring->capacity * sizeof(ring->slots[0]));

	while (ring->reserved < ring->capacity) {
		const off_t at =
			(off_t)(ring->offset + (uint64_t)ring->reserved * sizeof(ring->slots[0]));
		const off_t data = lseek(audit->fd, at, SEEK_DATA);

		if ((data < 0 && errno == ENXIO) || data >= end)
			break;
		if (!ring_reserve(audit, ring, true))
			return false;
	}
	if (ring->reserved == 0 && !ring_reserve(audit, ring, false))
		return false;
	if (audit->size > AUDIT_AT_ONCE)
		return true;
	while (ring->reserved < ring->capacity && ring_reserve(audit, ring, false))
		continue;
	audit->is_short = false; /* it goes round in what it has, until it is full */
	return true;
}

/* Where it goes on, behind the last record, and which that is. */
static void ring_scan(struct audit *audit, struct ring *ring)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < ring->reserved; i++) {
		const struct audit_record record = ring->slots[i];

		if (!audit_is_whole(&record) || record.sequence < last)
			continue;
		last = record.sequence;
		ring->next = i + 1;
	}
	if (last > audit->sequence)
		audit->sequence = last;
}

/* The same as the header has it, which is behind by one record if the daemon was killed then. */
static void ring_resume(struct audit *audit, struct ring *ring, uint32_t next)
{
	const uint32_t places[] = {next, 0, next - 1};
	const uint64_t sequence = audit->header->sequence + 1;

	ring->next = next;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct audit_record record;

		if (places[i] >= ring->reserved)
			continue;
		record = ring->slots[places[i]];
		if (!audit_is_whole(&record) || record.sequence != sequence)
			continue;
		ring->next = places[i] + 1;
		audit->sequence = sequence;
	}
}

/* Records of this boot that no settle followed are the last ones. */
static void ring_doubt(const struct audit *audit, struct ring *ring)
{
	uint32_t at = ring->next;

	for (uint32_t i = 0; i < ring->reserved; i++) {
		at = (at + ring->reserved - 1) % ring->reserved;
		if (!slot_doubt(audit, &ring->slots[at]))
			return;
	}
}

/* All of them are read: whose they are is known from nothing else. */
static int refusals_resume(struct audit *audit, struct ring *ring)
{
	uint64_t last;
	const int r = audit_shares_rebuild(
		audit->refusals.shares, ring->slots, ring->reserved, &last, &ring->next);

	if (r < 0)
		return r;
	if (last > audit->sequence)
		audit->sequence = last;
	for (uint32_t i = 0; i < ring->reserved; i++)
		(void)slot_doubt(audit, &ring->slots[i]);
	return 0;
}

static bool audit_knows_where(const struct audit *audit)
{
	const struct audit_header *header = audit->header;
	bool knows = header->boot == audit->boot && header->sequence < AUDIT_SEQUENCES;

	for (unsigned i = 0; i < AUDIT_RINGS; i++)
		knows = knows && header->next[i] <= audit->rings[i].reserved;
	return knows;
}

static int audit_go_on(struct audit *audit)
{
	const bool knows = audit_knows_where(audit);
	int r;

	if (knows)
		audit->sequence = audit->header->sequence;
	for (unsigned i = 0; i < AUDIT_REFUSALS; i++) {
		struct ring *ring = &audit->rings[i];

		if (knows)
			ring_resume(audit, ring, audit->header->next[i]);
		else
			ring_scan(audit, ring);
		ring_doubt(audit, ring);
	}
	r = refusals_resume(audit, &audit->rings[AUDIT_REFUSALS]);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < AUDIT_RINGS; i++)
		audit->header->next[i] = audit->rings[i].next;
	audit->header->sequence = audit->sequence;
	audit->header->boot = audit->boot;
	audit_settled(audit);
	return 0;
}

static int audit_start(struct audit *audit, const struct audit_header *layout, const char *path,
	struct audit_error *ret_error)
{
	uint8_t *base;

	audit->size = (size_t)audit_ring_offset(layout, AUDIT_RINGS);
	base = mmap(NULL, audit->size, PROT_READ | PROT_WRITE, MAP_SHARED, audit->fd, 0);
	if (base == MAP_FAILED)
		return audit_fail(
			ret_error, -errno, "%.256s cannot be mapped: %s", path, strerror(errno));
	/* Nothing of it, and so not its lock, is a child's that may never end (executor_closer.c).
	 */
	(void)madvise(base, audit->size, MADV_DONTFORK);
	audit->header = (struct audit_header *)(void *)base;
	guard_begin(base, audit->size);
	for (unsigned i = 0; i < AUDIT_RINGS; i++) {
		struct ring *ring = &audit->rings[i];

		ring->offset = audit_ring_offset(layout, (enum audit_ring)i);
		ring->slots = (struct audit_record *)(void *)(base + ring->offset);
		ring->capacity = layout->capacity[i];
		if (!ring_open(audit, ring))
			return audit_no_room(path, ENOSPC, ret_error);
	}
	audit->refusals.shares = audit_shares_new(layout->capacity[AUDIT_REFUSALS]);
	if (audit->refusals.shares == NULL || audit_go_on(audit) < 0)
		return audit_fail(ret_error, -ENOMEM, "no memory for the audit trail");
	if (audit_is_lost(audit))
		return audit_fail(ret_error, -EIO,
			"%.256s: the disk of the audit trail fails; name another place with audit.path",
			path);
	return 0;
}

int audit_open(const char *path, uint32_t records, const uint8_t boot_id[static 16],
	struct audit **ret_audit, struct audit_error *ret_error)
{
	struct audit *audit = calloc(1, sizeof(*audit));
	struct audit_header layout;
	int r;

	if (audit == NULL)
		return audit_fail(ret_error, -ENOMEM, "no memory for the audit trail");
	audit->fd = -1;
	memcpy(&audit->boot, boot_id, sizeof(audit->boot));
	audit_layout(records, &layout);
	r = audit_open_file(path, O_CREAT, &audit->fd, ret_error);
	if (r == 0)
		r = audit_prepare(path, &layout, &audit->fd, ret_error);
	if (r == 0)
		r = audit_start(audit, &layout, path, ret_error);
	if (r < 0) {
		audit_close(audit);
		return r;
	}
	*ret_audit = audit;
	return 0;
}

void audit_close(struct audit *audit)
{
	if (audit == NULL)
		return;
	if (audit->header != NULL) {
		guard_end(audit);
		(void)munmap(audit->header, audit->size);
	}
	if (audit->fd >= 0)
		close(audit->fd);
	audit_shares_free(audit->refusals.shares);
	free(audit);
}
