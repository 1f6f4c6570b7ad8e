// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What ttrpc's server and client share: frames in and out, the transfers with something to send, and the
 * stop of reading while a stream's receiver lags. ttrpc has no flow control: like upstream, the connection
 * waits a second for a full stream and then gives that stream up. Loop's thread.
 */

#include "rpc/conn.h"
#include "rpc/ttrpc-wire.h"

typedef struct TtrpcSession TtrpcSession;
struct TtrpcSession {
	TtrpcReader reader;
	GHashTable *streams; // id -> RpcXfer, those that take more frames; NULL while there are none
	RpcXfer *ready_head, *ready_tail;
	uint32_t last_id;
	RpcXfer *stalled; // the stream that reading waits for
	LoopTimer *stall_timer;
	void (*overrun)(RpcConn *conn, RpcXfer *x); // that stream did not get on in time
	RpcConn *conn;
};

/* Bytes of a stream received and not taken, above which the connection waits. */
#define TTRPC_STREAM_BUFFER ((size_t)1024 * 1024)

TtrpcSession *ttrpc_session_new(RpcConn *conn, void (*overrun)(RpcConn *conn, RpcXfer *x));
void ttrpc_session_close(RpcConn *conn);

void ttrpc_session_add(TtrpcSession *s, RpcXfer *x);
RpcXfer *ttrpc_session_find(TtrpcSession *s, uint32_t id);
/* Takes the transfer out of everything but the connection. */
void ttrpc_session_remove(TtrpcSession *s, RpcXfer *x);

/* Queues a frame; msg is taken, NULL is an empty body. */
void ttrpc_session_write(RpcConn *conn, uint32_t id, uint8_t type, uint8_t flags, RpcMsg *msg);

/* Feeds bytes; calls frame for each one, which takes msg (NULL: empty body). */
typedef void (*TtrpcFrameFn)(RpcConn *conn, const TtrpcHeader *h, RpcMsg *msg, bool oversized);
void ttrpc_session_input(RpcConn *conn, const uint8_t *data, size_t len, TtrpcFrameFn frame);

/* Hands a received message to the stream and stops reading where it has too much. */
void ttrpc_session_deliver(RpcConn *conn, RpcXfer *x, RpcMsg *msg);

/* Codec functions that are the same on both sides. */
uint8_t *ttrpc_session_rx_buffer(RpcConn *conn, size_t *ret_len);
void ttrpc_session_ready(RpcConn *conn, RpcXfer *x);
void ttrpc_session_credit(RpcConn *conn, RpcXfer *x, size_t credit, size_t reserved, bool drained);
/* Calls send_one for the transfers in turn while the output has room; it returns whether there is more. */
void ttrpc_session_fill(RpcConn *conn, bool (*send_one)(RpcConn *conn, RpcXfer *x));
