// SPDX-License-Identifier: Apache-2.0

/*
 * A process that prepares, commits and removes snapshots without pause is killed at a random moment. What it
 * was told to be done must be so afterwards, nothing half made may be visible, and after a cleanup the disk
 * holds the directories of the rows and nothing else. The child is this program with other arguments; it
 * writes a line to its standard output after each answer.
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/util.h"
#include "store/snapshots.h"
#include "store/test-env.h"
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_ROUNDS 12
#define N_WRITERS 3

static Snapshotter *open_snapshotter(MetaDb *db, const char *kind, const char *dir)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *root = path_join(dir, "root");
	bool overlay = g_str_equal(kind, "overlayfs");
	SnapshotDriver *driver =
	        overlay ? snapshot_overlayfs_new(root, &(OverlayOptions){.sync_remove = true}, &error)
	                : snapshot_native_new(root, &error);
	g_assert_no_error(error);
	Snapshotter *s = snapshotter_local_new(db, kind, driver, &error);
	g_assert_no_error(error);
	return s;
}

/* Where an active snapshot's changes lie. */
static char *upper_of(GPtrArray *mounts)
{
	const Mount *m = mounts->pdata[0];
	for (char **o = m->options; *o != NULL; o++) {
		if (g_str_has_prefix(*o, "upperdir="))
			return g_strdup(*o + strlen("upperdir="));
	}
	return g_strdup(m->source);
}

// ---- the child ----

typedef struct {
	Snapshotter *s;
	unsigned n;
	unsigned round;
} Writer;

static void say(char what, const char *name)
{
	g_autofree char *line = g_strdup_printf("%c%s\n", what, name);
	if (write(STDOUT_FILENO, line, strlen(line)) < 0)
		_exit(1);
}

static void must(bool ok, GError *error)
{
	if (!ok)
		g_error("%s", error->message);
}

static void one_chain(Writer *w, unsigned i)
{
	Ctx ctx = {.ns = "crash"};
	GError *error = NULL;
	g_autofree char *prefix = g_strdup_printf("%u-%u-%u", w->round, w->n, i);
	g_autofree char *key = g_strconcat(prefix, "-active", NULL),
	                *name = g_strconcat(prefix, "-done", NULL),
	                *child = g_strconcat(prefix, "-child", NULL),
	                *kept = g_strconcat(prefix, "-kept", NULL);
	g_autoptr(GPtrArray) m = snapshot_prepare(w->s, &ctx, key, NULL, NULL, &error);
	must(m != NULL, error);
	say('+', key);
	g_autofree char *upper = upper_of(m), *file = path_join(upper, "marker");
	must(file_write_atomic(file, prefix, strlen(prefix), 0644, false, &error), error);
	say('-', key); // may be gone from now on
	must(snapshot_commit(w->s, &ctx, name, key, NULL, NULL, &error), error);
	say('+', name);
	g_autoptr(GPtrArray) c = snapshot_prepare(w->s, &ctx, child, name, NULL, &error);
	must(c != NULL, error);
	say('+', child);
	if (i % 3 == 0) {
		say('-', child);
		must(snapshot_commit(w->s, &ctx, kept, child, NULL, NULL, &error), error);
		say('+', kept);
		return;
	}
	say('-', child);
	must(snapshot_remove(w->s, &ctx, child, &error), error);
	say('!', child); // must be gone
	say('-', name);
	must(snapshot_remove(w->s, &ctx, name, &error), error);
	say('!', name);
	if (i % 4 == 0)
		must(snapshot_cleanup(w->s, &ctx, &error), error);
}

static void *writer_main(void *data)
{
	for (unsigned i = 0;; i++)
		one_chain(data, i);
	return NULL;
}

static int child_main(const char *kind, const char *dir, unsigned round)
{
	g_autofree char *path = path_join(dir, "meta.sqlite");
	GError *error = NULL;
	MetaDb *db = meta_open(path, &(MetaOptions){.open_timeout_ns = 5 * NS_PER_SEC}, &error);
	must(db != NULL, error);
	Snapshotter *s = open_snapshotter(db, kind, dir);
	pthread_t threads[N_WRITERS];
	Writer writers[N_WRITERS];
	for (unsigned i = 0; i < N_WRITERS; i++) {
		writers[i] = (Writer){s, i, round};
		g_assert_cmpint(pthread_create(&threads[i], NULL, writer_main, &writers[i]), ==, 0);
	}
	for (unsigned i = 0; i < N_WRITERS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

// ---- the parent ----

static const char *program;

/* Reads what the child says until it is dead: name -> '+' (is there), '-' (unknown), '!' (is gone). */
static void run_child(const char *kind, const char *dir, unsigned round, GHashTable *state)
{
	g_autoptr(GError) error = NULL;
	int pipes[2];
	g_autofree char *number = g_strdup_printf("%u", round);
	const char *argv[] = {program, "--crash-child", kind, dir, number, NULL};
	g_assert_cmpint(pipe2(pipes, O_CLOEXEC), ==, 0);
	pid_t pid = process_spawn(argv, NULL, NULL, -1, pipes[1], 2, false, &error);
	g_assert_no_error(error);
	close(pipes[1]);
	// the moment is counted from its first answer, start-up is fast or slow
	char first;
	g_assert_cmpint(read(pipes[0], &first, 1), ==, 1);
	g_usleep((gulong)g_test_rand_int_range(0, 60000));
	kill(pid, SIGKILL);
	g_autofree char *data = NULL;
	size_t len = 0;
	g_assert_true(fd_read_all(pipes[0], 16 << 20, &data, &len, &error));
	close(pipes[0]);
	int status;
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	g_autofree char *all = g_strdup_printf("%c%s", first, data);
	g_auto(GStrv) lines = g_strsplit(all, "\n", -1);
	for (char **l = lines; *l != NULL; l++) {
		if (**l != '\0')
			g_hash_table_insert(state, g_strdup(*l + 1), GINT_TO_POINTER((int)**l));
	}
}

typedef struct {
	Snapshotter *s;
	const char *kind;
	GHashTable *state, *rows, *ids;
} Check;

static bool check_row(const SnapshotInfo *info, void *data, GError **error)
{
	Check *c = data;
	Ctx ctx = {.ns = "crash"};
	(void)error;
	g_hash_table_add(c->rows, g_strdup(info->name));
	g_assert_cmpint(GPOINTER_TO_INT(g_hash_table_lookup(c->state, info->name)), !=, '!');
	g_autofree char *view = g_strconcat("view-of-", info->name, NULL);
	g_autoptr(GError) e = NULL;
	g_autoptr(GPtrArray) m = info->kind == SNAPSHOT_COMMITTED
	                                 ? snapshot_view(c->s, &ctx, view, info->name, NULL, &e)
	                                 : snapshot_mounts(c->s, &ctx, info->name, &e);
	g_assert_no_error(e);
	g_autofree char *upper = upper_of(m);
	const Mount *mount = m->pdata[0];
	g_autofree char *marker = path_join(upper, "marker");
	if (*upper == '/') // else it is an overlay of committed ones only
		g_assert_true(path_exists(upper));
	if (g_str_has_suffix(info->name, "-done")) {
		g_autofree char *content = NULL;
		g_assert_cmpstr(mount->type, ==, "bind");
		g_assert_true(file_read(marker, 100, &content, NULL, &e));
		g_assert_true(g_str_has_prefix(info->name, content));
	}
	if (info->kind == SNAPSHOT_COMMITTED)
		g_assert_true(snapshot_remove(c->s, &ctx, view, &e));
	return true;
}

static bool count_rows(MetaTx *tx, void *data, GError **error)
{
	bool found;
	return meta_query_int(tx, &found, data, error, "SELECT count(*) FROM snapshot", "");
}

/* As many directories as rows, and only plain numbers. (All kinds in this test have directories.) */
static void check_disk(MetaDb *db, Snapshotter *s)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = path_join(s->root, "snapshots");
	g_autoptr(GPtrArray) names = dir_list(dir, 0, &error);
	int64_t rows = 0;
	g_assert_true(meta_view(db, count_rows, &rows, &error));
	g_assert_cmpint(names->len, ==, rows);
	for (guint i = 0; i < names->len; i++) {
		uint64_t n;
		g_assert_true(parse_u64(names->pdata[i], &n));
	}
}

static void check(const char *kind, const char *dir, GHashTable *state)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = path_join(dir, "meta.sqlite");
	g_autoptr(MetaDb) db = meta_open(path, &(MetaOptions){.open_timeout_ns = 5 * NS_PER_SEC}, &error);
	g_assert_no_error(error);
	g_autoptr(Snapshotter) s = open_snapshotter(db, kind, dir);
	Ctx ctx = {.ns = "crash"};
	g_autoptr(GHashTable) rows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	Check c = {.s = s, .kind = kind, .state = state, .rows = rows};
	const char *filters[] = {"name~=^[0-9]", NULL}; // not the views that the walk makes
	g_assert_true(snapshot_walk(s, &ctx, filters, check_row, &c, &error));
	g_assert_no_error(error);
	GHashTableIter iter;
	void *name, *what;
	g_hash_table_iter_init(&iter, state);
	while (g_hash_table_iter_next(&iter, &name, &what)) {
		if (GPOINTER_TO_INT(what) == '+' && !g_hash_table_contains(rows, name))
			g_error("%s was acknowledged and is gone", (char *)name);
	}
	g_assert_true(snapshot_cleanup(s, &ctx, &error));
	check_disk(db, s);
}

static void test_crash(gconstpointer data)
{
	const char *kind = data;
	g_autofree char *dir = g_dir_make_tmp("ctrd-crash-XXXXXX", NULL);
	g_autoptr(GHashTable) state = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	for (unsigned round = 0; round < N_ROUNDS; round++) {
		run_child(kind, dir, round, state);
		check(kind, dir, state);
	}
	g_assert_cmpuint(g_hash_table_size(state), >, N_ROUNDS);
	g_assert_true(tree_remove(dir, NULL));
}

int main(int argc, char **argv)
{
	if (argc == 5 && g_str_equal(argv[1], "--crash-child"))
		return child_main(argv[2], argv[3], (unsigned)g_ascii_strtoull(argv[4], NULL, 10));
	program = "/proc/self/exe";
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/snapshots/crash/overlayfs", "overlayfs", test_crash);
	g_test_add_data_func("/snapshots/crash/native", "native", test_crash);
	return g_test_run();
}
