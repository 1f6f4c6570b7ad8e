// SPDX-License-Identifier: Apache-2.0

#include "store/snapshots-meta.h"
#include "base/error.h"
#include "base/identifiers.h"
#include "base/util.h"
#include "store/leases.h"
#include <string.h>

#define ROW_COLUMNS                                                                                          \
	"s.id, s.kind, s.key, s.parent, p.key, s.created, s.updated, s.size, s.inodes, s.backend_key"
#define ROW_FROM " FROM snapshot s LEFT JOIN snapshot p ON p.id = s.parent "

void snapshot_row_clear(SnapshotRow *row)
{
	g_clear_pointer(&row->key, g_free);
	g_clear_pointer(&row->parent, g_free);
	g_clear_pointer(&row->backend_key, g_free);
	row->id = 0;
}

static void read_row(sqlite3_stmt *stmt, SnapshotRow *ret)
{
	snapshot_row_clear(ret);
	*ret = (SnapshotRow){
	        .id = sqlite3_column_int64(stmt, 0),
	        .kind = (SnapshotKind)sqlite3_column_int(stmt, 1),
	        .key = g_strdup(meta_column_text(stmt, 2)),
	        .parent_id = sqlite3_column_int64(stmt, 3),
	        .parent = g_strdup(meta_column_text(stmt, 4)),
	        .created_at = sqlite3_column_int64(stmt, 5),
	        .updated_at = sqlite3_column_int64(stmt, 6),
	        .size = sqlite3_column_int64(stmt, 7),
	        .inodes = sqlite3_column_int64(stmt, 8),
	        .backend_key = g_strdup(meta_column_text(stmt, 9)),
	};
}

bool snapshot_row_find(MetaTx *tx, const char *snapshotter, const char *ns, const char *key, SnapshotRow *ret,
                       GError **error)
{
	bool found = false;
	sqlite3_stmt *stmt = meta_query(tx, error,
	                                "SELECT " ROW_COLUMNS ROW_FROM
	                                "WHERE s.snapshotter = ? AND s.ns = ? AND s.key = ?",
	                                "sss", snapshotter, ns, key);
	snapshot_row_clear(ret);
	if (stmt == NULL || !meta_step(tx, stmt, &found, error))
		return false;
	if (found)
		read_row(stmt, ret);
	return true;
}

bool snapshot_row_get(MetaTx *tx, const char *snapshotter, const char *ns, const char *key, SnapshotRow *ret,
                      GError **error)
{
	if (!snapshot_row_find(tx, snapshotter, ns, key, ret, error))
		return false;
	return ret->id != 0 || error_set_class(error, CTRD_ERR_NOT_FOUND, "snapshot %s does not exist", key);
}

bool snapshot_row_get_parent(MetaTx *tx, const char *snapshotter, const char *ns, const char *key,
                             SnapshotRow *ret, GError **error)
{
	snapshot_row_clear(ret);
	if (str_empty(key))
		return true;
	if (!snapshot_row_find(tx, snapshotter, ns, key, ret, error))
		return false;
	return ret->id != 0 ||
	       error_set_class(error, CTRD_ERR_NOT_FOUND, "parent snapshot %s does not exist", key);
}

/* NULL for 0 and "": what is stored for nothing. */
static const char *text_or_null(const char *s)
{
	return str_empty(s) ? NULL : s;
}

bool snapshot_row_insert(MetaTx *tx, const char *snapshotter, const char *ns, SnapshotRow *row,
                         GHashTable *labels, GError **error)
{
	if (!meta_run(tx, error,
	              "INSERT INTO snapshot(id, snapshotter, ns, key, parent, kind, created, updated, "
	              "backend_key)"
	              " VALUES (NULLIF(?, 0), ?, ?, ?, NULLIF(?, 0), ?, ?, ?, ?)",
	              "isssiiiis", row->id, snapshotter, ns, row->key, row->parent_id, (int64_t)row->kind,
	              row->created_at, row->updated_at, text_or_null(row->backend_key)))
		return false;
	row->id = meta_tx_last_id(tx);
	return labels == NULL || meta_labels_write(tx, META_SNAPSHOT, row->id, labels, error);
}

bool snapshot_row_commit(MetaTx *tx, const SnapshotRow *row, GHashTable *labels, GError **error)
{
	return meta_run(tx, error,
	                "UPDATE snapshot SET key = ?, parent = NULLIF(?, 0), kind = ?, created = ?, updated "
	                "= ?,"
	                " size = ?, inodes = ?, backend_key = ? WHERE id = ?",
	                "siiiiiisi", row->key, row->parent_id, (int64_t)row->kind, row->created_at,
	                row->updated_at, row->size, row->inodes, text_or_null(row->backend_key), row->id) &&
	       meta_labels_write(tx, META_SNAPSHOT, row->id, labels, error);
}

bool snapshot_row_remove(MetaTx *tx, const Ctx *ctx, const char *snapshotter, const SnapshotRow *row,
                         GError **error)
{
	bool child = false;
	int64_t one;
	if (!meta_query_int(tx, &child, &one, error, "SELECT 1 FROM snapshot WHERE parent = ? LIMIT 1", "i",
	                    row->id))
		return false;
	if (child)
		return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION,
		                       "cannot remove snapshot with child");
	if (!meta_run(tx, error, "DELETE FROM snapshot WHERE id = ?", "i", row->id) ||
	    !snapshot_lease_remove(tx, ctx, snapshotter, row->key, error))
		return false;
	g_autofree char *dirty = g_strconcat("snapshots:", snapshotter, NULL);
	meta_tx_dirty(tx, dirty);
	return true;
}

static bool apply_paths(GHashTable **labels, const SnapshotInfo *info, const char *const *paths,
                        GError **error)
{
	g_autoptr(GHashTable) none = strmap_new();
	GHashTable *from = info->labels != NULL ? info->labels : none;
	for (const char *const *p = paths; *p != NULL; p++) {
		if (fieldpath_apply(*p, "labels.", *labels, from))
			continue;
		if (!g_str_equal(*p, "labels"))
			return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
			                       "cannot update %s field on snapshot %s", Q(*p), Q(info->name));
		g_hash_table_unref(*labels);
		*labels = strmap_copy(from);
	}
	return true;
}

GHashTable *snapshot_labels_updated(MetaTx *tx, const SnapshotRow *row, const SnapshotInfo *info,
                                    const char *const *paths, GError **error)
{
	g_autoptr(GHashTable) labels = fieldpaths_empty(paths)
	                                       ? strmap_copy(info->labels)
	                                       : meta_labels_read(tx, META_SNAPSHOT, row->id, error);
	if (labels == NULL || (!fieldpaths_empty(paths) && !apply_paths(&labels, info, paths, error)))
		return NULL;
	if (!labels_validate(labels, error)) {
		error_prefix(error, "info.Labels");
		return NULL;
	}
	return g_steal_pointer(&labels);
}

bool snapshot_row_update(MetaTx *tx, SnapshotRow *row, GHashTable *labels, GError **error)
{
	row->updated_at = time_now();
	return meta_run(tx, error, "UPDATE snapshot SET updated = ? WHERE id = ?", "ii", row->updated_at,
	                row->id) &&
	       meta_labels_write(tx, META_SNAPSHOT, row->id, labels, error);
}

bool snapshot_lease_add(MetaTx *tx, const Ctx *ctx, const char *snapshotter, const char *key, GError **error)
{
	g_autofree char *type = g_strconcat("snapshots/", snapshotter, NULL);
	return lease_add_in_tx(tx, ctx, type, key, error);
}

bool snapshot_lease_remove(MetaTx *tx, const Ctx *ctx, const char *snapshotter, const char *key,
                           GError **error)
{
	g_autofree char *type = g_strconcat("snapshots/", snapshotter, NULL);
	return lease_remove_in_tx(tx, ctx, type, key, error);
}

GArray *snapshot_chain(MetaTx *tx, int64_t id, GError **error)
{
	g_autoptr(GArray) chain = g_array_new(FALSE, FALSE, sizeof(int64_t));
	if (id == 0)
		return g_steal_pointer(&chain);
	sqlite3_stmt *stmt = meta_query(tx, error,
	                                "WITH RECURSIVE chain(id, parent, depth) AS ("
	                                " SELECT id, parent, 0 FROM snapshot WHERE id = ? UNION ALL"
	                                " SELECT s.id, s.parent, depth + 1 FROM snapshot s JOIN chain c"
	                                " ON s.id = c.parent)"
	                                " SELECT id FROM chain ORDER BY depth",
	                                "i", id);
	bool row = true;
	while (stmt != NULL && row) {
		if (!meta_step(tx, stmt, &row, error))
			return NULL;
		if (row) {
			int64_t n = sqlite3_column_int64(stmt, 0);
			g_array_append_val(chain, n);
		}
	}
	return stmt != NULL ? g_steal_pointer(&chain) : NULL;
}

GHashTable *snapshot_row_ids(MetaTx *tx, const char *snapshotter, GError **error)
{
	g_autoptr(GHashTable) ids = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	sqlite3_stmt *stmt =
	        meta_query(tx, error, "SELECT id FROM snapshot WHERE snapshotter = ?", "s", snapshotter);
	bool row = true;
	while (stmt != NULL && row) {
		if (!meta_step(tx, stmt, &row, error))
			return NULL;
		if (row) {
			int64_t n = sqlite3_column_int64(stmt, 0);
			g_hash_table_add(ids, g_memdup2(&n, sizeof n));
		}
	}
	return stmt != NULL ? g_steal_pointer(&ids) : NULL;
}

SnapshotInfo *snapshot_info_from_row(const SnapshotRow *row, GHashTable *labels)
{
	SnapshotInfo *info = g_new0(SnapshotInfo, 1);
	info->kind = row->kind;
	info->name = g_strdup(row->key);
	info->parent = g_strdup(row->parent);
	info->created_at = row->created_at;
	info->updated_at = row->updated_at;
	info->labels = strmap_copy(labels);
	return info;
}

bool snapshot_check_free(MetaTx *tx, const Ctx *ctx, const char *snapshotter, const char *key,
                         const char *target, char **ret_exists, GError **error)
{
	g_auto(SnapshotRow) row = {0};
	*ret_exists = NULL;
	if (!str_empty(target)) {
		if (!snapshot_row_find(tx, snapshotter, ctx->ns, target, &row, error))
			return false;
		if (row.id != 0) {
			*ret_exists = g_strdup_printf("target snapshot %s", Q(target));
			return snapshot_lease_add(tx, ctx, snapshotter, target, error);
		}
	}
	if (!snapshot_row_find(tx, snapshotter, ctx->ns, key, &row, error))
		return false;
	if (row.id != 0) {
		*ret_exists = g_strdup_printf("snapshot %s", Q(key));
		return snapshot_lease_add(tx, ctx, snapshotter, key, error);
	}
	return true;
}

static void entry_free(void *data)
{
	SnapshotEntry *e = data;
	snapshot_row_clear(&e->row);
	g_clear_pointer(&e->labels, g_hash_table_unref);
	g_free(e);
}

GPtrArray *snapshot_page(MetaTx *tx, const char *snapshotter, const char *ns, const char *after, unsigned n,
                         GError **error)
{
	g_autoptr(GPtrArray) page = g_ptr_array_new_with_free_func(entry_free);
	sqlite3_stmt *stmt =
	        meta_query(tx, error,
	                   "SELECT " ROW_COLUMNS ROW_FROM
	                   "WHERE s.snapshotter = ? AND s.ns = ? AND s.key > ? ORDER BY s.key LIMIT ?",
	                   "sssi", snapshotter, ns, after, (int64_t)n);
	bool row = true;
	while (stmt != NULL && row) {
		if (!meta_step(tx, stmt, &row, error))
			return NULL;
		if (!row)
			break;
		SnapshotEntry *e = g_new0(SnapshotEntry, 1);
		g_ptr_array_add(page, e);
		read_row(stmt, &e->row);
		e->labels = meta_labels_read(tx, META_SNAPSHOT, e->row.id, error);
		if (e->labels == NULL)
			return NULL;
	}
	return stmt != NULL ? g_steal_pointer(&page) : NULL;
}

static const char *field(const char *const *path, size_t n, bool *present, void *data)
{
	const SnapshotInfo *info = data;
	*present = true;
	if (n > 0 && g_str_equal(path[0], "kind")) {
		switch (info->kind) {
		case SNAPSHOT_ACTIVE:
			return "active";
		case SNAPSHOT_VIEW:
			return "view";
		case SNAPSHOT_COMMITTED:
			return "committed";
		case SNAPSHOT_UNKNOWN:
			break;
		}
	} else if (n > 0 && g_str_equal(path[0], "name")) {
		return info->name;
	} else if (n > 0 && g_str_equal(path[0], "parent")) {
		return info->parent;
	} else if (n > 0 && g_str_equal(path[0], "labels")) {
		return filter_map_field(info->labels, path + 1, n - 1, present);
	}
	*present = false;
	return NULL;
}

bool snapshot_filter_match(const Filter *filter, const SnapshotInfo *info)
{
	return filter_match(filter, field, (void *)info);
}

// ---- numbers ----

#define ID_BLOCK 64

typedef struct {
	int64_t first, least;
} Reservation;

static bool reserve_tx(MetaTx *tx, void *data, GError **error)
{
	Reservation *r = data;
	bool found = false;
	int64_t seq = 0;
	if (!meta_query_int(tx, &found, &seq, error,
	                    "SELECT seq FROM sqlite_sequence WHERE name = 'snapshot'", ""))
		return false;
	seq = MAX(seq, r->least - 1);
	r->first = seq + 1;
	return meta_run(tx, error,
	                found ? "UPDATE sqlite_sequence SET seq = ? WHERE name = 'snapshot'"
	                      : "INSERT INTO sqlite_sequence(seq, name) VALUES (?, 'snapshot')",
	                "i", seq + ID_BLOCK);
}

int64_t snapshot_first_id(MetaDb *db)
{
	return meta_has_upstream(db) ? SNAPSHOT_FIRST_BESIDE_UPSTREAM : 1;
}

void snapshot_ids_init(SnapshotIds *ids, MetaDb *db, int64_t least)
{
	*ids = (SnapshotIds){.db = db, .next = least, .end = least};
	lock_init(&ids->lock, "snapshot ids", LOCK_RANK_STORE);
	cond_init(&ids->cond);
}

void snapshot_ids_clear(SnapshotIds *ids)
{
	cond_destroy(&ids->cond);
	lock_destroy(&ids->lock);
}

void snapshot_ids_skip(SnapshotIds *ids, int64_t id)
{
	if (id >= ids->next)
		ids->next = ids->end = id + 1;
}

bool snapshot_ids_next(SnapshotIds *ids, int64_t *ret, GError **error)
{
	LOCK_SCOPE(&ids->lock);
	while (ids->next == ids->end) {
		if (ids->reserving) {
			cond_wait(&ids->cond, &ids->lock);
			continue;
		}
		Reservation r = {.least = ids->next};
		ids->reserving = true;
		lock_release(&ids->lock);
		bool ok = meta_update(ids->db, reserve_tx, &r, error);
		lock_acquire(&ids->lock);
		ids->reserving = false;
		cond_broadcast(&ids->cond);
		if (!ok)
			return false;
		ids->next = r.first;
		ids->end = r.first + ID_BLOCK;
	}
	*ret = ids->next++;
	return true;
}
