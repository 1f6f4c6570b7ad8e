// SPDX-License-Identifier: Apache-2.0
/*
 * Walks over directory trees that an image made: any depth, any names. Only one directory's fd is needed at a
 * time; the directories above stay open up to OPEN_LEVELS, so that ordinary trees are walked without opening
 * anything twice, and are found again by ".." beyond that, checked by device and inode.
 */
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

#define OPEN_LEVELS 32
#define REMOVE_TRIES 16 // passes over one directory that others fill while we empty it

typedef struct {
	DIR *dir; // NULL: closed to save fds
	long position;
	dev_t dev;
	ino_t ino;
	char *name;
	int passes;
} Level;

typedef struct {
	GArray *levels; // of Level; the first is the tree's top
	const char *top;
	bool removing; // a directory that is opened again is read from its start: what was seen is gone
} Walk;

static void level_clear(void *data)
{
	Level *level = data;
	if (level->dir != NULL)
		closedir(level->dir);
	g_free(level->name);
}

static void walk_clear(Walk *walk)
{
	g_array_unref(walk->levels);
}

static Level *walk_level(Walk *walk, guint up)
{
	return &g_array_index(walk->levels, Level, walk->levels->len - 1 - up);
}

/* The path of an entry of the current directory, for error texts. */
static char *walk_path(Walk *walk, const char *name)
{
	GString *path = g_string_new(walk->top);
	for (guint i = 1; i < walk->levels->len && path->len < 4096; i++)
		g_string_append_printf(path, "/%s", g_array_index(walk->levels, Level, i).name);
	if (name != NULL)
		g_string_append_printf(path, "/%s", name);
	return g_string_free(path, FALSE);
}

static bool walk_fail(Walk *walk, int errnum, const char *what, const char *name, GError **error)
{
	g_autofree char *path = walk_path(walk, name);
	return error_set_errno(error, errnum, "%s %s", what, path);
}

static int open_dir(int dirfd, const char *name, uint64_t resolve)
{
	struct open_how how = {
	        .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK,
	        .resolve = resolve,
	};
	return (int)RETRY_EINTR(syscall(SYS_openat2, dirfd, name, &how, sizeof(how)));
}

/* Makes name, in the open directory parent, the current directory. Returns 0, or an errno. */
static int walk_push(Walk *walk, int parent, const char *name, uint64_t resolve)
{
	autofd fd = open_dir(parent, name, resolve);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return errno;
	Level level = {.dev = st.st_dev, .ino = st.st_ino, .dir = fdopendir(fd)};
	if (level.dir == NULL)
		return errno;
	fd_steal(&fd);
	level.name = g_strdup(name);
	if (walk->levels->len >= OPEN_LEVELS) {
		Level *oldest = walk_level(walk, OPEN_LEVELS - 1);
		if (oldest->dir != NULL) {
			oldest->position = telldir(oldest->dir);
			closedir(oldest->dir);
			oldest->dir = NULL;
		}
	}
	g_array_append_val(walk->levels, level);
	return 0;
}

/* Back to the parent; there must be one. ret_name is the name of the directory that was left. */
static bool walk_pop(Walk *walk, char **ret_name, GError **error)
{
	Level *child = walk_level(walk, 0), *parent = walk_level(walk, 1);
	if (parent->dir == NULL) {
		autofd fd = open_dir(dirfd(child->dir), "..", 0);
		struct stat st;
		if (fd < 0 || fstat(fd, &st) != 0)
			return walk_fail(walk, errno, "open", "..", error);
		if (st.st_dev != parent->dev || st.st_ino != parent->ino) {
			g_autofree char *path = walk_path(walk, NULL);
			return error_set(error, CTRD_ERR_UNKNOWN, "open %s/..: moved while walking", path);
		}
		parent->dir = fdopendir(fd);
		if (parent->dir == NULL)
			return walk_fail(walk, errno, "open", "..", error);
		fd_steal(&fd);
		if (!walk->removing)
			seekdir(parent->dir, parent->position);
	}
	*ret_name = g_steal_pointer(&child->name);
	g_array_set_size(walk->levels, walk->levels->len - 1);
	return true;
}

/* The next entry of the current directory but "." and "..". false: an error, or the end with *ret NULL. */
static bool walk_next(Walk *walk, struct dirent **ret, GError **error)
{
	for (;;) {
		errno = 0;
		*ret = readdir(walk_level(walk, 0)->dir);
		if (*ret == NULL)
			return errno == 0 || walk_fail(walk, errno, "readdirent", NULL, error);
		if (strcmp((*ret)->d_name, ".") != 0 && strcmp((*ret)->d_name, "..") != 0)
			return true;
	}
}

/* Unlinks, or makes it the current directory where it is one. */
static bool remove_entry(Walk *walk, const char *name, GError **error)
{
	int fd = dirfd(walk_level(walk, 0)->dir);
	if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
		return true;
	int unlink_errno = errno;
	// EPERM is what POSIX says for a directory, EISDIR what Linux does
	if (unlink_errno != EISDIR && unlink_errno != EPERM)
		return walk_fail(walk, unlink_errno, "unlinkat", name, error);
	if (unlinkat(fd, name, AT_REMOVEDIR) == 0)
		return true;
	int e = walk_push(walk, fd, name, RESOLVE_NO_XDEV);
	if (e == 0 || e == ENOENT)
		return true;
	if (e == EXDEV)
		e = EBUSY;
	else if (e == ENOTDIR)
		e = unlink_errno;
	return walk_fail(walk, e, "unlinkat", name, error);
}

/* The current directory, read to its end, goes; its parent becomes the current one. */
static bool remove_current(Walk *walk, GError **error)
{
	g_autofree char *name = NULL;
	int passes = walk_level(walk, 0)->passes;
	if (!walk_pop(walk, &name, error))
		return false;
	int fd = dirfd(walk_level(walk, 0)->dir);
	if (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return true;
	// not empty: filled meanwhile, or the file system lost count while entries went
	int e = errno;
	if ((e == ENOTEMPTY || e == EEXIST) && passes < REMOVE_TRIES) {
		e = walk_push(walk, fd, name, RESOLVE_NO_XDEV);
		if (e == 0) {
			walk_level(walk, 0)->passes = passes + 1;
			return true;
		}
		if (e == ENOENT)
			return true;
	}
	return walk_fail(walk, e, "unlinkat", name, error);
}

static bool remove_tree(Walk *walk, int parent, const char *name, GError **error)
{
	// the parent is the lowest level, so that the tree's top is an entry like any other
	int e = walk_push(walk, parent, ".", 0);
	if (e != 0)
		return error_set_errno(error, e, "open %s", walk->top);
	if (!remove_entry(walk, name, error))
		return false;
	while (walk->levels->len > 1) {
		struct dirent *entry;
		if (!walk_next(walk, &entry, error))
			return false;
		if (entry != NULL ? !remove_entry(walk, entry->d_name, error) : !remove_current(walk, error))
			return false;
	}
	return true;
}

bool tree_remove_at(int dirfd, const char *name, GError **error)
{
	if (str_empty(name) || strchr(name, '/') != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return error_set_errno(error, EINVAL, "unlinkat %s", Q(str_or(name, "")));
	__attribute__((cleanup(walk_clear))) Walk walk = {
	        .levels = g_array_new(FALSE, FALSE, sizeof(Level)),
	        .top = ".",
	        .removing = true,
	};
	g_array_set_clear_func(walk.levels, level_clear);
	return remove_tree(&walk, dirfd, name, error);
}

bool tree_remove(const char *path, GError **error)
{
	g_autofree char *clean = path_clean(path);
	g_autofree char *dir = g_path_get_dirname(clean);
	g_autofree char *name = g_path_get_basename(clean);
	if (strcmp(clean, "/") == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return error_set_errno(error, EINVAL, "unlinkat %s", path);
	// the directory may be reached through links; what is below it may not
	autofd parent = RETRY_EINTR(open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC));
	if (parent < 0)
		return errno == ENOENT || error_set_errno(error, errno, "open %s", dir);
	__attribute__((cleanup(walk_clear))) Walk walk = {
	        .levels = g_array_new(FALSE, FALSE, sizeof(Level)),
	        .top = dir,
	        .removing = true,
	};
	g_array_set_clear_func(walk.levels, level_clear);
	return remove_tree(&walk, parent, name, error);
}

typedef struct {
	dev_t dev;
	ino_t ino;
} FileId;

static guint file_id_hash(gconstpointer p)
{
	const FileId *id = p;
	uint64_t h = (id->ino ^ (id->dev << 32)) * UINT64_C(0x9e3779b97f4a7c15);
	return (guint)(h >> 32);
}

static gboolean file_id_equal(gconstpointer a, gconstpointer b)
{
	const FileId *x = a, *y = b;
	return x->dev == y->dev && x->ino == y->ino;
}

typedef struct {
	int64_t bytes, inodes;
	GHashTable *seen; // of FileId*: files with more than one link
} Usage;

static void usage_add(Usage *usage, const struct stat *st)
{
	if (st->st_nlink > 1 && !S_ISDIR(st->st_mode)) {
		FileId id = {st->st_dev, st->st_ino};
		if (g_hash_table_contains(usage->seen, &id))
			return;
		g_hash_table_add(usage->seen, g_memdup2(&id, sizeof(id)));
	}
	usage->bytes += (int64_t)st->st_blocks * 512;
	usage->inodes++;
}

/* Files that vanish while we count are not counted. */
static bool usage_entry(Walk *walk, Usage *usage, const char *name, GError **error)
{
	struct stat st;
	int fd = dirfd(walk_level(walk, 0)->dir);
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT || walk_fail(walk, errno, "lstat", name, error);
	usage_add(usage, &st);
	if (!S_ISDIR(st.st_mode))
		return true;
	int e = walk_push(walk, fd, name, 0);
	return e == 0 || e == ENOENT || walk_fail(walk, e, "open", name, error);
}

static bool usage_tree(Walk *walk, Usage *usage, const char *path, GError **error)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		return error_set_errno(error, errno, "lstat %s", path);
	usage_add(usage, &st);
	if (!S_ISDIR(st.st_mode))
		return true;
	int e = walk_push(walk, AT_FDCWD, path, 0);
	if (e != 0)
		return error_set_errno(error, e, "open %s", path);
	for (;;) {
		struct dirent *entry;
		if (!walk_next(walk, &entry, error))
			return false;
		if (entry != NULL) {
			if (!usage_entry(walk, usage, entry->d_name, error))
				return false;
			continue;
		}
		if (walk->levels->len == 1)
			return true;
		g_autofree char *name = NULL;
		if (!walk_pop(walk, &name, error))
			return false;
	}
}

bool tree_usage(const char *path, int64_t *ret_bytes, int64_t *ret_inodes, GError **error)
{
	__attribute__((cleanup(walk_clear))) Walk walk = {
	        .levels = g_array_new(FALSE, FALSE, sizeof(Level)),
	        .top = path,
	};
	g_array_set_clear_func(walk.levels, level_clear);
	g_autoptr(GHashTable) seen = g_hash_table_new_full(file_id_hash, file_id_equal, g_free, NULL);
	Usage usage = {.seen = seen};
	if (!usage_tree(&walk, &usage, path, error))
		return false;
	*ret_bytes = usage.bytes;
	*ret_inodes = usage.inodes;
	return true;
}
