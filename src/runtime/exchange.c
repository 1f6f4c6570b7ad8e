// SPDX-License-Identifier: Apache-2.0
#include "runtime/exchange.h"
#include "base/error.h"
#include "base/identifiers.h"
#include "base/log.h"
#include "loop/lock.h"
#include "oci/filters.h"
#include <string.h>

typedef struct {
	uint64_t id;
	Filter *filter; // NULL: everything
	ExchangeReceiveFn receive;
	GDestroyNotify closed;
	void *data;
} Subscription;

struct Exchange {
	Lock lock;
	GPtrArray *subscriptions; // in order of subscribing
	uint64_t last_id;
	ExchangeFieldFn field;
};

static void subscription_free(Subscription *s)
{
	g_clear_pointer(&s->filter, filter_free);
	if (s->closed != NULL)
		s->closed(s->data);
	g_free(s);
}

Envelope *envelope_new(TimeNs timestamp, const char *ns, const char *topic, const Any *event)
{
	Envelope *e = g_new0(Envelope, 1);
	e->timestamp = timestamp;
	e->ns = g_strdup(str_or(ns, ""));
	e->topic = g_strdup(str_or(topic, ""));
	any_copy(&e->event, event);
	g_atomic_ref_count_init(&e->refs);
	return e;
}

Envelope *envelope_ref(Envelope *e)
{
	g_atomic_ref_count_inc(&e->refs);
	return e;
}

void envelope_unref(Envelope *e)
{
	if (e == NULL || !g_atomic_ref_count_dec(&e->refs))
		return;
	g_free(e->ns);
	g_free(e->topic);
	any_clear(&e->event);
	g_free(e);
}

Exchange *exchange_new(void)
{
	Exchange *x = g_new0(Exchange, 1);
	// before the table of tasks, which hears of exits
	lock_init(&x->lock, "exchange", LOCK_RANK_RUNTIME - 5);
	x->subscriptions = g_ptr_array_new();
	return x;
}

void exchange_free(Exchange *x)
{
	if (x == NULL)
		return;
	g_ptr_array_foreach(x->subscriptions, (GFunc)(void (*)(void))subscription_free, NULL);
	g_ptr_array_unref(x->subscriptions);
	lock_destroy(&x->lock);
	g_free(x);
}

void exchange_set_field_fn(Exchange *x, ExchangeFieldFn fn)
{
	x->field = fn;
}

static bool validate_topic(const char *topic, GError **error)
{
	if (str_empty(topic))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "must not be empty");
	if (topic[0] != '/')
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "must start with '/'");
	if (topic[1] == '\0')
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "must have at least one component");
	g_auto(GStrv) components = g_strsplit(topic + 1, "/", -1);
	for (char **c = components; *c != NULL; c++) {
		if (!identifier_validate(*c, error))
			return error_prefix(error, "failed validation on component %s", Q(*c));
	}
	return true;
}

/* What filters see of an envelope; upstream core/events Envelope.Field. */
typedef struct {
	Exchange *exchange;
	Envelope *envelope;
	char *value; // the last one that came out of an event, kept until the next is asked for
} FieldOf;

static const char *envelope_field(const char *const *path, size_t n, bool *present, void *data)
{
	FieldOf *of = data;
	const Envelope *e = of->envelope;
	const char *value = NULL;
	if (n > 0 && g_str_equal(path[0], "namespace")) {
		value = e->ns;
	} else if (n > 0 && g_str_equal(path[0], "topic")) {
		value = e->topic;
	} else if (n > 0 && g_str_equal(path[0], "event") && of->exchange->field != NULL) {
		g_free(of->value);
		value = of->value = of->exchange->field(&e->event, path + 1, n - 1);
	}
	*present = !str_empty(value);
	return value;
}

static void broadcast(Exchange *x, Envelope *envelope)
{
	FieldOf of = {.exchange = x, .envelope = envelope};
	g_autoptr(GPtrArray) ended = g_ptr_array_new();
	{
		LOCK_SCOPE(&x->lock);
		for (guint i = 0; i < x->subscriptions->len;) {
			Subscription *s = x->subscriptions->pdata[i];
			if ((s->filter != NULL && !filter_match(s->filter, envelope_field, &of)) ||
			    s->receive(envelope, s->data)) {
				i++;
				continue;
			}
			g_ptr_array_remove_index(x->subscriptions, i);
			g_ptr_array_add(ended, s);
		}
	}
	g_free(of.value);
	g_ptr_array_foreach(ended, (GFunc)(void (*)(void))subscription_free, NULL);
}

bool exchange_publish(Exchange *x, const Ctx *ctx, const char *topic, const Any *event, GError **error)
{
	if (str_empty(ctx->ns)) {
		error_set_class(error, CTRD_ERR_FAILED_PRECONDITION, "namespace is required");
		return error_prefix(error, "failed publishing event");
	}
	if (!identifier_validate(ctx->ns, error)) {
		error_prefix(error, "namespace validation");
		return error_prefix(error, "failed publishing event");
	}
	if (!validate_topic(topic, error))
		return error_prefix(error, "envelope topic %s", Q(topic));
	g_autoptr(Envelope) e = envelope_new(time_now(), ctx->ns, topic, event);
	broadcast(x, e);
	return true;
}

bool exchange_forward(Exchange *x, Envelope *envelope, GError **error)
{
	if (!identifier_validate(envelope->ns, error))
		return error_prefix(error, "event envelope has invalid namespace");
	if (!validate_topic(envelope->topic, error))
		return error_prefix(error, "envelope topic %s", Q(envelope->topic));
	if (envelope->timestamp == 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "timestamp must be set on forwarded event");
	broadcast(x, envelope);
	return true;
}

uint64_t exchange_subscribe(Exchange *x, const char *const *filters, ExchangeReceiveFn receive,
                            GDestroyNotify closed, void *data, GError **error)
{
	g_autoptr(Filter) filter = NULL;
	if (filters != NULL && filters[0] != NULL) {
		filter = filter_parse_all(filters, error);
		if (filter == NULL) {
			error_prefix(error, "failed parsing subscription filters");
			return 0;
		}
	}
	Subscription *s = g_new0(Subscription, 1);
	*s = (Subscription){
	        .filter = g_steal_pointer(&filter), .receive = receive, .closed = closed, .data = data};
	LOCK_SCOPE(&x->lock);
	/* the caller may be told of the end before this returns: the id must not be read from s any more */
	uint64_t id = s->id = ++x->last_id;
	g_ptr_array_add(x->subscriptions, s);
	return id;
}

void exchange_unsubscribe(Exchange *x, uint64_t id)
{
	Subscription *found = NULL;
	{
		LOCK_SCOPE(&x->lock);
		for (guint i = 0; i < x->subscriptions->len && found == NULL; i++) {
			Subscription *s = x->subscriptions->pdata[i];
			if (s->id == id)
				found = g_ptr_array_remove_index(x->subscriptions, i);
		}
	}
	if (found != NULL)
		subscription_free(found);
}
