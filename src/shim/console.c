// SPDX-License-Identifier: Apache-2.0

#include "shim/console.h"

#include "base/error.h"
#include "base/util.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

struct ConsoleSocket {
	Loop *loop;
	char *dir, *path;
	int listen_fd, conn_fd;
	uv_poll_t *poll; // of the listener, then of the connection
	LoopTimer *timer;
	int master;
	GError *error;
	bool finished;
	ConsoleFn done;
	void *data;
};

static void handle_free_(uv_handle_t *handle)
{
	g_free(handle);
}

static void stop_polling(ConsoleSocket *s)
{
	if (s->poll != NULL)
		uv_close((uv_handle_t *)s->poll, handle_free_);
	s->poll = NULL;
}

static void poll_fd(ConsoleSocket *s, int fd, uv_poll_cb cb)
{
	s->poll = g_new0(uv_poll_t, 1);
	s->poll->data = s;
	uv_poll_init(loop_uv(s->loop), s->poll, fd);
	uv_poll_start(s->poll, UV_READABLE, cb);
}

static void deliver(ConsoleSocket *s)
{
	if (!s->finished || s->done == NULL)
		return;
	ConsoleFn done = s->done;
	s->done = NULL;
	loop_timer_free(g_steal_pointer(&s->timer));
	done(fd_steal(&s->master), g_steal_pointer(&s->error), s->data);
}

static void finish(ConsoleSocket *s, int master, GError *error)
{
	stop_polling(s);
	s->finished = true;
	s->master = master;
	s->error = error;
	deliver(s);
}

/* recvmsg with room for one fd; more than that is refused, and closed by the kernel's MSG_CTRUNC. */
static int receive_fd(int conn, GError **error)
{
	char name[4096];
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {name, sizeof name};
	struct msghdr msg = {.msg_iov = &iov,
	                     .msg_iovlen = 1,
	                     .msg_control = control.space,
	                     .msg_controllen = sizeof control.space};
	ssize_t n = RETRY_EINTR(recvmsg(conn, &msg, MSG_CMSG_CLOEXEC));
	if (n < 0) {
		error_set_errno(error, errno, "recvmsg");
		return -1;
	}
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int))) {
		error_set(error, CTRD_ERR_UNKNOWN, "recvfd: number of SCMs is not 1: 0");
		return -1;
	}
	int fd;
	memcpy(&fd, CMSG_DATA(c), sizeof fd);
	if (isatty(fd) && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0)
		return fd;
	close(fd);
	error_set(error, CTRD_ERR_UNKNOWN, "provided file is not a console");
	return -1;
}

static void on_message(uv_poll_t *poll, int status, int events)
{
	ConsoleSocket *s = poll->data;
	GError *error = NULL;
	int master = receive_fd(s->conn_fd, &error);
	finish(s, master, error);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	ConsoleSocket *s = poll->data;
	int fd = RETRY_EINTR(accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
	if (fd < 0)
		return;
	stop_polling(s);
	s->conn_fd = fd;
	poll_fd(s, fd, on_message);
}

static void on_timeout(void *data)
{
	GError *error = NULL;
	error_set(&error, CTRD_ERR_DEADLINE_EXCEEDED, "context deadline exceeded");
	finish(data, -1, error);
}

static bool console_listen(ConsoleSocket *s, GError **error)
{
	const char *runtime_dir = g_getenv("XDG_RUNTIME_DIR");
	s->dir = g_strdup_printf("%s/ptyXXXXXX", str_empty(runtime_dir) ? "/tmp" : runtime_dir);
	if (mkdtemp(s->dir) == NULL) {
		g_clear_pointer(&s->dir, g_free);
		return error_set_errno(error, errno, "mkdir pty");
	}
	s->path = g_strdup_printf("%s/pty.sock", s->dir);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	if (strlen(s->path) >= sizeof addr.sun_path)
		return error_set(error, CTRD_ERR_UNKNOWN, "listen unix %s: bind: invalid argument", s->path);
	strcpy(addr.sun_path, s->path);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0 || bind(s->listen_fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    listen(s->listen_fd, 1) < 0)
		return error_set_errno(error, errno, "listen unix %s", s->path);
	// A runtime that has dropped privileges must still reach it (upstream: 0755 with the sticky bit).
	if (!str_empty(runtime_dir) && chmod(s->path, 01755) < 0)
		return error_set_errno(error, errno, "chmod %s", s->path);
	return true;
}

ConsoleSocket *console_socket_new(Loop *loop, GError **error)
{
	ConsoleSocket *s = g_new0(ConsoleSocket, 1);
	*s = (ConsoleSocket){.loop = loop, .listen_fd = -1, .conn_fd = -1, .master = -1};
	if (!console_listen(s, error)) {
		console_socket_free(s);
		return NULL;
	}
	poll_fd(s, s->listen_fd, on_connection);
	return s;
}

const char *console_socket_path(const ConsoleSocket *socket)
{
	return socket->path;
}

void console_socket_receive(ConsoleSocket *s, int64_t timeout_ns, ConsoleFn done, void *data)
{
	s->done = done;
	s->data = data;
	if (!s->finished) {
		s->timer = loop_timer_new(s->loop, on_timeout, s);
		loop_timer_start(s->timer, timeout_ns, 0);
	}
	deliver(s);
}

void console_socket_free(ConsoleSocket *s)
{
	if (s == NULL)
		return;
	stop_polling(s);
	loop_timer_free(s->timer);
	fd_close(&s->listen_fd);
	fd_close(&s->conn_fd);
	fd_close(&s->master);
	g_clear_error(&s->error);
	if (s->path != NULL)
		unlink(s->path);
	if (s->dir != NULL)
		rmdir(s->dir);
	g_free(s->path);
	g_free(s->dir);
	g_free(s);
}
