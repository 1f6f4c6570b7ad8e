// SPDX-License-Identifier: Apache-2.0
#pragma once

/* For exchange_set_field_fn (runtime/exchange.h). Pure function. */

#include "base/util.h"

char *event_field(const Any *event, const char *const *path, size_t n_path);
