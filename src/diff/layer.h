// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One layer, streaming: compressed bytes in, a filled directory and the diff id out. Upstream:
 * fsApplier.Apply of core/diff/apply.
 *
 *   caller --bytes--> [ring] --inflate thread--> [chunks] --+--> sha256 thread
 *                                                           +--> apply thread
 *
 * The threads share two cores well: each stage waits on a bounded queue (LAYER_STREAM_MEMORY bytes at most
 * for a stream), so a slow disk slows the producer and nothing piles up. The caller only copies. Layers under
 * LAYER_STREAM_INLINE compressed bytes run on the caller's thread at the end and cost no thread.
 *
 * One producer thread at a time; layer_stream_abort from any thread.
 */

#include "diff/apply.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define LAYER_STREAM_INLINE (64 * 1024)
#define LAYER_STREAM_MEMORY (5 * 1024 * 1024)

typedef struct {
	const char *root; // NULL: nothing is extracted, only the diff id is computed
	LayerApplyOptions apply;
	Compression compression; // UNKNOWN: detect; NONE for media types that are not compressed
	_Atomic int64_t
	        *applied; // what was extracted of the uncompressed stream is added to it; NULL: nobody asks
	int64_t max_size; // bytes that may come out of the decompressor, 0: no limit: RESOURCE_EXHAUSTED
} LayerStreamOptions;

typedef struct {
	char *diff_id;           // "sha256:..." of the uncompressed stream, all of it
	int64_t size;            // its length
	Compression compression; // what it was
	LayerApplyResult apply;
} LayerStreamResult;
void layer_stream_result_clear(LayerStreamResult *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LayerStreamResult, layer_stream_result_clear)

typedef struct LayerStream LayerStream;
/* options are copied (strings too). */
LayerStream *layer_stream_new(const LayerStreamOptions *options, GError **error);
/* Ends the threads, at once. What is in the root stays. */
void layer_stream_free(LayerStream *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LayerStream, layer_stream_free)

/* Blocks while the queues are full. false: some stage failed; the error is the first one. A ByteSink. */
bool layer_stream_write(void *stream, const void *data, size_t len, GError **error);
/* A piece of the queue to read into, to save the copy: at most *ret_len bytes, then layer_stream_commit. */
void *layer_stream_buffer(LayerStream *s, size_t *ret_len, GError **error);
bool layer_stream_commit(LayerStream *s, size_t len, GError **error);
/* The end of the input; waits for all stages. */
bool layer_stream_finish(LayerStream *s, LayerStreamResult *ret, GError **error);
/* Any thread: write and finish fail from now on with `context canceled` (CANCELED). */
void layer_stream_abort(LayerStream *s);

/* All of it for a source: unpacking from the content store. progress (may be NULL) gets the compressed bytes
 * taken so far. */
bool layer_stream_run(const LayerStreamOptions *options, ByteSource source, void *data,
                      void (*progress)(void *data, int64_t taken), void *progress_data,
                      LayerStreamResult *ret, GError **error);
