// SPDX-License-Identifier: Apache-2.0
#include "oci/manifest.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/util.h"
#include "oci/media-types.h"
#include <string.h>

/* ---- what manifests and indexes share ---- */

/* A document in which elements of the other kind stand is refused (CVE-2021-41190). */
static bool check_kind(JsonObject *doc, const char *media_type, GError **error)
{
	const char *says = json_get_string(doc, "mediaType");
	if (!json_object_is_type(doc, json_type_object))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "media-type: document is not an object");
	// null counts as there, as it does upstream
	if (json_object_object_get_ex(doc, "fsLayers", NULL))
		return error_set(error, CTRD_ERR_UNKNOWN, "media-type: schema 1 not supported");
	if (media_type_is_manifest(media_type) &&
	    (json_object_object_get_ex(doc, "manifests", NULL) || media_type_is_index(says)))
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "media-type: expected manifest but found index (%s)", media_type);
	if (media_type_is_index(media_type) &&
	    (json_object_object_get_ex(doc, "config", NULL) ||
	     json_object_object_get_ex(doc, "layers", NULL) || media_type_is_manifest(says)))
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "media-type: expected index but found manifest (%s)", media_type);
	return true;
}

static JsonObject *parse_checked(const void *data, size_t len, const char *media_type, GError **error)
{
	g_autoptr(JsonObject) doc = json_parse(data, len, MANIFEST_MAX, error);
	if (doc == NULL || !check_kind(doc, media_type, error))
		return NULL;
	return g_steal_pointer(&doc);
}

bool manifest_validate_media_type(const void *data, size_t len, const char *media_type, GError **error)
{
	g_autoptr(JsonObject) doc = parse_checked(data, len, media_type, error);
	return doc != NULL;
}

static bool get_string(JsonObject *o, const char *key, char **ret, GError **error)
{
	JsonObject *value = json_get(o, key);
	if (value != NULL && !json_object_is_type(value, json_type_string))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "%s is not a string", Q(key));
	const char *s = value != NULL ? json_object_get_string(value) : "";
	*ret = *s != '\0' ? g_strdup(s) : NULL;
	return true;
}

static bool get_descriptors(JsonObject *o, const char *key, size_t max, GPtrArray **ret, GError **error)
{
	JsonObject *array = json_get(o, key);
	g_autoptr(GPtrArray) list = descriptors_new();
	if (array != NULL && !json_object_is_type(array, json_type_array))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "%s is not an array", Q(key));
	size_t n = array != NULL ? json_object_array_length(array) : 0;
	if (n > max)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "%s has more than %zu elements",
		                       Q(key), max);
	for (size_t i = 0; i < n; i++) {
		g_autoptr(Descriptor) d = g_new0(Descriptor, 1);
		if (!descriptor_from_json(json_object_array_get_idx(array, i), d, error))
			return error_prefix(error, "%s[%zu]", key, i);
		g_ptr_array_add(list, g_steal_pointer(&d));
	}
	*ret = g_steal_pointer(&list);
	return true;
}

/* mediaType, artifactType, subject and annotations. */
static bool get_common(JsonObject *doc, char **ret_media_type, char **ret_artifact_type,
                       Descriptor **ret_subject, GHashTable **ret_annotations, GError **error)
{
	if (!get_string(doc, "mediaType", ret_media_type, error) ||
	    !get_string(doc, "artifactType", ret_artifact_type, error))
		return false;
	JsonObject *subject = json_get(doc, "subject");
	if (subject != NULL) {
		*ret_subject = g_new0(Descriptor, 1);
		if (!descriptor_from_json(subject, *ret_subject, error))
			return error_prefix(error, "subject");
	}
	return json_get(doc, "annotations") == NULL ||
	       json_get_strmap(doc, "annotations", ret_annotations, error);
}

static JsonObject *document_new(const char *media_type, const char *artifact_type)
{
	JsonObject *o = json_object_new_object();
	json_set_int64(o, "schemaVersion", 2);
	json_set_string(o, "mediaType", media_type);
	json_set_string(o, "artifactType", artifact_type);
	return o;
}

static JsonObject *descriptors_to_json(GPtrArray *descriptors)
{
	JsonObject *array = json_object_new_array();
	for (guint i = 0; i < descriptors->len; i++)
		json_object_array_add(array, descriptor_to_json(descriptors->pdata[i]));
	return array;
}

static void set_common(JsonObject *o, const Descriptor *subject, GHashTable *annotations)
{
	if (subject != NULL)
		json_set(o, "subject", descriptor_to_json(subject));
	if (annotations == NULL || g_hash_table_size(annotations) == 0)
		return;
	JsonObject *map = json_object_new_object();
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(annotations);
	for (guint i = 0; i < keys->len; i++)
		json_set_string(map, keys->pdata[i], strmap_get(annotations, keys->pdata[i]));
	json_set(o, "annotations", map);
}

/* ---- manifests ---- */

Manifest *manifest_parse(const void *data, size_t len, const char *media_type, GError **error)
{
	g_autoptr(JsonObject) doc = parse_checked(data, len, media_type, error);
	if (doc == NULL)
		return NULL;
	g_autoptr(Manifest) m = g_new0(Manifest, 1);
	if (!get_common(doc, &m->media_type, &m->artifact_type, &m->subject, &m->annotations, error) ||
	    !get_descriptors(doc, "layers", MANIFEST_LAYERS_MAX, &m->layers, error)) {
		error_prefix(error, "manifest");
		return NULL;
	}
	if (!descriptor_from_json(json_get(doc, "config"), &m->config, error)) {
		error_prefix(error, "manifest: config");
		return NULL;
	}
	return g_steal_pointer(&m);
}

JsonObject *manifest_to_json(const Manifest *m)
{
	JsonObject *o = document_new(m->media_type, m->artifact_type);
	json_set(o, "config", descriptor_to_json(&m->config));
	json_set(o, "layers", descriptors_to_json(m->layers));
	set_common(o, m->subject, m->annotations);
	return o;
}

void manifest_free(Manifest *m)
{
	if (m == NULL)
		return;
	g_free(m->media_type);
	g_free(m->artifact_type);
	descriptor_clear(&m->config);
	g_clear_pointer(&m->layers, g_ptr_array_unref);
	descriptor_free(m->subject);
	g_clear_pointer(&m->annotations, g_hash_table_unref);
	g_free(m);
}

/* ---- indexes ---- */

Index *index_parse(const void *data, size_t len, const char *media_type, GError **error)
{
	g_autoptr(JsonObject) doc = parse_checked(data, len, media_type, error);
	if (doc == NULL)
		return NULL;
	g_autoptr(Index) index = g_new0(Index, 1);
	if (!get_common(doc, &index->media_type, &index->artifact_type, &index->subject, &index->annotations,
	                error) ||
	    !get_descriptors(doc, "manifests", INDEX_MANIFESTS_MAX, &index->manifests, error)) {
		error_prefix(error, "index");
		return NULL;
	}
	return g_steal_pointer(&index);
}

JsonObject *index_to_json(const Index *index)
{
	JsonObject *o = document_new(index->media_type, index->artifact_type);
	json_set(o, "manifests", descriptors_to_json(index->manifests));
	set_common(o, index->subject, index->annotations);
	return o;
}

void index_free(Index *index)
{
	if (index == NULL)
		return;
	g_free(index->media_type);
	g_free(index->artifact_type);
	g_clear_pointer(&index->manifests, g_ptr_array_unref);
	descriptor_free(index->subject);
	g_clear_pointer(&index->annotations, g_hash_table_unref);
	g_free(index);
}

/* ---- children ---- */

GPtrArray *manifest_children(const Descriptor *desc, const void *data, size_t len, GError **error)
{
	g_autoptr(GPtrArray) children = NULL;
	if (media_type_is_manifest(desc->media_type)) {
		g_autoptr(Manifest) m = manifest_parse(data, len, desc->media_type, error);
		if (m != NULL) {
			children = g_steal_pointer(&m->layers);
			g_ptr_array_insert(children, 0, descriptor_new_copy(&m->config));
		}
	} else if (media_type_is_index(desc->media_type)) {
		g_autoptr(Index) index = index_parse(data, len, desc->media_type, error);
		if (index != NULL)
			children = g_steal_pointer(&index->manifests);
	} else {
		return descriptors_new();
	}
	if (children == NULL)
		error_prefix(error, "children: invalid desc %s", str_or(desc->digest, ""));
	return g_steal_pointer(&children);
}

void descriptors_filter_platform(GPtrArray *descriptors, const PlatformMatcher *matcher)
{
	for (guint i = 0; matcher != NULL && i < descriptors->len;) {
		const Descriptor *d = descriptors->pdata[i];
		if (d->platform == NULL || platform_matches(matcher, d->platform))
			i++;
		else
			g_ptr_array_remove_index(descriptors, i);
	}
}

/* a before b. Those without a platform go last, in their order. */
static bool comes_before(const Descriptor *a, const Descriptor *b, const PlatformMatcher *matcher)
{
	if (a->platform == NULL)
		return false;
	return b->platform == NULL || platform_less(matcher, a->platform, b->platform);
}

bool descriptors_limit_manifests(GPtrArray *descriptors, const PlatformMatcher *matcher, unsigned limit,
                                 GError **error)
{
	if (matcher == NULL)
		return true;
	// by insertion: stable, and short lists are what is left after the filter
	for (guint i = 1; i < descriptors->len; i++) {
		gpointer moved = descriptors->pdata[i];
		guint at = i;
		for (; at > 0 && comes_before(moved, descriptors->pdata[at - 1], matcher); at--)
			descriptors->pdata[at] = descriptors->pdata[at - 1];
		descriptors->pdata[at] = moved;
	}
	if (limit > 0 && descriptors->len == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "no match for platform in manifest");
	if (limit > 0 && descriptors->len > limit)
		g_ptr_array_set_size(descriptors, (gint)limit);
	return true;
}
