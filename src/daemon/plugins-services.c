// SPDX-License-Identifier: Apache-2.0
/*
 * The services. As upstream most come twice: <name>-service (type service.v1) makes it, and a plugin of type
 * grpc.v1 offers it on the sockets; a few have only the second.
 */
#include "base/error.h"
#include "daemon/builtins.h"
#include "daemon/metadata.h"
#include "revision.h"
#include "rpc/health.h"
#include "runtime/tasks.h"
#include "services/services.h"

/* Makes the service from what the plugin requires. */
typedef bool (*MakeFn)(PluginInit *init, RpcService *ret, GError **error);

/* ---- what each is made of ---- */

static Gc *get_gc(PluginInit *init, Metadata **ret_m, GError **error)
{
	*ret_m = plugin_get_metadata_plugin(init, error);
	return *ret_m != NULL ? plugin_get_gc(init, error) : NULL;
}

static bool make_containers(PluginInit *init, RpcService *ret, GError **error)
{
	Metadata *m = plugin_get_metadata_plugin(init, error);
	if (m == NULL)
		return false;
	*ret = containers_service_new(m->db);
	return true;
}

static bool make_content(PluginInit *init, RpcService *ret, GError **error)
{
	Metadata *m = plugin_get_metadata_plugin(init, error);
	if (m == NULL)
		return false;
	*ret = content_service_new(m->content);
	return true;
}

static bool make_images(PluginInit *init, RpcService *ret, GError **error)
{
	Metadata *m = NULL;
	Gc *gc = get_gc(init, &m, error);
	if (gc == NULL)
		return false;
	*ret = images_service_new(m->db, gc);
	return true;
}

static bool make_leases(PluginInit *init, RpcService *ret, GError **error)
{
	Metadata *m = NULL;
	Gc *gc = get_gc(init, &m, error);
	if (gc == NULL)
		return false;
	*ret = leases_service_new(m->db, gc);
	return true;
}

static bool make_namespaces(PluginInit *init, RpcService *ret, GError **error)
{
	Metadata *m = plugin_get_metadata_plugin(init, error);
	if (m == NULL)
		return false;
	*ret = namespaces_service_new(m->db);
	return true;
}

static bool make_snapshots(PluginInit *init, RpcService *ret, GError **error)
{
	Metadata *m = plugin_get_metadata_plugin(init, error);
	if (m == NULL)
		return false;
	*ret = snapshots_service_new(m->snapshotters);
	return true;
}

static bool make_tasks(PluginInit *init, RpcService *ret, GError **error)
{
	Metadata *m = plugin_get_metadata_plugin(init, error);
	Tasks *tasks = m != NULL ? plugin_get_by_id(init, PLUGIN_RUNTIME, "task", error) : NULL;
	if (tasks == NULL)
		return false;
	*ret = tasks_service_new(m->db, m->content, tasks,
	                         plugin_timeout(init, "io.containerd.timeout.task.state"),
	                         plugin_timeout(init, "io.containerd.timeout.metrics.shimstats"));
	return true;
}

static bool make_introspection(PluginInit *init, RpcService *ret, GError **error)
{
	Deprecations *deprecations = plugin_get_by_id(init, PLUGIN_WARNING, "deprecations", error);
	return deprecations != NULL &&
	       introspection_service_new(plugin_set(init), deprecations, plugin_root_dir(init), ret, error);
}

static bool make_diff(PluginInit *init, RpcService *ret, GError **error)
{
	g_auto(GStrv) order = conf_strings(plugin_config(init), "default");
	g_autoptr(GPtrArray) differs = g_ptr_array_new();
	for (char **id = order; *id != NULL; id++) {
		Differ *differ = plugin_get_by_id(init, PLUGIN_DIFF, *id, error);
		if (differ == NULL)
			return error_prefix(error, "could not load required differ due plugin init error: %s",
			                    *id);
		g_ptr_array_add(differs, differ);
	}
	if (differs->len == 0)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "no differ is configured");
	*ret = diff_service_new(differs, conf_bool(plugin_config(init), "sync_fs"));
	return true;
}

static bool make_mounts(PluginInit *init, RpcService *ret, GError **error)
{
	MountManager *mounts = plugin_get_single(init, PLUGIN_MOUNT_MANAGER, error);
	if (mounts == NULL)
		return false;
	*ret = mounts_service_new(mounts);
	return true;
}

static bool make_streaming(PluginInit *init, RpcService *ret, GError **error)
{
	Streams *streams = plugin_get_by_id(init, PLUGIN_STREAMING, "manager", error);
	if (streams == NULL)
		return false;
	*ret = streaming_service_new(streams);
	return true;
}

static bool make_transfer(PluginInit *init, RpcService *ret, GError **error)
{
	Transfer *transfer = plugin_get_single(init, PLUGIN_TRANSFER, error);
	Streams *streams =
	        transfer != NULL ? plugin_get_by_id(init, PLUGIN_STREAMING, "manager", error) : NULL;
	if (streams == NULL)
		return false;
	*ret = transfer_service_new(transfer, streams);
	return true;
}

static bool make_version(PluginInit *init, RpcService *ret, GError **error)
{
	*ret = version_service_new(CTRD_REVISION);
	return true;
}

static bool make_health(PluginInit *init, RpcService *ret, GError **error)
{
	*ret = rpc_health_service_new(plugin_loop(init), NULL);
	return true;
}

/* ---- service.v1: the instance is the RpcService ---- */

static bool service_init(PluginInit *init, void **ret, GError **error)
{
	MakeFn make = (MakeFn)plugin_data(init);
	RpcService service = {0};
	if (!make(init, &service, error))
		return false;
	*ret = g_memdup2(&service, sizeof(service));
	return true;
}

static void service_close(void *instance)
{
	g_free(instance);
}

/* ---- grpc.v1 ---- */

static bool twin_init(PluginInit *init, void **ret, GError **error)
{
	RpcService *service = plugin_get_by_id(init, PLUGIN_SERVICE, plugin_data(init), error);
	if (service == NULL)
		return false;
	plugin_add_service(init, PLUGIN_ON_GRPC, service);
	return true;
}

static bool single_init(PluginInit *init, void **ret, GError **error)
{
	MakeFn make = (MakeFn)plugin_data(init);
	RpcService service = {0};
	if (!make(init, &service, error))
		return false;
	// As upstream, which offers CRI alone on TCP; what says who is there does no harm.
	bool harmless = make == make_version || make == make_health;
	plugin_add_service(init, harmless ? PLUGIN_ON_GRPC | PLUGIN_ON_TCP : PLUGIN_ON_GRPC, &service);
	return true;
}

static bool events_init(PluginInit *init, void **ret, GError **error)
{
	Exchange *exchange = plugin_get_events(init, error);
	if (exchange == NULL)
		return false;
	RpcService grpc = events_service_new(exchange), ttrpc = ttrpc_events_service_new(exchange);
	plugin_add_service(init, PLUGIN_ON_GRPC, &grpc);
	plugin_add_service(init, PLUGIN_ON_TTRPC, &ttrpc);
	return true;
}

static const char *const on_services[] = {PLUGIN_SERVICE, NULL};
static const char *const on_metadata[] = {PLUGIN_METADATA, NULL};
static const char *const on_images[] = {PLUGIN_METADATA, PLUGIN_GC, PLUGIN_WARNING, NULL};
static const char *const on_namespaces[] = {PLUGIN_EVENT, PLUGIN_METADATA, NULL};
static const char *const on_tasks[] = {PLUGIN_EVENT,        PLUGIN_RUNTIME, PLUGIN_METADATA,
                                       PLUGIN_TASK_MONITOR, PLUGIN_WARNING, NULL};
static const char *const on_differs[] = {PLUGIN_DIFF, NULL};
static const char *const on_mounts[] = {PLUGIN_MOUNT_MANAGER, NULL};
static const char *const on_streaming[] = {PLUGIN_STREAMING, NULL};
static const char *const on_transfer[] = {PLUGIN_TRANSFER, PLUGIN_STREAMING, NULL};
static const char *const on_leases[] = {PLUGIN_LEASE, PLUGIN_METADATA, PLUGIN_GC, NULL};
static const char *const on_events[] = {PLUGIN_EVENT, NULL};
static const char *const on_warnings[] = {PLUGIN_WARNING, NULL};

static const char *const task_timeouts[] = {"timeouts.io.containerd.timeout.task.state",
                                            "timeouts.io.containerd.timeout.metrics.shimstats", NULL};

static bool tasks_reload(void *instance, const PluginReload *fresh, GError **error)
{
	tasks_service_set_timeouts(instance,
	                           config_timeout(fresh->config, "io.containerd.timeout.task.state"),
	                           config_timeout(fresh->config, "io.containerd.timeout.metrics.shimstats"));
	return true;
}

/* Function pointers travel through the registration's void *; POSIX guarantees that they fit. */
#define SERVICE(id, requires, make)                                                                          \
	{                                                                                                    \
		PLUGIN_SERVICE, id, requires, service_init, NULL, service_close, NULL, (void *)(make)        \
	}
#define TWIN(id, service)                                                                                    \
	{                                                                                                    \
		PLUGIN_GRPC, id, on_services, twin_init, NULL, NULL, NULL, (void *)(service)                 \
	}
#define SINGLE(id, requires, make)                                                                           \
	{                                                                                                    \
		PLUGIN_GRPC, id, requires, single_init, NULL, NULL, NULL, (void *)(make)                     \
	}

const PluginRegistration plugins_services[] = {
        SERVICE("containers-service", on_namespaces, make_containers),
        SERVICE("content-service", on_metadata, make_content),
        SERVICE("diff-service", on_differs, make_diff),
        SERVICE("images-service", on_images, make_images),
        SERVICE("introspection-service", on_warnings, make_introspection),
        SERVICE("namespaces-service", on_namespaces, make_namespaces),
        SERVICE("snapshots-service", on_metadata, make_snapshots),
        {
                .type = PLUGIN_SERVICE,
                .id = "tasks-service",
                .requires = on_tasks,
                .init = service_init,
                .close = service_close,
                .data = (void *)make_tasks,
                .reload = tasks_reload,
                .reload_top_keys = task_timeouts,
        },
        TWIN("containers", "containers-service"),
        TWIN("content", "content-service"),
        TWIN("diff", "diff-service"),
        TWIN("images", "images-service"),
        TWIN("introspection", "introspection-service"),
        TWIN("namespaces", "namespaces-service"),
        TWIN("snapshots", "snapshots-service"),
        TWIN("tasks", "tasks-service"),
        SINGLE("leases", on_leases, make_leases),
        SINGLE("mounts", on_mounts, make_mounts),
        SINGLE("streaming", on_streaming, make_streaming),
        SINGLE("transfer", on_transfer, make_transfer),
        SINGLE("version", NULL, make_version),
        SINGLE("healthcheck", NULL, make_health),
        {PLUGIN_GRPC, "events", on_events, events_init, NULL, NULL, NULL, NULL},
        {0},
};
