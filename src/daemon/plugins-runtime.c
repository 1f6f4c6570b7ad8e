// SPDX-License-Identifier: Apache-2.0
/* Shims, tasks, and the collector of deprecations. */
#include "base/error.h"
#include "base/fs.h"
#include "cgroup/cgroup.h"
#include "daemon/builtins.h"
#include "daemon/metadata.h"
#include "oci/platform.h"
#include "plugin/deprecations.h"
#include "runtime/exchange.h"
#include "runtime/tasks.h"
#include "services/services.h"
#include <string.h>

enum {
	SOCKET_DIR_MAX =
	        37 // with "/" and a sha256 in hex it must fit a socket address of 108 bytes, as upstream
};

const char *platform_default_text(void)
{
	static gsize once = 0;
	if (g_once_init_enter(&once)) {
		g_auto(Platform) p = {0};
		platform_default(&p);
		g_once_init_leave(&once, (gsize)platform_format(&p));
	}
	return (const char *)once;
}

/* ---- deprecations ---- */

static bool deprecations_init(PluginInit *init, void **ret, GError **error)
{
	*ret = deprecations_new();
	return true;
}

static void deprecations_close(void *instance)
{
	deprecations_free(instance);
}

const PluginRegistration plugin_deprecations_store = {
        PLUGIN_WARNING, "deprecations", NULL, deprecations_init, NULL, deprecations_close, NULL, NULL,
};

/* ---- shim manager: what all shims are started with ---- */

typedef struct {
	char *socket_dir; // NULL: the shims' default
	char **env;
} ShimManager;

static void shim_manager_close(void *instance)
{
	ShimManager *m = instance;
	g_free(m->socket_dir);
	g_strfreev(m->env);
	g_free(m);
}

static bool shim_manager_init(PluginInit *init, void **ret, GError **error)
{
	TomlValue *config = plugin_config(init);
	const char *dir = conf_string(config, "socket_dir");
	g_autofree char *clean = NULL;
	if (!str_empty(dir)) {
		if (*dir != '/')
			return error_set(error, CTRD_ERR_UNKNOWN, "socket_dir must be an absolute path: %s",
			                 Q(dir));
		clean = path_clean(dir);
		if (strlen(clean) > SOCKET_DIR_MAX)
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "socket_dir length must be no longer than %d characters",
			                 SOCKET_DIR_MAX);
	}
	ShimManager *m = g_new0(ShimManager, 1);
	m->socket_dir = g_steal_pointer(&clean);
	m->env = conf_strings(config, "env");
	*ret = m;
	return true;
}

static const char *const shim_manager_requires[] = {PLUGIN_EVENT, PLUGIN_METADATA, NULL};
const PluginRegistration plugin_shim_manager = {
        PLUGIN_SHIM, "manager", shim_manager_requires, shim_manager_init, NULL, shim_manager_close,
        NULL,        NULL,
};

/* ---- tasks ---- */

/* The subscription of the one instance. */
static struct {
	Exchange *exchange;
	uint64_t id;
} exits;

static bool tasks_init(PluginInit *init, void **ret, GError **error)
{
	ShimManager *shims = plugin_get_single(init, PLUGIN_SHIM, error);
	Metadata *m = shims != NULL ? plugin_get_metadata_plugin(init, error) : NULL;
	Exchange *exchange = m != NULL ? plugin_get_events(init, error) : NULL;
	MountManager *mounts = exchange != NULL ? plugin_get_single(init, PLUGIN_MOUNT_MANAGER, error) : NULL;
	if (mounts == NULL)
		return false;
	Deprecations *deprecations = plugin_get_by_id(init, PLUGIN_WARNING, "deprecations", error);
	if (deprecations == NULL)
		return false;
	if (!cgroup_is_unified())
		deprecations_emit(deprecations, "io.containerd.deprecation/cgroup-v1");
	plugin_add_platform(init, platform_default_text());
	plugin_add_export(init, "log-uri-schemes", "fifo,binary,binary-v2,file");
	TasksConfig config = {
	        .root = (char *)plugin_root_dir(init),
	        .state = (char *)plugin_state_dir(init),
	        .grpc_address = (char *)plugin_grpc_address(init),
	        .ttrpc_address = (char *)plugin_ttrpc_address(init),
	        .socket_dir = shims->socket_dir,
	        .env = shims->env,
	        .mounts = mounts,
	        .load_timeout_ns = plugin_timeout(init, "io.containerd.timeout.shim.load"),
	        .cleanup_timeout_ns = plugin_timeout(init, "io.containerd.timeout.shim.cleanup"),
	        .shutdown_timeout_ns = plugin_timeout(init, "io.containerd.timeout.shim.shutdown"),
	};
	Tasks *tasks = tasks_new(plugin_loop(init), plugin_pool(init), m->db, &config, tasks_publish_gone,
	                         exchange, error);
	if (tasks == NULL)
		return false;
	exits.exchange = exchange;
	exits.id = tasks_watch_exits(tasks, exchange, error);
	if (exits.id == 0) {
		tasks_free(tasks);
		return false;
	}
	tasks_load(tasks);
	*ret = tasks;
	return true;
}

static void tasks_close(void *instance)
{
	exchange_unsubscribe(exits.exchange, exits.id);
	tasks_free(instance);
}

static const char *const tasks_requires[] = {PLUGIN_SHIM,  PLUGIN_MOUNT_MANAGER, PLUGIN_METADATA,
                                             PLUGIN_EVENT, PLUGIN_WARNING,       NULL};
static bool tasks_reload(void *instance, const PluginReload *fresh, GError **error)
{
	tasks_set_timeouts(instance, config_timeout(fresh->config, "io.containerd.timeout.shim.load"),
	                   config_timeout(fresh->config, "io.containerd.timeout.shim.cleanup"),
	                   config_timeout(fresh->config, "io.containerd.timeout.shim.shutdown"));
	return true;
}

static const char *const shim_timeouts[] = {"timeouts.io.containerd.timeout.shim", NULL};
const PluginRegistration plugin_task_runtime = {
        .type = PLUGIN_RUNTIME,
        .id = "task",
        .requires = tasks_requires,
        .init = tasks_init,
        .close = tasks_close,
        .reload = tasks_reload,
        .reload_top_keys = shim_timeouts,
};
