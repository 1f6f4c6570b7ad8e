// SPDX-License-Identifier: Apache-2.0

/* A client's call from its options to its status, and the blocking and asynchronous unary calls on it. */

#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include "rpc/client-conn.h"
#include "rpc/ttrpc-wire.h"
#include <string.h>

#define GRPC_MESSAGE_MAX ((size_t)16 * 1024 * 1024)

static const RpcXferOps call_ops;

static RpcClientCall *call_of(RpcXfer *x)
{
	return (RpcClientCall *)x;
}

bool rpc_client_check_size(RpcClient *client, size_t len, GError **error)
{
	if (client->proto == RPC_PROTO_TTRPC) {
		if (len <= TTRPC_MESSAGE_MAX)
			return true;
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "message length %zu exceed maximum message size of %u", len,
		                 TTRPC_MESSAGE_MAX);
	}
	if (len <= GRPC_MESSAGE_MAX)
		return true;
	return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
	                 "trying to send message larger than max (%zu vs. %zu)", len, GRPC_MESSAGE_MAX);
}

static RpcMsg *pack_request(RpcClientCall *call, const RpcCallOptions *o, const ProtobufCMessage *request)
{
	if (call->client->proto == RPC_PROTO_TTRPC) {
		int64_t left = call->deadline != 0 ? MAX(call->deadline - time_mono(), 1) : 0;
		return ttrpc_request_pack(call->service->name, call->method->name, left, o->metadata, o->ns,
		                          o->lease, request);
	}
	return request != NULL ? rpc_msg_pack(request, RPC_MSG_HEADROOM) : NULL;
}

static void set_deadline(RpcClientCall *call, const RpcCallOptions *o)
{
	if (o->timeout_ns > 0)
		call->deadline = time_mono() + MIN(o->timeout_ns, INT64_MAX / 4);
	int64_t other = o->cancel != NULL ? cancel_deadline(o->cancel) : 0;
	if (other != 0 && (call->deadline == 0 || other < call->deadline))
		call->deadline = other;
}

RpcClientCall *rpc_client_call_new(RpcClient *client, const ProtobufCServiceDescriptor *service,
                                   const char *method, RpcKind kind, const RpcCallOptions *options,
                                   const ProtobufCMessage *request, GError **error)
{
	static const RpcCallOptions none;
	const RpcCallOptions *o = options != NULL ? options : &none;
	const ProtobufCMethodDescriptor *desc =
	        protobuf_c_service_descriptor_get_method_by_name(service, method);
	if (desc == NULL) {
		error_set(error, CTRD_ERR_NOT_IMPLEMENTED, "unknown method %s for service %s", method,
		          service->name);
		return NULL;
	}
	RpcClientCall *call = g_new0(RpcClientCall, 1);
	rpc_xfer_init(&call->x, &call_ops, client->loop);
	call->client = rpc_client_hold(client);
	call->service = service;
	call->method = desc;
	call->kind = kind;
	call->ns = g_strdup(o->ns);
	call->lease = g_strdup(o->lease);
	call->metadata = o->metadata != NULL ? g_hash_table_ref(o->metadata) : NULL;
	call->cancel = o->cancel != NULL ? cancel_ref(o->cancel) : NULL;
	set_deadline(call, o);
	RpcMsg *msg = pack_request(call, o, request);
	if (msg != NULL)
		rpc_msg_list_push(&call->x.sendq, msg);
	if (!rpc_client_call_streams_out(call))
		call->x.send_end = true;
	if (msg != NULL && !rpc_client_check_size(client, msg->len, error)) {
		rpc_xfer_unref(&call->x);
		return NULL;
	}
	return call;
}

static void call_free(RpcXfer *x)
{
	RpcClientCall *call = call_of(x);
	rpc_msg_unref(call->request);
	g_free(call->ns);
	g_free(call->lease);
	if (call->metadata != NULL)
		g_hash_table_unref(call->metadata);
	cancel_unref(call->cancel);
	rpc_client_drop(call->client);
	g_free(call);
}

/* ---- end ---- */

static void run_done(RpcClientCall *call)
{
	g_autoptr(GError) error = NULL;
	autopb ProtobufCMessage *response = NULL;
	if (rpc_client_call_status(call, &error)) {
		g_autoptr(RpcMsg) msg = rpc_xfer_take(&call->x, false);
		response = rpc_client_unpack(call, msg, &error);
	}
	call->done(response, error, call->data);
}

void rpc_client_call_ended(RpcClientCall *call, RpcStatusCode code, const char *text)
{
	if (call->ended)
		return;
	call->ended = true;
	loop_timer_free(call->timer);
	call->timer = NULL;
	if (call->cancel_id != 0)
		cancel_off(call->cancel,
		           call->cancel_id); // the token is the caller's only until the call has ended
	rpc_xfer_ref(&call->x);
	rpc_xfer_mark_gone_with(&call->x, code, str_or(text, ""));
	if (call->done != NULL)
		run_done(call);
	rpc_xfer_unref(&call->x);
}

bool rpc_client_call_status(RpcClientCall *call, GError **error)
{
	LOCK_SCOPE(&call->x.lock);
	return call->x.code == RPC_OK || rpc_status_to_error(call->x.code, call->x.text, error);
}

ProtobufCMessage *rpc_client_unpack(RpcClientCall *call, RpcMsg *msg, GError **error)
{
	bool ttrpc = call->client->proto == RPC_PROTO_TTRPC;
	if (msg == NULL) {
		error_set(
		        error, CTRD_ERR_INTERNAL,
		        "cardinality violation: received no response message from non-server-streaming RPC");
		return NULL;
	}
	return rpc_msg_unpack(msg, call->method->output, ttrpc ? CTRD_ERR_UNKNOWN : CTRD_ERR_INTERNAL,
	                      ttrpc ? "" : "grpc: failed to unmarshal the received message: ", error);
}

static void call_closed(RpcXfer *x, RpcStatusCode code, const char *text)
{
	RpcClientCall *call = call_of(x);
	if (!rpc_client_retry(call))
		rpc_client_call_ended(call, code, text);
}

static void end_early(RpcClientCall *call, RpcStatusCode code, const char *text)
{
	if (call->ended)
		return;
	rpc_xfer_ref(&call->x);
	RpcConn *conn = call->x.conn;
	if (conn != NULL) {
		rpc_conn_hold(conn);
		conn->codec->abandon(conn, &call->x);
		call->retried = true;
		rpc_conn_detach(conn, &call->x, code, text);
		rpc_conn_release(conn);
	} else {
		rpc_client_unwait(call);
		rpc_client_call_ended(call, code, text);
	}
	rpc_xfer_unref(&call->x);
}

void rpc_client_call_violation(RpcClientCall *call, RpcStatusCode code, const char *text)
{
	end_early(call, code, text);
}

/* ---- messages ---- */

static void call_message(RpcXfer *x, RpcMsg *msg)
{
	RpcClientCall *call = call_of(x);
	if (call->got_message && !rpc_client_call_streams_in(call)) {
		rpc_msg_unref(msg);
		end_early(call, RPC_INTERNAL,
		          "cardinality violation: expected <EOF> for non server-streaming RPCs, but received "
		          "another "
		          "message");
		return;
	}
	call->got_message = true;
	rpc_xfer_receive(x, msg);
}

static void call_end(RpcXfer *x)
{
}

static const RpcXferOps call_ops = {
        .message = call_message,
        .end = call_end,
        .closed = call_closed,
        .free = call_free,
};

/* ---- start, cancel, deadline ---- */

static void deadline_passed(void *data)
{
	end_early(data, RPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

static void cancel_posted(void *data)
{
	RpcClientCall *call = data;
	g_autoptr(GError) error = NULL;
	if (call->cancel == NULL || cancel_check(call->cancel, &error))
		error_set(&error, CTRD_ERR_CANCELED, "context canceled");
	call->canceled = true;
	if (call->started)
		end_early(call, rpc_status_of(error), error->message);
	rpc_xfer_unref(&call->x);
}

void rpc_client_call_cancel(RpcClientCall *call)
{
	rpc_xfer_ref(&call->x);
	if (!loop_post(call->x.loop, cancel_posted, call))
		rpc_xfer_unref(&call->x);
}

static void on_cancel(void *data)
{
	rpc_client_call_cancel(data);
}

static void start_posted(void *data)
{
	RpcClientCall *call = data;
	call->started = true;
	if (call->canceled) {
		rpc_client_call_cancel(call);
	} else {
		if (call->deadline != 0) {
			call->timer = loop_timer_new(call->x.loop, deadline_passed, call);
			loop_timer_start(call->timer, MAX(call->deadline - time_mono(), 0), 0);
		}
		rpc_client_place(call);
	}
	rpc_xfer_unref(&call->x);
}

void rpc_client_call_start(RpcClientCall *call)
{
	if (call->cancel != NULL)
		call->cancel_id = cancel_on(call->cancel, on_cancel, call);
	rpc_xfer_ref(&call->x);
	if (loop_post(call->x.loop, start_posted, call))
		return;
	rpc_client_call_ended(call, RPC_UNAVAILABLE, "the event loop has ended");
	rpc_xfer_unref(&call->x);
}

/* ---- unary calls ---- */

static void wait_gone(RpcClientCall *call)
{
	LOCK_SCOPE(&call->x.lock);
	while (!call->x.gone)
		cond_wait(&call->x.cond, &call->x.lock);
}

RpcClientCall *rpc_client_call_begin(RpcClient *client, const ProtobufCServiceDescriptor *service,
                                     const char *method, const RpcCallOptions *options, const void *request,
                                     GError **error)
{
	RpcClientCall *call =
	        rpc_client_call_new(client, service, method, RPC_UNARY, options, request, error);
	if (call != NULL)
		rpc_client_call_start(call);
	return call;
}

bool rpc_client_call_wait(RpcClientCall *call, void *ret, GError **error)
{
	g_assert(!loop_is_current(call->x.loop));
	wait_gone(call);
	ProtobufCMessage *response = NULL;
	if (rpc_client_call_status(call, error)) {
		g_autoptr(RpcMsg) msg = rpc_xfer_take(&call->x, false);
		response = rpc_client_unpack(call, msg, error);
	}
	rpc_xfer_unref(&call->x);
	if (response != NULL)
		*(ProtobufCMessage **)ret = response;
	return response != NULL;
}

void rpc_client_call_forget(RpcClientCall *call)
{
	if (call != NULL)
		rpc_xfer_unref(&call->x);
}

bool rpc_client_call(RpcClient *client, const ProtobufCServiceDescriptor *service, const char *method,
                     const RpcCallOptions *options, const void *request, void *ret, GError **error)
{
	RpcClientCall *call = rpc_client_call_begin(client, service, method, options, request, error);
	return call != NULL && rpc_client_call_wait(call, ret, error);
}

typedef struct {
	RpcReplyFn done;
	void *data;
	GError *error;
} Refused;

static void refused_posted(void *data)
{
	Refused *r = data;
	r->done(NULL, r->error, r->data);
	g_error_free(r->error);
	g_free(r);
}

void rpc_client_call_async(RpcClient *client, const ProtobufCServiceDescriptor *service, const char *method,
                           const RpcCallOptions *options, const void *request, RpcReplyFn done, void *data)
{
	GError *error = NULL;
	RpcClientCall *call =
	        rpc_client_call_new(client, service, method, RPC_UNARY, options, request, &error);
	if (call == NULL) {
		Refused *r = g_new(Refused, 1);
		*r = (Refused){done, data, error};
		if (!loop_post(client->loop, refused_posted, r))
			refused_posted(r);
		return;
	}
	call->done = done;
	call->data = data;
	rpc_client_call_start(call);
	rpc_xfer_unref(&call->x);
}
