// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The metadata database: SQLite in WAL mode, synchronous=FULL. Tables: schema.c.
 *
 * Writes: meta_update queues a function; one writer thread runs those that wait, each in a savepoint of its
 * own, commits them together (one fsync for all) and wakes the callers. A function that fails is rolled back
 * alone; where the commit fails (disk full) all that were in it fail. No lock is held over the fsync.
 * Functions are short, do no I/O of their own and never call meta_update again. Reads: meta_view runs on the
 * caller's thread with a read connection of a small pool, on a snapshot; it never waits for the writer. The
 * writer thread ends when it has had nothing to do for a while. All functions are thread-safe.
 *
 * Upstream's rules of core/metadata hold: names, sentinel texts, lease resources, gc labels.
 */

#include "base/time.h"
#include "base/util.h"
#include "loop/ctx.h"
#include "loop/metrics.h"
#include "store/events.h"
#include <glib.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct MetaDb MetaDb;
typedef struct MetaTx MetaTx;

typedef struct {
	bool no_sync;            // synchronous=OFF
	bool isolated;           // content_sharing_policy = "isolated"
	StoreEventSink sink;     // may be empty
	int64_t open_timeout_ns; // how long to wait for another daemon to let go of it; 0: for ever
} MetaOptions;

/* Opens or creates PATH (meta.sqlite beside where upstream's meta.db would be), migrates the schema. A schema
 * newer than ours is refused: FAILED_PRECONDITION. A damaged file is refused with what to do in the text,
 * never deleted. Upstream's meta.db in the same directory is reported in the log and never touched. */
MetaDb *meta_open(const char *path, const MetaOptions *options, GError **error);
/* How long the batches of the writer took, with their fsync. */
const MetricTimer *meta_commit_times(const MetaDb *db);
/* Nobody may be in a call; NULL is fine. */
void meta_close(MetaDb *db);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MetaDb, meta_close)
const MetaOptions *meta_options(MetaDb *db);
/* Upstream's metadata was there when the database was opened. Then files and directories that no row of ours
 * names may be upstream's, and are not to be deleted. */
bool meta_has_upstream(MetaDb *db);

typedef bool (*MetaFn)(MetaTx *tx, void *data, GError **error);
bool meta_update(MetaDb *db, MetaFn fn, void *data, GError **error);
/* The same without waiting for the disk where ctx->lazy is set. The change is visible to everybody at once,
 * and durable with the next update that is not lazy, or with meta_flush: what is lost in a power cut are the
 * last changes, never one before another. For changes that leave something to be collected at worst. */
bool meta_update_for(MetaDb *db, const Ctx *ctx, MetaFn fn, void *data, GError **error);
/* All lazy changes so far are durable. */
bool meta_flush(MetaDb *db, GError **error);
bool meta_view(MetaDb *db, MetaFn fn, void *data, GError **error);
sqlite3 *meta_tx_sqlite(MetaTx *tx);
MetaDb *meta_tx_db(MetaTx *tx);
/* A statement cached on the transaction's connection, reset and without bindings. Borrowed. A statement is
 * one: asking for the same text again inside a loop over its rows would start it anew. */
sqlite3_stmt *meta_tx_prepare(MetaTx *tx, const char *sql, GError **error);
/* Step helpers: error text `metadata: <sqlite text>`, class UNKNOWN (SQLITE_FULL, IOERR: as errno texts; a
 * damaged file: DATA_LOSS). */
bool meta_exec(MetaTx *tx, sqlite3_stmt *stmt, GError **error);
bool meta_step(MetaTx *tx, sqlite3_stmt *stmt, bool *ret_row, GError **error);

/* Prepare and bind. types has a letter for each argument: s text (const char *, NULL is SQL's NULL),
 * i int64_t, b GBytes * (may be NULL), a const Any * (two columns: type and value). What is bound is borrowed
 * until the statement is asked for again or the transaction ends. */
sqlite3_stmt *meta_query(MetaTx *tx, GError **error, const char *sql, const char *types, ...);
/* meta_query and run to its end. */
bool meta_run(MetaTx *tx, GError **error, const char *sql, const char *types, ...);
/* The first column of the first row as a number; *ret is untouched and *ret_found false where there is none.
 */
bool meta_query_int(MetaTx *tx, bool *ret_found, int64_t *ret, GError **error, const char *sql,
                    const char *types, ...);
/* Rows the last meta_run changed; the id its INSERT gave. */
int64_t meta_tx_changes(MetaTx *tx);
int64_t meta_tx_last_id(MetaTx *tx);

char *meta_column_dup(sqlite3_stmt *stmt, int column);               // NULL for SQL's NULL
const char *meta_column_text(sqlite3_stmt *stmt, int column);        // "" for NULL; until the next step
void meta_column_any(sqlite3_stmt *stmt, int type_column, Any *ret); // and the column after it

/* Whose maps: the numbers stand in the tables. */
typedef enum {
	META_NAMESPACE = 1,
	META_IMAGE = 2,
	META_CONTAINER = 3,
	META_SANDBOX = 4,
	META_LEASE = 5,
	META_BLOB = 6,
	META_SNAPSHOT = 7,
	META_IMAGE_ANNOTATIONS = 8,
	META_MOUNT = 9,
} MetaKind;
/* Labels are strmaps (base/util.h), stored per object by its row's id. Deleting the object's row deletes its
 * labels. */
GHashTable *meta_labels_read(MetaTx *tx, MetaKind kind, int64_t id, GError **error);
/* Replaces all. An empty value is no label: it is not stored and taken out of the map, as upstream does. */
bool meta_labels_write(MetaTx *tx, MetaKind kind, int64_t id, GHashTable *labels, GError **error);
/* Extensions: char* -> Any* (owned). write replaces all. */
GHashTable *extensions_new(void);
GHashTable *extensions_copy(GHashTable *map); // NULL copies as an empty map
/* `extensions.<name>` of a field mask: taken over from the other map, or removed where that does not have it.
 */
bool extensions_apply(const char *path, GHashTable *map, GHashTable *from);
GHashTable *meta_extensions_read(MetaTx *tx, MetaKind kind, int64_t id, GError **error);
bool meta_extensions_write(MetaTx *tx, MetaKind kind, int64_t id, GHashTable *extensions, GError **error);

/* ctx->ns where it is valid, else NULL and `namespace is required: failed precondition` or `namespace
 * validation: identifier ...: invalid argument`. */
const char *meta_namespace(const Ctx *ctx, GError **error);

/* Tells the sink; after the change is committed, never inside a transaction. */
void meta_emit(MetaDb *db, const StoreEvent *event);

/* Counts for the gc scheduler: called on the caller's thread after every committed meta_update; deletion:
 * something was deleted since the last collection. One function; it must not block. */
typedef void (*MetaMutationFn)(bool deletion, void *data);
void meta_on_mutation(MetaDb *db, MetaMutationFn fn, void *data);
/* Inside meta_update: references went away, a collection may find something. what: what it has to look at
 * outside the database: "content:<digest>", "ingest:<backend ref>", "snapshots:<snapshotter>", "mounts", or
 * NULL. Counts when the transaction has committed. */
void meta_tx_dirty(MetaTx *tx, const char *what);

/* Field masks as upstream: "labels", "labels.<key>", ... */
bool fieldpaths_has(const char *const *paths, const char *path);
static inline bool fieldpaths_empty(const char *const *paths)
{
	return paths == NULL || paths[0] == NULL;
}
/* `map.key` of a field mask: sets map[key] = from[key] (missing: "") where path has the prefix `map.`. */
bool fieldpath_apply(const char *path, const char *prefix, GHashTable *map, GHashTable *from);
