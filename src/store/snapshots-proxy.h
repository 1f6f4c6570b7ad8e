// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A snapshotter in another process, over containerd.services.snapshots.v1: core/snapshots/proxy of upstream.
 * Keys are what the peer knows (snapshotter_remote_new gives them); namespace and lease go along as metadata.
 * Errors are the peer's, with the class of its status.
 */

#include "rpc/client.h"
#include "store/snapshots.h"

/* Refs the client. name: what the peer calls the snapshotter. capabilities: copied, may be NULL. */
Snapshotter *snapshotter_proxy_new(RpcClient *client, const char *name, const char *const *capabilities);
