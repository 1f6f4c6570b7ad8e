// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The shim's command line, as Go's flag package reads it: -name value, -name=value, --name; flags end at the
 * first word without a dash, which is the action. */

#include <glib.h>
#include <stdbool.h>

typedef struct {
	bool debug, version, info;
	char *ns, *id, *socket, *debug_socket, *bundle, *address, *publish_binary; // "" where not given
	char *action;                                                              // "" where none
} Args;

void args_clear(Args *args);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Args, args_clear)

/* Error texts as Go's: `flag provided but not defined: -x`, `flag needs an argument: -id`,
 * `invalid boolean value "x" for -debug: parse error`. */
bool args_parse(int argc, char *const *argv, Args *ret, GError **error);
