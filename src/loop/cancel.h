// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Cancellation and deadlines: Go's context.Context without the values. A token is reference counted and may
 * be used from any thread. A child is canceled with its parent. NULL is a token that is never canceled,
 * everywhere.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Cancel Cancel;

Cancel *cancel_new(Cancel *parent); // parent may be NULL
Cancel *cancel_ref(Cancel *c);
void cancel_unref(Cancel *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Cancel, cancel_unref)

/* time_mono() nanoseconds; the earlier of this and the present one counts. The deadline is checked by
 * cancel_check and by waits; callbacks run when somebody calls cancel_trigger (the RPC server's and client's
 * timers do). */
void cancel_set_deadline(Cancel *c, int64_t deadline);
int64_t cancel_deadline(Cancel *c); // 0: none

/* Cancels: text `context canceled` (CANCELED), or `context deadline exceeded` (DEADLINE_EXCEEDED) with the
 * flag. Callbacks run once, on this thread, outside the token's lock, the newest first. */
void cancel_trigger(Cancel *c, bool deadline_exceeded);
bool cancel_is_set(Cancel *c); // also true past the deadline

/* false and an error where canceled or past the deadline. */
bool cancel_check(Cancel *c, GError **error);

/* fn(data) runs once when the token is canceled (at once where it is already); returns an id for cancel_off,
 * never 0. cancel_off returns only when fn is not running on another thread. */
unsigned cancel_on(Cancel *c, void (*fn)(void *data), void *data);
void cancel_off(Cancel *c, unsigned id);

/* Sleeps; false and an error where canceled. */
bool cancel_sleep(Cancel *c, int64_t ns, GError **error);
