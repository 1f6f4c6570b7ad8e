// SPDX-License-Identifier: Apache-2.0

/* Upstream: core/mount/mount_unix.go, fuse_linux.go, UnmountMounts in mount.go. */

#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/util.h"
#include "mount/mount-private.h"
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#define BUSY_TRIES 50
#define BUSY_WAIT_US 50000

static bool is_fuse(const char *target)
{
	struct statfs st;
	return statfs(target, &st) == 0 && st.f_type == FUSE_SUPER_MAGIC;
}

static bool unmount_fuse(const char *target)
{
	static const char *const programs[] = {"fusermount3", "fusermount"};
	for (size_t i = 0; i < G_N_ELEMENTS(programs); i++) {
		const char *argv[] = {programs[i], "-u", target, NULL};
		ProcessSpec spec = {.argv = argv, .timeout_ns = INT64_C(60) * 1000000000};
		g_auto(ProcessResult) result = {0};
		if (process_run(&spec, &result, NULL) && result.status == 0)
			return true;
	}
	return false;
}

/* 0 or an errno. */
static int unmount(const char *target, int flags)
{
	if (is_fuse(target) && unmount_fuse(target))
		return 0;
	for (int i = 0; i < BUSY_TRIES; i++) {
		if (umount2(target, flags) == 0)
			return 0;
		if (errno != EBUSY)
			return errno;
		g_usleep(BUSY_WAIT_US);
	}
	return EBUSY;
}

// ---- who keeps it busy ----

#define HOLDERS_MAX 3
#define FDS_MAX 4096 // of one process that are looked at

static bool is_below(const char *path, const char *target)
{
	size_t n = strlen(target);
	return strncmp(path, target, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static bool link_is_below(const char *link, const char *target)
{
	char path[PATH_MAX];
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n < 0)
		return false;
	path[n] = '\0';
	return is_below(path, target);
}

/* pid is /proc/<pid>. Files that are mapped are not looked at: there are too many. */
static bool process_uses(const char *pid, const char *target)
{
	static const char *const links[] = {"cwd", "root", "exe"};
	for (size_t i = 0; i < G_N_ELEMENTS(links); i++) {
		g_autofree char *link = path_join(pid, links[i]);
		if (link_is_below(link, target))
			return true;
	}
	g_autofree char *dir = path_join(pid, "fd");
	g_autoptr(GPtrArray) fds = dir_list(dir, FDS_MAX, NULL);
	for (guint i = 0; fds != NULL && i < fds->len; i++) {
		g_autofree char *link = path_join(dir, fds->pdata[i]);
		if (link_is_below(link, target))
			return true;
	}
	return false;
}

static void add_processes(GString *out, const char *target)
{
	int found = 0;
	g_autoptr(GPtrArray) pids = dir_list("/proc", 0, NULL);
	for (guint i = 0; pids != NULL && i < pids->len && found < HOLDERS_MAX; i++) {
		const char *pid = pids->pdata[i];
		g_autofree char *dir = path_join("/proc", pid);
		if (!g_ascii_isdigit(*pid) || !process_uses(dir, target))
			continue;
		g_autofree char *file = path_join(dir, "comm");
		g_autofree char *comm = NULL;
		file_read(file, 64, &comm, NULL, NULL);
		g_string_append_printf(out, "%sprocess %s (%s)", out->len > 0 ? ", " : "", pid,
		                       comm != NULL ? g_strchomp(comm) : "?");
		found++;
	}
}

/* ": used by process 12 (sleep)", "" where nobody is found: another mount namespace's users cannot be seen.
 */
static char *holders(const char *target)
{
	g_autoptr(GString) out = g_string_new(NULL);
	g_autofree char *path = realpath(target, NULL);
	if (path == NULL || g_str_equal(path, "/"))
		return g_strdup("");
	g_autoptr(GPtrArray) mounts = mount_info_list(path, NULL);
	for (guint i = 0; mounts != NULL && i < mounts->len; i++) {
		const MountInfo *info = mounts->pdata[i];
		if (g_str_equal(info->mountpoint, path))
			continue;
		g_string_append_printf(out, "what is mounted on %s", info->mountpoint);
		break;
	}
	add_processes(out, path);
	return out->len > 0 ? g_strconcat(": used by ", out->str, NULL) : g_strdup("");
}

bool mount_unmount_all(const char *target, int flags, GError **error)
{
	struct stat st;
	if (str_empty(target) || (stat(target, &st) != 0 && errno == ENOENT))
		return true;
	for (;;) {
		int e = unmount(target, flags);
		// EINVAL: no mount point (any more)
		if (e == EINVAL)
			return true;
		if (e == 0)
			continue;
		g_autofree char *why = e == EBUSY && error != NULL ? holders(target) : NULL;
		return error_set_errno(error, e, "failed to unmount target %s%s", target, str_or(why, ""));
	}
}

static gint deepest_first(gconstpointer a, gconstpointer b)
{
	const MountInfo *x = *(const MountInfo *const *)a, *y = *(const MountInfo *const *)b;
	size_t n = strlen(x->mountpoint), m = strlen(y->mountpoint);
	return n < m ? 1 : n > m ? -1 : strcmp(x->mountpoint, y->mountpoint);
}

bool mount_unmount_recursive(const char *target, int flags, GError **error)
{
	if (str_empty(target))
		return true;
	g_autofree char *path = realpath(target, NULL);
	if (path == NULL) {
		if (errno == ENOENT)
			return true;
		return error_set_errno(error, errno, "lstat %s", target);
	}
	g_autoptr(GPtrArray) mounts = mount_info_list(path, error);
	if (mounts == NULL)
		return false;
	g_ptr_array_sort(mounts, deepest_first);
	GError *first = NULL;
	const char *last = NULL;
	for (guint i = 0; i < mounts->len; i++) {
		const MountInfo *info = mounts->pdata[i];
		if (last == NULL || !g_str_equal(last, info->mountpoint))
			mount_unmount_all(info->mountpoint, flags, first == NULL ? &first : NULL);
		last = info->mountpoint;
	}
	if (first == NULL)
		return true;
	// what was busy may have gone with what is above it
	g_autoptr(GPtrArray) left = mount_info_list(path, NULL);
	if (left != NULL && left->len == 0) {
		g_error_free(first);
		return true;
	}
	g_propagate_error(error, first);
	return false;
}

static char *target_path(const Mount *m, const char *root, GError **error)
{
	if (str_empty(m->target))
		return g_strdup(root);
	autofd dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		error_set_errno(error, errno, "open %s", root);
		return NULL;
	}
	// the fd must be closed before umount2: it keeps the mount busy
	autofd fd = open_in_root(dir, m->target, O_PATH, 0, error);
	if (fd < 0)
		return NULL;
	g_autofree char *proc = g_strdup_printf("/proc/self/fd/%d", fd);
	char path[PATH_MAX];
	ssize_t n = readlink(proc, path, sizeof path);
	if (n < 0) {
		error_set_errno(error, errno, "readlink %s", proc);
		return NULL;
	}
	return g_strndup(path, (gsize)n);
}

bool mounts_unmount(GPtrArray *mounts, const char *target, int flags, GError **error)
{
	GError *first = NULL;
	for (guint i = mounts->len; i-- > 0;) {
		GError **where = first == NULL ? &first : NULL;
		g_autofree char *path = target_path(mounts->pdata[i], target, where);
		if (path != NULL)
			mount_unmount_all(path, flags, where);
	}
	if (first == NULL)
		return true;
	g_propagate_error(error, first);
	return false;
}
