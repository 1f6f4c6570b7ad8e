// SPDX-License-Identifier: Apache-2.0
/* containerd.services.content.v1; upstream plugins/services/content/contentserver. */
#include "store/content.h"
#include "base/digest.h"
#include "base/log.h"
#include "services/content/v1/content.pb-c.h"
#include "services/convert.h"
#include "services/services.h"

typedef Containerd__Services__Content__V1__Info PbInfo;
typedef Containerd__Services__Content__V1__Status PbStatus;
typedef Containerd__Services__Content__V1__WriteContentRequest WriteRequest;
typedef Containerd__Services__Content__V1__WriteContentResponse WriteResponse;

enum {
	LIST_BLOCK = 100,        // infos in one message, as upstream
	READ_CHUNK = 1024 * 1024 // bytes in one message, as upstream
};

static PbInfo *info_out(Arena *arena, const ContentInfo *info)
{
	PbInfo *out = pb_new(arena, &containerd__services__content__v1__info__descriptor);
	out->digest = arena_strdup(arena, info->digest);
	out->size = info->size;
	out->created_at = pb_time_out(arena, info->created_at);
	out->updated_at = pb_time_out(arena, info->updated_at);
	out->labels = pb_strmap_out(arena, info->labels,
	                            &containerd__services__content__v1__info__labels_entry__descriptor,
	                            &out->n_labels);
	return out;
}

static PbStatus *status_out(Arena *arena, const ContentStatus *status)
{
	PbStatus *out = pb_new(arena, &containerd__services__content__v1__status__descriptor);
	out->started_at = pb_time_out(arena, status->started_at);
	out->updated_at = pb_time_out(arena, status->updated_at);
	out->ref = arena_strdup(arena, status->ref);
	out->offset = status->offset;
	out->total = status->total;
	out->expected = arena_strdup(arena, status->expected);
	return out;
}

static bool check_digest(const char *digest, GError **error)
{
	if (digest_validate(digest, NULL))
		return true;
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "%s failed validation", Q(digest));
}

static bool content_info_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Content__V1__InfoRequest *req = request;
	Containerd__Services__Content__V1__InfoResponse *resp = response;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error) || !check_digest(req->digest, error))
		return false;
	g_autoptr(ContentInfo) info = content_info(rpc_call_impl(call), &ctx, req->digest, error);
	if (info == NULL)
		return false;
	resp->info = info_out(rpc_call_arena(call), info);
	return true;
}

static bool content_update_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Content__V1__UpdateRequest *req = request;
	Containerd__Services__Content__V1__UpdateResponse *resp = response;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error) || !check_digest(req->info != NULL ? req->info->digest : "", error))
		return false;
	g_autoptr(GHashTable) labels = pb_strmap_in(req->info->n_labels, req->info->labels);
	ContentInfo in = {
	        .digest = (char *)req->info->digest,
	        .size = req->info->size,
	        .created_at = pb_time_in(req->info->created_at),
	        .updated_at = pb_time_in(req->info->updated_at),
	        .labels = labels,
	};
	g_autoptr(ContentInfo) info = content_update(
	        rpc_call_impl(call), &ctx, &in, pb_mask_in(rpc_call_arena(call), req->update_mask), error);
	if (info == NULL)
		return false;
	resp->info = info_out(rpc_call_arena(call), info);
	return true;
}

/* Infos are sent in blocks, each in an arena of its own. */
typedef struct {
	RpcCall *call;
	Arena *arena;
	PbInfo *block[LIST_BLOCK];
	size_t n;
} ListBlock;

static bool list_flush(ListBlock *b, GError **error)
{
	if (b->n == 0)
		return true;
	Containerd__Services__Content__V1__ListContentResponse resp =
	        CONTAINERD__SERVICES__CONTENT__V1__LIST_CONTENT_RESPONSE__INIT;
	resp.info = b->block;
	resp.n_info = b->n;
	bool ok = rpc_call_send(b->call, &resp, error);
	arena_free(b->arena);
	b->arena = arena_new();
	b->n = 0;
	return ok;
}

static bool list_one(const ContentInfo *info, void *data, GError **error)
{
	ListBlock *b = data;
	b->block[b->n++] = info_out(b->arena, info);
	return b->n < LIST_BLOCK || list_flush(b, error);
}

static bool content_list_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Content__V1__ListContentRequest *req = request;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	ListBlock b = {.call = call, .arena = arena_new()};
	bool ok = content_walk(rpc_call_impl(call), &ctx,
	                       pb_strv_in(rpc_call_arena(call), req->n_filters, req->filters), list_one, &b,
	                       error) &&
	          list_flush(&b, error);
	arena_free(b.arena);
	return ok;
}

static bool content_delete_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Content__V1__DeleteContentRequest *req = request;
	Ctx ctx;
	return call_ctx(call, &ctx, error) && digest_validate(req->digest, error) &&
	       content_delete(rpc_call_impl(call), &ctx, req->digest, error);
}

static bool content_read_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Content__V1__ReadContentRequest *req = request;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	if (!digest_validate(req->digest, error))
		return error_prefix(error, "%s", req->digest);
	Descriptor desc = {.digest = (char *)req->digest};
	g_autoptr(ContentReader) reader = content_reader(rpc_call_impl(call), &ctx, &desc, error);
	if (reader == NULL)
		return false;
	int64_t offset = MAX(req->offset, 0);
	if (offset > reader->size)
		return error_set(error, CTRD_ERR_OUT_OF_RANGE, "read past object length %" PRId64 " bytes",
		                 reader->size);
	int64_t left = reader->size - offset;
	if (req->size > 0)
		left = MIN(left, req->size);
	g_autofree uint8_t *buf = g_malloc((gsize)MIN(MAX(left, 1), READ_CHUNK));
	Containerd__Services__Content__V1__ReadContentResponse resp =
	        CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_RESPONSE__INIT;
	while (left > 0) {
		ssize_t n = content_read_at(reader, buf, (size_t)MIN(left, READ_CHUNK), offset, error);
		if (n < 0)
			return false;
		if (n == 0)
			return error_set(error, CTRD_ERR_UNKNOWN, "unexpected EOF");
		resp.data = (ProtobufCBinaryData){(size_t)n, buf};
		if (!rpc_call_send(call, &resp, error))
			return false;
		/* upstream counts what it sent, not where it reads */
		resp.offset += n;
		offset += n;
		left -= n;
	}
	return true;
}

static bool content_status_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Content__V1__StatusRequest *req = request;
	Containerd__Services__Content__V1__StatusResponse *resp = response;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(ContentStatus) status = content_status(rpc_call_impl(call), &ctx, req->ref, error);
	if (status == NULL)
		return error_prefix(error, "could not get status for ref %s", Q(req->ref));
	resp->status = status_out(rpc_call_arena(call), status);
	return true;
}

static bool content_list_statuses_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Content__V1__ListStatusesRequest *req = request;
	Containerd__Services__Content__V1__ListStatusesResponse *resp = response;
	Arena *arena = rpc_call_arena(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(GPtrArray) list = content_list_statuses(
	        rpc_call_impl(call), &ctx, pb_strv_in(arena, req->n_filters, req->filters), error);
	if (list == NULL)
		return false;
	resp->n_statuses = list->len;
	resp->statuses = pb_vec(arena, list->len);
	for (guint i = 0; i < list->len; i++)
		resp->statuses[i] = status_out(arena, list->pdata[i]);
	return true;
}

static bool content_abort_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Content__V1__AbortRequest *req = request;
	Ctx ctx;
	return call_ctx(call, &ctx, error) && content_abort(rpc_call_impl(call), &ctx, req->ref, error);
}

/* ---- Write: one session is one writer ---- */

typedef struct {
	RpcCall *call;
	ContentStore *store;
	Ctx ctx;
	ContentWriter *writer;
	char *ref, *expected;
	int64_t total;
} WriteSession;

static void write_session_clear(WriteSession *s)
{
	if (s->writer != NULL)
		content_writer_close(s->writer);
	g_free(s->ref);
	g_free(s->expected);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WriteSession, write_session_clear)

/* A blob that is there already ends the session: the ingest is given up. */
static bool write_check_exists(WriteSession *s, const char *expected, GError **error)
{
	g_autoptr(ContentInfo) info = content_info(s->store, &s->ctx, expected, NULL);
	if (info == NULL)
		return true;
	g_clear_pointer(&s->writer, content_writer_close);
	g_autoptr(GError) abort_error = NULL;
	if (!content_abort(s->store, &s->ctx, s->ref, &abort_error))
		log_error_take(LOG_ERROR, g_steal_pointer(&abort_error), "failed to abort write", "ref",
		               s->ref, NULL);
	return error_set(error, CTRD_ERR_ALREADY_EXISTS, "blob with expected digest %s exists", expected);
}

static bool write_expect(WriteSession *s, const WriteRequest *req, GError **error)
{
	if (!str_empty(req->expected)) {
		g_free(s->expected);
		s->expected = g_strdup(req->expected);
		if (!digest_validate(s->expected, error) || !write_check_exists(s, s->expected, error))
			return false;
	}
	if (req->total > 0)
		s->total = req->total;
	return true;
}

/* WRITE and COMMIT: the data goes to the end of the ingest; offset 0 on one that has data starts it over. */
static bool write_data(WriteSession *s, const WriteRequest *req, int64_t offset, int64_t *ret_offset,
                       GError **error)
{
	if (req->offset > 0 && req->offset != offset)
		return error_set(error, CTRD_ERR_OUT_OF_RANGE,
		                 "write @%" PRId64 " must occur at current offset %" PRId64, req->offset,
		                 offset);
	if (req->offset == 0 && offset > 0) {
		if (!content_truncate(s->writer, 0, error))
			return error_prefix(error, "truncate failed");
		offset = 0;
	}
	if (req->data.len > 0 && !content_write(s->writer, req->data.data, req->data.len, error))
		return false;
	*ret_offset = offset + (int64_t)req->data.len;
	return true;
}

static bool write_one(WriteSession *s, const WriteRequest *req, GError **error)
{
	if (!write_expect(s, req, error))
		return false;
	g_autoptr(ContentStatus) status = NULL;
	if (!content_writer_status(s->writer, &status, error))
		return false;
	g_autoptr(Arena) arena = arena_new();
	WriteResponse resp = CONTAINERD__SERVICES__CONTENT__V1__WRITE_CONTENT_RESPONSE__INIT;
	resp.action = req->action;
	resp.offset = status->offset;
	g_autofree char *digest = NULL;
	switch (req->action) {
	case CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__STAT:
		resp.started_at = pb_time_out(arena, status->started_at);
		resp.updated_at = pb_time_out(arena, status->updated_at);
		resp.total = s->total;
		break;
	case CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE:
	case CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT:
		if (!write_data(s, req, status->offset, &resp.offset, error))
			return false;
		break;
	default:
		/* upstream answers unknown actions with nothing done */
		break;
	}
	if (req->action == CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT) {
		g_autoptr(GHashTable) labels = pb_strmap_in(req->n_labels, req->labels);
		if (!content_commit(s->writer, &s->ctx, s->total, s->expected, labels, error))
			return false;
	}
	digest = content_writer_digest(s->writer);
	resp.digest = digest;
	return rpc_call_send(s->call, &resp, error);
}

static bool content_write_(RpcCall *call, const void *request, void *response, GError **error)
{
	g_auto(WriteSession) s = {.call = call, .store = rpc_call_impl(call)};
	if (!call_ctx(call, &s.ctx, error))
		return false;
	for (;;) {
		autopb WriteRequest *req = NULL;
		if (!rpc_call_recv(call, (ProtobufCMessage **)&req, error))
			return false;
		if (req == NULL)
			return true;
		if (s.writer == NULL) {
			if (str_empty(req->ref))
				return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
				                 "first message must have a reference");
			s.ref = g_strdup(req->ref);
			s.total = req->total;
			if (!str_empty(req->expected))
				s.expected = g_strdup(req->expected);
			Descriptor desc = {.size = req->total, .digest = s.expected};
			s.writer = content_writer(s.store, &s.ctx, s.ref, &desc, error);
			if (s.writer == NULL)
				return false;
		}
		if (!write_one(&s, req, error))
			return false;
		if (req->action == CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT)
			return true;
	}
}

RpcService content_service_new(ContentStore *content)
{
	static const RpcMethod methods[] = {
	        {"Info", RPC_UNARY, RPC_ON_WORKER, content_info_},
	        {"Update", RPC_UNARY, RPC_ON_WORKER, content_update_},
	        {"List", RPC_SERVER_STREAM, RPC_ON_WORKER, content_list_},
	        {"Delete", RPC_UNARY, RPC_ON_WORKER, content_delete_},
	        {"Read", RPC_SERVER_STREAM, RPC_ON_WORKER, content_read_},
	        {"Status", RPC_UNARY, RPC_ON_WORKER, content_status_},
	        {"ListStatuses", RPC_UNARY, RPC_ON_WORKER, content_list_statuses_},
	        {"Write", RPC_BIDI_STREAM, RPC_ON_WORKER, content_write_},
	        {"Abort", RPC_UNARY, RPC_ON_WORKER, content_abort_},
	};
	return (RpcService){
	        .descriptor = &containerd__services__content__v1__content__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = content,
	};
}
