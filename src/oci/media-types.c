// SPDX-License-Identifier: Apache-2.0
#include "oci/media-types.h"
#include "base/error.h"
#include "base/util.h"
#include <string.h>

#define SUFFIXES_MAX 50

static bool is_one_of(const char *mt, const char *const *types, size_t n)
{
	for (size_t i = 0; i < n && mt != NULL; i++)
		if (strcmp(mt, types[i]) == 0)
			return true;
	return false;
}

/* Whether mt without what follows its first "+" is the type. */
static bool base_is(const char *mt, const char *type)
{
	size_t len = strcspn(mt, "+");
	return strlen(type) == len && memcmp(mt, type, len) == 0;
}

bool media_type_is_layer(const char *mt)
{
	static const char *const types[] = {
	        MEDIA_TYPE_DOCKER_LAYER,         MEDIA_TYPE_DOCKER_LAYER_GZIP,
	        MEDIA_TYPE_DOCKER_LAYER_FOREIGN, MEDIA_TYPE_DOCKER_LAYER_FOREIGN_GZIP,
	        MEDIA_TYPE_DOCKER_LAYER_ZSTD,    MEDIA_TYPE_EROFS_LAYER};
	mt = str_or(mt, "");
	if (g_str_has_prefix(mt, "application/vnd.oci.image.layer."))
		return true;
	for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
		if (base_is(mt, types[i]))
			return true;
	return false;
}

bool media_type_is_nondistributable(const char *mt)
{
	mt = str_or(mt, "");
	return g_str_has_prefix(mt, "application/vnd.oci.image.layer.nondistributable.") ||
	       g_str_has_prefix(mt, "application/vnd.docker.image.rootfs.foreign.");
}

bool media_type_is_docker(const char *mt)
{
	return g_str_has_prefix(str_or(mt, ""), "application/vnd.docker.");
}

bool media_type_is_manifest(const char *mt)
{
	static const char *const types[] = {MEDIA_TYPE_DOCKER_MANIFEST, MEDIA_TYPE_OCI_MANIFEST};
	return is_one_of(mt, types, G_N_ELEMENTS(types));
}

bool media_type_is_index(const char *mt)
{
	static const char *const types[] = {MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_DOCKER_MANIFEST_LIST};
	return is_one_of(mt, types, G_N_ELEMENTS(types));
}

bool media_type_is_config(const char *mt)
{
	static const char *const types[] = {MEDIA_TYPE_DOCKER_CONFIG, MEDIA_TYPE_OCI_CONFIG};
	return is_one_of(mt, types, G_N_ELEMENTS(types));
}

bool media_type_is_known_config(const char *mt)
{
	static const char *const types[] = {MEDIA_TYPE_CHECKPOINT, MEDIA_TYPE_CHECKPOINT_CONFIG};
	return media_type_is_config(mt) || is_one_of(mt, types, G_N_ELEMENTS(types));
}

bool media_type_is_attestation(const char *mt)
{
	return g_strcmp0(mt, MEDIA_TYPE_IN_TOTO) == 0;
}

static int compare_suffixes(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *media_type_split(const char *mt, char ***ret_suffixes)
{
	mt = str_or(mt, "");
	size_t len = strcspn(mt, "+");
	if (ret_suffixes != NULL) {
		char **suffixes =
		        mt[len] == '+' ? g_strsplit(mt + len + 1, "+", SUFFIXES_MAX) : g_new0(char *, 1);
		// g_strsplit gives nothing for an empty string, Go's one empty suffix
		if (mt[len] == '+' && suffixes[0] == NULL) {
			g_free(suffixes);
			suffixes = g_new0(char *, 2);
			suffixes[0] = g_strdup("");
		}
		qsort(suffixes, g_strv_length(suffixes), sizeof(char *), compare_suffixes);
		*ret_suffixes = suffixes;
	}
	return g_strndup(mt, len);
}

const char *media_type_diff_compression(const char *mt, GError **error)
{
	static const struct {
		const char *type, *compression;
	} docker[] = {
	        {MEDIA_TYPE_DOCKER_LAYER, "unknown"},   {MEDIA_TYPE_DOCKER_LAYER_FOREIGN, "unknown"},
	        {MEDIA_TYPE_DOCKER_LAYER_GZIP, "gzip"}, {MEDIA_TYPE_DOCKER_LAYER_FOREIGN_GZIP, "gzip"},
	        {MEDIA_TYPE_DOCKER_LAYER_ZSTD, "zstd"},
	};
	g_auto(GStrv) suffixes = NULL;
	g_autofree char *base = media_type_split(mt, &suffixes);
	guint n = g_strv_length(suffixes);
	for (size_t i = 0; i < G_N_ELEMENTS(docker); i++)
		if (strcmp(base, docker[i].type) == 0)
			return n > 0 ? "" : docker[i].compression;
	if (strcmp(base, MEDIA_TYPE_OCI_LAYER) == 0 || strcmp(base, MEDIA_TYPE_OCI_LAYER_NONDIST) == 0) {
		const char *last = n > 0 ? suffixes[n - 1] : "";
		return strcmp(last, "gzip") == 0 ? "gzip" : strcmp(last, "zstd") == 0 ? "zstd" : "";
	}
	error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "unrecognised mediatype %s", str_or(mt, ""));
	return NULL;
}
