// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One connection of a server or a client on its loop: the socket, the bytes to write, and a protocol that
 * turns bytes into calls of its transfers' ops and queued messages into bytes. Everything here is for the
 * loop's thread, but ref, unref and the counter of running calls.
 *
 * The protocols do no I/O: tests and fuzzers run them on a connection without a socket (fd -1).
 */

#include "loop/loop.h"
#include "rpc/msg.h"
#include "rpc/server.h"
#include "rpc/xfer.h"
#include <sys/types.h>

typedef struct {
	RpcProto proto;
	bool server;
	void (*open)(RpcConn *conn); // makes conn->session and queues what the peer must see first
	/* Bytes from the peer. false: the protocol is broken; the connection ends once what is queued is
	 * written. */
	bool (*input)(RpcConn *conn, const uint8_t *data, size_t len);
	/* Where the next bytes may be read to without a copy (they are passed to input nevertheless); NULL:
	 * nowhere. */
	uint8_t *(*rx_buffer)(RpcConn *conn, size_t *ret_len);
	/* Moves messages to the output while that is below RPC_OUT_MARK. */
	void (*fill)(RpcConn *conn);
	bool (*backlog)(RpcConn *conn);           // there is too much that fill could not move; NULL: never
	void (*start)(RpcConn *conn, RpcXfer *x); // client: begin this call
	void (*ready)(RpcConn *conn, RpcXfer *x); // its send queue changed
	void (*credit)(RpcConn *conn, RpcXfer *x, size_t credit, size_t reserved, bool stalled);
	void (*abandon)(RpcConn *conn, RpcXfer *x); // client: nobody wants the answer. Detaches it
	void (*drain)(RpcConn *conn);               // server: no new calls, please
	/* The socket is closed: frees the session. Transfers have been detached. */
	void (*close)(RpcConn *conn);
} RpcCodec;

/* NULL where the program is linked without gRPC (the shim). */
extern const RpcCodec rpc_h2_server_codec __attribute__((weak));
extern const RpcCodec rpc_h2_client_codec __attribute__((weak));
extern const RpcCodec rpc_ttrpc_server_codec;
extern const RpcCodec rpc_ttrpc_client_codec;

typedef struct RpcOutSeg RpcOutSeg;
typedef struct {
	RpcOutSeg *head, *tail;
	size_t bytes;
} RpcOut;

/* Encryption between the socket and the protocol, without I/O (rpc/tls.h). */
typedef struct RpcCrypt RpcCrypt;
typedef struct {
	/* Takes bytes from the peer. */
	void (*feed)(RpcCrypt *crypt, const uint8_t *data, size_t len);
	/* What they decrypt to; 0: nothing more now; less: the peer has ended it, or it failed (the last
	 * bytes for the peer say so). */
	ssize_t (*read)(RpcCrypt *crypt, uint8_t *to, size_t room);
	/* Encrypts; false: failed. Only when established. */
	bool (*write)(RpcCrypt *crypt, const uint8_t *data, size_t len);
	/* Moves bytes for the peer; returns their number. */
	size_t (*take)(RpcCrypt *crypt, uint8_t *to, size_t room);
	void (*free)(RpcCrypt *crypt);
} RpcCryptOps;
struct RpcCrypt {
	const RpcCryptOps *ops;
	bool established; // the handshake is done
};

/* Protocols stop filling the output above this. */
#define RPC_OUT_MARK ((size_t)256 * 1024)
/* A peer whose output is above this is not read from until half of it is gone. */
#define RPC_OUT_STOP_READ ((size_t)1024 * 1024)

typedef struct {
	void (*closed)(
	        RpcConn *conn); // the owner forgets the connection; it may change close_code and close_text
	void (*goaway)(RpcConn *conn); // client: the server wants no new calls here
} RpcConnOwnerOps;

struct RpcConn {
	const RpcCodec *codec;
	void *session;
	const RpcConnOwnerOps *owner_ops;
	void *owner;          // RpcServer or RpcClient
	RpcConn *next, *prev; // of the owner
	Loop *loop;
	int refs;         // atomic
	unsigned running; // atomic: calls whose handlers have not ended
	int fd;
	int events;
	uv_poll_t poll;
	LoopTimer *timer; // the preface's, or the last flush's
	RpcOut out;
	RpcCrypt *crypt; // NULL: none; set before rpc_conn_start, freed with the connection
	struct {
		uint8_t *data;
		size_t at, len;
	} cipher; // what is encrypted and not sent yet
	RpcXfer *xfers;
	unsigned n_xfers;
	unsigned hold;
	pid_t pid;
	uid_t uid;
	RpcStatusCode close_code;
	char *close_text;
	bool polling; // poll is initialised
	bool closed;
	bool closing;    // tear down when the hold ends
	bool finishing;  // write what is queued, then close; input is ignored
	bool draining;   // the server stops
	bool stop_read;  // the output is too long
	bool pause_read; // the protocol asks for it
	bool io_error;   // the last write failed; reading gets what is left
};

/* Takes fd (-1: none). The connection starts with rpc_conn_start. */
RpcConn *rpc_conn_new(Loop *loop, int fd, const RpcCodec *codec, const RpcConnOwnerOps *ops, void *owner);
RpcConn *rpc_conn_ref(RpcConn *conn);
void rpc_conn_unref(RpcConn *conn);
bool rpc_conn_start(RpcConn *conn, GError **error);

/* Between hold and release nothing is written and nothing is torn down; release does both. */
void rpc_conn_hold(RpcConn *conn);
void rpc_conn_release(RpcConn *conn);

/* Feeds bytes as if they had come from the socket. */
void rpc_conn_input(RpcConn *conn, const uint8_t *data, size_t len);

/* Output: copied, or by reference. */
void rpc_conn_write(RpcConn *conn, const void *data, size_t len);
void rpc_conn_write_msg(RpcConn *conn, RpcMsg *msg, size_t off, size_t len);
/* Removes the output of a connection without socket; for tests. */
GByteArray *rpc_conn_take_output(RpcConn *conn);

void rpc_conn_pause_read(RpcConn *conn, bool pause);
/* Closes the connection after this time; one timer. */
void rpc_conn_set_timeout(RpcConn *conn, int64_t ns);
void rpc_conn_clear_timeout(RpcConn *conn);
/* Closes when the output is written, or after a second. */
void rpc_conn_finish(RpcConn *conn, RpcStatusCode code, const char *text);
/* Closes now. The calls end with this status. */
void rpc_conn_close(RpcConn *conn, RpcStatusCode code, const char *text);

void rpc_conn_attach(RpcConn *conn, RpcXfer *x, uint32_t id);
/* The transfer has ended: takes it off the connection and tells it. */
void rpc_conn_detach(RpcConn *conn, RpcXfer *x, RpcStatusCode code, const char *text);
