// SPDX-License-Identifier: Apache-2.0

#include "cgroup/cgroup.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "cgroup/cgroup-private.h"
#include <fcntl.h>
#include <linux/magic.h>
#include <protobuf-c/protobuf-c.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <uv.h>

#define READ_MAX (64 * 1024)

bool cgroup_is_unified(void)
{
	struct statfs st;
	return statfs(CG_MOUNT, &st) == 0 && st.f_type == CGROUP2_SUPER_MAGIC;
}

/* ---- reading and writing ---- */

bool cg_read(const char *dir, const char *name, Arena *arena, char **ret)
{
	*ret = arena_strdup(arena, "");
	g_autofree char *path = path_join(dir, name);
	g_autofree char *text = NULL;
	size_t len;
	if (!file_read(path, READ_MAX, &text, &len, NULL))
		return false;
	*ret = arena_memdup(arena, text, len + 1);
	return true;
}

bool cg_write(const char *dir, const char *name, const char *text, GError **error)
{
	g_autofree char *path = path_join(dir, name);
	autofd fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", path);
	return fd_write_all(fd, text, strlen(text), error) || error_prefix(error, "write %s", path);
}

bool cg_parse_u64(const char *s, uint64_t *ret)
{
	int64_t negative;
	if (parse_u64(s, ret))
		return true;
	*ret = 0;
	return parse_i64(s, &negative) && negative < 0;
}

bool cg_read_u64(const char *dir, const char *name, uint64_t max, uint64_t *ret)
{
	*ret = 0;
	g_autofree char *path = path_join(dir, name);
	autofd fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[32];
	ssize_t n = fd >= 0 ? RETRY_EINTR(read(fd, text, sizeof text - 1)) : -1;
	if (n <= 0)
		return false;
	text[n] = '\0';
	g_strstrip(text);
	if (strcmp(text, "max") == 0) {
		*ret = max;
		return true;
	}
	return cg_parse_u64(text, ret);
}

void cg_parse_fields(char *text, const CgField *fields, size_t n, void *target)
{
	for (char *line; (line = strsep(&text, "\n")) != NULL;) {
		char *value = strchr(line, ' ');
		if (value == NULL)
			continue;
		*value++ = '\0';
		for (size_t i = 0; i < n; i++)
			if (strcmp(fields[i].key, line) == 0)
				cg_parse_u64(value, (uint64_t *)(void *)((char *)target + fields[i].offset));
	}
}

static uint32_t rdma_value(const char *field, const char *key)
{
	size_t n = strlen(key);
	uint64_t v = 0;
	if (strncmp(field, key, n) != 0 || field[n] != '=')
		return 0;
	if (strcmp(field + n + 1, "max") == 0)
		return UINT32_MAX;
	return cg_parse_u64(field + n + 1, &v) && v <= UINT32_MAX ? (uint32_t)v : 0;
}

void cg_parse_rdma(char *text, CgRdmaFn fn, void *data)
{
	for (char *line; (line = strsep(&text, "\n")) != NULL;) {
		g_auto(GStrv) parts = g_strsplit(line, " ", 4);
		if (g_strv_length(parts) != 3)
			continue;
		uint32_t handles = 0, objects = 0;
		for (int i = 1; i < 3; i++) {
			handles += rdma_value(parts[i], "hca_handle");
			objects += rdma_value(parts[i], "hca_object");
		}
		fn(parts[0], handles, objects, data);
	}
}

GPtrArray *cg_huge_page_sizes(void)
{
	GPtrArray *sizes = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) names = dir_list("/sys/kernel/mm/hugepages", 64, NULL);
	for (guint i = 0; names != NULL && i < names->len; i++) {
		const char *name = names->pdata[i];
		g_autofree char *number = NULL;
		uint64_t kb;
		if (g_str_has_prefix(name, "hugepages-") && g_str_has_suffix(name, "kB"))
			number = g_strndup(name + 10, strlen(name) - 12);
		if (number == NULL || !parse_u64(number, &kb))
			continue;
		const char *unit = kb >= 1 << 20 ? "GB" : kb >= 1 << 10 ? "MB" : "KB";
		unsigned shift = kb >= 1 << 20 ? 20 : kb >= 1 << 10 ? 10 : 0;
		g_ptr_array_add(sizes, g_strdup_printf("%" G_GUINT64_FORMAT "%s", kb >> shift, unit));
	}
	return sizes;
}

uint8_t *cg_pack(const void *message, Arena *arena, size_t *ret_len)
{
	*ret_len = protobuf_c_message_get_packed_size(message);
	uint8_t *data = arena_alloc(arena, *ret_len + 1);
	protobuf_c_message_pack(message, data);
	return data;
}

bool cgroup_stat(const Cgroup *cgroup, Arena *arena, const char **ret_type, uint8_t **ret_data,
                 size_t *ret_len, GError **error)
{
	if (cgroup->unified) {
		*ret_type = "io.containerd.cgroups.v2.Metrics";
		return cgroup2_stat(cgroup, arena, ret_data, ret_len, error);
	}
	*ret_type = "io.containerd.cgroups.v1.Metrics";
	cgroup1_stat(cgroup, arena, ret_data, ret_len);
	return true;
}

/* ---- where a process' group is ---- */

static const char *const controllers[CG_N] = {"cpu", "cpuacct", "memory", "blkio", "pids", "rdma", "hugetlb"};

static bool list_has(const char *list, const char *item)
{
	size_t n = strlen(item);
	for (const char *p = list; p != NULL; p = strchr(p, ',') != NULL ? strchr(p, ',') + 1 : NULL)
		if (strncmp(p, item, n) == 0 && (p[n] == ',' || p[n] == '\0'))
			return true;
	return false;
}

/* The part of the hierarchy that is mounted here: inside a cgroup namespace, or a container, not its root. */
static char *v1_mount_root(char *const *mountinfo, const char *controller)
{
	for (; *mountinfo != NULL; mountinfo++) {
		g_auto(GStrv) f = g_strsplit(*mountinfo, " ", -1);
		guint n = g_strv_length(f);
		if (n >= 10 && strcmp(f[n - 3], "cgroup") == 0 && list_has(f[n - 1], controller))
			return g_strdup(f[3]);
	}
	return NULL;
}

static char *v1_mount_point(char *const *mountinfo)
{
	for (; *mountinfo != NULL; mountinfo++) {
		g_auto(GStrv) f = g_strsplit(*mountinfo, " ", -1);
		guint n = g_strv_length(f);
		if (n >= 10 && strcmp(f[n - 3], "cgroup") == 0)
			return g_path_get_dirname(f[4]);
	}
	return NULL;
}

/* path seen from the mount's root. */
static const char *below(const char *root, const char *path)
{
	size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return "/";
	return path[n] != '\0' ? path + n : root;
}

static char *proc_cgroup_path(char *const *lines, const char *controller)
{
	for (; *lines != NULL; lines++) {
		g_auto(GStrv) f = g_strsplit(*lines, ":", 3);
		if (g_strv_length(f) < 3)
			continue;
		if (controller == NULL ? *f[1] == '\0' : list_has(f[1], controller))
			return g_strdup(f[2]);
	}
	return NULL;
}

static char **read_lines(const char *path, GError **error)
{
	g_autofree char *text = NULL;
	size_t len;
	if (!file_read(path, 1024 * 1024, &text, &len, error))
		return NULL;
	return g_strsplit(g_strchomp(text), "\n", -1);
}

static bool load_v1(Cgroup *cgroup, char *const *lines, GError **error)
{
	g_auto(GStrv) mountinfo = read_lines("/proc/self/mountinfo", error);
	if (mountinfo == NULL)
		return false;
	g_autofree char *mount = v1_mount_point(mountinfo);
	if (mount == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "cgroups: cgroup mountpoint does not exist");
	bool any = false;
	for (int i = 0; i < CG_N; i++) {
		g_autofree char *path = proc_cgroup_path(lines, controllers[i]);
		g_autofree char *root = path != NULL ? v1_mount_root(mountinfo, controllers[i]) : NULL;
		if (root == NULL)
			continue;
		cgroup->dir[i] = g_strconcat(mount, "/", controllers[i], below(root, path), NULL);
		if (path_exists(cgroup->dir[i]))
			any = true;
		else
			g_clear_pointer(&cgroup->dir[i], g_free);
	}
	return any || error_set(error, CTRD_ERR_UNKNOWN, "cgroup deleted");
}

static bool load_v2(Cgroup *cgroup, char *const *lines, GError **error)
{
	g_autofree char *path = proc_cgroup_path(lines, NULL);
	if (path == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "cgroup path not found");
	cgroup->path = g_strconcat(CG_MOUNT, path, NULL);
	return true;
}

char *cgroup_read_proc(pid_t pid, GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/cgroup", pid);
	char *text = NULL;
	size_t len;
	return file_read(path, 1024 * 1024, &text, &len, error) ? text : NULL;
}

Cgroup *cgroup_from_proc(const char *text, GError **error)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	g_autoptr(Cgroup) cgroup = g_new0(Cgroup, 1);
	cgroup->unified = cgroup_is_unified();
	if (!(cgroup->unified ? load_v2(cgroup, lines, error) : load_v1(cgroup, lines, error)))
		return NULL;
	return g_steal_pointer(&cgroup);
}

Cgroup *cgroup_load(pid_t pid, GError **error)
{
	g_autofree char *text = cgroup_read_proc(pid, error);
	return text != NULL ? cgroup_from_proc(text, error) : NULL;
}

bool cgroup_exists(const Cgroup *cgroup)
{
	if (cgroup->unified)
		return path_exists(cgroup->path);
	for (int i = 0; i < CG_N; i++)
		if (cgroup->dir[i] != NULL && path_exists(cgroup->dir[i]))
			return true;
	return false;
}

void cgroup_free(Cgroup *cgroup)
{
	if (cgroup == NULL)
		return;
	for (int i = 0; i < CG_N; i++)
		g_free(cgroup->dir[i]);
	g_free(cgroup->path);
	g_free(cgroup);
}

void cgroup_thaw(pid_t pid)
{
	g_autofree char *proc = g_strdup_printf("/proc/%d/cgroup", pid);
	g_auto(GStrv) lines = read_lines(proc, NULL);
	if (lines == NULL)
		return; // gone already
	g_autofree char *path = proc_cgroup_path(lines, cgroup_is_unified() ? NULL : "freezer");
	if (path == NULL)
		return;
	if (cgroup_is_unified()) {
		g_autofree char *dir = g_strconcat(CG_MOUNT, path, NULL);
		cg_write(dir, "cgroup.freeze", "0", NULL);
		return;
	}
	g_auto(GStrv) mountinfo = read_lines("/proc/self/mountinfo", NULL);
	g_autofree char *mount = mountinfo != NULL ? v1_mount_point(mountinfo) : NULL;
	g_autofree char *root = mount != NULL ? v1_mount_root(mountinfo, "freezer") : NULL;
	if (root == NULL)
		return;
	g_autofree char *dir = g_strconcat(mount, "/freezer", below(root, path), NULL);
	cg_write(dir, "freezer.state", "THAWED", NULL);
}

void cgroup_enable_controllers(const Cgroup *cgroup)
{
	if (!cgroup->unified)
		return;
	g_autofree char *path = path_join(CG_MOUNT, "cgroup.controllers");
	g_autofree char *text = NULL;
	size_t len;
	if (!file_read(path, READ_MAX, &text, &len, NULL))
		return;
	g_auto(GStrv) names = g_strsplit(g_strstrip(text), " ", -1);
	g_autoptr(GString) all = g_string_new(NULL);
	for (char **n = names; *n != NULL && **n != '\0'; n++)
		g_string_append_printf(all, "%s+%s", all->len > 0 ? " " : "", *n);
	// The groups above the container's: what is refused (EBUSY, a rootless user's EPERM) leaves things as
	// they are.
	for (const char *end = cgroup->path + strlen(CG_MOUNT); end != NULL; end = strchr(end + 1, '/')) {
		g_autofree char *dir = g_strndup(cgroup->path, (size_t)(end - cgroup->path));
		cg_write(dir, "cgroup.subtree_control", all->str, NULL);
		if (*end == '\0')
			break;
	}
}

/* ---- out of memory ---- */

struct OomWatch {
	bool unified;
	char *dir;
	int fd; // v1: eventfd, v2: inotify
	uint64_t kills;
	uv_poll_t *poll;
	LoopFn fn;
	void *data;
};

static void handle_free_(uv_handle_t *handle)
{
	g_free(handle);
}

static uint64_t read_kills(const OomWatch *w)
{
	g_autoptr(Arena) arena = arena_new();
	char *text;
	uint64_t kills = w->kills;
	const CgField field = {"oom_kill", 0};
	if (cg_read(w->dir, "memory.events", arena, &text))
		cg_parse_fields(text, &field, 1, &kills);
	return kills;
}

void oom_watch_check(OomWatch *w)
{
	char events[512];
	if (w->unified) {
		while (read(w->fd, events, sizeof events) > 0)
			;
		uint64_t kills = read_kills(w);
		if (kills <= w->kills)
			return;
		w->kills = kills;
		w->fn(w->data);
		return;
	}
	// The kernel also signals the eventfd when the group is removed.
	uint64_t n;
	if (read(w->fd, &n, sizeof n) == sizeof n && n > 0 && path_exists(w->dir))
		w->fn(w->data);
}

static void on_oom_event(uv_poll_t *poll, int status, int events)
{
	OomWatch *w = poll->data;
	oom_watch_check(w);
	if (!path_exists(w->dir))
		uv_poll_stop(w->poll);
}

static int open_v1(const char *dir, GError **error)
{
	autofd fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g_autofree char *path = path_join(dir, "memory.oom_control");
	autofd control = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || control < 0) {
		error_set_errno(error, errno, "open %s", path);
		return -1;
	}
	g_autofree char *text = g_strdup_printf("%d %d", fd, control);
	if (!cg_write(dir, "cgroup.event_control", text, error))
		return -1;
	return fd_steal(&fd);
}

static int open_v2(const char *dir, GError **error)
{
	autofd fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0) {
		error_set_errno(error, errno, "failed to create inotify fd");
		return -1;
	}
	const char *const names[] = {"memory.events", "cgroup.events"};
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = path_join(dir, names[i]);
		if (inotify_add_watch(fd, path, IN_MODIFY) < 0) {
			error_set_errno(error, errno, "failed to add inotify watch for %s", Q(path));
			return -1;
		}
	}
	return fd_steal(&fd);
}

OomWatch *oom_watch_new(Loop *loop, const Cgroup *cgroup, LoopFn fn, void *data, GError **error)
{
	const char *dir = cgroup->unified ? cgroup->path : cgroup->dir[CG_MEMORY];
	if (dir == NULL) {
		error_set(error, CTRD_ERR_UNKNOWN, "memory cgroup not supported on this system");
		return NULL;
	}
	int fd = cgroup->unified ? open_v2(dir, error) : open_v1(dir, error);
	if (fd < 0)
		return NULL;
	OomWatch *w = g_new0(OomWatch, 1);
	*w = (OomWatch){.unified = cgroup->unified, .dir = g_strdup(dir), .fd = fd, .fn = fn, .data = data};
	w->poll = g_new0(uv_poll_t, 1);
	w->poll->data = w;
	uv_poll_init(loop_uv(loop), w->poll, fd);
	uv_poll_start(w->poll, UV_READABLE, on_oom_event);
	return w;
}

void oom_watch_free(OomWatch *w)
{
	if (w == NULL)
		return;
	uv_close((uv_handle_t *)w->poll, handle_free_);
	close(w->fd);
	g_free(w->dir);
	g_free(w);
}
