// SPDX-License-Identifier: Apache-2.0
#include "rpc/client.h"

#include "base/error.h"
#include "base/util.h"
#include "rpc/client-conn.h"
#include <fcntl.h>

/* ---- life ---- */

static RpcClient *client_new(Loop *loop, RpcProto proto, const char *address, int fd)
{
	RpcClient *c = g_new0(RpcClient, 1);
	c->loop = loop;
	c->proto = proto;
	c->address = g_strdup(address);
	c->fd = fd;
	c->refs = c->holders = 1;
	return c;
}

RpcClient *rpc_client_new(Loop *loop, RpcProto proto, const char *address)
{
	return client_new(loop, proto, address, -1);
}

RpcClient *rpc_client_hold(RpcClient *client)
{
	__atomic_add_fetch(&client->holders, 1, __ATOMIC_RELAXED);
	return client;
}

void rpc_client_drop(RpcClient *client)
{
	if (__atomic_sub_fetch(&client->holders, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	fd_close(&client->fd);
	g_free(client->address);
	g_free(client);
}

RpcClient *rpc_client_ref(RpcClient *client)
{
	__atomic_add_fetch(&client->refs, 1, __ATOMIC_RELAXED);
	return client;
}

static const char *closed_text(RpcClient *c)
{
	return c->proto == RPC_PROTO_TTRPC ? "ttrpc: closed" : "grpc: the client connection is closing";
}

static void fail_waiting(RpcClient *c, RpcStatusCode code, const char *text)
{
	RpcClientCall *call;
	while ((call = c->waiting) != NULL) {
		c->waiting = call->next_waiting;
		call->next_waiting = NULL;
		rpc_client_call_ended(call, code, text);
		rpc_xfer_unref(&call->x);
	}
}

static void notify_closed(RpcClient *c)
{
	LoopFn fn = c->on_close;
	c->on_close = NULL;
	if (fn != NULL)
		fn(c->on_close_data);
}

/* Ends everything. The caller holds the client. */
static void shut_down(RpcClient *c, RpcStatusCode code)
{
	if (c->closed)
		return;
	c->closed = true;
	rpc_dial_free(c->dial);
	c->dial = NULL;
	fd_close(&c->fd);
	fail_waiting(c, code, closed_text(c));
	while (c->conns != NULL)
		rpc_conn_close(c->conns, code, closed_text(c));
}

static void unref_posted(void *data)
{
	RpcClient *c = data;
	c->on_close = NULL; // its owner may be gone
	shut_down(c, RPC_CANCELLED);
	rpc_client_drop(c);
}

void rpc_client_unref(RpcClient *client)
{
	if (client == NULL || __atomic_sub_fetch(&client->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (!loop_run_on(client->loop, unref_posted, client))
		unref_posted(client); // the loop has ended, so nobody else touches the client
}

static void close_posted(void *data)
{
	RpcClient *c = data;
	shut_down(c, RPC_UNAVAILABLE);
	notify_closed(c);
	rpc_client_drop(c);
}

void rpc_client_close(RpcClient *client)
{
	rpc_client_hold(client);
	if (!loop_run_on(client->loop, close_posted, client))
		rpc_client_drop(client);
}

/* ---- the connection ---- */

static void conn_closed(RpcConn *conn)
{
	RpcClient *c = conn->owner;
	if (conn->prev != NULL)
		conn->prev->next = conn->next;
	else
		c->conns = conn->next;
	if (conn->next != NULL)
		conn->next->prev = conn->prev;
	conn->next = conn->prev = NULL;
	if (c->conn == conn)
		c->conn = NULL;
	c->used_up = c->proto == RPC_PROTO_TTRPC || c->address == NULL;
	if (!c->closed) {
		g_autofree char *why = g_steal_pointer(&conn->close_text);
		conn->close_text = c->proto == RPC_PROTO_TTRPC
		                           ? g_strdup("ttrpc: closed")
		                           : g_strdup_printf("error reading from server: %s", why);
	}
}

static void conn_gone(void *data)
{
	RpcClient *c = data;
	notify_closed(c);
	rpc_client_drop(c);
}

/* The calls are told first, the owner of the client afterwards. */
static void conn_closed_notify(RpcConn *conn)
{
	RpcClient *c = conn->owner;
	conn_closed(conn);
	if (!loop_post(c->loop, conn_gone, c))
		rpc_client_drop(c); // the connection's hold, which is the mailbox entry's otherwise
}

static void conn_goaway(RpcConn *conn)
{
	RpcClient *c = conn->owner;
	if (c->conn == conn)
		c->conn = NULL; // the next call makes a new one
}

static const RpcConnOwnerOps owner_ops = {.closed = conn_closed_notify, .goaway = conn_goaway};

bool rpc_client_use_fd(RpcClient *c, int fd, GError **error)
{
	const RpcCodec *codec = c->proto == RPC_PROTO_TTRPC ? &rpc_ttrpc_client_codec : &rpc_h2_client_codec;
	g_assert(codec != NULL);
	RpcConn *conn = rpc_conn_new(c->loop, fd, codec, &owner_ops, rpc_client_hold(c));
	conn->next = c->conns;
	if (conn->next != NULL)
		conn->next->prev = conn;
	c->conns = conn;
	c->conn = conn;
	rpc_conn_hold(conn);
	bool ok = rpc_conn_start(conn, error);
	if (!ok)
		rpc_conn_close(conn, RPC_UNAVAILABLE,
		               error != NULL && *error != NULL ? (*error)->message : "");
	rpc_conn_release(conn);
	return ok;
}

static void put_on_conn(RpcClientCall *call)
{
	RpcConn *conn = call->client->conn;
	rpc_conn_hold(conn);
	conn->codec->start(conn, &call->x);
	rpc_conn_release(conn);
}

static void dialed(void *data, int fd, const GError *error)
{
	RpcClient *c = rpc_client_hold(data);
	g_autoptr(GError) start_error = NULL;
	rpc_dial_free(c->dial);
	c->dial = NULL;
	if (fd < 0 || !rpc_client_use_fd(c, fd, &start_error)) {
		const char *text = error != NULL ? error->message : start_error->message;
		fail_waiting(c, RPC_UNAVAILABLE, text);
	}
	RpcClientCall *call;
	while (c->conn != NULL && (call = c->waiting) != NULL) {
		c->waiting = call->next_waiting;
		call->next_waiting = NULL;
		put_on_conn(call);
		rpc_xfer_unref(&call->x);
	}
	/* The connection broke under the first of them. */
	if (c->dial == NULL && c->conn == NULL)
		fail_waiting(c, RPC_UNAVAILABLE, "error reading from server: EOF");
	rpc_client_drop(c);
}

static void wait_for_dial(RpcClient *c, RpcClientCall *call)
{
	RpcClientCall **at = &c->waiting;
	while (*at != NULL)
		at = &(*at)->next_waiting;
	rpc_xfer_ref(&call->x);
	*at = call;
	if (c->dial == NULL) {
		c->dial = rpc_dial_new(c->loop, c->address, dialed, c);
		rpc_dial_start(c->dial);
	}
}

void rpc_client_place(RpcClientCall *call)
{
	RpcClient *c = call->client;
	g_autoptr(GError) error = NULL;
	if (!c->closed && c->conn == NULL && c->fd >= 0)
		rpc_client_use_fd(c, fd_steal(&c->fd), &error);
	if (c->closed)
		rpc_client_call_ended(call, RPC_UNAVAILABLE, closed_text(c));
	else if (c->conn != NULL)
		put_on_conn(call);
	else if (c->address != NULL && !c->used_up)
		wait_for_dial(c, call);
	else
		rpc_client_call_ended(call, RPC_UNAVAILABLE, closed_text(c));
}

void rpc_client_unwait(RpcClientCall *call)
{
	for (RpcClientCall **at = &call->client->waiting; *at != NULL; at = &(*at)->next_waiting) {
		if (*at != call)
			continue;
		*at = call->next_waiting;
		call->next_waiting = NULL;
		rpc_xfer_unref(&call->x);
		return;
	}
}

bool rpc_client_retry(RpcClientCall *call)
{
	if (!call->refused || call->retried || call->request == NULL || call->client->closed)
		return false;
	call->retried = true;
	{
		LOCK_SCOPE(&call->x.lock);
		rpc_msg_list_clear(&call->x.sendq);
		rpc_msg_list_push(&call->x.sendq, g_steal_pointer(&call->request));
	}
	rpc_client_place(call);
	return true;
}

/* ---- over a socket ---- */

static void start_fd(void *data)
{
	RpcClient *c = data;
	g_autoptr(GError) error = NULL;
	if (!c->closed && c->fd >= 0)
		rpc_client_use_fd(c, fd_steal(&c->fd), &error);
	rpc_client_drop(c);
}

RpcClient *rpc_client_new_fd(Loop *loop, RpcProto proto, int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	RpcClient *c = client_new(loop, proto, NULL, fd);
	rpc_client_hold(c);
	/* At once, so that the peer's end is noticed without a call. */
	if (!loop_post(loop, start_fd, c))
		rpc_client_drop(c);
	return c;
}

static void set_on_close(void *data)
{
	RpcClient *c = data;
	c->on_close = c->pending_on_close;
	c->on_close_data = c->pending_data;
	if ((c->closed || c->used_up) && c->conn == NULL)
		notify_closed(c);
	rpc_client_drop(c);
}

void rpc_client_on_close(RpcClient *client, LoopFn fn, void *data)
{
	client->pending_on_close = fn;
	client->pending_data = data;
	rpc_client_hold(client);
	if (!loop_run_on(client->loop, set_on_close, client))
		rpc_client_drop(client);
}
