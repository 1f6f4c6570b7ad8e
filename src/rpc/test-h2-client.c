// SPDX-License-Identifier: Apache-2.0

/* What our gRPC client makes of answers that are written by hand. */

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/thread.h"
#include "rpc/test-raw.h"
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <string.h>
#include <sys/socket.h>

static Loop *loop;

/* ---- a server by hand ---- */

static void put_frame(GByteArray *out, uint8_t type, uint8_t flags, uint32_t stream, const void *data,
                      size_t len)
{
	uint8_t hd[9] = {(uint8_t)(len >> 16),
	                 (uint8_t)(len >> 8),
	                 (uint8_t)len,
	                 type,
	                 flags,
	                 (uint8_t)(stream >> 24),
	                 (uint8_t)(stream >> 16),
	                 (uint8_t)(stream >> 8),
	                 (uint8_t)stream};
	g_byte_array_append(out, hd, sizeof(hd));
	if (len > 0)
		g_byte_array_append(out, data, (guint)len);
}

static void put_string(GByteArray *out, const char *s)
{
	uint8_t len = (uint8_t)strlen(s);
	g_assert_cmpuint(len, <, 127);
	g_byte_array_append(out, &len, 1);
	g_byte_array_append(out, (const uint8_t *)s, len);
}

/* "name: value|name: value" */
static void put_headers(GByteArray *out, const char *headers, bool end)
{
	g_autoptr(GByteArray) block = g_byte_array_new();
	g_auto(GStrv) fields = g_strsplit(headers, "|", -1);
	for (char **f = fields; *f != NULL; f++) {
		char *value = strstr(*f, ": ");
		*value = '\0';
		g_byte_array_append(block, (const uint8_t *)"", 1);
		put_string(block, *f);
		put_string(block, value + 2);
	}
	put_frame(out, NGHTTP2_HEADERS,
	          (uint8_t)(NGHTTP2_FLAG_END_HEADERS | (end ? NGHTTP2_FLAG_END_STREAM : 0)), 1, block->data,
	          block->len);
}

static void put_data(GByteArray *out, const void *data, size_t len, bool end)
{
	put_frame(out, NGHTTP2_DATA, end ? NGHTTP2_FLAG_END_STREAM : 0, 1, data, len);
}

/* Reads frames until the request on stream 1 is complete. */
static void read_request(int fd)
{
	uint8_t buf[65536];
	g_assert_true(raw_read(fd, buf, 24));
	g_assert_true(memcmp(buf, "PRI * HTTP/2.0", 14) == 0);
	for (;;) {
		uint8_t hd[9];
		g_assert_true(raw_read(fd, hd, 9));
		size_t len = (size_t)hd[0] << 16 | (size_t)hd[1] << 8 | hd[2];
		g_assert_cmpuint(len, <=, sizeof(buf));
		g_assert_true(len == 0 || raw_read(fd, buf, len));
		if (hd[8] == 1 && hd[3] == NGHTTP2_DATA && (hd[4] & NGHTTP2_FLAG_END_STREAM) != 0)
			return;
	}
}

typedef struct {
	int fd;
	GByteArray *answer;
} Peer;

static void *peer_run(void *data)
{
	Peer *p = data;
	read_request(p->fd);
	raw_write(p->fd, p->answer->data, p->answer->len);
	shutdown(p->fd, SHUT_WR);
	raw_read_eof(p->fd);
	close(p->fd);
	return NULL;
}

/* ---- answers ---- */

#define OK_HEADERS ":status: 200|content-type: application/grpc"

static void put_echo(GByteArray *out)
{
	put_headers(out, OK_HEADERS, false);
	put_data(out, "\0\0\0\0\3\x0a\1x", 8, false);
}

typedef struct {
	const char *name;
	void (*put)(GByteArray *out);
	CtrdErrorCode class;
	const char *text; // NULL: fine
} Case;

static void ok(GByteArray *out)
{
	put_headers(out, ":status: 103|link: x", false); // comes before the real ones
	put_echo(out);
	put_headers(out, "grpc-status: 0|grpc-message: |x-other: y", true);
}

static void error_percent(GByteArray *out)
{
	put_headers(
	        out,
	        OK_HEADERS
	        "|grpc-status: 9|grpc-message: image %22%C3%A4%22 100%: conflict|grpc-status-details-bin: "
	        "CAkSAXg",
	        true);
}

static void error_after_message(GByteArray *out)
{
	put_echo(out);
	put_headers(out, "grpc-status: 5|grpc-message: gone", true);
}

static void not_found(GByteArray *out)
{
	put_headers(out, ":status: 404|content-type: text/html", false);
	put_data(out, "<html>", 6, true);
}

static void no_type(GByteArray *out)
{
	put_headers(out, ":status: 503", true);
}

static void bad_status(GByteArray *out)
{
	put_echo(out);
	put_headers(out, "grpc-status: x", true);
}

static void no_status(GByteArray *out)
{
	put_echo(out);
	put_headers(out, "x-other: y", true);
}

static void no_message(GByteArray *out)
{
	put_headers(out, OK_HEADERS "|grpc-status: 0", true);
}

static void two_messages(GByteArray *out)
{
	put_echo(out);
	put_data(out, "\0\0\0\0\3\x0a\1x", 8, false);
	put_headers(out, "grpc-status: 0", true);
}

static void cut_message(GByteArray *out)
{
	put_headers(out, OK_HEADERS, false);
	put_data(out, "\0\0\0\0\3\x0a", 6, false);
	put_headers(out, "grpc-status: 0", true);
}

static void no_trailers(GByteArray *out)
{
	put_headers(out, OK_HEADERS, false);
	put_data(out, "\0\0\0\0\3\x0a\1x", 8, true);
}

static void too_large(GByteArray *out)
{
	put_headers(out, OK_HEADERS, false);
	put_data(out, "\0\1\0\0\1x", 6, false);
}

static void compressed(GByteArray *out)
{
	put_headers(out, OK_HEADERS, false);
	put_data(out, "\1\0\0\0\1x", 6, false);
}

static void gzip(GByteArray *out)
{
	put_headers(out, OK_HEADERS "|grpc-encoding: gzip", false);
}

static void headers_twice(GByteArray *out)
{
	put_echo(out);
	put_headers(out, OK_HEADERS, false);
}

static void reset_internal(GByteArray *out)
{
	put_frame(out, NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\2", 4);
}

static void reset_calm(GByteArray *out)
{
	put_frame(out, NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\x0b", 4);
}

static void eof(GByteArray *out)
{
}

static void not_http2(GByteArray *out)
{
	g_byte_array_set_size(out, 0);
	g_byte_array_append(out, (const uint8_t *)"HTTP/1.1 400 Bad Request\r\n\r\n", 28);
}

static const Case cases[] = {
        {"ok", ok, 0, NULL},
        {"error-percent", error_percent, CTRD_ERR_CONFLICT, "image \"ä\" 100%: conflict"},
        {"error-after-message", error_after_message, CTRD_ERR_NOT_FOUND, "gone"},
        {"not-found", not_found, CTRD_ERR_NOT_IMPLEMENTED,
         "unexpected HTTP status code received from server: 404 (Not Found); transport: received unexpected "
         "content-type "
         "\"text/html\""},
        {"no-type", no_type, CTRD_ERR_UNAVAILABLE,
         "unexpected HTTP status code received from server: 503 (Service Unavailable); malformed header: "
         "missing HTTP "
         "content-type"},
        {"bad-status", bad_status, CTRD_ERR_UNKNOWN, "transport: malformed grpc-status"},
        {"no-status", no_status, CTRD_ERR_UNKNOWN, ""},
        {"no-message", no_message, CTRD_ERR_INTERNAL,
         "cardinality violation: received no response message from non-server-streaming RPC"},
        {"two-messages", two_messages, CTRD_ERR_INTERNAL,
         "cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message"},
        {"cut-message", cut_message, CTRD_ERR_INTERNAL, "unexpected EOF"},
        {"no-trailers", no_trailers, CTRD_ERR_INTERNAL, "server closed the stream without sending trailers"},
        {"too-large", too_large, CTRD_ERR_RESOURCE_EXHAUSTED,
         "grpc: received message larger than max (16777217 vs. 16777216)"},
        {"compressed", compressed, CTRD_ERR_INTERNAL,
         "grpc: compressed flag set with identity or empty encoding"},
        {"gzip", gzip, CTRD_ERR_INTERNAL, "grpc: Decompressor is not installed for grpc-encoding \"gzip\""},
        {"headers-twice", headers_twice, CTRD_ERR_INTERNAL,
         "a HEADERS frame cannot appear in the middle of a stream"},
        {"reset-internal", reset_internal, CTRD_ERR_INTERNAL,
         "stream terminated by RST_STREAM with error code: INTERNAL_ERROR"},
        {"reset-calm", reset_calm, CTRD_ERR_RESOURCE_EXHAUSTED,
         "stream terminated by RST_STREAM with error code: ENHANCE_YOUR_CALM"},
        {"eof", eof, CTRD_ERR_UNAVAILABLE, "error reading from server: EOF"},
        {"not-http2", not_http2, CTRD_ERR_UNAVAILABLE,
         "error reading from server: connection closed: protocol error"},
};

static void test_case(const void *data)
{
	const Case *c = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(GByteArray) out = g_byte_array_new();
	int fds[2];
	pthread_t thread;
	put_frame(out, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	c->put(out);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	Peer peer = {fds[1], out};
	g_assert_cmpint(thread_start(&thread, "peer", 0, peer_run, &peer), ==, 0);
	RpcClient *client = rpc_client_new_fd(loop, RPC_PROTO_GRPC, fds[0]);
	TestMsg req = test_text("x");
	autopb TestMsg *res = NULL;
	bool r = rpc_client_call(client, test_descriptor, "Echo", NULL, &req, &res, &error);
	if (c->text == NULL) {
		g_assert_no_error(error);
		g_assert_cmpuint(res->value.len, ==, 1);
	} else {
		g_assert_false(r);
		g_assert_cmpstr(error->message, ==, c->text);
		g_assert_cmpint(error_class(error), ==, c->class);
	}
	rpc_client_unref(client);
	pthread_join(thread, NULL);
}

/* ---- refused unseen: once more on a new connection ---- */

static void *refuse_then_answer(void *data)
{
	int listen_fd = *(int *)data;
	g_autoptr(GByteArray) out = g_byte_array_new();
	autofd first = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	read_request(first);
	put_frame(out, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	put_frame(out, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8); // the last one seen is none
	g_assert_true(raw_write(first, out->data, out->len));
	autofd second = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	read_request(second);
	g_byte_array_set_size(out, 0);
	put_frame(out, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	ok(out);
	g_assert_true(raw_write(second, out->data, out->len));
	raw_read_eof(first);
	raw_read_eof(second);
	return NULL;
}

static void test_retry(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = g_dir_make_tmp("rpc-test-XXXXXX", NULL);
	g_autofree char *path = path_join(dir, "s.sock");
	int fd = rpc_listen_unix(path, 0600, geteuid(), getegid(), &error);
	g_assert_no_error(error);
	g_assert_cmpint(fcntl(fd, F_SETFL, 0), ==, 0); // accept waits
	pthread_t thread;
	g_assert_cmpint(thread_start(&thread, "peer", 0, refuse_then_answer, &fd), ==, 0);
	RpcClient *client = rpc_client_new(loop, RPC_PROTO_GRPC, path);
	TestMsg req = test_text("x");
	autopb TestMsg *res = NULL;
	g_assert_true(rpc_client_call(client, test_descriptor, "Echo", NULL, &req, &res, &error));
	rpc_client_unref(client);
	pthread_join(thread, NULL);
	close(fd);
	g_assert_true(tree_remove(dir, &error));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	log_set_level(LOG_FATAL);
	loop = loop_start("client");
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = g_strdup_printf("/h2-client/%s", cases[i].name);
		g_test_add_data_func(path, &cases[i], test_case);
	}
	g_test_add_func("/h2-client/retry", test_retry);
	int r = g_test_run();
	loop_stop_join(loop);
	return r;
}
