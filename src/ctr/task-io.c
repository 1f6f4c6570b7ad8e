// SPDX-License-Identifier: Apache-2.0
#include "ctr/task-io.h"
#include "base/fs.h"
#include "services/tasks/v1/tasks.pb-c.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define FIFO_DIR "/run/containerd/fifo"

struct TaskIo {
	char *dir; // ours, removed with the FIFOs; NULL: not ours, or gone
	char *in, *out, *err;
	bool fifos, terminal;
	int in_fd, out_fd, err_fd;

	Cli *cli;
	char *container_id, *exec_id;
	pthread_t pump;
	bool pumping, raw;
	struct termios saved;
	int signal_fd, wake_fd; // wake: forward from now on, or stop
	gint forward, draining;
};

static TaskIo *io_empty(void)
{
	TaskIo *io = g_new0(TaskIo, 1);
	io->in = g_strdup("");
	io->out = g_strdup("");
	io->err = g_strdup("");
	io->in_fd = io->out_fd = io->err_fd = io->signal_fd = io->wake_fd = -1;
	return io;
}

static bool make_fifo(TaskIo *io, char **ret, const char *id, const char *stream, GError **error)
{
	g_free(*ret);
	*ret = g_strdup_printf("%s/%s-%s", io->dir, id, stream);
	return mkfifo(*ret, 0700) == 0 ||
	       error_set_errno(error, errno, "failed to open %s fifo: error creating fifo %s", stream, *ret);
}

static bool make_fifos(TaskIo *io, const char *id, const TaskIoOptions *options, GError **error)
{
	const char *root = str_empty(options->fifo_dir) ? FIFO_DIR : options->fifo_dir;
	if (!dir_make_all(root, 0700, error))
		return false;
	io->dir = g_strdup_printf("%s/XXXXXX", root);
	if (g_mkdtemp_full(io->dir, 0700) == NULL) {
		error_set_errno(error, errno, "mkdir %s", io->dir);
		g_clear_pointer(&io->dir, g_free);
		return false;
	}
	io->fifos = true;
	return make_fifo(io, &io->in, id, "stdin", error) && make_fifo(io, &io->out, id, "stdout", error) &&
	       (options->terminal || make_fifo(io, &io->err, id, "stderr", error));
}

static bool open_fifo(const char *path, int flags, int *ret, GError **error)
{
	if (*ret >= 0 || str_empty(path))
		return true;
	*ret = open(path, flags | O_NONBLOCK | O_CLOEXEC);
	return *ret >= 0 || error_set_errno(error, errno, "open %s", path);
}

/* Before Create: upstream's shim waits in open() until the other ends are there. stdin is opened for both, as
 * there is no reader yet. */
static bool open_streams(TaskIo *io, GError **error)
{
	if (!io->fifos)
		return true;
	bool ok = open_fifo(io->out, O_RDONLY, &io->out_fd, error) &&
	          open_fifo(io->err, O_RDONLY, &io->err_fd, error) &&
	          open_fifo(io->in, O_RDWR, &io->in_fd, error);
	/* only the opening must not wait: writes to the container may */
	if (ok && io->in_fd >= 0)
		fcntl(io->in_fd, F_SETFL, 0);
	return ok;
}

TaskIo *task_io_new(const char *id, const TaskIoOptions *options, GError **error)
{
	TaskIo *io = io_empty();
	io->terminal = options->terminal;
	bool ok = true;
	if (options->terminal && options->null_io) {
		ok = error_set(error, CTRD_ERR_INVALID_ARGUMENT, "tty and null-io cannot be used together");
	} else if (options->null_io) {
		/* nothing: the streams stay empty */
	} else if (!str_empty(options->log_uri)) {
		g_free(io->out);
		g_free(io->err);
		io->out = g_strdup(options->log_uri);
		io->err = g_strdup(options->log_uri);
	} else {
		ok = make_fifos(io, id, options, error) && open_streams(io, error);
	}
	if (ok)
		return io;
	task_io_free(io, false);
	return NULL;
}

TaskIo *task_io_attach(const char *stdin_path, const char *stdout_path, const char *stderr_path,
                       bool terminal)
{
	TaskIo *io = io_empty();
	g_free(io->in);
	g_free(io->out);
	g_free(io->err);
	io->in = g_strdup(stdin_path);
	io->out = g_strdup(stdout_path);
	io->err = g_strdup(stderr_path);
	io->terminal = terminal;
	io->fifos = true;
	return io;
}

const char *task_io_stdin(TaskIo *io)
{
	return io->in;
}

const char *task_io_stdout(TaskIo *io)
{
	return io->out;
}

const char *task_io_stderr(TaskIo *io)
{
	return io->err;
}

/* ---- calls of the pump ---- */

static void nothing_done(const void *response, const GError *error, void *data)
{
	/* a signal for a process that has just ended is no error */
}

static void call(TaskIo *io, const char *method, const void *request)
{
	RpcCallOptions options = ctr_call_options(io->cli);
	RpcClient *client = ctr_client(io->cli, NULL);
	if (client != NULL)
		rpc_client_call_async(client, &containerd__services__tasks__v1__tasks__descriptor, method,
		                      &options, request, nothing_done, NULL);
}

static void close_stdin(TaskIo *io)
{
	fd_close(&io->in_fd);
	Containerd__Services__Tasks__V1__CloseIORequest req =
	        CONTAINERD__SERVICES__TASKS__V1__CLOSE_IOREQUEST__INIT;
	req.container_id = io->container_id;
	req.exec_id = io->exec_id;
	req.stdin = true;
	call(io, "CloseIO", &req);
}

static void send_size(TaskIo *io)
{
	struct winsize ws = {0};
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) != 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) != 0)
		return;
	Containerd__Services__Tasks__V1__ResizePtyRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__RESIZE_PTY_REQUEST__INIT;
	req.container_id = io->container_id;
	req.exec_id = io->exec_id;
	req.width = ws.ws_col;
	req.height = ws.ws_row;
	call(io, "ResizePty", &req);
}

static void on_signal(TaskIo *io)
{
	struct signalfd_siginfo info;
	if (read(io->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	int sig = (int)info.ssi_signo;
	if (sig == SIGWINCH && io->terminal) {
		send_size(io);
		return;
	}
	if (!g_atomic_int_get(&io->forward)) {
		/* nothing runs yet that could take it */
		if (sig != SIGWINCH && sig != SIGCONT)
			cancel_trigger(ctr_cancel(io->cli), false);
		return;
	}
	Containerd__Services__Tasks__V1__KillRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__KILL_REQUEST__INIT;
	req.container_id = io->container_id;
	req.exec_id = io->exec_id;
	req.signal = (uint32_t)sig;
	call(io, "Kill", &req);
}

static void wake(TaskIo *io)
{
	uint64_t one = 1;
	(void)!write(io->wake_fd, &one, sizeof(one));
}

/* ---- the pump ---- */

/* false: the stream has ended. */
static bool copy(int from, int to)
{
	char buf[32 * 1024];
	ssize_t n = read(from, buf, sizeof(buf));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	return fd_write_all(to, buf, (size_t)n, NULL);
}

static void *pump(void *data)
{
	TaskIo *io = data;
	bool stdin_open = io->in_fd >= 0;
	for (;;) {
		/* before Start nobody reads: what is written and closed then would be lost */
		bool running = g_atomic_int_get(&io->forward), draining = g_atomic_int_get(&io->draining);
		struct pollfd p[] = {
		        {io->out_fd, POLLIN, 0},
		        {io->err_fd, POLLIN, 0},
		        {stdin_open && running ? STDIN_FILENO : -1, POLLIN, 0},
		        {io->signal_fd, POLLIN, 0},
		        {io->wake_fd, POLLIN, 0},
		};
		if (draining && io->out_fd < 0 && io->err_fd < 0)
			return NULL;
		if (poll(p, G_N_ELEMENTS(p), -1) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents != 0 && !copy(io->out_fd, STDOUT_FILENO))
			fd_close(&io->out_fd);
		if (p[1].revents != 0 && !copy(io->err_fd, STDERR_FILENO))
			fd_close(&io->err_fd);
		if (p[2].revents != 0 && !copy(STDIN_FILENO, io->in_fd)) {
			stdin_open = false;
			close_stdin(io);
		}
		if (p[3].revents != 0)
			on_signal(io);
		if (p[4].revents != 0) {
			uint64_t n;
			(void)!read(io->wake_fd, &n, sizeof(n));
		}
	}
}

static bool raw_mode(TaskIo *io, GError **error)
{
	if (tcgetattr(STDIN_FILENO, &io->saved) != 0)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "provided file is not a console");
	struct termios raw = io->saved;
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0)
		return error_set_errno(error, errno, "set the terminal to raw mode");
	io->raw = true;
	return true;
}

bool task_io_start(TaskIo *io, Cli *cli, const char *container_id, const char *exec_id, GError **error)
{
	io->cli = cli;
	io->container_id = g_strdup(container_id);
	io->exec_id = g_strdup(exec_id);
	sigset_t set;
	sigemptyset(&set);
	const int forwarded[] = {SIGINT,  SIGTERM, SIGHUP,   SIGQUIT, SIGUSR1,
	                         SIGUSR2, SIGALRM, SIGWINCH, SIGCONT};
	for (size_t i = 0; i < G_N_ELEMENTS(forwarded); i++)
		sigaddset(&set, forwarded[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	io->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	io->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!open_streams(io, error))
		return false;
	if (io->terminal && !raw_mode(io, error))
		return false;
	int r = pthread_create(&io->pump, NULL, pump, io);
	io->pumping = r == 0;
	return io->pumping || error_set_errno(error, r, "start a thread");
}

void task_io_forward(TaskIo *io)
{
	g_atomic_int_set(&io->forward, 1);
	wake(io);
	if (io->terminal)
		send_size(io);
}

void task_io_wait(TaskIo *io)
{
	if (!io->pumping)
		return;
	g_atomic_int_set(&io->draining, 1);
	wake(io);
	pthread_join(io->pump, NULL);
	io->pumping = false;
}

void task_io_remove_fifos(const char *stdin_path, const char *stdout_path, const char *stderr_path)
{
	const char *const paths[] = {stdin_path, stdout_path, stderr_path};
	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
		struct stat st;
		if (lstat(paths[i], &st) != 0 || !S_ISFIFO(st.st_mode) || unlink(paths[i]) != 0)
			continue;
		g_autofree char *dir = g_path_get_dirname(paths[i]);
		rmdir(dir); // with the last of them
	}
}

void task_io_remove(TaskIo *io)
{
	if (io->dir == NULL)
		return;
	task_io_remove_fifos(io->in, io->out, io->err);
	rmdir(io->dir); // where none was made
	g_clear_pointer(&io->dir, g_free);
}

void task_io_free(TaskIo *io, bool keep)
{
	if (io == NULL)
		return;
	if (io->pumping) {
		/* not ended by the container: give up what it might still write */
		pthread_cancel(io->pump);
		pthread_join(io->pump, NULL);
	}
	if (io->raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &io->saved);
	fd_close(&io->in_fd);
	fd_close(&io->out_fd);
	fd_close(&io->err_fd);
	fd_close(&io->signal_fd);
	fd_close(&io->wake_fd);
	if (!keep)
		task_io_remove(io);
	g_free(io->dir);
	g_free(io->in);
	g_free(io->out);
	g_free(io->err);
	g_free(io->container_id);
	g_free(io->exec_id);
	g_free(io);
}
