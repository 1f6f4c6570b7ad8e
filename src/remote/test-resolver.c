// SPDX-License-Identifier: Apache-2.0
/* A registry that does what registries should not, and one that does what they should. */
#include "base/digest.h"
#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/thread.h"
#include "oci/labels.h"
#include "oci/media-types.h"
#include "remote/resolver.h"
#include "remote/test-server.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

enum {
	BLOB_SIZE = 300000,
};

typedef struct {
	TestServer *s;
	const char *mode;
	char *blob, *digest;
	atomic_uint n;     // requests of the mode
	GString *uploaded; // body of the last PUT
	char *upload_at;   // another host for uploads
	char *seen;
} World;

static bool mode(World *w, const char *name)
{
	return g_str_equal(w->mode, name);
}

#define MANIFEST_TYPE "Content-Type: application/vnd.oci.image.manifest.v1+json; charset=utf-8\r\n"

static void serve_manifest(TestRequest *r, World *w)
{
	bool head = g_str_equal(r->method, "HEAD");
	g_autofree char *digest = digest_bytes("{}", 2);
	g_autofree char *headers = g_strdup_printf(MANIFEST_TYPE "Docker-Content-Digest: %s\r\n", digest);
	if (mode(w, "ok"))
		test_reply_text(r, 200, headers, "{}");
	else if (mode(w, "no-digest"))
		test_reply_text(r, 200, MANIFEST_TYPE, "{}");
	else if (mode(w, "bad-digest"))
		test_reply_text(r, 200, "Docker-Content-Digest: sha256:xyz\r\n", "{}");
	else if (mode(w, "no-head"))
		test_reply_text(r, head ? 405 : 200, headers, "{}");
	else if (mode(w, "500"))
		test_reply_text(r, 500, "", "");
	else if (mode(w, "503-once"))
		test_reply_text(r, w->n++ == 0 ? 503 : 200, headers, "{}");
	else if (mode(w, "429-twice"))
		test_reply_text(r, w->n++ < 2 ? 429 : 200, headers, "{}");
	else if (mode(w, "403"))
		test_reply_text(
		        r, 403, "",
		        "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"key vault access denied\"}]}");
	else if (mode(w, "huge")) {
		g_autofree char *huge = g_strdup_printf("Docker-Content-Digest: %s\r\n", digest);
		test_raw_text(r, "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n%s\r\n", huge);
		r->close = true;
	} else if (mode(w, "huge-chunked")) {
		test_raw_text(r, "HTTP/1.1 200 OK\r\n\r\n");
		g_autofree char *block = g_strnfill(65536, ' ');
		while (!head && !test_server_stopping(r->server) && test_raw(r, block, 65536)) {
		}
		r->close = true;
	} else if (mode(w, "loop")) {
		test_reply_text(r, 302, "Location: /v2/a/b/manifests/c\r\n", "");
	} else if (mode(w, "schema1")) {
		test_reply_text(r, 200, "Content-Type: text/plain\r\n", "{}");
	} else if (mode(w, "closed-once") && w->n++ == 0) {
		r->close = true;
	} else if (mode(w, "closed-once")) {
		test_reply_text(r, 200, headers, "{}");
	} else
		test_reply_text(r, 404, "", "");
}

static int64_t range_of(TestRequest *r)
{
	const char *range = test_header(r, "Range");
	return range != NULL ? g_ascii_strtoll(range + strlen("bytes="), NULL, 10) : 0;
}

static void serve_part(TestRequest *r, World *w, int64_t from, int64_t to)
{
	if (from > 0)
		test_raw_text(r,
		              "HTTP/1.1 206 Partial\r\nContent-Range: bytes %" PRId64
		              "-%d/%d\r\nContent-Length: %" PRId64 "\r\n\r\n",
		              from, BLOB_SIZE - 1, BLOB_SIZE, BLOB_SIZE - from);
	else
		test_raw_text(r, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BLOB_SIZE);
	test_raw(r, w->blob + from, (size_t)(to - from));
	r->close = true;
}

static void serve_blob(TestRequest *r, World *w)
{
	int64_t from = range_of(r);
	unsigned n = w->n++;
	if (mode(w, "ok"))
		serve_part(r, w, from, BLOB_SIZE);
	else if (mode(w, "cut"))
		serve_part(r, w, from, MIN(from + 70000, BLOB_SIZE));
	else if (mode(w, "cut-dead"))
		serve_part(r, w, from, from < 70000 ? 70000 : from);
	else if (mode(w, "no-range") && n == 0)
		serve_part(r, w, 0, 70000);
	else if (mode(w, "no-range"))
		serve_part(r, w, 0, BLOB_SIZE);
	else if (mode(w, "range-500") && from > 0)
		test_reply_text(r, 500, "", "");
	else if (mode(w, "range-500"))
		serve_part(r, w, 0, n == 0 ? 70000 : BLOB_SIZE);
	else if (mode(w, "lying-range") && n == 0)
		serve_part(r, w, 0, 70000);
	else if (mode(w, "lying-range")) {
		test_raw_text(r, "HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-9/10\r\nContent-Length: "
		                 "5\r\n\r\nabcde");
	} else if (mode(w, "endless")) {
		test_raw_text(r, "HTTP/1.1 200 OK\r\n\r\n");
		while (!test_server_stopping(r->server) && test_raw(r, w->blob, BLOB_SIZE)) {
		}
		r->close = true;
	} else if (mode(w, "short"))
		test_reply(r, 200, "", w->blob, 1000);
	else if (mode(w, "trickle")) {
		test_raw_text(r, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BLOB_SIZE);
		for (int i = 0; i < 200 && !test_server_stopping(r->server) && test_raw(r, w->blob + i, 1);
		     i++)
			g_usleep(10000);
		r->close = true;
	} else if (mode(w, "gzip"))
		test_reply(r, 200, "Content-Encoding: br\r\n", w->blob, BLOB_SIZE);
	else
		test_reply_text(r, 404, "", "");
}

static void serve_upload(TestRequest *r, World *w)
{
	if (g_str_equal(r->method, "POST") && strstr(r->path, "mount=") != NULL && mode(w, "mount")) {
		test_reply_text(r, 201, "", "");
	} else if (g_str_equal(r->method, "POST")) {
		g_autofree char *location =
		        w->upload_at != NULL ? g_strdup_printf("Location: %s/up?state=x\r\n", w->upload_at)
		                             : g_strdup("Location: /v2/a/b/blobs/uploads/1?state=x\r\n");
		test_reply_text(r, 202, location, "");
	} else if (g_str_equal(r->method, "PUT")) {
		g_string_truncate(w->uploaded, 0);
		g_string_append_len(w->uploaded, r->body, (gssize)r->body_len);
		g_free(w->seen);
		w->seen = g_strdup_printf("%s secret=%s type=%s", r->path,
		                          str_or(test_header(r, "X-Secret"), "none"),
		                          str_or(test_header(r, "Content-Type"), "none"));
		test_reply_text(
		        r, mode(w, "put-500") ? 500 : 201,
		        mode(w, "put-lies")
		                ? "Docker-Content-Digest: "
		                  "sha256:"
		                  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n"
		                : "",
		        "");
	} else {
		test_reply_text(r, 404, "", "");
	}
}

#define REFERRER(n, type)                                                                                    \
	"{\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST "\",\"digest\":\"sha256:" n n n n n n n n                \
	"\",\"size\":7,"                                                                                     \
	"\"artifactType\":\"" type "\"}"
#define ONE REFERRER("11111111", "a")
#define TWO REFERRER("22222222", "b")

static void serve_referrers(TestRequest *r, World *w)
{
	const char *const api = "/v2/a/b/referrers/";
	bool by_api = g_str_has_prefix(r->path, api);
	if (mode(w, "pages") && by_api && strstr(r->path, "page=2") == NULL)
		test_reply_text(r, 200,
		                "Link: <https://x>; rel=\"prev\"\r\nLink: <?page=2>; rel=\"next\"\r\n",
		                "{\"manifests\":[" ONE "]}");
	else if (mode(w, "pages") && by_api)
		test_reply_text(r, 200, "", "{\"manifests\":[" TWO "]}");
	else if (mode(w, "circle") && by_api)
		test_reply_text(r, 200, "Link: <?page=2>; rel=\"next\"\r\n", "{\"manifests\":[]}");
	else if (mode(w, "lead-away") && by_api)
		test_reply_text(r, 200, "Link: <http://other.invalid/>; rel=\"next\"\r\n",
		                "{\"manifests\":[]}");
	else if (mode(w, "no-index") && by_api)
		test_reply_text(r, 200, "", "[1]");
	else if (mode(w, "tag") && !by_api)
		test_reply_text(r, 200, "", "{\"manifests\":[" ONE "," TWO "]}");
	else
		test_reply_text(r, 404, "", "");
}

static void handler(TestRequest *r, void *data)
{
	World *w = data;
	if (strstr(r->path, "/referrers/") != NULL || strstr(r->path, "/manifests/sha256-") != NULL)
		serve_referrers(r, w);
	else if (g_str_equal(r->method, "PUT") || strstr(r->path, "/uploads/") != NULL)
		serve_upload(r, w);
	else if (strstr(r->path, "/manifests/") != NULL)
		serve_manifest(r, w);
	else if (strstr(r->path, "/blobs/") != NULL)
		serve_blob(r, w);
	else if (g_str_equal(r->path, "/foreign")) {
		g_free(w->seen);
		w->seen = g_strdup(str_or(test_header(r, "X-Secret"), "none"));
		test_reply(r, 200, "", w->blob, BLOB_SIZE);
	} else
		test_reply_text(r, 404, "", "");
}

static void world_init(World *w, const char *how)
{
	*w = (World){.mode = how};
	w->blob = g_malloc(BLOB_SIZE);
	for (int i = 0; i < BLOB_SIZE; i++)
		w->blob[i] = (char)(i * 7 + i / 256);
	w->digest = digest_bytes(w->blob, BLOB_SIZE);
	w->uploaded = g_string_new(NULL);
	w->s = test_server_new(handler, w);
}

static void world_clear(World *w)
{
	test_server_free(w->s);
	g_free(w->blob);
	g_free(w->digest);
	g_string_free(w->uploaded, TRUE);
	g_free(w->upload_at);
	g_free(w->seen);
}

typedef struct {
	HttpClient *http;
	RegistryOptions options;
	Resolver *r;
	char *ref;
} Client;

static void client_init(Client *c, World *w, const char *scheme)
{
	HttpLimits limits = {.stall_timeout_ns = 200 * NS_PER_MS, .stall_bytes = 1000};
	c->http = http_client_new(&limits, NULL);
	c->options = (RegistryOptions){.http = c->http, .default_scheme = scheme};
	static const char *const headers[] = {"X-Secret: s3cret", NULL};
	ResolverOptions o = {
	        .http = c->http, .hosts = registry_hosts, .hosts_data = &c->options, .headers = headers};
	c->ref = g_strconcat(test_server_host(w->s), "/a/b:c", NULL);
	g_autoptr(GError) error = NULL;
	c->r = resolver_new(&o, c->ref, &error);
	g_assert_no_error(error);
}

static void client_clear(Client *c)
{
	resolver_free(c->r);
	http_client_free(c->http);
	g_free(c->ref);
}

/* ---- Resolve ---- */

static void resolves(const char *how, unsigned requests)
{
	World w;
	Client c;
	world_init(&w, how);
	client_init(&c, &w, "http");
	g_autoptr(GError) error = NULL;
	g_auto(Descriptor) desc = {0};
	resolver_resolve(c.r, NULL, &desc, &error);
	g_assert_no_error(error);
	g_autofree char *digest = digest_bytes("{}", 2);
	g_assert_cmpstr(desc.digest, ==, digest);
	g_assert_cmpint(desc.size, ==, 2);
	g_assert_cmpstr(desc.media_type, ==, MEDIA_TYPE_OCI_MANIFEST);
	g_assert_cmpuint(test_server_requests(w.s), ==, requests);
	client_clear(&c);
	world_clear(&w);
}

static void resolve_fails(const char *how, unsigned requests, CtrdErrorCode class, const char *text)
{
	World w;
	Client c;
	world_init(&w, how);
	client_init(&c, &w, "http");
	g_autoptr(GError) error = NULL;
	g_auto(Descriptor) desc = {0};
	g_assert_false(resolver_resolve(c.r, NULL, &desc, &error));
	g_autoptr(GString) want = g_string_new(text);
	g_string_replace(want, "HOST", test_server_host(w.s), 0);
	g_assert_cmpstr(error->message, ==, want->str);
	g_assert_cmpint(error_class(error), ==, class);
	g_assert_cmpuint(test_server_requests(w.s), ==, requests);
	client_clear(&c);
	world_clear(&w);
}

static void test_resolve(void)
{
	resolves("ok", 1);
	resolves("no-digest", 2);
	resolves("no-head", 2);
	resolves("503-once", 2);
	resolves("429-twice", 3);
	resolves("closed-once", 2);
	resolve_fails("missing", 1, CTRD_ERR_NOT_FOUND, "HOST/a/b:c: not found");
	resolve_fails("500", 5, CTRD_ERR_UNKNOWN,
	              "unexpected status from HEAD request to http://HOST/v2/a/b/manifests/c: 500 Internal "
	              "Server Error");
	resolve_fails("403", 2, CTRD_ERR_UNKNOWN,
	              "unexpected status from HEAD request to http://HOST/v2/a/b/manifests/c: 403 Forbidden\n"
	              "denied: key vault access denied");
	resolve_fails("bad-digest", 1, CTRD_ERR_INVALID_ARGUMENT,
	              "\"sha256:xyz\" in header not a valid digest: invalid checksum digest length");
	resolve_fails("huge", 1, CTRD_ERR_NOT_FOUND,
	              "rejecting 5000000 byte manifest for HOST/a/b:c: not found");
	resolve_fails("huge-chunked", 2, CTRD_ERR_RESOURCE_EXHAUSTED, "manifest of more than 4393216 bytes");
	resolve_fails(
	        "loop", 10, CTRD_ERR_UNKNOWN,
	        "failed to do request: Head \"http://HOST/v2/a/b/manifests/c\": stopped after 10 redirects");
	resolve_fails("schema1", 2, CTRD_ERR_NOT_IMPLEMENTED,
	              "not implemented: media type "
	              "\"application/vnd.docker.distribution.manifest.v1+prettyjws\" is no "
	              "longer supported since containerd v2.0, please rebuild the image as "
	              "\"application/vnd.docker.distribution.manifest.v2+json\" or "
	              "\"application/vnd.oci.image.manifest.v1+json\"");
}

/* A loopback registry without a scheme: TLS first, then what it speaks. */
static void test_fallback(void)
{
	World w;
	Client c;
	world_init(&w, "ok");
	client_init(&c, &w, NULL);
	for (int i = 0; i < 2; i++) {
		g_autoptr(GError) error = NULL;
		g_auto(Descriptor) desc = {0};
		resolver_resolve(c.r, NULL, &desc, &error);
		g_assert_no_error(error);
	}
	g_assert_cmpuint(test_server_connections(w.s), ==, 2); // one with TLS, one without
	client_clear(&c);
	world_clear(&w);
}

/* ---- Fetch ---- */

static bool sink(void *data, const void *buf, size_t len, GError **error)
{
	g_string_append_len(data, buf, (gssize)len);
	return true;
}

static void fetch(const char *how, int64_t offset, unsigned requests, const char *text)
{
	World w;
	Client c;
	world_init(&w, how);
	client_init(&c, &w, "http");
	g_autoptr(GError) error = NULL;
	Descriptor desc = {.media_type = (char *)"x/layer", .digest = w.digest, .size = BLOB_SIZE};
	g_autoptr(GString) got = g_string_new(NULL);
	bool ok = resolver_fetch(c.r, NULL, &desc, offset, sink, got, &error);
	if (text == NULL) {
		g_assert_no_error(error);
		g_assert_true(ok);
		g_assert_cmpmem(got->str, (int)got->len, w.blob + offset, BLOB_SIZE - (int)offset);
	} else {
		g_assert_false(ok);
		g_autoptr(GString) want = g_string_new(text);
		g_string_replace(want, "HOST", test_server_host(w.s), 0);
		g_string_replace(want, "DIGEST", w.digest, 0);
		g_assert_cmpstr(error->message, ==, want->str);
		g_assert_cmpuint(got->len, <=, BLOB_SIZE);
	}
	g_assert_cmpuint(test_server_requests(w.s), ==, requests);
	client_clear(&c);
	world_clear(&w);
}

static void test_fetch(void)
{
	fetch("ok", 0, 1, NULL);
	fetch("ok", 12345, 1, NULL);
	fetch("ok", BLOB_SIZE, 0, NULL);
	fetch("cut", 0, 5, NULL);
	fetch("no-range", 0, 2, NULL);
	fetch("no-range", 80000, 2, NULL);
	fetch("cut-dead", 0, 5, "unexpected EOF");
	fetch("range-500", 0, 7, NULL); // a part, 5 times no, then all of it
	fetch("lying-range", 0, 3,
	      "httpReadSeeker: failed open: unhandled content range in response: bytes 5-9/10");
	fetch("endless", 0, 1, "content of DIGEST is longer than its 300000 bytes: failed precondition");
	fetch("short", 0, 5, "short read: expected 300000 bytes but got 1000: unexpected EOF");
	fetch("gzip", 0, 1, "httpReadSeeker: failed open: unsupported Content-Encoding algorithm: br");
	fetch("missing", 0, 1,
	      "httpReadSeeker: failed open: could not fetch content descriptor DIGEST (x/layer) from remote: "
	      "not found");
}

/* ---- Mirrors ---- */

static GPtrArray *two_hosts(const char *name, void *data, GError **error)
{
	World *const *worlds = data;
	GPtrArray *hosts = g_ptr_array_new_with_free_func((GDestroyNotify)registry_host_free);
	for (int i = 0; i < 2; i++)
		g_ptr_array_add(hosts, registry_host_new("http", test_server_host(worlds[i]->s), "/v2",
		                                         REGISTRY_ALL));
	return hosts;
}

/* The first of two mirrors goes wrong in the middle: the second goes on where it stopped. */
static void mirrored(const char *how, unsigned first, unsigned second)
{
	World a, b;
	world_init(&a, how);
	world_init(&b, "ok");
	World *worlds[] = {&a, &b};
	HttpLimits limits = {.stall_timeout_ns = 200 * NS_PER_MS, .stall_bytes = 1000};
	g_autoptr(HttpClient) http = http_client_new(&limits, NULL);
	ResolverOptions o = {.http = http, .hosts = two_hosts, .hosts_data = worlds};
	g_autoptr(GError) error = NULL;
	Resolver *r = resolver_new(&o, "example.com/a/b:c", &error);
	g_assert_no_error(error);
	Descriptor desc = {.media_type = (char *)"x/layer", .digest = a.digest, .size = BLOB_SIZE};
	g_autoptr(GString) got = g_string_new(NULL);
	resolver_fetch(r, NULL, &desc, 0, sink, got, &error);
	g_assert_no_error(error);
	g_assert_cmpmem(got->str, (int)got->len, b.blob, BLOB_SIZE);
	g_assert_cmpuint(test_server_requests(a.s), ==, first);
	g_assert_cmpuint(test_server_requests(b.s), ==, second);
	resolver_free(r);
	world_clear(&a);
	world_clear(&b);
}

static void test_mirrors(void)
{
	mirrored("missing", 1, 1);
	mirrored("cut", 5, 0);
	mirrored("cut-dead", 2, 1);
	mirrored("short", 2, 1);
	mirrored("trickle", 1, 1);
	mirrored("lying-range", 3, 1);
}

/* A host whose content turned out to be wrong is not the first to be asked again. */
static void test_distrust(void)
{
	World a, b;
	world_init(&a, "ok");
	world_init(&b, "ok");
	World *worlds[] = {&a, &b};
	g_autoptr(HttpClient) http = http_client_new(NULL, NULL);
	ResolverOptions o = {.http = http, .hosts = two_hosts, .hosts_data = worlds};
	g_autoptr(GError) error = NULL;
	Resolver *r = resolver_new(&o, "example.com/a/b:c", &error);
	g_assert_no_error(error);
	Descriptor desc = {.media_type = (char *)"x/layer", .digest = a.digest, .size = BLOB_SIZE};
	g_assert_false(resolver_distrust(r, a.digest)); // nothing came yet
	for (unsigned i = 0; i < 2; i++) {
		g_autoptr(GString) got = g_string_new(NULL);
		g_assert_true(resolver_fetch(r, NULL, &desc, 0, sink, got, &error));
		g_assert_cmpuint(test_server_requests(b.s), ==, i);
		g_assert_cmpint(resolver_distrust(r, a.digest), ==, i == 0);
	}
	resolver_free(r);
	world_clear(&a);
	world_clear(&b);
}

static void test_slow(void)
{
	World w;
	Client c;
	world_init(&w, "trickle");
	client_init(&c, &w, "http");
	g_autoptr(GError) error = NULL;
	Descriptor desc = {.media_type = (char *)"x/layer", .digest = w.digest, .size = BLOB_SIZE};
	g_autoptr(GString) got = g_string_new(NULL);
	g_assert_false(resolver_fetch(c.r, NULL, &desc, 0, sink, got, &error));
	g_assert_true(g_str_has_prefix(error->message, "no progress: "));
	client_clear(&c);
	world_clear(&w);
}

static void test_foreign(void)
{
	World w;
	Client c;
	world_init(&w, "missing");
	client_init(&c, &w, "http");
	g_autofree char *url = g_strconcat("http://", test_server_host(w.s), "/foreign", NULL);
	char *urls[] = {(char *)"ftp://x/", url, NULL};
	Descriptor desc = {
	        .media_type = (char *)"x/layer", .digest = w.digest, .size = BLOB_SIZE, .urls = urls};
	g_autoptr(GString) got = g_string_new(NULL);
	g_autoptr(GError) error = NULL;
	resolver_fetch(c.r, NULL, &desc, 0, sink, got, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(got->len, ==, BLOB_SIZE);
	g_assert_cmpstr(w.seen, ==, "none");
	client_clear(&c);
	world_clear(&w);
}

static void *cancel_later(void *data)
{
	g_usleep(100000);
	cancel_trigger(data, false);
	return NULL;
}

static void test_cancel(void)
{
	World w;
	Client c;
	world_init(&w, "cut-dead");
	client_init(&c, &w, "http");
	g_autoptr(Cancel) cancel = cancel_new(NULL);
	pthread_t t;
	g_assert_cmpint(thread_start(&t, "cancel", 0, cancel_later, cancel), ==, 0);
	g_autoptr(GString) got = g_string_new(NULL);
	g_autoptr(GError) error = NULL;
	Descriptor desc = {.media_type = (char *)"x/layer", .digest = w.digest, .size = BLOB_SIZE};
	g_assert_false(resolver_fetch(c.r, cancel, &desc, 0, sink, got, &error));
	g_assert_true(error_is(error, CTRD_ERR_CANCELED));
	pthread_join(t, NULL);
	client_clear(&c);
	world_clear(&w);
}

/* ---- Referrers ---- */

static void referrers(const char *how, const char *type, guint n, unsigned requests, const char *text)
{
	World w;
	Client c;
	world_init(&w, how);
	client_init(&c, &w, "http");
	g_autoptr(GError) error = NULL;
	const char *const types[] = {type, NULL};
	g_autoptr(GPtrArray) found = resolver_referrers(c.r, NULL, w.digest, types, &error);
	if (text != NULL) {
		g_assert_null(found);
		g_assert_cmpstr(error->message, ==, text);
	} else {
		g_assert_no_error(error);
		g_assert_cmpuint(found->len, ==, n);
	}
	g_assert_cmpuint(test_server_requests(w.s), ==, requests);
	client_clear(&c);
	world_clear(&w);
}

static void test_referrers(void)
{
	referrers("pages", NULL, 2, 2, NULL);
	referrers("pages", "b", 1, 2, NULL);
	referrers("pages", "c", 0, 2, NULL);
	referrers("tag", NULL, 2, 2, NULL);
	referrers("tag", "a", 1, 2, NULL);
	referrers("none", NULL, 0, 2, NULL);
	/* the host is as one without the API, and nobody put a list there */
	referrers("circle", NULL, 0, 65, NULL);
	referrers("lead-away", NULL, 0, 2, NULL);
	referrers("no-index", NULL, 0, 2, NULL);
}

/* ---- Push ---- */

static ssize_t source(void *data, void *buf, size_t len, int64_t offset, GError **error)
{
	World *w = data;
	size_t n = MIN(len, BLOB_SIZE - (size_t)offset);
	memcpy(buf, w->blob + offset, n);
	return (ssize_t)n;
}

static void push(const char *how, bool elsewhere, bool exists, const char *seen, const char *text)
{
	World w, other;
	Client c;
	world_init(&w, how);
	world_init(&other, how);
	if (elsewhere)
		w.upload_at = g_strconcat("http://", test_server_host(other.s), NULL);
	client_init(&c, &w, "http");
	g_auto(Descriptor)
	        desc = {.digest = g_strdup(w.digest), .size = BLOB_SIZE, .media_type = g_strdup("x/layer")};
	descriptor_annotate(&desc, LABEL_DISTRIBUTION_SOURCE ".127.0.0.1", "a/b,a/c,z");
	bool got = false;
	g_autoptr(GError) error = NULL;
	bool ok = resolver_push(c.r, NULL, &desc, source, &w, &got, &error);
	if (text != NULL) {
		g_assert_false(ok);
		g_autoptr(GString) want = g_string_new(text);
		g_string_replace(want, "HOST", test_server_host(w.s), 0);
		g_string_replace(want, "DIGEST", w.digest, 0);
		g_assert_cmpstr(error->message, ==, want->str);
	} else {
		g_assert_no_error(error);
		g_assert_true(ok);
		g_assert_cmpint(got, ==, exists);
		World *at = elsewhere ? &other : &w;
		if (!exists) {
			g_assert_cmpmem(at->uploaded->str, (int)at->uploaded->len, w.blob, BLOB_SIZE);
			g_autoptr(GString) want = g_string_new(seen);
			g_autofree char *hex = g_strconcat("sha256%3A", digest_hex(w.digest), NULL);
			g_string_replace(want, "DIGEST", hex, 0);
			g_assert_cmpstr(at->seen, ==, want->str);
		}
	}
	client_clear(&c);
	world_clear(&w);
	world_clear(&other);
}

static void test_push(void)
{
	push("missing", false, false,
	     "/v2/a/b/blobs/uploads/1?state=x&digest=DIGEST secret=s3cret type=application/octet-stream",
	     NULL);
	push("missing", true, false, "/up?state=x&digest=DIGEST secret=none type=application/octet-stream",
	     NULL);
	push("mount", false, true, NULL, NULL);
	push("ok", false, true, NULL, NULL);
	push("put-500", false, false, NULL,
	     "unexpected status from PUT request to "
	     "http://HOST/v2/a/b/blobs/uploads/1?state=REDACTED&digest=REDACTED: 500 "
	     "Internal Server Error");
	push("put-lies", false, false, NULL,
	     "got digest sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, expected "
	     "DIGEST");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/resolver/resolve", test_resolve);
	g_test_add_func("/resolver/fallback", test_fallback);
	g_test_add_func("/resolver/fetch", test_fetch);
	g_test_add_func("/resolver/mirrors", test_mirrors);
	g_test_add_func("/resolver/distrust", test_distrust);
	g_test_add_func("/resolver/slow", test_slow);
	g_test_add_func("/resolver/foreign", test_foreign);
	g_test_add_func("/resolver/cancel", test_cancel);
	g_test_add_func("/resolver/referrers", test_referrers);
	g_test_add_func("/resolver/push", test_push);
	return g_test_run();
}
