// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Events on their way to the daemon: in order, one at a time, over ttrpc (Events.Forward). An event that the
 * daemon refuses is tried six times, with a pause of 1, 2 .. 5 seconds in between, then dropped. While no
 * daemon is there they wait, for as long as it takes: at most PUBLISHER_MAX, the oldest go first. Events are
 * hints: what counts is the state that the daemon reads from us. Upstream: pkg/shim/publisher.go, which
 * retries out of order and gives up after six tries in any case. Loop's thread only.
 */

#include "loop/loop.h"
#include "shim/reaper.h"
#include <glib.h>
#include <stdbool.h>

#define PUBLISHER_MAX 1024

typedef struct Publisher Publisher;

/* address: of the daemon's ttrpc socket. Where it is NULL or empty, `binary --address grpc_address publish`
 * is run for each event (daemons that have no such socket); without a binary events go nowhere. */
Publisher *publisher_new(Loop *loop, Reaper *reaper, const char *ns, const char *address, const char *binary,
                         const char *grpc_address);
/* event: a message of containerd.events; packed at once. topic: static. */
void publisher_publish(Publisher *publisher, const char *topic, const void *event);
/* The daemon has called us, so it lives: try now what waits for a retry. */
void publisher_kick(Publisher *publisher);
/* done once nothing waits any more, or after timeout_ns. */
void publisher_flush(Publisher *publisher, int64_t timeout_ns, LoopFn done, void *data);
unsigned publisher_n_waiting(const Publisher *publisher);
void publisher_free(Publisher *publisher);
