// SPDX-License-Identifier: Apache-2.0
#include "remote/test-server.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct TestServer {
	TestHandler handler;
	void *data;
	int listen_fd;
	char *host;
	pthread_t thread;
	atomic_bool stopping;
	atomic_uint requests, connections;
	Lock lock;
	GArray *threads; // of pthread_t
	GString *log;
};

typedef struct {
	TestServer *server;
	int fd;
} Conn;

const char *test_header(const TestRequest *r, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; r->headers[i] != NULL; i++)
		if (g_ascii_strncasecmp(r->headers[i], name, len) == 0 && r->headers[i][len] == ':')
			return g_strchug(r->headers[i] + len + 1);
	return NULL;
}

bool test_raw(TestRequest *r, const void *data, size_t len)
{
	const char *p = data;
	while (len > 0) {
		ssize_t n = send(r->fd, p, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

bool test_raw_text(TestRequest *r, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	return test_raw(r, text, strlen(text));
}

void test_reply(TestRequest *r, int status, const char *headers, const void *body, size_t len)
{
	const char *reason = status < 300    ? "OK"
	                     : status == 404 ? "Not Found"
	                     : status == 401 ? "Unauthorized"
	                                     : "X";
	if (status == 500)
		reason = "Internal Server Error";
	else if (status == 403)
		reason = "Forbidden";
	test_raw_text(r, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\n%s\r\n", status, reason, len, headers);
	if (!g_str_equal(r->method, "HEAD"))
		test_raw(r, body, len);
}

void test_reply_text(TestRequest *r, int status, const char *headers, const char *body)
{
	test_reply(r, status, headers, body, strlen(body));
}

/* More bytes into buf; false: the end, or the server stops. */
static bool receive(Conn *c, GString *buf)
{
	char chunk[16384];
	for (;;) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};
		int n = poll(&p, 1, 50);
		if (atomic_load(&c->server->stopping))
			return false;
		if (n <= 0)
			continue;
		ssize_t got = recv(c->fd, chunk, sizeof(chunk), 0);
		if (got <= 0)
			return false;
		g_string_append_len(buf, chunk, got);
		return true;
	}
}

static bool serve_one(Conn *c, GString *buf)
{
	char *end;
	while ((end = strstr(buf->str, "\r\n\r\n")) == NULL) {
		if (!receive(c, buf))
			return false;
		if (buf->str[0] == 0x16) { // TLS
			TestRequest r = {.fd = c->fd};
			test_raw_text(&r, "HTTP/1.0 400 Bad Request\r\n\r\n");
			return false;
		}
	}
	size_t head_len = (size_t)(end - buf->str);
	g_autofree char *head = g_strndup(buf->str, head_len);
	g_string_erase(buf, 0, (gssize)head_len + 4);
	g_auto(GStrv) lines = g_strsplit(head, "\r\n", -1);
	g_auto(GStrv) first = g_strsplit(lines[0], " ", 3);
	TestRequest r = {
	        .server = c->server,
	        .fd = c->fd,
	        .n = atomic_fetch_add(&c->server->requests, 1) + 1,
	        .method = first[0],
	        .path = first[1],
	        .headers = lines + 1,
	};
	{
		LOCK_SCOPE(&c->server->lock);
		g_string_append_printf(c->server->log, "%s %s\n", r.method, r.path);
	}
	const char *length = test_header(&r, "Content-Length");
	size_t body_len = length != NULL ? (size_t)strtoul(length, NULL, 10) : 0;
	if (test_header(&r, "Expect") != NULL)
		test_raw_text(&r, "HTTP/1.1 100 Continue\r\n\r\n");
	while (buf->len < body_len)
		if (!receive(c, buf))
			return false;
	g_autofree char *body = g_malloc0(body_len + 1);
	memcpy(body, buf->str, body_len);
	g_string_erase(buf, 0, (gssize)body_len);
	r.body = body;
	r.body_len = body_len;
	c->server->handler(&r, c->server->data);
	return !r.close;
}

static void *conn_thread(void *data)
{
	g_autofree Conn *c = data;
	g_autoptr(GString) buf = g_string_new(NULL);
	while (serve_one(c, buf)) {
	}
	close(c->fd);
	return NULL;
}

static void *accept_thread(void *data)
{
	TestServer *s = data;
	while (!atomic_load(&s->stopping)) {
		struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};
		if (poll(&p, 1, 20) <= 0)
			continue;
		int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		atomic_fetch_add(&s->connections, 1);
		Conn *c = g_new0(Conn, 1);
		*c = (Conn){.server = s, .fd = fd};
		pthread_t t;
		g_assert_cmpint(thread_start(&t, "test-conn", 0, conn_thread, c), ==, 0);
		g_array_append_val(s->threads, t);
	}
	return NULL;
}

TestServer *test_server_new(TestHandler handler, void *data)
{
	TestServer *s = g_new0(TestServer, 1);
	s->handler = handler;
	s->data = data;
	lock_init(&s->lock, "test-server", LOCK_RANK_LEAF);
	s->log = g_string_new(NULL);
	s->threads = g_array_new(FALSE, FALSE, sizeof(pthread_t));
	s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	g_assert_cmpint(bind(s->listen_fd, (struct sockaddr *)&addr, len), ==, 0);
	g_assert_cmpint(listen(s->listen_fd, 64), ==, 0);
	g_assert_cmpint(getsockname(s->listen_fd, (struct sockaddr *)&addr, &len), ==, 0);
	s->host = g_strdup_printf("127.0.0.1:%d", ntohs(addr.sin_port));
	g_assert_cmpint(thread_start(&s->thread, "test-accept", 0, accept_thread, s), ==, 0);
	return s;
}

void test_server_free(TestServer *s)
{
	atomic_store(&s->stopping, true);
	pthread_join(s->thread, NULL);
	for (guint i = 0; i < s->threads->len; i++)
		pthread_join(g_array_index(s->threads, pthread_t, i), NULL);
	close(s->listen_fd);
	g_array_unref(s->threads);
	g_string_free(s->log, TRUE);
	lock_destroy(&s->lock);
	g_free(s->host);
	g_free(s);
}

const char *test_server_host(TestServer *s)
{
	return s->host;
}

unsigned test_server_requests(TestServer *s)
{
	return atomic_load(&s->requests);
}

unsigned test_server_connections(TestServer *s)
{
	return atomic_load(&s->connections);
}

char *test_server_log(TestServer *s)
{
	LOCK_SCOPE(&s->lock);
	return g_strdup(s->log->str);
}

bool test_server_stopping(TestServer *s)
{
	return atomic_load(&s->stopping);
}
