// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Messages from outside, and google.protobuf.Any.
 *
 * Bytes from outside are unpacked here and not with protobuf_c_message_unpack(), which has these limits
 * (1.4.1): strings are neither checked for UTF-8 nor for NUL bytes (a name ends early, without a word),
 * memory and depth have no bound, and a singular message that comes twice loses what only the first has, in
 * quadratic time. Here all of that is an error. What other encoders really send is accepted as Go does; the
 * exceptions are in api/README.md.
 *
 * Messages are freed with protobuf_c_message_free_unpacked(m, allocator). An allocator of NULL means malloc;
 * with an arena's, nothing needs to be freed. Thread-safe: no state.
 */

#include "google/protobuf/any.pb-c.h"
#include <glib.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

/* Upstream has no class for any of these: they are UNKNOWN where a service returns them as they are. The
 * server turns a request that cannot be unpacked into INTERNAL (MALFORMED) or RESOURCE_EXHAUSTED (LIMIT). */
#define API_ERROR api_error_quark()
GQuark api_error_quark(void);

typedef enum {
	API_ERROR_MALFORMED, // `proto: cannot parse invalid wire-format data: ...`, `string field contains
	                     // ...`
	API_ERROR_LIMIT,     // more than API_MAX_UNPACKED bytes or API_MAX_DEPTH levels
	API_ERROR_TYPE,      // an Any of another type, or of none we know
} ApiErrorCode;

#define API_MAX_UNPACKED ((size_t)256 << 20) // what unpacking one message may allocate, by a careful estimate
#define API_MAX_DEPTH 100                    // messages inside messages

/* The message, or NULL. Unset strings are "", unset messages NULL, also as value of a map entry (where Go has
 * an empty one). Of map entries with the same key all are there; the last one counts. */
void *api_unpack(const ProtobufCMessageDescriptor *type, ProtobufCAllocator *allocator, const void *data,
                 size_t len, GError **error);

/* The bytes of a message. Owned by the caller. */
GBytes *api_pack(const ProtobufCMessage *message);

/* Initialises a message of a type known at run time only. protobuf_c_message_init() of 1.4.1 calls a helper
 * that our types do not have (gen_init_helpers: false) and crashes. */
void api_init(const ProtobufCMessageDescriptor *type, void *message);

/* The full name in a type URL: what follows the last slash. Upstream (typeurl) sends the bare name; others
 * put "type.googleapis.com/" before it. Points into url; "" for NULL. */
const char *api_type_name(const char *url);

/* Whether the Any holds a message of this type. False for NULL. */
bool api_any_is(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type);

/* The message in an Any, or NULL. Text of another type, as upstream's: `can't unmarshal type "X" to output
 * "Y"`. Some Anys hold JSON (an OCI spec): take their value as it is. */
void *api_any_unpack(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type,
                     ProtobufCAllocator *allocator, GError **error);

/* An Any that holds the message. */
Google__Protobuf__Any *api_any_pack(const void *message, ProtobufCAllocator *allocator);
