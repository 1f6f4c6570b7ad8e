// SPDX-License-Identifier: Apache-2.0

#include "diff/compare.h"

#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "diff/apply-private.h"
#include "diff/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define READ_SIZE (256 * 1024)
#define CAPABILITY "security.capability"
#define CAPABILITY_MAX 256
#define WHITEOUT_PREFIX ".wh."

typedef enum { CHANGE_UNMODIFIED, CHANGE_ADD, CHANGE_MODIFY, CHANGE_DELETE } ChangeKind;

/* The present place in a tree: the directory that holds the entry, and its name in it. */
typedef struct {
	int dirfd;
	const char *name;
	struct stat st;
} Place;

typedef struct {
	CompareOptions o;
	const char *lower, *upper; // for error texts
	int upperfd;
	TarWriter *tar;
	uint8_t *buf, *buf2;
	GString *path; // of the present entry, relative, no slash at its ends

	GHashTable *added_dirs; // names of directories that are in the archive
	GHashTable *inode_src;  // inode -> the name that has its content in the archive
	GHashTable *inode_refs; // inode -> GPtrArray of unchanged names
} Compare;

void compare_result_clear(CompareResult *r)
{
	g_clear_pointer(&r->diff_id, g_free);
	g_clear_pointer(&r->digest, g_free);
}

/* ---- Comparing two files ---- */

static bool fail_path(GError **error, const char *op, const char *root, const char *path)
{
	return error_set_errno(error, errno, "%s %s/%s", op, root, path);
}

/* The content of an xattr of a place; *ret_len 0 where there is none. */
static bool get_capability(const Place *p, char value[CAPABILITY_MAX], size_t *ret_len)
{
	char path[64 + NAME_MAX];
	g_snprintf(path, sizeof path, "/proc/self/fd/%d/%s", p->dirfd, p->name);
	ssize_t n = lgetxattr(path, CAPABILITY, value, CAPABILITY_MAX);
	*ret_len = n > 0 ? (size_t)n : 0;
	return n >= 0 || errno == ENODATA || errno == ENOTSUP;
}

static bool same_capability(Compare *c, const Place *a, const Place *b, bool *ret, GError **error)
{
	char va[CAPABILITY_MAX], vb[CAPABILITY_MAX];
	size_t la, lb;
	if (!get_capability(a, va, &la))
		return fail_path(error, "failed to get xattr for", c->lower, c->path->str);
	if (!get_capability(b, vb, &lb))
		return fail_path(error, "failed to get xattr for", c->upper, c->path->str);
	*ret = la == lb && memcmp(va, vb, la) == 0;
	return true;
}

static bool same_link(Compare *c, const Place *a, const Place *b, bool *ret, GError **error)
{
	char ta[PATH_MAX], tb[PATH_MAX];
	ssize_t la = readlinkat(a->dirfd, a->name, ta, sizeof ta);
	if (la < 0)
		return fail_path(error, "readlink", c->lower, c->path->str);
	ssize_t lb = readlinkat(b->dirfd, b->name, tb, sizeof tb);
	if (lb < 0)
		return fail_path(error, "readlink", c->upper, c->path->str);
	*ret = la == lb && memcmp(ta, tb, (size_t)la) == 0;
	return true;
}

/* Opens the regular file that the walk saw, and nothing that took its place since. */
static int open_seen(const Place *p)
{
	int fd = openat(p->dirfd, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		errno = ESTALE;
		return -1;
	}
	return fd;
}

static ssize_t read_full(int fd, uint8_t *buf, size_t len)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n = RETRY_EINTR(read(fd, buf + done, len - done));
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static bool same_content(Compare *c, const Place *a, const Place *b, bool *ret, GError **error)
{
	autofd fa = open_seen(a), fb = open_seen(b);
	if (fa < 0)
		return fail_path(error, "open", c->lower, c->path->str);
	if (fb < 0)
		return fail_path(error, "open", c->upper, c->path->str);
	*ret = false;
	while (true) {
		ssize_t na = read_full(fa, c->buf, READ_SIZE);
		if (na < 0)
			return fail_path(error, "read", c->lower, c->path->str);
		ssize_t nb = read_full(fb, c->buf2, READ_SIZE);
		if (nb < 0)
			return fail_path(error, "read", c->upper, c->path->str);
		if (na != nb || memcmp(c->buf, c->buf2, (size_t)na) != 0)
			return true;
		*ret = na < READ_SIZE;
		if (*ret)
			return true;
		if (!cancel_check(c->o.cancel, error))
			return false;
	}
}

/* continuity's sameFile. Times that were cut to seconds (nanoseconds 0 in both) say nothing: then the content
 * decides. */
static bool same_file(Compare *c, const Place *a, const Place *b, bool *ret, GError **error)
{
	const struct stat *sa = &a->st, *sb = &b->st;
	*ret = true;
	if (sa->st_dev == sb->st_dev && sa->st_ino == sb->st_ino)
		return true;
	*ret = sa->st_mode == sb->st_mode && sa->st_uid == sb->st_uid && sa->st_gid == sb->st_gid &&
	       sa->st_rdev == sb->st_rdev;
	if (!*ret)
		return true;
	if (!same_capability(c, a, b, ret, error))
		return false;
	if (!*ret || S_ISDIR(sa->st_mode))
		return true;
	*ret = sa->st_size == sb->st_size && sa->st_mtim.tv_sec == sb->st_mtim.tv_sec;
	if (!*ret)
		return true;
	if (sa->st_mtim.tv_nsec != 0 || sb->st_mtim.tv_nsec != 0) {
		*ret = sa->st_mtim.tv_nsec == sb->st_mtim.tv_nsec;
		return true;
	}
	if (S_ISLNK(sa->st_mode))
		return same_link(c, a, b, ret, error);
	if (sa->st_size == 0 || !S_ISREG(sa->st_mode))
		return true;
	return same_content(c, a, b, ret, error);
}

/* ---- Writing changes: upstream's ChangeWriter ---- */

static bool write_entry(Compare *c, const char *path, ChangeKind kind, const Place *p, GError **error);

/* The directory of an entry is in the archive before the entry, so that it gets its owner and mode. */
static bool include_parents(Compare *c, const char *name, GError **error)
{
	const char *slash = strrchr(name, '/');
	if (slash == NULL)
		return true;
	g_autofree char *parent = g_strndup(name, (size_t)(slash - name));
	if (g_hash_table_contains(c->added_dirs, parent))
		return true;
	const char *up = strrchr(parent, '/');
	autofd dir = -1;
	if (up != NULL) {
		g_autofree char *above = g_strndup(parent, (size_t)(up - parent));
		dir = open_beneath(c->upperfd, above, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, error);
		if (dir < 0)
			return false;
	}
	Place p = {.dirfd = up != NULL ? dir : c->upperfd, .name = up != NULL ? up + 1 : parent};
	if (fstatat(p.dirfd, p.name, &p.st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_path(error, "stat", c->upper, parent);
	return write_entry(c, parent, CHANGE_MODIFY, &p, error);
}

static bool write_header(Compare *c, const TarHeader *h, GError **error)
{
	g_autofree char *name = g_strdup(h->name);
	if (h->type == TAR_TYPE_DIR)
		name[strlen(name) - 1] = '\0'; // the slash
	if (!include_parents(c, name, error))
		return false;
	if (h->type == TAR_TYPE_DIR)
		g_hash_table_add(c->added_dirs, g_steal_pointer(&name));
	return tar_writer_header(c->tar, h, error) || error_prefix(error, "failed to write file header");
}

static bool write_whiteout(Compare *c, const char *path, GError **error)
{
	const char *slash = strrchr(path, '/');
	int dir_len = slash != NULL ? (int)(slash - path + 1) : 0;
	g_autofree char *name = g_strdup_printf("%.*s" WHITEOUT_PREFIX "%s", dir_len, path, path + dir_len);
	TarHeader h = {.type = TAR_TYPE_REG, .name = name, .mtime = {0, 0, true}};
	if (!include_parents(c, name, error))
		return false;
	return tar_writer_header(c->tar, &h, error) || error_prefix(error, "failed to write whiteout header");
}

static bool write_content(Compare *c, const char *path, const Place *p, int64_t size, GError **error)
{
	autofd fd = open_seen(p);
	if (fd < 0) {
		fail_path(error, "open", c->upper, path);
		return error_prefix(error, "failed to open path: %s/%s", c->upper, path);
	}
	int64_t done = 0;
	while (true) {
		ssize_t n = RETRY_EINTR(read(fd, c->buf, READ_SIZE));
		if (n < 0)
			fail_path(error, "read", c->upper, path);
		if (n < 0 || (n > 0 && !tar_writer_data(c->tar, c->buf, (size_t)n, error)))
			return error_prefix(error, "failed to copy: %s/%s", c->upper, path);
		if (n == 0)
			break;
		done += n;
		if (!cancel_check(c->o.cancel, error))
			return false;
	}
	return done == size || error_set(error, CTRD_ERR_UNKNOWN, "short write copying file");
}

static char header_type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return TAR_TYPE_DIR;
	case S_IFLNK:
		return TAR_TYPE_SYMLINK;
	case S_IFCHR:
		return TAR_TYPE_CHAR;
	case S_IFBLK:
		return TAR_TYPE_BLOCK;
	case S_IFIFO:
		return TAR_TYPE_FIFO;
	default:
		return TAR_TYPE_REG;
	}
}

/* Whole seconds, down: what Go's Truncate does for times since year 1. */
static TarTime entry_time(Compare *c, struct timespec t)
{
	int64_t sec = t.tv_sec;
	if (c->o.has_source_date_epoch) {
		TimeNs e = c->o.source_date_epoch;
		int64_t e_sec = e / NS_PER_SEC - (e % NS_PER_SEC < 0), e_nsec = e - e_sec * NS_PER_SEC;
		if (sec > e_sec || (sec == e_sec && t.tv_nsec > e_nsec))
			sec = e_sec;
	}
	return (TarTime){sec, 0, true};
}

static void *inode_key(const struct stat *st)
{
	return GSIZE_TO_POINTER((gsize)st->st_ino);
}

/* The other names of an inode that turned out to be in the archive. */
static bool write_links(Compare *c, TarHeader *h, GPtrArray *names, GError **error)
{
	g_autofree char *source = g_strdup(h->name);
	h->type = TAR_TYPE_LINK;
	h->linkname = source;
	h->size = 0;
	for (unsigned i = 0; i < names->len; i++) {
		h->name = names->pdata[i];
		if (!write_header(c, h, error))
			return false;
	}
	return true;
}

/* Decides what a name of an inode with several names becomes. ret_skip: nothing is written now. ret_links:
 * names to write after this one. */
static void take_hard_link(Compare *c, ChangeKind kind, const Place *p, TarHeader *h, bool *ret_skip,
                           GPtrArray **ret_links)
{
	void *key = inode_key(&p->st);
	const char *source = g_hash_table_lookup(c->inode_src, key);
	if (source != NULL) {
		h->type = TAR_TYPE_LINK;
		h->linkname = source;
		h->size = 0;
		return;
	}
	GPtrArray *refs = g_hash_table_lookup(c->inode_refs, key);
	if (kind == CHANGE_UNMODIFIED) {
		if (refs == NULL) {
			refs = g_ptr_array_new_with_free_func(g_free);
			g_hash_table_insert(c->inode_refs, key, refs);
		}
		g_ptr_array_add(refs, g_strdup(h->name));
		*ret_skip = true;
		return;
	}
	g_hash_table_insert(c->inode_src, key, g_strdup(h->name));
	if (refs != NULL) {
		*ret_links = g_ptr_array_ref(refs);
		g_hash_table_remove(c->inode_refs, key);
	}
}

static bool write_entry(Compare *c, const char *path, ChangeKind kind, const Place *p, GError **error)
{
	mode_t mode = p->st.st_mode;
	if (S_ISSOCK(mode))
		return true;
	char target[PATH_MAX];
	g_autofree char *name = g_strconcat(path, S_ISDIR(mode) ? "/" : NULL, NULL);
	TarHeader h = {
	        .type = header_type(mode),
	        .name = name,
	        .linkname = "",
	        .size = S_ISREG(mode) ? p->st.st_size : 0,
	        .mode = mode & 07777,
	        .uid = p->st.st_uid,
	        .gid = p->st.st_gid,
	        .mtime = entry_time(c, p->st.st_mtim),
	};
	if (S_ISLNK(mode)) {
		ssize_t n = readlinkat(p->dirfd, p->name, target, sizeof target - 1);
		if (n < 0)
			return fail_path(error, "readlink", c->upper, path);
		target[n] = '\0';
		h.linkname = target;
	}
	if (S_ISCHR(mode) || S_ISBLK(mode)) {
		h.devmajor = major(p->st.st_rdev);
		h.devminor = minor(p->st.st_rdev);
	}
	g_autoptr(GPtrArray) links = NULL;
	bool skip = false;
	if (!S_ISDIR(mode) && p->st.st_nlink > 1)
		take_hard_link(c, kind, p, &h, &skip, &links);
	else
		skip = kind == CHANGE_UNMODIFIED;
	if (skip)
		return true;

	char capability[CAPABILITY_MAX];
	size_t len;
	if (!get_capability(p, capability, &len)) {
		fail_path(error, "lgetxattr", c->upper, path);
		return error_prefix(error, "failed to get capabilities xattr");
	}
	TarRecord record = {"SCHILY.xattr." CAPABILITY, capability, len};
	h.records = &record;
	h.n_records = len > 0 ? 1 : 0;
	if (!write_header(c, &h, error))
		return false;
	if (h.type == TAR_TYPE_REG && h.size > 0 && !write_content(c, path, p, h.size, error))
		return false;
	return links == NULL || write_links(c, &h, links, error);
}

/* ---- Walking ---- */

/* One level: the entries of both directories, sorted, and how far we are. Levels are kept apart from the C
 * stack, as a tree is as deep as a container makes it. */
typedef struct {
	int lower, upper; // -1: there is none
	GPtrArray *lower_names, *upper_names;
	unsigned lower_at, upper_at;
	size_t path_len; // of the directory
} Level;

static void level_clear(void *data)
{
	Level *l = data;
	fd_cleanup_(&l->lower);
	fd_cleanup_(&l->upper);
	g_clear_pointer(&l->lower_names, g_ptr_array_unref);
	g_clear_pointer(&l->upper_names, g_ptr_array_unref);
}

static GPtrArray *list_fd(int fd, GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/.", fd);
	return dir_list(path, 0, error);
}

static int open_dir(const Place *p)
{
	return openat(p->dirfd, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Goes into a directory of either side (NULL: not there). */
static bool push_level(Compare *c, GArray *levels, const Place *lower, const Place *upper, GError **error)
{
	Level l = {-1, -1, NULL, NULL, 0, 0, c->path->len};
	if (lower != NULL && (l.lower = open_dir(lower)) < 0)
		return fail_path(error, "open", c->lower, c->path->str);
	if (upper != NULL)
		l.upper = open_dir(upper);
	bool ok = upper == NULL || l.upper >= 0 || fail_path(error, "open", c->upper, c->path->str);
	if (ok && l.lower >= 0)
		ok = (l.lower_names = list_fd(l.lower, error)) != NULL;
	if (ok && l.upper >= 0)
		ok = (l.upper_names = list_fd(l.upper, error)) != NULL;
	if (!ok) {
		level_clear(&l);
		return false;
	}
	g_array_append_val(levels, l);
	return true;
}

static const char *level_peek(GPtrArray *names, unsigned at)
{
	return names != NULL && at < names->len ? names->pdata[at] : NULL;
}

/* The path of an entry of the level. */
static bool set_path(Compare *c, const Level *l, const char *name, GError **error)
{
	g_string_truncate(c->path, l->path_len);
	if (l->path_len > 0)
		g_string_append_c(c->path, '/');
	g_string_append(c->path, name);
	if (c->path->len >= PATH_MAX)
		return error_set_errno(error, ENAMETOOLONG, "lstat %s/%.64s...", c->upper, c->path->str);
	return true;
}

static bool stat_place(Compare *c, Place *p, const char *root, GError **error)
{
	return fstatat(p->dirfd, p->name, &p->st, AT_SYMLINK_NOFOLLOW) == 0 ||
	       fail_path(error, "lstat", root, c->path->str);
}

/* A name that both sides have. */
static bool compare_entry(Compare *c, GArray *levels, const Place *lower, const Place *upper, GError **error)
{
	bool same;
	if (!same_file(c, lower, upper, &same, error))
		return false;
	bool linked = !S_ISDIR(upper->st.st_mode) && upper->st.st_nlink > 1;
	if ((!same || linked) &&
	    !write_entry(c, c->path->str, same ? CHANGE_UNMODIFIED : CHANGE_MODIFY, upper, error))
		return false;
	if (!S_ISDIR(upper->st.st_mode))
		return true;
	return push_level(c, levels, S_ISDIR(lower->st.st_mode) ? lower : NULL, upper, error);
}

/* One name of the deepest level, in path order. */
static bool step(Compare *c, GArray *levels, GError **error)
{
	Level *l = &g_array_index(levels, Level, levels->len - 1);
	const char *in_lower = level_peek(l->lower_names, l->lower_at);
	const char *in_upper = level_peek(l->upper_names, l->upper_at);
	if (in_lower == NULL && in_upper == NULL) {
		g_array_set_size(levels, levels->len - 1);
		return true;
	}
	int order = in_lower == NULL ? 1 : in_upper == NULL ? -1 : strcmp(in_lower, in_upper);
	Place lower = {.dirfd = l->lower, .name = in_lower}, upper = {.dirfd = l->upper, .name = in_upper};
	if (order <= 0)
		l->lower_at++;
	if (order >= 0)
		l->upper_at++;
	if (!cancel_check(c->o.cancel, error) || !set_path(c, l, order < 0 ? in_lower : in_upper, error))
		return false;
	if (order < 0)
		return write_whiteout(c, c->path->str, error);
	if (!stat_place(c, &upper, c->upper, error))
		return false;
	if (order == 0)
		return stat_place(c, &lower, c->lower, error) &&
		       compare_entry(c, levels, &lower, &upper, error);
	return write_entry(c, c->path->str, CHANGE_ADD, &upper, error) &&
	       (!S_ISDIR(upper.st.st_mode) || push_level(c, levels, NULL, &upper, error));
}

static bool walk(Compare *c, GError **error)
{
	g_autoptr(GArray) levels = g_array_new(FALSE, FALSE, sizeof(Level));
	g_array_set_clear_func(levels, level_clear);
	autofd lowerfd = -1;
	if (c->lower != NULL && (lowerfd = open(c->lower, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		return error_set_errno(error, errno, "open %s", c->lower);
	Place lower = {.dirfd = lowerfd, .name = "."}, upper = {.dirfd = c->upperfd, .name = "."};
	if (!push_level(c, levels, c->lower != NULL ? &lower : NULL, &upper, error))
		return false;
	while (levels->len > 0)
		if (!step(c, levels, error))
			return false;
	return true;
}

/* ---- Walking an overlay's upper directory: continuity's DiffDirChanges ---- */

static bool is_opaque(Compare *c, const Place *p, bool *ret, GError **error)
{
	static const char *const keys[] = {"trusted.overlay.opaque", "user.overlay.opaque"};
	char path[64 + NAME_MAX], value[8];
	g_snprintf(path, sizeof path, "/proc/self/fd/%d/%s", p->dirfd, p->name);
	*ret = false;
	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		ssize_t n = lgetxattr(path, keys[i], value, sizeof value);
		if (n < 0 && (errno == ENODATA || errno == ENOTSUP))
			continue;
		if (n < 0 && errno != ERANGE) {
			fail_path(error, "lgetxattr", c->upper, c->path->str);
			return error_prefix(error, "failed to retrieve %s attr", keys[i]);
		}
		*ret = n == 1 && value[0] == 'y';
		return true;
	}
	return true;
}

/* The same path in the lower tree, followed as stat(2) does, but in the root. */
static bool stat_lower(Compare *c, int lowerfd, struct stat *ret, bool *ret_exists, GError **error)
{
	autofd fd = layer_open_in_root(lowerfd, c->path->str, O_PATH);
	*ret_exists = fd >= 0;
	if (fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		return fail_path(error, "stat", c->lower, c->path->str);
	return fd < 0 || fstat(fd, ret) == 0 || fail_path(error, "stat", c->lower, c->path->str);
}

/* Times that one side has cut to seconds are equal where the seconds are. */
static bool same_fs_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && (a.tv_nsec == b.tv_nsec || a.tv_nsec == 0 || b.tv_nsec == 0);
}

static bool overlay_entry(Compare *c, int lowerfd, const Place *p, GError **error)
{
	struct stat st;
	bool exists, opaque = false;
	if (!stat_lower(c, lowerfd, &st, &exists, error))
		return false;
	if (S_ISCHR(p->st.st_mode) && p->st.st_rdev == 0) {
		// a whiteout of something that the lower tree does not have says nothing
		return !exists || write_whiteout(c, c->path->str, error);
	}
	if (S_ISDIR(p->st.st_mode)) {
		if (!is_opaque(c, p, &opaque, error))
			return false;
		bool touched_only = exists && S_ISDIR(st.st_mode) && st.st_mode == p->st.st_mode &&
		                    st.st_size == p->st.st_size && same_fs_time(st.st_mtim, p->st.st_mtim);
		if (touched_only && !opaque)
			return true; // here because of what is in it
	}
	if (!write_entry(c, c->path->str, exists ? CHANGE_MODIFY : CHANGE_ADD, p, error))
		return false;
	if (!opaque)
		return true;
	g_autofree char *marker = g_strconcat(c->path->str, "/" WHITEOUT_PREFIX ".opq", NULL);
	return write_whiteout(c, marker, error);
}

static bool walk_overlay(Compare *c, GError **error)
{
	autofd lowerfd = open(c->lower, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (lowerfd < 0)
		return error_set_errno(error, errno, "open %s", c->lower);
	g_autoptr(GArray) levels = g_array_new(FALSE, FALSE, sizeof(Level));
	g_array_set_clear_func(levels, level_clear);
	Place root = {.dirfd = c->upperfd, .name = "."};
	if (!push_level(c, levels, NULL, &root, error))
		return false;
	while (levels->len > 0) {
		Level *l = &g_array_index(levels, Level, levels->len - 1);
		const char *name = level_peek(l->upper_names, l->upper_at++);
		if (name == NULL) {
			g_array_set_size(levels, levels->len - 1);
			continue;
		}
		Place p = {.dirfd = l->upper, .name = name};
		if (!cancel_check(c->o.cancel, error) || !set_path(c, l, name, error) ||
		    !stat_place(c, &p, c->upper, error) || !overlay_entry(c, lowerfd, &p, error))
			return false;
		if (S_ISDIR(p.st.st_mode) && !push_level(c, levels, NULL, &p, error))
			return false;
	}
	return true;
}

/* ---- Entry points ---- */

static void free_refs(void *refs)
{
	g_ptr_array_unref(refs);
}

static bool compare(const char *lower, const char *upper, bool overlay, const CompareOptions *options,
                    ByteSink sink, void *data, GError **error)
{
	autofd upperfd = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (upperfd < 0) {
		error_set_errno(error, errno, "open %s", upper);
		return error_prefix(error, "failed to create diff tar stream");
	}
	g_autoptr(TarWriter) tar = tar_writer_new(sink, data);
	g_autoptr(GString) path = g_string_new(NULL);
	g_autofree uint8_t *buf = g_malloc(READ_SIZE), *buf2 = g_malloc(READ_SIZE);
	g_autoptr(GHashTable) dirs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GHashTable) src = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_autoptr(GHashTable) refs = g_hash_table_new_full(NULL, NULL, NULL, free_refs);
	Compare c = {
	        .lower = lower,
	        .upper = upper,
	        .upperfd = upperfd,
	        .tar = tar,
	        .buf = buf,
	        .buf2 = buf2,
	        .path = path,
	        .added_dirs = dirs,
	        .inode_src = src,
	        .inode_refs = refs,
	};
	if (options != NULL)
		c.o = *options;
	if (!(overlay ? walk_overlay(&c, error) : walk(&c, error)))
		return error_prefix(error, "failed to create diff tar stream");
	return tar_writer_finish(tar, error) || error_prefix(error, "failed to close tar writer");
}

bool compare_write(const char *lower, const char *upper, const CompareOptions *options, ByteSink sink,
                   void *data, GError **error)
{
	return compare(lower, upper, false, options, sink, data, error);
}

bool compare_write_overlay(const char *lower, const char *upperdir, const CompareOptions *options,
                           ByteSink sink, void *data, GError **error)
{
	return compare(lower, upperdir, true, options, sink, data, error);
}

typedef struct {
	Digester *plain, *stored;
	Compressor *compressor;
	ByteSink sink;
	void *sink_data;
	int64_t size;
} Layering;

static bool take_plain(void *data, const void *buf, size_t len, GError **error)
{
	Layering *l = data;
	digester_update(l->plain, buf, len);
	return compressor_write(l->compressor, buf, len, error);
}

static bool take_stored(void *data, const void *buf, size_t len, GError **error)
{
	Layering *l = data;
	if (l->stored != NULL)
		digester_update(l->stored, buf, len);
	l->size += (int64_t)len;
	return l->sink(l->sink_data, buf, len, error);
}

bool compare_layer(const char *lower, const char *upper, bool overlay, Compression compression,
                   const CompareOptions *options, ByteSink sink, void *data, CompareResult *ret,
                   GError **error)
{
	g_autoptr(Digester) plain = digester_new("sha256");
	g_autoptr(Digester) stored = compression != COMPRESSION_NONE ? digester_new("sha256") : NULL;
	Layering l = {plain, stored, NULL, sink, data, 0};
	g_autoptr(Compressor) compressor = compressor_new(compression, take_stored, &l);
	l.compressor = compressor;
	if (!compare(lower, upper, overlay, options, take_plain, &l, error) ||
	    !compressor_finish(compressor, error))
		return false;
	ret->diff_id = digester_digest(plain);
	ret->digest = stored != NULL ? digester_digest(stored) : g_strdup(ret->diff_id);
	ret->size = l.size;
	ret->compression = compression;
	return true;
}
