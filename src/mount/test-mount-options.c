// SPDX-License-Identifier: Apache-2.0

#include "base/error.h"
#include "base/util.h"
#include "mount/mount-private.h"
#include <string.h>
#include <sys/mount.h>

#define STRV(...) ((const char *const[]){__VA_ARGS__, NULL})

static char *joined(char **v)
{
	return v == NULL ? NULL : g_strjoinv("|", v);
}

static void assert_strv(char **got, const char *want)
{
	g_autofree char *text = joined(got);
	g_assert_cmpstr(text, ==, want);
}

static void test_flags(void)
{
	static const struct {
		const char *options;
		unsigned long flags, cleared, propagation;
		const char *data;
	} cases[] = {
	        {"", 0, 0, 0, ""},
	        {"ro", MS_RDONLY, 0, 0, ""},
	        {"ro|rw", 0, MS_RDONLY, 0, ""},
	        {"rw|ro", MS_RDONLY, 0, 0, ""},
	        {"rbind|ro", MS_BIND | MS_REC | MS_RDONLY, 0, 0, ""},
	        {"bind|rprivate", MS_BIND, 0, MS_PRIVATE | MS_REC, ""},
	        {"nosuid|nodev|noexec|noatime|nodiratime",
	         MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME, 0, 0, ""},
	        {"suid|dev|exec|atime|diratime", 0,
	         MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME, 0, ""},
	        {"relatime|strictatime|sync|dirsync|mand|remount",
	         MS_RELATIME | MS_STRICTATIME | MS_SYNCHRONOUS | MS_DIRSYNC | MS_MANDLOCK | MS_REMOUNT, 0, 0,
	         ""},
	        {"sync|async", 0, MS_SYNCHRONOUS, 0, ""},
	        {"defaults|size=1m|rshared", 0, 0, MS_SHARED | MS_REC, "size=1m"},
	        {"lowerdir=/a:/b|index=off", 0, 0, 0, "lowerdir=/a:/b|index=off"},
	        {"loop|direct-io", 0, 0, 0, "direct-io"},
	        {"RO", 0, 0, 0, "RO"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_auto(MountOptions) o = {0};
		g_auto(GStrv) options = g_strsplit(cases[i].options, "|", -1);
		g_assert_true(mount_options_parse((const char *const *)options, &o, &error));
		g_assert_cmpuint(o.flags, ==, cases[i].flags);
		g_assert_cmpuint(o.cleared, ==, cases[i].cleared);
		g_assert_cmpuint(o.propagation, ==, cases[i].propagation);
		g_ptr_array_add(o.data, NULL);
		g_autofree char *data = g_strjoinv("|", (char **)o.data->pdata);
		g_assert_cmpstr(data, ==, cases[i].data);
		g_assert_cmpint(o.loop, ==, strstr(cases[i].options, "loop") != NULL);
	}
}

static void test_idmap_and_internal(void)
{
	g_autoptr(GError) error = NULL;
	g_auto(MountOptions) o = {0};
	g_assert_true(mount_options_parse(STRV("uidmap=0:1:2", "gidmap=3:4:5"), &o, &error));
	g_assert_cmpstr(o.uidmap, ==, "0:1:2");
	g_assert_cmpstr(o.gidmap, ==, "3:4:5");

	g_auto(MountOptions) p = {0};
	g_assert_false(mount_options_parse(STRV("ro", "X-containerd.mkdir.path=/x"), &p, &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "internal mount option \"X-containerd.mkdir.path=/x\" was not consumed by the mount manager");
	g_assert_null(p.data);
}

static void test_common_prefix(void)
{
	static const struct {
		const char *in[4], *want;
	} cases[] = {
	        {{NULL}, ""},
	        {{"foo", NULL}, "foo"},
	        {{"foo", "bar", NULL}, ""},
	        {{"foo", "foo", NULL}, "foo"},
	        {{"foo", "foobar", NULL}, "foo"},
	        {{"foo", "", "foobar", NULL}, ""},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *got = mount_common_prefix(cases[i].in);
		g_assert_cmpstr(got, ==, cases[i].want);
	}
}

static void test_compact(void)
{
	static const struct {
		const char *options[3], *dir, *want;
	} cases[] = {
	        {{"workdir=a", NULL}, NULL, NULL},
	        {{"workdir=a", "lowerdir=b", NULL}, NULL, NULL},
	        {{"lowerdir=/snapshots/1/fs:/snapshots/10/fs", NULL}, "/snapshots/", "lowerdir=1/fs:10/fs"},
	        {{"lowerdir=/snapshots/1/fs:/snapshots/10/fs:/snapshots/2/fs", NULL},
	         "/snapshots/",
	         "lowerdir=1/fs:10/fs:2/fs"},
	        {{"lowerdir=/s/1:/s/2", "workdir=a", NULL}, "/s/", "workdir=a|lowerdir=1:2"},
	        {{"lowerdir=/snapshots/1/fs:/other_snapshots/1/fs", NULL}, NULL, NULL},
	        {{"lowerdir=a:aaa", NULL}, NULL, NULL},
	        // one of them is the common directory itself
	        {{"lowerdir=/s/a/:/s/a/b", NULL}, NULL, NULL},
	        // an escaped colon does not split
	        {{"lowerdir=/s/a\\:b:/s/c", NULL}, "/s/", "lowerdir=a\\:b:c"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *dir = NULL;
		g_auto(GStrv) got = mount_overlay_compact(cases[i].options, &dir);
		g_assert_cmpstr(dir, ==, cases[i].dir);
		assert_strv(got, cases[i].want);
	}
}

static void test_common_dir(void)
{
	static const struct {
		const char *in[4], *want, *error;
	} cases[] = {
	        {{NULL}, NULL, "no common prefix found"},
	        {{"/m/snapshots/37712/fs", "/m/snapshots/16590/fs", "/m/snapshots/16585/fs", NULL},
	         "/m/snapshots",
	         NULL},
	        {{"/completely/1", "/totally/2", NULL}, NULL, "invalid common directory: /"},
	        {{"/m/snapshots/16585/fs", NULL}, "/m/snapshots/16585", NULL},
	        {{"/m/snapshots/79/fs", "/m/snapshots/78/fs", "/m/snapshots/7/fs", NULL},
	         "/m/snapshots",
	         NULL},
	        {{"a", "ab", NULL}, NULL, "invalid common directory: ."},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *got = mount_overlay_common_dir(cases[i].in, &error);
		g_assert_cmpstr(got, ==, cases[i].want);
		g_assert_cmpstr(error != NULL ? error->message : NULL, ==, cases[i].error);
	}
}

static void test_rebase(void)
{
	static const struct {
		const char *in[3], *from, *to, *want;
	} cases[] = {
	        {{"/m/1/fs", "/m/2/fs", NULL}, "/m", "/tmp/i", "/tmp/i/1/fs|/tmp/i/2/fs"},
	        {{"/m/1/fs", NULL}, "/m/1/fs", "/tmp/i", "/tmp/i"},
	        {{"/m/1/fs/", NULL}, "/m/1/fs/", "/tmp/i", "/tmp/i"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(GStrv) got = mount_overlay_rebase(cases[i].in, cases[i].from, cases[i].to);
		assert_strv(got, cases[i].want);
	}
}

static GPtrArray *list_of(const char *type, const char *options)
{
	GPtrArray *list = mounts_new();
	g_auto(GStrv) v = g_strsplit(options, "|", -1);
	g_ptr_array_add(list, mount_new(type, type, NULL, (const char *const *)v));
	return list;
}

static void test_readonly(void)
{
	static const struct {
		const char *type, *in, *want;
	} cases[] = {
	        {"overlay", "index=off|workdir=/s/4/work|upperdir=/s/4/fs|lowerdir=/s/1/fs",
	         "index=off|lowerdir=/s/4/fs:/s/1/fs"},
	        {"overlay", "lowerdir=/s/1/fs|upperdir=/s/4/fs", "lowerdir=/s/4/fs:/s/1/fs"},
	        {"overlay", "index=on|lowerdir=/s/2/fs", "index=on|lowerdir=/s/2/fs"},
	        {"overlay", "uidmap=0:1:2|gidmap=0:1:2|lowerdir=/s/2/fs", "lowerdir=/s/2/fs"},
	        {"bind", "index=off|upperdir=/s", "index=off|upperdir=/s|ro"},
	        {"bind", "a=b|rw", "a=b|ro"},
	        {"bind", "a=b|ro|rbind", "a=b|rbind|ro"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GPtrArray) in = list_of(cases[i].type, cases[i].in);
		g_autoptr(GPtrArray) out = mounts_readonly(in);
		assert_strv(((Mount *)out->pdata[0])->options, cases[i].want);
		assert_strv(((Mount *)in->pdata[0])->options, cases[i].in); // the original is as it was
	}
}

static void test_without_idmap(void)
{
	g_autoptr(GPtrArray) in = list_of("bind", "uidmap=0:1:2|rw|gidmap=0:1:2|rbind");
	g_autoptr(GPtrArray) out = mounts_without_idmap(in);
	assert_strv(((Mount *)out->pdata[0])->options, "rw|rbind");
	assert_strv(((Mount *)in->pdata[0])->options, "uidmap=0:1:2|rw|gidmap=0:1:2|rbind");
}

static void test_bind_to_overlay(void)
{
	g_autoptr(GPtrArray) in = list_of("bind", "rw|rbind");
	g_autoptr(GPtrArray) out = mounts_bind_to_overlay(in);
	const Mount *m = out->pdata[0];
	g_assert_cmpstr(m->type, ==, "overlay");
	g_assert_cmpstr(m->source, ==, "overlay");
	assert_strv(m->options, "rw|upperdir=bind");

	g_autoptr(GPtrArray) other = list_of("overlay", "lowerdir=/a");
	g_autoptr(GPtrArray) same = mounts_bind_to_overlay(other);
	assert_strv(((Mount *)same->pdata[0])->options, "lowerdir=/a");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mount/options/flags", test_flags);
	g_test_add_func("/mount/options/idmap-and-internal", test_idmap_and_internal);
	g_test_add_func("/mount/options/common-prefix", test_common_prefix);
	g_test_add_func("/mount/options/compact", test_compact);
	g_test_add_func("/mount/options/common-dir", test_common_dir);
	g_test_add_func("/mount/options/rebase", test_rebase);
	g_test_add_func("/mount/options/readonly", test_readonly);
	g_test_add_func("/mount/options/without-idmap", test_without_idmap);
	g_test_add_func("/mount/options/bind-to-overlay", test_bind_to_overlay);
	return g_test_run();
}
