// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Deflate of one gzip member: the compressed data and the 8-byte trailer behind it, which is checked. Two
 * implementations, one of them is linked: ISA-L (inflate-isal.c) and zlib (inflate-zlib.c). Also the gzip
 * compressor, which has the same choice.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
	INFLATE_OK,       // wants more input, or more room
	INFLATE_END,      // the member is complete
	INFLATE_CORRUPT,  // not deflate
	INFLATE_CHECKSUM, // CRC or size do not match
} InflateStatus;

typedef struct Inflate Inflate;
Inflate *inflate_new(void);
void inflate_free(Inflate *z);
void inflate_restart(Inflate *z); // for the next member
/* Until the input is used up and nothing is held back, or out is full, or the member ends. */
InflateStatus inflate_run(Inflate *z, const uint8_t **data, size_t *len, uint8_t *out, size_t cap,
                          size_t *ret_out);

typedef struct Deflate Deflate;
Deflate *deflate_new(void);
void deflate_free(Deflate *z);
/* A complete gzip stream, with header and trailer. finish: no more input follows. Returns false where out was
 * filled (call again), true where all input was taken (and, with finish, everything came out). */
bool deflate_run(Deflate *z, const uint8_t **data, size_t *len, bool finish, uint8_t *out, size_t cap,
                 size_t *ret_out);
