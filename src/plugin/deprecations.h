// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Uses of deprecated features, collected for `ctr deprecations list` and Introspection (upstream
 * pkg/deprecation and plugins/services/warning). Thread-safe; each is logged once as a warning when it is
 * first seen.
 */

#include "base/time.h"
#include <glib.h>

typedef struct Deprecations Deprecations;

typedef struct {
	const char *id, *message; // static
	TimeNs last;
} Deprecation;

Deprecations *deprecations_new(void);
void deprecations_free(Deprecations *d);
/* id: "io.containerd.deprecation/cgroup-v1" and so on; an unknown one is a bug of the caller and only logged.
 */
void deprecations_emit(Deprecations *d, const char *id);
/* GArray of Deprecation, in order of first use. */
GArray *deprecations_list(Deprecations *d);
