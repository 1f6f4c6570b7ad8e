// SPDX-License-Identifier: Apache-2.0
/* The tar parser, reader and writer: round trips, Go's rules, headers that lie. */

#include "diff/tar-private.h"
#include "diff/test-support.h"

/* ---- Raw headers ---- */

static void put_text(uint8_t *b, TarField f, const char *s)
{
	memcpy(b + f.offset, s, MIN(strlen(s), f.len));
}

static void put_checksum(uint8_t *b)
{
	memset(b + TAR_F_CHKSUM.offset, ' ', 8);
	unsigned sum = 0;
	for (int i = 0; i < TAR_BLOCK; i++)
		sum += b[i];
	char text[8];
	g_snprintf(text, sizeof text, "%06o", sum);
	memcpy(b + TAR_F_CHKSUM.offset, text, 7);
}

static void raw_header(uint8_t b[TAR_BLOCK], const char *magic, char type, const char *name, const char *size)
{
	memset(b, 0, TAR_BLOCK);
	put_text(b, TAR_F_NAME, name);
	put_text(b, TAR_F_MODE, "0000644");
	put_text(b, TAR_F_UID, "0000000");
	put_text(b, TAR_F_GID, "0000000");
	put_text(b, TAR_F_SIZE, size);
	put_text(b, TAR_F_MTIME, "00000000000");
	memcpy(b + TAR_F_MAGIC.offset, magic, 8);
	b[TAR_F_TYPE.offset] = (uint8_t)type;
	put_checksum(b);
}
#define USTAR "ustar\00000"
#define GNU "ustar  \0"
#define V7 "\0\0\0\0\0\0\0\0"

static void add_raw(GByteArray *a, const char *magic, char type, const char *name, const char *content)
{
	uint8_t b[TAR_BLOCK];
	char size[13];
	g_snprintf(size, sizeof size, "%011zo", strlen(content));
	raw_header(b, magic, type, name, size);
	g_byte_array_append(a, b, TAR_BLOCK);
	g_byte_array_append(a, (const uint8_t *)content, (guint)strlen(content));
	static const uint8_t zeros[TAR_BLOCK];
	g_byte_array_append(a, zeros, (guint)(-strlen(content) & (TAR_BLOCK - 1)));
}

static void add_pax(GByteArray *a, const char *records)
{
	add_raw(a, USTAR, 'x', "PaxHeaders.0/x", records);
}

/* All entries as text, with their content: "type name -> link size=content\n". NULL on error. */
static char *list(const GByteArray *a, size_t piece, GError **error)
{
	BytesSource s = {a->data, a->len, piece};
	g_autoptr(TarReader) r = tar_reader_new(from_bytes, &s);
	g_autoptr(GString) out = g_string_new(NULL);
	const TarHeader *h;
	int more;
	while ((more = tar_reader_next(r, &h, error)) == 1) {
		g_string_append_printf(out, "%c %s", h->type, h->name);
		if (*h->linkname != '\0')
			g_string_append_printf(out, " -> %s", h->linkname);
		int64_t size = h->size;
		g_autofree char *data = NULL;
		size_t len;
		if (size > 4096) {
			g_string_append_printf(out, " %" G_GINT64_FORMAT "\n", size);
			continue;
		}
		if (!tar_reader_read_all(r, 4096, &data, &len, error))
			return NULL;
		for (size_t i = 0; i < len; i++)
			if (data[i] == '\0')
				data[i] = '.';
		g_string_append_printf(out, "=%s\n", data);
	}
	return more == 0 ? g_string_free(g_steal_pointer(&out), FALSE) : NULL;
}

static void assert_list(const GByteArray *a, const char *want, const char *want_error)
{
	static const size_t pieces[] = {0, 1, 511, 513};
	for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *got = list(a, pieces[i], &error);
		assert_error_text(error, want_error);
		g_assert_cmpstr(got, ==, want);
	}
}

/* One broken thing behind one good entry. */
static void assert_bad(void (*make)(GByteArray *a), const char *want_error)
{
	g_autoptr(GByteArray) a = g_byte_array_new();
	add_raw(a, USTAR, '0', "good", "content");
	make(a);
	assert_list(a, NULL, want_error);
}

/* ---- Reading ---- */

static void test_formats(void)
{
	g_autoptr(GByteArray) a = g_byte_array_new();
	add_raw(a, V7, '\0', "v7", "old");
	add_raw(a, V7, '\0', "v7dir/", "");
	add_raw(a, USTAR, '0', "ustar", "x");
	uint8_t b[TAR_BLOCK];
	raw_header(b, USTAR, '0', "name", "00000000000");
	put_text(b, TAR_F_PREFIX, "some/prefix");
	put_checksum(b);
	g_byte_array_append(a, b, TAR_BLOCK);
	raw_header(b, GNU, '0', "gnu", "00000000000"); // GNU has no prefix, these are times
	put_text(b, TAR_F_GNU_ATIME, "00000000001 ");
	put_checksum(b);
	g_byte_array_append(a, b, TAR_BLOCK);
	raw_header(b, GNU, '0', "old-go", "00000000000"); // Go before 1.8 wrote a prefix there
	put_text(b, TAR_F_PREFIX, "pre/fix");
	put_checksum(b);
	g_byte_array_append(a, b, TAR_BLOCK);
	add_raw(a, GNU, 'L', "././@LongLink", "a/long/name");
	add_raw(a, GNU, 'K', "././@LongLink", "a/long/link");
	add_raw(a, GNU, '2', "short", "");
	add_raw(a, USTAR, '3', "header-only", "");
	assert_list(a,
	            "0 v7=old\n5 v7dir/=\n0 ustar=x\n0 some/prefix/name=\n0 gnu=\n0 pre/fix/old-go=\n"
	            "2 a/long/name -> a/long/link=\n3 header-only=\n",
	            NULL);
}

static void test_numbers(void)
{
	static const struct {
		const char *field;
		size_t len;
		int64_t want;
		bool ok;
	} cases[] = {
	        {"0000644\0", 8, 0644, true},
	        {"   644 \0", 8, 0644, true},
	        {"\0\0\0\0\0\0\0\0", 8, 0, true},
	        {"77777777", 8, 077777777, true},
	        {"\x80\0\0\0\0\0\0\x2a", 8, 42, true},
	        {"\xff\xff\xff\xff\xff\xff\xff\xff", 8, -1, true},
	        {"\xff\xff\xff\xff\xff\xff\xff\xd6", 8, -42, true},
	        {"\x80\x80\0\0\0\0\0\0", 8, INT64_C(0x0080000000000000), true},
	        {"0000008\0", 8, 0, false},
	        {"-000001\0", 8, 0, false},
	        {"0x00001\0", 8, 0, false},
	        {"12 34\0\0\0", 8, 0, false},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		uint8_t b[TAR_BLOCK];
		raw_header(b, USTAR, '0', "f", "00000000000");
		memcpy(b + TAR_F_UID.offset, cases[i].field, 8);
		put_checksum(b);
		BytesSource s = {b, sizeof b, 0};
		g_autoptr(TarReader) r = tar_reader_new(from_bytes, &s);
		const TarHeader *h;
		g_autoptr(GError) error = NULL;
		int got = tar_reader_next(r, &h, &error);
		if (cases[i].ok) {
			g_assert_no_error(error);
			g_assert_cmpint(h->uid, ==, cases[i].want);
		} else {
			g_assert_cmpint(got, ==, -1);
			assert_error_text(error, "archive/tar: invalid tar header");
		}
	}
}

static void test_pax(void)
{
	g_autoptr(GByteArray) a = g_byte_array_new();
	add_pax(a, "16 path=longer\n\n"
	           "14 path=longer\n"
	           "17 linkpath=link\n"
	           "23 size=00000000000007\n"
	           "18 uid=4294967294\n"
	           "12 gid=-005\n"
	           "21 mtime=1234.567891\n"
	           "18 atime=-1.250000\n"
	           "31 SCHILY.xattr.user.key=value\n"
	           "13 comment=x\n");
	add_raw(a, USTAR, '0', "short", "content");
	add_raw(a, USTAR, '0', "next", "");
	BytesSource s = {a->data, a->len, 0};
	g_autoptr(TarReader) r = tar_reader_new(from_bytes, &s);
	const TarHeader *h;
	g_autoptr(GError) error = NULL;
	g_assert_cmpint(tar_reader_next(r, &h, &error), ==, -1); // the first record's length is wrong
	assert_error_text(error, "archive/tar: invalid tar header");

	g_autoptr(GByteArray) good = g_byte_array_new();
	add_pax(good, "15 path=longer\n"
	              "17 linkpath=link\n"
	              "23 size=00000000000007\n"
	              "18 uid=4294967294\n"
	              "12 gid=-005\n"
	              "21 mtime=1234.567891\n"
	              "19 atime=-1.250000\n"
	              "31 SCHILY.xattr.user.key=value\n"
	              "7 gid=\n"
	              "13 comment=x\n");
	add_raw(good, USTAR, '0', "short", "content");
	add_raw(good, USTAR, '0', "next", "");
	BytesSource s2 = {good->data, good->len, 3};
	g_autoptr(TarReader) r2 = tar_reader_new(from_bytes, &s2);
	g_clear_error(&error);
	tar_reader_next(r2, &h, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(h->name, ==, "longer");
	g_assert_cmpstr(h->linkname, ==, "link");
	g_assert_cmpint(h->size, ==, 7);
	g_assert_cmpint(h->uid, ==, 4294967294);
	g_assert_cmpint(h->gid, ==, 0); // an empty record takes the one before back
	g_assert_cmpint(h->mtime.sec, ==, 1234);
	g_assert_cmpint(h->mtime.nsec, ==, 567891000);
	g_assert_cmpint(h->atime.sec, ==, -2);
	g_assert_cmpint(h->atime.nsec, ==, 750000000);
	g_assert_cmpstr(tar_header_record(h, "SCHILY.xattr.user.key")->value, ==, "value");
	g_assert_cmpint(tar_reader_next(r2, &h, NULL), ==, 1);
	g_assert_cmpstr(h->name, ==, "next"); // records are for one entry
	g_assert_cmpuint(h->n_records, ==, 0);
	g_assert_cmpint(tar_reader_next(r2, &h, NULL), ==, 0);
	g_assert_cmpint(tar_reader_next(r2, &h, NULL), ==, 0);
}

static void test_global(void)
{
	g_autoptr(GByteArray) a = g_byte_array_new();
	add_raw(a, USTAR, 'g', "pax_global_header", "52 comment=0123456789012345678901234567890123456789\n");
	add_raw(a, USTAR, '0', "f", "x");
	assert_list(a, "g pax_global_header=\n0 f=x\n", NULL);
}

/* ---- Broken headers ---- */

#define BAD_HEADER "archive/tar: invalid tar header"

static void bad_checksum(GByteArray *a)
{
	add_raw(a, USTAR, '0', "f", "");
	a->data[a->len - TAR_BLOCK + 1] ^= 1;
}
static void bad_garbage(GByteArray *a)
{
	uint8_t b[TAR_BLOCK];
	memset(b, 0xa5, sizeof b);
	g_byte_array_append(a, b, sizeof b);
}
static void bad_after_zero(GByteArray *a)
{
	static const uint8_t zeros[TAR_BLOCK];
	g_byte_array_append(a, zeros, TAR_BLOCK);
	add_raw(a, USTAR, '0', "f", "");
}
static void bad_negative_size(GByteArray *a)
{
	uint8_t b[TAR_BLOCK];
	raw_header(b, USTAR, '0', "f", "");
	memset(b + TAR_F_SIZE.offset, 0xff, 12);
	put_checksum(b);
	g_byte_array_append(a, b, sizeof b);
}
static void bad_huge_size(GByteArray *a)
{
	uint8_t b[TAR_BLOCK];
	raw_header(b, USTAR, '0', "f", "");
	memcpy(b + TAR_F_SIZE.offset, "\x80\0\0\0\x80\0\0\0\0\0\0\0", 12); // 2^63
	put_checksum(b);
	g_byte_array_append(a, b, sizeof b);
}
static void bad_largest_size(GByteArray *a)
{
	uint8_t b[TAR_BLOCK];
	raw_header(b, USTAR, '0', "f", "");
	memcpy(b + TAR_F_SIZE.offset, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
	       12); // 2^63 - 1, not there
	put_checksum(b);
	g_byte_array_append(a, b, sizeof b);
}
static void bad_special_size(GByteArray *a)
{
	uint8_t b[TAR_BLOCK];
	raw_header(b, USTAR, 'x', "x", "00004000001"); // 1 MiB + 1
	g_byte_array_append(a, b, sizeof b);
}
static void bad_long_name_size(GByteArray *a)
{
	uint8_t b[TAR_BLOCK];
	raw_header(b, GNU, 'L', "x", "77777777777");
	g_byte_array_append(a, b, sizeof b);
}
static void bad_pax_nul_key(GByteArray *a)
{
	uint8_t b[TAR_BLOCK] = "10 a\0b=xy\n";
	add_raw(a, USTAR, 'x', "x", "0123456789");
	memcpy(a->data + a->len - TAR_BLOCK, b, 10);
}
static void bad_pax_nul_path(GByteArray *a)
{
	add_raw(a, USTAR, 'x', "x", "12 path=a_b\n");
	a->data[a->len - TAR_BLOCK + 9] = '\0';
}
static void bad_pax_no_newline(GByteArray *a)
{
	add_pax(a, "10 path=abX");
}
static void bad_pax_no_equals(GByteArray *a)
{
	add_pax(a, "10 patheq\n");
}
static void bad_pax_length(GByteArray *a)
{
	add_pax(a, "99 path=a\n");
}
static void bad_pax_length_overflow(GByteArray *a)
{
	add_pax(a, "99999999999999999999 path=a\n");
}
static void bad_pax_length_space(GByteArray *a)
{
	add_pax(a, " 9 path=a\n");
}
static void bad_pax_number(GByteArray *a)
{
	add_pax(a, "11 uid=0x1\n");
	add_raw(a, USTAR, '0', "f", "");
}
static void bad_pax_size(GByteArray *a)
{
	add_pax(a, "11 size=-1\n");
	add_raw(a, USTAR, '0', "f", "");
}
static void bad_pax_time(GByteArray *a)
{
	add_pax(a, "13 mtime=1.x\n");
	add_raw(a, USTAR, '0', "f", "");
}
static void bad_truncated_special(GByteArray *a)
{
	add_pax(a, "11 path=xy\n");
	g_byte_array_set_size(a, a->len - 505);
}

static void test_broken(void)
{
	assert_bad(bad_checksum, BAD_HEADER);
	assert_bad(bad_garbage, BAD_HEADER);
	assert_bad(bad_after_zero, BAD_HEADER);
	assert_bad(bad_negative_size, BAD_HEADER);
	assert_bad(bad_huge_size, BAD_HEADER);
	assert_bad(bad_largest_size, "unexpected EOF");
	assert_bad(bad_special_size, "archive/tar: header field too long");
	assert_bad(bad_long_name_size, "archive/tar: header field too long");
	assert_bad(bad_pax_nul_key, BAD_HEADER);
	assert_bad(bad_pax_nul_path, BAD_HEADER);
	assert_bad(bad_pax_no_newline, BAD_HEADER);
	assert_bad(bad_pax_no_equals, BAD_HEADER);
	assert_bad(bad_pax_length, BAD_HEADER);
	assert_bad(bad_pax_length_overflow, BAD_HEADER);
	assert_bad(bad_pax_length_space, BAD_HEADER);
	assert_bad(bad_pax_number, BAD_HEADER);
	assert_bad(bad_pax_size, BAD_HEADER);
	assert_bad(bad_pax_time, BAD_HEADER);
	assert_bad(bad_truncated_special, "unexpected EOF");
}

/* ---- Sparse files ---- */

static void sparse_0_1(GByteArray *a, const char *map, int n, const char *size)
{
	g_autofree char *rest[] = {g_strdup_printf("GNU.sparse.map=%s\n", map),
	                           g_strdup_printf("GNU.sparse.numblocks=%d\n", n),
	                           g_strdup_printf("GNU.sparse.size=%s\n", size)};
	g_autoptr(GString) records = g_string_new(NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(rest); i++) {
		g_string_append_printf(records, "%zu %s", strlen(rest[i]) + (strlen(rest[i]) > 96 ? 4 : 3),
		                       rest[i]);
		g_clear_pointer(&rest[i], g_free);
	}
	add_pax(a, records->str);
	add_raw(a, USTAR, '0', "sparse", "0123456789");
}

static void test_sparse(void)
{
	static const struct {
		const char *map;
		int n;
		const char *size, *want, *error;
	} cases[] = {
	        {"2,5,9,5", 2, "16", "0 sparse=..01234..56789..\n", NULL},
	        {"0,10", 1, "10", "0 sparse=0123456789\n", NULL},
	        {"0,0,3,10,13,0", 3, "13", "0 sparse=...0123456789\n", NULL},
	        {"2,5,6,5", 2, "16", NULL, BAD_HEADER},  // overlap
	        {"9,5,2,5", 2, "16", NULL, BAD_HEADER},  // order
	        {"2,5,9,8", 2, "16", NULL, BAD_HEADER},  // beyond the size
	        {"-2,5,9,5", 2, "16", NULL, BAD_HEADER}, // negative
	        {"2,5,9,-5", 2, "16", NULL, BAD_HEADER},
	        {"9223372036854775807,9223372036854775807", 1, "16", NULL, BAD_HEADER},
	        {"2,5", 2, "16", NULL, BAD_HEADER}, // count
	        {"2,5,9,5", -1, "16", NULL, BAD_HEADER},
	        {"2,x,9,5", 2, "16", NULL, BAD_HEADER},
	        {"2,5,9,5", 2, "-1", NULL, BAD_HEADER},
	        {"2,5,9,5", 2, "x", NULL, BAD_HEADER},
	        {"2,5,9,6", 2, "16", NULL, "archive/tar: sparse file references non-existent data"},
	        {"2,5,9,4", 2, "16", NULL, "archive/tar: sparse file contains unreferenced data"},
	        {"0,5,9223372036854775802,5", 2, "9223372036854775807", "0 sparse 9223372036854775807\n",
	         NULL},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GByteArray) a = g_byte_array_new();
		sparse_0_1(a, cases[i].map, cases[i].n, cases[i].size);
		assert_list(a, cases[i].want, cases[i].error);
	}
	// format 1.0: the map is in front of the content
	static const struct {
		const char *content, *want, *error;
	} maps[] = {
	        {"1\n3\n4\n", "0 real=...1234.\n", NULL},
	        {"0\n", NULL, "archive/tar: sparse file contains unreferenced data"},
	        {"2\n3\n4\n", NULL, "unexpected EOF"}, // fewer numbers than it says
	        {"x\n3\n4\n", NULL, BAD_HEADER},
	        {"-1\n3\n4\n", NULL, BAD_HEADER},
	        {"99999999999999\n", NULL, BAD_HEADER},
	        {"1\n3\n5\n", NULL, "archive/tar: sparse file references non-existent data"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(maps); i++) {
		g_autoptr(GByteArray) a = g_byte_array_new();
		add_pax(a, "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n24 GNU.sparse.name=real\n"
		           "25 GNU.sparse.realsize=8\n");
		char content[TAR_BLOCK + 5];
		memset(content, '#', sizeof content);
		memcpy(content, maps[i].content, strlen(maps[i].content));
		memcpy(content + TAR_BLOCK, "1234", 5);
		add_raw(a, USTAR, '0', "GNUSparseFile.0/x", content);
		assert_list(a, maps[i].want, maps[i].error);
	}
	// a map without end is bounded
	g_autoptr(GByteArray) a = g_byte_array_new();
	add_pax(a, "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n");
	g_autofree char *ones = g_strnfill(3 << 20, '1');
	add_raw(a, USTAR, '0', "x", ones);
	g_autoptr(GError) error = NULL;
	g_assert_null(list(a, 0, &error));
	assert_error_text(error, "archive/tar: sparse map too long");
}

static void test_read_all_bound(void)
{
	g_autoptr(GByteArray) a = g_byte_array_new();
	add_raw(a, USTAR, '0', "f", "12345");
	BytesSource s = {a->data, a->len, 0};
	g_autoptr(TarReader) r = tar_reader_new(from_bytes, &s);
	const TarHeader *h;
	g_assert_cmpint(tar_reader_next(r, &h, NULL), ==, 1);
	g_autoptr(GError) error = NULL;
	g_autofree char *data = NULL;
	size_t len;
	g_assert_false(tar_reader_read_all(r, 4, &data, &len, &error));
	assert_error_text(error, "size 5 of archive entry is over the limit of 4 bytes");
	g_assert_true(error_is(error, CTRD_ERR_RESOURCE_EXHAUSTED));
	g_assert_true(tar_reader_read_all(r, 5, &data, &len, NULL));
	g_assert_cmpstr(data, ==, "12345");
}

/* ---- Writing ---- */

static bool read_back(Tar *t, const TarHeader **ret, TarReader **ret_reader, BytesSource *s)
{
	*s = (BytesSource){t->bytes->data, t->bytes->len, 0};
	*ret_reader = tar_reader_new(from_bytes, s);
	return tar_reader_next(*ret_reader, ret, NULL) == 1;
}

static void test_writer(void)
{
	static const size_t lens[] = {1, 99, 100, 101, 155, 156, 200, 255, 256, 257, 300, 3000};
	for (size_t i = 0; i < G_N_ELEMENTS(lens); i++)
		for (int kind = 0; kind < 4; kind++) {
			g_autofree char *name = g_strnfill(lens[i], 'n');
			if (kind == 1 && lens[i] > 60)
				name[50] = '/';
			if (kind == 2 && lens[i] > 2)
				name[lens[i] / 2] = '/', name[0] = (char)0xc3, name[1] = (char)0xa4;
			if (kind == 3 && lens[i] > 120)
				name[110] = '/';
			g_auto(Tar) t = tar_begin();
			TarHeader in = {.type = TAR_TYPE_SYMLINK,
			                .name = name,
			                .linkname = name,
			                .mode = 0777,
			                .uid = kind == 1 ? 3000000000 : 1,
			                .gid = 2097151,
			                .mtime = {kind == 3 ? -5 : 1, kind == 2 ? 120 : 0, true}};
			tar_add(&t, in, NULL);
			tar_file(&t, "after", "x", 0644);
			tar_end(&t);
			g_assert_cmpuint(t.bytes->len % TAR_BLOCK, ==, 0);
			const TarHeader *h;
			g_autoptr(TarReader) r = NULL;
			BytesSource s;
			g_assert_true(read_back(&t, &h, &r, &s));
			g_assert_cmpstr(h->name, ==, name);
			g_assert_cmpstr(h->linkname, ==, name);
			g_assert_cmpint(h->uid, ==, in.uid);
			g_assert_cmpint(h->gid, ==, in.gid);
			g_assert_cmpint(h->mtime.sec, ==, in.mtime.sec);
			g_assert_cmpint(h->mtime.nsec, ==, in.mtime.nsec);
			g_assert_cmpint(tar_reader_next(r, &h, NULL), ==, 1);
			g_assert_cmpstr(h->name, ==, "after");
			g_assert_cmpint(tar_reader_next(r, &h, NULL), ==, 0);
		}
}

/* Names of 100 bytes and a few, as Go cuts them into the header of a pax entry: a slash at a cut goes, one
 * that is the end of what is ASCII stays. */
static void test_writer_cut(void)
{
	static const struct {
		const char *tail;
		char last; // byte 99 of the field
	} cases[] = {{"/b", '\0'}, {"/\xc3\xa9", '/'}, {"/\xc3\xa9z", '\0'}, {"a\xc3\xa9z", 'a'}};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *head = g_strnfill(99, 'n');
		g_autofree char *name = g_strconcat(head, cases[i].tail, NULL);
		g_auto(Tar) t = tar_begin();
		// a uid that needs a pax header, so that the name is not split
		tar_add(&t, (TarHeader){.type = TAR_TYPE_REG, .name = name, .uid = 1 << 21}, "");
		g_assert_cmpuint(t.bytes->len, ==, 3 * TAR_BLOCK);
		g_assert_cmpint((char)t.bytes->data[2 * TAR_BLOCK + 99], ==, cases[i].last);
		g_assert_cmpint((char)t.bytes->data[2 * TAR_BLOCK + 98], ==, 'n');
	}
}

/* The name of the pax header itself loses all slashes at its end. */
static void test_writer_pax_name(void)
{
	g_autofree char *head = g_strnfill(98, 'n');
	g_autofree char *name = g_strconcat(head, "/\xc3\xa9/b", NULL);
	g_auto(Tar) t = tar_begin();
	tar_add(&t, (TarHeader){.type = TAR_TYPE_REG, .name = name}, "");
	g_assert_cmpint((char)t.bytes->data[97], ==, 'n');
	g_assert_cmpint(t.bytes->data[98], ==, 0);
	g_assert_cmpint(t.bytes->data[99], ==, 0);
}

static void test_writer_errors(void)
{
	g_auto(Tar) t = tar_begin();
	g_autoptr(GError) error = NULL;
	TarHeader h = {.type = TAR_TYPE_REG, .name = "f", .size = 3};
	g_assert_true(tar_writer_header(t.writer, &h, NULL));
	g_assert_false(tar_writer_data(t.writer, "1234", 4, &error));
	assert_error_text(error, "archive/tar: write too long");
	g_clear_error(&error);
	g_assert_true(tar_writer_data(t.writer, "1", 1, NULL));
	g_assert_false(tar_writer_header(t.writer, &h, &error));
	assert_error_text(error, "archive/tar: missed writing 2 bytes");
	g_clear_error(&error);
	g_assert_true(tar_writer_data(t.writer, "23", 2, NULL));
	h.name = "f/";
	h.size = 0;
	g_assert_false(tar_writer_header(t.writer, &h, &error));
	assert_error_text(error, "archive/tar: cannot encode header: filename may not have trailing slash");
	g_clear_error(&error);
	h.name = "f";
	h.devminor = 1 << 21;
	g_assert_false(tar_writer_header(t.writer, &h, &error));
	g_assert_true(g_str_has_prefix(error->message, "archive/tar: cannot encode header: "));
	g_clear_error(&error);
	tar_end(&t);
	h.devminor = 0;
	g_assert_false(tar_writer_header(t.writer, &h, &error));
	assert_error_text(error, "archive/tar: write after close");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/diff/tar/formats", test_formats);
	g_test_add_func("/diff/tar/numbers", test_numbers);
	g_test_add_func("/diff/tar/pax", test_pax);
	g_test_add_func("/diff/tar/global", test_global);
	g_test_add_func("/diff/tar/broken", test_broken);
	g_test_add_func("/diff/tar/sparse", test_sparse);
	g_test_add_func("/diff/tar/read-all-bound", test_read_all_bound);
	g_test_add_func("/diff/tar/writer", test_writer);
	g_test_add_func("/diff/tar/writer-cut", test_writer_cut);
	g_test_add_func("/diff/tar/writer-pax-name", test_writer_pax_name);
	g_test_add_func("/diff/tar/writer-errors", test_writer_errors);
	return g_test_run();
}
