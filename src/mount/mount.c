// SPDX-License-Identifier: Apache-2.0

#include "mount/mount.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/util.h"
#include "mount/mount-private.h"
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

Mount *mount_new(const char *type, const char *source, const char *target, const char *const *options)
{
	Mount *m = g_new0(Mount, 1);
	m->type = g_strdup(type);
	m->source = g_strdup(source);
	m->target = g_strdup(target);
	m->options = options != NULL ? g_strdupv((char **)options) : g_new0(char *, 1);
	return m;
}

Mount *mount_copy(const Mount *m)
{
	return mount_new(m->type, m->source, m->target, (const char *const *)m->options);
}

void mount_free(Mount *m)
{
	if (m == NULL)
		return;
	g_free(m->type);
	g_free(m->source);
	g_free(m->target);
	g_strfreev(m->options);
	g_free(m);
}

static void mount_free_void(void *m)
{
	mount_free(m);
}

GPtrArray *mounts_new(void)
{
	return g_ptr_array_new_with_free_func(mount_free_void);
}

// ---- mount(2) ----

typedef struct {
	const char *dir, *source, *target, *type, *data;
	unsigned long flags;
	const char *failed; // what failed other than mount(2) itself
	int error;
} MountCall;

static void *mount_in_dir(void *data)
{
	MountCall *c = data;
	// the current directory belongs to all threads, unless one leaves them
	if (unshare(CLONE_FS) != 0) {
		c->failed = "unshare";
		c->error = errno;
	} else if (chdir(c->dir) != 0) {
		c->failed = "chdir";
		c->error = errno;
	} else if (mount(c->source, c->target, c->type, c->flags, c->data) != 0) {
		c->error = errno;
	}
	return NULL;
}

static int run_in_thread(MountCall *c)
{
	sigset_t all, before;
	pthread_t thread;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&thread, NULL, mount_in_dir, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		c->failed = "pthread_create";
		return r;
	}
	pthread_join(thread, NULL);
	return c->error;
}

#define OVERLAY_LOWERS_MAX 500 // OVL_MAX_STACK

/* dir: what relative lower directories are relative to. */
static char *overlay_reason(int e, const char *dir, const char *data)
{
	g_auto(GStrv) options = g_strsplit(str_or(data, ""), ",", -1);
	size_t index;
	g_auto(GStrv) lowers = mount_overlay_lowers((const char *const *)options, &index);
	guint n = lowers != NULL ? g_strv_length(lowers) : 0;
	if (n > OVERLAY_LOWERS_MAX)
		return g_strdup_printf(": overlay takes at most %d lower directories, these are %u",
		                       OVERLAY_LOWERS_MAX, n);
	for (guint i = 0; e == ENOENT && i < n; i++) {
		g_autofree char *path =
		        dir != NULL ? g_build_filename(dir, lowers[i], NULL) : g_strdup(lowers[i]);
		if (!path_exists(path))
			return g_strdup_printf(": lower directory %s", path);
	}
	for (char **o = options; e == ENOENT && *o != NULL; o++) {
		bool work = g_str_has_prefix(*o, "workdir=");
		if ((work || g_str_has_prefix(*o, "upperdir=")) && !path_exists(strchr(*o, '=') + 1))
			return g_strdup_printf(": %s directory %s", work ? "work" : "upper",
			                       strchr(*o, '=') + 1);
	}
	return g_strdup("");
}

/* What mount(2)'s error number does not say, ": because"; "" where it says enough. */
static char *reason(int e, const MountCall *c)
{
	if (e == ENODEV && !(c->flags & (MS_BIND | MS_REMOUNT)))
		return g_strdup(": the kernel does not know this type of file system");
	if (e == ENOENT && !path_exists(c->target))
		return g_strdup(": the target");
	if ((e == EINVAL || e == ENOENT) && g_strcmp0(c->type, "overlay") == 0)
		return overlay_reason(e, c->dir, c->data);
	if (e == ENOENT && c->source != NULL && *c->source == '/' && !path_exists(c->source))
		return g_strdup(": the source");
	return g_strdup("");
}

bool mount_syscall(const char *dir, const char *source, const char *target, const char *shown_target,
                   const char *type, unsigned long flags, const char *data, GError **error)
{
	MountCall c = {dir, source, target, type, str_empty(data) ? NULL : data, flags, NULL, 0};
	int e = 0;
	if (dir != NULL)
		e = run_in_thread(&c);
	else if (mount(source, target, type, flags, c.data) != 0)
		e = errno;
	if (e == 0)
		return true;
	if (c.failed != NULL)
		return error_set_errno(error, e, "%s %s", c.failed, dir);
	g_autofree char *quoted_source = go_quote(str_or(source, ""));
	g_autofree char *quoted_target = go_quote(shown_target);
	g_autofree char *quoted_data = go_quote(str_or(data, ""));
	g_autofree char *why = reason(e, &c);
	return error_set_errno(error, e,
	                       "mount source: %s, target: %s, fstype: %s, flags: %lu, data: %s, err%s",
	                       quoted_source, quoted_target, str_or(type, ""), flags, quoted_data, why);
}

// ---- binds ----

#define ATIME_FLAGS (MS_NOATIME | MS_STRICTATIME | MS_RELATIME)

/* The way of kernels without mount_setattr(2): mount, then remount with the flags that the mount has and
 * ours. In a user namespace the flags that the mount has cannot be taken away anyway. */
static bool bind_by_remount(const Mount *m, const MountOptions *o, const char *target, const char *shown,
                            GError **error)
{
	if (!mount_syscall(NULL, m->source, target, shown, str_or(m->type, ""), o->flags & (MS_BIND | MS_REC),
	                   NULL, error))
		return false;
	unsigned long want = o->flags & ~(unsigned long)(MS_BIND | MS_REC);
	if ((want | o->cleared) == 0)
		return true;
	struct statvfs st;
	if (statvfs(target, &st) != 0)
		return error_set_errno(error, errno, "statfs %s", shown);
	static const struct {
		unsigned long st, ms;
	} kept[] = {{ST_RDONLY, MS_RDONLY},    {ST_NOSUID, MS_NOSUID},   {ST_NODEV, MS_NODEV},
	            {ST_NOEXEC, MS_NOEXEC},    {ST_NOATIME, MS_NOATIME}, {ST_NODIRATIME, MS_NODIRATIME},
	            {ST_RELATIME, MS_RELATIME}};
	unsigned long flags = 0;
	for (size_t i = 0; i < G_N_ELEMENTS(kept); i++)
		flags |= (st.f_flag & kept[i].st) ? kept[i].ms : 0;
	if (want & ATIME_FLAGS)
		flags &= ~(unsigned long)ATIME_FLAGS;
	flags = (flags & ~o->cleared) | want | MS_BIND | MS_REMOUNT;
	if (!mount_syscall(NULL, NULL, target, shown, NULL, flags, NULL, error)) {
		umount2(target, MNT_DETACH);
		return false;
	}
	return true;
}

static bool bind(const Mount *m, const MountOptions *o, int userns, const char *target, const char *shown,
                 GError **error)
{
	MountClone how = {
	        .recursive = (o->flags & MS_REC) != 0,
	        .set = mount_attributes(o->flags),
	        .clear = mount_attributes(o->cleared) & ~(uint64_t)MOUNT_ATTR__ATIME,
	        .userns = userns,
	        .propagation = o->propagation,
	};
	if ((o->flags | o->cleared) & ATIME_FLAGS)
		how.clear |= MOUNT_ATTR__ATIME;

	bool unsupported = false;
	g_autoptr(GError) failed = NULL;
	if (mount_clone(str_or(m->source, ""), target, shown, &how, &unsupported, &failed))
		return true;
	if (!unsupported || userns >= 0) {
		g_autofree char *source = go_quote(str_or(m->source, ""));
		g_autofree char *at = go_quote(shown);
		g_propagate_error(error, g_steal_pointer(&failed));
		return error_prefix(error, "mount source: %s, target: %s, fstype: %s, flags: %lu, err",
		                    source, at, str_or(m->type, ""), o->flags);
	}
	if (!bind_by_remount(m, o, target, shown, error))
		return false;
	return o->propagation == 0 ||
	       mount_syscall(NULL, NULL, target, shown, NULL, o->propagation, NULL, error);
}

// ---- everything else ----

static char *join_data(const MountOptions *o)
{
	g_autoptr(GString) s = g_string_new(NULL);
	for (guint i = 0; i < o->data->len; i++)
		g_string_append_printf(s, "%s%s", i > 0 ? "," : "", (char *)o->data->pdata[i]);
	return g_string_free(g_steal_pointer(&s), FALSE);
}

static bool take_direct_io(MountOptions *o)
{
	for (guint i = 0; i < o->data->len; i++) {
		if (g_str_equal(o->data->pdata[i], "direct-io")) {
			g_ptr_array_remove_index(o->data, i);
			return true;
		}
	}
	return false;
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static bool too_long(const Mount *m, const char *shown, size_t n, GError **error)
{
	g_autofree char *source = go_quote(str_or(m->source, ""));
	g_autofree char *target = go_quote(shown);
	return error_set(error, CTRD_ERR_UNKNOWN,
	                 "mount source: %s, target: %s, fstype: %s: %zu bytes of options, at most %zu fit: "
	                 "mount options is too long",
	                 source, target, str_or(m->type, ""), n, page_size() - 1);
}

static bool mount_plain(const Mount *m, MountOptions *o, const char *dir, const char *target,
                        const char *shown, GError **error)
{
	autofd loop = -1;
	g_autofree char *device = NULL;
	const char *source = m->source;
	LoopParams params = {.readonly = (o->flags & MS_RDONLY) != 0, .autoclear = true};

	if (o->loop)
		params.direct = take_direct_io(o);
	g_autofree char *data = join_data(o);
	if (strlen(data) >= page_size())
		return too_long(m, shown, strlen(data), error);
	// a remount without data only changes flags of the mount or its propagation
	if ((o->flags & MS_REMOUNT) && *data == '\0' && o->propagation != 0)
		return true;
	if (o->loop) {
		loop = mount_loop_setup(str_or(m->source, ""), &params, &device, error);
		if (loop < 0)
			return false;
		source = device;
	}
	return mount_syscall(dir, source, target, shown, m->type, o->flags, data, error);
}

static size_t strv_size(char *const *strv)
{
	size_t n = 0;
	for (; *strv != NULL; strv++)
		n += strlen(*strv) + 1;
	return n;
}

/* Overlay whose options do not fit a page with space to spare: one call per lower directory, else relative to
 * their common directory as upstream, else through short links. */
static bool mount_big_overlay(const Mount *m, MountOptions *o, const char *target, const char *shown,
                              GError **error)
{
	bool unsupported = false;
	if (mount_overlay_fsconfig(m, o, target, &unsupported, error))
		return true;
	if (!unsupported)
		return false;

	g_autofree char *dir = NULL;
	g_ptr_array_add(o->data, NULL);
	const char *const *options = (const char *const *)o->data->pdata;
	char **compact = mount_overlay_compact(options, &dir);
	bool links = compact == NULL || strv_size(compact) >= page_size();
	if (links) {
		g_strfreev(compact);
		g_clear_pointer(&dir, g_free);
		compact = mount_overlay_links(options, mount_temp_dir(), &dir, error);
	}
	g_ptr_array_set_size(o->data, (gint)o->data->len - 1);
	if (compact == NULL)
		return false;
	g_ptr_array_set_size(o->data, 0);
	for (char **c = compact; *c != NULL; c++)
		g_ptr_array_add(o->data, *c);
	g_free(compact);
	bool ok = mount_plain(m, o, dir, target, shown, error);
	if (links)
		mount_overlay_links_done(dir);
	return ok;
}

static size_t data_size(const MountOptions *o)
{
	size_t n = 0;
	for (guint i = 0; i < o->data->len; i++)
		n += strlen(o->data->pdata[i]) + 1;
	return n;
}

static bool mount_overlay(const Mount *m, MountOptions *o, const char *target, const char *shown,
                          GError **error)
{
	// 512: for what the kernel and the fs add
	if (data_size(o) >= page_size() - 512)
		return mount_big_overlay(m, o, target, shown, error);
	return mount_plain(m, o, NULL, target, shown, error);
}

static bool mount_idmapped_overlay(const Mount *m, MountOptions *o, int userns, const char *target,
                                   const char *shown, GError **error)
{
	g_autofree char *dir = NULL;
	g_ptr_array_add(o->data, NULL);
	char **mapped = mount_overlay_idmap((const char *const *)o->data->pdata, userns, mount_temp_dir(),
	                                    &dir, error);
	g_ptr_array_set_size(o->data, (gint)o->data->len - 1);
	if (mapped == NULL)
		return error_prefix(error, "failed to prepare idmapped overlay");
	g_ptr_array_set_size(o->data, 0);
	for (char **c = mapped; *c != NULL; c++)
		g_ptr_array_add(o->data, *c);
	g_free(mapped);
	bool ok = mount_overlay(m, o, target, shown, error);
	mount_overlay_idmap_done(dir);
	return ok;
}

// ---- helpers ----

static const char *const helpers[] = {"mount.fuse", "mount.fuse3"};

static bool mount_by_helper(const Mount *m, const char *helper, const char *fs, const char *shown,
                            GError **error)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	g_ptr_array_add(argv, (char *)helper);
	g_ptr_array_add(argv, (char *)str_or(m->source, ""));
	g_ptr_array_add(argv, (char *)shown);
	for (char **o = m->options; *o != NULL; o++) {
		g_ptr_array_add(argv, (char *)"-o");
		g_ptr_array_add(argv, *o);
	}
	g_ptr_array_add(argv, (char *)"-t");
	g_ptr_array_add(argv, (char *)fs);
	g_ptr_array_add(argv, NULL);

	g_auto(ProcessResult) result = {0};
	ProcessSpec spec = {.argv = (const char *const *)argv->pdata,
	                    .merge_stderr = true,
	                    .timeout_ns = INT64_C(60) * 1000000000};
	g_autofree char *args = g_strjoinv(" ", (char **)argv->pdata + 1);
	if (!process_run(&spec, &result, error))
		return error_prefix(error, "mount helper [%s [%s]] failed: \"\"", helper, args);
	if (result.status == 0)
		return true;
	g_autofree char *out = go_quote(result.out);
	g_autofree char *status = process_status_text(result.status);
	return error_set(error, CTRD_ERR_UNKNOWN, "mount helper [%s [%s]] failed: %s: %s", helper, args, out,
	                 status);
}

static bool mount_at(const Mount *m, const char *target, const char *shown, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(helpers); i++) {
		const char *prefix = helpers[i] + strlen("mount.");
		size_t n = strlen(prefix);
		if (m->type != NULL && strncmp(m->type, prefix, n) == 0 && m->type[n] == '.')
			return mount_by_helper(m, helpers[i], m->type + n + 1, shown, error);
	}

	g_auto(MountOptions) o = {0};
	if (!mount_options_parse((const char *const *)m->options, &o, error))
		return false;
	autofd userns = -1;
	// only both together mean something
	if (!str_empty(o.uidmap) && !str_empty(o.gidmap)) {
		userns = mount_userns_fd(o.uidmap, o.gidmap, error);
		if (userns < 0)
			return false;
	}
	if ((o.flags & MS_BIND) && !(o.flags & MS_REMOUNT))
		return bind(m, &o, userns, target, shown, error);

	bool ok;
	if (g_strcmp0(m->type, "overlay") == 0)
		ok = userns >= 0 ? mount_idmapped_overlay(m, &o, userns, target, shown, error)
		                 : mount_overlay(m, &o, target, shown, error);
	else
		ok = mount_plain(m, &o, NULL, target, shown, error);
	if (ok && o.propagation != 0)
		ok = mount_syscall(NULL, NULL, target, shown, NULL, o.propagation, NULL, error);
	if (ok && userns >= 0 && g_strcmp0(m->type, "overlay") != 0) {
		MountClone how = {.recursive = true, .userns = userns, .propagation = MS_PRIVATE};
		ok = mount_clone(target, target, shown, &how, NULL, error);
	}
	return ok;
}

// ---- lists ----

/* Where a mount goes: *ret_target is what to give to system calls, *ret_shown what to tell people. With a
 * target of its own the fd keeps it from being replaced by a link in between. */
static bool resolve_target(const Mount *m, const char *root, int *ret_fd, char **ret_target, char **ret_shown,
                           GError **error)
{
	*ret_fd = -1;
	if (str_empty(m->target)) {
		*ret_target = g_strdup(root);
		*ret_shown = g_strdup(root);
		return true;
	}
	autofd dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		error_set_errno(error, errno, "open %s", root);
	else
		*ret_fd = open_in_root(dir, m->target, O_PATH, 0, error);
	if (*ret_fd < 0)
		return error_prefix(error, "failed to join path %s with root %s", Q(m->target), Q(root));
	*ret_target = g_strdup_printf("/proc/self/fd/%d", *ret_fd);
	char path[PATH_MAX];
	ssize_t n = readlink(*ret_target, path, sizeof path);
	*ret_shown = n > 0 ? g_strndup(path, (gsize)n) : g_strdup(m->target);
	return true;
}

static bool mount_one(const Mount *m, const char *root, GError **error)
{
	autofd fd = -1;
	g_autofree char *target = NULL, *shown = NULL;
	return resolve_target(m, root, &fd, &target, &shown, error) && mount_at(m, target, shown, error);
}

bool mounts_mount(GPtrArray *mounts, const char *target, GError **error)
{
	for (guint i = 0; i < mounts->len; i++) {
		if (mount_one(mounts->pdata[i], target, error))
			continue;
		g_autoptr(GPtrArray) done = g_ptr_array_new();
		for (guint j = 0; j < i; j++)
			g_ptr_array_add(done, mounts->pdata[j]);
		g_autoptr(GError) ignored = NULL;
		mounts_unmount(done, target, 0, &ignored);
		return false;
	}
	return true;
}
