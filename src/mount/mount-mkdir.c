// SPDX-License-Identifier: Apache-2.0

/* The mkdir transformer of upstream's mount manager: core/mount/manager/mkdir.go. */

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "mount/mount-private.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PREFIX "X-containerd.mkdir."

typedef struct {
	char *path;
	mode_t mode;
	uid_t uid;
	gid_t gid;
} Mkdir;

static bool parse_id(const char *s, const char *what, uint32_t *ret, GError **error)
{
	uint64_t n;
	if (!parse_u64(s, &n) || n >= UINT32_MAX)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "invalid %s %s", what, Q(s));
	*ret = (uint32_t)n;
	return true;
}

static bool parse_mode(const char *s, mode_t *ret, GError **error)
{
	char *end = NULL;
	guint64 n = g_ascii_strtoull(s, &end, 8);
	if (!g_ascii_isdigit(*s) || *end != '\0' || (n & ~(guint64)0777) != 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "invalid mode %s", s);
	*ret = (mode_t)n;
	return true;
}

static bool parse_mkdir(const char *option, Mkdir *ret, GError **error)
{
	const char *value = option + strlen(PREFIX);
	ret->mode = 0700;
	ret->uid = getuid();
	ret->gid = getgid();
	g_auto(GStrv) parts = NULL;
	if (g_str_has_prefix(value, "path="))
		parts = g_strsplit(value + strlen("path="), ":", 4);
	guint n = parts != NULL ? g_strv_length(parts) : 0;
	if (n == 0 || n == 3 || *parts[0] != '/')
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "invalid mkdir option %s",
		                       Q(option));
	if (n == 4 &&
	    (!parse_id(parts[2], "uid", &ret->uid, error) || !parse_id(parts[3], "gid", &ret->gid, error)))
		return false;
	if (n >= 2 && !parse_mode(parts[1], &ret->mode, error))
		return false;
	ret->path = g_strdup(parts[0]);
	return true;
}

/* An existing directory must have the mode. */
static bool make(int root, const char *path, const Mkdir *d, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(path);
	g_autofree char *name = g_path_get_basename(path);
	if (g_str_equal(name, ".."))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "invalid mkdir path %s", Q(d->path));
	autofd dir = open_beneath(root, parent, O_PATH | O_DIRECTORY, 0, error);
	if (dir < 0)
		return error_prefix(error, "failed to create directory %s", Q(d->path));
	bool made = mkdirat(dir, name, d->mode) == 0;
	if (!made && errno != EEXIST)
		return error_set_errno(error, errno, "failed to create directory %s", Q(d->path));
	autofd fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return error_set_errno(error, errno, "failed to stat %s", Q(d->path));
	if (made) {
		if ((st.st_uid != d->uid || st.st_gid != d->gid) && fchown(fd, d->uid, d->gid) != 0)
			return error_set_errno(error, errno, "failed to chown directory %s", Q(d->path));
		if (fchmod(fd, d->mode) != 0)
			return error_set_errno(error, errno, "failed to chmod directory %s", Q(d->path));
	} else if ((st.st_mode & 0777) != d->mode) {
		return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED,
		                       "chmod not supported yet for mkdir handler");
	}
	return true;
}

static bool apply(const char *option, const char *const *roots, GError **error)
{
	Mkdir d = {0};
	bool ok = parse_mkdir(option, &d, error);
	g_autofree char *path = ok ? path_clean(d.path) : NULL;
	g_free(d.path);
	if (!ok)
		return false;
	d.path = path;
	for (; *roots != NULL; roots++) {
		size_t n = strlen(*roots);
		if (strncmp(path, *roots, n) != 0 || path[n] != '/' || path[n + 1] == '\0')
			continue;
		autofd root = open(*roots, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (root < 0)
			return error_set_errno(error, errno, "open %s", *roots);
		return make(root, path + n + 1, &d, error);
	}
	return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "no root %s configured for mkdir", Q(path));
}

Mount *mount_apply_mkdir(const Mount *m, const char *const *roots, GError **error)
{
	g_autoptr(Mount) copy = mount_copy(m);
	size_t n = 0;
	for (char **o = m->options; *o != NULL; o++) {
		if (g_str_has_prefix(*o, PREFIX)) {
			if (!apply(*o, roots, error))
				return NULL;
			continue;
		}
		g_free(copy->options[n]);
		copy->options[n++] = g_strdup(*o);
	}
	for (size_t i = n; copy->options[i] != NULL; i++) {
		g_free(copy->options[i]);
		copy->options[i] = NULL;
	}
	return g_steal_pointer(&copy);
}
