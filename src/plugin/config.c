// SPDX-License-Identifier: Apache-2.0
#include "plugin/config.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "base/util.h"
#include "plugin/config-private.h"
#include <glob.h>
#include <string.h>

/* Against imports that match more and more files. */
#define MAX_FILES 1024

#define END                                                                                                  \
	{                                                                                                    \
		.name = NULL                                                                                 \
	}

static const ConfigKey debug_keys[] = {
        {"level", CONFIG_STRING},
        {"format", CONFIG_STRING},
        {"log_trace_id", CONFIG_BOOL},
        {"address", CONFIG_STRING, .omit_empty = true},
        {"uid", CONFIG_INT, .omit_empty = true},
        {"gid", CONFIG_INT, .omit_empty = true},
        END,
};

static const ConfigKey cgroup_keys[] = {{"path", CONFIG_STRING}, END};

static const ConfigKey proxy_keys[] = {
        {"type", CONFIG_STRING},        {"address", CONFIG_STRING},       {"platform", CONFIG_STRING},
        {"exports", CONFIG_STRING_MAP}, {"capabilities", CONFIG_STRINGS}, END,
};

static const ConfigKey stream_processor_keys[] = {
        {"accepts", CONFIG_STRINGS}, {"returns", CONFIG_STRING}, {"path", CONFIG_STRING},
        {"args", CONFIG_STRINGS},    {"env", CONFIG_STRINGS},    END,
};

static const ConfigKey grpc_keys[] = {
        {"address", CONFIG_STRING, .omit_empty = true},
        {"tcp_address", CONFIG_STRING, .omit_empty = true},
        {"tcp_tls_ca", CONFIG_STRING, .omit_empty = true},
        {"tcp_tls_cert", CONFIG_STRING, .omit_empty = true},
        {"tcp_tls_key", CONFIG_STRING, .omit_empty = true},
        {"uid", CONFIG_INT, .omit_empty = true},
        {"gid", CONFIG_INT, .omit_empty = true},
        {"max_recv_message_size", CONFIG_INT, .omit_empty = true},
        {"max_send_message_size", CONFIG_INT, .omit_empty = true},
        {"tcp_tls_common_name", CONFIG_STRING, .omit_empty = true},
        END,
};

static const ConfigKey ttrpc_keys[] = {
        {"address", CONFIG_STRING, .omit_empty = true},
        {"uid", CONFIG_INT, .omit_empty = true},
        {"gid", CONFIG_INT, .omit_empty = true},
        END,
};

static const ConfigKey metrics_keys[] = {
        {"address", CONFIG_STRING, .omit_empty = true},
        {"grpc_histogram", CONFIG_BOOL, .omit_empty = true},
        END,
};

#define OCICRYPT(suffix, accepts, returns)                                                                   \
	"'io.containerd.ocicrypt.decoder.v1." suffix "' = {accepts = ['" accepts "'], returns = '" returns   \
	"', path = 'ctd-decoder', args = ['--decryption-keys-path', '/etc/containerd/ocicrypt/keys'], "      \
	"env = ['OCICRYPT_KEYPROVIDER_CONFIG=/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf']}"

#define LAYER "application/vnd.oci.image.layer.v1.tar"

const ConfigKey config_keys[] = {
        {"version", CONFIG_INT, "4"},
        {"root", CONFIG_STRING, "'" CONFIG_DEFAULT_ROOT "'"},
        {"state", CONFIG_STRING, "'" CONFIG_DEFAULT_STATE "'"},
        {"temp", CONFIG_STRING},
        {"debug", CONFIG_TABLE, .keys = debug_keys},
        {"disabled_plugins", CONFIG_STRINGS},
        {"required_plugins", CONFIG_STRINGS},
        {"plugins", CONFIG_ANY_MAP,
         "{'io.containerd.server.v1.grpc' = {address = '" CONFIG_DEFAULT_ADDRESS
         "', max_recv_message_size = 16777216, max_send_message_size = 16777216}}"},
        {"oom_score", CONFIG_INT},
        {"cgroup", CONFIG_TABLE, .keys = cgroup_keys},
        {"proxy_plugins", CONFIG_TABLE_MAP, .keys = proxy_keys},
        {"timeouts", CONFIG_STRING_MAP},
        {"imports", CONFIG_STRINGS, "['" CONFIG_DEFAULT_IMPORTS "']"},
        {"stream_processors", CONFIG_TABLE_MAP,
         "{" OCICRYPT("tar.gzip", LAYER "+gzip+encrypted",
                      LAYER "+gzip") ", " OCICRYPT("tar", LAYER "+encrypted", LAYER) "}",
         .keys = stream_processor_keys},
        {"grpc", CONFIG_TABLE, .keys = grpc_keys, .omit_empty = true},
        {"ttrpc", CONFIG_TABLE, .keys = ttrpc_keys, .omit_empty = true},
        {"metrics", CONFIG_TABLE, .keys = metrics_keys, .omit_empty = true},
        END,
};

static const struct {
	const char *key, *value;
	int64_t ns;
} default_timeouts[] = {
        {"io.containerd.timeout.bolt.open", "0s", 0},
        {"io.containerd.timeout.cri.defercleanup", "1m0s", 60 * NS_PER_SEC},
        {"io.containerd.timeout.metrics.shimstats", "2s", 2 * NS_PER_SEC},
        {"io.containerd.timeout.shim.cleanup", "5s", 5 * NS_PER_SEC},
        {"io.containerd.timeout.shim.load", "5s", 5 * NS_PER_SEC},
        {"io.containerd.timeout.shim.shutdown", "3s", 3 * NS_PER_SEC},
        {"io.containerd.timeout.task.state", "2s", 2 * NS_PER_SEC},
};

/* Ours, which have no default: what is not set is the library's choice (daemon/plugins-transfer.c). */
static const char *const further_timeouts[] = {"io.containerd.timeout.registry.dial",
                                               "io.containerd.timeout.registry.response",
                                               "io.containerd.timeout.registry.stall"};

Config *config_new(void)
{
	Config *config = g_new0(Config, 1);

	config->view = schema_defaults(config_keys);
	config->warnings = g_ptr_array_new_with_free_func(g_free);
	return config;
}

void config_free(Config *config)
{
	if (config == NULL)
		return;
	toml_free(config->view);
	g_ptr_array_unref(config->warnings);
	g_free(config);
}

const GPtrArray *config_warnings(const Config *config)
{
	return config->warnings;
}

void config_add_warning(Config *config, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	g_ptr_array_add(config->warnings, g_strdup_vprintf(format, ap));
	va_end(ap);
}

TomlValue *config_view(const Config *config)
{
	return config->view;
}

/* ---- merging ---- */

static void merge_strings(TomlValue *dst, const TomlValue *src)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

	for (size_t i = 0; i < toml_size(dst); i++)
		g_hash_table_add(seen, (char *)toml_string(toml_at(dst, i)));
	for (size_t i = 0; i < toml_size(src); i++) {
		if (g_hash_table_add(seen, (char *)toml_string(toml_at(src, i))))
			toml_append(dst, toml_copy(toml_at(src, i)));
	}
}

/* Sections of plugins: tables deeply, everything else overwrites. */
static void merge_any(TomlValue *dst, const TomlValue *src)
{
	for (size_t i = 0; i < toml_size(src); i++) {
		TomlValue *old = toml_get_typed(dst, toml_key_at(src, i), TOML_TABLE);

		if (old != NULL && toml_type(toml_at(src, i)) == TOML_TABLE)
			merge_any(old, toml_at(src, i));
		else
			toml_set(dst, toml_key_at(src, i), toml_copy(toml_at(src, i)));
	}
}

/* [timeouts], [proxy_plugins], [stream_processors]: an entry is replaced whole. */
static void merge_map(const ConfigKey *key, TomlValue *dst, const TomlValue *src)
{
	const ConfigKey one[] = {{key->name, key->type, .keys = key->keys}, END};

	if (toml_is_empty(src))
		return;
	g_autoptr(TomlValue) fresh = toml_new_table();
	g_autoptr(TomlValue) over = toml_new_table();

	toml_set(over, key->name, toml_copy(src));
	schema_apply(one, fresh, over);
	TomlValue *from = toml_get(fresh, key->name), *to = toml_get(dst, key->name);
	if (to == NULL) {
		to = toml_new_table();
		toml_set(dst, key->name, to);
	}
	for (size_t i = 0; i < toml_size(from); i++)
		toml_set(to, toml_key_at(from, i), toml_copy(toml_at(from, i)));
}

static void merge(const ConfigKey *keys, TomlValue *dst, const TomlValue *src)
{
	for (const ConfigKey *key = keys; key->name != NULL; key++) {
		const TomlValue *v = toml_get(src, key->name);

		if (v == NULL)
			continue;
		if (key->type == CONFIG_TABLE)
			merge(key->keys, toml_get(dst, key->name), v);
		else if (key->type == CONFIG_ANY_MAP)
			merge_any(toml_get(dst, key->name), v);
		else if (key->type == CONFIG_STRINGS)
			merge_strings(toml_get(dst, key->name), v);
		else if (key->type == CONFIG_STRING_MAP || key->type == CONFIG_TABLE_MAP)
			merge_map(key, dst, v);
		else if (!toml_is_empty(v))
			toml_set(dst, key->name, toml_copy(v));
	}
}

/* ---- loading ---- */

static void warn_unknown(const TomlValue *where, const char *key, const char *nearest, void *data)
{
	g_autofree char *place = toml_where(where);

	if (nearest != NULL)
		config_add_warning(data, "ignoring unknown key %s at %s, did you mean %s?", Q(key), place,
		                   Q(nearest));
	else
		config_add_warning(data, "ignoring unknown key %s at %s", Q(key), place);
}

/* What a set of files has in common. */
typedef struct {
	Config *config;
	int64_t root_version;
} Load;

static int64_t version_of(const TomlValue *table)
{
	const TomlValue *version = toml_get(table, "version");

	return version != NULL ? toml_integer(version) : 0;
}

/* Parses, checks, migrates and merges one document; *ret_imports gets its imports (may be NULL). */
static bool load_document(Load *load, const char *data, size_t len, const char *file, char ***ret_imports,
                          GError **error)
{
	g_autoptr(TomlValue) doc = toml_parse(data, len, file, error);

	if (doc == NULL)
		return error_prefix(error, "failed to unmarshal TOML");
	g_autoptr(TomlValue) table = schema_check(config_keys, doc, "", warn_unknown, load->config, error);
	if (table == NULL)
		return error_prefix(error, "failed to unmarshal TOML");
	int64_t version = version_of(table);
	if (version < 0)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "failed to load TOML from %s: containerd config version `%" G_GINT64_FORMAT
		                 "` is negative",
		                 file, version);
	if (load->root_version == 0)
		load->root_version = version;
	if (version > load->root_version)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "drop-in config version %" G_GINT64_FORMAT
		                 " higher than root config version %" G_GINT64_FORMAT,
		                 version, load->root_version);
	if (version > CONFIG_VERSION)
		return error_set(
		        error, CTRD_ERR_UNKNOWN,
		        "failed to load TOML from %s: expected containerd config version equal to or "
		        "less than `%d`, got `%" G_GINT64_FORMAT "`",
		        file, CONFIG_VERSION, version);
	if (version < CONFIG_VERSION) {
		if (!config_migrate(table, load->config, error))
			return false;
		config_add_warning(load->config,
		                   "configuration %s migrated from version %" G_GINT64_FORMAT
		                   ", use `containerd config migrate` to avoid migration",
		                   file, version);
	}
	merge(config_keys, load->config->view, table);
	if (ret_imports != NULL)
		*ret_imports = toml_get(table, "imports") != NULL ? conf_strings(table, "imports")
		                                                  : g_new0(char *, 1);
	return true;
}

static bool check_uris(const Config *config, const char *key, const char *what, const char *file,
                       GError **error)
{
	g_auto(GStrv) uris = conf_strings(config->view, key);

	for (size_t i = 0; uris[i] != NULL; i++) {
		if (strchr(uris[i], '.') == NULL)
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "failed to load TOML from %s: invalid %s plugin URI %s expect "
			                 "io.containerd.x.vx",
			                 file, what, Q(uris[i]));
	}
	return true;
}

/* A timeout that nobody asks for is most often a misspelt one. */
static void warn_timeouts(Config *config, const TomlValue *table)
{
	const TomlValue *timeouts = conf_table(table, "timeouts");
	const char *known[G_N_ELEMENTS(default_timeouts) + G_N_ELEMENTS(further_timeouts)];

	for (size_t i = 0; i < G_N_ELEMENTS(default_timeouts); i++)
		known[i] = default_timeouts[i].key;
	for (size_t i = 0; i < G_N_ELEMENTS(further_timeouts); i++)
		known[G_N_ELEMENTS(default_timeouts) + i] = further_timeouts[i];
	for (size_t i = 0; timeouts != NULL && i < toml_size(timeouts); i++) {
		const char *key = toml_key_at(timeouts, i);
		const char *nearest = nearest_word(known, G_N_ELEMENTS(known), key);

		if (nearest != NULL && strcmp(nearest, key) == 0)
			continue;
		config_add_warning(config, "ignoring unknown timeout %s%s%s%s", Q(key),
		                   nearest != NULL ? ", did you mean " : "", nearest != NULL ? nearest : "",
		                   nearest != NULL ? "?" : "");
	}
}

static bool check_loaded(Config *config, const char *file, GError **error)
{
	warn_timeouts(config, config->view);
	return check_uris(config, "disabled_plugins", "disabled", file, error) &&
	       check_uris(config, "required_plugins", "required", file, error);
}

bool config_load_data(Config *config, const char *data, size_t len, const char *file, GError **error)
{
	Load load = {.config = config};

	return load_document(&load, data, len, file, NULL, error) && check_loaded(config, file, error);
}

/* Adds the files that a pattern means to the queue; sorted, hidden ones too, as Go's filepath.Glob. */
static void add_glob(GQueue *pending, const char *pattern)
{
	glob_t matches = {0};

	if (glob(pattern, GLOB_PERIOD, NULL, &matches) == 0) {
		for (size_t i = 0; i < matches.gl_pathc; i++) {
			g_autofree char *base = g_path_get_basename(matches.gl_pathv[i]);

			if (strcmp(base, ".") != 0 && strcmp(base, "..") != 0)
				g_queue_push_tail(pending, g_strdup(matches.gl_pathv[i]));
		}
	}
	globfree(&matches);
}

static void add_imports(GQueue *pending, const char *parent, char *const *imports)
{
	g_autofree char *dir = g_path_get_dirname(parent);

	for (size_t i = 0; imports[i] != NULL; i++) {
		g_autofree char *clean = path_clean(imports[i]);
		g_autofree char *joined = clean[0] == '/' ? g_strdup(clean) : path_join(dir, clean);
		g_autofree char *path = path_clean(joined);

		if (strchr(path, '*') != NULL)
			add_glob(pending, path);
		else
			g_queue_push_tail(pending, g_steal_pointer(&path));
	}
}

static bool load_files(Load *load, GQueue *pending, GError **error)
{
	g_autoptr(GHashTable) loaded = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	while (!g_queue_is_empty(pending)) {
		g_autofree char *path = g_queue_pop_head(pending);
		g_autofree char *data = NULL;
		g_auto(GStrv) imports = NULL;
		size_t len = 0;

		if (!g_hash_table_add(loaded, g_strdup(path)))
			continue;
		if (g_hash_table_size(loaded) > MAX_FILES)
			return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
			                 "imports name more than %d files", MAX_FILES);
		if (!file_read(path, TOML_MAX_SIZE, &data, &len, error)) {
			load->config->missing_file = !path_exists(path);
			return false;
		}
		if (!load_document(load, data, len, path, &imports, error))
			return false;
		add_imports(pending, path, imports);
	}
	return true;
}

bool config_load(Config *config, const char *path, GError **error)
{
	Load load = {.config = config};
	GQueue pending = G_QUEUE_INIT;

	g_queue_push_tail(&pending, g_strdup(path));
	bool ok = load_files(&load, &pending, error);
	g_queue_clear_full(&pending, g_free);
	return ok && check_loaded(config, path, error);
}

bool config_file_missing(const Config *config)
{
	return config->missing_file;
}

/* ---- asking ---- */

void config_set_string(Config *config, const char *key, const char *value)
{
	toml_set(config->view, key, toml_new_string(value));
}

TomlValue *config_plugin_section(const Config *config, const char *uri)
{
	return toml_get(conf_table(config->view, "plugins"), uri);
}

/* A string in the section of a plugin; NULL where there is none or it is empty. */
static const char *section_string(const Config *config, const char *uri, const char *key)
{
	const TomlValue *section = config_plugin_section(config, uri);

	if (section == NULL || toml_type(section) != TOML_TABLE)
		return NULL;
	const TomlValue *v = toml_get_typed(section, key, TOML_STRING);
	return v != NULL && !toml_is_empty(v) ? toml_string(v) : NULL;
}

#define GRPC_URI "io.containerd.server.v1.grpc"
#define TTRPC_URI "io.containerd.server.v1.ttrpc"

bool config_set_address(Config *config, const char *address, GError **error)
{
	TomlValue *plugins = conf_table(config->view, "plugins");
	TomlValue *grpc = toml_get(plugins, GRPC_URI);

	if (grpc == NULL) {
		grpc = toml_new_table();
		toml_set(plugins, GRPC_URI, grpc);
	} else if (toml_type(grpc) != TOML_TABLE) {
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "grpc plugin has invalid configuration");
	}
	toml_set(grpc, "address", toml_new_string(address));
	if (toml_get(plugins, TTRPC_URI) != NULL)
		return true;
	TomlValue *ttrpc = toml_new_table();
	g_autofree char *ttrpc_address = g_strdup_printf("%s.ttrpc", address);
	toml_set(plugins, TTRPC_URI, ttrpc);
	toml_set(ttrpc, "address", toml_new_string(ttrpc_address));
	for (const char *const *key = (const char *const[]){"uid", "gid", NULL}; *key != NULL; key++) {
		const TomlValue *id = toml_get(grpc, *key);

		if (id != NULL)
			toml_set(ttrpc, *key, toml_copy(id));
	}
	return true;
}

char *config_grpc_address(const Config *config)
{
	return g_strdup(str_or(section_string(config, GRPC_URI, "address"), CONFIG_DEFAULT_ADDRESS));
}

char *config_ttrpc_address(const Config *config)
{
	return g_strdup(
	        str_or(section_string(config, TTRPC_URI, "address"), CONFIG_DEFAULT_ADDRESS ".ttrpc"));
}

bool config_is_disabled(const Config *config, const char *uri)
{
	g_auto(GStrv) disabled = conf_strings(config->view, "disabled_plugins");

	return g_strv_contains((const char *const *)disabled, uri);
}

typedef struct {
	Config *config;
	const char *uri;
} PluginWarn;

static void warn_plugin(const TomlValue *where, const char *key, const char *nearest, void *data)
{
	const PluginWarn *w = data;
	g_autofree char *place = toml_where(where);

	if (nearest != NULL)
		config_add_warning(w->config, "ignoring unknown key %s of plugin %s at %s, did you mean %s?",
		                   Q(key), Q(w->uri), place, Q(nearest));
	else
		config_add_warning(w->config, "ignoring unknown key %s of plugin %s at %s", Q(key), Q(w->uri),
		                   place);
}

TomlValue *config_decode_plugin(Config *config, const ConfigSchema *schema, GError **error)
{
	PluginWarn w = {.config = config, .uri = schema->uri};
	TomlValue *view = schema_decode(schema->keys, config_plugin_section(config, schema->uri), "",
	                                warn_plugin, &w, error);

	if (view == NULL)
		error_prefix(error, "invalid configuration of plugin %s", Q(schema->uri));
	return view;
}

int64_t config_timeout(const Config *config, const char *key)
{
	const TomlValue *timeouts = conf_table(config->view, "timeouts");
	const TomlValue *v = timeouts != NULL ? toml_get(timeouts, key) : NULL;
	int64_t ns = 0;

	if (v != NULL && duration_parse(toml_string(v), &ns, NULL))
		return ns;
	for (size_t i = 0; i < G_N_ELEMENTS(default_timeouts); i++) {
		if (strcmp(default_timeouts[i].key, key) == 0)
			return default_timeouts[i].ns;
	}
	return NS_PER_SEC;
}

bool config_check_timeouts(const Config *config, GError **error)
{
	const TomlValue *timeouts = conf_table(config->view, "timeouts");
	int64_t ns;

	for (size_t i = 0; timeouts != NULL && i < toml_size(timeouts); i++) {
		const char *text = toml_string(toml_at(timeouts, i));

		if (!duration_parse(text, &ns, NULL))
			return error_set(error, CTRD_ERR_UNKNOWN, "unable to parse %s into a time duration",
			                 text);
	}
	return true;
}

/* ---- writing and comparing ---- */

static void add_default_timeouts(TomlValue *view)
{
	TomlValue *timeouts = conf_table(view, "timeouts");

	if (timeouts == NULL) {
		timeouts = toml_new_table();
		toml_set(view, "timeouts", timeouts);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(default_timeouts); i++) {
		const TomlValue *v = toml_get(timeouts, default_timeouts[i].key);

		if (v == NULL || toml_is_empty(v))
			toml_set(timeouts, default_timeouts[i].key,
			         toml_new_string(default_timeouts[i].value));
	}
}

bool config_dump(Config *config, GString *out, GError **error)
{
	g_autoptr(TomlValue) view = toml_copy(config->view);
	TomlValue *plugins = conf_table(view, "plugins");
	size_t n = 0;
	const ConfigSchema *const *schemas = config_schemas(&n);

	// First the sections as written are sorted, then those that are declared get their own order.
	toml_sort(plugins, true);
	for (size_t i = 0; i < n; i++) {
		if (config_is_disabled(config, schemas[i]->uri))
			continue;
		TomlValue *section = config_decode_plugin(config, schemas[i], error);
		if (section == NULL)
			return false;
		schema_prepare_write(schemas[i]->keys, section);
		toml_set(plugins, schemas[i]->uri, section);
	}
	toml_sort(plugins, false);
	toml_set(view, "version", toml_new_integer(CONFIG_VERSION));
	add_default_timeouts(view);
	g_autoptr(TomlValue) keep = toml_steal(view, "plugins"); // ordered already
	toml_set(view, "plugins", toml_new_table());
	schema_prepare_write(config_keys, view);
	toml_set(view, "plugins", g_steal_pointer(&keep));
	toml_write(out, view);
	return true;
}

static void diff_tables(const TomlValue *a, const TomlValue *b, const char *path, GPtrArray *keys);

static void diff_values(const TomlValue *a, const TomlValue *b, const char *path, GPtrArray *keys)
{
	bool table_a = a != NULL && toml_type(a) == TOML_TABLE;
	bool table_b = b != NULL && toml_type(b) == TOML_TABLE;

	if ((table_a || a == NULL) && (table_b || b == NULL))
		diff_tables(a, b, path, keys);
	else if (a == NULL || b == NULL || !toml_equal(a, b))
		g_ptr_array_add(keys, g_strdup(path));
}

/* NULL is a table without keys. */
static void diff_tables(const TomlValue *a, const TomlValue *b, const char *path, GPtrArray *keys)
{
	for (size_t i = 0; a != NULL && i < toml_size(a); i++) {
		const char *key = toml_key_at(a, i);
		g_autofree char *sub = path[0] != '\0' ? g_strdup_printf("%s.%s", path, key) : g_strdup(key);

		diff_values(toml_at(a, i), b != NULL ? toml_get(b, key) : NULL, sub, keys);
	}
	for (size_t i = 0; b != NULL && i < toml_size(b); i++) {
		const char *key = toml_key_at(b, i);
		g_autofree char *sub = path[0] != '\0' ? g_strdup_printf("%s.%s", path, key) : g_strdup(key);

		if (a == NULL || toml_get(a, key) == NULL)
			diff_values(NULL, toml_at(b, i), sub, keys);
	}
}

GPtrArray *config_diff_tables(const TomlValue *a, const TomlValue *b)
{
	GPtrArray *keys = g_ptr_array_new_with_free_func(g_free);

	diff_tables(a, b, "", keys);
	return keys;
}

GPtrArray *config_diff(const Config *a, const Config *b)
{
	return config_diff_tables(a->view, b->view);
}
