// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What refers to what in the metadata, as the garbage collector sees it. One thread. */

#include "store/gc.h"

/* A collector's run during one collection. */
typedef struct {
	const GcCollector *collector;
	void *data; // for start
	void *run;
} GcRun;

typedef struct GcNode GcNode;
typedef struct {
	GcNode *to;
	bool structural; // parent or target: followed by flat leases too
} GcEdge;

struct GcNode {
	GcKind kind;
	const char *ns, *key;
	int64_t id;       // of its row; 0: somebody refers to it, but it is not there
	bool exists;      // a row, or a collector's
	const char *name; // GC_INGEST: its ref in the backend
	GArray *edges;    // of GcEdge
	uint8_t marked;   // GC_FLAT, GC_FULL
	uint8_t root;
};
enum { GC_FLAT = 1, GC_FULL = 2 };

typedef struct GcGraph GcGraph;
/* Everything as tx sees it; runs is a GArray of GcRun, or NULL. */
GcGraph *gc_graph_load(MetaTx *tx, GArray *runs, TimeNs now, GError **error);
void gc_graph_free(GcGraph *graph);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GcGraph, gc_graph_free)

void gc_graph_mark(GcGraph *graph);
/* All nodes, in no order. GPtrArray of GcNode*; of the graph. */
GPtrArray *gc_graph_nodes(GcGraph *graph);
GcNode *gc_graph_find(GcGraph *graph, GcKind kind, const char *ns, const char *key);

/* After marking: may it go? Containers never do. */
bool gc_node_is_garbage(const GcNode *node);
