// SPDX-License-Identifier: Apache-2.0
#include "rpc/dial.h"

#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A server that does not accept: its backlog is full, connect(2) says EAGAIN on a unix socket. */
#define RETRY (5 * NS_PER_MS)
#define TIMEOUT (20 * NS_PER_SEC)

struct RpcDial {
	Loop *loop;
	char *address; // a path, or host:port
	bool tcp;
	RpcDialFn fn;
	void *data;
	LoopTimer *timer;
	int64_t deadline;
	uv_getaddrinfo_t *resolve; // frees itself when its callback has run
	struct addrinfo *addrs, *next;
	int fd;
	uv_poll_t *poll; // heap: outlives the dial until it is closed
	GError *last;
};

static void handle_free(uv_handle_t *handle)
{
	g_free(handle);
}

static void drop_socket(RpcDial *d)
{
	if (d->poll != NULL) {
		uv_close((uv_handle_t *)d->poll, handle_free);
		d->poll = NULL;
	}
	fd_close(&d->fd);
}

RpcDial *rpc_dial_new(Loop *loop, const char *address, RpcDialFn fn, void *data)
{
	RpcDial *d = g_new0(RpcDial, 1);
	d->loop = loop;
	d->fn = fn;
	d->data = data;
	d->fd = -1;
	d->deadline = time_mono() + TIMEOUT;
	if (g_str_has_prefix(address, "unix://"))
		address += strlen("unix://");
	else if (g_str_has_prefix(address, "unix:"))
		address += strlen("unix:");
	else
		d->tcp = address[0] != '/';
	if (d->tcp && g_str_has_prefix(address, "tcp://"))
		address += strlen("tcp://");
	d->address = g_strdup(address);
	return d;
}

void rpc_dial_free(RpcDial *d)
{
	if (d == NULL)
		return;
	drop_socket(d);
	if (d->resolve != NULL) {
		d->resolve->data = NULL;
		uv_cancel((uv_req_t *)d->resolve);
	}
	if (d->addrs != NULL)
		uv_freeaddrinfo(d->addrs);
	loop_timer_free(d->timer);
	g_clear_error(&d->last);
	g_free(d->address);
	g_free(d);
}

/* The callee may free the dial. */
static void failed(RpcDial *d)
{
	GError *error = g_steal_pointer(&d->last);
	d->fn(d->data, -1, error);
	g_error_free(error);
}

static void set_last(RpcDial *d, int errnum, const char *what)
{
	g_clear_error(&d->last);
	error_set_errno_class(&d->last, CTRD_ERR_UNAVAILABLE, errnum, "dial %s %s: %s",
	                      d->tcp ? "tcp" : "unix", d->address, what);
}

static void connected(RpcDial *d)
{
	int fd = fd_steal(&d->fd);
	drop_socket(d);
	d->fn(d->data, fd, NULL);
}

/* ---- unix ---- */

static void retry_unix(void *data);

static void dial_unix(RpcDial *d)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	if (d->address[0] == '\0' || strlen(d->address) >= sizeof(addr.sun_path)) {
		set_last(d, EINVAL, "connect");
		failed(d);
		return;
	}
	strcpy(addr.sun_path, d->address);
	d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd < 0) {
		set_last(d, errno, "socket");
		failed(d);
	} else if (RETRY_EINTR(connect(d->fd, (struct sockaddr *)&addr, sizeof(addr))) == 0) {
		connected(d);
	} else if (errno == EAGAIN && time_mono() < d->deadline) {
		fd_close(&d->fd);
		if (d->timer == NULL)
			d->timer = loop_timer_new(d->loop, retry_unix, d);
		loop_timer_start(d->timer, RETRY, 0);
	} else {
		set_last(d, errno, "connect");
		failed(d);
	}
}

static void retry_unix(void *data)
{
	dial_unix(data);
}

/* ---- TCP ---- */

static void next_addr(RpcDial *d);

static void on_writable(uv_poll_t *poll, int status, int events)
{
	RpcDial *d = poll->data;
	int err = 0;
	socklen_t len = sizeof(err);
	if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err == 0) {
		connected(d);
		return;
	}
	set_last(d, err, "connect");
	drop_socket(d);
	next_addr(d);
}

static bool connect_tcp(RpcDial *d, const struct addrinfo *ai)
{
	int one = 1;
	d->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd < 0)
		return false;
	setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(d->fd, ai->ai_addr, ai->ai_addrlen) < 0 && errno != EINPROGRESS)
		return false;
	d->poll = g_new0(uv_poll_t, 1);
	uv_poll_init_socket(loop_uv(d->loop), d->poll, d->fd);
	d->poll->data = d;
	uv_poll_start(d->poll, UV_WRITABLE, on_writable);
	return true;
}

static void next_addr(RpcDial *d)
{
	while (d->next != NULL) {
		const struct addrinfo *ai = d->next;
		d->next = ai->ai_next;
		if (connect_tcp(d, ai))
			return;
		set_last(d, errno, "connect");
		drop_socket(d);
	}
	failed(d);
}

static void resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	RpcDial *d = req->data;
	g_free(req);
	if (d == NULL) {
		if (res != NULL)
			uv_freeaddrinfo(res);
		return;
	}
	d->resolve = NULL;
	if (status < 0) {
		error_set(&d->last, CTRD_ERR_UNAVAILABLE, "dial tcp: lookup %s: %s", d->address,
		          uv_strerror(status));
		failed(d);
		return;
	}
	d->addrs = d->next = res;
	next_addr(d);
}

static void dial_timeout(void *data)
{
	RpcDial *d = data;
	set_last(d, ETIMEDOUT, "connect");
	failed(d);
}

static void dial_tcp(RpcDial *d)
{
	const char *colon = strrchr(d->address, ':');
	if (colon == NULL || colon == d->address) {
		error_set(&d->last, CTRD_ERR_UNAVAILABLE, "dial tcp: address %s: missing port in address",
		          d->address);
		failed(d);
		return;
	}
	g_autofree char *host = g_strndup(d->address, (gsize)(colon - d->address));
	size_t n = strlen(host);
	bool bracketed = n > 2 && host[0] == '[' && host[n - 1] == ']';
	if (bracketed)
		host[n - 1] = '\0';
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	d->timer = loop_timer_new(d->loop, dial_timeout, d);
	loop_timer_start(d->timer, TIMEOUT, 0);
	d->resolve = g_new0(uv_getaddrinfo_t, 1);
	d->resolve->data = d;
	int r = uv_getaddrinfo(loop_uv(d->loop), d->resolve, resolved, bracketed ? host + 1 : host, colon + 1,
	                       &hints);
	if (r < 0) {
		g_clear_pointer(&d->resolve, g_free);
		error_set(&d->last, CTRD_ERR_UNAVAILABLE, "dial tcp: lookup %s: %s", d->address,
		          uv_strerror(r));
		failed(d);
	}
}

void rpc_dial_start(RpcDial *d)
{
	if (d->tcp)
		dial_tcp(d);
	else
		dial_unix(d);
}
