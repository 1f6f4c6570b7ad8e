// SPDX-License-Identifier: Apache-2.0

#include "store/snapshots-dir.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const prefixes[] = {"", "new-", "rm-"};

typedef struct {
	char s[32];
} Name;

static const char *name_of(Name *n, const char *prefix, int64_t id)
{
	snprintf(n->s, sizeof n->s, "%s%" PRId64, prefix, id);
	return n->s;
}

bool snapshot_dir_init(SnapshotDriver *driver, const char *root, GError **error)
{
	g_autofree char *dir = path_join(root, "snapshots");
	g_autofree char *foreign = path_join(root, "metadata.db");
	if (!dir_make_all(root, 0700, error) || !dir_make_all(dir, 0700, error))
		return false;
	driver->root = g_strdup(root);
	driver->first_id = 1;
	if (path_exists(foreign)) {
		log_warn("snapshots of upstream's containerd are left alone", "path", root, NULL);
		driver->first_id = SNAPSHOT_FIRST_BESIDE_UPSTREAM;
	}
	return true;
}

char *snapshot_dir_path(const SnapshotDriver *driver, int64_t id, const char *name)
{
	return g_strdup_printf("%s/snapshots/%" PRId64 "%s%s", driver->root, id, name != NULL ? "/" : "",
	                       str_or(name, ""));
}

static int open_snapshots(const SnapshotDriver *driver, GError **error)
{
	g_autofree char *path = path_join(driver->root, "snapshots");
	int fd = RETRY_EINTR(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0)
		error_set_errno(error, errno, "open %s", path);
	return fd;
}

bool snapshot_dir_begin(const SnapshotDriver *driver, int64_t id, SnapshotDirNew *ret, GError **error)
{
	Name n;
	*ret = (SnapshotDirNew){.driver = driver, .id = id, .parent = -1, .fd = -1};
	autofd parent = open_snapshots(driver, error);
	if (parent < 0)
		return false;
	name_of(&n, "new-", id);
	if (!tree_remove_at(parent, n.s, error))
		return false;
	if (mkdirat(parent, n.s, 0700) != 0)
		return error_set_errno(error, errno, "mkdir %s/snapshots/%s", driver->root, n.s);
	ret->parent = fd_steal(&parent);
	ret->fd = openat(ret->parent, n.s, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (ret->fd < 0)
		return error_set_errno(error, errno, "open %s/snapshots/%s", driver->root, n.s);
	return true;
}

bool snapshot_dir_commit(SnapshotDirNew *d, GError **error)
{
	Name from, to;
	name_of(&from, "new-", d->id);
	name_of(&to, "", d->id);
	// the number is new: nothing can be in its place
	if (renameat2(d->parent, from.s, d->parent, to.s, RENAME_NOREPLACE) != 0)
		return error_set_errno(error, errno, "rename %s/snapshots/%s to %s", d->driver->root, from.s,
		                       to.s);
	if (fsync(d->parent) != 0) {
		int e = errno;
		renameat(d->parent, to.s, d->parent, from.s);
		return error_set_errno(error, e, "fsync %s/snapshots", d->driver->root);
	}
	fd_close(&d->fd);
	fd_close(&d->parent);
	return true;
}

void snapshot_dir_rollback(SnapshotDirNew *d)
{
	fd_close(&d->fd);
	if (d->parent < 0)
		return;
	Name n;
	g_autoptr(GError) error = NULL;
	if (!tree_remove_at(d->parent, name_of(&n, "new-", d->id), &error))
		log_error_take(LOG_WARN, g_steal_pointer(&error), "failed to cleanup temp snapshot directory",
		               "path", n.s, NULL);
	fd_close(&d->parent);
}

bool snapshot_dir_remove(SnapshotDriver *driver, int64_t id, GError **error)
{
	Name n, rm;
	autofd parent = open_snapshots(driver, error);
	if (parent < 0)
		return false;
	name_of(&n, "", id);
	name_of(&rm, "rm-", id);
	// one half done before, and the unfinished making
	Name unfinished;
	if (!tree_remove_at(parent, rm.s, error) ||
	    !tree_remove_at(parent, name_of(&unfinished, "new-", id), error))
		return false;
	if (renameat(parent, n.s, parent, rm.s) != 0)
		return errno == ENOENT ||
		       error_set_errno(error, errno, "rename %s/snapshots/%s to %s", driver->root, n.s, rm.s);
	return tree_remove_at(parent, rm.s, error);
}

/* The number of "12", "new-12" or "rm-12"; 0: something else. */
static int64_t id_of(const char *name)
{
	for (size_t i = G_N_ELEMENTS(prefixes); i-- > 0;) {
		int64_t id;
		size_t n = strlen(prefixes[i]);
		if (strncmp(name, prefixes[i], n) != 0)
			continue;
		const char *digits = name + n;
		// numbers near the end of the range are nobody's
		return g_ascii_isdigit(*digits) && *digits != '0' && parse_i64(digits, &id) &&
		                       id < INT64_MAX / 2
		               ? id
		               : 0;
	}
	return 0;
}

GArray *snapshot_dir_list(SnapshotDriver *driver, GError **error)
{
	g_autofree char *path = path_join(driver->root, "snapshots");
	g_autoptr(GPtrArray) names = dir_list(path, 0, error);
	if (names == NULL)
		return NULL;
	GArray *ids = g_array_new(FALSE, FALSE, sizeof(int64_t));
	for (guint i = 0; i < names->len; i++) {
		int64_t id = id_of(names->pdata[i]);
		if (id >= driver->first_id)
			g_array_append_val(ids, id);
	}
	return ids;
}

bool snapshot_dir_sync(SnapshotDriver *driver, const SnapshotNode *node, GError **error)
{
	(void)node;
	autofd fd = open_snapshots(driver, error);
	if (fd < 0)
		return false;
	return syncfs(fd) == 0 || error_set_errno(error, errno, "syncfs %s", driver->root);
}
