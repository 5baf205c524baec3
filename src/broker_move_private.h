/* SPDX-License-Identifier: MIT */
/*
 * What the two sides of a move share.
 *
 *   broker_move.c          what is under way, and the source
 *   broker_move_target.c   the target
 */
#ifndef PASIDD_BROKER_MOVE_PRIVATE_H
#define PASIDD_BROKER_MOVE_PRIVATE_H

#include "broker_move.h"
#include "broker_private.h"

/* The set that is, or came, that way; STATE_NONE: none. */
uint32_t move_find(const struct broker *b, const struct move_token *token);
int move_check_admin(const struct actor *actor, struct error *ret_error);
int move_refuse_unknown(struct error *ret_error);
/* It cannot be `what` in its state. */
int move_refuse_step(const struct broker *b, uint32_t set, const char *what, const char *remedy,
	struct error *ret_error);
/* A word is not the other host's, that ... the set. */
int move_refuse_word(
	const struct broker *b, uint32_t set, const char *what, struct error *ret_error);
void move_commit_state(struct broker *b, uint32_t set, enum set_move move);
/* How many active numbers, and their sum. */
void move_sum(const struct broker *b, uint32_t set, struct move_info *info);
/* All but those. */
void move_fill(const struct broker *b, uint32_t set, struct move_info *ret_info);

#endif
