// SPDX-License-Identifier: Apache-2.0
#include "rpc/xfer.h"

#include "rpc/conn.h"

void rpc_xfer_init(RpcXfer *x, const RpcXferOps *ops, Loop *loop)
{
	x->ops = ops;
	x->loop = loop;
	x->refs = 1;
	lock_init(&x->lock, "rpc call", LOCK_RANK_RPC);
	cond_init(&x->cond);
}

RpcXfer *rpc_xfer_ref(RpcXfer *x)
{
	__atomic_add_fetch(&x->refs, 1, __ATOMIC_RELAXED);
	return x;
}

void rpc_xfer_unref(RpcXfer *x)
{
	if (__atomic_sub_fetch(&x->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	g_assert(x->conn == NULL);
	rpc_msg_list_clear(&x->sendq);
	rpc_msg_list_clear(&x->recvq);
	g_free(x->text);
	cond_destroy(&x->cond);
	lock_destroy(&x->lock);
	x->ops->free(x);
}

/* ---- kicks ---- */

static void look(RpcXfer *x)
{
	size_t credit, reserved;
	bool drained;
	{
		LOCK_SCOPE(&x->lock);
		x->kicked = false;
		credit = x->take_credit;
		reserved = x->take_reserved;
		x->take_credit = x->take_reserved = 0;
		drained = x->stalled && x->recvq.head == NULL;
		if (drained)
			x->stalled = false;
	}
	RpcConn *conn = x->conn;
	if (conn == NULL || conn->closed || conn->closing)
		return;
	rpc_conn_hold(conn);
	if (credit > 0 || reserved > 0 || drained)
		conn->codec->credit(conn, x, credit, reserved, drained);
	if (x->conn != NULL)
		conn->codec->ready(conn, x);
	rpc_conn_release(conn);
}

static void look_posted(void *data)
{
	RpcXfer *x = data;
	look(x);
	rpc_xfer_unref(x);
}

void rpc_xfer_kick(RpcXfer *x)
{
	bool here = loop_is_current(x->loop);
	{
		LOCK_SCOPE(&x->lock);
		if (x->kicked && !here)
			return;
		x->kicked = true;
	}
	if (here) {
		look(x);
		return;
	}
	rpc_xfer_ref(x);
	if (!loop_post(x->loop, look_posted, x))
		rpc_xfer_unref(x); // the loop has ended, and with it the connection
}

/* ---- sending ---- */

bool rpc_xfer_send(RpcXfer *x, RpcMsg *msg)
{
	bool ended;
	{
		LOCK_SCOPE(&x->lock);
		ended = x->send_end || x->gone;
		if (!ended)
			rpc_msg_list_push(&x->sendq, msg);
	}
	if (ended)
		rpc_msg_unref(msg);
	else
		rpc_xfer_kick(x);
	return !ended;
}

void rpc_xfer_wait_send(RpcXfer *x)
{
	LOCK_SCOPE(&x->lock);
	x->send_waiters++;
	while (x->sendq.bytes > RPC_SEND_QUEUE_MAX && !x->send_end && !x->gone)
		cond_wait(&x->cond, &x->lock);
	x->send_waiters--;
}

bool rpc_xfer_finish(RpcXfer *x, RpcMsg *last, RpcStatusCode code, const char *text, bool drop)
{
	bool first;
	{
		LOCK_SCOPE(&x->lock);
		first = !x->send_end;
		if (first) {
			if (drop)
				rpc_msg_list_clear(&x->sendq);
			if (last != NULL)
				rpc_msg_list_push(&x->sendq, last);
			x->send_end = true;
			if (!x->gone) {
				x->code = code;
				x->text = g_strdup(text);
			}
		}
		x->stop |= drop;
		cond_broadcast(&x->cond);
	}
	if (first)
		rpc_xfer_kick(x);
	else
		rpc_msg_unref(last);
	return first;
}

RpcMsg *rpc_xfer_next_send(RpcXfer *x, bool *ret_end)
{
	LOCK_SCOPE(&x->lock);
	RpcMsg *msg = rpc_msg_list_pop(&x->sendq);
	if (msg != NULL && x->send_waiters > 0 && x->sendq.bytes <= RPC_SEND_QUEUE_MAX)
		cond_broadcast(&x->cond);
	*ret_end = x->send_end && x->sendq.head == NULL;
	return msg;
}

bool rpc_xfer_has_send(RpcXfer *x)
{
	LOCK_SCOPE(&x->lock);
	return x->sendq.head != NULL || x->send_end;
}

/* ---- receiving ---- */

void rpc_xfer_receive(RpcXfer *x, RpcMsg *msg)
{
	LOCK_SCOPE(&x->lock);
	rpc_msg_list_push(&x->recvq, msg);
	if (x->recv_waiters > 0) // who waits for the answer of a unary call waits for its end
		cond_broadcast(&x->cond);
}

void rpc_xfer_receive_end(RpcXfer *x)
{
	LOCK_SCOPE(&x->lock);
	x->recv_end = true;
	cond_broadcast(&x->cond);
}

static void mark_gone(RpcXfer *x)
{
	x->gone = true;
	rpc_msg_list_clear(&x->sendq);
}

void rpc_xfer_mark_gone(RpcXfer *x)
{
	{
		LOCK_SCOPE(&x->lock);
		mark_gone(x);
	}
	cond_broadcast(&x->cond); // who is woken finds the lock free
}

void rpc_xfer_mark_gone_with(RpcXfer *x, RpcStatusCode code, const char *text)
{
	{
		LOCK_SCOPE(&x->lock);
		x->code = code;
		g_free(x->text);
		x->text = g_strdup(text);
		mark_gone(x);
	}
	cond_broadcast(&x->cond);
}

size_t rpc_xfer_recv_bytes(RpcXfer *x)
{
	LOCK_SCOPE(&x->lock);
	return x->recvq.bytes;
}

bool rpc_xfer_stall(RpcXfer *x)
{
	LOCK_SCOPE(&x->lock);
	x->stalled = x->recvq.head != NULL;
	return x->stalled;
}

RpcMsg *rpc_xfer_take(RpcXfer *x, bool wait)
{
	RpcMsg *msg;
	bool tell = false;
	{
		LOCK_SCOPE(&x->lock);
		while ((msg = rpc_msg_list_pop(&x->recvq)) == NULL && wait && !x->recv_end && !x->stop &&
		       !x->gone) {
			x->recv_waiters++;
			cond_wait(&x->cond, &x->lock);
			x->recv_waiters--;
		}
		if (msg != NULL && !x->gone) {
			x->take_credit += msg->credit;
			x->take_reserved += msg->reserved;
			tell = x->take_credit >= RPC_CREDIT_BATCH || x->take_reserved > 0 ||
			       (x->stalled && x->recvq.head == NULL);
		}
	}
	if (tell)
		rpc_xfer_kick(x);
	return msg;
}
