/* SPDX-License-Identifier: MIT */
/*
 * pasidd.json and pasidd.json.d/: what is read, in which order, and what is not. A file that cannot
 * be trusted to say what its owner wrote is an error, and never left out.
 */
#include "config_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTORY_ENTRIES_MAX 4096 /* what is ignored counts, too */

__attribute__((format(printf, 4, 5))) static int files_fail(
	struct config_error *ret_error, int r, const char *name, const char *format, ...)
{
	char text[CONFIG_ERROR_MAX / 2];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)snprintf(ret_error->text, sizeof(ret_error->text), "%.200s: %s", name, text);
	return r;
}

void config_files_free(struct config_files *files)
{
	if (files == NULL)
		return;
	for (size_t i = 0; i < files->count; i++) {
		free(files->files[i].name);
		free(files->files[i].text);
		json_decref(files->files[i].root);
	}
	for (size_t i = 0; i < files->ignored_count; i++)
		free(files->ignored[i].name);
	free(files->files);
	free(files->ignored);
	free(files);
}

const char *config_files_name(const struct config_files *files, size_t i)
{
	return i < files->count ? files->files[i].name : NULL;
}

const char *config_files_ignored(const struct config_files *files, size_t i, const char **ret_why)
{
	if (i >= files->ignored_count)
		return NULL;
	*ret_why = files->ignored[i].why;
	return files->ignored[i].name;
}

/* ---------------------------------------------------------------- one file */

int config_files_add(struct config_files *files, const char *name, const char *text, size_t length,
	struct config_error *ret_error)
{
	json_error_t error;
	struct config_file *file;
	json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	struct config_file *more;

	if (root == NULL) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text), "%.200s:%d:%d: %s", name,
			error.line, error.column, error.text);
		return STATUS_INVALID;
	}
	more = realloc(files->files, (files->count + 1) * sizeof(*more));
	if (more == NULL) {
		json_decref(root);
		return files_fail(ret_error, -ENOMEM, name, "out of memory");
	}
	files->files = more;
	file = &more[files->count++];
	*file = (struct config_file){
		.name = strdup(name), .text = malloc(length + 1), .length = length, .root = root};
	files->bytes += length;
	if (file->name == NULL || file->text == NULL)
		return files_fail(ret_error, -ENOMEM, name, "out of memory");
	memcpy(file->text, text, length);
	file->text[length] = '\0';
	return 0;
}

/* Is it a file that says what its owner wrote? */
static int files_check(int fd, const char *name, struct config_error *ret_error)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return files_fail(ret_error, -errno, name, "%s", strerror(errno));
	if (S_ISDIR(status.st_mode))
		return files_fail(ret_error, -EISDIR, name, "%s", strerror(EISDIR));
	if (!S_ISREG(status.st_mode))
		return files_fail(ret_error, -EINVAL, name, "is no regular file");
	if (status.st_uid != 0 && status.st_uid != geteuid())
		return files_fail(ret_error, -EPERM, name,
			"is user %u's, who could become an admin; it has to be root's, or the daemon's",
			status.st_uid);
	if (status.st_mode & S_IWOTH)
		return files_fail(ret_error, -EPERM, name,
			"everybody may write to it, and so become an admin; chmod o-w");
	return 0;
}

/* Reads up to `room` bytes and one more. Returns how many, or -errno. */
static ssize_t files_slurp(int fd, char *buffer, size_t room)
{
	size_t length = 0;
	ssize_t n;

	do {
		n = read(fd, buffer + length, room + 1 - length);
		if (n > 0)
			length += (size_t)n;
	} while ((n > 0 && length <= room) || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : (ssize_t)length;
}

static int files_read_open(
	struct config_files *files, int fd, const char *name, struct config_error *ret_error)
{
	const size_t room = CONFIG_SIZE_MAX - files->bytes;
	char *buffer;
	ssize_t length;
	int r = files_check(fd, name, ret_error);

	if (r != 0)
		return r;
	buffer = malloc(room + 1);
	if (buffer == NULL)
		return files_fail(ret_error, -ENOMEM, name, "out of memory");
	length = files_slurp(fd, buffer, room);
	if (length < 0)
		r = files_fail(ret_error, (int)length, name, "%s", strerror((int)-length));
	else if ((size_t)length > room)
		r = files_fail(ret_error, -EFBIG, name,
			"too large: all files together may have %u bytes", CONFIG_SIZE_MAX);
	else
		r = config_files_add(files, name, buffer, (size_t)length, ret_error);
	free(buffer);
	return r;
}

/* -ENOENT, without an error, when there is none. */
static int files_read(struct config_files *files, int at, const char *entry, const char *name,
	struct config_error *ret_error)
{
	/* Nothing that is opened makes us wait, and a link says nothing of who may change it. */
	const int fd = openat(at, entry, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
	int r;

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 && errno == ELOOP)
		return files_fail(
			ret_error, -ELOOP, name, "is a symbolic link; put the file itself there");
	if (fd < 0)
		return files_fail(ret_error, -errno, name, "%s", strerror(errno));
	r = files_read_open(files, fd, name, ret_error);
	close(fd);
	return r;
}

/* ---------------------------------------------------------------- the directory */

/* Why an entry is not read; NULL: it is. */
static const char *files_ignore(int directory, const char *name)
{
	const size_t length = strlen(name);
	struct stat status;

	if (name[0] == '.')
		return "hidden";
	if (name[length - 1] == '~')
		return "a copy of an editor";
	if (length < 6 || strcmp(name + length - 5, ".json") != 0)
		return "the name does not end with .json";
	if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode))
		return "a directory";
	return NULL;
}

static int files_note_ignored(struct config_files *files, const char *name, const char *why,
	struct config_error *ret_error)
{
	struct config_ignored *more =
		realloc(files->ignored, (files->ignored_count + 1) * sizeof(*more));

	if (more != NULL) {
		files->ignored = more;
		more[files->ignored_count].why = why;
		more[files->ignored_count].name = strdup(name);
		if (more[files->ignored_count].name != NULL) {
			files->ignored_count++;
			return 0;
		}
	}
	return files_fail(ret_error, -ENOMEM, name, "out of memory");
}

static int files_take_entry(struct config_files *files, int directory, const char *path,
	const char *entry, struct config_error *ret_error)
{
	const char *why = files_ignore(directory, entry);
	char name[PATH_MAX];
	int r;

	if (strcmp(entry, ".") == 0 || strcmp(entry, "..") == 0)
		return 0;
	if ((size_t)snprintf(name, sizeof(name), "%s/%s", path, entry) >= sizeof(name))
		return files_fail(ret_error, -ENAMETOOLONG, path, "%s", strerror(ENAMETOOLONG));
	if (why != NULL)
		return files_note_ignored(files, name, why, ret_error);
	r = files_read(files, directory, entry, name, ret_error);
	if (r == -ENOENT)
		return files_fail(ret_error, r, name, "%s", strerror(ENOENT));
	return r;
}

/* By bytes: the same on every host, whatever its language. */
static int files_by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int files_take_all(
	struct config_files *files, int directory, const char *path, struct config_error *ret_error)
{
	struct dirent **entries = NULL;
	const int count = scandirat(directory, ".", &entries, NULL, files_by_name);
	int r = 0;

	if (count < 0)
		return files_fail(ret_error, -errno, path, "%s", strerror(errno));
	if (count > DIRECTORY_ENTRIES_MAX)
		r = files_fail(ret_error, -EFBIG, path, "there are more than %u files in it",
			DIRECTORY_ENTRIES_MAX);
	for (int i = 0; i < count; i++) {
		if (r == 0)
			r = files_take_entry(files, directory, path, entries[i]->d_name, ret_error);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int files_read_directory(
	struct config_files *files, const char *path, struct config_error *ret_error)
{
	struct stat status;
	int r, fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return files_fail(ret_error, -errno, path, "%s", strerror(errno));
	if (fstat(fd, &status) < 0)
		r = files_fail(ret_error, -errno, path, "%s", strerror(errno));
	else if (status.st_mode & S_IWOTH)
		r = files_fail(ret_error, -EPERM, path,
			"everybody may put files into it, and so become an admin; chmod o-w");
	else
		r = files_take_all(files, fd, path, ret_error);
	close(fd);
	return r;
}

int config_files_none(struct config_files **ret_files, struct config_error *ret_error)
{
	struct config_files *files = calloc(1, sizeof(*files));

	if (files == NULL)
		return files_fail(ret_error, -ENOMEM, "pasidd", "out of memory");
	*ret_files = files;
	return 0;
}

int config_files_read(const char *path, bool required, struct config_files **ret_files,
	struct config_error *ret_error)
{
	struct config_files *files = NULL;
	char directory[PATH_MAX];
	int r = config_files_none(&files, ret_error);

	if (files == NULL)
		return r;
	r = files_read(files, AT_FDCWD, path, path, ret_error);
	if (r == -ENOENT && required)
		r = files_fail(ret_error, r, path, "%s", strerror(ENOENT));
	else if (r == -ENOENT)
		r = 0;
	if (r == 0 &&
		(size_t)snprintf(directory, sizeof(directory), "%s.d", path) >= sizeof(directory))
		r = files_fail(ret_error, -ENAMETOOLONG, path, "%s", strerror(ENAMETOOLONG));
	if (r == 0)
		r = files_read_directory(files, directory, ret_error);
	if (r != 0) {
		config_files_free(files);
		return r;
	}
	*ret_files = files;
	return 0;
}

/* ---------------------------------------------------------------- which file a value is from */

bool config_is_appended(const char *key)
{
	return strcmp(key, "devices") == 0 || strcmp(key, "reservations") == 0;
}

/* What a file replaces as one: a list of who may be what, and the simulated devices. */
static size_t origin_whole(const struct json_step *steps, size_t depth)
{
	const bool whole =
		depth > 2 &&
		(strcmp(steps[0].key, "roles") == 0 || strcmp(steps[0].key, "scopes") == 0 ||
			strcmp(steps[1].key ? steps[1].key : "", "devices") == 0);

	return whole ? 2 : depth;
}

static bool origin_has(const json_t *value, const struct json_step *steps, size_t depth)
{
	for (size_t i = 0; i < depth && value != NULL; i++)
		value = steps[i].key != NULL ? json_object_get(value, steps[i].key)
					     : json_array_get(value, steps[i].index);
	return value != NULL;
}

/* Of a list to which each file adds: the first step within it counts over all files. */
static bool origin_of_element(const struct config_files *files, struct json_step *steps,
	const struct config_file **ret_file)
{
	for (size_t i = 0; i < files->count; i++) {
		const size_t size =
			json_array_size(json_object_get(files->files[i].root, steps[0].key));

		if (steps[1].index < size) {
			*ret_file = &files->files[i];
			return true;
		}
		steps[1].index -= size;
	}
	return false;
}

bool config_origin(const struct config_files *files, const struct json_step *steps, size_t depth,
	const struct config_file **ret_file, struct json_step ret_steps[static JSON_DEPTH_MAX],
	size_t *ret_depth)
{
	memcpy(ret_steps, steps, depth * sizeof(*steps));
	*ret_depth = depth;
	if (depth > 1 && config_is_appended(steps[0].key))
		return origin_of_element(files, ret_steps, ret_file);
	*ret_depth = origin_whole(steps, depth);
	for (size_t i = files->count; i-- > 0;)
		if (origin_has(files->files[i].root, steps, *ret_depth)) {
			*ret_file = &files->files[i];
			return true;
		}
	return false;
}

/* "a.b[2].c" as steps, in a copy of it that is cut to pieces. */
static size_t origin_parse(char *path, struct json_step steps[static JSON_DEPTH_MAX])
{
	char *rest = NULL;
	size_t depth = 0;

	for (char *part = strtok_r(path, ".", &rest); part != NULL && depth + 2 <= JSON_DEPTH_MAX;
		part = strtok_r(NULL, ".", &rest)) {
		char *index = strchr(part, '[');

		if (index != NULL)
			*index++ = '\0';
		steps[depth++] = (struct json_step){.key = part};
		if (index != NULL)
			steps[depth++] = (struct json_step){.index = strtoul(index, NULL, 10)};
	}
	return depth;
}

/* Writes "file:line:column" of where it is set. NULL: nowhere; else the file. */
static const struct config_file *origin_format(
	const struct config_files *files, const char *path, char *ret_text, size_t size)
{
	struct json_step steps[JSON_DEPTH_MAX], within[JSON_DEPTH_MAX];
	const struct config_file *file;
	struct json_place place = {1, 1};
	char copy[96];
	size_t depth;

	(void)snprintf(copy, sizeof(copy), "%s", path);
	depth = origin_parse(copy, steps);
	if (!config_origin(files, steps, depth, &file, within, &depth))
		return NULL;
	(void)json_place_find(file->text, file->length, within, depth, &place);
	(void)snprintf(ret_text, size, "%.200s:%u:%u", file->name, place.line, place.column);
	return file;
}

int config_fail_about(
	struct json_reader *reader, const char *path, const char *other, const char *format, ...)
{
	char text[CONFIG_ERROR_MAX / 2], at[256], other_at[256];
	const struct config_file *file = origin_format(reader->files, path, at, sizeof(at));
	const struct config_file *beside =
		other ? origin_format(reader->files, other, other_at, sizeof(other_at)) : NULL;
	const bool both = file != NULL && beside != NULL && file != beside;
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)snprintf(reader->error->text, sizeof(reader->error->text),
		"%.240s: %.80s: %.300s%s%.80s%s%.240s",
		file != NULL     ? at
		: beside != NULL ? other_at
				 : reader->name,
		path, text, both ? "; " : "", both ? other : "", both ? " is set at " : "",
		both ? other_at : "");
	return STATUS_INVALID;
}

int config_fail_same(struct json_reader *reader, const char *what, const char *list, size_t index)
{
	const struct json_step steps[] = {{.key = list}, {.index = index}};
	struct json_step within[JSON_DEPTH_MAX];
	const struct config_file *file;
	size_t depth;

	if (!config_origin(reader->files, steps, 2, &file, within, &depth) ||
		file->text == reader->text)
		return json_fail(reader, "%s is that of %s[%zu]", what, list,
			depth == 2 ? within[1].index : index);
	return json_fail(
		reader, "%s is that of %s[%zu] in %s", what, list, within[1].index, file->name);
}
