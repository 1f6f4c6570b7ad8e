// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Events of the services onto the exchange. */

#include "runtime/exchange.h"
#include <protobuf-c/protobuf-c.h>

/* A message as Any; its type URL is the bare full name, as upstream's typeurl. */
void event_pack(Any *ret, const ProtobufCMessage *message);
/* Packs and publishes; a failure is logged. */
void event_publish(Exchange *exchange, const Ctx *ctx, const char *topic, const ProtobufCMessage *message);
