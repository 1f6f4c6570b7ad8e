// SPDX-License-Identifier: Apache-2.0
/* Registries that ask who we are, and what we tell whom. */
#include "base/error.h"
#include "base/util.h"
#include "oci/descriptor.h"
#include "remote/resolver.h"
#include "remote/test-server.h"
#include <string.h>

#define DIGEST "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // of "hello"

typedef struct {
	TestServer *registry, *tokens, *elsewhere;
	const char *mode;
	unsigned n_tokens;
	char *seen; // Authorization at the other host
	char *token_request;
} World;

static void manifest(TestRequest *r)
{
	test_reply_text(r, 200,
	                "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n"
	                "Docker-Content-Digest: " DIGEST "\r\n",
	                "hello");
}

static void ask(TestRequest *r, World *w, const char *extra)
{
	g_autofree char *header =
	        g_strdup_printf("WWW-Authenticate: Bearer realm=\"http://%s/token?a=b\",service=\"reg\","
	                        "scope=\"repository:a/b:pull\"%s\r\n",
	                        test_server_host(w->tokens), extra);
	test_reply_text(r, 401, header,
	                "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication "
	                "required\",\"detail\":1}]}");
}

static void registry(TestRequest *r, void *data)
{
	World *w = data;
	const char *authorization = test_header(r, "Authorization");
	if (g_str_equal(w->mode, "basic")) {
		if (g_strcmp0(authorization, "Basic dXNlcjpwYXNz") == 0) // user:pass
			manifest(r);
		else
			test_reply_text(r, 401, "WWW-Authenticate: Basic realm=\"x\"\r\n", "");
	} else if (g_str_has_prefix(w->mode, "redirect")) {
		if (g_strcmp0(authorization, "Bearer T1") != 0) {
			ask(r, w, "");
			return;
		}
		g_autofree char *location =
		        g_strdup_printf("Location: http://%s/blob\r\n", test_server_host(w->elsewhere));
		test_reply_text(r, 307, location, "");
	} else if (g_str_equal(w->mode, "insufficient")) {
		ask(r, w, authorization != NULL ? ",error=\"insufficient_scope\"" : "");
	} else if (g_str_equal(w->mode, "expired") && r->n > 2 &&
	           g_strcmp0(authorization, "Bearer T1") == 0) {
		ask(r, w, ",error=\"invalid_token\"");
	} else if (authorization != NULL && g_str_has_prefix(authorization, "Bearer T")) {
		manifest(r);
	} else {
		ask(r, w, "");
	}
}

static void tokens(TestRequest *r, void *data)
{
	World *w = data;
	w->n_tokens++;
	g_free(w->token_request);
	w->token_request = g_strdup_printf("%s %s %s%s", r->method, r->path, r->body,
	                                   test_header(r, "Authorization") != NULL ? " +basic" : "");
	if (g_str_equal(w->mode, "no-token")) {
		test_reply_text(r, 200, "", "{}");
	} else if (g_str_equal(w->mode, "token-500")) {
		test_reply_text(r, 500, "", "");
	} else if (g_str_equal(w->mode, "no-post") && g_str_equal(r->method, "POST")) {
		test_reply_text(r, 404, "", "");
	} else if (g_str_equal(w->mode, "evil-token")) {
		test_reply_text(r, 200, "", "{\"token\":\"x\\r\\nHost: evil\"}");
	} else {
		g_autofree char *body =
		        g_strdup_printf("{\"token\":\"T%u\",\"access_token\":\"T%u\",\"expires_in\":300}",
		                        w->n_tokens, w->n_tokens);
		test_reply_text(r, 200, "", body);
	}
}

static void elsewhere(TestRequest *r, void *data)
{
	World *w = data;
	g_free(w->seen);
	w->seen = g_strdup_printf(
	        "auth=%s secret=%s range=%s", str_or(test_header(r, "Authorization"), "none"),
	        str_or(test_header(r, "X-Secret"), "none"), str_or(test_header(r, "Range"), "none"));
	if (g_str_equal(w->mode, "redirect-asks"))
		test_reply_text(r, 401, "WWW-Authenticate: Basic realm=\"give me\"\r\n", "");
	else
		test_reply_text(r, 200, "", "hello");
}

static bool credentials(const char *host, Cancel *cancel, Credentials *ret, void *data, GError **error)
{
	const char *const *pair = data;
	ret->username = g_strdup(pair[0]);
	ret->secret = g_strdup(pair[1]);
	return true;
}

static void world_init(World *w, const char *mode)
{
	*w = (World){.mode = mode};
	w->registry = test_server_new(registry, w);
	w->tokens = test_server_new(tokens, w);
	w->elsewhere = test_server_new(elsewhere, w);
}

static void world_clear(World *w)
{
	test_server_free(w->registry);
	test_server_free(w->tokens);
	test_server_free(w->elsewhere);
	g_free(w->seen);
	g_free(w->token_request);
}

static bool sink(void *data, const void *buf, size_t len, GError **error)
{
	g_string_append_len(data, buf, (gssize)len);
	return true;
}

/* Resolves a/b:c `times` times, then fetches the blob; the error of the first that fails, or NULL. */
static char *run(World *w, const char *const *pair, unsigned times, bool fetch)
{
	g_autoptr(HttpClient) http = http_client_new(NULL, NULL);
	RegistryOptions options = {
	        .http = http,
	        .default_scheme = "http",
	        .credentials = pair != NULL ? credentials : NULL,
	        .credentials_data = (void *)pair,
	};
	const char *const headers[] = {"X-Secret: s3cret", NULL};
	ResolverOptions ro = {
	        .http = http, .hosts = registry_hosts, .hosts_data = &options, .headers = headers};
	g_autofree char *ref = g_strconcat(test_server_host(w->registry), "/a/b:c", NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(Resolver) r = resolver_new(&ro, ref, &error);
	g_assert_no_error(error);
	for (unsigned i = 0; i < times; i++) {
		g_auto(Descriptor) desc = {0};
		if (!resolver_resolve(r, NULL, &desc, &error))
			return g_strdup(error->message);
		g_assert_cmpstr(desc.digest, ==, DIGEST);
		g_assert_cmpint(desc.size, ==, 5);
	}
	if (fetch) {
		Descriptor blob = {.digest = (char *)DIGEST, .size = 5, .media_type = (char *)"x/y"};
		g_autoptr(GString) got = g_string_new(NULL);
		if (!resolver_fetch(r, NULL, &blob, 0, sink, got, &error))
			return g_strdup(error->message);
		g_assert_cmpstr(got->str, ==, "hello");
	}
	return NULL;
}

static void expect(const char *mode, const char *const *pair, const char *text, ...)
{
	World w;
	world_init(&w, mode);
	g_autofree char *got = run(&w, pair, 1, false);
	g_autofree char *registry_host = g_strdup(test_server_host(w.registry));
	g_autofree char *token_host = g_strdup(test_server_host(w.tokens));
	g_autoptr(GString) want = g_string_new(text);
	g_string_replace(want, "REG", registry_host, 0);
	g_string_replace(want, "TOK", token_host, 0);
	g_assert_cmpstr(got, ==, want->str);
	world_clear(&w);
}

static void test_bearer(void)
{
	World w;
	world_init(&w, "bearer");
	g_assert_null(run(&w, NULL, 3, false));
	g_assert_cmpuint(w.n_tokens, ==, 1); // kept
	g_assert_cmpstr(w.token_request, ==, "GET /token?a=b&service=reg&scope=repository%3Aa%2Fb%3Apull ");
	world_clear(&w);

	const char *const pair[] = {"user", "pass"};
	world_init(&w, "bearer");
	g_assert_null(run(&w, pair, 1, false));
	g_assert_cmpstr(
	        w.token_request, ==,
	        "POST /token?a=b client_id=containerd-client&grant_type=password&password=pass&username=user"
	        "&scope=repository%3Aa%2Fb%3Apull&service=reg");
	world_clear(&w);

	const char *const refresh[] = {"", "r3fresh"};
	world_init(&w, "bearer");
	g_assert_null(run(&w, refresh, 1, false));
	g_assert_cmpstr(
	        w.token_request, ==,
	        "POST /token?a=b client_id=containerd-client&grant_type=refresh_token&refresh_token=r3fresh"
	        "&scope=repository%3Aa%2Fb%3Apull&service=reg");
	world_clear(&w);

	world_init(&w, "no-post");
	g_assert_null(run(&w, pair, 1, false));
	g_assert_cmpstr(w.token_request, ==,
	                "GET /token?a=b&service=reg&scope=repository%3Aa%2Fb%3Apull  +basic");
	world_clear(&w);
}

static void test_expired(void)
{
	World w;
	world_init(&w, "expired");
	g_assert_null(run(&w, NULL, 2, false));
	g_assert_cmpuint(w.n_tokens, ==, 2);
	world_clear(&w);
}

static void test_basic(void)
{
	const char *const pair[] = {"user", "pass"}, *const wrong[] = {"user", "wrong"},
	                  *const none[] = {"", ""};
	World w;
	world_init(&w, "basic");
	g_assert_null(run(&w, pair, 2, false));
	world_clear(&w);
	expect("basic", none,
	       "pull access denied, repository does not exist or may require authorization: authorization "
	       "failed: no "
	       "basic auth credentials");
	expect("basic", wrong,
	       "unexpected status from HEAD request to http://REG/v2/a/b/manifests/c: 401 Unauthorized");
	expect("basic", NULL,
	       "unexpected status from HEAD request to http://REG/v2/a/b/manifests/c: 401 Unauthorized");
}

static void test_refusals(void)
{
	const char *const pair[] = {"user", "pass"};
	expect("insufficient", NULL,
	       "pull access denied, repository does not exist or may require authorization: server message: "
	       "insufficient_scope: authorization failed");
	expect("no-token", NULL,
	       "failed to authorize: failed to fetch anonymous token: authorization server did not include a "
	       "token in the "
	       "response");
	expect("token-500", NULL,
	       "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to "
	       "http://TOK/token?a=REDACTED&service=REDACTED&scope=REDACTED: 500 Internal Server Error");
	expect("token-500", pair,
	       "failed to authorize: failed to fetch oauth token: unexpected status from POST request to "
	       "http://TOK/token?a=REDACTED: 500 Internal Server Error");
	expect("evil-token", NULL,
	       "failed to authorize: failed to fetch anonymous token: authorization server sent an invalid "
	       "token");
}

/* Nobody but who asked gets what is for him. */
static void test_redirect(void)
{
	World w;
	world_init(&w, "redirect");
	g_assert_null(run(&w, NULL, 0, true));
	g_assert_cmpstr(w.seen, ==, "auth=none secret=none range=none");
	world_clear(&w);
}

/* A host that a redirect names may ask, and gets nothing. */
static void test_redirect_asks(void)
{
	const char *const pair[] = {"user", "pass"};
	World w;
	world_init(&w, "redirect-asks");
	g_autofree char *got = run(&w, pair, 0, true);
	g_assert_nonnull(strstr(got, "no basic auth credentials"));
	g_assert_cmpstr(w.seen, ==, "auth=none secret=none range=none");
	world_clear(&w);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/auth/bearer", test_bearer);
	g_test_add_func("/auth/expired", test_expired);
	g_test_add_func("/auth/basic", test_basic);
	g_test_add_func("/auth/refusals", test_refusals);
	g_test_add_func("/auth/redirect", test_redirect);
	g_test_add_func("/auth/redirect-asks", test_redirect_asks);
	return g_test_run();
}
