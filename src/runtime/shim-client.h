// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The daemon's end of a shim: one connection, and the task API v2 or v3 over it (the messages are the same on
 * the wire, only the service's name differs). Upstream core/runtime/v2/{shim,process,bridge}.go. Reference
 * counted; calls are for any thread but the loop's, the asynchronous one for any.
 */

#include "base/time.h"
#include "cgroup/cgroup.h"
#include "loop/ctx.h"
#include "rpc/client.h"
#include "runtime/bundle.h"
#include "runtime/task/v3/shim.pb-c.h"

/* The first version of the bootstrap answer whose shims have the sandbox API and outlive their containers. */
#define SHIM_VERSION_SANDBOX 3

typedef struct {
	int version;    // 2 or 3
	char *address;  // unix:///run/containerd/s/...
	char *protocol; // "ttrpc" or "grpc"
} ShimAddress;
void shim_address_clear(ShimAddress *a);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ShimAddress, shim_address_clear)

typedef struct Shim Shim;

/* Connects (so that a dead address fails here) and starts to copy the shim's log fifo to ours. Takes the
 * bundle. closed(data) runs once on the loop's thread when the connection ends, unless shim_close came first.
 */
Shim *shim_connect(Loop *loop, Bundle *bundle, const ShimAddress *address, LoopFn closed, void *data,
                   GError **error);
Shim *shim_ref(Shim *s);
void shim_unref(Shim *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Shim, shim_unref)

const char *shim_id(Shim *s);
const char *shim_ns(Shim *s);
const Bundle *shim_bundle(Shim *s);
/* The shim's program, told once by whoever connects, before others see the shim; NULL: not known. */
void shim_set_binary(Shim *s, const char *binary);
/* The task's cgroup where the shim is the one for runc, whose containers' cgroups are on this machine, and
 * the group is known: it is read from the init process when that was made or found. NULL: ask the shim.
 * Borrowed; any thread. */
const Cgroup *shim_cgroup(Shim *s);
/* "ttrpc+unix:///run/containerd/s/...": where clients of the sandbox API find the task API. */
const char *shim_endpoint(Shim *s, uint32_t *ret_version);
/* Closes the connection. Any thread, can be repeated. */
void shim_close(Shim *s);

/* One call of the task API: method and the v3 request; the response is the v3 message. timeout_ns 0: none. */
bool shim_call(Shim *s, const Ctx *ctx, int64_t timeout_ns, const char *method, const void *request,
               void *ret, GError **error);
void shim_call_async(Shim *s, const Ctx *ctx, int64_t timeout_ns, const char *method, const void *request,
                     RpcReplyFn done, void *data);

/* The same for another service of the shim. */
bool shim_call_service(Shim *s, const ProtobufCServiceDescriptor *service, const Ctx *ctx, int64_t timeout_ns,
                       const char *method, const void *request, void *ret, GError **error);
void shim_call_service_async(Shim *s, const ProtobufCServiceDescriptor *service, const Ctx *ctx,
                             int64_t timeout_ns, const char *method, const void *request, RpcReplyFn done,
                             void *data);

typedef struct {
	uint32_t pid, status;
	TimeNs exited_at;
} TaskExit;

/* What the manager needs of the API. */
typedef struct {
	GPtrArray *rootfs; // of Mount*
	const char *stdin, *stdout, *stderr;
	bool terminal;
	const char *checkpoint;
	const Any *options; // may be NULL or unset
} ShimCreate;
bool shim_create(Shim *s, const Ctx *ctx, const ShimCreate *create, uint32_t *ret_pid, GError **error);
bool shim_delete(Shim *s, const Ctx *ctx, int64_t timeout_ns, TaskExit *ret, GError **error);
bool shim_ping(Shim *s, const Ctx *ctx, int64_t timeout_ns, uint32_t *ret_task_pid,
               GError **error); // Connect
/* Whether the shim knows its task: created and not deleted, whatever state it is in. */
bool shim_has_task(Shim *s, const Ctx *ctx, int64_t timeout_ns, bool *ret, GError **error);
bool shim_shutdown(Shim *s, const Ctx *ctx, int64_t timeout_ns, GError **error);
/* For a shim that answers UNIMPLEMENTED to v3: talk v2 from now on; false where it does already. */
bool shim_downgrade(Shim *s);
