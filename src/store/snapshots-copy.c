// SPDX-License-Identifier: Apache-2.0

#include "store/snapshots-copy.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define COPY_CHUNK ((size_t)1 << 30)
#define XATTR_LIST_MAX 65536
#define XATTR_VALUE_MAX 65536

/*
 * Directories wait in a queue by their path relative to the roots, so that depth costs neither stack nor fds.
 * Their metadata is set at the end, last found first: making entries in a directory would change its times,
 * and its mode may forbid to.
 */
typedef struct {
	int src, dst;
	const char *shown;
	Cancel *cancel;
	GPtrArray *dirs;   // of char*: "." and relative paths; all that were found
	GHashTable *links; // "dev:ino" -> relative path of the first copy
} Copy;

static void copy_clear(Copy *c)
{
	g_ptr_array_unref(c->dirs);
	g_hash_table_unref(c->links);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Copy, copy_clear)

/* An entry of one directory, on both sides. */
typedef struct {
	Copy *copy;
	int src, dst; // the directories
	const char *dir, *name;
	struct stat st;
} Entry;

static bool fail(const Entry *e, int errnum, const char *what, GError **error)
{
	return error_set_errno(error, errnum, "%s %s/%s/%s", what, e->copy->shown, e->dir, e->name);
}

// ---- metadata ----

/* /proc/self/fd/N/name: xattr calls know no directory fd, and none works on a link by fd. */
static void xattr_path(char *buf, size_t size, int dir, const char *name)
{
	snprintf(buf, size, "/proc/self/fd/%d/%s", dir, name);
}

/* As upstream, attributes that the target cannot have are left out; but a full or broken disk is an error. */
static bool is_disk_error(int e)
{
	return e == ENOSPC || e == EDQUOT || e == EIO;
}

static bool copy_xattrs(const Entry *e, GError **error)
{
	char from[NAME_MAX + 64], to[NAME_MAX + 64];
	xattr_path(from, sizeof from, e->src, e->name);
	xattr_path(to, sizeof to, e->dst, e->name);
	ssize_t n = llistxattr(from, NULL, 0);
	if (n <= 0 || n > XATTR_LIST_MAX)
		return true;
	g_autofree char *list = g_malloc((size_t)n);
	n = llistxattr(from, list, (size_t)n);
	for (const char *key = list; n > 0 && key < list + n; key += strlen(key) + 1) {
		ssize_t len = lgetxattr(from, key, NULL, 0);
		g_autofree char *value =
		        len >= 0 && len <= XATTR_VALUE_MAX ? g_malloc((size_t)len + 1) : NULL;
		if (value != NULL)
			len = lgetxattr(from, key, value, (size_t)len);
		if (value != NULL && len >= 0 && lsetxattr(to, key, value, (size_t)len, 0) == 0)
			continue;
		if (value != NULL && is_disk_error(errno))
			return fail(e, errno, "failed to copy xattr of", error);
		log_debug("failed to copy xattr", "key", key, "path", e->name, NULL);
	}
	return true;
}

static bool set_metadata(const Entry *e, GError **error)
{
	const struct stat *st = &e->st;
	// chown first: it takes set-uid bits and capabilities away
	if (fchownat(e->dst, e->name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) != 0) {
		struct stat now;
		if (errno != EPERM || fstatat(e->dst, e->name, &now, AT_SYMLINK_NOFOLLOW) != 0 ||
		    now.st_uid != st->st_uid || now.st_gid != st->st_gid)
			return fail(e, errno, "failed to chown", error);
	}
	if (!S_ISLNK(st->st_mode) && fchmodat(e->dst, e->name, st->st_mode & 07777, 0) != 0)
		return fail(e, errno, "failed to chmod", error);
	if (!copy_xattrs(e, error))
		return false;
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	if (utimensat(e->dst, e->name, times, AT_SYMLINK_NOFOLLOW) != 0)
		return fail(e, errno, "failed to utime", error);
	return true;
}

// ---- contents ----

static bool copy_by_reading(const Entry *e, int from, int to, off_t offset, off_t end, GError **error)
{
	g_autofree char *buf = g_malloc(1 << 20);
	while (offset < end) {
		size_t want = (size_t)MIN(end - offset, (off_t)1 << 20);
		ssize_t n = RETRY_EINTR(pread(from, buf, want, offset));
		if (n <= 0)
			return n == 0 || fail(e, errno, "read", error);
		for (ssize_t done = 0; done < n;) {
			ssize_t w = RETRY_EINTR(pwrite(to, buf + done, (size_t)(n - done), offset + done));
			if (w < 0)
				return fail(e, errno, "failed to copy", error);
			done += w;
		}
		offset += n;
	}
	return true;
}

static bool copy_range(const Entry *e, int from, int to, off_t start, off_t end, GError **error)
{
	off_t in = start, out = start;
	while (in < end) {
		if (!cancel_check(e->copy->cancel, error))
			return false;
		size_t want = (size_t)MIN((off_t)COPY_CHUNK, end - in);
		ssize_t n = RETRY_EINTR(copy_file_range(from, &in, to, &out, want, 0));
		if (n > 0)
			continue;
		if (n == 0 || errno == EXDEV || errno == ENOSYS || errno == EOPNOTSUPP || errno == EINVAL)
			return copy_by_reading(e, from, to, in, end, error);
		return fail(e, errno, "failed to copy", error);
	}
	return true;
}

static bool copy_content(const Entry *e, int from, int to, GError **error)
{
	off_t size = e->st.st_size;
	if (size == 0 || ioctl(to, FICLONE, from) == 0)
		return true;
	if (ftruncate(to, size) != 0)
		return fail(e, errno, "failed to truncate target", error);
	for (off_t offset = 0; offset < size;) {
		off_t data = lseek(from, offset, SEEK_DATA);
		if (data < 0) {
			if (errno == ENXIO) // only a hole is left
				return true;
			if (errno == EINVAL || errno == EOPNOTSUPP)
				return copy_range(e, from, to, offset, size, error);
			return fail(e, errno, "seek", error);
		}
		off_t hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0 || hole > size)
			hole = size;
		if (!copy_range(e, from, to, data, hole, error))
			return false;
		offset = hole;
	}
	return true;
}

static bool copy_file(const Entry *e, GError **error)
{
	autofd from = openat(e->src, e->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (from < 0)
		return fail(e, errno, "failed to open source", error);
	autofd to = openat(e->dst, e->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return fail(e, errno, "failed to open target", error);
	return copy_content(e, from, to, error);
}

static bool copy_symlink(const Entry *e, GError **error)
{
	char target[PATH_MAX + 1];
	ssize_t n = readlinkat(e->src, e->name, target, sizeof target);
	if (n < 0 || (size_t)n >= sizeof target)
		return fail(e, n < 0 ? errno : ENAMETOOLONG, "failed to read link", error);
	target[n] = '\0';
	return symlinkat(target, e->dst, e->name) == 0 || fail(e, errno, "failed to create symlink", error);
}

// ---- the walk ----

/* Another name of what was copied already: *ret_done. */
static bool copy_hard_link(const Entry *e, const char *path, bool *ret_done, GError **error)
{
	*ret_done = false;
	if (e->st.st_nlink < 2)
		return true;
	char *id = g_strdup_printf("%ju:%ju", (uintmax_t)e->st.st_dev, (uintmax_t)e->st.st_ino);
	const char *first = g_hash_table_lookup(e->copy->links, id);
	if (first == NULL) {
		g_hash_table_insert(e->copy->links, id, g_strdup(path));
		return true;
	}
	g_free(id);
	*ret_done = true;
	return linkat(e->copy->dst, first, e->dst, e->name, 0) == 0 ||
	       fail(e, errno, "failed to create hard link", error);
}

static bool copy_entry(Entry *e, GError **error)
{
	if (fstatat(e->src, e->name, &e->st, AT_SYMLINK_NOFOLLOW) != 0)
		return fail(e, errno, "lstat", error);
	g_autofree char *path =
	        g_str_equal(e->dir, ".") ? g_strdup(e->name) : g_strdup_printf("%s/%s", e->dir, e->name);
	if (S_ISDIR(e->st.st_mode)) {
		if (mkdirat(e->dst, e->name, 0700) != 0)
			return fail(e, errno, "failed to mkdir", error);
		g_ptr_array_add(e->copy->dirs, g_steal_pointer(&path));
		return true;
	}
	bool done;
	if (!copy_hard_link(e, path, &done, error))
		return false;
	if (done)
		return true;
	bool ok;
	if (S_ISREG(e->st.st_mode))
		ok = copy_file(e, error);
	else if (S_ISLNK(e->st.st_mode))
		ok = copy_symlink(e, error);
	else
		ok = mknodat(e->dst, e->name, e->st.st_mode & (S_IFMT | 0700), e->st.st_rdev) == 0 ||
		     fail(e, errno, "failed to create irregular file", error);
	return ok && set_metadata(e, error);
}

static int open_dir(const Copy *c, int root, const char *path, GError **error)
{
	int fd = open_beneath(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, error);
	if (fd < 0)
		error_prefix(error, "failed to copy %s", c->shown);
	return fd;
}

static bool copy_directory(Copy *c, const char *dir, GError **error)
{
	autofd src = open_dir(c, c->src, dir, error);
	autofd dst = src >= 0 ? open_dir(c, c->dst, dir, error) : -1;
	autofd listing = dst >= 0 ? openat(src, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	DIR *names = listing >= 0 ? fdopendir(listing) : NULL;
	if (names == NULL)
		return dst < 0 ? false : error_set_errno(error, errno, "open %s/%s", c->shown, dir);
	fd_steal(&listing);
	bool ok = true;
	while (ok) {
		errno = 0;
		struct dirent *d = readdir(names);
		if (d == NULL) {
			ok = errno == 0 || error_set_errno(error, errno, "readdirent %s/%s", c->shown, dir);
			break;
		}
		if (g_str_equal(d->d_name, ".") || g_str_equal(d->d_name, ".."))
			continue;
		Entry e = {.copy = c, .src = src, .dst = dst, .dir = dir, .name = d->d_name};
		ok = cancel_check(c->cancel, error) && copy_entry(&e, error);
	}
	closedir(names);
	return ok;
}

static bool finish_directory(Copy *c, const char *path, GError **error)
{
	Entry e = {.copy = c, .dir = path, .name = "."};
	autofd src = open_dir(c, c->src, path, error);
	autofd dst = src >= 0 ? open_dir(c, c->dst, path, error) : -1;
	if (dst < 0)
		return false;
	e.src = src;
	e.dst = dst;
	if (fstat(src, &e.st) != 0)
		return fail(&e, errno, "fstat", error);
	return set_metadata(&e, error);
}

bool snapshot_copy_tree(int src, int dst, const char *shown, Cancel *cancel, GError **error)
{
	g_auto(Copy) c = {.src = src,
	                  .dst = dst,
	                  .shown = shown,
	                  .cancel = cancel,
	                  .dirs = g_ptr_array_new_with_free_func(g_free),
	                  .links = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
	g_ptr_array_add(c.dirs, g_strdup("."));
	for (guint i = 0; i < c.dirs->len; i++) {
		if (!copy_directory(&c, c.dirs->pdata[i], error))
			return false;
	}
	for (guint i = c.dirs->len; i-- > 0;) {
		if (!finish_directory(&c, c.dirs->pdata[i], error))
			return false;
	}
	return true;
}
