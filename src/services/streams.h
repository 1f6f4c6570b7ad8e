// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Named streams between a client and the daemon (upstream plugins/streaming, core/transfer/streaming): the
 * Streaming service makes them, other calls find them by namespace and name. A stream lives until one side
 * closes it or the client goes away; nobody who waits on it outlives that. Thread-safe; no call and no thread
 * is held while a stream is idle.
 */

#include "base/util.h"
#include "diff/compression.h"
#include "loop/cancel.h"
#include "rpc/call.h"

typedef struct Streams Streams;
/* loop: of the server that serves the streams. */
Streams *streams_new(Loop *loop);
void streams_free(Streams *s); // after the server has stopped

typedef struct Stream Stream;
/* NOT_FOUND `not found`, as upstream. The caller's reference. */
Stream *streams_get(Streams *s, const char *ns, const char *name, GError **error);
Stream *stream_ref(Stream *s);
void stream_unref(Stream *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Stream, stream_unref)

/* A message, wrapped into an Any. Blocks while the client does not read, until it goes away. */
bool stream_send(Stream *s, const void *message, GError **error);
/* Never blocks: a message for which there is no room is lost. */
void stream_offer(Stream *s, const void *message);
/* The next message; ret without type_url: the client has closed its side, or is gone. */
bool stream_recv(Stream *s, Cancel *cancel, Any *ret, GError **error);
/* The client sees the end, the name is free again. Further sends fail. May be called twice. */
void stream_close(Stream *s);

/* Bytes over a stream, in Data messages under windows. A reader gives windows and is a ByteSource, a writer
 * waits for them and is a ByteSink. Both belong to one thread; the stream is referenced and, by free, closed.
 */
typedef struct StreamReader StreamReader;
StreamReader *stream_reader_new(Stream *s, Cancel *cancel);
ssize_t stream_reader_read(void *reader, void *buf, size_t len, GError **error);
void stream_reader_free(StreamReader *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StreamReader, stream_reader_free)
typedef struct StreamWriter StreamWriter;
StreamWriter *stream_writer_new(Stream *s, Cancel *cancel);
bool stream_writer_write(void *writer, const void *buf, size_t len, GError **error);
void stream_writer_free(StreamWriter *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StreamWriter, stream_writer_free)
