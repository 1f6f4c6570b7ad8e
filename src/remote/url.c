// SPDX-License-Identifier: Apache-2.0
#include "remote/url.h"
#include "base/util.h"
#include <string.h>

static const char *authority(const char *url)
{
	const char *sep = strstr(url, "://");
	return sep != NULL ? sep + 3 : url;
}

bool url_is_http(const char *url)
{
	if (g_ascii_strncasecmp(url, "http://", 7) != 0 && g_ascii_strncasecmp(url, "https://", 8) != 0)
		return false;
	for (const char *p = url; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || *p == 127)
			return false;
	return strcspn(authority(url), "/?#") > 0;
}

char *url_origin(const char *url)
{
	const char *start = authority(url);
	return g_strndup(url, (size_t)(start - url) + strcspn(start, "/?#"));
}

char *url_host(const char *url)
{
	const char *start = authority(url);
	g_autofree char *host = g_strndup(start, strcspn(start, "/?#"));
	const char *at = strrchr(host, '@');
	return g_strdup(at != NULL ? at + 1 : host);
}

char *url_scheme(const char *url)
{
	const char *sep = strstr(url, "://");
	return sep != NULL ? g_ascii_strdown(url, sep - url) : g_strdup("");
}

static char *escape(const char *s, const char *keep, bool plus)
{
	GString *out = g_string_new(NULL);
	for (const unsigned char *p = (const unsigned char *)s; *p != '\0'; p++) {
		if (g_ascii_isalnum(*p) || strchr(keep, *p) != NULL)
			g_string_append_c(out, (char)*p);
		else if (plus && *p == ' ')
			g_string_append_c(out, '+');
		else
			g_string_append_printf(out, "%%%02X", *p);
	}
	return g_string_free(out, FALSE);
}

char *url_query_escape(const char *s)
{
	return escape(s, "-_.~", true);
}

char *url_path_escape(const char *path)
{
	return escape(path, "-_.~/:@!$&'()*+,;=%", false);
}

char *url_add_query(const char *url, const char *query)
{
	if (*query == '\0')
		return g_strdup(url);
	return g_strconcat(url, strchr(url, '?') != NULL ? "&" : "?", query, NULL);
}

char *url_resolve(const char *base, const char *location)
{
	g_autofree char *joined = NULL;
	if (strstr(location, "://") != NULL && strcspn(location, "/?#") >= strcspn(location, ":")) {
		joined = g_strdup(location);
	} else if (g_str_has_prefix(location, "//")) {
		g_autofree char *scheme = url_scheme(base);
		joined = g_strconcat(scheme, ":", location, NULL);
	} else {
		g_autofree char *origin = url_origin(base);
		if (*location == '/') {
			joined = g_strconcat(origin, location, NULL);
		} else {
			g_autofree char *path = g_strndup(base, strcspn(base, "?#"));
			char *slash = strrchr(path, '/');
			bool has_path = slash != NULL && slash >= path + strlen(origin);
			if (has_path)
				*slash = '\0';
			joined = g_strconcat(path, "/", location, NULL);
		}
	}
	joined[strcspn(joined, "#")] = '\0';
	return url_is_http(joined) ? g_steal_pointer(&joined) : NULL;
}

char *url_redact(const char *url)
{
	g_autoptr(GString) out = g_string_new(NULL);
	const char *start = authority(url);
	size_t len = strcspn(start, "/?#");
	const char *at = memrchr(start, '@', len),
	           *colon = at != NULL ? memchr(start, ':', (size_t)(at - start)) : NULL;
	g_string_append_len(out, url, (at != NULL && colon != NULL ? colon : start) - url);
	if (at != NULL && colon != NULL) {
		g_string_append(out, ":xxxxx");
		start = at;
	}
	size_t path = strcspn(start, "?");
	g_string_append_len(out, start, (gssize)path);
	if (start[path] == '\0')
		return g_strdup(out->str);
	g_auto(GStrv) pairs = g_strsplit(start + path + 1, "&", -1);
	for (size_t i = 0; pairs[i] != NULL; i++) {
		const char *equal = strchr(pairs[i], '=');
		g_string_append_c(out, i == 0 ? '?' : '&');
		if (equal == NULL || equal[1] == '\0' || g_str_has_prefix(pairs[i], "ns="))
			g_string_append(out, pairs[i]);
		else
			g_string_append_printf(out, "%.*s=REDACTED", (int)(equal - pairs[i]), pairs[i]);
	}
	return g_strdup(out->str);
}
