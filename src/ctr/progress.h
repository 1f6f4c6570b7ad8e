// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a transfer does, shown: on a terminal one line for each layer that moves, redrawn; elsewhere a line
 * when something begins or ends. progress_take is called from the stream's thread, the rest from the
 * command's.
 */

#include "types/transfer/progress.pb-c.h"
#include <stdio.h>

typedef struct ProgressView ProgressView;
ProgressView *progress_view_new(FILE *out);
void progress_view_take(const Containerd__Types__Transfer__Progress *p, void *view);
/* The last state and the totals; frees. */
void progress_view_end(ProgressView *view);
