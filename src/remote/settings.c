// SPDX-License-Identifier: Apache-2.0
/* CRI's registry section, with its deprecated keys (upstream internal/cri/config and, for `tls`, which
 * upstream took out with 2.0, the 1.x releases of it). */
#include "base/error.h"
#include "base/util.h"
#include "loop/lock.h"
#include "remote/settings-private.h"
#include "remote/url.h"
#include <string.h>

RegistrySettings *registry_settings_ref(RegistrySettings *s)
{
	if (s != NULL)
		atomic_fetch_add(&s->refs, 1);
	return s;
}

void registry_settings_unref(RegistrySettings *s)
{
	if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	g_strfreev(s->dirs);
	g_clear_pointer(&s->mirrors, g_hash_table_unref);
	g_clear_pointer(&s->auths, g_hash_table_unref);
	g_clear_pointer(&s->tls, g_hash_table_unref);
	g_strfreev(s->headers);
	g_free(s);
}

RegistrySettings *registry_settings_new(const char *config_path)
{
	RegistrySettings *s = g_new0(RegistrySettings, 1);
	atomic_init(&s->refs, 1);
	s->dirs = hosts_dirs_split(str_or(config_path, ""));
	return s;
}

bool registry_settings_has_hosts(const RegistrySettings *s)
{
	return s != NULL && (s->mirrors != NULL || (s->dirs != NULL && *s->dirs != NULL));
}

struct RegistryCurrent {
	atomic_int refs;
	Lock lock;
	RegistrySettings *settings;
};

RegistryCurrent *registry_current_new(RegistrySettings *take)
{
	RegistryCurrent *c = g_new0(RegistryCurrent, 1);
	atomic_init(&c->refs, 1);
	lock_init(&c->lock, "registry-settings", LOCK_RANK_LEAF);
	c->settings = take;
	return c;
}

RegistryCurrent *registry_current_ref(RegistryCurrent *c)
{
	if (c != NULL)
		atomic_fetch_add(&c->refs, 1);
	return c;
}

void registry_current_unref(RegistryCurrent *c)
{
	if (c == NULL || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	registry_settings_unref(c->settings);
	lock_destroy(&c->lock);
	g_free(c);
}

void registry_current_set(RegistryCurrent *c, RegistrySettings *take)
{
	RegistrySettings *old;
	{
		LOCK_SCOPE(&c->lock);
		old = c->settings;
		c->settings = take;
	}
	registry_settings_unref(old);
}

RegistrySettings *registry_current_get(RegistryCurrent *c)
{
	if (c == NULL)
		return NULL;
	LOCK_SCOPE(&c->lock);
	return registry_settings_ref(c->settings);
}

/* ---- the section ---- */

static void credentials_free(void *p)
{
	credentials_clear(p);
	g_free(p);
}

static const char *sub_string(const TomlValue *table, const char *key)
{
	const TomlValue *v = table != NULL ? toml_get_typed(table, key, TOML_STRING) : NULL;
	return v != NULL ? toml_string(v) : "";
}

/* Upstream's ParseAuth. */
static bool read_auth(const TomlValue *auth, Credentials *ret, GError **error)
{
	const char *username = sub_string(auth, "username"), *token = sub_string(auth, "identitytoken"),
	           *basic = sub_string(auth, "auth");
	if (*username != '\0') {
		ret->username = g_strdup(username);
		ret->secret = g_strdup(sub_string(auth, "password"));
	} else if (*token != '\0') {
		ret->secret = g_strdup(token);
	} else if (*basic != '\0') {
		return credentials_decode_basic(basic, ret, error);
	}
	return true;
}

static bool add_auth(RegistrySettings *s, const char *kind, const char *host, const TomlValue *auth,
                     GError **error)
{
	Credentials *c = g_new0(Credentials, 1);
	g_autofree char *where = toml_where(auth);
	if (!read_auth(auth, c, error)) {
		credentials_free(c);
		return error_prefix(error, "%s: registry.%s.%s", where, kind, Q(host));
	}
	if (credentials_empty(c))
		credentials_free(c);
	else {
		c->source = g_strdup_printf("registry.%s of %s", kind, where);
		g_hash_table_replace(s->auths, g_strdup(host), c);
	}
	return true;
}

static bool has_tls(const TomlValue *tls)
{
	const TomlValue *skip = toml_get_typed(tls, "insecure_skip_verify", TOML_BOOLEAN);
	return *sub_string(tls, "ca_file") != '\0' || *sub_string(tls, "cert_file") != '\0' ||
	       *sub_string(tls, "key_file") != '\0' || (skip != NULL && toml_boolean(skip));
}

static bool add_tls(RegistrySettings *s, const char *host, const TomlValue *tls, GError **error)
{
	const char *ca = sub_string(tls, "ca_file"), *cert = sub_string(tls, "cert_file"),
	           *key = sub_string(tls, "key_file");
	const TomlValue *skip = toml_get_typed(tls, "insecure_skip_verify", TOML_BOOLEAN);
	g_autofree char *where = toml_where(tls);
	if (!has_tls(tls))
		return true;
	if ((*cert == '\0') != (*key == '\0'))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "%s: registry.configs.%s.tls: %s is set and %s is not", where, Q(host),
		                 *cert != '\0' ? "cert_file" : "key_file",
		                 *cert != '\0' ? "key_file" : "cert_file");
	HostConfig *c = g_new0(HostConfig, 1);
	c->where = g_steal_pointer(&where);
	c->skip_verify = skip != NULL && toml_boolean(skip) ? 1 : -1;
	if (*ca != '\0') {
		c->ca = g_new0(char *, 2);
		c->ca[0] = g_strdup(ca);
	}
	if (*cert != '\0')
		host_config_add_pair(c, g_strdup(cert), g_strdup(key));
	g_hash_table_replace(s->tls, g_strdup(host), c);
	return true;
}

static bool read_configs(RegistrySettings *s, const TomlValue *configs, GError **error)
{
	for (size_t i = 0; configs != NULL && i < toml_size(configs); i++) {
		const char *host = toml_key_at(configs, i);
		const TomlValue *auth = toml_get(toml_at(configs, i), "auth"),
		                *tls = toml_get(toml_at(configs, i), "tls");
		if ((auth != NULL && !add_auth(s, "configs", host, auth, error)) ||
		    (tls != NULL && !add_tls(s, host, tls, error)))
			return false;
	}
	return true;
}

/* Keys are URLs or hosts. */
static bool read_auths(RegistrySettings *s, const TomlValue *auths, GError **error)
{
	for (size_t i = 0; auths != NULL && i < toml_size(auths); i++) {
		const char *key = toml_key_at(auths, i);
		g_autofree char *host = strstr(key, "://") != NULL ? url_host(key) : g_strdup(key);
		if (str_empty(host))
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "failed to parse registry url %s from `registry.auths`", Q(key));
		if (!add_auth(s, "auths", host, toml_at(auths, i), error))
			return false;
	}
	return true;
}

static bool read_headers(RegistrySettings *s, const TomlValue *headers, GError **error)
{
	g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
	for (size_t i = 0; headers != NULL && i < toml_size(headers); i++) {
		const TomlValue *values = toml_at(headers, i);
		for (size_t j = 0; j < toml_size(values); j++) {
			char *line = NULL;
			if (!header_line(toml_key_at(headers, i), toml_string(toml_at(values, j)), &line)) {
				g_autofree char *where = toml_where(values);
				return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
				                 "%s: registry.headers.%s has characters that no header has",
				                 where, Q(toml_key_at(headers, i)));
			}
			g_ptr_array_add(lines, line);
		}
	}
	g_ptr_array_add(lines, NULL);
	s->headers = (char **)g_ptr_array_free(g_steal_pointer(&lines), FALSE);
	return true;
}

/* "registry.example:5000" without a scheme is http only on this machine. */
static HostConfig *endpoint_parse(const char *endpoint, GError **error)
{
	g_autofree char *host = g_strndup(endpoint, strcspn(endpoint, "/"));
	g_autofree char *url =
	        strstr(endpoint, "://") != NULL
	                ? g_strdup(endpoint)
	                : g_strconcat(registry_is_localhost(host) ? "http://" : "https://", endpoint, NULL);
	if (!url_is_http(url)) {
		g_autofree char *shown = url_redact(endpoint);
		error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		          "parse registry endpoint %s from mirrors: it is no http or https URL", Q(shown));
		return NULL;
	}
	HostConfig *c = g_new0(HostConfig, 1);
	c->skip_verify = -1;
	c->scheme = url_scheme(url);
	c->host = url_host(url);
	const char *rest = strstr(url, "://") + 3;
	rest += strcspn(rest, "/?#");
	g_autofree char *path = g_strndup(rest, strcspn(rest, "?#"));
	while (g_str_has_suffix(path, "/"))
		path[strlen(path) - 1] = '\0';
	c->path = g_strdup(*path != '\0' ? path : "/v2"); // a path stands for all of it, /v2 included
	c->capabilities = REGISTRY_PULL | REGISTRY_RESOLVE | REGISTRY_REFERRERS;
	return c;
}

static bool read_mirrors(RegistrySettings *s, const TomlValue *mirrors, GError **error)
{
	for (size_t i = 0; mirrors != NULL && i < toml_size(mirrors); i++) {
		const TomlValue *mirror = toml_at(mirrors, i);
		g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)host_config_free);
		g_auto(GStrv) endpoints = conf_strings(mirror, "endpoint");
		for (size_t j = 0; endpoints[j] != NULL; j++) {
			HostConfig *c = endpoint_parse(endpoints[j], error);
			g_autofree char *where = toml_where(mirror);
			if (c == NULL)
				return error_prefix(error, "%s: registry.mirrors.%s", where,
				                    Q(toml_key_at(mirrors, i)));
			c->where = g_steal_pointer(&where);
			g_ptr_array_add(all, c);
		}
		if (s->mirrors == NULL)
			s->mirrors = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
			                                   (GDestroyNotify)g_ptr_array_unref);
		g_hash_table_replace(s->mirrors, g_strdup(toml_key_at(mirrors, i)), g_steal_pointer(&all));
	}
	return true;
}

RegistrySettings *registry_settings_from_cri(const TomlValue *registry, GError **error)
{
	g_autoptr(RegistrySettings) s = registry_settings_new(conf_string(registry, "config_path"));
	s->auths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, credentials_free);
	s->tls = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)host_config_free);
	if (!read_configs(s, conf_table(registry, "configs"), error) ||
	    !read_auths(s, conf_table(registry, "auths"), error) ||
	    !read_headers(s, conf_table(registry, "headers"), error) ||
	    !read_mirrors(s, conf_table(registry, "mirrors"), error)) {
		error_prefix(error, "invalid cri image config");
		return NULL;
	}
	return g_steal_pointer(&s);
}

/* ---- asking ---- */

/* Docker's registry goes by several names; people write the one of the images. */
static void *find_host(GHashTable *table, const char *host)
{
	static const char *const hub[] = {"registry-1.docker.io", "docker.io", "index.docker.io", NULL};
	void *found = table != NULL ? g_hash_table_lookup(table, host) : NULL;
	if (found != NULL || table == NULL || !g_strv_contains(hub, host))
		return found;
	for (size_t i = 0; hub[i] != NULL && found == NULL; i++)
		found = g_hash_table_lookup(table, hub[i]);
	return found;
}

const Credentials *settings_credentials(const RegistrySettings *s, const char *host)
{
	return s != NULL ? find_host(s->auths, host) : NULL;
}

void settings_tls(const RegistrySettings *s, const char *name, HostConfig *c)
{
	if (s == NULL || s->tls == NULL || c->ca != NULL || c->pairs != NULL || c->skip_verify >= 0)
		return;
	/* 1.x looked for the endpoint's host only; what is written for the images' registry, as most do, is
	 * then without effect for its mirrors */
	const HostConfig *tls = find_host(s->tls, c->host);
	if (tls == NULL)
		tls = find_host(s->tls, name);
	if (tls == NULL)
		return;
	c->ca = g_strdupv(tls->ca);
	for (guint i = 0; tls->pairs != NULL && i < tls->pairs->len; i++) {
		const HttpTlsPair *p = &g_array_index(tls->pairs, HttpTlsPair, i);
		host_config_add_pair(c, g_strdup(p->cert), g_strdup(p->key));
	}
	c->skip_verify = tls->skip_verify;
	if (c->where == NULL)
		c->where = g_strdup(tls->where);
}

static HostConfig *endpoint_copy(const HostConfig *from)
{
	HostConfig *c = g_new0(HostConfig, 1);
	*c = (HostConfig){
	        .scheme = g_strdup(from->scheme),
	        .host = g_strdup(from->host),
	        .path = g_strdup(from->path),
	        .where = g_strdup(from->where),
	        .capabilities = from->capabilities,
	        .skip_verify = -1,
	};
	return c;
}

GPtrArray *settings_endpoints(const RegistrySettings *s, const char *name, GError **error)
{
	const GPtrArray *mirror = g_hash_table_lookup(s->mirrors, name);
	if (mirror == NULL)
		mirror = g_hash_table_lookup(s->mirrors, "*");
	if (mirror == NULL)
		return NULL;
	GPtrArray *out = g_ptr_array_new_with_free_func((GDestroyNotify)host_config_free);
	bool own = false;
	for (guint i = 0; i < mirror->len; i++) {
		HostConfig *c = endpoint_copy(mirror->pdata[i]);
		if (!registry_host_is_proxy(&(RegistryHost){.host = c->host}, name)) {
			own = true; // the registry itself: nothing else needs to be added, and one may push
			c->capabilities = REGISTRY_ALL;
		}
		g_ptr_array_add(out, c);
	}
	if (!own) {
		HostConfig *last = g_new0(HostConfig, 1);
		last->skip_verify = -1;
		g_ptr_array_add(out, last);
	}
	return out;
}
