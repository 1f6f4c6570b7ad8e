// SPDX-License-Identifier: Apache-2.0
/* One blob over several connections, from registries that can and that cannot. */
#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "oci/media-types.h"
#include "remote/ranges.h"
#include "remote/test-server.h"
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum {
	CHUNK = RANGES_CHUNK_MIN,
	BLOB = 12 * CHUNK + 12345,
	PIECE = 64 * 1024,
};

typedef enum {
	GOOD,
	IGNORES,     // 200 with all of it
	WRONG_RANGE, // 206 with another one
	CUTS,        // half of each range
	FAILS,       // 500
	FAILS_ONE,   // 500 for one range of all
} Mode;

typedef struct {
	Mode mode;
	TestServer *server;
	char *blob, *digest;
	atomic_uint n_ranges, n_served;
	bool hold; // the one connection stops in the middle until somebody has asked for a range
	HttpClient *http;
	RegistryOptions options;
	Resolver *r;
	Ranges ranges;
	Descriptor desc;
	GByteArray *got;
	int64_t fail_at; // of the sink
	Cancel *cancel;
	int64_t cancel_at;
} World;

static void serve_bytes(TestRequest *r, World *w, int64_t from, int64_t to)
{
	/* in pieces, so that others get their turn */
	for (int64_t at = from; at < to; at += PIECE) {
		while (w->hold && at - from >= CHUNK / 2 && w->n_ranges == 0 &&
		       !test_server_stopping(w->server))
			cancel_sleep(NULL, NS_PER_MS, NULL);
		if (!test_raw(r, w->blob + at, (size_t)MIN(to - at, PIECE)))
			return;
	}
}

static void serve_range(TestRequest *r, World *w, int64_t from, int64_t last)
{
	unsigned n = w->n_ranges++;
	if (w->mode == FAILS || (w->mode == FAILS_ONE && n == 2)) {
		test_reply_text(r, 500, "", "");
		return;
	}
	int64_t shown = w->mode == WRONG_RANGE ? from + 1 : from;
	test_raw_text(r,
	              "HTTP/1.1 206 Partial Content\r\nContent-Length: %" PRId64
	              "\r\nContent-Range: bytes %" PRId64 "-%" PRId64 "/%d\r\n\r\n",
	              last + 1 - from, shown, last, BLOB);
	if (w->mode == CUTS) {
		serve_bytes(r, w, from, from + (last - from) / 2);
		r->close = true;
		return;
	}
	serve_bytes(r, w, from, last + 1);
	w->n_served++;
}

static void handle(TestRequest *r, void *data)
{
	World *w = data;
	const char *range = test_header(r, "Range");
	int64_t from = 0, last = BLOB - 1;
	if (range != NULL) {
		char *end = NULL;
		from = g_ascii_strtoll(range + strlen("bytes="), &end, 10);
		if (end[1] != '\0')
			last = g_ascii_strtoll(end + 1, NULL, 10);
	}
	/* an open end is how the one connection goes on; that always works here */
	if (range != NULL && (last < BLOB - 1 || from % CHUNK == 0) && w->mode != IGNORES) {
		serve_range(r, w, from, last);
	} else if (range != NULL && w->mode != IGNORES) {
		test_raw_text(r,
		              "HTTP/1.1 206 Partial Content\r\nContent-Length: %" PRId64
		              "\r\nContent-Range: bytes %" PRId64 "-%d/%d\r\n\r\n",
		              BLOB - from, from, BLOB - 1, BLOB);
		serve_bytes(r, w, from, BLOB);
	} else {
		w->n_ranges += range != NULL;
		test_raw_text(r, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BLOB);
		serve_bytes(r, w, 0, BLOB);
	}
}

static void setup(World *w, gconstpointer mode)
{
	*w = (World){.mode = (Mode)GPOINTER_TO_INT(mode), .hold = true};
	w->blob = g_malloc(BLOB);
	for (uint32_t i = 0, x = 1; i < BLOB; i++) {
		x = x * 1664525 + 1013904223;
		w->blob[i] = (char)(x >> 24);
	}
	w->digest = digest_bytes(w->blob, BLOB);
	w->server = test_server_new(handle, w);
	w->http = http_client_new(NULL, NULL);
	w->options = (RegistryOptions){.http = w->http, .default_scheme = "http"};
	ResolverOptions o = {.http = w->http, .hosts = registry_hosts, .hosts_data = &w->options};
	g_autofree char *ref = g_strconcat(test_server_host(w->server), "/a/b:c", NULL);
	g_autoptr(GError) error = NULL;
	w->r = resolver_new(&o, ref, &error);
	g_assert_no_error(error);
	ranges_init(&w->ranges, CHUNK);
	w->ranges.always = true;
	w->desc = (Descriptor){
	        .media_type = (char *)MEDIA_TYPE_OCI_LAYER_GZIP, .digest = w->digest, .size = BLOB};
	w->got = g_byte_array_new();
	w->fail_at = w->cancel_at = -1;
	w->cancel = cancel_new(NULL);
}

static void teardown(World *w, gconstpointer mode)
{
	int n = w->ranges.free_chunks;
	Ranges fresh;
	ranges_init(&fresh, CHUNK);
	g_assert_cmpint(n, ==, fresh.free_chunks); // all memory was given back
	resolver_free(w->r);
	http_client_free(w->http);
	test_server_free(w->server);
	g_byte_array_unref(w->got);
	cancel_unref(w->cancel);
	g_free(w->blob);
	g_free(w->digest);
}

static bool sink(void *data, const void *buf, size_t len, GError **error)
{
	World *w = data;
	g_byte_array_append(w->got, buf, (guint)len);
	if (w->fail_at >= 0 && w->got->len >= w->fail_at)
		return error_set(error, CTRD_ERR_UNKNOWN, "no space");
	if (w->cancel_at >= 0 && w->got->len >= w->cancel_at)
		cancel_trigger(w->cancel, false);
	return true;
}

static bool fetch(World *w, int64_t offset, GError **error)
{
	return resolver_fetch_ranges(w->r, &w->ranges, w->cancel, &w->desc, offset, sink, w, error);
}

static void assert_whole(World *w, int64_t offset)
{
	g_assert_cmpuint(w->got->len, ==, BLOB - offset);
	g_assert_cmpint(memcmp(w->got->data, w->blob + offset, w->got->len), ==, 0);
}

static void test_good(World *w, gconstpointer mode)
{
	g_autoptr(GError) error = NULL;
	fetch(w, 0, &error);
	g_assert_no_error(error);
	assert_whole(w, 0);
	g_assert_cmpuint(w->n_served, >=, 1);
	g_assert_cmpuint(test_server_connections(w->server), <=, 1 + 1 + RANGES_HELPERS);
}

/* As an ingest is resumed. */
static void test_offset(World *w, gconstpointer mode)
{
	g_autoptr(GError) error = NULL;
	fetch(w, 54321, &error);
	g_assert_no_error(error);
	assert_whole(w, 54321);
}

/* Whatever is wrong with ranges, the blob comes. */
static void test_falls_back(World *w, gconstpointer mode)
{
	g_autoptr(GError) error = NULL;
	fetch(w, 0, &error);
	g_assert_no_error(error);
	assert_whole(w, 0);
	g_assert_cmpuint(w->n_ranges, >=, 1);
}

static void test_small(World *w, gconstpointer mode)
{
	g_autoptr(GError) error = NULL;
	w->hold = false;
	fetch(w, BLOB - 2 * CHUNK, &error);
	g_assert_no_error(error);
	assert_whole(w, BLOB - 2 * CHUNK);
	g_assert_cmpuint(test_server_requests(w->server), ==, 1);
}

static void test_sink_fails(World *w, gconstpointer mode)
{
	for (int64_t at = CHUNK / 2; at < BLOB; at += 4 * CHUNK) {
		g_byte_array_set_size(w->got, 0);
		w->fail_at = at;
		g_autoptr(GError) error = NULL;
		g_assert_false(fetch(w, 0, &error));
		g_assert_true(g_str_has_suffix(error->message, "no space"));
	}
}

static void test_cancel(World *w, gconstpointer mode)
{
	g_autoptr(GError) error = NULL;
	w->cancel_at = 5 * CHUNK;
	g_assert_false(fetch(w, 0, &error));
	g_assert_true(error_is(error, CTRD_ERR_CANCELED));
	g_assert_true(g_str_has_suffix(error->message, "context canceled"));
}

/* Two at once share what memory there is, and none of it is no reason to fail. */
static void test_no_memory(World *w, gconstpointer mode)
{
	w->hold = false;
	int all = atomic_exchange(&w->ranges.free_chunks, 0);
	g_autoptr(GError) error = NULL;
	fetch(w, 0, &error);
	g_assert_no_error(error);
	assert_whole(w, 0);
	g_assert_cmpuint(w->n_ranges, ==, 0);
	atomic_fetch_add(&w->ranges.free_chunks, all);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	autofd null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	log_set_fd(null);
#define TEST(name, mode, fn) g_test_add("/ranges/" name, World, GINT_TO_POINTER(mode), setup, fn, teardown)
	TEST("good", GOOD, test_good);
	TEST("offset", GOOD, test_offset);
	TEST("small", GOOD, test_small);
	TEST("sink-fails", GOOD, test_sink_fails);
	TEST("cancel", GOOD, test_cancel);
	TEST("no-memory", GOOD, test_no_memory);
	TEST("ignored", IGNORES, test_falls_back);
	TEST("wrong-range", WRONG_RANGE, test_falls_back);
	TEST("cut", CUTS, test_falls_back);
	TEST("fails", FAILS, test_falls_back);
	TEST("fails-one", FAILS_ONE, test_falls_back);
	return g_test_run();
}
