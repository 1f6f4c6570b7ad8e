// SPDX-License-Identifier: Apache-2.0
#include "rpc/conn.h"

#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* What is read at once. On the stack, so that an idle connection has no buffer. */
#define RX_CHUNK 16384
/* What is encrypted at once; TLS takes 16 KiB in one record. */
#define CIPHER_CHUNK ((size_t)32 * 1024)
#define RECORD ((size_t)16 * 1024)
/* One connection reads or writes at most this before the others have their turn. */
#define TURN ((size_t)1024 * 1024)
#define FLUSH_TIMEOUT (1 * NS_PER_SEC)

/* ---- output ---- */

struct RpcOutSeg {
	RpcOutSeg *next;
	RpcMsg *msg; // NULL: the bytes follow here
	const uint8_t *at;
	size_t len;
	size_t room; // behind the bytes
	uint8_t data[];
};
#define SEG_SIZE 512

static void out_push(RpcOut *out, RpcOutSeg *seg)
{
	if (out->tail != NULL)
		out->tail->next = seg;
	else
		out->head = seg;
	out->tail = seg;
	out->bytes += seg->len;
}

static void out_drop_head(RpcOut *out)
{
	RpcOutSeg *seg = out->head;
	out->head = seg->next;
	if (out->head == NULL)
		out->tail = NULL;
	rpc_msg_unref(seg->msg);
	g_free(seg);
}

static void out_consume(RpcOut *out, size_t n)
{
	out->bytes -= n;
	while (out->head != NULL && n >= out->head->len) {
		n -= out->head->len;
		out_drop_head(out);
	}
	if (n > 0) {
		out->head->at += n;
		out->head->len -= n;
	}
}

static void out_clear(RpcOut *out)
{
	while (out->head != NULL)
		out_drop_head(out);
	out->bytes = 0;
}

void rpc_conn_write(RpcConn *conn, const void *data, size_t len)
{
	RpcOut *out = &conn->out;
	RpcOutSeg *tail = out->tail;
	if (len == 0)
		return;
	if (tail != NULL && tail->msg == NULL && tail->room >= len) {
		memcpy(tail->data + (tail->at - tail->data) + tail->len, data, len);
		tail->len += len;
		tail->room -= len;
		out->bytes += len;
		return;
	}
	size_t size = MAX(len, (size_t)SEG_SIZE);
	RpcOutSeg *seg = g_malloc(sizeof(*seg) + size);
	*seg = (RpcOutSeg){.at = seg->data, .len = len, .room = size - len};
	memcpy(seg->data, data, len);
	out_push(out, seg);
}

void rpc_conn_write_msg(RpcConn *conn, RpcMsg *msg, size_t off, size_t len)
{
	if (len <= SEG_SIZE / 2) {
		rpc_conn_write(conn, rpc_msg_content(msg) + off, len);
		return;
	}
	RpcOutSeg *seg = g_malloc(sizeof(*seg));
	*seg = (RpcOutSeg){.msg = rpc_msg_ref(msg), .at = rpc_msg_content(msg) + off, .len = len};
	out_push(&conn->out, seg);
}

GByteArray *rpc_conn_take_output(RpcConn *conn)
{
	GByteArray *bytes = g_byte_array_new();
	rpc_conn_hold(conn);
	if (!conn->closed)
		conn->codec->fill(conn);
	while (conn->out.head != NULL) {
		g_byte_array_append(bytes, conn->out.head->at, (guint)conn->out.head->len);
		out_consume(&conn->out, conn->out.head->len);
		if (conn->out.head == NULL && !conn->closed)
			conn->codec->fill(conn);
	}
	rpc_conn_release(conn);
	return bytes;
}

/* ---- life ---- */

RpcConn *rpc_conn_new(Loop *loop, int fd, const RpcCodec *codec, const RpcConnOwnerOps *ops, void *owner)
{
	RpcConn *conn = g_new0(RpcConn, 1);
	conn->refs = 1;
	conn->loop = loop;
	conn->fd = fd;
	conn->codec = codec;
	conn->owner_ops = ops;
	conn->owner = owner;
	return conn;
}

RpcConn *rpc_conn_ref(RpcConn *conn)
{
	__atomic_add_fetch(&conn->refs, 1, __ATOMIC_RELAXED);
	return conn;
}

void rpc_conn_unref(RpcConn *conn)
{
	if (conn == NULL || __atomic_sub_fetch(&conn->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	g_assert(conn->fd < 0 && conn->session == NULL);
	if (conn->crypt != NULL)
		conn->crypt->ops->free(conn->crypt);
	g_free(conn->cipher.data);
	g_free(conn->close_text);
	g_free(conn);
}

static void handle_closed(uv_handle_t *handle)
{
	rpc_conn_unref(handle->data);
}

static void teardown(RpcConn *conn)
{
	RpcConn *self = rpc_conn_ref(conn);
	conn->closed = true;
	if (conn->polling)
		uv_close((uv_handle_t *)&conn->poll, handle_closed); // has a reference of its own
	fd_close(&conn->fd);
	rpc_conn_clear_timeout(conn);
	out_clear(&conn->out);
	/* The owner forgets the connection before anybody above is told and calls again. */
	conn->owner_ops->closed(conn);
	while (conn->xfers != NULL)
		rpc_conn_detach(conn, conn->xfers, conn->close_code, conn->close_text);
	conn->codec->close(conn);
	conn->session = NULL;
	rpc_conn_unref(conn); // the owner's
	rpc_conn_unref(self);
}

void rpc_conn_close(RpcConn *conn, RpcStatusCode code, const char *text)
{
	if (conn->closing || conn->closed)
		return;
	if (conn->close_text == NULL) {
		conn->close_code = code;
		conn->close_text = g_strdup(text);
	}
	conn->closing = true;
	if (conn->hold == 0)
		teardown(conn);
}

void rpc_conn_attach(RpcConn *conn, RpcXfer *x, uint32_t id)
{
	rpc_xfer_ref(x);
	x->conn = conn;
	x->id = id;
	x->prev = NULL;
	x->next = conn->xfers;
	if (x->next != NULL)
		x->next->prev = x;
	conn->xfers = x;
	conn->n_xfers++;
}

void rpc_conn_detach(RpcConn *conn, RpcXfer *x, RpcStatusCode code, const char *text)
{
	if (x->conn != conn)
		return;
	if (x->prev != NULL)
		x->prev->next = x->next;
	else
		conn->xfers = x->next;
	if (x->next != NULL)
		x->next->prev = x->prev;
	x->next = x->prev = NULL;
	x->conn = NULL;
	x->stream = NULL;
	conn->n_xfers--;
	x->ops->closed(x, code, text);
	rpc_xfer_unref(x);
}

/* ---- socket ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

/* There is something to write that can be written now. */
static bool has_output(const RpcConn *conn)
{
	return conn->cipher.len > 0 ||
	       (conn->out.head != NULL && (conn->crypt == NULL || conn->crypt->established));
}

static void set_events(RpcConn *conn)
{
	if (conn->fd < 0 || conn->closed)
		return;
	int events = 0;
	if (!conn->stop_read && !conn->pause_read && !conn->finishing)
		events |= UV_READABLE;
	if (has_output(conn))
		events |= UV_WRITABLE;
	if (events == 0)
		events = UV_DISCONNECT;
	if (events == conn->events)
		return;
	conn->events = events;
	uv_poll_start(&conn->poll, events, on_poll);
}

static void on_timeout(void *data)
{
	rpc_conn_close(data, RPC_UNAVAILABLE, "EOF");
}

static void io_failed(RpcConn *conn, int errnum)
{
	if (errnum == 0 || errnum == ECONNRESET || errnum == EPIPE) {
		rpc_conn_close(conn, RPC_UNAVAILABLE, "EOF");
		return;
	}
	g_autofree char *text = errno_text(errnum);
	rpc_conn_close(conn, RPC_UNAVAILABLE, text);
}

void rpc_conn_set_timeout(RpcConn *conn, int64_t ns)
{
	if (conn->timer == NULL)
		conn->timer = loop_timer_new(conn->loop, on_timeout, conn);
	loop_timer_start(conn->timer, ns, 0);
}

void rpc_conn_clear_timeout(RpcConn *conn)
{
	loop_timer_free(conn->timer);
	conn->timer = NULL;
}

/* The peer's last words may still be readable, and the poll tells; or the timer does. */
static void write_failed(RpcConn *conn)
{
	conn->io_error = true;
	rpc_conn_set_timeout(conn, FLUSH_TIMEOUT);
	out_clear(&conn->out);
	conn->cipher.len = 0;
}

/* One sendmsg. false: the socket is full or broken. */
static bool send_iov(RpcConn *conn, struct iovec *iov, size_t n, size_t total, size_t *ret_sent)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
	ssize_t sent = RETRY_EINTR(sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT));
	*ret_sent = sent > 0 ? (size_t)sent : 0;
	if (sent < 0 && errno != EAGAIN)
		write_failed(conn);
	return sent >= 0 && (size_t)sent == total;
}

static bool write_plain(RpcConn *conn)
{
	struct iovec iov[64];
	size_t n = 0, total = 0, sent;
	for (RpcOutSeg *seg = conn->out.head; seg != NULL && n < G_N_ELEMENTS(iov); seg = seg->next) {
		iov[n++] = (struct iovec){.iov_base = (void *)seg->at, .iov_len = seg->len};
		total += seg->len;
	}
	bool all = send_iov(conn, iov, n, total, &sent);
	if (!conn->io_error)
		out_consume(&conn->out, sent);
	return all;
}

/* Fills the empty buffer for the socket: first with what the handshake has to say, then from the output. */
static bool encrypt(RpcConn *conn)
{
	RpcCrypt *crypt = conn->crypt;
	if (conn->cipher.data == NULL)
		conn->cipher.data = g_malloc(CIPHER_CHUNK);
	conn->cipher.at = 0;
	while (crypt->established && conn->out.head != NULL) {
		size_t n = MIN(conn->out.head->len, RECORD);
		if (!crypt->ops->write(crypt, conn->out.head->at, n)) {
			write_failed(conn);
			return false;
		}
		out_consume(&conn->out, n);
		conn->cipher.len += crypt->ops->take(crypt, conn->cipher.data + conn->cipher.len,
		                                     CIPHER_CHUNK - conn->cipher.len);
		if (conn->cipher.len > CIPHER_CHUNK - RECORD)
			break; // the rest of a record that did not fit comes first next time
	}
	conn->cipher.len += crypt->ops->take(crypt, conn->cipher.data + conn->cipher.len,
	                                     CIPHER_CHUNK - conn->cipher.len);
	return conn->cipher.len > 0;
}

static bool write_encrypted(RpcConn *conn)
{
	size_t sent;
	if (conn->cipher.len == 0 && !encrypt(conn)) {
		g_clear_pointer(&conn->cipher.data, g_free); // an idle connection has no buffer
		return false;
	}
	struct iovec iov = {.iov_base = conn->cipher.data + conn->cipher.at, .iov_len = conn->cipher.len};
	bool all = send_iov(conn, &iov, 1, conn->cipher.len, &sent);
	conn->cipher.at += sent;
	conn->cipher.len -= MIN(sent, conn->cipher.len);
	return all;
}

static void flush(RpcConn *conn)
{
	if (conn->fd < 0) {
		conn->codec->fill(conn);
		return;
	}
	for (size_t turn = 0; turn < TURN / RPC_OUT_MARK; turn++) {
		if (conn->out.bytes < RPC_OUT_MARK && !conn->io_error)
			conn->codec->fill(conn);
		if (conn->crypt != NULL ? !write_encrypted(conn)
		                        : conn->out.head == NULL || !write_plain(conn))
			break;
	}
}

void rpc_conn_finish(RpcConn *conn, RpcStatusCode code, const char *text)
{
	if (conn->finishing || conn->closing || conn->closed)
		return;
	rpc_conn_hold(conn);
	conn->finishing = true;
	conn->close_code = code;
	conn->close_text = g_strdup(text);
	rpc_conn_set_timeout(conn, FLUSH_TIMEOUT);
	rpc_conn_release(conn);
}

void rpc_conn_hold(RpcConn *conn)
{
	conn->hold++;
}

void rpc_conn_release(RpcConn *conn)
{
	if (conn->hold == 1 && !conn->closed && !conn->closing) {
		flush(conn);
		if (conn->finishing && conn->out.head == NULL && conn->cipher.len == 0)
			conn->closing = true;
		bool backlog = conn->codec->backlog != NULL && conn->codec->backlog(conn);
		if (backlog || conn->out.bytes > RPC_OUT_STOP_READ)
			conn->stop_read = true;
		else if (conn->out.bytes < RPC_OUT_STOP_READ / 2)
			conn->stop_read = false;
		if (!conn->closing)
			set_events(conn);
	}
	if (--conn->hold == 0 && conn->closing && !conn->closed)
		teardown(conn);
}

void rpc_conn_input(RpcConn *conn, const uint8_t *data, size_t len)
{
	if (conn->finishing || conn->closing || conn->closed)
		return;
	rpc_conn_hold(conn);
	if (!conn->codec->input(conn, data, len))
		rpc_conn_finish(conn, RPC_UNAVAILABLE, "connection closed: protocol error");
	rpc_conn_release(conn);
}

/* Bytes from the socket: decrypted, to the protocol. */
static void input_encrypted(RpcConn *conn, const uint8_t *data, size_t len)
{
	RpcCrypt *crypt = conn->crypt;
	uint8_t plain[RX_CHUNK];
	ssize_t n;
	crypt->ops->feed(crypt, data, len);
	while (!conn->finishing && !conn->closing &&
	       (n = crypt->ops->read(crypt, plain, sizeof(plain))) != 0) {
		if (n > 0) {
			rpc_conn_input(conn, plain, (size_t)n);
			continue;
		}
		if (!crypt->established)
			out_clear(&conn->out); // nobody can read it
		rpc_conn_finish(conn, RPC_UNAVAILABLE, "EOF");
	}
}

/* One recv. false: nothing more now, or the connection is done. */
static bool read_once(RpcConn *conn, size_t *turn)
{
	uint8_t chunk[RX_CHUNK], *at = NULL;
	size_t room = 0;
	if (conn->codec->rx_buffer != NULL && conn->crypt == NULL)
		at = conn->codec->rx_buffer(conn, &room);
	if (at == NULL) {
		at = chunk;
		room = sizeof(chunk);
	}
	ssize_t n = RETRY_EINTR(recv(conn->fd, at, room, MSG_DONTWAIT));
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		io_failed(conn, n < 0 ? errno : 0);
		return false;
	}
	*turn += (size_t)n;
	if (conn->crypt != NULL)
		input_encrypted(conn, at, (size_t)n);
	else
		rpc_conn_input(conn, at, (size_t)n);
	return (size_t)n == room;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	RpcConn *conn = poll->data;
	bool hangup = status < 0 || events == 0 || (events & UV_DISCONNECT) != 0;
	rpc_conn_hold(conn);
	if ((events & UV_READABLE) != 0 || hangup || conn->io_error) {
		size_t turn = 0;
		while (turn < TURN && !conn->closing && !conn->stop_read && !conn->pause_read &&
		       !conn->finishing && read_once(conn, &turn))
			;
	}
	if (hangup || conn->io_error)
		io_failed(conn, 0); // whatever was readable has been read
	rpc_conn_release(conn);
}

bool rpc_conn_start(RpcConn *conn, GError **error)
{
	if (conn->fd >= 0) {
		int r = uv_poll_init_socket(loop_uv(conn->loop), &conn->poll, conn->fd);
		if (r < 0)
			return error_set_errno(error, -r, "poll");
		conn->poll.data = rpc_conn_ref(conn);
		conn->polling = true;
	}
	rpc_conn_hold(conn);
	conn->codec->open(conn);
	rpc_conn_release(conn);
	return true;
}

void rpc_conn_pause_read(RpcConn *conn, bool pause)
{
	if (conn->pause_read == pause)
		return;
	conn->pause_read = pause;
	if (conn->hold == 0)
		set_events(conn);
}
