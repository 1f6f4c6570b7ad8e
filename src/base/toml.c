// SPDX-License-Identifier: Apache-2.0
#include "base/toml.h"
#include "base/toml-private.h"
#include <math.h>
#include <string.h>

/* Up to this many keys a table is searched from its start; most are smaller. */
#define INDEX_FROM 16

TomlValue *toml_value_new(TomlType type)
{
	TomlValue *v = g_new0(TomlValue, 1);

	v->type = type;
	if (type == TOML_ARRAY || type == TOML_TABLE)
		v->values = g_ptr_array_new_with_free_func((GDestroyNotify)toml_free);
	if (type == TOML_TABLE)
		v->keys = g_ptr_array_new_with_free_func(g_free);
	return v;
}

void toml_free(TomlValue *v)
{
	if (v == NULL)
		return;
	if (v->type == TOML_ARRAY || v->type == TOML_TABLE) {
		g_ptr_array_unref(v->values);
		g_clear_pointer(&v->keys, g_ptr_array_unref);
		g_clear_pointer(&v->index, g_hash_table_unref);
	} else if (v->type == TOML_STRING ||
	           (v->type >= TOML_OFFSET_DATETIME && v->type <= TOML_LOCAL_TIME)) {
		g_free(v->string);
	}
	g_clear_pointer(&v->file, g_ref_string_release);
	g_free(v);
}

void toml_set_position(TomlValue *dst, const TomlValue *src)
{
	char *file = src->file != NULL ? g_ref_string_acquire(src->file) : NULL;

	g_clear_pointer(&dst->file, g_ref_string_release);
	dst->file = file;
	dst->line = src->line;
	dst->column = src->column;
}

TomlValue *toml_copy(const TomlValue *v)
{
	TomlValue *copy = toml_value_new(v->type);

	toml_set_position(copy, v);
	copy->state = v->state;
	copy->of_tables = v->of_tables;
	switch (v->type) {
	case TOML_STRING:
	case TOML_OFFSET_DATETIME:
	case TOML_LOCAL_DATETIME:
	case TOML_LOCAL_DATE:
	case TOML_LOCAL_TIME:
		copy->string = g_strdup(v->string);
		break;
	case TOML_INTEGER:
		copy->integer = v->integer;
		break;
	case TOML_FLOAT:
		copy->number = v->number;
		break;
	case TOML_BOOLEAN:
		copy->boolean = v->boolean;
		break;
	case TOML_ARRAY:
		for (size_t i = 0; i < toml_size(v); i++)
			g_ptr_array_add(copy->values, toml_copy(toml_at(v, i)));
		break;
	case TOML_TABLE:
		for (size_t i = 0; i < toml_size(v); i++)
			toml_table_add(copy, toml_key_at(v, i), toml_copy(toml_at(v, i)));
		break;
	}
	return copy;
}

TomlType toml_type(const TomlValue *v)
{
	return v->type;
}

const char *toml_type_name(TomlType type)
{
	static const char *const names[] = {
	        [TOML_STRING] = "string",
	        [TOML_INTEGER] = "integer",
	        [TOML_FLOAT] = "float",
	        [TOML_BOOLEAN] = "boolean",
	        [TOML_OFFSET_DATETIME] = "offset date-time",
	        [TOML_LOCAL_DATETIME] = "local date-time",
	        [TOML_LOCAL_DATE] = "local date",
	        [TOML_LOCAL_TIME] = "local time",
	        [TOML_ARRAY] = "array",
	        [TOML_TABLE] = "table",
	};
	return names[type];
}

const char *toml_file(const TomlValue *v)
{
	return v->file;
}

unsigned toml_line(const TomlValue *v)
{
	return v->line;
}

unsigned toml_column(const TomlValue *v)
{
	return v->column;
}

char *toml_where(const TomlValue *v)
{
	if (v->file == NULL)
		return g_strdup("<default>");
	return g_strdup_printf("%s:%u", v->file, v->line);
}

const char *toml_string(const TomlValue *v)
{
	g_assert(v->type == TOML_STRING || (v->type >= TOML_OFFSET_DATETIME && v->type <= TOML_LOCAL_TIME));
	return v->string;
}

int64_t toml_integer(const TomlValue *v)
{
	g_assert(v->type == TOML_INTEGER);
	return v->integer;
}

double toml_float(const TomlValue *v)
{
	g_assert(v->type == TOML_FLOAT);
	return v->number;
}

bool toml_boolean(const TomlValue *v)
{
	g_assert(v->type == TOML_BOOLEAN);
	return v->boolean;
}

size_t toml_size(const TomlValue *v)
{
	g_assert(v->type == TOML_ARRAY || v->type == TOML_TABLE);
	return v->values->len;
}

TomlValue *toml_at(const TomlValue *v, size_t i)
{
	g_assert(i < toml_size(v));
	return v->values->pdata[i];
}

const char *toml_key_at(const TomlValue *table, size_t i)
{
	g_assert(table->type == TOML_TABLE && i < table->keys->len);
	return table->keys->pdata[i];
}

/* The place of a key, or -1. */
static ssize_t table_find(const TomlValue *table, const char *key)
{
	g_assert(table->type == TOML_TABLE);
	if (table->index != NULL)
		return (ssize_t)GPOINTER_TO_SIZE(g_hash_table_lookup(table->index, key)) - 1;
	for (guint i = 0; i < table->keys->len; i++) {
		if (strcmp(table->keys->pdata[i], key) == 0)
			return i;
	}
	return -1;
}

static void table_reindex(TomlValue *table)
{
	g_clear_pointer(&table->index, g_hash_table_unref);
	if (table->keys->len <= INDEX_FROM)
		return;
	table->index = g_hash_table_new(g_str_hash, g_str_equal); // borrows the keys
	for (guint i = 0; i < table->keys->len; i++)
		g_hash_table_insert(table->index, table->keys->pdata[i], GSIZE_TO_POINTER((gsize)i + 1));
}

TomlValue *toml_get(const TomlValue *table, const char *key)
{
	ssize_t i = table_find(table, key);

	return i < 0 ? NULL : table->values->pdata[i];
}

TomlValue *toml_get_typed(const TomlValue *table, const char *key, TomlType type)
{
	TomlValue *v = toml_get(table, key);

	return v != NULL && v->type == type ? v : NULL;
}

TomlValue *toml_new_string(const char *s)
{
	TomlValue *v = toml_value_new(TOML_STRING);

	v->string = g_strdup(s);
	return v;
}

TomlValue *toml_new_integer(int64_t i)
{
	TomlValue *v = toml_value_new(TOML_INTEGER);

	v->integer = i;
	return v;
}

TomlValue *toml_new_float(double f)
{
	TomlValue *v = toml_value_new(TOML_FLOAT);

	v->number = f;
	return v;
}

TomlValue *toml_new_boolean(bool b)
{
	TomlValue *v = toml_value_new(TOML_BOOLEAN);

	v->boolean = b;
	return v;
}

TomlValue *toml_new_array(void)
{
	return toml_value_new(TOML_ARRAY);
}

TomlValue *toml_new_table(void)
{
	return toml_value_new(TOML_TABLE);
}

void toml_append(TomlValue *array, TomlValue *take)
{
	g_assert(array->type == TOML_ARRAY);
	g_ptr_array_add(array->values, take);
}

TomlValue *toml_table_add(TomlValue *table, const char *key, TomlValue *take)
{
	char *own = g_strdup(key);

	g_ptr_array_add(table->keys, own);
	g_ptr_array_add(table->values, take);
	if (table->index != NULL)
		g_hash_table_insert(table->index, own, GSIZE_TO_POINTER((gsize)table->keys->len));
	else if (table->keys->len > INDEX_FROM)
		table_reindex(table);
	return take;
}

void toml_set(TomlValue *table, const char *key, TomlValue *take)
{
	ssize_t i = table_find(table, key);

	if (i < 0) {
		toml_table_add(table, key, take);
		return;
	}
	TomlValue *old = table->values->pdata[i];
	if (old == take)
		return;
	table->values->pdata[i] = take;
	toml_free(old);
}

TomlValue *toml_steal(TomlValue *table, const char *key)
{
	ssize_t i = table_find(table, key);

	if (i < 0)
		return NULL;
	TomlValue *v = g_ptr_array_steal_index(table->values, (guint)i);
	g_clear_pointer(&table->index, g_hash_table_unref);
	g_ptr_array_remove_index(table->keys, (guint)i);
	table_reindex(table);
	return v;
}

bool toml_remove(TomlValue *table, const char *key)
{
	g_autoptr(TomlValue) v = toml_steal(table, key);

	return v != NULL;
}

void toml_clear(TomlValue *container)
{
	g_assert(container->type == TOML_ARRAY || container->type == TOML_TABLE);
	g_clear_pointer(&container->index, g_hash_table_unref);
	g_ptr_array_set_size(container->values, 0);
	if (container->keys != NULL)
		g_ptr_array_set_size(container->keys, 0);
}

typedef struct {
	char *key;
	TomlValue *value;
} Entry;

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const Entry *)a)->key, ((const Entry *)b)->key);
}

void toml_sort(TomlValue *v, bool deep)
{
	if (v->type == TOML_TABLE && v->keys->len > 1) {
		g_autofree Entry *entries = g_new(Entry, v->keys->len);

		for (guint i = 0; i < v->keys->len; i++)
			entries[i] = (Entry){v->keys->pdata[i], v->values->pdata[i]};
		qsort(entries, v->keys->len, sizeof(*entries), compare_entries);
		for (guint i = 0; i < v->keys->len; i++) {
			v->keys->pdata[i] = entries[i].key;
			v->values->pdata[i] = entries[i].value;
		}
		table_reindex(v);
	}
	if (deep && (v->type == TOML_TABLE || v->type == TOML_ARRAY)) {
		for (guint i = 0; i < v->values->len; i++)
			toml_sort(v->values->pdata[i], true);
	}
}

bool toml_equal(const TomlValue *a, const TomlValue *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case TOML_INTEGER:
		return a->integer == b->integer;
	case TOML_FLOAT:
		return a->number == b->number || (isnan(a->number) && isnan(b->number));
	case TOML_BOOLEAN:
		return a->boolean == b->boolean;
	case TOML_ARRAY:
	case TOML_TABLE:
		if (toml_size(a) != toml_size(b))
			return false;
		for (size_t i = 0; i < toml_size(a); i++) {
			const TomlValue *other =
			        a->type == TOML_ARRAY ? toml_at(b, i) : toml_get(b, toml_key_at(a, i));

			if (other == NULL || !toml_equal(toml_at(a, i), other))
				return false;
		}
		return true;
	default:
		return strcmp(a->string, b->string) == 0;
	}
}

bool toml_is_empty(const TomlValue *v)
{
	switch (v->type) {
	case TOML_STRING:
		return v->string[0] == '\0';
	case TOML_INTEGER:
		return v->integer == 0;
	case TOML_FLOAT:
		return v->number == 0;
	case TOML_BOOLEAN:
		return !v->boolean;
	case TOML_ARRAY:
	case TOML_TABLE:
		return toml_size(v) == 0;
	default:
		return false;
	}
}
