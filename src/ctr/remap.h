// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Snapshots for containers in user namespaces: --uidmap, --gidmap, --remap-labels (remap.c). */

#include "ctr/cli.h"
#include "services/snapshots/v1/snapshots.pb-c.h"

/* Whether the flags ask for a user namespace: both kinds of maps are given. */
bool ctr_remap_wanted(Cli *cli);
/* A writable snapshot of parent whose files belong to the ids of the maps: by labels where --remap-labels is
 * given and the snapshotter can mount with id maps, else of a snapshot whose files are changed, which is kept
 * for the next container with the same maps (its name is upstream's). */
bool ctr_remap_prepare(Cli *cli, const char *snapshotter, const char *key, const char *parent,
                       Containerd__Services__Snapshots__V1__PrepareSnapshotResponse **ret, GError **error);
