// SPDX-License-Identifier: Apache-2.0
#pragma once

/* An HTTP/1.1 server for tests, on a free port of the loopback: each request goes to a function of the test,
 * which may answer as badly as it likes. One thread for each connection. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct TestServer TestServer;
typedef struct {
	TestServer *server;
	int fd;
	unsigned n; // of this request on the server, from 1
	const char *method, *path;
	char **headers; // "Name: value"
	const char *body;
	size_t body_len;
	bool close; // set by the handler: no more requests on this connection
} TestRequest;
const char *test_header(const TestRequest *r, const char *name); // NULL: absent

typedef void (*TestHandler)(TestRequest *r, void *data);
TestServer *test_server_new(TestHandler handler, void *data);
void test_server_free(TestServer *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestServer, test_server_free)
const char *test_server_host(TestServer *s); // "127.0.0.1:port"
unsigned test_server_requests(TestServer *s);
unsigned test_server_connections(TestServer *s);
/* "METHOD path" of all requests so far, one a line. Owned by the caller. */
char *test_server_log(TestServer *s);
bool test_server_stopping(TestServer *s);

/* A whole answer. headers: "Name: value\r\n" lines or "". HEAD gets no body, its length all the same. */
void test_reply(TestRequest *r, int status, const char *headers, const void *body, size_t len);
void test_reply_text(TestRequest *r, int status, const char *headers, const char *body);
/* Bytes as they are. false: the client has gone. */
bool test_raw(TestRequest *r, const void *data, size_t len);
bool test_raw_text(TestRequest *r, const char *format, ...) G_GNUC_PRINTF(2, 3);
