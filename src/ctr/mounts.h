// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Mounts as words on the command line, for `ctr mounts activate` and `ctr run --rootfs-mount` (both ours). */

#include "base/error.h"
#include "types/mount.pb-c.h"

/* `type=T,src=S[,dst=D][,options=a:b][,option=c]...`, each word one mount. GPtrArray of
 * Containerd__Types__Mount *, owned. `invalid mount specification "...": ...`. */
GPtrArray *ctr_mounts_parse(char **words, GError **error);
