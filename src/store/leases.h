// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Leases: what the garbage collector must keep for a while (upstream core/leases, core/metadata/leases.go).
 * Thread-safe, block. */

#include "base/time.h"
#include "store/meta.h"

typedef struct {
	char *id;
	TimeNs created_at;
	GHashTable *labels; // strmap; containerd.io/gc.expire is RFC 3339
} Lease;
void lease_free(Lease *l);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Lease, lease_free)

typedef struct {
	char *id;   // digest, snapshot key, image name, ingest ref
	char *type; // "content", "snapshots/<snapshotter>", "ingests", "images"...
} LeaseResource;
void lease_resource_free(LeaseResource *r);

Lease *leases_create(MetaDb *db, const Ctx *ctx, const char *id, GHashTable *labels, GError **error);
bool leases_delete(MetaDb *db, const Ctx *ctx, const char *id,
                   GError **error); // sync is the service's: gc_run
GPtrArray *leases_list(MetaDb *db, const Ctx *ctx, const char *const *filters, GError **error); // of Lease*
bool leases_add_resource(MetaDb *db, const Ctx *ctx, const char *lease, const LeaseResource *r,
                         GError **error);
bool leases_delete_resource(MetaDb *db, const Ctx *ctx, const char *lease, const LeaseResource *r,
                            GError **error);
GPtrArray *leases_list_resources(MetaDb *db, const Ctx *ctx, const char *lease, GError **error);

/* For use inside meta_update: put a resource under the context's lease; no lease is no error, a lease that
 * does not exist is NOT_FOUND as upstream's addContentLease etc. */
bool lease_add_in_tx(MetaTx *tx, const Ctx *ctx, const char *type, const char *id, GError **error);
/* The reverse; what is not there is no error. */
bool lease_remove_in_tx(MetaTx *tx, const Ctx *ctx, const char *type, const char *id, GError **error);
