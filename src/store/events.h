// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the stores say happened, without protobuf: services/event-encode.c makes containerd.events.* of it and
 * hands it to the exchange. A sink is called after the change is durable, on the caller's thread, and must
 * not block. Topics: feature table 6.6.
 */

#include <glib.h>
#include <stdint.h>

typedef enum {
	STORE_EVENT_CONTAINER_CREATE, // name=id, image, runtime, options
	STORE_EVENT_CONTAINER_UPDATE, // name=id, image, labels, key=snapshot key
	STORE_EVENT_CONTAINER_DELETE, // name=id
	STORE_EVENT_CONTENT_CREATE,   // name=digest, size
	STORE_EVENT_CONTENT_DELETE,   // name=digest
	STORE_EVENT_IMAGE_CREATE,     // name, labels
	STORE_EVENT_IMAGE_UPDATE,     // name, labels
	STORE_EVENT_IMAGE_DELETE,     // name
	STORE_EVENT_NAMESPACE_CREATE, // name, labels
	STORE_EVENT_NAMESPACE_UPDATE, // name, labels
	STORE_EVENT_NAMESPACE_DELETE, // name
	STORE_EVENT_SNAPSHOT_PREPARE, // key, parent, snapshotter
	STORE_EVENT_SNAPSHOT_COMMIT,  // key, name, snapshotter
	STORE_EVENT_SNAPSHOT_REMOVE,  // key, snapshotter
} StoreEventKind;

typedef struct {
	StoreEventKind kind;
	const char *ns;
	const char *name;
	const char *key, *parent, *snapshotter;
	const char *image, *runtime;
	const void *options; // const Any * or NULL: the runtime's options
	GHashTable *labels;  // may be NULL
	int64_t size;
} StoreEvent;

typedef struct {
	void (*publish)(const StoreEvent *event, void *data);
	void *data;
} StoreEventSink;
