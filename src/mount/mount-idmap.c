// SPDX-License-Identifier: Apache-2.0

/*
 * Idmapped mounts (mount_setattr(2)) and the user namespaces that carry their maps. Upstream:
 * core/mount/mount_idmapped_linux.go.
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/sanitizers.h"
#include "base/util.h"
#include "mount/mount-private.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

// user_namespaces(7): at most 340 lines, written in one go of less than a page
#define MAP_LINES_MAX 340
#define MAP_TEXT_MAX 4095
#define MAP_FORMAT "user namespace mappings require the format `container-id:host-id:size`"

static bool idmap_error(int e, const char *source, const char *target, GError **error)
{
	g_autoptr(MountInfo) info = e == EINVAL ? mount_lookup(source, NULL) : NULL;
	if (info == NULL)
		return error_set_errno(error, e, "unable to shift GID/UID or set mount attrs for %s", target);
	return error_set_errno(
	        error, e,
	        "unable to shift GID/UID or set mount attrs for %s: file system %s of %s, or one "
	        "below it, does not support id-mapped mounts",
	        target, info->fstype, source);
}

bool mount_clone(const char *source, const char *target, const char *shown_target, const MountClone *how,
                 bool *ret_unsupported, GError **error)
{
	unsigned recursive = how->recursive ? AT_RECURSIVE : 0;
	bool unsupported = false;
	if (ret_unsupported == NULL)
		ret_unsupported = &unsupported;

	*ret_unsupported = false;
	autofd tree = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
	if (tree < 0) {
		*ret_unsupported = errno == ENOSYS;
		return error_set_errno(error, errno, "unable to open tree for %s", source);
	}
	struct mount_attr attr = {.attr_set = how->set, .attr_clr = how->clear};
	if (attr.attr_set != 0 || attr.attr_clr != 0) {
		unsigned all = how->set_recursive ? recursive : 0;
		if (mount_setattr(tree, "", AT_EMPTY_PATH | all, &attr, sizeof attr) != 0) {
			*ret_unsupported = errno == ENOSYS;
			return error_set_errno(error, errno, "unable to set mount attrs for %s", source);
		}
	}
	if (how->userns >= 0) {
		attr = (struct mount_attr){.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)how->userns};
		if (mount_setattr(tree, "", AT_EMPTY_PATH | recursive, &attr, sizeof attr) != 0)
			return idmap_error(errno, source, shown_target, error);
	}
	if (how->propagation != 0) {
		unsigned all = (how->propagation & MS_REC) ? AT_RECURSIVE : recursive;
		attr = (struct mount_attr){.propagation = how->propagation & ~(unsigned long)MS_REC};
		if (mount_setattr(tree, "", AT_EMPTY_PATH | all, &attr, sizeof attr) != 0) {
			*ret_unsupported = errno == ENOSYS;
			return error_set_errno(error, errno, "unable to set propagation for %s",
			                       shown_target);
		}
	}
	if (move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) != 0)
		return error_set_errno(error, errno, "unable to attach mount tree to %s", shown_target);
	return true;
}

bool mount_idmap_supported(const char *path, const char *uidmap, const char *gidmap, bool *ret_supported,
                           char **ret_fstype, GError **error)
{
	*ret_supported = true;
	*ret_fstype = NULL;
	autofd userns = mount_userns_fd(uidmap, gidmap, error);
	if (userns < 0)
		return false;
	autofd tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return error_set_errno(error, errno, "unable to open tree for %s", path);
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof attr) == 0)
		return true;
	if (errno != EINVAL)
		return error_set_errno(error, errno, "unable to shift GID/UID for %s", path);
	*ret_supported = false;
	g_autoptr(MountInfo) info = mount_lookup(path, NULL);
	*ret_fstype = g_strdup(info != NULL ? info->fstype : "of this mount");
	return true;
}

// ---- user namespaces ----

/* Text for /proc/<pid>/{u,g}id_map. */
static char *parse_map(const char *map, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_auto(GStrv) lines = g_strsplit(map, ",", MAP_LINES_MAX + 1);

	if (g_strv_length(lines) > MAP_LINES_MAX) {
		error_set(error, CTRD_ERR_UNKNOWN, "too many user namespace mappings, at most %d",
		          MAP_LINES_MAX);
		return NULL;
	}
	if (*map == '\0') { // which g_strsplit makes nothing of, not one empty line
		error_set(error, CTRD_ERR_UNKNOWN, MAP_FORMAT);
		return NULL;
	}
	for (char **line = lines; *line != NULL; line++) {
		static const char *const what[] = {"container id", "host id", "size"};
		g_auto(GStrv) parts = g_strsplit(*line, ":", 4);
		int64_t n[3];
		if (g_strv_length(parts) != 3) {
			error_set(error, CTRD_ERR_UNKNOWN, MAP_FORMAT);
			return NULL;
		}
		for (int i = 0; i < 3; i++) {
			if (!parse_i64(parts[i], &n[i])) {
				error_set(
				        error, CTRD_ERR_UNKNOWN,
				        "invalid %s for user namespace remapping, strconv.Atoi: parsing %s: "
				        "invalid syntax",
				        what[i], Q(parts[i]));
				return NULL;
			}
		}
		if (n[0] < 0 || n[1] < 0 || n[2] < 0) {
			error_set(error, CTRD_ERR_UNKNOWN,
			          "invalid mapping %s, all IDs and size must be positive integers", *line);
			return NULL;
		}
		g_string_append_printf(text,
		                       "%" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT "\n",
		                       n[0], n[1], n[2]);
	}
	if (text->len > MAP_TEXT_MAX) {
		error_set(error, CTRD_ERR_UNKNOWN, "user namespace mappings are too long");
		return NULL;
	}
	return g_strdup(text->str);
}

static bool write_proc(pid_t pid, const char *name, const char *text, GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/%s", pid, name);
	autofd fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", path);
	// one write: the kernel takes a map only once
	ssize_t n = RETRY_EINTR(write(fd, text, strlen(text)));
	if (n != (ssize_t)strlen(text))
		return error_set_errno(error, n < 0 ? errno : EIO, "write %s", path);
	return true;
}

typedef struct {
	pid_t parent;
} Holder;

/*
 * The process that holds the namespace until we have its fd. It shares our memory and our stack of signal
 * masks (all blocked), so it must not touch anything: three raw system calls. It dies with us.
 */
__attribute__((no_sanitize("address", "thread", "undefined"))) static int holder_main(void *data)
{
	const Holder *h = data;
	syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	while (syscall(SYS_getppid) == h->parent)
		syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
	syscall(SYS_exit_group, 0);
	return 0;
}

#define HOLDER_STACK 16384

typedef struct {
	pid_t pid;
	int pidfd;
	void *stack;
} HolderProcess;

static void holder_process_clear(HolderProcess *p)
{
	if (p->pidfd >= 0) {
		syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
		siginfo_t info;
		RETRY_EINTR(waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | __WALL));
		close(p->pidfd);
	}
	g_free(p->stack);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HolderProcess, holder_process_clear)

static bool holder_start(HolderProcess *p, const Holder *h)
{
	sigset_t all, before;
	p->stack = g_malloc(HOLDER_STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	// memory and fds are shared: nothing is copied, and no mount is kept busy by copies of fds. No exit
	// signal: whoever waits for children does not see it
	p->pid = CTRD_CLONE(holder_main, (char *)p->stack + HOLDER_STACK,
	                    CLONE_VM | CLONE_FILES | CLONE_NEWUSER | CLONE_PIDFD, (void *)h, &p->pidfd);
	int saved = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (p->pid < 0)
		p->pidfd = -1;
	errno = saved;
	return p->pid > 0;
}

int mount_userns_fd(const char *uidmap, const char *gidmap, GError **error)
{
	g_autofree char *uids = parse_map(uidmap, error);
	g_autofree char *gids = uids != NULL ? parse_map(gidmap, error) : NULL;
	if (gids == NULL)
		return -1;

	Holder h = {.parent = getpid()};
	g_auto(HolderProcess) p = {.pidfd = -1};
	if (!holder_start(&p, &h)) {
		error_set_errno(error, errno, "failed to start noop process for unshare");
		return -1;
	}
	g_autoptr(GError) ignored = NULL;
	write_proc(p.pid, "setgroups", "deny", &ignored); // only needed without privileges
	if (!write_proc(p.pid, "uid_map", uids, error) || !write_proc(p.pid, "gid_map", gids, error)) {
		error_prefix(error, "failed to start noop process for unshare");
		return -1;
	}
	g_autofree char *ns = g_strdup_printf("/proc/%d/ns/user", p.pid);
	autofd fd = open(ns, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		error_set_errno(error, errno, "failed to get userns file descriptor for %s", ns);
		return -1;
	}
	// still the same process, so what was opened and written by its pid was its own
	if (syscall(SYS_pidfd_send_signal, p.pidfd, 0, NULL, 0) != 0) {
		error_set_errno(error, errno, "failed to ensure child process is alive");
		return -1;
	}
	return fd_steal(&fd);
}
