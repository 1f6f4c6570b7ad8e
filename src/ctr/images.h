// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Commands of `ctr images` and `ctr content` that have files of their own: cmd-images-transfer.c has those
 * that go through the daemon's Transfer service. */

#include "ctr/cli.h"

extern const CliCommand ctr_images_pull, ctr_images_push, ctr_images_import, ctr_images_export,
        ctr_images_tag, ctr_content_fetch;
/* cmd-images-inspect.c, cmd-images-convert.c */
extern const CliCommand ctr_images_inspect, ctr_images_convert;
/* cmd-content-remote.c */
extern const CliCommand ctr_content_fetch_object, ctr_content_fetch_blob, ctr_content_push_object;
