// SPDX-License-Identifier: Apache-2.0
/* io.containerd.cri.v1.images, as much of it as others need: its registry keys (RegistryCurrent). */
#include "base/error.h"
#include "daemon/builtins.h"
#include "plugin/deprecations.h"
#include "remote/registry.h"

static RegistrySettings *settings_of(const TomlValue *view, GError **error)
{
	return registry_settings_from_cri(conf_table(view, "registry"), error);
}

static bool images_init(PluginInit *init, void **ret, GError **error)
{
	Deprecations *warnings = plugin_get_by_id(init, PLUGIN_WARNING, "deprecations", error);
	if (warnings == NULL)
		return false;
	const GPtrArray *ids = plugin_deprecations(init);
	for (guint i = 0; i < ids->len; i++)
		deprecations_emit(warnings, ids->pdata[i]);
	RegistrySettings *settings = settings_of(plugin_config(init), error);
	if (settings == NULL)
		return false;
	*ret = registry_current_new(settings);
	return true;
}

/* Credentials and mirrors count from the next pull. */
static bool images_reload(void *instance, const PluginReload *fresh, GError **error)
{
	RegistrySettings *settings = settings_of(fresh->view, error);
	if (settings == NULL)
		return false;
	registry_current_set(instance, settings);
	return true;
}

static void images_close(void *instance)
{
	registry_current_unref(instance);
}

static const char *const images_requires[] = {PLUGIN_WARNING, NULL};
static const char *const images_reload_keys[] = {"registry", NULL};
const PluginRegistration plugin_cri_images = {
        .type = PLUGIN_CRI,
        .id = "images",
        .requires = images_requires,
        .init = images_init,
        .close = images_close,
        .reload = images_reload,
        .reload_keys = images_reload_keys,
};
