// SPDX-License-Identifier: Apache-2.0
/* From what is configured to the list of hosts that are asked (upstream docker.ConfigureHosts, and
 * CRIImageService.registryHosts for CRI's keys). */
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "remote/hosts-toml.h"
#include "remote/settings-private.h"
#include "remote/url.h"
#include <arpa/inet.h>
#include <string.h>

/* "[::1]:5000" is "::1" and "5000"; "::1" has no port. */
static char *split_port(const char *host, const char **ret_port)
{
	const char *colon = strrchr(host, ':');
	*ret_port = "";
	if (*host == '[') {
		const char *end = strchr(host, ']');
		if (end != NULL && end[1] == ':')
			*ret_port = end + 2;
		return end != NULL ? g_strndup(host + 1, (size_t)(end - host - 1)) : g_strdup(host);
	}
	if (colon == NULL || memchr(host, ':', (size_t)(colon - host)) != NULL)
		return g_strdup(host);
	*ret_port = colon + 1;
	return g_strndup(host, (size_t)(colon - host));
}

bool registry_is_localhost(const char *host)
{
	const char *port;
	g_autofree char *name = split_port(host, &port);
	struct in_addr v4;
	struct in6_addr v6;
	if (g_str_equal(name, "localhost"))
		return true;
	if (inet_pton(AF_INET, name, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	return inet_pton(AF_INET6, name, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* ---- one host ---- */

typedef struct {
	const RegistryOptions *options;
	const char *name;
} Build;

static char **concat_headers(char *const *a, char *const *b)
{
	GPtrArray *all = g_ptr_array_new();
	for (size_t i = 0; a != NULL && a[i] != NULL; i++)
		g_ptr_array_add(all, g_strdup(a[i]));
	for (size_t i = 0; b != NULL && b[i] != NULL; i++)
		g_ptr_array_add(all, g_strdup(b[i]));
	g_ptr_array_add(all, NULL);
	return (char **)g_ptr_array_free(all, FALSE);
}

/* The name's own server. */
static void complete_default(const Build *b, HostConfig *c)
{
	const char *scheme = str_empty(b->options->default_scheme) ? NULL : b->options->default_scheme;
	const char *port;
	g_free(split_port(b->name, &port));
	c->host = g_strdup(b->name);
	c->path = g_strdup("/v2");
	c->capabilities = REGISTRY_ALL;
	if (g_str_equal(b->name, "docker.io")) {
		g_free(c->host);
		c->host = g_strdup("registry-1.docker.io");
		scheme = "https";
	} else if (registry_is_localhost(b->name) && scheme == NULL) {
		/* with another port it may be either */
		scheme = *port == '\0' || g_str_equal(port, "443") ? "https" : "http";
		if (!g_str_equal(port, "80") && c->skip_verify < 0 && b->options->tls == NULL)
			c->skip_verify = 1;
	}
	c->scheme = g_strdup(scheme != NULL ? scheme : "https");
}

static char *tls_text(const HostConfig *c)
{
	g_autoptr(GString) text = g_string_new(NULL);
	for (size_t i = 0; c->ca != NULL && c->ca[i] != NULL; i++)
		g_string_append_printf(text, ", ca %s", c->ca[i]);
	for (guint i = 0; c->pairs != NULL && i < c->pairs->len; i++) {
		const HttpTlsPair *p = &g_array_index(c->pairs, HttpTlsPair, i);
		g_string_append_printf(text, ", client %s%s%s", p->cert, p->key != NULL ? " " : "",
		                       str_or(p->key, ""));
	}
	if (c->skip_verify == 1)
		g_string_append(text, ", no verification");
	return text->len > 0 ? g_strdup(text->str + 2) : NULL;
}

static bool set_tls(RegistryHost *h, const Build *b, const HostConfig *c, GError **error)
{
	bool own = c->ca != NULL || c->pairs != NULL || c->skip_verify >= 0;
	h->tls = own ? http_tls_new((const char *const *)c->ca,
	                            c->pairs != NULL ? (const HttpTlsPair *)(void *)c->pairs->data : NULL,
	                            c->pairs != NULL ? c->pairs->len : 0, c->skip_verify == 1, error)
	             : http_tls_ref(b->options->tls);
	if (own)
		h->tls_text = tls_text(c);
	return !own || h->tls != NULL;
}

static CredentialSources *sources_for(const Build *b, const HostConfig *c, const Credentials *fixed)
{
	CredentialSources *s = g_new0(CredentialSources, 1);
	s->client = b->options->credentials;
	s->client_data = b->options->credentials_data;
	s->helper = g_strdup(c->credential_helper);
	s->file = g_strdup(c->credential_file);
	if (fixed != NULL)
		s->fixed = (Credentials){
		        .username = g_strdup(fixed->username),
		        .secret = g_strdup(fixed->secret),
		        .header = g_strdup(fixed->header),
		        .source = g_strdup(fixed->source),
		};
	return s;
}

/* c is complete. */
static RegistryHost *host_build(const Build *b, const HostConfig *c)
{
	const RegistrySettings *settings = b->options->settings;
	g_autoptr(GError) broken = NULL;
	RegistryHost *h = registry_host_new(c->scheme, c->host, c->path, c->capabilities);
	h->where = g_strdup(c->where);
	h->dial_timeout_ns = c->dial_timeout_ns;
	h->headers = concat_headers(settings != NULL ? settings->headers : NULL, c->headers);
	if (!set_tls(h, b, c, &broken)) {
		if (c->where != NULL)
			error_prefix(&broken, "%s", c->where);
		h->broken = g_steal_pointer(&broken);
	}
	/* a wish for http with TLS settings is ambiguous: https first */
	const char *port;
	g_free(split_port(h->host, &port));
	bool tls = h->tls != NULL || h->broken != NULL;
	if (g_str_equal(h->scheme, "http") && tls && !g_str_equal(port, "80")) {
		g_free(h->scheme);
		h->scheme = g_strdup("https");
		h->http_fallback = true;
	}
	const AuthorizerOptions auth = {
	        .http = b->options->http,
	        .tls = h->tls,
	        .headers = (const char *const *)h->headers,
	        .host = h->host,
	        .plain = h->http_fallback || g_str_equal(h->scheme, "http"),
	        .sources = sources_for(b, c, settings_credentials(settings, h->host)),
	};
	h->authorizer = authorizer_new(&auth);
	return h;
}

/* ---- hosts.toml ---- */

static void tell(const RegistryOptions *o, GPtrArray *warnings)
{
	for (guint i = 0; i < warnings->len; i++)
		if (o->warnings != NULL)
			g_ptr_array_add(o->warnings, g_strdup(warnings->pdata[i]));
		else
			log_warn("registry configuration", "warning", warnings->pdata[i], NULL);
}

/* NULL without error: no directory is for this name. */
static GPtrArray *configs_from_dirs(const Build *b, GError **error)
{
	const RegistrySettings *s = b->options->settings;
	g_autoptr(GError) e = NULL;
	g_autofree char *dir = hosts_dir_find((const char *const *)s->dirs, b->name, &e);
	if (dir == NULL) {
		if (e != NULL)
			g_propagate_error(error, g_steal_pointer(&e));
		return NULL;
	}
	g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) configs = hosts_dir_load(dir, warnings, error);
	tell(b->options, warnings);
	return g_steal_pointer(&configs);
}

static HostConfig *default_config(void)
{
	HostConfig *c = g_new0(HostConfig, 1);
	c->skip_verify = -1;
	return c;
}

GPtrArray *registry_hosts(const char *name, void *data, GError **error)
{
	const Build b = {.options = data, .name = name};
	const RegistrySettings *s = b.options->settings;
	g_autoptr(GError) e = NULL;
	g_autoptr(GPtrArray) configs = NULL;
	if (s != NULL && s->dirs != NULL && *s->dirs != NULL)
		configs = configs_from_dirs(&b, &e);
	else if (s != NULL && s->mirrors != NULL)
		configs = settings_endpoints(s, name, &e);
	if (e != NULL) {
		g_propagate_error(error, g_steal_pointer(&e));
		return NULL;
	}
	if (configs == NULL) {
		configs = g_ptr_array_new_with_free_func((GDestroyNotify)host_config_free);
		g_ptr_array_add(configs, default_config());
	}
	HostConfig *last = configs->pdata[configs->len - 1];
	if (last->host == NULL)
		complete_default(&b, last);
	GPtrArray *hosts = g_ptr_array_new_with_free_func((GDestroyNotify)registry_host_free);
	for (guint i = 0; i < configs->len; i++) {
		settings_tls(s, name, configs->pdata[i]);
		g_ptr_array_add(hosts, host_build(&b, configs->pdata[i]));
	}
	return hosts;
}
