// SPDX-License-Identifier: Apache-2.0

#include "runtime/runtime-info-client.h"
#include "base/json.h"
#include "google/protobuf/any.pb-c.h"
#include "message.h"
#include "runtime/shim-client-binary.h"
#include "types/introspection.pb-c.h"
#include <string.h>

void runtime_info_clear(RuntimeInfo *info)
{
	g_clear_pointer(&info->annotations, g_hash_table_unref);
	g_clear_pointer(&info->features, g_free);
}

static GBytes *pack_options(const Any *options)
{
	if (options == NULL || !any_is_set(options))
		return NULL;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	gsize len = 0;
	any.type_url = options->type_url;
	any.value.data = options->value != NULL ? (uint8_t *)g_bytes_get_data(options->value, &len) : NULL;
	any.value.len = len;
	return api_pack(&any.base);
}

bool runtime_info_get(const char *runtime, const Any *options, RuntimeInfo *ret, GError **error)
{
	g_autofree char *binary = shim_binary_resolve(runtime, error);
	if (binary == NULL)
		return error_prefix(error, "failed to resolve runtime path");
	g_autoptr(GBytes) input = pack_options(options);
	g_autoptr(GBytes) output = shim_binary_info(binary, input, error);
	if (output == NULL)
		return false;
	gsize len = 0;
	const void *data = g_bytes_get_data(output, &len);
	Containerd__Types__RuntimeInfo *info =
	        api_unpack(&containerd__types__runtime_info__descriptor, NULL, data, len, error);
	if (info == NULL)
		return error_prefix(error, "failed to unmarshal stdout from [%s -info]", binary);
	ret->annotations = strmap_new();
	for (size_t i = 0; i < info->n_annotations; i++)
		strmap_set(ret->annotations, info->annotations[i]->key, info->annotations[i]->value);
	if (info->features != NULL && info->features->value.len > 0)
		ret->features =
		        g_strndup((const char *)info->features->value.data, info->features->value.len);
	protobuf_c_message_free_unpacked(&info->base, NULL);
	return true;
}

/* ---- idmapped mounts ---- */

static bool mount_is_idmapped(JsonObject *m)
{
	if (json_get_array(m, "uidMappings") != NULL || json_get_array(m, "gidMappings") != NULL)
		return true;
	g_auto(GStrv) options = NULL;
	return json_get_strv(m, "options", &options, NULL) && options != NULL &&
	       (g_strv_contains((const char *const *)options, "idmap") ||
	        g_strv_contains((const char *const *)options, "ridmap"));
}

static bool spec_uses_idmap(const Any *spec)
{
	gsize len = 0;
	const char *data = spec != NULL && spec->value != NULL ? g_bytes_get_data(spec->value, &len) : NULL;
	// nearly no spec has any: not worth parsing to learn that
	if (data == NULL || (g_strstr_len(data, (gssize)len, "idMappings") == NULL &&
	                     g_strstr_len(data, (gssize)len, "idmap") == NULL))
		return false;
	g_autoptr(JsonObject) json = json_parse(data, len, 0, NULL);
	JsonObject *mounts = json != NULL ? json_get_array(json, "mounts") : NULL;
	for (size_t i = 0; mounts != NULL && i < json_object_array_length(mounts); i++) {
		if (mount_is_idmapped(json_object_array_get_idx(mounts, i)))
			return true;
	}
	return false;
}

static bool check_features(const char *text, GError **error)
{
	g_autoptr(JsonObject) json = json_parse(text, strlen(text), 0, error);
	if (json == NULL)
		return error_prefix(error, "unmarshal runtime features");
	JsonObject *os = json_get_object(json, "linux");
	JsonObject *extensions = os != NULL ? json_get_object(os, "mountExtensions") : NULL;
	JsonObject *idmap = extensions != NULL ? json_get_object(extensions, "idmap") : NULL;
	bool enabled = false;
	if (idmap == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "idmap mounts not supported: missing `mountExtensions.idmap` entry in "
		                 "`features` command");
	if (!json_get_bool(idmap, "enabled", &enabled) || !enabled)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "idmap mounts not supported: entry `mountExtensions.idmap.Enabled` in "
		                 "`features` command not present or disabled");
	return true;
}

bool runtime_check_idmap(const char *runtime, const Any *options, const Any *spec, GError **error)
{
	if (!spec_uses_idmap(spec))
		return true;
	g_auto(RuntimeInfo) info = {0};
	if (!runtime_info_get(runtime, options, &info, error))
		return error_prefix(error, "runtime info");
	// as upstream leaves those alone that are not like runc: crun knew idmaps before it told its features
	return info.features == NULL || check_features(info.features, error);
}
