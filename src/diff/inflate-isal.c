// SPDX-License-Identifier: Apache-2.0

#include "diff/inflate-private.h"

#include <glib.h>
#include <isa-l/igzip_lib.h>

#define PIECE (1u << 30) // ISA-L counts in 32 bits

struct Inflate {
	struct inflate_state state;
};

Inflate *inflate_new(void)
{
	Inflate *z = g_new(Inflate, 1);
	isal_inflate_init(&z->state);
	inflate_restart(z);
	return z;
}

void inflate_free(Inflate *z)
{
	g_free(z);
}

void inflate_restart(Inflate *z)
{
	isal_inflate_reset(&z->state);
	// Our caller reads the header; the trailer is left to ISA-L, which has part of it in its bit buffer
	z->state.crc_flag = ISAL_GZIP_NO_HDR_VER;
}

InflateStatus inflate_run(Inflate *z, const uint8_t **data, size_t *len, uint8_t *out, size_t cap,
                          size_t *ret_out)
{
	struct inflate_state *s = &z->state;
	size_t done = 0;
	while (true) {
		uint32_t in = (uint32_t)MIN(*len, PIECE), room = (uint32_t)MIN(cap - done, PIECE);
		s->next_in = (uint8_t *)*data; // not written to
		s->avail_in = in;
		s->next_out = out + done;
		s->avail_out = room;
		int r = isal_inflate(s);
		uint32_t taken = in - s->avail_in, made = room - s->avail_out;
		*data += taken;
		*len -= taken;
		done += made;
		*ret_out = done;
		if (r == ISAL_INCORRECT_CHECKSUM)
			return INFLATE_CHECKSUM;
		if (r < 0)
			return INFLATE_CORRUPT;
		if (s->block_state == ISAL_BLOCK_FINISH)
			return INFLATE_END;
		if (done == cap || (*len == 0 && s->avail_out > 0))
			return INFLATE_OK;
		if (taken == 0 && made == 0)
			return INFLATE_CORRUPT; // cannot be; an endless loop would be worse
	}
}

struct Deflate {
	struct isal_zstream stream;
	uint8_t *level_buf;
};

Deflate *deflate_new(void)
{
	// Level 3 is 14 times as fast as zlib's 6 for 10% more bytes (shared libraries)
	Deflate *z = g_new0(Deflate, 1);
	isal_deflate_init(&z->stream);
	z->level_buf = g_malloc(ISAL_DEF_LVL3_DEFAULT);
	z->stream.level = 3;
	z->stream.level_buf = z->level_buf;
	z->stream.level_buf_size = ISAL_DEF_LVL3_DEFAULT;
	z->stream.gzip_flag = IGZIP_GZIP;
	return z;
}

void deflate_free(Deflate *z)
{
	if (z == NULL)
		return;
	g_free(z->level_buf);
	g_free(z);
}

bool deflate_run(Deflate *z, const uint8_t **data, size_t *len, bool finish, uint8_t *out, size_t cap,
                 size_t *ret_out)
{
	struct isal_zstream *s = &z->stream;
	uint32_t in = (uint32_t)MIN(*len, PIECE), room = (uint32_t)MIN(cap, PIECE);
	s->next_in = (uint8_t *)*data;
	s->avail_in = in;
	s->next_out = out;
	s->avail_out = room;
	s->end_of_stream = finish && in == *len;
	isal_deflate(s);
	*data += in - s->avail_in;
	*len -= in - s->avail_in;
	*ret_out = room - s->avail_out;
	if (finish)
		return s->internal_state.state == ZSTATE_END;
	return *len == 0 && s->avail_out > 0;
}
