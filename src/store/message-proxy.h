// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the stores' clients of other processes share: messages to plain data and back. Pure functions. */

#include "api/message.h"
#include "base/arena.h"
#include "base/time.h"
#include "base/util.h"
#include "google/protobuf/timestamp.pb-c.h"

/* The entries of every map<string, string> look like this. */
typedef struct {
	ProtobufCMessage base;
	const char *key;
	const char *value;
} MessageLabel;

static inline void *message_new(Arena *arena, const ProtobufCMessageDescriptor *type)
{
	void *m = arena_alloc(arena, type->sizeof_message);
	api_init(type, m);
	return m;
}

/* What `X__LabelsEntry **` wants; entry is its type. The strings are the map's. */
static inline void *message_labels_out(Arena *arena, GHashTable *labels,
                                       const ProtobufCMessageDescriptor *entry, size_t *ret_n)
{
	*ret_n = 0;
	if (labels == NULL)
		return NULL;
	g_assert(entry->sizeof_message == sizeof(MessageLabel));
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(labels);
	MessageLabel **out = arena_alloc_n(arena, keys->len + 1, sizeof *out);
	for (guint i = 0; i < keys->len; i++) {
		out[i] = message_new(arena, entry);
		out[i]->key = keys->pdata[i];
		out[i]->value = strmap_get(labels, keys->pdata[i]);
	}
	*ret_n = keys->len;
	return out;
}

/* entries is an `X__LabelsEntry **`. */
static inline GHashTable *message_labels_in(size_t n, const void *entries)
{
	const MessageLabel *const *in = entries;
	GHashTable *labels = strmap_new();
	for (size_t i = 0; i < n; i++)
		strmap_set(labels, str_or(in[i]->key, ""), str_or(in[i]->value, ""));
	return labels;
}

/* 0 where it is not set or out of range. */
static inline TimeNs message_time_in(const Google__Protobuf__Timestamp *t)
{
	int64_t ns;
	if (t == NULL || __builtin_mul_overflow(t->seconds, NS_PER_SEC, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)t->nanos, &ns))
		return 0;
	return ns;
}
