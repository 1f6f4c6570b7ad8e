// SPDX-License-Identifier: Apache-2.0

/* HTTP/2 frames written by hand to a gRPC server: what grpc-go checks and says, limits, floods, cut and
 * damaged input. */

#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "rpc/test-raw.h"
#include <nghttp2/nghttp2.h>
#include <string.h>

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static RawServer server;

/* ---- writing ---- */

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

/* HPACK: a literal that is not indexed, no Huffman; values up to 16 KiB. */
static void put_string(GByteArray *out, const char *s)
{
	size_t len = strlen(s);
	if (len < 127) {
		uint8_t n = (uint8_t)len;
		g_byte_array_append(out, &n, 1);
	} else {
		uint8_t n[3] = {127, (uint8_t)((len - 127) % 128 | 128), (uint8_t)((len - 127) / 128)};
		g_byte_array_append(out, n, 3);
	}
	g_byte_array_append(out, (const uint8_t *)s, (guint)len);
}

static void put_header(GByteArray *out, const char *name, const char *value)
{
	uint8_t literal = 0;
	g_byte_array_append(out, &literal, 1);
	put_string(out, name);
	put_string(out, value);
}

/* The usual headers; more is name, value pairs ended by NULL, and replaces those of the same name. */
static GByteArray *headers(const char *method, const char *const *more)
{
	static const char *const usual[][2] = {{":method", "POST"},
	                                       {":scheme", "http"},
	                                       {":path", NULL},
	                                       {":authority", "localhost"},
	                                       {"content-type", "application/grpc"},
	                                       {"te", "trailers"}};
	GByteArray *out = g_byte_array_new();
	g_autofree char *path = g_strdup_printf("/ctrd.test.v1.Test/%s", method);
	for (size_t i = 0; i < G_N_ELEMENTS(usual); i++) {
		bool replaced = false;
		for (size_t k = 0; more != NULL && more[k] != NULL; k += 2)
			replaced |= strcmp(more[k], usual[i][0]) == 0;
		if (!replaced)
			put_header(out, usual[i][0], str_or(usual[i][1], path));
	}
	for (size_t k = 0; more != NULL && more[k] != NULL; k += 2)
		put_header(out, more[k], more[k + 1]);
	return out;
}

static void put_open(GByteArray *out)
{
	g_byte_array_append(out, (const uint8_t *)PREFACE, strlen(PREFACE));
	put_frame(out, NGHTTP2_SETTINGS, 0, 0, "\0\1\0\0\0\0",
	          6); // no table: each answer can be read by itself
}

static void put_request(GByteArray *out, uint32_t stream, const char *method, const char *const *more)
{
	g_autoptr(GByteArray) block = headers(method, more);
	put_frame(out, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream, block->data, block->len);
}

static void put_message(GByteArray *out, uint32_t stream, uint8_t flag, uint32_t claimed, const void *data,
                        size_t len, bool end)
{
	uint8_t buf[512] = {flag, (uint8_t)(claimed >> 24), (uint8_t)(claimed >> 16), (uint8_t)(claimed >> 8),
	                    (uint8_t)claimed};
	memcpy(buf + 5, data, len);
	put_frame(out, NGHTTP2_DATA, end ? NGHTTP2_FLAG_END_STREAM : 0, stream, buf, 5 + len);
}

/* An Echo with a message of 5 bytes. */
static void put_echo(GByteArray *out, uint32_t stream)
{
	put_request(out, stream, "Echo", NULL);
	put_message(out, stream, 0, 7, "\x0a\x05hello", 7, true);
}

/* ---- reading ---- */

typedef struct {
	int http_status, grpc_status; // -1: none
	char *message;
	GByteArray *data;
	uint32_t reset; // error code + 1
	uint32_t goaway;
	bool ended;
	bool eof;
} Answer;

static void answer_clear(Answer *a)
{
	g_free(a->message);
	if (a->data != NULL)
		g_byte_array_unref(a->data);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Answer, answer_clear)

static void read_block(nghttp2_hd_inflater *inflater, Answer *a, const uint8_t *data, size_t len)
{
	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, data, len, 1);
		g_assert_cmpint(n, >=, 0);
		data += n;
		len -= (size_t)n;
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
			const char *name = (const char *)nv.name;
			g_autofree char *value = g_strndup((const char *)nv.value, nv.valuelen);
			if (strcmp(name, ":status") == 0)
				a->http_status = (int)g_ascii_strtoll(value, NULL, 10);
			else if (strcmp(name, "grpc-status") == 0)
				a->grpc_status = (int)g_ascii_strtoll(value, NULL, 10);
			else if (strcmp(name, "grpc-message") == 0)
				a->message = g_steal_pointer(&value);
		}
		if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
			nghttp2_hd_inflate_end_headers(inflater);
			return;
		}
	}
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Reads until the stream has ended, the connection is closed or a GOAWAY has come. */
static Answer read_answer(int fd, uint32_t stream)
{
	Answer a = {.http_status = -1, .grpc_status = -1, .data = g_byte_array_new()};
	nghttp2_hd_inflater *inflater;
	g_assert_cmpint(nghttp2_hd_inflate_new(&inflater), ==, 0);
	while (!a.ended) {
		uint8_t hd[9], body[65536];
		if (!raw_read(fd, hd, 9)) {
			a.eof = true;
			break;
		}
		size_t len = (size_t)hd[0] << 16 | (size_t)hd[1] << 8 | hd[2];
		g_assert_cmpuint(len, <, sizeof(body));
		g_assert_true(len == 0 || raw_read(fd, body, len));
		uint32_t id = get_u32(hd + 5);
		if (hd[3] == NGHTTP2_HEADERS)
			read_block(inflater, &a, body, len); // of any stream: the table is common
		if (hd[3] == NGHTTP2_GOAWAY)
			a.goaway = get_u32(body + 4) + 1;
		if (id != stream)
			continue;
		if (hd[3] == NGHTTP2_DATA)
			g_byte_array_append(a.data, body, (guint)len);
		if (hd[3] == NGHTTP2_RST_STREAM)
			a.reset = get_u32(body) + 1;
		a.ended =
		        hd[3] == NGHTTP2_RST_STREAM || ((hd[3] == NGHTTP2_HEADERS || hd[3] == NGHTTP2_DATA) &&
		                                        (hd[4] & NGHTTP2_FLAG_END_STREAM) != 0);
	}
	nghttp2_hd_inflate_del(inflater);
	return a;
}

/* ---- what grpc-go checks ---- */

typedef struct {
	const char *name;
	const char *method;
	const char *headers[5];
	/* The body: a message with this flag and length, or what is said. */
	enum { BODY_MESSAGE, BODY_NONE, BODY_CUT, BODY_TWO, BODY_BAD } body;
	uint8_t flag;
	uint32_t claimed; // 0: right
	int http_status;
	int grpc_status;
	const char *message;
	uint32_t reset; // code + 1
} Case;

static const Case cases[] = {
        {"ok", "Echo", {NULL}, BODY_MESSAGE, 0, 0, 200, 0, ""},
        {"content-type+proto",
         "Echo",
         {"content-type", "application/grpc+proto"},
         BODY_MESSAGE,
         0,
         0,
         200,
         0,
         ""},
        {"content-type",
         "Echo",
         {"content-type", "text/html"},
         BODY_MESSAGE,
         0,
         0,
         415,
         3,
         "invalid gRPC request content-type \"text/html\""},
        {"method",
         "Echo",
         {":method", "GET"},
         BODY_MESSAGE,
         0,
         0,
         405,
         13,
         "Received a HEADERS frame with :method \"GET\" which should be POST"},
        {"timeout-unit",
         "Echo",
         {"grpc-timeout", "10x"},
         BODY_MESSAGE,
         0,
         0,
         400,
         13,
         "malformed grpc-timeout: transport: timeout unit is not recognized: \"10x\""},
        {"timeout-short",
         "Echo",
         {"grpc-timeout", "S"},
         BODY_MESSAGE,
         0,
         0,
         400,
         13,
         "malformed grpc-timeout: transport: timeout string is too short: \"S\""},
        {"timeout-long",
         "Echo",
         {"grpc-timeout", "123456789S"},
         BODY_MESSAGE,
         0,
         0,
         400,
         13,
         "malformed grpc-timeout: transport: timeout string is too long: \"123456789S\""},
        {"timeout-zero",
         "Echo",
         {"grpc-timeout", "0S"},
         BODY_MESSAGE,
         0,
         0,
         200,
         4,
         "context deadline exceeded"},
        {"timeout-huge", "Echo", {"grpc-timeout", "99999999H"}, BODY_MESSAGE, 0, 0, 200, 0, ""},
        {"bin",
         "Echo",
         {"x-bin", "a!b"},
         BODY_MESSAGE,
         0,
         0,
         400,
         13,
         "malformed binary metadata \"a!b\" in header \"x-bin\": illegal base64 data at input byte 1"},
        {"connection",
         "Echo",
         {"connection", "close"},
         BODY_MESSAGE,
         0,
         0,
         -1,
         -1,
         NULL,
         NGHTTP2_PROTOCOL_ERROR + 1},
        {"two-hosts",
         "Echo",
         {"host", "a", "host", "b"},
         BODY_MESSAGE,
         0,
         0,
         400,
         13,
         "num values of :authority: 1, num values of host: 2, both must only have 1 value as per HTTP/2 "
         "spec"},
        {"socket-path-as-authority", "Echo", {":authority", "/run/x.sock"}, BODY_MESSAGE, 0, 0, 200, 0, ""},
        {"gzip",
         "Echo",
         {"grpc-encoding", "gzip"},
         BODY_MESSAGE,
         0,
         0,
         200,
         12,
         "grpc: Decompressor is not installed for grpc-encoding \"gzip\""},
        {"identity", "Echo", {"grpc-encoding", "identity"}, BODY_MESSAGE, 0, 0, 200, 0, ""},
        {"compressed-flag",
         "Echo",
         {NULL},
         BODY_MESSAGE,
         1,
         0,
         200,
         13,
         "grpc: compressed flag set with identity or empty encoding"},
        {"payload-format",
         "Echo",
         {NULL},
         BODY_MESSAGE,
         9,
         0,
         200,
         13,
         "grpc: received unexpected payload format 9"},
        {"too-large",
         "Echo",
         {NULL},
         BODY_MESSAGE,
         0,
         16777217,
         200,
         8,
         "grpc: received message larger than max (16777217 vs. 16777216)"},
        {"unknown-method",
         "Nope",
         {NULL},
         BODY_MESSAGE,
         0,
         0,
         200,
         12,
         "unknown method Nope for service ctrd.test.v1.Test"},
        {"unknown-service", "Echo", {":path", "/a.b/C"}, BODY_MESSAGE, 0, 0, 200, 12, "unknown service a.b"},
        {"path", "Echo", {":path", "a.b/C"}, BODY_MESSAGE, 0, 0, 200, 12, "malformed method name: \"a.b/C\""},
        {"path-2", "Echo", {":path", "/abc"}, BODY_MESSAGE, 0, 0, 200, 12, "malformed method name: \"/abc\""},
        {"no-message",
         "Echo",
         {NULL},
         BODY_NONE,
         0,
         0,
         200,
         13,
         "cardinality violation: received no request message from non-client-streaming RPC"},
        {"cut-message", "Echo", {NULL}, BODY_CUT, 0, 0, 200, 13, "unexpected EOF"},
        {"two-messages",
         "Sleep",
         {NULL},
         BODY_TWO,
         0,
         0,
         200,
         13,
         "cardinality violation: received multiple request messages for non-client-streaming RPC"},
        {"bad-message",
         "Echo",
         {NULL},
         BODY_BAD,
         0,
         0,
         200,
         13,
         "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"},
};

static void put_body(GByteArray *out, const Case *c)
{
	const char *text = strcmp(c->method, "Sleep") == 0 ? "\x0a\x05"
	                                                     "50000"
	                                                   : "\x0a\x05hello";
	switch (c->body) {
	case BODY_MESSAGE:
		put_message(out, 1, c->flag, c->claimed != 0 ? c->claimed : 7, text, 7, true);
		break;
	case BODY_NONE:
		put_frame(out, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, NULL, 0);
		break;
	case BODY_CUT:
		put_message(out, 1, 0, 7, text, 3, true);
		break;
	case BODY_TWO:
		put_message(out, 1, 0, 7, text, 7, false);
		put_message(out, 1, 0, 7, text, 7, true);
		break;
	case BODY_BAD:
		put_message(out, 1, 0, 3, "\x0a\x05h", 3, true);
		break;
	}
}

static void test_case(const void *data)
{
	const Case *c = data;
	autofd fd = raw_connect(&server, RPC_PROTO_GRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();
	put_open(out);
	put_request(out, 1, c->method, c->headers);
	put_body(out, c);
	g_assert_true(raw_write(fd, out->data, out->len));
	g_auto(Answer) a = read_answer(fd, 1);
	g_assert_cmpint(a.http_status, ==, c->http_status);
	g_assert_cmpint(a.grpc_status, ==, c->grpc_status);
	if (c->body == BODY_BAD)
		g_assert_true(g_str_has_prefix(a.message, c->message));
	else
		g_assert_cmpstr(a.message, ==, c->message);
	g_assert_cmpuint(a.reset, ==, c->reset);
	if (c->grpc_status == 0) {
		g_assert_cmpuint(a.data->len, ==, 12);
		g_assert_true(memcmp(a.data->data, "\0\0\0\0\x07\x0a\x05hello", 12) == 0);
	}
	/* The connection lives on. */
	g_byte_array_set_size(out, 0);
	put_echo(out, 3);
	g_assert_true(raw_write(fd, out->data, out->len));
	g_auto(Answer) again = read_answer(fd, 3);
	g_assert_cmpint(again.grpc_status, ==, 0);
}

/* An answer before the client has ended its side is followed by a reset, so that it stops. */
static void test_reset_after_answer(void)
{
	autofd fd = raw_connect(&server, RPC_PROTO_GRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();
	put_open(out);
	put_request(out, 1, "Nope", NULL);
	g_assert_true(raw_write(fd, out->data, out->len));
	g_auto(Answer) a = read_answer(fd, 1);
	g_assert_cmpint(a.grpc_status, ==, 12);
	g_auto(Answer) r = read_answer(fd, 1);
	g_assert_cmpuint(r.reset, ==, NGHTTP2_NO_ERROR + 1);
}

static void test_header_list(void)
{
	autofd fd = raw_connect(&server, RPC_PROTO_GRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autofree char *big = g_strnfill(12000, 'x');
	const char *one[] = {"x-1", big, NULL};
	put_open(out);
	put_request(out, 1, "Echo", one); // 12 KiB is fine
	put_message(out, 1, 0, 7, "\x0a\x05hello", 7, true);
	g_assert_true(raw_write(fd, out->data, out->len));
	g_auto(Answer) a = read_answer(fd, 1);
	g_assert_cmpint(a.grpc_status, ==, 0);
	/* 72 KiB in one HEADERS and five CONTINUATIONs are not. */
	g_byte_array_set_size(out, 0);
	g_autoptr(GByteArray) block = headers("Echo", NULL);
	put_frame(out, NGHTTP2_HEADERS, 0, 3, block->data, block->len);
	for (unsigned i = 0; i < 6; i++) {
		g_autoptr(GByteArray) more = g_byte_array_new();
		put_header(more, "x-n", big);
		put_frame(out, NGHTTP2_CONTINUATION, i == 5 ? NGHTTP2_FLAG_END_HEADERS : 0, 3, more->data,
		          more->len);
	}
	g_assert_true(raw_write(fd, out->data, out->len));
	g_auto(Answer) b = read_answer(fd, 3);
	g_assert_cmpuint(b.reset, ==, NGHTTP2_FRAME_SIZE_ERROR + 1);
}

/* ---- floods ---- */

typedef struct {
	const char *name;
	void (*put)(GByteArray *out, unsigned i);
} Flood;

static void put_ping(GByteArray *out, unsigned i)
{
	put_frame(out, NGHTTP2_PING, 0, 0, "12345678", 8);
}

static void put_settings(GByteArray *out, unsigned i)
{
	put_frame(out, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\1\0\0", 6);
}

static void put_priority(GByteArray *out, unsigned i)
{
	put_frame(out, NGHTTP2_PRIORITY, 0, 2 * i + 1, "\0\0\0\0\1", 5);
}

static void put_window(GByteArray *out, unsigned i)
{
	put_frame(out, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
}

static void put_empty_data(GByteArray *out, unsigned i)
{
	if (i == 0)
		put_request(out, 1, "Sum", NULL);
	put_frame(out, NGHTTP2_DATA, 0, 1, NULL, 0);
}

static void put_reset(GByteArray *out, unsigned i)
{
	put_request(out, 2 * i + 1, "Sum", NULL);
	put_frame(out, NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\10", 4);
}

static void put_continuation(GByteArray *out, unsigned i)
{
	if (i == 0)
		put_frame(out, NGHTTP2_HEADERS, 0, 1, NULL, 0);
	else
		put_frame(out, NGHTTP2_CONTINUATION, 0, 1, NULL, 0);
}

static const Flood floods[] = {
        {"ping", put_ping},
        {"settings", put_settings},
        {"priority", put_priority},
        {"window", put_window},
        {"empty-data", put_empty_data},
        {"reset", put_reset},
        {"continuation", put_continuation},
};

static void test_flood(const void *data)
{
	const Flood *f = data;
	autofd fd = raw_connect(&server, RPC_PROTO_GRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();
	put_open(out);
	bool closed = false;
	for (unsigned i = 0; i < 200000 && !closed; i++) {
		f->put(out, i);
		if (i % 64 == 63) {
			closed = !raw_write(fd, out->data, out->len);
			g_byte_array_set_size(out, 0);
		}
	}
	g_assert_true(closed);
	raw_wait_idle(&server);
	/* The last words are there, where the kernel did not throw them away with the socket. */
	g_auto(Answer) a = read_answer(fd, 0x7fffffff);
	g_assert_true(a.goaway == 0 || a.goaway == NGHTTP2_ENHANCE_YOUR_CALM + 1);
}

/* Requests whose answers nobody reads: the server stops reading instead of keeping them. */
static void test_unread_answers(void)
{
	autofd fd = raw_connect(&server, RPC_PROTO_GRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();
	put_open(out);
	for (unsigned i = 0; i < 100000; i++)
		put_request(out, 2 * i + 1, "Nope", NULL);
	struct timeval timeout = {.tv_usec = 300000};
	g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)), ==, 0);
	g_assert_false(raw_write(fd, out->data, out->len));
}

/* ---- cut and damaged ---- */

static GByteArray *session_bytes(void)
{
	GByteArray *out = g_byte_array_new();
	put_open(out);
	put_echo(out, 1);
	put_request(out, 3, "Chat", NULL);
	put_message(out, 3, 0, 7, "\x0a\x05hello", 7, false);
	put_frame(out, NGHTTP2_PING, 0, 0, "12345678", 8);
	put_message(out, 3, 0, 7, "\x0a\x05hello", 7, true);
	put_request(out, 5, "Later", NULL);
	put_message(out, 5, 0, 3,
	            "\x0a\x01"
	            "1",
	            3, true);
	return out;
}

static void test_cut(void)
{
	g_autoptr(GByteArray) all = session_bytes();
	for (unsigned n = 0; n <= all->len; n++) {
		autofd fd = raw_connect(&server, RPC_PROTO_GRPC);
		g_assert_true(raw_write(fd, all->data, n));
	}
	raw_wait_idle(&server);
}

/* Each byte changed in turn: the server may answer what it likes, but lives and frees everything. */
static void test_damaged(void)
{
	g_autoptr(GByteArray) all = session_bytes();
	static const uint8_t masks[] = {0xff, 0x01, 0x80};
	for (size_t m = 0; m < sizeof(masks); m++) {
		for (unsigned n = 0; n < all->len; n++) {
			autofd fd = raw_connect(&server, RPC_PROTO_GRPC);
			all->data[n] ^= masks[m];
			raw_write(fd, all->data, all->len);
			all->data[n] ^= masks[m];
		}
	}
	raw_wait_idle(&server);
}

static void test_not_http2(void)
{
	static const char *const greetings[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	                                        "\x16\x03\x01\x02\x00\x01\x00\x01",
	                                        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxx"};
	for (size_t i = 0; i < G_N_ELEMENTS(greetings); i++) {
		autofd fd = raw_connect(&server, RPC_PROTO_GRPC);
		g_autofree char *padded = g_strdup_printf("%s%64s", greetings[i], "");
		raw_write(fd, padded, strlen(padded));
		raw_read_eof(fd);
	}
}

/* ---- streams and the end ---- */

static void test_max_streams(void)
{
	RawServer small;
	raw_server_start(&small, &(RpcServerLimits){.max_streams = 4, .shutdown_ns = 100 * NS_PER_MS});
	{
		autofd fd = raw_connect(&small, RPC_PROTO_GRPC);
		g_autoptr(GByteArray) out = g_byte_array_new();
		put_open(out);
		for (unsigned i = 0; i < 5; i++)
			put_request(out, 2 * i + 1, "Sum", NULL);
		g_assert_true(raw_write(fd, out->data, out->len));
		g_auto(Answer) a = read_answer(fd, 9);
		g_assert_cmpuint(a.reset, ==, NGHTTP2_REFUSED_STREAM + 1);
	}
	raw_server_stop(&small);
}

static void test_drain(void)
{
	RawServer s;
	raw_server_start(&s, NULL);
	autofd fd = raw_connect(&s, RPC_PROTO_GRPC), idle = raw_connect(&s, RPC_PROTO_GRPC);
	g_autoptr(GByteArray) out = g_byte_array_new();
	put_open(out);
	g_assert_true(raw_write(idle, out->data, out->len));
	put_request(out, 1, "Sleep", NULL);
	put_message(out, 1, 0, 5,
	            "\x0a\x03"
	            "200",
	            5, true);
	g_assert_true(raw_write(fd, out->data, out->len));
	cancel_sleep(NULL, 50 * NS_PER_MS, NULL);
	int64_t start = time_mono();
	raw_server_stop(&s); // the call is answered, although the client does not answer the ping
	g_assert_cmpint(time_mono() - start, >, 100 * NS_PER_MS);
	g_auto(Answer) a = read_answer(fd, 1);
	g_assert_cmpint(a.grpc_status, ==, 0);
	g_assert_cmpuint(a.goaway, ==, NGHTTP2_NO_ERROR + 1);
	raw_read_eof(fd);
	raw_read_eof(idle);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	log_set_level(LOG_FATAL);
	raw_server_start(&server, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = g_strdup_printf("/h2/check/%s", cases[i].name);
		g_test_add_data_func(path, &cases[i], test_case);
	}
	g_test_add_func("/h2/reset-after-answer", test_reset_after_answer);
	g_test_add_func("/h2/header-list", test_header_list);
	for (size_t i = 0; i < G_N_ELEMENTS(floods); i++) {
		g_autofree char *path = g_strdup_printf("/h2/flood/%s", floods[i].name);
		g_test_add_data_func(path, &floods[i], test_flood);
	}
	g_test_add_func("/h2/unread-answers", test_unread_answers);
	g_test_add_func("/h2/cut", test_cut);
	g_test_add_func("/h2/damaged", test_damaged);
	g_test_add_func("/h2/not-http2", test_not_http2);
	g_test_add_func("/h2/max-streams", test_max_streams);
	g_test_add_func("/h2/drain", test_drain);
	int r = g_test_run();
	raw_wait_idle(&server);
	raw_server_stop(&server);
	return r;
}
