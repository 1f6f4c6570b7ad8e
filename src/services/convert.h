// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Protobuf to domain and back, for the types that several services share. What goes out is built in the
 * call's arena; what comes in is copied. Pure functions, no state.
 */

#include "base/arena.h"
#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/empty.pb-c.h"
#include "google/protobuf/field_mask.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "loop/ctx.h"
#include "mount/mount.h"
#include "oci/descriptor.h"
#include "rpc/call.h"
#include "types/descriptor.pb-c.h"
#include "types/mount.pb-c.h"
#include "types/platform.pb-c.h"

/* The context of a call: the checked namespace, the lease, the cancel token. Lives as long as the call. */
bool call_ctx(RpcCall *call, Ctx *ret, GError **error);

/* An initialised message in the arena: pb_new(arena, &containerd__types__mount__descriptor) */
void *pb_new(Arena *arena, const ProtobufCMessageDescriptor *type);
/* Frees an unpacked message of any type; for free functions. */
void pb_free(void *message);
/* A vector of n pointers in the arena, for repeated messages. */
void *pb_vec(Arena *arena, size_t n);

/* Every map<string, string> entry message has this layout. */
typedef struct {
	ProtobufCMessage base;
	const char *key;
	const char *value;
} PbStringEntry;

/* entries is the message's `X__LabelsEntry **`. The result is a strmap, never NULL; the last of equal keys
 * wins. */
GHashTable *pb_strmap_in(size_t n, const void *entries);
/* Entries of the given entry type, sorted by key. Returns what `X__LabelsEntry **` wants. */
void *pb_strmap_out(Arena *arena, GHashTable *map, const ProtobufCMessageDescriptor *entry, size_t *ret_n);

/* A NULL-terminated vector of repeated strings; borrowed strings, the vector in the arena. */
const char *const *pb_strv_in(Arena *arena, size_t n, const void *strings);
/* Field mask paths, NULL where the mask is absent or empty. */
const char *const *pb_mask_in(Arena *arena, const Google__Protobuf__FieldMask *mask);

Google__Protobuf__Timestamp *pb_time_out(Arena *arena,
                                         TimeNs t);      // Go's zero time for 0, as upstream sends it
TimeNs pb_time_in(const Google__Protobuf__Timestamp *t); // 0 where absent or zero

Google__Protobuf__Any *pb_any_out(Arena *arena, const Any *any); // NULL where not set
void pb_any_in(Any *ret, const Google__Protobuf__Any *any);

Containerd__Types__Descriptor *pb_descriptor_out(Arena *arena, const Descriptor *d);
void pb_descriptor_in(Descriptor *ret,
                      const Containerd__Types__Descriptor *d); // ret is cleared storage; d may be NULL

Containerd__Types__Mount **pb_mounts_out(Arena *arena, GPtrArray *mounts, size_t *ret_n);
GPtrArray *pb_mounts_in(size_t n, Containerd__Types__Mount *const *mounts);
