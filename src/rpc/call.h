// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One call as a handler sees it, the same for gRPC and ttrpc.
 *
 * A handler runs on a worker as blocking code (RPC_ON_WORKER), or on the loop's thread without ever blocking
 * (RPC_ON_LOOP: quick answers, and everything in the shim). Unary: fill `response`, return true; or return
 * false with an error; or rpc_call_defer() and answer later, from any thread, exactly once, with
 * rpc_call_reply or rpc_call_fail. What waits for the outside defers, so that it holds no thread.
 *
 * Memory: request and response live until the call is finished; build the response with rpc_call_arena(). A
 * deferred call stays valid until it is answered.
 */

#include "base/arena.h"
#include "loop/cancel.h"
#include "loop/loop.h"
#include <glib.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

typedef struct RpcCall RpcCall;

/* Frees an unpacked message of any type at the end of its scope. */
static inline void pb_cleanup_(void *p)
{
	ProtobufCMessage *m = *(ProtobufCMessage **)p;
	if (m != NULL)
		protobuf_c_message_free_unpacked(m, NULL);
}
#define autopb __attribute__((cleanup(pb_cleanup_)))

const char *rpc_call_method(RpcCall *call);    // "/containerd.services.images.v1.Images/Get"
const char *rpc_call_namespace(RpcCall *call); // as sent, NULL where absent
/* The namespace, checked: `namespace is required: failed precondition` where absent,
 * and identifier_validate's error for a bad one. */
bool rpc_call_require_namespace(RpcCall *call, const char **ret, GError **error);
const char *rpc_call_lease(RpcCall *call); // NULL where absent
/* Any other metadata by lower-case name: the first value, or NULL. */
const char *rpc_call_metadata(RpcCall *call, const char *name);
Cancel *rpc_call_cancel(
        RpcCall *call); // canceled when the client goes away, cancels, or the deadline passes. Borrowed
Arena *rpc_call_arena(RpcCall *call);
void *rpc_call_impl(RpcCall *call); // RpcService.impl
const void *
rpc_call_request(RpcCall *call); // the request of a unary or server-stream call; NULL for the others
/* Credentials of the peer's socket (SO_PEERCRED); pid 0 where unknown (TCP). */
void rpc_call_peer(RpcCall *call, pid_t *ret_pid, uid_t *ret_uid);

/* Deferred answers. reply packs the message at once (the caller may free it after). */
void rpc_call_defer(RpcCall *call);
void rpc_call_reply(RpcCall *call, const void *response);
void rpc_call_fail(RpcCall *call, GError *error); // takes the error

/* ---- streams ---- */

/* Blocking, for workers: waits while the peer's window is closed and the call's queue is over its bound (1
 * MiB). */
bool rpc_call_send(RpcCall *call, const void *message, GError **error);
/* Blocking: the next message of the client, NULL with no error at the end of its side. Free with autopb. */
bool rpc_call_recv(RpcCall *call, ProtobufCMessage **ret_message, GError **error);
/* Never blocks: false where the queue is over max_queue bytes or the call is gone (nothing is queued then).
 */
bool rpc_call_try_send(RpcCall *call, const void *message, size_t max_queue);
/* For deferred streams: fn runs on the loop's thread for each message (borrowed for the callback), and once
 * with NULL at the end of the client's side or when the call is gone. The messages are read only while fn is
 * set; rpc_call_read_pause stops reading (flow control then stops the peer). */
typedef void (*RpcOnMessage)(RpcCall *call, const ProtobufCMessage *message, void *data);
void rpc_call_on_message(RpcCall *call, RpcOnMessage fn, void *data);
void rpc_call_read_pause(RpcCall *call, bool pause);
/* A deferred stream ends with rpc_call_finish (OK) or rpc_call_fail. */
void rpc_call_finish(RpcCall *call);
