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

/* receive runs on the publisher's thread and must not block: it queues. It returns false to be dropped
 * (closed() is then called once). Filters are upstream's grammar over namespace, topic and event.*; none:
 * everything. */
typedef struct Subscription Subscription;
typedef bool (*ExchangeReceiveFn)(Envelope *envelope, void *data);
Subscription *exchange_subscribe(Exchange *x, const char *const *filters, ExchangeReceiveFn receive,
                                 GDestroyNotify closed, void *data, GError **error);
/* After it returns receive does not run any more. */
void exchange_unsubscribe(Exchange *x, Subscription *s);
