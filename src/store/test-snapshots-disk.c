// SPDX-License-Identifier: Apache-2.0

/* Snapshots on a disk that is full, and under a mount that somebody left in them. */

#include "mount/test-private-ns.h"
#include "store/snapshots.h"
#include "store/test-env.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
	TestEnv *env;
	char *disk; // a tmpfs of 1 MiB
	Snapshotter *s;
} Disk;

static bool setup(Disk *d, bool native)
{
	if (test_skip_without_mounts())
		return false;
	g_autoptr(GError) error = NULL;
	d->env = test_env_new(NULL);
	d->disk = g_build_filename(d->env->dir, "disk", NULL);
	g_assert_true(dir_make_all(d->disk, 0700, NULL));
	g_assert_cmpint(mount("tmpfs", d->disk, "tmpfs", 0, "size=1m"), ==, 0);
	SnapshotDriver *driver =
	        native ? snapshot_native_new(d->disk, &error) : snapshot_overlayfs_new(d->disk, NULL, &error);
	g_assert_no_error(error);
	d->s = snapshotter_local_new(d->env->db, native ? "native" : "overlayfs", driver, &error);
	g_assert_no_error(error);
	return true;
}

static void teardown(Disk *d)
{
	snapshotter_free(d->s);
	g_assert_true(mount_unmount_recursive(d->disk, 0, NULL));
	g_free(d->disk);
	test_env_free(d->env);
}

static guint n_dirs(Disk *d)
{
	g_autofree char *dir = path_join(d->disk, "snapshots");
	g_autoptr(GPtrArray) names = dir_list(dir, 0, NULL);
	return names->len;
}

/* A file of so many KiB in the snapshot whose first mount this is. */
static bool fill(GPtrArray *mounts, size_t kib)
{
	const Mount *m = mounts->pdata[0];
	g_autofree char *path = g_build_filename(m->source, "file", NULL);
	g_autofree char *data = g_strnfill(kib * 1024, 'x');
	return file_write_atomic(path, data, kib * 1024, 0644, false, NULL);
}

static void commit(Disk *d, const char *name, size_t kib)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *key = g_strconcat(name, "-active", NULL);
	g_autoptr(GPtrArray) mounts = snapshot_prepare(d->s, &d->env->ctx, key, NULL, NULL, &error);
	g_assert_no_error(error);
	g_assert_true(fill(mounts, kib));
	g_assert_true(snapshot_commit(d->s, &d->env->ctx, name, key, NULL, NULL, &error));
	g_assert_no_error(error);
}

/* native copies the parent: half of it, then the disk is full. Nothing is left, and it works once there is
 * room. */
static void test_full_copy(void)
{
	Disk d;
	if (!setup(&d, true))
		return;
	g_autoptr(GError) error = NULL;
	commit(&d, "base", 400);
	commit(&d, "ballast", 400);
	guint before = n_dirs(&d);
	g_assert_null(snapshot_prepare(d.s, &d.env->ctx, "child", "base", NULL, &error));
	g_assert_nonnull(strstr(error->message, "failed to copy "));
	g_assert_true(g_str_has_suffix(error->message, "file: no space left on device"));
	g_clear_error(&error);
	g_assert_cmpuint(n_dirs(&d), ==, before);
	g_assert_null(snapshot_stat(d.s, &d.env->ctx, "child", &error));
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	g_clear_error(&error);

	g_assert_true(snapshot_remove(d.s, &d.env->ctx, "ballast", &error));
	g_assert_true(snapshot_cleanup(d.s, &d.env->ctx, &error));
	g_autoptr(GPtrArray) mounts = snapshot_prepare(d.s, &d.env->ctx, "child", "base", NULL, &error);
	g_assert_no_error(error);
	teardown(&d);
}

/* Removing makes room even where there is not a byte. */
static void test_full_remove(gconstpointer data)
{
	Disk d;
	if (!setup(&d, g_str_equal(data, "native")))
		return;
	g_autoptr(GError) error = NULL;
	commit(&d, "base", 200);
	g_autofree char *ballast = path_join(d.disk, "ballast");
	autofd fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char block[4096] = {1};
	while (write(fd, block, sizeof block) > 0)
		;
	g_assert_cmpint(errno, ==, ENOSPC);
	fd_close(&fd);
	g_autoptr(GPtrArray) mounts = snapshot_prepare(d.s, &d.env->ctx, "two", NULL, NULL, &error);
	if (mounts != NULL) // directories of tmpfs cost nothing; a file does
		g_assert_false(fill(mounts, 100));
	g_clear_error(&error);
	g_assert_true(snapshot_remove(d.s, &d.env->ctx, "base", &error));
	g_assert_no_error(error);
	g_assert_true(snapshot_cleanup(d.s, &d.env->ctx, &error));
	g_assert_true(mounts == NULL || fill(mounts, 100));
	teardown(&d);
}

/* A mount that somebody left in a snapshot is never emptied; the rest goes, and all of it when it is gone. */
static void test_busy_remove(gconstpointer data)
{
	Disk d;
	if (!setup(&d, g_str_equal(data, "native")))
		return;
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) mounts = snapshot_prepare(d.s, &d.env->ctx, "one", NULL, NULL, &error);
	g_assert_no_error(error);
	g_assert_true(fill(mounts, 1));
	g_autofree char *at = path_join(((Mount *)mounts->pdata[0])->source, "left");
	g_autofree char *precious = path_join(d.env->dir, "precious");
	g_autofree char *file = path_join(precious, "file");
	g_assert_true(dir_make_all(at, 0755, NULL) && dir_make_all(precious, 0755, NULL));
	g_assert_true(file_write_atomic(file, "x", 1, 0600, false, NULL));
	g_assert_cmpint(mount(precious, at, NULL, MS_BIND, NULL), ==, 0);

	g_assert_true(snapshot_remove(d.s, &d.env->ctx, "one", &error)); // the name is free
	g_assert_no_error(error);
	g_assert_true(snapshot_cleanup(d.s, &d.env->ctx, &error)); // as upstream's: a warning in the log
	g_assert_true(path_exists(file));
	g_assert_cmpuint(n_dirs(&d), ==, 1);
	g_autofree char *dir = path_join(d.disk, "snapshots");
	g_assert_true(mount_unmount_recursive(dir, 0, &error));
	g_assert_true(snapshot_cleanup(d.s, &d.env->ctx, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(n_dirs(&d), ==, 0);
	g_assert_true(path_exists(file));
	teardown(&d);
}

int main(int argc, char **argv)
{
	test_private_ns();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/snapshots/disk/full-copy", test_full_copy);
	g_test_add_data_func("/snapshots/disk/full-remove/overlayfs", "overlayfs", test_full_remove);
	g_test_add_data_func("/snapshots/disk/full-remove/native", "native", test_full_remove);
	g_test_add_data_func("/snapshots/disk/busy-remove/overlayfs", "overlayfs", test_busy_remove);
	g_test_add_data_func("/snapshots/disk/busy-remove/native", "native", test_busy_remove);
	return g_test_run();
}
