/* SPDX-License-Identifier: MIT */
/* The parts of the example: vmm.c reads commands, vmm_daemon.c and vmm_own.c do them, vmm_print.c
 * says how it went. */
#ifndef EXAMPLES_VMM_H
#define EXAMPLES_VMM_H

#include <event2/event.h>
#include <libpasid.h>

#define VMM_DEVICES_MAX  32
#define VMM_IOMMUFDS_MAX 8
#define VMM_WORDS_MAX    64
#define VMM_LINE_MAX     4096

struct vmm_device {
	char name[16]; /* dev1, dev2, ... */
	struct pasid_device_info info;
	int fd;                   /* -1 for a slice */
	int iommufd;              /* the one it is bound to, -1 for a slice */
	struct pasid_table table; /* what a bind takes when it names none */
};

struct vmm_iommufd {
	char path[108];
	int fd;
};

struct vmm {
	struct event_base *base;
	struct event *input_event, *client_event, *lend_event;
	struct pasid_client *client;
	struct vmm_device devices[VMM_DEVICES_MAX];
	size_t device_count;
	struct vmm_iommufd iommufds[VMM_IOMMUFDS_MAX];
	size_t iommufd_count;
	int lent;  /* the iommufd that `lend` offers */
	bool busy; /* a command is under way */
	bool ended;
	bool eof;
	char line[VMM_LINE_MAX];
	size_t line_size;
	char command[VMM_LINE_MAX]; /* the one under way, as it was given */
	uint64_t pending_inode;     /* of the memory that `map` maps */
	struct vmm_device pending;  /* the device that `add`, `open` or `slice` asks for */
};

/* A command: `words` are those behind its name. It ends with vmm_done(), vmm_refused() or
 * vmm_failed(), at once or in the callback of the call that it started. */
typedef void vmm_command_fn(struct vmm *vmm, char **words, size_t count);

extern vmm_command_fn vmm_set, vmm_info, vmm_add, vmm_open, vmm_slice, vmm_remove, vmm_map_memory,
	vmm_unmap, vmm_alloc, vmm_free, vmm_attach, vmm_detach, vmm_find, vmm_bind, vmm_unbind,
	vmm_rid, vmm_unrid, vmm_watch, vmm_make_ioas, vmm_make_hwpt, vmm_destroy_object, vmm_lend,
	vmm_borrow_iommufd;

/* ------------------------------------------------------------ output */

void vmm_put_text(const char *text);
void vmm_begin(const struct vmm *vmm, bool ok);
void vmm_end(struct vmm *vmm);
/* A whole line; the format is for more members, beginning with a comma, or a space. */
__attribute__((format(printf, 2, 3))) void vmm_done(struct vmm *vmm, const char *format, ...);
void vmm_refused(struct vmm *vmm, const struct pasid_error *error);
/* What went wrong on our side of the socket. */
__attribute__((format(printf, 4, 5))) void vmm_failed(
	struct vmm *vmm, int code, const char *reason, const char *format, ...);

/* Callbacks of the library; userdata is the struct vmm. */
typedef void vmm_result_fn(
	struct pasid_client *client, const struct pasid_result *result, void *userdata);

extern vmm_result_fn vmm_on_done, vmm_on_set, vmm_on_allocated, vmm_on_freed, vmm_on_found,
	vmm_on_grant, vmm_on_device, vmm_on_bound;
void vmm_on_event(struct pasid_client *client, const struct pasid_event *event, void *userdata);

/* ------------------------------------------------------------ words */

/* false after saying why. */
bool vmm_number(struct vmm *vmm, const char *text, uint64_t *ret_number);
/* By our name for it, or its address; NULL without a word. */
struct vmm_device *vmm_find_device(struct vmm *vmm, const char *name);
/* One open file for each path, as a VMM has one iommufd. -errno, without a word. */
int vmm_open_iommufd(struct vmm *vmm, const char *path);

#endif
