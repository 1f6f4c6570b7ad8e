// SPDX-License-Identifier: Apache-2.0
#include "plugin/plugin.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "plugin/plugin-private.h"
#include <string.h>

/* "skip plugin" has no class of errdefs; a domain of its own keeps it apart and makes its class UNKNOWN. */
static GQuark skip_quark(void)
{
	return g_quark_from_static_string("containerd-skip-plugin");
}

bool plugin_skip(GError **error, const char *format, ...)
{
	if (format == NULL) {
		g_set_error_literal(error, skip_quark(), 0, "skip plugin");
		return false;
	}
	va_list ap;
	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	g_set_error(error, skip_quark(), 0, "%s: skip plugin", text);
	return false;
}

bool plugin_error_is_skip(const GError *error)
{
	return error != NULL && error->domain == skip_quark();
}

/* ---- registry and graph ---- */

static void plugin_free(void *p)
{
	Plugin *plugin = p;

	g_free(plugin->uri);
	g_clear_error(&plugin->error);
	g_ptr_array_unref(plugin->platforms);
	g_hash_table_unref(plugin->exports);
	g_ptr_array_unref(plugin->capabilities);
	g_free(plugin);
}

PluginSet *plugins_new(void)
{
	PluginSet *set = g_new0(PluginSet, 1);

	set->registered = g_ptr_array_new_with_free_func(plugin_free);
	set->ordered = g_ptr_array_new();
	set->services = g_ptr_array_new_with_free_func(g_free);
	set->views = g_ptr_array_new_with_free_func((GDestroyNotify)toml_free);
	set->tickets = g_ptr_array_new_with_free_func(g_free);
	set->proxies = g_ptr_array_new_with_free_func(g_free);
	set->reload_failed = g_hash_table_new(NULL, NULL);
	lock_init(&set->lock, "plugin-set", LOCK_RANK_PLUGIN);
	cond_init(&set->ready);
	return set;
}

void plugins_free(PluginSet *set)
{
	if (set == NULL)
		return;
	g_ptr_array_unref(set->services);
	g_ptr_array_unref(set->ordered);
	g_ptr_array_unref(set->registered);
	g_ptr_array_unref(set->views);
	g_ptr_array_unref(set->tickets);
	g_ptr_array_unref(set->proxies);
	g_hash_table_unref(set->reload_failed);
	g_free(set->grpc_address);
	g_free(set->ttrpc_address);
	cond_destroy(&set->ready);
	lock_destroy(&set->lock);
	g_free(set);
}

static Plugin *find_registered(const PluginSet *set, const char *uri)
{
	for (guint i = 0; i < set->registered->len; i++) {
		Plugin *p = set->registered->pdata[i];

		if (strcmp(p->uri, uri) == 0)
			return p;
	}
	return NULL;
}

void plugins_register(PluginSet *set, const PluginRegistration *registration)
{
	g_assert(!str_empty(registration->type) && !str_empty(registration->id) &&
	         registration->init != NULL);
	for (const char *const *r = registration->requires; r != NULL && *r != NULL; r++) {
		g_assert(strcmp(*r, registration->type) != 0);
		g_assert(strcmp(*r, "*") != 0 || (r == registration->requires && r[1] == NULL));
	}
	Plugin *p = g_new0(Plugin, 1);
	p->registration = registration;
	p->uri = g_strconcat(registration->type, ".", registration->id, NULL);
	p->platforms = g_ptr_array_new_with_free_func(g_free);
	p->capabilities = g_ptr_array_new_with_free_func(g_free);
	p->exports = strmap_new();
	g_assert(find_registered(set, p->uri) == NULL);
	g_ptr_array_add(set->registered, p);
}

typedef struct {
	PluginSet *set;
	GHashTable *handled; // in the result, or disabled
	GPtrArray *stack;    // on the way to the one in work
	GPtrArray *ordered;
	GError **error;
} Graph;

static bool requires_type(const PluginRegistration *registration, const char *type)
{
	for (const char *const *r = registration->requires; r != NULL && *r != NULL; r++) {
		if (strcmp(*r, "*") == 0 || strcmp(*r, type) == 0)
			return true;
	}
	return false;
}

/* Depth first: a plugin comes after all that it requires, otherwise in order of registration. */
static bool graph_visit(Graph *g, Plugin *plugin)
{
	if (g_hash_table_contains(g->handled, plugin))
		return true;
	if (g_ptr_array_find(g->stack, plugin, NULL))
		return error_set(g->error, CTRD_ERR_UNKNOWN,
		                 "circular plugin dependency at %s: plugin: dependency loop detected",
		                 plugin->uri);
	g_ptr_array_add(g->stack, plugin);
	for (guint i = 0; i < g->set->registered->len; i++) {
		Plugin *other = g->set->registered->pdata[i];

		if (other != plugin && requires_type(plugin->registration, other->registration->type) &&
		    !graph_visit(g, other))
			return false;
	}
	g_ptr_array_set_size(g->stack, (int)g->stack->len - 1);
	g_hash_table_add(g->handled, plugin);
	g_ptr_array_add(g->ordered, plugin);
	return true;
}

GPtrArray *plugins_graph(PluginSet *set, bool (*disabled)(const char *uri, void *data), void *data,
                         GError **error)
{
	g_autoptr(GHashTable) handled = g_hash_table_new(NULL, NULL);
	g_autoptr(GPtrArray) stack = g_ptr_array_new();
	g_autoptr(GPtrArray) ordered = g_ptr_array_new();
	Graph g = {.set = set, .handled = handled, .stack = stack, .ordered = ordered, .error = error};

	for (guint i = 0; i < set->registered->len; i++) {
		Plugin *p = set->registered->pdata[i];

		if (disabled != NULL && disabled(p->uri, data)) {
			p->state = PLUGIN_DISABLED;
			g_hash_table_add(handled, p);
		}
	}
	for (guint i = 0; i < set->registered->len; i++) {
		if (!graph_visit(&g, set->registered->pdata[i]))
			return NULL;
	}
	return g_steal_pointer(&ordered);
}

/* ---- for init functions ---- */

const char *plugin_uri(const PluginInit *init)
{
	return init->plugin->uri;
}

const char *plugin_id(const PluginInit *init)
{
	return init->plugin->registration->id;
}

void *plugin_data(const PluginInit *init)
{
	return init->plugin->registration->data;
}

const char *plugin_root_dir(const PluginInit *init)
{
	return init->root_dir;
}

const char *plugin_state_dir(const PluginInit *init)
{
	return init->state_dir;
}

const char *plugin_grpc_address(const PluginInit *init)
{
	return init->set->grpc_address;
}

const char *plugin_ttrpc_address(const PluginInit *init)
{
	return init->set->ttrpc_address;
}

TomlValue *plugin_config(const PluginInit *init)
{
	return init->view;
}

const GPtrArray *plugin_deprecations(const PluginInit *init)
{
	return init->deprecations;
}

int64_t plugin_timeout(const PluginInit *init, const char *key)
{
	return config_timeout(init->set->env.config, key);
}

const TomlValue *plugin_daemon_config(const PluginInit *init)
{
	return config_view(init->set->env.config);
}

Loop *plugin_loop(const PluginInit *init)
{
	return init->set->env.loop;
}

Pool *plugin_pool(const PluginInit *init)
{
	return init->set->env.pool;
}

PluginSet *plugin_set(const PluginInit *init)
{
	return init->set;
}

void plugin_add_platform(PluginInit *init, const char *platform)
{
	g_ptr_array_add(init->plugin->platforms, g_strdup(platform));
}

void plugin_add_export(PluginInit *init, const char *key, const char *value)
{
	strmap_set(init->plugin->exports, key, value);
}

void plugin_add_capability(PluginInit *init, const char *capability)
{
	g_ptr_array_add(init->plugin->capabilities, g_strdup(capability));
}

void plugin_add_service(PluginInit *init, unsigned where, const RpcService *service)
{
	OfferedService *offered = g_new0(OfferedService, 1);

	offered->where = where;
	offered->service = *service;
	offered->impl_free = service->impl_free;
	offered->service.impl_free = NULL;
	offered->owner = init->plugin;
	g_ptr_array_add(init->set->services, offered);
}

/* The error of a plugin that did not come up, for one that needs it. */
static void *fail_as(const Plugin *p, GError **error)
{
	g_propagate_error(error, g_error_copy(p->error));
	return NULL;
}

static void *fail_not_found(GError **error, const char *what)
{
	error_set(error, CTRD_ERR_UNKNOWN, "no plugins registered for %s: plugin: not found", what);
	return NULL;
}

void *plugin_get_single(PluginInit *init, const char *type, GError **error)
{
	const Plugin *found = NULL;

	for (guint i = 0; i < init->set->ordered->len; i++) {
		const Plugin *p = init->set->ordered->pdata[i];

		if (strcmp(p->registration->type, type) != 0 || p->state == PLUGIN_PENDING ||
		    p->state == PLUGIN_SKIPPED)
			continue;
		if (p->state == PLUGIN_FAILED)
			return fail_as(p, error);
		if (found != NULL) {
			error_set(error, CTRD_ERR_UNKNOWN,
			          "multiple plugins registered for %s: plugin: multiple instances", type);
			return NULL;
		}
		found = p;
	}
	return found != NULL ? found->instance : fail_not_found(error, type);
}

void *plugin_get_by_id(PluginInit *init, const char *type, const char *id, GError **error)
{
	g_autofree char *uri = g_strconcat(type, ".", id, NULL);
	const Plugin *p = plugins_lookup(init->set, type, id);

	if (p == NULL || p->state == PLUGIN_PENDING)
		return fail_not_found(error, uri);
	return p->state == PLUGIN_OK ? p->instance : fail_as(p, error);
}

PluginReadiness *plugin_register_readiness(PluginInit *init)
{
	PluginReadiness *ticket = g_new0(PluginReadiness, 1);

	ticket->set = init->set;
	init->readiness = true;
	g_ptr_array_add(init->set->tickets, ticket);
	LOCK_SCOPE(&init->set->lock);
	init->set->n_unready++;
	return ticket;
}

void plugin_ready(PluginReadiness *ticket)
{
	LOCK_SCOPE(&ticket->set->lock);
	g_assert(!ticket->given);
	ticket->given = true;
	if (--ticket->set->n_unready == 0)
		cond_broadcast(&ticket->set->ready);
}

/* ---- running ---- */

static bool is_disabled(const char *uri, void *data)
{
	return config_is_disabled(data, uri);
}

/* Warnings that decoding added since n. */
static void log_new_warnings(const Config *config, guint n)
{
	for (guint i = n; i < config_warnings(config)->len; i++)
		log_warn(config_warnings(config)->pdata[i], NULL);
}

static bool decode_section(PluginSet *set, const Plugin *p, const ConfigSchema **ret_schema, TomlValue **ret,
                           GError **error)
{
	const ConfigSchema *schema = p->registration->schema;
	guint n = config_warnings(set->env.config)->len;

	*ret_schema = schema != NULL ? schema : config_schema(p->uri);
	*ret = NULL;
	if (*ret_schema == NULL)
		return true;
	*ret = config_decode_plugin(set->env.config, *ret_schema, error);
	log_new_warnings(set->env.config, n);
	if (*ret == NULL)
		return false;
	g_ptr_array_add(set->views, *ret);
	return true;
}

/* A failed plugin offers nothing. */
static void drop_services(PluginSet *set, const Plugin *owner)
{
	for (guint i = set->services->len; i-- > 0;) {
		OfferedService *s = set->services->pdata[i];

		if (s->owner != owner)
			continue;
		if (s->impl_free != NULL)
			s->impl_free(s->service.impl);
		g_ptr_array_remove_index(set->services, i);
	}
}

static void log_failure(const Plugin *p)
{
	const char *type = p->registration->type;

	if (p->state == PLUGIN_SKIPPED)
		log_info("skip loading plugin", "error", p->error->message, "id", p->uri, "type", type, NULL);
	else
		log_warn("failed to load plugin", "error", p->error->message, "id", p->uri, "type", type,
		         NULL);
}

/* false: the daemon must not start. */
static bool init_plugin(PluginSet *set, Plugin *p, GError **error)
{
	const TomlValue *top = config_view(set->env.config);
	const ConfigSchema *schema = NULL;
	g_autofree char *root = path_join(conf_string(top, "root"), p->uri);
	g_autofree char *state = path_join(conf_string(top, "state"), p->uri);
	g_autoptr(GPtrArray) deprecations = g_ptr_array_new();
	PluginInit init = {
	        .set = set,
	        .plugin = p,
	        .root_dir = root,
	        .state_dir = state,
	        .deprecations = deprecations,
	};

	log_info("loading plugin", "id", p->uri, "type", p->registration->type, NULL);
	if (!decode_section(set, p, &schema, &init.view, error))
		return false;
	bool ok = schema == NULL || schema->validate == NULL ||
	          schema->validate(init.view, deprecations, &p->error);
	ok = ok && p->registration->init(&init, &p->instance, &p->error);
	if (ok) {
		p->state = PLUGIN_OK;
		return true;
	}
	p->state = plugin_error_is_skip(p->error) ? PLUGIN_SKIPPED : PLUGIN_FAILED;
	p->instance = NULL;
	drop_services(set, p);
	log_failure(p);
	if (init.readiness) {
		g_propagate_prefixed_error(error, g_error_copy(p->error),
		                           "plugin failed after registering readiness %s: ", p->uri);
		return false;
	}
	return true;
}

/* Sections that nobody reads are most often a misspelt name. */
static void warn_unknown_sections(PluginSet *set)
{
	const TomlValue *plugins = conf_table(config_view(set->env.config), "plugins");
	size_t n = 0;
	const ConfigSchema *const *schemas = config_schemas(&n);
	g_autoptr(GPtrArray) known = g_ptr_array_new();

	for (size_t i = 0; i < n; i++)
		g_ptr_array_add(known, (char *)schemas[i]->uri);
	for (guint i = 0; i < set->registered->len; i++)
		g_ptr_array_add(known, ((Plugin *)set->registered->pdata[i])->uri);
	for (size_t i = 0; i < toml_size(plugins); i++) {
		const char *uri = toml_key_at(plugins, i);

		if (g_ptr_array_find_with_equal_func(known, uri, g_str_equal, NULL))
			continue;
		g_autofree char *where = toml_where(toml_at(plugins, i));
		const char *nearest = nearest_word((const char *const *)known->pdata, known->len, uri);
		log_warn("ignoring the configuration of an unknown plugin", "plugin", uri, "file", where,
		         nearest != NULL ? "nearest" : NULL, nearest, NULL);
	}
}

static bool check_required(const PluginSet *set, char **required, GError **error)
{
	g_autoptr(GPtrArray) missing = g_ptr_array_new();

	for (size_t i = 0; required[i] != NULL; i++) {
		const Plugin *p = find_registered(set, required[i]);

		if (p == NULL || p->state != PLUGIN_OK)
			g_ptr_array_add(missing, required[i]);
	}
	if (missing->len == 0)
		return true;
	g_ptr_array_add(missing, NULL);
	g_autofree char *names = g_strjoinv(" ", (char **)missing->pdata);
	return error_set(error, CTRD_ERR_UNKNOWN, "required plugin [%s] not included", names);
}

bool plugins_init(PluginSet *set, const PluginEnv *env, GError **error)
{
	g_auto(GStrv) required = conf_strings(config_view(env->config), "required_plugins");

	set->env = *env;
	set->grpc_address = config_grpc_address(env->config);
	set->ttrpc_address = config_ttrpc_address(env->config);
	g_autoptr(GPtrArray) graph = plugins_graph(set, is_disabled, env->config, error);
	if (graph == NULL)
		return false;
	warn_unknown_sections(set);
	for (guint i = 0; i < graph->len; i++) {
		Plugin *p = graph->pdata[i];

		g_ptr_array_add(set->ordered, p);
		if (!init_plugin(set, p, error))
			return false;
		if (p->state != PLUGIN_OK && g_strv_contains((const char *const *)required, p->uri)) {
			g_propagate_prefixed_error(error, g_error_copy(p->error),
			                           "load required plugin %s: ", p->uri);
			return false;
		}
	}
	return check_required(set, required, error);
}

bool plugins_start(PluginSet *set, GError **error)
{
	for (guint i = 0; i < set->ordered->len; i++) {
		Plugin *p = set->ordered->pdata[i];

		if (p->state == PLUGIN_OK && p->registration->start != NULL &&
		    !p->registration->start(p->instance, error))
			return false;
	}
	return true;
}

static void wake_waiter(void *data)
{
	PluginSet *set = data;

	LOCK_SCOPE(&set->lock);
	cond_broadcast(&set->ready);
}

bool plugins_wait_ready(PluginSet *set, Cancel *cancel, GError **error)
{
	unsigned id = cancel != NULL ? cancel_on(cancel, wake_waiter, set) : 0;
	bool ready;

	lock_acquire(&set->lock);
	while (set->n_unready > 0 && !cancel_is_set(cancel))
		cond_wait(&set->ready, &set->lock);
	ready = set->n_unready == 0;
	lock_release(&set->lock);
	if (cancel != NULL)
		cancel_off(cancel, id);
	return ready || cancel_check(cancel, error);
}

void plugins_close(PluginSet *set)
{
	for (guint i = set->ordered->len; i-- > 0;) {
		Plugin *p = set->ordered->pdata[i];

		if (p->state != PLUGIN_OK)
			continue;
		drop_services(set, p);
		if (p->registration->close != NULL)
			p->registration->close(p->instance);
		p->instance = NULL;
		p->state = PLUGIN_PENDING;
	}
}

const GPtrArray *plugins_all(const PluginSet *set)
{
	return set->ordered;
}

const Plugin *plugins_lookup(const PluginSet *set, const char *type, const char *id)
{
	for (guint i = 0; i < set->ordered->len; i++) {
		const Plugin *p = set->ordered->pdata[i];

		if (strcmp(p->registration->type, type) == 0 && strcmp(p->registration->id, id) == 0)
			return p;
	}
	return NULL;
}

void plugins_each_service(const PluginSet *set, unsigned where,
                          void (*fn)(const RpcService *service, void *data), void *data)
{
	for (guint i = 0; i < set->services->len; i++) {
		const OfferedService *s = set->services->pdata[i];

		if ((s->where & where) != 0)
			fn(&s->service, data);
	}
}
