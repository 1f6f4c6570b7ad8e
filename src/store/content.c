// SPDX-License-Identifier: Apache-2.0

/* What all content stores share: plain data, dispatch with its checks, and helpers over the interface. */

#include "store/content.h"
#include "base/error.h"
#include "base/util.h"
#include <string.h>

void content_info_free(ContentInfo *info)
{
	if (info == NULL)
		return;
	g_free(info->digest);
	g_clear_pointer(&info->labels, g_hash_table_unref);
	g_free(info);
}

void content_status_free(ContentStatus *status)
{
	if (status == NULL)
		return;
	g_free(status->ref);
	g_free(status->expected);
	g_free(status);
}

/* ---- dispatch ---- */

static bool check_digest(const char *digest, GError **error)
{
	g_autoptr(GError) cause = NULL;
	if (digest_validate(str_or(digest, ""), &cause))
		return true;
	return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
	                       "cannot calculate blob path from invalid digest: %s", cause->message);
}

ContentInfo *content_info(ContentStore *s, const Ctx *ctx, const char *digest, GError **error)
{
	return check_digest(digest, error) ? s->ops->info(s, ctx, digest, error) : NULL;
}

ContentInfo *content_update(ContentStore *s, const Ctx *ctx, const ContentInfo *info,
                            const char *const *paths, GError **error)
{
	return check_digest(info->digest, error) ? s->ops->update(s, ctx, info, paths, error) : NULL;
}

bool content_walk(ContentStore *s, const Ctx *ctx, const char *const *filters, ContentWalkFn fn, void *data,
                  GError **error)
{
	return s->ops->walk(s, ctx, filters, fn, data, error);
}

bool content_delete(ContentStore *s, const Ctx *ctx, const char *digest, GError **error)
{
	return check_digest(digest, error) && s->ops->remove(s, ctx, digest, error);
}

ContentReader *content_reader(ContentStore *s, const Ctx *ctx, const Descriptor *desc, GError **error)
{
	return check_digest(desc->digest, error) ? s->ops->reader(s, ctx, desc, error) : NULL;
}

ContentStatus *content_status(ContentStore *s, const Ctx *ctx, const char *ref, GError **error)
{
	return s->ops->status(s, ctx, str_or(ref, ""), error);
}

GPtrArray *content_list_statuses(ContentStore *s, const Ctx *ctx, const char *const *filters, GError **error)
{
	return s->ops->list_statuses(s, ctx, filters, error);
}

GPtrArray *content_list_refs(ContentStore *s, const Ctx *ctx, GError **error)
{
	if (s->ops->list_refs != NULL)
		return s->ops->list_refs(s, ctx, error);
	g_autoptr(GPtrArray) statuses = content_list_statuses(s, ctx, NULL, error);
	if (statuses == NULL)
		return NULL;
	GPtrArray *refs = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < statuses->len; i++)
		g_ptr_array_add(refs, g_strdup(((ContentStatus *)statuses->pdata[i])->ref));
	return refs;
}

bool content_abort(ContentStore *s, const Ctx *ctx, const char *ref, GError **error)
{
	return s->ops->abort(s, ctx, str_or(ref, ""), error);
}

ContentWriter *content_writer(ContentStore *s, const Ctx *ctx, const char *ref, const Descriptor *desc,
                              GError **error)
{
	static const Descriptor none;
	if (str_empty(ref)) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "ref must not be empty");
		return NULL;
	}
	if (desc != NULL && !str_empty(desc->digest) && !check_digest(desc->digest, error))
		return NULL;
	return s->ops->writer(s, ctx, ref, desc != NULL ? desc : &none, error);
}

void content_store_free(ContentStore *s)
{
	if (s != NULL)
		s->ops->free(s);
}

ssize_t content_read_at(ContentReader *r, void *buf, size_t len, int64_t offset, GError **error)
{
	return r->ops->read_at(r, buf, len, offset, error);
}

void content_reader_close(ContentReader *r)
{
	if (r != NULL)
		r->ops->close(r);
}

bool content_write(ContentWriter *w, const void *data, size_t len, GError **error)
{
	return w->ops->write(w, data, len, error);
}

char *content_writer_digest(ContentWriter *w)
{
	return w->ops->digest(w);
}

bool content_commit(ContentWriter *w, const Ctx *ctx, int64_t size, const char *expected, GHashTable *labels,
                    GError **error)
{
	return w->ops->commit(w, ctx, size, str_empty(expected) ? NULL : expected, labels, error);
}

bool content_writer_status(ContentWriter *w, ContentStatus **ret, GError **error)
{
	return w->ops->status(w, ret, error);
}

bool content_truncate(ContentWriter *w, int64_t size, GError **error)
{
	return w->ops->truncate(w, size, error);
}

void content_writer_close(ContentWriter *w)
{
	if (w != NULL)
		w->ops->close(w);
}

int content_writer_fd(ContentWriter *w)
{
	return w->ops->fd != NULL ? w->ops->fd(w) : -1;
}

bool content_writer_advance(ContentWriter *w, int64_t len, Digester *digester, GError **error)
{
	if (w->ops->advance != NULL)
		return w->ops->advance(w, len, digester, error);
	digester_free(digester);
	return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "this content store has no files");
}

/* ---- helpers ---- */

/* The blob out of the descriptor itself, where it carries it and tells the truth. */
static bool read_embedded(const Descriptor *desc, char **ret, size_t *ret_len)
{
	if (desc->data == NULL)
		return false;
	size_t len;
	const void *data = g_bytes_get_data(desc->data, &len);
	if ((int64_t)len != desc->size || !digest_validate(desc->digest, NULL))
		return false;
	g_autofree char *algorithm = digest_algorithm(desc->digest);
	g_autoptr(Digester) digester = digester_new(algorithm);
	digester_update(digester, data, len);
	g_autofree char *actual = digester_digest(digester);
	if (strcmp(actual, desc->digest) != 0)
		return false;
	*ret = g_malloc(len + 1);
	memcpy(*ret, data, len);
	(*ret)[len] = '\0';
	*ret_len = len;
	return true;
}

bool content_read_blob(ContentStore *s, const Ctx *ctx, const Descriptor *desc, size_t max, char **ret,
                       size_t *ret_len, GError **error)
{
	if (read_embedded(desc, ret, ret_len))
		return true;
	g_autoptr(ContentReader) reader = content_reader(s, ctx, desc, error);
	if (reader == NULL)
		return false;
	if (reader->size < 0 || (uint64_t)reader->size > max)
		return error_set_class(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                       "content %s: %" G_GINT64_FORMAT " bytes are more than %zu",
		                       desc->digest, reader->size, max);
	size_t len = (size_t)reader->size, done = 0;
	g_autofree char *data = g_malloc(len + 1);
	while (done < len) {
		ssize_t n = content_read_at(reader, data + done, len - done, (int64_t)done, error);
		if (n < 0)
			return false;
		if (n == 0)
			return error_set(error, CTRD_ERR_UNKNOWN, "content %s: unexpected EOF", desc->digest);
		done += (size_t)n;
	}
	data[len] = '\0';
	*ret = g_steal_pointer(&data);
	*ret_len = len;
	return true;
}

ContentWriter *content_open_writer(ContentStore *s, const Ctx *ctx, const char *ref, const Descriptor *desc,
                                   GError **error)
{
	for (int64_t retry_ms = 16;; retry_ms = MIN(retry_ms * 2, 2048)) {
		g_autoptr(GError) locked = NULL;
		ContentWriter *w = content_writer(s, ctx, ref, desc, &locked);
		if (w != NULL)
			return w;
		if (!error_is(locked, CTRD_ERR_UNAVAILABLE) ||
		    !cancel_sleep(ctx->cancel, g_random_int_range(1, (int)retry_ms) * NS_PER_MS, NULL)) {
			g_propagate_error(error, g_steal_pointer(&locked));
			return NULL;
		}
	}
}

/* What an earlier try wrote of it counts, unless it can not be of this blob. */
static bool write_rest(ContentWriter *w, const void *data, size_t len, GError **error)
{
	g_autoptr(ContentStatus) status = NULL;
	if (!content_writer_status(w, &status, error))
		return error_prefix(error, "failed to get status");
	if (status->offset > (int64_t)len) {
		if (!content_truncate(w, 0, error))
			return error_prefix(error, "unable to resume write to %s", status->ref);
		status->offset = 0;
	}
	return content_write(w, (const char *)data + status->offset, len - (size_t)status->offset, error) ||
	       error_prefix(error, "failed to copy");
}

bool content_write_blob(ContentStore *s, const Ctx *ctx, const char *ref, const void *data, size_t len,
                        const Descriptor *desc, GHashTable *labels, GError **error)
{
	g_autoptr(GError) cause = NULL;
	g_autoptr(ContentWriter) w = content_open_writer(s, ctx, ref, desc, &cause);
	if (w == NULL) {
		if (error_is(cause, CTRD_ERR_ALREADY_EXISTS))
			return true;
		g_propagate_prefixed_error(error, g_steal_pointer(&cause), "failed to open writer: ");
		return false;
	}
	if (!write_rest(w, data, len, error))
		return false;
	int64_t size = desc != NULL ? desc->size : 0;
	const char *digest = desc != NULL ? desc->digest : NULL;
	if (content_commit(w, ctx, size, digest, labels, &cause) || error_is(cause, CTRD_ERR_ALREADY_EXISTS))
		return true;
	g_propagate_error(error, g_steal_pointer(&cause));
	return error_prefix(error, "failed commit on ref %s", Q(ref));
}
