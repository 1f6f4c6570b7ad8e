// SPDX-License-Identifier: Apache-2.0

/*
 * The client's side of gRPC over HTTP/2. Source of the rules, statuses and texts: grpc-go 1.80,
 * internal/transport/http2_client.go.
 */

#include "base/time.h"
#include "base/util.h"
#include "rpc/client-private.h"
#include "rpc/grpc-text.h"
#include "rpc/h2-session.h"
#include <string.h>

#define CLIENT_MESSAGE_MAX ((size_t)16 * 1024 * 1024)

/* A block of response headers or trailers. */
typedef struct {
	size_t size;
	int http_status; // 0: none
	bool has_status;
	bool bad_status; // grpc-status is no number
	RpcStatusCode status;
	char *message, *content_type, *encoding;
	bool is_grpc;
} Block;

typedef struct {
	Block block;
	bool got_headers; // the first block was gRPC's
	bool has_result;
	RpcStatusCode code;
	char *text;
} Side;

static void block_clear(Block *b)
{
	g_free(b->message);
	g_free(b->content_type);
	g_free(b->encoding);
	*b = (Block){.status = RPC_UNKNOWN};
}

static void free_side(H2Stream *st)
{
	Side *side = st->side;
	if (side == NULL)
		return;
	block_clear(&side->block);
	g_free(side->text);
	g_free(side);
	st->side = NULL;
}

/* ---- requests ---- */

static void add(GArray *nva, const char *name, const char *value)
{
	nghttp2_nv nv = h2_nv(name, value);
	g_array_append_val(nva, nv);
}

static void add_metadata(GArray *nva, GHashTable *metadata, GPtrArray *owned)
{
	GHashTableIter it;
	void *key, *value;
	if (metadata == NULL)
		return;
	g_hash_table_iter_init(&it, metadata);
	while (g_hash_table_iter_next(&it, &key, &value)) {
		char *name = g_ascii_strdown(key, -1);
		g_ptr_array_add(owned, name);
		if (grpc_header_reserved(name, strlen(name)))
			continue;
		if (g_str_has_suffix(name, "-bin")) {
			value = grpc_bin_encode(value, strlen(value));
			g_ptr_array_add(owned, value);
		}
		add(nva, name, value);
	}
}

static int32_t submit(H2Session *s, H2Stream *st, RpcClientCall *call)
{
	g_autofree char *path = g_strdup_printf("/%s/%s", call->service->name, call->method->name);
	g_autoptr(GPtrArray) owned = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GArray) nva = g_array_new(FALSE, FALSE, sizeof(nghttp2_nv));
	char timeout[16];
	bool tcp = call->client->address != NULL && call->client->address[0] != '/' &&
	           !g_str_has_prefix(call->client->address, "unix:");
	add(nva, ":method", "POST");
	add(nva, ":scheme", "http");
	add(nva, ":path", path);
	add(nva, ":authority", tcp ? call->client->address : "localhost");
	add(nva, "content-type", "application/grpc");
	add(nva, "user-agent", "containerd-c/" CTRD_VERSION);
	add(nva, "te", "trailers");
	if (call->deadline != 0) {
		grpc_timeout_format(MAX(call->deadline - time_mono(), 1), timeout);
		add(nva, "grpc-timeout", timeout);
	}
	if (call->ns != NULL)
		add(nva, "containerd-namespace", call->ns);
	if (call->lease != NULL)
		add(nva, "containerd-lease", call->lease);
	add_metadata(nva, call->metadata, owned);
	nghttp2_data_provider provider = h2_stream_provider(st);
	return nghttp2_submit_request(s->ng, NULL, (nghttp2_nv *)(void *)nva->data, nva->len, &provider, st);
}

/* Kept until the answer begins, for a server that refuses the stream unseen. */
static void keep_request(RpcClientCall *call)
{
	if (call->kind != RPC_UNARY || call->retried || call->request != NULL)
		return;
	LOCK_SCOPE(&call->x.lock);
	RpcMsg *msg = call->x.sendq.head;
	if (msg == NULL || msg->len > H2_BIG)
		return;
	call->request = rpc_msg_new(RPC_MSG_HEADROOM, msg->len);
	call->request = rpc_msg_append(call->request, rpc_msg_content(msg), msg->len, msg->len);
}

static void start(RpcConn *conn, RpcXfer *x)
{
	H2Session *s = conn->session;
	RpcClientCall *call = (RpcClientCall *)x;
	Side *side = g_new0(Side, 1);
	side->block.status = RPC_UNKNOWN;
	H2Stream *st = h2_stream_new(s, 0);
	st->side = side;
	st->x = x;
	keep_request(call);
	call->refused = false;
	int32_t id = submit(s, st, call);
	st->id = MAX(id, 0);
	rpc_conn_attach(conn, x, (uint32_t)st->id);
	x->stream = st;
	if (id >= 0)
		return;
	/* The stream numbers are used up: this connection has served its time. */
	conn->owner_ops->goaway(conn);
	s->goaway = true;
	call->refused = true;
	free_side(st);
	h2_stream_free(st);
	rpc_conn_detach(conn, x, RPC_UNAVAILABLE, nghttp2_strerror(id));
}

static void ready(RpcConn *conn, RpcXfer *x)
{
	if (x->stream != NULL)
		h2_stream_resume(x->stream);
}

static void abandon(RpcConn *conn, RpcXfer *x)
{
	H2Session *s = conn->session;
	H2Stream *st = x->stream;
	if (st == NULL)
		return;
	h2_stream_drop_input(st);
	st->x = NULL;
	nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL);
}

static uint32_t last_data(H2Stream *st)
{
	return NGHTTP2_DATA_FLAG_EOF;
}

/* ---- answers ---- */

/* The call's status is known; the stream is of no more use. */
static void conclude(H2Stream *st, RpcStatusCode code, const char *text, uint32_t reset)
{
	Side *side = st->side;
	if (side->has_result || st->x == NULL)
		return;
	side->has_result = true;
	side->code = code;
	side->text = g_strdup(text);
	if (reset != NGHTTP2_NO_ERROR || nghttp2_session_get_stream_local_close(st->session->ng, st->id) == 0)
		nghttp2_submit_rst_stream(st->session->ng, NGHTTP2_FLAG_NONE, st->id, reset);
	/* Told at once: the stream itself closes when both sides know. */
	RpcXfer *x = g_steal_pointer(&st->x);
	h2_stream_drop_input(st);
	rpc_conn_detach(st->session->conn, x, code, text);
}

static void violation(H2Stream *st, RpcStatusCode code, const char *text)
{
	conclude(st, code, text, NGHTTP2_PROTOCOL_ERROR);
}

static void on_header(H2Stream *st, const uint8_t *name, size_t name_len, const uint8_t *value,
                      size_t value_len)
{
	Side *side = st->side;
	Block *b = side != NULL ? &side->block : NULL;
	if (b == NULL)
		return;
	b->size += name_len + value_len + 32;
	if (b->size > H2_MAX_HEADERS)
		return;
	g_autofree char *key = g_strndup((const char *)name, name_len);
	g_autofree char *text = g_strndup((const char *)value, value_len);
	uint64_t n;
	if (strcmp(key, ":status") == 0) {
		b->http_status = parse_u64(text, &n) && n < 1000 ? (int)n : -1;
	} else if (strcmp(key, "content-type") == 0) {
		b->is_grpc |= grpc_content_type_ok(text, value_len);
		g_free(b->content_type);
		b->content_type = g_steal_pointer(&text);
	} else if (strcmp(key, "grpc-encoding") == 0) {
		g_free(b->encoding);
		b->encoding = g_steal_pointer(&text);
	} else if (strcmp(key, "grpc-status") == 0) {
		b->has_status = true;
		b->bad_status = !parse_u64(text, &n) || n > INT32_MAX;
		b->status = b->bad_status ? RPC_UNKNOWN : (RpcStatusCode)n;
	} else if (strcmp(key, "grpc-message") == 0) {
		g_free(b->message);
		b->message = grpc_message_decode(text, value_len);
	} // grpc-status-details-bin and metadata: nobody asks for them
}

static RpcStatusCode code_of_http(int status)
{
	switch (status) {
	case 400:
		return RPC_INTERNAL;
	case 401:
		return RPC_UNAUTHENTICATED;
	case 403:
		return RPC_PERMISSION_DENIED;
	case 404:
		return RPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return RPC_UNAVAILABLE;
	default:
		return RPC_UNKNOWN;
	}
}

/* An answer that is not gRPC's. */
static void not_grpc(H2Stream *st, const Block *b)
{
	g_autofree char *http = NULL, *type = NULL;
	if (b->http_status <= 0)
		http = g_strdup("malformed header: missing HTTP status");
	else
		http = g_strdup_printf("unexpected HTTP status code received from server: %d (%s)",
		                       b->http_status, grpc_http_status_text(b->http_status));
	if (b->content_type != NULL)
		type = g_strdup_printf("transport: received unexpected content-type %s", Q(b->content_type));
	else
		type = g_strdup("malformed header: missing HTTP content-type");
	g_autofree char *text = g_strdup_printf("%s; %s", http, type);
	violation(st, b->http_status > 0 ? code_of_http(b->http_status) : RPC_INTERNAL, text);
}

static void on_trailers(H2Stream *st, const Block *b)
{
	if (b->bad_status)
		violation(st, RPC_UNKNOWN, "transport: malformed grpc-status");
	else if (b->status == RPC_OK && st->have > 0)
		violation(st, RPC_INTERNAL, "unexpected EOF");
	else
		conclude(st, b->status, str_or(b->message, ""), NGHTTP2_NO_ERROR);
}

static void on_block(H2Stream *st, bool ends)
{
	Side *side = st->side;
	Block *b = &side->block;
	bool informational = b->http_status >= 100 && b->http_status < 200;
	if (side->got_headers && !ends) {
		violation(st, RPC_INTERNAL, "a HEADERS frame cannot appear in the middle of a stream");
	} else if (b->size > H2_MAX_HEADERS) {
		conclude(st, RPC_INTERNAL, "peer header list size exceeded limit", NGHTTP2_FRAME_SIZE_ERROR);
	} else if (!side->got_headers && !b->is_grpc && informational && !ends) {
		; // the real one follows
	} else if (!side->got_headers && !b->is_grpc) {
		not_grpc(st, b);
	} else if (ends) {
		on_trailers(st, b);
	} else if (b->encoding != NULL && strcmp(b->encoding, "identity") != 0 && b->encoding[0] != '\0') {
		g_autofree char *text = g_strdup_printf(
		        "grpc: Decompressor is not installed for grpc-encoding %s", Q(b->encoding));
		violation(st, RPC_INTERNAL, text);
	} else {
		side->got_headers = true;
		RpcClientCall *call = (RpcClientCall *)st->x;
		if (call != NULL)
			g_clear_pointer(&call->request, rpc_msg_unref);
	}
	block_clear(b);
}

static void refuse(H2Stream *st, RpcStatusCode code, const char *text)
{
	conclude(st, code, text, NGHTTP2_CANCEL);
}

static void end(H2Stream *st, bool truncated)
{
	/* Trailers have been seen before, where there were any. */
	conclude(st, RPC_INTERNAL, "server closed the stream without sending trailers", NGHTTP2_NO_ERROR);
}

static RpcStatusCode code_of_reset(uint32_t error_code)
{
	switch (error_code) {
	case NGHTTP2_FLOW_CONTROL_ERROR:
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return RPC_RESOURCE_EXHAUSTED;
	case NGHTTP2_REFUSED_STREAM:
		return RPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return RPC_CANCELLED;
	case NGHTTP2_INADEQUATE_SECURITY:
		return RPC_PERMISSION_DENIED;
	default:
		return error_code <= NGHTTP2_HTTP_1_1_REQUIRED ? RPC_INTERNAL : RPC_UNKNOWN;
	}
}

static void closed(H2Stream *st, uint32_t error_code)
{
	RpcXfer *x = g_steal_pointer(&st->x);
	free_side(st);
	if (x == NULL)
		return;
	RpcClientCall *call = (RpcClientCall *)x;
	RpcStatusCode code = code_of_reset(error_code);
	call->refused = error_code == NGHTTP2_REFUSED_STREAM;
	/* The server keeps the deadline too, and resets at it; ours may be a tick later. */
	if (code == RPC_CANCELLED && call->deadline != 0 && call->deadline <= time_mono() + 2 * NS_PER_MS) {
		rpc_conn_detach(st->session->conn, x, RPC_DEADLINE_EXCEEDED, "context deadline exceeded");
		return;
	}
	g_autofree char *text = g_strdup_printf("stream terminated by RST_STREAM with error code: %s",
	                                        nghttp2_http2_strerror(error_code));
	rpc_conn_detach(st->session->conn, x, code, text);
}

/* ---- frames ---- */

static bool on_frame(H2Session *s, const nghttp2_frame *frame)
{
	if (frame->hd.type == NGHTTP2_HEADERS) {
		H2Stream *st = h2_stream_find(s, frame->hd.stream_id);
		if (st != NULL && st->side != NULL)
			on_block(st, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
	} else if (frame->hd.type == NGHTTP2_GOAWAY) {
		s->goaway = true;
		s->conn->owner_ops->goaway(s->conn);
	}
	return true;
}

static bool on_begin_headers(H2Session *s, const nghttp2_frame *frame)
{
	return true;
}

static const H2SideOps side_ops = {
        .refuse = refuse,
        .end = end,
        .last_data = last_data,
        .closed = closed,
        .frame = on_frame,
        .begin_headers = on_begin_headers,
        .header = on_header,
        .free_side = free_side,
};

static void open_session(RpcConn *conn)
{
	h2_session_open(conn, &side_ops, CLIENT_MESSAGE_MAX, 0);
}

const RpcCodec rpc_h2_client_codec = {
        .proto = RPC_PROTO_GRPC,
        .open = open_session,
        .input = h2_session_input,
        .fill = h2_session_fill,
        .backlog = h2_session_backlog,
        .start = start,
        .ready = ready,
        .credit = h2_session_credit,
        .abandon = abandon,
        .close = h2_session_close,
};
