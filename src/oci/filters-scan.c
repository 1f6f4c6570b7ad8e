// SPDX-License-Identifier: Apache-2.0
#include "oci/filters-scan.h"
#include <string.h>

void scanner_init(Scanner *s, const char *input)
{
	*s = (Scanner){.input = input, .len = strlen(input)};
}

static void note(Scanner *s, const char *error)
{
	if (s->error == NULL)
		s->error = error;
}

static gunichar next(Scanner *s)
{
	if (s->pos >= s->len)
		return RUNE_EOF;
	s->pos = s->next_pos;
	if (s->pos >= s->len)
		return RUNE_EOF;
	const char *at = s->input + s->pos;
	gunichar r = g_utf8_get_char_validated(at, (gssize)(s->len - s->pos));
	bool invalid = r == (gunichar)-1 || r == (gunichar)-2;
	s->next_pos += invalid ? 1 : (size_t)(g_utf8_next_char(at) - at);
	if (invalid || r == 0xfffd) {
		note(s, "rune error");
		return RUNE_ILLEGAL;
	}
	return r;
}

gunichar scanner_peek(Scanner *s)
{
	size_t pos = s->pos, next_pos = s->next_pos;
	gunichar r = next(s);
	s->pos = pos;
	s->next_pos = next_pos;
	return r;
}

/* Neither the end nor something illegal. */
static bool is_rune(gunichar r)
{
	return r <= 0x10ffff;
}

static bool is_ascii_of(gunichar r, const char *set)
{
	return r > 0 && r < 0x80 && strchr(set, (int)r) != NULL;
}

static bool is_field_rune(gunichar r)
{
	return r == '_' || (r < 0x80 && g_ascii_isalnum((char)r));
}

/* As Go's unicode.IsSpace. */
static bool is_space(gunichar r)
{
	return is_ascii_of(r, "\t\n\v\f\r ") || r == 0x85 || r == 0xa0 || r == 0x1680 ||
	       (r >= 0x2000 && r <= 0x200a) || r == 0x2028 || r == 0x2029 || r == 0x202f || r == 0x205f ||
	       r == 0x3000;
}

/* Letters, marks, numbers, punctuation and symbols. */
static bool is_value_rune(gunichar r)
{
	if (r == ',' || !is_rune(r) || is_space(r))
		return false;
	switch (g_unichar_type(r)) {
	case G_UNICODE_CONTROL:
	case G_UNICODE_FORMAT:
	case G_UNICODE_UNASSIGNED:
	case G_UNICODE_PRIVATE_USE:
	case G_UNICODE_SURROGATE:
	case G_UNICODE_LINE_SEPARATOR:
	case G_UNICODE_PARAGRAPH_SEPARATOR:
		return false;
	default:
		return true;
	}
}

static bool is_operator_rune(gunichar r)
{
	return is_ascii_of(r, "=!~");
}

static void take_while(Scanner *s, bool (*is)(gunichar))
{
	while (is(scanner_peek(s)))
		next(s);
}

/* n digits, of which r is the first; r becomes what follows. */
static bool scan_digits(Scanner *s, gunichar *r, unsigned base, int n)
{
	for (; n > 0 && is_rune(*r) && *r < 0x80; n--) {
		int digit = g_ascii_xdigit_value((char)*r);
		if (digit < 0 || (unsigned)digit >= base)
			break;
		*r = next(s);
	}
	if (n > 0)
		note(s, "illegal numeric escape sequence");
	return n == 0;
}

/* After a backslash; r becomes what follows the escape. */
static bool scan_escape(Scanner *s, gunichar quote, gunichar *r)
{
	gunichar c = next(s);
	*r = c;
	if (is_ascii_of(c, "abfnrtv\\") || c == quote) {
		*r = next(s);
		return true;
	}
	if (c >= '0' && c <= '7')
		return scan_digits(s, r, 8, 3);
	if (c == 'x' || c == 'u' || c == 'U') {
		*r = next(s);
		return scan_digits(s, r, 16, c == 'x' ? 2 : c == 'u' ? 4 : 8);
	}
	note(s, "illegal escape sequence");
	return false;
}

static bool scan_quoted(Scanner *s, gunichar quote)
{
	bool legal = true;
	gunichar r = next(s);
	while (r != quote) {
		if (r == '\n' || !is_rune(r)) {
			note(s, "quoted literal not terminated");
			return false;
		}
		if (r == '\\')
			legal = scan_escape(s, quote, &r) && legal;
		else
			r = next(s);
	}
	return legal;
}

Token scanner_scan(Scanner *s, size_t *ret_start, size_t *ret_len)
{
	gunichar r = next(s);
	while (is_rune(r) && is_space(r))
		r = next(s);
	Token token;
	*ret_start = s->pos;
	*ret_len = 0;
	if (r == RUNE_EOF) {
		return TOKEN_EOF;
	} else if (r == RUNE_ILLEGAL) {
		return TOKEN_ILLEGAL;
	} else if (is_ascii_of(r, "/|\"")) {
		token = scan_quoted(s, r) ? TOKEN_QUOTED : TOKEN_ILLEGAL;
	} else if (is_ascii_of(r, ",.")) {
		s->value = false;
		token = TOKEN_SEPARATOR;
	} else if (is_operator_rune(r)) {
		take_while(s, is_operator_rune);
		s->value = true;
		token = TOKEN_OPERATOR;
	} else if (s->value) {
		take_while(s, is_value_rune);
		s->value = false;
		token = TOKEN_VALUE;
	} else if (is_field_rune(r)) {
		take_while(s, is_field_rune);
		token = TOKEN_FIELD;
	} else {
		return TOKEN_OTHER;
	}
	*ret_len = s->next_pos - *ret_start;
	return token;
}

/* ---- quotes ---- */

/* n hexadecimal digits. */
static bool take_hex(const char **s, const char *end, int n, gunichar *ret)
{
	gunichar value = 0;
	if (end - *s < n)
		return false;
	for (int i = 0; i < n; i++, (*s)++) {
		int digit = g_ascii_xdigit_value(**s);
		if (digit < 0)
			return false;
		value = value << 4 | (gunichar)digit;
	}
	*ret = value;
	return true;
}

static void append_rune(GString *out, gunichar r)
{
	bool surrogate = r >= 0xd800 && r < 0xe000;
	g_string_append_unichar(out, surrogate ? 0xfffd : r);
}

/* What follows a backslash. A NUL is refused: no field has one. */
static bool unquote_escape(const char **s, const char *end, char quote, GString *out)
{
	static const char from[] = "abfnrtv\\", to[] = "\a\b\f\n\r\t\v\\";
	gunichar value;
	if (*s == end)
		return false;
	char c = *(*s)++;
	const char *known = strchr(from, c);
	if (known != NULL) {
		g_string_append_c(out, to[known - from]);
		return true;
	}
	if (c == quote && strchr("'\"|/", c) != NULL) {
		g_string_append_c(out, c);
		return true;
	}
	if (c == 'x') {
		if (!take_hex(s, end, 2, &value) || value == 0)
			return false;
		g_string_append_c(out, (char)value); // a byte, not a rune
		return true;
	}
	if (c == 'u' || c == 'U') {
		if (!take_hex(s, end, c == 'u' ? 4 : 8, &value) || value > 0x10ffff || value == 0)
			return false;
		append_rune(out, value);
		return true;
	}
	if (c < '0' || c > '7' || end - *s < 2)
		return false;
	value = (gunichar)(c - '0');
	for (int i = 0; i < 2; i++, (*s)++) {
		if (**s < '0' || **s > '7')
			return false;
		value = value << 3 | (gunichar)(**s - '0');
	}
	if (value > 255 || value == 0)
		return false;
	g_string_append_c(out, (char)value);
	return true;
}

char *filter_unquote(const char *s, size_t len)
{
	if (len < 2 || s[0] != s[len - 1] || strchr("\"'`|/", s[0]) == NULL)
		return NULL;
	const char quote = s[0], *end = s + len - 1;
	g_autoptr(GString) out = g_string_new(NULL);
	if (quote != '`' && memchr(s, '\n', len) != NULL)
		return NULL;
	for (s++; s < end;) {
		if (*s == quote)
			return NULL;
		if (quote == '`') {
			if (*s != '\r')
				g_string_append_c(out, *s);
			s++;
		} else if (*s == '\\') {
			s++;
			if (!unquote_escape(&s, end, quote, out))
				return NULL;
		} else {
			g_string_append_c(out, *s++);
		}
	}
	// between single quotes stands one character
	if (quote == '\'' && g_utf8_strlen(out->str, (gssize)out->len) > 1)
		return NULL;
	return g_string_free(g_steal_pointer(&out), FALSE);
}
