// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "rpc/server.h"
#include "shim/container.h"

/* The task service, versions 2 and 3 (same messages, other package), upon container.h. */
typedef struct {
	Shim *shim;
	LoopFn on_shutdown; // Shutdown was asked for, and no container is left
	void *data;
} TaskService;

void task_service_add(RpcServer *server, TaskService *service);
