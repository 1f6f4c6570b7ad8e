// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"
#include "base/error.h"
#include "base/identifiers.h"
#include "base/log.h"
#include "base/util.h"
#include "loop/metrics.h"
#include "oci/child-labels.h"
#include "oci/labels.h"
#include "oci/manifest.h"
#include "oci/media-types.h"
#include "transfer/transfer-private.h"
#include <inttypes.h>
#include <string.h>

void fetch_result_clear(FetchResult *r)
{
	g_clear_error(&r->tee_failed);
}

typedef struct {
	Operation *op;
	const Descriptor *desc;
	ContentWriter *writer;
	int64_t offset;
	ByteSink tee;
	void *tee_data;
	GByteArray *document; // a manifest or index is kept, for its labels
	bool wrong;           // the bytes are not those of the digest
	FetchResult *ret;
} Fetch;

/* ---- Labels ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "a,b" with repo in its sorted place. */
static char *source_value(const char *old, const char *repo)
{
	g_auto(GStrv) parts = g_strsplit(str_or(old, ""), ",", -1);
	g_autoptr(GPtrArray) repos = g_ptr_array_new();
	g_ptr_array_add(repos, (char *)repo);
	for (size_t i = 0; parts[i] != NULL; i++)
		if (*parts[i] != '\0' &&
		    !g_ptr_array_find_with_equal_func(repos, parts[i], g_str_equal, NULL))
			g_ptr_array_add(repos, parts[i]);
	g_ptr_array_sort(repos, by_name);
	g_ptr_array_add(repos, NULL);
	return g_strjoinv(",", (char **)repos->pdata);
}

static bool label_source(Operation *op, const Descriptor *desc, GError **error)
{
	if (op->source_label == NULL)
		return true;
	g_autoptr(ContentInfo) info = content_info(op->t->config.content, &op->ctx, desc->digest, error);
	if (info == NULL)
		return false;
	const char *old = strmap_get(info->labels, op->source_label);
	g_autofree char *value = source_value(old, op->source_repo);
	/* a blob that is in very many repositories has no room for all of them */
	if (g_strcmp0(old, value) == 0 || !label_validate(op->source_label, value, NULL))
		return true;
	g_autoptr(GHashTable) labels = strmap_new();
	strmap_set(labels, op->source_label, value);
	ContentInfo update = {.digest = desc->digest, .labels = labels};
	g_autofree char *path = g_strconcat("labels.", op->source_label, NULL);
	const char *const paths[] = {path, NULL};
	g_autoptr(ContentInfo) updated =
	        content_update(op->t->config.content, &op->ctx, &update, paths, error);
	return updated != NULL;
}

/* All that is known at commit, so that it needs no transactions of its own. */
static GHashTable *commit_labels(Fetch *f)
{
	GHashTable *labels = strmap_new();
	if (f->op->source_label != NULL && label_validate(f->op->source_label, f->op->source_repo, NULL))
		strmap_set(labels, f->op->source_label, f->op->source_repo);
	if (f->document == NULL)
		return labels;
	g_autoptr(GPtrArray) children = manifest_children(f->desc, f->document->data, f->document->len,
	                                                  NULL); // the walk tells errors
	g_autoptr(GHashTable) refs =
	        children != NULL ? child_gc_labels(children, f->op->discard_layers) : strmap_new();
	GHashTableIter it;
	void *key, *value;
	g_hash_table_iter_init(&it, refs);
	while (g_hash_table_iter_next(&it, &key, &value))
		strmap_set(labels, key, value);
	return labels;
}

/* ---- Content ---- */

static MetricCounter fetched_bytes;

int64_t transfer_fetched_bytes(void)
{
	return metric_counter_get(&fetched_bytes);
}

static bool on_bytes(void *data, const void *buf, size_t len, GError **error)
{
	Fetch *f = data;
	if (!content_write(f->writer, buf, len, error))
		return false;
	f->offset += (int64_t)len;
	metric_counter_add(&fetched_bytes, (int64_t)len);
	progress_offset(f->op->progress, f->desc, f->offset);
	if (f->document != NULL)
		g_byte_array_append(f->document, buf, (guint)len);
	/* what is wrong with the content is for the digest to say first: it comes to its end */
	if (f->tee != NULL && f->ret->tee_failed == NULL &&
	    !f->tee(f->tee_data, buf, len, &f->ret->tee_failed))
		f->ret->teed = false;
	return true;
}

static bool download(Fetch *f, GError **error)
{
	Operation *op = f->op;
	const Descriptor *desc = f->desc;
	if (desc->data != NULL && (int64_t)g_bytes_get_size(desc->data) == desc->size) {
		if (f->offset > 0 && !content_truncate(f->writer, 0, error))
			return false;
		f->offset = 0;
		f->ret->teed = f->tee != NULL;
		gsize len = 0;
		const void *data = g_bytes_get_data(desc->data, &len);
		return on_bytes(f, data, len, error);
	}
	if (!semaphore_acquire(op->t->downloads, op->ctx.cancel, error))
		return false;
	bool ok = resolver_fetch_ranges(op->resolver, &op->t->ranges, op->ctx.cancel, desc, f->offset,
	                                on_bytes, f, error);
	semaphore_release(op->t->downloads);
	f->wrong = !ok && error != NULL && error_is(*error, CTRD_ERR_FAILED_PRECONDITION);
	return ok || error_prefix(error, "failed to copy");
}

static bool commit(Fetch *f, const char *ref, GError **error)
{
	Operation *op = f->op;
	g_autofree char *actual = content_writer_digest(f->writer);
	bool good = g_str_equal(actual, f->desc->digest);
	g_autoptr(GHashTable) labels = good ? commit_labels(f) : strmap_new();
	g_autoptr(GError) e = NULL;
	if (content_commit(f->writer, &op->ctx, f->desc->size, f->desc->digest, labels, &e))
		return true;
	if (error_is(e, CTRD_ERR_ALREADY_EXISTS))
		return label_source(op, f->desc, error);
	f->wrong = !good;
	g_autofree char *quoted = go_quote(ref);
	error_prefix(&e, "failed commit on ref %s", quoted);
	g_propagate_error(error, g_steal_pointer(&e));
	return false;
}

static bool fetch_with_writer(Fetch *f, const char *ref, GError **error)
{
	g_autoptr(ContentStatus) status = NULL;
	if (!content_writer_status(f->writer, &status, error))
		return error_prefix(error, "failed to get status");
	if (f->desc->size == 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "unable to fetch descriptor (%s) which reports content size of zero",
		                       f->desc->digest);
	f->offset = status->offset;
	if (f->offset > f->desc->size) {
		if (!content_truncate(f->writer, 0, error))
			return false;
		f->offset = 0;
	}
	bool document =
	        (media_type_is_manifest(f->desc->media_type) || media_type_is_index(f->desc->media_type)) &&
	        f->desc->size <= (int64_t)MANIFEST_MAX;
	if (document && f->offset > 0) {
		/* small, and its labels need all of it */
		if (!content_truncate(f->writer, 0, error))
			return false;
		f->offset = 0;
	}
	g_autoptr(GByteArray) bytes = document ? g_byte_array_new() : NULL;
	f->document = bytes;
	f->ret->teed = f->tee != NULL && f->offset == 0;
	if (!f->ret->teed)
		f->tee = NULL;
	return (f->offset == f->desc->size || download(f, error)) && commit(f, ref, error);
}

/* The bytes are wrong: the next try must not resume after them. true: another registry may have better ones.
 */
static bool drop_wrong(Fetch *f, const char *ref)
{
	Operation *op = f->op;
	Ctx ctx = operation_cleanup_ctx(op);
	content_abort(op->t->config.content, &ctx, ref, NULL);
	if (op->resolver == NULL || !resolver_distrust(op->resolver, f->desc->digest))
		return false;
	f->ret->tee_spoilt = f->ret->tee_spoilt || f->tee != NULL;
	f->tee = NULL;
	f->wrong = f->ret->teed = false;
	g_clear_error(&f->ret->tee_failed);
	return true;
}

static bool fetch_locked(Fetch *f, GError **error)
{
	Operation *op = f->op;
	ContentStore *content = op->t->config.content;
	if (op->resolver == NULL && f->desc->data == NULL) {
		/* nowhere to get it from: it is there, or it is missing */
		g_autoptr(ContentInfo) info = content_info(content, &op->ctx, f->desc->digest, error);
		f->ret->existed = info != NULL;
		return info != NULL;
	}
	g_autofree char *ref = transfer_ref_key(f->desc);
	g_autoptr(GError) e = NULL;
	f->writer = content_open_writer(content, &op->ctx, ref, f->desc, &e);
	if (f->writer == NULL && error_is(e, CTRD_ERR_ALREADY_EXISTS)) {
		f->ret->existed = true;
		progress_exists(op->progress, f->desc);
		return label_source(op, f->desc, error);
	}
	if (f->writer == NULL) {
		g_propagate_error(error, g_steal_pointer(&e));
		return false;
	}
	bool ok = fetch_with_writer(f, ref, &e);
	g_clear_pointer(&f->writer, content_writer_close);
	if (!ok && f->wrong && drop_wrong(f, ref))
		return fetch_locked(f, error);
	if (!ok)
		g_propagate_error(error, g_steal_pointer(&e));
	if (ok)
		progress_complete(op->progress, f->desc);
	return ok;
}

bool fetch_content(Operation *op, const Descriptor *desc, ByteSink tee, void *tee_data, FetchResult *ret,
                   GError **error)
{
	*ret = (FetchResult){0};
	if (g_strcmp0(desc->media_type, MEDIA_TYPE_DOCKER_SCHEMA1) == 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "%s not supported", desc->media_type);
	g_autofree char *key = g_strconcat("blob://", desc->digest, NULL);
	if (!keyed_lock_acquire(op->t->once, key, op->ctx.cancel, error))
		return false;
	Fetch f = {.op = op, .desc = desc, .tee = tee, .tee_data = tee_data, .ret = ret};
	bool ok = fetch_locked(&f, error);
	keyed_lock_release(op->t->once, key);
	return ok;
}

static bool fetch_one(void *data, guint i, GError **error)
{
	void **args = data;
	Operation *op = args[0];
	GPtrArray *descriptors = args[1];
	progress_add(op->progress, descriptors->pdata[i]);
	g_auto(FetchResult) result = {0};
	return fetch_content(op, descriptors->pdata[i], NULL, NULL, &result, error);
}

bool fetch_all(Operation *op, GPtrArray *descriptors, GError **error)
{
	void *args[] = {op, descriptors};
	return parallel_run(op, op->t->config.max_concurrent_downloads, descriptors->len, fetch_one, args,
	                    error);
}
