// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A server's call and its server, for the protocols, the dispatcher and the call API. */

#include "base/inflight.h"
#include "loop/lock.h"
#include "rpc/call.h"
#include "rpc/conn.h"
#include "rpc/server.h"
#include "rpc/xfer.h"

typedef struct RpcServerListener RpcServerListener;
typedef struct RpcPair RpcPair;
struct RpcPair {
	RpcPair *next;
	const char *value; // behind the key
	char key[];
};

/* A registered service; handlers by the index of the method in the descriptor. */
typedef struct {
	RpcService service;
	const RpcObserver *observer; // NULL: nobody
	void *slot;
	const RpcMethod *handlers[];
} RpcEntry;

struct RpcCall {
	RpcXfer x; // first
	RpcServer *server;
	RpcConn *conn; // a reference: for its counter of running calls
	const RpcEntry *entry;
	const RpcMethod *method;
	const ProtobufCMethodDescriptor *desc;
	char *path;
	RpcPair *metadata;
	const char *ns, *lease;
	Cancel *cancel;
	Inflight inflight; // while the handler is at work
	Arena *arena;
	LoopTimer *timer; // loop's thread: the deadline's
	int64_t timeout_ns;
	int64_t started;
	size_t max_send;
	pid_t pid;
	uid_t uid;
	/* Handler's thread, then whoever answers. */
	ProtobufCMessage *request, *response;
	bool deferred;
	/* Under x.lock. */
	bool running; // a handler has been started and has not answered
	RpcOnMessage on_message;
	void *on_data;
	bool paused;
	/* Loop's thread. */
	bool delivering;
	bool end_delivered;
	/* Under server->lock. */
	RpcCall *next, *prev;
};

struct RpcServer {
	Loop *loop;
	Pool *pool;
	RpcServerLimits limits;
	const RpcObserver *observer;
	void *observer_data;
	int refs;             // atomic: the owner's, each call's
	GHashTable *services; // name -> RpcEntry
	Lock lock;
	RpcCall *calls; // running handlers
	unsigned n_calls;
	bool waiting; // the stop waits for the last call
	/* Loop's thread. */
	RpcConn *conns;
	unsigned n_conns;
	struct RpcServerListener *listeners;
	bool stopping;
	bool canceled;
	LoopTimer *stop_timer;
	LoopFn stop_done;
	void *stop_data;
	int64_t last_warning;
};

/* ---- for protocols ---- */

typedef enum {
	RPC_LOOKUP_OK,
	RPC_LOOKUP_NO_SERVICE,
	RPC_LOOKUP_NO_METHOD,
	RPC_LOOKUP_NO_HANDLER, // in the descriptor, but nobody implements it
} RpcLookup;
/* A new call of this method in *ret. The names need not be terminated. */
RpcLookup rpc_dispatch_lookup(RpcConn *conn, const char *service, size_t service_len, const char *method,
                              size_t method_len, RpcCall **ret);
RpcPair *rpc_pair_new(const void *key, size_t key_len, const void *value, size_t value_len);
void rpc_pairs_free(RpcPair *pairs);
/* The call's metadata, which it takes; the protocol tells the keys of namespace and lease. */
void rpc_call_take_metadata(RpcCall *call, RpcPair *pairs);
/* After rpc_conn_attach: starts the deadline and, for client and bidirectional streams, the handler. */
void rpc_dispatch_begin(RpcCall *call);
/* Ends a call of which the protocol has found something wrong. */
void rpc_dispatch_refuse(RpcCall *call, RpcStatusCode code, const char *text);

/* One more message of this call was taken or given. */
static inline void rpc_call_count_message(const RpcCall *call, bool sent)
{
	if (call->entry->observer != NULL)
		call->entry->observer->message(
		        call->entry->slot, (unsigned)(call->desc - call->entry->service.descriptor->methods),
		        sent);
}

/* ---- between dispatch.c, call.c and server.c ---- */

void rpc_call_handled(RpcCall *call, RpcMsg *last, const GError *error); // the answer, once
void rpc_call_deliver(RpcCall *call);                                    // loop's thread
void rpc_call_wake(RpcCall *call);                                       // any thread: rpc_call_deliver soon
RpcServer *rpc_server_ref(RpcServer *server);
void rpc_server_unref(RpcServer *server);
void rpc_server_call_added(RpcServer *server, RpcCall *call);
void rpc_server_call_removed(RpcServer *server, RpcCall *call);
/* Makes a connection without starting it; for tests without a socket, fd is -1. */
RpcConn *rpc_server_add_conn(RpcServer *server, RpcProto proto, int fd);
bool rpc_call_check_size(RpcCall *call, size_t len, GError **error);
