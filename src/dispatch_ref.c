/* SPDX-License-Identifier: MIT */
/* What handlers share: names of things in requests, and pages of lists. */
#include "dispatch_private.h"

#define PAGE_RESULT                                                                                \
	1u /* field number of the entries, and of the next page, in every list's result */
#define PAGE_NEXT 2u

/* ---------------------------------------------------------------- names */

int ref_set(struct call *call, const Pasid__V1__SetRef *ref, struct set_id *ret_set)
{
	if (!ref) { /* the session's own; the broker knows whether there is one */
		ret_set->v = 0;
		return 0;
	}
	call->subject.set = 0;
	if (ref->key_case == PASID__V1__SET_REF__KEY_NAME) {
		int r = broker_set_by_name(
			call->d->broker, &call->actor, ref->name, ret_set, &call->error);

		call->subject.set_name = ref->name;
		call->subject.set = r ? 0 : ret_set->v;
		return r;
	}
	if (ref->key_case != PASID__V1__SET_REF__KEY_ID || !ref->id)
		return error_set(&call->error, REASON_BAD_ARGUMENT,
			"SetRef names no set; leave it out for a VMM's own set");
	ret_set->v = ref->id;
	call->subject.set = ref->id;
	return 0;
}

int ref_list(struct call *call, const Pasid__V1__SetRef *ref, struct set_id *ret_set)
{
	struct set_info info;
	int r = ref_set(call, ref, ret_set);

	if (r || !ref)
		return r;
	return broker_set_get(call->d->broker, &call->actor, *ret_set, &info, &call->error);
}

void ref_number(struct call *call, uint32_t number, bool guest)
{
	if (call->subject.has_number)
		return;
	call->subject.number = number;
	call->subject.guest = guest;
	call->subject.has_number = true;
}

int ref_pasid(struct call *call, const Pasid__V1__PasidRef *ref, struct pasid_ref *ret_ref)
{
	if (!ref || ref->key_case == PASID__V1__PASID_REF__KEY__NOT_SET)
		return error_set(&call->error, REASON_BAD_ARGUMENT,
			"PasidRef names no number; give the host's or the guest's");
	if (ref->key_case == PASID__V1__PASID_REF__KEY_GUEST)
		*ret_ref = (struct pasid_ref){true, ref->guest};
	else
		*ret_ref = (struct pasid_ref){false, ref->host};
	ref_number(call, ret_ref->number, ret_ref->guest);
	return 0;
}

int ref_device(struct call *call, uint64_t id, struct device_id *ret_device)
{
	if (!id)
		return error_set(&call->error, REASON_BAD_ARGUMENT,
			"0 names no device; use the id from its registration");
	ret_device->v = id;
	if (!call->subject.device)
		call->subject.device = id;
	return 0;
}

int ref_devices(struct call *call, const uint64_t *ids, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && !r; i++)
		r = ref_device(call, ids[i], &call->d->devices[i]);
	return r;
}

int ref_address(struct call *call, const char *text, struct rid *ret_rid)
{
	if (wire_rid_parse(text, ret_rid))
		return error_set(&call->error, REASON_BAD_ARGUMENT,
			"'%s' is no PCI address; write segment:bus:device.function, as in "
			"0000:3a:00.1",
			text);
	call->subject.rid = *ret_rid;
	call->subject.has_rid = true;
	return 0;
}

/* ---------------------------------------------------------------- lists */

/* What one request is for: records passed over, and records found that it did not ask for. */
#define PAGE_SCAN_MAX  65536u
#define PAGE_CALLS_MAX 2048u

struct page page_begin(struct call *call, uint64_t after, uint32_t limit)
{
	struct page page = {.call = call, .cursor = after, .next = after, .first = after};

	page.left = limit ? limit : DISPATCH_PAGE_DEFAULT;
	if (page.left > DISPATCH_PAGE_MAX)
		page.left = DISPATCH_PAGE_MAX;
	/* Where the next page begins is written last and must fit, too. */
	call->out.room -= wire_field_size(PAGE_NEXT, sizeof(uint64_t) + 2);
	return page;
}

bool page_add(struct page *page, const ProtobufCMessage *entry)
{
	struct wire_out *out = &page->call->out;

	if (page->left)
		wire_out_message(out, PAGE_RESULT, entry);
	page->full = !page->left || out->full;
	if (page->full)
		return false;
	page->left--;
	page->next = page->cursor;
	return true;
}

bool page_goes_on(struct page *page)
{
	page->scans = true;
	return page->cursor - page->first < PAGE_SCAN_MAX && page->calls++ < PAGE_CALLS_MAX;
}

void page_end(struct page *page)
{
	struct wire_out *out = &page->call->out;

	out->room += wire_field_size(PAGE_NEXT, sizeof(uint64_t) + 2);
	out->full = false;
	if (page->scans && !page->full && page->cursor != BROKER_END) {
		page->full = true; /* nothing found as far as one request looks */
		page->next = page->cursor;
	}
	if (page->full)
		wire_out_uint(out, PAGE_NEXT, page->next);
}

/* ---------------------------------------------------------------- results */

void call_fill_counter(Pasid__V1__Counter *counter, const struct account *account)
{
	counter->limit = account->limit;
	counter->current = account->current;
	counter->peak = account->peak;
	counter->hits = account->hits;
}

void call_write(struct call *call, const ProtobufCMessage *message)
{
	wire_out_fields(&call->out, message);
}
