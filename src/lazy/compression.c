// SPDX-License-Identifier: Apache-2.0
/* zstd, ISA-L and zlib, as diff/compression.c calls them: also the half that ctr never calls, lest the linker
 * take a library after all. */
#include "lazy/bind.h"
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>
#if __has_include(<isa-l/igzip_lib.h>)
#include <isa-l/igzip_lib.h>
#endif

#define LIBRARY "libzstd.so.1"
FORWARD(size_t, ZSTD_DCtx_setParameter, (ZSTD_DCtx * d, ZSTD_dParameter p, int value), (d, p, value))
FORWARD(ZSTD_DStream *, ZSTD_createDStream, (void), ())
FORWARD(size_t, ZSTD_decompressStream, (ZSTD_DStream * d, ZSTD_outBuffer *out, ZSTD_inBuffer *in),
        (d, out, in))
FORWARD(size_t, ZSTD_freeDStream, (ZSTD_DStream * d), (d))
FORWARD(ZSTD_CStream *, ZSTD_createCStream, (void), ())
FORWARD(size_t, ZSTD_CCtx_setParameter, (ZSTD_CCtx * c, ZSTD_cParameter p, int value), (c, p, value))
FORWARD(size_t, ZSTD_compressStream2,
        (ZSTD_CCtx * c, ZSTD_outBuffer *out, ZSTD_inBuffer *in, ZSTD_EndDirective end), (c, out, in, end))
FORWARD(size_t, ZSTD_freeCStream, (ZSTD_CStream * c), (c))
FORWARD(ZSTD_ErrorCode, ZSTD_getErrorCode, (size_t result), (result))
FORWARD(const char *, ZSTD_getErrorName, (size_t result), (result))
FORWARD(unsigned, ZSTD_isError, (size_t result), (result))
#if __has_include(<isa-l/igzip_lib.h>)
#undef LIBRARY
#define LIBRARY "libisal.so.2"
FORWARD(void, isal_deflate_init, (struct isal_zstream * stream), (stream))
FORWARD(int, isal_deflate, (struct isal_zstream * stream), (stream))
FORWARD(int, isal_inflate, (struct inflate_state * state), (state))
FORWARD(void, isal_inflate_init, (struct inflate_state * state), (state))
FORWARD(void, isal_inflate_reset, (struct inflate_state * state), (state))
#endif
#undef LIBRARY
#define LIBRARY "libz.so.1"
FORWARD(uLong, crc32, (uLong crc, const Bytef *data, uInt len), (crc, data, len))
