// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * grpc_server_* of every method that the gRPC servers offer, with the names and labels of upstream's
 * go-grpc-middleware/providers/prometheus. Thread-safe; one for all servers.
 */

#include "loop/metrics.h"
#include "rpc/server.h"

typedef struct GrpcMetrics GrpcMetrics;
/* histogram: also grpc_server_handling_seconds. */
GrpcMetrics *grpc_metrics_new(bool histogram);
/* After the servers. */
void grpc_metrics_free(GrpcMetrics *metrics);

/* For rpc_server_observe, with a GrpcMetrics as its data. */
extern const RpcObserver grpc_metrics_observer;
/* Lets metrics_write show them, until they are freed. */
void grpc_metrics_publish(GrpcMetrics *metrics);
