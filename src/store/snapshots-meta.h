// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Rows of the snapshot table, for the snapshotters that keep them: local and proxy. All inside a transaction.
 */

#include "loop/lock.h"
#include "oci/filters.h"
#include "store/snapshots.h"

typedef struct {
	int64_t id; // 0: there is no row
	SnapshotKind kind;
	char *key;
	int64_t parent_id; // 0: none
	char *parent;      // its key, "" where there is none
	TimeNs created_at, updated_at;
	int64_t size, inodes;
	char *backend_key; // of a proxy's, else ""
} SnapshotRow;
void snapshot_row_clear(SnapshotRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SnapshotRow, snapshot_row_clear)

/* No row is no error: ret->id is 0. */
bool snapshot_row_find(MetaTx *tx, const char *snapshotter, const char *ns, const char *key, SnapshotRow *ret,
                       GError **error);
/* No row is `snapshot KEY does not exist: not found`. */
bool snapshot_row_get(MetaTx *tx, const char *snapshotter, const char *ns, const char *key, SnapshotRow *ret,
                      GError **error);
/* No row is `parent snapshot KEY does not exist: not found`. An empty key gives an empty row. */
bool snapshot_row_get_parent(MetaTx *tx, const char *snapshotter, const char *ns, const char *key,
                             SnapshotRow *ret, GError **error);

/* id 0: SQLite chooses. labels NULL: none. Sets ret->id. */
bool snapshot_row_insert(MetaTx *tx, const char *snapshotter, const char *ns, SnapshotRow *row,
                         GHashTable *labels, GError **error);
/* Gives the row its committed name, kind, times, usage, parent, labels and backend key. */
bool snapshot_row_commit(MetaTx *tx, const SnapshotRow *row, GHashTable *labels, GError **error);
/* Also the context's lease lets go of it. With children: `cannot remove snapshot with child: failed
 * precondition`.
 */
bool snapshot_row_remove(MetaTx *tx, const Ctx *ctx, const char *snapshotter, const SnapshotRow *row,
                         GError **error);
/* Upstream's update of labels by field paths: what they become, a new map; and the row with them. */
GHashTable *snapshot_labels_updated(MetaTx *tx, const SnapshotRow *row, const SnapshotInfo *info,
                                    const char *const *paths, GError **error);
bool snapshot_row_update(MetaTx *tx, SnapshotRow *row, GHashTable *labels, GError **error);
bool snapshot_lease_add(MetaTx *tx, const Ctx *ctx, const char *snapshotter, const char *key, GError **error);
bool snapshot_lease_remove(MetaTx *tx, const Ctx *ctx, const char *snapshotter, const char *key,
                           GError **error);

/* Ids from the nearest parent of a row to the farthest; id is the nearest. GArray of int64_t. */
GArray *snapshot_chain(MetaTx *tx, int64_t id, GError **error);
/* All ids of a snapshotter, of all namespaces: a set of gint64. */
GHashTable *snapshot_row_ids(MetaTx *tx, const char *snapshotter, GError **error);

SnapshotInfo *snapshot_info_from_row(const SnapshotRow *row, GHashTable *labels);
/* What a target or a key that is there already means: the lease holds it, and the text in *ret_exists. */
bool snapshot_check_free(MetaTx *tx, const Ctx *ctx, const char *snapshotter, const char *key,
                         const char *target, char **ret_exists, GError **error);

/* At most n rows after a key, in order of keys, with their labels. */
typedef struct {
	SnapshotRow row;
	GHashTable *labels;
} SnapshotEntry;
GPtrArray *snapshot_page(MetaTx *tx, const char *snapshotter, const char *ns, const char *after, unsigned n,
                         GError **error);
bool snapshot_filter_match(const Filter *filter, const SnapshotInfo *info);

/* Numbers of new snapshots, from the table's AUTOINCREMENT sequence: one is never given twice. They are taken
 * in blocks, so that the usual prepare is one transaction. Thread-safe. */
typedef struct {
	MetaDb *db;
	Lock lock;
	Cond cond;
	int64_t next, end;
	bool reserving;
} SnapshotIds;
/* Where our numbers begin: behind all that upstream can have given, where it was here before us. */
int64_t snapshot_first_id(MetaDb *db);
void snapshot_ids_init(SnapshotIds *ids, MetaDb *db, int64_t least);
void snapshot_ids_clear(SnapshotIds *ids);
void snapshot_ids_skip(SnapshotIds *ids, int64_t id); // before the first one is given: only what is above
bool snapshot_ids_next(SnapshotIds *ids, int64_t *ret, GError **error);
