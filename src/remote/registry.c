// SPDX-License-Identifier: Apache-2.0
#include "remote/registry.h"
#include "base/util.h"
#include <arpa/inet.h>
#include <string.h>

RegistryHost *registry_host_new(const char *scheme, const char *host, const char *path, unsigned capabilities)
{
	RegistryHost *h = g_new0(RegistryHost, 1);
	h->scheme = g_strdup(scheme);
	h->host = g_strdup(host);
	h->path = g_strdup(path);
	h->capabilities = capabilities;
	return h;
}

void registry_host_free(RegistryHost *h)
{
	if (h == NULL)
		return;
	g_free(h->scheme);
	g_free(h->host);
	g_free(h->path);
	g_strfreev(h->headers);
	http_tls_unref(h->tls);
	authorizer_unref(h->authorizer);
	g_free(h);
}

bool registry_host_is_proxy(const RegistryHost *h, const char *name)
{
	if (g_str_equal(name, h->host))
		return false;
	return !g_str_equal(name, "docker.io") || !g_str_equal(h->host, "registry-1.docker.io");
}

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

GPtrArray *registry_default_hosts(const char *name, void *data, GError **error)
{
	const RegistryOptions *options = data;
	g_autoptr(RegistryHost) h = registry_host_new("https", name, "/v2", REGISTRY_ALL);
	h->tls = http_tls_ref(options->tls);
	if (g_str_equal(name, "docker.io")) {
		g_free(h->host);
		h->host = g_strdup("registry-1.docker.io");
	} else if (!str_empty(options->default_scheme)) {
		g_free(h->scheme);
		h->scheme = g_strdup(options->default_scheme);
	} else if (registry_is_localhost(name)) {
		const char *port;
		g_free(split_port(name, &port));
		if (g_str_equal(port, "80")) {
			g_free(h->scheme);
			h->scheme = g_strdup("http");
		} else if (options->tls == NULL) {
			h->tls = http_tls_new(NULL, NULL, NULL, true, NULL);
		}
		h->http_fallback = *port != '\0' && !g_str_equal(port, "80") && !g_str_equal(port, "443");
	}
	/* a wish for http with TLS settings is ambiguous: https first */
	if (g_str_equal(h->scheme, "http") && options->tls != NULL && !g_str_has_suffix(h->host, ":80")) {
		g_free(h->scheme);
		h->scheme = g_strdup("https");
		h->http_fallback = true;
	}
	h->authorizer =
	        authorizer_new(options->http, h->tls, NULL, options->credentials, options->credentials_data);
	GPtrArray *hosts = g_ptr_array_new_with_free_func((GDestroyNotify)registry_host_free);
	g_ptr_array_add(hosts, g_steal_pointer(&h));
	return hosts;
}
