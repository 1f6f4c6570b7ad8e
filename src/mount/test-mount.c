// SPDX-License-Identifier: Apache-2.0

#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/util.h"
#include "mount/mount-private.h"
#include "mount/test-private-ns.h"
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#define STRV(...) ((const char *const[]){__VA_ARGS__, NULL})

// ---- a directory for each test ----

typedef struct {
	char *dir;
} Env;

static void setup(Env *e, gconstpointer data)
{
	(void)data;
	e->dir = g_dir_make_tmp("test-mount-XXXXXX", NULL);
}

static void teardown(Env *e, gconstpointer data)
{
	(void)data;
	g_autoptr(GError) error = NULL;
	g_assert_true(mount_unmount_recursive(e->dir, 0, &error));
	g_assert_no_error(error);
	g_assert_true(tree_remove(e->dir, &error));
	g_assert_no_error(error);
	g_free(e->dir);
}

static char *make_dir(const char *base, const char *name)
{
	char *path = g_strdup_printf("%s/%s", base, name);
	g_assert_true(dir_make_all(path, 0755, NULL));
	return path;
}

static void make_file(const char *dir, const char *name, const char *content)
{
	g_autofree char *path = g_strdup_printf("%s/%s", dir, name);
	g_assert_true(file_write_atomic(path, content, strlen(content), 0644, false, NULL));
}

static void assert_content(const char *dir, const char *name, const char *want)
{
	g_autofree char *path = g_strdup_printf("%s/%s", dir, name);
	g_autofree char *data = NULL;
	size_t len;
	g_autoptr(GError) error = NULL;
	g_assert_true(file_read(path, 65536, &data, &len, &error));
	g_assert_cmpstr(data, ==, want);
}

static bool exists(const char *dir, const char *name)
{
	g_autofree char *path = g_strdup_printf("%s/%s", dir, name);
	return path_exists(path);
}

static int try_write(const char *dir, const char *name)
{
	g_autofree char *path = g_strdup_printf("%s/%s", dir, name);
	autofd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return fd >= 0 ? 0 : errno;
}

static GPtrArray *one(const char *type, const char *source, const char *target, const char *const *options)
{
	GPtrArray *list = mounts_new();
	g_ptr_array_add(list, mount_new(type, source, target, options));
	return list;
}

static void assert_mounts(GPtrArray *mounts, const char *target)
{
	g_autoptr(GError) error = NULL;
	if (!mounts_mount(mounts, target, &error))
		g_error("%s", error->message);
}

static unsigned mounts_below(const char *dir)
{
	g_autoptr(GPtrArray) list = mount_info_list(dir, NULL);
	return list->len;
}

// ---- binds ----

static void test_bind(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *src = make_dir(e->dir, "src"), *dst = make_dir(e->dir, "dst");
	g_autoptr(GPtrArray) m = one("bind", src, NULL, STRV("rw", "rbind"));
	make_file(src, "foo", "foo");
	assert_mounts(m, dst);
	assert_content(dst, "foo", "foo");
	g_assert_cmpint(try_write(dst, "new"), ==, 0);
	g_assert_true(exists(src, "new"));
	g_assert_true(mounts_unmount(m, dst, 0, &error));
	g_assert_false(exists(dst, "foo"));
	g_assert_cmpuint(mounts_below(e->dir), ==, 0);
}

static void test_bind_flags(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autofree char *src = make_dir(e->dir, "src"), *mid = make_dir(e->dir, "mid"),
	                *dst = make_dir(e->dir, "dst");
	g_autoptr(GPtrArray) first = one("bind", src, NULL, STRV("rbind", "nosuid", "nodev", "noatime"));
	assert_mounts(first, mid);
	struct statvfs st;
	g_assert_cmpint(statvfs(mid, &st), ==, 0);
	g_assert_cmpuint(st.f_flag & (ST_NOSUID | ST_NODEV | ST_NOATIME | ST_RDONLY | ST_NOEXEC), ==,
	                 ST_NOSUID | ST_NODEV | ST_NOATIME);
	// what the source has stays, unless it is taken back by name
	g_autoptr(GPtrArray) second = one("bind", mid, NULL, STRV("bind", "ro", "noexec", "dev"));
	assert_mounts(second, dst);
	g_assert_cmpint(statvfs(dst, &st), ==, 0);
	g_assert_cmpuint(st.f_flag & (ST_NOSUID | ST_NODEV | ST_NOATIME | ST_RDONLY | ST_NOEXEC), ==,
	                 ST_NOSUID | ST_NOATIME | ST_RDONLY | ST_NOEXEC);
	g_assert_cmpint(try_write(dst, "x"), ==, EROFS);
	g_assert_cmpint(try_write(src, "x"), ==, 0);
}

static void test_targets(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *a = make_dir(e->dir, "a"), *b = make_dir(e->dir, "b"),
	                *dst = make_dir(e->dir, "dst");
	g_autofree char *foo = make_dir(a, "foo");
	g_autofree char *evil = g_strdup_printf("%s/evil", a);
	g_assert_true(path_exists(foo));
	make_file(b, "bar", "bar");
	// as in a chroot: the link ends in the root
	g_assert_cmpint(symlink("/foo/../../../../foo", evil), ==, 0);
	g_autoptr(GPtrArray) m = one("bind", a, NULL, STRV("rbind"));
	g_ptr_array_add(m, mount_new("bind", b, "evil", STRV("ro", "rbind")));
	assert_mounts(m, dst);
	assert_content(dst, "foo/bar", "bar");
	g_assert_cmpint(try_write(dst, "foo/x"), ==, EROFS);
	g_assert_cmpuint(mounts_below(dst), ==, 2);
	g_assert_true(mounts_unmount(m, dst, 0, &error));
	g_assert_cmpuint(mounts_below(e->dir), ==, 0);

	// the last one fails: all are taken away again
	g_ptr_array_add(m, mount_new("bind", "/nonexistent", "foo", STRV("rbind")));
	g_assert_false(mounts_mount(m, dst, &error));
	g_autofree char *want =
	        g_strdup_printf("mount source: \"/nonexistent\", target: \"%s/foo\", fstype: bind, "
	                        "flags: 20480, err: unable to open tree for /nonexistent: no such "
	                        "file or directory",
	                        dst);
	g_assert_cmpstr(error->message, ==, want);
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_UNKNOWN);
	g_assert_cmpuint(mounts_below(e->dir), ==, 0);
	g_clear_error(&error);

	g_ptr_array_remove_index(m, 2);
	g_ptr_array_add(m, mount_new("bind", b, "nowhere", STRV("rbind")));
	g_assert_false(mounts_mount(m, dst, &error));
	g_autofree char *start = g_strdup_printf("failed to join path \"nowhere\" with root \"%s\": ", dst);
	g_assert_true(g_str_has_prefix(error->message, start));
	g_assert_true(g_str_has_suffix(error->message, ": no such file or directory"));
	g_assert_cmpuint(mounts_below(e->dir), ==, 0);
}

static void test_errors(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *dst = make_dir(e->dir, "dst");
	g_autoptr(GPtrArray) m = one("nosuchfs", "src", NULL, STRV("ro", "a=b", "c"));
	g_assert_false(mounts_mount(m, dst, &error));
	g_autofree char *want =
	        g_strdup_printf("mount source: \"src\", target: \"%s\", fstype: nosuchfs, "
	                        "flags: 1, data: \"a=b,c\", err: the kernel does not know this "
	                        "type of file system: no such device",
	                        dst);
	g_assert_cmpstr(error->message, ==, want);
	g_clear_error(&error);

	g_autofree char *big = g_strnfill(5000, 'x');
	g_autoptr(GPtrArray) n = one("tmpfs", "src", NULL, STRV(big));
	g_assert_false(mounts_mount(n, dst, &error));
	g_autofree char *too_long =
	        g_strdup_printf("mount source: \"src\", target: \"%s\", fstype: tmpfs: 5000 bytes "
	                        "of options, at most 4095 fit: mount options is too long",
	                        dst);
	g_assert_cmpstr(error->message, ==, too_long);
	g_clear_error(&error);

	g_autofree char *gone = g_strconcat(dst, "/gone", NULL);
	g_autoptr(GPtrArray) target = one("tmpfs", "t", NULL, STRV("size=1m"));
	g_assert_false(mounts_mount(target, gone, &error));
	g_assert_true(g_str_has_suffix(error->message, "err: the target: no such file or directory"));
	g_clear_error(&error);
	g_autoptr(GPtrArray) source = one("ext4", "/dev/no-such-disk", NULL, STRV("ro"));
	g_assert_false(mounts_mount(source, dst, &error));
	g_assert_true(g_str_has_suffix(error->message, "err: the source: no such file or directory"));
	g_clear_error(&error);

	g_autoptr(GPtrArray) f = one("fuse3.nosuchprogram", "src", NULL, STRV("a=b"));
	g_assert_false(mounts_mount(f, dst, &error));
	g_autofree char *helper =
	        g_strdup_printf("mount helper [mount.fuse3 [src %s -o a=b -t nosuchprogram]] failed: ", dst);
	g_assert_true(g_str_has_prefix(error->message, helper));
	g_assert_cmpuint(mounts_below(e->dir), ==, 0);
}

static void test_propagation(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autofree char *src = make_dir(e->dir, "src"), *dst = make_dir(e->dir, "dst");
	g_autofree char *sub = make_dir(src, "sub"), *seen = g_strdup_printf("%s/sub", dst);
	g_autoptr(GPtrArray) self = one("tmpfs", "t", NULL, STRV("rshared"));
	assert_mounts(self, src);
	g_assert_cmpint(mkdir(sub, 0755), ==, 0);
	g_autoptr(GPtrArray) slave = one("bind", src, NULL, STRV("rbind", "rslave"));
	assert_mounts(slave, dst);
	g_autoptr(GPtrArray) t = one("tmpfs", "t", NULL, STRV("ro"));
	bool mounted = false;
	assert_mounts(t, sub);
	g_assert_true(mount_is_mounted(seen, &mounted, NULL));
	g_assert_true(mounted);
	// and not the other way round
	assert_mounts(t, seen);
	g_assert_cmpuint(mounts_below(sub), ==, 1);
	g_assert_cmpuint(mounts_below(seen), ==, 2);
}

// ---- unmounting ----

static void test_unmount(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *dst = make_dir(e->dir, "dst"), *deep = g_strdup_printf("%s/a/b", dst);
	g_autoptr(GPtrArray) t = one("tmpfs", "t", NULL, STRV("size=1m"));
	assert_mounts(t, dst);
	assert_mounts(t, dst);
	g_assert_true(mount_unmount_all(dst, 0, &error));
	g_assert_cmpuint(mounts_below(dst), ==, 0);
	g_assert_true(mount_unmount_all(dst, 0, &error));  // not mounted
	g_assert_true(mount_unmount_all(deep, 0, &error)); // not there
	g_assert_true(mount_unmount_all("", 0, &error));

	assert_mounts(t, dst);
	g_assert_true(dir_make_all(deep, 0755, NULL));
	assert_mounts(t, deep);
	assert_mounts(t, deep);
	g_assert_true(mount_unmount_recursive(dst, 0, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(mounts_below(dst), ==, 0);
	g_assert_true(mount_unmount_recursive(deep, 0, &error));
}

static void *close_later(void *data)
{
	g_usleep(200000);
	close(*(int *)data);
	return NULL;
}

static void test_busy(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *dst = make_dir(e->dir, "dst");
	g_autoptr(GPtrArray) t = one("tmpfs", "t", NULL, STRV("size=1m"));
	assert_mounts(t, dst);
	int fd = open(dst, O_RDONLY | O_CLOEXEC);
	pthread_t thread;
	g_assert_cmpint(pthread_create(&thread, NULL, close_later, &fd), ==, 0);
	g_assert_true(mount_unmount_all(dst, 0, &error)); // retried until it is free
	pthread_join(thread, NULL);

	assert_mounts(t, dst);
	fd = open(dst, O_RDONLY | O_CLOEXEC);
	gint64 start = g_get_monotonic_time();
	g_assert_false(mount_unmount_all(dst, 0, &error));
	gint64 took = g_get_monotonic_time() - start;
	g_autofree char *want =
	        g_strdup_printf("failed to unmount target %s: used by process %d (test-mount): "
	                        "device or resource busy",
	                        dst, getpid());
	g_assert_cmpstr(error->message, ==, want);
	g_assert_cmpint(took, >, 2000000);
	g_clear_error(&error);
	close(fd);

	g_autofree char *below = make_dir(dst, "below");
	assert_mounts(t, below);
	g_assert_false(mount_unmount_all(dst, 0, &error));
	g_autofree char *want2 =
	        g_strdup_printf("failed to unmount target %s: used by what is mounted on %s: "
	                        "device or resource busy",
	                        dst, below);
	g_assert_cmpstr(error->message, ==, want2);
	g_assert_true(mount_unmount_recursive(dst, 0, NULL));
}

// ---- overlay ----

/* The kernel says invalid argument, or no such file; we say which. */
static void test_overlay_errors(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *dst = make_dir(e->dir, "dst");
	g_autofree char *lower = make_dir(e->dir, "l");
	g_autoptr(GString) many = g_string_new("lowerdir=");
	for (int i = 0; i < 501; i++)
		g_string_append_printf(many, "%s%s", i > 0 ? ":" : "", lower);
	g_autoptr(GPtrArray) m = one("overlay", "overlay", NULL, STRV(many->str));
	g_assert_false(mounts_mount(m, dst, &error));
	g_assert_nonnull(
	        strstr(error->message, "err: overlay takes at most 500 lower directories, these are 501: "));
	g_clear_error(&error);
	g_autofree char *lost = g_strdup_printf("lowerdir=%s:%s/lost", lower, e->dir);
	g_autoptr(GPtrArray) missing = one("overlay", "overlay", NULL, STRV(lost));
	g_assert_false(mounts_mount(missing, dst, &error));
	g_autofree char *want =
	        g_strdup_printf("err: lower directory %s/lost: no such file or directory", e->dir);
	g_assert_true(g_str_has_suffix(error->message, want));
	g_clear_error(&error);
	g_autofree char *upper = g_strdup_printf("upperdir=%s/up", e->dir);
	g_autofree char *work = g_strdup_printf("workdir=%s", lower);
	g_autofree char *low = g_strdup_printf("lowerdir=%s", lower);
	g_autoptr(GPtrArray) no_upper = one("overlay", "overlay", NULL, STRV(low, upper, work));
	g_assert_false(mounts_mount(no_upper, dst, &error));
	g_autofree char *want2 =
	        g_strdup_printf("err: upper directory %s/up: no such file or directory", e->dir);
	g_assert_true(g_str_has_suffix(error->message, want2));
}

/* layers/<i>/fs with a file each, the first one topmost. */
static char *make_layers(const char *dir, unsigned n, unsigned pad)
{
	g_autoptr(GString) s = g_string_new("lowerdir=");
	for (unsigned i = n; i-- > 0;) {
		g_autofree char *name = g_strdup_printf("layers/%0*u/fs", pad, i),
		                *layer = make_dir(dir, name), *file = g_strdup_printf("file-%u", i),
		                *own = g_strdup_printf("%u", i);
		make_file(layer, file, own);
		make_file(layer, "top", own);
		g_string_append_printf(s, "%s%s", i + 1 < n ? ":" : "", layer);
	}
	return g_string_free(g_steal_pointer(&s), FALSE);
}

static void check_layers(const char *dst, unsigned n)
{
	g_autofree char *top = g_strdup_printf("%u", n - 1), *last = g_strdup_printf("file-%u", n - 1);
	assert_content(dst, "top", top);
	assert_content(dst, "file-0", "0");
	assert_content(dst, last, top);
	g_autoptr(GPtrArray) names = dir_list(dst, 0, NULL);
	g_assert_cmpuint(names->len, ==, n + 1);
}

static void run_overlay(const char *dir, unsigned n, unsigned pad, bool upper)
{
	g_autofree char *lower = make_layers(dir, n, pad), *dst = make_dir(dir, "dst"),
	                *up = make_dir(dir, "upper"), *work = make_dir(dir, "work"),
	                *o1 = g_strconcat("upperdir=", up, NULL), *o2 = g_strconcat("workdir=", work, NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) m = upper ? one("overlay", "overlay", NULL, STRV(o2, o1, lower, "index=off"))
	                               : one("overlay", "overlay", NULL, STRV(lower, "index=off"));
	g_autofree char *before = g_get_current_dir();
	assert_mounts(m, dst);
	check_layers(dst, n);
	g_assert_cmpint(try_write(dst, "new"), ==, upper ? 0 : EROFS);
	g_assert_true(exists(up, "new") == upper);
	g_autofree char *after = g_get_current_dir();
	g_assert_cmpstr(before, ==, after);
	g_assert_true(mounts_unmount(m, dst, 0, &error));
	g_assert_cmpuint(mounts_below(dir), ==, 0);
}

static void test_overlay(Env *e, gconstpointer data)
{
	(void)data;
	if (!test_skip_without_mounts())
		run_overlay(e->dir, 3, 1, true);
}

static void test_overlay_lower_only(Env *e, gconstpointer data)
{
	(void)data;
	if (!test_skip_without_mounts())
		run_overlay(e->dir, 2, 1, false);
}

/* More than a page of options, and more than a page even when relative. */
static void test_overlay_many(Env *e, gconstpointer data)
{
	(void)data;
	if (!test_skip_without_mounts())
		run_overlay(e->dir, 128, 40, true);
}

/* The ways that mounts_mount takes on older kernels. */
static void test_overlay_compact(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autofree char *lower = make_layers(e->dir, 128, 6), *dst = make_dir(e->dir, "dst"), *dir = NULL;
	g_auto(GStrv) options = mount_overlay_compact(STRV(lower), &dir);
	g_autoptr(GError) error = NULL;
	g_assert_nonnull(options);
	g_autofree char *want = g_strdup_printf("%s/layers/", e->dir);
	g_assert_cmpstr(dir, ==, want);
	g_autofree char *before = g_get_current_dir();
	mount_syscall(dir, "overlay", dst, dst, "overlay", 0, options[0], &error);
	g_assert_no_error(error);
	check_layers(dst, 128);
	g_autofree char *after = g_get_current_dir();
	g_assert_cmpstr(before, ==, after);

	g_assert_false(mount_syscall("/nonexistent", "overlay", dst, dst, "overlay", 0, options[0], &error));
	g_assert_cmpstr(error->message, ==, "chdir /nonexistent: no such file or directory");
}

static void test_overlay_links(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autofree char *lower = make_layers(e->dir, 128, 40), *dst = make_dir(e->dir, "dst"), *dir = NULL;
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) options = mount_overlay_links(STRV("index=off", lower), e->dir, &dir, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(options[0], ==, "index=off");
	g_assert_true(g_str_has_prefix(options[1], "lowerdir=0:1:2:"));
	g_autofree char *text = g_strjoinv(",", options);
	mount_syscall(dir, "overlay", dst, dst, "overlay", 0, text, &error);
	g_assert_no_error(error);
	mount_overlay_links_done(dir);
	g_assert_false(path_exists(dir));
	check_layers(dst, 128); // the links are not needed any more
	g_assert_null(mount_overlay_links(STRV("index=off"), e->dir, &dir, &error));
	g_assert_cmpstr(error->message, ==, "mount options is too long");
	g_clear_error(&error);
	g_free(g_steal_pointer(&dir));

	// what escapes stand for is what is linked to; what a crash leaves is taken away
	g_autofree char *odd = make_dir(e->dir, "a:b");
	g_autofree char *option = g_strdup_printf("lowerdir=%s/a\\:b:%s", e->dir, e->dir);
	g_auto(GStrv) again = mount_overlay_links(STRV(option), e->dir, &dir, &error);
	g_assert_no_error(error);
	g_autofree char *first = g_strconcat(dir, "/0", NULL);
	g_autofree char *target = g_file_read_link(first, NULL);
	g_assert_cmpstr(target, ==, odd);
	g_assert_true(mount_unmount_all(dst, 0, &error));
	g_assert_true(mount_cleanup_temp(e->dir, &error));
	g_assert_no_error(error);
	g_assert_false(path_exists(dir));
}

// ---- idmaps ----

static bool stat_owner(const char *dir, const char *name, uid_t uid, gid_t gid)
{
	g_autofree char *path = g_strdup_printf("%s/%s", dir, name);
	struct stat st;
	g_assert_cmpint(lstat(path, &st), ==, 0);
	return st.st_uid == uid && st.st_gid == gid;
}

static void chown_file(const char *dir, const char *name, uid_t uid, gid_t gid)
{
	g_autofree char *path = g_strdup_printf("%s/%s", dir, name);
	g_assert_cmpint(lchown(path, uid, gid), ==, 0);
}

static void test_userns_fd(void)
{
	static const struct {
		const char *uids, *gids, *error;
	} cases[] = {
	        {"0:1000:100", "0:1000:100", NULL},
	        {"0:1000:100,100:2000:200", "0:1000:100,100:2000:200", NULL},
	        {"100:1000:100", "0:-1:100",
	         "invalid mapping 0:-1:100, all IDs and size must be positive integers"},
	        {"100:1000:100", "-1:1000:100",
	         "invalid mapping -1:1000:100, all IDs and size must be positive integers"},
	        {"100:1000:100", "0:1000:-1",
	         "invalid mapping 0:1000:-1, all IDs and size must be positive integers"},
	        {"1:2", "0:0:1", "user namespace mappings require the format `container-id:host-id:size`"},
	        {"", "0:0:1", "user namespace mappings require the format `container-id:host-id:size`"},
	        {"1:2:3:4", "0:0:1",
	         "user namespace mappings require the format `container-id:host-id:size`"},
	        {"x:2:3", "0:0:1",
	         "invalid container id for user namespace remapping, strconv.Atoi: parsing \"x\": invalid "
	         "syntax"},
	        {"1:y:3", "0:0:1",
	         "invalid host id for user namespace remapping, strconv.Atoi: parsing \"y\": invalid syntax"},
	        {"1:2: 3", "0:0:1",
	         "invalid size for user namespace remapping, strconv.Atoi: parsing \" 3\": invalid syntax"},
	};
	if (test_skip_without_mounts())
		return;
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		autofd fd = mount_userns_fd(cases[i].uids, cases[i].gids, &error);
		g_assert_cmpstr(error != NULL ? error->message : NULL, ==, cases[i].error);
		g_assert_true((fd < 0) == (cases[i].error != NULL));
	}
	// the kernel refuses overlapping maps: an error that says so, and the process is gone
	g_autoptr(GError) error = NULL;
	g_assert_cmpint(mount_userns_fd("0:0:10,5:5:10", "0:0:1", &error), ==, -1);
	g_assert_true(
	        g_str_has_prefix(error->message, "failed to start noop process for unshare: write /proc/"));
	g_assert_true(g_str_has_suffix(error->message, "/uid_map: invalid argument"));
	g_assert_cmpint(waitpid(-1, NULL, WNOHANG | __WALL), ==, -1);
	g_assert_cmpint(errno, ==, ECHILD);
}

static void *many_userns(void *data)
{
	for (int i = 0; i < 50; i++) {
		autofd fd = mount_userns_fd("0:1000:100", "0:1000:100", NULL);
		g_assert_cmpint(fd, >=, 0);
	}
	return data;
}

static void test_userns_concurrent(void)
{
	if (test_skip_without_mounts())
		return;
	pthread_t threads[8];
	for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
		g_assert_cmpint(pthread_create(&threads[i], NULL, many_userns, NULL), ==, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
		pthread_join(threads[i], NULL);
	g_assert_cmpint(waitpid(-1, NULL, WNOHANG | __WALL), ==, -1);
}

#define MAP "uidmap=1000:0:100,5000:2000:100", "gidmap=1000:0:100,5000:3000:100"

static void test_idmap_bind(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autofree char *src = make_dir(e->dir, "src"), *dst = make_dir(e->dir, "dst");
	make_file(src, "a", "");
	make_file(src, "b", "");
	chown_file(src, "a", 1000, 1001);
	chown_file(src, "b", 5002, 5003);
	g_assert_cmpint(chown(src, 1000, 1000), ==, 0);
	for (int ro = 0; ro < 2; ro++) {
		g_autoptr(GPtrArray) m = one("bind", src, NULL, STRV(MAP, "rbind", ro ? "ro" : "rw"));
		assert_mounts(m, dst);
		g_assert_cmpuint(mounts_below(e->dir), ==, 1);
		g_assert_true(stat_owner(dst, "a", 0, 1));
		g_assert_true(stat_owner(dst, "b", 2002, 3003));
		g_assert_cmpint(try_write(dst, "new"), ==, ro ? EROFS : 0);
		g_assert_true(mounts_unmount(m, dst, 0, NULL));
	}
	g_assert_true(stat_owner(src, "new", 1000, 1000));
	// one of the two is as none
	g_autoptr(GPtrArray) half = one("bind", src, NULL, STRV("uidmap=1000:0:100", "rbind"));
	assert_mounts(half, dst);
	g_assert_true(stat_owner(dst, "a", 1000, 1001));
}

static void test_idmap_overlay(Env *e, gconstpointer data)
{
	unsigned n = GPOINTER_TO_UINT(data);
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *lower = make_layers(e->dir, n, 30), *dst = make_dir(e->dir, "dst"),
	                *up = make_dir(e->dir, "upper"), *work = make_dir(e->dir, "work"),
	                *tmp = make_dir(e->dir, "tmp"), *o1 = g_strconcat("upperdir=", up, NULL),
	                *o2 = g_strconcat("workdir=", work, NULL);
	g_auto(GStrv) layers = g_strsplit(lower + strlen("lowerdir="), ":", -1);
	chown_file(layers[0], "top", 7, 8);
	mount_set_temp_dir(tmp);
	g_autoptr(GPtrArray) m = one("overlay", "overlay", NULL,
	                             STRV("uidmap=0:66600:1000", "gidmap=0:77700:1000", o1, o2, lower));
	assert_mounts(m, dst);
	g_assert_true(stat_owner(dst, "top", 66607, 77708));
	g_assert_true(stat_owner(dst, "file-0", 66600, 77700));
	g_assert_true(stat_owner(layers[0], "top", 7, 8));
	// nothing of the temporary mount is left
	g_autoptr(GPtrArray) names = dir_list(tmp, 0, NULL);
	g_assert_cmpuint(names->len, ==, 0);
	g_assert_cmpuint(mounts_below(e->dir), ==, 1);
	g_assert_true(mounts_unmount(m, dst, 0, NULL));

	g_autoptr(GPtrArray) none =
	        one("overlay", "overlay", NULL, STRV("uidmap=0:1:1", "gidmap=0:1:1", o1, o2));
	g_assert_false(mounts_mount(none, dst, &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "failed to prepare idmapped overlay: failed to parse overlay lowerdir's from given options");
	g_clear_error(&error);
	g_autoptr(GPtrArray) missing = one("overlay", "overlay", NULL,
	                                   STRV("uidmap=0:1:1", "gidmap=0:1:1", "lowerdir=/nonexistent/a/b"));
	g_assert_false(mounts_mount(missing, dst, &error));
	g_assert_cmpstr(error->message, ==,
	                "failed to prepare idmapped overlay: failed to create idmapped mount: unable to open "
	                "tree for "
	                "/nonexistent/a: no such file or directory");
	g_autoptr(GPtrArray) left = dir_list(tmp, 0, NULL);
	g_assert_cmpuint(left->len, ==, 0);
	mount_set_temp_dir(NULL);
}

// ---- loop devices ----

static void test_loop(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *image = g_strdup_printf("%s/image", e->dir), *dst = make_dir(e->dir, "dst"),
	                *device = NULL;
	autofd fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	g_assert_cmpint(ftruncate(fd, 8 << 20), ==, 0);
	LoopParams params = {.autoclear = true};
	if (!path_exists("/dev/loop-control")) {
		g_assert_cmpint(mount_loop_setup(image, &params, &device, &error), ==, -1);
		g_assert_cmpstr(error->message, ==,
		                "could not open /dev/loop-control: no such file or directory");
		g_test_skip("no loop devices here");
		return;
	}
	const char *argv[] = {"mkfs.ext4", "-q", "-F", image, NULL};
	ProcessSpec spec = {.argv = argv};
	g_auto(ProcessResult) result = {0};
	if (!process_run(&spec, &result, NULL) || result.status != 0) {
		g_test_skip("no mkfs.ext4");
		return;
	}
	g_autoptr(GPtrArray) m = one("ext4", image, NULL, STRV("loop"));
	assert_mounts(m, dst);
	g_assert_cmpint(try_write(dst, "new"), ==, 0);
	g_assert_true(mounts_unmount(m, dst, 0, &error));
	g_autoptr(GPtrArray) ro = one("ext4", image, NULL, STRV("loop", "direct-io", "ro"));
	assert_mounts(ro, dst);
	g_assert_true(exists(dst, "new"));
	g_assert_cmpint(try_write(dst, "other"), ==, EROFS);
	g_autoptr(MountInfo) info = mount_lookup(dst, &error);
	g_assert_true(g_str_has_prefix(info->source, "/dev/loop"));
	g_assert_true(mounts_unmount(ro, dst, 0, &error));

	g_autoptr(GPtrArray) missing = one("ext4", "/nonexistent", NULL, STRV("loop"));
	g_assert_false(mounts_mount(missing, dst, &error));
	g_assert_cmpstr(error->message, ==,
	                "could not open backing file: /nonexistent: no such file or directory");
}

// ---- temporary mounts ----

typedef struct {
	char *root;
	bool fail, readonly;
} Seen;

static bool look(const char *root, void *data, GError **error)
{
	Seen *s = data;
	struct stat st;
	s->root = g_strdup(root);
	assert_content(root, "foo", "foo");
	s->readonly = try_write(root, "new") == EROFS;
	g_assert_cmpint(stat(root, &st), ==, 0);
	return !s->fail || error_set_class(error, CTRD_ERR_NOT_FOUND, "thing %s", Q("x"));
}

static void test_temp(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *src = make_dir(e->dir, "src"), *tmp = make_dir(e->dir, "tmp");
	make_file(src, "foo", "foo");
	g_autoptr(GPtrArray) m = one("bind", src, NULL, STRV("rw", "rbind"));
	Seen s = {0};
	g_assert_true(mounts_with_temp(m, tmp, look, &s, &error));
	g_assert_false(s.readonly);
	g_assert_false(path_exists(s.root));
	g_clear_pointer(&s.root, g_free);
	g_assert_true(mounts_with_readonly_temp(m, tmp, look, &s, &error));
	g_assert_true(s.readonly);
	g_clear_pointer(&s.root, g_free);

	s.fail = true;
	g_assert_false(mounts_with_temp(m, tmp, look, &s, &error));
	g_autofree char *want =
	        g_strdup_printf("mount callback failed on %s: thing \"x\": not found", s.root);
	g_assert_cmpstr(error->message, ==, want);
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	g_assert_false(path_exists(s.root));
	g_clear_pointer(&s.root, g_free);
	g_clear_error(&error);

	g_autoptr(GPtrArray) bad = one("nosuchfs", src, NULL, STRV("rw"));
	g_assert_false(mounts_with_temp(bad, tmp, look, &s, &error));
	g_autofree char *start = g_strdup_printf("failed to mount %s/containerd-mount", tmp);
	g_assert_true(g_str_has_prefix(error->message, start));
	g_clear_error(&error);
	g_assert_false(mounts_with_temp(m, "/nonexistent", look, &s, &error));
	g_assert_true(g_str_has_prefix(error->message,
	                               "failed to create temp dir: mkdir /nonexistent/containerd-mount"));
	g_autoptr(GPtrArray) names = dir_list(tmp, 0, NULL);
	g_assert_cmpuint(names->len, ==, 0);
}

static bool just_look(const char *root, void *data, GError **error)
{
	(void)error;
	*(bool *)data = exists(root, "file-0");
	return true;
}

static void test_temp_volatile(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *lower = make_layers(e->dir, 2, 1), *up = make_dir(e->dir, "upper"),
	                *work = make_dir(e->dir, "work"), *o1 = g_strconcat("upperdir=", up, NULL),
	                *o2 = g_strconcat("workdir=", work, NULL);
	g_autoptr(GPtrArray) m = one("overlay", "overlay", NULL, STRV("volatile", o1, o2, lower));
	for (int i = 0; i < 2; i++) {
		bool seen = false;
		mounts_with_temp(m, e->dir, just_look, &seen, &error);
		g_assert_no_error(error);
		g_assert_true(seen);
	}
}

static void test_temp_cleanup(Env *e, gconstpointer data)
{
	(void)data;
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *tmp = make_dir(e->dir, "tmp"), *a = make_dir(tmp, "containerd-mount1"),
	                *b = make_dir(tmp, "ovl-idmapped2"), *c = make_dir(tmp, "containerd-mount3"),
	                *other = make_dir(tmp, "other"), *full = make_dir(tmp, "containerd-mount4"),
	                *inner = NULL;
	g_autoptr(GPtrArray) t = one("tmpfs", "t", NULL, STRV("size=1m"));
	assert_mounts(t, a);
	inner = make_dir(a, "x");
	assert_mounts(t, inner);
	assert_mounts(t, b);
	make_file(full, "data", "precious");
	g_assert_true(mount_cleanup_temp(tmp, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(mounts_below(e->dir), ==, 0);
	g_assert_true(path_exists(other));
	assert_content(full, "data", "precious");
	g_assert_false(path_exists(a) || path_exists(b) || path_exists(c));
	g_assert_true(mount_cleanup_temp("/nonexistent", &error));
}

// ---- X-containerd.mkdir ----

static void test_mkdir(Env *e, gconstpointer data)
{
	(void)data;
	g_autofree char *root = make_dir(e->dir, "root"), *link = g_strdup_printf("%s/link", root);
	g_assert_cmpint(symlink("/tmp", link), ==, 0);
	const struct {
		const char *path, *rest, *error;
		mode_t mode;
	} cases[] = {
	        {"a", "", NULL, 0700},
	        {"b", ":0751", NULL, 0751},
	        {"a/c", ":755:0:0", NULL, 0755},
	        {"a", ":0700", NULL, 0700},
	        {"a", ":0711", "chmod not supported yet for mkdir handler: not implemented", 0},
	        {"d", ":0999", "invalid mode 0999: invalid argument", 0},
	        {"d", ":4755", "invalid mode 4755: invalid argument", 0},
	        {"d", ":755:0",
	         "invalid mkdir option \"X-containerd.mkdir.path=ROOT/d:755:0\": invalid argument", 0},
	        {"d", ":755:x:0", "invalid uid \"x\": invalid argument", 0},
	        {"d", ":755:0:-1", "invalid gid \"-1\": invalid argument", 0},
	        {"../d", "", "no root \"DIR/d\" configured for mkdir: not implemented", 0},
	        {"x/y", "", "failed to create directory \"ROOT/x/y\": openat2 x: no such file or directory",
	         0},
	        {"link/y", "", "failed to create directory \"ROOT/link/y\": ", 0},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *option = g_strdup_printf("X-containerd.mkdir.path=%s/%s%s", root,
		                                          cases[i].path, cases[i].rest);
		g_autoptr(Mount) m = mount_new("bind", "s", "t", STRV("ro", option, "rbind"));
		g_autoptr(Mount) got = mount_apply_mkdir(m, STRV("/nonexistent", root), &error);
		if (cases[i].error == NULL) {
			g_assert_no_error(error);
			g_autofree char *options = g_strjoinv("|", got->options);
			g_assert_cmpstr(options, ==, "ro|rbind");
			g_autofree char *path = g_strdup_printf("%s/%s", root, cases[i].path);
			struct stat st;
			g_assert_cmpint(stat(path, &st), ==, 0);
			g_assert_cmpuint(st.st_mode & 07777, ==, cases[i].mode);
			continue;
		}
		g_assert_null(got);
		g_autoptr(GString) want = g_string_new(cases[i].error);
		g_string_replace(want, "ROOT", root, 0);
		g_string_replace(want, "DIR", e->dir, 0);
		if (g_str_has_suffix(want->str, ": "))
			g_assert_true(g_str_has_prefix(error->message, want->str));
		else if (!strstr(want->str, "openat2"))
			g_assert_cmpstr(error->message, ==, want->str);
	}
	g_autoptr(GError) error = NULL;
	g_autoptr(Mount) m = mount_new("bind", "s", "t", STRV("X-containerd.mkdir.mode=1"));
	g_assert_null(mount_apply_mkdir(m, STRV(root), &error));
	g_assert_cmpstr(error->message, ==,
	                "invalid mkdir option \"X-containerd.mkdir.mode=1\": invalid argument");
}

int main(int argc, char **argv)
{
	test_private_ns();
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn, data) g_test_add("/mount/" name, Env, data, setup, fn, teardown)
	ADD("bind", test_bind, NULL);
	ADD("bind-flags", test_bind_flags, NULL);
	ADD("targets", test_targets, NULL);
	ADD("errors", test_errors, NULL);
	ADD("propagation", test_propagation, NULL);
	ADD("unmount", test_unmount, NULL);
	ADD("busy", test_busy, NULL);
	ADD("overlay/errors", test_overlay_errors, NULL);
	ADD("overlay", test_overlay, NULL);
	ADD("overlay/lower-only", test_overlay_lower_only, NULL);
	ADD("overlay/many", test_overlay_many, NULL);
	ADD("overlay/links", test_overlay_links, NULL);
	ADD("overlay/compact", test_overlay_compact, NULL);
	g_test_add_func("/mount/userns", test_userns_fd);
	g_test_add_func("/mount/userns/concurrent", test_userns_concurrent);
	ADD("idmap/bind", test_idmap_bind, NULL);
	ADD("idmap/overlay", test_idmap_overlay, GUINT_TO_POINTER(3));
	ADD("idmap/overlay-many", test_idmap_overlay, GUINT_TO_POINTER(60));
	ADD("loop", test_loop, NULL);
	ADD("temp", test_temp, NULL);
	ADD("temp/volatile", test_temp_volatile, NULL);
	ADD("temp/cleanup", test_temp_cleanup, NULL);
	ADD("mkdir", test_mkdir, NULL);
	return g_test_run();
}
