// SPDX-License-Identifier: Apache-2.0

/*
 * Namespaces, labels and leases over a snapshotter of somebody else's: core/metadata/snapshot.go of upstream.
 *
 * The backend's work is done between transactions, not inside one as upstream does. A prepare: look, ask the
 * backend, insert the row; whoever loses the race for the key asks the backend to remove what it made. A
 * commit: look, ask the backend, change the row; commits to one name wait for each other. A crash in between
 * leaves a backend's snapshot without a row, which the next cleanup prunes. Prune and whatever makes
 * something in the backend exclude each other
 * (`gate`), so that what is about to get a row is not pruned.
 */

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/lock.h"
#include "store/namespaces.h"
#include "store/snapshots-meta.h"
#include <inttypes.h>
#include <string.h>

#define WALK_PAGE 100
#define WAIT_SLICE_NS (200 * NS_PER_MS) // how late a waiting call may see that it was canceled

typedef struct {
	Snapshotter base;
	MetaDb *db;
	Snapshotter *backend;
	SnapshotIds ids;

	Lock lock;
	Cond cond;
	unsigned n_users;       // calls that make something in the backend
	bool pruning;           // nobody may start to
	GHashTable *committing; // set of "ns/name"
} Remote;

static Remote *remote_of(Snapshotter *s)
{
	return (Remote *)s;
}

// ---- the gate ----

/* Waits for a change; l->lock is held. */
static bool wait_locked(Remote *r, Cancel *cancel, GError **error)
{
	cond_wait_until(&r->cond, &r->lock, time_mono() + WAIT_SLICE_NS);
	return cancel_check(cancel, error);
}

static bool gate_enter(Remote *r, Cancel *cancel, GError **error)
{
	LOCK_SCOPE(&r->lock);
	while (r->pruning) {
		if (!wait_locked(r, cancel, error))
			return false;
	}
	r->n_users++;
	return true;
}

static void gate_leave(Remote *r)
{
	LOCK_SCOPE(&r->lock);
	r->n_users--;
	cond_broadcast(&r->cond);
}

static bool gate_close(Remote *r, Cancel *cancel, GError **error)
{
	LOCK_SCOPE(&r->lock);
	while (r->pruning) {
		if (!wait_locked(r, cancel, error))
			return false;
	}
	r->pruning = true;
	while (r->n_users > 0) {
		if (!wait_locked(r, cancel, error)) {
			r->pruning = false;
			cond_broadcast(&r->cond);
			return false;
		}
	}
	return true;
}

static void gate_open(Remote *r)
{
	LOCK_SCOPE(&r->lock);
	r->pruning = false;
	cond_broadcast(&r->cond);
}

static bool name_enter(Remote *r, const char *name, Cancel *cancel, GError **error)
{
	LOCK_SCOPE(&r->lock);
	while (g_hash_table_contains(r->committing, name)) {
		if (!wait_locked(r, cancel, error))
			return false;
	}
	g_hash_table_add(r->committing, g_strdup(name));
	return true;
}

static void name_leave(Remote *r, const char *name)
{
	LOCK_SCOPE(&r->lock);
	g_hash_table_remove(r->committing, name);
	cond_broadcast(&r->cond);
}

// ---- reading ----

typedef struct {
	Remote *r;
	const char *ns, *key;
	SnapshotRow row;
	GHashTable *labels;
} Lookup;

static void lookup_clear(Lookup *q)
{
	snapshot_row_clear(&q->row);
	g_clear_pointer(&q->labels, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Lookup, lookup_clear)

static bool lookup_tx(MetaTx *tx, void *data, GError **error)
{
	Lookup *q = data;
	if (!snapshot_row_get(tx, q->r->base.name, q->ns, q->key, &q->row, error))
		return false;
	q->labels = meta_labels_read(tx, META_SNAPSHOT, q->row.id, error);
	return q->labels != NULL;
}

static bool lookup(Remote *r, const Ctx *ctx, const char *key, Lookup *q, GError **error)
{
	q->r = r;
	q->key = key;
	q->ns = meta_namespace(ctx, error);
	return q->ns != NULL && meta_view(r->db, lookup_tx, q, error);
}

/* What our row says over what the backend says: names, times and parents are ours, labels both. */
static void overlay(SnapshotInfo *info, const SnapshotRow *row, GHashTable *labels)
{
	GHashTableIter iter;
	void *key, *value;
	g_free(info->name);
	g_free(info->parent);
	info->name = g_strdup(row->key);
	info->parent = g_strdup(row->parent);
	info->created_at = row->created_at;
	info->updated_at = row->updated_at;
	if (info->labels == NULL)
		info->labels = strmap_new();
	g_hash_table_iter_init(&iter, labels);
	while (g_hash_table_iter_next(&iter, &key, &value))
		strmap_set(info->labels, key, value);
}

static SnapshotInfo *remote_stat(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	Remote *r = remote_of(self);
	g_auto(Lookup) q = {0};
	if (!lookup(r, ctx, key, &q, error))
		return NULL;
	SnapshotInfo *info = snapshot_stat(r->backend, ctx, q.row.backend_key, error);
	if (info != NULL)
		overlay(info, &q.row, q.labels);
	return info;
}

static bool remote_usage(Snapshotter *self, const Ctx *ctx, const char *key, SnapshotUsage *ret,
                         GError **error)
{
	Remote *r = remote_of(self);
	g_auto(Lookup) q = {0};
	return lookup(r, ctx, key, &q, error) &&
	       snapshot_usage(r->backend, ctx, q.row.backend_key, ret, error);
}

static GPtrArray *remote_mounts(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	Remote *r = remote_of(self);
	g_auto(Lookup) q = {0};
	return lookup(r, ctx, key, &q, error) ? snapshot_mounts(r->backend, ctx, q.row.backend_key, error)
	                                      : NULL;
}

typedef struct {
	Remote *r;
	const char *ns;
	char *after;
	GPtrArray *page;
} Walk;

static bool walk_tx(MetaTx *tx, void *data, GError **error)
{
	Walk *w = data;
	w->page = snapshot_page(tx, w->r->base.name, w->ns, w->after, WALK_PAGE, error);
	return w->page != NULL;
}

static bool walk_page(Walk *w, const Ctx *ctx, const Filter *filter, SnapshotWalkFn fn, void *data,
                      GError **error)
{
	for (guint i = 0; i < w->page->len; i++) {
		const SnapshotEntry *e = w->page->pdata[i];
		g_autoptr(GError) failed = NULL;
		g_autoptr(SnapshotInfo) info = snapshot_stat(w->r->backend, ctx, e->row.backend_key, &failed);
		if (info == NULL) {
			if (error_is(failed, CTRD_ERR_NOT_FOUND))
				continue;
			g_propagate_error(error, g_steal_pointer(&failed));
			return false;
		}
		overlay(info, &e->row, e->labels);
		if (snapshot_filter_match(filter, info) && !fn(info, data, error))
			return false;
	}
	return true;
}

static bool remote_walk(Snapshotter *self, const Ctx *ctx, const char *const *filters, SnapshotWalkFn fn,
                        void *data, GError **error)
{
	Walk w = {.r = remote_of(self), .ns = meta_namespace(ctx, error)};
	g_autoptr(Filter) filter = w.ns != NULL ? filter_parse_all(filters, error) : NULL;
	bool ok = filter != NULL, more = ok;
	w.after = g_strdup("");
	while (ok && more) {
		ok = meta_view(w.r->db, walk_tx, &w, error) && walk_page(&w, ctx, filter, fn, data, error);
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
	Remote *r;
	const char *ns;
	const SnapshotInfo *info;
	const char *const *paths;
	SnapshotRow row;
	GHashTable *labels;
} Update;

static bool update_look_tx(MetaTx *tx, void *data, GError **error)
{
	Update *u = data;
	if (!snapshot_row_get(tx, u->r->base.name, u->ns, u->info->name, &u->row, error))
		return false;
	u->labels = snapshot_labels_updated(tx, &u->row, u->info, u->paths, error);
	return u->labels != NULL;
}

static bool update_tx(MetaTx *tx, void *data, GError **error)
{
	Update *u = data;
	g_clear_pointer(&u->labels, g_hash_table_unref);
	return update_look_tx(tx, u, error) && snapshot_row_update(tx, &u->row, u->labels, error);
}

/* The backend first: it may refuse. */
static SnapshotInfo *update(Update *u, const Ctx *ctx, GError **error)
{
	if (u->ns == NULL || !meta_view(u->r->db, update_look_tx, u, error))
		return NULL;
	g_autoptr(GHashTable) inherited = snapshot_inherited_labels(u->labels);
	SnapshotInfo inner = {.name = u->row.backend_key, .labels = inherited};
	g_autoptr(SnapshotInfo) info = snapshot_update(u->r->backend, ctx, &inner, u->paths, error);
	if (info == NULL || !meta_update(u->r->db, update_tx, u, error))
		return NULL;
	overlay(info, &u->row, u->labels);
	return g_steal_pointer(&info);
}

static SnapshotInfo *remote_update(Snapshotter *self, const Ctx *ctx, const SnapshotInfo *info,
                                   const char *const *paths, GError **error)
{
	Update u = {.r = remote_of(self), .ns = meta_namespace(ctx, error), .info = info, .paths = paths};
	SnapshotInfo *ret = update(&u, ctx, error);
	snapshot_row_clear(&u.row);
	g_clear_pointer(&u.labels, g_hash_table_unref);
	return ret;
}

// ---- prepare and view ----

typedef struct {
	Remote *r;
	Ctx ctx;
	const char *parent, *target;
	SnapshotKind kind;
	GHashTable *labels;
	char *key, *backend_key, *backend_parent;
	int64_t parent_id;
	TimeNs created_at, updated_at;
	char *exists; // `snapshot "x"`: what is there already
} Prepare;

static void prepare_clear(Prepare *p)
{
	g_clear_pointer(&p->labels, g_hash_table_unref);
	g_clear_pointer(&p->key, g_free);
	g_clear_pointer(&p->backend_key, g_free);
	g_clear_pointer(&p->backend_parent, g_free);
	g_clear_pointer(&p->exists, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Prepare, prepare_clear)

static bool prepare_look_tx(MetaTx *tx, void *data, GError **error)
{
	Prepare *p = data;
	g_auto(SnapshotRow) parent = {0};
	if (!snapshot_check_free(tx, &p->ctx, p->r->base.name, p->key, p->target, &p->exists, error) ||
	    p->exists != NULL)
		return p->exists != NULL;
	if (!snapshot_row_get_parent(tx, p->r->base.name, p->ctx.ns, p->parent, &parent, error))
		return false;
	p->parent_id = parent.id;
	p->backend_parent = g_strdup(str_or(parent.backend_key, ""));
	return true;
}

static bool prepare_insert_tx(MetaTx *tx, void *data, GError **error)
{
	Prepare *p = data;
	g_auto(SnapshotRow) row = {0};
	g_auto(SnapshotRow) parent = {0};
	const char *snapshotter = p->r->base.name;

	if (!snapshot_lease_add(tx, &p->ctx, snapshotter, p->key, error) ||
	    !snapshot_row_find(tx, snapshotter, p->ctx.ns, p->key, &row, error))
		return false;
	if (row.id != 0) {
		g_free(p->exists);
		p->exists = g_strdup_printf("snapshot %s", Q(p->key));
		return true;
	}
	if (!snapshot_row_get_parent(tx, snapshotter, p->ctx.ns, p->parent, &parent, error))
		return false;
	// a target that the backend had may hang on another parent than was asked for
	if (!g_str_equal(p->backend_parent, str_or(parent.backend_key, "")))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "mismatched parent %s from target %s", p->parent,
		                       str_or(p->target, ""));
	SnapshotRow new = {.kind = p->kind,
	                   .key = p->key,
	                   .parent_id = parent.id,
	                   .created_at = p->created_at,
	                   .updated_at = p->updated_at,
	                   .backend_key = p->backend_key};
	return snapshot_row_insert(tx, snapshotter, p->ctx.ns, &new, p->labels, error);
}

typedef struct {
	const Prepare *p;
	SnapshotInfo *found;
} FindTarget;

static bool find_target(const SnapshotInfo *info, void *data, GError **error)
{
	FindTarget *f = data;
	(void)error;
	// the backend may not know filters
	if (f->found != NULL || info->kind != SNAPSHOT_COMMITTED ||
	    g_strcmp0(strmap_get(info->labels, SNAPSHOT_LABEL_REF), f->p->target) != 0 ||
	    !g_str_equal(info->parent, f->p->backend_parent))
		return true;
	f->found = g_new0(SnapshotInfo, 1);
	*f->found = (SnapshotInfo){.kind = info->kind,
	                           .name = g_strdup(info->name),
	                           .parent = g_strdup(info->parent),
	                           .labels = strmap_copy(info->labels),
	                           .created_at = info->created_at,
	                           .updated_at = info->updated_at};
	return true;
}

/* The backend has what the caller wants to make: it gets a row under the target's name. */
static bool adopt_target(Prepare *p, GError **error)
{
	g_autofree char *parent = go_quote(p->backend_parent);
	g_autofree char *filter =
	        g_strdup_printf("labels.\"" SNAPSHOT_LABEL_REF "\"==%s,parent==%s", p->target, parent);
	const char *filters[] = {filter, NULL};
	FindTarget f = {.p = p};
	if (!snapshot_walk(p->r->backend, &p->ctx, filters, find_target, &f, error)) {
		snapshot_info_free(f.found);
		return error_prefix(error, "failed walking backend snapshots");
	}
	g_autoptr(SnapshotInfo) found = f.found;
	if (found == NULL)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "target snapshot %s in backend",
		                       Q(p->target));
	GHashTableIter iter;
	void *key, *value;
	g_hash_table_iter_init(&iter, found->labels);
	while (g_hash_table_iter_next(&iter, &key, &value)) {
		if (!g_hash_table_contains(p->labels, key))
			strmap_set(p->labels, key, value);
	}
	g_free(p->key);
	g_free(p->backend_key);
	p->key = g_strdup(p->target);
	p->backend_key = g_strdup(found->name);
	p->kind = SNAPSHOT_COMMITTED;
	p->created_at = found->created_at;
	p->updated_at = found->updated_at;
	p->exists = g_strdup_printf("target snapshot %s from snapshotter", Q(p->target));
	return true;
}

/* false with an error, or with p->exists. */
static bool prepare_backend(Prepare *p, GPtrArray **ret, GError **error)
{
	Remote *r = p->r;
	g_autoptr(GHashTable) inherited = snapshot_inherited_labels(p->labels);
	g_autoptr(GError) failed = NULL;
	g_autoptr(GPtrArray) mounts = NULL;
	bool created = false;

	if (p->kind == SNAPSHOT_VIEW)
		mounts = snapshot_view(r->backend, &p->ctx, p->backend_key, p->backend_parent, inherited,
		                       &failed);
	else
		mounts = snapshot_prepare(r->backend, &p->ctx, p->backend_key, p->backend_parent, inherited,
		                          &failed);
	if (mounts != NULL) {
		created = true;
		p->created_at = p->updated_at = time_now();
	} else if (!error_is(failed, CTRD_ERR_ALREADY_EXISTS)) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	} else if (str_empty(p->target)) {
		// the name is new: so this is not about what the caller asked for
		return error_set(error, CTRD_ERR_UNKNOWN, "unexpected error from snapshotter: %s: unknown",
		                 failed->message);
	} else if (!adopt_target(p, error)) {
		return false;
	}
	bool ok = meta_update(r->db, prepare_insert_tx, p, error);
	if (ok && p->exists == NULL) {
		*ret = g_steal_pointer(&mounts);
		return true;
	}
	g_autoptr(GError) removal = NULL;
	if (created && !snapshot_remove(r->backend, &p->ctx, p->backend_key, &removal))
		log_error_take(LOG_ERROR, g_steal_pointer(&removal),
		               "failed to cleanup unreferenced snapshot", "snapshotter", r->base.name, "key",
		               p->backend_key, NULL);
	return false;
}

static GPtrArray *prepare_new(Prepare *p, GError **error)
{
	Remote *r = p->r;
	int64_t id;
	GPtrArray *mounts = NULL;
	if (!snapshot_ids_next(&r->ids, &id, error) || !gate_enter(r, p->ctx.cancel, error))
		return NULL;
	p->backend_key = g_strdup_printf("%s/%" PRId64 "/%s", p->ctx.ns, id, p->key);
	prepare_backend(p, &mounts, error);
	gate_leave(r);
	return mounts;
}

static GPtrArray *remote_prepare(Snapshotter *self, const Ctx *ctx, SnapshotKind kind, const char *key,
                                 const char *parent, GHashTable *labels, GError **error)
{
	Remote *r = remote_of(self);
	g_auto(Prepare) p = {.r = r, .ctx = *ctx, .key = g_strdup(key), .parent = parent, .kind = kind};
	p.ctx.ns = meta_namespace(ctx, error);
	p.target = strmap_get(labels, SNAPSHOT_LABEL_REF);
	p.labels = strmap_copy(labels);
	if (p.ctx.ns == NULL || !meta_update(r->db, prepare_look_tx, &p, error))
		return NULL;
	g_autoptr(GError) failed = NULL;
	g_autoptr(GPtrArray) mounts = p.exists == NULL ? prepare_new(&p, &failed) : NULL;
	if (failed != NULL) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return NULL;
	}
	if (p.exists != NULL) {
		error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "%s", p.exists);
		return NULL;
	}
	if (kind == SNAPSHOT_ACTIVE) {
		StoreEvent event = {.kind = STORE_EVENT_SNAPSHOT_PREPARE,
		                    .ns = p.ctx.ns,
		                    .key = key,
		                    .parent = parent,
		                    .snapshotter = self->name};
		meta_emit(r->db, &event);
	}
	return g_steal_pointer(&mounts);
}

// ---- commit ----

typedef struct {
	Remote *r;
	Ctx ctx;
	const char *name, *key, *parent;
	GHashTable *labels;
	int64_t id, parent_id;
	char *old_key, *new_key, *backend_parent; // the backend's names; the last one only for a rebase
	bool exists;
} Commit;

static void commit_clear(Commit *c)
{
	g_clear_pointer(&c->labels, g_hash_table_unref);
	g_clear_pointer(&c->old_key, g_free);
	g_clear_pointer(&c->new_key, g_free);
	g_clear_pointer(&c->backend_parent, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Commit, commit_clear)

static bool commit_look_tx(MetaTx *tx, void *data, GError **error)
{
	Commit *c = data;
	g_auto(SnapshotRow) row = {0};
	g_auto(SnapshotRow) parent = {0};
	const char *snapshotter = c->r->base.name;
	if (!snapshot_row_find(tx, snapshotter, c->ctx.ns, c->name, &row, error))
		return false;
	c->exists = row.id != 0;
	if (c->exists)
		return snapshot_lease_add(tx, &c->ctx, snapshotter, c->name, error);
	if (!snapshot_row_get(tx, snapshotter, c->ctx.ns, c->key, &row, error))
		return false;
	c->id = row.id;
	c->parent_id = row.parent_id;
	c->old_key = g_strdup(row.backend_key);
	if (str_empty(c->parent) || g_str_equal(c->parent, row.parent))
		return true;
	if (row.parent_id != 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "cannot change parent of active snapshot %s on commit", Q(c->key));
	if (!snapshot_row_get_parent(tx, snapshotter, c->ctx.ns, c->parent, &parent, error))
		return false;
	c->parent_id = parent.id;
	c->backend_parent = g_strdup(parent.backend_key);
	return true;
}

static bool commit_tx(MetaTx *tx, void *data, GError **error)
{
	Commit *c = data;
	g_auto(SnapshotRow) row = {0};
	const char *snapshotter = c->r->base.name;
	if (!snapshot_row_get(tx, snapshotter, c->ctx.ns, c->key, &row, error))
		return false;
	if (row.id != c->id)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "snapshot %s does not exist", c->key);
	g_free(row.key);
	g_free(row.backend_key);
	row.key = g_strdup(c->name);
	row.backend_key = g_strdup(c->new_key);
	row.kind = SNAPSHOT_COMMITTED;
	row.parent_id = c->parent_id;
	row.created_at = row.updated_at = time_now();
	return snapshot_lease_add(tx, &c->ctx, snapshotter, c->name, error) &&
	       snapshot_row_commit(tx, &row, c->labels, error) &&
	       snapshot_lease_remove(tx, &c->ctx, snapshotter, c->key, error);
}

static bool commit_backend(Commit *c, GError **error)
{
	Remote *r = c->r;
	int64_t id;
	if (!meta_update(r->db, commit_look_tx, c, error))
		return false;
	if (c->exists)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "snapshot %s", Q(c->name));
	if (!snapshot_ids_next(&r->ids, &id, error))
		return false;
	c->new_key = g_strdup_printf("%s/%" PRId64 "/%s", c->ctx.ns, id, c->name);
	g_autoptr(GHashTable) inherited = snapshot_inherited_labels(c->labels);
	g_autoptr(GError) failed = NULL;
	if (!snapshot_commit(r->backend, &c->ctx, c->new_key, c->old_key, c->backend_parent, inherited,
	                     &failed)) {
		if (error_is(failed, CTRD_ERR_NOT_FOUND))
			log_error("uncommittable snapshot: missing in backend, snapshot should be removed",
			          "snapshotter", r->base.name, "key", c->key, NULL);
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	if (meta_update(r->db, commit_tx, c, error))
		return true;
	log_error("uncommittable snapshot: transaction failed after commit, snapshot should be removed",
	          "snapshotter", r->base.name, "key", c->key, "bname", c->new_key, NULL);
	return false;
}

static bool remote_commit(Snapshotter *self, const Ctx *ctx, const char *name, const char *key,
                          const char *parent, GHashTable *labels, GError **error)
{
	Remote *r = remote_of(self);
	g_auto(Commit) c = {.r = r, .ctx = *ctx, .name = name, .key = key, .parent = parent};
	c.labels = strmap_copy(labels);
	c.ctx.ns = meta_namespace(ctx, error);
	if (c.ctx.ns == NULL)
		return false;
	g_autofree char *busy = g_strdup_printf("%s/%s", c.ctx.ns, name);
	if (!name_enter(r, busy, ctx->cancel, error))
		return false;
	bool ok = gate_enter(r, ctx->cancel, error);
	if (ok) {
		ok = commit_backend(&c, error);
		gate_leave(r);
	}
	name_leave(r, busy);
	if (!ok)
		return false;
	StoreEvent event = {.kind = STORE_EVENT_SNAPSHOT_COMMIT,
	                    .ns = c.ctx.ns,
	                    .key = key,
	                    .name = name,
	                    .snapshotter = self->name};
	meta_emit(r->db, &event);
	return true;
}

// ---- remove ----

typedef struct {
	Remote *r;
	Ctx ctx;
	const char *key;
} Remove;

static bool remove_tx(MetaTx *tx, void *data, GError **error)
{
	Remove *q = data;
	g_auto(SnapshotRow) row = {0};
	return snapshot_row_get(tx, q->r->base.name, q->ctx.ns, q->key, &row, error) &&
	       snapshot_row_remove(tx, &q->ctx, q->r->base.name, &row, error);
}

static bool remote_remove(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	Remove q = {.r = remote_of(self), .ctx = *ctx, .key = key};
	q.ctx.ns = meta_namespace(ctx, error);
	if (q.ctx.ns == NULL || !meta_update(q.r->db, remove_tx, &q, error))
		return false;
	StoreEvent event = {
	        .kind = STORE_EVENT_SNAPSHOT_REMOVE, .ns = q.ctx.ns, .key = key, .snapshotter = self->name};
	meta_emit(q.r->db, &event);
	return true;
}

// ---- cleanup ----

#define CLEANUP_LIMIT (60 * NS_PER_SEC)

typedef struct {
	char *name, *parent;
	unsigned n_children;
	bool seen; // a row of ours names it, or it is not ours to judge
} Node;

static void node_free(void *data)
{
	Node *n = data;
	g_free(n->name);
	g_free(n->parent);
	g_free(n);
}

typedef struct {
	Remote *r;
	GHashTable *nodes; // name -> Node
	GHashTable *rows;  // set of backend keys
} Prune;

static bool rows_tx(MetaTx *tx, void *data, GError **error)
{
	Prune *p = data;
	sqlite3_stmt *stmt = meta_query(
	        tx, error,
	        "SELECT backend_key FROM snapshot WHERE snapshotter = ? AND backend_key IS NOT NULL", "s",
	        p->r->base.name);
	bool row = true;
	while (stmt != NULL && row) {
		if (!meta_step(tx, stmt, &row, error))
			return false;
		if (row)
			g_hash_table_add(p->rows, meta_column_dup(stmt, 0));
	}
	return stmt != NULL;
}

/* "ns/12/key": a name that we gave. Smaller numbers than our first are upstream's, where it was here before
 * us. */
static bool ours(const Remote *r, const char *name)
{
	const char *slash = strchr(name, '/');
	const char *end = slash != NULL ? strchr(slash + 1, '/') : NULL;
	if (end == NULL || slash == name)
		return false;
	g_autofree char *digits = g_strndup(slash + 1, (gsize)(end - slash - 1));
	uint64_t n;
	return parse_u64(digits, &n) && n >= (uint64_t)snapshot_first_id(r->db);
}

static bool collect_node(const SnapshotInfo *info, void *data, GError **error)
{
	Prune *p = data;
	(void)error;
	Node *n = g_new0(Node, 1);
	*n = (Node){.name = g_strdup(info->name),
	            .parent = g_strdup(info->parent),
	            .seen = g_hash_table_contains(p->rows, info->name) || !ours(p->r, info->name)};
	g_hash_table_replace(p->nodes, n->name, n);
	return true;
}

/* Children before their parents; what has a child that stays, stays. */
static bool prune_nodes(Prune *p, const Ctx *ctx, GError **error)
{
	g_autoptr(GPtrArray) ready = g_ptr_array_new();
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, p->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Node *parent = g_hash_table_lookup(p->nodes, ((Node *)value)->parent);
		if (parent != NULL)
			parent->n_children++;
	}
	g_hash_table_iter_init(&iter, p->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Node *n = value;
		if (!n->seen && n->n_children == 0)
			g_ptr_array_add(ready, n);
	}
	for (guint i = 0; i < ready->len; i++) {
		const Node *n = ready->pdata[i];
		g_autoptr(GError) failed = NULL;
		if (!snapshot_remove(p->r->backend, ctx, n->name, &failed) &&
		    !error_is(failed, CTRD_ERR_NOT_FOUND)) {
			if (!error_is(failed, CTRD_ERR_FAILED_PRECONDITION)) {
				g_propagate_error(error, g_steal_pointer(&failed));
				return false;
			}
			log_warn("failed to remove snapshot", "snapshotter", p->r->base.name, "key", n->name,
			         "error", failed->message, NULL);
			continue;
		}
		Node *parent = g_hash_table_lookup(p->nodes, n->parent);
		if (parent != NULL && --parent->n_children == 0 && !parent->seen)
			g_ptr_array_add(ready, parent);
	}
	return true;
}

static bool prune(Remote *r, const Ctx *ctx, GError **error)
{
	g_autoptr(GHashTable) nodes = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, node_free);
	g_autoptr(GHashTable) rows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	Prune p = {r, nodes, rows};
	return meta_view(r->db, rows_tx, &p, error) &&
	       snapshot_walk(r->backend, ctx, NULL, collect_node, &p, error) && prune_nodes(&p, ctx, error);
}

static bool cleanup_backend(Remote *r, const Ctx *ctx, GError **error)
{
	g_autoptr(GError) failed = NULL;
	if (!prune(r, ctx, error))
		return false;
	if (snapshot_cleanup(r->backend, ctx, &failed) || error_is(failed, CTRD_ERR_NOT_IMPLEMENTED))
		return true;
	g_propagate_error(error, g_steal_pointer(&failed));
	return false;
}

/* The collector works for no namespace. A backend that has namespaces of its own (upstream's service over its
 * metadata) refuses that, and has what it holds for us in ours. */
static bool cleanup_everywhere(Remote *r, const Ctx *ctx, GError **error)
{
	g_autoptr(GError) failed = NULL;
	if (cleanup_backend(r, ctx, &failed))
		return true;
	if (ctx->ns != NULL || !error_is(failed, CTRD_ERR_FAILED_PRECONDITION)) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	g_autoptr(GPtrArray) all = namespaces_list(r->db, ctx, error);
	for (guint i = 0; all != NULL && i < all->len; i++) {
		const Ctx in = {.ns = ((const Namespace *)all->pdata[i])->name, .cancel = ctx->cancel};
		if (!cleanup_backend(r, &in, error))
			return false;
	}
	return all != NULL;
}

static bool remote_cleanup(Snapshotter *self, const Ctx *ctx, GError **error)
{
	Remote *r = remote_of(self);
	// a peer that gives no answer must not stop the collector, nor who waits at the gate
	g_autoptr(Cancel) limit = cancel_new(ctx->cancel);
	const Ctx limited = {.ns = ctx->ns, .cancel = limit};
	cancel_set_deadline(limit, time_mono() + CLEANUP_LIMIT);
	if (!gate_close(r, limit, error))
		return false;
	bool ok = cleanup_everywhere(r, &limited, error);
	gate_open(r);
	return ok;
}

// ---- birth and death ----

static void remote_free(Snapshotter *self)
{
	Remote *r = remote_of(self);
	snapshotter_free(r->backend);
	snapshot_ids_clear(&r->ids);
	g_hash_table_unref(r->committing);
	cond_destroy(&r->cond);
	lock_destroy(&r->lock);
	g_free(r->base.name);
	g_free(r->base.root);
	g_free(r);
}

static const SnapshotterOps remote_ops = {
        .stat = remote_stat,
        .update = remote_update,
        .usage = remote_usage,
        .mounts = remote_mounts,
        .prepare = remote_prepare,
        .commit = remote_commit,
        .remove = remote_remove,
        .walk = remote_walk,
        .cleanup = remote_cleanup,
        .free = remote_free,
};

Snapshotter *snapshotter_remote_new(MetaDb *db, const char *name, Snapshotter *backend)
{
	Remote *r = g_new0(Remote, 1);
	r->base = (Snapshotter){.ops = &remote_ops,
	                        .name = g_strdup(name),
	                        .capabilities = backend->capabilities,
	                        .root = g_strdup(backend->root)};
	r->db = db;
	r->backend = backend;
	r->committing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	snapshot_ids_init(&r->ids, db, snapshot_first_id(db));
	lock_init(&r->lock, "remote snapshotter", LOCK_RANK_STORE);
	cond_init(&r->cond);
	return &r->base;
}
