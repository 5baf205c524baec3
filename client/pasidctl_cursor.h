/* SPDX-License-Identifier: MIT */
/*
 * Where a watch goes on, kept in a file: the next event, and by what to know that the numbers of
 * events still mean the same. Pure but for two functions that take a path.
 */
#ifndef PASIDCTL_CURSOR_H
#define PASIDCTL_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CURSOR_BOOT_SIZE 40 /* of a boot's id, terminated */

struct cursor {
	uint64_t next;    /* the event to go on with; 0: none is known */
	uint64_t session; /* of the watch that wrote it: they rise as long as records are kept */
	char boot[CURSOR_BOOT_SIZE];
};

/* Whether the cursor is good for a watch of now; else why not, in a word. */
enum cursor_fit {
	CURSOR_GOOD = 0,
	CURSOR_NONE,    /* there is none: the first time */
	CURSOR_BOOTED,  /* events count from 1 again */
	CURSOR_RECORDS, /* the daemon's records were lost: as well */
	CURSOR_EMPTY,   /* the file is there and says nothing, as after a crash of the host */
};
enum cursor_fit cursor_fits(const struct cursor *cursor, const struct cursor *now);
/* "booted", "records-lost", "state-lost"; never NULL. */
const char *cursor_text(enum cursor_fit fit);

/* false: this is no cursor. An empty text is one of which nothing is known. */
bool cursor_parse(const char *text, struct cursor *ret_cursor);
/* Terminated, a line; its length. */
size_t cursor_format(const struct cursor *cursor, char *text, size_t size);

/* 0, also without a file: then `boot` is empty. -EBADMSG: it holds something else. Or what reading
 * failed with. */
int cursor_read(const char *path, struct cursor *ret_cursor, enum cursor_fit *ret_fit);
int cursor_write(const char *path, const struct cursor *cursor);
/* This boot's id; empty text when the kernel does not say. */
void cursor_boot(char boot[CURSOR_BOOT_SIZE]);

#endif
