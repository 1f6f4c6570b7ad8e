// SPDX-License-Identifier: Apache-2.0

/*
 * Content as a namespace sees it (upstream core/metadata/content.go): which blobs it has, their labels and
 * leases, over a store that has each blob once.
 *
 * Upstream does the backend's work inside its transaction. Here nothing waits for a disk or a plugin inside
 * one: the backend is asked before, works after, and a pin of the digest (meta-private.h) keeps the collector
 * from deleting the file in between. So there are states a crash can leave, all harmless: an ingest row
 * without an ingest (expires), an ingest or a blob without a row (the collector's first run takes it).
 *
 * Policy: "shared" gives a namespace any blob the backend has, for naming its digest; "isolated" wants the
 * bytes, except of blobs of namespaces labelled as shareable.
 */

#include "base/error.h"
#include "base/failpoint.h"
#include "base/identifiers.h"
#include "loop/lock.h"
#include "oci/labels.h"
#include "store/content.h"
#include "store/filter-text.h"
#include "store/leases.h"
#include "store/meta-private.h"
#include <string.h>

/* An ingest that no lease holds may be taken up again for so long after it was last opened. */
#define INGEST_LIFETIME (24 * 3600 * NS_PER_SEC)
#define COPY_BUFFER (1024 * 1024)

typedef struct {
	ContentStore base;
	MetaDb *db;
	ContentStore *backend;
} MetaStore;

static MetaStore *meta_store(ContentStore *s)
{
	return (MetaStore *)s;
}

typedef struct {
	const Ctx *ctx;
	const char *digest, *ref;
	const ContentInfo *input;
	const char *const *paths;
	Filter *filter;
	ContentInfo *info; // the result
	GPtrArray *list;
	char *backend_ref; // the result
	// writer
	int64_t size, backend_size; // backend_size -1: it is not there
	bool exists, shared;
	// commit
	GHashTable *labels;
} Args;

static bool not_found(const char *digest, GError **error)
{
	return error_set_class(error, CTRD_ERR_NOT_FOUND, "content digest %s", digest);
}

static bool ref_not_found(const char *ref, GError **error)
{
	return error_set_class(error, CTRD_ERR_NOT_FOUND, "reference %s", ref);
}

/* ---- blobs ---- */

#define COLUMNS "id, digest, size, created, updated"

static ContentInfo *read_info(MetaTx *tx, sqlite3_stmt *stmt, GError **error)
{
	g_autoptr(ContentInfo) info = g_new0(ContentInfo, 1);
	info->digest = meta_column_dup(stmt, 1);
	info->size = sqlite3_column_int64(stmt, 2);
	info->created_at = sqlite3_column_int64(stmt, 3);
	info->updated_at = sqlite3_column_int64(stmt, 4);
	info->labels = meta_labels_read(tx, META_BLOB, sqlite3_column_int64(stmt, 0), error);
	return info->labels != NULL ? g_steal_pointer(&info) : NULL;
}

static ContentInfo *find(MetaTx *tx, const char *ns, const char *digest, int64_t *ret_id, GError **error)
{
	sqlite3_stmt *stmt = meta_query(tx, error, "SELECT " COLUMNS " FROM blob WHERE ns = ? AND digest = ?",
	                                "ss", ns, digest);
	bool row;
	if (stmt == NULL || !meta_step(tx, stmt, &row, error))
		return NULL;
	if (!row) {
		not_found(digest, error);
		return NULL;
	}
	if (ret_id != NULL)
		*ret_id = sqlite3_column_int64(stmt, 0);
	ContentInfo *info = read_info(tx, stmt, error);
	sqlite3_reset(stmt);
	return info;
}

static bool info_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	a->info = find(tx, a->ctx->ns, a->digest, NULL, error);
	return a->info != NULL;
}

static ContentInfo *ns_info(ContentStore *self, const Ctx *ctx, const char *digest, GError **error)
{
	Args a = {.ctx = ctx, .digest = digest};
	if (meta_namespace(ctx, error) == NULL)
		return NULL;
	return meta_view(meta_store(self)->db, info_tx, &a, error) ? a.info : NULL;
}

static bool labels_check(GHashTable *labels, GError **error)
{
	return labels == NULL || labels_validate(labels, error) || error_prefix(error, "info.Labels");
}

static void replace_labels(ContentInfo *info, GHashTable *labels)
{
	g_hash_table_unref(info->labels);
	info->labels = strmap_copy(labels);
}

static bool update_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	int64_t id;
	g_autoptr(ContentInfo) info = find(tx, a->ctx->ns, a->input->digest, &id, error);
	if (info == NULL)
		return false;
	if (fieldpaths_empty(a->paths))
		replace_labels(info, a->input->labels);
	for (const char *const *path = a->paths; path != NULL && *path != NULL; path++) {
		if (strcmp(*path, "labels") == 0)
			replace_labels(info, a->input->labels);
		else if (!fieldpath_apply(*path, "labels.", info->labels, a->input->labels))
			return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
			                       "cannot update %s field on content info %s", Q(*path),
			                       Q(a->input->digest));
	}
	if (!labels_check(info->labels, error))
		return false;
	info->updated_at = time_now();
	if (!meta_run(tx, error, "UPDATE blob SET updated = ? WHERE id = ?", "ii", info->updated_at, id) ||
	    !meta_labels_write(tx, META_BLOB, id, info->labels, error))
		return false;
	a->info = g_steal_pointer(&info);
	return true;
}

static ContentInfo *ns_update(ContentStore *self, const Ctx *ctx, const ContentInfo *input,
                              const char *const *paths, GError **error)
{
	Args a = {.ctx = ctx, .input = input, .paths = paths};
	bool ok = meta_namespace(ctx, error) != NULL &&
	          meta_update_for(meta_store(self)->db, ctx, update_tx, &a, error);
	g_autoptr(ContentInfo) info = a.info;
	return ok ? g_steal_pointer(&info) : NULL;
}

static const char *info_field(const char *const *path, size_t n, bool *present, void *data)
{
	const ContentInfo *info = data;
	if (filter_is(path, n, "digest"))
		return filter_text(info->digest, present);
	if (filter_is(path, n, "labels"))
		return filter_map_field(info->labels, path + 1, n - 1, present);
	*present = false;
	return NULL;
}

static bool walk_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	sqlite3_stmt *stmt = meta_query(
	        tx, error, "SELECT " COLUMNS " FROM blob WHERE ns = ? ORDER BY digest", "s", a->ctx->ns);
	bool row;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row)
			return true;
		g_autoptr(ContentInfo) info = read_info(tx, stmt, error);
		if (info == NULL)
			return false;
		if (filter_match(a->filter, info_field, info))
			g_ptr_array_add(a->list, g_steal_pointer(&info));
	}
	return false;
}

static bool ns_walk(ContentStore *self, const Ctx *ctx, const char *const *filters, ContentWalkFn fn,
                    void *data, GError **error)
{
	if (meta_namespace(ctx, error) == NULL)
		return false;
	g_autoptr(Filter) filter = filter_parse_all(filters, error);
	if (filter == NULL)
		return false;
	// the caller's function may do anything, so it runs outside the transaction
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)content_info_free);
	if (!meta_view(meta_store(self)->db, walk_tx, &(Args){.ctx = ctx, .filter = filter, .list = list},
	               error))
		return false;
	for (guint i = 0; i < list->len; i++) {
		if (!fn(list->pdata[i], data, error))
			return false;
	}
	return true;
}

static bool delete_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	if (!meta_run(tx, error, "DELETE FROM blob WHERE ns = ? AND digest = ?", "ss", a->ctx->ns, a->digest))
		return false;
	if (meta_tx_changes(tx) == 0)
		return not_found(a->digest, error);
	g_autofree char *what = g_strconcat("content:", a->digest, NULL);
	meta_tx_dirty(tx, what);
	return lease_remove_in_tx(tx, a->ctx, "content", a->digest, error);
}

static bool ns_remove(ContentStore *self, const Ctx *ctx, const char *digest, GError **error)
{
	MetaStore *s = meta_store(self);
	if (meta_namespace(ctx, error) == NULL ||
	    !meta_update(s->db, delete_tx, &(Args){.ctx = ctx, .digest = digest}, error))
		return false;
	meta_emit(s->db, &(StoreEvent){.kind = STORE_EVENT_CONTENT_DELETE, .ns = ctx->ns, .name = digest});
	return true;
}

static bool access_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	bool found;
	return meta_query_int(tx, &found, NULL, error, "SELECT id FROM blob WHERE ns = ? AND digest = ?",
	                      "ss", a->ctx->ns, a->digest) &&
	       (found || not_found(a->digest, error));
}

static ContentReader *ns_reader(ContentStore *self, const Ctx *ctx, const Descriptor *desc, GError **error)
{
	MetaStore *s = meta_store(self);
	if (meta_namespace(ctx, error) == NULL ||
	    !meta_view(s->db, access_tx, &(Args){.ctx = ctx, .digest = desc->digest}, error))
		return NULL;
	return content_reader(s->backend, ctx, desc, error);
}

/* ---- ingests ---- */

static bool backend_ref_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	sqlite3_stmt *stmt = meta_query(tx, error, "SELECT backend_ref FROM ingest WHERE ns = ? AND ref = ?",
	                                "ss", a->ctx->ns, a->ref);
	bool row;
	if (stmt == NULL || !meta_step(tx, stmt, &row, error))
		return false;
	if (!row)
		return ref_not_found(a->ref, error);
	a->backend_ref = meta_column_dup(stmt, 0);
	sqlite3_reset(stmt);
	return true;
}

static void rename_status(ContentStatus *status, const char *ref)
{
	g_free(status->ref);
	status->ref = g_strdup(ref);
}

static ContentStatus *ns_status(ContentStore *self, const Ctx *ctx, const char *ref, GError **error)
{
	MetaStore *s = meta_store(self);
	Args a = {.ctx = ctx, .ref = ref};
	if (meta_namespace(ctx, error) == NULL || !meta_view(s->db, backend_ref_tx, &a, error))
		return NULL;
	g_autofree char *backend_ref = a.backend_ref;
	ContentStatus *status = content_status(s->backend, ctx, backend_ref, error);
	if (status != NULL)
		rename_status(status, ref);
	return status;
}

static bool list_refs_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	sqlite3_stmt *stmt = meta_query(
	        tx, error, "SELECT ref, backend_ref FROM ingest WHERE ns = ? ORDER BY ref", "s", a->ctx->ns);
	bool row;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row)
			return true;
		g_ptr_array_add(a->list, meta_column_dup(stmt, 0));
		g_ptr_array_add(a->list, meta_column_dup(stmt, 1));
	}
	return false;
}

static const char *status_field(const char *const *path, size_t n, bool *present, void *data)
{
	*present = filter_is(path, n, "ref");
	return *present ? ((ContentStatus *)data)->ref : NULL;
}

static GPtrArray *ns_list_statuses(ContentStore *self, const Ctx *ctx, const char *const *filters,
                                   GError **error)
{
	MetaStore *s = meta_store(self);
	if (meta_namespace(ctx, error) == NULL)
		return NULL;
	g_autoptr(Filter) filter = filter_parse_all(filters, error);
	if (filter == NULL)
		return NULL;
	g_autoptr(GPtrArray) refs = g_ptr_array_new_with_free_func(g_free); // ref, backend ref, ref, ...
	if (!meta_view(s->db, list_refs_tx, &(Args){.ctx = ctx, .list = refs}, error))
		return NULL;
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)content_status_free);
	for (guint i = 0; i < refs->len; i += 2) {
		g_autoptr(GError) cause = NULL;
		g_autoptr(ContentStatus) status = content_status(s->backend, ctx, refs->pdata[i + 1], &cause);
		if (status == NULL) {
			if (error_is(cause, CTRD_ERR_NOT_FOUND))
				continue;
			g_propagate_error(error, g_steal_pointer(&cause));
			return NULL;
		}
		rename_status(status, refs->pdata[i]);
		if (filter_match(filter, status_field, status))
			g_ptr_array_add(list, g_steal_pointer(&status));
	}
	return g_steal_pointer(&list);
}

/* The shared blob that an ingest stood for may have been kept by it alone; unless it is a->digest now. */
static bool release_expected(MetaTx *tx, const Args *a, GError **error)
{
	sqlite3_stmt *stmt = meta_query(tx, error, "SELECT expected FROM ingest WHERE ns = ? AND ref = ?",
	                                "ss", a->ctx->ns, a->ref);
	bool row;
	if (stmt == NULL || !meta_step(tx, stmt, &row, error))
		return false;
	const char *expected = row ? meta_column_text(stmt, 0) : "";
	if (*expected != '\0' && g_strcmp0(expected, a->digest) != 0) {
		g_autofree char *what = g_strconcat("content:", expected, NULL);
		meta_tx_dirty(tx, what);
	}
	sqlite3_reset(stmt);
	return true;
}

static bool delete_ingest(MetaTx *tx, const Args *a, GError **error)
{
	return release_expected(tx, a, error) &&
	       meta_run(tx, error, "DELETE FROM ingest WHERE ns = ? AND ref = ?", "ss", a->ctx->ns, a->ref) &&
	       lease_remove_in_tx(tx, a->ctx, "ingests", a->ref, error);
}

static bool abort_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	g_clear_pointer(&a->backend_ref, g_free);
	return backend_ref_tx(tx, a, error) && delete_ingest(tx, a, error);
}

static bool ns_abort(ContentStore *self, const Ctx *ctx, const char *ref, GError **error)
{
	MetaStore *s = meta_store(self);
	Args a = {.ctx = ctx, .ref = ref};
	bool ok = meta_namespace(ctx, error) != NULL && meta_update(s->db, abort_tx, &a, error);
	g_autofree char *backend_ref = a.backend_ref;
	g_autoptr(GError) cause = NULL;
	if (!ok)
		return false;
	// one that only named a shared blob has nothing there
	if (content_abort(s->backend, ctx, backend_ref, &cause) || error_is(cause, CTRD_ERR_NOT_FOUND))
		return true;
	g_propagate_error(error, g_steal_pointer(&cause));
	return false;
}

/* ---- writers ---- */

typedef struct {
	ContentWriter base;
	MetaStore *store;
	char *ns, *ref, *backend_ref;
	ContentWriter *w; // NULL: all of it is there already, shared; or finished
	bool finished;
	char *digest; // the descriptor's, "" where there is none
	int64_t size;
	TimeNs started_at;
} NsWriter;

static NsWriter *ns_writer_of(ContentWriter *w)
{
	return (NsWriter *)w;
}

/* Whether a namespace that shares what it has, has it. */
static bool is_shareable(MetaTx *tx, const char *digest, bool *ret, GError **error)
{
	return meta_query_int(tx, ret, NULL, error,
	                      "SELECT 1 FROM blob JOIN namespace ON namespace.name = blob.ns"
	                      " JOIN label ON label.kind = 1 AND label.object = namespace.id"
	                      " WHERE blob.digest = ? AND label.key = '" LABEL_NAMESPACE_SHAREABLE "'"
	                      " AND label.value = 'true' LIMIT 1",
	                      "s", digest);
}

/* It is there, may be had, and is of the size that is asked for (another size is the caller's error, to be
 * told at the commit). */
static bool may_share(MetaTx *tx, Args *a, GError **error)
{
	if (a->backend_size < 0 || (a->size != 0 && a->size != a->backend_size))
		return true;
	a->shared = !meta_options(meta_tx_db(tx))->isolated;
	if (!a->shared && !is_shareable(tx, a->digest, &a->shared, error))
		return false;
	if (a->shared)
		a->size = a->backend_size;
	return true;
}

static bool find_or_make_ingest(MetaTx *tx, Args *a, GError **error)
{
	sqlite3_stmt *stmt = meta_query(tx, error, "SELECT backend_ref FROM ingest WHERE ns = ? AND ref = ?",
	                                "ss", a->ctx->ns, a->ref);
	bool row;
	if (stmt == NULL || !meta_step(tx, stmt, &row, error))
		return false;
	if (row) {
		a->backend_ref = meta_column_dup(stmt, 0);
		sqlite3_reset(stmt);
		return true;
	}
	if (!meta_run(tx, error, "INSERT INTO ingest(ns, ref) VALUES (?, ?)", "ss", a->ctx->ns, a->ref))
		return false;
	int64_t id = meta_tx_last_id(tx);
	a->backend_ref = g_strdup_printf("%s/%" G_GINT64_FORMAT "/%s", a->ctx->ns, id, a->ref);
	return meta_run(tx, error, "UPDATE ingest SET backend_ref = ? WHERE id = ?", "si", a->backend_ref,
	                id);
}

static bool writer_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	if (*a->digest != '\0') {
		if (!meta_query_int(tx, &a->exists, NULL, error,
		                    "SELECT id FROM blob WHERE ns = ? AND digest = ?", "ss", a->ctx->ns,
		                    a->digest))
			return false;
		if (a->exists) // so that other references going away does not take it from the lease's holder
			return lease_add_in_tx(tx, a->ctx, "content", a->digest, error) ||
			       error_prefix(error, "unable to lease content");
		if (!may_share(tx, a, error))
			return false;
	}
	if (!find_or_make_ingest(tx, a, error) || !lease_add_in_tx(tx, a->ctx, "ingests", a->ref, error))
		return false;
	if (a->ctx->lease == NULL &&
	    !meta_run(tx, error, "UPDATE ingest SET expires = ? WHERE ns = ? AND ref = ?", "iss",
	              time_now() + INGEST_LIFETIME, a->ctx->ns, a->ref))
		return false;
	return !a->shared || (release_expected(tx, a, error) &&
	                      meta_run(tx, error, "UPDATE ingest SET expected = ? WHERE ns = ? AND ref = ?",
	                               "sss", a->digest, a->ctx->ns, a->ref));
}

/* The backend's writer never hears of the digest: it would say that the blob is there already, which is not
 * for this namespace to know. */
static ContentWriter *backend_writer(NsWriter *nw, const Ctx *ctx, int64_t size, GError **error)
{
	Descriptor desc = {.size = size};
	return content_writer(nw->store->backend, ctx, nw->backend_ref, &desc, error);
}

/* ---- a shared blob that is written to after all ---- */

static bool copy_blob(NsWriter *nw, const Ctx *ctx, ContentWriter *w, int64_t size, GError **error)
{
	Descriptor desc = {.digest = nw->digest};
	g_autoptr(ContentReader) reader = content_reader(nw->store->backend, ctx, &desc, error);
	g_autoptr(ContentStatus) status = NULL;
	if (reader == NULL || !content_writer_status(w, &status, error))
		return false;
	g_autofree char *buf = g_malloc(COPY_BUFFER);
	for (int64_t offset = status->offset; offset < size;) {
		size_t want = (size_t)MIN(size - offset, (int64_t)COPY_BUFFER);
		ssize_t n = content_read_at(reader, buf, want, offset, error);
		if (n == 0)
			error_set(error, CTRD_ERR_UNKNOWN,
			          "failed to read expected number of bytes: unexpected EOF");
		if (n <= 0 || !content_write(w, buf, (size_t)n, error))
			return error_prefix(error, "failed to copy");
		offset += n;
	}
	return true;
}

/* An ingest of its own, with the first `size` bytes of the shared blob. */
static bool make_own(NsWriter *nw, int64_t size, GError **error)
{
	Ctx ctx = {.ns = nw->ns};
	g_autoptr(ContentWriter) w = backend_writer(nw, &ctx, size, error);
	if (w == NULL || (size > 0 && !copy_blob(nw, &ctx, w, size, error)))
		return false;
	nw->w = g_steal_pointer(&w);
	return true;
}

/* ---- the writer's interface ---- */

static bool is_finished(NsWriter *nw, GError **error)
{
	return nw->finished && !error_set_class(error, CTRD_ERR_FAILED_PRECONDITION, "writer is finished");
}

static bool nw_write(ContentWriter *self, const void *data, size_t len, GError **error)
{
	NsWriter *nw = ns_writer_of(self);
	if (is_finished(nw, error))
		return false;
	if (nw->w == NULL && len == 0)
		return true;
	if (nw->w == NULL && !make_own(nw, nw->size, error))
		return false;
	return content_write(nw->w, data, len, error);
}

static char *nw_digest(ContentWriter *self)
{
	NsWriter *nw = ns_writer_of(self);
	return nw->w != NULL ? content_writer_digest(nw->w) : g_strdup(nw->digest);
}

static bool nw_status(ContentWriter *self, ContentStatus **ret, GError **error)
{
	NsWriter *nw = ns_writer_of(self);
	if (nw->w != NULL) {
		if (!content_writer_status(nw->w, ret, error))
			return false;
		rename_status(*ret, nw->ref);
		return true;
	}
	ContentStatus *status = g_new0(ContentStatus, 1);
	status->ref = g_strdup(nw->ref);
	status->offset = status->total = nw->size;
	status->expected = g_strdup(nw->digest);
	status->started_at = status->updated_at = nw->started_at;
	*ret = status;
	return true;
}

static bool nw_truncate(ContentWriter *self, int64_t size, GError **error)
{
	NsWriter *nw = ns_writer_of(self);
	if (is_finished(nw, error))
		return false;
	return nw->w != NULL ? content_truncate(nw->w, size, error) : make_own(nw, size, error);
}

static int nw_fd(ContentWriter *self)
{
	NsWriter *nw = ns_writer_of(self);
	return nw->w != NULL && !nw->finished ? content_writer_fd(nw->w) : -1;
}

static bool nw_advance(ContentWriter *self, int64_t len, Digester *digester, GError **error)
{
	NsWriter *nw = ns_writer_of(self);
	if (nw->w != NULL && !nw->finished)
		return content_writer_advance(nw->w, len, digester, error);
	digester_free(digester);
	return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION, "writer has no file");
}

static void nw_close(ContentWriter *self)
{
	NsWriter *nw = ns_writer_of(self);
	content_writer_close(nw->w);
	g_free(nw->ns);
	g_free(nw->ref);
	g_free(nw->backend_ref);
	g_free(nw->digest);
	g_free(nw);
}

/* ---- commit ---- */

static bool commit_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	TimeNs now = time_now();
	if (!meta_run(tx, error,
	              "INSERT INTO blob(ns, digest, size, created, updated) VALUES (?, ?, ?, ?, ?)"
	              " ON CONFLICT DO NOTHING",
	              "ssiii", a->ctx->ns, a->digest, a->size, now, now))
		return false;
	a->exists = meta_tx_changes(tx) == 0;
	if (!a->exists && !meta_labels_write(tx, META_BLOB, meta_tx_last_id(tx), a->labels, error))
		return false;
	return delete_ingest(tx, a, error) && lease_add_in_tx(tx, a->ctx, "content", a->digest, error);
}

static bool size_check(NsWriter *nw, int64_t actual, int64_t size, GError **error)
{
	return size == 0 || size == actual ||
	       error_set_class(error, CTRD_ERR_FAILED_PRECONDITION,
	                       "%s failed size validation: %" G_GINT64_FORMAT " != %" G_GINT64_FORMAT,
	                       Q(nw->ref), actual, size);
}

/* How much was written, where that is what the caller says. */
static bool written_size(NsWriter *nw, int64_t expected, int64_t *ret, GError **error)
{
	g_autoptr(ContentStatus) status = NULL;
	if (!nw_status(&nw->base, &status, error))
		return false;
	*ret = status->offset;
	return size_check(nw, status->offset, expected, error);
}

/* The one that was there when the writer was opened: its ingest kept it, unless a lease ended meanwhile. */
static bool commit_shared(NsWriter *nw, const Ctx *ctx, const char *expected, GError **error)
{
	if (expected != NULL && strcmp(expected, nw->digest) != 0)
		return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION, "%s unexpected digest",
		                       Q(nw->ref));
	g_autoptr(ContentInfo) info = content_info(nw->store->backend, ctx, nw->digest, error);
	return info != NULL;
}

/* The blob in the backend, there before or made now. The digest is pinned. */
static bool commit_backend(NsWriter *nw, const Ctx *ctx, int64_t size, const char *expected, GError **error)
{
	if (nw->w == NULL)
		return commit_shared(nw, ctx, expected, error);
	g_autoptr(GError) cause = NULL;
	if (content_commit(nw->w, ctx, size, expected, NULL, &cause) ||
	    error_is(cause, CTRD_ERR_ALREADY_EXISTS))
		return true;
	g_propagate_error(error, g_steal_pointer(&cause));
	return false;
}

static bool commit_checked(NsWriter *nw, const Ctx *ctx, int64_t size, const char *expected,
                           GHashTable *labels, GError **error)
{
	int64_t actual_size;
	if (!labels_check(labels, error) || !written_size(nw, size, &actual_size, error))
		return false;
	g_autofree char *digest = expected != NULL ? g_strdup(expected) : nw_digest(&nw->base);
	META_PIN_SCOPE(nw->store->db, digest);
	if (!commit_backend(nw, ctx, actual_size, expected, error) || !FAILPOINT("content.commit.row", error))
		return false;
	g_autoptr(GHashTable) copy = strmap_copy(labels);
	Args a = {.ctx = ctx, .ref = nw->ref, .digest = digest, .size = actual_size, .labels = copy};
	if (!meta_update_for(nw->store->db, ctx, commit_tx, &a, error)) {
		/* a full disk: the file may be there and no record of it; the next collection looks */
		g_autofree char *what = g_strconcat("content:", digest, NULL);
		meta_put_dirty(nw->store->db, what);
		return false;
	}
	if (a.exists)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "content %s", digest);
	meta_emit(nw->store->db, &(StoreEvent){.kind = STORE_EVENT_CONTENT_CREATE,
	                                       .ns = nw->ns,
	                                       .name = digest,
	                                       .size = actual_size});
	return true;
}

static bool nw_commit(ContentWriter *self, const Ctx *ctx, int64_t size, const char *expected,
                      GHashTable *labels, GError **error)
{
	NsWriter *nw = ns_writer_of(self);
	if (is_finished(nw, error))
		return false;
	Ctx own = {.ns = nw->ns, .lease = ctx->lease, .cancel = ctx->cancel, .lazy = ctx->lazy};
	g_autoptr(GError) cause = NULL;
	bool ok = commit_checked(nw, &own, size, expected, labels, &cause);
	nw->finished = true;
	if (ok)
		return true;
	// the ref is free again, whatever the reason
	if (!error_is(cause, CTRD_ERR_ALREADY_EXISTS))
		g_clear_pointer(&nw->w, content_writer_close);
	g_propagate_error(error, g_steal_pointer(&cause));
	return false;
}

static NsWriter *nw_new(MetaStore *s, Args *a)
{
	static const ContentWriterOps ops = {
	        .write = nw_write,
	        .digest = nw_digest,
	        .commit = nw_commit,
	        .status = nw_status,
	        .truncate = nw_truncate,
	        .close = nw_close,
	        .fd = nw_fd,
	        .advance = nw_advance,
	};
	NsWriter *nw = g_new0(NsWriter, 1);
	nw->base.ops = &ops;
	nw->store = s;
	nw->ns = g_strdup(a->ctx->ns);
	nw->ref = g_strdup(a->ref);
	nw->backend_ref = g_steal_pointer(&a->backend_ref);
	nw->digest = g_strdup(a->digest);
	nw->size = a->size;
	nw->started_at = time_now();
	return nw;
}

/* The size of the blob in the backend, -1 where it is not there (or, as upstream, the backend can not say).
 */
static int64_t backend_size(MetaStore *s, const Ctx *ctx, const char *digest)
{
	g_autoptr(ContentInfo) info = content_info(s->backend, ctx, digest, NULL);
	return info != NULL ? info->size : -1;
}

static ContentWriter *open_backend(MetaStore *s, Args *a, GError **error)
{
	a->backend_size = *a->digest != '\0' ? backend_size(s, a->ctx, a->digest) : -1;
	if (!meta_update_for(s->db, a->ctx, writer_tx, a, error))
		return NULL;
	if (a->exists) {
		error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "content %s", a->digest);
		return NULL;
	}
	NsWriter *nw = nw_new(s, a);
	if (!a->shared) {
		nw->w = backend_writer(nw, a->ctx, a->size, error);
		if (nw->w == NULL) {
			nw_close(&nw->base);
			return NULL;
		}
	}
	return &nw->base;
}

static ContentWriter *open_pinned(MetaStore *s, Args *a, GError **error)
{
	META_PIN_SCOPE(s->db, a->digest);
	return open_backend(s, a, error);
}

static ContentWriter *ns_writer(ContentStore *self, const Ctx *ctx, const char *ref, const Descriptor *desc,
                                GError **error)
{
	MetaStore *s = meta_store(self);
	if (meta_namespace(ctx, error) == NULL)
		return NULL;
	Args a = {.ctx = ctx, .ref = ref, .digest = str_or(desc->digest, ""), .size = MAX(desc->size, 0)};
	ContentWriter *w = *a.digest == '\0' ? open_backend(s, &a, error) : open_pinned(s, &a, error);
	g_free(a.backend_ref);
	return w;
}

static void ns_free(ContentStore *self)
{
	g_free(meta_store(self));
}

ContentStore *content_meta_new(MetaDb *db, ContentStore *backend)
{
	static const ContentStoreOps ops = {
	        .info = ns_info,
	        .update = ns_update,
	        .walk = ns_walk,
	        .remove = ns_remove,
	        .reader = ns_reader,
	        .status = ns_status,
	        .list_statuses = ns_list_statuses,
	        .abort = ns_abort,
	        .writer = ns_writer,
	        .free = ns_free,
	};
	MetaStore *s = g_new0(MetaStore, 1);
	s->base.ops = &ops;
	s->db = db;
	s->backend = backend;
	return &s->base;
}
