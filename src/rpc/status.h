// SPDX-License-Identifier: Apache-2.0
#pragma once

/* gRPC status codes and their error classes; upstream's errgrpc. Pure functions. */

#include <glib.h>
#include <stdbool.h>

typedef enum {
	RPC_OK = 0,
	RPC_CANCELLED = 1,
	RPC_UNKNOWN = 2,
	RPC_INVALID_ARGUMENT = 3,
	RPC_DEADLINE_EXCEEDED = 4,
	RPC_NOT_FOUND = 5,
	RPC_ALREADY_EXISTS = 6,
	RPC_PERMISSION_DENIED = 7,
	RPC_RESOURCE_EXHAUSTED = 8,
	RPC_FAILED_PRECONDITION = 9,
	RPC_ABORTED = 10,
	RPC_OUT_OF_RANGE = 11,
	RPC_UNIMPLEMENTED = 12,
	RPC_INTERNAL = 13,
	RPC_UNAVAILABLE = 14,
	RPC_DATA_LOSS = 15,
	RPC_UNAUTHENTICATED = 16,
} RpcStatusCode;

RpcStatusCode rpc_status_of(const GError *error); // RPC_OK for NULL
const char *rpc_status_name(RpcStatusCode code);  // "NotFound", as Go's codes.Code prints
/* An error from what a peer answered: the class by the code and, for FAILED_PRECONDITION, by the text's
 * suffix. The text is the message as it came. Returns false. */
bool rpc_status_to_error(RpcStatusCode code, const char *message, GError **error);
