// SPDX-License-Identifier: Apache-2.0

#include "store/content-proxy.h"
#include "base/error.h"
#include "base/util.h"
#include "services/content/v1/content.pb-c.h"
#include "store/message-proxy.h"
#include <string.h>

/* What one message of a write holds; the peer answers each. */
#define WRITE_CHUNK ((size_t)1024 * 1024)

typedef struct {
	ContentStore base;
	RpcClient *client;
} Proxy;

#define PB(name) containerd__services__content__v1__##name
#define PB_TYPE(name) Containerd__Services__Content__V1__##name
#define ACTION(name) CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__##name
#define SERVICE (&PB(content__descriptor))
/* An initialised message on the stack. */
#define MESSAGE(type, descriptor_name, var)                                                                  \
	PB_TYPE(type) var;                                                                                   \
	api_init(&PB(descriptor_name), &var)

typedef PB_TYPE(Info) PbInfo;
typedef PB_TYPE(Status) PbStatus;
typedef PB_TYPE(WriteContentRequest) WriteRequest;
typedef PB_TYPE(WriteContentResponse) WriteResponse;

static Proxy *proxy_of(ContentStore *s)
{
	return (Proxy *)s;
}

static RpcCallOptions options_of(const Ctx *ctx)
{
	return (RpcCallOptions){.ns = ctx->ns, .lease = ctx->lease, .cancel = ctx->cancel};
}

static bool call(ContentStore *self, const Ctx *ctx, const char *method, const void *request, void *ret,
                 GError **error)
{
	RpcCallOptions options = options_of(ctx);
	return rpc_client_call(proxy_of(self)->client, SERVICE, method, &options, request, ret, error);
}

/* ---- messages ---- */

/* NULL and an error where there is none: no store answers so. */
static ContentInfo *info_in(const PbInfo *in, GError **error)
{
	if (in == NULL) {
		error_set(error, CTRD_ERR_UNKNOWN, "content store's answer has no info");
		return NULL;
	}
	ContentInfo *info = g_new0(ContentInfo, 1);
	info->digest = g_strdup(str_or(in->digest, ""));
	info->size = in->size;
	info->created_at = message_time_in(in->created_at);
	info->updated_at = message_time_in(in->updated_at);
	info->labels = message_labels_in(in->n_labels, in->labels);
	return info;
}

static ContentStatus *status_in(const PbStatus *in)
{
	ContentStatus *status = g_new0(ContentStatus, 1);
	status->ref = g_strdup(str_or(in->ref, ""));
	status->offset = in->offset;
	status->total = in->total;
	status->expected = str_empty(in->expected) ? NULL : g_strdup(in->expected);
	status->started_at = message_time_in(in->started_at);
	status->updated_at = message_time_in(in->updated_at);
	return status;
}

static size_t strv_len(const char *const *strv)
{
	return strv != NULL ? g_strv_length((char **)strv) : 0;
}

/* ---- calls ---- */

static ContentInfo *proxy_info(ContentStore *self, const Ctx *ctx, const char *digest, GError **error)
{
	MESSAGE(InfoRequest, info_request__descriptor, req);
	req.digest = digest;
	autopb PB_TYPE(InfoResponse) *resp = NULL;
	return call(self, ctx, "Info", &req, &resp, error) ? info_in(resp->info, error) : NULL;
}

static ContentInfo *proxy_update(ContentStore *self, const Ctx *ctx, const ContentInfo *info,
                                 const char *const *paths, GError **error)
{
	g_autoptr(Arena) arena = arena_new();
	MESSAGE(UpdateRequest, update_request__descriptor, req);
	PbInfo *out = message_new(arena, &PB(info__descriptor));
	Google__Protobuf__FieldMask *mask = message_new(arena, &google__protobuf__field_mask__descriptor);
	out->digest = info->digest;
	out->size = info->size;
	out->labels =
	        message_labels_out(arena, info->labels, &PB(info__labels_entry__descriptor), &out->n_labels);
	mask->n_paths = strv_len(paths);
	mask->paths = mask->n_paths > 0 ? arena_memdup(arena, paths, mask->n_paths * sizeof *paths) : NULL;
	req.info = out;
	req.update_mask = mask;
	autopb PB_TYPE(UpdateResponse) *resp = NULL;
	return call(self, ctx, "Update", &req, &resp, error) ? info_in(resp->info, error) : NULL;
}

static bool walk_block(const PB_TYPE(ListContentResponse) * block, ContentWalkFn fn, void *data,
                       GError **error)
{
	for (size_t i = 0; i < block->n_info; i++) {
		g_autoptr(ContentInfo) info = info_in(block->info[i], error);
		if (info == NULL || !fn(info, data, error))
			return false;
	}
	return true;
}

static bool proxy_walk(ContentStore *self, const Ctx *ctx, const char *const *filters, ContentWalkFn fn,
                       void *data, GError **error)
{
	MESSAGE(ListContentRequest, list_content_request__descriptor, req);
	RpcCallOptions options = options_of(ctx);
	req.n_filters = strv_len(filters);
	req.filters = (const char **)filters;
	g_autoptr(RpcStream) stream = rpc_client_stream(proxy_of(self)->client, SERVICE, "List",
	                                                RPC_SERVER_STREAM, &options, &req, error);
	while (stream != NULL) {
		autopb PB_TYPE(ListContentResponse) *block = NULL;
		if (!rpc_stream_recv(stream, &block, error))
			return false;
		if (block == NULL)
			return true;
		if (!walk_block(block, fn, data, error))
			return false;
	}
	return false;
}

static bool proxy_remove(ContentStore *self, const Ctx *ctx, const char *digest, GError **error)
{
	MESSAGE(DeleteContentRequest, delete_content_request__descriptor, req);
	req.digest = digest;
	autopb Google__Protobuf__Empty *resp = NULL;
	return call(self, ctx, "Delete", &req, &resp, error);
}

static ContentStatus *proxy_status(ContentStore *self, const Ctx *ctx, const char *ref, GError **error)
{
	MESSAGE(StatusRequest, status_request__descriptor, req);
	req.ref = ref;
	autopb PB_TYPE(StatusResponse) *resp = NULL;
	if (!call(self, ctx, "Status", &req, &resp, error))
		return NULL;
	if (resp->status == NULL) {
		error_set(error, CTRD_ERR_UNKNOWN, "content store's answer has no status");
		return NULL;
	}
	return status_in(resp->status);
}

static GPtrArray *proxy_list_statuses(ContentStore *self, const Ctx *ctx, const char *const *filters,
                                      GError **error)
{
	MESSAGE(ListStatusesRequest, list_statuses_request__descriptor, req);
	req.n_filters = strv_len(filters);
	req.filters = (const char **)filters;
	autopb PB_TYPE(ListStatusesResponse) *resp = NULL;
	if (!call(self, ctx, "ListStatuses", &req, &resp, error))
		return NULL;
	GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)content_status_free);
	for (size_t i = 0; i < resp->n_statuses; i++)
		g_ptr_array_add(list, status_in(resp->statuses[i]));
	return list;
}

static bool proxy_abort(ContentStore *self, const Ctx *ctx, const char *ref, GError **error)
{
	MESSAGE(AbortRequest, abort_request__descriptor, req);
	req.ref = ref;
	autopb Google__Protobuf__Empty *resp = NULL;
	return call(self, ctx, "Abort", &req, &resp, error);
}

/* ---- reading and writing: a context of their own, for as long as they live ---- */

typedef struct {
	char *ns, *lease;
	Cancel *cancel;
} OwnCtx;

static void own_ctx_init(OwnCtx *own, const Ctx *ctx)
{
	*own = (OwnCtx){g_strdup(ctx->ns), g_strdup(ctx->lease),
	                ctx->cancel != NULL ? cancel_ref(ctx->cancel) : NULL};
}

static void own_ctx_clear(OwnCtx *own)
{
	g_free(own->ns);
	g_free(own->lease);
	if (own->cancel != NULL)
		cancel_unref(own->cancel);
}

static RpcCallOptions own_options(const OwnCtx *own)
{
	return (RpcCallOptions){.ns = own->ns, .lease = own->lease, .cancel = own->cancel};
}

typedef struct {
	ContentReader base;
	RpcClient *client;
	OwnCtx ctx;
	char *digest;
} ProxyReader;

/* One call each time, as upstream: reads far apart are as good as reads in a row. */
static ssize_t reader_read_at(ContentReader *self, void *buf, size_t len, int64_t offset, GError **error)
{
	ProxyReader *r = (ProxyReader *)self;
	if (len == 0 || offset >= self->size)
		return 0;
	len = (size_t)MIN((int64_t)len, self->size - offset); // a size of 0 or too much would mean all
	MESSAGE(ReadContentRequest, read_content_request__descriptor, req);
	RpcCallOptions options = own_options(&r->ctx);
	req.digest = r->digest;
	req.offset = offset;
	req.size = (int64_t)len;
	g_autoptr(RpcStream) stream =
	        rpc_client_stream(r->client, SERVICE, "Read", RPC_SERVER_STREAM, &options, &req, error);
	if (stream == NULL)
		return -1;
	size_t done = 0;
	while (done < len) {
		autopb PB_TYPE(ReadContentResponse) *resp = NULL;
		if (!rpc_stream_recv(stream, &resp, error))
			return -1;
		if (resp == NULL)
			break;
		size_t n = MIN(resp->data.len, len - done);
		if (n > 0)
			memcpy((char *)buf + done, resp->data.data, n);
		done += n;
	}
	return (ssize_t)done;
}

static void reader_close(ContentReader *self)
{
	ProxyReader *r = (ProxyReader *)self;
	own_ctx_clear(&r->ctx);
	rpc_client_unref(r->client);
	g_free(r->digest);
	g_free(r);
}

static ContentReader *proxy_reader(ContentStore *self, const Ctx *ctx, const Descriptor *desc, GError **error)
{
	static const ContentReaderOps ops = {.read_at = reader_read_at, .close = reader_close};
	g_autoptr(ContentInfo) info = proxy_info(self, ctx, desc->digest, error);
	if (info == NULL)
		return NULL;
	ProxyReader *r = g_new0(ProxyReader, 1);
	r->base = (ContentReader){.ops = &ops, .size = info->size, .fd = -1};
	r->client = rpc_client_ref(proxy_of(self)->client);
	r->digest = g_strdup(desc->digest);
	own_ctx_init(&r->ctx, ctx);
	return &r->base;
}

typedef struct {
	ContentWriter base;
	OwnCtx ctx;
	RpcStream *stream; // NULL: finished
	char *ref, *digest;
	int64_t offset;
} ProxyWriter;

static ProxyWriter *writer_of(ContentWriter *w)
{
	return (ProxyWriter *)w;
}

/* One message and its answer. */
static WriteResponse *exchange(ProxyWriter *w, const WriteRequest *req, GError **error)
{
	if (w->stream == NULL) {
		error_set_class(error, CTRD_ERR_FAILED_PRECONDITION, "writer is finished");
		return NULL;
	}
	WriteResponse *resp = NULL;
	g_autoptr(GError) not_sent = NULL;
	bool sent = rpc_stream_send(w->stream, req, &not_sent);
	// where it could not be sent because the peer has ended the call, the reason is what it said last
	if (!rpc_stream_recv(w->stream, &resp, error))
		return NULL;
	if (resp == NULL || !sent) {
		if (resp != NULL)
			protobuf_c_message_free_unpacked(&resp->base, NULL);
		if (not_sent != NULL)
			g_propagate_error(error, g_steal_pointer(&not_sent));
		else
			error_set(error, CTRD_ERR_UNKNOWN, "EOF");
		return NULL;
	}
	if (!str_empty(resp->digest)) {
		g_free(w->digest);
		w->digest = g_strdup(resp->digest);
	}
	return resp;
}

static bool write_chunk(ProxyWriter *w, const void *data, size_t len, GError **error)
{
	MESSAGE(WriteContentRequest, write_content_request__descriptor, req);
	req.action = ACTION(WRITE);
	req.offset = w->offset;
	req.data = (ProtobufCBinaryData){len, (uint8_t *)data};
	autopb WriteResponse *resp = exchange(w, &req, error);
	if (resp == NULL)
		return error_prefix(error, "failed to send write");
	int64_t written = resp->offset - w->offset;
	if (written != (int64_t)len)
		return error_set(error, CTRD_ERR_UNKNOWN, "short write");
	w->offset = resp->offset;
	return true;
}

static bool writer_write(ContentWriter *self, const void *data, size_t len, GError **error)
{
	for (size_t done = 0; done < len; done += MIN(WRITE_CHUNK, len - done)) {
		if (!write_chunk(writer_of(self), (const char *)data + done, MIN(WRITE_CHUNK, len - done),
		                 error))
			return false;
	}
	return true;
}

static char *writer_digest(ContentWriter *self)
{
	return g_strdup(str_or(writer_of(self)->digest, ""));
}

static bool writer_status(ContentWriter *self, ContentStatus **ret, GError **error)
{
	ProxyWriter *w = writer_of(self);
	MESSAGE(WriteContentRequest, write_content_request__descriptor, req);
	req.action = ACTION(STAT);
	autopb WriteResponse *resp = exchange(w, &req, error);
	if (resp == NULL)
		return error_prefix(error, "error getting writer status");
	ContentStatus *status = g_new0(ContentStatus, 1);
	status->ref = g_strdup(w->ref);
	status->offset = resp->offset;
	status->total = resp->total;
	status->started_at = message_time_in(resp->started_at);
	status->updated_at = message_time_in(resp->updated_at);
	*ret = status;
	return true;
}

/* The next write says where it goes, and the peer starts over where that is 0. */
static bool writer_truncate(ContentWriter *self, int64_t size, GError **error)
{
	writer_of(self)->offset = size;
	return true;
}

static bool commit_check(const WriteResponse *resp, int64_t size, const char *expected, GError **error)
{
	if (size != 0 && resp->offset != size)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "unexpected size: %" G_GINT64_FORMAT " != %" G_GINT64_FORMAT, resp->offset,
		                 size);
	if (expected != NULL && strcmp(str_or(resp->digest, ""), expected) != 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "unexpected digest: %s != %s",
		                 str_or(resp->digest, ""), expected);
	return true;
}

static void writer_finish(ProxyWriter *w)
{
	if (w->stream != NULL)
		rpc_stream_close_send(w->stream, NULL);
	g_clear_pointer(&w->stream, rpc_stream_free);
}

static bool writer_commit(ContentWriter *self, const Ctx *ctx, int64_t size, const char *expected,
                          GHashTable *labels, GError **error)
{
	ProxyWriter *w = writer_of(self);
	g_autoptr(Arena) arena = arena_new();
	MESSAGE(WriteContentRequest, write_content_request__descriptor, req);
	req.action = ACTION(COMMIT);
	req.total = size;
	req.offset = w->offset;
	req.expected = str_or(expected, "");
	req.labels = message_labels_out(arena, labels, &PB(write_content_request__labels_entry__descriptor),
	                                &req.n_labels);
	autopb WriteResponse *resp = exchange(w, &req, error);
	bool ok = resp != NULL ? commit_check(resp, size, expected, error)
	                       : error_prefix(error, "commit failed");
	if (resp != NULL)
		w->offset = resp->offset;
	writer_finish(w);
	return ok;
}

static void writer_close(ContentWriter *self)
{
	ProxyWriter *w = writer_of(self);
	writer_finish(w);
	own_ctx_clear(&w->ctx);
	g_free(w->ref);
	g_free(w->digest);
	g_free(w);
}

/* The peer locks the ref with the first message and says how far it is. */
static bool negotiate(ProxyWriter *w, RpcClient *client, const Descriptor *desc, GError **error)
{
	RpcCallOptions options = own_options(&w->ctx);
	w->stream = rpc_client_stream(client, SERVICE, "Write", RPC_BIDI_STREAM, &options, NULL, error);
	if (w->stream == NULL)
		return false;
	MESSAGE(WriteContentRequest, write_content_request__descriptor, req);
	req.action = ACTION(STAT);
	req.ref = w->ref;
	req.total = desc->size;
	req.expected = str_or(desc->digest, "");
	autopb WriteResponse *resp = exchange(w, &req, error);
	if (resp == NULL)
		return false;
	w->offset = resp->offset;
	return true;
}

static ContentWriter *proxy_writer(ContentStore *self, const Ctx *ctx, const char *ref,
                                   const Descriptor *desc, GError **error)
{
	static const ContentWriterOps ops = {
	        .write = writer_write,
	        .digest = writer_digest,
	        .commit = writer_commit,
	        .status = writer_status,
	        .truncate = writer_truncate,
	        .close = writer_close,
	};
	ProxyWriter *w = g_new0(ProxyWriter, 1);
	w->base.ops = &ops;
	w->ref = g_strdup(ref);
	own_ctx_init(&w->ctx, ctx);
	if (!negotiate(w, proxy_of(self)->client, desc, error)) {
		writer_close(&w->base);
		return NULL;
	}
	return &w->base;
}

static void proxy_free(ContentStore *self)
{
	rpc_client_unref(proxy_of(self)->client);
	g_free(self);
}

ContentStore *content_proxy_new(RpcClient *client)
{
	static const ContentStoreOps ops = {
	        .info = proxy_info,
	        .update = proxy_update,
	        .walk = proxy_walk,
	        .remove = proxy_remove,
	        .reader = proxy_reader,
	        .status = proxy_status,
	        .list_statuses = proxy_list_statuses,
	        .abort = proxy_abort,
	        .writer = proxy_writer,
	        .free = proxy_free,
	};
	Proxy *p = g_new0(Proxy, 1);
	p->base.ops = &ops;
	p->client = rpc_client_ref(client);
	return &p->base;
}
