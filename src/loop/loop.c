// SPDX-License-Identifier: Apache-2.0
#include "loop/loop.h"
#include "base/time.h"
#include "loop/lock.h"
#include "loop/thread.h"

typedef struct {
	LoopFn fn;
	void *data;
} Message;

struct Loop {
	uv_loop_t uv;
	uv_async_t wake;
	pthread_t thread; // of loop_start

	Lock lock;
	GArray *mailbox; // of Message; under the lock
	bool stop;       // asked for; under the lock
	bool closed;     // nothing is taken any more; under the lock

	GArray *running; // the mailbox being run; loop thread
};

static _Thread_local Loop *current;

bool loop_is_current(Loop *loop)
{
	return current == loop;
}

uv_loop_t *loop_uv(Loop *loop)
{
	return &loop->uv;
}

/* Runs what is in the mailbox now; what is posted meanwhile comes at the next turn. Returns true where the
 * loop has to stop: then this was the last of it. */
static bool run_mailbox(Loop *loop)
{
	lock_acquire(&loop->lock);
	GArray *messages = loop->mailbox;
	loop->mailbox = loop->running;
	loop->running = messages;
	bool stop = loop->stop;
	loop->closed = stop;
	lock_release(&loop->lock);

	for (guint i = 0; i < messages->len; i++) {
		Message *m = &g_array_index(messages, Message, i);
		m->fn(m->data);
	}
	g_array_set_size(messages, 0);
	return stop;
}

static void on_wake(uv_async_t *wake)
{
	Loop *loop = wake->data;
	if (run_mailbox(loop))
		uv_stop(&loop->uv);
}

static void must(int e, const char *what)
{
	if (G_UNLIKELY(e != 0))
		g_error("%s: %s", what, uv_strerror(e));
}

Loop *loop_new(void)
{
	Loop *loop = g_new0(Loop, 1);
	must(uv_loop_init(&loop->uv), "uv_loop_init");
	must(uv_async_init(&loop->uv, &loop->wake, on_wake), "uv_async_init");
	loop->wake.data = loop;
	lock_init(&loop->lock, "loop mailbox", LOCK_RANK_LOOP);
	loop->mailbox = g_array_new(FALSE, FALSE, sizeof(Message));
	loop->running = g_array_new(FALSE, FALSE, sizeof(Message));
	return loop;
}

void loop_run(Loop *loop)
{
	current = loop;
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(Loop *loop)
{
	lock_acquire(&loop->lock);
	loop->stop = true;
	// under the lock, so that nobody frees the loop between the two
	uv_async_send(&loop->wake);
	lock_release(&loop->lock);
}

bool loop_post(Loop *loop, LoopFn fn, void *data)
{
	LOCK_SCOPE(&loop->lock);
	if (loop->closed)
		return false;
	Message message = {fn, data};
	g_array_append_val(loop->mailbox, message);
	if (loop->mailbox->len == 1)
		uv_async_send(&loop->wake);
	return true;
}

bool loop_run_on(Loop *loop, LoopFn fn, void *data)
{
	if (!loop_is_current(loop))
		return loop_post(loop, fn, data);
	fn(data);
	return true;
}

static void check_closing(uv_handle_t *handle, void *data)
{
	if (!uv_is_closing(handle))
		g_error("loop_free: a handle of type %s is open", uv_handle_type_name(handle->type));
}

void loop_free(Loop *loop)
{
	Loop *outer = current;
	current = loop; // close callbacks may ask
	uv_close((uv_handle_t *)&loop->wake, NULL);
	uv_walk(&loop->uv, check_closing, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	must(uv_loop_close(&loop->uv), "uv_loop_close");
	current = outer == loop ? NULL : outer;
	lock_destroy(&loop->lock);
	g_array_unref(loop->mailbox);
	g_array_unref(loop->running);
	g_free(loop);
}

static void *loop_thread(void *data)
{
	loop_run(data);
	return NULL;
}

Loop *loop_start(const char *thread_name)
{
	Loop *loop = loop_new();
	int e = thread_start(&loop->thread, thread_name, 0, loop_thread, loop);
	if (e != 0)
		g_error("pthread_create: %s", g_strerror(e));
	return loop;
}

void loop_stop_join(Loop *loop)
{
	loop_stop(loop);
	pthread_join(loop->thread, NULL);
	loop_free(loop);
}

struct LoopTimer {
	uv_timer_t timer;
	LoopFn fn;
	void *data;
};

static void on_timer(uv_timer_t *handle)
{
	LoopTimer *timer = handle->data;
	timer->fn(timer->data);
}

LoopTimer *loop_timer_new(Loop *loop, LoopFn fn, void *data)
{
	LoopTimer *timer = g_new0(LoopTimer, 1);
	uv_timer_init(&loop->uv, &timer->timer);
	timer->timer.data = timer;
	timer->fn = fn;
	timer->data = data;
	return timer;
}

static uint64_t to_ms(int64_t ns)
{
	return ns <= 0 ? 0 : (uint64_t)((ns - 1) / NS_PER_MS + 1);
}

void loop_timer_start(LoopTimer *timer, int64_t after_ns, int64_t repeat_ns)
{
	// the loop's idea of now is as old as the present turn
	uv_update_time(timer->timer.loop);
	// and cut to the millisecond: one more, so that a timer never comes early
	uint64_t after = after_ns > 0 ? to_ms(after_ns) + 1 : 0;
	uv_timer_start(&timer->timer, on_timer, after, to_ms(repeat_ns));
}

void loop_timer_stop(LoopTimer *timer)
{
	uv_timer_stop(&timer->timer);
}

static void on_timer_closed(uv_handle_t *handle)
{
	g_free(handle->data);
}

void loop_timer_free(LoopTimer *timer)
{
	if (timer != NULL)
		uv_close((uv_handle_t *)&timer->timer, on_timer_closed);
}
