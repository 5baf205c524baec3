/* SPDX-License-Identifier: MIT */
/* What a backend remembers; shared by the files of the backend, by nobody else. */
#ifndef PASIDD_HW_BACKEND_STATE_H
#define PASIDD_HW_BACKEND_STATE_H

#include "backend.h"

/* An open iommufd. Devices whose VMM passed the same one share an entry, and so our one copy. */
struct backend_iommufd {
	struct backend_iommufd *next;
	struct backend_viommu *viommus;
	int fd;
	uint32_t refs; /* devices */
	bool own;      /* opened by us, for shared devices */
};

/*
 * A guest's IOMMU (SMMUv3): one for each nest parent and physical IOMMU, shared by the devices
 * whose iommufd it is. Which physical IOMMU cannot be asked: a device of another one is refused.
 */
struct backend_viommu {
	struct backend_viommu *next;
	uint32_t id;     /* 0: gone, but its parent is not */
	uint32_t parent; /* the page table below it */
	uint32_t ioas;   /* what `parent` was made over by us; 0: it is the VMM's */
	uint32_t refs;   /* devices in it; 0: the kernel refused to destroy something of it */
};

/* A device under its guest's name in a guest's IOMMU: one a device, says the kernel. */
struct backend_vdevice {
	struct backend_viommu *viommu; /* holds a reference */
	uint32_t id;                   /* 0: there is none */
	uint32_t stream;
	uint32_t refs; /* tables that are nested with it; 0: the kernel refused to destroy it */
};

/* An address space that HW_MAP made: one a device, set and number. */
struct backend_space {
	struct backend_space *next;
	uint64_t owner;
	uint32_t number;
	uint32_t ioas;
	uint64_t *starts;        /* where what is mapped begins, rising */
	uint32_t mappings, room; /* how many there are, and could be */
	bool left;               /* given up, but the kernel refused to destroy it */
};

/* A page table made by us. */
struct backend_hwpt {
	struct backend_hwpt *next;
	struct backend_hwpt *parent; /* ours, of a nested one; holds a reference; may be NULL */
	uint32_t id;
	uint32_t refs; /* attachments and nested tables; 0: the kernel refused to destroy it */
	uint32_t ioas;
	uint32_t flags; /* CALLS_HWPT_* */
	bool nested;
	bool guest; /* nested in a guest's IOMMU: holds a reference to the device's vdevice */
};

struct backend_attachment {
	struct backend_hwpt *made; /* holds a reference; NULL: the VMM's own page table */
	uint32_t pt_id;
	bool used;
	bool doubtful; /* a replacement failed, and what stands there could not be detached */
};

/* Attachments by PASID, in two levels: devices hold a handful of numbers, or hundred thousands. */
#define BACKEND_LEAF   1024u
#define BACKEND_LEAVES (PASID_COUNT / BACKEND_LEAF)

struct backend_leaf {
	uint32_t used;
	struct backend_attachment at[BACKEND_LEAF];
};

struct backend_device {
	uint32_t handle;
	struct rid rid;
	uint32_t group;
	int fd;
	struct backend_iommufd *iommufd;
	bool bound;     /* to the iommufd */
	bool opened;    /* HW_OPEN succeeded */
	bool hand_back; /* opened by us for an exclusive owner */
	bool ours;      /* nobody else has it open: its request interrupt is ours, too */
	int removal_fd; /* can be read when it is to be unplugged; -1: nobody tells */
	uint32_t dev_id;
	struct hw_info info;
	const struct backend_kind *kind;
	struct backend_space *spaces;
	uint32_t space_count;
	struct backend_hwpt *tables;  /* over an IOAS; found again by IOAS and flags */
	struct backend_hwpt *orphans; /* nested ones that the kernel refused to destroy */
	uint32_t table_count;
	struct backend_vdevice vdevice;
	struct backend_attachment at_rid;
	struct backend_leaf *leaf[BACKEND_LEAVES];
};

struct backend {
	const struct calls *calls;
	void *ctx;
	struct backend_iommufd *iommufds;
	uint32_t device_count;
	struct backend_device *devices[BACKEND_DEVICES_MAX];
	uint64_t until_ms; /* of the operation under way: see struct hw_op */
};

/* --- backend.c --- */

#define BACKEND_PAUSE_MS  10    /* between two tries */
#define BACKEND_REPAIR_MS 10000 /* a reset takes a tenth of a second */

/*
 * After a call that gave `r`: whether to make it again, because a reset refused it. Sleeps a
 * moment before it says so: a reset takes a tenth of a second, and nothing tells of its end.
 */
bool backend_again(const struct backend *b, int r);
/* From now on as long as what must be done takes, whatever the caller's deadline is. */
void backend_be_patient(struct backend *b);

/* --- backend_error.c: what the kernel says, in words --- */

/* The calls whose errors are told apart. */
enum backend_call {
	BACKEND_ANY = 0,
	BACKEND_OPEN_IOMMUFD,
	BACKEND_OPEN_DEVICE,
	BACKEND_BIND,
	BACKEND_HW_INFO,
	BACKEND_IOAS_ALLOC,
	BACKEND_MAP,
	BACKEND_UNMAP,
	BACKEND_HWPT_ALLOC,
	BACKEND_NEST_PARENT,
	BACKEND_NEST,
	BACKEND_VIOMMU_ALLOC,
	BACKEND_VDEVICE_ALLOC,
	BACKEND_NEST_STE,
	BACKEND_ATTACH,
	BACKEND_ATTACH_RID,
	BACKEND_DETACH,
	BACKEND_DESTROY,
	BACKEND_WATCH,
	BACKEND_CALL_COUNT,
};

struct backend_site {
	enum backend_call call;
	struct rid rid;
	const struct hpasid *pasid; /* NULL: none, or the RID itself */
	uint32_t id;                /* the kernel object named in the call, 0: none */
};

/*
 * Fills *ret_error for the -errno of a call: reason, RID, PASID, call, what it means and what to
 * do. Returns the status of the reason.
 */
int backend_error(struct error *ret_error, const struct backend_site *site, int r);

/* --- backend_space.c: address spaces of one device --- */

/* NULL: there is none. */
struct backend_space *backend_space_find(
	const struct backend_device *device, uint64_t owner, uint32_t number);
/* Destroys the IOAS, mappings included, and forgets it. 0 or -errno. */
int backend_space_drop(
	struct backend *b, struct backend_device *device, struct backend_space *space);
/* Frees the memory of all of them without a call to the kernel. */
void backend_space_forget_all(struct backend_device *device);
/* Both return 0 or a status with *ret_error filled. */
int backend_map(struct backend *b, struct backend_device *device, const struct hw_op *op, int memfd,
	struct error *ret_error);
int backend_unmap(struct backend *b, struct backend_device *device, const struct hw_op *op,
	struct error *ret_error);

/* --- backend_table.c: page tables, attachments of one device --- */

/* All return 0 or a status with *ret_error filled. */
int backend_attach(struct backend *b, struct backend_device *device, const struct hw_op *op,
	struct hw_result *result);
int backend_detach(struct backend *b, struct backend_device *device, const struct hpasid *pasid,
	struct error *ret_error);
/* Gives up all address spaces of `owner`, and those that others gave up and the kernel kept;
 * refused while one of its own is attached. */
int backend_leave(
	struct backend *b, struct backend_device *device, uint64_t owner, struct error *ret_error);
/* Detaches PASIDs, then the RID; destroys what was made, children first. See backend_execute(). */
int backend_strip(struct backend *b, struct backend_device *device, struct error *ret_error);
/* Numbers that the kernel would accept and treat wrongly, or not at all. */
int backend_check_pasid(
	const struct backend_device *device, const struct hpasid *pasid, struct error *ret_error);
/* What can be known of a table before the kernel is asked; pasid NULL: it is for the RID. */
int backend_check_table(const struct backend *b, const struct backend_device *device,
	const struct hpasid *pasid, const struct hw_table *table, struct error *ret_error);
/* The address space that an operation names as what its page table is over. */
int backend_table_ioas(const struct backend_device *device, uint64_t owner, uint32_t number,
	uint32_t *ret_ioas, struct error *ret_error);
/* Fills *ret_error for a call that failed with `r`, a -errno, and returns the status. */
int backend_fail(struct error *ret_error, const struct backend_device *device,
	enum backend_call call, uint32_t id, int r);
/* The table of an operation, made if need be, with a reference; *ret_hwpt stays NULL for a page
 * table of the VMM's own. */
int backend_table_get(struct backend *b, struct backend_device *device, const struct hw_op *op,
	struct backend_hwpt **ret_hwpt, struct error *ret_error);
/* Gives a reference back; the last one destroys it. NULL: nothing. */
void backend_hwpt_put(struct backend *b, struct backend_device *device, struct backend_hwpt *hwpt);
/* Frees the memory of all this without a call to the kernel. */
void backend_forget(struct backend_device *device);

/* --- backend_guest.c: a guest's IOMMU, and the device in it --- */

/*
 * Makes sure of the parent, the guest's IOMMU and the device in it, as the table of `op` wants
 * them; the caller gets a reference to device->vdevice. On failure what was made is gone again. 0
 * or a status with *ret_error filled.
 */
int backend_guest_get(struct backend *b, struct backend_device *device, const struct hw_op *op,
	struct error *ret_error);
/* Gives the reference back; the last one destroys the vDEVICE, and with its last device the
   guest's IOMMU, and then the parent if it is ours. */
void backend_guest_put(struct backend *b, struct backend_device *device);
/* Tries again what the kernel refused to destroy. */
void backend_guest_sweep(struct backend *b, struct backend_device *device);
/* Is an IOAS below a guest's IOMMU that has devices? */
bool backend_guest_uses(const struct backend_iommufd *iommufd, uint32_t ioas);
/*
 * The claim of a whole RID and single PASIDs exclude each other, in the group (trap 7): says what
 * speaks against attaching a table there. 0 or a status with *ret_error filled.
 */
int backend_guest_claim(const struct backend *b, const struct backend_device *device,
	const struct hpasid *pasid, bool guest, struct error *ret_error);
/* What the kernel calls the objects below an attached table, into *result; nothing for others. */
void backend_guest_tell(const struct backend_device *device, const struct backend_hwpt *made,
	struct hw_result *result);
/* Frees the memory without a call to the kernel: of a device, and of an iommufd without devices. */
void backend_guest_forget(struct backend_device *device);
void backend_guest_forget_all(struct backend_iommufd *iommufd);

/* --- backend_replace.c --- */

/* 0, or a status with the error and result->left filled. */
int backend_replace(struct backend *b, struct backend_device *device, const struct hw_op *op,
	struct hw_result *result);
/* What is attached, as far as is known here. */
void backend_look(struct backend_device *device, const struct hw_op *op, struct hw_result *result);

/* --- backend_attachment.c: who is attached where --- */

/* The attachment of a PASID, or of the RID when `pasid` is NULL; NULL when there is none. */
struct backend_attachment *backend_attachment_find(
	struct backend_device *device, const struct hpasid *pasid);
/* Makes room for one that is not there yet, not yet used. NULL when memory is short. */
struct backend_attachment *backend_attachment_reserve(
	struct backend_device *device, const struct hpasid *pasid);
/* Records the attachment in a reserved place, or gives the place back when `at` is NULL. */
void backend_attachment_set(struct backend_device *device, const struct hpasid *pasid,
	const struct backend_attachment *at);
/* The next attached PASID from *pasid on; false when there is none. */
bool backend_attachment_next(struct backend_device *device, struct hpasid *pasid);

#endif
