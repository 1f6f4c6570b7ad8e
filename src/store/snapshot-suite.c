// SPDX-License-Identifier: Apache-2.0

#include "store/snapshot-suite.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "mount/test-private-ns.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- an environment for each case ----

static void on_event(const StoreEvent *ev, void *data)
{
	SuiteEnv *e = data;
	char *line = NULL;
	LOCK_SCOPE(&e->events_lock);
	if (ev->kind == STORE_EVENT_SNAPSHOT_PREPARE)
		line = g_strdup_printf("prepare %s %s %s %s", ev->ns, ev->key, ev->parent, ev->snapshotter);
	else if (ev->kind == STORE_EVENT_SNAPSHOT_COMMIT)
		line = g_strdup_printf("commit %s %s %s %s", ev->ns, ev->key, ev->name, ev->snapshotter);
	else if (ev->kind == STORE_EVENT_SNAPSHOT_REMOVE)
		line = g_strdup_printf("remove %s %s %s", ev->ns, ev->key, ev->snapshotter);
	if (line != NULL)
		g_ptr_array_add(e->events, line);
}

static void open_env(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	MetaOptions options = {.no_sync = true, .sink = {on_event, e}, .open_timeout_ns = 5 * NS_PER_SEC};
	g_autofree char *path = path_join(e->dir, "meta.sqlite");
	e->db = meta_open(path, &options, &error);
	g_assert_no_error(error);
	e->sn = e->suite->open(e->db, e->root, &error);
	g_assert_no_error(error);
}

static void close_env(SuiteEnv *e)
{
	if (e->suite->close != NULL)
		e->suite->close(e->sn);
	else
		snapshotter_free(e->sn);
	e->sn = NULL;
	g_clear_pointer(&e->db, meta_close);
}

SuiteEnv *suite_env_new(const SnapshotSuite *suite)
{
	SuiteEnv *e = g_new0(SuiteEnv, 1);
	e->suite = suite;
	e->dir = g_dir_make_tmp("ctrd-snapshots-XXXXXX", NULL);
	g_assert_nonnull(e->dir);
	e->root = path_join(e->dir, "root");
	e->work = path_join(e->dir, "work");
	g_assert_true(dir_make_all(e->work, 0777, NULL));
	e->ctx = (Ctx){.ns = "testsuite"};
	e->labels = strmap_new();
	strmap_set(e->labels, "containerd.io/gc.root", "2026-01-02T03:04:05Z");
	e->events = g_ptr_array_new_with_free_func(g_free);
	lock_init(&e->events_lock, "events", LOCK_RANK_LEAF);
	open_env(e);
	return e;
}

void suite_env_reopen(SuiteEnv *e)
{
	close_env(e);
	open_env(e);
}

void suite_env_free(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	close_env(e);
	mount_unmount_recursive(e->dir, 0, &error);
	g_assert_no_error(error);
	tree_remove(e->dir, &error);
	g_assert_no_error(error);
	g_free(e->dir);
	g_free(e->root);
	g_free(e->work);
	g_hash_table_unref(e->labels);
	g_ptr_array_unref(e->events);
	lock_destroy(&e->events_lock);
	g_free(e);
}

typedef struct {
	const SnapshotSuite *suite;
	void (*fn)(SuiteEnv *e);
} Case;

static void run_case(gconstpointer data)
{
	const Case *c = data;
	if (test_skip_without_mounts())
		return;
	g_autoptr(SuiteEnv) e = suite_env_new(c->suite);
	c->fn(e);
}

void suite_add_case(const SnapshotSuite *suite, const char *name, void (*fn)(SuiteEnv *e))
{
	g_autofree char *path = g_strdup_printf("/snapshots/%s/%s", suite->name, name);
	Case *c = g_new(Case, 1);
	*c = (Case){suite, fn};
	g_test_add_data_func_full(path, c, run_case, g_free);
}

// ---- shorthands ----

GPtrArray *suite_prepare(SuiteEnv *e, const char *key, const char *parent)
{
	g_autoptr(GError) error = NULL;
	GPtrArray *mounts = snapshot_prepare(e->sn, &e->ctx, key, parent, e->labels, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(mounts->len, >, 0);
	return mounts;
}

GPtrArray *suite_view(SuiteEnv *e, const char *key, const char *parent)
{
	g_autoptr(GError) error = NULL;
	GPtrArray *mounts = snapshot_view(e->sn, &e->ctx, key, parent, e->labels, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(mounts->len, >, 0);
	return mounts;
}

static void prepare(SuiteEnv *e, const char *key, const char *parent)
{
	g_ptr_array_unref(suite_prepare(e, key, parent));
}

static void view(SuiteEnv *e, const char *key, const char *parent)
{
	g_ptr_array_unref(suite_view(e, key, parent));
}

void suite_commit(SuiteEnv *e, const char *name, const char *key)
{
	g_autoptr(GError) error = NULL;
	snapshot_commit(e->sn, &e->ctx, name, key, NULL, e->labels, &error);
	g_assert_no_error(error);
}

void suite_remove(SuiteEnv *e, const char *key)
{
	g_autoptr(GError) error = NULL;
	snapshot_remove(e->sn, &e->ctx, key, &error);
	g_assert_no_error(error);
}

SnapshotInfo *suite_stat(SuiteEnv *e, const char *key)
{
	g_autoptr(GError) error = NULL;
	SnapshotInfo *info = snapshot_stat(e->sn, &e->ctx, key, &error);
	g_assert_no_error(error);
	return info;
}

static void assert_gone(SuiteEnv *e, const char *key)
{
	g_autoptr(GError) error = NULL;
	g_assert_null(snapshot_stat(e->sn, &e->ctx, key, &error));
	g_autofree char *want = g_strdup_printf("snapshot %s does not exist: not found", key);
	g_assert_cmpstr(error->message, ==, want);
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
}

static void assert_exists_error(SuiteEnv *e, SnapshotKind kind, const char *key, const char *parent)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) m = kind == SNAPSHOT_VIEW
	                                 ? snapshot_view(e->sn, &e->ctx, key, parent, e->labels, &error)
	                                 : snapshot_prepare(e->sn, &e->ctx, key, parent, e->labels, &error);
	g_assert_null(m);
	g_autofree char *quoted = go_quote(key);
	g_autofree char *want = g_strdup_printf("snapshot %s: already exists", quoted);
	g_assert_cmpstr(error->message, ==, want);
	g_assert_true(error_is(error, CTRD_ERR_ALREADY_EXISTS));
}

// ---- trees ----

static void apply_step(const char *root, const Step *s)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = path_join(root, s->path);
	g_autofree char *other =
	        s->kind == STEP_LINK || s->kind == STEP_RENAME ? path_join(root, s->arg) : NULL;
	int r = 0;
	switch (s->kind) {
	case STEP_FILE: {
		autofd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		g_assert_cmpint(fd, >=, 0);
		g_assert_true(fd_write_all(fd, s->arg, strlen(s->arg), &error));
		r = fchmod(fd, s->mode);
		break;
	}
	case STEP_DIR:
		r = mkdir(path, 0700);
		if (r == 0)
			r = chmod(path, s->mode);
		break;
	case STEP_RM:
		tree_remove(path, &error);
		g_assert_no_error(error);
		break;
	case STEP_LINK:
		r = link(path, other);
		break;
	case STEP_CHOWN:
		r = lchown(path, s->uid, s->gid);
		break;
	case STEP_RENAME:
		r = rename(path, other);
		break;
	case STEP_END:
		break;
	}
	if (r != 0)
		g_error("%s: %s", path, g_strerror(errno));
}

void suite_apply(const char *root, const Step *steps)
{
	for (; steps->kind != STEP_END; steps++)
		apply_step(root, steps);
}

static void describe(GString *out, GHashTable *inodes, const char *root, const char *rel)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = path_join(root, rel);
	g_autoptr(GPtrArray) names = dir_list(dir, 0, &error);
	g_assert_no_error(error);
	for (guint i = 0; i < names->len; i++) {
		g_autofree char *path =
		        g_str_equal(rel, ".") ? g_strdup(names->pdata[i]) : path_join(rel, names->pdata[i]);
		g_autofree char *full = path_join(root, path);
		struct stat st;
		g_assert_cmpint(lstat(full, &st), ==, 0);
		g_string_append_printf(out, "%s %o %u:%u", path, st.st_mode, st.st_uid, st.st_gid);
		if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
			char *inode = g_strdup_printf("%ju", (uintmax_t)st.st_ino);
			const char *first = g_hash_table_lookup(inodes, inode);
			g_string_append_printf(out, " =%s", first != NULL ? first : path);
			if (first == NULL)
				g_hash_table_insert(inodes, inode, g_strdup(path));
			else
				g_free(inode);
		}
		if (S_ISREG(st.st_mode)) {
			g_autofree char *data = NULL;
			g_assert_true(file_read(full, 1 << 20, &data, NULL, &error));
			g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA1, data, -1);
			g_string_append_printf(out, " %s", strlen(data) < 60 ? data : sum);
		} else if (S_ISLNK(st.st_mode)) {
			char target[4096] = "";
			g_assert_cmpint(readlink(full, target, sizeof target - 1), >=, 0);
			g_string_append_printf(out, " -> %s", target);
		} else if (!S_ISDIR(st.st_mode)) {
			g_string_append_printf(out, " %jx", (uintmax_t)st.st_rdev);
		}
		g_string_append_c(out, '\n');
		if (S_ISDIR(st.st_mode))
			describe(out, inodes, root, path);
	}
}

char *suite_describe(const char *root)
{
	g_autoptr(GString) out = g_string_new(NULL);
	g_autoptr(GHashTable) inodes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	describe(out, inodes, root, ".");
	return g_string_free(g_steal_pointer(&out), FALSE);
}

void suite_assert_same(const char *want_root, const char *got_root)
{
	g_autofree char *want = suite_describe(want_root), *got = suite_describe(got_root);
	g_assert_cmpstr(got, ==, want);
}

// ---- mounts ----

static char *make_work_dir(SuiteEnv *e, const char *name)
{
	char *path = path_join(e->work, name);
	g_assert_true(dir_make_all(path, 0755, NULL));
	return path;
}

void suite_with_mounts(SuiteEnv *e, GPtrArray *mounts, SuiteMountFn fn, void *data)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = g_strdup_printf("%s/mntXXXXXX", e->work);
	g_assert_nonnull(g_mkdtemp(dir));
	mounts_mount(mounts, dir, &error);
	g_assert_no_error(error);
	fn(dir, data);
	mounts_unmount(mounts, dir, 0, &error);
	g_assert_no_error(error);
	g_assert_cmpint(rmdir(dir), ==, 0);
}

static void apply_fn(const char *root, void *data)
{
	suite_apply(root, data);
}

static void same_fn(const char *root, void *data)
{
	suite_assert_same(data, root);
}

static void no_fn(const char *root, void *data)
{
	(void)root;
	(void)data;
}

void suite_layer(SuiteEnv *e, const char *name, const char *parent, const Step *steps)
{
	g_autofree char *key = g_strconcat(name, "-prepare", NULL);
	g_autoptr(GPtrArray) m = suite_prepare(e, key, parent);
	suite_with_mounts(e, m, apply_fn, (void *)steps);
	suite_commit(e, name, key);
}

/* Each list of steps a layer; after each a view must look like the same steps in a plain directory. */
static void check_layers(SuiteEnv *e, const char *prefix, const Step *const *layers)
{
	g_autofree char *flat_name = g_strconcat(prefix, "flat", NULL), *flat = make_work_dir(e, flat_name);
	g_autofree char *parent = NULL;
	for (unsigned i = 0; layers[i] != NULL; i++) {
		g_autofree char *name = g_strdup_printf("%s%u", prefix, i),
		                *key = g_strconcat(name, "-view", NULL);
		suite_layer(e, name, parent, layers[i]);
		suite_apply(flat, layers[i]);
		g_autoptr(GPtrArray) m = suite_view(e, key, name);
		suite_with_mounts(e, m, same_fn, flat);
		suite_remove(e, key);
		g_free(parent);
		parent = g_steal_pointer(&name);
	}
}

#define LAYERS(...) ((const Step *const[]){__VA_ARGS__, NULL})
#define STEPS(...) ((const Step[]){__VA_ARGS__, S_END})

// ---- the cases ----

static bool collect(const SnapshotInfo *info, void *data, GError **error)
{
	(void)error;
	g_ptr_array_add(data,
	                g_strdup_printf("%s %s %s %" G_GINT64_FORMAT, info->name,
	                                snapshot_kind_name(info->kind), info->parent, info->created_at));
	return true;
}

static void check_basic(SuiteEnv *e)
{
	const Step *initial = STEPS(S_FILE("foo", "foo\n", 0777), S_DIR("a", 0755), S_DIR("a/b", 0755),
	                            S_DIR("a/b/c", 0755));
	const Step *diff = STEPS(S_FILE("bar", "bar\n", 0777), S_FILE("foo", "bar\n", 0777), S_RM("a/b"));
	g_autoptr(GError) error = NULL;
	g_autofree char *flat = make_work_dir(e, "flat");

	suite_layer(e, "committed", NULL, initial);
	g_autoptr(SnapshotInfo) si = suite_stat(e, "committed");
	g_assert_cmpstr(si->parent, ==, "");
	g_assert_cmpint(si->kind, ==, SNAPSHOT_COMMITTED);
	assert_gone(e, "committed-prepare");

	g_autoptr(GPtrArray) m = suite_prepare(e, "next", "committed");
	suite_apply(flat, initial);
	suite_with_mounts(e, m, same_fn, flat);
	suite_with_mounts(e, m, apply_fn, (void *)diff);
	g_autoptr(SnapshotInfo) ni = suite_stat(e, "next");
	g_assert_cmpstr(ni->parent, ==, "committed");
	g_assert_cmpint(ni->kind, ==, SNAPSHOT_ACTIVE);
	suite_commit(e, "committed-next", "next");
	g_autoptr(SnapshotInfo) si2 = suite_stat(e, "committed-next");
	g_assert_cmpstr(si2->parent, ==, "committed");
	g_assert_cmpint(si2->kind, ==, SNAPSHOT_COMMITTED);
	assert_gone(e, "next");

	g_autoptr(GPtrArray) walked = g_ptr_array_new_with_free_func(g_free);
	g_assert_true(snapshot_walk(e->sn, &e->ctx, NULL, collect, walked, &error));
	g_autofree char *w0 = g_strdup_printf("committed Committed  %" G_GINT64_FORMAT, si->created_at);
	g_autofree char *w1 =
	        g_strdup_printf("committed-next Committed committed %" G_GINT64_FORMAT, si2->created_at);
	g_assert_cmpuint(walked->len, ==, 2);
	g_assert_cmpstr(walked->pdata[0], ==, w0);
	g_assert_cmpstr(walked->pdata[1], ==, w1);

	g_autoptr(GPtrArray) v = suite_view(e, "nextnext", "committed-next");
	suite_apply(flat, diff);
	suite_with_mounts(e, v, same_fn, flat);
	suite_remove(e, "nextnext");
	g_assert_false(snapshot_remove(e->sn, &e->ctx, "committed", &error));
	g_assert_cmpstr(error->message, ==, "cannot remove snapshot with child: failed precondition");
	g_assert_true(error_is(error, CTRD_ERR_FAILED_PRECONDITION));
	suite_remove(e, "committed-next");
	suite_remove(e, "committed");
}

static void check_stat_active(SuiteEnv *e)
{
	g_autoptr(GPtrArray) m = suite_prepare(e, "preparing", NULL);
	suite_with_mounts(e, m, no_fn, NULL);
	g_autoptr(SnapshotInfo) si = suite_stat(e, "preparing");
	g_assert_cmpstr(si->name, ==, "preparing");
	g_assert_cmpint(si->kind, ==, SNAPSHOT_ACTIVE);
	g_assert_cmpstr(si->parent, ==, "");
}

static void check_stat_committed(SuiteEnv *e)
{
	suite_layer(e, "committed", NULL, STEPS(S_FILE("foo", "foo\n", 0777)));
	g_autoptr(SnapshotInfo) si = suite_stat(e, "committed");
	g_assert_cmpstr(si->name, ==, "committed");
	g_assert_cmpint(si->kind, ==, SNAPSHOT_COMMITTED);
	g_assert_cmpstr(si->parent, ==, "");
}

static void check_transitivity(SuiteEnv *e)
{
	suite_layer(e, "snapA", NULL, STEPS(S_FILE("foo", "foo\n", 0777)));
	suite_layer(e, "snapB", "snapA", STEPS(S_FILE("foo", "foo bar\n", 0777)));
	g_autoptr(SnapshotInfo) a = suite_stat(e, "snapA"), b = suite_stat(e, "snapB"),
	                        pb = suite_stat(e, b->parent);
	g_assert_cmpstr(a->parent, ==, "");
	g_assert_cmpstr(b->parent, ==, "snapA");
	g_assert_cmpstr(pb->parent, ==, "");
}

static void check_prepare_view(SuiteEnv *e)
{
	suite_layer(e, "snapA", NULL, STEPS(S_DIR("d", 0755)));
	prepare(e, "newlayer", "snapA");
	assert_exists_error(e, SNAPSHOT_VIEW, "newlayer", "snapA");
	prepare(e, "prepLayer", "snapA");
	assert_exists_error(e, SNAPSHOT_ACTIVE, "prepLayer", "snapA");
	view(e, "viewLayer", "snapA");
	assert_exists_error(e, SNAPSHOT_VIEW, "viewLayer", "snapA");
}

static void check_deleted_files(SuiteEnv *e)
{
	check_layers(e, "d",
	             LAYERS(STEPS(S_FILE("foo", "foo\n", 0777), S_FILE("foobar", "foobar\n", 0777)),
	                    STEPS(S_RM("foobar")), STEPS(S_END)));
}

static void check_remove_intermediate(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	suite_layer(e, "base", NULL, STEPS(S_END));
	suite_layer(e, "inter", "base", STEPS(S_END));
	prepare(e, "top", "inter");
	g_assert_false(snapshot_remove(e->sn, &e->ctx, "inter", &error));
	g_assert_cmpstr(error->message, ==, "cannot remove snapshot with child: failed precondition");
	suite_remove(e, "top");
	suite_remove(e, "inter");
	suite_remove(e, "base");
}

static void base_snapshots(SuiteEnv *e, const char *prefix)
{
	g_autofree char *c1 = g_strconcat(prefix, "c1", NULL), *c2 = g_strconcat(prefix, "c2", NULL),
	                *a1 = g_strconcat(prefix, "a1", NULL), *a2 = g_strconcat(prefix, "a2", NULL),
	                *v1 = g_strconcat(prefix, "v1", NULL), *v2 = g_strconcat(prefix, "v2", NULL);
	prepare(e, "c1-a", NULL);
	suite_commit(e, c1, "c1-a");
	prepare(e, "c2-a", c1);
	suite_commit(e, c2, "c2-a");
	prepare(e, a1, c2);
	prepare(e, a2, NULL);
	view(e, v1, c2);
	view(e, v2, NULL);
}

static void assert_labels(const SnapshotInfo *info, const char *want)
{
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(info->labels);
	g_autoptr(GString) s = g_string_new(NULL);
	for (guint i = 0; i < keys->len; i++)
		g_string_append_printf(s, "%s=%s ", (char *)keys->pdata[i],
		                       strmap_get(info->labels, keys->pdata[i]));
	g_assert_cmpstr(s->str, ==, want);
}

static SnapshotInfo *update(SuiteEnv *e, SnapshotInfo *info, const char *labels, const char *paths)
{
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) pairs = g_strsplit(labels, " ", -1), p = g_strsplit(paths, " ", -1);
	g_hash_table_remove_all(info->labels);
	for (char **pair = pairs; *pair != NULL; pair++) {
		char *eq = strchr(*pair, '=');
		*eq = '\0';
		strmap_set(info->labels, *pair, eq + 1);
	}
	SnapshotInfo *updated = snapshot_update(e->sn, &e->ctx, info, (const char *const *)p, &error);
	g_assert_no_error(error);
	snapshot_info_free(info);
	g_autoptr(SnapshotInfo) now = suite_stat(e, updated->name); // what is stored is what was returned
	g_assert_true(strmap_equal(now->labels, updated->labels));
	g_assert_cmpint(now->updated_at, ==, updated->updated_at);
	return updated;
}

static void check_update(SuiteEnv *e)
{
	static const struct {
		const char *name;
		SnapshotKind kind;
		const char *parent;
	} cases[] = {
	        {"c1", SNAPSHOT_COMMITTED, ""}, {"c2", SNAPSHOT_COMMITTED, "c1"},
	        {"a1", SNAPSHOT_ACTIVE, "c2"},  {"a2", SNAPSHOT_ACTIVE, ""},
	        {"v1", SNAPSHOT_VIEW, "c2"},    {"v2", SNAPSHOT_VIEW, ""},
	};
	TimeNs t1 = time_now();
	base_snapshots(e, "");
	TimeNs t2 = time_now();
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(SnapshotInfo) st = suite_stat(e, cases[i].name);
		TimeNs created = st->created_at;
		g_assert_cmpint(created, >=, t1);
		g_assert_cmpint(created, <=, t2);
		g_assert_cmpint(created, ==, st->updated_at);
		g_assert_cmpint(st->kind, ==, cases[i].kind);
		g_assert_cmpstr(st->parent, ==, cases[i].parent);

		g_free(st->parent);
		st->parent = g_strdup("doesnotexist"); // is not what an update changes
		TimeNs u1 = time_now();
		st = update(e, g_steal_pointer(&st), "l1=v1 l2=v2 l3=v3 containerd.io/gc.root=now", "");
		g_assert_cmpint(st->created_at, ==, created);
		g_assert_cmpint(st->updated_at, >=, u1);
		g_assert_cmpint(st->updated_at, <=, time_now());
		g_assert_cmpint(st->kind, ==, cases[i].kind);
		g_assert_cmpstr(st->parent, ==, cases[i].parent);
		g_assert_cmpstr(st->name, ==, cases[i].name);
		assert_labels(st, "containerd.io/gc.root=now l1=v1 l2=v2 l3=v3 ");

		st = update(e, g_steal_pointer(&st), "l1=updated l4=v4", "labels.l1 labels.l2");
		assert_labels(st, "containerd.io/gc.root=now l1=updated l3=v3 ");
		st = update(e, g_steal_pointer(&st), "l4=v4 containerd.io/gc.root=now", "labels");
		assert_labels(st, "containerd.io/gc.root=now l4=v4 ");

		g_autoptr(GError) error = NULL;
		const char *paths[] = {"parent", NULL};
		g_assert_null(snapshot_update(e->sn, &e->ctx, st, paths, &error));
		g_autofree char *want = g_strdup_printf(
		        "cannot update \"parent\" field on snapshot \"%s\": invalid argument", cases[i].name);
		g_assert_cmpstr(error->message, ==, want);
		g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	}
}

static void check_remove(SuiteEnv *e)
{
	prepare(e, "committed-a", NULL);
	suite_commit(e, "committed-1", "committed-a");
	prepare(e, "reuse-1", "committed-1");
	suite_remove(e, "reuse-1");
	view(e, "reuse-1", "committed-1");
	suite_remove(e, "reuse-1");
	prepare(e, "reuse-1", NULL);
	suite_remove(e, "committed-1");
	suite_commit(e, "committed-1", "reuse-1");
}

typedef struct {
	const char *filters[3];
	const char *want; // in order of names
} WalkCase;

static bool collect_name(const SnapshotInfo *info, void *data, GError **error)
{
	(void)error;
	g_string_append_printf(data, "%s ", info->name);
	return true;
}

static void with_label(SuiteEnv *e, const char *l)
{
	g_hash_table_remove_all(e->labels);
	strmap_set(e->labels, "containerd.io/gc.root", "check-walk");
	if (l != NULL)
		strmap_set(e->labels, "l", l);
}

static void check_walk(SuiteEnv *e)
{
#define ROOT "labels.\"containerd.io/gc.root\"==check-walk"
	static const WalkCase cases[] = {
	        {{ROOT}, "a a-np a-np-wl a-wl p p-wl v v-wl "},
	        {{"kind==active," ROOT}, "a a-np a-np-wl a-wl "},
	        {{"kind==view," ROOT}, "v v-wl "},
	        {{"kind==committed," ROOT}, "p p-wl "},
	        {{"name==p", "name==a-np-wl"}, "a-np-wl p "},
	        {{"name==a-wl,labels.l"}, "a-wl "},
	        {{"parent==p"}, "a v "},
	        {{"parent!=\"\"," ROOT}, "a a-wl v v-wl "},
	        {{"labels.l"}, "a-np-wl a-wl p-wl v-wl "},
	        {{"labels.l==2"}, "a-np-wl a-wl "},
	        {{"name==nothing"}, ""},
	        {{NULL}, "a a-np a-np-wl a-wl p p-wl v v-wl "},
	};
	with_label(e, NULL);
	prepare(e, "a-np", NULL);
	prepare(e, "p-tmp", NULL);
	suite_commit(e, "p", "p-tmp");
	prepare(e, "a", "p");
	view(e, "v", "p");
	prepare(e, "p-wl-tmp", NULL);
	with_label(e, "1");
	suite_commit(e, "p-wl", "p-wl-tmp");
	with_label(e, "2");
	prepare(e, "a-wl", "p-wl");
	prepare(e, "a-np-wl", NULL);
	with_label(e, "3");
	view(e, "v-wl", "p-wl");
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GString) names = g_string_new(NULL);
		snapshot_walk(e->sn, &e->ctx, cases[i].filters, collect_name, names, &error);
		g_assert_no_error(error);
		g_assert_cmpstr(names->str, ==, cases[i].want);
	}
}

static void check_file_update(SuiteEnv *e)
{
	for (unsigned i = 0; i < 5; i++) {
		g_autofree char *prefix = g_strdup_printf("u%u-", i);
		check_layers(e, prefix,
		             LAYERS(STEPS(S_DIR("etc", 0700), S_FILE("etc/hosts", "mydomain 10.0.0.1", 0644),
		                          S_FILE("etc/profile", "PATH=/usr/bin", 0644)),
		                    STEPS(S_FILE("etc/hosts", "mydomain 10.0.0.2", 0644),
		                          S_FILE("etc/profile", "PATH=/usr/bin", 0666), S_DIR("root", 0700),
		                          S_FILE("root/.bashrc", "PATH=/usr/sbin:/usr/bin", 0644))));
	}
}

static void check_remove_directory(SuiteEnv *e)
{
	check_layers(e, "r",
	             LAYERS(STEPS(S_DIR("lib", 0700), S_FILE("lib/hidden", "", 0644)),
	                    STEPS(S_RM("lib"), S_DIR("lib", 0700), S_FILE("lib/not-hidden", "", 0644)),
	                    STEPS(S_FILE("lib/newfile", "", 0644))));
}

static void check_chown(SuiteEnv *e)
{
	check_layers(e, "c",
	             LAYERS(STEPS(S_DIR("opt", 0700), S_DIR("opt/a", 0700), S_DIR("opt/a/b", 0700),
	                          S_FILE("opt/a/b/file.txt", "hello", 0644)),
	                    STEPS(S_CHOWN("opt", 1, 1), S_CHOWN("opt/a", 1, 1), S_CHOWN("opt/a/b", 1, 1),
	                          S_CHOWN("opt/a/b/file.txt", 1, 1))));
}

static void check_directory_permission(SuiteEnv *e)
{
	check_layers(
	        e, "p",
	        LAYERS(STEPS(S_DIR("dir1", 0700), S_DIR("dir2", 0700), S_DIR("dir3", 0700),
	                     S_DIR("dir4", 0700), S_FILE("dir4/f1", "...", 0644), S_DIR("dir5", 0700),
	                     S_FILE("dir5/f1", "...", 0644), S_CHOWN("dir1", 1, 1), S_CHOWN("dir2", 1, 1),
	                     S_CHOWN("dir3", 1, 1), S_CHOWN("dir5", 1, 1), S_CHOWN("dir5/f1", 1, 1)),
	               STEPS(S_CHOWN("dir2", 0, 0), S_RM("dir3"), S_CHOWN("dir4", 1, 1),
	                     S_CHOWN("dir4/f1", 1, 1)),
	               STEPS(S_DIR("dir3", 0700), S_CHOWN("dir3", 1, 1), S_RM("dir5"), S_DIR("dir5", 0700),
	                     S_CHOWN("dir5", 1, 1))));
}

static void check_move_file(SuiteEnv *e)
{
	check_layers(e, "m",
	             LAYERS(STEPS(S_DIR("dir1", 0700), S_FILE("dir1/f1", "Hello", 0644), S_DIR("dir2", 0700),
	                          S_FILE("dir2/f2", "...", 0644)),
	                    STEPS(S_DIR("dir3", 0700), S_FILE("dir3/f1", "Hello", 0644), S_RM("dir1"),
	                          S_LINK("dir2/f2", "dir3/f2"), S_RM("dir2/f2"))));
}

static void check_rename(SuiteEnv *e)
{
	const Step *second = STEPS(
	        S_RENAME("dir1", "dir2"), S_FILE("somefiles/f1-overwrite", "new content 1", 0644),
	        S_RENAME("somefiles/f1-overwrite", "somefiles/f1"), S_RENAME("somefiles/f2", "somefiles/f3"));
	check_layers(e, "n",
	             LAYERS(STEPS(S_DIR("dir1", 0700), S_DIR("somefiles", 0700),
	                          S_FILE("somefiles/f1", "was here first!", 0644),
	                          S_FILE("somefiles/f2", "nothing interesting", 0644)),
	                    second + (e->suite->no_rename_dir ? 1 : 0)));
}

static void write_fails(const char *root, void *data)
{
	g_autofree char *path = path_join(root, "testfile");
	(void)data;
	g_assert_cmpint(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0777), ==, -1);
	g_assert_cmpint(errno, ==, EROFS);
}

static void check_view_readonly(SuiteEnv *e)
{
	prepare(e, "preparing", NULL);
	suite_commit(e, "committed", "preparing");
	g_autoptr(GPtrArray) m = suite_view(e, "view", "committed");
	suite_with_mounts(e, m, write_fails, NULL);
	g_autoptr(GPtrArray) again = snapshot_mounts(e->sn, &e->ctx, "view", NULL);
	suite_with_mounts(e, again, write_fails, NULL);
	suite_remove(e, "view");
	// of two layers, and of none
	prepare(e, "preparing", "committed");
	suite_commit(e, "second", "preparing");
	g_autoptr(GPtrArray) two = suite_view(e, "view", "second");
	suite_with_mounts(e, two, write_fails, NULL);
	g_autoptr(GPtrArray) none = suite_view(e, "view-of-nothing", NULL);
	suite_with_mounts(e, none, write_fails, NULL);
	suite_remove(e, "view");
	suite_remove(e, "second");
	suite_remove(e, "committed");
}

static bool stat_same(const SnapshotInfo *info, void *data, GError **error)
{
	g_autoptr(SnapshotInfo) other = suite_stat(data, info->name);
	(void)error;
	g_assert_cmpint(info->kind, ==, other->kind);
	g_assert_cmpstr(info->name, ==, other->name);
	g_assert_cmpstr(info->parent, ==, other->parent);
	g_assert_cmpint(info->created_at, ==, other->created_at);
	g_assert_cmpint(info->updated_at, ==, other->updated_at);
	g_assert_true(strmap_equal(info->labels, other->labels));
	return true;
}

static void check_stat_in_walk(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	base_snapshots(e, "stats-in-walk-");
	g_assert_true(snapshot_walk(e->sn, &e->ctx, NULL, stat_same, e, &error));
}

static void check_close(SuiteEnv *e)
{
	prepare(e, "prepare", NULL);
	suite_commit(e, "n", "prepare");
	suite_remove(e, "n");
	suite_layer(e, "kept", NULL, STEPS(S_FILE("f", "x", 0644)));
	suite_env_reopen(e);
	suite_env_reopen(e);
	assert_gone(e, "n");
	g_autofree char *flat = make_work_dir(e, "flat");
	suite_apply(flat, STEPS(S_FILE("f", "x", 0644)));
	g_autoptr(GPtrArray) m = suite_view(e, "view", "kept");
	suite_with_mounts(e, m, same_fn, flat);
}

static void mode_is_0755(const char *root, void *data)
{
	struct stat st;
	(void)data;
	g_assert_cmpint(stat(root, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0755);
}

static void check_root_permission(SuiteEnv *e)
{
	mode_t before = umask(0077);
	g_autoptr(GPtrArray) m = suite_prepare(e, "preparing", NULL);
	umask(before);
	suite_with_mounts(e, m, mode_is_0755, NULL);
	suite_commit(e, "committed", "preparing");
	g_autoptr(GPtrArray) n = suite_prepare(e, "next", "committed");
	suite_with_mounts(e, n, mode_is_0755, NULL);
	struct stat st;
	g_assert_cmpint(stat(e->root, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0700);
}

typedef struct {
	const char *flat;
	const Step *steps;
} LayerCheck;

static void check_and_apply(const char *root, void *data)
{
	const LayerCheck *c = data;
	suite_assert_same(c->flat, root);
	suite_apply(c->flat, c->steps);
	suite_apply(root, c->steps);
	suite_assert_same(c->flat, root);
}

static void check_128_layers(SuiteEnv *e)
{
	g_autofree char *flat = make_work_dir(e, "flat"), *parent = NULL;
	const Step *first =
	        STEPS(S_FILE("bottom", "way at the bottom\n", 0777), S_FILE("overwriteme", "FIRST!\n", 0777),
	              S_DIR("addhere", 0755), S_DIR("onlyme", 0755), S_FILE("onlyme/bottom", "bye!\n", 0777));
	for (unsigned i = 0; i <= 127; i++) {
		g_autofree char *here = g_strdup_printf("%u WAS HERE!\n", i),
		                *added = g_strdup_printf("addhere/file-%u", i),
		                *only = g_strdup_printf("onlyme/file-%u", i),
		                *key = g_strdup_printf("prepare-layer-%u", i),
		                *name = g_strdup_printf("committed-%u", i);
		const Step *next =
		        STEPS(S_FILE("overwriteme", here, 0777), S_FILE(added, "same\n", 0755),
		              S_RM("onlyme"), S_DIR("onlyme", 0755), S_FILE(only, "only me!\n", 0777));
		LayerCheck c = {flat, i == 0 ? first : next};
		g_autoptr(GPtrArray) m = suite_prepare(e, key, parent);
		suite_with_mounts(e, m, check_and_apply, &c);
		suite_commit(e, name, key);
		g_free(parent);
		parent = g_steal_pointer(&name);
	}
	g_autoptr(GPtrArray) m = suite_view(e, "fullview", parent);
	suite_with_mounts(e, m, same_fn, flat);
}

void snapshot_suite_add(const SnapshotSuite *s)
{
	suite_add_case(s, "Basic", check_basic);
	suite_add_case(s, "StatActive", check_stat_active);
	suite_add_case(s, "StatComitted", check_stat_committed);
	suite_add_case(s, "TransitivityTest", check_transitivity);
	suite_add_case(s, "PreareViewFailingtest", check_prepare_view);
	suite_add_case(s, "Update", check_update);
	suite_add_case(s, "Remove", check_remove);
	suite_add_case(s, "Walk", check_walk);
	suite_add_case(s, "LayerFileupdate", check_file_update);
	suite_add_case(s, "RemoveDirectoryInLowerLayer", check_remove_directory);
	suite_add_case(s, "Chown", check_chown);
	suite_add_case(s, "DirectoryPermissionOnCommit", check_directory_permission);
	suite_add_case(s, "RemoveIntermediateSnapshot", check_remove_intermediate);
	suite_add_case(s, "DeletedFilesInChildSnapshot", check_deleted_files);
	suite_add_case(s, "MoveFileFromLowerLayer", check_move_file);
	suite_add_case(s, "ViewReadonly", check_view_readonly);
	suite_add_case(s, "StatInWalk", check_stat_in_walk);
	suite_add_case(s, "CloseTwice", check_close);
	suite_add_case(s, "RootPermission", check_root_permission);
	suite_add_case(s, "Rename", check_rename);
	suite_add_case(s, "128LayersMount", check_128_layers);
}
