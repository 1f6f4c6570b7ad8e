// SPDX-License-Identifier: Apache-2.0
/* Applying layers: upstream's TestBreakouts and their kin, the hostile archives of the CVE list, limits. */

#include "diff/test-support.h"

#include "base/log.h"
#include "base/time.h"
#include "loop/thread.h"

#include <stdio.h>
#include <sys/mount.h>
#include <sys/vfs.h>

/* ---- Breakouts: upstream's table, in its order ---- */

typedef struct {
	const char *name;
	void (*before)(const char *root);
	void (*archive)(Tar *t);
	void (*check)(const char *root);
	const char *error; // %s is not used: texts are whole
} Breakout;

static void etc_passwd(Tar *t)
{
	tar_dir(t, "etc", 0770);
	tar_file(t, "/etc/passwd", "inside", 0644);
}
static void lower_etc(const char *root)
{
	put_dir(root, "etc", 0755);
	put_file(root, "etc/passwd", "all users", 0644);
}
static void lower_etc_localetc_dir(const char *root)
{
	lower_etc(root);
	put_dir(root, "localetc", 0755);
}
static void lower_etc_localetc_link(const char *root)
{
	lower_etc(root);
	put_file(root, "etc/whitedout", "ahhhh whiteout", 0644);
	put_symlink(root, "/etc", "localetc");
}
static void lower_etc_hardlinked(const char *root)
{
	lower_etc(root);
	put_symlink(root, "etc", "localetc");
	put_link(root, "etc/passwd", "localetc/localpasswd");
}
static void lower_dead_link(const char *root)
{
	lower_etc(root);
	put_symlink(root, "/dne", "localetc");
}

static void check_unbroken(const char *root)
{
	assert_file(root, "etc/unbroken", "unbroken");
}
static void check_localpasswd(const char *root)
{
	assert_same_inode(root, "localpasswd", "etc/passwd", true);
}
static void check_mypasswd(const char *root)
{
	assert_same_inode(root, "breakouts/mypasswd", "etc/passwd", true);
}

static void a_symlink_absolute(Tar *t)
{
	tar_dir(t, "etc", 0755);
	tar_symlink(t, "/etc", "localetc");
	tar_file(t, "/localetc/unbroken", "unbroken", 0644);
}
static void a_symlink_up_and_out(Tar *t)
{
	tar_dir(t, "etc", 0755);
	tar_dir(t, "dummy", 0755);
	tar_symlink(t, "/dummy/../etc", "localetc");
	tar_file(t, "/localetc/unbroken", "unbroken", 0644);
}
static void a_symlink_multiple_absolute(Tar *t)
{
	tar_dir(t, "etc", 0755);
	tar_dir(t, "dummy", 0755);
	tar_symlink(t, "/etc", "/dummy/etc");
	tar_symlink(t, "/dummy/etc", "localetc");
	tar_file(t, "/dummy/etc/unbroken", "unbroken", 0644);
}
static void a_symlink_multiple_relative(Tar *t)
{
	tar_dir(t, "etc", 0755);
	tar_dir(t, "dummy", 0755);
	tar_symlink(t, "/etc", "/dummy/etc");
	tar_symlink(t, "./dummy/etc", "localetc");
	tar_file(t, "/dummy/etc/unbroken", "unbroken", 0644);
}
static void a_symlink_empty_file(Tar *t)
{
	tar_dir(t, "etc", 0755);
	tar_file(t, "etc/emptied", "notempty", 0644);
	tar_symlink(t, "/etc", "localetc");
	tar_file(t, "/localetc/emptied", "", 0644);
}
static void check_emptied(const char *root)
{
	assert_file(root, "etc/emptied", "");
}
static void a_hardlink_relative(Tar *t)
{
	etc_passwd(t);
	tar_dir(t, "breakouts", 0755);
	tar_symlink(t, "../../etc", "breakouts/d1");
	tar_link(t, "/breakouts/d1/passwd", "breakouts/mypasswd");
}
static void a_hardlink_down_and_out(Tar *t)
{
	etc_passwd(t);
	tar_dir(t, "breakouts", 0755);
	tar_dir(t, "downandout", 0755);
	tar_symlink(t, "../downandout/../../etc", "breakouts/d1");
	tar_link(t, "/breakouts/d1/passwd", "breakouts/mypasswd");
}
static void a_hardlink_absolute(Tar *t)
{
	etc_passwd(t);
	tar_symlink(t, "/etc", "localetc");
	tar_link(t, "/localetc/passwd", "localpasswd");
}
static void a_hardlink_relative_long(Tar *t)
{
	etc_passwd(t);
	tar_symlink(t, "../../../../../../../etc", "localetc");
	tar_link(t, "/localetc/passwd", "localpasswd");
}
static void a_hardlink_relative_up_and_out(Tar *t)
{
	etc_passwd(t);
	tar_dir(t, "upandout", 0755);
	tar_symlink(t, "upandout/../../../etc", "localetc");
	tar_link(t, "/localetc/passwd", "localpasswd");
}
static void a_hardlink_direct_relative(Tar *t)
{
	etc_passwd(t);
	tar_link(t, "../../../../../etc/passwd", "localpasswd");
}
static void a_hardlink_direct_absolute(Tar *t)
{
	etc_passwd(t);
	tar_link(t, "/etc/passwd", "localpasswd");
}
static void a_symlink_parent_directory(Tar *t)
{
	etc_passwd(t);
	tar_symlink(t, "/etc/", "..");
	tar_link(t, "/etc/passwd", "localpasswd");
}
static void a_symlink_empty_filename(Tar *t)
{
	etc_passwd(t);
	tar_symlink(t, "/etc/", "");
	tar_link(t, "/etc/passwd", "localpasswd");
}
static void a_symlink_parent_relative(Tar *t)
{
	etc_passwd(t);
	tar_symlink(t, "/etc/", "localetc/sub/..");
	tar_link(t, "/etc/passwd", "/localetc/localpasswd");
}
static void check_localetc_localpasswd(const char *root)
{
	assert_same_inode(root, "localetc/localpasswd", "etc/passwd", true);
}
static void a_symlink_slash_ended(Tar *t)
{
	etc_passwd(t);
	tar_dir(t, "localetc/", 0770);
	tar_link(t, "/etc/passwd", "/localetc/localpasswd");
}
static void a_symlink_override_directory(Tar *t)
{
	tar_symlink(t, "/etc", "localetc");
	tar_link(t, "/etc/passwd", "/localetc/localpasswd");
}
static void a_symlink_override_directory_relative(Tar *t)
{
	tar_symlink(t, "../../etc", "localetc");
	tar_link(t, "/etc/passwd", "/localetc/localpasswd");
}
static void a_directory_override_symlink(Tar *t)
{
	tar_dir(t, "/localetc/", 0755);
	tar_link(t, "/etc/passwd", "/localetc/localpasswd");
}
static void a_directory_override_symlink_and_hardlink(Tar *t)
{
	tar_dir(t, "/localetc/", 0755);
	tar_file(t, "/localetc/localpasswd", "different", 0644);
}
static void check_not_linked(const char *root)
{
	assert_same_inode(root, "localetc/localpasswd", "etc/passwd", false);
	assert_file(root, "etc/passwd", "all users");
}
static void a_whiteout_root_parent(Tar *t)
{
	tar_file(t, ".wh...", "", 0644);
}
static void a_whiteout_parent(Tar *t)
{
	tar_file(t, "etc/.wh...", "", 0644);
}
static void a_whiteout_root(Tar *t)
{
	tar_file(t, ".wh..", "", 0644);
}
static void a_whiteout_current(Tar *t)
{
	tar_file(t, "etc/.wh..", "", 0644);
}
static void a_whiteout_nothing(Tar *t)
{
	tar_file(t, "etc/.wh.", "", 0644);
}
static void a_whiteout_symlink(Tar *t)
{
	tar_file(t, ".wh.localetc", "", 0644);
}
static void check_whiteout_symlink(const char *root)
{
	assert_file(root, "etc/passwd", "all users");
	g_assert_false(exists(root, "localetc"));
}
static void a_whiteout_symlink_path(Tar *t)
{
	tar_file(t, "localetc/.wh.whitedout", "", 0644);
}
static void check_whitedout(const char *root)
{
	assert_file(root, "etc/passwd", "all users");
	g_assert_false(exists(root, "etc/whitedout"));
}
static void a_whiteout_directory_name(Tar *t)
{
	tar_file(t, ".wh.etc/somefile", "non-empty", 0644);
}
static void check_whiteout_directory_name(const char *root)
{
	assert_file(root, "etc/passwd", "all users");
	assert_file(root, ".wh.etc/somefile", "non-empty");
}
static void a_whiteout_dead_link(Tar *t)
{
	tar_file(t, "localetc/.wh.etc", "", 0644);
}
static void check_passwd(const char *root)
{
	assert_file(root, "etc/passwd", "all users");
}
static void a_whiteout_relative(Tar *t)
{
	tar_file(t, "dne/../.wh.etc", "", 0644);
}
static void check_no_etc(const char *root)
{
	g_assert_false(exists(root, "etc"));
}
static void a_symlink_override_path(Tar *t)
{
	tar_dir(t, "foo", 0755);
	tar_dir(t, "foo/tmp", 0755);
	tar_file(t, "foo/tmp/diff-test-breakout", "1", 0644);
	tar_symlink(t, "/", "foo");
	tar_file(t, "foo/tmp/diff-test-breakout", "2", 0644);
	tar_dir(t, "foo", 0755);
	tar_dir(t, "foo/tmp", 0755);
	tar_file(t, "foo/tmp/diff-test-breakout", "3", 0644);
}
static void check_symlink_override_path(const char *root)
{
	g_assert_false(exists("/tmp", "diff-test-breakout"));
	assert_file(root, "tmp/diff-test-breakout", "2");
	assert_file(root, "foo/tmp/diff-test-breakout", "3");
}
static void a_hardlink_before_target(Tar *t)
{
	tar_dir(t, "etc", 0770);
	tar_symlink(t, "/etc/passwd", "localpasswd");
	tar_link(t, "localpasswd", "localpasswd-dup");
	tar_file(t, "/etc/passwd", "after", 0644);
}
static void check_both_links(const char *root)
{
	assert_same_inode(root, "localpasswd", "localpasswd-dup", true);
	struct stat st;
	g_assert_cmpint(lstat(PATH(root, "localpasswd-dup"), &st), ==, 0);
	g_assert_true(S_ISLNK(st.st_mode));
}
static void a_hardlink_symlink(Tar *t)
{
	etc_passwd(t);
	tar_symlink(t, "../../../../../etc/passwd", "localpasswd");
	tar_link(t, "/localpasswd", "localpasswd-dup");
}

static const Breakout breakouts[] = {
        {"symlink-absolute", NULL, a_symlink_absolute, check_unbroken, NULL},
        {"symlink-up-and-out", NULL, a_symlink_up_and_out, check_unbroken, NULL},
        {"symlink-multiple-absolute", NULL, a_symlink_multiple_absolute, check_unbroken, NULL},
        {"symlink-multiple-relative", NULL, a_symlink_multiple_relative, check_unbroken, NULL},
        {"symlink-empty-file", NULL, a_symlink_empty_file, check_emptied, NULL},
        {"hardlink-relative", NULL, a_hardlink_relative, check_mypasswd, NULL},
        {"hardlink-down-and-out", NULL, a_hardlink_down_and_out, check_mypasswd, NULL},
        {"hardlink-absolute", NULL, a_hardlink_absolute, check_localpasswd, NULL},
        {"hardlink-relative-long", NULL, a_hardlink_relative_long, check_localpasswd, NULL},
        {"hardlink-relative-up-and-out", NULL, a_hardlink_relative_up_and_out, check_localpasswd, NULL},
        {"hardlink-direct-relative", NULL, a_hardlink_direct_relative, check_localpasswd, NULL},
        {"hardlink-direct-absolute", NULL, a_hardlink_direct_absolute, check_localpasswd, NULL},
        {"symlink-parent-directory", NULL, a_symlink_parent_directory, check_localpasswd, NULL},
        {"symlink-empty-filename", NULL, a_symlink_empty_filename, check_localpasswd, NULL},
        {"symlink-parent-relative", NULL, a_symlink_parent_relative, check_localetc_localpasswd, NULL},
        {"symlink-slash-ended", NULL, a_symlink_slash_ended, check_localetc_localpasswd, NULL},
        {"symlink-override-directory", lower_etc_localetc_dir, a_symlink_override_directory,
         check_localetc_localpasswd, NULL},
        {"symlink-override-directory-relative", lower_etc_localetc_dir, a_symlink_override_directory_relative,
         check_localetc_localpasswd, NULL},
        {"directory-override-symlink", lower_etc_localetc_link, a_directory_override_symlink,
         check_localetc_localpasswd, NULL},
        {"directory-override-symlink-and-hardlink", lower_etc_hardlinked,
         a_directory_override_symlink_and_hardlink, check_not_linked, NULL},
        {"whiteout-root-parent", lower_etc, a_whiteout_root_parent, check_passwd,
         "invalid whiteout name: .wh...: invalid archive"},
        {"whiteout-parent", lower_etc, a_whiteout_parent, check_passwd,
         "invalid whiteout name: .wh...: invalid archive"},
        {"whiteout-root", lower_etc, a_whiteout_root, check_passwd,
         "invalid whiteout name: .wh..: invalid archive"},
        {"whiteout-current-directory", lower_etc, a_whiteout_current, check_passwd,
         "invalid whiteout name: .wh..: invalid archive"},
        {"whiteout-nothing", lower_etc, a_whiteout_nothing, check_passwd,
         "invalid whiteout name: .wh.: invalid archive"},
        {"whiteout-symlink", lower_etc_localetc_link, a_whiteout_symlink, check_whiteout_symlink, NULL},
        {"whiteout-symlink-path", lower_etc_localetc_link, a_whiteout_symlink_path, check_whitedout, NULL},
        {"whiteout-directory-name", lower_etc, a_whiteout_directory_name, check_whiteout_directory_name,
         NULL},
        {"whiteout-dead-symlink-parent", lower_dead_link, a_whiteout_dead_link, check_passwd, NULL},
        {"whiteout-relative-path", lower_dead_link, a_whiteout_relative, check_no_etc, NULL},
        {"symlink-override-path", NULL, a_symlink_override_path, check_symlink_override_path, NULL},
        {"hardlink-symlink-before-create-target", NULL, a_hardlink_before_target, check_both_links, NULL},
        {"hardlink-symlink", NULL, a_hardlink_symlink, check_both_links, NULL},
};

static void test_breakout(const void *data)
{
	const Breakout *b = data;
	autoscratch outside = scratch_new();
	put_dir(outside, "root", 0755);
	put_dir(outside, "etc", 0755);
	put_file(outside, "etc/passwd", "outside", 0600);
	g_autofree char *root = path_join(outside, "root");
	if (b->before != NULL)
		b->before(root);
	g_auto(Tar) t = tar_begin();
	b->archive(&t);
	g_autoptr(GError) error = NULL;
	tar_apply(&t, root, NULL, &error);
	assert_error_text(error, b->error);
	b->check(root);
	// beside the root nothing happened
	drop(outside, "root");
	g_autofree char *rest = describe(outside, false), *want = NULL;
	put_file(outside, "etc/passwd", "outside", 0600);
	want = describe(outside, false);
	g_assert_cmpstr(rest, ==, want);
}

/* CVE-2021-32760: chmod through links to files outside */
static void test_no_chmod_outside(void)
{
	autoscratch outside = scratch_new();
	put_file(outside, "perm400", "...", 0400);
	put_file(outside, "also", "...", 0640);
	put_dir(outside, "root", 0755);
	g_autofree char *root = path_join(outside, "root"), *p = path_join(outside, "perm400"),
	                *also = path_join(outside, "also");
	g_auto(Tar) t = tar_begin();
	tar_symlink(&t, p, also);
	tar_link(&t, also, "sketchylink");
	tar_symlink(&t, p, "direct");
	tar_add(&t, (TarHeader){.type = TAR_TYPE_LINK, .name = "direct2", .linkname = "direct", .mode = 0777},
	        NULL);
	tar_add(&t, (TarHeader){.type = TAR_TYPE_REG, .name = "direct/x", .mode = 0777}, "no");
	g_autoptr(GError) error = NULL;
	tar_apply(&t, root, NULL, &error);
	g_assert_no_error(error);
	struct stat st;
	g_assert_cmpint(stat(p, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0400);
	g_assert_cmpint(stat(also, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0640);
}

/* CVE-2025-47290: somebody else swaps a directory for a link to the outside while we work. What we do may
 * fail, but it stays in the root. */
typedef struct {
	const char *root, *outside;
	int stop;
} Swapper;

static void *swap_forever(void *data)
{
	Swapper *s = data;
	char dir[PATH_MAX], link_name[PATH_MAX], aside[PATH_MAX];
	path_of(dir, s->root, "a");
	path_of(link_name, s->root, "link");
	path_of(aside, s->root, "aside");
	while (!g_atomic_int_get(&s->stop)) {
		(void)!symlink(s->outside, link_name);
		(void)rename(dir, aside);
		(void)rename(link_name, dir);
		(void)unlink(dir);
		(void)rename(aside, dir);
	}
	return NULL;
}

static void test_race(void)
{
	autoscratch outside = scratch_new();
	autoscratch root = scratch_new();
	put_file(outside, "passwd", "outside", 0600);
	put_dir(outside, "d", 0700);
	g_autofree char *before = describe(outside, true);
	put_dir(root, "a", 0755);
	Swapper s = {root, outside, 0};
	pthread_t thread;
	g_assert_cmpint(thread_start(&thread, "swapper", 0, swap_forever, &s), ==, 0);
	unsigned ok = 0;
	int64_t end = time_mono() + NS_PER_SEC / 2;
	while (time_mono() < end) {
		g_auto(Tar) t = tar_begin();
		for (int i = 0; i < 20; i++) {
			tar_dir(&t, "a", 0777);
			tar_file(&t, "a/passwd", "inside", 0777);
			tar_dir(&t, "a/d", 0777);
			tar_file(&t, "a/d/new", "inside", 04777);
			tar_link(&t, "a/passwd", "a/hard");
			tar_symlink(&t, "x", "a/sym");
			tar_file(&t, "a/.wh.passwd", "", 0644);
			tar_file(&t, "a/.wh..wh..opq", "", 0644);
		}
		ok += tar_apply(&t, root, NULL, NULL);
	}
	g_atomic_int_set(&s.stop, 1);
	pthread_join(thread, NULL);
	g_test_message("%u layers went through", ok);
	g_autofree char *after = describe(outside, true);
	g_assert_cmpstr(after, ==, before);
}

/* ---- Plain semantics ---- */

static void test_creation(void)
{
	autoscratch root = scratch_new();
	put_dir(root, "etc", 0700);
	mode_t old = umask(077); // modes are exact
	g_auto(Tar) t = tar_begin();
	tar_dir(&t, "/etc/subdir", 0755);
	tar_dir(&t, "/etc/subdir2/", 0777);
	tar_dir(&t, "/other/noparent-1/1", 01777);
	tar_file(&t, "file", "content", 0666);
	tar_file(&t, "setuid", "content", 06755);
	tar_add(&t, (TarHeader){.type = TAR_TYPE_FIFO, .name = "fifo", .mode = 0622}, NULL);
	g_autoptr(GError) error = NULL;
	tar_apply(&t, root, NULL, &error);
	umask(old);
	g_assert_no_error(error);
	static const struct {
		const char *name;
		mode_t mode;
	} want[] = {
	        {"etc", S_IFDIR | 0700},
	        {"etc/subdir", S_IFDIR | 0755},
	        {"etc/subdir2", S_IFDIR | 0777},
	        {"other", S_IFDIR | 0755},
	        {"other/noparent-1", S_IFDIR | 0755},
	        {"other/noparent-1/1", S_IFDIR | 01777},
	        {"file", S_IFREG | 0666},
	        {"setuid", S_IFREG | 06755},
	        {"fifo", S_IFIFO | 0622},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(want); i++) {
		struct stat st;
		g_assert_cmpint(lstat(PATH(root, want[i].name), &st), ==, 0);
		g_assert_cmphex(st.st_mode, ==, want[i].mode);
		if (!g_str_has_prefix(want[i].name, "etc") && !g_str_has_prefix(want[i].name, "other"))
			g_assert_cmpint(st.st_mtim.tv_sec, ==, TEST_TIME);
	}
	struct stat st;
	g_assert_cmpint(lstat(PATH(root, "other/noparent-1/1"), &st), ==, 0);
	g_assert_cmpint(st.st_mtim.tv_sec, ==, TEST_TIME);
	g_assert_cmpint(lstat(PATH(root, "etc/subdir"), &st), ==, 0);
	g_assert_cmpint(st.st_mtim.tv_sec, ==, TEST_TIME);
}

static void test_times(void)
{
	autoscratch root = scratch_new();
	g_auto(Tar) t = tar_begin();
	TarHeader h = {.type = TAR_TYPE_REG, .name = "ns", .mode = 0644};
	h.mtime = (TarTime){1234567890, 123456789, true};
	h.atime = (TarTime){1234567899, 5, true};
	tar_add(&t, h, "");
	h.name = "older-atime";
	h.atime = (TarTime){5, 0, true};
	tar_add(&t, h, "");
	h.name = "before-epoch";
	h.atime.set = false;
	h.mtime = (TarTime){-1, 500000000, true};
	tar_add(&t, h, "");
	h.name = "far";
	h.mtime = (TarTime){INT64_MAX, 0, true};
	tar_add(&t, h, "");
	h = (TarHeader){.type = TAR_TYPE_DIR, .name = "dir/", .mode = 0755};
	tar_add(&t, h, NULL);
	tar_file(&t, "dir/later", "changes the directory", 0644);
	tar_symlink(&t, "ns", "link");
	g_autoptr(GError) error = NULL;
	tar_apply(&t, root, NULL, &error);
	g_assert_no_error(error);
	struct stat st;
	g_assert_cmpint(lstat(PATH(root, "ns"), &st), ==, 0);
	g_assert_cmpint(st.st_mtim.tv_sec, ==, 1234567890);
	g_assert_cmpint(st.st_mtim.tv_nsec, ==, 123456789);
	g_assert_cmpint(st.st_atim.tv_sec, ==, 1234567899);
	g_assert_cmpint(lstat(PATH(root, "older-atime"), &st), ==, 0);
	g_assert_cmpint(st.st_atim.tv_sec, ==, 1234567890);
	g_assert_cmpint(lstat(PATH(root, "before-epoch"), &st), ==, 0);
	g_assert_cmpint(st.st_mtim.tv_sec, ==, 0);
	g_assert_cmpint(lstat(PATH(root, "far"), &st), ==, 0);
	g_assert_cmpint(st.st_mtim.tv_sec, ==, 0);
	g_assert_cmpint(lstat(PATH(root, "dir"), &st), ==, 0);
	g_assert_cmpint(st.st_mtim.tv_sec, ==, TEST_TIME);
	g_assert_cmpint(lstat(PATH(root, "link"), &st), ==, 0);
	g_assert_cmpint(st.st_mtim.tv_sec, ==, TEST_TIME);
}

static void test_replace(void)
{
	autoscratch root = scratch_new();
	put_dir(root, "dir", 0700);
	put_file(root, "dir/kept", "kept", 0600);
	put_dir(root, "becomes-file", 0755);
	put_file(root, "becomes-file/x", "x", 0644);
	put_file(root, "becomes-dir", "x", 0644);
	put_file(root, "file", "old", 0600);
	put_link(root, "file", "other-name");
	put_symlink(root, "dir", "link");
	g_auto(Tar) t = tar_begin();
	tar_dir(&t, "dir", 0711);
	tar_file(&t, "becomes-file", "now a file", 0644);
	tar_dir(&t, "becomes-dir", 0755);
	tar_file(&t, "becomes-dir/in", "in", 0644);
	tar_file(&t, "file", "new", 0644);
	tar_file(&t, "file", "twice", 0644);
	tar_file(&t, "link", "no link any more", 0644);
	g_autoptr(GError) error = NULL;
	tar_apply(&t, root, NULL, &error);
	g_assert_no_error(error);
	assert_file(root, "dir/kept", "kept");
	assert_file(root, "becomes-file", "now a file");
	assert_file(root, "becomes-dir/in", "in");
	assert_file(root, "file", "twice");
	assert_file(root, "other-name", "old"); // an old hard link is not written through
	assert_file(root, "link", "no link any more");
	struct stat st;
	g_assert_cmpint(stat(PATH(root, "dir"), &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0711);
}

static void test_owner(void)
{
	if (geteuid() != 0) {
		g_test_skip("needs root");
		return;
	}
	autoscratch root = scratch_new();
	g_auto(Tar) t = tar_begin();
	static const char types[] = {TAR_TYPE_REG, TAR_TYPE_DIR, TAR_TYPE_SYMLINK, TAR_TYPE_FIFO,
	                             TAR_TYPE_CHAR};
	for (size_t i = 0; i < sizeof types; i++) {
		char name[] = {types[i], '\0'};
		tar_add(&t,
		        (TarHeader){.type = types[i],
		                    .name = name,
		                    .linkname = types[i] == TAR_TYPE_SYMLINK ? "t" : "",
		                    .mode = 06755,
		                    .uid = 1234,
		                    .gid = 4000000000,
		                    .devmajor = 1,
		                    .devminor = 3},
		        NULL);
	}
	tar_add(&t,
	        (TarHeader){.type = TAR_TYPE_LINK, .name = "hard", .linkname = "0", .mode = 06755, .uid = 77},
	        NULL);
	g_autoptr(GError) error = NULL;
	tar_apply(&t, root, NULL, &error);
	g_assert_no_error(error);
	for (size_t i = 0; i < sizeof types; i++) {
		char name[] = {types[i], '\0'};
		struct stat st;
		g_assert_cmpint(lstat(PATH(root, name), &st), ==, 0);
		g_assert_cmpuint(st.st_uid, ==, types[i] == TAR_TYPE_REG ? 77 : 1234);
		g_assert_cmpuint(st.st_gid, ==, types[i] == TAR_TYPE_REG ? 0 : 4000000000u);
		if (!S_ISLNK(st.st_mode))
			g_assert_cmpint(st.st_mode & 07777, ==,
			                06755); // chown cleared the bits, chmod set them
		if (types[i] == TAR_TYPE_CHAR)
			g_assert_cmpuint(st.st_rdev, ==, makedev(1, 3));
	}

	autoscratch same = scratch_new();
	g_auto(Tar) t2 = tar_begin();
	tar_add(&t2, (TarHeader){.type = TAR_TYPE_REG, .name = "f", .mode = 0644, .uid = 1234}, "x");
	LayerApplyOptions o = {.no_same_owner = true};
	tar_apply(&t2, same, &o, &error);
	g_assert_no_error(error);
	struct stat st;
	g_assert_cmpint(lstat(PATH(same, "f"), &st), ==, 0);
	g_assert_cmpuint(st.st_uid, ==, 0);
}

static void test_bad_owner(void)
{
	autoscratch root = scratch_new();
	static const int64_t ids[] = {INT64_C(4294967296), -2, INT64_MAX};
	for (size_t i = 0; i < G_N_ELEMENTS(ids); i++) {
		g_auto(Tar) t = tar_begin();
		tar_add(&t, (TarHeader){.type = TAR_TYPE_REG, .name = "f", .mode = 0644, .uid = ids[i]}, "x");
		g_autoptr(GError) error = NULL;
		g_assert_false(tar_apply(&t, root, NULL, &error));
		g_autofree char *want = g_strdup_printf("failed to Lchown \"%s/f\" for UID %" G_GINT64_FORMAT
		                                        ", GID 0: lchown %s/f: invalid argument",
		                                        root, ids[i], root);
		assert_error_text(error, want);
	}
}

static void add_xattr(Tar *t, char type, const char *name, const char *key, const char *value, size_t len)
{
	TarRecord r = {key, value, len};
	tar_add(t,
	        (TarHeader){.type = type,
	                    .name = name,
	                    .linkname = type == TAR_TYPE_SYMLINK ? "t" : "",
	                    .mode = 0644,
	                    .records = &r,
	                    .n_records = 1},
	        type == TAR_TYPE_REG ? "content" : NULL);
}

static void test_xattrs(void)
{
	if (geteuid() != 0) {
		g_test_skip("needs root");
		return;
	}
	autoscratch root = scratch_new();
	g_auto(Tar) t = tar_begin();
	static const char capability[] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	add_xattr(&t, TAR_TYPE_REG, "f", "SCHILY.xattr.user.k", "v\0w", 3);
	add_xattr(&t, TAR_TYPE_DIR, "d/", "SCHILY.xattr.user.k", "dir", 3);
	add_xattr(&t, TAR_TYPE_REG, "cap", "SCHILY.xattr.security.capability", capability, sizeof capability);
	add_xattr(&t, TAR_TYPE_REG, "trusted", "SCHILY.xattr.trusted.overlay.opaque", "y", 1);
	add_xattr(&t, TAR_TYPE_SYMLINK, "link", "SCHILY.xattr.user.k", "v", 1);
	add_xattr(&t, TAR_TYPE_REG, "unknown", "SCHILY.xattr.nowhere.k", "v", 1);
	tar_end(&t);
	g_autoptr(GError) error = NULL;
	BytesSource s = {t.bytes->data, t.bytes->len, 0};
	LayerApplyResult r;
	layer_apply_source(root, NULL, from_bytes, &s, &r, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(r.warnings, ==, 3);
	char value[64];
	g_assert_cmpint(lgetxattr(PATH(root, "f"), "user.k", value, sizeof value), ==, 3);
	g_assert_cmpmem(value, 3, "v\0w", 3);
	g_assert_cmpint(lgetxattr(PATH(root, "d"), "user.k", value, sizeof value), ==, 3);
	g_assert_cmpint(lgetxattr(PATH(root, "cap"), "security.capability", value, sizeof value), ==,
	                sizeof capability);
	g_assert_cmpint(lgetxattr(PATH(root, "trusted"), "trusted.overlay.opaque", value, sizeof value), ==,
	                -1);

	autoscratch root2 = scratch_new();
	g_auto(Tar) t2 = tar_begin();
	g_autofree char *huge = g_strnfill(70000, 'x');
	add_xattr(&t2, TAR_TYPE_REG, "f", "SCHILY.xattr.user.k", huge, 70000);
	g_assert_false(tar_apply(&t2, root2, NULL, &error));
	g_autofree char *want = g_strdup_printf(
	        "failed to setxattr \"%s/f\" for key \"user.k\": argument list too long", root2);
	assert_error_text(error, want);
}

static bool filter_bin(void *data, const TarHeader *header, const char *name, GError **error)
{
	if (strcmp(name, "bin/stop") == 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "cannot replace %s", name);
	return g_str_has_prefix(name, "bin/");
}

static void test_filter_and_limits(void)
{
	autoscratch root = scratch_new();
	g_autoptr(GError) error = NULL;
	LayerApplyOptions o = {.filter = filter_bin};
	{
		g_auto(Tar) t = tar_begin();
		tar_file(&t, "./bin//a", "a", 0755);
		tar_file(&t, "lib/b", "b", 0755);
		tar_apply(&t, root, &o, &error);
		g_assert_no_error(error);
		assert_file(root, "bin/a", "a");
		g_assert_false(exists(root, "lib"));
	}
	{
		g_auto(Tar) t = tar_begin();
		tar_file(&t, "bin/stop", "a", 0755);
		g_assert_false(tar_apply(&t, root, &o, &error));
		assert_error_text(error, "cannot replace bin/stop");
		g_clear_error(&error);
	}
	o = (LayerApplyOptions){.max_size = 5};
	{
		g_auto(Tar) t = tar_begin();
		tar_file(&t, "x", "12345", 0644);
		tar_file(&t, "y", "6", 0644);
		g_assert_false(tar_apply(&t, root, &o, &error));
		assert_error_text(error, "content of the layer is over the limit of 5 bytes");
		g_assert_true(error_is(error, CTRD_ERR_RESOURCE_EXHAUSTED));
		g_clear_error(&error);
	}
	o = (LayerApplyOptions){.max_entries = 1};
	{
		g_auto(Tar) t = tar_begin();
		tar_file(&t, "x", "", 0644);
		tar_file(&t, "y", "", 0644);
		g_assert_false(tar_apply(&t, root, &o, &error));
		assert_error_text(error, "layer has more entries than the limit of 1");
		g_clear_error(&error);
	}
	g_autoptr(Cancel) cancel = cancel_new(NULL);
	cancel_trigger(cancel, false);
	o = (LayerApplyOptions){.cancel = cancel};
	g_auto(Tar) t = tar_begin();
	tar_file(&t, "x", "", 0644);
	g_assert_false(tar_apply(&t, root, &o, &error));
	assert_error_text(error, "context canceled");
}

/* ---- Hostile names ---- */

static void test_hostile_errors(void)
{
	autoscratch root = scratch_new();
	g_autoptr(GError) error = NULL;
	{ // a file as parent
		g_auto(Tar) t = tar_begin();
		tar_file(&t, "file", "x", 0644);
		tar_file(&t, "file/below", "x", 0644);
		g_assert_false(tar_apply(&t, root, NULL, &error));
		g_autofree char *want = g_strdup_printf("mkparent %s/file: not a directory", root);
		assert_error_text(error, want);
		g_clear_error(&error);
	}
	{ // a circle of links
		g_auto(Tar) t = tar_begin();
		tar_symlink(&t, "b", "a");
		tar_symlink(&t, "a", "b");
		tar_file(&t, "a/x", "x", 0644);
		g_assert_false(tar_apply(&t, root, NULL, &error));
		assert_error_text(error, "failed to get root path: too many links");
		g_clear_error(&error);
	}
	{ // a circle that needs something made on the way
		g_auto(Tar) t = tar_begin();
		tar_symlink(&t, "missing/../c/y", "c");
		tar_file(&t, "c/x", "x", 0644);
		g_assert_false(tar_apply(&t, root, NULL, &error));
		assert_error_text(error, "failed to get root path: too many links");
		g_clear_error(&error);
	}
	{ // links to what is not there, to directories, to itself, out of the root
		static const char *const targets[] = {"missing", "missing/x", "etc/hostname-not", "self"};
		for (size_t i = 0; i < G_N_ELEMENTS(targets); i++) {
			g_auto(Tar) t = tar_begin();
			g_autofree char *up = g_strdup_printf("../../../%s", targets[i]);
			tar_link(&t, i == 2 ? up : targets[i], "self");
			g_assert_false(tar_apply(&t, root, NULL, &error));
			g_autofree char *want = g_strdup_printf(
			        "link %s/%s %s/self: no such file or directory", root, targets[i], root);
			assert_error_text(error, want);
			g_clear_error(&error);
		}
		static const char *const dirs[] = {"", ".", "..", "d", "d/", "d/.", "d/..", "/"};
		static const char *const shown[] = {"", "", "", "/d", "/d", "/d", "", ""};
		put_dir(root, "d", 0755);
		for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++) {
			g_auto(Tar) t = tar_begin();
			tar_link(&t, dirs[i], "self");
			g_assert_false(tar_apply(&t, root, NULL, &error));
			g_autofree char *want = g_strdup_printf("link %s%s %s/self: operation not permitted",
			                                        root, shown[i], root);
			assert_error_text(error, want);
			g_clear_error(&error);
		}
	}
	{ // a component that no file system takes
		g_auto(Tar) t = tar_begin();
		g_autofree char *name = g_strnfill(300, 'n');
		tar_file(&t, name, "x", 0644);
		g_assert_false(tar_apply(&t, root, NULL, &error));
		g_autofree char *want = g_strdup_printf("open %s/%s: file name too long", root, name);
		assert_error_text(error, want);
		g_clear_error(&error);
	}
	{ // a path that is too long
		g_auto(Tar) t = tar_begin();
		GString *name = g_string_new(NULL);
		while (name->len < 5000)
			g_string_append(name, "0123456789/");
		g_string_append(name, "x");
		tar_file(&t, name->str, "x", 0644);
		g_string_free(name, TRUE);
		g_assert_false(tar_apply(&t, root, NULL, &error));
		g_assert_true(g_str_has_suffix(error->message, "...: file name too long"));
		g_clear_error(&error);
	}
	{ // a type that nobody knows
		g_auto(Tar) t = tar_begin();
		tar_add(&t, (TarHeader){.type = '7', .name = "contiguous", .mode = 0644}, NULL);
		g_assert_false(tar_apply(&t, root, NULL, &error));
		assert_error_text(error, "unhandled tar header type 55");
	}
}

/* Deep trees through links: real paths grow longer than a path may be, although no name does. */
static void test_deep(void)
{
	g_autoptr(GString) down = g_string_new(NULL);
	for (int i = 0; i < 100; i++)
		g_string_append(down, "/d");
	for (int n = 10; n <= 40; n += 30) {
		autoscratch root = scratch_new();
		g_auto(Tar) t = tar_begin();
		for (int i = 0; i < n; i++) {
			g_autofree char *name = g_strdup_printf("l%d%s/f", i, down->str);
			tar_file(&t, name, "x", 0644);
			g_autofree char *target = g_strdup_printf("l%d%s", i, down->str);
			g_autofree char *link = g_strdup_printf("l%d", i + 1);
			tar_symlink(&t, target, link);
		}
		g_autoptr(GError) error = NULL;
		tar_apply(&t, root, NULL, &error);
		if (n == 10)
			g_assert_no_error(error);
		else
			g_assert_true(error != NULL &&
			              g_str_has_suffix(error->message, ": file name too long"));
	}
}

/* ---- Whiteouts ---- */

static void test_opaque_remove(void)
{
	for (int marker_last = 0; marker_last < 2; marker_last++) {
		autoscratch root = scratch_new();
		put_dir(root, "d", 0755);
		put_file(root, "d/old", "old", 0644);
		put_dir(root, "d/sub", 0755);
		put_file(root, "d/sub/old", "old", 0644);
		put_dir(root, "d/gone", 0755);
		put_file(root, "beside", "beside", 0644);
		put_dir(root, "d/implicit", 0755);
		g_auto(Tar) t = tar_begin();
		if (!marker_last)
			tar_file(&t, "d/.wh..wh..opq", "", 0644);
		tar_file(&t, "d/new", "new", 0644);
		tar_dir(&t, "d/sub/", 0755);
		tar_file(&t, "d/sub/new", "new", 0644);
		tar_file(&t, "d/made/x", "made", 0644);
		if (marker_last)
			tar_file(&t, "d/.wh..wh..opq", "", 0644);
		tar_file(&t, "d/after", "after", 0644);
		g_autoptr(GError) error = NULL;
		tar_apply(&t, root, NULL, &error);
		g_assert_no_error(error);
		g_autoptr(GPtrArray) names = dir_list(PATH(root, "d"), 0, NULL);
		g_assert_cmpuint(names->len, ==, 4);
		assert_file(root, "d/new", "new");
		assert_file(root, "d/after", "after");
		assert_file(root, "d/made/x", "made");
		assert_file(root, "d/sub/new", "new");
		g_assert_false(exists(root, "d/sub/old"));
		assert_file(root, "beside", "beside");
	}
}

static void test_opaque_of_nothing(void)
{
	autoscratch root = scratch_new();
	g_auto(Tar) t = tar_begin();
	tar_file(&t, "missing/.wh..wh..opq", "", 0644);
	tar_file(&t, "missing/x", "x", 0644);
	tar_file(&t, "missing/.wh..wh.plnk", "aufs", 0644);
	tar_dir(&t, "removed-again", 0755);
	tar_file(&t, ".wh.removed-again", "", 0644);
	g_autoptr(GError) error = NULL;
	tar_apply(&t, root, NULL, &error);
	g_assert_no_error(error);
	assert_file(root, "missing/x", "x");
	g_assert_false(exists(root, "missing/.wh..wh.plnk"));
	g_assert_false(exists(root, "removed-again"));
}

static bool can_mknod(const char *root)
{
	return geteuid() == 0 && !running_in_userns() && mknod(PATH(root, "probe"), S_IFCHR, 0) == 0 &&
	       setxattr(root, "trusted.test", "y", 1, 0) == 0;
}

static void assert_overlay_whiteout(const char *root, const char *name)
{
	struct stat st;
	g_assert_cmpint(lstat(PATH(root, name), &st), ==, 0);
	g_assert_true(S_ISCHR(st.st_mode));
	g_assert_cmpuint(st.st_rdev, ==, 0);
}

static void test_overlay_convert(void)
{
	autoscratch probe = scratch_new();
	if (!can_mknod(probe)) {
		g_test_skip("needs device nodes and trusted xattrs");
		return;
	}
	autoscratch root = scratch_new();
	g_auto(Tar) t = tar_begin();
	tar_dir(&t, "d", 0755);
	tar_file(&t, "d/.wh.gone", "", 0644);
	tar_file(&t, "d/.wh.gone", "", 0644);
	tar_file(&t, "o/.wh..wh..opq", "", 0644);
	tar_file(&t, "d/.wh..wh.plnk", "", 0644);
	tar_file(&t, ".wh.back", "", 0644);
	tar_file(&t, "back", "again", 0644);
	tar_file(&t, ".wh.backdir", "", 0644);
	tar_dir(&t, "backdir", 0755);
	LayerApplyOptions o = {.whiteout = LAYER_WHITEOUT_OVERLAY};
	g_autoptr(GError) error = NULL;
	tar_apply(&t, root, &o, &error);
	g_assert_no_error(error);
	assert_overlay_whiteout(root, "d/gone");
	assert_file(root, "back", "again");
	char value[8];
	g_assert_cmpint(lgetxattr(PATH(root, "o"), "trusted.overlay.opaque", value, sizeof value), ==, 1);
	g_assert_cmpint(lgetxattr(PATH(root, "backdir"), "trusted.overlay.opaque", value, sizeof value), ==,
	                1);
	g_assert_cmpint(lgetxattr(PATH(root, "d"), "trusted.overlay.opaque", value, sizeof value), ==, -1);
	g_autoptr(GPtrArray) names = dir_list(PATH(root, "d"), 0, NULL);
	g_assert_cmpuint(names->len, ==, 1);

	g_auto(Tar) t2 = tar_begin();
	tar_file(&t2, "f", "x", 0644);
	tar_file(&t2, ".wh.f", "", 0644);
	autoscratch root2 = scratch_new();
	g_assert_false(tar_apply(&t2, root2, &o, &error));
	assert_error_text(error, "failed to convert whiteout file \".wh.f\": file exists");
	g_clear_error(&error);

	g_auto(Tar) t3 = tar_begin();
	tar_file(&t3, "o/.wh..wh..opq", "", 0644);
	o.whiteout = LAYER_WHITEOUT_OVERLAY_USER;
	tar_apply(&t3, root2, &o, &error);
	g_assert_no_error(error);
	g_assert_cmpint(lgetxattr(PATH(root2, "o"), "user.overlay.opaque", value, sizeof value), ==, 1);
}

/* Parents that the layer does not describe get what the lower layers say. */
static void test_parents(void)
{
	if (geteuid() != 0) {
		g_test_skip("needs root");
		return;
	}
	autoscratch top = scratch_new();
	autoscratch bottom = scratch_new();
	autoscratch root = scratch_new();
	put_dir(bottom, "a", 0700);
	put_dir(bottom, "a/b", 02750);
	g_assert_cmpint(chown(PATH(bottom, "a/b"), 5, 6), ==, 0);
	put_dir(bottom, "a/b", 02750);
	g_assert_cmpint(setxattr(PATH(bottom, "a/b"), "user.k", "v", 1, 0), ==, 0);
	put_times(bottom, "a/b", 1000, 5);
	put_dir(bottom, "replaced", 0700);
	put_dir(top, "a", 0711);
	put_file(top, "replaced", "a file", 0644);
	const char *parents[] = {top, bottom, NULL};
	LayerApplyOptions o = {.parents = parents};
	g_auto(Tar) t = tar_begin();
	tar_file(&t, "a/b/c/f", "x", 0644);
	tar_file(&t, "replaced/f", "x", 0644);
	g_autoptr(GError) error = NULL;
	tar_apply(&t, root, &o, &error);
	g_assert_no_error(error);
	struct stat st;
	g_assert_cmpint(stat(PATH(root, "a"), &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0711);
	g_assert_cmpint(stat(PATH(root, "a/b"), &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 02750);
	g_assert_cmpint(st.st_uid, ==, 5);
	g_assert_cmpint(st.st_gid, ==, 6);
	g_assert_cmpint(st.st_mtim.tv_sec, ==, 1000);
	char value[8];
	g_assert_cmpint(lgetxattr(PATH(root, "a/b"), "user.k", value, sizeof value), ==, 1);
	g_assert_cmpint(stat(PATH(root, "a/b/c"), &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0755);
	g_assert_cmpint(stat(PATH(root, "replaced"), &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0755);
}

/* ---- Others' archives ---- */

static GBytes *fixture(const char *name)
{
	g_autofree char *path = g_strdup_printf("%s/tar-apply/%s.tar.gz", FUZZ_CORPORA, name);
	autofd fd = open(path, O_RDONLY | O_CLOEXEC);
	g_assert_cmpint(fd, >=, 0);
	g_autoptr(DecompressReader) r =
	        decompress_reader_new(COMPRESSION_GZIP, byte_source_fd, GINT_TO_POINTER(fd));
	GByteArray *bytes = g_byte_array_new();
	uint8_t buf[4096];
	ssize_t n;
	while ((n = decompress_reader_read(r, buf, sizeof buf, NULL)) > 0)
		g_byte_array_append(bytes, buf, (guint)n);
	g_assert_cmpint(n, ==, 0);
	return g_byte_array_free_to_bytes(bytes);
}

static bool apply_fixture(const char *name, const char *root, size_t piece, GError **error)
{
	g_autoptr(GBytes) bytes = fixture(name);
	BytesSource s = {g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), piece};
	return layer_apply_source(root, NULL, from_bytes, &s, NULL, error);
}

/* All formats that GNU tar writes hold the same tree. */
static void test_gnu_tar(void)
{
	static const char *const names[] = {
	        "gnu", "gnu-sparse", "pax", "pax-sparse-0.0", "pax-sparse-0.1", "pax-sparse-1.0"};
	g_autofree char *want = NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		autoscratch root = scratch_new();
		g_autoptr(GError) error = NULL;
		apply_fixture(names[i], root, i % 2 == 0 ? 0 : 777, &error);
		g_assert_no_error(error);
		struct stat st;
		g_assert_cmpint(lstat(PATH(root, "sparse"), &st), ==, 0);
		g_assert_cmpint(st.st_size, ==, 3 << 20);
		if (strstr(names[i], "sparse") != NULL)
			g_assert_cmpint(st.st_blocks, <=, 64); // the holes are holes
		g_assert_cmpint(lstat(PATH(root, "dir/setuid"), &st), ==, 0);
		g_assert_cmpint(st.st_mode, ==, S_IFREG | 04755);
		assert_same_inode(root, "file", "hard", true);
		if (strcmp(names[i], "pax") == 0) {
			char value[8];
			g_assert_cmpint(lgetxattr(PATH(root, "file"), "user.k", value, sizeof value), ==, 3);
			g_assert_cmpint(lremovexattr(PATH(root, "file"), "user.k"), ==, 0);
			g_assert_cmpint(st.st_mtim.tv_nsec, ==, 500000000);
		}
		g_autofree char *got = describe(root, false);
		if (want == NULL)
			want = g_steal_pointer(&got);
		else
			g_assert_cmpstr(got, ==, want);
	}
	static const char *const others[] = {"ustar",        "v7",     "many-gnu", "many-pax-1.0",
	                                     "many-pax-0.0", "py-gnu", "py-pax",   "py-ustar"};
	for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
		autoscratch root = scratch_new();
		g_autoptr(GError) error = NULL;
		apply_fixture(others[i], root, 0, &error);
		g_assert_no_error(error);
		if (g_str_has_prefix(others[i], "many")) {
			g_autofree char *data = NULL;
			size_t len;
			g_assert_true(file_read(PATH(root, "many"), 8 << 20, &data, &len, NULL));
			g_assert_cmpuint(len, ==, 59 * 65536 + 5);
			g_assert_cmpstr(data + 59 * 65536, ==, "00059");
			g_assert_cmpmem(data + 65536, 5, "00001", 5);
			g_assert_cmpint(data[65541], ==, 0);
		} else if (g_str_has_prefix(others[i], "py")) {
			assert_file(root, "d/f", "python\n");
			assert_same_inode(root, "d/f", "h", true);
			g_autofree char *p = g_strnfill(60, 'p'), *q = g_strnfill(60, 'q');
			g_autofree char *split = g_strdup_printf("d/%s/%s", p, q);
			assert_file(root, split, "split\n");
		} else {
			assert_file(root, "dir/umläut", "utf8\n");
		}
		struct stat st;
		if (strcmp(others[i], "py-pax") == 0 || strcmp(others[i], "py-gnu") == 0) {
			g_assert_cmpint(lstat(PATH(root, "bigid"), &st), ==, 0);
			g_assert_cmpuint(st.st_uid, ==, 3000000000u);
			g_assert_true(exists(root, "é"));
		}
	}
}

/* A cut archive: what Go takes for an end (between entries, in padding) is one, all else is an error. */
static void test_cut(void)
{
	g_auto(Tar) t = tar_begin();
	g_autofree char *name = g_strnfill(150, 'n');
	tar_dir(&t, "d/", 0755); // header at 0
	tar_file(&t, name, "content",
	         0644);               // pax header at 512, records to 1184, header at 1536, content to 2055
	tar_link(&t, name, "d/hard"); // pax header at 2560, records from 3072, header at 3584
	tar_end(&t);                  // 4096 to 5120
	g_assert_cmpuint(t.bytes->len, ==, 5120);
	static const struct {
		size_t from, to; // cuts that are fine
	} fine[] = {{0, 0},       {512, 512},   {1024 + 160, 1536}, {2055, 2560}, {3072 + 164, 3584},
	            {4096, 4096}, {4608, 4608}, {5120, 5120}};
	for (size_t cut = 0; cut <= t.bytes->len; cut += cut % 512 == 511 || cut % 512 == 0 ? 1 : 5) {
		autoscratch root = scratch_new();
		g_autoptr(GError) error = NULL;
		BytesSource s = {t.bytes->data, cut, 1 + cut % 97};
		layer_apply_source(root, NULL, from_bytes, &s, NULL, &error);
		bool want = false;
		for (size_t i = 0; i < G_N_ELEMENTS(fine); i++)
			want = want || (cut >= fine[i].from && cut <= fine[i].to);
		if (want)
			g_assert_no_error(error);
		else
			assert_error_text(error, "unexpected EOF");
	}
}

/* ---- A full disk ---- */

static void test_full_disk(void)
{
	if (geteuid() != 0) {
		g_test_skip("needs root");
		return;
	}
	autoscratch dir = scratch_new();
	if (mount("tmpfs", dir, "tmpfs", 0, "size=64k") < 0) {
		g_test_skip("cannot mount");
		return;
	}
	g_autofree char *big = g_strnfill(200000, 'x');
	g_auto(Tar) t = tar_begin();
	tar_file(&t, "big", big, 0644);
	g_autoptr(GError) error = NULL;
	bool ok = tar_apply(&t, dir, NULL, &error);
	g_assert_cmpint(umount(dir), ==, 0);
	g_assert_false(ok);
	g_autofree char *want = g_strdup_printf("write %s/big: no space left on device", dir);
	assert_error_text(error, want);
	g_assert_true(error_is(error, CTRD_ERR_UNKNOWN));
}

static void test_overlay_paths(void)
{
	const char *good[] = {"upperdir=/test/upper", "lowerdir=/test/lower1:/test/lower2",
	                      "workdir=/test/work", NULL};
	const char *bad[] = {"lowerdir=/test/lower", NULL};
	g_autofree char *upper = NULL;
	g_auto(GStrv) lowers = NULL;
	g_assert_true(layer_overlay_paths(good, &upper, &lowers));
	g_assert_cmpstr(upper, ==, "/test/upper");
	g_assert_cmpuint(g_strv_length(lowers), ==, 2);
	g_assert_cmpstr(lowers[0], ==, "/test/lower1");
	g_assert_cmpstr(lowers[1], ==, "/test/lower2");
	g_assert_false(layer_overlay_paths(bad, &upper, &lowers));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	autofd null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	log_set_fd(null);
	for (size_t i = 0; i < G_N_ELEMENTS(breakouts); i++) {
		g_autofree char *path = g_strdup_printf("/diff/apply/breakout/%s", breakouts[i].name);
		g_test_add_data_func(path, &breakouts[i], test_breakout);
	}
	g_test_add_func("/diff/apply/no-chmod-outside", test_no_chmod_outside);
	g_test_add_func("/diff/apply/race", test_race);
	g_test_add_func("/diff/apply/creation", test_creation);
	g_test_add_func("/diff/apply/times", test_times);
	g_test_add_func("/diff/apply/replace", test_replace);
	g_test_add_func("/diff/apply/owner", test_owner);
	g_test_add_func("/diff/apply/bad-owner", test_bad_owner);
	g_test_add_func("/diff/apply/xattrs", test_xattrs);
	g_test_add_func("/diff/apply/filter-and-limits", test_filter_and_limits);
	g_test_add_func("/diff/apply/hostile-errors", test_hostile_errors);
	g_test_add_func("/diff/apply/deep", test_deep);
	g_test_add_func("/diff/apply/opaque-remove", test_opaque_remove);
	g_test_add_func("/diff/apply/opaque-of-nothing", test_opaque_of_nothing);
	g_test_add_func("/diff/apply/overlay-convert", test_overlay_convert);
	g_test_add_func("/diff/apply/parents", test_parents);
	g_test_add_func("/diff/apply/gnu-tar", test_gnu_tar);
	g_test_add_func("/diff/apply/cut", test_cut);
	g_test_add_func("/diff/apply/full-disk", test_full_disk);
	g_test_add_func("/diff/apply/overlay-paths", test_overlay_paths);
	return g_test_run();
}
