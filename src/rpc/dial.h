// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Connecting without blocking; loop's thread. */

#include "loop/loop.h"
#include <glib.h>

typedef struct RpcDial RpcDial;
/* fd is the callee's, or -1 with an error (borrowed). May run before rpc_dial_start returns. */
typedef void (*RpcDialFn)(void *data, int fd, const GError *error);
RpcDial *rpc_dial_new(Loop *loop, const char *address, RpcDialFn fn, void *data);
void rpc_dial_start(RpcDial *dial);
/* Cancels where it is under way; fn is not called any more. */
void rpc_dial_free(RpcDial *dial);
