// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The sandbox service (containerd.runtime.sandbox.v1), which upstream's runc shim does not have: the shim as
 * a pod, with a process that lives as long as the pod does.
 *
 * A bundle whose spec has a process is run by the OCI runtime as a container of the sandbox's id. Otherwise
 * (no spec, or one without process.args) a pause process of ours (pause.h) holds the namespaces. Containers
 * join by the task API, and by /proc/<pid>/ns of the sandbox's pid.
 *
 * One sandbox for each shim. Stop ends the sandbox's process, Shutdown kills and deletes what is left in the
 * shim and then ends it.
 */

#include "rpc/server.h"
#include "shim/container.h"

typedef struct SandboxService SandboxService;

/* on_shutdown(data): nothing is left, the shim ends. */
SandboxService *sandbox_service_new(Shim *shim, LoopFn on_shutdown, void *data);
void sandbox_service_add(RpcServer *server, SandboxService *service);
/* There is a sandbox: the shim stays when its last container goes. */
bool sandbox_service_is_active(const SandboxService *service);
