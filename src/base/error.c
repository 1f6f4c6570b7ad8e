// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include <string.h>

GQuark ctrd_error_quark(void)
{
	return g_quark_from_static_string("ctrd-error");
}

static const char *const class_texts[CTRD_ERROR_N_CODES] = {
        [CTRD_ERR_UNKNOWN] = "unknown",
        [CTRD_ERR_INVALID_ARGUMENT] = "invalid argument",
        [CTRD_ERR_NOT_FOUND] = "not found",
        [CTRD_ERR_ALREADY_EXISTS] = "already exists",
        [CTRD_ERR_PERMISSION_DENIED] = "permission denied",
        [CTRD_ERR_RESOURCE_EXHAUSTED] = "resource exhausted",
        [CTRD_ERR_FAILED_PRECONDITION] = "failed precondition",
        [CTRD_ERR_CONFLICT] = "conflict",
        [CTRD_ERR_NOT_MODIFIED] = "not modified",
        [CTRD_ERR_ABORTED] = "aborted",
        [CTRD_ERR_OUT_OF_RANGE] = "out of range",
        [CTRD_ERR_NOT_IMPLEMENTED] = "not implemented",
        [CTRD_ERR_INTERNAL] = "internal",
        [CTRD_ERR_UNAVAILABLE] = "unavailable",
        [CTRD_ERR_DATA_LOSS] = "data loss",
        [CTRD_ERR_UNAUTHENTICATED] = "unauthorized",
        [CTRD_ERR_CANCELED] = "context canceled",
        [CTRD_ERR_DEADLINE_EXCEEDED] = "context deadline exceeded",
};

const char *error_class_text(CtrdErrorCode code)
{
	return (unsigned)code < CTRD_ERROR_N_CODES ? class_texts[code] : class_texts[CTRD_ERR_UNKNOWN];
}

CtrdErrorCode error_class(const GError *error)
{
	if (error == NULL || error->domain != CTRD_ERROR || (unsigned)error->code >= CTRD_ERROR_N_CODES)
		return CTRD_ERR_UNKNOWN;
	return (CtrdErrorCode)error->code;
}

bool error_is(const GError *error, CtrdErrorCode code)
{
	return error != NULL && error_class(error) == code;
}

bool error_set(GError **error, CtrdErrorCode code, const char *format, ...)
{
	if (error == NULL)
		return false;
	va_list ap;
	va_start(ap, format);
	GError *e = g_error_new_valist(CTRD_ERROR, (int)code, format, ap);
	va_end(ap);
	g_propagate_error(error, e);
	return false;
}

static void set_with_suffix(GError **error, CtrdErrorCode code, const char *suffix, const char *format,
                            va_list ap) G_GNUC_PRINTF(4, 0);

static void set_with_suffix(GError **error, CtrdErrorCode code, const char *suffix, const char *format,
                            va_list ap)
{
	g_autofree char *text = g_strdup_vprintf(format, ap);
	g_set_error(error, CTRD_ERROR, (int)code, "%s: %s", text, suffix);
}

bool error_set_class(GError **error, CtrdErrorCode code, const char *format, ...)
{
	if (error == NULL)
		return false;
	va_list ap;
	va_start(ap, format);
	set_with_suffix(error, code, error_class_text(code), format, ap);
	va_end(ap);
	return false;
}

bool error_set_errno(GError **error, int errnum, const char *format, ...)
{
	if (error == NULL)
		return false;
	g_autofree char *suffix = errno_text(errnum);
	va_list ap;
	va_start(ap, format);
	set_with_suffix(error, CTRD_ERR_UNKNOWN, suffix, format, ap);
	va_end(ap);
	return false;
}

bool error_set_errno_class(GError **error, CtrdErrorCode code, int errnum, const char *format, ...)
{
	if (error == NULL)
		return false;
	g_autofree char *suffix = errno_text(errnum);
	va_list ap;
	va_start(ap, format);
	set_with_suffix(error, code, suffix, format, ap);
	va_end(ap);
	return false;
}

bool error_prefix(GError **error, const char *format, ...)
{
	if (error == NULL || *error == NULL)
		return false;
	va_list ap;
	va_start(ap, format);
	g_autofree char *prefix = g_strdup_vprintf(format, ap);
	va_end(ap);
	g_prefix_error(error, "%s: ", prefix);
	return false;
}

void error_reclass(GError **error, CtrdErrorCode code)
{
	if (error == NULL || *error == NULL)
		return;
	(*error)->domain = CTRD_ERROR;
	(*error)->code = (int)code;
}

char *errno_text(int errnum)
{
	const char *desc = strerrordesc_np(errnum);
	if (desc == NULL || errnum <= 0)
		return g_strdup_printf("errno %d", errnum);
	char *text = g_strdup(desc);
	if (!(g_ascii_isupper(text[0]) && g_ascii_isupper(text[1])))
		text[0] = g_ascii_tolower(text[0]);
	return text;
}

/* What Go's unicode.IsPrint refuses: controls, formats, separators but the ASCII space, private use,
 * noncharacters. Unassigned code points are not listed, so they count as printable here. GLib's
 * g_unichar_type knows all of them, by tables of 280 kB that the shim would carry for this alone (see
 * shim/glib-none.c). */
static const struct {
	gunichar first, last;
} not_printable[] = {
        {0x0, 0x1f},        {0x7f, 0xa0},        {0xad, 0xad},       {0x600, 0x605},     {0x61c, 0x61c},
        {0x6dd, 0x6dd},     {0x70f, 0x70f},      {0x890, 0x891},     {0x8e2, 0x8e2},     {0x1680, 0x1680},
        {0x180e, 0x180e},   {0x2000, 0x200f},    {0x2028, 0x202f},   {0x205f, 0x206f},   {0x3000, 0x3000},
        {0xd800, 0xf8ff},   {0xfdd0, 0xfdef},    {0xfeff, 0xfeff},   {0xfff0, 0xfffb},   {0xfffe, 0xffff},
        {0x110bd, 0x110bd}, {0x110cd, 0x110cd},  {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
        {0xe0001, 0xe007f}, {0xf0000, 0x10ffff},
};

static bool rune_is_print(gunichar r)
{
	for (size_t i = 0; i < G_N_ELEMENTS(not_printable); i++) {
		if (r >= not_printable[i].first && r <= not_printable[i].last)
			return false;
	}
	return true;
}

/* Writes the escaped form of the rune at *s (at most 10 bytes) to out, moves *s past it. */
static size_t quote_rune(const char **s, char out[16])
{
	static const char hex[] = "0123456789abcdef";
	static const char letter_of[] = "abtnvfr"; // for bytes 7 to 13
	const unsigned char c = (unsigned char)**s;

	gunichar r = c;
	size_t width = 1;
	if (c >= 0x80) {
		r = g_utf8_get_char_validated(*s, -1);
		if (r == (gunichar)-1 || r == (gunichar)-2) {
			(*s)++;
			memcpy(out, "\\x", 2);
			out[2] = hex[c >> 4];
			out[3] = hex[c & 15];
			return 4;
		}
		width = (size_t)(g_utf8_next_char(*s) - *s);
	}
	const char *start = *s;
	*s += width;
	if (r == '"' || r == '\\') {
		out[0] = '\\';
		out[1] = (char)r;
		return 2;
	}
	if (rune_is_print(r)) {
		memcpy(out, start, width);
		return width;
	}
	out[0] = '\\';
	if (r >= 7 && r <= 13) {
		out[1] = letter_of[r - 7];
		return 2;
	}
	int digits = r < ' ' || r == 0x7f ? 2 : r < 0x10000 ? 4 : 8;
	out[1] = digits == 2 ? 'x' : digits == 4 ? 'u' : 'U';
	for (int i = 0; i < digits; i++)
		out[2 + i] = hex[(r >> (4 * (digits - 1 - i))) & 15];
	return 2 + (size_t)digits;
}

char *go_quote(const char *s)
{
	GString *quoted = g_string_new("\"");
	char token[16];
	while (*s != '\0') {
		size_t n = quote_rune(&s, token);
		g_string_append_len(quoted, token, (gssize)n);
	}
	g_string_append_c(quoted, '"');
	return g_string_free(quoted, FALSE);
}

const char *go_quote_auto(GoQuoteTmp *tmp, const char *s)
{
	const size_t room = sizeof(tmp->buf) - sizeof("...\"");
	size_t len = 0;
	tmp->buf[len++] = '"';
	while (*s != '\0') {
		char token[16];
		size_t n = quote_rune(&s, token);
		if (len + n > room) {
			memcpy(tmp->buf + len, "...", 3);
			len += 3;
			break;
		}
		memcpy(tmp->buf + len, token, n);
		len += n;
	}
	tmp->buf[len++] = '"';
	tmp->buf[len] = '\0';
	return tmp->buf;
}
