// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A directory tree copied with all that a file system keeps: contents with their holes (by reflink where the
 * file system can), owners, modes, times of files and directories, hard links, links, devices, FIFOs,
 * sockets, xattrs. Upstream: continuity fs.CopyDir. xattrs that cannot be set are left out, as upstream's
 * native snapshotter does. Not synced.
 */

#include "loop/cancel.h"
#include <glib.h>
#include <stdbool.h>

/* The content of the directory src goes into the empty directory dst, which gets src's metadata. shown names
 * src in error texts. */
bool snapshot_copy_tree(int src, int dst, const char *shown, Cancel *cancel, GError **error);
