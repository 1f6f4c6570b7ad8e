// SPDX-License-Identifier: Apache-2.0
#include "base/process.h"
#include "base/util.h"
#include "runtime/shim-process.h"
#include <signal.h>
#include <sys/wait.h>

#define MATCHES(cmdline)                                                                                     \
	shim_process_matches(cmdline, sizeof(cmdline), "/usr/bin/shim", "ns", "c1", "/run/c.sock")

static void test_matches(void)
{
	g_assert_true(MATCHES("/x/shim\0-namespace\0ns\0-id\0c1\0-address\0/run/c.sock"));
	g_assert_true(MATCHES("shim\0--id\0c1\0-debug\0--namespace\0ns\0-address\0/run/c.sock\0more"));
	g_assert_false(MATCHES("/x/other\0-namespace\0ns\0-id\0c1\0-address\0/run/c.sock"));
	g_assert_false(MATCHES("/x/shim\0-namespace\0other\0-id\0c1\0-address\0/run/c.sock"));
	g_assert_false(MATCHES("/x/shim\0-namespace\0ns\0-id\0c2\0-address\0/run/c.sock"));
	g_assert_false(MATCHES("/x/shim\0-namespace\0ns\0-id\0c1\0-address\0/run/other.sock"));
	g_assert_false(MATCHES("/x/shim\0-namespace\0ns\0-address\0/run/c.sock\0-id"));
	g_assert_false(MATCHES("/x/shim\0namespace\0ns\0id\0c1\0address\0/run/c.sock"));
	g_assert_false(MATCHES("/x/shim"));
	g_assert_false(shim_process_matches("", 0, "shim", "ns", "c1", "a"));
	g_assert_false(shim_process_matches("x", 1, "shim", "ns", "c1", "a")); // not terminated
}

static void test_kill(void)
{
	// a shell that looks like a shim; its own pid makes it nobody else's
	g_autofree char *id = g_strdup_printf("test-%d", (int)getpid());
	const char *argv[] = {"/bin/sh", "-c",       "sleep 100 & wait", "sh", "-namespace", "ns", "-id",
	                      id,        "-address", "/run/test.sock",   NULL};
	g_autoptr(GError) error = NULL;
	pid_t pid = process_spawn(argv, NULL, NULL, -1, -1, -1, true, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(shim_process_kill("/bin/sh", "other", id, "/run/test.sock"), ==, 0);
	// it is a shim's from its exec on
	unsigned n = 0;
	for (int i = 0; n == 0 && i < 200; i++, g_usleep(10000))
		n = shim_process_kill("/bin/sh", "ns", id, "/run/test.sock");
	g_assert_cmpuint(n, >=, 1); // its child is another, until it is sleep
	int status = 0;
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	kill(-pid, SIGKILL); // the sleep, of the same session
	g_assert_cmpuint(shim_process_kill("/bin/sh", "ns", id, "/run/test.sock"), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/shim-process/matches", test_matches);
	g_test_add_func("/shim-process/kill", test_kill);
	return g_test_run();
}
