// SPDX-License-Identifier: Apache-2.0
#include "transfer/test-world.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "loop/lock.h"
#include "oci/media-types.h"
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- The registry ---- */

static GBytes *find(World *w, const char *digest, char **ret_type)
{
	LOCK_SCOPE(&w->lock);
	GBytes *b = g_hash_table_lookup(w->blobs, digest);
	*ret_type = g_strdup(str_or(g_hash_table_lookup(w->types, digest), "application/octet-stream"));
	return b != NULL ? g_bytes_ref(b) : NULL;
}

static void serve_bytes(World *w, TestRequest *r, const char *digest)
{
	g_autofree char *type = NULL;
	g_autoptr(GBytes) b = find(w, digest, &type);
	if (b == NULL) {
		test_reply_text(r, 404, "",
		                "{\"errors\":[{\"code\":\"BLOB_UNKNOWN\",\"message\":\"blob unknown\"}]}");
		return;
	}
	bool blob = strstr(r->path, "/blobs/") != NULL;
	if (blob && g_str_equal(r->method, "GET")) {
		LOCK_SCOPE(&w->lock);
		unsigned n = GPOINTER_TO_UINT(g_hash_table_lookup(w->gets, digest));
		g_hash_table_insert(w->gets, g_strdup(digest), GUINT_TO_POINTER(n + 1));
	}
	BlobHook hook = w->hook;
	if (blob && g_str_equal(r->method, "GET") && hook != NULL && hook(w, r, digest, b))
		return;
	gsize size = 0;
	const char *data = g_bytes_get_data(b, &size);
	const char *range = test_header(r, "Range");
	gsize from = range != NULL ? (gsize)g_ascii_strtoull(range + strlen("bytes="), NULL, 10) : 0;
	g_autofree char *headers = g_strdup_printf(
	        "Content-Type: %s\r\nDocker-Content-Digest: %s\r\n%s%" G_GSIZE_FORMAT "-%" G_GSIZE_FORMAT
	        "/%" G_GSIZE_FORMAT "\r\n",
	        type, digest, from > 0 ? "Content-Range: bytes " : "X-None: ", from, size - 1, size);
	test_reply(r, from > 0 ? 206 : 200, headers, data + from, size - from);
}

static void serve_upload(World *w, TestRequest *r)
{
	if (g_str_equal(r->method, "POST")) {
		test_reply_text(r, 202, "Location: /v2/a/b/blobs/uploads/1\r\n", "");
		return;
	}
	g_autofree char *digest = digest_bytes(r->body, r->body_len);
	LOCK_SCOPE(&w->lock);
	g_hash_table_insert(w->uploads, g_strdup(digest), g_bytes_new(r->body, r->body_len));
	test_reply_text(r, 201, "", "");
}

static void handler(TestRequest *r, void *data)
{
	World *w = data;
	const char *last = strrchr(r->path, '/') + 1;
	if (g_str_equal(r->method, "PUT") || g_str_equal(r->method, "POST")) {
		serve_upload(w, r);
		return;
	}
	g_autofree char *tagged = NULL;
	{
		LOCK_SCOPE(&w->lock);
		tagged = g_strdup(g_hash_table_lookup(w->tags, last));
	}
	serve_bytes(w, r, tagged != NULL ? tagged : last);
}

/* ---- The store ---- */

static char *sub(World *w, const char *name)
{
	return g_build_filename(w->dir, name, NULL);
}

static void add_platform(World *w, Snapshotter *s)
{
	g_auto(Platform) p = {0};
	g_assert_true(platform_parse("linux/amd64", &p, NULL));
	g_ptr_array_add(w->platforms, unpack_platform_new(platform_matcher_only(&p), s, w->differ));
}

World *world_new(void)
{
	g_autoptr(GError) error = NULL;
	World *w = g_new0(World, 1);
	w->dir = g_dir_make_tmp("ctrd-transfer-XXXXXX", NULL);
	lock_init(&w->lock, "world", LOCK_RANK_DAEMON);
	w->blobs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
	w->uploads = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
	w->types = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	w->tags = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	w->gets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	w->progress = g_string_new(NULL);
	w->server = test_server_new(handler, w);
	g_autofree char *db = sub(w, "meta.sqlite"), *content = sub(w, "content"),
	                *overlay = sub(w, "overlayfs"), *native = sub(w, "native");
	w->db = meta_open(db, &(MetaOptions){.no_sync = true}, &error);
	g_assert_no_error(error);
	w->backend = content_local_new(content, &error);
	g_assert_no_error(error);
	w->content = content_meta_new(w->db, w->backend);
	SnapshotDriver *d = snapshot_native_new(native, &error);
	g_assert_no_error(error);
	w->native = snapshotter_local_new(w->db, "native", d, &error);
	g_assert_no_error(error);
	w->differ = differ_walking_new(w->content, NULL);
	w->platforms = g_ptr_array_new_with_free_func((GDestroyNotify)unpack_platform_free);
	d = snapshot_overlayfs_new(overlay, &(OverlayOptions){0}, &error);
	if (d != NULL) {
		w->overlayfs = snapshotter_local_new(w->db, "overlayfs", d, &error);
		g_assert_no_error(error);
		add_platform(w, w->overlayfs);
	}
	add_platform(w, w->native);
	TransferConfig config = {
	        .content = w->content,
	        .db = w->db,
	        .unpack_platforms = w->platforms,
	};
	w->transfer = transfer_new(&config);
	w->ctx = (Ctx){.ns = "testing"};
	return w;
}

void world_free(World *w)
{
	transfer_free(w->transfer);
	g_ptr_array_unref(w->platforms);
	differ_free(w->differ);
	if (w->overlayfs != NULL)
		snapshotter_free(w->overlayfs);
	snapshotter_free(w->native);
	content_store_free(w->content);
	content_store_free(w->backend);
	meta_close(w->db);
	test_server_free(w->server);
	g_hash_table_unref(w->blobs);
	g_hash_table_unref(w->uploads);
	g_hash_table_unref(w->types);
	g_hash_table_unref(w->tags);
	g_hash_table_unref(w->gets);
	g_string_free(w->progress, TRUE);
	lock_destroy(&w->lock);
	g_assert_true(tree_remove(w->dir, NULL));
	g_free(w->dir);
	g_free(w);
}

/* ---- Images ---- */

static bool append(void *data, const void *buf, size_t len, GError **error)
{
	g_byte_array_append(data, buf, (guint)len);
	return true;
}

static void tar_entry(TarWriter *t, const char *entry)
{
	g_autoptr(GError) error = NULL;
	const char *arrow = strstr(entry, "->"), *equal = strchr(entry, '=');
	g_autofree char *name = NULL;
	TarHeader h = {.mode = 0644, .linkname = "", .type = TAR_TYPE_REG};
	if (arrow != NULL) {
		name = g_strndup(entry, (size_t)(arrow - entry));
		h.type = TAR_TYPE_SYMLINK;
		h.linkname = arrow + 2;
	} else if (equal != NULL) {
		name = g_strndup(entry, (size_t)(equal - entry));
		h.size = (int64_t)strlen(equal + 1);
	} else {
		name = g_strdup(entry);
		if (g_str_has_suffix(entry, "/")) {
			h.type = TAR_TYPE_DIR;
			h.mode = 0750;
		}
	}
	h.name = name;
	tar_writer_header(t, &h, &error);
	g_assert_no_error(error);
	if (h.size > 0)
		g_assert_true(tar_writer_data(t, equal + 1, (size_t)h.size, NULL));
}

GBytes *world_tar(const char *const *entries)
{
	GByteArray *out = g_byte_array_new();
	g_autoptr(TarWriter) t = tar_writer_new(append, out);
	for (size_t i = 0; entries[i] != NULL; i++)
		tar_entry(t, entries[i]);
	g_assert_true(tar_writer_finish(t, NULL));
	return g_byte_array_free_to_bytes(out);
}

GBytes *world_compress(GBytes *tar, Compression c)
{
	GByteArray *out = g_byte_array_new();
	g_autoptr(Compressor) z = compressor_new(c, append, out);
	gsize len = 0;
	const void *data = g_bytes_get_data(tar, &len);
	g_assert_true(compressor_write(z, data, len, NULL) && compressor_finish(z, NULL));
	return g_byte_array_free_to_bytes(out);
}

char *world_put(World *w, const char *media_type, GBytes *bytes)
{
	gsize len = 0;
	const void *data = g_bytes_get_data(bytes, &len);
	char *digest = digest_bytes(data, len);
	LOCK_SCOPE(&w->lock);
	g_hash_table_insert(w->blobs, g_strdup(digest), g_bytes_ref(bytes));
	if (media_type != NULL)
		g_hash_table_insert(w->types, g_strdup(digest), g_strdup(media_type));
	return digest;
}

static void put_text(World *w, const char *media_type, const char *text, Descriptor *ret)
{
	g_autoptr(GBytes) b = g_bytes_new(text, strlen(text));
	*ret = (Descriptor){.media_type = g_strdup(media_type),
	                    .digest = world_put(w, media_type, b),
	                    .size = (int64_t)strlen(text)};
}

void world_image(World *w, const char *arch, const char *const *const *layers, Compression c, Descriptor *ret)
{
	g_autoptr(GString) diff_ids = g_string_new(NULL), list = g_string_new(NULL);
	const char *type = c == COMPRESSION_GZIP   ? MEDIA_TYPE_OCI_LAYER_GZIP
	                   : c == COMPRESSION_ZSTD ? MEDIA_TYPE_OCI_LAYER_ZSTD
	                                           : MEDIA_TYPE_OCI_LAYER;
	for (size_t i = 0; layers[i] != NULL; i++) {
		g_autoptr(GBytes) tar = world_tar(layers[i]);
		g_autoptr(GBytes) z = world_compress(tar, c);
		gsize len = 0;
		const void *data = g_bytes_get_data(tar, &len);
		g_autofree char *diff_id = digest_bytes(data, len), *digest = world_put(w, NULL, z);
		g_string_append_printf(diff_ids, "%s\"%s\"", i > 0 ? "," : "", diff_id);
		g_string_append_printf(
		        list, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%" G_GSIZE_FORMAT "}",
		        i > 0 ? "," : "", type, digest, g_bytes_get_size(z));
	}
	g_autofree char *config = g_strdup_printf("{\"os\":\"linux\",\"architecture\":\"%s\",\"rootfs\":{"
	                                          "\"type\":\"layers\",\"diff_ids\":[%s]}}",
	                                          arch, diff_ids->str);
	g_auto(Descriptor) cd = {0};
	put_text(w, MEDIA_TYPE_OCI_CONFIG, config, &cd);
	g_autofree char *manifest = g_strdup_printf(
	        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":\"%s\",\"digest\":\"%"
	        "s\",\"size\":%" G_GINT64_FORMAT "},\"layers\":[%s]}",
	        MEDIA_TYPE_OCI_MANIFEST, MEDIA_TYPE_OCI_CONFIG, cd.digest, cd.size, list->str);
	put_text(w, MEDIA_TYPE_OCI_MANIFEST, manifest, ret);
}

void world_index(World *w, const Descriptor *manifests, size_t n, Descriptor *ret)
{
	g_autoptr(GString) list = g_string_new(NULL);
	for (size_t i = 0; i < n; i++)
		g_string_append_printf(list,
		                       "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%" G_GINT64_FORMAT
		                       ",\"platform\":{\"os\":\"linux\",\"architecture\":\"%s\"}}",
		                       i > 0 ? "," : "", manifests[i].media_type, manifests[i].digest,
		                       manifests[i].size, manifests[i].platform->architecture);
	g_autofree char *text =
	        g_strdup_printf("{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[%s]}",
	                        MEDIA_TYPE_OCI_INDEX, list->str);
	put_text(w, MEDIA_TYPE_OCI_INDEX, text, ret);
}

void world_tag(World *w, const char *tag, const char *digest)
{
	LOCK_SCOPE(&w->lock);
	g_hash_table_insert(w->tags, g_strdup(tag), g_strdup(digest));
}

unsigned world_gets(World *w, const char *digest)
{
	LOCK_SCOPE(&w->lock);
	return GPOINTER_TO_UINT(g_hash_table_lookup(w->gets, digest));
}

/* ---- Pulling ---- */

char *world_ref(World *w, const char *tag)
{
	return g_strdup_printf("%s/a/b:%s", test_server_host(w->server), tag);
}

static void on_progress(const TransferProgress *p, void *data)
{
	World *w = data;
	LOCK_SCOPE(&w->lock);
	g_string_append_printf(w->progress, "%s %s %" G_GINT64_FORMAT "/%" G_GINT64_FORMAT "\n", p->event,
	                       str_or(p->name, ""), p->progress, p->total);
}

bool world_pull(World *w, const char *tag, const char *snapshotter, Cancel *cancel, GError **error)
{
	g_autofree char *ref = world_ref(w, tag);
	g_auto(Platform) amd64 = {0};
	platform_parse("linux/amd64", &amd64, NULL);
	g_autoptr(GPtrArray) platforms = g_ptr_array_new(), unpacks = g_ptr_array_new();
	g_ptr_array_add(platforms, &amd64);
	TransferUnpack u = {.platform = amd64, .snapshotter = (char *)snapshotter};
	if (snapshotter != NULL)
		g_ptr_array_add(unpacks, &u);
	TransferRegistry from = {.reference = ref, .default_scheme = "http"};
	TransferImages to = {.name = ref, .platforms = platforms, .unpacks = unpacks};
	TransferProgressSink sink = {.fn = on_progress, .data = w};
	Ctx ctx = w->ctx;
	ctx.cancel = cancel;
	return transfer_pull(w->transfer, &ctx, &from, &to, sink, error);
}

static GPtrArray *tree_lines;
static size_t tree_root;

static int tree_visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *name = path + tree_root;
	if (*name == '\0')
		return 0;
	g_autofree char *content = NULL;
	if (S_ISREG(st->st_mode))
		file_read(path, 1 << 20, &content, NULL, NULL);
	if (content != NULL && strlen(content) > 20)
		content[20] = '\0';
	g_ptr_array_add(tree_lines, g_strdup_printf("%s %s %o %s", name + 1,
	                                            S_ISDIR(st->st_mode)   ? "d"
	                                            : S_ISLNK(st->st_mode) ? "l"
	                                            : S_ISCHR(st->st_mode) ? "c"
	                                                                   : "f",
	                                            st->st_mode & 07777, str_or(content, "")));
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool describe(const char *root, void *data, GError **error)
{
	tree_lines = g_ptr_array_new_with_free_func(g_free);
	tree_root = strlen(root);
	nftw(root, tree_visit, 16, FTW_PHYS);
	g_ptr_array_sort(tree_lines, by_text);
	g_ptr_array_add(tree_lines, NULL);
	*(char **)data = g_strjoinv("\n", (char **)tree_lines->pdata);
	g_ptr_array_unref(tree_lines);
	return true;
}

char *world_tree(World *w, Snapshotter *sn, const char *chain_id)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GHashTable) labels = strmap_new();
	g_autoptr(GPtrArray) mounts = snapshot_view(sn, &w->ctx, "view", chain_id, labels, &error);
	g_assert_no_error(error);
	char *text = NULL;
	mounts_with_temp(mounts, NULL, describe, &text, &error);
	g_assert_no_error(error);
	snapshot_remove(sn, &w->ctx, "view", &error);
	g_assert_no_error(error);
	return text;
}
