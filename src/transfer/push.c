// SPDX-License-Identifier: Apache-2.0
/* A push: blobs side by side, then manifests, then indexes from the inside out, so that a registry never sees
 * a document before what it refers to (upstream core/transfer/local/push.go, core/remotes/handlers.go). */
#include "base/error.h"
#include "base/util.h"
#include "oci/labels.h"
#include "oci/manifest.h"
#include "oci/media-types.h"
#include "transfer/transfer-private.h"
#include <string.h>

enum {
	NESTING_MAX = 8,
};

typedef struct {
	Operation *op;
	PlatformMatcher *matcher;
	GPtrArray *blobs, *manifests, *indexes; // of Descriptor*
} Push;

static void push_clear(Push *p)
{
	platform_matcher_free(p->matcher);
	g_clear_pointer(&p->blobs, g_ptr_array_unref);
	g_clear_pointer(&p->manifests, g_ptr_array_unref);
	g_clear_pointer(&p->indexes, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Push, push_clear)

/* Where else on the registry the child may be: its own labels, else its parent's. */
static void copy_sources(GHashTable *from, Descriptor *to)
{
	GHashTableIter it;
	void *key, *value;
	if (from == NULL)
		return;
	g_hash_table_iter_init(&it, from);
	while (g_hash_table_iter_next(&it, &key, &value))
		if (g_str_has_prefix(key, LABEL_DISTRIBUTION_SOURCE ".") &&
		    descriptor_annotation(to, key) == NULL)
			descriptor_annotate(to, key, value);
}

static bool has_digest(GPtrArray *list, const char *digest)
{
	for (guint i = 0; i < list->len; i++)
		if (g_str_equal(((Descriptor *)list->pdata[i])->digest, digest))
			return true;
	return false;
}

static bool collect(Push *p, const Descriptor *desc, unsigned depth, GError **error)
{
	Operation *op = p->op;
	bool index = media_type_is_index(desc->media_type);
	progress_add(op->progress, desc);
	if (!index && !media_type_is_manifest(desc->media_type)) {
		if (!has_digest(p->blobs, desc->digest))
			g_ptr_array_add(p->blobs, descriptor_new_copy(desc));
		return true;
	}
	if (depth > NESTING_MAX)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "%s: indexes are nested more than %d deep", desc->digest, NESTING_MAX);
	GPtrArray *list = index ? p->indexes : p->manifests;
	if (has_digest(list, desc->digest))
		return true;
	g_ptr_array_add(list, descriptor_new_copy(desc));
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!content_read_blob(op->t->config.content, &op->ctx, desc, MANIFEST_MAX, &data, &len, error))
		return false;
	g_autoptr(GPtrArray) children = manifest_children(desc, data, len, error);
	if (children == NULL)
		return false;
	descriptors_filter_platform(children, p->matcher);
	progress_children(op->progress, desc, children);
	g_autoptr(ContentInfo) parent = content_info(op->t->config.content, &op->ctx, desc->digest, NULL);
	for (guint i = 0; i < children->len; i++) {
		Descriptor *child = children->pdata[i];
		g_autoptr(ContentInfo) info =
		        content_info(op->t->config.content, &op->ctx, child->digest, NULL);
		copy_sources(info != NULL ? info->labels : NULL, child);
		copy_sources(desc->annotations, child);
		copy_sources(parent != NULL ? parent->labels : NULL, child);
		if (!collect(p, child, depth + 1, error))
			return false;
	}
	return true;
}

typedef struct {
	Push *push;
	const Descriptor *desc;
	ContentReader *reader;
} Upload;

static ssize_t upload_read(void *data, void *buf, size_t len, int64_t offset, GError **error)
{
	Upload *u = data;
	ssize_t n = content_read_at(u->reader, buf, len, offset, error);
	if (n > 0)
		progress_offset(u->push->op->progress, u->desc, offset + n);
	return n;
}

static bool upload(Push *p, const Descriptor *desc, GError **error)
{
	Operation *op = p->op;
	g_autoptr(ContentReader) reader = content_reader(op->t->config.content, &op->ctx, desc, error);
	if (reader == NULL)
		return false;
	Upload u = {.push = p, .desc = desc, .reader = reader};
	bool exists = false;
	if (!semaphore_acquire(op->t->uploads, op->ctx.cancel, error))
		return false;
	bool ok = resolver_push(op->resolver, op->ctx.cancel, desc, upload_read, &u, &exists, error);
	semaphore_release(op->t->uploads);
	if (ok && exists)
		progress_exists(op->progress, desc);
	else if (ok)
		progress_complete(op->progress, desc);
	return ok;
}

static bool upload_one(void *data, guint i, GError **error)
{
	void **args = data;
	GPtrArray *list = args[1];
	return upload(args[0], list->pdata[i], error);
}

static bool upload_all(Push *p, GPtrArray *list, GError **error)
{
	void *args[] = {p, list};
	return parallel_run(p->op, p->op->t->config.max_concurrent_uploads, list->len, upload_one, args,
	                    error);
}

/* A registry says no more than that of an index whose images it does not have. */
static bool upload_index(Push *p, const Descriptor *index, GError **error)
{
	g_autoptr(GError) e = NULL;
	if (upload(p, index, &e))
		return true;
	if (strstr(e->message, "400 Bad Request") != NULL)
		error_prefix(
		        &e,
		        "manifest list/index references to blobs and/or manifests are missing in your target "
		        "registry");
	g_propagate_error(error, g_steal_pointer(&e));
	return false;
}

bool transfer_push(Transfer *t, const Ctx *ctx, const TransferImages *from, const TransferRegistry *to,
                   TransferProgressSink progress, GError **error)
{
	g_autoptr(HttpClient) http = http_client_new(&t->config.http, error);
	g_auto(Operation) op = {0};
	if (http == NULL || !operation_begin(&op, t, ctx, error))
		return false;
	g_autoptr(Image) image = images_get(t->config.db, &op.ctx, from->name, error);
	if (image == NULL)
		return false;
	progress_say(progress, NULL, NULL, "Pushing to OCI Registry (%s)", to->reference);
	progress_say(progress, image->name, &image->target, "pushing content");
	/* the tag is for this digest only */
	g_autofree char *reference = strchr(to->reference, '@') != NULL
	                                     ? g_strdup(to->reference)
	                                     : g_strconcat(to->reference, "@", image->target.digest, NULL);
	op.resolver = registry_resolver(t, to, http, reference, error);
	if (op.resolver == NULL)
		return false;
	op.progress = progress_new(image->name, "uploading", progress);

	g_auto(Push) p = {
	        .op = &op,
	        .matcher = from->platforms != NULL && from->platforms->len > 0
	                           ? platform_matcher_any(from->platforms)
	                           : platform_matcher_all(),
	        .blobs = descriptors_new(),
	        .manifests = descriptors_new(),
	        .indexes = descriptors_new(),
	};
	bool ok = collect(&p, &image->target, 0, error) && upload_all(&p, p.blobs, error) &&
	          upload_all(&p, p.manifests, error);
	for (guint i = p.indexes->len; ok && i > 0; i--)
		ok = upload_index(&p, p.indexes->pdata[i - 1], error);
	g_clear_pointer(&op.progress, progress_free);
	if (!ok)
		return false;
	progress_say(progress, image->name, &image->target, "pushed content");
	progress_say(progress, NULL, &image->target, "Completed push to OCI Registry (%s)", to->reference);
	return true;
}
