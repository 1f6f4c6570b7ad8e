// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Bytes into a connection that has no socket, for the fuzzers. The first byte of the input says in what
 * pieces the rest comes: 0 is all at once, n is n bytes each.
 */

#include "rpc/server.h"
#include <stddef.h>
#include <stdint.h>

/* prefix is fed before the input. */
void fuzz_server(RpcProto proto, const void *prefix, size_t prefix_len, const uint8_t *data, size_t len);
/* A unary call and a stream of each kind wait for answers. */
void fuzz_client(RpcProto proto, const void *prefix, size_t prefix_len, const uint8_t *data, size_t len);
