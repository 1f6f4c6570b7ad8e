// SPDX-License-Identifier: Apache-2.0

/* The program itself: argv[1] is containerd. Each case has a root, a state and sockets of its own. */

#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/time.h"
#include "base/util.h"
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define DEADLINE (20 * NS_PER_SEC)

static const char *program;

typedef struct {
	char *dir, *config, *log;
	pid_t pid;
} Daemon;

static char *in_dir(const Daemon *d, const char *name)
{
	return path_join(d->dir, name);
}

static void write_config(Daemon *d, const char *more)
{
	g_autofree char *text =
	        g_strdup_printf("version = 4\nroot = '%s/root'\nstate = '%s/state'\n%s\n"
	                        "[plugins.'io.containerd.internal.v1.opt']\npath = '%s/opt'\n"
	                        "[plugins.'io.containerd.server.v1.grpc']\naddress = '%s/c.sock'\n"
	                        "[plugins.'io.containerd.server.v1.ttrpc']\naddress = '%s/t.sock'\n",
	                        d->dir, d->dir, more, d->dir, d->dir, d->dir);

	g_assert_true(file_write_atomic(d->config, text, strlen(text), 0600, false, NULL));
}

static void setup(Daemon *d, const void *data)
{
	d->dir = g_dir_make_tmp("test-daemon-XXXXXX", NULL);
	d->config = in_dir(d, "config.toml");
	d->log = in_dir(d, "log");
	write_config(d, "");
}

static void teardown(Daemon *d, const void *data)
{
	process_kill_cleanup(&d->pid);
	g_assert_true(tree_remove(d->dir, NULL));
	g_free(d->dir);
	g_free(d->config);
	g_free(d->log);
}

static pid_t start(const Daemon *d, const char *log, const char *more)
{
	g_autoptr(GError) error = NULL;
	// with setpriv, so that a test that aborts leaves no daemon behind
	const char *argv[] = {"setpriv", "--pdeathsig", "KILL", program, "--config", d->config, more, NULL};
	autofd fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	pid_t pid = process_spawn(argv, NULL, NULL, -1, fd, fd, false, &error);

	g_assert_no_error(error);
	return pid;
}

static char *read_log(const char *log)
{
	char *text = NULL;
	size_t len = 0;

	return file_read(log, 1 << 20, &text, &len, NULL) ? text : g_strdup("");
}

/* Until the log has a text n times. */
static void wait_log(const char *log, const char *text, unsigned n)
{
	int64_t deadline = time_mono() + DEADLINE;

	for (;;) {
		g_autofree char *content = read_log(log);
		unsigned found = 0;

		for (const char *s = content; (s = strstr(s, text)) != NULL; s += strlen(text))
			found++;
		if (found >= n)
			return;
		if (time_mono() > deadline) {
			g_test_message("log: %s", content);
			g_error("log has not: %s", text);
		}
		g_usleep(5000);
	}
}

static void assert_not_logged(const char *log, const char *text)
{
	g_autofree char *content = read_log(log);

	g_assert_null(strstr(content, text));
}

static int wait_exit(pid_t *pid)
{
	int64_t deadline = time_mono() + DEADLINE;
	int status = 0;

	while (waitpid(*pid, &status, WNOHANG) == 0) {
		g_assert_cmpint(time_mono(), <, deadline);
		g_usleep(5000);
	}
	*pid = 0;
	return status;
}

static void assert_exit(pid_t *pid, int code)
{
	int status = wait_exit(pid);

	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, code);
}

static int dial(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	return connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? fd_steal(&fd) : -1;
}

static void test_life(Daemon *d, const void *data)
{
	g_autofree char *grpc = in_dir(d, "c.sock"), *ttrpc = in_dir(d, "t.sock");
	struct stat st;

	d->pid = start(d, d->log, NULL);
	wait_log(d->log, "containerd successfully booted in ", 1);
	autofd a = dial(grpc), b = dial(ttrpc);
	g_assert_cmpint(a, >=, 0);
	g_assert_cmpint(b, >=, 0);
	g_assert_cmpint(stat(grpc, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0660);
	// A signal that ends other programs, and one that must not end this one.
	kill(d->pid, SIGPIPE);
	kill(d->pid, SIGUSR1);
	wait_log(d->log, "END calls in flight", 1);
	kill(d->pid, SIGTERM);
	assert_exit(&d->pid, 0);
	assert_not_logged(d->log, "level=error");
	// The same root again, with what was left behind.
	d->pid = start(d, d->log, NULL);
	wait_log(d->log, "containerd successfully booted in ", 2);
	kill(d->pid, SIGINT);
	assert_exit(&d->pid, 0);
}

static void test_reload(Daemon *d, const void *data)
{
	d->pid = start(d, d->log, NULL);
	wait_log(d->log, "successfully booted", 1);
	write_config(d, "oom_score = 5\n[debug]\nlevel = 'debug'\nformat = 'json'");
	kill(d->pid, SIGHUP);
	wait_log(d->log, "\"applied\":\"debug.level debug.format\"", 1);
	wait_log(d->log, "\"needs_restart\":\"oom_score\"", 1);
	write_config(
	        d,
	        "[plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 'x'\n[debug]\nlevel = 'info'");
	kill(d->pid, SIGHUP);
	wait_log(d->log, "cannot reload the configuration, the present one stays", 1);
	write_config(d, "root = 5");
	kill(d->pid, SIGHUP);
	wait_log(d->log, "cannot reload the configuration, the present one stays", 2);
	write_config(d, "[debug]\nlevel = 'loud'");
	kill(d->pid, SIGHUP);
	wait_log(d->log, "cannot reload the configuration, the present one stays", 3);
	kill(d->pid, SIGTERM);
	assert_exit(&d->pid, 0);
}

static void test_second(Daemon *d, const void *data)
{
	g_autofree char *log = in_dir(d, "log2");
	autokill second = 0;

	d->pid = start(d, d->log, NULL);
	wait_log(d->log, "successfully booted", 1);
	second = start(d, log, NULL);
	g_autofree char *text =
	        g_strdup_printf("waiting for another containerd that uses the same root\" pid=%d", d->pid);
	wait_log(log, text, 1);
	assert_not_logged(log, "successfully booted");
	kill(d->pid, SIGTERM);
	assert_exit(&d->pid, 0);
	wait_log(log, "successfully booted", 1);
	kill(second, SIGTERM);
	assert_exit(&second, 0);
}

static void test_second_gives_up(Daemon *d, const void *data)
{
	g_autofree char *log = in_dir(d, "log2"), *log3 = in_dir(d, "log3");
	autokill second = 0, third = 0;

	d->pid = start(d, d->log, NULL);
	wait_log(d->log, "successfully booted", 1);
	second = start(d, log, NULL);
	wait_log(log, "waiting for another containerd", 1);
	kill(second, SIGTERM);
	assert_exit(&second, 1);
	wait_log(log, "containerd: context canceled\n", 1);
	write_config(d, "[timeouts]\n'io.containerd.timeout.bolt.open' = '10ms'");
	third = start(d, log3, NULL);
	assert_exit(&third, 1);
	g_autofree char *text = g_strdup_printf(
	        "containerd: root \"%s/root\" is in use by another containerd (pid %d)\n", d->dir, d->pid);
	wait_log(log3, text, 1);
}

static void assert_refused(Daemon *d, const char *config, const char *text)
{
	write_config(d, config);
	d->pid = start(d, d->log, NULL);
	assert_exit(&d->pid, 1);
	wait_log(d->log, text, 1);
	assert_not_logged(d->log, "successfully booted");
	g_assert_cmpint(g_unlink(d->log), ==, 0);
}

static void test_refused(Daemon *d, const void *data)
{
	g_autofree char *type =
	        g_strdup_printf("containerd: failed to unmarshal TOML: %s:4: \"oom_score\" must be an "
	                        "integer, not a string\n",
	                        d->config);
	g_autofree char *section = g_strdup_printf(
	        "containerd: invalid configuration of plugin \"io.containerd.server.v1.metrics\": %s:5: "
	        "\"address\" must be a string, not an integer\n",
	        d->config);

	assert_refused(d, "oom_score = 'x'", type);
	assert_refused(d, "[plugins.'io.containerd.server.v1.metrics']\naddress = 5", section);
	assert_refused(d, "required_plugins = ['io.containerd.x.v1.y']",
	               "containerd: required plugin [io.containerd.x.v1.y] not included\n");
	assert_refused(d, "required_plugins = ['io.containerd.server.v1.debug']",
	               "containerd: load required plugin io.containerd.server.v1.debug: skip plugin\n");
	assert_refused(d, "[timeouts]\nx = 'soon'",
	               "containerd: unable to parse soon into a time duration\n");
	assert_refused(d, "[debug]\nlevel = 'loud'", "containerd: not a valid logrus Level: \"loud\"\n");
	// v2: there is none; v1: none can be made. A long name can: the kernel has no limit for these.
	assert_refused(d, "[cgroup]\npath = \"/no\\nsuch\"", "containerd: cgroup \"/no\\nsuch\": ");
}

static void test_unknown_keys(Daemon *d, const void *data)
{
	g_autofree char *top =
	        g_strdup_printf("ignoring unknown key \\\"oom_scores\\\" at %s:4, did you mean "
	                        "\\\"oom_score\\\"?",
	                        d->config);

	write_config(d, "oom_scores = 1\n[plugins.'io.containerd.server.v1.metrics']\nadress = 'x'\n"
	                "[plugins.'io.containerd.sever.v1.metrics']\n");
	d->pid = start(d, d->log, NULL);
	wait_log(d->log, "successfully booted", 1);
	wait_log(d->log, top, 1);
	wait_log(d->log, "did you mean \\\"address\\\"?", 1);
	wait_log(d->log, "nearest=io.containerd.server.v1.metrics", 1);
	kill(d->pid, SIGTERM);
	assert_exit(&d->pid, 0);
}

static void test_commands(Daemon *d, const void *data)
{
	static const struct {
		const char *const argv[4];
		int code;
		const char *out, *err;
	} cases[] = {
	        {{"--version"}, 0, "containerd github.com/containerd/containerd/v2 v2.3.4+c", ""},
	        {{"-v"}, 0, "containerd github.com/containerd/containerd/v2 v2.3.4+c", ""},
	        {{"config", "default"}, 0, "version = 4\nroot = '/var/lib/containerd'\n", ""},
	        {{"-c", "/nonexistent", "config", "dump"},
	         0,
	         "version = 4\nroot = '/var/lib/containerd'\n",
	         "containerd: warning: open /nonexistent: no such file or directory\n"},
	        {{"config"}, 0, "NAME:\n   containerd config", ""},
	        {{"--help"}, 0, "NAME:\n   containerd - ", ""},
	        {{"--bad"},
	         1,
	         "Incorrect Usage: flag provided but not defined: -bad\n",
	         "containerd: flag provided but not defined: -bad\n"},
	        {{"confg"}, 3, "", "containerd: No help topic for 'confg'\n"},
	        {{"publish"}, 1, "", "containerd: topic required to publish event: invalid argument\n"},
	        {{"oci-hook"}, 1, "", "containerd: oci-hook needs a program to run: invalid argument\n"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_auto(ProcessResult) r = {0};
		const char *const *a = cases[i].argv;
		const char *argv[] = {program,
		                      a[0],
		                      a[0] ? a[1] : NULL,
		                      a[0] && a[1] ? a[2] : NULL,
		                      a[0] && a[1] && a[2] ? a[3] : NULL,
		                      NULL};
		const ProcessSpec spec = {.argv = argv, .timeout_ns = DEADLINE};

		process_run(&spec, &r, &error);
		g_assert_no_error(error);
		g_assert_cmpint(WEXITSTATUS(r.status), ==, cases[i].code);
		g_assert_true(g_str_has_prefix(r.out, cases[i].out));
		g_assert_cmpstr(r.err, ==, cases[i].err);
	}
}

static void run_hook(const Daemon *d, const char *const *args, int code, const char *out, const char *err)
{
	g_autoptr(GError) error = NULL;
	g_auto(ProcessResult) r = {0};
	g_autofree char *state = g_strdup_printf(
	        "{\"ociVersion\":\"1.0\",\"id\":\"c1\",\"status\":\"created\",\"pid\":42,\"bundle\":\"%s\","
	        "\"annotations\":{\"k\":\"v w\"}}",
	        d->dir);
	g_autoptr(GBytes) input = g_bytes_new(state, strlen(state));
	const char *argv[] = {program, "oci-hook", "--", args[0], args[1], args[2], NULL};
	const ProcessSpec spec = {.argv = argv, .timeout_ns = DEADLINE, .stdin_data = input};

	process_run(&spec, &r, &error);
	g_assert_no_error(error);
	g_assert_cmpint(WEXITSTATUS(r.status), ==, code);
	g_assert_cmpstr(r.out, ==, out);
	g_assert_cmpstr(r.err, ==, err);
}

static void test_oci_hook(Daemon *d, const void *data)
{
	g_autofree char *spec = in_dir(d, "config.json");
	g_autofree char *expected = g_strdup_printf("c1 42 %s/rootfs v w created %s\n", d->dir, d->dir);
	static const char json[] = "{\"root\":{\"path\":\"rootfs\"}}";

	g_assert_true(file_write_atomic(spec, json, strlen(json), 0600, false, NULL));
	run_hook(d,
	         (const char *const[]){
	                 "/bin/echo",
	                 "{{id}} {{ pid }} {{rootfs}} {{annotation \"k\"}} {{status}} {{bundle}}", NULL},
	         0, expected, "");
	run_hook(d, (const char *const[]){"/bin/echo", "{{if .}}", NULL}, 1, "",
	         "containerd: template: oci-hook: \"if .\" is not supported: invalid argument\n");
	run_hook(d, (const char *const[]){"/bin/echo", "{{id", NULL}, 1, "",
	         "containerd: template: oci-hook: unclosed action in \"{{id\": invalid argument\n");
	run_hook(d, (const char *const[]){"/nonexistent", "x", NULL}, 1, "",
	         "containerd: exec /nonexistent: no such file or directory\n");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_assert_cmpint(argc, ==, 2);
	program = argv[1];
#define ADD(name, fn) g_test_add("/daemon/" name, Daemon, NULL, setup, fn, teardown)
	ADD("life", test_life);
	ADD("reload", test_reload);
	ADD("second", test_second);
	ADD("second-gives-up", test_second_gives_up);
	ADD("refused", test_refused);
	ADD("unknown-keys", test_unknown_keys);
	ADD("commands", test_commands);
	ADD("oci-hook", test_oci_hook);
	return g_test_run();
}
