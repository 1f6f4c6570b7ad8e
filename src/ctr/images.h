// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Commands of `ctr images` that go through the daemon's Transfer service: cmd-images-transfer.c. */

#include "ctr/cli.h"

extern const CliCommand ctr_images_pull, ctr_images_push, ctr_images_import, ctr_images_export,
        ctr_images_tag;
