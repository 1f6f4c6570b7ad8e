// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "base/util.h"
#include "remote/credentials.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char *bin;

/* A helper of the shell; $1 is "get", stdin the server. */
static void helper(const char *name, const char *script)
{
	g_autofree char *path = g_strdup_printf("%s/docker-credential-%s", bin, name);
	g_autofree char *text = g_strdup_printf("#!/bin/sh\n%s\n", script);
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	g_assert_cmpint(chmod(path, 0755), ==, 0);
}

static char *text_of(const Credentials *c)
{
	return g_strdup_printf("%s|%s|%s|%s", str_or(c->username, ""), str_or(c->secret, ""),
	                       str_or(c->header, ""), str_or(c->source, "nobody"));
}

static char *ask(const CredentialSources *s, const char *host)
{
	g_autoptr(GError) error = NULL;
	g_auto(Credentials) c = {0};
	if (!credentials_find(s, host, NULL, &c, &error))
		return g_strdup(error->message);
	return text_of(&c);
}

static void assert_helper(const char *name, const char *host, const char *want)
{
	CredentialSources s = {.helper = (char *)name};
	g_autofree char *got = ask(&s, host);
	g_assert_cmpstr(got, ==, want);
}

static void test_helper(void)
{
	helper("echo",
	       "read -r s; printf '{\"ServerURL\":\"%s\",\"Username\":\"u-%s\",\"Secret\":\"p\"}' $1 \"$s\"");
	helper("token", "cat >/dev/null; echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}'");
	helper("none", "echo credentials not found in native keychain; exit 1");
	helper("fails", "echo out; echo the vault is locked >&2; exit 3");
	helper("junk", "echo 'secret s3cret'");
	helper("empty", "");
	helper("big", "yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head -c 200000; exit 1");
	assert_helper("echo", "r.example:5000", "u-r.example:5000|p||docker-credential-echo");
	assert_helper("echo", "registry-1.docker.io",
	              "u-https://index.docker.io/v1/|p||docker-credential-echo");
	assert_helper("token", "r", "|t||docker-credential-token");
	assert_helper("none", "r", "|||nobody");
	assert_helper("fails", "r",
	              "credential helper \"docker-credential-fails\" for \"r\": exit status 3: the vault is "
	              "locked: "
	              "out");
	assert_helper("missing", "r",
	              "credential helper \"docker-credential-missing\" for \"r\": exec: "
	              "\"docker-credential-missing\": executable file not found in $PATH");
	/* what it says may be a secret: it is in no text */
	CredentialSources junk = {.helper = (char *)"junk"};
	g_autofree char *text = ask(&junk, "r");
	g_assert_true(g_str_has_prefix(text, "credential helper \"docker-credential-junk\" for \"r\": "));
	g_assert_null(strstr(text, "s3cret"));
	CredentialSources big = {.helper = (char *)"big"};
	g_autofree char *long_text = ask(&big, "r");
	g_assert_cmpuint(strlen(long_text), <, 600);
}

static void test_helper_hangs(void)
{
	helper("hangs", "sleep 100");
	CredentialSources s = {.helper = (char *)"hangs", .helper_timeout_ns = 100 * NS_PER_MS};
	g_autofree char *got = ask(&s, "r");
	g_assert_true(g_str_has_prefix(got, "credential helper \"docker-credential-hangs\" for \"r\": "));
}

static void test_names(void)
{
	static const char *const good[] = {"pass", "ecr-login", "osx_keychain.2"},
	                         *const bad[] = {"", "-x", ".x", "a/b", "a b", "a;b", "../sh", "\xc3\xa4"};
	for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
		g_assert_true(credential_helper_name_valid(good[i]));
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(credential_helper_name_valid(bad[i]));
	g_autofree char *longest = g_strnfill(65, 'a');
	g_assert_false(credential_helper_name_valid(longest));
}

static char *from_config(const char *json, const char *host)
{
	g_autoptr(GError) error = NULL;
	g_auto(Credentials) c = {0};
	g_autofree char *name = NULL;
	if (!docker_config_parse(json, strlen(json), host, &name, &c, &error))
		return g_strdup(error->message);
	g_autofree char *text = text_of(&c);
	return g_strconcat(text, name != NULL ? " " : "", str_or(name, ""), NULL);
}

static void test_config(void)
{
	static const char auths[] = "{\"auths\":{"
	                            "\"https://one.example/v1/\":{\"auth\":\"dTpwOnE=\"},"
	                            "\"two.example:5000\":{\"username\":\"u\",\"password\":\"p\"},"
	                            "\"three.example\":{\"identitytoken\":\"t\",\"auth\":\"dTpw\"},"
	                            "\"four.example\":{\"registrytoken\":\"r\"},"
	                            "\"five.example/team\":{\"auth\":\"dTpw\"},"
	                            "\"six.example\":{},"
	                            "\"https://index.docker.io/v1/\":{\"auth\":\"dTpw\"}}}";
	static const char helpers[] =
	        "{\"credsStore\":\"store\",\"credHelpers\":{\"one.example\":\"own\",\"two."
	        "example\":\"\"},\"auths\":{\"two.example\":{\"auth\":\"dTpw\"}}}";
	static const struct {
		const char *json, *host, *want;
	} cases[] = {
	        {auths, "one.example", "u|p:q||nobody"},
	        {auths, "two.example:5000", "u|p||nobody"},
	        {auths, "two.example", "|||nobody"},
	        {auths, "three.example", "|t||nobody"},
	        {auths, "four.example", "||Bearer r|nobody"},
	        {auths, "five.example", "|||nobody"},
	        {auths, "six.example", "|||nobody"},
	        {auths, "registry-1.docker.io", "u|p||nobody"},
	        {auths, "docker.io.evil.example", "|||nobody"},
	        {helpers, "one.example", "|||nobody own"},
	        {helpers, "two.example", "u|p||nobody"}, // "": the file itself
	        {helpers, "three.example", "|||nobody store"},
	        {"{\"credsStore\":\"../../x\"}", "one.example",
	         "\"../../x\" is not the name of a credential helper"},
	        {"{\"auths\":{\"x\":{\"auth\":\"%%\"}}}", "x", "auths of \"x\": \"auth\" is not base64"},
	        {"{\"auths\":{\"x\":{\"registrytoken\":\"a\\nHost: y\"}}}", "x",
	         "auths of \"x\": \"registrytoken\" with a line break"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *got = from_config(cases[i].json, cases[i].host);
		g_assert_cmpstr(got, ==, cases[i].want);
	}
}

static bool client(const char *host, Cancel *cancel, Credentials *ret, void *data, GError **error)
{
	ret->username = g_strdup(data);
	ret->secret = g_strdup(data);
	return true;
}

/* The client, the helper, the file, the configuration. */
static void test_order(void)
{
	helper("some", "read -r s; [ \"$s\" = a ] && echo '{\"Username\":\"h\",\"Secret\":\"h\"}' || { echo "
	               "credentials not found in native keychain; exit 1; }");
	g_autofree char *file = path_join(bin, "config.json"), *none = path_join(bin, "none.json");
	g_assert_true(g_file_set_contents(
	        file,
	        "{\"auths\":{\"a\":{\"auth\":\"Zjpm\"},\"b\":{\"auth\":\"Zjpm\"}},\"credHelpers\":{\"d\":"
	        "\"echo\"}}",
	        -1, NULL));
	CredentialSources s = {
	        .client = client,
	        .client_data = (char *)"c",
	        .helper = (char *)"some",
	        .file = file,
	        .fixed = {.username = (char *)"x", .secret = (char *)"x", .source = (char *)"the file"},
	};
	g_autofree char *first = ask(&s, "a");
	g_assert_cmpstr(first, ==, "c|c||the client");
	s.client_data = (char *)""; // ctr without --user answers like this
	const struct {
		const char *host;
		char *want;
	} cases[] = {
	        {"a", g_strdup("h|h||docker-credential-some")},
	        {"b", g_strdup_printf("f|f||%s", file)},
	        {"c", g_strdup("x|x||the file")},
	        {"d", g_strdup("u-d|p||docker-credential-echo")},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *got = ask(&s, cases[i].host);
		g_assert_cmpstr(got, ==, cases[i].want);
		g_free(cases[i].want);
	}
	s.file = none;
	g_autofree char *missing = ask(&s, "b");
	g_autofree char *want = g_strdup_printf("credential file: open %s: no such file or directory", none);
	g_assert_cmpstr(missing, ==, want);
	g_autofree char *nobody = ask(NULL, "a");
	g_assert_cmpstr(nobody, ==, "|||nobody");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	bin = g_dir_make_tmp("helpers.XXXXXX", NULL);
	g_autofree char *path = g_strdup_printf("%s:%s", bin, getenv("PATH"));
	setenv("PATH", path, 1);
	g_test_add_func("/credentials/helper", test_helper);
	g_test_add_func("/credentials/helper-hangs", test_helper_hangs);
	g_test_add_func("/credentials/names", test_names);
	g_test_add_func("/credentials/config", test_config);
	g_test_add_func("/credentials/order", test_order);
	int status = g_test_run();
	tree_remove(bin, NULL);
	g_free(bin);
	return status;
}
