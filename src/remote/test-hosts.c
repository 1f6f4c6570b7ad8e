// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "remote/hosts-toml.h"
#include "remote/registry.h"
#include <string.h>

static GPtrArray *parse(const char *text, GPtrArray *warnings, GError **error)
{
	return hosts_toml_parse(text, strlen(text), "/etc/certs.d/x/hosts.toml", warnings, error);
}

static HostConfig *at(GPtrArray *hosts, guint i)
{
	g_assert_cmpuint(i, <, hosts->len);
	return hosts->pdata[i];
}

static void assert_pair(HostConfig *h, guint i, const char *cert, const char *key)
{
	g_assert_cmpuint(i, <, h->pairs->len);
	g_assert_cmpstr(g_array_index(h->pairs, HttpTlsPair, i).cert, ==, cert);
	g_assert_cmpstr(g_array_index(h->pairs, HttpTlsPair, i).key, ==, key);
}

static void test_all_keys(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) hosts = parse("server = 'https://main.example'\n"
	                                   "ca = '/abs/ca.pem'\n"
	                                   "[host.'https://z.example:5000/sub/'.header]\n"
	                                   "x-b = ['1', '2']\n"
	                                   "[host.'https://z.example:5000/sub/']\n"
	                                   "capabilities = ['pull', 'Resolve']\n"
	                                   "ca = ['a.pem', 'sub/../b.pem']\n"
	                                   "client = [['c.cert', 'c.key'], 'both.pem']\n"
	                                   "skip_verify = false\n"
	                                   "dial_timeout = '2s'\n"
	                                   "[host.'http://a.example/v2']\n"
	                                   "client = 'one.pem'\n"
	                                   "credential_helper = 'pass'\n"
	                                   "credential_file = 'config.json'\n"
	                                   "[host.'b.example/api/v1']\n"
	                                   "override_path = true\n"
	                                   "skip_verify = true\n"
	                                   "capabilities = ['push', 'referrers']\n",
	                                   NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(hosts->len, ==, 4);
	HostConfig *h = at(hosts, 0);
	g_assert_cmpstr(h->scheme, ==, "https");
	g_assert_cmpstr(h->host, ==, "z.example:5000");
	g_assert_cmpstr(h->path, ==, "/sub/v2");
	g_assert_cmpuint(h->capabilities, ==, REGISTRY_PULL | REGISTRY_RESOLVE);
	g_assert_cmpstr(h->ca[0], ==, "/etc/certs.d/x/a.pem");
	g_assert_cmpstr(h->ca[1], ==, "/etc/certs.d/x/b.pem");
	assert_pair(h, 0, "/etc/certs.d/x/c.cert", "/etc/certs.d/x/c.key");
	assert_pair(h, 1, "/etc/certs.d/x/both.pem", NULL);
	g_assert_cmpint(h->skip_verify, ==, 0);
	g_assert_cmpint(h->dial_timeout_ns, ==, 2000000000);
	g_assert_cmpstr(h->headers[0], ==, "x-b: 1");
	g_assert_cmpstr(h->headers[1], ==, "x-b: 2");
	g_assert_null(h->headers[2]);
	h = at(hosts, 1);
	g_assert_cmpstr(h->scheme, ==, "http");
	g_assert_cmpstr(h->path, ==, "/v2");
	g_assert_cmpuint(h->capabilities, ==, REGISTRY_ALL);
	g_assert_cmpint(h->skip_verify, ==, -1);
	g_assert_cmpstr(h->credential_helper, ==, "pass");
	g_assert_cmpstr(h->credential_file, ==, "/etc/certs.d/x/config.json");
	g_assert_cmpstr(h->where, ==, "/etc/certs.d/x/hosts.toml:11");
	h = at(hosts, 2);
	g_assert_cmpstr(h->scheme, ==, "https");
	g_assert_cmpstr(h->host, ==, "b.example");
	g_assert_cmpstr(h->path, ==, "/api/v1");
	g_assert_cmpint(h->skip_verify, ==, 1);
	g_assert_cmpuint(h->capabilities, ==, REGISTRY_PUSH | REGISTRY_REFERRERS);
	h = at(hosts, 3);
	g_assert_cmpstr(h->host, ==, "main.example");
	g_assert_cmpstr(h->ca[0], ==, "/abs/ca.pem");
	g_assert_cmpstr(h->where, ==, "/etc/certs.d/x/hosts.toml:1");
}

/* Without a server the last is the name's own, to be filled in. */
static void test_no_server(void)
{
	g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) hosts = parse("skip_verfy = true\n[host.'h']\ncapabilties = []", warnings, NULL);
	g_assert_cmpuint(hosts->len, ==, 2);
	g_assert_null(at(hosts, 1)->host);
	g_assert_cmpstr(at(hosts, 1)->where, ==, "/etc/certs.d/x/hosts.toml");
	g_assert_cmpuint(warnings->len, ==, 2);
	g_assert_cmpstr(warnings->pdata[0], ==,
	                "/etc/certs.d/x/hosts.toml:1: unknown key \"skip_verfy\" is ignored, did you mean "
	                "\"skip_verify\"?");
}

static void test_mistakes(void)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	        {"server = ",
	         "/etc/certs.d/x/hosts.toml:1:10: expected a value, found the end of the document"},
	        {"\nskip_verify = 'yes'",
	         "/etc/certs.d/x/hosts.toml:2: \"skip_verify\" must be a boolean, not a string"},
	        {"\n\ncapabilities = ['pul']",
	         "/etc/certs.d/x/hosts.toml:3: unknown capability \"pul\": there are "
	         "pull, resolve, push and referrers"},
	        {"ca = 1",
	         "/etc/certs.d/x/hosts.toml:1: \"ca\" must name files by strings, not by an integer"},
	        {"ca = ['']", "/etc/certs.d/x/hosts.toml:1: \"ca\": \"\" is not a file's name"},
	        {"client = [['a', 'b', 'c']]",
	         "/etc/certs.d/x/hosts.toml:1: a pair of \"client\" is [certificate, key], not a list of 3"},
	        {"dial_timeout = '-1s'",
	         "/etc/certs.d/x/hosts.toml:1: \"dial_timeout\" must not be negative"},
	        {"[host.'ftp://x']",
	         "/etc/certs.d/x/hosts.toml:1: \"ftp://x\" is no URL of a registry: it is "
	         "https://host[:port][/path]"},
	        {"[host.'https://u:secret@x']",
	         "/etc/certs.d/x/hosts.toml:1: \"https://u:xxxxx@x\": no user and password in the URL; use "
	         "credential_file or credential_helper"},
	        {"[host.'']", "/etc/certs.d/x/hosts.toml:1: [host.\"\"]: the URL is missing"},
	        {"server = 'https://x/?a=b'",
	         "/etc/certs.d/x/hosts.toml:1: \"https://x/?a=REDACTED\": the URL of a "
	         "registry has no query and no fragment"},
	        {"[header]\n'a b' = 'c'",
	         "/etc/certs.d/x/hosts.toml:2: header \"a b\": its name or value has "
	         "characters that no header has"},
	        {"[header]\nx = \"s3cret\\r\\nHost: y\"", "/etc/certs.d/x/hosts.toml:2: header \"x\": its "
	                                                  "name or value has characters that no header has"},
	        {"[header]\nx = 1",
	         "/etc/certs.d/x/hosts.toml:2: header \"x\" must be a string or a list of strings"},
	        {"credential_helper = '../sh'",
	         "/etc/certs.d/x/hosts.toml:1: credential_helper \"../sh\": it is the NAME of a program "
	         "docker-credential-NAME, of letters, digits, '-', '_' and '.'"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(parse(cases[i].text, NULL, &error));
		g_assert_cmpstr(error->message, ==, cases[i].error);
		g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	}
}

/* ---- directories ---- */

typedef struct {
	char *dir;
} Tree;

static void tree_init(Tree *t)
{
	t->dir = g_dir_make_tmp("hosts.XXXXXX", NULL);
}

static void put(Tree *t, const char *path, const char *text)
{
	g_autofree char *full = path_join(t->dir, path), *dir = g_path_get_dirname(full);
	g_assert_true(dir_make_all(dir, 0755, NULL));
	g_assert_true(g_file_set_contents(full, text, -1, NULL));
}

static void tree_clear(Tree *t)
{
	g_assert_true(tree_remove(t->dir, NULL));
	g_free(t->dir);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Tree, tree_clear)

static char *find(Tree *t, const char *path, const char *name)
{
	g_autoptr(GString) roots = g_string_new(path);
	g_string_replace(roots, "@", t->dir, 0);
	g_auto(GStrv) dirs = hosts_dirs_split(roots->str);
	g_autoptr(GError) error = NULL;
	char *dir = hosts_dir_find((const char *const *)dirs, name, &error);
	g_assert_no_error(error);
	if (dir == NULL)
		return NULL;
	g_assert_true(g_str_has_prefix(dir, t->dir));
	memmove(dir, dir + strlen(t->dir) + 1, strlen(dir) - strlen(t->dir));
	return dir;
}

static void test_directories(void)
{
	g_auto(Tree) t = {0};
	tree_init(&t);
	put(&t, "a/one.example/x", "");
	put(&t, "a/one.example_5000_/x", "");
	put(&t, "a/one.example:6000/x", "");
	put(&t, "a/[::1]_5000_/x", "");
	put(&t, "a/[::1]/x", "");
	put(&t, "b/two.example/x", "");
	put(&t, "b/_default/x", "");
	put(&t, "c/three.example/x", "");
	put(&t, "hosts.toml", "");
	static const struct {
		const char *roots, *name, *dir;
	} cases[] = {
	        {"@/a:@/b:@/c", "one.example", "a/one.example"},
	        {"@/a:@/b:@/c", "one.example:5000", "a/one.example_5000_"},
	        {"@/a:@/b:@/c", "one.example:6000", "a/one.example:6000"},
	        {"@/a:@/b:@/c", "[::1]:5000", "a/[::1]_5000_"},
	        {"@/a:@/b:@/c", "[::1]", "a/[::1]"},
	        {"@/a:@/b:@/c", "two.example", "b/two.example"},
	        {"@/a:@/b:@/c", "three.example", "b/_default"}, // as upstream: a default ends the search
	        {"@/none::@/c", "three.example", "c/three.example"},
	        {"@/a", "four.example", NULL},
	        {"@/a:@/b", "..", "b/_default"},
	        {"@/a", "../c/three.example", NULL},
	        {"", "one.example", NULL},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *dir = find(&t, cases[i].roots, cases[i].name);
		g_assert_cmpstr(dir, ==, cases[i].dir);
	}
}

/* The list of a name, as text. */
static char *hosts_of(const char *config_path, const char *name, const char *scheme, GError **error)
{
	g_autoptr(RegistrySettings) settings = registry_settings_new(config_path);
	g_autoptr(HttpClient) http = http_client_new(NULL, NULL);
	RegistryOptions o = {.http = http, .settings = settings, .default_scheme = scheme};
	g_autoptr(GPtrArray) hosts = registry_hosts(name, &o, error);
	if (hosts == NULL)
		return NULL;
	g_autoptr(GString) out = g_string_new(NULL);
	for (guint i = 0; i < hosts->len; i++) {
		const RegistryHost *h = hosts->pdata[i];
		g_string_append_printf(out, "%s%s://%s%s%s%s%s", i > 0 ? " " : "", h->scheme, h->host,
		                       h->path, h->http_fallback ? "+http" : "", h->tls != NULL ? "+tls" : "",
		                       h->broken != NULL ? "!" : "");
	}
	return g_strdup(out->str);
}

#define ASSERT_HOSTS(name, scheme, want)                                                                     \
	do {                                                                                                 \
		g_autofree char *got = hosts_of(t.dir, name, scheme, &error);                                \
		g_assert_no_error(error);                                                                    \
		g_assert_cmpstr(got, ==, want);                                                              \
	} while (0)

static void test_lists(void)
{
	g_auto(Tree) t = {0};
	tree_init(&t);
	g_autoptr(GError) error = NULL;
	put(&t, "docker.io/hosts.toml", "[host.'http://m.example:5000']\n[host.'https://n.example']");
	put(&t, "plain.example/hosts.toml", "server='http://plain.example:8080'\nskip_verify=true");
	put(&t, "eighty.example/hosts.toml", "server='http://plain.example:80'\nskip_verify=true");
	put(&t, "localhost:5000/hosts.toml", "[host.'http://m.example']");
	put(&t, "own.example/hosts.toml", "skip_verify = true");
	put(&t, "broken.example/hosts.toml", "[host.'https://m']\nca='none.pem'\n[host.'https://n']");
	put(&t, "bad.example/hosts.toml", "[host.'https://m'");
	put(&t, "docker.example/readme", "");
	ASSERT_HOSTS("docker.io", NULL,
	             "http://m.example:5000/v2 https://n.example/v2 https://registry-1.docker.io/v2");
	ASSERT_HOSTS("plain.example", NULL, "https://plain.example:8080/v2+http+tls");
	ASSERT_HOSTS("eighty.example", NULL, "http://plain.example:80/v2+tls");
	ASSERT_HOSTS("localhost:5000", NULL, "http://m.example/v2 https://localhost:5000/v2+http+tls");
	ASSERT_HOSTS("localhost:5000", "http", "http://m.example/v2 http://localhost:5000/v2");
	ASSERT_HOSTS("own.example", NULL, "https://own.example/v2+tls");
	ASSERT_HOSTS("docker.example", NULL, "https://docker.example/v2");
	ASSERT_HOSTS("other.example", "http", "http://other.example/v2");
	/* one wrong certificate costs its host only */
	ASSERT_HOSTS("broken.example", NULL, "https://m/v2! https://n/v2 https://broken.example/v2");
	/* one wrong file costs its registry only, which upstream would ask at its own address */
	g_assert_null(hosts_of(t.dir, "bad.example", NULL, &error));
	g_autofree char *want = g_strdup_printf("%s/bad.example/hosts.toml:1:18: ", t.dir);
	g_assert_true(g_str_has_prefix(error->message, want));
}

static void test_docker_layout(void)
{
	g_auto(Tree) t = {0};
	tree_init(&t);
	put(&t, "x/ca.crt", "");
	put(&t, "x/client.cert", "");
	put(&t, "x/client.key", "");
	put(&t, "x/both.cert", "");
	put(&t, "x/hosts.toml", "");
	put(&t, "x/dir.crt/y", "");
	g_autofree char *dir = path_join(t.dir, "x");
	g_autoptr(GPtrArray) hosts = hosts_dir_load(dir, NULL, NULL);
	g_assert_cmpuint(hosts->len, ==, 1);
	HostConfig *h = at(hosts, 0);
	g_assert_null(h->host);
	g_autofree char *ca = path_join(dir, "ca.crt"), *cert = path_join(dir, "client.cert"),
	                *key = path_join(dir, "client.key"), *both = path_join(dir, "both.cert");
	g_assert_cmpstr(h->ca[0], ==, ca);
	g_assert_null(h->ca[1]);
	g_assert_cmpuint(h->pairs->len, ==, 2);
	assert_pair(h, 0, both, NULL);
	assert_pair(h, 1, cert, key);
}

static void test_certificates(void)
{
	g_auto(Tree) t = {0};
	tree_init(&t);
	put(&t, "junk.pem", "junk");
	g_autofree char *junk = path_join(t.dir, "junk.pem"), *none = path_join(t.dir, "none.pem");
	g_autofree char *no_ca = g_strdup_printf(
	                        "unable to read CA cert \"%s\": open %s: no such file or directory", none,
	                        none),
	                *bad_ca = g_strdup_printf("unable to load CA cert \"%s\"", junk),
	                *no_cert = g_strdup_printf(
	                        "unable to read CERT file \"%s\": open %s: no such file or directory", none,
	                        none);
	const struct {
		const char *ca;
		HttpTlsPair pair;
		const char *error;
	} cases[] = {
	        {none, {NULL, NULL}, no_ca},
	        {junk, {NULL, NULL}, bad_ca},
	        {NULL, {none, NULL}, no_cert},
	        {NULL, {junk, none}, no_cert},
	        {NULL,
	         {junk, NULL},
	         "failed to load X509 key pair: tls: failed to find any PEM data in certificate input"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		const char *const ca[] = {cases[i].ca, NULL};
		g_assert_null(http_tls_new(ca, &cases[i].pair, cases[i].pair.cert != NULL, false, &error));
		g_assert_cmpstr(error->message, ==, cases[i].error);
	}
}

/* ---- CRI's keys ---- */

static const ConfigKey auth_keys[] = {{"username", CONFIG_STRING},
                                      {"password", CONFIG_STRING},
                                      {"auth", CONFIG_STRING},
                                      {"identitytoken", CONFIG_STRING},
                                      {.name = NULL}};
static const ConfigKey tls_keys[] = {{"ca_file", CONFIG_STRING},
                                     {"cert_file", CONFIG_STRING},
                                     {"key_file", CONFIG_STRING},
                                     {"insecure_skip_verify", CONFIG_BOOL},
                                     {.name = NULL}};
static const ConfigKey config_keys[] = {{"auth", CONFIG_TABLE, .keys = auth_keys, .optional = true},
                                        {"tls", CONFIG_TABLE, .keys = tls_keys, .optional = true},
                                        {.name = NULL}};
static const ConfigKey mirror_keys[] = {{"endpoint", CONFIG_STRINGS}, {.name = NULL}};
static const ConfigKey registry_keys[] = {{"config_path", CONFIG_STRING},
                                          {"mirrors", CONFIG_TABLE_MAP, .keys = mirror_keys},
                                          {"configs", CONFIG_TABLE_MAP, .keys = config_keys},
                                          {"auths", CONFIG_TABLE_MAP, .keys = auth_keys},
                                          {"headers", CONFIG_STRINGS_MAP},
                                          {.name = NULL}};

static char *cri_hosts(const char *toml, const char *name, GError **error)
{
	g_autoptr(TomlValue) doc = toml_parse(toml, strlen(toml), "c.toml", error);
	g_assert_no_error(*error);
	g_autoptr(TomlValue) view = schema_decode(registry_keys, doc, "", NULL, NULL, error);
	g_assert_no_error(*error);
	g_autoptr(RegistrySettings) settings = registry_settings_from_cri(view, error);
	if (settings == NULL)
		return NULL;
	g_autoptr(HttpClient) http = http_client_new(NULL, NULL);
	RegistryOptions o = {.http = http, .settings = settings};
	g_autoptr(GPtrArray) hosts = registry_hosts(name, &o, error);
	if (hosts == NULL)
		return NULL;
	g_autoptr(GString) out = g_string_new(NULL);
	for (guint i = 0; i < hosts->len; i++) {
		const RegistryHost *h = hosts->pdata[i];
		g_string_append_printf(out, "%s%s://%s%s%s%s", i > 0 ? " " : "", h->scheme, h->host, h->path,
		                       h->tls != NULL ? "+tls" : "",
		                       (h->capabilities & REGISTRY_PUSH) != 0 ? "+push" : "");
	}
	return g_strdup(out->str);
}

static void test_cri(void)
{
	static const char seed[] =
	        "[mirrors.\"docker.io\"]\n"
	        "endpoint = ['https://a.example', 'https://b.example/sub', 'c.example', 'localhost:5000', "
	        "'https://registry-1.docker.io']\n"
	        "[mirrors.\"*\"]\n"
	        "endpoint = ['https://registry:5000/']\n"
	        "[configs.\"gcr.io\".tls]\n"
	        "insecure_skip_verify = true\n"
	        "[configs.\"quay.io\".auth]\n"
	        "username = 'u'\n"
	        "password = 'p'\n";
	static const struct {
		const char *toml, *name, *want;
	} cases[] = {
	        {seed, "docker.io",
	         "https://a.example/v2 https://b.example/sub https://c.example/v2 http://localhost:5000/v2 "
	         "https://registry-1.docker.io/v2+push"},
	        {seed, "quay.io", "https://registry:5000/v2 https://quay.io/v2+push"},
	        /* the images' registry is named, its mirror is meant */
	        {seed, "gcr.io", "https://registry:5000/v2+tls https://gcr.io/v2+tls+push"},
	        {"[mirrors.'x.example']\nendpoint = ['https://m']", "y.example", "https://y.example/v2+push"},
	        {"[mirrors.'x.example']\nendpoint = []", "x.example", "https://x.example/v2+push"},
	        {"[mirrors.'x.example']\nendpoint = ['http://x.example']", "x.example",
	         "http://x.example/v2+push"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *got = cri_hosts(cases[i].toml, cases[i].name, &error);
		g_assert_no_error(error);
		g_assert_cmpstr(got, ==, cases[i].want);
	}
}

static void test_cri_mistakes(void)
{
	static const struct {
		const char *toml, *error;
	} cases[] = {
	        {"[mirrors.'x']\nendpoint = ['ftp://u:secret@y']",
	         "invalid cri image config: c.toml:1: registry.mirrors.\"x\": parse registry endpoint "
	         "\"ftp://u:xxxxx@y\" from mirrors: it is no http or https URL"},
	        {"[configs.'x'.auth]\nauth = 'sEcr et'",
	         "invalid cri image config: c.toml:1: registry.configs.\"x\": \"auth\" is not base64"},
	        {"[auths.'https://x']\nauth = 'c2VjcmV0'",
	         "invalid cri image config: c.toml:1: registry.auths.\"x\": \"auth\" is not the base64 of "
	         "\"user:password\""},
	        {"[configs.'x'.tls]\ncert_file = 'c'",
	         "invalid cri image config: c.toml:1: registry.configs.\"x\".tls: cert_file is set and "
	         "key_file "
	         "is not"},
	        {"[headers]\nx = ['a\\u0001']", NULL},
	        {"[headers]\n'x:y' = ['a']",
	         "invalid cri image config: c.toml:2: registry.headers.\"x:y\" has "
	         "characters that no header has"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *got = cri_hosts(cases[i].toml, "x", &error);
		g_assert_cmpstr(error != NULL ? error->message : NULL, ==, cases[i].error);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/hosts/all-keys", test_all_keys);
	g_test_add_func("/hosts/no-server", test_no_server);
	g_test_add_func("/hosts/mistakes", test_mistakes);
	g_test_add_func("/hosts/directories", test_directories);
	g_test_add_func("/hosts/lists", test_lists);
	g_test_add_func("/hosts/docker-layout", test_docker_layout);
	g_test_add_func("/hosts/certificates", test_certificates);
	g_test_add_func("/hosts/cri", test_cri);
	g_test_add_func("/hosts/cri-mistakes", test_cri_mistakes);
	return g_test_run();
}
