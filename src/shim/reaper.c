// SPDX-License-Identifier: Apache-2.0

#include "shim/reaper.h"

#include "base/error.h"
#include "base/util.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CODE_UNKNOWN 255
/* Exits kept during a hold. A fork bomb inside a container with the host's pid namespace must not cost us
 * more. */
#define MAX_EARLY 4096

typedef struct {
	ReaperFn fn;
	void *data;
	uv_poll_t *pidfd_poll; // set for a process that is not our child
	int pidfd;
	Reaper *reaper;
	pid_t pid;
} Watch;

typedef struct {
	pid_t pid;
	int code;
	TimeNs at;
} Exit;

struct Reaper {
	Loop *loop;
	int signal_fd;
	uv_poll_t *poll;
	GHashTable *watches; // pid -> Watch*
	unsigned holds;
	GArray *early; // of Exit
};

static void handle_free_(uv_handle_t *handle)
{
	g_free(handle);
}

static void watch_free(void *p)
{
	Watch *w = p;
	if (w->pidfd_poll != NULL) {
		uv_close((uv_handle_t *)w->pidfd_poll, handle_free_);
		close(w->pidfd);
	}
	g_free(w);
}

static void reaper_deliver(Reaper *reaper, pid_t pid, int code, TimeNs at)
{
	Watch *w = g_hash_table_lookup(reaper->watches, GINT_TO_POINTER(pid));
	if (w != NULL) {
		ReaperFn fn = w->fn;
		void *data = w->data;
		g_hash_table_remove(reaper->watches, GINT_TO_POINTER(pid));
		fn(pid, code, at, data);
		return;
	}
	if (reaper->holds > 0 && reaper->early->len < MAX_EARLY) {
		Exit e = {pid, code, at};
		g_array_append_val(reaper->early, e);
	}
}

static void reaper_reap(Reaper *reaper)
{
	for (;;) {
		int status;
		pid_t pid = RETRY_EINTR(waitpid(-1, &status, WNOHANG | __WALL));
		if (pid <= 0)
			return;
		reaper_deliver(reaper, pid,
		               WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
		               time_now());
	}
}

static void on_sigchld(uv_poll_t *poll, int status, int events)
{
	Reaper *reaper = poll->data;
	struct signalfd_siginfo info[4];
	while (read(reaper->signal_fd, info, sizeof info) > 0)
		;
	reaper_reap(reaper);
}

Reaper *reaper_new(Loop *loop, GError **error)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) {
		error_set_errno(error, errno, "failed to set subreaper");
		return NULL;
	}
	autofd fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0) {
		error_set_errno(error, errno, "signalfd");
		return NULL;
	}
	Reaper *reaper = g_new0(Reaper, 1);
	reaper->loop = loop;
	reaper->watches = g_hash_table_new_full(NULL, NULL, NULL, watch_free);
	reaper->early = g_array_new(FALSE, FALSE, sizeof(Exit));
	reaper->signal_fd = fd_steal(&fd);
	reaper->poll = g_new0(uv_poll_t, 1);
	reaper->poll->data = reaper;
	uv_poll_init(loop_uv(loop), reaper->poll, reaper->signal_fd);
	uv_poll_start(reaper->poll, UV_READABLE, on_sigchld);
	return reaper;
}

void reaper_free(Reaper *reaper)
{
	if (reaper == NULL)
		return;
	uv_close((uv_handle_t *)reaper->poll, handle_free_);
	close(reaper->signal_fd);
	g_hash_table_unref(reaper->watches);
	g_array_unref(reaper->early);
	g_free(reaper);
}

static Watch *watch_new(Reaper *reaper, pid_t pid, ReaperFn fn, void *data)
{
	Watch *w = g_new0(Watch, 1);
	*w = (Watch){.fn = fn, .data = data, .pidfd = -1, .reaper = reaper, .pid = pid};
	return w;
}

void reaper_watch(Reaper *reaper, pid_t pid, ReaperFn fn, void *data)
{
	g_hash_table_replace(reaper->watches, GINT_TO_POINTER(pid), watch_new(reaper, pid, fn, data));
}

void reaper_forget(Reaper *reaper, pid_t pid)
{
	g_hash_table_remove(reaper->watches, GINT_TO_POINTER(pid));
}

void reaper_hold(Reaper *reaper)
{
	reaper->holds++;
}

void reaper_release(Reaper *reaper)
{
	g_assert(reaper->holds > 0);
	if (--reaper->holds == 0)
		g_array_set_size(reaper->early, 0);
}

static void on_pidfd(uv_poll_t *poll, int status, int events)
{
	Watch *w = poll->data;
	reaper_deliver(w->reaper, w->pid, CODE_UNKNOWN, time_now());
}

/* The latest remembered exit of the pid: an earlier one with the same number was another process. */
static bool early_take(Reaper *reaper, pid_t pid, int *ret_code, TimeNs *ret_at)
{
	for (guint i = reaper->early->len; i-- > 0;) {
		Exit *e = &g_array_index(reaper->early, Exit, i);
		if (e->pid != pid)
			continue;
		*ret_code = e->code;
		*ret_at = e->at;
		g_array_remove_index(reaper->early, i);
		return true;
	}
	return false;
}

bool reaper_adopt(Reaper *reaper, pid_t pid, ReaperFn fn, void *data, int *ret_code, TimeNs *ret_at)
{
	// A child that still has its pid, running or a zombie, is the one meant, whatever was remembered
	// under that number: a pid is given away again only after its zombie was reaped.
	siginfo_t info;
	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0) {
		reaper_watch(reaper, pid, fn, data);
		return true;
	}
	if (early_take(reaper, pid, ret_code, ret_at))
		return false;
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		*ret_code = CODE_UNKNOWN;
		*ret_at = time_now();
		return false;
	}
	fcntl(pidfd, F_SETFD, FD_CLOEXEC);
	Watch *w = watch_new(reaper, pid, fn, data);
	w->pidfd = pidfd;
	w->pidfd_poll = g_new0(uv_poll_t, 1);
	w->pidfd_poll->data = w;
	uv_poll_init(loop_uv(reaper->loop), w->pidfd_poll, pidfd);
	uv_poll_start(w->pidfd_poll, UV_READABLE, on_pidfd);
	g_hash_table_replace(reaper->watches, GINT_TO_POINTER(pid), w);
	return true;
}
