// SPDX-License-Identifier: Apache-2.0

/*
 * The tables of the metadata database.
 *
 *   namespace ── image, container, sandbox, lease ── lease_resource, blob, ingest, snapshot    by name (ns)
 *   namespace ── mount ── mount_part
 *   label     ── every object's labels;  extension ── containers' and sandboxes' extensions    by (kind,
 * object)
 *
 * How it is thought:
 *  - An object is one row: what it is called (ns + name), its fields, an integer id. Maps (labels,
 *    annotations, extensions) are rows of a table that is shared by all kinds, clustered by (kind, object),
 *    so that an object's map is one range on one page. Triggers take them away with their object, whoever
 *    deletes it; another trigger makes a namespace at its first object, as upstream's buckets do.
 *  - Objects name each other as upstream's do, with no foreign key: a label may refer to what does not exist
 *    yet, a container may outlive its image. What keeps what alive is the garbage collector's business
 *    (gc.c). Foreign keys stand where a row cannot be without the other: a lease's resources, a snapshot's
 *    parent.
 *  - snapshot.id is also the number of the snapshot's directory. AUTOINCREMENT: a number is never used again,
 *    so a directory that a crash left behind can not become another snapshot's. For the same reason ingest.id
 *    is in the ingest's name in the backend.
 *  - Times are nanoseconds since the epoch, UTC. An Any is two columns: its type URL (NULL: not set) and
 *    its value.
 *
 * The tables are for people with the sqlite3 shell too: names instead of numbers, no packed columns.
 *
 * A change is a new entry at the end of `migrations`; entries that were released never change.
 */

#include "store/schema.h"
#include "base/error.h"

/* "CTRD": what file(1) and we know the database by. */
#define APPLICATION_ID 0x43545244

/* An object of another table makes its namespace, and takes its maps with it. */
#define OBJECT_TRIGGERS(table, kinds)                                                                        \
	"CREATE TRIGGER " table "_namespace BEFORE INSERT ON " table                                         \
	" WHEN NOT EXISTS (SELECT 1 FROM namespace WHERE name = NEW.ns)"                                     \
	" BEGIN INSERT INTO namespace(name) VALUES (NEW.ns); END;"                                           \
	"CREATE TRIGGER " table "_maps AFTER DELETE ON " table                                               \
	" BEGIN DELETE FROM label WHERE kind IN (" kinds ") AND object = OLD.id; END;"

/* The kinds are MetaKind of meta.h: 1 namespace, 2 image, 3 container, 4 sandbox, 5 lease, 6 blob,
 * 7 snapshot, 8 annotations of an image's target, 9 mount. One line of SQL is one string: clang-format would
 * join them. */
// clang-format off
static const char schema_1[] =
	"CREATE TABLE namespace("
	" id INTEGER PRIMARY KEY,"
	" name TEXT NOT NULL UNIQUE"
	") STRICT;"

	"CREATE TABLE label("
	" kind INTEGER NOT NULL,"
	" object INTEGER NOT NULL,"
	" key TEXT NOT NULL,"
	" value TEXT NOT NULL,"
	" PRIMARY KEY (kind, object, key)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TRIGGER namespace_maps AFTER DELETE ON namespace"
	" BEGIN DELETE FROM label WHERE kind = 1 AND object = OLD.id; END;"

	"CREATE TABLE extension("
	" kind INTEGER NOT NULL,"
	" object INTEGER NOT NULL,"
	" name TEXT NOT NULL,"
	" type TEXT NOT NULL,"
	" value BLOB,"
	" PRIMARY KEY (kind, object, name)"
	") STRICT, WITHOUT ROWID;"

	"CREATE TABLE image("
	" id INTEGER PRIMARY KEY,"
	" ns TEXT NOT NULL,"
	" name TEXT NOT NULL,"
	" digest TEXT NOT NULL," // the target
	" media_type TEXT NOT NULL,"
	" size INTEGER NOT NULL,"
	" created INTEGER NOT NULL,"
	" updated INTEGER NOT NULL,"
	" UNIQUE (ns, name)"
	") STRICT;"
	OBJECT_TRIGGERS("image", "2, 8")

	"CREATE TABLE container("
	" id INTEGER PRIMARY KEY,"
	" ns TEXT NOT NULL,"
	" name TEXT NOT NULL," // what callers call its id
	" image TEXT NOT NULL,"
	" runtime TEXT NOT NULL,"
	" options_type TEXT,"
	" options BLOB,"
	" spec_type TEXT,"
	" spec BLOB,"
	" snapshotter TEXT NOT NULL,"
	" snapshot_key TEXT NOT NULL,"
	" sandbox TEXT NOT NULL,"
	" created INTEGER NOT NULL,"
	" updated INTEGER NOT NULL,"
	" UNIQUE (ns, name)"
	") STRICT;"
	OBJECT_TRIGGERS("container", "3")
	"CREATE TRIGGER container_extensions AFTER DELETE ON container"
	" BEGIN DELETE FROM extension WHERE kind = 3 AND object = OLD.id; END;"

	"CREATE TABLE sandbox("
	" id INTEGER PRIMARY KEY,"
	" ns TEXT NOT NULL,"
	" name TEXT NOT NULL,"
	" runtime TEXT NOT NULL,"
	" options_type TEXT,"
	" options BLOB,"
	" spec_type TEXT,"
	" spec BLOB,"
	" sandboxer TEXT NOT NULL,"
	" created INTEGER NOT NULL,"
	" updated INTEGER NOT NULL,"
	" UNIQUE (ns, name)"
	") STRICT;"
	OBJECT_TRIGGERS("sandbox", "4")
	"CREATE TRIGGER sandbox_extensions AFTER DELETE ON sandbox"
	" BEGIN DELETE FROM extension WHERE kind = 4 AND object = OLD.id; END;"

	"CREATE TABLE lease("
	" id INTEGER PRIMARY KEY,"
	" ns TEXT NOT NULL,"
	" name TEXT NOT NULL,"
	" created INTEGER NOT NULL,"
	" UNIQUE (ns, name)"
	") STRICT;"
	OBJECT_TRIGGERS("lease", "5")

	"CREATE TABLE lease_resource("
	" lease INTEGER NOT NULL REFERENCES lease(id) ON DELETE CASCADE,"
	" type TEXT NOT NULL," // content, images, ingests, snapshots/<snapshotter>
	" key TEXT NOT NULL,"
	" PRIMARY KEY (lease, type, key)"
	") STRICT, WITHOUT ROWID;"

	// a blob as one namespace sees it; the file is shared by all
	"CREATE TABLE blob("
	" id INTEGER PRIMARY KEY,"
	" ns TEXT NOT NULL,"
	" digest TEXT NOT NULL,"
	" size INTEGER NOT NULL,"
	" created INTEGER NOT NULL,"
	" updated INTEGER NOT NULL,"
	" UNIQUE (ns, digest)"
	") STRICT;"
	"CREATE INDEX blob_digest ON blob(digest);"
	OBJECT_TRIGGERS("blob", "6")

	"CREATE TABLE ingest("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" ns TEXT NOT NULL,"
	" ref TEXT NOT NULL,"
	" backend_ref TEXT," // ns/id/ref; NULL only while the row is being made
	" expires INTEGER," // NULL: a lease holds it
	" expected TEXT," // digest, where the content is there already, of another namespace
	" UNIQUE (ns, ref)"
	") STRICT;"
	"CREATE INDEX ingest_expected ON ingest(expected) WHERE expected IS NOT NULL;"
	"CREATE TRIGGER ingest_namespace BEFORE INSERT ON ingest"
	" WHEN NOT EXISTS (SELECT 1 FROM namespace WHERE name = NEW.ns)"
	" BEGIN INSERT INTO namespace(name) VALUES (NEW.ns); END;"

	"CREATE TABLE snapshot("
	" id INTEGER PRIMARY KEY AUTOINCREMENT," // the directory snapshots/<id> of local snapshotters
	" snapshotter TEXT NOT NULL,"
	" ns TEXT NOT NULL,"
	" key TEXT NOT NULL,"
	" parent INTEGER REFERENCES snapshot(id)," // of the same snapshotter and namespace
	" kind INTEGER NOT NULL," // SnapshotKind: 1 view, 2 active, 3 committed
	" created INTEGER NOT NULL,"
	" updated INTEGER NOT NULL,"
	" size INTEGER NOT NULL DEFAULT 0," // of a committed one
	" inodes INTEGER NOT NULL DEFAULT 0,"
	" backend_key TEXT," // its name in a remote snapshotter, ns/id/key
	" UNIQUE (snapshotter, ns, key)"
	") STRICT;"
	"CREATE INDEX snapshot_parent ON snapshot(parent) WHERE parent IS NOT NULL;"
	OBJECT_TRIGGERS("snapshot", "7");

/* What the mount manager has activated. No trigger makes the namespace: upstream keeps its mounts in another
 * database, and a namespace is not there because something is mounted in it. */
static const char schema_2[] =
	"CREATE TABLE mount("
	" id INTEGER PRIMARY KEY AUTOINCREMENT," // the directory t/<id> of the manager
	" ns TEXT NOT NULL,"
	" name TEXT NOT NULL,"
	" lease TEXT," // the name of the lease that keeps it; need not exist
	" active INTEGER NOT NULL DEFAULT 0," // 1: all is mounted; 0: somebody is at it, or was killed at it
	" created INTEGER NOT NULL,"
	" updated INTEGER NOT NULL,"
	" UNIQUE (ns, name)"
	") STRICT;"
	"CREATE TRIGGER mount_maps AFTER DELETE ON mount"
	" BEGIN DELETE FROM label WHERE kind = 9 AND object = OLD.id; END;"

	"CREATE TABLE mount_part("
	" mount INTEGER NOT NULL REFERENCES mount(id) ON DELETE CASCADE,"
	" system INTEGER NOT NULL," // 0: done by the manager, 1: left for the caller
	" position INTEGER NOT NULL,"
	" type TEXT NOT NULL,"
	" source TEXT NOT NULL,"
	" target TEXT NOT NULL,"
	" options TEXT NOT NULL," // JSON, an array of strings
	" mounted INTEGER," // when; NULL: by the caller
	" point TEXT," // where
	" data TEXT," // JSON, what the handler wants known: an object of strings
	" PRIMARY KEY (mount, system, position)"
	") STRICT, WITHOUT ROWID;";
// clang-format on

static const char *const migrations[] = {
        schema_1,
        schema_2,
};

CtrdErrorCode schema_error_class(int rc)
{
	rc &= 0xff;
	return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB ? CTRD_ERR_DATA_LOSS : CTRD_ERR_UNKNOWN;
}

int schema_version(void)
{
	return G_N_ELEMENTS(migrations);
}

static bool pragma_int(sqlite3 *db, const char *path, const char *sql, int *ret, GError **error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
	if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
		*ret = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	if (rc != SQLITE_ROW)
		return error_set(error, schema_error_class(rc), "metadata database %s: %s", Q(path),
		                 sqlite3_errmsg(db));
	return true;
}

static bool exec(sqlite3 *db, const char *path, const char *sql, GError **error)
{
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK || error_set(error, schema_error_class(rc), "metadata database %s: %s",
	                                    Q(path), sqlite3_errmsg(db));
}

static bool migrate_locked(sqlite3 *db, const char *path, int target, GError **error)
{
	int version = 0, application = 0;
	if (!pragma_int(db, path, "PRAGMA user_version", &version, error) ||
	    !pragma_int(db, path, "PRAGMA application_id", &application, error))
		return false;
	if (version != 0 && application != APPLICATION_ID)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "metadata database %s belongs to another program", Q(path));
	if (version > schema_version())
		return error_set_class(
		        error, CTRD_ERR_FAILED_PRECONDITION,
		        "metadata database %s has schema %d, the newest this containerd knows is %d", Q(path),
		        version, schema_version());
	for (int i = version; i < target; i++) {
		if (!exec(db, path, migrations[i], error))
			return error_prefix(error, "migrate to schema %d", i + 1);
	}
	if (version >= target)
		return true;
	g_autofree char *sql = g_strdup_printf("PRAGMA application_id = %d; PRAGMA user_version = %d",
	                                       APPLICATION_ID, target);
	return exec(db, path, sql, error);
}

bool schema_migrate_to(sqlite3 *db, const char *path, int version, GError **error)
{
	g_assert(version <= schema_version());
	if (!exec(db, path, "BEGIN IMMEDIATE", error))
		return false;
	if (!migrate_locked(db, path, version, error) || !exec(db, path, "COMMIT", error)) {
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
		return false;
	}
	return true;
}

bool schema_migrate(sqlite3 *db, const char *path, GError **error)
{
	return schema_migrate_to(db, path, schema_version(), error);
}
