// SPDX-License-Identifier: Apache-2.0

/*
 * The layout is that of go-toml v2 with SetIndentTables(true), so that `config dump` of upstream and ours can
 * be compared with diff(1): the first sub-table of a table that has plain keys, and every further one, is
 * preceded by an empty line; a header stands at the level of its parent's keys.
 */

#include "base/toml-private.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_nul(const char *s)
{
	return (unsigned char)s[0] == 0xc0 && (unsigned char)s[1] == 0x80;
}

static bool needs_escapes(const char *s)
{
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '\'' || (c < 0x20 && c != '\t') || c == 0x7f || is_nul(s))
			return true;
	}
	return false;
}

static void write_quoted(GString *out, const char *s)
{
	g_string_append_c(out, '"');
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (is_nul(s)) {
			g_string_append(out, "\\u0000");
			s++;
		} else if (c == '\\' || c == '"') {
			g_string_append_c(out, '\\');
			g_string_append_c(out, *s);
		} else if (c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t') {
			g_string_append_c(out, '\\');
			g_string_append_c(out, "btnvfr"[c - '\b']);
		} else if (c < 0x20 || c == 0x7f) {
			g_string_append_printf(out, "\\u%04X", c);
		} else {
			g_string_append_c(out, *s);
		}
	}
	g_string_append_c(out, '"');
}

static void write_string(GString *out, const char *s)
{
	if (needs_escapes(s))
		write_quoted(out, s);
	else
		g_string_append_printf(out, "'%s'", s);
}

static void write_key(GString *out, const char *key)
{
	size_t bare = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

	if (bare > 0 && key[bare] == '\0')
		g_string_append(out, key);
	else
		write_string(out, key);
}

/* As Go's FormatFloat(f, 'f', -1, 64): the fewest digits that read back as the same number, never an
 * exponent. */
static void write_float(GString *out, double f)
{
	char digits[40];

	if (isnan(f) || isinf(f)) {
		g_string_append(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
		return;
	}
	for (int precision = 0; precision < 17; precision++) {
		char format[8];

		g_snprintf(format, sizeof(format), "%%.%de", precision);
		g_ascii_formatd(digits, sizeof(digits), format, f);
		if (g_ascii_strtod(digits, NULL) == f)
			break;
	}
	const char *p = digits;
	if (*p == '-') {
		g_string_append_c(out, '-');
		p++;
	}
	char *e = strchr(digits, 'e');
	int exponent = (int)strtol(e + 1, NULL, 10);
	g_autoptr(GString) mantissa = g_string_new(NULL);
	for (; p < e; p++) {
		if (*p != '.')
			g_string_append_c(mantissa, *p);
	}
	if (exponent < 0) {
		g_string_append(out, "0.");
		for (int i = -1; i > exponent; i--)
			g_string_append_c(out, '0');
		g_string_append(out, mantissa->str);
		return;
	}
	while (mantissa->len < (size_t)exponent + 2)
		g_string_append_c(mantissa, '0');
	g_string_append_len(out, mantissa->str, exponent + 1);
	g_string_append_printf(out, ".%s", mantissa->str + exponent + 1);
}

void toml_write_value(GString *out, const TomlValue *v)
{
	switch (v->type) {
	case TOML_STRING:
		write_string(out, v->string);
		break;
	case TOML_INTEGER:
		g_string_append_printf(out, "%" G_GINT64_FORMAT, v->integer);
		break;
	case TOML_FLOAT:
		write_float(out, v->number);
		break;
	case TOML_BOOLEAN:
		g_string_append(out, v->boolean ? "true" : "false");
		break;
	case TOML_ARRAY:
	case TOML_TABLE:
		g_string_append_c(out, v->type == TOML_ARRAY ? '[' : '{');
		for (size_t i = 0; i < toml_size(v); i++) {
			if (i > 0)
				g_string_append(out, ", ");
			if (v->type == TOML_TABLE) {
				write_key(out, toml_key_at(v, i));
				g_string_append(out, " = ");
			}
			toml_write_value(out, toml_at(v, i));
		}
		g_string_append_c(out, v->type == TOML_ARRAY ? ']' : '}');
		break;
	default:
		g_string_append(out, v->string);
		break;
	}
}

/* Is it written under headers of its own? Arrays only where every element is a table. */
static bool has_header(const TomlValue *v)
{
	if (v->type != TOML_ARRAY)
		return v->type == TOML_TABLE;
	for (size_t i = 0; i < toml_size(v); i++) {
		if (toml_type(toml_at(v, i)) != TOML_TABLE)
			return false;
	}
	return toml_size(v) > 0;
}

static void indent(GString *out, unsigned level)
{
	for (unsigned i = 0; i < level; i++)
		g_string_append(out, "  ");
}

static void write_header(GString *out, const char *path, unsigned level, bool of_array)
{
	indent(out, level);
	g_string_append_printf(out, of_array ? "[[%s]]\n" : "[%s]\n", path);
}

static void write_table(GString *out, const TomlValue *table, GString *path, unsigned level)
{
	bool gap = false;

	for (size_t i = 0; i < toml_size(table); i++) {
		if (has_header(toml_at(table, i)))
			continue;
		indent(out, level);
		write_key(out, toml_key_at(table, i));
		g_string_append(out, " = ");
		toml_write_value(out, toml_at(table, i));
		g_string_append_c(out, '\n');
		gap = true;
	}
	size_t parent = path->len;
	for (size_t i = 0; i < toml_size(table); i++) {
		const TomlValue *v = toml_at(table, i);

		if (!has_header(v))
			continue;
		if (parent > 0)
			g_string_append_c(path, '.');
		write_key(path, toml_key_at(table, i));
		for (size_t n = 0; n < (v->type == TOML_ARRAY ? toml_size(v) : 1); n++) {
			if (gap)
				g_string_append_c(out, '\n');
			gap = true;
			write_header(out, path->str, level, v->type == TOML_ARRAY);
			write_table(out, v->type == TOML_ARRAY ? toml_at(v, n) : v, path, level + 1);
		}
		g_string_truncate(path, parent);
	}
}

void toml_write(GString *out, const TomlValue *root)
{
	g_autoptr(GString) path = g_string_new(NULL);

	write_table(out, root, path, 0);
}
