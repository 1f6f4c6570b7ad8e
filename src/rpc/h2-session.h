// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What gRPC's server and client share over nghttp2, without I/O: messages in DATA frames and flow control.
 *
 * Receiving. The connection's window is given back at once, so that one stream never stops another; a
 * stream's window only as its messages are taken, so that a receiver that does not read stops its sender
 * after H2_WINDOW bytes. A message larger than H2_BIG could not get through that way: it is granted its whole
 * length when nothing is queued before it and the connection's budget for such messages (H2_BUDGET) has room,
 * and waits otherwise. So a connection holds at most H2_WINDOW a stream and H2_BUDGET, whatever the peer
 * does.
 *
 * Sending. nghttp2 asks for as much as the windows allow; messages go out by reference, many or parts of one
 * in a frame.
 */

#include "rpc/conn.h"
#include <nghttp2/nghttp2.h>

#define H2_WINDOW (512 * 1024)
#define H2_CONN_WINDOW (4 * 1024 * 1024)
#define H2_BIG ((size_t)128 * 1024)
#define H2_BUDGET ((size_t)64 * 1024 * 1024)
/* Of names, values and 32 a header, as HTTP/2 counts. containerd's clients send less than 1 KiB; grpc-go's 16
 * MiB would let each stream hold that much. */
#define H2_MAX_HEADERS ((size_t)64 * 1024)

#define GRPC_PREFIX 5

typedef struct H2Stream H2Stream;
typedef struct H2Session H2Session;

struct H2Stream {
	H2Session *session;
	RpcXfer *x; // NULL: a refused request, or a call that nobody wants any more
	H2Stream *next, *prev;
	int32_t id;
	/* Receiving. */
	uint8_t prefix[GRPC_PREFIX];
	unsigned have; // of the prefix
	RpcMsg *msg;   // being received
	size_t msg_len;
	size_t uncredited; // bytes of it for which the window has not been given back
	size_t reserved;   // of the budget, for this and messages not taken yet
	bool granted;
	bool waiting; // for the budget or for the messages before it
	bool recv_end;
	bool dropping; // what comes is thrown away
	/* Sending. */
	RpcMsgList tx;
	size_t tx_off; // of its first
	bool headers_sent;
	bool deferred; // the data source waits for more
	void *side;    // of the server's or the client's side
};

typedef struct {
	/* A message is broken or too large. */
	void (*refuse)(H2Stream *st, RpcStatusCode code, const char *text);
	/* The peer's side has ended, with a message cut short or not. */
	void (*end)(H2Stream *st, bool truncated);
	/* All is sent: nghttp2's data flags for the last frame. */
	uint32_t (*last_data)(H2Stream *st);
	void (*closed)(H2Stream *st, uint32_t error_code); // the stream is about to be freed
	bool (*frame)(H2Session *s, const nghttp2_frame *frame);
	bool (*begin_frame)(H2Session *s, const nghttp2_frame_hd *hd); // false: too many
	bool (*begin_headers)(H2Session *s, const nghttp2_frame *frame);
	void (*header)(H2Stream *st, const uint8_t *name, size_t name_len, const uint8_t *value,
	               size_t value_len);
	void (*frame_sent)(H2Session *s, const nghttp2_frame *frame);
	void (*free_side)(H2Stream *st);
} H2SideOps;

struct H2Session {
	RpcConn *conn;
	nghttp2_session *ng;
	const H2SideOps *ops;
	size_t max_recv;
	size_t reserved;
	H2Stream *streams;
	unsigned n_streams;
	unsigned n_waiting;
	bool broken; // nghttp2 has given up
	bool goaway; // no new streams; done after the last
	/* Of the server: what the peer may do without purpose. */
	double cheap_tokens, reset_tokens;
	int64_t tokens_at;
	bool drained; // the last GOAWAY is out
};

void h2_session_open(RpcConn *conn, const H2SideOps *ops, size_t max_recv, uint32_t max_streams);
void h2_session_close(RpcConn *conn);
bool h2_session_input(RpcConn *conn, const uint8_t *data, size_t len);
void h2_session_fill(RpcConn *conn);
bool h2_session_backlog(RpcConn *conn);
void h2_session_credit(RpcConn *conn, RpcXfer *x, size_t credit, size_t reserved, bool drained);

H2Stream *h2_stream_new(H2Session *s, int32_t id);
void h2_stream_free(H2Stream *st);
H2Stream *h2_stream_find(H2Session *s, int32_t id);
/* There is more to send. */
void h2_stream_resume(H2Stream *st);
/* Stops receiving messages: what still comes is thrown away. */
void h2_stream_drop_input(H2Stream *st);
nghttp2_data_provider h2_stream_provider(H2Stream *st);

static inline nghttp2_nv h2_nv(const char *name, const char *value)
{
	return (nghttp2_nv){.name = (uint8_t *)name,
	                    .value = (uint8_t *)value,
	                    .namelen = __builtin_strlen(name),
	                    .valuelen = __builtin_strlen(value)};
}
