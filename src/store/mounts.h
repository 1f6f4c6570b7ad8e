// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The mount manager (upstream core/mount/manager, plugins/mount): does mounts that the kernel cannot do by
 * itself and keeps track of them, by namespace and name, until they are deactivated or nothing refers to
 * them any more (leases, `containerd.io/gc.ref.mount` of others, `containerd.io/gc.bref.*` of their own).
 *
 * The rows are in the metadata database, the mounts in `<dir>/<id>/<n>`, with the type that unmounts each in
 * `<n>-type`. A row comes before its directory and goes before the unmounting: a directory that no row names
 * is garbage, and a crash at any moment leaves only such. Thread-safe, block; calls for one name wait for
 * each other, no lock is held over a mount.
 */

#include "mount/mount-active.h"
#include "store/gc.h"

typedef struct {
	char *name;
	GPtrArray *active; // of ActiveMount*: done by the manager
	GPtrArray *system; // of Mount*: what is left for the caller
	GHashTable *labels;
} Activation;
void activation_free(Activation *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Activation, activation_free)

typedef struct MountManager MountManager;
/* dir (made, 0700): where mounts go; root: the daemon's, below which `mkfs/` and `mkdir/` may make files too.
 * handlers: const MountHandler* by type, borrowed with what is in it. Repairs what an earlier daemon left:
 * half-done activations go, as do those whose mounts are gone (a reboot). gc cleans up through the manager
 * from now on; both may be used until mount_manager_free. */
MountManager *mount_manager_new(MetaDb *db, Gc *gc, const char *dir, const char *root, GHashTable *handlers,
                                GError **error);
/* Mounts stay. Nobody may be in a call. */
void mount_manager_free(MountManager *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MountManager, mount_manager_free)

typedef struct {
	GHashTable *labels; // strmap or NULL
	bool temporary;     // do all mounts; what is left is one bind mount
	/* Types that the caller does itself; a transformer's as its name with a slash and a star behind it.
	 * NULL-terminated; may be NULL. */
	const char *const *allow_types;
} ActivateOptions;

/* Would mount_manager_activate do anything, given that no types are allowed? Does not block. */
bool mount_manager_wants(MountManager *m, GPtrArray *mounts);
/* The first mounts, up to the last that needs the manager, are done; the rest is `system`. NOT_IMPLEMENTED
 * `not implemented` where none needs it, ALREADY_EXISTS `mount "x": already exists`. After an error nothing
 * is mounted. mounts is not changed. A lease of ctx keeps the activation. */
Activation *mount_manager_activate(MountManager *m, const Ctx *ctx, const char *name, GPtrArray *mounts,
                                   const ActivateOptions *options, GError **error);
/* NOT_FOUND `missing mount "x" bucket: not found`. Where unmounting fails the name is free all the same, the
 * error says what is still mounted, and the collector tries again. */
bool mount_manager_deactivate(MountManager *m, const Ctx *ctx, const char *name, GError **error);
/* NOT_FOUND `mount "x" not found`. */
Activation *mount_manager_info(MountManager *m, const Ctx *ctx, const char *name, GError **error);
/* Beyond upstream, which implements neither: labels can be updated (paths `labels`, `labels.<key>`; none:
 * labels), and filters (`name`, `labels.`) work. */
Activation *mount_manager_update(MountManager *m, const Ctx *ctx, const Activation *input,
                                 const char *const *paths, GError **error);
GPtrArray *mount_manager_list(MountManager *m, const Ctx *ctx, const char *const *filters,
                              GError **error); // of Activation*
