// SPDX-License-Identifier: Apache-2.0
/* containerd.services.transfer.v1; upstream plugins/services/transfer,
 * core/transfer/{registry,image,archive}. */
#include "transfer/transfer.h"
#include "base/log.h"
#include "message.h"
#include "oci/media-types.h"
#include "services/convert.h"
#include "services/services.h"
#include "services/streams.h"
#include "services/transfer/v1/transfer.pb-c.h"
#include "transfer/limits.h"
#include "types/transfer/imagestore.pb-c.h"
#include "types/transfer/importexport.pb-c.h"
#include "types/transfer/progress.pb-c.h"
#include "types/transfer/registry.pb-c.h"
#include <string.h>

typedef Containerd__Types__Transfer__OCIRegistry PbRegistry;
typedef Containerd__Types__Transfer__RegistryResolver PbResolver;
typedef Containerd__Types__Transfer__ImageStore PbStore;
typedef Containerd__Types__Transfer__ImageImportStream PbImport;
typedef Containerd__Types__Transfer__ImageExportStream PbExport;

typedef struct {
	Transfer *transfer;
	Streams *streams;
} TransferService;

/* One call: what source and destination name, turned into the domain's. */
typedef struct {
	TransferService *service;
	Ctx ctx;
	Stream *progress, *auth;
	StreamWriter *logs;
	Semaphore *turn; // one question, one line of the log at a time
	char *auth_reference;
} Operation;

static void operation_clear(Operation *op)
{
	if (op->progress != NULL) {
		stream_close(op->progress);
		stream_unref(op->progress);
	}
	if (op->auth != NULL) {
		stream_close(op->auth);
		stream_unref(op->auth);
	}
	g_clear_pointer(&op->logs, stream_writer_free);
	semaphore_free(op->turn);
	g_free(op->auth_reference);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Operation, operation_clear)

static Stream *find_stream(Operation *op, const char *name, GError **error)
{
	return streams_get(op->service->streams, str_or(op->ctx.ns, ""), name, error);
}

/* ---- Progress ---- */

static void send_progress(const TransferProgress *p, void *data)
{
	Operation *op = data;
	g_autoptr(Arena) arena = arena_new();
	Containerd__Types__Transfer__Progress out = CONTAINERD__TYPES__TRANSFER__PROGRESS__INIT;
	out.event = p->event;
	out.name = str_or(p->name, "");
	out.n_parents = p->parents != NULL ? g_strv_length((char **)p->parents) : 0;
	out.parents = (const char **)p->parents;
	out.progress = p->progress;
	out.total = p->total;
	if (p->desc != NULL)
		out.desc = pb_descriptor_out(arena, p->desc);
	stream_offer(op->progress, &out);
}

static TransferProgressSink progress_sink(Operation *op)
{
	return (TransferProgressSink){.fn = op->progress != NULL ? send_progress : NULL, .data = op};
}

/* ---- Registry ---- */

/* Asks the client; upstream does not pass the challenges on either. */
static bool ask_credentials(const char *host, Cancel *cancel, Credentials *ret, void *data, GError **error)
{
	Operation *op = data;
	Containerd__Types__Transfer__AuthRequest request = CONTAINERD__TYPES__TRANSFER__AUTH_REQUEST__INIT;
	request.host = host;
	request.reference = op->auth_reference;
	g_auto(Any) any = {0};
	if (!semaphore_acquire(op->turn, cancel, error))
		return false;
	bool ok = stream_send(op->auth, &request, error) && stream_recv(op->auth, cancel, &any, error);
	semaphore_release(op->turn);
	if (!ok)
		return false;
	if (!any_is_set(&any))
		return error_set(error, CTRD_ERR_UNKNOWN, "EOF");
	gsize len = 0;
	const void *bytes = g_bytes_get_data(any.value, &len);
	autopb Containerd__Types__Transfer__AuthResponse *response =
	        api_unpack(&containerd__types__transfer__auth_response__descriptor, NULL, bytes, len, error);
	if (response == NULL)
		return false;
	switch (response->authtype) {
	case CONTAINERD__TYPES__TRANSFER__AUTH_TYPE__CREDENTIALS:
		ret->username = g_strdup(response->username);
		ret->secret = g_strdup(response->secret);
		break;
	case CONTAINERD__TYPES__TRANSFER__AUTH_TYPE__REFRESH:
		ret->secret = g_strdup(response->secret);
		break;
	case CONTAINERD__TYPES__TRANSFER__AUTH_TYPE__HEADER:
		ret->header = g_strdup(response->secret);
		break;
	default:
		break;
	}
	if (ret->header != NULL && strpbrk(ret->header, "\r\n") != NULL)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "authorization header with a line break");
	return true;
}

static void trace_line(const char *text, void *data)
{
	Operation *op = data;
	if (op->logs == NULL) {
		log_info("registry", "http", text, NULL);
	} else if (semaphore_acquire(op->turn, op->ctx.cancel, NULL)) {
		stream_writer_write(op->logs, text, strlen(text), NULL);
		semaphore_release(op->turn);
	}
}

static char **header_lines(const PbResolver *r, GError **error)
{
	g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GHashTable) map = pb_strmap_in(r->n_headers, r->headers);
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(map);
	for (guint i = 0; i < keys->len; i++) {
		const char *key = keys->pdata[i], *value = strmap_get(map, key);
		if (strpbrk(key, "\r\n: ") != NULL || strpbrk(value, "\r\n") != NULL) {
			error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "header %s", Q(key));
			return NULL;
		}
		g_ptr_array_add(lines, g_strdup_printf("%s: %s", key, value));
	}
	g_ptr_array_add(lines, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&lines), FALSE);
}

typedef struct {
	PbRegistry *pb;
	TransferRegistry registry;
	char **headers;
	HttpTrace trace;
} Registry;

static void registry_clear(Registry *r)
{
	pb_free(r->pb);
	g_strfreev(r->headers);
	registry_settings_unref(r->registry.settings);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Registry, registry_clear)

static bool registry_in(Operation *op, const Google__Protobuf__Any *any, Registry *ret, GError **error)
{
	ret->pb = api_any_unpack(any, &containerd__types__transfer__ociregistry__descriptor, NULL, error);
	if (ret->pb == NULL)
		return false;
	ret->registry.reference = ret->pb->reference;
	const PbResolver *r = ret->pb->resolver;
	if (r == NULL)
		return true;
	op->turn = semaphore_new(1);
	if (!str_empty(r->host_dir))
		ret->registry.settings = registry_settings_new(r->host_dir);
	ret->registry.default_scheme = str_empty(r->default_scheme) ? NULL : r->default_scheme;
	if (!str_empty(r->default_scheme) && !g_str_equal(r->default_scheme, "http") &&
	    !g_str_equal(r->default_scheme, "https"))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "scheme %s", Q(r->default_scheme));
	if (!str_empty(r->auth_stream)) {
		op->auth = find_stream(op, r->auth_stream, error);
		if (op->auth == NULL)
			return false;
		op->auth_reference = g_strdup(ret->pb->reference);
		ret->registry.credentials = ask_credentials;
		ret->registry.credentials_data = op;
	}
	ret->headers = header_lines(r, error);
	ret->registry.headers = (const char *const *)ret->headers;
	if (ret->headers == NULL)
		return false;
	if (r->http_debug != CONTAINERD__TYPES__TRANSFER__HTTPDEBUG__DISABLED) {
		if (!str_empty(r->logs_stream)) {
			g_autoptr(Stream) s = find_stream(op, r->logs_stream, error);
			if (s == NULL)
				return error_prefix(error, "failed to get stream for HTTP debug logs");
			op->logs = stream_writer_new(s, op->ctx.cancel);
		}
		ret->trace = (HttpTrace){
		        .dump = r->http_debug != CONTAINERD__TYPES__TRANSFER__HTTPDEBUG__TRACE,
		        .events = r->http_debug != CONTAINERD__TYPES__TRANSFER__HTTPDEBUG__DEBUG,
		        .line = trace_line,
		        .data = op,
		};
		ret->registry.trace = &ret->trace;
	}
	return true;
}

/* ---- Image store ---- */

typedef struct {
	PbStore *pb;
	TransferImages images;
} Images;

static void reference_free(void *data)
{
	TransferReference *r = data;
	g_free(r->name);
	g_free(r);
}

static void unpack_free(void *data)
{
	TransferUnpack *u = data;
	platform_clear(&u->platform);
	g_free(u->snapshotter);
	g_free(u);
}

static void images_clear(Images *i)
{
	pb_free(i->pb);
	g_clear_pointer(&i->images.labels, g_hash_table_unref);
	g_clear_pointer(&i->images.platforms, g_ptr_array_unref);
	g_clear_pointer(&i->images.extra_references, g_ptr_array_unref);
	g_clear_pointer(&i->images.unpacks, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Images, images_clear)

static char *or_null(const char *s)
{
	return str_empty(s) ? NULL : g_strdup(s);
}

static void platform_in(Platform *ret, const Containerd__Types__Platform *p)
{
	*ret = (Platform){0};
	if (p == NULL)
		return;
	ret->os = or_null(p->os);
	ret->architecture = or_null(p->architecture);
	ret->variant = or_null(p->variant);
	ret->os_version = or_null(p->os_version);
	if (p->n_os_features > 0) {
		ret->os_features = g_new0(char *, p->n_os_features + 1);
		for (size_t i = 0; i < p->n_os_features; i++)
			ret->os_features[i] = g_strdup(p->os_features[i]);
	}
}

static GPtrArray *platforms_in(size_t n, Containerd__Types__Platform *const *in)
{
	GPtrArray *out = g_ptr_array_new_with_free_func((GDestroyNotify)platform_free);
	for (size_t i = 0; i < n; i++) {
		Platform *p = g_new0(Platform, 1);
		platform_in(p, in[i]);
		g_ptr_array_add(out, p);
	}
	return out;
}

static bool images_in(const Google__Protobuf__Any *any, Images *ret, GError **error)
{
	PbStore *pb = api_any_unpack(any, &containerd__types__transfer__image_store__descriptor, NULL, error);
	if (pb == NULL)
		return false;
	ret->pb = pb;
	ret->images = (TransferImages){
	        .name = pb->name,
	        .labels = pb_strmap_in(pb->n_labels, pb->labels),
	        .platforms = platforms_in(pb->n_platforms, pb->platforms),
	        .all_metadata = pb->all_metadata,
	        .manifest_limit = pb->manifest_limit,
	        .extra_references = g_ptr_array_new_with_free_func(reference_free),
	        .unpacks = g_ptr_array_new_with_free_func(unpack_free),
	};
	for (size_t i = 0; i < pb->n_extra_references; i++) {
		TransferReference *r = g_new0(TransferReference, 1);
		*r = (TransferReference){
		        .name = g_strdup(pb->extra_references[i]->name),
		        .is_prefix = pb->extra_references[i]->is_prefix,
		        .allow_overwrite = pb->extra_references[i]->allow_overwrite,
		        .add_digest = pb->extra_references[i]->add_digest,
		        .skip_named_digest = pb->extra_references[i]->skip_named_digest,
		};
		g_ptr_array_add(ret->images.extra_references, r);
	}
	for (size_t i = 0; i < pb->n_unpacks; i++) {
		TransferUnpack *u = g_new0(TransferUnpack, 1);
		platform_in(&u->platform, pb->unpacks[i]->platform);
		u->snapshotter = g_strdup(pb->unpacks[i]->snapshotter);
		g_ptr_array_add(ret->images.unpacks, u);
	}
	return true;
}

/* ---- The pairs of source and destination ---- */

static bool do_pull(Operation *op, const Google__Protobuf__Any *from, const Google__Protobuf__Any *to,
                    GError **error)
{
	g_auto(Registry) registry = {0};
	g_auto(Images) images = {0};
	return registry_in(op, from, &registry, error) && images_in(to, &images, error) &&
	       transfer_pull(op->service->transfer, &op->ctx, &registry.registry, &images.images,
	                     progress_sink(op), error);
}

static bool do_push(Operation *op, const Google__Protobuf__Any *from, const Google__Protobuf__Any *to,
                    GError **error)
{
	g_auto(Registry) registry = {0};
	g_auto(Images) images = {0};
	return images_in(from, &images, error) && registry_in(op, to, &registry, error) &&
	       transfer_push(op->service->transfer, &op->ctx, &images.images, &registry.registry,
	                     progress_sink(op), error);
}

static bool do_tag(Operation *op, const Google__Protobuf__Any *from, const Google__Protobuf__Any *to,
                   GError **error)
{
	g_auto(Images) source = {0}, target = {0};
	return images_in(from, &source, error) && images_in(to, &target, error) &&
	       transfer_tag(op->service->transfer, &op->ctx, &source.images, &target.images, error);
}

/* Takes the padding that follows an archive's end, so that the client can send all that it has: one that is
 * cut off in the middle of it reports an error. */
static void drain(StreamReader *reader)
{
	enum { PADDING_MAX = 1024 * 1024 };
	char buf[4096];
	ssize_t n = 1;
	for (size_t all = 0; n > 0 && all < PADDING_MAX; all += (size_t)MAX(n, 0))
		n = stream_reader_read(reader, buf, sizeof(buf), NULL);
}

static bool do_import(Operation *op, const Google__Protobuf__Any *from, const Google__Protobuf__Any *to,
                      GError **error)
{
	autopb PbImport *pb = api_any_unpack(
	        from, &containerd__types__transfer__image_import_stream__descriptor, NULL, error);
	g_auto(Images) images = {0};
	if (pb == NULL || !images_in(to, &images, error))
		return false;
	g_autoptr(Stream) stream = find_stream(op, pb->stream, error);
	if (stream == NULL)
		return false;
	g_autoptr(StreamReader) reader = stream_reader_new(stream, op->ctx.cancel);
	TransferImport import = {
	        .source = stream_reader_read,
	        .data = reader,
	        .media_type = pb->media_type,
	        .force_compress = pb->force_compress,
	};
	if (!transfer_import(op->service->transfer, &op->ctx, &import, &images.images, progress_sink(op),
	                     error))
		return false;
	drain(reader);
	return true;
}

static bool do_export(Operation *op, const Google__Protobuf__Any *from, const Google__Protobuf__Any *to,
                      GError **error)
{
	autopb PbExport *pb = api_any_unpack(
	        to, &containerd__types__transfer__image_export_stream__descriptor, NULL, error);
	g_auto(Images) images = {0};
	if (pb == NULL || !images_in(from, &images, error))
		return false;
	g_autoptr(Stream) stream = find_stream(op, pb->stream, error);
	if (stream == NULL)
		return false;
	g_autoptr(StreamWriter) writer = stream_writer_new(stream, op->ctx.cancel);
	g_autoptr(GPtrArray) platforms = platforms_in(pb->n_platforms, pb->platforms);
	TransferExport export = {
	        .sink = stream_writer_write,
	        .data = writer,
	        .platforms = platforms,
	        .all_platforms = pb->all_platforms,
	        .skip_compatibility_manifest = pb->skip_compatibility_manifest,
	        .skip_non_distributable = pb->skip_non_distributable,
	};
	return transfer_export(op->service->transfer, &op->ctx, &images.images, &export, progress_sink(op),
	                       error);
}

/* Beyond upstream, for `ctr registry explain`: what a pull would do, as JSON on the stream. */
static bool do_explain(Operation *op, const Google__Protobuf__Any *from, const Google__Protobuf__Any *to,
                       GError **error)
{
	g_auto(Registry) registry = {0};
	autopb PbExport *pb = api_any_unpack(
	        to, &containerd__types__transfer__image_export_stream__descriptor, NULL, error);
	if (pb == NULL)
		return false;
	bool attempt = g_str_equal(pb->media_type, TRANSFER_EXPLAIN_ATTEMPT);
	if (!attempt && !g_str_equal(pb->media_type, TRANSFER_EXPLAIN))
		return error_set(error, CTRD_ERR_NOT_IMPLEMENTED,
		                 "method Transfer not implemented for %s to %s of media type %s",
		                 from->type_url, to->type_url, Q(pb->media_type));
	if (!registry_in(op, from, &registry, error))
		return false;
	g_autoptr(Stream) stream = find_stream(op, pb->stream, error);
	g_autofree char *text = stream != NULL ? transfer_explain(op->service->transfer, &op->ctx,
	                                                          &registry.registry, attempt, error)
	                                       : NULL;
	if (text == NULL)
		return false;
	g_autoptr(StreamWriter) writer = stream_writer_new(stream, op->ctx.cancel);
	return stream_writer_write(writer, text, strlen(text), error);
}

/* What goes in comes out: upstream has it to test streams. */
static bool do_echo(Operation *op, const Google__Protobuf__Any *from, const Google__Protobuf__Any *to,
                    GError **error)
{
	autopb PbImport *in = api_any_unpack(
	        from, &containerd__types__transfer__image_import_stream__descriptor, NULL, error);
	autopb PbExport *out =
	        in != NULL ? api_any_unpack(to, &containerd__types__transfer__image_export_stream__descriptor,
	                                    NULL, error)
	                   : NULL;
	if (out == NULL)
		return false;
	g_autoptr(Stream) source = find_stream(op, in->stream, error);
	g_autoptr(Stream) target = source != NULL ? find_stream(op, out->stream, error) : NULL;
	if (target == NULL)
		return false;
	g_autoptr(StreamReader) reader = stream_reader_new(source, op->ctx.cancel);
	g_autoptr(StreamWriter) writer = stream_writer_new(target, op->ctx.cancel);
	char buf[16384];
	for (;;) {
		ssize_t n = stream_reader_read(reader, buf, sizeof(buf), error);
		if (n <= 0)
			return n == 0;
		if (!stream_writer_write(writer, buf, (size_t)n, error))
			return false;
	}
}

typedef bool (*Pair)(Operation *op, const Google__Protobuf__Any *from, const Google__Protobuf__Any *to,
                     GError **error);

static Pair find_pair(const Google__Protobuf__Any *from, const Google__Protobuf__Any *to)
{
	const ProtobufCMessageDescriptor *registry = &containerd__types__transfer__ociregistry__descriptor;
	const ProtobufCMessageDescriptor *store = &containerd__types__transfer__image_store__descriptor;
	const ProtobufCMessageDescriptor *in = &containerd__types__transfer__image_import_stream__descriptor;
	const ProtobufCMessageDescriptor *out = &containerd__types__transfer__image_export_stream__descriptor;
	const struct {
		const ProtobufCMessageDescriptor *from, *to;
		Pair fn;
	} pairs[] = {
	        {registry, store, do_pull},  {store, registry, do_push}, {store, store, do_tag},
	        {in, store, do_import},      {store, out, do_export},    {in, out, do_echo},
	        {registry, out, do_explain},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++)
		if (api_any_is(from, pairs[i].from) && api_any_is(to, pairs[i].to))
			return pairs[i].fn;
	return NULL;
}

static bool transfer_transfer(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Transfer__V1__TransferRequest *req = request;
	g_auto(Operation) op = {.service = rpc_call_impl(call)};
	if (!call_ctx(call, &op.ctx, error))
		return false;
	if (req->options != NULL && !str_empty(req->options->progress_stream)) {
		op.progress = find_stream(&op, req->options->progress_stream, error);
		if (op.progress == NULL)
			return false;
	}
	Pair pair = find_pair(req->source, req->destination);
	if (pair == NULL)
		return error_set(error, CTRD_ERR_NOT_IMPLEMENTED,
		                 "method Transfer not implemented for %s to %s",
		                 req->source != NULL ? req->source->type_url : "",
		                 req->destination != NULL ? req->destination->type_url : "");
	return pair(&op, req->source, req->destination, error);
}

RpcService transfer_service_new(Transfer *transfer, Streams *streams)
{
	static const RpcMethod methods[] = {
	        {"Transfer", RPC_UNARY, RPC_ON_WORKER, transfer_transfer},
	};
	TransferService *s = g_new0(TransferService, 1);
	s->transfer = transfer;
	s->streams = streams;
	return (RpcService){
	        .descriptor = &containerd__services__transfer__v1__transfer__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = s,
	        .impl_free = g_free,
	};
}
