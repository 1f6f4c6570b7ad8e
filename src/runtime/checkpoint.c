// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint.h"
#include "base/error.h"
#include "diff/apply.h"
#include "diff/compare.h"
#include "oci/media-types.h"
#include <string.h>

typedef struct {
	ContentWriter *writer;
	int64_t size;
} Sink;

static bool sink_write(void *data, const void *buf, size_t len, GError **error)
{
	Sink *sink = data;
	sink->size += (int64_t)len;
	return content_write(sink->writer, buf, len, error);
}

bool checkpoint_save(ContentStore *content, const Ctx *ctx, const char *dir, Descriptor *ret, GError **error)
{
	g_auto(Descriptor) type = {.media_type = g_strdup(MEDIA_TYPE_CHECKPOINT)};
	g_autoptr(ContentWriter) writer = content_writer(content, ctx, dir, &type, error);
	if (writer == NULL)
		return false;
	Sink sink = {.writer = writer};
	const CompareOptions options = {.cancel = ctx->cancel};
	if (!compare_write(NULL, dir, &options, sink_write, &sink, error)) {
		content_abort(content, ctx, dir, NULL);
		return false;
	}
	g_autofree char *digest = content_writer_digest(writer);
	g_autoptr(GError) failed = NULL;
	if (!content_commit(writer, ctx, 0, NULL, NULL, &failed) &&
	    !error_is(failed, CTRD_ERR_ALREADY_EXISTS)) {
		content_abort(content, ctx, dir, NULL);
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	*ret = (Descriptor){.media_type = g_strdup(MEDIA_TYPE_CHECKPOINT),
	                    .digest = g_steal_pointer(&digest),
	                    .size = sink.size};
	return true;
}

typedef struct {
	ContentReader *reader;
	int64_t offset;
} Source;

static ssize_t source_read(void *data, void *buf, size_t len, GError **error)
{
	Source *source = data;
	ssize_t n = content_read_at(source->reader, buf, len, source->offset, error);
	if (n > 0)
		source->offset += n;
	return n;
}

bool checkpoint_unpack(ContentStore *content, const Ctx *ctx, const Descriptor *checkpoint, const char *dir,
                       GError **error)
{
	if (g_strcmp0(checkpoint->media_type, MEDIA_TYPE_CHECKPOINT) != 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "unsupported checkpoint type %s",
		                 Q(str_or(checkpoint->media_type, "")));
	g_autoptr(ContentReader) reader = content_reader(content, ctx, checkpoint, error);
	if (reader == NULL)
		return false;
	Source source = {.reader = reader};
	const LayerApplyOptions options = {.cancel = ctx->cancel};
	LayerApplyResult result;
	return layer_apply_source(dir, &options, source_read, &source, &result, error);
}
