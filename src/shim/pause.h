// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The process of a sandbox that has none of its own: it holds the namespaces that containers of the pod join,
 * reaps what they leave behind in a pid namespace, and ends on SIGTERM. A fork of the shim that sleeps, so
 * that it needs no image, no runtime and hardly any memory. Loop's thread only.
 */

#include "base/json.h"
#include "loop/loop.h"
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct Pause Pause;

/* pid 0 and an error (taken by the callee): it could not be set up, and is gone or going. */
typedef void (*PauseFn)(pid_t pid, GError *error, void *data);

/* spec: config.json, NULL: new ipc and uts namespaces. Of linux.namespaces ipc, uts, network, pid and cgroup
 * are made, or joined where they have a path; others are NOT_IMPLEMENTED. netns_path, where not "", is the
 * network namespace. hostname is set in a new uts namespace. fn runs later, once; the caller watches the
 * child. NULL: it could not be forked. */
Pause *pause_start(Loop *loop, JsonObject *spec, const char *netns_path, PauseFn fn, void *data,
                   GError **error);
pid_t pause_pid(const Pause *pause);
