// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Every message and service of the contract by full name, such as "containerd.events.TaskExit".
 *
 * Whoever calls one of these links all of api/ (some 200 KB); who knows the types it needs uses their
 * descriptors and api/message.h instead, as the shim does. Thread-safe: constant tables.
 */

#include "google/protobuf/any.pb-c.h"
#include <glib.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

/* By full name or by type URL (what follows the last slash). NULL where unknown. */
const ProtobufCMessageDescriptor *api_message_find(const char *name);

/* By full name, "containerd.services.images.v1.Images". NULL where unknown. */
const ProtobufCServiceDescriptor *api_service_find(const char *name);

/* All of them, sorted by name. */
const ProtobufCMessageDescriptor *const *api_messages(size_t *ret_n);
const ProtobufCServiceDescriptor *const *api_services(size_t *ret_n);

/* Which sides of a method are streams. protobuf-c's descriptors do not tell. */
void api_method_streams(const ProtobufCServiceDescriptor *service, const char *method, bool *ret_client,
                        bool *ret_server);

/* api_any_unpack() into the type that the Any names. Text of an unknown one is upstream's (typeurl):
 * `type with url X: not found`, code API_ERROR_TYPE. */
void *api_any_unpack_known(const Google__Protobuf__Any *any, ProtobufCAllocator *allocator, GError **error);
