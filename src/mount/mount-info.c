// SPDX-License-Identifier: Apache-2.0

/* /proc/self/mountinfo, see proc(5). */

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "mount/mount-private.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define MOUNTINFO_MAX (64u << 20)
#define FIELDS_MAX 256

void mount_info_free(MountInfo *info)
{
	if (info == NULL)
		return;
	g_free(info->root);
	g_free(info->mountpoint);
	g_free(info->options);
	g_free(info->fstype);
	g_free(info->source);
	g_free(info->super_options);
	g_free(info);
}

static void info_free_void(void *info)
{
	mount_info_free(info);
}

static bool octal(char c)
{
	return c >= '0' && c <= '7';
}

/* Space, tab, newline and backslash are \ and three octal digits. */
static char *unescape(const char *s, GError **error)
{
	g_autoptr(GString) out = g_string_sized_new(strlen(s));
	for (; *s != '\0'; s++) {
		if (*s != '\\') {
			g_string_append_c(out, *s);
			continue;
		}
		int v = octal(s[1]) && octal(s[2]) && octal(s[3])
		                ? (s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0')
		                : 0;
		// a NUL cannot be part of a name
		if (v < 1 || v > 255) {
			g_autofree char *bad = g_strndup(s, 4);
			error_set(error, CTRD_ERR_UNKNOWN, "bad escape sequence %s", Q(bad));
			return NULL;
		}
		g_string_append_c(out, (char)v);
		s += 3;
	}
	return g_string_free(g_steal_pointer(&out), FALSE);
}

static bool take_int(const char *s, int *ret)
{
	int64_t n;
	if (!parse_i64(s, &n) || n < INT32_MIN || n > INT32_MAX)
		return false;
	*ret = (int)n;
	return true;
}

static bool take_device(const char *s, MountInfo *info)
{
	const char *colon = strchr(s, ':');
	if (colon == NULL)
		return false;
	g_autofree char *major = g_strndup(s, (gsize)(colon - s));
	return take_int(major, &info->major) && take_int(colon + 1, &info->minor);
}

/* line is cut into its fields. */
static MountInfo *parse_line(char *line, GError **error)
{
	const char *fields[FIELDS_MAX];
	size_t n = 0, dash = 0;
	g_autofree char *whole = g_strdup(line);

	for (char *rest = line; rest != NULL && n < FIELDS_MAX;) {
		char *field = strsep(&rest, " ");
		// optional fields (shared:1) come before the dash, at least three fields after it
		if (dash == 0 && n >= 6 && g_str_equal(field, "-"))
			dash = n;
		fields[n++] = field;
	}
	if (n < 10) {
		error_set(error, CTRD_ERR_UNKNOWN, "parsing '%s' failed: not enough fields (%zu)", whole, n);
		return NULL;
	}
	if (dash == 0 || n < dash + 4) {
		error_set(error, CTRD_ERR_UNKNOWN, "parsing '%s' failed: missing - separator", whole);
		return NULL;
	}
	g_autoptr(MountInfo) info = g_new0(MountInfo, 1);
	if (!take_int(fields[0], &info->id) || !take_int(fields[1], &info->parent) ||
	    !take_device(fields[2], info)) {
		error_set(error, CTRD_ERR_UNKNOWN, "parsing '%s' failed: bad number", whole);
		return NULL;
	}
	info->options = g_strdup(fields[5]);
	info->super_options = g_strdup(fields[dash + 3]);
	if ((info->root = unescape(fields[3], error)) == NULL ||
	    (info->mountpoint = unescape(fields[4], error)) == NULL ||
	    (info->fstype = unescape(fields[dash + 1], error)) == NULL ||
	    (info->source = unescape(fields[dash + 2], error)) == NULL) {
		error_prefix(error, "parsing '%s' failed", whole);
		return NULL;
	}
	return g_steal_pointer(&info);
}

static bool below(const char *path, const char *prefix)
{
	if (prefix == NULL || g_str_equal(prefix, "/"))
		return true;
	size_t n = strlen(prefix);
	return strncmp(path, prefix, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

GPtrArray *mount_info_parse(const char *data, size_t len, const char *prefix, GError **error)
{
	g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func(info_free_void);
	if (memchr(data, '\0', len) != NULL) {
		error_set(error, CTRD_ERR_UNKNOWN, "parsing mountinfo failed: NUL byte");
		return NULL;
	}
	for (size_t i = 0; i < len;) {
		const char *eol = memchr(data + i, '\n', len - i);
		size_t n = eol != NULL ? (size_t)(eol - data) - i : len - i;
		g_autofree char *line = g_strndup(data + i, n);
		i += n + 1;
		g_autoptr(MountInfo) info = parse_line(line, error);
		if (info == NULL)
			return NULL;
		if (below(info->mountpoint, prefix))
			g_ptr_array_add(out, g_steal_pointer(&info));
	}
	return g_steal_pointer(&out);
}

GPtrArray *mount_info_list(const char *prefix, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;
	// of this thread: its mount namespace may be its own
	autofd fd = open("/proc/thread-self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		error_set_errno(error, errno, "open /proc/thread-self/mountinfo");
		return NULL;
	}
	if (!fd_read_all(fd, MOUNTINFO_MAX, &data, &len, error))
		return NULL;
	return mount_info_parse(data, len, prefix, error);
}

MountInfo *mount_lookup(const char *path, GError **error)
{
	g_autofree char *real = realpath(path, NULL);
	struct statx st;
	if (real == NULL || statx(AT_FDCWD, real, AT_NO_AUTOMOUNT, STATX_MNT_ID, &st) != 0) {
		error_set_errno(error, errno, "lstat %s", path);
		return NULL;
	}
	g_autoptr(GPtrArray) all = mount_info_list(NULL, error);
	if (all == NULL)
		return NULL;
	guint best = all->len;
	size_t best_len = 0;
	for (guint i = 0; i < all->len; i++) {
		const MountInfo *info = all->pdata[i];
		if ((st.stx_mask & STATX_MNT_ID) != 0) {
			if ((uint64_t)info->id == st.stx_mnt_id)
				best = i;
		} else if (below(real, info->mountpoint) && strlen(info->mountpoint) >= best_len) {
			best = i;
			best_len = strlen(info->mountpoint);
		}
	}
	if (best == all->len) {
		error_set(error, CTRD_ERR_UNKNOWN, "failed to find the mount info for %s", Q(real));
		return NULL;
	}
	MountInfo *info = all->pdata[best];
	all->pdata[best] = NULL;
	return info;
}

bool mount_is_mounted(const char *path, bool *ret, GError **error)
{
	struct statx st;
	*ret = false;
	if (statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) != 0) {
		if (errno == ENOENT)
			return true;
		return error_set_errno(error, errno, "stat %s", path);
	}
	if (st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) {
		*ret = (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
		return true;
	}
	g_autoptr(MountInfo) info = mount_lookup(path, error);
	if (info == NULL)
		return false;
	g_autofree char *real = realpath(path, NULL);
	*ret = g_strcmp0(real, info->mountpoint) == 0;
	return true;
}
