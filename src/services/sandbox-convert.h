// SPDX-License-Identifier: Apache-2.0
#pragma once

/* containerd.types.Sandbox and what the store keeps. */

#include "services/convert.h"
#include "store/sandboxes.h"
#include "types/sandbox.pb-c.h"

Containerd__Types__Sandbox *pb_sandbox_out(Arena *arena, const Sandbox *s);
Sandbox *pb_sandbox_in(const Containerd__Types__Sandbox *in);
