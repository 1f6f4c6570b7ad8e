// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/thread.h"
#include "remote/http.h"
#include "remote/test-server.h"
#include <string.h>

static char *url_of(TestServer *s, const char *path)
{
	return g_strconcat("http://", test_server_host(s), path, NULL);
}

static void serve(TestRequest *r, void *data)
{
	if (g_str_equal(r->path, "/ok"))
		test_reply_text(r, 200, "X-A: 1\r\nx-a: 2\r\n", "hello");
	else if (g_str_equal(r->path, "/nothing"))
		r->close = true;
	else if (g_str_equal(r->path, "/small-letters"))
		test_raw_text(r, "http/1.1 404 none\r\nContent-Length: 0\r\n\r\n");
	else if (g_str_equal(r->path, "/half-header")) {
		test_raw_text(r, "HTTP/1.1 200 OK\r\nContent-Le");
		r->close = true;
	} else if (g_str_equal(r->path, "/cut")) {
		test_raw_text(r, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
		r->close = true;
	} else if (g_str_equal(r->path, "/garbage")) {
		test_raw_text(r, "this is no http\r\n\r\n");
		r->close = true;
	} else if (g_str_equal(r->path, "/headers")) {
		test_raw_text(r, "HTTP/1.1 200 OK\r\n");
		g_autofree char *line = g_strnfill(1000, 'x');
		for (int i = 0; i < 2000 && test_raw_text(r, "X-%d: %s\r\n", i, line); i++) {
		}
		r->close = true;
	} else if (g_str_equal(r->path, "/endless")) {
		test_raw_text(r, "HTTP/1.1 200 OK\r\n\r\n");
		g_autofree char *block = g_strnfill(65536, 'x');
		while (!test_server_stopping(r->server) && test_raw(r, block, 65536)) {
		}
		r->close = true;
	} else if (g_str_equal(r->path, "/mute")) {
		while (!test_server_stopping(r->server))
			g_usleep(10000);
		r->close = true;
	} else if (g_str_equal(r->path, "/trickle")) {
		test_raw_text(r, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
		while (!test_server_stopping(r->server) && test_raw_text(r, "x"))
			g_usleep(20000);
		r->close = true;
	} else if (g_str_equal(r->path, "/echo"))
		test_reply(r, 200, "", r->body, r->body_len);
	else
		test_reply_text(r, 404, "", "");
}

static HttpResponse *get(HttpClient *c, TestServer *s, const char *method, const char *path, Cancel *cancel,
                         HttpFailure *failure, GError **error)
{
	g_autofree char *url = url_of(s, path);
	HttpRequest req = {.method = method, .url = url};
	return http_do(c, &req, cancel, failure, error);
}

static void test_get(void)
{
	g_autoptr(TestServer) s = test_server_new(serve, NULL);
	g_autoptr(HttpClient) c = http_client_new(NULL, NULL);
	for (int i = 0; i < 3; i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(HttpResponse) r = get(c, s, "GET", "/ok", NULL, NULL, &error);
		g_assert_no_error(error);
		g_assert_cmpint(http_status(r), ==, 200);
		g_assert_cmpstr(http_status_text(r), ==, "200 OK");
		g_assert_cmpint(http_content_length(r), ==, 5);
		g_assert_cmpstr(http_header(r, "x-A"), ==, "1");
		g_autoptr(GPtrArray) values = http_header_values(r, "X-A");
		g_assert_cmpuint(values->len, ==, 2);
		g_autofree char *body = NULL;
		size_t len = 0;
		g_assert_true(http_body_all(r, 5, &body, &len, &error));
		g_assert_cmpstr(body, ==, "hello");
	}
	g_autoptr(HttpResponse) head = get(c, s, "HEAD", "/ok", NULL, NULL, NULL);
	g_assert_cmpint(http_content_length(head), ==, 5);
	g_autoptr(HttpResponse) missing = get(c, s, "GET", "/no", NULL, NULL, NULL);
	g_assert_cmpstr(http_status_text(missing), ==, "404 Not Found");
	/* one connection for the first four, another because HEAD's was still held */
	g_assert_cmpuint(test_server_connections(s), ==, 2);
	g_autoptr(HttpResponse) small = get(c, s, "GET", "/small-letters", NULL, NULL, NULL);
	g_assert_cmpstr(http_status_text(small), ==, "404 none");
}

static ssize_t read_body(void *data, void *buf, size_t len, int64_t offset, GError **error)
{
	size_t n = MIN(len, 300000 - (size_t)offset);
	memset(buf, 'a' + (int)(offset % 26), n);
	return (ssize_t)n;
}

static void test_upload(void)
{
	g_autoptr(TestServer) s = test_server_new(serve, NULL);
	g_autoptr(HttpClient) c = http_client_new(NULL, NULL);
	g_autofree char *url = url_of(s, "/echo");
	HttpRequest req = {.method = "PUT", .url = url, .body = read_body, .body_size = 300000};
	g_autoptr(GError) error = NULL;
	g_autoptr(HttpResponse) r = http_do(c, &req, NULL, NULL, &error);
	g_assert_no_error(error);
	g_autofree char *body = NULL;
	size_t len = 0;
	g_assert_true(http_body_all(r, 300000, &body, &len, &error));
	g_assert_cmpuint(len, ==, 300000);
	g_assert_cmpint(body[0], ==, 'a');
}

static void fails(HttpClient *c, TestServer *s, const char *path, HttpFailure kind, const char *text)
{
	HttpFailure failure = HTTP_OK;
	g_autoptr(GError) error = NULL;
	g_autoptr(HttpResponse) r = get(c, s, "GET", path, NULL, &failure, &error);
	g_assert_null(r);
	g_assert_cmpint(failure, ==, kind);
	g_autofree char *want = g_strdup_printf("Get \"http://%s%s\": %s", test_server_host(s), path, text);
	g_assert_cmpstr(error->message, ==, want);
}

static void test_failures(void)
{
	g_autoptr(TestServer) s = test_server_new(serve, NULL);
	HttpLimits limits = {.response_timeout_ns = 200 * NS_PER_MS};
	g_autoptr(HttpClient) c = http_client_new(&limits, NULL);
	fails(c, s, "/nothing", HTTP_CLOSED, "EOF");
	fails(c, s, "/half-header", HTTP_CLOSED, "unexpected EOF");
	fails(c, s, "/mute", HTTP_TIMEOUT, "net/http: timeout awaiting response headers");
	g_autoptr(GError) error = NULL;
	HttpFailure failure = HTTP_OK;
	g_assert_null(get(c, s, "GET", "/garbage", NULL, &failure, &error));
	g_assert_cmpint(failure, ==, HTTP_FAILED);
	g_clear_error(&error);
	g_assert_null(get(c, s, "GET", "/headers", NULL, &failure, &error));
	g_assert_cmpint(failure, ==, HTTP_FAILED);
	g_clear_error(&error);

	HttpRequest req = {.method = "HEAD", .url = "http://127.0.0.1:1/x"};
	g_assert_null(http_do(c, &req, NULL, &failure, &error));
	g_assert_cmpint(failure, ==, HTTP_CONNECT);
	g_assert_cmpstr(error->message, ==,
	                "Head \"http://127.0.0.1:1/x\": dial tcp 127.0.0.1:1: connect: connection refused");
	g_clear_error(&error);
	req.url = "http://no-such-host.invalid/x";
	g_assert_null(http_do(c, &req, NULL, &failure, &error));
	g_assert_cmpint(failure, ==, HTTP_CONNECT);
	g_assert_cmpstr(error->message, ==,
	                "Head \"http://no-such-host.invalid/x\": dial tcp: lookup no-such-host.invalid: no "
	                "such host");
	g_clear_error(&error);
	g_autofree char *https = g_strconcat("https://", test_server_host(s), "/ok", NULL);
	req.url = https;
	g_assert_null(http_do(c, &req, NULL, &failure, &error));
	g_assert_cmpint(failure, ==, HTTP_PLAIN_PEER);
}

static bool take(void *data, const void *buf, size_t len, GError **error)
{
	*(size_t *)data += len;
	return true;
}

static bool refuse(void *data, const void *buf, size_t len, GError **error)
{
	return error_set(error, CTRD_ERR_DATA_LOSS, "no room");
}

static void test_bodies(void)
{
	g_autoptr(TestServer) s = test_server_new(serve, NULL);
	HttpLimits limits = {.stall_timeout_ns = 300 * NS_PER_MS, .stall_bytes = 1000};
	g_autoptr(HttpClient) c = http_client_new(&limits, NULL);
	g_autoptr(GError) error = NULL;
	HttpFailure failure = HTTP_OK;
	size_t got = 0;

	g_autoptr(HttpResponse) cut = get(c, s, "GET", "/cut", NULL, NULL, &error);
	g_assert_false(http_body(cut, take, &got, &failure, &error));
	g_assert_cmpint(failure, ==, HTTP_CLOSED);
	g_assert_cmpstr(error->message, ==, "unexpected EOF");
	g_assert_cmpuint(got, ==, 3);
	g_clear_error(&error);

	g_autoptr(HttpResponse) endless = get(c, s, "GET", "/endless", NULL, NULL, &error);
	g_autofree char *body = NULL;
	size_t len = 0;
	g_assert_false(http_body_all(endless, 1000000, &body, &len, &error));
	g_assert_cmpstr(error->message, ==, "response body exceeds the limit of 1000000 bytes");
	g_assert_true(error_is(error, CTRD_ERR_RESOURCE_EXHAUSTED));
	g_clear_error(&error);

	g_autoptr(HttpResponse) refused = get(c, s, "GET", "/ok", NULL, NULL, &error);
	g_assert_false(http_body(refused, refuse, NULL, &failure, &error));
	g_assert_cmpint(failure, ==, HTTP_SINK);
	g_assert_cmpstr(error->message, ==, "no room");
	g_clear_error(&error);

	g_autoptr(HttpResponse) trickle = get(c, s, "GET", "/trickle", NULL, NULL, &error);
	g_assert_false(http_body(trickle, take, &got, &failure, &error));
	g_assert_cmpint(failure, ==, HTTP_TIMEOUT);
	g_assert_true(g_str_has_prefix(error->message, "no progress: "));
}

static void *cancel_later(void *data)
{
	g_usleep(100000);
	cancel_trigger(data, false);
	return NULL;
}

static void test_cancel(void)
{
	g_autoptr(TestServer) s = test_server_new(serve, NULL);
	g_autoptr(HttpClient) c = http_client_new(NULL, NULL);
	static const char *const paths[] = {"/mute", "/trickle", "/endless"};
	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_autoptr(Cancel) cancel = cancel_new(NULL);
		pthread_t t;
		g_assert_cmpint(thread_start(&t, "cancel", 0, cancel_later, cancel), ==, 0);
		int64_t start = time_mono();
		g_autoptr(GError) error = NULL;
		HttpFailure failure = HTTP_OK;
		size_t got = 0;
		g_autoptr(HttpResponse) r = get(c, s, "GET", paths[i], cancel, &failure, &error);
		if (r != NULL)
			g_assert_false(http_body(r, take, &got, &failure, &error));
		g_assert_cmpint(failure, ==, HTTP_CANCELED);
		g_assert_true(error_is(error, CTRD_ERR_CANCELED));
		g_assert_cmpint(time_mono() - start, <, 800 * NS_PER_MS);
		pthread_join(t, NULL);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http/get", test_get);
	g_test_add_func("/http/upload", test_upload);
	g_test_add_func("/http/failures", test_failures);
	g_test_add_func("/http/bodies", test_bodies);
	g_test_add_func("/http/cancel", test_cancel);
	return g_test_run();
}
