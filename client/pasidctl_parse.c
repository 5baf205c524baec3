/* SPDX-License-Identifier: MIT */
/* The command line, and the words in it. */
#include "pasidctl.h"
#include "pasidctl_colour.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An option of commands, with a number or nothing. */
struct parse_option {
	const char *name;
	uint64_t bit;
	size_t value; /* offset in struct ctl; 0: none */
	uint64_t max;
};

#define NUMBER(text, bit, member, limit)                                                           \
	{                                                                                          \
		text, bit, offsetof(struct ctl, member), limit                                     \
	}
#define FLAG(text, bit)                                                                            \
	{                                                                                          \
		text, bit, 0, 0                                                                    \
	}

static const struct parse_option parse_options[] = {
	NUMBER("pasid", CTL_PASID, pasid, PASID_MAX),
	NUMBER("count", CTL_COUNT, count, PASID_ALLOCATE_MAX),
	NUMBER("min", CTL_MIN, min, PASID_MAX),
	NUMBER("max", CTL_MAX, max, PASID_MAX),
	NUMBER("guest", CTL_GUEST, guest, PASID_MAX),
	NUMBER("data", CTL_DATA, data, UINT64_MAX),
	NUMBER("quota", CTL_QUOTA, quota, PASID_MAX),
	NUMBER("iova", CTL_IOVA, iova, UINT64_MAX),
	NUMBER("offset", CTL_OFFSET, offset, UINT64_MAX),
	NUMBER("events", CTL_EVENTS, events, UINT32_MAX),
	NUMBER("from", CTL_FROM, from, UINT64_MAX),
	NUMBER("limit", CTL_LIMIT, limit, UINT32_MAX),
	NUMBER("fd", CTL_FD, fd, 65535),
	NUMBER("lines", CTL_LINES, lines, UINT32_MAX),
	FLAG("quarantined", CTL_QUARANTINED),
	FLAG("consecutive", CTL_CONSECUTIVE),
	FLAG("all", CTL_ALL),
	FLAG("sets", CTL_PER_SET),
	FLAG("limits", CTL_LIMITS),
	FLAG("force", CTL_FORCE),
	FLAG("cancel", CTL_CANCEL),
	FLAG("read-only", CTL_READ_ONLY),
	FLAG("confirm-no-devices", CTL_CONFIRM),
	FLAG("handed", CTL_HANDED),
	FLAG("journal", CTL_JOURNAL),
	FLAG("offline", CTL_OFFLINE),
};

bool ctl_number(const char *text, const char *what, uint64_t max, uint64_t *ret_number)
{
	char *end;
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	errno = 0;
	unsigned long long number = strtoull(text, &end, hex ? 16 : 10);
	bool out_of_range = errno == ERANGE;
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || (hex && end == text + 2)) {
		ctl_usage("%s: \"%s\" is no number (decimal, or hexadecimal with 0x)", what, text);
		return false;
	}
	if (out_of_range || number > max) {
		ctl_usage("%s: %s is above %llu", what, text, (unsigned long long)max);
		return false;
	}
	*ret_number = number;
	return true;
}

bool ctl_pasid(const char *text, struct pasid_number *ret_pasid)
{
	static const char prefix[] = "guest:";
	bool guest = strncmp(text, prefix, strlen(prefix)) == 0;
	uint64_t value;
	/* What a PASID can be is the daemon's to say: 0, and beyond 20 bits, have reasons of their
	 * own. */
	if (!ctl_number(guest ? text + strlen(prefix) : text, "PASID", UINT32_MAX, &value))
		return false;
	*ret_pasid = (struct pasid_number){.guest = guest, .value = (uint32_t)value};
	return true;
}

/* ------------------------------------------------------------ options */

/* The value behind --name=value, or the next word. NULL after saying that it is missing. */
static const char *parse_value(const char *name, const char *value, int argc, char **argv, int *at)
{
	if (value != NULL)
		return value;
	if (*at + 1 < argc)
		return argv[++*at];
	ctl_usage("--%s needs a value", name);
	return NULL;
}

bool ctl_set(const char *value, struct pasid_set_ref *ret_set)
{
	if (strncmp(value, "id:", 3) == 0)
		return ctl_number(value + 3, "the set's id", UINT64_MAX, &ret_set->id);
	ret_set->name = value;
	return true;
}

static bool parse_mode(const char *value, enum pasid_set_mode *ret_mode)
{
	if (strcmp(value, "translated") == 0)
		*ret_mode = PASID_SET_TRANSLATED;
	else if (strcmp(value, "identity") == 0)
		*ret_mode = PASID_SET_IDENTITY;
	else if (strcmp(value, "guest-owned") == 0)
		*ret_mode = PASID_SET_GUEST_OWNED;
	else
		return ctl_usage("--mode is translated, identity or guest-owned") == EXIT_DONE;
	return true;
}

static bool parse_scope(const char *value, enum pasid_scope *ret_scope)
{
	if (strcmp(value, "global") == 0)
		*ret_scope = PASID_SCOPE_GLOBAL;
	else if (strcmp(value, "rids") == 0)
		*ret_scope = PASID_SCOPE_RIDS;
	else
		return ctl_usage("--scope is global or rids") == EXIT_DONE;
	return true;
}

/* A user by name or number. */
static bool parse_owner(const char *value, uint32_t *ret_uid)
{
	const struct passwd *entry = getpwnam(value);
	uint64_t number;
	if (entry != NULL)
		number = entry->pw_uid;
	else if (value[0] < '0' || value[0] > '9')
		return ctl_usage("--owner: there is no user \"%s\"", value) == EXIT_DONE;
	else if (!ctl_number(value, "--owner", UINT32_MAX - 1, &number))
		return false;
	*ret_uid = (uint32_t)number;
	return true;
}

static bool parse_timeout(const char *value, uint32_t *ret_ms)
{
	char *end;
	errno = 0;
	double seconds = strtod(value, &end);
	if (end == value || *end != '\0' || errno != 0 || !(seconds >= 0) || seconds > 86400)
		return ctl_usage("--timeout takes seconds, 0 to 86400") == EXIT_DONE;
	*ret_ms = (uint32_t)(seconds * 1000);
	return true;
}

static bool parse_is(const char *name, size_t length, const char *text)
{
	return strlen(text) == length && strncmp(name, text, length) == 0;
}

static bool parse_socket(struct ctl *ctl, const char *value)
{
	ctl->socket = value;
	return true;
}

static bool parse_timeout_option(struct ctl *ctl, const char *value)
{
	return parse_timeout(value, &ctl->timeout_ms);
}

static bool parse_colour_option(struct ctl *ctl, const char *value)
{
	enum colour_wish wish;
	(void)ctl;
	if (!colour_parse(value, &wish))
		return ctl_usage("--colour is auto, always or never") == EXIT_DONE;
	colour_decide(wish);
	return true;
}

static bool parse_set_option(struct ctl *ctl, const char *value)
{
	return ctl_set(value, &ctl->set);
}

static bool parse_owner_option(struct ctl *ctl, const char *value)
{
	return parse_owner(value, &ctl->owner);
}

static bool parse_scope_option(struct ctl *ctl, const char *value)
{
	return parse_scope(value, &ctl->scope);
}

static bool parse_mode_option(struct ctl *ctl, const char *value)
{
	return parse_mode(value, &ctl->mode);
}

static bool parse_append(const char *list[static PASID_PAIRS_MAX], size_t *count, const char *name,
	const char *value)
{
	if (*count == PASID_PAIRS_MAX)
		return ctl_usage("--%s more than %u times", name, PASID_PAIRS_MAX) == EXIT_DONE;
	list[(*count)++] = value;
	return true;
}

/* Most commands take one, which is the last. */
static bool parse_device_option(struct ctl *ctl, const char *value)
{
	ctl->device = value;
	return parse_append(ctl->devices, &ctl->device_count, "device", value);
}

static bool parse_share_option(struct ctl *ctl, const char *value)
{
	return parse_append(ctl->shares, &ctl->share_count, "share", value);
}

/* Options with a text: kept as it is at `member`, or looked at by `parse`. */
static const struct {
	const char *name;
	uint64_t bit; /* 0: every command takes it */
	bool (*parse)(struct ctl *ctl, const char *value);
	size_t member;
} parse_texts[] = {
	{"socket", 0, parse_socket, 0},
	{"timeout", 0, parse_timeout_option, 0},
	{"colour", 0, parse_colour_option, 0},
	{"color", 0, parse_colour_option, 0},
	{"set", CTL_SET, parse_set_option, 0},
	{"owner", CTL_OWNER, parse_owner_option, 0},
	{"scope", CTL_SCOPE, parse_scope_option, 0},
	{"mode", CTL_MODE, parse_mode_option, 0},
	{"to", CTL_TO, NULL, offsetof(struct ctl, to)},
	{"device", CTL_DEVICE, parse_device_option, 0},
	{"share", CTL_SHARE, parse_share_option, 0},
	{"iommu", CTL_IOMMU, NULL, offsetof(struct ctl, iommu)},
	{"range", CTL_RANGE, NULL, offsetof(struct ctl, range)},
	{"root", CTL_ROOT, NULL, offsetof(struct ctl, root)},
	{"state", CTL_STATE, NULL, offsetof(struct ctl, state)},
	{"output", CTL_OUTPUT, NULL, offsetof(struct ctl, output)},
	{"listen", CTL_LISTEN, NULL, offsetof(struct ctl, listen)},
	{"format", CTL_FORMAT, NULL, offsetof(struct ctl, format)},
	{"since", CTL_SINCE, NULL, offsetof(struct ctl, since)},
	{"file", CTL_FILE, NULL, offsetof(struct ctl, file)},
};

/* An option that has a text as value. 1: it was one; 0: not; -1: wrong. */
static int parse_text_option(struct ctl *ctl, const char *name, size_t length, const char *value,
	int argc, char **argv, int *at)
{
	size_t i = 0;
	while (i < ARRAY_SIZE(parse_texts) && !parse_is(name, length, parse_texts[i].name))
		i++;
	if (i == ARRAY_SIZE(parse_texts))
		return 0;
	value = parse_value(parse_texts[i].name, value, argc, argv, at);
	if (value == NULL)
		return -1;
	ctl->given |= parse_texts[i].bit;
	if (parse_texts[i].parse != NULL)
		return parse_texts[i].parse(ctl, value) ? 1 : -1;
	*(const char **)(void *)((char *)ctl + parse_texts[i].member) = value;
	return 1;
}

static bool parse_flag(struct ctl *ctl, const char *name, size_t length)
{
	if (parse_is(name, length, "json"))
		return ctl->json = true;
	if (parse_is(name, length, "help"))
		return ctl->help = true;
	if (parse_is(name, length, "version"))
		return ctl->version = true;
	return false;
}

/* One word that begins with --. */
static int parse_option(struct ctl *ctl, int argc, char **argv, int *at)
{
	const char *name = argv[*at] + 2;
	const char *equals = strchr(name, '=');
	size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
	const char *value = equals != NULL ? equals + 1 : NULL;
	int r = parse_text_option(ctl, name, length, value, argc, argv, at);
	if (r != 0)
		return r > 0 ? EXIT_DONE : EXIT_USAGE;
	if (value == NULL && parse_flag(ctl, name, length))
		return EXIT_DONE;
	for (size_t i = 0; i < ARRAY_SIZE(parse_options); i++) {
		const struct parse_option *option = &parse_options[i];
		if (!parse_is(name, length, option->name))
			continue;
		ctl->given |= option->bit;
		if (option->value == 0)
			return value == NULL ? EXIT_DONE
					     : ctl_usage("--%s takes no value", option->name);
		value = parse_value(option->name, value, argc, argv, at);
		uint64_t *number = (uint64_t *)(void *)((char *)ctl + option->value);
		return value != NULL && ctl_number(value, argv[*at], option->max, number)
			       ? EXIT_DONE
			       : EXIT_USAGE;
	}
	return ctl_usage("there is no option %s", argv[*at]);
}

/* Is what follows behind -- the line of another command? */
static bool parse_runs_other(const struct ctl *ctl)
{
	size_t words;
	const struct ctl_command *command = ctl_find(ctl->words, ctl->word_count, &words);
	return command != NULL && command->runs_other;
}

int ctl_parse(struct ctl *ctl, int argc, char **argv)
{
	bool options = true;
	colour_decide(COLOUR_AUTO);
	for (int i = 1; i < argc; i++) {
		if (options && strcmp(argv[i], "--") == 0) {
			options = false;
			if (!parse_runs_other(ctl))
				continue;
			ctl->others = &argv[i + 1];
			return EXIT_DONE;
		} else if (options && strcmp(argv[i], "-h") == 0) {
			ctl->help = true;
		} else if (options && strncmp(argv[i], "--", 2) == 0) {
			int r = parse_option(ctl, argc, argv, &i);
			if (r != EXIT_DONE)
				return r;
		} else if (ctl->word_count == CTL_WORDS_MAX) {
			return ctl_usage("more than %d words", CTL_WORDS_MAX);
		} else {
			ctl->words[ctl->word_count++] = argv[i];
		}
	}
	return EXIT_DONE;
}

/* ------------------------------------------------------------ devices */

struct parse_search {
	const char *address;
	uint64_t id;
	unsigned found;
};

bool ctl_same_address(const char *full, const char *given)
{
	return strcmp(full, given) == 0 ||
	       (strncmp(full, "0000:", 5) == 0 && strcmp(full + 5, given) == 0);
}

static int parse_match(const struct pasid_device_info *info, void *userdata)
{
	struct parse_search *search = userdata;
	if (ctl_same_address(info->address, search->address)) {
		search->id = info->id;
		search->found++;
	}
	return 0;
}

int ctl_no_device(struct ctl *ctl, const char *kind, const char *text)
{
	struct pasid_error error = {.code = PASID_NOT_FOUND, .reason = "no-device"};
	snprintf(error.message, sizeof(error.message),
		"no %sdevice %.32s is registered there; see pasidctl devices", kind, text);
	ctl_print_error(ctl, &error);
	return EXIT_REFUSED;
}

/* A shared device and its slices have one address. */
static int parse_ambiguous(struct ctl *ctl, const char *text)
{
	struct pasid_error error = {.code = PASID_INVALID, .reason = "bad-argument"};
	snprintf(error.message, sizeof(error.message),
		"%.32s is several devices; %sits id names each, see pasidctl devices", text,
		(ctl->command->options & ~ctl->given) & CTL_SET
			? "--set NAME names that set's slice, "
			: "");
	ctl_print_error(ctl, &error);
	return EXIT_REFUSED;
}

bool ctl_device(struct ctl *ctl, const char *text, uint64_t *ret_device, int *ret_code)
{
	struct parse_search search = {.address = text};
	*ret_code = EXIT_USAGE;
	if (strchr(text, ':') == NULL)
		return ctl_number(text, "DEVICE", UINT64_MAX, ret_device);
	struct pasid_list_args args = {.set = ctl->set};
	int r = pasid_device_list(ctl->client, &args, parse_match, &search);
	if (r != 0) {
		*ret_code = ctl_failed(ctl, r);
		return false;
	}
	if (search.found != 1) {
		*ret_code = search.found == 0 ? ctl_no_device(ctl, "", text)
					      : parse_ambiguous(ctl, text);
		return false;
	}
	*ret_device = search.id;
	return true;
}

static bool parse_table(const char *text, struct pasid_table *ret_table)
{
	static const struct {
		const char *prefix;
		enum pasid_table_source source;
	} sources[] = {
		{"hwpt:", PASID_TABLE_HWPT},
		{"ioas:", PASID_TABLE_IOAS},
		{"space:", PASID_TABLE_SPACE},
	};
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		size_t length = strlen(sources[i].prefix);
		uint64_t id;
		if (strncmp(text, sources[i].prefix, length) != 0)
			continue;
		if (!ctl_number(text + length, "page table", UINT32_MAX, &id))
			return false;
		ret_table->source = sources[i].source;
		ret_table->id = (uint32_t)id;
		return true;
	}
	ctl_usage("\"%s\" is no page table: hwpt:N, ioas:N or space:N", text);
	return false;
}

bool ctl_pair(struct ctl *ctl, const char *text, struct pasid_pair *ret_pair, int *ret_code)
{
	char device[64];
	const char *equals = strchr(text, '=');
	*ret_code = EXIT_USAGE;
	if (equals == NULL || (size_t)(equals - text) >= sizeof(device)) {
		ctl_usage("\"%s\" is no DEVICE=TABLE, such as 0000:00:01.0=space:0", text);
		return false;
	}
	memcpy(device, text, (size_t)(equals - text));
	device[equals - text] = '\0';
	*ret_pair = (struct pasid_pair){0};
	return parse_table(equals + 1, &ret_pair->table) &&
	       ctl_device(ctl, device, &ret_pair->device, ret_code);
}
