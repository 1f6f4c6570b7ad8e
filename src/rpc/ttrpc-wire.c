// SPDX-License-Identifier: Apache-2.0
#include "rpc/ttrpc-wire.h"

#include "base/util.h"
#include <string.h>

static void put_u32(uint8_t *p, uint32_t v)
{
	v = GUINT32_TO_BE(v);
	memcpy(p, &v, 4);
}

static uint32_t get_u32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return GUINT32_FROM_BE(v);
}

void ttrpc_header_write(uint8_t out[TTRPC_HEADER], const TtrpcHeader *h)
{
	put_u32(out, h->len);
	put_u32(out + 4, h->stream);
	out[8] = h->type;
	out[9] = h->flags;
}

/* ---- protobuf, as much as the envelopes need ---- */

typedef struct {
	const uint8_t *at, *end;
} Cursor;

static bool read_varint(Cursor *c, uint64_t *ret)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (c->at == c->end)
			return false;
		uint8_t b = *c->at++;
		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0) {
			*ret = v;
			return true;
		}
	}
	return false;
}

typedef struct {
	unsigned number;
	unsigned type; // wire type
	uint64_t value;
	TtrpcSlice bytes;
} Field;

/* The next field. false: the end (*ret_ok), or no protobuf. */
static bool next_field(Cursor *c, Field *f, bool *ret_ok)
{
	*ret_ok = c->at == c->end;
	uint64_t tag;
	if (*ret_ok || !read_varint(c, &tag) || (tag >> 3) == 0 || (tag >> 3) > 0x1fffffff)
		return false;
	*f = (Field){.number = (unsigned)(tag >> 3), .type = tag & 7};
	switch (f->type) {
	case 0:
		return read_varint(c, &f->value);
	case 1:
	case 5:
		f->bytes = (TtrpcSlice){c->at, f->type == 1 ? 8 : 4};
		break;
	case 2:
		if (!read_varint(c, &f->value))
			return false;
		f->bytes = (TtrpcSlice){c->at, (size_t)f->value};
		break;
	default:
		return false; // groups are not in proto3
	}
	if (f->bytes.len > (size_t)(c->end - c->at))
		return false;
	c->at += f->bytes.len;
	return true;
}

static bool read_pair(TtrpcSlice bytes, TtrpcPairFn fn, void *fn_data)
{
	Cursor c = {bytes.data, bytes.data + bytes.len};
	TtrpcSlice key = {0}, value = {0};
	Field f;
	bool ok;
	while (next_field(&c, &f, &ok)) {
		if (f.number == 1 && f.type == 2)
			key = f.bytes;
		else if (f.number == 2 && f.type == 2)
			value = f.bytes;
	}
	if (ok && fn != NULL)
		fn(fn_data, key, value);
	return ok;
}

bool ttrpc_request_read(const uint8_t *data, size_t len, TtrpcRequest *ret, TtrpcPairFn fn, void *fn_data)
{
	Cursor c = {data, data + len};
	Field f;
	bool ok;
	*ret = (TtrpcRequest){0};
	while (next_field(&c, &f, &ok)) {
		if (f.number == 1 && f.type == 2)
			ret->service = f.bytes;
		else if (f.number == 2 && f.type == 2)
			ret->method = f.bytes;
		else if (f.number == 3 && f.type == 2)
			ret->payload = f.bytes;
		else if (f.number == 4 && f.type == 0)
			ret->timeout_ns = (int64_t)f.value;
		else if (f.number == 5 && f.type == 2 && !read_pair(f.bytes, fn, fn_data))
			return false;
	}
	return ok;
}

static bool read_status(TtrpcSlice bytes, TtrpcResponse *ret)
{
	Cursor c = {bytes.data, bytes.data + bytes.len};
	Field f;
	bool ok;
	while (next_field(&c, &f, &ok)) {
		if (f.number == 1 && f.type == 0)
			ret->code = (RpcStatusCode)(int32_t)f.value;
		else if (f.number == 2 && f.type == 2)
			ret->message = f.bytes;
	}
	return ok;
}

bool ttrpc_response_read(const uint8_t *data, size_t len, TtrpcResponse *ret)
{
	Cursor c = {data, data + len};
	Field f;
	bool ok;
	*ret = (TtrpcResponse){0};
	while (next_field(&c, &f, &ok)) {
		if (f.number == 1 && f.type == 2 && !read_status(f.bytes, ret))
			return false;
		if (f.number == 2 && f.type == 2)
			ret->payload = f.bytes;
	}
	return ok;
}

static size_t varint_size(uint64_t v)
{
	size_t n = 1;
	while (v >= 0x80) {
		v >>= 7;
		n++;
	}
	return n;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

static uint8_t *put_bytes(uint8_t *p, unsigned number, const void *data, size_t len)
{
	*p++ = (uint8_t)(number << 3 | 2);
	p = put_varint(p, len);
	if (len > 0)
		memcpy(p, data, len);
	return p + len;
}

static size_t bytes_size(size_t len)
{
	return 1 + varint_size(len) + len;
}

void ttrpc_response_wrap(RpcMsg *payload)
{
	size_t len = payload->len;
	if (len == 0)
		return;
	uint8_t *p = rpc_msg_prepend(payload, 1 + varint_size(len));
	*p++ = 2 << 3 | 2;
	put_varint(p, len);
}

RpcMsg *ttrpc_response_status(RpcStatusCode code, const char *text)
{
	/* A frame must hold it: nobody reads an error text of megabytes. */
	size_t n = MIN(strlen(str_or(text, "")), (size_t)1 << 20);
	size_t inner = 1 + varint_size(code) + (n > 0 ? bytes_size(n) : 0);
	RpcMsg *msg = rpc_msg_new(RPC_MSG_HEADROOM, bytes_size(inner));
	uint8_t *start = rpc_msg_content(msg), *p = start;
	*p++ = 1 << 3 | 2;
	p = put_varint(p, inner);
	*p++ = 1 << 3 | 0;
	p = put_varint(p, code);
	if (n > 0)
		p = put_bytes(p, 2, text, n);
	msg->len = (size_t)(p - start);
	return msg;
}

static size_t pair_size(const char *key, const char *value)
{
	return bytes_size(bytes_size(strlen(key)) + bytes_size(strlen(value)));
}

static uint8_t *put_pair(uint8_t *p, const char *key, const char *value)
{
	*p++ = 5 << 3 | 2;
	p = put_varint(p, bytes_size(strlen(key)) + bytes_size(strlen(value)));
	p = put_bytes(p, 1, key, strlen(key));
	return put_bytes(p, 2, value, strlen(value));
}

#define NS_KEY "containerd-namespace-ttrpc"
#define LEASE_KEY "containerd-lease"

RpcMsg *ttrpc_request_pack(const char *service, const char *method, int64_t timeout_ns, GHashTable *metadata,
                           const char *ns, const char *lease, const ProtobufCMessage *payload)
{
	GHashTableIter it;
	void *key, *value;
	size_t size = payload != NULL ? protobuf_c_message_get_packed_size(payload) : 0;
	size_t head = bytes_size(strlen(service)) + bytes_size(strlen(method)) + 1 + varint_size(size);
	if (timeout_ns > 0)
		head += 1 + varint_size((uint64_t)timeout_ns);
	if (ns != NULL)
		head += pair_size(NS_KEY, ns);
	if (lease != NULL)
		head += pair_size(LEASE_KEY, lease);
	if (metadata != NULL) {
		g_hash_table_iter_init(&it, metadata);
		while (g_hash_table_iter_next(&it, &key, &value))
			head += pair_size(key, value);
	}
	RpcMsg *msg = rpc_msg_new(RPC_MSG_HEADROOM, head + size);
	uint8_t *start = rpc_msg_content(msg), *p = start;
	p = put_bytes(p, 1, service, strlen(service));
	p = put_bytes(p, 2, method, strlen(method));
	if (timeout_ns > 0) {
		*p++ = 4 << 3 | 0;
		p = put_varint(p, (uint64_t)timeout_ns);
	}
	if (ns != NULL)
		p = put_pair(p, NS_KEY, ns);
	if (lease != NULL)
		p = put_pair(p, LEASE_KEY, lease);
	if (metadata != NULL) {
		g_hash_table_iter_init(&it, metadata);
		while (g_hash_table_iter_next(&it, &key, &value))
			p = put_pair(p, key, value);
	}
	if (size > 0) {
		*p++ = 3 << 3 | 2;
		p = put_varint(p, size);
		p += protobuf_c_message_pack(payload, p);
	}
	msg->len = (size_t)(p - start);
	return msg;
}

/* ---- reading frames ---- */

static void body_begin(TtrpcReader *r)
{
	r->h = (TtrpcHeader){.len = get_u32(r->header_bytes),
	                     .stream = get_u32(r->header_bytes + 4),
	                     .type = r->header_bytes[8],
	                     .flags = r->header_bytes[9]};
	r->oversized = r->h.len > TTRPC_MESSAGE_MAX;
	r->discard = r->oversized ? r->h.len : 0;
	/* At most 4 MiB, and pages that nobody writes cost nothing. */
	if (!r->oversized && r->h.len > 0)
		r->body = rpc_msg_new(0, r->h.len);
}

static size_t body_missing(TtrpcReader *r)
{
	if (r->oversized)
		return r->discard;
	return r->body != NULL ? r->h.len - r->body->len : 0;
}

static void body_feed(TtrpcReader *r, const uint8_t **data, size_t *len)
{
	size_t n = MIN(*len, body_missing(r));
	if (r->oversized) {
		r->discard -= n;
	} else if (n > 0) {
		uint8_t *to = rpc_msg_content(r->body) + r->body->len;
		if (to != *data) // read there directly
			memcpy(to, *data, n);
		r->body->len += n;
	}
	*data += n;
	*len -= n;
}

TtrpcReadResult ttrpc_reader_feed(TtrpcReader *r, const uint8_t **data, size_t *len)
{
	if (r->have < TTRPC_HEADER) {
		size_t n = MIN(*len, (size_t)(TTRPC_HEADER - r->have));
		memcpy(r->header_bytes + r->have, *data, n);
		r->have += (unsigned)n;
		*data += n;
		*len -= n;
		if (r->have < TTRPC_HEADER)
			return TTRPC_MORE;
		body_begin(r);
	}
	body_feed(r, data, len);
	if (body_missing(r) > 0)
		return TTRPC_MORE;
	r->have = 0;
	return r->oversized ? TTRPC_OVERSIZED : TTRPC_FRAME;
}

/* A short rest is better read together with the next frame. */
#define TTRPC_DIRECT_MIN 16384

uint8_t *ttrpc_reader_buffer(TtrpcReader *r, size_t *ret_len)
{
	if (r->body == NULL || r->h.len - r->body->len < TTRPC_DIRECT_MIN)
		return NULL;
	*ret_len = r->h.len - r->body->len;
	return rpc_msg_content(r->body) + r->body->len;
}

void ttrpc_reader_clear(TtrpcReader *r)
{
	rpc_msg_unref(r->body);
	r->body = NULL;
}
