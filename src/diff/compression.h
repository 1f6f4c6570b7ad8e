// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Layer compression: none, gzip, zstd. Upstream: pkg/archive/compression.
 *
 * The decompressor is a state machine without I/O: bytes in, bytes out, so that the pull pipeline can push
 * into it and a reader can pull from it. It takes gzip with several members, zstd with several frames and
 * skippable frames, and plain bytes. Memory is bounded: 160 KiB for gzip, the window for zstd
 * (at most 1 << COMPRESSION_ZSTD_WINDOW_LOG_MAX). How much may come out is the caller's to bound: it gets the
 * output in pieces and can stop.
 *
 * Error texts, class UNKNOWN as upstream's: `gzip: invalid header` (also for what follows the last member),
 * `gzip: invalid checksum`, `flate: corrupt input before offset N`, `unexpected EOF`,
 * `zstd: <cause>`, `window size exceeded`. An object belongs to one thread at a time.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where produced bytes go; false with error set stops the producer. */
typedef bool (*ByteSink)(void *data, const void *buf, size_t len, GError **error);
/* Where bytes come from: at most len into buf; 0 at the end, -1 with error set. */
typedef ssize_t (*ByteSource)(void *data, void *buf, size_t len, GError **error);
/* A source that reads an fd; data is GINT_TO_POINTER(fd). */
ssize_t byte_source_fd(void *data, void *buf, size_t len, GError **error);
/* A sink that writes to an fd; data is GINT_TO_POINTER(fd). */
bool byte_sink_fd(void *data, const void *buf, size_t len, GError **error);

typedef enum {
	COMPRESSION_NONE,
	COMPRESSION_GZIP,
	COMPRESSION_ZSTD,
	COMPRESSION_UNKNOWN, // not decided yet
} Compression;

#define COMPRESSION_DETECT_LEN 10 // this many bytes decide
#define COMPRESSION_ZSTD_WINDOW_LOG_MAX 27

/* By magic: 1f 8b 08; zstd frame or (8 bytes and more) skippable frame; else NONE. */
Compression compression_detect(const void *data, size_t len);
const char *compression_extension(Compression c); // "gz", "zst", "unknown", ""

typedef struct Decompressor Decompressor;

/* UNKNOWN: detect. A stream that is empty or shorter than any magic is NONE. */
Decompressor *decompressor_new(Compression compression);
void decompressor_free(Decompressor *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Decompressor, decompressor_free)

/* Takes input from *data (both are advanced) and writes at most cap (> 0) bytes to out. On return either
 * *ret_out == cap (call again, also when the input is used up), or all input was taken and more is wanted.
 * eof: there is no input after this; then *ret_out < cap means the end, and a truncated stream is an error.
 * An error is final. */
bool decompressor_step(Decompressor *d, const uint8_t **data, size_t *len, bool eof, void *out, size_t cap,
                       size_t *ret_out, GError **error);
Compression decompressor_kind(Decompressor *d);

/* The same, pulling: what a reader of an archive that may be compressed uses. Memory: 128 KiB more. */
typedef struct DecompressReader DecompressReader;
DecompressReader *decompress_reader_new(Compression compression, ByteSource source, void *data);
void decompress_reader_free(DecompressReader *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DecompressReader, decompress_reader_free)
/* A ByteSource: data is the DecompressReader. */
ssize_t decompress_reader_read(void *reader, void *buf, size_t len, GError **error);
/* Reads as much as needed to know. */
bool decompress_reader_kind(DecompressReader *r, Compression *ret, GError **error);

/* Compression into a sink. NONE passes through. The output depends on the input alone (no time stamps). */
typedef struct Compressor Compressor;
Compressor *compressor_new(Compression compression, ByteSink sink, void *data);
void compressor_free(Compressor *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Compressor, compressor_free)
bool compressor_write(Compressor *c, const void *buf, size_t len, GError **error);
bool compressor_finish(Compressor *c, GError **error);
