// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/time.h"
#include "loop/cancel.h"
#include "loop/thread.h"
#include <stdatomic.h>

static atomic_int fired;

static void fire(void *data)
{
	atomic_fetch_add(&fired, 1);
}

static void test_trigger(void)
{
	g_autoptr(Cancel) c = cancel_new(NULL);
	g_autoptr(GError) error = NULL;
	atomic_store(&fired, 0);
	unsigned a = cancel_on(c, fire, NULL), b = cancel_on(c, fire, NULL);
	g_assert_cmpuint(a, !=, 0);
	g_assert_cmpuint(a, !=, b);
	cancel_off(c, b);
	g_assert_true(cancel_check(c, &error));
	g_assert_false(cancel_is_set(c));
	cancel_trigger(c, false);
	cancel_trigger(c, true); // the first counts
	g_assert_cmpint(atomic_load(&fired), ==, 1);
	g_assert_true(cancel_is_set(c));
	g_assert_false(cancel_check(c, &error));
	g_assert_cmpstr(error->message, ==, "context canceled");
	g_assert_true(error_is(error, CTRD_ERR_CANCELED));
	cancel_on(c, fire, NULL); // at once
	g_assert_cmpint(atomic_load(&fired), ==, 2);
	cancel_off(c, a);
	cancel_off(c, 999);
	cancel_off(c, 0); // what an unset id is
}

static void test_null(void)
{
	g_assert_null(cancel_ref(NULL));
	cancel_unref(NULL);
	cancel_trigger(NULL, false);
	cancel_set_deadline(NULL, 1);
	g_assert_false(cancel_is_set(NULL));
	g_assert_true(cancel_check(NULL, NULL));
	g_assert_cmpuint(cancel_on(NULL, fire, NULL), !=, 0);
	cancel_off(NULL, 1);
	g_assert_cmpint(cancel_deadline(NULL), ==, 0);
	int64_t start = time_mono();
	g_assert_true(cancel_sleep(NULL, 2 * NS_PER_MS, NULL));
	g_assert_cmpint(time_mono() - start, >=, 2 * NS_PER_MS);
}

static void test_family(void)
{
	g_autoptr(Cancel) parent = cancel_new(NULL);
	g_autoptr(Cancel) child = cancel_new(parent);
	g_autoptr(Cancel) grandchild = cancel_new(child);
	g_autoptr(Cancel) sibling = cancel_new(parent);
	g_autoptr(GError) error = NULL;
	atomic_store(&fired, 0);
	cancel_on(grandchild, fire, NULL);
	cancel_trigger(child, false);
	g_assert_cmpint(atomic_load(&fired), ==, 1);
	g_assert_false(cancel_is_set(parent));
	g_assert_false(cancel_is_set(sibling));
	cancel_trigger(parent, true);
	g_assert_false(cancel_check(sibling, &error));
	g_assert_cmpstr(error->message, ==, "context deadline exceeded");
	g_assert_true(error_is(error, CTRD_ERR_DEADLINE_EXCEEDED));
	g_clear_error(&error);
	g_assert_false(cancel_check(grandchild, &error));
	g_assert_cmpstr(error->message, ==, "context canceled");
	g_autoptr(Cancel) late = cancel_new(parent);
	g_assert_true(cancel_is_set(late));
}

static void test_deadline(void)
{
	g_autoptr(Cancel) parent = cancel_new(NULL);
	g_autoptr(Cancel) child = cancel_new(parent);
	g_autoptr(GError) error = NULL;
	int64_t now = time_mono();
	cancel_set_deadline(child, now + 60 * NS_PER_SEC);
	cancel_set_deadline(child, now + 90 * NS_PER_SEC); // later: does not count
	g_assert_cmpint(cancel_deadline(child), ==, now + 60 * NS_PER_SEC);
	cancel_set_deadline(parent, now + 20 * NS_PER_MS);
	g_assert_cmpint(cancel_deadline(child), ==, now + 20 * NS_PER_MS);
	g_assert_false(cancel_is_set(child));
	g_assert_false(cancel_sleep(child, 60 * NS_PER_SEC, &error));
	g_assert_cmpint(time_mono(), >=, now + 20 * NS_PER_MS);
	g_assert_cmpint(time_mono(), <, now + 30 * NS_PER_SEC);
	g_assert_true(error_is(error, CTRD_ERR_DEADLINE_EXCEEDED));
	g_assert_true(cancel_is_set(parent));
	// who registers past the deadline is called
	atomic_store(&fired, 0);
	cancel_on(child, fire, NULL);
	g_assert_cmpint(atomic_load(&fired), ==, 1);
}

static void *trigger_soon(void *data)
{
	cancel_sleep(NULL, 20 * NS_PER_MS, NULL);
	cancel_trigger(data, false);
	return NULL;
}

static void test_sleep(void)
{
	g_autoptr(Cancel) c = cancel_new(NULL);
	g_autoptr(Cancel) child = cancel_new(c);
	g_autoptr(GError) error = NULL;
	g_assert_true(cancel_sleep(child, NS_PER_MS, &error));
	pthread_t thread;
	thread_start(&thread, "trigger", 0, trigger_soon, c);
	int64_t start = time_mono();
	g_assert_false(cancel_sleep(child, 60 * NS_PER_SEC, &error));
	g_assert_cmpint(time_mono() - start, <, 30 * NS_PER_SEC);
	g_assert_true(error_is(error, CTRD_ERR_CANCELED));
	pthread_join(thread, NULL);
}

typedef struct {
	atomic_int running, left;
} Slow;

static void slow(void *data)
{
	Slow *s = data;
	atomic_store(&s->running, 1);
	cancel_sleep(NULL, 30 * NS_PER_MS, NULL);
	atomic_store(&s->left, 1);
}

static void *trigger_now(void *data)
{
	cancel_trigger(data, false);
	return NULL;
}

static void test_off_waits(void)
{
	g_autoptr(Cancel) c = cancel_new(NULL);
	Slow s = {0};
	unsigned id = cancel_on(c, slow, &s);
	pthread_t thread;
	thread_start(&thread, "trigger", 0, trigger_now, c);
	while (atomic_load(&s.running) == 0)
		cancel_sleep(NULL, NS_PER_MS, NULL);
	cancel_off(c, id);
	g_assert_cmpint(atomic_load(&s.left), ==, 1);
	pthread_join(thread, NULL);
}

typedef struct {
	Cancel *c, *child;
	unsigned id;
} Self;

static void off_from_inside(void *data)
{
	Self *self = data;
	cancel_off(self->c, self->id); // its own: does not wait for itself
	cancel_unref(g_steal_pointer(&self->child));
	cancel_unref(g_steal_pointer(&self->c)); // the last one, while it is being triggered
	atomic_fetch_add(&fired, 1);
}

static void test_off_inside(void)
{
	atomic_store(&fired, 0);
	Self self = {.c = cancel_new(NULL)};
	Cancel *c = self.c;
	self.child = cancel_new(c);
	self.id = cancel_on(c, off_from_inside, &self);
	cancel_trigger(c, false);
	g_assert_cmpint(atomic_load(&fired), ==, 1);
}

static void *make_children(void *data)
{
	for (int i = 0; i < 3000; i++) {
		g_autoptr(Cancel) child = cancel_new(data);
		g_autoptr(Cancel) grandchild = cancel_new(child);
		unsigned id = cancel_on(grandchild, fire, NULL);
		if (i % 2 == 0)
			cancel_off(grandchild, id);
	}
	return NULL;
}

/* Children come and go on several threads while the parent is canceled: for the sanitizers. */
static void test_race(void)
{
	for (int round = 0; round < 5; round++) {
		g_autoptr(Cancel) parent = cancel_new(NULL);
		pthread_t threads[3];
		for (int i = 0; i < 3; i++)
			thread_start(&threads[i], "children", 0, make_children, parent);
		cancel_sleep(NULL, NS_PER_MS / 2, NULL);
		cancel_trigger(parent, false);
		for (int i = 0; i < 3; i++)
			pthread_join(threads[i], NULL);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cancel/trigger", test_trigger);
	g_test_add_func("/cancel/null", test_null);
	g_test_add_func("/cancel/family", test_family);
	g_test_add_func("/cancel/deadline", test_deadline);
	g_test_add_func("/cancel/sleep", test_sleep);
	g_test_add_func("/cancel/off-waits", test_off_waits);
	g_test_add_func("/cancel/off-inside", test_off_inside);
	g_test_add_func("/cancel/race", test_race);
	return g_test_run();
}
