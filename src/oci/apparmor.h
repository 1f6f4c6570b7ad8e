// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The default AppArmor profile of containers (upstream contrib/apparmor). Blocks; thread-safe. */

#include <glib.h>
#include <stdbool.h>

/* The profile's text under a name, for this machine (which includes are installed, the daemon's own profile).
 * Owned by the caller. */
char *apparmor_default_profile(const char *name);
/* Loads it with apparmor_parser unless a profile of that name is loaded. */
bool apparmor_load_default(const char *name, GError **error);
/* The kernel confines with AppArmor and apparmor_parser is there. */
bool apparmor_host_supports(void);
