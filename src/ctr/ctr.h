// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the commands of ctr share: the connection, calls in the chosen namespace, tables. Each command is a
 * cmd-<name>.c that defines one CliCommand. Everything runs on the main thread as blocking code; the
 * connection has its loop on a thread of its own.
 */

#include "base/error.h"
#include "base/util.h"
#include "ctr/cli.h"
#include "rpc/client.h"

extern const CliCommand cmd_version, cmd_info, cmd_plugins, cmd_namespaces, cmd_leases, cmd_events,
        cmd_containers, cmd_content, cmd_images, cmd_snapshots, cmd_tasks, cmd_run, cmd_oci, cmd_deprecations,
        cmd_debug, cmd_sandboxes, cmd_mounts, cmd_install, cmd_shim, cmd_registry;

/* The connection that the global flags name, made at the first use. `cannot access socket PATH: stat PATH:
 * ...` where there is none. Borrowed. */
RpcClient *ctr_client(Cli *cli, GError **error);
/* Canceled by SIGINT where a command asked for it, and by --timeout. Borrowed. */
Cancel *ctr_cancel(Cli *cli);
const char *ctr_ns(Cli *cli);
/* The lease that calls carry from now on; NULL: none. */
void ctr_set_lease(Cli *cli, const char *lease);

/* One unary call; *ret is freed with autopb. */
bool ctr_call(Cli *cli, const ProtobufCServiceDescriptor *service, const char *method, const void *request,
              void *ret, GError **error);
/* The same in two steps, of which rpc_client_call_wait is the second. NULL: error. */
RpcClientCall *ctr_call_begin(Cli *cli, const ProtobufCServiceDescriptor *service, const char *method,
                              const void *request, GError **error);
RpcStream *ctr_stream(Cli *cli, const ProtobufCServiceDescriptor *service, const char *method, RpcKind kind,
                      const void *request, GError **error);
RpcCallOptions ctr_call_options(Cli *cli);
/* What the namespace's label containerd.io/defaults/<what> says, else otherwise; static. */
const char *ctr_namespace_default(Cli *cli, const char *what, const char *otherwise);
void ctr_close(void);

/* Leases (cmd-leases.c). id "": the daemon makes one; expires_ns 0: never. */
bool ctr_lease_create(Cli *cli, const char *id, int64_t expires_ns, GHashTable *labels, char **ret_id,
                      GError **error);
/* One that expires after a day, for the calls until release: what is made on the way is nobody else's yet. */
bool ctr_lease_hold(Cli *cli, GError **error);
void ctr_lease_release(Cli *cli);
bool ctr_lease_delete(Cli *cli, const char *id, bool sync, GError **error);

/* ---- tables: columns as wide as their widest cell, as Go's tabwriter prints them for upstream ---- */

typedef struct Table Table;
/* minwidth, padding as tabwriter's parameters of the command (upstream mostly uses 4, 8 and 1, 8 with tabs of
 * 8). */
Table *table_new(int minwidth, int padding);
Table *table_new_tabs(int minwidth, int padding); // with tabs between the cells
/* One row of cells, tab-separated text. */
void table_row(Table *t, const char *format, ...) G_GNUC_PRINTF(2, 3);
void table_print(Table *t); // and frees
void table_free(Table *t);

/* ---- flags that many commands share ---- */

extern const CliFlag flags_quiet[];  // --quiet, -q
extern const CliFlag flags_format[]; // --format json
bool ctr_wants_json(Cli *cli);
