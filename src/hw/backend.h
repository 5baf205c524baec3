/* SPDX-License-Identifier: MIT */
/*
 * A worker's view of the hardware: carries out one operation of the hardware port after the other
 * over a `struct calls`, and remembers what it made and attached, because iommufd cannot be asked
 * (KERNEL trap 21).
 *
 * It is the second line of defence behind the broker: what the kernel would accept and do wrongly
 * is refused here before the kernel sees it. Everything may block.
 */
#ifndef PASIDD_HW_BACKEND_H
#define PASIDD_HW_BACKEND_H

#include "calls.h"
#include "hw.h"

/* Bounds of one lane; beyond them an operation is refused with REASON_LIMIT. */
#define BACKEND_DEVICES_MAX 256
#define BACKEND_SPACES_MAX  4096 /* address spaces a device */
#define BACKEND_TABLES_MAX  4096 /* page tables a device that were made over an IOAS or a space */
#define BACKEND_VIOMMUS_MAX 256  /* IOMMUs of guests an iommufd */
/* Mappings that an owner has in its address spaces of a device; as many as VFIO lets a container
 * have. */
#define BACKEND_MAPPINGS_MAX 65535u

struct backend;

/* `calls` and `ctx` must outlive the backend. Returns 0 or -ENOMEM. */
int backend_new(const struct calls *calls, void *ctx, struct backend **ret_backend);

/* Closes everything as after a crash would: no order is promised beyond that of HW_END. NULL is
 * fine. */
void backend_free(struct backend *backend);

/*
 * Carries out `op` and fills all of *ret_result. The descriptors in op->fds are consumed. When it
 * failed, ret_result->fds has those that nothing is known of, or nothing was done with: they are
 * the caller's, and closing them may take for ever. Otherwise a descriptor in ret_result->fds stays
 * the backend's: pass on a copy before the next call. iommufd_key of an HW_IDENTIFY is the number
 * of the iommufd in this process: whoever sees several lanes turns it into a key.
 *
 * An operation that fails leaves what was there before it, page tables aside that the kernel
 * refuses to destroy: these are tried again when something of their device is given up, and the
 * IOMMU of a guest when it is asked for (it stays while the VMM has an event queue on it). There
 * are two exceptions. HW_CLOSE detaches what can be detached, and when the kernel refuses one of
 * these, the device stays in the lane with the rest; it can be repeated, or HW_END lets go of the
 * descriptors. HW_LEAVE destroys the address spaces that can be destroyed, and can be repeated.
 */
void backend_execute(struct backend *backend, const struct hw_op *op, struct hw_result *ret_result);

/*
 * Can be read when the function that the daemon alone has open (a shared one) is to be unplugged:
 * it goes with the last descriptor, so the time has come for backend_free(). -1: there is none. The
 * backend's.
 */
int backend_removal_fd(const struct backend *backend);

/* What differs between IOMMUs. */
struct backend_kind {
	const char *name;
	uint32_t nests; /* the enum hw_table_kind that it nests; HW_TABLE_NONE: nothing */
	/* Fills capability bits from what the kernel says. The width is set to the kernel's, and
	   may be made smaller. */
	void (*decode)(const struct calls_info *raw, struct hw_info *info);
	/*
	 * Checks a guest's table against the capabilities before the kernel sees it. 0 or a status
	 * with *ret_error filled. NULL when it nests nothing.
	 */
	int (*check_nested)(
		const struct hw_info *info, const struct hw_table *table, struct error *ret_error);
	/*
	 * Has the kernel nest a guest's checked table on page table `parent` (SMMUv3: on the
	 * guest's IOMMU over it); both together go to IOMMU_HWPT_ALLOC. 0 or -errno.
	 */
	int (*nest)(const struct calls *calls, void *ctx, int iommufd, uint32_t dev_id,
		uint32_t parent, const struct hw_table *table, uint32_t *ret_hwpt);
};

#endif
