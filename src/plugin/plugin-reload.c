// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "plugin/plugin-private.h"
#include <string.h>

/* One plugin whose section is declared. */
typedef struct {
	Plugin *plugin;
	const ConfigSchema *schema; // NULL: no keys of its own
	TomlValue *view;            // of the new configuration
	GPtrArray *keys;            // that reload applies and that have changed; whole names
} Change;

static void change_free(void *data)
{
	Change *change = data;

	toml_free(change->view);
	g_ptr_array_unref(change->keys);
	g_free(change);
}

void plugin_reload_result_clear(PluginReloadResult *result)
{
	g_clear_pointer(&result->applied, g_ptr_array_unref);
	g_clear_pointer(&result->restart, g_ptr_array_unref);
	g_clear_pointer(&result->failed, g_ptr_array_unref);
}

static bool is_below(const char *key, const char *table)
{
	size_t n = strlen(table);

	return strncmp(key, table, n) == 0 && (key[n] == '\0' || key[n] == '.');
}

/* Whether key, or a table that it is in, is one of claims. */
static bool is_claimed(const char *const *claims, const char *key)
{
	for (size_t i = 0; claims != NULL && claims[i] != NULL; i++) {
		if (is_below(key, claims[i]))
			return true;
	}
	return false;
}

static void add_key(GPtrArray *keys, const char *uri, const char *key)
{
	g_ptr_array_add(keys, g_strdup_printf("plugins.%s.%s", uri, key));
}

/* The new section, checked as the start checks it. */
static bool decode(Change *change, Config *fresh, GError **error)
{
	g_autoptr(GPtrArray) deprecations = g_ptr_array_new();

	change->view = config_decode_plugin(fresh, change->schema, error);
	if (change->view == NULL)
		return false;
	if (change->schema->validate == NULL || change->schema->validate(change->view, deprecations, error))
		return true;
	return error_prefix(error, "invalid configuration of plugin %s", Q(change->plugin->uri));
}

/* Sorts the keys of a section into those that reload applies and those that need a restart. */
static bool compare(Change *change, Config *old, Config *fresh, PluginReloadResult *ret, GError **error)
{
	const Plugin *p = change->plugin;
	const PluginRegistration *r = p->registration;

	if (change->schema == NULL)
		return true;
	if (!decode(change, fresh, error))
		return false;
	g_autoptr(TomlValue) before = config_decode_plugin(old, change->schema, NULL);
	g_autoptr(GPtrArray) ignored = g_ptr_array_new();
	if (before != NULL && change->schema->validate != NULL) // it fills in values, in the new one too
		change->schema->validate(before, ignored, NULL);
	g_autoptr(GPtrArray) keys = config_diff_tables(before, change->view);
	for (guint i = 0; i < keys->len; i++) {
		bool now = p->state == PLUGIN_OK && r->reload != NULL &&
		           is_claimed(r->reload_keys, keys->pdata[i]);

		add_key(now ? change->keys : ret->restart, p->uri, keys->pdata[i]);
	}
	return true;
}

static bool has_section(const PluginSet *set, const char *key)
{
	for (guint i = 0; i < set->registered->len; i++) {
		const Plugin *p = set->registered->pdata[i];

		if (is_below(key, p->uri) &&
		    (p->registration->schema != NULL || config_schema(p->uri) != NULL))
			return true;
	}
	return false;
}

static void compare_top(PluginSet *set, const GPtrArray *changes, const Config *old, const Config *fresh,
                        const char *const *own_keys, PluginReloadResult *ret)
{
	g_autoptr(GPtrArray) keys = config_diff(old, fresh);

	for (guint i = 0; i < keys->len; i++) {
		const char *key = keys->pdata[i];
		bool claimed = false;

		if (g_str_has_prefix(key, "plugins.") && has_section(set, key + strlen("plugins.")))
			continue;
		for (guint j = 0; j < changes->len; j++) {
			const Change *change = changes->pdata[j];
			const PluginRegistration *r = change->plugin->registration;

			if (change->plugin->state != PLUGIN_OK || r->reload == NULL ||
			    !is_claimed(r->reload_top_keys, key))
				continue;
			claimed = true;
			g_ptr_array_add(change->keys, g_strdup(key));
		}
		if (is_claimed(own_keys, key))
			g_ptr_array_add(ret->applied, g_strdup(key));
		else if (!claimed)
			g_ptr_array_add(ret->restart, g_strdup(key));
	}
}

static void move_keys(GPtrArray *keys, GPtrArray *to)
{
	for (guint i = 0; i < keys->len; i++) {
		if (!g_ptr_array_find_with_equal_func(to, keys->pdata[i], g_str_equal, NULL))
			g_ptr_array_add(to, g_strdup(keys->pdata[i]));
	}
}

static void apply(PluginSet *set, const Change *change, const Config *fresh, PluginReloadResult *ret)
{
	Plugin *p = change->plugin;
	const PluginReload reload = {.view = change->view, .config = fresh};
	g_autoptr(GError) error = NULL;

	if (change->keys->len == 0 && !g_hash_table_contains(set->reload_failed, p))
		return;
	if (p->registration->reload(p->instance, &reload, &error)) {
		g_hash_table_remove(set->reload_failed, p);
		move_keys(change->keys, ret->applied);
		return;
	}
	g_hash_table_add(set->reload_failed, p);
	log_error_take(LOG_ERROR, g_steal_pointer(&error), "cannot reload the configuration of a plugin",
	               "plugin", p->uri, NULL);
	move_keys(change->keys, ret->failed);
}

bool plugins_reload(PluginSet *set, Config *old, Config *fresh, const char *const *own_keys,
                    PluginReloadResult *ret, GError **error)
{
	g_autoptr(GPtrArray) changes = g_ptr_array_new_with_free_func(change_free);

	ret->applied = g_ptr_array_new_with_free_func(g_free);
	ret->restart = g_ptr_array_new_with_free_func(g_free);
	ret->failed = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < set->registered->len; i++) {
		Plugin *p = set->registered->pdata[i];
		Change *change = g_new0(Change, 1);

		change->plugin = p;
		change->keys = g_ptr_array_new_with_free_func(g_free);
		change->schema =
		        p->registration->schema != NULL ? p->registration->schema : config_schema(p->uri);
		g_ptr_array_add(changes, change);
		if (!compare(change, old, fresh, ret, error))
			return false;
	}
	compare_top(set, changes, old, fresh, own_keys, ret);
	for (guint i = 0; i < changes->len; i++)
		apply(set, changes->pdata[i], fresh, ret);
	return true;
}
