// SPDX-License-Identifier: Apache-2.0

/* Labels, annotations and extensions of the objects in the metadata database, and what the stores share. */

#include "base/error.h"
#include "base/identifiers.h"
#include "store/meta.h"
#include <string.h>

const char *meta_namespace(const Ctx *ctx, GError **error)
{
	if (ctx == NULL || str_empty(ctx->ns)) {
		error_set_class(error, CTRD_ERR_FAILED_PRECONDITION, "namespace is required");
		return NULL;
	}
	if (!identifier_validate(ctx->ns, error)) {
		error_prefix(error, "namespace validation");
		return NULL;
	}
	return ctx->ns;
}

bool fieldpaths_has(const char *const *paths, const char *path)
{
	for (; paths != NULL && *paths != NULL; paths++) {
		if (strcmp(*paths, path) == 0)
			return true;
	}
	return false;
}

bool fieldpath_apply(const char *path, const char *prefix, GHashTable *map, GHashTable *from)
{
	if (!g_str_has_prefix(path, prefix))
		return false;
	const char *key = path + strlen(prefix);
	strmap_set(map, key, str_or(strmap_get(from, key), ""));
	return true;
}

GHashTable *meta_labels_read(MetaTx *tx, MetaKind kind, int64_t id, GError **error)
{
	sqlite3_stmt *stmt =
	        meta_query(tx, error, "SELECT key, value FROM label WHERE kind = ? AND object = ?", "ii",
	                   (int64_t)kind, id);
	if (stmt == NULL)
		return NULL;
	g_autoptr(GHashTable) labels = strmap_new();
	bool row;
	while (true) {
		if (!meta_step(tx, stmt, &row, error))
			return NULL;
		if (!row)
			break;
		g_hash_table_insert(labels, meta_column_dup(stmt, 0), meta_column_dup(stmt, 1));
	}
	sqlite3_reset(stmt);
	return g_steal_pointer(&labels);
}

bool meta_labels_write(MetaTx *tx, MetaKind kind, int64_t id, GHashTable *labels, GError **error)
{
	if (!meta_run(tx, error, "DELETE FROM label WHERE kind = ? AND object = ?", "ii", (int64_t)kind, id))
		return false;
	if (labels == NULL)
		return true;
	GHashTableIter iter;
	void *key, *value;
	g_hash_table_iter_init(&iter, labels);
	while (g_hash_table_iter_next(&iter, &key, &value)) {
		if (str_empty(value)) {
			g_hash_table_iter_remove(&iter);
			continue;
		}
		if (!meta_run(tx, error, "INSERT INTO label(kind, object, key, value) VALUES (?, ?, ?, ?)",
		              "iiss", (int64_t)kind, id, (const char *)key, (const char *)value))
			return false;
	}
	return true;
}

static void any_free(void *any)
{
	any_clear(any);
	g_free(any);
}

GHashTable *extensions_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, any_free);
}

GHashTable *extensions_copy(GHashTable *map)
{
	GHashTable *copy = extensions_new();
	if (map == NULL)
		return copy;
	GHashTableIter iter;
	void *name, *any;
	g_hash_table_iter_init(&iter, map);
	while (g_hash_table_iter_next(&iter, &name, &any)) {
		Any *value = g_new0(Any, 1);
		any_copy(value, any);
		g_hash_table_insert(copy, g_strdup(name), value);
	}
	return copy;
}

bool extensions_apply(const char *path, GHashTable *map, GHashTable *from)
{
	if (!g_str_has_prefix(path, "extensions."))
		return false;
	const char *name = path + strlen("extensions.");
	const Any *value = from != NULL ? g_hash_table_lookup(from, name) : NULL;
	if (value == NULL) {
		g_hash_table_remove(map, name);
		return true;
	}
	Any *copy = g_new0(Any, 1);
	any_copy(copy, value);
	g_hash_table_insert(map, g_strdup(name), copy);
	return true;
}

GHashTable *meta_extensions_read(MetaTx *tx, MetaKind kind, int64_t id, GError **error)
{
	sqlite3_stmt *stmt =
	        meta_query(tx, error, "SELECT name, type, value FROM extension WHERE kind = ? AND object = ?",
	                   "ii", (int64_t)kind, id);
	if (stmt == NULL)
		return NULL;
	g_autoptr(GHashTable) extensions = extensions_new();
	bool row;
	while (true) {
		if (!meta_step(tx, stmt, &row, error))
			return NULL;
		if (!row)
			break;
		Any *any = g_new0(Any, 1);
		meta_column_any(stmt, 1, any);
		g_hash_table_insert(extensions, meta_column_dup(stmt, 0), any);
	}
	sqlite3_reset(stmt);
	return g_steal_pointer(&extensions);
}

bool meta_extensions_write(MetaTx *tx, MetaKind kind, int64_t id, GHashTable *extensions, GError **error)
{
	if (!meta_run(tx, error, "DELETE FROM extension WHERE kind = ? AND object = ?", "ii", (int64_t)kind,
	              id))
		return false;
	if (extensions == NULL)
		return true;
	GHashTableIter iter;
	void *name, *value;
	g_hash_table_iter_init(&iter, extensions);
	while (g_hash_table_iter_next(&iter, &name, &value)) {
		const Any *any = value;
		if (!meta_run(tx, error,
		              "INSERT INTO extension(kind, object, name, type, value) VALUES (?, ?, ?, ?, ?)",
		              "iissb", (int64_t)kind, id, (const char *)name, str_or(any->type_url, ""),
		              any->value))
			return false;
	}
	return true;
}
