// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Sandbox controllers: what runs sandboxes (upstream core/sandbox/controller.go). One is ours (shim: the
 * sandbox API of a shim, plugins/sandbox/controller.go); others are CRI's own and those of proxy plugins.
 *
 * Functions block unless said otherwise and are for any thread but the loop's.
 */

#include "base/time.h"
#include "base/util.h"
#include "loop/ctx.h"
#include "oci/platform.h"
#include "runtime/tasks.h"
#include "store/sandboxes.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
	const Sandbox *sandbox;  // at least the id
	GPtrArray *rootfs;       // of Mount*
	const Any *options;      // for the sandbox, such as CRI's PodSandboxConfig; not the runtime's
	const char *netns_path;  // "": none
	GHashTable *annotations; // strmap
} SandboxCreate;

typedef struct {
	char *id;
	uint32_t pid;
	TimeNs created_at;
	char *address; // where the task API is: ttrpc+unix:///path
	uint32_t version;
	GHashTable *labels; // strmap or NULL
	Any spec;
} SandboxInstance;
void sandbox_instance_clear(SandboxInstance *i);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SandboxInstance, sandbox_instance_clear)

typedef struct {
	char *id, *state;
	uint32_t pid;
	GHashTable *info; // strmap or NULL
	TimeNs created_at, exited_at;
	Any extra;
	char *address;
	uint32_t version;
} SandboxStatus;
void sandbox_status_clear(SandboxStatus *s);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SandboxStatus, sandbox_status_clear)

typedef struct {
	char *id;
	TimeNs timestamp;
	Any data;
} SandboxMetric;
void sandbox_metric_clear(SandboxMetric *m);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SandboxMetric, sandbox_metric_clear)

/* error is borrowed, NULL: the sandbox has ended. */
typedef void (*SandboxExitFn)(uint32_t status, TimeNs exited_at, const GError *error, void *data);

typedef struct SandboxController SandboxController;
struct SandboxController {
	bool (*create)(SandboxController *c, const Ctx *ctx, const SandboxCreate *create, GError **error);
	bool (*start)(SandboxController *c, const Ctx *ctx, const char *id, SandboxInstance *ret,
	              GError **error);
	bool (*platform)(SandboxController *c, const Ctx *ctx, const char *id, Platform *ret, GError **error);
	/* A sandbox that is not there has stopped. */
	bool (*stop)(SandboxController *c, const Ctx *ctx, const char *id, uint32_t timeout_secs,
	             GError **error);
	/* Never blocks; done runs once on any thread, perhaps before this returns. ctx->cancel ends the wait
	 * and must live until then. */
	void (*wait)(SandboxController *c, const Ctx *ctx, const char *id, SandboxExitFn done, void *data);
	bool (*status)(SandboxController *c, const Ctx *ctx, const char *id, bool verbose, SandboxStatus *ret,
	               GError **error);
	bool (*shutdown)(SandboxController *c, const Ctx *ctx, const char *id, GError **error);
	bool (*metrics)(SandboxController *c, const Ctx *ctx, const char *id, SandboxMetric *ret,
	                GError **error);
	bool (*update)(SandboxController *c, const Ctx *ctx, const Sandbox *sandbox,
	               const char *const *fields, GError **error);
	void (*free)(SandboxController *c);
};

/* The controller `shim`. Bundles lie below root and state, which are made (0700); shims of an earlier daemon
 * are found as by tasks_load. tasks is borrowed. */
SandboxController *sandbox_shim_controller_new(Tasks *tasks, const char *root, const char *state,
                                               GError **error);
