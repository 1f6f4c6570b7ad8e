// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/time.h"
#include "base/util.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static const char *const *args(const char *a, const char *b, const char *c)
{
	static const char *v[4];
	v[0] = a;
	v[1] = b;
	v[2] = c;
	v[3] = NULL;
	return v;
}

static void run_ok(const ProcessSpec *spec, ProcessResult *ret)
{
	g_autoptr(GError) error = NULL;
	process_run(spec, ret, &error);
	g_assert_no_error(error);
}

static void test_output(void)
{
	g_auto(ProcessResult) r = {0};
	run_ok(&(ProcessSpec){.argv = args("sh", "-c", "echo out; echo err >&2; exit 3")}, &r);
	g_assert_cmpstr(r.out, ==, "out\n");
	g_assert_cmpuint(r.out_len, ==, 4);
	g_assert_cmpstr(r.err, ==, "err\n");
	g_autofree char *text = process_status_text(r.status);
	g_assert_cmpstr(text, ==, "exit status 3");

	g_auto(ProcessResult) merged = {0};
	run_ok(&(ProcessSpec){.argv = args("sh", "-c", "echo out; echo err >&2"), .merge_stderr = true},
	       &merged);
	g_assert_cmpstr(merged.out, ==, "out\nerr\n");
	g_assert_cmpstr(merged.err, ==, "");
}

static void test_input(void)
{
	g_autofree char *data = g_strnfill(300000, 'z');
	g_autoptr(GBytes) bytes = g_bytes_new_static(data, 300000);
	g_auto(ProcessResult) r = {0};
	run_ok(&(ProcessSpec){.argv = args("cat", NULL, NULL), .stdin_data = bytes}, &r);
	g_assert_cmpuint(r.out_len, ==, 300000);
	g_assert_cmpstr(r.out, ==, data);

	g_auto(ProcessResult) none = {0}; // who reads nothing is no problem
	run_ok(&(ProcessSpec){.argv = args("true", NULL, NULL), .stdin_data = bytes}, &none);
	g_auto(ProcessResult) null = {0};
	run_ok(&(ProcessSpec){.argv = args("cat", NULL, NULL)}, &null);
	g_assert_cmpuint(null.out_len, ==, 0);
}

static void test_max_output(void)
{
	g_auto(ProcessResult) r = {0};
	run_ok(&(ProcessSpec){.argv = args("sh", "-c",
	                                   "head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2"),
	                      .max_output = 1000},
	       &r);
	g_assert_cmpuint(r.out_len, ==, 1000);
	g_assert_cmpuint(strlen(r.out), ==, 1000);
	g_assert_cmpstr(r.err, ==, "end\n");
}

static void test_environment(void)
{
	static const char *const env[] = {"A=1", NULL};
	g_auto(ProcessResult) r = {0};
	run_ok(&(ProcessSpec){.argv = args("/usr/bin/env", NULL, NULL), .envp = env, .cwd = "/usr"}, &r);
	g_assert_cmpstr(r.out, ==, "A=1\n");
	g_auto(ProcessResult) pwd = {0};
	run_ok(&(ProcessSpec){.argv = args("sh", "-c", "pwd -P"), .cwd = "/usr"}, &pwd);
	g_assert_cmpstr(pwd.out, ==, "/usr\n");
}

static void check_fails(const ProcessSpec *spec, const char *text)
{
	g_autoptr(GError) error = NULL;
	g_auto(ProcessResult) r = {0};
	g_assert_false(process_run(spec, &r, &error));
	g_assert_cmpstr(error->message, ==, text);
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_UNKNOWN);
}

static void test_start_errors(void)
{
	check_fails(&(ProcessSpec){.argv = args("no-such-program", NULL, NULL)},
	            "exec: \"no-such-program\": executable file not found in $PATH");
	check_fails(&(ProcessSpec){.argv = args("/no/such", NULL, NULL)},
	            "fork/exec /no/such: no such file or directory");
	check_fails(&(ProcessSpec){.argv = args("/etc/passwd", NULL, NULL)},
	            "fork/exec /etc/passwd: permission denied");
	check_fails(&(ProcessSpec){.argv = args("true", NULL, NULL), .cwd = "/no/such"},
	            "chdir /no/such: no such file or directory");
	check_fails(&(ProcessSpec){.argv = args("true", NULL, NULL), .cwd = "/etc/passwd"},
	            "chdir /etc/passwd: not a directory");
}

static void test_lookup(void)
{
	g_autofree char *sh = process_lookup("sh", NULL);
	g_assert_true(g_str_has_suffix(sh, "/sh"));
	g_autofree char *same = process_lookup("/bin/sh", NULL);
	g_assert_cmpstr(same, ==, "/bin/sh");

	static const char *const bad[][2] = {
	        {"no-such-program", "exec: \"no-such-program\": executable file not found in $PATH"},
	        {"", "exec: \"\": executable file not found in $PATH"},
	        {"/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory"},
	        {"/etc/passwd", "exec: \"/etc/passwd\": permission denied"},
	        {"/etc", "exec: \"/etc\": is a directory"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(process_lookup(bad[i][0], &error));
		g_assert_cmpstr(error->message, ==, bad[i][1]);
	}
}

static void test_timeout(void)
{
	g_autoptr(GError) error = NULL;
	g_auto(ProcessResult) r = {0};
	int64_t start = time_mono();
	// the grandchild goes with the group
	g_assert_false(process_run(&(ProcessSpec){.argv = args("sh", "-c", "echo early; sleep 60 & sleep 60"),
	                                          .timeout_ns = 200 * NS_PER_MS},
	                           &r, &error));
	g_assert_cmpint(time_mono() - start, <, 10 * NS_PER_SEC);
	g_assert_true(error_is(error, CTRD_ERR_DEADLINE_EXCEEDED));
	g_assert_cmpstr(error->message, ==, "sh: context deadline exceeded");
	g_assert_true(r.timed_out);
	g_assert_cmpstr(r.out, ==, "early\n");
	g_autofree char *text = process_status_text(r.status);
	g_assert_cmpstr(text, ==, "signal: killed");
}

static void test_orphans(void)
{
	// a grandchild that keeps stdout open does not keep us
	g_auto(ProcessResult) r = {0};
	int64_t start = time_mono();
	run_ok(&(ProcessSpec){.argv = args("sh", "-c", "echo hi; sleep 20 & echo $!")}, &r);
	g_assert_cmpint(time_mono() - start, <, 10 * NS_PER_SEC);
	g_assert_true(g_str_has_prefix(r.out, "hi\n"));
	int64_t pid = g_ascii_strtoll(r.out + 3, NULL, 10);
	g_assert_cmpint(pid, >, 1);
	kill((pid_t)pid, SIGKILL);
}

static void test_status(void)
{
	static const struct {
		int status;
		const char *text;
	} cases[] = {
	        {0, "exit status 0"},
	        {255 << 8, "exit status 255"},
	        {SIGKILL, "signal: killed"},
	        {SIGTERM, "signal: terminated"},
	        {SIGSEGV | 0x80, "signal: segmentation fault (core dumped)"},
	        {SIGINT, "signal: interrupt"},
	        {SIGHUP, "signal: hangup"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = process_status_text(cases[i].status);
		g_assert_cmpstr(text, ==, cases[i].text);
	}
}

static void test_signals(void)
{
	// blocked here, not in the child
	sigset_t all, old;
	sigfillset(&all);
	g_auto(ProcessResult) child = {0};
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	run_ok(&(ProcessSpec){.argv = args("sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status")}, &child);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	signal(SIGPIPE, SIG_DFL);
	// but for 32 and 33, which are glibc's own
	uint64_t blocked = g_ascii_strtoull(strchr(child.out, '\t'), NULL, 16);
	uint64_t ignored = g_ascii_strtoull(strrchr(child.out, '\t'), NULL, 16);
	g_assert_cmphex(blocked, ==, 0);
	g_assert_cmphex(ignored & ~UINT64_C(0x180000000), ==, 0);
}

static void test_spawn(void)
{
	// fds that are themselves among 0, 1, 2, crossed over
	int fds[2];
	g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
	g_autoptr(GError) error = NULL;
	autokill pid = process_spawn(args("sh", "-c", "echo $$; ls -l /proc/self/fd | wc -l; cat"), NULL,
	                             NULL, -1, fds[1], 2, true, &error);
	g_assert_no_error(error);
	close(fds[1]);
	g_autofree char *out = NULL;
	g_assert_true(fd_read_all(fds[0], 1000, &out, NULL, NULL));
	close(fds[0]);
	g_autofree char *expected = g_strdup_printf("%d\n", pid);
	g_assert_true(g_str_has_prefix(out, expected));
	// "total", 0, 1, 2 and the directory being read: nothing of ours leaks
	g_assert_nonnull(strstr(out, "\n5\n"));
	int status;
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_cmpint(status, ==, 0);
	pid = 0;
}

static void test_autokill(void)
{
	pid_t child;
	{
		autokill pid = process_spawn(args("sleep", "60", NULL), NULL, NULL, -1, -1, -1, false, NULL);
		child = pid;
		g_assert_cmpint(child, >, 0);
	}
	g_assert_cmpint(kill(child, 0), ==, -1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/process/output", test_output);
	g_test_add_func("/process/input", test_input);
	g_test_add_func("/process/max-output", test_max_output);
	g_test_add_func("/process/environment", test_environment);
	g_test_add_func("/process/start-errors", test_start_errors);
	g_test_add_func("/process/lookup", test_lookup);
	g_test_add_func("/process/timeout", test_timeout);
	g_test_add_func("/process/orphans", test_orphans);
	g_test_add_func("/process/status", test_status);
	g_test_add_func("/process/signals", test_signals);
	g_test_add_func("/process/spawn", test_spawn);
	g_test_add_func("/process/autokill", test_autokill);
	return g_test_run();
}
