// SPDX-License-Identifier: Apache-2.0

/* Transformers and handlers of the mount manager; cases of upstream's format_test.go, mkdir_linux_test.go. */

#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/util.h"
#include "mount/mount-active.h"
#include "mount/test-private-ns.h"
#include <fcntl.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define STRV(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_error(GError **error, CtrdErrorCode class, const char *text)
{
	g_assert_nonnull(*error);
	g_assert_cmpstr((*error)->message, ==, text);
	g_assert_cmpint(error_class(*error), ==, class);
	g_clear_error(error);
}

// ---- format ----

static GPtrArray *three_active(void)
{
	GPtrArray *active = active_mounts_new();
	for (int i = 0; i < 3; i++) {
		g_autofree char *source = g_strdup_printf("/s/%d", i);
		g_autofree char *target = g_strdup_printf("/t/%d", i);
		g_autofree char *point = g_strdup_printf("/m/%d", i);
		g_ptr_array_add(active, active_mount_new(mount_new("x", source, target, NULL), point));
	}
	return active;
}

static void test_format(void)
{
	static const struct {
		const char *template, *want, *error;
	} cases[] = {
	        {"plain", "plain", NULL},
	        {"{{ mount 0 }}", "/m/0", NULL},
	        {"{{mount 2}}", "/m/2", NULL},
	        {"a={{source 1}},b={{ target 1 }}!", "a=/s/1,b=/t/1!", NULL},
	        {"lowerdir={{ overlay 0 2 }}", "lowerdir=/m/0:/m/1:/m/2", NULL},
	        {"lowerdir={{ overlay 2 0 }}", "lowerdir=/m/2:/m/1:/m/0", NULL},
	        {"{{ overlay 1 1 }}", "/m/1", NULL},
	        {"a  {{- mount 0 -}}  b", "a/m/0b", NULL},
	        {"}} alone", "}} alone", NULL},
	        {"{{ mount 3 }}", NULL,
	         "template: :1:3: executing \"\" at <mount 3>: error calling mount: index out of bounds: 3, "
	         "has 3 active mounts"},
	        {"x\n{{source -1}}", NULL,
	         "template: :2:2: executing \"\" at <source -1>: error calling source: index out of bounds: "
	         "-1, has 3 active mounts"},
	        {"{{ overlay 0 3 }}", NULL,
	         "template: :1:3: executing \"\" at <overlay 0 3>: error calling overlay: invalid range: "
	         "0-3, "
	         "has 3 active mounts"},
	        {"{{ overlay 2 -1 }}", NULL,
	         "template: :1:3: executing \"\" at <overlay 2 -1>: error calling overlay: invalid range: "
	         "2--1, has 3 active mounts"},
	        {"{{ mount }}", NULL,
	         "template: :1:3: executing \"\" at <mount>: wrong number of args for mount: want 1 got 0"},
	        {"{{ mount 0 1 2 3 4 }}", NULL,
	         "template: :1:3: executing \"\" at <mount 0 1 2 3 4>: wrong number of args for mount: want "
	         "1 "
	         "got 5"},
	        {"{{ nope 0 }}", NULL, "template: :1: function \"nope\" not defined"},
	        {"{{ mount 0", NULL, "template: :1: unclosed action"},
	        {"{{}}", NULL, "template: :1: missing value for command"},
	        {"{{ 0 | mount }}", NULL,
	         "template: :1: unexpected \"| mount }}\" in a mount template: only calls with numbers are "
	         "known"},
	        {"{{ mount 99999999999999999999 }}", NULL,
	         "template: :1: unexpected \"99999999999999999999 }}\" in a mount template: only calls with "
	         "numbers are known"},
	};
	g_autoptr(GPtrArray) active = three_active();
	MountTransformEnv env = {STRV("/nowhere"), active};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(Mount) m = mount_new("overlay", "s", "t", STRV("ro", cases[i].template));
		g_autoptr(Mount) out = mount_transform_format(m, &env, &error);
		if (cases[i].want != NULL) {
			g_assert_no_error(error);
			g_assert_cmpstr(out->options[0], ==, "ro");
			g_assert_cmpstr(out->options[1], ==, cases[i].want);
		} else {
			g_assert_null(out);
			assert_error(&error, CTRD_ERR_UNKNOWN, cases[i].error);
		}
	}
	g_autoptr(GError) error = NULL;
	g_autoptr(Mount) m = mount_new("ext4", "{{ mount 0 }}", "{{ target 1 }}", NULL);
	g_autoptr(Mount) out = mount_transform_format(m, &env, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(out->source, ==, "/m/0");
	g_assert_cmpstr(out->target, ==, "/t/1");
	g_assert_cmpstr(m->source, ==, "{{ mount 0 }}");
}

// ---- sizes and mkfs ----

static void test_size(void)
{
	static const struct {
		const char *text;
		int64_t want;
		const char *error;
	} cases[] = {
	        {"32", 32, NULL},
	        {"32b", 32, NULL},
	        {"32kb", 32 * 1024, NULL},
	        {"32KiB", 32 * 1024, NULL},
	        {"32 MB", 32 << 20, NULL},
	        {"1.5g", 3LL << 29, NULL},
	        {"2P", 2LL << 50, NULL},
	        {"", 0, "invalid size: ''"},
	        {"hello", 0, "invalid size: 'hello'"},
	        {"-32", 0, "invalid size: '-32'"},
	        {"9999p9999p", 0, "strconv.ParseFloat: parsing \"9999p9999\": invalid syntax"},
	        {"99999999P", 0, "invalid size: '99999999P'"},
	        {"32zB", 0, "invalid suffix: 'zb'"},
	        {"32mix", 0, "invalid suffix: 'mix'"},
	        {"32bb", 0, "invalid suffix: 'bb'"},
	        {"32kilo", 0, "invalid suffix: 'kilo'"},
	        {" 32", 0, "strconv.ParseFloat: parsing \" 32\": invalid syntax"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		int64_t n = -7;
		bool ok = mount_size_parse(cases[i].text, &n, &error);
		if (cases[i].error == NULL) {
			g_assert_no_error(error);
			g_assert_cmpint(n, ==, cases[i].want);
		} else {
			g_assert_false(ok);
			assert_error(&error, CTRD_ERR_UNKNOWN, cases[i].error);
		}
	}
}

typedef struct {
	char *dir, *image;
	MountTransformEnv env;
	const char *roots[2];
} Env;

static void setup(Env *e, gconstpointer data)
{
	e->dir = g_dir_make_tmp("test-mount-active-XXXXXX", NULL);
	e->image = path_join(e->dir, "disk.img");
	e->roots[0] = e->dir;
	e->env = (MountTransformEnv){e->roots, active_mounts_new()};
}

static void teardown(Env *e, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	g_assert_true(mount_unmount_recursive(e->dir, 0, &error));
	g_assert_true(tree_remove(e->dir, &error));
	g_assert_no_error(error);
	g_ptr_array_unref(e->env.active);
	g_free(e->image);
	g_free(e->dir);
}

static void assert_mkfs_error(Env *e, const char *source, const char *const *options, CtrdErrorCode class,
                              const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Mount) m = mount_new("ext4", source, NULL, options);
	g_assert_null(mount_transform_mkfs(m, &e->env, &error));
	assert_error(&error, class, text);
	g_assert_false(path_exists(e->image));
	g_autoptr(GPtrArray) left = dir_list(e->dir, 0, NULL);
	g_assert_cmpuint(left->len, ==, 0);
}

static void test_mkfs_errors(Env *e, gconstpointer data)
{
	assert_mkfs_error(e, e->image, STRV("ro"), CTRD_ERR_INVALID_ARGUMENT,
	                  "mkfs requires mkfs.size option: invalid argument");
	assert_mkfs_error(e, e->image, STRV("X-containerd.mkfs.size=x"), CTRD_ERR_UNKNOWN,
	                  "bad option size: invalid size: 'x'");
	assert_mkfs_error(e, e->image, STRV("X-containerd.mkfs.speed=9"), CTRD_ERR_INVALID_ARGUMENT,
	                  "unknown mount option speed: invalid argument");
	assert_mkfs_error(e, e->image, STRV("X-containerd.mkfs.size=1m", "X-containerd.mkfs.fs=ntfs"),
	                  CTRD_ERR_INVALID_ARGUMENT, "unsupported filesystem \"ntfs\": invalid argument");
	assert_mkfs_error(e, "/elsewhere/x", STRV("X-containerd.mkfs.size=1m"), CTRD_ERR_NOT_IMPLEMENTED,
	                  "no root \"/elsewhere/x\" configured for mkfs: not implemented");
	g_autofree char *beside = g_strconcat(e->dir, "-beside/x", NULL);
	g_autofree char *text =
	        g_strdup_printf("no root \"%s\" configured for mkfs: not implemented", beside);
	assert_mkfs_error(e, beside, STRV("X-containerd.mkfs.size=1m"), CTRD_ERR_NOT_IMPLEMENTED, text);
	g_autofree char *above = g_strconcat(e->dir, "/../x", NULL);
	g_autofree char *text2 =
	        g_strdup_printf("no root \"%s\" configured for mkfs: not implemented", above);
	assert_mkfs_error(e, above, STRV("X-containerd.mkfs.size=1m"), CTRD_ERR_NOT_IMPLEMENTED, text2);
	g_autofree char *deep = path_join(e->dir, "no/x");
	g_autofree char *text3 =
	        g_strdup_printf("failed to stat \"%s\": open no: no such file or directory", deep);
	assert_mkfs_error(e, deep, STRV("X-containerd.mkfs.size=1m"), CTRD_ERR_UNKNOWN, text3);
}

static bool has_mkfs(void)
{
	g_autofree char *path = process_lookup("mkfs.ext4", NULL);
	if (path == NULL)
		g_test_skip("needs mkfs.ext4");
	return path != NULL;
}

/* mkfs fails: nothing is left that the next call would take for a file system. */
static void test_mkfs_fails(Env *e, gconstpointer data)
{
	if (!has_mkfs())
		return;
	g_autoptr(GError) error = NULL;
	g_autoptr(Mount) m = mount_new("ext4", e->image, NULL,
	                               STRV("X-containerd.mkfs.size=4MiB", "X-containerd.mkfs.uuid=bad"));
	g_assert_null(mount_transform_mkfs(m, &e->env, &error));
	g_autofree char *start = g_strdup_printf("failed format \"%s\": mkfs.ext4 failed: ", e->image);
	g_assert_true(g_str_has_prefix(error->message, start));
	g_assert_true(g_str_has_suffix(error->message, ": exit status 1"));
	g_autoptr(GPtrArray) left = dir_list(e->dir, 0, NULL);
	g_assert_cmpuint(left->len, ==, 0);
}

/* mkfs, loop and the mount of the device one after the other. */
static void test_loop(Env *e, gconstpointer data)
{
	if (test_skip_without_mounts() || !has_mkfs())
		return;
	g_autoptr(GError) error = NULL;
	g_autoptr(Mount) m = mount_new("loop", e->image, NULL,
	                               STRV("X-containerd.mkfs.size=4MiB", "X-containerd.mkfs.fs=ext2"));
	g_autoptr(Mount) loop = mount_transform_mkfs(m, &e->env, &error);
	g_assert_no_error(error);
	g_assert_null(loop->options[0]);
	struct stat st;
	g_assert_cmpint(stat(e->image, &st), ==, 0);
	g_assert_cmpint(st.st_size, ==, 4 << 20);
	g_autoptr(Mount) again = mount_transform_mkfs(m, &e->env, &error); // is there: nothing is done
	g_assert_no_error(error);

	g_autofree char *point = path_join(e->dir, "1");
	g_assert_false(mount_handler_loop.is_mounted(loop, point));
	ActiveMount *a = mount_handler_loop.mount(loop, point, e->env.active, &error);
	if (a == NULL && strstr(error->message, "/dev/loop") != NULL) {
		g_test_skip(error->message);
		return;
	}
	g_assert_no_error(error);
	g_ptr_array_add(e->env.active, a);
	g_autofree char *device = g_file_read_link(point, NULL);
	g_assert_cmpstr(strmap_get(a->data, "device"), ==, device);
	g_assert_true(mount_handler_loop.is_mounted(loop, point));
	g_autoptr(Mount) other = mount_new("loop", "/etc/passwd", NULL, NULL);
	g_assert_false(mount_handler_loop.is_mounted(other, point));

	g_autoptr(Mount) fs = mount_new("ext2", "{{ mount 0 }}", NULL, NULL);
	g_autoptr(Mount) ready = mount_transform_format(fs, &e->env, &error);
	g_assert_cmpstr(ready->source, ==, point);
	g_autofree char *second = path_join(e->dir, "2");
	g_autoptr(ActiveMount) b = mount_handler_system.mount(ready, second, e->env.active, &error);
	g_assert_no_error(error);
	g_autofree char *found = path_join(second, "lost+found");
	g_assert_true(path_exists(found));
	g_assert_true(mount_handler_system.is_mounted(ready, second));

	g_assert_true(mount_handler_system.unmount(second, &error));
	g_assert_false(mount_handler_system.is_mounted(ready, second));
	g_assert_true(mount_handler_loop.unmount(point, &error));
	g_assert_no_error(error);
	g_assert_false(g_file_test(point, G_FILE_TEST_IS_SYMLINK));
	g_assert_true(mount_handler_loop.unmount(point, &error)); // again is no error
	g_autofree char *name = g_path_get_basename(device);
	g_autofree char *backing = g_strdup_printf("/sys/block/%s/loop/backing_file", name);
	g_autofree char *file = NULL;
	if (file_read(backing, 4096, &file, NULL, NULL))
		g_assert_null(strstr(file, e->image)); // the device is free, or somebody else's by now
}

/* A crash before the device was kept, or a reboot: its number is somebody else's now, who must not lose it.
 */
static void test_loop_taken(Env *e, gconstpointer data)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	char block[4096] = {1};
	g_assert_true(file_write_atomic(e->image, block, sizeof block, 0600, false, NULL));
	g_autofree char *point = path_join(e->dir, "1");
	g_autofree char *device = NULL;
	autofd theirs = mount_loop_setup(e->image, &(LoopParams){.autoclear = false}, &device, &error);
	if (theirs < 0) {
		g_test_skip(error->message);
		return;
	}
	g_assert_cmpint(symlink(device, point), ==, 0);
	g_autoptr(Mount) m = mount_new("loop", e->image, NULL, NULL);
	g_assert_false(mount_handler_loop.is_mounted(m, point));
	g_assert_true(mount_handler_loop.unmount(point, &error));
	g_assert_no_error(error);
	g_assert_false(g_file_test(point, G_FILE_TEST_IS_SYMLINK));
	struct loop_info64 info;
	g_assert_cmpint(ioctl(theirs, LOOP_GET_STATUS64, &info), ==, 0);
	g_assert_cmpint(info.lo_flags & LO_FLAGS_AUTOCLEAR, ==, 0);
	g_assert_cmpint(ioctl(theirs, LOOP_CLR_FD), ==, 0);
}

static void test_handler_errors(Env *e, gconstpointer data)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *point = path_join(e->dir, "1");
	g_autoptr(Mount) missing = mount_new("loop", "/nonexistent/x.img", NULL, NULL);
	g_assert_null(mount_handler_loop.mount(missing, point, e->env.active, &error));
	assert_error(&error, CTRD_ERR_UNKNOWN,
	             "could not open backing file: /nonexistent/x.img: no such file or directory");
	g_autoptr(Mount) unknown = mount_new("nofs", "none", NULL, NULL);
	g_assert_null(mount_handler_system.mount(unknown, point, e->env.active, &error));
	g_assert_nonnull(error);
	g_clear_error(&error);
	g_autoptr(Mount) verity = mount_new("erofs", "/x", NULL, STRV("loop", "X-containerd.dmverity=/y"));
	g_assert_null(mount_handler_erofs.mount(verity, point, e->env.active, &error));
	assert_error(&error, CTRD_ERR_NOT_IMPLEMENTED, "dm-verity of \"/x\": not implemented");
	g_assert_false(path_exists(point));
}

/* An image that mkfs.erofs 1.5 made of one file, if there is that program. */
static void test_erofs(Env *e, gconstpointer data)
{
	g_autofree char *mkfs = process_lookup("mkfs.erofs", NULL);
	if (mkfs == NULL) {
		g_test_skip("needs mkfs.erofs");
		return;
	}
	if (test_skip_without_mounts())
		return;
	g_autofree char *tree = path_join(e->dir, "tree");
	g_assert_true(dir_make_all(tree, 0755, NULL));
	g_autofree char *file = path_join(tree, "hello");
	g_assert_true(file_write_atomic(file, "world", 5, 0644, false, NULL));
	g_auto(ProcessResult) result = {0};
	g_assert_true(
	        process_run(&(ProcessSpec){.argv = STRV(mkfs, "--quiet", e->image, tree)}, &result, NULL));
	g_assert_cmpint(result.status, ==, 0);
	g_autoptr(GError) error = NULL;
	g_autofree char *point = path_join(e->dir, "1");
	g_autoptr(Mount) m = mount_new("erofs", e->image, NULL, STRV("ro", "loop"));
	g_autoptr(ActiveMount) a = mount_handler_erofs.mount(m, point, e->env.active, &error);
	if (a == NULL && strstr(error->message, "no such device") != NULL) {
		g_test_skip("this kernel has no erofs");
		return;
	}
	g_assert_no_error(error);
	g_autofree char *mounted = path_join(point, "hello");
	g_autofree char *text = NULL;
	g_assert_true(file_read(mounted, 100, &text, NULL, NULL));
	g_assert_cmpstr(text, ==, "world");
	g_assert_true(mount_handler_erofs.unmount(point, &error));
	g_assert_no_error(error);
}

static void test_transformers(void)
{
	g_assert_true(mount_transformer("format", 6) == mount_transform_format);
	g_assert_true(mount_transformer("mkfs/ext4", 4) == mount_transform_mkfs);
	g_assert_nonnull(mount_transformer("mkdir", 5));
	g_assert_null(mount_transformer("form", 4));
	g_assert_null(mount_transformer("", 0));
}

int main(int argc, char **argv)
{
	test_private_ns();
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/mount-active/" name, Env, NULL, setup, fn, teardown)
	g_test_add_func("/mount-active/format", test_format);
	g_test_add_func("/mount-active/size", test_size);
	g_test_add_func("/mount-active/transformers", test_transformers);
	ADD("mkfs/errors", test_mkfs_errors);
	ADD("mkfs/fails", test_mkfs_fails);
	ADD("loop", test_loop);
	ADD("loop-taken", test_loop_taken);
	ADD("erofs", test_erofs);
	ADD("handler-errors", test_handler_errors);
	return g_test_run();
}
