/* SPDX-License-Identifier: MIT */
#include "view_text.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libpasid_types.h"

static unsigned text_columns(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size = {0};
	long number = columns != NULL ? strtol(columns, NULL, 10) : 0;
	if (number > 0 && number < 10000)
		return (unsigned)number;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return VIEW_COLUMNS;
}

struct view_look view_look_here(void)
{
	struct view_look look = {.columns = text_columns()};
	if (isatty(STDOUT_FILENO) && setlocale(LC_CTYPE, "") != NULL)
		look.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	return look;
}

void view_range(FILE *out, uint32_t first, uint32_t last)
{
	if (first == last)
		fprintf(out, "%u", first);
	else
		fprintf(out, "%u-%u (%u)", first, last, last - first + 1);
}

void view_count(FILE *out, uint64_t count, const char *one, const char *many)
{
	fprintf(out, "%llu %s", (unsigned long long)count, count == 1 ? one : many);
}

/* A number at the beginning of the text; what follows it, or NULL. */
static const char *text_number(const char *text, uint32_t *ret_number)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	char *end;
	if (text[0] < '0' || text[0] > '9')
		return NULL;
	errno = 0;
	unsigned long number = strtoul(text, &end, hex ? 16 : 10);
	if (errno != 0 || number > PASID_MAX || (hex && end == text + 2))
		return NULL;
	*ret_number = (uint32_t)number;
	return end;
}

bool view_parse_range(const char *text, uint32_t *ret_first, uint32_t *ret_last)
{
	uint32_t first = 0, last = 0;
	const char *end = text_number(text, &first);
	if (end != NULL && *end == '-')
		end = text_number(end + 1, &last);
	else
		last = first;
	if (end == NULL || *end != '\0' || last < first)
		return false;
	*ret_first = first;
	*ret_last = last;
	return true;
}
