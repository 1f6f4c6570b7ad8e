// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Shims that cannot be talked to: mute, half dead, or started by a `start` that died before it answered. What
 * remains is their process, which is known by its command line (-namespace, -id, -address, as every shim is
 * run by upstream's rules). Upstream leaves such processes behind. No state; blocks for a moment.
 */

#include <stdbool.h>
#include <sys/types.h>

/* SIGKILL to all processes of this shim, and waits until they are gone, a second at most. What is asked and
 * what is killed is the same process, whoever gets its number later. Returns how many there were. */
unsigned shim_process_kill(const char *binary, const char *ns, const char *id, const char *grpc_address);

/* Whether a command line (NUL-separated, as in /proc) is that shim's; for tests. */
bool shim_process_matches(const char *cmdline, size_t len, const char *binary, const char *ns, const char *id,
                          const char *grpc_address);
