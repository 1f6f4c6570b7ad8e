// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "base/util.h"
#include "plugin/config.h"
#include <glib/gstdio.h>
#include <string.h>

/* A directory with files that goes away. */
typedef struct {
	char *path;
} Dir;

static Dir dir_new(void)
{
	g_autoptr(GError) error = NULL;
	Dir d = {.path = g_dir_make_tmp("test-config-XXXXXX", &error)};

	g_assert_no_error(error);
	return d;
}

static void dir_clear(Dir *d)
{
	g_autoptr(GError) error = NULL;

	tree_remove(d->path, &error);
	g_assert_no_error(error);
	g_free(d->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Dir, dir_clear)

/* Returns the path, owned by the caller. */
static char *write_file(const Dir *d, const char *name, const char *text)
{
	g_autoptr(GError) error = NULL;
	char *path = path_join(d->path, name);

	file_write_atomic(path, text, strlen(text), 0600, false, &error);
	g_assert_no_error(error);
	return path;
}

static Config *load(const char *path)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Config) config = config_new();

	config_load(config, path, &error);
	g_assert_no_error(error);
	return g_steal_pointer(&config);
}

static Config *load_text(const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Config) config = config_new();

	config_load_data(config, text, strlen(text), "c.toml", &error);
	g_assert_no_error(error);
	return g_steal_pointer(&config);
}

static void assert_load_error(const char *path, const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Config) config = config_new();

	g_assert_false(config_load(config, path, &error));
	g_assert_cmpstr(error->message, ==, text);
}

/* Compares a list with "a,b". */
static void assert_list(const TomlValue *view, const char *path, const char *expected)
{
	g_auto(GStrv) strings = conf_strings(view, path);
	g_autofree char *joined = g_strjoinv(",", strings);

	g_assert_cmpstr(joined, ==, expected);
}

/* Compares a section of a plugin, as written. */
static void assert_section(const Config *config, const char *uri, const char *expected)
{
	TomlValue *section = config_plugin_section(config, uri);
	g_autoptr(GString) text = g_string_new(NULL);

	g_assert_nonnull(section);
	g_autoptr(TomlValue) sorted = toml_copy(section);
	toml_sort(sorted, true);
	toml_write(text, sorted);
	g_assert_cmpstr(text->str, ==, expected);
}

static void assert_warning(const Config *config, guint i, const char *expected)
{
	g_assert_cmpuint(config_warnings(config)->len, >, i);
	g_assert_cmpstr(config_warnings(config)->pdata[i], ==, expected);
}

static void test_defaults(void)
{
	g_autoptr(Config) c = config_new();
	g_autofree char *grpc = config_grpc_address(c), *ttrpc = config_ttrpc_address(c);

	g_assert_cmpstr(conf_string(config_view(c), "root"), ==, "/var/lib/containerd");
	g_assert_cmpstr(conf_string(config_view(c), "state"), ==, "/run/containerd");
	g_assert_cmpint(conf_int(config_view(c), "version"), ==, 4);
	assert_list(config_view(c), "imports", "/etc/containerd/conf.d/*.toml");
	g_assert_cmpstr(grpc, ==, "/run/containerd/containerd.sock");
	g_assert_cmpstr(ttrpc, ==, "/run/containerd/containerd.sock.ttrpc");
	g_assert_cmpuint(config_warnings(c)->len, ==, 0);
}

/* upstream: TestMergeConfigs */
static void test_merge(void)
{
	g_auto(Dir) d = dir_new();
	g_autofree char *a =
	        write_file(&d, "a.toml",
	                   "version = 4\nroot = 'old_root'\nstate = 'old_state'\noom_score = 1\n"
	                   "required_plugins = ['io.containerd.old_plugin.v1']\n"
	                   "disabled_plugins = ['io.containerd.old_plugin.v1']\n"
	                   "imports = ['b.toml']\n"
	                   "[debug]\nlevel = 'debug'\nformat = 'json'\n"
	                   "[timeouts]\na = '1'\n[stream_processors.1]\npath = '2'\nreturns = '4'\n"
	                   "[stream_processors.2]\npath = '5'\n"
	                   "[proxy_plugins.x]\ntype = 'snapshot'\naddress = '/x'\n"
	                   "[plugins.'io.x']\nlist = [1]\nkept = 1\nzero = 5\n"
	                   "t.a = 1\nt.b = 1\nscalar = 1\n");
	g_autofree char *b =
	        write_file(&d, "b.toml",
	                   "version = 4\nroot = 'new_root'\nstate = ''\noom_score = 0\n"
	                   "required_plugins = ['io.containerd.new1.v1', 'io.containerd.old_plugin.v1']\n"
	                   "disabled_plugins = ['io.containerd.old_plugin.v1']\n"
	                   "[debug]\nlevel = 'info'\n"
	                   "[timeouts]\nb = '2'\n[stream_processors.1]\npath = '3'\n"
	                   "[proxy_plugins.x]\ntype = 'content'\n"
	                   "[plugins.'io.x']\nlist = []\nzero = 0\nt.b = 2\nscalar = {now = 'table'}\n");
	g_autoptr(Config) c = load(a);
	const TomlValue *view = config_view(c);

	g_assert_cmpstr(conf_string(view, "root"), ==, "new_root");
	g_assert_cmpstr(conf_string(view, "state"), ==, "old_state");
	g_assert_cmpint(conf_int(view, "oom_score"), ==, 1);
	assert_list(view, "required_plugins", "io.containerd.old_plugin.v1,io.containerd.new1.v1");
	assert_list(view, "disabled_plugins", "io.containerd.old_plugin.v1");
	g_assert_cmpstr(conf_string(view, "debug.level"), ==, "info");
	g_assert_cmpstr(conf_string(view, "debug.format"), ==, "json");
	g_assert_cmpstr(conf_string(view, "timeouts.a"), ==, "1");
	g_assert_cmpstr(conf_string(view, "timeouts.b"), ==, "2");
	g_assert_cmpstr(conf_string(view, "stream_processors.1.path"), ==, "3");
	g_assert_cmpstr(conf_string(view, "stream_processors.1.returns"), ==, ""); // replaced whole
	g_assert_cmpstr(conf_string(view, "stream_processors.2.path"), ==, "5");
	g_assert_cmpstr(conf_string(view, "proxy_plugins.x.address"), ==, "");
	assert_section(
	        c, "io.x",
	        "kept = 1\nlist = []\nzero = 0\n\n[scalar]\n  now = 'table'\n\n[t]\n  a = 1\n  b = 2\n");
	g_assert_true(config_is_disabled(c, "io.containerd.old_plugin.v1"));
	g_assert_false(config_is_disabled(c, "io.containerd.old_plugin"));
}

/* upstream: TestResolveImports, TestLoadConfigWithImports, TestLoadConfigWithCircularImports */
static void test_imports(void)
{
	g_auto(Dir) d = dir_new();
	g_autofree char *sub = path_join(d.path, "sub");
	g_assert_cmpint(g_mkdir(sub, 0700), ==, 0);
	g_autofree char *root = write_file(&d, "root.toml",
	                                   "version = 4\nimports = ['sub/*.toml', './nothing-*.toml', "
	                                   "'./root.toml', 'sub/../last.toml']\n"
	                                   "required_plugins = ['io.r']\n");
	g_autofree char *f1 = write_file(&d, "sub/2.toml", "version = 4\nrequired_plugins = ['io.2']\n");
	g_autofree char *f2 = write_file(&d, "sub/1.toml",
	                                 "version = 4\nrequired_plugins = ['io.1']\nimports = ['2.toml', "
	                                 "'deep.inc', '../root.toml']\n");
	g_autofree char *f3 =
	        write_file(&d, "sub/.hidden.toml", "version = 4\nrequired_plugins = ['io.h']\n");
	g_autofree char *f4 = write_file(&d, "sub/deep.inc", "version = 4\nrequired_plugins = ['io.d']\n");
	g_autofree char *f5 = write_file(&d, "last.toml", "version = 4\nrequired_plugins = ['io.l']\n");
	g_autoptr(Config) c = load(root);

	assert_list(config_view(c), "required_plugins", "io.r,io.h,io.1,io.2,io.l,io.d");
	assert_list(config_view(c), "imports",
	            "/etc/containerd/conf.d/*.toml,sub/*.toml,./nothing-*.toml,./root.toml,sub/../last.toml,"
	            "2.toml,deep.inc,../root.toml");

	g_autofree char *missing = write_file(&d, "missing.toml", "version = 4\nimports = ['absent.toml']\n");
	g_autofree char *text = g_strdup_printf("open %s/absent.toml: no such file or directory", d.path);
	assert_load_error(missing, text);
	g_autoptr(Config) partial = config_new();
	g_assert_false(config_load(partial, missing, NULL));
	g_assert_true(config_file_missing(partial));
	assert_load_error("/nonexistent/c.toml", "open /nonexistent/c.toml: no such file or directory");
}

/* upstream: TestLoadConfigWithImportsWithHigerVersion, ValidateVersion */
static void test_versions(void)
{
	g_auto(Dir) d = dir_new();
	g_autofree char *a = write_file(&d, "a.toml", "version = 2\nimports = ['b.toml']\n");
	g_autofree char *b = write_file(&d, "b.toml", "version = 3\n");
	g_autofree char *five = write_file(&d, "5.toml", "version = 5\n");
	g_autofree char *negative = write_file(&d, "n.toml", "version = -1\n");
	g_autofree char *bare = write_file(&d, "bare.toml", "version = 4\ndisabled_plugins = ['cri']\n");
	g_autofree char *bare2 = write_file(&d, "bare2.toml", "version = 4\nrequired_plugins = ['cri']\n");
	g_autofree char *five_text = g_strdup_printf("failed to load TOML from %s: expected containerd "
	                                             "config version equal to or less than `4`, got `5`",
	                                             five);
	g_autofree char *negative_text = g_strdup_printf(
	        "failed to load TOML from %s: containerd config version `-1` is negative", negative);
	g_autofree char *bare_text = g_strdup_printf(
	        "failed to load TOML from %s: invalid disabled plugin URI \"cri\" expect io.containerd.x.vx",
	        bare);
	g_autofree char *bare2_text = g_strdup_printf(
	        "failed to load TOML from %s: invalid required plugin URI \"cri\" expect io.containerd.x.vx",
	        bare2);

	assert_load_error(a, "drop-in config version 3 higher than root config version 2");
	assert_load_error(five, five_text);
	assert_load_error(negative, negative_text);
	assert_load_error(bare, bare_text);
	assert_load_error(bare2, bare2_text);
}

static void test_errors(void)
{
	static const char *const cases[][2] = {
	        {"root = ",
	         "failed to unmarshal TOML: c.toml:1:8: expected a value, found the end of the document"},
	        {"version = 4\nroot = 5",
	         "failed to unmarshal TOML: c.toml:2: \"root\" must be a string, not an integer"},
	        {"version = '2'",
	         "failed to unmarshal TOML: c.toml:1: \"version\" must be an integer, not a string"},
	        {"[plugins]\n[debug]\nlevel = 1",
	         "failed to unmarshal TOML: c.toml:3: \"debug.level\" must be a string, not an integer"},
	        {"plugins = 1",
	         "failed to unmarshal TOML: c.toml:1: \"plugins\" must be a table, not an integer"},
	        {"[timeouts]\nx = 5",
	         "failed to unmarshal TOML: c.toml:2: \"timeouts.x\" must be a string, not an integer"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(Config) config = config_new();

		g_assert_false(config_load_data(config, cases[i][0], strlen(cases[i][0]), "c.toml", &error));
		g_assert_cmpstr(error->message, ==, cases[i][1]);
	}
}

static void test_unknown_keys(void)
{
	g_autoptr(Config) c = load_text("version = 4\nroots = 'x'\nqqq = 1\n[debug]\nlevl = 'x'\n"
	                                "[plugins.'io.containerd.server.v1.grpc']\nadress = '/x'\n");

	g_assert_cmpuint(config_warnings(c)->len, ==, 3);
	assert_warning(c, 0, "ignoring unknown key \"roots\" at c.toml:2, did you mean \"root\"?");
	assert_warning(c, 1, "ignoring unknown key \"qqq\" at c.toml:3");
	assert_warning(c, 2, "ignoring unknown key \"debug.levl\" at c.toml:5, did you mean \"level\"?");

	g_autoptr(GError) error = NULL;
	g_autoptr(TomlValue) view =
	        config_decode_plugin(c, config_schema("io.containerd.server.v1.grpc"), &error);
	g_assert_no_error(error);
	assert_warning(
	        c, 3,
	        "ignoring unknown key \"adress\" of plugin \"io.containerd.server.v1.grpc\" at c.toml:7, "
	        "did you mean \"address\"?");
	g_assert_cmpstr(conf_string(view, "address"), ==, "/run/containerd/containerd.sock");
	g_assert_cmpint(conf_int(view, "uid"), ==, geteuid());
}

static void test_decode_errors(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Config) c =
	        load_text("version = 4\n[plugins.'io.containerd.server.v1.grpc']\nuid = 'root'\n"
	                  "[plugins]\n'io.containerd.gc.v1.scheduler' = 5\n");

	g_assert_null(config_decode_plugin(c, config_schema("io.containerd.server.v1.grpc"), &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "invalid configuration of plugin \"io.containerd.server.v1.grpc\": c.toml:3: \"uid\" must "
	        "be an integer, not a string");
	g_clear_error(&error);
	g_assert_null(config_decode_plugin(c, config_schema("io.containerd.gc.v1.scheduler"), &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "invalid configuration of plugin \"io.containerd.gc.v1.scheduler\": c.toml:5: \"\" must "
	        "be a table, not an integer");
}

static void test_address(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Config) c = load_text("version = 4\n[plugins.'io.containerd.server.v1.grpc']\nuid = 5\n");

	g_assert_true(config_set_address(c, "/a.sock", &error));
	g_autofree char *grpc = config_grpc_address(c), *ttrpc = config_ttrpc_address(c);
	g_assert_cmpstr(grpc, ==, "/a.sock");
	g_assert_cmpstr(ttrpc, ==, "/a.sock.ttrpc");
	assert_section(c, "io.containerd.server.v1.ttrpc", "address = '/a.sock.ttrpc'\nuid = 5\n");

	g_autoptr(Config) own =
	        load_text("version = 4\n[plugins.'io.containerd.server.v1.ttrpc']\naddress = '/t'\n");
	g_assert_true(config_set_address(own, "/a.sock", &error));
	g_autofree char *kept = config_ttrpc_address(own);
	g_assert_cmpstr(kept, ==, "/t");

	g_autoptr(Config) bad = load_text("version = 4\n[plugins]\n'io.containerd.server.v1.grpc' = 1\n");
	g_assert_false(config_set_address(bad, "/a.sock", &error));
	g_assert_cmpstr(error->message, ==, "grpc plugin has invalid configuration: invalid argument");
}

static void test_timeouts(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Config) c =
	        load_text("version = 4\n[timeouts]\n'io.containerd.timeout.shim.load' = '7s'\nx = '1m'\n");

	g_assert_true(config_check_timeouts(c, &error));
	g_assert_cmpint(config_timeout(c, "io.containerd.timeout.shim.load"), ==, 7 * NS_PER_SEC);
	g_assert_cmpint(config_timeout(c, "io.containerd.timeout.shim.shutdown"), ==, 3 * NS_PER_SEC);
	g_assert_cmpint(config_timeout(c, "io.containerd.timeout.bolt.open"), ==, 0);
	g_assert_cmpint(config_timeout(c, "x"), ==, 60 * NS_PER_SEC);
	g_assert_cmpint(config_timeout(c, "y"), ==, NS_PER_SEC);
	g_autoptr(Config) bad = load_text("version = 4\n[timeouts]\nx = 'soon'\n");
	g_assert_false(config_check_timeouts(bad, &error));
	g_assert_cmpstr(error->message, ==, "unable to parse soon into a time duration");
}

/* upstream: TestLoadConfigWithDefaultConfigVersion, TestDecodePluginInV1Config, v1MigratePluginName */
static void test_migrate_names(void)
{
	g_autoptr(Config) c = load_text(
	        "disabled_plugins = ['cri', 'diff-service', 'windows', 'foo', 'io.containerd.x.v1.y']\n"
	        "required_plugins = ['bolt']\n[plugins.task]\nshim_debug = true\n"
	        "[plugins.cgroups]\nno_prometheus = true\n[plugins.restart]\ninterval = '60s'\n");

	assert_list(config_view(c), "disabled_plugins",
	            "io.containerd.grpc.v1.cri,io.containerd.service.v1.diff-service,"
	            "io.containerd.snapshotter.v1.windows,io.containerd.grpc.v1.foo,io.containerd.x.v1.y");
	assert_list(config_view(c), "required_plugins", "io.containerd.metadata.v1.bolt");
	assert_section(c, "io.containerd.runtime.v2.task", "shim_debug = true\n");
	assert_section(c, "io.containerd.monitor.task.v1.cgroups", "no_prometheus = true\n");
	assert_section(c, "io.containerd.monitor.container.v1.restart", "interval = '60s'\n");
	g_assert_null(config_plugin_section(c, "io.containerd.monitor.v1.cgroups"));
	assert_warning(
	        c, 0,
	        "Ambiguous windows plugin in v1 config, treating as io.containerd.snapshotter.v1.windows");
	assert_warning(c, 1, "Ambiguous foo plugin in v1 config, treating as io.containerd.grpc.v1.foo");
	assert_warning(
	        c, 2,
	        "configuration c.toml migrated from version 0, use `containerd config migrate` to avoid "
	        "migration");
	g_assert_cmpint(conf_int(config_view(c), "version"), ==, 4);
}

static void test_migrate_shim(void)
{
	g_autoptr(Config) c =
	        load_text("version = 2\n[plugins.'io.containerd.runtime.v2.task']\nsched_core = true\n"
	                  "platforms = []\n[plugins.'io.containerd.shim.v1.manager']\nenv = ['A=1']\n");
	assert_section(c, "io.containerd.shim.v1.manager", "env = ['A=1', 'SCHED_CORE=1']\n");
	assert_section(c, "io.containerd.runtime.v2.task", "platforms = []\n");

	g_autoptr(Config) off =
	        load_text("version = 2\n[plugins.'io.containerd.runtime.v2.task']\nsched_core = 1\n");
	g_assert_null(config_plugin_section(off, "io.containerd.shim.v1.manager"));
	assert_warning(off, 0, "skipping migration for non-boolean 'sched_core' value at c.toml:3");
}

static void test_migrate_cri(void)
{
	g_autoptr(Config) c =
	        load_text("version = 2\n[plugins.'io.containerd.grpc.v1.cri']\n"
	                  "sandbox_image = 'pause:1'\nstream_server_port = '10'\n"
	                  "max_container_log_line_size = 5\nmax_concurrent_downloads = 9\n"
	                  "[plugins.'io.containerd.grpc.v1.cri'.x509_key_pair_streaming]\n"
	                  "tls_key_file = 'k'\n"
	                  "[plugins.'io.containerd.grpc.v1.cri'.containerd]\n"
	                  "snapshotter = 'native'\ndefault_runtime_name = 'kata'\n"
	                  "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.kata]\n"
	                  "runtime_type = 'io.containerd.kata.v2'\nsandbox_mode = 'shim'\n"
	                  "[plugins.'io.containerd.grpc.v1.cri'.cni]\nbin_dir = '/cni'\nmax_conf_num = 2\n"
	                  "[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/certs'\n");

	assert_section(c, "io.containerd.grpc.v1.cri",
	               "stream_server_port = '10'\n\n[x509_key_pair_streaming]\n  tls_key_file = 'k'\n");
	assert_section(c, "io.containerd.cri.v1.images",
	               "max_concurrent_downloads = 9\nsnapshotter = 'native'\n\n[pinned_images]\n"
	               "  sandbox = 'pause:1'\n\n[registry]\n  config_path = '/certs'\n");
	assert_section(
	        c, "io.containerd.cri.v1.runtime",
	        "max_container_log_line_size = 5\n\n[cni]\n  bin_dirs = ['/cni']\n  max_conf_num = 2\n\n"
	        "[containerd]\n  default_runtime_name = 'kata'\n\n  [containerd.runtimes]\n"
	        "    [containerd.runtimes.kata]\n      runtime_type = 'io.containerd.kata.v2'\n"
	        "      sandboxer = 'shim'\n");
}

/* upstream: TestServiceMigrate */
/* The registry keys of every version, under the names of their times, come to the same. */
static void test_migrate_registry(void)
{
	static const char *const texts[] = {
	        "[plugins.cri.registry.mirrors.'docker.io']\nendpoint = ['https://m']\n",
	        "version = 1\n[plugins.cri.registry.mirrors.'docker.io']\nendpoint = ['https://m']\n",
	        "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry.mirrors.'docker.io']\nendpoint = "
	        "['https://m']\n",
	        "version = 2\n[plugins.cri.registry.mirrors.'docker.io']\nendpoint = ['https://m']\n"
	        "[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'x'\n",
	        "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry.mirrors.'docker.io']\nendpoint "
	        "= "
	        "['https://m']\n",
	        "version = 4\n[plugins.'io.containerd.cri.v1.images'.registry.mirrors.'docker.io']\nendpoint "
	        "= "
	        "['https://m']\n",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autoptr(Config) c = load_text(texts[i]);
		g_autoptr(TomlValue) view =
		        config_decode_plugin(c, config_schema("io.containerd.cri.v1.images"), NULL);
		TomlValue *mirrors = conf_table(view, "registry.mirrors");
		g_assert_nonnull(mirrors);
		g_auto(GStrv) endpoints = conf_strings(toml_get(mirrors, "docker.io"), "endpoint");
		g_assert_cmpstr(endpoints[0], ==, "https://m");
	}
}

static void test_migrate_servers(void)
{
	g_autoptr(Config) c =
	        load_text("version = 3\n[debug]\naddress = '/d'\nuid = 1000\n[grpc]\naddress = "
	                  "'/g'\ntcp_address = '1.2.3.4:5'\n"
	                  "tcp_tls_ca = '/ca'\ntcp_tls_common_name = 'n'\nmax_recv_message_size = 1\n"
	                  "[ttrpc]\naddress = '/t'\nuid = 500\ngid = 500\n[metrics]\naddress = "
	                  "'1.2.3.4:9'\ngrpc_histogram = true\n");

	assert_section(c, "io.containerd.server.v1.debug", "address = '/d'\ngid = 0\nuid = 1000\n");
	assert_section(c, "io.containerd.server.v1.grpc",
	               "address = '/g'\ngid = 0\nmax_recv_message_size = 1\nmax_send_message_size = "
	               "16777216\nuid = 0\n");
	assert_section(
	        c, "io.containerd.server.v1.grpc-tcp",
	        "address = '1.2.3.4:5'\nmax_recv_message_size = 1\ntls_ca = '/ca'\ntls_common_name = 'n'\n");
	assert_section(c, "io.containerd.server.v1.ttrpc", "address = '/t'\ngid = 500\nuid = 500\n");
	assert_section(c, "io.containerd.server.v1.metrics", "address = '1.2.3.4:9'\n");
	assert_section(c, "io.containerd.metrics.v1.grpc-prometheus", "grpc_histogram = true\n");
	g_assert_cmpstr(conf_string(config_view(c), "grpc.address"), ==, "");
	g_assert_cmpstr(conf_string(config_view(c), "debug.address"), ==, "");

	g_autoptr(Config) derived =
	        load_text("version = 3\n[grpc]\naddress = '/g'\nuid = 7\n[ttrpc]\ngid = 8\n");
	assert_section(derived, "io.containerd.server.v1.ttrpc", "address = '/g.ttrpc'\ngid = 8\nuid = 7\n");

	g_autoptr(Config) sizes = load_text("version = 3\n[grpc]\nmax_send_message_size = 5\n");
	assert_section(sizes, "io.containerd.server.v1.grpc",
	               "address = '/run/containerd/containerd.sock'\nmax_recv_message_size = 16777216\n"
	               "max_send_message_size = 5\n");
	g_assert_null(config_plugin_section(sizes, "io.containerd.server.v1.ttrpc"));

	g_autoptr(Config) kept =
	        load_text("version = 3\n[grpc]\naddress = "
	                  "'/g'\n[plugins.'io.containerd.server.v1.grpc']\naddress = '/own'\n");
	g_autofree char *address = config_grpc_address(kept);
	g_assert_cmpstr(address, ==, "/own");

	g_autoptr(Config) empty = load_text("version = 3\n");
	g_assert_null(config_plugin_section(empty, "io.containerd.server.v1.debug"));
	g_assert_null(config_plugin_section(empty, "io.containerd.server.v1.ttrpc"));
}

/* Sections that are no tables must not bring the migration down. */
static void test_migrate_hostile(void)
{
	g_autoptr(Config) c = load_text("version = 1\n[plugins]\ncri = 1\ntask = []\nrestart = 'x'\n");
	g_autoptr(Config) d =
	        load_text("version = 2\n[plugins.'io.containerd.grpc.v1.cri']\ncni = 1\ncontainerd = 'x'\n"
	                  "[plugins.'io.containerd.cri.v1.images']\npinned_images = 5\n");
	g_autoptr(Config) e = load_text(
	        "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 5\n"
	        "containerd.runtimes = [1]\n[plugins.'io.containerd.grpc.v1.cri'.cni]\nbin_dir = 5\n");

	g_assert_nonnull(c);
	g_assert_nonnull(d);
	assert_section(d, "io.containerd.cri.v1.runtime", "");
	assert_section(e, "io.containerd.cri.v1.images", "[pinned_images]\n  sandbox = 5\n");
}

static void test_dump_round_trip(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Config) c = load_text(
	        "version = 3\nroot = '/r'\n[grpc]\naddress = '/g'\n[plugins.'io.unknown']\nb = 1\na = 2\n"
	        "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.crun]\nruntime_type = 'x'\n");
	g_autoptr(GString) once = g_string_new(NULL);
	g_autoptr(GString) twice = g_string_new(NULL);

	g_assert_true(config_dump(c, once, &error));
	g_autoptr(Config) again = load_text(once->str);
	g_assert_cmpuint(config_warnings(again)->len, ==, 0);
	g_assert_true(config_dump(again, twice, &error));
	g_assert_cmpstr(once->str, ==, twice->str);
	g_assert_nonnull(strstr(once->str, "  [plugins.'io.unknown']\n    a = 2\n    b = 1\n"));
	g_assert_nonnull(strstr(once->str, "\n[timeouts]\n  'io.containerd.timeout.bolt.open' = '0s'\n"));
	g_assert_true(g_str_has_prefix(once->str,
	                               "version = 4\nroot = '/r'\nstate = '/run/containerd'\ntemp = ''\n"
	                               "disabled_plugins = []\nrequired_plugins = []\noom_score = 0\n"
	                               "imports = ['/etc/containerd/conf.d/*.toml']\n\n[debug]\n"));
	g_assert_null(strstr(once->str, "[grpc]"));
}

static void validate(const char *uri, const char *doc, char **ret_text, guint *ret_n)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = g_strdup_printf("version = 4\n%s", doc);
	g_autoptr(Config) c = load_text(text);
	const ConfigSchema *schema = config_schema(uri);
	g_autoptr(TomlValue) view = config_decode_plugin(c, schema, &error);
	g_autoptr(GPtrArray) deprecations = g_ptr_array_new();

	g_assert_no_error(error);
	bool ok = schema->validate(view, deprecations, &error);
	*ret_text = ok ? NULL : g_strdup(error->message);
	*ret_n = deprecations->len;
}

static void test_validate_cri(void)
{
#define RT "io.containerd.cri.v1.runtime"
#define IM "io.containerd.cri.v1.images"
	static const struct {
		const char *uri, *doc, *text;
		guint deprecations;
	} cases[] = {
	        {RT, "", NULL, 0},
	        {RT, "[plugins.'" RT "'.containerd]\ndefault_runtime_name = ''",
	         "invalid plugin config: `default_runtime_name` is empty"},
	        {RT, "[plugins.'" RT "'.containerd]\ndefault_runtime_name = 'crun'",
	         "invalid plugin config: no corresponding runtime configured in `containerd.runtimes` for "
	         "`containerd` "
	         "`default_runtime_name = \"crun\""},
	        {RT, "[plugins.'" RT "'.cni]\nbin_dir = '/x'", NULL, 1},
	        {RT, "[plugins.'" RT "'.cni]\nbin_dir = '/x'\nbin_dirs = ['/y']",
	         "invalid plugin config: `cni.bin_dir` and `cni.bin_dirs` cannot be set at the same time", 1},
	        {RT, "[plugins.'" RT "'.containerd.runtimes.runc]\nio_type = 'pipe'",
	         "invalid plugin config: `io_type` can only be `streaming` or `named_pipe`"},
	        {RT,
	         "[plugins.'" RT
	         "'.containerd.runtimes.runc]\nprivileged_without_host_devices_all_devices_allowed = true",
	         "invalid plugin config: `privileged_without_host_devices_all_devices_allowed` requires "
	         "`privileged_without_host_devices` to be enabled"},
	        {RT, "[plugins.'" RT "']\ndrain_exec_sync_io_timeout = 'x'",
	         "invalid plugin config: invalid `drain_exec_sync_io_timeout`: time: invalid duration \"x\""},
	        {RT, "[plugins.'" RT "']\nenable_cdi = false", NULL, 1},
	        {IM, "", NULL, 0},
	        {IM, "[plugins.'" IM "'.registry.mirrors.x]\n[plugins.'" IM "'.registry.auths.x]\nauth = ''",
	         NULL, 2},
	        {IM, "[plugins.'" IM "'.registry]\nconfig_path = '/x'\n[plugins.'" IM "'.registry.mirrors.x]",
	         "invalid cri image config: `mirrors` cannot be set when `config_path` is provided: write "
	         "[host.\"https://mirror.example\"] into /x/x/hosts.toml instead of what stands at c.toml:4"},
	        {IM,
	         "[plugins.'" IM "'.registry]\nconfig_path = '/x:/y'\n[plugins.'" IM
	         "'.registry.mirrors.'*']\nendpoint = ['https://m']",
	         "invalid cri image config: `mirrors` cannot be set when `config_path` is provided: write "
	         "[host.\"https://m\"] into /x/_default/hosts.toml instead of what stands at c.toml:4"},
	        {IM,
	         "[plugins.'" IM "'.registry]\nconfig_path = '/x'\n[plugins.'" IM
	         "'.registry.configs.r.tls]\nca_file = 'c'",
	         "invalid cri image config: `configs.tls` cannot be set when `config_path` is provided: "
	         "write ca, "
	         "client or skip_verify into /x/r/hosts.toml instead of what stands at c.toml:4"},
	        {IM, "[plugins.'" IM "'.registry.configs.r.tls]\nca_file = 'c'", NULL, 1},
	        {IM, "[plugins.'" IM "']\nimage_pull_progress_timeout = '5'",
	         "invalid cri image config: invalid image pull progress timeout: time: missing unit in "
	         "duration \"5\""},
	        {"io.containerd.grpc.v1.cri",
	         "[plugins.'io.containerd.grpc.v1.cri']\nstream_idle_timeout = 'x'",
	         "invalid cri image config: invalid stream idle timeout: time: invalid duration \"x\""},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = NULL;
		guint n = 0;

		validate(cases[i].uri, cases[i].doc, &text, &n);
		g_assert_cmpstr(text, ==, cases[i].text);
		g_assert_cmpuint(n, ==, cases[i].deprecations);
	}
}

static void test_diff(void)
{
	g_autoptr(Config) a = load_text("version = 4\n[debug]\nlevel = 'info'\n[plugins.x]\na = 1\nb = 1\n");
	g_autoptr(Config) b =
	        load_text("version = 4\nroot = '/r'\n[debug]\nlevel = 'debug'\n[plugins.x]\na = 1\nc = 1\n");
	g_autoptr(GPtrArray) keys = config_diff(a, b);

	g_ptr_array_add(keys, NULL);
	g_autofree char *joined = g_strjoinv(" ", (char **)keys->pdata);
	g_assert_cmpstr(joined, ==, "root debug.level plugins.x.b plugins.x.c");
	g_autoptr(GPtrArray) none = config_diff(a, a);
	g_assert_cmpuint(none->len, ==, 0);
}

static void test_unknown_timeouts(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Config) c = config_new();
	const char *text =
	        "version = 4\n[timeouts]\n'io.containerd.timeout.task.state' = '1s'\n"
	        "'io.containerd.timeout.registry.stall' = '1s'\n'io.containerd.timeout.shim.lode' = '1s'\n"
	        "'x' = '1s'\n";

	g_assert_true(config_load_data(c, text, strlen(text), "c.toml", &error));
	g_assert_no_error(error);
	g_assert_cmpuint(config_warnings(c)->len, ==, 2);
	g_assert_cmpstr(config_warnings(c)->pdata[0], ==,
	                "ignoring unknown timeout \"io.containerd.timeout.shim.lode\", did you mean "
	                "io.containerd.timeout.shim.load?");
	g_assert_cmpstr(config_warnings(c)->pdata[1], ==, "ignoring unknown timeout \"x\"");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/config/defaults", test_defaults);
	g_test_add_func("/config/merge", test_merge);
	g_test_add_func("/config/imports", test_imports);
	g_test_add_func("/config/versions", test_versions);
	g_test_add_func("/config/errors", test_errors);
	g_test_add_func("/config/unknown-keys", test_unknown_keys);
	g_test_add_func("/config/decode-errors", test_decode_errors);
	g_test_add_func("/config/address", test_address);
	g_test_add_func("/config/timeouts", test_timeouts);
	g_test_add_func("/config/unknown-timeouts", test_unknown_timeouts);
	g_test_add_func("/config/migrate/names", test_migrate_names);
	g_test_add_func("/config/migrate/shim", test_migrate_shim);
	g_test_add_func("/config/migrate/cri", test_migrate_cri);
	g_test_add_func("/config/migrate/registry", test_migrate_registry);
	g_test_add_func("/config/migrate/servers", test_migrate_servers);
	g_test_add_func("/config/migrate/hostile", test_migrate_hostile);
	g_test_add_func("/config/dump-round-trip", test_dump_round_trip);
	g_test_add_func("/config/validate-cri", test_validate_cri);
	g_test_add_func("/config/diff", test_diff);
	return g_test_run();
}
