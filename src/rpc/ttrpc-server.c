// SPDX-License-Identifier: Apache-2.0

/* The server's side of ttrpc. Source of the rules and texts: server.go and services.go of ttrpc 1.2.8. */

#include "base/util.h"
#include "rpc/call-private.h"
#include "rpc/ttrpc-session.h"

static bool is_stream(const RpcCall *call)
{
	return call->method->kind != RPC_UNARY;
}

static bool streams_out(const RpcCall *call)
{
	return call->method->kind == RPC_SERVER_STREAM || call->method->kind == RPC_BIDI_STREAM;
}

static void write_status(RpcConn *conn, uint32_t id, RpcStatusCode code, const char *text)
{
	ttrpc_session_write(conn, id, TTRPC_RESPONSE, 0, ttrpc_response_status(code, text));
}

static void write_oversized(RpcConn *conn, uint32_t id, size_t len)
{
	g_autofree char *text = g_strdup_printf("message length %zu exceed maximum message size of %u", len,
	                                        TTRPC_MESSAGE_MAX);
	write_status(conn, id, RPC_RESOURCE_EXHAUSTED, text);
}

static void call_done(RpcConn *conn, RpcXfer *x)
{
	ttrpc_session_remove(conn->session, x);
	rpc_conn_detach(conn, x, RPC_OK, "");
	if (conn->draining && conn->n_xfers == 0)
		rpc_conn_finish(conn, RPC_UNAVAILABLE, "server stopped");
}

/* The last frame of a call; msg is the response of one that has one. */
static void write_end(RpcConn *conn, RpcXfer *x, RpcMsg *msg)
{
	RpcCall *call = (RpcCall *)x;
	RpcStatusCode code;
	g_autofree char *text = NULL;
	{
		LOCK_SCOPE(&x->lock);
		code = x->code;
		text = g_strdup(x->text);
	}
	if (code != RPC_OK) {
		rpc_msg_unref(msg);
		write_status(conn, x->id, code, text);
	} else if (streams_out(call)) {
		g_assert(msg == NULL);
		ttrpc_session_write(conn, x->id, TTRPC_DATA, TTRPC_REMOTE_CLOSED | TTRPC_NO_DATA, NULL);
	} else {
		if (msg != NULL)
			ttrpc_response_wrap(msg);
		ttrpc_session_write(conn, x->id, TTRPC_RESPONSE, 0, msg);
	}
	call_done(conn, x);
}

static bool send_one(RpcConn *conn, RpcXfer *x)
{
	bool end;
	RpcMsg *msg = rpc_xfer_next_send(x, &end);
	if (msg != NULL && streams_out((RpcCall *)x)) {
		ttrpc_session_write(conn, x->id, TTRPC_DATA, 0, g_steal_pointer(&msg));
		if (!end)
			return rpc_xfer_has_send(x);
	}
	if (end)
		write_end(conn, x, msg);
	return false;
}

static void fill(RpcConn *conn)
{
	ttrpc_session_fill(conn, send_one);
}

static void overrun(RpcConn *conn, RpcXfer *x)
{
	rpc_dispatch_refuse((RpcCall *)x, RPC_INVALID_ARGUMENT,
	                    "data handling error: ttrpc: stream buffer full");
}

static void open_session(RpcConn *conn)
{
	conn->session = ttrpc_session_new(conn, overrun);
}

/* ---- requests ---- */

static void add_pair(void *data, TtrpcSlice key, TtrpcSlice value)
{
	GArray *pairs = data;
	g_array_append_val(pairs, key);
	g_array_append_val(pairs, value);
}

static RpcCall *lookup(RpcConn *conn, uint32_t id, const TtrpcRequest *req)
{
	RpcCall *call = NULL;
	RpcLookup r = rpc_dispatch_lookup(conn, (const char *)req->service.data, req->service.len,
	                                  (const char *)req->method.data, req->method.len, &call);
	if (r == RPC_LOOKUP_OK)
		return call;
	const TtrpcSlice *name = r == RPC_LOOKUP_NO_SERVICE ? &req->service : &req->method;
	g_autofree char *text = g_strdup_printf("%s %.*s", r == RPC_LOOKUP_NO_SERVICE ? "service" : "method",
	                                        (int)MIN(name->len, (size_t)4096), (const char *)name->data);
	write_status(conn, id, RPC_UNIMPLEMENTED, text);
	return NULL;
}

/* Takes msg, which holds what req and pairs point into. */
static void begin(RpcConn *conn, RpcCall *call, const TtrpcHeader *h, RpcMsg *msg, const TtrpcRequest *req,
                  GArray *pairs)
{
	RpcPair *list = NULL, **tail = &list;
	for (guint i = 0; i + 1 < pairs->len; i += 2) {
		TtrpcSlice *p = &g_array_index(pairs, TtrpcSlice, i);
		*tail = rpc_pair_new(p[0].data, p[0].len, p[1].data, p[1].len);
		tail = &(*tail)->next;
	}
	rpc_call_take_metadata(call, list);
	call->timeout_ns = req->timeout_ns;
	RpcXfer *x = &call->x;
	rpc_conn_attach(conn, x, h->stream);
	if (is_stream(call))
		ttrpc_session_add(conn->session, x);
	rpc_dispatch_begin(call);
	/* A client stream whose request has no payload has not sent a message yet. */
	bool client_streams =
	        call->method->kind == RPC_CLIENT_STREAM || call->method->kind == RPC_BIDI_STREAM;
	if (x->conn == conn && (req->payload.len > 0 || !client_streams)) {
		if (msg == NULL)
			msg = rpc_msg_new(0, 0);
		msg->off = req->payload.len > 0 ? (size_t)(req->payload.data - msg->data) : 0;
		msg->len = req->payload.len;
		ttrpc_session_deliver(conn, x, g_steal_pointer(&msg));
	}
	if (x->conn == conn && client_streams && (h->flags & TTRPC_REMOTE_CLOSED) != 0)
		x->ops->end(x);
	rpc_msg_unref(msg);
	rpc_xfer_unref(x);
}

/* Metadata is kept as long as the call runs. */
static bool pairs_fit(GArray *pairs)
{
	size_t total = 0;
	for (guint i = 0; i < pairs->len; i++)
		total += g_array_index(pairs, TtrpcSlice, i).len;
	return pairs->len <= 512 && total <= 64 * 1024;
}

/* Takes msg. */
static void on_request(RpcConn *conn, const TtrpcHeader *h, RpcMsg *msg)
{
	TtrpcSession *s = conn->session;
	if (h->stream <= s->last_id) {
		write_status(conn, h->stream, RPC_INVALID_ARGUMENT,
		             "StreamID cannot be re-used and must increment");
		rpc_msg_unref(msg);
		return;
	}
	s->last_id = h->stream;
	g_autoptr(GArray) pairs = g_array_new(FALSE, FALSE, sizeof(TtrpcSlice));
	TtrpcRequest req;
	static const uint8_t nothing[1];
	const uint8_t *data = msg != NULL ? rpc_msg_content(msg) : nothing;
	if (!ttrpc_request_read(data, msg != NULL ? msg->len : 0, &req, add_pair, pairs)) {
		write_status(conn, h->stream, RPC_INVALID_ARGUMENT,
		             "unmarshal request error: proto: cannot parse invalid wire-format data");
	} else if (!pairs_fit(pairs)) {
		write_status(conn, h->stream, RPC_RESOURCE_EXHAUSTED,
		             "metadata larger than max (256 pairs, 65536 bytes)");
	} else {
		RpcCall *call = lookup(conn, h->stream, &req);
		if (call != NULL)
			begin(conn, call, h, g_steal_pointer(&msg), &req, pairs);
	}
	rpc_msg_unref(msg);
}

/* Takes msg. */
static void on_data(RpcConn *conn, const TtrpcHeader *h, RpcMsg *msg)
{
	RpcXfer *x = ttrpc_session_find(conn->session, h->stream);
	if (x == NULL) {
		write_status(conn, h->stream, RPC_INVALID_ARGUMENT, "StreamID is no longer active");
		rpc_msg_unref(msg);
		return;
	}
	rpc_xfer_ref(x);
	bool closed;
	{
		LOCK_SCOPE(&x->lock);
		closed = x->recv_end;
	}
	bool has_data = msg != NULL && msg->len > 0;
	if ((h->flags & TTRPC_NO_DATA) == 0 && closed) {
		rpc_msg_unref(msg);
		rpc_dispatch_refuse((RpcCall *)x, RPC_INVALID_ARGUMENT,
		                    "data handling error: ttrpc: stream closed");
	} else if ((h->flags & TTRPC_NO_DATA) == 0) {
		ttrpc_session_deliver(conn, x, msg != NULL ? msg : rpc_msg_new(0, 0));
	} else {
		rpc_msg_unref(msg);
	}
	if ((h->flags & TTRPC_REMOTE_CLOSED) != 0 && x->conn == conn) {
		if (!closed)
			x->ops->end(x);
		if (has_data && x->conn == conn)
			rpc_dispatch_refuse((RpcCall *)x, RPC_INVALID_ARGUMENT,
			                    "data close message cannot include data");
	}
	rpc_xfer_unref(x);
}

static void on_frame(RpcConn *conn, const TtrpcHeader *h, RpcMsg *msg, bool oversized)
{
	if (oversized) {
		write_oversized(conn, h->stream, h->len);
	} else if (h->stream % 2 != 1) {
		write_status(conn, h->stream, RPC_INVALID_ARGUMENT,
		             "StreamID must be odd for client initiated streams");
	} else if (h->type == TTRPC_DATA) {
		on_data(conn, h, g_steal_pointer(&msg));
	} else if (h->type == TTRPC_REQUEST) {
		on_request(conn, h, g_steal_pointer(&msg));
	} // other types are ignored, for what may come
	rpc_msg_unref(msg);
}

static bool input(RpcConn *conn, const uint8_t *data, size_t len)
{
	ttrpc_session_input(conn, data, len, on_frame);
	return true;
}

static void drain(RpcConn *conn)
{
	/* The protocol cannot say it: an idle connection is closed, another one after its last call. */
	if (conn->n_xfers == 0)
		rpc_conn_finish(conn, RPC_UNAVAILABLE, "server stopped");
}

const RpcCodec rpc_ttrpc_server_codec = {
        .proto = RPC_PROTO_TTRPC,
        .server = true,
        .open = open_session,
        .input = input,
        .rx_buffer = ttrpc_session_rx_buffer,
        .fill = fill,
        .ready = ttrpc_session_ready,
        .credit = ttrpc_session_credit,
        .drain = drain,
        .close = ttrpc_session_close,
};
