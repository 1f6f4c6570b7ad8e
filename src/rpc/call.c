// SPDX-License-Identifier: Apache-2.0
#include "rpc/call.h"

#include "base/error.h"
#include "base/identifiers.h"
#include "rpc/call-private.h"
#include "rpc/ttrpc-wire.h"
#include <string.h>

const char *rpc_call_method(RpcCall *call)
{
	return call->path;
}

const char *rpc_call_namespace(RpcCall *call)
{
	return call->ns;
}

bool rpc_call_require_namespace(RpcCall *call, const char **ret, GError **error)
{
	if (call->ns == NULL || call->ns[0] == '\0')
		return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION, "namespace is required");
	if (!identifier_validate(call->ns, error))
		return error_prefix(error, "namespace validation");
	*ret = call->ns;
	return true;
}

const char *rpc_call_lease(RpcCall *call)
{
	return call->lease;
}

const char *rpc_call_metadata(RpcCall *call, const char *name)
{
	for (RpcPair *pair = call->metadata; pair != NULL; pair = pair->next)
		if (strcmp(pair->key, name) == 0)
			return pair->value;
	return NULL;
}

Cancel *rpc_call_cancel(RpcCall *call)
{
	return call->cancel;
}

Arena *rpc_call_arena(RpcCall *call)
{
	if (call->arena == NULL)
		call->arena = arena_new();
	return call->arena;
}

const void *rpc_call_request(RpcCall *call)
{
	return call->request;
}

void *rpc_call_impl(RpcCall *call)
{
	return call->entry->service.impl;
}

void rpc_call_peer(RpcCall *call, pid_t *ret_pid, uid_t *ret_uid)
{
	*ret_pid = call->pid;
	*ret_uid = call->uid;
}

/* ---- answers ---- */

bool rpc_call_check_size(RpcCall *call, size_t len, GError **error)
{
	bool unary = call->method->kind == RPC_UNARY;
	if (call->conn->codec->proto == RPC_PROTO_TTRPC) {
		if (len <= TTRPC_MESSAGE_MAX - RPC_MSG_HEADROOM)
			return true;
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "message length %zu exceed maximum message size of %u", len,
		                 TTRPC_MESSAGE_MAX);
	}
	if (len <= call->max_send)
		return true;
	return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
	                 "%strying to send message larger than max (%zu vs. %zu)", unary ? "grpc: " : "", len,
	                 call->max_send);
}

void rpc_call_defer(RpcCall *call)
{
	call->deferred = true;
}

void rpc_call_reply(RpcCall *call, const void *response)
{
	g_autoptr(GError) error = NULL;
	RpcMsg *msg = rpc_msg_pack(response, RPC_MSG_HEADROOM);
	if (!rpc_call_check_size(call, msg->len, &error))
		g_clear_pointer(&msg, rpc_msg_unref);
	rpc_call_handled(call, msg, error);
}

void rpc_call_fail(RpcCall *call, GError *error)
{
	rpc_call_handled(call, NULL, error);
	g_error_free(error);
}

void rpc_call_finish(RpcCall *call)
{
	rpc_call_handled(call, NULL, NULL);
}

/* ---- streams ---- */

/* Why nothing can be sent or received any more. Returns false. */
static bool set_gone(RpcCall *call, GError **error)
{
	if (cancel_check(call->cancel, error))
		error_set(error, CTRD_ERR_CANCELED, "context canceled");
	return false;
}

bool rpc_call_send(RpcCall *call, const void *message, GError **error)
{
	RpcMsg *msg = rpc_msg_pack(message, RPC_MSG_HEADROOM);
	if (!rpc_call_check_size(call, msg->len, error)) {
		rpc_msg_unref(msg);
		return false;
	}
	rpc_xfer_wait_send(&call->x);
	if (!rpc_xfer_send(&call->x, msg))
		return set_gone(call, error);
	rpc_call_count_message(call, true);
	return true;
}

bool rpc_call_try_send(RpcCall *call, const void *message, size_t max_queue)
{
	RpcXfer *x = &call->x;
	RpcMsg *msg = rpc_msg_pack(message, RPC_MSG_HEADROOM);
	bool ok = rpc_call_check_size(call, msg->len, NULL);
	if (ok) {
		LOCK_SCOPE(&x->lock);
		ok = !x->send_end && !x->gone &&
		     (x->sendq.head == NULL || x->sendq.bytes + msg->len <= max_queue);
	}
	if (!ok) {
		rpc_msg_unref(msg);
		return false;
	}
	if (!rpc_xfer_send(x, msg))
		return false;
	rpc_call_count_message(call, true);
	return true;
}

static ProtobufCMessage *unpack(RpcCall *call, RpcMsg *msg, GError **error)
{
	bool ttrpc = call->conn->codec->proto == RPC_PROTO_TTRPC;
	return rpc_msg_unpack(msg, call->desc->input, CTRD_ERR_INTERNAL,
	                      ttrpc ? "ttrpc: error unmarshalling payload: "
	                            : "grpc: failed to unmarshal the received message: ",
	                      error);
}

bool rpc_call_recv(RpcCall *call, ProtobufCMessage **ret_message, GError **error)
{
	*ret_message = NULL;
	g_autoptr(RpcMsg) msg = rpc_xfer_take(&call->x, true);
	if (msg != NULL) {
		*ret_message = unpack(call, msg, error);
		return *ret_message != NULL;
	}
	LOCK_SCOPE(&call->x.lock);
	return (call->x.recv_end && !call->x.stop && !call->x.gone) || set_gone(call, error);
}

void rpc_call_on_message(RpcCall *call, RpcOnMessage fn, void *data)
{
	{
		LOCK_SCOPE(&call->x.lock);
		call->on_message = fn;
		call->on_data = data;
	}
	rpc_call_wake(call);
}

void rpc_call_read_pause(RpcCall *call, bool pause)
{
	{
		LOCK_SCOPE(&call->x.lock);
		call->paused = pause;
	}
	if (!pause)
		rpc_call_wake(call);
}

static void deliver_posted(void *data)
{
	RpcCall *call = data;
	rpc_call_deliver(call);
	rpc_xfer_unref(&call->x);
}

void rpc_call_wake(RpcCall *call)
{
	rpc_xfer_ref(&call->x);
	if (!loop_post(call->x.loop, deliver_posted, call))
		rpc_xfer_unref(&call->x);
}

/* What to do next for a deferred stream's reader. */
static RpcOnMessage next_delivery(RpcCall *call, bool *ret_end, void **ret_data)
{
	LOCK_SCOPE(&call->x.lock);
	bool ended = call->x.gone || call->x.stop || (call->x.recv_end && call->x.recvq.head == NULL);
	*ret_end = ended;
	*ret_data = call->on_data;
	if (call->on_message == NULL || (!ended && (call->paused || call->x.recvq.head == NULL)))
		return NULL;
	return call->on_message;
}

void rpc_call_deliver(RpcCall *call)
{
	if (call->delivering || call->end_delivered)
		return;
	rpc_xfer_ref(&call->x);
	call->delivering = true;
	RpcOnMessage fn;
	bool end;
	void *data;
	while ((fn = next_delivery(call, &end, &data)) != NULL && !call->end_delivered) {
		g_autoptr(RpcMsg) msg = end ? NULL : rpc_xfer_take(&call->x, false);
		autopb ProtobufCMessage *message = NULL;
		if (msg != NULL) {
			g_autoptr(GError) error = NULL;
			message = unpack(call, msg, &error);
			if (message == NULL) {
				rpc_dispatch_refuse(call, RPC_INTERNAL, error->message);
				continue; // and the end is delivered
			}
		}
		call->end_delivered = message == NULL;
		fn(call, message, data);
	}
	call->delivering = false;
	rpc_xfer_unref(&call->x);
}
