// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One large blob over several connections: what one connection cannot bring for want of a larger window, or
 * because the registry's storage gives each only so much.
 *
 * It begins as any fetch, with one request, whose bytes go to the sink as they come. When it turns out that
 * the network is what is waited for, and not the sink, helpers fetch the chunks ahead with Range requests,
 * into memory; the first request is ended where their chunks begin, and they are handed to the sink in order.
 * A registry that does not answer a range with 206, or a helper that fails in any way, ends that: the rest
 * comes with one request again, with all the retries of resolver_fetch.
 */

#include "remote/resolver.h"
#include <stdatomic.h>

#define RANGES_CHUNK (4 * 1024 * 1024)
#define RANGES_CHUNK_MIN (1024 * 1024) // above what one callback of a request brings
#define RANGES_CHUNK_MAX (16 * 1024 * 1024)
#define RANGES_CHUNKS 6  // in memory at once, of all fetches with these options together
#define RANGES_HELPERS 3 // connections of one fetch

/* Shared by all fetches whose memory counts together. */
typedef struct {
	size_t chunk;           // bytes of one request
	atomic_int free_chunks; // that may be in memory
	bool always;            // for tests: helpers from the first byte on
} Ranges;
/* chunk: 0 for the usual; upstream's concurrent_layer_fetch_buffer, within our bounds. */
void ranges_init(Ranges *ranges, size_t chunk);

/* resolver_fetch with helpers. The sink is called on this thread only. */
bool resolver_fetch_ranges(Resolver *r, Ranges *ranges, Cancel *cancel, const Descriptor *desc,
                           int64_t offset, ByteSink sink, void *data, GError **error);
