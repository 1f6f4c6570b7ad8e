// SPDX-License-Identifier: Apache-2.0
/* Comparing trees: upstream's TestDiffTar, TestDiffApply's suite, TestSourceDateEpoch, overlay directories.
 */

#include "diff/compare.h"
#include "diff/test-support.h"

typedef struct {
	const char *name;
	void (*lower)(const char *root);
	void (*change)(const char *root);
	const char *want; // "<type> <mode> <name>[ -> link][=content]\n" of every entry; NULL: not looked at
} Case;

/* Entries of an archive as text. */
static char *list(const GByteArray *bytes, bool times)
{
	BytesSource s = {bytes->data, bytes->len, 0};
	g_autoptr(TarReader) r = tar_reader_new(from_bytes, &s);
	GString *out = g_string_new(NULL);
	const TarHeader *h;
	int more;
	while ((more = tar_reader_next(r, &h, NULL)) == 1) {
		g_string_append_printf(out, "%c %" G_GINT64_MODIFIER "o %s", h->type, h->mode, h->name);
		if (*h->linkname != '\0')
			g_string_append_printf(out, " -> %s", h->linkname);
		if (times)
			g_string_append_printf(out, " @%" G_GINT64_FORMAT ".%u", h->mtime.sec, h->mtime.nsec);
		if (h->size > 0) {
			g_autofree char *data = NULL;
			size_t len;
			g_assert_true(tar_reader_read_all(r, 1 << 20, &data, &len, NULL));
			g_string_append_printf(out, "=%s", data);
		}
		g_string_append_c(out, '\n');
	}
	g_assert_cmpint(more, ==, 0);
	return g_string_free(out, FALSE);
}

static GByteArray *diff(const char *lower, const char *upper, const CompareOptions *o)
{
	g_autoptr(GError) error = NULL;
	GByteArray *bytes = g_byte_array_new();
	compare_write(lower, upper, o, to_bytes, bytes, &error);
	g_assert_no_error(error);
	return bytes;
}

static void run_case(const void *data)
{
	const Case *c = data;
	autoscratch lower = scratch_new();
	autoscratch upper = scratch_new();
	autoscratch applied = scratch_new();
	c->lower(lower);
	copy_tree(lower, upper);
	copy_tree(lower, applied);
	c->change(upper);
	g_autoptr(GByteArray) bytes = diff(lower, upper, NULL);
	g_autofree char *got = list(bytes, false);
	if (c->want != NULL)
		g_assert_cmpstr(got, ==, c->want);
	// what was compared, applied to the lower tree, gives the upper tree
	BytesSource s = {bytes->data, bytes->len, 0};
	g_autoptr(GError) error = NULL;
	layer_apply_source(applied, NULL, from_bytes, &s, NULL, &error);
	g_assert_no_error(error);
	if (!g_str_has_suffix(c->name, "sockets")) // which are left out
		assert_same_tree(applied, upper, false);
	// and again: the same bytes
	g_autoptr(GByteArray) again = diff(lower, upper, NULL);
	g_assert_cmpmem(bytes->data, bytes->len, again->data, again->len);
}

static void nothing(const char *root)
{
}

static void l_etc(const char *root)
{
	put_dir(root, "etc", 0755);
}
static void l_d1_d2(const char *root)
{
	put_dir(root, "d1", 0755);
	put_dir(root, "d2", 0770);
}
static void c_parents(const char *root)
{
	put_dir(root, "d1/d", 0700);
	put_file(root, "d2/f", "ok", 0644);
}
static void l_hard(const char *root)
{
	static const char *const dirs[] = {"d1", "d2", "d3", "d4", "d5", "d6"};
	for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++)
		put_dir(root, dirs[i], 0755);
	put_file(root, "d1/f1", "link me", 0644);
	put_file(root, "d2/f1", "link me", 0644);
	put_file(root, "d4/f1", "link me", 0644);
	put_file(root, "d5/f1", "link me", 0644);
	put_link(root, "d1/f1", "d6/l1");
	put_link(root, "d5/f1", "d6/l2");
}
static void c_hard(const char *root)
{
	put_link(root, "d1/f1", "d2/l1");
	put_link(root, "d4/f1", "d3/l1");
	drop(root, "d6/l1");
	drop(root, "d6/l2");
}
static void c_permission(const char *root)
{
	put_dir(root, "d1", 0777);
	c_parents(root);
}
static void l_hard_updated(const char *root)
{
	static const char *const dirs[] = {"d1", "d2", "d3", "d4"};
	for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++)
		put_dir(root, dirs[i], 0755);
	put_file(root, "d1/f1", "link me", 0644);
	put_file(root, "d2/f1", "link me", 0644);
	put_file(root, "d3/f1", "link me", 0644);
}
static void c_hard_updated(const char *root)
{
	put_dir(root, "d1", 0777);
	put_link(root, "d1/f1", "d2/l1");
	put_dir(root, "d4", 0777);
	put_link(root, "d3/f1", "d4/l1");
}
static void l_whiteouts(const char *root)
{
	static const char *const dirs[] = {"d1", "d2", "d3", "d4", "d5"};
	for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++) {
		g_autofree char *f = g_strdup_printf("%s/f1", dirs[i]);
		put_dir(root, dirs[i], 0755);
		put_file(root, f, "content", 0644);
	}
	put_file(root, "d2/f2", "content", 0644);
}
static void c_whiteouts(const char *root)
{
	drop(root, "d1/f1");
	drop(root, "d2/f1");
	g_assert_cmpint(chmod(PATH(root, "d2/f2"), 0777), ==, 0);
	drop(root, "d3/f1");
	put_file(root, "d3/f2", "content", 0644);
	drop(root, "d4/f1");
	put_file(root, "d4/f0", "content", 0644);
	drop(root, "d5");
}
static void l_parent_removal(const char *root)
{
	put_dir(root, "d1", 0755);
	put_dir(root, "d2", 0755);
	put_file(root, "d2/f1", "content", 0644);
}
static void c_parent_removal(const char *root)
{
	drop(root, "d1");
	drop(root, "d2");
	put_dir(root, "d3", 0755);
}
static void l_one(const char *root)
{
	put_file(root, "f1", "content", 0644);
}
static void c_sockets(const char *root)
{
	put_file(root, "f2", "content", 0644);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	g_snprintf(addr.sun_path, sizeof addr.sun_path, "%s/s0", root);
	autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof addr), ==, 0);
	put_file(root, "f3", "content", 0644);
}
/* a file becomes a directory and the other way round, links change, names sort across a slash */
static void l_kinds(const char *root)
{
	put_dir(root, "a", 0755);
	put_file(root, "a/x", "x", 0644);
	put_file(root, "a-b", "x", 0644);
	put_file(root, "b", "x", 0644);
	put_symlink(root, "a", "l1");
	put_symlink(root, "a", "l2");
	put_symlink(root, "a", "l3");
	put_times(root, "l1", 1000, 0);
	put_times(root, "l2", 1000, 0);
}
static void c_kinds(const char *root)
{
	drop(root, "a");
	put_file(root, "a", "now a file", 0644);
	drop(root, "b");
	put_dir(root, "b", 0755);
	put_file(root, "b/in", "in", 0600);
	drop(root, "l1");
	put_symlink(root, "b", "l1");
	put_times(root, "l1", 1000, 0);
	drop(root, "l3");
	put_dir(root, "l3", 0755);
	put_file(root, "a-b", "y", 0644);
	g_assert_cmpint(mkfifo(PATH(root, "fifo"), 0600), ==, 0);
}
/* times cut to seconds in both: the content decides */
static void l_times(const char *root)
{
	put_file(root, "same", "12345", 0644);
	put_file(root, "other", "12345", 0644);
	put_file(root, "touched", "12345", 0644);
	put_times(root, "same", 1000, 0);
	put_times(root, "other", 1000, 0);
}
static void c_times(const char *root)
{
	put_file(root, "same", "12345", 0644);
	put_file(root, "other", "54321", 0644);
	put_times(root, "same", 1000, 0);
	put_times(root, "other", 1000, 0);
	put_times(root, "touched", 2000, 7);
}
/* upstream's symlink suite */
static void l_links(const char *root)
{
	put_dir(root, "bin", 0755);
	put_dir(root, "sbin", 0755);
	put_file(root, "sbin/superbinary", "b", 0755);
	put_symlink(root, "/sbin/superbinary", "bin/superbinary");
	put_symlink(root, "../bin/superbinary", "bin/other1");
	put_symlink(root, "actual", "bin/myapp");
}
static void c_links(const char *root)
{
	drop(root, "bin/other1");
	put_symlink(root, "/bin/superbinary", "bin/other1");
	put_symlink(root, "superbinary", "bin/other2");
	put_symlink(root, "../../../breakout", "bin/breakout");
	drop(root, "bin/myapp");
	put_dir(root, "bin/myapp", 0755);
}
static void c_long_names(const char *root)
{
	g_autofree char *a = g_strnfill(200, 'a');
	put_dir(root, a, 0755);
	g_autofree char *b = g_strdup_printf("%s/umläut", a);
	put_file(root, b, "utf8", 0644);
	g_autofree char *c = g_strdup_printf("%s/%s", a, a);
	put_file(root, c, "long", 0644);
	put_symlink(root, c, "long-link");
	g_autofree char *d = g_strdup_printf("%s/link", a);
	put_link(root, c, d);
}

static const Case cases[] = {
        {"empty", l_etc, nothing, ""},
        {"parent-inclusion", l_d1_d2, c_parents, "5 755 d1/\n5 700 d1/d/\n5 770 d2/\n0 644 d2/f=ok\n"},
        {"hardlink-parent-inclusion", l_hard, c_hard,
         "5 755 d2/\n0 644 d2/l1=link me\n5 755 d1/\n1 644 d1/f1 -> d2/l1\n5 755 d3/\n0 644 d3/l1=link me\n"
         "5 755 d4/\n1 644 d4/f1 -> d3/l1\n5 755 d6/\n0 0 d6/.wh.l1\n0 0 d6/.wh.l2\n"},
        {"update-directory-permission", l_d1_d2, c_permission,
         "5 777 d1/\n5 700 d1/d/\n5 770 d2/\n0 644 d2/f=ok\n"},
        {"hardlink-updated-parent", l_hard_updated, c_hard_updated,
         "5 777 d1/\n5 755 d2/\n0 644 d2/l1=link me\n1 644 d1/f1 -> d2/l1\n5 777 d4/\n0 644 d4/l1=link me\n"
         "5 755 d3/\n1 644 d3/f1 -> d4/l1\n"},
        {"whiteout-includes-parents", l_whiteouts, c_whiteouts,
         "5 755 d1/\n0 0 d1/.wh.f1\n5 755 d2/\n0 0 d2/.wh.f1\n0 777 d2/f2=content\n5 755 d3/\n0 0 d3/.wh.f1\n"
         "0 644 d3/f2=content\n5 755 d4/\n0 644 d4/f0=content\n0 0 d4/.wh.f1\n0 0 .wh.d5\n"},
        {"whiteout-parent-removal", l_parent_removal, c_parent_removal,
         "0 0 .wh.d1\n0 0 .wh.d2\n5 755 d3/\n"},
        {"ignore-sockets", l_one, c_sockets, "0 644 f2=content\n0 644 f3=content\n"},
        {"kinds", l_kinds, c_kinds,
         "0 644 a=now a file\n0 644 a-b=y\n5 755 b/\n0 600 b/in=in\n6 600 fifo\n2 777 l1 -> b\n5 755 l3/\n"},
        {"times", l_times, c_times, "0 644 other=54321\n0 644 touched=12345\n"},
        {"links", l_links, c_links, NULL},
        {"long-names", l_one, c_long_names, NULL},
};

static void test_source_date_epoch(void)
{
	autoscratch lower = scratch_new();
	autoscratch upper = scratch_new();
	put_file(lower, "f1", "content", 0644);
	put_file(upper, "f2", "content2", 0644);
	put_times(upper, "f2", 1640995200, 5);
	put_file(upper, "f3", "content3", 0644);
	CompareOptions o = {.has_source_date_epoch = true,
	                    .source_date_epoch = INT64_C(1642941296) * NS_PER_SEC + 7};
	g_autoptr(GByteArray) bytes = diff(lower, upper, &o);
	g_autofree char *got = list(bytes, true);
	g_assert_cmpstr(
	        got, ==,
	        "0 0 .wh.f1 @0.0\n0 644 f2 @1640995200.0=content2\n0 644 f3 @1642941296.0=content3\n");
}

static void test_single_tree(void)
{
	autoscratch root = scratch_new();
	put_dir(root, "d", 0711);
	put_file(root, "d/f", "x", 0600);
	g_autoptr(GByteArray) bytes = diff(NULL, root, NULL);
	g_autofree char *got = list(bytes, false);
	g_assert_cmpstr(got, ==, "5 711 d/\n0 600 d/f=x\n");
	g_autoptr(GError) error = NULL;
	g_assert_false(compare_write(NULL, "/does/not/exist", NULL, to_bytes, bytes, &error));
	assert_error_text(
	        error, "failed to create diff tar stream: open /does/not/exist: no such file or directory");
}

static void test_capability(void)
{
	autoscratch lower = scratch_new();
	autoscratch upper = scratch_new();
	static const char capability[] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	put_file(lower, "f", "x", 0755);
	put_times(lower, "f", 1000, 5);
	copy_tree(lower, upper);
	if (setxattr(PATH(upper, "f"), "security.capability", capability, sizeof capability, 0) < 0) {
		g_test_skip("cannot set capabilities");
		return;
	}
	put_times(upper, "f", 1000, 5);
	g_autoptr(GByteArray) bytes = diff(lower, upper, NULL);
	BytesSource s = {bytes->data, bytes->len, 0};
	g_autoptr(TarReader) r = tar_reader_new(from_bytes, &s);
	const TarHeader *h;
	g_assert_cmpint(tar_reader_next(r, &h, NULL), ==, 1);
	const TarRecord *record = tar_header_record(h, "SCHILY.xattr.security.capability");
	g_assert_cmpmem(record->value, (int)record->len, capability, sizeof capability);
}

static void test_overlay(void)
{
	autoscratch lower = scratch_new();
	autoscratch upper = scratch_new();
	if (geteuid() != 0 || running_in_userns() || mknod(PATH(upper, "gone"), S_IFCHR, 0) < 0) {
		g_test_skip("needs device nodes");
		return;
	}
	drop(upper, "gone");
	put_file(lower, "gone", "x", 0644);
	put_dir(lower, "opaque", 0755);
	put_file(lower, "opaque/old", "x", 0644);
	put_dir(lower, "through", 0755);
	put_file(lower, "through/f", "x", 0644);
	copy_tree(lower, upper);
	drop(upper, "gone");
	drop(upper, "through/f");
	drop(upper, "opaque/old");
	g_assert_cmpint(mknod(PATH(upper, "gone"), S_IFCHR, 0), ==, 0);
	g_assert_cmpint(mknod(PATH(upper, "never-was"), S_IFCHR, 0), ==, 0);
	put_file(upper, "opaque/new", "new", 0644);
	put_file(upper, "through/g", "g", 0644);
	put_times(upper, "through", 1000, 0);
	put_times(lower, "through", 1000, 0);
	if (setxattr(PATH(upper, "opaque"), "trusted.overlay.opaque", "y", 1, 0) < 0) {
		g_test_skip("needs trusted xattrs");
		return;
	}
	g_autoptr(GError) error = NULL;
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	g_auto(CompareResult) r = {0};
	compare_layer(lower, upper, true, COMPRESSION_GZIP, NULL, to_bytes, bytes, &r, &error);
	g_assert_no_error(error);
	g_autofree char *digest = digest_bytes(bytes->data, bytes->len);
	g_assert_cmpstr(r.digest, ==, digest);
	g_assert_cmpint(r.size, ==, bytes->len);
	BytesSource s = {bytes->data, bytes->len, 0};
	g_autoptr(DecompressReader) z = decompress_reader_new(COMPRESSION_GZIP, from_bytes, &s);
	g_autoptr(GByteArray) plain = g_byte_array_new();
	uint8_t buf[4096];
	ssize_t n;
	while ((n = decompress_reader_read(z, buf, sizeof buf, NULL)) > 0)
		g_byte_array_append(plain, buf, (guint)n);
	g_autofree char *diff_id = digest_bytes(plain->data, plain->len);
	g_assert_cmpstr(r.diff_id, ==, diff_id);
	g_autofree char *got = list(plain, false);
	g_assert_cmpstr(
	        got, ==,
	        "0 0 .wh.gone\n5 755 opaque/\n0 0 opaque/.wh..wh..opq\n0 644 opaque/new=new\n5 755 through/\n"
	        "0 644 through/g=g\n");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	umask(022);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = g_strdup_printf("/diff/compare/%s", cases[i].name);
		g_test_add_data_func(path, &cases[i], run_case);
	}
	g_test_add_func("/diff/compare/source-date-epoch", test_source_date_epoch);
	g_test_add_func("/diff/compare/single-tree", test_single_tree);
	g_test_add_func("/diff/compare/capability", test_capability);
	g_test_add_func("/diff/compare/overlay", test_overlay);
	return g_test_run();
}
