// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the garbage collector and the content store need of the metadata database beyond meta.h. */

#include "store/meta.h"

/*
 * Digest pins: they order what happens to one blob in the database against what happens to its file.
 *
 * A row for a blob is made only under a pin of its digest, held from before the file is looked at until the
 * row is committed. The collector deletes a file only while it holds the digest alone, after seeing that no
 * row names it. So a file never goes while somebody is about to refer to it, with no lock over either's I/O
 * but the digest's own.
 */
void meta_pin(MetaDb *db, const char *digest); // waits while the collector holds this digest
void meta_unpin(MetaDb *db, const char *digest);
/* false: it is pinned; leave it for the next collection. */
bool meta_pin_try_exclusive(MetaDb *db, const char *digest);
void meta_unpin_exclusive(MetaDb *db, const char *digest);

typedef struct {
	MetaDb *db;
	const char *digest;
} MetaPin;
static inline void meta_pin_release_(MetaPin *pin)
{
	if (pin->digest != NULL)
		meta_unpin(pin->db, pin->digest);
}
/* A pin until the end of the scope; digest must outlive it. */
#define META_PIN_SCOPE(db, digest)                                                                           \
	__attribute__((cleanup(meta_pin_release_), unused)) MetaPin LOCK_CONCAT_(meta_pin_, __LINE__) =      \
	        (meta_pin(db, digest), (MetaPin){db, digest})

/* What meta_tx_dirty named since the last call, a set of char*; the count of deletions starts anew. Owned by
 * the caller. */
GHashTable *meta_take_dirty(MetaDb *db);
/* Puts one back: it could not be done this time. */
void meta_put_dirty(MetaDb *db, const char *what);

/* A number that grows with every row changed through meta_update. Read before a view begins, it is never
 * ahead of what the view sees; equal inside meta_update, nothing was written since. */
int64_t meta_generation(MetaDb *db);
int64_t meta_tx_generation(MetaTx *tx);

/* For tests: sizes, limits, what the checkpointer did. */
typedef struct {
	unsigned n_commits, n_updates, n_checkpoints, n_readers;
	int wal_frames;
} MetaStats;
void meta_stats(MetaDb *db, MetaStats *ret);
