// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Sandboxes' metadata (upstream core/sandbox/store.go, core/metadata/sandbox.go). Thread-safe, block. */

#include "base/time.h"
#include "base/util.h"
#include "store/meta.h"

typedef struct {
	char *id;
	char *runtime_name;
	Any runtime_options;
	Any spec;
	char *sandboxer;
	GHashTable *labels;     // strmap
	GHashTable *extensions; // char* -> Any*
	TimeNs created_at, updated_at;
} Sandbox;
Sandbox *sandbox_new(void);
void sandbox_free(Sandbox *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Sandbox, sandbox_free)

Sandbox *sandboxes_create(MetaDb *db, const Ctx *ctx, const Sandbox *s, GError **error);
Sandbox *sandboxes_update(MetaDb *db, const Ctx *ctx, const Sandbox *s, const char *const *paths,
                          GError **error);
Sandbox *sandboxes_get(MetaDb *db, const Ctx *ctx, const char *id, GError **error);
GPtrArray *sandboxes_list(MetaDb *db, const Ctx *ctx, const char *const *filters, GError **error);
bool sandboxes_delete(MetaDb *db, const Ctx *ctx, const char *id, GError **error);
