/* SPDX-License-Identifier: MIT */
/* What the demo says while it goes on, to people and to programs. */
#include "pasidctl_colour.h"
#include "pasidctl_demo.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void demo_fail(struct demo *demo, const char *format, ...)
{
	va_list args;

	if (demo->failed)
		return;
	demo->failed = true;
	va_start(args, format);
	(void)vsnprintf(demo->why, sizeof(demo->why), format, args);
	va_end(args);
}

/* A text for programs, in the list with this key of the step that is going on. */
static void say_keep(struct demo *demo, const char *key, json_t *value)
{
	json_t *list = json_object_get(demo->step, key);

	if (list == NULL)
		json_decref(value);
	else
		json_array_append_new(list, value);
}

void demo_title(struct demo *demo, int number, const char *format, ...)
{
	char text[160];
	va_list args;

	if (demo->failed)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	demo->step = json_object();
	json_object_set_new(demo->step, "step", json_integer(number));
	json_object_set_new(demo->step, "title", json_string(text));
	json_object_set_new(demo->step, "did", json_array());
	json_object_set_new(demo->step, "proved", json_array());
	json_array_append_new(demo->steps, demo->step);
	if (!demo->ctl->json)
		printf("\n%d. %s\n", number, text);
}

void demo_note(struct demo *demo, const char *format, ...)
{
	char text[256];
	va_list args;

	if (demo->failed)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	say_keep(demo, "did", json_string(text));
	if (!demo->ctl->json)
		printf("   %s\n", text);
}

void demo_check(struct demo *demo, bool holds, const char *format, ...)
{
	char text[256];
	va_list args;

	if (demo->failed)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!holds) {
		demo_fail(demo, "%s, but it is not so", text);
		return;
	}
	say_keep(demo, "proved", json_string(text));
	if (!demo->ctl->json)
		printf("   %sok%s  %s\n", colour_start(COLOUR_GOOD), colour_end(COLOUR_GOOD), text);
	(void)fflush(stdout);
}

/* ------------------------------------------------------------ what VMs do */

static void say_pasid(const struct demo_order *order, char *ret_text, size_t size)
{
	(void)snprintf(ret_text, size, "%s %u", order->pasid.guest ? "guest PASID" : "host PASID",
		order->pasid.value);
}

static void say_order(const struct demo_order *order, char *ret_text, size_t size)
{
	char pasid[32];

	say_pasid(order, pasid, sizeof(pasid));
	switch (order->verb) {
	case DEMO_SET:
		(void)snprintf(ret_text, size, "make a set with a quota of %u", order->count);
		break;
	case DEMO_ADD:
		(void)snprintf(ret_text, size, "register %s%s", order->address,
			order->lent ? " with the other VM's iommufd" : "");
		break;
	case DEMO_SLICE:
		(void)snprintf(ret_text, size, "get a slice of %s", order->address);
		break;
	case DEMO_MAP:
		(void)snprintf(ret_text, size, "put 2 MiB of memory behind it");
		break;
	case DEMO_ALLOC:
		if (order->pasid.guest)
			(void)snprintf(ret_text, size, "allocate for %s", pasid);
		else
			(void)snprintf(ret_text, size, "allocate %u numbers", order->count);
		break;
	case DEMO_BIND:
		(void)snprintf(ret_text, size, "bind %s on %u device%s", pasid, order->count,
			order->count == 1 ? "" : "s");
		break;
	case DEMO_UNBIND:
	case DEMO_FREE:
	case DEMO_FIND:
		(void)snprintf(ret_text, size, "%s %s",
			order->verb == DEMO_UNBIND ? "unbind"
			: order->verb == DEMO_FREE ? "free"
						   : "find",
			pasid);
		break;
	case DEMO_INFO:
	default:
		(void)snprintf(ret_text, size, "look at its set");
	}
}

uint64_t demo_do(struct demo *demo, size_t vm, const struct demo_order *order)
{
	struct demo_answer answer;
	char text[128], result[48] = "";

	if (!demo_vm_ask(demo, vm, order, &answer))
		return 0;
	say_order(order, text, sizeof(text));
	if (answer.code != 0) {
		demo_fail(
			demo, "%s can %s, but: %s", demo->vms[vm].name, text, answer.error.message);
		return 0;
	}
	if (order->verb == DEMO_ALLOC || order->verb == DEMO_BIND)
		(void)snprintf(result, sizeof(result), "   -> host PASID %llu",
			(unsigned long long)answer.value);
	demo_note(demo, "%s> %s%s", demo->vms[vm].name, text, result);
	return answer.value;
}

/* Is the word one of those that commas separate? */
static bool say_is_one_of(const char *word, const char *words)
{
	size_t length = strlen(word);

	for (const char *at = words; *at != '\0'; at += strspn(at, ",")) {
		size_t end = strcspn(at, ",");

		if (end == length && strncmp(at, word, length) == 0)
			return true;
		at += end;
	}
	return false;
}

struct demo_answer demo_refused(
	struct demo *demo, size_t vm, const struct demo_order *order, const char *reasons)
{
	struct demo_answer answer = {0};
	char text[128];

	if (!demo_vm_ask(demo, vm, order, &answer))
		return answer;
	say_order(order, text, sizeof(text));
	if (answer.code == 0)
		demo_fail(demo, "%s is refused to %s, but it was done", demo->vms[vm].name, text);
	else if (!say_is_one_of(answer.error.reason, reasons))
		demo_fail(demo, "%s is refused to %s as %s, but: %s (%s)", demo->vms[vm].name, text,
			reasons, answer.error.message, answer.error.reason);
	demo_note(demo, "%s> %s", demo->vms[vm].name, text);
	demo_note(demo, "    refused: %s (%s)", answer.error.message, answer.error.reason);
	return answer;
}
