// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A serialized message on its way through the stack: one allocation with room in front for the frame header,
 * so that a frame is contiguous and its payload is copied once, by protobuf-c. Owned by one thread at a time.
 */

#include "base/error.h"
#include <glib.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct RpcMsg RpcMsg;
struct RpcMsg {
	RpcMsg *next;      // in an RpcMsgList
	int refs;          // not atomic: references are taken by the loop's thread only
	uint32_t credit;   // bytes of the stream's window to give back when the message is taken
	uint32_t reserved; // bytes of the connection's budget for large messages that it holds
	size_t off;        // where the content starts
	size_t len;
	size_t cap;
	uint8_t data[];
};

/* Room in front of the payload for any header of gRPC and for ttrpc's frame with a Response around it. */
#define RPC_MSG_HEADROOM 32

RpcMsg *rpc_msg_new(size_t headroom, size_t capacity);
RpcMsg *rpc_msg_pack(const ProtobufCMessage *message, size_t headroom);
RpcMsg *rpc_msg_ref(RpcMsg *msg);
void rpc_msg_unref(RpcMsg *msg);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcMsg, rpc_msg_unref)

static inline uint8_t *rpc_msg_content(RpcMsg *msg)
{
	return msg->data + msg->off;
}
/* Extends the content to the front by n bytes, which must be there, and returns its new start. */
uint8_t *rpc_msg_prepend(RpcMsg *msg, size_t n);
/* Appends; grows the allocation by doubling up to limit, which the caller has checked len against. */
RpcMsg *rpc_msg_append(RpcMsg *msg, const void *data, size_t len, size_t limit);
/* NULL where the bytes are not a message of that type: error of this class, text `<prefix><why>`; or
 * RESOURCE_EXHAUSTED where it would take too much memory. */
ProtobufCMessage *rpc_msg_unpack(RpcMsg *msg, const ProtobufCMessageDescriptor *type, CtrdErrorCode class,
                                 const char *prefix, GError **error);

typedef struct {
	RpcMsg *head, *tail;
	size_t bytes;
	size_t n;
} RpcMsgList;
void rpc_msg_list_push(RpcMsgList *list, RpcMsg *msg);
RpcMsg *rpc_msg_list_pop(RpcMsgList *list);
void rpc_msg_list_clear(RpcMsgList *list);
