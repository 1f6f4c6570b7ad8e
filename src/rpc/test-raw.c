// SPDX-License-Identifier: Apache-2.0
#include "rpc/test-raw.h"

#include "base/time.h"
#include "base/util.h"
#include <sys/socket.h>
#include <sys/time.h>

void raw_server_start(RawServer *s, const RpcServerLimits *limits)
{
	s->loop = loop_start("server");
	s->pool = pool_new("worker", 16, 1024, NS_PER_SEC);
	s->server = rpc_server_new(s->loop, s->pool, limits);
	test_service_add(s->server, s->loop);
}

static void set_done(void *data)
{
	__atomic_store_n((bool *)data, true, __ATOMIC_SEQ_CST);
}

typedef struct {
	RpcServer *server;
	bool done;
} Stop;

static void stop_begin(void *data)
{
	Stop *stop = data;
	rpc_server_stop(stop->server, set_done, &stop->done);
}

typedef struct {
	RpcServer *server;
	unsigned n_connections;
	bool done;
} Count;

static void count(void *data)
{
	Count *c = data;
	c->n_connections = rpc_server_n_connections(c->server);
	set_done(&c->done);
}

static unsigned n_connections(RawServer *s)
{
	Count c = {.server = s->server};
	loop_post(s->loop, count, &c);
	while (!__atomic_load_n(&c.done, __ATOMIC_SEQ_CST))
		cancel_sleep(NULL, NS_PER_MS, NULL);
	return c.n_connections;
}

/* The connections first: what one of them holds unread may still begin a call. */
void raw_wait_idle(RawServer *s)
{
	for (unsigned i = 0; i < 500 && (n_connections(s) > 0 || rpc_server_n_calls(s->server) > 0); i++)
		cancel_sleep(NULL, 10 * NS_PER_MS, NULL);
	g_assert_cmpuint(n_connections(s), ==, 0);
	g_assert_cmpuint(rpc_server_n_calls(s->server), ==, 0);
}

void raw_server_stop(RawServer *s)
{
	Stop stop = {.server = s->server};
	loop_post(s->loop, stop_begin, &stop);
	while (!__atomic_load_n(&stop.done, __ATOMIC_SEQ_CST))
		cancel_sleep(NULL, NS_PER_MS, NULL);
	pool_free(s->pool);
	rpc_server_free(s->server);
	loop_stop_join(s->loop);
}

int raw_connect(RawServer *s, RpcProto proto)
{
	g_autoptr(GError) error = NULL;
	struct timeval timeout = {.tv_sec = 5};
	int fds[2];
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	g_assert_cmpint(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), ==, 0);
	g_assert_cmpint(setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)), ==, 0);
	g_assert_true(rpc_server_accept(s->server, proto, fds[1], &error));
	return fds[0];
}

bool raw_write(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;
	while (len > 0) {
		ssize_t n = RETRY_EINTR(send(fd, p, len, MSG_NOSIGNAL));
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

bool raw_read(int fd, void *data, size_t len)
{
	uint8_t *p = data;
	while (len > 0) {
		ssize_t n = RETRY_EINTR(recv(fd, p, len, 0));
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

void raw_read_eof(int fd)
{
	uint8_t buf[65536];
	ssize_t n;
	while ((n = RETRY_EINTR(recv(fd, buf, sizeof(buf), 0))) > 0)
		;
	g_assert_true(n == 0 || errno == ECONNRESET);
}
