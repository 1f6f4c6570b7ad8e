// SPDX-License-Identifier: Apache-2.0

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "mount/mount-active.h"
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

ActiveMount *active_mount_new(Mount *mount, const char *point)
{
	ActiveMount *a = g_new0(ActiveMount, 1);
	a->mount = mount;
	a->point = g_strdup(point);
	a->mounted_at = time_now();
	return a;
}

void active_mount_free(ActiveMount *a)
{
	if (a == NULL)
		return;
	mount_free(a->mount);
	g_free(a->point);
	g_clear_pointer(&a->data, g_hash_table_unref);
	g_free(a);
}

GPtrArray *active_mounts_new(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)active_mount_free);
}

// ---- what the kernel does ----

static bool mount_at_point(const Mount *m, const char *point, GError **error)
{
	if (mkdir(point, 0700) != 0)
		return error_set_errno(error, errno, "mkdir %s", point);
	g_autoptr(GPtrArray) one = mounts_new();
	g_ptr_array_add(one, mount_copy(m));
	if (mounts_mount(one, point, error))
		return true;
	rmdir(point);
	return false;
}

static ActiveMount *system_mount(const Mount *m, const char *point, GPtrArray *active, GError **error)
{
	return mount_at_point(m, point, error) ? active_mount_new(mount_copy(m), point) : NULL;
}

static bool system_unmount(const char *point, GError **error)
{
	return mount_unmount_all(point, 0, error);
}

static bool system_is_mounted(const Mount *m, const char *point)
{
	bool mounted = false;
	return mount_is_mounted(point, &mounted, NULL) && mounted;
}

const MountHandler mount_handler_system = {NULL, system_mount, system_unmount, system_is_mounted};

// ---- loop devices ----

/* Does the kernel free the device after its last user? Its other attributes stay. */
static bool set_autoclear(int fd, bool on, GError **error)
{
	struct loop_info64 info;
	if (ioctl(fd, LOOP_GET_STATUS64, &info) != 0)
		return error_set_errno(error, errno, "failed to get loop device info");
	if (on)
		info.lo_flags |= LO_FLAGS_AUTOCLEAR;
	else
		info.lo_flags &= ~(uint32_t)LO_FLAGS_AUTOCLEAR;
	if (ioctl(fd, LOOP_SET_STATUS64, &info) != 0)
		return error_set_errno(error, errno, "failed to set loop device info");
	return true;
}

/* By what the device of this mount point is known: after a crash or a reboot its number may be anybody's. */
static char *loop_label(const char *point)
{
	g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, point, -1);
	return g_strdup_printf("containerd-%.32s", sum);
}

static bool loop_is_ours(int fd, const char *point)
{
	struct loop_info64 info;
	g_autofree char *label = loop_label(point);
	return fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 &&
	       strncmp((const char *)info.lo_file_name, label, sizeof info.lo_file_name) == 0;
}

static ActiveMount *loop_mount(const Mount *m, const char *point, GPtrArray *active, GError **error)
{
	g_autofree char *label = loop_label(point);
	LoopParams params = {.autoclear = true, .label = label};
	for (char **o = m->options; *o != NULL; o++)
		params.readonly |= g_str_equal(*o, "ro");
	g_autofree char *device = NULL;
	autofd fd = mount_loop_setup(str_or(m->source, ""), &params, &device, error);
	if (fd < 0)
		return NULL;
	if (symlink(device, point) != 0) {
		error_set_errno(error, errno, "symlink %s %s", device, point);
		return NULL;
	}
	/* until here a crash frees the device; from here on the link says that it is ours */
	if (!set_autoclear(fd, false, error)) {
		unlink(point);
		return NULL;
	}
	ActiveMount *a = active_mount_new(mount_copy(m), point);
	a->data = strmap_new();
	strmap_set(a->data, "device", device);
	return a;
}

/* The device that point leads to; -1 without an error where there is none. */
static int loop_open(const char *point, GError **error)
{
	char device[PATH_MAX];
	ssize_t n = readlink(point, device, sizeof(device) - 1);
	if (n < 0) {
		if (errno != ENOENT)
			error_set_errno(error, errno, "readlink %s", point);
		return -1;
	}
	device[n] = '\0';
	int fd = open(device, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno != ENOENT && errno != ENXIO)
		error_set_errno(error, errno, "open %s", device);
	return fd;
}

/* Upstream's order: the device goes when its last user does, but never while the link still leads to it: it
 * might be somebody else's by then. */
static bool loop_unmount(const char *point, GError **error)
{
	g_autoptr(GError) failed = NULL;
	autofd fd = loop_open(point, &failed);
	if (failed != NULL) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	bool ours = loop_is_ours(fd, point);
	if (ours && !set_autoclear(fd, true, error))
		return error_prefix(error, "failed to set auto clear on loop device of %s", Q(point));
	if (unlink(point) == 0 || errno == ENOENT)
		return true;
	error_set_errno(error, errno, "remove %s", point);
	if (ours)
		set_autoclear(fd, false, NULL);
	return false;
}

static bool loop_is_mounted(const Mount *m, const char *point)
{
	autofd fd = loop_open(point, NULL);
	struct loop_info64 info;
	struct stat st;
	return loop_is_ours(fd, point) && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 &&
	       stat(str_or(m->source, ""), &st) == 0 && info.lo_inode == st.st_ino &&
	       info.lo_device == (((uint64_t)major(st.st_dev) << 8) | minor(st.st_dev));
}

const MountHandler mount_handler_loop = {"loop", loop_mount, loop_unmount, loop_is_mounted};

// ---- erofs ----

#define DMVERITY "X-containerd.dmverity="
#define DEVICE "device="

/* The fds of loop devices must stay open until the mount is there. */
typedef struct {
	int fds[64];
	size_t n;
} Loops;

static void loops_clear(Loops *l)
{
	for (size_t i = 0; i < l->n; i++)
		close(l->fds[i]);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Loops, loops_clear)

static char *loop_for(Loops *l, const char *file, GError **error)
{
	char *device = NULL;
	if (l->n == G_N_ELEMENTS(l->fds)) {
		error_set_class(error, CTRD_ERR_RESOURCE_EXHAUSTED, "more than %zu devices in one mount",
		                G_N_ELEMENTS(l->fds));
		return NULL;
	}
	int fd = mount_loop_setup(file, &(LoopParams){.readonly = true, .autoclear = true}, &device, error);
	if (fd < 0)
		return NULL;
	l->fds[l->n++] = fd;
	return device;
}

/* m with a loop device for each of its files. */
static Mount *with_loops(const Mount *m, Loops *loops, GError **error)
{
	g_autoptr(Mount) copy = mount_copy(m);
	g_free(copy->source);
	copy->source = loop_for(loops, str_or(m->source, ""), error);
	if (copy->source == NULL)
		return NULL;
	for (char **o = copy->options; *o != NULL; o++) {
		if (!g_str_has_prefix(*o, DEVICE))
			continue;
		g_autofree char *device = loop_for(loops, *o + strlen(DEVICE), error);
		if (device == NULL)
			return NULL;
		g_free(*o);
		*o = g_strconcat(DEVICE, device, NULL);
	}
	return g_steal_pointer(&copy);
}

/* Whether a file can be mounted as it is: where the kernel said no once, not asked again. */
static gint files_refused;

static bool is_block(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

static ActiveMount *erofs_mount(const Mount *m, const char *point, GPtrArray *active, GError **error)
{
	g_autoptr(GPtrArray) options = g_ptr_array_new();
	for (char **o = m->options; *o != NULL; o++) {
		if (g_str_has_prefix(*o, DMVERITY)) {
			error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "dm-verity of %s",
			                Q(str_or(m->source, "")));
			return NULL;
		}
		if (!g_str_equal(*o, "loop"))
			g_ptr_array_add(options, *o);
	}
	g_ptr_array_add(options, NULL);
	g_autoptr(Mount) plain =
	        mount_new(m->type, m->source, m->target, (const char *const *)options->pdata);
	bool tried = is_block(str_or(m->source, "")) || !g_atomic_int_get(&files_refused);
	if (tried) {
		g_autoptr(GError) failed = NULL;
		if (mount_at_point(plain, point, &failed))
			return active_mount_new(g_steal_pointer(&plain), point);
		g_autofree char *no_block_device = errno_text(ENOTBLK);
		if (!g_str_has_suffix(failed->message, no_block_device)) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return NULL;
		}
		g_atomic_int_set(&files_refused, 1);
	}
	g_auto(Loops) loops = {.n = 0};
	g_autoptr(Mount) looped = with_loops(plain, &loops, error);
	if (looped == NULL || !mount_at_point(looped, point, error))
		return NULL;
	return active_mount_new(g_steal_pointer(&looped), point);
}

const MountHandler mount_handler_erofs = {"erofs", erofs_mount, system_unmount, system_is_mounted};
