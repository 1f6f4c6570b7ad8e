// SPDX-License-Identifier: Apache-2.0

#include "diff/apply-files.h"
#include "diff/apply-private.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define WHITEOUT_PREFIX ".wh."
#define WHITEOUT_META_PREFIX ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define XATTR_PREFIX "SCHILY.xattr."

#define WARNINGS_LOGGED 16
#define SMALL_FILES_ALONE 32 // a layer with fewer of them gets no thread for them
#define OPAQUE_DEPTH_MAX 1024
#define READ_SIZE (256 * 1024)

/* ---- Small things ---- */

bool running_in_userns(void)
{
	g_autofree char *map = NULL;
	size_t len;
	if (!file_read("/proc/self/uid_map", 4096, &map, &len, NULL))
		return false; // no user namespaces in this kernel
	unsigned long inside, outside, count;
	if (sscanf(map, "%lu %lu %lu", &inside, &outside, &count) != 3) // NOLINT(cert-err34-c): the kernel's
		return false;
	return !(inside == 0 && outside == 0 && count == 4294967295UL);
}

bool layer_overlay_paths(const char *const *options, char **ret_upper, char ***ret_lowers)
{
	const char *upper = NULL, *lower = NULL;
	for (; options != NULL && *options != NULL; options++) {
		if (g_str_has_prefix(*options, "upperdir="))
			upper = *options + strlen("upperdir=");
		else if (g_str_has_prefix(*options, "lowerdir="))
			lower = *options + strlen("lowerdir=");
	}
	if (str_empty(upper))
		return false;
	*ret_upper = g_strdup(upper);
	*ret_lowers = lower != NULL ? g_strsplit(lower, ":", -1) : g_new0(char *, 1);
	return true;
}

static void warn(LayerApply *a, const char *text)
{
	if (a->result.warnings++ < WARNINGS_LOGGED)
		log_warn(text, "root", a->root, NULL);
}

/* Go's bare errno */
static bool fail_errno(GError **error, int err)
{
	g_autofree char *text = errno_text(err);
	return error_set(error, CTRD_ERR_UNKNOWN, "%s", text);
}

static bool fail_path(GError **error, LayerApply *a, const char *op, const char *name)
{
	g_autofree char *path = layer_full_path(a, name);
	return error_set_errno(error, errno, "%s %s", op, path);
}

/* The archive's times, as far as the kernel can take them: upstream's boundTime. */
static struct timespec bound_time(TarTime t)
{
	const int64_t max_sec = INT64_MAX / 1000000000, max_nsec = INT64_MAX % 1000000000;
	if (t.sec < 0 || t.sec > max_sec || (t.sec == max_sec && t.nsec > max_nsec))
		return (struct timespec){0, 0};
	return (struct timespec){t.sec, t.nsec};
}

static bool time_before(TarTime a, TarTime b)
{
	if (!a.set)
		return true;
	return a.sec < b.sec || (a.sec == b.sec && a.nsec < b.nsec);
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* ---- Owner, xattrs, mode, times ---- */

/* -1 leaves the owner alone, as in chown(2); what does not fit is refused: cutting it could make it root. */
static bool owner_of(int64_t id, uid_t *ret)
{
	if (id < -1 || id > UINT32_MAX)
		return false;
	*ret = (uid_t)id;
	return true;
}

static bool fail_chown(LayerApply *a, const LayerEntry *e, int err, GError **error)
{
	g_autofree char *path = layer_full_path(a, e->name);
	error_set_errno(error, err,
	                "failed to Lchown %s for UID %" G_GINT64_FORMAT ", GID %" G_GINT64_FORMAT
	                ": lchown %s",
	                Q(path), e->h->uid, e->h->gid, path);
	if (err == EINVAL && a->userns && error != NULL && *error != NULL) {
		g_autofree char *text = g_steal_pointer(&(*error)->message);
		(*error)->message =
		        g_strdup_printf("%s (Hint: try increasing the number of subordinate IDs in "
		                        "/etc/subuid and /etc/subgid)",
		                        text);
	}
	return false;
}

/* fd: of the thing itself (name is then ""), or of its directory. */
static bool set_owner(LayerApply *a, const LayerEntry *e, int fd, const char *name, const struct stat *st,
                      bool *ret_changed, GError **error)
{
	uid_t uid;
	gid_t gid;
	*ret_changed = false;
	if (a->o.no_same_owner)
		return true;
	if (!owner_of(e->h->uid, &uid) || !owner_of(e->h->gid, &gid))
		return fail_chown(a, e, EINVAL, error);
	if ((uid == (uid_t)-1 || uid == st->st_uid) && (gid == (gid_t)-1 || gid == st->st_gid))
		return true;
	*ret_changed = true;
	int flags = AT_SYMLINK_NOFOLLOW | (*name == '\0' ? AT_EMPTY_PATH : 0);
	return fchownat(fd, name, uid, gid, flags) == 0 || fail_chown(a, e, errno, error);
}

static bool has_xattrs(const TarHeader *h)
{
	for (size_t i = 0; i < h->n_records; i++)
		if (g_str_has_prefix(h->records[i].key, XATTR_PREFIX))
			return true;
	return false;
}

/* path: through /proc/self/fd; its last component is not followed where nofollow. */
static bool set_xattrs(LayerApply *a, const LayerEntry *e, const char *path, bool nofollow, mode_t type,
                       GError **error)
{
	for (size_t i = 0; i < e->h->n_records; i++) {
		const TarRecord *r = &e->h->records[i];
		if (!g_str_has_prefix(r->key, XATTR_PREFIX) || tar_header_record(e->h, r->key) != r)
			continue;
		const char *key = r->key + strlen(XATTR_PREFIX);
		int err = 0;
		if (g_str_has_prefix(key, "trusted."))
			err = ENOTSUP; // an archive has no say in those
		else if ((nofollow ? lsetxattr : setxattr)(path, key, r->value, r->len, 0) < 0)
			err = errno;
		if (err == 0)
			continue;
		bool user_on_special =
		        err == EPERM && g_str_has_prefix(key, "user.") && !S_ISREG(type) && !S_ISDIR(type);
		if (err == ENOTSUP || user_on_special) {
			g_autofree char *text = g_strdup_printf("ignored xattr %s in archive", key);
			warn(a, text);
			continue;
		}
		g_autofree char *full = layer_full_path(a, e->name);
		return error_set_errno(error, err, "failed to setxattr %s for key %s", Q(full), Q(key));
	}
	return true;
}

/* A thing that has a descriptor: what differs from the header is changed. New files mostly have the right
 * owner and mode already, and looking costs less than setting. */
static bool finish_fd(LayerApply *a, const LayerEntry *e, int fd, bool is_dir, ino_t *ret_ino, GError **error)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return fail_path(error, a, "lstat", e->name);
	if (ret_ino != NULL)
		*ret_ino = st.st_ino;
	bool changed;
	if (!set_owner(a, e, fd, "", &st, &changed, error))
		return false;
	if (has_xattrs(e->h)) {
		g_autofree char *path = layer_fd_path(fd, NULL);
		if (!set_xattrs(a, e, path, false, st.st_mode, error))
			return false;
		changed = true; // an ACL may have changed the mode
	}
	if (changed || (st.st_mode & 07777) != e->mode) {
		// chown clears set-id bits, so the mode comes after it
		int r = is_dir ? fchmodat(e->dir.fd, e->base, e->mode, AT_SYMLINK_NOFOLLOW)
		               : fchmod(fd, e->mode);
		if (r < 0)
			return fail_path(error, a, "chmod", e->name);
	}
	if (is_dir)
		return layer_times_add(a, e->name, e->times, error); // what comes into it would change them
	return futimens(fd, e->times) == 0 || fail_path(error, a, "failed call to UtimesNanoAt for", e->name);
}

/* A thing without a descriptor: link, device, fifo. */
static bool finish_name(LayerApply *a, const LayerEntry *e, GError **error)
{
	struct stat st;
	if (fstatat(e->dir.fd, e->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_path(error, a, "lstat", e->name);
	bool changed;
	if (!set_owner(a, e, e->dir.fd, e->base, &st, &changed, error))
		return false;
	if (has_xattrs(e->h)) {
		g_autofree char *path = layer_fd_path(e->dir.fd, e->base);
		if (!set_xattrs(a, e, path, true, st.st_mode, error))
			return false;
		changed = true;
	}
	if (!S_ISLNK(st.st_mode) && (changed || (st.st_mode & 07777) != e->mode) &&
	    fchmodat(e->dir.fd, e->base, e->mode, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_path(error, a, "chmod", e->name);
	if (same_time(st.st_atim, e->times[0]) && same_time(st.st_mtim, e->times[1]))
		return true; // a hard link: its first name had the same header
	return utimensat(e->dir.fd, e->base, e->times, AT_SYMLINK_NOFOLLOW) == 0 ||
	       fail_path(error, a, "failed call to UtimesNanoAt for", e->name);
}

/* ---- Whiteouts ---- */

/* An opaque directory: what lower layers put there goes, what this one put there stays. */
static bool remove_others(LayerApply *a, LayerDir dir, const char *name, unsigned depth, GError **error)
{
	if (depth > OPAQUE_DEPTH_MAX)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "directory %s/%s is deeper than the limit of %d levels", a->root, name,
		                 OPAQUE_DEPTH_MAX);
	autofd fd = openat(dir.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail_path(error, a, "open", name);
	g_autofree char *path = layer_fd_path(fd, ".");
	g_autoptr(GPtrArray) names = dir_list(path, 0, error);
	if (names == NULL)
		return false;
	for (unsigned i = 0; i < names->len; i++) {
		const char *child = names->pdata[i];
		if (!layer_unpacked_has(a, dir.ino, child)) {
			if (!tree_remove_at(fd, child, error))
				return false;
			continue;
		}
		struct stat st;
		autofd sub = openat(fd, child, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0 || fstat(sub, &st) < 0)
			continue; // no directory: nothing in it
		if (!remove_others(a, (LayerDir){sub, st.st_ino}, name, depth + 1, error))
			return false;
	}
	return true;
}

static bool make_opaque(LayerApply *a, const LayerEntry *e, GError **error)
{
	if (a->o.whiteout == LAYER_WHITEOUT_REMOVE) {
		if (a->unpacked == NULL)
			return true; // the root was empty: there is nothing of lower layers in it
		bool ok = remove_others(a, e->dir, e->name, 0, error);
		layer_dirs_forget(a);
		return ok;
	}
	const char *key =
	        a->o.whiteout == LAYER_WHITEOUT_OVERLAY ? "trusted.overlay.opaque" : "user.overlay.opaque";
	g_autofree char *path = layer_fd_path(e->dir.fd, NULL);
	if (setxattr(path, key, "y", 1, 0) < 0)
		return fail_errno(error, errno);
	return true;
}

static bool is_overlay_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

/* A whiteout of one name. */
static bool remove_lower(LayerApply *a, const LayerEntry *e, const char *victim, GError **error)
{
	if (a->o.whiteout == LAYER_WHITEOUT_REMOVE) {
		bool ok = tree_remove_at(e->dir.fd, victim, error);
		layer_dirs_forget(a);
		return ok;
	}
	uid_t uid;
	gid_t gid;
	if (!owner_of(e->h->uid, &uid) || !owner_of(e->h->gid, &gid))
		errno = EINVAL;
	else if (mknodat(e->dir.fd, victim, S_IFCHR, 0) == 0 &&
	         fchownat(e->dir.fd, victim, uid, gid, AT_SYMLINK_NOFOLLOW) == 0)
		return true;
	int err = errno;
	struct stat st;
	if (err == EEXIST && fstatat(e->dir.fd, victim, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    is_overlay_whiteout(&st))
		return true; // said twice
	return fail_errno(error, err);
}

/* ret_done: the entry was a whiteout. */
static bool take_whiteout(LayerApply *a, const LayerEntry *e, bool *ret_done, GError **error)
{
	*ret_done = g_str_has_prefix(e->base, WHITEOUT_PREFIX);
	if (!*ret_done)
		return true;
	bool ok;
	const char *victim = e->base + strlen(WHITEOUT_PREFIX);
	if (strcmp(e->base, WHITEOUT_OPAQUE) == 0)
		ok = make_opaque(a, e, error);
	else if (*victim == '\0' || strcmp(victim, ".") == 0 || strcmp(victim, "..") == 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid whiteout name: %s: invalid archive",
		                 e->base);
	else if (g_str_has_prefix(e->base, WHITEOUT_META_PREFIX))
		return true; // bookkeeping of aufs
	else
		ok = remove_lower(a, e, victim, error);
	return ok || error_prefix(error, "failed to convert whiteout file %s", Q(e->name));
}

/* ---- Making things ---- */

/* Something is in the way. It goes, unless both are directories (*ret_merge). */
static bool clear_way(LayerApply *a, const LayerEntry *e, bool *ret_merge, bool *ret_whiteout, GError **error)
{
	struct stat st;
	*ret_merge = *ret_whiteout = false;
	if (fstatat(e->dir.fd, e->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT || fail_path(error, a, "lstat", e->name);
	if (S_ISDIR(st.st_mode) && e->h->type == TAR_TYPE_DIR) {
		*ret_merge = true;
		return true;
	}
	*ret_whiteout = is_overlay_whiteout(&st);
	if (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode))
		layer_dirs_forget(a); // e->dir was the cache's: it is looked up again
	LayerDir dir;
	const char *slash = strrchr(e->name, '/');
	size_t len = slash != NULL ? (size_t)(slash - e->name) : 0;
	return layer_parent(a, e->name, len, &dir, error) && tree_remove_at(dir.fd, e->base, error);
}

/* Tries to make the thing; 0 or -1 with errno. */
static int try_make(LayerApply *a, const LayerEntry *e)
{
	const TarHeader *h = e->h;
	dev_t dev = makedev((unsigned)h->devmajor, (unsigned)h->devminor);
	switch (h->type) {
	case TAR_TYPE_DIR:
		return mkdirat(e->dir.fd, e->base, e->mode & 0777);
	case TAR_TYPE_SYMLINK:
		return symlinkat(h->linkname, e->dir.fd, e->base);
	case TAR_TYPE_CHAR:
		return mknodat(e->dir.fd, e->base, e->mode | S_IFCHR, dev);
	case TAR_TYPE_BLOCK:
		return mknodat(e->dir.fd, e->base, e->mode | S_IFBLK, dev);
	case TAR_TYPE_FIFO:
		return mknodat(e->dir.fd, e->base, e->mode | S_IFIFO, 0);
	default: // set-id bits only when the content is there
		a->file_fd = openat(e->dir.fd, e->base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		                    e->mode & 0777);
		return a->file_fd < 0 ? -1 : 0;
	}
}

/* A hard link's target resolves as every name does, its last component is not followed. 1: done, 0: errno
 * says why not, -1: *error is set. */
static int try_link(LayerApply *a, const LayerEntry *e, GError **error)
{
	const char *target = e->h->linkname, *slash = strrchr(target, '/');
	const char *base = slash != NULL ? slash + 1 : target;
	if (strcmp(base, "..") == 0)
		base += 2; // as if there were a slash behind it
	LayerDir dir;
	int err;
	if (a->files != NULL && !layer_files_drain(a->files, error)) // its attributes come after its target's
		return -1;
	if (!layer_parent_lookup(a, target, (size_t)(base - target), &dir, &err, error))
		return -1;
	if (err == 0 && (*base == '\0' || strcmp(base, ".") == 0))
		err = EPERM; // a directory
	if (err == 0 && linkat(dir.fd, base, e->dir.fd, e->base, 0) < 0)
		err = errno;
	errno = err;
	return err == 0;
}

static int try_any(LayerApply *a, const LayerEntry *e, GError **error)
{
	return e->h->type == TAR_TYPE_LINK ? try_link(a, e, error) : try_make(a, e) == 0;
}

static bool fail_make(LayerApply *a, const LayerEntry *e, GError **error)
{
	g_autofree char *path = layer_full_path(a, e->name);
	const char *op = "open";
	switch (e->h->type) {
	case TAR_TYPE_DIR:
		op = "mkdir";
		break;
	case TAR_TYPE_SYMLINK:
		return error_set_errno(error, errno, "symlink %s %s", e->h->linkname, path);
	case TAR_TYPE_LINK: {
		g_autofree char *target = layer_full_path(a, e->h->linkname);
		return error_set_errno(error, errno, "link %s %s", target, path);
	}
	case TAR_TYPE_CHAR:
	case TAR_TYPE_BLOCK:
	case TAR_TYPE_FIFO:
		return fail_errno(error, errno);
	default:
		break;
	}
	return error_set_errno(error, errno, "%s %s", op, path);
}

static bool find_dir(LayerApply *a, LayerEntry *e, GError **error)
{
	const char *slash = strrchr(e->name, '/');
	return layer_parent(a, e->name, slash != NULL ? (size_t)(slash - e->name) : 0, &e->dir, error);
}

static bool make_thing(LayerApply *a, LayerEntry *e, GError **error)
{
	int done = try_any(a, e, error);
	if (done != 0)
		return done > 0;
	if (errno != EEXIST)
		return fail_make(a, e, error);
	bool merge, was_whiteout;
	if (!clear_way(a, e, &merge, &was_whiteout, error))
		return false;
	if (merge)
		return true;
	if (!find_dir(a, e, error))
		return false;
	done = try_any(a, e, error);
	if (done <= 0)
		return done == 0 && fail_make(a, e, error);
	if (was_whiteout && e->h->type == TAR_TYPE_DIR && a->o.whiteout != LAYER_WHITEOUT_REMOVE) {
		// what was whited out must not shine through the directory that takes its place
		LayerEntry in = *e;
		autofd fd = openat(e->dir.fd, e->base, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return fail_path(error, a, "open", e->name);
		in.dir.fd = fd;
		return make_opaque(a, &in, error);
	}
	return true;
}

static bool finish_dir(LayerApply *a, const LayerEntry *e, GError **error)
{
	autofd fd = openat(e->dir.fd, e->base, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return fail_path(error, a, "open", e->name);
	ino_t ino;
	if (!finish_fd(a, e, fd, true, &ino, error))
		return false;
	layer_dir_remember(a, e->name, fd_steal(&fd), ino);
	a->result.dirs++;
	return true;
}

bool layer_file_write(LayerApply *a, const LayerEntry *e, int fd, const void *data, size_t len,
                      GError **error)
{
	const uint8_t *at = data;
	while (len > 0) {
		ssize_t n = RETRY_EINTR(write(fd, at, len));
		if (n < 0)
			return fail_path(error, a, "write", e->name);
		at += n;
		len -= (size_t)n;
	}
	return true;
}

bool layer_file_finish(LayerApply *a, const LayerEntry *e, int file_fd, GError **error)
{
	autofd fd = file_fd;
	if (!finish_fd(a, e, fd, false, NULL, error))
		return false;
	if (close(fd_steal(&fd)) < 0)
		return fail_path(error, a, "close", e->name);
	return true;
}

static bool finish_file(LayerApply *a, const LayerEntry *e, GError **error)
{
	if (e->h->sparse && ftruncate(a->file_fd, e->h->size) < 0) // a hole at the end
		return fail_path(error, a, "truncate", e->name);
	a->result.files++;
	return layer_file_finish(a, e, fd_steal(&a->file_fd), error);
}

/* Whether another thread fills the file: it is small, its content is here, and nothing special is about it.
 */
static bool hands_over(LayerApply *a, const LayerEntry *e, const TarEventData *ev)
{
	if (a->alone || !ev->last || ev->offset != 0 || ev->len > LAYER_FILE_SMALL || e->h->sparse ||
	    has_xattrs(e->h))
		return false;
	if (a->files == NULL && ++a->small_files > SMALL_FILES_ALONE) {
		a->files = layer_files_new(a);
		a->alone = a->files == NULL;
	}
	return a->files != NULL;
}

static bool hand_over(LayerApply *a, const LayerEntry *e, const void *data, size_t len, GError **error)
{
	a->result.files++;
	return layer_files_put(a->files, e, fd_steal(&a->file_fd), data, len, error);
}

/* ---- Entries ---- */

static bool check_limits(LayerApply *a, const TarHeader *h, GError **error)
{
	if (a->o.max_entries > 0 && a->result.entries > a->o.max_entries)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "layer has more entries than the limit of %" G_GINT64_FORMAT,
		                 a->o.max_entries);
	return cancel_check(a->o.cancel, error);
}

static bool known_type(char type)
{
	return (type >= TAR_TYPE_REG && type <= TAR_TYPE_FIFO) || type == TAR_TYPE_GNU_SPARSE;
}

/* A header: everything is done here, but the content of files. ret_file: the entry's content is to be
 * written.
 */
static bool begin_entry(LayerApply *a, const TarHeader *h, LayerEntry *e, char **ret_name, bool *ret_file,
                        GError **error)
{
	*ret_file = false;
	a->result.entries++;
	if (h->size > 0 && a->result.size < INT64_MAX - h->size)
		a->result.size += h->size;
	if (!check_limits(a, h, error))
		return false;
	if (h->type == TAR_TYPE_GLOBAL)
		return true;
	char *name = *ret_name = path_clean(h->name);
	if (strlen(name) >= PATH_MAX)
		return error_set_errno(error, ENAMETOOLONG, "lstat %s/%.64s...", a->root, name);
	GError *err = NULL;
	if (a->o.filter != NULL && !a->o.filter(a->o.filter_data, h, name, &err)) {
		if (err != NULL)
			g_propagate_error(error, err);
		return err == NULL;
	}
	if (a->userns && (h->type == TAR_TYPE_CHAR || h->type == TAR_TYPE_BLOCK)) {
		g_autofree char *text =
		        g_strdup_printf("file %s ignored: archive may not be supported on system", Q(name));
		warn(a, text);
		return true;
	}
	const char *slash = strrchr(name, '/');
	const char *base = slash != NULL ? slash + 1 : name;
	if (*base == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return true; // the root itself
	*e = (LayerEntry){.h = h, .name = name, .base = base, .mode = (mode_t)h->mode & 07777};
	e->times[1] = bound_time(h->mtime);
	e->times[0] = time_before(h->atime, h->mtime) ? e->times[1] : bound_time(h->atime);
	bool whiteout;
	if (!find_dir(a, e, error) || !take_whiteout(a, e, &whiteout, error))
		return false;
	if (whiteout)
		return true;
	if (!known_type(h->type))
		return error_set(error, CTRD_ERR_UNKNOWN, "unhandled tar header type %d", h->type);
	if (!make_thing(a, e, error))
		return false;
	layer_unpacked_add(a, e->dir.ino, e->base);
	*ret_file = h->type == TAR_TYPE_REG || h->type == TAR_TYPE_GNU_SPARSE;
	if (*ret_file)
		return true;
	return h->type == TAR_TYPE_DIR ? finish_dir(a, e, error) : finish_name(a, e, error);
}

static bool write_content(LayerApply *a, const LayerEntry *e, const TarEventData *ev, GError **error)
{
	a->written += (int64_t)ev->len;
	if (a->o.max_size > 0 && a->written > a->o.max_size)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "content of the layer is over the limit of %" G_GINT64_FORMAT " bytes",
		                 a->o.max_size);
	if (hands_over(a, e, ev))
		return hand_over(a, e, ev->data, ev->len, error);
	if (e->h->sparse && lseek(a->file_fd, ev->offset, SEEK_SET) < 0)
		return fail_path(error, a, "seek", e->name);
	return layer_file_write(a, e, a->file_fd, ev->data, ev->len, error);
}

static bool finish_empty(LayerApply *a, const TarEventData *ev, GError **error)
{
	return hands_over(a, &a->entry, ev) ? hand_over(a, &a->entry, NULL, 0, error)
	                                    : finish_file(a, &a->entry, error);
}

/* All events that the bytes give. */
static bool run(LayerApply *a, const uint8_t *data, size_t len, bool eof, GError **error)
{
	while (!a->ended) {
		TarEventData ev;
		switch (tar_parser_next(a->parser, &data, &len, eof, &ev, error)) {
		case TAR_MORE:
			return true;
		case TAR_ERROR:
			return false;
		case TAR_END:
			a->ended = true;
			break;
		case TAR_ENTRY:
			g_clear_pointer(&a->entry_name, g_free);
			if (!begin_entry(a, ev.header, &a->entry, &a->entry_name, &a->writing, error))
				return false;
			if (a->writing && ev.last && !finish_empty(a, &ev, error))
				return false;
			break;
		case TAR_DATA:
			if (!a->writing)
				break;
			if (!write_content(a, &a->entry, &ev, error) || !cancel_check(a->o.cancel, error))
				return false;
			if (ev.last && a->file_fd >= 0 && !finish_file(a, &a->entry, error))
				return false;
			break;
		}
	}
	return true;
}

/* ---- The stream ---- */

static void clear_times(void *t)
{
	g_free(((DirTimes *)t)->name);
}

static bool open_parents(LayerApply *a, const char *const *parents, GError **error)
{
	for (; parents != NULL && parents[a->n_parents] != NULL; a->n_parents++) {
		a->parents = g_renew(int, a->parents, a->n_parents + 1);
		int fd = open(parents[a->n_parents], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return error_set_errno(error, errno, "lstat %s", parents[a->n_parents]);
		a->parents[a->n_parents] = fd;
	}
	a->o.parents = (const char *const *)g_strdupv((char **)parents);
	return true;
}

static bool open_root(LayerApply *a, GError **error)
{
	struct stat st;
	a->rootfd = open(a->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->rootfd < 0 || fstat(a->rootfd, &st) < 0)
		return error_set_errno(error, errno, "open %s", a->root);
	a->root_ino = st.st_ino;
	if (a->o.whiteout != LAYER_WHITEOUT_REMOVE)
		return true;
	// opaque markers need to know what is older; in an empty root nothing is
	g_autoptr(GPtrArray) names = dir_list(a->root, 0, error);
	if (names == NULL)
		return false;
	if (names->len > 0)
		a->unpacked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return true;
}

LayerApply *layer_apply_new(const char *root, const LayerApplyOptions *options, GError **error)
{
	g_autoptr(LayerApply) a = g_new0(LayerApply, 1);
	if (options != NULL)
		a->o = *options;
	const char *const *parents = a->o.parents;
	a->o.parents = NULL;
	a->root = path_clean(root);
	a->rootfd = a->file_fd = -1;
	for (unsigned i = 0; i < LAYER_DIR_CACHE; i++)
		a->dirs[i].fd = -1;
	a->parser = tar_parser_new();
	a->times = g_array_new(FALSE, FALSE, sizeof(DirTimes));
	g_array_set_clear_func(a->times, clear_times);
	a->userns = running_in_userns();
	if (!open_root(a, error) || !open_parents(a, parents, error))
		return NULL;
	return g_steal_pointer(&a);
}

void layer_apply_free(LayerApply *a)
{
	if (a == NULL)
		return;
	layer_files_free(a->files);
	layer_dirs_forget(a);
	if (a->file_fd >= 0)
		close(a->file_fd);
	if (a->rootfd >= 0)
		close(a->rootfd);
	for (unsigned i = 0; i < a->n_parents; i++)
		close(a->parents[i]);
	g_free(a->parents);
	g_strfreev((char **)a->o.parents);
	g_clear_pointer(&a->unpacked, g_hash_table_unref);
	g_array_unref(a->times);
	tar_parser_free(a->parser);
	g_free(a->entry_name);
	g_free(a->root);
	g_free(a);
}

static bool keep_failed(LayerApply *a, bool ok)
{
	a->failed = !ok;
	return ok;
}

bool layer_apply_write(LayerApply *a, const void *data, size_t len, GError **error)
{
	if (a->failed)
		return error_set(error, CTRD_ERR_UNKNOWN, "applying the layer failed before");
	bool ok = run(a, data, len, false, error);
	if (a->files != NULL)
		layer_files_kick(a->files);
	return keep_failed(a, ok);
}

bool layer_apply_finish(LayerApply *a, LayerApplyResult *ret, GError **error)
{
	if (a->failed)
		return error_set(error, CTRD_ERR_UNKNOWN, "applying the layer failed before");
	bool ok = run(a, (const uint8_t *)"", 0, true, error) &&
	          (a->files == NULL || layer_files_drain(a->files, error)) && layer_times_apply(a, error);
	if (a->result.warnings > WARNINGS_LOGGED) {
		g_autofree char *n = g_strdup_printf("%u", a->result.warnings);
		log_warn("more was left out of the layer", "root", a->root, "warnings", n, NULL);
	}
	if (ok && ret != NULL)
		*ret = a->result;
	return keep_failed(a, ok);
}

bool layer_apply_source(const char *root, const LayerApplyOptions *options, ByteSource source, void *data,
                        LayerApplyResult *ret, GError **error)
{
	g_autoptr(LayerApply) a = layer_apply_new(root, options, error);
	if (a == NULL)
		return false;
	g_autofree uint8_t *buf = g_malloc(READ_SIZE);
	while (true) {
		ssize_t n = source(data, buf, READ_SIZE, error);
		if (n < 0)
			return false;
		if (n == 0)
			return layer_apply_finish(a, ret, error);
		if (!layer_apply_write(a, buf, (size_t)n, error))
			return false;
	}
}
