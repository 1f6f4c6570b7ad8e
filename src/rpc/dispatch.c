// SPDX-License-Identifier: Apache-2.0

/*
 * From a decoded request to its handler and back to a status: the only place where handlers are started and
 * where errors become statuses, for gRPC and ttrpc.
 */

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "message.h"
#include "rpc/call-private.h"
#include <string.h>

static const RpcXferOps call_ops;

/* A timeout beyond this is this: sums of clock and timeout stay in range. */
#define TIMEOUT_MAX (INT64_MAX / 4)

/* ---- making ---- */

static RpcCall *call_new(RpcConn *conn, const RpcEntry *entry, unsigned index)
{
	RpcServer *server = conn->owner;
	RpcCall *call = g_new0(RpcCall, 1);
	rpc_xfer_init(&call->x, &call_ops, conn->loop);
	call->server = rpc_server_ref(server);
	call->conn = rpc_conn_ref(conn);
	call->entry = entry;
	call->desc = &entry->service.descriptor->methods[index];
	call->method = entry->handlers[index];
	call->path = g_strdup_printf("/%s/%s", entry->service.descriptor->name, call->desc->name);
	call->cancel = cancel_new(NULL);
	call->started = time_mono();
	call->max_send = server->limits.max_send_message;
	call->pid = conn->pid;
	call->uid = conn->uid;
	return call;
}

RpcLookup rpc_dispatch_lookup(RpcConn *conn, const char *service, size_t service_len, const char *method,
                              size_t method_len, RpcCall **ret)
{
	RpcServer *server = conn->owner;
	/* g_strndup(NULL, 0) is NULL. */
	g_autofree char *service_name = g_strndup(service_len > 0 ? service : "", service_len);
	g_autofree char *method_name = g_strndup(method_len > 0 ? method : "", method_len);
	const RpcEntry *entry = g_hash_table_lookup(server->services, service_name);
	if (entry == NULL)
		return RPC_LOOKUP_NO_SERVICE;
	const ProtobufCServiceDescriptor *desc = entry->service.descriptor;
	const ProtobufCMethodDescriptor *m =
	        protobuf_c_service_descriptor_get_method_by_name(desc, method_name);
	if (m == NULL)
		return RPC_LOOKUP_NO_METHOD;
	unsigned index = (unsigned)(m - desc->methods);
	if (entry->handlers[index] == NULL)
		return RPC_LOOKUP_NO_HANDLER;
	*ret = call_new(conn, entry, index);
	return RPC_LOOKUP_OK;
}

RpcPair *rpc_pair_new(const void *key, size_t key_len, const void *value, size_t value_len)
{
	RpcPair *pair = g_malloc(sizeof(*pair) + key_len + value_len + 2);
	char *v = pair->key + key_len + 1;
	if (key_len > 0)
		memcpy(pair->key, key, key_len);
	pair->key[key_len] = '\0';
	if (value_len > 0)
		memcpy(v, value, value_len);
	v[value_len] = '\0';
	pair->value = v;
	pair->next = NULL;
	return pair;
}

void rpc_pairs_free(RpcPair *pairs)
{
	while (pairs != NULL) {
		RpcPair *next = pairs->next;
		g_free(pairs);
		pairs = next;
	}
}

void rpc_call_take_metadata(RpcCall *call, RpcPair *pairs)
{
	bool ttrpc = call->conn->codec->proto == RPC_PROTO_TTRPC;
	call->metadata = pairs;
	call->ns = rpc_call_metadata(call, ttrpc ? "containerd-namespace-ttrpc" : "containerd-namespace");
	call->lease = rpc_call_metadata(call, "containerd-lease");
}

static void call_free(RpcXfer *x)
{
	RpcCall *call = (RpcCall *)x;
	g_assert(call->timer == NULL);
	if (call->request != NULL)
		protobuf_c_message_free_unpacked(call->request, NULL);
	g_free(call->response);
	rpc_pairs_free(call->metadata);
	if (call->arena != NULL)
		arena_free(call->arena);
	cancel_unref(call->cancel);
	rpc_conn_unref(call->conn);
	rpc_server_unref(call->server);
	g_free(call->path);
	g_free(call);
}

/* ---- ending ---- */

static void log_result(RpcCall *call, const GError *error)
{
	RpcStatusCode code = rpc_status_of(error);
	bool bad = code == RPC_INTERNAL || code == RPC_UNKNOWN;
	if (!log_enabled(bad ? LOG_WARN : LOG_DEBUG))
		return;
	g_autofree char *took = duration_format(time_mono() - call->started);
	const char *ns = call->ns != NULL ? call->ns : "";
	if (error != NULL)
		log_at(bad ? LOG_WARN : LOG_DEBUG, "call failed", "method", call->path, "namespace", ns,
		       "code", rpc_status_name(code), "error", error->message, "duration", took, NULL);
	else
		log_at(LOG_DEBUG, "call", "method", call->path, "namespace", ns, "duration", took, NULL);
}

void rpc_call_handled(RpcCall *call, RpcMsg *last, const GError *error)
{
	bool running;
	{
		LOCK_SCOPE(&call->x.lock);
		running = call->running;
		call->running = false;
		call->on_message = NULL;
	}
	g_assert(running); // answered twice
	log_result(call, error);
	const RpcEntry *entry = call->entry;
	if (last != NULL)
		rpc_call_count_message(call, true);
	if (entry->observer != NULL)
		entry->observer->handled(entry->slot,
		                         (unsigned)(call->desc - entry->service.descriptor->methods),
		                         rpc_status_of(error), time_mono() - call->started);
	inflight_end(&call->inflight);
	rpc_server_call_removed(call->server, call);
	__atomic_sub_fetch(&call->conn->running, 1, __ATOMIC_RELAXED);
	/* A late answer, after the deadline or the client's end, is dropped by finish. */
	rpc_xfer_finish(&call->x, last, rpc_status_of(error), error != NULL ? error->message : NULL, false);
	rpc_xfer_unref(&call->x); // the handler's
}

void rpc_dispatch_refuse(RpcCall *call, RpcStatusCode code, const char *text)
{
	rpc_xfer_finish(&call->x, NULL, code, text, true); // before the handler hears of it and answers
	cancel_trigger(call->cancel, code == RPC_DEADLINE_EXCEEDED);
}

static void deadline_passed(void *data)
{
	RpcCall *call = data;
	rpc_xfer_ref(&call->x);
	loop_timer_free(call->timer);
	call->timer = NULL;
	rpc_dispatch_refuse(call, RPC_DEADLINE_EXCEEDED, "context deadline exceeded");
	rpc_call_deliver(call);
	rpc_xfer_unref(&call->x);
}

static void call_closed(RpcXfer *x, RpcStatusCode code, const char *text)
{
	RpcCall *call = (RpcCall *)x;
	loop_timer_free(call->timer);
	call->timer = NULL;
	bool unanswered;
	{
		LOCK_SCOPE(&x->lock);
		unanswered = !x->send_end || call->running;
	}
	if (unanswered)
		cancel_trigger(call->cancel, false);
	rpc_xfer_mark_gone(x);
	rpc_call_deliver(call);
}

/* ---- running ---- */

static void run(RpcCall *call)
{
	g_autoptr(GError) error = NULL;
	LogScope scope = {.key = {"method", "namespace"},
	                  .value = {call->path, call->ns != NULL ? call->ns : ""}};
	const RpcMethod *method = call->method;
	bool has_response = method->kind == RPC_UNARY || method->kind == RPC_CLIENT_STREAM;
	if (has_response) {
		call->response = g_malloc0(call->desc->output->sizeof_message);
		api_init(call->desc->output, call->response);
	}
	log_scope_enter(&scope);
	Inflight *before = inflight_enter(&call->inflight);
	rpc_xfer_ref(&call->x); // a deferred call may be answered and gone before its handler returns
	bool ok = method->handler(call, call->request, call->response, &error);
	inflight_enter(before);
	log_scope_leave(&scope);
	bool deferred = call->deferred;
	rpc_xfer_unref(&call->x);
	if (deferred) {
		if (!ok)
			log_error_take(LOG_WARN, g_steal_pointer(&error), "a deferred handler failed as well",
			               NULL);
		return;
	}
	RpcMsg *last = NULL;
	if (ok && has_response) {
		last = rpc_msg_pack(call->response, RPC_MSG_HEADROOM);
		if (!rpc_call_check_size(call, last->len, &error))
			g_clear_pointer(&last, rpc_msg_unref);
	} else if (!ok && error == NULL) {
		error_set(&error, CTRD_ERR_INTERNAL, "%s failed without an error", call->path);
	}
	rpc_call_handled(call, last, error);
}

static void run_posted(void *data)
{
	run(data);
}

/* For the in-flight table: the first of the request's fields that says what it is about. */
static void note_object(RpcCall *call)
{
	static const char *const names[] = {"container_id", "id", "name", "key", "ref", "digest"};
	const ProtobufCMessageDescriptor *d = call->request->descriptor;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		const ProtobufCFieldDescriptor *f =
		        protobuf_c_message_descriptor_get_field_by_name(d, names[i]);
		if (f == NULL || f->type != PROTOBUF_C_TYPE_STRING || f->label == PROTOBUF_C_LABEL_REPEATED ||
		    f->quantifier_offset != 0)
			continue;
		const void *at = (const char *)call->request + f->offset;
		const char *value = *(const char *const *)at;
		if (value != NULL && *value != '\0') {
			inflight_object(&call->inflight, value);
			return;
		}
	}
}

/* The request of a unary call or a server's stream. */
static bool unpack_request(RpcCall *call, GError **error)
{
	if (call->method->kind != RPC_UNARY && call->method->kind != RPC_SERVER_STREAM)
		return true;
	g_autoptr(RpcMsg) msg = rpc_xfer_take(&call->x, false);
	if (msg == NULL) // taken back: the call is gone
		return error_set(error, CTRD_ERR_CANCELED, "context canceled");
	bool ttrpc = call->conn->codec->proto == RPC_PROTO_TTRPC;
	call->request = rpc_msg_unpack(msg, call->desc->input, CTRD_ERR_INTERNAL,
	                               ttrpc ? "ttrpc: error unmarshalling payload: "
	                                     : "grpc: error unmarshalling request: ",
	                               error);
	if (call->request != NULL)
		note_object(call);
	return call->request != NULL;
}

static void work(void *data)
{
	RpcCall *call = data;
	g_autoptr(GError) error = NULL;
	if (unpack_request(call, &error))
		run_posted(call);
	else
		rpc_call_handled(call, NULL, error);
}

static void dispatch(RpcCall *call)
{
	RpcServer *server = call->server;
	bool late;
	{
		LOCK_SCOPE(&call->x.lock);
		late = call->running || call->x.send_end || call->x.gone;
		if (!late)
			call->running = true;
	}
	if (late)
		return;
	rpc_xfer_ref(&call->x); // the handler's, until rpc_call_handled
	const RpcEntry *entry = call->entry;
	if (entry->observer != NULL)
		entry->observer->started(entry->slot,
		                         (unsigned)(call->desc - entry->service.descriptor->methods));
	inflight_begin(&call->inflight, call->path, call->ns);
	rpc_server_call_added(server, call);
	unsigned running = __atomic_add_fetch(&call->conn->running, 1, __ATOMIC_RELAXED);
	g_autoptr(GError) error = NULL;
	if (running > server->limits.max_streams) {
		/* Canceled calls whose handlers have not noticed yet count, so that opening and resetting
		 * streams gains nothing. */
		error_set(&error, CTRD_ERR_RESOURCE_EXHAUSTED, "more than %u calls on this connection",
		          server->limits.max_streams);
		rpc_call_handled(call, NULL, error);
	} else if (call->method->where == RPC_ON_LOOP || server->pool == NULL) {
		work(call);
	} else if (!pool_submit(server->pool, work, call)) {
		error_set(&error, CTRD_ERR_RESOURCE_EXHAUSTED, "too many calls are waiting for a worker");
		rpc_call_handled(call, NULL, error);
	}
}

void rpc_dispatch_begin(RpcCall *call)
{
	if (call->timeout_ns < 0) { // ttrpc can say it
		rpc_dispatch_refuse(call, RPC_DEADLINE_EXCEEDED, "context deadline exceeded");
		return;
	}
	if (call->timeout_ns > 0) {
		call->timeout_ns = MIN(call->timeout_ns, TIMEOUT_MAX);
		cancel_set_deadline(call->cancel, call->started + call->timeout_ns);
		call->timer = loop_timer_new(call->x.loop, deadline_passed, call);
		loop_timer_start(call->timer, call->timeout_ns, 0);
	}
	if (call->method->kind == RPC_CLIENT_STREAM || call->method->kind == RPC_BIDI_STREAM)
		dispatch(call);
}

static bool takes_stream(const RpcCall *call)
{
	return call->method->kind == RPC_CLIENT_STREAM || call->method->kind == RPC_BIDI_STREAM;
}

static void call_message(RpcXfer *x, RpcMsg *msg)
{
	RpcCall *call = (RpcCall *)x;
	rpc_call_count_message(call, false);
	if (takes_stream(call)) {
		rpc_xfer_receive(x, msg);
		rpc_call_deliver(call);
		return;
	}
	bool first;
	{
		LOCK_SCOPE(&x->lock);
		first = !x->recv_end;
		x->recv_end = true; // a second message would be too many
	}
	if (!first) {
		rpc_msg_unref(msg);
		rpc_dispatch_refuse(call, RPC_INTERNAL,
		                    "cardinality violation: received multiple request messages for "
		                    "non-client-streaming RPC");
		return;
	}
	rpc_xfer_receive(x, msg);
	dispatch(call);
}

static void call_end(RpcXfer *x)
{
	RpcCall *call = (RpcCall *)x;
	bool had_request;
	{
		LOCK_SCOPE(&x->lock);
		had_request = x->recv_end;
	}
	rpc_xfer_receive_end(x);
	if (takes_stream(call))
		rpc_call_deliver(call);
	else if (!had_request)
		rpc_dispatch_refuse(
		        call, RPC_INTERNAL,
		        "cardinality violation: received no request message from non-client-streaming RPC");
}

static const RpcXferOps call_ops = {
        .message = call_message,
        .end = call_end,
        .closed = call_closed,
        .free = call_free,
};
