// SPDX-License-Identifier: Apache-2.0

/*
 * server.v1.debug and server.v1.metrics, and what the debug server shows of itself. Source: upstream
 * plugins/server/debug, plugins/server/metrics, internal/pprof.
 */

#include "base/error.h"
#include "base/inflight.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "daemon/builtins.h"
#include "daemon/http-server.h"
#include "loop/metrics.h"
#include "rpc/server.h"
#include <malloc.h>
#include <string.h>

/* The instance of both servers. */
typedef struct {
	const char *what; // for texts
	bool unix_too;    // an absolute path is a unix socket
	GArray *routes;
	char *address;
	uid_t uid;
	gid_t gid;
	unsigned collector; // of the process' metrics; 0: none
	HttpServer *server; // NULL before start, and where a reload has taken the address away
} Endpoint;

static void endpoint_free(Endpoint *e)
{
	http_server_free(e->server);
	metrics_remove(e->collector);
	g_array_unref(e->routes);
	g_free(e->address);
	g_free(e);
}

static void endpoint_close(void *instance)
{
	endpoint_free(instance);
}

static HttpServer *endpoint_listen(const Endpoint *e, GError **error)
{
	int fd = e->unix_too && e->address[0] == '/'
	                 ? rpc_listen_unix(e->address, 0660, e->uid, e->gid, error)
	                 : rpc_listen_tcp(e->address, error);
	HttpServer *server = fd >= 0 ? http_server_new(fd, e->routes, error) : NULL;

	if (server == NULL) {
		error_prefix(error, "failed to get listener for %s endpoint", e->what);
		return NULL;
	}
	log_info("serving...", "address", e->address, NULL);
	return server;
}

static bool endpoint_start(void *instance, GError **error)
{
	Endpoint *e = instance;

	return (e->server = endpoint_listen(e, error)) != NULL;
}

static bool endpoint_configure(Endpoint *e, const TomlValue *view, GError **error)
{
	int64_t uid = e->unix_too ? conf_int(view, "uid") : 0, gid = e->unix_too ? conf_int(view, "gid") : 0;

	if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "uid or gid out of range");
	g_free(e->address);
	e->address = g_strdup(conf_string(view, "address"));
	e->uid = (uid_t)uid;
	e->gid = (gid_t)gid;
	return true;
}

/* The new address is listened on before the old one is given up; where only the owner of a path changes the
 * old socket has to go first. */
static bool endpoint_reload(void *instance, const PluginReload *fresh, GError **error)
{
	Endpoint *old = instance;
	Endpoint e = {.what = old->what, .unix_too = old->unix_too, .routes = old->routes};
	g_autofree char *address = NULL;

	if (!endpoint_configure(&e, fresh->view, error))
		return false;
	address = e.address;
	bool same = strcmp(e.address, old->address) == 0;
	if (same)
		g_clear_pointer(&old->server, http_server_free);
	if (e.address[0] != '\0') {
		e.server = endpoint_listen(&e, error);
		if (e.server == NULL)
			return false;
	}
	g_autofree char *gone = old->server != NULL && old->address[0] == '/' ? g_strdup(old->address) : NULL;
	http_server_free(old->server);
	if (gone != NULL)
		unlink(gone);
	old->server = e.server;
	g_free(old->address);
	old->address = g_steal_pointer(&address);
	old->uid = e.uid;
	old->gid = e.gid;
	return true;
}

static Endpoint *endpoint_new(PluginInit *init, const char *what, bool unix_too, GError **error)
{
	Endpoint *e = g_new0(Endpoint, 1);

	e->what = what;
	e->unix_too = unix_too;
	e->routes = g_array_new(FALSE, FALSE, sizeof(HttpRoute));
	if (endpoint_configure(e, plugin_config(init), error))
		return e;
	endpoint_free(e);
	return NULL;
}

/* ---- the debug server ---- */

static void add_routes(GArray *routes, const HttpRoute *more)
{
	for (; more->path != NULL; more++)
		g_array_append_val(routes, *more);
}

static bool debug_init(PluginInit *init, void **ret_instance, GError **error)
{
	const GPtrArray *all = plugins_all(plugin_set(init));

	if (str_empty(conf_string(plugin_config(init), "address")))
		return plugin_skip(error, NULL);
	Endpoint *e = endpoint_new(init, "debug", true, error);
	if (e == NULL)
		return false;
	for (guint i = 0; i < all->len; i++) {
		const Plugin *p = all->pdata[i];

		if (p->state == PLUGIN_OK && strcmp(p->registration->type, PLUGIN_HTTP) == 0)
			add_routes(e->routes, p->instance);
	}
	*ret_instance = e;
	return true;
}

static const char *const debug_keys[] = {"address", "uid", "gid", NULL};
const PluginRegistration plugin_server_debug = {
        .type = PLUGIN_SERVER,
        .id = "debug",
        .requires = (const char *const[]){PLUGIN_HTTP, NULL},
        .init = debug_init,
        .start = endpoint_start,
        .close = endpoint_close,
        .reload = endpoint_reload,
        .reload_keys = debug_keys,
};

/* ---- http.v1.pprof: the paths of upstream's plugin that mean something here ---- */

static GBytes *read_cmdline(void)
{
	char *text = NULL;
	gsize len = 0;

	if (!g_file_get_contents("/proc/self/cmdline", &text, &len, NULL))
		return g_bytes_new(NULL, 0);
	return g_bytes_new_take(text, len);
}

/* As Go's: the arguments with NUL bytes between them. */
static void show_cmdline(const HttpRequest *request, HttpReply *reply, void *data)
{
	g_autoptr(GBytes) cmdline = read_cmdline();
	gsize len = 0;
	const char *text = g_bytes_get_data(cmdline, &len);

	g_string_append_len(reply->body, text, len > 0 ? (gssize)len - 1 : 0);
}

/* expvar's document: cmdline, and memstats with those names of Go's runtime that mean the same here. */
static void show_vars(const HttpRequest *request, HttpReply *reply, void *data)
{
	g_autoptr(GBytes) cmdline = read_cmdline();
	g_autoptr(JsonObject) vars = json_object_new_object();
	JsonObject *args = json_object_new_array(), *memory = json_object_new_object();
	struct mallinfo2 heap = mallinfo2();
	gsize len = 0;
	const char *text = g_bytes_get_data(cmdline, &len);

	for (gsize at = 0; at < len; at += strlen(text + at) + 1)
		json_object_array_add(args, json_object_new_string(text + at));
	json_set(vars, "cmdline", args);
	json_set_int64(memory, "HeapAlloc", (int64_t)(heap.uordblks + heap.hblkhd));
	json_set_int64(memory, "HeapIdle", (int64_t)heap.fordblks);
	json_set_int64(memory, "HeapSys", (int64_t)(heap.arena + heap.hblkhd));
	json_set(vars, "memstats", memory);
	g_autofree char *document = json_to_text(vars);
	reply->content_type = "application/json; charset=utf-8";
	g_string_append_printf(reply->body, "%s\n", document);
}

static void show_inflight(const HttpRequest *request, HttpReply *reply, void *data)
{
	g_autofree char *document = inflight_json();

	reply->content_type = "application/json; charset=utf-8";
	g_string_append_printf(reply->body, "%s\n", document);
}

static void show_pprof(const HttpRequest *request, HttpReply *reply, void *data)
{
	reply->status = 501;
	g_string_printf(reply->body,
	                "%s: profiles of the Go runtime do not exist here; see perf(1), /debug/vars and "
	                "/debug/inflight\n",
	                http_path(request));
}

static bool pprof_init(PluginInit *init, void **ret_instance, GError **error)
{
	static HttpRoute routes[] = {
	        {"/debug/vars", show_vars, NULL},
	        {"/debug/inflight", show_inflight, NULL},
	        {"/debug/pprof/cmdline", show_cmdline, NULL},
	        {"/debug/pprof/", show_pprof, NULL},
	        {NULL, NULL, NULL},
	};

	*ret_instance = routes;
	return true;
}

/* ---- the metrics server ---- */

static void show_metrics(const HttpRequest *request, HttpReply *reply, void *data)
{
	reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
	metrics_write(reply->body);
}

static bool metrics_init(PluginInit *init, void **ret_instance, GError **error)
{
	static const HttpRoute routes[] = {{"/v1/metrics", show_metrics, NULL}, {NULL, NULL, NULL}};

	if (str_empty(conf_string(plugin_config(init), "address")))
		return plugin_skip(error, NULL);
	Endpoint *e = endpoint_new(init, "metrics", false, error);
	if (e == NULL)
		return false;
	add_routes(e->routes, routes);
	e->collector = metrics_add(process_metrics_collect, NULL);
	*ret_instance = e;
	return true;
}

static const char *const metrics_keys[] = {"address", NULL};
const PluginRegistration plugin_server_metrics = {
        .type = PLUGIN_SERVER,
        .id = "metrics",
        .init = metrics_init,
        .start = endpoint_start,
        .close = endpoint_close,
        .reload = endpoint_reload,
        .reload_keys = metrics_keys,
};

const PluginRegistration plugin_http_pprof = {.type = PLUGIN_HTTP, .id = "pprof", .init = pprof_init};
