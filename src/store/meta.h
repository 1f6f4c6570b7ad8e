// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The metadata database: SQLite in WAL mode, synchronous=FULL.
 *
 * Writes: meta_update queues a function; one writer thread runs those that wait, each in a savepoint of its
 * own, commits them together (one fsync for all) and wakes the callers. A function that fails is rolled back
 * alone. No lock is held over the fsync. Functions are short, do no I/O of their own and never call
 * meta_update again. Reads: meta_view runs on the caller's thread with a read connection of a small pool, on
 * a snapshot; it never waits for the writer. All functions are thread-safe.
 *
 * Upstream's rules of core/metadata hold: names, sentinel texts, lease resources, gc labels.
 */

#include "base/util.h"
#include "loop/ctx.h"
#include "store/events.h"
#include <glib.h>
#include <sqlite3.h>
#include <stdbool.h>

typedef struct MetaDb MetaDb;
typedef struct MetaTx MetaTx;

typedef struct {
	bool no_sync;        // synchronous=OFF
	bool isolated;       // content_sharing_policy = "isolated"
	StoreEventSink sink; // may be empty
} MetaOptions;

/* Opens or creates PATH (meta.sqlite beside where upstream's meta.db would be), migrates the schema. A schema
 * newer than ours is refused: FAILED_PRECONDITION. A damaged file is refused with what to do in the text,
 * never deleted. */
MetaDb *meta_open(const char *path, const MetaOptions *options, GError **error);
void meta_close(MetaDb *db);

typedef bool (*MetaFn)(MetaTx *tx, void *data, GError **error);
bool meta_update(MetaDb *db, MetaFn fn, void *data, GError **error);
bool meta_view(MetaDb *db, MetaFn fn, void *data, GError **error);
sqlite3 *meta_tx_sqlite(MetaTx *tx);
/* A statement cached on the transaction's connection, reset and without bindings. Borrowed. */
sqlite3_stmt *meta_tx_prepare(MetaTx *tx, const char *sql, GError **error);
/* Step helpers: error text `metadata: <sqlite text>`, class UNKNOWN (SQLITE_FULL, IOERR: as errno texts). */
bool meta_exec(MetaTx *tx, sqlite3_stmt *stmt, GError **error);
bool meta_step(MetaTx *tx, sqlite3_stmt *stmt, bool *ret_row, GError **error);

void meta_emit(MetaDb *db, const StoreEvent *event);

/* Counts for the gc scheduler: called after every change that may have made garbage. */
typedef void (*MetaMutationFn)(bool deletion, void *data);
void meta_on_mutation(MetaDb *db, MetaMutationFn fn, void *data);

/* Labels are strmaps (base/util.h), stored per object. Field masks as upstream: "labels", "labels.<key>", ...
 */
bool fieldpaths_has(const char *const *paths, const char *path);
