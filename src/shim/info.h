// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <glib.h>
#include <stdbool.h>

/* -info: the runtime options' Any on stdin (or nothing), a RuntimeInfo on stdout: name, version, the options,
 * and what
 * `<binary> features` says, where the runtime knows that command. Blocking. */
bool info_run(GError **error);
/* -v */
void version_print(const char *argv0);
