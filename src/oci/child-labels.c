// SPDX-License-Identifier: Apache-2.0
#include "oci/child-labels.h"
#include "base/digest.h"
#include "base/util.h"
#include "oci/labels.h"
#include "oci/media-types.h"

#define REFERRER_DIGITS 12

const char *child_gc_label(const Descriptor *child)
{
	if (descriptor_annotation(child, ANNOTATION_MANIFEST_SUBJECT) != NULL)
		return LABEL_GC_REF_CONTENT_REFERRER;
	if (media_type_is_known_config(child->media_type))
		return LABEL_GC_REF_CONTENT_CONFIG;
	if (media_type_is_manifest(child->media_type))
		return LABEL_GC_REF_CONTENT_MANIFEST;
	if (media_type_is_layer(child->media_type))
		return LABEL_GC_REF_CONTENT_LAYER;
	return LABEL_GC_REF_CONTENT ".";
}

GHashTable *child_gc_labels(GPtrArray *children, bool skip_layers)
{
	GHashTable *labels = strmap_new();
	g_autoptr(GHashTable) counts = g_hash_table_new(g_str_hash, g_str_equal);
	for (guint i = 0; i < children->len; i++) {
		const Descriptor *child = children->pdata[i];
		if (skip_layers && media_type_is_layer(child->media_type))
			continue;
		const char *key = child_gc_label(child);
		guint n = GPOINTER_TO_UINT(g_hash_table_lookup(counts, key));
		g_hash_table_insert(counts, (gpointer)key, GUINT_TO_POINTER(n + 1));
		g_autofree char *label = NULL;
		if (g_str_has_suffix(key, ".sha256."))
			label = g_strdup_printf("%s%.*s", key, REFERRER_DIGITS, digest_hex(child->digest));
		else if (n > 0 || g_str_has_suffix(key, "."))
			label = g_strdup_printf("%s%u", key, n);
		else
			label = g_strdup(key);
		strmap_set(labels, label, child->digest);
	}
	return labels;
}
