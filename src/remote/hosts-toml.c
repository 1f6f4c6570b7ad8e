// SPDX-License-Identifier: Apache-2.0
#include "remote/hosts-toml.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "base/util.h"
#include "remote/credentials.h"
#include "remote/registry.h"
#include "remote/url.h"
#include <errno.h>
#include <string.h>

#define DIR_ENTRIES_MAX 4096

#define HOST_KEYS                                                                                            \
	{"capabilities", CONFIG_STRINGS}, {"ca", CONFIG_ANY}, {"client", CONFIG_ANY},                        \
	        {"skip_verify", CONFIG_BOOL}, {"header", CONFIG_ANY_MAP}, {"override_path", CONFIG_BOOL},    \
	        {"dial_timeout", CONFIG_DURATION}, {"credential_helper", CONFIG_STRING},                     \
	{                                                                                                    \
		"credential_file", CONFIG_STRING                                                             \
	}

static const ConfigKey host_keys[] = {HOST_KEYS, {.name = NULL}};
static const ConfigKey file_keys[] = {
        HOST_KEYS,
        {"server", CONFIG_STRING},
        {"host", CONFIG_TABLE_MAP, .keys = host_keys},
        {.name = NULL},
};

static void pair_clear(void *p)
{
	HttpTlsPair *pair = p;
	g_free((char *)pair->cert);
	g_free((char *)pair->key);
}

void host_config_free(HostConfig *h)
{
	if (h == NULL)
		return;
	g_free(h->scheme);
	g_free(h->host);
	g_free(h->path);
	g_free(h->where);
	g_strfreev(h->ca);
	if (h->pairs != NULL)
		g_array_unref(h->pairs);
	g_strfreev(h->headers);
	g_free(h->credential_helper);
	g_free(h->credential_file);
	g_free(h);
}

static HostConfig *host_config_new(void)
{
	HostConfig *h = g_new0(HostConfig, 1);
	h->skip_verify = -1;
	h->capabilities = REGISTRY_ALL;
	return h;
}

void host_config_add_pair(HostConfig *h, char *cert, char *key)
{
	if (h->pairs == NULL) {
		h->pairs = g_array_new(FALSE, FALSE, sizeof(HttpTlsPair));
		g_array_set_clear_func(h->pairs, pair_clear);
	}
	HttpTlsPair pair = {cert, key};
	g_array_append_val(h->pairs, pair);
}

/* ---- the file ---- */

typedef struct {
	const char *dir; // of the file
	GPtrArray *warnings;
	GError **error;
} Parse;

static bool fail(const Parse *p, const TomlValue *where, const char *format, ...) G_GNUC_PRINTF(3, 4);
static bool fail(const Parse *p, const TomlValue *where, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	g_autofree char *position = toml_where(where);
	return error_set(p->error, CTRD_ERR_INVALID_ARGUMENT, "%s: %s", position, text);
}

static char *absolute(const Parse *p, const char *path)
{
	g_autofree char *joined = *path == '/' ? g_strdup(path) : g_strconcat(p->dir, "/", path, NULL);
	return path_clean(joined);
}

/* A file's name: not empty, without NUL (which the parser keeps as C0 80). */
static const char *file_name(const Parse *p, const TomlValue *v, const char *key)
{
	if (toml_type(v) != TOML_STRING) {
		fail(p, v, "%s must name files by strings, not by %s %s", Q(key),
		     strchr("aeiou", *toml_type_name(toml_type(v))) != NULL ? "an" : "a",
		     toml_type_name(toml_type(v)));
		return NULL;
	}
	if (*toml_string(v) == '\0' || strstr(toml_string(v), "\xc0\x80") != NULL) {
		fail(p, v, "%s: %s is not a file's name", Q(key), Q(toml_string(v)));
		return NULL;
	}
	return toml_string(v);
}

static bool parse_ca(const Parse *p, const TomlValue *v, HostConfig *h)
{
	bool list = toml_type(v) == TOML_ARRAY;
	size_t n = list ? toml_size(v) : 1;
	h->ca = g_new0(char *, n + 1);
	for (size_t i = 0; i < n; i++) {
		const char *name = file_name(p, list ? toml_at(v, i) : v, "ca");
		if (name == NULL)
			return false;
		h->ca[i] = absolute(p, name);
	}
	return true;
}

/* "both.pem", ["both.pem", ...], [["cert", "key"], ...]; and, beyond upstream's reading, ["cert", "key"] is
 * two files with both in them, as there. */
static bool parse_client(const Parse *p, const TomlValue *v, HostConfig *h)
{
	bool list = toml_type(v) == TOML_ARRAY;
	size_t n = list ? toml_size(v) : 1;
	for (size_t i = 0; i < n; i++) {
		const TomlValue *entry = list ? toml_at(v, i) : v;
		bool pair = list && toml_type(entry) == TOML_ARRAY;
		if (pair && toml_size(entry) != 2)
			return fail(p, entry, "a pair of \"client\" is [certificate, key], not a list of %zu",
			            toml_size(entry));
		const char *cert = file_name(p, pair ? toml_at(entry, 0) : entry, "client");
		const char *key = pair && cert != NULL ? file_name(p, toml_at(entry, 1), "client") : NULL;
		if (cert == NULL || (pair && key == NULL))
			return false;
		host_config_add_pair(h, absolute(p, cert), key != NULL ? absolute(p, key) : NULL);
	}
	return true;
}

bool header_line(const char *name, const char *value, char **ret)
{
	for (const char *c = name; *c != '\0'; c++)
		if (!g_ascii_isalnum(*c) && strchr("!#$%&'*+-.^_`|~", *c) == NULL)
			return false;
	for (const char *c = value; *c != '\0'; c++)
		if (((unsigned char)*c < ' ' && *c != '\t') || *c == 127)
			return false;
	if (*name == '\0' || strstr(value, "\xc0\x80") != NULL)
		return false;
	*ret = g_strdup_printf("%s: %s", name, value);
	return true;
}

static bool parse_headers(const Parse *p, const TomlValue *table, HostConfig *h)
{
	g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
	for (size_t i = 0; i < toml_size(table); i++) {
		const char *name = toml_key_at(table, i);
		const TomlValue *v = toml_at(table, i);
		bool list = toml_type(v) == TOML_ARRAY;
		for (size_t j = 0; j < (list ? toml_size(v) : 1); j++) {
			const TomlValue *text = list ? toml_at(v, j) : v;
			char *line = NULL;
			if (toml_type(text) != TOML_STRING)
				return fail(p, v, "header %s must be a string or a list of strings", Q(name));
			/* the value may be a secret: it does not go into the text */
			if (!header_line(name, toml_string(text), &line))
				return fail(p, v,
				            "header %s: its name or value has characters that no header has",
				            Q(name));
			g_ptr_array_add(lines, line);
		}
	}
	if (lines->len == 0)
		return true;
	g_ptr_array_add(lines, NULL);
	h->headers = (char **)g_ptr_array_free(g_steal_pointer(&lines), FALSE);
	return true;
}

static bool parse_capabilities(const Parse *p, const TomlValue *list, HostConfig *h)
{
	static const struct {
		const char *name;
		unsigned bit;
	} known[] = {
	        {"pull", REGISTRY_PULL},
	        {"resolve", REGISTRY_RESOLVE},
	        {"push", REGISTRY_PUSH},
	        {"referrers", REGISTRY_REFERRERS},
	};
	if (toml_size(list) > 0)
		h->capabilities = 0;
	for (size_t i = 0; i < toml_size(list); i++) {
		const char *word = toml_string(toml_at(list, i));
		unsigned bit = 0;
		for (size_t j = 0; j < G_N_ELEMENTS(known); j++)
			if (g_ascii_strcasecmp(word, known[j].name) == 0)
				bit = known[j].bit;
		if (bit == 0)
			return fail(p, toml_at(list, i),
			            "unknown capability %s: there are pull, resolve, push and referrers",
			            Q(word));
		h->capabilities |= bit;
	}
	return true;
}

/* "https://mirror.example:5000/path", or without the scheme. */
static bool parse_server(const Parse *p, const TomlValue *where, const char *text, bool override_path,
                         HostConfig *h)
{
	g_autofree char *url =
	        strstr(text, "://") == NULL ? g_strconcat("https://", text, NULL) : g_strdup(text);
	g_autofree char *shown = url_redact(url);
	if (!url_is_http(url))
		return fail(p, where, "%s is no URL of a registry: it is https://host[:port][/path]",
		            Q(shown));
	h->scheme = url_scheme(url);
	h->host = url_host(url);
	const char *rest = strstr(url, "://") + 3;
	rest += strcspn(rest, "/?#");
	g_autofree char *raw = g_strndup(rest, strcspn(rest, "?#"));
	if (rest[strlen(raw)] != '\0')
		return fail(p, where, "%s: the URL of a registry has no query and no fragment", Q(shown));
	if (strchr(url, '@') != NULL && strchr(url, '@') < rest)
		return fail(p, where,
		            "%s: no user and password in the URL; use credential_file or credential_helper",
		            Q(shown));
	g_autofree char *path = *raw != '\0' ? path_clean(raw) : g_strdup("");
	if (g_str_equal(path, "/"))
		*path = '\0';
	h->path = override_path || g_str_has_suffix(path, "/v2") ? g_strdup(path)
	                                                         : g_strconcat(path, "/v2", NULL);
	return true;
}

static bool parse_credentials(const Parse *p, const TomlValue *table, HostConfig *h)
{
	const TomlValue *helper = toml_get(table, "credential_helper"),
	                *file = toml_get(table, "credential_file");
	if (helper != NULL) {
		if (!credential_helper_name_valid(toml_string(helper)))
			return fail(
			        p, helper,
			        "credential_helper %s: it is the NAME of a program docker-credential-NAME, "
			        "of letters, digits, '-', '_' and '.'",
			        Q(toml_string(helper)));
		h->credential_helper = g_strdup(toml_string(helper));
	}
	if (file != NULL) {
		const char *name = file_name(p, file, "credential_file");
		if (name == NULL)
			return false;
		h->credential_file = absolute(p, name);
	}
	return true;
}

/* table: checked. server: "" for the name's own. */
static HostConfig *parse_host(const Parse *p, const TomlValue *table, const char *server)
{
	g_autoptr(HostConfig) h = host_config_new();
	const TomlValue *v;
	h->where = toml_where(table);
	bool override_path = (v = toml_get(table, "override_path")) != NULL && toml_boolean(v);
	if (*server != '\0' && !parse_server(p, table, server, override_path, h))
		return NULL;
	if ((v = toml_get(table, "skip_verify")) != NULL)
		h->skip_verify = toml_boolean(v);
	if ((v = toml_get(table, "dial_timeout")) != NULL) {
		if (!duration_parse(toml_string(v), &h->dial_timeout_ns, NULL) || h->dial_timeout_ns < 0) {
			fail(p, v, "\"dial_timeout\" must not be negative");
			return NULL;
		}
	}
	if (((v = toml_get(table, "capabilities")) != NULL && !parse_capabilities(p, v, h)) ||
	    ((v = toml_get(table, "ca")) != NULL && !parse_ca(p, v, h)) ||
	    ((v = toml_get(table, "client")) != NULL && !parse_client(p, v, h)) ||
	    ((v = toml_get(table, "header")) != NULL && !parse_headers(p, v, h)) ||
	    !parse_credentials(p, table, h))
		return NULL;
	return g_steal_pointer(&h);
}

static void on_unknown(const TomlValue *where, const char *key, const char *nearest, void *data)
{
	const Parse *p = data;
	if (p->warnings == NULL)
		return;
	g_autofree char *position = toml_where(where);
	g_autofree char *hint =
	        nearest != NULL ? g_strdup_printf(", did you mean %s?", Q(nearest)) : g_strdup("");
	g_ptr_array_add(p->warnings,
	                g_strdup_printf("%s: unknown key %s is ignored%s", position, Q(key), hint));
}

GPtrArray *hosts_toml_parse(const char *data, size_t len, const char *file, GPtrArray *warnings,
                            GError **error)
{
	if (len > HOSTS_TOML_MAX) {
		error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED, "%s:1: more than %u bytes", file,
		          HOSTS_TOML_MAX);
		return NULL;
	}
	g_autofree char *dir = g_path_get_dirname(file);
	Parse p = {.dir = dir, .warnings = warnings, .error = error};
	g_autoptr(TomlValue) document = toml_parse(data, len, file, error);
	g_autoptr(TomlValue) root =
	        document != NULL ? schema_check(file_keys, document, "", on_unknown, &p, error) : NULL;
	if (root == NULL)
		return NULL;
	g_autoptr(GPtrArray) hosts = g_ptr_array_new_with_free_func((GDestroyNotify)host_config_free);
	const TomlValue *table = toml_get(root, "host"), *server = toml_get(root, "server");
	for (size_t i = 0; table != NULL && i < toml_size(table); i++) {
		HostConfig *h = parse_host(&p, toml_at(table, i), toml_key_at(table, i));
		if (h == NULL)
			return NULL;
		if (h->host == NULL) {
			host_config_free(h);
			fail(&p, toml_at(table, i), "[host.\"\"]: the URL is missing");
			return NULL;
		}
		g_ptr_array_add(hosts, h);
	}
	/* the root's keys are for the server, the last to be tried */
	if (server != NULL)
		toml_set_position(root, server);
	HostConfig *last = parse_host(&p, root, server != NULL ? toml_string(server) : "");
	if (last == NULL)
		return NULL;
	if (server == NULL) {
		g_free(last->where);
		last->where = g_strdup(file);
	}
	g_ptr_array_add(hosts, last);
	return g_steal_pointer(&hosts);
}

/* ---- directories ---- */

char **hosts_dirs_split(const char *path)
{
	g_auto(GStrv) words = g_strsplit(path, ":", -1);
	GPtrArray *out = g_ptr_array_new();
	for (size_t i = 0; words[i] != NULL; i++)
		if (*words[i] != '\0')
			g_ptr_array_add(out, g_strdup(words[i]));
	g_ptr_array_add(out, NULL);
	return (char **)g_ptr_array_free(out, FALSE);
}

/* "host:5000" is "host_5000_" on file systems without ':'. */
static char *port_in_words(const char *name)
{
	const char *colon = strrchr(name, ':');
	if (colon == NULL || colon == name || strchr(colon, ']') != NULL)
		return NULL;
	return g_strdup_printf("%.*s_%s_", (int)(colon - name), name, colon + 1);
}

char *hosts_dir_find(const char *const *roots, const char *name, GError **error)
{
	/* what comes out of a reference must not lead elsewhere */
	bool safe = *name != '\0' && *name != '.' && strchr(name, '/') == NULL;
	g_autofree char *words = port_in_words(name);
	const char *const names[] = {safe ? words : NULL, safe ? name : NULL, "_default"};
	for (size_t i = 0; roots != NULL && roots[i] != NULL; i++) {
		for (size_t j = 0; j < G_N_ELEMENTS(names); j++) {
			if (names[j] == NULL)
				continue;
			g_autofree char *dir = path_join(roots[i], names[j]);
			struct stat st;
			if (stat(dir, &st) == 0)
				return g_steal_pointer(&dir);
			if (errno != ENOENT) {
				error_set_errno(error, errno, "stat %s", dir);
				return NULL;
			}
		}
	}
	return NULL;
}

/* Docker's layout: ca.crt, client.cert, client.key. */
static GPtrArray *load_certificates(const char *dir, GError **error)
{
	g_autoptr(GPtrArray) names = dir_list(dir, DIR_ENTRIES_MAX, error);
	if (names == NULL)
		return NULL;
	HostConfig *h = host_config_new();
	GPtrArray *hosts = g_ptr_array_new_with_free_func((GDestroyNotify)host_config_free);
	g_ptr_array_add(hosts, h);
	h->where = g_strdup(dir);
	g_autoptr(GPtrArray) roots = g_ptr_array_new();
	for (guint i = 0; i < names->len; i++) {
		const char *name = names->pdata[i];
		g_autofree char *path = path_join(dir, name);
		if (g_file_test(path, G_FILE_TEST_IS_DIR))
			continue;
		if (g_str_has_suffix(name, ".crt")) {
			g_ptr_array_add(roots, g_steal_pointer(&path));
		} else if (g_str_has_suffix(name, ".cert")) {
			g_autofree char *key =
			        g_strdup_printf("%.*s.key", (int)(strlen(path) - strlen(".cert")), path);
			if (!path_exists(key))
				g_clear_pointer(&key, g_free); // it is in the same file, or loading fails
			host_config_add_pair(h, g_steal_pointer(&path), g_steal_pointer(&key));
		}
	}
	if (roots->len > 0) {
		g_ptr_array_add(roots, NULL);
		h->ca = (char **)g_ptr_array_free(g_steal_pointer(&roots), FALSE);
	}
	return hosts;
}

GPtrArray *hosts_dir_load(const char *dir, GPtrArray *warnings, GError **error)
{
	g_autofree char *file = path_join(dir, "hosts.toml"), *data = NULL;
	size_t len = 0;
	if (!path_exists(file))
		return load_certificates(dir, error);
	if (!file_read(file, HOSTS_TOML_MAX, &data, &len, error))
		return NULL;
	return len > 0 ? hosts_toml_parse(data, len, file, warnings, error) : load_certificates(dir, error);
}
