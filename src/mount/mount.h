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

/*
 * Mount all on target, in order; where one fails those before it are taken away again. A mount's own target
 * is resolved inside target as in a chroot and must exist.
 *
 * Options are fstab-like as upstream's: the flags of mount(8), the propagation types, `loop` and `direct-io`,
 * `uidmap=`/`gidmap=` (both or none: container:host:size[,...]), the rest is the file system's data. A type
 * `fuse.x` or `fuse3.x` runs the helper mount.fuse or mount.fuse3. `X-containerd.*` options must have been
 * consumed before (mount_apply_mkdir); one that is left is an error.
 *
 * Not as upstream's: all flags of a bind mount are applied (not only ro), atomically where the kernel has
 * mount_setattr(2), and it keeps those of its source; a read-only bind mount is idmapped too; `defaults` is
 * no data. Overlay options that do not fit one page go through fsconfig(2) (`lowerdir+`, Linux 6.5), else
 * they are mounted relative to the common directory of the lower directories, else through short links.
 *
 * The error is upstream's and names all: `mount source: "overlay", target: "/x", fstype: overlay, flags: 0,
 * data: "...", err: invalid argument`, class UNKNOWN.
 */
bool mounts_mount(GPtrArray *mounts, const char *target, GError **error);
/* Takes away what mounts_mount(mounts, target) put there, last first; goes on after a failure and returns the
 * first. */
bool mounts_unmount(GPtrArray *mounts, const char *target, int flags, GError **error);
/* Copies of the mounts that are read-only: an overlay loses upperdir, workdir and the id maps and gets its
 * upperdir as the topmost lowerdir; others get `ro`. */
GPtrArray *mounts_readonly(GPtrArray *mounts);
/* Copies without uidmap= and gidmap= (upstream RemoveIDMapOption). */
GPtrArray *mounts_without_idmap(GPtrArray *mounts);
GPtrArray *mounts_copy(GPtrArray *mounts);
/* For unpacking a layer into an active snapshot that has no parent yet (rebased at commit): overlayfs hands
 * out a bind mount of its upper directory there, in which whiteouts would take effect instead of being kept
 * (upstream #13030). As an overlay with only upperdir= the differ writes into that directory and keeps them.
 * Anything but one bind mount is copied as it is. Not for mounting. */
GPtrArray *mounts_bind_to_overlay(GPtrArray *mounts);

/* The transformer X-containerd.mkdir.path=PATH[:MODE[:UID:GID]] (upstream core/mount/manager/mkdir.go): makes
 * the directories, which must lie below one of roots (NULL-terminated), whose parents exist, and returns a
 * copy of m without these options. Mode is octal, 0700 by default; owner us by default. */
Mount *mount_apply_mkdir(const Mount *m, const char *const *roots, GError **error);

/* Unmount everything stacked on target; flags as umount2. Not mounted and not there is no error. EBUSY is
 * retried for 50*50 ms. FUSE mounts are taken down by fusermount3 or fusermount where there is one. Text:
 * `failed to unmount target /x: used by process 12 (sleep): device or resource busy`. */
bool mount_unmount_all(const char *target, int flags, GError **error);
/* Unmount target and everything mounted below it, deepest first. */
bool mount_unmount_recursive(const char *target, int flags, GError **error);

/* Mount in a private temporary directory below dir (0700), call fn with its path, take both away, also after
 * failure. dir NULL: the process default (mount_set_temp_dir), else $XDG_RUNTIME_DIR, else /tmp. `volatile`
 * is left out of overlay options, since such an upper directory cannot be mounted twice. Texts: `failed to
 * mount DIR: ...`, `mount callback failed on DIR: ...`, `failed to unmount DIR: ...`. */
typedef bool (*MountFn)(const char *root, void *data, GError **error);
bool mounts_with_temp(GPtrArray *mounts, const char *dir, MountFn fn, void *data, GError **error);
/* The same with every mount read-only. */
bool mounts_with_readonly_temp(GPtrArray *mounts, const char *dir, MountFn fn, void *data, GError **error);
void mount_set_temp_dir(const char *dir); // before threads
/* Take away what a killed daemon left in its temp directory: mounts, and empty directories made by us. Goes
 * on after a failure and returns the first. */
bool mount_cleanup_temp(const char *dir, GError **error);

/* One line of /proc/self/mountinfo. */
typedef struct {
	int id, parent, major, minor;
	char *root, *mountpoint, *options, *fstype, *source, *super_options;
} MountInfo;
void mount_info_free(MountInfo *info);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MountInfo, mount_info_free)
/* The text of a mountinfo file; lines that are not as proc(5) says are an error. prefix as mount_info_list.
 */
GPtrArray *mount_info_parse(const char *data, size_t len, const char *prefix, GError **error);
/* All mounts of this thread's mount namespace whose mountpoint is prefix or below it (NULL: all), in the
 * order of the kernel (a later one of the same mountpoint is on top). prefix must be clean and without links.
 * GPtrArray of MountInfo*. */
GPtrArray *mount_info_list(const char *prefix, GError **error);
/* The mount that path (which must exist) lies on; links are followed (upstream Lookup). */
MountInfo *mount_lookup(const char *path, GError **error);
/* Is path (links followed) a mount point? What does not exist is none. */
bool mount_is_mounted(const char *path, bool *ret, GError **error);

/* A user namespace with these maps ("0:1000:100,..."), for idmapped mounts: its fd or -1. Texts as upstream:
 * `user namespace mappings require the format `container-id:host-id:size``, `invalid mapping ...`. */
int mount_userns_fd(const char *uidmap, const char *gidmap, GError **error);

/* Can the tree at path be mounted with such maps? Tries it on a detached copy, nothing stays. Where it cannot
 * (*ret_supported false) *ret_fstype is the file system's type. An error: it could not be found out. */
bool mount_idmap_supported(const char *path, const char *uidmap, const char *gidmap, bool *ret_supported,
                           char **ret_fstype, GError **error);

/* Attach a file to a free loop device, which the kernel frees after its last user where autoclear. Returns
 * the device's fd (keep it until the mount is there) and its path. */
typedef struct {
	bool readonly, autoclear, direct;
	const char *label; // what the device says its file is called, at most 63 bytes; NULL: the file's path
} LoopParams;
int mount_loop_setup(const char *file, const LoopParams *params, char **ret_device, GError **error);
