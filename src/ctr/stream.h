// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Streams beside a Transfer call (upstream core/streaming/proxy, core/transfer/streaming): each has a name
 * that goes into the request, and a thread here that serves it until the daemon ends it or
 * ctr_side_stream_end.
 */

#include "ctr/ctr.h"
#include "google/protobuf/any.pb-c.h"
#include "types/transfer/progress.pb-c.h"

typedef struct SideStream SideStream;

/* Progress messages, one at a time, on the stream's thread. */
typedef void (*ProgressFn)(const Containerd__Types__Transfer__Progress *p, void *data);
SideStream *side_stream_progress(Cli *cli, ProgressFn fn, void *data, GError **error);
/* The bytes of fd to the daemon, under its windows. */
SideStream *side_stream_send(Cli *cli, int fd, GError **error);
/* The daemon's bytes to fd. */
SideStream *side_stream_receive(Cli *cli, int fd, GError **error);
/* Answers the daemon's questions for credentials: --user and --refresh. */
SideStream *side_stream_auth(Cli *cli, const char *username, const char *secret, bool refresh_token,
                             GError **error);
const char *side_stream_name(SideStream *s);

/* After the call: gives the stream the time to come to its end (wait), joins and frees. false where it
 * failed: a file that could not be read or written. NULL is fine. */
bool side_stream_end(SideStream *s, bool wait, GError **error);
