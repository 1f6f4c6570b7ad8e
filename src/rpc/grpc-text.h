// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The texts in gRPC's headers. Source: grpc-go, internal/transport/http_util.go. Pure functions. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "100m" and the like. Text of errors as grpc-go's: `transport: timeout unit is not recognized: "1x"`. A
 * timeout beyond int64 nanoseconds is cut to the largest. */
bool grpc_timeout_parse(const char *s, size_t len, int64_t *ret_ns, char **ret_why);
/* At most 8 digits and a unit, rounded up. */
void grpc_timeout_format(int64_t ns, char out[16]);

/* grpc-message: printable ASCII but '%' stays, everything else is percent-encoded; what is not UTF-8 becomes
 * U+FFFD. At most max bytes of the text are used. Owned by the caller. */
char *grpc_message_encode(const char *text, size_t max);
char *grpc_message_decode(const char *s, size_t len);

/* Values of -bin headers: base64 with or without padding. On failure *ret_at is the offending byte. */
bool grpc_bin_decode(const char *s, size_t len, uint8_t **ret, size_t *ret_len, size_t *ret_at);
char *grpc_bin_encode(const void *data, size_t len);

/* application/grpc, optionally with a subtype after '+' or ';'. */
bool grpc_content_type_ok(const char *s, size_t len);
/* Headers that are not metadata. */
bool grpc_header_reserved(const char *name, size_t len);
/* "Not Found"; "" where unknown. */
const char *grpc_http_status_text(int status);
