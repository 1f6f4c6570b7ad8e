// SPDX-License-Identifier: Apache-2.0
#include "remote/proxy.h"
#include "base/util.h"
#include "remote/url.h"
#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

typedef struct {
	int family; // 0: not an address
	uint8_t bytes[16];
} Address;

static Address address_parse(const char *text)
{
	Address a = {0};
	if (inet_pton(AF_INET, text, a.bytes) == 1)
		a.family = AF_INET;
	else if (inet_pton(AF_INET6, text, a.bytes) == 1)
		a.family = AF_INET6;
	return a;
}

static bool is_loopback(const Address *a)
{
	static const uint8_t v6[16] = {[15] = 1};
	return (a->family == AF_INET && a->bytes[0] == 127) ||
	       (a->family == AF_INET6 && memcmp(a->bytes, v6, sizeof(v6)) == 0);
}

static bool same_bits(const Address *a, const Address *b, unsigned bits)
{
	if (a->family == 0 || a->family != b->family || memcmp(a->bytes, b->bytes, bits / 8) != 0)
		return false;
	unsigned rest = bits % 8;
	return rest == 0 || ((a->bytes[bits / 8] ^ b->bytes[bits / 8]) >> (8 - rest)) == 0;
}

/* "host:port", "[::1]:port", "host", "::1" into host and port ("" where there is none). */
static char *split_port(const char *text, const char **ret_port)
{
	const char *colon = strrchr(text, ':');
	*ret_port = "";
	if (*text == '[') {
		const char *end = strchr(text, ']');
		if (end == NULL)
			return g_strdup(text);
		if (end[1] == ':')
			*ret_port = end + 2;
		return g_strndup(text + 1, (size_t)(end - text - 1));
	}
	if (colon == NULL || memchr(text, ':', (size_t)(colon - text)) != NULL)
		return g_strdup(text);
	*ret_port = colon + 1;
	return g_strndup(text, (size_t)(colon - text));
}

/* "10.0.0.0/8" */
static bool is_cidr(const char *entry, Address *ret, unsigned *ret_bits)
{
	const char *slash = strchr(entry, '/');
	uint64_t bits = 0;
	if (slash == NULL || !parse_u64(slash + 1, &bits))
		return false;
	g_autofree char *text = g_strndup(entry, (size_t)(slash - entry));
	*ret = address_parse(text);
	if (ret->family == 0 || bits > (ret->family == AF_INET ? 32 : 128))
		return false;
	*ret_bits = (unsigned)bits;
	return true;
}

static bool matches_domain(const char *host, const char *domain)
{
	if (g_str_has_prefix(domain, "*."))
		domain++;
	if (*domain == '.')
		return g_str_has_suffix(host, domain);
	size_t n = strlen(host), d = strlen(domain);
	return n >= d && g_str_equal(host + n - d, domain) && (n == d || host[n - d - 1] == '.');
}

static bool entry_matches(const char *entry, const char *host, const Address *address, const char *port)
{
	Address net;
	unsigned bits = 0;
	if (g_str_equal(entry, "*"))
		return true;
	if (is_cidr(entry, &net, &bits))
		return same_bits(&net, address, bits);
	const char *only_port;
	g_autofree char *name = split_port(entry, &only_port);
	if (*name == '\0' || (*only_port != '\0' && !g_str_equal(only_port, port)))
		return false;
	Address single = address_parse(name);
	if (single.family != 0)
		return same_bits(&single, address, single.family == AF_INET ? 32 : 128);
	return matches_domain(host, name);
}

static bool is_exempt(const char *no_proxy, const char *host, const char *port)
{
	Address address = address_parse(host);
	if (g_str_equal(host, "localhost") || is_loopback(&address))
		return true;
	g_auto(GStrv) entries = g_strsplit(no_proxy, ",", -1);
	for (size_t i = 0; entries[i] != NULL; i++) {
		g_autofree char *entry = g_ascii_strdown(g_strstrip(entries[i]), -1);
		if (*entry != '\0' && entry_matches(entry, host, &address, port))
			return true;
	}
	return false;
}

static const char *env_any(ProxyEnv env, const char *large, const char *small)
{
	const char *value = env(large);
	return str_or(!str_empty(value) ? value : env(small), "");
}

char *proxy_for_url(const char *url, ProxyEnv env)
{
	bool tls = g_str_has_prefix(url, "https:");
	const char *proxy =
	        tls ? env_any(env, "HTTPS_PROXY", "https_proxy") : env_any(env, "HTTP_PROXY", "http_proxy");
	/* a CGI's environment has what the client says in HTTP_ */
	if (*proxy == '\0' || (!tls && !str_empty(env("REQUEST_METHOD"))))
		return g_strdup("");
	g_autofree char *authority = url_host(url);
	g_autofree char *lower = g_ascii_strdown(authority, -1);
	const char *port;
	g_autofree char *host = split_port(lower, &port);
	if (*port == '\0')
		port = tls ? "443" : "80";
	if (is_exempt(env_any(env, "NO_PROXY", "no_proxy"), host, port))
		return g_strdup("");
	return strstr(proxy, "://") != NULL ? g_strdup(proxy) : g_strconcat("http://", proxy, NULL);
}
