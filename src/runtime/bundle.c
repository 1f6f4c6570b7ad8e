// SPDX-License-Identifier: Apache-2.0
#include "runtime/bundle.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/identifiers.h"
#include "base/json.h"
#include "base/log.h"
#include "mount/mount.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	MAX_SPEC = 16 * 1024 * 1024 // bytes of config.json, the bound of a message
};

Bundle *bundle_at(const char *state, const char *ns, const char *id)
{
	Bundle *b = g_new0(Bundle, 1);
	b->ns = g_strdup(ns);
	b->id = g_strdup(id);
	b->path = g_strdup_printf("%s/%s/%s", state, ns, id);
	return b;
}

void bundle_free(Bundle *b)
{
	if (b == NULL)
		return;
	g_free(b->ns);
	g_free(b->id);
	g_free(b->path);
	g_free(b);
}

char *bundle_file(const Bundle *b, const char *name)
{
	return path_join(b->path, name);
}

/* The host's gid of the container's root, 0 where there is no mapping. */
static bool remapped_gid(const char *data, size_t len, int64_t *ret, GError **error)
{
	*ret = 0;
	g_autoptr(JsonObject) spec = json_parse(data, len, MAX_SPEC, error);
	if (spec == NULL)
		return false;
	JsonObject *maps = json_get_array(json_get_object(spec, "linux"), "gidMappings");
	for (size_t i = 0; maps != NULL && i < json_object_array_length(maps); i++) {
		JsonObject *m = json_object_array_get_idx(maps, i);
		int64_t container = 0, host = 0;
		json_get_int64(m, "containerID", &container);
		json_get_int64(m, "hostID", &host);
		if (container == 0) {
			*ret = host;
			break;
		}
	}
	return true;
}

static bool write_spec(const Bundle *b, const Any *spec, GError **error)
{
	if (spec == NULL || spec->value == NULL)
		return true;
	gsize len = 0;
	const char *data = g_bytes_get_data(spec->value, &len);
	if (len == 0)
		return true;
	int64_t gid = 0;
	if (g_strrstr(str_or(spec->type_url, ""), "runtime-spec") != NULL &&
	    !remapped_gid(data, len, &gid, error))
		return false;
	if (gid > 0 && (chown(b->path, (uid_t)-1, (gid_t)gid) != 0 || chmod(b->path, 0710) != 0))
		return error_set_errno(error, errno, "chown %s", b->path);
	g_autofree char *path = bundle_file(b, "config.json");
	return file_write_atomic(path, data, len, 0644, false, error) ||
	       error_prefix(error, "failed to write bundle spec");
}

static bool fill(const Bundle *b, const char *work, const Any *spec, GError **error)
{
	g_autofree char *rootfs = bundle_file(b, "rootfs");
	g_autofree char *link = bundle_file(b, "work");
	g_autofree char *work_parent = g_path_get_dirname(work);
	if (!dir_ensure(rootfs, 0711, error) || !dir_make_all(work_parent, 0711, error) ||
	    !tree_remove(work, error) || !dir_ensure(work, 0711, error))
		return false;
	if (symlink(work, link) != 0)
		return error_set_errno(error, errno, "symlink %s %s", work, link);
	return write_spec(b, spec, error);
}

Bundle *bundle_new(const char *root, const char *state, const char *ns, const char *id, const Any *spec,
                   GError **error)
{
	if (!identifier_validate(id, error)) {
		error_prefix(error, "invalid task id %s", id);
		return NULL;
	}
	g_autoptr(Bundle) b = bundle_at(state, ns, id);
	g_autofree char *parent = g_path_get_dirname(b->path);
	g_autofree char *work = g_strdup_printf("%s/%s/%s", root, ns, id);
	if (!dir_make_all(parent, 0711, error))
		return NULL;
	if (mkdir(b->path, 0700) != 0) {
		if (errno == EEXIST)
			error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "task %s", id);
		else
			error_set_errno(error, errno, "mkdir %s", b->path);
		return NULL;
	}
	if (!FAILPOINT("bundle.new.made", error) || !fill(b, work, spec, error) ||
	    !FAILPOINT("bundle.new.done", error)) {
		tree_remove(b->path, NULL);
		tree_remove(work, NULL);
		return NULL;
	}
	return g_steal_pointer(&b);
}

/* Rename to a hidden name first, so that a half-removed tree is never taken for a bundle. */
static bool atomic_delete(const char *path, GError **error)
{
	g_autofree char *dir = g_path_get_dirname(path);
	g_autofree char *base = g_path_get_basename(path);
	g_autofree char *hidden = g_strdup_printf("%s/.%s", dir, base);
	if (!tree_remove(hidden, error))
		return false;
	if (rename(path, hidden) != 0)
		return errno == ENOENT || error_set_errno(error, errno, "rename %s %s", path, hidden);
	return FAILPOINT("bundle.delete.renamed", error) && tree_remove(hidden, error);
}

bool bundle_delete(const Bundle *b, GError **error)
{
	g_autofree char *rootfs = bundle_file(b, "rootfs");
	g_autofree char *link = bundle_file(b, "work");
	g_autofree char *work = g_file_read_link(link, NULL);
	if (!FAILPOINT("bundle.delete.unmount", error) || !mount_unmount_recursive(rootfs, 0, error))
		return error_prefix(error, "unmount rootfs %s", rootfs);
	if (rmdir(rootfs) != 0 && errno != ENOENT)
		return error_set_errno(error, errno, "failed to remove bundle rootfs: remove %s", rootfs);
	bool ok = atomic_delete(b->path, error);
	if (work != NULL && *work == '/') {
		/* the working directory goes also where the bundle could not; one error is enough to tell */
		g_autoptr(GError) second = NULL;
		if (!atomic_delete(work, ok ? error : &second))
			ok = false;
	}
	return ok;
}
