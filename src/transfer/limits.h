// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What concurrent transfers wait for each other with. Waits end with the cancel token. Thread-safe. */

#include "loop/cancel.h"

#include <glib.h>
#include <stdbool.h>

/* At most n at a time. */
typedef struct Semaphore Semaphore;
Semaphore *semaphore_new(unsigned n);
void semaphore_free(Semaphore *s);
bool semaphore_acquire(Semaphore *s, Cancel *cancel, GError **error);
void semaphore_release(Semaphore *s);

/* A mutex for each key; keys come and go (upstream internal/kmutex). Whoever takes several takes them in an
 * order that all agree on. */
typedef struct KeyedLock KeyedLock;
KeyedLock *keyed_lock_new(void);
void keyed_lock_free(KeyedLock *k);
bool keyed_lock_acquire(KeyedLock *k, const char *key, Cancel *cancel, GError **error);
void keyed_lock_release(KeyedLock *k, const char *key);
