// SPDX-License-Identifier: Apache-2.0

/* Snapshots as copies: plugins/snapshots/native of upstream. A view of a parent is the parent. */

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "store/snapshots-copy.h"
#include "store/snapshots-dir.h"
#include <fcntl.h>

static bool native_create(SnapshotDriver *self, const SnapshotNode *node, GError **error)
{
	g_auto(SnapshotDirNew) d = {.parent = -1, .fd = -1};
	if (node->kind != SNAPSHOT_ACTIVE && node->n_parents > 0)
		return true;
	if (!snapshot_dir_begin(self, node->id, &d, error))
		return error_prefix(error, "failed to create temp dir");
	if (fchmod(d.fd, 0755) != 0)
		return error_set_errno(error, errno,
		                       "failed to chmod %s/snapshots/new-%" G_GINT64_FORMAT " to 0755",
		                       self->root, node->id);
	if (node->n_parents > 0) {
		g_autofree char *parent = snapshot_dir_path(self, node->parents[0], NULL);
		autofd src = open(parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (src < 0)
			return error_set_errno(error, errno, "copying of parent failed: failed to stat %s",
			                       parent);
		if (!snapshot_copy_tree(src, d.fd, parent, node->cancel, error))
			return error_prefix(error, "copying of parent failed");
		if (syncfs(d.fd) != 0)
			return error_set_errno(error, errno, "copying of parent failed: syncfs %s",
			                       self->root);
	}
	return snapshot_dir_commit(&d, error) || error_prefix(error, "failed to rename");
}

static GPtrArray *native_mounts(SnapshotDriver *self, const SnapshotNode *node, GError **error)
{
	(void)error;
	bool own = node->n_parents == 0 || node->kind == SNAPSHOT_ACTIVE;
	g_autofree char *source = snapshot_dir_path(self, own ? node->id : node->parents[0], NULL);
	const char *options[] = {"rbind", node->kind == SNAPSHOT_VIEW ? "ro" : "rw", NULL};
	GPtrArray *mounts = mounts_new();
	g_ptr_array_add(mounts, mount_new("bind", source, NULL, options));
	return mounts;
}

static bool native_usage(SnapshotDriver *self, const SnapshotNode *node, SnapshotUsage *ret, GError **error)
{
	g_autofree char *path = snapshot_dir_path(self, node->id, NULL);
	return tree_usage(path, &ret->size, &ret->inodes, error);
}

static void native_free(SnapshotDriver *self)
{
	g_free(self->root);
	g_free(self);
}

static const SnapshotDriverOps native_ops = {
        .create = native_create,
        .mounts = native_mounts,
        .usage = native_usage,
        .commit = snapshot_dir_sync,
        .remove = snapshot_dir_remove,
        .list = snapshot_dir_list,
        .free = native_free,
};

SnapshotDriver *snapshot_native_new(const char *root, GError **error)
{
	static const char *const none[] = {NULL};
	g_autoptr(SnapshotDriver) driver = g_new0(SnapshotDriver, 1);
	driver->ops = &native_ops;
	driver->capabilities = none;
	if (!snapshot_dir_init(driver, root, error))
		return NULL;
	return g_steal_pointer(&driver);
}
