// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Servers for gRPC (HTTP/2) and ttrpc over stream sockets, one dispatcher for both.
 *
 * The dispatcher makes the RpcCall, checks limits, unpacks the request, runs the handler on a worker or on
 * the loop, turns its GError into a status, logs once (debug for success; warnings for INTERNAL and UNKNOWN),
 * and frees everything. All functions are for the loop's thread or before the loop runs, except where said.
 */

#include "loop/loop.h"
#include "loop/pool.h"
#include "rpc/call.h"
#include "rpc/status.h"

typedef enum {
	RPC_UNARY,
	RPC_SERVER_STREAM,
	RPC_CLIENT_STREAM,
	RPC_BIDI_STREAM,
} RpcKind;

typedef enum {
	RPC_ON_WORKER,
	RPC_ON_LOOP,
} RpcWhere;

/* Unary: request and response are messages of the method's types (response already initialised).
 * SERVER_STREAM: request is set, response NULL. CLIENT_STREAM: request NULL, response is filled after
 * rpc_call_recv's end. BIDI: both NULL. A stream handler that returns true ends the stream with OK, unless it
 * deferred. */
typedef bool (*RpcHandler)(RpcCall *call, const void *request, void *response, GError **error);

typedef struct {
	const char *name; // as in the service descriptor; a method without an entry answers UNIMPLEMENTED
	RpcKind kind;
	RpcWhere where;
	RpcHandler handler;
} RpcMethod;

typedef struct {
	const ProtobufCServiceDescriptor *descriptor;
	const RpcMethod *methods; // static
	size_t n_methods;
	void *impl; // rpc_call_impl()
	void (*impl_free)(void *impl);
} RpcService;

typedef struct RpcServer RpcServer;

typedef struct {
	size_t max_recv_message;  // bytes; 0: 16 MiB (gRPC), ttrpc is always 4 MiB
	size_t max_send_message;  // bytes; 0: 16 MiB
	unsigned max_connections; // 0: 4096
	unsigned max_streams; // concurrent calls per connection; 0: 16384 (a client may have a Wait open for
	                      // each container, upstream has no limit)
	int64_t shutdown_ns;  // how long a graceful stop waits for calls; 0: 5 s
} RpcServerLimits;

/* What wants to know of every call, for metrics. Quick, thread-safe, never NULL. */
typedef struct {
	/* A service is added; what this returns is `slot` of the others, and lives as long as the server. */
	void *(*service)(void *data, const RpcService *service);
	/* method: the index in the service's descriptor. */
	void (*started)(void *slot, unsigned method);
	void (*message)(void *slot, unsigned method, bool sent);
	void (*handled)(void *slot, unsigned method, RpcStatusCode code, int64_t took_ns);
} RpcObserver;

/* pool NULL: all handlers run on the loop (the shim). limits NULL: defaults. */
RpcServer *rpc_server_new(Loop *loop, Pool *pool, const RpcServerLimits *limits);
/* Before the first rpc_server_add. observer is static. */
void rpc_server_observe(RpcServer *server, const RpcObserver *observer, void *data);
/* The service is copied; names must be unique. Before the first listen, or later from the loop's thread. */
void rpc_server_add(RpcServer *server, const RpcService *service);

typedef enum {
	RPC_PROTO_GRPC,
	RPC_PROTO_TTRPC,
} RpcProto;

/* Takes a listening socket (closed with the server). Any thread. peer_same_uid: refuse peers whose
 * SO_PEERCRED uid is neither 0 nor ours (shim sockets). */
bool rpc_server_listen(RpcServer *server, RpcProto proto, int listen_fd, bool peer_same_uid, GError **error);
/* The same for gRPC over TLS (rpc/tls.h). The context is borrowed by the connections that come in; it must
 * live until the server is freed. */
typedef struct RpcTls RpcTls;
bool rpc_server_listen_tls(RpcServer *server, int listen_fd, RpcTls *tls, GError **error);
/* Takes a connected socket. Any thread. */
bool rpc_server_accept(RpcServer *server, RpcProto proto, int fd, GError **error);

/* Stop accepting, GOAWAY, wait for running calls up to shutdown_ns, cancel the rest; done(data) on the loop's
 * thread. */
void rpc_server_stop(RpcServer *server, LoopFn done, void *data);
/* After stop's done. */
void rpc_server_free(RpcServer *server);

unsigned rpc_server_n_calls(RpcServer *server);             // running now; any thread
unsigned rpc_server_n_connections(const RpcServer *server); // loop's thread
/* One row for each running call, for the in-flight table: method, namespace, age. Any thread. */
typedef void (*RpcCallVisitor)(const char *method, const char *ns, int64_t age_ns, void *data);
void rpc_server_visit(RpcServer *server, RpcCallVisitor visit, void *data);

/* A unix stream socket: makes the directory (0711) where missing, removes a stale socket file (one nobody
 * listens on), binds, sets owner and mode. Text of a live one: `listen unix PATH: bind: address already in
 * use`. Returns the fd or -1. */
int rpc_listen_unix(const char *path, mode_t mode, uid_t uid, gid_t gid, GError **error);
/* Removes the socket file of a process that died, or is just dying. What somebody listens on stays (after
 * half a second), as does what is no socket. */
void rpc_remove_dead_socket(const char *path);
/* A TCP socket for "host:port" (":1338": all addresses, IPv6 and IPv4), as Go's net.Listen. Resolving a name
 * may block. Texts `listen tcp ADDRESS: bind: address already in use`, `listen tcp: address x: missing port
 * in address`. Returns the fd or -1. */
int rpc_listen_tcp(const char *address, GError **error);
