// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the mount manager (store/mounts.h) is made of: mounts that it has done, handlers that do types the
 * kernel does not know, transformers that prepare a mount. Upstream: core/mount/manager.go,
 * core/mount/manager/{format,mkdir,mkfs}.go, core/mount/loopback_handler_linux.go, plugins/mount/erofs.
 * Thread-safe, block.
 */

#include "base/time.h"
#include "mount/mount.h"

typedef struct {
	Mount *mount; // as it was mounted: after its transformers
	TimeNs mounted_at;
	char *point;      // where
	GHashTable *data; // strmap: what the handler wants later mounts to know; may be NULL
} ActiveMount;
/* Takes mount. */
ActiveMount *active_mount_new(Mount *mount, const char *point);
void active_mount_free(ActiveMount *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ActiveMount, active_mount_free)
GPtrArray *active_mounts_new(void); // of ActiveMount*, owned

/* ---- handlers ---- */

typedef struct MountHandler MountHandler;
struct MountHandler {
	const char *type; // of the mounts it does
	/* Makes point, which does not exist yet, and mounts there; after a failure point is gone. */
	ActiveMount *(*mount)(const Mount *m, const char *point, GPtrArray *active, GError **error);
	/* What is not mounted, or not there, is no error. */
	bool (*unmount)(const char *point, GError **error);
	/* Is m, done at point by an earlier daemon, still there? */
	bool (*is_mounted)(const Mount *m, const char *point);
};
/* A loop device over the file `source`; point becomes a link to it. The device lives until unmount. */
extern const MountHandler mount_handler_loop;
/* EROFS images: as a file where the kernel can (Linux 6.12), else through loop devices, also those of
 * `device=`. `X-containerd.dmverity=` is NOT_IMPLEMENTED. */
extern const MountHandler mount_handler_erofs;
/* What the kernel does; for types without a handler. */
extern const MountHandler mount_handler_system;

/* ---- transformers ---- */

/* Returns a copy of m, whose type has lost the transformer's name; active: what is mounted before it. */
typedef struct {
	const char *const *roots; // directories that files may be made in, NULL-terminated
	GPtrArray *active;        // of ActiveMount*
} MountTransformEnv;
typedef Mount *(*MountTransformFn)(const Mount *m, const MountTransformEnv *env, GError **error);
/* "format", "mkfs", "mkdir"; NULL where there is none of that name. */
MountTransformFn mount_transformer(const char *name, size_t len);

/* Templates in source, target and options: `{{ source 0 }}`, `{{ target 0 }}`, `{{ mount 0 }}` are those of
 * an earlier mount, `{{ overlay 0 2 }}` the mount points of a range (also backwards) joined by colons. Of
 * Go's templates only a call with numbers is known, and trimming (`{{-`, `-}}`); errors read as Go's. */
Mount *mount_transform_format(const Mount *m, const MountTransformEnv *env, GError **error);
/* Makes a file system in the file `source`, which must lie below a root, where it does not exist:
 * X-containerd.mkfs.size= (needed; 10MiB), .fs= (ext2, ext3, ext4, xfs; ext4), .uuid=. The file appears when
 * it is complete. Errors: `mkfs requires mkfs.size option: invalid argument`, ... */
Mount *mount_transform_mkfs(const Mount *m, const MountTransformEnv *env, GError **error);

/* "10MiB", "1.5g", "1024": as go-units' RAMInBytes. `invalid size: 'x'`, `invalid suffix: 'zz'`. */
bool mount_size_parse(const char *text, int64_t *ret, GError **error);
