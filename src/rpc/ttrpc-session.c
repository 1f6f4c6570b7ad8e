// SPDX-License-Identifier: Apache-2.0
#include "rpc/ttrpc-session.h"

#include "base/time.h"
#include <string.h>

#define STALL_TIMEOUT (1 * NS_PER_SEC)

static void resume(TtrpcSession *s)
{
	s->stalled = NULL;
	loop_timer_free(s->stall_timer);
	s->stall_timer = NULL;
	rpc_conn_pause_read(s->conn, false);
}

static void stall_timeout(void *data)
{
	TtrpcSession *s = data;
	RpcConn *conn = s->conn;
	RpcXfer *x = s->stalled;
	rpc_conn_hold(conn);
	resume(s);
	s->overrun(conn, x);
	rpc_conn_release(conn);
}

TtrpcSession *ttrpc_session_new(RpcConn *conn, void (*overrun)(RpcConn *conn, RpcXfer *x))
{
	TtrpcSession *s = g_new0(TtrpcSession, 1);
	s->conn = conn;
	s->overrun = overrun;
	return s;
}

void ttrpc_session_close(RpcConn *conn)
{
	TtrpcSession *s = conn->session;
	if (s == NULL)
		return;
	loop_timer_free(s->stall_timer);
	ttrpc_reader_clear(&s->reader);
	if (s->streams != NULL)
		g_hash_table_unref(s->streams);
	g_free(s);
}

/* ---- streams ---- */

void ttrpc_session_add(TtrpcSession *s, RpcXfer *x)
{
	if (s->streams == NULL)
		s->streams = g_hash_table_new(NULL, NULL);
	g_hash_table_insert(s->streams, GUINT_TO_POINTER(x->id), x);
}

RpcXfer *ttrpc_session_find(TtrpcSession *s, uint32_t id)
{
	return s->streams != NULL ? g_hash_table_lookup(s->streams, GUINT_TO_POINTER(id)) : NULL;
}

static void unqueue(TtrpcSession *s, RpcXfer *x)
{
	RpcXfer *prev = NULL;
	if (!x->ready_queued)
		return;
	for (RpcXfer *at = s->ready_head; at != x; at = at->ready_next)
		prev = at;
	if (prev != NULL)
		prev->ready_next = x->ready_next;
	else
		s->ready_head = x->ready_next;
	if (s->ready_tail == x)
		s->ready_tail = prev;
	x->ready_next = NULL;
	x->ready_queued = false;
}

void ttrpc_session_remove(TtrpcSession *s, RpcXfer *x)
{
	unqueue(s, x);
	if (s->stalled == x)
		resume(s);
	if (s->streams == NULL || ttrpc_session_find(s, x->id) != x)
		return;
	g_hash_table_remove(s->streams, GUINT_TO_POINTER(x->id));
	if (g_hash_table_size(s->streams) == 0)
		g_clear_pointer(&s->streams, g_hash_table_unref);
}

/* ---- output ---- */

void ttrpc_session_write(RpcConn *conn, uint32_t id, uint8_t type, uint8_t flags, RpcMsg *msg)
{
	TtrpcHeader h = {
	        .len = msg != NULL ? (uint32_t)msg->len : 0, .stream = id, .type = type, .flags = flags};
	uint8_t bytes[TTRPC_HEADER];
	ttrpc_header_write(bytes, &h);
	if (msg == NULL) {
		rpc_conn_write(conn, bytes, sizeof(bytes));
		return;
	}
	memcpy(rpc_msg_prepend(msg, TTRPC_HEADER), bytes, TTRPC_HEADER);
	rpc_conn_write_msg(conn, msg, 0, msg->len);
	rpc_msg_unref(msg);
}

static void queue(TtrpcSession *s, RpcXfer *x)
{
	if (x->ready_queued)
		return;
	x->ready_queued = true;
	x->ready_next = NULL;
	if (s->ready_tail != NULL)
		s->ready_tail->ready_next = x;
	else
		s->ready_head = x;
	s->ready_tail = x;
}

void ttrpc_session_ready(RpcConn *conn, RpcXfer *x)
{
	if (rpc_xfer_has_send(x))
		queue(conn->session, x);
}

void ttrpc_session_fill(RpcConn *conn, bool (*send_one)(RpcConn *conn, RpcXfer *x))
{
	TtrpcSession *s = conn->session;
	while (s->ready_head != NULL && conn->out.bytes < RPC_OUT_MARK) {
		RpcXfer *x = rpc_xfer_ref(s->ready_head);
		unqueue(s, x);
		if (send_one(conn, x) && x->conn == conn)
			queue(s, x);
		rpc_xfer_unref(x);
	}
}

/* ---- input ---- */

uint8_t *ttrpc_session_rx_buffer(RpcConn *conn, size_t *ret_len)
{
	TtrpcSession *s = conn->session;
	return ttrpc_reader_buffer(&s->reader, ret_len);
}

void ttrpc_session_input(RpcConn *conn, const uint8_t *data, size_t len, TtrpcFrameFn frame)
{
	TtrpcSession *s = conn->session;
	TtrpcReadResult r;
	while ((r = ttrpc_reader_feed(&s->reader, &data, &len)) != TTRPC_MORE) {
		RpcMsg *msg = g_steal_pointer(&s->reader.body);
		if (conn->closing || conn->finishing)
			rpc_msg_unref(msg);
		else
			frame(conn, &s->reader.h, msg, r == TTRPC_OVERSIZED);
		if (len == 0)
			return;
	}
}

void ttrpc_session_deliver(RpcConn *conn, RpcXfer *x, RpcMsg *msg)
{
	TtrpcSession *s = conn->session;
	rpc_xfer_ref(x);
	x->ops->message(x, msg);
	if (x->conn == conn && s->stalled == NULL && rpc_xfer_recv_bytes(x) > TTRPC_STREAM_BUFFER &&
	    rpc_xfer_stall(x)) {
		s->stalled = x;
		s->stall_timer = loop_timer_new(conn->loop, stall_timeout, s);
		loop_timer_start(s->stall_timer, STALL_TIMEOUT, 0);
		rpc_conn_pause_read(conn, true);
	}
	rpc_xfer_unref(x);
}

void ttrpc_session_credit(RpcConn *conn, RpcXfer *x, size_t credit, size_t reserved, bool drained)
{
	TtrpcSession *s = conn->session;
	if (drained && s->stalled == x)
		resume(s);
}
