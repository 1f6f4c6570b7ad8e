// SPDX-License-Identifier: Apache-2.0

/*
 * The server's side of gRPC over HTTP/2. Source of the rules, statuses and texts: grpc-go 1.80,
 * internal/transport/http2_server.go and server.go.
 */

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "rpc/call-private.h"
#include "rpc/grpc-text.h"
#include "rpc/h2-session.h"
#include <string.h>

/* A client that connects and does not speak: grpc-go's connection timeout. */
#define PREFACE_TIMEOUT (120 * NS_PER_SEC)
/* An error text beyond this is cut; nobody reads it, and the client's header limit may be 8 KiB. */
#define MESSAGE_TEXT_MAX 4096

/* What a peer may send that does nothing for a call: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA.
 * grpc-go's clients measure the bandwidth with PINGs, one a round trip while they receive; so what we send
 * fills the purse again. Resets cost a call each and have their own purse. */
#define CHEAP_BURST 8192
#define CHEAP_RATE 1024
#define RESET_BURST 2048
#define RESET_RATE 256

/* ---- a request's headers ---- */

typedef struct {
	size_t size; // as SETTINGS_MAX_HEADER_LIST_SIZE counts
	char *path, *method, *encoding, *content_type;
	bool is_grpc;
	bool has_timeout;
	int64_t timeout_ns;
	unsigned n_authority, n_host;
	bool connection; // the header of that name, which HTTP/2 has not
	char *error;     // malformed, as INTERNAL with HTTP 400
	RpcPair *metadata, **tail;
} Request;

static void request_free(Request *r)
{
	if (r == NULL)
		return;
	g_free(r->path);
	g_free(r->method);
	g_free(r->encoding);
	g_free(r->content_type);
	g_free(r->error);
	rpc_pairs_free(r->metadata);
	g_free(r);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Request, request_free)

static bool is(const uint8_t *name, size_t len, const char *what)
{
	return strlen(what) == len && memcmp(name, what, len) == 0;
}

static void set(char **to, const uint8_t *value, size_t len)
{
	g_free(*to);
	*to = g_strndup((const char *)value, len);
}

static void add_metadata(Request *r, const uint8_t *name, size_t name_len, const uint8_t *value,
                         size_t value_len)
{
	g_autofree uint8_t *decoded = NULL;
	if (name_len > 4 && memcmp(name + name_len - 4, "-bin", 4) == 0) {
		size_t at;
		if (!grpc_bin_decode((const char *)value, value_len, &decoded, &value_len, &at)) {
			g_autofree char *k = g_strndup((const char *)name, name_len);
			g_autofree char *v = g_strndup((const char *)value, value_len);
			g_free(r->error);
			r->error = g_strdup_printf(
			        "malformed binary metadata %s in header %s: illegal base64 data at "
			        "input byte %zu",
			        Q(v), Q(k), at);
			return;
		}
		value = decoded;
	}
	*r->tail = rpc_pair_new(name, name_len, value, value_len);
	r->tail = &(*r->tail)->next;
}

static void parse_timeout(Request *r, const uint8_t *value, size_t len)
{
	char *why = NULL;
	r->has_timeout = true;
	if (grpc_timeout_parse((const char *)value, len, &r->timeout_ns, &why))
		return;
	g_free(r->error);
	r->error = g_strdup_printf("malformed grpc-timeout: %s", why);
	g_free(why);
}

static void on_header(H2Stream *st, const uint8_t *name, size_t name_len, const uint8_t *value,
                      size_t value_len)
{
	Request *r = st->side;
	if (r == NULL)
		return; // trailers of the client
	r->size += name_len + value_len + 32;
	if (r->size > H2_MAX_HEADERS)
		return; // refused at the end of the block; the decoder must see all of it
	if (is(name, name_len, ":method")) {
		set(&r->method, value, value_len);
	} else if (is(name, name_len, ":path")) {
		set(&r->path, value, value_len);
	} else if (is(name, name_len, "content-type")) {
		set(&r->content_type, value, value_len);
		r->is_grpc |= grpc_content_type_ok((const char *)value, value_len);
	} else if (is(name, name_len, "grpc-encoding")) {
		set(&r->encoding, value, value_len);
	} else if (is(name, name_len, "grpc-timeout")) {
		parse_timeout(r, value, value_len);
	} else if (is(name, name_len, "connection")) {
		r->connection = true;
	} else {
		r->n_authority += is(name, name_len, ":authority");
		r->n_host += is(name, name_len, "host");
		if (!grpc_header_reserved((const char *)name, name_len))
			add_metadata(r, name, name_len, value, value_len);
	}
}

static bool on_begin_headers(H2Session *s, const nghttp2_frame *frame)
{
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return true;
	H2Stream *st = h2_stream_new(s, frame->hd.stream_id);
	Request *r = g_new0(Request, 1);
	r->tail = &r->metadata;
	st->side = r;
	nghttp2_session_set_stream_user_data(s->ng, st->id, st);
	return true;
}

/* ---- answers ---- */

typedef struct {
	char code[12];
	char *message;
	nghttp2_nv nv[4];
	size_t n;
} Trailer;

/* http_status NULL: the response's headers have been sent. */
static void trailer_init(Trailer *t, const char *http_status, RpcStatusCode code, const char *text)
{
	t->n = 0;
	if (http_status != NULL) {
		t->nv[t->n++] = h2_nv(":status", http_status);
		t->nv[t->n++] = h2_nv("content-type", "application/grpc");
	}
	g_snprintf(t->code, sizeof(t->code), "%d", code);
	t->message = grpc_message_encode(str_or(text, ""), MESSAGE_TEXT_MAX);
	t->nv[t->n++] = h2_nv("grpc-status", t->code);
	t->nv[t->n++] = h2_nv("grpc-message", t->message);
}

static void trailer_clear(Trailer *t)
{
	g_free(t->message);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Trailer, trailer_clear)

/* The whole answer in one header block. */
static void trailers_only(H2Stream *st, const char *http_status, RpcStatusCode code, const char *text)
{
	g_auto(Trailer) t;
	trailer_init(&t, http_status, code, text);
	st->headers_sent = true;
	nghttp2_submit_response(st->session->ng, st->id, t.nv, t.n, NULL);
}

/* Refuses a request before there is a call. */
static void early_abort(H2Stream *st, const char *http_status, RpcStatusCode code, const char *text)
{
	st->dropping = true;
	trailers_only(st, http_status, code, text);
}

static void reset(H2Stream *st, uint32_t error_code)
{
	st->dropping = true;
	nghttp2_submit_rst_stream(st->session->ng, NGHTTP2_FLAG_NONE, st->id, error_code);
}

static void take_status(RpcXfer *x, RpcStatusCode *ret_code, char **ret_text)
{
	LOCK_SCOPE(&x->lock);
	*ret_code = x->code;
	*ret_text = g_strdup(x->text);
}

static uint32_t last_data(H2Stream *st)
{
	RpcStatusCode code;
	g_autofree char *text = NULL;
	take_status(st->x, &code, &text);
	g_auto(Trailer) t;
	trailer_init(&t, NULL, code, text);
	nghttp2_submit_trailer(st->session->ng, st->id, t.nv, t.n);
	return NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
}

static void ready(RpcConn *conn, RpcXfer *x)
{
	H2Stream *st = x->stream;
	if (st == NULL)
		return;
	if (st->headers_sent) {
		h2_stream_resume(st);
		return;
	}
	bool message, end;
	{
		LOCK_SCOPE(&x->lock);
		message = x->sendq.head != NULL;
		end = x->send_end;
	}
	if (message) {
		nghttp2_nv nv[] = {h2_nv(":status", "200"), h2_nv("content-type", "application/grpc")};
		nghttp2_data_provider provider = h2_stream_provider(st);
		st->headers_sent = true;
		nghttp2_submit_response(st->session->ng, st->id, nv, G_N_ELEMENTS(nv), &provider);
	} else if (end) {
		RpcStatusCode code;
		g_autofree char *text = NULL;
		take_status(x, &code, &text);
		trailers_only(st, "200", code, text);
	}
}

/* ---- requests ---- */

static RpcCall *lookup(H2Stream *st, const char *path)
{
	RpcCall *call = NULL;
	const char *slash = path != NULL && path[0] == '/' ? strrchr(path + 1, '/') : NULL;
	if (slash == NULL) {
		g_autofree char *text = g_strdup_printf("malformed method name: %s", Q(str_or(path, "")));
		early_abort(st, "200", RPC_UNIMPLEMENTED, text);
		return NULL;
	}
	const char *service = path + 1, *method = slash + 1;
	int n = (int)MIN(slash - service, 4096);
	g_autofree char *text = NULL;
	switch (rpc_dispatch_lookup(st->session->conn, service, (size_t)(slash - service), method,
	                            strlen(method), &call)) {
	case RPC_LOOKUP_OK:
		return call;
	case RPC_LOOKUP_NO_SERVICE:
		text = g_strdup_printf("unknown service %.*s", n, service);
		break;
	case RPC_LOOKUP_NO_METHOD:
		text = g_strdup_printf("unknown method %s for service %.*s", method, n, service);
		break;
	case RPC_LOOKUP_NO_HANDLER:
		text = g_strdup_printf("method %s not implemented", method);
		break;
	}
	early_abort(st, "200", RPC_UNIMPLEMENTED, text);
	return NULL;
}

/* What grpc-go checks, in its order. false: answered. */
static bool check_request(H2Stream *st, const Request *r)
{
	g_autofree char *text = NULL;
	if (r->size > H2_MAX_HEADERS) {
		reset(st, NGHTTP2_FRAME_SIZE_ERROR);
	} else if (r->n_authority > 1 || r->n_host > 1) {
		text = g_strdup_printf("num values of :authority: %u, num values of host: %u, both must only "
		                       "have 1 value as "
		                       "per HTTP/2 spec",
		                       r->n_authority, r->n_host);
		early_abort(st, "400", RPC_INTERNAL, text);
	} else if (r->connection) {
		reset(st, NGHTTP2_PROTOCOL_ERROR);
	} else if (!r->is_grpc) {
		text = g_strdup_printf("invalid gRPC request content-type %s",
		                       Q(str_or(r->content_type, "")));
		early_abort(st, "415", RPC_INVALID_ARGUMENT, text);
	} else if (r->error != NULL) {
		early_abort(st, "400", RPC_INTERNAL, r->error);
	} else if (g_strcmp0(r->method, "POST") != 0) {
		text = g_strdup_printf("Received a HEADERS frame with :method %s which should be POST",
		                       Q(str_or(r->method, "")));
		early_abort(st, "405", RPC_INTERNAL, text);
	} else if (r->has_timeout && r->timeout_ns == 0) {
		early_abort(st, "200", RPC_DEADLINE_EXCEEDED, "context deadline exceeded");
	} else {
		return true;
	}
	return false;
}

static bool identity(const Request *r)
{
	return r->encoding == NULL || r->encoding[0] == '\0' || strcmp(r->encoding, "identity") == 0;
}

static void on_request(H2Stream *st)
{
	g_autoptr(Request) r = g_steal_pointer(&st->side);
	if (!check_request(st, r))
		return;
	RpcCall *call = lookup(st, r->path);
	if (call == NULL)
		return;
	if (!identity(r)) {
		g_autofree char *text = g_strdup_printf(
		        "grpc: Decompressor is not installed for grpc-encoding %s", Q(r->encoding));
		early_abort(st, "200", RPC_UNIMPLEMENTED, text);
	} else {
		call->timeout_ns = r->timeout_ns;
		rpc_call_take_metadata(call, g_steal_pointer(&r->metadata));
		st->x = &call->x;
		rpc_conn_attach(st->session->conn, st->x, (uint32_t)st->id);
		call->x.stream = st;
		rpc_dispatch_begin(call);
	}
	rpc_xfer_unref(&call->x);
}

static void refuse(H2Stream *st, RpcStatusCode code, const char *text)
{
	rpc_dispatch_refuse((RpcCall *)st->x, code, text);
}

static void end(H2Stream *st, bool truncated)
{
	if (truncated)
		refuse(st, RPC_INTERNAL, "unexpected EOF");
	else
		st->x->ops->end(st->x);
}

static void closed(H2Stream *st, uint32_t error_code)
{
	RpcXfer *x = st->x;
	request_free(st->side);
	st->side = NULL;
	st->x = NULL;
	if (x != NULL)
		rpc_conn_detach(st->session->conn, x, error_code == NGHTTP2_NO_ERROR ? RPC_OK : RPC_CANCELLED,
		                "context canceled");
}

static void free_side(H2Stream *st)
{
	request_free(st->side);
}

/* ---- frames ---- */

static void last_goaway(H2Session *s)
{
	if (s->drained)
		return;
	s->drained = true;
	s->goaway = true;
	nghttp2_submit_goaway(s->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(s->ng),
	                      NGHTTP2_NO_ERROR, NULL, 0);
}

static const uint8_t drain_ping[8] = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};

static bool on_frame(H2Session *s, const nghttp2_frame *frame)
{
	switch (frame->hd.type) {
	case NGHTTP2_SETTINGS:
		if (!s->conn->finishing && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
			rpc_conn_clear_timeout(s->conn); // it speaks
		break;
	case NGHTTP2_PING:
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 && s->conn->draining &&
		    memcmp(frame->ping.opaque_data, drain_ping, 8) == 0)
			last_goaway(s);
		break;
	case NGHTTP2_HEADERS: {
		H2Stream *st = h2_stream_find(s, frame->hd.stream_id);
		if (st != NULL && st->side != NULL)
			on_request(st);
		break;
	}
	default:
		break;
	}
	return true;
}

static bool spend(double *tokens, double burst)
{
	if (*tokens > burst)
		*tokens = burst;
	*tokens -= 1;
	return *tokens >= 0;
}

static bool on_begin_frame(H2Session *s, const nghttp2_frame_hd *hd)
{
	bool useful =
	        hd->type == NGHTTP2_HEADERS || hd->type == NGHTTP2_CONTINUATION ||
	        (hd->type == NGHTTP2_DATA && (hd->length > 0 || (hd->flags & NGHTTP2_FLAG_END_STREAM) != 0));
	if (useful)
		return true;
	int64_t now = time_mono();
	double seconds = (double)(now - s->tokens_at) / (double)NS_PER_SEC;
	s->tokens_at = now;
	s->cheap_tokens += seconds * CHEAP_RATE;
	s->reset_tokens += seconds * RESET_RATE;
	bool ok = hd->type == NGHTTP2_RST_STREAM ? spend(&s->reset_tokens, RESET_BURST)
	                                         : spend(&s->cheap_tokens, CHEAP_BURST);
	if (!ok)
		log_warn("closing a connection: flooded with frames", "type",
		         hd->type == NGHTTP2_RST_STREAM ? "RST_STREAM" : "control", NULL);
	return ok;
}

static void frame_sent(H2Session *s, const nghttp2_frame *frame)
{
	uint8_t type = frame->hd.type;
	if (type != NGHTTP2_HEADERS && type != NGHTTP2_DATA)
		return;
	s->cheap_tokens = CHEAP_BURST;
	if (type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
	    nghttp2_session_get_stream_remote_close(s->ng, frame->hd.stream_id) == 0)
		nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
}

static const H2SideOps side_ops = {
        .refuse = refuse,
        .end = end,
        .last_data = last_data,
        .closed = closed,
        .frame = on_frame,
        .begin_frame = on_begin_frame,
        .begin_headers = on_begin_headers,
        .header = on_header,
        .frame_sent = frame_sent,
        .free_side = free_side,
};

static void open_session(RpcConn *conn)
{
	RpcServer *server = conn->owner;
	h2_session_open(conn, &side_ops, server->limits.max_recv_message, server->limits.max_streams);
	H2Session *s = conn->session;
	s->cheap_tokens = CHEAP_BURST;
	s->reset_tokens = RESET_BURST;
	s->tokens_at = time_mono();
	if (conn->fd >= 0)
		rpc_conn_set_timeout(conn, PREFACE_TIMEOUT);
}

static void drain(RpcConn *conn)
{
	H2Session *s = conn->session;
	if (s->n_streams == 0) {
		last_goaway(s); // nothing can be lost that a client would not retry
		return;
	}
	/* Requests may be under way: the answer to the ping tells that the client knows. */
	nghttp2_submit_shutdown_notice(s->ng);
	nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, drain_ping);
}

const RpcCodec rpc_h2_server_codec = {
        .proto = RPC_PROTO_GRPC,
        .server = true,
        .open = open_session,
        .input = h2_session_input,
        .fill = h2_session_fill,
        .backlog = h2_session_backlog,
        .ready = ready,
        .credit = h2_session_credit,
        .drain = drain,
        .close = h2_session_close,
};
