// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What registry-tables.py writes for registry.c. Messages and services are sorted by full name. */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
	const char *path; // package.Service/Method
	bool client;
	bool server;
} ApiStream;

extern const ProtobufCMessageDescriptor *const api_table_messages[];
extern const size_t api_table_messages_n;
extern const ProtobufCServiceDescriptor *const api_table_services[];
extern const size_t api_table_services_n;
extern const ApiStream api_table_streams[];
extern const size_t api_table_streams_n;
