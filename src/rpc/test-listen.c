// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "rpc/test-raw.h"
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

static char *dir;

static char *path_of(const char *name)
{
	return path_join(dir, name);
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	strcpy(addr.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(fd, >=, 0);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		return -1;
	}
	struct timeval timeout = {.tv_sec = 5};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	return fd;
}

static void test_modes(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = path_of("a/b/s.sock"), *parent = path_of("a/b");
	struct stat st;
	autofd fd = rpc_listen_unix(path, 0660, geteuid(), getegid(), &error);
	g_assert_no_error(error);
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_true(S_ISSOCK(st.st_mode));
	g_assert_cmpuint(st.st_mode & 07777, ==, 0660);
	g_assert_cmpint(stat(parent, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0711);
	g_assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	autofd c = connect_to(path);
	g_assert_cmpint(c, >=, 0);
}

static void test_stale_and_live(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = path_of("s.sock");
	g_autofree char *expected = g_strdup_printf("listen unix %s: bind: address already in use", path);
	int fd = rpc_listen_unix(path, 0600, geteuid(), getegid(), &error);
	g_assert_no_error(error);
	g_assert_cmpint(rpc_listen_unix(path, 0600, geteuid(), getegid(), &error), ==, -1);
	g_assert_cmpstr(error->message, ==, expected);
	g_clear_error(&error);
	close(fd); // the file stays
	autofd again = rpc_listen_unix(path, 0600, geteuid(), getegid(), &error);
	g_assert_no_error(error);
	g_assert_cmpint(again, >=, 0);
	/* A file that is no socket is not ours to remove. */
	g_autofree char *file = path_of("file");
	g_autofree char *in_use = g_strdup_printf("listen unix %s: bind: address already in use", file);
	g_assert_true(g_file_set_contents(file, "x", 1, NULL));
	g_assert_cmpint(rpc_listen_unix(file, 0600, geteuid(), getegid(), &error), ==, -1);
	g_assert_cmpstr(error->message, ==, in_use);
}

static void test_dead_socket(void)
{
	g_autofree char *path = path_of("dead.sock"), *file = path_of("file");
	int fd = rpc_listen_unix(path, 0600, geteuid(), getegid(), NULL);
	rpc_remove_dead_socket(path);
	g_assert_true(path_exists(path));
	close(fd);
	rpc_remove_dead_socket(path);
	g_assert_false(path_exists(path));
	rpc_remove_dead_socket(path); // gone already
	g_assert_true(g_file_set_contents(file, "", 0, NULL));
	rpc_remove_dead_socket(file);
	g_assert_true(path_exists(file));
}

static void test_bad_path(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *name = g_strnfill(120, 'x');
	g_autofree char *path = path_of(name);
	g_autofree char *expected = g_strdup_printf("listen unix %s: bind: invalid argument", path);
	g_assert_cmpint(rpc_listen_unix(path, 0600, 0, 0, &error), ==, -1);
	g_assert_cmpstr(error->message, ==, expected);
	g_clear_error(&error);
	g_assert_cmpint(rpc_listen_unix("relative", 0600, 0, 0, &error), ==, -1);
	g_assert_cmpstr(error->message, ==, "listen unix relative: bind: invalid argument");
}

/* Without descriptors the server waits instead of spinning, and goes on when there are some again. */
static void test_no_descriptors(void)
{
	RawServer s;
	g_autoptr(GError) error = NULL;
	g_autofree char *path = path_of("emfile.sock");
	raw_server_start(&s, NULL);
	int fd = rpc_listen_unix(path, 0600, geteuid(), getegid(), &error);
	g_assert_true(rpc_server_listen(s.server, RPC_PROTO_TTRPC, fd, false, &error));
	{
		autofd c = connect_to(path), lowest = -1;
		struct rlimit old, tight;
		g_assert_cmpint(c, >=, 0);
		cancel_sleep(NULL, 50 * NS_PER_MS, NULL);
		g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &old), ==, 0);
		autofd second = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		lowest = dup(0);
		tight = (struct rlimit){(rlim_t)lowest, old.rlim_max};
		close(fd_steal(&lowest));
		g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &tight), ==, 0);
		struct sockaddr_un addr = {.sun_family = AF_UNIX};
		strcpy(addr.sun_path, path);
		g_assert_cmpint(connect(second, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
		struct rusage before, after;
		getrusage(RUSAGE_SELF, &before);
		cancel_sleep(NULL, 500 * NS_PER_MS, NULL);
		getrusage(RUSAGE_SELF, &after);
		int64_t ms = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000 +
		             (after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1000 +
		             (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000 +
		             (after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1000;
		g_assert_cmpint(ms, <, 200);
		g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &old), ==, 0);
		/* An even stream id is answered. */
		struct timeval timeout = {.tv_sec = 5};
		setsockopt(second, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
		uint8_t frame[10] = {0, 0, 0, 0, 0, 0, 0, 2, 1, 0};
		g_assert_true(raw_write(second, frame, sizeof(frame)));
		g_assert_true(raw_read(second, frame, sizeof(frame)));
	}
	raw_server_stop(&s);
}

/* A shim's socket: root and the owner only, whatever the file's mode. */
static void test_same_uid(void)
{
	if (geteuid() != 0) {
		g_test_skip("needs root");
		return;
	}
	RawServer s;
	g_autoptr(GError) error = NULL;
	g_autofree char *path = path_of("uid.sock");
	raw_server_start(&s, NULL);
	int fd = rpc_listen_unix(path, 0666, 0, 0, &error);
	g_assert_true(rpc_server_listen(s.server, RPC_PROTO_TTRPC, fd, true, &error));
	g_assert_cmpint(chmod(dir, 0711), ==, 0);
	for (unsigned uid = 0; uid <= 65534; uid += 65534) {
		int status;
		pid_t pid = fork();
		if (pid == 0) {
			uint8_t frame[10] = {0, 0, 0, 0, 0, 0, 0, 2, 1, 0};
			if (setuid(uid) < 0)
				_exit(3);
			int c = connect_to(path);
			_exit(c >= 0 && raw_write(c, frame, sizeof(frame)) &&
			                      raw_read(c, frame, sizeof(frame))
			              ? 0
			              : 1);
		}
		g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
		g_assert_true(WIFEXITED(status));
		g_assert_cmpint(WEXITSTATUS(status), ==, uid == 0 ? 0 : 1);
	}
	raw_server_stop(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	log_set_level(LOG_FATAL);
	dir = g_dir_make_tmp("rpc-test-XXXXXX", NULL);
	g_test_add_func("/listen/modes", test_modes);
	g_test_add_func("/listen/stale-and-live", test_stale_and_live);
	g_test_add_func("/listen/dead-socket", test_dead_socket);
	g_test_add_func("/listen/bad-path", test_bad_path);
	g_test_add_func("/listen/no-descriptors", test_no_descriptors);
	g_test_add_func("/listen/same-uid", test_same_uid);
	int r = g_test_run();
	g_assert_true(tree_remove(dir, NULL));
	g_free(dir);
	return r;
}
