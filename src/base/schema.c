// SPDX-License-Identifier: Apache-2.0
#include "base/schema.h"
#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include <string.h>

/* ---- the nearest word ---- */

#define WORD_MAX 64

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	return MIN(MIN(a, b), c);
}

/* Letters to change, add, take out or swap with their neighbour, without regard to case. Both words are
 * shorter than WORD_MAX. */
static unsigned distance(const char *a, const char *b)
{
	uint8_t d[WORD_MAX][WORD_MAX];
	size_t m = strlen(a), n = strlen(b);

	for (size_t i = 0; i <= m; i++)
		d[i][0] = (uint8_t)i;
	for (size_t j = 0; j <= n; j++)
		d[0][j] = (uint8_t)j;
	for (size_t i = 1; i <= m; i++) {
		for (size_t j = 1; j <= n; j++) {
			char x = g_ascii_tolower(a[i - 1]), y = g_ascii_tolower(b[j - 1]);
			unsigned best = min3(d[i - 1][j - 1] + (x != y), d[i - 1][j] + 1u, d[i][j - 1] + 1u);

			if (i > 1 && j > 1 && x == g_ascii_tolower(b[j - 2]) &&
			    g_ascii_tolower(a[i - 2]) == y)
				best = MIN(best, d[i - 2][j - 2] + 1u);
			d[i][j] = (uint8_t)best;
		}
	}
	return d[m][n];
}

const char *nearest_word(const char *const *words, size_t n, const char *word)
{
	const char *nearest = NULL;
	size_t len = strlen(word), best = MAX(len / 3, 1) + 1;

	if (len >= WORD_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (strlen(words[i]) >= WORD_MAX)
			continue;
		unsigned d = distance(word, words[i]);
		if (d < best) {
			best = d;
			nearest = words[i];
		}
	}
	return nearest;
}

const char *schema_nearest(const ConfigKey *keys, const char *name)
{
	g_autoptr(GPtrArray) words = g_ptr_array_new();

	for (const ConfigKey *key = keys; key->name != NULL; key++)
		g_ptr_array_add(words, (char *)key->name);
	return nearest_word((const char *const *)words->pdata, words->len, name);
}

/* ---- checks ---- */

typedef struct {
	SchemaWarnFn warn;
	void *data;
	GError **error;
} Check;

static const ConfigKey *find_key(const ConfigKey *keys, const char *name)
{
	for (const ConfigKey *key = keys; key->name != NULL; key++) {
		if (strcmp(key->name, name) == 0)
			return key;
	}
	for (const ConfigKey *key = keys; key->name != NULL; key++) {
		if (g_ascii_strcasecmp(key->name, name) == 0)
			return key;
	}
	return NULL;
}

static char *join_path(const char *path, const char *name)
{
	return path[0] != '\0' ? g_strdup_printf("%s.%s", path, name) : g_strdup(name);
}

static const char *with_article(TomlType type)
{
	static const char *const names[] = {
	        [TOML_STRING] = "a string",
	        [TOML_INTEGER] = "an integer",
	        [TOML_FLOAT] = "a float",
	        [TOML_BOOLEAN] = "a boolean",
	        [TOML_OFFSET_DATETIME] = "a date-time",
	        [TOML_LOCAL_DATETIME] = "a date-time",
	        [TOML_LOCAL_DATE] = "a date",
	        [TOML_LOCAL_TIME] = "a time",
	        [TOML_ARRAY] = "an array",
	        [TOML_TABLE] = "a table",
	};
	return names[type];
}

static TomlValue *fail_type(const Check *c, const TomlValue *v, const char *path, const char *expected)
{
	g_autofree char *where = toml_where(v);

	error_set(c->error, CTRD_ERR_INVALID_ARGUMENT, "%s: %s must be %s, not %s", where, Q(path), expected,
	          with_article(toml_type(v)));
	return NULL;
}

static TomlValue *check_string(const Check *c, const TomlValue *v, const char *path)
{
	if (toml_type(v) != TOML_STRING)
		return fail_type(c, v, path, "a string");
	if (strstr(toml_string(v), "\xc0\x80") != NULL) { // see toml.h
		g_autofree char *where = toml_where(v);

		error_set(c->error, CTRD_ERR_INVALID_ARGUMENT, "%s: %s must not contain a NUL character",
		          where, Q(path));
		return NULL;
	}
	return toml_copy(v);
}

static TomlValue *check_duration(const Check *c, const TomlValue *v, const char *path)
{
	g_autoptr(GError) cause = NULL;
	int64_t ns = 0;

	// Upstream parses the text of any scalar; of those without quotes only 0 is a duration.
	if (toml_type(v) != TOML_STRING && (toml_type(v) != TOML_INTEGER || toml_integer(v) != 0))
		return fail_type(c, v, path, "a duration such as \"1m30s\"");
	if (toml_type(v) == TOML_STRING && !duration_parse(toml_string(v), &ns, &cause)) {
		g_autofree char *where = toml_where(v);

		error_set(c->error, CTRD_ERR_INVALID_ARGUMENT, "%s: %s: %s", where, Q(path), cause->message);
		return NULL;
	}
	g_autofree char *text = duration_format(ns);
	TomlValue *duration = toml_new_string(text);
	toml_set_position(duration, v);
	return duration;
}

/* Tables deeply, everything else is replaced. */
static void apply_any(TomlValue *dst, const TomlValue *src)
{
	for (size_t i = 0; i < toml_size(src); i++) {
		const char *name = toml_key_at(src, i);
		TomlValue *old = toml_get_typed(dst, name, TOML_TABLE);

		if (old != NULL && toml_type(toml_at(src, i)) == TOML_TABLE)
			apply_any(old, toml_at(src, i));
		else
			toml_set(dst, name, toml_copy(toml_at(src, i)));
	}
}

static TomlValue *check_table(const Check *c, const ConfigKey *keys, const TomlValue *table,
                              const char *path);

static TomlValue *check_strings(const Check *c, const TomlValue *v, const char *path)
{
	if (toml_type(v) != TOML_ARRAY)
		return fail_type(c, v, path, "an array of strings");
	g_autoptr(TomlValue) strings = toml_new_array();
	toml_set_position(strings, v);
	for (size_t i = 0; i < toml_size(v); i++) {
		TomlValue *s = check_string(c, toml_at(v, i), path);

		if (s == NULL)
			return NULL;
		toml_append(strings, s);
	}
	return g_steal_pointer(&strings);
}

static TomlValue *check_value(const Check *c, const ConfigKey *key, ConfigType type, const TomlValue *v,
                              const char *path);

/* A table whose values all have one type. */
static TomlValue *check_map(const Check *c, const ConfigKey *key, ConfigType type, const TomlValue *v,
                            const char *path)
{
	if (toml_type(v) != TOML_TABLE)
		return fail_type(c, v, path, "a table");
	g_autoptr(TomlValue) map = toml_new_table();
	toml_set_position(map, v);
	for (size_t i = 0; i < toml_size(v); i++) {
		g_autofree char *sub = join_path(path, toml_key_at(v, i));
		TomlValue *element = check_value(c, key, type, toml_at(v, i), sub);

		if (element == NULL)
			return NULL;
		toml_set(map, toml_key_at(v, i), element);
	}
	return g_steal_pointer(&map);
}

static TomlValue *check_tables(const Check *c, const ConfigKey *key, const TomlValue *v, const char *path)
{
	if (toml_type(v) != TOML_ARRAY)
		return fail_type(c, v, path, "an array of tables");
	g_autoptr(TomlValue) tables = toml_new_array();
	toml_set_position(tables, v);
	for (size_t i = 0; i < toml_size(v); i++) {
		TomlValue *table = check_table(c, key->keys, toml_at(v, i), path);

		if (table == NULL)
			return NULL;
		toml_append(tables, table);
	}
	return g_steal_pointer(&tables);
}

static TomlValue *check_value(const Check *c, const ConfigKey *key, ConfigType type, const TomlValue *v,
                              const char *path)
{
	switch (type) {
	case CONFIG_STRING:
		return check_string(c, v, path);
	case CONFIG_BOOL:
		return toml_type(v) == TOML_BOOLEAN ? toml_copy(v) : fail_type(c, v, path, "a boolean");
	case CONFIG_INT:
		return toml_type(v) == TOML_INTEGER ? toml_copy(v) : fail_type(c, v, path, "an integer");
	case CONFIG_FLOAT: {
		if (toml_type(v) == TOML_FLOAT)
			return toml_copy(v);
		if (toml_type(v) != TOML_INTEGER)
			return fail_type(c, v, path, "a float");
		TomlValue *f = toml_new_float((double)toml_integer(v));
		toml_set_position(f, v);
		return f;
	}
	case CONFIG_DURATION:
		return check_duration(c, v, path);
	case CONFIG_STRINGS:
		return check_strings(c, v, path);
	case CONFIG_STRING_MAP:
		return check_map(c, key, CONFIG_STRING, v, path);
	case CONFIG_STRINGS_MAP:
		return check_map(c, key, CONFIG_STRINGS, v, path);
	case CONFIG_TABLE:
		return check_table(c, key->keys, v, path);
	case CONFIG_TABLE_MAP:
		return check_map(c, key, CONFIG_TABLE, v, path);
	case CONFIG_TABLES:
		return check_tables(c, key, v, path);
	case CONFIG_ANY_MAP:
		return toml_type(v) == TOML_TABLE ? toml_copy(v) : fail_type(c, v, path, "a table");
	case CONFIG_ANY:
		return toml_copy(v);
	}
	g_assert_not_reached();
}

static TomlValue *check_table(const Check *c, const ConfigKey *keys, const TomlValue *table, const char *path)
{
	if (toml_type(table) != TOML_TABLE)
		return fail_type(c, table, path, "a table");
	g_autoptr(TomlValue) checked = toml_new_table();
	toml_set_position(checked, table);
	for (size_t i = 0; i < toml_size(table); i++) {
		const char *name = toml_key_at(table, i);
		const ConfigKey *key = find_key(keys, name);
		g_autofree char *sub = join_path(path, key != NULL ? key->name : name);

		if (key == NULL) {
			if (c->warn != NULL)
				c->warn(toml_at(table, i), sub, schema_nearest(keys, name), c->data);
			continue;
		}
		TomlValue *v = check_value(c, key, key->type, toml_at(table, i), sub);
		if (v == NULL)
			return NULL;
		// [grpc] and [GRPC] are one table
		TomlValue *same = toml_get_typed(checked, key->name, TOML_TABLE);
		if (same != NULL) {
			apply_any(same, v);
			toml_free(v);
		} else {
			toml_set(checked, key->name, v);
		}
	}
	return g_steal_pointer(&checked);
}

TomlValue *schema_check(const ConfigKey *keys, const TomlValue *table, const char *path, SchemaWarnFn warn,
                        void *data, GError **error)
{
	const Check c = {.warn = warn, .data = data, .error = error};

	return check_table(&c, keys, table, path);
}

/* ---- defaults ---- */

/* A declared default is ours: that it does not parse is a bug. */
static TomlValue *parse_default(const ConfigKey *key)
{
	g_autofree char *made = key->make_value != NULL ? key->make_value() : NULL;
	const char *text = made != NULL ? made : key->value;

	if (text == NULL)
		return NULL;
	g_autofree char *doc = g_strdup_printf("v = %s", text);
	g_autoptr(GError) error = NULL;
	g_autoptr(TomlValue) parsed = toml_parse(doc, strlen(doc), key->name, &error);
	if (parsed == NULL)
		g_error("default of %s: %s", key->name, error->message);
	const Check c = {.error = &error};
	g_autoptr(TomlValue) v = check_value(&c, key, key->type, toml_get(parsed, "v"), key->name);
	if (v == NULL)
		g_error("default of %s: %s", key->name, error->message);
	return g_steal_pointer(&v);
}

/* The value of a key that nothing was said about; NULL: it is absent. */
static TomlValue *zero_value(const ConfigKey *key)
{
	switch (key->type) {
	case CONFIG_STRING:
		return toml_new_string("");
	case CONFIG_BOOL:
		return toml_new_boolean(false);
	case CONFIG_INT:
		return toml_new_integer(0);
	case CONFIG_FLOAT:
		return toml_new_float(0);
	case CONFIG_DURATION:
		return toml_new_string("0s");
	case CONFIG_STRINGS:
	case CONFIG_TABLES:
		return toml_new_array();
	case CONFIG_TABLE:
		return key->optional ? NULL : schema_defaults(key->keys);
	case CONFIG_STRING_MAP:
	case CONFIG_STRINGS_MAP:
	case CONFIG_TABLE_MAP:
	case CONFIG_ANY_MAP:
	case CONFIG_ANY:
		return NULL;
	}
	g_assert_not_reached();
}

/* A default loses its position: it stands in no file. */
static void forget_position(TomlValue *v)
{
	g_autoptr(TomlValue) nowhere = toml_new_boolean(false);

	toml_set_position(v, nowhere);
	if (toml_type(v) == TOML_ARRAY || toml_type(v) == TOML_TABLE) {
		for (size_t i = 0; i < toml_size(v); i++)
			forget_position(toml_at(v, i));
	}
}

TomlValue *schema_defaults(const ConfigKey *keys)
{
	TomlValue *complete = toml_new_table();

	for (const ConfigKey *key = keys; key->name != NULL; key++) {
		TomlValue *zero = zero_value(key);
		g_autoptr(TomlValue) given = parse_default(key);

		if (zero != NULL)
			toml_set(complete, key->name, zero);
		if (given == NULL)
			continue;
		forget_position(given);
		g_autoptr(TomlValue) over = toml_new_table();
		toml_set(over, key->name, g_steal_pointer(&given));
		schema_apply(keys, complete, over);
	}
	return complete;
}

/* ---- putting one over the other ---- */

static TomlValue *complete_element(const ConfigKey *key, const TomlValue *src)
{
	TomlValue *element = schema_defaults(key->keys);

	toml_set_position(element, src);
	schema_apply(key->keys, element, src);
	return element;
}

/* The map or table of a key, made where it is absent. */
static TomlValue *entry_table(TomlValue *complete, const ConfigKey *key, const TomlValue *src)
{
	TomlValue *dst = toml_get(complete, key->name);

	if (dst == NULL) {
		dst = key->type == CONFIG_TABLE ? schema_defaults(key->keys) : toml_new_table();
		toml_set(complete, key->name, dst);
	}
	toml_set_position(dst, src);
	return dst;
}

static bool is_map(ConfigType type)
{
	return type == CONFIG_STRING_MAP || type == CONFIG_STRINGS_MAP || type == CONFIG_TABLE_MAP ||
	       type == CONFIG_ANY_MAP;
}

static void apply_value(const ConfigKey *key, TomlValue *complete, const TomlValue *src)
{
	if (is_map(key->type) && toml_is_empty(src)) // a header without keys makes no map, as upstream
		return;
	switch (key->type) {
	case CONFIG_TABLE:
		schema_apply(key->keys, entry_table(complete, key, src), src);
		break;
	case CONFIG_STRING_MAP:
	case CONFIG_STRINGS_MAP:
	case CONFIG_ANY_MAP:
		apply_any(entry_table(complete, key, src), src);
		break;
	case CONFIG_TABLE_MAP: {
		TomlValue *dst = entry_table(complete, key, src);

		for (size_t i = 0; i < toml_size(src); i++) {
			const char *name = toml_key_at(src, i);
			TomlValue *old = toml_get(dst, name);

			if (old != NULL)
				schema_apply(key->keys, old, toml_at(src, i));
			else
				toml_set(dst, name, complete_element(key, toml_at(src, i)));
		}
		break;
	}
	case CONFIG_TABLES: {
		TomlValue *tables = toml_new_array();

		toml_set_position(tables, src);
		for (size_t i = 0; i < toml_size(src); i++)
			toml_append(tables, complete_element(key, toml_at(src, i)));
		toml_set(complete, key->name, tables);
		break;
	}
	default:
		toml_set(complete, key->name, toml_copy(src));
		break;
	}
}

void schema_apply(const ConfigKey *keys, TomlValue *complete, const TomlValue *table)
{
	for (const ConfigKey *key = keys; key->name != NULL; key++) {
		const TomlValue *src = toml_get(table, key->name);

		if (src != NULL)
			apply_value(key, complete, src);
	}
}

TomlValue *schema_decode(const ConfigKey *keys, const TomlValue *table, const char *path, SchemaWarnFn warn,
                         void *data, GError **error)
{
	g_autoptr(TomlValue) checked = NULL;

	if (table != NULL) {
		checked = schema_check(keys, table, path, warn, data, error);
		if (checked == NULL)
			return NULL;
	}
	TomlValue *complete = schema_defaults(keys);
	if (checked != NULL) {
		toml_set_position(complete, checked);
		schema_apply(keys, complete, checked);
	}
	return complete;
}

/* ---- writing ---- */

/* As Go's omitempty: a struct is empty where all in it is. */
static bool is_empty_deep(const TomlValue *v)
{
	if (toml_type(v) != TOML_TABLE)
		return toml_is_empty(v);
	for (size_t i = 0; i < toml_size(v); i++) {
		if (!is_empty_deep(toml_at(v, i)))
			return false;
	}
	return true;
}

void schema_prepare_write(const ConfigKey *keys, TomlValue *complete)
{
	for (const ConfigKey *key = keys; key->name != NULL; key++) {
		TomlValue *v = toml_get(complete, key->name);

		if (v == NULL)
			continue;
		if (key->omit_empty && is_empty_deep(v)) {
			toml_remove(complete, key->name);
			continue;
		}
		if (key->type == CONFIG_TABLE)
			schema_prepare_write(key->keys, v);
		if (key->type == CONFIG_TABLE_MAP || key->type == CONFIG_TABLES) {
			for (size_t i = 0; i < toml_size(v); i++)
				schema_prepare_write(key->keys, toml_at(v, i));
		}
		if (key->type == CONFIG_TABLE_MAP || key->type == CONFIG_STRING_MAP ||
		    key->type == CONFIG_STRINGS_MAP)
			toml_sort(v, false);
		if (key->type == CONFIG_ANY_MAP)
			toml_sort(v, true);
		// What a file added (maps) stands last; taken out and put back, all ends in declared order.
		v = toml_steal(complete, key->name);
		toml_set(complete, key->name, v);
	}
}

/* ---- reading a view ---- */

static TomlValue *view_get(const TomlValue *view, const char *path)
{
	const TomlValue *v = view;
	const char *dot;

	while ((dot = strchr(path, '.')) != NULL) {
		g_autofree char *name = g_strndup(path, (size_t)(dot - path));

		v = toml_get(v, name);
		if (v == NULL)
			return NULL;
		path = dot + 1;
	}
	return toml_get(v, path);
}

static TomlValue *view_require(const TomlValue *view, const char *path, TomlType type)
{
	TomlValue *v = view_get(view, path);

	if (v == NULL || toml_type(v) != type)
		g_error("configuration key %s is not declared as %s", path, toml_type_name(type));
	return v;
}

const char *conf_string(const TomlValue *view, const char *path)
{
	return toml_string(view_require(view, path, TOML_STRING));
}

bool conf_bool(const TomlValue *view, const char *path)
{
	return toml_boolean(view_require(view, path, TOML_BOOLEAN));
}

int64_t conf_int(const TomlValue *view, const char *path)
{
	return toml_integer(view_require(view, path, TOML_INTEGER));
}

double conf_float(const TomlValue *view, const char *path)
{
	return toml_float(view_require(view, path, TOML_FLOAT));
}

int64_t conf_duration(const TomlValue *view, const char *path)
{
	int64_t ns = 0;

	// Checked when it was decoded.
	if (!duration_parse(conf_string(view, path), &ns, NULL))
		g_error("configuration key %s is not declared as a duration", path);
	return ns;
}

char **conf_strings(const TomlValue *view, const char *path)
{
	const TomlValue *array = view_require(view, path, TOML_ARRAY);
	char **strings = g_new0(char *, toml_size(array) + 1);

	for (size_t i = 0; i < toml_size(array); i++)
		strings[i] = g_strdup(toml_string(toml_at(array, i)));
	return strings;
}

TomlValue *conf_table(const TomlValue *view, const char *path)
{
	return view_get(view, path);
}

GHashTable *conf_string_map(const TomlValue *view, const char *path)
{
	const TomlValue *table = view_get(view, path);
	GHashTable *map = strmap_new();

	for (size_t i = 0; table != NULL && i < toml_size(table); i++)
		strmap_set(map, toml_key_at(table, i), toml_string(toml_at(table, i)));
	return map;
}
