// SPDX-License-Identifier: Apache-2.0

/*
 * What overlay mounts need beyond mount(2): many lower directories, whose option does not fit the one page
 * that mount(2) copies, and idmapped lower directories.
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "mount/mount-private.h"
#include <string.h>
#include <sys/mount.h>

char *mount_common_prefix(const char *const *strings)
{
	if (strings == NULL || strings[0] == NULL)
		return g_strdup("");
	size_t len = strlen(strings[0]);
	for (const char *const *s = strings + 1; *s != NULL; s++) {
		size_t i = 0;
		while (i < len && (*s)[i] == strings[0][i])
			i++;
		len = i;
	}
	return g_strndup(strings[0], len);
}

/* Split at colons that no backslash escapes; the escapes stay as they are. */
static char **split_lowers(const char *s)
{
	GPtrArray *out = g_ptr_array_new();
	const char *start = s;
	for (;; s++) {
		if (*s == '\\' && s[1] != '\0') {
			s++;
			continue;
		}
		if (*s != ':' && *s != '\0')
			continue;
		g_ptr_array_add(out, g_strndup(start, (gsize)(s - start)));
		if (*s == '\0')
			break;
		start = s + 1;
	}
	g_ptr_array_add(out, NULL);
	return (char **)g_ptr_array_free(out, FALSE);
}

char **mount_overlay_lowers(const char *const *options, size_t *ret_index)
{
	for (size_t i = 0; options[i] != NULL; i++) {
		if (g_str_has_prefix(options[i], "lowerdir=")) {
			*ret_index = i;
			return split_lowers(options[i] + strlen("lowerdir="));
		}
	}
	return NULL;
}

/* The options with lowerdir= replaced and, as upstream does, moved to the end. */
static char **replace_lowers(const char *const *options, size_t index, char **lowers)
{
	g_autofree char *joined = g_strjoinv(":", lowers);
	GPtrArray *out = g_ptr_array_new();
	for (size_t i = 0; options[i] != NULL; i++) {
		if (i != index)
			g_ptr_array_add(out, g_strdup(options[i]));
	}
	g_ptr_array_add(out, g_strconcat("lowerdir=", joined, NULL));
	g_ptr_array_add(out, NULL);
	return (char **)g_ptr_array_free(out, FALSE);
}

char **mount_overlay_compact(const char *const *options, char **ret_dir)
{
	size_t index = 0;
	g_auto(GStrv) lowers = mount_overlay_lowers(options, &index);
	if (lowers == NULL || g_strv_length(lowers) < 2)
		return NULL;
	g_autofree char *prefix = mount_common_prefix((const char *const *)lowers);
	// snapshots/1 and snapshots/10 have more in common than their directory
	char *slash = strrchr(prefix, '/');
	if (slash == NULL || slash == prefix)
		return NULL;
	slash[1] = '\0';
	size_t n = strlen(prefix);
	for (char **l = lowers; *l != NULL; l++) {
		if (strlen(*l) <= n)
			return NULL;
		memmove(*l, *l + n, strlen(*l + n) + 1);
	}
	*ret_dir = g_steal_pointer(&prefix);
	return replace_lowers(options, index, lowers);
}

/* `\:` and `\\` stand for themselves in a lowerdir. */
static char *unescape(const char *s)
{
	g_autoptr(GString) out = g_string_new(NULL);
	for (; *s != '\0'; s++) {
		if (*s == '\\' && s[1] != '\0')
			s++;
		g_string_append_c(out, *s);
	}
	return g_string_free(g_steal_pointer(&out), FALSE);
}

static bool make_link(const char *dir, guint n, const char *lower, GError **error)
{
	g_autofree char *target = unescape(lower);
	g_autofree char *path = g_strdup_printf("%s/%u", dir, n);
	return symlink(target, path) == 0 || error_set_errno(error, errno, "symlink %s %s", target, path);
}

char **mount_overlay_links(const char *const *options, const char *tmp, char **ret_dir, GError **error)
{
	size_t index = 0;
	g_auto(GStrv) lowers = mount_overlay_lowers(options, &index);
	if (lowers == NULL) {
		error_set(error, CTRD_ERR_UNKNOWN, "mount options is too long");
		return NULL;
	}
	g_autofree char *dir = mount_temp_make(tmp, "ovl-links", error);
	if (dir == NULL)
		return NULL;
	for (guint i = 0; lowers[i] != NULL; i++) {
		if (*lowers[i] == '\0') // what separates layers of data only
			continue;
		if (!make_link(dir, i, lowers[i], error)) {
			mount_overlay_links_done(dir);
			return NULL;
		}
		g_free(lowers[i]);
		lowers[i] = g_strdup_printf("%u", i);
	}
	*ret_dir = g_steal_pointer(&dir);
	return replace_lowers(options, index, lowers);
}

void mount_overlay_links_done(const char *dir)
{
	g_autoptr(GError) error = NULL;
	if (!tree_remove(dir, &error))
		log_error_take(LOG_WARN, g_steal_pointer(&error), "failed to remove links", "dir", dir, NULL);
}

char *mount_overlay_common_dir(const char *const *lowers, GError **error)
{
	g_autofree char *prefix = mount_common_prefix(lowers);
	if (*prefix == '\0') {
		error_set(error, CTRD_ERR_UNKNOWN, "no common prefix found");
		return NULL;
	}
	char *slash = strrchr(prefix, '/');
	if (slash == NULL || slash == prefix) {
		error_set(error, CTRD_ERR_UNKNOWN, "invalid common directory: %s", slash == NULL ? "." : "/");
		return NULL;
	}
	*slash = '\0';
	return g_steal_pointer(&prefix);
}

char **mount_overlay_rebase(const char *const *lowers, const char *from, const char *to)
{
	GPtrArray *out = g_ptr_array_new();
	for (; *lowers != NULL; lowers++) {
		const char *rest = *lowers;
		if (g_str_has_prefix(rest, from))
			rest += strlen(from);
		g_autofree char *joined = g_strconcat(to, "/", rest, NULL);
		g_ptr_array_add(out, path_clean(joined));
	}
	g_ptr_array_add(out, NULL);
	return (char **)g_ptr_array_free(out, FALSE);
}

// ---- fsopen ----

#define FSCONFIG_STRING_MAX 255

static bool config(int fs, unsigned cmd, const char *key, const char *value)
{
	return fsconfig(fs, cmd, key, value, 0) == 0;
}

static bool config_option(int fs, const char *option)
{
	const char *eq = strchr(option, '=');
	if (eq == NULL)
		return config(fs, FSCONFIG_SET_FLAG, option, NULL);
	g_autofree char *key = g_strndup(option, (gsize)(eq - option));
	return config(fs, FSCONFIG_SET_STRING, key, eq + 1);
}

/* lowerdir+ takes its value literally from Linux 6.7 on and unescapes it before, so nothing with escapes;
 * data-only layers are an empty element here. */
static bool lowers_fit(char **lowers)
{
	for (char **l = lowers; *l != NULL; l++) {
		if (**l == '\0' || strchr(*l, '\\') != NULL || strlen(*l) > FSCONFIG_STRING_MAX)
			return false;
	}
	return true;
}

static bool configure_overlay(int fs, const Mount *m, const MountOptions *o, char **lowers)
{
	if (!config(fs, FSCONFIG_SET_STRING, "source", str_or(m->source, "overlay")))
		return false;
	if ((o->flags & MS_RDONLY) && !config(fs, FSCONFIG_SET_FLAG, "ro", NULL))
		return false;
	if ((o->flags & MS_SYNCHRONOUS) && !config(fs, FSCONFIG_SET_FLAG, "sync", NULL))
		return false;
	if ((o->flags & MS_DIRSYNC) && !config(fs, FSCONFIG_SET_FLAG, "dirsync", NULL))
		return false;
	for (char **l = lowers; *l != NULL; l++) {
		if (!config(fs, FSCONFIG_SET_STRING, "lowerdir+", *l))
			return false;
	}
	for (guint i = 0; i < o->data->len; i++) {
		const char *option = o->data->pdata[i];
		if (!g_str_has_prefix(option, "lowerdir=") && !config_option(fs, option))
			return false;
	}
	return config(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
}

bool mount_overlay_fsconfig(const Mount *m, const MountOptions *o, const char *target, bool *ret_unsupported,
                            GError **error)
{
	size_t index = 0;
	*ret_unsupported = true;
	g_ptr_array_add(o->data, NULL);
	g_auto(GStrv) lowers = mount_overlay_lowers((const char *const *)o->data->pdata, &index);
	g_ptr_array_set_size(o->data, (gint)o->data->len - 1);
	if (lowers == NULL || !lowers_fit(lowers))
		return false;

	autofd fs = fsopen("overlay", FSOPEN_CLOEXEC);
	if (fs < 0 || !configure_overlay(fs, m, o, lowers))
		return false;
	autofd mnt = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)mount_attributes(o->flags));
	if (mnt < 0)
		return false;
	*ret_unsupported = false;
	if (move_mount(mnt, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) != 0)
		return error_set_errno(error, errno, "unable to attach mount tree to %s", target);
	return true;
}

// ---- idmapped lower directories ----

char **mount_overlay_idmap(const char *const *options, int userns, const char *tmp, char **ret_dir,
                           GError **error)
{
	size_t index = 0;
	g_auto(GStrv) lowers = mount_overlay_lowers(options, &index);
	if (lowers == NULL) {
		error_set(error, CTRD_ERR_UNKNOWN, "failed to parse overlay lowerdir's from given options");
		return NULL;
	}
	g_autofree char *common = mount_overlay_common_dir((const char *const *)lowers, error);
	if (common == NULL) {
		error_prefix(error, "failed to create idmapped mount: failed to determine common parent");
		return NULL;
	}
	g_autofree char *dir = mount_temp_make(tmp, "ovl-idmapped", error);
	if (dir == NULL) {
		error_prefix(
		        error,
		        "failed to create idmapped mount: failed to create temporary overlay lowerdir mount "
		        "location");
		return NULL;
	}
	MountClone how = {.recursive = true,
	                  .set = MOUNT_ATTR_RDONLY,
	                  .set_recursive = true,
	                  .userns = userns,
	                  .propagation = MS_PRIVATE};
	if (!mount_clone(common, dir, dir, &how, NULL, error)) {
		rmdir(dir);
		error_prefix(error, "failed to create idmapped mount");
		return NULL;
	}
	g_auto(GStrv) mapped = mount_overlay_rebase((const char *const *)lowers, common, dir);
	*ret_dir = g_steal_pointer(&dir);
	return replace_lowers(options, index, mapped);
}

/* Never more than rmdir: what is below may be the layers themselves. */
void mount_overlay_idmap_done(const char *dir)
{
	g_autoptr(GError) error = NULL;
	if (!mount_unmount_recursive(dir, 0, &error))
		log_error_take(LOG_WARN, g_steal_pointer(&error), "failed to unmount idmapped directory",
		               "dir", dir, NULL);
	else if (rmdir(dir) != 0)
		log_info("failed to remove idmapped directory", "dir", dir, NULL);
}
