// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The metadata database's tables and how older ones become them; the design is told in schema.c. */

#include "base/error.h"
#include <glib.h>
#include <sqlite3.h>
#include <stdbool.h>

/* Number of the newest schema. */
int schema_version(void);

/* Brings an open database to the newest schema, in one transaction. A newer one than ours is refused with
 * FAILED_PRECONDITION, a database of another program with INVALID_ARGUMENT. path is for the texts. */
bool schema_migrate(sqlite3 *db, const char *path, GError **error);
/* The same up to an older version; for tests of the migrations. */
bool schema_migrate_to(sqlite3 *db, const char *path, int version, GError **error);

/* DATA_LOSS where SQLite's result says that the file is damaged, else UNKNOWN. */
CtrdErrorCode schema_error_class(int rc);
