// SPDX-License-Identifier: Apache-2.0

#include "shim/pause.h"

#include "base/error.h"
#include "base/util.h"
#include "shim/idle.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#define MAX_JOINED 8
#define MAX_ERROR 512

typedef struct {
	unsigned long flags;    // namespaces to make
	char *join[MAX_JOINED]; // paths of namespaces to join
	unsigned n_join;
	char *hostname; // NULL: leave it
} Plan;

static void plan_clear(Plan *plan)
{
	for (unsigned i = 0; i < plan->n_join; i++)
		g_free(plan->join[i]);
	g_free(plan->hostname);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Plan, plan_clear)

struct Pause {
	pid_t pid;
	int fd; // the child says "" or an error
	uv_poll_t poll;
	PauseFn fn;
	void *data;
};

/* ---- what is asked for ---- */

static bool plan_namespace(Plan *plan, const char *type, const char *path, GError **error)
{
	static const struct {
		const char *type;
		unsigned long flag;
	} known[] = {{"ipc", CLONE_NEWIPC},
	             {"uts", CLONE_NEWUTS},
	             {"network", CLONE_NEWNET},
	             {"pid", CLONE_NEWPID},
	             {"cgroup", CLONE_NEWCGROUP}};
	// Containers have mount namespaces of their own: nobody would see this one.
	if (strcmp(type, "mount") == 0)
		return true;
	for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
		if (strcmp(known[i].type, type) != 0)
			continue;
		if (str_empty(path)) {
			plan->flags |= known[i].flag;
		} else {
			if (plan->n_join == MAX_JOINED)
				return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
				                       "too many namespaces");
			plan->join[plan->n_join++] = g_strdup(path);
		}
		return true;
	}
	return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "%s namespace of a sandbox without a process",
	                       Q(type));
}

static bool plan_read(Plan *plan, JsonObject *spec, const char *netns_path, GError **error)
{
	JsonObject *namespaces = json_get_array(json_get_object(spec, "linux"), "namespaces");
	if (namespaces == NULL)
		plan->flags = CLONE_NEWIPC | CLONE_NEWUTS;
	for (size_t i = 0; namespaces != NULL && i < json_object_array_length(namespaces); i++) {
		JsonObject *ns = json_object_array_get_idx(namespaces, i);
		const char *type = str_or(json_get_string(ns, "type"), "");
		if (strcmp(type, "network") == 0 && !str_empty(netns_path))
			continue;
		if (!plan_namespace(plan, type, json_get_string(ns, "path"), error))
			return false;
	}
	if (!str_empty(netns_path) && !plan_namespace(plan, "network", netns_path, error))
		return false;
	const char *hostname = json_get_string(spec, "hostname");
	if (!str_empty(hostname) && (plan->flags & CLONE_NEWUTS) != 0)
		plan->hostname = g_strdup(hostname);
	return true;
}

/* ---- the child ---- */

static void on_term(int sig)
{
	_exit(128 + sig);
}

static G_NORETURN void child_fail(int fd, const char *what)
{
	char text[MAX_ERROR];
	int n = snprintf(text, sizeof text, "%s: %s", what, strerrordesc_np(errno));
	ssize_t r = write(fd, text, (size_t)CLAMP(n, 1, (int)sizeof text - 1));
	_exit(r < 0 ? 2 : 1);
}

/* Nothing of the shim may stay open here: a socket that nobody closes, the write end of a pipe. */
static void child_close_all(int keep)
{
	int null = open("/dev/null", O_RDWR);
	for (int i = 0; null >= 0 && i <= STDERR_FILENO; i++)
		dup2(null, i);
	if (keep > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned)keep - 1, 0);
	close_range((unsigned)keep + 1, ~0U, 0);
}

/* In lists of processes this is no second shim. */
static void child_rename(void)
{
	char cmdline[4096];
	prctl(PR_SET_NAME, "pause");
	autofd fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, cmdline, sizeof cmdline) : 0;
	if (n <= 0)
		return;
	memset(program_invocation_name, 0, (size_t)n);
	memcpy(program_invocation_name, "pause", MIN(sizeof "pause", (size_t)n));
}

static G_NORETURN void child_main(const Plan *plan, int fd, pid_t parent)
{
	child_close_all(fd);
	child_rename();
	// In a pid namespace of its own the parent is 0.
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    ((plan->flags & CLONE_NEWPID) == 0 && getppid() != parent))
		_exit(1);
	setsid();
	for (unsigned i = 0; i < plan->n_join; i++) {
		autofd ns = open(plan->join[i], O_RDONLY | O_CLOEXEC);
		if (ns < 0 || setns(ns, 0) < 0)
			child_fail(fd, plan->join[i]);
	}
	if (plan->hostname != NULL && sethostname(plan->hostname, strlen(plan->hostname)) < 0)
		child_fail(fd, "sethostname");
	const struct sigaction reap = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
	const struct sigaction term = {.sa_handler = on_term};
	sigaction(SIGCHLD, &reap, NULL);
	sigaction(SIGTERM, &term, NULL);
	sigaction(SIGINT, &term, NULL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close(fd);
	idle_drop();
	for (;;)
		pause();
}

/* ---- the parent ---- */

static void on_poll_closed(uv_handle_t *handle)
{
	Pause *p = handle->data;
	close(p->fd);
	g_free(p);
}

static void on_said(uv_poll_t *poll, int status, int events)
{
	Pause *p = poll->data;
	char text[MAX_ERROR];
	ssize_t n = RETRY_EINTR(read(p->fd, text, sizeof text - 1));
	if (n < 0 && errno == EAGAIN)
		return;
	GError *error = NULL;
	if (n != 0) {
		text[n > 0 ? n : 0] = '\0';
		error_set(&error, CTRD_ERR_UNKNOWN, "%s", n > 0 ? text : "the pause process said nothing");
	}
	p->fn(error == NULL ? p->pid : 0, error, p->data);
	uv_close((uv_handle_t *)poll, on_poll_closed);
}

Pause *pause_start(Loop *loop, JsonObject *spec, const char *netns_path, PauseFn fn, void *data,
                   GError **error)
{
	g_auto(Plan) plan = {0};
	if (!plan_read(&plan, spec, netns_path, error))
		return NULL;
	int fd[2];
	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0) {
		error_set_errno(error, errno, "pipe2");
		return NULL;
	}
	pid_t parent = getpid();
	pid_t pid = (pid_t)syscall(SYS_clone, plan.flags | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		child_main(&plan, fd[1], parent);
	int errnum = errno;
	close(fd[1]);
	if (pid < 0) {
		close(fd[0]);
		error_set_errno(error, errnum, "clone");
		return NULL;
	}
	Pause *p = g_new0(Pause, 1);
	*p = (Pause){.pid = pid, .fd = fd[0], .fn = fn, .data = data};
	p->poll.data = p;
	uv_poll_init(loop_uv(loop), &p->poll, p->fd);
	uv_poll_start(&p->poll, UV_READABLE, on_said);
	return p;
}

pid_t pause_pid(const Pause *pause)
{
	return pause->pid;
}
