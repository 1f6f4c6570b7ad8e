// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Garbage collection: mark from roots (labels containerd.io/gc.root, images, containers, unexpired leases,
 * running ingests) along references (gc.ref.*, gc.bref.*), sweep the rest from the database in one
 * transaction, then free blobs and snapshots outside it. Upstream core/metadata/gc.go,
 * plugins/gc/scheduler.go. Thread-safe.
 */

#include "store/content.h"
#include "store/meta.h"
#include "store/snapshots.h"

typedef struct Gc Gc;
typedef struct {
	double pause_threshold;     // 0.02: share of time that may go to collections
	int64_t deletion_threshold; // 0
	int64_t mutation_threshold; // 100
	int64_t schedule_delay_ns;  // 0
	int64_t startup_delay_ns;   // 100 ms
} GcOptions;

/* Further kinds of resources join the mark (streams, mounts): see gc_add_collector in gc.c's header part. */
/* content: the namespaced store's backend. snapshotters: name -> Snapshotter*; both stay valid until gc_free.
 */
Gc *gc_new(MetaDb *db, ContentStore *content_backend, GHashTable *snapshotters, const GcOptions *options);
/* Collect now and wait until it is done: for deletes with `sync`. */
bool gc_run(Gc *gc, const Ctx *ctx, GError **error);
/* What the last collection did. */
typedef struct {
	int64_t duration_ns;
	unsigned n_content, n_snapshots, n_images, n_leases, n_ingests;
} GcStats;
void gc_last(Gc *gc, GcStats *ret);
void gc_free(Gc *gc);
