// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Mounts as snapshotters hand them out (upstream core/mount). Plain data; functions are thread-safe and
 * block. */

#include <glib.h>
#include <stdbool.h>

typedef struct {
	char *type; // "overlay", "bind", ...
	char *source;
	char *target;   // below the root they are mounted on; NULL or "" for the root itself
	char **options; // NULL-terminated, never NULL
} Mount;

Mount *mount_new(const char *type, const char *source, const char *target, const char *const *options);
Mount *mount_copy(const Mount *m);
void mount_free(Mount *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Mount, mount_free)
/* A list of mounts is a GPtrArray of Mount* that owns them. */
GPtrArray *mounts_new(void);

/* Mount all on target, in order; where one fails those before it are taken away again. Options are fstab-like
 * as upstream's (ro, rbind, loop, uidmap=, gidmap=, X-containerd.*...); overlay options that do not fit one
 * page are mounted relative to the common directory of the lower directories. The error names type, source,
 * target and the reason. */
bool mounts_mount(GPtrArray *mounts, const char *target, GError **error);
/* Unmount everything stacked on target; flags as umount2. Not mounted is no error. EBUSY is retried for 50*50
 * ms. */
bool mount_unmount_all(const char *target, int flags, GError **error);
/* Unmount target and everything mounted below it, deepest first. */
bool mount_unmount_recursive(const char *target, int flags, GError **error);

/* Mount in a private temporary directory below dir (0700), call fn with its path, take both away, also after
 * failure. dir NULL: the process default (mount_set_temp_dir), else /tmp. */
typedef bool (*MountFn)(const char *root, void *data, GError **error);
bool mounts_with_temp(GPtrArray *mounts, const char *dir, MountFn fn, void *data, GError **error);
/* The same with every mount read-only. */
bool mounts_with_readonly_temp(GPtrArray *mounts, const char *dir, MountFn fn, void *data, GError **error);
void mount_set_temp_dir(const char *dir); // before threads
/* Take away what a killed daemon left in its temp directory. */
bool mount_cleanup_temp(const char *dir, GError **error);

/* One line of /proc/self/mountinfo. */
typedef struct {
	int id, parent, major, minor;
	char *root, *mountpoint, *options, *fstype, *source, *super_options;
} MountInfo;
void mount_info_free(MountInfo *info);
/* All mounts whose mountpoint is prefix or below it (NULL: all). GPtrArray of MountInfo*. */
GPtrArray *mount_info_list(const char *prefix, GError **error);
bool mount_is_mounted(const char *path, bool *ret, GError **error);
