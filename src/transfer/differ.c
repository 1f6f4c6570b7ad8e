// SPDX-License-Identifier: Apache-2.0
#include "transfer/differ.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "diff/compare.h"
#include "oci/labels.h"
#include "oci/media-types.h"
#include "transfer/stream-processor.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool differ_apply(Differ *d, const Ctx *ctx, const Descriptor *desc, GPtrArray *mounts,
                  const DifferApplyOptions *options, Descriptor *ret, GError **error)
{
	static const DifferApplyOptions none;
	return d->ops->apply(d, ctx, desc, mounts, options != NULL ? options : &none, ret, error);
}

bool differ_compare(Differ *d, const Ctx *ctx, GPtrArray *lower, GPtrArray *upper,
                    const DifferCompareOptions *options, Descriptor *ret, GError **error)
{
	static const DifferCompareOptions none;
	return d->ops->compare(d, ctx, lower, upper, options != NULL ? options : &none, ret, error);
}

void differ_free(Differ *d)
{
	if (d != NULL)
		d->ops->free(d);
}

/* ---- Targets ---- */

static bool has_option(char *const *options, const char *name)
{
	return g_strv_contains((const char *const *)options, name);
}

/* A bind mount that changes nothing: its source is the place itself. */
static bool is_plain_bind(const Mount *m)
{
	if (g_strcmp0(m->type, "bind") != 0)
		return false;
	for (size_t i = 0; m->options[i] != NULL; i++)
		if (!g_str_equal(m->options[i], "rbind") && !g_str_equal(m->options[i], "bind") &&
		    !g_str_equal(m->options[i], "rw"))
			return false;
	return true;
}

bool differ_direct_target(GPtrArray *mounts, char **ret_root, LayerWhiteout *ret_whiteout,
                          char ***ret_parents)
{
	if (mounts->len != 1)
		return false;
	const Mount *m = mounts->pdata[0];
	if (!str_empty(m->target))
		return false;
	*ret_parents = NULL;
	/* whiteout devices cannot be made in a user namespace */
	if (g_strcmp0(m->type, "overlay") == 0 && !running_in_userns()) {
		*ret_whiteout = has_option(m->options, "userxattr") ? LAYER_WHITEOUT_OVERLAY_USER
		                                                    : LAYER_WHITEOUT_OVERLAY;
		return layer_overlay_paths((const char *const *)m->options, ret_root, ret_parents);
	}
	if (!is_plain_bind(m))
		return false;
	*ret_whiteout = LAYER_WHITEOUT_REMOVE;
	*ret_root = g_strdup(m->source);
	return true;
}

typedef struct {
	DifferTargetFn fn;
	void *data;
} Mounted;

static bool on_mounted(const char *root, void *data, GError **error)
{
	Mounted *m = data;
	DifferTarget target = {.root = root, .whiteout = LAYER_WHITEOUT_REMOVE};
	return m->fn(&target, m->data, error);
}

bool differ_with_target(GPtrArray *mounts, DifferTargetFn fn, void *data, GError **error)
{
	g_autofree char *root = NULL;
	g_auto(GStrv) parents = NULL;
	DifferTarget target = {0};
	if (differ_direct_target(mounts, &root, &target.whiteout, &parents)) {
		target.root = root;
		target.parents = (const char *const *)parents;
		return fn(&target, data, error);
	}
	Mounted m = {.fn = fn, .data = data};
	return mounts_with_temp(mounts, NULL, on_mounted, &m, error);
}

bool differ_compression(const char *media_type, Compression *ret, GError **error)
{
	const char *compression = media_type_diff_compression(media_type, NULL);
	if (compression == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "failed to get stream processor for %s: no processor for media-type",
		                 str_or(media_type, ""));
	*ret = *compression == '\0' ? COMPRESSION_NONE : COMPRESSION_UNKNOWN;
	return true;
}

bool differ_sync_fs(const char *path, GError **error)
{
	autofd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "failed to open %s: open %s", path, path);
	if (syncfs(fd) < 0)
		return error_set_errno(error, errno, "failed to syncfs for %s", path);
	return true;
}

/* ---- The local differ ---- */

typedef struct {
	Differ base;
	ContentStore *content;
	GPtrArray *processors; // of StreamProcessor
} Walking;

typedef struct {
	const Ctx *ctx;
	const DifferApplyOptions *options;
	Compression compression;
	ContentReader *reader;
	int64_t offset;
	GPtrArray *chain; // of StreamProcessor
	const char *media_type;
	LayerStreamResult result;
} Apply;

static ssize_t apply_read(void *data, void *buf, size_t len, GError **error)
{
	Apply *a = data;
	if (!cancel_check(a->ctx->cancel, error))
		return -1;
	ssize_t n = content_read_at(a->reader, buf, len, a->offset, error);
	if (n > 0)
		a->offset += n;
	return n;
}

/* Through the processors. Where one of them fails, that is the reason, and not what the layer then lacks. */
static bool apply_processed(Apply *a, const LayerStreamOptions *o, GError **error)
{
	g_autoptr(GError) failed = NULL, why = NULL;
	g_autoptr(StreamPipe) pipe =
	        stream_pipe_new(a->chain, a->media_type, apply_read, a, a->ctx->cancel, error);
	if (pipe == NULL)
		return false;
	bool ok = layer_stream_run(o, stream_pipe_read, pipe, NULL, NULL, &a->result, &failed);
	if (!ok && !cancel_check(a->ctx->cancel, error))
		return false;
	bool finished = stream_pipe_finish(pipe, &why);
	if (ok && finished)
		return true;
	g_propagate_error(error, finished ? g_steal_pointer(&failed) : g_steal_pointer(&why));
	return false;
}

static bool apply_to(const DifferTarget *target, void *data, GError **error)
{
	Apply *a = data;
	LayerStreamOptions o = {
	        .root = target->root,
	        .compression = a->compression,
	        .apply = {.whiteout = target->whiteout, .parents = target->parents, .cancel = a->ctx->cancel},
	};
	return (a->chain->len > 0 ? apply_processed(a, &o, error)
	                          : layer_stream_run(&o, apply_read, a, a->options->progress,
	                                             a->options->progress_data, &a->result, error)) &&
	       (!a->options->sync_fs || differ_sync_fs(target->root, error));
}

static bool walking_apply(Differ *self, const Ctx *ctx, const Descriptor *desc, GPtrArray *mounts,
                          const DifferApplyOptions *options, Descriptor *ret, GError **error)
{
	Walking *w = (Walking *)self;
	g_autoptr(ContentReader) reader = content_reader(w->content, ctx, desc, error);
	if (reader == NULL)
		return error_prefix(error, "failed to get reader from content store");
	const char *type = NULL;
	g_autoptr(GPtrArray) chain = stream_processor_chain(w->processors, desc->media_type, &type, error);
	if (chain == NULL)
		return false;
	Apply a = {.ctx = ctx,
	           .options = options,
	           .reader = reader,
	           .chain = chain,
	           .media_type = desc->media_type};
	if (!differ_compression(type, &a.compression, error))
		return false;
	if (options->progress != NULL)
		options->progress(options->progress_data, 0);
	bool ok = differ_with_target(mounts, apply_to, &a, error);
	if (ok) {
		*ret = (Descriptor){
		        .media_type = g_strdup(MEDIA_TYPE_OCI_LAYER),
		        .digest = g_strdup(a.result.diff_id),
		        .size = a.result.size,
		};
		if (options->progress != NULL)
			options->progress(options->progress_data, reader->size);
	}
	layer_stream_result_clear(&a.result);
	return ok;
}

typedef struct {
	Walking *w;
	const Ctx *ctx;
	const DifferCompareOptions *options;
	const char *media_type;
	Compression compression;
	GPtrArray *upper;
	const char *lower_root;
	Descriptor *ret;
} Compare;

static bool write_content(void *data, const void *buf, size_t len, GError **error)
{
	return content_write(data, buf, len, error);
}

static char *unique_ref(void)
{
	return g_strdup_printf("%" G_GINT64_FORMAT "-%06x", time_now(), g_random_int() & 0xffffff);
}

/* A blob that was there may lack the label. */
static bool label_uncompressed(Compare *c, const char *digest, const char *diff_id, GError **error)
{
	g_autoptr(ContentInfo) info = content_info(c->w->content, c->ctx, digest, error);
	if (info == NULL)
		return error_prefix(error, "failed to get info from content store");
	c->ret->media_type = g_strdup(c->media_type);
	c->ret->digest = g_strdup(info->digest);
	c->ret->size = info->size;
	if (strmap_get(info->labels, LABEL_UNCOMPRESSED) != NULL || c->compression == COMPRESSION_NONE)
		return true;
	strmap_set(info->labels, LABEL_UNCOMPRESSED, diff_id);
	const char *const paths[] = {"labels." LABEL_UNCOMPRESSED, NULL};
	g_autoptr(ContentInfo) updated = content_update(c->w->content, c->ctx, info, paths, error);
	return updated != NULL || error_prefix(error, "error setting uncompressed label");
}

static bool compare_into(Compare *c, ContentWriter *writer, const char *upper_root, GError **error)
{
	CompareOptions o = {
	        .has_source_date_epoch = c->options->has_source_date_epoch,
	        .source_date_epoch = c->options->source_date_epoch,
	        .cancel = c->ctx->cancel,
	};
	g_auto(CompareResult) result = {0};
	if (!compare_layer(c->lower_root, upper_root, false, c->compression, &o, write_content, writer,
	                   &result, error))
		return error_prefix(error, c->compression == COMPRESSION_NONE
		                                   ? "failed to write diff"
		                                   : "failed to write compressed diff");
	g_autoptr(GHashTable) labels = strmap_copy(c->options->labels);
	if (c->compression != COMPRESSION_NONE)
		strmap_set(labels, LABEL_UNCOMPRESSED, result.diff_id);
	g_autoptr(GError) e = NULL;
	if (!content_commit(writer, c->ctx, 0, result.digest, labels, &e) &&
	    !error_is(e, CTRD_ERR_ALREADY_EXISTS)) {
		error_prefix(&e, "failed to commit");
		g_propagate_error(error, g_steal_pointer(&e));
		return false;
	}
	return label_uncompressed(c, result.digest, result.diff_id, error);
}

static bool on_upper(const char *root, void *data, GError **error)
{
	Compare *c = data;
	bool own = str_empty(c->options->ref);
	g_autofree char *ref = own ? unique_ref() : g_strdup(c->options->ref);
	Descriptor desc = {.media_type = (char *)c->media_type};
	g_autoptr(ContentWriter) writer = content_writer(c->w->content, c->ctx, ref, &desc, error);
	if (writer == NULL)
		return error_prefix(error, "failed to open writer");
	if ((own || content_truncate(writer, 0, error)) && compare_into(c, writer, root, error))
		return true;
	g_clear_pointer(&writer, content_writer_close);
	g_autoptr(GError) e = NULL;
	if (own && !content_abort(c->w->content, c->ctx, ref, &e) && !error_is(e, CTRD_ERR_NOT_FOUND))
		log_error_take(LOG_WARN, g_steal_pointer(&e), "failed to delete diff upload", "ref", ref,
		               NULL);
	return false;
}

static bool on_lower(const char *root, void *data, GError **error)
{
	Compare *c = data;
	c->lower_root = root;
	return mounts_with_readonly_temp(c->upper, NULL, on_upper, c, error);
}

static bool walking_compare(Differ *self, const Ctx *ctx, GPtrArray *lower, GPtrArray *upper,
                            const DifferCompareOptions *options, Descriptor *ret, GError **error)
{
	static const struct {
		const char *media_type;
		Compression compression;
	} known[] = {
	        {MEDIA_TYPE_OCI_LAYER, COMPRESSION_NONE},
	        {MEDIA_TYPE_OCI_LAYER_GZIP, COMPRESSION_GZIP},
	        {MEDIA_TYPE_OCI_LAYER_ZSTD, COMPRESSION_ZSTD},
	};
	Compare c = {
	        .w = (Walking *)self,
	        .ctx = ctx,
	        .options = options,
	        .media_type =
	                str_empty(options->media_type) ? MEDIA_TYPE_OCI_LAYER_GZIP : options->media_type,
	        .compression = COMPRESSION_UNKNOWN,
	        .upper = upper,
	        .ret = ret,
	};
	for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
		if (g_str_equal(known[i].media_type, c.media_type))
			c.compression = known[i].compression;
	if (c.compression == COMPRESSION_UNKNOWN)
		return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "unsupported diff media type: %s",
		                       c.media_type);
	return mounts_with_temp(lower, NULL, on_lower, &c, error);
}

static void walking_free(Differ *self)
{
	g_clear_pointer(&((Walking *)self)->processors, g_ptr_array_unref);
	g_free(self);
}

static const DifferOps walking_ops = {
        .apply = walking_apply,
        .compare = walking_compare,
        .free = walking_free,
};

Differ *differ_walking_new(ContentStore *content, GPtrArray *processors)
{
	Walking *w = g_new0(Walking, 1);
	w->base.ops = &walking_ops;
	w->content = content;
	w->processors = processors != NULL ? g_ptr_array_ref(processors) : NULL;
	return &w->base;
}

bool differ_is_plain(const Differ *d, const char *media_type)
{
	const char *type = NULL;
	if (!differ_is_walking(d))
		return false;
	g_autoptr(GPtrArray) chain =
	        stream_processor_chain(((const Walking *)d)->processors, media_type, &type, NULL);
	return chain != NULL && chain->len == 0;
}

bool differ_is_walking(const Differ *d)
{
	return d->ops == &walking_ops;
}
