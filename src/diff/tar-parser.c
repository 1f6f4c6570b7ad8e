// SPDX-License-Identifier: Apache-2.0

#include "diff/tar.h"

#include "base/error.h"
#include "base/util.h"
#include "diff/tar-private.h"

#include <string.h>

typedef enum {
	STATE_HEADER,     // wants a header block
	STATE_ZERO,       // had one block of zeros, wants the second
	STATE_SPECIAL,    // collects the content of a pax header or a long name
	STATE_SPARSE_OLD, // wants a block of more sparse fragments (old GNU format)
	STATE_SPARSE_1_0, // wants a block of the sparse map that precedes the content
	STATE_DATA,       // hands out content
	STATE_PADDING,    // skips to the next block
	STATE_END,
	STATE_FAILED,
} State;

typedef enum { FORMAT_UNKNOWN, FORMAT_V7, FORMAT_USTAR, FORMAT_STAR, FORMAT_GNU } Format;

typedef struct {
	int64_t offset, len;
} Fragment;

struct TarParser {
	State state;
	uint8_t block[TAR_BLOCK];
	size_t have; // bytes of block that are there

	char special_type; // what STATE_SPECIAL collects
	size_t special_len;
	GByteArray *special;
	GByteArray *pax; // content of the last 'x' or 'g' header; records point into it
	GByteArray *long_name, *long_link;
	bool has_pax, has_long_name, has_long_link;

	GArray *records;      // TarRecord
	GString *sparse_list; // offsets and lengths of sparse format 0.0, joined by commas as 0.1 has them
	unsigned n_sparse_list;

	TarHeader header;
	char name[256 + 2], linkname[100 + 1];

	int64_t physical;  // content bytes that are left in the stream
	size_t padding;    // bytes to the next block after them
	int64_t offset;    // of the next content byte in the file
	GArray *fragments; // Fragment, where the entry is sparse
	unsigned fragment;
	int64_t fragment_done;
	uint64_t sparse_newlines, sparse_wanted;
};

TarParser *tar_parser_new(void)
{
	TarParser *p = g_new0(TarParser, 1);
	p->special = g_byte_array_new();
	p->pax = g_byte_array_new();
	p->long_name = g_byte_array_new();
	p->long_link = g_byte_array_new();
	p->records = g_array_new(FALSE, FALSE, sizeof(TarRecord));
	p->fragments = g_array_new(FALSE, FALSE, sizeof(Fragment));
	p->sparse_list = g_string_new(NULL);
	return p;
}

void tar_parser_free(TarParser *p)
{
	if (p == NULL)
		return;
	g_byte_array_unref(p->special);
	g_byte_array_unref(p->pax);
	g_byte_array_unref(p->long_name);
	g_byte_array_unref(p->long_link);
	g_array_unref(p->records);
	g_array_unref(p->fragments);
	g_string_free(p->sparse_list, TRUE);
	g_free(p);
}

static bool bad_header(GError **error)
{
	return error_set(error, CTRD_ERR_UNKNOWN, "archive/tar: invalid tar header");
}

static bool unexpected_eof(GError **error)
{
	return error_set(error, CTRD_ERR_UNKNOWN, "unexpected EOF");
}

/* ---- Numbers and strings ---- */

static bool parse_octal(const uint8_t *b, size_t n, int64_t *ret)
{
	// unused fields are NULs, and some writers pad with spaces: both ends are trimmed
	while (n > 0 && (b[0] == ' ' || b[0] == '\0')) {
		b++;
		n--;
	}
	while (n > 0 && (b[n - 1] == ' ' || b[n - 1] == '\0'))
		n--;
	uint64_t x = 0; // at most 12 digits: no overflow
	for (size_t i = 0; i < n && b[i] != '\0'; i++) {
		if (b[i] < '0' || b[i] > '7')
			return false;
		x = x << 3 | (uint64_t)(b[i] - '0');
	}
	*ret = (int64_t)x;
	return true;
}

/* Octal, or base 256 in two's complement where the first bit is set. */
static bool parse_numeric(const uint8_t *block, TarField f, int64_t *ret)
{
	const uint8_t *b = block + f.offset;
	if ((b[0] & 0x80) == 0)
		return parse_octal(b, f.len, ret);
	// -a-1 == ~a: a negative number is read as its complement
	uint8_t invert = (b[0] & 0x40) != 0 ? 0xff : 0;
	uint64_t x = 0;
	for (size_t i = 0; i < f.len; i++) {
		uint8_t c = b[i] ^ invert;
		if (i == 0)
			c &= 0x7f;
		if (x >> 56 != 0)
			return false;
		x = x << 8 | c;
	}
	if (x >> 63 != 0)
		return false;
	*ret = invert != 0 ? ~(int64_t)x : (int64_t)x;
	return true;
}

/* Go's ParseInt(s, 10, 64) */
static bool parse_decimal(const char *s, size_t n, int64_t *ret)
{
	bool negative = n > 0 && s[0] == '-';
	if (n > 0 && (s[0] == '-' || s[0] == '+')) {
		s++;
		n--;
	}
	if (n == 0)
		return false;
	uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0), x = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(s[i] - '0');
		if (x > (limit - digit) / 10)
			return false;
		x = x * 10 + digit;
	}
	*ret = negative ? (int64_t)(0 - x) : (int64_t)x;
	return true;
}

static bool parse_pax_time(const char *s, size_t n, TarTime *ret)
{
	const char *dot = memchr(s, '.', n);
	size_t whole = dot != NULL ? (size_t)(dot - s) : n;
	int64_t sec;
	if (!parse_decimal(s, whole, &sec))
		return false;
	uint32_t nsec = 0;
	size_t digits = 0;
	for (size_t i = whole + 1; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		if (digits < 9) {
			nsec = nsec * 10 + (uint32_t)(s[i] - '0');
			digits++;
		}
	}
	for (; digits < 9; digits++)
		nsec *= 10;
	if (s[0] == '-' && nsec != 0) {
		if (sec == INT64_MIN)
			return false;
		sec--;
		nsec = 1000000000 - nsec;
	}
	*ret = (TarTime){sec, nsec, true};
	return true;
}

static size_t field_strlen(const uint8_t *block, TarField f)
{
	return strnlen((const char *)block + f.offset, f.len);
}

static bool field_is(const uint8_t *block, TarField f, const char *s)
{
	return memcmp(block + f.offset, s, f.len) == 0;
}

/* ---- The header block ---- */

static Format block_format(const uint8_t *b)
{
	// POSIX sums unsigned bytes, old Sun tar signed ones
	int64_t sum_unsigned = 0, sum_signed = 0, want;
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		sum_unsigned += b[i];
		sum_signed += (int8_t)b[i];
	}
	for (size_t i = TAR_F_CHKSUM.offset; i < TAR_F_CHKSUM.offset + TAR_F_CHKSUM.len; i++) {
		sum_unsigned += ' ' - b[i];
		sum_signed += ' ' - (int8_t)b[i];
	}
	if (!parse_octal(b + TAR_F_CHKSUM.offset, TAR_F_CHKSUM.len, &want) ||
	    (want != sum_unsigned && want != sum_signed))
		return FORMAT_UNKNOWN;
	if (field_is(b, TAR_F_MAGIC, "ustar\0"))
		return field_is(b, TAR_F_STAR_TRAILER, "tar\0") ? FORMAT_STAR : FORMAT_USTAR;
	if (field_is(b, TAR_F_MAGIC, "ustar ") && field_is(b, TAR_F_VERSION, " \0"))
		return FORMAT_GNU;
	return FORMAT_V7;
}

static bool is_header_only(char type)
{
	return type >= TAR_TYPE_LINK && type <= TAR_TYPE_FIFO;
}

/* How much content follows; again after a pax header changed the size. */
static bool set_content(TarParser *p, GError **error)
{
	int64_t n = is_header_only(p->header.type) ? 0 : p->header.size;
	if (n < 0)
		return bad_header(error);
	p->physical = n;
	p->padding = (size_t)(-(uint64_t)n & (TAR_BLOCK - 1));
	p->offset = 0;
	return true;
}

static bool all_ascii(const uint8_t *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] >= 0x80)
			return false;
	return true;
}

static bool parse_seconds(const uint8_t *b, TarField f, TarTime *ret)
{
	*ret = (TarTime){.set = true};
	return parse_numeric(b, f, &ret->sec);
}

/* The fields that V7 does not have. ret_prefix: what goes before the name. */
static bool parse_extended(TarParser *p, Format format, TarField *ret_prefix)
{
	const uint8_t *b = p->block;
	TarHeader *h = &p->header;
	bool ok = parse_numeric(b, TAR_F_DEVMAJOR, &h->devmajor) &&
	          parse_numeric(b, TAR_F_DEVMINOR, &h->devminor);
	if (format == FORMAT_USTAR) {
		*ret_prefix = TAR_F_PREFIX;
	} else if (format == FORMAT_STAR) {
		*ret_prefix = TAR_F_STAR_PREFIX;
		ok = ok && parse_seconds(b, TAR_F_STAR_ATIME, &h->atime) &&
		     parse_seconds(b, TAR_F_STAR_CTIME, &h->ctime);
	} else {
		bool times =
		        (b[TAR_F_GNU_ATIME.offset] == 0 || parse_seconds(b, TAR_F_GNU_ATIME, &h->atime)) &&
		        (b[TAR_F_GNU_CTIME.offset] == 0 || parse_seconds(b, TAR_F_GNU_CTIME, &h->ctime));
		if (!times) {
			// Go before 1.8 wrote a ustar prefix over the times of GNU headers
			h->atime = h->ctime = (TarTime){0};
			if (all_ascii(b + TAR_F_PREFIX.offset, field_strlen(b, TAR_F_PREFIX)))
				*ret_prefix = TAR_F_PREFIX;
		}
	}
	return ok;
}

static bool parse_header(TarParser *p, Format format, GError **error)
{
	const uint8_t *b = p->block;
	p->header = (TarHeader){.type = (char)b[TAR_F_TYPE.offset]};
	TarHeader *h = &p->header;
	bool ok = parse_numeric(b, TAR_F_SIZE, &h->size) && parse_numeric(b, TAR_F_MODE, &h->mode) &&
	          parse_numeric(b, TAR_F_UID, &h->uid) && parse_numeric(b, TAR_F_GID, &h->gid) &&
	          parse_seconds(b, TAR_F_MTIME, &h->mtime);
	TarField prefix = {0, 0};
	if (format != FORMAT_V7)
		ok = ok && parse_extended(p, format, &prefix);
	if (!ok)
		return bad_header(error);

	size_t n = 0;
	if (prefix.len > 0 && (n = field_strlen(b, prefix)) > 0) {
		memcpy(p->name, b + prefix.offset, n);
		p->name[n++] = '/';
	}
	size_t base = field_strlen(b, TAR_F_NAME);
	memcpy(p->name + n, b + TAR_F_NAME.offset, base);
	p->name[n + base] = '\0';
	size_t link = field_strlen(b, TAR_F_LINKNAME);
	memcpy(p->linkname, b + TAR_F_LINKNAME.offset, link);
	p->linkname[link] = '\0';
	h->name = p->name;
	h->linkname = p->linkname;
	h->uname = h->gname = "";
	return set_content(p, error);
}

/* ---- pax ---- */

static bool key_is(const TarRecord *r, const char *key)
{
	return strcmp(r->key, key) == 0;
}

/* "<len> <key>=<value>\n"; the separators become NULs, so that keys and values are strings in place. */
static bool parse_pax_record(char **s, size_t *len, TarRecord *ret)
{
	char *space = memchr(*s, ' ', *len);
	int64_t n;
	if (space == NULL || !parse_decimal(*s, (size_t)(space - *s), &n) || n < 5 || (uint64_t)n > *len)
		return false;
	char *end = *s + n - 1; // the newline
	if (*end != '\n' || space + 1 > end)
		return false;
	char *key = space + 1, *eq = memchr(key, '=', (size_t)(end - key));
	if (eq == NULL || memchr(key, '\0', (size_t)(eq - key)) != NULL)
		return false;
	*eq = *end = '\0';
	*ret = (TarRecord){key, eq + 1, (size_t)(end - eq - 1)};
	// NULs are fine in values, but not in those that become names
	if ((key_is(ret, "path") || key_is(ret, "linkpath") || key_is(ret, "uname") ||
	     key_is(ret, "gname")) &&
	    memchr(ret->value, '\0', ret->len) != NULL)
		return false;
	*s += n;
	*len -= (size_t)n;
	return true;
}

static bool parse_pax(TarParser *p, GError **error)
{
	g_array_set_size(p->records, 0);
	g_string_truncate(p->sparse_list, 0);
	p->n_sparse_list = 0;
	char *s = (char *)p->pax->data;
	size_t len = p->pax->len;
	while (len > 0) {
		TarRecord r;
		if (!parse_pax_record(&s, &len, &r))
			return bad_header(error);
		bool offset = key_is(&r, "GNU.sparse.offset");
		if (!offset && !key_is(&r, "GNU.sparse.numbytes")) {
			g_array_append_val(p->records, r);
			continue;
		}
		// sparse format 0.0: the only keys that may stand more than once, in turns
		if (offset != (p->n_sparse_list % 2 == 0) || memchr(r.value, ',', r.len) != NULL)
			return bad_header(error);
		if (p->n_sparse_list++ > 0)
			g_string_append_c(p->sparse_list, ',');
		g_string_append_len(p->sparse_list, r.value, (gssize)r.len);
	}
	if (p->n_sparse_list > 0) {
		TarRecord r = {"GNU.sparse.map", p->sparse_list->str, p->sparse_list->len};
		g_array_append_val(p->records, r);
	}
	return true;
}

const TarRecord *tar_header_record(const TarHeader *h, const char *key)
{
	for (size_t i = h->n_records; i-- > 0;)
		if (key_is(&h->records[i], key))
			return &h->records[i];
	return NULL;
}

/* The last record of a key where it has a value: an empty one leaves the header's field alone. */
static const TarRecord *record_set(const TarHeader *h, const char *key)
{
	const TarRecord *r = tar_header_record(h, key);
	return r != NULL && r->len > 0 ? r : NULL;
}

static bool merge_number(const TarHeader *h, const char *key, int64_t *ret)
{
	const TarRecord *r = record_set(h, key);
	return r == NULL || parse_decimal(r->value, r->len, ret);
}

static bool merge_time(const TarHeader *h, const char *key, TarTime *ret)
{
	const TarRecord *r = record_set(h, key);
	return r == NULL || parse_pax_time(r->value, r->len, ret);
}

static void merge_string(const TarHeader *h, const char *key, const char **ret)
{
	const TarRecord *r = record_set(h, key);
	if (r != NULL)
		*ret = r->value;
}

static bool merge_pax(TarParser *p, GError **error)
{
	TarHeader *h = &p->header;
	h->n_records = p->records->len;
	if (h->n_records == 0)
		return true;
	h->records = &g_array_index(p->records, TarRecord, 0);
	merge_string(h, "path", &h->name);
	merge_string(h, "linkpath", &h->linkname);
	if (!merge_number(h, "uid", &h->uid) || !merge_number(h, "gid", &h->gid) ||
	    !merge_number(h, "size", &h->size) || !merge_time(h, "mtime", &h->mtime) ||
	    !merge_time(h, "atime", &h->atime) || !merge_time(h, "ctime", &h->ctime))
		return bad_header(error);
	return true;
}

/* ---- Sparse files ---- */

static bool check_fragments(TarParser *p, GError **error)
{
	if (is_header_only(p->header.type) || p->header.size < 0)
		return bad_header(error);
	int64_t end = 0, sum = 0;
	for (unsigned i = 0; i < p->fragments->len; i++) {
		const Fragment *f = &g_array_index(p->fragments, Fragment, i);
		if (f->offset < 0 || f->len < 0 || f->offset > INT64_MAX - f->len ||
		    f->offset + f->len > p->header.size || f->offset < end)
			return bad_header(error);
		end = f->offset + f->len;
		sum += f->len; // in order and apart: at most size
	}
	if (sum > p->physical)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "archive/tar: sparse file references non-existent data");
	if (sum < p->physical)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "archive/tar: sparse file contains unreferenced data");
	p->header.sparse = true;
	return true;
}

/* Fragments of one block of the old format. ret_more: another block follows. */
static bool parse_sparse_old(TarParser *p, size_t at, size_t n, bool *ret_more, GError **error)
{
	const uint8_t *b = p->block;
	for (size_t i = 0; i < n; i++, at += 24) {
		if (b[at] == '\0') { // GNU's and BSD's end of the list
			at += (n - i) * 24;
			break;
		}
		Fragment f;
		if (!parse_numeric(b, (TarField){at, 12}, &f.offset) ||
		    !parse_numeric(b, (TarField){at + 12, 12}, &f.len))
			return bad_header(error);
		g_array_append_val(p->fragments, f);
	}
	*ret_more = b[at] > 0;
	return true;
}

static bool parse_sparse_list(TarParser *p, const char *s, size_t len, char separator, uint64_t n_numbers,
                              GError **error)
{
	const char *end = s + len;
	Fragment f = {0, 0};
	for (uint64_t i = 0; i < n_numbers; i++) {
		if (s == NULL || s > end)
			return bad_header(error);
		const char *stop = memchr(s, separator, (size_t)(end - s));
		size_t n = (size_t)((stop != NULL ? stop : end) - s);
		if (!parse_decimal(s, n, i % 2 == 0 ? &f.offset : &f.len))
			return bad_header(error);
		if (i % 2 == 1)
			g_array_append_val(p->fragments, f);
		s = stop != NULL ? stop + 1 : NULL;
	}
	return true;
}

static bool parse_sparse_0_1(TarParser *p, GError **error)
{
	const TarRecord *blocks = tar_header_record(&p->header, "GNU.sparse.numblocks");
	const TarRecord *map = tar_header_record(&p->header, "GNU.sparse.map");
	int64_t n;
	if (blocks == NULL || !parse_decimal(blocks->value, blocks->len, &n) || n < 0 || n > TAR_SPECIAL_MAX)
		return bad_header(error);
	uint64_t numbers = 0;
	if (map != NULL && map->len > 0) {
		numbers = 1;
		for (size_t i = 0; i < map->len; i++)
			numbers += map->value[i] == ',';
	}
	if (numbers != 2 * (uint64_t)n)
		return bad_header(error);
	return numbers == 0 || parse_sparse_list(p, map->value, map->len, ',', numbers, error);
}

/* Whether the entry is sparse, by its pax records. ret_state: where to go on. */
static bool start_sparse_pax(TarParser *p, State *ret_state, GError **error)
{
	TarHeader *h = &p->header;
	const TarRecord *major = record_set(h, "GNU.sparse.major"),
	                *minor = record_set(h, "GNU.sparse.minor");
	const char *v_major = major != NULL ? major->value : "", *v_minor = minor != NULL ? minor->value : "";
	bool is_1_0 = false;
	if (strcmp(v_major, "0") == 0 && (strcmp(v_minor, "0") == 0 || strcmp(v_minor, "1") == 0))
		is_1_0 = false;
	else if (strcmp(v_major, "1") == 0 && strcmp(v_minor, "0") == 0)
		is_1_0 = true;
	else if (*v_major != '\0' || *v_minor != '\0' || record_set(h, "GNU.sparse.map") == NULL)
		return true; // not sparse, or a version nobody knows: an ordinary file

	merge_string(h, "GNU.sparse.name", &h->name);
	if (strlen(h->name) == 0)
		return bad_header(error);
	const TarRecord *size = record_set(h, "GNU.sparse.size");
	if (size == NULL)
		size = record_set(h, "GNU.sparse.realsize");
	if (size != NULL && !parse_decimal(size->value, size->len, &h->size))
		return bad_header(error);
	if (is_1_0) {
		*ret_state = STATE_SPARSE_1_0;
		p->sparse_newlines = 0;
		p->sparse_wanted = 1;
		g_byte_array_set_size(p->special, 0);
		return true;
	}
	return parse_sparse_0_1(p, error) && check_fragments(p, error);
}

/* The map of format 1.0 is text in front of the content: the number of fragments, then offsets and lengths, a
 * number to a line, padded to a block. */
static bool feed_sparse_1_0(TarParser *p, GError **error)
{
	if (p->special->len + TAR_BLOCK > TAR_SPECIAL_MAX)
		return error_set(error, CTRD_ERR_UNKNOWN, "archive/tar: sparse map too long");
	p->physical -= TAR_BLOCK;
	g_byte_array_append(p->special, p->block, TAR_BLOCK);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		p->sparse_newlines += p->block[i] == '\n';
	const char *s = (const char *)p->special->data;
	const char *first_end = memchr(s, '\n', p->special->len);
	if (first_end == NULL)
		return true;
	int64_t n;
	if (!parse_decimal(s, (size_t)(first_end - s), &n) || n < 0 || n > TAR_SPECIAL_MAX)
		return bad_header(error);
	p->sparse_wanted = 1 + 2 * (uint64_t)n;
	if (p->sparse_newlines < p->sparse_wanted)
		return true;
	const char *list = first_end + 1;
	if (!parse_sparse_list(p, list, p->special->len - (size_t)(list - s), '\n', 2 * (uint64_t)n, error) ||
	    !check_fragments(p, error))
		return false;
	p->state = STATE_DATA;
	return true;
}

/* ---- Entries ---- */

static void forget_special(TarParser *p)
{
	p->has_pax = p->has_long_name = p->has_long_link = false;
}

/* A header of a thing itself: what preceded it is put in. */
static bool start_entry(TarParser *p, GError **error)
{
	TarHeader *h = &p->header;
	if (!p->has_pax)
		g_array_set_size(p->records, 0);
	if (!merge_pax(p, error))
		return false;
	if (p->has_long_name && p->long_name->data[0] != '\0')
		h->name = (const char *)p->long_name->data;
	if (p->has_long_link && p->long_link->data[0] != '\0')
		h->linkname = (const char *)p->long_link->data;
	if (h->type == '\0')
		h->type = g_str_has_suffix(h->name, "/") ? TAR_TYPE_DIR : TAR_TYPE_REG;
	if (!set_content(p, error))
		return false;
	forget_special(p);
	g_array_set_size(p->fragments, 0);
	p->fragment = 0;
	p->fragment_done = 0;
	p->state = STATE_DATA;
	if (h->type != TAR_TYPE_GNU_SPARSE)
		return start_sparse_pax(p, &p->state, error);

	bool more;
	if (block_format(p->block) != FORMAT_GNU || !parse_numeric(p->block, TAR_F_GNU_REALSIZE, &h->size))
		return bad_header(error);
	if (!parse_sparse_old(p, TAR_GNU_SPARSE_OFFSET, TAR_GNU_SPARSE_ENTRIES, &more, error))
		return false;
	if (more)
		p->state = STATE_SPARSE_OLD;
	return more || check_fragments(p, error);
}

static bool start_special(TarParser *p, GError **error)
{
	if (p->physical > TAR_SPECIAL_MAX)
		return error_set(error, CTRD_ERR_UNKNOWN, "archive/tar: header field too long");
	p->special_type = p->header.type;
	p->special_len = (size_t)p->physical;
	g_byte_array_set_size(p->special, 0);
	p->state = STATE_SPECIAL;
	return true;
}

/* The content of a special entry is complete. ret_entry: it is an event of its own (global header). */
static bool end_special(TarParser *p, bool *ret_entry, GError **error)
{
	p->physical = 0;
	p->state = STATE_PADDING;
	GByteArray **to = p->special_type == 'L'   ? &p->long_name
	                  : p->special_type == 'K' ? &p->long_link
	                                           : &p->pax;
	GByteArray *old = *to;
	*to = p->special;
	p->special = old;
	if (p->special_type == 'L' || p->special_type == 'K') {
		g_byte_array_append(*to, (const uint8_t *)"", 1);
		*(p->special_type == 'L' ? &p->has_long_name : &p->has_long_link) = true;
		return true;
	}
	if (!parse_pax(p, error))
		return false;
	p->has_pax = true;
	if (p->special_type == TAR_TYPE_GLOBAL) {
		if (!merge_pax(p, error))
			return false;
		forget_special(p);
		p->header.size = 0;
		*ret_entry = true;
	}
	return true;
}

static bool is_zero_block(const uint8_t *b)
{
	return b[0] == 0 && memcmp(b, b + 1, TAR_BLOCK - 1) == 0;
}

/* A complete block in a state that wants one. ret_entry: the header is complete. */
static bool take_block(TarParser *p, bool *ret_entry, GError **error)
{
	bool more;
	switch (p->state) {
	case STATE_ZERO:
		if (!is_zero_block(p->block))
			return bad_header(error);
		p->state = STATE_END;
		return true;
	case STATE_SPARSE_OLD:
		if (p->fragments->len > TAR_SPECIAL_MAX / 24)
			return error_set(error, CTRD_ERR_UNKNOWN, "archive/tar: sparse map too long");
		if (!parse_sparse_old(p, 0, TAR_GNU_SPARSE_EXT_ENTRIES, &more, error))
			return false;
		if (more)
			return true;
		p->state = STATE_DATA;
		*ret_entry = true;
		return check_fragments(p, error);
	case STATE_SPARSE_1_0:
		if (!feed_sparse_1_0(p, error))
			return false;
		*ret_entry = p->state == STATE_DATA;
		return true;
	default:
		break;
	}
	if (is_zero_block(p->block)) {
		p->state = STATE_ZERO;
		return true;
	}
	Format format = block_format(p->block);
	if (format == FORMAT_UNKNOWN)
		return bad_header(error);
	if (!parse_header(p, format, error))
		return false;
	switch (p->header.type) {
	case 'x':
	case TAR_TYPE_GLOBAL:
	case 'L':
	case 'K':
		return start_special(p, error);
	default:
		if (!start_entry(p, error))
			return false;
		*ret_entry = p->state == STATE_DATA;
		return true;
	}
}

/* The next piece of content; false where all of it was handed out. */
static bool next_data(TarParser *p, const uint8_t **data, size_t *len, TarEventData *ret)
{
	uint64_t n = MIN((uint64_t)*len, (uint64_t)p->physical);
	int64_t offset = p->offset;
	if (p->header.sparse) {
		const Fragment *f = NULL;
		while (p->fragment < p->fragments->len) {
			f = &g_array_index(p->fragments, Fragment, p->fragment);
			if (p->fragment_done < f->len)
				break;
			p->fragment++;
			p->fragment_done = 0;
			f = NULL;
		}
		if (f == NULL)
			return false;
		n = MIN(n, (uint64_t)(f->len - p->fragment_done));
		offset = f->offset + p->fragment_done;
		p->fragment_done += (int64_t)n;
	}
	ret->data = *data;
	ret->len = (size_t)n;
	ret->offset = offset;
	*data += n;
	*len -= (size_t)n;
	p->physical -= (int64_t)n;
	p->offset += (int64_t)n;
	return true;
}

static bool fill_block(TarParser *p, const uint8_t **data, size_t *len)
{
	size_t n = MIN(*len, TAR_BLOCK - p->have);
	if (n == 0)
		return false;
	memcpy(p->block + p->have, *data, n);
	p->have += n;
	*data += n;
	*len -= n;
	if (p->have < TAR_BLOCK)
		return false;
	p->have = 0;
	return true;
}

/* One step of a state that looks at no content. false: no event yet and no more input. */
static bool step(TarParser *p, const uint8_t **data, size_t *len, bool eof, bool *ret_entry, GError **error)
{
	size_t n;
	switch (p->state) {
	case STATE_PADDING:
		n = MIN(*len, p->padding);
		*data += n;
		*len -= n;
		p->padding -= n;
		if (p->padding > 0 && !eof)
			return false;
		p->state = p->padding > 0 ? STATE_END : STATE_HEADER; // a cut padding is fine
		return true;
	case STATE_SPECIAL:
		n = MIN(*len, p->special_len - p->special->len);
		g_byte_array_append(p->special, *data, (guint)n);
		*data += n;
		*len -= n;
		if (p->special->len < p->special_len)
			return eof ? unexpected_eof(error) : false;
		return end_special(p, ret_entry, error);
	case STATE_SPARSE_1_0:
		if (p->physical < TAR_BLOCK)
			return unexpected_eof(error);
		break;
	default:
		break;
	}
	if (!fill_block(p, data, len)) {
		if (!eof)
			return false;
		if (p->have == 0 && (p->state == STATE_HEADER || p->state == STATE_ZERO)) {
			p->state = STATE_END;
			return true;
		}
		return unexpected_eof(error);
	}
	return take_block(p, ret_entry, error);
}

TarEvent tar_parser_next(TarParser *p, const uint8_t **data, size_t *len, bool eof, TarEventData *ret,
                         GError **error)
{
	*ret = (TarEventData){.header = &p->header};
	while (true) {
		if (p->state == STATE_FAILED) {
			bad_header(error);
			return TAR_ERROR;
		}
		if (p->state == STATE_END)
			return TAR_END;
		if (p->state == STATE_DATA) {
			if (p->physical == 0) {
				p->state = STATE_PADDING;
				continue;
			}
			if (*len == 0) {
				if (!eof)
					return TAR_MORE;
				p->state = STATE_FAILED;
				unexpected_eof(error);
				return TAR_ERROR;
			}
			if (next_data(p, data, len, ret)) {
				ret->last = p->physical == 0;
				return TAR_DATA;
			}
			p->state = STATE_PADDING;
			continue;
		}
		bool entry = false;
		GError *err = NULL;
		if (!step(p, data, len, eof, &entry, &err)) {
			if (err == NULL)
				return TAR_MORE;
			p->state = STATE_FAILED;
			g_propagate_error(error, err);
			return TAR_ERROR;
		}
		if (entry) {
			ret->last = p->physical == 0;
			return TAR_ENTRY;
		}
	}
}
