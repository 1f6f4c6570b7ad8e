// SPDX-License-Identifier: Apache-2.0

#include "store/containers.h"
#include "base/error.h"
#include "base/identifiers.h"
#include "store/filter-text.h"
#include <string.h>

#define COLUMNS                                                                                              \
	"id, name, image, runtime, options_type, options, spec_type, spec, snapshotter, snapshot_key, "      \
	"sandbox, "                                                                                          \
	"created, updated"

Container *container_new(void)
{
	Container *c = g_new0(Container, 1);
	c->labels = strmap_new();
	c->extensions = extensions_new();
	return c;
}

Container *container_copy(const Container *from)
{
	Container *c = g_new0(Container, 1);
	c->id = g_strdup(from->id);
	c->labels = strmap_copy(from->labels);
	c->image = g_strdup(from->image);
	c->runtime_name = g_strdup(from->runtime_name);
	any_copy(&c->runtime_options, &from->runtime_options);
	any_copy(&c->spec, &from->spec);
	c->snapshotter = g_strdup(from->snapshotter);
	c->snapshot_key = g_strdup(from->snapshot_key);
	c->created_at = from->created_at;
	c->updated_at = from->updated_at;
	c->extensions = extensions_copy(from->extensions);
	c->sandbox_id = g_strdup(from->sandbox_id);
	return c;
}

void container_free(Container *c)
{
	if (c == NULL)
		return;
	g_free(c->id);
	g_clear_pointer(&c->labels, g_hash_table_unref);
	g_free(c->image);
	g_free(c->runtime_name);
	any_clear(&c->runtime_options);
	any_clear(&c->spec);
	g_free(c->snapshotter);
	g_free(c->snapshot_key);
	g_clear_pointer(&c->extensions, g_hash_table_unref);
	g_free(c->sandbox_id);
	g_free(c);
}

typedef struct {
	const char *ns, *id;
	const Container *input;
	const char *const *paths;
	Filter *filter;
	Container *container; // the result
	GPtrArray *list;
} Args;

static bool container_check(const Container *c, GError **error)
{
	if (!identifier_validate(str_or(c->id, ""), error))
		return error_prefix(error, "container.ID");
	if (c->extensions != NULL && g_hash_table_contains(c->extensions, ""))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "container.Extension keys must not be zero-length");
	if (!labels_validate(c->labels, error))
		return error_prefix(error, "containers.Labels");
	if (str_empty(c->runtime_name))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "container.Runtime.Name must be set");
	if (!any_is_set(&c->spec))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "container.Spec must be set");
	if (!str_empty(c->snapshot_key) && str_empty(c->snapshotter))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "container.Snapshotter must be set if container.SnapshotKey is set");
	return true;
}

/* ---- rows ---- */

static Container *read_container(MetaTx *tx, sqlite3_stmt *stmt, GError **error)
{
	g_autoptr(Container) c = g_new0(Container, 1);
	int64_t row = sqlite3_column_int64(stmt, 0);
	c->id = meta_column_dup(stmt, 1);
	c->image = meta_column_dup(stmt, 2);
	c->runtime_name = meta_column_dup(stmt, 3);
	meta_column_any(stmt, 4, &c->runtime_options);
	meta_column_any(stmt, 6, &c->spec);
	c->snapshotter = meta_column_dup(stmt, 8);
	c->snapshot_key = meta_column_dup(stmt, 9);
	c->sandbox_id = meta_column_dup(stmt, 10);
	c->created_at = sqlite3_column_int64(stmt, 11);
	c->updated_at = sqlite3_column_int64(stmt, 12);
	c->labels = meta_labels_read(tx, META_CONTAINER, row, error);
	if (c->labels == NULL)
		return NULL;
	c->extensions = meta_extensions_read(tx, META_CONTAINER, row, error);
	return c->extensions != NULL ? g_steal_pointer(&c) : NULL;
}

static bool find(MetaTx *tx, const Args *a, const char *id, int64_t *ret_row, Container **ret, GError **error)
{
	sqlite3_stmt *stmt = meta_query(
	        tx, error, "SELECT " COLUMNS " FROM container WHERE ns = ? AND name = ?", "ss", a->ns, id);
	bool row;
	*ret = NULL;
	if (stmt == NULL || !meta_step(tx, stmt, &row, error))
		return false;
	if (!row)
		return true;
	if (ret_row != NULL)
		*ret_row = sqlite3_column_int64(stmt, 0);
	*ret = read_container(tx, stmt, error);
	sqlite3_reset(stmt);
	return *ret != NULL;
}

static bool write_maps(MetaTx *tx, int64_t row, Container *c, GError **error)
{
	return meta_labels_write(tx, META_CONTAINER, row, c->labels, error) &&
	       meta_extensions_write(tx, META_CONTAINER, row, c->extensions, error);
}

/* ---- the store ---- */

static bool get_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	if (!find(tx, a, a->id, NULL, &a->container, error))
		return false;
	return a->container != NULL ||
	       error_set_class(error, CTRD_ERR_NOT_FOUND, "container %s in namespace %s", Q(a->id), Q(a->ns));
}

Container *containers_get(MetaDb *db, const Ctx *ctx, const char *id, GError **error)
{
	Args a = {.ns = meta_namespace(ctx, error), .id = str_or(id, "")};
	return a.ns != NULL && meta_view(db, get_tx, &a, error) ? a.container : NULL;
}

static const char *field(const char *const *path, size_t n, bool *present, void *data)
{
	const Container *c = data;
	if (filter_is(path, n, "id"))
		return filter_text(c->id, present);
	if (filter_is(path, n, "runtime") && filter_is(path + 1, n - 1, "name"))
		return filter_text(c->runtime_name, present);
	if (filter_is(path, n, "image"))
		return filter_text(c->image, present);
	if (filter_is(path, n, "labels"))
		return filter_map_field(c->labels, path + 1, n - 1, present);
	*present = false;
	return NULL;
}

static bool list_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	sqlite3_stmt *stmt = meta_query(
	        tx, error, "SELECT " COLUMNS " FROM container WHERE ns = ? ORDER BY name", "s", a->ns);
	bool row;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row)
			return true;
		g_autoptr(Container) c = read_container(tx, stmt, error);
		if (c == NULL)
			return false;
		if (filter_match(a->filter, field, c))
			g_ptr_array_add(a->list, g_steal_pointer(&c));
	}
	return false;
}

GPtrArray *containers_list(MetaDb *db, const Ctx *ctx, const char *const *filters, GError **error)
{
	const char *ns = meta_namespace(ctx, error);
	if (ns == NULL)
		return NULL;
	g_autoptr(Filter) filter = filter_parse_list(filters, error);
	if (filter == NULL)
		return NULL;
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)container_free);
	if (!meta_view(db, list_tx, &(Args){.ns = ns, .filter = filter, .list = list}, error))
		return NULL;
	return g_steal_pointer(&list);
}

static bool create_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	Container *c = a->container;
	c->created_at = c->updated_at = time_now();
	if (!meta_run(tx, error,
	              "INSERT INTO container(ns, name, image, runtime, options_type, options, spec_type,"
	              " spec, snapshotter, snapshot_key, sandbox, created, updated)"
	              " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
	              "ssssaasssii", a->ns, c->id, str_or(c->image, ""), c->runtime_name, &c->runtime_options,
	              &c->spec, str_or(c->snapshotter, ""), str_or(c->snapshot_key, ""),
	              str_or(c->sandbox_id, ""), c->created_at, c->updated_at))
		return false;
	if (meta_tx_changes(tx) == 0)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "container %s", Q(c->id));
	return write_maps(tx, meta_tx_last_id(tx), c, error);
}

Container *containers_create(MetaDb *db, const Ctx *ctx, const Container *input, GError **error)
{
	const char *ns = meta_namespace(ctx, error);
	if (ns == NULL)
		return NULL;
	if (!container_check(input, error)) {
		error_prefix(error, "create container failed validation");
		return NULL;
	}
	g_autoptr(Container) c = container_copy(input);
	if (!meta_update(db, create_tx, &(Args){.ns = ns, .container = c}, error))
		return NULL;
	meta_emit(db, &(StoreEvent){.kind = STORE_EVENT_CONTAINER_CREATE,
	                            .ns = ns,
	                            .name = c->id,
	                            .image = c->image,
	                            .runtime = c->runtime_name,
	                            .options = any_is_set(&c->runtime_options) ? &c->runtime_options : NULL});
	return g_steal_pointer(&c);
}

static void replace_string(char **field_, const char *value)
{
	g_free(*field_);
	*field_ = g_strdup(str_or(value, ""));
}

static void replace_any(Any *any, const Any *value)
{
	any_clear(any);
	any_copy(any, value);
}

static bool apply_path(Container *c, const Container *input, const char *path, GError **error)
{
	if (fieldpath_apply(path, "labels.", c->labels, input->labels) ||
	    extensions_apply(path, c->extensions, input->extensions))
		return true;
	if (strcmp(path, "labels") == 0) {
		g_hash_table_unref(c->labels);
		c->labels = strmap_copy(input->labels);
	} else if (strcmp(path, "spec") == 0) {
		replace_any(&c->spec, &input->spec);
	} else if (strcmp(path, "extensions") == 0) {
		g_hash_table_unref(c->extensions);
		c->extensions = extensions_copy(input->extensions);
	} else if (strcmp(path, "image") == 0) {
		replace_string(&c->image, input->image);
	} else if (strcmp(path, "snapshotkey") == 0) {
		replace_string(&c->snapshot_key, input->snapshot_key);
	} else {
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "cannot update %s field on %s",
		                       Q(path), Q(c->id));
	}
	return true;
}

/* What can not change must be as it was where all is replaced. */
static bool immutable_check(const Container *c, const Container *input, GError **error)
{
	if (strcmp(c->snapshotter, str_or(input->snapshotter, "")) != 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "container.Snapshotter field is immutable");
	if (strcmp(c->runtime_name, str_or(input->runtime_name, "")) != 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "container.Runtime.Name field is immutable");
	return true;
}

static bool update_tx(MetaTx *tx, void *data, GError **error)
{
	static const char *const all[] = {"labels", "spec", "extensions", "image", "snapshotkey", NULL};
	Args *a = data;
	int64_t row;
	g_autoptr(Container) c = NULL;
	if (!find(tx, a, a->input->id, &row, &c, error))
		return false;
	if (c == NULL)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "container %s", Q(a->input->id));
	bool everything = fieldpaths_empty(a->paths);
	if (everything && !immutable_check(c, a->input, error))
		return false;
	for (const char *const *path = everything ? all : a->paths; *path != NULL; path++) {
		if (!apply_path(c, a->input, *path, error))
			return false;
	}
	if (!container_check(c, error))
		return error_prefix(error, "update failed validation");
	c->updated_at = time_now();
	if (!meta_run(tx, error,
	              "UPDATE container SET image = ?, spec_type = ?, spec = ?, snapshot_key = ?, updated = ?"
	              " WHERE id = ?",
	              "sasii", c->image, &c->spec, c->snapshot_key, c->updated_at, row) ||
	    !write_maps(tx, row, c, error))
		return false;
	a->container = g_steal_pointer(&c);
	return true;
}

Container *containers_update(MetaDb *db, const Ctx *ctx, const Container *input, const char *const *paths,
                             GError **error)
{
	if (str_empty(input->id)) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "must specify a container id");
		return NULL;
	}
	Args a = {.ns = meta_namespace(ctx, error), .input = input, .paths = paths};
	bool ok = a.ns != NULL && meta_update(db, update_tx, &a, error);
	g_autoptr(Container) c = a.container;
	if (!ok)
		return NULL;
	meta_emit(db, &(StoreEvent){.kind = STORE_EVENT_CONTAINER_UPDATE,
	                            .ns = a.ns,
	                            .name = c->id,
	                            .image = c->image,
	                            .labels = c->labels,
	                            .key = c->snapshot_key});
	return g_steal_pointer(&c);
}

static bool delete_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	if (!meta_run(tx, error, "DELETE FROM container WHERE ns = ? AND name = ?", "ss", a->ns, a->id))
		return false;
	if (meta_tx_changes(tx) == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "container %s", a->id);
	meta_tx_dirty(tx, NULL);
	return true;
}

bool containers_delete(MetaDb *db, const Ctx *ctx, const char *id, GError **error)
{
	Args a = {.ns = meta_namespace(ctx, error), .id = str_or(id, "")};
	if (a.ns == NULL || !meta_update(db, delete_tx, &a, error))
		return false;
	meta_emit(db, &(StoreEvent){.kind = STORE_EVENT_CONTAINER_DELETE, .ns = a.ns, .name = a.id});
	return true;
}
