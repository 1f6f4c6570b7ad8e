// SPDX-License-Identifier: Apache-2.0
/*
 * ctr images convert (upstream core/images/converter). Documents are changed as JSON, so that members nobody
 * knows stay; what does not change keeps its digest. Everything made is the lease's until the image refers to
 * it.
 */
#include "base/digest.h"
#include "ctr/blob.h"
#include "ctr/image.h"
#include "ctr/images.h"
#include "ctr/util.h"
#include "diff/compression.h"
#include "oci/labels.h"
#include "oci/media-types.h"
#include <stdio.h>
#include <string.h>

enum {
	CHUNK = 1024 * 1024,
	DEPTH_MAX = 16 // of indexes in indexes
};

typedef struct {
	Cli *cli;
	bool uncompress, to_oci;
	PlatformMatcher *matcher; // NULL: all platforms
	int depth;
} Convert;

static bool convert(Convert *c, JsonObject *desc, bool *ret_changed, GError **error);

/* ---- media types ---- */

static const char *mapped(const char *const (*table)[2], size_t n, const char *type)
{
	for (size_t i = 0; i < n; i++)
		if (g_str_equal(table[i][0], type))
			return table[i][1];
	return type;
}

static const char *oci_type(const char *type)
{
	static const char *const table[][2] = {
	        {MEDIA_TYPE_DOCKER_MANIFEST_LIST, MEDIA_TYPE_OCI_INDEX},
	        {MEDIA_TYPE_DOCKER_MANIFEST, MEDIA_TYPE_OCI_MANIFEST},
	        {MEDIA_TYPE_DOCKER_LAYER_GZIP, MEDIA_TYPE_OCI_LAYER_GZIP},
	        {MEDIA_TYPE_DOCKER_LAYER_FOREIGN_GZIP, MEDIA_TYPE_OCI_LAYER_NONDIST_GZIP},
	        {MEDIA_TYPE_DOCKER_LAYER, MEDIA_TYPE_OCI_LAYER},
	        {MEDIA_TYPE_DOCKER_LAYER_FOREIGN, MEDIA_TYPE_OCI_LAYER_NONDIST},
	        {MEDIA_TYPE_DOCKER_LAYER_ZSTD, MEDIA_TYPE_OCI_LAYER_ZSTD},
	        {MEDIA_TYPE_DOCKER_CONFIG, MEDIA_TYPE_OCI_CONFIG},
	};
	return mapped(table, G_N_ELEMENTS(table), type);
}

static const char *plain_type(const char *type)
{
	static const char *const table[][2] = {
	        {MEDIA_TYPE_DOCKER_LAYER_GZIP, MEDIA_TYPE_DOCKER_LAYER},
	        {MEDIA_TYPE_DOCKER_LAYER_ZSTD, MEDIA_TYPE_DOCKER_LAYER},
	        {MEDIA_TYPE_DOCKER_LAYER_FOREIGN_GZIP, MEDIA_TYPE_DOCKER_LAYER_FOREIGN},
	        {MEDIA_TYPE_OCI_LAYER_GZIP, MEDIA_TYPE_OCI_LAYER},
	        {MEDIA_TYPE_OCI_LAYER_ZSTD, MEDIA_TYPE_OCI_LAYER},
	        {MEDIA_TYPE_OCI_LAYER_NONDIST_GZIP, MEDIA_TYPE_OCI_LAYER_NONDIST},
	        {MEDIA_TYPE_OCI_LAYER_NONDIST_ZSTD, MEDIA_TYPE_OCI_LAYER_NONDIST},
	};
	return mapped(table, G_N_ELEMENTS(table), type);
}

/* ---- documents ---- */

static JsonObject *read_document(Convert *c, JsonObject *desc, GHashTable **ret_labels, GError **error)
{
	const char *digest = json_get_string(desc, "digest");
	g_autofree char *data = NULL;
	size_t len = 0;
	*ret_labels = ctr_blob_labels(c->cli, digest, error);
	if (*ret_labels == NULL || !ctr_blob_read(c->cli, digest, &data, &len, error))
		return NULL;
	return json_parse(data, len, MANIFEST_MAX, error);
}

static bool write_document(Convert *c, JsonObject *document, JsonObject *desc, GHashTable *labels,
                           GError **error)
{
	g_autofree char *text = json_to_text(document);
	g_autofree char *now = digest_bytes(text, strlen(text));
	g_autofree char *ref = g_strconcat("converter-write-json-", now, NULL);
	g_autofree char *digest = NULL;
	if (!ctr_blob_put(c->cli, ref, text, strlen(text), labels, &digest, error))
		return false;
	json_set_string(desc, "digest", digest);
	json_set_int64(desc, "size", (int64_t)strlen(text));
	return true;
}

static gboolean refers_to(gpointer key, gpointer value, gpointer digest)
{
	return g_str_has_prefix(key, "containerd.io/gc.ref.content") && g_str_equal(value, digest);
}

static void replace_reference(GHashTable *labels, const char *old, const char *key, const char *digest)
{
	g_hash_table_foreach_remove(labels, refers_to, (gpointer)old);
	if (key != NULL)
		strmap_set(labels, key, digest);
}

/* The document's own type. */
static bool convert_own_type(const Convert *c, JsonObject *document)
{
	const char *type = json_get_string(document, "mediaType");
	if (!c->to_oci || type == NULL || !media_type_is_docker(type))
		return false;
	json_set_string(document, "mediaType", oci_type(type));
	return true;
}

/* ---- layers ---- */

typedef struct {
	CtrBlob *blob;
	Decompressor *decompressor;
	uint8_t *out;
} Uncompress;

static bool uncompress_step(Uncompress *u, const uint8_t *data, size_t len, bool eof, GError **error)
{
	size_t n = CHUNK;
	while (len > 0 || n == CHUNK || eof) {
		if (!decompressor_step(u->decompressor, &data, &len, eof, u->out, CHUNK, &n, error) ||
		    (n > 0 && !ctr_blob_write(u->blob, u->out, n, error)))
			return false;
		if (n < CHUNK && len == 0)
			break;
	}
	return true;
}

static bool uncompress_chunk(const void *data, size_t len, void *arg, GError **error)
{
	return uncompress_step(arg, data, len, false, error);
}

static bool convert_layer(Convert *c, JsonObject *desc, bool *ret_changed, GError **error)
{
	const char *type = json_get_string(desc, "mediaType"), *plain = plain_type(type);
	if (!c->uncompress || g_str_equal(plain, type))
		return true;
	g_autofree char *digest = g_strdup(json_get_string(desc, "digest"));
	g_autofree char *ref = g_strconcat("convert-uncompress-from-", digest, NULL);
	g_autoptr(GHashTable) labels = ctr_blob_labels(c->cli, digest, error);
	if (labels == NULL)
		return false;
	g_hash_table_remove(labels, LABEL_UNCOMPRESSED);
	g_autoptr(CtrBlob) blob = ctr_blob_new(c->cli, ref, 0, "", error);
	g_autoptr(Decompressor) decompressor = decompressor_new(COMPRESSION_UNKNOWN);
	g_autofree uint8_t *out = g_malloc(CHUNK);
	Uncompress u = {blob, decompressor, out};
	if (blob == NULL || !ctr_blob_each(c->cli, digest, uncompress_chunk, &u, error) ||
	    !uncompress_step(&u, out, 0, true, error))
		return error_prefix(error, "failed to uncompress %s", digest);
	g_autofree char *made = ctr_blob_digest(blob);
	int64_t size = ctr_blob_size(blob);
	g_autoptr(GError) failed = NULL;
	if (!ctr_blob_commit(blob, labels, &failed)) {
		if (!error_is(failed, CTRD_ERR_ALREADY_EXISTS)) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return false;
		}
		if (!ctr_blob_label(c->cli, made, labels, error))
			return false;
	}
	json_set_string(desc, "mediaType", plain);
	json_set_string(desc, "digest", made);
	json_set_int64(desc, "size", size);
	*ret_changed = true;
	return true;
}

/* ---- manifests, indexes ---- */

/* A child of a document, in its place. */
static bool convert_child(Convert *c, JsonObject *child, GHashTable *labels, const char *key, bool *changed,
                          GError **error)
{
	if (json_get_string(child, "mediaType") == NULL || json_get_string(child, "digest") == NULL)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "a descriptor without media type or digest");
	g_autofree char *old = g_strdup(json_get_string(child, "digest"));
	bool child_changed = false;
	if (!convert(c, child, &child_changed, error))
		return false;
	if (child_changed) {
		replace_reference(labels, old, key, json_get_string(child, "digest"));
		*changed = true;
	}
	return true;
}

static bool convert_manifest(Convert *c, JsonObject *desc, bool *ret_changed, GError **error)
{
	g_autoptr(GHashTable) labels = NULL;
	g_autoptr(JsonObject) manifest = read_document(c, desc, &labels, error);
	if (manifest == NULL)
		return false;
	bool changed = convert_own_type(c, manifest);
	JsonObject *layers = json_get_array(manifest, "layers"),
	           *config = json_get_object(manifest, "config");
	size_t n = layers != NULL ? json_object_array_length(layers) : 0;
	for (size_t i = 0; i < n; i++) {
		g_autofree char *key = g_strdup_printf("containerd.io/gc.ref.content.l.%zu", i);
		if (!convert_child(c, json_object_array_get_idx(layers, i), labels, key, &changed, error))
			return false;
	}
	/* the diff ids are those of the plain tar, which no conversion here changes: the configuration stays
	 */
	if (config != NULL &&
	    !convert_child(c, config, labels, "containerd.io/gc.ref.content.config", &changed, error))
		return false;
	*ret_changed = changed;
	return !changed || write_document(c, manifest, desc, labels, error);
}

/* Whether the entry is for a platform that was not asked for. */
static bool left_out(const Convert *c, JsonObject *entry)
{
	g_auto(Descriptor) d = {0};
	return c->matcher != NULL && descriptor_from_json(entry, &d, NULL) && d.platform != NULL &&
	       !platform_matches(c->matcher, d.platform);
}

static bool convert_index(Convert *c, JsonObject *desc, bool *ret_changed, GError **error)
{
	g_autoptr(GHashTable) labels = NULL;
	g_autoptr(JsonObject) index = read_document(c, desc, &labels, error);
	if (index == NULL)
		return false;
	bool changed = convert_own_type(c, index);
	JsonObject *all = json_get_array(index, "manifests"), *kept = json_object_new_array();
	size_t n = all != NULL ? json_object_array_length(all) : 0;
	for (size_t i = 0; i < n; i++) {
		JsonObject *entry = json_object_array_get_idx(all, i);
		if (left_out(c, entry)) {
			replace_reference(labels, str_or(json_get_string(entry, "digest"), ""), NULL, NULL);
			changed = true;
			continue;
		}
		g_autofree char *key = g_strdup_printf("containerd.io/gc.ref.content.m.%zu", i);
		if (!convert_child(c, entry, labels, key, &changed, error)) {
			json_object_put(kept);
			return false;
		}
		json_object_array_add(kept, json_object_get(entry));
	}
	json_set(index, "manifests", kept);
	*ret_changed = changed;
	return !changed || write_document(c, index, desc, labels, error);
}

/* desc is changed where what it names is. */
static bool convert(Convert *c, JsonObject *desc, bool *ret_changed, GError **error)
{
	g_autofree char *type = g_strdup(json_get_string(desc, "mediaType"));
	bool ok = true;
	if (++c->depth > DEPTH_MAX)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED, "more than %d documents in one another",
		                 DEPTH_MAX);
	if (media_type_is_layer(type))
		ok = convert_layer(c, desc, ret_changed, error);
	else if (media_type_is_manifest(type))
		ok = convert_manifest(c, desc, ret_changed, error);
	else if (media_type_is_index(type))
		ok = convert_index(c, desc, ret_changed, error);
	c->depth--;
	if (!ok)
		return false;
	const char *now = json_get_string(desc, "mediaType");
	if (c->to_oci && media_type_is_docker(now)) {
		json_set_string(desc, "mediaType", oci_type(now));
		*ret_changed = true;
	} else if (media_type_is_docker(now) && json_get(desc, "annotations") != NULL) {
		json_object_object_del(desc, "annotations"); // Docker's manifests have none
		*ret_changed = true;
	}
	return true;
}

/* ---- the image ---- */

static bool store_image(Cli *cli, Containerd__Services__Images__V1__Image *image, const char *source,
                        JsonObject *desc, GError **error)
{
	const char *target = image->name;
	int64_t size = 0;
	json_get_int64(desc, "size", &size);
	Containerd__Types__Descriptor d = CONTAINERD__TYPES__DESCRIPTOR__INIT;
	d.media_type = json_get_string(desc, "mediaType");
	d.digest = json_get_string(desc, "digest");
	d.size = size;
	image->target = &d;
	autopb ProtobufCMessage *resp = NULL;
	if (g_str_equal(target, source)) {
		Containerd__Services__Images__V1__UpdateImageRequest req =
		        CONTAINERD__SERVICES__IMAGES__V1__UPDATE_IMAGE_REQUEST__INIT;
		req.image = image;
		return ctr_call(cli, &containerd__services__images__v1__images__descriptor, "Update", &req,
		                &resp, error);
	}
	ctr_image_delete(cli, target, false, NULL);
	Containerd__Services__Images__V1__CreateImageRequest req =
	        CONTAINERD__SERVICES__IMAGES__V1__CREATE_IMAGE_REQUEST__INIT;
	req.image = image;
	return ctr_call(cli, &containerd__services__images__v1__images__descriptor, "Create", &req, &resp,
	                error);
}

static bool convert_image(Convert *c, const char *source, const char *target, GError **error)
{
	autopb Containerd__Services__Images__V1__GetImageResponse *resp = NULL;
	if (!ctr_image_get(c->cli, source, &resp, error))
		return false;
	const Containerd__Services__Images__V1__Image *from = resp->image;
	g_autoptr(Descriptor) old = ctr_image_target(from);
	g_autoptr(JsonObject) desc = descriptor_to_json(old);
	bool changed = false;
	if (!convert(c, desc, &changed, error))
		return false;
	Containerd__Services__Images__V1__Image image = CONTAINERD__SERVICES__IMAGES__V1__IMAGE__INIT;
	image.name = target;
	image.labels = from->labels;
	image.n_labels = from->n_labels;
	if (!store_image(c->cli, &image, source, desc, error))
		return false;
	puts(json_get_string(desc, "digest"));
	return true;
}

static PlatformMatcher *wanted_platforms(Cli *cli, GError **error)
{
	g_autoptr(GPtrArray) list = platforms_parse((const char *const *)cli_strings(cli, "platform"), error);
	if (list == NULL)
		return NULL;
	if (list->len > 0)
		return platform_matcher_ordered(list);
	g_auto(Platform) own = {0};
	platform_default(&own);
	return platform_matcher_only(&own);
}

static bool convert_run(Cli *cli, GError **error)
{
	const char *source = cli_arg(cli, 0), *target = cli_arg(cli, 1);
	if (*source == '\0' || *target == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "src and target image need to be specified");
	if (cli_is_set(cli, "erofs"))
		return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "--erofs is not there yet");
	Convert c = {.cli = cli, .uncompress = cli_bool(cli, "uncompress"), .to_oci = cli_bool(cli, "oci")};
	g_autoptr(PlatformMatcher) matcher = NULL;
	if (!cli_bool(cli, "all-platforms")) {
		matcher = wanted_platforms(cli, error);
		if (matcher == NULL)
			return false;
		c.matcher = matcher;
	}
	if (!ctr_lease_hold(cli, error))
		return false;
	bool ok = convert_image(&c, source, target, error);
	ctr_lease_release(cli);
	return ok;
}

static const CliFlag convert_flags[] = {
        {"uncompress", FLAG_BOOL, "Convert tar.gz layers to uncompressed tar layers", .value = "false"},
        {"oci", FLAG_BOOL, "Convert Docker media types to OCI media types", .value = "false"},
        {"erofs", FLAG_STRING,
         "Convert layers to EROFS format, must specify 'raw' or 'zstd' (e.g. --erofs raw, --erofs zstd)"},
        {"platform", FLAG_STRINGS, "Pull content from a specific platform"},
        {"all-platforms", FLAG_BOOL, "Exports content from all platforms", .value = "false"},
        {0},
};
const CliCommand ctr_images_convert = {
        .name = "convert",
        .usage = "Convert an image",
        .arguments = "[flags] <source_ref> <target_ref>",
        .description = "   e.g., 'ctr images convert --uncompress --oci example.com/foo:orig "
                       "example.com/foo:converted'\n"
                       "   Use '--platform' to define the output platform.\n"
                       "   When '--all-platforms' is given all images in a manifest list must be available.",
        .flags = {convert_flags},
        .run = convert_run,
};
