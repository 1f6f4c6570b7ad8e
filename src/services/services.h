// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The gRPC services, one file each: protobuf <-> domain, nothing else. A constructor takes what the service
 * works on (borrowed for as long as the server runs) and returns the service for rpc_server_add. Handlers are
 * thread-safe. Source: upstream plugins/services.
 */

#include "plugin/deprecations.h"
#include "plugin/plugin.h"
#include "rpc/server.h"
#include "runtime/exchange.h"
#include "runtime/tasks.h"
#include "store/content.h"
#include "store/gc.h"
#include "store/meta.h"
#include "store/mounts.h"
#include "transfer/differ.h"
#include "transfer/transfer.h"

typedef struct Streams Streams; // services/streams.h

/* revision: the commit this was built from. */
RpcService version_service_new(const char *revision);
RpcService namespaces_service_new(MetaDb *db);
RpcService containers_service_new(MetaDb *db);
RpcService images_service_new(MetaDb *db, Gc *gc);
RpcService leases_service_new(MetaDb *db, Gc *gc);
RpcService mounts_service_new(MountManager *mounts);
RpcService content_service_new(ContentStore *content);
/* snapshotters: name -> Snapshotter*. */
RpcService snapshots_service_new(GHashTable *snapshotters);
/* differs: Differ* in order of preference; at least one. sync_fs: always, whatever the request says. */
RpcService diff_service_new(GPtrArray *differs, bool sync_fs);
RpcService streaming_service_new(Streams *streams);
RpcService transfer_service_new(Transfer *transfer, Streams *streams);
RpcService events_service_new(Exchange *exchange);
/* The ttrpc twin, with Forward only. */
RpcService ttrpc_events_service_new(Exchange *exchange);

/* root: the directory that keeps the daemon's UUID. */
bool introspection_service_new(PluginSet *plugins, Deprecations *deprecations, const char *root,
                               RpcService *ret, GError **error);
/* Timeouts in ns; 0: upstream's 2 s. */
RpcService tasks_service_new(MetaDb *db, ContentStore *content, Tasks *tasks, int64_t state_timeout_ns,
                             int64_t stats_timeout_ns);
/* Sandboxes: the store of their metadata, and their controllers. */
RpcService sandboxes_service_new(MetaDb *db);
/* controllers: name -> SandboxController*, taken; the controllers are borrowed. */
RpcService sandbox_controllers_service_new(GHashTable *controllers, Exchange *exchange);
/* Others from now on. Any thread. */
void tasks_service_set_timeouts(const RpcService *service, int64_t state_timeout_ns,
                                int64_t stats_timeout_ns);
/* For tasks_new: /tasks/exit and /tasks/delete of a task whose shim is gone. */
void tasks_publish_gone(const char *ns, const char *id, const TaskExit *exit, bool exit_told, void *exchange);
/* Notes the exits that shims tell (tasks_note_exit), until exchange_unsubscribe, which comes before
 * tasks_free. 0: error. */
uint64_t tasks_watch_exits(Tasks *tasks, Exchange *exchange, GError **error);

/* What the stores emit becomes containerd.events.* messages on the exchange. The sink borrows the exchange.
 */
StoreEventSink store_event_sink(Exchange *exchange);
