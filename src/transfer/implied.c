// SPDX-License-Identifier: Apache-2.0
#include "transfer/implied.h"
#include "base/error.h"
#include "base/util.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

enum {
	XATTRS_MAX = 64 * 1024, // bytes of names, bytes of a value: the kernel's limits
};

struct ImpliedDirs {
	GHashTable *known;   // set of directories that have been looked at
	GHashTable *implied; // set of those without an entry
	char *last;          // parent of the last entry: files come in runs
};

ImpliedDirs *implied_dirs_new(void)
{
	ImpliedDirs *d = g_new0(ImpliedDirs, 1);
	d->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	d->implied = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return d;
}

void implied_dirs_free(ImpliedDirs *d)
{
	if (d == NULL)
		return;
	g_hash_table_unref(d->known);
	g_hash_table_unref(d->implied);
	g_free(d->last);
	g_free(d);
}

static void note(ImpliedDirs *d, const char *name, size_t len)
{
	for (; len > 0; len--) {
		if (name[len] != '/')
			continue;
		g_autofree char *dir = g_strndup(name, len);
		if (g_hash_table_contains(d->known, dir))
			return; // and so are those above it
		g_hash_table_add(d->implied, g_strdup(dir));
		g_hash_table_add(d->known, g_steal_pointer(&dir));
	}
}

bool implied_dirs_filter(void *dirs, const TarHeader *header, const char *name, GError **error)
{
	ImpliedDirs *d = dirs;
	while (*name == '/')
		name++;
	if (header->type == TAR_TYPE_DIR) {
		g_hash_table_remove(d->implied, name);
		g_hash_table_add(d->known, g_strdup(name));
	}
	const char *slash = strrchr(name, '/');
	if (slash == NULL)
		return true;
	size_t len = (size_t)(slash - name);
	if (d->last != NULL && strncmp(d->last, name, len) == 0 && d->last[len] == '\0')
		return true;
	g_free(d->last);
	d->last = g_strndup(name, len);
	note(d, name, len);
	return true;
}

bool implied_dirs_any(const ImpliedDirs *d)
{
	return d != NULL && g_hash_table_size(d->implied) > 0;
}

/* ---- Putting right ---- */

typedef enum {
	FOUND,  // *ret_fd is the directory
	LOWER,  // not in this layer: look below
	HIDDEN, // this layer says that there is nothing, here or below
} Lookup;

static bool is_opaque(int fd)
{
	g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", fd);
	char value = 0;
	return getxattr(self, "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

/* The directory in one layer, which is an overlay's lower directory. */
static Lookup lookup(const char *layer, const char *dir, int *ret_fd)
{
	autofd fd = open(layer, O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool opaque = false;
	g_auto(GStrv) parts = g_strsplit(dir, "/", -1);
	for (size_t i = 0; fd >= 0 && parts[i] != NULL; i++) {
		autofd next = openat(fd, parts[i], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return errno == ENOENT && !opaque ? LOWER
			                                  : HIDDEN; // ENOTDIR: a whiteout, a file, a link
		opaque = opaque || is_opaque(next);
		fd_close(&fd);
		fd = fd_steal(&next);
	}
	if (fd < 0)
		return LOWER;
	*ret_fd = fd_steal(&fd);
	return FOUND;
}

static void copy_xattrs(const char *from, const char *to)
{
	g_autofree char *names = g_malloc(XATTRS_MAX), *value = g_malloc(XATTRS_MAX);
	ssize_t n = listxattr(from, names, XATTRS_MAX);
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1) {
		if (g_str_has_prefix(names + at, "trusted.overlay."))
			continue;
		ssize_t len = getxattr(from, names + at, value, XATTRS_MAX);
		if (len >= 0)
			setxattr(to, names + at, value, (size_t)len, 0); // what the file system takes
	}
}

static bool copy_attributes(int from, int to, const char *name, GError **error)
{
	g_autofree char *source = g_strdup_printf("/proc/self/fd/%d", from);
	g_autofree char *target = g_strdup_printf("/proc/self/fd/%d", to);
	struct stat st;
	if (fstat(from, &st) < 0)
		return error_set_errno(error, errno, "stat %s", name);
	if (chown(target, st.st_uid, st.st_gid) < 0)
		return error_set_errno(error, errno, "chown %s", name);
	if (chmod(target, st.st_mode & 07777) < 0)
		return error_set_errno(error, errno, "chmod %s", name);
	copy_xattrs(source, target);
	struct timespec times[2] = {st.st_atim, st.st_mtim};
	if (utimensat(AT_FDCWD, target, times, 0) < 0)
		return error_set_errno(error, errno, "utimensat %s", name);
	return true;
}

static bool fix_one(const char *root, const char *dir, GPtrArray *lowers, GError **error)
{
	autofd own = -1;
	if (lookup(root, dir, &own) != FOUND)
		return true; // the layer itself has removed or replaced it
	for (guint i = 0; i < lowers->len; i++) {
		autofd fd = -1;
		Lookup l = lookup(lowers->pdata[i], dir, &fd);
		if (l == FOUND)
			return copy_attributes(fd, own, dir, error);
		if (l == HIDDEN)
			return true;
	}
	return true;
}

bool implied_dirs_fix(const ImpliedDirs *d, const char *root, GPtrArray *lowers, GError **error)
{
	GHashTableIter it;
	void *dir;
	g_hash_table_iter_init(&it, d->implied);
	while (g_hash_table_iter_next(&it, &dir, NULL))
		if (!fix_one(root, dir, lowers, error))
			return false;
	return true;
}
