// SPDX-License-Identifier: Apache-2.0
#include "rpc/listen.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "rpc/server.h"
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Out of descriptors: the socket stays readable, so it is left alone for a while instead of spinning. */
#define PAUSE (100 * NS_PER_MS)
/* A burst of connections does not keep the loop from its other work. */
#define BURST 64
/* How long a process that is dying may take from one socket to the next. */
#define DEATH_MS 500

struct RpcListener {
	Loop *loop;
	void *owner;
	void (*accepted)(RpcListener *l, int fd);
	int fd;
	uv_poll_t poll;
	LoopTimer *timer;
	int64_t last_warning;
	bool freed;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void resume(void *data)
{
	RpcListener *l = data;
	uv_poll_start(&l->poll, UV_READABLE, on_poll);
}

static void pause_accepting(RpcListener *l, int errnum)
{
	int64_t now = time_mono();
	if (l->last_warning == 0 || now - l->last_warning > 10 * NS_PER_SEC) {
		l->last_warning = now;
		g_autofree char *text = errno_text(errnum);
		log_warn("cannot accept connections for the moment", "error", text, NULL);
	}
	uv_poll_stop(&l->poll);
	if (l->timer == NULL)
		l->timer = loop_timer_new(l->loop, resume, l);
	loop_timer_start(l->timer, PAUSE, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	RpcListener *l = poll->data;
	for (unsigned i = 0; i < BURST && !l->freed; i++) {
		int fd = RETRY_EINTR(accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
		if (fd >= 0) {
			l->accepted(l, fd);
			continue;
		}
		if (errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN)
			pause_accepting(l, errno);
		return;
	}
}

RpcListener *rpc_listener_new(Loop *loop, int fd, void (*accepted)(RpcListener *l, int fd), void *owner)
{
	RpcListener *l = g_new0(RpcListener, 1);
	l->loop = loop;
	l->fd = fd;
	l->accepted = accepted;
	l->owner = owner;
	if (uv_poll_init_socket(loop_uv(loop), &l->poll, fd) < 0) {
		close(fd);
		g_free(l);
		return NULL;
	}
	l->poll.data = l;
	uv_poll_start(&l->poll, UV_READABLE, on_poll);
	return l;
}

void *rpc_listener_owner(RpcListener *listener)
{
	return listener->owner;
}

static void closed(uv_handle_t *handle)
{
	g_free(handle->data);
}

void rpc_listener_free(RpcListener *listener)
{
	if (listener == NULL)
		return;
	listener->freed = true;
	loop_timer_free(listener->timer);
	uv_close((uv_handle_t *)&listener->poll, closed);
	fd_close(&listener->fd);
}

/* ---- unix sockets ---- */

/* Whether somebody listens there. */
static bool socket_is_live(const struct sockaddr_un *addr)
{
	autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return true;
	/* EAGAIN: its backlog is full, so it is alive. */
	return connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN ||
	       errno == EACCES;
}

static bool remove_stale(const char *path, const struct sockaddr_un *addr, GError **error)
{
	struct stat st;
	if (lstat(path, &st) < 0) {
		if (errno == ENOENT)
			return true;
		return error_set_errno(error, errno, "stat %s", path);
	}
	if (!S_ISSOCK(st.st_mode) || socket_is_live(addr))
		return error_set_errno(error, EADDRINUSE, "listen unix %s: bind", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set_errno(error, errno, "remove %s", path);
	return true;
}

static bool unix_address(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (path[0] != '/' || strlen(path) >= sizeof(ret->sun_path))
		return false;
	strcpy(ret->sun_path, path);
	return true;
}

/* A process that dies closes its sockets one after the other: that of a connection may be seen closed while
 * the listening one still takes another. That one then ends, too. */
static void wait_for_death(const struct sockaddr_un *addr)
{
	autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return;
	struct pollfd end = {.fd = fd, .events = POLLIN};
	poll(&end, 1, DEATH_MS);
}

void rpc_remove_dead_socket(const char *path)
{
	struct sockaddr_un addr;
	if (!unix_address(path, &addr))
		return;
	wait_for_death(&addr);
	remove_stale(path, &addr, NULL);
}

int rpc_listen_unix(const char *path, mode_t mode, uid_t uid, gid_t gid, GError **error)
{
	struct sockaddr_un addr;
	if (!unix_address(path, &addr)) {
		error_set_errno(error, EINVAL, "listen unix %s: bind", path);
		return -1;
	}
	g_autofree char *dir = g_path_get_dirname(path);
	if (!dir_make_all(dir, 0711, error) || !remove_stale(path, &addr, error))
		return -1;
	autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		error_set_errno(error, errno, "listen unix %s: socket", path);
		return -1;
	}
	/* Nobody may connect before owner and mode are right: bind makes the file with the mode of the
	 * socket, and it is not listening yet. */
	if (fchmod(fd, mode & 0600) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		error_set_errno(error, errno, "listen unix %s: bind", path);
		return -1;
	}
	if (lchown(path, uid, gid) < 0 || chmod(path, mode) < 0 || listen(fd, SOMAXCONN) < 0) {
		error_set_errno(error, errno, "listen unix %s", path);
		unlink(path);
		return -1;
	}
	return fd_steal(&fd);
}

/* ---- TCP ---- */

/* "host:port" or "[v6]:port"; false where there is no port. */
static bool split_address(const char *address, char **ret_host, char **ret_port)
{
	const char *colon = strrchr(address, ':');
	if (colon == NULL)
		return false;
	*ret_host = g_strndup(address, (gsize)(colon - address));
	*ret_port = g_strdup(colon + 1);
	size_t n = strlen(*ret_host);
	if (n >= 2 && (*ret_host)[0] == '[' && (*ret_host)[n - 1] == ']') {
		memmove(*ret_host, *ret_host + 1, n - 2);
		(*ret_host)[n - 2] = '\0';
		return true;
	}
	return strchr(*ret_host, ':') == NULL;
}

static int listen_on(const struct addrinfo *ai, bool any, const char *address, GError **error)
{
	const int one = 1, zero = 0;
	autofd fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		error_set_errno(error, errno, "listen tcp %s: socket", address);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (any && ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0) {
		error_set_errno(error, errno, "listen tcp %s: bind", address);
		return -1;
	}
	return fd_steal(&fd);
}

int rpc_listen_tcp(const char *address, GError **error)
{
	g_autofree char *host = NULL, *port = NULL;
	if (!split_address(address, &host, &port)) {
		error_set(error, CTRD_ERR_UNKNOWN, "listen tcp: address %s: %s", address,
		          host == NULL ? "missing port in address" : "too many colons in address");
		return -1;
	}
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *all = NULL;
	int r = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &all);
	if (r != 0) {
		error_set(error, CTRD_ERR_UNKNOWN, "listen tcp: lookup %s: %s", address, gai_strerror(r));
		return -1;
	}
	/* With no host one IPv6 socket takes both, where the kernel has IPv6. */
	int fd = -1;
	for (int family = AF_INET6; fd < 0 && family != 0; family = family == AF_INET6 ? AF_INET : 0) {
		for (const struct addrinfo *ai = all; ai != NULL && fd < 0; ai = ai->ai_next) {
			if (ai->ai_family != family)
				continue;
			g_clear_error(error);
			fd = listen_on(ai, host[0] == '\0', address, error);
		}
	}
	freeaddrinfo(all);
	return fd;
}
