// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Progress of the blobs of one operation, told every 300 ms (upstream core/transfer/local/progress.go). A
 * tracker has a thread of its own, so that a listener who is slow delays nobody else. NULL is a tracker that
 * nobody listens to, everywhere. Thread-safe.
 */

#include "transfer/transfer.h"

typedef struct Progress Progress;
/* root: the parent of what has no other; state: "downloading" or "uploading". NULL where sink.fn is. */
Progress *progress_new(const char *root, const char *state, TransferProgressSink sink);
/* Tells what has changed since, and ends the thread. */
void progress_free(Progress *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Progress, progress_free)

void progress_add(Progress *p, const Descriptor *desc);
void progress_children(Progress *p, const Descriptor *parent, GPtrArray *children);
void progress_offset(Progress *p, const Descriptor *desc, int64_t offset);
void progress_complete(Progress *p, const Descriptor *desc);
void progress_exists(Progress *p, const Descriptor *desc);
/* taken: compressed bytes that went into the snapshot. While the download still runs that is not told. */
void progress_extract(Progress *p, const Descriptor *desc, int64_t taken);
void progress_extracted(Progress *p, const Descriptor *desc);
/* An event of the operation as a whole, at once. */
void progress_say(TransferProgressSink sink, const char *name, const Descriptor *desc, const char *format,
                  ...) G_GNUC_PRINTF(4, 5);
