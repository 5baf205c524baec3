/* SPDX-License-Identifier: MIT */
/* The lines of JSON. */
#include "vmm.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* ------------------------------------------------------------ output */

void vmm_put_text(const char *text)
{
	putchar('"');
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			printf("\\u%04x", *text);
		else
			putchar(*text);
	}
	putchar('"');
}

void vmm_begin(const struct vmm *vmm, bool ok)
{
	fputs("{\"command\": ", stdout);
	vmm_put_text(vmm->command);
	printf(", \"ok\": %s", ok ? "true" : "false");
}

void vmm_end(struct vmm *vmm)
{
	puts("}");
	fflush(stdout);
	vmm->busy = false;
}

__attribute__((format(printf, 2, 3))) void vmm_done(struct vmm *vmm, const char *format, ...)
{
	va_list args;
	vmm_begin(vmm, true);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	vmm_end(vmm);
}

void vmm_refused(struct vmm *vmm, const struct pasid_error *error)
{
	vmm_begin(vmm, false);
	printf(", \"code\": %d, \"status\": ", error->code);
	vmm_put_text(error->code > 0 ? pasid_status_text(error->code) : "failed");
	fputs(", \"reason\": ", stdout);
	vmm_put_text(error->reason);
	fputs(", \"message\": ", stdout);
	vmm_put_text(error->message);
	printf(", \"errno\": %d", error->sys_errno);
	if (error->has_limit)
		printf(", \"limit\": %" PRIu64 ", \"used\": %" PRIu64, error->limit, error->used);
	vmm_end(vmm);
}

/* What went wrong on our side of the socket. */
__attribute__((format(printf, 4, 5))) void vmm_failed(
	struct vmm *vmm, int code, const char *reason, const char *format, ...)
{
	struct pasid_error error = {.code = code};
	va_list args;
	snprintf(error.reason, sizeof(error.reason), "%s", reason);
	va_start(args, format);
	vsnprintf(error.message, sizeof(error.message), format, args);
	va_end(args);
	vmm_refused(vmm, &error);
}

/* ------------------------------------------------------------ results */

void vmm_on_done(struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	struct vmm *vmm = userdata;
	(void)client;
	if (result->code != 0)
		vmm_refused(vmm, result->error);
	else
		vmm_done(vmm, "%s", "");
}

void vmm_on_set(struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	if (result->code != 0)
		vmm_on_done(client, result, userdata);
	else
		vmm_done(userdata,
			", \"set\": %" PRIu64 ", \"quota\": %" PRIu64 ", \"used\": %" PRIu64
			", \"quarantined\": %u",
			result->set.id, result->set.pasids.limit, result->set.pasids.current,
			result->set.quarantined);
}

void vmm_on_allocated(
	struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	struct vmm *vmm = userdata;
	if (result->code != 0) {
		vmm_on_done(client, result, userdata);
		return;
	}
	vmm_begin(vmm, true);
	fputs(", \"pasids\": [", stdout);
	for (size_t i = 0; i < result->allocated.count; i++)
		printf("%s%u", i > 0 ? ", " : "", result->allocated.numbers[i]);
	fputs("]", stdout);
	vmm_end(vmm);
}

void vmm_on_freed(struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	if (result->code != 0)
		vmm_on_done(client, result, userdata);
	else
		vmm_done(userdata, ", \"freed\": %u, \"unchanged\": %u", result->freed.freed,
			result->freed.unchanged);
}

void vmm_on_found(struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	if (result->code != 0)
		vmm_on_done(client, result, userdata);
	else
		vmm_done(userdata, ", \"pasid\": %u", result->host_pasid);
}

void vmm_on_grant(struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	if (result->code != 0)
		vmm_on_done(client, result, userdata);
	else
		vmm_done(userdata, ", \"pasid\": %u, \"state\": %d, \"bindings\": %u",
			result->grant.host_pasid, (int)result->grant.state, result->grant.bindings);
}

void vmm_on_device(struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	struct vmm *vmm = userdata;
	struct vmm_device *device = &vmm->pending;
	if (result->code != 0) {
		if (device->fd >= 0)
			close(device->fd);
		vmm_on_done(client, result, userdata);
		return;
	}
	device->info = result->device;
	if (result->fd >= 0)
		device->fd = result->fd;
	device->table.source = PASID_TABLE_SPACE;
	snprintf(device->name, sizeof(device->name), "dev%zu", vmm->device_count + 1);
	vmm->devices[vmm->device_count++] = *device;
	vmm_done(vmm,
		", \"name\": \"%s\", \"device\": %" PRIu64
		", \"address\": \"%s\", \"width\": %u, \"group\": %u, \"dev_id\": %u",
		device->name, device->info.id, device->info.address, device->info.pasid_width,
		device->info.group, device->info.dev_id);
}

void vmm_on_bound(struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	struct vmm *vmm = userdata;
	if (result->code != 0) {
		vmm_on_done(client, result, userdata);
		return;
	}
	vmm_begin(vmm, true);
	printf(", \"pasid\": %u, \"tables\": [", result->bound.host_pasid);
	for (size_t i = 0; i < result->bound.count; i++)
		printf("%s{\"device\": %" PRIu64 ", \"hwpt\": %u, \"made\": %s}", i > 0 ? ", " : "",
			result->bound.tables[i].device, result->bound.tables[i].hwpt,
			result->bound.tables[i].made ? "true" : "false");
	fputs("]", stdout);
	vmm_end(vmm);
}

void vmm_on_event(struct pasid_client *client, const struct pasid_event *event, void *userdata)
{
	(void)client;
	(void)userdata;
	printf("{\"event\": \"%s\", \"sequence\": %" PRIu64 ", \"pasid\": %u, \"device\": %" PRIu64
	       "}\n",
		pasid_event_text(event->kind), event->sequence, event->host_pasid, event->device);
	fflush(stdout);
}
