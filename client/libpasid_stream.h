/* SPDX-License-Identifier: MIT */
/*
 * A guest's own PASID tables on SMMUv3. Included by libpasid.h.
 *
 * Of a set that was made with PASID_SET_GUEST_OWNED: when the guest writes the stream table entry
 * of one of its devices, its VMM installs it, and with it the table of context descriptors that it
 * names. It claims the device's RID whole: no PASID of the host's is allocated for the device or
 * bound there. Device and iommufd are the VMM's, which goes on alone with what it is told here: it
 * invalidates through viommu (IOMMU_HWPT_INVALIDATE), and takes faults and events from a queue that
 * it makes on it (IOMMU_VEVENTQ_ALLOC).
 */
#ifndef LIBPASID_STREAM_H
#define LIBPASID_STREAM_H

#include "libpasid.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct pasid_stream_args {
	struct pasid_set_ref set;
	uint64_t device;
	/* the first two words of the guest's entry, as numbers (Arm IHI 0070, section 5.2); one
	   that aborts or bypasses the first stage is an entry too */
	uint64_t ste[2];
	uint32_t stream; /* the guest's stream id of the device */
	/* The second stage: a page table that the VMM made with IOMMU_HWPT_ALLOC_NEST_PARENT
	   (PASID_TABLE_HWPT), or the daemon makes one over the VMM's IOAS (PASID_TABLE_IOAS) or
	   over an address space filled by pasid_memory_map() (PASID_TABLE_SPACE) */
	enum pasid_table_source parent_source;
	uint32_t parent;
};

/*
 * Installs the entry of a device that has none. PASID_STATE with "set-mode" for a set whose guest
 * does not own its tables, PASID_UNSUPPORTED with "no-nesting" where the device's IOMMU or the
 * kernel cannot, "stream-taken", "rid-attached", "rid-pasids" (sets that had the device before have
 * PASIDs there still), "table-field" (a field that is not the guest's to set, or S1CDMax beyond the
 * width that pasid_device_info tells; the message names it). -EINVAL for a parent_source that is
 * none of the three. ret_info may be NULL.
 */
int pasid_stream_install(struct pasid_client *client, const struct pasid_stream_args *args,
	struct pasid_stream_info *ret_info);
int pasid_stream_install_async(struct pasid_client *client, const struct pasid_stream_args *args,
	pasid_callback callback, void *userdata);
/*
 * The guest changed the entry of its device: another one of the same stream and parent takes its
 * place ("stream-fixed" otherwise). When that fails the earlier one stands, but for the reasons
 * that pasid_replace() names.
 */
int pasid_stream_replace(struct pasid_client *client, const struct pasid_stream_args *args,
	struct pasid_stream_info *ret_info);
int pasid_stream_replace_async(struct pasid_client *client, const struct pasid_stream_args *args,
	pasid_callback callback, void *userdata);
/* Nothing of the device's DMA passes any more. PASID_NOT_FOUND with "not-bound": there is none. */
int pasid_stream_remove(struct pasid_client *client, const struct pasid_device_ref *device);
int pasid_stream_remove_async(struct pasid_client *client, const struct pasid_device_ref *device,
	pasid_callback callback, void *userdata);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
