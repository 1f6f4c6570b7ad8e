// SPDX-License-Identifier: Apache-2.0
#include "rpc/server.h"

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "rpc/call-private.h"
#include "rpc/listen.h"
#include "rpc/tls.h"
#include <fcntl.h>
#include <sys/socket.h>

#define DEFAULT_MESSAGE ((size_t)16 * 1024 * 1024)

/* ---- life ---- */

static void entry_free(void *data)
{
	RpcEntry *entry = data;
	if (entry->service.impl_free != NULL)
		entry->service.impl_free(entry->service.impl);
	g_free(entry);
}

RpcServer *rpc_server_new(Loop *loop, Pool *pool, const RpcServerLimits *limits)
{
	RpcServer *s = g_new0(RpcServer, 1);
	s->refs = 1;
	s->loop = loop;
	s->pool = pool;
	if (limits != NULL)
		s->limits = *limits;
	RpcServerLimits *l = &s->limits;
	l->max_recv_message = l->max_recv_message != 0 ? l->max_recv_message : DEFAULT_MESSAGE;
	l->max_send_message = l->max_send_message != 0 ? l->max_send_message : DEFAULT_MESSAGE;
	l->max_connections = l->max_connections != 0 ? l->max_connections : 4096;
	l->max_streams = l->max_streams != 0 ? l->max_streams : 16384;
	l->shutdown_ns = l->shutdown_ns != 0 ? l->shutdown_ns : 5 * NS_PER_SEC;
	s->services = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, entry_free);
	lock_init(&s->lock, "rpc server", LOCK_RANK_RPC);
	return s;
}

RpcServer *rpc_server_ref(RpcServer *server)
{
	__atomic_add_fetch(&server->refs, 1, __ATOMIC_RELAXED);
	return server;
}

void rpc_server_unref(RpcServer *server)
{
	if (__atomic_sub_fetch(&server->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	g_hash_table_unref(server->services);
	lock_destroy(&server->lock);
	g_free(server);
}

void rpc_server_free(RpcServer *server)
{
	if (server == NULL)
		return;
	g_assert(server->conns == NULL && server->listeners == NULL);
	rpc_server_unref(server);
}

static const RpcMethod *find_handler(const RpcService *service, const char *name)
{
	for (size_t i = 0; i < service->n_methods; i++)
		if (g_str_equal(service->methods[i].name, name))
			return &service->methods[i];
	return NULL;
}

void rpc_server_observe(RpcServer *server, const RpcObserver *observer, void *data)
{
	g_assert(g_hash_table_size(server->services) == 0);
	server->observer = observer;
	server->observer_data = data;
}

void rpc_server_add(RpcServer *server, const RpcService *service)
{
	unsigned n = service->descriptor->n_methods, found = 0;
	RpcEntry *entry = g_malloc0(sizeof(*entry) + n * sizeof(entry->handlers[0]));
	entry->service = *service;
	for (unsigned i = 0; i < n; i++) {
		entry->handlers[i] = find_handler(service, service->descriptor->methods[i].name);
		found += entry->handlers[i] != NULL;
	}
	g_assert(found == service->n_methods); // a handler with a name that the service does not have
	g_assert(!g_hash_table_contains(server->services, service->descriptor->name));
	entry->observer = server->observer;
	if (entry->observer != NULL)
		entry->slot = entry->observer->service(server->observer_data, service);
	g_hash_table_insert(server->services, (void *)service->descriptor->name, entry);
}

/* ---- calls ---- */

void rpc_server_call_added(RpcServer *server, RpcCall *call)
{
	LOCK_SCOPE(&server->lock);
	call->next = server->calls;
	if (call->next != NULL)
		call->next->prev = call;
	server->calls = call;
	server->n_calls++;
}

static void stop_check(RpcServer *s);

static void stop_check_posted(void *data)
{
	RpcServer *s = data;
	stop_check(s);
	rpc_server_unref(s);
}

void rpc_server_call_removed(RpcServer *server, RpcCall *call)
{
	bool last;
	{
		LOCK_SCOPE(&server->lock);
		if (call->prev != NULL)
			call->prev->next = call->next;
		else
			server->calls = call->next;
		if (call->next != NULL)
			call->next->prev = call->prev;
		call->next = call->prev = NULL;
		last = --server->n_calls == 0 && server->waiting;
	}
	if (last) {
		rpc_server_ref(server);
		if (!loop_post(server->loop, stop_check_posted, server))
			rpc_server_unref(server);
	}
}

unsigned rpc_server_n_calls(RpcServer *server)
{
	LOCK_SCOPE(&server->lock);
	return server->n_calls;
}

unsigned rpc_server_n_connections(const RpcServer *server)
{
	return server->n_conns;
}

void rpc_server_visit(RpcServer *server, RpcCallVisitor visit, void *data)
{
	LOCK_SCOPE(&server->lock);
	int64_t now = time_mono();
	for (RpcCall *call = server->calls; call != NULL; call = call->next)
		visit(call->path, call->ns, now - call->started, data);
}

/* ---- connections ---- */

static void conn_closed(RpcConn *conn)
{
	RpcServer *s = conn->owner;
	if (conn->prev != NULL)
		conn->prev->next = conn->next;
	else
		s->conns = conn->next;
	if (conn->next != NULL)
		conn->next->prev = conn->prev;
	conn->next = conn->prev = NULL;
	s->n_conns--;
	stop_check(s);
}

static const RpcConnOwnerOps owner_ops = {.closed = conn_closed};

static const RpcCodec *codec_of(RpcProto proto)
{
	return proto == RPC_PROTO_TTRPC ? &rpc_ttrpc_server_codec : &rpc_h2_server_codec;
}

RpcConn *rpc_server_add_conn(RpcServer *server, RpcProto proto, int fd)
{
	RpcConn *conn = rpc_conn_new(server->loop, fd, codec_of(proto), &owner_ops, server);
	conn->next = server->conns;
	if (conn->next != NULL)
		conn->next->prev = conn;
	server->conns = conn;
	server->n_conns++;
	return conn;
}

static void warn_rarely(RpcServer *s, const char *msg, const char *key, const char *value)
{
	int64_t now = time_mono();
	if (s->last_warning != 0 && now - s->last_warning < NS_PER_SEC)
		return;
	s->last_warning = now;
	log_warn(msg, key, value, NULL);
}

/* Takes fd. */
static void serve(RpcServer *s, RpcProto proto, int fd, bool same_uid, RpcTls *tls)
{
	autofd own = fd;
	struct ucred cred = {.pid = 0, .uid = (uid_t)-1};
	socklen_t len = sizeof(cred);
	bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0;
	if (s->stopping)
		return;
	if (same_uid && (!known || (cred.uid != 0 && cred.uid != geteuid()))) {
		warn_rarely(s, "refused a connection of another user", "error", "operation not permitted");
		return;
	}
	if (s->n_conns >= s->limits.max_connections) {
		g_autofree char *max = g_strdup_printf("%u", s->limits.max_connections);
		warn_rarely(s, "refused a connection: too many", "max", max);
		return;
	}
	RpcConn *conn = rpc_server_add_conn(s, proto, fd_steal(&own));
	if (tls != NULL)
		conn->crypt = rpc_tls_accept(tls);
	conn->pid = known ? cred.pid : 0;
	conn->uid = cred.uid;
	g_autoptr(GError) error = NULL;
	if (!rpc_conn_start(conn, &error)) {
		warn_rarely(s, "cannot serve a connection", "error", error->message);
		rpc_conn_close(conn, RPC_INTERNAL, error->message);
	}
}

typedef struct {
	RpcServer *server;
	RpcProto proto;
	int fd;
	bool same_uid;
	RpcTls *tls;
} NewFd;

static bool prepare_fd(RpcProto proto, int fd, GError **error)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return error_set_errno(error, errno, "socket");
	if (codec_of(proto) == NULL)
		return error_set(error, CTRD_ERR_NOT_IMPLEMENTED, "gRPC is not built into this program");
	return true;
}

static bool post_fd(RpcServer *server, RpcProto proto, int fd, bool same_uid, RpcTls *tls, LoopFn fn,
                    GError **error)
{
	if (!prepare_fd(proto, fd, error)) {
		close(fd);
		return false;
	}
	NewFd *n = g_new(NewFd, 1);
	*n = (NewFd){
	        .server = rpc_server_ref(server), .proto = proto, .fd = fd, .same_uid = same_uid, .tls = tls};
	if (loop_run_on(server->loop, fn, n))
		return true;
	close(fd);
	rpc_server_unref(server);
	g_free(n);
	return error_set(error, CTRD_ERR_UNAVAILABLE, "the event loop has ended");
}

static void accept_posted(void *data)
{
	NewFd *n = data;
	serve(n->server, n->proto, n->fd, n->same_uid, NULL);
	rpc_server_unref(n->server);
	g_free(n);
}

bool rpc_server_accept(RpcServer *server, RpcProto proto, int fd, GError **error)
{
	return post_fd(server, proto, fd, false, NULL, accept_posted, error);
}

/* ---- listeners ---- */

struct RpcServerListener {
	RpcServerListener *next;
	RpcServer *server;
	RpcListener *listener;
	RpcProto proto;
	bool same_uid;
	RpcTls *tls;
};

static void accepted(RpcListener *l, int fd)
{
	RpcServerListener *sl = rpc_listener_owner(l);
	serve(sl->server, sl->proto, fd, sl->same_uid, sl->tls);
}

static void listen_posted(void *data)
{
	NewFd *n = data;
	RpcServer *s = n->server;
	if (s->stopping) {
		close(n->fd);
	} else {
		RpcServerListener *sl = g_new0(RpcServerListener, 1);
		*sl = (RpcServerListener){
		        .server = s, .proto = n->proto, .same_uid = n->same_uid, .tls = n->tls};
		sl->listener = rpc_listener_new(s->loop, n->fd, accepted, sl);
		sl->next = s->listeners;
		s->listeners = sl;
	}
	rpc_server_unref(s);
	g_free(n);
}

bool rpc_server_listen(RpcServer *server, RpcProto proto, int listen_fd, bool peer_same_uid, GError **error)
{
	return post_fd(server, proto, listen_fd, peer_same_uid, NULL, listen_posted, error);
}

bool rpc_server_listen_tls(RpcServer *server, int listen_fd, RpcTls *tls, GError **error)
{
	return post_fd(server, RPC_PROTO_GRPC, listen_fd, false, tls, listen_posted, error);
}

static void close_listeners(RpcServer *s)
{
	while (s->listeners != NULL) {
		RpcServerListener *sl = s->listeners;
		s->listeners = sl->next;
		rpc_listener_free(sl->listener);
		g_free(sl);
	}
}

/* ---- stopping ---- */

/* Handlers that ignore their cancellation are waited for this long. */
#define STRAGGLERS (1 * NS_PER_SEC)

static void warn_straggler(const char *method, const char *ns, int64_t age_ns, void *data)
{
	g_autofree char *age = duration_format(age_ns);
	log_warn("a call still runs after it was canceled", "method", method, "namespace",
	         ns != NULL ? ns : "", "age", age, NULL);
}

static void stop_finished(RpcServer *s)
{
	LoopFn done = s->stop_done;
	s->stop_done = NULL;
	loop_timer_free(s->stop_timer);
	s->stop_timer = NULL;
	{
		LOCK_SCOPE(&s->lock);
		s->waiting = false;
	}
	if (done != NULL)
		done(s->stop_data);
}

static void stop_check(RpcServer *s)
{
	if (s->stopping && s->stop_timer != NULL && s->conns == NULL && rpc_server_n_calls(s) == 0)
		stop_finished(s);
}

static void stop_timeout(void *data)
{
	RpcServer *s = data;
	if (s->canceled) {
		rpc_server_visit(s, warn_straggler, NULL);
		stop_finished(s);
		return;
	}
	s->canceled = true;
	loop_timer_start(s->stop_timer, STRAGGLERS, 0);
	rpc_server_ref(s);
	while (s->conns != NULL)
		rpc_conn_close(s->conns, RPC_UNAVAILABLE, "server stopped");
	rpc_server_unref(s);
}

void rpc_server_stop(RpcServer *server, LoopFn done, void *data)
{
	g_assert(!server->stopping);
	server->stopping = true;
	server->stop_done = done;
	server->stop_data = data;
	{
		LOCK_SCOPE(&server->lock);
		server->waiting = true;
	}
	close_listeners(server);
	server->stop_timer = loop_timer_new(server->loop, stop_timeout, server);
	loop_timer_start(server->stop_timer, server->limits.shutdown_ns, 0);
	rpc_server_ref(server);
	for (RpcConn *conn = server->conns, *next; conn != NULL; conn = next) {
		next = conn->next;
		rpc_conn_hold(conn);
		conn->draining = true;
		conn->codec->drain(conn);
		rpc_conn_release(conn);
	}
	stop_check(server);
	rpc_server_unref(server);
}
