// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Between tasks.c and tasks-all.c: the Tasks service. */

#include "runtime/tasks.h"
#include "services/services.h"
#include "types/task/task.pb-c.h"

typedef Containerd__V1__Types__Process PbProcess;
typedef Containerd__Task__V3__StateResponse StateResponse;

typedef struct {
	MetaDb *db;
	ContentStore *content;
	Tasks *tasks;
	_Atomic int64_t state_timeout_ns; // io.containerd.timeout.task.state
	_Atomic int64_t stats_timeout_ns; // io.containerd.timeout.metrics.shimstats
} TasksImpl;

/* A task as clients see it, of what its shim answered; borrows the strings. */
void task_process_out(PbProcess *out, const StateResponse *in);

/* List and Metrics. */
bool tasks_list_all(RpcCall *call, const void *request, void *response, GError **error);
bool tasks_metrics_all(RpcCall *call, const void *request, void *response, GError **error);
