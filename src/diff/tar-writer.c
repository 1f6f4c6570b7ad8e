// SPDX-License-Identifier: Apache-2.0

#include "diff/tar.h"

#include "base/error.h"
#include "base/util.h"
#include "diff/tar-private.h"

#include <string.h>

struct TarWriter {
	ByteSink sink;
	void *sink_data;
	int64_t left; // content that must still come
	size_t padding;
	bool finished;
};

static const uint8_t zeros[2 * TAR_BLOCK];

TarWriter *tar_writer_new(ByteSink sink, void *data)
{
	TarWriter *w = g_new0(TarWriter, 1);
	w->sink = sink;
	w->sink_data = data;
	return w;
}

void tar_writer_free(TarWriter *w)
{
	g_free(w);
}

static bool is_ascii(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s >= 0x80)
			return false;
	return true;
}

static bool fits_octal(TarField f, int64_t x)
{
	return x >= 0 && (uint64_t)x < UINT64_C(1) << ((f.len - 1) * 3);
}

static void put_octal(uint8_t *block, TarField f, int64_t x)
{
	char text[32];
	if (!fits_octal(f, x))
		x = 0; // the pax record has it
	g_snprintf(text, sizeof text, "%0*llo", (int)f.len - 1, (unsigned long long)x);
	memcpy(block + f.offset, text, f.len); // with its NUL
}

/* As much of the string as fits; bytes that are not ASCII are left out, the pax record has the name. Returns
 * the length, *ret_cut: there was more. */
static size_t copy_ascii(uint8_t *block, TarField f, const char *s, bool *ret_cut)
{
	size_t n = 0;
	*ret_cut = false;
	for (; *s != '\0' && !*ret_cut; s++) {
		if ((unsigned char)*s >= 0x80)
			continue;
		if (n < f.len)
			block[f.offset + n++] = (uint8_t)*s;
		else
			*ret_cut = true;
	}
	return n;
}

static void put_ascii(uint8_t *block, TarField f, const char *s)
{
	bool cut;
	size_t n = copy_ascii(block, f, s, &cut);
	// some readers take a cut name that ends in a slash for that of a directory
	if (cut && block[f.offset + n - 1] == '/') {
		while (n > 0 && block[f.offset + n - 1] == '/')
			n--;
		block[f.offset + n] = '\0';
	}
}

static bool write_block(TarWriter *w, uint8_t *b, int64_t size, GError **error)
{
	memcpy(b + TAR_F_MAGIC.offset, "ustar\0", 6);
	memcpy(b + TAR_F_VERSION.offset, "00", 2);
	memset(b + TAR_F_CHKSUM.offset, ' ', TAR_F_CHKSUM.len);
	unsigned sum = 0;
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += b[i];
	put_octal(b, (TarField){TAR_F_CHKSUM.offset, 7}, sum); // the eighth byte stays a space
	w->left = size;
	w->padding = (size_t)(-(uint64_t)size & (TAR_BLOCK - 1));
	return w->sink(w->sink_data, b, TAR_BLOCK, error);
}

static bool flush(TarWriter *w, GError **error)
{
	if (w->left > 0)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "archive/tar: missed writing %" G_GINT64_FORMAT " bytes", w->left);
	size_t n = w->padding;
	w->padding = 0;
	return n == 0 || w->sink(w->sink_data, zeros, n, error);
}

/* Where ustar may cut a long name in two: at a slash, 155 and 100 bytes at most. */
static bool split_name(const char *name, size_t *ret_prefix)
{
	size_t len = strlen(name), length = len;
	if (len <= TAR_F_NAME.len || !is_ascii(name))
		return false;
	if (length > TAR_F_PREFIX.len + 1)
		length = TAR_F_PREFIX.len + 1;
	else if (name[length - 1] == '/')
		length--;
	const char *slash = memrchr(name, '/', length);
	if (slash == NULL || slash == name)
		return false;
	size_t prefix = (size_t)(slash - name), rest = len - prefix - 1;
	if (rest > TAR_F_NAME.len || rest == 0 || prefix > TAR_F_PREFIX.len)
		return false;
	*ret_prefix = prefix;
	return true;
}

/* ---- pax records ---- */

typedef struct {
	GHashTable *values; // key -> GString
} Pax;

static void free_gstring(void *s)
{
	g_string_free(s, TRUE);
}

static void pax_clear(Pax *p)
{
	g_clear_pointer(&p->values, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pax, pax_clear)

static void pax_put(Pax *p, const char *key, const char *value, size_t len)
{
	if (p->values == NULL)
		p->values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_gstring);
	g_hash_table_replace(p->values, g_strdup(key), g_string_new_len(value, (gssize)len));
}

static void pax_number(Pax *p, const char *key, TarField f, int64_t x)
{
	if (fits_octal(f, x))
		return;
	g_autofree char *s = g_strdup_printf("%" G_GINT64_FORMAT, x);
	pax_put(p, key, s, strlen(s));
}

/* Go's formatPAXTime: "-1.5" is one and a half second before the epoch */
static void pax_time(Pax *p, const char *key, TarTime t)
{
	int64_t sec = t.sec;
	uint32_t nsec = t.nsec;
	if (nsec == 0) {
		g_autofree char *s = g_strdup_printf("%" G_GINT64_FORMAT, sec);
		pax_put(p, key, s, strlen(s));
		return;
	}
	const char *sign = "";
	if (sec < 0) {
		sign = "-";
		sec = -(sec + 1);
		nsec = 1000000000 - nsec;
	}
	g_autofree char *s = g_strdup_printf("%s%" G_GINT64_FORMAT ".%09u", sign, sec, nsec);
	size_t n = strlen(s);
	while (s[n - 1] == '0')
		n--;
	pax_put(p, key, s, n);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void append_record(GString *out, const char *key, const GString *value)
{
	size_t rest = strlen(key) + value->len + 3, size = rest; // ' ', '=' and the newline
	char digits[24];
	do { // the length counts its own digits
		g_snprintf(digits, sizeof digits, "%zu", size);
		size_t with = rest + strlen(digits);
		if (with == size)
			break;
		size = with;
	} while (true);
	g_string_append_printf(out, "%s %s=", digits, key);
	g_string_append_len(out, value->str, (gssize)value->len);
	g_string_append_c(out, '\n');
}

static bool is_basic_key(const char *key)
{
	static const char *const keys[] = {"path",  "linkpath", "size",  "uid",   "gid",
	                                   "uname", "gname",    "mtime", "atime", "ctime"};
	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return g_str_has_prefix(key, "GNU.sparse.");
}

/* "<dir>/PaxHeaders.0/<file>" as Go's path.Join makes it of the entry's name */
static char *pax_header_name(const char *name)
{
	const char *slash = strrchr(name, '/');
	g_autofree char *dir = slash != NULL ? g_strndup(name, (size_t)(slash - name)) : g_strdup("");
	const char *file = slash != NULL ? slash + 1 : name;
	GString *s = g_string_new(dir);
	if (s->len > 0 || slash == name)
		g_string_append_c(s, '/');
	g_string_append(s, "PaxHeaders.0");
	if (*file != '\0')
		g_string_append_printf(s, "/%s", file);
	return g_string_free(s, FALSE);
}

static bool write_pax(TarWriter *w, Pax *p, const char *name, GError **error)
{
	g_autoptr(GPtrArray) keys = g_ptr_array_new();
	GHashTableIter iter;
	void *key;
	g_hash_table_iter_init(&iter, p->values);
	while (g_hash_table_iter_next(&iter, &key, NULL))
		g_ptr_array_add(keys, key);
	g_ptr_array_sort(keys, compare_keys);
	g_autoptr(GString) text = g_string_new(NULL);
	for (unsigned i = 0; i < keys->len; i++)
		append_record(text, keys->pdata[i], g_hash_table_lookup(p->values, keys->pdata[i]));
	if (text->len > TAR_SPECIAL_MAX)
		return error_set(error, CTRD_ERR_UNKNOWN, "archive/tar: header field too long");

	uint8_t b[TAR_BLOCK] = {0};
	g_autofree char *pax_name = pax_header_name(name);
	bool cut;
	size_t n = copy_ascii(b, TAR_F_NAME, pax_name, &cut);
	while (n > 0 && b[n - 1] == '/') // cut or not: Go trims this name
		b[--n] = '\0';
	put_octal(b, TAR_F_MODE, 0);
	put_octal(b, TAR_F_UID, 0);
	put_octal(b, TAR_F_GID, 0);
	put_octal(b, TAR_F_SIZE, (int64_t)text->len);
	put_octal(b, TAR_F_MTIME, 0);
	b[TAR_F_TYPE.offset] = 'x';
	return write_block(w, b, (int64_t)text->len, error) &&
	       tar_writer_data(w, text->str, text->len, error) && flush(w, error);
}

/* ---- Entries ---- */

static bool cannot_encode(GError **error, const char *what, int64_t x)
{
	return error_set(error, CTRD_ERR_UNKNOWN,
	                 "archive/tar: cannot encode header: USTAR cannot encode %s=%" G_GINT64_FORMAT
	                 "; and PAX cannot encode %s=%" G_GINT64_FORMAT,
	                 what, x, what, x);
}

/* What the header block cannot hold goes into records. ret_prefix: ustar's cut, 0 for none. */
static bool gather_records(const TarHeader *h, Pax *pax, size_t *ret_prefix, GError **error)
{
	*ret_prefix = 0;
	const char *link = str_or(h->linkname, "");
	if ((strlen(h->name) > TAR_F_NAME.len || !is_ascii(h->name)) && !split_name(h->name, ret_prefix))
		pax_put(pax, "path", h->name, strlen(h->name));
	if (strlen(link) > TAR_F_LINKNAME.len || !is_ascii(link))
		pax_put(pax, "linkpath", link, strlen(link));
	if (!fits_octal(TAR_F_MODE, h->mode))
		return cannot_encode(error, "Mode", h->mode);
	if (!fits_octal(TAR_F_DEVMAJOR, h->devmajor))
		return cannot_encode(error, "Devmajor", h->devmajor);
	if (!fits_octal(TAR_F_DEVMINOR, h->devminor))
		return cannot_encode(error, "Devminor", h->devminor);
	pax_number(pax, "uid", TAR_F_UID, h->uid);
	pax_number(pax, "gid", TAR_F_GID, h->gid);
	pax_number(pax, "size", TAR_F_SIZE, h->size);
	if (h->mtime.set && (h->mtime.nsec != 0 || !fits_octal(TAR_F_MTIME, h->mtime.sec)))
		pax_time(pax, "mtime", h->mtime);
	if (h->atime.set)
		pax_time(pax, "atime", h->atime);
	if (h->ctime.set)
		pax_time(pax, "ctime", h->ctime);
	for (size_t i = 0; i < h->n_records; i++) {
		const TarRecord *r = &h->records[i];
		if (!is_basic_key(r->key))
			pax_put(pax, r->key, r->value, r->len);
	}
	// a name that was cut for ustar but needs a pax header for something else is cut by no one: Go writes
	// the first 100 bytes and a record
	if (pax->values != NULL && *ret_prefix > 0) {
		*ret_prefix = 0;
		pax_put(pax, "path", h->name, strlen(h->name));
	}
	return true;
}

bool tar_writer_header(TarWriter *w, const TarHeader *h, GError **error)
{
	if (w->finished)
		return error_set(error, CTRD_ERR_UNKNOWN, "archive/tar: write after close");
	if (!flush(w, error))
		return false;
	bool directory_like =
	        h->type == TAR_TYPE_DIR || h->type == TAR_TYPE_LINK || h->type == TAR_TYPE_SYMLINK;
	if (!directory_like && g_str_has_suffix(h->name, "/"))
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "archive/tar: cannot encode header: filename may not have trailing slash");
	if (h->size < 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "archive/tar: cannot encode header: negative size");
	g_auto(Pax) pax = {0};
	size_t prefix;
	if (!gather_records(h, &pax, &prefix, error))
		return false;
	if (pax.values != NULL && !write_pax(w, &pax, h->name, error))
		return false;

	uint8_t b[TAR_BLOCK] = {0};
	put_ascii(b, TAR_F_NAME, prefix > 0 ? h->name + prefix + 1 : h->name);
	if (prefix > 0)
		memcpy(b + TAR_F_PREFIX.offset, h->name, prefix);
	put_ascii(b, TAR_F_LINKNAME, str_or(h->linkname, ""));
	put_octal(b, TAR_F_MODE, h->mode);
	put_octal(b, TAR_F_UID, h->uid);
	put_octal(b, TAR_F_GID, h->gid);
	put_octal(b, TAR_F_SIZE, h->size);
	put_octal(b, TAR_F_MTIME, h->mtime.set ? h->mtime.sec : 0);
	put_octal(b, TAR_F_DEVMAJOR, h->devmajor);
	put_octal(b, TAR_F_DEVMINOR, h->devminor);
	b[TAR_F_TYPE.offset] = (uint8_t)h->type;
	return write_block(w, b, h->type == TAR_TYPE_REG ? h->size : 0, error);
}

bool tar_writer_data(TarWriter *w, const void *buf, size_t len, GError **error)
{
	if ((uint64_t)w->left < len)
		return error_set(error, CTRD_ERR_UNKNOWN, "archive/tar: write too long");
	w->left -= (int64_t)len;
	return len == 0 || w->sink(w->sink_data, buf, len, error);
}

bool tar_writer_file(TarWriter *w, const char *name, int64_t mode, TarTime mtime, const void *buf, size_t len,
                     GError **error)
{
	TarHeader h = {
	        .type = TAR_TYPE_REG, .name = name, .mode = mode, .mtime = mtime, .size = (int64_t)len};
	return tar_writer_header(w, &h, error) && tar_writer_data(w, buf, len, error);
}

bool tar_writer_finish(TarWriter *w, GError **error)
{
	if (w->finished)
		return true;
	if (!flush(w, error))
		return false;
	w->finished = true;
	return w->sink(w->sink_data, zeros, sizeof zeros, error);
}
