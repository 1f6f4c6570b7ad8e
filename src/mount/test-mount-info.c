// SPDX-License-Identifier: Apache-2.0

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "mount/mount.h"
#include "mount/test-private-ns.h"
#include <string.h>

static GPtrArray *parse(const char *text, const char *prefix, GError **error)
{
	return mount_info_parse(text, strlen(text), prefix, error);
}

static void test_fields(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) all = parse("36 35 98:12 /r\\040oot /mnt2\\134x rw,noatime master:1 shared:- - "
	                                 "ext3 /dev/root rw,errors=continue\n"
	                                 "1 0 0:1 / / rw - tmpfs  rw\n"
	                                 "88 35 0:44 / /m rw - cifs //srv rw,unc=My Docs\n"
	                                 "2 1 0:2 / /last rw - proc proc rw",
	                                 NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(all->len, ==, 4);
	const MountInfo *m = all->pdata[0];
	g_assert_cmpint(m->id, ==, 36);
	g_assert_cmpint(m->parent, ==, 35);
	g_assert_cmpint(m->major, ==, 98);
	g_assert_cmpint(m->minor, ==, 12);
	g_assert_cmpstr(m->root, ==, "/r oot");
	g_assert_cmpstr(m->mountpoint, ==, "/mnt2\\x");
	g_assert_cmpstr(m->options, ==, "rw,noatime");
	g_assert_cmpstr(m->fstype, ==, "ext3");
	g_assert_cmpstr(m->source, ==, "/dev/root");
	g_assert_cmpstr(m->super_options, ==, "rw,errors=continue");
	m = all->pdata[1]; // an empty source, as "mount -t tmpfs '' /x" makes it
	g_assert_cmpstr(m->source, ==, "");
	m = all->pdata[3];
	g_assert_cmpstr(m->mountpoint, ==, "/last");
}

static void test_prefix(void)
{
	const char *text = "1 0 0:1 / / rw - a a rw\n2 1 0:1 / /a rw - a a rw\n3 1 0:1 / /a/b rw - a a rw\n"
	                   "4 1 0:1 / /ab rw - a a rw\n5 1 0:1 / /a rw - a a rw\n";
	static const struct {
		const char *prefix, *want;
	} cases[] = {{NULL, "12345"}, {"/", "12345"}, {"/a", "235"}, {"/a/b", "3"}, {"/c", ""}};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GPtrArray) list = parse(text, cases[i].prefix, NULL);
		g_autoptr(GString) ids = g_string_new(NULL);
		for (guint j = 0; j < list->len; j++)
			g_string_append_printf(ids, "%d", ((MountInfo *)list->pdata[j])->id);
		g_assert_cmpstr(ids->str, ==, cases[i].want);
	}
}

static void test_refused(void)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	        {"36 35 98:0 / / rw - ext3",
	         "parsing '36 35 98:0 / / rw - ext3' failed: not enough fields (8)"},
	        {"", NULL},
	        {"\n", "parsing '' failed: not enough fields (1)"},
	        {"36 35 98:0 / / rw a b c d",
	         "parsing '36 35 98:0 / / rw a b c d' failed: missing - separator"},
	        {"36 35 98:0 / / rw a b - d",
	         "parsing '36 35 98:0 / / rw a b - d' failed: missing - separator"},
	        {"x 35 98:0 / / rw - a b c", "parsing 'x 35 98:0 / / rw - a b c' failed: bad number"},
	        {"1 35 98 / / rw - a b c", "parsing '1 35 98 / / rw - a b c' failed: bad number"},
	        {"1 35 9:8:7 / / rw - a b c", "parsing '1 35 9:8:7 / / rw - a b c' failed: bad number"},
	        {"1 99999999999 9:8 / / rw - a b c",
	         "parsing '1 99999999999 9:8 / / rw - a b c' failed: bad number"},
	        {"1 2 9:8 / /\\04 rw - a b c",
	         "parsing '1 2 9:8 / /\\04 rw - a b c' failed: bad escape sequence \"\\\\04\""},
	        {"1 2 9:8 /\\080 / rw - a b c",
	         "parsing '1 2 9:8 /\\080 / rw - a b c' failed: bad escape sequence \"\\\\080\""},
	        {"1 2 9:8 /\\777 / rw - a b c",
	         "parsing '1 2 9:8 /\\777 / rw - a b c' failed: bad escape sequence \"\\\\777\""},
	        {"1 2 9:8 /\\000 / rw - a b c",
	         "parsing '1 2 9:8 /\\000 / rw - a b c' failed: bad escape sequence \"\\\\000\""},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GPtrArray) list = parse(cases[i].text, NULL, &error);
		g_assert_cmpstr(error != NULL ? error->message : NULL, ==, cases[i].error);
		g_assert_true((list == NULL) == (cases[i].error != NULL));
	}
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) list = mount_info_parse("1 2\0 9", 6, NULL, &error);
	g_assert_null(list);
	g_assert_cmpstr(error->message, ==, "parsing mountinfo failed: NUL byte");
}

static void test_here(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = g_dir_make_tmp("test-mount-info-XXXXXX", NULL);
	g_autofree char *mnt = path_join(dir, "with space\\and\nnewline");
	g_autofree char *sub = path_join(mnt, "sub");
	g_autofree char *link = path_join(dir, "link");
	bool mounted = true;
	g_assert_true(dir_make_all(mnt, 0755, NULL));
	g_assert_cmpint(symlink(sub, link), ==, 0);

	g_assert_true(mount_is_mounted(mnt, &mounted, &error));
	g_assert_false(mounted);
	g_assert_cmpint(mount("first", mnt, "tmpfs", 0, NULL), ==, 0);
	g_assert_cmpint(mount("second", mnt, "tmpfs", 0, NULL), ==, 0);
	g_assert_true(dir_make_all(sub, 0755, NULL));
	g_assert_true(mount_is_mounted(mnt, &mounted, &error));
	g_assert_true(mounted);
	g_assert_true(mount_is_mounted(sub, &mounted, &error));
	g_assert_false(mounted);

	g_autoptr(GPtrArray) list = mount_info_list(mnt, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(list->len, ==, 2);
	g_assert_cmpstr(((MountInfo *)list->pdata[0])->source, ==, "first");
	g_assert_cmpstr(((MountInfo *)list->pdata[1])->mountpoint, ==, mnt);

	g_autoptr(MountInfo) info = mount_lookup(link, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(info->source, ==, "second"); // what is on top
	g_assert_cmpstr(info->mountpoint, ==, mnt);
	g_assert_cmpstr(info->fstype, ==, "tmpfs");

	g_assert_true(mount_unmount_all(mnt, 0, &error));
	g_assert_true(mount_is_mounted(mnt, &mounted, &error));
	g_assert_false(mounted);
	g_assert_true(mount_is_mounted(sub, &mounted, &error));
	g_assert_false(mounted);
	g_autoptr(MountInfo) gone = mount_lookup(sub, &error);
	g_assert_null(gone);
	g_assert_true(g_str_has_suffix(error->message, "/sub: no such file or directory"));
	g_assert_true(tree_remove(dir, NULL));
}

int main(int argc, char **argv)
{
	test_private_ns();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mount/info/fields", test_fields);
	g_test_add_func("/mount/info/prefix", test_prefix);
	g_test_add_func("/mount/info/refused", test_refused);
	g_test_add_func("/mount/info/here", test_here);
	return g_test_run();
}
