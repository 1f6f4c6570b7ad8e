// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

static int log_file = -1;

/* What was logged since the last call, with each time replaced by T. */
static char *logged(void)
{
	char *text;
	lseek(log_file, 0, SEEK_SET);
	g_assert_true(fd_read_all(log_file, 1 << 24, &text, NULL, NULL));
	g_assert_cmpint(ftruncate(log_file, 0), ==, 0);
	lseek(log_file, 0, SEEK_SET);
	g_autoptr(GRegex) re = g_regex_new(
	        "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{9}(Z|[+-]\\d\\d:\\d\\d)", 0, 0, NULL);
	char *out = g_regex_replace_literal(re, text, -1, 0, "T", 0, NULL);
	g_free(text);
	return out;
}

#define ASSERT_LOGGED(expected)                                                                              \
	do {                                                                                                 \
		g_autofree char *got = logged();                                                             \
		g_assert_cmpstr(got, ==, (expected));                                                        \
	} while (0)

static void test_text(void)
{
	log_set_json(false);
	log_set_level(LOG_INFO);
	log_info("starting containerd", "version", "v2.3.4+c0", "revision", "a/b@c^d_e", NULL);
	ASSERT_LOGGED("time=\"T\" level=info msg=\"starting containerd\" revision=a/b@c^d_e "
	              "version=v2.3.4+c0\n");
	log_warn("x", "b", "has space", "a", "q\"uote\n", "empty", "", NULL);
	ASSERT_LOGGED("time=\"T\" level=warning msg=x a=\"q\\\"uote\\n\" b=\"has space\" empty=\n");
	log_error("é", "k", "a=b", NULL);
	ASSERT_LOGGED("time=\"T\" level=error msg=\"é\" k=\"a=b\"\n");
	log_at(LOG_INFO, "", "k", NULL, "msg", "m", "time", "t", "level", "l", NULL);
	ASSERT_LOGGED("time=\"T\" level=info fields.level=l fields.msg=m fields.time=t k=\"<nil>\"\n");
}

static void test_json(void)
{
	log_set_json(true);
	log_info("a<b>&\"c\"\n", "zone", "z", "id", "\x01\xff", NULL);
	ASSERT_LOGGED("{\"id\":\"\\u0001\\ufffd\",\"level\":\"info\",\"msg\":"
	              "\"a\\u003cb\\u003e\\u0026\\\"c\\\"\\n\","
	              "\"time\":\"T\",\"zone\":\"z\"}\n");
	log_info("", NULL);
	ASSERT_LOGGED("{\"level\":\"info\",\"msg\":\"\",\"time\":\"T\"}\n");
	log_set_json(false);
}

static void test_level(void)
{
	LogLevel level;
	g_autoptr(GError) error = NULL;
	g_assert_true(log_level_parse("WARN", &level, NULL));
	g_assert_cmpint(level, ==, LOG_WARN);
	g_assert_true(log_level_parse("warning", &level, NULL));
	g_assert_true(log_level_parse("trace", &level, NULL));
	g_assert_cmpint(level, ==, LOG_TRACE);
	g_assert_false(log_level_parse("loud", &level, &error));
	g_assert_cmpstr(error->message, ==, "not a valid logrus Level: \"loud\"");

	log_set_level(LOG_WARN);
	unsigned before = log_count_warnings();
	log_info("no", NULL);
	log_debug("no", NULL);
	ASSERT_LOGGED("");
	g_assert_cmpuint(log_count_warnings(), ==, before);
	log_set_level(LOG_ERROR);
	log_warn("counted all the same", NULL);
	ASSERT_LOGGED("");
	g_assert_cmpuint(log_count_warnings(), ==, before + 1);
	log_set_level(LOG_DEBUG);
	log_debug("yes", NULL);
	ASSERT_LOGGED("time=\"T\" level=debug msg=yes\n");
	log_set_level(LOG_INFO);
}

static void test_scope(void)
{
	LogScope outer = {.key = {"namespace", "id"}, .value = {"default", "1"}};
	LogScope inner = {.key = {"id"}, .value = {"2"}};
	log_scope_enter(&outer);
	log_scope_enter(&inner);
	log_info("m", "x", "y", NULL);
	ASSERT_LOGGED("time=\"T\" level=info msg=m id=2 namespace=default x=y\n");
	log_info("m", "id", "3", NULL);
	ASSERT_LOGGED("time=\"T\" level=info msg=m id=3 namespace=default\n");
	log_scope_leave(&inner);
	log_info("m", NULL);
	ASSERT_LOGGED("time=\"T\" level=info msg=m id=1 namespace=default\n");
	log_scope_leave(&outer);
	log_info("m", NULL);
	ASSERT_LOGGED("time=\"T\" level=info msg=m\n");
}

static void test_error(void)
{
	GError *error = NULL;
	error_set_class(&error, CTRD_ERR_NOT_FOUND, "image %s", Q("x"));
	log_error_take(LOG_ERROR, error, "failed", "n", "1", NULL);
	ASSERT_LOGGED("time=\"T\" level=error msg=failed error=\"image \\\"x\\\": not found\" n=1\n");
	error = NULL;
	error_set(&error, CTRD_ERR_INTERNAL, "x");
	log_error_take(LOG_DEBUG, error, "not shown, but freed", NULL);
	ASSERT_LOGGED("");
}

static void check_cut(bool json, char fill)
{
	g_autofree char *big = g_strnfill(100000, fill);
	log_set_json(json);
	log_info(big, "a", big, "b", big, "id", "1", NULL);
	g_autofree char *got = logged();
	g_assert_cmpuint(strlen(got), <=, 16384);
	g_assert_nonnull(strstr(got, "(cut, 100000 bytes)"));
	g_assert_nonnull(strstr(got, json ? "\"level\":\"info\"" : "level=info"));
	g_assert_nonnull(strstr(got, json ? "\"msg\":\"" : "msg=\""));
	g_assert_true(g_str_has_suffix(got, json ? "}\n" : "\n"));
	log_set_json(false);
}

static void test_cut(void)
{
	check_cut(false, 'x');
	check_cut(false, '\xff');
	check_cut(true, 'x');
	check_cut(true, '\xff');
	g_autofree char *key = g_strnfill(20000, 'k');
	log_info("m", key, "v", "z", "1", NULL);
	ASSERT_LOGGED("time=\"T\" level=info msg=m z=1\n");
}

static void *log_many(void *data)
{
	for (int i = 0; i < 200; i++)
		log_info("message of a thread", "thread", (const char *)data, NULL);
	return NULL;
}

static void test_threads(void)
{
	// each line in one piece; O_APPEND because the writers share the file
	fcntl(log_file, F_SETFL, O_APPEND);
	pthread_t threads[4];
	static const char *const names[] = {"0", "1", "2", "3"};
	for (int i = 0; i < 4; i++)
		g_assert_cmpint(pthread_create(&threads[i], NULL, log_many, (void *)names[i]), ==, 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	g_autofree char *got = logged();
	g_auto(GStrv) lines = g_strsplit(got, "\n", -1);
	g_assert_cmpuint(g_strv_length(lines), ==, 801);
	for (int i = 0; i < 800; i++)
		g_assert_true(g_str_has_prefix(lines[i],
		                               "time=\"T\" level=info msg=\"message of a thread\" thread="));
}

static void test_zone(void)
{
	g_setenv("TZ", "Asia/Kolkata", TRUE);
	tzset();
	log_info("m", NULL);
	char *text;
	lseek(log_file, 0, SEEK_SET);
	g_assert_true(fd_read_all(log_file, 1 << 20, &text, NULL, NULL));
	// without zone data the zone is UTC, under that name
	g_assert_true(strstr(text, "+05:30\" level=") != NULL || strstr(text, "Z\" level=") != NULL);
	g_free(text);
	g_setenv("TZ", "XYZ+3:30", TRUE);
	tzset();
	g_free(logged());
	log_info("m", NULL);
	lseek(log_file, 0, SEEK_SET);
	g_assert_true(fd_read_all(log_file, 1 << 20, &text, NULL, NULL));
	g_assert_nonnull(strstr(text, "-03:30\" level="));
	g_free(text);
	g_unsetenv("TZ");
	tzset();
	g_free(logged());
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	log_file = memfd_create("log", MFD_CLOEXEC);
	log_set_fd(log_file);
	g_test_add_func("/log/text", test_text);
	g_test_add_func("/log/json", test_json);
	g_test_add_func("/log/level", test_level);
	g_test_add_func("/log/scope", test_scope);
	g_test_add_func("/log/error", test_error);
	g_test_add_func("/log/cut", test_cut);
	g_test_add_func("/log/zone", test_zone);
	g_test_add_func("/log/threads", test_threads);
	int r = g_test_run();
	close(log_file);
	return r;
}
