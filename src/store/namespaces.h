// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Namespaces (upstream core/metadata/namespaces.go). Events are emitted by the store. Thread-safe, block. */

#include "store/meta.h"

typedef struct {
	char *name;
	GHashTable *labels; // strmap
} Namespace;
void namespace_free(Namespace *ns);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Namespace, namespace_free)

bool namespaces_create(MetaDb *db, const Ctx *ctx, const char *name, GHashTable *labels, GError **error);
Namespace *namespaces_get(MetaDb *db, const Ctx *ctx, const char *name, GError **error);
GPtrArray *namespaces_list(MetaDb *db, const Ctx *ctx, GError **error); // of Namespace*, by name
/* paths NULL or empty: replace all labels; else each "labels.<key>", as upstream. *ret may be NULL. */
bool namespaces_update(MetaDb *db, const Ctx *ctx, const char *name, GHashTable *labels,
                       const char *const *paths, Namespace **ret, GError **error);
/* FAILED_PRECONDITION `namespace "x" must be empty, but it still has images, blobs, containers, snapshots on
 * "overlayfs" snapshotter` as upstream. */
bool namespaces_delete(MetaDb *db, const Ctx *ctx, const char *name, GError **error);
/* A label of a namespace, NULL where there is none (no error): containerd.io/defaults/snapshotter and the
 * like. */
char *namespaces_label(MetaDb *db, const char *ns, const char *key);
