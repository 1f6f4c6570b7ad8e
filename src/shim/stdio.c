// SPDX-License-Identifier: Apache-2.0

#include "shim/stdio.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "shim/console.h"
#include "shim/log-uri.h"
#include "shim/pump.h"
#include "shim/spawn.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define CONSOLE_TIMEOUT (30 * NS_PER_SEC)
/* Upstream's binaryIOProcTermTimeout: a logging program has ten seconds and a bit to flush. */
#define LOGGER_TERM_TIMEOUT (12 * NS_PER_SEC)

/* The three streams. */
enum { IN, OUT, ERR, N_STREAMS };

typedef struct {
	int child; // the process' end of the pipe
	int ours;  // the other end
	int dest;  // fifo or file on the client's side; of stdin: the fifo we read
	bool dest_is_fifo;
	Pump *pump;
} Stream;

struct Stdio {
	Loop *loop;
	Reaper *reaper;
	char *id, *ns, *path[N_STREAMS];
	bool terminal;
	uint32_t uid, gid;
	LogUri uri;
	Stream stream[N_STREAMS];
	int stdin_holder; // our writer of the stdin fifo
	ConsoleSocket *console;
	int master;
	unsigned running; // output pumps
	bool exited;

	pid_t logger;
	int ready_fd;
	uv_poll_t *ready_poll;

	StdioFn step_done; // of prepare or start
	void *step_data;
	LoopTimer *timer; // of drain or close
	StdioFn drain_done;
	void *drain_data;
	StdioFn close_done;
	void *close_data;
};

static void handle_free_(uv_handle_t *handle)
{
	g_free(handle);
}

Stdio *stdio_new(Loop *loop, Reaper *reaper, const StdioSpec *spec)
{
	Stdio *io = g_new0(Stdio, 1);
	*io = (Stdio){.loop = loop,
	              .reaper = reaper,
	              .id = g_strdup(spec->id),
	              .ns = g_strdup(spec->ns),
	              .path = {g_strdup(spec->in), g_strdup(spec->out), g_strdup(spec->err)},
	              .terminal = spec->terminal,
	              .uid = spec->uid,
	              .gid = spec->gid,
	              .stdin_holder = -1,
	              .master = -1,
	              .ready_fd = -1};
	for (int i = 0; i < N_STREAMS; i++)
		io->stream[i] = (Stream){.child = -1, .ours = -1, .dest = -1};
	return io;
}

/* ---- opening ---- */

static bool is_binary(const Stdio *io)
{
	return io->uri.kind == LOG_URI_BINARY || io->uri.kind == LOG_URI_BINARY_V2;
}

static bool stream_pipe(Stdio *io, int i, GError **error)
{
	int fd[2];
	if (pipe2(fd, O_CLOEXEC) < 0)
		return error_set_errno(error, errno, "pipe2");
	Stream *s = &io->stream[i];
	s->child = fd[i == IN ? 0 : 1];
	s->ours = fd[i == IN ? 1 : 0];
	static const char *const names[] = {"stdin", "stdout", "stderr"};
	if (fchown(s->child, io->uid, io->gid) < 0)
		return error_set_errno(error, errno, "failed to chown %s", names[i]);
	// Only our end: the other belongs to the process, which may not expect EAGAIN.
	if (fcntl(s->ours, F_SETFL, O_NONBLOCK) < 0)
		return error_set_errno(error, errno, "fcntl");
	return true;
}

static bool path_is_fifo(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Reader and writer at once: opening never waits, writing never fails when the reader goes away, and what is
 * in the fifo stays for the next reader. */
static bool open_fifo_out(Stream *s, const char *path, GError **error)
{
	s->dest_is_fifo = true;
	s->dest = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (s->dest < 0)
		return error_set_errno(error, errno, "containerd-shim: opening w/o fifo %s failed: open %s",
		                       Q(path), path);
	return true;
}

static bool open_file_out(Stream *s, const char *path, GError **error)
{
	s->dest = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (s->dest < 0)
		return error_set_errno(error, errno, "containerd-shim: opening file %s failed: open %s",
		                       Q(path), path);
	return true;
}

static bool open_out(Stdio *io, int i, const char *path, GError **error)
{
	Stream *s = &io->stream[i];
	// Two streams into one file share the open file, and with it the append position.
	if (i == ERR && io->stream[OUT].dest >= 0 && !io->stream[OUT].dest_is_fifo &&
	    strcmp(path, io->path[OUT]) == 0) {
		s->dest = fcntl(io->stream[OUT].dest, F_DUPFD_CLOEXEC, 0);
		return s->dest >= 0 || error_set_errno(error, errno, "dup");
	}
	return path_is_fifo(path) ? open_fifo_out(s, path, error) : open_file_out(s, path, error);
}

/* The reader first, then a writer of our own: the process does not see an end before CloseIO, whoever comes
 * and goes at the other side. */
static bool open_stdin(Stdio *io, GError **error)
{
	const char *path = io->path[IN];
	if (str_empty(path))
		return true;
	io->stream[IN].dest = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (io->stream[IN].dest < 0)
		return error_set_errno(error, errno, "containerd-shim: opening %s failed: open %s", path,
		                       path);
	if (!path_is_fifo(path))
		return true;
	io->stream[IN].dest_is_fifo = true;
	io->stdin_holder = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (io->stdin_holder < 0)
		return error_set_errno(error, errno, "failed to open stdin fifo %s: open %s", path, path);
	return true;
}

/* Creates the file and its directories; both streams go there. */
static bool prepare_file(Stdio *io, GError **error)
{
	g_autofree char *dir = g_path_get_dirname(io->uri.path);
	if (!dir_make_all(dir, 0755, error))
		return false;
	int fd = open(io->uri.path, O_APPEND | O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", io->uri.path);
	close(fd);
	for (int i = OUT; i <= ERR; i++) {
		if (i == ERR && str_empty(io->path[ERR]))
			continue;
		g_free(io->path[i]);
		io->path[i] = g_strdup(io->uri.path);
	}
	return true;
}

static bool prepare_pipes(Stdio *io, GError **error)
{
	for (int i = 0; i < N_STREAMS; i++)
		if (!str_empty(io->path[i]) && !stream_pipe(io, i, error))
			return false;
	for (int i = OUT; i <= ERR; i++)
		if (!str_empty(io->path[i]) && !open_out(io, i, io->path[i], error))
			return error_prefix(error, "unable to copy pipes");
	return open_stdin(io, error);
}

/* ---- the logging program ---- */

static void step_finish(Stdio *io, GError *error)
{
	StdioFn done = io->step_done;
	io->step_done = NULL;
	if (done != NULL)
		done(error, io->step_data);
	else
		g_clear_error(&error);
}

static void ready_close(Stdio *io)
{
	if (io->ready_poll != NULL)
		uv_close((uv_handle_t *)io->ready_poll, handle_free_);
	io->ready_poll = NULL;
	fd_close(&io->ready_fd);
}

static void on_logger_ready(uv_poll_t *poll, int status, int events)
{
	Stdio *io = poll->data;
	char byte;
	ssize_t n = RETRY_EINTR(read(io->ready_fd, &byte, 1));
	if (n < 0 && errno == EAGAIN)
		return;
	ready_close(io);
	GError *error = NULL;
	if (n == 0 && io->uri.kind == LOG_URI_BINARY_V2)
		error_set(&error, CTRD_ERR_UNKNOWN,
		          "logging binary did not call ready (it may have crashed or exited prematurely)");
	step_finish(io, error);
}

static void on_logger_exit(pid_t pid, int code, TimeNs at, void *data)
{
	Stdio *io = data;
	io->logger = 0;
	if (io->close_done != NULL) {
		StdioFn done = io->close_done;
		void *done_data = io->close_data;
		loop_timer_free(io->timer);
		g_free(io->id);
		g_free(io);
		done(NULL, done_data);
	}
}

static bool logger_spawn(Stdio *io, const int fds[3], GError **error)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	g_ptr_array_add(argv, io->uri.path);
	for (guint i = 0; i < io->uri.args->len; i++)
		g_ptr_array_add(argv, io->uri.args->pdata[i]);
	g_ptr_array_add(argv, NULL);
	g_autofree char *id = g_strdup_printf("CONTAINER_ID=%s", io->id);
	g_autofree char *ns = g_strdup_printf("CONTAINER_NAMESPACE=%s", io->ns);
	char *envp[] = {id, ns, NULL};
	SpawnSpec spec = {.file = io->uri.path,
	                  .argv = (const char *const *)argv->pdata,
	                  .envp = envp,
	                  .fds = {-1, -1, -1, fds[0], fds[1], fds[2]},
	                  .n_fds = 6};
	pid_t pid = spawn_child(&spec, error);
	if (pid < 0)
		return false;
	io->logger = pid;
	reaper_watch(io->reaper, pid, on_logger_exit, io);
	return true;
}

/* The program reads the process' streams itself: fds 3 and 4 are their pipes, 5 is to be closed (binary-v2:
 * written to) when it is ready. The readers in out and err are the program's; the writers go to the process,
 * or (terminal) to our pump. */
static bool logger_start(Stdio *io, GError **error)
{
	int reader[2] = {-1, -1}, ready[2] = {-1, -1};
	bool ok = true;
	for (int i = OUT; ok && i <= ERR; i++) {
		int fd[2];
		ok = pipe2(fd, O_CLOEXEC) == 0;
		if (!ok) {
			error_set_errno(error, errno, "failed to create %s pipes: pipe2",
			                i == OUT ? "stdout" : "stderr");
			break;
		}
		reader[i - OUT] = fd[0];
		if (io->terminal)
			io->stream[i].dest = fd[1];
		else
			io->stream[i].child = fd[1];
	}
	if (ok && pipe2(ready, O_CLOEXEC) < 0)
		ok = error_set_errno(error, errno, "pipe2");
	if (ok) {
		const int fds[3] = {reader[0], reader[1], ready[1]};
		ok = logger_spawn(io, fds, error) ||
		     error_prefix(error, io->terminal ? "failed to start logging binary process"
		                                      : "failed to start binary process");
	}
	fd_close(&reader[0]);
	fd_close(&reader[1]);
	fd_close(&ready[1]);
	if (!ok) {
		fd_close(&ready[0]);
		return false;
	}
	if (io->terminal) {
		fcntl(io->stream[OUT].dest, F_SETFL, O_NONBLOCK);
		fd_close(&io->stream[ERR].dest); // a terminal has one stream
	}
	fcntl(ready[0], F_SETFL, O_NONBLOCK);
	io->ready_fd = ready[0];
	io->ready_poll = g_new0(uv_poll_t, 1);
	io->ready_poll->data = io;
	uv_poll_init(loop_uv(io->loop), io->ready_poll, io->ready_fd);
	uv_poll_start(io->ready_poll, UV_READABLE, on_logger_ready);
	return true;
}

/* ---- prepare ---- */

static bool stdio_is_null(const Stdio *io)
{
	return str_empty(io->path[IN]) && str_empty(io->path[OUT]) && str_empty(io->path[ERR]);
}

static bool prepare_terminal(Stdio *io, GError **error)
{
	io->console = console_socket_new(io->loop, error);
	if (io->console == NULL)
		return error_prefix(error, "failed to create OCI runtime console socket");
	if (is_binary(io))
		return open_stdin(io, error) && logger_start(io, error);
	if (io->uri.kind == LOG_URI_FILE && !prepare_file(io, error))
		return false;
	if (!str_empty(io->path[OUT]) && !open_out(io, OUT, io->path[OUT], error))
		return false;
	return open_stdin(io, error);
}

static bool prepare_plain(Stdio *io, GError **error)
{
	if (stdio_is_null(io))
		return true;
	if (is_binary(io))
		return logger_start(io, error);
	if (io->uri.kind == LOG_URI_FILE && !prepare_file(io, error))
		return false;
	return prepare_pipes(io, error);
}

void stdio_prepare(Stdio *io, StdioFn done, void *data)
{
	io->step_done = done;
	io->step_data = data;
	GError *error = NULL;
	bool ok = log_uri_parse(io->path[OUT], &io->uri, &error);
	if (ok && io->uri.kind == LOG_URI_FIFO && strcmp(io->uri.path, io->path[OUT]) != 0) {
		g_free(io->path[OUT]);
		io->path[OUT] = g_strdup(io->uri.path); // fifo:///path
	}
	ok = ok && (io->terminal ? prepare_terminal(io, &error) : prepare_plain(io, &error));
	if (!ok)
		step_finish(io, error);
	else if (io->ready_poll == NULL)
		step_finish(io, NULL);
}

void stdio_cancel(Stdio *io)
{
	if (io->step_done == NULL)
		return;
	ready_close(io);
	GError *error = NULL;
	error_set(&error, CTRD_ERR_CANCELED, "context canceled");
	step_finish(io, error);
}

RuncStdio stdio_child(const Stdio *io)
{
	// With a terminal the streams are the runtime's alone, so what it says can be captured. Without, the
	// process inherits them, and what nobody wants is /dev/null.
	if (io->terminal)
		return RUNC_CAPTURE;
	int fd[N_STREAMS];
	for (int i = 0; i < N_STREAMS; i++)
		fd[i] = io->stream[i].child >= 0 ? io->stream[i].child : COMMAND_NULL;
	return (RuncStdio){fd[IN], fd[OUT], fd[ERR]};
}

const char *stdio_console_path(const Stdio *io)
{
	return io->console != NULL ? console_socket_path(io->console) : NULL;
}

void stdio_spawned(Stdio *io)
{
	// With a logging program we keep the writers, as upstream: it sees the end at Delete, not before.
	if (is_binary(io))
		return;
	for (int i = 0; i < N_STREAMS; i++)
		fd_close(&io->stream[i].child);
}

/* ---- copying ---- */

static void drained(Stdio *io, GError *error)
{
	StdioFn done = io->drain_done;
	io->drain_done = NULL;
	loop_timer_free(g_steal_pointer(&io->timer));
	done(error, io->drain_data);
}

static void on_output_done(Pump *pump, void *data)
{
	Stdio *io = data;
	if (--io->running == 0 && io->drain_done != NULL)
		drained(io, NULL);
}

static void on_stdin_done(Pump *pump, void *data)
{
	Stdio *io = data;
	// The client is gone for good: hang the terminal up, as upstream.
	if (io->terminal && io->stream[OUT].pump != NULL) {
		fd_close(&io->master);
		pump_finish(io->stream[OUT].pump);
	}
}

static void start_output(Stdio *io, int i, int src)
{
	Stream *s = &io->stream[i];
	bool splice_it = !io->terminal && s->dest_is_fifo;
	s->pump = pump_new(io->loop, splice_it ? PUMP_SPLICE : PUMP_COPY, src, fd_steal(&s->dest),
	                   io->terminal, on_output_done, io);
	io->running++;
	pump_start(s->pump);
	if (io->exited && io->terminal)
		pump_finish(s->pump);
}

static void start_stdin(Stdio *io, int dst)
{
	Stream *s = &io->stream[IN];
	s->pump = pump_new(io->loop, io->terminal ? PUMP_COPY : PUMP_SPLICE, fd_steal(&s->dest), dst, false,
	                   on_stdin_done, io);
	pump_start(s->pump);
}

static void on_master(int master, GError *error, void *data)
{
	Stdio *io = data;
	console_socket_free(g_steal_pointer(&io->console));
	if (error != NULL) {
		g_prefix_error(&error, "failed to retrieve console master: ");
		step_finish(io, error);
		return;
	}
	io->master = master;
	// libuv takes an fd once: reading and writing have their own.
	int out = fcntl(master, F_DUPFD_CLOEXEC, 0);
	int in = io->stream[IN].dest >= 0 ? fcntl(master, F_DUPFD_CLOEXEC, 0) : -1;
	if (out < 0 || (in < 0 && io->stream[IN].dest >= 0)) {
		error_set_errno(&error, errno, "failed to start console copy: dup");
		fd_close(&out);
		step_finish(io, error);
		return;
	}
	start_output(io, OUT, out);
	if (in >= 0)
		start_stdin(io, in);
	step_finish(io, NULL);
}

void stdio_start(Stdio *io, StdioFn done, void *data)
{
	io->step_done = done;
	io->step_data = data;
	if (io->terminal) {
		console_socket_receive(io->console, CONSOLE_TIMEOUT, on_master, io);
		return;
	}
	for (int i = OUT; i <= ERR; i++)
		if (io->stream[i].ours >= 0)
			start_output(io, i, fd_steal(&io->stream[i].ours));
	if (io->stream[IN].ours >= 0)
		start_stdin(io, fd_steal(&io->stream[IN].ours));
	step_finish(io, NULL);
}

void stdio_close_stdin(Stdio *io)
{
	fd_close(&io->stdin_holder);
}

bool stdio_resize(Stdio *io, uint32_t width, uint32_t height, GError **error)
{
	if (io->master < 0)
		return true;
	struct winsize size = {.ws_col = (unsigned short)width, .ws_row = (unsigned short)height};
	if (ioctl(io->master, TIOCSWINSZ, &size) < 0)
		return error_set_errno(error, errno, "inappropriate ioctl for device");
	return true;
}

void stdio_exited(Stdio *io)
{
	io->exited = true;
	if (io->terminal && io->stream[OUT].pump != NULL)
		pump_finish(io->stream[OUT].pump);
}

static void on_drain_timeout(void *data)
{
	GError *error = NULL;
	error_set(&error, CTRD_ERR_DEADLINE_EXCEEDED, "context deadline exceeded");
	drained(data, error);
}

void stdio_drain(Stdio *io, int64_t timeout_ns, StdioFn done, void *data)
{
	if (io->running == 0) {
		done(NULL, data);
		return;
	}
	io->drain_done = done;
	io->drain_data = data;
	io->timer = loop_timer_new(io->loop, on_drain_timeout, io);
	loop_timer_start(io->timer, timeout_ns, 0);
}

static void on_logger_timeout(void *data)
{
	Stdio *io = data;
	log_warn("failed to wait for shim logger process to exit, killing", "id", io->id, NULL);
	kill(io->logger, SIGKILL);
}

static void stdio_release(Stdio *io)
{
	ready_close(io);
	console_socket_free(io->console);
	for (int i = 0; i < N_STREAMS; i++) {
		Stream *s = &io->stream[i];
		pump_free(s->pump);
		fd_close(&s->child);
		fd_close(&s->ours);
		fd_close(&s->dest);
		g_free(io->path[i]);
	}
	fd_close(&io->stdin_holder);
	fd_close(&io->master);
	log_uri_clear(&io->uri);
	loop_timer_free(g_steal_pointer(&io->timer));
	g_free(io->ns);
}

void stdio_close(Stdio *io, StdioFn done, void *data)
{
	stdio_release(io);
	if (io->logger == 0) {
		g_free(io->id);
		g_free(io);
		done(NULL, data);
		return;
	}
	io->close_done = done;
	io->close_data = data;
	io->timer = loop_timer_new(io->loop, on_logger_timeout, io);
	loop_timer_start(io->timer, LOGGER_TERM_TIMEOUT, 0);
	kill(io->logger, SIGTERM);
}
