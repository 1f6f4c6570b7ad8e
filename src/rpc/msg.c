// SPDX-License-Identifier: Apache-2.0
#include "rpc/msg.h"

#include "message.h"
#include <string.h>

RpcMsg *rpc_msg_new(size_t headroom, size_t capacity)
{
	RpcMsg *msg = g_malloc(sizeof(*msg) + headroom + capacity);
	*msg = (RpcMsg){.refs = 1, .off = headroom, .cap = headroom + capacity};
	return msg;
}

RpcMsg *rpc_msg_pack(const ProtobufCMessage *message, size_t headroom)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	RpcMsg *msg = rpc_msg_new(headroom, size);
	msg->len = protobuf_c_message_pack(message, rpc_msg_content(msg));
	return msg;
}

RpcMsg *rpc_msg_ref(RpcMsg *msg)
{
	msg->refs++;
	return msg;
}

void rpc_msg_unref(RpcMsg *msg)
{
	if (msg != NULL && --msg->refs == 0)
		g_free(msg);
}

uint8_t *rpc_msg_prepend(RpcMsg *msg, size_t n)
{
	g_assert(msg->off >= n);
	msg->off -= n;
	msg->len += n;
	return rpc_msg_content(msg);
}

RpcMsg *rpc_msg_append(RpcMsg *msg, const void *data, size_t len, size_t limit)
{
	size_t need = msg->off + msg->len + len;
	if (need > msg->cap) {
		size_t cap = MAX(msg->cap * 2, need);
		if (cap > msg->off + limit)
			cap = MAX(msg->off + limit, need);
		msg = g_realloc(msg, sizeof(*msg) + cap);
		msg->cap = cap;
	}
	memcpy(rpc_msg_content(msg) + msg->len, data, len);
	msg->len += len;
	return msg;
}

ProtobufCMessage *rpc_msg_unpack(RpcMsg *msg, const ProtobufCMessageDescriptor *type, CtrdErrorCode class,
                                 const char *prefix, GError **error)
{
	g_autoptr(GError) why = NULL;
	ProtobufCMessage *m = api_unpack(type, NULL, rpc_msg_content(msg), msg->len, &why);
	if (m == NULL)
		error_set(error,
		          g_error_matches(why, API_ERROR, API_ERROR_LIMIT) ? CTRD_ERR_RESOURCE_EXHAUSTED
		                                                           : class,
		          "%s%s", prefix, why->message);
	return m;
}

void rpc_msg_list_push(RpcMsgList *list, RpcMsg *msg)
{
	msg->next = NULL;
	if (list->tail != NULL)
		list->tail->next = msg;
	else
		list->head = msg;
	list->tail = msg;
	list->bytes += msg->len;
	list->n++;
}

RpcMsg *rpc_msg_list_pop(RpcMsgList *list)
{
	RpcMsg *msg = list->head;
	if (msg == NULL)
		return NULL;
	list->head = msg->next;
	if (list->head == NULL)
		list->tail = NULL;
	msg->next = NULL;
	list->bytes -= msg->len;
	list->n--;
	return msg;
}

void rpc_msg_list_clear(RpcMsgList *list)
{
	RpcMsg *msg;
	while ((msg = rpc_msg_list_pop(list)) != NULL)
		rpc_msg_unref(msg);
}
