// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Clients for gRPC and ttrpc. A client owns one connection on its loop, made at the first call and again
 * after it broke (gRPC; a ttrpc client stays closed once broken, as upstream's: make a new one). Blocking
 * calls are for any thread but the loop's; async calls for any thread, their callbacks run on the loop's.
 */

#include "loop/cancel.h"
#include "loop/loop.h"
#include "rpc/call.h"
#include "rpc/server.h"

typedef struct RpcClient RpcClient;

/* address: "/path", "unix:///path", "unix://path"; for gRPC also "host:port". Nothing is connected yet.
 * Connect error text as Go's dialer for ttrpc/gRPC: `dial unix /path: connect: no such file or directory`;
 * class UNAVAILABLE. */
RpcClient *rpc_client_new(Loop *loop, RpcProto proto, const char *address);
/* Over a connected socket, which it takes. */
RpcClient *rpc_client_new_fd(Loop *loop, RpcProto proto, int fd);
RpcClient *rpc_client_ref(RpcClient *client);
/* Any thread, before the loop is stopped; pending calls end with CANCELED, and the function of
 * rpc_client_on_close is not called any more. */
void rpc_client_unref(RpcClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcClient, rpc_client_unref)

/* fn(data) once on the loop's thread when the connection has ended (peer closed, protocol error, closed by
 * us). */
void rpc_client_on_close(RpcClient *client, LoopFn fn, void *data);
/* Closes now; pending calls end with `ttrpc: closed` (UNAVAILABLE) as upstream. Any thread. */
void rpc_client_close(RpcClient *client);

typedef struct {
	const char *ns;       // containerd-namespace; NULL: none
	const char *lease;    // containerd-lease
	int64_t timeout_ns;   // 0: none
	Cancel *cancel;       // NULL: none. Borrowed for the call
	GHashTable *metadata; // further pairs, strmap; NULL: none
} RpcCallOptions;

/* Blocking unary call. *ret is an unpacked message of the method's output type (autopb). */
bool rpc_client_call(RpcClient *client, const ProtobufCServiceDescriptor *service, const char *method,
                     const RpcCallOptions *options, const void *request, void *ret, GError **error);

/* The same in two steps, for what the caller can do meanwhile. NULL: error. */
typedef struct RpcClientCall RpcClientCall;
RpcClientCall *rpc_client_call_begin(RpcClient *client, const ProtobufCServiceDescriptor *service,
                                     const char *method, const RpcCallOptions *options, const void *request,
                                     GError **error);
bool rpc_client_call_wait(RpcClientCall *call, void *ret, GError **error); // frees the call
/* Instead of the wait: it goes on, and its answer is thrown away. NULL is fine. */
void rpc_client_call_forget(RpcClientCall *call);

/* response is NULL where error is set; both are borrowed. */
typedef void (*RpcReplyFn)(const void *response, const GError *error, void *data);
/* The request is packed before this returns. done runs exactly once, on the loop's thread (never inside this
 * call). */
void rpc_client_call_async(RpcClient *client, const ProtobufCServiceDescriptor *service, const char *method,
                           const RpcCallOptions *options, const void *request, RpcReplyFn done, void *data);

/* Streams (blocking; one sender and one receiver thread). */
typedef struct RpcStream RpcStream;
RpcStream *rpc_client_stream(RpcClient *client, const ProtobufCServiceDescriptor *service, const char *method,
                             RpcKind kind, const RpcCallOptions *options, const void *request,
                             GError **error);
bool rpc_stream_send(RpcStream *stream, const void *message, GError **error);
bool rpc_stream_close_send(RpcStream *stream, GError **error);
/* true with *ret NULL: the stream ended with OK. */
bool rpc_stream_recv(RpcStream *stream, void *ret, GError **error);
/* Cancels where it has not ended. */
void rpc_stream_free(RpcStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcStream, rpc_stream_free)
