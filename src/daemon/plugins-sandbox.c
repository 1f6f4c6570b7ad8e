// SPDX-License-Identifier: Apache-2.0
/* Sandboxes: the store, the controller over shims, and the services of both. */
#include "base/error.h"
#include "daemon/builtins.h"
#include "daemon/metadata.h"
#include "runtime/sandbox-controller.h"
#include "services/services.h"
#include <string.h>

/* ---- sandbox.store.v1.local: the instance is the database ---- */

static bool store_init(PluginInit *init, void **ret, GError **error)
{
	const Metadata *m = plugin_get_metadata_plugin(init, error);
	if (m == NULL)
		return false;
	*ret = m->db;
	return true;
}

static const char *const on_metadata[] = {PLUGIN_METADATA, NULL};
const PluginRegistration plugin_sandbox_store = {
        PLUGIN_SANDBOX_STORE, "local", on_metadata, store_init, NULL, NULL, NULL, NULL,
};

static bool store_service_init(PluginInit *init, void **ret, GError **error)
{
	MetaDb *db = plugin_get_by_id(init, PLUGIN_SANDBOX_STORE, "local", error);
	if (db == NULL)
		return false;
	const RpcService service = sandboxes_service_new(db);
	plugin_add_service(init, PLUGIN_ON_GRPC, &service);
	return true;
}

static const char *const on_store[] = {PLUGIN_SANDBOX_STORE, NULL};
const PluginRegistration plugin_sandboxes = {
        PLUGIN_GRPC, "sandboxes", on_store, store_service_init, NULL, NULL, NULL, NULL,
};

/* ---- sandbox.controller.v1.shim ---- */

static bool controller_init(PluginInit *init, void **ret, GError **error)
{
	Tasks *tasks = plugin_get_by_id(init, PLUGIN_RUNTIME, "task", error);
	if (tasks == NULL)
		return false;
	*ret = sandbox_shim_controller_new(tasks, plugin_root_dir(init), plugin_state_dir(init), error);
	return *ret != NULL;
}

static void controller_close(void *instance)
{
	SandboxController *c = instance;
	c->free(c);
}

// The table of shims belongs to the tasks' runtime here (upstream: to the shim manager).
static const char *const controller_requires[] = {PLUGIN_SHIM, PLUGIN_EVENT, PLUGIN_RUNTIME, NULL};
const PluginRegistration plugin_sandbox_controller = {
        PLUGIN_SANDBOX_CONTROLLER,
        "shim",
        controller_requires,
        controller_init,
        NULL,
        controller_close,
        NULL,
        NULL,
};

/* ---- the controllers' service ---- */

static void collect(PluginInit *init, const char *type, GHashTable *controllers)
{
	const GPtrArray *all = plugins_all(plugin_set(init));
	for (guint i = 0; i < all->len; i++) {
		const Plugin *p = all->pdata[i];
		if (p->state == PLUGIN_OK && p->instance != NULL && strcmp(p->registration->type, type) == 0)
			g_hash_table_insert(controllers, g_strdup(p->registration->id), p->instance);
	}
}

static bool controllers_service_init(PluginInit *init, void **ret, GError **error)
{
	Exchange *exchange = plugin_get_events(init, error);
	if (exchange == NULL)
		return false;
	g_autoptr(GHashTable) controllers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	collect(init, PLUGIN_POD_SANDBOX, controllers);
	collect(init, PLUGIN_SANDBOX_CONTROLLER, controllers);
	if (g_hash_table_size(controllers) == 0)
		return error_set(error, CTRD_ERR_NOT_FOUND,
		                 "no sandbox controllers initialized: plugin: not found");
	const RpcService service = sandbox_controllers_service_new(g_steal_pointer(&controllers), exchange);
	plugin_add_service(init, PLUGIN_ON_GRPC, &service);
	return true;
}

static const char *const controllers_requires[] = {PLUGIN_POD_SANDBOX, PLUGIN_SANDBOX_CONTROLLER,
                                                   PLUGIN_EVENT, NULL};
const PluginRegistration plugin_sandbox_controllers = {
        PLUGIN_GRPC, "sandbox-controllers", controllers_requires, controllers_service_init, NULL, NULL, NULL,
        NULL,
};
