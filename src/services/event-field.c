// SPDX-License-Identifier: Apache-2.0
/*
 * Values inside events, for subscription filters. Upstream generates Field() methods (api/events/
 * *_fieldpath.pb.go); the rules are: a string field by its name; a bool as true or false, a message by its
 * own fields, labels by the rest of the path joined with dots; numbers, bytes and times are not seen; empty
 * strings are absent.
 */
#include "services/event-field.h"
#include "base/util.h"
#include "events/container.pb-c.h"
#include "events/content.pb-c.h"
#include "events/image.pb-c.h"
#include "events/namespace.pb-c.h"
#include "events/sandbox.pb-c.h"
#include "events/snapshot.pb-c.h"
#include "events/task.pb-c.h"
#include "message.h"
#include "services/convert.h"
#include <string.h>

static const ProtobufCMessageDescriptor *const event_types[] = {
        &containerd__events__container_create__descriptor,
        &containerd__events__container_update__descriptor,
        &containerd__events__container_delete__descriptor,
        &containerd__events__content_create__descriptor,
        &containerd__events__content_delete__descriptor,
        &containerd__services__images__v1__image_create__descriptor,
        &containerd__services__images__v1__image_update__descriptor,
        &containerd__services__images__v1__image_delete__descriptor,
        &containerd__events__namespace_create__descriptor,
        &containerd__events__namespace_update__descriptor,
        &containerd__events__namespace_delete__descriptor,
        &containerd__events__sandbox_create__descriptor,
        &containerd__events__sandbox_start__descriptor,
        &containerd__events__sandbox_exit__descriptor,
        &containerd__events__snapshot_prepare__descriptor,
        &containerd__events__snapshot_commit__descriptor,
        &containerd__events__snapshot_remove__descriptor,
        &containerd__events__task_create__descriptor,
        &containerd__events__task_start__descriptor,
        &containerd__events__task_delete__descriptor,
        &containerd__events__task_io__descriptor,
        &containerd__events__task_exit__descriptor,
        &containerd__events__task_oom__descriptor,
        &containerd__events__task_exec_added__descriptor,
        &containerd__events__task_exec_started__descriptor,
        &containerd__events__task_paused__descriptor,
        &containerd__events__task_resumed__descriptor,
        &containerd__events__task_checkpointed__descriptor,
};

static char *label_field(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                         const char *const *path, size_t n)
{
	g_autoptr(GString) key = g_string_new(NULL);
	for (size_t i = 0; i < n; i++)
		g_string_append_printf(key, "%s%s", i > 0 ? "." : "", path[i]);
	size_t n_entries = *(const size_t *)(const void *)((const char *)m + f->quantifier_offset);
	PbStringEntry *const *entries =
	        *(PbStringEntry *const *const *)(const void *)((const char *)m + f->offset);
	for (size_t i = 0; i < n_entries; i++) {
		if (g_str_equal(entries[i]->key, key->str))
			return g_strdup(entries[i]->value);
	}
	return NULL;
}

static char *message_field(const ProtobufCMessage *m, const char *const *path, size_t n)
{
	if (m == NULL || n == 0)
		return NULL;
	const ProtobufCFieldDescriptor *f =
	        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, path[0]);
	if (f == NULL)
		return NULL;
	const void *value = (const char *)m + f->offset;
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return g_str_equal(f->name, "labels") ? label_field(m, f, path + 1, n - 1) : NULL;
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING: {
		const char *s = *(const char *const *)value;
		return str_empty(s) ? NULL : g_strdup(s);
	}
	case PROTOBUF_C_TYPE_BOOL:
		return g_strdup(*(const protobuf_c_boolean *)value ? "true" : "false");
	case PROTOBUF_C_TYPE_MESSAGE:
		return message_field(*(const ProtobufCMessage *const *)value, path + 1, n - 1);
	default:
		return NULL;
	}
}

char *event_field(const Any *event, const char *const *path, size_t n_path)
{
	if (!any_is_set(event) || event->value == NULL)
		return NULL;
	/* the last segment of the URL names the type */
	const char *slash = strrchr(event->type_url, '/');
	const char *name = slash != NULL ? slash + 1 : event->type_url;
	for (size_t i = 0; i < G_N_ELEMENTS(event_types); i++) {
		if (!g_str_equal(event_types[i]->name, name))
			continue;
		gsize len = 0;
		const uint8_t *data = g_bytes_get_data(event->value, &len);
		autopb ProtobufCMessage *m = api_unpack(event_types[i], NULL, data, len, NULL);
		return message_field(m, path, n_path);
	}
	return NULL;
}
