// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/time.h"
#include <signal.h>
#include <string.h>

static void test_grammar(void)
{
	static const char *const good[][2] = {
	        {"off", NULL},
	        {"error(oops)", NULL},
	        {"error", NULL},
	        {"3*error(x: \"y\": not found)", NULL},
	        {"1*off->2*error(oops)->delay(20)->kill", NULL},
	        {"25%panic(boom)", NULL},
	        {"5%2*delay(0)", NULL},
	        {"0*kill", NULL},
	        {"100%kill", "kill"},
	        {"007*off", "7*off"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *text = failpoint_normalize(good[i][0], &error);
		g_assert_no_error(error);
		g_assert_cmpstr(text, ==, good[i][1] != NULL ? good[i][1] : good[i][0]);
	}
	static const char *const bad[][2] = {
	        {"", "\"\""},
	        {"of", "\"of\""},
	        {"offf", "\"offf\""},
	        {"error(", "\"error(\""},
	        {"error()", "\"error()\""},
	        {"delay", "\"delay\""},
	        {"delay(x)", "\"delay(x)\""},
	        {"delay(3600001)", "\"delay(3600001)\""},
	        {"kill(9)", "\"(9)\""},
	        {"off->", "\"\""},
	        {"off-kill", "\"-kill\""},
	        {"101%off", "\"101%off\""},
	        {"-1*off", "\"-1*off\""},
	        {"9999999999999999999*off", "\"9999999999999999999*off\""},
	        {"off;off", "\";off\""},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(failpoint_normalize(bad[i][0], &error));
		g_autofree char *text = g_strconcat("invalid term ", bad[i][1], NULL);
		g_assert_cmpstr(error->message, ==, text);
	}
}

static bool step_one(GError **error)
{
	return FAILPOINT("test.one", error);
}

static bool step_two(GError **error)
{
	return FAILPOINT("test.two", error);
}

static void set(const char *text)
{
	g_autoptr(GError) error = NULL;
	g_setenv("CONTAINERD_FAILPOINTS", text, true);
	failpoints_setup("daemon", &error);
	g_assert_no_error(error);
}

static void test_counts(void)
{
	g_autoptr(GError) error = NULL;
	g_assert_true(step_one(&error)); // nothing is set
	set("test.one=1*off->2*error(first)->1*error;shim.other=kill;test.two=0*error(never)");
	g_assert_true(step_one(&error));
	for (int i = 0; i < 2; i++) {
		g_assert_false(step_one(&error));
		g_assert_cmpstr(error->message, ==, "first");
		g_assert_true(error_is(error, CTRD_ERR_UNKNOWN));
		g_clear_error(&error);
	}
	g_assert_false(step_one(&error));
	g_assert_cmpstr(error->message, ==, "test.one");
	g_clear_error(&error);
	g_assert_true(step_one(&error));
	g_assert_true(step_two(&error));
	g_assert_true(step_two(NULL));
}

static void test_delay(void)
{
	set("test.one=off;test.two=1*delay(30)");
	int64_t began = time_mono();
	g_assert_true(step_two(NULL));
	g_assert_cmpint(time_mono() - began, >=, 30 * NS_PER_MS);
}

static void test_percent(void)
{
	set("test.one=50%error(x)");
	unsigned failed = 0;
	for (int i = 0; i < 10000; i++)
		failed += !step_one(NULL);
	g_assert_cmpuint(failed, >, 4000);
	g_assert_cmpuint(failed, <, 6000);
	set("test.one=0%error(x)");
	g_assert_true(step_one(NULL));
	set("test.one=off");
}

static void test_setup_errors(void)
{
	static const char *const bad[][2] = {
	        {"test.none=off", "unknown point \"test.none\""},
	        {"test.one", "\"test.one\" has no terms"},
	        {";", "\"\" has no terms"},
	        {"test.one=off;=off", "\"\" has no terms"},
	        {"test.one=nope", "test.one: invalid term \"nope\""},
	        {"shim.x=nope", "shim.x: invalid term \"nope\""},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_setenv("CONTAINERD_FAILPOINTS", bad[i][0], true);
		g_assert_false(failpoints_setup("daemon", &error));
		g_autofree char *text = g_strconcat("CONTAINERD_FAILPOINTS: ", bad[i][1], NULL);
		g_assert_cmpstr(error->message, ==, text);
	}
	g_unsetenv("CONTAINERD_FAILPOINTS");
	g_assert_true(failpoints_setup("daemon", NULL));
}

static void child(const char *text)
{
	set(text);
	step_one(NULL);
}

static void test_kill_child(void)
{
	child("test.one=kill");
}

static void test_panic_child(void)
{
	child("test.one=panic(boom)");
}

static void test_list_child(void)
{
	g_setenv("CONTAINERD_FAILPOINTS", "list", true);
	failpoints_setup("daemon", NULL);
}

static void test_kill(void)
{
	g_test_trap_subprocess("/failpoint/kill/subprocess", 0, G_TEST_SUBPROCESS_DEFAULT);
	g_test_trap_assert_failed();
	g_test_trap_subprocess("/failpoint/panic/subprocess", 0, G_TEST_SUBPROCESS_DEFAULT);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr("*boom*");
}

static void test_list(void)
{
	g_test_trap_subprocess("/failpoint/list/subprocess", 0, G_TEST_SUBPROCESS_DEFAULT);
	g_test_trap_assert_passed();
	g_test_trap_assert_stdout("*test.one\n*");
	g_test_trap_assert_stdout("*test.two\n*");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	log_set_level(LOG_PANIC);
	g_test_add_func("/failpoint/grammar", test_grammar);
	g_test_add_func("/failpoint/counts", test_counts);
	g_test_add_func("/failpoint/delay", test_delay);
	g_test_add_func("/failpoint/percent", test_percent);
	g_test_add_func("/failpoint/setup-errors", test_setup_errors);
	g_test_add_func("/failpoint/kill", test_kill);
	g_test_add_func("/failpoint/list", test_list);
	g_test_add_func("/failpoint/kill/subprocess", test_kill_child);
	g_test_add_func("/failpoint/panic/subprocess", test_panic_child);
	g_test_add_func("/failpoint/list/subprocess", test_list_child);
	return g_test_run();
}
