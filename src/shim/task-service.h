// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "rpc/server.h"
#include "shim/container.h"
#include "shim/sandbox-service.h"

/* The task service, versions 2 and 3 (same messages, other package), upon container.h. */
typedef struct {
	Shim *shim;
	SandboxService *sandbox;
	LoopFn on_shutdown; // Shutdown was asked for, and neither container nor sandbox is left
	LoopFn on_idle;     // nothing is left to look after, as yet
	void *data;
} TaskService;

/* Neither a container nor anything else is there that this shim exists for. */
bool task_service_is_idle(const TaskService *service);
void task_service_add(RpcServer *server, TaskService *service);
