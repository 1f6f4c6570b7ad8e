// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Between gc.c (a collection) and gc-scheduler.c (when). */

#include "store/gc-graph.h"

typedef struct {
	MetaDb *db;
	ContentStore *content;
	GHashTable *snapshotters;
	GArray *runs; // of GcRun: one for each collector
	bool (*clean_mounts)(void *data, GError **error);
	void *mounts;
	bool scanned; // the backends were searched once for what no row names
} GcCollection;

/* One collection. The part of ret that counts is filled in. */
bool gc_collect(GcCollection *c, GcStats *ret, GError **error);

/*
 * When the next collection is due, apart from clocks and threads so that it can be tested. All times are
 * time_mono().
 * Upstream's rules: a trigger or enough deletions start one (after schedule_delay); a deletion, or enough
 * mutations, wait until the average collection so far has earned its pause (average / pause_threshold since
 * the last one).
 */
typedef struct {
	GcOptions options;
	int64_t start; // of the scheduler
	bool ran;      // there was a collection
	int64_t last, interval;
	int64_t time_sum; // of all collections
	unsigned n_collections;
	// since the last one began
	bool triggered;
	int64_t trigger_at; // when the one that is asked for may begin
	int64_t deletions, mutations;
} GcSchedule;
void gc_schedule_set_options(GcSchedule *s, const GcOptions *options);
void gc_schedule_init(GcSchedule *s, const GcOptions *options, int64_t now);
void gc_schedule_mutation(GcSchedule *s, bool deletion, int64_t now);
void gc_schedule_trigger(GcSchedule *s, int64_t now);
/* A collection begins: what comes from now on counts for the one after it. */
void gc_schedule_begin(GcSchedule *s);
void gc_schedule_done(GcSchedule *s, bool ok, int64_t took, int64_t now);
/* 0: nothing to wait for but events. */
int64_t gc_schedule_due(const GcSchedule *s);
