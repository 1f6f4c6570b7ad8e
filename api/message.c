// SPDX-License-Identifier: Apache-2.0
#include "api/message.h"
#include <string.h>

/* G_DEFINE_QUARK keeps it in a variable without a lock. */
GQuark api_error_quark(void)
{
	return g_quark_from_static_string("api-error");
}

/* ---- the check before protobuf-c sees the bytes ---- */

enum {
	WIRE_VARINT = 0,
	WIRE_64BIT = 1,
	WIRE_BYTES = 2,
	WIRE_32BIT = 5,

	MAX_FIELD_NUMBER = 536870911,
	MAX_FIELDS = 256, // of one type; ours have at most some 40

	// what protobuf-c and malloc add
	COST_FIELD = 32, // ScannedMember
	COST_MALLOC = 16,
};

typedef struct {
	size_t left; // how much unpacking may still allocate
	GError **error;
} Check;

typedef struct {
	const uint8_t *at;
	const uint8_t *end;
} Reader;

typedef struct {
	uint32_t number;
	unsigned wire;
	const uint8_t *data; // WIRE_BYTES: without the length
	size_t len;
} Element;

static bool fail_wire(Check *c, const ProtobufCMessageDescriptor *type, const char *what)
{
	g_set_error(c->error, API_ERROR, API_ERROR_MALFORMED,
	            "proto: cannot parse invalid wire-format data: %s: %s", type->name, what);
	return false;
}

static bool fail_field(Check *c, const ProtobufCMessageDescriptor *type,
                       const ProtobufCFieldDescriptor *field, const char *what)
{
	g_set_error(c->error, API_ERROR, API_ERROR_MALFORMED, "%s: %s.%s", what, type->name, field->name);
	return false;
}

static bool spend(Check *c, size_t n)
{
	if (n > c->left) {
		g_set_error(c->error, API_ERROR, API_ERROR_LIMIT,
		            "message needs more than %zu bytes unpacked", API_MAX_UNPACKED);
		return false;
	}
	c->left -= n;
	return true;
}

static bool read_varint(Reader *r, uint64_t *ret)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < 10 && r->at < r->end; i++) {
		uint8_t b = *r->at++;
		if (i == 9 && b > 1)
			return false; // over 64 bits
		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (b < 0x80) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* One field with its value. */
static bool read_element(Check *c, const ProtobufCMessageDescriptor *type, Reader *r, Element *ret)
{
	uint64_t v = 0;
	if (!read_varint(r, &v))
		return fail_wire(c, type, "bad tag");
	ret->number = (uint32_t)MIN(v >> 3, UINT32_MAX);
	ret->wire = v & 7;
	if (ret->number == 0 || ret->number > MAX_FIELD_NUMBER)
		return fail_wire(c, type, "bad field number");

	ret->data = r->at;
	switch (ret->wire) {
	case WIRE_VARINT:
		if (!read_varint(r, &v))
			return fail_wire(c, type, "bad varint");
		ret->len = (size_t)(r->at - ret->data);
		return true;
	case WIRE_64BIT:
		ret->len = 8;
		break;
	case WIRE_32BIT:
		ret->len = 4;
		break;
	case WIRE_BYTES:
		if (!read_varint(r, &v))
			return fail_wire(c, type, "bad length");
		ret->data = r->at;
		ret->len = (size_t)v;
		break;
	default:
		return fail_wire(c, type, "bad wire type");
	}
	if (ret->len > (size_t)(r->end - r->at))
		return fail_wire(c, type, "length beyond the end");
	r->at += ret->len;
	return true;
}

/* The wire type of a field, and the size of its value in the struct. */
static unsigned field_wire(const ProtobufCFieldDescriptor *field, size_t *ret_size)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_BOOL:
		*ret_size = 4;
		return WIRE_VARINT;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_UINT64:
		*ret_size = 8;
		return WIRE_VARINT;
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		*ret_size = 4;
		return WIRE_32BIT;
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		*ret_size = 8;
		return WIRE_64BIT;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		*ret_size = sizeof(void *);
		return WIRE_BYTES;
	case PROTOBUF_C_TYPE_BYTES:
		*ret_size = sizeof(ProtobufCBinaryData);
		return WIRE_BYTES;
	}
	g_assert_not_reached();
}

/* A repeated number in packed form: each is well formed, and the array is paid for. */
static bool check_packed(Check *c, const ProtobufCMessageDescriptor *type, unsigned wire, size_t size,
                         const Element *e)
{
	if (wire != WIRE_VARINT) {
		if (e->len % size != 0)
			return fail_wire(c, type, "bad packed length");
		return spend(c, e->len);
	}
	Reader r = {e->data, e->data + e->len};
	while (r.at < r.end) {
		uint64_t v;
		if (!read_varint(&r, &v))
			return fail_wire(c, type, "bad varint");
		if (!spend(c, size))
			return false;
	}
	return true;
}

static bool check_message(Check *c, const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
                          unsigned depth);

static bool check_string(Check *c, const ProtobufCMessageDescriptor *type,
                         const ProtobufCFieldDescriptor *field, const Element *e)
{
	if (memchr(e->data, '\0', e->len) != NULL)
		return fail_field(c, type, field, "string field contains a NUL byte");
	if (!g_utf8_validate((const char *)e->data, (gssize)e->len, NULL))
		return fail_field(c, type, field, "string field contains invalid UTF-8");
	return spend(c, e->len + 1 + COST_MALLOC);
}

static bool check_field(Check *c, const ProtobufCMessageDescriptor *type,
                        const ProtobufCFieldDescriptor *field, const Element *e, unsigned depth)
{
	size_t size;
	unsigned wire = field_wire(field, &size);
	bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;

	if (repeated && e->wire == WIRE_BYTES && wire != WIRE_BYTES)
		return check_packed(c, type, wire, size, e);
	if (e->wire != wire)
		return fail_field(c, type, field, "wrong wire type");
	if (repeated && !spend(c, size))
		return false;
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return check_string(c, type, field, e);
	case PROTOBUF_C_TYPE_BYTES:
		return spend(c, e->len + COST_MALLOC);
	case PROTOBUF_C_TYPE_MESSAGE:
		return check_message(c, field->descriptor, e->data, e->len, depth + 1);
	default:
		return true;
	}
}

static bool check_message(Check *c, const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
                          unsigned depth)
{
	uint64_t seen[MAX_FIELDS / 64] = {0}; // singular messages, by index
	g_assert(type->n_fields <= MAX_FIELDS);

	if (depth > API_MAX_DEPTH) {
		g_set_error(c->error, API_ERROR, API_ERROR_LIMIT,
		            "message is nested more than %d levels deep", API_MAX_DEPTH);
		return false;
	}
	if (!spend(c, type->sizeof_message + COST_MALLOC))
		return false;

	Reader r = {data, data + len};
	while (r.at < r.end) {
		Element e;
		if (!read_element(c, type, &r, &e) || !spend(c, COST_FIELD))
			return false;
		const ProtobufCFieldDescriptor *field =
		        protobuf_c_message_descriptor_get_field(type, e.number);
		if (field == NULL) {
			if (!spend(c, sizeof(ProtobufCMessageUnknownField) + e.len + COST_MALLOC))
				return false;
			continue;
		}
		if (field->type == PROTOBUF_C_TYPE_MESSAGE && field->label != PROTOBUF_C_LABEL_REPEATED) {
			size_t i = (size_t)(field - type->fields);
			uint64_t bit = UINT64_C(1) << (i % 64);
			if ((seen[i / 64] & bit) != 0)
				return fail_field(c, type, field, "singular message field comes twice");
			seen[i / 64] |= bit;
		}
		if (!check_field(c, type, field, &e, depth))
			return false;
	}
	return true;
}

void *api_unpack(const ProtobufCMessageDescriptor *type, ProtobufCAllocator *allocator, const void *data,
                 size_t len, GError **error)
{
	static const uint8_t nothing[1];
	if (len == 0)
		data = nothing; // of an empty field data may be NULL

	Check c = {.left = API_MAX_UNPACKED, .error = error};
	if (!check_message(&c, type, data, len, 0))
		return NULL;

	ProtobufCMessage *m = protobuf_c_message_unpack(type, allocator, len, data);
	if (m == NULL)
		fail_wire(&c, type, "tag or length of more than 5 bytes");
	return m;
}

GBytes *api_pack(const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *data = g_malloc(MAX(len, 1));
	protobuf_c_message_pack(message, data);
	return g_bytes_new_take(data, len);
}

/* ---- Any ---- */

const char *api_type_name(const char *url)
{
	if (url == NULL)
		return "";
	const char *slash = strrchr(url, '/');
	return slash != NULL ? slash + 1 : url;
}

bool api_any_is(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type)
{
	return any != NULL && strcmp(api_type_name(any->type_url), type->name) == 0;
}

void *api_any_unpack(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type,
                     ProtobufCAllocator *allocator, GError **error)
{
	if (!api_any_is(any, type)) {
		g_autofree char *url =
		        g_strescape(any != NULL && any->type_url != NULL ? any->type_url : "", NULL);
		g_set_error(error, API_ERROR, API_ERROR_TYPE, "can't unmarshal type \"%s\" to output \"%s\"",
		            url, type->name);
		return NULL;
	}
	return api_unpack(type, allocator, any->value.data, any->value.len, error);
}

static void *allocate(ProtobufCAllocator *allocator, size_t size)
{
	return allocator != NULL ? allocator->alloc(allocator->allocator_data, size) : g_malloc(size);
}

Google__Protobuf__Any *api_any_pack(const void *message, ProtobufCAllocator *allocator)
{
	const ProtobufCMessage *m = message;
	const char *name = m->descriptor->name;

	Google__Protobuf__Any *any = allocate(allocator, sizeof(*any));
	*any = (Google__Protobuf__Any)GOOGLE__PROTOBUF__ANY__INIT;
	any->type_url = memcpy(allocate(allocator, strlen(name) + 1), name, strlen(name) + 1);
	any->value.len = protobuf_c_message_get_packed_size(m);
	if (any->value.len > 0) {
		any->value.data = allocate(allocator, any->value.len);
		protobuf_c_message_pack(m, any->value.data);
	}
	return any;
}

/* ---- making ---- */

static void init_field(const ProtobufCFieldDescriptor *field, void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		memcpy(at, &field->default_value, sizeof(void *));
		break;
	case PROTOBUF_C_TYPE_BYTES:
		memcpy(at, field->default_value, sizeof(ProtobufCBinaryData));
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		memcpy(at, field->default_value, 8);
		break;
	default:
		memcpy(at, field->default_value, 4);
		break;
	}
}

void api_init(const ProtobufCMessageDescriptor *type, void *message)
{
	if (type->message_init != NULL) {
		type->message_init(message);
		return;
	}
	memset(message, 0, type->sizeof_message);
	((ProtobufCMessage *)message)->descriptor = type;
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		if (field->default_value != NULL && field->label != PROTOBUF_C_LABEL_REPEATED &&
		    (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
			init_field(field, (char *)message + field->offset);
	}
}
