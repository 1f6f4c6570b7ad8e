// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

static char *top; // a new directory for each test

static char *at(const char *name)
{
	return path_join(top, name);
}

static void setup(void)
{
	top = g_strdup("/tmp/ctrd-test-fs-XXXXXX");
	g_assert_nonnull(g_mkdtemp(top));
}

static void teardown(void)
{
	g_autoptr(GError) error = NULL;
	tree_remove(top, &error);
	g_assert_no_error(error);
	g_assert_false(path_exists(top));
	g_clear_pointer(&top, g_free);
}

static void put(const char *name, const char *text)
{
	g_autofree char *path = at(name);
	g_autoptr(GError) error = NULL;
	file_write_atomic(path, text, strlen(text), 0600, false, &error);
	g_assert_no_error(error);
}

static void assert_error(GError *error, CtrdErrorCode code, const char *format, ...) G_GNUC_PRINTF(3, 4);

static void assert_error(GError *error, CtrdErrorCode code, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	g_assert_nonnull(error);
	g_assert_cmpstr(error->message, ==, text);
	g_assert_cmpint(error_class(error), ==, code);
}

static void test_read(void)
{
	setup();
	g_autoptr(GError) error = NULL;
	g_autofree char *path = at("f"), *none = at("none"), *fifo = at("fifo"), *data = NULL;
	size_t len;
	put("f", "12345");
	g_assert_true(file_read(path, 5, &data, &len, &error));
	g_assert_cmpuint(len, ==, 5);
	g_assert_cmpstr(data, ==, "12345");
	g_clear_pointer(&data, g_free);
	g_assert_false(file_read(path, 4, &data, &len, &error));
	assert_error(error, CTRD_ERR_RESOURCE_EXHAUSTED, "read %s: more than 4 bytes: resource exhausted",
	             path);
	g_clear_error(&error);
	g_assert_false(file_read(none, 4, &data, &len, &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "open %s: no such file or directory", none);
	g_clear_error(&error);
	g_assert_false(file_read(top, 4, &data, &len, &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "read %s: is a directory", top);
	g_clear_error(&error);
	g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
	g_assert_false(file_read(fifo, 4, &data, &len, &error)); // and does not hang
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT, "read %s: not a regular file: invalid argument", fifo);
	g_clear_error(&error);
	g_assert_false(file_read("/dev/zero", 4, &data, &len, &error));
	g_clear_error(&error);
	// a file of procfs says that it is empty
	g_assert_true(file_read("/proc/self/status", 1 << 16, &data, &len, &error));
	g_assert_cmpuint(len, >, 100);
	g_clear_pointer(&data, g_free);
	// a sparse file of 100 GB costs nothing
	autofd fd = open(path, O_WRONLY | O_CLOEXEC);
	if (ftruncate(fd, INT64_C(100) << 30) == 0) {
		g_assert_false(file_read(path, 1000, &data, &len, &error));
		g_assert_true(error_is(error, CTRD_ERR_RESOURCE_EXHAUSTED));
	}
	teardown();
}

static void test_write_atomic(void)
{
	setup();
	g_autoptr(GError) error = NULL;
	g_autofree char *path = at("f"), *bad = at("no/f"), *data = NULL;
	struct stat st;
	mode_t old = umask(077);
	g_assert_true(file_write_atomic(path, "one", 3, 0644, true, &error));
	umask(old);
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0644);
	g_assert_true(file_write_atomic(path, "two!", 4, 0600, true, &error));
	g_assert_true(file_read(path, 100, &data, NULL, &error));
	g_assert_cmpstr(data, ==, "two!");
	g_assert_false(file_write_atomic(bad, "x", 1, 0600, true, &error));
	g_assert_nonnull(strstr(error->message, ": no such file or directory"));
	g_clear_error(&error);
	// a directory is in the way: nothing is left behind
	g_autofree char *dir = at("d");
	g_assert_true(dir_make_all(dir, 0755, NULL));
	g_assert_false(file_write_atomic(dir, "x", 1, 0600, false, &error));
	g_autoptr(GPtrArray) names = dir_list(top, 0, NULL);
	g_assert_cmpuint(names->len, ==, 2);
	teardown();
}

static void test_dirs(void)
{
	setup();
	g_autoptr(GError) error = NULL;
	g_autofree char *deep = at("a/b//c/"), *b = at("a/b"), *file = at("f"), *below = at("f/x");
	struct stat st;
	mode_t old = umask(077);
	g_assert_true(dir_make_all(deep, 0751, &error));
	g_assert_true(dir_make_all(deep, 0700, &error));
	umask(old);
	g_assert_cmpint(stat(b, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0751);
	g_assert_true(dir_ensure(b, 0700, &error));
	g_assert_cmpint(stat(b, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0700);
	put("f", "");
	g_assert_false(dir_make_all(file, 0700, &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "mkdir %s: not a directory", file);
	g_clear_error(&error);
	g_assert_false(dir_make_all(below, 0700, &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "mkdir %s: not a directory", below);
	g_clear_error(&error);
	g_assert_true(dir_fsync(b, &error));
	teardown();
}

static void test_list(void)
{
	setup();
	g_autoptr(GError) error = NULL;
	put("b", "");
	put("a", "");
	put("c", "");
	g_autoptr(GPtrArray) names = dir_list(top, 3, &error);
	g_assert_cmpuint(names->len, ==, 3);
	g_assert_cmpstr(names->pdata[0], ==, "a");
	g_assert_cmpstr(names->pdata[2], ==, "c");
	g_assert_null(dir_list(top, 2, &error));
	assert_error(error, CTRD_ERR_RESOURCE_EXHAUSTED,
	             "readdirent %s: more than 2 entries: resource exhausted", top);
	teardown();
}

static void test_paths(void)
{
	static const char *const clean[][2] = {{"", "."},
	                                       {"abc", "abc"},
	                                       {"abc/def", "abc/def"},
	                                       {"a/b/c", "a/b/c"},
	                                       {".", "."},
	                                       {"..", ".."},
	                                       {"../..", "../.."},
	                                       {"../../abc", "../../abc"},
	                                       {"/abc", "/abc"},
	                                       {"/", "/"},
	                                       {"abc/", "abc"},
	                                       {"a/b/c/", "a/b/c"},
	                                       {"./", "."},
	                                       {"../", ".."},
	                                       {"/abc/", "/abc"},
	                                       {"abc//def//ghi", "abc/def/ghi"},
	                                       {"//abc", "/abc"},
	                                       {"///abc", "/abc"},
	                                       {"abc/./def", "abc/def"},
	                                       {"/./abc/def", "/abc/def"},
	                                       {"abc/.", "abc"},
	                                       {"abc/def/ghi/../jkl", "abc/def/jkl"},
	                                       {"abc/def/../ghi/../jkl", "abc/jkl"},
	                                       {"abc/def/..", "abc"},
	                                       {"abc/def/../..", "."},
	                                       {"/abc/def/../..", "/"},
	                                       {"abc/def/../../..", ".."},
	                                       {"/abc/def/../../..", "/"},
	                                       {"abc/def/../../../ghi/jkl/../../../mno", "../../mno"},
	                                       {"/../abc", "/abc"},
	                                       {"a/../b:/../../c", "../c"},
	                                       {"abc/./../def", "def"},
	                                       {"abc//./../def", "def"},
	                                       {"abc/../../././../def", "../../def"},
	                                       {"...", "..."},
	                                       {"..a/b..", "..a/b.."}};
	for (size_t i = 0; i < G_N_ELEMENTS(clean); i++) {
		g_autofree char *got = path_clean(clean[i][0]);
		g_assert_cmpstr(got, ==, clean[i][1]);
	}
	static const char *const join[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a", "/b", "a/b"},
	                                      {"/", "b", "/b"},  {"/", "/b", "/b"},  {"a//", "//b", "a/b"},
	                                      {"/", "/", "/"},   {"a", "/", "a/"}};
	for (size_t i = 0; i < G_N_ELEMENTS(join); i++) {
		g_autofree char *got = path_join(join[i][0], join[i][1]);
		g_assert_cmpstr(got, ==, join[i][2]);
	}
}

static void test_open_in_root(void)
{
	setup();
	g_autoptr(GError) error = NULL;
	g_autofree char *root = at("root"), *etc = at("root/etc"), *abs_link = at("root/abs"),
	                *up_link = at("root/up");
	g_assert_true(dir_make_all(etc, 0755, NULL));
	put("root/etc/passwd", "inside");
	put("secret", "outside");
	g_assert_cmpint(symlink("/etc/passwd", abs_link), ==, 0);
	g_assert_cmpint(symlink("../../../secret", up_link), ==, 0);
	autofd fd = open(root, O_PATH | O_CLOEXEC);

	autofd in = open_in_root(fd, "/abs", O_RDONLY, 0, &error);
	g_assert_no_error(error);
	g_autofree char *data = NULL;
	g_assert_true(fd_read_all(in, 100, &data, NULL, NULL));
	g_assert_cmpstr(data, ==, "inside");
	g_assert_cmpint(fcntl(in, F_GETFD), ==, FD_CLOEXEC);

	g_assert_cmpint(open_in_root(fd, "up", O_RDONLY, 0, &error), ==, -1);
	assert_error(error, CTRD_ERR_UNKNOWN, "open up: no such file or directory");
	g_clear_error(&error);
	g_assert_cmpint(open_beneath(fd, "abs", O_RDONLY, 0, &error), ==, -1);
	assert_error(error, CTRD_ERR_UNKNOWN, "open abs: invalid cross-device link");
	g_clear_error(&error);
	g_assert_cmpint(open_beneath(fd, "../secret", O_RDONLY, 0, &error), ==, -1);
	g_clear_error(&error);
	autofd made = open_beneath(fd, "etc/new", O_WRONLY | O_CREAT | O_EXCL, 0640, &error);
	g_assert_no_error(error);
	g_assert_cmpint(made, >=, 0);
	teardown();
}

static void test_temp(void)
{
	setup();
	g_autofree char *a = NULL, *b = NULL, *bad = at("none"), *c = NULL;
	g_autoptr(GError) error = NULL;
	autofd fd = file_temp(top, "x-", &a, &error), fd2 = file_temp(top, "x-", &b, &error);
	struct stat st;
	g_assert_no_error(error);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpstr(a, !=, b);
	g_assert_cmpint(fstat(fd2, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0600);
	g_assert_cmpint(file_temp(bad, "x-", &c, &error), ==, -1);
	g_assert_nonnull(error);
	teardown();
}

static unsigned count_fds(void)
{
	g_autoptr(GPtrArray) names = dir_list("/proc/self/fd", 0, NULL);
	return names->len;
}

/* A chain of n directories called "d" below top/name, with a file in each. */
static void make_chain(const char *name, int n)
{
	g_autofree char *path = at(name);
	g_assert_cmpint(mkdir(path, 0755), ==, 0);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < n; i++) {
		autofd file = openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		g_assert_cmpint(file, >=, 0);
		g_assert_cmpint(mkdirat(fd, "d", 0755), ==, 0);
		int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	close(fd);
}

static void test_remove(void)
{
	setup();
	g_autoptr(GError) error = NULL;
	g_autofree char *tree = at("t"), *a = at("t/a/b/c"), *none = at("none"), *link = at("t/a/link"),
	                *kept = at("kept"), *top_link = at("toplink");
	g_assert_true(dir_make_all(a, 0755, NULL));
	g_assert_true(dir_make_all(kept, 0755, NULL));
	put("t/a/b/c/f", "x");
	put("kept/f", "x");
	g_assert_cmpint(symlink(kept, link), ==, 0);
	g_assert_cmpint(symlink(kept, top_link), ==, 0);
	g_assert_true(tree_remove(top_link, &error)); // the link, not what it points to
	g_assert_true(tree_remove(tree, &error));
	g_assert_no_error(error);
	g_assert_false(path_exists(tree));
	g_autofree char *kept_file = at("kept/f");
	g_assert_true(path_exists(kept_file));
	g_assert_true(tree_remove(none, &error));
	g_autofree char *none_below = at("none/x");
	g_assert_true(tree_remove(none_below, &error));
	g_assert_true(tree_remove(kept_file, &error)); // a file
	g_assert_false(path_exists(kept_file));

	g_assert_false(tree_remove("/", &error));
	g_clear_error(&error);
	g_assert_false(tree_remove(".", &error));
	g_clear_error(&error);
	autofd fd = open(top, O_PATH | O_CLOEXEC);
	g_assert_false(tree_remove_at(fd, "..", &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "unlinkat \"..\": invalid argument");
	g_clear_error(&error);
	g_assert_false(tree_remove_at(fd, "a/b", &error));
	g_clear_error(&error);
	g_assert_true(tree_remove_at(fd, "kept", &error));
	g_assert_false(path_exists(kept));
	teardown();
}

static void test_remove_deep(void)
{
	setup();
	g_autoptr(GError) error = NULL;
	g_autofree char *chain = at("chain");
	make_chain("chain", 5000);
	unsigned before = count_fds();
	struct rlimit old, low = {100, 100};
	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &old), ==, 0);
	low.rlim_max = old.rlim_max;
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &low), ==, 0);
	int64_t bytes, inodes;
	g_assert_true(tree_usage(chain, &bytes, &inodes, &error));
	g_assert_no_error(error);
	g_assert_cmpint(inodes, ==, 5001 + 5000);
	g_assert_true(tree_remove(chain, &error));
	g_assert_no_error(error);
	g_assert_false(path_exists(chain));
	setrlimit(RLIMIT_NOFILE, &old);
	g_assert_cmpuint(count_fds(), ==, before);
	teardown();
}

static void test_remove_wide(void)
{
	setup();
	g_autoptr(GError) error = NULL;
	g_autofree char *wide = at("w");
	g_assert_cmpint(mkdir(wide, 0755), ==, 0);
	autofd fd = open(wide, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 3000; i++) {
		g_autofree char *name = g_strdup_printf("a-rather-long-name-%d", i),
		                *sub = path_join(name, "d");
		g_assert_cmpint(mkdirat(fd, name, 0), ==, 0); // no permission: root does not mind
		if (i % 2 == 0 && getuid() == 0)
			g_assert_cmpint(mkdirat(fd, sub, 0555), ==, 0);
	}
	g_assert_true(tree_remove(wide, &error));
	g_assert_no_error(error);
	teardown();
}

static void test_remove_mount(void)
{
	setup();
	g_autoptr(GError) error = NULL;
	g_autofree char *a = at("t/a/m"), *tree = at("t"), *other = at("other"), *file = at("other/f"),
	                *seen = at("t/a/m/f");
	g_assert_true(dir_make_all(a, 0755, NULL));
	g_assert_true(dir_make_all(other, 0755, NULL));
	put("other/f", "x");
	// a bind mount of the same file system: only the mount itself tells them apart
	if (mount(other, a, NULL, MS_BIND, NULL) != 0) {
		g_test_skip("mounting is not permitted");
		teardown();
		return;
	}
	g_assert_false(tree_remove(tree, &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "unlinkat %s: device or resource busy", a);
	g_assert_true(path_exists(file));
	g_assert_true(path_exists(seen));
	g_assert_cmpint(umount2(a, 0), ==, 0);
	teardown();
}

static void test_usage(void)
{
	setup();
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = at("d"), *file = at("d/f"), *link = at("d/hard"), *soft = at("d/soft"),
	                *none = at("none");
	g_autofree char *data = g_strnfill(20000, 'x');
	int64_t empty_bytes, empty_inodes, bytes, inodes;
	g_assert_true(dir_make_all(dir, 0755, NULL));
	g_assert_true(tree_usage(dir, &empty_bytes, &empty_inodes, &error));
	g_assert_cmpint(empty_inodes, ==, 1);
	put("d/f", data);
	g_assert_cmpint(link == NULL ? 0 : linkat(AT_FDCWD, file, AT_FDCWD, link, 0), ==, 0);
	g_assert_cmpint(symlink("/etc", soft), ==, 0);
	g_assert_true(tree_usage(dir, &bytes, &inodes, &error));
	g_assert_cmpint(inodes, ==, 3); // the directory, the file once, the link
	struct stat st, st_dir, st_soft;
	stat(file, &st);
	stat(dir, &st_dir);
	lstat(soft, &st_soft);
	g_assert_cmpint(bytes, ==, (st.st_blocks + st_dir.st_blocks + st_soft.st_blocks) * 512);
	g_assert_false(tree_usage(none, &bytes, &inodes, &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "lstat %s: no such file or directory", none);
	teardown();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/fs/read", test_read);
	g_test_add_func("/fs/write-atomic", test_write_atomic);
	g_test_add_func("/fs/dirs", test_dirs);
	g_test_add_func("/fs/list", test_list);
	g_test_add_func("/fs/paths", test_paths);
	g_test_add_func("/fs/open-in-root", test_open_in_root);
	g_test_add_func("/fs/temp", test_temp);
	g_test_add_func("/fs/remove", test_remove);
	g_test_add_func("/fs/remove-deep", test_remove_deep);
	g_test_add_func("/fs/remove-wide", test_remove_wide);
	g_test_add_func("/fs/remove-mount", test_remove_mount);
	g_test_add_func("/fs/usage", test_usage);
	return g_test_run();
}
