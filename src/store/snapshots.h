// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Snapshotters (upstream core/snapshots/snapshotter.go).
 *
 * Snapshotter is the interface that services and transfer use, with namespaces. Two kinds implement it:
 * `local`, which keeps all metadata in the metadata database and asks a SnapshotDriver for the disk work; and
 * `proxy`, a remote snapshotter over gRPC, whose names are namespaced by our database as upstream's
 * core/metadata/snapshot.go does. Both pass store/snapshot-suite.c. Thread-safe and blocking. Events are
 * emitted here.
 */

#include "base/time.h"
#include "loop/ctx.h"
#include "mount/mount.h"
#include "store/meta.h"

typedef enum {
	SNAPSHOT_UNKNOWN = 0,
	SNAPSHOT_VIEW,
	SNAPSHOT_ACTIVE,
	SNAPSHOT_COMMITTED,
} SnapshotKind;
const char *snapshot_kind_name(SnapshotKind kind); // "View", "Active", "Committed", "Unknown"

typedef struct {
	SnapshotKind kind;
	char *name;         // key or committed name
	char *parent;       // "" where there is none
	GHashTable *labels; // strmap
	TimeNs created_at, updated_at;
} SnapshotInfo;
void snapshot_info_free(SnapshotInfo *info);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SnapshotInfo, snapshot_info_free)

typedef struct {
	int64_t size, inodes;
} SnapshotUsage;

typedef bool (*SnapshotWalkFn)(const SnapshotInfo *info, void *data, GError **error);

typedef struct Snapshotter Snapshotter;
typedef struct {
	SnapshotInfo *(*stat)(Snapshotter *self, const Ctx *ctx, const char *key, GError **error);
	SnapshotInfo *(*update)(Snapshotter *self, const Ctx *ctx, const SnapshotInfo *info,
	                        const char *const *paths, GError **error);
	bool (*usage)(Snapshotter *self, const Ctx *ctx, const char *key, SnapshotUsage *ret, GError **error);
	GPtrArray *(*mounts)(Snapshotter *self, const Ctx *ctx, const char *key, GError **error);
	GPtrArray *(*prepare)(Snapshotter *self, const Ctx *ctx, SnapshotKind kind, const char *key,
	                      const char *parent, GHashTable *labels, GError **error);
	/* parent: NULL, or the parent to rebase on (WithParent; needs the "rebase" capability). */
	bool (*commit)(Snapshotter *self, const Ctx *ctx, const char *name, const char *key,
	               const char *parent, GHashTable *labels, GError **error);
	bool (*remove)(Snapshotter *self, const Ctx *ctx, const char *key, GError **error);
	bool (*walk)(Snapshotter *self, const Ctx *ctx, const char *const *filters, SnapshotWalkFn fn,
	             void *data, GError **error);
	/* Free what removed snapshots left on disk (upstream's Cleaner). Needs no namespace. */
	bool (*cleanup)(Snapshotter *self, const Ctx *ctx, GError **error);
	void (*free)(Snapshotter *self);
} SnapshotterOps;
struct Snapshotter {
	const SnapshotterOps *ops;
	char *name;                      // "overlayfs"
	const char *const *capabilities; // NULL-terminated: "rebase", "remap-ids"...
	char *root;                      // directory, NULL for proxies
};

SnapshotInfo *snapshot_stat(Snapshotter *s, const Ctx *ctx, const char *key, GError **error);
SnapshotInfo *snapshot_update(Snapshotter *s, const Ctx *ctx, const SnapshotInfo *info,
                              const char *const *paths, GError **error);
bool snapshot_usage(Snapshotter *s, const Ctx *ctx, const char *key, SnapshotUsage *ret, GError **error);
GPtrArray *snapshot_mounts(Snapshotter *s, const Ctx *ctx, const char *key, GError **error); // of Mount*
GPtrArray *snapshot_prepare(Snapshotter *s, const Ctx *ctx, const char *key, const char *parent,
                            GHashTable *labels, GError **error);
GPtrArray *snapshot_view(Snapshotter *s, const Ctx *ctx, const char *key, const char *parent,
                         GHashTable *labels, GError **error);
bool snapshot_commit(Snapshotter *s, const Ctx *ctx, const char *name, const char *key, const char *parent,
                     GHashTable *labels, GError **error);
bool snapshot_remove(Snapshotter *s, const Ctx *ctx, const char *key, GError **error);
bool snapshot_walk(Snapshotter *s, const Ctx *ctx, const char *const *filters, SnapshotWalkFn fn, void *data,
                   GError **error);
bool snapshot_cleanup(Snapshotter *s, const Ctx *ctx, GError **error);
void snapshotter_free(Snapshotter *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Snapshotter, snapshotter_free)
bool snapshotter_has_capability(Snapshotter *s, const char *capability);

/* Labels that a snapshotter's implementation gets to see: containerd.io/snapshot.ref and
 * containerd.io/snapshot/... (upstream FilterInheritedLabels). A new map; NULL is as empty. */
GHashTable *snapshot_inherited_labels(GHashTable *labels);
#define SNAPSHOT_LABEL_REF "containerd.io/snapshot.ref"
#define SNAPSHOT_LABEL_UIDMAP "containerd.io/snapshot/uidmapping"
#define SNAPSHOT_LABEL_GIDMAP "containerd.io/snapshot/gidmapping"
#define SNAPSHOT_LABEL_UPPERDIR "containerd.io/snapshot/overlay.upperdir"

/* The first of our numbers where upstream's snapshots are, too. */
#define SNAPSHOT_FIRST_BESIDE_UPSTREAM INT64_C(1000000000)

/* ---- drivers: disk work only, by number; never a name from outside ---- */

typedef struct SnapshotDriver SnapshotDriver;
typedef struct {
	int64_t id; // directory snapshots/<id>
	SnapshotKind kind;
	const int64_t *parents; // ids, nearest first
	size_t n_parents;
	GHashTable *labels;
	Cancel *cancel; // of the caller, for what takes long; may be NULL
} SnapshotNode;
typedef struct {
	/* Makes <root>/snapshots/<id> ready under a temporary name and renames it: after a crash either all
	 * or nothing is there, and what no row names is removed by cleanup. */
	bool (*create)(SnapshotDriver *self, const SnapshotNode *node, GError **error);
	GPtrArray *(*mounts)(SnapshotDriver *self, const SnapshotNode *node, GError **error);
	bool (*usage)(SnapshotDriver *self, const SnapshotNode *node, SnapshotUsage *ret,
	              GError **error); // of an active one
	/* What the caller wrote becomes durable; the row follows when this has returned. May be NULL. */
	bool (*commit)(SnapshotDriver *self, const SnapshotNode *node, GError **error);
	bool (*remove)(SnapshotDriver *self, int64_t id,
	               GError **error); // rename away, then delete; absent is fine
	/* Every id on disk, to find what no row names. GArray of int64_t. */
	GArray *(*list)(SnapshotDriver *self, GError **error);
	/* Labels that are not stored but belong to what is on disk. May be NULL. */
	void (*labels)(SnapshotDriver *self, int64_t id, GHashTable *labels);
	void (*free)(SnapshotDriver *self);
} SnapshotDriverOps;
struct SnapshotDriver {
	const SnapshotDriverOps *ops;
	const char *const *capabilities;
	char *root;
	bool sync_remove; // remove() is done before a snapshot's removal is answered, else at the next
	                  // cleanup
	int64_t first_id; // directories below this are another owner's (upstream's) and never touched
};

/*
 * Takes the driver, also where it fails. Directories that no row names are removed by cleanup: at the start
 * (on a thread of its own), when the collector or a client asks for it. Removing a snapshot takes its row
 * away and tells the collector (meta_tx_dirty "snapshots:<name>"). An error of a directory's removal is
 * logged; the next cleanup tries again.
 *
 * Texts are those that upstream's clients see, of core/metadata/snapshot.go and
 * core/snapshots/storage/bolt.go: `snapshot x does not exist: not found`, `snapshot "x": already exists`,
 * `parent snapshot x does not exist: not found`, `cannot remove snapshot with child: failed precondition`.
 * Not as upstream's: a commit with another parent than the snapshot has is an error, not ignored; one that
 * rebases needs the capability.
 */
Snapshotter *snapshotter_local_new(MetaDb *db, const char *name, SnapshotDriver *driver, GError **error);

/*
 * A snapshotter of somebody else's (backend, which it takes: snapshotter_proxy_new in snapshots-proxy.h),
 * whose names are `<namespace>/<number>/<key>` and which our rows stand for: upstream's
 * core/metadata/snapshot.go. Labels live here; the backend sees the inherited ones. Removing a snapshot takes
 * only the row; cleanup then removes from the backend what no row names (and has a name of that form), and
 * asks it to clean up. While that runs prepares and commits wait.
 */
Snapshotter *snapshotter_remote_new(MetaDb *db, const char *name, Snapshotter *backend);

typedef struct {
	bool upperdir_label, sync_remove, slow_chown;
	char **mount_options; // NULL: index=off and userxattr where needed, as upstream
} OverlayOptions;
/*
 * Upstream's directories: <root>/snapshots/<id>/{fs,work}. Where <root>/metadata.db is, upstream's own
 * snapshots lie there: ours then have numbers from 1000000000 on, and others are left alone. Error: `ROOT
 * does not support d_type. If the backing filesystem is xfs, please reformat with ftype=1 to enable d_type
 * support`.
 */
SnapshotDriver *snapshot_overlayfs_new(const char *root, const OverlayOptions *options, GError **error);
/* Can overlays be mounted from directories below root? Tries. Upstream: overlayutils.Supported. */
bool snapshot_overlayfs_supported(const char *root, GError **error);
/* Copies of whole trees: <root>/snapshots/<id>. */
SnapshotDriver *snapshot_native_new(const char *root, GError **error);
void snapshot_driver_free(SnapshotDriver *driver); // for one that no snapshotter took
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SnapshotDriver, snapshot_driver_free)
