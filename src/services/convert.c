// SPDX-License-Identifier: Apache-2.0
#include "services/convert.h"
#include "api/message.h"
#include <string.h>

bool call_ctx(RpcCall *call, Ctx *ret, GError **error)
{
	const char *ns = NULL;
	if (!rpc_call_require_namespace(call, &ns, error))
		return false;
	*ret = (Ctx){.ns = ns, .lease = rpc_call_lease(call), .cancel = rpc_call_cancel(call)};
	return true;
}

void *pb_new(Arena *arena, const ProtobufCMessageDescriptor *type)
{
	void *m = arena_alloc(arena, type->sizeof_message);
	api_init(type, m);
	return m;
}

void pb_free(void *message)
{
	protobuf_c_message_free_unpacked(message, NULL);
}

void *pb_vec(Arena *arena, size_t n)
{
	return arena_alloc_n(arena, MAX(n, 1), sizeof(void *));
}

GHashTable *pb_strmap_in(size_t n, const void *entries)
{
	PbStringEntry *const *e = entries;
	GHashTable *map = strmap_new();
	for (size_t i = 0; i < n; i++)
		strmap_set(map, str_or(e[i]->key, ""), str_or(e[i]->value, ""));
	return map;
}

void *pb_strmap_out(Arena *arena, GHashTable *map, const ProtobufCMessageDescriptor *entry, size_t *ret_n)
{
	*ret_n = 0;
	if (map == NULL || g_hash_table_size(map) == 0)
		return NULL;
	g_assert(entry->sizeof_message == sizeof(PbStringEntry));
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(map);
	PbStringEntry **out = pb_vec(arena, keys->len);
	for (guint i = 0; i < keys->len; i++) {
		out[i] = pb_new(arena, entry);
		out[i]->key = arena_strdup(arena, keys->pdata[i]);
		out[i]->value = arena_strdup(arena, strmap_get(map, keys->pdata[i]));
	}
	*ret_n = keys->len;
	return out;
}

const char *const *pb_strv_in(Arena *arena, size_t n, const void *strings)
{
	const char *const *in = strings;
	const char **out = arena_alloc_n(arena, n + 1, sizeof(*out));
	for (size_t i = 0; i < n; i++)
		out[i] = in[i];
	return out;
}

const char *const *pb_mask_in(Arena *arena, const Google__Protobuf__FieldMask *mask)
{
	if (mask == NULL || mask->n_paths == 0)
		return NULL;
	return pb_strv_in(arena, mask->n_paths, mask->paths);
}

/* Seconds of Go's zero time, year 1. */
#define GO_ZERO_SECONDS INT64_C(-62135596800)

Google__Protobuf__Timestamp *pb_time_out(Arena *arena, TimeNs t)
{
	Google__Protobuf__Timestamp *ts = pb_new(arena, &google__protobuf__timestamp__descriptor);
	if (t == 0) {
		ts->seconds = GO_ZERO_SECONDS;
		return ts;
	}
	int64_t nanos = t % NS_PER_SEC;
	ts->seconds = t / NS_PER_SEC;
	if (nanos < 0) {
		nanos += NS_PER_SEC;
		ts->seconds--;
	}
	ts->nanos = (int32_t)nanos;
	return ts;
}

TimeNs pb_time_in(const Google__Protobuf__Timestamp *t)
{
	int64_t ns = 0;
	if (t == NULL || __builtin_mul_overflow(t->seconds, NS_PER_SEC, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)t->nanos, &ns))
		return 0;
	return ns;
}

Google__Protobuf__Any *pb_any_out(Arena *arena, const Any *any)
{
	if (any == NULL || !any_is_set(any))
		return NULL;
	Google__Protobuf__Any *out = pb_new(arena, &google__protobuf__any__descriptor);
	out->type_url = arena_strdup(arena, any->type_url);
	if (any->value != NULL) {
		gsize len = 0;
		const void *data = g_bytes_get_data(any->value, &len);
		out->value.data = arena_memdup(arena, data, len);
		out->value.len = len;
	}
	return out;
}

void pb_any_in(Any *ret, const Google__Protobuf__Any *any)
{
	*ret = (Any){0};
	if (any == NULL)
		return;
	ret->type_url = g_strdup(str_or(any->type_url, ""));
	ret->value = g_bytes_new(any->value.data, any->value.len);
}

Containerd__Types__Descriptor *pb_descriptor_out(Arena *arena, const Descriptor *d)
{
	Containerd__Types__Descriptor *out = pb_new(arena, &containerd__types__descriptor__descriptor);
	out->media_type = arena_strdup(arena, d->media_type);
	out->digest = arena_strdup(arena, d->digest);
	out->size = d->size;
	out->annotations = pb_strmap_out(arena, d->annotations,
	                                 &containerd__types__descriptor__annotations_entry__descriptor,
	                                 &out->n_annotations);
	return out;
}

void pb_descriptor_in(Descriptor *ret, const Containerd__Types__Descriptor *d)
{
	*ret = (Descriptor){0};
	if (d == NULL)
		return;
	ret->media_type = g_strdup(d->media_type);
	ret->digest = g_strdup(d->digest);
	ret->size = d->size;
	ret->annotations = pb_strmap_in(d->n_annotations, d->annotations);
}

Containerd__Types__Mount **pb_mounts_out(Arena *arena, GPtrArray *mounts, size_t *ret_n)
{
	Containerd__Types__Mount **out = pb_vec(arena, mounts->len);
	for (guint i = 0; i < mounts->len; i++) {
		const Mount *m = mounts->pdata[i];
		out[i] = pb_new(arena, &containerd__types__mount__descriptor);
		out[i]->type = arena_strdup(arena, m->type);
		out[i]->source = arena_strdup(arena, m->source);
		out[i]->target = arena_strdup(arena, m->target);
		out[i]->n_options = g_strv_length(m->options);
		out[i]->options = pb_vec(arena, out[i]->n_options);
		for (size_t k = 0; k < out[i]->n_options; k++)
			out[i]->options[k] = arena_strdup(arena, m->options[k]);
	}
	*ret_n = mounts->len;
	return out;
}

GPtrArray *pb_mounts_in(size_t n, Containerd__Types__Mount *const *mounts)
{
	GPtrArray *out = mounts_new();
	for (size_t i = 0; i < n; i++) {
		const Containerd__Types__Mount *m = mounts[i];
		g_autofree const char **options = g_new0(const char *, m->n_options + 1);
		for (size_t k = 0; k < m->n_options; k++)
			options[k] = m->options[k];
		g_ptr_array_add(out, mount_new(m->type, m->source, m->target, options));
	}
	return out;
}
