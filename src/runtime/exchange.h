// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The event exchange (upstream core/events/exchange): publishers in, subscribers with filters out. An
 * envelope is immutable and reference counted. Publishing never blocks: each subscriber has its own bounded
 * queue, and one that does not keep up is ended with RESOURCE_EXHAUSTED rather than slowing anybody.
 * Thread-safe.
 */

#include "base/time.h"
#include "base/util.h"
#include "loop/ctx.h"
#include <glib.h>
#include <stdbool.h>

typedef struct {
	TimeNs timestamp;
	char *ns;
	char *topic;
	Any event;
	gatomicrefcount refs;
} Envelope;
Envelope *envelope_new(TimeNs timestamp, const char *ns, const char *topic, const Any *event);
Envelope *envelope_ref(Envelope *e);
void envelope_unref(Envelope *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Envelope, envelope_unref)

typedef struct Exchange Exchange;
Exchange *exchange_new(void);
void exchange_free(Exchange *x);

/* Topic must match ^/[A-Za-z0-9_-]+(/...)*: `topic "x" must start with '/': invalid argument` and the rest as
 * upstream. Time is now. */
bool exchange_publish(Exchange *x, const Ctx *ctx, const char *topic, const Any *event, GError **error);
/* An envelope made elsewhere (shims, other daemons); namespace, topic and timestamp are checked as upstream
 * does. */
bool exchange_forward(Exchange *x, Envelope *envelope, GError **error);

/* How a filter sees inside an event (`event.id==x`): the value of a field path of an encoded message, owned
 * by the caller, or NULL. Set once before use; the services know protobuf, this folder does not. */
typedef char *(*ExchangeFieldFn)(const Any *event, const char *const *path, size_t n_path);
void exchange_set_field_fn(Exchange *x, ExchangeFieldFn fn);

/* receive runs on the publisher's thread under the exchange's lock: it queues and returns at once, and never
 * calls the exchange. It returns false to be dropped. closed(data) runs once, outside the lock, when the
 * subscription has ended, however it did; receive does not run any more then. Filters are upstream's grammar
 * over namespace, topic and event.*; none: everything. Returns an id, 0 on error: `failed parsing
 * subscription filters: ...`. */
typedef bool (*ExchangeReceiveFn)(Envelope *envelope, void *data);
uint64_t exchange_subscribe(Exchange *x, const char *const *filters, ExchangeReceiveFn receive,
                            GDestroyNotify closed, void *data, GError **error);
/* An id that has ended is fine. */
void exchange_unsubscribe(Exchange *x, uint64_t id);
