// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Small things that several commands do. */

#include "base/json.h"
#include "base/time.h"
#include "ctr/ctr.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/empty.pb-c.h"
#include "google/protobuf/field_mask.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

/* key=value arguments from args[first] on; without "=" the value is "true". A strmap. */
GHashTable *label_args(Cli *cli, int first);
/* Of words, for --label. */
GHashTable *label_words(char **words);
/* "a=b,c=d" sorted by key. Owned by the caller. */
char *labels_text(GHashTable *labels, const char *separator);

/* A map<string, string> field of a message for sending: entries that borrow from map, freed with the array.
 */
GPtrArray *label_entries(GHashTable *map, const ProtobufCMessageDescriptor *entry);
/* And of one that came. */
GHashTable *label_map(size_t n, const void *entries);

/* "labels.<key>" for each key: what a field mask wants. The array owns the strings. */
GPtrArray *label_paths(GHashTable *map);
/* Takes out keys with an empty value: with their path in the mask they are cleared. */
void label_drop_empty(GHashTable *map);
/* An object, sorted by key. */
JsonObject *strmap_to_json(GHashTable *map);

TimeNs time_in(const Google__Protobuf__Timestamp *t);
/* RFC 3339 in local time, as Go's Local().Format(time.RFC3339). Owned by the caller. */
char *time_local(TimeNs t);

/* As Go prints time.Time: "2006-01-02 15:04:05.9 +0000 UTC". Owned by the caller. */
char *time_go(TimeNs t);
/* {"type_url", "value" in base64}; NULL for NULL. */
JsonObject *any_to_json(const Google__Protobuf__Any *any);

/* A message as compact JSON as Go's encoding/json prints protobuf structs: names of fields, empty ones left
 * out, times as objects. */
JsonObject *message_to_json(const ProtobufCMessage *m);
void print_json(JsonObject *o); // takes it
void print_json_list(size_t n, ProtobufCMessage *const *messages);

/* "1.5 MiB" as upstream's progress.Bytes. Owned by the caller. */
char *bytes_text(int64_t n);
