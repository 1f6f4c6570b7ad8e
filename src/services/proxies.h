// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Proxy plugins' kinds that have no store: differs and sandbox controllers in another process, over
 * containerd.services.diff.v1 and containerd.services.sandbox.v1.Controller (upstream core/diff/proxy and
 * core/sandbox/proxy). Content and snapshots: store/content-proxy.h, store/snapshots-proxy.h. Namespace and
 * lease go along as metadata; errors are the peer's, with the class of its status. Thread-safe; not for the
 * client's loop thread.
 */

#include "rpc/client.h"
#include "runtime/sandbox-controller.h"
#include "transfer/differ.h"

/* Refs the client. */
Differ *differ_proxy_new(RpcClient *client);
/* name: what the peer knows the controller by. loop, the client's: for the pauses of a wait that is asked
 * anew because the peer was away. Waits have ended before free. */
SandboxController *sandbox_proxy_new(Loop *loop, RpcClient *client, const char *name);
