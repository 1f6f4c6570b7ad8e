// SPDX-License-Identifier: Apache-2.0

/*
 * Connections, the group commit and checkpoints.
 *
 * One connection writes and belongs to the writer: a pool of one thread, that runs `drain` while there is
 * something in the queue. What arrives during a commit's fsync is the next batch, so the number of commits
 * per second is what the disk gives and the number of updates is not.
 *
 * The WAL is copied back into the database (a checkpoint: two fsyncs) on another thread and connection when
 * it has grown to CHECKPOINT_FRAMES; writers go on meanwhile. A WAL is started anew only when all of it is
 * copied and nobody reads it, which under a load without pauses may never be: at CHECKPOINT_FRAMES_MAX the
 * writer itself does the little that is left, and that is the only time that callers wait for a checkpoint.
 */

#include "store/meta.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/identifiers.h"
#include "base/log.h"
#include "loop/lock.h"
#include "loop/pool.h"
#include "store/meta-private.h"
#include "store/schema.h"
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define BATCH_MAX 256              // functions in one commit: a bound for how long the first one waits
#define READERS_MAX 8              // connections; more readers wait for one
#define READERS_IDLE 4             // kept open with nothing to do
#define CHECKPOINT_FRAMES 1000     // pages of 4 KiB
#define CHECKPOINT_FRAMES_MAX 6000 // 24 MiB of WAL
#define BUSY_TIMEOUT_MS 5000       // for people with the sqlite3 shell
#define WRITER_IDLE_NS (10 * NS_PER_SEC)

/* One connection with its statements. */
typedef struct {
	sqlite3 *sqlite;
	GHashTable *statements; // their own text -> sqlite3_stmt*
	bool lazy;              // its commits do not wait for the disk
} Conn;

struct MetaTx {
	MetaDb *db;
	Conn *conn;
	bool writable;
	unsigned n_dirty; // of the function that runs
	GPtrArray *dirty; // of char*; NULL until needed
};

/* A waiting meta_update, on its caller's stack. */
typedef struct Request {
	struct Request *next;
	MetaFn fn;
	void *data;
	Cond cond;
	bool lazy, done, ok;
	unsigned n_dirty;
	GPtrArray *dirty;
	GError *error;
} Request;

struct MetaDb {
	char *path;
	MetaOptions options;
	int dirfd; // holds the lock that keeps other daemons out
	bool has_upstream;

	Conn *writer; // the drain task only
	Pool *write_pool, *checkpoint_pool;

	Lock lock;
	Request *head, **tail;
	bool draining;
	bool checkpointing;
	int64_t generation;
	MetaStats stats;
	MetricTimer commit_times;
	int wal_frames;    // the writer's; stats has it for others
	int checkpoint_at; // the writer's: how long the WAL may grow until the next one

	Lock readers_lock;
	Cond readers_cond;
	Conn *readers[READERS_MAX]; // idle ones
	unsigned n_idle, n_open, n_waiting;

	Lock gc_lock;
	unsigned n_dirty;
	GHashTable *dirty; // set of char*
	MetaMutationFn mutation;
	void *mutation_data;

	Lock pins_lock;
	Cond pins_cond;
	GHashTable *pins; // digest -> count, -1 held alone
};

/* ---- connections ---- */

static bool sqlite_error(sqlite3 *sqlite, int rc, GError **error)
{
	int errnum = sqlite3_system_errno(sqlite);
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return error_set_errno(error, ENOSPC, "metadata: write");
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		if (errnum != 0)
			return error_set_errno(error, errnum, "metadata: %s", sqlite3_errstr(rc));
		break;
	default:
		break;
	}
	return error_set(error, schema_error_class(rc), "metadata: %s", sqlite3_errmsg(sqlite));
}

static void conn_close(Conn *conn)
{
	if (conn == NULL)
		return;
	GHashTableIter iter;
	void *stmt;
	g_hash_table_iter_init(&iter, conn->statements);
	while (g_hash_table_iter_next(&iter, NULL, &stmt))
		sqlite3_finalize(stmt);
	g_hash_table_unref(conn->statements);
	if (sqlite3_close(conn->sqlite) != SQLITE_OK)
		g_assert_not_reached(); // a statement or a backup was left behind
	g_free(conn);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Conn, conn_close)

static bool conn_exec(Conn *conn, const char *sql, GError **error)
{
	int rc = sqlite3_exec(conn->sqlite, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK || sqlite_error(conn->sqlite, rc, error);
}

static Conn *conn_open(MetaDb *db, bool writer, GError **error)
{
	g_autoptr(Conn) conn = g_new0(Conn, 1);
	conn->statements = g_hash_table_new(g_str_hash, g_str_equal);
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (writer ? SQLITE_OPEN_CREATE : 0);
	int rc = sqlite3_open_v2(db->path, &conn->sqlite, flags, NULL);
	if (rc != SQLITE_OK) {
		sqlite_error(conn->sqlite, rc, error);
		return NULL;
	}
	sqlite3_extended_result_codes(conn->sqlite, 1);
	sqlite3_busy_timeout(conn->sqlite, BUSY_TIMEOUT_MS);
	// the schema is ours, but the file may come from anywhere
	sqlite3_db_config(conn->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(conn->sqlite, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	if (!conn_exec(conn, db->options.no_sync ? "PRAGMA synchronous = OFF" : "PRAGMA synchronous = FULL",
	               error) ||
	    !conn_exec(conn,
	               "PRAGMA foreign_keys = ON; PRAGMA cache_size = -512; PRAGMA temp_store = MEMORY;"
	               "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 8388608",
	               error) ||
	    (!writer && !conn_exec(conn, "PRAGMA query_only = ON", error)))
		return NULL;
	return g_steal_pointer(&conn);
}

static sqlite3_stmt *conn_prepare(Conn *conn, const char *sql, GError **error)
{
	sqlite3_stmt *stmt = g_hash_table_lookup(conn->statements, sql);
	if (stmt != NULL) {
		sqlite3_reset(stmt);
		sqlite3_clear_bindings(stmt);
		return stmt;
	}
	int rc = sqlite3_prepare_v3(conn->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
	if (rc != SQLITE_OK) {
		sqlite_error(conn->sqlite, rc, error);
		return NULL;
	}
	g_assert(stmt != NULL);
	// its own copy of the text is the key
	g_hash_table_insert(conn->statements, (char *)sqlite3_sql(stmt), stmt);
	return stmt;
}

/* A statement without rows that is run often. */
static bool conn_run(Conn *conn, const char *sql, GError **error)
{
	sqlite3_stmt *stmt = conn_prepare(conn, sql, error);
	if (stmt == NULL)
		return false;
	int rc = sqlite3_step(stmt);
	if (rc != SQLITE_DONE)
		sqlite_error(conn->sqlite, rc, error);
	sqlite3_reset(stmt);
	return rc == SQLITE_DONE;
}

/* Statements that rows were not read to the end of would keep the transaction open. */
static void conn_reset(Conn *conn)
{
	for (sqlite3_stmt *s = sqlite3_next_stmt(conn->sqlite, NULL); s != NULL;
	     s = sqlite3_next_stmt(conn->sqlite, s)) {
		if (sqlite3_stmt_busy(s))
			sqlite3_reset(s);
	}
}

/* ---- opening ---- */

/* Process-wide, before the first connection: small, and without counters that all threads share. */
static void sqlite_setup(void)
{
	sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 256, 64);
}

/* One daemon for one root: two would delete each other's files. The lock is on the directory, because closing
 * any descriptor of the database file would drop SQLite's own locks on it. */
static bool lock_directory(MetaDb *db, const char *dir, GError **error)
{
	if (!dir_make_all(dir, 0711, error))
		return false;
	db->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (db->dirfd < 0)
		return error_set_errno(error, errno, "open %s", dir);
	int64_t start = time_mono(), next_warning = start + 10 * NS_PER_SEC;
	while (RETRY_EINTR(flock(db->dirfd, LOCK_EX | LOCK_NB)) != 0) {
		if (errno != EWOULDBLOCK)
			return error_set_errno(error, errno, "flock %s", dir);
		int64_t now = time_mono();
		if (db->options.open_timeout_ns != 0 && now - start >= db->options.open_timeout_ns)
			return error_set_class(error, CTRD_ERR_UNAVAILABLE,
			                       "metadata database %s is in use by another process",
			                       Q(db->path));
		if (now >= next_warning) {
			log_warn("waiting for another process to let go of the metadata database", "path",
			         db->path, NULL);
			next_warning += 10 * NS_PER_SEC;
		}
		g_usleep(20 * 1000);
	}
	g_autofree char *upstream = path_join(dir, "meta.db");
	db->has_upstream = path_exists(upstream);
	if (db->has_upstream)
		log_info("found upstream metadata: it is left alone and not imported", "path", upstream,
		         NULL);
	return true;
}

/* Mode 0600, which SQLite gives to the WAL too. *ret_unclean: the last daemon did not close it. */
static bool prepare_file(MetaDb *db, bool *ret_unclean, GError **error)
{
	autofd fd = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", db->path);
	g_autofree char *wal = g_strconcat(db->path, "-wal", NULL);
	struct stat st;
	*ret_unclean = stat(wal, &st) == 0 && st.st_size > 0;
	return true;
}

static bool check_pragma(Conn *conn, const char *sql, const char *expected, GError **error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(conn->sqlite, sql, -1, &stmt, NULL);
	bool ok = false;
	if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *answer = (const char *)sqlite3_column_text(stmt, 0);
		ok = g_strcmp0(answer, expected) == 0;
		if (!ok)
			error_set(error, CTRD_ERR_UNKNOWN, "%s: %s", sql, str_or(answer, ""));
	} else {
		sqlite_error(conn->sqlite, rc, error);
	}
	sqlite3_finalize(stmt);
	return ok;
}

/* After a crash the database is read through once; it is small, and a power cut is when disks lie. */
static bool open_writer(MetaDb *db, bool unclean, GError **error)
{
	db->writer = conn_open(db, true, error);
	if (db->writer == NULL || !check_pragma(db->writer, "PRAGMA journal_mode = WAL", "wal", error))
		return false;
	if (unclean && !check_pragma(db->writer, "PRAGMA quick_check(1)", "ok", error)) {
		error_reclass(error, CTRD_ERR_DATA_LOSS);
		return false;
	}
	return schema_migrate(db->writer->sqlite, db->path, error);
}

static bool open_database(MetaDb *db, bool unclean, GError **error)
{
	g_autoptr(GError) cause = NULL;
	if (open_writer(db, unclean, &cause))
		return true;
	if (!error_is(cause, CTRD_ERR_DATA_LOSS)) {
		g_propagate_error(error, g_steal_pointer(&cause));
		return false;
	}
	return error_set_class(
	        error, CTRD_ERR_FAILED_PRECONDITION,
	        "metadata database %s is damaged: %s; put a copy in its place, or move it away "
	        "to start without images and containers",
	        Q(db->path), cause->message);
}

static int on_wal(void *data, sqlite3 *sqlite, const char *name, int n_frames)
{
	((MetaDb *)data)->wal_frames = n_frames;
	return SQLITE_OK;
}

MetaDb *meta_open(const char *path, const MetaOptions *options, GError **error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	(void)pthread_once(&once, sqlite_setup);

	g_autoptr(MetaDb) db = g_new0(MetaDb, 1);
	db->path = g_strdup(path);
	if (options != NULL)
		db->options = *options;
	db->dirfd = -1;
	db->tail = &db->head;
	lock_init(&db->lock, "meta", LOCK_RANK_LEAF);
	lock_init(&db->readers_lock, "meta-readers", LOCK_RANK_LEAF);
	cond_init(&db->readers_cond);
	lock_init(&db->gc_lock, "meta-gc", LOCK_RANK_LEAF);
	db->dirty = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	lock_init(&db->pins_lock, "meta-pins", LOCK_RANK_LEAF);
	cond_init(&db->pins_cond);
	db->pins = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	db->write_pool = pool_new("meta-writer", 1, 1, WRITER_IDLE_NS);
	db->checkpoint_pool = pool_new("meta-checkpoint", 1, 1, NS_PER_SEC);

	g_autofree char *dir = g_path_get_dirname(path);
	bool unclean = false;
	if (!lock_directory(db, dir, error) || !prepare_file(db, &unclean, error) ||
	    !open_database(db, unclean, error))
		return NULL;
	sqlite3_wal_hook(db->writer->sqlite, on_wal, db);
	return g_steal_pointer(&db);
}

void meta_close(MetaDb *db)
{
	if (db == NULL)
		return;
	pool_free(db->write_pool);
	pool_free(db->checkpoint_pool);
	g_assert(db->head == NULL && db->n_open == db->n_idle);
	for (unsigned i = 0; i < db->n_idle; i++)
		conn_close(db->readers[i]);
	conn_close(db->writer); // the last one: SQLite empties the WAL into the database and deletes it
	fd_close(&db->dirfd);
	g_hash_table_unref(db->dirty);
	g_hash_table_unref(db->pins);
	cond_destroy(&db->readers_cond);
	cond_destroy(&db->pins_cond);
	lock_destroy(&db->lock);
	lock_destroy(&db->readers_lock);
	lock_destroy(&db->gc_lock);
	lock_destroy(&db->pins_lock);
	g_free(db->path);
	g_free(db);
}

const MetaOptions *meta_options(MetaDb *db)
{
	return &db->options;
}

bool meta_has_upstream(MetaDb *db)
{
	return db->has_upstream;
}

/* ---- checkpoints ---- */

/* In the background: copies what it can without disturbing anybody. */
static void checkpoint(void *data)
{
	MetaDb *db = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(Conn) conn = conn_open(db, false, &error);
	int n_frames = 0, n_copied = 0;
	if (conn != NULL) {
		int rc = sqlite3_wal_checkpoint_v2(conn->sqlite, NULL, SQLITE_CHECKPOINT_PASSIVE, &n_frames,
		                                   &n_copied);
		if (rc != SQLITE_OK && rc != SQLITE_BUSY)
			sqlite_error(conn->sqlite, rc, &error);
	}
	if (error != NULL)
		log_warn("metadata checkpoint failed", "error", error->message, NULL);
	lock_acquire(&db->lock);
	db->checkpointing = false;
	db->stats.n_checkpoints++;
	lock_release(&db->lock);
}

static bool checkpoint_start(MetaDb *db)
{
	lock_acquire(&db->lock);
	bool start = !db->checkpointing;
	db->checkpointing = true;
	lock_release(&db->lock);
	if (!start)
		return false;
	if (pool_submit(db->checkpoint_pool, checkpoint, db))
		return true;
	LOCK_SCOPE(&db->lock);
	db->checkpointing = false;
	return false;
}

/* After a commit, on the writer. */
static void checkpoint_if_needed(MetaDb *db)
{
	int n_frames = db->wal_frames;
	if (n_frames < CHECKPOINT_FRAMES)
		db->checkpoint_at = CHECKPOINT_FRAMES; // started anew
	else if (n_frames >= db->checkpoint_at && checkpoint_start(db))
		db->checkpoint_at = n_frames + CHECKPOINT_FRAMES;
	if (n_frames < CHECKPOINT_FRAMES_MAX)
		return;
	// waits for readers for a moment; then the next commit starts the WAL anew. If not, it tries again
	int rc = sqlite3_wal_checkpoint_v2(db->writer->sqlite, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
	if (rc != SQLITE_OK && rc != SQLITE_BUSY)
		log_warn("metadata checkpoint failed", "error", sqlite3_errmsg(db->writer->sqlite), NULL);
}

/* ---- the writer ---- */

static void run_request(MetaDb *db, Request *r)
{
	MetaTx tx = {.db = db, .conn = db->writer, .writable = true};
	r->ok = conn_run(db->writer, "SAVEPOINT fn", &r->error);
	if (!r->ok)
		return;
	r->ok = r->fn(&tx, r->data, &r->error);
	g_assert(r->ok == (r->error == NULL));
	conn_reset(db->writer);
	if (sqlite3_get_autocommit(db->writer->sqlite)) {
		// a full disk or an I/O error may have taken the whole transaction back
		if (r->ok)
			r->ok = error_set(&r->error, CTRD_ERR_UNKNOWN,
			                  "metadata: transaction was rolled back");
	} else if (!r->ok) {
		conn_run(db->writer, "ROLLBACK TO fn", NULL);
		conn_run(db->writer, "RELEASE fn", NULL);
	} else {
		r->ok = conn_run(db->writer, "RELEASE fn", &r->error);
	}
	if (r->ok) {
		r->n_dirty = tx.n_dirty;
		r->dirty = g_steal_pointer(&tx.dirty);
	}
	g_clear_pointer(&tx.dirty, g_ptr_array_unref);
}

/* Nothing of the batch is in the database: what went well fails too. */
static void fail_batch(Request *batch, const GError *error)
{
	for (Request *r = batch; r != NULL; r = r->next) {
		if (!r->ok)
			continue;
		r->ok = false;
		r->error = g_error_copy(error);
	}
}

/* How the next commit is written: NORMAL leaves it in the WAL, FULL syncs the WAL, with what lazy commits
 * left there before. */
static bool set_lazy(MetaDb *db, bool lazy, GError **error)
{
	if (db->options.no_sync || db->writer->lazy == lazy)
		return true;
	if (!conn_exec(db->writer, lazy ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL", error))
		return false;
	db->writer->lazy = lazy;
	return true;
}

static bool is_lazy(const Request *batch)
{
	for (; batch != NULL; batch = batch->next)
		if (!batch->lazy)
			return false;
	return true;
}

static void run_batch(MetaDb *db, Request *batch)
{
	g_autoptr(GError) error = NULL;
	if (!set_lazy(db, is_lazy(batch), &error) || !conn_run(db->writer, "BEGIN IMMEDIATE", &error)) {
		for (Request *r = batch; r != NULL; r = r->next)
			r->error = g_error_copy(error);
		return;
	}
	bool lost = false;
	for (Request *r = batch; r != NULL; r = r->next) {
		if (lost)
			r->error = g_error_copy(error);
		else
			run_request(db, r);
		if (!lost && sqlite3_get_autocommit(db->writer->sqlite)) {
			lost = true;
			error = g_error_copy(r->error);
		}
	}
	if (!lost && (!FAILPOINT("meta.commit", &error) || !conn_run(db->writer, "COMMIT", &error))) {
		lost = true;
		if (!sqlite3_get_autocommit(db->writer->sqlite))
			conn_run(db->writer, "ROLLBACK", NULL);
	}
	if (lost)
		fail_batch(batch, error);
	FAILPOINT_HERE("meta.committed");
}

static Request *take_batch(MetaDb *db)
{
	LOCK_SCOPE(&db->lock);
	Request *batch = db->head, *last = batch;
	if (batch == NULL) {
		db->draining = false;
		return NULL;
	}
	for (unsigned n = 1; n < BATCH_MAX && last->next != NULL; n++)
		last = last->next;
	db->head = last->next;
	last->next = NULL;
	if (db->head == NULL)
		db->tail = &db->head;
	return batch;
}

static void drain(void *data)
{
	MetaDb *db = data;
	Request *batch;
	while ((batch = take_batch(db)) != NULL) {
		int64_t began = time_mono();
		run_batch(db, batch);
		metric_timer_observe(&db->commit_times, time_mono() - began);
		lock_acquire(&db->lock);
		db->stats.wal_frames = db->wal_frames;
		db->generation = sqlite3_total_changes64(db->writer->sqlite);
		db->stats.n_commits++;
		// a request is gone with its caller's stack as soon as it is seen done
		for (Request *r = batch, *next; r != NULL; r = next) {
			next = r->next;
			db->stats.n_updates++;
			r->done = true;
			cond_signal(&r->cond);
		}
		lock_release(&db->lock);
		checkpoint_if_needed(db);
	}
}

static void count_mutation(MetaDb *db, Request *r)
{
	lock_acquire(&db->gc_lock);
	db->n_dirty += r->n_dirty;
	for (unsigned i = 0; r->dirty != NULL && i < r->dirty->len; i++)
		g_hash_table_add(db->dirty, g_strdup(r->dirty->pdata[i]));
	bool deletion = db->n_dirty > 0;
	MetaMutationFn fn = db->mutation;
	void *data = db->mutation_data;
	lock_release(&db->gc_lock);
	if (fn != NULL)
		fn(deletion, data);
}

static bool update(MetaDb *db, bool lazy, MetaFn fn, void *data, GError **error)
{
	Request r = {.fn = fn, .data = data, .lazy = lazy};
	cond_init(&r.cond);
	lock_acquire(&db->lock);
	*db->tail = &r;
	db->tail = &r.next;
	bool start = !db->draining;
	db->draining = true;
	lock_release(&db->lock);
	if (start && !pool_submit(db->write_pool, drain, db))
		drain(db); // no thread to be had: this one writes
	lock_acquire(&db->lock);
	while (!r.done)
		cond_wait(&r.cond, &db->lock);
	lock_release(&db->lock);
	cond_destroy(&r.cond);
	if (r.ok)
		count_mutation(db, &r);
	else
		g_propagate_error(error, r.error);
	g_clear_pointer(&r.dirty, g_ptr_array_unref);
	return r.ok;
}

bool meta_update(MetaDb *db, MetaFn fn, void *data, GError **error)
{
	return update(db, false, fn, data, error);
}

bool meta_update_for(MetaDb *db, const Ctx *ctx, MetaFn fn, void *data, GError **error)
{
	return update(db, ctx->lazy, fn, data, error);
}

bool meta_flush(MetaDb *db, GError **error)
{
	if (db->options.no_sync)
		return true;
	/* what a checkpoint took out of it is in the database by now, synced; and it has no locks that a
	 * close of another descriptor would drop */
	g_autofree char *wal = g_strconcat(db->path, "-wal", NULL);
	autofd fd = open(wal, O_RDONLY | O_CLOEXEC);
	return (fd >= 0 && fdatasync(fd) == 0) || error_set_errno(error, errno, "metadata: sync %s", wal);
}

/* ---- readers ---- */

static Conn *reader_take(MetaDb *db, GError **error)
{
	lock_acquire(&db->readers_lock);
	db->n_waiting++;
	while (db->n_idle == 0 && db->n_open == READERS_MAX)
		cond_wait(&db->readers_cond, &db->readers_lock);
	db->n_waiting--;
	Conn *conn = NULL;
	if (db->n_idle > 0)
		conn = db->readers[--db->n_idle];
	else
		db->n_open++;
	lock_release(&db->readers_lock);
	if (conn != NULL)
		return conn;
	conn = conn_open(db, false, error);
	if (conn == NULL) {
		LOCK_SCOPE(&db->readers_lock);
		db->n_open--;
		cond_signal(&db->readers_cond);
	}
	return conn;
}

static void reader_give(MetaDb *db, Conn *conn)
{
	lock_acquire(&db->readers_lock);
	// kept where somebody waits for it, or as one of the few that stay
	if (db->n_idle < db->n_waiting + READERS_IDLE)
		db->readers[db->n_idle++] = g_steal_pointer(&conn);
	else
		db->n_open--;
	cond_signal(&db->readers_cond);
	lock_release(&db->readers_lock);
	conn_close(conn);
}

bool meta_view(MetaDb *db, MetaFn fn, void *data, GError **error)
{
	Conn *conn = reader_take(db, error);
	if (conn == NULL)
		return false;
	MetaTx tx = {.db = db, .conn = conn};
	bool ok = conn_run(conn, "BEGIN", error);
	if (ok) {
		ok = fn(&tx, data, error);
		conn_reset(conn);
		conn_run(conn, "ROLLBACK", NULL);
	}
	reader_give(db, conn);
	return ok;
}

/* ---- inside a transaction ---- */

sqlite3 *meta_tx_sqlite(MetaTx *tx)
{
	return tx->conn->sqlite;
}

MetaDb *meta_tx_db(MetaTx *tx)
{
	return tx->db;
}

void meta_tx_dirty(MetaTx *tx, const char *what)
{
	g_assert(tx->writable);
	tx->n_dirty++;
	if (what == NULL)
		return;
	if (tx->dirty == NULL)
		tx->dirty = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(tx->dirty, g_strdup(what));
}

sqlite3_stmt *meta_tx_prepare(MetaTx *tx, const char *sql, GError **error)
{
	return conn_prepare(tx->conn, sql, error);
}

bool meta_step(MetaTx *tx, sqlite3_stmt *stmt, bool *ret_row, GError **error)
{
	int rc = sqlite3_step(stmt);
	*ret_row = rc == SQLITE_ROW;
	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return true;
	sqlite_error(tx->conn->sqlite, rc, error);
	sqlite3_reset(stmt);
	return false;
}

bool meta_exec(MetaTx *tx, sqlite3_stmt *stmt, GError **error)
{
	bool row = true;
	while (row) {
		if (!meta_step(tx, stmt, &row, error))
			return false;
	}
	sqlite3_reset(stmt);
	return true;
}

static void bind_text(sqlite3_stmt *stmt, int i, const char *s)
{
	sqlite3_bind_text(stmt, i, s, -1, SQLITE_STATIC); // NULL binds NULL
}

static void bind_bytes(sqlite3_stmt *stmt, int i, GBytes *bytes)
{
	if (bytes == NULL)
		return;
	size_t size = 0;
	const void *data = g_bytes_get_data(bytes, &size);
	// a NULL pointer would be NULL and not an empty value
	sqlite3_bind_blob64(stmt, i, size > 0 ? data : "", size, SQLITE_STATIC);
}

static sqlite3_stmt *query_v(MetaTx *tx, const char *sql, const char *types, va_list args, GError **error)
{
	sqlite3_stmt *stmt = meta_tx_prepare(tx, sql, error);
	if (stmt == NULL)
		return NULL;
	int i = 1;
	for (const char *t = types; *t != '\0'; t++) {
		switch (*t) {
		case 's':
			bind_text(stmt, i++, va_arg(args, const char *));
			break;
		case 'i':
			sqlite3_bind_int64(stmt, i++, va_arg(args, int64_t));
			break;
		case 'b':
			bind_bytes(stmt, i++, va_arg(args, GBytes *));
			break;
		case 'a': {
			const Any *any = va_arg(args, const Any *);
			bind_text(stmt, i++, any->type_url);
			bind_bytes(stmt, i++, any->value);
			break;
		}
		default:
			g_assert_not_reached();
		}
	}
	g_assert(i == sqlite3_bind_parameter_count(stmt) + 1);
	return stmt;
}

sqlite3_stmt *meta_query(MetaTx *tx, GError **error, const char *sql, const char *types, ...)
{
	va_list args;
	va_start(args, types);
	sqlite3_stmt *stmt = query_v(tx, sql, types, args, error);
	va_end(args);
	return stmt;
}

bool meta_run(MetaTx *tx, GError **error, const char *sql, const char *types, ...)
{
	va_list args;
	va_start(args, types);
	sqlite3_stmt *stmt = query_v(tx, sql, types, args, error);
	va_end(args);
	return stmt != NULL && meta_exec(tx, stmt, error);
}

bool meta_query_int(MetaTx *tx, bool *ret_found, int64_t *ret, GError **error, const char *sql,
                    const char *types, ...)
{
	va_list args;
	va_start(args, types);
	sqlite3_stmt *stmt = query_v(tx, sql, types, args, error);
	va_end(args);
	if (stmt == NULL || !meta_step(tx, stmt, ret_found, error))
		return false;
	if (*ret_found && ret != NULL)
		*ret = sqlite3_column_int64(stmt, 0);
	sqlite3_reset(stmt);
	return true;
}

int64_t meta_tx_changes(MetaTx *tx)
{
	return sqlite3_changes64(tx->conn->sqlite);
}

int64_t meta_tx_last_id(MetaTx *tx)
{
	return sqlite3_last_insert_rowid(tx->conn->sqlite);
}

char *meta_column_dup(sqlite3_stmt *stmt, int column)
{
	return g_strdup((const char *)sqlite3_column_text(stmt, column));
}

const char *meta_column_text(sqlite3_stmt *stmt, int column)
{
	return str_or((const char *)sqlite3_column_text(stmt, column), "");
}

void meta_column_any(sqlite3_stmt *stmt, int type_column, Any *ret)
{
	any_clear(ret);
	ret->type_url = meta_column_dup(stmt, type_column);
	const void *data = sqlite3_column_blob(stmt, type_column + 1);
	int size = sqlite3_column_bytes(stmt, type_column + 1);
	if (sqlite3_column_type(stmt, type_column + 1) != SQLITE_NULL)
		ret->value = g_bytes_new(data, (size_t)size);
}

/* ---- what the collector needs ---- */

void meta_emit(MetaDb *db, const StoreEvent *event)
{
	if (db->options.sink.publish != NULL)
		db->options.sink.publish(event, db->options.sink.data);
}

void meta_on_mutation(MetaDb *db, MetaMutationFn fn, void *data)
{
	LOCK_SCOPE(&db->gc_lock);
	db->mutation = fn;
	db->mutation_data = data;
}

GHashTable *meta_take_dirty(MetaDb *db)
{
	LOCK_SCOPE(&db->gc_lock);
	GHashTable *dirty = db->dirty;
	db->dirty = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	db->n_dirty = 0;
	return dirty;
}

void meta_put_dirty(MetaDb *db, const char *what)
{
	LOCK_SCOPE(&db->gc_lock);
	g_hash_table_add(db->dirty, g_strdup(what));
}

int64_t meta_generation(MetaDb *db)
{
	LOCK_SCOPE(&db->lock);
	return db->generation;
}

int64_t meta_tx_generation(MetaTx *tx)
{
	g_assert(tx->writable);
	return sqlite3_total_changes64(tx->conn->sqlite);
}

const MetricTimer *meta_commit_times(const MetaDb *db)
{
	return &db->commit_times;
}

void meta_stats(MetaDb *db, MetaStats *ret)
{
	lock_acquire(&db->lock);
	*ret = db->stats;
	lock_release(&db->lock);
	LOCK_SCOPE(&db->readers_lock);
	ret->n_readers = db->n_open;
}

/* ---- pins ---- */

void meta_pin(MetaDb *db, const char *digest)
{
	LOCK_SCOPE(&db->pins_lock);
	int n;
	while ((n = GPOINTER_TO_INT(g_hash_table_lookup(db->pins, digest))) < 0)
		cond_wait(&db->pins_cond, &db->pins_lock);
	g_hash_table_replace(db->pins, g_strdup(digest), GINT_TO_POINTER(n + 1));
}

void meta_unpin(MetaDb *db, const char *digest)
{
	LOCK_SCOPE(&db->pins_lock);
	int n = GPOINTER_TO_INT(g_hash_table_lookup(db->pins, digest));
	g_assert(n > 0);
	if (n == 1)
		g_hash_table_remove(db->pins, digest);
	else
		g_hash_table_replace(db->pins, g_strdup(digest), GINT_TO_POINTER(n - 1));
}

bool meta_pin_try_exclusive(MetaDb *db, const char *digest)
{
	LOCK_SCOPE(&db->pins_lock);
	if (g_hash_table_contains(db->pins, digest))
		return false;
	g_hash_table_insert(db->pins, g_strdup(digest), GINT_TO_POINTER(-1));
	return true;
}

void meta_unpin_exclusive(MetaDb *db, const char *digest)
{
	LOCK_SCOPE(&db->pins_lock);
	g_hash_table_remove(db->pins, digest);
	cond_broadcast(&db->pins_cond);
}
