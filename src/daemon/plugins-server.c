// SPDX-License-Identifier: Apache-2.0

/*
 * server.v1.*: what listens. The gRPC and the ttrpc server offer the services that other plugins added; they
 * are initialised after all of them, start when every plugin is there, and are closed first.
 */

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "daemon/builtins.h"
#include "daemon/grpc-metrics.h"
#include "loop/lock.h"
#include "rpc/server.h"
#include "rpc/tls.h"
#include <string.h>

typedef struct {
	Loop *loop;
	RpcServer *server;
	RpcProto proto;
	char *address;
	uid_t uid;
	gid_t gid;
	bool tcp;
	RpcTls *tls;           // NULL: none
	const char *id, *what; // "grpc"; for texts: "main endpoint"
	unsigned collector;
	Lock lock; // guards stopped
	Cond done;
	bool stopped;
} Listener;

static void listener_free(Listener *l)
{
	metrics_remove(l->collector);
	rpc_server_free(l->server);
	rpc_tls_free(l->tls);
	cond_destroy(&l->done);
	lock_destroy(&l->lock);
	g_free(l->address);
	g_free(l);
}

static void add_service(const RpcService *service, void *data)
{
	rpc_server_add(data, service);
}

static void see_age(const char *method, const char *ns, int64_t age_ns, void *data)
{
	int64_t *oldest = data;

	*oldest = MAX(*oldest, age_ns);
}

static void collect(MetricWriter *writer, void *data)
{
	const Listener *l = data;
	int64_t oldest = 0;

	rpc_server_visit(l->server, see_age, &oldest);
	metric_family(writer, "containerd_calls_in_flight", "Calls that are running", METRIC_GAUGE);
	metric_sample(writer, rpc_server_n_calls(l->server), "server", l->id, NULL);
	metric_family(writer, "containerd_oldest_call_seconds", "Age of the oldest call that is running",
	              METRIC_GAUGE);
	metric_sample(writer, (double)oldest / (double)NS_PER_SEC, "server", l->id, NULL);
}

/* where: which services it offers. */
static Listener *listener_new(PluginInit *init, RpcProto proto, unsigned where, const char *what,
                              const RpcServerLimits *limits)
{
	Listener *l = g_new0(Listener, 1);
	const TomlValue *view = plugin_config(init);

	l->loop = plugin_loop(init);
	l->server = rpc_server_new(plugin_loop(init), plugin_pool(init), limits);
	l->proto = proto;
	l->id = plugin_id(init);
	l->what = what;
	l->address = g_strdup(conf_string(view, "address"));
	l->tcp = where == PLUGIN_ON_TCP;
	if (!l->tcp) {
		l->uid = (uid_t)conf_int(view, "uid");
		l->gid = (gid_t)conf_int(view, "gid");
	}
	lock_init(&l->lock, "listener", LOCK_RANK_LEAF);
	cond_init(&l->done);
	GrpcMetrics *metrics = proto == RPC_PROTO_GRPC
	                               ? plugin_get_by_id(init, PLUGIN_METRICS, "grpc-prometheus", NULL)
	                               : NULL;
	if (metrics != NULL)
		rpc_server_observe(l->server, &grpc_metrics_observer, metrics);
	plugins_each_service(plugin_set(init), where, add_service, l->server);
	l->collector = metrics_add(collect, l);
	return l;
}

/* 0 and less leave the limit to grpc-go in upstream: 4 MiB received, 2 GiB sent. */
static size_t message_limit(const TomlValue *view, const char *key, size_t otherwise)
{
	int64_t n = conf_int(view, key);

	return n > 0 ? (size_t)MIN(n, INT32_MAX) : otherwise;
}

static bool check_ids(const TomlValue *view, GError **error)
{
	if (conf_int(view, "uid") < 0 || conf_int(view, "uid") > UINT32_MAX || conf_int(view, "gid") < 0 ||
	    conf_int(view, "gid") > UINT32_MAX)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "uid or gid out of range");
	return true;
}

static RpcServerLimits grpc_limits(const TomlValue *view)
{
	return (RpcServerLimits){
	        .max_recv_message = message_limit(view, "max_recv_message_size", 4u << 20),
	        .max_send_message = message_limit(view, "max_send_message_size", INT32_MAX),
	};
}

static bool grpc_init(PluginInit *init, void **ret_instance, GError **error)
{
	const TomlValue *view = plugin_config(init);
	const RpcServerLimits limits = grpc_limits(view);

	if (str_empty(conf_string(view, "address")))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "grpc address cannot be empty");
	if (!check_ids(view, error))
		return false;
	*ret_instance = listener_new(init, RPC_PROTO_GRPC, PLUGIN_ON_GRPC, "main endpoint", &limits);
	return true;
}

/* As upstream's: a certificate means TLS, an authority that clients must show one of its certificates. */
static bool load_tls(const TomlValue *view, RpcTls **ret, GError **error)
{
	const char *cert = conf_string(view, "tls_cert");

	*ret = NULL;
	if (cert[0] == '\0' && conf_string(view, "tls_common_name")[0] != '\0')
		return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED,
		                       "tls_common_name: a certificate from the store of Windows");
	if (cert[0] == '\0')
		return true;
	log_info("setting up tls on tcp GRPC services...", NULL);
	*ret = rpc_tls_new(cert, conf_string(view, "tls_key"), conf_string(view, "tls_ca"), error);
	return *ret != NULL;
}

static bool tcp_init(PluginInit *init, void **ret_instance, GError **error)
{
	const TomlValue *view = plugin_config(init);
	const RpcServerLimits limits = grpc_limits(view);
	RpcTls *tls = NULL;

	if (str_empty(conf_string(view, "address")))
		return plugin_skip(error, NULL);
	if (!load_tls(view, &tls, error))
		return false;
	Listener *l = listener_new(init, RPC_PROTO_GRPC, PLUGIN_ON_TCP, "TCP grpc endpoint", &limits);
	l->tls = tls;
	*ret_instance = l;
	return true;
}

static bool ttrpc_init(PluginInit *init, void **ret_instance, GError **error)
{
	const TomlValue *view = plugin_config(init);

	if (str_empty(conf_string(view, "address")))
		return plugin_skip(error, NULL);
	if (!check_ids(view, error))
		return false;
	*ret_instance = listener_new(init, RPC_PROTO_TTRPC, PLUGIN_ON_TTRPC, "main ttrpc endpoint", NULL);
	return true;
}

static bool listener_start(void *instance, GError **error)
{
	Listener *l = instance;
	int fd = l->tcp ? rpc_listen_tcp(l->address, error)
	                : rpc_listen_unix(l->address, 0660, l->uid, l->gid, error);

	if (fd < 0 || !(l->tls != NULL ? rpc_server_listen_tls(l->server, fd, l->tls, error)
	                               : rpc_server_listen(l->server, l->proto, fd, false, error)))
		return error_prefix(error, "failed to get listener for %s", l->what);
	log_info("serving...", "address", l->address, NULL);
	return true;
}

static void listener_stopped(void *data)
{
	Listener *l = data;

	LOCK_SCOPE(&l->lock);
	l->stopped = true;
	cond_signal(&l->done);
}

static void listener_stop(void *data)
{
	Listener *l = data;

	rpc_server_stop(l->server, listener_stopped, l);
}

static void listener_close(void *instance)
{
	Listener *l = instance;

	if (!loop_run_on(l->loop, listener_stop, l))
		return; // the loop is gone, and with it everything that could be closed
	lock_acquire(&l->lock);
	while (!l->stopped)
		cond_wait(&l->done, &l->lock);
	lock_release(&l->lock);
	listener_free(l);
}

const PluginRegistration plugin_server_grpc = {
        .type = PLUGIN_SERVER,
        .id = "grpc",
        .requires = (const char *const[]){PLUGIN_GRPC, PLUGIN_METRICS, NULL},
        .init = grpc_init,
        .start = listener_start,
        .close = listener_close,
};

const PluginRegistration plugin_server_ttrpc = {
        .type = PLUGIN_SERVER,
        .id = "ttrpc",
        .requires = (const char *const[]){PLUGIN_TTRPC, PLUGIN_GRPC, NULL},
        .init = ttrpc_init,
        .start = listener_start,
        .close = listener_close,
};

const PluginRegistration plugin_server_grpc_tcp = {
        .type = PLUGIN_SERVER,
        .id = "grpc-tcp",
        .requires = (const char *const[]){PLUGIN_GRPC, PLUGIN_METRICS, NULL},
        .init = tcp_init,
        .start = listener_start,
        .close = listener_close,
};
