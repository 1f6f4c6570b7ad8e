// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "shim/args.h"

/* The action `delete`: a bundle whose shim is gone, at whatever point it died. The container is deleted by
 * force, the rootfs unmounted, the socket that nobody listens on removed; a DeleteResponse (137) goes to
 * stdout. Steps that fail are warnings on stderr, which the daemon logs. Blocking. */
bool delete_run(const Args *args, GError **error);
