// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Bundles: the directory <state>/<ns>/<id> that a shim works in (config.json, rootfs/, work ->, address,
 * ...), and its persistent twin <root>/<ns>/<id>. Upstream core/runtime/v2/bundle.go. Functions block; a
 * bundle belongs to one thread at a time.
 */

#include "base/util.h"
#include <glib.h>
#include <stdbool.h>

typedef struct {
	char *ns, *id;
	char *path; // <state>/<ns>/<id>
} Bundle;

/* Makes both directories and writes config.json (spec->value where set). 0700, or 0710 with the group of the
 * mapped root where the spec has gid mappings. ALREADY_EXISTS `task x: already exists` where the directory is
 * there. Nothing stays after an error. */
Bundle *bundle_new(const char *root, const char *state, const char *ns, const char *id, const Any *spec,
                   GError **error);
Bundle *bundle_at(const char *state, const char *ns, const char *id);
void bundle_free(Bundle *b); // the structure only
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Bundle, bundle_free)

/* Unmounts what is in rootfs and removes the directories, by way of a hidden name. Absent is fine; can be
 * repeated. */
bool bundle_delete(const Bundle *b, GError **error);

char *bundle_file(const Bundle *b, const char *name); // owned by the caller
