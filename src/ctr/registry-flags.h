// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A registry as source or destination of a Transfer call, from the flags of images pull, images push and
 * registry explain. */

#include "ctr/ctr.h"
#include "ctr/stream.h"
#include "types/transfer/registry.pb-c.h"

extern const CliFlag flags_registry[];

typedef struct {
	Containerd__Types__Transfer__OCIRegistry registry; // this goes into the request
	Containerd__Types__Transfer__RegistryResolver resolver;
	char *username, *secret;
	SideStream *auth, *logs;
	char *hosts_dir; // made for --skip-verify and --tls*, removed at the end
} Registry;
/* ref: borrowed. On error too, call registry_end. */
bool registry_begin(Cli *cli, const char *ref, Registry *r, GError **error);
void registry_end(Registry *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Registry, registry_end)
