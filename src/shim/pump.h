// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Moves bytes from one fd to another on the shim's loop, until the source ends or the destination is gone.
 *
 * Between pipes nothing is copied (splice). While the destination is full the source is not read, so the
 * writer in the container feels it, and nothing else does. Regular files are written at once; what a full
 * disk refuses is lost, and the container goes on. Loop's thread only.
 */

#include "loop/loop.h"
#include <stdbool.h>

typedef enum {
	PUMP_SPLICE, // both ends are pipes or fifos
	PUMP_COPY,
} PumpHow;

typedef struct Pump Pump;
/* Runs once, when no more will be moved; the pump may be freed in it. */
typedef void (*PumpDone)(Pump *pump, void *data);

/* The fds are the pump's (closed by pump_free, or at its end), both non-blocking. dst -1: what comes is
 * thrown away. terminal: the source is a pty's master, whose EIO means only that nobody has the other side
 * open. */
Pump *pump_new(Loop *loop, PumpHow how, int src, int dst, bool terminal, PumpDone done, void *data);
void pump_start(Pump *pump);
/* No more can come: what is there is still moved, then it ends. For terminals. */
void pump_finish(Pump *pump);
bool pump_is_done(const Pump *pump);
void pump_free(Pump *pump);
