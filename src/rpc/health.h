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

/* Adds the service to the server, which frees it; the result stays valid until rpc_server_free. */
RpcHealth *rpc_health_add(RpcServer *server, Loop *loop);
/* Any thread; watchers are told. */
void rpc_health_set(RpcHealth *health, const char *service, RpcHealthStatus status);
