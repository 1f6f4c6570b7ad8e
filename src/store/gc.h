// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Garbage collection: mark from roots (labels containerd.io/gc.root, images, containers, unexpired leases,
 * running ingests) along references (gc.ref.*, gc.bref.*, gc.cond.*), sweep the rest from the database in one
 * transaction, then free blobs and snapshots outside it. Upstream core/metadata/gc.go,
 * plugins/gc/scheduler.go. Thread-safe. How it runs beside writers: gc.c.
 */

#include "loop/metrics.h"
#include "store/content.h"
#include "store/meta.h"
#include "store/snapshots.h"

typedef struct Gc Gc;
typedef struct {
	double pause_threshold;     // 0.02: share of time that may go to collections; at most 0.5
	int64_t deletion_threshold; // 0
	int64_t mutation_threshold; // 100
	int64_t schedule_delay_ns;  // 0
	int64_t startup_delay_ns;   // 100 ms; 0: no collection before one is asked for
} GcOptions;

/* content: the namespaced store's backend. snapshotters: name -> Snapshotter*; both stay valid until gc_free.
 */
Gc *gc_new(MetaDb *db, ContentStore *content_backend, GHashTable *snapshotters, const GcOptions *options);
/* Collect now and wait until it is done: for deletes with `sync`. `gc failed` where it failed. */
bool gc_run(Gc *gc, const Ctx *ctx, GError **error);
/* What the last collection did. */
typedef struct {
	int64_t duration_ns; // of the part that concerns the database
	unsigned n_content, n_snapshots, n_images, n_leases, n_ingests, n_mounts;
	unsigned n_blobs;       // files that went
	unsigned n_collections; // so far
} GcStats;
void gc_last(Gc *gc, GcStats *ret);
/* Other thresholds and delays from now on; the start-up delay only where the first collection is still due.
 */
void gc_set_options(Gc *gc, const GcOptions *options);
/* Since the start; times are those of GcStats.duration_ns. */
typedef struct {
	MetricCounter succeeded, failed;
	MetricTimer times;
} GcMetrics;
const GcMetrics *gc_metrics(const Gc *gc);
/* Ends a collection that runs; NULL is fine. */
void gc_free(Gc *gc);

/* Unmounts what no row of the mount manager (store/mounts.h) names; runs on the collector's thread after rows
 * went. NULL: nobody; returns when a call that runs is over. */
void gc_set_mounts_cleaner(Gc *gc, bool (*fn)(void *data, GError **error), void *data);

/* ---- further kinds of resources: streams ---- */

/* What a resource can be kept by. */
typedef enum {
	GC_CONTENT = 1,
	GC_SNAPSHOT, // key: "snapshotter/key"
	GC_CONTAINER,
	GC_TASK,
	GC_IMAGE,
	GC_LEASE,
	GC_INGEST,
	GC_MOUNT = 9,
	GC_COLLECTED = 16, // the first kind that gc_add_collector made, and so on
} GcKind;

typedef void (*GcEmitFn)(void *sink, const char *ns, const char *key);
/* parent keeps key, as a back reference does. */
typedef void (*GcBackRefFn)(void *sink, GcKind parent_kind, const char *ns, const char *parent,
                            const char *key);

/*
 * Upstream's Collector and CollectionContext. Such resources cannot refer to others. A collection calls start
 * first, then all, active and leased as often as it likes, then remove for each that nothing keeps and
 * finish; or cancel. The functions are quick (work that takes time belongs to finish), and must give the same
 * answers throughout one collection.
 */
typedef struct {
	const char *label;          // "stream": others refer to it by containerd.io/gc.ref.stream
	void *(*start)(void *data); // NULL: not this time
	void (*all)(void *run, GcEmitFn emit, void *sink);
	void (*active)(void *run, const char *ns, GcEmitFn emit, GcBackRefFn bref, void *sink);
	void (*leased)(void *run, const char *ns, const char *lease, GcEmitFn emit, void *sink);
	void (*remove)(void *run, const char *ns, const char *key);
	void (*cancel)(void *run);
	void (*finish)(void *run);
} GcCollector;
/* collector stays valid until gc_free. */
void gc_add_collector(Gc *gc, const GcCollector *collector, void *data);
