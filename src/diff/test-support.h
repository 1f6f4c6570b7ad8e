// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the tests of this folder share: scratch trees, archives made in memory, and a text that describes a
 * tree. */

#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "diff/apply.h"
#include "diff/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- Scratch directories ---- */

static inline void scratch_cleanup(char **path)
{
	if (*path != NULL)
		g_assert_true(tree_remove(*path, NULL));
	g_clear_pointer(path, g_free);
}
#define autoscratch __attribute__((cleanup(scratch_cleanup))) char *

static inline char *scratch_new(void)
{
	char *path = g_strdup("/tmp/diff-test-XXXXXX");
	g_assert_nonnull(g_mkdtemp_full(path, 0755));
	return path;
}

/* ---- Changing a tree; paths are relative to root ---- */

#define PATH(root, name) path_of((char[PATH_MAX]){0}, (root), (name))
static inline const char *path_of(char buf[PATH_MAX], const char *root, const char *name)
{
	g_snprintf(buf, PATH_MAX, "%s/%s", root, name);
	return buf;
}

static inline void put_dir(const char *root, const char *name, mode_t mode)
{
	const char *path = PATH(root, name);
	g_assert_true(mkdir(path, mode) == 0 || errno == EEXIST);
	g_assert_cmpint(chmod(path, mode), ==, 0);
}

static inline void put_file(const char *root, const char *name, const char *content, mode_t mode)
{
	const char *path = PATH(root, name);
	g_assert_true(g_file_set_contents_full(path, content, -1, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
	g_assert_cmpint(chmod(path, mode), ==, 0);
}

static inline void put_symlink(const char *root, const char *target, const char *name)
{
	g_assert_cmpint(symlink(target, PATH(root, name)), ==, 0);
}

static inline void put_link(const char *root, const char *old, const char *name)
{
	g_assert_cmpint(link(PATH(root, old), PATH(root, name)), ==, 0);
}

static inline void put_times(const char *root, const char *name, int64_t sec, long nsec)
{
	struct timespec t[2] = {{sec, nsec}, {sec, nsec}};
	g_assert_cmpint(utimensat(AT_FDCWD, PATH(root, name), t, AT_SYMLINK_NOFOLLOW), ==, 0);
}

static inline void drop(const char *root, const char *name)
{
	g_assert_true(tree_remove(PATH(root, name), NULL));
}

static inline bool exists(const char *root, const char *name)
{
	struct stat st;
	return lstat(PATH(root, name), &st) == 0;
}

static inline void assert_file(const char *root, const char *name, const char *content)
{
	g_autofree char *data = NULL;
	g_autoptr(GError) error = NULL;
	file_read(PATH(root, name), 1 << 20, &data, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(data, ==, content);
}

static inline void assert_same_inode(const char *root, const char *a, const char *b, bool same)
{
	struct stat sa, sb;
	autofd rootfd = open(root, O_PATH | O_CLOEXEC);
	autofd fa = open_in_root(rootfd, a, O_PATH | O_NOFOLLOW, 0, NULL);
	autofd fb = open_in_root(rootfd, b, O_PATH | O_NOFOLLOW, 0, NULL);
	g_assert_cmpint(fstat(fa, &sa), ==, 0);
	g_assert_cmpint(fstat(fb, &sb), ==, 0);
	g_assert_cmpint(sa.st_ino == sb.st_ino, ==, same);
}

/* ---- What a tree is, as text ---- */

static inline void describe_into(GString *out, GHashTable *inodes, const char *root, const char *name,
                                 bool times)
{
	g_autoptr(GPtrArray) names = dir_list(PATH(root, name), 0, NULL);
	g_assert_nonnull(names);
	for (unsigned i = 0; i < names->len; i++) {
		g_autofree char *child = *name != '\0'
		                                 ? g_strdup_printf("%s/%s", name, (char *)names->pdata[i])
		                                 : g_strdup(names->pdata[i]);
		const char *path = PATH(root, child);
		struct stat st;
		g_assert_cmpint(lstat(path, &st), ==, 0);
		g_string_append_printf(out, "%s %o %u:%u", child, st.st_mode, st.st_uid, st.st_gid);
		if (times)
			g_string_append_printf(out, " %ld.%09ld", (long)st.st_mtim.tv_sec,
			                       st.st_mtim.tv_nsec);
		if (S_ISLNK(st.st_mode)) {
			char target[PATH_MAX] = "";
			g_assert_cmpint(readlink(path, target, sizeof target - 1), >=, 0);
			g_string_append_printf(out, " -> %s", target);
		} else if (S_ISREG(st.st_mode)) {
			autofd fd = open(path, O_RDONLY | O_CLOEXEC);
			g_autofree char *digest = digest_fd(fd, NULL);
			g_string_append_printf(out, " %ld %s", (long)st.st_size, digest);
		} else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
			g_string_append_printf(out, " %u,%u", major(st.st_rdev), minor(st.st_rdev));
		}
		if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
			const char *first = g_hash_table_lookup(inodes, GSIZE_TO_POINTER(st.st_ino));
			if (first == NULL)
				g_hash_table_insert(inodes, GSIZE_TO_POINTER(st.st_ino), g_strdup(child));
			else
				g_string_append_printf(out, " = %s", first);
		}
		char value[256];
		ssize_t n = lgetxattr(path, "user.k", value, sizeof value);
		for (ssize_t j = 0; j < n; j++)
			g_string_append_printf(out, "%s%02x", j == 0 ? " user.k=" : "",
			                       (unsigned char)value[j]);
		g_string_append_c(out, '\n');
		if (S_ISDIR(st.st_mode))
			describe_into(out, inodes, root, child, times);
	}
}

static inline char *describe(const char *root, bool times)
{
	GString *s = g_string_new(NULL);
	g_autoptr(GHashTable) inodes = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	describe_into(s, inodes, root, "", times);
	return g_string_free(s, FALSE);
}

static inline void assert_same_tree(const char *a, const char *b, bool times)
{
	g_autofree char *da = describe(a, times), *db = describe(b, times);
	g_assert_cmpstr(da, ==, db);
}

static inline void copy_tree(const char *from, const char *to)
{
	g_autofree char *source = g_strdup_printf("%s/.", from);
	const char *argv[] = {"cp", "-a", source, to, NULL};
	int status = 0;
	g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
	                           &status, NULL));
	g_assert_cmpint(status, ==, 0);
}

/* ---- Archives in memory ---- */

static inline bool to_bytes(void *data, const void *buf, size_t len, GError **error)
{
	g_byte_array_append(data, buf, (guint)len);
	return true;
}

typedef struct {
	const uint8_t *data;
	size_t len;
	size_t piece; // at most this much at a time, 0: all
} BytesSource;

static inline ssize_t from_bytes(void *data, void *buf, size_t len, GError **error)
{
	BytesSource *s = data;
	size_t n = MIN(len, s->len);
	if (s->piece > 0)
		n = MIN(n, s->piece);
	if (n > 0)
		memcpy(buf, s->data, n);
	s->data += n;
	s->len -= n;
	return (ssize_t)n;
}

typedef struct {
	GByteArray *bytes;
	TarWriter *writer;
} Tar;

static inline Tar tar_begin(void)
{
	Tar t = {g_byte_array_new(), NULL};
	t.writer = tar_writer_new(to_bytes, t.bytes);
	return t;
}

static inline void tar_clear(Tar *t)
{
	g_clear_pointer(&t->bytes, g_byte_array_unref);
	g_clear_pointer(&t->writer, tar_writer_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Tar, tar_clear)

#define TEST_TIME INT64_C(1600000000)

static inline void tar_add(Tar *t, TarHeader h, const char *content)
{
	g_autoptr(GError) error = NULL;
	if (!h.mtime.set)
		h.mtime = (TarTime){TEST_TIME, 0, true};
	if (content != NULL)
		h.size = (int64_t)strlen(content);
	tar_writer_header(t->writer, &h, &error);
	g_assert_no_error(error);
	if (content != NULL)
		g_assert_true(tar_writer_data(t->writer, content, strlen(content), NULL));
}

static inline void tar_dir(Tar *t, const char *name, int64_t mode)
{
	tar_add(t, (TarHeader){.type = TAR_TYPE_DIR, .name = name, .mode = mode}, NULL);
}

static inline void tar_file(Tar *t, const char *name, const char *content, int64_t mode)
{
	tar_add(t, (TarHeader){.type = TAR_TYPE_REG, .name = name, .mode = mode}, content);
}

static inline void tar_symlink(Tar *t, const char *target, const char *name)
{
	tar_add(t, (TarHeader){.type = TAR_TYPE_SYMLINK, .name = name, .linkname = target, .mode = 0777},
	        NULL);
}

static inline void tar_link(Tar *t, const char *target, const char *name)
{
	tar_add(t, (TarHeader){.type = TAR_TYPE_LINK, .name = name, .linkname = target, .mode = 0644}, NULL);
}

static inline void tar_end(Tar *t)
{
	g_assert_true(tar_writer_finish(t->writer, NULL));
}

/* Ends the archive and applies it. */
static inline bool tar_apply(Tar *t, const char *root, const LayerApplyOptions *o, GError **error)
{
	tar_end(t);
	BytesSource s = {t->bytes->data, t->bytes->len, 0};
	return layer_apply_source(root, o, from_bytes, &s, NULL, error);
}

#define assert_error_text(error, text) g_assert_cmpstr((error) != NULL ? (error)->message : NULL, ==, (text))
