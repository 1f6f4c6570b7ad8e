// SPDX-License-Identifier: Apache-2.0

#include "shim/serve.h"

#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/util.h"
#include "rpc/server.h"
#include "shim/idle.h"
#include "shim/task-service.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define LISTEN_FD 3
#define FLUSH_TIMEOUT (3 * NS_PER_SEC)
/* How long a shim without anything to look after waits for a daemon. */
#define LONELY_TIMEOUT (10 * NS_PER_SEC)

typedef struct {
	Loop *loop;
	RpcServer *rpc;
	Shim shim;
	TaskService service;
	char *socket_path;
	struct stat socket_file;
	int signal_fd;
	uv_poll_t signal_poll;
	LoopTimer *lonely;
	bool stopping;
} Server;

/* ---- the log ---- */

/* The daemon reads the fifo `log` of the bundle. Held open at both ends: lines wait for a daemon that is
 * away, as many as fit, and nothing blocks or breaks. */
static void open_log(void)
{
	struct stat st;
	bool fifo = stat("log", &st) == 0 && S_ISFIFO(st.st_mode);
	int fd = open("log", fifo ? O_RDWR | O_NONBLOCK | O_CLOEXEC : O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return; // no log is no reason to run no container
	dup2(fd, STDERR_FILENO);
	close(fd);
}

/* ---- ending ---- */

/* Only our own file: by now another shim of the group may listen under this name. */
static void remove_socket(const Server *s)
{
	struct stat st;
	if (s->socket_path != NULL && lstat(s->socket_path, &st) == 0 && st.st_ino == s->socket_file.st_ino &&
	    st.st_dev == s->socket_file.st_dev)
		unlink(s->socket_path);
}

static void on_flushed(void *data)
{
	Server *s = data;
	loop_stop(s->loop);
}

static void on_rpc_stopped(void *data)
{
	Server *s = data;
	FAILPOINT_HERE("shim.shutdown.flush");
	publisher_flush(s->shim.publisher, FLUSH_TIMEOUT, on_flushed, s);
}

static void server_stop(void *data)
{
	Server *s = data;
	if (s->stopping)
		return;
	s->stopping = true;
	FAILPOINT_HERE("shim.shutdown.begin");
	// First the name: whoever starts a container of this group from now on gets a new shim.
	remove_socket(s);
	rpc_server_stop(s->rpc, on_rpc_stopped, s);
}

/* A daemon that dies between starting us and giving us a container, or between the last Delete and Shutdown,
 * would leave us for ever. */
static void on_lonely(void *data)
{
	Server *s = data;
	if (!task_service_is_idle(&s->service))
		return; // armed again when it is
	if (rpc_server_n_connections(s->rpc) > 0) {
		loop_timer_start(s->lonely, LONELY_TIMEOUT, 0);
		return;
	}
	log_info("nothing to look after and no daemon, ending", NULL);
	server_stop(s);
}

static void on_idle(void *data)
{
	Server *s = data;
	loop_timer_start(s->lonely, LONELY_TIMEOUT, 0);
}

/* ---- signals ---- */

static void on_line(const char *line, void *data)
{
	log_info("in flight", "what", line, NULL);
}

static void on_runc(const char *command, const char *what, pid_t pid, int64_t age_ns, void *data)
{
	g_autofree char *line = g_strdup_printf("runtime %s %s, pid %d, %" G_GINT64_FORMAT " ms", command,
	                                        what, pid, age_ns / NS_PER_MS);
	on_line(line, data);
}

static void on_rpc_call(const char *method, const char *ns, int64_t age_ns, void *data)
{
	g_autofree char *line =
	        g_strdup_printf("call %s, %" G_GINT64_FORMAT " ms", method, age_ns / NS_PER_MS);
	on_line(line, data);
}

static void dump(Server *s)
{
	log_info("=== BEGIN what is under way ===", NULL);
	shim_visit(&s->shim, on_line, NULL);
	runc_visit(on_runc, NULL);
	rpc_server_visit(s->rpc, on_rpc_call, NULL);
	g_autofree char *events = g_strdup_printf("%u events wait", publisher_n_waiting(s->shim.publisher));
	on_line(events, NULL);
	log_info("=== END what is under way ===", NULL);
}

static void on_signal(uv_poll_t *poll, int status, int events)
{
	Server *s = poll->data;
	struct signalfd_siginfo info;
	while (read(s->signal_fd, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGUSR1) {
			dump(s);
		} else {
			log_debug("caught exit signal", "signal", strsignal((int)info.ssi_signo), NULL);
			server_stop(s);
		}
	}
}

static bool watch_signals(Server *s, GError **error)
{
	signal(SIGPIPE, SIG_IGN);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signal_fd < 0)
		return error_set_errno(error, errno, "signalfd");
	s->signal_poll.data = s;
	uv_poll_init(loop_uv(s->loop), &s->signal_poll, s->signal_fd);
	uv_poll_start(&s->signal_poll, UV_READABLE, on_signal);
	return true;
}

/* ---- starting ---- */

static int listener(const Args *args, Server *s, GError **error)
{
	if (*args->socket != '\0') {
		s->socket_path = g_strdup(args->socket);
		return rpc_listen_unix(args->socket, 0600, geteuid(), getegid(), error);
	}
	struct sockaddr_un addr;
	socklen_t len = sizeof addr;
	if (getsockname(LISTEN_FD, (struct sockaddr *)&addr, &len) < 0) {
		error_set_errno(error, errno, "no socket was inherited: getsockname");
		return -1;
	}
	if (len > offsetof(struct sockaddr_un, sun_path) && addr.sun_path[0] == '/')
		s->socket_path = g_strndup(addr.sun_path, len - offsetof(struct sockaddr_un, sun_path));
	fcntl(LISTEN_FD, F_SETFD, FD_CLOEXEC);
	return LISTEN_FD;
}

bool serve_run(const Args *args, GError **error)
{
	Server *s = g_new0(Server, 1); // lives as long as the process
	open_log();
	if (args->debug)
		log_set_level(LOG_DEBUG);
	s->loop = loop_new();
	int fd = listener(args, s, error);
	if (fd < 0 || !watch_signals(s, error))
		return false;
	if (s->socket_path != NULL && lstat(s->socket_path, &s->socket_file) < 0)
		g_clear_pointer(&s->socket_path, g_free);
	Reaper *reaper = reaper_new(s->loop, error);
	if (reaper == NULL)
		return false;
	Publisher *publisher = publisher_new(s->loop, reaper, args->ns, g_getenv("TTRPC_ADDRESS"),
	                                     args->publish_binary, args->address);
	shim_init(&s->shim, s->loop, args->ns, reaper, publisher);
	idle_new(s->loop);
	s->service = (TaskService){.shim = &s->shim,
	                           .sandbox = sandbox_service_new(&s->shim, server_stop, s),
	                           .on_shutdown = server_stop,
	                           .on_idle = on_idle,
	                           .data = s};
	const RpcServerLimits limits = {
	        .max_connections = 256, .max_streams = 1024, .shutdown_ns = NS_PER_SEC};
	s->rpc = rpc_server_new(s->loop, NULL, &limits);
	task_service_add(s->rpc, &s->service);
	sandbox_service_add(s->rpc, s->service.sandbox);
	if (!FAILPOINT("shim.serve", error) || !rpc_server_listen(s->rpc, RPC_PROTO_TTRPC, fd, true, error))
		return false;
	s->lonely = loop_timer_new(s->loop, on_lonely, s);
	on_idle(s);
	loop_run(s->loop);
	return true;
}
