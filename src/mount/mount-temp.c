// SPDX-License-Identifier: Apache-2.0

/* Mounts for the duration of a call. Upstream: core/mount/temp.go. */

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "mount/mount-private.h"
#include <stdlib.h>
#include <string.h>

static char *temp_dir; // set before threads

void mount_set_temp_dir(const char *dir)
{
	g_free(temp_dir);
	temp_dir = g_strdup(dir);
}

const char *mount_temp_dir(void)
{
	if (temp_dir != NULL)
		return temp_dir;
	const char *xdg = g_getenv("XDG_RUNTIME_DIR");
	return str_empty(xdg) ? "/tmp" : xdg;
}

char *mount_temp_make(const char *dir, const char *prefix, GError **error)
{
	g_autofree char *path = g_strdup_printf("%s/%sXXXXXX", dir, prefix);
	if (mkdtemp(path) == NULL) {
		error_set_errno(error, errno, "mkdir %s", path);
		return NULL;
	}
	return g_steal_pointer(&path);
}

/* An overlay that was mounted volatile refuses to be mounted again from the same directories. */
static GPtrArray *without_volatile(GPtrArray *mounts)
{
	GPtrArray *copy = mounts_copy(mounts);
	for (guint i = 0; i < copy->len; i++) {
		Mount *m = copy->pdata[i];
		if (g_strcmp0(m->type, "overlay") != 0)
			continue;
		size_t n = 0;
		for (char **o = m->options; *o != NULL; o++) {
			if (g_str_equal(*o, "volatile") || g_str_equal(*o, "fsync=volatile"))
				g_free(*o);
			else
				m->options[n++] = *o;
		}
		m->options[n] = NULL;
	}
	return copy;
}

static bool run_mounted(GPtrArray *mounts, const char *root, MountFn fn, void *data, GError **error)
{
	g_autoptr(GPtrArray) plain = without_volatile(mounts);
	if (!mounts_mount(plain, root, error))
		return error_prefix(error, "failed to mount %s", root);
	bool ok = fn(root, data, error);
	if (!ok)
		error_prefix(error, "mount callback failed on %s", root);
	g_autoptr(GError) unmount = NULL;
	if (mounts_unmount(mounts, root, 0, &unmount))
		return ok;
	if (!ok)
		return error_prefix(error, "failed to unmount %s: %s", root, unmount->message);
	g_propagate_error(error, g_steal_pointer(&unmount));
	return error_prefix(error, "failed to unmount %s", root);
}

bool mounts_with_temp(GPtrArray *mounts, const char *dir, MountFn fn, void *data, GError **error)
{
	g_autofree char *root =
	        mount_temp_make(dir != NULL ? dir : mount_temp_dir(), "containerd-mount", error);
	if (root == NULL)
		return error_prefix(error, "failed to create temp dir");
	bool ok = run_mounted(mounts, root, fn, data, error);
	// rmdir, never rm -r: where the unmount failed that would be the mounted data
	if (rmdir(root) != 0) {
		g_autofree char *why = errno_text(errno);
		log_error("failed to remove mount temp dir", "dir", root, "error", why, NULL);
	}
	return ok;
}

bool mounts_with_readonly_temp(GPtrArray *mounts, const char *dir, MountFn fn, void *data, GError **error)
{
	g_autoptr(GPtrArray) readonly = mounts_readonly(mounts);
	return mounts_with_temp(readonly, dir, fn, data, error);
}

static gint deepest_first(gconstpointer a, gconstpointer b)
{
	const MountInfo *x = *(const MountInfo *const *)a, *y = *(const MountInfo *const *)b;
	size_t n = strlen(x->mountpoint), m = strlen(y->mountpoint);
	return n < m ? 1 : n > m ? -1 : 0;
}

bool mount_cleanup_temp(const char *dir, GError **error)
{
	g_autofree char *real = realpath(dir, NULL);
	if (real == NULL)
		return errno == ENOENT || error_set_errno(error, errno, "lstat %s", dir);
	g_autoptr(GPtrArray) mounts = mount_info_list(real, error);
	if (mounts == NULL)
		return false;
	g_ptr_array_sort(mounts, deepest_first);
	GError *first = NULL;
	for (guint i = 0; i < mounts->len; i++) {
		const MountInfo *info = mounts->pdata[i];
		if (!g_str_equal(info->mountpoint, real))
			mount_unmount_all(info->mountpoint, 0, first == NULL ? &first : NULL);
	}
	g_autoptr(GPtrArray) names = dir_list(real, 0, first == NULL ? &first : NULL);
	for (guint i = 0; names != NULL && i < names->len; i++) {
		const char *name = names->pdata[i];
		if (!g_str_has_prefix(name, "containerd-mount") && !g_str_has_prefix(name, "ovl-idmapped") &&
		    !g_str_has_prefix(name, "ovl-links"))
			continue;
		g_autofree char *path = path_join(real, name);
		if (g_str_has_prefix(name, "ovl-links")) // links, and never a mount
			tree_remove(path, first == NULL ? &first : NULL);
		else if (rmdir(path) != 0 && errno != ENOENT && errno != ENOTEMPTY && first == NULL)
			error_set_errno(&first, errno, "remove %s", path);
	}
	if (first == NULL)
		return true;
	g_propagate_error(error, first);
	return false;
}
