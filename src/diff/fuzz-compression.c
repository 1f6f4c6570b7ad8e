// SPDX-License-Identifier: Apache-2.0
/* Decompresses whatever it gets, twice: in one piece and in small ones. Both must agree. */
#include "base/error.h"
#include "diff/compression.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX (4u << 20)

/* The output, the error's text at its end. NULL: more than OUT_MAX came out. */
static GByteArray *run(const uint8_t *data, size_t size, size_t piece, size_t room)
{
	g_autoptr(Decompressor) d = decompressor_new(COMPRESSION_UNKNOWN);
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autofree uint8_t *buf = g_malloc(room);
	bool eof = false;
	while (!eof) {
		size_t n = MIN(piece, size), made;
		const uint8_t *at = data;
		eof = n == 0;
		do {
			g_autoptr(GError) error = NULL;
			if (!decompressor_step(d, &at, &n, eof, buf, room, &made, &error))
				return g_steal_pointer(&out);
			if (out->len + made > OUT_MAX)
				return NULL;
			g_byte_array_append(out, buf, (guint)made);
		} while (made == room);
		if (n != 0)
			abort(); // input was left
		size -= (size_t)(at - data);
		data = at;
	}
	g_byte_array_append(out, (const uint8_t *)"end", 3);
	return g_steal_pointer(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GByteArray) whole = run(data, size, size + 1, 1 << 16);
	g_autoptr(GByteArray) pieces = run(data, size, 1 + size % 13, 1 + size % 4093);
	// where it is broken, how much came out before that may differ
	bool end = whole != NULL && whole->len >= 3 && memcmp(whole->data + whole->len - 3, "end", 3) == 0;
	if (end && (pieces == NULL || pieces->len != whole->len ||
	            memcmp(whole->data, pieces->data, whole->len) != 0))
		abort();
	return 0;
}
