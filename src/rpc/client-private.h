// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A client and its calls, for client*.c and the protocols. */

#include "rpc/client.h"
#include "rpc/conn.h"
#include "rpc/dial.h"
#include "rpc/xfer.h"

struct RpcClient {
	Loop *loop;
	RpcProto proto;
	char *address; // NULL: made over a socket
	int refs;      // atomic: the users'
	int holders;   // atomic: the users together, each call, connection and mailbox entry
	/* Loop's thread. */
	int fd; // not used yet
	RpcConn *conn;
	RpcConn *conns; // also those that the server wants to be rid of
	RpcDial *dial;
	RpcClientCall *waiting; // for the dial
	bool closed;
	bool used_up; // it had its one connection
	LoopFn on_close;
	void *on_close_data;
	/* On their way to the loop. */
	LoopFn pending_on_close;
	void *pending_data;
};

struct RpcClientCall {
	RpcXfer x; // first
	RpcClient *client;
	const ProtobufCServiceDescriptor *service;
	const ProtobufCMethodDescriptor *method;
	RpcKind kind;
	char *ns, *lease;
	GHashTable *metadata;
	int64_t deadline; // time_mono(); 0: none
	Cancel *cancel;
	unsigned cancel_id;
	RpcReplyFn done; // async calls
	void *data;
	/* Loop's thread. */
	RpcMsg *request; // of a unary call, for one more try on a new connection
	LoopTimer *timer;
	RpcClientCall *next_waiting;
	bool started;
	bool canceled;
	bool ended;
	bool got_message;
	bool refused; // the server has not looked at it
	bool retried;
};

/* NULL and an error where there is no such method or the request is too large. */
RpcClientCall *rpc_client_call_new(RpcClient *client, const ProtobufCServiceDescriptor *service,
                                   const char *method, RpcKind kind, const RpcCallOptions *options,
                                   const ProtobufCMessage *request, GError **error);
/* Posts the start. */
void rpc_client_call_start(RpcClientCall *call);
/* Any thread: ends it with this status unless it has ended. */
void rpc_client_call_cancel(RpcClientCall *call);
/* For protocols: the peer sent what it must not. Ends the call. */
void rpc_client_call_violation(RpcClientCall *call, RpcStatusCode code, const char *text);
bool rpc_client_check_size(RpcClient *client, size_t len, GError **error);
/* The status of a call that is gone; text is for the caller. */
bool rpc_client_call_status(RpcClientCall *call, GError **error);

static inline bool rpc_client_call_streams_in(const RpcClientCall *call)
{
	return call->kind == RPC_SERVER_STREAM || call->kind == RPC_BIDI_STREAM;
}
static inline bool rpc_client_call_streams_out(const RpcClientCall *call)
{
	return call->kind == RPC_CLIENT_STREAM || call->kind == RPC_BIDI_STREAM;
}
