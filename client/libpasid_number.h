/* SPDX-License-Identifier: MIT */
/* Numbers: had, freed, translated, held, found. Included by libpasid.h. */
#ifndef LIBPASID_NUMBER_H
#define LIBPASID_NUMBER_H

#include "libpasid.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct pasid_allocate_args {
	struct pasid_set_ref set;
	uint32_t min, max; /* inclusive; 0: no bound */
	uint32_t count;    /* 1 to PASID_ALLOCATE_MAX, 0 means 1; all of them or none */
	bool consecutive;  /* a naturally aligned block; count is then a power of two */
	bool has_guest;    /* translated sets, count 1: attached at once */
	uint32_t guest_pasid;
	uint64_t data; /* private data of each */
	/* the numbers must fit the PASID width of these; of scope rids, they are for these */
	const uint64_t *devices;
	size_t device_count;    /* at most PASID_PAIRS_MAX */
	enum pasid_scope scope; /* 0: global */
};
/* ret_numbers has room for count numbers. */
int pasid_allocate(
	struct pasid_client *client, const struct pasid_allocate_args *args, uint32_t *ret_numbers);
int pasid_allocate_async(struct pasid_client *client, const struct pasid_allocate_args *args,
	pasid_callback callback, void *userdata);

struct pasid_extend_args {
	struct pasid_set_ref set;
	struct pasid_number pasid;
	const uint64_t *devices;
	size_t device_count; /* 1 to PASID_PAIRS_MAX */
};
/*
 * A number of scope rids is for these devices, too: "pasid-taken" when another set has it in the
 * table of one of them, and then for none. *ret_added, which may be NULL, says for how many more
 * IOMMU groups: 0 when it was for all of them, as one of scope global always is.
 */
int pasid_extend(
	struct pasid_client *client, const struct pasid_extend_args *args, uint32_t *ret_added);
int pasid_extend_async(struct pasid_client *client, const struct pasid_extend_args *args,
	pasid_callback callback, void *userdata);

struct pasid_free_args {
	struct pasid_set_ref set;
	const struct pasid_number *pasids; /* at most PASID_ALLOCATE_MAX */
	size_t count;
	bool all; /* every number of the set; count is then 0 */
};
/* Freeing twice is no error. A number that is bound is freed at its last unbind. ret_ may be NULL.
 */
int pasid_free(struct pasid_client *client, const struct pasid_free_args *args, uint32_t *ret_freed,
	uint32_t *ret_unchanged);
int pasid_free_async(struct pasid_client *client, const struct pasid_free_args *args,
	pasid_callback callback, void *userdata);

struct pasid_guest_args {
	struct pasid_set_ref set;
	uint32_t guest_pasid;
	uint32_t host_pasid; /* attach only */
};
int pasid_guest_attach(struct pasid_client *client, const struct pasid_guest_args *args);
int pasid_guest_attach_async(struct pasid_client *client, const struct pasid_guest_args *args,
	pasid_callback callback, void *userdata);
int pasid_guest_detach(struct pasid_client *client, const struct pasid_guest_args *args);
int pasid_guest_detach_async(struct pasid_client *client, const struct pasid_guest_args *args,
	pasid_callback callback, void *userdata);
int pasid_guest_find(
	struct pasid_client *client, const struct pasid_guest_args *args, uint32_t *ret_host_pasid);
int pasid_guest_find_async(struct pasid_client *client, const struct pasid_guest_args *args,
	pasid_callback callback, void *userdata);

struct pasid_host_args {
	uint32_t host_pasid;
	/* whose; of scope rids it may be several sets', and is "pasid-ambiguous" without */
	struct pasid_set_ref set;
};
/* Whose is it? A VMM finds its own numbers only; somebody else's and none look the same to it. */
int pasid_host_find(struct pasid_client *client, const struct pasid_host_args *args,
	struct pasid_grant_info *ret_info);
int pasid_host_find_async(struct pasid_client *client, const struct pasid_host_args *args,
	pasid_callback callback, void *userdata);

struct pasid_data_args {
	struct pasid_set_ref set;
	struct pasid_number pasid;
	uint64_t data;
};
int pasid_data_set(struct pasid_client *client, const struct pasid_data_args *args);
int pasid_data_set_async(struct pasid_client *client, const struct pasid_data_args *args,
	pasid_callback callback, void *userdata);

int pasid_grant_list(struct pasid_client *client, const struct pasid_list_args *args,
	int (*each)(const struct pasid_grant_info *info, void *userdata), void *userdata);
int pasid_grant_list_async(struct pasid_client *client, const struct pasid_list_args *args,
	pasid_callback callback, void *userdata);

/* Admins vouch that nothing can use the number any more. */
int pasid_quarantine_end(struct pasid_client *client, const struct pasid_host_args *args);
int pasid_quarantine_end_async(struct pasid_client *client, const struct pasid_host_args *args,
	pasid_callback callback, void *userdata);

struct pasid_hold_args {
	struct pasid_set_ref set;
	uint32_t host_pasid;
};
/*
 * A reference of this session to an active number: it is not reclaimed, after its set has freed it,
 * while one lasts. Counted; each ends with a release, and all with the session. A VMM holds numbers
 * of its own set, admins and participants those of any.
 */
int pasid_hold(struct pasid_client *client, const struct pasid_hold_args *args);
int pasid_hold_async(struct pasid_client *client, const struct pasid_hold_args *args,
	pasid_callback callback, void *userdata);
/* PASID_STATE with the reason not-held: not by this session. */
int pasid_release(struct pasid_client *client, const struct pasid_hold_args *args);
int pasid_release_async(struct pasid_client *client, const struct pasid_hold_args *args,
	pasid_callback callback, void *userdata);
/* Of this session; for admins and observers all, or those on numbers of a set. */
int pasid_hold_list(struct pasid_client *client, const struct pasid_list_args *args,
	int (*each)(const struct pasid_hold_info *info, void *userdata), void *userdata);
int pasid_hold_list_async(struct pasid_client *client, const struct pasid_list_args *args,
	pasid_callback callback, void *userdata);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
