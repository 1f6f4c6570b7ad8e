// SPDX-License-Identifier: Apache-2.0

/* Pumps and the reaper: what needs a loop and processes, but no runtime. Each case runs in a process of its
 * own. */

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "shim/pump.h"
#include "shim/reaper.h"
#include "shim/spawn.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static Loop *loop;
static Reaper *reaper;

static void in_subprocess(void (*fn)(void))
{
	if (!g_test_subprocess()) {
		g_test_trap_subprocess(NULL, 30 * G_USEC_PER_SEC, G_TEST_SUBPROCESS_INHERIT_STDERR);
		g_test_trap_assert_passed();
		return;
	}
	loop = loop_new();
	reaper = reaper_new(loop, NULL);
	signal(SIGPIPE, SIG_IGN);
	fn();
}

static void stop(void *data)
{
	loop_stop(loop);
}

static void on_pump_done(Pump *pump, void *data)
{
	*(bool *)data = true;
	loop_stop(loop);
}

static void make_pipe(int fd[2])
{
	g_assert_cmpint(pipe2(fd, O_CLOEXEC | O_NONBLOCK), ==, 0);
}

typedef struct {
	size_t total;
	int fd;
} Reader;

static void drain_some(void *data)
{
	Reader *r = data;
	char buf[8192];
	ssize_t n = read(r->fd, buf, sizeof buf);
	if (n > 0)
		r->total += (size_t)n;
}

/* The destination is full at first, and read slowly: nothing is lost, and the pump waits without spinning. */
static void splice_back_pressure(void)
{
	int in[2], out[2];
	make_pipe(in);
	make_pipe(out);
	bool done = false;
	Pump *pump = pump_new(loop, PUMP_SPLICE, in[0], out[1], false, on_pump_done, &done);
	pump_start(pump);
	pid_t writer = fork();
	if (writer == 0) {
		fcntl(in[1], F_SETFL, 0);
		char block[1000];
		memset(block, 'x', sizeof block);
		for (int i = 0; i < 1000; i++)
			fd_write_all(in[1], block, sizeof block, NULL);
		_exit(0);
	}
	close(in[1]);
	Reader reader = {0, out[0]};
	LoopTimer *timer = loop_timer_new(loop, drain_some, &reader);
	loop_timer_start(timer, NS_PER_MS, NS_PER_MS);
	loop_run(loop);
	g_assert_true(done);
	char buf[65536];
	for (ssize_t n; (n = read(out[0], buf, sizeof buf)) > 0;)
		reader.total += (size_t)n;
	g_assert_cmpuint(reader.total, ==, 1000000);
	pump_free(pump);
}

static void test_splice(void)
{
	in_subprocess(splice_back_pressure);
}

/* A full disk: what it refuses is lost, the rest goes on to the end. */
static void full_disk(void)
{
	int in[2];
	make_pipe(in);
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	bool done = false;
	Pump *pump = pump_new(loop, PUMP_COPY, in[0], full, false, on_pump_done, &done);
	g_assert_cmpint(write(in[1], "lost\n", 5), ==, 5);
	close(in[1]);
	pump_start(pump);
	if (!done)
		loop_run(loop);
	g_assert_true(done);
	pump_free(pump);
}

static void test_full_disk(void)
{
	in_subprocess(full_disk);
}

/* The reader of the destination goes away: the pump ends, the writer gets EPIPE. */
static void reader_gone(void)
{
	int in[2], out[2];
	make_pipe(in);
	make_pipe(out);
	bool done = false;
	Pump *pump = pump_new(loop, PUMP_SPLICE, in[0], out[1], false, on_pump_done, &done);
	pump_start(pump);
	close(out[0]);
	g_assert_cmpint(write(in[1], "x", 1), ==, 1);
	loop_run(loop);
	g_assert_true(done);
	g_assert_cmpint(write(in[1], "x", 1), ==, -1);
	g_assert_cmpint(errno, ==, EPIPE);
	pump_free(pump);
}

static void test_reader_gone(void)
{
	in_subprocess(reader_gone);
}

static void on_exit_code(pid_t pid, int code, TimeNs at, void *data)
{
	*(int *)data = code;
	loop_stop(loop);
}

/* A grandchild that ends before its pid is known. */
static void early_exit(void)
{
	reaper_hold(reaper);
	pid_t child = fork();
	if (child == 0)
		_exit(7);
	LoopTimer *timer = loop_timer_new(loop, stop, NULL);
	loop_timer_start(timer, 100 * NS_PER_MS, 0);
	loop_run(loop);
	int code = -1, watched = -1;
	TimeNs at = 0;
	g_assert_false(reaper_adopt(reaper, child, on_exit_code, &watched, &code, &at));
	g_assert_cmpint(code, ==, 7);
	g_assert_cmpint(at, >, 0);
	g_assert_cmpint(watched, ==, -1);
	reaper_release(reaper);
}

static void test_early_exit(void)
{
	in_subprocess(early_exit);
}

static void killed_child(void)
{
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	reaper_hold(reaper);
	int code = -1, watched = -1;
	TimeNs at;
	g_assert_true(reaper_adopt(reaper, child, on_exit_code, &watched, &code, &at));
	reaper_release(reaper);
	kill(child, SIGKILL);
	loop_run(loop);
	g_assert_cmpint(watched, ==, 137);
}

static void test_killed_child(void)
{
	in_subprocess(killed_child);
}

static bool helper_fails(void *data, GError **error)
{
	return error_set_class(error, CTRD_ERR_NOT_FOUND, "helper says %s", (const char *)data);
}

static void on_helper(GError *error, void *data)
{
	*(GError **)data = error;
	loop_stop(loop);
}

static void helper(void)
{
	GError *error = NULL;
	helper_run(reaper, helper_fails, (char *)"no", on_helper, &error);
	loop_run(loop);
	g_assert_cmpstr(error->message, ==, "helper says no: not found");
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_NOT_FOUND);
	g_error_free(error);
}

static void test_helper(void)
{
	in_subprocess(helper);
}

/* The child gets the fds it is given, and no other. */
static void child_fds(void)
{
	int out[2];
	g_assert_cmpint(pipe(out), ==, 0); // inheritable, which must not matter
	int leak = open("/dev/null", O_RDONLY);
	g_assert_cmpint(leak, >, 2);
	const char *argv[] = {"ls", "/proc/self/fd", NULL};
	const SpawnSpec spec = {.file = "ls", .argv = argv, .fds = {-1, out[1], -1, out[1]}, .n_fds = 4};
	g_autoptr(GError) error = NULL;
	pid_t pid = spawn_child(&spec, &error);
	g_assert_no_error(error);
	int status;
	waitpid(pid, &status, 0);
	close(out[1]);
	char text[256] = "";
	g_assert_cmpint(read(out[0], text, sizeof text - 1), >, 0);
	g_assert_cmpstr(text, ==, "0\n1\n2\n3\n4\n"); // 4 is ls' own
}

static void test_child_fds(void)
{
	in_subprocess(child_fds);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/io/splice-back-pressure", test_splice);
	g_test_add_func("/io/full-disk", test_full_disk);
	g_test_add_func("/io/reader-gone", test_reader_gone);
	g_test_add_func("/io/early-exit", test_early_exit);
	g_test_add_func("/io/killed-child", test_killed_child);
	g_test_add_func("/io/helper", test_helper);
	g_test_add_func("/io/child-fds", test_child_fds);
	return g_test_run();
}
