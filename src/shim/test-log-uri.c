// SPDX-License-Identifier: Apache-2.0

#include "shim/log-uri.h"

static void good(const char *text, LogUriKind kind, const char *path, const char *args)
{
	g_auto(LogUri) uri = {0};
	g_autoptr(GError) error = NULL;
	g_assert_true(log_uri_parse(text, &uri, &error));
	g_assert_no_error(error);
	g_assert_cmpint(uri.kind, ==, kind);
	g_assert_cmpstr(uri.path, ==, path);
	g_autoptr(GString) s = g_string_new(NULL);
	for (guint i = 0; uri.args != NULL && i < uri.args->len; i++)
		g_string_append_printf(s, "[%s]", (char *)uri.args->pdata[i]);
	g_assert_cmpstr(s->str, ==, args);
}

static void test_good(void)
{
	good("", LOG_URI_FIFO, "", "");
	good("/run/x-stdout", LOG_URI_FIFO, "/run/x-stdout", "");
	good("/odd:name?q#f%zz", LOG_URI_FIFO, "/odd:name?q#f%zz", "");
	good("fifo:///run/x", LOG_URI_FIFO, "/run/x", "");
	good("file:///var/log/a%20b.log", LOG_URI_FILE, "/var/log/a b.log", "");
	good("FILE:///x?y", LOG_URI_FILE, "/x", "[y][]");
	good("binary:///bin/log?id=a&x=1%262&flag&id=b&empty=", LOG_URI_BINARY, "/bin/log",
	     "[id][a][x][1&2][flag][][empty][]");
	good("binary-v2://host/bin/log?a+b=c+d#frag", LOG_URI_BINARY_V2, "/bin/log", "[a b][c d]");
	good("binary:///l?bad;pair&%zz=1&ok=1", LOG_URI_BINARY, "/l", "[ok][1]");
}

static void test_bad(void)
{
	static const char *const cases[][2] = {
	        {"npipe:////./pipe", "unknown STDIO scheme npipe"},
	        {"x:y", "unknown STDIO scheme x"},
	        {":x", "unable to parse stdout uri: parse \":x\": missing protocol scheme"},
	        {"file:///a%zz", "unable to parse stdout uri: parse \"file:///a%zz\": invalid URL escape"},
	        {"file:///a%00b", "unable to parse stdout uri: parse \"file:///a%00b\": invalid URL escape"},
	        {"file:///a%2", "unable to parse stdout uri: parse \"file:///a%2\": invalid URL escape"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(LogUri) uri = {0};
		g_autoptr(GError) error = NULL;
		g_assert_false(log_uri_parse(cases[i][0], &uri, &error));
		g_assert_cmpstr(error->message, ==, cases[i][1]);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/log-uri/good", test_good);
	g_test_add_func("/log-uri/bad", test_bad);
	return g_test_run();
}
