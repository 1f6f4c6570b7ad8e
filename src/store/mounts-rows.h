// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The rows of the mount manager; between mounts.c and the database. */

#include "store/mounts.h"

/* Takes the name: a new row that is not active yet. A row that nobody finished (the caller holds the name, so
 * its activation is over) is replaced. */
bool mount_row_begin(MetaDb *db, const Ctx *ctx, const char *name, GHashTable *labels, int64_t *ret_id,
                     GError **error);
/* All is mounted. */
bool mount_row_complete(MetaDb *db, int64_t id, const Activation *a, GError **error);
/* Rolls back mount_row_begin. left: something is still mounted, the collector shall look. */
bool mount_row_drop(MetaDb *db, int64_t id, bool left, GError **error);
/* The row of an activation with what it did; NOT_FOUND `mount "x" not found`. */
Activation *mount_row_get(MetaDb *db, const Ctx *ctx, const char *name, int64_t *ret_id, GError **error);
Activation *mount_row_update(MetaDb *db, const Ctx *ctx, const Activation *input, const char *const *paths,
                             GError **error);
GPtrArray *mount_rows_list(MetaDb *db, const Ctx *ctx, const char *const *filters, GError **error);

/* At start-up: deletes the rows that nobody finished, and gives those of every namespace that are active
 * (Activation*), with their ids (int64_t) in the same order. */
GPtrArray *mount_rows_recover(MetaDb *db, GArray *ret_ids, GError **error);
/* The ids that have a row: a set of int64_t*. */
GHashTable *mount_rows_ids(MetaDb *db, GError **error);
