// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What a shim binary tells about itself and its runtime: `<binary> -info` (upstream getRuntimeInfo and
 * validateRuntimeFeatures of core/runtime/v2/task_manager.go). Block; no state. */

#include "base/error.h"
#include "base/util.h"

typedef struct {
	GHashTable *annotations; // strmap
	char *features;          // the OCI runtime's, JSON; NULL: not told
} RuntimeInfo;
void runtime_info_clear(RuntimeInfo *info);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RuntimeInfo, runtime_info_clear)

/* runtime as for shim_binary_resolve; options: which OCI runtime, may be NULL or unset. */
bool runtime_info_get(const char *runtime, const Any *options, RuntimeInfo *ret, GError **error);

/* A spec with idmapped mounts needs a runtime that says that it can do them: one that cannot would ignore the
 * maps, and files would be written with the wrong owners. Asks the binary only where the spec has some.
 * Error: `idmap mounts not supported: missing `mountExtensions.idmap` entry in `features` command`. */
bool runtime_check_idmap(const char *runtime, const Any *options, const Any *spec, GError **error);
