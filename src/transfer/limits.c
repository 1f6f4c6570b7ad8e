// SPDX-License-Identifier: Apache-2.0
#include "transfer/limits.h"
#include "loop/lock.h"

struct Semaphore {
	Lock lock;
	Cond changed;
	unsigned free;
};

Semaphore *semaphore_new(unsigned n)
{
	Semaphore *s = g_new0(Semaphore, 1);
	lock_init(&s->lock, "semaphore", LOCK_RANK_LEAF);
	cond_init(&s->changed);
	s->free = n;
	return s;
}

void semaphore_free(Semaphore *s)
{
	if (s == NULL)
		return;
	lock_destroy(&s->lock);
	cond_destroy(&s->changed);
	g_free(s);
}

static void semaphore_wake(void *data)
{
	Semaphore *s = data;
	LOCK_SCOPE(&s->lock);
	cond_broadcast(&s->changed);
}

bool semaphore_acquire(Semaphore *s, Cancel *cancel, GError **error)
{
	unsigned id = cancel != NULL ? cancel_on(cancel, semaphore_wake, s) : 0;
	bool got = false;
	{
		LOCK_SCOPE(&s->lock);
		while (s->free == 0 && !cancel_is_set(cancel))
			cond_wait_until(&s->changed, &s->lock, cancel_deadline(cancel));
		if (s->free > 0) {
			s->free--;
			got = true;
		}
	}
	if (id != 0)
		cancel_off(cancel, id);
	return got || cancel_check(cancel, error);
}

void semaphore_release(Semaphore *s)
{
	LOCK_SCOPE(&s->lock);
	s->free++;
	cond_signal(&s->changed);
}

/* ---- Keys ---- */

struct KeyedLock {
	Lock lock;
	Cond changed;
	GHashTable *held; // set of keys
};

KeyedLock *keyed_lock_new(void)
{
	KeyedLock *k = g_new0(KeyedLock, 1);
	lock_init(&k->lock, "keyed-lock", LOCK_RANK_LEAF);
	cond_init(&k->changed);
	k->held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return k;
}

void keyed_lock_free(KeyedLock *k)
{
	if (k == NULL)
		return;
	g_assert(g_hash_table_size(k->held) == 0);
	g_hash_table_unref(k->held);
	lock_destroy(&k->lock);
	cond_destroy(&k->changed);
	g_free(k);
}

static void keyed_wake(void *data)
{
	KeyedLock *k = data;
	LOCK_SCOPE(&k->lock);
	cond_broadcast(&k->changed);
}

bool keyed_lock_acquire(KeyedLock *k, const char *key, Cancel *cancel, GError **error)
{
	unsigned id = cancel != NULL ? cancel_on(cancel, keyed_wake, k) : 0;
	bool got = false;
	{
		LOCK_SCOPE(&k->lock);
		while (g_hash_table_contains(k->held, key) && !cancel_is_set(cancel))
			cond_wait_until(&k->changed, &k->lock, cancel_deadline(cancel));
		if (!g_hash_table_contains(k->held, key)) {
			g_hash_table_add(k->held, g_strdup(key));
			got = true;
		}
	}
	if (id != 0)
		cancel_off(cancel, id);
	return got || cancel_check(cancel, error);
}

void keyed_lock_release(KeyedLock *k, const char *key)
{
	LOCK_SCOPE(&k->lock);
	g_hash_table_remove(k->held, key);
	cond_broadcast(&k->changed);
}
