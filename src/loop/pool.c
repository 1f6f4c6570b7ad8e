// SPDX-License-Identifier: Apache-2.0
/*
 * A task goes straight into the hands of an idle worker, the one that became idle last (so that the others
 * grow old and end); the queue is used only while all workers are busy and no more may be made. So a wake-up
 * cannot be lost: who is taken off the idle list has its task already.
 */
#include "loop/pool.h"
#include "base/time.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include <glib.h>
#include <malloc.h>

#define WORKER_STACK ((size_t)1024 * 1024)

typedef struct {
	PoolFn fn;
	void *data;
} Task;

typedef struct Worker Worker;
struct Worker {
	Pool *pool;
	pthread_t thread;
	Cond wake;
	Task task;       // fn NULL: none yet
	GList idle_link; // in Pool.idle, data is the worker
	bool idle;
};

struct Pool {
	Lock lock;
	const char *name;
	unsigned max, max_queue;
	int64_t idle_ns;
	// all under the lock
	GQueue queue; // of Task*
	GQueue idle;  // of Worker, by idle_link; the head became idle last
	unsigned n_threads;
	bool closing;
	Worker *ended; // the worker that ended last, to be joined by the next one or by pool_free
	Cond all_ended;
};

Pool *pool_new(const char *name, unsigned max, unsigned max_queue, int64_t idle_ns)
{
	g_assert(max > 0);
	Pool *pool = g_new0(Pool, 1);
	lock_init(&pool->lock, "pool", LOCK_RANK_LEAF);
	cond_init(&pool->all_ended);
	pool->name = name;
	pool->max = max;
	pool->max_queue = max_queue;
	pool->idle_ns = idle_ns;
	g_queue_init(&pool->queue);
	g_queue_init(&pool->idle);
	return pool;
}

static void worker_join(Worker *worker)
{
	if (worker == NULL)
		return;
	pthread_join(worker->thread, NULL);
	cond_destroy(&worker->wake);
	g_free(worker);
}

/* Waits to be given a task. false: none came in time, or the pool is closing. */
static bool worker_wait(Worker *worker)
{
	Pool *pool = worker->pool;
	if (pool->closing)
		return false;
	int64_t deadline = time_mono() + pool->idle_ns;
	worker->idle = true;
	g_queue_push_head_link(&pool->idle, &worker->idle_link);
	while (worker->idle && !pool->closing && cond_wait_until(&worker->wake, &pool->lock, deadline))
		;
	if (worker->idle) {
		g_queue_unlink(&pool->idle, &worker->idle_link);
		worker->idle = false;
	}
	return worker->task.fn != NULL;
}

/* Under the lock: the worker's next task, from the queue or waited for. */
static bool worker_next(Worker *worker)
{
	Task *queued = g_queue_pop_head(&worker->pool->queue);
	if (queued == NULL)
		return worker_wait(worker);
	worker->task = *queued;
	g_free(queued);
	return true;
}

static void *worker_run(void *data)
{
	Worker *worker = data;
	Pool *pool = worker->pool;

	lock_acquire(&pool->lock);
	do {
		Task task = worker->task;
		worker->task = (Task){0};
		lock_release(&pool->lock);
		task.fn(task.data);
		lock_acquire(&pool->lock);
	} while (worker_next(worker));
	// in the same hold as the decision to end, so that no task is queued for a worker that goes
	Worker *earlier = pool->ended;
	pool->ended = worker;
	if (--pool->n_threads == 0)
		cond_broadcast(&pool->all_ended);
	lock_release(&pool->lock);
	worker_join(earlier);
	malloc_trim(0); // what the burst that needed this worker has left in the heap
	return NULL;
}

static bool add_worker(Pool *pool, Task task)
{
	Worker *worker = g_new0(Worker, 1);
	worker->pool = pool;
	worker->task = task;
	worker->idle_link.data = worker;
	cond_init(&worker->wake);
	if (thread_start(&worker->thread, pool->name, WORKER_STACK, worker_run, worker) != 0) {
		cond_destroy(&worker->wake);
		g_free(worker);
		return false;
	}
	pool->n_threads++;
	return true;
}

bool pool_submit(Pool *pool, PoolFn fn, void *data)
{
	Task task = {fn, data};
	LOCK_SCOPE(&pool->lock);
	if (pool->closing)
		return false;
	GList *link = g_queue_pop_head_link(&pool->idle);
	if (link != NULL) {
		Worker *worker = link->data;
		worker->idle = false;
		worker->task = task;
		cond_signal(&worker->wake);
		return true;
	}
	if (pool->n_threads < pool->max && add_worker(pool, task))
		return true;
	// where the system gives no more threads, those that are there do the work
	if (pool->n_threads == 0 || pool->queue.length >= pool->max_queue)
		return false;
	g_queue_push_tail(&pool->queue, g_memdup2(&task, sizeof(task)));
	return true;
}

void pool_free(Pool *pool)
{
	lock_acquire(&pool->lock);
	pool->closing = true;
	for (GList *link = pool->idle.head; link != NULL; link = link->next)
		cond_signal(&((Worker *)link->data)->wake);
	while (pool->n_threads > 0)
		cond_wait(&pool->all_ended, &pool->lock);
	Worker *last = pool->ended;
	lock_release(&pool->lock);

	worker_join(last);
	g_assert(pool->queue.length == 0);
	cond_destroy(&pool->all_ended);
	lock_destroy(&pool->lock);
	g_free(pool);
}

unsigned pool_n_threads(Pool *pool)
{
	LOCK_SCOPE(&pool->lock);
	return pool->n_threads;
}

unsigned pool_n_queued(Pool *pool)
{
	LOCK_SCOPE(&pool->lock);
	return pool->queue.length;
}
