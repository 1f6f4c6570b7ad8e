// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The instance of the metadata plugin: the database and what is namespaced by it. Borrowed by everybody;
 * closed with the plugin. */

#include "plugin/plugin.h"
#include "store/content.h"
#include "store/meta.h"
#include "store/snapshots.h"

typedef struct {
	MetaDb *db;
	ContentStore *content;    // with namespaces, over the content plugin's store
	GHashTable *snapshotters; // name -> Snapshotter*
	unsigned collector;       // of metrics
} Metadata;

static inline Metadata *plugin_get_metadata_plugin(PluginInit *init, GError **error)
{
	return plugin_get_single(init, PLUGIN_METADATA, error);
}
