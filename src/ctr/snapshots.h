// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Snapshot calls that several commands make (cmd-snapshots.c). Responses are freed with autopb. */

#include "ctr/ctr.h"
#include "services/snapshots/v1/snapshots.pb-c.h"

/* cmd-snapshots-diff.c */
extern const CliCommand ctr_snapshots_diff, ctr_snapshots_unpack;

extern const CliFlag flags_snapshotter[]; // --snapshotter
const char *ctr_snapshotter(Cli *cli);    // the flag, the namespace's label, else "overlayfs"
const char *snapshot_kind_text(int kind);

bool ctr_snapshot_stat(Cli *cli, const char *snapshotter, const char *key,
                       Containerd__Services__Snapshots__V1__StatSnapshotResponse **ret, GError **error);
bool ctr_snapshot_mounts(Cli *cli, const char *snapshotter, const char *key,
                         Containerd__Services__Snapshots__V1__MountsResponse **ret, GError **error);
bool ctr_snapshot_prepare(Cli *cli, const char *snapshotter, const char *key, const char *parent,
                          GHashTable *labels,
                          Containerd__Services__Snapshots__V1__PrepareSnapshotResponse **ret, GError **error);
bool ctr_snapshot_view(Cli *cli, const char *snapshotter, const char *key, const char *parent,
                       Containerd__Services__Snapshots__V1__ViewSnapshotResponse **ret, GError **error);
bool ctr_snapshot_remove(Cli *cli, const char *snapshotter, const char *key, GError **error);
