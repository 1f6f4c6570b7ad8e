// SPDX-License-Identifier: Apache-2.0

/* Our client against our server, both protocols, over unix sockets. */

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "grpc/health/v1/health.pb-c.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include "rpc/health.h"
#include "rpc/test-service.h"
#include <string.h>
#include <sys/socket.h>

typedef struct {
	RpcProto proto;
	Loop *loop;
	Loop *client_loop;
	Pool *pool;
	RpcServer *server;
	RpcClient *client;
	char *dir, *path;
	bool stopped;
} Fixture;

/* ---- set-up ---- */

/* RPC_TEST_PEER=/path/of/socket: a server of another make that implements test.proto is tested instead of
 * ours, by the tests that need no more of it than calls (-p /rpc/grpc/large -p ...). */
static bool use_peer(Fixture *f)
{
	const char *peer = g_getenv("RPC_TEST_PEER");
	if (peer == NULL)
		return false;
	f->client_loop = loop_start("client");
	f->path = g_strdup(peer);
	f->client = rpc_client_new(f->client_loop, f->proto, f->path);
	return true;
}

static void setup_limits(Fixture *f, RpcProto proto, const RpcServerLimits *limits)
{
	g_autoptr(GError) error = NULL;
	f->proto = proto;
	if (use_peer(f))
		return;
	f->dir = g_dir_make_tmp("rpc-test-XXXXXX", NULL);
	f->path = path_join(f->dir, "s.sock");
	f->loop = loop_start("server");
	f->client_loop = loop_start("client");
	f->pool = pool_new("worker", 64, 1024, NS_PER_SEC);
	f->server = rpc_server_new(f->loop, f->pool, limits);
	test_service_add(f->server, f->loop);
	int fd = rpc_listen_unix(f->path, 0600, geteuid(), getegid(), &error);
	g_assert_no_error(error);
	g_assert_true(rpc_server_listen(f->server, proto, fd, false, &error));
	f->client = rpc_client_new(f->client_loop, proto, f->path);
}

static void setup_grpc(Fixture *f, const void *data)
{
	setup_limits(f, RPC_PROTO_GRPC, data);
}

static void setup_ttrpc(Fixture *f, const void *data)
{
	setup_limits(f, RPC_PROTO_TTRPC, data);
}

typedef struct {
	Lock lock;
	Cond cond;
	bool done;
	RpcServer *server;
} Stop;

static void stop_done(void *data)
{
	Stop *s = data;
	LOCK_SCOPE(&s->lock);
	s->done = true;
	cond_signal(&s->cond);
}

static void stop_begin(void *data)
{
	Stop *s = data;
	rpc_server_stop(s->server, stop_done, s);
}

static void stop_server(Fixture *f)
{
	Stop s = {.server = f->server};
	lock_init(&s.lock, "stop", LOCK_RANK_LEAF);
	cond_init(&s.cond);
	loop_post(f->loop, stop_begin, &s);
	{
		LOCK_SCOPE(&s.lock);
		while (!s.done)
			cond_wait(&s.cond, &s.lock);
	}
	cond_destroy(&s.cond);
	lock_destroy(&s.lock);
	f->stopped = true;
}

static void teardown(Fixture *f, const void *data)
{
	rpc_client_unref(f->client);
	if (f->server != NULL) {
		if (!f->stopped)
			stop_server(f);
		pool_free(f->pool);
		rpc_server_free(f->server);
		loop_stop_join(f->loop);
		g_assert_true(tree_remove(f->dir, NULL));
		g_free(f->dir);
	}
	loop_stop_join(f->client_loop);
	g_free(f->path);
}

static unsigned n_calls(Fixture *f)
{
	return f->server != NULL ? rpc_server_n_calls(f->server) : 0;
}

/* ---- helpers ---- */

static char *call_opts(Fixture *f, const char *method, const char *value, const RpcCallOptions *o,
                       GError **error)
{
	TestMsg req = test_text(value);
	autopb TestMsg *res = NULL;
	if (!rpc_client_call(f->client, test_descriptor, method, o, &req, &res, error))
		return NULL;
	return g_strndup(res->value.len > 0 ? (char *)res->value.data : "", res->value.len);
}

static char *call(Fixture *f, const char *method, const char *value, GError **error)
{
	return call_opts(f, method, value, NULL, error);
}

#define assert_call(f, method, value, expected)                                                              \
	do {                                                                                                 \
		g_autoptr(GError) e_ = NULL;                                                                 \
		g_autofree char *r_ = call(f, method, value, &e_);                                           \
		g_assert_no_error(e_);                                                                       \
		g_assert_cmpstr(r_, ==, expected);                                                           \
	} while (0)

#define assert_error(error, class, text)                                                                     \
	do {                                                                                                 \
		g_assert_nonnull(error);                                                                     \
		g_assert_cmpstr((error)->message, ==, text);                                                 \
		g_assert_cmpint(error_class(error), ==, class);                                              \
		g_clear_error(&(error));                                                                     \
	} while (0)

static void assert_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
	g_assert_cmpuint(a_len, ==, b_len);
	g_assert_true(memcmp(a, b, b_len) == 0);
}

/* ---- unary ---- */

static void test_unary(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	assert_call(f, "Echo", "hello", "hello");
	assert_call(f, "EchoLoop", "", "");
	assert_call(f, "Later", "5", "later");
	assert_call(f, "Meta", "@method", "/ctrd.test.v1.Test/Meta");
	g_autofree char *peer = g_strdup_printf("%d %u", getpid(), geteuid());
	assert_call(f, "Meta", "@peer", peer);
	g_assert_null(call(f, "Missing", "", &error));
	assert_error(error, CTRD_ERR_NOT_IMPLEMENTED,
	             f->proto == RPC_PROTO_GRPC ? "method Missing not implemented" : "method Missing");
	g_assert_null(call(f, "Nothing", "", &error));
	assert_error(error, CTRD_ERR_NOT_IMPLEMENTED, "unknown method Nothing for service ctrd.test.v1.Test");
	g_assert_cmpuint(n_calls(f), ==, 0);
}

static void test_errors(Fixture *f, const void *data)
{
	for (int class = 0; class < CTRD_ERROR_N_CODES; class ++) {
		g_autoptr(GError) error = NULL;
		const char *suffix = error_class_text((CtrdErrorCode) class);
		g_autofree char *text = g_strdup_printf("image \"ä%%\n\": %s", suffix);
		g_autofree char *value = g_strdup_printf("%d %s", class, text);
		g_assert_null(call(f, "Fail", value, &error));
		assert_error(error, class, text);
	}
}

static void test_metadata(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GHashTable) md = strmap_new();
	strmap_set(md, "some-key", "some value");
	strmap_set(md, "raw-bin", "\x01\xff\x80 binary");
	RpcCallOptions o = {.ns = "k8s.io", .lease = "l1", .metadata = md};
	struct {
		const char *name, *value;
	} cases[] = {
	        {"@namespace", "k8s.io"},
	        {"@required", "k8s.io"},
	        {"@lease", "l1"},
	        {"some-key", "some value"},
	        {"raw-bin", "\x01\xff\x80 binary"},
	};
	if (f->proto == RPC_PROTO_TTRPC && f->server == NULL)
		g_hash_table_remove(md, "raw-bin"); // Go refuses strings that are not UTF-8
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		if (i == 4 && !g_hash_table_contains(md, "raw-bin"))
			continue;
		g_autofree char *r = call_opts(f, "Meta", cases[i].name, &o, &error);
		g_assert_no_error(error);
		g_assert_cmpstr(r, ==, cases[i].value);
	}
	g_assert_null(call(f, "Meta", "@required", &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, "namespace is required: failed precondition");
	if (f->server == NULL)
		return;
	o.ns = "a/b";
	g_assert_null(call_opts(f, "Meta", "@required", &o, &error));
	g_assert_true(
	        g_str_has_prefix(error->message, "namespace validation: identifier \"a/b\" must match "));
	g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	g_clear_error(&error);
	g_assert_null(call(f, "Meta", "@lease", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "metadata \"@lease\": not found");
}

static void test_deadline(Fixture *f, const void *data)
{
	static const char *const methods[] = {"Sleep", "Block", "Later"};
	for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
		g_autoptr(GError) error = NULL;
		RpcCallOptions o = {.timeout_ns = 50 * NS_PER_MS};
		int64_t start = time_mono();
		g_assert_null(call_opts(f, methods[i], "1000", &o, &error));
		assert_error(error, CTRD_ERR_DEADLINE_EXCEEDED, "context deadline exceeded");
		g_assert_cmpint(time_mono() - start, <, 500 * NS_PER_MS);
	}
}

static void *trigger(void *data)
{
	cancel_sleep(NULL, 50 * NS_PER_MS, NULL);
	cancel_trigger(data, false);
	return NULL;
}

static void test_cancel(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Cancel) cancel = cancel_new(NULL);
	RpcCallOptions o = {.cancel = cancel};
	pthread_t t;
	g_assert_cmpint(thread_start(&t, "trigger", 0, trigger, cancel), ==, 0);
	g_assert_null(call_opts(f, "Sleep", "5000", &o, &error));
	assert_error(error, CTRD_ERR_CANCELED, "context canceled");
	pthread_join(t, NULL);
	g_assert_null(call_opts(f, "Echo", "x", &o, &error)); // canceled before
	assert_error(error, CTRD_ERR_CANCELED, "context canceled");
	assert_call(f, "Echo", "still there", "still there");
}

static void test_large(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	bool grpc = f->proto == RPC_PROTO_GRPC;
	size_t sizes[] = {1, 16384, 65535, 131072, 131073, 1000000, 4000000, 15000000};
	for (size_t i = 0; i < G_N_ELEMENTS(sizes) && (grpc || sizes[i] < 4194304); i++) {
		g_autofree uint8_t *big = g_malloc(sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			big[k] = (uint8_t)(k * 7 + (k >> 8));
		TestMsg req = test_msg(big, sizes[i]);
		autopb TestMsg *res = NULL;
		g_assert_true(rpc_client_call(f->client, test_descriptor, "Echo", NULL, &req, &res, &error));
		assert_bytes(res->value.data, res->value.len, big, sizes[i]);
	}
	size_t over = grpc ? 16777216 : 4194304;
	g_autofree uint8_t *big = g_malloc0(over);
	TestMsg req = test_msg(big, over);
	autopb TestMsg *res = NULL;
	g_assert_false(rpc_client_call(f->client, test_descriptor, "Echo", NULL, &req, &res, &error));
	assert_error(error, CTRD_ERR_RESOURCE_EXHAUSTED,
	             grpc ? "trying to send message larger than max (16777221 vs. 16777216)"
	                  : "message length 4194339 exceed maximum message size of 4194304");
	if (!grpc && f->server == NULL)
		return; // upstream's server closes the connection
	g_assert_null(call(f, "Zeros", grpc ? "16777216" : "4194304", &error));
	assert_error(error, CTRD_ERR_RESOURCE_EXHAUSTED,
	             grpc ? "grpc: trying to send message larger than max (16777221 vs. 16777216)"
	                  : "message length 4194309 exceed maximum message size of 4194304");
	assert_call(f, "Echo", "still there", "still there");
}

/* ---- streams ---- */

static void test_server_stream(Fixture *f, const void *data)
{
	struct {
		const char *arg;
		unsigned n;
		size_t size;
	} cases[] = {{"0 5", 0, 5}, {"1 0", 1, 0}, {"1000 10", 1000, 10}, {"50 1000000", 50, 1000000}};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		TestMsg req = test_text(cases[i].arg);
		g_autoptr(RpcStream) s = rpc_client_stream(f->client, test_descriptor, "Count",
		                                           RPC_SERVER_STREAM, NULL, &req, &error);
		g_assert_no_error(error);
		unsigned n = 0;
		for (;;) {
			autopb TestMsg *m = NULL;
			g_assert_true(rpc_stream_recv(s, &m, &error));
			if (m == NULL)
				break;
			n++;
			g_assert_cmpuint(m->value.len, ==, cases[i].size);
		}
		g_assert_cmpuint(n, ==, cases[i].n);
	}
}

static void test_client_stream(Fixture *f, const void *data)
{
	size_t sizes[] = {0, 10, 100000, 1000000};
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(RpcStream) s = rpc_client_stream(f->client, test_descriptor, "Sum",
		                                           RPC_CLIENT_STREAM, NULL, NULL, &error);
		g_autofree uint8_t *bytes = g_malloc0(sizes[i] + 1);
		TestMsg m = test_msg(bytes, sizes[i]);
		for (unsigned k = 0; k < 40; k++)
			g_assert_true(rpc_stream_send(s, &m, &error));
		g_assert_true(rpc_stream_close_send(s, &error));
		autopb TestMsg *r = NULL, *none = NULL;
		g_assert_true(rpc_stream_recv(s, &r, &error));
		g_autofree char *text = g_strndup((char *)r->value.data, r->value.len);
		g_autofree char *expected = g_strdup_printf("40 %zu", sizes[i] * 40);
		g_assert_cmpstr(text, ==, expected);
		g_assert_true(rpc_stream_recv(s, &none, &error));
		g_assert_null(none);
	}
}

static void test_bidi(Fixture *f, const void *data)
{
	static const char *const methods[] = {"Chat", "Pipe"};
	for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(RpcStream) s = rpc_client_stream(f->client, test_descriptor, methods[i],
		                                           RPC_BIDI_STREAM, NULL, NULL, &error);
		for (unsigned k = 0; k < 500; k++) {
			g_autofree char *text = g_strdup_printf("message %u", k);
			TestMsg m = test_text(text);
			autopb TestMsg *r = NULL;
			g_assert_true(rpc_stream_send(s, &m, &error));
			g_assert_true(rpc_stream_recv(s, &r, &error));
			assert_bytes(r->value.data, r->value.len, text, strlen(text));
		}
		g_assert_true(rpc_stream_close_send(s, &error));
		autopb TestMsg *none = NULL;
		g_assert_true(rpc_stream_recv(s, &none, &error));
		g_assert_null(none);
		g_autoptr(RpcStream) bad = rpc_client_stream(f->client, test_descriptor, methods[i],
		                                             RPC_BIDI_STREAM, NULL, NULL, &error);
		TestMsg m = test_text("fail");
		g_assert_true(rpc_stream_send(bad, &m, &error));
		g_assert_false(rpc_stream_recv(bad, &none, &error));
		assert_error(error, CTRD_ERR_ABORTED, "told to fail");
	}
}

/* The server fails while the client ends its half: whoever comes first, the error is told. */
static void test_fail_at_close(Fixture *f, const void *data)
{
	TestMsg m = test_text("fail");
	for (unsigned i = 0; i < 2000; i++) {
		g_autoptr(GError) error = NULL;
		autopb TestMsg *none = NULL;
		g_autoptr(RpcStream) s = rpc_client_stream(f->client, test_descriptor, "Pipe",
		                                           RPC_BIDI_STREAM, NULL, NULL, &error);
		g_assert_true(rpc_stream_send(s, &m, &error));
		// the later, the nearer to the answer
		for (volatile unsigned k = 0; k < i * 100; k++)
			;
		g_assert_true(rpc_stream_close_send(s, &error));
		g_assert_false(rpc_stream_recv(s, &none, &error));
		assert_error(error, CTRD_ERR_ABORTED, "told to fail");
	}
}

static void test_tick(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	unsigned before = __atomic_load_n(&test_service_canceled, __ATOMIC_SEQ_CST);
	TestMsg req = test_text("2");
	RpcStream *s =
	        rpc_client_stream(f->client, test_descriptor, "Tick", RPC_SERVER_STREAM, NULL, &req, &error);
	for (unsigned i = 0; i < 20; i++) {
		autopb TestMsg *m = NULL;
		g_assert_true(rpc_stream_recv(s, &m, &error));
	}
	g_assert_cmpuint(n_calls(f), ==, 1);
	rpc_stream_free(s);
	if (f->proto == RPC_PROTO_TTRPC) // which cannot tell the server
		rpc_client_close(f->client);
	for (unsigned i = 0; i < 500 && n_calls(f) > 0; i++)
		cancel_sleep(NULL, NS_PER_MS * 10, NULL);
	g_assert_cmpuint(__atomic_load_n(&test_service_canceled, __ATOMIC_SEQ_CST), ==, before + 1);
}

/* A receiver that is slow stops its sender, and nobody else. */
static void test_backpressure(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(RpcStream) s =
	        rpc_client_stream(f->client, test_descriptor, "Lazy", RPC_CLIENT_STREAM, NULL, NULL, &error);
	TestMsg m = test_text("300");
	g_assert_true(rpc_stream_send(s, &m, &error));
	g_autofree uint8_t *bytes = g_malloc0(1000000);
	m = test_msg(bytes, 1000000);
	int64_t start = time_mono();
	for (unsigned i = 0; i < 20; i++) {
		g_assert_true(rpc_stream_send(s, &m, &error));
		if (f->proto == RPC_PROTO_GRPC)
			assert_call(f, "EchoLoop", "me too", "me too");
	}
	g_assert_cmpint(time_mono() - start, >, 200 * NS_PER_MS);
	g_assert_true(rpc_stream_close_send(s, &error));
	autopb TestMsg *r = NULL;
	g_assert_true(rpc_stream_recv(s, &r, &error));
	assert_bytes(r->value.data, r->value.len, "20 20000000", 11);
}

/* A client that asks for much and reads nothing costs itself only. */
static void test_never_reads(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	TestMsg req = test_text("100000 100000");
	RpcClient *other = rpc_client_new(f->client_loop, f->proto, f->path);
	RpcStream *streams[8];
	for (size_t i = 0; i < G_N_ELEMENTS(streams); i++)
		streams[i] = rpc_client_stream(other, test_descriptor, "Count", RPC_SERVER_STREAM, NULL, &req,
		                               &error);
	cancel_sleep(NULL, 200 * NS_PER_MS, NULL);
	assert_call(f, "Echo", "me", "me");
	for (size_t i = 0; i < G_N_ELEMENTS(streams); i++)
		rpc_stream_free(streams[i]);
	rpc_client_unref(other);
	for (unsigned i = 0; i < 500 && n_calls(f) > 0; i++)
		cancel_sleep(NULL, NS_PER_MS * 10, NULL);
	g_assert_cmpuint(n_calls(f), ==, 0);
}

/* ---- many ---- */

typedef struct {
	Fixture *f;
	unsigned seed;
} Hammer;

static void *hammer(void *data)
{
	Hammer *h = data;
	for (unsigned i = 0; i < 300; i++) {
		g_autofree char *text = g_strdup_printf("%u-%u", h->seed, i);
		assert_call(h->f, i % 2 != 0 ? "Echo" : "EchoLoop", text, text);
		if (i % 16 == 0)
			assert_call(h->f, "Later", "1", "later");
		if (i % 50 == 0) {
			RpcCallOptions o = {.timeout_ns = NS_PER_MS};
			g_autoptr(GError) error = NULL;
			g_autofree char *r = call_opts(h->f, "Sleep", "100", &o, &error);
			g_assert_null(r);
			assert_error(error, CTRD_ERR_DEADLINE_EXCEEDED, "context deadline exceeded");
		}
	}
	return NULL;
}

static void test_concurrent(Fixture *f, const void *data)
{
	pthread_t threads[8];
	Hammer h[8];
	for (unsigned i = 0; i < 8; i++) {
		h[i] = (Hammer){f, i};
		g_assert_cmpint(thread_start(&threads[i], "hammer", 0, hammer, &h[i]), ==, 0);
	}
	for (unsigned i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
}

typedef struct {
	unsigned done, failed; // client loop's thread
	unsigned total;        // atomic
} Async;

static void async_done(const void *response, const GError *error, void *data)
{
	Async *a = data;
	const TestMsg *m = response;
	if (error != NULL)
		a->failed++;
	else
		g_assert_cmpuint(m->value.len, ==, 5); // "async", "slept", "later"
	a->done++;
	__atomic_add_fetch(&a->total, 1, __ATOMIC_SEQ_CST);
}

static void wait_total(Async *a, unsigned n)
{
	for (unsigned i = 0; i < 2000 && __atomic_load_n(&a->total, __ATOMIC_SEQ_CST) < n; i++)
		cancel_sleep(NULL, NS_PER_MS * 5, NULL);
	g_assert_cmpuint(__atomic_load_n(&a->total, __ATOMIC_SEQ_CST), ==, n);
}

static void test_async(Fixture *f, const void *data)
{
	Async a = {0};
	TestMsg req = test_text("async");
	for (unsigned i = 0; i < 500; i++)
		rpc_client_call_async(f->client, test_descriptor, "Echo", NULL, &req, async_done, &a);
	wait_total(&a, 500);
	g_assert_cmpuint(a.failed, ==, 0);
}

/* Awaited in another order than begun; one that nobody awaits goes on all the same. */
static void test_begin_wait(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	TestMsg first = test_text("20"), second = test_text("second"), forgotten = test_text("30");
	RpcClientCall *slow =
	        rpc_client_call_begin(f->client, test_descriptor, "Sleep", NULL, &first, &error);
	RpcClientCall *quick =
	        rpc_client_call_begin(f->client, test_descriptor, "Echo", NULL, &second, &error);
	rpc_client_call_forget(
	        rpc_client_call_begin(f->client, test_descriptor, "Sleep", NULL, &forgotten, &error));
	g_assert_no_error(error);
	autopb TestMsg *echoed = NULL, *slept = NULL;
	g_assert_true(rpc_client_call_wait(quick, &echoed, &error));
	g_assert_true(rpc_client_call_wait(slow, &slept, &error));
	g_assert_no_error(error);
	assert_bytes(echoed->value.data, echoed->value.len, "second", 6);
	assert_bytes(slept->value.data, slept->value.len, "slept", 5);
	g_assert_null(rpc_client_call_begin(f->client, test_descriptor, "None", NULL, &first, &error));
	assert_error(error, CTRD_ERR_NOT_IMPLEMENTED, "unknown method None for service ctrd.test.v1.Test");
	rpc_client_call_forget(NULL);
}

/* ---- ends ---- */

static void count_close(void *data)
{
	__atomic_add_fetch((unsigned *)data, 1, __ATOMIC_SEQ_CST);
}

static void test_client_close(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	static unsigned closes;
	closes = 0;
	rpc_client_on_close(f->client, count_close, &closes);
	assert_call(f, "Echo", "x", "x");
	Async a = {0};
	TestMsg req = test_text("2000");
	rpc_client_call_async(f->client, test_descriptor, "Sleep", NULL, &req, async_done, &a);
	rpc_client_close(f->client);
	wait_total(&a, 1);
	g_assert_cmpuint(a.failed, ==, 1);
	g_assert_null(call(f, "Echo", "x", &error));
	assert_error(error, CTRD_ERR_UNAVAILABLE,
	             f->proto == RPC_PROTO_TTRPC ? "ttrpc: closed"
	                                         : "grpc: the client connection is closing");
	g_assert_cmpuint(__atomic_load_n(&closes, __ATOMIC_SEQ_CST), ==, 1);
}

static void test_unref_pending(Fixture *f, const void *data)
{
	Async a = {0};
	TestMsg req = test_text("300");
	RpcClient *c = rpc_client_new(f->client_loop, f->proto, f->path);
	for (unsigned i = 0; i < 10; i++)
		rpc_client_call_async(c, test_descriptor, i % 2 != 0 ? "Sleep" : "Later", NULL, &req,
		                      async_done, &a);
	rpc_client_unref(c);
	wait_total(&a, 10);
	g_assert_cmpuint(a.failed, ==, 10);
}

static void test_server_gone(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(RpcClient) none = rpc_client_new(f->client_loop, f->proto, "/nonexistent/x.sock");
	TestMsg req = test_text("x");
	autopb TestMsg *res = NULL;
	g_assert_false(rpc_client_call(none, test_descriptor, "Echo", NULL, &req, &res, &error));
	assert_error(error, CTRD_ERR_UNAVAILABLE,
	             "dial unix /nonexistent/x.sock: connect: no such file or directory");
	int fds[2];
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	g_autoptr(RpcClient) pair = rpc_client_new_fd(f->client_loop, f->proto, fds[0]);
	close(fds[1]);
	g_assert_false(rpc_client_call(pair, test_descriptor, "Echo", NULL, &req, &res, &error));
	assert_error(error, CTRD_ERR_UNAVAILABLE,
	             f->proto == RPC_PROTO_TTRPC ? "ttrpc: closed" : "error reading from server: EOF");
}

/* A running call is answered; one that does not end is canceled when the time is over. */
static void test_stop_running(Fixture *f, const void *data)
{
	static Async quick, slow;
	quick = slow = (Async){0};
	TestMsg short_time = test_text("100"), long_time = test_text("60000");
	rpc_client_call_async(f->client, test_descriptor, "Sleep", NULL, &short_time, async_done, &quick);
	for (unsigned i = 0; i < 4; i++)
		rpc_client_call_async(f->client, test_descriptor, i % 2 != 0 ? "Sleep" : "Later", NULL,
		                      &long_time, async_done, &slow);
	for (unsigned i = 0; i < 500 && n_calls(f) < 5; i++)
		cancel_sleep(NULL, NS_PER_MS, NULL);
	int64_t start = time_mono();
	stop_server(f);
	g_assert_cmpint(time_mono() - start, >, 200 * NS_PER_MS);
	g_assert_cmpint(time_mono() - start, <, 2000 * NS_PER_MS);
	wait_total(&quick, 1);
	wait_total(&slow, 4);
	g_assert_cmpuint(quick.failed, ==, 0);
	g_assert_cmpuint(slow.failed, ==, 4);
}

/* A handler that does not heed its cancellation holds the stop up for a second, and its end hurts nobody. */
static void test_stop_straggler(Fixture *f, const void *data)
{
	static Async deaf;
	deaf = (Async){0};
	TestMsg long_time = test_text("2500");
	rpc_client_call_async(f->client, test_descriptor, "Block", NULL, &long_time, async_done, &deaf);
	for (unsigned i = 0; i < 500 && n_calls(f) < 1; i++)
		cancel_sleep(NULL, NS_PER_MS, NULL);
	int64_t start = time_mono();
	stop_server(f);
	g_assert_cmpint(time_mono() - start, <, 2000 * NS_PER_MS);
	g_assert_cmpuint(n_calls(f), ==, 1);
	wait_total(&deaf, 1);
	g_assert_cmpuint(deaf.failed, ==, 1);
}

typedef struct {
	unsigned n;
	char *text;
} Visit;

static void visit(const char *method, const char *ns, int64_t age_ns, void *data)
{
	Visit *v = data;
	v->n++;
	g_assert_cmpint(age_ns, >=, 0);
	g_free(v->text);
	v->text = g_strdup_printf("%s %s", method, ns);
}

static void test_visit(Fixture *f, const void *data)
{
	static Async a;
	a = (Async){0};
	TestMsg m = test_text("100");
	RpcCallOptions o = {.ns = "moby"};
	rpc_client_call_async(f->client, test_descriptor, "Later", &o, &m, async_done, &a);
	for (unsigned i = 0; i < 500 && n_calls(f) < 1; i++)
		cancel_sleep(NULL, NS_PER_MS, NULL);
	Visit v = {0};
	rpc_server_visit(f->server, visit, &v);
	g_assert_cmpuint(v.n, ==, 1);
	g_assert_cmpstr(v.text, ==, "/ctrd.test.v1.Test/Later moby");
	g_free(v.text);
	wait_total(&a, 1);
}

/* gRPC connects again after the server went away. */
static void test_reconnect(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	assert_call(f, "Echo", "one", "one");
	stop_server(f);
	g_assert_null(call(f, "Echo", "two", &error));
	g_assert_true(error_is(error, CTRD_ERR_UNAVAILABLE));
	g_clear_error(&error);
	rpc_server_free(f->server);
	f->server = rpc_server_new(f->loop, f->pool, NULL);
	f->stopped = false;
	test_service_add(f->server, f->loop);
	int fd = rpc_listen_unix(f->path, 0600, geteuid(), getegid(), &error);
	g_assert_no_error(error);
	g_assert_true(rpc_server_listen(f->server, f->proto, fd, false, &error));
	if (f->proto == RPC_PROTO_GRPC) {
		assert_call(f, "Echo", "three", "three");
	} else {
		g_assert_null(call(f, "Echo", "three", &error));
		assert_error(error, CTRD_ERR_UNAVAILABLE, "ttrpc: closed");
	}
}

static void test_max_connections(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	assert_call(f, "Echo", "x", "x");
	g_autoptr(RpcClient) second = rpc_client_new(f->client_loop, f->proto, f->path);
	g_autoptr(RpcClient) third = rpc_client_new(f->client_loop, f->proto, f->path);
	TestMsg m = test_text("x");
	autopb TestMsg *r = NULL, *none = NULL;
	g_assert_true(rpc_client_call(second, test_descriptor, "Echo", NULL, &m, &r, &error));
	g_assert_false(rpc_client_call(third, test_descriptor, "Echo", NULL, &m, &none, &error));
	g_assert_true(error_is(error, CTRD_ERR_UNAVAILABLE));
}

/* ---- health ---- */

static bool health_check(RpcClient *client, const char *service, int *ret, GError **error)
{
	Grpc__Health__V1__HealthCheckRequest req = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	autopb Grpc__Health__V1__HealthCheckResponse *res = NULL;
	req.service = service;
	if (!rpc_client_call(client, &grpc__health__v1__health__descriptor, "Check", NULL, &req, &res, error))
		return false;
	*ret = (int)res->status;
	return true;
}

static void expect_watch(RpcStream *s, int status)
{
	g_autoptr(GError) error = NULL;
	autopb Grpc__Health__V1__HealthCheckResponse *res = NULL;
	g_assert_true(rpc_stream_recv(s, &res, &error));
	g_assert_cmpint(res->status, ==, status);
}

static RpcService health_service;
static RpcHealth *health;

static void add_health(void *data)
{
	rpc_server_add(data, &health_service);
}

static void test_health(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	int status;
	health_service = rpc_health_service_new(f->loop, &health);
	loop_post(f->loop, add_health, f->server);
	g_assert_true(health_check(f->client, "", &status, &error));
	g_assert_cmpint(status, ==, RPC_HEALTH_SERVING);
	g_assert_false(health_check(f->client, "x", &status, &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "unknown service");
	Grpc__Health__V1__HealthCheckRequest req = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	req.service = "x";
	g_autoptr(RpcStream) s = rpc_client_stream(f->client, &grpc__health__v1__health__descriptor, "Watch",
	                                           RPC_SERVER_STREAM, NULL, &req, &error);
	expect_watch(s, GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN);
	rpc_health_set(health, "x", RPC_HEALTH_SERVING);
	expect_watch(s, RPC_HEALTH_SERVING);
	rpc_health_set(health, "", RPC_HEALTH_NOT_SERVING); // not watched
	rpc_health_set(health, "x", RPC_HEALTH_NOT_SERVING);
	expect_watch(s, RPC_HEALTH_NOT_SERVING);
	g_assert_true(health_check(f->client, "", &status, &error));
	g_assert_cmpint(status, ==, RPC_HEALTH_NOT_SERVING);
	Grpc__Health__V1__HealthListRequest list = GRPC__HEALTH__V1__HEALTH_LIST_REQUEST__INIT;
	autopb Grpc__Health__V1__HealthListResponse *res = NULL;
	g_assert_true(rpc_client_call(f->client, &grpc__health__v1__health__descriptor, "List", NULL, &list,
	                              &res, &error));
	g_assert_cmpuint(res->n_statuses, ==, 2);
}

static const RpcServerLimits two_connections = {.max_connections = 2};
static const RpcServerLimits short_stop = {.shutdown_ns = 300 * NS_PER_MS};

/* The same with grpc and ttrpc. */
#define ADD(name, fn, limits)                                                                                \
	g_test_add("/rpc/grpc/" name, Fixture, limits, setup_grpc, fn, teardown);                            \
	g_test_add("/rpc/ttrpc/" name, Fixture, limits, setup_ttrpc, fn, teardown)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	log_set_level(LOG_ERROR);
	ADD("unary", test_unary, NULL);
	ADD("errors", test_errors, NULL);
	ADD("metadata", test_metadata, NULL);
	ADD("deadline", test_deadline, NULL);
	ADD("cancel", test_cancel, &short_stop);
	ADD("large", test_large, NULL);
	ADD("server-stream", test_server_stream, NULL);
	ADD("client-stream", test_client_stream, NULL);
	ADD("bidi", test_bidi, NULL);
	ADD("fail-at-close", test_fail_at_close, NULL);
	ADD("tick", test_tick, NULL);
	ADD("backpressure", test_backpressure, NULL);
	ADD("never-reads", test_never_reads, NULL);
	ADD("concurrent", test_concurrent, NULL);
	ADD("async", test_async, NULL);
	ADD("begin-wait", test_begin_wait, NULL);
	ADD("client-close", test_client_close, &short_stop);
	ADD("unref-pending", test_unref_pending, NULL);
	ADD("server-gone", test_server_gone, NULL);
	ADD("stop-running", test_stop_running, &short_stop);
	ADD("stop-straggler", test_stop_straggler, &short_stop);
	ADD("visit", test_visit, NULL);
	ADD("health", test_health, NULL);
	ADD("reconnect", test_reconnect, NULL);
	ADD("max-connections", test_max_connections, &two_connections);
	return g_test_run();
}
