// SPDX-License-Identifier: Apache-2.0
#pragma once

/* grpc.health.v1.Health as grpc-go's health.Server: Check, List and Watch. "" is the server as a whole and
 * serves from the start. */

#include "loop/loop.h"
#include "rpc/server.h"

typedef struct RpcHealth RpcHealth;

typedef enum {
	RPC_HEALTH_UNKNOWN = 0,
	RPC_HEALTH_SERVING = 1,
	RPC_HEALTH_NOT_SERVING = 2,
} RpcHealthStatus;

/* For rpc_server_add; *ret_health (may be NULL) is the handle for rpc_health_set, valid until the server is
 * freed. */
RpcService rpc_health_service_new(Loop *loop, RpcHealth **ret_health);
/* Any thread; watchers are told. */
void rpc_health_set(RpcHealth *health, const char *service, RpcHealthStatus status);
