// SPDX-License-Identifier: Apache-2.0
/* Images as archives: the OCI layout, which `docker load` understands too for its manifest.json (upstream
 * core/images/archive/exporter.go). */
#include "base/digest.h"
#include "base/error.h"
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
	COPY = 128 * 1024,
	NESTING_MAX = 8,
};

/* A file of the archive: a blob, or text of ours, or a directory. */
typedef struct {
	char *name;
	int64_t mode;
	Descriptor *blob; // NULL: none
	char *text;       // NULL: none
} Record;

static void record_free(void *data)
{
	Record *r = data;
	g_free(r->name);
	descriptor_free(r->blob);
	g_free(r->text);
	g_free(r);
}

/* A manifest that manifest.json shall name. */
typedef struct {
	Descriptor *manifest;
	GPtrArray *names; // of char*
} Named;

static void named_free(void *data)
{
	Named *n = data;
	descriptor_free(n->manifest);
	g_ptr_array_unref(n->names);
	g_free(n);
}

typedef struct {
	Operation *op;
	const TransferExport *to;
	PlatformMatcher *matcher;
	GHashTable *records;    // name -> Record*
	GPtrArray *named;       // of Named*
	GHashTable *resolved;   // digest of an index -> digest of the manifest that stands for it ("": none)
	GHashTable *algorithms; // set
} Export;

static void export_clear(Export *x)
{
	platform_matcher_free(x->matcher);
	g_clear_pointer(&x->records, g_hash_table_unref);
	g_clear_pointer(&x->named, g_ptr_array_unref);
	g_clear_pointer(&x->resolved, g_hash_table_unref);
	g_clear_pointer(&x->algorithms, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Export, export_clear)

/* ---- What goes in ---- */

static Record *add_record(Export *x, const char *name, int64_t mode)
{
	Record *r = g_new0(Record, 1);
	r->name = g_strdup(name);
	r->mode = mode;
	g_hash_table_replace(x->records, r->name, r);
	return r;
}

static char *blob_name(const char *digest)
{
	g_autofree char *algorithm = digest_algorithm(digest);
	return g_strdup_printf("blobs/%s/%s", algorithm, digest_hex(digest));
}

static bool add_blob(Export *x, const Descriptor *desc, GError **error)
{
	if (!digest_validate(desc->digest, error))
		return false;
	if (x->to->skip_non_distributable && media_type_is_nondistributable(desc->media_type))
		return true;
	g_autofree char *name = blob_name(desc->digest);
	if (!g_hash_table_contains(x->records, name))
		add_record(x, name, 0444)->blob = descriptor_new_copy(desc);
	return true;
}

static GPtrArray *children_of(Export *x, const Descriptor *desc, GError **error)
{
	Operation *op = x->op;
	if (!media_type_is_manifest(desc->media_type) && !media_type_is_index(desc->media_type))
		return descriptors_new();
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!content_read_blob(op->t->config.content, &op->ctx, desc, MANIFEST_MAX, &data, &len, error))
		return NULL;
	return manifest_children(desc, data, len, error);
}

static bool add_tree(Export *x, const Descriptor *desc, unsigned depth, GError **error)
{
	if (depth > NESTING_MAX)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "%s: indexes are nested more than %d deep", desc->digest, NESTING_MAX);
	g_autoptr(GPtrArray) children = children_of(x, desc, error);
	if (children == NULL || !add_blob(x, desc, error))
		return false;
	g_hash_table_add(x->algorithms, digest_algorithm(desc->digest));
	for (guint i = 0; i < children->len; i++)
		if (!add_tree(x, children->pdata[i], depth + 1, error))
			return false;
	return true;
}

static Named *find_named(Export *x, const char *digest)
{
	for (guint i = 0; i < x->named->len; i++)
		if (g_str_equal(((Named *)x->named->pdata[i])->manifest->digest, digest))
			return x->named->pdata[i];
	return NULL;
}

static Named *add_named(Export *x, const Descriptor *manifest)
{
	Named *n = find_named(x, manifest->digest);
	if (n == NULL) {
		n = g_new0(Named, 1);
		n->manifest = descriptor_new_copy(manifest);
		n->names = g_ptr_array_new_with_free_func(g_free);
		g_ptr_array_add(x->named, n);
	}
	return n;
}

/* The index's manifests of the platforms; the best of them is what its name means to Docker. */
static bool add_index(Export *x, const Descriptor *desc, char **ret_best, GError **error)
{
	if (!add_blob(x, desc, error))
		return false;
	g_autoptr(GPtrArray) children = children_of(x, desc, error);
	if (children == NULL)
		return false;
	g_autoptr(GPtrArray) matching = descriptors_new();
	for (guint i = 0; i < children->len; i++) {
		const Descriptor *m = children->pdata[i];
		if (m->platform == NULL || platform_matches(x->matcher, m->platform))
			g_ptr_array_add(matching, descriptor_new_copy(m));
		else if (!x->to->all_platforms)
			continue;
		if (!add_tree(x, m, 1, error))
			return false;
	}
	if (matching->len == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "no manifest found for platform");
	if (!descriptors_limit_manifests(matching, x->matcher, 1, error))
		return false;
	const Descriptor *best = matching->pdata[0];
	add_named(x, best);
	*ret_best = g_strdup(best->digest);
	return true;
}

static bool add_image(Export *x, const Descriptor *desc, GError **error)
{
	const char *name = descriptor_annotation(desc, ANNOTATION_IMAGE_NAME);
	Named *n = NULL;
	if (media_type_is_manifest(desc->media_type)) {
		if (find_named(x, desc->digest) == NULL && !add_tree(x, desc, 0, error))
			return false;
		n = add_named(x, desc);
	} else if (media_type_is_index(desc->media_type)) {
		char *best = g_hash_table_lookup(x->resolved, desc->digest);
		if (best == NULL) {
			if (!add_index(x, desc, &best, error))
				return false;
			g_hash_table_insert(x->resolved, g_strdup(desc->digest), best);
		}
		n = find_named(x, best);
	} else {
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "only manifests may be exported");
	}
	if (n != NULL && !str_empty(name))
		g_ptr_array_add(n->names, g_strdup(name));
	return true;
}

/* The image's target, under its name and with where it came from. */
static Descriptor *entry_of(Export *x, const Image *image)
{
	Operation *op = x->op;
	Descriptor *desc = descriptor_new_copy(&image->target);
	g_autofree char *oci = oci_reference_name(image->name);
	descriptor_annotate(desc, ANNOTATION_IMAGE_NAME, image->name);
	descriptor_annotate(desc, ANNOTATION_OCI_REF_NAME, oci);
	g_autoptr(GError) e = NULL;
	g_autoptr(ContentInfo) info = content_info(op->t->config.content, &op->ctx, desc->digest, &e);
	if (info == NULL) {
		log_error_take(LOG_WARN, g_steal_pointer(&e), "failed to copy distribution.source labels",
		               "image", image->name, NULL);
		descriptor_free(desc);
		return NULL;
	}
	GHashTableIter it;
	void *key, *value;
	g_hash_table_iter_init(&it, info->labels);
	while (g_hash_table_iter_next(&it, &key, &value))
		if (g_str_has_prefix(key, LABEL_DISTRIBUTION_SOURCE))
			descriptor_annotate(desc, key, value);
	return desc;
}

/* ---- Documents of the archive ---- */

static void add_index_file(Export *x, GPtrArray *manifests)
{
	g_autoptr(Index) index = g_new0(Index, 1);
	index->media_type = g_strdup(MEDIA_TYPE_OCI_INDEX);
	index->manifests = g_ptr_array_ref(manifests);
	g_autoptr(JsonObject) json = index_to_json(index);
	add_record(x, "index.json", 0644)->text = json_to_text(json);
}

static JsonObject *blob_path(const char *digest)
{
	g_autofree char *name = blob_name(digest);
	return json_object_new_string(name);
}

static bool docker_entry(Export *x, const Named *n, JsonObject **ret, GError **error)
{
	Operation *op = x->op;
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!content_read_blob(op->t->config.content, &op->ctx, n->manifest, MANIFEST_MAX, &data, &len,
	                       error))
		return false;
	g_autoptr(Manifest) m = manifest_parse(data, len, n->manifest->media_type, error);
	if (m == NULL)
		return false;
	g_autoptr(JsonObject) o = json_object_new_object();
	JsonObject *tags = n->names->len > 0 ? json_object_new_array() : NULL;
	JsonObject *layers = m->layers->len > 0 ? json_object_new_array() : NULL;
	json_set(o, "Config", blob_path(m->config.digest));
	json_set(o, "RepoTags", tags);
	json_set(o, "Layers", layers);
	for (guint i = 0; i < n->names->len; i++) {
		g_auto(DockerRef) ref = {0};
		if (!docker_ref_parse_normalized(n->names->pdata[i], &ref, error))
			return error_prefix(error, "failed to parse %s", Q(n->names->pdata[i]));
		docker_ref_tag_name_only(&ref);
		g_autofree char *name = docker_ref_familiar_format(&ref);
		json_object_array_add(tags, json_object_new_string(name));
	}
	for (guint i = 0; i < m->layers->len; i++)
		json_object_array_add(layers, blob_path(((Descriptor *)m->layers->pdata[i])->digest));
	*ret = g_steal_pointer(&o);
	return true;
}

static bool add_docker_file(Export *x, GError **error)
{
	g_autoptr(JsonObject) all = json_object_new_array();
	for (guint i = 0; i < x->named->len; i++) {
		JsonObject *entry = NULL;
		if (!docker_entry(x, x->named->pdata[i], &entry, error))
			return error_prefix(error, "unable to create manifests file");
		json_object_array_add(all, entry);
	}
	add_record(x, "manifest.json", 0644)->text = json_to_text(all);
	return true;
}

static void add_directories(Export *x)
{
	if (g_hash_table_size(x->algorithms) == 0)
		return;
	add_record(x, "blobs/", 0755);
	GHashTableIter it;
	void *algorithm;
	g_hash_table_iter_init(&it, x->algorithms);
	while (g_hash_table_iter_next(&it, &algorithm, NULL)) {
		g_autofree char *name = g_strdup_printf("blobs/%s/", (char *)algorithm);
		add_record(x, name, 0755);
	}
}

/* ---- Writing ---- */

static bool write_blob(Export *x, TarWriter *tar, const Descriptor *desc, GError **error)
{
	Operation *op = x->op;
	g_autoptr(ContentReader) r = content_reader(op->t->config.content, &op->ctx, desc, error);
	if (r == NULL)
		return error_prefix(error, "failed to get reader");
	g_autofree char *algorithm = digest_algorithm(desc->digest);
	g_autoptr(Digester) digester = digester_new(algorithm);
	g_autofree char *buf = g_malloc(COPY);
	for (int64_t offset = 0;;) {
		if (!cancel_check(op->ctx.cancel, error))
			return false;
		ssize_t n = content_read_at(r, buf, COPY, offset, error);
		if (n < 0)
			return error_prefix(error, "failed to copy to tar");
		if (n == 0)
			break;
		digester_update(digester, buf, (size_t)n);
		if (!tar_writer_data(tar, buf, (size_t)n, error))
			return error_prefix(error, "failed to copy to tar");
		offset += n;
	}
	g_autofree char *digest = digester_digest(digester);
	if (!g_str_equal(digest, desc->digest))
		return error_set(error, CTRD_ERR_UNKNOWN, "unexpected digest %s copied", digest);
	return true;
}

static bool write_record(Export *x, TarWriter *tar, const Record *r, GError **error)
{
	bool dir = r->blob == NULL && r->text == NULL;
	TarHeader h = {
	        .type = dir ? TAR_TYPE_DIR : TAR_TYPE_REG,
	        .name = r->name,
	        .linkname = "",
	        .mode = r->mode,
	        .size = r->blob != NULL   ? r->blob->size
	                : r->text != NULL ? (int64_t)strlen(r->text)
	                                  : 0,
	};
	if (!tar_writer_header(tar, &h, error))
		return false;
	if (r->text != NULL)
		return tar_writer_data(tar, r->text, strlen(r->text), error);
	return r->blob == NULL || write_blob(x, tar, r->blob, error);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool write_all(Export *x, GError **error)
{
	g_autoptr(TarWriter) tar = tar_writer_new(x->to->sink, x->to->data);
	g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(x->records), by_name);
	for (GList *l = names; l != NULL; l = l->next)
		if (!write_record(x, tar, g_hash_table_lookup(x->records, l->data), error))
			return false;
	return tar_writer_finish(tar, error);
}

static PlatformMatcher *export_matcher(const TransferExport *to)
{
	if (to->platforms != NULL && to->platforms->len > 0)
		return platform_matcher_ordered(to->platforms);
	g_auto(Platform) here = {0};
	platform_default(&here);
	return platform_matcher_only_strict(&here);
}

static bool export_images(Operation *op, GPtrArray *images, const TransferExport *to, GError **error)
{
	g_auto(Export) x = {
	        .op = op,
	        .to = to,
	        .matcher = export_matcher(to),
	        .records = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, record_free),
	        .named = g_ptr_array_new_with_free_func(named_free),
	        .resolved = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
	        .algorithms = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
	};
	g_autoptr(GPtrArray) manifests = descriptors_new();
	for (guint i = 0; i < images->len; i++) {
		Descriptor *desc = entry_of(&x, images->pdata[i]);
		if (desc == NULL)
			continue;
		g_ptr_array_add(manifests, desc);
		if (!add_image(&x, desc, error))
			return false;
	}
	add_record(&x, "oci-layout", 0444)->text = g_strdup("{\"imageLayoutVersion\":\"1.0.0\"}");
	add_index_file(&x, manifests);
	if (!to->skip_compatibility_manifest && x.named->len > 0 && !add_docker_file(&x, error))
		return false;
	add_directories(&x);
	return write_all(&x, error);
}

bool transfer_export(Transfer *t, const Ctx *ctx, const TransferImages *from, const TransferExport *to,
                     TransferProgressSink progress, GError **error)
{
	g_auto(Operation) op = {0};
	if (!operation_begin(&op, t, ctx, error))
		return false;
	progress_say(progress, NULL, NULL, "Exporting");
	g_autoptr(GPtrArray) images = lookup_images(&op, from, error);
	if (images == NULL || !export_images(&op, images, to, error))
		return false;
	progress_say(progress, NULL, NULL, "Completed export");
	return true;
}
