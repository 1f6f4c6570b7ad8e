// SPDX-License-Identifier: Apache-2.0

#include "diff/inflate-private.h"

#include <glib.h>
#include <string.h>
#define ZLIB_CONST
#include <zlib.h>

#define PIECE (1u << 30) // zlib counts in 32 bits

struct Inflate {
	z_stream stream;
	uint32_t crc, size;
	bool deflate_done;
	uint8_t trailer[8];
	size_t trailer_have;
};

Inflate *inflate_new(void)
{
	Inflate *z = g_new0(Inflate, 1);
	if (inflateInit2(&z->stream, -15) != Z_OK)
		g_error("zlib: inflateInit2 failed");
	return z;
}

void inflate_free(Inflate *z)
{
	if (z == NULL)
		return;
	inflateEnd(&z->stream);
	g_free(z);
}

void inflate_restart(Inflate *z)
{
	inflateReset(&z->stream);
	z->crc = z->size = 0;
	z->deflate_done = false;
	z->trailer_have = 0;
}

static uint32_t little32(const uint8_t *b)
{
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static InflateStatus read_trailer(Inflate *z, const uint8_t **data, size_t *len)
{
	size_t n = MIN(*len, sizeof z->trailer - z->trailer_have);
	if (n > 0)
		memcpy(z->trailer + z->trailer_have, *data, n);
	z->trailer_have += n;
	*data += n;
	*len -= n;
	if (z->trailer_have < sizeof z->trailer)
		return INFLATE_OK;
	bool ok = little32(z->trailer) == z->crc && little32(z->trailer + 4) == z->size;
	return ok ? INFLATE_END : INFLATE_CHECKSUM;
}

InflateStatus inflate_run(Inflate *z, const uint8_t **data, size_t *len, uint8_t *out, size_t cap,
                          size_t *ret_out)
{
	size_t done = 0;
	*ret_out = 0;
	while (!z->deflate_done) {
		uInt in = (uInt)MIN(*len, PIECE), room = (uInt)MIN(cap - done, PIECE);
		z->stream.next_in = *data;
		z->stream.avail_in = in;
		z->stream.next_out = out + done;
		z->stream.avail_out = room;
		int r = inflate(&z->stream, Z_NO_FLUSH);
		uInt taken = in - z->stream.avail_in, made = room - z->stream.avail_out;
		z->crc = (uint32_t)crc32(z->crc, out + done, made);
		z->size += made;
		*data += taken;
		*len -= taken;
		done += made;
		*ret_out = done;
		if (r == Z_STREAM_END)
			z->deflate_done = true;
		else if (r != Z_OK && r != Z_BUF_ERROR)
			return INFLATE_CORRUPT;
		else if (done == cap || (*len == 0 && z->stream.avail_out > 0))
			return INFLATE_OK;
		else if (taken == 0 && made == 0)
			return INFLATE_CORRUPT; // cannot be; an endless loop would be worse
	}
	return read_trailer(z, data, len);
}

struct Deflate {
	z_stream stream;
};

Deflate *deflate_new(void)
{
	Deflate *z = g_new0(Deflate, 1);
	if (deflateInit2(&z->stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		g_error("zlib: deflateInit2 failed");
	static gz_header header = {.os = 255}; // no time, no name, system not said: as Go writes it
	deflateSetHeader(&z->stream, &header);
	return z;
}

void deflate_free(Deflate *z)
{
	if (z == NULL)
		return;
	deflateEnd(&z->stream);
	g_free(z);
}

bool deflate_run(Deflate *z, const uint8_t **data, size_t *len, bool finish, uint8_t *out, size_t cap,
                 size_t *ret_out)
{
	uInt in = (uInt)MIN(*len, PIECE), room = (uInt)MIN(cap, PIECE);
	z->stream.next_in = *data;
	z->stream.avail_in = in;
	z->stream.next_out = out;
	z->stream.avail_out = room;
	int r = deflate(&z->stream, finish && in == *len ? Z_FINISH : Z_NO_FLUSH);
	*data += in - z->stream.avail_in;
	*len -= in - z->stream.avail_in;
	*ret_out = room - z->stream.avail_out;
	if (finish)
		return r == Z_STREAM_END;
	return *len == 0 && z->stream.avail_out > 0;
}
