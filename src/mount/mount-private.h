// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Internals of mount/, in a header for the tests. */

#include "mount/mount.h"
#include <stdint.h>

/* Options as mount(2) takes them. */
typedef struct {
	unsigned long flags;       // MS_* to set, without propagation
	unsigned long cleared;     // MS_* that were explicitly cleared (rw, dev, suid...)
	unsigned long propagation; // MS_SHARED... and MS_REC, 0: as it comes
	GPtrArray *data;           // of char*: what is for the file system
	bool loop;
	char *uidmap, *gidmap;
} MountOptions;
bool mount_options_parse(const char *const *options, MountOptions *ret, GError **error);
void mount_options_clear(MountOptions *o);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MountOptions, mount_options_clear)

/* The longest common start of the strings; NULL or empty lists give "". */
char *mount_common_prefix(const char *const *strings);
/* The lower directories of an overlay's options, NULL where there is no lowerdir=. ret_index: which option.
 */
char **mount_overlay_lowers(const char *const *options, size_t *ret_index);
/* Overlay options with lower directories relative to *ret_dir ("/a/snapshots/"); NULL where that is not
 * possible.
 */
char **mount_overlay_compact(const char *const *options, char **ret_dir);
/* The same through links in a new directory *ret_dir below tmp: 0, 1, ..., so that any number of lower
 * directories that the kernel takes fits a page. mount_overlay_links_done takes the directory away again,
 * after the mount. */
char **mount_overlay_links(const char *const *options, const char *tmp, char **ret_dir, GError **error);
void mount_overlay_links_done(const char *dir);
/* The directory that all lowers are below, for an idmapped copy of it; an error where that is / or nothing.
 */
char *mount_overlay_common_dir(const char *const *lowers, GError **error);
/* The same paths below another directory. */
char **mount_overlay_rebase(const char *const *lowers, const char *from, const char *to);

/* mount(2), with dir as the current directory where it is not NULL (in a thread of its own). */
bool mount_syscall(const char *dir, const char *source, const char *target, const char *shown_target,
                   const char *type, unsigned long flags, const char *data, GError **error);
/* Overlay through fsopen(2) with one call per lower directory. false without an error: not possible here. */
bool mount_overlay_fsconfig(const Mount *m, const MountOptions *o, const char *target, bool *ret_unsupported,
                            GError **error);
/* The overlay's options with lower directories seen through an idmapped mount of their common directory.
 * *ret_dir: the temporary directory it is mounted on, for mount_overlay_idmap_done. */
char **mount_overlay_idmap(const char *const *options, int userns, const char *tmp, char **ret_dir,
                           GError **error);
void mount_overlay_idmap_done(const char *dir);

/* Clone source (recursively unless told otherwise), change it and attach it to target. attributes 0 and
 * userns -1: no change. */
typedef struct {
	bool recursive;      // the whole tree is cloned; attributes are for its root, the map for all of it
	uint64_t set, clear; // MOUNT_ATTR_*
	bool set_recursive;  // attributes are for all of it
	int userns;          // -1: no idmap
	unsigned long propagation; // MS_*, 0: none
} MountClone;
bool mount_clone(const char *source, const char *target, const char *shown_target, const MountClone *how,
                 bool *ret_unsupported, GError **error);
/* MS_* as MOUNT_ATTR_*. */
uint64_t mount_attributes(unsigned long flags);

const char *mount_temp_dir(void);
/* A new directory 0700 in dir. */
char *mount_temp_make(const char *dir, const char *prefix, GError **error);
