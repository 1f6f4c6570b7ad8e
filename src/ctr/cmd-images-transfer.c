// SPDX-License-Identifier: Apache-2.0
#include "ctr/ctr.h"
#include "ctr/images.h"

const CliCommand ctr_images_pull = {.name = "pull"}, ctr_images_push = {.name = "push"},
                 ctr_images_import = {.name = "import"}, ctr_images_export = {.name = "export"},
                 ctr_images_tag = {.name = "tag"};
