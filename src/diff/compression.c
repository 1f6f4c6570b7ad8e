// SPDX-License-Identifier: Apache-2.0

#include "diff/compression.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "diff/inflate-private.h"

#include <string.h>
#include <zlib.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#define READ_SIZE (128 * 1024)
#define WRITE_SIZE (128 * 1024)

#define ZSTD_SKIPPABLE_MASK 0xfffffff0u

ssize_t byte_source_fd(void *data, void *buf, size_t len, GError **error)
{
	ssize_t n = RETRY_EINTR(read(GPOINTER_TO_INT(data), buf, len));
	if (n < 0)
		error_set_errno(error, errno, "read");
	return n;
}

bool byte_sink_fd(void *data, const void *buf, size_t len, GError **error)
{
	return fd_write_all(GPOINTER_TO_INT(data), buf, len, error);
}

static uint32_t little32(const uint8_t *b)
{
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

Compression compression_detect(const void *data, size_t len)
{
	const uint8_t *b = data;
	if (len >= 3 && b[0] == 0x1f && b[1] == 0x8b && b[2] == 0x08)
		return COMPRESSION_GZIP;
	if (len >= 4 && little32(b) == ZSTD_MAGICNUMBER)
		return COMPRESSION_ZSTD;
	if (len >= 8 && (little32(b) & ZSTD_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START)
		return COMPRESSION_ZSTD;
	return COMPRESSION_NONE;
}

const char *compression_extension(Compression c)
{
	switch (c) {
	case COMPRESSION_GZIP:
		return "gz";
	case COMPRESSION_ZSTD:
		return "zst";
	case COMPRESSION_UNKNOWN:
		return "unknown";
	case COMPRESSION_NONE:
		break;
	}
	return "";
}

/* ---- Decompression ---- */

/* Parts of a gzip header, in their order. */
typedef enum {
	GZIP_FIXED, // the first ten bytes
	GZIP_EXTRA_LEN,
	GZIP_EXTRA,
	GZIP_NAME,
	GZIP_COMMENT,
	GZIP_HCRC,
	GZIP_BODY,
} GzipPart;

enum { GZIP_FLAG_HCRC = 2, GZIP_FLAG_EXTRA = 4, GZIP_FLAG_NAME = 8, GZIP_FLAG_COMMENT = 16 };
#define GZIP_STRING_MAX 512 // of name and comment with their NUL: Go's limit

struct Decompressor {
	Compression kind;
	bool failed;
	uint8_t head[COMPRESSION_DETECT_LEN]; // what came before it was enough to decide
	size_t head_len, head_at;

	Inflate *inflate;
	GzipPart part;
	uint8_t field[10];
	size_t have; // bytes of the present part
	unsigned flags, extra_left;
	uint32_t header_crc;
	int64_t body; // compressed bytes of this member

	ZSTD_DStream *zstd;
	bool zstd_open;    // inside a frame
	bool zstd_pending; // more may come out without input
};

Decompressor *decompressor_new(Compression compression)
{
	Decompressor *d = g_new0(Decompressor, 1);
	d->kind = compression;
	return d;
}

void decompressor_free(Decompressor *d)
{
	if (d == NULL)
		return;
	inflate_free(d->inflate);
	ZSTD_freeDStream(d->zstd);
	g_free(d);
}

Compression decompressor_kind(Decompressor *d)
{
	return d->kind;
}

static bool unexpected_eof(GError **error)
{
	return error_set(error, CTRD_ERR_UNKNOWN, "unexpected EOF");
}

static bool bad_gzip(GError **error)
{
	return error_set(error, CTRD_ERR_UNKNOWN, "gzip: invalid header");
}

/* The part that follows, by the flags. */
static void gzip_next_part(Decompressor *d, GzipPart after)
{
	d->have = 0;
	d->part = GZIP_BODY;
	if (after < GZIP_EXTRA_LEN && (d->flags & GZIP_FLAG_EXTRA) != 0)
		d->part = GZIP_EXTRA_LEN;
	else if (after < GZIP_NAME && (d->flags & GZIP_FLAG_NAME) != 0)
		d->part = GZIP_NAME;
	else if (after < GZIP_COMMENT && (d->flags & GZIP_FLAG_COMMENT) != 0)
		d->part = GZIP_COMMENT;
	else if (after < GZIP_HCRC && (d->flags & GZIP_FLAG_HCRC) != 0)
		d->part = GZIP_HCRC;
	if (d->part != GZIP_BODY)
		return;
	d->body = 0;
	if (d->inflate == NULL)
		d->inflate = inflate_new();
	else
		inflate_restart(d->inflate);
}

/* One byte of a header. Headers are short and rare: no need to be quick here. */
static bool gzip_header_byte(Decompressor *d, uint8_t c, GError **error)
{
	if (d->part != GZIP_HCRC)
		d->header_crc =
		        (uint32_t)crc32(d->part == GZIP_FIXED && d->have == 0 ? 0 : d->header_crc, &c, 1);
	if (d->have < sizeof d->field)
		d->field[d->have] = c;
	d->have++;
	switch (d->part) {
	case GZIP_FIXED:
		if (d->have < 10)
			return true;
		if (d->field[0] != 0x1f || d->field[1] != 0x8b || d->field[2] != 8)
			return bad_gzip(error);
		d->flags = d->field[3];
		gzip_next_part(d, GZIP_FIXED);
		return true;
	case GZIP_EXTRA_LEN:
		if (d->have < 2)
			return true;
		d->extra_left = (unsigned)d->field[0] | (unsigned)d->field[1] << 8;
		d->part = GZIP_EXTRA;
		d->have = 0;
		if (d->extra_left == 0)
			gzip_next_part(d, GZIP_EXTRA);
		return true;
	case GZIP_EXTRA:
		if (d->have == d->extra_left)
			gzip_next_part(d, GZIP_EXTRA);
		return true;
	case GZIP_NAME:
	case GZIP_COMMENT:
		if (c == '\0')
			gzip_next_part(d, d->part);
		else if (d->have == GZIP_STRING_MAX)
			return bad_gzip(error);
		return true;
	case GZIP_HCRC:
		if (d->have < 2)
			return true;
		if (((unsigned)d->field[0] | (unsigned)d->field[1] << 8) != (d->header_crc & 0xffff))
			return bad_gzip(error);
		gzip_next_part(d, GZIP_HCRC);
		return true;
	case GZIP_BODY:
		break;
	}
	return true;
}

static bool gzip_run(Decompressor *d, const uint8_t **data, size_t *len, uint8_t *out, size_t cap,
                     size_t *done, GError **error)
{
	while (*done < cap) {
		if (d->part != GZIP_BODY) {
			if (*len == 0)
				return true;
			uint8_t c = **data;
			++*data;
			--*len;
			if (!gzip_header_byte(d, c, error))
				return false;
			continue;
		}
		size_t before = *len, n = 0;
		InflateStatus status = inflate_run(d->inflate, data, len, out + *done, cap - *done, &n);
		d->body += (int64_t)(before - *len);
		*done += n;
		switch (status) {
		case INFLATE_OK:
			if (*len == 0)
				return true;
			break;
		case INFLATE_END:
			d->part = GZIP_FIXED;
			d->have = 0;
			break;
		case INFLATE_CORRUPT:
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "flate: corrupt input before offset %" G_GINT64_FORMAT, d->body);
		case INFLATE_CHECKSUM:
			return error_set(error, CTRD_ERR_UNKNOWN, "gzip: invalid checksum");
		}
	}
	return true;
}

static bool zstd_fail(size_t code, GError **error)
{
	switch (ZSTD_getErrorCode(code)) {
	case ZSTD_error_prefix_unknown:
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid input: magic number mismatch");
	case ZSTD_error_frameParameter_windowTooLarge:
		return error_set(error, CTRD_ERR_UNKNOWN, "window size exceeded");
	case ZSTD_error_checksum_wrong:
		return error_set(error, CTRD_ERR_UNKNOWN, "CRC check failed");
	default:
		return error_set(error, CTRD_ERR_UNKNOWN, "zstd: %s", ZSTD_getErrorName(code));
	}
}

static bool zstd_run(Decompressor *d, const uint8_t **data, size_t *len, uint8_t *out, size_t cap,
                     size_t *done, GError **error)
{
	if (d->zstd == NULL) {
		d->zstd = ZSTD_createDStream();
		if (d->zstd == NULL)
			return error_set(error, CTRD_ERR_UNKNOWN, "zstd: cannot allocate");
		ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, COMPRESSION_ZSTD_WINDOW_LOG_MAX);
	}
	while (*done < cap && (*len > 0 || d->zstd_pending)) {
		ZSTD_inBuffer in = {*data, *len, 0};
		ZSTD_outBuffer to = {out + *done, cap - *done, 0};
		size_t r = ZSTD_decompressStream(d->zstd, &to, &in);
		if (ZSTD_isError(r))
			return zstd_fail(r, error);
		*data += in.pos;
		*len -= in.pos;
		*done += to.pos;
		d->zstd_open = r != 0;
		d->zstd_pending = d->zstd_open && *done == cap;
	}
	return true;
}

static bool run(Decompressor *d, const uint8_t **data, size_t *len, uint8_t *out, size_t cap, size_t *done,
                GError **error)
{
	if (d->kind == COMPRESSION_GZIP)
		return gzip_run(d, data, len, out, cap, done, error);
	if (d->kind == COMPRESSION_ZSTD)
		return zstd_run(d, data, len, out, cap, done, error);
	size_t n = MIN(*len, cap - *done);
	if (n > 0)
		memcpy(out + *done, *data, n);
	*data += n;
	*len -= n;
	*done += n;
	return true;
}

/* Decides what it is; false: more bytes are needed for that. */
static bool detect(Decompressor *d, const uint8_t **data, size_t *len, bool eof)
{
	if (d->head_len == 0 && *len >= COMPRESSION_DETECT_LEN) {
		d->kind = compression_detect(*data, *len);
		return true;
	}
	size_t n = MIN(*len, COMPRESSION_DETECT_LEN - d->head_len);
	if (n > 0)
		memcpy(d->head + d->head_len, *data, n);
	d->head_len += n;
	*data += n;
	*len -= n;
	if (d->head_len < COMPRESSION_DETECT_LEN && !eof)
		return false;
	d->kind = compression_detect(d->head, d->head_len);
	return true;
}

static bool is_truncated(Decompressor *d)
{
	// an empty stream is an empty layer where the compression was not named
	if (d->kind == COMPRESSION_GZIP)
		return d->part != GZIP_FIXED || d->have > 0 || d->inflate == NULL;
	return d->kind == COMPRESSION_ZSTD && d->zstd_open;
}

bool decompressor_step(Decompressor *d, const uint8_t **data, size_t *len, bool eof, void *out, size_t cap,
                       size_t *ret_out, GError **error)
{
	*ret_out = 0;
	if (d->failed)
		return error_set(error, CTRD_ERR_UNKNOWN, "decompression failed before");
	if (d->kind == COMPRESSION_UNKNOWN && !detect(d, data, len, eof))
		return true;
	bool ok = true;
	if (d->head_at < d->head_len) {
		const uint8_t *head = d->head + d->head_at;
		size_t left = d->head_len - d->head_at;
		ok = run(d, &head, &left, out, cap, ret_out, error);
		d->head_at = d->head_len - left;
	}
	if (ok && d->head_at == d->head_len && *ret_out < cap)
		ok = run(d, data, len, out, cap, ret_out, error);
	if (ok && eof && *ret_out < cap && is_truncated(d))
		ok = unexpected_eof(error);
	d->failed = !ok;
	return ok;
}

/* ---- Pulling ---- */

struct DecompressReader {
	Decompressor *d;
	ByteSource source;
	void *source_data;
	uint8_t *buf;
	const uint8_t *at;
	size_t left;
	bool eof;
};

DecompressReader *decompress_reader_new(Compression compression, ByteSource source, void *data)
{
	DecompressReader *r = g_new0(DecompressReader, 1);
	r->d = decompressor_new(compression);
	r->source = source;
	r->source_data = data;
	r->buf = g_malloc(READ_SIZE);
	r->at = r->buf;
	return r;
}

void decompress_reader_free(DecompressReader *r)
{
	if (r == NULL)
		return;
	decompressor_free(r->d);
	g_free(r->buf);
	g_free(r);
}

static bool refill(DecompressReader *r, GError **error)
{
	if (r->left > 0 || r->eof)
		return true;
	ssize_t n = r->source(r->source_data, r->buf, READ_SIZE, error);
	if (n < 0)
		return false;
	r->at = r->buf;
	r->left = (size_t)n;
	r->eof = n == 0;
	return true;
}

ssize_t decompress_reader_read(void *reader, void *buf, size_t len, GError **error)
{
	DecompressReader *r = reader;
	if (len == 0)
		return 0;
	while (true) {
		// held-back output needs no input: ask for that first
		size_t n;
		if (!decompressor_step(r->d, &r->at, &r->left, r->eof, buf, len, &n, error))
			return -1;
		if (n > 0 || r->eof)
			return (ssize_t)n;
		if (!refill(r, error))
			return -1;
	}
}

bool decompress_reader_kind(DecompressReader *r, Compression *ret, GError **error)
{
	while (r->d->kind == COMPRESSION_UNKNOWN) {
		if (!refill(r, error))
			return false;
		detect(r->d, &r->at, &r->left, r->eof);
	}
	*ret = r->d->kind;
	return true;
}

/* ---- Compression ---- */

struct Compressor {
	Compression kind;
	ByteSink sink;
	void *sink_data;
	uint8_t *out;
	Deflate *deflate;
	ZSTD_CStream *zstd;
};

Compressor *compressor_new(Compression compression, ByteSink sink, void *data)
{
	Compressor *c = g_new0(Compressor, 1);
	c->kind = compression;
	c->sink = sink;
	c->sink_data = data;
	if (compression == COMPRESSION_GZIP)
		c->deflate = deflate_new();
	if (compression == COMPRESSION_ZSTD) {
		c->zstd = ZSTD_createCStream();
		if (c->zstd == NULL)
			g_error("zstd: cannot allocate");
		ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_checksumFlag, 1);
	}
	if (c->deflate != NULL || c->zstd != NULL)
		c->out = g_malloc(WRITE_SIZE);
	return c;
}

void compressor_free(Compressor *c)
{
	if (c == NULL)
		return;
	deflate_free(c->deflate);
	ZSTD_freeCStream(c->zstd);
	g_free(c->out);
	g_free(c);
}

/* One round; *ret_more: the buffer was too small for all that has to come out. */
static bool compress_some(Compressor *c, const uint8_t **data, size_t *len, bool finish, bool *ret_more,
                          GError **error)
{
	size_t n;
	if (c->deflate != NULL) {
		*ret_more = !deflate_run(c->deflate, data, len, finish, c->out, WRITE_SIZE, &n);
	} else {
		ZSTD_inBuffer in = {*data, *len, 0};
		ZSTD_outBuffer out = {c->out, WRITE_SIZE, 0};
		size_t r = ZSTD_compressStream2(c->zstd, &out, &in, finish ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(r))
			return zstd_fail(r, error);
		*data += in.pos;
		*len -= in.pos;
		n = out.pos;
		*ret_more = finish ? r != 0 : *len > 0;
	}
	return n == 0 || c->sink(c->sink_data, c->out, n, error);
}

bool compressor_write(Compressor *c, const void *buf, size_t len, GError **error)
{
	if (c->out == NULL)
		return len == 0 || c->sink(c->sink_data, buf, len, error);
	const uint8_t *data = buf;
	bool more = len > 0;
	while (more)
		if (!compress_some(c, &data, &len, false, &more, error))
			return false;
	return true;
}

bool compressor_finish(Compressor *c, GError **error)
{
	if (c->out == NULL)
		return true;
	const uint8_t *data = (const uint8_t *)"";
	size_t len = 0;
	bool more = true;
	while (more)
		if (!compress_some(c, &data, &len, true, &more, error))
			return false;
	return true;
}
