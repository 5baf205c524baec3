/* SPDX-License-Identifier: MIT */
/* Whose a fault is. No I/O: the daemon is behind struct explain_host. */
#include "explain.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *text;
	bool attributed;
} find_verdicts[] = {
#define V(name, text, attributed) {text, attributed},
	EXPLAIN_VERDICTS(V)
#undef V
};

const char *explain_verdict_text(enum explain_verdict verdict)
{
	return verdict < EXPLAIN_VERDICT_COUNT ? find_verdicts[verdict].text : "unknown";
}

bool explain_is_attributed(enum explain_verdict verdict)
{
	return verdict < EXPLAIN_VERDICT_COUNT && find_verdicts[verdict].attributed;
}

bool explain_is_same(const struct fault *a, const struct fault *b)
{
	if (a->kind != b->kind || a->iommu != b->iommu || a->has_rid != b->has_rid ||
		a->rid.v != b->rid.v || a->has_segment != b->has_segment ||
		a->stream != b->stream || a->has_pasid != b->has_pasid || a->pasid != b->pasid ||
		a->code != b->code || a->write != b->write)
		return false;
	if (a->has_rid || a->has_stream)
		return true;
	return strcmp(a->unit, b->unit) == 0 && strcmp(a->client, b->client) == 0 &&
	       strcmp(a->text, b->text) == 0;
}

void explain_name(struct explain_finding *finding)
{
	const struct fault *fault = &finding->fault;
	const uint32_t v = fault->rid.v;

	if (fault->has_segment)
		(void)snprintf(finding->address, sizeof(finding->address), "%04x:%02x:%02x.%u",
			v >> 16, v >> 8 & 0xff, v >> 3 & 0x1f, v & 7);
	else if (fault->has_rid)
		(void)snprintf(finding->address, sizeof(finding->address), "%02x:%02x.%u",
			v >> 8 & 0xff, v >> 3 & 0x1f, v & 7);
	else
		(void)snprintf(finding->address, sizeof(finding->address), "%s", fault->client);
}

/* ------------------------------------------------------------ the function */

/* Segment and the rest may differ in how they are written: "0000:3b:00.0" is the daemon's way. */
static bool find_is_function(const struct pasid_device_info *device, const struct fault *fault)
{
	const char *address = device->address;
	struct fault_text text = {address, address + strnlen(address, sizeof(device->address))};
	struct rid rid;
	bool has_segment;

	if (!fault_take_rid(&text, &rid, &has_segment))
		return false;
	return fault->has_segment ? rid.v == fault->rid.v
				  : (rid.v & 0xffff) == (fault->rid.v & 0xffff);
}

/* The exclusive registration, or the shared one, or a slice of it; NULL: nobody's. */
static const struct pasid_device_info *find_function(
	const struct explain_host *host, const struct fault *fault, bool *ret_ambiguous)
{
	const struct pasid_device_info *found = NULL;

	*ret_ambiguous = false;
	for (size_t i = 0; i < host->device_count; i++) {
		const struct pasid_device_info *device = &host->devices[i];

		if (!find_is_function(device, fault))
			continue;
		if (found != NULL && strcmp(found->address, device->address) != 0)
			*ret_ambiguous = true;
		if (found == NULL || found->kind == PASID_DEVICE_SLICE)
			found = device;
	}
	return found;
}

static void find_take_set(
	const struct explain_host *host, struct explain_finding *finding, uint64_t set)
{
	finding->set = set;
	for (size_t i = 0; i < host->set_count; i++) {
		if (host->sets[i].id != set)
			continue;
		(void)snprintf(
			finding->set_name, sizeof(finding->set_name), "%s", host->sets[i].name);
		finding->mode = host->sets[i].mode;
	}
}

static bool find_has_slice(const struct explain_host *host, const char *address, uint64_t set)
{
	for (size_t i = 0; i < host->device_count; i++)
		if (host->devices[i].set == set && host->devices[i].kind == PASID_DEVICE_SLICE &&
			strcmp(host->devices[i].address, address) == 0)
			return true;
	return false;
}

/* ------------------------------------------------------------ the number */

static int find_bound(
	const struct explain_host *host, struct explain_finding *finding, const uint32_t *pasid)
{
	struct pasid_binding_info info;
	int r = host->bound(host->ctx, finding->address, pasid, finding->set, &info);

	if (r != 0)
		return r == PASID_NOT_FOUND ? 0 : r;
	finding->is_bound = true;
	finding->binding = info.state;
	return 0;
}

static void find_take_grant(struct explain_finding *finding, const struct pasid_grant_info *info)
{
	finding->state = info->state;
	finding->has_guest = info->has_guest;
	finding->guest = info->guest_pasid;
}

/* A function of one set: whatever the PASID is, it was that set's VM that used it. */
static int find_exclusive(const struct explain_host *host, struct explain_finding *finding)
{
	const struct fault *fault = &finding->fault;
	struct pasid_grant_info info = {0};
	int r;

	if (finding->mode == PASID_SET_GUEST_OWNED && fault->has_pasid) {
		finding->verdict = EXPLAIN_GUEST_TABLE;
		finding->has_guest = true;
		finding->guest = fault->pasid;
		return find_bound(host, finding, NULL);
	}
	if (!fault->has_pasid) {
		finding->verdict = EXPLAIN_FUNCTION;
		return find_bound(host, finding, NULL);
	}
	finding->verdict = EXPLAIN_STRANGER;
	if (fault->pasid == 0)
		return 0;
	r = host->find(host->ctx, fault->pasid, finding->set, &info);
	if (r == 0 && info.set == finding->set &&
		(info.state == PASID_GRANT_ACTIVE || info.state == PASID_GRANT_FREE_PENDING)) {
		finding->verdict = EXPLAIN_NUMBER;
		find_take_grant(finding, &info);
		return find_bound(host, finding, &fault->pasid);
	}
	if (r == 0 && info.set == finding->set)
		find_take_grant(finding, &info);
	if (r != 0 && r != PASID_NOT_FOUND)
		return r;
	r = host->find(host->ctx, fault->pasid, 0, &info);
	if (r == 0 && info.set != 0 && info.set != finding->set) {
		finding->other = info.set;
		(void)snprintf(
			finding->other_name, sizeof(finding->other_name), "%s", info.set_name);
	}
	return r == PASID_NOT_FOUND || r == PASID_INVALID ? 0 : r;
}

/* Of a number that several sets have: the one with a slice of the function. */
static int find_among_slices(const struct explain_host *host, struct explain_finding *finding,
	struct pasid_grant_info *ret_info)
{
	for (size_t i = 0; i < host->device_count; i++) {
		const struct pasid_device_info *device = &host->devices[i];
		int r;

		if (device->kind != PASID_DEVICE_SLICE ||
			strcmp(device->address, finding->address) != 0)
			continue;
		r = host->find(host->ctx, finding->fault.pasid, device->set, ret_info);
		if (r != 0 && r != PASID_NOT_FOUND)
			return r;
		if (r == 0 && ret_info->set == device->set)
			return 0;
	}
	return PASID_NOT_FOUND;
}

/* A shared function: the PASID alone says whose it was. */
static int find_shared(const struct explain_host *host, struct explain_finding *finding)
{
	const struct fault *fault = &finding->fault;
	struct pasid_grant_info info = {0};
	int r;

	if (!fault->has_pasid) {
		finding->verdict = EXPLAIN_DAEMON;
		return 0;
	}
	finding->verdict =
		fault->pasid <= host->reserved_last ? EXPLAIN_KERNEL_PASID : EXPLAIN_UNKNOWN_PASID;
	if (fault->pasid == 0)
		return 0;
	r = host->find(host->ctx, fault->pasid, 0, &info);
	if (r == PASID_INVALID)
		r = find_among_slices(host, finding, &info);
	if (r != 0)
		return r == PASID_NOT_FOUND ? 0 : r;
	if (info.state == PASID_GRANT_IDLE || info.set == 0)
		return 0;
	find_take_grant(finding, &info);
	find_take_set(host, finding, info.set);
	if (finding->set_name[0] == '\0')
		(void)snprintf(finding->set_name, sizeof(finding->set_name), "%s", info.set_name);
	if (info.state == PASID_GRANT_QUARANTINED)
		finding->verdict = EXPLAIN_FREED;
	else if (find_has_slice(host, finding->address, info.set))
		finding->verdict = EXPLAIN_NUMBER;
	else
		finding->verdict = EXPLAIN_NOT_HERE;
	return find_bound(host, finding, &fault->pasid);
}

/* ------------------------------------------------------------ the verdict */

int explain_find(const struct explain_host *host, struct explain_finding *finding)
{
	const struct fault *fault = &finding->fault;
	const struct pasid_device_info *device;
	bool ambiguous;

	explain_name(finding);
	if (fault->kind == FAULT_DAMAGED || fault->kind == FAULT_FOREIGN) {
		finding->verdict = fault->kind == FAULT_DAMAGED ? EXPLAIN_DAMAGED : EXPLAIN_FOREIGN;
		return 0;
	}
	finding->verdict = fault->client[0] != '\0' || fault->has_stream ? EXPLAIN_UNKNOWN_DEVICE
									 : EXPLAIN_NO_DEVICE;
	if (!fault->has_rid || fault->unknown_stream)
		return 0;
	device = find_function(host, fault, &ambiguous);
	finding->verdict = ambiguous ? EXPLAIN_AMBIGUOUS : EXPLAIN_UNKNOWN_DEVICE;
	if (device == NULL || ambiguous)
		return 0;
	(void)snprintf(finding->address, sizeof(finding->address), "%s", device->address);
	if (device->kind != PASID_DEVICE_EXCLUSIVE)
		return find_shared(host, finding);
	find_take_set(host, finding, device->set);
	return find_exclusive(host, finding);
}

/* ------------------------------------------------------------ what happened last */

static bool find_is_of_function(
	const struct explain_host *host, const struct explain_finding *finding, uint64_t device)
{
	for (size_t i = 0; i < host->device_count; i++)
		if (host->devices[i].id == device &&
			strcmp(host->devices[i].address, finding->address) == 0)
			return true;
	return false;
}

static bool find_is_about(const struct explain_host *host, const struct explain_finding *finding,
	const struct pasid_event *event)
{
	if (event->kind == 0)
		return false;
	if (finding->verdict == EXPLAIN_STRANGER || finding->verdict == EXPLAIN_NOT_HERE)
		return event->host_pasid == finding->fault.pasid && event->host_pasid != 0;
	if (finding->fault.has_pasid && finding->verdict != EXPLAIN_GUEST_TABLE)
		return event->host_pasid == finding->fault.pasid && event->host_pasid != 0 &&
		       (finding->set == 0 || event->set == finding->set);
	return event->host_pasid == 0 && event->device != 0 &&
	       find_is_of_function(host, finding, event->device);
}

void explain_event(const struct explain_host *host, struct explain_finding *finding,
	const struct pasid_event *event)
{
	if (!find_is_about(host, finding, event))
		return;
	finding->last = (struct explain_last){.known = true,
		.sequence = event->sequence,
		.kind = event->kind,
		.set = event->set,
		.has_guest = event->has_guest,
		.guest = event->guest_pasid};
}

void explain_settle(const struct explain_host *host, struct explain_finding *finding)
{
	if (finding->verdict != EXPLAIN_UNKNOWN_PASID || !finding->last.known ||
		finding->last.set == 0)
		return;
	finding->verdict = EXPLAIN_FREED;
	find_take_set(host, finding, finding->last.set);
	if (finding->set_name[0] == '\0')
		memcpy(finding->set_name, finding->last.name, sizeof(finding->set_name));
}
