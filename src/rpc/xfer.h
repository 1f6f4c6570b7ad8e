// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The two directions of one call: the messages to send and the messages received, shared by the server's and
 * the client's side and by both protocols. Threads that run handlers or callers use the queues under the
 * lock; the connection and everything of the protocol belongs to the loop's thread.
 *
 * A thread that has queued something kicks the loop: at most one mailbox entry is under way for a transfer.
 */

#include "loop/lock.h"
#include "loop/loop.h"
#include "rpc/msg.h"
#include "rpc/status.h"

typedef struct RpcXfer RpcXfer;
typedef struct RpcConn RpcConn;

/* What is above the protocol: a server's call or a client's. All but free run on the loop's thread. */
typedef struct {
	void (*message)(RpcXfer *x, RpcMsg *msg); // takes the message
	void (*end)(RpcXfer *x);                  // the peer sends no more messages
	/* The transfer has left its connection; nothing follows. A client gets the status of the call here, a
	 * server why the stream ended (RPC_OK: it was answered). */
	void (*closed)(RpcXfer *x, RpcStatusCode code, const char *text);
	void (*free)(RpcXfer *x);
} RpcXferOps;

struct RpcXfer {
	const RpcXferOps *ops;
	Loop *loop;
	int refs; // atomic

	Lock lock; // for the fields up to the next comment
	Cond cond;
	RpcMsgList sendq;
	RpcMsgList recvq;
	RpcStatusCode code; // server: the answer's status, with send_end. Client: as received, with gone
	char *text;
	size_t take_credit; // window to give back for messages taken, not yet told to the loop
	size_t take_reserved;
	unsigned send_waiters, recv_waiters;
	bool send_end; // nothing is queued any more
	bool recv_end; // the peer sends no more
	bool stop;     // whoever waits for messages must give up
	bool gone;     // left its connection
	bool kicked;
	bool stalled; // the protocol waits for recvq to be empty

	/* Loop's thread. */
	RpcConn *conn;        // NULL: not yet or not any more
	RpcXfer *next, *prev; // of the connection
	void *stream;         // of the protocol
	RpcXfer *ready_next;  // in the protocol's queue of those with something to send
	bool ready_queued;
	bool write_closed; // the end has been sent
	uint32_t id;
};

/* A queue longer than this blocks its sender. */
#define RPC_SEND_QUEUE_MAX (1024 * 1024)
/* Messages taken are told to the loop when their window adds up to this. */
#define RPC_CREDIT_BATCH (64 * 1024)

void rpc_xfer_init(RpcXfer *x, const RpcXferOps *ops, Loop *loop);
RpcXfer *rpc_xfer_ref(RpcXfer *x);
void rpc_xfer_unref(RpcXfer *x); // any thread

/* Any thread: the loop looks at the queues soon; at once where the caller is the loop's thread. */
void rpc_xfer_kick(RpcXfer *x);
/* Queues a message and kicks; false (and the message is freed) where the transfer has ended. */
bool rpc_xfer_send(RpcXfer *x, RpcMsg *msg);
/* Waits until the send queue is below its bound or the transfer has ended. */
void rpc_xfer_wait_send(RpcXfer *x);
/* Queues the end: status (server), or the end of the messages (client: RPC_OK and NULL). Only the first
 * counts; false for a later one. drop: what is queued is not
 * sent any more and nobody receives. */
bool rpc_xfer_finish(RpcXfer *x, RpcMsg *last, RpcStatusCode code, const char *text, bool drop);
/* Waits for a message: NULL at the end or where the transfer is gone. wait false: looks only. */
RpcMsg *rpc_xfer_take(RpcXfer *x, bool wait);

/* ---- for protocols, on the loop's thread ---- */

/* The next message to send, or NULL; *ret_end: there are no more. */
RpcMsg *rpc_xfer_next_send(RpcXfer *x, bool *ret_end);
bool rpc_xfer_has_send(RpcXfer *x);             // a message or the end
void rpc_xfer_receive(RpcXfer *x, RpcMsg *msg); // default of ops->message: into recvq
void rpc_xfer_receive_end(RpcXfer *x);
/* Sets gone and wakes everybody. The caller holds x. */
void rpc_xfer_mark_gone(RpcXfer *x);
/* The same with the status that a client received: at once, or a rpc_xfer_finish between would change it. */
void rpc_xfer_mark_gone_with(RpcXfer *x, RpcStatusCode code, const char *text);
size_t rpc_xfer_recv_bytes(RpcXfer *x);
/* The loop wants to know when recvq becomes empty; false where it is already. */
bool rpc_xfer_stall(RpcXfer *x);
