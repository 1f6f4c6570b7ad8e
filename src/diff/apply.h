// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Apply a layer's tar stream to a directory. Upstream: pkg/archive Apply (applyNaive,
 * OverlayConvertWhiteout), core/diff/apply.
 *
 * The stream is pushed (layer_apply_write) or pulled (layer_apply_source). Whatever the archive says, nothing
 * outside the root is touched: parents resolve with openat2(RESOLVE_IN_ROOT), so links and `..` end in the
 * root as in a chroot, and the last component is never followed; every change goes through the parent's fd.
 * Hard links are resolved the same way.
 *
 * As upstream's: missing parents are made 0755 (or like the same directory in `parents`), an existing thing
 * is replaced unless both are directories, modes are exact, times outside 1970-2262 become 0, times of
 * directories are set at the end, `trusted.*` xattrs and those that the file system does not know are left
 * out with a warning. A layer that fails half way leaves a partly filled root: the caller removes it. Not as
 * upstream's: GNU sparse files of the old format are extracted (upstream refuses them), holes stay holes,
 * uids that do not fit 32 bits are an error instead of being cut, `.wh..wh.*` of aufs are left out, an opaque
 * marker spares the parents that this layer needed, a directory that the same layer removes again is no
 * error.
 *
 * Nothing is synced: the caller does syncfs. One thread at a time.
 * Errors: texts of Go (`open /root/x: no space left on device`, `invalid whiteout name: .wh..: invalid
 * archive`, `mkparent /root/x: not a directory`, `failed to Lchown "/root/x" for UID 1, GID 2: ...`), class
 * UNKNOWN; limits are RESOURCE_EXHAUSTED; canceled is CANCELED.
 */

#include "diff/compression.h"
#include "diff/tar.h"
#include "loop/cancel.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum {
	LAYER_WHITEOUT_REMOVE,  // a whiteout removes what is there (native snapshots, mounted targets)
	LAYER_WHITEOUT_OVERLAY, // becomes a 0/0 device, opaque becomes trusted.overlay.opaque: upper dirs
	LAYER_WHITEOUT_OVERLAY_USER, // the same with user.overlay.opaque: mounts with userxattr
} LayerWhiteout;

typedef struct {
	LayerWhiteout whiteout;
	const char *const *parents; // lower directories, topmost first: owner, mode, times, xattrs of parents
	bool no_same_owner;         // no chown (upstream's WithNoSameOwner)
	int64_t max_size;           // bytes of content that may be written, 0: no limit
	int64_t max_entries;        // 0: no limit
	Cancel *cancel;             // borrowed
	/* false leaves the entry out; *error stops. name is cleaned. Called on the applying thread. */
	bool (*filter)(void *data, const TarHeader *header, const char *name, GError **error);
	void *filter_data;
} LayerApplyOptions;

typedef struct {
	int64_t size;    // sum of the entries' sizes (what upstream's Apply returns)
	int64_t entries; // headers seen
	int64_t files, dirs;
	unsigned warnings; // things left out
} LayerApplyResult;

typedef struct LayerApply LayerApply;
/* options (copied; NULL: all defaults). root must exist. */
LayerApply *layer_apply_new(const char *root, const LayerApplyOptions *options, GError **error);
void layer_apply_free(LayerApply *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LayerApply, layer_apply_free)
/* An error is final. What follows the end of the archive is taken and ignored. */
bool layer_apply_write(LayerApply *a, const void *data, size_t len, GError **error);
/* The end of the stream: times of directories are set. `unexpected EOF` where the archive is cut. */
bool layer_apply_finish(LayerApply *a, LayerApplyResult *ret, GError **error);

/* The whole stream (not compressed) of a source, read to its end. */
bool layer_apply_source(const char *root, const LayerApplyOptions *options, ByteSource source, void *data,
                        LayerApplyResult *ret, GError **error);

/* What core/diff/apply makes of an overlay mount's options: upperdir and lowerdirs. false where there is no
 * upperdir (the caller mounts instead). */
bool layer_overlay_paths(const char *const *options, char **ret_upper, char ***ret_lowers);

/* Are we in a user namespace (device nodes are then left out, and overlay conversion cannot work)? */
bool running_in_userns(void);
