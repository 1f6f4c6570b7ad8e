// SPDX-License-Identifier: Apache-2.0

#include "diff/apply-private.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LINKS_MAX 255          // continuity's RootPath
#define RESOLVED_MAX 65536     // of one path while its links are replaced
#define XATTR_LIST_LIMIT 65536 // the kernel's

static int openat2_in_root(int rootfd, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {
	        .flags = (uint64_t)(flags | O_CLOEXEC),
	        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve,
	};
	long fd;
	do // EAGAIN: a rename raced with the walk
		fd = syscall(SYS_openat2, rootfd, path, &how, sizeof how);
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return (int)fd;
}

int layer_open_in_root(int rootfd, const char *path, int flags)
{
	return openat2_in_root(rootfd, path, flags, 0);
}

char *layer_fd_path(int fd, const char *name)
{
	if (name == NULL)
		return g_strdup_printf("/proc/self/fd/%d", fd);
	return g_strdup_printf("/proc/self/fd/%d/%s", fd, name);
}

/* ---- The cache of open directories ---- */

static void slot_clear(DirSlot *s)
{
	g_clear_pointer(&s->name, g_free);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

void layer_dirs_forget(LayerApply *a)
{
	for (unsigned i = 0; i < LAYER_DIR_CACHE; i++)
		if (a->dirs[i].name != NULL)
			slot_clear(&a->dirs[i]);
	a->last = NULL;
}

static bool slot_is(const DirSlot *s, const char *name, size_t len)
{
	return s->name != NULL && s->len == len && memcmp(s->name, name, len) == 0;
}

static DirSlot *slot_find(LayerApply *a, const char *name, size_t len)
{
	// most entries are in the directory of the one before
	if (a->last != NULL && slot_is(a->last, name, len)) {
		a->last->used = ++a->clock;
		return a->last;
	}
	for (unsigned i = 0; i < LAYER_DIR_CACHE; i++) {
		DirSlot *s = &a->dirs[i];
		if (slot_is(s, name, len)) {
			s->used = ++a->clock;
			a->last = s;
			return s;
		}
	}
	return NULL;
}

static DirSlot *slot_put(LayerApply *a, const char *name, size_t len, int fd, ino_t ino)
{
	DirSlot *s = slot_find(a, name, len);
	if (s == NULL) {
		s = &a->dirs[0];
		for (unsigned i = 0; i < LAYER_DIR_CACHE && s->name != NULL; i++)
			if (a->dirs[i].name == NULL || a->dirs[i].used < s->used)
				s = &a->dirs[i];
	}
	slot_clear(s);
	*s = (DirSlot){g_strndup(name, len), len, fd, ino, ++a->clock};
	a->last = s;
	return s;
}

void layer_dir_remember(LayerApply *a, const char *name, int fd, ino_t ino)
{
	while (*name == '/')
		name++;
	slot_put(a, name, strlen(name), fd, ino);
}

/* ---- What this layer made ---- */

static char *unpacked_key(ino_t dir, const char *name)
{
	return g_strdup_printf("%llx/%s", (unsigned long long)dir, name);
}

void layer_unpacked_add(LayerApply *a, ino_t dir, const char *name)
{
	if (a->unpacked != NULL)
		g_hash_table_add(a->unpacked, unpacked_key(dir, name));
}

bool layer_unpacked_has(LayerApply *a, ino_t dir, const char *name)
{
	g_autofree char *key = unpacked_key(dir, name);
	return g_hash_table_contains(a->unpacked, key);
}

/* ---- Missing parents ---- */

/* The link's target, NULL where it is no link (or not there). */
static char *read_link(LayerApply *a, const char *path, GError **error)
{
	autofd fd = openat2_in_root(a->rootfd, path, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
	if (fd < 0) {
		if (errno != ENOENT)
			error_set_errno(error, errno, "lstat %s/%s", a->root, path);
		return NULL;
	}
	char target[PATH_MAX];
	ssize_t n = readlinkat(fd, "", target, sizeof target);
	return n < 0 ? NULL : g_strndup(target, (size_t)n); // an error: no link
}

/* Replaces the links of a path by what they mean in the root, taking what is missing as no link: continuity's
 * fs.RootPath. The result is relative to the root, without links as far as it exists. */
static bool resolve(LayerApply *a, const char *parent, size_t len, GString *ret, GError **error)
{
	g_autoptr(GString) rest = g_string_new_len(parent, (gssize)len);
	unsigned links = 0;
	while (rest->len > 0) {
		const char *slash = strchr(rest->str, '/');
		size_t n = slash != NULL ? (size_t)(slash - rest->str) : rest->len;
		g_autofree char *component = g_strndup(rest->str, n);
		g_string_erase(rest, 0, (gssize)(slash != NULL ? n + 1 : n));
		if (n == 0 || strcmp(component, ".") == 0)
			continue;
		size_t before = ret->len;
		if (strcmp(component, "..") == 0) {
			const char *up = strrchr(ret->str, '/');
			g_string_truncate(ret, up != NULL ? (gsize)(up - ret->str) : 0);
			continue;
		}
		if (before > 0)
			g_string_append_c(ret, '/');
		g_string_append(ret, component);
		GError *err = NULL;
		g_autofree char *target = read_link(a, ret->str, &err);
		if (err != NULL) {
			g_propagate_error(error, err);
			return false;
		}
		if (target == NULL)
			continue;
		if (++links > LINKS_MAX)
			return error_set(error, CTRD_ERR_UNKNOWN, "too many links");
		g_string_truncate(ret, *target == '/' ? 0 : before);
		g_string_prepend_c(rest, '/');
		g_string_prepend(rest, target);
		if (rest->len > RESOLVED_MAX)
			return error_set_errno(error, ENAMETOOLONG, "lstat %s/%s", a->root, ret->str);
	}
	return true;
}

static bool copy_xattrs(int from, int to, const char *path, GError **error)
{
	g_autofree char *src = layer_fd_path(from, NULL), *dst = layer_fd_path(to, NULL);
	g_autofree char *names = g_malloc(XATTR_LIST_LIMIT), *value = g_malloc(XATTR_SIZE_MAX);
	ssize_t len = listxattr(src, names, XATTR_LIST_LIMIT);
	if (len < 0) {
		if (errno == ENOTSUP || errno == ENODATA)
			return true;
		return error_set_errno(error, errno, "failed to list xattrs on %s", path);
	}
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		if (g_str_has_prefix(name, "trusted."))
			continue;
		ssize_t n = getxattr(src, name, value, XATTR_SIZE_MAX);
		if (n < 0) {
			if (errno == ENOTSUP || errno == ENODATA)
				continue;
			return error_set_errno(error, errno, "failed to get xattr %s on %s", Q(name), path);
		}
		if (setxattr(dst, name, value, (size_t)n, XATTR_CREATE) < 0 && errno != ENOTSUP &&
		    errno != ENODATA && errno != EEXIST)
			return error_set_errno(error, errno, "failed to set xattr %s on %s", Q(name), path);
	}
	return true;
}

/* Owner, mode, times and xattrs of the lower directory: what a copy-up would have given it. */
static bool copy_dir_info(LayerApply *a, int from, int to, const char *relative, GError **error)
{
	g_autofree char *path = g_strdup_printf("%s/%s", a->root, relative);
	g_autofree char *to_path = layer_fd_path(to, NULL);
	struct stat st, have;
	if (fstat(from, &st) < 0 || fstat(to, &have) < 0)
		return error_set_errno(error, errno, "lstat %s", path);
	bool other_owner = st.st_uid != have.st_uid || st.st_gid != have.st_gid;
	if (other_owner && fchownat(to, "", st.st_uid, st.st_gid, AT_EMPTY_PATH) < 0)
		return error_set_errno(error, errno, "failed to chown %s: lchown %s", path, path);
	if (chmod(to_path, st.st_mode & 07777) < 0)
		return error_set_errno(error, errno, "failed to chmod %s: chmod %s", path, path);
	struct timespec times[2] = {st.st_atim, st.st_mtim};
	return copy_xattrs(from, to, path, error) && layer_times_add(a, relative, times, error);
}

/* A parent that no entry described. */
static bool describe_parent(LayerApply *a, int fd, const char *relative, GError **error)
{
	for (unsigned i = 0; i < a->n_parents; i++) {
		autofd lower = layer_open_in_root(a->parents[i], relative, O_PATH | O_NOFOLLOW);
		struct stat st;
		if (lower < 0 && errno == ENOENT)
			continue;
		if (lower < 0 || fstat(lower, &st) < 0)
			return error_set_errno(error, errno, "lstat %s/%s", a->o.parents[i], relative);
		if (!S_ISDIR(st.st_mode))
			break; // replaced: nothing to inherit
		return copy_dir_info(a, lower, fd, relative, error);
	}
	return true;
}

/* Opens or makes a directory of a resolved path. */
static bool make_one(LayerApply *a, LayerDir parent, const char *name, const char *relative, LayerDir *ret,
                     GError **error)
{
	const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	bool made = false;
	autofd fd = openat(parent.fd, name, flags);
	if (fd < 0 && errno == ENOENT) {
		if (mkdirat(parent.fd, name, 0755) < 0)
			return error_set_errno(error, errno, "mkdir %s/%s", a->root, relative);
		made = true;
		fd = openat(parent.fd, name, flags);
	}
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(error, errno, "mkparent %s/%s", a->root, relative);
	if (made) {
		layer_unpacked_add(a, parent.ino, name);
		if ((st.st_mode & 07777) != 0755 && fchmodat(parent.fd, name, 0755, AT_SYMLINK_NOFOLLOW) < 0)
			return error_set_errno(error, errno, "chmod %s/%s", a->root, relative);
		if (!describe_parent(a, fd, relative, error))
			return false;
	}
	*ret = (LayerDir){fd_steal(&fd), st.st_ino};
	return true;
}

/* mkdir -p along a resolved path. */
static bool make_parents(LayerApply *a, GString *path, LayerDir *ret, GError **error)
{
	LayerDir at = {fcntl(a->rootfd, F_DUPFD_CLOEXEC, 0), a->root_ino};
	if (at.fd < 0)
		return error_set_errno(error, errno, "dup");
	for (char *s = path->str; *s != '\0';) {
		char *slash = strchr(s, '/');
		if (slash != NULL)
			*slash = '\0';
		LayerDir next = {-1, 0};
		bool ok = make_one(a, at, s, path->str, &next, error);
		close(at.fd);
		if (!ok)
			return false;
		at = next;
		if (slash == NULL)
			break;
		*slash = '/';
		s = slash + 1;
	}
	*ret = at;
	return true;
}

/* Without slashes at the ends: a name as slots have it. */
static const char *trim(const char *s, size_t *len)
{
	while (*len > 0 && *s == '/') {
		s++;
		--*len;
	}
	while (*len > 0 && s[*len - 1] == '/')
		--*len;
	return s;
}

char *layer_full_path(LayerApply *a, const char *name)
{
	int saved = errno;
	const char *slash = strrchr(name, '/'), *base = slash != NULL ? slash + 1 : name;
	if (strcmp(base, "..") == 0)
		base += 2; // all of the name says where it is
	g_autoptr(GString) path = g_string_new(NULL);
	g_autofree char *full = NULL;
	if (resolve(a, name, (size_t)(base - name), path, NULL) && path->len > 0)
		full = g_strdup_printf("%s/%s/%s", a->root, path->str, base);
	else
		full = g_strdup_printf("%s/%s", a->root, base);
	char *clean = path_clean(full);
	errno = saved;
	return clean;
}

/* The quick way: the kernel resolves, all that is needed is there. -1 and errno. */
static DirSlot *open_parent(LayerApply *a, const char *parent, size_t len)
{
	DirSlot *s = slot_find(a, parent, len);
	if (s != NULL)
		return s;
	char path[PATH_MAX];
	if (len >= sizeof path) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	memcpy(path, parent, len);
	path[len] = '\0';
	struct stat st;
	autofd fd = layer_open_in_root(a->rootfd, path, O_PATH | O_DIRECTORY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	return slot_put(a, parent, len, fd_steal(&fd), st.st_ino);
}

/* Where the kernel gives up continuity's RootPath may still go on: through what is missing, through `..`
 * behind what is no directory, through more than 40 links. */
static bool may_resolve(int err)
{
	return err == ENOENT || err == ENOTDIR || err == ELOOP;
}

bool layer_parent(LayerApply *a, const char *parent, size_t len, LayerDir *ret, GError **error)
{
	parent = trim(parent, &len);
	*ret = (LayerDir){a->rootfd, a->root_ino};
	if (len == 0)
		return true;
	DirSlot *s = open_parent(a, parent, len);
	if (s == NULL) {
		if (!may_resolve(errno))
			return error_set_errno(error, errno, "failed to get root path: lstat %s/%.*s",
			                       a->root, (int)MIN(len, PATH_MAX), parent);
		g_autoptr(GString) path = g_string_new(NULL);
		if (!resolve(a, parent, len, path, error))
			return error_prefix(error, "failed to get root path");
		LayerDir made = {-1, 0};
		if (!make_parents(a, path, &made, error))
			return false;
		s = slot_put(a, parent, len, made.fd, made.ino);
	}
	*ret = (LayerDir){s->fd, s->ino};
	return true;
}

bool layer_parent_lookup(LayerApply *a, const char *parent, size_t len, LayerDir *ret, int *ret_errno,
                         GError **error)
{
	parent = trim(parent, &len);
	*ret = (LayerDir){a->rootfd, a->root_ino};
	*ret_errno = 0;
	if (len == 0)
		return true;
	DirSlot *s = open_parent(a, parent, len);
	if (s == NULL && may_resolve(errno)) {
		g_autoptr(GString) path = g_string_new(NULL);
		if (!resolve(a, parent, len, path, error))
			return false;
		if (path->len == 0)
			return true;
		struct stat st;
		autofd fd = openat2_in_root(a->rootfd, path->str, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
		if (fd >= 0 && fstat(fd, &st) == 0)
			s = slot_put(a, parent, len, fd_steal(&fd), st.st_ino);
	}
	if (s == NULL)
		*ret_errno = errno;
	else
		*ret = (LayerDir){s->fd, s->ino};
	return true;
}

/* ---- Times of directories ---- */

bool layer_times_add(LayerApply *a, const char *name, const struct timespec times[2], GError **error)
{
	a->times_bytes += strlen(name) + sizeof(DirTimes);
	if (a->times_bytes > LAYER_DIR_NAMES_MAX)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "names of the layer's directories are over the limit of %u bytes",
		                 LAYER_DIR_NAMES_MAX);
	DirTimes t = {g_strdup(name), {times[0], times[1]}};
	g_array_append_val(a->times, t);
	return true;
}

bool layer_times_apply(LayerApply *a, GError **error)
{
	for (unsigned i = 0; i < a->times->len; i++) {
		const DirTimes *t = &g_array_index(a->times, DirTimes, i);
		autofd fd = layer_open_in_root(a->rootfd, t->name, O_PATH | O_DIRECTORY);
		if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
			continue; // replaced or removed by a later entry
		if (fd < 0 || utimensat(fd, "", t->times, AT_EMPTY_PATH) < 0)
			return error_set_errno(error, errno, "failed call to UtimesNanoAt for %s/%s", a->root,
			                       t->name);
	}
	return true;
}
