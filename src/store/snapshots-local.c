// SPDX-License-Identifier: Apache-2.0

/*
 * Snapshots whose metadata are rows of the database and whose directories a driver makes. What upstream does
 * in two layers with two databases (core/metadata/snapshot.go over core/snapshots/storage) is one row here.
 *
 * Order of things. A snapshot's directory is there before its row and goes after it, so a row always has its
 * directory. While a directory has no row yet its number stands in `making`, and cleanup leaves it alone:
 * cleanup lists the disk first, then looks at `making`, then at the rows. Whoever makes a directory enters
 * the number first and takes it out when the row is committed or the directory is gone. Numbers come from the
 * table's AUTOINCREMENT sequence, in blocks, so that a prepare is one transaction; a number is never used
 * twice.
 *
 * What is decided in a view (does the parent exist, is the key free) is checked again in the update that acts
 * on it.
 */

#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/util.h"
#include "loop/lock.h"
#include "loop/pool.h"
#include "store/snapshots-meta.h"
#include <inttypes.h>

#define WALK_PAGE 100
#define STARTUP_IDLE_NS (1 * NS_PER_SEC)

typedef struct {
	Snapshotter base;
	MetaDb *db;
	SnapshotDriver *driver;

	Lock lock;
	Cond cond;
	GHashTable *making; // set of gint64: directories without a row yet
	bool cleaning;
	SnapshotIds ids;

	Pool *pool; // for the cleanup at the start
	Cancel *closing;
} Local;

static Local *local_of(Snapshotter *s)
{
	return (Local *)s;
}

// ---- numbers ----

/* A number nobody had before, entered in `making`. */
static bool reserve_id(Local *l, int64_t *ret, GError **error)
{
	if (!snapshot_ids_next(&l->ids, ret, error))
		return false;
	LOCK_SCOPE(&l->lock);
	g_hash_table_add(l->making, g_memdup2(ret, sizeof *ret));
	return true;
}

static void made(Local *l, int64_t id)
{
	LOCK_SCOPE(&l->lock);
	g_hash_table_remove(l->making, &id);
}

// ---- reading ----

/* A snapshot and what its driver needs to know of it. */
typedef struct {
	Local *l;
	const Ctx *ctx;
	const char *ns, *key;
	bool want_chain;
	SnapshotRow row;
	GHashTable *labels;
	GArray *chain;
} Lookup;

static void lookup_clear(Lookup *q)
{
	snapshot_row_clear(&q->row);
	g_clear_pointer(&q->labels, g_hash_table_unref);
	g_clear_pointer(&q->chain, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Lookup, lookup_clear)

static bool lookup_tx(MetaTx *tx, void *data, GError **error)
{
	Lookup *q = data;
	if (!snapshot_row_get(tx, q->l->base.name, q->ns, q->key, &q->row, error))
		return false;
	q->labels = meta_labels_read(tx, META_SNAPSHOT, q->row.id, error);
	if (q->labels == NULL)
		return false;
	if (q->want_chain)
		q->chain = snapshot_chain(tx, q->row.parent_id, error);
	return !q->want_chain || q->chain != NULL;
}

static bool lookup(Local *l, const Ctx *ctx, const char *key, bool want_chain, Lookup *q, GError **error)
{
	q->l = l;
	q->key = key;
	q->want_chain = want_chain;
	q->ns = meta_namespace(ctx, error);
	return q->ns != NULL && meta_view(l->db, lookup_tx, q, error);
}

static SnapshotNode node_of(const Lookup *q, const Ctx *ctx)
{
	return (SnapshotNode){.id = q->row.id,
	                      .kind = q->row.kind,
	                      .parents = q->chain != NULL ? (const int64_t *)(void *)q->chain->data : NULL,
	                      .n_parents = q->chain != NULL ? q->chain->len : 0,
	                      .labels = q->labels,
	                      .cancel = ctx->cancel};
}

static SnapshotInfo *info_of(Local *l, const SnapshotRow *row, GHashTable *labels)
{
	SnapshotInfo *info = snapshot_info_from_row(row, labels);
	if (l->driver->ops->labels != NULL)
		l->driver->ops->labels(l->driver, row->id, info->labels);
	return info;
}

static SnapshotInfo *local_stat(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	g_auto(Lookup) q = {0};
	if (!lookup(local_of(self), ctx, key, false, &q, error))
		return NULL;
	return info_of(q.l, &q.row, q.labels);
}

typedef struct {
	Local *l;
	const char *ns, *key;
	int64_t id;
	bool gone;
} Still;

static bool still_tx(MetaTx *tx, void *data, GError **error)
{
	Still *q = data;
	g_auto(SnapshotRow) row = {0};
	if (!snapshot_row_find(tx, q->l->base.name, q->ns, q->key, &row, error))
		return false;
	q->gone = row.id != q->id;
	return true;
}

/* The driver failed: where that is because the snapshot was removed meanwhile, its error is replaced by that.
 * Returns false. */
static bool blame_removal(Local *l, const char *ns, const char *key, int64_t id, const char *what,
                          GError **error)
{
	Still q = {.l = l, .ns = ns, .key = key, .id = id};
	if (id != 0 && meta_view(l->db, still_tx, &q, NULL) && q.gone) {
		g_clear_error(error);
		error_set_class(error, CTRD_ERR_NOT_FOUND, "%s %s does not exist", what, key);
	}
	return false;
}

static bool local_usage(Snapshotter *self, const Ctx *ctx, const char *key, SnapshotUsage *ret,
                        GError **error)
{
	Local *l = local_of(self);
	g_auto(Lookup) q = {0};
	if (!lookup(l, ctx, key, true, &q, error))
		return false;
	*ret = (SnapshotUsage){q.row.size, q.row.inodes};
	if (q.row.kind != SNAPSHOT_ACTIVE)
		return true;
	SnapshotNode node = node_of(&q, ctx);
	return l->driver->ops->usage(l->driver, &node, ret, error) ||
	       blame_removal(l, q.ns, key, q.row.id, "snapshot", error);
}

static GPtrArray *local_mounts(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	Local *l = local_of(self);
	g_auto(Lookup) q = {0};
	if (!lookup(l, ctx, key, true, &q, error))
		return NULL;
	if (q.row.kind == SNAPSHOT_COMMITTED) {
		error_set_class(error, CTRD_ERR_FAILED_PRECONDITION,
		                "failed to get active mount: requested snapshot %s not active or view", key);
		return NULL;
	}
	SnapshotNode node = node_of(&q, ctx);
	return l->driver->ops->mounts(l->driver, &node, error);
}

typedef struct {
	Local *l;
	const char *ns;
	char *after;
	GPtrArray *page;
} Walk;

static bool walk_tx(MetaTx *tx, void *data, GError **error)
{
	Walk *w = data;
	w->page = snapshot_page(tx, w->l->base.name, w->ns, w->after, WALK_PAGE, error);
	return w->page != NULL;
}

static bool walk_page(Walk *w, const Ctx *ctx, const Filter *filter, SnapshotWalkFn fn, void *data,
                      GError **error)
{
	for (guint i = 0; i < w->page->len; i++) {
		const SnapshotEntry *e = w->page->pdata[i];
		g_autoptr(SnapshotInfo) info = info_of(w->l, &e->row, e->labels);
		if (!cancel_check(ctx->cancel, error))
			return false;
		if (snapshot_filter_match(filter, info) && !fn(info, data, error))
			return false;
	}
	return true;
}

/* In pages, so that no transaction is open while fn works. */
static bool local_walk(Snapshotter *self, const Ctx *ctx, const char *const *filters, SnapshotWalkFn fn,
                       void *data, GError **error)
{
	Walk w = {.l = local_of(self), .ns = meta_namespace(ctx, error)};
	g_autoptr(Filter) filter = w.ns != NULL ? filter_parse_all(filters, error) : NULL;
	bool ok = filter != NULL, more = ok;
	w.after = g_strdup("");
	while (ok && more) {
		ok = meta_view(w.l->db, walk_tx, &w, error) && walk_page(&w, ctx, filter, fn, data, error);
		more = w.page != NULL && w.page->len == WALK_PAGE;
		if (more) {
			const SnapshotEntry *last = w.page->pdata[w.page->len - 1];
			g_free(w.after);
			w.after = g_strdup(last->row.key);
		}
		g_clear_pointer(&w.page, g_ptr_array_unref);
	}
	g_free(w.after);
	return ok;
}

// ---- update ----

typedef struct {
	Local *l;
	const char *ns;
	const SnapshotInfo *info;
	const char *const *paths;
	SnapshotRow row;
	GHashTable *labels;
} Update;

static bool update_tx(MetaTx *tx, void *data, GError **error)
{
	Update *u = data;
	if (!snapshot_row_get(tx, u->l->base.name, u->ns, u->info->name, &u->row, error))
		return false;
	u->labels = snapshot_labels_updated(tx, &u->row, u->info, u->paths, error);
	return u->labels != NULL && snapshot_row_update(tx, &u->row, u->labels, error);
}

static SnapshotInfo *local_update(Snapshotter *self, const Ctx *ctx, const SnapshotInfo *info,
                                  const char *const *paths, GError **error)
{
	Update u = {.l = local_of(self), .ns = meta_namespace(ctx, error), .info = info, .paths = paths};
	SnapshotInfo *ret = NULL;
	if (u.ns != NULL && meta_update(u.l->db, update_tx, &u, error))
		ret = info_of(u.l, &u.row, u.labels);
	snapshot_row_clear(&u.row);
	g_clear_pointer(&u.labels, g_hash_table_unref);
	return ret;
}

// ---- prepare and view ----

typedef struct {
	Local *l;
	Ctx ctx; // with the checked namespace
	const char *key, *parent, *target;
	SnapshotKind kind;
	GHashTable *labels;
	int64_t id, parent_id;
	GArray *chain;
	char *exists; // what is there already: `snapshot "x"`
} Prepare;

static void prepare_clear(Prepare *p)
{
	g_clear_pointer(&p->labels, g_hash_table_unref);
	g_clear_pointer(&p->chain, g_array_unref);
	g_clear_pointer(&p->exists, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Prepare, prepare_clear)

static bool find_parent(MetaTx *tx, const Prepare *p, int64_t *ret_id, GError **error)
{
	g_auto(SnapshotRow) parent = {0};
	if (!snapshot_row_get_parent(tx, p->l->base.name, p->ctx.ns, p->parent, &parent, error))
		return false;
	if (parent.id != 0 && parent.kind != SNAPSHOT_COMMITTED)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "failed to create snapshot: parent %s is not committed snapshot",
		                       Q(p->parent));
	*ret_id = parent.id;
	return true;
}

static bool prepare_view_tx(MetaTx *tx, void *data, GError **error)
{
	Prepare *p = data;
	g_auto(SnapshotRow) row = {0};
	// the lease is given what is there already by the update, which looks again
	const char *const names[] = {p->target, p->key};
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		if (str_empty(names[i]))
			continue;
		if (!snapshot_row_find(tx, p->l->base.name, p->ctx.ns, names[i], &row, error))
			return false;
		if (row.id != 0) {
			p->exists = g_strdup(names[i]);
			return true;
		}
	}
	if (!find_parent(tx, p, &p->parent_id, error))
		return false;
	p->chain = snapshot_chain(tx, p->parent_id, error);
	return p->chain != NULL;
}

static bool prepare_check_tx(MetaTx *tx, void *data, GError **error)
{
	Prepare *p = data;
	g_clear_pointer(&p->exists, g_free);
	return snapshot_check_free(tx, &p->ctx, p->l->base.name, p->key, p->target, &p->exists, error);
}

static bool prepare_insert_tx(MetaTx *tx, void *data, GError **error)
{
	Prepare *p = data;
	int64_t parent_id = 0;
	if (!prepare_check_tx(tx, p, error) || p->exists != NULL)
		return p->exists != NULL;
	if (!find_parent(tx, p, &parent_id, error))
		return false;
	if (parent_id != p->parent_id) // another one by that name, not what the directory was made of
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "parent snapshot %s does not exist",
		                       p->parent);
	TimeNs now = time_now();
	SnapshotRow row = {.id = p->id,
	                   .kind = p->kind,
	                   .key = (char *)p->key,
	                   .parent_id = parent_id,
	                   .created_at = now,
	                   .updated_at = now};
	return snapshot_lease_add(tx, &p->ctx, p->l->base.name, p->key, error) &&
	       snapshot_row_insert(tx, p->l->base.name, p->ctx.ns, &row, p->labels, error);
}

static bool prepare_disk(Prepare *p, const SnapshotNode *node, GError **error)
{
	SnapshotDriver *d = p->l->driver;
	if (!d->ops->create(d, node, error)) {
		error_prefix(error, "failed to create snapshot");
		return blame_removal(p->l, p->ctx.ns, p->parent, p->parent_id, "parent snapshot", error);
	}
	bool ok = FAILPOINT("snapshot.prepare.made", error) &&
	          meta_update_for(p->l->db, &p->ctx, prepare_insert_tx, p, error);
	if (ok && p->exists == NULL)
		return true;
	g_autoptr(GError) removal = NULL;
	if (!d->ops->remove(d, node->id, &removal))
		log_error_take(LOG_WARN, g_steal_pointer(&removal), "failed to reclaim snapshot directory",
		               "root", d->root, NULL);
	return ok;
}

static GPtrArray *prepare_new(Prepare *p, GError **error)
{
	Local *l = p->l;
	if (!reserve_id(l, &p->id, error))
		return NULL;
	SnapshotNode node = {.id = p->id,
	                     .kind = p->kind,
	                     .parents = (const int64_t *)(void *)p->chain->data,
	                     .n_parents = p->chain->len,
	                     .labels = p->labels,
	                     .cancel = p->ctx.cancel};
	bool ok = prepare_disk(p, &node, error);
	made(l, p->id);
	ok = ok && FAILPOINT("snapshot.prepare.done", error);
	return ok && p->exists == NULL ? l->driver->ops->mounts(l->driver, &node, error) : NULL;
}

static GPtrArray *local_prepare(Snapshotter *self, const Ctx *ctx, SnapshotKind kind, const char *key,
                                const char *parent, GHashTable *labels, GError **error)
{
	Local *l = local_of(self);
	g_auto(Prepare) p = {.l = l, .ctx = *ctx, .key = key, .parent = parent, .kind = kind};
	p.ctx.ns = meta_namespace(ctx, error);
	p.target = strmap_get(labels, SNAPSHOT_LABEL_REF);
	p.labels = strmap_copy(labels);
	if (p.ctx.ns == NULL || !meta_view(l->db, prepare_view_tx, &p, error))
		return NULL;
	if (p.exists != NULL && !meta_update_for(l->db, ctx, prepare_check_tx, &p, error))
		return NULL;
	g_autoptr(GPtrArray) mounts = NULL;
	if (p.exists == NULL) {
		// gone between the two: look again, as for a new one
		if (p.chain == NULL && !meta_view(l->db, prepare_view_tx, &p, error))
			return NULL;
		if (p.chain == NULL) {
			error_set_class(error, CTRD_ERR_ABORTED, "snapshot %s is being changed", key);
			return NULL;
		}
		mounts = prepare_new(&p, error);
	}
	if (p.exists != NULL) {
		error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "%s", p.exists);
		return NULL;
	}
	if (mounts != NULL && kind == SNAPSHOT_ACTIVE) {
		StoreEvent event = {.kind = STORE_EVENT_SNAPSHOT_PREPARE,
		                    .ns = p.ctx.ns,
		                    .key = key,
		                    .parent = parent,
		                    .snapshotter = self->name};
		meta_emit(l->db, &event);
	}
	return g_steal_pointer(&mounts);
}

// ---- commit ----

typedef struct {
	Local *l;
	Ctx ctx;
	const char *name, *key, *parent;
	GHashTable *labels;
	int64_t id;
	SnapshotUsage usage;
	bool exists;
} Commit;

static bool commit_exists(MetaTx *tx, Commit *c, GError **error)
{
	g_auto(SnapshotRow) row = {0};
	if (!snapshot_row_find(tx, c->l->base.name, c->ctx.ns, c->name, &row, error))
		return false;
	c->exists = row.id != 0;
	return true;
}

/* What is to be committed: it must be active, and its parent may be chosen now if it has none. */
static bool commit_check(MetaTx *tx, Commit *c, SnapshotRow *ret, GError **error)
{
	g_auto(SnapshotRow) parent = {0};
	Local *l = c->l;
	if (!snapshot_row_get(tx, l->base.name, c->ctx.ns, c->key, ret, error))
		return false;
	if (ret->kind != SNAPSHOT_ACTIVE)
		return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION,
		                       "failed to commit snapshot %s: snapshot %s is not active", c->key,
		                       Q(c->key));
	if (str_empty(c->parent) || g_str_equal(c->parent, ret->parent))
		return true;
	if (ret->parent_id != 0)
		return error_set_class(
		        error, CTRD_ERR_INVALID_ARGUMENT,
		        "failed to commit snapshot %s: cannot change parent of active snapshot %s on commit",
		        c->key, Q(c->key));
	if (!snapshotter_has_capability(&l->base, "rebase"))
		return error_set_class(
		        error, CTRD_ERR_NOT_IMPLEMENTED,
		        "failed to commit snapshot %s: snapshotter %s does not support another parent on "
		        "commit",
		        c->key, Q(l->base.name));
	if (!snapshot_row_get_parent(tx, l->base.name, c->ctx.ns, c->parent, &parent, error))
		return false;
	if (parent.kind != SNAPSHOT_COMMITTED)
		return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION,
		                       "failed to commit snapshot %s: parent %s is not committed", c->key,
		                       Q(c->parent));
	ret->parent_id = parent.id;
	return true;
}

static bool commit_view_tx(MetaTx *tx, void *data, GError **error)
{
	Commit *c = data;
	g_auto(SnapshotRow) row = {0};
	if (!commit_exists(tx, c, error) || c->exists)
		return c->exists;
	if (!commit_check(tx, c, &row, error))
		return false;
	c->id = row.id;
	return true;
}

static bool commit_tx(MetaTx *tx, void *data, GError **error)
{
	Commit *c = data;
	g_auto(SnapshotRow) row = {0};
	const char *snapshotter = c->l->base.name;
	// the lease gets it also where it is there already
	if (!commit_exists(tx, c, error) || !snapshot_lease_add(tx, &c->ctx, snapshotter, c->name, error))
		return false;
	if (c->exists)
		return true;
	if (!commit_check(tx, c, &row, error))
		return false;
	if (row.id != c->id) // removed and made anew meanwhile: nobody looked at this one
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "snapshot %s does not exist", c->key);
	g_free(row.key);
	row.key = g_strdup(c->name);
	row.kind = SNAPSHOT_COMMITTED;
	row.created_at = row.updated_at = time_now();
	row.size = c->usage.size;
	row.inodes = c->usage.inodes;
	return snapshot_row_commit(tx, &row, c->labels, error) &&
	       snapshot_lease_remove(tx, &c->ctx, snapshotter, c->key, error);
}

/* How much it is, and that it is on the disk. */
static bool commit_disk(Commit *c, GError **error)
{
	SnapshotDriver *d = c->l->driver;
	SnapshotNode node = {.id = c->id, .kind = SNAPSHOT_ACTIVE, .cancel = c->ctx.cancel};
	if (d->ops->usage(d, &node, &c->usage, error) &&
	    (d->ops->commit == NULL || d->ops->commit(d, &node, error)))
		return true;
	return blame_removal(c->l, c->ctx.ns, c->key, c->id, "snapshot", error);
}

static bool local_commit(Snapshotter *self, const Ctx *ctx, const char *name, const char *key,
                         const char *parent, GHashTable *labels, GError **error)
{
	Local *l = local_of(self);
	g_autoptr(GHashTable) copy = strmap_copy(labels);
	Commit c = {.l = l, .ctx = *ctx, .name = name, .key = key, .parent = parent, .labels = copy};
	c.ctx.ns = meta_namespace(ctx, error);
	if (c.ctx.ns == NULL || !meta_view(l->db, commit_view_tx, &c, error))
		return false;
	if (!c.exists && !commit_disk(&c, error))
		return false;
	if (!FAILPOINT("snapshot.commit.synced", error) || !meta_update_for(l->db, ctx, commit_tx, &c, error))
		return false;
	if (c.exists)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "snapshot %s", Q(name));
	StoreEvent event = {.kind = STORE_EVENT_SNAPSHOT_COMMIT,
	                    .ns = c.ctx.ns,
	                    .key = key,
	                    .name = name,
	                    .snapshotter = self->name};
	meta_emit(l->db, &event);
	return FAILPOINT("snapshot.commit.done", error);
}

// ---- remove ----

typedef struct {
	Local *l;
	Ctx ctx;
	const char *key;
	int64_t id;
} Remove;

static bool remove_tx(MetaTx *tx, void *data, GError **error)
{
	Remove *r = data;
	g_auto(SnapshotRow) row = {0};
	if (!snapshot_row_get(tx, r->l->base.name, r->ctx.ns, r->key, &row, error))
		return false;
	r->id = row.id;
	return snapshot_row_remove(tx, &r->ctx, r->l->base.name, &row, error);
}

static void remove_directory(Local *l, int64_t id)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = g_strdup_printf("%" PRId64, id);
	if (!l->driver->ops->remove(l->driver, id, &error))
		log_error_take(LOG_WARN, g_steal_pointer(&error), "failed to remove directory", "snapshotter",
		               l->base.name, "id", text, NULL);
}

static bool local_remove(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	Local *l = local_of(self);
	Remove r = {.l = l, .ctx = *ctx, .key = key};
	r.ctx.ns = meta_namespace(ctx, error);
	if (r.ctx.ns == NULL || !FAILPOINT("snapshot.remove.row", error) ||
	    !meta_update(l->db, remove_tx, &r, error))
		return false;
	FAILPOINT_HERE("snapshot.remove.directory");
	if (l->driver->sync_remove)
		remove_directory(l, r.id);
	StoreEvent event = {
	        .kind = STORE_EVENT_SNAPSHOT_REMOVE, .ns = r.ctx.ns, .key = key, .snapshotter = self->name};
	meta_emit(l->db, &event);
	return true;
}

// ---- cleanup ----

typedef struct {
	Local *l;
	GHashTable *ids;
} Ids;

static bool ids_tx(MetaTx *tx, void *data, GError **error)
{
	Ids *q = data;
	q->ids = snapshot_row_ids(tx, q->l->base.name, error);
	return q->ids != NULL;
}

/* Takes from ids those that are being made. */
static void drop_making(Local *l, GArray *ids)
{
	LOCK_SCOPE(&l->lock);
	for (guint i = ids->len; i-- > 0;) {
		if (g_hash_table_contains(l->making, &g_array_index(ids, int64_t, i)))
			g_array_remove_index_fast(ids, i);
	}
}

static bool clean(Local *l, Cancel *cancel, GError **error)
{
	// the order is explained above
	g_autoptr(GArray) disk = l->driver->ops->list(l->driver, error);
	if (disk == NULL)
		return false;
	drop_making(l, disk);
	Ids q = {.l = l};
	if (!meta_view(l->db, ids_tx, &q, error))
		return false;
	g_autoptr(GHashTable) rows = q.ids;
	for (guint i = 0; i < disk->len; i++) {
		int64_t id = g_array_index(disk, int64_t, i);
		if (g_hash_table_contains(rows, &id))
			continue;
		if (!cancel_check(cancel, error))
			return false;
		remove_directory(l, id);
	}
	return true;
}

static bool local_clean(Local *l, Cancel *cancel, GError **error)
{
	{
		LOCK_SCOPE(&l->lock);
		while (l->cleaning) // one after the other: each then sees what was removed before it was
		                    // called
			cond_wait(&l->cond, &l->lock);
		l->cleaning = true;
	}
	bool ok = clean(l, cancel, error);
	LOCK_SCOPE(&l->lock);
	l->cleaning = false;
	cond_broadcast(&l->cond);
	return ok;
}

static bool local_cleanup(Snapshotter *self, const Ctx *ctx, GError **error)
{
	return local_clean(local_of(self), ctx->cancel, error);
}

static void startup_cleanup(void *data)
{
	Local *l = data;
	g_autoptr(GError) error = NULL;
	if (!local_clean(l, l->closing, &error) && !error_is(error, CTRD_ERR_CANCELED))
		log_error_take(LOG_WARN, g_steal_pointer(&error), "failed to clean up snapshots",
		               "snapshotter", l->base.name, NULL);
}

// ---- birth and death ----

static void local_free(Snapshotter *self)
{
	Local *l = local_of(self);
	cancel_trigger(l->closing, false);
	if (l->pool != NULL)
		pool_free(l->pool);
	cancel_unref(l->closing);
	snapshot_driver_free(l->driver);
	g_hash_table_unref(l->making);
	snapshot_ids_clear(&l->ids);
	cond_destroy(&l->cond);
	lock_destroy(&l->lock);
	g_free(l->base.name);
	g_free(l->base.root);
	g_free(l);
}

static const SnapshotterOps local_ops = {
        .stat = local_stat,
        .update = local_update,
        .usage = local_usage,
        .mounts = local_mounts,
        .prepare = local_prepare,
        .commit = local_commit,
        .remove = local_remove,
        .walk = local_walk,
        .cleanup = local_cleanup,
        .free = local_free,
};

Snapshotter *snapshotter_local_new(MetaDb *db, const char *name, SnapshotDriver *driver, GError **error)
{
	Local *l = g_new0(Local, 1);
	g_autoptr(Snapshotter) s = &l->base;
	l->base = (Snapshotter){.ops = &local_ops,
	                        .name = g_strdup(name),
	                        .capabilities = driver->capabilities,
	                        .root = g_strdup(driver->root)};
	l->db = db;
	l->driver = driver;
	l->making = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	l->closing = cancel_new(NULL);
	lock_init(&l->lock, "snapshotter", LOCK_RANK_STORE);
	cond_init(&l->cond);

	driver->first_id = MAX(driver->first_id, snapshot_first_id(db));
	snapshot_ids_init(&l->ids, db, driver->first_id);

	// after a lost database there are directories with numbers that the table would give again
	g_autoptr(GArray) disk = driver->ops->list(driver, error);
	if (disk == NULL)
		return NULL;
	for (guint i = 0; i < disk->len; i++)
		snapshot_ids_skip(&l->ids, g_array_index(disk, int64_t, i));
	if (disk->len > 0) {
		l->pool = pool_new("snapshot-gc", 1, 1, STARTUP_IDLE_NS);
		pool_submit(l->pool, startup_cleanup, l);
	}
	return g_steal_pointer(&s);
}
