// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/toml-private.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
	const char *p, *end;
	const char *line_start;
	const char *counted; // characters are counted up to here: `column`
	uint32_t line, column;
	char *file; // GRefString
	unsigned depth, n_values;
	GError **error;
} Parser;

/* Columns count characters: continuation bytes do not. Goes on from where it last was, so that a long line
 * costs no more than many short ones. */
static uint32_t column_of(Parser *ps, const char *at)
{
	if (ps->counted < ps->line_start || ps->counted > at) {
		ps->counted = ps->line_start;
		ps->column = 1;
	}
	for (; ps->counted < at; ps->counted++)
		ps->column += ((unsigned char)*ps->counted & 0xc0) != 0x80;
	return ps->column;
}

static bool fail_at(Parser *ps, uint32_t line, uint32_t column, const char *format, ...) G_GNUC_PRINTF(4, 5);
static bool fail_at(Parser *ps, uint32_t line, uint32_t column, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	return error_set(ps->error, CTRD_ERR_INVALID_ARGUMENT, "%s:%u:%u: %s", ps->file, line, column, text);
}

/* An error at the present place. */
#define FAIL(ps, ...) fail_at((ps), (ps)->line, column_of((ps), (ps)->p), __VA_ARGS__)

/* "expected X, found Y" with the character that is there. */
static bool fail_expected(Parser *ps, const char *what)
{
	if (ps->p >= ps->end)
		return FAIL(ps, "expected %s, found the end of the document", what);
	if (*ps->p == '\n' || *ps->p == '\r')
		return FAIL(ps, "expected %s, found the end of the line", what);
	const char *next = g_utf8_find_next_char(ps->p, ps->end);
	g_autofree char *found = g_strndup(ps->p, (size_t)((next != NULL ? next : ps->end) - ps->p));
	return FAIL(ps, "expected %s, found %s", what, Q(found));
}

static int peek(const Parser *ps)
{
	return ps->p < ps->end ? (unsigned char)*ps->p : -1;
}

static bool looking_at(const Parser *ps, const char *s)
{
	size_t n = strlen(s);

	return (size_t)(ps->end - ps->p) >= n && memcmp(ps->p, s, n) == 0;
}

static void skip_blank(Parser *ps)
{
	while (ps->p < ps->end && (*ps->p == ' ' || *ps->p == '\t'))
		ps->p++;
}

static bool is_control(int c)
{
	return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7f;
}

/* Is a line ended here (LF or CRLF)? */
static bool at_newline(const Parser *ps)
{
	return peek(ps) == '\n' || looking_at(ps, "\r\n");
}

static void take_newline(Parser *ps)
{
	ps->p += *ps->p == '\r' ? 2 : 1;
	ps->line++;
	ps->line_start = ps->p;
}

static bool skip_comment(Parser *ps)
{
	if (peek(ps) != '#')
		return true;
	while (ps->p < ps->end && !at_newline(ps)) {
		if (is_control(peek(ps)))
			return FAIL(ps, "control character U+%04X in a comment", peek(ps));
		ps->p++;
	}
	return true;
}

/* White space, comments and line ends between the elements of an array and between lines. */
static bool skip_lines(Parser *ps)
{
	for (;;) {
		skip_blank(ps);
		if (!skip_comment(ps))
			return false;
		if (!at_newline(ps))
			return true;
		take_newline(ps);
	}
}

static bool end_of_line(Parser *ps)
{
	skip_blank(ps);
	if (!skip_comment(ps))
		return false;
	if (ps->p >= ps->end)
		return true;
	if (!at_newline(ps))
		return fail_expected(ps, "the end of the line");
	take_newline(ps);
	return true;
}

static TomlValue *new_value(Parser *ps, TomlType type, uint32_t line, uint32_t column)
{
	if (++ps->n_values > TOML_MAX_VALUES) {
		FAIL(ps, "more than %u values", TOML_MAX_VALUES);
		return NULL;
	}
	TomlValue *v = toml_value_new(type);
	v->file = g_ref_string_acquire(ps->file);
	v->line = line;
	v->column = column;
	return v;
}

/* ---- strings ---- */

static void append_char(GString *out, uint32_t c)
{
	if (c == 0)
		g_string_append(out, "\xc0\x80"); // see toml.h
	else
		g_string_append_unichar(out, c);
}

static bool parse_unicode_escape(Parser *ps, unsigned digits, GString *out)
{
	uint32_t c = 0;

	for (unsigned i = 0; i < digits; i++, ps->p++) {
		int digit = ps->p < ps->end ? g_ascii_xdigit_value(*ps->p) : -1;

		if (digit < 0)
			return fail_expected(ps, digits == 4 ? "4 hexadecimal digits after \\u"
			                                     : "8 hexadecimal digits after \\U");
		c = c << 4 | (uint32_t)digit;
	}
	if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return FAIL(ps, "U+%04X is not a Unicode scalar value", c);
	append_char(out, c);
	return true;
}

/* After a backslash at the end of a line: eats white space up to the next other character. */
static bool skip_line_ending_backslash(Parser *ps)
{
	skip_blank(ps);
	if (!at_newline(ps))
		return fail_expected(ps, "the end of the line after a backslash");
	while (at_newline(ps) || peek(ps) == ' ' || peek(ps) == '\t') {
		if (at_newline(ps))
			take_newline(ps);
		else
			ps->p++;
	}
	return true;
}

static bool parse_escape(Parser *ps, bool multiline, GString *out)
{
	static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
	int c = peek(ps);
	const char *simple = c > 0 ? strchr(from, c) : NULL;

	if (simple != NULL) {
		g_string_append_c(out, to[simple - from]);
		ps->p++;
		return true;
	}
	if (c == 'u' || c == 'U') {
		ps->p++;
		return parse_unicode_escape(ps, c == 'u' ? 4 : 8, out);
	}
	if (multiline && (c == ' ' || c == '\t' || at_newline(ps)))
		return skip_line_ending_backslash(ps);
	return fail_expected(ps, "an escape (one of b t n f r u U \" \\) after a backslash");
}

/* Up to two quotes may stand before the closing three. */
static bool closes_multiline(Parser *ps, char quote, GString *out)
{
	const char three[] = {quote, quote, quote, '\0'};

	if (!looking_at(ps, three))
		return false;
	ps->p += 3;
	for (int i = 0; i < 2 && peek(ps) == quote; i++, ps->p++)
		g_string_append_c(out, quote);
	return true;
}

/* Any of the four forms of string; NULL on error. */
static char *parse_string(Parser *ps)
{
	char quote = *ps->p;
	const char three[] = {quote, quote, quote, '\0'};
	bool multiline = looking_at(ps, three), literal = quote == '\'';
	uint32_t line = ps->line, column = column_of(ps, ps->p);
	g_autoptr(GString) out = g_string_new(NULL);

	ps->p += multiline ? 3 : 1;
	if (multiline && at_newline(ps))
		take_newline(ps);
	for (;;) {
		if (ps->p >= ps->end || (!multiline && at_newline(ps))) {
			fail_at(ps, line, column, "string is not closed");
			return NULL;
		}
		if (multiline ? closes_multiline(ps, quote, out) : *ps->p == quote) {
			ps->p += multiline ? 0 : 1;
			return g_string_free(g_steal_pointer(&out), FALSE);
		}
		if (at_newline(ps)) {
			const char *start = ps->p;

			take_newline(ps);
			g_string_append_len(out, start, ps->p - start);
		} else if (*ps->p == '\\' && !literal) {
			ps->p++;
			if (!parse_escape(ps, multiline, out))
				return NULL;
		} else if (is_control(peek(ps))) {
			FAIL(ps, "control character U+%04X in a string", peek(ps));
			return NULL;
		} else {
			g_string_append_c(out, *ps->p++);
		}
	}
}

/* ---- numbers ---- */

/* The text of a number or boolean or time: up to what ends a value. */
static size_t token_length(const Parser *ps)
{
	size_t n = 0;

	while (ps->p + n < ps->end && strchr(" \t\r\n,]}#", ps->p[n]) == NULL)
		n++;
	return n;
}

/* Copies digits without underscores, each of which must stand between two digits; false where they are
 * misplaced or something else stands there. */
static bool take_digits(const char **s, bool (*is_digit)(char), GString *out)
{
	const char *p = *s;

	if (!is_digit(*p))
		return false;
	while (is_digit(*p) || *p == '_') {
		if (*p == '_' && !is_digit(p[1]))
			return false;
		if (*p != '_')
			g_string_append_c(out, *p);
		p++;
	}
	*s = p;
	return true;
}

static bool is_decimal(char c)
{
	return g_ascii_isdigit(c);
}

static bool is_hexadecimal(char c)
{
	return g_ascii_isxdigit(c);
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

static bool is_binary(char c)
{
	return c == '0' || c == '1';
}

static TomlValue *make_integer(Parser *ps, const char *token, const char *digits, int base)
{
	char *rest = NULL;

	errno = 0;
	gint64 i = g_ascii_strtoll(digits, &rest, (guint)base);
	if (errno != 0 || *rest != '\0') {
		FAIL(ps, "integer %s does not fit in 64 bits", token);
		return NULL;
	}
	TomlValue *v = new_value(ps, TOML_INTEGER, ps->line, column_of(ps, ps->p));
	if (v != NULL)
		v->integer = i;
	return v;
}

static TomlValue *parse_radix(Parser *ps, const char *token)
{
	g_autoptr(GString) digits = g_string_new(NULL);
	const char *s = token + 2;
	bool ok = token[1] == 'x'   ? take_digits(&s, is_hexadecimal, digits)
	          : token[1] == 'o' ? take_digits(&s, is_octal, digits)
	                            : take_digits(&s, is_binary, digits);

	if (!ok || *s != '\0') {
		FAIL(ps, "%s is not an integer", Q(token));
		return NULL;
	}
	return make_integer(ps, token, digits->str, token[1] == 'x' ? 16 : token[1] == 'o' ? 8 : 2);
}

static TomlValue *make_float(Parser *ps, double f)
{
	TomlValue *v = new_value(ps, TOML_FLOAT, ps->line, column_of(ps, ps->p));

	if (v != NULL)
		v->number = f;
	return v;
}

static TomlValue *parse_number(Parser *ps, const char *token)
{
	g_autoptr(GString) text = g_string_new(NULL);
	const char *s = token;
	bool is_float = false, ok;

	if (*s == '0' && (s[1] == 'x' || s[1] == 'o' || s[1] == 'b'))
		return parse_radix(ps, token);
	if (*s == '+' || *s == '-')
		g_string_append_c(text, *s++);
	if (strcmp(s, "inf") == 0 || strcmp(s, "nan") == 0)
		return make_float(ps, s[0] == 'n' ? NAN : *token == '-' ? -INFINITY : INFINITY);
	const char *integer = s;
	ok = take_digits(&s, is_decimal, text);
	if (ok && integer[0] == '0' && s > integer + 1) {
		FAIL(ps, "%s: a number may not start with 0", Q(token));
		return NULL;
	}
	if (ok && *s == '.') {
		is_float = true;
		g_string_append_c(text, *s++);
		ok = take_digits(&s, is_decimal, text);
	}
	if (ok && (*s == 'e' || *s == 'E')) {
		is_float = true;
		g_string_append_c(text, *s++);
		if (*s == '+' || *s == '-')
			g_string_append_c(text, *s++);
		ok = take_digits(&s, is_decimal, text);
	}
	if (!ok || *s != '\0') {
		FAIL(ps, "%s is not a value; a string needs quotes", Q(token));
		return NULL;
	}
	if (is_float) {
		double f = g_ascii_strtod(text->str, NULL);

		if (!isinf(f))
			return make_float(ps, f);
		FAIL(ps, "float %s does not fit in 64 bits", token);
		return NULL;
	}
	return make_integer(ps, token, text->str, 10);
}

/* ---- dates and times ---- */

static bool two_digits(const char **s, unsigned min, unsigned max, unsigned *ret)
{
	if (!g_ascii_isdigit((*s)[0]) || !g_ascii_isdigit((*s)[1]))
		return false;
	*ret = (unsigned)((*s)[0] - '0') * 10 + (unsigned)((*s)[1] - '0');
	*s += 2;
	return *ret >= min && *ret <= max;
}

static bool check_date(const char **s)
{
	unsigned century = 0, year = 0, month = 0, day = 0;

	if (!two_digits(s, 0, 99, &century) || !two_digits(s, 0, 99, &year) || *(*s)++ != '-' ||
	    !two_digits(s, 1, 12, &month) || *(*s)++ != '-' || !two_digits(s, 1, 31, &day))
		return false;
	year += century * 100;
	// Year 0 is a leap year, which GLib does not know.
	return day <= g_date_get_days_in_month((GDateMonth)month, (GDateYear)(year != 0 ? year : 400));
}

static bool check_time(const char **s)
{
	unsigned unused = 0;

	if (!two_digits(s, 0, 23, &unused) || *(*s)++ != ':' || !two_digits(s, 0, 59, &unused) ||
	    *(*s)++ != ':' || !two_digits(s, 0, 60, &unused)) // 60: a leap second
		return false;
	if (**s != '.')
		return true;
	(*s)++;
	if (!g_ascii_isdigit(**s))
		return false;
	while (g_ascii_isdigit(**s))
		(*s)++;
	return true;
}

static bool check_offset(const char **s)
{
	unsigned unused = 0;

	if (**s == 'Z' || **s == 'z') {
		(*s)++;
		return true;
	}
	if (**s != '+' && **s != '-')
		return false;
	(*s)++;
	return two_digits(s, 0, 23, &unused) && *(*s)++ == ':' && two_digits(s, 0, 59, &unused);
}

static bool looks_like_date(const char *s, size_t n)
{
	return n >= 5 && g_ascii_isdigit(s[0]) && g_ascii_isdigit(s[1]) && g_ascii_isdigit(s[2]) &&
	       g_ascii_isdigit(s[3]) && s[4] == '-';
}

static bool looks_like_time(const char *s, size_t n)
{
	return n >= 3 && g_ascii_isdigit(s[0]) && g_ascii_isdigit(s[1]) && s[2] == ':';
}

static TomlValue *parse_time(Parser *ps, const char *token)
{
	const char *s = token;
	TomlType type = TOML_LOCAL_TIME;
	bool ok;

	if (looks_like_time(token, strlen(token))) {
		ok = check_time(&s);
	} else {
		type = TOML_LOCAL_DATE;
		ok = check_date(&s);
		if (ok && *s != '\0') {
			type = TOML_LOCAL_DATETIME;
			ok = (*s == 'T' || *s == 't' || *s == ' ');
			s++;
			ok = ok && check_time(&s);
			if (ok && *s != '\0') {
				type = TOML_OFFSET_DATETIME;
				ok = check_offset(&s);
			}
		}
	}
	if (!ok || *s != '\0') {
		FAIL(ps, "%s is not a valid date or time", Q(token));
		return NULL;
	}
	TomlValue *v = new_value(ps, type, ps->line, column_of(ps, ps->p));
	if (v == NULL)
		return NULL;
	v->string = g_ascii_strup(token, -1);
	if (type == TOML_OFFSET_DATETIME || type == TOML_LOCAL_DATETIME)
		v->string[10] = 'T';
	return v;
}

/* ---- values ---- */

static TomlValue *parse_value(Parser *ps);

static TomlValue *parse_plain(Parser *ps)
{
	size_t n = token_length(ps);

	// A date may be followed by one space and a time.
	if (n == 10 && looks_like_date(ps->p, n) && ps->end - ps->p > 11 && ps->p[10] == ' ' &&
	    g_ascii_isdigit(ps->p[11])) {
		Parser rest = *ps;

		rest.p += 11;
		n += 1 + token_length(&rest);
	}
	if (n == 0) {
		fail_expected(ps, "a value");
		return NULL;
	}
	g_autofree char *token = g_strndup(ps->p, n);
	TomlValue *v = NULL;
	if (strcmp(token, "true") == 0 || strcmp(token, "false") == 0) {
		v = new_value(ps, TOML_BOOLEAN, ps->line, column_of(ps, ps->p));
		if (v != NULL)
			v->boolean = token[0] == 't';
	} else if (looks_like_date(token, n) || looks_like_time(token, n)) {
		v = parse_time(ps, token);
	} else {
		v = parse_number(ps, token);
	}
	ps->p += n;
	return v;
}

static TomlValue *parse_array(Parser *ps)
{
	g_autoptr(TomlValue) array = new_value(ps, TOML_ARRAY, ps->line, column_of(ps, ps->p));

	if (array == NULL)
		return NULL;
	ps->p++;
	for (;;) {
		if (!skip_lines(ps))
			return NULL;
		if (peek(ps) == ']')
			break;
		TomlValue *v = parse_value(ps);
		if (v == NULL)
			return NULL;
		toml_append(array, v);
		if (!skip_lines(ps))
			return NULL;
		if (peek(ps) == ',') {
			ps->p++;
		} else if (peek(ps) != ']') {
			fail_expected(ps, "\",\" or \"]\" in an array");
			return NULL;
		}
	}
	ps->p++;
	return g_steal_pointer(&array);
}

static bool parse_key_value(Parser *ps, TomlValue *table);

static TomlValue *parse_inline_table(Parser *ps)
{
	g_autoptr(TomlValue) table = new_value(ps, TOML_TABLE, ps->line, column_of(ps, ps->p));

	if (table == NULL)
		return NULL;
	ps->p++;
	skip_blank(ps);
	while (peek(ps) != '}' || toml_size(table) > 0) {
		if (!parse_key_value(ps, table))
			return NULL;
		skip_blank(ps);
		if (peek(ps) == '}')
			break;
		if (peek(ps) != ',') {
			fail_expected(ps, "\",\" or \"}\" in an inline table");
			return NULL;
		}
		ps->p++;
		skip_blank(ps);
	}
	ps->p++;
	table->state = TABLE_INLINE;
	return g_steal_pointer(&table);
}

static TomlValue *parse_value(Parser *ps)
{
	TomlValue *v = NULL;
	uint32_t line = ps->line, column = column_of(ps, ps->p);

	if (ps->depth >= TOML_MAX_DEPTH) {
		FAIL(ps, "more than %u levels", TOML_MAX_DEPTH);
		return NULL;
	}
	ps->depth++;
	switch (peek(ps)) {
	case '"':
	case '\'': {
		char *s = parse_string(ps);

		if (s == NULL)
			break;
		v = new_value(ps, TOML_STRING, line, column);
		if (v != NULL)
			v->string = s;
		else
			g_free(s);
		break;
	}
	case '[':
		v = parse_array(ps);
		break;
	case '{':
		v = parse_inline_table(ps);
		break;
	default:
		v = parse_plain(ps);
		break;
	}
	ps->depth--;
	return v;
}

/* ---- keys and tables ---- */

typedef struct {
	char *name;
	uint32_t line, column;
} KeyPart;

static void key_part_clear(void *p)
{
	g_free(((KeyPart *)p)->name);
}

/* A dotted key as an array of KeyPart; NULL on error. */
static GArray *parse_key(Parser *ps)
{
	g_autoptr(GArray) parts = g_array_new(FALSE, FALSE, sizeof(KeyPart));

	g_array_set_clear_func(parts, key_part_clear);
	for (;;) {
		skip_blank(ps);
		KeyPart part = {.line = ps->line, .column = column_of(ps, ps->p)};
		if (peek(ps) == '"' || peek(ps) == '\'') {
			if (looking_at(ps, "\"\"\"") || looking_at(ps, "'''")) {
				FAIL(ps, "a key may not be a multi-line string");
				return NULL;
			}
			part.name = parse_string(ps);
			if (part.name == NULL)
				return NULL;
		} else {
			const char *start = ps->p;

			while (ps->p < ps->end && (g_ascii_isalnum(*ps->p) || *ps->p == '-' || *ps->p == '_'))
				ps->p++;
			if (ps->p == start) {
				fail_expected(ps, "a key");
				return NULL;
			}
			part.name = g_strndup(start, (size_t)(ps->p - start));
		}
		g_array_append_val(parts, part);
		if (parts->len > TOML_MAX_DEPTH) {
			FAIL(ps, "more than %u levels", TOML_MAX_DEPTH);
			return NULL;
		}
		skip_blank(ps);
		if (peek(ps) != '.')
			return g_steal_pointer(&parts);
		ps->p++;
	}
}

/* The first parts of a key as it would be written. */
static char *key_text(const GArray *parts, guint n)
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (guint i = 0; i < n; i++)
		g_string_append_printf(text, "%s%s", i > 0 ? "." : "", g_array_index(parts, KeyPart, i).name);
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static bool fail_key(Parser *ps, const GArray *parts, guint i, const char *what, const TomlValue *first)
{
	const KeyPart *part = &g_array_index(parts, KeyPart, i);
	g_autofree char *text = key_text(parts, i + 1);

	return fail_at(ps, part->line, part->column, "%s %s (first at line %u)", Q(text), what, first->line);
}

/* Adds a value to a table under one part of a key and takes that part's position. */
static TomlValue *add_part(Parser *ps, TomlValue *table, const KeyPart *part, TomlType type, TableState state)
{
	TomlValue *v = new_value(ps, type, part->line, part->column);

	if (v == NULL)
		return NULL;
	v->state = state;
	return toml_table_add(table, part->name, v);
}

static bool parse_key_value(Parser *ps, TomlValue *table)
{
	g_autoptr(GArray) parts = parse_key(ps);

	if (parts == NULL)
		return false;
	if (ps->depth + parts->len > TOML_MAX_DEPTH)
		return FAIL(ps, "more than %u levels", TOML_MAX_DEPTH);
	for (guint i = 0; i + 1 < parts->len; i++) {
		const KeyPart *part = &g_array_index(parts, KeyPart, i);
		TomlValue *next = toml_get(table, part->name);

		if (next == NULL)
			next = add_part(ps, table, part, TOML_TABLE, TABLE_DOTTED);
		else if (next->type != TOML_TABLE)
			return fail_key(ps, parts, i, "is not a table", next);
		else if (next->state == TABLE_DEFINED || next->state == TABLE_INLINE)
			return fail_key(ps, parts, i, "is already complete: a dotted key may not add to it",
			                next);
		if (next == NULL)
			return false;
		table = next;
	}
	const KeyPart *last = &g_array_index(parts, KeyPart, parts->len - 1);
	TomlValue *old = toml_get(table, last->name);
	if (old != NULL)
		return fail_key(ps, parts, parts->len - 1, "is already set", old);
	if (peek(ps) != '=')
		return fail_expected(ps, "\"=\" after a key");
	ps->p++;
	skip_blank(ps);
	ps->depth += parts->len - 1;
	TomlValue *v = parse_value(ps);
	ps->depth -= parts->len - 1;
	if (v == NULL)
		return false;
	v->line = last->line;
	v->column = last->column;
	toml_table_add(table, last->name, v);
	return true;
}

/* The last element of an array made of headers, or the table itself; NULL where neither. */
static TomlValue *enter(TomlValue *v)
{
	if (v->type == TOML_ARRAY && v->of_tables)
		return toml_at(v, toml_size(v) - 1);
	return v->type == TOML_TABLE && v->state != TABLE_INLINE ? v : NULL;
}

/* [key] or [[key]]: *ret_table is where the following keys go. */
static bool parse_header(Parser *ps, TomlValue *root, TomlValue **ret_table)
{
	bool of_array = looking_at(ps, "[[");
	TomlValue *table = root;

	ps->p += of_array ? 2 : 1;
	g_autoptr(GArray) parts = parse_key(ps);
	if (parts == NULL)
		return false;
	if (!looking_at(ps, of_array ? "]]" : "]"))
		return fail_expected(ps, of_array ? "\"]]\" after the name of an array of tables"
		                                  : "\"]\" after the name of a table");
	ps->p += of_array ? 2 : 1;
	for (guint i = 0; i + 1 < parts->len; i++) {
		const KeyPart *part = &g_array_index(parts, KeyPart, i);
		TomlValue *next = toml_get(table, part->name);

		if (next == NULL) {
			next = add_part(ps, table, part, TOML_TABLE, TABLE_IMPLICIT);
			if (next == NULL)
				return false;
		}
		table = enter(next);
		if (table == NULL)
			return fail_key(ps, parts, i, "is not a table that can be added to", next);
	}
	guint last = parts->len - 1;
	const KeyPart *part = &g_array_index(parts, KeyPart, last);
	TomlValue *v = toml_get(table, part->name);
	ps->depth = parts->len;
	if (of_array) {
		if (v == NULL) {
			v = add_part(ps, table, part, TOML_ARRAY, TABLE_DEFINED);
			if (v == NULL)
				return false;
			v->of_tables = true;
		} else if (!v->of_tables) {
			return fail_key(ps, parts, last, "is not an array of tables", v);
		}
		TomlValue *element = new_value(ps, TOML_TABLE, part->line, part->column);
		if (element == NULL)
			return false;
		element->state = TABLE_DEFINED;
		toml_append(v, element);
		*ret_table = element;
		return true;
	}
	if (v == NULL) {
		v = add_part(ps, table, part, TOML_TABLE, TABLE_DEFINED);
		if (v == NULL)
			return false;
	} else if (v->type != TOML_TABLE) {
		return fail_key(ps, parts, last, "is not a table", v);
	} else if (v->state != TABLE_IMPLICIT) {
		return fail_key(ps, parts, last, "is already defined", v);
	}
	v->state = TABLE_DEFINED;
	v->line = part->line;
	v->column = part->column;
	*ret_table = v;
	return true;
}

static bool parse_document(Parser *ps, TomlValue *root)
{
	TomlValue *table = root;

	for (;;) {
		if (!skip_lines(ps))
			return false;
		if (ps->p >= ps->end)
			return true;
		bool ok = peek(ps) == '[' ? parse_header(ps, root, &table) : parse_key_value(ps, table);
		if (!ok || !end_of_line(ps))
			return false;
	}
}

/* Sets p to the first byte that is not UTF-8, so that the error can say where. */
static bool check_encoding(Parser *ps)
{
	const char *start = ps->p, *bad = NULL;

	// g_utf8_validate_len also refuses NUL, which TOML does too.
	if (g_utf8_validate_len(start, (size_t)(ps->end - start), &bad))
		return true;
	for (const char *s = start; s < bad; s++) {
		if (*s == '\n') {
			ps->line++;
			ps->line_start = s + 1;
		}
	}
	ps->p = bad;
	if (*bad == '\0')
		return FAIL(ps, "control character U+0000");
	return FAIL(ps, "invalid UTF-8");
}

TomlValue *toml_parse(const char *data, size_t len, const char *file, GError **error)
{
	Parser ps = {.p = data,
	             .end = data + len,
	             .line_start = data,
	             .counted = data,
	             .line = 1,
	             .column = 1,
	             .error = error};

	if (len > TOML_MAX_SIZE) {
		error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		          "%s: document of %zu bytes is larger than %u bytes",
		          file != NULL ? file : "<input>", len, TOML_MAX_SIZE);
		return NULL;
	}
	ps.file = g_ref_string_new(file != NULL ? file : "<input>");
	g_autoptr(TomlValue) root = toml_value_new(TOML_TABLE);
	root->state = TABLE_DEFINED;
	root->file = g_ref_string_acquire(ps.file);
	bool ok = check_encoding(&ps);
	if (ok && looking_at(&ps, "\xef\xbb\xbf")) { // a byte order mark, which editors add
		ps.p += 3;
		ps.line_start = ps.p;
	}
	ok = ok && parse_document(&ps, root);
	g_ref_string_release(ps.file);
	return ok ? g_steal_pointer(&root) : NULL;
}
