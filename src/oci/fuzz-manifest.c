// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "oci/child-labels.h"
#include "oci/manifest.h"
#include "oci/media-types.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No document is both, and what is accepted survives being written and read again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Manifest) m = manifest_parse(data, size, MEDIA_TYPE_OCI_MANIFEST, NULL);
	g_autoptr(Index) index = index_parse(data, size, MEDIA_TYPE_OCI_INDEX, NULL);
	g_autoptr(ImageConfig) config = image_config_parse(data, size, NULL);
	g_assert(m == NULL || index == NULL);
	if (m != NULL) {
		g_autoptr(JsonObject) o = manifest_to_json(m);
		g_autofree char *text = json_to_text(o);
		g_autoptr(Manifest) again =
		        manifest_parse(text, strlen(text), MEDIA_TYPE_OCI_MANIFEST, &error);
		g_assert_no_error(error);
		g_autoptr(GHashTable) labels = child_gc_labels(again->layers, false);
		g_assert_true(again->layers->len == 0 || g_hash_table_size(labels) > 0);
	}
	if (index != NULL) {
		g_autoptr(JsonObject) o = index_to_json(index);
		g_autofree char *text = json_to_text(o);
		g_autoptr(Index) again = index_parse(text, strlen(text), MEDIA_TYPE_OCI_INDEX, &error);
		g_assert_no_error(error);
		g_autoptr(PlatformMatcher) matcher = platform_matcher_default();
		descriptors_limit_manifests(again->manifests, matcher, 0, NULL);
		descriptors_filter_platform(again->manifests, matcher);
	}
	if (config != NULL) {
		g_auto(GStrv) chain = chain_ids((const char *const *)config->diff_ids);
		g_assert_cmpuint(g_strv_length(chain), ==, g_strv_length(config->diff_ids));
	}
	return 0;
}
