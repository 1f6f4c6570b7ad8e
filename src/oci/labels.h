// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Keys of labels and annotations that mean something to containerd. */

#include <glib.h>
#include <stdbool.h>

/* Reserved: never copied from what an image says. */
#define LABEL_RESERVED_PREFIX "containerd.io/"
#define LABEL_CRI_PREFIX "io.cri-containerd"
static inline bool label_is_reserved(const char *key)
{
	return g_str_has_prefix(key, LABEL_RESERVED_PREFIX) || g_str_has_prefix(key, LABEL_CRI_PREFIX);
}

/* Garbage collection. Those that end in a dot or _REF are prefixes. */
#define LABEL_GC_ROOT "containerd.io/gc.root"
#define LABEL_GC_REF_CONTENT "containerd.io/gc.ref.content" // exactly, or followed by "." or "/"
#define LABEL_GC_REF_CONTENT_CONFIG LABEL_GC_REF_CONTENT ".config"
#define LABEL_GC_REF_CONTENT_MANIFEST LABEL_GC_REF_CONTENT ".m."
#define LABEL_GC_REF_CONTENT_LAYER LABEL_GC_REF_CONTENT ".l."
#define LABEL_GC_REF_CONTENT_REFERRER LABEL_GC_REF_CONTENT ".referrer.sha256."
#define LABEL_GC_REF_SNAPSHOT "containerd.io/gc.ref.snapshot." // + snapshotter
#define LABEL_GC_REF_IMAGE "containerd.io/gc.ref.image"
#define LABEL_GC_BREF_CONTAINER "containerd.io/gc.bref.container"
#define LABEL_GC_BREF_CONTENT "containerd.io/gc.bref.content"
#define LABEL_GC_BREF_IMAGE "containerd.io/gc.bref.image"
#define LABEL_GC_BREF_SNAPSHOT "containerd.io/gc.bref.snapshot."
#define LABEL_GC_EXPIRE "containerd.io/gc.expire"
#define LABEL_GC_FLAT "containerd.io/gc.flat"

/* Content */
#define LABEL_UNCOMPRESSED "containerd.io/uncompressed"
#define LABEL_DISTRIBUTION_SOURCE "containerd.io/distribution.source" // + "." host

/* Snapshots */
#define LABEL_SNAPSHOT_REF "containerd.io/snapshot.ref"
#define LABEL_SNAPSHOT_PREFIX "containerd.io/snapshot/" // inherited from a request into the snapshot
#define LABEL_SNAPSHOT_UIDMAPPING LABEL_SNAPSHOT_PREFIX "uidmapping"
#define LABEL_SNAPSHOT_GIDMAPPING LABEL_SNAPSHOT_PREFIX "gidmapping"
#define LABEL_SNAPSHOT_UPPERDIR LABEL_SNAPSHOT_PREFIX "overlay.upperdir"
#define LABEL_SNAPSHOT_PARENT_CHAIN_ID LABEL_SNAPSHOT_PREFIX "parent-chain-id"
#define LABEL_SNAPSHOT_DIFF_ID LABEL_SNAPSHOT_PREFIX "diff-id"
#define LABEL_SNAPSHOT_CRI_IMAGE_REF LABEL_SNAPSHOT_PREFIX "cri.image-ref"
#define LABEL_SNAPSHOT_CRI_LAYER_DIGEST LABEL_SNAPSHOT_PREFIX "cri.layer-digest"
#define LABEL_SNAPSHOT_CRI_MANIFEST_DIGEST LABEL_SNAPSHOT_PREFIX "cri.manifest-digest"
#define LABEL_SNAPSHOT_CRI_IMAGE_LAYERS LABEL_SNAPSHOT_PREFIX "cri.image-layers"
#define LABEL_SNAPSHOT_DEVMAPPER_FSTYPE LABEL_SNAPSHOT_PREFIX "devmapper/fstype"

/* Containers */
#define LABEL_RESTART_STATUS "containerd.io/restart.status"
#define LABEL_RESTART_POLICY "containerd.io/restart.policy"
#define LABEL_RESTART_COUNT "containerd.io/restart.count"
#define LABEL_RESTART_LOGURI "containerd.io/restart.loguri"
#define LABEL_RESTART_EXPLICITLY_STOPPED "containerd.io/restart.explicitly-stopped"
#define LABEL_CHECKPOINT "containerd.io/checkpoint"
#define LABEL_RUNTIME_ALLOW_MOUNTS "containerd.io/runtime-allow-mounts"

/* Namespaces */
#define LABEL_NAMESPACE_SHAREABLE "containerd.io/namespace.shareable"
#define LABEL_DEFAULT_RUNTIME "containerd.io/defaults/runtime"
#define LABEL_DEFAULT_SNAPSHOTTER "containerd.io/defaults/snapshotter"
#define LABEL_DEFAULT_SANDBOXER "containerd.io/defaults/sandboxer"

/* CRI */
#define LABEL_CRI_IMAGE "io.cri-containerd.image"
#define LABEL_CRI_KIND "io.cri-containerd.kind"

/* Annotations of descriptors */
#define ANNOTATION_IMAGE_NAME "io.containerd.image.name"
#define ANNOTATION_IMPORT_REF_SOURCE "io.containerd.import.ref-source"
#define ANNOTATION_MANIFEST_SUBJECT "io.containerd.manifest.subject"
#define ANNOTATION_OCI_REF_NAME "org.opencontainers.image.ref.name"
