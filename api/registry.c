// SPDX-License-Identifier: Apache-2.0
#include "api/registry.h"
#include "api/message.h"
#include "api/registry-private.h"
#include <stdlib.h>
#include <string.h>

/* Both kinds of descriptor begin with a magic number and the full name. */
G_STATIC_ASSERT(offsetof(ProtobufCMessageDescriptor, name) == offsetof(ProtobufCServiceDescriptor, name));

static int compare_name(const void *key, const void *element)
{
	const ProtobufCMessageDescriptor *d = *(const ProtobufCMessageDescriptor *const *)element;
	return strcmp(key, d->name);
}

const ProtobufCMessageDescriptor *api_message_find(const char *name)
{
	const ProtobufCMessageDescriptor *const *found =
	        bsearch(api_type_name(name), api_table_messages, api_table_messages_n,
	                sizeof(api_table_messages[0]), compare_name);
	return found != NULL ? *found : NULL;
}

const ProtobufCServiceDescriptor *api_service_find(const char *name)
{
	const ProtobufCServiceDescriptor *const *found = bsearch(
	        name, api_table_services, api_table_services_n, sizeof(api_table_services[0]), compare_name);
	return found != NULL ? *found : NULL;
}

const ProtobufCMessageDescriptor *const *api_messages(size_t *ret_n)
{
	*ret_n = api_table_messages_n;
	return api_table_messages;
}

const ProtobufCServiceDescriptor *const *api_services(size_t *ret_n)
{
	*ret_n = api_table_services_n;
	return api_table_services;
}

void api_method_streams(const ProtobufCServiceDescriptor *service, const char *method, bool *ret_client,
                        bool *ret_server)
{
	*ret_client = *ret_server = false;
	size_t len = strlen(service->name);
	for (size_t i = 0; i < api_table_streams_n; i++) {
		const ApiStream *s = &api_table_streams[i];
		if (strncmp(s->path, service->name, len) == 0 && s->path[len] == '/' &&
		    strcmp(s->path + len + 1, method) == 0) {
			*ret_client = s->client;
			*ret_server = s->server;
			return;
		}
	}
}

void *api_any_unpack_known(const Google__Protobuf__Any *any, ProtobufCAllocator *allocator, GError **error)
{
	const char *url = any != NULL && any->type_url != NULL ? any->type_url : "";
	const ProtobufCMessageDescriptor *type = api_message_find(url);
	if (type == NULL) {
		g_set_error(error, API_ERROR, API_ERROR_TYPE, "type with url %s: not found", url);
		return NULL;
	}
	return api_any_unpack(any, type, allocator, error);
}
