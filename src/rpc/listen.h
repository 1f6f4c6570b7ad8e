// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Accepting on a listening socket of the loop; loop's thread. */

#include "loop/loop.h"
#include <stdbool.h>

typedef struct RpcListener RpcListener;
/* Takes fd. accepted takes each connection. */
RpcListener *rpc_listener_new(Loop *loop, int fd, void (*accepted)(RpcListener *l, int fd), void *owner);
void *rpc_listener_owner(RpcListener *listener);
void rpc_listener_free(RpcListener *listener);
