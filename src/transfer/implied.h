// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Directories that a layer's archive uses but does not have an entry for. Extracted without its parent, a
 * layer gets them as 0755 root:root, and as part of an overlay that would hide what the layers below say
 * about them (a /tmp of 1777). They are noted while the layer is extracted, and put right when the layers
 * below are known. One thread at a time.
 */

#include "diff/tar.h"

#include <glib.h>
#include <stdbool.h>

typedef struct ImpliedDirs ImpliedDirs;
ImpliedDirs *implied_dirs_new(void);
void implied_dirs_free(ImpliedDirs *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImpliedDirs, implied_dirs_free)
/* A LayerApplyOptions.filter that lets everything pass. */
bool implied_dirs_filter(void *dirs, const TarHeader *header, const char *name, GError **error);
bool implied_dirs_any(const ImpliedDirs *d);
/* Owner, mode, xattrs and times of the noted directories in root become those that the overlay of the lower
 * directories (char*, topmost first) shows; what is not there stays. No link is followed. */
bool implied_dirs_fix(const ImpliedDirs *d, const char *root, GPtrArray *lowers, GError **error);
