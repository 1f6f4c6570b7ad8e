// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The default seccomp profile of containers (upstream contrib/seccomp): an allow list that depends on the
 * bounding capabilities, the kernel and the architecture. No state. */

#include "base/json.h"

/* The "seccomp" object for the bounding capabilities that the spec has now: call it after they are set. */
JsonObject *seccomp_default_profile(JsonObject *spec);
