// SPDX-License-Identifier: Apache-2.0

#include "diff/tar.h"

#include "base/error.h"
#include "base/util.h"

#include <string.h>

#define READ_SIZE (64 * 1024)

struct TarReader {
	ByteSource source;
	void *source_data;
	TarParser *parser;
	uint8_t *buf;
	const uint8_t *at; // what is left of buf
	size_t left;
	bool eof;

	TarEvent pending; // an event that was seen before its time, or TAR_MORE
	TarEventData event;
	int64_t position, size; // in the present entry's content
};

TarReader *tar_reader_new(ByteSource source, void *data)
{
	TarReader *r = g_new0(TarReader, 1);
	r->source = source;
	r->source_data = data;
	r->parser = tar_parser_new();
	r->buf = g_malloc(READ_SIZE);
	r->at = r->buf;
	r->pending = TAR_MORE;
	return r;
}

void tar_reader_free(TarReader *r)
{
	if (r == NULL)
		return;
	tar_parser_free(r->parser);
	g_free(r->buf);
	g_free(r);
}

static TarEvent next_event(TarReader *r, GError **error)
{
	if (r->pending != TAR_MORE) {
		TarEvent e = r->pending;
		r->pending = TAR_MORE;
		return e;
	}
	while (true) {
		TarEvent e = tar_parser_next(r->parser, &r->at, &r->left, r->eof, &r->event, error);
		if (e != TAR_MORE)
			return e;
		ssize_t n = r->source(r->source_data, r->buf, READ_SIZE, error);
		if (n < 0)
			return TAR_ERROR;
		r->eof = n == 0;
		r->at = r->buf;
		r->left = (size_t)n;
	}
}

int tar_reader_next(TarReader *r, const TarHeader **ret_header, GError **error)
{
	TarEvent e;
	do
		e = next_event(r, error);
	while (e == TAR_DATA);
	if (e == TAR_ERROR)
		return -1;
	if (e == TAR_END) {
		r->pending = TAR_END;
		r->position = r->size = 0;
		return 0;
	}
	*ret_header = r->event.header;
	r->position = 0;
	bool header_only = r->event.header->type >= TAR_TYPE_LINK && r->event.header->type <= TAR_TYPE_FIFO;
	r->size = header_only ? 0 : r->event.header->size;
	return 1;
}

ssize_t tar_reader_read(void *reader, void *buf, size_t len, GError **error)
{
	TarReader *r = reader;
	len = MIN(len, (size_t)G_MAXSSIZE);
	if (r->position >= r->size || len == 0)
		return 0;
	TarEvent e = next_event(r, error);
	if (e == TAR_ERROR)
		return -1;
	uint64_t n;
	if (e != TAR_DATA) {
		// the entry ends with a hole
		r->pending = e;
		n = MIN((uint64_t)len, (uint64_t)(r->size - r->position));
		memset(buf, 0, n);
	} else if (r->event.offset > r->position) {
		r->pending = e;
		n = MIN((uint64_t)len, (uint64_t)(r->event.offset - r->position));
		memset(buf, 0, n);
	} else {
		n = MIN(len, r->event.len);
		memcpy(buf, r->event.data, n);
		r->event.data += n;
		r->event.len -= n;
		r->event.offset += (int64_t)n;
		if (r->event.len > 0)
			r->pending = e;
	}
	r->position += (int64_t)n;
	return (ssize_t)n;
}

bool tar_reader_read_all(TarReader *r, size_t max, char **ret_data, size_t *ret_len, GError **error)
{
	if (r->size > 0 && (uint64_t)r->size > max)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "size %" G_GINT64_FORMAT " of archive entry is over the limit of %zu bytes",
		                 r->size, max);
	size_t size = (size_t)r->size, have = 0;
	g_autofree char *data = g_malloc(size + 1);
	while (have < size) {
		ssize_t n = tar_reader_read(r, data + have, size - have, error);
		if (n < 0)
			return false;
		have += (size_t)n;
	}
	data[size] = '\0';
	*ret_data = g_steal_pointer(&data);
	*ret_len = size;
	return true;
}
