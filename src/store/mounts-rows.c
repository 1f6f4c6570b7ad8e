// SPDX-License-Identifier: Apache-2.0

#include "store/mounts-rows.h"
#include "base/error.h"
#include "base/json.h"
#include "store/filter-text.h"
#include <string.h>

typedef struct {
	const char *ns, *name, *lease;
	int64_t id;
	GHashTable *labels;
	const Activation *input;
	const char *const *paths;
	Filter *filter;
	bool left;
	Activation *activation; // results
	GPtrArray *list;
	GHashTable *ids;
	GArray *row_ids;
} Args;

/* ---- lists and maps as JSON ---- */

static char *strv_text(char *const *strv)
{
	g_autoptr(JsonObject) a = json_object_new_array();
	for (; strv != NULL && *strv != NULL; strv++)
		json_object_array_add(a, json_object_new_string(*strv));
	return json_to_text(a);
}

static char *strmap_text(GHashTable *map)
{
	if (map == NULL)
		return NULL;
	g_autoptr(JsonObject) o = json_object_new_object();
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(map);
	for (guint i = 0; i < keys->len; i++)
		json_set_string(o, keys->pdata[i], strmap_get(map, keys->pdata[i]));
	return json_to_text(o);
}

/* The column as member "v" of an object: what the getters of base/json.h want. */
static JsonObject *column_json(sqlite3_stmt *stmt, int column, GError **error)
{
	g_autofree char *text = g_strdup_printf("{\"v\":%s}", meta_column_text(stmt, column));
	return json_parse(text, strlen(text), 0, error);
}

static Mount *read_mount(sqlite3_stmt *stmt, GError **error)
{
	g_auto(GStrv) options = NULL;
	g_autoptr(JsonObject) json = column_json(stmt, 4, error);
	if (json == NULL || !json_get_strv(json, "v", &options, error))
		return NULL;
	return mount_new(meta_column_text(stmt, 1), meta_column_text(stmt, 2), meta_column_text(stmt, 3),
	                 (const char *const *)options);
}

static bool read_data(sqlite3_stmt *stmt, ActiveMount *a, GError **error)
{
	if (sqlite3_column_type(stmt, 7) == SQLITE_NULL)
		return true;
	g_autoptr(JsonObject) json = column_json(stmt, 7, error);
	return json != NULL && json_get_strmap(json, "v", &a->data, error);
}

/* ---- reading ---- */

static bool read_parts(MetaTx *tx, int64_t id, Activation *a, GError **error)
{
	sqlite3_stmt *stmt = meta_query(tx, error,
	                                "SELECT system, type, source, target, options, mounted, point, data"
	                                " FROM mount_part WHERE mount = ? ORDER BY system, position",
	                                "i", id);
	bool row;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row)
			return true;
		g_autoptr(Mount) m = read_mount(stmt, error);
		if (m == NULL)
			return false;
		if (sqlite3_column_int(stmt, 0) != 0) {
			g_ptr_array_add(a->system, g_steal_pointer(&m));
			continue;
		}
		g_autoptr(ActiveMount) part =
		        active_mount_new(g_steal_pointer(&m), meta_column_text(stmt, 6));
		part->mounted_at = sqlite3_column_int64(stmt, 5);
		if (!read_data(stmt, part, error))
			return false;
		g_ptr_array_add(a->active, g_steal_pointer(&part));
	}
	return false;
}

static Activation *read_row(MetaTx *tx, int64_t id, const char *name, GError **error)
{
	g_autoptr(Activation) a = g_new0(Activation, 1);
	a->name = g_strdup(name);
	a->active = active_mounts_new();
	a->system = mounts_new();
	a->labels = meta_labels_read(tx, META_MOUNT, id, error);
	return a->labels != NULL && read_parts(tx, id, a, error) ? g_steal_pointer(&a) : NULL;
}

static bool find(MetaTx *tx, Args *a, GError **error)
{
	bool found;
	if (!meta_query_int(tx, &found, &a->id, error, "SELECT id FROM mount WHERE ns = ? AND name = ?", "ss",
	                    a->ns, a->name))
		return false;
	return found || error_set(error, CTRD_ERR_NOT_FOUND, "mount %s not found", Q(a->name));
}

static bool get_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	return find(tx, a, error) && (a->activation = read_row(tx, a->id, a->name, error)) != NULL;
}

Activation *mount_row_get(MetaDb *db, const Ctx *ctx, const char *name, int64_t *ret_id, GError **error)
{
	Args a = {.ns = ctx->ns, .name = name};
	if (!meta_view(db, get_tx, &a, error))
		return NULL;
	if (ret_id != NULL)
		*ret_id = a.id;
	return a.activation;
}

static const char *field(const char *const *path, size_t n, bool *present, void *data)
{
	const Activation *a = data;
	if (filter_is(path, n, "name"))
		return filter_text(a->name, present);
	if (filter_is(path, n, "labels"))
		return filter_map_field(a->labels, path + 1, n - 1, present);
	*present = false;
	return NULL;
}

/* id and name of the rows first: reading one asks the database again. */
static GPtrArray *read_rows(MetaTx *tx, sqlite3_stmt *stmt, GArray *ids, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	bool row;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row)
			return g_steal_pointer(&names);
		int64_t id = sqlite3_column_int64(stmt, 0);
		g_array_append_val(ids, id);
		g_ptr_array_add(names, meta_column_dup(stmt, 1));
	}
	return NULL;
}

static bool list_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(int64_t));
	sqlite3_stmt *stmt =
	        meta_query(tx, error, "SELECT id, name FROM mount WHERE ns = ? ORDER BY name", "s", a->ns);
	g_autoptr(GPtrArray) names = read_rows(tx, stmt, ids, error);
	for (guint i = 0; names != NULL && i < names->len; i++) {
		g_autoptr(Activation) one =
		        read_row(tx, g_array_index(ids, int64_t, i), names->pdata[i], error);
		if (one == NULL)
			return false;
		if (filter_match(a->filter, field, one))
			g_ptr_array_add(a->list, g_steal_pointer(&one));
	}
	return names != NULL;
}

GPtrArray *mount_rows_list(MetaDb *db, const Ctx *ctx, const char *const *filters, GError **error)
{
	g_autoptr(Filter) filter = filter_parse_list(filters, error);
	if (filter == NULL)
		return NULL;
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)activation_free);
	Args a = {.ns = ctx->ns, .filter = filter, .list = list};
	return meta_view(db, list_tx, &a, error) ? g_steal_pointer(&list) : NULL;
}

/* ---- writing ---- */

static bool begin_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	bool found;
	int64_t active = 0;
	if (!meta_query_int(tx, &found, &active, error, "SELECT active FROM mount WHERE ns = ? AND name = ?",
	                    "ss", a->ns, a->name))
		return false;
	if (found && active != 0)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "mount %s", Q(a->name));
	if (found) {
		if (!meta_run(tx, error, "DELETE FROM mount WHERE ns = ? AND name = ?", "ss", a->ns, a->name))
			return false;
		meta_tx_dirty(tx, "mounts");
	}
	TimeNs now = time_now();
	if (!meta_run(tx, error,
	              "INSERT INTO mount(ns, name, lease, created, updated) VALUES (?, ?, ?, ?, ?)", "sssii",
	              a->ns, a->name, a->lease, now, now))
		return false;
	a->id = meta_tx_last_id(tx);
	return meta_labels_write(tx, META_MOUNT, a->id, a->labels, error);
}

bool mount_row_begin(MetaDb *db, const Ctx *ctx, const char *name, GHashTable *labels, int64_t *ret_id,
                     GError **error)
{
	g_autoptr(GHashTable) copy = strmap_copy(labels);
	Args a = {.ns = ctx->ns, .name = name, .lease = ctx->lease, .labels = copy};
	if (!meta_update(db, begin_tx, &a, error))
		return false;
	*ret_id = a.id;
	return true;
}

static bool insert_part(MetaTx *tx, int64_t id, bool system, guint position, const Mount *m,
                        const ActiveMount *active, GError **error)
{
	static const char sql[] =
	        "INSERT INTO mount_part(mount, system, position, type, source, target, options,"
	        " point, data, mounted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0))";
	g_autofree char *options = strv_text(m->options);
	g_autofree char *data = active != NULL ? strmap_text(active->data) : NULL;
	return meta_run(tx, error, sql, "iiissssssi", id, (int64_t)system, (int64_t)position,
	                str_or(m->type, ""), str_or(m->source, ""), str_or(m->target, ""), options,
	                active != NULL ? active->point : NULL, data,
	                active != NULL ? active->mounted_at : (int64_t)0);
}

static bool complete_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	const Activation *in = a->input;
	if (!meta_run(tx, error, "UPDATE mount SET active = 1, updated = ? WHERE id = ?", "ii", time_now(),
	              a->id))
		return false;
	if (meta_tx_changes(tx) == 0)
		return error_set_class(error, CTRD_ERR_UNKNOWN, "missing mount %s bucket", Q(in->name));
	for (guint i = 0; i < in->active->len; i++) {
		const ActiveMount *active = in->active->pdata[i];
		if (!insert_part(tx, a->id, false, i, active->mount, active, error))
			return false;
	}
	for (guint i = 0; i < in->system->len; i++) {
		if (!insert_part(tx, a->id, true, i, in->system->pdata[i], NULL, error))
			return false;
	}
	return true;
}

bool mount_row_complete(MetaDb *db, int64_t id, const Activation *activation, GError **error)
{
	return meta_update(db, complete_tx, &(Args){.id = id, .input = activation}, error);
}

static bool drop_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	if (a->left)
		meta_tx_dirty(tx, "mounts");
	return meta_run(tx, error, "DELETE FROM mount WHERE id = ?", "i", a->id);
}

bool mount_row_drop(MetaDb *db, int64_t id, bool left, GError **error)
{
	return meta_update(db, drop_tx, &(Args){.id = id, .left = left}, error);
}

static bool apply_path(const char *path, Activation *a, const Activation *from, GError **error)
{
	if (g_str_equal(path, "labels")) {
		g_hash_table_unref(a->labels);
		a->labels = strmap_copy(from->labels);
		return true;
	}
	return fieldpath_apply(path, "labels.", a->labels, from->labels) ||
	       error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "cannot update %s field on mount %s", path,
	                       Q(a->name));
}

static bool update_tx(MetaTx *tx, void *data, GError **error)
{
	static const char *const everything[] = {"labels", NULL};
	Args *a = data;
	if (!get_tx(tx, a, error))
		return false;
	const char *const *path = fieldpaths_empty(a->paths) ? everything : a->paths;
	for (; *path != NULL; path++) {
		if (!apply_path(*path, a->activation, a->input, error))
			return false;
	}
	if (!meta_labels_write(tx, META_MOUNT, a->id, a->activation->labels, error))
		return false;
	meta_tx_dirty(tx, NULL); // a reference may have gone
	return meta_run(tx, error, "UPDATE mount SET updated = ? WHERE id = ?", "ii", time_now(), a->id);
}

Activation *mount_row_update(MetaDb *db, const Ctx *ctx, const Activation *input, const char *const *paths,
                             GError **error)
{
	Args a = {.ns = ctx->ns, .name = input->name, .input = input, .paths = paths};
	if (meta_update(db, update_tx, &a, error))
		return a.activation;
	activation_free(a.activation);
	return NULL;
}

/* ---- what an earlier daemon left ---- */

static bool recover_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	if (!meta_run(tx, error, "DELETE FROM mount WHERE active = 0", ""))
		return false;
	g_autoptr(GPtrArray) names =
	        read_rows(tx, meta_query(tx, error, "SELECT id, name FROM mount", ""), a->row_ids, error);
	for (guint i = 0; names != NULL && i < names->len; i++) {
		Activation *one = read_row(tx, g_array_index(a->row_ids, int64_t, i), names->pdata[i], error);
		if (one == NULL)
			return false;
		g_ptr_array_add(a->list, one);
	}
	return names != NULL;
}

GPtrArray *mount_rows_recover(MetaDb *db, GArray *ret_ids, GError **error)
{
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)activation_free);
	Args a = {.row_ids = ret_ids, .list = list};
	return meta_update(db, recover_tx, &a, error) ? g_steal_pointer(&list) : NULL;
}

static bool ids_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	sqlite3_stmt *stmt = meta_query(tx, error, "SELECT id FROM mount", "");
	bool row;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row)
			return true;
		int64_t id = sqlite3_column_int64(stmt, 0);
		g_hash_table_add(a->ids, g_memdup2(&id, sizeof(id)));
	}
	return false;
}

GHashTable *mount_rows_ids(MetaDb *db, GError **error)
{
	g_autoptr(GHashTable) ids = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	return meta_view(db, ids_tx, &(Args){.ids = ids}, error) ? g_steal_pointer(&ids) : NULL;
}
