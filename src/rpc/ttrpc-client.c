// SPDX-License-Identifier: Apache-2.0

/* The client's side of ttrpc. Source of the rules and texts: client.go and stream.go of ttrpc 1.2. */

#include "base/log.h"
#include "base/util.h"
#include "rpc/client-private.h"
#include "rpc/ttrpc-session.h"

static RpcClientCall *call_of(RpcXfer *x)
{
	return (RpcClientCall *)x;
}

static void call_done(RpcConn *conn, RpcXfer *x, RpcStatusCode code, const char *text)
{
	ttrpc_session_remove(conn->session, x);
	rpc_conn_detach(conn, x, code, text);
}

static void overrun(RpcConn *conn, RpcXfer *x)
{
	call_done(conn, x, RPC_UNKNOWN, "ttrpc: stream buffer full");
}

static void open_session(RpcConn *conn)
{
	TtrpcSession *s = ttrpc_session_new(conn, overrun);
	s->last_id = (uint32_t)-1;
	conn->session = s;
}

static void start(RpcConn *conn, RpcXfer *x)
{
	TtrpcSession *s = conn->session;
	RpcClientCall *call = call_of(x);
	bool end;
	s->last_id += 2;
	rpc_conn_attach(conn, x, s->last_id);
	ttrpc_session_add(s, x);
	uint8_t flags = 0;
	if (rpc_client_call_streams_out(call))
		flags = TTRPC_REMOTE_OPEN;
	else if (call->kind == RPC_SERVER_STREAM)
		flags = TTRPC_REMOTE_CLOSED;
	ttrpc_session_write(conn, x->id, TTRPC_REQUEST, flags, rpc_xfer_next_send(x, &end));
	if (flags == TTRPC_REMOTE_OPEN)
		ttrpc_session_ready(conn, x);
	if (s->last_id >= UINT32_MAX - 2)
		conn->owner_ops->goaway(conn); // the numbers are used up
}

static void ready(RpcConn *conn, RpcXfer *x)
{
	if (rpc_client_call_streams_out(call_of(x)))
		ttrpc_session_ready(conn, x);
}

static bool send_one(RpcConn *conn, RpcXfer *x)
{
	bool end;
	if (x->write_closed)
		return false;
	RpcMsg *msg = rpc_xfer_next_send(x, &end);
	if (msg != NULL)
		ttrpc_session_write(conn, x->id, TTRPC_DATA, 0, msg);
	if (end) {
		ttrpc_session_write(conn, x->id, TTRPC_DATA, TTRPC_REMOTE_CLOSED | TTRPC_NO_DATA, NULL);
		x->write_closed = true;
		return false;
	}
	return rpc_xfer_has_send(x);
}

static void fill(RpcConn *conn)
{
	ttrpc_session_fill(conn, send_one);
}

/* ---- answers ---- */

/* Takes msg. */
static void on_response(RpcConn *conn, RpcXfer *x, RpcMsg *msg)
{
	TtrpcResponse r = {0};
	if (msg != NULL && !ttrpc_response_read(rpc_msg_content(msg), msg->len, &r)) {
		call_done(conn, x, RPC_UNKNOWN, "proto: cannot parse invalid wire-format data");
	} else if (r.code != RPC_OK) {
		g_autofree char *text = g_strndup((const char *)r.message.data, r.message.len);
		call_done(conn, x, r.code, text);
	} else {
		if (r.payload.len > 0 || !rpc_client_call_streams_in(call_of(x))) {
			if (msg == NULL)
				msg = rpc_msg_new(0, 0);
			msg->off = r.payload.len > 0 ? (size_t)(r.payload.data - msg->data) : 0;
			msg->len = r.payload.len;
			x->ops->message(x, g_steal_pointer(&msg));
		}
		if (x->conn == conn)
			call_done(conn, x, RPC_OK, "");
	}
	rpc_msg_unref(msg);
}

/* Takes msg. */
static void on_data(RpcConn *conn, RpcXfer *x, const TtrpcHeader *h, RpcMsg *msg)
{
	if (!rpc_client_call_streams_in(call_of(x))) {
		rpc_msg_unref(msg);
		call_done(conn, x, RPC_UNKNOWN,
		          call_of(x)->kind == RPC_UNARY
		                  ? "unexpected \"data\" message received: protocol error"
		                  : "received data from non-streaming server: protocol error");
		return;
	}
	if ((h->flags & TTRPC_NO_DATA) == 0)
		ttrpc_session_deliver(conn, x, msg != NULL ? msg : rpc_msg_new(0, 0));
	else
		rpc_msg_unref(msg);
	if ((h->flags & TTRPC_REMOTE_CLOSED) != 0 && x->conn == conn)
		call_done(conn, x, RPC_OK, "");
}

static void on_frame(RpcConn *conn, const TtrpcHeader *h, RpcMsg *msg, bool oversized)
{
	RpcXfer *x = ttrpc_session_find(conn->session, h->stream);
	if (x == NULL) {
		/* The answer to a call that was canceled here: the protocol cannot tell the server. */
		log_debug("ttrpc: received message on inactive stream", NULL);
		rpc_msg_unref(msg);
		return;
	}
	rpc_xfer_ref(x);
	if (oversized) {
		g_autofree char *text = g_strdup_printf("message length %u exceed maximum message size of %u",
		                                        h->len, TTRPC_MESSAGE_MAX);
		call_done(conn, x, RPC_RESOURCE_EXHAUSTED, text);
		rpc_msg_unref(msg);
	} else if (h->type == TTRPC_RESPONSE) {
		on_response(conn, x, msg);
	} else if (h->type == TTRPC_DATA) {
		on_data(conn, x, h, msg);
	} else {
		rpc_msg_unref(msg);
		call_done(conn, x, RPC_UNKNOWN,
		          h->type == TTRPC_REQUEST
		                  ? "unexpected \"request\" message received: protocol error"
		                  : "unexpected \"unknown\" message received: protocol error");
	}
	rpc_xfer_unref(x);
}

static bool input(RpcConn *conn, const uint8_t *data, size_t len)
{
	ttrpc_session_input(conn, data, len, on_frame);
	return true;
}

static void abandon(RpcConn *conn, RpcXfer *x)
{
	ttrpc_session_remove(conn->session, x);
}

const RpcCodec rpc_ttrpc_client_codec = {
        .proto = RPC_PROTO_TTRPC,
        .open = open_session,
        .input = input,
        .rx_buffer = ttrpc_session_rx_buffer,
        .fill = fill,
        .start = start,
        .ready = ready,
        .credit = ttrpc_session_credit,
        .abandon = abandon,
        .close = ttrpc_session_close,
};
