// SPDX-License-Identifier: Apache-2.0

/* Putting a process into a group that is named by its path, and making that group. */

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "cgroup/cgroup-private.h"
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define HIERARCHIES_MAX 64
#define CPUSET_MAX ((size_t)64 * 1024)

/* Where those of version 1 are mounted; of a hybrid tree the second half is none. */
static GPtrArray *list_hierarchies(GError **error)
{
	g_autoptr(GPtrArray) names = dir_list(CG_MOUNT, HIERARCHIES_MAX, error);
	if (names == NULL)
		return NULL;
	GPtrArray *hierarchies = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < names->len; i++) {
		g_autofree char *dir = path_join(CG_MOUNT, names->pdata[i]);
		struct statfs st;
		// a link is another name of one of the others
		if (!g_file_test(dir, G_FILE_TEST_IS_SYMLINK) && statfs(dir, &st) == 0 &&
		    st.f_type == CGROUP_SUPER_MAGIC)
			g_ptr_array_add(hierarchies, g_steal_pointer(&dir));
	}
	return hierarchies;
}

/* Wherever the group is; 0 is the caller's process. */
static bool join_existing(const GPtrArray *hierarchies, const char *path, pid_t pid, bool *ret_any,
                          GError **error)
{
	g_autofree char *text = g_strdup_printf("%d", pid);
	*ret_any = false;
	for (guint i = 0; i < hierarchies->len; i++) {
		g_autofree char *dir = path_join(hierarchies->pdata[i], path);
		if (!path_exists(dir))
			continue;
		if (!cg_write(dir, "cgroup.procs", text, error))
			return false;
		*ret_any = true;
	}
	return true;
}

bool cgroup_join(const char *path, pid_t pid, GError **error)
{
	if (cgroup_is_unified()) {
		g_autofree char *text = g_strdup_printf("%d", pid);
		g_autofree char *dir = path_join(CG_MOUNT, path);
		return cg_write(dir, "cgroup.procs", text, error);
	}
	g_autoptr(GPtrArray) hierarchies = list_hierarchies(error);
	bool any;
	if (hierarchies == NULL || !join_existing(hierarchies, path, pid, &any, error))
		return false;
	return any || error_set(error, CTRD_ERR_UNKNOWN, "cgroup deleted");
}

/* ---- making ---- */

/* A new cpuset is empty, and takes nobody before it has its parent's processors and memory. */
static bool fill_cpuset(const char *parent, const char *dir, GError **error)
{
	static const char *const names[] = {"cpuset.cpus", "cpuset.mems"};
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *from = path_join(parent, names[i]), *to = path_join(dir, names[i]);
		g_autofree char *text = NULL, *own = NULL;
		if (!path_exists(to))
			return true; // another hierarchy
		if (!file_read(from, CPUSET_MAX, &text, NULL, error) ||
		    !file_read(to, CPUSET_MAX, &own, NULL, error))
			return false;
		if (*g_strstrip(own) == '\0' && !cg_write(dir, names[i], g_strstrip(text), error))
			return false;
	}
	return true;
}

/* Adds to made what was not there. */
static bool make_below(const char *hierarchy, const char *path, GPtrArray *made, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(path, "/", -1);
	g_autofree char *dir = g_strdup(hierarchy);
	for (char **part = parts; *part != NULL; part++) {
		if (**part == '\0')
			continue;
		g_autofree char *parent = g_steal_pointer(&dir);
		dir = path_join(parent, *part);
		if (mkdir(dir, 0755) == 0)
			g_ptr_array_add(made, g_strdup(dir));
		else if (errno != EEXIST)
			return error_set_errno(error, errno, "mkdir %s", dir);
		if (!fill_cpuset(parent, dir, error))
			return false;
	}
	return true;
}

/* A group that this process has joined already is left first: upwards, since the way back is not known. */
static void remove_made(const GPtrArray *made)
{
	for (guint i = made->len; i-- > 0;) {
		const char *dir = made->pdata[i];
		if (rmdir(dir) == 0)
			continue;
		g_autofree char *parent = g_path_get_dirname(dir);
		cg_write(parent, "cgroup.procs", "0", NULL);
		if (rmdir(dir) != 0)
			log_warn("cannot remove a cgroup that was made", "path", dir, NULL);
	}
}

bool cg_enter_hierarchies(const GPtrArray *hierarchies, const char *path, GError **error)
{
	if (hierarchies->len == 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "cgroups: cgroup mountpoint does not exist");
	bool any;
	if (!join_existing(hierarchies, path, 0, &any, error))
		return false;
	if (any)
		return true;
	g_autoptr(GPtrArray) made = g_ptr_array_new_with_free_func(g_free);
	bool ok = true;
	for (guint i = 0; ok && i < hierarchies->len; i++)
		ok = make_below(hierarchies->pdata[i], path, made, error);
	ok = ok && join_existing(hierarchies, path, 0, &any, error);
	if (!ok)
		remove_made(made);
	return ok;
}

bool cgroup_enter(const char *path, GError **error)
{
	if (cgroup_is_unified())
		return cgroup_join(path, 0, error);
	g_autoptr(GPtrArray) hierarchies = list_hierarchies(error);
	return hierarchies != NULL && cg_enter_hierarchies(hierarchies, path, error);
}
