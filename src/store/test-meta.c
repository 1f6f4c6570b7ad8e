// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"
#include "loop/thread.h"
#include "store/meta-private.h"
#include "store/schema.h"
#include "store/test-env.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- opening ---- */

static MetaDb *open_at(const char *dir, const char *name, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	return meta_open(path, &(MetaOptions){.open_timeout_ns = 200 * NS_PER_MS}, error);
}

static void test_open(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-store-XXXXXX", NULL);
	g_autofree char *sub = g_build_filename(dir, "made", NULL);
	g_autoptr(GError) error = NULL;
	MetaDb *db = open_at(sub, "meta.sqlite", &error);
	g_assert_no_error(error);
	g_autofree char *path = g_build_filename(sub, "meta.sqlite", NULL);
	g_autofree char *wal = g_strconcat(path, "-wal", NULL);
	struct stat st;
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 0777, ==, 0600);
	g_assert_cmpint(stat(wal, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 0777, ==, 0600);

	g_assert_null(open_at(sub, "meta.sqlite", &error));
	g_autofree char *text =
	        g_strdup_printf("metadata database \"%s\" is in use by another process: unavailable", path);
	assert_error(error, CTRD_ERR_UNAVAILABLE, text);

	meta_close(db);
	g_assert_false(path_exists(wal)); // a clean end leaves one file
	db = open_at(sub, "meta.sqlite", &error);
	g_assert_no_error(error);
	meta_close(db);
	g_assert_true(tree_remove(dir, NULL));
}

static void sql(const char *path, const char *statement)
{
	sqlite3 *db;
	g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(db, statement, NULL, NULL, NULL), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_close(db), ==, SQLITE_OK);
}

static void test_open_refused(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-store-XXXXXX", NULL);
	g_autoptr(GError) error = NULL;
	g_autofree char *newer = g_build_filename(dir, "newer", NULL);
	sql(newer, "PRAGMA application_id = 1129599556; PRAGMA user_version = 99");
	g_assert_null(open_at(dir, "newer", &error));
	g_autofree char *text = g_strdup_printf("metadata database \"%s\" has schema 99, the newest this "
	                                        "containerd knows is %d: failed precondition",
	                                        newer, schema_version());
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, text);

	g_autofree char *other = g_build_filename(dir, "other", NULL);
	sql(other, "PRAGMA user_version = 1; CREATE TABLE t(x)");
	g_assert_null(open_at(dir, "other", &error));
	g_autofree char *text2 = g_strdup_printf(
	        "metadata database \"%s\" belongs to another program: invalid argument", other);
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT, text2);

	// not a database at all, such as upstream's meta.db
	g_autofree char *garbage = g_build_filename(dir, "garbage", NULL);
	g_autofree char *bytes = g_strnfill(8192, 'b');
	g_assert_true(g_file_set_contents(garbage, bytes, 8192, NULL));
	g_assert_null(open_at(dir, "garbage", &error));
	g_autofree char *text3 = g_strdup_printf(
	        "metadata database \"%s\" is damaged: metadata: file is not a database; put a copy in its "
	        "place, or move it away to start without images and containers: failed precondition",
	        garbage);
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, text3);
	g_autofree char *left = NULL;
	gsize len;
	g_assert_true(g_file_get_contents(garbage, &left, &len, NULL));
	g_assert_cmpmem(left, (int)len, bytes, 8192); // as it was
	g_assert_true(tree_remove(dir, NULL));
}

/* What the first release wrote is there after the migrations, and what they added works. */
static void test_migrate(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-store-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "meta.sqlite", NULL);
	g_autoptr(GError) error = NULL;
	sqlite3 *db;
	g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
	g_assert_true(schema_migrate_to(db, path, 1, &error));
	g_assert_cmpint(sqlite3_exec(db,
	                             "INSERT INTO image(ns, name, digest, media_type, size, created, updated)"
	                             " VALUES ('ns', 'old', 'd', 'm', 1, 1, 1);"
	                             "INSERT INTO label VALUES (2, 1, 'k', 'v')",
	                             NULL, NULL, NULL),
	                ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(db, "SELECT * FROM mount", NULL, NULL, NULL), ==, SQLITE_ERROR);
	g_assert_true(schema_migrate(db, path, &error));
	g_assert_no_error(error);
	g_assert_cmpint(
	        sqlite3_exec(db,
	                     "PRAGMA foreign_keys = ON;"
	                     "INSERT INTO mount(ns, name, created, updated) VALUES ('ns', 'm', 1, 1);"
	                     "INSERT INTO mount_part VALUES (1, 0, 0, 't', 's', '', '[]', 1, '/p', NULL);"
	                     "INSERT INTO label VALUES (9, 1, 'k', 'v');"
	                     "DELETE FROM mount",
	                     NULL, NULL, NULL),
	        ==, SQLITE_OK);
	sqlite3_stmt *stmt;
	g_assert_cmpint(
	        sqlite3_prepare_v2(db,
	                           "SELECT (SELECT count(*) FROM mount_part), (SELECT count(*) FROM label),"
	                           " (SELECT name FROM image)",
	                           -1, &stmt, NULL),
	        ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_step(stmt), ==, SQLITE_ROW);
	g_assert_cmpint(sqlite3_column_int(stmt, 0), ==, 0);
	g_assert_cmpint(sqlite3_column_int(stmt, 1), ==, 1);
	g_assert_cmpstr((const char *)sqlite3_column_text(stmt, 2), ==, "old");
	sqlite3_finalize(stmt);
	g_assert_cmpint(sqlite3_close(db), ==, SQLITE_OK);
	g_assert_true(tree_remove(dir, NULL));
}

/* A page in the middle is overwritten, and the last daemon did not end well: found at the start. */
static void test_open_damaged(void)
{
	TestEnv *env = test_env_new(NULL);
	g_autofree char *dir = g_strdup(env->dir);
	g_autofree char *path = g_build_filename(dir, "meta.sqlite", NULL);
	meta_close(g_steal_pointer(&env->db));
	sql(path, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
	          " INSERT INTO image(ns, name, digest, media_type, size, created, updated)"
	          " SELECT 'ns', 'image' || i, 'd', 'm', 1, 1, 1 FROM n");
	autofd fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	g_assert_cmpint(fstat(fd, &st), ==, 0);
	char bad[4096];
	memset(bad, 0xff, sizeof(bad));
	g_assert_cmpint(pwrite(fd, bad, sizeof(bad), (st.st_size / 4096 / 2) * 4096), ==, sizeof(bad));
	fd_close(&fd);
	g_autofree char *wal = g_strconcat(path, "-wal", NULL);
	g_assert_true(g_file_set_contents(wal, "x", 1, NULL));
	g_autoptr(GError) error = NULL;
	g_assert_null(open_at(dir, "meta.sqlite", &error));
	g_assert_true(error_is(error, CTRD_ERR_FAILED_PRECONDITION));
	g_assert_nonnull(strstr(error->message, "is damaged: "));
	test_env_free(env);
}

static void test_upstream_root(void)
{
	TestEnv *env = test_env_new(NULL);
	meta_close(g_steal_pointer(&env->db));
	g_autofree char *upstream = g_build_filename(env->dir, "meta.db", NULL);
	g_assert_true(g_file_set_contents(upstream, "bolt", 4, NULL));
	g_autofree char *log = g_build_filename(env->dir, "log", NULL);
	autofd fd = open(log, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	log_set_fd(fd);
	test_env_open(env, NULL);
	log_set_fd(2);
	g_assert_true(meta_has_upstream(env->db));
	g_autofree char *text = NULL, *content = NULL;
	g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
	g_assert_nonnull(strstr(text, "found upstream metadata"));
	g_assert_true(g_file_get_contents(upstream, &content, NULL, NULL));
	g_assert_cmpstr(content, ==, "bolt");
	test_env_free(env);
}

/* ---- transactions ---- */

static bool put(MetaTx *tx, void *data, GError **error)
{
	const char *name = data;
	if (!meta_run(tx, error, "INSERT INTO namespace(name) VALUES (?)", "s", name))
		return false;
	if (strcmp(name, "fails") == 0)
		return error_set(error, CTRD_ERR_CONFLICT, "no");
	return true;
}

static bool count(MetaTx *tx, void *data, GError **error)
{
	bool found;
	return meta_query_int(tx, &found, data, error, "SELECT count(*) FROM namespace", "");
}

static int64_t n_namespaces(MetaDb *db)
{
	int64_t n = -1;
	g_autoptr(GError) error = NULL;
	g_assert_true(meta_view(db, count, &n, &error));
	return n;
}

static bool write_in_view(MetaTx *tx, void *data, GError **error)
{
	return meta_run(tx, error, "CREATE TABLE x(y)", "");
}

static void test_update(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_assert_true(meta_update(env->db, put, (void *)"one", &error));
	g_assert_false(meta_update(env->db, put, (void *)"fails", &error));
	assert_error(error, CTRD_ERR_CONFLICT, "no");
	g_assert_false(meta_update(env->db, put, (void *)"one", &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "metadata: UNIQUE constraint failed: namespace.name");
	g_assert_cmpint(n_namespaces(env->db), ==, 1);
	g_assert_false(meta_view(env->db, write_in_view, NULL, &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "metadata: attempt to write a readonly database");
	meta_close(g_steal_pointer(&env->db));
	test_env_open(env, NULL);
	g_assert_cmpint(n_namespaces(env->db), ==, 1);
}

/* A view sees one state from its first look to its end. */
static bool look_write_look(MetaTx *tx, void *data, GError **error)
{
	int64_t before, after;
	if (!count(tx, &before, error) || !meta_update(meta_tx_db(tx), put, (void *)"meanwhile", error) ||
	    !count(tx, &after, error))
		return false;
	g_assert_cmpint(before, ==, after);
	return true;
}

static void test_snapshot(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_assert_true(meta_view(env->db, look_write_look, NULL, &error));
	g_assert_cmpint(n_namespaces(env->db), ==, 1);
}

typedef struct {
	TestEnv *env;
	unsigned id, n;
	pthread_t thread;
} Worker;

static void *work(void *data)
{
	Worker *w = data;
	for (unsigned i = 0; i < w->n; i++) {
		g_autofree char *name = g_strdup_printf("n%u-%u", w->id, i);
		g_autoptr(GError) error = NULL;
		// a third fail, between those that go well
		bool ok = meta_update(w->env->db, put, i % 3 == 2 ? (void *)"fails" : name, &error);
		g_assert_true(ok == (i % 3 != 2));
		int64_t seen;
		g_assert_true(meta_view(w->env->db, count, &seen, NULL));
		g_assert_cmpint(seen, >=, i / 3 * 2);
	}
	return NULL;
}

static void test_concurrent(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	Worker workers[16];
	for (unsigned i = 0; i < G_N_ELEMENTS(workers); i++) {
		workers[i] = (Worker){.env = env, .id = i, .n = 60};
		g_assert_cmpint(thread_start(&workers[i].thread, "test", 0, work, &workers[i]), ==, 0);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(workers); i++)
		pthread_join(workers[i].thread, NULL);
	g_assert_cmpint(n_namespaces(env->db), ==, 16 * 40);
	MetaStats stats;
	meta_stats(env->db, &stats);
	g_assert_cmpuint(stats.n_updates, ==, 16 * 60);
	g_assert_cmpuint(stats.n_commits, <, 16 * 60);
	g_assert_cmpuint(stats.n_readers, <=, 4); // what is kept of eight
}

/* ---- maps ---- */

static bool maps(MetaTx *tx, void *data, GError **error)
{
	g_autoptr(GHashTable) labels = test_labels("a", "1", "b", "", "c.d/e", "x y", NULL);
	g_assert_true(meta_labels_write(tx, META_BLOB, 7, labels, error));
	g_assert_cmpuint(g_hash_table_size(labels), ==, 2); // no empty ones
	g_autoptr(GHashTable) back = meta_labels_read(tx, META_BLOB, 7, error);
	assert_strmap(back, test_labels("a", "1", "c.d/e", "x y", NULL));
	g_autoptr(GHashTable) none = meta_labels_read(tx, META_BLOB, 8, error);
	g_assert_cmpuint(g_hash_table_size(none), ==, 0);
	g_assert_true(meta_labels_write(tx, META_BLOB, 7, NULL, error));
	g_autoptr(GHashTable) gone = meta_labels_read(tx, META_BLOB, 7, error);
	g_assert_cmpuint(g_hash_table_size(gone), ==, 0);

	g_autoptr(GHashTable) extensions = extensions_new();
	Any *any = g_new0(Any, 1);
	any->type_url = g_strdup("type/1");
	any->value = g_bytes_new("\0\1\2", 3);
	g_hash_table_insert(extensions, g_strdup("ext"), any);
	Any *empty = g_new0(Any, 1);
	empty->type_url = g_strdup("");
	g_hash_table_insert(extensions, g_strdup("empty"), empty);
	g_assert_true(meta_extensions_write(tx, META_CONTAINER, 7, extensions, error));
	g_autoptr(GHashTable) read = meta_extensions_read(tx, META_CONTAINER, 7, error);
	g_assert_cmpuint(g_hash_table_size(read), ==, 2);
	Any *got = g_hash_table_lookup(read, "ext");
	g_assert_cmpstr(got->type_url, ==, "type/1");
	g_assert_true(g_bytes_equal(got->value, any->value));
	return true;
}

static void test_maps(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_assert_true(meta_update(env->db, maps, NULL, &error));
	g_assert_no_error(error);
}

static void test_namespace_required(void)
{
	g_autoptr(GError) error = NULL;
	g_assert_null(meta_namespace(&(Ctx){0}, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, "namespace is required: failed precondition");
	g_assert_null(meta_namespace(&(Ctx){.ns = ""}, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, "namespace is required: failed precondition");
	g_assert_null(meta_namespace(&(Ctx){.ns = "a/b"}, &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT,
	             "namespace validation: identifier \"a/b\" must match "
	             "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument");
}

/* ---- the collector's side ---- */

static bool make_dirty(MetaTx *tx, void *data, GError **error)
{
	meta_tx_dirty(tx, "content:x");
	meta_tx_dirty(tx, NULL);
	return data == NULL || error_set(error, CTRD_ERR_CONFLICT, "no");
}

static void on_mutation(bool deletion, void *data)
{
	int *calls = data;
	calls[deletion]++;
}

static void test_dirty(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	int calls[2] = {0};
	meta_on_mutation(env->db, on_mutation, calls);
	g_assert_true(meta_update(env->db, put, (void *)"one", &error));
	g_assert_cmpint(calls[0], ==, 1);
	g_assert_false(meta_update(env->db, make_dirty, env, &error));
	g_clear_error(&error);
	g_autoptr(GHashTable) nothing = meta_take_dirty(env->db);
	g_assert_cmpuint(g_hash_table_size(nothing), ==, 0);
	g_assert_true(meta_update(env->db, make_dirty, NULL, &error));
	g_assert_true(meta_update(env->db, put, (void *)"two", &error));
	g_assert_cmpint(calls[1], ==, 2); // also the one after it, until a collection
	g_autoptr(GHashTable) dirty = meta_take_dirty(env->db);
	g_assert_cmpuint(g_hash_table_size(dirty), ==, 1);
	g_assert_true(g_hash_table_contains(dirty, "content:x"));
	g_assert_true(meta_update(env->db, put, (void *)"three", &error));
	g_assert_cmpint(calls[0], ==, 2);
}

static bool generation_is(MetaTx *tx, void *data, GError **error)
{
	return meta_tx_generation(tx) == *(int64_t *)data || error_set(error, CTRD_ERR_CONFLICT, "changed");
}

static void test_generation(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	int64_t g = meta_generation(env->db);
	g_assert_true(meta_update(env->db, generation_is, &g, &error));
	g_assert_true(meta_update(env->db, put, (void *)"one", &error));
	g_assert_false(meta_update(env->db, generation_is, &g, &error));
	g_clear_error(&error);
	g = meta_generation(env->db);
	g_assert_true(meta_update(env->db, generation_is, &g, &error));
}

static void *pin_and_go(void *data)
{
	TestEnv *env = data;
	meta_pin(env->db, "d1");
	meta_unpin(env->db, "d1");
	return NULL;
}

static void test_pins(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	meta_pin(env->db, "d1");
	meta_pin(env->db, "d1");
	g_assert_false(meta_pin_try_exclusive(env->db, "d1"));
	meta_unpin(env->db, "d1");
	g_assert_false(meta_pin_try_exclusive(env->db, "d1"));
	g_assert_true(meta_pin_try_exclusive(env->db, "d2"));
	g_assert_false(meta_pin_try_exclusive(env->db, "d2"));
	meta_unpin(env->db, "d1");
	g_assert_true(meta_pin_try_exclusive(env->db, "d1"));
	pthread_t thread;
	g_assert_cmpint(thread_start(&thread, "test", 0, pin_and_go, env), ==, 0);
	g_usleep(20 * 1000);
	meta_unpin_exclusive(env->db, "d1");
	pthread_join(thread, NULL);
	g_assert_true(meta_pin_try_exclusive(env->db, "d1"));
	meta_unpin_exclusive(env->db, "d1");
	meta_unpin_exclusive(env->db, "d2");
}

/* ---- the WAL ---- */

static bool put_much(MetaTx *tx, void *data, GError **error)
{
	return meta_run(tx, error, "INSERT OR REPLACE INTO label VALUES (9, ?, 'k', hex(zeroblob(20000)))",
	                "i", *(int64_t *)data % 50);
}

static void *write_much(void *data)
{
	Worker *w = data;
	for (int64_t i = 0; i < w->n; i++)
		g_assert_true(meta_update(w->env->db, put_much, &i, NULL));
	return NULL;
}

/* Writers without a pause, while somebody always reads: the WAL stays small. */
static void test_wal_bounded(void)
{
	g_autoptr(TestEnv) env = test_env_new(&(MetaOptions){.no_sync = true});
	Worker workers[3];
	for (unsigned i = 0; i < G_N_ELEMENTS(workers); i++) {
		workers[i] = (Worker){.env = env, .n = 1500};
		g_assert_cmpint(thread_start(&workers[i].thread, "test", 0, write_much, &workers[i]), ==, 0);
	}
	int max_frames = 0;
	MetaStats stats;
	do {
		n_namespaces(env->db);
		meta_stats(env->db, &stats);
		max_frames = MAX(max_frames, stats.wal_frames);
	} while (stats.n_updates < 4500);
	for (unsigned i = 0; i < G_N_ELEMENTS(workers); i++)
		pthread_join(workers[i].thread, NULL);
	g_test_message("%u checkpoints, at most %d frames", stats.n_checkpoints, max_frames);
	g_assert_cmpuint(stats.n_checkpoints, >, 1);
	g_assert_cmpint(max_frames, <, 7500);
}

/* ---- failure ---- */

/* A child writes and says what was acknowledged, until it is killed: all of that is there afterwards. */
static void crash_once(TestEnv *env, unsigned run)
{
	int fds[2];
	g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
	pid_t pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		test_env_open(env, NULL);
		for (unsigned i = 0;; i++) {
			g_autofree char *name = g_strdup_printf("r%u-%06u", run, i);
			if (!meta_update(env->db, put, name, NULL) || write(fds[1], &i, sizeof(i)) < 0)
				_exit(1);
		}
	}
	close(fds[1]);
	unsigned last = 0, i;
	unsigned stop = (unsigned)g_test_rand_int_range(1, 60);
	while (read(fds[0], &i, sizeof(i)) == sizeof(i)) {
		last = i;
		if (i == stop)
			kill(pid, SIGKILL);
	}
	close(fds[0]);
	int status;
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFSIGNALED(status));
	int64_t before = 0;
	test_env_open(env, NULL);
	before = n_namespaces(env->db);
	g_assert_cmpint(before, >=, last + 1);
	g_autofree char *next = g_strdup_printf("r%u-next", run);
	g_assert_true(meta_update(env->db, put, next, NULL));
	g_assert_cmpint(n_namespaces(env->db), ==, before + 1);
	meta_close(g_steal_pointer(&env->db));
}

static void test_crash(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	meta_close(g_steal_pointer(&env->db));
	for (unsigned run = 0; run < 8; run++)
		crash_once(env, run);
}

static int sync_errno; // what fdatasync says
static unsigned n_syncs;

/* SQLite's: the executable's definition comes before libc's. */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
	__atomic_add_fetch(&n_syncs, 1, __ATOMIC_SEQ_CST);
	if (sync_errno == 0)
		return (int)syscall(SYS_fdatasync, fd);
	errno = sync_errno;
	return -1;
}

/* What could not be made durable is not there, and says so; the next update is another matter. */
static void test_fsync_fails(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_assert_true(meta_update(env->db, put, (void *)"one", &error));
	sync_errno = EIO;
	g_assert_false(meta_update(env->db, put, (void *)"two", &error));
	sync_errno = 0;
	assert_error(error, CTRD_ERR_UNKNOWN, "metadata: disk I/O error");
	g_assert_cmpint(n_namespaces(env->db), ==, 1);
	g_assert_true(meta_update(env->db, put, (void *)"two", &error));
	g_assert_cmpint(n_namespaces(env->db), ==, 2);
	meta_close(g_steal_pointer(&env->db));
	test_env_open(env, NULL);
	g_assert_cmpint(n_namespaces(env->db), ==, 2);
}

/* Steps of something larger wait for no disk; what is not lazy takes them along. */
static void test_lazy(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	static const Ctx lazy = {.lazy = true}, strict = {0};
	g_assert_true(meta_update(env->db, put, (void *)"one", &error));
	n_syncs = 0;
	g_assert_true(meta_update_for(env->db, &lazy, put, (void *)"two", &error));
	g_assert_true(meta_update_for(env->db, &lazy, put, (void *)"three", &error));
	g_assert_cmpuint(n_syncs, ==, 0);
	g_assert_cmpint(n_namespaces(env->db), ==, 3);
	g_assert_true(meta_update_for(env->db, &strict, put, (void *)"four", &error));
	g_assert_cmpuint(n_syncs, ==, 1);
	g_assert_true(meta_update_for(env->db, &lazy, put, (void *)"five", &error));
	g_assert_cmpuint(n_syncs, ==, 1);
	g_assert_true(meta_flush(env->db, &error));
	g_assert_cmpuint(n_syncs, ==, 2);
	sync_errno = EIO;
	g_assert_false(meta_flush(env->db, &error));
	sync_errno = 0;
	g_autofree char *text =
	        g_strdup_printf("metadata: sync %s/meta.sqlite-wal: input/output error", env->dir);
	assert_error(error, CTRD_ERR_UNKNOWN, text);
	meta_close(g_steal_pointer(&env->db));
	test_env_open(env, NULL);
	g_assert_cmpint(n_namespaces(env->db), ==, 5);
}

static bool put_label(MetaTx *tx, void *data, GError **error)
{
	return meta_run(tx, error, "INSERT INTO label VALUES (9, 1, ?, hex(zeroblob(8000)))", "s", data);
}

static void test_disk_full(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-store-XXXXXX", NULL);
	if (mount("tmpfs", dir, "tmpfs", 0, "size=1m") != 0) {
		g_assert_cmpint(g_rmdir(dir), ==, 0);
		g_test_skip("cannot mount a tmpfs");
		return;
	}
	TestEnv env = {.dir = dir, .events = g_ptr_array_new_with_free_func(g_free)};
	lock_init(&env.lock, "test-env", LOCK_RANK_LEAF);
	test_env_open(&env, NULL);
	g_autoptr(GError) error = NULL;
	unsigned n = 0;
	while (n < 1000) {
		g_autofree char *key = g_strdup_printf("k%u", n);
		if (!meta_update(env.db, put_label, key, &error))
			break;
		n++;
	}
	g_assert_cmpuint(n, >, 10);
	g_assert_true(g_str_has_suffix(error->message, "no space left on device"));
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_UNKNOWN);
	g_clear_error(&error);
	g_assert_cmpint(n_namespaces(env.db), ==, 0); // reading goes on
	g_assert_cmpint(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=4m"), ==, 0);
	g_assert_true(meta_update(env.db, put_label, (void *)"after", &error)); // and writing, with room
	g_assert_no_error(error);
	meta_close(env.db);
	test_env_open(&env, NULL);
	meta_close(env.db);
	g_ptr_array_unref(env.events);
	g_assert_cmpint(umount(dir), ==, 0);
	g_assert_cmpint(g_rmdir(dir), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/meta/open", test_open);
	g_test_add_func("/meta/open-refused", test_open_refused);
	g_test_add_func("/meta/migrate", test_migrate);
	g_test_add_func("/meta/open-damaged", test_open_damaged);
	g_test_add_func("/meta/upstream-root", test_upstream_root);
	g_test_add_func("/meta/update", test_update);
	g_test_add_func("/meta/snapshot", test_snapshot);
	g_test_add_func("/meta/concurrent", test_concurrent);
	g_test_add_func("/meta/maps", test_maps);
	g_test_add_func("/meta/namespace-required", test_namespace_required);
	g_test_add_func("/meta/dirty", test_dirty);
	g_test_add_func("/meta/generation", test_generation);
	g_test_add_func("/meta/pins", test_pins);
	g_test_add_func("/meta/wal-bounded", test_wal_bounded);
	g_test_add_func("/meta/crash", test_crash);
	g_test_add_func("/meta/fsync-fails", test_fsync_fails);
	g_test_add_func("/meta/lazy", test_lazy);
	g_test_add_func("/meta/disk-full", test_disk_full);
	return g_test_run();
}
