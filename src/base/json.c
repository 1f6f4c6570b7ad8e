// SPDX-License-Identifier: Apache-2.0
/*
 * The reader is ours, because json-c's can neither refuse a key that stands twice nor say in which line it
 * stopped; the objects it makes are json-c's.
 */
#include "base/json.h"
#include "base/error.h"
#include "base/util.h"
#include <math.h>
#include <string.h>

#define DEFAULT_MAX ((size_t)8 * 1024 * 1024)

typedef struct {
	const char *start, *at, *end;
	unsigned depth;
	GError **error;
	GString *text; // of the string being read
} Parser;

static bool fail(Parser *p, const char *what)
{
	unsigned line = 1;
	for (const char *s = p->start; s < p->at && s < p->end; s++)
		line += *s == '\n';
	return error_set_class(p->error, CTRD_ERR_INVALID_ARGUMENT, "json: line %u: %s", line, what);
}

static void skip_space(Parser *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'))
		p->at++;
}

static bool take(Parser *p, char c)
{
	if (p->at == p->end || *p->at != c)
		return false;
	p->at++;
	return true;
}

static bool take_word(Parser *p, const char *word)
{
	size_t len = strlen(word);
	if ((size_t)(p->end - p->at) < len || memcmp(p->at, word, len) != 0)
		return false;
	p->at += len;
	return true;
}

static bool take_hex4(Parser *p, gunichar *ret)
{
	gunichar value = 0;
	if (p->end - p->at < 4)
		return false;
	for (int i = 0; i < 4; i++, p->at++) {
		int digit = g_ascii_xdigit_value(*p->at);
		if (digit < 0)
			return false;
		value = value * 16 + (gunichar)digit;
	}
	*ret = value;
	return true;
}

/* After a backslash. Halves of surrogate pairs that stand alone become U+FFFD, as in Go. */
static bool take_escape(Parser *p)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (p->at == p->end)
		return false;
	char c = *p->at++;
	const char *known = c != '\0' ? strchr(from, c) : NULL;
	if (known != NULL) {
		g_string_append_c(p->text, to[known - from]);
		return true;
	}
	gunichar r, low;
	if (c != 'u' || !take_hex4(p, &r) || r == 0)
		return false;
	if (r >= 0xd800 && r < 0xdc00) {
		const char *before = p->at;
		if (take_word(p, "\\u") && take_hex4(p, &low) && low >= 0xdc00 && low < 0xe000) {
			r = 0x10000 + ((r - 0xd800) << 10) + (low - 0xdc00);
		} else {
			p->at = before;
			r = 0xfffd;
		}
	} else if (r >= 0xdc00 && r < 0xe000) {
		r = 0xfffd;
	}
	g_string_append_unichar(p->text, r);
	return true;
}

/* Reads a string into p->text. */
static bool parse_string(Parser *p)
{
	g_string_truncate(p->text, 0);
	if (!take(p, '"'))
		return fail(p, "expected a string");
	for (;;) {
		const char *run = p->at;
		while (p->at < p->end && *p->at != '"' && *p->at != '\\' && (unsigned char)*p->at >= 0x20)
			p->at++;
		if (!g_utf8_validate_len(run, (gsize)(p->at - run), NULL))
			return fail(p, "invalid UTF-8 in string");
		g_string_append_len(p->text, run, p->at - run);
		if (take(p, '"'))
			return true;
		if (p->at == p->end)
			return fail(p, "unexpected end in string");
		if (!take(p, '\\'))
			return fail(p, "control character in string");
		if (!take_escape(p))
			return fail(p, "invalid escape in string");
	}
}

static size_t skip_digits(Parser *p)
{
	const char *start = p->at;
	while (p->at < p->end && g_ascii_isdigit(*p->at))
		p->at++;
	return (size_t)(p->at - start);
}

static bool parse_number(Parser *p, JsonObject **ret)
{
	const char *start = p->at;
	take(p, '-');
	const char *digits = p->at;
	size_t n = skip_digits(p);
	if (n == 0 || (n > 1 && *digits == '0'))
		return fail(p, "invalid value");
	bool integer = true;
	if (take(p, '.')) {
		integer = false;
		if (skip_digits(p) == 0)
			return fail(p, "invalid number");
	}
	if (take(p, 'e') || take(p, 'E')) {
		integer = false;
		if (!take(p, '+'))
			take(p, '-');
		if (skip_digits(p) == 0)
			return fail(p, "invalid number");
	}
	g_autofree char *text = g_strndup(start, (gsize)(p->at - start));
	int64_t i;
	uint64_t u;
	if (integer && parse_i64(text, &i)) {
		*ret = json_object_new_int64(i);
	} else if (integer && parse_u64(text, &u)) {
		*ret = json_object_new_uint64(u);
	} else {
		double d = g_ascii_strtod(text, NULL);
		if (!isfinite(d))
			return fail(p, "number out of range");
		*ret = json_object_new_double_s(d, text);
	}
	return true;
}

/* *ret is NULL for null. */
static bool parse_value(Parser *p, JsonObject **ret);

static bool parse_object(Parser *p, JsonObject **ret)
{
	g_autoptr(JsonObject) o = json_object_new_object();
	skip_space(p);
	if (!take(p, '}')) {
		do {
			skip_space(p);
			if (!parse_string(p))
				return false;
			g_autofree char *key = g_strdup(p->text->str);
			if (json_object_object_get_ex(o, key, NULL)) {
				g_autofree char *what = g_strdup_printf("key %s stands twice", Q(key));
				return fail(p, what);
			}
			skip_space(p);
			if (!take(p, ':'))
				return fail(p, "expected ':'");
			JsonObject *value;
			if (!parse_value(p, &value))
				return false;
			json_object_object_add_ex(o, key, value, JSON_C_OBJECT_ADD_KEY_IS_NEW);
			skip_space(p);
		} while (take(p, ','));
		if (!take(p, '}'))
			return fail(p, "expected ',' or '}'");
	}
	*ret = g_steal_pointer(&o);
	return true;
}

static bool parse_array(Parser *p, JsonObject **ret)
{
	g_autoptr(JsonObject) a = json_object_new_array();
	skip_space(p);
	if (!take(p, ']')) {
		do {
			JsonObject *value;
			if (!parse_value(p, &value))
				return false;
			json_object_array_add(a, value);
			skip_space(p);
		} while (take(p, ','));
		if (!take(p, ']'))
			return fail(p, "expected ',' or ']'");
	}
	*ret = g_steal_pointer(&a);
	return true;
}

static bool parse_nested(Parser *p, bool (*parse)(Parser *, JsonObject **), JsonObject **ret)
{
	if (p->depth == JSON_MAX_DEPTH)
		return fail(p, "nested deeper than " G_STRINGIFY(JSON_MAX_DEPTH) " levels");
	p->depth++;
	bool ok = parse(p, ret);
	p->depth--;
	return ok;
}

static bool parse_value(Parser *p, JsonObject **ret)
{
	*ret = NULL;
	skip_space(p);
	if (p->at == p->end)
		return fail(p, "unexpected end");
	if (take(p, '{'))
		return parse_nested(p, parse_object, ret);
	if (take(p, '['))
		return parse_nested(p, parse_array, ret);
	if (*p->at == '"') {
		if (!parse_string(p))
			return false;
		*ret = json_object_new_string_len(p->text->str, (int)p->text->len);
		return true;
	}
	if (take_word(p, "true") || take_word(p, "false")) {
		*ret = json_object_new_boolean(p->at[-2] == 'u');
		return true;
	}
	return take_word(p, "null") || parse_number(p, ret);
}

JsonObject *json_parse(const char *data, size_t len, size_t max, GError **error)
{
	if (max == 0)
		max = DEFAULT_MAX;
	max = MIN(max, INT32_MAX); // json-c counts the bytes of a string in an int
	if (len > max) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                "json: document of %zu bytes is over the limit of %zu", len, max);
		return NULL;
	}
	g_autoptr(GString) text = g_string_new(NULL);
	Parser p = {.start = data, .at = data, .end = data + len, .error = error, .text = text};
	g_autoptr(JsonObject) document = NULL;
	if (!parse_value(&p, &document))
		return NULL;
	skip_space(&p);
	if (p.at != p.end) {
		fail(&p, "text after the document");
		return NULL;
	}
	if (document == NULL)
		fail(&p, "document is null");
	return g_steal_pointer(&document);
}

JsonObject *json_get(JsonObject *o, const char *key)
{
	JsonObject *value = NULL;
	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, key, &value);
	return value;
}

static JsonObject *get_typed(JsonObject *o, const char *key, json_type type)
{
	JsonObject *value = json_get(o, key);
	return value != NULL && json_object_is_type(value, type) ? value : NULL;
}

JsonObject *json_get_object(JsonObject *o, const char *key)
{
	return get_typed(o, key, json_type_object);
}

JsonObject *json_get_array(JsonObject *o, const char *key)
{
	return get_typed(o, key, json_type_array);
}

const char *json_get_string(JsonObject *o, const char *key)
{
	JsonObject *value = get_typed(o, key, json_type_string);
	return value != NULL ? json_object_get_string(value) : NULL;
}

bool json_get_int64(JsonObject *o, const char *key, int64_t *ret)
{
	JsonObject *value = get_typed(o, key, json_type_int);
	// json-c would clamp what only a uint64 holds
	if (value == NULL || json_object_get_uint64(value) > INT64_MAX)
		return false;
	*ret = json_object_get_int64(value);
	return true;
}

bool json_get_bool(JsonObject *o, const char *key, bool *ret)
{
	JsonObject *value = get_typed(o, key, json_type_boolean);
	if (value == NULL)
		return false;
	*ret = json_object_get_boolean(value);
	return true;
}

bool json_get_strv(JsonObject *o, const char *key, char ***ret, GError **error)
{
	JsonObject *array = json_get(o, key);
	*ret = NULL;
	if (array == NULL)
		return true;
	if (!json_object_is_type(array, json_type_array))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "json: %s is not an array", Q(key));
	size_t n = json_object_array_length(array);
	g_auto(GStrv) strv = g_new0(char *, n + 1);
	for (size_t i = 0; i < n; i++) {
		JsonObject *element = json_object_array_get_idx(array, i);
		if (element == NULL || !json_object_is_type(element, json_type_string))
			return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
			                       "json: %s holds what is no string", Q(key));
		strv[i] = g_strdup(json_object_get_string(element));
	}
	*ret = g_steal_pointer(&strv);
	return true;
}

bool json_get_strmap(JsonObject *o, const char *key, GHashTable **ret, GError **error)
{
	JsonObject *object = json_get(o, key);
	g_autoptr(GHashTable) map = strmap_new();
	if (object != NULL) {
		if (!json_object_is_type(object, json_type_object))
			return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "json: %s is not an object",
			                       Q(key));
		json_object_object_foreach(object, name, value)
		{
			if (value == NULL || !json_object_is_type(value, json_type_string))
				return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
				                       "json: %s holds what is no string", Q(key));
			strmap_set(map, name, json_object_get_string(value));
		}
	}
	*ret = g_steal_pointer(&map);
	return true;
}

char *json_to_text(JsonObject *o)
{
	return g_strdup(
	        json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void append_pretty(GString *out, JsonObject *value, unsigned depth);

static void append_line(GString *out, bool first, unsigned depth)
{
	g_string_append(out, first ? "\n" : ",\n");
	g_string_append_printf(out, "%*s", (int)depth * 4, "");
}

static void append_pretty_object(GString *out, JsonObject *o, unsigned depth)
{
	bool first = true;
	g_string_append_c(out, '{');
	json_object_object_foreach(o, name, value)
	{
		g_autoptr(JsonObject) key = json_object_new_string(name);
		append_line(out, first, depth + 1);
		append_pretty(out, key, 0);
		g_string_append(out, ": ");
		append_pretty(out, value, depth + 1);
		first = false;
	}
	if (!first)
		append_line(out, true, depth);
	g_string_append_c(out, '}');
}

static void append_pretty(GString *out, JsonObject *value, unsigned depth)
{
	if (value != NULL && json_object_is_type(value, json_type_object)) {
		append_pretty_object(out, value, depth);
	} else if (value != NULL && json_object_is_type(value, json_type_array)) {
		size_t n = json_object_array_length(value);
		g_string_append_c(out, '[');
		for (size_t i = 0; i < n; i++) {
			append_line(out, i == 0, depth + 1);
			append_pretty(out, json_object_array_get_idx(value, i), depth + 1);
		}
		if (n > 0)
			append_line(out, true, depth);
		g_string_append_c(out, ']');
	} else {
		g_autofree char *text = json_to_text(value);
		g_string_append(out, text);
	}
}

char *json_to_text_pretty(JsonObject *o)
{
	GString *out = g_string_new(NULL);
	append_pretty(out, o, 0);
	return g_string_free(out, FALSE);
}

void json_set(JsonObject *o, const char *key, JsonObject *value)
{
	json_object_object_add(o, key, value);
}

void json_set_string(JsonObject *o, const char *key, const char *value)
{
	if (value != NULL)
		json_set(o, key, json_object_new_string(value));
}

void json_set_int64(JsonObject *o, const char *key, int64_t value)
{
	json_set(o, key, json_object_new_int64(value));
}
