// SPDX-License-Identifier: Apache-2.0

/* ttrpc frames written by hand to a server and to a client: what upstream checks and says, cut and damaged
 * input. */

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/thread.h"
#include "rpc/test-raw.h"
#include "rpc/ttrpc-wire.h"
#include <string.h>
#include <sys/socket.h>

static RawServer server;

static void put_frame(GByteArray *out, uint32_t stream, uint8_t type, uint8_t flags, const void *data,
                      size_t len)
{
	uint8_t hd[TTRPC_HEADER];
	ttrpc_header_write(
	        hd, &(TtrpcHeader){.len = (uint32_t)len, .stream = stream, .type = type, .flags = flags});
	g_byte_array_append(out, hd, sizeof(hd));
	if (len > 0)
		g_byte_array_append(out, data, (guint)len);
}

static void put_request_as(GByteArray *out, uint32_t stream, uint8_t flags, const char *service,
                           const char *method, int64_t timeout_ns, const char *value)
{
	TestMsg m = test_text(str_or(value, ""));
	g_autoptr(RpcMsg) msg = ttrpc_request_pack(service, method, timeout_ns, NULL, "ns", NULL,
	                                           value != NULL ? &m.base : NULL);
	put_frame(out, stream, TTRPC_REQUEST, flags, rpc_msg_content(msg), msg->len);
}

static void put_request(GByteArray *out, uint32_t stream, uint8_t flags, const char *method,
                        const char *value)
{
	put_request_as(out, stream, flags, "ctrd.test.v1.Test", method, 0, value);
}

typedef struct {
	TtrpcHeader h;
	uint8_t *body;
	TtrpcResponse r; // of a response
} Frame;

static void frame_clear(Frame *f)
{
	g_free(f->body);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Frame, frame_clear)

static Frame read_frame(int fd)
{
	Frame f = {0};
	uint8_t hd[TTRPC_HEADER];
	g_assert_true(raw_read(fd, hd, sizeof(hd)));
	f.h.len = (uint32_t)hd[0] << 24 | (uint32_t)hd[1] << 16 | (uint32_t)hd[2] << 8 | hd[3];
	f.h.stream = (uint32_t)hd[4] << 24 | (uint32_t)hd[5] << 16 | (uint32_t)hd[6] << 8 | hd[7];
	f.h.type = hd[8];
	f.h.flags = hd[9];
	g_assert_cmpuint(f.h.len, <=, TTRPC_MESSAGE_MAX);
	f.body = g_malloc(f.h.len + 1);
	g_assert_true(f.h.len == 0 || raw_read(fd, f.body, f.h.len));
	if (f.h.type == TTRPC_RESPONSE)
		g_assert_true(ttrpc_response_read(f.body, f.h.len, &f.r));
	return f;
}

static void assert_status(int fd, uint32_t stream, RpcStatusCode code, const char *text)
{
	g_auto(Frame) f = read_frame(fd);
	g_assert_cmpuint(f.h.stream, ==, stream);
	g_assert_cmpuint(f.h.type, ==, TTRPC_RESPONSE);
	g_autofree char *message =
	        g_strndup(f.r.message.len > 0 ? (const char *)f.r.message.data : "", f.r.message.len);
	g_assert_cmpstr(message, ==, text);
	g_assert_cmpint(f.r.code, ==, code);
}

static void assert_data(int fd, uint32_t stream, uint8_t flags, const char *bytes)
{
	g_auto(Frame) f = read_frame(fd);
	g_assert_cmpuint(f.h.stream, ==, stream);
	g_assert_cmpuint(f.h.type, ==, TTRPC_DATA);
	g_assert_cmpuint(f.h.flags, ==, flags);
	f.body[f.h.len] = '\0';
	g_assert_cmpstr((char *)f.body, ==, bytes);
}

static void send_all(int fd, GByteArray *out)
{
	g_assert_true(raw_write(fd, out->data, out->len));
	g_byte_array_set_size(out, 0);
}

/* ---- the server ---- */

static void test_checks(void)
{
	autofd fd = raw_connect(&server, RPC_PROTO_TTRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();

	put_request(out, 2, 0, "Echo", "x");
	send_all(fd, out);
	assert_status(fd, 2, RPC_INVALID_ARGUMENT, "StreamID must be odd for client initiated streams");

	put_request(out, 5, 0, "Echo", "x");
	send_all(fd, out);
	assert_status(fd, 5, RPC_OK, "");
	put_request(out, 5, 0, "Echo", "x");
	put_request(out, 3, 0, "Echo", "x");
	send_all(fd, out);
	assert_status(fd, 5, RPC_INVALID_ARGUMENT, "StreamID cannot be re-used and must increment");
	assert_status(fd, 3, RPC_INVALID_ARGUMENT, "StreamID cannot be re-used and must increment");

	put_frame(out, 7, TTRPC_REQUEST, 0, "\x0a\xff\xff", 3);
	send_all(fd, out);
	assert_status(fd, 7, RPC_INVALID_ARGUMENT,
	              "unmarshal request error: proto: cannot parse invalid wire-format data");

	put_frame(out, 99, TTRPC_DATA, 0, "x", 1);
	send_all(fd, out);
	assert_status(fd, 99, RPC_INVALID_ARGUMENT, "StreamID is no longer active");

	put_request_as(out, 9, 0, "no.Such", "Echo", 0, "x");
	put_request(out, 11, 0, "Nope", "x");
	put_request(out, 13, 0, "Missing", "x");
	send_all(fd, out);
	assert_status(fd, 9, RPC_UNIMPLEMENTED, "service no.Such");
	assert_status(fd, 11, RPC_UNIMPLEMENTED, "method Nope");
	assert_status(fd, 13, RPC_UNIMPLEMENTED, "method Missing");

	put_request_as(out, 15, 0, "ctrd.test.v1.Test", "Sleep", 20 * NS_PER_MS, "5000");
	send_all(fd, out);
	assert_status(fd, 15, RPC_DEADLINE_EXCEEDED, "context deadline exceeded");

	/* A frame of a type to come is ignored, and one without anything is a request for the service "". */
	put_frame(out, 17, 77, 0, "x", 1);
	put_frame(out, 19, TTRPC_REQUEST, 0, NULL, 0);
	send_all(fd, out);
	assert_status(fd, 19, RPC_UNIMPLEMENTED, "service ");

	g_autoptr(RpcMsg) bad = ttrpc_request_pack("ctrd.test.v1.Test", "Echo", 0, NULL, NULL, NULL, NULL);
	bad = rpc_msg_append(bad, "\x1a\x02\x0a\x09", 4, bad->len + 4);
	put_frame(out, 21, TTRPC_REQUEST, 0, rpc_msg_content(bad), bad->len);
	send_all(fd, out);
	g_auto(Frame) f = read_frame(fd);
	g_assert_cmpint(f.r.code, ==, RPC_INTERNAL);
	g_assert_true(
	        g_str_has_prefix((char *)f.r.message.data, "ttrpc: error unmarshalling payload: proto: "));
}

static void test_oversized(void)
{
	autofd fd = raw_connect(&server, RPC_PROTO_TTRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autofree uint8_t *big = g_malloc0(TTRPC_MESSAGE_MAX + 1);
	put_frame(out, 1, TTRPC_REQUEST, 0, big, TTRPC_MESSAGE_MAX + 1);
	put_request(out, 3, 0, "Echo", "x");
	send_all(fd, out);
	assert_status(fd, 1, RPC_RESOURCE_EXHAUSTED,
	              "message length 4194305 exceed maximum message size of 4194304");
	assert_status(fd, 3, RPC_OK, "");
}

static void test_metadata_bound(void)
{
	autofd fd = raw_connect(&server, RPC_PROTO_TTRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autoptr(GHashTable) md = strmap_new();
	g_autofree char *big = g_strnfill(70000, 'x');
	strmap_set(md, "k", big);
	g_autoptr(RpcMsg) msg = ttrpc_request_pack("ctrd.test.v1.Test", "Echo", 0, md, NULL, NULL, NULL);
	put_frame(out, 1, TTRPC_REQUEST, 0, rpc_msg_content(msg), msg->len);
	send_all(fd, out);
	assert_status(fd, 1, RPC_RESOURCE_EXHAUSTED, "metadata larger than max (256 pairs, 65536 bytes)");
}

static void test_streams(void)
{
	autofd fd = raw_connect(&server, RPC_PROTO_TTRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();
	/* Bidirectional; the first message may come with the request. */
	put_request(out, 1, TTRPC_REMOTE_OPEN, "Chat", "one");
	put_frame(out, 1, TTRPC_DATA, 0, "\x0a\x03two", 5);
	put_frame(out, 1, TTRPC_DATA, 0, NULL, 0); // an empty message
	put_frame(out, 1, TTRPC_DATA, TTRPC_REMOTE_CLOSED | TTRPC_NO_DATA, NULL, 0);
	send_all(fd, out);
	assert_data(fd, 1, 0, "\x0a\x03one");
	assert_data(fd, 1, 0, "\x0a\x03two");
	assert_data(fd, 1, 0, "");
	assert_data(fd, 1, TTRPC_REMOTE_CLOSED | TTRPC_NO_DATA, "");
	/* Of the server. */
	put_request(out, 3, TTRPC_REMOTE_CLOSED, "Count", "2 1");
	send_all(fd, out);
	g_auto(Frame) a = read_frame(fd);
	g_auto(Frame) b = read_frame(fd);
	g_assert_cmpuint(a.h.len, ==, 3);
	g_assert_cmpuint(b.h.len, ==, 3);
	assert_data(fd, 3, TTRPC_REMOTE_CLOSED | TTRPC_NO_DATA, "");
	/* Of the client. */
	put_request(out, 5, TTRPC_REMOTE_OPEN, "Sum", NULL);
	put_frame(out, 5, TTRPC_DATA, 0, "\x0a\x03two", 5);
	put_frame(out, 5, TTRPC_DATA, TTRPC_REMOTE_CLOSED | TTRPC_NO_DATA, NULL, 0);
	send_all(fd, out);
	g_auto(Frame) c = read_frame(fd);
	g_assert_cmpint(c.r.code, ==, RPC_OK);
	g_assert_cmpuint(c.r.payload.len, ==, 5);
	g_assert_true(memcmp(c.r.payload.data,
	                     "\x0a\x03"
	                     "1 3",
	                     5) == 0);
	/* What is wrong. */
	put_request(out, 7, TTRPC_REMOTE_OPEN, "Lazy", "300");
	put_frame(out, 7, TTRPC_DATA, TTRPC_REMOTE_CLOSED, "\x0a\x03two", 5);
	send_all(fd, out);
	assert_status(fd, 7, RPC_INVALID_ARGUMENT, "data close message cannot include data");
	put_request(out, 9, TTRPC_REMOTE_OPEN, "Lazy", "300");
	put_frame(out, 9, TTRPC_DATA, TTRPC_REMOTE_CLOSED | TTRPC_NO_DATA, NULL, 0);
	put_frame(out, 9, TTRPC_DATA, 0, "\x0a\x03two", 5);
	send_all(fd, out);
	assert_status(fd, 9, RPC_INVALID_ARGUMENT, "data handling error: ttrpc: stream closed");
	put_request(out, 11, TTRPC_REMOTE_OPEN, "Chat", "fail");
	send_all(fd, out);
	assert_status(fd, 11, RPC_ABORTED, "told to fail");
}

/* A stream that takes nothing holds the connection up for a second, then only itself. */
static void test_stream_full(void)
{
	autofd fd = raw_connect(&server, RPC_PROTO_TTRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autofree uint8_t *zeros = g_malloc0(1000000);
	put_request(out, 1, TTRPC_REMOTE_OPEN, "Lazy", "3000");
	for (unsigned i = 0; i < 2; i++)
		put_frame(out, 1, TTRPC_DATA, 0, zeros, 1000000);
	put_request(out, 3, 0, "Echo", "x");
	send_all(fd, out);
	int64_t start = time_mono();
	assert_status(fd, 1, RPC_INVALID_ARGUMENT, "data handling error: ttrpc: stream buffer full");
	assert_status(fd, 3, RPC_OK, "");
	g_assert_cmpint(time_mono() - start, >, 500 * NS_PER_MS);
}

static void test_unread_answers(void)
{
	autofd fd = raw_connect(&server, RPC_PROTO_TTRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();
	for (unsigned i = 0; i < 200000; i++)
		put_request(out, 2 * i + 1, 0, "Nope", "x");
	struct timeval timeout = {.tv_usec = 300000};
	g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)), ==, 0);
	g_assert_false(raw_write(fd, out->data, out->len));
}

static GByteArray *session_bytes(void)
{
	GByteArray *out = g_byte_array_new();
	put_request(out, 1, 0, "Echo", "hello");
	put_request(out, 3, TTRPC_REMOTE_OPEN, "Chat", NULL);
	put_frame(out, 3, TTRPC_DATA, 0, "\x0a\x03two", 5);
	put_request(out, 5, 0, "Later", "1");
	put_frame(out, 3, TTRPC_DATA, TTRPC_REMOTE_CLOSED | TTRPC_NO_DATA, NULL, 0);
	put_request_as(out, 7, 0, "ctrd.test.v1.Test", "Sleep", NS_PER_MS, "50");
	return out;
}

static void test_cut(void)
{
	g_autoptr(GByteArray) all = session_bytes();
	for (unsigned n = 0; n <= all->len; n++) {
		autofd fd = raw_connect(&server, RPC_PROTO_TTRPC);
		g_assert_true(raw_write(fd, all->data, n));
	}
	raw_wait_idle(&server);
}

static void test_damaged(void)
{
	g_autoptr(GByteArray) all = session_bytes();
	static const uint8_t masks[] = {0xff, 0x01, 0x80};
	for (size_t m = 0; m < sizeof(masks); m++) {
		for (unsigned n = 0; n < all->len; n++) {
			autofd fd = raw_connect(&server, RPC_PROTO_TTRPC);
			all->data[n] ^= masks[m];
			raw_write(fd, all->data, all->len);
			all->data[n] ^= masks[m];
		}
	}
	raw_wait_idle(&server);
}

/* ---- the client ---- */

typedef struct {
	int fd;
	GByteArray *answer;
} Peer;

/* Reads one request, writes the answer and closes. */
static void *peer_run(void *data)
{
	Peer *p = data;
	g_auto(Frame) f = read_frame(p->fd);
	raw_write(p->fd, p->answer->data, p->answer->len);
	shutdown(p->fd, SHUT_WR);
	raw_read_eof(p->fd);
	close(p->fd);
	return NULL;
}

/* What the client makes of an answer. */
static void check_client(Loop *loop, GByteArray *answer, CtrdErrorCode class, const char *text)
{
	g_autoptr(GError) error = NULL;
	int fds[2];
	pthread_t thread;
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	Peer peer = {fds[1], answer};
	g_assert_cmpint(thread_start(&thread, "peer", 0, peer_run, &peer), ==, 0);
	RpcClient *client = rpc_client_new_fd(loop, RPC_PROTO_TTRPC, fds[0]);
	TestMsg req = test_text("x");
	autopb TestMsg *res = NULL;
	bool ok = rpc_client_call(client, test_descriptor, "Echo", NULL, &req, &res, &error);
	if (text == NULL) {
		g_assert_no_error(error);
		g_assert_true(ok);
	} else {
		g_assert_false(ok);
		g_assert_cmpstr(error->message, ==, text);
		g_assert_cmpint(error_class(error), ==, class);
	}
	rpc_client_unref(client);
	pthread_join(thread, NULL);
	g_byte_array_set_size(answer, 0);
}

static void test_client(void)
{
	Loop *loop = loop_start("client");
	g_autoptr(GByteArray) out = g_byte_array_new();
	put_frame(out, 1, TTRPC_RESPONSE, 0, NULL, 0);
	check_client(loop, out, 0, NULL);
	put_frame(out, 9, TTRPC_RESPONSE, 0, NULL, 0); // of nobody
	put_frame(out, 1, TTRPC_RESPONSE, 0, "\x12\x03\x0a\x01x", 5);
	check_client(loop, out, 0, NULL);
	put_frame(out, 1, TTRPC_RESPONSE, 0,
	          "\x0a\x0a\x08\x05\x12\x06"
	          "gone!\n",
	          12);
	check_client(loop, out, CTRD_ERR_NOT_FOUND, "gone!\n");
	put_frame(out, 1, TTRPC_RESPONSE, 0, "\x0a\xff", 2);
	check_client(loop, out, CTRD_ERR_UNKNOWN, "proto: cannot parse invalid wire-format data");
	put_frame(out, 1, TTRPC_DATA, 0, "x", 1);
	check_client(loop, out, CTRD_ERR_UNKNOWN, "unexpected \"data\" message received: protocol error");
	put_frame(out, 1, TTRPC_REQUEST, 0, "x", 1);
	check_client(loop, out, CTRD_ERR_UNKNOWN, "unexpected \"request\" message received: protocol error");
	g_autofree uint8_t *big = g_malloc0(TTRPC_MESSAGE_MAX + 1);
	put_frame(out, 1, TTRPC_RESPONSE, 0, big, TTRPC_MESSAGE_MAX + 1);
	check_client(loop, out, CTRD_ERR_RESOURCE_EXHAUSTED,
	             "message length 4194305 exceed maximum message size of 4194304");
	g_byte_array_append(out, (const uint8_t *)"\0\0\0\x09\0\0\0\1\2\0abc", 13); // cut
	check_client(loop, out, CTRD_ERR_UNAVAILABLE, "ttrpc: closed");
	check_client(loop, out, CTRD_ERR_UNAVAILABLE, "ttrpc: closed");
	loop_stop_join(loop);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	log_set_level(LOG_FATAL);
	raw_server_start(&server, NULL);
	g_test_add_func("/ttrpc/checks", test_checks);
	g_test_add_func("/ttrpc/oversized", test_oversized);
	g_test_add_func("/ttrpc/metadata-bound", test_metadata_bound);
	g_test_add_func("/ttrpc/streams", test_streams);
	g_test_add_func("/ttrpc/stream-full", test_stream_full);
	g_test_add_func("/ttrpc/unread-answers", test_unread_answers);
	g_test_add_func("/ttrpc/cut", test_cut);
	g_test_add_func("/ttrpc/damaged", test_damaged);
	g_test_add_func("/ttrpc/client", test_client);
	int r = g_test_run();
	raw_wait_idle(&server);
	raw_server_stop(&server);
	return r;
}
