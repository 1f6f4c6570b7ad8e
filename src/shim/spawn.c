// SPDX-License-Identifier: Apache-2.0

#include "shim/spawn.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/sanitizers.h"
#include "base/util.h"
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define OUTPUT_MAX (64 * 1024)
#define CHILD_STACK (64 * 1024)
/* Sources are moved up here, so that no dup2 in the child overwrites a source it still needs. */
#define FD_FLOOR 16

typedef struct {
	const SpawnSpec *spec;
	const char *path;
	char *const *envp;
	int fds[SPAWN_MAX_FDS];
	pid_t parent;
	int errnum; // written by the child
} Child;

/* Between clone and exec, in our memory: system calls only. */
static int child_main(void *p)
{
	Child *c = p;
	const SpawnSpec *spec = c->spec;
	int r = spec->own_session ? (int)setsid() : setpgid(0, 0);
	if (r < 0)
		goto failed;
	if (spec->die_with_us) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
			goto failed;
		if (getppid() != c->parent)
			_exit(127);
	}
	for (unsigned i = 0; i < spec->n_fds; i++)
		if (dup2(c->fds[i], (int)i) < 0)
			goto failed;
	close_range(spec->n_fds, ~0U, 0);
	if (spec->cwd != NULL && chdir(spec->cwd) < 0)
		goto failed;
	// The shim blocks and ignores signals; its children start with a clean slate.
	signal(SIGPIPE, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(c->path, (char *const *)spec->argv, c->envp);
failed:
	c->errnum = errno;
	_exit(127);
}

static char **child_env(void)
{
	GPtrArray *env = g_ptr_array_new();
	for (char **e = environ; *e != NULL; e++) {
		// It would make runc wait for the container's readiness message; upstream's go-runc drops it
		// as well.
		if (!g_str_has_prefix(*e, "NOTIFY_SOCKET="))
			g_ptr_array_add(env, *e);
	}
	g_ptr_array_add(env, NULL);
	return (char **)g_ptr_array_free(env, FALSE);
}

static bool child_fds(Child *c, GError **error)
{
	for (unsigned i = 0; i < c->spec->n_fds; i++) {
		autofd null = -1;
		int source = c->spec->fds[i];
		if (source < 0) {
			null = source = open("/dev/null", O_RDWR | O_CLOEXEC);
			if (source < 0)
				return error_set_errno(error, errno, "open /dev/null");
		}
		c->fds[i] = fcntl(source, F_DUPFD_CLOEXEC, FD_FLOOR);
		if (c->fds[i] < 0)
			return error_set_errno(error, errno, "dup");
	}
	return true;
}

static pid_t child_clone(Child *c)
{
	// The child must not run with our signals open: a handler would run on the shared memory.
	sigset_t all, saved;
	sigfillset(&all);
	void *stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK,
	                   -1, 0);
	if (stack == MAP_FAILED)
		return -1;
	sigprocmask(SIG_SETMASK, &all, &saved);
	pid_t pid = CTRD_CLONE(child_main, (char *)stack + CHILD_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, c);
	int errnum = errno;
	sigprocmask(SIG_SETMASK, &saved, NULL);
	munmap(stack, CHILD_STACK);
	errno = errnum;
	return pid;
}

pid_t spawn_child(const SpawnSpec *spec, GError **error)
{
	// As Go: a path is not looked at before it is executed, so the error is execve's.
	g_autofree char *path =
	        strchr(spec->file, '/') != NULL ? g_strdup(spec->file) : process_lookup(spec->file, error);
	if (path == NULL)
		return -1;
	g_autofree char **env = spec->envp == NULL ? child_env() : NULL;
	Child c = {.spec = spec, .path = path, .envp = env != NULL ? env : spec->envp, .parent = getpid()};
	memset(c.fds, -1, sizeof c.fds);
	pid_t pid = -1;
	if (child_fds(&c, error)) {
		pid = child_clone(&c);
		if (pid < 0)
			error_set_errno(error, errno, "fork/exec %s", path);
	}
	for (unsigned i = 0; i < SPAWN_MAX_FDS; i++)
		if (c.fds[i] >= 0)
			close(c.fds[i]);
	if (pid > 0 && c.errnum != 0) {
		// Its zombie is reaped with all others, by nobody's watch.
		error_set_errno(error, c.errnum, "fork/exec %s", path);
		return -1;
	}
	return pid;
}

/* ---- commands ---- */

struct Command {
	pid_t pid;
	int capture; // memfd, or -1
	CommandFn fn;
	void *data;
};

/* A file in memory that grows no further than OUTPUT_MAX: written by the child at its own pace, read once. */
static int capture_open(GError **error)
{
	autofd fd = memfd_create("output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, OUTPUT_MAX) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) < 0) {
		error_set_errno(error, errno, "memfd");
		return -1;
	}
	return fd_steal(&fd);
}

static char *capture_read(int fd, size_t *ret_len)
{
	off_t end = fd >= 0 ? lseek(fd, 0, SEEK_CUR) : 0;
	size_t len = end > 0 ? MIN((size_t)end, OUTPUT_MAX) : 0;
	char *text = g_malloc(len + 1);
	ssize_t n = len > 0 ? pread(fd, text, len, 0) : 0;
	*ret_len = n > 0 ? (size_t)n : 0;
	text[*ret_len] = '\0';
	return text;
}

static void on_command_exit(pid_t pid, int code, TimeNs at, void *data)
{
	Command *command = data;
	size_t len;
	g_autofree char *output = capture_read(command->capture, &len);
	if (command->capture >= 0)
		close(command->capture);
	CommandFn fn = command->fn;
	void *fn_data = command->data;
	g_free(command);
	fn(code, output, len, fn_data);
}

Command *command_start(Reaper *reaper, const char *file, const char *const *argv, int in, int out, int err,
                       CommandFn fn, void *data, GError **error)
{
	autofd capture = -1;
	if (out == COMMAND_CAPTURE || err == COMMAND_CAPTURE) {
		capture = capture_open(error);
		if (capture < 0)
			return NULL;
	}
	SpawnSpec spec = {
	        .file = file,
	        .argv = argv,
	        .fds = {in, out == COMMAND_CAPTURE ? capture : out, err == COMMAND_CAPTURE ? capture : err},
	        .n_fds = 3,
	        .die_with_us = true};
	pid_t pid = spawn_child(&spec, error);
	if (pid < 0)
		return NULL;
	Command *command = g_new0(Command, 1);
	*command = (Command){.pid = pid, .capture = fd_steal(&capture), .fn = fn, .data = data};
	reaper_watch(reaper, pid, on_command_exit, command);
	return command;
}

void command_kill(Command *command)
{
	kill(-command->pid, SIGKILL);
	kill(command->pid, SIGKILL);
}

pid_t command_pid(Command *command)
{
	return command->pid;
}

/* ---- helpers ---- */

typedef struct {
	int result; // memfd: nothing for success, else the class as one byte and the text
	HelperDone done;
	void *data;
} Helper;

static void on_helper_exit(pid_t pid, int code, TimeNs at, void *data)
{
	Helper *h = data;
	size_t len;
	g_autofree char *text = capture_read(h->result, &len);
	close(h->result);
	GError *error = NULL;
	if (len >= 1)
		error = g_error_new_literal(CTRD_ERROR, (unsigned char)text[0], text + 1);
	else if (code != 0)
		error_set(&error, CTRD_ERR_INTERNAL, "helper process failed: exit status %d", code);
	HelperDone done = h->done;
	void *done_data = h->data;
	g_free(h);
	done(error, done_data);
}

static G_NORETURN void helper_child(HelperFn fn, void *fn_data, int result)
{
	g_autoptr(GError) error = NULL;
	if (!fn(fn_data, &error)) {
		unsigned char class = (unsigned char)error_class(error);
		if (!fd_write_all(result, &class, 1, NULL) ||
		    !fd_write_all(result, error->message, MIN(strlen(error->message), OUTPUT_MAX - 1), NULL))
			_exit(1);
	}
	_exit(0);
}

void helper_run(Reaper *reaper, HelperFn fn, void *fn_data, HelperDone done, void *done_data)
{
	GError *error = NULL;
	autofd result = capture_open(&error);
	if (result < 0) {
		done(error, done_data);
		return;
	}
	pid_t pid = fork();
	if (pid == 0)
		helper_child(fn, fn_data, result);
	if (pid < 0) {
		error_set_errno(&error, errno, "fork");
		done(error, done_data);
		return;
	}
	Helper *h = g_new0(Helper, 1);
	*h = (Helper){.result = fd_steal(&result), .done = done, .data = done_data};
	reaper_watch(reaper, pid, on_helper_exit, h);
}
