// SPDX-License-Identifier: Apache-2.0
#include "base/util.h"
#include <string.h>

bool parse_u64(const char *s, uint64_t *ret)
{
	if (str_empty(s))
		return false;
	uint64_t n = 0;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9')
			return false;
		uint64_t digit = (uint64_t)(*s - '0');
		if (n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*ret = n;
	return true;
}

bool parse_i64(const char *s, int64_t *ret)
{
	if (s == NULL)
		return false;
	bool negative = *s == '-';
	uint64_t n;
	if (!parse_u64(s + (negative || *s == '+'), &n) || n > (uint64_t)INT64_MAX + negative)
		return false;
	*ret = negative ? (int64_t)(0 - n) : (int64_t)n;
	return true;
}

GHashTable *strmap_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

GHashTable *strmap_copy(GHashTable *map)
{
	GHashTable *copy = strmap_new();
	if (map == NULL)
		return copy;
	GHashTableIter iter;
	gpointer key, value;
	g_hash_table_iter_init(&iter, map);
	while (g_hash_table_iter_next(&iter, &key, &value))
		strmap_set(copy, key, value);
	return copy;
}

bool strmap_equal(GHashTable *a, GHashTable *b)
{
	guint n_a = a != NULL ? g_hash_table_size(a) : 0, n_b = b != NULL ? g_hash_table_size(b) : 0;
	if (n_a != n_b)
		return false;
	if (n_a == 0)
		return true;
	GHashTableIter iter;
	gpointer key, value;
	g_hash_table_iter_init(&iter, a);
	while (g_hash_table_iter_next(&iter, &key, &value))
		if (g_strcmp0(g_hash_table_lookup(b, key), value) != 0)
			return false;
	return true;
}

static int compare_strings(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *strmap_sorted_keys(GHashTable *map)
{
	GPtrArray *keys = g_ptr_array_new();
	if (map == NULL)
		return keys;
	GHashTableIter iter;
	gpointer key;
	g_hash_table_iter_init(&iter, map);
	while (g_hash_table_iter_next(&iter, &key, NULL))
		g_ptr_array_add(keys, key);
	g_ptr_array_sort(keys, compare_strings);
	return keys;
}

void any_clear(Any *any)
{
	g_clear_pointer(&any->type_url, g_free);
	g_clear_pointer(&any->value, g_bytes_unref);
}

void any_copy(Any *ret, const Any *any)
{
	*ret = (Any){
	        .type_url = g_strdup(any->type_url),
	        .value = any->value != NULL ? g_bytes_ref(any->value) : NULL,
	};
}
