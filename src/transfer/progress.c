// SPDX-License-Identifier: Apache-2.0
#include "transfer/progress.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/lock.h"
#include "loop/thread.h"

#define TICK (300 * NS_PER_MS)

typedef enum {
	JOB_ADDED,
	JOB_RUNNING,
	JOB_COMPLETE,
	JOB_EXTRACTING,
	JOB_EXTRACTED,
} JobState;

/* What has happened, and what of it has been told. */
typedef struct {
	Descriptor desc;
	char *name;
	char **parents;
	JobState state, told_state;
	int64_t offset, told_offset, taken;
	bool told, exists, told_exists;
} Job;

struct Progress {
	char *root, *state;
	TransferProgressSink sink;
	pthread_t thread;
	Lock lock;
	Cond changed;
	GHashTable *jobs;    // digest -> Job*
	GPtrArray *order;    // of Job*, as they were added
	GHashTable *parents; // digest -> GPtrArray of ref keys
	bool news, stopping;
};

static void job_free(void *data)
{
	Job *j = data;
	descriptor_clear(&j->desc);
	g_free(j->name);
	g_strfreev(j->parents);
	g_free(j);
}

/* A message, copied out of the lock: the listener may take its time. */
typedef struct {
	const char *event;
	Job *job; // lives as long as the tracker; what is used of it does not change
	int64_t progress;
	bool parents;
} Message;

static void message_add(GArray *out, Job *j, const char *event, int64_t progress, bool parents)
{
	Message m = {.event = event, .job = j, .progress = progress, .parents = parents};
	g_array_append_val(out, m);
}

static void job_news(Progress *p, Job *j, bool tick, GArray *out)
{
	if (!j->told) {
		message_add(out, j, "waiting", 0, true);
		j->told = true;
	}
	if (j->exists && !j->told_exists) {
		message_add(out, j, "already exists", j->desc.size, false);
		j->told_exists = true;
		j->told_state = JOB_COMPLETE;
	}
	if (!tick)
		return;
	if (j->state >= JOB_RUNNING && j->told_state <= JOB_RUNNING && j->offset > j->told_offset &&
	    j->state < JOB_COMPLETE) {
		message_add(out, j, p->state, j->offset, true);
		j->told_offset = j->offset;
		j->told_state = JOB_RUNNING;
	}
	if (j->state >= JOB_COMPLETE && j->told_state < JOB_COMPLETE) {
		message_add(out, j, "complete", j->desc.size, true);
		j->told_state = JOB_COMPLETE;
	}
	if (j->state == JOB_EXTRACTING) {
		message_add(out, j, "extracting", j->taken, true);
		j->told_state = JOB_EXTRACTING;
	}
	if (j->state == JOB_EXTRACTED && j->told_state != JOB_EXTRACTED) {
		message_add(out, j, "extracted", j->desc.size, true);
		j->told_state = JOB_EXTRACTED;
	}
}

static void send_all(Progress *p, GArray *messages)
{
	for (guint i = 0; i < messages->len; i++) {
		const Message *m = &g_array_index(messages, Message, i);
		TransferProgress out = {
		        .event = m->event,
		        .name = m->job->name,
		        .parents = m->parents ? m->job->parents : NULL,
		        .progress = m->progress,
		        .total = m->job->desc.size,
		        .desc = &m->job->desc,
		};
		p->sink.fn(&out, p->sink.data);
	}
	g_array_set_size(messages, 0);
}

static void *progress_thread(void *data)
{
	Progress *p = data;
	g_autoptr(GArray) messages = g_array_new(FALSE, FALSE, sizeof(Message));
	int64_t next = time_mono() + TICK;
	for (bool last = false; !last;) {
		{
			LOCK_SCOPE(&p->lock);
			while (!p->news && !p->stopping && time_mono() < next)
				cond_wait_until(&p->changed, &p->lock, next);
			last = p->stopping;
			p->news = false;
			bool tick = last || time_mono() >= next;
			for (guint i = 0; i < p->order->len; i++)
				job_news(p, p->order->pdata[i], tick, messages);
			if (tick)
				next = time_mono() + TICK;
		}
		send_all(p, messages);
	}
	return NULL;
}

static void strings_free(void *p)
{
	g_ptr_array_unref(p);
}

Progress *progress_new(const char *root, const char *state, TransferProgressSink sink)
{
	if (sink.fn == NULL)
		return NULL;
	Progress *p = g_new0(Progress, 1);
	p->root = g_strdup(root);
	p->state = g_strdup(state);
	p->sink = sink;
	lock_init(&p->lock, "progress", LOCK_RANK_LEAF);
	cond_init(&p->changed);
	p->jobs = g_hash_table_new(g_str_hash, g_str_equal);
	p->order = g_ptr_array_new_with_free_func(job_free);
	p->parents = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, strings_free);
	int e = thread_start(&p->thread, "progress", 0, progress_thread, p);
	if (e != 0)
		g_error("progress: %s", g_strerror(e));
	return p;
}

void progress_free(Progress *p)
{
	if (p == NULL)
		return;
	{
		LOCK_SCOPE(&p->lock);
		p->stopping = true;
		cond_signal(&p->changed);
	}
	pthread_join(p->thread, NULL);
	g_hash_table_unref(p->jobs);
	g_ptr_array_unref(p->order);
	g_hash_table_unref(p->parents);
	lock_destroy(&p->lock);
	cond_destroy(&p->changed);
	g_free(p->root);
	g_free(p->state);
	g_free(p);
}

static Job *job_locked(Progress *p, const Descriptor *desc)
{
	Job *j = g_hash_table_lookup(p->jobs, desc->digest);
	if (j != NULL)
		return j;
	j = g_new0(Job, 1);
	descriptor_copy(&j->desc, desc);
	j->name = transfer_ref_key(desc);
	GPtrArray *parents = g_hash_table_lookup(p->parents, desc->digest);
	guint n = parents != NULL ? parents->len : 0;
	j->parents = g_new0(char *, n + 2);
	for (guint i = 0; i < n; i++)
		j->parents[i] = g_strdup(parents->pdata[i]);
	if (n == 0)
		j->parents[0] = g_strdup(p->root);
	g_hash_table_insert(p->jobs, j->desc.digest, j);
	g_ptr_array_add(p->order, j);
	return j;
}

static void news_locked(Progress *p)
{
	p->news = true;
	cond_signal(&p->changed);
}

void progress_add(Progress *p, const Descriptor *desc)
{
	if (p == NULL)
		return;
	LOCK_SCOPE(&p->lock);
	job_locked(p, desc);
	news_locked(p);
}

void progress_children(Progress *p, const Descriptor *parent, GPtrArray *children)
{
	if (p == NULL)
		return;
	LOCK_SCOPE(&p->lock);
	for (guint i = 0; i < children->len; i++) {
		const Descriptor *child = children->pdata[i];
		GPtrArray *names = g_hash_table_lookup(p->parents, child->digest);
		if (names == NULL) {
			names = g_ptr_array_new_with_free_func(g_free);
			g_hash_table_insert(p->parents, g_strdup(child->digest), names);
		}
		g_ptr_array_add(names, transfer_ref_key(parent));
	}
}

void progress_offset(Progress *p, const Descriptor *desc, int64_t offset)
{
	if (p == NULL)
		return;
	LOCK_SCOPE(&p->lock);
	Job *j = job_locked(p, desc);
	j->state = MAX(j->state, JOB_RUNNING);
	j->offset = offset;
}

void progress_complete(Progress *p, const Descriptor *desc)
{
	if (p == NULL)
		return;
	LOCK_SCOPE(&p->lock);
	Job *j = job_locked(p, desc);
	j->state = j->taken > 0 ? JOB_EXTRACTING : JOB_COMPLETE;
}

void progress_exists(Progress *p, const Descriptor *desc)
{
	if (p == NULL)
		return;
	LOCK_SCOPE(&p->lock);
	Job *j = job_locked(p, desc);
	j->exists = true;
	j->state = MAX(j->state, JOB_COMPLETE);
	j->offset = desc->size;
	news_locked(p);
}

void progress_extract(Progress *p, const Descriptor *desc, int64_t taken)
{
	if (p == NULL)
		return;
	LOCK_SCOPE(&p->lock);
	Job *j = job_locked(p, desc);
	j->taken = taken;
	if (j->state == JOB_COMPLETE)
		j->state = JOB_EXTRACTING;
}

void progress_extracted(Progress *p, const Descriptor *desc)
{
	if (p == NULL)
		return;
	LOCK_SCOPE(&p->lock);
	job_locked(p, desc)->state = JOB_EXTRACTED;
}

void progress_say(TransferProgressSink sink, const char *name, const Descriptor *desc, const char *format,
                  ...)
{
	if (sink.fn == NULL)
		return;
	va_list ap;
	va_start(ap, format);
	g_autofree char *event = g_strdup_vprintf(format, ap);
	va_end(ap);
	TransferProgress out = {.event = event, .name = name != NULL ? name : "", .desc = desc};
	sink.fn(&out, sink.data);
}
