/* SPDX-License-Identifier: MIT */
#include "smmuv3_fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------ events */

#define HAS_ADDRESS 1u /* the third word is the address, the second says what was tried */
#define HAS_IPA     2u /* and the fourth what the first stage led to */

static const struct event {
	uint32_t number, has;
	const char *name, *meaning;
} events[] = {
	{SMMUV3_F_UUT, HAS_ADDRESS, "F_UUT", "the transaction is of a kind that is not translated"},
	{SMMUV3_C_BAD_STREAMID, 0, "C_BAD_STREAMID",
		"the SMMU's table has no entry for the device"},
	{SMMUV3_F_STE_FETCH, 0, "F_STE_FETCH", "the device's entry cannot be read"},
	{SMMUV3_C_BAD_STE, 0, "C_BAD_STE", "the device's entry is not valid"},
	{SMMUV3_F_BAD_ATS_TREQ, HAS_ADDRESS, "F_BAD_ATS_TREQ",
		"the device translates by itself and was not allowed to"},
	{SMMUV3_F_STREAM_DISABLED, 0, "F_STREAM_DISABLED",
		"nothing is attached to the function itself, for DMA without a PASID"},
	{SMMUV3_F_TRANSL_FORBIDDEN, HAS_ADDRESS, "F_TRANSL_FORBIDDEN",
		"the device used an address that it had translated by itself, and may not"},
	{SMMUV3_C_BAD_SUBSTREAMID, 0, "C_BAD_SUBSTREAMID",
		"the PASID is above all that the function may use, or the function has none"},
	{SMMUV3_F_CD_FETCH, 0, "F_CD_FETCH", "the PASID's entry cannot be read"},
	{SMMUV3_C_BAD_CD, 0, "C_BAD_CD", "nothing is attached under this PASID"},
	{SMMUV3_F_WALK_EABT, HAS_ADDRESS | HAS_IPA, "F_WALK_EABT",
		"a page table lies where nothing can be read"},
	{SMMUV3_F_TRANSLATION, HAS_ADDRESS | HAS_IPA, "F_TRANSLATION", "nothing is mapped there"},
	{SMMUV3_F_ADDR_SIZE, HAS_ADDRESS | HAS_IPA, "F_ADDR_SIZE",
		"an address is beyond the width of the tables"},
	{SMMUV3_F_ACCESS, HAS_ADDRESS | HAS_IPA, "F_ACCESS", "the page has no access flag"},
	{SMMUV3_F_PERMISSION, HAS_ADDRESS | HAS_IPA, "F_PERMISSION", "the tables forbid it"},
	{SMMUV3_F_TLB_CONFLICT, HAS_ADDRESS | HAS_IPA, "F_TLB_CONFLICT",
		"two translations of the address were cached"},
	{SMMUV3_F_CFG_CONFLICT, 0, "F_CFG_CONFLICT", "two entries of the device were cached"},
	{SMMUV3_E_PAGE_REQUEST, HAS_ADDRESS, "E_PAGE_REQUEST",
		"the SMMU guesses that a page will be wanted"},
	{SMMUV3_F_VMS_FETCH, 0, "F_VMS_FETCH", "the VM's structure cannot be read"},
};

static const struct event *event_find(uint32_t number)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (events[i].number == number)
			return &events[i];
	return NULL;
}

const char *smmuv3_event_text(uint32_t event)
{
	const struct event *found = event_find(event);

	return found ? found->name : NULL;
}

const char *smmuv3_event_meaning(uint32_t event)
{
	const struct event *found = event_find(event);

	return found ? found->meaning : NULL;
}

uint32_t smmuv3_event_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (strcmp(events[i].name, name) == 0)
			return events[i].number;
	return 0;
}

/* ------------------------------------------------------------ records */

/* Word 0 */
#define EVENT_NUMBER  UINT64_C(0xff)
#define EVENT_SSV     (UINT64_C(1) << 11)
#define EVENT_SSID_AT 12
#define EVENT_SID_AT  32
/* Word 1 */
#define EVENT_STALL    (UINT64_C(1) << 31)
#define EVENT_PNU      (UINT64_C(1) << 33)
#define EVENT_IND      (UINT64_C(1) << 34)
#define EVENT_RNW      (UINT64_C(1) << 35)
#define EVENT_S2       (UINT64_C(1) << 39)
#define EVENT_CLASS_AT 40
#define EVENT_CLASS_IN UINT64_C(2) /* the address itself, no table on the way */
/* Word 3 */
#define EVENT_IPA UINT64_C(0x000ffffffffff000)

static void fault_set_stream(struct fault *fault, uint32_t stream)
{
	fault->has_stream = true;
	fault->stream = stream;
	fault->has_rid = fault->rid_is_stream = stream <= 0xffff;
	fault->rid.v = fault->has_rid ? stream : 0;
}

static void fault_set_event(struct fault *fault, uint32_t event)
{
	const char *name = smmuv3_event_text(event);

	fault->has_code = true;
	fault->code = event;
	if (name)
		(void)snprintf(fault->text, sizeof(fault->text), "%s", name);
	else
		(void)snprintf(fault->text, sizeof(fault->text), "event 0x%02" PRIx32, event);
}

void smmuv3_event_decode(const uint64_t word[SMMUV3_EVENT_WORDS], struct fault *ret_fault)
{
	const uint32_t number = (uint32_t)(word[0] & EVENT_NUMBER);
	const struct event *event = event_find(number);
	const uint32_t has = event ? event->has : 0;
	struct fault fault = {.kind = FAULT_DMA, .iommu = FAULT_SMMUV3};

	fault_set_stream(&fault, (uint32_t)(word[0] >> EVENT_SID_AT));
	fault_set_event(&fault, number);
	fault.has_pasid = (word[0] & EVENT_SSV) != 0;
	fault.pasid = fault.has_pasid ? (uint32_t)(word[0] >> EVENT_SSID_AT & PASID_LAST) : 0;
	if (number == SMMUV3_E_PAGE_REQUEST)
		fault.kind = FAULT_PAGE_REQUEST;
	if (has & HAS_ADDRESS) {
		fault.has_address = fault.has_access = fault.has_privilege = true;
		fault.address = word[2];
		fault.write = !(word[1] & EVENT_RNW);
		fault.execute = (word[1] & EVENT_IND) != 0;
		fault.privileged = (word[1] & EVENT_PNU) != 0;
	}
	if (has & HAS_IPA) {
		fault.stalled = (word[1] & EVENT_STALL) != 0;
		fault.stage = word[1] & EVENT_S2 ? 2 : 1;
		fault.has_ipa = fault.stage == 2;
		fault.ipa = fault.has_ipa ? word[3] & EVENT_IPA : 0;
	}
	*ret_fault = fault;
}

void smmuv3_event_encode(const struct fault *fault, uint64_t ret_word[SMMUV3_EVENT_WORDS])
{
	memset(ret_word, 0, SMMUV3_EVENT_WORDS * sizeof(*ret_word));
	ret_word[0] = (uint64_t)fault->stream << EVENT_SID_AT | (fault->code & EVENT_NUMBER);
	if (fault->has_pasid)
		ret_word[0] |= EVENT_SSV | (uint64_t)fault->pasid << EVENT_SSID_AT;
	if (fault->has_access)
		ret_word[1] = (fault->write ? 0 : EVENT_RNW) | (fault->execute ? EVENT_IND : 0) |
			      (fault->privileged ? EVENT_PNU : 0);
	if (fault->stage)
		ret_word[1] |= (fault->stage == 2 ? EVENT_S2 : 0) |
			       EVENT_CLASS_IN << EVENT_CLASS_AT |
			       (fault->stalled ? EVENT_STALL : 0);
	ret_word[2] = fault->has_address ? fault->address : 0;
	ret_word[3] = fault->has_ipa ? fault->ipa & EVENT_IPA : 0;
}

/* ------------------------------------------------------------ what is pending */

static void pending_bad(
	const struct smmuv3_pending *pending, const char *text, struct fault_queue *queue)
{
	struct fault fault = {.kind = FAULT_DAMAGED, .iommu = FAULT_SMMUV3};

	memcpy(fault.unit, pending->unit, sizeof(fault.unit));
	memcpy(fault.when, pending->fault.when, sizeof(fault.when));
	(void)snprintf(fault.text, sizeof(fault.text), "%s", text);
	fault_queue_put(queue, &fault);
}

/* Nothing more comes of it. */
static void pending_end(struct smmuv3_pending *pending, struct fault_queue *queue)
{
	if (pending->wait == SMMUV3_WAIT_WORDS)
		pending_bad(pending, "an event whose record is not whole", queue);
	else if (pending->wait == SMMUV3_WAIT_REQUEST)
		pending_bad(pending, "a page request whose second line is missing", queue);
	else if (pending->wait != SMMUV3_WAIT_NOTHING)
		fault_queue_put(queue, &pending->fault);
	pending->wait = SMMUV3_WAIT_NOTHING;
}

static void pending_begin(struct smmuv3_pending *pending, enum smmuv3_wait wait, const char *when,
	struct fault_queue *queue)
{
	pending_end(pending, queue);
	pending->wait = wait;
	pending->words = 0;
	pending->fault = (struct fault){.kind = FAULT_DMA, .iommu = FAULT_SMMUV3};
	(void)snprintf(pending->fault.when, sizeof(pending->fault.when), "%s", when);
	memcpy(pending->fault.unit, pending->unit, sizeof(pending->fault.unit));
}

static struct smmuv3_pending *pending_find(
	struct smmuv3_fault_state *state, const char *unit, struct fault_queue *queue)
{
	struct smmuv3_pending *pending;

	for (uint32_t i = 0; i < SMMUV3_PENDING_MAX; i++)
		if (state->pending[i].unit[0] && strcmp(state->pending[i].unit, unit) == 0)
			return &state->pending[i];
	pending = &state->pending[state->next++ % SMMUV3_PENDING_MAX];
	pending_end(pending, queue);
	*pending = (struct smmuv3_pending){0};
	(void)snprintf(pending->unit, sizeof(pending->unit), "%s", unit);
	return pending;
}

/* ------------------------------------------------------------ lines of an event */

static enum fault_line event_first(struct smmuv3_pending *pending, const char *when,
	struct fault_text text, struct fault_queue *queue)
{
	uint64_t event;

	if (!fault_take_hex(&text, &event) || event > EVENT_NUMBER ||
		!fault_take(&text, " received:") || !fault_text_is_empty(&text)) {
		pending_end(pending, queue);
		pending_bad(pending, "the first line of an event, not whole", queue);
		return FAULT_LINE_BAD;
	}
	pending_begin(pending, SMMUV3_WAIT_WORDS, when, queue);
	pending->event = (uint32_t)event;
	return FAULT_LINE_FAULT;
}

static enum fault_line event_word(
	struct smmuv3_pending *pending, uint64_t word, struct fault_queue *queue)
{
	char when[sizeof(pending->fault.when)];

	if (pending->skip > 0) {
		pending->skip--;
		return FAULT_LINE_PART;
	}
	if (pending->wait != SMMUV3_WAIT_WORDS) {
		pending_end(pending, queue);
		pending_bad(pending, "a word of an event whose beginning is missing", queue);
		return FAULT_LINE_BAD;
	}
	pending->word[pending->words++] = word;
	if (pending->words < SMMUV3_EVENT_WORDS)
		return FAULT_LINE_PART;
	pending->wait = SMMUV3_WAIT_NAME;
	if ((pending->word[0] & EVENT_NUMBER) != pending->event) {
		pending->wait = SMMUV3_WAIT_NOTHING;
		pending_bad(pending, "an event whose record is another event's", queue);
		return FAULT_LINE_BAD;
	}
	memcpy(when, pending->fault.when, sizeof(when));
	smmuv3_event_decode(pending->word, &pending->fault);
	memcpy(pending->fault.when, when, sizeof(when));
	memcpy(pending->fault.unit, pending->unit, sizeof(pending->fault.unit));
	return FAULT_LINE_PART;
}

static void fault_set_client(struct fault *fault)
{
	fault->unknown_stream = strcmp(fault->client, "(unassigned sid)") == 0;
	fault->rid_is_stream = false;
	fault_set_function(fault);
}

/* Behind "event: ": NAME client: CLIENT sid: N ssid: N [iova: N ipa: N | fetch_addr: N] */
static bool event_name(struct fault_text *text, struct fault *fault)
{
	char name[32];
	uint64_t stream, pasid, fetched;

	if (!fault_take_until(text, " client: ", name, sizeof(name)) ||
		!fault_take_until(text, " sid: ", fault->client, sizeof(fault->client)) ||
		!fault_take_hex(text, &stream) || stream > UINT32_MAX ||
		!fault_take(text, " ssid: ") || !fault_take_hex(text, &pasid) || pasid > PASID_LAST)
		return false;
	fault_set_stream(fault, (uint32_t)stream);
	fault_set_client(fault);
	fault_set_event(fault, smmuv3_event_find(name));
	/* The kernel prints 0 where there is none. */
	fault->has_pasid = pasid != 0;
	fault->pasid = (uint32_t)pasid;
	if (fault_take(text, " iova: ")) {
		fault->has_address = true;
		if (!fault_take_hex(text, &fault->address) || !fault_take(text, " ipa: ") ||
			!fault_take_hex(text, &fault->ipa))
			return false;
	} else if (fault_take(text, " fetch_addr: ") && !fault_take_hex(text, &fetched)) {
		return false;
	}
	return fault_text_is_empty(text);
}

static bool event_is_same(const struct fault *had, const struct fault *named)
{
	return had->stream == named->stream && had->pasid == named->pasid &&
	       (had->code == named->code || named->code == 0);
}

/* What the driver makes of an event, behind the record or, in a log that was cut, alone. */
static enum fault_line event_named(struct smmuv3_pending *pending, const char *when,
	struct fault_text text, struct fault_queue *queue)
{
	struct fault named = {.kind = FAULT_DMA, .iommu = FAULT_SMMUV3};
	enum fault_line line = FAULT_LINE_PART;

	if (!event_name(&text, &named)) {
		pending_end(pending, queue);
		pending_bad(pending, "the line that names an event, not whole", queue);
		return FAULT_LINE_BAD;
	}
	if (pending->wait != SMMUV3_WAIT_NAME || !event_is_same(&pending->fault, &named)) {
		pending_begin(pending, SMMUV3_WAIT_DETAIL, when, queue);
		(void)snprintf(named.when, sizeof(named.when), "%s", when);
		memcpy(named.unit, pending->unit, sizeof(named.unit));
		pending->fault = named;
		line = FAULT_LINE_FAULT;
	}
	memcpy(pending->fault.client, named.client, sizeof(named.client));
	fault_set_client(&pending->fault);
	pending->wait = SMMUV3_WAIT_DETAIL;
	if (!named.has_address)
		pending_end(pending, queue);
	return line;
}

/* unpriv data write s1 "..." [ttd_read] [stall] stag: N */
static bool event_details(struct fault_text *text, struct fault *fault)
{
	char words[64];
	uint64_t tag;

	fault->has_access = fault->has_privilege = true;
	fault->privileged = fault_take(text, "priv ");
	if (!fault->privileged && !fault_take(text, "unpriv "))
		return false;
	fault->execute = fault_take(text, "inst ");
	if (!fault->execute && !fault_take(text, "data "))
		return false;
	fault->write = fault_take(text, "write ");
	if (!fault->write && !fault_take(text, "read "))
		return false;
	fault->stage = fault_take(text, "s1 \"") ? 1 : fault_take(text, "s2 \"") ? 2 : 0;
	if (!fault->stage || !fault_take_until(text, "\"", words, sizeof(words)))
		return false;
	fault->has_ipa = fault->stage == 2;
	if (!fault_take(text, " ttd_read"))
		(void)fault_take(text, " ttd_write");
	fault->stalled = fault_take(text, " stall");
	return fault_take(text, " stag: ") && fault_take_hex(text, &tag) &&
	       fault_text_is_empty(text);
}

static enum fault_line event_detail(
	struct smmuv3_pending *pending, struct fault_text text, struct fault_queue *queue)
{
	struct fault fault = pending->fault;

	if (pending->wait != SMMUV3_WAIT_DETAIL) {
		pending_end(pending, queue);
		pending_bad(pending, "the details of an event that is missing", queue);
		return FAULT_LINE_BAD;
	}
	if (!event_details(&text, &fault)) {
		pending_end(pending, queue);
		pending_bad(pending, "the details of an event, not whole", queue);
		return FAULT_LINE_BAD;
	}
	pending->fault = fault;
	pending_end(pending, queue);
	return FAULT_LINE_PART;
}

/* ------------------------------------------------------------ page requests */

/* sid 0x00000100.0x00001: [3L] unprivileged RW access at iova 0x... */
static bool request_details(struct fault_text *text, struct fault *fault)
{
	uint64_t stream, pasid, index;

	if (!fault_take_hex(text, &stream) || stream > UINT32_MAX || !fault_take(text, ".") ||
		!fault_take_hex(text, &pasid) || pasid > PASID_LAST || !fault_take(text, ": [") ||
		!fault_take_number(text, &index))
		return false;
	(void)fault_take(text, "L");
	if (!fault_take(text, "] "))
		return false;
	fault->privileged = !fault_take(text, "un");
	if (!fault_take(text, "privileged "))
		return false;
	(void)fault_take(text, "R");
	fault->write = fault_take(text, "W");
	fault->execute = fault_take(text, "X");
	fault->has_access = fault->has_privilege = fault->has_address = true;
	fault_set_stream(fault, (uint32_t)stream);
	fault->has_pasid = pasid != 0;
	fault->pasid = (uint32_t)pasid;
	return fault_take(text, " access at iova ") && fault_take_hex(text, &fault->address) &&
	       fault_text_is_empty(text);
}

static enum fault_line request_line(struct smmuv3_pending *pending, const char *when,
	struct fault_text text, struct fault_queue *queue)
{
	enum fault_line line = FAULT_LINE_PART;

	if (pending->wait != SMMUV3_WAIT_REQUEST) {
		pending_begin(pending, SMMUV3_WAIT_REQUEST, when, queue);
		line = FAULT_LINE_FAULT;
	}
	pending->wait = SMMUV3_WAIT_NOTHING;
	if (!request_details(&text, &pending->fault)) {
		pending_bad(pending, "a page request, not whole", queue);
		return FAULT_LINE_BAD;
	}
	pending->fault.kind = FAULT_PAGE_REQUEST;
	(void)snprintf(pending->fault.text, sizeof(pending->fault.text), "unexpected PRI request");
	fault_queue_put(queue, &pending->fault);
	return line;
}

/* ------------------------------------------------------------ lines */

/* About the SMMU as a whole. Beginnings; they may come between the lines of an event. */
static const char *const unit_errors[] = {
	"unexpected global error reported (",
	"device has entered Service Failure Mode!",
	"GERROR MSI write aborted",
	"PRIQ MSI write aborted",
	"EVTQ MSI write aborted",
	"CMDQ MSI write aborted",
	"PRIQ write aborted",
	"EVTQ write aborted",
	"EVTQ overflow detected",
	"PRIQ overflow detected",
	"CMDQ error (",
	"CMDQ timeout",
	"CMD_SYNC timeout",
	"retrying command fetch",
};

static bool unit_line(const struct smmuv3_pending *pending, const char *when,
	struct fault_text message, struct fault_queue *queue)
{
	struct fault fault = {.kind = FAULT_UNIT, .iommu = FAULT_SMMUV3};

	for (size_t i = 0; i < ARRAY_SIZE(unit_errors); i++) {
		struct fault_text text = message;

		if (!fault_take(&text, unit_errors[i]))
			continue;
		fault_take_rest(&message, fault.text, sizeof(fault.text));
		memcpy(fault.unit, pending->unit, sizeof(fault.unit));
		(void)snprintf(fault.when, sizeof(fault.when), "%s", when);
		fault_queue_put(queue, &fault);
		return true;
	}
	return false;
}

/* A tab in front of what is more about an event; some loggers write it in their own way. */
static void take_tab(struct fault_text *text)
{
	while (fault_take(text, "\t") || fault_take(text, " ") || fault_take(text, "\\x09") ||
		fault_take(text, "#011"))
		;
}

/* A number and nothing else. */
static bool take_word(struct fault_text text, uint64_t *ret_word)
{
	struct fault_text digits;

	take_tab(&text);
	digits = text;
	return fault_take(&digits, "0x") && fault_take_hex(&text, ret_word) &&
	       fault_text_is_empty(&text);
}

static bool is_request(struct fault_text *text)
{
	struct fault_text here = *text;

	take_tab(&here);
	if (!fault_take(&here, "sid 0x"))
		return false;
	here.at -= 2;
	*text = here;
	return true;
}

enum fault_line smmuv3_fault_line(struct smmuv3_fault_state *state, const char *unit,
	const char *when, struct fault_text message, struct fault_queue *queue)
{
	struct smmuv3_pending *pending = pending_find(state, unit, queue);
	struct fault_text text = message;
	uint64_t word;

	if (take_word(text, &word))
		return event_word(pending, word, queue);
	if (fault_take(&text, "event 0x")) {
		text.at -= 2;
		return event_first(pending, when, text, queue);
	}
	if (fault_take(&text, "event: "))
		return event_named(pending, when, text, queue);
	if (fault_take(&text, "priv ") || fault_take(&text, "unpriv "))
		return event_detail(pending, message, queue);
	if (fault_take(&text, "unexpected PRI request received:")) {
		pending_begin(pending, SMMUV3_WAIT_REQUEST, when, queue);
		return FAULT_LINE_FAULT;
	}
	if (is_request(&text))
		return request_line(pending, when, text, queue);
	if (fault_take(&text, "skipping command in error state:")) {
		pending->skip = 2;
		return FAULT_LINE_PART;
	}
	return unit_line(pending, when, message, queue) ? FAULT_LINE_FAULT : FAULT_LINE_OTHER;
}

void smmuv3_fault_end(struct smmuv3_fault_state *state, struct fault_queue *queue)
{
	for (uint32_t i = 0; i < SMMUV3_PENDING_MAX; i++)
		pending_end(&state->pending[i], queue);
}

/* ------------------------------------------------------------ the other way */

#define FORMAT_UNIT "arm-smmu-v3 arm-smmu-v3.0.auto: "

static int format_name(const struct fault *fault, const char *name, char *ret_text, size_t size)
{
	char address[64] = "", detail[128] = "";

	if (fault->stage) {
		(void)snprintf(address, sizeof(address), " iova: 0x%" PRIx64 " ipa: 0x%" PRIx64,
			fault->address, fault->has_ipa ? fault->ipa : 0);
		(void)snprintf(detail, sizeof(detail),
			FORMAT_UNIT "%s %s %s s%" PRIu32
				    " \"Input address caused fault\"%s stag: 0x0\n",
			fault->privileged ? "priv" : "unpriv", fault->execute ? "inst" : "data",
			fault->write ? "write" : "read", fault->stage,
			fault->stalled ? " stall" : "");
	}
	return snprintf(ret_text, size,
		FORMAT_UNIT "event: %s client: %04x:%02x:%02x.%u sid: 0x%" PRIx32
			    " ssid: 0x%" PRIx32 "%s\n%s",
		name, fault->rid.v >> 16, fault->rid.v >> 8 & 0xff, fault->rid.v >> 3 & 0x1f,
		fault->rid.v & 7, fault->stream, fault->has_pasid ? fault->pasid : 0, address,
		detail);
}

size_t smmuv3_fault_format(const struct fault *fault, char *ret_lines, size_t size)
{
	const char *name = smmuv3_event_text(fault->code);
	uint64_t word[SMMUV3_EVENT_WORDS];
	int length, more;

	smmuv3_event_encode(fault, word);
	length = snprintf(ret_lines, size,
		FORMAT_UNIT "event 0x%02" PRIx32 " received:\n" FORMAT_UNIT "\t0x%016" PRIx64
			    "\n" FORMAT_UNIT "\t0x%016" PRIx64 "\n" FORMAT_UNIT "\t0x%016" PRIx64
			    "\n" FORMAT_UNIT "\t0x%016" PRIx64 "\n",
		fault->code, word[0], word[1], word[2], word[3]);
	if (length < 0 || (size_t)length >= size)
		return 0;
	more = format_name(
		fault, name ? name : "UNKNOWN", ret_lines + length, size - (size_t)length);
	return more > 0 && (size_t)more < size - (size_t)length ? (size_t)length + (size_t)more : 0;
}
