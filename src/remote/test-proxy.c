// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/util.h"
#include "remote/http.h"
#include "remote/proxy.h"
#include "remote/test-server.h"
#include <string.h>

static const char *const *environment;

static const char *env(const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; environment[i] != NULL; i++)
		if (strncmp(environment[i], name, len) == 0 && environment[i][len] == '=')
			return environment[i] + len + 1;
	return NULL;
}

static void check(const char *const *vars, const char *url, const char *want)
{
	environment = vars;
	g_autofree char *got = proxy_for_url(url, env);
	g_assert_cmpstr(got, ==, want);
}

static void test_choice(void)
{
	const char *const none[] = {NULL};
	check(none, "http://a.example/", "");
	const char *const both[] = {"HTTP_PROXY=http://p:1", "HTTPS_PROXY=p:2", NULL};
	check(both, "http://a.example/", "http://p:1");
	check(both, "https://a.example/", "http://p:2");
	check(both, "http://localhost:5000/", "");
	check(both, "http://127.1.2.3/", "");
	check(both, "https://[::1]:5000/v2/", "");
	const char *const small[] = {"http_proxy=socks5://p:1", "HTTP_PROXY=", "https_proxy=https://p", NULL};
	check(small, "http://a.example/", "socks5://p:1");
	check(small, "https://a.example/", "https://p");
	const char *const first[] = {"http_proxy=b", "HTTP_PROXY=a", "ALL_PROXY=c", NULL};
	check(first, "http://a.example/", "http://a");
	check(first, "https://a.example/", "");
	const char *const cgi[] = {"HTTP_PROXY=a", "REQUEST_METHOD=GET", NULL};
	check(cgi, "http://a.example/", "");
}

static void exempt(const char *list, const char *url, bool is)
{
	g_autofree char *no = g_strconcat("NO_PROXY=", list, NULL);
	const char *const vars[] = {"HTTP_PROXY=p", "HTTPS_PROXY=p", no, NULL};
	check(vars, url, is ? "" : "http://p");
}

static void test_exempt(void)
{
	exempt("*", "http://a.example/", true);
	exempt("x, ,a.example", "http://A.Example/", true);
	exempt("example", "http://a.example/", true);
	exempt("example", "http://aexample/", false);
	exempt(".example", "http://a.example/", true);
	exempt(".a.example", "http://a.example/", false);
	exempt("*.example", "http://a.example/", true);
	exempt("*.example", "http://example/", false);
	exempt("a.example:5000", "http://a.example:5000/", true);
	exempt("a.example:5000", "http://a.example/", false);
	exempt("a.example:443", "https://a.example/", true);
	exempt("10.0.0.0/8", "http://10.1.2.3:5000/", true);
	exempt("10.0.0.0/8", "http://11.1.2.3/", false);
	exempt("10.0.0.128/25", "http://10.0.0.127/", false);
	exempt("10.0.0.128/25", "http://10.0.0.129/", true);
	exempt("10.0.0.1", "http://10.0.0.1/", true);
	exempt("10.0.0.1:80", "http://10.0.0.1/", true);
	exempt("10.0.0.1:81", "http://10.0.0.1/", false);
	exempt("fd00::/8", "http://[fd12::1]:5000/", true);
	exempt("fd12::1", "http://[fd12::1]/", true);
	exempt("[fd12::1]:5000", "http://[fd12::1]:5000/", true);
	exempt("10.0.0.0/99", "http://10.0.0.1/", false);
	exempt(":80,/8,[", "http://a.example/", false);
}

static void serve(TestRequest *r, void *data)
{
	test_reply_text(r, 200, "", "from the proxy");
}

/* What libcurl makes of it: the proxy gets the whole URL, or a tunnel is asked for. */
static void test_used(void)
{
	g_autoptr(TestServer) s = test_server_new(serve, NULL);
	g_setenv("HTTP_PROXY", test_server_host(s), TRUE);
	g_setenv("HTTPS_PROXY", test_server_host(s), TRUE);
	g_setenv("NO_PROXY", "127.0.0.0/8", TRUE);
	g_autoptr(HttpClient) http = http_client_new(NULL, NULL);
	HttpRequest req = {.method = "GET", .url = "http://registry.invalid/v2/"};
	g_autoptr(GError) error = NULL;
	g_autoptr(HttpResponse) r = http_do(http, &req, NULL, NULL, &error);
	g_assert_no_error(error);
	g_autofree char *body = http_body_head(r, 100, NULL);
	g_assert_cmpstr(body, ==, "from the proxy");
	req.url = "https://registry.invalid/v2/";
	g_autoptr(HttpResponse) tls = http_do(http, &req, NULL, NULL, &error);
	g_assert_null(tls); // what comes through the tunnel is no TLS
	g_clear_error(&error);
	g_autofree char *log = test_server_log(s);
	g_assert_cmpstr(log, ==, "GET http://registry.invalid/v2/\nCONNECT registry.invalid:443\n");
	/* one that is not there */
	g_setenv("HTTP_PROXY", "127.0.0.1:1", TRUE);
	req.url = "http://registry.invalid/v2/";
	g_autoptr(HttpResponse) gone = http_do(http, &req, NULL, NULL, &error);
	g_assert_null(gone);
	g_assert_true(g_str_has_prefix(error->message, "Get \"http://registry.invalid/v2/\": "));
	g_assert_nonnull(strstr(error->message, "connection refused"));
	g_unsetenv("HTTP_PROXY");
	g_unsetenv("HTTPS_PROXY");
	g_unsetenv("NO_PROXY");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/proxy/choice", test_choice);
	g_test_add_func("/proxy/exempt", test_exempt);
	g_test_add_func("/proxy/used", test_used);
	return g_test_run();
}
