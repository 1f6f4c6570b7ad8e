// SPDX-License-Identifier: Apache-2.0
/* What the stores emit as containerd.events.* on the exchange. */
#include "api/message.h"
#include "base/log.h"
#include "events/container.pb-c.h"
#include "events/content.pb-c.h"
#include "events/image.pb-c.h"
#include "events/namespace.pb-c.h"
#include "events/snapshot.pb-c.h"
#include "services/convert.h"
#include "services/event-pack.h"
#include "services/services.h"

static const char *const topics[] = {
        [STORE_EVENT_CONTAINER_CREATE] = "/containers/create",
        [STORE_EVENT_CONTAINER_UPDATE] = "/containers/update",
        [STORE_EVENT_CONTAINER_DELETE] = "/containers/delete",
        [STORE_EVENT_CONTENT_CREATE] = "/content/create",
        [STORE_EVENT_CONTENT_DELETE] = "/content/delete",
        [STORE_EVENT_IMAGE_CREATE] = "/images/create",
        [STORE_EVENT_IMAGE_UPDATE] = "/images/update",
        [STORE_EVENT_IMAGE_DELETE] = "/images/delete",
        [STORE_EVENT_NAMESPACE_CREATE] = "/namespaces/create",
        [STORE_EVENT_NAMESPACE_UPDATE] = "/namespaces/update",
        [STORE_EVENT_NAMESPACE_DELETE] = "/namespaces/delete",
        [STORE_EVENT_SNAPSHOT_PREPARE] = "/snapshot/prepare",
        [STORE_EVENT_SNAPSHOT_COMMIT] = "/snapshot/commit",
        [STORE_EVENT_SNAPSHOT_REMOVE] = "/snapshot/remove",
};

static ProtobufCMessage *container_event(Arena *arena, const StoreEvent *e)
{
	if (e->kind == STORE_EVENT_CONTAINER_CREATE) {
		Containerd__Events__ContainerCreate *m =
		        pb_new(arena, &containerd__events__container_create__descriptor);
		m->id = str_or(e->name, "");
		m->image = str_or(e->image, "");
		m->runtime = pb_new(arena, &containerd__events__container_create__runtime__descriptor);
		m->runtime->name = str_or(e->runtime, "");
		m->runtime->options = pb_any_out(arena, e->options);
		return &m->base;
	}
	if (e->kind == STORE_EVENT_CONTAINER_UPDATE) {
		Containerd__Events__ContainerUpdate *m =
		        pb_new(arena, &containerd__events__container_update__descriptor);
		m->id = str_or(e->name, "");
		m->image = str_or(e->image, "");
		m->snapshot_key = str_or(e->key, "");
		m->labels = pb_strmap_out(arena, e->labels,
		                          &containerd__events__container_update__labels_entry__descriptor,
		                          &m->n_labels);
		return &m->base;
	}
	Containerd__Events__ContainerDelete *m =
	        pb_new(arena, &containerd__events__container_delete__descriptor);
	m->id = str_or(e->name, "");
	return &m->base;
}

static ProtobufCMessage *content_event(Arena *arena, const StoreEvent *e)
{
	if (e->kind == STORE_EVENT_CONTENT_CREATE) {
		Containerd__Events__ContentCreate *m =
		        pb_new(arena, &containerd__events__content_create__descriptor);
		m->digest = str_or(e->name, "");
		m->size = e->size;
		return &m->base;
	}
	Containerd__Events__ContentDelete *m = pb_new(arena, &containerd__events__content_delete__descriptor);
	m->digest = str_or(e->name, "");
	return &m->base;
}

/* The image and namespace events for create and update have one layout: a name and labels. */
typedef Containerd__Services__Images__V1__ImageCreate NameAndLabels;

static ProtobufCMessage *named_event(Arena *arena, const StoreEvent *e,
                                     const ProtobufCMessageDescriptor *type,
                                     const ProtobufCMessageDescriptor *entry)
{
	g_assert(type->sizeof_message == sizeof(NameAndLabels));
	NameAndLabels *m = pb_new(arena, type);
	m->name = str_or(e->name, "");
	m->labels = pb_strmap_out(arena, e->labels, entry, &m->n_labels);
	return &m->base;
}

static ProtobufCMessage *image_event(Arena *arena, const StoreEvent *e)
{
	if (e->kind == STORE_EVENT_IMAGE_CREATE)
		return named_event(arena, e, &containerd__services__images__v1__image_create__descriptor,
		                   &containerd__services__images__v1__image_create__labels_entry__descriptor);
	if (e->kind == STORE_EVENT_IMAGE_UPDATE)
		return named_event(arena, e, &containerd__services__images__v1__image_update__descriptor,
		                   &containerd__services__images__v1__image_update__labels_entry__descriptor);
	Containerd__Services__Images__V1__ImageDelete *m =
	        pb_new(arena, &containerd__services__images__v1__image_delete__descriptor);
	m->name = str_or(e->name, "");
	return &m->base;
}

static ProtobufCMessage *namespace_event(Arena *arena, const StoreEvent *e)
{
	if (e->kind == STORE_EVENT_NAMESPACE_CREATE)
		return named_event(arena, e, &containerd__events__namespace_create__descriptor,
		                   &containerd__events__namespace_create__labels_entry__descriptor);
	if (e->kind == STORE_EVENT_NAMESPACE_UPDATE)
		return named_event(arena, e, &containerd__events__namespace_update__descriptor,
		                   &containerd__events__namespace_update__labels_entry__descriptor);
	Containerd__Events__NamespaceDelete *m =
	        pb_new(arena, &containerd__events__namespace_delete__descriptor);
	m->name = str_or(e->name, "");
	return &m->base;
}

static ProtobufCMessage *snapshot_event(Arena *arena, const StoreEvent *e)
{
	if (e->kind == STORE_EVENT_SNAPSHOT_PREPARE) {
		Containerd__Events__SnapshotPrepare *m =
		        pb_new(arena, &containerd__events__snapshot_prepare__descriptor);
		m->key = str_or(e->key, "");
		m->parent = str_or(e->parent, "");
		m->snapshotter = str_or(e->snapshotter, "");
		return &m->base;
	}
	if (e->kind == STORE_EVENT_SNAPSHOT_COMMIT) {
		Containerd__Events__SnapshotCommit *m =
		        pb_new(arena, &containerd__events__snapshot_commit__descriptor);
		m->key = str_or(e->key, "");
		m->name = str_or(e->name, "");
		m->snapshotter = str_or(e->snapshotter, "");
		return &m->base;
	}
	Containerd__Events__SnapshotRemove *m =
	        pb_new(arena, &containerd__events__snapshot_remove__descriptor);
	m->key = str_or(e->key, "");
	m->snapshotter = str_or(e->snapshotter, "");
	return &m->base;
}

static ProtobufCMessage *encode(Arena *arena, const StoreEvent *e)
{
	switch (e->kind) {
	case STORE_EVENT_CONTAINER_CREATE:
	case STORE_EVENT_CONTAINER_UPDATE:
	case STORE_EVENT_CONTAINER_DELETE:
		return container_event(arena, e);
	case STORE_EVENT_CONTENT_CREATE:
	case STORE_EVENT_CONTENT_DELETE:
		return content_event(arena, e);
	case STORE_EVENT_IMAGE_CREATE:
	case STORE_EVENT_IMAGE_UPDATE:
	case STORE_EVENT_IMAGE_DELETE:
		return image_event(arena, e);
	case STORE_EVENT_NAMESPACE_CREATE:
	case STORE_EVENT_NAMESPACE_UPDATE:
	case STORE_EVENT_NAMESPACE_DELETE:
		return namespace_event(arena, e);
	case STORE_EVENT_SNAPSHOT_PREPARE:
	case STORE_EVENT_SNAPSHOT_COMMIT:
	case STORE_EVENT_SNAPSHOT_REMOVE:
		return snapshot_event(arena, e);
	}
	g_assert_not_reached();
}

void event_pack(Any *ret, const ProtobufCMessage *message)
{
	*ret = (Any){g_strdup(message->descriptor->name), api_pack(message)};
}

void event_publish(Exchange *exchange, const Ctx *ctx, const char *topic, const ProtobufCMessage *message)
{
	g_auto(Any) any = {0};
	event_pack(&any, message);
	GError *error = NULL;
	if (!exchange_publish(exchange, ctx, topic, &any, &error))
		log_error_take(LOG_ERROR, error, "failed to publish event", "topic", topic, NULL);
}

static void publish(const StoreEvent *e, void *data)
{
	g_autoptr(Arena) arena = arena_new();
	Ctx ctx = {.ns = e->ns};
	event_publish(data, &ctx, topics[e->kind], encode(arena, e));
}

StoreEventSink store_event_sink(Exchange *exchange)
{
	return (StoreEventSink){publish, exchange};
}
