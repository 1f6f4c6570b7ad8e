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
	void *data;
} TaskService;

void task_service_add(RpcServer *server, TaskService *service);
