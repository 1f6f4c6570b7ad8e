// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The difference of two directories as a layer's tar stream. Upstream: pkg/archive WriteDiff and
 * ChangeWriter, continuity/fs Changes and DiffDirChanges. The output of compare_write is byte for byte
 * upstream's, so the same change gets the same diff id.
 *
 * As upstream's: entries in path order; a directory is written before what is in it, also where only its
 * content changed; `.wh.name` for what is gone (owner 0, mode 0, time 0); hard links to unchanged files are
 * written once one of the links is new; times cut to seconds, no access times; of the xattrs only
 * security.capability; sockets are left out.
 *
 * Files are opened without following links and checked to be what the walk saw: the upper directory may
 * belong to a running container. Errors: `failed to create diff tar stream: ...`, class UNKNOWN. Any thread.
 */

#include "base/time.h"
#include "diff/compression.h"
#include "loop/cancel.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
	bool has_source_date_epoch;
	TimeNs source_date_epoch; // times after this become this
	Cancel *cancel;           // borrowed
} CompareOptions;

/* All that differs in upper from lower, by walking both. lower NULL: upper as a whole. Not compressed. */
bool compare_write(const char *lower, const char *upper, const CompareOptions *options, ByteSink sink,
                   void *data, GError **error);

/* The same from an overlay's upper directory and the merged lower tree, reading only upper: 0/0 devices
 * become whiteouts, opaque directories `.wh..wh..opq`. Files that were copied up but not changed are in the
 * output (they are not in that of compare_write). */
bool compare_write_overlay(const char *lower, const char *upperdir, const CompareOptions *options,
                           ByteSink sink, void *data, GError **error);

typedef struct {
	char *diff_id; // of the tar stream
	char *digest;  // of what the sink got
	int64_t size;  // likewise
	Compression compression;
} CompareResult;
void compare_result_clear(CompareResult *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CompareResult, compare_result_clear)

/* Compare, compress and digest: what the differ stores. overlay: upper is an upper directory. */
bool compare_layer(const char *lower, const char *upper, bool overlay, Compression compression,
                   const CompareOptions *options, ByteSink sink, void *data, CompareResult *ret,
                   GError **error);
