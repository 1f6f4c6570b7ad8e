// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "shim/args.h"

/* The server process, which `start` leaves behind: serves the task API on fd 3 (or -socket) until Shutdown,
 * SIGTERM or SIGINT. It outlives the daemon. cwd is the bundle. SIGUSR1 writes what is under way to the log.
 */
bool serve_run(const Args *args, GError **error);
