/* SPDX-License-Identifier: MIT */
/* explain: fault lines of the kernel's log, and whose they are. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pasidctl_colour.h"
#include "pasidctl_explain_log.h"

#define EVENTS_WAIT_MS 5000 /* for all that the daemon keeps */
#define EVENTS_IDLE_MS 200  /* a VMM is not told which event is the last */

/* ------------------------------------------------------------ asking the daemon */

struct ask {
	struct ctl *ctl;
	struct explain_log *log;
	struct explain_host host;
	struct pasid_device_info *devices;
	struct pasid_set_info *sets;
	uint64_t last; /* the last event of the replay; 0: not known */
	bool ended;
};

/* Room for one more: doubled whenever `count` is a power of two. */
static int ask_grow(void **array, size_t count, size_t size)
{
	void *grown;

	if ((count & (count - 1)) != 0)
		return 0;
	grown = realloc(*array, (count > 0 ? count * 2 : 1) * size);
	if (grown == NULL)
		return -ENOMEM;
	*array = grown;
	return 0;
}

static int ask_device(const struct pasid_device_info *info, void *userdata)
{
	struct ask *ask = userdata;
	void *array = ask->devices;
	int r = ask_grow(&array, ask->host.device_count, sizeof(*info));

	ask->devices = array;
	if (r == 0)
		ask->devices[ask->host.device_count++] = *info;
	return r;
}

static int ask_set(const struct pasid_set_info *info, void *userdata)
{
	struct ask *ask = userdata;
	void *array = ask->sets;
	int r = ask_grow(&array, ask->host.set_count, sizeof(*info));

	ask->sets = array;
	if (r == 0)
		ask->sets[ask->host.set_count++] = *info;
	return r;
}

static int ask_find(void *ctx, uint32_t pasid, uint64_t set, struct pasid_grant_info *ret_info)
{
	const struct ask *ask = ctx;
	const struct pasid_host_args args = {.host_pasid = pasid, .set.id = set};

	return pasid_host_find(ask->ctl->client, &args, ret_info);
}

struct ask_bound {
	const uint32_t *pasid;
	struct pasid_binding_info *info;
};

/* Ends the list with 1 when it is this one. */
static int ask_binding(const struct pasid_binding_info *info, void *userdata)
{
	const struct ask_bound *wanted = userdata;

	if (info->has_pasid != (wanted->pasid != NULL))
		return 0;
	*wanted->info = *info;
	return 1;
}

static int ask_bound(void *ctx, const char *address, const uint32_t *pasid, uint64_t set,
	struct pasid_binding_info *ret_info)
{
	const struct ask *ask = ctx;
	struct ask_bound wanted = {pasid, ret_info};
	const struct pasid_list_args args = {
		.set.id = set,
		.address = address,
		.has_host = pasid != NULL,
		.host_pasid = pasid != NULL ? *pasid : 0,
	};
	int r = pasid_binding_list(ask->ctl->client, &args, ask_binding, &wanted);

	return r == 1 ? 0 : r == 0 ? PASID_NOT_FOUND : r;
}

static int ask_lists(struct ask *ask)
{
	struct pasid_host_status status;
	struct pasid_client *client = ask->ctl->client;
	int r = pasid_device_list(client, &(struct pasid_list_args){0}, ask_device, ask);

	if (r == 0)
		r = pasid_set_list(client, NULL, ask_set, ask);
	if (r == 0)
		r = pasid_status(client, &status);
	if (r == 0)
		ask->host.reserved_last = status.reserved_last;
	ask->host.devices = ask->devices;
	ask->host.sets = ask->sets;
	ask->host.find = ask_find;
	ask->host.bound = ask_bound;
	ask->host.ctx = ask;
	return r;
}

/* ------------------------------------------------------------ what happened last */

static void ask_event(struct pasid_client *client, const struct pasid_event *event, void *userdata)
{
	struct ask *ask = userdata;

	(void)client;
	for (size_t i = 0; i < ask->log->finding_count; i++)
		explain_event(&ask->host, &ask->log->findings[i], event);
	ask->ended |= ask->last != 0 && event->sequence >= ask->last;
}

static int64_t ask_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * All events that the daemon keeps, once. A watch from an event that is still to come is refused
 * with the number of the next one, which says where the replay ends. What does not come in time is
 * missing in the answer, and nothing else.
 */
static void ask_events(struct ask *ask)
{
	struct pasid_client *client = ask->ctl->client;
	const int64_t end = ask_now_ms() + EVENTS_WAIT_MS;
	int r = pasid_watch_events(
		client, &(struct pasid_watch_args){.from = UINT64_MAX}, ask_event, ask);

	if (r > 0 && pasid_last_error(client)->has_limit && ask->ctl->role != PASID_ROLE_VMM)
		ask->last = pasid_last_error(client)->limit - 1;
	ask->ended = r > 0 && pasid_last_error(client)->limit <= 1;
	if (ask->ended || pasid_watch_events(client, &(struct pasid_watch_args){.from = 1},
				  ask_event, ask) != 0)
		return;
	while (!ask->ended && ask_now_ms() < end) {
		struct pollfd fd = {.fd = pasid_fd(client), .events = pasid_events(client)};
		int ready = poll(&fd, 1, ask->last != 0 ? EVENTS_WAIT_MS : EVENTS_IDLE_MS);

		if (pasid_dispatch(client, 0) < 0 || ready == 0)
			break;
	}
	(void)pasid_watch(client, NULL, NULL);
}

static int ask_findings(struct ask *ask)
{
	int r = ask_lists(ask);

	for (size_t i = 0; r == 0 && i < ask->log->finding_count; i++)
		r = explain_find(&ask->host, &ask->log->findings[i]);
	if (r != 0)
		return r;
	ask_events(ask);
	explain_trail(ask->ctl, ask->log);
	for (size_t i = 0; i < ask->log->finding_count; i++)
		explain_settle(&ask->host, &ask->log->findings[i]);
	return 0;
}

static int ask_daemon(struct ctl *ctl, struct explain_log *log)
{
	struct ask ask = {.ctl = ctl, .log = log};
	int r = ask_findings(&ask);

	free(ask.devices);
	free(ask.sets);
	return r == 0 ? EXIT_DONE : ctl_failed(ctl, r);
}

/* The answer is what the lines say when that fails, so the failure is no answer of its own. */
static int ask_connect(struct ctl *ctl)
{
	const bool json = ctl->json;
	int code;

	ctl->json = false;
	code = ctl_connect(ctl);
	ctl->json = json;
	if (code != EXIT_DONE)
		fputs("pasidctl: shown is what the lines say themselves\n", stderr);
	return code;
}

/* ------------------------------------------------------------ the answer */

static json_t *answer_text(const char *text)
{
	return text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *answer_number(bool has, uint64_t number)
{
	return has ? json_integer((json_int_t)number) : json_null();
}

static json_t *answer_hex(bool has, uint64_t number)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "0x%llx", (unsigned long long)number);
	return has ? json_string(text) : json_null();
}

static json_t *answer_fault(const struct explain_finding *finding)
{
	const struct fault *fault = &finding->fault;
	json_t *json = json_object();

	json_object_set_new(json, "kind", json_string(fault_kind_text(fault->kind)));
	json_object_set_new(json, "iommu", json_string(fault_iommu_text(fault->iommu)));
	json_object_set_new(json, "unit", answer_text(fault->unit));
	json_object_set_new(json, "stream", answer_number(fault->has_stream, fault->stream));
	json_object_set_new(json, "code", answer_number(fault->has_code, fault->code));
	json_object_set_new(json, "access",
		!fault->has_access ? json_null()
				   : json_string(fault->execute ? "execute"
						 : fault->write ? "write"
								: "read"));
	json_object_set_new(json, "privileged",
		fault->has_privilege ? json_boolean(fault->privileged) : json_null());
	json_object_set_new(json, "stage", answer_number(fault->stage != 0, fault->stage));
	json_object_set_new(json, "guest_physical", answer_hex(fault->has_ipa, fault->ipa));
	json_object_set_new(json, "stalled", json_boolean(fault->stalled));
	json_object_set_new(json, "text", answer_text(fault->text));
	return json;
}

static json_t *answer_last(const struct explain_last *last)
{
	json_t *json = json_object();

	if (!last->known) {
		json_decref(json);
		return json_null();
	}
	json_object_set_new(json, "event", json_string(pasid_event_text(last->kind)));
	json_object_set_new(json, "sequence", answer_number(last->sequence != 0, last->sequence));
	json_object_set_new(json, "set_id", answer_number(last->set != 0, last->set));
	json_object_set_new(json, "set", answer_text(last->name));
	json_object_set_new(json, "guest", answer_number(last->has_guest, last->guest));
	json_object_set_new(json, "when", answer_text(last->when));
	return json;
}

static void answer_owner(json_t *json, const struct explain_finding *finding)
{
	static const char *const states[] = {NULL, "idle", "active", "free-pending", "quarantined"};
	static const char *const bindings[] = {NULL, "binding", "bound", "unbinding", "tainted"};
	const char *state = finding->state < ARRAY_SIZE(states) ? states[finding->state] : NULL;
	const char *binding = finding->is_bound && finding->binding < ARRAY_SIZE(bindings)
				      ? bindings[finding->binding]
				      : NULL;

	json_object_set_new(json, "set", answer_text(finding->set_name));
	json_object_set_new(json, "set_id", answer_number(finding->set != 0, finding->set));
	json_object_set_new(json, "guest", answer_number(finding->has_guest, finding->guest));
	json_object_set_new(json, "state", answer_text(state != NULL ? state : ""));
	json_object_set_new(json, "binding", answer_text(binding != NULL ? binding : ""));
	json_object_set_new(json, "pasid_of", answer_text(finding->other_name));
}

static json_t *answer_finding(const struct explain_finding *finding)
{
	const struct fault *fault = &finding->fault;
	json_t *json = json_object();
	char what[EXPLAIN_TEXT_MAX], whose[EXPLAIN_TEXT_MAX], why[EXPLAIN_TEXT_MAX];

	explain_what(finding, what, sizeof(what));
	explain_whose(finding, whose, sizeof(whose));
	explain_why(finding, why, sizeof(why));
	json_object_set_new(
		json, "attributed", json_boolean(explain_is_attributed(finding->verdict)));
	json_object_set_new(json, "verdict", json_string(explain_verdict_text(finding->verdict)));
	json_object_set_new(json, "line", json_integer((json_int_t)finding->line));
	json_object_set_new(json, "count", json_integer((json_int_t)finding->count));
	json_object_set_new(json, "first", answer_text(fault->when));
	json_object_set_new(json, "last", answer_text(finding->last_when));
	json_object_set_new(json, "address", answer_text(finding->address));
	json_object_set_new(json, "pasid", answer_number(fault->has_pasid, fault->pasid));
	answer_owner(json, finding);
	json_object_set_new(json, "iova", answer_hex(fault->has_address, finding->low));
	json_object_set_new(json, "iova_last", answer_hex(fault->has_address, finding->high));
	json_object_set_new(json, "fault", answer_fault(finding));
	json_object_set_new(json, "happened_last", answer_last(&finding->last));
	json_object_set_new(json, "what", json_string(what));
	json_object_set_new(json, "whose", json_string(whose));
	json_object_set_new(json, "why", answer_text(why));
	return json;
}

static json_t *answer_make(const struct explain_log *log)
{
	json_t *json = json_object(), *findings = json_array();
	uint64_t attributed = 0, refused = log->left_out, not_asked = 0;

	for (size_t i = 0; i < log->finding_count; i++) {
		const struct explain_finding *finding = &log->findings[i];

		if (explain_is_attributed(finding->verdict))
			attributed += finding->count;
		else if (finding->verdict == EXPLAIN_NOT_ASKED)
			not_asked += finding->count;
		else
			refused += finding->count;
		json_array_append_new(findings, answer_finding(finding));
	}
	json_object_set_new(json, "lines", json_integer((json_int_t)log->lines));
	json_object_set_new(json, "not_faults", json_integer((json_int_t)log->others));
	json_object_set_new(json, "faults", json_integer((json_int_t)log->faults));
	json_object_set_new(json, "attributed", json_integer((json_int_t)attributed));
	json_object_set_new(json, "refused", json_integer((json_int_t)refused));
	json_object_set_new(json, "not_asked", json_integer((json_int_t)not_asked));
	json_object_set_new(json, "left_out", json_integer((json_int_t)log->left_out));
	json_object_set_new(json, "findings", findings);
	return json;
}

/* ------------------------------------------------------------ for people */

static const char *show_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static long long show_number(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static void show_finding(size_t number, const json_t *finding)
{
	const json_t *last = json_object_get(finding, "happened_last");
	const enum colour colour =
		json_is_true(json_object_get(finding, "attributed")) ? COLOUR_GOOD : COLOUR_WARN;
	long long count = show_number(finding, "count");

	printf("%zu. %s\n", number, show_text(finding, "what"));
	printf("   whose: %s (%s%s%s)\n", show_text(finding, "whose"), colour_start(colour),
		show_text(finding, "verdict"), colour_end(colour));
	if (show_text(finding, "why") != NULL)
		printf("   why:   %s\n", show_text(finding, "why"));
	if (json_is_object(last) && show_text(last, "when") != NULL)
		printf("   last:  %s, %s\n", show_text(last, "event"), show_text(last, "when"));
	else if (json_is_object(last))
		printf("   last:  %s, event %lld\n", show_text(last, "event"),
			show_number(last, "sequence"));
	printf("   log:   line %lld", show_number(finding, "line"));
	if (show_text(finding, "first") != NULL)
		printf(", %s", show_text(finding, "first"));
	if (count > 1)
		printf(", and %lld more like it", count - 1);
	if (count > 1 && show_text(finding, "last") != NULL)
		printf(", the last %s", show_text(finding, "last"));
	putchar('\n');
}

static const char *show_plural(const json_t *answer, const char *key)
{
	return show_number(answer, key) == 1 ? "" : "s";
}

static void show_explain(const struct ctl *ctl, const json_t *answer)
{
	const json_t *findings = json_object_get(answer, "findings");

	(void)ctl;
	for (size_t i = 0; i < json_array_size(findings); i++)
		show_finding(i + 1, json_array_get(findings, i));
	printf("%lld fault%s in %lld line%s: %lld attributed, %lld refused",
		show_number(answer, "faults"), show_plural(answer, "faults"),
		show_number(answer, "lines"), show_plural(answer, "lines"),
		show_number(answer, "attributed"), show_number(answer, "refused"));
	if (show_number(answer, "not_asked") > 0)
		printf(", %lld not asked about", show_number(answer, "not_asked"));
	printf("; %lld line%s of something else\n", show_number(answer, "not_faults"),
		show_plural(answer, "not_faults"));
	if (show_number(answer, "left_out") > 0)
		printf("%lld faults are not shown: more than %d different ones\n",
			show_number(answer, "left_out"), EXPLAIN_FINDINGS_MAX);
}

/* ------------------------------------------------------------ the command */

/* Without a daemon: what the lines say alone. */
static bool explain_alone(struct explain_log *log)
{
	bool whole = true;

	for (size_t i = 0; i < log->finding_count; i++) {
		struct explain_finding *finding = &log->findings[i];

		explain_name(finding);
		if (finding->fault.kind == FAULT_DAMAGED)
			finding->verdict = EXPLAIN_DAMAGED;
		if (finding->fault.kind == FAULT_FOREIGN)
			finding->verdict = EXPLAIN_FOREIGN;
		whole &= finding->verdict == EXPLAIN_NOT_ASKED;
	}
	return whole && log->left_out == 0;
}

/* What was read, answered with what is known; `asked`: the exit code of asking. */
static int explain_answer(struct ctl *ctl, struct explain_log *log, bool alone, int asked)
{
	bool whole = !alone || explain_alone(log);

	ctl->answer = answer_make(log);
	if (whole && show_number(ctl->answer, "refused") == 0 && asked == EXIT_DONE)
		return EXIT_DONE;
	ctl_print(ctl);
	return asked != EXIT_DONE ? asked : EXIT_REFUSED;
}

static int ctl_explain(struct ctl *ctl)
{
	struct explain_log log = {0};
	bool alone = (ctl->given & CTL_OFFLINE) != 0;
	int code = explain_log_read(ctl, &log), asked = EXIT_DONE;

	if (code == EXIT_DONE && !alone) {
		asked = ask_connect(ctl);
		alone = asked != EXIT_DONE;
		if (!alone)
			code = ask_daemon(ctl, &log);
	}
	if (code == EXIT_DONE)
		code = explain_answer(ctl, &log, alone, asked);
	free(log.findings);
	return code;
}

static const struct ctl_command commands[] = {
	{.name = "explain",
		.arguments = "[LINE... | --journal [--since TIME] [--lines N]] [--offline]",
		.summary = "whose a fault in the kernel's log is, and what it means",
		.help = "Reads lines of the kernel's log: those given, or this boot's in the journal, "
			"or standard\ninput to its end. Knows what VT-d and SMMUv3 have printed since "
			"Linux 5.0, with or without\nthe time, host and level in front. Several lines "
			"of one fault, and faults that are alike,\nare one finding. Each names the "
			"set, the function, the guest's PASID and what happened last\nto it; or says "
			"why nobody can be named. SMMUv3 reports stream ids: where the line does not\n"
			"name the function, the stream id is taken for its address, as most firmware "
			"has it.\n\n--journal runs journalctl, the last 10000 lines or --lines N, from "
			"--since on. --offline asks\nno daemon: what the lines say themselves.\n\n"
			"Exit status: 0 every fault was attributed, or there is none; 1 one was not; 3 "
			"no daemon,\nwhat the lines say themselves was shown.\n\n"
			"Examples:\n  pasidctl explain --journal\n  dmesg | pasidctl explain\n"
			"  pasidctl explain 'DMAR: [DMA Write PASID 0x400] Request device [3b:00.0] "
			"fault addr 0x1000 [fault reason 0x59] SM: Present bit in PASID Table "
			"Entry is clear'\n  pasidctl --json explain --journal --since 1h\n",
		.options = CTL_JOURNAL | CTL_SINCE | CTL_LINES | CTL_OFFLINE,
		.followers = CTL_SINCE | CTL_LINES,
		.leader = CTL_JOURNAL,
		.max_args = CTL_WORDS_MAX,
		.offline = true, /* it connects itself, after it has read */
		.roles = {PASID_ROLE_OBSERVER, PASID_ROLE_VMM},
		.run = ctl_explain,
		.show = show_explain},
};
const struct ctl_group ctl_explain_commands = {commands, ARRAY_SIZE(commands)};
