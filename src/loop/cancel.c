// SPDX-License-Identifier: Apache-2.0
/*
 * A child hangs on its parent as a callback. The child holds its parent; the parent only points to the child,
 * whose end takes the callback away and waits for it, and which the callback touches only after it got a
 * reference that was not the last one's ghost.
 */
#include "loop/cancel.h"
#include "base/error.h"
#include "base/time.h"
#include "loop/lock.h"
#include <stdatomic.h>
#include <time.h>

typedef enum {
	STATE_LIVE,
	STATE_CANCELED,
	STATE_DEADLINE,
} State;

typedef struct Callback Callback;
struct Callback {
	Callback *next;
	unsigned id;
	void (*fn)(void *data);
	void *data;
};

struct Cancel {
	atomic_int refs;
	atomic_int state;
	_Atomic int64_t deadline; // 0: none of its own
	Cancel *parent;
	unsigned parent_id;

	Lock lock;
	Cond changed;
	// under the lock
	Callback *callbacks;
	unsigned last_id, running_id;
	pthread_t running_thread;
};

static bool ref_unless_gone(Cancel *c)
{
	int refs = atomic_load(&c->refs);
	while (refs > 0)
		if (atomic_compare_exchange_weak(&c->refs, &refs, refs + 1))
			return true;
	return false;
}

static void on_parent(void *data)
{
	Cancel *c = data;
	if (!ref_unless_gone(c))
		return;
	cancel_trigger(c, atomic_load(&c->parent->state) == STATE_DEADLINE);
	cancel_unref(c);
}

Cancel *cancel_new(Cancel *parent)
{
	Cancel *c = g_new0(Cancel, 1);
	atomic_init(&c->refs, 1);
	lock_init(&c->lock, "cancel", LOCK_RANK_LEAF);
	cond_init(&c->changed);
	if (parent != NULL) {
		c->parent = cancel_ref(parent);
		c->parent_id = cancel_on(parent, on_parent, c);
	}
	return c;
}

Cancel *cancel_ref(Cancel *c)
{
	if (c != NULL)
		atomic_fetch_add(&c->refs, 1);
	return c;
}

void cancel_unref(Cancel *c)
{
	if (c == NULL || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	if (c->parent != NULL) {
		cancel_off(c->parent, c->parent_id);
		cancel_unref(c->parent);
	}
	for (Callback *cb = c->callbacks, *next; cb != NULL; cb = next) {
		next = cb->next;
		g_free(cb);
	}
	cond_destroy(&c->changed);
	lock_destroy(&c->lock);
	g_free(c);
}

void cancel_set_deadline(Cancel *c, int64_t deadline)
{
	if (c == NULL || deadline == 0)
		return;
	int64_t old = atomic_load(&c->deadline);
	while ((old == 0 || deadline < old) && !atomic_compare_exchange_weak(&c->deadline, &old, deadline))
		;
	// who sleeps looks at the new one
	lock_acquire(&c->lock);
	cond_broadcast(&c->changed);
	lock_release(&c->lock);
}

int64_t cancel_deadline(Cancel *c)
{
	int64_t earliest = 0;
	for (; c != NULL; c = c->parent) {
		int64_t deadline = atomic_load(&c->deadline);
		if (deadline != 0 && (earliest == 0 || deadline < earliest))
			earliest = deadline;
	}
	return earliest;
}

static State state_now(Cancel *c)
{
	if (c == NULL)
		return STATE_LIVE;
	State state = (State)atomic_load(&c->state);
	if (state != STATE_LIVE)
		return state;
	int64_t deadline = cancel_deadline(c);
	return deadline != 0 && time_mono() >= deadline ? STATE_DEADLINE : STATE_LIVE;
}

bool cancel_is_set(Cancel *c)
{
	return state_now(c) != STATE_LIVE;
}

bool cancel_check(Cancel *c, GError **error)
{
	switch (state_now(c)) {
	case STATE_CANCELED:
		return error_set(error, CTRD_ERR_CANCELED, "context canceled");
	case STATE_DEADLINE:
		return error_set(error, CTRD_ERR_DEADLINE_EXCEEDED, "context deadline exceeded");
	case STATE_LIVE:
		break;
	}
	return true;
}

void cancel_trigger(Cancel *c, bool deadline_exceeded)
{
	if (c == NULL)
		return;
	cancel_ref(c); // a callback may drop the last one
	lock_acquire(&c->lock);
	if (atomic_load(&c->state) != STATE_LIVE) {
		lock_release(&c->lock);
		cancel_unref(c);
		return;
	}
	atomic_store(&c->state, deadline_exceeded ? STATE_DEADLINE : STATE_CANCELED);
	cond_broadcast(&c->changed);
	for (Callback *cb; (cb = c->callbacks) != NULL;) {
		c->callbacks = cb->next;
		c->running_id = cb->id;
		c->running_thread = pthread_self();
		lock_release(&c->lock);
		cb->fn(cb->data);
		g_free(cb);
		lock_acquire(&c->lock);
		c->running_id = 0;
		cond_broadcast(&c->changed);
	}
	lock_release(&c->lock);
	cancel_unref(c);
}

unsigned cancel_on(Cancel *c, void (*fn)(void *data), void *data)
{
	if (c == NULL)
		return 1;
	if (state_now(c) == STATE_DEADLINE)
		cancel_trigger(c, true); // nobody else may come to do it
	lock_acquire(&c->lock);
	unsigned id = ++c->last_id == 0 ? ++c->last_id : c->last_id;
	bool live = atomic_load(&c->state) == STATE_LIVE;
	if (live) {
		// in front: what came last mostly goes first
		Callback *cb = g_new(Callback, 1);
		*cb = (Callback){.next = c->callbacks, .id = id, .fn = fn, .data = data};
		c->callbacks = cb;
	}
	lock_release(&c->lock);
	if (!live)
		fn(data);
	return id;
}

void cancel_off(Cancel *c, unsigned id)
{
	if (c == NULL || id == 0) // cancel_on never gives 0
		return;
	LOCK_SCOPE(&c->lock);
	for (Callback **at = &c->callbacks; *at != NULL; at = &(*at)->next) {
		if ((*at)->id == id) {
			Callback *found = *at;
			*at = found->next;
			g_free(found);
			return;
		}
	}
	while (c->running_id == id && !pthread_equal(c->running_thread, pthread_self()))
		cond_wait(&c->changed, &c->lock);
}

bool cancel_sleep(Cancel *c, int64_t ns, GError **error)
{
	const int64_t end = time_mono() + MAX(ns, 0);
	if (c == NULL) {
		struct timespec ts = {.tv_sec = end / NS_PER_SEC, .tv_nsec = end % NS_PER_SEC};
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) != 0)
			;
		return true;
	}
	lock_acquire(&c->lock);
	while (state_now(c) == STATE_LIVE && time_mono() < end) {
		int64_t deadline = cancel_deadline(c);
		cond_wait_until(&c->changed, &c->lock, deadline != 0 ? MIN(end, deadline) : end);
	}
	lock_release(&c->lock);
	return cancel_check(c, error);
}
