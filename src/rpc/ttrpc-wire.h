// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * ttrpc's frames and its two envelopes, without I/O. Source: PROTOCOL.md, channel.go and request.proto of
 * github.com/containerd/ttrpc 1.2. The envelopes are read and written by hand, so that a payload of 4 MiB is
 * copied once.
 */

#include "rpc/msg.h"
#include "rpc/status.h"

#define TTRPC_HEADER 10
#define TTRPC_MESSAGE_MAX (4u << 20)

enum { TTRPC_REQUEST = 1, TTRPC_RESPONSE = 2, TTRPC_DATA = 3 };
enum { TTRPC_REMOTE_CLOSED = 1, TTRPC_REMOTE_OPEN = 2, TTRPC_NO_DATA = 4 };

typedef struct {
	uint32_t len;
	uint32_t stream;
	uint8_t type;
	uint8_t flags;
} TtrpcHeader;

void ttrpc_header_write(uint8_t out[TTRPC_HEADER], const TtrpcHeader *h);

/* A piece of a message; not terminated. */
typedef struct {
	const uint8_t *data;
	size_t len;
} TtrpcSlice;

typedef struct {
	TtrpcSlice service, method, payload;
	int64_t timeout_ns;
} TtrpcRequest;

/* fn for each metadata pair. false where the bytes are not a Request. */
typedef void (*TtrpcPairFn)(void *data, TtrpcSlice key, TtrpcSlice value);
bool ttrpc_request_read(const uint8_t *data, size_t len, TtrpcRequest *ret, TtrpcPairFn fn, void *fn_data);

typedef struct {
	RpcStatusCode code;
	TtrpcSlice message;
	TtrpcSlice payload;
} TtrpcResponse;
bool ttrpc_response_read(const uint8_t *data, size_t len, TtrpcResponse *ret);

/* Puts the envelope in front of a packed payload. */
void ttrpc_response_wrap(RpcMsg *payload);
RpcMsg *ttrpc_response_status(RpcStatusCode code, const char *text);
/* A Request around a message to be packed; metadata may be NULL. */
RpcMsg *ttrpc_request_pack(const char *service, const char *method, int64_t timeout_ns, GHashTable *metadata,
                           const char *ns, const char *lease, const ProtobufCMessage *payload);

/* ---- reading frames ---- */

/* What has arrived of a frame. */
typedef struct {
	uint8_t header_bytes[TTRPC_HEADER];
	unsigned have; // of the header
	TtrpcHeader h;
	RpcMsg *body;
	size_t discard; // of an oversized body
	bool oversized;
} TtrpcReader;

typedef enum {
	TTRPC_MORE,      // all bytes are used, the frame is not complete
	TTRPC_FRAME,     // h and body (taken by the caller; NULL: empty)
	TTRPC_OVERSIZED, // h; the body has been thrown away
} TtrpcReadResult;
/* Uses bytes from *data; call again until TTRPC_MORE. */
TtrpcReadResult ttrpc_reader_feed(TtrpcReader *r, const uint8_t **data, size_t *len);
/* Room for the rest of a body that is under way, for reading without a copy. */
uint8_t *ttrpc_reader_buffer(TtrpcReader *r, size_t *ret_len);
void ttrpc_reader_clear(TtrpcReader *r);
