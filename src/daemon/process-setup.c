// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/process.h"
#include "base/util.h"
#include "cgroup/cgroup.h"
#include "daemon/daemon.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* ---- directories ---- */

/* Exactly this mode, also where an older release made it wider. Without the right to change it (rootless) it
 * stays. */
static bool make_private(const char *path, GError **error)
{
	if (!dir_make_all(path, 0700, error))
		return false;
	if (chmod(path, 0700) != 0 && errno != EPERM && errno != EACCES)
		return error_set_errno(error, errno, "chmod %s", path);
	return true;
}

bool daemon_make_dirs(const Config *config, GError **error)
{
	const TomlValue *view = config_view(config);
	const char *root = conf_string(view, "root"), *state = conf_string(view, "state");
	const char *temp = conf_string(view, "temp");

	if (str_empty(root))
		return error_set(error, CTRD_ERR_UNKNOWN, "root must be specified");
	if (str_empty(state))
		return error_set(error, CTRD_ERR_UNKNOWN, "state must be specified");
	if (strcmp(root, state) == 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "root and state must be different paths");
	// 0711 and not 0700: users that containers are mapped to pass through it to their bundles.
	if (!make_private(root, error) || !dir_make_all(state, 0711, error))
		return false;
	if (str_empty(temp))
		return true;
	if (!make_private(temp, error))
		return false;
	g_setenv("TMPDIR", temp, true);
	return true;
}

int daemon_try_lock(const char *root, pid_t *ret_pid, GError **error)
{
	g_autofree char *path = path_join(root, "daemon.lock");
	autofd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	*ret_pid = 0;
	if (fd < 0) {
		error_set_errno(error, errno, "open %s", path);
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		g_autofree char *text = NULL;
		size_t len;

		if (errno != EWOULDBLOCK) {
			error_set_errno(error, errno, "flock %s", path);
			return -1;
		}
		if (fd_read_all(fd, 64, &text, &len, NULL))
			*ret_pid = (pid_t)g_ascii_strtoll(text, NULL, 10);
		return -1;
	}
	// Only for whoever waits: which process to ask.
	g_autofree char *pid = g_strdup_printf("%d\n", getpid());
	if (ftruncate(fd, 0) != 0 || !fd_write_all(fd, pid, strlen(pid), NULL))
		log_warn("cannot write the process id into the lock file", "path", path, NULL);
	return fd_steal(&fd);
}

/* ---- the process ---- */

static bool write_file(const char *path, const char *text, GError **error)
{
	autofd fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return error_set_errno(error, errno, "open %s", path);
	return fd_write_all(fd, text, strlen(text), error);
}

static void apply_oom_score(int64_t score)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, score);
	g_autofree char *failed = g_strdup_printf("failed to change OOM score to %s", text);

	if (score != 0 && !write_file("/proc/self/oom_score_adj", text, &error))
		log_error_take(LOG_ERROR, g_steal_pointer(&error), failed, NULL);
}

static bool join_cgroup(const char *path, GError **error)
{
	if (str_empty(path))
		return true;
	g_autofree char *relative = g_strdup_printf("/%s", path);
	g_autofree char *clean = path_clean(relative); // no way out by ".."
	return cgroup_enter(clean, error) || error_prefix(error, "cgroup %s", Q(path));
}

/* Each shim and client costs a descriptor; systemd's soft limit of 1024 is for select(2). */
static void raise_open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max)
		return;
	process_set_child_nofile(limit.rlim_cur);
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
		g_autofree char *why = errno_text(errno);

		log_warn("cannot raise the limit of open files", "error", why, NULL);
	}
}

bool daemon_apply_process(const Config *config, GError **error)
{
	const TomlValue *view = config_view(config);

	apply_oom_score(conf_int(view, "oom_score"));
	raise_open_files();
	return join_cgroup(conf_string(view, "cgroup.path"), error);
}
