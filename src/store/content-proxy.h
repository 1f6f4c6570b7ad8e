// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Content in another process, over containerd.services.content.v1 (upstream core/content/proxy): proxy
 * plugins, and any client. Namespace and lease go along as metadata. Errors are the peer's, with the class of
 * its status. Thread-safe as every content store; not for the client's loop thread.
 */

#include "rpc/client.h"
#include "store/content.h"

/* Refs the client. */
ContentStore *content_proxy_new(RpcClient *client);
