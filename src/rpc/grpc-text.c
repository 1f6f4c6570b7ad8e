// SPDX-License-Identifier: Apache-2.0
#include "rpc/grpc-text.h"

#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include <string.h>

/* ---- grpc-timeout ---- */

static int64_t timeout_unit(char c)
{
	switch (c) {
	case 'H':
		return 3600 * NS_PER_SEC;
	case 'M':
		return 60 * NS_PER_SEC;
	case 'S':
		return NS_PER_SEC;
	case 'm':
		return NS_PER_MS;
	case 'u':
		return 1000;
	case 'n':
		return 1;
	default:
		return 0;
	}
}

bool grpc_timeout_parse(const char *s, size_t len, int64_t *ret_ns, char **ret_why)
{
	g_autofree char *text = g_strndup(s, MIN(len, (size_t)64));
	const char *what = NULL;
	int64_t unit = len > 0 ? timeout_unit(s[len - 1]) : 0;
	if (len < 2)
		what = "timeout string is too short";
	else if (len > 9)
		what = "timeout string is too long";
	else if (unit == 0)
		what = "timeout unit is not recognized";
	if (what != NULL) {
		*ret_why = g_strdup_printf("transport: %s: %s", what, Q(text));
		return false;
	}
	text[len - 1] = '\0';
	uint64_t n;
	if (!parse_u64(text, &n)) {
		*ret_why = g_strdup_printf("strconv.ParseUint: parsing %s: invalid syntax", Q(text));
		return false;
	}
	*ret_ns = n > (uint64_t)(INT64_MAX / unit) ? INT64_MAX : (int64_t)n * unit;
	return true;
}

void grpc_timeout_format(int64_t ns, char out[16])
{
	static const char units[] = "numSMH";
	const int64_t max = 99999999;
	if (ns < 0)
		ns = 0;
	for (const char *u = units; *u != '\0'; u++) {
		int64_t unit = timeout_unit(*u);
		int64_t n = ns / unit + (ns % unit != 0);
		if (n <= max || u[1] == '\0') {
			g_snprintf(out, 16, "%" G_GINT64_FORMAT "%c", n, *u);
			return;
		}
	}
}

/* ---- grpc-message ---- */

char *grpc_message_encode(const char *text, size_t max)
{
	static const char hex[] = "0123456789ABCDEF";
	GString *out = g_string_new(NULL);
	const char *end = text + strnlen(text, max);
	while (text < end) {
		const char *valid_end;
		g_utf8_validate_len(text, (gsize)(end - text), &valid_end);
		for (; text < valid_end; text++) {
			uint8_t c = (uint8_t)*text;
			if (c >= ' ' && c <= '~' && c != '%')
				g_string_append_c(out, (char)c);
			else
				g_string_append_printf(out, "%%%c%c", hex[c >> 4], hex[c & 15]);
		}
		if (text < end) {
			g_string_append(out, "%EF%BF%BD");
			text++;
		}
	}
	return g_string_free(out, FALSE);
}

char *grpc_message_decode(const char *s, size_t len)
{
	GString *out = g_string_sized_new(len);
	for (size_t i = 0; i < len; i++) {
		int hi = -1, lo = -1;
		if (s[i] == '%' && i + 2 < len) {
			hi = g_ascii_xdigit_value(s[i + 1]);
			lo = g_ascii_xdigit_value(s[i + 2]);
		}
		if (hi >= 0 && lo >= 0) {
			g_string_append_c(out, (char)(hi << 4 | lo));
			i += 2;
		} else {
			g_string_append_c(out, s[i]);
		}
	}
	return g_string_free(out, FALSE);
}

/* ---- -bin ---- */

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool grpc_bin_decode(const char *s, size_t len, uint8_t **ret, size_t *ret_len, size_t *ret_at)
{
	size_t n = len;
	if (len % 4 == 0)
		for (unsigned pad = 0; pad < 2 && n > 0 && s[n - 1] == '='; pad++)
			n--;
	for (size_t i = 0; i < n; i++) {
		if (base64_value(s[i]) < 0) {
			*ret_at = i;
			return false;
		}
	}
	if (n % 4 == 1) {
		*ret_at = n;
		return false;
	}
	uint8_t *out = g_malloc(n / 4 * 3 + 3);
	size_t used = 0;
	uint32_t bits = 0;
	for (size_t i = 0; i < n; i++) {
		bits = bits << 6 | (uint32_t)base64_value(s[i]);
		if (i % 4 != 0)
			out[used++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
	}
	*ret = out;
	*ret_len = used;
	return true;
}

char *grpc_bin_encode(const void *data, size_t len)
{
	char *s = g_base64_encode(data, len);
	size_t n = strlen(s);
	while (n > 0 && s[n - 1] == '=')
		s[--n] = '\0';
	return s;
}

/* ---- headers ---- */

bool grpc_content_type_ok(const char *s, size_t len)
{
	static const char base[] = "application/grpc";
	size_t n = sizeof(base) - 1;
	return len >= n && memcmp(s, base, n) == 0 && (len == n || s[n] == '+' || s[n] == ';');
}

bool grpc_header_reserved(const char *name, size_t len)
{
	static const char *const names[] = {"content-type",
	                                    "grpc-message-type",
	                                    "grpc-encoding",
	                                    "grpc-message",
	                                    "grpc-status",
	                                    "grpc-timeout",
	                                    "te"};
	if (len > 0 && name[0] == ':')
		return true;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return true;
	return false;
}

const char *grpc_http_status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} table[] = {
	        {200, "OK"},
	        {204, "No Content"},
	        {301, "Moved Permanently"},
	        {302, "Found"},
	        {307, "Temporary Redirect"},
	        {308, "Permanent Redirect"},
	        {400, "Bad Request"},
	        {401, "Unauthorized"},
	        {403, "Forbidden"},
	        {404, "Not Found"},
	        {405, "Method Not Allowed"},
	        {408, "Request Timeout"},
	        {413, "Request Entity Too Large"},
	        {415, "Unsupported Media Type"},
	        {429, "Too Many Requests"},
	        {431, "Request Header Fields Too Large"},
	        {500, "Internal Server Error"},
	        {501, "Not Implemented"},
	        {502, "Bad Gateway"},
	        {503, "Service Unavailable"},
	        {504, "Gateway Timeout"},
	        {505, "HTTP Version Not Supported"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
		if (table[i].status == status)
			return table[i].text;
	return "";
}
