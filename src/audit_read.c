/* SPDX-License-Identifier: MIT */
/* The reader of the audit trail: of a file that may be anybody's, and is being written to. */
#include "audit_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_RECORDS 2048u /* at once */

struct search {
	int fd;
	struct audit_header header;
	const struct audit_query *query;
	struct audit_found found;
	size_t room;
};

/* ---------------------------------------------------------------- what is looked for */

static bool is_run(const struct audit_record *record)
{
	return record->kind == AUDIT_STARTED || record->kind == AUDIT_STOPPED ||
	       record->kind == AUDIT_MISSED;
}

static bool is_in_time(const struct audit_query *query, const struct audit_record *record)
{
	return record->time_ms >= query->since_ms &&
	       (query->until_ms == 0 || record->time_ms <= query->until_ms);
}

static bool is_wanted(const struct audit_query *query, const struct audit_record *record)
{
	if (!is_in_time(query, record))
		return false;
	if (is_run(record))
		return query->runs;
	return !(query->no_refusals && record->kind == AUDIT_REFUSED) &&
	       !(query->has_host && !audit_is_about(record, query->host)) &&
	       !(query->has_rid && record->rid != query->rid) &&
	       !(query->set != 0 && record->set != query->set) &&
	       !(query->name != NULL &&
		       strncmp(query->name, record->name, sizeof(record->name)) != 0);
}

/* ---------------------------------------------------------------- reading */

static int search_keep(struct search *search, const struct audit_record *record)
{
	struct audit_found *found = &search->found;

	if (found->count == search->room) {
		const size_t room = search->room != 0 ? search->room * 2 : 64;
		struct audit_record *records = reallocarray(found->records, room, sizeof(*records));

		if (records == NULL)
			return -ENOMEM;
		found->records = records;
		search->room = room;
	}
	found->records[found->count++] = *record;
	return 0;
}

/* Up to `size` bytes; fewer only at the end of the file. */
static ssize_t read_at(int fd, void *buffer, size_t size, off_t offset)
{
	size_t done = 0;

	while (done < size) {
		const ssize_t n =
			pread(fd, (uint8_t *)buffer + done, size - done, offset + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int search_records(struct search *search, const struct audit_record *records, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		static const struct audit_record nothing;

		if (audit_is_whole(&records[i]) && is_wanted(search->query, &records[i]))
			r = search_keep(search, &records[i]);
		else if (!audit_is_whole(&records[i]))
			search->found.damaged +=
				memcmp(&records[i], &nothing, sizeof(nothing)) != 0;
	}
	return r;
}

static int search_ring(struct search *search, enum audit_ring ring, struct audit_record *buffer)
{
	const uint64_t offset = audit_ring_offset(&search->header, ring);
	const uint32_t capacity = search->header.capacity[ring];
	int r = 0;

	for (uint32_t i = 0; i < capacity && r == 0; i += READ_RECORDS) {
		const uint32_t left = capacity - i;
		const uint32_t n = left < READ_RECORDS ? left : READ_RECORDS;
		const off_t at = (off_t)(offset + (uint64_t)i * sizeof(*buffer));
		const off_t data = lseek(search->fd, at, SEEK_DATA);
		ssize_t size;

		if (data < 0 && errno == ENXIO)
			break;
		if (data >= at + (off_t)(n * sizeof(*buffer)))
			continue;
		size = read_at(search->fd, buffer, n * sizeof(*buffer), at);
		if (size < 0)
			return (int)size;
		r = search_records(search, buffer, (size_t)size / sizeof(*buffer));
	}
	return r;
}

/* ---------------------------------------------------------------- what was found */

static int compare(const void *a, const void *b)
{
	const uint64_t left = ((const struct audit_record *)a)->sequence;
	const uint64_t right = ((const struct audit_record *)b)->sequence;

	if (left != right)
		return left < right ? -1 : 1;
	return memcmp(
		a, b, sizeof(struct audit_record)); /* what is the same twice stands together */
}

/* A record that was moved on meanwhile may have been read twice. */
static void search_order(struct search *search)
{
	struct audit_found *found = &search->found;
	struct audit_record *records = found->records;
	size_t from = 0, kept = 0;

	if (found->count == 0)
		return;
	qsort(records, found->count, sizeof(*records), compare);
	while (from < found->count && is_run(&records[from]))
		from++;
	for (size_t i = from; i < found->count; i++) {
		if (kept == 0 || memcmp(&records[kept - 1], &records[i], sizeof(records[i])) != 0)
			records[kept++] = records[i];
	}
	if (search->query->limit != 0 && kept > search->query->limit) {
		found->passed_over = kept - search->query->limit;
		kept = search->query->limit;
		memmove(records, records + found->passed_over, kept * sizeof(*records));
	}
	found->count = kept;
}

static int search_open(struct search *search, const char *path, struct audit_error *ret_error)
{
	struct audit_header *header = &search->header;
	struct stat st;
	ssize_t n;

	search->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (search->fd < 0)
		return audit_fail(ret_error, -errno, "%.256s: the audit trail cannot be opened: %s",
			path, strerror(errno));
	if (fstat(search->fd, &st) < 0)
		return audit_fail(ret_error, -errno, "%.256s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return audit_fail(
			ret_error, -EBADMSG, "%.256s is no audit trail: it is no file", path);
	n = read_at(search->fd, header, sizeof(*header), 0);
	if (n < 0)
		return audit_fail(
			ret_error, (int)n, "%.256s cannot be read: %s", path, strerror((int)-n));
	if (n != sizeof(*header) || memcmp(header->magic, AUDIT_MAGIC, sizeof(header->magic)) != 0)
		return audit_fail(ret_error, -EBADMSG, "%.256s is no audit trail", path);
	if (header->version != AUDIT_VERSION || header->record_size != sizeof(struct audit_record))
		return audit_fail(ret_error, -EBADMSG,
			"%.256s is an audit trail of another version (%u, this is %u); read it with "
			"the pasidctl of the pasidd that wrote it",
			path, header->version, AUDIT_VERSION);
	for (unsigned i = 0; i < AUDIT_RINGS; i++) {
		if (header->capacity[i] > AUDIT_RECORDS_MAX)
			return audit_fail(ret_error, -EBADMSG,
				"%.256s is damaged: it says that it has %u records", path,
				header->capacity[i]);
	}
	return 0;
}

static int search_all(struct search *search, const char *path, struct audit_error *ret_error)
{
	struct audit_record *buffer = malloc(READ_RECORDS * sizeof(*buffer));
	int r = buffer != NULL ? 0 : -ENOMEM;

	for (unsigned i = 0; i < AUDIT_RINGS && r == 0; i++)
		r = search_ring(search, (enum audit_ring)i, buffer);
	free(buffer);
	if (r < 0)
		return audit_fail(ret_error, r, "%.256s cannot be read: %s", path, strerror(-r));
	search_order(search);
	for (unsigned i = AUDIT_NUMBERS; i <= AUDIT_BINDINGS; i++) {
		if (search->header.lost_ms[i] > search->found.lost_ms)
			search->found.lost_ms = search->header.lost_ms[i];
	}
	return 0;
}

int audit_read(const char *path, const struct audit_query *query, struct audit_found *ret_found,
	struct audit_error *ret_error)
{
	struct search search = {.fd = -1, .query = query};
	int r = search_open(&search, path, ret_error);

	if (r == 0)
		r = search_all(&search, path, ret_error);
	if (search.fd >= 0)
		close(search.fd);
	if (r < 0) {
		free(search.found.records);
		return r;
	}
	*ret_found = search.found;
	return 0;
}

int audit_read_last(const char *path, const struct audit_query *query,
	struct audit_record *ret_record, struct audit_error *ret_error)
{
	struct audit_query last = *query;
	struct audit_found found;
	int r;

	last.no_refusals = true;
	last.runs = false;
	last.limit = 1;
	r = audit_read(path, &last, &found, ret_error);
	if (r < 0)
		return r;
	if (found.count != 0)
		*ret_record = found.records[0];
	else
		r = audit_fail(ret_error, -ENOENT, "%.256s has nothing about it", path);
	free(found.records);
	return r;
}
