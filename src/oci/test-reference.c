// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "oci/reference.h"
#include <string.h>

#define HEX64 "7173b809ca12ec5dee4506cd86be934c4596dd234ee82c0662eac04a8c2c71dc"

static void test_spec(void)
{
	static const struct {
		const char *input, *locator, *object, *normalized, *hostname, *digest, *tag, *path;
	} cases[] = {
	        {"docker.io/library/redis:foo?fooo=asdf", "docker.io/library/redis", "foo",
	         "docker.io/library/redis:foo", "docker.io", "", "foo", "library/redis"},
	        {"docker.io/library/redis:foo@sha256:abcdef?fooo=asdf", "docker.io/library/redis",
	         "foo@sha256:abcdef", "docker.io/library/redis:foo@sha256:abcdef", "docker.io",
	         "sha256:abcdef", "foo", "library/redis"},
	        {"docker.io/library/redis@sha256:abcdef?fooo=asdf", "docker.io/library/redis",
	         "@sha256:abcdef", "docker.io/library/redis@sha256:abcdef", "docker.io", "sha256:abcdef", "",
	         "library/redis"},
	        {"docker.io/library/redis:obj@abcdef?fooo=asdf", "docker.io/library/redis", "obj@abcdef",
	         "docker.io/library/redis:obj@abcdef", "docker.io", "abcdef", "obj", "library/redis"},
	        {"localhost:5000/library/redis:obj@abcdef?fooo=asdf", "localhost:5000/library/redis",
	         "obj@abcdef", "localhost:5000/library/redis:obj@abcdef", "localhost:5000", "abcdef", "obj",
	         "library/redis"},
	        {"docker.io/library/redis?fooo=asdf", "docker.io/library/redis", "",
	         "docker.io/library/redis", "docker.io", "", "", "library/redis"},
	        {"sub-dom1.foo.com/bar/baz/quux:latest", "sub-dom1.foo.com/bar/baz/quux", "latest",
	         "sub-dom1.foo.com/bar/baz/quux:latest", "sub-dom1.foo.com", "", "latest", "bar/baz/quux"},
	        {"b.gcr.io/test.example.com/my-app:test.example.com", "b.gcr.io/test.example.com/my-app",
	         "test.example.com", "b.gcr.io/test.example.com/my-app:test.example.com", "b.gcr.io", "",
	         "test.example.com", "test.example.com/my-app"},
	        {"xn--7o8h.com/myimage:xn--7o8h.com@sha512:fffffff", "xn--7o8h.com/myimage",
	         "xn--7o8h.com@sha512:fffffff", "xn--7o8h.com/myimage:xn--7o8h.com@sha512:fffffff",
	         "xn--7o8h.com", "sha512:fffffff", "xn--7o8h.com", "myimage"},
	        {"foo", "foo", "", "foo", "foo", "", "", ""},
	        {"foo:80", "foo:80", "", "foo:80", "foo:80", "", "", ""},
	        {"[fe80::1%25eth0]:5000/a:b", "[fe80::1%eth0]:5000/a", "b", "[fe80::1%eth0]:5000/a:b",
	         "[fe80::1%eth0]:5000", "", "b", "a"},
	        {"user:pw@host/a", "host/a", "", "host/a", "host", "", "", "a"},
	        {"host/a//b/../c:t#fragment", "host/a/c", "t", "host/a/c:t", "host", "", "t", "a/c"},
	        {"host/%61", "host/a", "", "host/a", "host", "", "", "a"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(RefSpec) r = {0};
		g_autoptr(GError) error = NULL;
		ref_spec_parse(cases[i].input, &r, &error);
		g_assert_no_error(error);
		g_assert_cmpstr(r.locator, ==, cases[i].locator);
		g_assert_cmpstr(r.object, ==, cases[i].object);
		g_autofree char *normalized = ref_spec_format(&r), *hostname = ref_spec_hostname(&r),
		                *tag = ref_spec_tag(&r);
		g_assert_cmpstr(normalized, ==, cases[i].normalized);
		g_assert_cmpstr(hostname, ==, cases[i].hostname);
		g_assert_cmpstr(tag, ==, cases[i].tag);
		g_assert_cmpstr(ref_spec_digest(&r), ==, cases[i].digest);
		g_assert_cmpstr(ref_spec_path(&r), ==, cases[i].path);
	}
}

static void test_spec_bad(void)
{
	static const char *const cases[][2] = {
	        {"http://xn--7o8h.com/myimage", "invalid reference"},
	        {"/docker.io/library/redis:obj@abcdef?fooo=asdf", "hostname required"},
	        {"", "hostname required"},
	        {"?a", "hostname required"},
	        {"host/a\nb", "parse \"dummy://host/a\\nb\": net/url: invalid control character in URL"},
	        {"ho st/a", "parse \"dummy://ho st/a\": invalid character \" \" in host name"},
	        {"host:port/a", "parse \"dummy://host:port/a\": invalid port \":port\" after host"},
	        {"alpine:latest", "parse \"dummy://alpine:latest\": invalid port \":latest\" after host"},
	        {"host:1:2/a", "parse \"dummy://host:1:2/a\": invalid port \":1:2\" after host"},
	        {"host/%zz", "parse \"dummy://host/%zz\": invalid URL escape \"%zz\""},
	        {"host/%2", "parse \"dummy://host/%2\": invalid URL escape \"%2\""},
	        {"host/a%00", "parse \"dummy://host/a%00\": invalid URL escape \"%00\""},
	        {"ho%41st/a", "parse \"dummy://ho%41st/a\": invalid URL escape \"%41\""},
	        {"[::1/a", "parse \"dummy://[::1/a\": missing ']' in host"},
	        {"[::1]x/a", "parse \"dummy://[::1]x/a\": invalid port \"x\" after host"},
	        {"x[::1]/a", "parse \"dummy://x[::1]/a\": invalid IP-literal"},
	        {"a b@host/a", "parse \"dummy://a b@host/a\": net/url: invalid userinfo"},
	        // a name without a host, but with a digest: the "host" is what stands after the "@"
	        {"alpine@sha256:ab", "parse \"dummy://alpine@sha256:ab\": invalid port \":ab\" after host"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(RefSpec) r = {0};
		g_autoptr(GError) error = NULL;
		g_assert_false(ref_spec_parse(cases[i][0], &r, &error));
		g_assert_cmpstr(error->message, ==, cases[i][1]);
		g_assert_cmpint(error_class(error), ==, CTRD_ERR_UNKNOWN);
	}
}

static void check_docker(const char *input, const char *full, const char *familiar)
{
	g_auto(DockerRef) r = {0};
	g_autoptr(GError) error = NULL;
	docker_ref_parse_normalized(input, &r, &error);
	g_assert_no_error(error);
	g_autofree char *whole = docker_ref_format(&r), *short_form = docker_ref_familiar_format(&r);
	g_assert_cmpstr(whole, ==, full);
	g_assert_cmpstr(short_form, ==, familiar);
	// what was written reads back as the same
	g_auto(DockerRef) again = {0}, from_familiar = {0};
	g_assert_true(docker_ref_parse_normalized(whole, &again, NULL));
	g_assert_true(docker_ref_parse_normalized(short_form, &from_familiar, NULL));
	g_autofree char *whole2 = docker_ref_format(&again), *whole3 = docker_ref_format(&from_familiar);
	g_assert_cmpstr(whole2, ==, full);
	g_assert_cmpstr(whole3, ==, full);
}

static void test_docker(void)
{
	check_docker("alpine", "docker.io/library/alpine", "alpine");
	check_docker("docker.io/alpine:3", "docker.io/library/alpine:3", "alpine:3");
	check_docker("index.docker.io/alpine", "docker.io/library/alpine", "alpine");
	check_docker("library/alpine", "docker.io/library/alpine", "alpine");
	check_docker("docker/docker", "docker.io/docker/docker", "docker/docker");
	check_docker("127.0.0.1:5000/docker/docker", "127.0.0.1:5000/docker/docker",
	             "127.0.0.1:5000/docker/docker");
	check_docker("localhost/a", "localhost/a", "localhost/a");
	check_docker("localhost:5000/a:b", "localhost:5000/a:b", "localhost:5000/a:b");
	check_docker("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000");
	check_docker("HOST/a", "HOST/a", "HOST/a");
	check_docker("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000/repo:tag",
	             "[2001:db8::1]:5000/repo:tag");
	check_docker("foo/foo_bar__baz---qux.a/b", "docker.io/foo/foo_bar__baz---qux.a/b",
	             "foo/foo_bar__baz---qux.a/b");
	check_docker("a@sha256:" HEX64, "docker.io/library/a@sha256:" HEX64, "a@sha256:" HEX64);
	check_docker("a:t@sha256:" HEX64, "docker.io/library/a:t@sha256:" HEX64, "a:t@sha256:" HEX64);
	check_docker("library/distros/ubuntu", "docker.io/library/distros/ubuntu", "library/distros/ubuntu");
	check_docker("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com",
	             "xn--n3h.com/myimage:xn--n3h.com");
}

static void test_docker_bad(void)
{
	static const char *const invalid = "invalid reference format";
	g_autofree char *long_path = g_strnfill(256, 'a'), *long_tag = g_strnfill(129, 't');
	g_autofree char *long_ref = g_strconcat("x.io/", long_path, NULL),
	                *tag_ref = g_strconcat("a:", long_tag, NULL);
	const char *const cases[][2] = {
	        {"", invalid},
	        {":", invalid},
	        {"@", invalid},
	        {"a:", invalid},
	        {"a@", invalid},
	        {"a/", invalid},
	        {"/a", invalid},
	        {"a//b", invalid},
	        {"-a", invalid},
	        {"a-", invalid},
	        {"a___b", invalid},
	        {"a..b", invalid},
	        {"a._b", invalid},
	        {"a b", invalid},
	        {"a:b:c", invalid},
	        {"a:-t", invalid},
	        {"a:.t", invalid},
	        {tag_ref, invalid},
	        {"https://x.io/a", invalid},
	        {"x.io:port/a", invalid},
	        {"-x.io/a", invalid},
	        {"x.io-/a", invalid},
	        {"x..io/a", invalid},
	        {"[::1/a", invalid},
	        {"[]/a", invalid},
	        {"[fe80::1%eth0]:5000/repo", invalid},
	        {"a@sha256:abc", invalid},
	        {"a@:" HEX64, invalid},
	        {"a@sha256." HEX64, invalid},
	        {"a@sha256:" HEX64 "/b", invalid},
	        {"a@sha256:" HEX64 "00", "invalid checksum digest length"},
	        {"a@md5:d41d8cd98f00b204e9800998ecf8427e", "unsupported digest algorithm"},
	        {"Docker", "invalid reference format: repository name (library/Docker) must be lowercase"},
	        {"docker.io/Foo/bar:tag",
	         "invalid reference format: repository name (Foo/bar) must be lowercase"},
	        {"a/É", "invalid reference format: repository name (a/É) must be lowercase"},
	        {HEX64, "invalid repository name (" HEX64 "), cannot specify 64-byte hexadecimal strings"},
	        {long_ref, "repository name must not be more than 255 characters"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(DockerRef) r = {0};
		g_autoptr(GError) error = NULL;
		g_assert_false(docker_ref_parse_normalized(cases[i][0], &r, &error));
		g_assert_cmpstr(error->message, ==, cases[i][1]);
		g_assert_cmpint(error_class(error), ==, CTRD_ERR_UNKNOWN);
	}
}

static void check_parse(const char *input, const char *expected)
{
	g_auto(DockerRef) r = {0};
	g_assert_true(docker_ref_parse(input, &r, NULL));
	g_autofree char *got = docker_ref_format(&r);
	g_assert_cmpstr(got, ==, expected);
}

static void test_docker_ref(void)
{
	check_parse("busybox", "docker.io/library/busybox:latest");
	check_parse("docker.io/library/busybox:t", "docker.io/library/busybox:t");
	check_parse("gcr.io/x/busybox@sha256:" HEX64, "gcr.io/x/busybox@sha256:" HEX64);
	check_parse("gcr.io/x/busybox:t@sha256:" HEX64, "gcr.io/x/busybox@sha256:" HEX64);
	g_auto(DockerRef) r = {0};
	g_assert_false(docker_ref_parse("a:", &r, NULL));
}

static void test_any(void)
{
	g_auto(DockerRef) id = {0}, digest = {0}, name = {0};
	g_assert_true(docker_ref_parse_any(HEX64, &id, NULL));
	g_autofree char *id_text = docker_ref_format(&id), *id_name = docker_ref_name(&id),
	                *id_short = docker_ref_familiar_format(&id);
	g_assert_cmpstr(id_text, ==, "sha256:" HEX64);
	g_assert_cmpstr(id_short, ==, "sha256:" HEX64);
	g_assert_cmpstr(id_name, ==, "");
	g_assert_true(docker_ref_parse_any("sha256:" HEX64, &digest, NULL));
	g_assert_null(digest.path);
	g_assert_true(docker_ref_parse_any("a/b:c", &name, NULL));
	g_assert_cmpstr(name.path, ==, "a/b");
	g_assert_cmpstr(name.domain, ==, "docker.io");
	g_assert_cmpstr(name.tag, ==, "c");
	g_assert_null(name.digest);
	g_autofree char *full = docker_ref_name(&name), *familiar = docker_ref_familiar_name(&name);
	g_assert_cmpstr(full, ==, "docker.io/a/b");
	g_assert_cmpstr(familiar, ==, "a/b");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/reference/spec", test_spec);
	g_test_add_func("/reference/spec-bad", test_spec_bad);
	g_test_add_func("/reference/docker", test_docker);
	g_test_add_func("/reference/docker-bad", test_docker_bad);
	g_test_add_func("/reference/docker-ref", test_docker_ref);
	g_test_add_func("/reference/any", test_any);
	return g_test_run();
}
