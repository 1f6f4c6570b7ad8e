// SPDX-License-Identifier: Apache-2.0
/*
 * upstream reads a reference as Go's net/url reads `dummy://` + reference, so what is refused, and why, is
 * decided by the rules of URLs: the host's characters and port, escapes, what follows "?" and "#".
 */
#include "oci/reference.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include <arpa/inet.h>
#include <string.h>

void ref_spec_clear(RefSpec *r)
{
	g_free(r->locator);
	g_free(r->object);
	*r = (RefSpec){0};
}

static bool url_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool url_fail(GError **error, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	return error_set(error, CTRD_ERR_UNKNOWN, "%s", text);
}

static bool is_host_char(char c)
{
	return (unsigned char)c >= 0x80 || g_ascii_isalnum(c) || strchr("!$&'()*+,;=:[]<>\"-_.~", c) != NULL;
}

/* Decodes %XX. In a host only bytes outside ASCII may be written so, and the rest is limited too. */
static bool unescape(const char *s, bool host, char **ret, GError **error)
{
	g_autoptr(GString) out = g_string_new(NULL);
	for (; *s != '\0'; s++) {
		if (*s == '%') {
			g_autofree char *escape = g_strndup(s, 3);
			bool hex = g_ascii_isxdigit(s[1]) && g_ascii_isxdigit(s[2]);
			int value = hex ? g_ascii_xdigit_value(s[1]) * 16 + g_ascii_xdigit_value(s[2]) : 0;
			// a NUL would end our strings: no name has one
			if (value == 0 || (host && value < 0x80 && value != '%'))
				return url_fail(error, "invalid URL escape %s", Q(escape));
			g_string_append_c(out, (char)value);
			s += 2;
		} else if (host && !is_host_char(*s)) {
			char bad[2] = {*s, '\0'};
			return url_fail(error, "invalid character %s in host name", Q(bad));
		} else {
			g_string_append_c(out, *s);
		}
	}
	*ret = g_string_free(g_steal_pointer(&out), FALSE);
	return true;
}

/* "" or ":" and digits. */
static bool is_optional_port(const char *s)
{
	return *s == '\0' || (*s == ':' && s[1 + strspn(s + 1, "0123456789")] == '\0');
}

static bool parse_bracketed_host(const char *host, char **ret, GError **error)
{
	const char *close = strrchr(host, ']');
	if (close == NULL)
		return url_fail(error, "missing ']' in host");
	if (!is_optional_port(close + 1))
		return url_fail(error, "invalid port %s after host", Q(close + 1));
	if (*host != '[')
		return url_fail(error, "invalid IP-literal");
	g_autofree char *inside = g_strndup(host + 1, (gsize)(close - host - 1)), *name = NULL;
	if (!unescape(inside, true, &name, error))
		return false;
	g_autofree char *address = g_strndup(name, strcspn(name, "%")); // without the zone
	struct in6_addr in6;
	if (inet_pton(AF_INET6, address, &in6) != 1)
		return url_fail(error, "invalid host: ParseAddr(%s): unable to parse IP", Q(name));
	*ret = g_strdup_printf("[%s]%s", name, close + 1);
	return true;
}

static bool parse_host(const char *host, char **ret, GError **error)
{
	if (strchr(host, '[') != NULL)
		return parse_bracketed_host(host, ret, error);
	const char *colon = strchr(host, ':');
	if (colon != NULL && !is_optional_port(colon))
		return url_fail(error, "invalid port %s after host", Q(colon));
	return unescape(host, true, ret, error);
}

static bool is_userinfo(const char *s)
{
	for (; *s != '\0'; s++)
		if (!g_ascii_isalnum(*s) && strchr("-._:~!$&'()*+,;=%@", *s) == NULL)
			return false;
	return true;
}

/* [user@]host[:port]; who the user is does not matter. */
static bool parse_authority(const char *authority, char **ret_host, GError **error)
{
	const char *at = strrchr(authority, '@');
	if (at == NULL)
		return parse_host(authority, ret_host, error);
	if (!parse_host(at + 1, ret_host, error))
		return false;
	g_autofree char *user = g_strndup(authority, (gsize)(at - authority)), *decoded = NULL;
	if (!is_userinfo(user))
		return url_fail(error, "net/url: invalid userinfo");
	return unescape(user, false, &decoded, error);
}

/* The host and the decoded path of dummy://s. */
static bool parse_url(const char *s, char **ret_host, char **ret_path, GError **error)
{
	g_autofree char *whole = g_strndup(s, strcspn(s, "#"));
	g_autoptr(GError) why = NULL;
	bool ok = true;
	for (const char *p = whole; *p != '\0' && ok; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			ok = url_fail(&why, "net/url: invalid control character in URL");
	if (ok) {
		g_autofree char *rest = g_strndup(whole, strcspn(whole, "?"));
		size_t len = strcspn(rest, "/");
		g_autofree char *authority = g_strndup(rest, len);
		ok = parse_authority(authority, ret_host, &why) &&
		     unescape(rest + len, false, ret_path, &why);
	}
	if (!ok) {
		g_autofree char *url = g_strconcat("dummy://", whole, NULL);
		return error_set(error, CTRD_ERR_UNKNOWN, "parse %s: %s", Q(url), why->message);
	}
	return true;
}

bool ref_spec_parse(const char *s, RefSpec *ret, GError **error)
{
	g_autofree char *host = NULL, *path = NULL;
	if (strstr(s, "://") != NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid reference");
	if (!parse_url(s, &host, &path, error))
		return false;
	if (*host == '\0')
		return error_set(error, CTRD_ERR_UNKNOWN, "hostname required");
	size_t len = strcspn(path, ":@");
	const char *object = path + len + (path[len] == ':');
	g_autofree char *joined = g_strdup_printf("%s/%.*s", host, (int)len, path);
	*ret = (RefSpec){.locator = path_clean(joined), .object = g_strdup(object)};
	return true;
}

char *ref_spec_hostname(const RefSpec *r)
{
	return g_strndup(r->locator, strcspn(r->locator, "/"));
}

const char *ref_spec_path(const RefSpec *r)
{
	const char *slash = strchr(r->locator, '/');
	return slash != NULL ? slash + 1 : "";
}

const char *ref_spec_digest(const RefSpec *r)
{
	const char *at = strchr(r->object, '@');
	return at != NULL ? at + 1 : "";
}

char *ref_spec_tag(const RefSpec *r)
{
	return g_strndup(r->object, strcspn(r->object, "@"));
}

char *ref_spec_format(const RefSpec *r)
{
	if (*r->object == '\0')
		return g_strdup(r->locator);
	return g_strconcat(r->locator, *r->object == '@' ? "" : ":", r->object, NULL);
}
