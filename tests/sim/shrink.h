/* SPDX-License-Identifier: MIT */
/*
 * A history that fails is tried with fewer steps, each time in a process of its own, as long as it
 * fails in the same way.
 */
#ifndef PASIDD_SIM_SHRINK_H
#define PASIDD_SIM_SHRINK_H

#include "play.h"

#define SHRINK_TEXT     1024u
#define SHRINK_ATTEMPTS 3000u

/* A place where a process leaves what it says on stderr. */
int shrink_capture_open(void);
void shrink_capture_read(int fd, char ret_text[static SHRINK_TEXT]);

/*
 * Plays it in a process of its own; 0 when nothing is wrong, otherwise the text says what. With
 * `trace` it prints its steps on stdout.
 */
int shrink_try(struct play *play, const struct history *history, bool trace,
	char ret_text[static SHRINK_TEXT]);
/* Takes out what is not needed for this failure; how many attempts it took. */
unsigned shrink(struct play *play, struct history *history, const char *text);

#endif
