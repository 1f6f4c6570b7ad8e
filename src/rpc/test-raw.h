// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A server with the test service, and a raw connection to it; for tests that write frames by hand. */

#include "rpc/test-service.h"

typedef struct {
	Loop *loop;
	Pool *pool;
	RpcServer *server;
} RawServer;

void raw_server_start(RawServer *s, const RpcServerLimits *limits);
/* Stops and frees everything; asserts that no call is left. */
void raw_server_stop(RawServer *s);
/* A new connection: a blocking socket whose reads end after 5 s. */
int raw_connect(RawServer *s, RpcProto proto);
/* false: the peer has closed. */
bool raw_write(int fd, const void *data, size_t len);
/* Exactly len bytes; false: end of file or an error. */
bool raw_read(int fd, void *data, size_t len);
/* Reads and throws away until the end of file; asserts that it comes. */
void raw_read_eof(int fd);
/* Waits until every connection has ended, at either side, and no handler runs. */
void raw_wait_idle(RawServer *s);
