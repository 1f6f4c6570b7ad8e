// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The labels by which a manifest or index keeps its children from the garbage collector (upstream
 * images.ChildGCLabels, SetChildrenMappedLabels). No state. */

#include "oci/descriptor.h"

/* `containerd.io/gc.ref.content.l.` and the like; a key that ends in a dot gets a number (or digest). Static.
 */
const char *child_gc_label(const Descriptor *child);

/* The labels to set on the parent of these children (GPtrArray of Descriptor*): a strmap of key to digest.
 * skip_layers: as ChildGCLabelsFilterLayers, where the layers are not kept. */
GHashTable *child_gc_labels(GPtrArray *children, bool skip_layers);
