// SPDX-License-Identifier: Apache-2.0
/*
 * The full name of a message, a NUL byte, and its wire form. What api_unpack accepts must pack, and what it
 * packed to must unpack to the same bytes again.
 */
#include "api/message.h"
#include "api/registry.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = memchr(data, '\0', MIN(size, 128));
	const ProtobufCMessageDescriptor *type = nul != NULL ? api_message_find((const char *)data) : NULL;
	if (type == NULL)
		return 0;
	const uint8_t *wire = nul + 1;
	size_t wire_len = size - (size_t)(wire - data);

	g_autoptr(GError) error = NULL;
	ProtobufCMessage *m = api_unpack(type, NULL, wire, wire_len, &error);
	g_assert_true((m == NULL) == (error != NULL));
	if (m == NULL)
		return 0;

	size_t len = protobuf_c_message_get_packed_size(m);
	g_autofree uint8_t *packed = g_malloc(len + 1);
	g_assert_cmpuint(protobuf_c_message_pack(m, packed), ==, len);
	protobuf_c_message_free_unpacked(m, NULL);

	m = api_unpack(type, NULL, packed, len, &error);
	g_assert_no_error(error);
	g_autofree uint8_t *again = g_malloc(len + 1);
	g_assert_cmpuint(protobuf_c_message_pack(m, again), ==, len);
	g_assert_cmpmem(again, (int)len, packed, (int)len);
	protobuf_c_message_free_unpacked(m, NULL);
	return 0;
}
