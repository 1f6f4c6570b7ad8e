// SPDX-License-Identifier: Apache-2.0
#include "base/util.h"
#include "remote/challenge.h"
#include "remote/registry-error.h"
#include "remote/registry.h"
#include "remote/url.h"
#include <string.h>

static void check(char *got, const char *want)
{
	g_assert_cmpstr(got, ==, want);
	g_free(got);
}

static void test_resolve(void)
{
	const char *base = "https://r.example:5000/v2/a/b?x=y";
	check(url_resolve(base, "/c?d#e"), "https://r.example:5000/c?d");
	check(url_resolve(base, "//other/c"), "https://other/c");
	check(url_resolve(base, "http://other/c"), "http://other/c");
	check(url_resolve(base, "c"), "https://r.example:5000/v2/a/c");
	check(url_resolve("https://r.example", "c"), "https://r.example/c");
	check(url_resolve(base, "file:///etc/passwd"), NULL);
	check(url_resolve(base, "http://a b/"), NULL);
	check(url_resolve(base, "http:///x"), NULL);
	check(url_resolve(base, "/x?u=http://evil/"), "https://r.example:5000/x?u=http://evil/");
}

static void test_parts(void)
{
	check(url_origin("http://u:p@h:1/x"), "http://u:p@h:1");
	check(url_host("http://u:p@h:1/x"), "h:1");
	check(url_scheme("HTTPS://h"), "https");
	check(url_query_escape("a b/c:d~"), "a+b%2Fc%3Ad~");
	check(url_path_escape("/v2/a b/sha256:x"), "/v2/a%20b/sha256:x");
	check(url_add_query("http://h/x", "a=b"), "http://h/x?a=b");
	check(url_add_query("http://h/x?c", "a=b"), "http://h/x?c&a=b");
	check(url_redact("http://h/x"), "http://h/x");
	check(url_redact("http://u:p@h/x?ns=docker.io&sig=1&e=&f"),
	      "http://u:xxxxx@h/x?ns=docker.io&sig=REDACTED&e=&f");
	check(url_redact("http://h/x?u=a@b:c"), "http://h/x?u=REDACTED");
	g_assert_false(url_is_http("ftp://h/"));
	g_assert_false(url_is_http("http://h/\r\nX: y"));
}

static void test_challenge(void)
{
	g_autoptr(Challenge) c =
	        challenge_parse("BEARER realm=\"https://a/t\\\"x\",Service=reg , scope=\"a b\"");
	g_assert_cmpint(c->scheme, ==, CHALLENGE_BEARER);
	g_assert_cmpstr(strmap_get(c->params, "realm"), ==, "https://a/t\"x");
	g_assert_cmpstr(strmap_get(c->params, "service"), ==, "reg");
	g_assert_cmpstr(strmap_get(c->params, "scope"), ==, "a b");
	g_assert_null(challenge_parse("Negotiate x"));
	g_assert_null(challenge_parse(""));
	g_autoptr(GPtrArray) headers = g_ptr_array_new();
	g_ptr_array_add(headers, (char *)"Basic realm=\"x\"");
	g_ptr_array_add(headers, (char *)"Unknown");
	g_ptr_array_add(headers, (char *)"Bearer realm=\"open");
	g_autoptr(GPtrArray) all = challenges_parse(headers);
	g_assert_cmpuint(all->len, ==, 2);
	const Challenge *first = all->pdata[0];
	g_assert_cmpint(first->scheme, ==, CHALLENGE_BEARER);
	g_assert_cmpstr(strmap_get(first->params, "realm"), ==, "");
}

static void test_registry_error(void)
{
	const char *one =
	        "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\"}]}";
	check(registry_error_text(one, strlen(one)), "unauthorized");
	const char *detail = "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication "
	                     "required\",\"detail\":[1]}]}";
	check(registry_error_text(detail, strlen(detail)), "unauthorized: authentication required");
	const char *two =
	        "{\"errors\":[{\"code\":\"NAME_UNKNOWN\",\"message\":\"no such\"},{\"code\":\"DENIED\"}]}";
	check(registry_error_text(two, strlen(two)), "errors:\nunknown: no such\ndenied\n");
	check(registry_error_text("{}", 2), NULL);
	check(registry_error_text("{\"errors\":[1]}", 14), "unknown");
	check(registry_error_text("<html>", 6), NULL);
}

static RegistryHost *only(GPtrArray *hosts)
{
	g_assert_nonnull(hosts);
	g_assert_cmpuint(hosts->len, ==, 1);
	return hosts->pdata[0];
}

static void test_default_hosts(void)
{
	g_autoptr(HttpClient) http = http_client_new(NULL, NULL);
	RegistryOptions o = {.http = http};
	static const struct {
		const char *name, *default_scheme, *scheme, *host;
		bool fallback;
	} cases[] = {
	        {"docker.io", NULL, "https", "registry-1.docker.io", false},
	        {"docker.io", "http", "https", "registry-1.docker.io", false},
	        {"quay.io", NULL, "https", "quay.io", false},
	        {"quay.io", "http", "http", "quay.io", false},
	        {"localhost", NULL, "https", "localhost", false},
	        {"localhost:443", NULL, "https", "localhost:443", false},
	        {"localhost:5000", NULL, "https", "localhost:5000", true},
	        {"127.1.2.3:5000", NULL, "https", "127.1.2.3:5000", true},
	        {"[::1]:5000", NULL, "https", "[::1]:5000", true},
	        {"localhost:80", NULL, "http", "localhost:80", false},
	        {"localhost:5000", "http", "http", "localhost:5000", false},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		o.default_scheme = cases[i].default_scheme;
		g_autoptr(GPtrArray) hosts = registry_hosts(cases[i].name, &o, NULL);
		RegistryHost *h = only(hosts);
		g_assert_cmpstr(h->scheme, ==, cases[i].scheme);
		g_assert_cmpstr(h->host, ==, cases[i].host);
		g_assert_cmpint(h->http_fallback, ==, cases[i].fallback);
		g_assert_cmpstr(h->path, ==, "/v2");
		g_assert_false(registry_host_is_proxy(h, cases[i].name));
	}
	g_assert_true(registry_is_localhost("localhost"));
	g_assert_true(registry_is_localhost("[::1]:1"));
	g_assert_false(registry_is_localhost("128.0.0.1"));
	g_assert_false(registry_is_localhost("localhost.example"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/url/resolve", test_resolve);
	g_test_add_func("/url/parts", test_parts);
	g_test_add_func("/url/challenge", test_challenge);
	g_test_add_func("/url/registry-error", test_registry_error);
	g_test_add_func("/url/default-hosts", test_default_hosts);
	return g_test_run();
}
