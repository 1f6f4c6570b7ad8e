// SPDX-License-Identifier: Apache-2.0

/*
 * One collection.
 *
 * Beside writers: the graph is marked on a snapshot of the database, which holds nobody up. Mostly there is
 * nothing to collect, and that was all. Where there is, a transaction deletes it; if anything was written
 * since the snapshot, it marks again first, inside, so that what was referred to or leased meanwhile stays.
 * Writers wait for that second mark only (some milliseconds for thousands of objects), readers never.
 *
 * Files go after the transaction: blobs one by one, each held by its digest (meta-private.h), ingests,
 * snapshots by their snapshotters. What could not be done, or a crash left, is found again: failures are
 * remembered for the next collection, and the first one after a start compares the stores with the rows:
 * files without a row go; rows whose blob is gone or of another size (a power cut took it, or somebody) are
 * dropped with a warning, so that the next pull fetches it again instead of finding it "there already".
 */

#include "base/error.h"
#include "base/log.h"
#include "store/gc-private.h"
#include "store/meta-private.h"
#include <string.h>

/* ---- the database ---- */

/* What is to go, out of the graph that it was found in. */
typedef struct {
	GPtrArray *nodes; // of GcNode*
	GcGraph *graph;
} Garbage;

static void garbage_clear(Garbage *g)
{
	g_clear_pointer(&g->nodes, g_ptr_array_unref);
	g_clear_pointer(&g->graph, gc_graph_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Garbage, garbage_clear)

typedef struct {
	GcCollection *c;
	int64_t generation;
	Garbage garbage;
} Sweep;

static bool mark(GcCollection *c, MetaTx *tx, Garbage *ret, GError **error)
{
	garbage_clear(ret);
	ret->graph = gc_graph_load(tx, c->runs, time_now(), error);
	if (ret->graph == NULL)
		return false;
	gc_graph_mark(ret->graph);
	ret->nodes = g_ptr_array_new();
	GPtrArray *all = gc_graph_nodes(ret->graph);
	for (guint i = 0; i < all->len; i++) {
		if (gc_node_is_garbage(all->pdata[i]))
			g_ptr_array_add(ret->nodes, all->pdata[i]);
	}
	return true;
}

static bool mark_tx(MetaTx *tx, void *data, GError **error)
{
	Sweep *s = data;
	return mark(s->c, tx, &s->garbage, error);
}

static void say_dirty(MetaTx *tx, const GcNode *node)
{
	g_autofree char *what = NULL;
	if (node->kind == GC_CONTENT)
		what = g_strconcat("content:", node->key, NULL);
	else if (node->kind == GC_INGEST)
		what = g_strconcat("ingest:", node->name, NULL);
	else if (node->kind == GC_MOUNT)
		what = g_strdup("mounts");
	else if (node->kind == GC_SNAPSHOT)
		what = g_strdup_printf("snapshots:%.*s", (int)strcspn(node->key, "/"), node->key);
	if (what != NULL)
		meta_tx_dirty(tx, what);
	// the shared blob that an ingest stood for, which it may have kept alone
	for (guint i = 0; node->kind == GC_INGEST && node->edges != NULL && i < node->edges->len; i++) {
		g_autofree char *expected =
		        g_strconcat("content:", g_array_index(node->edges, GcEdge, i).to->key, NULL);
		meta_tx_dirty(tx, expected);
	}
}

/* The rows of one kind in one statement: a snapshot and its children go together, as the foreign key wants
 * it. */
static bool delete_rows(MetaTx *tx, GPtrArray *nodes, GcKind kind, const char *sql, GError **error)
{
	g_autoptr(GString) ids = g_string_new("[");
	for (guint i = 0; i < nodes->len; i++) {
		const GcNode *node = nodes->pdata[i];
		if (node->kind != kind)
			continue;
		g_string_append_printf(ids, "%s%" G_GINT64_FORMAT, ids->len > 1 ? "," : "", node->id);
		say_dirty(tx, node);
	}
	if (ids->len == 1)
		return true;
	g_string_append_c(ids, ']');
	return meta_run(tx, error, sql, "s", ids->str);
}

#define DELETE_FROM(table) "DELETE FROM " table " WHERE id IN (SELECT value FROM json_each(?))"

static bool sweep_tx(MetaTx *tx, void *data, GError **error)
{
	static const struct {
		GcKind kind;
		const char *sql;
	} kinds[] = {
	        {GC_LEASE, DELETE_FROM("lease")},   {GC_SNAPSHOT, DELETE_FROM("snapshot")},
	        {GC_INGEST, DELETE_FROM("ingest")}, {GC_CONTENT, DELETE_FROM("blob")},
	        {GC_IMAGE, DELETE_FROM("image")},   {GC_MOUNT, DELETE_FROM("mount")},
	};
	Sweep *s = data;
	if (meta_tx_generation(tx) != s->generation && !mark(s->c, tx, &s->garbage, error))
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		if (!delete_rows(tx, s->garbage.nodes, kinds[i].kind, kinds[i].sql, error))
			return error_prefix(error, "failed to scan and remove");
	}
	return true;
}

static void tell(GcCollection *c, const GcNode *node, GcStats *stats)
{
	switch ((int)node->kind) {
	case GC_CONTENT:
		stats->n_content++;
		break;
	case GC_INGEST:
		stats->n_ingests++;
		break;
	case GC_LEASE:
		stats->n_leases++;
		break;
	case GC_MOUNT:
		stats->n_mounts++;
		break;
	case GC_IMAGE:
		stats->n_images++;
		meta_emit(c->db,
		          &(StoreEvent){.kind = STORE_EVENT_IMAGE_DELETE, .ns = node->ns, .name = node->key});
		break;
	case GC_SNAPSHOT: {
		stats->n_snapshots++;
		size_t len = strcspn(node->key, "/");
		g_autofree char *snapshotter = g_strndup(node->key, len);
		meta_emit(c->db, &(StoreEvent){.kind = STORE_EVENT_SNAPSHOT_REMOVE,
		                               .ns = node->ns,
		                               .key = node->key + len + 1,
		                               .snapshotter = snapshotter});
		break;
	}
	default: {
		const GcRun *run = &g_array_index(c->runs, GcRun, (guint)(node->kind - GC_COLLECTED));
		run->collector->remove(run->run, node->ns, node->key);
		break;
	}
	}
	log_debug("garbage collected", "namespace", node->ns, "key", node->key, NULL);
}

static bool collect_rows(GcCollection *c, GcStats *stats, GError **error)
{
	Sweep s = {.c = c, .generation = meta_generation(c->db)};
	bool ok = meta_view(c->db, mark_tx, &s, error) &&
	          (s.garbage.nodes->len == 0 || meta_update(c->db, sweep_tx, &s, error));
	for (guint i = 0; ok && i < s.garbage.nodes->len; i++)
		tell(c, s.garbage.nodes->pdata[i], stats);
	garbage_clear(&s.garbage);
	return ok;
}

/* ---- files ---- */

static bool is_referred_to_tx(MetaTx *tx, void *data, GError **error)
{
	void **args = data;
	const char *digest = args[0];
	return meta_query_int(tx, args[1], NULL, error,
	                      "SELECT 1 FROM blob WHERE digest = ?1 UNION ALL"
	                      " SELECT 1 FROM ingest WHERE expected = ?1 LIMIT 1",
	                      "s", digest);
}

static bool is_referred_to(MetaDb *db, const char *digest, bool *ret, GError **error)
{
	return meta_view(db, is_referred_to_tx, (void *[]){(void *)digest, ret}, error);
}

/* The file of a blob that no row names any more; nobody else holds the digest. */
static bool sweep_held(GcCollection *c, const Ctx *ctx, const char *digest, GcStats *stats, GError **error)
{
	bool referred;
	if (!is_referred_to(c->db, digest, &referred, error))
		return false;
	if (referred)
		return true;
	g_autoptr(GError) cause = NULL;
	if (!content_delete(c->content, ctx, digest, &cause)) {
		if (error_is(cause, CTRD_ERR_NOT_FOUND))
			return true;
		g_propagate_error(error, g_steal_pointer(&cause));
		return false;
	}
	stats->n_blobs++;
	log_debug("removed content", "digest", digest, NULL);
	return true;
}

/* false: again at the next collection. */
static bool sweep_blob(GcCollection *c, const Ctx *ctx, const char *digest, GcStats *stats)
{
	if (!meta_pin_try_exclusive(c->db, digest))
		return false;
	g_autoptr(GError) error = NULL;
	bool ok = sweep_held(c, ctx, digest, stats, &error);
	meta_unpin_exclusive(c->db, digest);
	if (!ok)
		log_warn("failed to remove content", "digest", digest, "error", error->message, NULL);
	return ok;
}

static bool abort_ingest(GcCollection *c, const Ctx *ctx, const char *ref)
{
	g_autoptr(GError) error = NULL;
	if (content_abort(c->content, ctx, ref, &error) || error_is(error, CTRD_ERR_NOT_FOUND))
		return true;
	log_warn("failed to abort ingest", "ref", ref, "error", error->message, NULL);
	return false;
}

static bool cleanup_snapshotter(GcCollection *c, const Ctx *ctx, const char *name)
{
	Snapshotter *s = c->snapshotters != NULL ? g_hash_table_lookup(c->snapshotters, name) : NULL;
	g_autoptr(GError) error = NULL;
	if (s == NULL || s->ops->cleanup == NULL || s->ops->cleanup(s, ctx, &error) ||
	    error_is(error, CTRD_ERR_NOT_IMPLEMENTED))
		return true;
	log_warn("snapshot garbage collection failed", "snapshotter", name, "error", error->message, NULL);
	return false;
}

static bool clean_mounts(GcCollection *c)
{
	g_autoptr(GError) error = NULL;
	if (c->clean_mounts == NULL || c->clean_mounts(c->mounts, &error))
		return true;
	log_warn("failed to unmount", "error", error->message, NULL);
	return false;
}

/* One of what meta_tx_dirty named. */
static bool clean(GcCollection *c, const Ctx *ctx, const char *what, GcStats *stats)
{
	static const char content[] = "content:", ingest[] = "ingest:", snapshots[] = "snapshots:";
	if (g_str_has_prefix(what, snapshots))
		return cleanup_snapshotter(c, ctx, what + strlen(snapshots));
	if (g_str_equal(what, "mounts"))
		return clean_mounts(c);
	if (c->content == NULL)
		return true;
	if (g_str_has_prefix(what, ingest))
		return abort_ingest(c, ctx, what + strlen(ingest));
	// a blob may be one of upstream's, which knows of it and we do not
	if (g_str_has_prefix(what, content) && !meta_has_upstream(c->db))
		return sweep_blob(c, ctx, what + strlen(content), stats);
	return true;
}

static void clean_all(GcCollection *c, const Ctx *ctx, GHashTable *dirty, GcStats *stats)
{
	GHashTableIter iter;
	void *what;
	g_hash_table_iter_init(&iter, dirty);
	while (g_hash_table_iter_next(&iter, &what, NULL)) {
		if (!clean(c, ctx, what, stats))
			meta_put_dirty(c->db, what);
	}
}

/* ---- the first time: stores against rows ---- */

/* digest -> size */
static bool note_blob(const ContentInfo *info, void *data, GError **error)
{
	g_hash_table_insert(data, g_strdup(info->digest), g_memdup2(&info->size, sizeof(info->size)));
	return true;
}

/* A digest and the size that its rows say, or an ingest's ref in the backend. */
typedef struct {
	GHashTable *blobs; // digest -> int64_t*
	GHashTable *refs;  // set
} Rows;

static bool rows_tx(MetaTx *tx, void *data, GError **error)
{
	Rows *rows = data;
	sqlite3_stmt *stmt = meta_query(tx, error, "SELECT DISTINCT digest, size FROM blob", "");
	bool row = true;
	while (row) {
		if (stmt == NULL || !meta_step(tx, stmt, &row, error))
			return false;
		if (row) {
			int64_t size = sqlite3_column_int64(stmt, 1);
			g_hash_table_insert(rows->blobs, meta_column_dup(stmt, 0),
			                    g_memdup2(&size, sizeof(size)));
		}
	}
	stmt = meta_query(tx, error, "SELECT backend_ref FROM ingest", "");
	row = true;
	while (row) {
		if (stmt == NULL || !meta_step(tx, stmt, &row, error))
			return false;
		if (row)
			g_hash_table_add(rows->refs, meta_column_dup(stmt, 0));
	}
	return true;
}

static bool drop_blob_tx(MetaTx *tx, void *data, GError **error)
{
	return meta_run(tx, error, "DELETE FROM blob WHERE digest = ?", "s", (const char *)data);
}

/* The record promises what is not there. Looked at again while nobody can make it good or refer to it. */
static bool drop_held(GcCollection *c, const Ctx *ctx, const char *digest, int64_t size, GError **error)
{
	g_autoptr(GError) cause = NULL;
	g_autoptr(ContentInfo) info = content_info(c->content, ctx, digest, &cause);
	if (info != NULL && info->size == size)
		return true;
	if (info == NULL && !error_is(cause, CTRD_ERR_NOT_FOUND)) {
		g_propagate_error(error, g_steal_pointer(&cause));
		return false;
	}
	g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, size);
	g_autofree char *there = info != NULL ? g_strdup_printf("%" G_GINT64_FORMAT, info->size) : NULL;
	log_warn("content is damaged or lost: its record is dropped, pull or import it again", "digest",
	         digest, "size", text, "found", str_or(there, "nothing"), NULL);
	if (!meta_update(c->db, drop_blob_tx, (void *)digest, error))
		return false;
	g_clear_error(&cause);
	if (content_delete(c->content, ctx, digest, &cause) || error_is(cause, CTRD_ERR_NOT_FOUND))
		return true;
	g_propagate_error(error, g_steal_pointer(&cause));
	return false;
}

static void drop_blob(GcCollection *c, const Ctx *ctx, const char *digest, int64_t size)
{
	if (!meta_pin_try_exclusive(c->db, digest))
		return; // it is being written just now
	g_autoptr(GError) error = NULL;
	if (!drop_held(c, ctx, digest, size, &error))
		log_warn("failed to repair content", "digest", digest, "error", error->message, NULL);
	meta_unpin_exclusive(c->db, digest);
}

static void compare_blobs(GcCollection *c, const Ctx *ctx, GHashTable *files, GHashTable *rows,
                          GcStats *stats)
{
	GHashTableIter iter;
	void *digest, *size;
	bool lost = g_hash_table_size(files) == 0 && g_hash_table_size(rows) > 0;
	if (lost) // more likely not mounted than lost
		log_error("the content store is empty, but content is recorded: nothing is repaired", NULL);
	g_hash_table_iter_init(&iter, rows);
	while (!lost && g_hash_table_iter_next(&iter, &digest, &size)) {
		const int64_t *found = g_hash_table_lookup(files, digest);
		if (found == NULL || *found != *(int64_t *)size)
			drop_blob(c, ctx, digest, *(int64_t *)size);
	}
	g_hash_table_iter_init(&iter, files);
	while (!meta_has_upstream(c->db) && g_hash_table_iter_next(&iter, &digest, NULL)) {
		if (!g_hash_table_contains(rows, digest) && !sweep_blob(c, ctx, digest, stats)) {
			g_autofree char *what = g_strconcat("content:", digest, NULL);
			meta_put_dirty(c->db, what);
		}
	}
}

static void compare_ingests(GcCollection *c, const Ctx *ctx, GPtrArray *refs, GHashTable *rows)
{
	for (guint i = 0; !meta_has_upstream(c->db) && i < refs->len; i++) {
		if (!g_hash_table_contains(rows, refs->pdata[i]))
			abort_ingest(c, ctx, refs->pdata[i]);
	}
}

/* The stores are listed before the rows: an ingest's row comes before its files, a blob's file before its row
 * (which is looked for again under the pin). */
static bool compare_content(GcCollection *c, const Ctx *ctx, GcStats *stats, GError **error)
{
	g_autoptr(GHashTable) files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	g_autoptr(GHashTable) blobs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	g_autoptr(GHashTable) ingests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GPtrArray) refs = content_list_refs(c->content, ctx, error);
	Rows rows = {blobs, ingests};
	if (refs == NULL || !content_walk(c->content, ctx, NULL, note_blob, files, error) ||
	    !meta_view(c->db, rows_tx, &rows, error))
		return false;
	compare_blobs(c, ctx, files, blobs, stats);
	compare_ingests(c, ctx, refs, ingests);
	return true;
}

static void scan_stores(GcCollection *c, const Ctx *ctx, GcStats *stats)
{
	g_autoptr(GError) error = NULL;
	c->scanned = true;
	if (meta_has_upstream(c->db))
		log_info("upstream metadata is here: no content is deleted from disk", NULL);
	if (c->content != NULL && !compare_content(c, ctx, stats, &error)) {
		log_warn("content garbage collection failed", "error", error->message, NULL);
		c->scanned = false;
	}
	GHashTableIter iter;
	void *name;
	if (c->snapshotters == NULL)
		return;
	g_hash_table_iter_init(&iter, c->snapshotters);
	while (g_hash_table_iter_next(&iter, &name, NULL))
		cleanup_snapshotter(c, ctx, name);
}

/* ---- all of it ---- */

static void start_runs(GcCollection *c)
{
	for (guint i = 0; i < c->runs->len; i++) {
		GcRun *run = &g_array_index(c->runs, GcRun, i);
		run->run = run->collector->start(run->data);
	}
}

static void end_runs(GcCollection *c, bool ok)
{
	for (guint i = 0; i < c->runs->len; i++) {
		GcRun *run = &g_array_index(c->runs, GcRun, i);
		if (run->run != NULL)
			(ok ? run->collector->finish : run->collector->cancel)(run->run);
		run->run = NULL;
	}
}

bool gc_collect(GcCollection *c, GcStats *stats, GError **error)
{
	static const Ctx ctx = {0};
	int64_t start = time_mono();
	start_runs(c);
	bool ok = collect_rows(c, stats, error);
	stats->duration_ns = time_mono() - start;
	end_runs(c, ok);
	if (!ok)
		return false;
	g_autoptr(GHashTable) dirty = meta_take_dirty(c->db);
	clean_all(c, &ctx, dirty, stats);
	if (!c->scanned)
		scan_stores(c, &ctx, stats);
	return true;
}
