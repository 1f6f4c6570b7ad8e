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
	g_clear_error(&h->broken);
	g_free(h->where);
	g_free(h->tls_text);
	g_free(h);
}

bool registry_host_is_proxy(const RegistryHost *h, const char *name)
{
	if (g_str_equal(name, h->host))
		return false;
	return !g_str_equal(name, "docker.io") || !g_str_equal(h->host, "registry-1.docker.io");
}
