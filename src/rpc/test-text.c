// SPDX-License-Identifier: Apache-2.0

/* The pure parts: statuses, gRPC's header texts, ttrpc's envelopes and frames. */

#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include "rpc/grpc-text.h"
#include "rpc/status.h"
#include "rpc/test-service.h"
#include "rpc/ttrpc-wire.h"
#include <string.h>

static void test_status(void)
{
	struct {
		RpcStatusCode code;
		const char *text;
		CtrdErrorCode class;
	} cases[] = {
	        {RPC_NOT_FOUND, "image \"x\": not found", CTRD_ERR_NOT_FOUND},
	        {RPC_FAILED_PRECONDITION, "x: conflict", CTRD_ERR_CONFLICT},
	        {RPC_FAILED_PRECONDITION, "conflict", CTRD_ERR_CONFLICT},
	        {RPC_FAILED_PRECONDITION, "x: not modified", CTRD_ERR_NOT_MODIFIED},
	        {RPC_FAILED_PRECONDITION, "xconflict", CTRD_ERR_FAILED_PRECONDITION},
	        {RPC_FAILED_PRECONDITION, "in conflict: x", CTRD_ERR_FAILED_PRECONDITION},
	        {RPC_FAILED_PRECONDITION, "", CTRD_ERR_FAILED_PRECONDITION},
	        {RPC_UNKNOWN, "x", CTRD_ERR_UNKNOWN},
	        {(RpcStatusCode)77, "x", CTRD_ERR_UNKNOWN},
	        {RPC_CANCELLED, "context canceled", CTRD_ERR_CANCELED},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_false(rpc_status_to_error(cases[i].code, cases[i].text, &error));
		g_assert_cmpint(error_class(error), ==, cases[i].class);
		g_assert_cmpstr(error->message, ==, cases[i].text);
	}
	/* Each class has a code and comes back from it, with its text. */
	for (int c = 0; c < CTRD_ERROR_N_CODES; c++) {
		g_autoptr(GError) error = NULL, back = NULL;
		error_set_class(&error, (CtrdErrorCode)c, "x");
		rpc_status_to_error(rpc_status_of(error), error->message, &back);
		g_assert_cmpint(error_class(back), ==, c);
	}
	g_assert_cmpint(rpc_status_of(NULL), ==, RPC_OK);
	g_autoptr(GError) foreign = g_error_new(G_FILE_ERROR, 1, "x");
	g_assert_cmpint(rpc_status_of(foreign), ==, RPC_UNKNOWN);
	g_assert_cmpstr(rpc_status_name(RPC_DEADLINE_EXCEEDED), ==, "DeadlineExceeded");
}

static void test_timeout(void)
{
	struct {
		const char *text;
		int64_t ns;
	} good[] = {{"1H", 3600 * NS_PER_SEC},
	            {"2M", 120 * NS_PER_SEC},
	            {"3S", 3 * NS_PER_SEC},
	            {"100m", 100 * NS_PER_MS},
	            {"5u", 5000},
	            {"7n", 7},
	            {"0n", 0},
	            {"99999999H", INT64_MAX}};
	for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
		int64_t ns;
		char *why = NULL;
		g_assert_true(grpc_timeout_parse(good[i].text, strlen(good[i].text), &ns, &why));
		g_assert_cmpint(ns, ==, good[i].ns);
	}
	static const char *const bad[] = {"", "1", "n", "1x", "-1n", "+1n", " 1n", "1.5S", "123456789n"};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		int64_t ns;
		char *why = NULL;
		g_assert_false(grpc_timeout_parse(bad[i], strlen(bad[i]), &ns, &why));
		g_assert_nonnull(why);
		g_free(why);
	}
	struct {
		int64_t ns;
		const char *text;
	} formats[] = {{-5, "0n"},
	               {1, "1n"},
	               {99999999, "99999999n"},
	               {100000001, "100001u"},
	               {5 * NS_PER_SEC, "5000000u"},
	               {INT64_MAX, "2562048H"}};
	for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
		char out[16];
		grpc_timeout_format(formats[i].ns, out);
		g_assert_cmpstr(out, ==, formats[i].text);
	}
}

static void test_message(void)
{
	struct {
		const char *text, *encoded;
	} cases[] = {{"", ""},
	             {"plain \"text\": ~", "plain \"text\": ~"},
	             {"100%", "100%25"},
	             {"a\nb\x7f", "a%0Ab%7F"},
	             {"ä€😀", "%C3%A4%E2%82%AC%F0%9F%98%80"}};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *e = grpc_message_encode(cases[i].text, 4096);
		g_autofree char *d = grpc_message_decode(e, strlen(e));
		g_assert_cmpstr(e, ==, cases[i].encoded);
		g_assert_cmpstr(d, ==, cases[i].text);
	}
	g_autofree char *invalid = grpc_message_encode("a\xff\xc3z", 4096);
	g_assert_cmpstr(invalid, ==, "a%EF%BF%BD%EF%BF%BDz");
	g_autofree char *cut = grpc_message_encode("abcdef", 3);
	g_assert_cmpstr(cut, ==, "abc");
	g_autofree char *odd = grpc_message_decode("%4%zz%41%", 9);
	g_assert_cmpstr(odd, ==, "%4%zzA%");
}

static void test_bin(void)
{
	for (size_t len = 0; len < 18; len++) {
		const char data[] = "\0\1\2\xff\xfe some binary";
		g_autofree char *text = grpc_bin_encode(data, len);
		g_autofree char *padded = g_base64_encode((const uint8_t *)data, len);
		for (int p = 0; p < 2; p++) {
			const char *t = p == 0 ? text : padded;
			g_autofree uint8_t *back = NULL;
			size_t n, at;
			g_assert_true(grpc_bin_decode(t, strlen(t), &back, &n, &at));
			g_assert_cmpuint(n, ==, len);
			g_assert_true(memcmp(back, data, len) == 0);
		}
	}
	static const char *const bad[] = {"a", "a!aa", "aaaaa", "a===", "aa=a", "ab="};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		uint8_t *back;
		size_t n, at;
		g_assert_false(grpc_bin_decode(bad[i], strlen(bad[i]), &back, &n, &at));
	}
}

static void test_content_type(void)
{
	static const char *const good[] = {"application/grpc", "application/grpc+proto",
	                                   "application/grpc;x"};
	static const char *const bad[] = {"", "application/grp", "application/grpcx", "text/html"};
	for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
		g_assert_true(grpc_content_type_ok(good[i], strlen(good[i])));
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(grpc_content_type_ok(bad[i], strlen(bad[i])));
}

/* ---- ttrpc ---- */

static void count_pair(void *data, TtrpcSlice key, TtrpcSlice value)
{
	++*(unsigned *)data;
}

static bool slice_is(TtrpcSlice s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static void test_request(void)
{
	g_autoptr(GHashTable) md = strmap_new();
	strmap_set(md, "a", "b");
	TestMsg m = test_text("payload");
	g_autoptr(RpcMsg) msg = ttrpc_request_pack("s.S", "M", 5, md, "ns", "lease", &m.base);
	TtrpcRequest r;
	unsigned pairs = 0;
	g_assert_true(ttrpc_request_read(rpc_msg_content(msg), msg->len, &r, count_pair, &pairs));
	g_assert_true(slice_is(r.service, "s.S") && slice_is(r.method, "M"));
	g_assert_true(slice_is(r.payload, "\x0a\x07payload"));
	g_assert_cmpint(r.timeout_ns, ==, 5);
	g_assert_cmpuint(pairs, ==, 3);
	/* Cut anywhere it is an error or a shorter request, and nothing is read behind the end. */
	for (size_t n = 0; n < msg->len; n++) {
		g_autofree uint8_t *copy = g_memdup2(rpc_msg_content(msg), MAX(n, 1));
		ttrpc_request_read(copy, n, &r, NULL, NULL);
	}
}

static void test_response(void)
{
	g_autoptr(RpcMsg) status = ttrpc_response_status(RPC_NOT_FOUND, "gone");
	TtrpcResponse r;
	g_assert_true(ttrpc_response_read(rpc_msg_content(status), status->len, &r));
	g_assert_cmpint(r.code, ==, RPC_NOT_FOUND);
	g_assert_true(slice_is(r.message, "gone"));
	g_autoptr(RpcMsg) payload = rpc_msg_new(RPC_MSG_HEADROOM, 3);
	payload = rpc_msg_append(payload, "abc", 3, 3);
	ttrpc_response_wrap(payload);
	g_assert_true(ttrpc_response_read(rpc_msg_content(payload), payload->len, &r));
	g_assert_cmpint(r.code, ==, RPC_OK);
	g_assert_true(slice_is(r.payload, "abc"));
	/* Unknown fields of every kind are passed over; groups and endless numbers are not protobuf. */
	static const uint8_t extra[] = {0x38, 1,    0x39, 1, 2, 3, 4,    5, 6,  7,
	                                8,    0x3d, 1,    2, 3, 4, 0x12, 1, 'x'};
	g_assert_true(ttrpc_response_read(extra, sizeof(extra), &r));
	g_assert_true(slice_is(r.payload, "x"));
	static const uint8_t bad[][12] = {
	        {0x0b}, {0x12, 5}, {0x00, 1}, {0x38, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(ttrpc_response_read(bad[i], i == 0 ? 1 : i == 3 ? 11 : 2, &r));
}

static void test_reader(void)
{
	/* Two frames in pieces of every size. */
	uint8_t bytes[] = {0, 0, 0, 3, 0, 0, 0, 1, 1, 2, 'a', 'b', 'c', 0, 0, 0, 0, 0, 0, 0, 3, 2, 0};
	for (size_t step = 1; step <= sizeof(bytes); step++) {
		TtrpcReader reader = {0};
		unsigned frames = 0;
		for (size_t at = 0; at < sizeof(bytes); at += step) {
			const uint8_t *p = bytes + at;
			size_t len = MIN(step, sizeof(bytes) - at);
			while (ttrpc_reader_feed(&reader, &p, &len) == TTRPC_FRAME) {
				g_assert_cmpuint(reader.h.stream, ==, frames == 0 ? 1 : 3);
				g_assert_cmpuint(reader.body != NULL ? reader.body->len : 0, ==,
				                 frames == 0 ? 3 : 0);
				ttrpc_reader_clear(&reader);
				frames++;
				if (len == 0)
					break;
			}
		}
		g_assert_cmpuint(frames, ==, 2);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/text/status", test_status);
	g_test_add_func("/text/timeout", test_timeout);
	g_test_add_func("/text/message", test_message);
	g_test_add_func("/text/bin", test_bin);
	g_test_add_func("/text/content-type", test_content_type);
	g_test_add_func("/ttrpc-wire/request", test_request);
	g_test_add_func("/ttrpc-wire/response", test_response);
	g_test_add_func("/ttrpc-wire/reader", test_reader);
	return g_test_run();
}
