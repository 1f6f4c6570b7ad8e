// SPDX-License-Identifier: Apache-2.0

#include "diff/layer.h"

#include "base/digest.h"
#include "base/error.h"
#include "base/util.h"
#include "loop/lock.h"
#include "loop/thread.h"

#include <string.h>

#define IN_SIZE (128 * 1024)
#define IN_SLOTS 8
#define OUT_SIZE (256 * 1024) // a chunk that inflate wrote is still in the core's cache when it is hashed
#define OUT_SLOTS 8

typedef struct {
	uint8_t *data;
	size_t len;
} Slot;

struct LayerStream {
	LayerStreamOptions o;
	Decompressor *decompressor;
	Digester *digester;
	LayerApply *apply; // NULL: nothing is extracted
	unsigned cancel_id;

	Lock lock;
	// Rings: the producer fills slot `produced % N`, a consumer reads `its count % N`
	Slot in[IN_SLOTS], out[OUT_SLOTS];
	uint64_t in_produced, in_consumed;
	uint64_t out_produced, hashed, applied;
	bool in_end, out_end;
	bool stop;     // somebody failed, or the stream is given up
	GError *error; // the first one
	Cond in_space, in_data, out_space, out_data;

	bool started;
	pthread_t threads[3];
	unsigned n_threads;
	int64_t out_size; // inflate stage's
	bool finished;
};

void layer_stream_result_clear(LayerStreamResult *r)
{
	g_clear_pointer(&r->diff_id, g_free);
}

/* ---- Ends ---- */

static void wake_all(LayerStream *s)
{
	cond_broadcast(&s->in_space);
	cond_broadcast(&s->in_data);
	cond_broadcast(&s->out_space);
	cond_broadcast(&s->out_data);
}

/* Takes the error. */
static void fail(LayerStream *s, GError *error)
{
	LOCK_SCOPE(&s->lock);
	if (s->error == NULL)
		s->error = error;
	else
		g_clear_error(&error);
	s->stop = true;
	wake_all(s);
}

static bool report(LayerStream *s, GError **error)
{
	LOCK_SCOPE(&s->lock);
	if (s->error != NULL)
		g_propagate_error(error, g_error_copy(s->error));
	else
		error_set(error, CTRD_ERR_UNKNOWN, "the layer's stream has ended");
	return false;
}

void layer_stream_abort(LayerStream *s)
{
	GError *error = NULL;
	error_set(&error, CTRD_ERR_CANCELED, "context canceled");
	fail(s, error);
}

static void on_cancel(void *data)
{
	LayerStream *s = data;
	GError *error = NULL;
	if (cancel_check(s->o.apply.cancel, &error))
		error_set(&error, CTRD_ERR_CANCELED, "context canceled");
	fail(s, error);
}

/* ---- Stages ---- */

/* Hands out what inflate made; waits for the next slot. false: stop. */
static bool publish_out(LayerStream *s, bool end)
{
	LOCK_SCOPE(&s->lock);
	if (s->out[s->out_produced % OUT_SLOTS].len > 0)
		s->out_produced++;
	s->out_end = end;
	cond_broadcast(&s->out_data);
	while (!s->stop && !end) {
		uint64_t behind = s->apply != NULL ? MIN(s->hashed, s->applied) : s->hashed;
		if (s->out_produced - behind < OUT_SLOTS)
			break;
		cond_wait(&s->out_space, &s->lock);
	}
	if (!end)
		s->out[s->out_produced % OUT_SLOTS].len = 0;
	return !s->stop;
}

/* Decompresses one piece of input; full chunks are handed out. */
static bool inflate_piece(LayerStream *s, const uint8_t *data, size_t len, bool eof, GError **error)
{
	while (true) {
		Slot *slot = &s->out[s->out_produced % OUT_SLOTS];
		if (slot->data == NULL)
			slot->data = g_malloc(OUT_SIZE);
		size_t made, room = OUT_SIZE - slot->len;
		if (!decompressor_step(s->decompressor, &data, &len, eof, slot->data + slot->len, room, &made,
		                       error))
			return false;
		slot->len += made;
		s->out_size += (int64_t)made;
		if (s->o.max_size > 0 && s->out_size > s->o.max_size)
			return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
			                 "uncompressed layer is over the limit of %" G_GINT64_FORMAT " bytes",
			                 s->o.max_size);
		if (made < room)
			return true;
		if (!publish_out(s, false))
			return report(s, error);
		if (!cancel_check(s->o.apply.cancel, error))
			return false;
	}
}

static bool next_in(LayerStream *s, Slot *ret, bool *ret_end)
{
	LOCK_SCOPE(&s->lock);
	while (!s->stop && !s->in_end && s->in_produced == s->in_consumed)
		cond_wait(&s->in_data, &s->lock);
	if (s->stop)
		return false;
	*ret_end = s->in_produced == s->in_consumed;
	if (!*ret_end)
		*ret = s->in[s->in_consumed % IN_SLOTS];
	return true;
}

/* ret_idle: there is no more input at the moment. */
static void done_in(LayerStream *s, bool *ret_idle)
{
	LOCK_SCOPE(&s->lock);
	s->in[s->in_consumed % IN_SLOTS].len = 0;
	s->in_consumed++;
	*ret_idle = s->in_produced == s->in_consumed && !s->in_end;
	cond_signal(&s->in_space);
}

static bool inflate_stage(LayerStream *s, GError **error)
{
	while (true) {
		Slot in;
		bool end, idle;
		if (!next_in(s, &in, &end))
			return report(s, error);
		if (end) {
			if (!inflate_piece(s, (const uint8_t *)"", 0, true, error))
				return false;
			publish_out(s, true);
			return true;
		}
		if (!inflate_piece(s, in.data, in.len, false, error))
			return false;
		done_in(s, &idle);
		// a slow network must not keep the disk waiting for a full chunk
		if (idle && s->out[s->out_produced % OUT_SLOTS].len > 0 && !publish_out(s, false))
			return report(s, error);
	}
}

/* The next chunk for the consumer with this count; false: the end, or stop. */
static bool next_out(LayerStream *s, uint64_t count, Slot *ret)
{
	LOCK_SCOPE(&s->lock);
	while (!s->stop && !s->out_end && s->out_produced == count)
		cond_wait(&s->out_data, &s->lock);
	if (s->stop || s->out_produced == count)
		return false;
	*ret = s->out[count % OUT_SLOTS];
	return true;
}

static void done_out(LayerStream *s, uint64_t *count)
{
	LOCK_SCOPE(&s->lock);
	++*count;
	cond_signal(&s->out_space);
}

static void *inflate_thread(void *data)
{
	LayerStream *s = data;
	GError *error = NULL;
	if (!inflate_stage(s, &error))
		fail(s, error);
	return NULL;
}

static void *hash_thread(void *data)
{
	LayerStream *s = data;
	Slot slot;
	while (next_out(s, s->hashed, &slot)) {
		digester_update(s->digester, slot.data, slot.len);
		done_out(s, &s->hashed);
	}
	return NULL;
}

static void *apply_thread(void *data)
{
	LayerStream *s = data;
	GError *error = NULL;
	Slot slot;
	while (next_out(s, s->applied, &slot)) {
		if (!layer_apply_write(s->apply, slot.data, slot.len, &error)) {
			fail(s, error);
			return NULL;
		}
		if (s->o.applied != NULL)
			*s->o.applied += (int64_t)slot.len;
		done_out(s, &s->applied);
	}
	return NULL;
}

/* ---- The producer's side ---- */

static bool start_thread(LayerStream *s, const char *name, void *(*fn)(void *), GError **error)
{
	int err = thread_start(&s->threads[s->n_threads], name, 0, fn, s);
	if (err != 0)
		return error_set_errno(error, err, "failed to start thread %s", name);
	s->n_threads++;
	return true;
}

static bool start(LayerStream *s, GError **error)
{
	s->started = true;
	GError *err = NULL;
	if (start_thread(s, "layer-inflate", inflate_thread, &err) &&
	    start_thread(s, "layer-hash", hash_thread, &err) &&
	    (s->apply == NULL || start_thread(s, "layer-apply", apply_thread, &err)))
		return true;
	g_propagate_error(error, g_error_copy(err));
	fail(s, err);
	return false;
}

static void join(LayerStream *s)
{
	for (; s->n_threads > 0; s->n_threads--)
		pthread_join(s->threads[s->n_threads - 1], NULL);
}

LayerStream *layer_stream_new(const LayerStreamOptions *options, GError **error)
{
	g_autoptr(LayerApply) apply = NULL;
	if (options->root != NULL) {
		apply = layer_apply_new(options->root, &options->apply, error);
		if (apply == NULL)
			return NULL;
	}
	LayerStream *s = g_new0(LayerStream, 1);
	s->o = *options;
	s->o.root = NULL; // the applier has copies of the strings
	s->o.apply.parents = NULL;
	s->o.apply.cancel = options->apply.cancel != NULL ? cancel_ref(options->apply.cancel) : NULL;
	s->apply = g_steal_pointer(&apply);
	s->decompressor = decompressor_new(options->compression);
	s->digester = digester_new("sha256");
	lock_init(&s->lock, "layer-stream", LOCK_RANK_LEAF);
	cond_init(&s->in_space);
	cond_init(&s->in_data);
	cond_init(&s->out_space);
	cond_init(&s->out_data);
	if (s->o.apply.cancel != NULL)
		s->cancel_id = cancel_on(s->o.apply.cancel, on_cancel, s);
	return s;
}

void layer_stream_free(LayerStream *s)
{
	if (s == NULL)
		return;
	if (s->o.apply.cancel != NULL)
		cancel_off(s->o.apply.cancel, s->cancel_id);
	if (s->n_threads > 0)
		layer_stream_abort(s);
	join(s);
	for (unsigned i = 0; i < IN_SLOTS; i++)
		g_free(s->in[i].data);
	for (unsigned i = 0; i < OUT_SLOTS; i++)
		g_free(s->out[i].data);
	decompressor_free(s->decompressor);
	digester_free(s->digester);
	layer_apply_free(s->apply);
	if (s->o.apply.cancel != NULL)
		cancel_unref(s->o.apply.cancel);
	g_clear_error(&s->error);
	cond_destroy(&s->in_space);
	cond_destroy(&s->in_data);
	cond_destroy(&s->out_space);
	cond_destroy(&s->out_data);
	lock_destroy(&s->lock);
	g_free(s);
}

void *layer_stream_buffer(LayerStream *s, size_t *ret_len, GError **error)
{
	Slot *slot;
	{
		LOCK_SCOPE(&s->lock);
		while (!s->stop && s->in_produced - s->in_consumed >= IN_SLOTS)
			cond_wait(&s->in_space, &s->lock);
		slot = s->stop || s->finished ? NULL : &s->in[s->in_produced % IN_SLOTS];
	}
	if (slot == NULL) {
		report(s, error);
		return NULL;
	}
	if (slot->data == NULL)
		slot->data = g_malloc(IN_SIZE);
	*ret_len = IN_SIZE - slot->len;
	return slot->data + slot->len;
}

bool layer_stream_commit(LayerStream *s, size_t len, GError **error)
{
	Slot *slot = &s->in[s->in_produced % IN_SLOTS];
	g_assert(len <= IN_SIZE - slot->len);
	slot->len += len;
	if (!s->started) {
		if (slot->len < LAYER_STREAM_INLINE)
			return true;
		if (!start(s, error))
			return false;
	}
	LOCK_SCOPE(&s->lock);
	bool idle = s->in_produced == s->in_consumed;
	if (slot->len < IN_SIZE && !(idle && slot->len > 0))
		return true;
	s->in_produced++;
	cond_signal(&s->in_data);
	return true;
}

bool layer_stream_write(void *stream, const void *data, size_t len, GError **error)
{
	LayerStream *s = stream;
	const uint8_t *at = data;
	while (len > 0) {
		size_t room;
		void *buf = layer_stream_buffer(s, &room, error);
		if (buf == NULL)
			return false;
		size_t n = MIN(room, len);
		memcpy(buf, at, n);
		if (!layer_stream_commit(s, n, error))
			return false;
		at += n;
		len -= n;
	}
	return true;
}

/* A small layer: all stages on this thread. */
static bool run_inline(LayerStream *s, GError **error)
{
	g_autofree uint8_t *out = g_malloc(OUT_SIZE);
	const uint8_t *data = s->in[0].len > 0 ? s->in[0].data : (const uint8_t *)"";
	size_t len = s->in[0].len, made;
	do {
		if (!cancel_check(s->o.apply.cancel, error) ||
		    !decompressor_step(s->decompressor, &data, &len, true, out, OUT_SIZE, &made, error))
			return false;
		s->out_size += (int64_t)made;
		if (s->o.max_size > 0 && s->out_size > s->o.max_size)
			return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
			                 "uncompressed layer is over the limit of %" G_GINT64_FORMAT " bytes",
			                 s->o.max_size);
		digester_update(s->digester, out, made);
		if (s->apply != NULL && !layer_apply_write(s->apply, out, made, error))
			return false;
	} while (made == OUT_SIZE);
	return true;
}

/* Waits for the threads; false where one failed. */
static bool run_out(LayerStream *s)
{
	{
		LOCK_SCOPE(&s->lock);
		bool room = s->in_produced - s->in_consumed < IN_SLOTS;
		if (room && s->in[s->in_produced % IN_SLOTS].len > 0)
			s->in_produced++; // the last piece, which was not full
		s->in_end = true;
		cond_signal(&s->in_data);
	}
	join(s);
	LOCK_SCOPE(&s->lock);
	return s->error == NULL;
}

bool layer_stream_finish(LayerStream *s, LayerStreamResult *ret, GError **error)
{
	bool stopped;
	{
		LOCK_SCOPE(&s->lock);
		stopped = s->stop || s->finished;
		s->finished = true;
	}
	if (stopped)
		return report(s, error);
	LayerStreamResult result = {0};
	GError *err = NULL;
	bool ok = s->started ? run_out(s) : run_inline(s, &err);
	if (ok && s->apply != NULL)
		ok = layer_apply_finish(s->apply, &result.apply, &err);
	if (err != NULL)
		fail(s, err);
	if (!ok)
		return report(s, error);
	result.diff_id = digester_digest(s->digester);
	result.size = s->out_size;
	result.compression = decompressor_kind(s->decompressor);
	*ret = result;
	return true;
}

bool layer_stream_run(const LayerStreamOptions *options, ByteSource source, void *data,
                      void (*progress)(void *data, int64_t taken), void *progress_data,
                      LayerStreamResult *ret, GError **error)
{
	g_autoptr(LayerStream) s = layer_stream_new(options, error);
	if (s == NULL)
		return false;
	int64_t taken = 0;
	while (true) {
		size_t room;
		void *buf = layer_stream_buffer(s, &room, error);
		if (buf == NULL)
			return false;
		ssize_t n = source(data, buf, room, error);
		if (n < 0)
			return false;
		if (n == 0)
			return layer_stream_finish(s, ret, error);
		taken += n;
		if (progress != NULL)
			progress(progress_data, taken);
		if (!layer_stream_commit(s, (size_t)n, error))
			return false;
	}
}
