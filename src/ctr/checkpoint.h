// SPDX-License-Identifier: Apache-2.0
#pragma once

/* ctr tasks checkpoint, containers checkpoint, containers restore: cmd-checkpoint.c. */

#include "ctr/cli.h"
#include "ctr/container.h"
#include "oci/descriptor.h"

extern const CliCommand ctr_tasks_checkpoint, ctr_containers_checkpoint, ctr_containers_restore;
