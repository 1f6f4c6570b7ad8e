// SPDX-License-Identifier: Apache-2.0
/*
 * Archives of images (upstream core/images/archive/importer.go, core/transfer/local/import.go): the OCI
 * layout, and Docker's with a manifest.json, which is turned into manifests and an index. Every file of the
 * archive is a blob; what nothing refers to is for the garbage collector.
 */
#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "diff/tar.h"
#include "oci/labels.h"
#include "oci/manifest.h"
#include "oci/media-types.h"
#include "oci/reference.h"
#include "transfer/transfer-private.h"
#include <string.h>

enum {
	JSON_MAX = 20 * 1024 * 1024, // as upstream
	FILES_MAX = 65536,
	NAME_LEN_MAX = 4096,
	COPY = 128 * 1024,
};

typedef struct {
	Operation *op;
	const TransferImport *from;
	TarReader *tar;
	GHashTable *blobs;    // file name -> Descriptor* (digest and size)
	GHashTable *symlinks; // file name -> file name
	char *layout_version; // NULL: no oci-layout
	JsonObject *manifest; // NULL: no manifest.json
} Import;

static void import_clear(Import *i)
{
	g_clear_pointer(&i->tar, tar_reader_free);
	g_clear_pointer(&i->blobs, g_hash_table_unref);
	g_clear_pointer(&i->symlinks, g_hash_table_unref);
	g_free(i->layout_version);
	if (i->manifest != NULL)
		json_object_put(i->manifest);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Import, import_clear)

/* ---- Files ---- */

static JsonObject *read_json(Import *im, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!tar_reader_read_all(im->tar, JSON_MAX, &data, &len, error))
		return NULL;
	return json_parse(data, len, JSON_MAX, error);
}

/* "blobs/sha256/<hex>" says what the content should be. NULL: another name. */
static char *digest_of_name(const char *name)
{
	g_auto(GStrv) parts = g_strsplit(name, "/", 4);
	if (g_strv_length(parts) != 3 || !g_str_equal(parts[0], "blobs"))
		return NULL;
	g_autofree char *digest = g_strconcat(parts[1], ":", parts[2], NULL);
	return digest_validate(digest, NULL) ? g_steal_pointer(&digest) : NULL;
}

static bool copy_entry(Import *im, ContentWriter *w, GError **error)
{
	g_autofree char *buf = g_malloc(COPY);
	for (;;) {
		if (!cancel_check(im->op->ctx.cancel, error))
			return false;
		ssize_t n = tar_reader_read(im->tar, buf, COPY, error);
		if (n <= 0)
			return n == 0;
		if (!content_write(w, buf, (size_t)n, error))
			return false;
	}
}

/* The present entry as a blob. */
static bool ingest(Import *im, const char *name, int64_t size, Descriptor *ret, GError **error)
{
	Operation *op = im->op;
	g_autofree char *named = digest_of_name(name);
	g_autofree char *ref = g_strconcat("tar-", name, NULL);
	Descriptor desc = {.digest = named, .size = size};
	g_autoptr(GError) e = NULL;
	g_autoptr(ContentWriter) w = content_open_writer(op->t->config.content, &op->ctx, ref, &desc, &e);
	if (w == NULL && named != NULL && error_is(e, CTRD_ERR_ALREADY_EXISTS)) {
		ret->digest = g_steal_pointer(&named);
		ret->size = size;
		return true;
	}
	if (w == NULL) {
		error_prefix(&e, "failed to open writer");
		g_propagate_error(error, g_steal_pointer(&e));
		return false;
	}
	/* what an earlier import left half done is of no use: a stream cannot be read from the middle */
	if (!content_truncate(w, 0, error) || !copy_entry(im, w, error))
		return false;
	g_autofree char *digest = content_writer_digest(w);
	if (!content_commit(w, &op->ctx, size, named, NULL, &e) && !error_is(e, CTRD_ERR_ALREADY_EXISTS)) {
		g_clear_pointer(&w, content_writer_close);
		Ctx ctx = operation_cleanup_ctx(op);
		content_abort(op->t->config.content, &ctx, ref, NULL);
		error_prefix(&e, "failed commit on ref \"%s\"", ref);
		g_propagate_error(error, g_steal_pointer(&e));
		return false;
	}
	ret->digest = g_steal_pointer(&digest);
	ret->size = size;
	return true;
}

static bool read_layout(Import *im, GError **error)
{
	g_autoptr(JsonObject) o = read_json(im, error);
	if (o == NULL)
		return false;
	g_free(im->layout_version);
	im->layout_version = g_strdup(json_get_string(o, "imageLayoutVersion"));
	return true;
}

static bool read_file(Import *im, const TarHeader *h, GError **error)
{
	g_autofree char *name = path_clean(h->name);
	if (g_str_equal(name, "oci-layout"))
		return read_layout(im, error) || error_prefix(error, "untar oci layout %s", Q(h->name));
	if (g_str_equal(name, "manifest.json")) {
		g_clear_pointer(&im->manifest, json_object_put);
		im->manifest = read_json(im, error);
		return im->manifest != NULL || error_prefix(error, "untar manifest %s", Q(h->name));
	}
	if (strlen(name) > NAME_LEN_MAX || g_hash_table_size(im->blobs) >= FILES_MAX)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "archive with more than %d files, or a name of more than %d bytes",
		                 FILES_MAX, NAME_LEN_MAX);
	g_auto(Descriptor) desc = {0};
	if (!ingest(im, name, h->size, &desc, error))
		return error_prefix(error, "failed to ingest %s", Q(h->name));
	g_hash_table_insert(im->blobs, g_steal_pointer(&name), descriptor_new_copy(&desc));
	return true;
}

static bool read_all(Import *im, GError **error)
{
	for (;;) {
		const TarHeader *h = NULL;
		int r = tar_reader_next(im->tar, &h, error);
		if (r <= 0)
			return r == 0;
		if (h->type == TAR_TYPE_SYMLINK && g_hash_table_size(im->symlinks) < FILES_MAX) {
			g_autofree char *dir = g_path_get_dirname(h->name);
			g_autofree char *joined = g_strconcat(dir, "/", h->linkname, NULL);
			g_hash_table_insert(im->symlinks, g_strdup(h->name), path_clean(joined));
		} else if (h->type == TAR_TYPE_REG && !read_file(im, h, error)) {
			return false;
		}
	}
}

/* ---- Docker's archives ---- */

static bool write_document(Import *im, JsonObject *o, const char *media_type, Descriptor *ret, GError **error)
{
	Operation *op = im->op;
	g_autofree char *text = json_to_text(o);
	size_t len = strlen(text);
	g_autofree char *digest = digest_bytes(text, len);
	g_autofree char *ref = g_strconcat("manifest-", digest, NULL);
	ret->media_type = g_strdup(media_type);
	ret->digest = g_steal_pointer(&digest);
	ret->size = (int64_t)len;
	return content_write_blob(op->t->config.content, &op->ctx, ref, text, len, ret, NULL, error);
}

static bool detect_layer(Import *im, const Descriptor *layer, Compression *ret, GError **error)
{
	Operation *op = im->op;
	g_autoptr(ContentReader) r = content_reader(op->t->config.content, &op->ctx, layer, error);
	char magic[COMPRESSION_DETECT_LEN];
	ssize_t n = r != NULL ? content_read_at(r, magic, sizeof(magic), 0, error) : -1;
	if (n < 0)
		return error_prefix(error, "failed to read header bytes from layer to detect media type");
	*ret = compression_detect(magic, (size_t)n);
	return true;
}

static bool compress_bytes(void *data, const void *buf, size_t len, GError **error)
{
	return content_write(data, buf, len, error);
}

static bool compress_into(Import *im, const Descriptor *layer, ContentWriter *w, GError **error)
{
	Operation *op = im->op;
	g_autoptr(ContentReader) r = content_reader(op->t->config.content, &op->ctx, layer, error);
	if (r == NULL || !content_truncate(w, 0, error))
		return false;
	g_autoptr(Compressor) c = compressor_new(COMPRESSION_GZIP, compress_bytes, w);
	g_autofree char *buf = g_malloc(COPY);
	for (int64_t offset = 0;;) {
		if (!cancel_check(op->ctx.cancel, error))
			return false;
		ssize_t n = content_read_at(r, buf, COPY, offset, error);
		if (n <= 0)
			return n == 0 && compressor_finish(c, error);
		if (!compressor_write(c, buf, (size_t)n, error))
			return false;
		offset += n;
	}
}

/* The layer as a gzip blob, which knows what it was. */
static bool compress_layer(Import *im, Descriptor *layer, GError **error)
{
	Operation *op = im->op;
	g_autofree char *algorithm = digest_algorithm(layer->digest);
	g_autofree char *ref = g_strdup_printf("compress-blob-%s-%s", algorithm, digest_hex(layer->digest));
	g_autoptr(ContentWriter) w = content_open_writer(op->t->config.content, &op->ctx, ref, NULL, error);
	if (w == NULL)
		return error_prefix(error, "failed to open writer");
	g_autoptr(GHashTable) labels = strmap_new();
	strmap_set(labels, LABEL_UNCOMPRESSED, layer->digest);
	g_autoptr(ContentStatus) status = NULL;
	g_autoptr(GError) e = NULL;
	bool ok = compress_into(im, layer, w, &e) && content_writer_status(w, &status, &e);
	g_autofree char *digest = ok ? content_writer_digest(w) : NULL;
	ok = ok && (content_commit(w, &op->ctx, status->offset, digest, labels, &e) ||
	            error_is(e, CTRD_ERR_ALREADY_EXISTS));
	if (ok) {
		g_free(layer->digest);
		layer->digest = g_steal_pointer(&digest);
		layer->size = status->offset;
		return true;
	}
	g_clear_pointer(&w, content_writer_close);
	Ctx ctx = operation_cleanup_ctx(op);
	content_abort(op->t->config.content, &ctx, ref, NULL);
	g_propagate_error(error, g_steal_pointer(&e));
	return false;
}

/* A blob that is this layer compressed, from an earlier pull or import. */
typedef struct {
	Descriptor *layer;
	bool found;
} Compressed;

static bool on_compressed(const ContentInfo *info, void *data, GError **error)
{
	Compressed *c = data;
	if (!c->found && g_strcmp0(strmap_get(info->labels, LABEL_UNCOMPRESSED), c->layer->digest) == 0) {
		g_free(c->layer->digest);
		c->layer->digest = g_strdup(info->digest);
		c->layer->size = info->size;
		c->found = true;
	}
	return true;
}

static bool resolve_layer(Import *im, const char *file, Descriptor *layer, GError **error)
{
	Operation *op = im->op;
	const Descriptor *blob = g_hash_table_lookup(im->blobs, file);
	if (blob == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "layer %s not found", Q(file));
	descriptor_copy(layer, blob);
	g_autofree char *filter = g_strdup_printf("labels.\"%s\"==%s", LABEL_UNCOMPRESSED, layer->digest);
	const char *const filters[] = {filter, NULL};
	Compressed c = {.layer = layer};
	if (!content_walk(op->t->config.content, &op->ctx, filters, on_compressed, &c, error))
		return error_prefix(error, "failure checking for compressed blobs");
	Compression compression = COMPRESSION_NONE;
	if (!detect_layer(im, layer, &compression, error))
		return false;
	if (compression == COMPRESSION_NONE && im->from->force_compress) {
		if (!compress_layer(im, layer, error))
			return false;
		compression = COMPRESSION_GZIP;
	}
	layer->media_type = g_strdup(compression == COMPRESSION_NONE ? MEDIA_TYPE_DOCKER_LAYER
	                                                             : MEDIA_TYPE_DOCKER_LAYER_GZIP);
	return true;
}

static bool add_layers(Import *im, JsonObject *files, GPtrArray *layers, GError **error)
{
	size_t n = files != NULL ? json_object_array_length(files) : 0;
	if (n > MANIFEST_LAYERS_MAX)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "more than %d layers",
		                 MANIFEST_LAYERS_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *file = json_object_get_string(json_object_array_get_idx(files, i));
		Descriptor *layer = descriptor_new(NULL, NULL, 0);
		g_ptr_array_add(layers, layer);
		if (!resolve_layer(im, str_or(file, ""), layer, error))
			return error_prefix(error, "failed to resolve layers");
	}
	return true;
}

/* The platform that the configuration says; none where it says none. */
static bool config_platform(Import *im, const Descriptor *config, Platform **ret, GError **error)
{
	Operation *op = im->op;
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!content_read_blob(op->t->config.content, &op->ctx, config, MANIFEST_MAX, &data, &len, error))
		return false;
	g_autoptr(ImageConfig) c = image_config_parse(data, len, error);
	if (c == NULL)
		return error_prefix(error, "unable to resolve platform");
	if (c->platform.os != NULL || c->platform.architecture != NULL) {
		*ret = platform_new_copy(&c->platform);
		platform_normalize(*ret);
	}
	return true;
}

/* One entry of the index for each name. */
static bool add_named(Import *im, JsonObject *tags, const Descriptor *desc, GPtrArray *manifests,
                      GError **error)
{
	size_t n = tags != NULL ? json_object_array_length(tags) : 0;
	if (n == 0)
		g_ptr_array_add(manifests, descriptor_new_copy(desc));
	if (manifests->len + n > INDEX_MANIFESTS_MAX)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "more than %d names", INDEX_MANIFESTS_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *tag = str_or(json_object_get_string(json_object_array_get_idx(tags, i)), "");
		g_auto(DockerRef) ref = {0};
		if (!docker_ref_parse(tag, &ref, error))
			return error_prefix(error, "normalize image ref %s", Q(tag));
		g_autofree char *name = docker_ref_format(&ref);
		g_autofree char *oci = oci_reference_name(name);
		Descriptor *named = descriptor_new_copy(desc);
		descriptor_annotate(named, ANNOTATION_IMAGE_NAME, name);
		descriptor_annotate(named, ANNOTATION_OCI_REF_NAME, oci);
		g_ptr_array_add(manifests, named);
	}
	return true;
}

static bool add_docker_image(Import *im, JsonObject *entry, GPtrArray *manifests, GError **error)
{
	const char *file = str_or(json_get_string(entry, "Config"), "");
	const Descriptor *config = g_hash_table_lookup(im->blobs, file);
	if (config == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "image config %s not found", Q(file));
	g_autoptr(Manifest) m = g_new0(Manifest, 1);
	m->media_type = g_strdup(MEDIA_TYPE_DOCKER_MANIFEST);
	m->layers = descriptors_new();
	descriptor_copy(&m->config, config);
	m->config.media_type = g_strdup(MEDIA_TYPE_DOCKER_CONFIG);
	g_auto(Descriptor) desc = {0};
	if (!add_layers(im, json_get_array(entry, "Layers"), m->layers, error))
		return false;
	g_autoptr(JsonObject) json = manifest_to_json(m);
	if (!write_document(im, json, MEDIA_TYPE_DOCKER_MANIFEST, &desc, error))
		return error_prefix(error, "write docker manifest");
	return config_platform(im, &m->config, &desc.platform, error) &&
	       add_named(im, json_get_array(entry, "RepoTags"), &desc, manifests, error);
}

static bool follow_symlinks(Import *im, GError **error)
{
	GHashTableIter it;
	void *name, *target;
	g_hash_table_iter_init(&it, im->symlinks);
	while (g_hash_table_iter_next(&it, &name, &target)) {
		const Descriptor *blob = g_hash_table_lookup(im->blobs, target);
		if (blob == NULL)
			return error_set(error, CTRD_ERR_UNKNOWN, "no target for symlink layer from %s to %s",
			                 Q(name), Q(target));
		g_hash_table_insert(im->blobs, g_strdup(name), descriptor_new_copy(blob));
	}
	return true;
}

static bool make_index(Import *im, Descriptor *ret, GError **error)
{
	if (im->manifest == NULL || !json_object_is_type(im->manifest, json_type_array))
		return error_set(error, CTRD_ERR_UNKNOWN, "unrecognized image format");
	if (!follow_symlinks(im, error))
		return false;
	g_autoptr(Index) index = g_new0(Index, 1);
	index->manifests = descriptors_new();
	size_t n = json_object_array_length(im->manifest);
	for (size_t i = 0; i < n; i++)
		if (!add_docker_image(im, json_object_array_get_idx(im->manifest, i), index->manifests,
		                      error))
			return false;
	g_autoptr(JsonObject) json = index_to_json(index);
	return write_document(im, json, MEDIA_TYPE_OCI_INDEX, ret, error);
}

static bool find_index(Import *im, Descriptor *ret, GError **error)
{
	if (str_empty(im->layout_version))
		return make_index(im, ret, error);
	if (!g_str_equal(im->layout_version, "1.0.0"))
		return error_set(error, CTRD_ERR_UNKNOWN, "unsupported OCI version %s", im->layout_version);
	const Descriptor *blob = g_hash_table_lookup(im->blobs, "index.json");
	if (blob == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "missing index.json in OCI layout 1.0.0");
	descriptor_copy(ret, blob);
	ret->media_type = g_strdup(MEDIA_TYPE_OCI_INDEX);
	return true;
}

static bool import_index(Operation *op, const TransferImport *from, Descriptor *ret, GError **error)
{
	g_autoptr(DecompressReader) plain = NULL;
	g_auto(Import) im = {.op = op, .from = from};
	if (str_empty(from->media_type)) {
		plain = decompress_reader_new(COMPRESSION_UNKNOWN, from->source, from->data);
		im.tar = tar_reader_new(decompress_reader_read, plain);
	} else {
		im.tar = tar_reader_new(from->source, from->data);
	}
	im.blobs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)descriptor_free);
	im.symlinks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return read_all(&im, error) && find_index(&im, ret, error);
}

/* ---- The images ---- */

/* The index itself, and each of its entries under the names that their annotations give. */
static bool store_all(Operation *op, const TransferImages *to, const Descriptor *index,
                      TransferProgressSink progress, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!content_read_blob(op->t->config.content, &op->ctx, index, MANIFEST_MAX, &data, &len, error))
		return false;
	g_autoptr(GPtrArray) all = manifest_children(index, data, len, error);
	if (all == NULL)
		return false;
	for (guint i = 0; i < all->len; i++)
		descriptor_annotate(all->pdata[i], ANNOTATION_IMPORT_REF_SOURCE, IMPORT_SOURCE_ANNOTATION);
	g_ptr_array_insert(all, 0, descriptor_new_copy(index));
	for (guint i = 0; i < all->len; i++) {
		const Descriptor *desc = all->pdata[i];
		g_autoptr(GError) e = NULL;
		g_autoptr(GPtrArray) images = store_images(op, to, desc, &e);
		if (images == NULL && !error_is(e, CTRD_ERR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&e));
			return false;
		}
		for (guint k = 0; images != NULL && k < images->len; k++)
			progress_say(progress, ((Image *)images->pdata[k])->name, desc, "saved");
	}
	return true;
}

bool transfer_import(Transfer *t, const Ctx *ctx, const TransferImport *from, const TransferImages *to,
                     TransferProgressSink progress, GError **error)
{
	g_auto(Operation) op = {0};
	if (!operation_begin(&op, t, ctx, error))
		return false;
	progress_say(progress, NULL, NULL, "Importing");
	g_auto(Descriptor) index = {0};
	if (!import_index(&op, from, &index, error))
		return false;
	g_auto(Walk) w = {0};
	walk_init(&w, &op, to);
	if (!walk(&w, &index, error))
		return false;
	if (w.n_children == 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "image might be filtered out");
	if (!walk_unpack(&w, error) || !store_all(&op, to, &index, progress, error) ||
	    !operation_finish(&op, error))
		return false;
	progress_say(progress, NULL, NULL, "Completed import");
	return true;
}
