// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Running the task of a container: cmd-run.c. */

#include "ctr/cni.h"
#include "ctr/container.h"
#include "oci/descriptor.h"

extern const CliFlag
        flags_task[]; // --null-io, --log-uri, --fifo-dir, --no-pivot, --pid-file; with flags_runtime

typedef struct {
	GPtrArray *rootfs;            // mounts for a container without a snapshot, or NULL
	CtrCni *cni;                  // the networks to join, or NULL
	const Descriptor *checkpoint; // what the task is restored from; NULL: it is new
	bool detach;
} CtrRun;

/* Creates and starts the task of a container that is there; follows it to its end unless detached. */
bool ctr_run_task(Cli *cli, const CtrContainer *c, const CtrRun *run, GError **error);
