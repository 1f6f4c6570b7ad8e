// SPDX-License-Identifier: Apache-2.0

/* The conformance suite over overlayfs, with its options, and what is overlayfs's own (overlay_test.go). */

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "mount/test-private-ns.h"
#include "store/snapshot-suite.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Snapshotter *open_with(MetaDb *db, const char *root, const OverlayOptions *options, GError **error)
{
	SnapshotDriver *driver = snapshot_overlayfs_new(root, options, error);
	return driver != NULL ? snapshotter_local_new(db, "overlayfs", driver, error) : NULL;
}

static Snapshotter *open_plain(MetaDb *db, const char *root, GError **error)
{
	return open_with(db, root, NULL, error);
}

static Snapshotter *open_sync_remove(MetaDb *db, const char *root, GError **error)
{
	return open_with(db, root, &(OverlayOptions){.sync_remove = true}, error);
}

static Snapshotter *open_label(MetaDb *db, const char *root, GError **error)
{
	return open_with(db, root, &(OverlayOptions){.upperdir_label = true}, error);
}

static Snapshotter *open_volatile(MetaDb *db, const char *root, GError **error)
{
	static char *options[] = {(char *)"volatile", NULL};
	return open_with(db, root, &(OverlayOptions){.mount_options = options, .slow_chown = true}, error);
}

static const SnapshotSuite plain = {.name = "overlayfs", .open = open_plain, .no_rename_dir = true};
static const SnapshotSuite sync_remove = {
        .name = "overlayfs-sync-remove", .open = open_sync_remove, .no_rename_dir = true};
static const SnapshotSuite with_label = {
        .name = "overlayfs-label", .open = open_label, .no_rename_dir = true};
static const SnapshotSuite with_volatile = {
        .name = "overlayfs-volatile", .open = open_volatile, .no_rename_dir = true};

/* "type source option|option" with the root cut out of paths. */
static char *describe_mounts(SuiteEnv *e, GPtrArray *mounts)
{
	g_autoptr(GString) s = g_string_new(NULL);
	for (guint i = 0; i < mounts->len; i++) {
		const Mount *m = mounts->pdata[i];
		g_autofree char *options = g_strjoinv("|", m->options);
		g_string_append_printf(s, "%s%s %s %s", i > 0 ? "\n" : "", m->type, m->source, options);
	}
	g_autofree char *dir = path_join(e->root, "snapshots");
	g_string_replace(s, dir, "S", 0);
	return g_string_free(g_steal_pointer(&s), FALSE);
}

static void assert_mounts(SuiteEnv *e, GPtrArray *mounts, const char *want)
{
	g_autofree char *got = describe_mounts(e, mounts);
	g_assert_cmpstr(got, ==, want);
	g_ptr_array_unref(mounts);
}

static void check_mounts(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	assert_mounts(e, suite_prepare(e, "one", NULL), "bind S/1/fs rw|rbind");
	assert_mounts(e, snapshot_mounts(e->sn, &e->ctx, "one", &error), "bind S/1/fs rw|rbind");
	suite_commit(e, "base", "one");
	assert_mounts(e, suite_prepare(e, "two", "base"),
	              "overlay overlay workdir=S/2/work|upperdir=S/2/fs|lowerdir=S/1/fs|index=off");
	assert_mounts(e, suite_view(e, "v1", "base"), "bind S/1/fs ro|rbind");
	assert_mounts(e, suite_view(e, "v0", NULL), "bind S/4/fs ro|rbind");
	suite_commit(e, "top", "two");
	assert_mounts(e, suite_view(e, "v2", "top"), "overlay overlay lowerdir=S/2/fs:S/1/fs|index=off");
	assert_mounts(e, suite_prepare(e, "three", "top"),
	              "overlay overlay workdir=S/6/work|upperdir=S/6/fs|lowerdir=S/2/fs:S/1/fs|index=off");
	g_assert_null(snapshot_mounts(e->sn, &e->ctx, "top", &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "failed to get active mount: requested snapshot top not active or view: failed precondition");
	g_clear_error(&error);
	g_assert_null(snapshot_mounts(e->sn, &e->ctx, "nothing", &error));
	g_assert_cmpstr(error->message, ==, "snapshot nothing does not exist: not found");
}

static void check_directories(SuiteEnv *e)
{
	static const struct {
		const char *path;
		mode_t mode;
	} cases[] = {{"", 0700},
	             {"snapshots", 0700},
	             {"snapshots/1", 0700},
	             {"snapshots/1/fs", 0755},
	             {"snapshots/1/work", 0711},
	             {"snapshots/2", 0700},
	             {"snapshots/2/fs", 0755}};
	g_ptr_array_unref(suite_prepare(e, "active", NULL));
	g_ptr_array_unref(suite_view(e, "view", NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = g_strdup_printf("%s/%s", e->root, cases[i].path);
		struct stat st;
		g_assert_cmpint(stat(path, &st), ==, 0);
		g_assert_cmpuint(st.st_mode & 07777, ==, cases[i].mode);
	}
	g_autofree char *work = path_join(e->root, "snapshots/2/work");
	g_assert_false(path_exists(work));
	// the root's owner is handed down
	g_autofree char *fs = path_join(e->root, "snapshots/1/fs");
	g_assert_cmpint(chown(fs, 12, 34), ==, 0);
	suite_commit(e, "base", "active");
	g_ptr_array_unref(suite_prepare(e, "next", "base"));
	g_autofree char *next = path_join(e->root, "snapshots/3/fs");
	struct stat st;
	g_assert_cmpint(stat(next, &st), ==, 0);
	g_assert_true(st.st_uid == 12 && st.st_gid == 34);
}

static void check_rebase(SuiteEnv *e)
{
	static const struct {
		const char *old, *new, *error;
		CtrdErrorCode code;
	} cases[] = {
	        {NULL, "", NULL, 0},
	        {NULL, "base", NULL, 0},
	        {"base", "base", NULL, 0},
	        {"base", "", NULL, 0},
	        {"base", "new",
	         "failed to commit snapshot K: cannot change parent of active snapshot \"K\" on commit: "
	         "invalid argument",
	         CTRD_ERR_INVALID_ARGUMENT},
	        {NULL, "active-parent",
	         "failed to commit snapshot K: parent \"active-parent\" is not committed: failed "
	         "precondition",
	         CTRD_ERR_FAILED_PRECONDITION},
	        {NULL, "nonexist", "parent snapshot nonexist does not exist: not found", CTRD_ERR_NOT_FOUND},
	        {NULL, "K", "failed to commit snapshot K: parent \"K\" is not committed: failed precondition",
	         CTRD_ERR_FAILED_PRECONDITION},
	};
	g_ptr_array_unref(suite_prepare(e, "base-a", NULL));
	suite_commit(e, "base", "base-a");
	g_ptr_array_unref(suite_prepare(e, "active-parent", NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *name = g_strdup_printf("test-%zu", i);
		g_ptr_array_unref(suite_prepare(e, "K", cases[i].old));
		bool ok = snapshot_commit(e->sn, &e->ctx, name, "K", cases[i].new, NULL, &error);
		g_assert_cmpstr(error != NULL ? error->message : NULL, ==, cases[i].error);
		g_assert_cmpint(ok, ==, error == NULL);
		if (!ok) {
			g_assert_cmpint(error_class(error), ==, cases[i].code);
			suite_remove(e, "K"); // it is still there
			continue;
		}
		g_autoptr(SnapshotInfo) info = suite_stat(e, name);
		const char *parent = str_empty(cases[i].new) ? str_or(cases[i].old, "") : cases[i].new;
		g_assert_cmpstr(info->parent, ==, parent);
	}
	// the chain is what it was made to be
	g_autoptr(GPtrArray) view = suite_view(e, "view", "test-1");
	g_autofree char *got = describe_mounts(e, view);
	g_assert_cmpstr(got, ==, "overlay overlay lowerdir=S/4/fs:S/1/fs|index=off");
	g_autoptr(GError) error = NULL;
	g_assert_false(snapshot_remove(e->sn, &e->ctx, "base", &error));
}

static GHashTable *maps(const char *uids, const char *gids)
{
	GHashTable *labels = strmap_new();
	if (uids != NULL)
		strmap_set(labels, SNAPSHOT_LABEL_UIDMAP, uids);
	if (gids != NULL)
		strmap_set(labels, SNAPSHOT_LABEL_GIDMAP, gids);
	return labels;
}

static void assert_owner(SuiteEnv *e, const char *path, uid_t uid, gid_t gid)
{
	g_autofree char *full = g_strdup_printf("%s/snapshots/%s", e->root, path);
	struct stat st;
	g_assert_cmpint(stat(full, &st), ==, 0);
	g_assert_cmpuint(st.st_uid, ==, uid);
	g_assert_cmpuint(st.st_gid, ==, gid);
}

static void check_remapped(SuiteEnv *e)
{
	if (!snapshotter_has_capability(e->sn, "remap-ids")) {
		g_test_skip("overlayfs doesn't support idmapped mounts");
		return;
	}
	g_autoptr(GError) error = NULL;
	g_autoptr(GHashTable) labels = maps("0:666:1000,1000:6666:64536", "0:888:1000,1000:8888:64536");
#define MAPS "uidmap=0:666:1000,1000:6666:64536|gidmap=0:888:1000,1000:8888:64536|"
	assert_mounts(e, snapshot_prepare(e->sn, &e->ctx, "key", NULL, labels, &error),
	              "bind S/1/fs " MAPS "rw|rbind");
	assert_owner(e, "1/fs", 666, 888);
	g_assert_true(snapshot_commit(e->sn, &e->ctx, "base", "key", NULL, labels, &error));
	assert_mounts(e, snapshot_view(e->sn, &e->ctx, "key", "base", labels, &error),
	              "bind S/1/fs " MAPS "ro|rbind");
	assert_owner(e, "2/fs", 666, 888);
	assert_mounts(e, snapshot_prepare(e->sn, &e->ctx, "plain", NULL, NULL, &error),
	              "bind S/3/fs rw|rbind");
	assert_owner(e, "3/fs", 0, 0);
	assert_mounts(e, snapshot_prepare(e->sn, &e->ctx, "active", "base", labels, &error),
	              "overlay overlay " MAPS "workdir=S/4/work|upperdir=S/4/fs|lowerdir=S/1/fs|index=off");
	assert_owner(e, "4/fs", 666, 888);
	// one map alone: the other ids are what they are
	g_autoptr(GHashTable) half = maps("0:666:1000", NULL);
	assert_mounts(e, snapshot_prepare(e->sn, &e->ctx, "half", "base", half, &error),
	              "overlay overlay "
	              "uidmap=0:666:1000|workdir=S/5/work|upperdir=S/5/fs|lowerdir=S/1/fs|index=off");
	assert_owner(e, "5/fs", 666, 0);
}

static void owner_is_mapped(const char *root, void *data)
{
	g_autofree char *f = path_join(root, "f"), *new = path_join(root, "new");
	struct stat st;
	(void)data;
	g_assert_cmpint(stat(f, &st), ==, 0);
	g_assert_true(st.st_uid == 70005 && st.st_gid == 80006);
	g_assert_cmpint(stat(root, &st), ==, 0);
	g_assert_true(st.st_uid == 70000 && st.st_gid == 80000);
	g_assert_cmpint(mkdir(new, 0755), ==, 0);
}

/* An image's layers, that belong to the host's ids on disk, as a container with a user namespace sees them.
 */
static void check_remapped_mount(SuiteEnv *e)
{
	if (!snapshotter_has_capability(e->sn, "remap-ids")) {
		g_test_skip("overlayfs doesn't support idmapped mounts");
		return;
	}
	static const Step steps[] = {S_FILE("f", "x", 0644), S_CHOWN("f", 5, 6), S_END};
	static const Step more[] = {S_FILE("g", "x", 0644), S_END};
	g_autoptr(GError) error = NULL;
	suite_layer(e, "a", NULL, steps);
	suite_layer(e, "b", "a", more);
	g_autoptr(GHashTable) labels = maps("0:70000:1000", "0:80000:1000");
	g_autoptr(GPtrArray) m = snapshot_prepare(e->sn, &e->ctx, "c", "b", labels, &error);
	mount_set_temp_dir(e->work);
	suite_with_mounts(e, m, owner_is_mapped, NULL);
	mount_set_temp_dir(NULL);
}

static void check_remapped_invalid(SuiteEnv *e)
{
#define PRE "failed to create snapshot: failed to unmarshal snapshot ID mapped labels: "
#define ROOT                                                                                                 \
	"failed to create snapshot: failed to find root pair: container ID 0 cannot be mapped to a host ID"
	static const struct {
		const char *uids, *gids, *error;
	} cases[] = {
	        {"-1:-1:-2", "0:0:66666", PRE "invalid mapping \"-1:-1:-2\""},
	        {"0:0:66666", "-1:-1:-2", PRE "invalid mapping \"-1:-1:-2\""},
	        {"-666:-666:-666", "-666:-666:-666", PRE "invalid mapping \"-666:-666:-666\""},
	        {"1:1:1,-1:-1:-2", "0:0:66666", PRE "invalid mapping \"-1:-1:-2\""},
	        {"0:0:66666", "-1:-1:-2,6:6:6", PRE "invalid mapping \"-1:-1:-2\""},
	        {"-666:-666:-666,1:1:1", "-666:-666:-666,2:2:2", PRE "invalid mapping \"-666:-666:-666\""},
	        {"666:666:666", "666:666:666", ROOT},
	        {"666:0:65536", "0:0:65536", ROOT},
	        {"0:0:4294967294", "666:0:4294967294", ROOT},
	        {"0:0:4294967295", "0:0:1", PRE "invalid mapping \"0:0:4294967295\""},
	        {"0:0:0", "0:0:1", ROOT},
	        {"0:0", "0:0:1", PRE "input value 0:0 unparsable: expected integer"},
	        {"x", "0:0:1", PRE "input value x unparsable: expected integer"},
	        {"0:0:1,", "0:0:1", PRE "input value  unparsable: expected integer"},
	        {"0:99999999999999999999:1", "0:0:1",
	         PRE "input value 0:99999999999999999999:1 unparsable: expected integer"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GHashTable) labels = maps(cases[i].uids, cases[i].gids);
		g_assert_null(snapshot_prepare(e->sn, &e->ctx, "key", NULL, labels, &error));
		g_assert_cmpstr(error->message, ==, cases[i].error);
	}
	g_autofree char *dir = path_join(e->root, "snapshots");
	g_autoptr(GPtrArray) left = dir_list(dir, 0, NULL);
	g_assert_cmpuint(left->len, ==, 0);
}

static void check_volatile(SuiteEnv *e)
{
	g_assert_false(snapshotter_has_capability(e->sn, "only-remap-ids"));
	g_ptr_array_unref(suite_prepare(e, "a", NULL));
	suite_commit(e, "base", "a");
	assert_mounts(e, suite_prepare(e, "two", "base"),
	              "overlay overlay workdir=S/2/work|upperdir=S/2/fs|lowerdir=S/1/fs|volatile|index=off");
	suite_commit(e, "top", "two");
	assert_mounts(e, suite_view(e, "v", "top"),
	              "overlay overlay lowerdir=S/2/fs:S/1/fs|volatile|index=off");
}

static bool has_upperdir(const SnapshotInfo *info, void *data, GError **error)
{
	(void)error;
	g_ptr_array_add(data, g_strdup(strmap_get(info->labels, SNAPSHOT_LABEL_UPPERDIR)));
	return true;
}

static void check_upperdir_label(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *upper = path_join(e->root, "snapshots/1/fs");
	g_ptr_array_unref(suite_prepare(e, "a", NULL));
	g_autoptr(SnapshotInfo) info = suite_stat(e, "a");
	g_assert_cmpstr(strmap_get(info->labels, SNAPSHOT_LABEL_UPPERDIR), ==, upper);
	g_autoptr(SnapshotInfo) updated = snapshot_update(e->sn, &e->ctx, info, NULL, &error);
	g_assert_cmpstr(strmap_get(updated->labels, SNAPSHOT_LABEL_UPPERDIR), ==, upper);
	g_autoptr(GPtrArray) seen = g_ptr_array_new_with_free_func(g_free);
	g_assert_true(snapshot_walk(e->sn, &e->ctx, NULL, has_upperdir, seen, &error));
	g_assert_cmpuint(seen->len, ==, 1);
	g_assert_cmpstr(seen->pdata[0], ==, upper);
}

static void check_sync_remove(SuiteEnv *e)
{
	g_autofree char *dir = path_join(e->root, "snapshots/1");
	g_ptr_array_unref(suite_prepare(e, "a", NULL));
	g_assert_true(path_exists(dir));
	suite_remove(e, "a");
	g_assert_false(path_exists(dir));
}

static void check_async_remove(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = path_join(e->root, "snapshots/1"), *dir2 = path_join(e->root, "snapshots/2");
	g_ptr_array_unref(suite_prepare(e, "a", NULL));
	suite_remove(e, "a");
	g_assert_true(path_exists(dir));
	g_ptr_array_unref(suite_prepare(e, "a", NULL)); // the key is free at once
	g_assert_true(snapshot_cleanup(e->sn, &(Ctx){0}, &error));
	g_assert_false(path_exists(dir));
	g_assert_true(path_exists(dir2));
}

/* A root with upstream's snapshots: ours get other numbers, theirs stay. */
static void check_foreign(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *db = path_join(e->root, "metadata.db"),
	                *theirs = path_join(e->root, "snapshots/7/fs"),
	                *ours = path_join(e->root, "snapshots/1000000000");
	g_assert_true(dir_make_all(theirs, 0755, NULL));
	g_assert_true(file_write_atomic(db, "bolt", 4, 0600, false, NULL));
	suite_env_reopen(e);
	g_ptr_array_unref(suite_prepare(e, "a", NULL));
	g_assert_true(path_exists(ours));
	g_assert_true(snapshot_cleanup(e->sn, &e->ctx, &error));
	g_assert_true(path_exists(theirs));
	suite_remove(e, "a");
	g_assert_true(snapshot_cleanup(e->sn, &e->ctx, &error));
	g_assert_false(path_exists(ours));
	g_assert_true(path_exists(theirs));
}

/* Directories without a row do not lend their numbers, and go. */
static void check_lost_database(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	static const char *const stale[] = {"snapshots/1/fs", "snapshots/2/fs", "snapshots/new-9/fs",
	                                    "snapshots/rm-5/fs"};
	g_autofree char *other = path_join(e->root, "snapshots/other");
	for (size_t i = 0; i < G_N_ELEMENTS(stale); i++) {
		g_autofree char *path = path_join(e->root, stale[i]);
		g_assert_true(dir_make_all(path, 0755, NULL));
	}
	g_assert_true(dir_make_all(other, 0755, NULL));
	suite_env_reopen(e);
	assert_mounts(e, suite_prepare(e, "a", NULL), "bind S/10/fs rw|rbind");
	g_assert_true(snapshot_cleanup(e->sn, &e->ctx, &error));
	g_autofree char *dir = path_join(e->root, "snapshots");
	g_autoptr(GPtrArray) names = dir_list(dir, 0, NULL);
	g_assert_cmpuint(names->len, ==, 2);
	g_assert_cmpstr(names->pdata[0], ==, "10");
	g_assert_cmpstr(names->pdata[1], ==, "other"); // not ours
}

static void check_capabilities(SuiteEnv *e)
{
	g_assert_true(snapshotter_has_capability(e->sn, "only-remap-ids"));
	g_assert_true(snapshotter_has_capability(e->sn, "rebase"));
	g_assert_false(snapshotter_has_capability(e->sn, "nothing"));
	g_assert_cmpstr(e->sn->name, ==, "overlayfs");
	g_assert_cmpstr(e->sn->root, ==, e->root);
	g_autoptr(GError) error = NULL;
	g_assert_true(snapshot_overlayfs_supported(e->root, &error));
	g_assert_no_error(error);
	g_autoptr(GPtrArray) names = dir_list(e->root, 0, NULL);
	g_assert_cmpuint(names->len, ==, 1); // nothing of the try is left
}

int main(int argc, char **argv)
{
	test_private_ns();
	g_test_init(&argc, &argv, NULL);
	snapshot_suite_add(&plain);
	snapshot_suite_add(&sync_remove);
	suite_add_case(&plain, "mounts", check_mounts);
	suite_add_case(&plain, "directories", check_directories);
	suite_add_case(&plain, "rebase", check_rebase);
	suite_add_case(&plain, "remapped", check_remapped);
	suite_add_case(&plain, "remapped-mount", check_remapped_mount);
	suite_add_case(&plain, "remapped-invalid", check_remapped_invalid);
	suite_add_case(&with_volatile, "volatile", check_volatile);
	suite_add_case(&with_label, "upperdir-label", check_upperdir_label);
	suite_add_case(&sync_remove, "sync-remove", check_sync_remove);
	suite_add_case(&plain, "async-remove", check_async_remove);
	suite_add_case(&plain, "foreign", check_foreign);
	suite_add_case(&plain, "lost-database", check_lost_database);
	suite_add_case(&plain, "capabilities", check_capabilities);
	return g_test_run();
}
