// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Stream processors: programs that turn a blob of one media type into one of another, such as the decoders of
 * encrypted layers (upstream core/diff/stream.go and stream_unix.go, [stream_processors] of the
 * configuration). The program gets the blob on its standard input, its media type in
 * STREAM_PROCESSOR_MEDIATYPE, and writes the result to its standard output; one that exits with an error says
 * why on its standard error. Payloads of a request (fd 3 in upstream) are not passed on.
 */

#include "diff/compression.h"
#include "loop/cancel.h"

typedef struct {
	char *id;
	char **accepts; // media types
	char *returns;
	char *path; // searched in PATH where it has no slash
	char **args, **env;
} StreamProcessor;
void stream_processor_free(StreamProcessor *p);

/* What must run for a blob of this type, one after the other; *ret_type is what comes out. The last
 * configured one that accepts a type is taken. None: empty. More than 16 are an error: they would not end.
 * Borrowed elements; processors may be NULL. */
GPtrArray *stream_processor_chain(const GPtrArray *processors, const char *media_type, const char **ret_type,
                                  GError **error);

typedef struct StreamPipe StreamPipe;
/* Starts the chain (not empty); source is read on a thread until finish or free. Triggering cancel ends the
 * programs.
 */
StreamPipe *stream_pipe_new(const GPtrArray *chain, const char *media_type, ByteSource source, void *data,
                            Cancel *cancel, GError **error);
/* A ByteSource: what comes out of the last one. */
ssize_t stream_pipe_read(void *pipe, void *buf, size_t len, GError **error);
/* Reads what nobody did, waits for all programs; false with the first one's complaint: `stream processor "x":
 * text`. */
bool stream_pipe_finish(StreamPipe *pipe, GError **error);
/* Kills what still runs. */
void stream_pipe_free(StreamPipe *pipe);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StreamPipe, stream_pipe_free)
