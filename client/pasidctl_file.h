/* SPDX-License-Identifier: MIT */
/* Files that others read, or that we go on with: whole at every moment. */
#ifndef PASIDCTL_FILE_H
#define PASIDCTL_FILE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Puts a file with this content in the place of the one that is there, if any; whoever reads it
 * sees the one or the other. Nothing but a regular file is replaced. Writers of one file wait for
 * each other; one that is killed leaves ".NAME.new", which the next one takes. 0, or a negative
 * errno: then what was there is there; -EPERM when ".NAME.new" is somebody else's.
 */
int file_replace(const char *path, mode_t mode, const void *data, size_t size);
/* A short file as text, terminated, the caller's to free; -EFBIG when it is longer than `limit`. */
int file_read(const char *path, size_t limit, char **ret_text);

#endif
