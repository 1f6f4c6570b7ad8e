// SPDX-License-Identifier: Apache-2.0
#pragma once

#define SHIM_NAME "io.containerd.runc.v2"
