// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/schema.h"

/* Declared in schemas-cri.c. */
extern const ConfigSchema schema_cri_images, schema_cri_runtime, schema_cri_server;
