// SPDX-License-Identifier: Apache-2.0
/* Many small files, which another thread fills: the archive's order still counts. */

#include "diff/test-support.h"

#include "base/log.h"

#include <stdio.h>
#include <sys/mount.h>

enum {
	MANY = 500,
};

static void add_many(Tar *t)
{
	tar_dir(t, "d", 0750);
	for (int i = 0; i < MANY; i++) {
		g_autofree char *name = g_strdup_printf("d/%d", i);
		/* some empty, some large: those are written by the applier itself */
		g_autofree char *content =
		        g_strnfill(i % 50 == 0 ? 100000 : (gsize)(i % 7) * 100, (char)('a' + i % 26));
		tar_file(t, name, content, i % 2 == 0 ? 04755 : 0600);
	}
}

static void test_content(void)
{
	autoscratch root = scratch_new();
	g_auto(Tar) t = tar_begin();
	add_many(&t);
	g_autoptr(GError) error = NULL;
	tar_apply(&t, root, NULL, &error);
	g_assert_no_error(error);
	for (int i = 0; i < MANY; i++) {
		g_autofree char *name = g_strdup_printf("d/%d", i);
		g_autofree char *content =
		        g_strnfill(i % 50 == 0 ? 100000 : (gsize)(i % 7) * 100, (char)('a' + i % 26));
		assert_file(root, name, content);
		struct stat st;
		g_assert_cmpint(stat(PATH(root, name), &st), ==, 0);
		g_assert_cmpint(st.st_mode & 07777, ==, i % 2 == 0 ? 04755 : 0600);
		g_assert_cmpint(st.st_mtime, ==, TEST_TIME);
	}
	struct stat st;
	g_assert_cmpint(stat(PATH(root, "d"), &st), ==, 0);
	g_assert_cmpint(st.st_mtime, ==, TEST_TIME); // also of what came into it last
}

/* What comes later in the archive wins, whoever is still busy. */
static void test_order(void)
{
	autoscratch root = scratch_new();
	g_auto(Tar) t = tar_begin();
	add_many(&t);
	for (int i = 0; i < MANY; i++) {
		g_autofree char *file = g_strdup_printf("d/x%d", i), *link = g_strdup_printf("d/l%d", i);
		tar_file(&t, file, "first", 0600);
		if (i % 3 == 0)
			tar_file(&t, file, "second", 0640);
		else if (i % 3 == 1)
			tar_link(&t, file, link); // mode 0644
		else
			tar_dir(&t, file, 0711);
	}
	g_autoptr(GError) error = NULL;
	tar_apply(&t, root, NULL, &error);
	g_assert_no_error(error);
	for (int i = 0; i < MANY; i++) {
		g_autofree char *file = g_strdup_printf("d/x%d", i), *link = g_strdup_printf("d/l%d", i);
		struct stat st;
		g_assert_cmpint(stat(PATH(root, file), &st), ==, 0);
		static const mode_t want[] = {S_IFREG | 0640, S_IFREG | 0644, S_IFDIR | 0711};
		g_assert_cmpint(st.st_mode, ==, want[i % 3]);
		if (i % 3 < 2)
			assert_file(root, file, i % 3 == 0 ? "second" : "first");
		if (i % 3 == 1)
			assert_same_inode(root, file, link, true);
	}
}

static void test_bad_owner(void)
{
	autoscratch root = scratch_new();
	g_auto(Tar) t = tar_begin();
	add_many(&t);
	tar_add(&t, (TarHeader){.type = TAR_TYPE_REG, .name = "bad", .mode = 0644, .uid = INT64_C(1) << 33},
	        "x");
	add_many(&t);
	g_autoptr(GError) error = NULL;
	g_assert_false(tar_apply(&t, root, NULL, &error));
	g_autofree char *want =
	        g_strdup_printf("failed to Lchown \"%s/bad\" for UID 8589934592, GID 0: lchown %s/bad: "
	                        "invalid argument",
	                        root, root);
	assert_error_text(error, want);
}

static void test_full_disk(void)
{
	if (geteuid() != 0) {
		g_test_skip("needs root");
		return;
	}
	autoscratch dir = scratch_new();
	if (mount("tmpfs", dir, "tmpfs", 0, "size=256k") < 0) {
		g_test_skip("cannot mount");
		return;
	}
	g_autofree char *content = g_strnfill(4096, 'x');
	g_auto(Tar) t = tar_begin();
	for (int i = 0; i < MANY; i++) {
		g_autofree char *name = g_strdup_printf("%d", i);
		tar_file(&t, name, content, 0644);
	}
	g_autoptr(GError) error = NULL;
	bool ok = tar_apply(&t, dir, NULL, &error);
	g_assert_cmpint(umount(dir), ==, 0);
	g_assert_false(ok);
	g_assert_true(g_str_has_suffix(error->message, ": no space left on device"));
	g_assert_true(error_is(error, CTRD_ERR_UNKNOWN));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	autofd null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	log_set_fd(null);
	g_test_add_func("/diff/apply-files/content", test_content);
	g_test_add_func("/diff/apply-files/order", test_order);
	g_test_add_func("/diff/apply-files/bad-owner", test_bad_owner);
	g_test_add_func("/diff/apply-files/full-disk", test_full_disk);
	return g_test_run();
}
