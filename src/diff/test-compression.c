// SPDX-License-Identifier: Apache-2.0
/* Compression: upstream's tests, Go's rules for gzip streams, hostile streams. Built twice: with the inflate
 * that is linked into the library, and with zlib's. */

#include "diff/test-support.h"

#include <zstd.h>

static GByteArray *some_data(size_t len)
{
	GByteArray *b = g_byte_array_sized_new((guint)len);
	g_byte_array_set_size(b, (guint)len);
	uint32_t x = 12345;
	for (size_t i = 0; i < len; i++) {
		// a third random, a third zeros, a third text
		x = x * 1664525 + 1013904223;
		b->data[i] = i < len / 3 ? (uint8_t)(x >> 24) : i < 2 * len / 3 ? 0 : (uint8_t)('a' + i % 19);
	}
	return b;
}

static GByteArray *compress(Compression c, const void *data, size_t len)
{
	GByteArray *out = g_byte_array_new();
	g_autoptr(Compressor) z = compressor_new(c, to_bytes, out);
	g_assert_true(compressor_write(z, data, len / 2, NULL));
	if (len > 0)
		g_assert_true(compressor_write(z, (const uint8_t *)data + len / 2, len - len / 2, NULL));
	g_assert_true(compressor_finish(z, NULL));
	return out;
}

/* In pieces of `piece` bytes, out pieces of `room`. NULL on error. */
static GByteArray *decompress(Compression c, const uint8_t *data, size_t len, size_t piece, size_t room,
                              Compression *ret_kind, GError **error)
{
	g_autoptr(Decompressor) d = decompressor_new(c);
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autofree uint8_t *buf = g_malloc(room);
	while (true) {
		size_t n = MIN(piece, len), made;
		// a piece in memory of exactly its size: a sanitizer sees a read past it
		g_autofree uint8_t *in = n > 0 ? g_memdup2(data, n) : g_malloc(1);
		const uint8_t *at = in;
		if (n > 0)
			data += n;
		len -= n;
		bool eof = n == 0;
		do {
			if (!decompressor_step(d, &at, &n, eof, buf, room, &made, error))
				return NULL;
			g_byte_array_append(out, buf, (guint)made);
		} while (made == room);
		g_assert_cmpuint(n, ==, 0);
		if (eof)
			break;
	}
	if (ret_kind != NULL)
		*ret_kind = decompressor_kind(d);
	return g_steal_pointer(&out);
}

static void assert_fails(const void *data, size_t len, const char *text)
{
	static const size_t pieces[] = {1, 7, 1 << 20};
	for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GByteArray) out =
		        decompress(COMPRESSION_UNKNOWN, data, len, pieces[i], 1000, NULL, &error);
		g_assert_null(out);
		assert_error_text(error, text);
		g_assert_true(error_is(error, CTRD_ERR_UNKNOWN));
	}
}

static void assert_gives(const void *data, size_t len, const void *want, size_t want_len, Compression kind)
{
	static const size_t pieces[] = {1, 7, 4096, 1 << 20}, rooms[] = {1, 13, 4096, 1 << 20};
	for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++)
		for (size_t j = 0; j < G_N_ELEMENTS(rooms); j++) {
			if (want_len > 100000 && (i == 0 || j == 0))
				continue;
			g_autoptr(GError) error = NULL;
			Compression got;
			g_autoptr(GByteArray) out =
			        decompress(COMPRESSION_UNKNOWN, data, len, pieces[i], rooms[j], &got, &error);
			g_assert_no_error(error);
			g_assert_cmpuint(out->len, ==, want_len);
			g_assert_true(want_len == 0 || memcmp(out->data, want, want_len) == 0);
			g_assert_cmpint(got, ==, kind);
		}
}

static void test_round_trip(void)
{
	static const size_t sizes[] = {0, 1, 9, 10, 11, 1000, 300000, 1 << 20};
	static const Compression kinds[] = {COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD};
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
			g_autoptr(GByteArray) data = some_data(sizes[i]);
			g_autoptr(GByteArray) z = compress(kinds[k], data->data, data->len);
			assert_gives(z->data, z->len, data->data, data->len, kinds[k]);
			g_autoptr(GByteArray) again = compress(kinds[k], data->data, data->len);
			g_assert_cmpmem(z->data, z->len, again->data, again->len);
			if (sizes[i] == 1 << 20 && kinds[k] != COMPRESSION_NONE)
				g_assert_cmpuint(z->len, <, sizes[i] / 2);
		}
}

static void test_detect(void)
{
	static const uint8_t zstd[] = {0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x00, 0x31, 0x00, 0x00, 'd',
	                               'o',  'c',  'k',  'e',  'r',  0x16, 0x0e, 0x21, 0xc3};
	static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 0x04, 0x00, 0x00, 0x00, 0x5d, 0x00, 0x00,
	                                    0x00, 0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x00, 0x31, 0x00, 0x00, 'd',
	                                    'o',  'c',  'k',  'e',  'r',  0x16, 0x0e, 0x21, 0xc3};
	g_assert_cmpint(compression_detect(zstd, sizeof zstd), ==, COMPRESSION_ZSTD);
	g_assert_cmpint(compression_detect(skippable, sizeof skippable), ==, COMPRESSION_ZSTD);
	g_assert_cmpint(compression_detect(skippable, 7), ==, COMPRESSION_NONE);
	g_assert_cmpint(compression_detect("\x1f\x8b\x08", 3), ==, COMPRESSION_GZIP);
	g_assert_cmpint(compression_detect("\x1f\x8b", 2), ==, COMPRESSION_NONE);
	g_assert_cmpint(compression_detect("", 0), ==, COMPRESSION_NONE);
	assert_gives(zstd, sizeof zstd, "docker", 6, COMPRESSION_ZSTD);
	assert_gives(skippable, sizeof skippable, "docker", 6, COMPRESSION_ZSTD);
	g_assert_cmpstr(compression_extension(COMPRESSION_GZIP), ==, "gz");
	g_assert_cmpstr(compression_extension(COMPRESSION_ZSTD), ==, "zst");
	g_assert_cmpstr(compression_extension(COMPRESSION_UNKNOWN), ==, "unknown");
	g_assert_cmpstr(compression_extension(COMPRESSION_NONE), ==, "");
}

static void append(GByteArray *to, const GByteArray *from)
{
	g_byte_array_append(to, from->data, from->len);
}

/* Members one after the other, cut at every byte, followed by what does not belong there. */
static void test_gzip_members(void)
{
	g_autoptr(GByteArray) one = compress(COMPRESSION_GZIP, "first ", 6);
	g_autoptr(GByteArray) two = compress(COMPRESSION_GZIP, "second", 6);
	g_autoptr(GByteArray) both = g_byte_array_new();
	append(both, one);
	append(both, two);
	assert_gives(both->data, both->len, "first second", 12, COMPRESSION_GZIP);
	for (guint cut = 10; cut < both->len; cut++)
		if (cut != one->len)
			assert_fails(both->data, cut, "unexpected EOF");
	static const uint8_t zeros[16];
	g_autoptr(GByteArray) padded = g_byte_array_new();
	append(padded, both);
	g_byte_array_append(padded, zeros, 9);
	assert_fails(padded->data, padded->len, "unexpected EOF");
	g_byte_array_append(padded, zeros, 1);
	assert_fails(padded->data, padded->len, "gzip: invalid header");

	// many tiny members
	g_autoptr(GByteArray) many = g_byte_array_new();
	g_autoptr(GString) want = g_string_new(NULL);
	for (int i = 0; i < 500; i++) {
		append(many, i % 3 == 0 ? one : two);
		g_string_append(want, i % 3 == 0 ? "first " : "second");
	}
	assert_gives(many->data, many->len, want->str, want->len, COMPRESSION_GZIP);
}

static void test_gzip_broken(void)
{
	g_autoptr(GByteArray) data = some_data(5000);
	g_autoptr(GByteArray) z = compress(COMPRESSION_GZIP, data->data, data->len);
	z->data[z->len - 8] ^= 1; // CRC
	assert_fails(z->data, z->len, "gzip: invalid checksum");
	z->data[z->len - 8] ^= 1;
	z->data[z->len - 1] ^= 1; // size
	assert_fails(z->data, z->len, "gzip: invalid checksum");
	static const uint8_t bad_block[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255,
	                                    0x07, 0,    0, 0, 0, 0, 0, 0, 0};
	g_autoptr(GError) error = NULL;
	g_autoptr(GByteArray) out =
	        decompress(COMPRESSION_UNKNOWN, bad_block, sizeof bad_block, 100, 100, NULL, &error);
	g_assert_null(out);
	g_assert_true(g_str_has_prefix(error->message, "flate: corrupt input before offset "));
	// named gzip, but it is not
	g_clear_error(&error);
	out = decompress(COMPRESSION_GZIP, (const uint8_t *)"hello world", 11, 100, 100, NULL, &error);
	assert_error_text(error, "gzip: invalid header");
	g_clear_error(&error);
	out = decompress(COMPRESSION_GZIP, (const uint8_t *)"", 0, 100, 100, NULL, &error);
	assert_error_text(error, "unexpected EOF");
}

/* Every optional part of the header. */
static void test_gzip_header(void)
{
	static const uint8_t stored[] = {0x01, 2,    0,    0xfd, 0xff, 'h', 'i', 0xac,
	                                 0x2a, 0x93, 0xd8, 2,    0,    0,   0};
	for (unsigned flags = 0; flags < 32; flags++) {
		g_autoptr(GByteArray) z = g_byte_array_new();
		const uint8_t fixed[] = {0x1f, 0x8b, 8, (uint8_t)flags, 0, 0, 0, 0, 0, 255};
		g_byte_array_append(z, fixed, sizeof fixed);
		if ((flags & 4) != 0)
			g_byte_array_append(z, (const uint8_t *)"\x03\x00xyz", 5);
		if ((flags & 8) != 0)
			g_byte_array_append(z, (const uint8_t *)"name", 5);
		if ((flags & 16) != 0)
			g_byte_array_append(z, (const uint8_t *)"comment", 8);
		bool crc = (flags & 2) != 0;
		if (crc) {
			uint32_t c = 0xffffffff; // CRC-32 by hand: the test does not trust the library's
			for (guint i = 0; i < z->len; i++) {
				c ^= z->data[i];
				for (int b = 0; b < 8; b++)
					c = c >> 1 ^ (0xedb88320 & -(c & 1));
			}
			const uint8_t hcrc[] = {(uint8_t)~c, (uint8_t)(~c >> 8)};
			g_byte_array_append(z, hcrc, 2);
		}
		guint header = z->len;
		g_byte_array_append(z, stored, sizeof stored);
		assert_gives(z->data, z->len, "hi", 2, COMPRESSION_GZIP);
		if (crc) {
			z->data[header - 1] ^= 1;
			assert_fails(z->data, z->len, "gzip: invalid header");
		}
	}
	// a name without end
	g_autofree char *name = g_strnfill(600, 'n');
	g_autoptr(GByteArray) z = g_byte_array_new();
	g_byte_array_append(z, (const uint8_t *)"\x1f\x8b\x08\x08\0\0\0\0\0\xff", 10);
	g_byte_array_append(z, (const uint8_t *)name, 600);
	assert_fails(z->data, z->len, "gzip: invalid header");
}

static void test_zstd_streams(void)
{
	g_autoptr(GByteArray) data = some_data(200000);
	g_autoptr(GByteArray) z = compress(COMPRESSION_ZSTD, data->data, data->len);
	g_autoptr(GByteArray) twice = g_byte_array_new();
	g_autoptr(GByteArray) want = g_byte_array_new();
	static const uint8_t skippable[] = {0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3};
	append(twice, z);
	g_byte_array_append(twice, skippable, sizeof skippable);
	append(twice, z);
	append(want, data);
	append(want, data);
	assert_gives(twice->data, twice->len, want->data, want->len, COMPRESSION_ZSTD);
	static const guint cuts[] = {11, 100, 1000};
	for (size_t i = 0; i < G_N_ELEMENTS(cuts); i++)
		assert_fails(z->data, cuts[i], "unexpected EOF");
	assert_fails(z->data, z->len - 1, "unexpected EOF");
	z->data[z->len - 1] ^= 1;
	assert_fails(z->data, z->len, "CRC check failed");
	g_byte_array_append(twice, (const uint8_t *)"garbage", 7);
	assert_fails(twice->data, twice->len, "invalid input: magic number mismatch");
	// a frame that asks for a window of 1 GiB
	static const uint8_t huge[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, (30 - 10) << 3, 0x01, 0, 0, 0, 0};
	assert_fails(huge, sizeof huge, "window size exceeded");
}

/* A bomb comes out in pieces: the memory is what the caller gives. */
static void test_bomb(void)
{
	static const Compression kinds[] = {COMPRESSION_GZIP, COMPRESSION_ZSTD};
	for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
		g_autoptr(GByteArray) z = g_byte_array_new();
		g_autoptr(Compressor) c = compressor_new(kinds[k], to_bytes, z);
		g_autofree uint8_t *zeros = g_malloc0(1 << 20);
		for (int i = 0; i < 100; i++)
			g_assert_true(compressor_write(c, zeros, 1 << 20, NULL));
		g_assert_true(compressor_finish(c, NULL));
		g_autoptr(Decompressor) d = decompressor_new(COMPRESSION_UNKNOWN);
		const uint8_t *at = z->data;
		size_t len = z->len, made, total = 0;
		do {
			g_assert_true(decompressor_step(d, &at, &len, true, zeros, 1 << 20, &made, NULL));
			total += made;
		} while (made == 1 << 20);
		g_assert_cmpuint(total, ==, 100 << 20);
	}
}

static void test_reader(void)
{
	g_autoptr(GByteArray) data = some_data(400000);
	static const Compression kinds[] = {COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD};
	for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
		g_autoptr(GByteArray) z = compress(kinds[k], data->data, data->len);
		for (size_t piece = 3; piece < 200000; piece *= 40) {
			BytesSource s = {z->data, z->len, piece};
			g_autoptr(DecompressReader) r =
			        decompress_reader_new(COMPRESSION_UNKNOWN, from_bytes, &s);
			Compression kind;
			g_assert_true(decompress_reader_kind(r, &kind, NULL));
			g_assert_cmpint(kind, ==, kinds[k]);
			g_autoptr(GByteArray) out = g_byte_array_new();
			uint8_t buf[5000];
			ssize_t n;
			while ((n = decompress_reader_read(r, buf, sizeof buf, NULL)) > 0)
				g_byte_array_append(out, buf, (guint)n);
			g_assert_cmpint(n, ==, 0);
			g_assert_cmpint(decompress_reader_read(r, buf, sizeof buf, NULL), ==, 0);
			g_assert_cmpmem(out->data, out->len, data->data, data->len);
		}
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/diff/compression/round-trip", test_round_trip);
	g_test_add_func("/diff/compression/detect", test_detect);
	g_test_add_func("/diff/compression/gzip-members", test_gzip_members);
	g_test_add_func("/diff/compression/gzip-broken", test_gzip_broken);
	g_test_add_func("/diff/compression/gzip-header", test_gzip_header);
	g_test_add_func("/diff/compression/zstd-streams", test_zstd_streams);
	g_test_add_func("/diff/compression/bomb", test_bomb);
	g_test_add_func("/diff/compression/reader", test_reader);
	return g_test_run();
}
