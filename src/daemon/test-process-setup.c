// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/process.h"
#include "base/time.h"
#include "base/util.h"
#include "daemon/daemon.h"
#include <glib/gstdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

typedef struct {
	char *dir;
	Config *config;
} Fixture;

static void setup(Fixture *f, const void *data)
{
	f->dir = g_dir_make_tmp("test-daemon-XXXXXX", NULL);
	f->config = config_new();
}

static void teardown(Fixture *f, const void *data)
{
	g_assert_true(tree_remove(f->dir, NULL));
	g_free(f->dir);
	config_free(f->config);
}

static void set_path(Fixture *f, const char *key, const char *name)
{
	g_autofree char *path = g_build_filename(f->dir, name, NULL);

	config_set_string(f->config, key, path);
}

static void assert_mode(Fixture *f, const char *name, mode_t mode)
{
	g_autofree char *path = g_build_filename(f->dir, name, NULL);
	struct stat st;

	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, mode);
}

static void test_dirs_fresh(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	mode_t old = umask(0077);

	set_path(f, "root", "var/root");
	set_path(f, "state", "run/state");
	set_path(f, "temp", "var/root/temp");
	g_assert_true(daemon_make_dirs(f->config, &error));
	umask(old);
	assert_mode(f, "var/root", 0700);
	assert_mode(f, "run/state", 0711);
	assert_mode(f, "var/root/temp", 0700);
	g_assert_cmpstr(g_getenv("TMPDIR"), ==, conf_string(config_view(f->config), "temp"));
}

/* CVE-2024-25621: trees of older releases were open to all */
static void test_dirs_upgraded(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *root = g_build_filename(f->dir, "root", NULL);
	g_autofree char *state = g_build_filename(f->dir, "state", NULL);

	g_assert_cmpint(g_mkdir(root, 0700) | g_chmod(root, 0711), ==, 0);
	g_assert_cmpint(g_mkdir(state, 0700) | g_chmod(state, 0755), ==, 0);
	set_path(f, "root", "root");
	set_path(f, "state", "state");
	g_assert_true(daemon_make_dirs(f->config, &error));
	assert_mode(f, "root", 0700);
	assert_mode(f, "state", 0755); // as found, like upstream
}

/* upstream: TestCreateTopLevelDirectories* */
static void test_dirs_errors(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;

	config_set_string(f->config, "root", "");
	g_assert_false(daemon_make_dirs(f->config, &error));
	g_assert_cmpstr(error->message, ==, "root must be specified");
	g_clear_error(&error);
	config_set_string(f->config, "root", "/tmp/path");
	config_set_string(f->config, "state", "");
	g_assert_false(daemon_make_dirs(f->config, &error));
	g_assert_cmpstr(error->message, ==, "state must be specified");
	g_clear_error(&error);
	config_set_string(f->config, "state", "/tmp/path");
	g_assert_false(daemon_make_dirs(f->config, &error));
	g_assert_cmpstr(error->message, ==, "root and state must be different paths");
}

static void test_lock(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	pid_t pid = -1;
	autofd first = daemon_try_lock(f->dir, &pid, &error);

	g_assert_no_error(error);
	g_assert_cmpint(first, >=, 0);
	assert_mode(f, "daemon.lock", 0600);
	autofd second = daemon_try_lock(f->dir, &pid, &error);
	g_assert_no_error(error);
	g_assert_cmpint(second, ==, -1);
	g_assert_cmpint(pid, ==, getpid());
	fd_close(&first);
	second = daemon_try_lock(f->dir, &pid, &error);
	g_assert_cmpint(second, >=, 0);
	autofd none = daemon_try_lock("/nonexistent", &pid, &error);
	g_assert_cmpint(none, ==, -1);
	g_assert_cmpstr(error->message, ==, "open /nonexistent/daemon.lock: no such file or directory");
}

static void test_log(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	static const char doc[] = "version = 4\n[debug]\nlevel = 'warn'\nformat = 'xml'\n";
	DaemonOptions options = {.log_level = "loud"};

	g_assert_true(config_load_data(f->config, doc, sizeof(doc) - 1, "c.toml", &error));
	g_assert_false(daemon_setup_log(&options, f->config, &error));
	g_assert_cmpstr(error->message, ==, "not a valid logrus Level: \"loud\"");
	g_clear_error(&error);
	options.log_level = NULL;
	g_assert_false(daemon_setup_log(&options, f->config, &error));
	g_assert_cmpstr(error->message, ==, "unknown log format: xml");
	g_clear_error(&error);
	toml_set(conf_table(config_view(f->config), "debug"), "format", toml_new_string("text"));
	g_assert_true(daemon_setup_log(&options, f->config, &error));
	g_assert_cmpint(log_get_level(), ==, LOG_WARN);
	options.log_level = "error";
	g_assert_true(daemon_setup_log(&options, f->config, &error));
	g_assert_cmpint(log_get_level(), ==, LOG_ERROR);
}

static void test_options(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	DaemonOptions options = {
	        .config_path = "/nonexistent/c.toml", .root = "rel/root", .address = "/a.sock"};
	g_autoptr(Config) config = daemon_config(&options, &error);
	g_autofree char *cwd = g_get_current_dir();
	g_autofree char *root = g_build_filename(cwd, "rel/root", NULL);

	g_assert_no_error(error);
	g_assert_cmpstr(conf_string(config_view(config), "root"), ==, root);
	g_assert_cmpstr(conf_string(config_view(config), "state"), ==, "/run/containerd");
	g_autofree char *address = config_ttrpc_address(config);
	g_assert_cmpstr(address, ==, "/a.sock.ttrpc");
	options.config_given = true;
	g_assert_null(daemon_config(&options, &error));
	g_assert_cmpstr(error->message, ==, "open /nonexistent/c.toml: no such file or directory");
}

static void test_open_files(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	g_auto(ProcessResult) r = {0};
	const char *argv[] = {"/bin/sh", "-c", "sleep 0.2; ulimit -Sn", NULL};
	const ProcessSpec spec = {.argv = argv, .timeout_ns = 10 * NS_PER_SEC};
	struct rlimit limit;

	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
	limit.rlim_cur = 200;
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
	g_assert_true(daemon_apply_process(f->config, &error));
	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
	g_assert_cmpuint(limit.rlim_cur, ==, limit.rlim_max);
	g_assert_true(process_run(&spec, &r, &error)); // children get what we had
	g_assert_cmpstr(r.out, ==, "200\n");
}

static void test_notify(Fixture *f, const void *data)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = g_build_filename(f->dir, "notify", NULL);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char got[64] = "";

	g_unsetenv("NOTIFY_SOCKET");
	g_assert_true(daemon_notify("READY=1", &error));
	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	autofd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(fd, (const struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_setenv("NOTIFY_SOCKET", path, true);
	g_assert_true(daemon_notify("READY=1", &error));
	g_assert_cmpint(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT), ==, 7);
	g_assert_cmpstr(got, ==, "READY=1");
	g_setenv("NOTIFY_SOCKET", "/nonexistent/notify", true);
	g_assert_false(daemon_notify("READY=1", &error));
	g_assert_cmpstr(error->message, ==, "write to /nonexistent/notify: no such file or directory");
	g_clear_error(&error);
	g_setenv("NOTIFY_SOCKET", "relative", true);
	g_assert_false(daemon_notify("READY=1", &error));
	g_assert_cmpstr(error->message, ==, "NOTIFY_SOCKET \"relative\" is not usable");
	g_unsetenv("NOTIFY_SOCKET");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/process-setup/" name, Fixture, NULL, setup, fn, teardown)
	ADD("dirs-fresh", test_dirs_fresh);
	ADD("dirs-upgraded", test_dirs_upgraded);
	ADD("dirs-errors", test_dirs_errors);
	ADD("lock", test_lock);
	ADD("log", test_log);
	ADD("options", test_options);
	ADD("open-files", test_open_files);
	ADD("notify", test_notify);
	return g_test_run();
}
