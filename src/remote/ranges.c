// SPDX-License-Identifier: Apache-2.0
#include "remote/ranges.h"
#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/thread.h"
#include "remote/resolver-private.h"
#include <inttypes.h>
#include <string.h>

enum {
	MEASURED_BYTES = 2 * 1024 * 1024, // that say whether the network or the sink is slow
	QUICK_BYTES_PER_S = 128 * 1024 * 1024,
	BUDGET_POLL_MS = 50, // how often a helper looks whether another fetch gave memory back
};

typedef struct {
	int64_t start;
	size_t len, got; // got: under the lock
	bool done, failed;
	uint8_t *buf;
} Chunk;

/* One fetch. The caller's thread reads with the first request or hands out chunks; helpers fill chunks. */
typedef struct {
	Resolver *r;
	Ranges *ranges;
	Cancel *cancel; // ends helpers
	const Descriptor *desc;
	RegistryHost *host; // that answers; helpers ask it alone
	ByteSink sink;
	void *data;

	Lock lock;
	Cond changed;
	int64_t position; // of the next byte for the sink
	int64_t claimed;  // end of the last chunk
	GQueue chunks;    // of Chunk*, in order, without a gap
	bool no_more;     // no further chunks are begun

	pthread_t threads[RANGES_HELPERS];
	unsigned n_threads;
	bool tried;                                  // helpers were started, or cannot be
	int64_t measured_from, measured_at, sink_ns; // since when and where, and the sink's part of it
	bool stopped;                                // the first request was ended where the chunks begin
} Ranged;

void ranges_init(Ranges *ranges, size_t chunk)
{
	ranges->chunk = chunk == 0 ? RANGES_CHUNK : CLAMP(chunk, RANGES_CHUNK_MIN, RANGES_CHUNK_MAX);
	/* large ones are fewer, but two there must be for it to make sense */
	size_t n = MIN((size_t)RANGES_CHUNK * RANGES_CHUNKS / ranges->chunk, RANGES_CHUNKS * 4);
	atomic_init(&ranges->free_chunks, (int)MAX(n, 2));
	ranges->always = false;
}

/* ---- Helpers ---- */

static bool take_budget(Ranges *ranges)
{
	int n = atomic_load(&ranges->free_chunks);
	while (n > 0)
		if (atomic_compare_exchange_weak(&ranges->free_chunks, &n, n - 1))
			return true;
	return false;
}

static void chunk_free(Ranged *g, Chunk *c)
{
	atomic_fetch_add(&g->ranges->free_chunks, 1);
	g_free(c->buf);
	g_free(c);
}

/* The next chunk to fetch, NULL: there is none for this helper. */
static Chunk *claim(Ranged *g)
{
	LOCK_SCOPE(&g->lock);
	for (;;) {
		/* where there is none the caller's thread reads: that has something to do meanwhile */
		int64_t start =
		        g_queue_is_empty(&g->chunks) ? g->position + (int64_t)g->ranges->chunk : g->claimed;
		if (g->no_more || start >= g->desc->size)
			return NULL;
		if (take_budget(g->ranges)) {
			Chunk *c = g_new0(Chunk, 1);
			c->start = start;
			c->len = (size_t)MIN((int64_t)g->ranges->chunk, g->desc->size - start);
			c->buf = g_malloc(c->len);
			g->claimed = start + (int64_t)c->len;
			g_queue_push_tail(&g->chunks, c);
			return c;
		}
		cond_wait_until(&g->changed, &g->lock, time_mono() + BUDGET_POLL_MS * NS_PER_MS);
	}
}

typedef struct {
	Ranged *g;
	Chunk *c;
} ChunkSink;

static bool on_chunk(void *data, const void *buf, size_t len, GError **error)
{
	ChunkSink *s = data;
	if (len > s->c->len - s->c->got)
		return error_set(error, CTRD_ERR_UNKNOWN, "more came than the range has");
	memcpy(s->c->buf + s->c->got, buf, len);
	LOCK_SCOPE(&s->g->lock);
	s->c->got += len;
	cond_broadcast(&s->g->changed);
	return true;
}

static bool is_range(HttpResponse *resp, const Chunk *c, GError **error)
{
	g_autofree char *want =
	        g_strdup_printf("bytes %" PRId64 "-%" PRId64 "/", c->start, c->start + (int64_t)c->len - 1);
	const char *range = http_header(resp, "Content-Range"),
	           *encoding = http_header(resp, "Content-Encoding");
	if (http_status(resp) == 206 && range != NULL && g_str_has_prefix(range, want) &&
	    (str_empty(encoding) || g_ascii_strcasecmp(encoding, "identity") == 0))
		return true;
	return error_set(error, CTRD_ERR_UNKNOWN, "the registry answers a range with %s",
	                 http_status_text(resp));
}

static bool fetch_chunk(Ranged *g, Chunk *c, GError **error)
{
	const char *const parts[] = {"blobs", g->desc->digest, NULL};
	g_autoptr(Request) req = request_new(g->r, g->host, "GET", parts);
	request_scope(req, g->r->scope_pull);
	request_header(req, "Accept", "*/*");
	request_header(req, "Accept-Encoding", "identity");
	g_autofree char *range =
	        g_strdup_printf("bytes=%" PRId64 "-%" PRId64, c->start, c->start + (int64_t)c->len - 1);
	request_header(req, "Range", range);
	req->by_digest = true;
	ChunkSink s = {g, c};
	g_autoptr(HttpResponse) resp = request_do(req, g->cancel, false, NULL, error);
	return resp != NULL && is_range(resp, c, error) && http_body(resp, on_chunk, &s, NULL, error) &&
	       (c->got == c->len || error_set(error, CTRD_ERR_UNKNOWN, "unexpected EOF"));
}

static void *helper_thread(void *data)
{
	Ranged *g = data;
	Chunk *c;
	while ((c = claim(g)) != NULL) {
		g_autoptr(GError) error = NULL;
		bool ok = fetch_chunk(g, c, &error);
		if (!ok && !error_is(error, CTRD_ERR_CANCELED))
			log_debug("a range could not be fetched, going on with one connection", "digest",
			          g->desc->digest, "error", error->message, NULL);
		LOCK_SCOPE(&g->lock);
		c->done = ok;
		c->failed = !ok;
		g->no_more = g->no_more || !ok;
		cond_broadcast(&g->changed);
	}
	return NULL;
}

/* ---- The caller's thread ---- */

static void start_helpers(Ranged *g)
{
	g->tried = true;
	g->host = resolver_source(g->r, g->desc->digest);
	if (g->host == NULL)
		return; // a foreign URL
	unsigned n = (unsigned)MIN((g->desc->size - g->position) / (int64_t)g->ranges->chunk, RANGES_HELPERS);
	while (g->n_threads < n && thread_start(&g->threads[g->n_threads], "range", 0, helper_thread, g) == 0)
		g->n_threads++;
}

/* After the sink has taken len bytes that took it so long. */
static void measure(Ranged *g, int64_t sink_ns)
{
	if (g->tried || g->desc->size - g->position < 2 * (int64_t)g->ranges->chunk)
		return;
	g->sink_ns += sink_ns;
	if (!g->ranges->always) {
		if (g->position - g->measured_from < MEASURED_BYTES)
			return;
		int64_t now = time_mono(), all = now - g->measured_at;
		/* a connection that is quicker has nothing to gain */
		bool slow = all > MEASURED_BYTES * NS_PER_SEC / QUICK_BYTES_PER_S;
		bool network = g->sink_ns < all / 4 && slow;
		g->measured_at = now;
		g->measured_from = g->position;
		g->sink_ns = 0;
		if (!network)
			return;
	}
	start_helpers(g);
}

static bool give(Ranged *g, const void *buf, size_t len, int64_t *ret_ns, GError **error)
{
	int64_t before = time_mono();
	bool ok = g->sink(g->data, buf, len, error);
	*ret_ns = time_mono() - before;
	if (!ok)
		return false;
	LOCK_SCOPE(&g->lock);
	g->position += (int64_t)len;
	return true;
}

/* Where the first request is to end. What a helper got nothing of is its own again: a registry that refuses
 * parts costs the request that asked for one, and no more. */
static int64_t limit_of(Ranged *g)
{
	LOCK_SCOPE(&g->lock);
	Chunk *head;
	while ((head = g_queue_peek_head(&g->chunks)) != NULL && head->failed && head->got == 0)
		chunk_free(g, g_queue_pop_head(&g->chunks));
	return head != NULL ? head->start : INT64_MAX;
}

/* Bytes of the first request: up to where the chunks begin. */
static bool on_bytes(void *data, const void *buf, size_t len, GError **error)
{
	Ranged *g = data;
	int64_t limit = limit_of(g);
	int64_t ns;
	if (!give(g, buf, (size_t)MIN((int64_t)len, limit - g->position), &ns, error))
		return false;
	measure(g, ns);
	if (g->position < limit || g->position >= g->desc->size)
		return true;
	g->stopped = true;
	return error_set(error, CTRD_ERR_CANCELED, "the rest comes in ranges");
}

static bool fetch_rest(Ranged *g, Cancel *cancel, GError **error)
{
	g->stopped = false;
	g->measured_from = g->position;
	g->measured_at = time_mono();
	g->sink_ns = 0;
	GError *e = NULL;
	if (resolver_fetch(g->r, cancel, g->desc, g->position, on_bytes, g, &e))
		return true;
	if (g->stopped) {
		g_clear_error(&e);
		return true;
	}
	g_propagate_error(error, e);
	return false;
}

/* Waits until the chunk has more than taken bytes, or will not have. */
static size_t wait_for(Ranged *g, Chunk *c, size_t taken)
{
	LOCK_SCOPE(&g->lock);
	while (c->got == taken && !c->done && !c->failed)
		cond_wait(&g->changed, &g->lock);
	return c->got;
}

/* The chunk whose bytes are next, as far as they come. */
static bool give_chunk(Ranged *g, Chunk *c, Cancel *cancel, GError **error)
{
	size_t taken = 0, got;
	while (taken < c->len && (got = wait_for(g, c, taken)) > taken) {
		int64_t ns;
		if (!cancel_check(cancel, error) || !give(g, c->buf + taken, got - taken, &ns, error))
			return false;
		taken = got;
	}
	if (!cancel_check(cancel, error))
		return false;
	/* all of it was given: its thread is done with it, or about to say so */
	LOCK_SCOPE(&g->lock);
	while (!c->done && !c->failed)
		cond_wait(&g->changed, &g->lock);
	g_queue_pop_head(&g->chunks);
	chunk_free(g, c);
	cond_broadcast(&g->changed);
	return true;
}

static bool run(Ranged *g, Cancel *cancel, GError **error)
{
	while (g->position < g->desc->size) {
		Chunk *next = NULL;
		{
			LOCK_SCOPE(&g->lock);
			Chunk *head = g_queue_peek_head(&g->chunks);
			if (head != NULL && head->start == g->position)
				next = head;
		}
		if (next != NULL ? !give_chunk(g, next, cancel, error) : !fetch_rest(g, cancel, error))
			return false;
	}
	return true;
}

static void end(Ranged *g)
{
	{
		LOCK_SCOPE(&g->lock);
		g->no_more = true;
		cond_broadcast(&g->changed);
	}
	cancel_trigger(g->cancel, false);
	for (unsigned i = 0; i < g->n_threads; i++)
		pthread_join(g->threads[i], NULL);
	Chunk *c;
	while ((c = g_queue_pop_head(&g->chunks)) != NULL)
		chunk_free(g, c);
	cancel_unref(g->cancel);
	cond_destroy(&g->changed);
	lock_destroy(&g->lock);
}

bool resolver_fetch_ranges(Resolver *r, Ranges *ranges, Cancel *cancel, const Descriptor *desc,
                           int64_t offset, ByteSink sink, void *data, GError **error)
{
	bool foreign = desc->urls != NULL && desc->urls[0] != NULL;
	if (foreign || desc->size - offset < 3 * (int64_t)ranges->chunk)
		return resolver_fetch(r, cancel, desc, offset, sink, data, error);
	Ranged g = {
	        .r = r,
	        .ranges = ranges,
	        .cancel = cancel_new(cancel),
	        .desc = desc,
	        .sink = sink,
	        .data = data,
	        .position = offset,
	        .chunks = G_QUEUE_INIT,
	};
	lock_init(&g.lock, "ranges", LOCK_RANK_LEAF);
	cond_init(&g.changed);
	bool ok = run(&g, cancel, error);
	end(&g);
	return ok;
}
