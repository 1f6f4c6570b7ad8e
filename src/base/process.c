// SPDX-License-Identifier: Apache-2.0
#include "base/process.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/inflight.h"
#include "base/time.h"
#include "base/util.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define OUTPUT_DEFAULT (1024 * 1024)

extern char **environ;

void process_result_clear(ProcessResult *r)
{
	g_clear_pointer(&r->out, g_free);
	g_clear_pointer(&r->err, g_free);
}

/* 0, or why a file cannot be executed. */
static int check_executable(const char *path)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
		return errno;
	return 0;
}

char *process_lookup(const char *file, GError **error)
{
	if (strchr(file, '/') != NULL) {
		int e = check_executable(file);
		if (e == 0)
			return g_strdup(file);
		// Go has the path once more where stat(2) is what failed
		bool by_stat = e != EISDIR && e != EACCES;
		error_set_errno(error, e, by_stat ? "exec: %s: stat %s" : "exec: %s", Q(file), file);
		return NULL;
	}
	const char *path = getenv("PATH");
	g_auto(GStrv) dirs = g_strsplit(str_or(path, ""), ":", -1);
	for (char **dir = dirs; *file != '\0' && *dir != NULL; dir++) {
		// an empty element means the working directory: Go refuses to run such a find
		if (**dir == '\0')
			continue;
		g_autofree char *candidate = path_join(*dir, file);
		if (check_executable(candidate) == 0)
			return g_steal_pointer(&candidate);
	}
	error_set(error, CTRD_ERR_UNKNOWN, "exec: %s: executable file not found in $PATH", Q(file));
	return NULL;
}

/* What Go's os/exec says of a wait status. */
char *process_status_text(int status)
{
	if (WIFEXITED(status))
		return g_strdup_printf("exit status %d", WEXITSTATUS(status));
	if (!WIFSIGNALED(status))
		return g_strdup_printf("wait status %d", status);
	const char *name = sigdescr_np(WTERMSIG(status));
	if (name == NULL)
		return g_strdup_printf("signal: signal %d", WTERMSIG(status));
	// spelt as errnos are: glibc's text with a small first letter, unless the second is a capital
	g_autofree char *text = g_strdup(name);
	if (!g_ascii_isupper(text[1]))
		text[0] = g_ascii_tolower(text[0]);
	return g_strdup_printf("signal: %s%s", text, WCOREDUMP(status) ? " (core dumped)" : "");
}

typedef struct {
	const char *const *argv, *const *envp;
	const char *cwd;
	int fds[3];
	bool own_session, own_group;
} Spawn;

/* The file actions: fds (or /dev/null where -1) become 0, 1 and 2. held: duplicates to close afterwards. */
static int add_fds(posix_spawn_file_actions_t *actions, const Spawn *spawn, int held[3])
{
	for (int i = 0; i < 3; i++) {
		if (spawn->fds[i] < 0) {
			int e = posix_spawn_file_actions_addopen(actions, i, "/dev/null",
			                                         i == 0 ? O_RDONLY : O_WRONLY, 0);
			if (e != 0)
				return e;
			continue;
		}
		int fd = spawn->fds[i];
		if (fd < 3) {
			// one of the three itself: a copy, which an earlier action cannot overwrite
			fd = held[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
			if (fd < 0)
				return errno;
		}
		int e = posix_spawn_file_actions_adddup2(actions, fd, i);
		if (e != 0)
			return e;
	}
	return spawn->cwd != NULL ? posix_spawn_file_actions_addchdir_np(actions, spawn->cwd) : 0;
}

static rlim_t child_nofile;

void process_set_child_nofile(uint64_t soft)
{
	child_nofile = soft;
}

/* posix_spawn has no attribute for limits. A child that is gone already needs none. */
static void limit_child(pid_t pid)
{
	struct rlimit limit;

	if (child_nofile == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = MIN(child_nofile, limit.rlim_max);
	prlimit(pid, RLIMIT_NOFILE, &limit, NULL);
}

/* Returns 0, or an errno. */
static int spawn_path(const char *path, const Spawn *spawn, pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int held[3] = {-1, -1, -1};
	sigset_t none, all;
	short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;

	// our threads block signals and the daemon ignores some; a child starts with neither
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	if (spawn->own_session)
		flags = (short)(flags | POSIX_SPAWN_SETSID);
	else if (spawn->own_group)
		flags = (short)(flags | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setflags(&attr, flags);

	int e = add_fds(&actions, spawn, held);
	if (e == 0)
		e = posix_spawn(ret, path, &actions, &attr, (char *const *)spawn->argv,
		                spawn->envp != NULL ? (char *const *)spawn->envp : environ);
	if (e == 0)
		limit_child(*ret);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	for (int i = 0; i < 3; i++)
		fd_close(&held[i]);
	return e;
}

static pid_t spawn_child(const Spawn *spawn, GError **error)
{
	g_autofree char *found = NULL;
	const char *path = spawn->argv[0];
	if (strchr(path, '/') == NULL) {
		found = process_lookup(path, error);
		if (found == NULL)
			return -1;
		path = found;
	}
	pid_t pid;
	int e = spawn_path(path, spawn, &pid);
	if (e == 0)
		return pid;
	struct stat st;
	if (spawn->cwd != NULL && (stat(spawn->cwd, &st) != 0 || !S_ISDIR(st.st_mode)))
		error_set_errno(error, path_exists(spawn->cwd) ? ENOTDIR : ENOENT, "chdir %s", spawn->cwd);
	else
		error_set_errno(error, e, "fork/exec %s", path);
	return -1;
}

pid_t process_spawn(const char *const *argv, const char *const *envp, const char *cwd, int in, int out,
                    int err, bool own_session, GError **error)
{
	Spawn spawn = {argv, envp, cwd, {in, out, err}, own_session, false};
	return spawn_child(&spawn, error);
}

void process_kill_cleanup(pid_t *pid)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGKILL);
	RETRY_EINTR(waitpid(*pid, NULL, 0));
	*pid = 0;
}

typedef struct {
	int fd; // -1: at its end
	GString *text;
	size_t max;
} Output;

/* Reads what there is; more than max is thrown away. */
static void output_read(Output *output)
{
	char buffer[16384];
	while (output->fd >= 0) {
		ssize_t n = RETRY_EINTR(read(output->fd, buffer, sizeof(buffer)));
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			fd_close(&output->fd);
			return;
		}
		size_t room = output->max - output->text->len;
		g_string_append_len(output->text, buffer, (gssize)MIN((size_t)n, room));
	}
}

static void output_clear(Output *output)
{
	fd_close(&output->fd);
	if (output->text != NULL)
		g_string_free(output->text, TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Output, output_clear)

/* A pipe whose reading end does not block; the writing end goes to the child. */
static bool output_open(Output *output, size_t max, int *ret_write, GError **error)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) != 0)
		return error_set_errno(error, errno, "pipe2");
	*ret_write = fds[1];
	*output = (Output){.fd = fds[0], .text = g_string_new(NULL), .max = max};
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0)
		return error_set_errno(error, errno, "fcntl");
	return true;
}

/* A file in memory, so that nobody has to feed the child while it runs. */
static int stdin_of(GBytes *data, GError **error)
{
	gsize len;
	const void *bytes = g_bytes_get_data(data, &len);
	autofd fd = memfd_create("stdin", MFD_CLOEXEC);
	if (fd < 0) {
		error_set_errno(error, errno, "memfd_create");
		return -1;
	}
	if (!fd_write_all(fd, bytes, len, error))
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0) {
		error_set_errno(error, errno, "seek");
		return -1;
	}
	return fd_steal(&fd);
}

/* What is nearly done is not killed half-way. */
#define CANCEL_GRACE NS_PER_SEC

/* Reads output until the child has exited; what a grandchild keeps open afterwards is not waited for. */
static void follow_child(pid_t pid, Output *out, Output *err, int64_t deadline, int cancel_fd,
                         bool *ret_timed_out, bool *ret_canceled)
{
	autofd pidfd = pidfd_open(pid, 0);
	g_assert(pidfd >= 0); // it is our child and nobody else reaps it
	bool exited = false;
	while (!exited) {
		struct pollfd fds[4] = {
		        {.fd = pidfd, .events = POLLIN},
		        {.fd = out->fd, .events = POLLIN},
		        {.fd = err->fd, .events = POLLIN},
		        {.fd = cancel_fd > 0 && !*ret_canceled ? cancel_fd : -1, .events = POLLIN},
		};
		struct timespec wait, *timeout = NULL;
		if (deadline != 0 && !*ret_timed_out) {
			int64_t left = MAX(deadline - time_mono(), 0);
			wait = (struct timespec){.tv_sec = left / NS_PER_SEC, .tv_nsec = left % NS_PER_SEC};
			timeout = &wait;
		}
		int n = ppoll(fds, G_N_ELEMENTS(fds), timeout, NULL);
		if (n == 0) {
			*ret_timed_out = true;
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL);
			continue;
		}
		if (n > 0 && fds[3].revents != 0) {
			*ret_canceled = true;
			int64_t grace = time_mono() + CANCEL_GRACE;
			deadline = deadline != 0 ? MIN(deadline, grace) : grace;
		}
		exited = n > 0 && fds[0].revents != 0;
		output_read(out);
		output_read(err);
	}
}

bool process_run(const ProcessSpec *spec, ProcessResult *ret, GError **error)
{
	const size_t max = spec->max_output != 0 ? spec->max_output : OUTPUT_DEFAULT;
	g_auto(Output) out = {.fd = -1}, err = {.fd = -1};
	autofd in = -1, out_write = -1, err_write = -1;

	*ret = (ProcessResult){0};
	if (spec->stdin_data != NULL && (in = stdin_of(spec->stdin_data, error)) < 0)
		return false;
	if (!output_open(&out, max, &out_write, error))
		return false;
	if (!spec->merge_stderr && !output_open(&err, max, &err_write, error))
		return false;
	Spawn spawn = {
	        .argv = spec->argv,
	        .envp = spec->envp,
	        .cwd = spec->cwd,
	        .fds = {in >= 0              ? in
	                : spec->stdin_fd > 0 ? spec->stdin_fd
	                                     : -1,
	                out_write, spec->merge_stderr ? out_write : err_write},
	        .own_group = true,
	};
	int64_t deadline = spec->timeout_ns > 0 ? time_mono() + spec->timeout_ns : 0;
	pid_t pid = spawn_child(&spawn, error);
	if (pid < 0)
		return false;
	fd_close(&out_write);
	fd_close(&err_write);
	inflight_child(pid);
	bool canceled = false;
	follow_child(pid, &out, &err, deadline, spec->cancel_fd, &ret->timed_out, &canceled);
	RETRY_EINTR(waitpid(pid, &ret->status, 0));
	inflight_child(0);

	ret->out_len = out.text->len;
	ret->out = g_string_free(g_steal_pointer(&out.text), FALSE);
	ret->err = err.text != NULL ? g_string_free(g_steal_pointer(&err.text), FALSE) : g_strdup("");
	if (ret->timed_out && canceled)
		return error_set_class(error, CTRD_ERR_CANCELED, "%s: context canceled", spec->argv[0]);
	if (ret->timed_out)
		return error_set_class(error, CTRD_ERR_DEADLINE_EXCEEDED, "%s", spec->argv[0]);
	return true;
}
