// SPDX-License-Identifier: Apache-2.0

#include "base/error.h"
#include "base/fs.h"
#include "shim/runc.h"
#include <signal.h>
#include <string.h>

static Loop *loop;
static Reaper *reaper;
static char *dir;

typedef struct {
	char *error, *output;
	bool done;
	Runc *runc;
	GError *told; // as the client sees it
} Result;

static void on_done(const GError *error, const char *output, void *data)
{
	Result *r = data;
	r->error = error != NULL ? g_strdup(error->message) : NULL;
	r->output = g_strdup(output);
	r->told = runc_error(r->runc, error, "OCI runtime create failed");
	r->done = true;
	loop_stop(loop);
}

static void run_script(const char *script, Result *r, bool kill_it)
{
	static Runc runc;
	RuncOptions options = {.binary_name = path_join(dir, "runtime")};
	if (script != NULL)
		g_assert_true(
		        file_write_atomic(options.binary_name, script, strlen(script), 0755, false, NULL));
	else
		tree_remove(options.binary_name, NULL);
	runc_init(&runc, loop, reaper, dir, "ns", &options);
	g_autoptr(GPtrArray) args = g_ptr_array_new();
	g_ptr_array_add(args, (char *)"create");
	g_ptr_array_add(args, (char *)"box");
	*r = (Result){.runc = &runc};
	RuncCall *call = runc_run(&runc, "box", args, RUNC_CAPTURE, on_done, r);
	g_assert_false(r->done);
	if (kill_it)
		runc_call_kill(call);
	// each run of the loop ends with loop_stop
	loop_run(loop);
	g_assert_true(r->done);
	runc_clear(&runc);
	runc_options_clear(&options);
}

static void result_clear(Result *r)
{
	g_free(r->error);
	g_free(r->output);
	g_clear_error(&r->told);
}

/* One process can run a loop only once: each case is a test of its own process. */
static void in_subprocess(void (*fn)(void))
{
	if (!g_test_subprocess()) {
		g_test_trap_subprocess(NULL, 20 * G_USEC_PER_SEC, G_TEST_SUBPROCESS_DEFAULT);
		g_test_trap_assert_passed();
		return;
	}
	loop = loop_new();
	reaper = reaper_new(loop, NULL);
	dir = g_dir_make_tmp("shim-runc-XXXXXX", NULL);
	fn();
	tree_remove(dir, NULL);
}

static void success(void)
{
	Result r;
	run_script("#!/bin/sh\necho \"$@\"; [ -z \"$NOTIFY_SOCKET\" ]\n", &r, false);
	g_assert_null(r.error);
	g_autofree char *want = g_strdup_printf(
	        "--root /run/containerd/runc/ns --log %s/log.json --log-format json create box\n", dir);
	g_assert_cmpstr(r.output, ==, want);
	result_clear(&r);
}

static void test_success(void)
{
	in_subprocess(success);
}

static void logged(void)
{
	g_autofree char *log = path_join(dir, "log.json");
	static const char old[] = "{\"level\":\"error\",\"msg\":\"an old story\"}\n";
	g_assert_true(file_write_atomic(log, old, strlen(old), 0600, false, NULL));
	Result r;
	run_script("#!/bin/sh\necho said; echo '{\"level\":\"warning\",\"msg\":\"w\"}' >>\"$4\"\n"
	           "printf '%s\\n' '{\"level\":\"error\",\"msg\":\" the reason \\n\"}' >>\"$4\"; exit 3\n",
	           &r, false);
	g_autofree char *want =
	        g_strdup_printf("%s/runtime did not terminate successfully: exit status 3: said\n", dir);
	g_assert_cmpstr(r.error, ==, want);
	g_assert_cmpstr(r.told->message, ==, "OCI runtime create failed: the reason");
	g_assert_cmpint(error_class(r.told), ==, CTRD_ERR_UNKNOWN);
	result_clear(&r);
}

static void test_logged(void)
{
	in_subprocess(logged);
}

/* What the log said before is no reason for this failure. */
static void silent(void)
{
	g_autofree char *log = path_join(dir, "log.json");
	static const char old[] = "{\"level\":\"error\",\"msg\":\"an old story\"}\n";
	g_assert_true(file_write_atomic(log, old, strlen(old), 0600, false, NULL));
	Result r;
	run_script("#!/bin/sh\nexit 1\n", &r, false);
	g_autofree char *want = g_strdup_printf(
	        "OCI runtime create failed: %s/runtime did not terminate successfully: exit status 1", dir);
	g_assert_cmpstr(r.told->message, ==, want);
	result_clear(&r);
}

static void test_silent(void)
{
	in_subprocess(silent);
}

static void missing(void)
{
	Result r;
	run_script(NULL, &r, false);
	g_autofree char *want = g_strdup_printf("fork/exec %s/runtime: no such file or directory", dir);
	g_assert_cmpstr(r.error, ==, want);
	result_clear(&r);
}

static void test_missing(void)
{
	in_subprocess(missing);
}

/* The whole group goes: a script's child too. */
static void killed(void)
{
	Result r;
	run_script("#!/bin/sh\nsleep 1000 & wait\n", &r, true);
	g_assert_true(g_str_has_suffix(r.error, "exit status 137"));
	result_clear(&r);
}

static void test_killed(void)
{
	in_subprocess(killed);
}

static void garrulous(void)
{
	Result r;
	run_script("#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' x; exit 1\n", &r, false);
	g_assert_cmpuint(strlen(r.output), <=, 64 * 1024);
	g_assert_cmpuint(strlen(r.output), >, 1000);
	result_clear(&r);
}

static void test_garrulous(void)
{
	in_subprocess(garrulous);
}

static void test_kill_errors(void)
{
	static const struct {
		const char *said, *told;
		CtrdErrorCode code;
	} cases[] = {
	        {"runc did not terminate successfully: exit status 1: container not running\n",
	         "process already finished: not found", CTRD_ERR_NOT_FOUND},
	        {"crun did not terminate successfully: exit status 1: kill container: No such process\n",
	         "process already finished: not found", CTRD_ERR_NOT_FOUND},
	        {"runc ...: container does not exist\n", "no such container: not found", CTRD_ERR_NOT_FOUND},
	        {"crun ...: error opening file `/r/x/status`: No such file or directory\n",
	         "no such container: not found", CTRD_ERR_NOT_FOUND},
	        {"something else", "unknown error after kill: something else", CTRD_ERR_UNKNOWN},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) said = g_error_new_literal(CTRD_ERROR, CTRD_ERR_UNKNOWN, cases[i].said);
		g_autoptr(GError) told = runc_kill_error(said);
		g_assert_cmpstr(told->message, ==, cases[i].told);
		g_assert_cmpint(error_class(told), ==, cases[i].code);
	}
	g_assert_null(runc_kill_error(NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_setenv("NOTIFY_SOCKET", "/run/systemd/notify", TRUE);
	g_test_add_func("/runc/success", test_success);
	g_test_add_func("/runc/logged", test_logged);
	g_test_add_func("/runc/silent", test_silent);
	g_test_add_func("/runc/missing", test_missing);
	g_test_add_func("/runc/killed", test_killed);
	g_test_add_func("/runc/garrulous", test_garrulous);
	g_test_add_func("/runc/kill-errors", test_kill_errors);
	return g_test_run();
}
