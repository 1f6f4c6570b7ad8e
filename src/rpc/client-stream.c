// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "rpc/client-conn.h"

struct RpcStream {
	RpcClientCall *call;
};

RpcStream *rpc_client_stream(RpcClient *client, const ProtobufCServiceDescriptor *service, const char *method,
                             RpcKind kind, const RpcCallOptions *options, const void *request, GError **error)
{
	g_assert((kind == RPC_SERVER_STREAM) == (request != NULL));
	RpcClientCall *call = rpc_client_call_new(client, service, method, kind, options, request, error);
	if (call == NULL)
		return NULL;
	rpc_client_call_start(call);
	RpcStream *stream = g_new0(RpcStream, 1);
	stream->call = call;
	return stream;
}

bool rpc_stream_send(RpcStream *stream, const void *message, GError **error)
{
	RpcClientCall *call = stream->call;
	RpcMsg *msg = rpc_msg_pack(message, RPC_MSG_HEADROOM);
	if (!rpc_client_check_size(call->client, msg->len, error)) {
		rpc_msg_unref(msg);
		return false;
	}
	rpc_xfer_wait_send(&call->x);
	if (rpc_xfer_send(&call->x, msg))
		return true;
	/* As in Go: the server has ended the call, and receiving tells how; or we have. */
	return !rpc_client_call_status(call, error) ? false : error_set(error, CTRD_ERR_UNKNOWN, "EOF");
}

bool rpc_stream_close_send(RpcStream *stream, GError **error)
{
	rpc_xfer_finish(&stream->call->x, NULL, RPC_OK, NULL, false);
	return true;
}

bool rpc_stream_recv(RpcStream *stream, void *ret, GError **error)
{
	RpcClientCall *call = stream->call;
	ProtobufCMessage **ret_message = ret;
	*ret_message = NULL;
	g_autoptr(RpcMsg) msg = rpc_xfer_take(&call->x, true);
	if (msg != NULL) {
		*ret_message = rpc_client_unpack(call, msg, error);
		return *ret_message != NULL;
	}
	return rpc_client_call_status(call, error);
}

void rpc_stream_free(RpcStream *stream)
{
	if (stream == NULL)
		return;
	rpc_client_call_cancel(stream->call);
	rpc_xfer_unref(&stream->call->x);
	g_free(stream);
}
