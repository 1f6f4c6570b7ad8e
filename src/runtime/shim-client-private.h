// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Messages of a shim's APIs from what the daemon works with, and back. */

#include "base/time.h"
#include "base/util.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "types/mount.pb-c.h"

/* Messages that borrow from the mounts; freed with the array. */
GPtrArray *shim_mount_messages(GPtrArray *mounts);
/* ret, which borrows from any; NULL where that is NULL or unset. */
Google__Protobuf__Any *shim_any_message(Google__Protobuf__Any *ret, const Any *any);
/* A copy; unset for NULL. */
void shim_any_from(Any *ret, const Google__Protobuf__Any *any);
TimeNs shim_time_from(const Google__Protobuf__Timestamp *t); // 0 for NULL and Go's zero time
