// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * <root>/snapshots/<id>, as the drivers that keep plain directories have it. A directory is made as new-<id>
 * and renamed when it is complete; it is removed by renaming it to rm-<id> first. So what a killed daemon
 * leaves under its own number is whole, and nothing else is taken for a snapshot.
 */

#include "store/snapshots.h"

/* Makes root (0700) and snapshots (0700) and sets driver->root and first_id. */
bool snapshot_dir_init(SnapshotDriver *driver, const char *root, GError **error);
/* "<root>/snapshots/<id>", with "/<name>" where name is not NULL. */
char *snapshot_dir_path(const SnapshotDriver *driver, int64_t id, const char *name);

/* A directory being made: an fd of new-<id> (0700). Rolled back by cleanup unless snapshot_dir_commit was
 * reached. */
typedef struct {
	const SnapshotDriver *driver;
	int64_t id;
	int parent; // fd of snapshots/, -1: nothing to roll back
	int fd;
} SnapshotDirNew;
bool snapshot_dir_begin(const SnapshotDriver *driver, int64_t id, SnapshotDirNew *ret, GError **error);
/* Renames and makes that durable. */
bool snapshot_dir_commit(SnapshotDirNew *d, GError **error);
void snapshot_dir_rollback(SnapshotDirNew *d);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SnapshotDirNew, snapshot_dir_rollback)

/* The driver's remove and list. */
bool snapshot_dir_remove(SnapshotDriver *driver, int64_t id, GError **error);
GArray *snapshot_dir_list(SnapshotDriver *driver, GError **error);
/* The driver's commit: syncs the file system. */
bool snapshot_dir_sync(SnapshotDriver *driver, const SnapshotNode *node, GError **error);
