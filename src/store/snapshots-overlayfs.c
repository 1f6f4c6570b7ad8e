// SPDX-License-Identifier: Apache-2.0

/*
 * Snapshots as layers of overlayfs: plugins/snapshots/overlay of upstream. snapshots/<id>/fs is what a
 * snapshot changes in its parents; an active one has a directory work beside it.
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "diff/apply.h"
#include "store/snapshots-dir.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

typedef struct {
	SnapshotDriver base;
	char **options;
	bool upperdir_label, remap_ids;
	const char *capabilities[4];
} Overlay;

// ---- id maps ----

#define INVALID_ID UINT32_MAX

/* Go's "%d" of a Sscanf: an optional sign and digits. */
static bool scan_number(const char **s, int64_t *ret)
{
	const char *start = *s, *p = *s + (**s == '-' || **s == '+');
	if (!g_ascii_isdigit(*p))
		return false;
	char *end = NULL;
	errno = 0;
	*ret = g_ascii_strtoll(start, &end, 10);
	*s = end;
	return errno == 0;
}

static bool scan_mapping(const char *s, int64_t n[3])
{
	for (int i = 0; i < 3; i++) {
		if (i > 0 && *s++ != ':')
			return false;
		if (!scan_number(&s, &n[i]))
			return false;
	}
	return true;
}

/* The host's id of the container's id 0. Nothing mapped at all: the same. */
static bool map_root(const char *map, uint32_t *ret, GError **error)
{
	bool found = false;
	*ret = 0;
	if (str_empty(map))
		return true;
	g_auto(GStrv) entries = g_strsplit(map, ",", -1);
	for (char **e = entries; *e != NULL; e++) {
		int64_t n[3];
		if (!scan_mapping(*e, n))
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "failed to unmarshal snapshot ID mapped labels: input value %s "
			                 "unparsable: expected integer",
			                 *e);
		for (int i = 0; i < 3; i++) {
			if (n[i] < 0 || n[i] >= INVALID_ID)
				return error_set(error, CTRD_ERR_UNKNOWN,
				                 "failed to unmarshal snapshot ID mapped labels: invalid "
				                 "mapping \"%s\"",
				                 *e);
		}
		if (!found && n[0] == 0 && n[2] > 0) {
			*ret = (uint32_t)n[1];
			found = true;
		}
	}
	return found || error_set(error, CTRD_ERR_UNKNOWN,
	                          "failed to find root pair: container ID 0 cannot be mapped to a host ID");
}

/* Whom the snapshot's root directory belongs to: root of its id map, or whom its parent's does. */
static bool find_owner(Overlay *o, const SnapshotNode *node, uint32_t *uid, uint32_t *gid, bool *ret,
                       GError **error)
{
	const char *uidmap = strmap_get(node->labels, SNAPSHOT_LABEL_UIDMAP);
	const char *gidmap = strmap_get(node->labels, SNAPSHOT_LABEL_GIDMAP);
	*ret = true;
	if (uidmap != NULL || gidmap != NULL)
		return map_root(uidmap, uid, error) && map_root(gidmap, gid, error);
	if (node->n_parents == 0) {
		*ret = false;
		return true;
	}
	struct stat st;
	g_autofree char *parent = snapshot_dir_path(&o->base, node->parents[0], "fs");
	if (stat(parent, &st) != 0)
		return error_set_errno(error, errno, "failed to stat parent: stat %s", parent);
	*uid = st.st_uid;
	*gid = st.st_gid;
	return true;
}

// ---- the driver ----

/* mkdir with exactly this mode. */
static bool make_dir(int at, const char *name, mode_t mode, GError **error)
{
	if (mkdirat(at, name, mode) != 0 || fchmodat(at, name, mode, 0) != 0)
		return error_set_errno(error, errno, "failed to create prepare snapshot dir: mkdir %s", name);
	return true;
}

static bool overlay_create(SnapshotDriver *self, const SnapshotNode *node, GError **error)
{
	Overlay *o = (Overlay *)self;
	g_auto(SnapshotDirNew) d = {.parent = -1, .fd = -1};
	uint32_t uid, gid;
	bool owned = false;

	if (!find_owner(o, node, &uid, &gid, &owned, error))
		return false;
	if (!snapshot_dir_begin(self, node->id, &d, error))
		return error_prefix(error, "failed to create prepare snapshot dir");
	if (!make_dir(d.fd, "fs", 0755, error) ||
	    (node->kind == SNAPSHOT_ACTIVE && !make_dir(d.fd, "work", 0711, error)))
		return false;
	if (owned && fchownat(d.fd, "fs", uid, gid, AT_SYMLINK_NOFOLLOW) != 0)
		return error_set_errno(error, errno,
		                       "failed to chown: lchown %s/snapshots/%" G_GINT64_FORMAT "/fs",
		                       self->root, node->id);
	return snapshot_dir_commit(&d, error) || error_prefix(error, "failed to rename");
}

static void add(GPtrArray *options, char *option)
{
	g_ptr_array_add(options, option);
}

static GPtrArray *one_mount(const char *type, const char *source, GPtrArray *options)
{
	GPtrArray *mounts = mounts_new();
	g_ptr_array_add(options, NULL);
	g_ptr_array_add(mounts, mount_new(type, source, NULL, (const char *const *)options->pdata));
	return mounts;
}

static char *lowerdir(Overlay *o, const SnapshotNode *node)
{
	g_autoptr(GString) s = g_string_new("lowerdir=");
	for (size_t i = 0; i < node->n_parents; i++) {
		g_autofree char *path = snapshot_dir_path(&o->base, node->parents[i], "fs");
		g_string_append_printf(s, "%s%s", i > 0 ? ":" : "", path);
	}
	return g_string_free(g_steal_pointer(&s), FALSE);
}

static GPtrArray *overlay_mounts(SnapshotDriver *self, const SnapshotNode *node, GError **error)
{
	(void)error;
	Overlay *o = (Overlay *)self;
	g_autoptr(GPtrArray) options = g_ptr_array_new_with_free_func(g_free);
	const char *uidmap = strmap_get(node->labels, SNAPSHOT_LABEL_UIDMAP);
	const char *gidmap = strmap_get(node->labels, SNAPSHOT_LABEL_GIDMAP);
	bool active = node->kind == SNAPSHOT_ACTIVE;

	if (o->remap_ids && uidmap != NULL)
		add(options, g_strconcat("uidmap=", uidmap, NULL));
	if (o->remap_ids && gidmap != NULL)
		add(options, g_strconcat("gidmap=", gidmap, NULL));

	// one layer alone is no overlay
	if (node->n_parents == 0 || (node->n_parents == 1 && !active)) {
		int64_t id = node->n_parents == 0 ? node->id : node->parents[0];
		g_autofree char *source = snapshot_dir_path(self, id, "fs");
		add(options, g_strdup(active ? "rw" : "ro"));
		add(options, g_strdup("rbind"));
		return one_mount("bind", source, options);
	}
	if (active) {
		g_autofree char *work = snapshot_dir_path(self, node->id, "work");
		g_autofree char *upper = snapshot_dir_path(self, node->id, "fs");
		add(options, g_strconcat("workdir=", work, NULL));
		add(options, g_strconcat("upperdir=", upper, NULL));
	}
	add(options, lowerdir(o, node));
	for (char **option = o->options; *option != NULL; option++)
		add(options, g_strdup(*option));
	return one_mount("overlay", "overlay", options);
}

static bool overlay_usage(SnapshotDriver *self, const SnapshotNode *node, SnapshotUsage *ret, GError **error)
{
	g_autofree char *upper = snapshot_dir_path(self, node->id, "fs");
	return tree_usage(upper, &ret->size, &ret->inodes, error);
}

static void overlay_labels(SnapshotDriver *self, int64_t id, GHashTable *labels)
{
	if (!((Overlay *)self)->upperdir_label)
		return;
	g_autofree char *upper = snapshot_dir_path(self, id, "fs");
	strmap_set(labels, SNAPSHOT_LABEL_UPPERDIR, upper);
}

static void overlay_free(SnapshotDriver *self)
{
	Overlay *o = (Overlay *)self;
	g_free(self->root);
	g_strfreev(o->options);
	g_free(o);
}

static const SnapshotDriverOps overlay_ops = {
        .create = overlay_create,
        .mounts = overlay_mounts,
        .usage = overlay_usage,
        .commit = snapshot_dir_sync,
        .remove = snapshot_dir_remove,
        .list = snapshot_dir_list,
        .labels = overlay_labels,
        .free = overlay_free,
};

// ---- what the system can do ----

static bool kernel_at_least(int major, int minor)
{
	struct utsname u;
	int a = 0, b = 0;
	if (uname(&u) != 0 || sscanf(u.release, "%d.%d", &a, &b) != 2)
		return false;
	return a > major || (a == major && b >= minor);
}

/* Without d_type overlayfs cannot tell whiteouts in a directory. */
static bool check_d_type(const char *root, GError **error)
{
	DIR *dir = opendir(root); // "snapshots" at least is in it
	if (dir == NULL)
		return error_set_errno(error, errno, "open %s", root);
	bool supported = true;
	for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
		supported = supported && e->d_type != DT_UNKNOWN;
	closedir(dir);
	return supported || error_set(error, CTRD_ERR_UNKNOWN,
	                              "%s does not support d_type. If the backing filesystem is xfs, please "
	                              "reformat with ftype=1 to "
	                              "enable d_type support",
	                              root);
}

/* In a user namespace overlayfs keeps its marks in user.* xattrs, which tmpfs may not have. */
static bool needs_userxattr(const char *root)
{
	struct statfs st;
	return running_in_userns() && !(statfs(root, &st) == 0 && st.f_type == TMPFS_MAGIC);
}

static bool has_option(GPtrArray *options, const char *name)
{
	size_t n = strlen(name);
	for (guint i = 0; i < options->len; i++) {
		const char *o = options->pdata[i];
		if (strncmp(o, name, n) == 0 && (o[n] == '\0' || o[n] == '='))
			return true;
	}
	return false;
}

static char **mount_options(const char *root, char **given)
{
	GPtrArray *options = g_ptr_array_new();
	for (char **o = given; o != NULL && *o != NULL; o++)
		add(options, g_strdup(*o));
	if (!has_option(options, "userxattr") && needs_userxattr(root))
		add(options, g_strdup("userxattr"));
	// with an index an upper directory could not be mounted with other lower directories than before
	if (!has_option(options, "index") && path_exists("/sys/module/overlay/parameters/index"))
		add(options, g_strdup("index=off"));
	g_ptr_array_add(options, NULL);
	return (char **)g_ptr_array_free(options, FALSE);
}

SnapshotDriver *snapshot_overlayfs_new(const char *root, const OverlayOptions *options, GError **error)
{
	static const OverlayOptions defaults = {0};
	if (options == NULL)
		options = &defaults;
	Overlay *o = g_new0(Overlay, 1);
	g_autoptr(SnapshotDriver) driver = &o->base;
	driver->ops = &overlay_ops;
	if (!snapshot_dir_init(driver, root, error) || !check_d_type(root, error))
		return NULL;
	driver->sync_remove = options->sync_remove;
	o->options = mount_options(root, options->mount_options);
	o->upperdir_label = options->upperdir_label;

	bool userns = running_in_userns();
	size_t n = 0;
	// idmapped lower directories: Linux 5.19, and only who owns the file system may
	o->remap_ids = kernel_at_least(5, 19) && !userns;
	if (o->remap_ids)
		o->capabilities[n++] = "remap-ids";
	if (!options->slow_chown)
		o->capabilities[n++] = "only-remap-ids";
	// a layer without its parents needs whiteouts that are devices (upstream #13388)
	if (!userns)
		o->capabilities[n++] = "rebase";
	driver->capabilities = o->capabilities;
	return g_steal_pointer(&driver);
}

static bool nothing(const char *root, void *data, GError **error)
{
	(void)root;
	(void)data;
	(void)error;
	return true;
}

static bool try_mount(int fd, const char *dir, GError **error)
{
	static const char *const names[] = {"lower1", "lower2", "upper", "work", "merged"};
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		if (mkdirat(fd, names[i], 0755) != 0)
			return error_set_errno(error, errno, "mkdir %s/%s", dir, names[i]);
	}
	g_autofree char *option = g_strdup_printf(
	        "lowerdir=%s/lower2:%s/lower1,upperdir=%s/upper,workdir=%s/work", dir, dir, dir, dir);
	g_autoptr(GPtrArray) options = g_ptr_array_new_with_free_func(g_free);
	add(options, g_steal_pointer(&option));
	if (needs_userxattr(dir))
		add(options, g_strdup("userxattr"));
	g_autoptr(GPtrArray) mounts = one_mount("overlay", "overlay", options);
	return mounts_with_temp(mounts, dir, nothing, NULL, error) ||
	       error_prefix(error, "failed to mount overlay");
}

bool snapshot_overlayfs_supported(const char *root, GError **error)
{
	if (!dir_make_all(root, 0700, error) || !check_d_type(root, error))
		return false;
	g_autofree char *dir = g_strdup_printf("%s/multiple-lowerdir-checkXXXXXX", root);
	if (g_mkdtemp(dir) == NULL)
		return error_set_errno(error, errno, "mkdir %s", dir);
	autofd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 ? try_mount(fd, dir, error) : error_set_errno(error, errno, "open %s", dir);
	g_autoptr(GError) ignored = NULL;
	if (!tree_remove(dir, &ignored))
		log_error_take(LOG_WARN, g_steal_pointer(&ignored), "failed to remove check directory",
		               "path", dir, NULL);
	return ok;
}
