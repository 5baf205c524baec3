/* SPDX-License-Identifier: MIT */
/*
 * The marker that says in which boot a daemon could grant, kept apart from the records: when these
 * are missing though the marker names this boot, VMMs may have numbers attached that nobody knows
 * of.
 *
 * A file `granted` (`granted-simulated` of a simulation that shares the directory with others) with
 * the boot's id in one line. It is written before the daemon serves anybody, so that no request has
 * to wait for a disk.
 */
#ifndef PASIDD_RUNTIME_MARKER_H
#define PASIDD_RUNTIME_MARKER_H

#include "runtime.h"
#include "state_file.h"

#define RUNTIME_MARKER_PATH_MAX 512

/* Where the marker may be. */
struct runtime_marker_place {
	const char *asked;      /* the directory that was asked for, or NULL */
	const char *simulation; /* of a simulated IOMMU: its directory; else NULL */
};

struct runtime_marker {
	char directory[RUNTIME_MARKER_PATH_MAX]; /* "": there is none that can be used */
	const char *name;
	bool this_boot; /* it says this boot, or something that cannot be understood */
	bool is_sound;  /* it can be understood */
	uint8_t boot_id[STATE_BOOT_ID_SIZE];
};

/*
 * Finds the directory and reads the marker in it: the directory that was asked for; else that of
 * the simulation; else what systemd made ($STATE_DIRECTORY), else /var/lib/pasidd for root, else
 * $XDG_STATE_HOME/pasidd, else ~/.local/state/pasidd. It is made when it is not there, and must be
 * ours, as the marker must, and nobody else's to write to. 0 or -errno (-EPERM: something of
 * somebody else), with the error filled and *ret_marker one that runtime_marker_write() passes
 * over.
 */
int runtime_marker_read(const struct runtime_marker_place *place,
	const uint8_t boot_id[static STATE_BOOT_ID_SIZE], struct runtime_marker *ret_marker,
	struct runtime_error *ret_error);

/*
 * Has the marker say this boot, whole or not at all, also when the host loses power. Nothing is
 * done when it says so already. 0 or -errno, with the error filled.
 */
int runtime_marker_write(const struct runtime_marker *marker, struct runtime_error *ret_error);

#endif
