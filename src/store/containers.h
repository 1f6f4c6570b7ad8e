// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Containers' metadata (upstream core/containers, core/metadata/containers.go). Events are emitted by the
 * store. Thread-safe, block. */

#include "base/time.h"
#include "base/util.h"
#include "store/meta.h"

typedef struct {
	char *id;
	GHashTable *labels; // strmap
	char *image;
	char *runtime_name;
	Any runtime_options;
	Any spec;
	char *snapshotter, *snapshot_key;
	TimeNs created_at, updated_at;
	GHashTable *extensions; // char* -> Any* (owned)
	char *sandbox_id;
} Container;
Container *container_new(void);
Container *container_copy(const Container *c);
void container_free(Container *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Container, container_free)

Container *containers_get(MetaDb *db, const Ctx *ctx, const char *id, GError **error);
GPtrArray *containers_list(MetaDb *db, const Ctx *ctx, const char *const *filters,
                           GError **error); // of Container*
Container *containers_create(MetaDb *db, const Ctx *ctx, const Container *c, GError **error);
Container *containers_update(MetaDb *db, const Ctx *ctx, const Container *c, const char *const *paths,
                             GError **error);
bool containers_delete(MetaDb *db, const Ctx *ctx, const char *id, GError **error);
