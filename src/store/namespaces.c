// SPDX-License-Identifier: Apache-2.0

#include "store/namespaces.h"
#include "base/error.h"
#include "base/identifiers.h"
#include <string.h>

void namespace_free(Namespace *ns)
{
	if (ns == NULL)
		return;
	g_free(ns->name);
	g_clear_pointer(&ns->labels, g_hash_table_unref);
	g_free(ns);
}

static Namespace *namespace_new(const char *name, GHashTable *labels)
{
	Namespace *ns = g_new0(Namespace, 1);
	ns->name = g_strdup(name);
	ns->labels = labels != NULL ? labels : strmap_new();
	return ns;
}

typedef struct {
	const char *name;
	GHashTable *labels;
	const char *const *paths;
	const char *key;
	Namespace *ns;
	GPtrArray *list;
	char *value;
} Args;

static void emit(MetaDb *db, StoreEventKind kind, const char *name, GHashTable *labels)
{
	meta_emit(db, &(StoreEvent){.kind = kind, .ns = name, .name = name, .labels = labels});
}

/* The row of a namespace; *ret 0 where it does not exist. */
static bool find(MetaTx *tx, const char *name, int64_t *ret, GError **error)
{
	bool found;
	*ret = 0;
	return meta_query_int(tx, &found, ret, error, "SELECT id FROM namespace WHERE name = ?", "s", name);
}

static bool find_or_make(MetaTx *tx, const char *name, int64_t *ret, GError **error)
{
	return meta_run(tx, error, "INSERT INTO namespace(name) VALUES (?) ON CONFLICT DO NOTHING", "s",
	                name) &&
	       find(tx, name, ret, error);
}

static bool create_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	int64_t id;
	if (!meta_run(tx, error, "INSERT INTO namespace(name) VALUES (?) ON CONFLICT DO NOTHING", "s",
	              a->name))
		return false;
	if (meta_tx_changes(tx) == 0)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "namespace %s", Q(a->name));
	return find(tx, a->name, &id, error) && meta_labels_write(tx, META_NAMESPACE, id, a->labels, error);
}

static bool labels_check(GHashTable *labels, GError **error)
{
	return labels == NULL || labels_validate(labels, error) || error_prefix(error, "namespace.Labels");
}

bool namespaces_create(MetaDb *db, const Ctx *ctx, const char *name, GHashTable *labels, GError **error)
{
	if (!identifier_validate(name, error) || !labels_check(labels, error))
		return false;
	g_autoptr(GHashTable) copy = strmap_copy(labels);
	if (!meta_update(db, create_tx, &(Args){.name = name, .labels = copy}, error))
		return false;
	emit(db, STORE_EVENT_NAMESPACE_CREATE, name, labels);
	return true;
}

static GHashTable *read_labels(MetaTx *tx, const char *name, GError **error)
{
	int64_t id;
	if (!find(tx, name, &id, error))
		return NULL;
	return id != 0 ? meta_labels_read(tx, META_NAMESPACE, id, error) : strmap_new();
}

static bool get_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	GHashTable *labels = read_labels(tx, a->name, error);
	if (labels == NULL)
		return false;
	a->ns = namespace_new(a->name, labels);
	return true;
}

Namespace *namespaces_get(MetaDb *db, const Ctx *ctx, const char *name, GError **error)
{
	Args a = {.name = name};
	return meta_view(db, get_tx, &a, error) ? a.ns : NULL;
}

static bool list_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	sqlite3_stmt *stmt = meta_query(tx, error, "SELECT id, name FROM namespace ORDER BY name", "");
	if (stmt == NULL)
		return false;
	bool row;
	while (meta_step(tx, stmt, &row, error)) {
		if (!row)
			return true;
		GHashTable *labels =
		        meta_labels_read(tx, META_NAMESPACE, sqlite3_column_int64(stmt, 0), error);
		if (labels == NULL)
			return false;
		g_ptr_array_add(a->list, namespace_new(meta_column_text(stmt, 1), labels));
	}
	return false;
}

GPtrArray *namespaces_list(MetaDb *db, const Ctx *ctx, GError **error)
{
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)namespace_free);
	if (!meta_view(db, list_tx, &(Args){.list = list}, error))
		return NULL;
	return g_steal_pointer(&list);
}

/* The labels as they will be; which of them the caller named is checked on the way. */
static GHashTable *updated_labels(MetaTx *tx, const Args *a, GError **error)
{
	if (fieldpaths_empty(a->paths))
		return strmap_copy(a->labels);
	g_autoptr(GHashTable) labels = read_labels(tx, a->name, error);
	if (labels == NULL)
		return NULL;
	for (const char *const *path = a->paths; *path != NULL; path++) {
		if (!fieldpath_apply(*path, "labels.", labels, a->labels)) {
			error_set(error, CTRD_ERR_INVALID_ARGUMENT, "cannot update %s field", Q(*path));
			return NULL;
		}
	}
	return g_steal_pointer(&labels);
}

static bool update_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	g_autoptr(GHashTable) labels = updated_labels(tx, a, error);
	if (labels == NULL || !labels_check(labels, error))
		return false;
	int64_t id;
	// setting a label makes the namespace; taking all labels of one that does not exist does not
	bool make = !fieldpaths_empty(a->paths) || g_hash_table_size(labels) > 0;
	if (make && !identifier_validate(a->name, error))
		return false;
	if (!(make ? find_or_make : find)(tx, a->name, &id, error))
		return false;
	if (id != 0 && !meta_labels_write(tx, META_NAMESPACE, id, labels, error))
		return false;
	a->ns = namespace_new(a->name, g_steal_pointer(&labels));
	return true;
}

bool namespaces_update(MetaDb *db, const Ctx *ctx, const char *name, GHashTable *labels,
                       const char *const *paths, Namespace **ret, GError **error)
{
	Args a = {.name = name, .labels = labels, .paths = paths};
	bool ok = meta_update(db, update_tx, &a, error);
	g_autoptr(Namespace) ns = a.ns;
	if (!ok)
		return false;
	emit(db, STORE_EVENT_NAMESPACE_UPDATE, name, labels);
	if (ret != NULL)
		*ret = g_steal_pointer(&ns);
	return true;
}

/* What keeps a namespace from being deleted, as one text. */
static bool list_content(MetaTx *tx, const char *name, GString *out, GError **error)
{
	static const struct {
		const char *sql, *what;
	} tables[] = {
	        {"SELECT 1 FROM image WHERE ns = ? LIMIT 1", "images"},
	        {"SELECT 1 FROM blob WHERE ns = ? LIMIT 1", "blobs"},
	        {"SELECT 1 FROM container WHERE ns = ? LIMIT 1", "containers"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++) {
		bool found;
		if (!meta_query_int(tx, &found, NULL, error, tables[i].sql, "s", name))
			return false;
		if (found)
			g_string_append_printf(out, "%s%s", out->len > 0 ? ", " : "", tables[i].what);
	}
	sqlite3_stmt *stmt = meta_query(
	        tx, error, "SELECT DISTINCT snapshotter FROM snapshot WHERE ns = ? ORDER BY 1", "s", name);
	bool row = true;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row)
			return true;
		g_string_append_printf(out, "%ssnapshots on %s snapshotter", out->len > 0 ? ", " : "",
		                       Q(meta_column_text(stmt, 0)));
	}
	return false;
}

static bool delete_tx(MetaTx *tx, void *data, GError **error)
{
	// what may be left: nothing of it has files of its own, except ingests
	static const char *const deletes[] = {
	        "DELETE FROM lease WHERE ns = ?",
	        "DELETE FROM sandbox WHERE ns = ?",
	        "DELETE FROM ingest WHERE ns = ?",
	        "DELETE FROM namespace WHERE name = ?",
	};
	Args *a = data;
	g_autoptr(GString) left = g_string_new(NULL);
	if (!list_content(tx, a->name, left, error))
		return false;
	if (left->len > 0)
		return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION,
		                       "namespace %s must be empty, but it still has %s", Q(a->name),
		                       left->str);
	sqlite3_stmt *stmt = meta_query(
	        tx, error,
	        "SELECT 'ingest:' || backend_ref FROM ingest WHERE ns = ?1 UNION ALL"
	        " SELECT 'content:' || expected FROM ingest WHERE ns = ?1 AND expected IS NOT NULL",
	        "s", a->name);
	bool row = true;
	while (row) {
		if (stmt == NULL || !meta_step(tx, stmt, &row, error))
			return false;
		if (row)
			meta_tx_dirty(tx, meta_column_text(stmt, 0));
	}
	for (size_t i = 0; i < G_N_ELEMENTS(deletes); i++) {
		if (!meta_run(tx, error, deletes[i], "s", a->name))
			return false;
	}
	if (meta_tx_changes(tx) == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "namespace %s", Q(a->name));
	return true;
}

bool namespaces_delete(MetaDb *db, const Ctx *ctx, const char *name, GError **error)
{
	if (!meta_update(db, delete_tx, &(Args){.name = name}, error))
		return false;
	emit(db, STORE_EVENT_NAMESPACE_DELETE, name, NULL);
	return true;
}

static bool label_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	sqlite3_stmt *stmt = meta_query(tx, error,
	                                "SELECT value FROM label WHERE kind = 1 AND key = ? AND object ="
	                                " (SELECT id FROM namespace WHERE name = ?)",
	                                "ss", a->key, a->name);
	bool row;
	if (stmt == NULL || !meta_step(tx, stmt, &row, error))
		return false;
	if (row)
		a->value = meta_column_dup(stmt, 0);
	return true;
}

char *namespaces_label(MetaDb *db, const char *ns, const char *key)
{
	Args a = {.name = ns, .key = key};
	meta_view(db, label_tx, &a, NULL);
	return a.value;
}
