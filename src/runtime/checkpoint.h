// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The images that CRIU writes, as a blob (upstream plugins/services/tasks/local.go). Functions block; no
 * state.
 */

#include "store/content.h"
#include <stdbool.h>

/* The directory as a tar of MEDIA_TYPE_CHECKPOINT; there already is no error. */
bool checkpoint_save(ContentStore *content, const Ctx *ctx, const char *dir, Descriptor *ret, GError **error);
/* And back, into a directory that exists. `unsupported checkpoint type "x"`. */
bool checkpoint_unpack(ContentStore *content, const Ctx *ctx, const Descriptor *checkpoint, const char *dir,
                       GError **error);
