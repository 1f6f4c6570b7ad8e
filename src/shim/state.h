// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What may be done to a process in which state, and what is said where it may not: upstream's
 * process/init_state.go, exec_state.go and deleted_state.go as one table. Pure functions.
 */

#include <glib.h>
#include <stdbool.h>

typedef enum {
	STATE_CREATED,
	STATE_CREATED_CHECKPOINT, // an init that is to be restored
	STATE_RUNNING,
	STATE_PAUSED,
	STATE_STOPPED,
	STATE_DELETED,
	N_STATES,
} ProcessState;

typedef enum {
	ACT_START,
	ACT_DELETE,
	ACT_KILL,
	ACT_PAUSE,
	ACT_RESUME,
	ACT_UPDATE,
	ACT_CHECKPOINT,
	ACT_EXEC,
	ACT_RESIZE,
	N_ACTS,
} ProcessAct;

const char *act_name(ProcessAct act);
const char *state_name(ProcessState state);
/* false and upstream's text: class UNKNOWN, but NOT_FOUND for kill and delete of what is deleted. */
bool state_allows(bool is_init, ProcessState state, ProcessAct act, GError **error);
/* A move of the table of allowed moves; any other is a bug and aborts. */
void state_move(ProcessState *state, ProcessState to);
