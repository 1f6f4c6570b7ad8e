// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "oci/platform.h"
#include "plugin/plugin-private.h"
#include <string.h>

/* What a proxy's registration needs to live as long as the set. entry belongs to the configuration. */
typedef struct {
	PluginRegistration registration;
	const PluginProxyKind *kind;
	const TomlValue *entry;
} ProxyRegistration;

static const ProxyRegistration *proxy_of(const PluginInit *init)
{
	return plugin_data(init);
}

const char *plugin_proxy_address(const PluginInit *init)
{
	return conf_string(proxy_of(init)->entry, "address");
}

char **plugin_proxy_capabilities(const PluginInit *init)
{
	return conf_strings(proxy_of(init)->entry, "capabilities");
}

static void add_platform(PluginInit *init, const char *specifier)
{
	g_auto(Platform) platform = {0};
	g_autoptr(GError) error = NULL;

	if (str_empty(specifier)) {
		platform_default(&platform);
	} else if (!platform_parse(specifier, &platform, &error)) {
		log_error_take(LOG_WARN, g_steal_pointer(&error), "skipping proxy platform with bad platform",
		               "plugin", plugin_id(init), NULL);
		return;
	}
	g_autofree char *text = platform_format(&platform);
	plugin_add_platform(init, text);
}

static bool init_proxy(PluginInit *init, void **ret_instance, GError **error)
{
	const ProxyRegistration *proxy = proxy_of(init);
	g_autoptr(GHashTable) exports = conf_string_map(proxy->entry, "exports");
	g_auto(GStrv) capabilities = plugin_proxy_capabilities(init);
	GHashTableIter iter;
	void *key, *value;

	g_hash_table_iter_init(&iter, exports);
	while (g_hash_table_iter_next(&iter, &key, &value))
		plugin_add_export(init, key, value);
	plugin_add_export(init, "address", plugin_proxy_address(init));
	add_platform(init, conf_string(proxy->entry, "platform"));
	for (size_t i = 0; capabilities[i] != NULL; i++)
		plugin_add_capability(init, capabilities[i]);
	return proxy->kind->init(init, ret_instance, error);
}

bool plugin_is_proxy(const Plugin *plugin)
{
	return plugin->registration->init == init_proxy;
}

static const PluginProxyKind *find_kind(const PluginProxyKind *kinds, size_t n, const char *type)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(kinds[i].type, type) == 0 || strcmp(kinds[i].alias, type) == 0)
			return &kinds[i];
	}
	return NULL;
}

static bool is_registered(const PluginSet *set, const char *uri)
{
	for (guint i = 0; i < set->registered->len; i++) {
		if (strcmp(((Plugin *)set->registered->pdata[i])->uri, uri) == 0)
			return true;
	}
	return false;
}

bool plugins_register_proxies(PluginSet *set, Config *config, const PluginProxyKind *kinds, size_t n_kinds,
                              GError **error)
{
	const TomlValue *table = conf_table(config_view(config), "proxy_plugins");

	for (size_t i = 0; table != NULL && i < toml_size(table); i++) {
		const TomlValue *entry = toml_at(table, i);
		const char *name = toml_key_at(table, i);
		const PluginProxyKind *kind = find_kind(kinds, n_kinds, conf_string(entry, "type"));

		if (kind == NULL) {
			log_warn("unknown proxy plugin type", "type", conf_string(entry, "type"), "plugin",
			         name, NULL);
			continue;
		}
		g_autofree char *uri = g_strconcat(kind->type, ".", name, NULL);
		if (name[0] == '\0')
			return error_set(error, CTRD_ERR_UNKNOWN, "proxy_plugins: plugin: no id");
		if (is_registered(set, uri))
			return error_set(error, CTRD_ERR_UNKNOWN, "%s: plugin: id already registered", uri);
		ProxyRegistration *proxy = g_new0(ProxyRegistration, 1);
		proxy->kind = kind;
		proxy->entry = entry;
		proxy->registration = (PluginRegistration){
		        .type = kind->type,
		        .id = name,
		        .init = init_proxy,
		        .close = kind->close,
		        .data = proxy,
		};
		g_ptr_array_add(set->proxies, proxy);
		plugins_register(set, &proxy->registration);
	}
	return true;
}
