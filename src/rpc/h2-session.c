// SPDX-License-Identifier: Apache-2.0
#include "rpc/h2-session.h"

#include "base/util.h"
#include <string.h>

/* ---- streams ---- */

H2Stream *h2_stream_new(H2Session *s, int32_t id)
{
	H2Stream *st = g_new0(H2Stream, 1);
	st->session = s;
	st->id = id;
	st->next = s->streams;
	if (st->next != NULL)
		st->next->prev = st;
	s->streams = st;
	s->n_streams++;
	return st;
}

H2Stream *h2_stream_find(H2Session *s, int32_t id)
{
	return nghttp2_session_get_stream_user_data(s->ng, id);
}

static void set_waiting(H2Stream *st, bool waiting)
{
	if (st->waiting == waiting)
		return;
	st->waiting = waiting;
	st->session->n_waiting += waiting ? 1 : -1u;
}

static void retry_waiting(H2Session *s);

void h2_stream_free(H2Stream *st)
{
	H2Session *s = st->session;
	if (st->prev != NULL)
		st->prev->next = st->next;
	else
		s->streams = st->next;
	if (st->next != NULL)
		st->next->prev = st->prev;
	s->n_streams--;
	set_waiting(st, false);
	s->reserved -= st->reserved;
	rpc_msg_unref(st->msg);
	rpc_msg_list_clear(&st->tx);
	g_free(st);
}

/* ---- receiving ---- */

static void consume(H2Stream *st, size_t n)
{
	/* Fails only for a stream that is closed by now. */
	if (n > 0)
		nghttp2_session_consume_stream(st->session->ng, st->id, n);
}

void h2_stream_drop_input(H2Stream *st)
{
	st->dropping = true;
	set_waiting(st, false);
	g_clear_pointer(&st->msg, rpc_msg_unref);
	consume(st, st->uncredited);
	st->uncredited = 0;
}

static void refuse(H2Stream *st, RpcStatusCode code, const char *text)
{
	st->session->ops->refuse(st, code, text);
	h2_stream_drop_input(st);
}

/* Gives a large message the window for all of it, where there is nothing before it and the budget has room.
 */
static void try_grant(H2Stream *st)
{
	H2Session *s = st->session;
	set_waiting(st, true);
	if (s->reserved + st->msg_len > H2_BUDGET && s->reserved > 0)
		return;
	if (rpc_xfer_stall(st->x))
		return; // credit tells when they have been taken
	set_waiting(st, false);
	st->granted = true;
	s->reserved += st->msg_len;
	st->reserved += st->msg_len;
	st->msg->reserved = (uint32_t)st->msg_len;
	consume(st, st->uncredited);
	st->uncredited = 0;
}

static void retry_waiting(H2Session *s)
{
	for (H2Stream *st = s->streams; st != NULL && s->n_waiting > 0; st = st->next)
		if (st->waiting)
			try_grant(st);
}

void h2_session_credit(RpcConn *conn, RpcXfer *x, size_t credit, size_t reserved, bool drained)
{
	H2Session *s = conn->session;
	H2Stream *st = x->stream;
	if (st == NULL || st->x == NULL)
		return;
	consume(st, credit);
	reserved = MIN(reserved, st->reserved);
	st->reserved -= reserved;
	s->reserved -= reserved;
	if ((drained || reserved > 0) && s->n_waiting > 0)
		retry_waiting(s);
}

static bool begin_message(H2Stream *st)
{
	uint32_t len;
	memcpy(&len, st->prefix + 1, 4);
	st->msg_len = GUINT32_FROM_BE(len);
	g_autofree char *text = NULL;
	if (st->prefix[0] == 1)
		text = g_strdup("grpc: compressed flag set with identity or empty encoding");
	else if (st->prefix[0] != 0)
		text = g_strdup_printf("grpc: received unexpected payload format %u", st->prefix[0]);
	if (text != NULL) {
		refuse(st, RPC_INTERNAL, text);
		return false;
	}
	if (st->msg_len > st->session->max_recv) {
		text = g_strdup_printf("grpc: received message larger than max (%zu vs. %zu)", st->msg_len,
		                       st->session->max_recv);
		refuse(st, RPC_RESOURCE_EXHAUSTED, text);
		return false;
	}
	bool big = st->msg_len > H2_BIG;
	st->granted = false;
	st->msg = rpc_msg_new(0, MIN(st->msg_len, H2_BIG));
	if (big)
		try_grant(st);
	return true;
}

static void end_message(H2Stream *st)
{
	RpcMsg *msg = g_steal_pointer(&st->msg);
	msg->credit = (uint32_t)st->uncredited;
	st->uncredited = 0;
	st->have = 0;
	set_waiting(st, false);
	st->x->ops->message(st->x, msg);
}

static size_t feed(H2Stream *st, const uint8_t *data, size_t len)
{
	if (st->have < GRPC_PREFIX) {
		size_t n = MIN(len, (size_t)(GRPC_PREFIX - st->have));
		memcpy(st->prefix + st->have, data, n);
		st->have += (unsigned)n;
		st->uncredited += n;
		if (st->have == GRPC_PREFIX && begin_message(st) && st->msg_len == 0)
			end_message(st);
		return n;
	}
	size_t n = MIN(len, st->msg_len - st->msg->len);
	/* A granted message has its whole length counted; another one grows with what comes. */
	if (st->granted && st->msg->cap < st->msg_len) {
		RpcMsg *whole = rpc_msg_new(0, st->msg_len);
		whole->reserved = st->msg->reserved;
		whole = rpc_msg_append(whole, rpc_msg_content(st->msg), st->msg->len, st->msg_len);
		rpc_msg_unref(st->msg);
		st->msg = whole;
	}
	st->msg = rpc_msg_append(st->msg, data, n, st->msg_len);
	if (st->granted)
		consume(st, n);
	else
		st->uncredited += n;
	if (st->msg->len == st->msg_len)
		end_message(st);
	return n;
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                         void *user)
{
	H2Session *s = user;
	H2Stream *st = h2_stream_find(s, id);
	nghttp2_session_consume_connection(ng, len);
	if (st == NULL) {
		nghttp2_session_consume_stream(ng, id, len);
		return 0;
	}
	while (len > 0 && st->x != NULL && !st->dropping) {
		size_t n = feed(st, data, len);
		data += n;
		len -= n;
	}
	consume(st, len); // thrown away
	return 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
	H2Session *s = user;
	bool ends = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
	            (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
	if (!s->ops->frame(s, frame))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	H2Stream *st = ends ? h2_stream_find(s, frame->hd.stream_id) : NULL;
	if (st != NULL && !st->recv_end) {
		st->recv_end = true;
		if (st->x != NULL && !st->dropping)
			s->ops->end(st, st->have > 0);
	}
	return 0;
}

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user)
{
	H2Session *s = user;
	return s->ops->begin_frame == NULL || s->ops->begin_frame(s, hd) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
	H2Session *s = user;
	return s->ops->begin_headers(s, frame) ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	H2Session *s = user;
	H2Stream *st = h2_stream_find(s, frame->hd.stream_id);
	if (st != NULL)
		s->ops->header(st, name, name_len, value, value_len);
	return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error_code, void *user)
{
	H2Session *s = user;
	H2Stream *st = h2_stream_find(s, id);
	if (st == NULL)
		return 0;
	nghttp2_session_set_stream_user_data(ng, id, NULL);
	s->ops->closed(st, error_code);
	bool waited = st->reserved > 0 && s->n_waiting > 0;
	h2_stream_free(st);
	if (waited)
		retry_waiting(s);
	return 0;
}

/* ---- sending ---- */

/* Takes messages until there are `want` bytes. true: nothing comes after them. */
static bool pull(H2Stream *st, size_t want)
{
	bool end = st->x == NULL;
	while (st->x != NULL && st->tx.bytes - st->tx_off < want) {
		RpcMsg *msg = rpc_xfer_next_send(st->x, &end);
		if (msg == NULL)
			break;
		uint32_t len = GUINT32_TO_BE((uint32_t)msg->len);
		uint8_t *p = rpc_msg_prepend(msg, GRPC_PREFIX);
		p[0] = 0;
		memcpy(p + 1, &len, 4);
		rpc_msg_list_push(&st->tx, msg);
		if (end)
			break;
	}
	if (st->x != NULL && !end) {
		LOCK_SCOPE(&st->x->lock);
		end = st->x->send_end && st->x->sendq.head == NULL;
	}
	return end;
}

static ssize_t read_data(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
	H2Stream *st = source->ptr;
	bool end = pull(st, length);
	size_t have = st->tx.bytes - st->tx_off;
	if (have == 0 && !end) {
		st->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	size_t n = MIN(have, length);
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (end && n == have)
		*flags |= st->session->ops->last_data(st);
	return (ssize_t)n;
}

static int send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *framehd, size_t length,
                     nghttp2_data_source *source, void *user)
{
	H2Session *s = user;
	H2Stream *st = source->ptr;
	rpc_conn_write(s->conn, framehd, 9);
	while (length > 0) {
		RpcMsg *msg = st->tx.head;
		size_t n = MIN(length, msg->len - st->tx_off);
		rpc_conn_write_msg(s->conn, msg, st->tx_off, n);
		st->tx_off += n;
		length -= n;
		if (st->tx_off == msg->len) {
			rpc_msg_unref(rpc_msg_list_pop(&st->tx));
			st->tx_off = 0;
		}
	}
	return 0;
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
	H2Session *s = user;
	if (s->ops->frame_sent != NULL)
		s->ops->frame_sent(s, frame);
	return 0;
}

/* A header block that nghttp2 cannot send (too long): the stream cannot be ended in order. */
static int on_frame_not_send(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *user)
{
	if (frame->hd.type == NGHTTP2_HEADERS && error != NGHTTP2_ERR_STREAM_CLOSED &&
	    error != NGHTTP2_ERR_STREAM_CLOSING)
		nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
	return 0;
}

nghttp2_data_provider h2_stream_provider(H2Stream *st)
{
	return (nghttp2_data_provider){.source.ptr = st, .read_callback = read_data};
}

void h2_stream_resume(H2Stream *st)
{
	if (!st->deferred)
		return;
	st->deferred = false;
	nghttp2_session_resume_data(st->session->ng, st->id);
}

void h2_session_fill(RpcConn *conn)
{
	H2Session *s = conn->session;
	while (conn->out.bytes < RPC_OUT_MARK && !s->broken) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(s->ng, &data);
		if (n < 0) {
			rpc_conn_close(conn, RPC_INTERNAL, nghttp2_strerror((int)n));
			return;
		}
		if (n == 0)
			break;
		rpc_conn_write(conn, data, (size_t)n);
	}
	if (s->broken)
		return;
	bool over = !nghttp2_session_want_read(s->ng) && !nghttp2_session_want_write(s->ng);
	if (over || (s->goaway && s->n_streams == 0 && !nghttp2_session_want_write(s->ng)))
		rpc_conn_finish(conn, RPC_UNAVAILABLE,
		                s->goaway ? "EOF" : "connection closed: protocol error");
}

/* ---- session ---- */

bool h2_session_backlog(RpcConn *conn)
{
	H2Session *s = conn->session;
	return nghttp2_session_get_outbound_queue_size(s->ng) > 4096;
}

static void raw_goaway(RpcConn *conn, int32_t last, uint32_t code)
{
	uint8_t frame[17] = {0, 0, 8, NGHTTP2_GOAWAY};
	uint32_t v = GUINT32_TO_BE((uint32_t)last);
	memcpy(frame + 9, &v, 4);
	v = GUINT32_TO_BE(code);
	memcpy(frame + 13, &v, 4);
	rpc_conn_write(conn, frame, sizeof(frame));
}

bool h2_session_input(RpcConn *conn, const uint8_t *data, size_t len)
{
	H2Session *s = conn->session;
	ssize_t n = nghttp2_session_mem_recv(s->ng, data, len);
	if (n >= 0)
		return true;
	if (n == NGHTTP2_ERR_FLOODED || n == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS ||
	    n == NGHTTP2_ERR_CALLBACK_FAILURE)
		raw_goaway(conn, nghttp2_session_get_last_proc_stream_id(s->ng), NGHTTP2_ENHANCE_YOUR_CALM);
	s->broken = true;
	return false;
}

static nghttp2_session_callbacks *callbacks(void)
{
	nghttp2_session_callbacks *cb;
	if (nghttp2_session_callbacks_new(&cb) != 0)
		g_error("nghttp2: out of memory");
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_send);
	return cb;
}

static nghttp2_option *options(void)
{
	nghttp2_option *o;
	if (nghttp2_option_new(&o) != 0)
		g_error("nghttp2: out of memory");
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	/* The rules for messages are checked here as grpc-go checks them: nghttp2 would reset a stream where
	 * grpc-go explains, and refuse the :authority that some clients make of a socket's path. */
	nghttp2_option_set_no_http_messaging(o, 1);
#ifdef HAVE_NGHTTP2_RESET_LIMIT
	nghttp2_option_set_stream_reset_rate_limit(o, 100000, 100000); // ours comes before
#endif
	return o;
}

void h2_session_open(RpcConn *conn, const H2SideOps *ops, size_t max_recv, uint32_t max_streams)
{
	H2Session *s = g_new0(H2Session, 1);
	s->conn = conn;
	s->ops = ops;
	s->max_recv = max_recv;
	conn->session = s;
	nghttp2_session_callbacks *cb = callbacks();
	nghttp2_option *o = options();
	int r = conn->codec->server ? nghttp2_session_server_new2(&s->ng, cb, s, o)
	                            : nghttp2_session_client_new2(&s->ng, cb, s, o);
	if (r != 0)
		g_error("nghttp2: %s", nghttp2_strerror(r));
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(o);
	nghttp2_settings_entry settings[4] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW},
	                                      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_MAX_HEADERS},
	                                      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams},
	                                      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
	nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, settings, conn->codec->server ? 3 : 4);
	nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW);
}

void h2_session_close(RpcConn *conn)
{
	H2Session *s = conn->session;
	if (s == NULL)
		return;
	while (s->streams != NULL) {
		H2Stream *st = s->streams;
		if (s->ops->free_side != NULL)
			s->ops->free_side(st);
		h2_stream_free(st);
	}
	nghttp2_session_del(s->ng);
	g_free(s);
}
