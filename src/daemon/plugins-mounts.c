// SPDX-License-Identifier: Apache-2.0
/* The mount manager and its handlers. */
#include "base/error.h"
#include "base/fs.h"
#include "daemon/builtins.h"
#include "daemon/metadata.h"
#include "store/mounts.h"

static bool handler_init(PluginInit *init, void **ret, GError **error)
{
	plugin_add_platform(init, platform_default_text());
	*ret = plugin_data(init);
	return true;
}

const PluginRegistration plugin_mount_erofs = {
        PLUGIN_MOUNT_HANDLER, "erofs", NULL, handler_init, NULL, NULL, NULL, (void *)&mount_handler_erofs,
};

/* type -> handler: that for loop devices is part of the manager, the others are plugins, by their id. */
static GHashTable *collect_handlers(PluginInit *init)
{
	GHashTable *handlers = g_hash_table_new(g_str_hash, g_str_equal);
	g_hash_table_insert(handlers, (char *)"loop", (void *)&mount_handler_loop);
	const GPtrArray *all = plugins_all(plugin_set(init));
	for (guint i = 0; i < all->len; i++) {
		const Plugin *p = all->pdata[i];
		if (p->state == PLUGIN_OK && g_str_equal(p->registration->type, PLUGIN_MOUNT_HANDLER))
			g_hash_table_insert(handlers, (char *)p->registration->id, p->instance);
	}
	return handlers;
}

static bool manager_init(PluginInit *init, void **ret, GError **error)
{
	Metadata *m = plugin_get_metadata_plugin(init, error);
	Gc *gc = m != NULL ? plugin_get_gc(init, error) : NULL;
	if (gc == NULL)
		return false;
	g_autoptr(GHashTable) handlers = collect_handlers(init);
	g_autofree char *dir = path_join(plugin_state_dir(init), "t");
	g_autofree char *root = g_path_get_dirname(plugin_root_dir(init));
	return (*ret = mount_manager_new(m->db, gc, dir, root, handlers, error)) != NULL;
}

static void manager_close(void *instance)
{
	mount_manager_free(instance);
}

static const char *const manager_requires[] = {PLUGIN_METADATA, PLUGIN_GC, PLUGIN_MOUNT_HANDLER, NULL};
const PluginRegistration plugin_mount_manager = {
        PLUGIN_MOUNT_MANAGER, "bolt", manager_requires, manager_init, NULL, manager_close, NULL, NULL,
};
