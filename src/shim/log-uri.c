// SPDX-License-Identifier: Apache-2.0

#include "shim/log-uri.h"

#include "base/error.h"
#include <string.h>

void log_uri_clear(LogUri *uri)
{
	g_clear_pointer(&uri->path, g_free);
	g_clear_pointer(&uri->args, g_ptr_array_unref);
}

/* The length of the scheme before the colon, 0 where there is none (Go's getScheme). */
static size_t scheme_length(const char *s)
{
	for (size_t i = 0; s[i] != '\0'; i++) {
		if (s[i] == ':')
			return i;
		if (!g_ascii_isalpha(s[i]) &&
		    (i == 0 || (!g_ascii_isdigit(s[i]) && strchr("+-.", s[i]) == NULL)))
			return 0;
	}
	return 0;
}

/* Percent decoding; plus is a space in queries. NULL: a bad escape, or a NUL. */
static char *unescape(const char *s, size_t len, bool query)
{
	g_autoptr(GString) out = g_string_sized_new(len);
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '%') {
			if (i + 2 >= len || !g_ascii_isxdigit(s[i + 1]) || !g_ascii_isxdigit(s[i + 2]))
				return NULL;
			char c = (char)(g_ascii_xdigit_value(s[i + 1]) * 16 + g_ascii_xdigit_value(s[i + 2]));
			if (c == '\0')
				return NULL;
			g_string_append_c(out, c);
			i += 2;
		} else {
			g_string_append_c(out, query && s[i] == '+' ? ' ' : s[i]);
		}
	}
	return g_string_free(g_steal_pointer(&out), FALSE);
}

static bool has_key(const GPtrArray *args, const char *key)
{
	for (guint i = 0; i + 1 < args->len; i += 2)
		if (strcmp(args->pdata[i], key) == 0)
			return true;
	return false;
}

/* Pairs that Go's url.Values would drop (a semicolon, a bad escape) are dropped; of a repeated key the first
 * value counts. Upstream hands them over in the random order of a Go map, ours keep the order of the query.
 */
static void parse_query(const char *query, GPtrArray *args)
{
	for (const char *p = query; p != NULL && *p != '\0';) {
		const char *end = strchrnul(p, '&');
		const char *eq = memchr(p, '=', (size_t)(end - p));
		const char *key_end = eq != NULL ? eq : end;
		if (end > p && memchr(p, ';', (size_t)(end - p)) == NULL) {
			g_autofree char *key = unescape(p, (size_t)(key_end - p), true);
			g_autofree char *value =
			        eq != NULL ? unescape(eq + 1, (size_t)(end - eq - 1), true) : g_strdup("");
			if (key != NULL && value != NULL && !has_key(args, key)) {
				g_ptr_array_add(args, g_steal_pointer(&key));
				g_ptr_array_add(args, g_steal_pointer(&value));
			}
		}
		p = *end == '&' ? end + 1 : NULL;
	}
}

bool log_uri_parse(const char *text, LogUri *ret, GError **error)
{
	*ret = (LogUri){.kind = LOG_URI_FIFO};
	size_t n = scheme_length(text);
	if (n == 0) {
		if (*text == ':')
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "unable to parse stdout uri: parse %s: missing protocol scheme",
			                 Q(text));
		ret->path = g_strdup(text);
		return true;
	}
	g_autofree char *scheme = g_ascii_strdown(text, (gssize)n);
	const struct {
		const char *name;
		LogUriKind kind;
	} kinds[] = {{"fifo", LOG_URI_FIFO},
	             {"file", LOG_URI_FILE},
	             {"binary", LOG_URI_BINARY},
	             {"binary-v2", LOG_URI_BINARY_V2}};
	unsigned i = 0;
	while (i < G_N_ELEMENTS(kinds) && strcmp(kinds[i].name, scheme) != 0)
		i++;
	if (i == G_N_ELEMENTS(kinds))
		return error_set(error, CTRD_ERR_UNKNOWN, "unknown STDIO scheme %s", scheme);

	const char *rest = text + n + 1;
	if (g_str_has_prefix(rest, "//")) {
		rest += 2;
		rest += strcspn(rest, "/?#"); // a host, which nobody uses
	}
	size_t path_len = strcspn(rest, "?#");
	g_autofree char *path = unescape(rest, path_len, false);
	if (path == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "unable to parse stdout uri: parse %s: invalid URL escape", Q(text));
	ret->kind = kinds[i].kind;
	ret->path = g_steal_pointer(&path);
	ret->args = g_ptr_array_new_with_free_func(g_free);
	if (rest[path_len] == '?') {
		const char *query = rest + path_len + 1;
		g_autofree char *without_fragment = g_strndup(query, strcspn(query, "#"));
		parse_query(without_fragment, ret->args);
	}
	return true;
}
