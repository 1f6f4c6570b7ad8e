// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Between client.c (the connection) and client-call.c (the calls). Loop's thread, but hold and drop. */

#include "rpc/client-private.h"

RpcClient *rpc_client_hold(RpcClient *client);
void rpc_client_drop(RpcClient *client);
/* Takes fd, connected (-1: none, for tests), as the connection for new calls. */
bool rpc_client_use_fd(RpcClient *client, int fd, GError **error);
/* Puts the call on the connection, which is made where there is none. */
void rpc_client_place(RpcClientCall *call);
/* Takes a call back that waits for the connection. */
void rpc_client_unwait(RpcClientCall *call);
/* Begins once more where the server refused the call unseen. */
bool rpc_client_retry(RpcClientCall *call);
void rpc_client_call_ended(RpcClientCall *call, RpcStatusCode code, const char *text);
ProtobufCMessage *rpc_client_unpack(RpcClientCall *call, RpcMsg *msg, GError **error);
