// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who is asked before an image is pulled (upstream pkg/imageverifier/bindir): the executables of a directory,
 * one after the other in the order of their names, each called as
 *
 *     NAME -name REFERENCE -digest DIGEST -stdin-media-type application/vnd.oci.descriptor.v1+json
 *
 * with the descriptor as JSON on stdin. Exit 0 lets the image pass; what it printed (32 KiB of it) is the
 * reason. A directory that is missing or empty lets everything pass. stderr goes to the log at level debug.
 * Thread-safe; the directory is read anew each time.
 */

#include "loop/cancel.h"
#include "oci/descriptor.h"

#include <glib.h>
#include <stdbool.h>

typedef struct ImageVerifier ImageVerifier;
/* max: how many are called, the rest is skipped with a warning; negative: all. timeout_ns: of each; its
 * process group is killed then. */
ImageVerifier *image_verifier_bindir_new(const char *dir, int64_t max, int64_t timeout_ns);
void image_verifier_free(ImageVerifier *v);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageVerifier, image_verifier_free)

/* false: there is no judgement (`failed to call verifier x (runtime 10s): ...`). Else *ret_ok, and
 * *ret_reason, owned by the caller: `a => looks good, b => fine`, or `verifier b rejected image (exit code
 * 1): unsigned`. */
bool image_verifier_verify(ImageVerifier *v, Cancel *cancel, const char *name, const Descriptor *desc,
                           bool *ret_ok, char **ret_reason, GError **error);
