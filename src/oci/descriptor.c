// SPDX-License-Identifier: Apache-2.0
#include "oci/descriptor.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/util.h"
#include <string.h>

Descriptor *descriptor_new(const char *media_type, const char *digest, int64_t size)
{
	Descriptor *d = g_new0(Descriptor, 1);
	d->media_type = g_strdup(media_type);
	d->digest = g_strdup(digest);
	d->size = size;
	return d;
}

void descriptor_clear(Descriptor *d)
{
	g_free(d->media_type);
	g_free(d->digest);
	g_strfreev(d->urls);
	g_clear_pointer(&d->annotations, g_hash_table_unref);
	g_clear_pointer(&d->data, g_bytes_unref);
	platform_free(d->platform);
	g_free(d->artifact_type);
	*d = (Descriptor){0};
}

void descriptor_copy(Descriptor *ret, const Descriptor *d)
{
	*ret = (Descriptor){
	        .media_type = g_strdup(d->media_type),
	        .digest = g_strdup(d->digest),
	        .size = d->size,
	        .urls = g_strdupv(d->urls),
	        .annotations = d->annotations != NULL ? strmap_copy(d->annotations) : NULL,
	        .data = d->data != NULL ? g_bytes_ref(d->data) : NULL,
	        .platform = platform_new_copy(d->platform),
	        .artifact_type = g_strdup(d->artifact_type),
	};
}

Descriptor *descriptor_new_copy(const Descriptor *d)
{
	Descriptor *copy = g_new(Descriptor, 1);
	descriptor_copy(copy, d);
	return copy;
}

void descriptor_free(Descriptor *d)
{
	if (d == NULL)
		return;
	descriptor_clear(d);
	g_free(d);
}

static void free_descriptor(gpointer d)
{
	descriptor_free(d);
}

GPtrArray *descriptors_new(void)
{
	return g_ptr_array_new_with_free_func(free_descriptor);
}

const char *descriptor_annotation(const Descriptor *d, const char *key)
{
	return strmap_get(d->annotations, key);
}

void descriptor_annotate(Descriptor *d, const char *key, const char *value)
{
	if (d->annotations == NULL)
		d->annotations = strmap_new();
	strmap_set(d->annotations, key, value);
}

/* A member that must be a string where it is there. NULL where it is not. */
static bool get_string(JsonObject *o, const char *key, char **ret, GError **error)
{
	JsonObject *value = json_get(o, key);
	if (value != NULL && !json_object_is_type(value, json_type_string))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "descriptor: %s is not a string",
		                       Q(key));
	*ret = value != NULL ? g_strdup(json_object_get_string(value)) : NULL;
	return true;
}

static bool get_data(JsonObject *o, GBytes **ret, GError **error)
{
	g_autofree char *text = NULL;
	if (!get_string(o, "data", &text, error))
		return false;
	if (str_empty(text))
		return true;
	gsize len = strlen(text);
	if (len > DESCRIPTOR_DATA_MAX)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "descriptor: data is over the limit of %d bytes", DESCRIPTOR_DATA_MAX);
	size_t body = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
	size_t padding = strspn(text + body, "=");
	if (body + padding != len || padding > 2 || len % 4 != 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "descriptor: data is not base64");
	guchar *bytes = g_base64_decode_inplace(text, &len);
	*ret = g_bytes_new(bytes, len);
	return true;
}

bool descriptor_from_json(JsonObject *o, Descriptor *ret, GError **error)
{
	g_auto(Descriptor) d = {0};
	if (o == NULL || !json_object_is_type(o, json_type_object))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "descriptor: not an object");
	if (!get_string(o, "mediaType", &d.media_type, error) || !get_string(o, "digest", &d.digest, error) ||
	    !get_string(o, "artifactType", &d.artifact_type, error) || !get_data(o, &d.data, error))
		return false;
	if (!digest_validate(d.digest, error))
		return error_prefix(error, "descriptor: digest %s", Q(str_or(d.digest, "")));
	if (json_get(o, "size") != NULL && !json_get_int64(o, "size", &d.size))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "descriptor: size of %s is not a number", d.digest);
	if (d.size < 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "invalid size %" G_GINT64_FORMAT " in %s (%s)", d.size, d.digest,
		                       str_or(d.media_type, ""));
	if (!json_get_strv(o, "urls", &d.urls, error) ||
	    (json_get(o, "annotations") != NULL && !json_get_strmap(o, "annotations", &d.annotations, error)))
		return error_prefix(error, "descriptor");
	if (d.urls != NULL && g_strv_length(d.urls) > DESCRIPTOR_URLS_MAX)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "descriptor: more than %d urls",
		                       DESCRIPTOR_URLS_MAX);
	JsonObject *platform = json_get(o, "platform");
	if (platform != NULL) {
		d.platform = g_new0(Platform, 1);
		if (!platform_from_json(platform, d.platform, error))
			return error_prefix(error, "descriptor");
	}
	*ret = d;
	d = (Descriptor){0};
	return true;
}

static JsonObject *strv_to_json(char *const *strv)
{
	JsonObject *array = json_object_new_array();
	for (; *strv != NULL; strv++)
		json_object_array_add(array, json_object_new_string(*strv));
	return array;
}

JsonObject *descriptor_to_json(const Descriptor *d)
{
	JsonObject *o = json_object_new_object();
	json_set_string(o, "mediaType", str_or(d->media_type, ""));
	json_set_string(o, "digest", str_or(d->digest, ""));
	json_set_int64(o, "size", d->size);
	if (d->urls != NULL && d->urls[0] != NULL)
		json_set(o, "urls", strv_to_json(d->urls));
	if (d->annotations != NULL && g_hash_table_size(d->annotations) > 0) {
		JsonObject *annotations = json_object_new_object();
		g_autoptr(GPtrArray) keys = strmap_sorted_keys(d->annotations);
		for (guint i = 0; i < keys->len; i++)
			json_set_string(annotations, keys->pdata[i],
			                strmap_get(d->annotations, keys->pdata[i]));
		json_set(o, "annotations", annotations);
	}
	if (d->data != NULL && g_bytes_get_size(d->data) > 0) {
		gsize len;
		const guchar *bytes = g_bytes_get_data(d->data, &len);
		g_autofree char *text = g_base64_encode(bytes, len);
		json_set_string(o, "data", text);
	}
	if (d->platform != NULL)
		json_set(o, "platform", platform_to_json(d->platform));
	if (!str_empty(d->artifact_type))
		json_set_string(o, "artifactType", d->artifact_type);
	return o;
}
