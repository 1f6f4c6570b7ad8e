// SPDX-License-Identifier: Apache-2.0
#include "ctr/cni.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/process.h"
#include "base/time.h"
#include "base/util.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CONF_DIR "/etc/cni/net.d"
#define PLUGIN_DIRS "/opt/cni/bin:/usr/lib/cni"
#define IFNAME "eth0"
#define PLUGIN_TIMEOUT (60 * NS_PER_SEC)
#define CONF_MAX (1024 * 1024)

struct CtrCni {
	char *path; // of plugins
	char *name, *version;
	JsonObject *list;    // holds what plugins borrows
	GPtrArray *plugins;  // of JsonObject*
	JsonObject *results; // what the last plugin of an Add said, NULL: nothing
};

/* ---- the configuration ---- */

static int by_text(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* *.conflist, *.conf and *.json, sorted by name as libcni does. */
static GPtrArray *conf_files(const char *dir)
{
	GPtrArray *files = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GDir) d = g_dir_open(dir, 0, NULL);
	const char *name;
	while (d != NULL && (name = g_dir_read_name(d)) != NULL)
		if (g_str_has_suffix(name, ".conflist") || g_str_has_suffix(name, ".conf") ||
		    g_str_has_suffix(name, ".json"))
			g_ptr_array_add(files, g_build_filename(dir, name, NULL));
	g_ptr_array_sort(files, by_text);
	return files;
}

static bool load(CtrCni *cni, const char *path, GError **error)
{
	g_autofree char *text = NULL;
	size_t len = 0;
	if (!file_read(path, CONF_MAX, &text, &len, error))
		return false;
	cni->list = json_parse(text, len, CONF_MAX, error);
	if (cni->list == NULL)
		return error_prefix(error, "error parsing configuration list");
	cni->name = g_strdup(json_get_string(cni->list, "name"));
	cni->version = g_strdup(str_or(json_get_string(cni->list, "cniVersion"), "0.2.0"));
	JsonObject *plugins = json_get_array(cni->list, "plugins");
	if (plugins == NULL && json_get_string(cni->list, "type") != NULL)
		g_ptr_array_add(cni->plugins, cni->list); // a single plugin, not a list
	for (size_t i = 0; plugins != NULL && i < json_object_array_length(plugins); i++)
		g_ptr_array_add(cni->plugins, json_object_array_get_idx(plugins, i));
	if (str_empty(cni->name))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "error parsing configuration list: no name");
	if (cni->plugins->len == 0)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "error parsing configuration list: no plugins in list");
	return true;
}

CtrCni *ctr_cni_new(GError **error)
{
	const char *dir = str_or(g_getenv("NETCONFPATH"), CONF_DIR);
	g_autoptr(GPtrArray) files = conf_files(dir);
	if (files->len == 0) {
		error_set(error, CTRD_ERR_NOT_FOUND,
		          "cni plugin not initialized: no network config found in %s: cni plugin not "
		          "initialized",
		          dir);
		return NULL;
	}
	g_autoptr(CtrCni) cni = g_new0(CtrCni, 1);
	cni->path = g_strdup(str_or(g_getenv("CNI_PATH"), PLUGIN_DIRS));
	cni->plugins = g_ptr_array_new();
	if (!load(cni, files->pdata[0], error)) {
		error_prefix(error, "failed to load CNI config file %s", (char *)files->pdata[0]);
		return NULL;
	}
	return g_steal_pointer(&cni);
}

void ctr_cni_free(CtrCni *cni)
{
	if (cni == NULL)
		return;
	g_free(cni->path);
	g_free(cni->name);
	g_free(cni->version);
	g_clear_pointer(&cni->plugins, g_ptr_array_unref);
	g_clear_pointer(&cni->list, json_object_put);
	g_clear_pointer(&cni->results, json_object_put);
	g_free(cni);
}

/* ---- calling plugins ---- */

static char *find_plugin(const CtrCni *cni, const char *type, GError **error)
{
	g_auto(GStrv) dirs = g_strsplit(cni->path, ":", -1);
	for (char **d = dirs; *d != NULL && type != NULL && strchr(type, '/') == NULL; d++) {
		g_autofree char *path = g_build_filename(*d, type, NULL);
		if (access(path, X_OK) == 0)
			return g_steal_pointer(&path);
	}
	error_set(error, CTRD_ERR_NOT_FOUND, "failed to find plugin %s in path [%s]", Q(str_or(type, "")),
	          cni->path);
	return NULL;
}

/* The plugin's own section, with what the list adds. */
static char *plugin_input(const CtrCni *cni, JsonObject *plugin)
{
	g_autofree char *text = json_to_text(plugin);
	g_autoptr(JsonObject) conf = json_parse(text, strlen(text), 0, NULL);
	json_set_string(conf, "name", cni->name);
	json_set_string(conf, "cniVersion", cni->version);
	if (cni->results != NULL)
		json_set(conf, "prevResult", json_object_get(cni->results));
	return json_to_text(conf);
}

/* A plugin says what went wrong as JSON on stdout. */
static bool plugin_failed(const char *type, const char *command, const ProcessResult *r, GError **error)
{
	g_autoptr(JsonObject) said = json_parse(r->out, r->out_len, 0, NULL);
	const char *msg = said != NULL ? json_get_string(said, "msg") : NULL;
	const char *details = said != NULL ? json_get_string(said, "details") : NULL;
	g_autofree char *status = process_status_text(r->status);
	g_autofree char *lower = g_ascii_strdown(command, -1);
	return error_set(error, CTRD_ERR_UNKNOWN, "plugin type=%s failed (%s): %s%s%s", Q(type), lower,
	                 msg != NULL ? msg : (*r->err != '\0' ? r->err : status),
	                 str_empty(details) ? "" : "; ", str_or(details, ""));
}

static bool call(CtrCni *cni, JsonObject *plugin, const char *command, const char *id, const char *netns,
                 GError **error)
{
	const char *type = json_get_string(plugin, "type");
	g_autofree char *binary = find_plugin(cni, type, error);
	if (binary == NULL)
		return false;
	g_autofree char *input = plugin_input(cni, plugin);
	g_autoptr(GBytes) in = g_bytes_new(input, strlen(input));
	g_auto(GStrv) env = g_get_environ();
	env = g_environ_setenv(env, "CNI_COMMAND", command, TRUE);
	env = g_environ_setenv(env, "CNI_CONTAINERID", id, TRUE);
	env = g_environ_setenv(env, "CNI_NETNS", netns, TRUE);
	env = g_environ_setenv(env, "CNI_IFNAME", IFNAME, TRUE);
	env = g_environ_setenv(env, "CNI_ARGS", "IgnoreUnknown=1", TRUE);
	env = g_environ_setenv(env, "CNI_PATH", cni->path, TRUE);
	const char *argv[] = {binary, NULL};
	ProcessSpec spec = {.argv = argv,
	                    .envp = (const char *const *)env,
	                    .stdin_data = in,
	                    .timeout_ns = PLUGIN_TIMEOUT};
	g_auto(ProcessResult) result = {0};
	if (!process_run(&spec, &result, error))
		return error_prefix(error, "plugin type=%s", Q(type));
	if (result.status != 0)
		return plugin_failed(type, command, &result, error);
	if (!g_str_equal(command, "ADD"))
		return true;
	g_clear_pointer(&cni->results, json_object_put);
	cni->results = json_parse(result.out, result.out_len, 0, error);
	return cni->results != NULL || error_prefix(error, "plugin type=%s: unexpected result", Q(type));
}

bool ctr_cni_add(CtrCni *cni, const char *id, const char *netns, GError **error)
{
	for (guint i = 0; i < cni->plugins->len; i++) {
		if (call(cni, cni->plugins->pdata[i], "ADD", id, netns, error))
			continue;
		ctr_cni_del(cni, id, netns, NULL);
		return false;
	}
	return true;
}

bool ctr_cni_del(CtrCni *cni, const char *id, const char *netns, GError **error)
{
	g_autoptr(GError) first = NULL;
	for (guint i = cni->plugins->len; i-- > 0;)
		call(cni, cni->plugins->pdata[i], "DEL", id, netns, first == NULL ? &first : NULL);
	g_clear_pointer(&cni->results, json_object_put);
	if (first == NULL)
		return true;
	g_propagate_error(error, g_steal_pointer(&first));
	return false;
}
