// SPDX-License-Identifier: Apache-2.0
/* monitor.container.v1.restart */
#include "base/error.h"
#include "daemon/builtins.h"
#include "daemon/metadata.h"
#include "services/restart.h"

#define TASK_STATE "io.containerd.timeout.task.state"

typedef struct {
	RestartConfig config;
	RestartMonitor *monitor; // from start on
} RestartPlugin;

static bool restart_init(PluginInit *init, void **ret, GError **error)
{
	Metadata *m = plugin_get_metadata_plugin(init, error);
	Tasks *tasks = m != NULL ? plugin_get_by_id(init, PLUGIN_RUNTIME, "task", error) : NULL;

	if (tasks == NULL)
		return false;
	RestartPlugin *p = g_new0(RestartPlugin, 1);
	p->config = (RestartConfig){
	        .db = m->db,
	        .tasks = tasks,
	        .snapshotters = m->snapshotters,
	        .pool = plugin_pool(init),
	        .interval_ns = conf_duration(plugin_config(init), "interval"),
	        .state_timeout_ns = plugin_timeout(init, TASK_STATE),
	};
	plugin_add_capability(init, "no");
	plugin_add_capability(init, "always");
	plugin_add_capability(init, "on-failure");
	plugin_add_capability(init, "unless-stopped");
	*ret = p;
	return true;
}

static bool restart_start(void *instance, GError **error)
{
	RestartPlugin *p = instance;

	p->monitor = restart_monitor_start(&p->config, error);
	return p->monitor != NULL;
}

static bool restart_reload(void *instance, const PluginReload *fresh, GError **error)
{
	const RestartPlugin *p = instance;

	restart_monitor_set_interval(p->monitor, conf_duration(fresh->view, "interval"),
	                             config_timeout(fresh->config, TASK_STATE));
	return true;
}

static void restart_close(void *instance)
{
	RestartPlugin *p = instance;

	if (p->monitor != NULL)
		restart_monitor_free(p->monitor);
	g_free(p);
}

const PluginRegistration plugin_restart = {
        .type = PLUGIN_CONTAINER_MONITOR,
        .id = "restart",
        .requires = (const char *const[]){PLUGIN_EVENT, PLUGIN_SERVICE, NULL},
        .init = restart_init,
        .start = restart_start,
        .close = restart_close,
        .reload = restart_reload,
        .reload_keys = (const char *const[]){"interval", NULL},
        .reload_top_keys = (const char *const[]){"timeouts." TASK_STATE, NULL},
};
