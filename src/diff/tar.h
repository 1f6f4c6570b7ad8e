// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tar: a parser without I/O, a reader that pulls, and a writer. The rules are those of Go's archive/tar,
 * which upstream reads and writes layers with: V7, ustar, STAR, pax, GNU long names, GNU sparse (old, 0.0,
 * 0.1, 1.0), base-256 numbers; global pax headers come out as entries of type 'g'.
 *
 * Why not libarchive: it can only be pulled; it goes on where Go refuses (a malformed pax record is ignored,
 * a uid that is no number is 0, one block of zeros is the end), so a hostile archive would mean one thing to
 * us and another to upstream; names of pax records go through the locale's character set; and it takes 1.5
 * times the CPU for headers alone (docs/layers.md).
 *
 * Errors have Go's texts, class UNKNOWN: `archive/tar: invalid tar header`, `unexpected EOF`,
 * `archive/tar: header field too long` (extended header over TAR_SPECIAL_MAX), `archive/tar: sparse map too
 * long`, `archive/tar: sparse file references non-existent data`, `archive/tar: sparse file contains
 * unreferenced data`. An object belongs to one thread at a time.
 */

#include "diff/compression.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAR_BLOCK 512
#define TAR_SPECIAL_MAX (1 << 20) // pax header, long name, sparse map: as Go's and libarchive's limit

enum {
	TAR_TYPE_REG = '0',
	TAR_TYPE_LINK = '1',
	TAR_TYPE_SYMLINK = '2',
	TAR_TYPE_CHAR = '3',
	TAR_TYPE_BLOCK = '4',
	TAR_TYPE_DIR = '5',
	TAR_TYPE_FIFO = '6',
	TAR_TYPE_GLOBAL = 'g',
	TAR_TYPE_GNU_SPARSE = 'S',
};

typedef struct {
	int64_t sec;
	uint32_t nsec;
	bool set; // false: Go's zero time (the archive does not say)
} TarTime;

/* A pax record. The value may hold NULs (xattrs do); it is NUL-terminated past len. */
typedef struct {
	const char *key;
	const char *value;
	size_t len;
} TarRecord;

/* One entry. The type of an old-style entry ('\0') is REG, or DIR where the name ends in a slash. Strings are
 * raw bytes and belong to the parser until its next event. */
typedef struct {
	char type;
	const char *name, *linkname;
	const char *uname, *gname; // not filled by the parser: nobody looks at them
	int64_t size;              // logical: a sparse file's full size
	int64_t mode, uid, gid, devmajor, devminor;
	TarTime mtime, atime, ctime;
	const TarRecord *records; // all pax records, in order; a later one of a key wins
	size_t n_records;
	bool sparse;
} TarHeader;

/* The last record with this key, or NULL. */
const TarRecord *tar_header_record(const TarHeader *h, const char *key);

/* ---- The parser ---- */

typedef enum {
	TAR_MORE,  // all input is used up: give more (or say eof)
	TAR_ENTRY, // a header: *header is filled
	TAR_DATA,  // content of the entry: data, len, at offset; offsets never go back, gaps are zeros
	TAR_END,   // the end of the archive. What follows in the stream is not looked at
	TAR_ERROR, // final
} TarEvent;

typedef struct {
	const TarHeader *header; // ENTRY: valid until the next ENTRY event is asked for
	const uint8_t *data;     // DATA: points into the input
	size_t len;
	int64_t offset;
	bool last; // ENTRY, DATA: no content (more) follows
} TarEventData;

typedef struct TarParser TarParser;
TarParser *tar_parser_new(void);
void tar_parser_free(TarParser *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TarParser, tar_parser_free)
/* The next event from *data, *len (both are advanced). eof: there is no input after this. */
TarEvent tar_parser_next(TarParser *p, const uint8_t **data, size_t *len, bool eof, TarEventData *ret,
                         GError **error);

/* ---- The reader: for archives that are read as a whole (image import) ---- */

typedef struct TarReader TarReader;
TarReader *tar_reader_new(ByteSource source, void *data);
void tar_reader_free(TarReader *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TarReader, tar_reader_free)
/* 1: *ret_header is the next entry; 0: the end; -1: error. Content that was not read is skipped. */
int tar_reader_next(TarReader *r, const TarHeader **ret_header, GError **error);
/* Content of the present entry, holes as zeros. A ByteSource: data is the TarReader. */
ssize_t tar_reader_read(void *reader, void *buf, size_t len, GError **error);
/* The whole content of the present entry; over max bytes is RESOURCE_EXHAUSTED with the limit in the text. */
bool tar_reader_read_all(TarReader *r, size_t max, char **ret_data, size_t *ret_len, GError **error);

/* ---- The writer ---- */

/* Byte for byte what Go's archive/tar.Writer with FormatPAX writes: ustar where the header fits, else a pax
 * header with the records that do not. */
typedef struct TarWriter TarWriter;
TarWriter *tar_writer_new(ByteSink sink, void *data);
void tar_writer_free(TarWriter *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TarWriter, tar_writer_free)
/* Times are cut to seconds unless nanoseconds are set in them. Only REG has content: size bytes must follow.
 * records are written beside those that the header itself needs. */
bool tar_writer_header(TarWriter *w, const TarHeader *h, GError **error);
/* Texts: `archive/tar: write too long`; too little is found by the next call:
 * `archive/tar: missed writing N bytes`. */
bool tar_writer_data(TarWriter *w, const void *buf, size_t len, GError **error);
/* header + data in one: a regular file, owner 0:0 */
bool tar_writer_file(TarWriter *w, const char *name, int64_t mode, TarTime mtime, const void *buf, size_t len,
                     GError **error);
/* Two zero blocks. */
bool tar_writer_finish(TarWriter *w, GError **error);
