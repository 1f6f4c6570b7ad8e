// SPDX-License-Identifier: Apache-2.0

/* The conformance suite over native, and its copies. */

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "mount/test-private-ns.h"
#include "store/snapshot-suite.h"
#include "store/snapshots-copy.h"
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

static Snapshotter *open_native(MetaDb *db, const char *root, GError **error)
{
	SnapshotDriver *driver = snapshot_native_new(root, error);
	return driver != NULL ? snapshotter_local_new(db, "native", driver, error) : NULL;
}

static const SnapshotSuite native = {.name = "native", .open = open_native};

static void assert_mount(SuiteEnv *e, GPtrArray *mounts, const char *source, const char *options)
{
	const Mount *m = mounts->pdata[0];
	g_autofree char *path = path_join(e->root, source);
	g_autofree char *got = g_strjoinv("|", m->options);
	g_assert_cmpstr(m->type, ==, "bind");
	g_assert_cmpstr(m->source, ==, path);
	g_assert_cmpstr(got, ==, options);
	g_ptr_array_unref(mounts);
}

static void check_mounts(SuiteEnv *e)
{
	assert_mount(e, suite_prepare(e, "a", NULL), "snapshots/1", "rbind|rw");
	suite_commit(e, "base", "a");
	assert_mount(e, suite_view(e, "v", "base"), "snapshots/1", "rbind|ro");
	assert_mount(e, suite_prepare(e, "b", "base"), "snapshots/3", "rbind|rw");
	assert_mount(e, suite_view(e, "v0", NULL), "snapshots/4", "rbind|ro");
	// a view of a parent has no directory, and its removal takes none
	g_autofree char *none = path_join(e->root, "snapshots/2"), *kept = path_join(e->root, "snapshots/1");
	g_assert_false(path_exists(none));
	suite_remove(e, "v");
	g_assert_true(snapshot_cleanup(e->sn, &e->ctx, NULL));
	g_assert_true(path_exists(kept));
}

static void check_no_rebase(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	g_ptr_array_unref(suite_prepare(e, "a", NULL));
	suite_commit(e, "base", "a");
	g_ptr_array_unref(suite_prepare(e, "b", NULL));
	g_assert_false(snapshot_commit(e->sn, &e->ctx, "c", "b", "base", NULL, &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "failed to commit snapshot b: snapshotter \"native\" does not support another parent on "
	        "commit: not implemented");
	g_assert_true(error_is(error, CTRD_ERR_NOT_IMPLEMENTED));
}

// ---- copies ----

typedef struct {
	char *dir;
	int src, dst;
} Trees;

static void trees_setup(Trees *t, gconstpointer data)
{
	(void)data;
	t->dir = g_dir_make_tmp("ctrd-copy-XXXXXX", NULL);
	g_autofree char *src = path_join(t->dir, "src"), *dst = path_join(t->dir, "dst");
	g_assert_cmpint(mkdir(src, 0755), ==, 0);
	g_assert_cmpint(mkdir(dst, 0700), ==, 0);
	t->src = open(src, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t->dst = open(dst, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void trees_teardown(Trees *t, gconstpointer data)
{
	(void)data;
	close(t->src);
	close(t->dst);
	g_assert_true(tree_remove(t->dir, NULL));
	g_free(t->dir);
}

static void put(int dir, const char *name, const char *content)
{
	autofd fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	g_assert_true(fd_write_all(fd, content, strlen(content), NULL));
}

static void copy(Trees *t)
{
	g_autoptr(GError) error = NULL;
	snapshot_copy_tree(t->src, t->dst, "/src", NULL, &error);
	g_assert_no_error(error);
	g_autofree char *src = path_join(t->dir, "src"), *dst = path_join(t->dir, "dst");
	suite_assert_same(src, dst);
}

static struct stat stat_at(int dir, const char *name)
{
	struct stat st;
	g_assert_cmpint(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), ==, 0);
	return st;
}

static void test_copy_kinds(Trees *t, gconstpointer data)
{
	(void)data;
	if (geteuid() != 0) {
		g_test_skip("needs root");
		return;
	}
	put(t->src, "file", "hello");
	g_assert_cmpint(mkdirat(t->src, "dir", 0700), ==, 0);
	put(t->src, "dir/inner", "x");
	g_assert_cmpint(mkdirat(t->src, "dir/sub", 0700), ==, 0);
	g_assert_cmpint(mkdirat(t->src, "closed", 0000), ==, 0);
	g_assert_cmpint(symlinkat("../etc/passwd", t->src, "link"), ==, 0);
	g_assert_cmpint(symlinkat("nowhere", t->src, "dangling"), ==, 0);
	g_assert_cmpint(linkat(t->src, "file", t->src, "dir/hard", 0), ==, 0);
	g_assert_cmpint(linkat(t->src, "link", t->src, "dir/hardlink-of-link", 0), ==, 0);
	g_assert_cmpint(mkfifoat(t->src, "fifo", 0640), ==, 0);
	g_assert_cmpint(mknodat(t->src, "null", S_IFCHR | 0666, makedev(1, 3)), ==, 0);
	g_assert_cmpint(mknodat(t->src, "whiteout", S_IFCHR | 0600, makedev(0, 0)), ==, 0);
	g_assert_cmpint(mknodat(t->src, "sock", S_IFSOCK | 0755, 0), ==, 0);
	put(t->src, "setuid", "x");
	g_assert_cmpint(fchownat(t->src, "setuid", 1000, 1001, 0), ==, 0);
	g_assert_cmpint(fchmodat(t->src, "setuid", 06755, 0), ==, 0);
	g_assert_cmpint(fchownat(t->src, "link", 5, 6, AT_SYMLINK_NOFOLLOW), ==, 0);
	g_assert_cmpint(fchmodat(t->src, "dir", 01777, 0), ==, 0);
	copy(t);
}

static void set_times(int dir, const char *name, time_t sec, long nsec)
{
	const struct timespec ts[2] = {{sec, nsec}, {sec + 1, nsec}};
	g_assert_cmpint(utimensat(dir, name, ts, AT_SYMLINK_NOFOLLOW), ==, 0);
}

static void test_copy_times(Trees *t, gconstpointer data)
{
	static const char *const names[] = {"d/e/f", "d/e", "d/link", "d", "."};
	(void)data;
	g_assert_cmpint(mkdirat(t->src, "d", 0755), ==, 0);
	g_assert_cmpint(mkdirat(t->src, "d/e", 0755), ==, 0);
	put(t->src, "d/e/f", "x");
	g_assert_cmpint(symlinkat("x", t->src, "d/link"), ==, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		set_times(t->src, names[i], 1000000 * (time_t)(i + 1), 123456789);
	copy(t);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		struct stat a = stat_at(t->src, names[i]), b = stat_at(t->dst, names[i]);
		g_assert_cmpint(a.st_mtim.tv_sec, ==, b.st_mtim.tv_sec);
		g_assert_cmpint(a.st_mtim.tv_nsec, ==, b.st_mtim.tv_nsec);
		g_assert_cmpint(b.st_mtim.tv_sec, ==, 1000000 * (long)(i + 1) + 1);
	}
}

static void test_copy_sparse(Trees *t, gconstpointer data)
{
	(void)data;
	const off_t size = (off_t)64 << 20;
	{
		autofd fd = openat(t->src, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		g_assert_cmpint(pwrite(fd, "start", 5, 0), ==, 5);
		g_assert_cmpint(pwrite(fd, "middle", 6, 33333333), ==, 6);
		g_assert_cmpint(ftruncate(fd, size), ==, 0);
		autofd hole = openat(t->src, "hole", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		g_assert_cmpint(ftruncate(hole, size), ==, 0);
		autofd big = openat(t->src, "big", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		g_autofree char *buf = g_malloc(3 << 20);
		for (int i = 0; i < 3 << 20; i++)
			buf[i] = (char)(i * 7 + i / 999);
		g_assert_true(fd_write_all(big, buf, 3 << 20, NULL));
	}
	g_autoptr(GError) error = NULL;
	snapshot_copy_tree(t->src, t->dst, "/src", NULL, &error);
	g_assert_no_error(error);
	static const char *const names[] = {"sparse", "hole", "big"};
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		struct stat st = stat_at(t->dst, names[i]);
		autofd a = openat(t->src, names[i], O_RDONLY | O_CLOEXEC),
		       b = openat(t->dst, names[i], O_RDONLY | O_CLOEXEC);
		g_autofree char *x = g_malloc(1 << 20), *y = g_malloc(1 << 20);
		for (off_t at = 0; at < st.st_size; at += 1 << 20) {
			ssize_t n = pread(a, x, 1 << 20, at);
			g_assert_cmpint(pread(b, y, 1 << 20, at), ==, n);
			g_assert_true(memcmp(x, y, (size_t)n) == 0);
		}
		if (i < 2)
			g_assert_cmpint(st.st_blocks * 512, <, 1 << 20);
	}
}

static void test_copy_xattrs(Trees *t, gconstpointer data)
{
	(void)data;
	put(t->src, "f", "x");
	g_assert_cmpint(mkdirat(t->src, "d", 0755), ==, 0);
	autofd f = openat(t->src, "f", O_RDONLY | O_CLOEXEC), d = openat(t->src, "d", O_RDONLY | O_CLOEXEC);
	if (fsetxattr(f, "user.a", "one", 3, 0) != 0) {
		g_test_skip("no xattrs here");
		return;
	}
	g_assert_cmpint(fsetxattr(f, "user.empty", "", 0, 0), ==, 0);
	g_assert_cmpint(fsetxattr(d, "user.b", "two\0x", 5, 0), ==, 0);
	copy(t);
	autofd f2 = openat(t->dst, "f", O_RDONLY | O_CLOEXEC), d2 = openat(t->dst, "d", O_RDONLY | O_CLOEXEC);
	char buf[16];
	g_assert_cmpint(fgetxattr(f2, "user.a", buf, sizeof buf), ==, 3);
	g_assert_cmpint(fgetxattr(f2, "user.empty", buf, sizeof buf), ==, 0);
	g_assert_cmpint(fgetxattr(d2, "user.b", buf, sizeof buf), ==, 5);
	g_assert_true(memcmp(buf, "two\0x", 5) == 0);
}

static void test_copy_deep(Trees *t, gconstpointer data)
{
	(void)data;
	g_autoptr(GString) path = g_string_new("d");
	for (int i = 0; i < 500; i++) {
		g_assert_cmpint(mkdirat(t->src, path->str, 0755), ==, 0);
		g_string_append(path, "/d");
	}
	put(t->src, path->str, "deep");
	copy(t);
}

static void test_copy_canceled(Trees *t, gconstpointer data)
{
	(void)data;
	g_autoptr(GError) error = NULL;
	g_autoptr(Cancel) cancel = cancel_new(NULL);
	put(t->src, "f", "x");
	cancel_trigger(cancel, false);
	g_assert_false(snapshot_copy_tree(t->src, t->dst, "/src", cancel, &error));
	g_assert_cmpstr(error->message, ==, "context canceled");
	g_clear_error(&error);
	// what is there is not written over
	put(t->dst, "f", "y");
	g_assert_false(snapshot_copy_tree(t->src, t->dst, "/src", NULL, &error));
	g_assert_cmpstr(error->message, ==, "failed to open target /src/./f: file exists");
}

int main(int argc, char **argv)
{
	test_private_ns();
	g_test_init(&argc, &argv, NULL);
	snapshot_suite_add(&native);
	suite_add_case(&native, "mounts", check_mounts);
	suite_add_case(&native, "no-rebase", check_no_rebase);
#define ADD(name, fn) g_test_add("/snapshots/copy/" name, Trees, NULL, trees_setup, fn, trees_teardown)
	ADD("kinds", test_copy_kinds);
	ADD("times", test_copy_times);
	ADD("sparse", test_copy_sparse);
	ADD("xattrs", test_copy_xattrs);
	ADD("deep", test_copy_deep);
	ADD("canceled", test_copy_canceled);
	return g_test_run();
}
