// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "loop/pool.h"
#include "plugin/plugin.h"
#include <string.h>

/* What happened, in order. */
static GString *trace;

static bool init_ok(PluginInit *init, void **ret_instance, GError **error)
{
	g_string_append_printf(trace, "init %s\n", plugin_id(init));
	*ret_instance = plugin_data(init) != NULL ? plugin_data(init) : (void *)plugin_id(init);
	return true;
}

static bool init_fail(PluginInit *init, void **ret_instance, GError **error)
{
	return error_set_class(error, CTRD_ERR_NOT_FOUND, "%s is broken", plugin_id(init));
}

static bool init_skip(PluginInit *init, void **ret_instance, GError **error)
{
	return plugin_skip(error, "%s is not wanted", plugin_id(init));
}

static bool init_needs_single(PluginInit *init, void **ret_instance, GError **error)
{
	*ret_instance = plugin_get_single(init, plugin_data(init), error);
	return *ret_instance != NULL;
}

static bool init_needs_id(PluginInit *init, void **ret_instance, GError **error)
{
	*ret_instance = plugin_get_by_id(init, PLUGIN_SNAPSHOT, plugin_data(init), error);
	return *ret_instance != NULL;
}

static bool start_ok(void *instance, GError **error)
{
	g_string_append_printf(trace, "start %s\n", (char *)instance);
	return true;
}

static bool start_fail(void *instance, GError **error)
{
	return error_set(error, CTRD_ERR_UNKNOWN, "address already in use");
}

static void close_traced(void *instance)
{
	g_string_append_printf(trace, "close %s\n", (char *)instance);
}

#define PLUGIN(plugin_type, plugin_id_, plugin_init, ...)                                                    \
	((const PluginRegistration){                                                                         \
	        .type = (plugin_type), .id = (plugin_id_), .init = (plugin_init), __VA_ARGS__})
#define REQUIRES(...)                                                                                        \
	.requires = (const char *const[])                                                                    \
	{                                                                                                    \
		__VA_ARGS__, NULL                                                                            \
	}

typedef struct {
	PluginSet *set;
	Config *config;
} Fixture;

static void fixture_setup(Fixture *f, const void *data)
{
	f->set = plugins_new();
	f->config = config_new();
	trace = g_string_new(NULL);
}

static void fixture_teardown(Fixture *f, const void *data)
{
	config_free(f->config);
	g_string_free(trace, TRUE);
}

/* At the end of a test: the set must not outlive the registrations, which are the test's. */
static void finish(Fixture *f)
{
	plugins_close(f->set);
	g_clear_pointer(&f->set, plugins_free);
}

static void configure(Fixture *f, const char *text)
{
	g_autoptr(GError) error = NULL;

	config_load_data(f->config, text, strlen(text), "c.toml", &error);
	g_assert_no_error(error);
}

static bool init(Fixture *f, GError **error)
{
	const PluginEnv env = {.config = f->config};

	return plugins_init(f->set, &env, error);
}

static void init_all(Fixture *f)
{
	g_autoptr(GError) error = NULL;

	init(f, &error);
	g_assert_no_error(error);
}

static void assert_init_error(Fixture *f, const char *text)
{
	g_autoptr(GError) error = NULL;

	g_assert_false(init(f, &error));
	g_assert_cmpstr(error->message, ==, text);
}

static void assert_plugin_error(Fixture *f, const char *type, const char *id, PluginState state,
                                const char *text)
{
	const Plugin *p = plugins_lookup(f->set, type, id);

	g_assert_nonnull(p);
	g_assert_cmpint(p->state, ==, state);
	g_assert_cmpstr(p->error->message, ==, text);
}

static char *graph_text(Fixture *f, bool (*disabled)(const char *, void *))
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) graph = plugins_graph(f->set, disabled, NULL, &error);
	GString *text = g_string_new(NULL);

	g_assert_no_error(error);
	for (guint i = 0; i < graph->len; i++)
		g_string_append_printf(text, "%s ", ((Plugin *)graph->pdata[i])->registration->id);
	return g_string_free(text, FALSE);
}

static bool no_c(const char *uri, void *data)
{
	return strcmp(uri, "c.v1.c") == 0;
}

/* upstream: vendor/github.com/containerd/plugin, the cases of its TestContainerdPlugin */
static void test_graph(Fixture *f, const void *data)
{
	const PluginRegistration all[] = {
	        PLUGIN("all.v1", "all", init_ok, REQUIRES("*")),
	        PLUGIN("a.v1", "a", init_ok, REQUIRES("b.v1", "c.v1")),
	        PLUGIN("b.v1", "b1", init_ok, REQUIRES("c.v1")),
	        PLUGIN("b.v1", "b2", init_ok),
	        PLUGIN("c.v1", "c", init_ok),
	        PLUGIN("d.v1", "d", init_ok, REQUIRES("absent.v1")),
	};

	for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
		plugins_register(f->set, &all[i]);
	g_autofree char *with = graph_text(f, NULL);
	g_assert_cmpstr(with, ==, "c b1 b2 a d all ");
	g_autofree char *without = graph_text(f, no_c);
	g_assert_cmpstr(without, ==, "b1 b2 a d all ");
	finish(f);
}

static void test_loop(Fixture *f, const void *data)
{
	const PluginRegistration a = PLUGIN("a.v1", "a", init_ok, REQUIRES("b.v1"));
	const PluginRegistration b = PLUGIN("b.v1", "b", init_ok, REQUIRES("c.v1"));
	const PluginRegistration c = PLUGIN("c.v1", "c", init_ok, REQUIRES("a.v1"));

	plugins_register(f->set, &a);
	plugins_register(f->set, &b);
	plugins_register(f->set, &c);
	assert_init_error(f, "circular plugin dependency at a.v1.a: plugin: dependency loop detected");
	finish(f);
}

static void test_order(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	const PluginRegistration server = PLUGIN(PLUGIN_SERVER, "s", init_ok, REQUIRES("x.v1"),
	                                         .start = start_ok, .close = close_traced);
	const PluginRegistration base =
	        PLUGIN("x.v1", "x", init_ok, .start = start_ok, .close = close_traced);
	const PluginRegistration bad =
	        PLUGIN("y.v1", "y", init_fail, .start = start_ok, .close = close_traced);

	plugins_register(f->set, &server);
	plugins_register(f->set, &base);
	plugins_register(f->set, &bad);
	init_all(f);
	g_assert_true(plugins_start(f->set, &error));
	plugins_close(f->set);
	g_assert_cmpstr(trace->str, ==, "init x\ninit s\nstart x\nstart s\nclose s\nclose x\n");
	plugins_close(f->set); // again does nothing
	g_assert_cmpuint(plugins_all(f->set)->len, ==, 3);
	finish(f);
}

static void test_start_error(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	const PluginRegistration server =
	        PLUGIN(PLUGIN_SERVER, "s", init_ok, .start = start_fail, .close = close_traced);

	plugins_register(f->set, &server);
	init_all(f);
	g_assert_false(plugins_start(f->set, &error));
	g_assert_cmpstr(error->message, ==, "address already in use");
	plugins_close(f->set);
	g_assert_cmpstr(trace->str, ==, "init s\nclose s\n");
	finish(f);
}

static void test_lookup(Fixture *f, const void *data)
{
	const PluginRegistration all[] = {
	        PLUGIN(PLUGIN_SNAPSHOT, "one", init_ok),
	        PLUGIN(PLUGIN_SNAPSHOT, "two", init_ok),
	        PLUGIN(PLUGIN_SNAPSHOT, "broken", init_fail),
	        PLUGIN(PLUGIN_SNAPSHOT, "skipped", init_skip),
	        PLUGIN(PLUGIN_CONTENT, "content", init_ok),
	        PLUGIN(PLUGIN_CONTENT, "skipped", init_skip),
	        PLUGIN(PLUGIN_METADATA, "bolt", init_fail),
	        PLUGIN(PLUGIN_DIFF, "walking", init_ok),
	        PLUGIN(PLUGIN_DIFF, "erofs", init_ok),
	        PLUGIN("t.v1", "single", init_needs_single, REQUIRES(PLUGIN_CONTENT),
	               .data = (void *)PLUGIN_CONTENT),
	        PLUGIN("t.v1", "none", init_needs_single, .data = (void *)PLUGIN_LEASE),
	        PLUGIN("t.v1", "many", init_needs_single, REQUIRES(PLUGIN_DIFF), .data = (void *)PLUGIN_DIFF),
	        PLUGIN("t.v1", "failed", init_needs_single, REQUIRES(PLUGIN_METADATA),
	               .data = (void *)PLUGIN_METADATA),
	        PLUGIN("t.v1", "id", init_needs_id, REQUIRES(PLUGIN_SNAPSHOT), .data = (void *)"two"),
	        PLUGIN("t.v1", "id-none", init_needs_id, REQUIRES(PLUGIN_SNAPSHOT), .data = (void *)"three"),
	        PLUGIN("t.v1", "id-broken", init_needs_id, REQUIRES(PLUGIN_SNAPSHOT),
	               .data = (void *)"broken"),
	        PLUGIN("t.v1", "id-skipped", init_needs_id, REQUIRES(PLUGIN_SNAPSHOT),
	               .data = (void *)"skipped"),
	};

	for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
		plugins_register(f->set, &all[i]);
	init_all(f);
	g_assert_cmpstr(plugins_lookup(f->set, "t.v1", "single")->instance, ==, "content");
	g_assert_cmpstr(plugins_lookup(f->set, "t.v1", "id")->instance, ==, "two");
	assert_plugin_error(f, "t.v1", "none", PLUGIN_FAILED,
	                    "no plugins registered for io.containerd.lease.v1: plugin: not found");
	assert_plugin_error(
	        f, "t.v1", "many", PLUGIN_FAILED,
	        "multiple plugins registered for io.containerd.differ.v1: plugin: multiple instances");
	assert_plugin_error(f, "t.v1", "failed", PLUGIN_FAILED, "bolt is broken: not found");
	assert_plugin_error(
	        f, "t.v1", "id-none", PLUGIN_FAILED,
	        "no plugins registered for io.containerd.snapshotter.v1.three: plugin: not found");
	assert_plugin_error(f, "t.v1", "id-broken", PLUGIN_FAILED, "broken is broken: not found");
	g_assert_true(error_is(plugins_lookup(f->set, "t.v1", "id-broken")->error, CTRD_ERR_NOT_FOUND));
	// A skipped plugin makes the one that asks for it by name skipped too.
	assert_plugin_error(f, "t.v1", "id-skipped", PLUGIN_SKIPPED, "skipped is not wanted: skip plugin");
	finish(f);
}

static void test_required(Fixture *f, const void *data)
{
	const PluginRegistration a = PLUGIN("io.a.v1", "a", init_fail);

	plugins_register(f->set, &a);
	configure(f, "version = 4\nrequired_plugins = ['io.a.v1.a']\n");
	assert_init_error(f, "load required plugin io.a.v1.a: a is broken: not found");
	finish(f);
}

static void test_required_missing(Fixture *f, const void *data)
{
	const PluginRegistration a = PLUGIN("io.a.v1", "a", init_ok);

	plugins_register(f->set, &a);
	configure(f, "version = 4\nrequired_plugins = ['io.b.v1.b', 'io.a.v1.a']\ndisabled_plugins = "
	             "['io.a.v1.a']\n");
	assert_init_error(f, "required plugin [io.b.v1.b io.a.v1.a] not included");
	g_assert_cmpuint(plugins_all(f->set)->len, ==, 0);
	finish(f);
}

static bool init_config(PluginInit *init, void **ret_instance, GError **error)
{
	g_string_append_printf(trace, "%s %s %s %s %s %g\n", plugin_uri(init), plugin_root_dir(init),
	                       plugin_state_dir(init), plugin_grpc_address(init), plugin_ttrpc_address(init),
	                       conf_float(plugin_config(init), "pause_threshold"));
	plugin_add_platform(init, "linux/amd64");
	plugin_add_export(init, "root", "/x");
	plugin_add_capability(init, "c1");
	return true;
}

static void test_context(Fixture *f, const void *data)
{
	const PluginRegistration gc = PLUGIN(PLUGIN_GC, "scheduler", init_config);
	const Plugin *p;

	plugins_register(f->set, &gc);
	configure(f, "version = 4\nroot = '/r'\nstate = '/s'\n[plugins.'io.containerd.gc.v1.scheduler']\n"
	             "pause_threshold = 0.25\n");
	init_all(f);
	g_assert_cmpstr(trace->str, ==,
	                "io.containerd.gc.v1.scheduler /r/io.containerd.gc.v1.scheduler "
	                "/s/io.containerd.gc.v1.scheduler /run/containerd/containerd.sock "
	                "/run/containerd/containerd.sock.ttrpc 0.25\n");
	p = plugins_lookup(f->set, PLUGIN_GC, "scheduler");
	g_assert_cmpstr(p->platforms->pdata[0], ==, "linux/amd64");
	g_assert_cmpstr(strmap_get(p->exports, "root"), ==, "/x");
	g_assert_cmpstr(p->capabilities->pdata[0], ==, "c1");
	finish(f);
}

static void test_bad_section(Fixture *f, const void *data)
{
	const PluginRegistration gc = PLUGIN(PLUGIN_GC, "scheduler", init_config);

	plugins_register(f->set, &gc);
	configure(f, "version = 4\n[plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 'x'\n");
	assert_init_error(f, "invalid configuration of plugin \"io.containerd.gc.v1.scheduler\": c.toml:3: "
	                     "\"pause_threshold\" must be a float, not a string");
	finish(f);
}

/* What validation refuses fails the plugin, not the daemon. */
static void test_invalid_section(Fixture *f, const void *data)
{
	const PluginRegistration cri = PLUGIN(PLUGIN_CRI, "runtime", init_ok);

	plugins_register(f->set, &cri);
	configure(f, "version = 4\n[plugins.'io.containerd.cri.v1.runtime'.containerd]\ndefault_runtime_name "
	             "= ''\n");
	init_all(f);
	assert_plugin_error(f, PLUGIN_CRI, "runtime", PLUGIN_FAILED,
	                    "invalid plugin config: `default_runtime_name` is empty");
	finish(f);
}

static void impl_free(void *impl)
{
	g_string_append_printf(trace, "free %s\n", (char *)impl);
}

static bool init_service(PluginInit *init, void **ret_instance, GError **error)
{
	const RpcService service = {.impl = (void *)plugin_id(init), .impl_free = impl_free};

	plugin_add_service(init, GPOINTER_TO_UINT(plugin_data(init)), &service);
	if (strcmp(plugin_id(init), "failing") == 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "failing");
	return true;
}

static void collect_service(const RpcService *service, void *data)
{
	g_assert_null(service->impl_free);
	g_string_append_printf(data, "%s ", (char *)service->impl);
}

static void test_services(Fixture *f, const void *data)
{
	g_autoptr(GString) names = g_string_new(NULL);
	const PluginRegistration all[] = {
	        PLUGIN(PLUGIN_GRPC, "version", init_service, .data = GUINT_TO_POINTER(PLUGIN_ON_GRPC)),
	        PLUGIN(PLUGIN_GRPC, "failing", init_service, .data = GUINT_TO_POINTER(PLUGIN_ON_GRPC)),
	        PLUGIN(PLUGIN_GRPC, "events", init_service,
	               .data = GUINT_TO_POINTER(PLUGIN_ON_GRPC | PLUGIN_ON_TTRPC)),
	};

	for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
		plugins_register(f->set, &all[i]);
	init_all(f);
	plugins_each_service(f->set, PLUGIN_ON_GRPC, collect_service, names);
	g_string_append(names, "| ");
	plugins_each_service(f->set, PLUGIN_ON_TTRPC, collect_service, names);
	plugins_each_service(f->set, PLUGIN_ON_TCP, collect_service, names);
	g_assert_cmpstr(names->str, ==, "version events | events ");
	plugins_close(f->set);
	g_assert_cmpstr(trace->str, ==, "free failing\nfree events\nfree version\n");
	finish(f);
}

static bool init_readiness(PluginInit *init, void **ret_instance, GError **error)
{
	*ret_instance = plugin_register_readiness(init);
	if (plugin_data(init) != NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "too late");
	return true;
}

static void give_readiness(void *data)
{
	g_usleep(10000);
	plugin_ready(data);
}

static void test_readiness(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	const PluginRegistration a = PLUGIN("a.v1", "a", init_readiness);
	Pool *pool = pool_new("test", 2, 8, 1000000000);

	plugins_register(f->set, &a);
	init_all(f);
	g_autoptr(Cancel) cancel = cancel_new(NULL);
	cancel_trigger(cancel, false);
	g_assert_false(plugins_wait_ready(f->set, cancel, &error));
	g_assert_cmpstr(error->message, ==, "context canceled");
	g_clear_error(&error);
	g_assert_true(pool_submit(pool, give_readiness, plugins_lookup(f->set, "a.v1", "a")->instance));
	g_assert_true(plugins_wait_ready(f->set, NULL, &error));
	pool_free(pool);
	finish(f);
}

static void test_readiness_failed(Fixture *f, const void *data)
{
	const PluginRegistration a = PLUGIN("a.v1", "a", init_readiness, .data = (void *)"fail");

	plugins_register(f->set, &a);
	assert_init_error(f, "plugin failed after registering readiness a.v1.a: too late");
	finish(f);
}

static bool init_proxy(PluginInit *init, void **ret_instance, GError **error)
{
	g_string_append_printf(trace, "%s at %s\n", plugin_uri(init), plugin_proxy_address(init));
	return true;
}

static const PluginProxyKind kinds[] = {
        {PLUGIN_SNAPSHOT, "snapshot", init_proxy, NULL},
        {PLUGIN_CONTENT, "content", init_proxy, NULL},
};

static void test_proxies(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	unsigned warnings = log_count_warnings();

	configure(f, "version = 4\n[proxy_plugins.stargz]\ntype = 'snapshot'\naddress = '/s.sock'\n"
	             "platform = 'linux/arm64'\ncapabilities = ['a', 'b']\nexports = {root = '/stargz'}\n"
	             "[proxy_plugins.far]\ntype = 'io.containerd.content.v1'\naddress = '/c.sock'\nplatform "
	             "= 'a/b/c/d'\n"
	             "[proxy_plugins.odd]\ntype = 'sandwich'\n");
	g_assert_true(plugins_register_proxies(f->set, f->config, kinds, G_N_ELEMENTS(kinds), &error));
	init_all(f);
	g_assert_cmpuint(log_count_warnings() - warnings, ==, 2);
	g_assert_cmpstr(
	        trace->str, ==,
	        "io.containerd.snapshotter.v1.stargz at /s.sock\nio.containerd.content.v1.far at /c.sock\n");
	const Plugin *p = plugins_lookup(f->set, PLUGIN_SNAPSHOT, "stargz");
	g_assert_cmpstr(strmap_get(p->exports, "root"), ==, "/stargz");
	g_assert_cmpstr(strmap_get(p->exports, "address"), ==, "/s.sock");
	g_assert_cmpstr(p->platforms->pdata[0], ==, "linux/arm64");
	g_assert_cmpuint(p->capabilities->len, ==, 2);
	finish(f);
}

static void test_proxy_names(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	const PluginRegistration a = PLUGIN(PLUGIN_SNAPSHOT, "overlayfs", init_ok);

	plugins_register(f->set, &a);
	configure(f, "version = 4\n[proxy_plugins.overlayfs]\ntype = 'snapshot'\n");
	g_assert_false(plugins_register_proxies(f->set, f->config, kinds, G_N_ELEMENTS(kinds), &error));
	g_assert_cmpstr(error->message, ==,
	                "io.containerd.snapshotter.v1.overlayfs: plugin: id already registered");
	finish(f);
}

static void test_unknown_section(Fixture *f, const void *data)
{
	unsigned warnings = log_count_warnings();

	configure(f, "version = 4\n[plugins.'io.containerd.snapshotter.v1.overlay']\nroot_path = '/x'\n"
	             "[plugins.'io.containerd.snapshotter.v1.native']\nroot_path = '/x'\n");
	init_all(f);
	g_assert_cmpuint(log_count_warnings() - warnings, ==, 1);
	finish(f);
}

static void test_skip_text(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;

	g_assert_false(plugin_skip(&error, NULL));
	g_assert_cmpstr(error->message, ==, "skip plugin");
	g_assert_true(plugin_error_is_skip(error));
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_UNKNOWN);
	g_assert_false(plugin_error_is_skip(NULL));
	finish(f);
}

/* ---- reload ---- */

static const ConfigKey reload_table[] = {{"path", CONFIG_STRING}, {.name = NULL}};
static const ConfigKey reload_keys[] = {
        {"interval", CONFIG_DURATION, "'10s'"},
        {"fixed", CONFIG_INT},
        {"table", CONFIG_TABLE, .keys = reload_table},
        {.name = NULL},
};

static bool even_only(TomlValue *view, GPtrArray *deprecations, GError **error)
{
	return conf_int(view, "fixed") % 2 == 0 ||
	       error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "fixed is odd");
}

static const ConfigSchema reload_schema = {.uri = "r.v1.r", .keys = reload_keys, .validate = even_only};
static const ConfigSchema broken_schema = {.uri = "s.v1.s", .keys = reload_keys};

static bool reload_traced(void *instance, const PluginReload *fresh, GError **error)
{
	g_string_append_printf(trace, "reload %s %d %s %d\n", (char *)instance,
	                       (int)(conf_duration(fresh->view, "interval") / 1000000000),
	                       conf_string(fresh->view, "table.path"),
	                       (int)(config_timeout(fresh->config, "a.b") / 1000000000));
	return strcmp(conf_string(fresh->view, "table.path"), "/bad") != 0 ||
	       error_set(error, CTRD_ERR_UNKNOWN, "no such directory");
}

static char *joined(GPtrArray *keys)
{
	g_ptr_array_add(keys, NULL);
	return g_strjoinv(" ", (char **)keys->pdata);
}

/* Reloads with this configuration, which is then the old one. */
static void assert_reload(Fixture *f, Config **old, const char *text, const char *applied,
                          const char *restart, const char *failed)
{
	g_autoptr(GError) error = NULL;
	g_auto(PluginReloadResult) result = {0};
	g_autoptr(Config) fresh = config_new();
	const char *const own[] = {"debug.level", NULL};

	g_assert_true(config_load_data(fresh, text, strlen(text), "c.toml", &error));
	g_assert_true(plugins_reload(f->set, *old, fresh, own, &result, &error));
	g_assert_no_error(error);
	g_autofree char *a = joined(result.applied), *r = joined(result.restart), *x = joined(result.failed);
	g_assert_cmpstr(a, ==, applied);
	g_assert_cmpstr(r, ==, restart);
	g_assert_cmpstr(x, ==, failed);
	config_free(*old);
	*old = g_steal_pointer(&fresh);
}

static void assert_bad_reload(Fixture *f, Config *old, const char *text, const char *message)
{
	g_autoptr(GError) error = NULL;
	g_auto(PluginReloadResult) result = {0};
	g_autoptr(Config) fresh = config_new();

	g_assert_true(config_load_data(fresh, text, strlen(text), "c.toml", &error));
	g_assert_false(plugins_reload(f->set, old, fresh, NULL, &result, &error));
	g_assert_cmpstr(error->message, ==, message);
}

static void test_reload(Fixture *f, const void *data)
{
	const char *const claims[] = {"interval", "table", NULL}, *const top[] = {"timeouts.a", NULL};
	const PluginRegistration r =
	        PLUGIN("r.v1", "r", init_ok, .reload = reload_traced, .reload_keys = claims,
	               .reload_top_keys = top, .schema = &reload_schema);
	const PluginRegistration broken = PLUGIN("s.v1", "s", init_fail, .reload = reload_traced,
	                                         .reload_keys = claims, .schema = &broken_schema);
	Config *old = config_new();

	plugins_register(f->set, &r);
	plugins_register(f->set, &broken);
	init_all(f);
	g_string_truncate(trace, 0);
	// Nothing has changed: nobody is called.
	assert_reload(f, &old, "version = 4", "", "", "");
	g_assert_cmpstr(trace->str, ==, "");
	// Keys of the section and of the top level, in one call; what nobody names needs a restart.
	assert_reload(
	        f, &old,
	        "version = 4\nroot = '/r'\n[debug]\nlevel = 'debug'\n[timeouts]\n'a.b' = '7s'\n"
	        "[plugins.'r.v1.r']\ninterval = '3s'\nfixed = 2\ntable.path = '/x'\n[plugins.nobody]\nk = 1",
	        "debug.level plugins.r.v1.r.interval plugins.r.v1.r.table.path timeouts.a.b",
	        "plugins.r.v1.r.fixed root plugins.nobody.k", "");
	g_assert_cmpstr(trace->str, ==, "reload r 3 /x 7\n");
	// The same default written out is no change.
	g_string_truncate(trace, 0);
	assert_reload(f, &old,
	              "version = 4\n[plugins.'r.v1.r']\ninterval = '3s'\ntable.path = '/bad'\nfixed = 0\n",
	              "debug.level", "plugins.r.v1.r.fixed root plugins.nobody.k",
	              "plugins.r.v1.r.table.path timeouts.a.b");
	// What failed is tried again, although the file is the same.
	assert_reload(f, &old,
	              "version = 4\n[plugins.'r.v1.r']\ninterval = '3s'\ntable.path = '/bad'\nfixed = 0\n",
	              "", "", "");
	assert_reload(f, &old, "version = 4\n[plugins.'r.v1.r']\ninterval = '3s'\n",
	              "plugins.r.v1.r.table.path", "", "");
	g_assert_cmpstr(trace->str, ==, "reload r 3 /bad 1\nreload r 3 /bad 1\nreload r 3  1\n");
	// A mistake anywhere changes nothing anywhere.
	g_string_truncate(trace, 0);
	assert_bad_reload(f, old, "version = 4\n[plugins.'r.v1.r']\ninterval = '4s'\nfixed = 3\n",
	                  "invalid configuration of plugin \"r.v1.r\": fixed is odd: invalid argument");
	assert_bad_reload(
	        f, old, "version = 4\n[plugins.'r.v1.r']\ninterval = '4s'\n[plugins.'s.v1.s']\nfixed = 'x'\n",
	        "invalid configuration of plugin \"s.v1.s\": c.toml:5: \"fixed\" must be an integer, "
	        "not a string");
	g_assert_cmpstr(trace->str, ==, "");
	config_free(old);
	finish(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/plugin/" name, Fixture, NULL, fixture_setup, fn, fixture_teardown)
	ADD("graph", test_graph);
	ADD("loop", test_loop);
	ADD("order", test_order);
	ADD("start-error", test_start_error);
	ADD("lookup", test_lookup);
	ADD("required", test_required);
	ADD("required-missing", test_required_missing);
	ADD("context", test_context);
	ADD("bad-section", test_bad_section);
	ADD("invalid-section", test_invalid_section);
	ADD("services", test_services);
	ADD("readiness", test_readiness);
	ADD("readiness-failed", test_readiness_failed);
	ADD("proxies", test_proxies);
	ADD("proxy-names", test_proxy_names);
	ADD("unknown-section", test_unknown_section);
	ADD("skip-text", test_skip_text);
	ADD("reload", test_reload);
	return g_test_run();
}
